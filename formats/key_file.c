/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the keys of rows from a file: text, one a line, an npy array of integers or of fixed strings, or a column of a
 * table. */
#include "formats/columns_internal.h"
#include "formats/key_source.h"
#include "formats/lines.h"
#include "formats/npy_header.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* One file while it is read. */
typedef struct {
    omen_input input;
    omen_row_keys *keys;
    uint64_t n_rows, memory_bytes;
    omen_detail *why;
} key_file;

/* ---- both -------------------------------------------------------------- */

/* Whether text looks like a table, of which one column may be the keys. */
static bool may_be_table(const omen_input *input)
{
    const char *end = memchr(input->bytes, '\n', input->n_bytes);
    const size_t n = end ? (size_t)(end - (const char *)input->bytes) : input->n_bytes;
    return !omen_npy_is(input->bytes, input->n_bytes) &&
           (input->bytes[0] == '{' || memchr(input->bytes, '\t', n) || memchr(input->bytes, ',', n));
}

/* Begins n keys of at most so many bytes of text in all, which have to be as many as there are rows. */
static int begin(key_file *f, omen_key_kind kind, uint64_t n, uint64_t n_text_bytes)
{
    uint64_t peak;
    if (n != f->n_rows) {
        return omen_fail(f->why, OMEN_ERR_INPUT, "%s has %" PRIu64 " key%s, and there %s %" PRIu64 " row%s%s",
                         f->input.label, n, omen_plural(n), omen_is_or_are(f->n_rows), f->n_rows,
                         omen_plural(f->n_rows),
                         may_be_table(&f->input) ? "; of a table name the column of keys, as FILE:COLUMN" : "");
    }
    omen_row_keys_sizes(n, n_text_bytes, NULL, &peak, NULL);
    if (f->memory_bytes > 0 && peak > f->memory_bytes) {
        return omen_fail(f->why, OMEN_ERR_MEMORY,
                         "the keys in %s need %" PRIu64 " MiB of memory, and %" PRIu64 " MiB are allowed",
                         f->input.label, (peak >> 20) + 1, f->memory_bytes >> 20);
    }
    return omen_row_keys_create(&f->keys, kind, n, f->why);
}

/* Names the place of a key that is at fault: place is "line" or "row". */
static int fail_at(const key_file *f, int status, const char *place, uint64_t number, const omen_detail *cause)
{
    if (status == OMEN_ERR_MEMORY)
        return omen_fail(f->why, status, "%s", cause->text);
    return omen_fail(f->why, status, "%s, %s %" PRIu64 ": %s", f->input.label, place, number, cause->text);
}

/* ---- text -------------------------------------------------------------- */

static int read_text(key_file *f)
{
    omen_lines lines = omen_lines_of(f->input.bytes, f->input.n_bytes);
    const char *line;
    size_t n_bytes;
    int status = begin(f, OMEN_KEYS_TEXT, omen_lines_count(lines), f->input.n_bytes);
    while (status == OMEN_OK && omen_lines_next(&lines, &line, &n_bytes)) {
        omen_detail cause = {""};
        omen_row_key key;
        status = omen_row_key_parse(OMEN_KEYS_TEXT, line, n_bytes, &key, &cause);
        if (status == OMEN_OK)
            status = omen_row_keys_add(f->keys, &key, &cause);
        if (status != OMEN_OK)
            return fail_at(f, status, "line", lines.number, &cause);
    }
    return status;
}

/* ---- npy --------------------------------------------------------------- */

/* Characters of four bytes, without the zeros at the end, as UTF-8. What is no character becomes a byte that UTF-8 does
 * not have. Returns the number of bytes; out has room for as many as there are in the array. */
static uint64_t encode_utf8(const unsigned char *from, uint64_t n_bytes, bool big_endian, char *out)
{
    char *to = out;
    while (n_bytes > 0 && omen_npy_integer(from + n_bytes - 4, 4, big_endian, false) == 0)
        n_bytes -= 4;
    for (uint64_t i = 0; i < n_bytes; i += 4) {
        const uint32_t code = (uint32_t)omen_npy_integer(from + i, 4, big_endian, false);
        const int n_more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
        if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
            *to++ = '\xff';
            continue;
        }
        *to++ = (char)(n_more == 0 ? code : (0xf00u >> (n_more + 1) & 0xffu) | code >> 6 * n_more);
        for (int more = n_more; more-- > 0;)
            *to++ = (char)(0x80 | (code >> 6 * more & 0x3f));
    }
    return (uint64_t)(to - out);
}

