/* SPDX-License-Identifier: Apache-2.0 */
/* The reference kernels: plain C that defines what every SIMD level must give, bit for bit. */
#include "lib/kernels/kernels_plain.h"

static void matmul(const float *a, size_t lda, size_t m, const float *panels, size_t n_panels, size_t n_k, float *c,
                   size_t ldc)
{
    for (size_t p = 0; p < n_panels; p++) {
        const float *panel = panels + p * n_k * OMEN_PANEL;
        for (size_t i = 0; i < m; i++) {
            float sum[OMEN_PANEL] = {0};
            for (size_t k = 0; k < n_k; k++)
                for (size_t j = 0; j < OMEN_PANEL; j++)
                    sum[j] = fmaf(a[i * lda + k], panel[k * OMEN_PANEL + j], sum[j]);
            memcpy(c + i * ldc + p * OMEN_PANEL, sum, sizeof sum);
        }
    }
}

static void matmul_u8(const uint8_t *a, size_t lda, size_t m, const int8_t *panels, size_t n_panels, size_t n_k,
                      const int32_t *row_terms, const int32_t *column_terms, float *c, size_t ldc)
{
    for (size_t p = 0; p < n_panels; p++) {
        const int8_t *panel = panels + p * n_k * OMEN_PANEL;
        for (size_t i = 0; i < m; i++) {
            int32_t sum[OMEN_PANEL] = {0};
            for (size_t k = 0; k < n_k; k += 4)
                for (size_t j = 0; j < OMEN_PANEL; j++)
                    for (size_t t = 0; t < 4; t++)
                        sum[j] += a[i * lda + k + t] * panel[k * OMEN_PANEL + 4 * j + t];
            for (size_t j = 0; j < OMEN_PANEL; j++)
                c[i * ldc + p * OMEN_PANEL + j] = (float)(2 * sum[j] - row_terms[i] - column_terms[p * OMEN_PANEL + j]);
        }
    }
}

static void dots_u8(const uint8_t *rows, const uint32_t *at, size_t n, const int8_t *b, size_t n_k, int32_t *out)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = rows + at[i] * n_k;
        out[i] = 0;
        for (size_t k = 0; k < n_k; k++)
            out[i] += row[k] * b[k];
    }
}

