/* SPDX-License-Identifier: Apache-2.0 */
/* Private to cmd_query.c and query_self.c: the rows of the index as queries, all of them. */
#ifndef QUERY_SELF_H
#define QUERY_SELF_H

#include "cmd/query_checkpoint.h"

/* A run of --self. */
struct query_self {
    const char *index_path;
    const omen_index *index;
    const omen_search_options *search;
    const omen_row_set *set; /* the rows that search and are found; NULL: all */
    bool pairs;              /* each pair of rows once */
    const omen_index *keys;  /* whose keys are written; NULL: numbers are, plus row_offset */
    uint64_t row_offset;
    const omen_results *results;
    bool is_quiet, shows_progress;
    /* where a run that is killed goes on; NULL: results have no name of a file */
    const char *output;
    bool fresh;                          /* start over */
    uint64_t chunk_rows;                 /* searched between two records; 0: by what they find, and by time */
    uint64_t index_checksum;             /* omen_container_checksum() */
    struct query_checkpoint *checkpoint; /* zeroed; the caller finishes it */
};

/* Searches and writes, in the order of the rows; fills the counts and times of o. Returns as omen_index_search_self(),
 * omen_results_write_found() and query_checkpoint_open() do. */
int query_self_run(const struct query_self *run, struct cmd_query_outcome *o, omen_detail *why) OMEN_MUST_CHECK;

/* Adds what was found within a distance to the counts of o. */
void query_self_count(const omen_found *found, struct cmd_query_outcome *o);

#endif
