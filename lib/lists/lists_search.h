/* SPDX-License-Identifier: Apache-2.0 */
/* Searching the lists: what probing, scanning and the search itself share. Private to lib/lists/lists_*.c. */
#ifndef OMEN_LISTS_SEARCH_H
#define OMEN_LISTS_SEARCH_H

#include "lib/index.h"
#include "lib/lists/lists_spread.h"
#include "lib/matrix.h"
#include "lib/row_set.h"
#include "lib/watch.h"

#define LISTS_COARSE_ROWS 32u /* queries of one product with the centroids */
#define LISTS_SCAN_BLOCKS 4u  /* blocks scanned between visits to the pool */

/* The best candidates of a query so far: those whose estimate is within the margin of the k-th best one, the n_most
 * smallest of them. Both only get stricter as candidates come, so what is left in the end does not depend on their
 * order. */
typedef struct omen_pool {
    uint64_t *keys;
    uint32_t n, n_cut;  /* keys held; so many are cut back */
    uint32_t k, n_most; /* n_most >= k */
    uint32_t n_least;   /* so many are kept in any case */
    float margin;       /* of estimates, the effort's; INFINITY: the n_most smallest, whatever their estimates */
    bool has_margin;    /* it is the query's own, by what its first lists hold */
    bool is_ranked;     /* kth and last are kept */
    float nearest2;     /* squared distance to the nearest centroid */
    float tail;         /* what the projection dropped of the query's squared length */
    float kth;          /* the k-th smallest estimate when it was last cut; INFINITY before */
    uint64_t last;      /* the n_least-th smallest key when it was last cut; UINT64_MAX before */
    uint64_t worst;     /* no key from here on is wanted */
    bool is_again;      /* the query is searched a second time */
} omen_pool;

/* What turns a query's integers into distances. */
typedef struct omen_query_scale {
    float unit, per_unit; /* U, 1 / U */
    float bias;           /* pq: sum of the tables' minima */
    float f_per_step;     /* 256 / U: f_scale = step * this */
    int16_t middle;
} omen_query_scale;

/* A list to scan for a query. */
typedef struct omen_probe {
    uint32_t list, query;
    float base;    /* |q - c|^2 */
    uint32_t turn; /* 0: scanned before those of turn 1 */
} omen_probe;

/* What is known of a query's lists. */
typedef struct omen_query_lists {
    float norm2;         /* of the projected query */
    float nearest_value; /* of the nearest list */
    double query_norm2;  /* of the query itself */
    uint64_t last_first; /* key (value, list) of the last of the first lists */
    uint32_t n_first;
    uint64_t n_first_rows;
    float d_k2; /* that the others were chosen by */
} omen_query_lists;

/* How far a query under a filter is. */
typedef struct omen_query_filter {
    const omen_row_set *set;
    const uint32_t *matches; /* of each list */
    uint64_t last;           /* key (value, list) of the farthest of the n_taken lists taken, which have matches */
    uint32_t n_taken;
    bool has_tables, done;
    bool compares_all; /* matches one by one, in all lists */
} omen_query_filter;

/* What of an index turns into what several indexes have in common that are searched together: an estimate x, with what
 * the query's lack, into factor * x + offset, and a position into first_row + position. */
typedef struct omen_lists_share {
    float factor, offset;
    uint32_t first_row;
} omen_lists_share;

