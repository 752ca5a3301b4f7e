/* SPDX-License-Identifier: Apache-2.0 */
/* From input rows to the space of lists and codes: normalise or augment, centre, project on principal axes.
 *
 * Sums over rows go in row order in fixed chunks, whatever the number of threads: float32 chains within a chunk (one
 * matrix product), float64 across chunks. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/eigen.h"
#include "lib/index_format.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"
#include "lib/transform.h"

#define CHUNK       1024u                /* rows or columns of one float32 chain */
#define LD          (CHUNK + OMEN_PANEL) /* of a chunk turned: a power of two would fight for few cache lines */
#define STRIPE      48u                  /* rows of a product that one thread makes at once */
#define WIDTH       64u                  /* columns that one thread centres at once */
#define NORM2_EXACT 0x1p-100f            /* shorter rows are scaled in float64 */

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* Takes the mean from the rows, and finds the power of two that brings their largest value to between 1 and 2: the
 * squares of what is left neither overflow nor vanish, and nothing is rounded. 1 where all rows are equal. */
static float centre(omen_transform *t, float *rows, size_t n, omen_watch *watch)
{
    const size_t d = t->d_full;
    float top = 0;
#pragma omp parallel for schedule(dynamic) reduction(max : top)
    for (size_t j0 = 0; j0 < d; j0 += WIDTH) {
        const size_t width = d - j0 < WIDTH ? d - j0 : WIDTH;
        double sum[WIDTH] = {0};
        float most[WIDTH] = {0};
        if (omen_watch_stopped(watch))
            continue;
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < width; j++)
                sum[j] += (double)rows[i * d + j0 + j];
        for (size_t j = 0; j < width; j++)
            t->mean[j0 + j] = (float)(sum[j] / (double)n);
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j < width; j++) {
                const float x = rows[i * d + j0 + j] -= t->mean[j0 + j];
                most[j] = fabsf(x) > most[j] ? fabsf(x) : most[j];
            }
        }
        for (size_t j = 0; j < width; j++)
            top = most[j] > top ? most[j] : top;
    }
    if (!(top > 0 && isfinite(top)))
        return 1;
    const int exponent = ilogbf(top);
    /* a float holds no power above 127 */
    return ldexpf(1, exponent < -126 ? 126 : -exponent);
}

/* sums (m x m, float64, upper triangle) += x * x^T over the columns of x (m x n_k, ld apart). panels has room for x
 * packed. */
static int add_products(const float *x, size_t m, size_t n_k, size_t ld, float *panels, double *sums, omen_watch *watch)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t ldc = round_up(m, OMEN_PANEL);
    int status = OMEN_OK;
#pragma omp parallel
    {
        float *c = omen_alloc(STRIPE * ldc, sizeof *c);
        if (!c) {
#pragma omp atomic write
            status = OMEN_ERR_MEMORY;
        }
#pragma omp for schedule(static)
        for (size_t p = 0; p < ldc / OMEN_PANEL; p++) {
            const size_t j = p * OMEN_PANEL, width = m - j < OMEN_PANEL ? m - j : OMEN_PANEL;
            omen_panels_pack(x + j * ld, width, n_k, ld, panels + j * n_k);
        }
#pragma omp for schedule(dynamic)
        for (size_t i0 = 0; i0 < m; i0 += STRIPE) {
            const size_t height = m - i0 < STRIPE ? m - i0 : STRIPE;
            const size_t group = OMEN_WATCH_STEP / (STRIPE * OMEN_PANEL * CHUNK);
            if (!c)
                continue;
            for (size_t p = i0 / OMEN_PANEL; p < ldc / OMEN_PANEL && !omen_watch_stopped(watch); p += group)
                kernels->matmul(x + i0 * ld, ld, height, panels + p * OMEN_PANEL * n_k,
                                ldc / OMEN_PANEL - p < group ? ldc / OMEN_PANEL - p : group, n_k, c + p * OMEN_PANEL,
                                ldc);
            if (omen_watch_stopped(watch))
                continue;
            for (size_t i = i0; i < i0 + height; i++)
                for (size_t j = i; j < m; j++)
                    sums[i * m + j] += (double)c[(i - i0) * ldc + j];
        }
        free(c);
    }
    return status == OMEN_OK ? omen_watch_status(watch) : status;
}

