/* SPDX-License-Identifier: Apache-2.0 */
/* omendb query --by-key and --by-row, queries that are rows of the index; and the rows of --only and --except. */
#include "cmd/query_rows.h"

#include <stdlib.h>

#include "formats/lines.h"

/* A file while it is read. */
struct reading {
    const omen_index *index;
    query_rows_kind kind;
    omen_key_kind keys; /* of the index, or of row numbers */
    uint64_t n_index_rows;
    uint64_t *numbers;
    uint64_t n, size;
};

static bool is_set(query_rows_kind kind)
{
    return kind == QUERY_ROWS_KEY_SET || kind == QUERY_ROWS_NUMBER_SET;
}

static bool is_by_key(query_rows_kind kind)
{
    return kind == QUERY_ROWS_KEYS || kind == QUERY_ROWS_KEY_SET;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static int add(struct reading *r, uint64_t row)
{
    if (r->n == r->size) {
        const uint64_t size = 2 * r->size + 64;
        uint64_t *grown = realloc(r->numbers, size * sizeof *grown);

        if (!grown)
            return OMEN_ERR_MEMORY;
        r->numbers = grown;
        r->size = size;
    }
    r->numbers[r->n++] = row;
    return OMEN_OK;
}

/* The rows of a key: the first, or all. */
static int take_key(struct reading *r, const omen_row_key *key, const char *line, size_t n_bytes, omen_detail *why)
{
    uint64_t from = 0;
    int64_t row;
    int status;

    do {
        status = omen_index_row_of_key_from(r->index, key, from, &row, why);
        if (status == OMEN_OK && row != OMEN_NO_ROW)
            status = add(r, (uint64_t)row);
        else if (status == OMEN_OK && from == 0)
            status =
                omen_fail(why, OMEN_ERR_INPUT, "no row has the key \"%.*s\"", n_bytes < 300 ? (int)n_bytes : 300, line);
        from = (uint64_t)row + 1;
    } while (status == OMEN_OK && row != OMEN_NO_ROW && is_set(r->kind));
    return status;
}

/* The row that a line names. */
static int take_line(struct reading *r, const char *line, size_t n_bytes, omen_detail *why)
{
    omen_row_key key;

    /* databases pad numbers; of a text, blanks are a part */
    while (is_set(r->kind) && r->keys != OMEN_KEYS_TEXT && n_bytes > 0 && is_blank(line[n_bytes - 1]))
        n_bytes--;
    for (; is_set(r->kind) && r->keys != OMEN_KEYS_TEXT && n_bytes > 0 && is_blank(line[0]); line++)
        n_bytes--;
    if (is_set(r->kind) && n_bytes == 0)
        return OMEN_OK;
    const int status = omen_row_key_parse(r->keys, line, n_bytes, &key, why);
    if (is_by_key(r->kind))
        return status == OMEN_OK ? take_key(r, &key, line, n_bytes, why) : status;
    if (status != OMEN_OK)
        return omen_fail(why, status, "\"%.*s\" is no row number", n_bytes < 100 ? (int)n_bytes : 100, line);
    if (key.number < r->n_index_rows)
        return add(r, key.number);
    return omen_fail(why, OMEN_ERR_INPUT, "there is no row %llu: the index has rows 0 to %llu",
                     (unsigned long long)key.number, (unsigned long long)r->n_index_rows - 1);
}

static int read_lines(struct reading *r, const omen_input *input, omen_detail *why)
{
    omen_lines lines = omen_lines_of(input->bytes, input->n_bytes);
    const char *line;
    size_t n_bytes;
    int status = OMEN_OK;

    while (status == OMEN_OK && omen_lines_next(&lines, &line, &n_bytes)) {
        omen_detail cause = {.text = ""};

        status = take_line(r, line, n_bytes, &cause);
        if (status == OMEN_ERR_INPUT)
            omen_fail(why, status, "%s, line %llu: %.350s", input->label, (unsigned long long)lines.number, cause.text);
        else if (status == OMEN_ERR_MEMORY)
            omen_fail(why, status, "no memory for the rows of %s", input->label);
        else if (status != OMEN_OK)
            *why = cause;
    }
    return status;
}

int query_rows_read(const omen_index *index, const char *path, query_rows_kind kind, uint64_t **numbers, uint64_t *n,
                    omen_detail *why)
{
    struct reading r = {.index = index, .kind = kind};
    omen_index_info info = {.struct_bytes = sizeof info};
    omen_input input;
    int status = omen_index_get_info(index, &info);

    *numbers = NULL;
    *n = 0;
    if (status == OMEN_OK) /* a query of a database may well select nothing */
        status = is_set(kind) ? omen_input_open_or_empty(&input, path, why) : omen_input_open(&input, path, why);
    if (status != OMEN_OK)
        return status;
    r.keys = is_by_key(kind) ? info.key_kind : OMEN_KEYS_UINT64;
    r.n_index_rows = info.n_rows;
    if (input.n_bytes > 0)
        status = read_lines(&r, &input, why);
    omen_input_close(&input);
    if (status != OMEN_OK) {
        free(r.numbers);
        return status;
    }
    *numbers = r.numbers;
    *n = r.n;
    return OMEN_OK;
}

int query_rows_open(struct query_rows *r, const omen_index *index, const char *path, query_rows_kind kind,
                    omen_detail *why)
{
    const int status = query_rows_read(index, path, kind, &r->numbers, &r->n, why);

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

void query_rows_shift(int64_t *ids, uint64_t n, uint64_t offset)
{
    for (uint64_t i = 0; i < n && offset > 0; i++)
        if (ids[i] != OMEN_NO_ROW)
            ids[i] += (int64_t)offset;
}
