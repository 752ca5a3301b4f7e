/* SPDX-License-Identifier: Apache-2.0 */
/* How much too large the estimates of near rows are, which matters where those of several indexes meet.
 *
 * A code lacks a part e of its row. Of a row x in the list of centroid c, the estimate is too large by 2 <q - c, e>. A
 * query that is the row has all of e, 2 |e|^2; one at some distance d less, in proportion to <q - c, x - c>, which is
 * (|q - c|^2 + |x - c|^2 - d^2) / 2. In one index that is the same for all near rows and does no harm. In another one,
 * of another codec or with more rows a list, it is not, and differs often by more than a margin. So it is measured, of
 * rows taken as queries: at distance 0, and at the distance of their nearest rows. */
#include <math.h>
#include <stdlib.h>

#include "lib/lists/lists_bias.h"
#include "lib/matrix.h"

#define STREAM_BIAS 0x62696173ull /* of random numbers */
#define QUERIES     64u           /* rows taken as queries */
#define LISTS       4u            /* the nearest lists of each are scanned, */
#define CANDIDATES  48u           /* the rows with the best estimates compared, */
#define NEAREST     2u            /* and the nearest of them, besides itself, looked at */
#define SLOPE_MOST  0.75f         /* beyond it estimates say nothing */

/* What is known of the sample: n queries, k candidates of each. */
typedef struct {
    uint32_t positions[QUERIES];
    float nearest2[QUERIES], tails[QUERIES];
    float at_zero[QUERIES], near[QUERIES * NEAREST], distance2[QUERIES * NEAREST];
    uint32_t n, k, n_at_zero, n_near;
    uint64_t candidates[QUERIES * CANDIDATES];
    int64_t ids[QUERIES * CANDIDATES];
    float distances[QUERIES * CANDIDATES];
    float *rows;
} sample;

/* Candidates, and their distances. */
static int search(const omen_index *index, sample *s, int n_threads, omen_watch *watch, omen_detail *why)
{
    const uint32_t n_lists = index->meta.n_lists < LISTS ? index->meta.n_lists : LISTS;
    int status = omen_index_read_rows(index, s->positions, s->n, s->rows, why);
    if (status == OMEN_OK)
        status = omen_search_ranks(index, s->rows, s->n, n_threads, NULL, NULL, s->nearest2, s->tails, watch, why);
    if (status == OMEN_OK)
        status = omen_search_candidates(index, s->rows, s->n, n_lists, s->k, n_threads, s->candidates, watch, why);
    for (uint32_t i = 0; i < s->n * s->k && status == OMEN_OK; i++) {
        s->ids[i] = OMEN_NO_ROW;
        if (s->candidates[i] == UINT64_MAX)
            continue;
        status = omen_index_touch_ids(index, (uint32_t)s->candidates[i], 1, why);
        if (status == OMEN_OK)
            s->ids[i] = index->ids[(uint32_t)s->candidates[i]];
    }
    return status == OMEN_OK ? omen_search_distances(index, s->rows, s->n, s->k, s->ids, n_threads, s->distances, why)
                             : status;
}

/* Adds what the estimates of one query's own row and its nearest are too large by. */
static void add_query(const omen_index *index, sample *s, uint32_t q)
{
    const omen_meta *m = &index->meta;
    const double norm2 = m->metric == OMEN_METRIC_IP ? omen_norm2(s->rows + (size_t)q * m->d, m->d) : 0;
    uint64_t order[CANDIDATES];
    uint32_t n = 0;
    for (uint32_t i = q * s->k; i < (q + 1) * s->k; i++)
        if (s->ids[i] != OMEN_NO_ROW)
            order[n++] = omen_key(s->distances[i], i);
    omen_keys_sort(order, n);
    for (uint32_t j = 0, n_near = 0; j < n; j++) {
        const uint32_t i = (uint32_t)order[j];
        const float is = omen_lifted_distance2(index, s->distances[i], norm2);
        const float error = omen_key_distance(s->candidates[i]) + s->tails[q] - is;
        if ((uint32_t)s->candidates[i] == s->positions[q])
            s->at_zero[s->n_at_zero++] = error;
        else if (n_near++ < NEAREST) {
            s->distance2[s->n_near] = is;
            s->near[s->n_near++] = error;
        }
    }
}

static float median(const float *values, uint32_t n)
{
    float work[QUERIES * NEAREST];
    return n > 0 ? omen_values_select(values, n, n / 2 + 1, work) : 0;
}

/* The line through both medians. */
static omen_list_bias fit(sample *s)
{
    const float distance2 = median(s->distance2, s->n_near);
    omen_list_bias bias = {.at_zero = median(s->at_zero, s->n_at_zero)};
    for (uint32_t q = 0; q < s->n; q++)
        s->nearest2[q] += s->tails[q];
    bias.nearest2 = median(s->nearest2, s->n);
    const float slope = distance2 > 0 ? (bias.at_zero - median(s->near, s->n_near)) / distance2 : 0;
    bias.slope = slope > 0 ? slope < SLOPE_MOST ? slope : SLOPE_MOST : 0;
    return bias;
}

int omen_list_bias_measure(const omen_index *index, int n_threads, omen_list_bias *out, omen_watch *watch,
                           omen_detail *why)
{
    const omen_meta *m = &index->meta;
    uint64_t drawn[QUERIES];
    *out = (omen_list_bias){.at_zero = 0};
    if (m->codec == OMEN_CODEC_NONE || m->refine == OMEN_REFINE_NONE)
        return OMEN_OK; /* nothing is estimated, or there is nothing to compare with */
    sample *s = omen_alloc_zero(1, sizeof *s);
    if (!s)
        return OMEN_ERR_MEMORY;
    s->n = m->n_rows < QUERIES ? (uint32_t)m->n_rows : QUERIES;
    s->k = m->n_rows < CANDIDATES ? (uint32_t)m->n_rows : CANDIDATES;
    s->rows = omen_alloc((size_t)s->n * m->d, sizeof *s->rows);
    omen_random_rows(m->seed ^ STREAM_BIAS, m->n_rows, s->n, drawn);
    for (uint32_t q = 0; q < s->n; q++)
        s->positions[q] = (uint32_t)drawn[q];
    const int status = s->rows ? search(index, s, n_threads, watch, why) : OMEN_ERR_MEMORY;
    for (uint32_t q = 0; q < s->n && status == OMEN_OK; q++)
        add_query(index, s, q);
    if (status == OMEN_OK)
        *out = fit(s);
    free(s->rows);
    free(s);
    return status;
}
