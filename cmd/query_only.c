/* SPDX-License-Identifier: Apache-2.0 */
/* omendb query --only and --except: the rows that a file names. */
#include "cmd/query_only.h"

#include <stdlib.h>

#include "formats/lines.h"

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

int query_only_read(const omen_index *index, const char *only, const char *except, omen_row_set **set, omen_detail *why)
{
    omen_row_set *listed = NULL, *rest = NULL;
    int status = only ? read_set(index, only, false, &listed, why) : OMEN_OK;

    *set = NULL;
    if (status == OMEN_OK && except)
        status = read_set(index, except, true, &rest, why);
    if (status == OMEN_OK && only && except)
        status = omen_row_set_intersect(listed, rest, set, why);
    else if (status == OMEN_OK) {
        *set = only ? listed : rest;
        return OMEN_OK;
    }
    omen_row_set_destroy(listed);
    omen_row_set_destroy(rest);
    return status;
}
