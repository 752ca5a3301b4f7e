/* SPDX-License-Identifier: Apache-2.0 */
/* Encoded rows on their way into list order: each chunk of the input, sorted by list, is a run; all runs together are
 * read back list by list. Runs are kept in the checkpoint, and in memory too if there is room; the last run always
 * is. */
#ifndef OMEN_RUNS_H
#define OMEN_RUNS_H

#include "lib/row_hash.h"
#include "lib/neighbours.h"

/* What a run holds of each row. */
typedef enum {
    OMEN_RUN_ROWS,   /* u32 row number */
    OMEN_RUN_CODES,  /* f32 factors, then the code */
    OMEN_RUN_REFINE, /* the refine row */
    OMEN_N_RUN_PARTS,
} omen_run_part;

#define OMEN_RUN_HEAD 5   /* u64 that a record of a run begins with: first row, rows, their hash, the level */
#define OMEN_RUN_FAN  64u /* runs of one level that are merged into one of the next */

typedef struct omen_run {
    uint64_t row0, n_rows;
    omen_row_hash hash;               /* of the rows as they were read */
    uint32_t *first;                  /* n_lists + 1: where the rows of each list begin in the run */
    uint32_t record;                  /* in the checkpoint */
    uint32_t level;                   /* 0: a chunk; else how often its rows were merged */
    uint8_t *parts[OMEN_N_RUN_PARTS]; /* in memory; NULL: read from the checkpoint */
} omen_run;

typedef struct omen_runs {
    uint32_t n_lists, n_factors;
    size_t code_bytes;
    size_t item_bytes[OMEN_N_RUN_PARTS];
    const omen_checkpoint *checkpoint; /* NULL: there can be only one run, the whole input */
    omen_neighbours *truth;            /* whose part each run brings */
    omen_run *runs;
    size_t n_runs, runs_capacity;
    float *extremes; /* n_lists x n_factors x 2: least and largest over all runs */
    /* the chunk that is being encoded, chunk_rows rows in input order */
    size_t chunk_rows;
    uint32_t *lists;
    uint8_t *codes;
    float *factors;
    uint8_t *refine;
    bool keep;                        /* all runs stay in memory */
    uint8_t *spare[OMEN_N_RUN_PARTS]; /* of a last run that was merged: memory for the next */
    /* the last run's header and extremes, which the checkpoint may still be writing */
    uint64_t head[OMEN_RUN_HEAD];
    float *run_extremes;
} omen_runs;

/* code_bytes and n_factors describe a row's code (0 for none), refine_bytes its refine row. truth, which stays the
 * caller's, may be filled later, before the first run comes. Returns OMEN_OK or OMEN_ERR_MEMORY; call
 * omen_runs_finish() even on failure. */
int omen_runs_init(omen_runs *runs, uint32_t n_lists, size_t code_bytes, uint32_t n_factors, size_t refine_bytes,
                   const omen_checkpoint *checkpoint, omen_neighbours *truth) OMEN_MUST_CHECK;

/* Allocates the chunk's buffers. keep: all runs stay in memory, not only the last. */
int omen_runs_reserve(omen_runs *runs, size_t chunk_rows, bool keep) OMEN_MUST_CHECK;

/* Frees the buffers that only encoding needs. */
void omen_runs_trim(omen_runs *runs);

void omen_runs_finish(omen_runs *runs);

/* Bytes of memory that each row of a chunk takes. */
size_t omen_runs_chunk_row_bytes(size_t code_bytes, uint32_t n_factors, size_t refine_bytes);

/* Sorts the first n rows of the chunk, which are rows row0 .. row0 + n - 1 of the input and have the hash, into a new
 * run, with what truth took of them, and hands it to the checkpoint, which may still be writing it on return. Returns
 * OMEN_OK, OMEN_ERR_MEMORY or what the checkpoint returned. */
int omen_runs_add(omen_runs *runs, uint64_t row0, uint64_t n, const omen_row_hash *hash,
                  omen_detail *why) OMEN_MUST_CHECK;

