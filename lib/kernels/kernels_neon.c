/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels for NEON (AArch64). */
#include <arm_neon.h>
#include <stdbool.h>

#include "lib/kernels/kernels_plain.h"

#define INLINE static inline __attribute__((always_inline))

INLINE void tile(const size_t rows, const float *a, size_t lda, const float *panel, size_t n_k, float *c, size_t ldc)
{
    float32x4_t sum[6][4];
    for (size_t i = 0; i < rows; i++)
        for (size_t v = 0; v < 4; v++)
            sum[i][v] = vdupq_n_f32(0);
    for (size_t k = 0; k < n_k; k++) {
        const float *b = panel + k * OMEN_PANEL;
        float32x4_t b0 = vld1q_f32(b), b1 = vld1q_f32(b + 4), b2 = vld1q_f32(b + 8), b3 = vld1q_f32(b + 12);
#pragma GCC unroll 6
        for (size_t i = 0; i < rows; i++) {
            float32x4_t x = vld1q_dup_f32(a + i * lda + k);
            sum[i][0] = vfmaq_f32(sum[i][0], x, b0);
            sum[i][1] = vfmaq_f32(sum[i][1], x, b1);
            sum[i][2] = vfmaq_f32(sum[i][2], x, b2);
            sum[i][3] = vfmaq_f32(sum[i][3], x, b3);
        }
    }
    for (size_t i = 0; i < rows; i++)
        for (size_t v = 0; v < 4; v++)
            vst1q_f32(c + i * ldc + 4 * v, sum[i][v]);
}

static void matmul(const float *a, size_t lda, size_t m, const float *panels, size_t n_panels, size_t n_k, float *c,
                   size_t ldc)
{
    for (size_t p = 0; p < n_panels; p++) {
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
    int32x4_t sum[4][4];
    for (size_t i = 0; i < rows; i++)
        for (size_t v = 0; v < 4; v++)
            sum[i][v] = vdupq_n_s32(0);
    for (size_t k = 0; k < n_k; k += 4) {
        for (size_t v = 0; v < 4; v++) {
            const int16x8_t b = vreinterpretq_s16_s8(vld1q_s8(panel + k * OMEN_PANEL + 16 * v));
            const int16x8_t even = vshrq_n_s16(vshlq_n_s16(b, 8), 8), odd = vshrq_n_s16(b, 8);
#pragma GCC unroll 4
            for (size_t i = 0; i < rows; i++) {
                uint32_t four;
                memcpy(&four, a + i * lda + k, 4);
                const uint16x8_t x = vreinterpretq_u16_u32(vdupq_n_u32(four));
                const int16x8_t x_even = vreinterpretq_s16_u16(vandq_u16(x, vdupq_n_u16(0xff)));
                const int16x8_t x_odd = vreinterpretq_s16_u16(vshrq_n_u16(x, 8));
                /* pairs of lanes hold what belongs to one column */
                const int32x4_t low = vmlal_s16(vmull_s16(vget_low_s16(x_even), vget_low_s16(even)),
                                                vget_low_s16(x_odd), vget_low_s16(odd));
                const int32x4_t high = vmlal_high_s16(vmull_high_s16(x_even, even), x_odd, odd);
                sum[i][v] = vaddq_s32(sum[i][v], vpaddq_s32(low, high));
            }
        }
    }
    for (size_t i = 0; i < rows; i++)
        for (size_t v = 0; v < 4; v++)
            vst1q_f32(c + i * ldc + 4 * v,
                      vcvtq_f32_s32(vsubq_s32(vsubq_s32(vshlq_n_s32(sum[i][v], 1), vdupq_n_s32(row_terms[i])),
                                              vld1q_s32(column_terms + 4 * v))));
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
        int32x4_t sum = vdupq_n_s32(0);
        size_t k = 0;
        for (; k + 8 <= n_k; k += 8) {
            const int16x8_t x = vreinterpretq_s16_u16(vmovl_u8(vld1_u8(row + k))), y = vmovl_s8(vld1_s8(b + k));
            sum = vmlal_s16(sum, vget_low_s16(x), vget_low_s16(y));
            sum = vmlal_high_s16(sum, x, y);
        }
        out[i] = vaddvq_s32(sum);
        for (; k < n_k; k++)
            out[i] += row[k] * b[k];
    }
}

