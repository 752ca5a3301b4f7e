/* SPDX-License-Identifier: Apache-2.0 */
/* Which lists a query probes.
 *
 * The distances to all centroids come from one matrix product for a chunk of queries. The first lists of a query are a
 * fixed number of the nearest ones. The k-th best estimate in them, d_k^2, tells how far the search has to reach: lists
 * are taken while D^2 - D_1^2 <= reach d_k^2, D and D_1 being the distances of the query to the list's centroid and to
 * the nearest one; never fewer than least_lists and never more than most_lists. A neighbour at distance d_k lies across
 * the plane between two centroids only where (D^2 - D_1^2) / 2 is at most d_k times the distance between them. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/lists/lists_search.h"
#include "lib/lists/lists_spread.h"

#define SAMPLE_STEP 8u /* every 8th list is looked at to guess a limit */
#define FIRST_SHARE 8u /* of a fixed number of lists, the nearest eighth is scanned first */

int omen_lists_reserve(omen_lists_chunk *s, size_t n)
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

/* Keys (value, list) of the lists up to limit into list_keys. */
static uint32_t lists_within(omen_lists_chunk *s, const float *values, float limit)
{
    const uint32_t n = (uint32_t)omen_kernels_get()->filter(values, s->index->meta.n_lists, limit, s->short_lists);
    for (uint32_t i = 0; i < n; i++)
        s->list_keys[i] = omen_key(values[s->short_lists[i]], s->short_lists[i]);
    return n;
}

/* Keys of lists that may be among the n nearest: all up to a limit guessed from a sample, at least n of them. */
static uint32_t shortlist(omen_lists_chunk *s, const float *values, uint32_t n)
{
    const uint32_t n_lists = s->index->meta.n_lists;
    if (n < n_lists / 4 && n_lists >= 256) {
        float *sample = s->work;
        const uint32_t m = n_lists / SAMPLE_STEP;
        for (uint32_t i = 0; i < m; i++)
            sample[i] = values[i * SAMPLE_STEP];
        const uint32_t expected = n / SAMPLE_STEP, rank = expected + 2 * (uint32_t)sqrtf((float)expected) + 3;
        if (rank < m) {
            const uint32_t found = lists_within(s, values, omen_values_select(sample, m, rank, s->work + m));
            if (found >= n)
                return found;
        }
    }
    for (uint32_t l = 0; l < n_lists; l++)
        s->list_keys[l] = omen_key(values[l], l);
    return n_lists;
}

/* Moves the n nearest lists to the front of list_keys and returns the last of them. */
static uint64_t nearest_lists(omen_lists_chunk *s, const float *values, uint32_t n)
{
    const uint32_t n_short = shortlist(s, values, n);
    uint64_t last = 0;
    omen_keys_least(s->list_keys, n_short, n, s->list_keys + s->ldc);
    for (uint32_t i = 0; i < n; i++)
        last = s->list_keys[i] > last ? s->list_keys[i] : last;
    return last;
}

static uint64_t rows_of(const omen_lists_chunk *s, uint32_t n)
{
    uint64_t n_rows = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t l = (uint32_t)s->list_keys[i];
        n_rows += s->first[l + 1] - s->first[l];
    }
    return n_rows;
}

/* Adds the first n lists of list_keys but those up to done; those up to first are of turn 0. */
static int add_probes(omen_lists_chunk *s, uint32_t query, uint32_t n, uint64_t done, uint64_t first)
{
    if (omen_lists_reserve(s, s->n_pairs + n) != OMEN_OK)
        return OMEN_ERR_MEMORY;
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t key = s->list_keys[i];
        const float base = s->lists[query].norm2 + 2 * omen_key_distance(key);
        s->probes[s->n_pairs] = (omen_probe){(uint32_t)key, query, base > 0 ? base : 0, key > first};
        s->n_pairs += key > done;
    }
    return OMEN_OK;
}

/* Counting sort by turn and list. */
void omen_lists_sort_probes(omen_lists_chunk *s)
{
    const size_t n_lists = s->index->meta.n_lists, n = (s->is_fixed ? 2 : 1) * n_lists;
    memset(s->list_first, 0, (n + 1) * sizeof *s->list_first);
    for (size_t i = 0; i < s->n_pairs; i++)
        s->list_first[s->probes[i].turn * n_lists + s->probes[i].list + 1]++;
    for (size_t l = 0; l < n; l++)
        s->list_first[l + 1] += s->list_first[l];
    for (size_t i = 0; i < s->n_pairs; i++)
        s->sorted[s->list_first[s->probes[i].turn * n_lists + s->probes[i].list]++] = s->probes[i];
}

