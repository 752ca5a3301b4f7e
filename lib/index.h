/* SPDX-License-Identifier: Apache-2.0 */
/* An open index as search, verification and calibration see it. */
#ifndef OMEN_INDEX_H
#define OMEN_INDEX_H

#include <float.h>
#include <math.h>

#include "lib/omendb_info.h"
#include "lib/codec.h"
#include "lib/index_format.h"
#include "lib/kernels/kernels.h"
#include "lib/keys.h"
#include "lib/omendb_audit.h"
#include "lib/refine.h"
#include "lib/transform.h"

/* A section whose blocks are checked when they are first used. */
typedef struct omen_touched {
    omen_section section;
    uint64_t *seen; /* one bit per block of OMEN_CHECK_BYTES, set once it has been checked; NULL: do not check */
} omen_touched;

/* The axes of the transform in bytes (query_axes.h). */
typedef struct omen_query_axes {
    uint32_t n_graph;          /* of the first of them the graph's codes hold anything; 0: there is no graph */
    bool for_lists, for_graph; /* whether queries are projected on them, or on those of the transform */
    omen_byte_axes bytes;      /* d_kept of them, if either is */
} omen_query_axes;

/* The graph of an index (graph.h), if it has one. */
typedef struct omen_graph {
    uint32_t degree; /* 0: there is none */
    uint32_t n_entries;
    const uint32_t *neighbours; /* n_rows x degree positions */
    const uint8_t *codes;       /* n_rows x 64 */
    const uint32_t *entries;    /* n_entries positions, and their codes */
    const uint8_t *entry_codes;
    const uint32_t *dims;     /* of the nibbles of a code */
    const float (*ranges)[2]; /* d_kept */
    const omen_graph_tune *tune;
    size_t n_tune;
    omen_touched adjacency, code;
    struct omen_graph_walk *spare; /* what a search has left for the next one; NULL: none. Exchanged atomically */
} omen_graph;

/* The keys of the rows. */
typedef struct omen_key_store {
    omen_keys_head head; /* kind 0: there are none */
    omen_touched values, offsets, order;
} omen_key_store;

typedef struct omen_column omen_column;

struct omen_list_errors;  /* lists_errors.h */
struct omen_list_spread;  /* lists_spread.h */
struct omen_lists_filter; /* filter.h */
struct omen_lists_chunk;  /* lists_search.h */

#define OMEN_KEPT_CHUNKS 64 /* threads beyond them keep nothing */

struct omen_index {
    omen_meta meta;
    omen_transform transform;
    omen_query_axes axes;
    omen_codec_model model;
    float *panels;         /* centroids, packed */
    float *half_norms;     /* of the centroids */
    const uint32_t *first; /* n_lists + 1: list l holds rows first[l] .. first[l + 1] */
    const float *ranges;   /* [n_lists][n_factors]{low, step} */
    float f_step_max, g_max;
    const uint8_t *blocks; /* codes */
    uint32_t block_bytes;
    omen_refine_space refine;
    const uint8_t *refine_rows;
    size_t refine_row_bytes;
    const uint32_t *ids;   /* NULL: codes without lists, which are never searched */
    const uint32_t *apart; /* n_apart positions of rows that every query is compared with, ascending */
    uint32_t n_apart;
    const omen_tune_entry *tune;
    size_t n_tune;
    const omen_tune_entry *tune_again; /* n_tune_again entries: the same where queries may be searched again */
    const float *tune_lack;            /* n_tune_again: margins that their limits lack then (omen_margin_again()) */
    size_t n_tune_again;               /* 0: none is */
    uint32_t largest_list;
    const uint8_t *centroid_codes;
    const float *centroid_scales;
    uint64_t centroid_bytes, model_bytes;
    omen_touched code, refn, perm;
    omen_graph graph;
    omen_key_store keys;
    omen_column *columns; /* n_columns; lib/columns.h */
    uint32_t n_columns;
    omen_section cols;
    omen_touched cval;
    /* NULL until the first search that needs them has measured them; exchanged atomically */
    struct omen_list_spread *spread; /* lists_spread.h: of searches under filters and for all rows within a distance */
    struct omen_list_errors *errors; /* lists_errors.h: of the latter */
    /* what searches have left for the next ones, one for each thread (lists_search.h); exchanged atomically */
    struct omen_lists_chunk *kept_chunks[OMEN_KEPT_CHUNKS];
};

