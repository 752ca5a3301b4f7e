/* SPDX-License-Identifier: Apache-2.0 */
/* The table of codecs: each one's own halves of the calls in codec.h. */
#ifndef OMEN_CODEC_KINDS_H
#define OMEN_CODEC_KINDS_H

#include "lib/codec.h"

typedef struct omen_codec_ops {
    uint32_t n_factors;
    const char *fault; /* of a model that is not sound */
    /* whether the counts of a model fit one another; n_sub and n_factors have been looked at */
    bool (*counts_are_sound)(const omen_codec_model *model);
    bool (*is_sound)(const omen_codec_model *model);
    int (*prepare)(omen_codec_model *model);
    size_t (*parts)(omen_codec_model *model, omen_model_part parts[OMEN_MODEL_PARTS]);
    size_t (*scratch_floats_a_row)(const omen_codec_model *model);
    void (*encode)(const omen_codec_model *model, const float *residuals, const float *centroids, size_t n, size_t ld,
                   const float *tails, uint8_t *codes, float *factors, float *reconstructions, float *scratch);
    void (*tables)(const omen_codec_model *model, const float *query, float *table);
} omen_codec_ops;

extern const omen_codec_ops omen_codec_pq, omen_codec_rabitq;

#endif