static void argmin(const float *dots, const float *half_norm, size_t n, float *value, uint32_t *index)
{
    float best = half_norm[0] - dots[0];
    uint32_t at = 0;
    for (size_t j = 1; j < n; j++) {
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
    for (size_t p = 0; p < n_panels; p++) {
        uint32_t mask = 0;
        for (uint32_t j = 0; j < OMEN_PANEL; j++)
            mask |= (uint32_t)(dots[p * OMEN_PANEL + j] - half_norm >= floors[p * OMEN_PANEL + j]) << j;
        masks[p] = (uint16_t)mask;
    }
}

static void encode16(const float *residual, const float *codewords, const float *half_norm, size_t n_dims,
                     uint8_t *codes)
{
    for (size_t row = 0; row < OMEN_LANES; row++) {
        float best = INFINITY;
        uint8_t at = 0;
        for (uint8_t j = 0; j < 16; j++) {
            float v = half_norm[j];
            for (size_t i = 0; i < n_dims; i++)
                v = fmaf(-residual[i * OMEN_LANES + row], codewords[i * 16 + j], v);
            if (v < best) {
                best = v;
                at = j;
            }
        }
        codes[row] = at;
    }
}

static float load1_f32(const void *row, size_t i)
{
    float x;
    memcpy(&x, (const char *)row + 4 * i, 4);
    return x;
}

static float load_f32(const void *row, size_t d, size_t i)
{
    return load1_f32(row, i);
}

static float load_f16(const void *row, size_t d, size_t i)
{
    uint16_t h;
    memcpy(&h, (const char *)row + 2 * i, 2);
    return omen_half_to_float(h);
}

static float of_range(const void *row, uint32_t code)
{
    return fmaf(load1_f32(row, 1), (float)code, load1_f32(row, 0));
}

static float load_sq8(const void *row, size_t d, size_t i)
{
    return of_range(row, ((const uint8_t *)row)[OMEN_SQ_HEADER + i]);
}

static float load_sq12(const void *row, size_t d, size_t i)
{
    return of_range(row, omen_sq12_code(row, d, i));
}

static float load_sq16(const void *row, size_t d, size_t i)
{
    return of_range(row, omen_sq16_code(row, i));
}

#define DISTANCES(type)                                                                                                \
    static float l2_##type(const float *query, const void *row, size_t d)                                              \
    {                                                                                                                  \
        float s[OMEN_LANES] = {0};                                                                                     \
        for (size_t i = 0; i < d; i++) {                                                                               \
            float t = query[i] - load_##type(row, d, i);                                                               \
            s[i % OMEN_LANES] = fmaf(t, t, s[i % OMEN_LANES]);                                                         \
        }                                                                                                              \
        return omen_lanes_sum(s);                                                                                      \
    }                                                                                                                  \
    static float ip_##type(const float *query, const void *row, size_t d)                                              \
    {                                                                                                                  \
        float s[OMEN_LANES] = {0};                                                                                     \
        for (size_t i = 0; i < d; i++)                                                                                 \
            s[i % OMEN_LANES] = fmaf(query[i], load_##type(row, d, i), s[i % OMEN_LANES]);                             \
        return omen_lanes_sum(s);                                                                                      \
    }

DISTANCES(f32)
DISTANCES(f16)
DISTANCES(sq8)
DISTANCES(sq12)
DISTANCES(sq16)

/* Saturating sum, as the vector instructions give it. */
static int16_t add_saturated(int a, int b)
{
    int s = a + b;
    return (int16_t)(s > INT16_MAX ? INT16_MAX : s < INT16_MIN ? INT16_MIN : s);
}

static int sum_codes(const uint8_t *block, const uint8_t *luts, size_t n_pairs, size_t lane)
{
    int sum = 0;
    for (size_t p = 0; p < n_pairs; p++) {
        uint8_t byte = block[p * OMEN_SCAN_BLOCK + lane];
        sum += luts[(2 * p) * 16 + (byte & 15)] + luts[(2 * p + 1) * 16 + (byte >> 4)];
    }
    return sum;
}

static void scan_plain(const uint8_t *blocks, size_t n_blocks, size_t n_pairs, size_t block_bytes,
                       const omen_scan *scans, size_t n_scans)
{
    for (size_t b = 0; b < n_blocks; b++) {
        const uint8_t *block = blocks + b * block_bytes, *f = block + n_pairs * OMEN_SCAN_BLOCK;
        for (const omen_scan *s = scans; s < scans + n_scans; s++) {
            s->masks[b] = 0;
            for (size_t j = 0; j < OMEN_SCAN_BLOCK; j++) {
                int offset = (int)((uint32_t)f[j] * 256 * s->f_scale >> 16);
                int16_t e = add_saturated(sum_codes(block, s->luts, n_pairs, j), offset);
                s->est[b * OMEN_SCAN_BLOCK + j] = e;
                s->masks[b] |= (uint32_t)(e <= s->threshold) << j;
            }
        }
    }
}

static void scan_gain(const uint8_t *blocks, size_t n_blocks, size_t n_pairs, size_t block_bytes,
                      const omen_scan *scans, size_t n_scans)
{
    for (size_t b = 0; b < n_blocks; b++) {
        const uint8_t *block = blocks + b * block_bytes, *f = block + n_pairs * OMEN_SCAN_BLOCK;
        const uint8_t *g = f + OMEN_SCAN_BLOCK;
        for (const omen_scan *s = scans; s < scans + n_scans; s++) {
            s->masks[b] = 0;
            for (size_t j = 0; j < OMEN_SCAN_BLOCK; j++) {
                int offset = (int)((uint32_t)f[j] * 256 * s->f_scale >> 16);
                int gain = s->g_base + (int)((uint32_t)g[j] * 256 * s->g_scale >> 16);
                int centred = (sum_codes(block, s->luts, n_pairs, j) - s->middle) * (1 << s->shift);
                int16_t e = add_saturated((centred * gain + 0x4000) >> 15, offset);
                s->est[b * OMEN_SCAN_BLOCK + j] = e;
                s->masks[b] |= (uint32_t)(e <= s->threshold) << j;
            }
        }
    }
}

static void graph_estimates(const uint8_t *codes, const uint32_t *rows, size_t n, const int8_t weights[4][64],
                            float unit, float *out)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *code = codes + (size_t)rows[i] * 64;
        int32_t high = 0, low = 0;
        float base;
        for (size_t j = 0; j < 60; j++) {
            high += weights[0][j] * (code[j] & 15) + weights[1][j] * (code[j] >> 4);
            low += weights[2][j] * (code[j] & 15) + weights[3][j] * (code[j] >> 4);
        }
        memcpy(&base, code + 60, sizeof base);
        out[i] = base - unit * (float)(256 * high + low);
    }
}

const omen_kernels omen_kernels_scalar = {
    .name = "scalar",
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