/* Principal axes of n >= d centred rows, from the covariance of them times scale. */
static int axes_from_covariance(const omen_transform *t, const float *rows, size_t n, float scale, float *axes,
                                size_t ld, omen_watch *watch)
{
    const size_t d = t->d_full, m = t->d_kept;
    double *cov = omen_alloc_zero(d * d, sizeof *cov), *values = omen_alloc(m, sizeof *values);
    float *columns = omen_alloc(d * LD, sizeof *columns);
    float *panels = omen_alloc(omen_panels_count(d, CHUNK), sizeof *panels);
    int status = cov && values && columns && panels ? OMEN_OK : OMEN_ERR_MEMORY;
    for (size_t i0 = 0; i0 < n && status == OMEN_OK; i0 += CHUNK) {
        const size_t height = n - i0 < CHUNK ? n - i0 : CHUNK;
#pragma omp parallel for schedule(static)
        for (size_t j0 = 0; j0 < d; j0 += OMEN_PANEL)
            for (size_t i = 0; i < height; i++)
                for (size_t j = j0; j < d && j < j0 + OMEN_PANEL; j++)
                    columns[j * LD + i] = rows[(i0 + i) * d + j] * scale;
        status = add_products(columns, d, height, LD, panels, cov, watch);
    }
    free(panels);
    free(columns);
    for (size_t i = 0; i < d && status == OMEN_OK; i++) /* the mean of the products, which are at most 4 */
        for (size_t j = i; j < d; j++)
            cov[i * d + j] /= (double)n;
    if (status == OMEN_OK)
        status = omen_eigen_top(cov, d, m, axes, ld, values, watch);
    free(values);
    free(cov);
    return status;
}

/* Principal axes of n < d centred rows x from the eigenvectors u of x x^T: x^T u, made orthonormal again. Sets how many
 * there are: those below the rounding of the Gram matrix are noise. */
static int axes_from_gram(omen_transform *t, float *rows, size_t n, float scale, float *axes, size_t ld,
                          omen_watch *watch)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t d = t->d_full, ldu = round_up(n, OMEN_PANEL), m = t->d_kept < n ? t->d_kept : n;
    size_t kept = 0;
    double *gram = omen_alloc_zero(n * n, sizeof *gram), *values = omen_alloc(m, sizeof *values);
    float *panels = omen_alloc(omen_panels_count(d > n ? d : n, CHUNK > n ? CHUNK : n), sizeof *panels);
    float *u = omen_alloc(m * ldu, sizeof *u);
    int status = gram && values && panels && u ? OMEN_OK : OMEN_ERR_MEMORY;
    if (status == OMEN_OK) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < n * d; i++)
            rows[i] *= scale;
    }
    for (size_t k0 = 0; k0 < d && status == OMEN_OK; k0 += CHUNK)
        status = add_products(rows + k0, n, d - k0 < CHUNK ? d - k0 : CHUNK, d, panels, gram, watch);
    for (size_t i = 0; i < n && status == OMEN_OK; i++)
        for (size_t j = i; j < n; j++)
            gram[i * n + j] /= (double)d;
    if (status == OMEN_OK)
        status = omen_eigen_top(gram, n, m, u, ldu, values, watch);
    if (status == OMEN_OK) {
        while (kept < m && values[kept] > 1e-6 * values[0])
            kept++;
#pragma omp parallel for schedule(dynamic)
        for (size_t j = 0; j < d; j += OMEN_PANEL) {
            const size_t width = d - j < OMEN_PANEL ? d - j : OMEN_PANEL;
            float *panel = panels + j * n;
            memset(panel, 0, OMEN_PANEL * n * sizeof *panel);
            for (size_t i = 0; i < n; i++)
                memcpy(panel + i * OMEN_PANEL, rows + i * d + j, width * sizeof *panel);
            if (!omen_watch_stopped(watch))
                kernels->matmul(u, ldu, kept, panel, 1, n, axes + j, ld);
        }
        if (kept == 0) { /* all rows are equal: any axis will do */
            memset(axes, 0, d * sizeof *axes);
            axes[0] = 1;
            kept = 1;
        }
        t->d_kept = (uint32_t)kept;
        status = omen_eigen_orthonormalise(axes, kept, d, ld, watch);
    }
    free(u);
    free(panels);
    free(values);
    free(gram);
    return status;
}

uint64_t omen_transform_fit_bytes(uint64_t n, uint64_t d_full, uint64_t d_kept_max, uint64_t n_threads)
{
    const uint64_t order = n < d_full ? n : d_full, m = d_kept_max < order ? d_kept_max : order;
    const uint64_t panels = (n < d_full ? d_full * (n > CHUNK ? n : CHUNK) : 2 * d_full * LD) * sizeof(float);
    const uint64_t products = panels + n_threads * STRIPE * (order + OMEN_PANEL) * sizeof(float);
    const uint64_t eigen = omen_eigen_bytes(order, m) + (n < d_full ? panels : 0);
    return order * order * sizeof(double) + 2 * d_kept_max * (d_full + 2 * OMEN_PANEL) * sizeof(float) +
           (products > eigen ? products : eigen);
}

