/* SPDX-License-Identifier: Apache-2.0 */
/* Scanning a list for a few queries at once: integer tables, estimates, and the pool of each query.
 *
 * Estimates are integers in units of one table step: with T the query's tables, D their step and base the part that is
 * the same for a whole list,
 *   codes without a gain:  est = base + U (sum of T  +  f code * f step / U),      U = D
 *   with one:              est = base + U ((sum of T - middle) * 2^shift * g / g_max  +  f code * f step / U),  U = D
 * g_max / 2^shift
 */
#include <float.h>
#include <math.h>
#include <string.h>

#include "lib/lists/lists_search.h"
#include "lib/refine.h"

#define MATCHES_AHEAD 12u       /* rows prefetched before they are compared */
#define MARGIN_ROOM   1.5f      /* times the margin by what is known, before all first lists are */
#define POOL_SLACK    64u       /* keys taken in before a pool is cut back, besides as many as it has */
#define F_RANGE       16000.0f  /* most units that the f code may span */
#define F_SCALE_MOST  32768.0f  /* times the largest f code, 255 / 256, still below 32768 */
#define UNIT_LEAST    0x1p-119f /* a table step: 256 of them have an inverse */
#define G_LEAST       1e-34f    /* a g_max below it is no more than rounding: 32767 / it would overflow */
#define BASE_MOST     1.5e38f   /* of what the estimates of a list share: a sum of two does not overflow */

/* ---- pools ---- */

/* The largest of the n first keys. */
static uint64_t largest_key(const uint64_t *keys, uint32_t n)
{
    uint64_t largest[4] = {0}; /* four, so that no comparison waits for the one before */
    uint32_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (uint32_t j = 0; j < 4; j++)
            largest[j] = keys[i + j] > largest[j] ? keys[i + j] : largest[j];
    for (; i < n; i++)
        largest[0] = keys[i] > largest[0] ? keys[i] : largest[0];
    for (uint32_t j = 1; j < 4; j++)
        largest[0] = largest[j] > largest[0] ? largest[j] : largest[0];
    return largest[0];
}

/* The k-th and the least-th smallest key of a pool of at least k. Both are sought only among keys that may be they:
 * none is beyond p->last. */
static void pool_ranks(const omen_pool *p, uint32_t least, uint64_t *work, uint64_t *kth, uint64_t *last)
{
    const uint64_t limit = p->last < UINT64_MAX ? p->last + 1 : UINT64_MAX;
    const size_t n = omen_kernels_get()->keys_below(p->keys, p->n, limit, work);
    if (n > least)
        omen_keys_least(work, n, least, work + n);
    *last = largest_key(work, least);
    if (least > p->k)
        omen_keys_least(work, least, p->k, work + least);
    *kth = largest_key(work, p->k);
}

/* Keeps what is within the margin of the k-th best, and what is not behind last. */
static void keep_within(omen_pool *p, float margin, float scale, uint64_t last)
{
    const float most = p->kth + margin * scale;
    const uint64_t worst = most < FLT_MAX ? omen_key(most, UINT32_MAX) : UINT64_MAX;
    p->worst = worst > last ? worst : last + 1; /* what is less may yet be among the n_least smallest */
    p->n = (uint32_t)omen_kernels_get()->keys_below(p->keys, p->n, p->worst, p->keys);
}

static void keep_most(omen_pool *p, uint32_t size, uint64_t *work)
{
    if (p->n > p->n_most)
        omen_keys_least(p->keys, p->n, p->n_most, work);
    if (p->n >= p->n_most) {
        const uint64_t worst = largest_key(p->keys, p->n_most);
        p->n = p->n_most;
        p->worst = worst < p->worst ? worst : p->worst;
    }
    p->n_cut = 2 * p->n + POOL_SLACK < size ? 2 * p->n + POOL_SLACK : size;
}

void omen_pool_cut(omen_pool *p, uint32_t size, uint64_t *work)
{
    const uint32_t least = p->n < p->n_least ? p->n : p->n_least;
    if (p->is_ranked && p->n >= p->k) {
        uint64_t kth, last;
        pool_ranks(p, least, work, &kth, &last);
        p->kth = omen_key_distance(kth);
        p->last = least == p->n_least ? last : UINT64_MAX;
        if (p->n > least && p->margin < INFINITY) {
            const float scale = sqrtf(omen_margin_scale2(p->kth, p->nearest2, p->tail));
            const float spread = omen_key_distance(last) - p->kth;
            keep_within(p, p->has_margin ? p->margin : MARGIN_ROOM * omen_margin_of(p->margin, scale, spread), scale,
                        last);
        }
    }
    keep_most(p, size, work);
}

