/* SPDX-License-Identifier: Apache-2.0 */
/* Filters of a block's values: byte order, narrowing, planes, differences, decimals, and the way back of each.
 *
 * Decimals are the idea of ALP (Afroozeh et al., SIGMOD 2024) with a decimal exponent for each value, since numbers
 * printed with a fixed count of digits have one.
 */
#include "formats/omz_filter.h"

#include <math.h>
#include <string.h>

/* ---- heads and byte order ---- */

/* The heads go by column: the first byte of all, the second of all, ... */
void omz_split_heads(const omz_shape *shape, const uint8_t *raw, size_t n_records, uint8_t *heads, uint8_t *values)
{
    const size_t head = shape->head_bytes, record = shape->record_bytes;
    for (size_t i = 0; i < n_records; i++) {
        for (size_t j = 0; j < head; j++)
            heads[j * n_records + i] = raw[i * record + j];
        memcpy(values + i * (record - head), raw + i * record + head, record - head);
    }
}

void omz_join_heads(const omz_shape *shape, const uint8_t *heads, const uint8_t *values, size_t n_records, uint8_t *raw)
{
    const size_t head = shape->head_bytes, record = shape->record_bytes;
    for (size_t i = 0; i < n_records; i++) {
        for (size_t j = 0; j < head; j++)
            raw[i * record + j] = heads[j * n_records + i];
        memcpy(raw + i * record + head, values + i * (record - head), record - head);
    }
}

void omz_swap_bytes(uint32_t value_bytes, const uint8_t *from, size_t n_bytes, uint8_t *to)
{
    for (size_t i = 0; i < n_bytes; i += value_bytes) {
        if (value_bytes == 2) {
            uint16_t x;
            memcpy(&x, from + i, sizeof x);
            x = __builtin_bswap16(x);
            memcpy(to + i, &x, sizeof x);
        } else if (value_bytes == 4) {
            uint32_t x;
            memcpy(&x, from + i, sizeof x);
            x = __builtin_bswap32(x);
            memcpy(to + i, &x, sizeof x);
        } else {
            uint64_t x;
            memcpy(&x, from + i, sizeof x);
            x = __builtin_bswap64(x);
            memcpy(to + i, &x, sizeof x);
        }
    }
}

/* ---- narrowing: only where every bit comes back ---- */

/* In runs, so that a block that cannot be narrowed is left early and the inner loop becomes SIMD code. */
#define RUN 1024

bool omz_narrow_single(const uint8_t *from, size_t n, uint8_t *to)
{
    for (size_t i0 = 0; i0 < n; i0 += RUN) {
        const size_t end = n - i0 < RUN ? n : i0 + RUN;
        uint64_t off = 0;
        for (size_t i = i0; i < end; i++) {
            double x, back;
            uint64_t bits, back_bits;
            memcpy(&x, from + 8 * i, 8);
            const float f = (float)x;
            back = (double)f;
            memcpy(&bits, &x, 8);
            memcpy(&back_bits, &back, 8);
            off |= bits ^ back_bits;
            memcpy(to + 4 * i, &f, 4);
        }
        if (off != 0)
            return false;
    }
    return true;
}

void omz_widen_single(const uint8_t *from, size_t n, uint8_t *to)
{
    for (size_t i = 0; i < n; i++) {
        float f;
        memcpy(&f, from + 4 * i, 4);
        const double x = (double)f;
        memcpy(to + 8 * i, &x, 8);
    }
}

bool omz_narrow_byte(bool is_float, const uint8_t *from, size_t n, uint8_t *to)
{
    for (size_t i0 = 0; i0 < n; i0 += RUN) {
        const size_t end = n - i0 < RUN ? n : i0 + RUN;
        uint32_t off = 0;
        for (size_t i = i0; i < end; i++) {
            uint32_t bits, back;
            memcpy(&bits, from + 4 * i, 4);
            if (is_float) {
                float x;
                memcpy(&x, &bits, 4);
                const int whole = x >= 0 && x <= 255 ? (int)x : 0;
                const float y = (float)whole;
                memcpy(&back, &y, 4);
                to[i] = (uint8_t)whole;
            } else {
                back = bits & 0xff;
                to[i] = (uint8_t)bits;
            }
            off |= bits ^ back;
        }
        if (off != 0)
            return false;
    }
    return true;
}

void omz_widen_byte(bool is_float, const uint8_t *from, size_t n, uint8_t *to)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = from[i];
        if (is_float) {
            const float x = (float)from[i];
            memcpy(&bits, &x, 4);
        }
        memcpy(to + 4 * i, &bits, 4);
    }
}

/* Half precision holds a float exactly if 13 mantissa bits are zero and it is from 2^-14 up to 65504, or if it is a
 * smaller multiple of 2^-24. Special values are left to other filters. */
