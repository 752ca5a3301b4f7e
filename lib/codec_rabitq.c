/* SPDX-License-Identifier: Apache-2.0 */
/* The rabitq codec: the signs of a randomly rotated residual, and two factors (RaBitQ, Gao and Long, SIGMOD 2024).
 * Dimensions beyond the budget enter through their norm (MRQ, 2024).
 *
 * With z the rotated leading dimensions of residual x - c, s its signs and g = |z|^2 / |z|_1, <q - c, x - c> is
 * estimated without bias by g <q' - c', s> (primes: rotated), so |q - x|^2 ~ |q - c|^2 - 2 g <q', s> + f,   f = |x -
 * c|^2 + 2 g <c', s> + |tail of the transform|^2. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/codec_kinds.h"
#include "lib/index_format.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"

#define ROTATED_AT_ONCE 256u                 /* values of a rotated query */
#define ROTATED_MOST    (8 * OMEN_MAX_BYTES) /* of all of them: each is a bit of a row's codes */

/* Nearly normal numbers, of variance 2^32: the sum of twelve 16-bit ones. Logarithms and cosines, which the method of
 * Box and Muller takes, are not rounded alike by every C library and processor. */
static double random_normal(uint64_t seed, uint64_t i)
{
    int64_t sum = -12 * 65535 / 2;
    for (uint64_t word = 0; word < 3; word++)
        for (uint64_t x = omen_random(seed, 3 * i + word); x; x >>= 16)
            sum += (int64_t)(x & 0xffff);
    return (double)sum;
}

static int prepare(omen_codec_model *model)
{
    const size_t d_code = 4 * (size_t)model->n_sub;
    model->panels = omen_alloc(omen_panels_count(d_code, model->d_used), sizeof *model->panels);
    if (!model->panels)
        return OMEN_ERR_MEMORY;
    omen_panels_pack(model->rotation, d_code, model->d_used, model->d_used, model->panels);
    return OMEN_OK;
}

/* Nothing is trained. */
static int train(omen_codec_model *model, const float *residuals, size_t n, uint32_t d, uint32_t bytes, uint64_t seed,
                 omen_watch *watch)
{
    const omen_kernels *kernels = omen_kernels_get();
    model->n_sub = 2 * (bytes - 2);
    const size_t d_code = 4 * (size_t)model->n_sub;
    model->d_used = d < d_code ? d : (uint32_t)d_code;
    const size_t d_used = model->d_used;
    /* columns of a Gaussian matrix, made orthonormal (modified Gram-Schmidt) */
    double *columns = omen_alloc(d_used * d_code, sizeof *columns);
    model->rotation = omen_alloc(d_code * d_used, sizeof *model->rotation);
    if (!columns || !model->rotation) {
        free(columns);
        return OMEN_ERR_MEMORY;
    }
    for (size_t i = 0; i < d_used * d_code; i++)
        columns[i] = random_normal(seed, i);
    for (size_t j = 0; j < d_used; j++) {
        double *column = columns + j * d_code;
        if (omen_watch_stopped(watch)) {
            free(columns);
            return OMEN_ERR_INTERRUPTED;
        }
        const double scale = 1 / sqrt(kernels->dot_f64(column, column, d_code));
        for (size_t i = 0; i < d_code; i++)
            column[i] *= scale;
#pragma omp parallel for schedule(static) if (d_used > 256)
        for (size_t l = j + 1; l < d_used; l++) {
            double *other = columns + l * d_code;
            const double dot = kernels->dot_f64(column, other, d_code);
            kernels->reduce_f64(other, &dot, column, d_code, 1, d_code);
        }
    }
    for (size_t i = 0; i < d_code; i++)
        for (size_t j = 0; j < d_used; j++)
            model->rotation[i * d_used + j] = (float)columns[j * d_code + i];
    free(columns);
    return prepare(model);
}

/* n_sub is even, so 4 n_sub is a multiple of 8 but maybe not of a panel. */
static size_t rotated_stride(const omen_codec_model *model)
{
    return (4 * (size_t)model->n_sub + OMEN_PANEL - 1) / OMEN_PANEL * OMEN_PANEL;
}

