/* SPDX-License-Identifier: Apache-2.0 */
/* Axes rounded to 8 bits, and vectors to 16, to be multiplied as whole numbers: one vector times axes in float32 waits
 * for the memory that the axes are in, which are four times as large. Sums of whole numbers are the same everywhere. */
#ifndef OMEN_BYTE_AXES_H
#define OMEN_BYTE_AXES_H

#include "lib/byte_products.h"
#include "lib/omendb.h"

/* 8 bits of a vector do if their step, squared, is so much of its squared length. */
#define OMEN_BYTE_STEP2 (1.0f / (512 * 512))

#define OMEN_BYTE_VECTORS 64u /* most that are multiplied together */

typedef struct omen_byte_axes {
    uint32_t n, d;  /* d at most OMEN_BYTE_DIMS */
    int8_t *panels; /* packed; NULL: there are none */
    float *scales;  /* n, to the next multiple of 16 */
    int32_t *terms; /* as many */
} omen_byte_axes;

/* Rounds n axes (n x d), of values up to 2: errors2[i], if it is not NULL, gets the squared length of what that
 * takes off axis i. Finish also after a failure. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int omen_byte_axes_init(omen_byte_axes *axes, const float *from, uint32_t n, uint32_t d,
                        double *errors2) OMEN_MUST_CHECK;
void omen_byte_axes_finish(omen_byte_axes *axes);

/* At most OMEN_BYTE_VECTORS vectors in two parts. Each takes d, to the next multiple of 4, of high and of low. */
typedef struct omen_byte_vectors {
    uint8_t *high, *low;
    float *units;
    float *lengths2; /* squared; set by omen_byte_vectors_split() */
    size_t n;
    bool any_low; /* whether the low parts of any are needed */
} omen_byte_vectors;

/* Splits vector number i, x less from (both d), into out, which has room for it; the vectors are split in order. */
void omen_byte_vectors_split(omen_byte_vectors *out, size_t i, const float *x, const float *from, size_t d);

/* out[i * ld + j], for j from 0 to the next multiple of 16 behind n_axes, is the product of vector i and axis first +
 * j, first being a multiple of 16. sums has room for twice as many, one vector after the other. */
void omen_byte_axes_multiply(const omen_byte_axes *axes, const omen_byte_vectors *vectors, uint32_t first,
                             uint32_t n_axes, float *out, size_t ld, float *sums);

#endif
