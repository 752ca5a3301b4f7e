/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels for AVX-512 (F, BW, VL, DQ), and for AVX-512 with VNNI, which has a faster product of bytes. */
#include <immintrin.h>
#include <stdbool.h>

#include "lib/kernels/kernels_avx512_bytes.h"
#include "lib/kernels/kernels_avx512_lists.h"

/* rows x 16 * n_panels outputs in registers; panels are panel_stride floats apart. */
INLINE void tile(const size_t rows, const size_t n_panels, const float *a, size_t lda, const float *panel,
                 size_t panel_stride, size_t n_k, float *c, size_t ldc)
{
    __m512 sum[TILE_ROWS][2];
    for (size_t i = 0; i < rows; i++)
        sum[i][0] = sum[i][1] = _mm512_setzero_ps();
    for (size_t k = 0; k < n_k; k++) {
        __m512 b0 = _mm512_loadu_ps(panel + k * OMEN_PANEL);
        __m512 b1 = n_panels > 1 ? _mm512_loadu_ps(panel + panel_stride + k * OMEN_PANEL) : b0;
#pragma GCC unroll 12
        for (size_t i = 0; i < rows; i++) {
            __m512 x = _mm512_set1_ps(a[i * lda + k]);
            sum[i][0] = _mm512_fmadd_ps(x, b0, sum[i][0]);
            if (n_panels > 1)
                sum[i][1] = _mm512_fmadd_ps(x, b1, sum[i][1]);
        }
    }
    for (size_t i = 0; i < rows; i++) {
        _mm512_storeu_ps(c + i * ldc, sum[i][0]);
        if (n_panels > 1)
            _mm512_storeu_ps(c + i * ldc + OMEN_PANEL, sum[i][1]);
    }
}

/* All rows by one or two panels. */
INLINE void stripe(const size_t n_panels, const float *a, size_t lda, size_t m, const float *panel, size_t n_k,
                   float *c, size_t ldc)
{
#define TILE(n)                                                                                                        \
    case n:                                                                                                            \
        tile(n, n_panels, a + i * lda, lda, panel, n_k * OMEN_PANEL, n_k, c + i * ldc, ldc);                           \
        break;
    EVEN_TILES(m, TILE)
#undef TILE
}

/* One row: many panels at once, since each sum waits for the one before it. */
INLINE void one_row(const size_t n_panels, const float *a, const float *panel, size_t n_k, float *c)
{
    __m512 sum[8];
    for (size_t p = 0; p < n_panels; p++)
        sum[p] = _mm512_setzero_ps();
    for (size_t k = 0; k < n_k; k++) {
        const __m512 x = _mm512_set1_ps(a[k]);
#pragma GCC unroll 8
        for (size_t p = 0; p < n_panels; p++)
            sum[p] = _mm512_fmadd_ps(x, _mm512_loadu_ps(panel + (p * n_k + k) * OMEN_PANEL), sum[p]);
    }
    for (size_t p = 0; p < n_panels; p++)
        _mm512_storeu_ps(c + p * OMEN_PANEL, sum[p]);
}

static void matmul(const float *a, size_t lda, size_t m, const float *panels, size_t n_panels, size_t n_k, float *c,
                   size_t ldc)
{
    size_t p = 0;
    for (; m == 1 && p + 8 <= n_panels; p += 8)
        one_row(8, a, panels + p * n_k * OMEN_PANEL, n_k, c + p * OMEN_PANEL);
    for (; m == 1 && p + 4 <= n_panels; p += 4)
        one_row(4, a, panels + p * n_k * OMEN_PANEL, n_k, c + p * OMEN_PANEL);
    for (; p + 2 <= n_panels; p += 2)
        stripe(2, a, lda, m, panels + p * n_k * OMEN_PANEL, n_k, c + p * OMEN_PANEL, ldc);
    if (p < n_panels)
        stripe(1, a, lda, m, panels + p * n_k * OMEN_PANEL, n_k, c + p * OMEN_PANEL, ldc);
}

