/* SPDX-License-Identifier: Apache-2.0 */
/* omendb query --by-key and --by-row: queries that are rows of the index. */
#include "cmd/query_rows.h"

#include <stdlib.h>

#include "formats/lines.h"

/* The row that a line names. */
static int find_row(const omen_index *index, const omen_index_info *info, bool by_key, const char *line, size_t n_bytes,
                    uint64_t *row, omen_detail *why)
{
    omen_row_key key;
    int64_t found;
    int status = omen_row_key_parse(by_key ? info->key_kind : OMEN_KEYS_UINT64, line, n_bytes, &key, why);

    if (status == OMEN_OK && !by_key) {
        *row = key.number;
        return *row < info->n_rows ? OMEN_OK
                                   : omen_fail(why, OMEN_ERR_INPUT, "there is no row %llu: the index has %llu",
                                               (unsigned long long)*row, (unsigned long long)info->n_rows);
    }
    if (status != OMEN_OK)
        return by_key ? status
                      : omen_fail(why, status, "\"%.*s\" is no row number", n_bytes < 100 ? (int)n_bytes : 100, line);
    status = omen_index_row_of_key(index, &key, &found, why);
    *row = (uint64_t)found;
    if (status == OMEN_OK && found == OMEN_NO_ROW)
        return omen_fail(why, OMEN_ERR_INPUT, "no row has the key \"%.*s\"", n_bytes < 300 ? (int)n_bytes : 300, line);
    return status;
}

/* Reads the lines of an input into numbers, which has room for one each. */
static int read_lines(const omen_index *index, const omen_input *input, bool by_key, uint64_t *numbers,
                      omen_detail *why)
{
    omen_lines lines = omen_lines_of(input->bytes, input->n_bytes);
    omen_index_info info = {.struct_bytes = sizeof info};
    const char *line;
    size_t n_bytes;
    int status = omen_index_get_info(index, &info);

    while (status == OMEN_OK && omen_lines_next(&lines, &line, &n_bytes)) {
        omen_detail cause = {.text = ""};

        status = find_row(index, &info, by_key, line, n_bytes, &numbers[lines.number - 1], &cause);
        if (status == OMEN_ERR_INPUT)
            omen_fail(why, status, "%s, line %llu: %.350s", input->label, (unsigned long long)lines.number, cause.text);
        else if (status != OMEN_OK)
            *why = cause;
    }
    return status;
}

int query_rows_read(const omen_index *index, const char *path, bool by_key, uint64_t **numbers, uint64_t *n,
                    omen_detail *why)
{
    omen_input input;
    const char *line;
    size_t n_bytes;
    int status = omen_input_open(&input, path, why);

    *numbers = NULL;
    *n = 0;
    if (status != OMEN_OK)
        return status;
    for (omen_lines count = omen_lines_of(input.bytes, input.n_bytes); omen_lines_next(&count, &line, &n_bytes);)
        *n = count.number;
    *numbers = malloc(*n * sizeof **numbers + 1);
    status = *numbers ? read_lines(index, &input, by_key, *numbers, why) : OMEN_ERR_MEMORY;
    omen_input_close(&input);
    if (status != OMEN_OK) {
        free(*numbers);
        *numbers = NULL;
    }
    return status;
}

int query_rows_open(struct query_rows *r, const omen_index *index, const char *path, bool by_key, omen_detail *why)
{
    const int status = query_rows_read(index, path, by_key, &r->numbers, &r->n, why);

    if (status != OMEN_OK)
        return status;
    /* such as of a byte order mark alone */
    if (r->n == 0)
        return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" names no row", path);
    return omen_index_rows_open(&r->rows, index, r->numbers, r->n, why);
}

void query_rows_finish(struct query_rows *r)
{
    omen_index_rows_close(r->rows);
    free(r->numbers);
}

void query_rows_exclude(const uint64_t *numbers, uint64_t n, uint32_t k, int64_t *ids, float *distances)
{
    for (uint64_t q = 0; q < n; q++) {
        const int64_t self = (int64_t)numbers[q];
        uint64_t to = q * (k - 1);

        for (uint32_t i = 0; i < k && to < (q + 1) * (k - 1); i++) {
            if (ids[q * k + i] == self)
                continue;
            ids[to] = ids[q * k + i];
            if (distances)
                distances[to] = distances[q * k + i];
            to++;
        }
    }
}
