/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels in plain C. Each level's file includes them, so that the compiler vectorises them with that level's flags;
 * the same operations in the same order give the same bits. */
#ifndef OMEN_KERNELS_PLAIN_H
#define OMEN_KERNELS_PLAIN_H

#include <float.h>
#include <math.h>
#include <stdbool.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/kernels/kernels.h"

static inline void plain_pq_tables(const float *query, const uint32_t *dims, const uint32_t *sub_first, size_t n_sub,
                                   const float *codewords, float *tables)
{
    for (size_t m = 0; m < n_sub; m++) {
        float words[16] = {0};
        for (size_t a = sub_first[m]; a < sub_first[m + 1]; a++) {
            const float x = -2 * query[dims[a]];
            for (size_t j = 0; j < 16; j++)
                words[j] += x * codewords[a * 16 + j];
        }
        memcpy(tables + m * 16, words, sizeof words);
    }
}

static inline float plain_table_lows(const float *tables, size_t n_sub, float *lows)
{
    float widest = 0;
    for (size_t m = 0; m < n_sub; m++) {
        /* by halves: one value after another would make each comparison wait for the one before */
        float lo[16], hi[16];
        memcpy(lo, tables + m * 16, sizeof lo);
        memcpy(hi, tables + m * 16, sizeof hi);
#define HALVE(half)                                                                                                    \
    for (size_t j = 0; j < half; j++) {                                                                                \
        lo[j] = lo[j + half] < lo[j] ? lo[j + half] : lo[j];                                                           \
        hi[j] = hi[j + half] > hi[j] ? hi[j + half] : hi[j];                                                           \
    }
        HALVE(8)
        HALVE(4)
        HALVE(2)
        HALVE(1)
#undef HALVE
        lows[m] = lo[0];
        widest = hi[0] - lo[0] > widest ? hi[0] - lo[0] : widest;
    }
    return widest;
}

/* Low and step of a row of d values stored as integers of up to top. The lanes are independent of one another, so the
 * compiler may vectorise without reordering operations. */
static inline void plain_sq_range(const float *row, size_t d, float top, float *row_low, float *row_step)
{
    float lo[OMEN_LANES], hi[OMEN_LANES], last[OMEN_LANES];
    int off[OMEN_LANES] = {0};
    const size_t whole = d / OMEN_LANES * OMEN_LANES;
    for (size_t l = 0; l < OMEN_LANES; l++) {
        lo[l] = hi[l] = row[0];
        last[l] = whole + l < d ? row[whole + l] : row[0];
    }
#define WIDEN(x)                                                                                                       \
    for (size_t l = 0; l < OMEN_LANES; l++) {                                                                          \
        lo[l] = (x)[l] < lo[l] ? (x)[l] : lo[l];                                                                       \
        hi[l] = (x)[l] > hi[l] ? (x)[l] : hi[l];                                                                       \
    }
    for (size_t j = 0; j < whole; j += OMEN_LANES)
        WIDEN(row + j)
    WIDEN(last)
    for (size_t half = OMEN_LANES / 2; half > 0; half /= 2) {
        for (size_t l = 0; l < half; l++) {
            lo[l] = lo[l + half] < lo[l] ? lo[l + half] : lo[l];
            hi[l] = hi[l + half] > hi[l] ? hi[l + half] : hi[l];
        }
    }
    const float low = lo[0] + 0.0f, high = hi[0]; /* there is one zero */
    const float span = high - low;
    /* in two parts where the range of the widest finite row would overflow */
    float step = isfinite(span) ? span / top : high / top - low / top;
    if (span <= top && low >= -0x1p24f && high <= 0x1p24f) {
        int any = 0;
#define COMPARE(x)                                                                                                     \
    for (size_t l = 0; l < OMEN_LANES; l++)                                                                            \
        off[l] |= (float)(int)(x)[l] != (x)[l];
        for (size_t j = 0; j < whole; j += OMEN_LANES)
            COMPARE(row + j)
        COMPARE(last)
#undef COMPARE
        for (size_t l = 0; l < OMEN_LANES; l++)
            any |= off[l];
        if (!any)
            step = 1;
    }
#undef WIDEN
    if (step < 0x1p-126f) /* its inverse would overflow, and the row is as good as constant */
        step = 0;
    *row_low = low;
    *row_step = step;
}

/* The integer nearest to (x - low) * scale, at most top. */
static inline uint32_t plain_sq_code(float x, float low, float scale, float top)
{
    const float u = (x - low) * scale + 0.5f;
    return (uint32_t)(int)(u < top ? u : top);
}

