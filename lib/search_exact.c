/* Exact search: every query against every row of the refine tier.
 *
 * Rows are decoded block by block and multiplied with a group of queries; what comes near a query's k nearest so far is
 * kept, with some room for the rounding of the product, and measured again by the distance kernel, whose value is the
 * one returned. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/index.h"
#include "lib/kernels.h"
#include "lib/matrix.h"
#include "lib/refine.h"

#define GROUP 256u    /* queries of one product */
#define ROWS 192u     /* rows of one product */
#define ROOM 32u      /* candidates kept beyond k */
#define RANGE_ROWS 4096u /* fewest rows worth a task of their own */

typedef struct {
    float *rows, *panels, *dots, *limits;
    uint64_t *keys;
    uint32_t *counts;
    size_t kept, size;
} exact_state;

static void state_finish(exact_state *s)
{
    free(s->rows);
    free(s->panels);
    free(s->dots);
    free(s->limits);
    free(s->keys);
    free(s->counts);
}

static int state_init(exact_state *s, uint32_t d, size_t kept)
{
    memset(s, 0, sizeof *s);
    s->kept = kept;
    s->size = 2 * kept;
    s->rows = omen_alloc((size_t)ROWS * d, sizeof *s->rows);
    s->panels = omen_alloc(omen_panels_count(GROUP, d), sizeof *s->panels);
    s->dots = omen_alloc((size_t)ROWS * GROUP, sizeof *s->dots);
    s->limits = omen_alloc(GROUP, sizeof *s->limits);
    s->keys = omen_alloc(GROUP * s->size, sizeof *s->keys);
    s->counts = omen_alloc(GROUP, sizeof *s->counts);
    return s->rows && s->panels && s->dots && s->limits && s->keys && s->counts ? OMEN_OK : OMEN_ERR_MEMORY;
}

static void cut(exact_state *s, size_t q)
{
    uint64_t *keys = s->keys + q * s->size;
    omen_keys_select(keys, s->counts[q], s->kept);
    s->counts[q] = (uint32_t)s->kept;
    float limit = -INFINITY;
    for (size_t i = 0; i < s->kept; i++) {
        const float v = omen_key_distance(keys[i]);
        limit = v > limit ? v : limit;
    }
    s->limits[q] = limit;
}

/* Rows [row0, row1) against one group; out gets the k best keys (distance, id) of each query, padded with UINT64_MAX. */
static void search_range(exact_state *s, const omen_index *index, const float *queries, size_t n_queries,
                         uint64_t row0, uint64_t row1, uint32_t k, uint64_t *out)
{
    const omen_kernels *kernels = omen_kernels_get();
    const omen_meta *m = &index->meta;
    const size_t d = m->d, width = (n_queries + OMEN_PANEL - 1) / OMEN_PANEL * OMEN_PANEL;
    const bool is_l2 = m->metric == OMEN_METRIC_L2;
    const omen_distance_fn distance = omen_refine_kernel(m->refine, m->metric);
    omen_panels_pack(queries, n_queries, d, d, s->panels);
    for (size_t q = 0; q < width; q++) {
        s->counts[q] = 0;
        s->limits[q] = q < n_queries ? INFINITY : -INFINITY;
    }
    for (uint64_t i0 = row0; i0 < row1; i0 += ROWS) {
        const size_t n = row1 - i0 < ROWS ? row1 - i0 : ROWS;
        for (size_t i = 0; i < n; i++)
            omen_refine_decode(m->refine, index->refine_rows + (i0 + i) * index->refine_row_bytes, m->d,
                               s->rows + i * d);
        kernels->matmul(s->rows, d, n, s->panels, width / OMEN_PANEL, d, s->dots, width);
        for (size_t i = 0; i < n; i++) {
            float *dots = s->dots + i * width;
            const float norm2 = is_l2 ? kernels->ip_f32(s->rows + i * d, s->rows + i * d, d) : 0;
            const float scale = is_l2 ? -2 : -1;
            for (size_t q0 = 0; q0 < width; q0 += OMEN_PANEL) {
                int any = 0;
                for (size_t q = q0; q < q0 + OMEN_PANEL; q++) {
                    dots[q] = norm2 + scale * dots[q];
                    any |= dots[q] < s->limits[q];
                }
                if (!any)
                    continue;
                for (size_t q = q0; q < q0 + OMEN_PANEL; q++) {
                    if (!(dots[q] < s->limits[q]))
                        continue;
                    s->keys[q * s->size + s->counts[q]++] = omen_key(dots[q], (uint32_t)(i0 + i));
                    if (s->counts[q] == s->size)
                        cut(s, q);
                }
            }
        }
    }
    for (size_t q = 0; q < n_queries; q++) {
        uint64_t *keys = s->keys + q * s->size;
        if (s->counts[q] > s->kept)
            cut(s, q);
        for (size_t i = 0; i < s->counts[q]; i++) {
            const uint64_t row = (uint32_t)keys[i];
            const float v = distance(queries + q * d, index->refine_rows + row * index->refine_row_bytes, d);
            keys[i] = omen_key(omen_metric_distance(m->metric, v), index->ids[row]);
        }
        omen_keys_sort(keys, s->counts[q]);
        for (size_t i = 0; i < k; i++)
            out[q * k + i] = i < s->counts[q] ? keys[i] : UINT64_MAX;
    }
}

