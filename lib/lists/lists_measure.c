/* SPDX-License-Identifier: Apache-2.0 */
/* What a search of the lists finds with any effort.
 *
 * One scan of as many lists as the highest recall needs, with a wide pool, tells for every true neighbour the reach
 * that its list takes and, for any reach, the margin that it takes to find it. From these the recall of each effort is
 * counted; no search is repeated. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/lists/lists_measure.h"
#include "lib/matrix.h"
#include "lib/watch.h"

#define MARGIN_MOST 0.0035 /* of a recall, to be safe */
#define POOL        1536u  /* candidates looked at, where that is enough; one behind them counts as not found */
#define COUNTED     64u    /* candidates counted together */
#define LACK_MOST   1e6f   /* taken for what is not known; less than that of efforts that repeat nothing */
#define APART       OMEN_CALIBRATE_APART
#define SHARE_MOST  0.999       /* of the true neighbours are in the lists looked at */
#define SHARE_STEP  1.19        /* each reach leaves out so many times the neighbours of the one before */
#define SERIAL_MOST (1u << 17u) /* candidates of all queries that one thread counts sooner than a team begins */

/* Where the pools of so many candidates miss more than 1 - SHORT of the SHORT_K nearest, wider ones are looked at. */
#define SHORT   0.96
#define SHORT_K 10u
#define N_WIDER 2u
static const uint32_t wider[N_WIDER] = {4 * POOL, 7 * POOL};

static const uint32_t *lists_of(const omen_lists_measure *m, uint32_t q)
{
    return m->truth->lists + (size_t)q * m->truth->k_most;
}

/* The rank of a list, in which a row is that may be set apart. */
static uint32_t rank_of(const omen_lists_measure *m, uint32_t query, uint32_t list)
{
    return list == APART ? 0 : m->ranks[(size_t)query * m->index->meta.n_lists + list];
}

/* Lists needed to hold share of the true k nearest of all queries. */
static int probes_for(const omen_lists_measure *m, uint32_t k, double share, uint32_t *n_probes)
{
    const uint32_t n_lists = m->index->meta.n_lists;
    uint32_t *n_at = omen_alloc_zero(n_lists, sizeof *n_at); /* neighbours in the list of each rank */
    if (!n_at)
        return OMEN_ERR_MEMORY;
    for (uint32_t q = 0; q < m->n_queries; q++)
        for (uint32_t i = 0; i < k; i++)
            n_at[rank_of(m, q, lists_of(m, q)[i])]++;
    uint64_t wanted = (uint64_t)ceil(share * (double)m->n_queries * k), n = n_at[0];
    for (*n_probes = 1; n < wanted; n += n_at[(*n_probes)++])
        ;
    free(n_at);
    return OMEN_OK;
}

/* The number of a true neighbour, of k whose (id, number) are sorted; k if the row is none. */
static uint32_t number_of(const uint64_t *sorted, uint32_t k, uint32_t id)
{
    uint32_t lo = 0, hi = k;
    while (hi - lo > 1) {
        const uint32_t middle = (lo + hi) / 2;
        if (sorted[middle] >> 32 <= id)
            lo = middle;
        else
            hi = middle;
    }
    return sorted[lo] >> 32 == id ? (uint32_t)sorted[lo] : k;
}

/* Looks up every candidate once: the rank of its list, and which of the true neighbours it is. */
static void mark_candidates(omen_lists_measure *m)
{
    const omen_index *index = m->index;
    const uint32_t k_most = m->truth->k_most;
#pragma omp parallel for schedule(dynamic) num_threads(m->n_threads)
    for (uint32_t q = 0; q < m->n_queries; q++) {
        const uint32_t *neighbours = m->truth->neighbours + (size_t)q * k_most;
        const size_t at = (size_t)q * m->pool;
        uint32_t *hits = m->hits + (size_t)q * k_most, *hit_truth = m->hit_truth + (size_t)q * k_most, n_hits = 0;
        uint64_t sorted[OMEN_CALIBRATE_K];
        for (uint32_t i = 0; i < k_most; i++) {
            sorted[i] = (uint64_t)neighbours[i] << 32 | i;
            if (lists_of(m, q)[i] == APART) {
                hits[n_hits] = APART;
                hit_truth[n_hits++] = i;
            }
        }
        omen_keys_sort(sorted, k_most);
        for (uint32_t j = 0; j < m->pool; j++) {
            const uint64_t key = m->pools[at + j];
            m->pool_ranks[at + j] = UINT32_MAX;
            if (key == UINT64_MAX)
                continue;
            const uint32_t id = index->ids[(uint32_t)key];
            if (id == m->truth->own[q]) /* which no real query would meet */
                continue;
            const uint32_t list = omen_calibration_list(index, (uint32_t)key);
            m->pool_ranks[at + j] = rank_of(m, q, list);
            if (list == APART)
                continue;
            const uint32_t number = number_of(sorted, k_most, id);
            if (number < k_most) {
                hits[n_hits] = j;
                hit_truth[n_hits++] = number;
            }
        }
        m->n_hits[q] = n_hits;
    }
}