float omen_pool_measure(omen_pool *p, uint64_t *work)
{
    uint64_t last;
    pool_ranks(p, p->n < p->n_least ? p->n : p->n_least, work, &p->last, &last);
    p->kth = omen_key_distance(p->last);
    return omen_key_distance(last) - p->kth;
}

void omen_pool_limit(omen_pool *p, float margin, uint32_t size, uint64_t *work)
{
    p->margin = margin;
    p->has_margin = true;
    p->n_least = p->k;
    if (p->n >= p->k && margin < INFINITY)
        keep_within(p, margin, sqrtf(omen_margin_scale2(p->kth, p->nearest2, p->tail)), p->last);
    keep_most(p, size, work);
}

void omen_pool_set_margin(omen_pool *p, uint32_t size, uint64_t *work)
{
    float margin = p->margin * (1 + OMEN_CROWDED_MOST); /* where there are too few rows to say */
    if (p->n >= p->k) {
        const float spread = omen_pool_measure(p, work);
        if (margin < INFINITY)
            margin = omen_margin_of(p->margin, sqrtf(omen_margin_scale2(p->kth, p->nearest2, p->tail)), spread);
    }
    omen_pool_limit(p, margin, size, work);
}

/* A pool is full. Of rows within a distance none is given up. */
static void make_room(omen_lists_chunk *s, uint32_t query)
{
    omen_pool *p = &s->pools[query];
    if (!s->ranges)
        omen_pool_cut(p, s->pool_size, s->pool_work);
    else if (s->status == OMEN_OK)
        s->status = omen_lists_take_range(s, query);
    else
        p->n = 0;
}

static inline void pool_add(omen_lists_chunk *s, uint32_t query, uint64_t key)
{
    omen_pool *p = &s->pools[query];
    if (key >= p->worst)
        return;
    p->keys[p->n++] = key;
    if (p->n >= p->n_cut)
        make_room(s, query);
}

/* ---- tables ---- */

static float between(float x, float least, float most)
{
    return x < least ? least : x > most ? most : x;
}

/* All conversions to integers saturate: of a model that no build made, the answer is poor, but the same everywhere. */
void omen_lists_make_tables(omen_lists_chunk *s, size_t query)
{
    const omen_index *index = s->index;
    const omen_meta *m = &index->meta;
    const bool has_gain = omen_codec_has_gain(m->n_factors);
    /* what a table step is worth in distance; f codes may need a coarser step than the tables do */
    const float gain = !has_gain ? 1 : s->g_max / (float)(1u << s->shift);
    const float unit_min = fmaxf(s->f_step_max * 255 / F_RANGE, UNIT_LEAST);
    float bias;
    omen_codec_tables(&index->model, s->transformed + query * s->ld, s->table);
    const float step =
        omen_codec_round_tables(&index->model, s->table, gain > 0 ? between(unit_min / gain, 0, FLT_MAX) : 0,
                                s->luts + query * m->n_sub * 16, &bias);
    omen_query_scale *out = &s->scales[query];
    const float unit = between(step * gain, UNIT_LEAST, FLT_MAX);
    out->unit = s->share ? between(unit * s->share->factor, UNIT_LEAST, FLT_MAX) : unit;
    out->bias = has_gain ? 0 : between(bias, -BASE_MOST, BASE_MOST);
    out->per_unit = 1 / out->unit;
    out->f_per_step = 256 / unit;
    const float middle = -bias / step + 0.5f; /* tables that have a gain are symmetric */
    out->middle = (int16_t)(has_gain ? between(middle, 0, 16000) : 0);
}

/* ---- scanning ---- */

static int16_t threshold_of(const omen_pool *p, float base, float per_unit)
{
    if (p->worst == UINT64_MAX)
        return INT16_MAX;
    const float t = (omen_key_distance(p->worst) - base) * per_unit;
    if (!(t < INT16_MAX - 1))
        return INT16_MAX;
    if (t < INT16_MIN - 1)
        return INT16_MIN;
    const int whole = (int)t; /* towards 0; floorf() would be a call */
    /* one unit of room: the exact comparison is made on the key */
    return (int16_t)(whole - ((float)whole > t) + 1);
}

/* The query's part of the scan of a list. base_out gets what all estimates of the list share. */
static omen_scan scan_of(const omen_lists_chunk *s, const omen_probe *pair, float *base_out)
{
    const omen_index *index = s->index;
    const omen_query_scale *scale = &s->scales[pair->query];
    const float *range = index->ranges + (size_t)pair->list * index->meta.n_factors * 2;
    omen_scan scan = {.luts = s->luts + (size_t)pair->query * index->meta.n_sub * 16,
                      .f_scale = (uint16_t)between(range[1] * scale->f_per_step + 0.5f, 0, F_SCALE_MOST)};
    *base_out = between(omen_lists_shared(s, pair->query, pair->base + range[0] + scale->bias), -BASE_MOST, BASE_MOST);
    if (omen_codec_has_gain(index->meta.n_factors)) {
        const float q15 = s->g_max > G_LEAST ? 32767 / s->g_max : 0;
        scan.g_base = (int16_t)(range[2] * q15);
        scan.g_scale = (uint16_t)(range[3] * q15 * 256);
        scan.middle = scale->middle;
        scan.shift = (uint16_t)s->shift;
    }
    return scan;
}