int omen_search_exact(const omen_index *index, const float *queries, uint64_t n_queries, uint32_t k, int n_threads,
                      uint64_t *keys)
{
    const omen_meta *m = &index->meta;
    const uint64_t n_rows = m->n_rows, n_groups = (n_queries + GROUP - 1) / GROUP;
    /* few queries: share the rows among the threads too */
    uint64_t n_ranges = n_groups >= 2 * (uint64_t)n_threads ? 1 : 2 * (uint64_t)n_threads;
    if (n_ranges > n_rows / RANGE_ROWS)
        n_ranges = n_rows / RANGE_ROWS ? n_rows / RANGE_ROWS : 1;
    const size_t kept = (uint64_t)k + ROOM < n_rows ? k + ROOM : n_rows;
    float *lifted = NULL;
    int status = OMEN_OK;
    uint64_t *parts = n_ranges > 1 ? omen_alloc(n_ranges * n_queries * k, sizeof *parts) : keys;
    if (!parts)
        return OMEN_ERR_MEMORY;
    if (m->metric == OMEN_METRIC_COSINE) {
        lifted = omen_alloc(n_queries * m->d, sizeof *lifted);
        if (lifted)
            omen_transform_lift(&index->transform, queries, n_queries, true, lifted);
        else
            status = OMEN_ERR_MEMORY;
        queries = lifted;
    }
#pragma omp parallel num_threads(n_threads) if (status == OMEN_OK)
    {
        exact_state s = {0};
        int own = status == OMEN_OK ? state_init(&s, m->d, kept) : status;
        if (own != OMEN_OK) {
#pragma omp atomic write
            status = own;
        }
#pragma omp for schedule(dynamic)
        for (uint64_t task = 0; task < n_groups * n_ranges; task++) {
            const uint64_t q0 = task / n_ranges * GROUP, range = task % n_ranges;
            const size_t n = n_queries - q0 < GROUP ? n_queries - q0 : GROUP;
            if (own == OMEN_OK)
                search_range(&s, index, queries + q0 * m->d, n, n_rows * range / n_ranges,
                             n_rows * (range + 1) / n_ranges, k, parts + (range * n_queries + q0) * k);
        }
        state_finish(&s);
    }
    if (n_ranges > 1 && status == OMEN_OK) {
        uint64_t *merged = omen_alloc(n_ranges * k, sizeof *merged);
        for (uint64_t q = 0; q < n_queries && merged; q++) {
            for (uint64_t r = 0; r < n_ranges; r++)
                memcpy(merged + r * k, parts + (r * n_queries + q) * k, k * sizeof *merged);
            omen_keys_select(merged, n_ranges * k, k);
            omen_keys_sort(merged, k);
            memcpy(keys + q * k, merged, k * sizeof *keys);
        }
        status = merged ? OMEN_OK : OMEN_ERR_MEMORY;
        free(merged);
    }
    if (n_ranges > 1)
        free(parts);
    free(lifted);
    return status;
}
