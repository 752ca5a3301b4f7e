/* SPDX-License-Identifier: Apache-2.0 */
/* What queries may find: rows that a file names (--only, --except), and of these those that meet a condition. */
#include "cmd/query_filter.h"

#include <stdio.h>
#include <stdlib.h>

#include "cmd/query_rows.h"

bool query_filter_is_asked(const struct query_filter_options *options)
{
    return options->only || options->except || query_where_is_asked(&options->where);
}

int query_filter_check(const char *command, const struct query_filter_options *options)
{
    if (!!options->where.text + !!options->where.file + !!options->where.tags > 1)
        return cmd_misuse(command, "--where, --where-file and --where-tags all give conditions: choose one");
    return CMD_GO_ON;
}

void query_filter_list(const struct query_filter_options *options, cmd_file *files, size_t *n)
{
    files[(*n)++] = (cmd_file){.role = "--only", .path = options->only};
    files[(*n)++] = (cmd_file){.role = "--except", .path = options->except};
    files[(*n)++] = (cmd_file){.role = "--where-file", .path = options->where.file};
    files[(*n)++] = (cmd_file){.role = "--where-tags", .path = options->where.tags};
}

size_t query_filter_streams(const struct query_filter_options *options)
{
    return (size_t)cmd_is_stream(options->only) + cmd_is_stream(options->except) + cmd_is_stream(options->where.file) +
           cmd_is_stream(options->where.tags);
}

/* The set of a file's rows, or of all others. */
static int read_set(const omen_index *index, const char *path, query_rows_kind kind, bool except, omen_row_set **set,
                    omen_detail *why)
{
    uint64_t *rows, n;
    int status = query_rows_read(index, path, kind, &rows, &n, why);

    if (status == OMEN_OK)
        status = omen_row_set_create(index, (const int64_t *)rows, n, except, set, why);
    free(rows);
    return status;
}

/* Reads the lists of rows. */
static int open_lists(struct query_filter *f, const struct query_filter_options *options, omen_detail *why)
{
    const query_rows_kind kind = options->by_key ? QUERY_ROWS_KEY_SET : QUERY_ROWS_NUMBER_SET;
    omen_row_set *only = NULL, *rest = NULL;
    int status = OMEN_OK;

    if (options->only)
        status = read_set(f->index, options->only, kind, false, &only, why);
    if (status == OMEN_OK && options->except)
        status = read_set(f->index, options->except, kind, true, &rest, why);
    if (status == OMEN_OK && only && rest)
        status = omen_row_set_intersect(only, rest, &f->listed, why);
    else if (status == OMEN_OK) {
        f->listed = only ? only : rest;
        return OMEN_OK;
    }
    omen_row_set_destroy(only);
    omen_row_set_destroy(rest);
    return status;
}

int query_filter_open(struct query_filter *f, const struct query_filter_options *options, const omen_index *index,
                      uint64_t n_queries, omen_detail *why)
{
    int status;

    f->index = index;
    status = open_lists(f, options, why);
    f->has_conditions = query_where_is_asked(&options->where);
    if (status == OMEN_OK && f->has_conditions)
        status = query_where_open(&f->where, &options->where, index, f->listed, n_queries, why);
    return status;
}

uint64_t query_filter_fit(struct query_filter *f, const uint64_t *numbers, uint64_t first, uint64_t n)
{
    return f->has_conditions ? query_where_fit(&f->where, numbers, first, n) : n;
}

int query_filter_fill(struct query_filter *f, const uint64_t *numbers, uint64_t first, uint64_t n, int n_threads,
                      const omen_row_set **sets, omen_detail *why)
{
    if (f->has_conditions)
        return query_where_fill(&f->where, numbers, first, n, n_threads, sets, why);
    for (uint64_t i = 0; i < n; i++)
        sets[i] = f->listed;
    return OMEN_OK;
}

void query_filter_forget(struct query_filter *f)
{
    query_where_forget(&f->where);
}

void query_filter_finish(struct query_filter *f)
{
    query_where_finish(&f->where);
    omen_row_set_destroy(f->listed);
}

/* ---- what is told ---- */

/* A line about a set; condition, of so many queries, may be NULL. */
static int explain_set(const omen_row_set *set, const omen_search_options *search, const struct cmd_query_outcome *o,
                       const char *condition, uint64_t n_queries)
{
    omen_row_set_info info = {.struct_bytes = sizeof info};
    const uint64_t n_rows = o->info.n_rows;
    const int status = omen_row_set_get_info(set, search, &info);

    if (status != OMEN_OK)
        return status;
    fprintf(stderr, "filter: %s of %s rows (%.3g%%), in %s of %s lists; %s", cmd_group(info.n_matches).text,
            cmd_group(n_rows).text, 100.0 * (double)info.n_matches / (double)n_rows, cmd_group(info.n_lists).text,
            cmd_group(o->info.lists.n).text, omen_plan_text(info.plan));
    if (condition) {
        fprintf(stderr, "; %s %s: %s", cmd_group(n_queries).text, n_queries == 1 ? "query" : "queries",
                cmd_printable(condition).text);
    }
    fprintf(stderr, "\n");
    return OMEN_OK;
}

int query_filter_explain(struct query_filter *f, const omen_search_options *search, const struct cmd_query_outcome *o,
                         omen_detail *why)
{
    const double n = o->n_in_batch > 0 ? (double)o->n_in_batch : 1;
    int status = OMEN_OK;

    if (!f->has_conditions)
        status = explain_set(f->listed, search, o, NULL, 0);
    for (uint32_t i = 0; i < f->where.n && status == OMEN_OK; i++) {
        const struct query_condition *c = &f->where.conditions[i];
        const omen_row_set *set;

        status = query_where_one(&f->where, i, search->n_threads, &set, why);
        if (status == OMEN_OK)
            status = explain_set(set, search, o, c->text, f->where.of_query ? c->n_queries : o->n_in_batch);
    }
    if (status != OMEN_OK)
        return status;
    fprintf(stderr, "a query: %.1f lists, %.0f codes, %.0f rows, %.3f ms of all threads together\n",
            (double)o->stats.lists.probed / n, (double)o->stats.codes_scanned / n, (double)o->stats.rows_reranked / n,
            1000 * o->search_seconds / n);
    /* stderr has no buffer, and remembers a write that failed */
    return ferror(stderr) ? omen_fail(why, OMEN_ERR_IO, "cannot write to standard error") : OMEN_OK;
}