/* Merges the last runs as long as OMEN_RUN_FAN of them have one level, if the checkpoint takes it and they are not all
 * in memory. Returns OMEN_OK, OMEN_ERR_MEMORY, OMEN_ERR_INTERRUPTED or what the checkpoint returned. */
int omen_runs_merge_levels(omen_runs *runs, omen_watch *watch, omen_detail *why) OMEN_MUST_CHECK;

/* Writes all runs as one record to another checkpoint. Returns as omen_runs_merge_levels(). */
int omen_runs_write_whole(const omen_runs *runs, const omen_checkpoint *to, omen_watch *watch,
                          omen_detail *why) OMEN_MUST_CHECK;

/* Most runs that there are at once of so many chunks, where levels are merged. */
uint64_t omen_runs_most(uint64_t n_chunks);

/* The hash of the rows of all runs. */
omen_row_hash omen_runs_hash(const omen_runs *runs);

/* Takes over a run that an earlier build left in the checkpoint, and checks all its row and list numbers; it must start
 * at row row0 of the n_rows of the input. Returns OMEN_OK, OMEN_ERR_MEMORY, OMEN_ERR_CORRUPT or what the
 * checkpoint returned. */
int omen_runs_restore(omen_runs *runs, uint32_t record, uint64_t record_bytes, uint64_t row0, uint64_t n_rows,
                      omen_detail *why) OMEN_MUST_CHECK;

/* Reads n items of run number r from item i on into out. Returns OMEN_OK or what the checkpoint returned. */
int omen_runs_read(const omen_runs *runs, size_t r, omen_run_part part, uint64_t i, uint64_t n, uint8_t *out,
                   omen_detail *why) OMEN_MUST_CHECK;

/* A run beside chunks of the same rows that are encoded again. Starts zeroed. */
typedef struct omen_run_comparison {
    const omen_runs *made; /* the caller's */
    size_t run;            /* number of the run in made */
    uint32_t *at;          /* n_lists: item that comes next of each list */
    uint8_t *room;         /* for items of the run */
    omen_row_hash hash;    /* of the rows so far */
} omen_run_comparison;

/* Begins with a run of made. Returns OMEN_OK or OMEN_ERR_MEMORY; finish also after a failure. */
int omen_run_compare_begin(omen_run_comparison *c, const omen_runs *made, size_t run) OMEN_MUST_CHECK;

/* Compares the next rows of the run with the only run of again, which is dropped; its memory serves the next. *same:
 * all bytes are alike. Returns OMEN_OK or what the checkpoint of made returned. */
int omen_run_compare_next(omen_run_comparison *c, omen_runs *again, bool *same, omen_detail *why) OMEN_MUST_CHECK;

/* Whether all rows of the run have been compared, and are those that it says it was made of; a whole one has level 0.
 */
bool omen_run_compare_is_done(const omen_run_comparison *c);
void omen_run_compare_finish(omen_run_comparison *c);

/* Whether the least and largest factors of all lists are the same, over all runs of each. */
bool omen_runs_have_same_extremes(const omen_runs *a, const omen_runs *b);

/* Bytes of memory that a comparison takes. */
uint64_t omen_run_compare_bytes(uint32_t n_lists, size_t refine_bytes);

/* Called with the next n items in list order. */
typedef int (*omen_run_fn)(void *context, const uint8_t *items, uint64_t n, omen_detail *why);

/* Passes one part of all rows to fn, a few MiB at a time: list by list, the rows of a list by row number. Returns
 * OMEN_OK, OMEN_ERR_MEMORY, or what the checkpoint or fn returned. */
int omen_runs_walk(const omen_runs *runs, omen_run_part part, omen_run_fn fn, void *context,
                   omen_detail *why) OMEN_MUST_CHECK;

/* Bytes of memory that a walk over n_runs runs needs, whose largest part is n_bytes. */
size_t omen_runs_walk_bytes(size_t n_runs, uint64_t n_bytes);

#endif
