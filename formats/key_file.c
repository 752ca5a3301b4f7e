/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the keys of rows from a file: text, one a line, or an npy array of integers or of fixed strings. */
#include "formats/input.h"
#include "formats/lines.h"
#include "formats/npy_header.h"
#include "formats/omendb_files.h"

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

/* Begins n keys of at most so many bytes of text in all, which have to be as many as there are rows. */
static int begin(key_file *f, omen_key_kind kind, uint64_t n, uint64_t n_text_bytes)
{
    uint64_t peak;
    if (n != f->n_rows) {
        return omen_fail(f->why, OMEN_ERR_INPUT, "%s has %" PRIu64 " key%s, and there %s %" PRIu64 " row%s",
                         f->input.label, n, omen_plural(n), omen_is_or_are(f->n_rows), f->n_rows,
                         omen_plural(f->n_rows));
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

/* ---- the file ---------------------------------------------------------- */

int omen_row_keys_read(omen_row_keys **out, const char *path, uint64_t n_rows, bool allow_duplicates,
                       uint64_t memory_bytes, int n_threads, omen_detail *why)
{
    key_file f = {.n_rows = n_rows, .memory_bytes = memory_bytes, .why = why};
    uint64_t twins[2];
    omen_detail cause = {""};
    *out = NULL;
    int status = omen_input_open(&f.input, path, why);
    if (status != OMEN_OK)
        return status;
    const bool is_npy = omen_npy_is(f.input.bytes, f.input.n_bytes);
    if (omen_input_is_container(&f.input))
        status = omen_fail(why, OMEN_ERR_INPUT, "%s is an index or compressed, not a file of keys", f.input.label);
    else
        status = is_npy ? read_npy(&f) : read_text(&f);
    if (status == OMEN_OK) {
        status = omen_row_keys_finish(f.keys, allow_duplicates, n_threads, twins, &cause);
        if (status == OMEN_ERR_INPUT) {
            omen_fail(why, status,
                      "%s: %s %" PRIu64 " and %" PRIu64 " have the same key; options.allow_duplicates accepts that",
                      f.input.label, is_npy ? "rows" : "lines", twins[0] + !is_npy, twins[1] + !is_npy);
        } else if (status != OMEN_OK) {
            omen_fail(why, status, "%s", cause.text);
        }
    }
    omen_input_close(&f.input);
    if (status != OMEN_OK)
        omen_row_keys_destroy(f.keys);
    else
        *out = f.keys;
    return status;
}