static void argmin(const float *dots, const float *half_norm, size_t n, float *value, uint32_t *index)
{
    float best = half_norm[0] - dots[0];
    uint32_t at = 0;
    size_t j = 0;
    if (n >= 4) {
        const uint32_t first[4] = {0, 1, 2, 3};
        float32x4_t low = vdupq_n_f32(INFINITY);
        uint32x4_t low_at = vdupq_n_u32(0), now = vld1q_u32(first);
        for (; j + 4 <= n; j += 4) {
            float32x4_t v = vsubq_f32(vld1q_f32(half_norm + j), vld1q_f32(dots + j));
            uint32x4_t less = vcltq_f32(v, low);
            low = vbslq_f32(less, v, low);
            low_at = vbslq_u32(less, now, low_at);
            now = vaddq_u32(now, vdupq_n_u32(4));
        }
        float values[4];
        uint32_t indexes[4];
        vst1q_f32(values, low);
        vst1q_u32(indexes, low_at);
        best = values[0];
        at = indexes[0];
        for (size_t i = 1; i < 4; i++) {
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
    static const uint32_t bits[4] = {1, 2, 4, 8};
    const float32x4_t half = vdupq_n_f32(half_norm);
    const uint32x4_t bit = vld1q_u32(bits);
    for (size_t p = 0; p < n_panels; p++) {
        uint32_t mask = 0;
        for (size_t i = 0; i < 4; i++) {
            const size_t at = p * OMEN_PANEL + 4 * i;
            const uint32x4_t in = vcgeq_f32(vsubq_f32(vld1q_f32(dots + at), half), vld1q_f32(floors + at));
            mask |= vaddvq_u32(vandq_u32(in, bit)) << 4 * i;
        }
        masks[p] = (uint16_t)mask;
    }
}

static void encode16(const float *residual, const float *codewords, const float *half_norm, size_t n_dims,
                     uint8_t *codes)
{
    float32x4_t best[4];
    uint32x4_t at[4];
    for (size_t v = 0; v < 4; v++) {
        best[v] = vdupq_n_f32(INFINITY);
        at[v] = vdupq_n_u32(0);
    }
    for (size_t j = 0; j < 16; j++) {
        for (size_t v = 0; v < 4; v++) {
            float32x4_t x = vdupq_n_f32(half_norm[j]);
            for (size_t i = 0; i < n_dims; i++)
                x = vfmsq_f32(x, vld1q_f32(residual + i * OMEN_LANES + 4 * v), vdupq_n_f32(codewords[i * 16 + j]));
            uint32x4_t less = vcltq_f32(x, best[v]);
            best[v] = vbslq_f32(less, x, best[v]);
            at[v] = vbslq_u32(less, vdupq_n_u32((uint32_t)j), at[v]);
        }
    }
    uint16x8_t lo = vcombine_u16(vmovn_u32(at[0]), vmovn_u32(at[1]));
    uint16x8_t hi = vcombine_u16(vmovn_u32(at[2]), vmovn_u32(at[3]));
    vst1q_u8(codes, vcombine_u8(vmovn_u16(lo), vmovn_u16(hi)));
}

typedef struct {
    float32x4_t v[4];
} lanes16;

typedef struct {
    float lo, step;
    size_t d;
} row_scale;

INLINE row_scale scale_f32(const void *row, size_t d)
{
    return (row_scale){0, 0, d};
}

#define scale_f16 scale_f32

INLINE row_scale scale_sq8(const void *row, size_t d)
{
    float header[2];
    memcpy(header, row, sizeof header);
    return (row_scale){header[0], header[1], d};
}

#define scale_sq12 scale_sq8
#define scale_sq16 scale_sq8

INLINE lanes16 load_f32(const void *row, size_t i, row_scale s)
{
    const uint8_t *p = (const uint8_t *)row + 4 * i;
    lanes16 r;
    for (size_t v = 0; v < 4; v++)
        r.v[v] = vreinterpretq_f32_u8(vld1q_u8(p + 16 * v));
    return r;
}

INLINE float load1_f32(const void *row, size_t i, row_scale s)
{
    float x;
    memcpy(&x, (const char *)row + 4 * i, 4);
    return x;
}

INLINE lanes16 load_f16(const void *row, size_t i, row_scale s)
{
    const uint8_t *p = (const uint8_t *)row + 2 * i;
    float16x8_t lo = vreinterpretq_f16_u8(vld1q_u8(p)), hi = vreinterpretq_f16_u8(vld1q_u8(p + 16));
    return (lanes16){{vcvt_f32_f16(vget_low_f16(lo)), vcvt_f32_f16(vget_high_f16(lo)), vcvt_f32_f16(vget_low_f16(hi)),
                      vcvt_f32_f16(vget_high_f16(hi))}};
}

INLINE float load1_f16(const void *row, size_t i, row_scale s)
{
    uint16_t h;
    memcpy(&h, (const char *)row + 2 * i, 2);
    return omen_half_to_float(h);
}

INLINE lanes16 of_range(uint16x8_t lo, uint16x8_t hi, row_scale s)
{
    uint32x4_t words[4] = {vmovl_u16(vget_low_u16(lo)), vmovl_u16(vget_high_u16(lo)), vmovl_u16(vget_low_u16(hi)),
                           vmovl_u16(vget_high_u16(hi))};
    lanes16 r;
    for (size_t v = 0; v < 4; v++)
        r.v[v] = vfmaq_f32(vdupq_n_f32(s.lo), vdupq_n_f32(s.step), vcvtq_f32_u32(words[v]));
    return r;
}

INLINE lanes16 load_sq8(const void *row, size_t i, row_scale s)
{
    uint8x16_t bytes = vld1q_u8((const uint8_t *)row + OMEN_SQ_HEADER + i);
    return of_range(vmovl_u8(vget_low_u8(bytes)), vmovl_u8(vget_high_u8(bytes)), s);
}

INLINE lanes16 load_sq12(const void *row, size_t i, row_scale s)
{
    const uint8_t *codes = (const uint8_t *)row + OMEN_SQ_HEADER;
    uint8x16_t high = vld1q_u8(codes + i);
    uint8x8_t pairs = vld1_u8(codes + s.d + i / 2);
    uint8x8x2_t low = vzip_u8(vand_u8(pairs, vdup_n_u8(15)), vshr_n_u8(pairs, 4));
    return of_range(vorrq_u16(vshll_n_u8(vget_low_u8(high), 4), vmovl_u8(low.val[0])),
                    vorrq_u16(vshll_n_u8(vget_high_u8(high), 4), vmovl_u8(low.val[1])), s);
}

INLINE lanes16 load_sq16(const void *row, size_t i, row_scale s)
{
    const uint8_t *codes = (const uint8_t *)row + OMEN_SQ_HEADER + 2 * i;
    return of_range(vreinterpretq_u16_u8(vld1q_u8(codes)), vreinterpretq_u16_u8(vld1q_u8(codes + 16)), s);
}

INLINE float load1_sq8(const void *row, size_t i, row_scale s)
{
    return fmaf(s.step, (float)((const uint8_t *)row)[OMEN_SQ_HEADER + i], s.lo);
}

INLINE float load1_sq12(const void *row, size_t i, row_scale s)
{
    return fmaf(s.step, (float)omen_sq12_code(row, s.d, i), s.lo);
}

INLINE float load1_sq16(const void *row, size_t i, row_scale s)
{
    return fmaf(s.step, (float)omen_sq16_code(row, i), s.lo);
}

#define DISTANCES(type)                                                                                                \
    static float l2_##type(const float *query, const void *row, size_t d)                                              \
    {                                                                                                                  \
        lanes16 sum = {{vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)}};                              \
        const row_scale scale = scale_##type(row, d);                                                                  \
        size_t i = 0;                                                                                                  \
        for (; i + OMEN_LANES <= d; i += OMEN_LANES) {                                                                 \
            lanes16 x = load_##type(row, i, scale);                                                                    \
            for (size_t v = 0; v < 4; v++) {                                                                           \
                float32x4_t t = vsubq_f32(vld1q_f32(query + i + 4 * v), x.v[v]);                                       \
                sum.v[v] = vfmaq_f32(sum.v[v], t, t);                                                                  \
            }                                                                                                          \
        }                                                                                                              \
        float s[OMEN_LANES];                                                                                           \
        for (size_t v = 0; v < 4; v++)                                                                                 \
            vst1q_f32(s + 4 * v, sum.v[v]);                                                                            \
        for (size_t lane = 0; i < d; i++, lane++) {                                                                    \
            float t = query[i] - load1_##type(row, i, scale);                                                          \
            s[lane] = fmaf(t, t, s[lane]);                                                                             \
        }                                                                                                              \
        return omen_lanes_sum(s);                                                                                      \
    }                                                                                                                  \
    static float ip_##type(const float *query, const void *row, size_t d)                                              \
    {                                                                                                                  \
        lanes16 sum = {{vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0), vdupq_n_f32(0)}};                              \
        const row_scale scale = scale_##type(row, d);                                                                  \
        size_t i = 0;                                                                                                  \
        for (; i + OMEN_LANES <= d; i += OMEN_LANES) {                                                                 \
            lanes16 x = load_##type(row, i, scale);                                                                    \
            for (size_t v = 0; v < 4; v++)                                                                             \
                sum.v[v] = vfmaq_f32(sum.v[v], vld1q_f32(query + i + 4 * v), x.v[v]);                                  \
        }                                                                                                              \
        float s[OMEN_LANES];                                                                                           \
        for (size_t v = 0; v < 4; v++)                                                                                 \
            vst1q_f32(s + 4 * v, sum.v[v]);                                                                            \
        for (size_t lane = 0; i < d; i++, lane++)                                                                      \
            s[lane] = fmaf(query[i], load1_##type(row, i, scale), s[lane]);                                            \
        return omen_lanes_sum(s);                                                                                      \
    }

DISTANCES(f32)
DISTANCES(f16)
DISTANCES(sq8)
DISTANCES(sq12)
DISTANCES(sq16)

/* Table sums of one block as four vectors of eight 16-bit lanes, in code order. */
INLINE void sum_block(const uint8_t *block, const uint8_t *luts, size_t n_pairs, int16x8_t sums[4])
{
    const uint8x16_t nibble = vdupq_n_u8(15);
    uint16x8_t wide[4] = {vdupq_n_u16(0), vdupq_n_u16(0), vdupq_n_u16(0), vdupq_n_u16(0)};
    for (size_t p = 0; p < n_pairs; p++) {
        uint8x16_t lut0 = vld1q_u8(luts + p * 32), lut1 = vld1q_u8(luts + p * 32 + 16);
        for (size_t h = 0; h < 2; h++) {
            uint8x16_t codes = vld1q_u8(block + p * OMEN_SCAN_BLOCK + 16 * h);
            uint8x16_t v = vaddq_u8(vqtbl1q_u8(lut0, vandq_u8(codes, nibble)), vqtbl1q_u8(lut1, vshrq_n_u8(codes, 4)));
            wide[2 * h] = vaddw_u8(wide[2 * h], vget_low_u8(v));
            wide[2 * h + 1] = vaddw_u8(wide[2 * h + 1], vget_high_u8(v));
        }
    }
    for (size_t v = 0; v < 4; v++)
        sums[v] = vreinterpretq_s16_u16(wide[v]);
}

/* (byte << 8) * scale >> 16, which is byte * scale >> 8. */
INLINE void scale_bytes(const uint8_t *bytes, uint16_t scale, int16x8_t out[4])
{
    for (size_t v = 0; v < 4; v++) {
        uint16x8_t x = vmovl_u8(vld1_u8(bytes + 8 * v));
        uint16x4_t lo = vshrn_n_u32(vmull_n_u16(vget_low_u16(x), scale), 8);
        uint16x4_t hi = vshrn_n_u32(vmull_n_u16(vget_high_u16(x), scale), 8);
        out[v] = vreinterpretq_s16_u16(vcombine_u16(lo, hi));
    }
}

INLINE uint32_t report(const int16x8_t values[4], int16_t threshold, int16_t *est)
{
    static const uint8_t weights[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x8_t weight = vld1_u8(weights);
    uint32_t mask = 0;
    for (size_t v = 0; v < 4; v++) {
        uint8x8_t near = vmovn_u16(vcleq_s16(values[v], vdupq_n_s16(threshold)));
        mask |= (uint32_t)vaddv_u8(vand_u8(near, weight)) << (8 * v);
    }
    if (mask)
        for (size_t v = 0; v < 4; v++)
            vst1q_s16(est + 8 * v, values[v]);
    return mask;
}

INLINE void scan_one(const bool is_rabitq, const uint8_t *blocks, size_t n_blocks, size_t n_pairs, size_t block_bytes,
                     const omen_scan *s)
{
    const int16x8_t middle = vdupq_n_s16(s->middle), base = vdupq_n_s16(s->g_base);
    const int16x8_t shift = vdupq_n_s16((int16_t)s->shift);
    for (size_t b = 0; b < n_blocks; b++) {
        const uint8_t *block = blocks + b * block_bytes, *factors = block + n_pairs * OMEN_SCAN_BLOCK;
        int16x8_t sums[4], f[4], g[4];
        sum_block(block, s->luts, n_pairs, sums);
        scale_bytes(factors, s->f_scale, f);
        if (is_rabitq)
            scale_bytes(factors + OMEN_SCAN_BLOCK, s->g_scale, g);
        for (size_t v = 0; v < 4; v++) {
            if (is_rabitq)
                sums[v] = vqrdmulhq_s16(vshlq_s16(vsubq_s16(sums[v], middle), shift), vaddq_s16(g[v], base));
            sums[v] = vqaddq_s16(sums[v], f[v]);
        }
        s->masks[b] = report(sums, s->threshold, s->est + b * OMEN_SCAN_BLOCK);
    }
}

static void scan_plain(const uint8_t *blocks, size_t n_blocks, size_t n_pairs, size_t block_bytes,
                       const omen_scan *scans, size_t n_scans)
{
    for (size_t i = 0; i < n_scans; i++)
        scan_one(false, blocks, n_blocks, n_pairs, block_bytes, &scans[i]);
}

static void scan_gain(const uint8_t *blocks, size_t n_blocks, size_t n_pairs, size_t block_bytes,
                      const omen_scan *scans, size_t n_scans)
{
    for (size_t i = 0; i < n_scans; i++)
        scan_one(true, blocks, n_blocks, n_pairs, block_bytes, &scans[i]);
}

/* Products of four bits by a byte: sixteen to a lane fit 16 bits. */
static void graph_estimates(const uint8_t *codes, const uint32_t *rows, size_t n, const int8_t weights[4][64],
                            float unit, float *out)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *code = codes + (size_t)rows[i] * 64;
        int16x8_t high = vdupq_n_s16(0), low = vdupq_n_s16(0);
        float base;
#pragma GCC unroll 4
        for (size_t j = 0; j < 64; j += 16) {
            const uint8x16_t bytes = vld1q_u8(code + j);
            const int8x16_t first = vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15)));
            const int8x16_t second = vreinterpretq_s8_u8(vshrq_n_u8(bytes, 4));
