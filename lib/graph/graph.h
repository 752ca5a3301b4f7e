/* SPDX-License-Identifier: Apache-2.0 */
/* A graph over the rows of an index: nodes are positions, edges lead to near ones, and each row has a code of one cache
 * line to be measured by on the way. Sections: docs/FORMAT.md.
 *
 * Edges are chosen as Vamana's (Jayaram Subramanya et al., DiskANN, NeurIPS 2019) are: of a row's near rows those that
 * are not much nearer to one already chosen. Candidates for them come from products of lists with near lists. A search
 * keeps a pool of the best rows so far and looks at the neighbours of the nearest ones of it. */
#ifndef OMEN_GRAPH_H
#define OMEN_GRAPH_H

#include "lib/calibrate.h"
#include "lib/index.h"
#include "lib/records.h"
#include "lib/row_set.h"
#include "lib/sections.h"
#include "lib/watch.h"

#define OMEN_GRAPH_NIBBLES      120u
#define OMEN_GRAPH_CODE_BYTES   64u
#define OMEN_GRAPH_ENTRIES      128u  /* where searches begin, at most, */
#define OMEN_GRAPH_ENTRIES_MOST 4096u /* and as a reader takes it */
#define OMEN_GRAPH_MOST_ROWS    0x7fffffffu
#define OMEN_GRAPH_NONE         UINT32_MAX /* in the place of a neighbour */

/* ---- graph_codes.c ---- */

/* How rows are coded. */
typedef struct omen_graph_scales {
    uint32_t d;                        /* d_kept */
    uint32_t dims[OMEN_GRAPH_NIBBLES]; /* dimension of each nibble, never falling; d for none */
    float (*ranges)[2];                /* d: low, step */
} omen_graph_scales;

/* Chooses which dimensions get how many nibbles, and their ranges, by means and variances of d dimensions (d). The
 * caller has set d and allocated ranges. */
void omen_graph_scales_fit(omen_graph_scales *scales, const double *means, const double *variances);

/* Whether scales, read from a file, are within the limits of docs/FORMAT.md. */
bool omen_graph_scales_are_sound(const uint32_t dims[OMEN_GRAPH_NIBBLES], const float (*ranges)[2], uint32_t d);

/* Codes a projected row (d values); tail is the squared length that is not among them. */
void omen_graph_encode(const omen_graph_scales *scales, const float *row, float tail,
                       uint8_t code[OMEN_GRAPH_CODE_BYTES]);

/* Whether the float of a code is within its limits. */
bool omen_graph_code_is_sound(const uint8_t *code);

/* What a query is compared with codes by: estimate + offset is the squared distance. */
typedef struct omen_graph_query {
    int8_t weights[4][64]; /* as omen_kernels.graph_estimates takes them */
    float unit, offset;
} omen_graph_query;

/* Fills it for a projected query (d values). */
void omen_graph_query_make(const uint32_t dims[OMEN_GRAPH_NIBBLES], const float (*ranges)[2], uint32_t d,
                           const float *query, float tail, omen_graph_query *out);

/* ---- graph_open.c: what ways.h asks of a way ---- */

int omen_graph_check_sections(const omen_section_list *list, const omen_meta *meta) OMEN_MUST_CHECK;
int omen_graph_open(omen_index *index, const omen_section_list *list) OMEN_MUST_CHECK;
void omen_graph_close(omen_index *index);
int omen_graph_check(const omen_index *index, omen_fault_fn fault, void *context) OMEN_MUST_CHECK;

/* ---- graph_search.c ---- */

/* What a query of the graph may cost: its pool holds the least_pool rows of smallest estimate, and more as far as (1 +
 * reach) times the squared distance of the k-th, up to most_pool; share of them are re-ranked. */
typedef struct omen_graph_effort {
    float reach, share;
    uint32_t least_pool, most_pool; /* rising; at least min(k, n) */
} omen_graph_effort;