/* The number of first lists of a query. */
static uint32_t count_first(const omen_index *index, const uint32_t *ranks, uint64_t wanted, uint32_t *order)
{
    const uint32_t n_lists = index->meta.n_lists;
    uint64_t n_rows = 0;
    uint32_t n = omen_first_lists(index), counted = 0;
    for (uint32_t l = 0; l < n_lists; l++)
        order[ranks[l]] = l;
    for (;; n = n < n_lists / 2 ? 2 * n : n_lists) {
        for (; counted < n; counted++)
            n_rows += index->first[order[counted] + 1] - index->first[order[counted]];
        if (n_rows >= wanted || n == n_lists)
            return n;
    }
}

/* Searches the first lists of each query: what is in them is what reach and margin are relative to. */
static int measure_first(omen_lists_measure *m, uint32_t k)
{
    const omen_index *index = m->index;
    const bool has_codes = index->meta.codec != OMEN_CODEC_NONE;
    const uint32_t n_lists = index->meta.n_lists, first = omen_first_lists(index);
    /* one more where the query itself is in the way */
    const uint64_t wanted = omen_first_rows(index, k), more = wanted + (wanted < index->meta.n_rows);
    const uint32_t n_nearest = (uint32_t)more;
    uint64_t *nearest = omen_alloc((uint64_t)m->n_queries * n_nearest, sizeof *nearest);
    uint32_t *order = omen_alloc(n_lists, sizeof *order);
    int status = nearest && order ? OMEN_OK : OMEN_ERR_MEMORY;
    if (status == OMEN_OK && has_codes)
        status = omen_search_candidates(index, m->truth->queries, m->n_queries, first, n_nearest, m->n_threads, nearest,
                                        m->watch, m->why);
    else if (status == OMEN_OK) {
        const omen_effort effort = omen_effort_fixed(first, n_nearest);
        status = omen_search_lists(index, m->truth->queries, m->n_queries, n_nearest, &effort, NULL, false,
                                   m->n_threads, nearest, NULL, m->watch, m->why);
    }
    for (uint32_t q = 0; q < m->n_queries && status == OMEN_OK; q++) {
        const uint64_t *keys = nearest + (size_t)q * n_nearest;
        float kth = 0, last = 0;
        uint64_t n = 0;
        for (uint32_t j = 0; j < n_nearest && n < wanted && keys[j] != UINT64_MAX; j++) {
            const uint32_t id = has_codes ? index->ids[(uint32_t)keys[j]] : (uint32_t)keys[j];
            if (id == m->truth->own[q])
                continue;
            last = omen_key_distance(keys[j]);
            if (!has_codes)
                last = omen_lifted_distance2(index, last, m->norms2[q]) - m->tails[q];
            kth = n < k ? last : kth;
            n++;
        }
        m->n_first[q] = count_first(index, m->ranks + (size_t)q * n_lists, wanted, order);
        m->d_k2[q] = omen_d_k2(kth, m->nearest2[q], m->tails[q]);
        m->scale[q] = sqrtf(omen_margin_scale2(kth, m->nearest2[q], m->tails[q]));
        m->spread[q] = last - kth;
    }
    free(nearest);
    free(order);
    return status;
}

/* The reach that the list of a rank takes. */
static float reach_of(const omen_lists_measure *m, uint32_t q, uint32_t rank)
{
    return m->ahead[(size_t)q * m->index->meta.n_lists + rank] / m->d_k2[q];
}

