/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels for AVX2 with FMA and F16C. */
#include <immintrin.h>
#include <stdbool.h>

#include "lib/kernels/kernels_plain.h"

#define INLINE static inline __attribute__((always_inline))

/* rows x 16 outputs in 2 * rows registers. */
INLINE void tile(const size_t rows, const float *a, size_t lda, const float *panel, size_t n_k, float *c, size_t ldc)
{
    __m256 lo[6], hi[6];
    for (size_t i = 0; i < rows; i++)
        lo[i] = hi[i] = _mm256_setzero_ps();
    for (size_t k = 0; k < n_k; k++) {
        __m256 b0 = _mm256_loadu_ps(panel + k * OMEN_PANEL), b1 = _mm256_loadu_ps(panel + k * OMEN_PANEL + 8);
#pragma GCC unroll 6
        for (size_t i = 0; i < rows; i++) {
            __m256 x = _mm256_broadcast_ss(a + i * lda + k);
            lo[i] = _mm256_fmadd_ps(x, b0, lo[i]);
            hi[i] = _mm256_fmadd_ps(x, b1, hi[i]);
        }
    }
    for (size_t i = 0; i < rows; i++) {
        _mm256_storeu_ps(c + i * ldc, lo[i]);
        _mm256_storeu_ps(c + i * ldc + 8, hi[i]);
    }
}

/* One row and four panels, since each sum waits for the one before it. */
static void one_row(const float *a, const float *panel, size_t n_k, float *c)
{
    __m256 sum[4][2];
    for (size_t p = 0; p < 4; p++)
        sum[p][0] = sum[p][1] = _mm256_setzero_ps();
    for (size_t k = 0; k < n_k; k++) {
        const __m256 x = _mm256_broadcast_ss(a + k);
#pragma GCC unroll 4
        for (size_t p = 0; p < 4; p++) {
            const float *b = panel + (p * n_k + k) * OMEN_PANEL;
            sum[p][0] = _mm256_fmadd_ps(x, _mm256_loadu_ps(b), sum[p][0]);
            sum[p][1] = _mm256_fmadd_ps(x, _mm256_loadu_ps(b + 8), sum[p][1]);
        }
    }
    for (size_t p = 0; p < 4; p++) {
        _mm256_storeu_ps(c + p * OMEN_PANEL, sum[p][0]);
        _mm256_storeu_ps(c + p * OMEN_PANEL + 8, sum[p][1]);
    }
}

static void matmul(const float *a, size_t lda, size_t m, const float *panels, size_t n_panels, size_t n_k, float *c,
                   size_t ldc)
{
    size_t p = 0;
    for (; m == 1 && p + 4 <= n_panels; p += 4)
        one_row(a, panels + p * n_k * OMEN_PANEL, n_k, c + p * OMEN_PANEL);
    for (; p < n_panels; p++) {
        const float *panel = panels + p * n_k * OMEN_PANEL;
        float *out = c + p * OMEN_PANEL;
        size_t i = 0;
        for (; i + 6 <= m; i += 6)
            tile(6, a + i * lda, lda, panel, n_k, out + i * ldc, ldc);
        if (m - i >= 4) {
            tile(4, a + i * lda, lda, panel, n_k, out + i * ldc, ldc);
            i += 4;
        }
        if (m - i >= 2) {
            tile(2, a + i * lda, lda, panel, n_k, out + i * ldc, ldc);
            i += 2;
        }
        if (m - i >= 1)
            tile(1, a + i * lda, lda, panel, n_k, out + i * ldc, ldc);
    }
}

