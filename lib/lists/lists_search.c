/* SPDX-License-Identifier: Apache-2.0 */
/* The way through the lists: a batch of queries, list by list.
 *
 * Queries are taken in chunks, one chunk a thread. Phases of a chunk: transform; distances to all centroids by one
 * matrix product; integer tables; the first lists of each query; the other lists that it takes, by what was found in
 * the first; re-ranking of each query's pool in order of address. (List, query) pairs are scanned in list order, so
 * that a list is scanned for all its queries while it is in cache. A query whose estimates turn out to have been too
 * lucky is searched a second time, with the limit that is known then.
 *
 * A pool holds the (estimate, row) pairs within a margin of the k-th smallest estimate met so far, and not more than
 * the n_most smallest. A candidate is turned away only when one of the two conditions can no longer be met, so its
 * final content, and with it the result, does not depend on the order of the lists, on chunks or on threads.
 */
#include <float.h>
#include <math.h>
#include <omp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/filter.h"
#include "lib/lists/lists_search.h"
#include "lib/query_axes.h"
#include "lib/range.h"
#include "lib/refine.h"

#define CHUNK       512u        /* most queries of a chunk */
#define MATCHES     1024u       /* compared with a query in one go, if no list is larger */
#define POOL_SLACK  64u         /* pool entries beyond the most that count before it is cut back */
#define ASK_AHEAD   16u         /* queries whose refine rows are prefetched before they are used */
#define KEPT_MOST   (64u << 20) /* bytes that a thread leaves for the next search */
#define CHUNK_BYTES (64u << 20) /* most that the pools and probes of a chunk of more than one query take */

/* ---- the state of one thread's chunk ---- */

static void free_memory(omen_lists_chunk *s)
{
    if (s->shares_all)
        return;
    free(s->lifted);
    free(s->transformed);
    free(s->tails);
    free(s->axes_work);
    free(s->lacks);
    free(s->values);
    free(s->work);
    free(s->short_lists);
    free(s->list_keys);
    free(s->lists);
    free(s->table);
    free(s->luts);
    free(s->scales);
    free(s->probes);
    free(s->sorted);
    free(s->list_first);
    free(s->kept);
    if (s->shares_pools)
        return;
    free(s->pools);
    free(s->pool_keys);
    free(s->pool_work);
    free(s->est);
    free(s->masks);
}

/* The pools, and what scans write to: allocated, or another chunk's. */
static void take_pools(omen_lists_chunk *s, size_t n_queries, const omen_lists_chunk *of)
{
    s->shares_pools = of;
    s->pools = of ? of->pools : omen_alloc(n_queries, sizeof *s->pools);
    s->pool_keys = of ? of->pool_keys : omen_alloc(n_queries * s->pool_room, sizeof *s->pool_keys);
    s->pool_work = of ? of->pool_work : omen_alloc(2 * s->pool_room, sizeof *s->pool_work);
    s->est = of ? of->est : omen_alloc(OMEN_SCANS * LISTS_SCAN_BLOCKS * OMEN_SCAN_BLOCK, sizeof *s->est);
    s->masks = of ? of->masks : omen_alloc(OMEN_SCANS * LISTS_SCAN_BLOCKS, sizeof *s->masks);
}

