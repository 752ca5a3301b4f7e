/* SPDX-License-Identifier: Apache-2.0 */
/* Outliers in a build: keeps rows far from the rest from shaping the model of all, in the training stages, and from
 * stretching the range of the factors of their list.
 *
 * In training, rows beyond a multiple of what 99 in 100 reach are pulled to that distance from the median. Where the
 * scale of rows spans orders of magnitude, as with heavy-tailed values, k-means spends its lists on the longest rows
 * and leaves most rows to one list; so a second partition is trained on rows pulled to a multiple of the median
 * distance, and the one whose centroids are nearer, by the geometric mean, is kept. Then each list gets a limit: a row
 * farther from the centroid is coded as if it were on the way to it, that far. For queries inside, its estimate is a
 * lower bound. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/build_state.h"
#include "lib/kernels/kernels.h"
#include "lib/keys.h"
#include "lib/matrix.h"

#define CENTRE_ROWS   1023u /* odd: the median is one of them */
#define FAR_SHARE     0.01
#define FAR_TIMES2    4.0f /* squared distances, as all here */
#define MEDIAN_TIMES2 2.0f
#define WIDE_TIMES2   8.0f  /* the ratio of the two quantiles that makes a second partition worth trying */
#define APART_MOST    512.0 /* rows of ip that are set apart, by the sample: each costs every query a comparison */
#define LIST_SHARE    0.1
#define LIST_TIMES2   4.0f
#define LIST_LEAST    10u   /* rows: fewer tell no limit */
#define FLOOR2        1e-12 /* of the median: what is nearer counts as that near */

/* Where rows lie, and how far. */
typedef struct {
    float *centre;     /* the median of each dimension */
    float *distances2; /* of each row */
    float far2;        /* what few rows are beyond */
    float median2;
} spread;

static void spread_finish(spread *s)
{
    free(s->centre);
    free(s->distances2);
}

/* The (n - n_beyond)-th smallest value. work has room for n. */
static float value_below(const float *values, size_t n, size_t n_beyond, float *work)
{
    return omen_values_select(values, n, n - n_beyond, work);
}

/* Measures n rows (n x d). Returns OMEN_OK, OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED. */
static int spread_measure(spread *s, const float *rows, size_t n, size_t d, omen_watch *watch)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t m = least(n, CENTRE_ROWS);
    float *work = omen_alloc(n, sizeof *work);
    *s = (spread){omen_alloc(d, sizeof *s->centre), omen_alloc(n, sizeof *s->distances2), FLT_MAX, FLT_MAX};
    int status = work && s->centre && s->distances2 ? OMEN_OK : OMEN_ERR_MEMORY;
    if (status == OMEN_OK) {
#pragma omp parallel
        {
            float *values = omen_alloc(2 * m, sizeof *values);
            if (!values) {
#pragma omp atomic write
                status = OMEN_ERR_MEMORY;
            }
#pragma omp for schedule(static)
            for (size_t j = 0; j < d; j++) {
                if (!values || omen_watch_stopped(watch))
                    continue;
                for (size_t i = 0; i < m; i++)
                    values[i] = rows[i * n / m * d + j];
                s->centre[j] = value_below(values, m, m / 2, values + m);
            }
            free(values);
        }
    }
    if (status == OMEN_OK)
        status = omen_watch_status(watch);
    if (status == OMEN_OK) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n; i++)
            s->distances2[i] = kernels->l2_f32(s->centre, rows + i * d, d);
        const size_t n_far = (size_t)(FAR_SHARE * (double)n);
        s->median2 = value_below(s->distances2, n, n / 2, work);
        if (n_far > 0)
            s->far2 = value_below(s->distances2, n, n_far, work);
    }
    free(work);
    return status;
}

/* Moves the rows that are farther than sqrt(limit2) from the centre towards it, to that distance. */
static void pull(const spread *s, float *rows, size_t n, size_t d, float limit2)
{
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++) {
        if (!(s->distances2[i] > limit2))
            continue;
        const float scale = sqrtf(limit2 / s->distances2[i]);
        float *row = rows + i * d;
        for (size_t j = 0; j < d; j++)
            row[j] = s->centre[j] + (row[j] - s->centre[j]) * scale;
    }
}

/* Rows without spread, as where nearly all are equal, have no outliers. */
static float far_limit(const spread *s)
{
    return s->far2 > 0 && s->far2 < FLT_MAX / FAR_TIMES2 ? FAR_TIMES2 * s->far2 : FLT_MAX;
}

