/* SPDX-License-Identifier: Apache-2.0 */
/* Products of bytes by the kernel matmul_u8: how its panels lie, and for squared distances between rows and queries
 * what each of the two brings to it. */
#ifndef OMEN_BYTE_PRODUCTS_H
#define OMEN_BYTE_PRODUCTS_H

#include <stdbool.h>

#include "lib/kernels/kernels.h"
#include "lib/matrix.h"

#define OMEN_BYTE_CENTRE 128    /* subtracted from the values of queries, which the kernel takes signed */
#define OMEN_BYTE_DIMS   16384u /* of which the products fit 32 bits */

/* Whether all n values are whole numbers from 0 to 255. */
static inline bool omen_values_are_bytes(const float *values, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(values[i] >= 0 && values[i] <= 255 && values[i] == (float)(int)values[i]))
            return false;
    return true;
}

/* Rows of panels for d values: the kernel takes four at a time. */
static inline size_t omen_byte_fours(size_t d)
{
    return omen_round_up(d, 4);
}

/* Where value j of column q is, in panels of n_k rows. */
static inline size_t omen_byte_place(size_t n_k, size_t q, size_t j)
{
    return q / OMEN_PANEL * OMEN_PANEL * n_k + q % OMEN_PANEL * 4 + j / 4 * 4 * OMEN_PANEL + j % 4;
}

/* Packs query q of d values into the panels of n_k = d to the next multiple of 4, which are zero there, and returns its
 * term, the sum of the squares. */
static inline int32_t omen_byte_pack_query(const float *query, size_t d, size_t n_k, size_t q, int8_t *panels)
{
    int32_t term = 0;
    for (size_t j = 0; j < d; j++) {
        const int value = (int)query[j];
        panels[omen_byte_place(n_k, q, j)] = (int8_t)(value - OMEN_BYTE_CENTRE);
        term += value * value;
    }
    return term;
}

/* The term of a row, since x q = x (q - centre) + centre x. */
static inline int32_t omen_byte_row_term(const uint8_t *row, size_t d)
{
    uint32_t squares = 0, sum = 0;
    for (size_t j = 0; j < d; j++) {
        squares += (uint32_t)row[j] * row[j];
        sum += row[j];
    }
    return (int32_t)squares - 2 * OMEN_BYTE_CENTRE * (int32_t)sum;
}

#endif