static void argmin(const float *dots, const float *half_norm, size_t n, float *value, uint32_t *index)
{
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512 low = _mm512_set1_ps(INFINITY);
    __m512i low_at = _mm512_setzero_si512(), now = first;
    for (size_t j = 0; j < n; j += 16) {
        __mmask16 in = n - j >= 16 ? 0xffff : (__mmask16)((1u << (n - j)) - 1);
        __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(in, half_norm + j), _mm512_maskz_loadu_ps(in, dots + j));
        __mmask16 less = _mm512_mask_cmp_ps_mask(in, v, low, _CMP_LT_OQ);
        low = _mm512_mask_mov_ps(low, less, v);
        low_at = _mm512_mask_mov_epi32(low_at, less, now);
        now = _mm512_add_epi32(now, _mm512_set1_epi32(16));
    }
    float best = _mm512_reduce_min_ps(low);
    __mmask16 equal = _mm512_cmp_ps_mask(low, _mm512_set1_ps(best), _CMP_EQ_OQ);
    /* the lane's own value, so that a zero keeps its sign */
    uint32_t at = _mm512_mask_reduce_min_epu32(equal, low_at);
    *value = half_norm[at] - dots[at];
    *index = at;
}

static void reach(const float *dots, float half_norm, const float *floors, size_t n_panels, uint16_t *masks)
{
    const __m512 half = _mm512_set1_ps(half_norm);
    for (size_t p = 0; p < n_panels; p++) {
        const __m512 v = _mm512_sub_ps(_mm512_loadu_ps(dots + p * OMEN_PANEL), half);
        masks[p] = (uint16_t)_mm512_cmp_ps_mask(v, _mm512_loadu_ps(floors + p * OMEN_PANEL), _CMP_GE_OQ);
    }
}

static size_t filter(const float *values, size_t n, float limit, uint32_t *at)
{
    const __m512 most = _mm512_set1_ps(limit);
    __m512i now = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    size_t n_at = 0;
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 there = n - i >= 16 ? 0xffff : (__mmask16)((1u << (n - i)) - 1);
        const __mmask16 in = _mm512_mask_cmp_ps_mask(there, _mm512_maskz_loadu_ps(there, values + i), most, _CMP_LE_OQ);
        _mm512_storeu_si512(at + n_at, _mm512_maskz_compress_epi32(in, now));
        n_at += (size_t)__builtin_popcount(in);
        now = _mm512_add_epi32(now, _mm512_set1_epi32(16));
    }
    return n_at;
}

static void encode16(const float *residual, const float *codewords, const float *half_norm, size_t n_dims,
                     uint8_t *codes)
{
    __m512 best = _mm512_set1_ps(INFINITY);
    __m512i at = _mm512_setzero_si512();
    for (size_t j = 0; j < 16; j++) {
        __m512 v = _mm512_set1_ps(half_norm[j]);
        for (size_t i = 0; i < n_dims; i++)
            v = _mm512_fnmadd_ps(_mm512_loadu_ps(residual + i * OMEN_LANES), _mm512_set1_ps(codewords[i * 16 + j]), v);
        __mmask16 less = _mm512_cmp_ps_mask(v, best, _CMP_LT_OQ);
        best = _mm512_mask_mov_ps(best, less, v);
        at = _mm512_mask_mov_epi32(at, less, _mm512_set1_epi32((int)j));
    }
    _mm_storeu_si128((__m128i *)codes, _mm512_cvtepi32_epi8(at));
}

typedef struct {
    __m512 lo, step;
    size_t d;
} row_scale;

INLINE row_scale scale_f32(const void *row, size_t d)
{
    return (row_scale){_mm512_setzero_ps(), _mm512_setzero_ps(), d};
}

#define scale_f16 scale_f32