#define SQ_BEGIN(top)                                                                                                  \
    float low, step;                                                                                                   \
    plain_sq_range(row, d, top, &low, &step);                                                                          \
    const float scale = step > 0 ? 1 / step : 0;                                                                       \
    memcpy(out, &low, 4);                                                                                              \
    memcpy(out + 4, &step, 4);                                                                                         \
    out += OMEN_SQ_HEADER;

static inline void plain_sq8_encode(const float *row, size_t d, uint8_t *out)
{
    SQ_BEGIN(255)
    for (size_t j = 0; j < d; j++)
        out[j] = (uint8_t)plain_sq_code(row[j], low, scale, 255);
}

static inline void plain_sq12_encode(const float *row, size_t d, uint8_t *out)
{
    SQ_BEGIN(4095)
    for (size_t j = 0; j < d; j++) {
        const uint32_t u = plain_sq_code(row[j], low, scale, 4095);
        out[j] = (uint8_t)(u >> 4);
        out[d + j / 2] = j % 2 ? (uint8_t)(out[d + j / 2] | (u & 15) << 4) : (uint8_t)(u & 15);
    }
}

static inline void plain_sq16_encode(const float *row, size_t d, uint8_t *out)
{
    SQ_BEGIN(65535)
    for (size_t j = 0; j < d; j++) {
        const uint16_t u = (uint16_t)plain_sq_code(row[j], low, scale, 65535);
        memcpy(out + 2 * j, &u, sizeof u);
    }
}

#undef SQ_BEGIN

static inline float plain_split16(const float *x, const float *from, size_t n, uint8_t *high, uint8_t *low)
{
    const float half = 32639; /* 127 times 257: 0 is in the middle of what its high part stands for */
    float most[OMEN_LANES] = {0}, top = 0;
    for (size_t i = 0; i < n / OMEN_LANES * OMEN_LANES; i += OMEN_LANES)
        for (size_t l = 0; l < OMEN_LANES; l++) {
            const float size = fabsf(x[i + l] - from[i + l]);
            most[l] = size > most[l] ? size : most[l];
        }
    for (size_t i = n / OMEN_LANES * OMEN_LANES; i < n; i++)
        top = fabsf(x[i] - from[i]) > top ? fabsf(x[i] - from[i]) : top;
    for (size_t l = 0; l < OMEN_LANES; l++)
        top = most[l] > top ? most[l] : top;
    const bool is_zero = !(top > 1e-30f); /* its inverse would be none */
    const float scale = is_zero ? 0 : half / top;
    for (size_t i = 0; i < n; i++) {
        const float whole = (x[i] - from[i]) * scale;
        const int32_t u = (int32_t)(whole + (whole < 0 ? -0.5f : 0.5f)) + 128 * 257;
        high[i] = (uint8_t)(u >> 8);
        low[i] = (uint8_t)u;
    }
    return is_zero ? 0 : top / half;
}

static inline float plain_signs(const float *z, size_t d, uint8_t *code)
{
    float norm1[OMEN_LANES] = {0};
    for (size_t j = 0; j < d; j += 8) {
        uint8_t byte = 0;
        for (size_t l = 0; l < 8; l++) {
            norm1[j % OMEN_LANES + l] += fabsf(z[j + l]);
            byte |= (uint8_t)((z[j + l] >= 0) << l);
        }
        code[j / 8] = byte;
    }
    return omen_lanes_sum(norm1);
}

/* Eight doubles, in as many registers as a level takes for them. */
typedef double plain_doubles __attribute__((vector_size(64), aligned(8), may_alias));

static uint64_t plain_xxh3(const void *data, size_t n)
{
    return XXH3_64bits(data, n);
}

static inline double plain_dot_f64(const double *a, const double *b, size_t n)
{
    plain_doubles s0 = {0}, s1 = {0};
    double sum[OMEN_LANES];
    size_t i = 0;
    for (; i + OMEN_LANES <= n; i += OMEN_LANES) {
        s0 += *(const plain_doubles *)(a + i) * *(const plain_doubles *)(b + i);
        s1 += *(const plain_doubles *)(a + i + 8) * *(const plain_doubles *)(b + i + 8);
    }
    memcpy(sum, &s0, sizeof s0);
    memcpy(sum + 8, &s1, sizeof s1);
    for (size_t lane = 0; i < n; i++, lane++)
        sum[lane] += a[i] * b[i];
    for (size_t half = OMEN_LANES / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++)
            sum[l] += sum[l + half];
    return sum[0];
}