static void encode(const omen_codec_model *model, const float *residuals, const float *centroids, size_t n, size_t ld,
                   const float *tails, uint8_t *codes, float *factors, float *reconstructions, float *scratch)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t d_code = 4 * (size_t)model->n_sub, stride = rotated_stride(model), row_bytes = model->n_sub / 2;
    float *z = scratch;
    kernels->matmul(residuals, ld, n, model->panels, stride / OMEN_PANEL, model->d_used, z, stride);
    for (size_t i = 0; i < n; i++) {
        float *zi = z + i * stride;
        const float norm1 = kernels->signs(zi, d_code, codes + i * row_bytes);
        const float norm2 = kernels->ip_f32(zi, zi, d_code), g = norm1 > 0 ? norm2 / norm1 : 0;
        factors[2 * i] = kernels->ip_f32(residuals + i * ld, residuals + i * ld, model->d) + tails[i];
        factors[2 * i + 1] = g;
        for (size_t j = 0; j < d_code; j++)
            zi[j] = zi[j] >= 0 ? g : -g;
        if (reconstructions) {
            float *r = reconstructions + i * model->d;
            memset(r, 0, model->d * sizeof *r);
            for (size_t j = 0; j < d_code; j++)
                for (size_t k = 0; k < model->d_used; k++)
                    r[k] += zi[j] * model->rotation[j * model->d_used + k];
        }
    }
    /* f += 2 g <c', s>: z now holds g s; rotate the centroids in the scratch's second half */
    float *rotated = scratch + OMEN_ENCODE_ROWS * stride;
    kernels->matmul(centroids, ld, n, model->panels, stride / OMEN_PANEL, model->d_used, rotated, stride);
    for (size_t i = 0; i < n; i++)
        factors[2 * i] += 2 * kernels->ip_f32(z + i * stride, rotated + i * stride, d_code);
}

static int prepare_decode(omen_codec_model *model)
{
    model->unrotate = omen_panels_transposed(model->rotation, 4 * (size_t)model->n_sub, model->d_used);
    return model->unrotate ? OMEN_OK : OMEN_ERR_MEMORY;
}

/* Of a row turned back, in whole panels. */
static size_t unrotated_stride(const omen_codec_model *model)
{
    return (model->d_used + OMEN_PANEL - 1) / OMEN_PANEL * OMEN_PANEL;
}

static size_t decode_floats(const omen_codec_model *model)
{
    return 4 * (size_t)model->n_sub + unrotated_stride(model);
}

static void decode(const omen_codec_model *model, const uint8_t *codes, const float *gains, size_t n, float *y,
                   size_t ld, float *scratch)
{
    const size_t n_sub = model->n_sub, d_code = 4 * n_sub, stride = unrotated_stride(model);
    float *signs = scratch + n * stride, *unrotated = scratch;
    for (size_t i = 0; i < n; i++) {
        for (size_t m = 0; m < n_sub; m++) {
            const uint32_t code = omen_code_of(codes + i * (n_sub / 2), m);
            for (size_t bit = 0; bit < 4; bit++)
                signs[i * d_code + 4 * m + bit] = code >> bit & 1 ? 1 : -1;
        }
    }
    omen_kernels_get()->matmul(signs, d_code, n, model->unrotate, stride / OMEN_PANEL, d_code, unrotated, stride);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < model->d_used; j++)
            y[i * ld + j] += gains[i] * unrotated[i * stride + j];
}

static double residual2(const omen_codec_model *model, double gains2)
{
    return gains2 * 4 * model->n_sub;
}

static int prepare_bytes(omen_codec_model *model)
{
    const uint32_t d_code = 4 * model->n_sub;
    return omen_byte_axes_init(&model->rotation_bytes, model->rotation, d_code, model->d_used, NULL);
}

