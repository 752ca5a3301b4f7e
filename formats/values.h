/* SPDX-License-Identifier: Apache-2.0 */
/* Stored values and their conversion to float32. */
#ifndef OMEN_VALUES_H
#define OMEN_VALUES_H

#include "lib/omendb.h"

/* How one value is stored. The first six have these numbers in compressed files too. */
typedef enum {
    OMEN_VALUE_U1,
    OMEN_VALUE_I1,
    OMEN_VALUE_I4,
    OMEN_VALUE_F2,
    OMEN_VALUE_F4,
    OMEN_VALUE_F8,
    OMEN_VALUE_I2,
    OMEN_VALUE_U2,
    OMEN_VALUE_U4,
    OMEN_VALUE_I8,
    OMEN_VALUE_U8,
    OMEN_VALUE_BF2, /* bfloat16 */
    OMEN_VALUE_F1,  /* float8 e5m2 */
} omen_value;

/* Whether a value can be a NaN or an infinity. */
bool omen_value_is_float(omen_value value);

/* Whether it can be negative. */
bool omen_value_is_signed(omen_value value);

/* Bytes of one stored value. */
uint32_t omen_value_bytes(omen_value value);

/* Converts n stored values to float32. */
void omen_values_convert(omen_value value, bool big_endian, const unsigned char *from, size_t n, float *restrict out);

/* Whether float32 holds an integer of this magnitude. */
bool omen_integer_is_exact(uint64_t magnitude);

/* False when one of n stored integers is no float32: it has more than 24 digits in base 2 between the first and last
 * that are not zero. */
bool omen_values_exact(omen_value value, bool big_endian, const unsigned char *from, size_t n);

/* False when one of n values is a NaN or infinite. */
bool omen_values_finite(const float *values, size_t n);

/* As NumPy calls it, such as "float32". */
const char *omen_value_name(omen_value value);

#endif
