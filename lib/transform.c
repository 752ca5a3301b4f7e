/* From input rows to the space of lists and codes: normalise or augment, centre, project on principal axes.
 *
 * Sums over rows go in row order in fixed chunks, whatever the number of threads: float32 chains within a chunk (one
 * matrix product), float64 across chunks. */
#include <lapacke.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/index_format.h"
#include "lib/kernels.h"
#include "lib/matrix.h"
#include "lib/transform.h"

#define CHUNK       1024u     /* rows or columns of one float32 chain */
#define NORM2_EXACT 0x1p-100f /* shorter rows are scaled in float64 */

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static void centre(omen_transform *t, float *rows, size_t n)
{
    const size_t d = t->d_full, step = 64;
#pragma omp parallel for schedule(static)
    for (size_t j0 = 0; j0 < d; j0 += step) {
        const size_t width = d - j0 < step ? d - j0 : step;
        double sum[64] = {0};
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < width; j++)
                sum[j] += (double)rows[i * d + j0 + j];
        for (size_t j = 0; j < width; j++)
            t->mean[j0 + j] = (float)(sum[j] / (double)n);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < width; j++)
                rows[i * d + j0 + j] -= t->mean[j0 + j];
    }
}

/* sums (m x m, float64, upper triangle) += x * x^T over the columns of x (m x n_k, ld apart). */
static int add_products(const float *x, size_t m, size_t n_k, size_t ld, double *sums)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t stripe = 48, ldc = round_up(m, OMEN_PANEL);
    float *panels = omen_alloc(omen_panels_count(m, n_k), sizeof *panels);
    int status = panels ? OMEN_OK : OMEN_ERR_MEMORY;
#pragma omp parallel if (status == OMEN_OK)
    {
        float *c = status == OMEN_OK ? omen_alloc(stripe * ldc, sizeof *c) : NULL;
        if (!c) {
#pragma omp atomic write
            status = OMEN_ERR_MEMORY;
        }
#pragma omp barrier
        if (status == OMEN_OK) {
#pragma omp for schedule(static)
            for (size_t p = 0; p < ldc / OMEN_PANEL; p++) {
                const size_t j = p * OMEN_PANEL, width = m - j < OMEN_PANEL ? m - j : OMEN_PANEL;
                omen_panels_pack(x + j * ld, width, n_k, ld, panels + j * n_k);
            }
#pragma omp for schedule(dynamic)
            for (size_t i0 = 0; i0 < m; i0 += stripe) {
                const size_t height = m - i0 < stripe ? m - i0 : stripe, p0 = i0 / OMEN_PANEL;
                kernels->matmul(x + i0 * ld, ld, height, panels + p0 * OMEN_PANEL * n_k, ldc / OMEN_PANEL - p0, n_k,
                                c + p0 * OMEN_PANEL, ldc);
                for (size_t i = i0; i < i0 + height; i++)
                    for (size_t j = i; j < m; j++)
                        sums[i * m + j] += (double)c[(i - i0) * ldc + j];
            }
        }
        free(c);
    }
    free(panels);
    return status;
}

/* Eigenvalues of a symmetric matrix (n x n, the upper triangle by rows; overwritten), rising, and the eigenvectors of
 * the last m, as the last m rows of vectors (n x n). Divide and conquer finds all eigenvectors of the tridiagonal
 * matrix; only those wanted are turned back. */
static int find_eigenvectors(double *matrix, size_t n, size_t m, double *values, double *vectors)
{
    const lapack_int order = (lapack_int)n;
    double *beside = omen_alloc(2 * n, sizeof *beside), *scales = beside + n;
    if (!beside)
        return OMEN_ERR_MEMORY;
    /* the upper triangle by rows is the lower one by columns */
    lapack_int info = LAPACKE_dsytrd(LAPACK_COL_MAJOR, 'L', order, matrix, order, values, beside, scales);
    if (info == 0)
        info = LAPACKE_dstedc(LAPACK_COL_MAJOR, 'I', order, values, beside, vectors, order);
    if (info == 0)
        info = LAPACKE_dormtr(LAPACK_COL_MAJOR, 'L', 'L', 'N', order, (lapack_int)m, matrix, order, scales,
                              vectors + (n - m) * n, order);
    free(beside);
    return info == 0 ? OMEN_OK : OMEN_ERR_MEMORY;
}

/* Principal axes of n >= d centred rows from their covariance. */
static int axes_from_covariance(omen_transform *t, const float *rows, size_t n)
{
    const size_t d = t->d_full, m = t->d_kept;
    double *cov = omen_alloc_zero(d * d, sizeof *cov), *values = omen_alloc(d, sizeof *values);
    double *vectors = omen_alloc(d * d, sizeof *vectors);
    float *columns = omen_alloc(d * CHUNK, sizeof *columns);
    int status = cov && values && vectors && columns ? OMEN_OK : OMEN_ERR_MEMORY;
    for (size_t i0 = 0; i0 < n && status == OMEN_OK; i0 += CHUNK) {
        const size_t height = n - i0 < CHUNK ? n - i0 : CHUNK;
#pragma omp parallel for schedule(static)
        for (size_t j = 0; j < d; j++)
            for (size_t i = 0; i < height; i++)
                columns[j * CHUNK + i] = rows[(i0 + i) * d + j];
        status = add_products(columns, d, height, CHUNK, cov);
    }
    if (status == OMEN_OK)
        status = find_eigenvectors(cov, d, m, values, vectors);
    if (status == OMEN_OK)
        for (size_t r = 0; r < m; r++)
            for (size_t j = 0; j < d; j++)
                t->basis[r * d + j] = (float)vectors[(d - 1 - r) * d + j];
    free(columns);
    free(vectors);
    free(values);
    free(cov);
    return status;
}