/* The query's signs' values from number first on, a multiple of ROTATED_AT_ONCE; v has the query in bytes. */
static void rotate_some(const omen_codec_model *model, const float *query, const omen_byte_vectors *v, size_t first,
                        float out[ROTATED_AT_ONCE])
{
    const size_t left = rotated_stride(model) - first, n = left < ROTATED_AT_ONCE ? left : ROTATED_AT_ONCE;
    float sums[2 * ROTATED_AT_ONCE];
    if (model->rotation_bytes.panels)
        omen_byte_axes_multiply(&model->rotation_bytes, v, (uint32_t)first, (uint32_t)n, out, 0, sums);
    else
        omen_kernels_get()->matmul(query, model->d_used, 1, model->panels + first * model->d_used, n / OMEN_PANEL,
                                   model->d_used, out, 0);
}

static void tables(const omen_codec_model *model, const float *query, float *table)
{
    static const float zeros[ROTATED_MOST];
    const size_t d_code = 4 * (size_t)model->n_sub;
    uint8_t high[ROTATED_MOST], low[ROTATED_MOST];
    float rotated[ROTATED_AT_ONCE], unit, length2;
    omen_byte_vectors v = {.high = high, .low = low, .units = &unit, .lengths2 = &length2};
    if (model->rotation_bytes.panels)
        omen_byte_vectors_split(&v, 0, query, zeros, model->d_used);
    for (size_t m = 0; m * 4 < d_code; m++) {
        const size_t at = m * 4 % ROTATED_AT_ONCE;
        if (at == 0)
            rotate_some(model, query, &v, m * 4, rotated);
        /* sums of the lowest b signs, then with the next one either way */
        float sums[16] = {0};
        for (size_t b = 0; b < 4; b++) {
            const float x = rotated[at + b];
            for (size_t j = 0; j < (size_t)1 << b; j++) {
                sums[j + ((size_t)1 << b)] = sums[j] + x;
                sums[j] -= x;
            }
        }
        for (size_t j = 0; j < 16; j++)
            table[m * 16 + j] = -2 * sums[j];
    }
}

static bool counts_are_sound(const omen_codec_model *m)
{
    return !m->n_active && m->d_used >= 1 && m->d_used <= m->d && m->d_used <= 4 * m->n_sub;
}

/* The columns of the rotation have length 1. */
static bool is_sound(const omen_codec_model *m)
{
    bool sound = true;
    for (size_t j0 = 0; j0 < m->d_used; j0 += 64) {
        const size_t width = m->d_used - j0 < 64 ? m->d_used - j0 : 64;
        float norms[64] = {0};
        for (size_t i = 0; i < 4 * (size_t)m->n_sub; i++) {
            const float *row = m->rotation + i * m->d_used + j0;
            for (size_t j = 0; j < width; j++)
                norms[j] += row[j] * row[j];
        }
        for (size_t j = 0; j < width; j++)
            sound &= fabsf(norms[j] - 1) <= OMEN_UNIT_SLACK;
    }
    return sound;
}

static size_t parts_of(omen_codec_model *model, omen_model_part parts[OMEN_MODEL_PARTS])
{
    parts[0] = (omen_model_part){OMEN_SECTION_ROTA, OMEN_ELEMENT_F32, &model->rotation,
                                 (uint64_t)4 * model->n_sub * model->d_used};
    return 1;
}

static size_t scratch_floats_a_row(const omen_codec_model *model)
{
    return 8 * (size_t)model->n_sub + 32;
}

const omen_codec_ops omen_codec_rabitq = {
    .n_factors = 2,
    .train = train,
    .fault = "section ROTA is no rotation: a column is not of length 1",
    .counts_are_sound = counts_are_sound,
    .is_sound = is_sound,
    .prepare = prepare,
    .parts = parts_of,
    .scratch_floats_a_row = scratch_floats_a_row,
    .encode = encode,
    .prepare_decode = prepare_decode,
    .decode_floats = decode_floats,
    .decode = decode,
    .residual2 = residual2,
    .prepare_bytes = prepare_bytes,
    .tables = tables,
};