/* Opens codes without lists as omen_index_open() opens an index; PERM may be missing. Returns as it does. */
int omen_index_open_codes(omen_index **out, const omen_section *sections, size_t n_sections,
                          omen_detail *why) OMEN_MUST_CHECK;

static inline bool omen_touched_block(const omen_touched *touched, uint64_t block)
{
    return __atomic_load_n(touched->seen + block / 64, __ATOMIC_RELAXED) >> block % 64 & 1;
}

/* Whether bytes [at, at + n_bytes), n_bytes > 0, have been checked. */
static inline bool omen_touched_before(const omen_touched *touched, uint64_t at, uint64_t n_bytes)
{
    if (!touched->seen)
        return true;
    const uint64_t first = at / OMEN_CHECK_BYTES, last = (at + n_bytes - 1) / OMEN_CHECK_BYTES;
    if (last - first <= 1) /* a row */
        return omen_touched_block(touched, first) && omen_touched_block(touched, last);
    for (uint64_t w = first / 64; w <= last / 64; w++) {
        uint64_t missing = ~__atomic_load_n(touched->seen + w, __ATOMIC_RELAXED);
        missing &= w == first / 64 ? UINT64_MAX << first % 64 : UINT64_MAX;
        missing &= w == last / 64 ? UINT64_MAX >> (63 - last % 64) : UINT64_MAX;
        if (missing)
            return false;
    }
    return true;
}

/* Call these before reading from CODE, refine rows or ids. Blocks that no thread has used before are compared with
 * their checksums; refine rows must be finite, and ids below n. A block of codes is 32 rows. Return OMEN_OK or
 * OMEN_ERR_CORRUPT. */
int omen_index_touch_codes(const omen_index *index, uint64_t first_block, uint64_t n_blocks,
                           omen_detail *why) OMEN_MUST_CHECK;
int omen_index_touch_rows(const omen_index *index, uint64_t first_row, uint64_t n_rows,
                          omen_detail *why) OMEN_MUST_CHECK;
int omen_index_touch_ids(const omen_index *index, uint64_t first_row, uint64_t n_rows,
                         omen_detail *why) OMEN_MUST_CHECK;

/* The same of graph codes, whose lengths must be finite, and of neighbours, which must be below n. */
int omen_index_touch_graph_codes(const omen_index *index, uint64_t first_row, uint64_t n_rows,
                                 omen_detail *why) OMEN_MUST_CHECK;
int omen_index_touch_neighbours(const omen_index *index, uint64_t first_row, uint64_t n_rows,
                                omen_detail *why) OMEN_MUST_CHECK;

/* The same for bytes of a section whose contents the caller checks. */
int omen_index_touch_bytes(const omen_touched *touched, uint64_t at, uint64_t n_bytes,
                           omen_detail *why) OMEN_MUST_CHECK;

/* Reads the rows at n positions, each below n_rows, from the refine tier: as omen_index_rows has them; out is n x d.
 * Returns OMEN_OK or OMEN_ERR_CORRUPT. */
int omen_index_read_rows(const omen_index *index, const uint32_t *positions, uint64_t n, float *out,
                         omen_detail *why) OMEN_MUST_CHECK;

/* Exact search over the refine tier, or over a source of at most OMEN_MAX_ROWS rows. queries are n_queries x d; keys
 * gets the k <= n nearest of each query as (distance, id), ascending: n_queries x k. watch may be NULL. Return OMEN_OK,
 * OMEN_ERR_MEMORY, OMEN_ERR_INTERRUPTED and, of an index, OMEN_ERR_CORRUPT, of a source, what it returned. */