/* Candidates of the scanned blocks from b0 on into the query's pool; rows outside [row0, row1) are of other lists. */
static void collect(omen_lists_chunk *s, const omen_scan *scan, const omen_probe *pair, float base, uint64_t b0,
                    size_t n_blocks, uint64_t row0, uint64_t row1)
{
    const omen_kernels *kernels = omen_kernels_get();
    const float unit = s->scales[pair->query].unit;
    const uint32_t first_row = s->share ? s->share->first_row : 0;
    const uint64_t *words = s->filters ? s->filters[pair->query].set->words : NULL;
    omen_pool *p = &s->pools[pair->query];
    for (size_t b = 0; b < n_blocks; b++) {
        uint32_t mask = scan->masks[b];
        if (!mask)
            continue;
        const uint64_t first = (b0 + b) * OMEN_SCAN_BLOCK;
        if (words)
            mask &= (uint32_t)(words[first / 64] >> first % 64);
        if (first < row0)
            mask &= UINT32_MAX << (row0 - first);
        if (first + OMEN_SCAN_BLOCK > row1)
            mask &= UINT32_MAX >> (first + OMEN_SCAN_BLOCK - row1);
        uint64_t *keys = p->keys + p->n;
        const size_t n =
            kernels->take_keys(scan->est + b * OMEN_SCAN_BLOCK, mask, base, unit, first_row + (uint32_t)first, keys);
        for (size_t i = 0; i < n && s->keys_are_ids; i++)
            keys[i] = (keys[i] & ~(uint64_t)UINT32_MAX) | s->index->ids[(uint32_t)keys[i]];
        p->n += (uint32_t)n;
        if (p->n >= p->n_cut)
            make_room(s, pair->query);
    }
}

/* Scans one list for n <= OMEN_SCANS queries. */
void omen_lists_scan(omen_lists_chunk *s, const omen_probe *pairs, size_t n, const uint8_t *ahead, size_t n_ahead_bytes)
{
    const omen_kernels *kernels = omen_kernels_get();
    const omen_index *index = s->index;
    const bool has_gain = omen_codec_has_gain(index->meta.n_factors);
    const uint64_t row0 = index->first[pairs->list], row1 = index->first[pairs->list + 1];
    omen_scan scans[OMEN_SCANS];
    float bases[OMEN_SCANS];
    for (size_t i = 0; i < n; i++) {
        scans[i] = scan_of(s, &pairs[i], &bases[i]);
        scans[i].est = s->est + i * LISTS_SCAN_BLOCKS * OMEN_SCAN_BLOCK;
        scans[i].masks = s->masks + i * LISTS_SCAN_BLOCKS;
        if (s->filters)
            omen_lists_fetch_matches(s, pairs[i].query, pairs[i].list);
    }
    s->stats.codes_scanned += n * (row1 - row0);
    const uint64_t b_end = (row1 + OMEN_SCAN_BLOCK - 1) / OMEN_SCAN_BLOCK;
    const size_t n_parts =
        row1 > row0 ? (b_end - row0 / OMEN_SCAN_BLOCK + LISTS_SCAN_BLOCKS - 1) / LISTS_SCAN_BLOCKS : 1;
    const size_t part_bytes = n_ahead_bytes / n_parts + 64;
    const uint8_t *ahead_end = ahead + n_ahead_bytes;
    for (uint64_t b0 = row0 / OMEN_SCAN_BLOCK; b0 * OMEN_SCAN_BLOCK < row1; b0 += LISTS_SCAN_BLOCKS) {
        const uint64_t left = b_end - b0;
        const size_t n_blocks = left < LISTS_SCAN_BLOCKS ? left : LISTS_SCAN_BLOCKS;
        for (const uint8_t *end = ahead + part_bytes < ahead_end ? ahead + part_bytes : ahead_end; ahead < end;
             ahead += 64)
            __builtin_prefetch(ahead, 0, 2);
        for (size_t i = 0; i < n; i++)
            scans[i].threshold = threshold_of(&s->pools[pairs[i].query], bases[i], s->scales[pairs[i].query].per_unit);
        (has_gain ? kernels->scan_gain : kernels->scan_plain)(index->blocks + b0 * index->block_bytes, n_blocks,
                                                              index->meta.n_sub / 2, index->block_bytes, scans, n);
        for (size_t i = 0; i < n; i++)
            collect(s, &scans[i], &pairs[i], bases[i], b0, n_blocks, row0, row1);
    }
}

