/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring how much too large the estimates of rows at distance 0 are.
 *
 * Of rows taken as queries, what the estimates of their own distance are too large by. It is where a code errs most: it
 * lacks a part of the row, and a query that is the row has all of that part. */
#include <math.h>
#include <stdlib.h>

#include "lib/lists/lists_errors.h"
#include "lib/matrix.h"

#define STREAM_ERRORS 0x6572726f7273ull /* of random numbers */
#define ERROR_LISTS   2u  /* nearest lists, one of which holds the row itself, if it is not far from all */
#define GROUP_ROWS    32u /* searched together: memory is for so many */
#define CANDIDATES_MOST                                                                                                \
    16384u /* of each, nearest first by their estimates; what is behind them is no error to plan for */

/* A group of rows, and what is searched for with them. */
typedef struct {
    float *rows;
    uint64_t *candidates;
    uint32_t n_candidates; /* of each row */
} group;

/* The error of the row at a position, query q of the group; NAN if it was not among the candidates. */
static float error_of(const omen_index *index, const group *g, uint32_t q, uint32_t position, float nearest2,
                      float tail)
{
    const omen_meta *m = &index->meta;
    const uint64_t *candidates = g->candidates + (size_t)q * g->n_candidates;
    const double norm2 = omen_norm2(g->rows + (size_t)q * m->d, m->d);
    const float is = m->metric == OMEN_METRIC_IP ? omen_lifted_distance2(index, (float)-norm2, norm2) : 0;
    const float scale = sqrtf(omen_margin_scale2(is - tail, nearest2, tail));
    for (uint32_t i = 0; i < g->n_candidates && candidates[i] != UINT64_MAX; i++)
        if ((uint32_t)candidates[i] == position)
            return scale > 0 ? (omen_key_distance(candidates[i]) + tail - is) / scale : 0;
    return NAN;
}

/* Adds the errors of n <= GROUP_ROWS rows, as keys, to the *n_errors that there are. */
static int measure_group(const omen_index *index, group *g, const uint32_t *positions, uint32_t n, int n_threads,
                         uint64_t *errors, uint32_t *n_errors, omen_watch *watch, omen_detail *why)
{
    const uint32_t n_lists = index->meta.n_lists < ERROR_LISTS ? index->meta.n_lists : ERROR_LISTS;
    float nearest2[GROUP_ROWS], tails[GROUP_ROWS];
    int status = omen_index_read_rows(index, positions, n, g->rows, why);
    if (status == OMEN_OK)
        status = omen_search_ranks(index, g->rows, n, n_threads, NULL, NULL, nearest2, tails, watch, why);
    if (status == OMEN_OK)
        status =
            omen_search_candidates(index, g->rows, n, n_lists, g->n_candidates, n_threads, g->candidates, watch, why);
    for (uint32_t q = 0; q < n && status == OMEN_OK; q++) {
        const float error = error_of(index, g, q, positions[q], nearest2[q], tails[q]);
        errors[*n_errors] = omen_key(error, *n_errors);
        *n_errors += error > -INFINITY && error < INFINITY;
    }
    return status;
}

static int measure(const omen_index *index, omen_list_errors *out, int n_threads, omen_watch *watch, omen_detail *why)
{
    const omen_meta *m = &index->meta;
    const uint32_t n_rows = m->n_rows < OMEN_ERRORS ? (uint32_t)m->n_rows : OMEN_ERRORS;
    const uint64_t most = omen_least((uint64_t)ERROR_LISTS * index->largest_list, CANDIDATES_MOST);
    uint64_t drawn[OMEN_ERRORS], errors[OMEN_ERRORS];
    uint32_t positions[OMEN_ERRORS];
    group g = {.n_candidates = (uint32_t)omen_least(most, m->n_rows)};
    g.rows = omen_alloc((size_t)GROUP_ROWS * m->d, sizeof *g.rows);
    g.candidates = omen_alloc((size_t)GROUP_ROWS * g.n_candidates, sizeof *g.candidates);
    int status = g.rows && g.candidates ? OMEN_OK : OMEN_ERR_MEMORY;
    omen_random_rows(m->seed ^ STREAM_ERRORS, m->n_rows, n_rows, drawn);
    for (uint32_t i = 0; i < n_rows; i++)
        positions[i] = (uint32_t)drawn[i];
    for (uint32_t i = 0; i < n_rows && status == OMEN_OK; i += GROUP_ROWS)
        status = measure_group(index, &g, positions + i, n_rows - i < GROUP_ROWS ? n_rows - i : GROUP_ROWS, n_threads,
                               errors, &out->n, watch, why);
    omen_keys_sort(errors, out->n);
    for (uint32_t i = 0; i < out->n; i++)
        out->values[i] = omen_key_distance(errors[i]);
    free(g.rows);
    free(g.candidates);
    return status;
}

int omen_list_errors_get(const omen_index *index, int n_threads, const omen_list_errors **out, omen_watch *watch,
                         omen_detail *why)
{
    /* an index is on the heap and was made writable; a search sets little of it but this, once */
    omen_list_errors **place = (omen_list_errors **)&index->errors, *before = NULL;
    *out = __atomic_load_n(place, __ATOMIC_ACQUIRE);
    if (*out)
        return OMEN_OK;
    omen_list_errors *errors = omen_alloc_zero(1, sizeof *errors);
    const int status = errors ? measure(index, errors, n_threads, watch, why) : OMEN_ERR_MEMORY;
    if (status != OMEN_OK) {
        free(errors);
        return status;
    }
    if (!__atomic_compare_exchange_n(place, &before, errors, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        free(errors); /* another thread was first, with the same */
        errors = before;
    }
    *out = errors;
    return OMEN_OK;
}

float omen_list_errors_quantile(const omen_list_errors *errors, double share)
{
    const double rank = ceil(share * errors->n);
    if (!errors->n)
        return 0;
    return errors->values[rank < errors->n ? (rank > 1 ? (uint32_t)rank - 1 : 0) : errors->n - 1];
}