bool omz_narrow_half(const uint8_t *from, size_t n, uint8_t *to)
{
    for (size_t i0 = 0; i0 < n; i0 += RUN) {
        const size_t end = n - i0 < RUN ? n : i0 + RUN;
        uint32_t off = 0;
        for (size_t i = i0; i < end; i++) {
            uint32_t bits;
            float x;
            memcpy(&bits, from + 4 * i, 4);
            memcpy(&x, from + 4 * i, 4);
            const uint32_t magnitude = bits & 0x7fffffff;
            const bool is_tiny = magnitude < 0x38800000;
            const float scaled = is_tiny ? fabsf(x) * 0x1p24f : 0;
            const int whole = (int)scaled;
            off |= (uint32_t)((float)whole != scaled);
            off |= is_tiny ? 0 : (bits & 0x1fff) | (uint32_t)(magnitude > 0x477fe000u);
            const uint32_t half = is_tiny ? (uint32_t)whole : (magnitude - 0x38000000) >> 13;
            const uint16_t h = (uint16_t)(half | (bits >> 16 & 0x8000));
            memcpy(to + 2 * i, &h, 2);
        }
        if (off != 0)
            return false;
    }
    return true;
}

void omz_widen_half(const uint8_t *from, size_t n, uint8_t *to)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, from + 2 * i, 2);
        const uint32_t magnitude = h & 0x7fff;
        const float tiny = (float)(int)magnitude * 0x1p-24f;
        uint32_t bits;
        memcpy(&bits, &tiny, 4);
        bits = (magnitude < 0x400 ? bits : (magnitude << 13) + 0x38000000) | (uint32_t)(h & 0x8000) << 16;
        memcpy(to + 4 * i, &bits, 4);
    }
}

/* ---- arranging ---- */

void omz_split_planes(uint32_t value_bytes, bool move_sign, const uint8_t *from, size_t n, uint8_t *to)
{
    if (value_bytes == 2) {
        uint8_t *restrict low = to, *restrict high = to + n;
        for (size_t i = 0; i < n; i++) {
            uint16_t x;
            memcpy(&x, from + 2 * i, 2);
            if (move_sign)
                x = (uint16_t)(x << 1 | x >> 15);
            low[i] = (uint8_t)x;
            high[i] = (uint8_t)(x >> 8);
        }
    } else if (value_bytes == 4) {
        uint8_t *restrict a = to, *restrict b = to + n, *restrict c = to + 2 * n, *restrict d = to + 3 * n;
        for (size_t i = 0; i < n; i++) {
            uint32_t x;
            memcpy(&x, from + 4 * i, 4);
            if (move_sign)
                x = x << 1 | x >> 31;
            a[i] = (uint8_t)x;
            b[i] = (uint8_t)(x >> 8);
            c[i] = (uint8_t)(x >> 16);
            d[i] = (uint8_t)(x >> 24);
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            uint64_t x;
            memcpy(&x, from + 8 * i, 8);
            if (move_sign)
                x = x << 1 | x >> 63;
            for (size_t p = 0; p < 8; p++)
                to[p * n + i] = (uint8_t)(x >> 8 * p);
        }
    }
}

void omz_join_planes(uint32_t value_bytes, bool move_sign, const uint8_t *from, size_t n, uint8_t *to)
{
    if (value_bytes == 2) {
        const uint8_t *restrict low = from, *restrict high = from + n;
        for (size_t i = 0; i < n; i++) {
            uint16_t x = (uint16_t)(low[i] | high[i] << 8);
            if (move_sign)
                x = (uint16_t)(x >> 1 | x << 15);
            memcpy(to + 2 * i, &x, 2);
        }
    } else if (value_bytes == 4) {
        const uint8_t *restrict a = from, *restrict b = from + n, *restrict c = from + 2 * n,
                                *restrict d = from + 3 * n;
        for (size_t i = 0; i < n; i++) {
            uint32_t x = (uint32_t)a[i] | (uint32_t)b[i] << 8 | (uint32_t)c[i] << 16 | (uint32_t)d[i] << 24;
            if (move_sign)
                x = x >> 1 | x << 31;
            memcpy(to + 4 * i, &x, 4);
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            uint64_t x = 0;
            for (size_t p = 0; p < 8; p++)
                x |= (uint64_t)from[p * n + i] << 8 * p;
            if (move_sign)
                x = x >> 1 | x << 63;
            memcpy(to + 8 * i, &x, 8);
        }
    }
}

void omz_split_delta(size_t distance, const uint8_t *from, size_t n, uint8_t *to)
{
    memcpy(to, from, distance < n ? distance : n);
    for (size_t i = distance; i < n; i++)
        to[i] = (uint8_t)(from[i] - from[i - distance]);
}

typedef uint8_t bytes16 __attribute__((vector_size(16)));

static inline bytes16 load16(const uint8_t *from)
{
    bytes16 x;
    memcpy(&x, from, sizeof x);
    return x;
}

static inline void store16(bytes16 x, uint8_t *to)
{
    memcpy(to, &x, sizeof x);
}

/* In place. Lines of 16 to 32 bytes, as small images have them, are kept in two registers that overlap: to load what
 * has just been stored by another cut would wait for it. */
