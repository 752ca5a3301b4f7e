/* SPDX-License-Identifier: Apache-2.0 */
/* The refine tier: rows kept precisely enough to re-rank candidates. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "lib/index_format.h"
#include "lib/kernels/kernels.h"
#include "lib/refine.h"

/* Bits of an integer of sq8, sq12 or sq16; 0 of other tiers. */
static uint32_t bits_of(omen_refine refine)
{
    return refine == OMEN_REFINE_SQ8 ? 8 : refine == OMEN_REFINE_SQ12 ? 12 : refine == OMEN_REFINE_SQ16 ? 16 : 0;
}

static uint32_t code_of(omen_refine refine, const uint8_t *stored, uint32_t d, uint32_t j)
{
    return refine == OMEN_REFINE_SQ8    ? stored[OMEN_SQ_HEADER + j]
           : refine == OMEN_REFINE_SQ12 ? omen_sq12_code(stored, d, j)
                                        : omen_sq16_code(stored, j);
}

size_t omen_refine_row_bytes(omen_refine refine, uint32_t d)
{
    switch (refine) {
    case OMEN_REFINE_NONE:
        return 0;
    case OMEN_REFINE_SQ8:
    case OMEN_REFINE_SQ12:
    case OMEN_REFINE_SQ16:
        return OMEN_SQ_HEADER + ((size_t)d * bits_of(refine) + 7) / 8;
    case OMEN_REFINE_F16:
        return 2 * (size_t)d;
    case OMEN_REFINE_F32:
    case OMEN_REFINE_AUTO:
        return 4 * (size_t)d;
    }
    return 0;
}

