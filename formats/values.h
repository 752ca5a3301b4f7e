/* SPDX-License-Identifier: Apache-2.0 */
/* Stored values and their conversion to float32. */
#ifndef OMEN_VALUES_H
#define OMEN_VALUES_H

#include "lib/omendb.h"

/* How one value is stored. Those from F2 on can hold a NaN or an infinity. */
typedef enum {
    OMEN_VALUE_U1,
    OMEN_VALUE_I1,
    OMEN_VALUE_I4,
    OMEN_VALUE_F2,
    OMEN_VALUE_F4,
    OMEN_VALUE_F8,
} omen_value;

/* Bytes of one stored value. */
uint32_t omen_value_bytes(omen_value value);

/* Converts n stored values to float32. */
void omen_values_convert(omen_value value, bool big_endian, const unsigned char *from, size_t n, float *restrict out);

/* False when one of n values is a NaN or infinite. */
bool omen_values_finite(const float *values, size_t n);

/* As NumPy calls it, such as "float32". */
const char *omen_value_name(omen_value value);

#endif