/* rows x 16 outputs; odd and even bytes apart, which 16 bits hold with their signs. */
INLINE void tile_u8(const size_t rows, const uint8_t *a, size_t lda, const int8_t *panel, size_t n_k,
                    const int32_t *row_terms, const int32_t *column_terms, float *c, size_t ldc)
{
    const __m256i low = _mm256_set1_epi16(0xff);
    __m256i sum[4][2];
    for (size_t i = 0; i < rows; i++)
        sum[i][0] = sum[i][1] = _mm256_setzero_si256();
    for (size_t k = 0; k < n_k; k += 4) {
        const __m256i b0 = _mm256_loadu_si256((const __m256i *)(panel + k * OMEN_PANEL));
        const __m256i b1 = _mm256_loadu_si256((const __m256i *)(panel + k * OMEN_PANEL + 32));
        const __m256i even0 = _mm256_srai_epi16(_mm256_slli_epi16(b0, 8), 8), odd0 = _mm256_srai_epi16(b0, 8);
        const __m256i even1 = _mm256_srai_epi16(_mm256_slli_epi16(b1, 8), 8), odd1 = _mm256_srai_epi16(b1, 8);
#pragma GCC unroll 4
        for (size_t i = 0; i < rows; i++) {
            int32_t four;
            memcpy(&four, a + i * lda + k, 4);
            const __m256i x = _mm256_set1_epi32(four);
            const __m256i even = _mm256_and_si256(x, low), odd = _mm256_srli_epi16(x, 8);
            sum[i][0] = _mm256_add_epi32(sum[i][0], _mm256_madd_epi16(even, even0));
            sum[i][1] = _mm256_add_epi32(sum[i][1], _mm256_madd_epi16(even, even1));
            sum[i][0] = _mm256_add_epi32(sum[i][0], _mm256_madd_epi16(odd, odd0));
            sum[i][1] = _mm256_add_epi32(sum[i][1], _mm256_madd_epi16(odd, odd1));
        }
    }
    for (size_t i = 0; i < rows; i++) {
        for (size_t half = 0; half < 2; half++) {
            const __m256i column = _mm256_loadu_si256((const __m256i *)(column_terms + 8 * half));
            const __m256i twice = _mm256_sub_epi32(_mm256_slli_epi32(sum[i][half], 1), _mm256_set1_epi32(row_terms[i]));
            _mm256_storeu_ps(c + i * ldc + 8 * half, _mm256_cvtepi32_ps(_mm256_sub_epi32(twice, column)));
        }
    }
}

static void matmul_u8(const uint8_t *a, size_t lda, size_t m, const int8_t *panels, size_t n_panels, size_t n_k,
                      const int32_t *row_terms, const int32_t *column_terms, float *c, size_t ldc)
{
    for (size_t p = 0; p < n_panels; p++) {
        const int8_t *panel = panels + p * n_k * OMEN_PANEL;
        const int32_t *columns = column_terms + p * OMEN_PANEL;
        float *out = c + p * OMEN_PANEL;
        size_t i = 0;
        for (; i + 4 <= m; i += 4)
            tile_u8(4, a + i * lda, lda, panel, n_k, row_terms + i, columns, out + i * ldc, ldc);
        for (; i < m; i++)
            tile_u8(1, a + i * lda, lda, panel, n_k, row_terms + i, columns, out + i * ldc, ldc);
    }
}

static void dots_u8(const uint8_t *rows, const uint32_t *at, size_t n, const int8_t *b, size_t n_k, int32_t *out)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = rows + at[i] * n_k;
        __m256i sum = _mm256_setzero_si256();
        size_t k = 0;
        for (; k + 16 <= n_k; k += 16) {
            const __m256i x = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(row + k)));
            const __m256i y = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(b + k)));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(x, y));
        }
        __m128i four = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
        for (; k < n_k; k += 4) {
            int32_t x, y;
            memcpy(&x, row + k, 4);
            memcpy(&y, b + k, 4);
            four = _mm_add_epi32(
                four, _mm_madd_epi16(_mm_cvtepu8_epi16(_mm_cvtsi32_si128(x)), _mm_cvtepi8_epi16(_mm_cvtsi32_si128(y))));
        }
        four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
        four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1));
        out[i] = _mm_cvtsi128_si32(four);
    }
}

static void argmin(const float *dots, const float *half_norm, size_t n, float *value, uint32_t *index)
{
    float best = half_norm[0] - dots[0];
    uint32_t at = 0;
    size_t j = 0;
    if (n >= 8) {
        __m256 low = _mm256_set1_ps(INFINITY);
        __m256i low_at = _mm256_setzero_si256(), now = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        for (; j + 8 <= n; j += 8) {
            __m256 v = _mm256_sub_ps(_mm256_loadu_ps(half_norm + j), _mm256_loadu_ps(dots + j));
            __m256 less = _mm256_cmp_ps(v, low, _CMP_LT_OQ);
            low = _mm256_blendv_ps(low, v, less);
            low_at = _mm256_blendv_epi8(low_at, now, _mm256_castps_si256(less));
            now = _mm256_add_epi32(now, _mm256_set1_epi32(8));
        }
        float values[8];
        uint32_t indexes[8];
        _mm256_storeu_ps(values, low);
        _mm256_storeu_si256((__m256i *)indexes, low_at);
        best = values[0];
        at = indexes[0];
        for (size_t i = 1; i < 8; i++) {
            if (values[i] < best || (values[i] == best && indexes[i] < at)) {
                best = values[i];
                at = indexes[i];
            }
        }
    }
    for (; j < n; j++) {
        float v = half_norm[j] - dots[j];
        if (v < best) {
            best = v;
            at = (uint32_t)j;
        }
    }
    *value = best;
    *index = at;
}

