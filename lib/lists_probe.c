/* SPDX-License-Identifier: Apache-2.0 */
/* Which lists a query probes: those of the nearest centroids, by one matrix product for a chunk of queries. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/lists_search.h"

#define SAMPLE_STEP 8u /* every 8th list is looked at to guess a limit */
#define FIRST_SHARE 8u /* the nearest 1/8 of the lists are scanned in the first turn */

static int probes_reserve(omen_lists_chunk *s, size_t n)
{
    if (n <= s->pairs_size)
        return OMEN_OK;
    const size_t size = n + n / 2;
    omen_probe *grown = omen_alloc(size, sizeof *grown), *sorted = omen_alloc(size, sizeof *sorted);
    if (!grown || !sorted) {
        free(grown);
        free(sorted);
        return OMEN_ERR_MEMORY;
    }
    memcpy(grown, s->probes, s->n_pairs * sizeof *grown);
    free(s->probes);
    free(s->sorted);
    s->probes = grown;
    s->sorted = sorted;
    s->pairs_size = size;
    return OMEN_OK;
}

/* Lists that may be among the n nearest: all up to a limit guessed from a sample, at least n of them. */
static uint32_t shortlist(omen_lists_chunk *s, uint32_t n_lists, uint32_t n)
{
    if (n < n_lists / 4 && n_lists >= 256) {
        float *sample = s->work;
        const uint32_t m = n_lists / SAMPLE_STEP;
        for (uint32_t i = 0; i < m; i++)
            sample[i] = s->values[i * SAMPLE_STEP];
        const uint32_t expected = n / SAMPLE_STEP, rank = expected + 2 * (uint32_t)sqrtf((float)expected) + 3;
        if (rank < m) {
            const float limit = omen_values_select(sample, m, rank, s->work + m);
            const size_t found = omen_kernels_get()->filter(s->values, n_lists, limit, s->short_lists);
            if (found >= n)
                return (uint32_t)found;
        }
    }
    for (uint32_t l = 0; l < n_lists; l++)
        s->short_lists[l] = l;
    return n_lists;
}

/* Adds the lists nearest to one query: n_probes of them, more while they hold fewer than n_rerank rows. dots is one row
 * of the product with the centroids. Within the limits of a model (index_format.h) nothing overflows here. */
static int choose_lists(omen_lists_chunk *s, uint32_t query, const float *dots, float norm2)
{
    const omen_index *index = s->index;
    const uint32_t n_lists = index->meta.n_lists;
    const uint64_t wanted = s->n_rerank < index->meta.n_rows ? s->n_rerank : index->meta.n_rows;
    for (size_t l = 0; l < n_lists; l++)
        s->values[l] = index->half_norms[l] - dots[l];
    for (uint32_t n = s->n_probes;; n = n < n_lists / 2 ? 2 * n : n_lists) {
        uint64_t n_rows = 0;
        const size_t before = s->n_pairs;
        if (probes_reserve(s, before + n) != OMEN_OK)
            return OMEN_ERR_MEMORY;
        const uint32_t n_short = shortlist(s, n_lists, n);
        float *short_values = s->work + n_lists;
        for (uint32_t i = 0; i < n_short; i++)
            short_values[i] = s->values[s->short_lists[i]];
        const float limit = omen_values_select(short_values, n_short, n, s->work);
        uint32_t n_equal = n; /* lists at the limit that still fit */
        for (uint32_t i = 0; i < n; i++)
            n_equal -= s->work[i] < limit;
        /* the nearest lists are scanned first: they fill the pool with what turns most others away */
        const uint32_t n_first = (n + FIRST_SHARE - 1) / FIRST_SHARE;
        const float first_limit = omen_values_select(s->work, n, n_first, s->work + n_lists);
        for (uint32_t i = 0; i < n_short; i++) {
            const uint32_t l = s->short_lists[i];
            const float value = s->values[l];
            if (value > limit || (value == limit && n_equal == 0))
                continue;
            n_equal -= value == limit;
            const float base = norm2 + 2 * value;
            s->probes[s->n_pairs++] = (omen_probe){l, query, base > 0 ? base : 0, value, value > first_limit};
            n_rows += index->first[l + 1] - index->first[l];
        }
        if (n_rows >= wanted || n == n_lists)
            return OMEN_OK;
        s->n_pairs = before;
    }
}

int omen_lists_choose(omen_lists_chunk *s, size_t n_queries, omen_detail *why)
{
    const omen_kernels *kernels = omen_kernels_get();
    const omen_index *index = s->index;
    const size_t d = index->meta.d_kept, ldc = omen_round_up(index->meta.n_lists, OMEN_PANEL);
    s->n_pairs = 0;
    for (size_t q0 = 0; q0 < n_queries; q0 += LISTS_COARSE_ROWS) {
        const size_t n = n_queries - q0 < LISTS_COARSE_ROWS ? n_queries - q0 : LISTS_COARSE_ROWS;
        kernels->matmul(s->transformed + q0 * s->ld, s->ld, n, index->panels, ldc / OMEN_PANEL, d, s->dots, ldc);
        for (size_t i = 0; i < n; i++) {
            const float *y = s->transformed + (q0 + i) * s->ld;
            const float norm2 = kernels->ip_f32(y, y, d);
            /* only axes that are not at right angles make a query so long */
            if (!(norm2 <= OMEN_PROJECTED2_MOST))
                return omen_fail(why, OMEN_ERR_CORRUPT, "section BASE: its axes are not at right angles");
            if (choose_lists(s, (uint32_t)(q0 + i), s->dots + i * ldc, norm2) != OMEN_OK)
                return OMEN_ERR_MEMORY;
        }
    }
    /* counting sort: by turn, then by list */
    const size_t n_lists = index->meta.n_lists;
    memset(s->list_first, 0, (2 * n_lists + 1) * sizeof *s->list_first);
    for (size_t i = 0; i < s->n_pairs; i++)
        s->list_first[s->probes[i].turn * n_lists + s->probes[i].list + 1]++;
    for (size_t l = 0; l < 2 * n_lists; l++)
        s->list_first[l + 1] += s->list_first[l];
    for (size_t i = 0; i < s->n_pairs; i++)
        s->sorted[s->list_first[s->probes[i].turn * n_lists + s->probes[i].list]++] = s->probes[i];
    return OMEN_OK;
}
