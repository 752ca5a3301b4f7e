/* SPDX-License-Identifier: Apache-2.0 */
/* The pq codec: a product quantiser (Jegou et al., TPAMI 2011) of 4-bit sub-codes, whose sub-spaces get equal shares of
 * the bits that reverse water-filling grants the principal dimensions (the closed form of Ge et al., OPQ, 2013, for
 * unequal widths).
 *
 * With reconstruction r of residual x - c, |q - x|^2 is estimated as |q - c|^2 - 2 <q, r> + f,
 *   f = |x - c|^2 + 2 <c, r> + |tail of the transform|^2:
 * only the cross term <q - c, x - c> is approximated. Taking |r|^2 for |x - c|^2, as plain asymmetric distances do,
 * ranks worse on all sets measured (docs/EXPERIMENTS.md). Dimensions without a code lose their cross term, whose mean
 * is 0. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/codec_kinds.h"
#include "lib/index_format.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"

#define PASSES 12u
#define WORDS  16u

typedef struct {
    double bits; /* log2 of the variance, then the bits wanted */
    uint32_t dim;
} dim_bits;

static int by_falling_bits(const void *a, const void *b)
{
    const dim_bits *x = a, *y = b;
    if (x->bits != y->bits)
        return x->bits < y->bits ? 1 : -1;
    return x->dim < y->dim ? -1 : x->dim > y->dim;
}

/* Decides which dimensions are coded, and by which sub-quantiser: reverse water-filling gives dimension i
 * max(0, log2(v_i / theta) / 2) bits with theta such that they sum to 4 n_sub; then, most demanding first, each
 * dimension goes to the sub-quantiser with the least demand so far. */
static int allocate(omen_codec_model *model, const float *residuals, size_t n, uint32_t n_sub_max)
{
    const uint32_t d = model->d;
    dim_bits *wanted = omen_alloc(d, sizeof *wanted);
    uint32_t *owner = omen_alloc(d, sizeof *owner);
    double *load = NULL;
    int status = OMEN_ERR_MEMORY;
    if (!wanted || !owner)
        goto out;
#pragma omp parallel for schedule(dynamic)
    for (size_t j0 = 0; j0 < d; j0 += 32) {
        const size_t width = d - j0 < 32 ? d - j0 : 32;
        double sums[32] = {0};
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < width; j++)
                sums[j] += (double)residuals[i * d + j0 + j] * (double)residuals[i * d + j0 + j];
        for (size_t j = 0; j < width; j++)
            wanted[j0 + j] = (dim_bits){sums[j] > 0 ? omen_log2(sums[j] / (double)n) : -INFINITY, (uint32_t)(j0 + j)};
    }
    qsort(wanted, d, sizeof *wanted, by_falling_bits);
    uint32_t n_varying = 0;
    while (n_varying < d && wanted[n_varying].bits > -INFINITY)
        n_varying++;
    if (n_varying == 0) {
        n_varying = 1;
        wanted[0].bits = 0;
    }
    model->n_sub = n_sub_max < n_varying ? n_sub_max : (n_varying + 1) / 2 * 2;
    double sum = 0, water = 0;
    model->n_active = 0;
    for (uint32_t m = 1; m <= n_varying; m++) {
        sum += wanted[m - 1].bits;
        const double level = (sum - 8.0 * model->n_sub) / m;
        if (m > model->n_sub && wanted[m - 1].bits <= level)
            break;
        water = level;
        model->n_active = m;
    }
    model->sub_first = omen_alloc_zero((size_t)model->n_sub + 1, sizeof *model->sub_first);
    model->dims = omen_alloc(model->n_active, sizeof *model->dims);
    load = omen_alloc_zero(model->n_sub, sizeof *load);
    if (!model->sub_first || !model->dims || !load)
        goto out;
    for (uint32_t i = 0; i < model->n_active; i++) {
        uint32_t least = 0;
        for (uint32_t m = 1; m < model->n_sub; m++)
            if (load[m] < load[least])
                least = m;
        const double bits = (wanted[i].bits - water) / 2;
        load[least] += bits > 1e-3 ? bits : 1e-3;
        owner[i] = least;
        model->sub_first[least + 1]++;
    }
    for (uint32_t m = 0; m < model->n_sub; m++)
        model->sub_first[m + 1] += model->sub_first[m];
    for (uint32_t m = 0; m < model->n_sub; m++)
        for (uint32_t i = 0, at = model->sub_first[m]; i < model->n_active; i++)
            if (owner[i] == m)
                model->dims[at++] = wanted[i].dim;
    status = OMEN_OK;
out:
    free(load);
    free(owner);
    free(wanted);
    return status;
}

static void half_norms(const float *codewords, size_t n_dims, float *half)
{
    for (size_t j = 0; j < WORDS; j++) {
        float sum = 0;
        for (size_t i = 0; i < n_dims; i++)
            sum += codewords[i * WORDS + j] * codewords[i * WORDS + j];
        half[j] = 0.5f * sum;
    }
}