/* Key number i; room has item_bytes. */
static int load_key(const omen_npy_vector *a, uint64_t i, char *room, omen_row_key *out, omen_detail *cause)
{
    const unsigned char *item = a->items + i * a->item_bytes;
    const char *text = (const char *)item;
    uint64_t n_bytes = a->item_bytes;
    if (a->type == 'i' || a->type == 'u') {
        *out = (omen_row_key){.kind = a->type == 'i' ? OMEN_KEYS_INT64 : OMEN_KEYS_UINT64,
                              .number = omen_npy_integer(item, a->item_bytes, a->big_endian, a->type == 'i')};
        return OMEN_OK;
    }
    if (a->type == 'U') {
        n_bytes = encode_utf8(item, n_bytes, a->big_endian, room);
        text = room;
    }
    while (a->type == 'S' && n_bytes > 0 && text[n_bytes - 1] == '\0')
        n_bytes--;
    return omen_row_key_parse(OMEN_KEYS_TEXT, text, n_bytes, out, cause);
}

static int read_npy(key_file *f)
{
    omen_npy_vector a;
    omen_detail reason = {""};
    int status =
        omen_npy_check_vector(f->input.bytes, f->input.n_bytes, "iuSU",
                              "keys are integers (i8, u8 and smaller) or fixed strings (S and U)", &a, &reason);
    if (status != OMEN_OK)
        return omen_fail(f->why, status, "%s: %s", f->input.label, reason.text);
    const bool is_text = a.type == 'S' || a.type == 'U';
    const omen_key_kind kind = is_text ? OMEN_KEYS_TEXT : a.type == 'i' ? OMEN_KEYS_INT64 : OMEN_KEYS_UINT64;
    status = begin(f, kind, a.n, is_text ? a.n * a.item_bytes : 0);
    char *room = status == OMEN_OK ? malloc(a.item_bytes) : NULL;
    if (status == OMEN_OK && !room)
        status = omen_fail(f->why, OMEN_ERR_MEMORY, "out of memory for the keys");
    for (uint64_t i = 0; i < a.n && status == OMEN_OK; i++) {
        omen_detail cause = {""};
        omen_row_key key;
        status = load_key(&a, i, room, &key, &cause);
        if (status == OMEN_OK)
            status = omen_row_keys_add(f->keys, &key, &cause);
        if (status != OMEN_OK)
            status = fail_at(f, status, "row", i, &cause);
    }
    free(room);
    return status;
}

/* ---- a column of a table ----------------------------------------------- */

/* Key of a row. */
static int load_table_key(const omen_table_keys *column, uint64_t row, omen_row_key *out, omen_detail *cause)
{
    if (column->nulls[row / 64] >> row % 64 & 1)
        return omen_fail(cause, OMEN_ERR_INPUT, "the row has no key");
    if (column->integers) {
        *out = (omen_row_key){.kind = OMEN_KEYS_INT64, .number = (uint64_t)column->integers[row]};
        return OMEN_OK;
    }
    const uint64_t *at = column->texts.offsets + column->codes[row];
    return omen_row_key_parse(OMEN_KEYS_TEXT, column->texts.bytes + at[0], at[1] - at[0], out, cause);
}

static int read_column(key_file *f, const omen_table_keys *column)
{
    uint64_t n_text_bytes = 0;
    for (uint64_t row = 0; !column->integers && row < f->n_rows; row++) {
        const uint32_t code = column->codes[row];
        n_text_bytes += code == OMEN_NO_TEXT ? 0 : column->texts.offsets[code + 1] - column->texts.offsets[code];
    }
    int status = begin(f, column->integers ? OMEN_KEYS_INT64 : OMEN_KEYS_TEXT, f->n_rows, n_text_bytes);
    for (uint64_t row = 0; row < f->n_rows && status == OMEN_OK; row++) {
        omen_detail cause = {""};
        omen_row_key key;
        status = load_table_key(column, row, &key, &cause);
        if (status == OMEN_OK)
            status = omen_row_keys_add(f->keys, &key, &cause);
        if (status != OMEN_OK)
            status = fail_at(f, status, "line", column->lines[row], &cause);
    }
    return status;
}

