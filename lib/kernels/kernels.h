/* SPDX-License-Identifier: Apache-2.0 */
/* The hot kernels, one function table per SIMD level.
 *
 * Every level gives the same bits as the scalar reference:
 *   - matmul: each output is one chain of fused multiply-adds over k = 0..n-1, started from 0;
 *   - distances: element i goes to lane i % 16, each lane is one chain of fused multiply-adds, and the lanes are summed
 *     by one tree (halves: 8, 4, 2, 1);
 *   - products in float64 are rounded before they are added: plain C, which the compiler vectorises with each level's
 *     flags;
 *   - scans and products of bytes are integer arithmetic.
 */
#ifndef OMEN_KERNELS_H
#define OMEN_KERNELS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define OMEN_PANEL      16u /* columns of a packed matrix panel */
#define OMEN_LANES      16u /* lanes of a distance, rows of an encode group */
#define OMEN_SCAN_BLOCK 32u /* codes of a scan block */
#define OMEN_SQ_HEADER  8u  /* bytes before the codes of an sq8, sq12 or sq16 row: float lo, float step */

#define OMEN_SCANS 4u /* most queries of one scan */

/* One query's part in the scan of a list; see search.c for how the integers are derived. */
typedef struct omen_scan {
    const uint8_t *luts;
    int16_t *est;
    uint32_t *masks;
    uint16_t f_scale; /* est += (f << 8) * f_scale >> 16, which must stay below 32768 */
    uint16_t g_scale; /* rabitq: G = g_base + ((g << 8) * g_scale >> 16) */
    int16_t g_base;
    int16_t middle; /* rabitq: est += ((sum - middle) << shift) * G >> 15, rounded */
    uint16_t shift;
    int16_t threshold; /* lanes with est <= threshold are reported */
} omen_scan;

/* Rows that are expected within a distance: all of all lists, and those that a filter lets pass of the lists taken;
 * then the n other lists of which any are expected, how far the nearest and the farthest of them are. Sums are those of
 * 16 lanes, list l of the (l % 16)-th, added up by omen_lanes_sum(). */
typedef struct omen_list_expectation {
    float n_rows, taken;
    float least, most; /* INFINITY and -INFINITY without any */
    size_t n;          /* whose matches are in expected, and whose values in distances */
} omen_list_expectation;

