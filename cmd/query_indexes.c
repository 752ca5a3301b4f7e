/* SPDX-License-Identifier: Apache-2.0 */
/* omendb query over one or several index files: which they are, what their rows are called, and their filters. */
#include "cmd/query_indexes.h"

#include <stdlib.h>
#include <string.h>

#include "formats/lines.h"

/* ---- which files ---- */

static int no_memory(omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the list of indexes");
}

static int reserve_paths(struct query_paths *p, size_t n)
{
    p->paths = calloc(n, sizeof *p->paths);
    p->labels = calloc(n, sizeof *p->labels);
    p->lines = calloc(n, sizeof *p->lines);
    return p->paths && p->labels && p->lines ? OMEN_OK : OMEN_ERR_MEMORY;
}

int query_paths_take(struct query_paths *out, char **paths, size_t n)
{
    if (reserve_paths(out, n) != OMEN_OK)
        return OMEN_ERR_MEMORY;
    for (size_t i = 0; i < n; i++)
        out->paths[i] = paths[i];
    out->n = n;
    return OMEN_OK;
}

/* Takes the lines of out->list apart. */
static int split_list(struct query_paths *out, size_t n_bytes, omen_detail *why)
{
    const char *label = out->list_label;
    omen_lines lines = omen_lines_of(out->list, n_bytes);
    const char *line;
    size_t n_line;

    if (reserve_paths(out, omen_lines_count(lines) + 1) != OMEN_OK)
        return no_memory(why);
    while (omen_lines_next(&lines, &line, &n_line)) {
        char *path = out->list + (line - out->list), *tab = memchr(path, '\t', n_line);

        if (memchr(path, '\0', n_line)) {
            return omen_fail(why, OMEN_ERR_INPUT, "%s, line %llu: a path has no zero byte", label,
                             (unsigned long long)lines.number);
        }
        path[n_line] = '\0'; /* in the place of the line's end, or behind the text */
        if (tab)
            *tab = '\0';
        if (n_line == 0)
            continue;
        if (path[0] == '\0') {
            return omen_fail(why, OMEN_ERR_INPUT, "%s, line %llu: a label without a path", label,
                             (unsigned long long)lines.number);
        }
        out->paths[out->n] = path;
        out->lines[out->n] = lines.number;
        out->labels[out->n++] = tab ? tab + 1 : NULL;
    }
    return out->n > 0 ? OMEN_OK : omen_fail(why, OMEN_ERR_INPUT, "%s names no index", label);
}

int query_paths_read(struct query_paths *out, const char *list_path, omen_detail *why)
{
    omen_input input;
    int status = omen_input_open_or_empty(&input, list_path, why);

    if (status != OMEN_OK)
        return status;
    out->list = malloc(input.n_bytes + 1);
    if (!out->list)
        status = no_memory(why);
    else {
        if (input.n_bytes > 0)
            memcpy(out->list, input.bytes, input.n_bytes);
        out->list[input.n_bytes] = '\0';
        snprintf(out->list_label, sizeof out->list_label, "%s", input.label);
        status = split_list(out, input.n_bytes, why);
    }
    omen_input_close(&input);
    return status;
}

void query_paths_finish(struct query_paths *paths)
{
    free(paths->paths);
    free(paths->labels);
    free(paths->lines);
    free(paths->list);
}

/* ---- opening ---- */

/* Joins what is open. */
static int join(struct query_indexes *x, omen_detail *why)
{
    cmd_name *names = calloc(x->n, sizeof *names);
    const char **pointers = calloc(x->n, sizeof *pointers);
    int status = names && pointers ? OMEN_OK : no_memory(why);

    for (size_t i = 0; i < x->n && status == OMEN_OK; i++) {
        snprintf(names[i].text, sizeof names[i].text, "\"%.900s\"", x->paths->paths[i]);
        pointers[i] = names[i].text;
    }
    if (status == OMEN_OK)
        status = omen_joint_create(&x->joint, (const omen_index *const *)x->indexes, pointers, x->n, why);
    free(names);
    free(pointers);
    return status;
}

int query_indexes_open(struct query_indexes *x, const struct query_paths *paths, bool checks, omen_index_info *info,
                       omen_detail *why)
{
    int status = OMEN_OK;

    x->paths = paths;
    x->containers = calloc(paths->n, sizeof *x->containers);
    x->indexes = calloc(paths->n, sizeof *x->indexes);
    if (!x->containers || !x->indexes)
        return no_memory(why);
    while (x->n < paths->n && status == OMEN_OK) {
        const size_t i = x->n++;

        status = cmd_open_index(&x->containers[i], &x->indexes[i], paths->paths[i], checks, info, why);
    }
    if (status == OMEN_OK)
        status = join(x, why);
    info->struct_bytes = sizeof *info;
    return status == OMEN_OK ? omen_joint_get_info(x->joint, info) : status;
}

/* ---- what rows are called ---- */

