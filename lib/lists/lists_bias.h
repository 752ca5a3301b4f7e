/* SPDX-License-Identifier: Apache-2.0 */
/* How much too large the estimates of near rows are in an index. */
#ifndef OMEN_LISTS_BIAS_H
#define OMEN_LISTS_BIAS_H

#include "lib/index.h"

/* Squared distances of the lifted space. */
typedef struct omen_list_bias {
    float at_zero;  /* what is too much in the estimate of a row at distance 0 */
    float slope;    /* less of it per squared distance, and more per squared distance to the nearest centroid */
    float nearest2; /* what the latter was where this was measured */
} omen_list_bias;

/* Measures it, on rows that are drawn by their positions: it is the same in every process. All are 0 without codes or
 * a refine tier. Returns OMEN_OK, OMEN_ERR_CORRUPT, OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED. */
int omen_list_bias_measure(const omen_index *index, int n_threads, omen_list_bias *out, omen_watch *watch,
                           omen_detail *why) OMEN_MUST_CHECK;

/* An estimate is (1 - slope) times a squared distance, and this: of a query whose nearest centroid is at nearest2,
 * squared, with what the projection dropped. */
static inline float omen_list_bias_at(const omen_list_bias *bias, float nearest2)
{
    return bias->at_zero + bias->slope * (nearest2 - bias->nearest2);
}

#endif