INLINE row_scale scale_sq8(const void *row, size_t d)
{
    float header[2];
    memcpy(header, row, sizeof header);
    return (row_scale){_mm512_set1_ps(header[0]), _mm512_set1_ps(header[1]), d};
}

#define scale_sq12 scale_sq8
#define scale_sq16 scale_sq8

/* Lanes outside the mask read as anything: the callers' arithmetic is masked too. */
INLINE __m512 load_f32(__mmask16 in, const void *row, size_t i, row_scale s)
{
    return _mm512_maskz_loadu_ps(in, (const float *)row + i);
}

INLINE __m512 load_f16(__mmask16 in, const void *row, size_t i, row_scale s)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(in, (const char *)row + 2 * i));
}

INLINE __m512 load_sq8(__mmask16 in, const void *row, size_t i, row_scale s)
{
    __m128i bytes = _mm_maskz_loadu_epi8(in, (const uint8_t *)row + OMEN_SQ_HEADER + i);
    return _mm512_fmadd_ps(s.step, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)), s.lo);
}

INLINE __m512 load_sq12(__mmask16 in, const void *row, size_t i, row_scale s)
{
    const uint8_t *codes = (const uint8_t *)row + OMEN_SQ_HEADER;
    const __mmask16 half = (__mmask16)((1u << (_mm_popcnt_u32(in) + 1) / 2) - 1);
    const __m128i high = _mm_maskz_loadu_epi8(in, codes + i), pairs = _mm_maskz_loadu_epi8(half, codes + s.d + i / 2);
    const __m128i nibble = _mm_set1_epi8(15);
    const __m128i low =
        _mm_unpacklo_epi8(_mm_and_si128(pairs, nibble), _mm_and_si128(_mm_srli_epi16(pairs, 4), nibble));
    const __m512i u = _mm512_or_si512(_mm512_slli_epi32(_mm512_cvtepu8_epi32(high), 4), _mm512_cvtepu8_epi32(low));
    return _mm512_fmadd_ps(s.step, _mm512_cvtepi32_ps(u), s.lo);
}

INLINE __m512 load_sq16(__mmask16 in, const void *row, size_t i, row_scale s)
{
    const __m256i u = _mm256_maskz_loadu_epi16(in, (const uint8_t *)row + OMEN_SQ_HEADER + 2 * i);
    return _mm512_fmadd_ps(s.step, _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(u)), s.lo);
}

