/* SPDX-License-Identifier: Apache-2.0 */
/* Private to cmd_query.c and query_arguments.c: what was asked for. */
#ifndef QUERY_H
#define QUERY_H

#include "cmd/query_indexes.h"

struct query {
    const char *index_list; /* names the indexes; NULL: the command line does */
    struct query_paths indexes;
    bool label; /* tell rows by index and number */
    const char *queries_path, *output_path;
    char *distances_path; /* of the file beside the output; NULL: there is none; owned */
    bool header;
    const char *format; /* of the queries */
    const char *cpu;
    uint32_t d;
    omen_search_options search;
    omen_results_format output_format;
    bool has_output_format; /* -F was given */
    bool distances;
    const char *by_key, *by_row; /* queries are rows of the index, which this file names */
    bool exclude_self;
    bool self, pairs;    /* every row of the index is a query; each pair once */
    bool fresh;          /* --self: start over */
    uint64_t chunk_rows; /* --self: rows between two records of its checkpoint; 0: by their results, and by time */
    bool has_k;
    uint64_t batch_rows; /* queries searched together, at most; 0: as many as are worth it */
    bool rows;           /* print row numbers where there are keys */
    uint64_t row_offset; /* added to the row numbers that are written */
    bool no_check;
    struct query_filter_options filter;
    bool explain;
    uint64_t n_audit; /* queries of the sample; 0: not asked for */
    bool certify;
    uint64_t seed;
    bool has_seed;
    int verbosity;
    bool json;
};

/* Reads the command line into *q, which has the defaults, and refuses what can be refused without opening anything.
 * Returns CMD_GO_ON, or the exit code. */
int query_arguments_parse(struct query *q, int argc, char **argv);

void query_arguments_finish(struct query *q);

/* Name i of the formats that hold text; NULL past the last. */
const char *query_format_with_text(size_t i);

#endif