int omen_search_exact(const omen_index *index, const float *queries, uint64_t n_queries, uint32_t k, int n_threads,
                      uint64_t *keys, omen_watch *watch, omen_detail *why) OMEN_MUST_CHECK;
int omen_search_source(const omen_source *source, omen_metric metric, const float *queries, uint64_t n_queries,
                       uint32_t k, int n_threads, uint64_t *keys, omen_watch *watch, omen_detail *why) OMEN_MUST_CHECK;

/* Whether a recall is beyond what the refine tier's rounding keeps, by more than that estimate may be wrong. */
bool omen_index_is_rounded_below(const omen_index *index, float recall);

/* Bytes of memory that a thread of such a search takes, of rows of d values. */
uint64_t omen_search_exact_bytes(uint32_t d, uint32_t k);

/* Distances of the rows ids (n_queries x k, each below n or OMEN_NO_ROW) by the refine tier, to distances (n_queries x
 * k; INFINITY for OMEN_NO_ROW). Returns OMEN_OK, OMEN_ERR_CORRUPT or OMEN_ERR_MEMORY. */
int omen_search_distances(const omen_index *index, const float *queries, uint64_t n_queries, uint32_t k,
                          const int64_t *ids, int n_threads, float *distances, omen_detail *why) OMEN_MUST_CHECK;

/* The same of one refine row and, if asked for, its id: the usual case without a call. */
static inline int omen_index_touch_row(const omen_index *index, uint64_t row, bool with_id, omen_detail *why)
{
    int status = OMEN_OK;
    if (!omen_touched_before(&index->refn, row * index->refine_row_bytes, index->refine_row_bytes))
        status = omen_index_touch_rows(index, row, 1, why);
    if (status == OMEN_OK && with_id && index->perm.seen && /* no id is in two blocks */
        !omen_touched_block(&index->perm, row * 4 / OMEN_CHECK_BYTES))
        status = omen_index_touch_ids(index, row, 1, why);
    return status;
}

#define OMEN_FIRST_LISTS 4u /* what d_k is taken from */

/* What a query may cost. A query is searched in its first_lists nearest lists (more where they hold few rows), then in
 * others as far as its own neighbours are (lists_probe.c); then the rows within the margin are re-ranked. */
typedef struct omen_effort {
    float reach;  /* how much farther than the nearest list, in d_k^2 */
    float margin; /* of estimates, as omen_margin_of() takes it; INFINITY: most_rows in any case */
    uint32_t first_lists, least_lists, most_lists; /* rising */
    uint32_t most_rows;
    float lack; /* margins that the limit of a query lacks that is searched again (omen_margin_again()); 0: none is */
    /* under a filter: the part of the matches wanted that the lists not taken may hold; below 0: most_lists are taken
     */
    float missed;
} omen_effort;

static inline omen_effort omen_effort_fixed(uint32_t n_lists, uint32_t n_rows)
{
    return (omen_effort){.margin = INFINITY,
                         .first_lists = n_lists < OMEN_FIRST_LISTS ? n_lists : OMEN_FIRST_LISTS,
                         .least_lists = n_lists,
                         .most_lists = n_lists,
                         .most_rows = n_rows};
}

/* Lists that d_k is taken from, at least. */
static inline uint32_t omen_first_lists(const omen_index *index)
{
    return index->meta.n_lists < OMEN_FIRST_LISTS ? index->meta.n_lists : OMEN_FIRST_LISTS;
}

/* The least that a query takes where the average takes n_lists. */
static inline uint32_t omen_least_lists(const omen_index *index, uint32_t n_lists)
{
    const uint32_t half = n_lists / 2 + n_lists % 2, first = omen_first_lists(index);
    return half > first ? half : first;
}

/* How crowded the rows are about the k-th neighbour is told by the estimate of this rank. */
static inline uint32_t omen_spread_rank(uint32_t k)
{
    return k < (UINT32_MAX - 12) / 4 ? 4 * k + 12 : UINT32_MAX;
}

