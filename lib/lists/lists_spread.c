/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring how far the rows of lists are from queries.
 *
 * The means come from factor f of the codes, which is |r|^2 + 2 <c, r>: over a list the second part averages to
 * nothing. The scale comes from rows taken as queries and compared with rows of lists near them: of the distances so
 * normalised, one in a thousand is less than it would be for a normal distribution of that scale. That is where
 * neighbours are. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/lists/lists_spread.h"
#include "lib/matrix.h"
#include "lib/watch.h"

#define STREAM_SPREAD 0x737072656164ull /* of random numbers */

#define FACTOR_BLOCKS 4u  /* blocks of a list whose factors are read */
#define CODELESS_ROWS 16u /* rows of a list without codes that are read */

#define QUERIES     32u /* rows taken as queries */
#define NEAR_FIRST  4u  /* they are compared with lists of these ranks, the nearest being 0 */
#define NEAR_END    256u
#define QUERY_LISTS 16u  /* so many of them */
#define LIST_ROWS   128u /* and so many of their rows */

#define TAIL_SHARE   1e-3f
#define TAIL_SIGMAS  3.0902f /* standard deviations below the mean that this share of a normal distribution is */
#define SCALE_LEAST  0.01f
#define SCALE_MOST   2.0f
#define ROUND_FACTOR 1.5f /* what the scale of the factors lacks of that of distances, about */

/* ---- means ---- */

/* Sum and sum of squares of factor f over up to FACTOR_BLOCKS blocks of a list; returns how many rows. */
static uint32_t sum_factors(const omen_index *index, uint32_t list, double *sum, double *squares)
{
    const omen_meta *m = &index->meta;
    const uint64_t row0 = index->first[list], row1 = index->first[list + 1], b0 = row0 / OMEN_SCAN_BLOCK;
    const uint64_t n_blocks = (row1 + OMEN_SCAN_BLOCK - 1) / OMEN_SCAN_BLOCK - b0;
    const uint64_t n = n_blocks < FACTOR_BLOCKS ? n_blocks : FACTOR_BLOCKS;
    const float *range = index->ranges + (size_t)list * m->n_factors * 2;
    uint32_t n_rows = 0;
    *sum = *squares = 0;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t b = b0 + i * n_blocks / n;
        const uint8_t *codes = index->blocks + b * index->block_bytes + (size_t)m->n_sub / 2 * OMEN_SCAN_BLOCK;
        for (uint64_t row = b * OMEN_SCAN_BLOCK; row < (b + 1) * OMEN_SCAN_BLOCK; row++) {
            if (row < row0 || row >= row1)
                continue;
            const double f = (double)range[0] + (double)range[1] * codes[row % OMEN_SCAN_BLOCK];
            *sum += f;
            *squares += f * f;
            n_rows++;
        }
    }
    return n_rows;
}

static int touch_factors(const omen_index *index, uint32_t list, omen_detail *why)
{
    const uint64_t row0 = index->first[list], row1 = index->first[list + 1], b0 = row0 / OMEN_SCAN_BLOCK;
    const uint64_t n_blocks = (row1 + OMEN_SCAN_BLOCK - 1) / OMEN_SCAN_BLOCK - b0;
    const uint64_t n = n_blocks < FACTOR_BLOCKS ? n_blocks : FACTOR_BLOCKS;
    int status = OMEN_OK;
    for (uint64_t i = 0; i < n && row0 < row1 && status == OMEN_OK; i++)
        status = omen_index_touch_codes(index, b0 + i * n_blocks / n, 1, why);
    return status;
}

/* Means of lists with codes. The scale that their factors have is that of distances from the middle of all rows, which
 * is less than that of distances from a row; without a refine tier there is nothing better. */
