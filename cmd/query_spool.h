/* SPDX-License-Identifier: Apache-2.0 */
/* Private to query_self.c: results that come in the order of the lists, to be read back in the order of the rows. */
#ifndef QUERY_SPOOL_H
#define QUERY_SPOOL_H

#include "cmd/cmd.h"

#define QUERY_SPOOL_NONE UINT32_MAX /* in the place of a neighbour: the row has none */

/* A row, and a neighbour of it. */
struct query_entry {
    uint32_t row, neighbour;
    float distance;
};

/* Rows that follow each other are a part. Parts are kept in blocks of one temporary file, but for the last block of
 * each, which is in memory. Starts zeroed. */
struct query_spool {
    uint64_t n_rows, rows_per_part;
    uint32_t n_parts;
    struct query_part *parts;
    int fd; /* of the file, once there is one */
    bool has_file;
    uint64_t n_blocks; /* in the file */
};

/* The caller calls query_spool_finish() even after a failure. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int query_spool_init(struct query_spool *spool, uint64_t n_rows) OMEN_MUST_CHECK;

/* Adds an entry, whose row is below n_rows. Returns OMEN_OK, OMEN_ERR_IO or OMEN_ERR_MEMORY. */
int query_spool_add(struct query_spool *spool, struct query_entry entry, omen_detail *why) OMEN_MUST_CHECK;

/* The entries of a part, in the order in which they were added: *n of them at *entries, which is the caller's to free.
 * Returns as query_spool_add() does. */
int query_spool_read(const struct query_spool *spool, uint32_t part, struct query_entry **entries, uint64_t *n,
                     omen_detail *why) OMEN_MUST_CHECK;

void query_spool_finish(struct query_spool *spool);

#endif