/* The state of one thread's chunk of queries. */
typedef struct omen_lists_chunk {
    /* what is left for the next search: memory, and how much of it there is */
    struct omen_lists_chunk *kept;                /* where it is held meanwhile; NULL: it is not */
    size_t n_rows_room, n_values_room, pool_room; /* queries; of them, with values; keys of a pool */
    float *lifted, *transformed, *tails, *work, *table;
    void *axes_work; /* of omen_query_axes_project() */
    float *values;   /* |c|^2 / 2 - <q, c>, what lists are ranked by: omen_lists_values() */
    float *lacks;    /* of each query, what its estimates lack: the tail, less their bias */
    uint32_t *short_lists;
    uint64_t *list_keys; /* ldc of them, and as much room to work in */
    omen_query_lists *lists;
    uint8_t *luts;
    omen_query_scale *scales;
    omen_pool *pools;
    uint64_t *pool_keys, *pool_work;
    omen_probe *probes, *sorted;
    size_t pairs_size;
    uint32_t *list_first;
    int16_t *est;
    uint32_t *masks;
    /* what is the search's own: begins as zeros */
    const omen_index *index;
    /* n_lists + 1: how many rows are in lists, and how large factors are: the index's; of several that share a model
     * and are searched together, the sums, and the largest of all */
    const uint32_t *first;
    float f_step_max, g_max;
    uint32_t k;
    omen_effort effort;
    bool rank_only; /* the pools themselves are wanted */
    bool is_fixed;  /* as many lists and rows for each query */
    bool refine_cold;
    bool keys_are_ids; /* no refine tier, or no codes: pool keys are final */
    bool keeps;        /* its memory, for the next search */
    /* the pools, and what scans need, are another chunk's, of an index that is searched together with this one */
    bool shares_pools;
    bool shares_all;               /* so is all else, since the indexes share a model */
    const omen_lists_share *share; /* what their keys have in common then; else NULL */
    uint32_t shift;                /* rabitq */
    uint32_t pool_size;            /* most keys of a pool before it is cut back */
    size_t ld, ldc;                /* floats of a transformed query; of its values */
    omen_watch *watch;
    size_t n_pairs;
    /* under filters; else NULL */
    const omen_list_spread *spread;
    omen_stop_rule stop;
    omen_query_filter *filters;
    uint32_t *positions; /* of matches that are to be compared with a query */
    size_t n_positions, positions_size;
    size_t n_active; /* queries that have taken lists in this round */
    /* where all rows within a distance are wanted; else NULL */
    struct omen_range *ranges; /* of each query */
    float within;
    uint64_t limit;
    const float *rows; /* the queries, as refine rows are compared with them */
    int status;        /* of pools emptied in a scan */
    omen_detail why;
    omen_search_stats stats;
} omen_lists_chunk;

/* Capacity of a pool in keys: one block beyond the size that triggers a cut. */
static inline size_t omen_pool_room(const omen_lists_chunk *s)
{
    return s->pool_size + OMEN_SCAN_BLOCK;
}

/* What the lists are ranked by, ldc of them for each query. Where the effort is fixed, only of the queries ranked
 * last. */
static inline float *omen_lists_values(const omen_lists_chunk *s, size_t query)
{
    return s->values + (s->is_fixed ? query % LISTS_COARSE_ROWS : query) * s->ldc;
}

/* Asks for the first 1,024 bits that a query's set has of a list, before they are read. */
static inline void omen_lists_fetch_matches(const omen_lists_chunk *s, uint32_t query, uint32_t list)
{
    const uint64_t *words = s->filters[query].set->words + s->index->first[list] / 64;
    __builtin_prefetch(words);
    __builtin_prefetch(words + 8);
}

/* An estimate as pools hold it. */
static inline float omen_lists_shared(const omen_lists_chunk *s, uint32_t query, float estimate)
{
    return s->share ? s->share->factor * (estimate + s->lacks[query]) + s->share->offset : estimate;
}

/* The squared distance of a query to the nearest centroid. */
static inline float omen_lists_nearest2(const omen_lists_chunk *s, size_t query)
{
    const float nearest2 = s->lists[query].norm2 + 2 * s->lists[query].nearest_value;
    return nearest2 > 0 ? nearest2 : 0;
}

/* ---- lists_search.c ---- */

/* Begins the state of one thread: room for n_queries in a chunk. pools_of: the chunk whose pools it shares, of the same
 * k and effort->most_rows; NULL: it has its own, in memory that an earlier search has left, where that suffices. share
 * is the caller's to set. The same thread calls omen_lists_chunk_finish() even after a failure. Returns OMEN_OK or
 * OMEN_ERR_MEMORY. */