#define DISTANCES(type)                                                                                                \
    static float l2_##type(const float *query, const void *row, size_t d)                                              \
    {                                                                                                                  \
        __m512 sum = _mm512_setzero_ps();                                                                              \
        const row_scale scale = scale_##type(row, d);                                                                  \
        size_t i = 0;                                                                                                  \
        for (; i + OMEN_LANES <= d; i += OMEN_LANES) {                                                                 \
            __m512 t = _mm512_sub_ps(_mm512_loadu_ps(query + i), load_##type(0xffff, row, i, scale));                  \
            sum = _mm512_fmadd_ps(t, t, sum);                                                                          \
        }                                                                                                              \
        if (i < d) {                                                                                                   \
            __mmask16 in = (__mmask16)((1u << (d - i)) - 1);                                                           \
            __m512 t = _mm512_sub_ps(_mm512_maskz_loadu_ps(in, query + i), load_##type(in, row, i, scale));            \
            sum = _mm512_mask3_fmadd_ps(t, t, sum, in);                                                                \
        }                                                                                                              \
        float s[OMEN_LANES];                                                                                           \
        _mm512_storeu_ps(s, sum);                                                                                      \
        return omen_lanes_sum(s);                                                                                      \
    }                                                                                                                  \
    static float ip_##type(const float *query, const void *row, size_t d)                                              \
    {                                                                                                                  \
        __m512 sum = _mm512_setzero_ps();                                                                              \
        const row_scale scale = scale_##type(row, d);                                                                  \
        size_t i = 0;                                                                                                  \
        for (; i + OMEN_LANES <= d; i += OMEN_LANES)                                                                   \
            sum = _mm512_fmadd_ps(_mm512_loadu_ps(query + i), load_##type(0xffff, row, i, scale), sum);                \
        if (i < d) {                                                                                                   \
            __mmask16 in = (__mmask16)((1u << (d - i)) - 1);                                                           \
            sum =                                                                                                      \
                _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(in, query + i), load_##type(in, row, i, scale), sum, in);  \
        }                                                                                                              \
        float s[OMEN_LANES];                                                                                           \
        _mm512_storeu_ps(s, sum);                                                                                      \
        return omen_lanes_sum(s);                                                                                      \
    }

DISTANCES(f32)
DISTANCES(f16)
DISTANCES(sq8)
DISTANCES(sq12)
DISTANCES(sq16)

/* Table sums of two blocks, one in each half, for n queries: even holds codes 0, 2, .. 30, odd codes 1, 3, .. 31. Four
 * values of at most 63 are added as bytes before they are widened. */
INLINE void sum_blocks(const size_t n, const uint8_t *block0, const uint8_t *block1, const omen_scan *scans,
                       size_t n_pairs, __m512i *even, __m512i *odd)
{
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i all[OMEN_SCANS], high[OMEN_SCANS];
    for (size_t i = 0; i < n; i++)
        all[i] = high[i] = _mm512_setzero_si512();
    for (size_t p = 0; p < n_pairs; p += 2) {
        __m512i v[OMEN_SCANS];
        for (size_t i = 0; i < n; i++)
            v[i] = _mm512_setzero_si512();
#pragma GCC unroll 2
        for (size_t h = 0; h < 2; h++) {
            if (p + h == n_pairs)
                break;
            const size_t at = (p + h) * OMEN_SCAN_BLOCK;
            __m512i codes =
                _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)(block0 + at))),
                                   _mm256_loadu_si256((const __m256i *)(block1 + at)), 1);
            __m512i low = _mm512_and_si512(codes, nibble), top = _mm512_and_si512(_mm512_srli_epi16(codes, 4), nibble);
#pragma GCC unroll 4
            for (size_t i = 0; i < n; i++) {
                const __m128i *lut = (const __m128i *)(scans[i].luts + (p + h) * 32);
                __m512i lut0 = _mm512_broadcast_i32x4(_mm_loadu_si128(lut));
                __m512i lut1 = _mm512_broadcast_i32x4(_mm_loadu_si128(lut + 1));
                __m512i x = _mm512_add_epi8(_mm512_shuffle_epi8(lut0, low), _mm512_shuffle_epi8(lut1, top));
                v[i] = h ? _mm512_add_epi8(v[i], x) : x;
            }
        }
        for (size_t i = 0; i < n; i++) {
            all[i] = _mm512_add_epi16(all[i], v[i]);
            high[i] = _mm512_add_epi16(high[i], _mm512_srli_epi16(v[i], 8));
        }
    }
    for (size_t i = 0; i < n; i++) {
        odd[i] = high[i];
        even[i] = _mm512_sub_epi16(all[i], _mm512_slli_epi16(high[i], 8));
    }
}

INLINE void scale_bytes(const uint8_t *bytes0, const uint8_t *bytes1, uint16_t scale, __m512i *even, __m512i *odd)
{
    __m512i v = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const __m256i *)bytes0)),
                                   _mm256_loadu_si256((const __m256i *)bytes1), 1);
    __m512i s = _mm512_set1_epi16((short)scale);
    *even = _mm512_mulhi_epu16(_mm512_slli_epi16(v, 8), s);
    *odd = _mm512_mulhi_epu16(_mm512_and_si512(v, _mm512_set1_epi16((short)0xff00)), s);
}