bool omen_refine_fits(omen_refine refine, const float *row, uint32_t d)
{
    bool fits = true;
    for (uint32_t j = 0; j < d && refine == OMEN_REFINE_F16; j++)
        fits &= fabsf(row[j]) < 65520; /* which rounds to infinity */
    return fits;
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
    case OMEN_REFINE_AUTO:
        break;
    case OMEN_REFINE_SQ8:
        omen_kernels_get()->sq8_encode(row, d, out);
        break;
    case OMEN_REFINE_SQ12:
        omen_kernels_get()->sq12_encode(row, d, out);
        break;
    case OMEN_REFINE_SQ16:
        omen_kernels_get()->sq16_encode(row, d, out);
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
    case OMEN_REFINE_AUTO:
        break;
    case OMEN_REFINE_SQ8:
    case OMEN_REFINE_SQ12:
    case OMEN_REFINE_SQ16:
        memcpy(header, bytes, sizeof header);
        /* the product is exact in float64, so this rounds once, as the kernels' fused multiply-add does */
        for (uint32_t j = 0; j < d; j++)
            row[j] = (float)((double)header[1] * code_of(refine, bytes, d, j) + (double)header[0]);
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
    const float top = (float)((1u << bits_of(refine)) - 1);
    double norm2 = 0;
    bool finite = true;
    switch (refine) {
    case OMEN_REFINE_NONE:
    case OMEN_REFINE_AUTO:
        break;
    case OMEN_REFINE_SQ8:
    case OMEN_REFINE_SQ12:
    case OMEN_REFINE_SQ16:
        memcpy(header, bytes, sizeof header);
        if (!(header[1] >= 0))
            return false;
        /* no value is farther from 0 than the ends of the range */
        most = fmaxf(fabsf(header[0]), fabsf(header[0] + top * header[1]));
        if ((double)most * (double)most * d <= (double)OMEN_LENGTH2_MOST)
            return true;
        for (uint32_t j = 0; j < d; j++) {
            const double x = (double)header[1] * code_of(refine, bytes, d, j) + (double)header[0];
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

bool omen_refine_are_valid(omen_refine refine, const uint8_t *rows, size_t n, size_t row_bytes, uint32_t d)
{
    bool valid = true;
    if (refine == OMEN_REFINE_SQ8 || refine == OMEN_REFINE_SQ12 || refine == OMEN_REFINE_SQ16) {
        const float top = (float)((1u << bits_of(refine)) - 1);
        const float most =
            (float)(sqrt((double)OMEN_LENGTH2_MOST / d) * 0.999); /* of the ends of a short row's range */
        for (size_t i = 0; i < n; i++) {
            float header[2];
            memcpy(header, rows + i * row_bytes, sizeof header);
            valid &= (header[1] >= 0) & (fabsf(header[0]) <= most) & (fabsf(header[0] + top * header[1]) <= most);
        }
        if (valid)
            return true;
    }
    valid = true;
    for (size_t i = 0; i < n && valid; i++)
        valid = omen_refine_is_valid(refine, rows + i * row_bytes, d);
    return valid;
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
    } else if (bits_of(refine)) {
        float header[2];
        memcpy(header, bytes, sizeof header);
        /* a code is the nearest up to the rounding of a float32 product */
        const double top = (double)((1u << bits_of(refine)) - 1);
        const double slack = (0.5 + top * 0x1p-22) * (double)header[1] + top * (double)FLT_MIN;
        for (uint32_t j = 0; j < d; j++) {
            const double x = (double)header[1] * code_of(refine, bytes, d, j) + (double)header[0];
            near &= fabs(x - (double)row[j]) <= slack + 1e-6 * fabs((double)row[j]);
        }
    }
    return near;
}

bool omen_refine_centre_is_sound(const float *centre, uint32_t d)
{
    return omen_kernels_get()->ip_f32(centre, centre, d) <= OMEN_MEAN2_MOST; /* which a NaN is not */
}

const float *omen_refine_shift(const omen_refine_space *space, const float *rows, size_t n, bool queries, float *out)
{
    const size_t d = space->d;
    if (!space->centre || (queries && space->metric == OMEN_METRIC_IP))
        return rows;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++)
            out[i * d + j] = rows[i * d + j] - space->centre[j];
    return out;
}

double omen_refine_offset(const omen_refine_space *space, const float *query)
{
    double sum = 0;
    for (uint32_t j = 0; j < space->d && space->centre && space->metric == OMEN_METRIC_IP; j++)
        sum += (double)query[j] * (double)space->centre[j];
    return sum;
}

bool omen_refine_is_zero(const omen_refine_space *space, const void *stored)
{
    const uint8_t *bytes = stored;
    const size_t n_bytes = omen_refine_row_bytes(space->tier, space->d);
    /* of a float, little-endian, the sign is in the last byte: -0 is zero too */
    const size_t sign = space->tier == OMEN_REFINE_F32 ? 3 : space->tier == OMEN_REFINE_F16 ? 1 : SIZE_MAX;
    size_t at = 0;
    float low = 0;
    if (bits_of(space->tier)) {
        memcpy(&low, stored, sizeof low);
        at = OMEN_SQ_HEADER; /* the row that spans nothing has step 1, and codes 0 */
    }
    while (low == 0 && at < n_bytes && (bytes[at] == 0 || (bytes[at] == 0x80 && (at & sign) == sign)))
        at++;
    return at == n_bytes;
}

omen_distance_fn omen_refine_kernel(omen_refine refine, omen_metric metric)
{
    const omen_kernels *k = omen_kernels_get();
    const bool is_ip = metric == OMEN_METRIC_IP;
    switch (refine) {
    case OMEN_REFINE_NONE:
    case OMEN_REFINE_AUTO:
        return NULL;
    case OMEN_REFINE_SQ8:
        return is_ip ? k->ip_sq8 : k->l2_sq8;
    case OMEN_REFINE_SQ12:
        return is_ip ? k->ip_sq12 : k->l2_sq12;
    case OMEN_REFINE_SQ16:
        return is_ip ? k->ip_sq16 : k->l2_sq16;
    case OMEN_REFINE_F16:
        return is_ip ? k->ip_f16 : k->l2_f16;
    case OMEN_REFINE_F32:
        return is_ip ? k->ip_f32 : k->l2_f32;
    }
    return NULL;
}