/* Within the limits of a model (index_format.h) nothing overflows here. */
int omen_lists_rank(omen_lists_chunk *s, size_t q0, size_t n, omen_detail *why)
{
    const omen_kernels *kernels = omen_kernels_get();
    const omen_index *index = s->index;
    const size_t d = index->meta.d_kept;
    kernels->matmul(s->transformed + q0 * s->ld, s->ld, n, index->panels, s->ldc / OMEN_PANEL, d,
                    omen_lists_values(s, q0), s->ldc);
    for (size_t q = q0; q < q0 + n; q++) {
        const float *y = s->transformed + q * s->ld;
        const float norm2 = kernels->ip_f32(y, y, d);
        /* only axes that are not at right angles make a query so long */
        if (!(norm2 <= OMEN_PROJECTED2_MOST))
            return omen_fail(why, OMEN_ERR_CORRUPT, "section BASE: its axes are not at right angles");
        const float nearest = kernels->list_values(index->half_norms, omen_lists_values(s, q), index->meta.n_lists);
        s->lists[q] = (omen_query_lists){.norm2 = norm2, .nearest_value = nearest};
    }
    return OMEN_OK;
}

/* Brings at least n lists that hold so many rows to the front of list_keys; returns the last of them. */
static uint64_t nearest_rows(omen_lists_chunk *s, uint32_t query, uint32_t *n, uint64_t n_rows)
{
    const uint32_t n_lists = s->index->meta.n_lists;
    for (;; *n = *n < n_lists / 2 ? 2 * *n : n_lists) {
        const uint64_t last = nearest_lists(s, omen_lists_values(s, query), *n);
        if (*n == n_lists || rows_of(s, *n) >= n_rows)
            return last;
    }
}

/* The lists of a query whose effort is fixed. The pool that the nearest ones fill turns away most of what the others
 * hold. */
static int choose_fixed(omen_lists_chunk *s, uint32_t query)
{
    uint32_t n = s->effort.most_lists;
    uint64_t last = 0;
    nearest_rows(s, query, &n, s->effort.most_rows);
    const uint32_t n_first = (n + FIRST_SHARE - 1) / FIRST_SHARE;
    omen_keys_select(s->list_keys, n, n_first);
    for (uint32_t i = 0; i < n_first; i++)
        last = s->list_keys[i] > last ? s->list_keys[i] : last;
    return add_probes(s, query, n, 0, last);
}

int omen_lists_choose_first(omen_lists_chunk *s, size_t q0, size_t n)
{
    const bool needs_rows = s->effort.least_lists < s->effort.most_lists;
    const uint64_t n_rows = s->first[s->index->meta.n_lists], most = omen_spread_rank(s->k);
    const uint64_t wanted = !needs_rows ? 0 : most < n_rows ? most : n_rows;
    for (size_t q = q0; q < q0 + n; q++) {
        omen_query_lists *lists = &s->lists[q];
        int status;
        if (s->is_fixed) {
            status = choose_fixed(s, (uint32_t)q);
        } else {
            lists->n_first = s->effort.first_lists;
            lists->last_first = nearest_rows(s, (uint32_t)q, &lists->n_first, wanted);
            status = add_probes(s, (uint32_t)q, lists->n_first, 0, UINT64_MAX);
        }
        if (status != OMEN_OK)
            return status;
    }
    return OMEN_OK;
}

/* The value of a list that is at the query's reach. */
static float value_at_reach(const omen_query_lists *lists, float reach, float d_k2)
{
    const double value = (double)lists->nearest_value + (double)reach * (double)d_k2 / 2;
    return (float)(value < (double)FLT_MAX ? value : (double)FLT_MAX);
}

float omen_lists_kth(const omen_lists_chunk *s, uint32_t query)
{
    const omen_meta *m = &s->index->meta;
    const omen_pool *p = &s->pools[query];
    if (m->codec != OMEN_CODEC_NONE)
        return p->kth;
    return omen_lifted_distance2(s->index, p->kth, s->lists[query].query_norm2) - p->tail;
}