/* "part-1" of "a/part-1.omen". */
static char *label_of(const char *path)
{
    static const char suffix[] = ".omen";
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const size_t length = strlen(name), n = strlen(suffix);

    return length > n && strcmp(name + length - n, suffix) == 0 ? strndup(name, length - n) : strdup(name);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Refuses two labels that are the same. */
static int check_twins(const struct query_indexes *x, omen_detail *why)
{
    char **sorted = malloc(x->n * sizeof *sorted);
    int status = OMEN_OK;

    if (!sorted)
        return no_memory(why);
    memcpy(sorted, x->labels, x->n * sizeof *sorted);
    qsort(sorted, x->n, sizeof *sorted, by_text);
    for (size_t i = 1; i < x->n && status == OMEN_OK; i++)
        if (strcmp(sorted[i - 1], sorted[i]) == 0)
            status = omen_fail(why, OMEN_ERR_INPUT,
                               "two indexes have the label \"%.300s\": give other labels behind tabs in --index-list",
                               sorted[i]);
    free(sorted);
    return status;
}

int query_indexes_label(struct query_indexes *x, omen_detail *why)
{
    omen_detail cause = {.text = ""};
    omen_row_key key;

    x->labels = calloc(x->n, sizeof *x->labels);
    if (!x->labels)
        return no_memory(why);
    for (size_t i = 0; i < x->n; i++) {
        const char *path = x->paths->paths[i], *given = x->paths->labels[i];

        x->labels[i] = given ? strdup(given) : label_of(path);
        if (!x->labels[i])
            return no_memory(why);
        /* what may be a key may be a part of results */
        if (omen_row_key_parse(OMEN_KEYS_TEXT, x->labels[i], strlen(x->labels[i]), &key, &cause) == OMEN_OK)
            continue;
        if (given)
            return omen_fail(why, OMEN_ERR_INPUT,
                             "%s, line %llu: the label behind the tab cannot be written, by the rules of keys: %.200s",
                             x->paths->list_label, (unsigned long long)x->paths->lines[i], cause.text);
        return omen_fail(why, OMEN_ERR_INPUT,
                         "\"%.200s\" has no label that can be written: give one behind a tab in --index-list", path);
    }
    return check_twins(x, why);
}

int query_indexes_check_keys(const struct query_indexes *x, const omen_index_info *info, bool is_quiet,
                             omen_detail *why)
{
    omen_index_info own = {.struct_bytes = sizeof own};
    size_t with = x->n, without = x->n;
    cmd_progress progress;
    int status = OMEN_OK;

    for (size_t i = 0; i < x->n && status == OMEN_OK; i++) {
        status = omen_index_get_info(x->indexes[i], &own);
        if (own.key_kind != OMEN_KEYS_NONE)
            with = with < i ? with : i;
        else
            without = without < i ? without : i;
    }
    if (status != OMEN_OK || with == x->n || x->n == 1)
        return status;
    if (without < x->n)
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "\"%.200s\" has keys, and \"%.200s\" has none: use --rows for row numbers",
                         x->paths->paths[with], x->paths->paths[without]);
    if (info->key_kind != OMEN_KEYS_NONE && x->labels)
        return OMEN_OK; /* they tell keys apart */
    cmd_progress_init(&progress, is_quiet ? -1 : 0);
    status = omen_joint_check_keys(x->joint, cmd_progress_update, &progress, why);
    cmd_progress_clear(&progress);
    if (status == OMEN_ERR_INPUT || status == OMEN_ERR_ARGUMENT) {
        const omen_detail cause = *why;

        omen_fail(why, status, "%.400s; use %s--rows", cause.text, status == OMEN_ERR_INPUT ? "--label or " : "");
    }
    return status;
}

/* ---- filters ---- */

int query_indexes_filter(struct query_indexes *x, const struct query_filter_options *options, uint64_t n_queries,
                         omen_detail *why)
{
    int status = OMEN_OK;

    x->filters = calloc(x->n, sizeof *x->filters);
    if (!x->filters)
        return no_memory(why);
    for (size_t i = 0; i < x->n && status == OMEN_OK; i++) {
        status = query_filter_open(&x->filters[i], options, x->indexes[i], n_queries, why);
        status = cmd_name_damage(x->paths->paths[i], status, why);
        if (status == OMEN_ERR_ARGUMENT && x->n > 1) {
            const omen_detail cause = *why;

            omen_fail(why, status, "\"%.150s\": %.350s", x->paths->paths[i], cause.text);
        }
    }
    return status;
}

uint64_t query_indexes_fit(struct query_indexes *x, const uint64_t *numbers, uint64_t first, uint64_t n)
{
    for (size_t i = 0; i < x->n; i++)
        n = query_filter_fit(&x->filters[i], numbers, first, n);
    return n;
}

int query_indexes_fill(struct query_indexes *x, const uint64_t *numbers, uint64_t first, uint64_t n, int n_threads,
                       const omen_row_set **sets, omen_detail *why)
{
    int status = OMEN_OK;

    for (size_t i = 0; i < x->n && status == OMEN_OK; i++) {
        status = query_filter_fill(&x->filters[i], numbers, first, n, n_threads, sets + i * n, why);
        status = cmd_name_damage(x->paths->paths[i], status, why);
    }
    return status;
}

void query_indexes_finish(struct query_indexes *x)
{
    for (size_t i = 0; i < x->n && x->filters; i++)
        query_filter_finish(&x->filters[i]);
    for (size_t i = 0; i < x->n && x->labels; i++)
        free(x->labels[i]);
    omen_joint_destroy(x->joint);
    for (size_t i = 0; i < x->n; i++) {
        omen_index_close(x->indexes[i]);
        omen_container_close(x->containers[i]);
    }
    free(x->filters);
    free(x->labels);
    free(x->indexes);
    free(x->containers);
}