typedef struct omen_kernels {
    const char *name;

    /* c[i * ldc + j] = sum over k of a[i * lda + k] * panels[j / 16][k][j % 16], for i < m, j < 16 * n_panels */
    void (*matmul)(const float *a, size_t lda, size_t m, const float *panels, size_t n_panels, size_t n_k, float *c,
                   size_t ldc);

    /* The same of bytes, n_k a multiple of 4: c[i * ldc + j] = the float nearest to 2 s - row_terms[i] -
     * column_terms[j], all in 32 bits, with s the sum over k of a[i * lda + k] * panels[j / 16][k / 4][j % 16][k % 4].
     */
    void (*matmul_u8)(const uint8_t *a, size_t lda, size_t m, const int8_t *panels, size_t n_panels, size_t n_k,
                      const int32_t *row_terms, const int32_t *column_terms, float *c, size_t ldc);

    /* out[i] = the sum over k of rows[at[i] * n_k + k] * b[k], for i < n; n_k a multiple of 4. */
    void (*dots_u8)(const uint8_t *rows, const uint32_t *at, size_t n, const int8_t *b, size_t n_k, int32_t *out);

    /* Rounds the n differences x[i] - from[i] to whole numbers of 16 bits: 256 (high[i] - 128) + low[i] - 128, times
     * the unit returned, is nearest to each. The unit is 0, and all numbers are, where none is farther from 0 than
     * 1e-30. */
    float (*split16)(const float *x, const float *from, size_t n, uint8_t *high, uint8_t *low);

    /* Smallest half_norm[j] - dots[j] over j < n (n >= 1), the lowest j among equals. */
    void (*argmin)(const float *dots, const float *half_norm, size_t n, float *value, uint32_t *index);

    /* Bit j of masks[p] is set when dots[16 p + j] - half_norm >= floors[16 p + j], for p < n_panels. */
    void (*reach)(const float *dots, float half_norm, const float *floors, size_t n_panels, uint16_t *masks);

    /* Writes to at, ascending, the indices i with values[i] <= limit, and returns how many; at has room for n + 16. */
    size_t (*filter)(const float *values, size_t n, float limit, uint32_t *at);

    /* Nearest of 16 codewords for 16 rows at once. residual is [n_dims][16 rows], codewords [n_dims][16 codewords],
     * half_norm their half squared norms; codes gets 16 bytes, the lowest code among equals. */
    void (*encode16)(const float *residual, const float *codewords, const float *half_norm, size_t n_dims,
                     uint8_t *codes);

    /* Stores a row of d >= 1 values as sq8, sq12 or sq16: float lo, float step, and integers u of so many bits with lo
     * + u * step nearest to each value; docs/FORMAT.md says how they are packed. step is 1 where that is exact. */
    void (*sq8_encode)(const float *row, size_t d, uint8_t *out);
    void (*sq12_encode)(const float *row, size_t d, uint8_t *out);
    void (*sq16_encode)(const float *row, size_t d, uint8_t *out);

    /* Bit j % 8 of code[j / 8] is set when z[j] >= 0, for j < d, a multiple of 8; returns the sum of |z[j]|. */
    float (*signs)(const float *z, size_t d, uint8_t *code);

    /* Query tables of pq: tables[16 m + j] = sum over a of -2 query[dims[a]] codewords[a][j], for sub_first[m] <= a <
     * sub_first[m + 1] and m < n_sub. */
    void (*pq_tables)(const float *query, const uint32_t *dims, const uint32_t *sub_first, size_t n_sub,
                      const float *codewords, float *tables);

    /* Smallest value of each of n_sub tables of 16; returns the widest span of one. */
    float (*table_lows)(const float *tables, size_t n_sub, float *lows);

    /* luts[16 m + j] = the whole part of (tables[16 m + j] - lows[m]) * scale + 0.5, or most if that is less. */
    void (*table_round)(const float *tables, const float *lows, size_t n_sub, float scale, float most, uint8_t *luts);

    /* Sum of a[i] b[i]: element i goes to lane i % 16, each lane is one chain of products added, and the lanes are
     * summed by the tree. */
    double (*dot_f64)(const double *a, const double *b, size_t n);

    /* row[j] -= x[t] * rows[t * ld + j], for t = 0..n_rows-1 in order, for j < n. */
    void (*reduce_f64)(double *row, const double *x, const double *rows, size_t ld, size_t n_rows, size_t n);

    /* Squared distance and inner product of a query with a stored row of d values (the row may be unaligned). */
    float (*l2_f32)(const float *query, const void *row, size_t d);
    float (*l2_f16)(const float *query, const void *row, size_t d);
    float (*l2_sq8)(const float *query, const void *row, size_t d);
    float (*l2_sq12)(const float *query, const void *row, size_t d);
    float (*l2_sq16)(const float *query, const void *row, size_t d);
    float (*ip_f32)(const float *query, const void *row, size_t d);
    float (*ip_f16)(const float *query, const void *row, size_t d);
    float (*ip_sq8)(const float *query, const void *row, size_t d);
    float (*ip_sq12)(const float *query, const void *row, size_t d);
    float (*ip_sq16)(const float *query, const void *row, size_t d);

    /* Scans n_blocks blocks for n_scans <= OMEN_SCANS queries at once, which share the work of unpacking codes. Query i
     * has the tables scans[i].luts[2 * n_pairs][16] (values <= 63) and its own parameters; n_pairs and block_bytes
     * are shared. scans[i].masks[b] has bit j set when est <= threshold for code j; scans[i].est[32 b + j] is written
     * for the blocks whose mask is not 0. */
    void (*scan_plain)(const uint8_t *blocks, size_t n_blocks, size_t n_pairs, size_t block_bytes,
                       const omen_scan *scans, size_t n_scans);
    void (*scan_gain)(const uint8_t *blocks, size_t n_blocks, size_t n_pairs, size_t block_bytes,
                      const omen_scan *scans, size_t n_scans);

    /* counts[l] = how many of the bits first[l] .. first[l + 1] - 1 of words are set, for l < n; first never falls, and
     * no word behind the one of the last bit is read. */
    void (*count_bits)(const uint64_t *words, const uint32_t *first, size_t n, uint32_t *counts);

    /* out[l] = -share, for l < n: the share of a list's rows that is expected within distance2, if their squared
     * distances are normal with mean base + means[l] and variance scale2 (2 means[l]^2 + 4 means[l] base), where base =
     * norm2 + 2 values[l], 0 at least. tails[i], i <= last + 1, is the share that is sqrt(i / 4) deviations or more
     * below the mean; from last on it is 0. */
    void (*list_shares)(const float *values, const float *means, size_t n, float norm2, float distance2, float scale2,
                        const float *tails, uint32_t last, float *out);

    /* What may be found in the lists behind the last taken, key (last_value, last_list): see omen_list_expectation.
     * shares are those of list_shares; lists of which no more than least_share is expected are left out. expected and
     * distances have room for n, and expected may be shares. */
    void (*list_expected)(const float *values, const float *shares, const uint32_t *first, const uint32_t *matches,
                          size_t n, float least_share, float last_value, uint32_t last_list, float *expected,
                          float *distances, omen_list_expectation *out);

    /* Writes the positions of the bits row0 .. row1 - 1 of words that are set, rising, and returns how many they are;
     * positions has room for 16 more. row0 < row1. */
    size_t (*bit_positions)(const uint64_t *words, uint64_t row0, uint64_t row1, uint32_t *positions);

    /* Sets bit i of words where value i, an unsigned integer of width 1, 2, 3, 4 or 8 bytes at values + i * width, is
     * low to low + span, which has that width, and leaves the others as they are, for i < n. */
    void (*range_bits)(const uint8_t *values, uint32_t width, size_t n, uint64_t low, uint64_t span, uint64_t *words);

    /* Estimates of graph codes (graph.h): out[i] = base - unit * s for row i of n, whose code is the 64 bytes at codes
     * + 64 * rows[i]. base is the float at byte 60 of the code; s, in 32 bits, sums 256 weights[0][j] + weights[2][j]
     * times the low four bits of byte j, and 256 weights[1][j] + weights[3][j] times the high ones, j < 60. The weights
     * of j = 60 .. 63 are 0. */
    void (*graph_estimates)(const uint8_t *codes, const uint32_t *rows, size_t n, const int8_t weights[4][64],
                            float unit, float *out);

    /* XXH3-64 of n bytes with seed 0: the code of the xxHash library, compiled for each level. */
    uint64_t (*xxh3)(const void *data, size_t n);

    /* Copies the keys below limit, in order, to the front of to, and returns how many. to has room for n; it may be
     * keys itself. */
    size_t (*keys_below)(const uint64_t *keys, size_t n, uint64_t limit, uint64_t *to);

    /* values[i] becomes half_norms[i] - values[i]. Returns the smallest, FLT_MAX at most. */
    float (*list_values)(const float *half_norms, float *values, size_t n);

    /* Keys of the lanes in mask: appends omen_key(base + unit * est[j], row + j) to keys for each bit j that is set, in
     * order, and returns how many; keys has room for 32 whatever the mask. */
    size_t (*take_keys)(const int16_t *est, uint32_t mask, float base, float unit, uint32_t row, uint64_t *keys);
} omen_kernels;