/* ---- the file ---------------------------------------------------------- */

/* Sorts the keys that were read. lines: of the rows; NULL: rows are told by their number, plus first. */
static int finish(key_file *f, bool allow_duplicates, int n_threads, const char *places, const uint64_t *lines,
                  uint64_t first)
{
    uint64_t twins[2];
    omen_detail cause = {""};
    const int status = omen_row_keys_finish(f->keys, allow_duplicates, n_threads, twins, &cause);
    if (status == OMEN_ERR_INPUT) {
        return omen_fail(f->why, status,
                         "%s: %s %" PRIu64 " and %" PRIu64 " have the same key; options.allow_duplicates accepts that",
                         f->input.label, places, lines ? lines[twins[0]] : twins[0] + first,
                         lines ? lines[twins[1]] : twins[1] + first);
    }
    return status == OMEN_OK ? status : omen_fail(f->why, status, "%s", cause.text);
}

int omen_row_keys_read(omen_row_keys **out, const char *path, uint64_t n_rows, bool allow_duplicates,
                       uint64_t memory_bytes, int n_threads, omen_detail *why)
{
    key_file f = {.n_rows = n_rows, .memory_bytes = memory_bytes, .why = why};
    *out = NULL;
    int status = omen_input_open(&f.input, path, why);
    if (status != OMEN_OK)
        return status;
    const bool is_npy = omen_npy_is(f.input.bytes, f.input.n_bytes);
    status = omen_columns_check_kind(&f.input, "a file of keys", why);
    if (status == OMEN_OK)
        status = is_npy ? read_npy(&f) : read_text(&f);
    if (status == OMEN_OK)
        status = finish(&f, allow_duplicates, n_threads, is_npy ? "rows" : "lines", NULL, !is_npy);
    omen_input_close(&f.input);
    if (status != OMEN_OK)
        omen_row_keys_destroy(f.keys);
    else
        *out = f.keys;
    return status;
}

int omen_row_keys_read_column(omen_row_keys **out, const omen_column_paths *table, const char *column, uint64_t n_rows,
                              bool allow_duplicates, uint64_t memory_bytes, int n_threads, omen_detail *why)
{
    key_file f = {.n_rows = n_rows, .memory_bytes = memory_bytes, .why = why};
    omen_columns *none;
    omen_table *read = NULL;
    *out = NULL;
    int status = omen_columns_create(&none, n_rows, why);
    if (status == OMEN_OK)
        status = omen_input_open(&f.input, table->table, why);
    if (status != OMEN_OK) {
        omen_columns_destroy(none);
        return status;
    }
    status = omen_table_read(&read, &f.input, table->table, none, table->types, column, memory_bytes, why);
    if (status == OMEN_OK) {
        const omen_table_keys keys = omen_table_get_keys(read);
        if (memory_bytes > 0)
            f.memory_bytes = memory_bytes > keys.n_bytes ? memory_bytes - keys.n_bytes : 1;
        status = read_column(&f, &keys);
        if (status == OMEN_OK)
            status = finish(&f, allow_duplicates, n_threads, "lines", keys.lines, 0);
    }
    omen_table_close(read);
    omen_columns_destroy(none);
    omen_input_close(&f.input);
    if (status != OMEN_OK)
        omen_row_keys_destroy(f.keys);
    else
        *out = f.keys;
    return status;
}

int omen_row_keys_read_of(omen_row_keys **out, const omen_key_source *source, uint64_t n_rows, uint64_t memory_bytes,
                          int n_threads, omen_detail *why)
{
    const omen_column_paths *columns = source->columns;
    const bool same = columns && columns->table && strcmp(columns->table, source->path) == 0;
    const omen_column_paths table = {.table = source->path, .types = same ? columns->types : NULL};
    return source->column
               ? omen_row_keys_read_column(out, &table, source->column, n_rows, source->allow_duplicates, memory_bytes,
                                           n_threads, why)
               : omen_row_keys_read(out, source->path, n_rows, source->allow_duplicates, memory_bytes, n_threads, why);
}