static int allocate(omen_lists_chunk *s, size_t n_queries, size_t n_values, const omen_lists_chunk *pools_of)
{
    const omen_meta *m = &s->index->meta;
    s->n_rows_room = n_queries;
    s->n_values_room = n_values;
    s->pool_room = omen_pool_room(s);
    s->pairs_size = n_queries * s->effort.least_lists;
    s->lifted = omen_alloc(n_queries * m->d_full, sizeof *s->lifted);
    s->transformed = omen_alloc(n_queries * s->ld, sizeof *s->transformed);
    s->tails = omen_alloc(n_queries, sizeof *s->tails);
    s->axes_work = omen_alloc(omen_query_axes_work_bytes(s->index, n_queries), 1);
    s->values = omen_alloc(n_values * s->ldc, sizeof *s->values);
    s->work = omen_alloc(2 * s->ldc, sizeof *s->work);
    s->short_lists = omen_alloc(s->ldc + 16, sizeof *s->short_lists);
    s->list_keys = omen_alloc(2 * s->ldc, sizeof *s->list_keys);
    s->lists = omen_alloc(n_queries, sizeof *s->lists);
    s->table = omen_alloc((size_t)m->n_sub * 16, sizeof *s->table);
    s->luts = omen_alloc(n_queries * m->n_sub, 16);
    s->scales = omen_alloc(n_queries, sizeof *s->scales);
    s->probes = omen_alloc(s->pairs_size, sizeof *s->probes);
    s->sorted = omen_alloc(s->pairs_size, sizeof *s->sorted);
    s->list_first = omen_alloc(2 * (size_t)m->n_lists + 1, sizeof *s->list_first);
    s->lacks = omen_alloc(n_queries, sizeof *s->lacks);
    s->kept = pools_of ? NULL : omen_alloc(1, sizeof *s->kept);
    take_pools(s, n_queries, pools_of);
    if (!s->lifted || !s->transformed || !s->tails || !s->axes_work || !s->lacks || !s->values || !s->work ||
        !s->short_lists || !s->list_keys || !s->lists || !s->table || !s->luts || !s->scales || !s->pools ||
        !s->pool_keys || !s->pool_work || !s->probes || !s->sorted || !s->list_first || !s->est || !s->masks ||
        (!s->kept && !pools_of))
        return OMEN_ERR_MEMORY;
    return OMEN_OK;
}

/* ---- chunks kept ---- */

/* The place of this thread's, NULL if it has none. Another search may use it at the same time. */
static omen_lists_chunk **kept_place(const omen_index *index)
{
    const int thread = omp_get_thread_num();
    return thread < OMEN_KEPT_CHUNKS ? (omen_lists_chunk **)&index->kept_chunks[thread] : NULL;
}

/* Takes the memory that an earlier search has left, if it suffices. What is new memory has to be cleared by the system
 * first: of a query alone that takes as long as a twentieth of its search. */
static bool take_kept(omen_lists_chunk *s, const omen_index *index, size_t n_queries, size_t n_values, size_t pool_room)
{
    omen_lists_chunk **place = kept_place(index);
    omen_lists_chunk *kept = place ? __atomic_exchange_n(place, NULL, __ATOMIC_ACQ_REL) : NULL;
    if (!kept)
        return false;
    *s = *kept;
    s->kept = kept;
    if (s->n_rows_room >= n_queries && s->n_values_room >= n_values && s->pool_room >= pool_room) {
        const size_t own = offsetof(omen_lists_chunk, index);
        memset((uint8_t *)s + own, 0, sizeof *s - own);
        return true;
    }
    free_memory(s);
    return false;
}

/* Whether that is little enough to be kept: what grows with queries and with what a query asks for. */
static bool can_keep(const omen_lists_chunk *s)
{
    const omen_meta *m = &s->index->meta;
    const uint64_t a_query = 4 * ((uint64_t)m->d_full + s->ld) + 16 * (uint64_t)m->n_sub + 8 * (uint64_t)s->pool_room;
    const uint64_t n_bytes = s->n_rows_room * a_query + 4 * (uint64_t)s->n_values_room * s->ldc +
                             2 * sizeof(omen_probe) * (uint64_t)s->pairs_size + 16 * (uint64_t)s->pool_room;
    return n_bytes <= KEPT_MOST;
}

void omen_lists_chunk_finish(omen_lists_chunk *s)
{
    free(s->filters);
    free(s->positions);
    omen_lists_chunk **place = s->keeps && can_keep(s) ? kept_place(s->index) : NULL;
    if (!place) {
        free_memory(s);
        return;
    }
    omen_lists_chunk *kept = s->kept;
    *kept = *s;
    kept->kept = NULL;
    kept = __atomic_exchange_n(place, kept, __ATOMIC_ACQ_REL);
    if (kept)
        free_memory(kept);
    free(kept);
}

void omen_lists_free_kept(omen_index *index)
{
    for (size_t i = 0; i < OMEN_KEPT_CHUNKS; i++)
        if (index->kept_chunks[i]) {
            free_memory(index->kept_chunks[i]);
            free(index->kept_chunks[i]);
        }
}