/* The table in use, chosen by omen_cpu_select(). */
const omen_kernels *omen_kernels_get(void);

extern const omen_kernels omen_kernels_scalar, omen_kernels_avx2, omen_kernels_avx512, omen_kernels_avx512vnni,
    omen_kernels_neon;

/* A distance and a number in one integer that sorts by distance, then by number. */
static inline uint64_t omen_key(float distance, uint32_t id)
{
    uint32_t u;
    memcpy(&u, &distance, 4);
    u = u >> 31 ? ~u : u | 0x80000000u;
    return (uint64_t)u << 32 | id;
}

/* Sums the lanes by halves: the only order in which lanes are ever summed. */
static inline float omen_lanes_sum(float s[OMEN_LANES])
{
    for (size_t half = OMEN_LANES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            s[i] += s[i + half];
    return s[0];
}

/* The 12 bits of value i of an sq12 row of d. */
static inline uint32_t omen_sq12_code(const void *row, size_t d, size_t i)
{
    const uint8_t *codes = (const uint8_t *)row + OMEN_SQ_HEADER;
    return (uint32_t)codes[i] << 4 | (codes[d + i / 2] >> i % 2 * 4 & 15u);
}

static inline uint32_t omen_sq16_code(const void *row, size_t i)
{
    uint16_t u;
    memcpy(&u, (const uint8_t *)row + OMEN_SQ_HEADER + 2 * i, sizeof u);
    return u;
}

static inline float omen_half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, mantissa = h & 0x3ff, bits;
    if (exponent == 0) {
        float f = (float)mantissa * 0x1p-24f;
        memcpy(&bits, &f, 4);
        bits |= sign;
    } else if (exponent == 31) {
        bits = sign | 0x7f800000 | mantissa << 13;
    } else {
        bits = sign | (exponent + 112) << 23 | mantissa << 13;
    }
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

#endif
