/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of a block's values, each with its way back. Private to formats/omz*.c. */
#ifndef OMEN_OMZ_FILTER_H
#define OMEN_OMZ_FILTER_H

#include "formats/values.h"

/* What a block's bytes are: records of head_bytes (the dimension in front of a row, the range of
 * one of sq8), then whole values. */
typedef struct omz_shape {
    omen_value value;
    bool big_endian;
    uint32_t head_bytes, record_bytes;
    uint32_t width; /* of a line of an image of bytes: a distance worth trying; 0: none known */
} omz_shape;

/* Digits that decimals may have. */
#define OMZ_DIGITS_LEAST 4
#define OMZ_DIGITS_MOST  6

/* Records to heads and values, and back. */
void omz_split_heads(const omz_shape *shape, const uint8_t *raw, size_t n_records, uint8_t *heads, uint8_t *values);
void omz_join_heads(const omz_shape *shape, const uint8_t *heads, const uint8_t *values, size_t n_records,
                    uint8_t *raw);

/* Turns the byte order of values of 2, 4 or 8 bytes; from may be to. */
void omz_swap_bytes(uint32_t value_bytes, const uint8_t *from, size_t n_bytes, uint8_t *to);

/* Narrow n values to float32, bytes or binary16. False when a bit would be lost; then to holds nothing of use. */
bool omz_narrow_single(const uint8_t *from, size_t n, uint8_t *to);
bool omz_narrow_byte(bool is_float, const uint8_t *from, size_t n, uint8_t *to);
bool omz_narrow_half(const uint8_t *from, size_t n, uint8_t *to);
void omz_widen_single(const uint8_t *from, size_t n, uint8_t *to);
void omz_widen_byte(bool is_float, const uint8_t *from, size_t n, uint8_t *to);
void omz_widen_half(const uint8_t *from, size_t n, uint8_t *to);

/* The first byte of all n values, the second of all, ...; move_sign: with the sign as the lowest bit. */
void omz_split_planes(uint32_t value_bytes, bool move_sign, const uint8_t *from, size_t n, uint8_t *to);
void omz_join_planes(uint32_t value_bytes, bool move_sign, const uint8_t *from, size_t n, uint8_t *to);

/* Bytes as differences to those so far before; back in place. */
void omz_split_delta(size_t distance, const uint8_t *from, size_t n, uint8_t *to);
void omz_join_delta(size_t distance, uint8_t *values, size_t n);

/* float32 values as decimals: three planes of n bytes, then the exceptions. Splitting returns the length, or 0 if too
 * few values are decimals to be worth it; joining returns false if the exceptions are not as many as the planes say. */
size_t omz_split_decimals(unsigned digits, const uint8_t *from, size_t n, uint8_t *to);
bool omz_join_decimals(unsigned digits, const uint8_t *from, size_t n_bytes, size_t n, uint8_t *to);

/* The count of digits of most of n values, of which some are looked at, or 0. */
unsigned omz_count_digits(const uint8_t *from, size_t n);

#endif