int omen_lists_chunk_init(omen_lists_chunk *s, const omen_index *index, uint32_t k, const omen_effort *effort,
                          bool rank_only, bool is_fixed, size_t n_queries, const omen_lists_chunk *pools_of)
{
    const omen_meta *m = &index->meta;
    const size_t n_values = is_fixed && n_queries > LISTS_COARSE_ROWS ? LISTS_COARSE_ROWS : n_queries;
    const uint32_t pool_size = 2 * effort->most_rows + POOL_SLACK;
    const bool has_memory = !pools_of && take_kept(s, index, n_queries, n_values, pool_size + OMEN_SCAN_BLOCK);
    if (!has_memory)
        memset(s, 0, sizeof *s);
    s->index = index;
    s->first = index->first;
    s->f_step_max = index->f_step_max;
    s->g_max = index->g_max;
    s->k = k;
    s->effort = *effort;
    s->rank_only = rank_only;
    s->is_fixed = is_fixed;
    s->keys_are_ids = !rank_only && (m->refine == OMEN_REFINE_NONE || m->codec == OMEN_CODEC_NONE);
    s->ld = omen_round_up(m->d_kept, OMEN_PANEL);
    s->ldc = omen_round_up(m->n_lists, OMEN_PANEL);
    s->pool_size = pool_size;
    if (m->codec != OMEN_CODEC_NONE)
        while (s->shift < 10 &&
               (omen_codec_lut_max(&index->model) * m->n_sub / 2 + m->n_sub / 4 + 1) << (s->shift + 1) < 32768)
            s->shift++;
    const int status = has_memory ? OMEN_OK : allocate(s, n_queries, n_values, pools_of);
    s->keeps = status == OMEN_OK && !pools_of;
    return status;
}

void omen_lists_chunk_share(omen_lists_chunk *s, const omen_index *index, const omen_lists_chunk *of)
{
    *s = *of;
    s->index = index;
    s->shares_all = true;
    s->keeps = false;
    s->kept = NULL;
    s->stats = (omen_search_stats){.n_queries = 0};
}

int omen_lists_scan_shared(omen_lists_chunk *s, const omen_lists_chunk *of, const float *rows, omen_detail *why)
{
    s->sorted = of->sorted;
    s->n_pairs = of->n_pairs;
    return omen_lists_scan_pairs(s, rows, why);
}

/* What a chunk under filters has besides. */
static int chunk_init_filters(omen_lists_chunk *s, const omen_lists_filter *filter, size_t n_queries)
{
    const omen_index *index = s->index;
    s->spread = filter->spread;
    s->stop = omen_stop_rule_make(filter->spread, (double)s->effort.missed);
    s->filters = omen_alloc(n_queries, sizeof *s->filters);
    s->positions_size = index->largest_list > MATCHES ? index->largest_list : MATCHES;
    s->positions = omen_alloc(s->positions_size + 16, sizeof *s->positions); /* as bit_positions wants */
    return s->filters && s->positions ? OMEN_OK : OMEN_ERR_MEMORY;
}

/* Whole pages within the refine rows: no other rows are read with those asked for. */
void omen_lists_expect_random(const omen_index *index)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)index->refine_rows;
    const uintptr_t first = (begin + page - 1) / page * page,
                    end = (begin + index->meta.n_rows * index->refine_row_bytes) / page * page;
    if (first < end)
        posix_madvise((void *)first, end - first, POSIX_MADV_RANDOM);
}

