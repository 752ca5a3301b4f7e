/* SPDX-License-Identifier: Apache-2.0 */
/* What the codecs share: dispatch by kind, lifetime, measured error. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/codec.h"
#include "lib/codec_kinds.h"
#include "lib/index_format.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"

uint32_t omen_codec_bytes(const omen_codec_model *model)
{
    return model->kind == OMEN_CODEC_NONE ? 0 : model->n_sub / 2 + model->n_factors;
}

static const omen_codec_ops *const codecs[1 + OMEN_N_CODECS] = {
    [OMEN_CODEC_PQ] = &omen_codec_pq,
    [OMEN_CODEC_RABITQ] = &omen_codec_rabitq,
};

/* NULL for a model without codes, and for a kind that there is not. */
static const omen_codec_ops *ops_of(const omen_codec_model *m)
{
    return omen_codec_is_known(m->kind) ? codecs[m->kind] : NULL;
}

bool omen_codec_is_known(uint32_t kind)
{
    return kind <= OMEN_N_CODECS;
}

bool omen_codec_needs_residuals(omen_codec kind)
{
    return codecs[kind]->needs_residuals;
}

int omen_codec_train(omen_codec_model *model, omen_codec kind, const float *residuals, size_t n, uint32_t d,
                     uint32_t bytes, uint64_t seed, omen_watch *watch)
{
    *model = (omen_codec_model){.kind = kind, .d = d, .n_factors = codecs[kind]->n_factors};
    return codecs[kind]->train(model, residuals, n, d, bytes, seed, watch);
}

bool omen_codec_counts_are_sound(const omen_codec_model *m, uint32_t bytes)
{
    const omen_codec_ops *ops = ops_of(m);
    if (!ops)
        return m->kind == OMEN_CODEC_NONE && !m->n_sub && !m->n_factors && !m->n_active && !m->d_used;
    return m->n_sub >= 2 && m->n_sub % 2 == 0 && m->n_factors == ops->n_factors &&
           m->n_sub / 2 + m->n_factors <= bytes && bytes <= OMEN_MAX_BYTES && ops->counts_are_sound(m);
}

bool omen_codec_is_sound(const omen_codec_model *m)
{
    const omen_codec_ops *ops = ops_of(m);
    return !ops || ops->is_sound(m);
}

const char *omen_codec_fault(const omen_codec_model *m)
{
    return codecs[m->kind]->fault;
}

size_t omen_codec_parts(omen_codec_model *m, omen_model_part parts[OMEN_MODEL_PARTS])
{
    const omen_codec_ops *ops = ops_of(m);
    return ops ? ops->parts(m, parts) : 0;
}

int omen_codec_prepare(omen_codec_model *m)
{
    const omen_codec_ops *ops = ops_of(m);
    return ops ? ops->prepare(m) : OMEN_OK;
}

int omen_codec_prepare_bytes(omen_codec_model *m)
{
    const omen_codec_ops *ops = ops_of(m);
    return ops && ops->prepare_bytes ? ops->prepare_bytes(m) : OMEN_OK;
}

double omen_codec_residual2(const omen_codec_model *m, double gains2)
{
    const omen_codec_ops *ops = ops_of(m);
    return ops ? ops->residual2(m, gains2) : 0;
}

bool omen_factor_is_sound(uint32_t i, float low, float step)
{
    const float least = i == 0 ? -OMEN_F_MOST : 0, most = i == 0 ? OMEN_F_MOST : OMEN_G_MOST;
    return low >= least && step >= 0 && low + 255 * step <= most;
}

void omen_codec_finish(omen_codec_model *model)
{
    free(model->sub_first);
    free(model->dims);
    free(model->codewords);
    free(model->half_norms);
    free(model->rotation);
    free(model->panels);
    free(model->unrotate);
    omen_byte_axes_finish(&model->rotation_bytes);
    memset(model, 0, sizeof *model);
}

size_t omen_codec_scratch_floats(const omen_codec_model *model)
{
    return OMEN_ENCODE_ROWS * codecs[model->kind]->scratch_floats_a_row(model);
}

void omen_codec_encode(const omen_codec_model *model, const float *residuals, const float *centroids, size_t n,
                       size_t ld, const float *tails, uint8_t *codes, float *factors, float *reconstructions,
                       float *scratch)
{
    codecs[model->kind]->encode(model, residuals, centroids, n, ld, tails, codes, factors, reconstructions, scratch);
}

void omen_codec_tables(const omen_codec_model *model, const float *query, float *table)
{
    codecs[model->kind]->tables(model, query, table);
}

int omen_codec_prepare_decode(omen_codec_model *model)
{
    const omen_codec_ops *ops = ops_of(model);
    return ops && ops->prepare_decode ? ops->prepare_decode(model) : OMEN_OK;
}

size_t omen_codec_decode_floats(const omen_codec_model *model)
{
    const omen_codec_ops *ops = codecs[model->kind];
    return ops->decode_floats ? ops->decode_floats(model) : 0;
}