/* What the scan of a list will read: its codes, and its ids where they are keys, or its refine rows and ids. */
int omen_lists_touch(omen_lists_chunk *s, uint32_t list, omen_detail *why)
{
    const omen_index *index = s->index;
    const uint64_t row0 = index->first[list], row1 = index->first[list + 1], b0 = row0 / OMEN_SCAN_BLOCK;
    int status = OMEN_OK;
    if (row0 == row1)
        return OMEN_OK;
    if (index->meta.codec == OMEN_CODEC_NONE)
        status = omen_index_touch_rows(index, row0, row1 - row0, why);
    else
        status = omen_index_touch_codes(index, b0, (row1 + OMEN_SCAN_BLOCK - 1) / OMEN_SCAN_BLOCK - b0, why);
    if (status == OMEN_OK && s->keys_are_ids)
        status = omen_index_touch_ids(index, row0, row1 - row0, why);
    return status;
}

/* The key of a row at distance d among those of several indexes. */
static uint64_t shared_key(const omen_lists_chunk *s, uint32_t query, float d, uint32_t row)
{
    const float distance2 = omen_lifted_distance2(s->index, d, s->lists[query].query_norm2);
    const float value = between(omen_lists_shared(s, query, distance2 - s->lacks[query]), -BASE_MOST, BASE_MOST);
    return omen_key(value, s->share->first_row + row);
}

/* Without codes the refine rows of a list are compared directly. */
void omen_lists_scan_rows(omen_lists_chunk *s, const omen_probe *pair, const float *query)
{
    const omen_index *index = s->index;
    const omen_distance_fn distance = omen_refine_kernel(index->meta.refine, index->meta.metric);
    const double offset = omen_refine_offset(&index->refine, query);
    const uint64_t row0 = index->first[pair->list], row1 = index->first[pair->list + 1];
    for (uint64_t row = row0; row < row1; row++) {
        const uint8_t *stored = index->refine_rows + row * index->refine_row_bytes;
        const float d = omen_refine_distance(&index->refine, distance, query, offset, stored);
        pool_add(s, pair->query,
                 s->share ? shared_key(s, pair->query, d, (uint32_t)row) : omen_key(d, index->ids[row]));
    }
    s->stats.rows_reranked += row1 - row0;
}

int omen_lists_add_matches(omen_lists_chunk *s, uint32_t query, uint32_t list, const float *row, omen_detail *why)
{
    const omen_index *index = s->index;
    const omen_row_set *set = s->filters[query].set;
    const uint64_t row0 = index->first[list], row1 = index->first[list + 1];
    if (s->n_positions + set->counts[list] > s->positions_size) {
        const int status = omen_lists_compare_matches(s, query, row, why);
        if (status != OMEN_OK)
            return status;
    }
    s->n_positions += omen_kernels_get()->bit_positions(set->words, row0, row1, s->positions + s->n_positions);
    return OMEN_OK;
}

int omen_lists_compare_matches(omen_lists_chunk *s, uint32_t query, const float *row, omen_detail *why)
{
    if (s->n_positions == 0)
        return OMEN_OK;
    const omen_index *index = s->index;
    const omen_distance_fn distance = omen_refine_kernel(index->meta.refine, index->meta.metric);
    const double offset = omen_refine_offset(&index->refine, row), norm2 = s->lists[query].query_norm2;
    const size_t row_bytes = index->refine_row_bytes, fetched = row_bytes < 1024 ? row_bytes : 1024;
    const float tail = s->pools[query].tail;
    for (size_t i = 0; i < s->n_positions + MATCHES_AHEAD; i++) {
        if (i < s->n_positions) {
            const uint8_t *next = index->refine_rows + s->positions[i] * row_bytes;
            for (size_t at = 0; at < fetched; at += 64)
                __builtin_prefetch(next + at);
        }
        if (i < MATCHES_AHEAD)
            continue;
        const uint32_t at = s->positions[i - MATCHES_AHEAD];
        const int status = omen_index_touch_row(index, at, s->keys_are_ids, why);
        if (status != OMEN_OK)
            return status;
        const float d =
            omen_refine_distance(&index->refine, distance, row, offset, index->refine_rows + at * row_bytes);
        /* beside estimates: the same, without their error */
        pool_add(s, query,
                 s->keys_are_ids ? omen_key(d, index->ids[at])
                                 : omen_key(omen_lifted_distance2(index, d, norm2) - tail, at));
    }
    s->stats.rows_reranked += s->n_positions;
    s->n_positions = 0;
    return OMEN_OK;
}
