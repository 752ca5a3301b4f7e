/* SPDX-License-Identifier: Apache-2.0 */
/* Stored values: how many bytes they take, and their conversion to float32. */
#include "formats/values.h"

#include <string.h>

uint32_t omen_value_bytes(omen_value value)
{
    switch (value) {
    case OMEN_VALUE_U1:
    case OMEN_VALUE_I1:
    case OMEN_VALUE_F1:
        return 1;
    case OMEN_VALUE_F2:
    case OMEN_VALUE_I2:
    case OMEN_VALUE_U2:
    case OMEN_VALUE_BF2:
        return 2;
    case OMEN_VALUE_I4:
    case OMEN_VALUE_U4:
    case OMEN_VALUE_F4:
        return 4;
    case OMEN_VALUE_F8:
    case OMEN_VALUE_I8:
    case OMEN_VALUE_U8:
        return 8;
    }
    return 0;
}

bool omen_value_is_signed(omen_value value)
{
    switch (value) {
    case OMEN_VALUE_U1:
    case OMEN_VALUE_U2:
    case OMEN_VALUE_U4:
    case OMEN_VALUE_U8:
        return false;
    default:
        return true;
    }
}

bool omen_value_is_float(omen_value value)
{
    switch (value) {
    case OMEN_VALUE_F1:
    case OMEN_VALUE_F2:
    case OMEN_VALUE_BF2:
    case OMEN_VALUE_F4:
    case OMEN_VALUE_F8:
        return true;
    default:
        return false;
    }
}

static inline uint32_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

/* Masks instead of branches, so that the loop over it becomes SIMD code. */
static inline uint32_t half_to_float_bits(uint32_t half)
{
    uint32_t magnitude = half & 0x7fffu;
    uint32_t is_special = 0u - (uint32_t)(magnitude >= 0x7c00u), is_tiny = 0u - (uint32_t)(magnitude < 0x0400u);
    /* Moving the exponent by 112 twice takes 31, infinity and NaN, to 255. */
    uint32_t bits = (magnitude << 13) + 0x38000000u + (is_special & 0x38000000u);
    uint32_t tiny = float_bits((float)(int32_t)magnitude * 0x1p-24f);
    return (bits & ~is_tiny) | (tiny & is_tiny) | (half & 0x8000u) << 16;
}

/* Each loop exists twice because a test for the byte order inside it would keep it from becoming SIMD code. */
#define CONVERT(type, expression)                                                                                      \
    for (size_t i = 0; i < n; i++) {                                                                                   \
        type x;                                                                                                        \
        memcpy(&x, from + i * sizeof(x), sizeof(x));                                                                   \
        uint32_t bits = (expression);                                                                                  \
        memcpy(out + i, &bits, sizeof(bits));                                                                          \
    }

static inline uint32_t double_to_float_bits(uint64_t x)
{
    double value;
    memcpy(&value, &x, sizeof(value));
    return float_bits((float)value);
}