/* Principal axes of n < d centred rows x from the eigenvectors u of x x^T: x^T u, made orthonormal again. */
static int axes_from_gram(omen_transform *t, const float *rows, size_t n)
{
    const size_t d = t->d_full;
    size_t m = t->d_kept < n ? t->d_kept : n;
    double *gram = omen_alloc_zero(n * n, sizeof *gram), *values = omen_alloc(n, sizeof *values);
    double *vectors = omen_alloc(n * n, sizeof *vectors), *axes = omen_alloc(m * d, sizeof *axes);
    int status = gram && values && vectors && axes ? OMEN_OK : OMEN_ERR_MEMORY;
    for (size_t k0 = 0; k0 < d && status == OMEN_OK; k0 += CHUNK)
        status = add_products(rows + k0, n, d - k0 < CHUNK ? d - k0 : CHUNK, d, gram);
    if (status == OMEN_OK)
        status = find_eigenvectors(gram, n, m, values, vectors);
    size_t kept = 0;
    if (status == OMEN_OK) {
        for (; kept < m; kept++) {
            /* axes below the rounding of the Gram matrix are noise */
            if (!(values[n - 1 - kept] > 1e-6 * values[n - 1]))
                break;
        }
#pragma omp parallel for schedule(static)
        for (size_t r = 0; r < kept; r++) {
            double *axis = axes + r * d;
            memset(axis, 0, d * sizeof *axis);
            for (size_t i = 0; i < n; i++) {
                const double u = vectors[(n - 1 - r) * n + i];
                for (size_t j = 0; j < d; j++)
                    axis[j] += u * (double)rows[i * d + j];
            }
        }
        for (size_t r = 0; r < kept; r++) {
            double norm2 = 0;
            for (size_t j = 0; j < d; j++)
                norm2 += axes[r * d + j] * axes[r * d + j];
            const double scale = 1 / sqrt(norm2);
            for (size_t j = 0; j < d; j++)
                axes[r * d + j] *= scale;
#pragma omp parallel for schedule(static)
            for (size_t s = r + 1; s < kept; s++) {
                double dot = 0;
                for (size_t j = 0; j < d; j++)
                    dot += axes[r * d + j] * axes[s * d + j];
                for (size_t j = 0; j < d; j++)
                    axes[s * d + j] -= dot * axes[r * d + j];
            }
        }
        for (size_t i = 0; i < kept * d; i++)
            t->basis[i] = (float)axes[i];
        if (kept == 0) { /* all rows are equal: any axis will do */
            memset(t->basis, 0, d * sizeof *t->basis);
            t->basis[0] = 1;
            kept = 1;
        }
        t->d_kept = (uint32_t)kept;
    }
    free(axes);
    free(vectors);
    free(values);
    free(gram);
    return status;
}

int omen_transform_fit(omen_transform *t, float *rows, size_t n, uint32_t d_kept_max)
{
    const size_t d = t->d_full;
    t->d_kept = d < d_kept_max ? (uint32_t)d : d_kept_max;
    t->mean = omen_alloc(d, sizeof *t->mean);
    t->basis = omen_alloc((size_t)t->d_kept * d, sizeof *t->basis);
    if (!t->mean || !t->basis)
        return OMEN_ERR_MEMORY;
    centre(t, rows, n);
    int status = n < d ? axes_from_gram(t, rows, n) : axes_from_covariance(t, rows, n);
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
            kernels->matmul(t->basis + r0 * d, d, n, t->panels, ld / OMEN_PANEL, d, products, ld);
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
    return status;
}

int omen_transform_prepare(omen_transform *t)
{
    const omen_kernels *kernels = omen_kernels_get();
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

/* Of a row whose squared length float32 holds badly, or whose inverse it does not hold. */
static void scale_short_row(const float *row, size_t d, float wanted2, float *to)
{
    double norm2 = 0;
    for (size_t j = 0; j < d; j++)
        norm2 += (double)row[j] * (double)row[j];
    const double scale = sqrt((double)wanted2 / norm2);
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
        if (is_scaled && norm2 > 0 && norm2 < NORM2_EXACT) {
            scale_short_row(row, d, wanted2, to);
        } else {
            const float scale = !is_scaled                        ? 1
                                : !(norm2 > 0)                    ? 0
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
    const omen_kernels *kernels = omen_kernels_get();
    const size_t d = t->d_full, width = round_up(t->d_kept, OMEN_PANEL);
    kernels->matmul(lifted, d, n, t->panels, width / OMEN_PANEL, d, out, ld);
    for (size_t i = 0; i < n; i++) {
        float *y = out + i * ld;
        for (size_t j = 0; j < width; j++)
            y[j] -= t->offset[j];
        if (tails && t->d_kept < d) {
            float tail = kernels->l2_f32(t->mean, lifted + i * d, d) - kernels->ip_f32(y, y, t->d_kept);
            tails[i] = tail > 0 ? tail : 0;
        } else if (tails) {
            tails[i] = 0;
        }
    }
}
