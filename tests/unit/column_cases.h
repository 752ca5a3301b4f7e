/* SPDX-License-Identifier: Apache-2.0 */
/* Columns without vectors: written in an order of positions, opened, and asked. */
#ifndef OMEN_COLUMN_CASES_H
#define OMEN_COLUMN_CASES_H

#include "lib/columns.h"
#include "tests/unit/in_memory.h"

/* An index that has nothing but columns, in one list. */
typedef struct {
    uint64_t n_rows;
    uint32_t *rows; /* of each position */
    sections_in_memory sections;
    omen_index *index; /* NULL: they could not be opened, and `column_detail` says why */
} column_case;

extern omen_detail column_detail;

/* Writes the columns, which are destroyed, in a random order. */
column_case write_columns(omen_columns *columns, uint64_t seed);

/* Opens what was written, again after a change. Returns what omen_columns_open() did. */
int open_columns(column_case *c);

void columns_free(column_case *c);

/* Whether the condition is true of each row: n_rows bytes, the caller's; NULL after a failure, whose code is *status.
 */
uint8_t *select_rows(const column_case *c, const char *condition, int *status);

/* How many rows it is true of; -1 after a failure. */
int64_t count_rows(const column_case *c, const char *condition);

#endif
