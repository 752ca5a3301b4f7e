/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz targets: functions that take any bytes, give them to the program as a file, a text or a command line, and abort
 * where an answer contradicts another one. libfuzzer.c calls one of them without end, replay.c all of them on their
 * seeds and on inputs that once failed. Both work in an empty directory of their own. */
#ifndef OMEN_FUZZ_H
#define OMEN_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/omendb_files.h"

#define FUZZ_MAX_BYTES ((size_t)1 << 16) /* of an input */

typedef struct fuzz_target {
    const char *name, *about;
    void (*run)(const uint8_t *data, size_t n_bytes);
    void (*seeds)(void); /* calls fuzz_seed() for inputs to begin with */
    bool has_parts;      /* inputs are lists of parts: fuzz_mutate_parts() changes one and leaves the others whole */
} fuzz_target;

/* Ends with one whose name is NULL. */
extern const fuzz_target fuzz_targets[];

/* NULL: there is none of that name. */
const fuzz_target *fuzz_find(const char *name);

/* ---- what targets use ---- */

/* Prints where and what, and aborts, which every kind of run takes for a failure. */
#define FUZZ_REQUIRE(condition, ...)                                                                                   \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            fuzz_fail(__FILE__, __LINE__, #condition, __VA_ARGS__);                                                    \
    } while (0)
void fuzz_fail(const char *file, int line, const char *condition, const char *format, ...)
    __attribute__((noreturn, format(printf, 4, 5)));

/* Once, before anything else: makes the directory and goes there. Standard output and error lead nowhere from then on,
 * but for failures and fuzz_output. */
void fuzz_start(void);
extern FILE *fuzz_output;

/* Writes a file of the directory; aborts if that fails. */
void fuzz_write(const char *name, const void *data, size_t n_bytes);

/* Reads one into memory of exactly its size, which the caller frees; NULL if it is not there. */
uint8_t *fuzz_read(const char *name, size_t *n_bytes);

/* A file that is there whatever a target does: clean puts it back, and removes all others. */
void fuzz_keep(const char *name);
void fuzz_clean(void);

/* A copy of n bytes with a zero behind them; the caller frees it. */
char *fuzz_text(const uint8_t *data, size_t n_bytes);

/* From here, no more than 4 times n_bytes and 64 MiB may be allocated, until the limit is lifted. Nothing happens
 * without AddressSanitizer. */
void fuzz_limit_memory(size_t n_bytes);
void fuzz_lift_limit(void);

/* The same for a file that may be compressed: a stream of zstd may ask for a window of 128 MiB, whatever its length. */
void fuzz_limit_memory_of_file(const uint8_t *file, size_t n_bytes);

/* Gives an input to begin with to whoever called seeds(). */
void fuzz_seed(const void *data, size_t n_bytes);
extern void (*fuzz_take_seed)(const uint8_t *data, size_t n_bytes);

/* ---- parts: sections of a container or records of a checkpoint, without checksums and padding ---- */

#define FUZZ_MAX_PARTS   64u
#define FUZZ_PART_HEADER 16u

/* As an input has them: u32 id, element, flags, length; then the payload. What is cut off at the end is shorter. */
typedef struct fuzz_part {
    uint32_t id, element, flags; /* a record: its kind; which file it is of; nothing */
    const uint8_t *data;
    size_t n_bytes;
} fuzz_part;

/* Returns how many. */
size_t fuzz_parts(const uint8_t *data, size_t n_bytes, fuzz_part parts[FUZZ_MAX_PARTS]);

/* As one input, which the caller frees. */
uint8_t *fuzz_parts_join(const fuzz_part *parts, size_t n, size_t *n_bytes);

/* Writes the container of these parts (docs/FORMAT.md, part 1), or the file of records of those with this element (part
 * 4), all checksums right. */
void fuzz_write_container(const char *name, const fuzz_part *parts, size_t n);
void fuzz_write_records(const char *name, uint32_t kind, const fuzz_part *parts, size_t n, uint32_t element);

/* The parts of a file, which point into its bytes: aborts if it is none. Those of a file of records get element. */
size_t fuzz_container_parts(const uint8_t *file, size_t n_bytes, fuzz_part parts[FUZZ_MAX_PARTS]);
size_t fuzz_record_parts(const uint8_t *file, size_t n_bytes, uint32_t element, fuzz_part parts[FUZZ_MAX_PARTS]);

/* Gives the parts of a file as a seed. */
void fuzz_seed_container(const char *name);

/* Makes the checksums of the headers of a container right again, where it is long enough to have any. */
void fuzz_seal(uint8_t *file, size_t n_bytes);

/* Changes up to n bytes in place, which may become up to most: LLVMFuzzerMutate() or replay.c's. Returns how many. */
typedef size_t fuzz_mutate_fn(uint8_t *data, size_t n_bytes, size_t most);
size_t fuzz_mutate_parts(uint8_t *data, size_t n_bytes, size_t most, uint64_t seed, fuzz_mutate_fn *mutate);

/* ---- the targets, by file ---- */

/* fuzz_inputs.c */
void fuzz_vectors(const uint8_t *data, size_t n_bytes);
void fuzz_vectors_seeds(void);
void fuzz_lists(const uint8_t *data, size_t n_bytes);
void fuzz_lists_seeds(void);
void fuzz_reports(const uint8_t *data, size_t n_bytes);
void fuzz_reports_seeds(void);

/* fuzz_tables.c */
void fuzz_columns(const uint8_t *data, size_t n_bytes);
void fuzz_columns_seeds(void);
void fuzz_keys(const uint8_t *data, size_t n_bytes);
void fuzz_keys_seeds(void);
void fuzz_conditions(const uint8_t *data, size_t n_bytes);
void fuzz_conditions_seeds(void);

/* fuzz_files.c */
void fuzz_container(const uint8_t *data, size_t n_bytes);
void fuzz_container_seeds(void);
void fuzz_packed(const uint8_t *data, size_t n_bytes);
void fuzz_packed_seeds(void);
void fuzz_codes(const uint8_t *data, size_t n_bytes);
void fuzz_codes_seeds(void);

/* fuzz_index.c */
void fuzz_index(const uint8_t *data, size_t n_bytes);
void fuzz_index_seeds(void);

/* fuzz_records.c */
void fuzz_resume(const uint8_t *data, size_t n_bytes);
void fuzz_resume_seeds(void);
void fuzz_shards(const uint8_t *data, size_t n_bytes);
void fuzz_shards_seeds(void);
void fuzz_self(const uint8_t *data, size_t n_bytes);
void fuzz_self_seeds(void);

/* fuzz_commands.c */
void fuzz_options(const uint8_t *data, size_t n_bytes);
void fuzz_options_seeds(void);
void fuzz_commands(const uint8_t *data, size_t n_bytes);
void fuzz_commands_seeds(void);

/* ---- what several of them begin with (fuzz_made.c) ---- */

typedef struct fuzz_recipe {
    omen_metric metric;
    omen_codec codec;
    omen_refine refine;
    uint32_t n, d;
    bool graph, keys, columns, codes_only;
} fuzz_recipe;

/* Writes an fvecs file of n x d values, the same on every machine. */
void fuzz_make_vectors(const char *name, uint32_t n, uint32_t d);

/* Builds an index of such rows into a file, and leaves what it was made of beside it. */
void fuzz_make_index(const char *name, const fuzz_recipe *recipe);

/* A command of the program, as a shell would run it: the words of text, by blanks. Returns its exit code. */
int fuzz_command(const char *text);
int fuzz_run_command(int argc, char **argv);

#endif