static void reach(const float *dots, float half_norm, const float *floors, size_t n_panels, uint16_t *masks)
{
    const __m256 half = _mm256_set1_ps(half_norm);
    for (size_t p = 0; p < n_panels; p++) {
        uint32_t mask[2];
        for (size_t i = 0; i < 2; i++) {
            const size_t at = p * OMEN_PANEL + 8 * i;
            const __m256 v = _mm256_sub_ps(_mm256_loadu_ps(dots + at), half);
            mask[i] = (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(v, _mm256_loadu_ps(floors + at), _CMP_GE_OQ));
        }
        masks[p] = (uint16_t)(mask[0] | mask[1] << 8);
    }
}

static size_t filter(const float *values, size_t n, float limit, uint32_t *at)
{
    const __m256 most = _mm256_set1_ps(limit);
    size_t n_at = 0, i = 0;
    for (; i + 32 <= n; i += 32) { /* few pass */
        uint32_t mask = 0;
        for (size_t v = 0; v < 4; v++) {
            const __m256 in = _mm256_cmp_ps(_mm256_loadu_ps(values + i + 8 * v), most, _CMP_LE_OQ);
            mask |= (uint32_t)_mm256_movemask_ps(in) << 8 * v;
        }
        for (; mask; mask &= mask - 1)
            at[n_at++] = (uint32_t)i + (uint32_t)__builtin_ctz(mask);
    }
    for (; i < n; i++) {
        at[n_at] = (uint32_t)i;
        n_at += values[i] <= limit;
    }
    return n_at;
}

static size_t keys_below(const uint64_t *keys, size_t n, uint64_t limit, uint64_t *to)
{
    /* by mask of the lanes that are below: their halves, brought to the front */
    static const uint32_t front[16][8] __attribute__((aligned(32))) = {
        {0, 1, 2, 3, 4, 5, 6, 7}, {0, 1, 2, 3, 4, 5, 6, 7}, {2, 3, 0, 1, 4, 5, 6, 7}, {0, 1, 2, 3, 4, 5, 6, 7},
        {4, 5, 0, 1, 2, 3, 6, 7}, {0, 1, 4, 5, 2, 3, 6, 7}, {2, 3, 4, 5, 0, 1, 6, 7}, {0, 1, 2, 3, 4, 5, 6, 7},
        {6, 7, 0, 1, 2, 3, 4, 5}, {0, 1, 6, 7, 2, 3, 4, 5}, {2, 3, 6, 7, 0, 1, 4, 5}, {0, 1, 2, 3, 6, 7, 4, 5},
        {4, 5, 6, 7, 0, 1, 2, 3}, {0, 1, 4, 5, 6, 7, 2, 3}, {2, 3, 4, 5, 6, 7, 0, 1}, {0, 1, 2, 3, 4, 5, 6, 7}};
    const __m256i sign = _mm256_set1_epi64x(INT64_MIN); /* comparisons are of signed numbers */
    const __m256i most = _mm256_xor_si256(_mm256_set1_epi64x((long long)limit), sign);
    size_t n_below = 0, i = 0;
    for (; i + 4 <= n; i += 4) {
        const __m256i key = _mm256_loadu_si256((const __m256i *)(keys + i));
        const __m256i is_below = _mm256_cmpgt_epi64(most, _mm256_xor_si256(key, sign));
        const unsigned mask = (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(is_below));
        const __m256i lanes = _mm256_load_si256((const __m256i *)front[mask]);
        _mm256_storeu_si256((__m256i *)(to + n_below), _mm256_permutevar8x32_epi32(key, lanes));
        n_below += (size_t)__builtin_popcount(mask);
    }
    return n_below + plain_keys_below(keys + i, n - i, limit, to + n_below);
}

