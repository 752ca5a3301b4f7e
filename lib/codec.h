/* SPDX-License-Identifier: Apache-2.0 */
/* Codecs: residuals (row - centroid, in the transformed space) to 4-bit codes and per-row factors, and query tables.
 *
 * A codec gives each row an effective reconstruction r of its residual, linear in the code's table values, so that
 *   |q - x|^2  ~  |q - c|^2 - 2 <q, r> + f
 * with f = the row's own constant (it holds 2 <c, r>, see the codecs). One set of query tables for -2 <q, r> then
 * serves every list. */
#ifndef OMEN_CODEC_H
#define OMEN_CODEC_H

#include "lib/byte_axes.h"
#include "lib/model_part.h"
#include "lib/watch.h"

#define OMEN_N_CODECS    2u  /* kinds of codes: omen_codec from 1 on */
#define OMEN_LUT_MAX     63u /* largest table value: four fit a byte */
#define OMEN_MAX_FACTORS 2u  /* f, and perhaps a gain g */

typedef struct omen_codec_model {
    omen_codec kind;
    uint32_t d;         /* of residuals */
    uint32_t n_sub;     /* 4-bit codes a row; even */
    uint32_t n_factors; /* pq: 1 (f); rabitq: 2 (f, g) */
    /* pq: sub-quantiser m codes dimensions dims[sub_first[m] .. sub_first[m + 1]) */
    uint32_t n_active;
    uint32_t *sub_first; /* n_sub + 1 */
    uint32_t *dims;      /* n_active */
    float *codewords;    /* n_active x 16 */
    float *half_norms;   /* n_sub x 16 */
    /* rabitq: code bit i is the sign of <rotation row i, leading d_used dimensions> */
    uint32_t d_used;
    float *rotation;               /* (4 n_sub) x d_used, orthonormal columns */
    float *panels;                 /* rotation, packed */
    float *unrotate;               /* rotation transposed, packed; NULL before omen_codec_prepare_decode() */
    omen_byte_axes rotation_bytes; /* none before omen_codec_prepare_bytes() */
} omen_codec_model;

/* The arrays that a model of its counts consists of, whether they are there yet or not. Returns how many. */
size_t omen_codec_parts(omen_codec_model *model, omen_model_part parts[OMEN_MODEL_PARTS]);

/* Whether the sums of a codec's tables are multiplied by a second factor of each row, its gain g. */
static inline bool omen_codec_has_gain(uint32_t n_factors)
{
    return n_factors == 2;
}

/* Rows that one encode call takes: one per lane. */
#define OMEN_ENCODE_ROWS 16u

/* Hot bytes of a row: codes and factors. */
uint32_t omen_codec_bytes(const omen_codec_model *model);

/* Whether there is a codec of this number, none included. */
bool omen_codec_is_known(uint32_t kind);

/* Whether training looks at residuals. */
bool omen_codec_needs_residuals(omen_codec kind);

/* Trains a codec of the given kind on n residuals (n x d; NULL where it needs none); bytes is the budget a row, with
 * factors. Returns OMEN_OK, OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED; the caller finishes the model even then. */
int omen_codec_train(omen_codec_model *model, omen_codec kind, const float *residuals, size_t n, uint32_t d,
                     uint32_t bytes, uint64_t seed, omen_watch *watch) OMEN_MUST_CHECK;

/* Whether the counts of a model read from a file (kind, d, n_sub, n_factors, n_active, d_used) are possible for a
 * budget of bytes a row. */
bool omen_codec_counts_are_sound(const omen_codec_model *model, uint32_t bytes) OMEN_MUST_CHECK;

/* Whether the arrays of a model with sound counts are within the limits of docs/FORMAT.md. */
bool omen_codec_is_sound(const omen_codec_model *model) OMEN_MUST_CHECK;

/* Whether factor i, coded from low in steps of step, stays within the limits of docs/FORMAT.md. */
bool omen_factor_is_sound(uint32_t i, float low, float step) OMEN_MUST_CHECK;

/* Derives what is not stored. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int omen_codec_prepare(omen_codec_model *model) OMEN_MUST_CHECK;

/* From here on, tables of queries are made by products of bytes, where there are products. Returns OMEN_OK or
 * OMEN_ERR_MEMORY. */
int omen_codec_prepare_bytes(omen_codec_model *model) OMEN_MUST_CHECK;

/* The mean squared length of the residuals that codes stand for, by the mean square of their gains, if they have one. 0
 * without a codec. */
double omen_codec_residual2(const omen_codec_model *model, double gains2);

/* What is wrong with a model that omen_codec_is_sound() refuses, naming its sections. */
const char *omen_codec_fault(const omen_codec_model *model);

void omen_codec_finish(omen_codec_model *model);

/* Size in floats of the scratch memory that encoding needs. */
size_t omen_codec_scratch_floats(const omen_codec_model *model);

/* Encodes n <= OMEN_ENCODE_ROWS rows: residuals and centroids are n x ld, tails[i] the squared norm that the transform
 * dropped. codes is n x n_sub / 2 bytes, sub-code 2p in the low nibble of byte p; factors n x n_factors (f, then g).
 * reconstructions, if not NULL, gets the effective reconstruction, n x d. */
void omen_codec_encode(const omen_codec_model *model, const float *residuals, const float *centroids, size_t n,
                       size_t ld, const float *tails, uint8_t *codes, float *factors, float *reconstructions,
                       float *scratch);

/* Derives what decoding needs besides. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int omen_codec_prepare_decode(omen_codec_model *model) OMEN_MUST_CHECK;

/* Size in floats of the scratch memory that decoding a row needs. */
size_t omen_codec_decode_floats(const omen_codec_model *model);

/* Adds to y (n x ld) the residuals that n rows' codes (as omen_codec_encode() gives them) stand for. gains: of each row
 * g, where the codec has one. scratch has n times omen_codec_decode_floats(). */
void omen_codec_decode(const omen_codec_model *model, const uint8_t *codes, const float *gains, size_t n, float *y,
                       size_t ld, float *scratch);

/* Query tables, n_sub x 16: the estimate of -2 <q, residual> is the sum of the values that a row's codes choose, times
 * the row's g where the codec has one. */
void omen_codec_tables(const omen_codec_model *model, const float *query, float *table);

/* The largest value of a rounded table: OMEN_LUT_MAX, or less if there are so many sub-codes that a 16-bit sum could
 * overflow. */
uint32_t omen_codec_lut_max(const omen_codec_model *model);

/* Rounds tables to bytes: table value ~ low of its sub-code + step * lut. bias gets the sum of the lows. Returns the
 * step: what the widest table needs, but at least step_least, and never so small that its inverse overflows. */
float omen_codec_round_tables(const omen_codec_model *model, const float *table, float step_least, uint8_t *luts,
                              float *bias);

/* Mean squared error of the distance estimates between queries and their near rows, relative to the mean squared
 * distance, rounded tables included, over n rows (n x d) in lists with centroids[lists[i]], every (n / n_queries)-th
 * row a query. Returns OMEN_OK or OMEN_ERR_MEMORY; on failure *out is unchanged. */
int omen_codec_error(const omen_codec_model *model, const float *rows, const float *centroids, const uint32_t *lists,
                     size_t n, size_t n_queries, double *out);

#endif
