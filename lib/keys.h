/* SPDX-License-Identifier: Apache-2.0 */
/* Keys: a distance and a number in one integer, which sort by distance, then by number (omen_key() in kernels.h). */
#ifndef OMEN_KEYS_H
#define OMEN_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "lib/kernels/kernels.h"

/* The distance of a key. */
static inline float omen_key_distance(uint64_t key)
{
    uint32_t bits = (uint32_t)(key >> 32);
    bits = bits >> 31 ? bits & 0x7fffffffu : ~bits;
    float distance;
    __builtin_memcpy(&distance, &bits, 4);
    return distance;
}

/* Moves the m smallest of n keys to the front, in any order; 0 < m <= n. */
void omen_keys_select(uint64_t *keys, size_t n, size_t m);

/* The same, but what is behind them is lost; work has room for n. */
void omen_keys_least(uint64_t *keys, size_t n, size_t m, uint64_t *work);

/* Sorts ascending. */
void omen_keys_sort(uint64_t *keys, size_t n);

/* The m-th smallest of n values, m <= n; -infinity for m = 0. work has room for n; the m smallest are left in front. */
float omen_values_select(const float *values, size_t n, size_t m, float *work);

#endif
