/* SPDX-License-Identifier: Apache-2.0 */
/* Private to query and bench: rows of the index that a file names, as queries or as what they may find. */
#ifndef QUERY_ROWS_H
#define QUERY_ROWS_H

#include "cmd/cmd.h"

/* The rows that a file names, as queries. Starts zeroed. */
struct query_rows {
    omen_index_rows *rows;
    uint64_t *numbers; /* n */
    uint64_t n;
};

/* What the lines of a file are. */
typedef enum {
    QUERY_ROWS_KEYS,       /* keys, of the first row that has each */
    QUERY_ROWS_NUMBERS,    /* row numbers */
    QUERY_ROWS_KEY_SET,    /* keys, of all rows that have one; there may be none, and lines without anything */
    QUERY_ROWS_NUMBER_SET, /* row numbers, with blanks around them, likewise */
} query_rows_kind;

/* Reads rows from a file or standard input ("-"). *numbers gets the n row numbers, in the order of the lines, for the
 * caller to free(), NULL after a failure. Returns OMEN_OK, OMEN_ERR_INPUT (an unknown row: why names the line),
 * OMEN_ERR_CORRUPT, OMEN_ERR_MEMORY, or as omen_input_open(). */
int query_rows_read(const omen_index *index, const char *path, query_rows_kind kind, uint64_t **numbers, uint64_t *n,
                    omen_detail *why) OMEN_MUST_CHECK;

/* The rows so read as queries. The caller calls query_rows_finish() even after a failure. Returns as query_rows_read()
 * and omen_index_rows_open(). */
int query_rows_open(struct query_rows *r, const omen_index *index, const char *path, query_rows_kind kind,
                    omen_detail *why) OMEN_MUST_CHECK;

void query_rows_finish(struct query_rows *r);

/* Takes each query itself out of what it found: of k neighbours a query, in ids and distances (or NULL), k - 1 stay,
 * one query's directly behind the last one's. The last goes where the row itself was not found. numbers has the n
 * queries. */
void query_rows_exclude(const uint64_t *numbers, uint64_t n, uint32_t k, int64_t *ids, float *distances);

/* Adds offset to n row numbers; OMEN_NO_ROW stays. */
void query_rows_shift(int64_t *ids, uint64_t n, uint64_t offset);

#endif