/* The rank of the estimate, among all rows, that the reach is relative to. */
uint32_t omen_graph_scale_rank(uint32_t k, const omen_graph_effort *effort);

/* A search of one query that a thread may use again for the next. */
typedef struct omen_graph_walk omen_graph_walk;
omen_graph_walk *omen_graph_walk_create(const omen_index *index, uint32_t most_pool); /* NULL: out of memory */
void omen_graph_walk_destroy(omen_graph_walk *walk);

/* What a walk has found. */
typedef struct omen_graph_view {
    const uint64_t *keys; /* the pool's (estimate, position), ascending; (distance, id) once they are re-ranked */
    uint64_t n_estimates;
} omen_graph_view;

/* Projects n <= OMEN_GRAPH_CHUNK queries (n x d) for the walks that follow. */
#define OMEN_GRAPH_CHUNK 16u
void omen_graph_project(omen_graph_walk *walk, const float *queries, size_t n);

/* Walks the graph for the q-th of the projected queries, with pools of k and more. The row at position own, if not
 * OMEN_GRAPH_NONE, is not to be found. Returns the number of rows found, OMEN_ERR_CORRUPT or OMEN_ERR_MEMORY. */
int64_t omen_graph_walk_query(omen_graph_walk *walk, size_t q, uint32_t k, const omen_graph_effort *effort,
                              uint32_t own, omen_graph_view *out, omen_detail *why) OMEN_MUST_CHECK;

/* The same under a filter, whose set is a bitmap: all rows are on the way, those of the set are found. effort is that
 * of as many rows as k of the set are among. Where it does not suffice, as it does not if rows of the set are far, the
 * number of rows found is 0. */
int64_t omen_graph_walk_filtered(omen_graph_walk *walk, size_t q, uint32_t k, const omen_graph_effort *effort,
                                 const omen_row_set *set, omen_graph_view *out, omen_detail *why) OMEN_MUST_CHECK;

/* How many of the rows found are re-ranked. */
static inline uint32_t omen_graph_rerank_rows(uint32_t n_found, uint32_t k, float share)
{
    const float wanted = ceilf(share * (float)n_found), n = wanted > (float)k ? wanted : (float)k;
    return n < (float)n_found ? (uint32_t)n : n_found;
}

/* Measures rows [from, to) of those found for the q-th query by the refine tier. Returns OMEN_OK or OMEN_ERR_CORRUPT.
 */
int omen_graph_rerank(omen_graph_walk *walk, size_t q, uint32_t from, uint32_t to, omen_detail *why) OMEN_MUST_CHECK;

/* The way through the graph: as omen_search_lists(). Under filters each query has an effort of its own, and the first
 * key of one whose effort did not suffice is UINT64_MAX; row_sets is else NULL, and there is one effort. */
int omen_search_graph(const omen_index *index, const float *queries, const omen_row_set *const *row_sets,
                      uint64_t n_queries, uint32_t k, const omen_graph_effort *efforts, int n_threads, uint64_t *keys,
                      omen_search_stats *stats, omen_watch *watch, omen_detail *why) OMEN_MUST_CHECK;

/* ---- graph_tune.c ---- */

/* As ways.h has calibrate and calibrate_bytes. */
int omen_graph_calibrate(const omen_index *index, const omen_calibration *truth, int n_threads,
                         omen_way_table tables[OMEN_WAY_TABLES], omen_watch *watch, omen_detail *why) OMEN_MUST_CHECK;
uint64_t omen_graph_calibrate_bytes(uint64_t n_rows, uint32_t d, uint32_t n_lists, int n_threads);

/* ---- graph_effort.c ---- */

#define OMEN_GRAPH_POOL_MOST 65536u /* rows of a pool, but that it holds k */

/* n, or most if that is less. */
uint32_t omen_graph_at_most(double n, uint64_t most);

