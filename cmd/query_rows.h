/* SPDX-License-Identifier: Apache-2.0 */
/* Private to cmd_query.c and query_rows.c: queries that are rows of the index. */
#ifndef QUERY_ROWS_H
#define QUERY_ROWS_H

#include "cmd/cmd.h"

/* The rows that a file names, as queries. Starts zeroed. */
struct query_rows {
    omen_index_rows *rows;
    uint64_t *numbers; /* n */
    uint64_t n;
};

/* Reads a row a line from a file or standard input ("-"): its key, or by_key false its number. *numbers gets the n row
 * numbers, for the caller to free(), NULL after a failure. Returns OMEN_OK, OMEN_ERR_INPUT (an unknown row: why names
 * the line), OMEN_ERR_CORRUPT, or as omen_input_open(). */
int query_rows_read(const omen_index *index, const char *path, bool by_key, uint64_t **numbers, uint64_t *n,
                    omen_detail *why) OMEN_MUST_CHECK;

/* The rows so read as queries. The caller calls query_rows_finish() even after a failure. Returns as query_rows_read()
 * and omen_index_rows_open(). */
int query_rows_open(struct query_rows *r, const omen_index *index, const char *path, bool by_key,
                    omen_detail *why) OMEN_MUST_CHECK;

void query_rows_finish(struct query_rows *r);

/* Takes each query itself out of what it found: of k neighbours a query, in ids and distances (or NULL), k - 1 stay,
 * one query's directly behind the last one's. The last goes where the row itself was not found. numbers has the n
 * queries. */
void query_rows_exclude(const uint64_t *numbers, uint64_t n, uint32_t k, int64_t *ids, float *distances);

#endif