int omen_lists_scan_pairs(omen_lists_chunk *s, const float *rows, omen_detail *why)
{
    const omen_index *index = s->index;
    const omen_meta *m = &index->meta;
    const uint8_t *ahead = NULL;
    size_t list_end = 0, ahead_bytes = 0, ahead_step = 0;
    int status = OMEN_OK;
    for (size_t i = 0, n = 1; i < s->n_pairs; i += n) {
        const omen_probe *pairs = s->sorted + i;
        if (omen_watch_stopped(s->watch))
            return OMEN_ERR_INTERRUPTED;
        if (index->first[pairs->list] == index->first[pairs->list + 1]) {
            n = 1;
            list_end = i + 1;
            continue;
        }
        if ((i == 0 || pairs->list != pairs[-1].list) && (status = omen_lists_touch(s, pairs->list, why)) != OMEN_OK)
            return status;
        if (s->status != OMEN_OK)
            return OMEN_OK; /* the caller looks at it */
        if (m->codec == OMEN_CODEC_NONE) {
            const float *query = rows + (size_t)pairs->query * m->d;
            if (!s->filters)
                omen_lists_scan_rows(s, pairs, query);
            else if ((status = omen_lists_add_matches(s, pairs->query, pairs->list, query, why)) != OMEN_OK ||
                     (status = omen_lists_compare_matches(s, pairs->query, query, why)) != OMEN_OK)
                return status;
            continue;
        }
        for (n = 1; n < OMEN_SCANS && i + n < s->n_pairs && pairs[n].list == pairs->list;)
            n++;
        /* the codes of the next list come from memory while this one is scanned: a part with each scan */
        if (i == list_end) {
            while (list_end < s->n_pairs && s->sorted[list_end].list == pairs->list)
                list_end++;
            const uint32_t next = list_end < s->n_pairs ? s->sorted[list_end].list : pairs->list;
            ahead = index->blocks + (size_t)index->first[next] / OMEN_SCAN_BLOCK * index->block_bytes;
            ahead_bytes = list_end < s->n_pairs ? (size_t)(index->first[next + 1] - index->first[next]) /
                                                      OMEN_SCAN_BLOCK * index->block_bytes
                                                : 0;
            /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): the list has a pair, so list_end is beyond i */
            ahead_step = ahead_bytes / ((list_end - i + OMEN_SCANS - 1) / OMEN_SCANS) + 64;
        }
        const size_t step = ahead_step < ahead_bytes ? ahead_step : ahead_bytes;
        omen_lists_scan(s, pairs, n, ahead, step);
        ahead += step;
        ahead_bytes -= step;
    }
    s->stats.lists.probed += s->n_pairs;
    return OMEN_OK;
}

omen_pool omen_lists_empty_pool(const omen_lists_chunk *s, size_t query, float nearest2, float tail)
{
    const uint32_t n_least = omen_spread_rank(s->k), n_most = s->effort.most_rows;
    const uint64_t n_cut = 4 * (uint64_t)n_least;
    return (omen_pool){.keys = s->pool_keys + query * omen_pool_room(s),
                       .n_cut = n_cut < s->pool_size && !s->is_fixed ? (uint32_t)n_cut : s->pool_size,
                       .k = s->k,
                       .n_most = n_most,
                       .n_least = n_least < n_most ? n_least : n_most,
                       .margin = s->effort.margin,
                       .is_ranked = !s->is_fixed,
                       .nearest2 = nearest2,
                       .tail = tail,
                       .kth = INFINITY,
                       .last = UINT64_MAX,
                       .worst = UINT64_MAX};
}

/* Fills the pools: the first lists, then, unless these were all, the others. */
static int fill_pools(omen_lists_chunk *s, const float *rows, size_t n_queries, omen_detail *why)
{
    omen_lists_sort_probes(s);
    for (size_t q = 0; q < n_queries && s->index->meta.codec != OMEN_CODEC_NONE; q++)
        omen_lists_make_tables(s, q);
    int status = omen_lists_scan_pairs(s, rows, why);
    if (!s->is_fixed) {
        for (size_t q = 0; q < n_queries; q++)
            omen_pool_set_margin(&s->pools[q], s->pool_size, s->pool_work);
        if (status == OMEN_OK)
            status = omen_lists_choose_others(s, n_queries);
        if (status == OMEN_OK)
            status = omen_lists_scan_pairs(s, rows, why);
    }
    for (size_t q = 0; q < n_queries; q++)
        omen_pool_cut(&s->pools[q], s->pool_size, s->pool_work);
    return status;
}

/* Fills them with rows that the sets have, round by round. */
static int fill_filtered(omen_lists_chunk *s, const omen_row_set *const *sets, const float *rows, size_t n_queries,
                         omen_detail *why)
{
    int status = OMEN_OK;
    omen_filters_begin(s, sets, n_queries);
    for (bool first = true; status == OMEN_OK; first = false) {
        status = omen_filters_choose(s, rows, n_queries, why);
        if (status == OMEN_OK && !s->n_active)
            break;
        if (status == OMEN_OK)
            status = omen_lists_scan_pairs(s, rows, why);
        for (size_t q = 0; q < n_queries; q++) {
            if (first)
                omen_pool_set_margin(&s->pools[q], s->pool_size, s->pool_work);
            else if (!s->filters[q].done)
                omen_pool_cut(&s->pools[q], s->pool_size, s->pool_work);
        }
    }
    return status;
}