int omen_transform_fit(omen_transform *t, float *rows, size_t n, uint32_t d_kept_max, omen_watch *watch)
{
    const size_t d = t->d_full;
    t->d_kept = d < d_kept_max ? (uint32_t)d : d_kept_max;
    t->mean = omen_alloc(d, sizeof *t->mean);
    t->basis = omen_alloc((size_t)t->d_kept * d, sizeof *t->basis);
    if (!t->mean || !t->basis)
        return OMEN_ERR_MEMORY;
    const size_t ld = round_up(d, OMEN_PANEL) + OMEN_PANEL;
    float *axes = omen_alloc(t->d_kept * ld, sizeof *axes);
    if (!axes)
        return OMEN_ERR_MEMORY;
    const float scale = centre(t, rows, n, watch);
    const int status = n < d ? axes_from_gram(t, rows, n, scale, axes, ld, watch)
                             : axes_from_covariance(t, rows, n, scale, axes, ld, watch);
    for (size_t r = 0; r < t->d_kept && status == OMEN_OK; r++)
        memcpy(t->basis + r * d, axes + r * ld, d * sizeof *axes);
    free(axes);
    if (status != OMEN_OK)
        return status;
    for (size_t r = 0; r < t->d_kept; r++) {
        float *axis = t->basis + r * d;
        size_t top = 0;
        for (size_t j = 1; j < d; j++)
            if (fabsf(axis[j]) > fabsf(axis[top]))
                top = j;
        if (axis[top] < 0)
            for (size_t j = 0; j < d; j++)
                axis[j] = -axis[j];
    }
    return omen_transform_prepare(t);
}

size_t omen_transform_parts(omen_transform *t, omen_model_part parts[OMEN_MODEL_PARTS])
{
    parts[0] = (omen_model_part){OMEN_SECTION_MEAN, OMEN_ELEMENT_F32, &t->mean, t->d_full};
    parts[1] = (omen_model_part){OMEN_SECTION_BASE, OMEN_ELEMENT_F32, &t->basis, (uint64_t)t->d_kept * t->d_full};
    return 2;
}

bool omen_transform_is_sound(const omen_transform *t)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t d = t->d_full;
    /* comparisons that a NaN fails */
    bool sound = t->ip_radius2 >= 0 && t->ip_radius2 <= OMEN_NORM2_MOST &&
                 (t->metric == OMEN_METRIC_IP || t->ip_radius2 == 0) &&
                 kernels->ip_f32(t->mean, t->mean, d) <= OMEN_MEAN2_MOST;
    for (size_t r = 0; r < t->d_kept && sound; r++)
        sound = fabsf(kernels->ip_f32(t->basis + r * d, t->basis + r * d, d) - 1) <= OMEN_UNIT_SLACK;
    return sound;
}

int omen_transform_check_angles(const omen_transform *t)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t stripe = 16, ld = round_up(t->d_kept, OMEN_PANEL), d = t->d_full;
    int status = OMEN_OK;
    float *panels = omen_alloc(omen_panels_count(t->d_kept, d), sizeof *panels);
    if (!panels)
        return OMEN_ERR_MEMORY;
    omen_panels_pack(t->basis, t->d_kept, d, d, panels);
#pragma omp parallel
    {
        float *products = omen_alloc(stripe * ld, sizeof *products);
        if (!products) {
#pragma omp atomic write
            status = OMEN_ERR_MEMORY;
        }
#pragma omp for schedule(dynamic)
        for (size_t r0 = 0; r0 < t->d_kept; r0 += stripe) {
            const size_t n = t->d_kept - r0 < stripe ? t->d_kept - r0 : stripe;
            if (!products)
                continue;
            kernels->matmul(t->basis + r0 * d, d, n, panels, ld / OMEN_PANEL, d, products, ld);
            for (size_t r = 0; r < n; r++) {
                /* the largest such sum bounds the largest eigenvalue of all products */
                float sum = 0;
                for (size_t j = 0; j < t->d_kept; j++)
                    sum += j == r0 + r ? 0 : fabsf(products[r * ld + j]);
                if (!(sum <= OMEN_ANGLE_SLACK)) {
#pragma omp atomic write
                    status = OMEN_ERR_CORRUPT;
                }
            }
        }
        free(products);
    }
    free(panels);
    return status;
}