/* Inner products look for long rows; codes without lists are there to be reconstructed. */
static bool pulls(const omen_build_state *b)
{
    return b->options->metric != OMEN_METRIC_IP && !b->options->codes_only;
}

int omen_build_pull_far(const omen_build_state *b, float *rows, size_t n, size_t d, omen_watch *watch)
{
    spread s;
    if (!pulls(b))
        return OMEN_OK;
    const int status = spread_measure(&s, rows, n, d, watch);
    if (status == OMEN_OK)
        pull(&s, rows, n, d, far_limit(&s));
    spread_finish(&s);
    return status;
}

int omen_build_fit_radius(omen_build_state *b)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t n = b->n_sample, d = b->transform.d;
    const double most = APART_MOST / (double)b->source->n_rows;
    const size_t n_far = (size_t)((most < FAR_SHARE ? most : FAR_SHARE) * (double)n);
    float *norms2 = omen_alloc(2 * n, sizeof *norms2), limit = FLT_MAX, radius2 = 0;
    if (!norms2)
        return omen_build_no_memory(b);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++)
        norms2[i] = kernels->ip_f32(b->sample + i * d, b->sample + i * d, d);
    if (n_far > 0) {
        const float rest = value_below(norms2, n, n_far, norms2 + n);
        limit = rest > 0 ? FAR_TIMES2 * rest : FLT_MAX;
    }
    for (size_t i = 0; i < n; i++)
        radius2 = norms2[i] > radius2 && norms2[i] <= limit ? norms2[i] : radius2;
    b->transform.ip_radius2 = radius2;
    if (n >= 10) {
        const float short2 = value_below(norms2, n, n - n / 10, norms2 + n);
        const float long2 = value_below(norms2, n, n / 10, norms2 + n);
        b->report->norms.spread = short2 > 0 ? sqrt((double)long2 / (double)short2) : 0;
    }
    free(norms2);
    return OMEN_OK;
}

/* ---- partition ---- */

/* Squared distances of rows to the centroids of their lists. */
static void measure_residuals(const omen_partition *p, const float *rows, size_t n, const uint32_t *lists,
                              float *residuals2)
{
    const omen_kernels *kernels = omen_kernels_get();
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++)
        residuals2[i] = kernels->l2_f32(rows + i * p->d, p->centroids + (size_t)lists[i] * p->d, p->d);
}

/* Sum over the rows of the binary logarithm of their squared distance to the nearest centroid. */
static int measure_partition(const omen_partition *p, const float *rows, size_t n, double floor2, double *out,
                             omen_watch *watch)
{
    uint32_t *lists = omen_alloc(n, sizeof *lists);
    float *residuals2 = omen_alloc(n, sizeof *residuals2);
    int status = lists && residuals2 ? omen_partition_assign_all(p, rows, n, lists, watch) : OMEN_ERR_MEMORY;
    if (status == OMEN_OK)
        measure_residuals(p, rows, n, lists, residuals2);
    *out = 0;
    for (size_t i = 0; i < n && status == OMEN_OK; i++)
        *out += omen_log2((double)residuals2[i] > floor2 ? (double)residuals2[i] : floor2);
    free(residuals2);
    free(lists);
    return status;
}

/* Fills the limits of all lists from the n rows that the partition was trained on, and the lists that training gave
 * them; FLT_MAX where there are too few rows to tell. */
static int fit_limits(omen_partition *p, const float *rows, size_t n, const uint32_t *lists)
{
    size_t *first = omen_alloc_zero((size_t)p->n_lists + 2, sizeof *first);
    float *residuals2 = omen_alloc(3 * n, sizeof *residuals2), *sorted = residuals2 + n, most = 0;
    const bool ready = first && residuals2;
    if (ready) {
        measure_residuals(p, rows, n, lists, residuals2);
        for (size_t i = 0; i < n; i++)
            first[lists[i] + 2]++;
        for (size_t l = 0; l < p->n_lists; l++)
            first[l + 2] += first[l + 1];
        for (size_t i = 0; i < n; i++)
            sorted[first[lists[i] + 1]++] = residuals2[i];
        for (size_t l = 0; l < p->n_lists; l++) {
            const size_t count = first[l + 1] - first[l];
            p->limits[l] = FLT_MAX;
            if (count < LIST_LEAST)
                continue;
            const size_t n_beyond = (size_t)(LIST_SHARE * (double)count);
            const float rest = value_below(sorted + first[l], count, n_beyond, sorted + n);
            if (rest > 0 && rest < FLT_MAX / LIST_TIMES2)
                p->limits[l] = LIST_TIMES2 * rest;
            if (p->limits[l] < FLT_MAX && p->limits[l] > most)
                most = p->limits[l];
        }
        /* lists of few rows are those of the outskirts: as the widest of the others */
        for (size_t l = 0; l < p->n_lists && most > 0; l++)
            p->limits[l] = p->limits[l] < FLT_MAX ? p->limits[l] : most;
    }
    free(residuals2);
    free(first);
    return ready ? OMEN_OK : OMEN_ERR_MEMORY;
}

