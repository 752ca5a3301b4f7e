/* Kernels in plain C. Each level's file includes them, so that its compiler flags make them that level's vectors; the
 * same operations in the same order make the same bits. */
#ifndef OMEN_KERNELS_PLAIN_H
#define OMEN_KERNELS_PLAIN_H

#include "lib/kernels.h"

static void pq_tables(const float *query, const uint32_t *dims, const uint32_t *sub_first, size_t n_sub,
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

static float table_lows(const float *tables, size_t n_sub, float *lows)
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

#endif