int omen_lists_add_others(omen_lists_chunk *s, uint32_t query, const omen_effort *effort, float d_k2, uint64_t wanted)
{
    omen_query_lists *lists = &s->lists[query];
    const float *values = omen_lists_values(s, query);
    const uint32_t n_lists = s->index->meta.n_lists, most = effort->most_lists;
    lists->d_k2 = d_k2;
    const float limit = value_at_reach(lists, effort->reach, d_k2);
    for (uint32_t least = effort->least_lists;; least = least < n_lists / 2 ? 2 * least : n_lists) {
        const uint32_t n_least = least < lists->n_first ? lists->n_first : least;
        uint32_t n = n_least < most ? lists_within(s, values, limit) : 0;
        if (n < n_least) {
            n = n_least;
            nearest_lists(s, values, n);
        } else if (n > most) {
            omen_keys_least(s->list_keys, n, most, s->list_keys + s->ldc);
            n = most;
        }
        if (n == n_lists || rows_of(s, n) >= wanted)
            return add_probes(s, query, n, lists->last_first, UINT64_MAX);
    }
}

int omen_lists_choose_others(omen_lists_chunk *s, size_t n_queries)
{
    s->n_pairs = 0;
    for (uint32_t q = 0; q < n_queries; q++) {
        const omen_pool *p = &s->pools[q];
        const float d_k2 = omen_d_k2(omen_lists_kth(s, q), p->nearest2, p->tail);
        if (omen_lists_add_others(s, q, &s->effort, d_k2, p->margin < INFINITY ? p->k : p->n_most) != OMEN_OK)
            return OMEN_ERR_MEMORY;
    }
    omen_lists_sort_probes(s);
    return OMEN_OK;
}

/* Brings the lists that have matches to the front of the first n, and returns how many they are. */
static uint32_t keep_matching(omen_lists_chunk *s, uint32_t query, uint32_t n)
{
    uint32_t n_kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t key = s->list_keys[i];
        s->list_keys[n_kept] = key;
        n_kept += s->filters[query].matches[(uint32_t)key] > 0;
    }
    return n_kept;
}

/* The value of the last list that has to be taken so that those behind it may be expected to hold no more than a share
 * effort.missed of all rows within the distance. */
static float expected_limit(omen_lists_chunk *s, uint32_t query)
{
    const omen_index *index = s->index;
    const float *values = omen_lists_values(s, query), norm2 = s->lists[query].norm2, kth = s->pools[query].kth;
    omen_list_steps steps;
    float least = INFINITY, most = -INFINITY;
    for (uint32_t l = 0; l < index->meta.n_lists; l++) {
        const uint32_t n_rows = s->filters ? s->filters[query].matches[l] : index->first[l + 1] - index->first[l];
        const float base = norm2 + 2 * values[l];
        s->work[l] = (float)n_rows * omen_list_spread_share(s->spread, l, base > 0 ? base : 0, kth);
        least = s->work[l] > 0 && values[l] < least ? values[l] : least;
        most = s->work[l] > 0 && values[l] > most ? values[l] : most;
    }
    omen_list_steps_fill(&steps, values, s->work, index->meta.n_lists, least, most);
    const uint32_t n = omen_list_steps_needed(&steps, (double)s->effort.missed * steps.sum);
    if (n == 0)
        return -INFINITY;
    return n == OMEN_LIST_STEPS || !(steps.per_step > 0) ? steps.most : steps.least + (float)n / steps.per_step;
}

/* Nothing has to be found first: the distance is known. Near it, where few rows of a list are, the reach says best how
 * far to go; where many are, as of a distance beyond that of the hundred nearest rows, their expected number does. */
int omen_lists_choose_within(omen_lists_chunk *s, size_t n_queries)
{
    const uint32_t n_lists = s->index->meta.n_lists;
    const bool fixed = s->effort.missed < 0;
    s->n_pairs = 0;
    for (uint32_t q = 0; q < n_queries; q++) {
        const omen_query_lists *lists = &s->lists[q];
        const omen_pool *p = &s->pools[q];
        const float *values = omen_lists_values(s, q);
        const float reach = value_at_reach(lists, s->effort.reach, omen_d_k2(p->kth, p->nearest2, p->tail));
        const float expected = fixed ? 0 : expected_limit(s, q), limit = reach > expected ? reach : expected;
        uint32_t n = fixed ? 0 : lists_within(s, values, limit);
        if (s->index->meta.metric == OMEN_METRIC_IP && lists->query_norm2 == 0) { /* as near to all rows */
            n = lists_within(s, values, INFINITY);
        } else if (n < s->effort.least_lists) {
            n = s->effort.least_lists < n_lists ? s->effort.least_lists : n_lists;
            nearest_lists(s, values, n);
        }
        if (s->filters)
            n = keep_matching(s, q, n);
        if (add_probes(s, q, n, 0, UINT64_MAX) != OMEN_OK)
            return OMEN_ERR_MEMORY;
    }
    omen_lists_sort_probes(s);
    return OMEN_OK;
}