static void encode16(const float *residual, const float *codewords, const float *half_norm, size_t n_dims,
                     uint8_t *codes)
{
    __m256 best[2] = {_mm256_set1_ps(INFINITY), _mm256_set1_ps(INFINITY)};
    __m256i at[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (size_t j = 0; j < 16; j++) {
        __m256 v0 = _mm256_broadcast_ss(half_norm + j), v1 = v0;
        for (size_t i = 0; i < n_dims; i++) {
            __m256 c = _mm256_broadcast_ss(codewords + i * 16 + j);
            v0 = _mm256_fnmadd_ps(_mm256_loadu_ps(residual + i * OMEN_LANES), c, v0);
            v1 = _mm256_fnmadd_ps(_mm256_loadu_ps(residual + i * OMEN_LANES + 8), c, v1);
        }
        __m256i now = _mm256_set1_epi32((int)j);
        __m256 less0 = _mm256_cmp_ps(v0, best[0], _CMP_LT_OQ), less1 = _mm256_cmp_ps(v1, best[1], _CMP_LT_OQ);
        best[0] = _mm256_blendv_ps(best[0], v0, less0);
        best[1] = _mm256_blendv_ps(best[1], v1, less1);
        at[0] = _mm256_blendv_epi8(at[0], now, _mm256_castps_si256(less0));
        at[1] = _mm256_blendv_epi8(at[1], now, _mm256_castps_si256(less1));
    }
    __m256i words = _mm256_permute4x64_epi64(_mm256_packus_epi32(at[0], at[1]), 0xd8);
    __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)codes, bytes);
}

typedef struct {
    __m256 lo, step;
    size_t d;
} row_scale;

INLINE row_scale scale_f32(const void *row, size_t d)
{
    return (row_scale){_mm256_setzero_ps(), _mm256_setzero_ps(), d};
}

INLINE __m256 load_f32(const void *row, size_t i, row_scale s)
{
    return _mm256_loadu_ps((const float *)row + i);
}

INLINE float raw_f32(const void *row, size_t i)
{
    float x;
    memcpy(&x, (const char *)row + 4 * i, 4);
    return x;
}

INLINE float load1_f32(const void *row, size_t d, size_t i)
{
    return raw_f32(row, i);
}

#define scale_f16 scale_f32

INLINE __m256 load_f16(const void *row, size_t i, row_scale s)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)((const char *)row + 2 * i)));
}

INLINE float load1_f16(const void *row, size_t d, size_t i)
{
    uint16_t h;
    memcpy(&h, (const char *)row + 2 * i, 2);
    return _cvtsh_ss(h);
}

INLINE row_scale scale_sq8(const void *row, size_t d)
{
    return (row_scale){_mm256_set1_ps(raw_f32(row, 0)), _mm256_set1_ps(raw_f32(row, 1)), d};
}

#define scale_sq12 scale_sq8
#define scale_sq16 scale_sq8

INLINE __m256 load_sq8(const void *row, size_t i, row_scale s)
{
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)((const uint8_t *)row + OMEN_SQ_HEADER + i));
    return _mm256_fmadd_ps(s.step, _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)), s.lo);
}

INLINE __m256 load_sq12(const void *row, size_t i, row_scale s)
{
    const uint8_t *codes = (const uint8_t *)row + OMEN_SQ_HEADER;
    int32_t four;
    memcpy(&four, codes + s.d + i / 2, sizeof four);
    const __m128i high = _mm_loadl_epi64((const __m128i *)(codes + i)), pairs = _mm_cvtsi32_si128(four);
    const __m128i nibble = _mm_set1_epi8(15);
    const __m128i low =
        _mm_unpacklo_epi8(_mm_and_si128(pairs, nibble), _mm_and_si128(_mm_srli_epi16(pairs, 4), nibble));
    const __m256i u = _mm256_or_si256(_mm256_slli_epi32(_mm256_cvtepu8_epi32(high), 4), _mm256_cvtepu8_epi32(low));
    return _mm256_fmadd_ps(s.step, _mm256_cvtepi32_ps(u), s.lo);
}

INLINE __m256 load_sq16(const void *row, size_t i, row_scale s)
{
    const __m128i u = _mm_loadu_si128((const __m128i *)((const uint8_t *)row + OMEN_SQ_HEADER + 2 * i));
    return _mm256_fmadd_ps(s.step, _mm256_cvtepi32_ps(_mm256_cvtepu16_epi32(u)), s.lo);
}