void omen_codec_decode(const omen_codec_model *model, const uint8_t *codes, const float *gains, size_t n, float *y,
                       size_t ld, float *scratch)
{
    codecs[model->kind]->decode(model, codes, gains, n, y, ld, scratch);
}

#define TABLE_TOTAL 32000u /* most that a sum of table values may reach */

uint32_t omen_codec_lut_max(const omen_codec_model *model)
{
    const uint32_t fits = TABLE_TOTAL / model->n_sub;
    return fits < OMEN_LUT_MAX ? fits : OMEN_LUT_MAX;
}

float omen_codec_round_tables(const omen_codec_model *model, const float *table, float step_least, uint8_t *luts,
                              float *bias)
{
    const float lut_max = (float)omen_codec_lut_max(model);
    const omen_kernels *kernels = omen_kernels_get();
    float lows[2 * OMEN_MAX_BYTES];
    const float widest = kernels->table_lows(table, model->n_sub, lows);
    *bias = 0;
    for (size_t m = 0; m < model->n_sub; m++)
        *bias += lows[m];
    float step = widest / lut_max;
    step = step < step_least ? step_least : step;
    step = step >= FLT_MIN ? step : 1;
    kernels->table_round(table, lows, model->n_sub, 1 / step, lut_max, luts);
    return step;
}

/* The sum that a scan would find for one row's code. */
static uint32_t sum_luts(const omen_codec_model *model, const uint8_t *luts, const uint8_t *code)
{
    uint32_t sum = 0;
    for (size_t p = 0; p < model->n_sub / 2; p++)
        sum += luts[2 * p * 16 + (code[p] & 15)] + luts[(2 * p + 1) * 16 + (code[p] >> 4)];
    return sum;
}

#define NEAR 32u /* rows nearest to a query that its error is measured on */

int omen_codec_error(const omen_codec_model *model, const float *rows, const float *centroids, const uint32_t *lists,
                     size_t n, size_t n_queries, double *out)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t d = model->d;
    const size_t code_bytes = model->n_sub / 2;
    float *factors = omen_alloc((n + OMEN_ENCODE_ROWS) * OMEN_MAX_FACTORS, sizeof *factors);
    float *residuals = omen_alloc(2 * OMEN_ENCODE_ROWS * d, sizeof *residuals);
    float *scratch = omen_alloc(omen_codec_scratch_floats(model), sizeof *scratch);
    float *distances = omen_alloc(n, sizeof *distances);
    float *table = omen_alloc(model->n_sub, 16 * sizeof *table);
    uint8_t *codes = omen_alloc((n + OMEN_ENCODE_ROWS) * code_bytes, 1), *luts = omen_alloc(model->n_sub, 16);
    static const float no_tails[OMEN_ENCODE_ROWS];
    double error = 0, energy = 0;
    int status = OMEN_ERR_MEMORY;
    if (!factors || !residuals || !scratch || !distances || !table || !codes || !luts)
        goto out;
    float *own = residuals + OMEN_ENCODE_ROWS * d;
    for (size_t i0 = 0; i0 < n; i0 += OMEN_ENCODE_ROWS) {
        const size_t count = n - i0 < OMEN_ENCODE_ROWS ? n - i0 : OMEN_ENCODE_ROWS;
        for (size_t i = 0; i < count; i++) {
            memcpy(own + i * d, centroids + lists[i0 + i] * d, d * sizeof *own);
            for (size_t j = 0; j < d; j++)
                residuals[i * d + j] = rows[(i0 + i) * d + j] - own[i * d + j];
        }
        omen_codec_encode(model, residuals, own, count, d, no_tails, codes + i0 * code_bytes,
                          factors + i0 * model->n_factors, NULL, scratch);
    }
    for (size_t q = 0; q < n_queries; q++) {
        const size_t at = q * n / n_queries;
        const float *query = rows + at * d;
        float bias;
        omen_codec_tables(model, query, table);
        const float step = omen_codec_round_tables(model, table, 0, luts, &bias);
        for (size_t i = 0; i < n; i++)
            distances[i] = i == at ? INFINITY : kernels->l2_f32(query, rows + i * d, d);
        for (size_t rank = 0; rank < NEAR && rank + 1 < n; rank++) {
            size_t near = 0;
            for (size_t i = 1; i < n; i++)
                if (distances[i] < distances[near])
                    near = i;
            const float *own_factors = factors + near * model->n_factors;
            const float sum = bias + step * (float)sum_luts(model, luts, codes + near * code_bytes);
            const float est = kernels->l2_f32(query, centroids + lists[near] * d, d) + own_factors[0] +
                              (omen_codec_has_gain(model->n_factors) ? own_factors[1] * sum : sum);
            const double miss = (double)est - (double)distances[near];
            error += miss * miss;
            energy += (double)distances[near] * (double)distances[near];
            distances[near] = INFINITY;
        }
    }
    *out = energy > 0 ? error / energy : 0;
    status = OMEN_OK;
out:
    free(luts);
    free(codes);
    free(table);
    free(distances);
    free(scratch);
    free(residuals);
    free(factors);
    return status;
}
