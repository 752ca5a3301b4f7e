/* Writers of search results: tsv, jsonl, ivecs and npy. */
#ifndef OMEN_RESULTS_H
#define OMEN_RESULTS_H

#include <stdio.h>

#include "lib/omendb.h"

typedef enum { OMEN_RESULTS_TSV, OMEN_RESULTS_JSONL, OMEN_RESULTS_IVECS, OMEN_RESULTS_NPY } omen_results_format;

/* "tsv", "jsonl", "ivecs" or "npy". Returns OMEN_OK or OMEN_ERR_ARGUMENT. */
int omen_results_parse(const char *name, omen_results_format *out) OMEN_MUST_CHECK;

/* Writes the results of n_queries queries block by block, so that they need not all be in memory.
 *   tsv    one line per neighbour: query, rank, id, distance (rank counts from 1; distance only if asked)
 *   jsonl  one object per query: {"query":0,"ids":[...],"distances":[...]}
 *   ivecs  int32 k, then k int32 ids per query (OMEN_ERR_INPUT for an id beyond int32)
 *   npy    int64 array n_queries x k of ids; with distances a structured array of fields ("id", "<i8"), ("distance",
 *          "<f4") */
typedef struct omen_results {
    FILE *stream; /* the caller's */
    omen_results_format format;
    bool with_distances;
    uint64_t n_queries; /* of the whole output */
    uint32_t k;
} omen_results;

/* Writes what comes before the first block (the npy header). */
int omen_results_begin(const omen_results *results, omen_detail *why) OMEN_MUST_CHECK;
/* Writes one block: first is the number of its first query, ids is n x k, distances n x k or NULL. Both return OMEN_OK,
 * OMEN_ERR_INPUT or OMEN_ERR_IO (a write failed; errno is named in why). */
int omen_results_write(const omen_results *results, uint64_t first, uint64_t n, const int64_t *ids,
                       const float *distances, omen_detail *why) OMEN_MUST_CHECK;

#endif