/* All rows within a distance into the ranges; sets may be NULL. */
static int fill_ranges(omen_lists_chunk *s, const omen_row_set *const *sets, const float *rows, size_t n_queries,
                       omen_detail *why)
{
    s->rows = rows;
    s->status = OMEN_OK;
    if (sets)
        omen_filters_begin(s, sets, n_queries);
    for (size_t q = 0; q < n_queries; q++) {
        omen_lists_limit_range(s, q);
        if (s->index->meta.codec != OMEN_CODEC_NONE)
            omen_lists_make_tables(s, q);
    }
    int status = omen_lists_choose_within(s, n_queries);
    if (status == OMEN_OK)
        status = omen_lists_scan_pairs(s, rows, why);
    for (size_t q = 0; q < n_queries && status == OMEN_OK && s->status == OMEN_OK; q++)
        s->status = omen_lists_take_range(s, q);
    if (status == OMEN_OK && s->status == OMEN_ERR_CORRUPT && why)
        *why = s->why;
    s->stats.n_queries += n_queries;
    return status == OMEN_OK ? s->status : status;
}

int omen_lists_begin(omen_lists_chunk *s, const float *queries, size_t n_queries, bool chooses, const float **rows,
                     omen_detail *why)
{
    const omen_index *index = s->index;
    const omen_meta *m = &index->meta;
    const float *lifted = omen_transform_lift(&index->transform, queries, n_queries, true, s->lifted);
    omen_query_axes_project(index, false, lifted, n_queries, s->transformed, s->ld, s->tails, s->axes_work);
    /* cosine re-ranks with the unit query; l2 and ip with the query itself */
    *rows = m->metric == OMEN_METRIC_COSINE ? lifted : queries;
    /* nothing needs the lifted ones again */
    *rows = omen_refine_shift(&index->refine, *rows, n_queries, true, s->lifted);
    int status = OMEN_OK;
    s->n_pairs = 0;
    for (size_t q = 0; q < n_queries && status == OMEN_OK; q += LISTS_COARSE_ROWS) {
        const size_t n = n_queries - q < LISTS_COARSE_ROWS ? n_queries - q : LISTS_COARSE_ROWS;
        status = omen_lists_rank(s, q, n, why);
        if (status == OMEN_OK && chooses) /* while their values are in cache */
            status = omen_lists_choose_first(s, q, n);
    }
    for (size_t q = 0; q < n_queries && status == OMEN_OK && m->metric == OMEN_METRIC_IP; q++)
        s->lists[q].query_norm2 = omen_norm2(queries + q * m->d, m->d); /* nothing else needs it */
    return status;
}

/* The k nearest of a pool, whose keys are final, or UINT64_MAX where there are fewer, as under a filter. */
static void take_nearest(omen_lists_chunk *s, size_t query, uint64_t *keys)
{
    omen_pool *p = &s->pools[query];
    if (p->n > s->k)
        omen_keys_least(p->keys, p->n, s->k, s->pool_work);
    const size_t n_found = p->n < s->k ? p->n : s->k;
    omen_keys_sort(p->keys, n_found);
    memcpy(keys, p->keys, n_found * sizeof *keys);
    if (s->index->meta.refine == OMEN_REFINE_NONE) {
        const double norm2 = s->lists[query].query_norm2;
        for (size_t i = 0; i < n_found; i++)
            keys[i] = omen_key(omen_estimate_distance(s->index, omen_key_distance(p->keys[i]) + s->tails[query], norm2),
                               (uint32_t)p->keys[i]);
        omen_keys_sort(keys, n_found); /* estimates below 0 have become equal */
    }
    for (size_t i = n_found; i < s->k; i++)
        keys[i] = UINT64_MAX;
}

/* What the k-th distance of keys is in terms of estimates. */
static float kth_of(const omen_lists_chunk *s, size_t query, const uint64_t *keys)
{
    return omen_lifted_distance2(s->index, omen_key_distance(keys[s->k - 1]), s->lists[query].query_norm2) -
           s->pools[query].tail;
}

/* An empty pool for all estimates up to a limit. */
static void empty_again(omen_lists_chunk *s, size_t query, float limit)
{
    omen_pool *p = &s->pools[query];
    p->is_again = true;
    p->is_ranked = false;
    p->n = 0;
    p->n_cut = s->pool_size;
    p->worst = limit < FLT_MAX ? omen_key(limit, UINT32_MAX) : UINT64_MAX;
}