#define OMEN_CROWDED_MOST 8.0f

/* A query's margin, relative to scale. Of n rows about as far as the k-th neighbour, those with the luckiest errors
 * have the best estimates, which are the more too low, the more rows there are: the k-th best one by about error^2 /
 * spread. */
static inline float omen_margin_of(float margin, float scale, float spread)
{
    const float part = margin * scale, crowded = spread > 0 ? part / spread : part > 0 ? OMEN_CROWDED_MOST : 0;
    return margin * (1 + (crowded < OMEN_CROWDED_MOST ? crowded : OMEN_CROWDED_MOST));
}

#define OMEN_AGAIN_HALF 0.6f /* half a margin is added where the query's margin is so much larger than the effort's */

/* Whether a query is searched again. The k best estimates are the luckiest of many, and those of a query unlike the
 * rows, which are all about as far from it, luckier than its margin has room for. The k-th nearest of the rows that
 * were re-ranked is not lucky: its distance shows what the limit lacks. margin is the effort's, own the query's, both
 * relative to scale; kth is the k-th estimate, nearest the k-th distance in terms of estimates. Returns the estimate up
 * to which rows should be re-ranked, and the margins that the limit lacks in *lack; these are 0 where it is enough. */
static inline float omen_margin_again(float margin, float own, float scale, float kth, float nearest, float *lack)
{
    const float unit = margin * scale, lacks = nearest + unit - (kth + own * scale);
    *lack = unit > 0 && lacks > 0 ? lacks / unit : 0;
    if (!(*lack > 0))
        return -INFINITY;
    const float crowded = own / margin - 1;
    return nearest + unit * (1 + crowded / (OMEN_AGAIN_HALF + crowded));
}

/* The margin for which omen_margin_of() is wanted. */
static inline float omen_margin_for(float wanted, float scale, float spread)
{
    const float least = wanted / (1 + OMEN_CROWDED_MOST);
    if (!(wanted > 0) || !(spread > 0) || least * scale >= OMEN_CROWDED_MOST * spread)
        return least;
    /* m + m^2 scale / spread = wanted */
    return 2 * wanted / (1 + sqrtf(1 + 4 * wanted * scale / spread));
}

/* Rows that the first lists hold at least: d_k is taken from them. */
static inline uint64_t omen_first_rows(const omen_index *index, uint32_t k)
{
    const uint64_t n = omen_spread_rank(k);
    return n < index->meta.n_rows ? n : index->meta.n_rows;
}

/* What a reach is relative to: kth the k-th smallest estimate, nearest2 the squared distance to the nearest
 * centroid, tail what the projection dropped of the query. Never 0. */
static inline float omen_d_k2(float kth, float nearest2, float tail)
{
    const float d_k2 = kth + tail, least = 1e-6f * (nearest2 + tail) + 1e-30f;
    return d_k2 > least ? d_k2 : least;
}

/* The square of what a margin is relative to: the error of an estimate grows with the distance to the centroid. */
static inline float omen_margin_scale2(float kth, float nearest2, float tail)
{
    const float most = kth > nearest2 ? kth : nearest2;
    return most + tail > 0 ? most + tail : 0;
}

/* The squared distance in the lifted space, by the metric's own. */
static inline float omen_lifted_distance2(const omen_index *index, float distance, double query_norm2)
{
    if (index->meta.metric != OMEN_METRIC_IP)
        return index->meta.metric == OMEN_METRIC_COSINE ? 2 * distance : distance;
    /* |q' - x'|^2 = 2 radius^2 - 2 <q', x> with q' = q * radius / |q| */
    const double radius2 = (double)index->meta.ip_radius2, norm2 = query_norm2;
    return norm2 > 0 ? (float)(2 * radius2 + 2 * (double)distance * sqrt(radius2 / norm2)) : 0;
}

