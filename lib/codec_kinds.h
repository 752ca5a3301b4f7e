/* The part of each codec behind the calls in codec.h: encoding and query tables. */
#ifndef OMEN_CODEC_KINDS_H
#define OMEN_CODEC_KINDS_H

#include "lib/codec.h"

void omen_pq_encode(const omen_codec_model *model, const float *residuals, const float *centroids, size_t n, size_t ld,
                    const float *tails, uint8_t *codes, float *factors, float *reconstructions, float *scratch);
void omen_pq_tables(const omen_codec_model *model, const float *query, float *table);

void omen_rabitq_encode(const omen_codec_model *model, const float *residuals, const float *centroids, size_t n,
                        size_t ld, const float *tails, uint8_t *codes, float *factors, float *reconstructions,
                        float *scratch);
void omen_rabitq_tables(const omen_codec_model *model, const float *query, float *table);

#endif