/* Chooses the lists of a query that found keys once more, for a pool of all that omen_margin_again() wants, if it wants
 * more. They are no fewer than before, so that what was found is found again, unless n_most estimates are smaller. row
 * is the query as refine rows are compared with it. */
static int choose_again(omen_lists_chunk *s, size_t query, const float *row, const uint64_t *keys, omen_detail *why)
{
    omen_pool *p = &s->pools[query];
    omen_query_lists *lists = &s->lists[query];
    p->is_again = false;
    const bool is_full = p->n >= p->n_most; /* of estimates that do not tell which rows are nearest */
    if (!p->has_margin || !(p->margin < INFINITY) || p->n < p->k || (is_full && !s->filters))
        return OMEN_OK;
    const float kth = kth_of(s, query, keys);
    const float scale = sqrtf(omen_margin_scale2(p->kth, p->nearest2, p->tail));
    float lack;
    const float limit = omen_margin_again(s->effort.margin, p->margin, scale, p->kth, kth, &lack);
    const float d_k2 = omen_d_k2(kth, p->nearest2, p->tail);
    if (!(lack > s->effort.lack))
        return OMEN_OK;
    empty_again(s, query, limit);
    if (s->filters) {
        s->filters[query].compares_all = is_full;
        return omen_filters_choose_again(s, (uint32_t)query, kth, row, why);
    }
    lists->last_first = 0;
    return omen_lists_add_others(s, (uint32_t)query, &s->effort, d_k2 > lists->d_k2 ? d_k2 : lists->d_k2, p->k);
}

/* Into keys, the nearest of what a query's lists gave the second time. */
static int take_again(omen_lists_chunk *s, size_t query, const float *row, uint64_t *keys, omen_detail *why)
{
    omen_pool *p = &s->pools[query];
    omen_pool_cut(p, s->pool_size, s->pool_work);
    const int status = omen_lists_rerank(s, p->keys, p->n, row, why);
    if (status == OMEN_OK)
        take_nearest(s, query, keys);
    return status;
}

/* Searches those queries again whose lists were chosen so. Where so many estimates of matches are within the limit that
 * they do not tell which rows are nearest, all matches in the lists are compared. */
static int search_again(omen_lists_chunk *s, const float *rows, size_t n_queries, uint64_t *keys, omen_detail *why)
{
    omen_lists_sort_probes(s);
    int status = omen_lists_scan_pairs(s, rows, why);
    for (size_t q = 0; q < n_queries && status == OMEN_OK; q++, keys += s->k) {
        const float *row = rows + q * s->index->meta.d;
        if (!s->pools[q].is_again)
            continue;
        status = take_again(s, q, row, keys, why);
        if (status != OMEN_OK || !s->filters || s->filters[q].compares_all || s->pools[q].n < s->pools[q].n_most)
            continue;
        const float kth = kth_of(s, q, keys);
        empty_again(s, q, FLT_MAX);
        s->filters[q].compares_all = true;
        status = omen_filters_choose_again(s, (uint32_t)q, kth, row, why);
        if (status == OMEN_OK)
            status = take_again(s, q, row, keys, why);
    }
    return status;
}

