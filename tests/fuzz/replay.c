/* SPDX-License-Identifier: Apache-2.0 */
/* Runs fuzz targets without a fuzzer: each on its seeds, on some random changes of each, which are the same every time,
 * and on the files in the directory of its name in those given, which once failed.
 *
 *   replay [-n N] [-t TARGET] [DIRECTORY...]   N changes of each seed (default 20, 4 with OMEN_TEST_QUICK)
 *   replay --seeds DIRECTORY                   writes DIRECTORY/TARGET/NUMBER, what a fuzzer begins with
 *   replay --run TARGET FILE...                these inputs
 *   replay --list                              the names of all targets */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/check.h"

static const fuzz_target *target;
static unsigned n_changes, n_runs, n_seeds;
static const char *seed_directory;

static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* A field or a byte that is extreme, or a piece less or more. */
static size_t change(uint8_t *data, size_t n_bytes, size_t most)
{
    static const uint64_t fields[] = {0,          1,          2,          0x7fffffff, 0x80000000,
                                      0xffffffff, 0x7f800000, 0x7fc00000, 0xbf800000, 0x7e967699};
    const size_t at = n_bytes > 0 ? next_random() % n_bytes : 0;
    const size_t width = (size_t)1 << next_random() % 4, left = n_bytes - at, n = width < left ? width : left;
    const uint64_t value = fields[next_random() % 10];

    switch (next_random() % 8) {
    case 0:
        if (n_bytes + width <= most && at + width <= n_bytes) { /* twice */
            memmove(data + at + width, data + at, left);
            return n_bytes + width;
        }
        break;
    case 1:
        memmove(data + at, data + at + n, left - n);
        return n_bytes - n;
    case 2:
        memcpy(data + at, &value, n);
        break;
    case 3:
        if (at + 4 <= n_bytes)
            memcpy(data + at / 4 * 4, &value, 4);
        break;
    default:
        if (n_bytes > 0)
            data[at] ^= (uint8_t)(1u << next_random() % 8);
        break;
    }
    return n_bytes;
}

static void run(const uint8_t *data, size_t n_bytes)
{
    uint8_t *copy = malloc(n_bytes + !n_bytes); /* of its very size, which AddressSanitizer sees */

    if (!copy)
        exit(1);
    memcpy(copy, data, n_bytes);
    target->run(copy, n_bytes);
    free(copy);
    n_runs++;
}

static void run_changed(const uint8_t *data, size_t n_bytes)
{
    static uint8_t changed[2 * FUZZ_MAX_BYTES];

    n_seeds++;
    run(data, n_bytes);
    for (unsigned i = 0; i < n_changes && n_bytes <= FUZZ_MAX_BYTES; i++) {
        size_t n = n_bytes;

        memcpy(changed, data, n_bytes);
        random_state = 0x9e3779b97f4a7c15u * (i + 1) + n_seeds;
        for (unsigned j = 0; j <= i % 3; j++)
            n = target->has_parts ? fuzz_mutate_parts(changed, n, sizeof changed, next_random(), change)
                                  : change(changed, n, sizeof changed);
        run(changed, n);
    }
}

static void write_seed(const uint8_t *data, size_t n_bytes)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s/%02u", seed_directory, target->name, ++n_seeds);
    fuzz_write(path, data, n_bytes);
}

static void run_file(const char *path)
{
    size_t n_bytes;
    uint8_t *data = fuzz_read(path, &n_bytes);

    FUZZ_REQUIRE(data, "%s: %s", path, strerror(errno));
    fprintf(fuzz_output, "# %s %s\n", target->name, path);
    fflush(fuzz_output);
    run(data, n_bytes);
    free(data);
}

static void run_kept(const char *directory)
{
    char path[PATH_MAX];
    struct dirent **all;

    snprintf(path, sizeof path, "%s/%s", directory, target->name);
    const int n = scandir(path, &all, NULL, alphasort);

    for (int i = 0; i < n; i++) {
        if (all[i]->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s/%s", directory, target->name, all[i]->d_name);
            run_file(path);
        }
        free(all[i]);
    }
    if (n >= 0)
        free(all);
}

/* Before the directory of the program's own is entered. */
static char *absolute(const char *path)
{
    char *full = realpath(path, NULL);

    if (!full) {
        perror(path);
        exit(2);
    }
    return full;
}

static int write_seeds(const char *directory)
{
    char path[PATH_MAX];

    seed_directory = directory;
    fuzz_take_seed = write_seed;
    for (target = fuzz_targets; target->name; target++) {
        snprintf(path, sizeof path, "%s/%s", directory, target->name);
        FUZZ_REQUIRE(mkdir(path, 0777) == 0 || errno == EEXIST, "%s: %s", path, strerror(errno));
        n_seeds = 0;
        target->seeds();
        fuzz_clean();
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *only = NULL;
    int first = 1;

    n_changes = check_quick() ? 4 : 20;
    if (argc > 1 && strcmp(argv[1], "--list") == 0) {
        for (target = fuzz_targets; target->name; target++)
            printf("%s\n", target->name);
        return 0;
    }
    for (int i = 1; i < argc; i++)
        if (argv[i][0] != '-' && (argv[i - 1][0] != '-' || strcmp(argv[i - 1], "--seeds") == 0))
            argv[i] = absolute(argv[i]);
    fuzz_start();
    if (argc == 3 && strcmp(argv[1], "--seeds") == 0)
        return write_seeds(argv[2]);
    for (; first + 1 < argc && argv[first][0] == '-'; first += 2) {
        if (strcmp(argv[first], "-n") == 0)
            n_changes = (unsigned)atoi(argv[first + 1]);
        else if (strcmp(argv[first], "-t") == 0 || strcmp(argv[first], "--run") == 0)
            only = argv[first + 1];
    }
    const bool runs_files = argc > 2 && strcmp(argv[1], "--run") == 0;

    fuzz_take_seed = run_changed;
    for (target = fuzz_targets; target->name; target++) {
        if (only && strcmp(only, target->name) != 0)
            continue;
        n_runs = n_seeds = 0;
        if (!runs_files)
            target->seeds();
        for (int i = first; i < argc; i++)
            runs_files ? run_file(argv[i]) : run_kept(argv[i]);
        fuzz_clean();
        fprintf(fuzz_output, "ok - %s: %u inputs\n", target->name, n_runs);
        fflush(fuzz_output);
    }
    return 0;
}