INLINE float of_range(const void *row, uint32_t code)
{
    return fmaf(raw_f32(row, 1), (float)code, raw_f32(row, 0));
}

INLINE float load1_sq8(const void *row, size_t d, size_t i)
{
    return of_range(row, ((const uint8_t *)row)[OMEN_SQ_HEADER + i]);
}

INLINE float load1_sq12(const void *row, size_t d, size_t i)
{
    return of_range(row, omen_sq12_code(row, d, i));
}

INLINE float load1_sq16(const void *row, size_t d, size_t i)
{
    return of_range(row, omen_sq16_code(row, i));
}

#define DISTANCES(type)                                                                                                \
    static float l2_##type(const float *query, const void *row, size_t d)                                              \
    {                                                                                                                  \
        __m256 s0 = _mm256_setzero_ps(), s1 = s0;                                                                      \
        const row_scale scale = scale_##type(row, d);                                                                  \
        size_t i = 0;                                                                                                  \
        for (; i + OMEN_LANES <= d; i += OMEN_LANES) {                                                                 \
            __m256 t0 = _mm256_sub_ps(_mm256_loadu_ps(query + i), load_##type(row, i, scale));                         \
            __m256 t1 = _mm256_sub_ps(_mm256_loadu_ps(query + i + 8), load_##type(row, i + 8, scale));                 \
            s0 = _mm256_fmadd_ps(t0, t0, s0);                                                                          \
            s1 = _mm256_fmadd_ps(t1, t1, s1);                                                                          \
        }                                                                                                              \
        float s[OMEN_LANES];                                                                                           \
        _mm256_storeu_ps(s, s0);                                                                                       \
        _mm256_storeu_ps(s + 8, s1);                                                                                   \
        for (size_t lane = 0; i < d; i++, lane++) {                                                                    \
            float t = query[i] - load1_##type(row, d, i);                                                              \
            s[lane] = fmaf(t, t, s[lane]);                                                                             \
        }                                                                                                              \
        return omen_lanes_sum(s);                                                                                      \
    }                                                                                                                  \
    static float ip_##type(const float *query, const void *row, size_t d)                                              \
    {                                                                                                                  \
        __m256 s0 = _mm256_setzero_ps(), s1 = s0;                                                                      \
        const row_scale scale = scale_##type(row, d);                                                                  \
        size_t i = 0;                                                                                                  \
        for (; i + OMEN_LANES <= d; i += OMEN_LANES) {                                                                 \
            s0 = _mm256_fmadd_ps(_mm256_loadu_ps(query + i), load_##type(row, i, scale), s0);                          \
            s1 = _mm256_fmadd_ps(_mm256_loadu_ps(query + i + 8), load_##type(row, i + 8, scale), s1);                  \
        }                                                                                                              \
        float s[OMEN_LANES];                                                                                           \
        _mm256_storeu_ps(s, s0);                                                                                       \
        _mm256_storeu_ps(s + 8, s1);                                                                                   \
        for (size_t lane = 0; i < d; i++, lane++)                                                                      \
            s[lane] = fmaf(query[i], load1_##type(row, d, i), s[lane]);                                                \
        return omen_lanes_sum(s);                                                                                      \
    }

DISTANCES(f32)
DISTANCES(f16)
DISTANCES(sq8)
DISTANCES(sq12)
DISTANCES(sq16)

/* Sums of table values as 16-bit lanes for n queries: even holds codes 0, 2, .. 30, odd codes 1, 3, .. 31. Four values
 * of at most 63 are added as bytes before they are widened; all += v leaves even + 256 * odd in each lane, taken apart
 * at the end. */
INLINE void sum_block(const size_t n, const uint8_t *block, const omen_scan *scans, size_t n_pairs, __m256i *even,
                      __m256i *odd)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i all[2], high[2];
    for (size_t i = 0; i < n; i++)
        all[i] = high[i] = _mm256_setzero_si256();
    for (size_t p = 0; p < n_pairs; p += 2) {
        __m256i v[2];
        for (size_t i = 0; i < n; i++)
            v[i] = _mm256_setzero_si256();
#pragma GCC unroll 2
        for (size_t h = 0; h < 2; h++) {
            if (p + h == n_pairs)
                break;
            __m256i codes = _mm256_loadu_si256((const __m256i *)(block + (p + h) * OMEN_SCAN_BLOCK));
            __m256i low = _mm256_and_si256(codes, nibble), top = _mm256_and_si256(_mm256_srli_epi16(codes, 4), nibble);
#pragma GCC unroll 2
            for (size_t i = 0; i < n; i++) {
                const __m128i *lut = (const __m128i *)(scans[i].luts + (p + h) * 32);
                __m256i lut0 = _mm256_broadcastsi128_si256(_mm_loadu_si128(lut));
                __m256i lut1 = _mm256_broadcastsi128_si256(_mm_loadu_si128(lut + 1));
                __m256i x = _mm256_add_epi8(_mm256_shuffle_epi8(lut0, low), _mm256_shuffle_epi8(lut1, top));
                v[i] = h ? _mm256_add_epi8(v[i], x) : x;
            }
        }
        for (size_t i = 0; i < n; i++) {
            all[i] = _mm256_add_epi16(all[i], v[i]);
            high[i] = _mm256_add_epi16(high[i], _mm256_srli_epi16(v[i], 8));
        }
    }
    for (size_t i = 0; i < n; i++) {
        odd[i] = high[i];
        even[i] = _mm256_sub_epi16(all[i], _mm256_slli_epi16(high[i], 8));
    }
}

INLINE void scale_bytes(const uint8_t *bytes, uint16_t scale, __m256i *even, __m256i *odd)
{
    __m256i v = _mm256_loadu_si256((const __m256i *)bytes), s = _mm256_set1_epi16((short)scale);
    *even = _mm256_mulhi_epu16(_mm256_slli_epi16(v, 8), s);
    *odd = _mm256_mulhi_epu16(_mm256_and_si256(v, _mm256_set1_epi16((short)0xff00)), s);
}

/* Compares, and stores the estimates in code order when any lane passes. */
INLINE uint32_t report(__m256i even, __m256i odd, int16_t threshold, int16_t *est)
{
    const __m256i limit = _mm256_set1_epi16(threshold);
    __m256i far_even = _mm256_cmpgt_epi16(even, limit), far_odd = _mm256_cmpgt_epi16(odd, limit);
    uint32_t far =
        (uint32_t)_mm256_movemask_epi8(_mm256_blendv_epi8(far_even, far_odd, _mm256_set1_epi16((short)0xff00)));
    if (far != UINT32_MAX) {
        __m256i lo = _mm256_unpacklo_epi16(even, odd), hi = _mm256_unpackhi_epi16(even, odd);
        _mm256_storeu_si256((__m256i *)est, _mm256_permute2x128_si256(lo, hi, 0x20));
        _mm256_storeu_si256((__m256i *)(est + 16), _mm256_permute2x128_si256(lo, hi, 0x31));
    }
    return ~far;
}

/* n queries over all blocks; n is a constant where this is inlined. */
INLINE void scan_n(const size_t n, const bool is_rabitq, const uint8_t *blocks, size_t n_blocks, size_t n_pairs,
                   size_t block_bytes, const omen_scan *scans)
{
    for (size_t b = 0; b < n_blocks; b++) {
        const uint8_t *block = blocks + b * block_bytes, *f = block + n_pairs * OMEN_SCAN_BLOCK;
        __m256i even[2], odd[2], f_even, f_odd, g_even, g_odd;
        sum_block(n, block, scans, n_pairs, even, odd);
        for (size_t i = 0; i < n; i++) {
            const omen_scan *s = &scans[i];
            scale_bytes(f, s->f_scale, &f_even, &f_odd);
            if (is_rabitq) {
                const __m256i middle = _mm256_set1_epi16(s->middle), base = _mm256_set1_epi16(s->g_base);
                const __m128i shift = _mm_cvtsi32_si128(s->shift);
                scale_bytes(f + OMEN_SCAN_BLOCK, s->g_scale, &g_even, &g_odd);
                even[i] = _mm256_mulhrs_epi16(_mm256_sll_epi16(_mm256_sub_epi16(even[i], middle), shift),
                                              _mm256_add_epi16(g_even, base));
                odd[i] = _mm256_mulhrs_epi16(_mm256_sll_epi16(_mm256_sub_epi16(odd[i], middle), shift),
                                             _mm256_add_epi16(g_odd, base));
            }
            s->masks[b] = report(_mm256_adds_epi16(even[i], f_even), _mm256_adds_epi16(odd[i], f_odd), s->threshold,
                                 s->est + b * OMEN_SCAN_BLOCK);
        }
    }
}

static void scan_plain(const uint8_t *blocks, size_t n_blocks, size_t n_pairs, size_t block_bytes,
                       const omen_scan *scans, size_t n_scans)
{
    for (; n_scans >= 2; scans += 2, n_scans -= 2)
        scan_n(2, false, blocks, n_blocks, n_pairs, block_bytes, scans);
    if (n_scans)
        scan_n(1, false, blocks, n_blocks, n_pairs, block_bytes, scans);
}

static void scan_gain(const uint8_t *blocks, size_t n_blocks, size_t n_pairs, size_t block_bytes,
                      const omen_scan *scans, size_t n_scans)
{
    for (; n_scans >= 2; scans += 2, n_scans -= 2)
        scan_n(2, true, blocks, n_blocks, n_pairs, block_bytes, scans);
    if (n_scans)
        scan_n(1, true, blocks, n_blocks, n_pairs, block_bytes, scans);
}

static void table_round(const float *tables, const float *lows, size_t n_sub, float scale, float most, uint8_t *luts)
{
    const __m256 scales = _mm256_set1_ps(scale), half = _mm256_set1_ps(0.5f), limit = _mm256_set1_ps(most);
    for (size_t m = 0; m < n_sub; m++) {
        const __m256 low = _mm256_set1_ps(lows[m]);
        __m256i whole[2];
        for (size_t v = 0; v < 2; v++) {
            const __m256 up = _mm256_sub_ps(_mm256_loadu_ps(tables + m * 16 + 8 * v), low);
            whole[v] = _mm256_cvttps_epi32(_mm256_min_ps(_mm256_add_ps(_mm256_mul_ps(up, scales), half), limit));
        }
        /* packing is by halves of a vector */
        const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(whole[0], whole[1]), 0xd8);
        const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128((__m128i *)(luts + m * 16), bytes);
    }
}

/* The sums of one code in eight parts. Products of four bits by a byte, eight of them to a lane, fit 16 bits. */
INLINE __m256i graph_sums(const uint8_t *code, const int8_t weights[4][64])
{
    const __m256i mask = _mm256_set1_epi8(15);
    __m256i high = _mm256_setzero_si256(), low = _mm256_setzero_si256();
#pragma GCC unroll 2
    for (size_t j = 0; j < 64; j += 32) {
        const __m256i bytes = _mm256_loadu_si256((const __m256i *)(code + j));
        const __m256i first = _mm256_and_si256(bytes, mask);
        const __m256i second = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), mask);
#define WEIGHTS(part) _mm256_loadu_si256((const __m256i *)(weights[part] + j))
        high = _mm256_add_epi16(
            high, _mm256_add_epi16(_mm256_maddubs_epi16(first, WEIGHTS(0)), _mm256_maddubs_epi16(second, WEIGHTS(1))));
        low = _mm256_add_epi16(
            low, _mm256_add_epi16(_mm256_maddubs_epi16(first, WEIGHTS(2)), _mm256_maddubs_epi16(second, WEIGHTS(3))));
#undef WEIGHTS
    }
    return _mm256_add_epi32(_mm256_madd_epi16(high, _mm256_set1_epi16(256)),
                            _mm256_madd_epi16(low, _mm256_set1_epi16(1)));
}

static void graph_estimates(const uint8_t *codes, const uint32_t *rows, size_t n, const int8_t weights[4][64],
                            float unit, float *out)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        const uint8_t *c[4];
        __m256i s[4];
        float base[4];
        for (size_t r = 0; r < 4; r++) {
            c[r] = codes + (size_t)rows[i + r] * 64;
            s[r] = graph_sums(c[r], weights);
            memcpy(&base[r], c[r] + 60, sizeof base[r]);
        }
        const __m256i sums = _mm256_hadd_epi32(_mm256_hadd_epi32(s[0], s[1]), _mm256_hadd_epi32(s[2], s[3]));
        const __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
        _mm_storeu_ps(out + i, _mm_sub_ps(_mm_loadu_ps(base), _mm_mul_ps(_mm_set1_ps(unit), _mm_cvtepi32_ps(sum))));
    }
    for (; i < n; i++) {
        const uint8_t *code = codes + (size_t)rows[i] * 64;
        const __m256i s = graph_sums(code, weights);
        __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
        sum = _mm_hadd_epi32(sum, sum);
        sum = _mm_hadd_epi32(sum, sum);
        float base;
        memcpy(&base, code + 60, sizeof base);
        out[i] = base - unit * (float)_mm_cvtsi128_si32(sum);
    }
}

