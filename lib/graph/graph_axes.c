/* SPDX-License-Identifier: Apache-2.0 */
/* Queries on the axes that the graph's codes hold anything of, by products of bytes: one query times axes in float32
 * waits for the memory that the axes are in, which are four times as large.
 *
 * An axis is rounded to 8 bits, and what a query is beyond the mean to 16, in two parts, or to 8 where its values are
 * of about the same size; these errors are small beside those of the codes, of 4 bits a value. Sums are whole numbers,
 * so the bits are the same everywhere. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "lib/byte_products.h"
#include "lib/graph/graph.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"

#define AXIS_MOST   127
#define ERROR_MOST2 (1.0f / (32 * 32))   /* squared length of what is rounded off an axis, at most */
#define STEP_MOST2  (1.0f / (512 * 512)) /* 8 bits do if their step, squared, is so much of the squared length */

uint32_t omen_graph_count_axes(const omen_index *index)
{
    uint32_t i = OMEN_GRAPH_NIBBLES - 1;
    while (i > 0 && index->graph.dims[i] >= index->meta.d_kept)
        i--;
    return index->graph.dims[i] < index->meta.d_kept ? index->graph.dims[i] + 1 : 1;
}

void omen_graph_axes_finish(omen_graph_axes *a)
{
    free(a->panels);
    free(a->scales);
    free(a->terms);
    *a = (omen_graph_axes){.n = 0};
}

/* Rounds an axis of d values, number r, and returns the squared length of what that takes off it. */
static float round_axis(omen_graph_axes *a, size_t r, const float *axis, size_t d)
{
    const size_t n_k = omen_byte_fours(d);
    float top = 0, error2 = 0;
    int32_t sum = 0;
    for (size_t j = 0; j < d; j++)
        top = fabsf(axis[j]) > top ? fabsf(axis[j]) : top;
    const float scale = AXIS_MOST / top, step = top / AXIS_MOST; /* an axis has length 1 */
    for (size_t j = 0; j < d; j++) {
        const float whole = axis[j] * scale;
        const int32_t value = (int32_t)(whole + (whole < 0 ? -0.5f : 0.5f));
        const float error = axis[j] - (float)value * step;
        a->panels[omen_byte_place(n_k, r, j)] = (int8_t)value;
        sum += value;
        error2 += error * error;
    }
    a->scales[r] = step;
    a->terms[r] = 2 * OMEN_BYTE_CENTRE * sum;
    return error2;
}

int omen_graph_axes_init(omen_graph_axes *a, const omen_index *index)
{
    const omen_transform *t = &index->transform;
    const size_t d = t->d_full;
    *a = (omen_graph_axes){.n = omen_graph_count_axes(index)};
    const size_t width = omen_round_up(a->n, OMEN_PANEL);
    if (d > OMEN_BYTE_DIMS) /* sums would not fit 32 bits */
        return OMEN_OK;
    a->panels = omen_alloc_zero(omen_panels_count(a->n, omen_byte_fours(d)), 1);
    a->scales = omen_alloc_zero(width, sizeof *a->scales);
    a->terms = omen_alloc_zero(width, sizeof *a->terms);
    if (!a->panels || !a->scales || !a->terms)
        return OMEN_ERR_MEMORY;
    bool will_do = true;
    for (size_t r = 0; r < a->n && will_do; r++)
        will_do = round_axis(a, r, t->basis + r * d, d) <= ERROR_MOST2;
    if (!will_do) { /* of one large value and many small ones, the small ones go, which may add up */
        const uint32_t n = a->n;
        omen_graph_axes_finish(a);
        a->n = n;
    }
    return OMEN_OK;
}

/* Whether the high parts of a query of a squared length do. */
static bool high_suffices(float unit, float length2)
{
    return 256 * unit * (256 * unit) <= STEP_MOST2 * length2;
}

size_t omen_graph_axes_work_bytes(const omen_index *index, size_t n)
{
    const size_t width = omen_round_up(omen_graph_count_axes(index), OMEN_PANEL);
    return n * (2 * omen_byte_fours(index->transform.d_full) + (2 * width + 2) * sizeof(float));
}

void omen_graph_axes_project(const omen_index *index, const float *lifted, size_t n, float *out, size_t ld,
                             float *tails, void *work)
{
    const omen_kernels *kernels = omen_kernels_get();
    const omen_transform *t = &index->transform;
    const omen_graph_axes *a = &index->graph.axes;
    if (!a->panels) {
        omen_transform_project_first(t, lifted, n, a->n, out, ld, tails);
        return;
    }
    const size_t d = t->d_full, n_k = omen_byte_fours(d), width = omen_round_up(a->n, OMEN_PANEL);
    const size_t n_panels = width / OMEN_PANEL;
    float *high_sums = work, *low_sums = high_sums + n * width, *units = low_sums + n * width;
    int32_t *zeros = (int32_t *)(units + n);
    uint8_t *high = (uint8_t *)(zeros + n), *low = high + n * n_k;
    bool any_low = false;
    for (size_t i = 0; i < n; i++) {
        zeros[i] = 0;
        for (size_t j = d; j < n_k; j++) /* the axes are 0 there */
            high[i * n_k + j] = low[i * n_k + j] = 0;
        units[i] = kernels->split16(lifted + i * d, t->mean, d, high + i * n_k, low + i * n_k);
        tails[i] = kernels->l2_f32(t->mean, lifted + i * d, d);
        any_low |= !high_suffices(units[i], tails[i]);
    }
    kernels->matmul_u8(high, n_k, n, a->panels, n_panels, n_k, zeros, a->terms, high_sums, width);
    if (any_low)
        kernels->matmul_u8(low, n_k, n, a->panels, n_panels, n_k, zeros, a->terms, low_sums, width);
    for (size_t i = 0; i < n; i++) {
        float *y = out + i * ld, *low_sum = low_sums + i * width;
        const float *high_sum = high_sums + i * width, unit = 0.5f * units[i]; /* sums are twice what they are of */
        if (high_suffices(units[i], tails[i]))
            for (size_t j = 0; j < width; j++) /* as if all low parts were in the middle */
                low_sum[j] = 0;
        for (size_t j = 0; j < width; j++)
            y[j] = (256 * high_sum[j] + low_sum[j]) * (unit * a->scales[j]);
        const float tail = tails[i] - kernels->ip_f32(y, y, a->n);
        tails[i] = tail > 0 && a->n < d ? tail : 0;
    }
}
