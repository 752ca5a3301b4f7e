/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions on one column, by the order of its values. */
#ifndef OMEN_CONDITION_ORDER_H
#define OMEN_CONDITION_ORDER_H

#include "lib/columns_order.h"

/* What a thread sorts positions with: {NULL} before its first use. */
typedef struct omen_position_sorter {
    uint64_t *words; /* a bit for each row, and behind them one for each word that is not 0; all 0 between two uses */
} omen_position_sorter;

void omen_position_sorter_finish(omen_position_sorter *sorter);

/* The rows that a test, of kind OMEN_NODE_RANGES, is true of, into *out, the caller's; NULL where a pass over the
 * values is better. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int omen_condition_by_order(const omen_index *index, const omen_column_order *order, const omen_node *test,
                            omen_position_sorter *sorter, omen_row_set **out) OMEN_MUST_CHECK;

#endif