/* Compares both blocks, and stores the estimates in code order when any lane passes. */
INLINE void report(__m512i even, __m512i odd, int16_t threshold, size_t n_blocks, int16_t *est, uint32_t *masks)
{
    const __m512i limit = _mm512_set1_epi16(threshold);
    __mmask32 near_even = _mm512_cmple_epi16_mask(even, limit), near_odd = _mm512_cmple_epi16_mask(odd, limit);
    if (!(near_even | near_odd)) {
        for (size_t b = 0; b < n_blocks; b++)
            masks[b] = 0;
        return;
    }
    __m512i both =
        _mm512_mask_blend_epi8(0xaaaaaaaaaaaaaaaaull, _mm512_movm_epi16(near_even), _mm512_movm_epi16(near_odd));
    uint64_t near = _mm512_movepi8_mask(both);
    __m512i lo = _mm512_unpacklo_epi16(even, odd), hi = _mm512_unpackhi_epi16(even, odd);
    for (size_t b = 0; b < n_blocks; b++) {
        masks[b] = (uint32_t)(near >> (32 * b));
        __m256i l = b ? _mm512_extracti64x4_epi64(lo, 1) : _mm512_castsi512_si256(lo);
        __m256i h = b ? _mm512_extracti64x4_epi64(hi, 1) : _mm512_castsi512_si256(hi);
        _mm256_storeu_si256((__m256i *)(est + b * OMEN_SCAN_BLOCK), _mm256_permute2x128_si256(l, h, 0x20));
        _mm256_storeu_si256((__m256i *)(est + b * OMEN_SCAN_BLOCK + 16), _mm256_permute2x128_si256(l, h, 0x31));
    }
}

/* (x * g + 2^14) >> 15 */
INLINE __m512i gain(__m512i sum, __m512i middle, __m128i shift, __m512i g)
{
    return _mm512_mulhrs_epi16(_mm512_sll_epi16(_mm512_sub_epi16(sum, middle), shift), g);
}

/* n queries over all blocks; n is a constant where this is inlined. */
INLINE void scan_n(const size_t n, const bool is_rabitq, const uint8_t *blocks, size_t n_blocks, size_t n_pairs,
                   size_t block_bytes, const omen_scan *scans)
{
    for (size_t b = 0; b < n_blocks; b += 2) {
        const uint8_t *block0 = blocks + b * block_bytes;
        const uint8_t *block1 = b + 1 < n_blocks ? block0 + block_bytes : block0;
        const uint8_t *f0 = block0 + n_pairs * OMEN_SCAN_BLOCK, *f1 = block1 + n_pairs * OMEN_SCAN_BLOCK;
        __m512i even[OMEN_SCANS], odd[OMEN_SCANS], f_even, f_odd, g_even, g_odd;
        sum_blocks(n, block0, block1, scans, n_pairs, even, odd);
        for (size_t i = 0; i < n; i++) {
            const omen_scan *s = &scans[i];
            scale_bytes(f0, f1, s->f_scale, &f_even, &f_odd);
            if (is_rabitq) {
                const __m512i middle = _mm512_set1_epi16(s->middle), base = _mm512_set1_epi16(s->g_base);
                const __m128i shift = _mm_cvtsi32_si128(s->shift);
                scale_bytes(f0 + OMEN_SCAN_BLOCK, f1 + OMEN_SCAN_BLOCK, s->g_scale, &g_even, &g_odd);
                even[i] = gain(even[i], middle, shift, _mm512_add_epi16(g_even, base));
                odd[i] = gain(odd[i], middle, shift, _mm512_add_epi16(g_odd, base));
            }
            report(_mm512_adds_epi16(even[i], f_even), _mm512_adds_epi16(odd[i], f_odd), s->threshold,
                   b + 1 < n_blocks ? 2 : 1, s->est + b * OMEN_SCAN_BLOCK, s->masks + b);
        }
    }
}