/* Lists that the query takes: those up to reach, at least n_least, at most n_most. */
static uint32_t lists_taken(const omen_lists_measure *m, uint32_t q, float reach, uint32_t n_least)
{
    uint32_t taken = n_least > m->n_first[q] ? n_least : m->n_first[q], beyond = m->n_most + 1;
    if (taken >= m->n_most)
        return taken;
    for (; beyond - taken > 1;) {
        const uint32_t middle = taken + (beyond - taken) / 2;
        if (reach_of(m, q, middle - 1) <= reach)
            taken = middle;
        else
            beyond = middle;
    }
    return taken;
}

/* Fills n_lists for a reach; returns the mean, rounded up. */
static uint32_t take_lists(omen_lists_measure *m, float reach)
{
    uint32_t n_least = 0, mean = 0;
    for (int pass = 0; pass < 2; pass++) { /* the least is half of the mean, which it raises a little */
        uint64_t sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum) num_threads(m->n_threads)
        for (uint32_t q = 0; q < m->n_queries; q++)
            sum += m->n_lists[q] = lists_taken(m, q, reach, n_least);
        /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): without queries nothing is measured */
        mean = (uint32_t)((sum + m->n_queries - 1) / m->n_queries);
        n_least = omen_least_lists(m->index, mean);
    }
    return mean;
}

/* Reaches to look at, falling: those that the lists of all neighbours but a share take. */
static int choose_reaches(omen_lists_measure *m, uint32_t k, float out[LISTS_N_REACHES])
{
    const uint64_t n = (uint64_t)m->n_queries * k;
    uint64_t *reaches = omen_alloc(n, sizeof *reaches);
    double share = 1 - SHARE_MOST;
    if (!reaches)
        return OMEN_ERR_MEMORY;
#pragma omp parallel for schedule(static) num_threads(m->n_threads)
    for (uint32_t q = 0; q < m->n_queries; q++)
        for (uint32_t i = 0; i < k; i++) {
            const float reach = reach_of(m, q, rank_of(m, q, lists_of(m, q)[i]));
            reaches[(size_t)q * k + i] = omen_key(reach < OMEN_REACH_MOST ? reach : OMEN_REACH_MOST, 0);
        }
    omen_keys_sort(reaches, n);
    for (uint32_t i = 0; i < LISTS_N_REACHES; i++, share *= SHARE_STEP)
        out[i] = omen_key_distance(reaches[(uint64_t)((1 - share) * (double)(n - 1))]);
    free(reaches);
    return OMEN_OK;
}

float omen_lists_measure_margin(const omen_lists_measure *m, uint32_t number)
{
    const float share = (float)number / LISTS_N_MARGINS;
    return m->margin_most * share * share;
}

/* Of the candidates from one place to another, those in the n_lists nearest lists. */
static uint32_t count_within(const uint32_t *pool_ranks, uint32_t from, uint32_t to, uint32_t n_lists)
{
    uint32_t n = 0;
    for (uint32_t j = from; j < to; j++)
        n += pool_ranks[j] < n_lists;
    return n;
}

/* The k-th smallest estimate in the n_lists nearest lists; of fewer, the largest. */
static float kth_estimate(const omen_lists_measure *m, uint32_t q, uint32_t k, uint32_t n_lists)
{
    const uint32_t *pool_ranks = m->pool_ranks + (size_t)q * m->pool;
    uint32_t at = 0, left = k;
    while (left > COUNTED && m->pool - at >= COUNTED) {
        left -= count_within(pool_ranks, at, at + COUNTED, n_lists);
        at += COUNTED;
    }
    uint32_t end = at;
    for (; at < m->pool && left > 0; at++)
        if (pool_ranks[at] < n_lists) {
            end = at + 1;
            left--;
        }
    while (end > 0 && pool_ranks[end - 1] >= n_lists)
        end--;
    return end > 0 ? omen_key_distance(m->pools[(size_t)q * m->pool + end - 1]) : 0;
}

