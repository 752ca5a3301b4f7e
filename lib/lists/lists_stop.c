/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring when a search under a filter may stop: how many rows near a query are really in lists that are expected to
 * hold a part of those within a distance.
 *
 * Rows are taken as queries, and the codes of the lists near them are scanned. For a few ranks, the distance of the row
 * of that rank is what the k-th match would be of a filter that passes k in so many rows, wherever they are. */
#include <math.h>
#include <stdlib.h>

#include "lib/lists/lists_spread.h"
#include "lib/matrix.h"
#include "lib/watch.h"

#define STREAM_STOP 0x73746f70ull /* of random numbers */
#define QUERIES     96u           /* rows taken as queries */
#define LISTS       384u          /* the nearest lists of each are scanned */

/* What is known of one query. */
typedef struct {
    const uint32_t *order; /* lists by distance */
    const float *ahead;
    float nearest2;
    const uint64_t *candidates; /* (estimate, position), ascending, without the query itself */
} query;

static uint32_t rank_of(uint32_t number)
{
    return 16u << 2 * number;
}

static uint32_t list_of(const omen_index *index, uint32_t position)
{
    uint32_t low = 0, high = index->meta.n_lists;
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (index->first[middle] <= position)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* One query's part of the sums for a rank. work: n_lists expectations, and as many counts. */
static void add_query(const omen_index *index, omen_list_spread *spread, const query *q, const uint32_t *ranks,
                      uint32_t number, double *work)
{
    const uint32_t n_lists = index->meta.n_lists, rank = rank_of(number);
    const float distance2 = omen_key_distance(q->candidates[rank - 1]);
    double *counts = work + n_lists, all = 0, before = 0;
    for (uint32_t i = 0; i < n_lists; i++) {
        const uint32_t l = q->order[i];
        work[i] = (double)(index->first[l + 1] - index->first[l]) *
                  (double)omen_list_spread_share(spread, l, q->nearest2 + q->ahead[i], distance2);
        all += work[i];
        counts[i] = 0;
    }
    for (uint32_t i = 0; i < rank; i++)
        counts[ranks[list_of(index, (uint32_t)q->candidates[i])]]++;
    spread->stop.rows[number] += omen_log2_about(all > 1 ? all : 1);
    double found = 0;
    uint32_t i = 0;
    for (uint32_t step = 0; step < OMEN_STOP_STEPS; step++) { /* thresholds fall */
        const double share = omen_stop_share(step);
        while (i < n_lists && (all - before > share * before || i == 0)) {
            before += work[i];
            found += counts[i++];
        }
        spread->stop.missed[number][step] += 1 - found / rank;
    }
}

int omen_list_spread_measure_stop(const omen_index *index, omen_list_spread *spread, int n_threads, omen_watch *watch,
                                  omen_detail *why)
{
    const omen_meta *m = &index->meta;
    const uint32_t n_rows = m->n_rows < QUERIES ? (uint32_t)m->n_rows : QUERIES;
    const uint32_t n_scanned = m->n_lists < LISTS ? m->n_lists : LISTS;
    const uint32_t n = 1 + rank_of(OMEN_STOP_RANKS - 1);
    uint64_t positions[QUERIES];
    float nearest2[QUERIES], tails[QUERIES];
    float *rows = omen_alloc((size_t)n_rows * m->d, sizeof *rows);
    uint32_t *ranks = omen_alloc((size_t)n_rows * m->n_lists, sizeof *ranks);
    uint32_t *order = omen_alloc(m->n_lists, sizeof *order);
    float *ahead = omen_alloc((size_t)n_rows * m->n_lists, sizeof *ahead);
    uint64_t *candidates = omen_alloc((size_t)n_rows * n, sizeof *candidates);
    double *work = omen_alloc(2 * (size_t)m->n_lists, sizeof *work);
    int status = rows && ranks && order && ahead && candidates && work ? OMEN_OK : OMEN_ERR_MEMORY;
    uint32_t n_queries[OMEN_STOP_RANKS] = {0};
    omen_random_rows(m->seed ^ STREAM_STOP, m->n_rows, n_rows, positions);
    for (uint32_t q = 0; q < n_rows && status == OMEN_OK; q++) {
        const uint32_t at = (uint32_t)positions[q];
        status = omen_index_read_rows(index, &at, 1, rows + (size_t)q * m->d, why);
    }
    if (status == OMEN_OK)
        status = omen_search_ranks(index, rows, n_rows, n_threads, ranks, ahead, nearest2, tails, watch, why);
    if (status == OMEN_OK)
        status = omen_search_candidates(index, rows, n_rows, n_scanned, n, n_threads, candidates, watch, why);
    for (uint32_t q = 0; q < n_rows && status == OMEN_OK; q++) {
        uint64_t *keys = candidates + (size_t)q * n;
        const uint32_t *own_ranks = ranks + (size_t)q * m->n_lists;
        uint32_t n_keys = 0;
        for (uint32_t i = 0; i < n && keys[i] != UINT64_MAX; i++) {
            keys[n_keys] = keys[i];
            n_keys += (uint32_t)keys[i] != positions[q];
        }
        for (uint32_t l = 0; l < m->n_lists; l++)
            order[own_ranks[l]] = l;
        const query one = {order, ahead + (size_t)q * m->n_lists, nearest2[q], keys};
        for (uint32_t r = 0; r < OMEN_STOP_RANKS && rank_of(r) <= n_keys; r++) {
            add_query(index, spread, &one, own_ranks, r, work);
            n_queries[r]++;
        }
    }
    for (uint32_t r = 0; r < OMEN_STOP_RANKS && status == OMEN_OK && n_queries[r] > n_rows / 2; r++) {
        spread->stop.n_ranks = r + 1;
        spread->stop.rows[r] /= n_queries[r];
        for (uint32_t step = 0; step < OMEN_STOP_STEPS; step++)
            spread->stop.missed[r][step] /= n_queries[r];
    }
    free(rows);
    free(ranks);
    free(order);
    free(ahead);
    free(candidates);
    free(work);
    return status;
}
