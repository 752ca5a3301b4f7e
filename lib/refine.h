/* SPDX-License-Identifier: Apache-2.0 */
/* The refine tier: rows kept precisely enough to re-rank candidates. sq8 (8 bits a value between the row's extremes),
 * f16 or f32. */
#ifndef OMEN_REFINE_H
#define OMEN_REFINE_H

#include "lib/omendb.h"

/* Bytes of one row; 0 for none. */
size_t omen_refine_row_bytes(omen_refine refine, uint32_t d);

/* sq8 rows are [float low][float step][d bytes]; a row of integers that span at most 255 gets step 1 and is exact. */
void omen_refine_encode(omen_refine refine, const float *row, uint32_t d, uint8_t *out);

void omen_refine_decode(omen_refine refine, const void *stored, uint32_t d, float *row);

/* Whether a stored row has no NaN or infinity, a squared length of at most OMEN_LENGTH2_MOST and (sq8) a step that is
 * not negative. */
bool omen_refine_is_valid(omen_refine refine, const void *stored, uint32_t d);

/* Whether every value of row equals the stored one up to the rounding of the tier. */
bool omen_refine_matches(omen_refine refine, const void *stored, const float *row, uint32_t d);

typedef float (*omen_distance_fn)(const float *query, const void *stored, size_t d);

/* The kernel for a tier and a metric: squared distance for l2, inner product for ip and cosine (rows are stored at unit
 * length). */
omen_distance_fn omen_refine_kernel(omen_refine refine, omen_metric metric);

/* From the kernel's value to the metric's distance. */
static inline float omen_metric_distance(omen_metric metric, float value)
{
    return metric == OMEN_METRIC_L2 ? value : metric == OMEN_METRIC_IP ? -value : 1 - value;
}

#endif