/* Relative costs, an estimate being 1: of the estimates and of the neighbours that each row of a pool has looked at,
 * and of rows that are re-ranked. They steer choices, nothing more. */
static inline double omen_graph_walk_cost(double n_estimates, double n_pool, uint32_t degree)
{
    return n_estimates + 0.28 * n_pool * degree;
}

static inline double omen_graph_rows_cost(double n_rows, uint32_t d)
{
    return n_rows * (5.9 + 0.0032 * d);
}

/* The effort of pools of n_pool rows on average. */
omen_graph_effort omen_graph_effort_of(const omen_index *index, uint32_t k, float reach, double n_pool, float share);

/* The effort that reaches recall for k <= n: from GTUN, or by a default rule if there is none. measured gets what it
 * was on average when it was measured, or k = 0. */
omen_graph_effort omen_graph_effort_for(const omen_index *index, uint32_t k, float recall, omen_graph_tune *measured);

/* The largest k that was measured. */
uint32_t omen_graph_most_k(const omen_index *index);

/* Whether it was measured to reach recall, as omen_index_can_reach(). */
bool omen_graph_can_reach(const omen_index *index, uint32_t k, float recall, double *most);

/* Multiplies it; a factor of 0 leaves it as it is. */
void omen_graph_effort_scale(omen_graph_effort *effort, const omen_index *index, uint32_t k, float factor);

/* ---- graph_prune.c ---- */

/* What a coarse row adds to products with others. */
typedef struct omen_graph_terms {
    int32_t row, column;
} omen_graph_terms;

/* A graph under construction. */
typedef struct omen_graph_build {
    const omen_index *index;
    uint32_t degree;
    uint32_t d8;             /* bytes of a coarse row, a multiple of 4, OMEN_GRAPH_COARSE at most */
    uint8_t *coarse;         /* n_rows x d8: projected rows, 128 + a byte with sign, which is not -128 */
    omen_graph_terms *terms; /* n_rows */
    uint32_t *edges;         /* n_rows x degree, OMEN_GRAPH_NONE behind the last */
    uint32_t *copy_of;       /* n_rows: the position whose coarse row is the same, the lowest, often its own */
    uint32_t *order;         /* n_alone positions that are copies of none, leaf by leaf */
    uint32_t *leaf_at;       /* n_leaves + 1: where leaves begin in order */
    uint32_t *entries;       /* n_entries */
    uint64_t n_alone;
    uint32_t n_leaves, n_entries;
    omen_watch *watch;
    /* where what is done is kept, after every so many rows; NULL: it is not, and all rows are one group */
    const omen_checkpoint *checkpoint;
    uint64_t group_rows;
    uint32_t *group;                /* group_rows x degree, of the record that is written or read */
    uint64_t head[OMEN_GRAPH_HEAD]; /* of it */
    /* what grows with the rows is there; NULL: in memory */
    const omen_scratch *scratch;
    int failure;      /* of it */
    omen_detail *why; /* of it, and of the checkpoint */
} omen_graph_build;

/* An array of zeros, which is given back by the second; NULL: out of memory, or build->failure says what else. */
void *omen_graph_take(omen_graph_build *build, uint64_t count, size_t size);
void omen_graph_give(const omen_graph_build *build, void *array);

#define OMEN_GRAPH_COARSE 256u

/* Coarse rows packed for products, at most OMEN_GRAPH_PACKED, and room for those of one. */
#define OMEN_GRAPH_PACKED 1024u
typedef struct omen_graph_panels {
    int8_t *values;
    int32_t *terms;
    float *distances; /* as omen_graph_distances() leaves them */
} omen_graph_panels;

/* Return OMEN_OK or OMEN_ERR_MEMORY. */
int omen_graph_panels_init(omen_graph_panels *panels, uint32_t d8) OMEN_MUST_CHECK;
void omen_graph_panels_finish(omen_graph_panels *panels);

