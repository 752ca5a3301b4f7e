/* SPDX-License-Identifier: Apache-2.0 */
/* Products and Gram-Schmidt of the eigensolver: matrices of floats that all threads share. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/eigen_parts.h"

#define STRIPE       48u  /* rows of a product that one thread makes at once */
#define GROUP        16u  /* panels of it */
#define GRAM_COLUMNS 128u /* of rows made orthogonal, by one thread at once */

void omen_eigen_pack(const float *rows, size_t n_k, size_t n, size_t ld, float *panels)
{
    for (size_t j = 0; j < n; j += OMEN_PANEL) {
        float *panel = panels + j * n_k;
        const size_t width = omen_least(OMEN_PANEL, n - j);
        if (width < OMEN_PANEL)
            memset(panel, 0, n_k * OMEN_PANEL * sizeof *panel);
        for (size_t k = 0; k < n_k; k++)
            memcpy(panel + k * OMEN_PANEL, rows + k * ld + j, width * sizeof *panel);
    }
}

void omen_eigen_multiply(const float *a, size_t lda, size_t m, const float *panels, size_t n, size_t n_k, float *c,
                         size_t ldc, omen_watch *watch)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t n_panels = omen_round_up(n, OMEN_PANEL) / OMEN_PANEL;
    /* no more work between two looks at the watch than asked for, and few enough rows for all threads */
    const size_t group = OMEN_WATCH_STEP / (STRIPE * OMEN_PANEL) / n_k + 1 < GROUP
                             ? OMEN_WATCH_STEP / (STRIPE * OMEN_PANEL) / n_k + 1
                             : GROUP;
#pragma omp parallel for collapse(2) schedule(dynamic) if (m * n * n_k > EIGEN_SERIAL_MOST)
    for (size_t p = 0; p < n_panels; p += group) {
        for (size_t i = 0; i < m; i += STRIPE) {
            if (omen_watch_stopped(watch))
                continue;
            kernels->matmul(a + i * lda, lda, omen_least(STRIPE, m - i), panels + p * OMEN_PANEL * n_k,
                            omen_least(group, n_panels - p), n_k, c + i * ldc + p * OMEN_PANEL, ldc);
        }
    }
}

/* ---- Gram and Schmidt ---- */

/* row -= its part along other, both of length n; other has length 1. */
static void take_away(float *row, const float *other, size_t n)
{
    const float dot = omen_kernels_get()->ip_f32(row, other, n);
    for (size_t j = 0; j < n; j++)
        row[j] -= dot * other[j];
}

/* Scales row to length 1 and returns the length that it had; 0, and the row 0, where that is nothing. */
static double normalise(float *row, size_t n)
{
    double top = 0;
    for (size_t j = 0; j < n; j++)
        top = (double)fabsf(row[j]) > top ? (double)fabsf(row[j]) : top;
    if (!(top > 1e-30 && top < 1e30)) { /* squares would underflow, or it is no number */
        memset(row, 0, n * sizeof *row);
        return 0;
    }
    const float inverse = (float)(1 / top);
    for (size_t j = 0; j < n; j++)
        row[j] *= inverse;
    const double norm = sqrt((double)omen_kernels_get()->ip_f32(row, row, n));
    const float scale = (float)(1 / norm);
    for (size_t j = 0; j < n; j++)
        row[j] *= scale;
    return norm / (double)inverse;
}

/* Rows [r0, r0 + count) -= their parts along the r0 rows before, which panels holds packed by rows. */
static void project_out(float *rows, size_t r0, size_t count, size_t n, size_t ld, const float *panels, float *columns,
                        float *work, omen_watch *watch)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t ldp = omen_round_up(r0, OMEN_PANEL), width = omen_round_up(n, OMEN_PANEL);
    float *block = rows + r0 * ld, *parts = work, *sums = work + EIGEN_GRAM_ROWS * ldp;
    omen_eigen_multiply(block, ld, count, panels, r0, n, parts, ldp, watch);
#pragma omp parallel for schedule(static) if (count * r0 * n > EIGEN_SERIAL_MOST)
    for (size_t j = 0; j < width; j += GRAM_COLUMNS) {
        const size_t here = omen_least(GRAM_COLUMNS, n - j);
        omen_eigen_pack(rows + j, r0, here, ld, columns + j * r0);
        kernels->matmul(parts, ldp, count, columns + j * r0, omen_round_up(here, OMEN_PANEL) / OMEN_PANEL, r0, sums + j,
                        width);
        for (size_t i = 0; i < count; i++)
            for (size_t k = j; k < j + here; k++)
                block[i * ld + k] -= sums[i * width + k];
    }
}

/* A row that the r before it span, to within rounding: the axis that they hold least of takes its place. */
static void replace_row(float *rows, size_t r, size_t n, size_t ld)
{
    float *row = rows + r * ld;
    for (size_t j = 0; j < n; j++)
        row[j] = 1;
    for (size_t s = 0; s < r; s++)
        for (size_t j = 0; j < n; j++)
            row[j] -= rows[s * ld + j] * rows[s * ld + j];
    size_t top = 0;
    for (size_t j = 1; j < n; j++)
        top = row[j] > row[top] ? j : top;
    memset(row, 0, n * sizeof *row);
    row[top] = 1;
}

/* Row r against all before it, until nothing is left to take away. */
static void settle_row(float *rows, size_t r, size_t n, size_t ld)
{
    float *row = rows + r * ld;
    for (unsigned pass = 0; pass < 6; pass++) {
        for (size_t s = 0; s < r; s++)
            take_away(row, rows + s * ld, n);
        const double norm = normalise(row, n);
        if (norm > 0.5)
            return;
        if (pass == 2 || norm == 0)
            replace_row(rows, r, n, ld);
    }
}

int omen_eigen_orthonormalise(float *rows, size_t m, size_t n, size_t ld, omen_watch *watch)
{
    const size_t width = omen_round_up(n, OMEN_PANEL), height = omen_round_up(m, EIGEN_GRAM_ROWS);
    float *panels = omen_alloc(height * n, sizeof *panels), *columns = omen_alloc(height * width, sizeof *columns);
    float *work = omen_alloc(EIGEN_GRAM_ROWS * (height + width), sizeof *work);
    int status = panels && columns && work ? OMEN_OK : OMEN_ERR_MEMORY;
    for (size_t r0 = 0; r0 < m && status == OMEN_OK; r0 += EIGEN_GRAM_ROWS) {
        const size_t count = omen_least(EIGEN_GRAM_ROWS, m - r0);
        for (size_t r = r0; r < r0 + count; r++)
            normalise(rows + r * ld, n);
        /* twice is enough, but for rows that shrink in the second pass too */
        for (unsigned pass = 0; pass < 2; pass++) {
            if (r0)
                project_out(rows, r0, count, n, ld, panels, columns, work, watch);
            for (size_t r = r0; r < r0 + count; r++) {
                for (size_t s = r0; s < r; s++)
                    take_away(rows + r * ld, rows + s * ld, n);
                if (normalise(rows + r * ld, n) < 0.5 && pass > 0 && !omen_watch_stopped(watch))
                    settle_row(rows, r, n, ld);
            }
        }
        omen_panels_pack(rows + r0 * ld, count, n, ld, panels + r0 * n);
        status = omen_watch_status(watch);
    }
    free(work);
    free(columns);
    free(panels);
    return status;
}