/* The margin that nearly every hit takes at most, where many lists are looked at. */
static int measure_margins(omen_lists_measure *m, uint32_t k)
{
    float *margins = omen_alloc(2 * (uint64_t)m->n_queries * k, sizeof *margins);
    uint64_t n = 0;
    if (!margins)
        return OMEN_ERR_MEMORY;
    for (uint32_t q = 0; q < m->n_queries; q++) {
        const float kth = kth_estimate(m, q, k, m->n_most);
        const float scale = sqrtf(omen_margin_scale2(kth, m->nearest2[q], m->tails[q]));
        for (uint32_t h = 0; h < m->n_hits[q] && scale > 0; h++) {
            const size_t hit = (size_t)q * m->truth->k_most + h, at = (size_t)q * m->pool + m->hits[hit];
            if (m->hits[hit] == APART || m->hit_truth[hit] >= k)
                continue;
            const float wanted = (omen_key_distance(m->pools[at]) - kth) / scale;
            if (m->pool_ranks[at] < m->n_most)
                margins[n++] = fmaxf(omen_margin_for(wanted, m->scale[q], m->spread[q]), 0);
        }
    }
    const uint64_t rank = (uint64_t)(SHARE_MOST * (double)n);
    float *work = margins + (uint64_t)m->n_queries * k;
    const float most = n > 0 ? omen_values_select(margins, n, rank > 0 ? rank : 1, work) : 0;
    m->margin_most = most < OMEN_COORDINATE_MOST ? most : OMEN_COORDINATE_MOST;
    free(margins);
    for (uint32_t q = 0; q < m->n_queries; q++)
        for (uint32_t i = 0; i <= LISTS_N_MARGINS; i++)
            m->enlarged[(size_t)q * (LISTS_N_MARGINS + 1) + i] =
                omen_margin_of(omen_lists_measure_margin(m, i), m->scale[q], m->spread[q]);
    return OMEN_OK;
}

/* Counts the neighbours that a query finds with each margin, as far as the one before does not find them. */
static void count_hits(const omen_lists_measure *m, uint32_t q, uint32_t k, uint32_t found[LISTS_N_MARGINS + 1])
{
    const uint64_t *pool = m->pools + (size_t)q * m->pool;
    const uint32_t n_lists = m->n_lists[q], *pool_ranks = m->pool_ranks + (size_t)q * m->pool;
    const uint32_t *hits = m->hits + (size_t)q * m->truth->k_most,
                   *hit_truth = m->hit_truth + (size_t)q * m->truth->k_most;
    const float *enlarged = m->enlarged + (size_t)q * (LISTS_N_MARGINS + 1);
    const bool *lost = m->lost + (size_t)q * k;
    const float kth = m->kth[q] = kth_estimate(m, q, k, n_lists);
    const float scale = m->kth_scale[q] = sqrtf(omen_margin_scale2(kth, m->nearest2[q], m->tails[q]));
    float limit = kth; /* estimates up to which the margin takes rows; they rise, as those of the hits do */
    for (uint32_t h = 0, number = 0; h < m->n_hits[q]; h++) {
        if (hit_truth[h] >= k || lost[hit_truth[h]])
            continue;
        if (hits[h] == APART) { /* those come first */
            found[0]++;
            continue;
        }
        if (pool_ranks[hits[h]] >= n_lists)
            continue;
        const float estimate = omen_key_distance(pool[hits[h]]);
        while (estimate > limit && number < LISTS_N_MARGINS)
            limit = kth + enlarged[++number] * scale;
        if (estimate > limit)
            break;
        found[number]++;
    }
}

/* The same where every row of a probed list is compared. */
static uint32_t count_compared(const omen_lists_measure *m, uint32_t q, uint32_t k)
{
    const uint32_t *lists = lists_of(m, q);
    uint32_t n = 0;
    for (uint32_t i = 0; i < k; i++)
        n += rank_of(m, q, lists[i]) < m->n_lists[q] && !m->lost[(size_t)q * k + i];
    return n;
}

/* Fills recall, as cautiously as said above, for the lists taken. */
static void count_found(omen_lists_measure *m, uint32_t k)
{
    uint64_t found[LISTS_N_MARGINS + 1] = {0}, squares[LISTS_N_MARGINS + 1] = {0};
#pragma omp parallel for schedule(dynamic, 16) reduction(+ : found, squares) num_threads(m->n_threads)
    for (uint32_t q = 0; q < m->n_queries; q++) {
        uint32_t n_found[LISTS_N_MARGINS + 1] = {0};
        if (m->index->meta.codec == OMEN_CODEC_NONE)
            n_found[0] = count_compared(m, q, k);
        else
            count_hits(m, q, k, n_found);
        for (uint32_t i = 0, n = 0; i <= LISTS_N_MARGINS; i++) {
            n += n_found[i];
            found[i] += n;
            squares[i] += (uint64_t)n * n;
        }
    }
    for (uint32_t i = 0; i <= LISTS_N_MARGINS; i++)
        m->recall[i] = omen_calibration_recall_of_others(
            m->truth, k, omen_calibration_safe_recall(found[i], squares[i], m->n_queries, k, MARGIN_MOST));
}