/* Searches one chunk; sets may be NULL. */
static int search_chunk(omen_lists_chunk *s, const float *queries, const omen_row_set *const *sets, size_t n_queries,
                        uint64_t *keys, omen_detail *why)
{
    const omen_index *index = s->index;
    const omen_meta *m = &index->meta;
    const float *rows;
    int status = omen_lists_begin(s, queries, n_queries, !sets && !s->ranges, &rows, why);
    for (size_t q = 0; q < n_queries && status == OMEN_OK; q++)
        s->pools[q] = omen_lists_empty_pool(s, q, omen_lists_nearest2(s, q), s->tails[q]);
    if (status == OMEN_OK) {
        if (s->ranges)
            return fill_ranges(s, sets, rows, n_queries, why);
        status = sets ? fill_filtered(s, sets, rows, n_queries, why) : fill_pools(s, rows, n_queries, why);
    }
    if (status != OMEN_OK)
        return status;
    const bool asks = s->refine_cold && !s->rank_only && !s->keys_are_ids;
    for (size_t q = 0; q < n_queries && q < ASK_AHEAD && asks; q++)
        omen_lists_ask_ahead(index, s->pools[q].keys, s->pools[q].n);
    bool any_again = false;
    const bool may_repeat = s->effort.lack > 0 && !s->rank_only && !s->keys_are_ids && !s->is_fixed;
    s->n_pairs = 0;
    for (size_t q = 0; q < n_queries; q++) {
        omen_pool *p = &s->pools[q];
        if (asks && q + ASK_AHEAD < n_queries)
            omen_lists_ask_ahead(index, s->pools[q + ASK_AHEAD].keys, s->pools[q + ASK_AHEAD].n);
        if (s->rank_only) {
            omen_keys_sort(p->keys, p->n);
            for (size_t i = 0; i < s->k; i++)
                keys[q * s->k + i] = i < p->n ? p->keys[i] : UINT64_MAX;
            continue;
        }
        if (!s->keys_are_ids && (status = omen_lists_rerank(s, p->keys, p->n, rows + q * m->d, why)) != OMEN_OK)
            return status;
        take_nearest(s, q, keys + q * s->k);
        if (may_repeat && (status = choose_again(s, q, rows + q * m->d, keys + q * s->k, why)) != OMEN_OK)
            return status;
        any_again |= may_repeat && p->is_again;
    }
    s->stats.n_queries += n_queries;
    return any_again ? search_again(s, rows, n_queries, keys, why) : OMEN_OK;
}

/* What is wanted of a search for all rows within a distance. */
typedef struct {
    omen_range *ranges; /* n_queries */
    float within;
    uint64_t limit;
    const omen_list_spread *spread;
} range_goal;

/* Into keys, or ranges where there is a goal. */
static int search_lists(const omen_index *index, const float *queries, uint64_t n_queries, uint32_t k,
                        const omen_effort *effort, const omen_lists_filter *filter, bool rank_only, bool refine_cold,
                        int n_threads, uint64_t *keys, const range_goal *goal, omen_search_stats *stats,
                        omen_watch *watch, omen_detail *why)
{
    uint64_t size = (n_queries + 2 * (uint64_t)n_threads - 1) / (2 * (uint64_t)n_threads);
    size = size < 1 ? 1 : size < CHUNK ? size : CHUNK;
    /* an effort as large as the index must not ask for memory as large as 512 indexes */
    const uint64_t query_bytes = 16 * (uint64_t)effort->most_rows + 4 * (uint64_t)index->meta.n_lists +
                                 2 * sizeof(omen_probe) * (uint64_t)effort->least_lists;
    size = size * query_bytes <= CHUNK_BYTES ? size : query_bytes < CHUNK_BYTES ? CHUNK_BYTES / query_bytes : 1;
    const uint64_t n_chunks = (n_queries + size - 1) / size;
    const bool is_fixed = !filter && !goal && effort->least_lists == effort->most_lists && !(effort->margin < INFINITY);
    int status = OMEN_OK;
    if ((uint64_t)n_threads > n_chunks)
        n_threads = n_chunks ? (int)n_chunks : 1;
    refine_cold = refine_cold && index->refn.section.is_file_mapping && index->meta.codec != OMEN_CODEC_NONE;
    if (refine_cold)
        omen_lists_expect_random(index);
#pragma omp parallel num_threads(n_threads)
    {
        omen_lists_chunk s;
        omen_detail own_why = {""};
        int own = omen_lists_chunk_init(&s, index, k, effort, rank_only, is_fixed, size, NULL);
        s.refine_cold = refine_cold;
        s.watch = watch;
        if (goal) {
            s.within = goal->within;
            s.limit = goal->limit;
            s.spread = goal->spread;
        }
        if (own == OMEN_OK && filter)
            own = chunk_init_filters(&s, filter, size);
#pragma omp for schedule(dynamic)
        for (uint64_t q0 = 0; q0 < n_queries; q0 += size)
            if (own == OMEN_OK) {
                const uint64_t n = n_queries - q0 < size ? n_queries - q0 : size;
                s.ranges = goal ? goal->ranges + q0 : NULL;
                own = search_chunk(&s, queries + q0 * index->meta.d, filter ? filter->row_sets + q0 : NULL, n,
                                   goal ? NULL : keys + q0 * k, &own_why);
                omen_watch_add_parts(rank_only ? NULL : watch, n * OMEN_PROGRESS_PARTS);
            }
#pragma omp critical
        {
            if (own != OMEN_OK) {
                status = own;
                if (why)
                    *why = own_why;
            }
            if (stats) {
                stats->n_queries += s.stats.n_queries;
                stats->lists.probed += s.stats.lists.probed;
                stats->codes_scanned += s.stats.codes_scanned;
                stats->rows_reranked += s.stats.rows_reranked;
            }
        }
        omen_lists_chunk_finish(&s);
    }
    return status;
}

