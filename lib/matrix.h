/* SPDX-License-Identifier: Apache-2.0 */
/* Aligned memory, counter-based random numbers, and the packed right-hand sides of matrix products. */
#ifndef OMEN_MATRIX_H
#define OMEN_MATRIX_H

#include <stddef.h>
#include <stdint.h>

static inline size_t omen_round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static inline size_t omen_least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* count * size bytes, 64-byte aligned, not cleared; NULL when out of memory or the product overflows. free() it. */
void *omen_alloc(size_t count, size_t size);

/* The same, cleared. */
void *omen_alloc_zero(size_t count, size_t size);

/* Number of floats that n rows of n_k values take when packed. */
size_t omen_panels_count(size_t n, size_t n_k);

/* Packs rows (n x n_k, ld floats apart) for omen_kernels.matmul: panels[j / 16][k][j % 16] = rows[j][k], zero beyond n.
 */
void omen_panels_pack(const float *rows, size_t n, size_t n_k, size_t ld, float *panels);

/* Packs the transpose of a (n x m): m rows of n values. Allocated; NULL when out of memory. free() it. */
float *omen_panels_transposed(const float *a, size_t n, size_t m);

/* half[i] = |row i|^2 / 2 */
void omen_half_norms(const float *rows, size_t n, size_t d, float *half);

/* Random number i of stream seed, in [0, 2^64): the splitmix64 mix of a counter. */
uint64_t omen_random(uint64_t seed, uint64_t i);

/* The same in [0, 1). */
double omen_random_unit(uint64_t seed, uint64_t i);

/* Draws m of n rows, one from each of m equal strata: rows gets m distinct row numbers, ascending; m <= n. */
void omen_random_rows(uint64_t seed, uint64_t n, uint64_t m, uint64_t *rows);

#endif
