/* SPDX-License-Identifier: Apache-2.0 */
/* TSV and CSV with a header. TSV has no quotes: a field is what stands between two tabs. CSV is RFC 4180: a field that
 * begins with a quote ends with one, may hold commas and ends of lines, and doubles the quotes in it. A field without
 * anything is no value; in CSV, "" is an empty text. */
#include "formats/columns_internal.h"
#include "formats/lines.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const omen_input *input;
    const char *at, *end;
    char delimiter;
    bool has_quotes;
    uint64_t line;     /* of at, from 1 */
    uint32_t position; /* of the field read last */
    char *copy;        /* of a quoted field */
    size_t copy_size;
    omen_detail *why;
} delimited;

/* Keeps a byte of a quoted field. */
static int keep_byte(delimited *d, size_t n, char c)
{
    if (n == d->copy_size) {
        const size_t size = d->copy_size ? 2 * d->copy_size : 256;
        char *grown = realloc(d->copy, size);
        if (!grown)
            return omen_fail(d->why, OMEN_ERR_MEMORY, "out of memory for a field of %s", d->input->label);
        d->copy = grown;
        d->copy_size = size;
    }
    d->copy[n] = c;
    return OMEN_OK;
}

static int read_quoted(delimited *d, omen_field *out)
{
    size_t n = 0;
    int status = OMEN_OK;
    for (d->at++; status == OMEN_OK; d->at++) {
        if (d->at == d->end)
            return omen_fail(d->why, OMEN_ERR_INPUT,
                             "%s, line %" PRIu64 ", column %u: a quote begins there, and none ends it", d->input->label,
                             out->line, out->position);
        if (*d->at == '"' && (d->at + 1 == d->end || d->at[1] != '"'))
            break;
        d->at += *d->at == '"';
        d->line += *d->at == '\n';
        status = keep_byte(d, n++, *d->at);
    }
    if (status != OMEN_OK)
        return status;
    d->at++;
    if (d->at < d->end && *d->at != d->delimiter && *d->at != '\n' &&
        !(*d->at == '\r' && d->at + 1 < d->end && d->at[1] == '\n') && !(*d->at == '\r' && d->at + 1 == d->end))
        return omen_fail(d->why, OMEN_ERR_INPUT,
                         "%s, line %" PRIu64 ", column %u: something follows the quote that ends the field",
                         d->input->label, d->line, out->position);
    out->kind = OMEN_FIELD_PLAIN;
    out->text = d->copy ? d->copy : "";
    out->n_bytes = n;
    return OMEN_OK;
}

/* Reads a field; *is_last: its line ends behind it. */
static int read_field(delimited *d, omen_field *out, bool *is_last)
{
    out->line = d->line;
    out->position = ++d->position;
    if (d->has_quotes && d->at < d->end && *d->at == '"') {
        const int status = read_quoted(d, out);
        if (status != OMEN_OK)
            return status;
        d->at += d->at < d->end && *d->at == '\r';
    } else {
        const char *begin = d->at;
        while (d->at < d->end && *d->at != d->delimiter && *d->at != '\n')
            d->at++;
        const bool ends = d->at == d->end || *d->at == '\n';
        out->text = begin;
        out->n_bytes = (size_t)(d->at - begin);
        out->n_bytes -= ends && out->n_bytes && begin[out->n_bytes - 1] == '\r';
        out->kind = out->n_bytes ? OMEN_FIELD_PLAIN : OMEN_FIELD_NULL;
    }
    *is_last = d->at == d->end || *d->at == '\n';
    d->line += *is_last && d->at < d->end;
    d->at += d->at < d->end;
    return OMEN_OK;
}

/* The header: numbers gets those of the columns. */
static int read_header(delimited *d, omen_table *table, uint32_t numbers[OMEN_MAX_COLUMNS], uint32_t *n)
{
    bool is_last = false;
    int status = OMEN_OK;
    for (*n = 0; status == OMEN_OK && !is_last;) {
        omen_field field = {.kind = OMEN_FIELD_NULL};
        status = read_field(d, &field, &is_last);
        if (status == OMEN_OK && *n == OMEN_MAX_COLUMNS)
            status =
                omen_fail(d->why, OMEN_ERR_INPUT, "%s has more than %u columns", d->input->label, OMEN_MAX_COLUMNS);
        if (status == OMEN_OK)
            status = omen_table_column(table, field.text, field.n_bytes, &numbers[*n], d->why);
        for (uint32_t i = 0; i < *n && status == OMEN_OK; i++)
            if (numbers[i] == numbers[*n])
                status = omen_fail(d->why, OMEN_ERR_INPUT, "%s: columns %u and %u have the same name, \"%.*s\"",
                                   d->input->label, i + 1, *n + 1, (int)field.n_bytes, field.text);
        ++*n;
    }
    return status;
}

static int walk(delimited *d, omen_table *table, uint64_t *n_rows)
{
    uint32_t *numbers = malloc(OMEN_MAX_COLUMNS * sizeof *numbers), n = 0;
    int status = numbers ? read_header(d, table, numbers, &n)
                         : omen_fail(d->why, OMEN_ERR_MEMORY, "out of memory for %s", d->input->label);
    for (*n_rows = 0; status == OMEN_OK && d->at < d->end; ++*n_rows) {
        bool is_last = false;
        const uint64_t line = d->line;
        for (d->position = 0; status == OMEN_OK && !is_last;) {
            omen_field field = {.kind = OMEN_FIELD_NULL, .row = *n_rows};
            status = read_field(d, &field, &is_last);
            if (status == OMEN_OK && d->position <= n)
                status = omen_table_field(table, numbers[d->position - 1], &field, d->why);
        }
        if (status == OMEN_OK && d->position != n)
            status = omen_fail(d->why, OMEN_ERR_INPUT, "%s, line %" PRIu64 " has %u field%s, and the header %u",
                               d->input->label, line, d->position, omen_plural(d->position), n);
    }
    free(numbers);
    free(d->copy);
    return status;
}

/* A byte order mark in front is left out. */
static delimited delimited_of(const omen_input *input, omen_detail *why)
{
    const char *text = (const char *)input->bytes;
    const bool has_mark = input->n_bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0;
    return (delimited){
        .input = input, .at = text + (has_mark ? 3 : 0), .end = text + input->n_bytes, .line = 1, .why = why};
}

int omen_walk_tsv(omen_table *table, const omen_input *input, uint64_t *n_rows, omen_detail *why)
{
    delimited d = delimited_of(input, why);
    d.delimiter = '\t';
    return walk(&d, table, n_rows);
}

int omen_walk_csv(omen_table *table, const omen_input *input, uint64_t *n_rows, omen_detail *why)
{
    delimited d = delimited_of(input, why);
    d.delimiter = ',';
    d.has_quotes = true;
    return walk(&d, table, n_rows);
}
