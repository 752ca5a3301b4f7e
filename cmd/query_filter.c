/* SPDX-License-Identifier: Apache-2.0 */
/* What queries may find: rows that a file names (--only, --except), and of these those that meet a condition. */
#include "cmd/query_filter.h"

#include <stdio.h>
#include <stdlib.h>

#include "formats/lines.h"

bool query_filter_is_asked(const struct query_filter_options *options)
{
    return options->only || options->except || query_where_is_asked(&options->where);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The row number that a line holds, without the blanks around it. False if it holds something else. */
static bool parse_row(const char *line, size_t n_bytes, int64_t *row)
{
    uint64_t value = 0;

    for (size_t i = 0; i < n_bytes; i++) {
        if (line[i] < '0' || line[i] > '9' || value > INT64_MAX / 10 - 1)
            return false;
        value = 10 * value + (uint64_t)(line[i] - '0');
    }
    *row = (int64_t)value;
    return n_bytes > 0;
}

/* The numbers in a file to *rows, which is the caller's to free even after a failure. */
static int read_rows(const omen_input *input, uint64_t n_index_rows, int64_t **rows, uint64_t *n, omen_detail *why)
{
    omen_lines lines = omen_lines_of(input->bytes, input->n_bytes);
    const char *line;
    size_t n_bytes;
    uint64_t n_lines = 0;

    for (omen_lines count = lines; omen_lines_next(&count, &line, &n_bytes);)
        n_lines = count.number;
    *rows = malloc((n_lines + 1) * sizeof **rows);
    if (!*rows)
        return omen_fail(why, OMEN_ERR_MEMORY, "no memory for the rows of %s", input->label);
    while (omen_lines_next(&lines, &line, &n_bytes)) {
        int64_t row;

        for (; n_bytes > 0 && is_blank(line[0]); line++)
            n_bytes--;
        while (n_bytes > 0 && is_blank(line[n_bytes - 1]))
            n_bytes--;
        if (n_bytes == 0)
            continue;
        if (!parse_row(line, n_bytes, &row)) {
            return omen_fail(why, OMEN_ERR_INPUT, "%s, line %llu: \"%.*s\" is no row number", input->label,
                             (unsigned long long)lines.number, n_bytes < 100 ? (int)n_bytes : 100, line);
        }
        if ((uint64_t)row >= n_index_rows) {
            return omen_fail(why, OMEN_ERR_INPUT, "%s, line %llu: there is no row %lld: the index has rows 0 to %llu",
                             input->label, (unsigned long long)lines.number, (long long)row,
                             (unsigned long long)n_index_rows - 1);
        }
        (*rows)[(*n)++] = row;
    }
    return OMEN_OK;
}

/* The set of a file's rows, or of all others. */
static int read_set(const omen_index *index, const char *path, bool except, omen_row_set **set, omen_detail *why)
{
    omen_index_info info = {.struct_bytes = sizeof info};
    omen_input input;
    int64_t *rows = NULL;
    uint64_t n = 0;
    int status = omen_index_get_info(index, &info);

    if (status == OMEN_OK)
        status = omen_input_open_or_empty(&input, path, why);
    if (status != OMEN_OK)
        return status;
    if (input.n_bytes > 0) /* a query of a database may well select nothing */
        status = read_rows(&input, info.n_rows, &rows, &n, why);
    omen_input_close(&input);
    if (status == OMEN_OK)
        status = omen_row_set_create(index, rows, n, except, set, why);
    free(rows);
    return status;
}

/* Reads the lists of rows. */
static int open_lists(struct query_filter *f, const struct query_filter_options *options, omen_detail *why)
{
    omen_row_set *only = NULL, *rest = NULL;
    int status = OMEN_OK;

    if (options->only)
        status = read_set(f->index, options->only, false, &only, why);
    if (status == OMEN_OK && options->except)
        status = read_set(f->index, options->except, true, &rest, why);
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
