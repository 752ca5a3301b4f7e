/* SPDX-License-Identifier: Apache-2.0 */
/* Graph codes: a projected row in one cache line. Where the variance is, there are more bits: nibbles are given out one
 * by one to the dimension whose error is largest. */
#include <math.h>
#include <string.h>

#include "lib/graph/graph.h"
#include "lib/kernels/kernels.h"

#define NIBBLES_A_DIM 3u       /* at most */
#define WEIGHT_MOST   32000.0f /* of a nibble; what it is rounded to fits two bytes with sign */
#define BASE_MOST     1e38f
#define NEAR_SHARE    0.2 /* of the mean variance of a dimension: what near rows are from a query, squared */

/* How far from the mean a dimension of so many nibbles is coded, in standard deviations, and the squared error that is
 * left, in variances, of values that are distributed normally. */
static const double reaches[NIBBLES_A_DIM + 1] = {0, 2.6, 4.5, 6};
static const double errors[NIBBLES_A_DIM + 1] = {1, 0.0135, 1.1e-4, 7e-7};

static uint32_t most_of(uint32_t n_nibbles)
{
    return (1u << 4 * n_nibbles) - 1;
}

void omen_graph_scales_fit(omen_graph_scales *scales, const double *means, const double *variances)
{
    const uint32_t d = scales->d;
    double near = 0; /* how far near rows are from a query in one dimension, squared */
    uint32_t next = 0;
    for (uint32_t i = 0; i < OMEN_GRAPH_NIBBLES; i++)
        scales->dims[i] = d;
    for (uint32_t j = 0; j < d; j++)
        near += NEAR_SHARE * variances[j] / d;
    /* counts of nibbles are kept in the ranges until these are known */
    for (uint32_t j = 0; j < d; j++)
        scales->ranges[j][0] = 0;
    for (uint32_t i = 0; i < OMEN_GRAPH_NIBBLES; i++) {
        double most = 0;
        uint32_t best = d;
        for (uint32_t j = 0; j < d; j++) {
            const uint32_t n = (uint32_t)scales->ranges[j][0];
            const double before = n > 0 ? errors[n] * near : variances[j];
            const double gain = n < NIBBLES_A_DIM ? variances[j] * (before - errors[n + 1] * near) : 0;
            if (gain > most) {
                most = gain;
                best = j;
            }
        }
        if (best == d)
            break;
        scales->ranges[best][0] += 1;
    }
    for (uint32_t j = 0; j < d; j++) {
        const uint32_t n = (uint32_t)scales->ranges[j][0];
        const double reach = reaches[n] * sqrt(variances[j]);
        scales->ranges[j][0] = (float)(means[j] - reach);
        scales->ranges[j][1] = n > 0 ? (float)(2 * reach / most_of(n)) : 0;
        for (uint32_t i = 0; i < n; i++)
            scales->dims[next++] = j;
    }
}

bool omen_graph_scales_are_sound(const uint32_t dims[OMEN_GRAPH_NIBBLES], const float (*ranges)[2], uint32_t d)
{
    bool sound = true;
    for (uint32_t i = 0; i < OMEN_GRAPH_NIBBLES; i++)
        sound = sound && dims[i] <= d && (i == 0 || dims[i] >= dims[i - 1]) &&
                (i < NIBBLES_A_DIM || dims[i] == d || dims[i] != dims[i - NIBBLES_A_DIM]);
    for (uint32_t j = 0; j < d; j++) /* comparisons that a NaN fails */
        sound = sound && ranges[j][0] >= -OMEN_COORDINATE_MOST && ranges[j][1] >= 0 &&
                ranges[j][0] + (float)most_of(NIBBLES_A_DIM) * ranges[j][1] <= OMEN_COORDINATE_MOST;
    return sound;
}

void omen_graph_encode(const omen_graph_scales *scales, const float *row, float tail,
                       uint8_t code[OMEN_GRAPH_CODE_BYTES])
{
    double norm2 = (double)tail;
    uint32_t i = 0;
    memset(code, 0, OMEN_GRAPH_CODE_BYTES);
    for (uint32_t j = 0; j < scales->d; j++) {
        const uint32_t first = i;
        while (i < OMEN_GRAPH_NIBBLES && scales->dims[i] == j)
            i++;
        if (i == first) {
            norm2 += (double)row[j] * (double)row[j];
            continue;
        }
        const float low = scales->ranges[j][0], step = scales->ranges[j][1];
        const float most = (float)most_of(i - first), whole = step > 0 ? (row[j] - low) / step + 0.5f : 0;
        const uint32_t u = (uint32_t)(whole > 0 ? (whole < most ? whole : most) : 0);
        const double value = (double)low + (double)step * u;
        norm2 += value * value;
        for (uint32_t s = first; s < i; s++)
            code[s / 2] |= (uint8_t)((u >> 4 * (i - 1 - s) & 15) << s % 2 * 4);
    }
    const float base = norm2 < (double)BASE_MOST ? (float)norm2 : BASE_MOST;
    memcpy(code + OMEN_GRAPH_NIBBLES / 2, &base, sizeof base);
}

bool omen_graph_code_is_sound(const uint8_t *code)
{
    float base;
    memcpy(&base, code + OMEN_GRAPH_NIBBLES / 2, sizeof base);
    return fabsf(base) <= BASE_MOST; /* which a NaN is not */
}

void omen_graph_query_make(const uint32_t dims[OMEN_GRAPH_NIBBLES], const float (*ranges)[2], uint32_t d,
                           const float *query, float tail, omen_graph_query *out)
{
    float weights[OMEN_GRAPH_NIBBLES], most = 0;
    double offset = (double)tail;
    memset(out, 0, sizeof *out);
    for (uint32_t j = 0; j < d; j++)
        offset += (double)query[j] * (double)query[j];
    for (uint32_t i = OMEN_GRAPH_NIBBLES; i-- > 0;) {
        const uint32_t j = dims[i];
        weights[i] = 0;
        if (j >= d)
            continue;
        const bool is_last = i + 1 == OMEN_GRAPH_NIBBLES || dims[i + 1] != j;
        weights[i] = is_last ? query[j] * ranges[j][1] : 16 * weights[i + 1];
        most = fabsf(weights[i]) > most ? fabsf(weights[i]) : most;
        if (is_last)
            offset -= 2 * (double)query[j] * (double)ranges[j][0];
    }
    out->offset = offset < (double)BASE_MOST ? offset > -(double)BASE_MOST ? (float)offset : -BASE_MOST : BASE_MOST;
    if (!(most > 1e-30f && most < INFINITY))
        return;                        /* all rows are alike to this query */
    int32_t whole[OMEN_GRAPH_NIBBLES]; /* a loop of its own, which compilers turn into vectors */
    for (uint32_t i = 0; i < OMEN_GRAPH_NIBBLES; i++) {
        const float w = weights[i] / most * WEIGHT_MOST;
        whole[i] = (int32_t)(w + (w < 0 ? -0.5f : 0.5f));
    }
    for (uint32_t i = 0; i < OMEN_GRAPH_NIBBLES; i++) {
        const int32_t high = (whole[i] + 128) >> 8; /* which leaves -128 to 127 */
        out->weights[i % 2][i / 2] = (int8_t)high;
        out->weights[2 + i % 2][i / 2] = (int8_t)(whole[i] - 256 * high);
    }
    out->unit = 2 * (most / WEIGHT_MOST);
}
