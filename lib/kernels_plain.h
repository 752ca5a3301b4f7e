/* Kernels in plain C. Each level's file includes them, so that its compiler flags make them that level's vectors; the
 * same operations in the same order make the same bits. */
#ifndef OMEN_KERNELS_PLAIN_H
#define OMEN_KERNELS_PLAIN_H

#include "lib/kernels.h"

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
        /* by halves: one value after the other would wait for each comparison */
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