/* The metric's own distance, by the squared one in the lifted space. */
static inline float omen_estimate_distance(const omen_index *index, float distance2, double query_norm2)
{
    const omen_metric metric = index->meta.metric;
    const float d2 = distance2 < 0 ? 0 : distance2 > FLT_MAX ? FLT_MAX : distance2;
    if (metric == OMEN_METRIC_L2)
        return d2;
    if (metric == OMEN_METRIC_COSINE)
        return d2 / 2;
    /* |q' - x'|^2 = 2 radius^2 - 2 <q', x> with q' = q * radius / |q| */
    const double radius2 = (double)index->meta.ip_radius2;
    const double distance = radius2 > 0 ? ((double)d2 / 2 - radius2) * sqrt(query_norm2 / radius2) : 0;
    return (float)(distance < -FLT_MAX ? -FLT_MAX : distance > FLT_MAX ? FLT_MAX : distance) + 0.0f; /* no -0 */
}

/* The way through the lists. effort->most_rows is at least k; where the index has no refine tier or no codes, k. keys
 * gets the k best of each query as (distance, id), ascending; under a filter (NULL: none), UINT64_MAX where there are
 * fewer. refine_cold as in omen_search_options; stats, watch and why may be NULL. Returns OMEN_OK, OMEN_ERR_MEMORY,
 * OMEN_ERR_CORRUPT or OMEN_ERR_INTERRUPTED. */
int omen_search_lists(const omen_index *index, const float *queries, uint64_t n_queries, uint32_t k,
                      const omen_effort *effort, const struct omen_lists_filter *filter, bool refine_cold,
                      int n_threads, uint64_t *keys, omen_search_stats *stats, omen_watch *watch,
                      omen_detail *why) OMEN_MUST_CHECK;

/* The n_candidates rows with the smallest estimates in the n_lists nearest lists of each query, before re-ranking: keys
 * gets (estimate, position), ascending, UINT64_MAX where there are fewer. watch and why may be NULL. Returns as
 * omen_search_lists(). */
int omen_search_candidates(const omen_index *index, const float *queries, uint64_t n_queries, uint32_t n_lists,
                           uint32_t n_candidates, int n_threads, uint64_t *keys, omen_watch *watch,
                           omen_detail *why) OMEN_MUST_CHECK;

/* Ranks all lists by distance to each query: ranks[q * n_lists + l] is 0 for the nearest list. By rank, ahead gets how
 * much farther a list is than the nearest one, squared (n_queries x n_lists, too); nearest2 and tails (n_queries) as
 * omen_margin_scale2() takes them. ranks, ahead, watch and why may be NULL. Returns as omen_search_lists(). */
int omen_search_ranks(const omen_index *index, const float *queries, uint64_t n_queries, int n_threads, uint32_t *ranks,
                      float *ahead, float *nearest2, float *tails, omen_watch *watch, omen_detail *why) OMEN_MUST_CHECK;

/* The effort that reaches recall for k <= n: from TUNE, or by a default rule if the index has no TUNE. n_lists and
 * n_rows get what it was on average when it was measured. */
omen_effort omen_index_effort(const omen_index *index, uint32_t k, float recall, uint32_t *n_lists, uint32_t *n_rows);

/* The same where queries may be searched again: from ATUN, if the index has it. */
omen_effort omen_index_effort_again(const omen_index *index, uint32_t k, float recall, uint32_t *n_lists,
                                    uint32_t *n_rows);

/* omen_index_effort() where the rows of n_all together are searched, of which the index has some: k and the rows
 * re-ranked may be more than it has. */
omen_effort omen_index_effort_among(const omen_index *index, uint32_t k, float recall, uint64_t n_all,
                                    uint32_t *n_lists, uint32_t *n_rows);

/* Multiplies it, within what the index holds; a factor of 0 leaves it as it is. */
void omen_effort_scale(omen_effort *effort, const omen_index *index, float factor);

#define OMEN_TUNE_HIGHEST 0.995f /* the highest recall that is calibrated for */

/* The last entry of the table that omen_index_effort() uses for k; NULL if nothing was measured. */
const omen_tune_entry *omen_index_effort_most(const omen_index *index, uint32_t k);

#endif