static void list_shares(const float *values, const float *means, size_t n, float norm2, float distance2, float scale2,
                        const float *tails, uint32_t last, float *out)
{
    const __m256 two = _mm256_set1_ps(2), four = _mm256_set1_ps(4), zero = _mm256_setzero_ps();
    const __m256 most = _mm256_set1_ps((float)last);
    size_t l = 0;
    for (; l + 8 <= n; l += 8) { /* as the plain one has it */
        const __m256 mean = _mm256_loadu_ps(means + l);
        const __m256 away = _mm256_add_ps(_mm256_set1_ps(norm2), _mm256_mul_ps(two, _mm256_loadu_ps(values + l)));
        const __m256 base = _mm256_max_ps(away, zero);
        const __m256 ahead = _mm256_sub_ps(_mm256_sub_ps(_mm256_set1_ps(distance2), base), mean);
        const __m256 spread = _mm256_add_ps(_mm256_mul_ps(_mm256_mul_ps(two, mean), mean),
                                            _mm256_mul_ps(_mm256_mul_ps(four, mean), base));
        const __m256 steps = _mm256_mul_ps(
            _mm256_div_ps(_mm256_mul_ps(ahead, ahead), _mm256_mul_ps(_mm256_set1_ps(scale2), spread)), four);
        const __m256 at = _mm256_min_ps(steps, most);
        const __m256i i = _mm256_cvttps_epi32(at);
        const __m256 from = _mm256_i32gather_ps(tails, i, 4), to = _mm256_i32gather_ps(tails + 1, i, 4);
        const __m256 tail =
            _mm256_add_ps(from, _mm256_mul_ps(_mm256_sub_ps(to, from), _mm256_sub_ps(at, _mm256_cvtepi32_ps(i))));
        const __m256 above = _mm256_cmp_ps(ahead, zero, _CMP_GT_OQ);
        _mm256_storeu_ps(out + l, _mm256_blendv_ps(_mm256_xor_ps(tail, _mm256_set1_ps(-0.0f)),
                                                   _mm256_sub_ps(tail, _mm256_set1_ps(1)), above));
    }
    plain_list_shares(values + l, means + l, n - l, norm2, distance2, scale2, tails, last, out + l);
}

