/* SPDX-License-Identifier: Apache-2.0 */
/* Private to cmd_query.c: queries searched and answered, batch by batch. */
#ifndef QUERY_BATCHES_H
#define QUERY_BATCHES_H

#include "cmd/query.h"

/* Starts zeroed; the caller sets the first part before query_batches_init() or, what is not there yet, before
 * query_batches_run(). */
struct query_batches {
    const struct query *q;
    struct query_indexes *indexes;
    const uint64_t *numbers;     /* of the rows that are the queries; NULL: these are none */
    omen_vectors_stream *stream; /* of queries that are answered as they come; NULL: source has them */
    omen_source source;
    uint32_t d;
    const omen_results *results;
    bool by_key; /* keys are written */
    bool shows_progress;

    uint64_t n_rows; /* of a batch, at most */
    float *rows;
    int64_t *ids;
    float *distances;          /* NULL if not asked for */
    const omen_row_set **sets; /* n_rows of each index; NULL without a filter */

    omen_search_options search;
    cmd_progress progress;
    uint64_t n_before; /* queries in batches that are done */
    uint64_t n_parts;  /* of the batch, at the last call of the progress */
    double clock;
    uint64_t n_worth;            /* queries to take next, as far as they fit */
    struct cmd_query_outcome *o; /* what is counted and measured */
};

/* Allocates, for n_queries at most, and sets of n_filtered indexes that have a filter. Returns OMEN_OK or
 * OMEN_ERR_MEMORY. */
int query_batches_init(struct query_batches *s, uint64_t n_queries, size_t n_filtered) OMEN_MUST_CHECK;

/* Searches for all queries and writes what they find. Returns OMEN_OK or what failed. */
int query_batches_run(struct query_batches *s, struct cmd_query_outcome *o, omen_detail *why) OMEN_MUST_CHECK;

void query_batches_finish(struct query_batches *s);

/* Adds the time since *clock to *sum, and sets the clock anew. */
void query_lap(double *clock, double *sum);

#endif