/* k-means with 16 codewords of one sub-space. groups is [n / 16][n_dims][16 rows], the last group filled with copies.
 */
static void train_sub(const float *groups, size_t n, size_t n_dims, uint64_t seed, float *codewords, uint8_t *codes)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t n_drawn = n < WORDS ? n : WORDS;
    uint64_t drawn[WORDS];
    omen_random_rows(seed, n, n_drawn, drawn);
    for (size_t j = 0; j < WORDS; j++) {
        const size_t row = drawn[j % n_drawn];
        for (size_t i = 0; i < n_dims; i++)
            codewords[i * WORDS + j] = groups[(row / 16 * n_dims + i) * 16 + row % 16];
    }
    for (unsigned pass = 0; pass < PASSES; pass++) {
        float half[WORDS];
        size_t counts[WORDS] = {0};
        half_norms(codewords, n_dims, half);
        for (size_t g = 0; g * 16 < n; g++)
            kernels->encode16(groups + g * n_dims * 16, codewords, half, n_dims, codes + g * 16);
        for (size_t i = 0; i < n; i++)
            counts[codes[i]]++;
        for (size_t dim = 0; dim < n_dims; dim++) {
            double sums[WORDS] = {0};
            for (size_t i = 0; i < n; i++)
                sums[codes[i]] += (double)groups[(i / 16 * n_dims + dim) * 16 + i % 16];
            for (size_t j = 0; j < WORDS; j++)
                if (counts[j])
                    codewords[dim * WORDS + j] = (float)(sums[j] / (double)counts[j]);
        }
        for (size_t j = 0; j < WORDS; j++) {
            if (counts[j])
                continue;
            size_t top = 0;
            for (size_t i = 1; i < WORDS; i++)
                if (counts[i] > counts[top])
                    top = i;
            if (counts[top] < 2)
                break;
            for (size_t dim = 0; dim < n_dims; dim++) {
                float *words = codewords + dim * WORDS;
                words[j] = words[top] * (1 + 0x1p-7f);
                words[top] *= 1 - 0x1p-7f;
            }
            counts[j] = counts[top] / 2;
            counts[top] -= counts[j];
        }
    }
}

static int prepare(omen_codec_model *model)
{
    model->half_norms = omen_alloc((size_t)model->n_sub * WORDS, sizeof *model->half_norms);
    if (!model->half_norms)
        return OMEN_ERR_MEMORY;
    for (size_t m = 0; m < model->n_sub; m++)
        half_norms(model->codewords + model->sub_first[m] * WORDS, model->sub_first[m + 1] - model->sub_first[m],
                   model->half_norms + m * WORDS);
    return OMEN_OK;
}

static int train(omen_codec_model *model, const float *residuals, size_t n, uint32_t d, uint32_t bytes, uint64_t seed,
                 omen_watch *watch)
{
    int status = allocate(model, residuals, n, 2 * (bytes - 1));
    if (status != OMEN_OK)
        return status;
    model->codewords = omen_alloc_zero((size_t)model->n_active * WORDS, sizeof *model->codewords);
    if (!model->codewords)
        return OMEN_ERR_MEMORY;
    const size_t n_groups = (n + 15) / 16;
#pragma omp parallel for schedule(dynamic)
    for (size_t m = 0; m < model->n_sub; m++) {
        const size_t first = model->sub_first[m], n_dims = model->sub_first[m + 1] - first;
        if (n_dims == 0 || omen_watch_stopped(watch))
            continue;
        float *groups = omen_alloc(n_groups * 16 * n_dims, sizeof *groups);
        uint8_t *codes = omen_alloc(n_groups * 16, 1);
        if (!groups || !codes) {
#pragma omp atomic write
            status = OMEN_ERR_MEMORY;
        } else {
            for (size_t i = 0; i < n_groups * 16; i++)
                for (size_t j = 0; j < n_dims; j++)
                    groups[(i / 16 * n_dims + j) * 16 + i % 16] =
                        residuals[(i < n ? i : n - 1) * d + model->dims[first + j]];
            train_sub(groups, n, n_dims, omen_random(seed, m), model->codewords + first * WORDS, codes);
        }
        free(codes);
        free(groups);
    }
    if (status == OMEN_OK)
        status = omen_watch_status(watch);
    return status == OMEN_OK ? prepare(model) : status;
}