void omen_values_convert(omen_value value, bool big_endian, const unsigned char *from, size_t n, float *restrict out)
{
    bool swap = big_endian != (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
    switch (value) {
    case OMEN_VALUE_U1:
        for (size_t i = 0; i < n; i++)
            out[i] = (float)from[i];
        break;
    case OMEN_VALUE_I1:
        for (size_t i = 0; i < n; i++)
            out[i] = (float)(signed char)from[i];
        break;
    case OMEN_VALUE_F1: /* the first byte of a float16 */
        CONVERT(uint8_t, half_to_float_bits((uint32_t)x << 8))
        break;
    case OMEN_VALUE_I2:
        if (swap)
            CONVERT(uint16_t, float_bits((float)(int16_t)__builtin_bswap16(x)))
        else
            CONVERT(uint16_t, float_bits((float)(int16_t)x))
        break;
    case OMEN_VALUE_U2:
        if (swap)
            CONVERT(uint16_t, float_bits((float)__builtin_bswap16(x)))
        else
            CONVERT(uint16_t, float_bits((float)x))
        break;
    case OMEN_VALUE_BF2: /* the first half of a float32 */
        if (swap)
            CONVERT(uint16_t, (uint32_t)__builtin_bswap16(x) << 16)
        else
            CONVERT(uint16_t, (uint32_t)x << 16)
        break;
    case OMEN_VALUE_I4:
        if (swap)
            CONVERT(uint32_t, float_bits((float)(int32_t)__builtin_bswap32(x)))
        else
            CONVERT(uint32_t, float_bits((float)(int32_t)x))
        break;
    case OMEN_VALUE_U4:
        if (swap)
            CONVERT(uint32_t, float_bits((float)__builtin_bswap32(x)))
        else
            CONVERT(uint32_t, float_bits((float)x))
        break;
    case OMEN_VALUE_I8:
        if (swap)
            CONVERT(uint64_t, float_bits((float)(int64_t)__builtin_bswap64(x)))
        else
            CONVERT(uint64_t, float_bits((float)(int64_t)x))
        break;
    case OMEN_VALUE_U8:
        if (swap)
            CONVERT(uint64_t, float_bits((float)__builtin_bswap64(x)))
        else
            CONVERT(uint64_t, float_bits((float)x))
        break;
    case OMEN_VALUE_F2:
        if (swap)
            CONVERT(uint16_t, half_to_float_bits(__builtin_bswap16(x)))
        else
            CONVERT(uint16_t, half_to_float_bits(x))
        break;
    case OMEN_VALUE_F4:
        if (swap)
            CONVERT(uint32_t, __builtin_bswap32(x))
        else
            memcpy(out, from, n * sizeof(float));
        break;
    case OMEN_VALUE_F8:
        if (swap)
            CONVERT(uint64_t, double_to_float_bits(__builtin_bswap64(x)))
        else
            CONVERT(uint64_t, double_to_float_bits(x))
        break;
    }
}

bool omen_integer_is_exact(uint64_t magnitude)
{
    return magnitude <= (1u << 24) || magnitude >> __builtin_ctzll(magnitude) <= (1u << 24);
}

bool omen_values_exact(omen_value value, bool big_endian, const unsigned char *from, size_t n)
{
    const bool swap = big_endian != (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
    const bool is_signed = value == OMEN_VALUE_I4 || value == OMEN_VALUE_I8;
    bool exact = true;

    if (value == OMEN_VALUE_I4 || value == OMEN_VALUE_U4) {
        for (size_t i = 0; i < n; i++) {
            uint32_t x;
            memcpy(&x, from + i * sizeof(x), sizeof(x));
            x = swap ? __builtin_bswap32(x) : x;
            exact &= omen_integer_is_exact(is_signed && x >> 31 ? 0 - x : x);
        }
    } else if (value == OMEN_VALUE_I8 || value == OMEN_VALUE_U8) {
        for (size_t i = 0; i < n; i++) {
            uint64_t x;
            memcpy(&x, from + i * sizeof(x), sizeof(x));
            x = swap ? __builtin_bswap64(x) : x;
            exact &= omen_integer_is_exact(is_signed && x >> 63 ? 0 - x : x);
        }
    }
    return exact;
}

bool omen_values_finite(const float *values, size_t n)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= (float_bits(values[i]) & 0x7f800000u) == 0x7f800000u;
    return !bad;
}

const char *omen_value_name(omen_value value)
{
    switch (value) {
    case OMEN_VALUE_U1:
        return "uint8";
    case OMEN_VALUE_I1:
        return "int8";
    case OMEN_VALUE_I2:
        return "int16";
    case OMEN_VALUE_U2:
        return "uint16";
    case OMEN_VALUE_I4:
        return "int32";
    case OMEN_VALUE_U4:
        return "uint32";
    case OMEN_VALUE_I8:
        return "int64";
    case OMEN_VALUE_U8:
        return "uint64";
    case OMEN_VALUE_F1:
        return "float8_e5m2";
    case OMEN_VALUE_F2:
        return "float16";
    case OMEN_VALUE_BF2:
        return "bfloat16";
    case OMEN_VALUE_F4:
        return "float32";
    case OMEN_VALUE_F8:
        return "float64";
    }
    return "?";
}
