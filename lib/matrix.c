/* SPDX-License-Identifier: Apache-2.0 */
/* Aligned memory, counter-based random numbers, and the packed right-hand sides of matrix products. */
#include <math.h>
#include <stdlib.h>

#include "lib/kernels/kernels.h"
#include "lib/matrix.h"

void *omen_alloc(size_t count, size_t size)
{
    size_t n_bytes;
    if (__builtin_mul_overflow(count, size, &n_bytes) || n_bytes > SIZE_MAX - 64)
        return NULL;
    return aligned_alloc(64, n_bytes ? (n_bytes + 63) / 64 * 64 : 64);
}

void *omen_alloc_zero(size_t count, size_t size)
{
    void *p = omen_alloc(count, size);
    if (p)
        memset(p, 0, count * size);
    return p;
}

size_t omen_panels_count(size_t n, size_t n_k)
{
    return (n + OMEN_PANEL - 1) / OMEN_PANEL * OMEN_PANEL * n_k;
}

void omen_panels_pack(const float *rows, size_t n, size_t n_k, size_t ld, float *panels)
{
    for (size_t p = 0; p * OMEN_PANEL < n; p++) {
        float *panel = panels + p * OMEN_PANEL * n_k;
        const size_t width = n - p * OMEN_PANEL < OMEN_PANEL ? n - p * OMEN_PANEL : OMEN_PANEL;
        if (width < OMEN_PANEL)
            memset(panel, 0, OMEN_PANEL * n_k * sizeof *panel);
        for (size_t j = 0; j < width; j++)
            for (size_t k = 0; k < n_k; k++)
                panel[k * OMEN_PANEL + j] = rows[(p * OMEN_PANEL + j) * ld + k];
    }
}

float *omen_panels_transposed(const float *a, size_t n, size_t m)
{
    float *transposed = omen_alloc(n * m, sizeof *transposed);
    float *panels = omen_alloc(omen_panels_count(m, n), sizeof *panels);
    if (transposed && panels) {
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < m; j++)
                transposed[j * n + i] = a[i * m + j];
        omen_panels_pack(transposed, m, n, n, panels);
    } else {
        free(panels);
        panels = NULL;
    }
    free(transposed);
    return panels;
}

void omen_half_norms(const float *rows, size_t n, size_t d, float *half)
{
    const omen_kernels *kernels = omen_kernels_get();
    for (size_t i = 0; i < n; i++)
        half[i] = 0.5f * kernels->ip_f32(rows + i * d, rows + i * d, d);
}

uint64_t omen_random(uint64_t seed, uint64_t i)
{
    uint64_t z = seed + (i + 1) * 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

double omen_random_unit(uint64_t seed, uint64_t i)
{
    return (double)(omen_random(seed, i) >> 11) * 0x1p-53;
}

void omen_random_rows(uint64_t seed, uint64_t n, uint64_t m, uint64_t *rows)
{
    for (uint64_t i = 0; i < m; i++) {
        /* 128-bit: n * m may not fit 64 bits */
        uint64_t first = (uint64_t)((unsigned __int128)n * i / m), end = (uint64_t)((unsigned __int128)n * (i + 1) / m);
        rows[i] = first + omen_random(seed, i) % (end - first);
    }
}

/* With m the mantissa, ln m = 2 artanh((m - 1) / (m + 1)). */
double omen_log2(double x)
{
    int exponent;
    double m = frexp(x, &exponent);
    if (m < 0.70710678118654752) {
        m *= 2;
        exponent--;
    }
    const double s = (m - 1) / (m + 1), s2 = s * s;
    double sum = 0;
    for (int power = 21; power > 0; power -= 2)
        sum = sum * s2 + 1.0 / power;
    return exponent + 2 * s * sum * 1.4426950408889634;
}