static int means_of_factors(const omen_index *index, omen_list_spread *spread, omen_watch *watch, omen_detail *why)
{
    double variances = 0, modelled = 0;
    for (uint32_t l = 0; l < index->meta.n_lists; l++) {
        double sum, squares;
        const int status = omen_watch_stopped(watch) ? OMEN_ERR_INTERRUPTED : touch_factors(index, l, why);
        if (status != OMEN_OK)
            return status;
        const uint32_t n = sum_factors(index, l, &sum, &squares);
        spread->means[l] = n ? (float)fmax(sum / n, 0) : 0;
        if (n < OMEN_SCAN_BLOCK)
            continue;
        const double mean = (double)spread->means[l];
        variances += fmax(squares / n - sum / n * (sum / n), 0);
        modelled += 2 * mean * mean + 4 * mean * 2 * (double)index->half_norms[l];
    }
    spread->scale = modelled > 0 ? (float)(ROUND_FACTOR * sqrt(variances / modelled)) : SCALE_MOST;
    return OMEN_OK;
}

/* Means of lists without codes. work: a row, a lifted one, a projected one. */
static int means_of_rows(const omen_index *index, omen_list_spread *spread, float *work, omen_watch *watch,
                         omen_detail *why)
{
    const omen_meta *m = &index->meta;
    float *lifted = work + m->d, *projected = lifted + m->d_full;
    const float *low = index->centroid_scales, *step = low + m->d_kept;
    for (uint32_t l = 0; l < m->n_lists; l++) {
        const uint64_t row0 = index->first[l], n_rows = index->first[l + 1] - row0;
        const uint64_t n = n_rows < CODELESS_ROWS ? n_rows : CODELESS_ROWS;
        const uint8_t *centroid = index->centroid_codes + (size_t)l * m->d_kept;
        double sum = 0;
        for (uint64_t i = 0; i < n; i++) {
            const uint32_t position = (uint32_t)(row0 + i * n_rows / n);
            float tail;
            const int status =
                omen_watch_stopped(watch) ? OMEN_ERR_INTERRUPTED : omen_index_read_rows(index, &position, 1, work, why);
            if (status != OMEN_OK)
                return status;
            omen_transform_project(&index->transform, omen_transform_lift(&index->transform, work, 1, false, lifted), 1,
                                   projected, omen_round_up(m->d_kept, OMEN_PANEL), &tail);
            sum += (double)tail;
            for (uint32_t j = 0; j < m->d_kept; j++) {
                const double r = (double)projected[j] - ((double)low[j] + (double)step[j] * centroid[j]);
                sum += r * r;
            }
        }
        spread->means[l] = n ? (float)(sum / (double)n) : 0;
    }
    return OMEN_OK;
}

/* A mean of few rows may be far too small, and nothing of its list would ever be expected near a query. */
static void raise_means(const omen_index *index, omen_list_spread *spread)
{
    const uint32_t n_lists = index->meta.n_lists;
    double sum = 0;
    for (uint32_t l = 0; l < n_lists; l++)
        sum += (double)spread->means[l] * (double)(index->first[l + 1] - index->first[l]);
    const float least = (float)(sum / (double)index->meta.n_rows / 4);
    for (uint32_t l = 0; l < n_lists; l++)
        spread->means[l] = fmaxf(spread->means[l], least);
}

/* ---- the scale ---- */

static float deviation(const omen_list_spread *spread, uint32_t list, float base)
{
    const float mean = spread->means[list];
    return sqrtf(2 * mean * mean + 4 * mean * base);
}

/* Rows taken as queries, and how they see the lists. */
typedef struct {
    uint32_t n;
    float *rows, *shifted, *ahead, *nearest2, *tails, *values;
    uint32_t *order; /* lists by rank */
    size_t n_values;
} sample;

/* Distances of one query to rows of a list, normalised, to values. */
static int measure_list(const omen_index *index, const omen_list_spread *spread, sample *s, uint32_t query,
                        uint32_t rank, omen_detail *why)
{
    const omen_meta *m = &index->meta;
    const omen_distance_fn kernel = omen_refine_kernel(m->refine, m->metric);
    const float *row = s->rows + (size_t)query * m->d, *shifted = s->shifted + (size_t)query * m->d;
    const uint32_t l = s->order[(size_t)query * m->n_lists + rank];
    const float base = s->nearest2[query] + s->ahead[(size_t)query * m->n_lists + rank];
    const float sigma = deviation(spread, l, base);
    const double offset = omen_refine_offset(&index->refine, row), norm2 = omen_norm2(row, m->d);
    const uint64_t row0 = index->first[l], n_rows = index->first[l + 1] - row0;
    const uint64_t n = n_rows < LIST_ROWS ? n_rows : LIST_ROWS;
    for (uint64_t i = 0; i < n && sigma > 0; i++) {
        const uint64_t position = row0 + i * n_rows / n;
        const int status = omen_index_touch_rows(index, position, 1, why);
        if (status != OMEN_OK)
            return status;
        const float distance = omen_refine_distance(&index->refine, kernel, shifted, offset,
                                                    index->refine_rows + position * index->refine_row_bytes);
        const float value =
            (omen_lifted_distance2(index, distance, norm2) - s->tails[query] - base - spread->means[l]) / sigma;
        s->values[s->n_values] = value;
        s->n_values += value > -INFINITY && value < INFINITY;
    }
    return OMEN_OK;
}