/* The place of the first candidate from at on whose estimate is above a limit. */
static uint32_t place_above(const uint64_t *pool, uint32_t at, uint32_t end, float limit)
{
    const uint64_t key = omen_key(limit + 0.0f, UINT32_MAX); /* of no -0, which would be less than 0 */
    while (at < end) {
        const uint32_t middle = at + (end - at) / 2;
        if (pool[middle] <= key)
            at = middle + 1;
        else
            end = middle;
    }
    return at;
}

/* Whether the pools miss so many of the k nearest that the default recall is out of reach. */
static bool is_short(const omen_lists_measure *m, uint32_t k)
{
    uint64_t n_found = 0;
    for (uint32_t q = 0; q < m->n_queries; q++)
        for (uint32_t h = 0; h < m->n_hits[q]; h++)
            n_found += m->hit_truth[(size_t)q * m->truth->k_most + h] < k;
    return (double)n_found < SHORT * (double)m->n_queries * k;
}

/* Keeps n of the queries, spread evenly. */
static int thin_queries(omen_lists_measure *m, uint32_t n)
{
    const size_t n_lists = m->index->meta.n_lists;
    omen_calibration thin;
    const int status = omen_calibration_thin(m->truth, n, &thin);
    for (uint32_t q = 0; q < n && status == OMEN_OK; q++) {
        const size_t from = omen_calibration_thinned(m->truth, n, q);
        m->nearest2[q] = m->nearest2[from];
        m->tails[q] = m->tails[from];
        m->norms2[q] = m->norms2[from];
        memmove(m->ranks + q * n_lists, m->ranks + from * n_lists, n_lists * sizeof *m->ranks);
        memmove(m->ahead + q * n_lists, m->ahead + from * n_lists, n_lists * sizeof *m->ahead);
    }
    omen_calibration_finish(&m->thin);
    m->thin = thin;
    m->truth = &m->thin;
    m->n_queries = n;
    return status;
}

/* Wider pools for the same memory: of fewer queries. */
static int widen(omen_lists_measure *m, uint32_t pool)
{
    const uint32_t fewer = OMEN_NEIGHBOURS_QUERIES * POOL / pool, n = m->n_queries < fewer ? m->n_queries : fewer;
    m->pool = pool < m->index->meta.n_rows ? pool : (uint32_t)m->index->meta.n_rows;
    free(m->pools);
    free(m->pool_ranks);
    m->pools = omen_alloc((size_t)n * m->pool, sizeof *m->pools);
    m->pool_ranks = omen_alloc((size_t)n * m->pool, sizeof *m->pool_ranks);
    if (!m->pools || !m->pool_ranks)
        return OMEN_ERR_MEMORY;
    return n < m->n_queries ? thin_queries(m, n) : OMEN_OK;
}

/* What re-ranking says of the true neighbours, in terms of estimates. */
static void note_distances(omen_lists_measure *m)
{
    const omen_calibration *truth = m->truth;
#pragma omp parallel for schedule(static) num_threads(m->n_threads)
    for (uint32_t q = 0; q < m->n_queries; q++)
        for (uint32_t i = 0, t = 0; i < truth->k_most; i++, t++) {
            const uint64_t *refined = truth->refined + (size_t)q * truth->n_truth;
            t += (uint32_t)refined[t] == truth->own[q];
            m->distances[(size_t)q * truth->k_most + i] =
                omen_lifted_distance2(m->index, omen_key_distance(refined[t]), m->norms2[q]) - m->tails[q];
        }
}