void omz_join_delta(size_t distance, uint8_t *values, size_t n)
{
    size_t i = distance;
    if (distance >= 16 && distance <= 32 && n >= distance) {
        bytes16 first = load16(values), last = load16(values + distance - 16);
        for (; n - i >= distance; i += distance) {
            first += load16(values + i);
            last += load16(values + i + distance - 16);
            store16(first, values + i);
            store16(last, values + i + distance - 16);
        }
    }
    for (; distance > 32 && i + 16 <= n; i += 16)
        store16(load16(values + i) + load16(values + i - distance), values + i);
    for (; i < n; i++)
        values[i] = (uint8_t)(values[i] + values[i - distance]);
}

/* Decimals: a float32 that is the one nearest to m / 10^k, m a whole number of so many digits. Its top byte is symbol +
 * 8 sign + 16 (m / 65536), where the symbol tells k, or 0 an exception. */
#define N_DECADES 6 /* 10 to 100, 1 to 10, ... */

static const double powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10};
static const float decades[N_DECADES + 1] = {1e2f, 1e1f, 1, 1e-1f, 1e-2f, 1e-3f, 1e-4f};

/* 10^k for symbol 1 to 6. */
static double decimal_power(unsigned digits, unsigned symbol)
{
    return powers[digits - 3 + symbol];
}

/* Returns whether x is one; its top byte and m. Zero is 7. */
static inline bool decimal_of(float x, const double *scales, uint32_t limit, uint8_t *top, uint32_t *m)
{
    uint32_t bits, symbol = 0;
    memcpy(&bits, &x, 4);
    const float a = fabsf(x);
    for (int i = 0; i < N_DECADES; i++)
        symbol += a < decades[i];
    const bool in_range = a < decades[0] && a >= decades[N_DECADES];
    const double scale = scales[symbol];
    const uint32_t whole = in_range ? (uint32_t)((double)a * scale + 0.5) : 0;
    const bool is_zero = (bits & 0x7fffffff) == 0;
    const bool is_one = is_zero || (in_range && whole < limit && (float)((double)whole / scale) == a);
    *m = is_one ? whole : 0;
    *top = is_one ? (uint8_t)((is_zero ? 7 : symbol) | bits >> 31 << 3 | *m >> 16 << 4) : 0;
    return is_one;
}

static void decimal_scales(unsigned digits, double scales[8])
{
    for (unsigned s = 0; s < 8; s++)
        scales[s] = s >= 1 && s <= N_DECADES ? decimal_power(digits, s) : 1;
}

/* Three planes of n bytes, then the exceptions. Returns the length; 0 if too few values are decimals to be worth it. */
size_t omz_split_decimals(unsigned digits, const uint8_t *from, size_t n, uint8_t *to)
{
    uint8_t *restrict low = to, *restrict middle = to + n, *restrict top = to + 2 * n, *restrict rest = to + 3 * n;
    double scales[8];
    size_t n_rest = 0;
    decimal_scales(digits, scales);
    for (size_t i = 0; i < n; i++) {
        float x;
        uint32_t m;
        memcpy(&x, from + 4 * i, 4);
        if (!decimal_of(x, scales, (uint32_t)powers[digits], top + i, &m)) {
            memcpy(rest + 4 * n_rest++, from + 4 * i, 4);
            if (n_rest > n / 16 + 16)
                return 0;
        }
        low[i] = (uint8_t)m;
        middle[i] = (uint8_t)(m >> 8);
    }
    return 3 * n + 4 * n_rest;
}

bool omz_join_decimals(unsigned digits, const uint8_t *from, size_t n_bytes, size_t n, uint8_t *to)
{
    const uint8_t *restrict low = from, *restrict middle = from + n, *restrict top = from + 2 * n;
    const uint8_t *rest = from + 3 * n, *end = from + n_bytes;
    double scales[8];
    decimal_scales(digits, scales);
    for (size_t i = 0; i < n; i++) {
        const unsigned symbol = top[i] & 7;
        const uint32_t m = low[i] | (uint32_t)middle[i] << 8 | (uint32_t)(top[i] >> 4) << 16;
        const float a = (float)((double)m / scales[symbol]);
        uint32_t bits;
        memcpy(&bits, &a, 4);
        bits |= (uint32_t)(top[i] >> 3 & 1) << 31;
        if (symbol == 0) {
            if (end - rest < 4)
                return false;
            memcpy(&bits, rest, 4);
            rest += 4;
        }
        memcpy(to + 4 * i, &bits, 4);
    }
    return rest == end;
}

/* The count of digits of most values of a few, or 0. */
unsigned omz_count_digits(const uint8_t *from, size_t n)
{
    enum { LOOKS = 512 };
    const size_t step = n > LOOKS ? n / LOOKS : 1;
    for (unsigned digits = OMZ_DIGITS_LEAST; digits <= OMZ_DIGITS_MOST; digits++) {
        double scales[8];
        size_t n_looks = 0, n_good = 0;
        decimal_scales(digits, scales);
        for (size_t i = 0; i < n; i += step, n_looks++) {
            float x;
            uint32_t m;
            uint8_t top;
            memcpy(&x, from + 4 * i, 4);
            n_good += decimal_of(x, scales, (uint32_t)powers[digits], &top, &m);
        }
        if (n_good + n_looks / 32 >= n_looks)
            return digits;
    }
    return 0;
}
