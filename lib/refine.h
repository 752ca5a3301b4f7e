/* SPDX-License-Identifier: Apache-2.0 */
/* The refine tier: rows kept precisely enough to re-rank candidates. sq8, sq12 and sq16 (so many bits a value between
 * the row's extremes), f16 or f32. What all rows have in common is subtracted from them first, and from a query. */
#ifndef OMEN_REFINE_H
#define OMEN_REFINE_H

#include "lib/model_part.h"

/* Bytes of one row; 0 for none, for auto the most that it may choose. */
size_t omen_refine_row_bytes(omen_refine refine, uint32_t d);

/* Whether the tier rounds what is not a row of integers that its bits can hold. */
static inline bool omen_refine_rounds(omen_refine refine)
{
    return refine != OMEN_REFINE_NONE && refine != OMEN_REFINE_F32;
}

/* Whether the tier can hold a row: f16 ends at 65,504, the others hold all rows that can be indexed. */
bool omen_refine_fits(omen_refine refine, const float *row, uint32_t d);

/* sq8 rows are [float low][float step][d bytes], docs/FORMAT.md has the others; a row of integers that span at most 255
 * (4095, 65535) gets step 1 and is exact. f16 turns what does not fit into its largest value. */
void omen_refine_encode(omen_refine refine, const float *row, uint32_t d, uint8_t *out);

void omen_refine_decode(omen_refine refine, const void *stored, uint32_t d, float *row);

/* Whether a stored row has no NaN or infinity, a squared length of at most OMEN_LENGTH2_MOST and (sq8, sq12, sq16) a
 * step that is not negative. */
bool omen_refine_is_valid(omen_refine refine, const void *stored, uint32_t d);

/* The same of n rows. */
bool omen_refine_are_valid(omen_refine refine, const uint8_t *rows, size_t n, size_t row_bytes, uint32_t d);

/* Whether every value of row equals the stored one up to the rounding of the tier. */
bool omen_refine_matches(omen_refine refine, const void *stored, const float *row, uint32_t d);

typedef float (*omen_distance_fn)(const float *query, const void *stored, size_t d);

/* How the rows of an index are stored, and compared with queries. */
typedef struct omen_refine_space {
    omen_refine tier;
    omen_metric metric;
    uint32_t d;
    bool has_zero_rows;  /* cosine: there may be some, at distance 1 from everything */
    const float *centre; /* d, subtracted from every row before it is stored; NULL: nothing is */
} omen_refine_space;

/* Lists the centre as a part of a model, if there is one. Returns how many parts that makes. */
static inline size_t omen_refine_parts(float **centre, uint32_t d, bool has_centre, omen_model_part *parts)
{
    if (has_centre)
        *parts = (omen_model_part){OMEN_SECTION_RCEN, OMEN_ELEMENT_F32, centre, d};
    return has_centre;
}

/* Whether a centre, read from a file, is within the limits of docs/FORMAT.md. */
bool omen_refine_centre_is_sound(const float *centre, uint32_t d);

/* Subtracts the centre from n rows or, for l2 and cosine, queries (n x d; cosine: of unit length). Returns out, which
 * may be rows; without a centre, and for queries of ip, returns rows and does not touch out. */
const float *omen_refine_shift(const omen_refine_space *space, const float *rows, size_t n, bool queries, float *out);

/* What a query's inner products with stored rows lack: that with the centre. 0 but for ip. */
double omen_refine_offset(const omen_refine_space *space, const float *query);

/* The kernel: squared distance for l2 and cosine (rows and queries are of unit length), inner product for ip. */
omen_distance_fn omen_refine_kernel(omen_refine refine, omen_metric metric);

/* Whether a stored row without a centre is a zero row. */
bool omen_refine_is_zero(const omen_refine_space *space, const void *stored);

/* The metric's distance of a shifted query, offset being omen_refine_offset() of it, from a stored row. Half the
 * squared distance of unit vectors is 1 - cosine, without the cancellation. */
static inline float omen_refine_distance(const omen_refine_space *space, omen_distance_fn kernel, const float *query,
                                         double offset, const void *stored)
{
    const float value = kernel(query, stored, space->d);
    if (space->metric == OMEN_METRIC_L2)
        return value;
    if (space->metric == OMEN_METRIC_IP)
        return (float)-(offset + (double)value) + 0.0f; /* no -0, which would come before 0 */
    return space->has_zero_rows && omen_refine_is_zero(space, stored) ? 1 : value / 2;
}

#endif
