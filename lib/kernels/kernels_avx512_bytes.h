/* SPDX-License-Identifier: Apache-2.0 */
/* Products of bytes for AVX-512, with VNNI and without, and the tiles that products of floats are made in too; included
 * by kernels_avx512.c. */
#ifndef OMEN_KERNELS_AVX512_BYTES_H
#define OMEN_KERNELS_AVX512_BYTES_H

#include <immintrin.h>
#include <stdbool.h>

#include "lib/kernels/kernels.h"

#define INLINE static inline __attribute__((always_inline))

#define TILE_ROWS 12u /* of a product, in registers */

/* All of m rows in tiles of about the same number of rows, since in small ones each sum waits for itself: for those
 * from i on TILE(n), a case of a switch, says what is done with n of them. */
#define EVEN_TILES(m, TILE)                                                                                            \
    for (size_t i = 0, rows, n_tiles = (m + TILE_ROWS - 1) / TILE_ROWS; i < m; i += rows, n_tiles--) {                 \
        rows = (m - i + n_tiles - 1) / n_tiles;                                                                        \
        switch (rows) {                                                                                                \
            TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6) TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12)         \
        }                                                                                                              \
    }

/* sum + the four products of bytes in each 32-bit lane, x without sign. As assembly, because compilers may use VNNI
 * anywhere in a file where they are allowed it, and the rest of this one runs without. */
INLINE __m512i dot4(const bool vnni, __m512i sum, __m512i x, __m512i b)
{
    if (vnni) {
        __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(b));
        return sum;
    }
    const __m512i low = _mm512_set1_epi16(0xff);
    sum = _mm512_add_epi32(sum,
                           _mm512_madd_epi16(_mm512_and_si512(x, low), _mm512_srai_epi16(_mm512_slli_epi16(b, 8), 8)));
    return _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_srli_epi16(x, 8), _mm512_srai_epi16(b, 8)));
}

INLINE void tile_u8(const bool vnni, const size_t rows, const size_t n_panels, const uint8_t *a, size_t lda,
                    const int8_t *panel, size_t panel_stride, size_t n_k, const int32_t *row_terms,
                    const int32_t *column_terms, float *c, size_t ldc)
{
    __m512i sum[TILE_ROWS][2];
    for (size_t i = 0; i < rows; i++)
        sum[i][0] = sum[i][1] = _mm512_setzero_si512();
    for (size_t k = 0; k < n_k; k += 4) {
        const __m512i b0 = _mm512_loadu_si512(panel + k * OMEN_PANEL);
        const __m512i b1 = n_panels > 1 ? _mm512_loadu_si512(panel + panel_stride + k * OMEN_PANEL) : b0;
#pragma GCC unroll 12
        for (size_t i = 0; i < rows; i++) {
            int32_t four;
            memcpy(&four, a + i * lda + k, 4);
            const __m512i x = _mm512_set1_epi32(four);
            sum[i][0] = dot4(vnni, sum[i][0], x, b0);
            if (n_panels > 1)
                sum[i][1] = dot4(vnni, sum[i][1], x, b1);
        }
    }
    for (size_t i = 0; i < rows; i++) {
        for (size_t p = 0; p < n_panels; p++) {
            const __m512i twice = _mm512_sub_epi32(_mm512_slli_epi32(sum[i][p], 1), _mm512_set1_epi32(row_terms[i]));
            const __m512i whole = _mm512_sub_epi32(twice, _mm512_loadu_si512(column_terms + p * OMEN_PANEL));
            _mm512_storeu_ps(c + i * ldc + p * OMEN_PANEL, _mm512_cvtepi32_ps(whole));
        }
    }
}

/* One row and many panels, since each sum waits for the one before it. */
INLINE void one_row_u8(const bool vnni, const size_t n_panels, const uint8_t *a, const int8_t *panel, size_t n_k,
                       int32_t row_term, const int32_t *column_terms, float *c)
{
    __m512i sum[8];
    for (size_t p = 0; p < n_panels; p++)
        sum[p] = _mm512_setzero_si512();
    for (size_t k = 0; k < n_k; k += 4) {
        int32_t four;
        memcpy(&four, a + k, 4);
        const __m512i x = _mm512_set1_epi32(four);
#pragma GCC unroll 8
        for (size_t p = 0; p < n_panels; p++)
            sum[p] = dot4(vnni, sum[p], x, _mm512_loadu_si512(panel + (p * n_k + k) * OMEN_PANEL));
    }
    for (size_t p = 0; p < n_panels; p++) {
        const __m512i twice = _mm512_sub_epi32(_mm512_slli_epi32(sum[p], 1), _mm512_set1_epi32(row_term));
        const __m512i whole = _mm512_sub_epi32(twice, _mm512_loadu_si512(column_terms + p * OMEN_PANEL));
        _mm512_storeu_ps(c + p * OMEN_PANEL, _mm512_cvtepi32_ps(whole));
    }
}