/* The candidates of all queries in the n_most nearest lists, in pools as wide as it takes. */
static int find_candidates(omen_lists_measure *m)
{
    const uint32_t k = m->truth->k_most < SHORT_K ? m->truth->k_most : SHORT_K;
    int status = OMEN_OK;
    for (size_t i = 0; status == OMEN_OK; i++) {
        status = omen_search_candidates(m->index, m->truth->queries, m->n_queries, m->n_most, m->pool, m->n_threads,
                                        m->pools, m->watch, m->why);
        if (status == OMEN_OK)
            mark_candidates(m);
        if (status != OMEN_OK || i == N_WIDER || m->pool == m->index->meta.n_rows || !is_short(m, k))
            break;
        status = widen(m, wider[i]);
    }
    if (status == OMEN_OK)
        note_distances(m);
    return status;
}

int omen_lists_measure_begin(omen_lists_measure *m, uint32_t k, float reaches[LISTS_N_REACHES])
{
    const bool has_codes = m->index->meta.codec != OMEN_CODEC_NONE;
    omen_calibration_mark_lost(m->truth, k, m->lost);
    int status = measure_first(m, k);
    if (status == OMEN_OK)
        status = choose_reaches(m, k, reaches);
    if (status == OMEN_OK && has_codes)
        status = measure_margins(m, k);
    return status;
}

uint32_t omen_lists_measure_reach(omen_lists_measure *m, uint32_t k, float reach)
{
    const uint32_t n_lists = take_lists(m, reach);
    count_found(m, k);
    return n_lists;
}

void omen_lists_measure_rows(const omen_lists_measure *m, const uint32_t *numbers, size_t n, double *rows)
{
    uint64_t sums[OMEN_CALIBRATE_LEVELS] = {0};
    const uint32_t n_queries = m->index->meta.codec != OMEN_CODEC_NONE ? m->n_queries : 0;
#pragma omp parallel for schedule(dynamic, 16) reduction(+ : sums) num_threads(m->n_threads)
    for (uint32_t q = 0; q < n_queries; q++) {
        const uint64_t *pool = m->pools + (size_t)q * m->pool;
        const float *enlarged = m->enlarged + (size_t)q * (LISTS_N_MARGINS + 1);
        uint32_t at = 0, n_rows = 0;
        for (size_t i = 0; i < n; i++) {
            const float margin = numbers[i] > 0 ? enlarged[numbers[i]] * m->kth_scale[q] : 0;
            const uint32_t end = place_above(pool, at, m->pool, m->kth[q] + margin);
            n_rows += count_within(m->pool_ranks + (size_t)q * m->pool, at, end, m->n_lists[q]);
            sums[i] += n_rows;
            at = end;
        }
    }
    for (size_t i = 0; i < n; i++)
        rows[i] = (double)sums[i] / m->n_queries;
}

/* Of the k nearest neighbours of a query, those found up to an estimate in its nearest lists. */
static uint32_t count_up_to(const omen_lists_measure *m, uint32_t q, uint32_t k, float limit, uint32_t n_lists)
{
    const size_t at = (size_t)q * m->truth->k_most, pool = (size_t)q * m->pool;
    const bool *lost = m->lost + (size_t)q * k;
    uint32_t n = 0;
    for (uint32_t h = 0; h < m->n_hits[q]; h++) {
        const uint32_t place = m->hits[at + h], neighbour = m->hit_truth[at + h];
        if (place != APART && omen_key_distance(m->pools[pool + place]) > limit)
            break;
        n += neighbour < k && !lost[neighbour] && (place == APART || m->pool_ranks[pool + place] < n_lists);
    }
    return n;
}

/* The distance of the k-th nearest neighbour found so, in terms of estimates; if these are fewer, the least that it can
 * be, and false. */
static bool find_kth_distance(const omen_lists_measure *m, uint32_t q, uint32_t k, float limit, uint32_t n_lists,
                              float *distance)
{
    const uint32_t k_most = m->truth->k_most;
    const size_t at = (size_t)q * k_most, pool = (size_t)q * m->pool;
    bool is_found[OMEN_CALIBRATE_K] = {false};
    for (uint32_t h = 0; h < m->n_hits[q]; h++) {
        const uint32_t place = m->hits[at + h];
        if (place != APART && omen_key_distance(m->pools[pool + place]) <= limit)
            is_found[m->hit_truth[at + h]] = m->pool_ranks[pool + place] < n_lists;
    }
    uint32_t nearest = 0, n = is_found[0];
    while (nearest + 1 < k_most && n < k)
        n += is_found[++nearest];
    *distance = m->distances[at + nearest];
    return n == k;
}

/* What a query finds, and takes, in a search. */
typedef struct {
    uint32_t n_found, n_lists, n_rows;
} one_search;

