/* SPDX-License-Identifier: Apache-2.0 */
/* Private to query and bench: the rows that queries may find. */
#ifndef QUERY_FILTER_H
#define QUERY_FILTER_H

#include "cmd/query_where.h"

struct query_filter_options {
    const char *only, *except; /* files of rows, one a line; NULL: not given */
    bool by_key;               /* they name them by their keys, else by their numbers */
    struct query_where_options where;
};

/* What the queries of a run may find. Starts zeroed. */
struct query_filter {
    const omen_index *index;
    omen_row_set *listed; /* the rows of --only less those of --except; NULL: all */
    bool has_conditions;
    struct query_where where;
};

/* Whether there is a filter. */
bool query_filter_is_asked(const struct query_filter_options *options);

/* Refuses more than one of the options that give conditions. Returns CMD_GO_ON or CMD_EXIT_USAGE. */
int query_filter_check(const char *command, const struct query_filter_options *options) OMEN_MUST_CHECK;

/* Adds the files of a filter to those that cmd_files_check() takes, which have room for QUERY_FILTER_FILES more. */
#define QUERY_FILTER_FILES 4
void query_filter_list(const struct query_filter_options *options, cmd_file *files, size_t *n);

/* How many of them are standard input. */
size_t query_filter_streams(const struct query_filter_options *options);

/* Reads the files, for n_queries queries. The caller calls query_filter_finish() even after a failure. Returns OMEN_OK,
 * OMEN_ERR_INPUT (why names the line at fault), or as omen_input_open(), omen_row_set_create() and query_where_open().
 */
int query_filter_open(struct query_filter *f, const struct query_filter_options *options, const omen_index *index,
                      uint64_t n_queries, omen_detail *why) OMEN_MUST_CHECK;

/* Of n queries, numbers[0] and so on, or with numbers NULL first and so on: how many, from the first on, have so few
 * filters that their sets fit in memory; at least 1. */
uint64_t query_filter_fit(struct query_filter *f, const uint64_t *numbers, uint64_t first, uint64_t n);

/* Sets sets[i] to the rows that query numbers[i] may find, or with numbers NULL query first + i; NULL: all rows. They
 * live until the next call. Returns OMEN_OK or a failure. */
int query_filter_fill(struct query_filter *f, const uint64_t *numbers, uint64_t first, uint64_t n, int n_threads,
                      const omen_row_set **sets, omen_detail *why) OMEN_MUST_CHECK;

/* Gives up the sets of conditions: query_filter_fill() evaluates them again. */
void query_filter_forget(struct query_filter *f);

/* Prints on stderr what --explain asks for: of each filter its rows and the plan of search. Returns as
 * query_filter_fill(), or OMEN_ERR_IO. */
int query_filter_explain(struct query_filter *f, const omen_search_options *search, const struct cmd_query_outcome *o,
                         omen_detail *why) OMEN_MUST_CHECK;

void query_filter_finish(struct query_filter *f);

#endif