/* The partition of rows pulled to a multiple of the median distance, if it serves the rows as they are better: then it
 * takes the place of the one there is, b->transformed that of its rows and lists that of theirs. */
static int try_pulled(omen_build_state *b, const spread *s, uint32_t *lists, omen_watch *watch)
{
    const size_t n = b->n_sample, d = b->transform.d_kept;
    const float limit2 = MEDIAN_TIMES2 * s->median2;
    const double floor2 = FLOOR2 * (double)s->median2;
    omen_partition pulled = {0};
    double plain_sum, pulled_sum;
    float *rows = omen_alloc(n * d, sizeof *rows);
    uint32_t *pulled_lists = omen_alloc(n, sizeof *pulled_lists);
    int status = rows && pulled_lists ? OMEN_OK : OMEN_ERR_MEMORY;
    if (status == OMEN_OK) {
        memcpy(rows, b->transformed, n * d * sizeof *rows);
        pull(s, rows, n, d, limit2);
        status = omen_partition_train(&pulled, rows, n, (uint32_t)d, b->n_lists, b->options->seed, pulled_lists, watch);
    }
    if (status == OMEN_OK)
        status = measure_partition(&b->partition, b->transformed, n, floor2, &plain_sum, watch);
    if (status == OMEN_OK)
        status = measure_partition(&pulled, b->transformed, n, floor2, &pulled_sum, watch);
    if (status == OMEN_OK && pulled_sum < plain_sum) {
        const omen_partition plain = b->partition;
        b->partition = pulled;
        b->partition.pull2 = limit2;
        pulled = plain;
        memcpy(b->transformed, rows, n * d * sizeof *rows);
        memcpy(lists, pulled_lists, n * sizeof *lists);
    }
    omen_partition_finish(&pulled);
    free(pulled_lists);
    free(rows);
    return status;
}

int omen_build_train_partition(omen_build_state *b)
{
    const size_t n = b->n_sample, d = b->transform.d_kept;
    omen_partition *p = &b->partition;
    omen_watch watch = omen_build_watch(b, OMEN_STAGE_PARTITION);
    spread s = {0};
    uint32_t *lists = omen_alloc(n, sizeof *lists);
    int status = lists ? OMEN_OK : OMEN_ERR_MEMORY;
    if (status == OMEN_OK && pulls(b))
        status = spread_measure(&s, b->transformed, n, d, &watch);
    const bool is_wide = pulls(b) && s.median2 > 0 && s.far2 < FLT_MAX && s.far2 / WIDE_TIMES2 > s.median2;
    if (status == OMEN_OK && pulls(b))
        pull(&s, b->transformed, n, d, far_limit(&s));
    if (status == OMEN_OK)
        status = omen_partition_train(p, b->transformed, n, (uint32_t)d, b->n_lists, b->options->seed, lists, &watch);
    p->pull2 = status == OMEN_OK && pulls(b) ? far_limit(&s) : FLT_MAX;
    if (status == OMEN_OK && is_wide)
        status = try_pulled(b, &s, lists, &watch);
    spread_finish(&s);
    if (status == OMEN_OK) {
        p->limits = omen_alloc(p->n_lists, sizeof *p->limits);
        if (!p->limits)
            status = OMEN_ERR_MEMORY;
    }
    for (size_t l = 0; l < p->n_lists && status == OMEN_OK; l++)
        p->limits[l] = FLT_MAX;
    if (status == OMEN_OK && pulls(b))
        status = fit_limits(p, b->transformed, n, lists);
    free(lists);
    return omen_build_status(b, status);
}

int omen_build_pull_sample(omen_build_state *b)
{
    spread s = {0};
    omen_watch watch = omen_build_watch(b, OMEN_STAGE_PARTITION);
    if (!pulls(b))
        return OMEN_OK;
    const int status = spread_measure(&s, b->transformed, b->n_sample, b->transform.d_kept, &watch);
    if (status == OMEN_OK)
        pull(&s, b->transformed, b->n_sample, b->transform.d_kept, b->partition.pull2);
    spread_finish(&s);
    return omen_build_status(b, status);
}
