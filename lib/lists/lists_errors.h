/* SPDX-License-Identifier: Apache-2.0 */
/* How much too large the estimates of rows at distance 0 are: what tells a search for all rows within a small distance
 * how far an estimate may lie beyond it. */
#ifndef OMEN_LISTS_ERRORS_H
#define OMEN_LISTS_ERRORS_H

#include "lib/index.h"

#define OMEN_ERRORS 256u

typedef struct omen_list_errors {
    uint32_t n;                /* OMEN_ERRORS at most */
    float values[OMEN_ERRORS]; /* rising, as multiples of what a margin is relative to (omen_margin_scale2()) */
} omen_list_errors;

/* The errors of an index that has codes and refine rows, measured by the first call, of rows that are drawn by their
 * positions: they are the same in every process. They live as long as the index. Returns OMEN_OK, OMEN_ERR_CORRUPT,
 * OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED. */
int omen_list_errors_get(const omen_index *index, int n_threads, const omen_list_errors **out, omen_watch *watch,
                         omen_detail *why) OMEN_MUST_CHECK;

/* The error that a share (0 to 1) of them does not exceed; 0 if there are none. */
float omen_list_errors_quantile(const omen_list_errors *errors, double share);

#endif