#define ADD(sum, values, part)                                                                                         \
    sum = vmlal_s8(sum, vget_low_s8(values), vld1_s8(weights[part] + j));                                              \
    sum = vmlal_high_s8(sum, values, vld1q_s8(weights[part] + j))
            ADD(high, first, 0);
            ADD(high, second, 1);
            ADD(low, first, 2);
            ADD(low, second, 3);
#undef ADD
        }
        memcpy(&base, code + 60, sizeof base);
        out[i] = base - unit * (float)(256 * vaddlvq_s16(high) + vaddlvq_s16(low));
    }
}

const omen_kernels omen_kernels_neon = {
    .name = "neon",
    .matmul = matmul,
    .matmul_u8 = matmul_u8,
    .dots_u8 = dots_u8,
    .argmin = argmin,
    .reach = reach,
    .filter = plain_filter,
    .encode16 = encode16,
    .sq8_encode = plain_sq8_encode,
    .sq12_encode = plain_sq12_encode,
    .sq16_encode = plain_sq16_encode,
    .split16 = plain_split16,
    .signs = plain_signs,
    .pq_tables = plain_pq_tables,
    .table_lows = plain_table_lows,
    .table_round = plain_table_round,
    .take_keys = plain_take_keys,
    .keys_below = plain_keys_below,
    .list_values = plain_list_values,
    .list_shares = plain_list_shares,
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