/* Fills the rows of the sample and ranks the lists. */
static int draw_queries(const omen_index *index, sample *s, int n_threads, omen_watch *watch, omen_detail *why)
{
    const omen_meta *m = &index->meta;
    uint64_t positions[QUERIES];
    const uint32_t n = m->n_rows < QUERIES ? (uint32_t)m->n_rows : QUERIES;
    omen_random_rows(m->seed ^ STREAM_SPREAD, m->n_rows, n, positions);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t position = (uint32_t)positions[i];
        const int status = omen_index_read_rows(index, &position, 1, s->rows + (size_t)s->n * m->d, why);
        if (status != OMEN_OK)
            return status;
        s->n += omen_norm2(s->rows + (size_t)s->n * m->d, m->d) > 0;
    }
    uint32_t *ranks = omen_alloc((size_t)s->n * m->n_lists, sizeof *ranks);
    if (!ranks)
        return OMEN_ERR_MEMORY;
    const int status =
        omen_search_ranks(index, s->rows, s->n, n_threads, ranks, s->ahead, s->nearest2, s->tails, watch, why);
    for (uint32_t q = 0; q < s->n && status == OMEN_OK; q++)
        for (uint32_t l = 0; l < m->n_lists; l++)
            s->order[(size_t)q * m->n_lists + ranks[(size_t)q * m->n_lists + l]] = l;
    free(ranks);
    return status;
}

static int measure_scale(const omen_index *index, omen_list_spread *spread, sample *s, int n_threads, omen_watch *watch,
                         omen_detail *why)
{
    const omen_meta *m = &index->meta;
    const uint32_t end = m->n_lists < NEAR_END ? m->n_lists : NEAR_END;
    const uint32_t first = end > 4 * NEAR_FIRST ? NEAR_FIRST : end > 1,
                   n = end - first < QUERY_LISTS ? end - first : QUERY_LISTS;
    int status = draw_queries(index, s, n_threads, watch, why);
    if (status != OMEN_OK)
        return status;
    const float *shifted = m->metric == OMEN_METRIC_COSINE
                               ? omen_transform_lift(&index->transform, s->rows, s->n, true, s->shifted)
                               : s->rows;
    shifted = omen_refine_shift(&index->refine, shifted, s->n, true, s->shifted);
    if (shifted != s->shifted)
        memcpy(s->shifted, shifted, (size_t)s->n * m->d * sizeof *shifted);
    for (uint32_t q = 0; q < s->n; q++) {
        for (uint32_t i = 0; i < n && status == OMEN_OK; i++)
            status = measure_list(index, spread, s, q, first + i * (end - first) / n, why);
        if (status == OMEN_OK && omen_watch_stopped(watch))
            status = OMEN_ERR_INTERRUPTED;
        if (status != OMEN_OK)
            return status;
    }
    const size_t tail = (size_t)((float)s->n_values * TAIL_SHARE) + 1;
    if (s->n_values >= tail)
        spread->scale = -omen_values_select(s->values, s->n_values, tail, s->values + s->n_values) / TAIL_SIGMAS;
    return OMEN_OK;
}

/* ---- the normal distribution ---- */