/* The terms of a coarse row. */
void omen_graph_measure(const uint8_t *coarse, uint32_t d8, omen_graph_terms *terms);

/* Packs the coarse rows numbered in positions (n of them), or n rows that follow one another if that is NULL. */
void omen_graph_pack(omen_graph_panels *panels, const uint8_t *coarse, const omen_graph_terms *terms, uint32_t d8,
                     const uint32_t *positions, size_t n);

/* Turns n bytes of coarse rows for the left side of a product. */
void omen_graph_turn(const uint8_t *coarse, size_t n, uint8_t *out);

/* Squared distances of m turned rows, terms being their row terms, from the first n packed ones: out is m x
 * OMEN_GRAPH_PACKED. */
void omen_graph_distances(const omen_graph_panels *panels, uint32_t d8, const uint8_t *turned, const int32_t *terms,
                          size_t m, size_t n, float *out);

#define OMEN_GRAPH_CANDIDATES 256u /* for the edges of a row, looked at together */

/* Squared distances of the row at a position from n <= OMEN_GRAPH_CANDIDATES others. */
void omen_graph_distances_from(const omen_graph_build *build, uint32_t position, const uint32_t *to, uint32_t n,
                               float *out);

/* Chooses edges of a row from n <= OMEN_GRAPH_CANDIDATES candidates, keys (distance, position), ascending and distinct:
 * of those that are not much nearer to one already chosen, the most nearest. Returns how many. */
uint32_t omen_graph_prune(const omen_graph_build *build, const uint64_t *keys, uint32_t n, uint32_t most,
                          uint32_t *out);

/* ---- graph_records.c ---- */

/* Sets *n_rows to how many rows, in the order of the leaves, the records of a kind and degree say they have; checkpoint
 * may be NULL. This and the following return OMEN_OK, OMEN_ERR_CORRUPT, or what the checkpoint returned. */
int omen_graph_records_count(const omen_checkpoint *checkpoint, omen_record_kind kind, uint32_t degree,
                             uint64_t *n_rows, omen_detail *why) OMEN_MUST_CHECK;

/* Drops those of other degrees. */
int omen_graph_records_drop_others(const omen_graph_build *build) OMEN_MUST_CHECK;

/* Fills edges of the first *n_rows rows in that order with what the records have; copy_of, order and group are there.
 */
int omen_graph_records_load(omen_graph_build *build, omen_record_kind kind, uint64_t *n_rows) OMEN_MUST_CHECK;

/* Adds a record of the edges of n <= group_rows rows. */
int omen_graph_records_save(omen_graph_build *build, omen_record_kind kind, uint64_t first, uint64_t n) OMEN_MUST_CHECK;

/* ---- graph_link.c ---- */

/* Adds edges in the other direction, edges to copies, and edges that make every row reachable. Returns OMEN_OK,
 * OMEN_ERR_MEMORY, OMEN_ERR_INTERRUPTED or what the checkpoint returned. */
int omen_graph_link(omen_graph_build *build) OMEN_MUST_CHECK;

/* ---- graph_build.c ---- */

/* Fills edges and entries from coarse and terms, which the caller has set, and index, degree, d8, watch, checkpoint,
 * group_rows and why; goes on with what the checkpoint has. Returns as omen_graph_link(). The result depends on the
 * rows alone. */
int omen_graph_build_edges(omen_graph_build *build) OMEN_MUST_CHECK;

void omen_graph_build_finish(omen_graph_build *build);

/* Private memory, in bytes, of a graph of n rows under construction, with a checkpoint; *of_rows is the part of it that
 * may be in scratch. */
uint64_t omen_graph_build_bytes(uint64_t n, uint32_t d_kept, uint32_t degree, int n_threads, uint64_t *of_rows);

/* Rows of a record, where the caller of a build does not say how many. */
uint64_t omen_graph_group_rows(uint64_t n, int n_threads);

#endif