static inline void plain_reduce_f64(double *row, const double *x, const double *rows, size_t ld, size_t n_rows,
                                    size_t n)
{
    size_t j = 0;
    for (; j + 16 <= n; j += 16) {
        plain_doubles r0 = *(const plain_doubles *)(row + j), r1 = *(const plain_doubles *)(row + j + 8);
        for (size_t t = 0; t < n_rows; t++) {
            r0 -= *(const plain_doubles *)(rows + t * ld + j) * x[t];
            r1 -= *(const plain_doubles *)(rows + t * ld + j + 8) * x[t];
        }
        *(plain_doubles *)(row + j) = r0;
        *(plain_doubles *)(row + j + 8) = r1;
    }
    for (; j < n; j++)
        for (size_t t = 0; t < n_rows; t++)
            row[j] -= rows[t * ld + j] * x[t];
}

static inline size_t plain_filter(const float *values, size_t n, float limit, uint32_t *at)
{
    size_t n_at = 0;
    for (size_t i = 0; i < n; i++) { /* no branch: which pass is a coin toss */
        at[n_at] = (uint32_t)i;
        n_at += values[i] <= limit;
    }
    return n_at;
}

static inline void plain_table_round(const float *tables, const float *lows, size_t n_sub, float scale, float most,
                                     uint8_t *luts)
{
    for (size_t m = 0; m < n_sub; m++) {
        for (size_t j = 0; j < 16; j++) {
            const float x = (tables[m * 16 + j] - lows[m]) * scale + 0.5f;
            luts[m * 16 + j] = (uint8_t)(int)(x < most ? x : most);
        }
    }
}

static inline size_t plain_keys_below(const uint64_t *keys, size_t n, uint64_t limit, uint64_t *to)
{
    size_t n_below = 0;
    for (size_t i = 0; i < n; i++) { /* no branch: which are below is a coin toss */
        const uint64_t key = keys[i];
        to[n_below] = key;
        n_below += key < limit;
    }
    return n_below;
}

static inline float plain_list_values(const float *half_norms, float *values, size_t n)
{
    float least[16]; /* so many, that no comparison waits for the one before */
    size_t i = 0;
    for (size_t j = 0; j < 16; j++)
        least[j] = FLT_MAX;
    for (; i + 16 <= n; i += 16)
        for (size_t j = 0; j < 16; j++) {
            const float value = half_norms[i + j] - values[i + j];
            values[i + j] = value;
            least[j] = value < least[j] ? value : least[j];
        }
    for (size_t j = 0; i < n; i++, j++) {
        values[i] = half_norms[i] - values[i];
        least[j] = values[i] < least[j] ? values[i] : least[j];
    }
    for (size_t j = 1; j < 16; j++)
        least[0] = least[j] < least[0] ? least[j] : least[0];
    return least[0];
}

static inline void plain_list_shares(const float *values, const float *means, size_t n, float norm2, float distance2,
                                     float scale2, const float *tails, uint32_t last, float *out)
{
    const float most = (float)last;
    for (size_t l = 0; l < n; l++) {
        const float mean = means[l], away = norm2 + 2 * values[l], base = away > 0 ? away : 0;
        const float ahead = distance2 - base - mean;
        const float steps = ahead * ahead / (scale2 * (2 * mean * mean + 4 * mean * base)) * 4;
        const float at = steps < most ? steps : most; /* the last also without a variance */
        const int32_t i = (int32_t)at;
        const float tail = tails[i] + (tails[i + 1] - tails[i]) * (at - (float)i);
        out[l] = ahead > 0 ? tail - 1 : -tail;
    }
}

static inline void plain_list_expected(const float *values, const float *shares, const uint32_t *first,
                                       const uint32_t *matches, size_t n, float least_share, float last_value,
                                       uint32_t last_list, float *expected, float *distances,
                                       omen_list_expectation *out)
{
    float n_rows[16] = {0}, taken[16] = {0}, least = INFINITY, most = -INFINITY;
    size_t n_rest = 0;
    for (size_t l = 0; l < n; l++) {
        const float share = -shares[l], value = values[l], passing = share * (float)matches[l];
        const bool is_taken = value < last_value || (value == last_value && l <= last_list);
        if (!(share > least_share))
            continue;
        n_rows[l % 16] += share * (float)(first[l + 1] - first[l]);
        if (is_taken) {
            taken[l % 16] += passing;
        } else if (passing > 0) {
            expected[n_rest] = passing; /* behind no share that is still to be read */
            distances[n_rest++] = value;
            least = value < least ? value : least;
            most = value > most ? value : most;
        }
    }
    *out = (omen_list_expectation){omen_lanes_sum(n_rows), omen_lanes_sum(taken), least, most, n_rest};
}

