/* SPDX-License-Identifier: Apache-2.0 */
/* Searching the lists: what probing, scanning and the search itself share. Private to lib/lists_*.c. */
#ifndef OMEN_LISTS_SEARCH_H
#define OMEN_LISTS_SEARCH_H

#include "lib/index.h"
#include "lib/matrix.h"
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
    float margin;       /* of estimates; INFINITY: the n_most smallest, whatever their estimates */
    float nearest2;     /* squared distance to the nearest centroid */
    float tail;         /* what the projection dropped of the query's squared length */
    float kth;          /* the k-th smallest estimate when it was last cut; INFINITY before */
    uint64_t last;      /* the n_least-th smallest key when it was last cut; UINT64_MAX before */
    uint64_t worst;     /* no key from here on is wanted */
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
    float base; /* |q - c|^2 */
} omen_probe;

/* What is known of a query's lists. */
typedef struct omen_query_lists {
    float norm2;         /* of the projected query */
    float nearest_value; /* of the nearest list */
    double query_norm2;  /* of the query itself */
    uint64_t last_first; /* key (value, list) of the last of the first lists */
    uint32_t n_first;
    uint64_t n_first_rows;
} omen_query_lists;

/* The state of one thread's chunk of queries. */
typedef struct omen_lists_chunk {
    const omen_index *index;
    uint32_t k;
    omen_effort effort;
    bool rank_only; /* the pools themselves are wanted */
    bool refine_cold;
    bool keys_are_ids;  /* no refine tier, or no codes: pool keys are final */
    uint32_t shift;     /* rabitq */
    uint32_t pool_size; /* most keys of a pool before it is cut back */
    size_t ld, ldc;     /* floats of a transformed query; of its values */
    omen_watch *watch;
    /* a chunk's buffers */
    float *lifted, *transformed, *tails, *work, *table;
    float *values; /* queries x ldc: |c|^2 / 2 - <q, c>, what lists are ranked by */
    uint32_t *short_lists;
    uint64_t *list_keys; /* ldc of them, and as much room to work in */
    omen_query_lists *lists;
    uint8_t *luts;
    omen_query_scale *scales;
    omen_pool *pools;
    uint64_t *pool_keys, *pool_work;
    omen_probe *probes, *sorted;
    size_t n_pairs, pairs_size;
    uint32_t *list_first;
    int16_t *est;
    uint32_t *masks;
    omen_search_stats stats;
} omen_lists_chunk;

/* Capacity of a pool in keys: one block beyond the size that triggers a cut. */
static inline size_t omen_pool_room(const omen_lists_chunk *s)
{
    return s->pool_size + OMEN_SCAN_BLOCK;
}

/* ---- lists_probe.c ---- */

/* Fills values and lists of the transformed chunk. Returns OMEN_OK or OMEN_ERR_CORRUPT. */
int omen_lists_rank(omen_lists_chunk *s, size_t n_queries, omen_detail *why) OMEN_MUST_CHECK;

/* The first lists of each query, sorted by list. Return OMEN_OK or OMEN_ERR_MEMORY. */
int omen_lists_choose_first(omen_lists_chunk *s, size_t n_queries) OMEN_MUST_CHECK;

/* The other lists that each query takes, by what was found in the first ones, sorted by list. */
int omen_lists_choose_others(omen_lists_chunk *s, size_t n_queries) OMEN_MUST_CHECK;

/* ---- lists_scan.c ---- */

/* Drops what is not within the margin, or behind the n_most smallest. size: most keys before it is cut again; work has
 * room for twice as many as p->keys has. */
void omen_pool_cut(omen_pool *p, uint32_t size, uint64_t *work);

/* Sets the query's own margin, by what its first lists hold, and cuts. */
void omen_pool_set_margin(omen_pool *p, float margin, uint32_t size, uint64_t *work);

/* The integer tables of one query. */
void omen_lists_make_tables(omen_lists_chunk *s, size_t query);

/* Checks what the scan of a list will read: its codes, and its ids where they are keys, or its refine rows and ids. */
int omen_lists_touch(omen_lists_chunk *s, uint32_t list, omen_detail *why) OMEN_MUST_CHECK;

/* Scans one list for n <= OMEN_SCANS queries, prefetching ahead. */
void omen_lists_scan(omen_lists_chunk *s, const omen_probe *pairs, size_t n, const uint8_t *ahead,
                     size_t n_ahead_bytes);

/* Without codes: compares the refine rows of a list directly. */
void omen_lists_scan_rows(omen_lists_chunk *s, const omen_probe *pair, const float *query);

#endif
