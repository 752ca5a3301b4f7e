/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of a pool by their own distance; and, where all rows within a distance are wanted, those of them that are.
 *
 * A pool then does not depend on what has been found: its limit is the distance itself and the margin. It is emptied
 * whenever it is full. */
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/lists/lists_search.h"
#include "lib/range.h"
#include "lib/refine.h"

#define AHEAD 8u /* rows that are asked for before they are used */

void omen_lists_ask_ahead(const omen_index *index, const uint64_t *keys, uint32_t n)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *row = index->refine_rows + (uint32_t)keys[i] * index->refine_row_bytes;
        const uintptr_t first = (uintptr_t)row / page * page;
        posix_madvise((void *)first, (uintptr_t)row + index->refine_row_bytes - first, POSIX_MADV_WILLNEED);
    }
}

/* Asks for a row before it is used. */
static void fetch(const omen_index *index, uint64_t row)
{
    const size_t n_bytes = index->refine_row_bytes < 1024 ? index->refine_row_bytes : 1024;
    const uint8_t *bytes = index->refine_rows + row * index->refine_row_bytes;
    for (size_t at = 0; at < n_bytes; at += 64)
        __builtin_prefetch(bytes + at);
    __builtin_prefetch(index->ids + row);
}

int omen_lists_rerank(omen_lists_chunk *s, uint64_t *keys, uint32_t n, const float *query, omen_detail *why)
{
    const omen_index *index = s->index;
    const omen_distance_fn distance = omen_refine_kernel(index->meta.refine, index->meta.metric);
    const size_t row_bytes = index->refine_row_bytes, ahead = AHEAD;
    const double offset = omen_refine_offset(&index->refine, query);
    for (uint32_t i = 0; i < n; i++)
        keys[i] = (uint32_t)keys[i];
    omen_keys_sort(keys, n);
    for (uint32_t i = 0; i < n && i < ahead; i++)
        fetch(index, keys[i]);
    for (uint32_t i = 0; i < n; i++) {
        if (i + ahead < n)
            fetch(index, keys[i + ahead]);
        const uint64_t row = keys[i];
        const int status = omen_index_touch_row(index, row, true, why);
        if (status != OMEN_OK)
            return status;
        const uint8_t *stored = index->refine_rows + row * row_bytes;
        keys[i] = omen_key(omen_refine_distance(&index->refine, distance, query, offset, stored), index->ids[row]);
    }
    s->stats.rows_reranked += n;
    return OMEN_OK;
}

void omen_lists_limit_range(omen_lists_chunk *s, size_t query)
{
    omen_pool *p = &s->pools[query];
    const double norm2 = s->lists[query].query_norm2;
    const bool estimates = s->index->meta.codec != OMEN_CODEC_NONE;
    p->kth = omen_lifted_distance2(s->index, s->within, norm2) - p->tail;
    p->n_cut = s->pool_size;
    p->worst = UINT64_MAX;
    if (!estimates)
        p->worst = omen_key(s->within, UINT32_MAX);
    else if (s->effort.margin < INFINITY && (s->index->meta.metric != OMEN_METRIC_IP || norm2 > 0)) {
        const bool is_final = s->index->meta.refine == OMEN_REFINE_NONE;
        const float scale = is_final ? 0 : sqrtf(omen_margin_scale2(p->kth, p->nearest2, p->tail));
        p->worst = omen_key(p->kth + s->effort.margin * scale, UINT32_MAX);
    }
}

int omen_lists_take_range(omen_lists_chunk *s, size_t query)
{
    omen_pool *p = &s->pools[query];
    const uint64_t most = omen_key(s->within, UINT32_MAX);
    int status = OMEN_OK;
    p->n = (uint32_t)omen_kernels_get()->keys_below(p->keys, p->n, p->worst, p->keys);
    if (!s->keys_are_ids && s->refine_cold)
        omen_lists_ask_ahead(s->index, p->keys, p->n);
    if (!s->keys_are_ids)
        status = omen_lists_rerank(s, p->keys, p->n, s->rows + query * s->index->meta.d, &s->why);
    for (uint32_t i = 0; i < p->n && status == OMEN_OK; i++) {
        uint64_t key = p->keys[i];
        if (s->index->meta.refine == OMEN_REFINE_NONE)
            key = omen_key(
                omen_estimate_distance(s->index, omen_key_distance(key) + s->tails[query], s->lists[query].query_norm2),
                (uint32_t)key);
        if (key <= most)
            status = omen_range_add(&s->ranges[query], key, s->limit);
    }
    p->n = 0;
    return status;
}