static inline size_t plain_bit_positions(const uint64_t *words, uint64_t row0, uint64_t row1, uint32_t *positions)
{
    size_t n = 0;
    for (uint64_t w = row0 / 64; w * 64 < row1; w++) {
        uint64_t word = words[w];
        if (w == row0 / 64)
            word &= UINT64_MAX << row0 % 64;
        if (row1 - w * 64 < 64)
            word &= UINT64_MAX >> (64 - (row1 - w * 64));
        for (; word; word &= word - 1)
            positions[n++] = (uint32_t)(w * 64 + (uint64_t)__builtin_ctzll(word));
    }
    return n;
}

/* Bits of word bit / 64 that are below bit. */
static inline uint32_t plain_bits_below(const uint64_t *words, uint32_t bit)
{
    return bit % 64 ? (uint32_t)__builtin_popcountll(words[bit / 64] << (64 - bit % 64)) : 0;
}

#define COUNT_WORDS 1024u

static inline void plain_count_bits(const uint64_t *words, const uint32_t *first, size_t n, uint32_t *counts)
{
    /* sums of many words first: a loop over the words of each list would end where no processor foresees it */
    uint32_t sums[COUNT_WORDS + 1] = {0}, before = plain_bits_below(words, first[0]);
    uint64_t w = first[0] / 64;
    for (size_t l = 0; l < n;) {
        const uint64_t left = first[n] / 64 - w, m = left < COUNT_WORDS ? left : COUNT_WORDS;
        for (uint64_t i = 0; i < m; i++)
            sums[i + 1] = sums[i] + (uint32_t)__builtin_popcountll(words[w + i]);
        for (; l < n && first[l + 1] / 64 <= w + m; l++) {
            const uint32_t upto = sums[first[l + 1] / 64 - w] + plain_bits_below(words, first[l + 1]);
            counts[l] = upto - before;
            before = upto;
        }
        w += m;
        sums[0] = sums[m];
    }
}

/* Bytes of 0 and 1 as bits. */
static inline uint64_t plain_pack(const uint8_t hits[64])
{
    uint64_t word = 0;
    for (size_t j = 0; j < 8; j++) {
        uint64_t eight;
        memcpy(&eight, hits + 8 * j, sizeof eight);
        word |= (eight * 0x0102040810204080u >> 56) << 8 * j;
    }
    return word;
}

/* Which of n <= 64 values are low to low + span. */
static inline uint64_t plain_range_word(const uint8_t *values, uint32_t width, size_t n, uint64_t low, uint64_t span)
{
    uint8_t hits[64] = {0};
#define COMPARE(type, load)                                                                                            \
    for (size_t i = 0; i < n; i++) {                                                                                   \
        type x;                                                                                                        \
        load;                                                                                                          \
        hits[i] = (type)(x - (type)low) <= (type)span;                                                                 \
    }
#define LOAD memcpy(&x, values + i * sizeof x, sizeof x)
    if (width == 1)
        COMPARE(uint8_t, LOAD)
    else if (width == 2)
        COMPARE(uint16_t, LOAD)
    else if (width == 3)
        COMPARE(uint32_t, x = values[3 * i] | (uint32_t)values[3 * i + 1] << 8 | (uint32_t)values[3 * i + 2] << 16)
    else if (width == 4)
        COMPARE(uint32_t, LOAD)
    else
        COMPARE(uint64_t, LOAD)
#undef LOAD
#undef COMPARE
    return plain_pack(hits);
}

static inline void plain_range_bits(const uint8_t *values, uint32_t width, size_t n, uint64_t low, uint64_t span,
                                    uint64_t *words)
{
    size_t i = 0;
    for (; i + 64 <= n; i += 64) /* of a length that the compiler knows */
        words[i / 64] |= plain_range_word(values + i * width, width, 64, low, span);
    if (i < n)
        words[i / 64] |= plain_range_word(values + i * width, width, n - i, low, span);
}

static inline size_t plain_take_keys(const int16_t *est, uint32_t mask, float base, float unit, uint32_t row,
                                     uint64_t *keys)
{
    size_t n = 0;
    for (; mask; mask &= mask - 1) {
        const uint32_t lane = (uint32_t)__builtin_ctz(mask);
        keys[n++] = omen_key(base + unit * (float)est[lane], row + lane);
    }
    return n;
}

#endif