static one_search search_up_to(const omen_lists_measure *m, uint32_t q, uint32_t k, float limit, uint32_t n_lists)
{
    const uint32_t end = place_above(m->pools + (size_t)q * m->pool, 0, m->pool, limit);
    return (one_search){count_up_to(m, q, k, limit, n_lists), n_lists,
                        count_within(m->pool_ranks + (size_t)q * m->pool, 0, end, n_lists)};
}

/* Both searches of a query, and what the limit of the first lacks. */
typedef struct {
    one_search once, again;
    float lack;
} two_searches;

static two_searches search_twice(const omen_lists_measure *m, uint32_t q, uint32_t k, float reach, uint32_t number)
{
    const float own = m->enlarged[(size_t)q * (LISTS_N_MARGINS + 1) + number], kth = m->kth[q];
    const float limit = kth + own * m->kth_scale[q];
    float nearest, lack;
    two_searches out = {.once = search_up_to(m, q, k, limit, m->n_lists[q])};
    const bool is_known = find_kth_distance(m, q, k, limit, m->n_lists[q], &nearest);
    const float margin = omen_lists_measure_margin(m, number);
    const float again = omen_margin_again(margin, own, m->kth_scale[q], kth, nearest, &lack);
    out.lack = is_known || !(margin * m->kth_scale[q] > 0) ? lack : LACK_MOST; /* it may be anything */
    if (out.lack > 0) {
        const float d_k2 = omen_d_k2(nearest, m->nearest2[q], m->tails[q]);
        const float farther = d_k2 > m->d_k2[q] ? reach * d_k2 / m->d_k2[q] : reach;
        out.again = search_up_to(m, q, k, again > limit ? again : limit, lists_taken(m, q, farther, m->n_lists[q]));
    }
    return out;
}

uint32_t omen_lists_measure_again(omen_lists_measure *m, uint32_t k, float reach, const uint32_t *numbers,
                                  size_t n_numbers, const float *lacks, size_t n_lacks, omen_lists_again *out)
{
    const uint32_t n_lists = take_lists(m, reach);
    uint64_t found[LISTS_N_EFFORTS] = {0}, squares[LISTS_N_EFFORTS] = {0};
    uint64_t lists[LISTS_N_EFFORTS] = {0}, rows[LISTS_N_EFFORTS] = {0};
#pragma omp parallel for schedule(dynamic, 16) reduction(+ : found, squares, lists, rows) num_threads(m->n_threads)
    for (uint32_t q = 0; q < m->n_queries; q++) {
        m->kth[q] = kth_estimate(m, q, k, m->n_lists[q]);
        m->kth_scale[q] = sqrtf(omen_margin_scale2(m->kth[q], m->nearest2[q], m->tails[q]));
        for (size_t i = 0; i < n_numbers * n_lacks; i += n_lacks) {
            const two_searches two = search_twice(m, q, k, reach, numbers[i / n_lacks]);
            for (size_t j = 0; j < n_lacks; j++) {
                const bool is_again = two.lack > lacks[j];
                const uint64_t n_found = is_again ? two.again.n_found : two.once.n_found;
                found[i + j] += n_found;
                squares[i + j] += n_found * n_found;
                lists[i + j] += is_again ? two.again.n_lists : 0;
                rows[i + j] += two.once.n_rows + (is_again ? two.again.n_rows : 0);
            }
        }
    }
    for (size_t i = 0; i < n_numbers * n_lacks; i++)
        out[i] = (omen_lists_again){
            .recall = omen_calibration_recall_of_others(
                m->truth, k, omen_calibration_safe_recall(found[i], squares[i], m->n_queries, k, MARGIN_MOST)),
            .lists = (double)lists[i] / m->n_queries,
            .rows = (double)rows[i] / m->n_queries};
    return n_lists;
}

uint64_t omen_lists_measure_bytes(uint32_t n_queries, uint32_t n_lists)
{
    const uint64_t first = (4 * OMEN_CALIBRATE_K + 13) * 8;
    return n_queries * ((OMEN_CALIBRATE_K + 32) * 20 + first + n_lists * 16 + POOL * 24 + (LISTS_N_MARGINS + 1) * 4);
}

