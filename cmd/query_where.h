/* SPDX-License-Identifier: Apache-2.0 */
/* Private to query and bench: conditions on columns, and the rows that they select. */
#ifndef QUERY_WHERE_H
#define QUERY_WHERE_H

#include "cmd/cmd.h"
#include "formats/columns_internal.h"

#define QUERY_NO_CONDITION UINT32_MAX

/* A condition that differs from the others of a batch. */
struct query_condition {
    omen_condition *condition;
    char *text;         /* as it was given first */
    omen_row_set *set;  /* NULL: not evaluated, or given up again */
    uint64_t n_queries; /* whose condition it is; with the same one for all not counted */
    bool is_needed;     /* by the queries under way */
};

/* What the queries of a run ask for. Starts zeroed. */
struct query_where {
    const omen_index *index;
    const omen_row_set *listed; /* of which alone rows are found; NULL: all rows */
    uint64_t n_queries;
    uint32_t *of_query; /* n_queries: the number of its condition, or QUERY_NO_CONDITION; NULL: 0 for every query */
    struct query_condition *conditions;
    uint32_t n, size;
    omen_intern texts, keys; /* of conditions: those met, and what they mean */
    uint32_t *of_text;       /* by number of the text, that of its condition */
    uint32_t of_text_size;
    uint64_t set_bytes;      /* of one set of rows */
    uint32_t *needed, *kept; /* numbers of conditions: by the queries under way; whose sets are in memory */
    uint32_t n_needed, n_kept;
};

/* Where the conditions come from: one of the three, or none. */
struct query_where_options {
    const char *text; /* of every query */
    const char *file; /* a condition a line, line i for query i */
    const char *tags; /* a sparse matrix: query i wants all tags of row i */
};

/* Whether there is one. */
bool query_where_is_asked(const struct query_where_options *options);

/* Reads the conditions of n_queries queries. listed: what all of them find rows of alone; NULL: all rows. The caller
 * calls query_where_finish() even after a failure. Returns OMEN_OK, OMEN_ERR_ARGUMENT (a condition: why says where),
 * OMEN_ERR_INPUT (a file), or as omen_condition_create() and omen_input_open(). */
int query_where_open(struct query_where *w, const struct query_where_options *options, const omen_index *index,
                     const omen_row_set *listed, uint64_t n_queries, omen_detail *why) OMEN_MUST_CHECK;

/* Of n queries, numbers[0] and so on, or with numbers NULL first and so on: how many, from the first on, have so few
 * conditions that their sets fit in memory; at least 1. */
uint64_t query_where_fit(struct query_where *w, const uint64_t *numbers, uint64_t first, uint64_t n);

/* Sets sets[i] to the rows that each of these queries may find; NULL: all rows. They live until the next call. Returns
 * as omen_conditions_evaluate(). */
int query_where_fill(struct query_where *w, const uint64_t *numbers, uint64_t first, uint64_t n, int n_threads,
                     const omen_row_set **sets, omen_detail *why) OMEN_MUST_CHECK;

/* The set of condition i, until the next call. Returns as query_where_fill(). */
int query_where_one(struct query_where *w, uint32_t i, int n_threads, const omen_row_set **set,
                    omen_detail *why) OMEN_MUST_CHECK;

/* Gives up all sets. */
void query_where_forget(struct query_where *w);

void query_where_finish(struct query_where *w);

#endif