/* exp(-x) for x from 0 to 80, to 1e-5 of it, by arithmetic that rounds alike everywhere. */
static float exp_minus(float x)
{
    const float y = x * -1.44269504f;
    const int whole = (int)y;
    const float part = (y - (float)whole) * 0.69314718f; /* from -ln 2 to 0 */
    const float value =
        1 + part * (1 + part * (0.5f + part * (0.16666667f + part * (0.041666668f + part * 0.0083333f))));
    const uint32_t bits = (uint32_t)(127 + whole) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return value * power;
}

/* Abramowitz and Stegun, Handbook of Mathematical Functions, 26.2.17. */
static void fill_tails(omen_list_spread *spread)
{
    for (size_t i = 0; i < OMEN_TAIL_MOST * OMEN_TAIL_STEPS; i++) { /* 0 behind them */
        const float z2 = (float)i / OMEN_TAIL_STEPS, t = 1 / (1 + 0.2316419f * sqrtf(z2));
        const float series =
            t * (0.31938153f + t * (-0.356563782f + t * (1.781477937f + t * (-1.821255978f + t * 1.330274429f))));
        spread->tails[i] = 0.39894228f * exp_minus(z2 / 2) * series;
    }
}

/* ---- all of it ---- */

static int measure(const omen_index *index, omen_list_spread *spread, int n_threads, omen_watch *watch,
                   omen_detail *why)
{
    const omen_meta *m = &index->meta;
    const size_t n_work = m->d + m->d_full + omen_round_up(m->d_kept, OMEN_PANEL);
    sample s = {.rows = omen_alloc(QUERIES * (size_t)m->d, sizeof *s.rows),
                .shifted = omen_alloc(QUERIES * (size_t)m->d, sizeof *s.shifted),
                .ahead = omen_alloc(QUERIES * (size_t)m->n_lists, sizeof *s.ahead),
                .nearest2 = omen_alloc(QUERIES, sizeof *s.nearest2),
                .tails = omen_alloc(QUERIES, sizeof *s.tails),
                .order = omen_alloc(QUERIES * (size_t)m->n_lists, sizeof *s.order),
                .values = omen_alloc(2 * QUERIES * QUERY_LISTS * LIST_ROWS, sizeof *s.values)};
    float *work = omen_alloc(n_work, sizeof *work);
    int status = s.rows && s.shifted && s.ahead && s.nearest2 && s.tails && s.order && s.values && work
                     ? OMEN_OK
                     : OMEN_ERR_MEMORY;
    if (status == OMEN_OK)
        status = m->codec != OMEN_CODEC_NONE ? means_of_factors(index, spread, watch, why)
                                             : means_of_rows(index, spread, work, watch, why);
    if (status == OMEN_OK) {
        raise_means(index, spread);
        if (m->refine != OMEN_REFINE_NONE)
            status = measure_scale(index, spread, &s, n_threads, watch, why);
    }
    fill_tails(spread);
    spread->scale = spread->scale > SCALE_LEAST ? fminf(spread->scale, SCALE_MOST) : SCALE_LEAST;
    if (status == OMEN_OK && m->refine != OMEN_REFINE_NONE && m->codec != OMEN_CODEC_NONE)
        status = omen_list_spread_measure_stop(index, spread, n_threads, watch, why);
    free(s.rows);
    free(s.shifted);
    free(s.ahead);
    free(s.nearest2);
    free(s.tails);
    free(s.order);
    free(s.values);
    free(work);
    return status;
}

int omen_list_spread_get(const omen_index *index, int n_threads, const omen_list_spread **out, omen_watch *watch,
                         omen_detail *why)
{
    /* an index is on the heap and was made writable; a search sets little of it but this, once */
    omen_list_spread **place = (omen_list_spread **)&index->spread;
    *out = __atomic_load_n(place, __ATOMIC_ACQUIRE);
    if (*out)
        return OMEN_OK;
    omen_list_spread *spread = omen_alloc_zero(1, sizeof *spread + index->meta.n_lists * sizeof *spread->means);
    omen_list_spread *before = NULL;
    const int status = spread ? measure(index, spread, n_threads, watch, why) : OMEN_ERR_MEMORY;
    if (status != OMEN_OK) {
        free(spread);
        return status;
    }
    if (!__atomic_compare_exchange_n(place, &before, spread, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        free(spread); /* another thread was first, with the same */
        spread = before;
    }
    *out = spread;
    return OMEN_OK;
}