INLINE void scan_any(const bool is_rabitq, const uint8_t *blocks, size_t n_blocks, size_t n_pairs, size_t block_bytes,
                     const omen_scan *scans, size_t n_scans)
{
    if (n_scans == 4)
        scan_n(4, is_rabitq, blocks, n_blocks, n_pairs, block_bytes, scans);
    else if (n_scans == 3)
        scan_n(3, is_rabitq, blocks, n_blocks, n_pairs, block_bytes, scans);
    else if (n_scans == 2)
        scan_n(2, is_rabitq, blocks, n_blocks, n_pairs, block_bytes, scans);
    else
        scan_n(1, is_rabitq, blocks, n_blocks, n_pairs, block_bytes, scans);
}

static void scan_plain(const uint8_t *blocks, size_t n_blocks, size_t n_pairs, size_t block_bytes,
                       const omen_scan *scans, size_t n_scans)
{
    scan_any(false, blocks, n_blocks, n_pairs, block_bytes, scans, n_scans);
}

static void scan_gain(const uint8_t *blocks, size_t n_blocks, size_t n_pairs, size_t block_bytes,
                      const omen_scan *scans, size_t n_scans)
{
    scan_any(true, blocks, n_blocks, n_pairs, block_bytes, scans, n_scans);
}

static void table_round(const float *tables, const float *lows, size_t n_sub, float scale, float most, uint8_t *luts)
{
    const __m512 scales = _mm512_set1_ps(scale), half = _mm512_set1_ps(0.5f), limit = _mm512_set1_ps(most);
    for (size_t m = 0; m < n_sub; m++) {
        const __m512 up = _mm512_sub_ps(_mm512_loadu_ps(tables + m * 16), _mm512_set1_ps(lows[m]));
        const __m512 x = _mm512_min_ps(_mm512_add_ps(_mm512_mul_ps(up, scales), half), limit);
        _mm_storeu_si128((__m128i *)(luts + m * 16), _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(x)));
    }
}

static size_t take_keys(const int16_t *est, uint32_t mask, float base, float unit, uint32_t row, uint64_t *keys)
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    size_t n = 0;
    for (uint32_t j = 0; j < 32; j += 16) {
        const __mmask16 in = (__mmask16)(mask >> j);
        const __m512i whole = _mm512_cvtepi16_epi32(_mm256_loadu_si256((const __m256i *)(est + j)));
        const __m512 x =
            _mm512_add_ps(_mm512_set1_ps(base), _mm512_mul_ps(_mm512_set1_ps(unit), _mm512_cvtepi32_ps(whole)));
        const __m512i bits = _mm512_castps_si512(x);
        /* all bits of a negative number, else the sign */
        const __m512i turn = _mm512_or_si512(_mm512_srai_epi32(bits, 31), _mm512_set1_epi32(INT32_MIN));
        const __m512i high = _mm512_maskz_compress_epi32(in, _mm512_xor_si512(bits, turn));
        const __m512i low = _mm512_maskz_compress_epi32(in, _mm512_add_epi32(lanes, _mm512_set1_epi32((int)(row + j))));
        const __m512i first =
            _mm512_or_si512(_mm512_slli_epi64(_mm512_cvtepu32_epi64(_mm512_castsi512_si256(high)), 32),
                            _mm512_cvtepu32_epi64(_mm512_castsi512_si256(low)));
        const __m512i second =
            _mm512_or_si512(_mm512_slli_epi64(_mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(high, 1)), 32),
                            _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(low, 1)));
        _mm512_storeu_si512(keys + n, first);
        _mm512_storeu_si512(keys + n + 8, second);
        n += (size_t)__builtin_popcount(in);
    }
    return n;
}