int omen_lists_chunk_init(omen_lists_chunk *s, const omen_index *index, uint32_t k, const omen_effort *effort,
                          bool rank_only, bool is_fixed, size_t n_queries,
                          const omen_lists_chunk *pools_of) OMEN_MUST_CHECK;
void omen_lists_chunk_finish(omen_lists_chunk *s);

/* A chunk of an index that shares its model with that of another chunk, whose buffers it has. omen_lists_scan_shared()
 * scans the lists that the other one has sorted. share is the caller's to set. */
void omen_lists_chunk_share(omen_lists_chunk *s, const omen_index *index, const omen_lists_chunk *of);
int omen_lists_scan_shared(omen_lists_chunk *s, const omen_lists_chunk *of, const float *rows,
                           omen_detail *why) OMEN_MUST_CHECK;

/* Frees the memory that searches have left. */
void omen_lists_free_kept(omen_index *index);

/* Transforms queries, ranks their lists and, if it chooses, adds the first ones of each. *rows are the queries as
 * refine rows are compared with them, in s->lifted or the caller's. Returns as omen_lists_rank(). */
int omen_lists_begin(omen_lists_chunk *s, const float *queries, size_t n_queries, bool chooses, const float **rows,
                     omen_detail *why) OMEN_MUST_CHECK;

/* A pool of nothing. nearest2 and tail as it has them. */
omen_pool omen_lists_empty_pool(const omen_lists_chunk *s, size_t query, float nearest2, float tail);

/* Scans the chosen lists. rows are what the refine tier is compared with. Returns OMEN_OK, OMEN_ERR_CORRUPT,
 * OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED. */
int omen_lists_scan_pairs(omen_lists_chunk *s, const float *rows, omen_detail *why) OMEN_MUST_CHECK;

/* Tells the system that rows will be read here and there. */
void omen_lists_expect_random(const omen_index *index);

/* ---- lists_probe.c ---- */

/* Fills values and lists of n transformed queries from q0 on, at most LISTS_COARSE_ROWS. Returns OMEN_OK or
 * OMEN_ERR_CORRUPT. */
int omen_lists_rank(omen_lists_chunk *s, size_t q0, size_t n, omen_detail *why) OMEN_MUST_CHECK;

/* Adds the lists of n ranked queries from q0 on: the first ones of each; or, where the effort is fixed, all of them,
 * the nearest in the first turn. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int omen_lists_choose_first(omen_lists_chunk *s, size_t q0, size_t n) OMEN_MUST_CHECK;

/* The other lists that each query takes, by what was found in the first ones, sorted by list. Return OMEN_OK or
 * OMEN_ERR_MEMORY. */
int omen_lists_choose_others(omen_lists_chunk *s, size_t n_queries) OMEN_MUST_CHECK;

/* The same for one query, whose lists are added: d_k2 (omen_d_k2()) was found, and wanted is how many rows the lists
 * have to hold at least. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int omen_lists_add_others(omen_lists_chunk *s, uint32_t query, const omen_effort *effort, float d_k2,
                          uint64_t wanted) OMEN_MUST_CHECK;

/* The lists that may hold rows within s->within, of pools that omen_lists_limit_range() has limited, sorted by list. */
int omen_lists_choose_within(omen_lists_chunk *s, size_t n_queries) OMEN_MUST_CHECK;

/* Room for n pairs. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int omen_lists_reserve(omen_lists_chunk *s, size_t n) OMEN_MUST_CHECK;

/* Fills sorted from probes, by turn and list. */
void omen_lists_sort_probes(omen_lists_chunk *s);

/* The k-th smallest estimate of a query so far. Without codes there are distances in its place. */
float omen_lists_kth(const omen_lists_chunk *s, uint32_t query);

/* ---- lists_filter.c ---- */

/* Begins a search under filters: no list is taken yet. */
void omen_filters_begin(omen_lists_chunk *s, const omen_row_set *const *sets, size_t n_queries);

