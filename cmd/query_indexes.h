/* SPDX-License-Identifier: Apache-2.0 */
/* Private to query: the indexes that are searched, and which of their rows may be found. */
#ifndef QUERY_INDEXES_H
#define QUERY_INDEXES_H

#include "cmd/query_filter.h"

/* What the command line names. Starts zeroed. */
struct query_paths {
    const char **paths, **labels; /* n of each; a label is NULL where none was given */
    uint64_t *lines;              /* of the list */
    size_t n;
    char *list;                        /* the text of the list, which they point into */
    char list_label[OMEN_LABEL_BYTES]; /* the list as messages call it */
};

/* Reads a list: a path a line and, behind a tab, a label. *out starts zeroed; query_paths_finish() even after a
 * failure. Returns OMEN_OK, OMEN_ERR_INPUT (no path, or a label that none may be), OMEN_ERR_MEMORY or as
 * omen_input_open(). */
int query_paths_read(struct query_paths *out, const char *list_path, omen_detail *why) OMEN_MUST_CHECK;

/* Takes n paths of the command line. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int query_paths_take(struct query_paths *out, char **paths, size_t n) OMEN_MUST_CHECK;

void query_paths_finish(struct query_paths *paths);

/* The indexes, opened. Starts zeroed. */
struct query_indexes {
    const struct query_paths *paths;
    size_t n; /* that are open */
    omen_container **containers;
    omen_index **indexes;
    omen_joint *joint;
    char **labels;                /* NULL: rows are not told by them */
    struct query_filter *filters; /* of each index; NULL: there is no filter */
};

/* Opens them all, and fills *info with what they are together. checks as cmd_open_index(). The caller calls
 * query_indexes_finish() even after a failure. Returns as cmd_open_index() and omen_joint_create(). */
int query_indexes_open(struct query_indexes *x, const struct query_paths *paths, bool checks, omen_index_info *info,
                       omen_detail *why) OMEN_MUST_CHECK;

/* Makes the labels: those of the list, else the names of the files. Returns OMEN_OK, OMEN_ERR_INPUT (two that are the
 * same, or one that none may be) or OMEN_ERR_MEMORY. */
int query_indexes_label(struct query_indexes *x, omen_detail *why) OMEN_MUST_CHECK;

/* Whether their keys can be written together: all have some, and, without labels, no two the same. Returns OMEN_OK or
 * as omen_joint_check_keys(). */
int query_indexes_check_keys(const struct query_indexes *x, const omen_index_info *info, bool is_quiet,
                             omen_detail *why) OMEN_MUST_CHECK;

/* Opens the filter of each index, for n_queries queries, as query_filter_open(). */
int query_indexes_filter(struct query_indexes *x, const struct query_filter_options *options, uint64_t n_queries,
                         omen_detail *why) OMEN_MUST_CHECK;

/* As query_filter_fit() and query_filter_fill(), of every index: sets gets n for the first index, then n for the next.
 */
uint64_t query_indexes_fit(struct query_indexes *x, const uint64_t *numbers, uint64_t first, uint64_t n);
int query_indexes_fill(struct query_indexes *x, const uint64_t *numbers, uint64_t first, uint64_t n, int n_threads,
                       const omen_row_set **sets, omen_detail *why) OMEN_MUST_CHECK;

void query_indexes_finish(struct query_indexes *x);

#endif