int omen_search_lists(const omen_index *index, const float *queries, uint64_t n_queries, uint32_t k,
                      const omen_effort *effort, const omen_lists_filter *filter, bool refine_cold, int n_threads,
                      uint64_t *keys, omen_search_stats *stats, omen_watch *watch, omen_detail *why)
{
    return search_lists(index, queries, n_queries, k, effort, filter, false, refine_cold, n_threads, keys, NULL, stats,
                        watch, why);
}

int omen_search_lists_within(const omen_index *index, const omen_search_job *job, const omen_effort *effort,
                             const omen_list_spread *spread)
{
    const omen_search_options *options = job->options;
    const omen_lists_filter filter = {.row_sets = job->row_sets, .spread = spread};
    const range_goal goal = {job->ranges, options->within, options->limit, spread};
    return search_lists(index, job->queries, job->n_queries, 1, effort, job->row_sets ? &filter : NULL, false,
                        options->refine_cold, job->n_threads, NULL, &goal, job->stats, job->watch, job->why);
}

int omen_search_candidates(const omen_index *index, const float *queries, uint64_t n_queries, uint32_t n_lists,
                           uint32_t n_candidates, int n_threads, uint64_t *keys, omen_watch *watch, omen_detail *why)
{
    const omen_effort effort = omen_effort_fixed(n_lists, n_candidates);
    return search_lists(index, queries, n_queries, n_candidates, &effort, NULL, true, false, n_threads, keys, NULL,
                        NULL, watch, why);
}

int omen_search_ranks(const omen_index *index, const float *queries, uint64_t n_queries, int n_threads, uint32_t *ranks,
                      float *ahead, float *nearest2, float *tails, omen_watch *watch, omen_detail *why)
{
    const uint32_t n_lists = index->meta.n_lists, d = index->meta.d;
    const omen_effort effort = omen_effort_fixed(1, 1);
    int status = OMEN_OK;
#pragma omp parallel num_threads(n_threads)
    {
        omen_lists_chunk s;
        omen_detail own_why = {""};
        uint64_t *order = omen_alloc(n_lists, sizeof *order);
        int own = omen_lists_chunk_init(&s, index, 1, &effort, true, false, 1, NULL);
        if (!order)
            own = OMEN_ERR_MEMORY;
#pragma omp for schedule(dynamic, 4)
        for (uint64_t q = 0; q < n_queries; q++) {
            if (own == OMEN_OK)
                own = omen_watch_status(watch);
            if (own != OMEN_OK)
                continue;
            const float *lifted = omen_transform_lift(&index->transform, queries + q * d, 1, true, s.lifted);
            omen_query_axes_project(index, false, lifted, 1, s.transformed, s.ld, s.tails, s.axes_work);
            own = omen_lists_rank(&s, 0, 1, &own_why);
            if (own != OMEN_OK)
                continue;
            for (uint32_t l = 0; l < n_lists && (ranks || ahead); l++)
                order[l] = omen_key(s.values[l], l);
            if (ranks || ahead)
                omen_keys_sort(order, n_lists);
            for (uint32_t i = 0; i < n_lists && ranks; i++)
                ranks[q * n_lists + (uint32_t)order[i]] = i;
            for (uint32_t i = 0; i < n_lists && ahead; i++)
                ahead[q * n_lists + i] = 2 * (omen_key_distance(order[i]) - s.lists->nearest_value);
            nearest2[q] = fmaxf(s.lists->norm2 + 2 * s.lists->nearest_value, 0);
            tails[q] = s.tails[0];
        }
#pragma omp critical(omen_search_ranks)
        if (own != OMEN_OK) {
            status = own;
            if (why)
                *why = own_why;
        }
        omen_lists_chunk_finish(&s);
        free(order);
    }
    return status;
}
