/* SPDX-License-Identifier: Apache-2.0 */
/* The table of codecs: each one's own halves of the calls in codec.h. */
#ifndef OMEN_CODEC_KINDS_H
#define OMEN_CODEC_KINDS_H

#include "lib/codec.h"

typedef struct omen_codec_ops {
    uint32_t n_factors;
    bool needs_residuals; /* to be trained */
    int (*train)(omen_codec_model *model, const float *residuals, size_t n, uint32_t d, uint32_t bytes, uint64_t seed,
                 omen_watch *watch);
    const char *fault; /* of a model that is not sound */
    /* whether the counts of a model fit one another; n_sub and n_factors have been looked at */
    bool (*counts_are_sound)(const omen_codec_model *model);
    bool (*is_sound)(const omen_codec_model *model);
    int (*prepare)(omen_codec_model *model);
    size_t (*parts)(omen_codec_model *model, omen_model_part parts[OMEN_MODEL_PARTS]);
    size_t (*scratch_floats_a_row)(const omen_codec_model *model);
    void (*encode)(const omen_codec_model *model, const float *residuals, const float *centroids, size_t n, size_t ld,
                   const float *tails, uint8_t *codes, float *factors, float *reconstructions, float *scratch);
    /* NULL both: nothing to derive, and no scratch memory */
    int (*prepare_decode)(omen_codec_model *model);
    size_t (*decode_floats)(const omen_codec_model *model);
    void (*decode)(const omen_codec_model *model, const uint8_t *codes, const float *gains, size_t n, float *y,
                   size_t ld, float *scratch);
    double (*residual2)(const omen_codec_model *model, double gains2);
    int (*prepare_bytes)(omen_codec_model *model); /* NULL: there are no products */
    void (*tables)(const omen_codec_model *model, const float *query, float *table);
} omen_codec_ops;

/* The 4-bit code of sub-quantiser m in a row's codes. */
static inline uint32_t omen_code_of(const uint8_t *codes, size_t m)
{
    return m % 2 ? codes[m / 2] >> 4 : codes[m / 2] & 15;
}

extern const omen_codec_ops omen_codec_pq, omen_codec_rabitq;

#endif