static void encode(const omen_codec_model *model, const float *residuals, const float *centroids, size_t n, size_t ld,
                   const float *tails, uint8_t *codes, float *factors, float *reconstructions, float *scratch)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t n_active = model->n_active, row_bytes = model->n_sub / 2;
    float *lanes = scratch;                                /* [n_active][16 rows] */
    uint8_t *words = (uint8_t *)(scratch + 16 * n_active); /* [n_sub][16 rows] */
    float f[OMEN_ENCODE_ROWS] = {0};
    for (size_t i = 0; i < n; i++)
        for (size_t a = 0; a < n_active; a++)
            lanes[a * 16 + i] = residuals[i * ld + model->dims[a]];
    for (size_t a = 0; a < n_active && n < 16; a++)
        for (size_t i = n; i < 16; i++)
            lanes[a * 16 + i] = 0;
    for (size_t m = 0; m < model->n_sub; m++) {
        const size_t first = model->sub_first[m];
        kernels->encode16(lanes + first * 16, model->codewords + first * WORDS, model->half_norms + m * WORDS,
                          model->sub_first[m + 1] - first, words + m * 16);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t p = 0; p < row_bytes; p++)
            codes[i * row_bytes + p] = (uint8_t)(words[2 * p * 16 + i] | words[(2 * p + 1) * 16 + i] << 4);
    for (size_t i = 0; i < n; i++)
        f[i] = tails[i] + kernels->ip_f32(residuals + i * ld, residuals + i * ld, model->d);
    if (reconstructions)
        memset(reconstructions, 0, n * model->d * sizeof *reconstructions);
    for (size_t m = 0; m < model->n_sub; m++) {
        for (size_t a = model->sub_first[m]; a < model->sub_first[m + 1]; a++) {
            const uint32_t dim = model->dims[a];
            for (size_t i = 0; i < n; i++) {
                const float r = model->codewords[a * WORDS + words[m * 16 + i]];
                f[i] += 2 * r * centroids[i * ld + dim];
                if (reconstructions)
                    reconstructions[i * model->d + dim] = r;
            }
        }
    }
    memcpy(factors, f, n * sizeof *f);
}

static void decode(const omen_codec_model *model, const uint8_t *codes, const float *gains, size_t n, float *y,
                   size_t ld, float *scratch)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t m = 0; m < model->n_sub; m++) {
            const uint32_t code = omen_code_of(codes + i * (model->n_sub / 2), m);
            for (uint32_t a = model->sub_first[m]; a < model->sub_first[m + 1]; a++)
                y[i * ld + model->dims[a]] += model->codewords[(size_t)a * WORDS + code];
        }
    }
}

static double residual2(const omen_codec_model *model, double gains2)
{
    double sum = 0;
    for (size_t i = 0; i < 16 * (size_t)model->n_active; i++)
        sum += (double)model->codewords[i] * (double)model->codewords[i];
    return sum / 16;
}

static void tables(const omen_codec_model *model, const float *query, float *table)
{
    omen_kernels_get()->pq_tables(query, model->dims, model->sub_first, model->n_sub, model->codewords, table);
}

static bool counts_are_sound(const omen_codec_model *m)
{
    return !m->d_used && m->n_active >= 1 && m->n_active <= m->d;
}

/* Sub-quantisers cover the coded dimensions, none of them twice, and no codeword is too long. */
static bool is_sound(const omen_codec_model *m)
{
    uint8_t seen[(OMEN_MAX_DIM + 1) / 8 + 1] = {0};
    bool sound = m->d <= OMEN_MAX_DIM + 1 && m->sub_first[0] == 0 && m->sub_first[m->n_sub] == m->n_active;
    for (size_t i = 0; i < m->n_sub && sound; i++)
        sound = m->sub_first[i] <= m->sub_first[i + 1];
    for (size_t a = 0; a < m->n_active && sound; a++) {
        const uint32_t dim = m->dims[a];
        sound = dim < m->d && !(seen[dim / 8] >> dim % 8 & 1);
        if (sound)
            seen[dim / 8] |= (uint8_t)(1u << dim % 8);
    }
    for (size_t i = 0; i < m->n_sub && sound; i++) {
        float norms[16] = {0};
        for (size_t a = m->sub_first[i]; a < m->sub_first[i + 1]; a++)
            for (size_t j = 0; j < 16; j++)
                norms[j] += m->codewords[a * 16 + j] * m->codewords[a * 16 + j];
        for (size_t j = 0; j < 16; j++)
            sound &= norms[j] <= OMEN_LENGTH2_MOST;
    }
    return sound;
}

static size_t parts_of(omen_codec_model *model, omen_model_part parts[OMEN_MODEL_PARTS])
{
    parts[0] = (omen_model_part){OMEN_SECTION_SUBS, OMEN_ELEMENT_U32, &model->sub_first, (uint64_t)model->n_sub + 1};
    parts[1] = (omen_model_part){OMEN_SECTION_DIMS, OMEN_ELEMENT_U32, &model->dims, model->n_active};
    parts[2] =
        (omen_model_part){OMEN_SECTION_CODB, OMEN_ELEMENT_F32, &model->codewords, (uint64_t)model->n_active * WORDS};
    return 3;
}

static size_t scratch_floats_a_row(const omen_codec_model *model)
{
    return (size_t)model->n_active + model->n_sub;
}

const omen_codec_ops omen_codec_pq = {
    .n_factors = 1,
    .needs_residuals = true,
    .train = train,
    .fault = "sections SUBS, DIMS or CODB are not a product quantiser",
    .counts_are_sound = counts_are_sound,
    .is_sound = is_sound,
    .prepare = prepare,
    .parts = parts_of,
    .scratch_floats_a_row = scratch_floats_a_row,
    .encode = encode,
    .decode = decode,
    .residual2 = residual2,
    .tables = tables,
};