/* The next round: compares the refine rows (rows: the queries) of lists with few matches, and sorts the others by list,
 * to be scanned. n_active is 0 when all queries are done. Returns OMEN_OK, OMEN_ERR_MEMORY, OMEN_ERR_CORRUPT or
 * OMEN_ERR_INTERRUPTED. */
int omen_filters_choose(omen_lists_chunk *s, const float *rows, size_t n_queries, omen_detail *why) OMEN_MUST_CHECK;

/* For a query that is searched again, whose k-th match is no farther than kth: as in a round, the lists that it took,
 * and those that it needs besides. Returns as omen_filters_choose() does. */
int omen_filters_choose_again(omen_lists_chunk *s, uint32_t query, float kth, const float *row,
                              omen_detail *why) OMEN_MUST_CHECK;

/* ---- lists_rerank.c ---- */

/* Asks the system for the pages of the refine rows of n keys. Only a hint. */
void omen_lists_ask_ahead(const omen_index *index, const uint64_t *keys, uint32_t n);

/* n keys (estimate, position) become (distance, id) of their refine rows, which are read in order of address. Returns
 * OMEN_OK or OMEN_ERR_CORRUPT. */
int omen_lists_rerank(omen_lists_chunk *s, uint64_t *keys, uint32_t n, const float *query,
                      omen_detail *why) OMEN_MUST_CHECK;

/* Limits an empty pool to what may be within s->within. */
void omen_lists_limit_range(omen_lists_chunk *s, size_t query);

/* Moves rows of the pool that are within s->within to the query's range, and empties the pool. Returns OMEN_OK, or
 * OMEN_ERR_CORRUPT (s->why is set) or OMEN_ERR_MEMORY. */
int omen_lists_take_range(omen_lists_chunk *s, size_t query) OMEN_MUST_CHECK;

/* ---- lists_scan.c ---- */

/* Drops what is not within the margin, or behind the n_most smallest. size: most keys before it is cut again; work has
 * room for twice as many as p->keys has. */
void omen_pool_cut(omen_pool *p, uint32_t size, uint64_t *work);

/* Finds the k-th best estimate of a pool that holds so many. Returns how much farther the one is that tells how crowded
 * rows are there (omen_spread_rank()). */
float omen_pool_measure(omen_pool *p, uint64_t *work);

/* Sets the margin for what is to come, after omen_pool_measure(), and cuts. */
void omen_pool_limit(omen_pool *p, float margin, uint32_t size, uint64_t *work);

/* Sets the query's own margin, by what its first lists hold, and cuts. */
void omen_pool_set_margin(omen_pool *p, uint32_t size, uint64_t *work);

/* The integer tables of one query. */
void omen_lists_make_tables(omen_lists_chunk *s, size_t query);

/* Checks what the scan of a list will read: its codes, and its ids where they are keys, or its refine rows and ids. */
int omen_lists_touch(omen_lists_chunk *s, uint32_t list, omen_detail *why) OMEN_MUST_CHECK;

/* Scans one list for n <= OMEN_SCANS queries, prefetching ahead. */
void omen_lists_scan(omen_lists_chunk *s, const omen_probe *pairs, size_t n, const uint8_t *ahead,
                     size_t n_ahead_bytes);

/* Without codes: compares the refine rows of a list directly. */
void omen_lists_scan_rows(omen_lists_chunk *s, const omen_probe *pair, const float *query);

/* Notes the rows of a list that are in the query's set, and compares with them, by their refine rows, when there are
 * enough; the second compares with all that are noted. Return OMEN_OK or OMEN_ERR_CORRUPT. */
int omen_lists_add_matches(omen_lists_chunk *s, uint32_t query, uint32_t list, const float *row,
                           omen_detail *why) OMEN_MUST_CHECK;
int omen_lists_compare_matches(omen_lists_chunk *s, uint32_t query, const float *row, omen_detail *why) OMEN_MUST_CHECK;

#endif