/* The sums of one code in sixteen parts; see the AVX2 kernels for why 16 bits do. */
INLINE __m512i graph_sums(const bool vnni, const uint8_t *code, const __m512i weights[4])
{
    const __m512i mask = _mm512_set1_epi8(15), bytes = _mm512_loadu_si512(code);
    const __m512i first = _mm512_and_si512(bytes, mask);
    const __m512i second = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), mask);
    if (vnni) {
        const __m512i high = dot4(true, dot4(true, _mm512_setzero_si512(), first, weights[0]), second, weights[1]);
        const __m512i low = dot4(true, dot4(true, _mm512_setzero_si512(), first, weights[2]), second, weights[3]);
        return _mm512_add_epi32(_mm512_slli_epi32(high, 8), low);
    }
    const __m512i high =
        _mm512_add_epi16(_mm512_maddubs_epi16(first, weights[0]), _mm512_maddubs_epi16(second, weights[1]));
    const __m512i low =
        _mm512_add_epi16(_mm512_maddubs_epi16(first, weights[2]), _mm512_maddubs_epi16(second, weights[3]));
    return _mm512_add_epi32(_mm512_madd_epi16(high, _mm512_set1_epi16(256)),
                            _mm512_madd_epi16(low, _mm512_set1_epi16(1)));
}

/* Adds up four vectors, to one number each. */
INLINE __m128i sum_four(__m512i a, __m512i b, __m512i c, __m512i d)
{
    const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    const __m512i all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

INLINE void graph_any(const bool vnni, const uint8_t *codes, const uint32_t *rows, size_t n,
                      const int8_t weights[4][64], float unit, float *out)
{
    const __m512i parts[4] = {_mm512_loadu_si512(weights[0]), _mm512_loadu_si512(weights[1]),
                              _mm512_loadu_si512(weights[2]), _mm512_loadu_si512(weights[3])};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        __m512i sums[4];
        float base[4];
#pragma GCC unroll 4
        for (size_t r = 0; r < 4; r++) {
            const uint8_t *code = codes + (size_t)rows[i + r] * 64;
            sums[r] = graph_sums(vnni, code, parts);
            memcpy(&base[r], code + 60, sizeof base[r]);
        }
        const __m128 sum = _mm_cvtepi32_ps(sum_four(sums[0], sums[1], sums[2], sums[3]));
        _mm_storeu_ps(out + i, _mm_sub_ps(_mm_loadu_ps(base), _mm_mul_ps(_mm_set1_ps(unit), sum)));
    }
    for (; i < n; i++) {
        const uint8_t *code = codes + (size_t)rows[i] * 64;
        float base;
        memcpy(&base, code + 60, sizeof base);
        out[i] = base - unit * (float)_mm512_reduce_add_epi32(graph_sums(vnni, code, parts));
    }
}

static void graph_estimates(const uint8_t *codes, const uint32_t *rows, size_t n, const int8_t weights[4][64],
                            float unit, float *out)
{
    graph_any(false, codes, rows, n, weights, unit, out);
}

static void graph_estimates_vnni(const uint8_t *codes, const uint32_t *rows, size_t n, const int8_t weights[4][64],
                                 float unit, float *out)
{
    graph_any(true, codes, rows, n, weights, unit, out);
}

static size_t keys_below(const uint64_t *keys, size_t n, uint64_t limit, uint64_t *to)
{
    const __m512i most = _mm512_set1_epi64((long long)limit);
    size_t n_below = 0, i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m512i key = _mm512_loadu_si512(keys + i);
        const __mmask8 is_below = _mm512_cmplt_epu64_mask(key, most);
        _mm512_storeu_si512(to + n_below, _mm512_maskz_compress_epi64(is_below, key));
        n_below += (size_t)__builtin_popcount(is_below);
    }
    return n_below + plain_keys_below(keys + i, n - i, limit, to + n_below);
}

/* 16 values of 3 bytes, of 64 bytes that begin with them. */
INLINE __m512i widen3(const uint8_t *values)
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 2, 3, 4, 5, 5, 6, 7, 8, 8, 9, 10, 11, 11);
    const __m512i bytes = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1));
    return _mm512_shuffle_epi8(_mm512_permutexvar_epi32(lanes, _mm512_loadu_si512(values)), bytes);
}

