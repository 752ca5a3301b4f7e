/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/byte_axes.h"

#define LANES     16u /* sums side by side */
#define AXIS_MOST 127
#define ZERO_MOST 1e-30f /* an axis of no larger value is 0 */

/* Rounds axis number r, d values and zeros to the next multiple of LANES, and returns the squared length of what that
 * takes off it. whole has room for as many. */
static double round_axis(omen_byte_axes *a, size_t r, const float *axis, int8_t *whole)
{
    const size_t d = a->d, n_k = omen_byte_fours(d);
    float top[LANES] = {0}, error2[LANES] = {0}, most = 0;
    int32_t sums[LANES] = {0}, sum = 0;
    double total = 0;
    for (size_t j = 0; j < d; j += LANES)
        for (size_t i = 0; i < LANES; i++)
            top[i] = fabsf(axis[j + i]) > top[i] ? fabsf(axis[j + i]) : top[i];
    for (size_t i = 0; i < LANES; i++)
        most = top[i] > most ? top[i] : most;
    const bool is_zero = !(most > ZERO_MOST);
    const float scale = is_zero ? 0 : AXIS_MOST / most, step = is_zero ? 0 : most / AXIS_MOST;
    for (size_t j = 0; j < d; j += LANES) {
        for (size_t i = 0; i < LANES; i++) {
            const float value = axis[j + i] * scale;
            const int32_t nearest = (int32_t)(value + copysignf(0.5f, value));
            const float error = axis[j + i] - (float)nearest * step;
            whole[j + i] = (int8_t)nearest;
            sums[i] += nearest;
            error2[i] += error * error;
        }
    }
    for (size_t i = 0; i < LANES; i++) {
        total += (double)error2[i];
        sum += sums[i];
    }
    for (size_t j = 0; j < n_k; j += 4)
        memcpy(a->panels + omen_byte_place(n_k, r, j), whole + j, 4);
    a->scales[r] = step;
    a->terms[r] = 2 * OMEN_BYTE_CENTRE * sum;
    return total;
}

int omen_byte_axes_init(omen_byte_axes *a, const float *from, uint32_t n, uint32_t d, double *errors2)
{
    const size_t width = omen_round_up(n, OMEN_PANEL);
    *a = (omen_byte_axes){.n = n, .d = d};
    a->panels = omen_alloc_zero(omen_panels_count(n, omen_byte_fours(d)), 1);
    a->scales = omen_alloc_zero(width, sizeof *a->scales);
    a->terms = omen_alloc_zero(width, sizeof *a->terms);
    float *axis = omen_alloc_zero(omen_round_up(d, LANES), sizeof *axis);
    int8_t *whole = omen_alloc(omen_round_up(d, LANES), sizeof *whole);
    const bool has_memory = a->panels && a->scales && a->terms && axis && whole;
    for (size_t r = 0; r < n && has_memory; r++) {
        memcpy(axis, from + r * d, d * sizeof *axis);
        const double error2 = round_axis(a, r, axis, whole);
        if (errors2)
            errors2[r] = error2;
    }
    free(axis);
    free(whole);
    return has_memory ? OMEN_OK : OMEN_ERR_MEMORY;
}

void omen_byte_axes_finish(omen_byte_axes *a)
{
    free(a->panels);
    free(a->scales);
    free(a->terms);
    *a = (omen_byte_axes){.n = 0};
}

/* Whether the high part of a vector does. */
static bool high_suffices(const omen_byte_vectors *v, size_t i)
{
    const float step = 256 * v->units[i];
    return step * step <= OMEN_BYTE_STEP2 * v->lengths2[i];
}

void omen_byte_vectors_split(omen_byte_vectors *out, size_t i, const float *x, const float *from, size_t d)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t n_k = omen_byte_fours(d);
    out->n = i + 1;
    for (size_t j = d; j < n_k; j++) /* the axes are 0 there */
        out->high[i * n_k + j] = out->low[i * n_k + j] = 0;
    out->units[i] = kernels->split16(x, from, d, out->high + i * n_k, out->low + i * n_k);
    out->lengths2[i] = kernels->l2_f32(from, x, d);
    out->any_low = (i > 0 && out->any_low) || !high_suffices(out, i);
}

void omen_byte_axes_multiply(const omen_byte_axes *a, const omen_byte_vectors *v, uint32_t first, uint32_t n_axes,
                             float *out, size_t ld, float *sums)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t n_k = omen_byte_fours(a->d), width = omen_round_up(n_axes, OMEN_PANEL), n_panels = width / OMEN_PANEL;
    const int8_t *panels = a->panels + first * n_k;
    static const int32_t zeros[OMEN_BYTE_VECTORS];
    float *low_sums = sums + v->n * width;
    kernels->matmul_u8(v->high, n_k, v->n, panels, n_panels, n_k, zeros, a->terms + first, sums, width);
    if (v->any_low)
        kernels->matmul_u8(v->low, n_k, v->n, panels, n_panels, n_k, zeros, a->terms + first, low_sums, width);
    for (size_t i = 0; i < v->n; i++) {
        const float *high_sum = sums + i * width, *scales = a->scales + first;
        float *to = out + i * ld, *low_sum = low_sums + i * width;
        const float unit = 0.5f * v->units[i]; /* sums are twice what they are of */
        if (high_suffices(v, i))
            for (size_t j = 0; j < width; j++) /* as if all low parts were in the middle */
                low_sum[j] = 0;
        for (size_t j = 0; j < width; j++)
            to[j] = (256 * high_sum[j] + low_sum[j]) * (unit * scales[j]);
    }
}
