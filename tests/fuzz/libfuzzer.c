/* SPDX-License-Identifier: Apache-2.0 */
/* One fuzz target, that which OMENDB_FUZZ_TARGET names, as libFuzzer calls it. tests/fuzz/fuzz.sh runs all. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/fuzz/fuzz.h"

static const fuzz_target *target;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);
size_t LLVMFuzzerMutate(uint8_t *data, size_t n_bytes, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n_bytes, size_t most, unsigned int seed);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *name = getenv("OMENDB_FUZZ_TARGET");

    (void)argc, (void)argv;
    target = name ? fuzz_find(name) : NULL;
    if (!target) {
        fprintf(stderr, "OMENDB_FUZZ_TARGET has to name a target; these are there:\n");
        for (const fuzz_target *t = fuzz_targets; t->name; t++)
            fprintf(stderr, "  %-12s %s\n", t->name, t->about);
        exit(2);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
    static bool is_started; /* by now libFuzzer has read its directories, whose names may be relative */

    if (!is_started)
        fuzz_start();
    is_started = true;
    target->run(data, n_bytes);
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n_bytes, size_t most, unsigned int seed)
{
    return target->has_parts ? fuzz_mutate_parts(data, n_bytes, most, seed, LLVMFuzzerMutate)
                             : LLVMFuzzerMutate(data, n_bytes, most);
}