INLINE uint64_t range_word(const uint32_t width, const uint8_t *values, __m512i low, __m512i span)
{
    uint64_t word = 0;
    if (width == 1)
        return _mm512_cmple_epu8_mask(_mm512_sub_epi8(_mm512_loadu_si512(values), low), span);
    for (size_t i = 0; i < (width == 3 ? 4 : width); i++) {
        const size_t lanes = width == 3 ? 16 : 64 / width;
        const __m512i x = width == 3 ? widen3(values + 48 * i) : _mm512_loadu_si512(values + 64 * i);
        const uint64_t hits = width == 2   ? _mm512_cmple_epu16_mask(_mm512_sub_epi16(x, low), span)
                              : width == 8 ? _mm512_cmple_epu64_mask(_mm512_sub_epi64(x, low), span)
                                           : _mm512_cmple_epu32_mask(_mm512_sub_epi32(x, low), span);
        word |= hits << i * lanes;
    }
    return word;
}

static void range_bits(const uint8_t *values, uint32_t width, size_t n, uint64_t low, uint64_t span, uint64_t *words)
{
    size_t i = 0;
#define PASS(width, room, lows, spans)                                                                                 \
    for (const __m512i least = lows, most = spans; i + 64 + (room) <= n; i += 64)                                      \
        words[i / 64] |= range_word(width, values + i * (width), least, most);
    if (width == 1)
        PASS(1, 0, _mm512_set1_epi8((char)low), _mm512_set1_epi8((char)span))
    else if (width == 2)
        PASS(2, 0, _mm512_set1_epi16((short)low), _mm512_set1_epi16((short)span))
    else if (width == 3) /* the last load ends 16 bytes behind the values that it is for */
        PASS(3, 6, _mm512_set1_epi32((int)low), _mm512_set1_epi32((int)span))
    else if (width == 4)
        PASS(4, 0, _mm512_set1_epi32((int)low), _mm512_set1_epi32((int)span))
    else
        PASS(8, 0, _mm512_set1_epi64((long long)low), _mm512_set1_epi64((long long)span))
#undef PASS
    plain_range_bits(values + i * width, width, n - i, low, span, words + i / 64);
}

#define KERNELS                                                                                                        \
    .matmul = matmul, .argmin = argmin, .reach = reach, .filter = filter, .encode16 = encode16,                        \
    .sq8_encode = plain_sq8_encode, .sq12_encode = plain_sq12_encode, .sq16_encode = plain_sq16_encode,                \
    .split16 = plain_split16, .signs = plain_signs, .pq_tables = plain_pq_tables, .table_lows = plain_table_lows,      \
    .table_round = table_round, .count_bits = plain_count_bits, .range_bits = range_bits, .list_shares = list_shares,  \
    .list_expected = list_expected, .bit_positions = bit_positions, .take_keys = take_keys, .keys_below = keys_below,  \
    .list_values = plain_list_values, .dot_f64 = plain_dot_f64, .xxh3 = plain_xxh3, .reduce_f64 = plain_reduce_f64,    \
    .l2_f32 = l2_f32, .l2_f16 = l2_f16, .l2_sq8 = l2_sq8, .l2_sq12 = l2_sq12, .l2_sq16 = l2_sq16, .ip_f32 = ip_f32,    \
    .ip_f16 = ip_f16, .ip_sq8 = ip_sq8, .ip_sq12 = ip_sq12, .ip_sq16 = ip_sq16, .scan_plain = scan_plain,              \
    .scan_gain = scan_gain,

const omen_kernels omen_kernels_avx512 = {
    .name = "avx512", .matmul_u8 = matmul_u8, .dots_u8 = dots_u8, .graph_estimates = graph_estimates, KERNELS};
const omen_kernels omen_kernels_avx512vnni = {.name = "avx512vnni",
                                              .matmul_u8 = matmul_u8_vnni,
                                              .dots_u8 = dots_u8_vnni,
                                              .graph_estimates = graph_estimates_vnni,
                                              KERNELS};
