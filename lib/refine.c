/* SPDX-License-Identifier: Apache-2.0 */
/* The refine tier: rows kept precisely enough to re-rank candidates. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "lib/index_format.h"
#include "lib/kernels.h"
#include "lib/refine.h"

size_t omen_refine_row_bytes(omen_refine refine, uint32_t d)
{
    switch (refine) {
    case OMEN_REFINE_NONE:
        return 0;
    case OMEN_REFINE_SQ8:
        return OMEN_SQ8_HEADER + (size_t)d;
    case OMEN_REFINE_F16:
        return 2 * (size_t)d;
    case OMEN_REFINE_F32:
        return 4 * (size_t)d;
    }
    return 0;
}

/* Round to nearest, ties to even; beyond the range of binary16 to its largest finite value. */
static uint16_t float_to_half(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    const float a = fabsf(f);
    if (a >= 65504)
        return sign | 0x7bff;
    if (a < 0x1p-14f) /* subnormal: a multiple of 2^-24, rounded by the addition */
        return sign | (uint16_t)(int)((a + 0x1p-1f) * 0x1p24f - 0x1p23f);
    const uint32_t magnitude = bits & 0x7fffffff;
    return sign | (uint16_t)((magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13);
}

void omen_refine_encode(omen_refine refine, const float *row, uint32_t d, uint8_t *out)
{
    switch (refine) {
    case OMEN_REFINE_NONE:
        break;
    case OMEN_REFINE_SQ8:
        omen_kernels_get()->sq8_encode(row, d, out);
        break;
    case OMEN_REFINE_F16:
        for (uint32_t j = 0; j < d; j++) {
            const uint16_t h = float_to_half(row[j]);
            memcpy(out + 2 * (size_t)j, &h, 2);
        }
        break;
    case OMEN_REFINE_F32:
        memcpy(out, row, 4 * (size_t)d);
        break;
    }
}

void omen_refine_decode(omen_refine refine, const void *stored, uint32_t d, float *row)
{
    const uint8_t *bytes = stored;
    float header[2];
    switch (refine) {
    case OMEN_REFINE_NONE:
        break;
    case OMEN_REFINE_SQ8:
        memcpy(header, bytes, sizeof header);
        /* the product is exact in float64, so this rounds once, as the kernels' fused multiply-add does */
        for (uint32_t j = 0; j < d; j++)
            row[j] = (float)((double)header[1] * bytes[OMEN_SQ8_HEADER + j] + (double)header[0]);
        break;
    case OMEN_REFINE_F16:
        for (uint32_t j = 0; j < d; j++) {
            uint16_t h;
            memcpy(&h, bytes + 2 * (size_t)j, 2);
            row[j] = omen_half_to_float(h);
        }
        break;
    case OMEN_REFINE_F32:
        memcpy(row, bytes, 4 * (size_t)d);
        break;
    }
}

bool omen_refine_is_valid(omen_refine refine, const void *stored, uint32_t d)
{
    const uint8_t *bytes = stored;
    float header[2], most;
    double norm2 = 0;
    bool finite = true;
    switch (refine) {
    case OMEN_REFINE_NONE:
        break;
    case OMEN_REFINE_SQ8:
        memcpy(header, bytes, sizeof header);
        if (!(header[1] >= 0))
            return false;
        /* no value is farther from 0 than the ends of the range */
        most = fmaxf(fabsf(header[0]), fabsf(header[0] + 255 * header[1]));
        if ((double)most * (double)most * d <= (double)OMEN_LENGTH2_MOST)
            return true;
        for (uint32_t j = 0; j < d; j++) {
            const double x = (double)header[1] * bytes[OMEN_SQ8_HEADER + j] + (double)header[0];
            norm2 += x * x;
        }
        return norm2 <= (double)OMEN_LENGTH2_MOST;
    case OMEN_REFINE_F16:
        for (uint32_t j = 0; j < d; j++) {
            uint16_t h;
            memcpy(&h, bytes + 2 * (size_t)j, 2);
            finite &= (h & 0x7c00) != 0x7c00;
        }
        break;
    case OMEN_REFINE_F32:
        for (uint32_t j = 0; j < d; j++) {
            float x;
            memcpy(&x, bytes + 4 * (size_t)j, 4);
            norm2 += (double)x * (double)x;
        }
        return norm2 <= (double)OMEN_LENGTH2_MOST;
    }
    return finite;
}

bool omen_refine_matches(omen_refine refine, const void *stored, const float *row, uint32_t d)
{
    const uint8_t *bytes = stored;
    bool near = true;
    if (refine == OMEN_REFINE_F32) {
        for (uint32_t j = 0; j < d; j++) {
            float x;
            memcpy(&x, bytes + 4 * (size_t)j, 4);
            near &= x == row[j];
        }
    } else if (refine == OMEN_REFINE_F16) {
        for (uint32_t j = 0; j < d; j++) {
            uint16_t h;
            memcpy(&h, bytes + 2 * (size_t)j, 2);
            near &= h == float_to_half(row[j]);
        }
    } else if (refine == OMEN_REFINE_SQ8) {
        float header[2];
        memcpy(header, bytes, sizeof header);
        const double slack = 0.5 * (double)header[1] * (1 + 1e-5) + 255 * (double)FLT_MIN;
        for (uint32_t j = 0; j < d; j++) {
            const double x = (double)header[1] * bytes[OMEN_SQ8_HEADER + j] + (double)header[0];
            near &= fabs(x - (double)row[j]) <= slack + 1e-6 * fabs((double)row[j]);
        }
    }
    return near;
}

omen_distance_fn omen_refine_kernel(omen_refine refine, omen_metric metric)
{
    const omen_kernels *k = omen_kernels_get();
    const bool l2 = metric == OMEN_METRIC_L2;
    switch (refine) {
    case OMEN_REFINE_NONE:
        return NULL;
    case OMEN_REFINE_SQ8:
        return l2 ? k->l2_sq8 : k->ip_sq8;
    case OMEN_REFINE_F16:
        return l2 ? k->l2_f16 : k->ip_f16;
    case OMEN_REFINE_F32:
        return l2 ? k->l2_f32 : k->ip_f32;
    }
    return NULL;
}
