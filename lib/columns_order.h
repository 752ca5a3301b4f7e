/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of a column by their values: in memory, made once passes over the values have cost as much. A range of
 * values then is a range of ranks, and a condition on it costs what it finds, or a pass over one byte a row. */
#ifndef OMEN_COLUMNS_ORDER_H
#define OMEN_COLUMNS_ORDER_H

#include "lib/condition.h"
#include "lib/watch.h"

#define OMEN_ORDER_BUCKETS 255u /* at most; a byte that is no bucket is that of a row without a value */

typedef struct omen_column_order {
    uint32_t n;                          /* rows that have a value */
    uint32_t bucket_rows;                /* ranks of each bucket */
    const uint32_t *rows;                /* n: positions, by value, those of equal values by position */
    const uint8_t *bucket;               /* of each position: its rank / bucket_rows */
    uint64_t firsts[OMEN_ORDER_BUCKETS]; /* the least key of each bucket */
} omen_column_order;

/* Counts n_passes that are about to be made over a column, which was touched, and fills *out with its order if there is
 * one, or if passes have become worth it; else with NULL. Any thread may call it. The order lives as long as the index.
 * Returns OMEN_OK, OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED. */
int omen_column_order_get(const omen_index *index, uint32_t column, uint64_t n_passes, const omen_column_order **out,
                          omen_watch *watch) OMEN_MUST_CHECK;

/* Which ranks have a key of the range: from *first on, and how many. */
void omen_column_order_find(const omen_column_order *order, const omen_column *column, omen_range range,
                            uint32_t *first, uint32_t *n);

/* Frees the order of a column, if there is one. */
void omen_column_order_close(omen_column *column);

#endif