const omen_kernels omen_kernels_avx2 = {
    .name = "avx2",
    .matmul = matmul,
    .matmul_u8 = matmul_u8,
    .dots_u8 = dots_u8,
    .argmin = argmin,
    .reach = reach,
    .filter = filter,
    .encode16 = encode16,
    .sq8_encode = plain_sq8_encode,
    .sq12_encode = plain_sq12_encode,
    .sq16_encode = plain_sq16_encode,
    .split16 = plain_split16,
    .signs = plain_signs,
    .pq_tables = plain_pq_tables,
    .table_lows = plain_table_lows,
    .table_round = table_round,
    .take_keys = plain_take_keys,
    .keys_below = keys_below,
    .list_values = plain_list_values,
    .list_shares = list_shares,
    .count_bits = plain_count_bits,
    .list_expected = plain_list_expected,
    .bit_positions = plain_bit_positions,
    .range_bits = plain_range_bits,
    .dot_f64 = plain_dot_f64,
    .xxh3 = plain_xxh3,
    .reduce_f64 = plain_reduce_f64,
    .l2_f32 = l2_f32,
    .l2_f16 = l2_f16,
    .l2_sq8 = l2_sq8,
    .l2_sq12 = l2_sq12,
    .l2_sq16 = l2_sq16,
    .ip_f32 = ip_f32,
    .ip_f16 = ip_f16,
    .ip_sq8 = ip_sq8,
    .ip_sq12 = ip_sq12,
    .ip_sq16 = ip_sq16,
    .scan_plain = scan_plain,
    .scan_gain = scan_gain,
    .graph_estimates = graph_estimates,
};