int omen_transform_prepare(omen_transform *t)
{
    const omen_kernels *kernels = omen_kernels_get();
    if (t->panels && t->offset)
        return OMEN_OK;
    free(t->panels); /* of a try that failed */
    free(t->offset);
    t->panels = omen_alloc(omen_panels_count(t->d_kept, t->d_full), sizeof *t->panels);
    t->offset = omen_alloc_zero(round_up(t->d_kept, OMEN_PANEL), sizeof *t->offset);
    if (!t->panels || !t->offset)
        return OMEN_ERR_MEMORY;
    omen_panels_pack(t->basis, t->d_kept, t->d_full, t->d_full, t->panels);
    kernels->matmul(t->mean, t->d_full, 1, t->panels, round_up(t->d_kept, OMEN_PANEL) / OMEN_PANEL, t->d_full,
                    t->offset, 0);
    return OMEN_OK;
}

void omen_transform_finish(omen_transform *t)
{
    free(t->mean);
    free(t->basis);
    free(t->panels);
    free(t->offset);
    memset(t, 0, sizeof *t);
}

double omen_norm2(const float *row, size_t d)
{
    const float norm2 = omen_kernels_get()->ip_f32(row, row, d);
    double sum = 0;
    if (!(norm2 < NORM2_EXACT))
        return (double)norm2;
    for (size_t j = 0; j < d; j++)
        sum += (double)row[j] * (double)row[j];
    return sum;
}

/* A row whose squared length float32 holds badly or not at all, or whose inverse, times what is wanted, it does not
 * hold. */
static void scale_short_row(const float *row, size_t d, float wanted2, float *to)
{
    const double norm2 = omen_norm2(row, d), scale = norm2 > 0 ? sqrt((double)wanted2 / norm2) : 0;
    for (size_t j = 0; j < d; j++)
        to[j] = (float)((double)row[j] * scale);
}

const float *omen_transform_lift(const omen_transform *t, const float *rows, size_t n, bool queries, float *out)
{
    if (t->metric == OMEN_METRIC_L2)
        return rows;
    const omen_kernels *kernels = omen_kernels_get();
    const size_t d = t->d, d_full = t->d_full;
    for (size_t i = 0; i < n; i++) {
        const float *row = rows + i * d;
        float *to = out + i * d_full;
        const float norm2 = kernels->ip_f32(row, row, d);
        const bool is_scaled = t->metric == OMEN_METRIC_COSINE || queries;
        const float wanted2 = t->metric == OMEN_METRIC_COSINE ? 1 : t->ip_radius2;
        if (is_scaled && (norm2 < NORM2_EXACT || isinf(wanted2 / norm2))) {
            scale_short_row(row, d, wanted2, to);
        } else {
            /* rows longer than the radius are cut to it */
            const float scale = !is_scaled                        ? (norm2 > wanted2 ? sqrtf(wanted2 / norm2) : 1)
                                : t->metric == OMEN_METRIC_COSINE ? 1 / sqrtf(norm2)
                                                                  : sqrtf(wanted2 / norm2);
            for (size_t j = 0; j < d; j++)
                to[j] = row[j] * scale;
        }
        if (t->metric == OMEN_METRIC_IP)
            to[d] = queries || norm2 >= t->ip_radius2 ? 0 : sqrtf(t->ip_radius2 - norm2);
    }
    return out;
}

void omen_transform_project(const omen_transform *t, const float *lifted, size_t n, float *out, size_t ld, float *tails)
{
    omen_transform_project_first(t, lifted, n, t->d_kept, out, ld, tails);
}

void omen_transform_project_first(const omen_transform *t, const float *lifted, size_t n, uint32_t n_axes, float *out,
                                  size_t ld, float *tails)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t d = t->d_full, width = round_up(n_axes, OMEN_PANEL);
    kernels->matmul(lifted, d, n, t->panels, width / OMEN_PANEL, d, out, ld);
    for (size_t i = 0; i < n; i++) {
        float *y = out + i * ld;
        for (size_t j = 0; j < width; j++)
            y[j] -= t->offset[j];
        if (tails && n_axes < d) {
            float tail = kernels->l2_f32(t->mean, lifted + i * d, d) - kernels->ip_f32(y, y, n_axes);
            tails[i] = tail > 0 ? tail : 0;
        } else if (tails) {
            tails[i] = 0;
        }
    }
}
