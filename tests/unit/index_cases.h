/* SPDX-License-Identifier: Apache-2.0 */
/* Indexes of made-up rows, built and searched: the combinations of options that the library tests go through, and the
 * checks that hold for all of them. */
#ifndef OMEN_INDEX_CASES_H
#define OMEN_INDEX_CASES_H

#include "lib/omendb.h"
#include "lib/index.h"
#include "tests/unit/in_memory.h"

/* ---- build and open ---- */

extern omen_detail detail; /* of the last call */

/* Into sections, with `detail` filled. */
int build(rows_in_memory *rows, const omen_build_options *options, sections_in_memory *out);

const char *case_name(const rows_in_memory *rows, const omen_build_options *o);

/* The built and opened index; NULL after a told fault. */
omen_index *make_index(rows_in_memory *rows, const omen_build_options *options, sections_in_memory *sections);

/* Expects the build to fail with code and a message that has part in it. */
void refuse_build(rows_in_memory *rows, const omen_build_options *o, int code, const char *part);

/* Every variant gives the same bytes and results. Calibration makes builds of many rows slow, so a case builds with one
 * variant and some of the others, the more the smaller it is; the next case begins with the next variant. */
struct variant {
    const char *level;
    int n_threads;
};
#define N_VARIANTS 6
extern const struct variant variants[N_VARIANTS];

/* False where this processor or build has not the level. */
bool select_variant(const struct variant *v);

extern const omen_codec codecs[4];

/* Combination number i of metric, codec and refine tier; false for the one that leaves nothing to search. */
bool combination(int i, omen_build_options *o);

/* ---- results ---- */

typedef struct {
    uint64_t n_queries;
    uint32_t k; /* per query */
    int64_t *ids;
    float *distances;
} results;

void results_free(results *r);

results search(const omen_index *index, const omen_search_options *options, const float *queries, uint64_t n);

bool same_results(const results *a, const results *b);

/* The share of the rows in exact, k of each query, that are in ids, in any order. */
double share_found(const int64_t *ids, const int64_t *exact, uint64_t n_queries, uint32_t k);

/* k rows that exist, none twice. */
void check_distinct(const results *r, uint64_t n_rows, const char *what);

/* The same, by distance and then id. */
void check_complete(const results *r, uint64_t n_rows, const char *what);

/* Each rank's row is as near as the brute force's row of that rank, and its distance is told right, up to the rounding
 * of float32 sums. slack: what the refine tier's rounding adds, relative to a typical distance. */
void check_brute(const results *r, omen_metric metric, const rows_in_memory *rows, const float *queries, double slack,
                 const char *what);

/* Builds and searches with several variants, and checks all that must hold of the index. */
void check_case(rows_in_memory *rows, const rows_in_memory *queries, const omen_build_options *options);

#endif
