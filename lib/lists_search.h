/* SPDX-License-Identifier: Apache-2.0 */
/* Searching the lists: what probing, scanning and the search itself share. Private to lib/lists_*.c. */
#ifndef OMEN_LISTS_SEARCH_H
#define OMEN_LISTS_SEARCH_H

#include "lib/index.h"
#include "lib/matrix.h"
#include "lib/watch.h"

#define LISTS_COARSE_ROWS 32u /* queries whose centroid distances are held at once */
#define LISTS_SCAN_BLOCKS 4u  /* blocks scanned between visits to the pool */

/* The best candidates of a query so far. */
typedef struct omen_pool {
    uint64_t *keys;
    uint32_t n, limit; /* keys held; keys that count */
    uint64_t worst;    /* the limit-th smallest key once there are that many, else UINT64_MAX */
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
    float value;   /* |c|^2 / 2 - <q, c>: what lists are ranked by */
    uint32_t turn; /* 0: scanned before those of turn 1 */
} omen_probe;

/* The state of one thread's chunk of queries. */
typedef struct omen_lists_chunk {
    const omen_index *index;
    uint32_t k, n_probes, n_rerank;
    bool rank_only; /* the pools themselves are wanted */
    bool refine_cold;
    bool keys_are_ids; /* no refine tier, or no codes: pool keys are final */
    uint32_t shift;    /* rabitq */
    uint64_t pool_size;
    size_t ld; /* floats of a transformed query */
    omen_watch *watch;
    /* a chunk's buffers */
    float *lifted, *transformed, *tails, *dots, *values, *work, *table;
    uint32_t *short_lists;
    uint8_t *luts;
    omen_query_scale *scales;
    omen_pool *pools;
    uint64_t *pool_keys;
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

/* The lists nearest to each query of the transformed chunk, sorted by turn, then by list. Returns OMEN_OK,
 * OMEN_ERR_MEMORY or OMEN_ERR_CORRUPT. */
int omen_lists_choose(omen_lists_chunk *s, size_t n_queries, omen_detail *why) OMEN_MUST_CHECK;

/* ---- lists_scan.c ---- */

/* Cuts a pool back to its limit. */
void omen_pool_cut(omen_pool *p);

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