static int allocate(omen_lists_measure *m)
{
    const omen_meta *meta = &m->index->meta;
    const size_t n = m->n_queries, k_most = m->truth->k_most;
    m->lost = omen_alloc(n * k_most, sizeof *m->lost);
    m->ranks = omen_alloc(n * meta->n_lists, sizeof *m->ranks);
    m->ahead = omen_alloc(n * meta->n_lists, sizeof *m->ahead);
    m->nearest2 = omen_alloc(n, sizeof *m->nearest2);
    m->tails = omen_alloc(n, sizeof *m->tails);
    m->norms2 = omen_alloc(n, sizeof *m->norms2);
    m->d_k2 = omen_alloc(n, sizeof *m->d_k2);
    m->scale = omen_alloc(n, sizeof *m->scale);
    m->spread = omen_alloc(n, sizeof *m->spread);
    m->kth = omen_alloc(n, sizeof *m->kth);
    m->kth_scale = omen_alloc(n, sizeof *m->kth_scale);
    m->distances = omen_alloc(n * k_most, sizeof *m->distances);
    m->n_first = omen_alloc(n, sizeof *m->n_first);
    m->n_lists = omen_alloc(n, sizeof *m->n_lists);
    m->enlarged = omen_alloc(n * (LISTS_N_MARGINS + 1), sizeof *m->enlarged);
    m->pools = omen_alloc(n * m->pool, sizeof *m->pools);
    m->pool_ranks = omen_alloc(n * m->pool, sizeof *m->pool_ranks);
    m->hits = omen_alloc(n * k_most, sizeof *m->hits);
    m->hit_truth = omen_alloc(n * k_most, sizeof *m->hit_truth);
    m->n_hits = omen_alloc(n, sizeof *m->n_hits);
    return m->lost && m->ranks && m->ahead && m->nearest2 && m->tails && m->norms2 && m->d_k2 && m->scale &&
                   m->spread && m->kth && m->kth_scale && m->distances && m->n_first && m->n_lists && m->enlarged &&
                   m->pools && m->pool_ranks && m->hits && m->hit_truth && m->n_hits
               ? OMEN_OK
               : OMEN_ERR_MEMORY;
}

int omen_lists_measure_init(omen_lists_measure *m, const omen_index *index, const omen_calibration *truth,
                            const uint32_t *ks, size_t n_ks, int n_threads, omen_watch *watch, omen_detail *why)
{
    *m = (omen_lists_measure){.index = index,
                              .truth = truth,
                              .n_queries = truth->n_queries,
                              .n_most = 1,
                              .pool = POOL < index->meta.n_rows ? POOL : (uint32_t)index->meta.n_rows,
                              .watch = watch,
                              .why = why};
    m->n_threads = m->n_queries * m->pool > SERIAL_MOST ? n_threads : 1;
    int status = allocate(m);
    if (status != OMEN_OK)
        return status;
    for (uint32_t q = 0; q < m->n_queries; q++)
        m->norms2[q] = omen_norm2(truth->queries + (size_t)q * truth->d, truth->d);
    status = omen_watch_status(watch);
    if (status == OMEN_OK)
        status = omen_search_ranks(index, truth->queries, m->n_queries, n_threads, m->ranks, m->ahead, m->nearest2,
                                   m->tails, watch, why);
    /* one scan serves every k: of the lists that the most demanding one looks at */
    for (size_t i = 0; i < n_ks && status == OMEN_OK; i++) {
        uint32_t n_probes;
        status = probes_for(m, ks[i], SHARE_MOST, &n_probes);
        m->n_most = status == OMEN_OK && n_probes > m->n_most ? n_probes : m->n_most;
    }
    return status == OMEN_OK && index->meta.codec != OMEN_CODEC_NONE ? find_candidates(m) : status;
}

void omen_lists_measure_finish(omen_lists_measure *m)
{
    omen_calibration_finish(&m->thin);
    free(m->lost);
    free(m->ranks);
    free(m->ahead);
    free(m->nearest2);
    free(m->tails);
    free(m->norms2);
    free(m->d_k2);
    free(m->scale);
    free(m->spread);
    free(m->distances);
    free(m->kth);
    free(m->kth_scale);
    free(m->n_first);
    free(m->n_lists);
    free(m->enlarged);
    free(m->pools);
    free(m->pool_ranks);
    free(m->hits);
    free(m->hit_truth);
    free(m->n_hits);
}