INLINE void stripe_u8(const bool vnni, const size_t n_panels, const uint8_t *a, size_t lda, size_t m,
                      const int8_t *panel, size_t n_k, const int32_t *row_terms, const int32_t *column_terms, float *c,
                      size_t ldc)
{
#define TILE(n)                                                                                                        \
    case n:                                                                                                            \
        tile_u8(vnni, n, n_panels, a + i * lda, lda, panel, n_k * OMEN_PANEL, n_k, row_terms + i, column_terms,        \
                c + i * ldc, ldc);                                                                                     \
        break;
    EVEN_TILES(m, TILE)
#undef TILE
}

INLINE void stripes_u8(const bool vnni, const uint8_t *a, size_t lda, size_t m, const int8_t *panels, size_t n_panels,
                       size_t n_k, const int32_t *row_terms, const int32_t *column_terms, float *c, size_t ldc)
{
    const size_t stride = n_k * OMEN_PANEL;
    size_t p = 0;
    for (; m == 1 && p + 8 <= n_panels; p += 8)
        one_row_u8(vnni, 8, a, panels + p * stride, n_k, row_terms[0], column_terms + p * OMEN_PANEL,
                   c + p * OMEN_PANEL);
    for (; m == 1 && p + 4 <= n_panels; p += 4)
        one_row_u8(vnni, 4, a, panels + p * stride, n_k, row_terms[0], column_terms + p * OMEN_PANEL,
                   c + p * OMEN_PANEL);
    for (; p + 2 <= n_panels; p += 2)
        stripe_u8(vnni, 2, a, lda, m, panels + p * stride, n_k, row_terms, column_terms + p * OMEN_PANEL,
                  c + p * OMEN_PANEL, ldc);
    if (p < n_panels)
        stripe_u8(vnni, 1, a, lda, m, panels + p * stride, n_k, row_terms, column_terms + p * OMEN_PANEL,
                  c + p * OMEN_PANEL, ldc);
}

/* Four rows at a time; of the last ones, some more than once. */
INLINE void dots_of_rows(const bool vnni, const uint8_t *rows, const uint32_t *at, size_t n, const int8_t *b,
                         size_t n_k, int32_t *out)
{
    for (size_t i = 0; i < n; i += 4) {
        const uint8_t *row[4];
        __m512i sum[4];
        for (size_t r = 0; r < 4; r++) {
            row[r] = rows + at[i + r < n ? i + r : n - 1] * n_k;
            sum[r] = _mm512_setzero_si512();
        }
        for (size_t k = 0; k < n_k; k += 64) {
            const __mmask64 in = n_k - k >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << (n_k - k)) - 1;
            const __m512i y = _mm512_maskz_loadu_epi8(in, b + k);
#pragma GCC unroll 4
            for (size_t r = 0; r < 4; r++)
                sum[r] = dot4(vnni, sum[r], _mm512_maskz_loadu_epi8(in, row[r] + k), y);
        }
        const __m512i s01 =
            _mm512_add_epi32(_mm512_unpacklo_epi32(sum[0], sum[1]), _mm512_unpackhi_epi32(sum[0], sum[1]));
        const __m512i s23 =
            _mm512_add_epi32(_mm512_unpacklo_epi32(sum[2], sum[3]), _mm512_unpackhi_epi32(sum[2], sum[3]));
        const __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(s01, s23), _mm512_unpackhi_epi64(s01, s23));
        const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
        const __m128i four = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
        _mm_mask_storeu_epi32(out + i, (__mmask8)(n - i >= 4 ? 15 : (1u << (n - i)) - 1), four);
    }
}

static void dots_u8(const uint8_t *rows, const uint32_t *at, size_t n, const int8_t *b, size_t n_k, int32_t *out)
{
    dots_of_rows(false, rows, at, n, b, n_k, out);
}

static void dots_u8_vnni(const uint8_t *rows, const uint32_t *at, size_t n, const int8_t *b, size_t n_k, int32_t *out)
{
    dots_of_rows(true, rows, at, n, b, n_k, out);
}

static void matmul_u8(const uint8_t *a, size_t lda, size_t m, const int8_t *panels, size_t n_panels, size_t n_k,
                      const int32_t *row_terms, const int32_t *column_terms, float *c, size_t ldc)
{
    stripes_u8(false, a, lda, m, panels, n_panels, n_k, row_terms, column_terms, c, ldc);
}

static void matmul_u8_vnni(const uint8_t *a, size_t lda, size_t m, const int8_t *panels, size_t n_panels, size_t n_k,
                           const int32_t *row_terms, const int32_t *column_terms, float *c, size_t ldc)
{
    stripes_u8(true, a, lda, m, panels, n_panels, n_k, row_terms, column_terms, c, ldc);
}

#endif
