/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of an open index: the key of a row, and the row of a key.
 *
 * Nothing is believed: a key's place, its number or text, and the row that an entry of the order names are checked
 * whenever they are read, so that no lookup leaves the sections or gives a key that no row may have. */
#include <string.h>

#include "lib/index_keys.h"

/* ---- keys ---- */

const char *omen_key_kind_name(omen_key_kind kind)
{
    static const char *const names[] = {"none", "int64", "uint64", "text"};
    return (unsigned)kind < sizeof names / sizeof *names ? names[kind] : "?";
}

uint32_t omen_row_key_width(uint64_t most)
{
    uint32_t width = 1;
    while (width < 8 && most >> 8 * width)
        width++;
    return width;
}

/* Bytes of the UTF-8 character at text, of which n_bytes are left; 0 for none. Overlong forms, halves of surrogate
 * pairs and what is beyond U+10FFFF are none. */
static uint32_t character_bytes(const unsigned char *text, uint64_t n_bytes)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const uint32_t n = text[0] < 0x80 ? 1 : text[0] >> 5 == 6 ? 2 : text[0] >> 4 == 14 ? 3 : text[0] >> 3 == 30 ? 4 : 0;
    if (n <= 1)
        return n;
    uint32_t code = text[0] & (0x7fu >> n);
    if (n > n_bytes)
        return 0;
    for (uint32_t i = 1; i < n; i++) {
        if (text[i] >> 6 != 2)
            return 0;
        code = code << 6 | (text[i] & 0x3f);
    }
    return code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : n;
}

int omen_row_key_check_text(const char *text, uint64_t n_bytes, omen_detail *why)
{
    const unsigned char *bytes = (const unsigned char *)text;
    if (n_bytes == 0)
        return omen_fail(why, OMEN_ERR_INPUT, "a key is empty");
    if (n_bytes > OMEN_MAX_KEY_BYTES)
        return omen_fail(why, OMEN_ERR_INPUT, "a key has %llu bytes, more than %u", (unsigned long long)n_bytes,
                         OMEN_MAX_KEY_BYTES);
    for (uint64_t i = 0; i < n_bytes;) {
        const uint32_t n = character_bytes(bytes + i, n_bytes - i);
        const bool is_control =
            bytes[i] < 0x20 || bytes[i] == 0x7f || (n == 2 && bytes[i] == 0xc2 && bytes[i + 1] < 0xa0);
        if (n == 0 || is_control)
            return omen_fail(why, OMEN_ERR_INPUT, "byte %llu of a key, 0x%02x, is %s", (unsigned long long)i + 1,
                             bytes[i], n == 0 ? "not UTF-8" : "a control character");
        i += n;
    }
    return OMEN_OK;
}

/* A decimal integer: digits, a minus in front of them if is_signed. */
static bool parse_number(const char *text, size_t n_bytes, bool is_signed, uint64_t *out)
{
    const bool is_negative = is_signed && n_bytes > 0 && text[0] == '-';
    const uint64_t most = !is_signed ? UINT64_MAX : is_negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    uint64_t value = 0;
    if (n_bytes == is_negative)
        return false;
    for (size_t i = is_negative; i < n_bytes; i++) {
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value) || value > most)
            return false;
    }
    *out = is_negative ? 0 - value : value;
    return true;
}

int omen_row_key_parse(omen_key_kind kind, const char *text, size_t n_bytes, omen_row_key *out, omen_detail *why)
{
    *out = (omen_row_key){.kind = kind};
    if (kind == OMEN_KEYS_TEXT) {
        const int status = omen_row_key_check_text(text, n_bytes, why);
        out->text = text;
        out->n_bytes = (uint32_t)n_bytes;
        return status;
    }
    return parse_number(text, n_bytes, kind == OMEN_KEYS_INT64, &out->number)
               ? OMEN_OK
               : omen_fail(why, OMEN_ERR_INPUT, "\"%.*s\" is no %s", n_bytes < 100 ? (int)n_bytes : 100, text,
                           omen_key_kind_name(kind));
}

static int compare_numbers(omen_key_kind kind, uint64_t a, uint64_t b)
{
    const uint64_t sign = kind == OMEN_KEYS_INT64 ? (uint64_t)1 << 63 : 0;
    return (a ^ sign) < (b ^ sign) ? -1 : a != b;
}

int omen_row_key_compare(const omen_row_key *a, const omen_row_key *b)
{
    if (a->kind != OMEN_KEYS_TEXT)
        return compare_numbers(a->kind, a->number, b->number);
    // a damaged file may say that no key has any bytes: then there is no text either
    const uint32_t n = a->n_bytes < b->n_bytes ? a->n_bytes : b->n_bytes;
    const int order = n ? memcmp(a->text, b->text, n) : 0;
    return order ? order : a->n_bytes < b->n_bytes ? -1 : a->n_bytes > b->n_bytes;
}

/* ---- opening ---- */

static bool is_section_of_keys(uint32_t id)
{
    return id == OMEN_SECTION_KEYV || id == OMEN_SECTION_KEYO || id == OMEN_SECTION_KEYI;
}

int omen_index_keys_check_sections(const omen_section_list *list, const omen_meta *m)
{
    if (!omen_sections_find(list, OMEN_SECTION_KEYS)) {
        for (size_t i = 0; i < list->n; i++)
            if (is_section_of_keys(list->sections[i].id))
                return omen_fail(list->why, OMEN_ERR_CORRUPT, "section %.4s is there without KEYS",
                                 (const char *)&list->sections[i].id);
        return OMEN_OK;
    }
    if (!list->has_ids)
        return omen_fail(list->why, OMEN_ERR_CORRUPT, "section KEYS: codes have no keys");
    int status = omen_sections_check(list, OMEN_SECTION_KEYS, OMEN_ELEMENT_BYTES, 1, sizeof(omen_keys_head));
    if (status == OMEN_OK)
        status = omen_sections_check(list, OMEN_SECTION_KEYI, OMEN_ELEMENT_U32, m->n_rows, 4);
    const omen_section *values = omen_sections_find(list, OMEN_SECTION_KEYV);
    const omen_section *offsets = omen_sections_find(list, OMEN_SECTION_KEYO);
    if (status == OMEN_OK && (!values || values->n_bytes > m->n_rows * OMEN_MAX_KEY_BYTES))
        status = omen_fail(list->why, OMEN_ERR_CORRUPT, "section KEYV is %s", values ? "too long" : "missing");
    if (status == OMEN_OK && offsets && offsets->n_bytes > (m->n_rows + 1) * 8)
        status = omen_fail(list->why, OMEN_ERR_CORRUPT, "section KEYO is too long");
    return status;
}

/* The values of KEYS, of which the lengths of the other sections follow. */
static int check_head(const omen_keys_head *h, const omen_section_list *list, const omen_meta *m)
{
    const bool is_text = h->kind == OMEN_KEYS_TEXT;
    uint32_t rest = 0;
    if (h->kind < OMEN_KEYS_INT64 || h->kind > OMEN_KEYS_TEXT || (h->flags & ~OMEN_KEYS_FLAG_SHARED))
        return omen_fail(list->why, OMEN_ERR_UNSUPPORTED, "section KEYS names a kind or flag of a newer version");
    for (size_t i = 0; i < sizeof h->zero / sizeof *h->zero; i++)
        rest |= h->zero[i];
    if (h->n_rows != m->n_rows || rest || compare_numbers(h->kind, h->least, h->most) > 0 ||
        h->width != omen_row_key_width(h->most - h->least) || (is_text && h->least) ||
        (is_text ? h->longest < 1 || h->longest > OMEN_MAX_KEY_BYTES : h->longest))
        return omen_fail(list->why, OMEN_ERR_CORRUPT, "section KEYS: impossible values");
    int status = omen_sections_check(list, OMEN_SECTION_KEYV, OMEN_ELEMENT_U8, is_text ? h->most : h->n_rows,
                                     is_text ? 1 : h->width);
    if (status == OMEN_OK && is_text)
        status = omen_sections_check(list, OMEN_SECTION_KEYO, OMEN_ELEMENT_U8, h->n_rows + 1, h->width);
    if (status == OMEN_OK && !is_text && omen_sections_find(list, OMEN_SECTION_KEYO))
        status = omen_fail(list->why, OMEN_ERR_CORRUPT, "section KEYO is there, but keys are integers");
    return status;
}

int omen_index_keys_open(omen_index *index, const omen_section_list *list)
{
    const omen_section *s = omen_sections_find(list, OMEN_SECTION_KEYS);
    omen_keys_head head;
    if (!s)
        return OMEN_OK;
    int status = omen_section_check(s, list->why);
    if (status != OMEN_OK)
        return status;
    memcpy(&head, s->data, sizeof head);
    status = check_head(&head, list, &index->meta);
    if (status == OMEN_OK)
        index->keys.head = head;
    return status;
}

uint64_t omen_index_keys_bytes(const omen_index *index)
{
    const omen_key_store *keys = &index->keys;
    return keys->head.kind ? sizeof keys->head + keys->values.section.n_bytes + keys->offsets.section.n_bytes +
                                 keys->order.section.n_bytes
                           : 0;
}

/* ---- lookups ---- */

static int no_keys(omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_ARGUMENT, "the index was built without keys");
}

/* What is wrong with the keys. */
typedef struct {
    const char *section; /* NULL: the text names it */
    omen_detail text;
} key_fault;

static int touch_bytes(const omen_touched *touched, uint64_t at, uint64_t n_bytes, key_fault *fault)
{
    const int status = omen_index_touch_bytes(touched, at, n_bytes, &fault->text);
    if (status != OMEN_OK)
        fault->section = NULL;
    return status;
}

/* Number i of those that a section holds, of width bytes each. */
static int read_number(const omen_touched *touched, uint64_t i, uint32_t width, uint64_t *out, key_fault *fault)
{
    const int status = touch_bytes(touched, i * width, width, fault);
    *out = 0;
    if (status == OMEN_OK)
        memcpy(out, (const uint8_t *)touched->section.data + i * width, width);
    return status;
}

/* What is wrong with the key of a row. */
static int bad_key(uint64_t row, const char *section, const char *what, key_fault *fault)
{
    fault->section = section;
    return omen_fail(&fault->text, OMEN_ERR_CORRUPT, "row %llu: %s", (unsigned long long)row, what);
}

/* Tells of a fault that a lookup met. */
static int tell_lookup(int status, const key_fault *fault, omen_detail *why)
{
    if (status == OMEN_OK || !fault->section)
        return status == OMEN_OK ? status : omen_fail(why, status, "%s", fault->text.text);
    return omen_fail(why, status, "section %s: %s", fault->section, fault->text.text);
}

static int read_text(const omen_key_store *keys, uint64_t row, omen_row_key *out, key_fault *fault)
{
    const omen_keys_head *h = &keys->head;
    omen_detail what;
    uint64_t begin, end;
    int status = read_number(&keys->offsets, row, h->width, &begin, fault);
    if (status == OMEN_OK)
        status = read_number(&keys->offsets, row + 1, h->width, &end, fault);
    if (status != OMEN_OK)
        return status;
    if (begin >= end || end > h->most || end - begin > h->longest)
        return bad_key(row, "KEYO", "the place of its key is impossible", fault);
    status = touch_bytes(&keys->values, begin, end - begin, fault);
    if (status != OMEN_OK)
        return status;
    out->text = (const char *)keys->values.section.data + begin;
    out->n_bytes = (uint32_t)(end - begin);
    status = omen_row_key_check_text(out->text, out->n_bytes, &what);
    return status == OMEN_OK ? OMEN_OK : bad_key(row, "KEYV", what.text, fault);
}

/* The key of a row that there is, of an index that has keys. */
static int read_key(const omen_index *index, uint64_t row, omen_row_key *out, key_fault *fault)
{
    const omen_keys_head *h = &index->keys.head;
    *out = (omen_row_key){.kind = h->kind};
    if (h->kind == OMEN_KEYS_TEXT)
        return read_text(&index->keys, row, out, fault);
    const int status = read_number(&index->keys.values, row, h->width, &out->number, fault);
    if (status == OMEN_OK && out->number > h->most - h->least)
        return bad_key(row, "KEYV", "its key is beyond the largest", fault);
    out->number += h->least;
    return status;
}

int omen_index_key_of(const omen_index *index, uint64_t row, omen_row_key *out, omen_detail *why)
{
    const omen_keys_head *h = &index->keys.head;
    key_fault fault;
    *out = (omen_row_key){.kind = h->kind};
    if (h->kind == OMEN_KEYS_NONE)
        return no_keys(why);
    if (row >= h->n_rows)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "row %llu does not exist", (unsigned long long)row);
    return tell_lookup(read_key(index, row, out, &fault), &fault, why);
}

/* Entry i of the order: a row, and its key. */
static int read_entry(const omen_index *index, uint64_t i, uint64_t *row, omen_row_key *key, key_fault *fault)
{
    const int status = read_number(&index->keys.order, i, sizeof(uint32_t), row, fault);
    if (status != OMEN_OK)
        return status;
    if (*row >= index->meta.n_rows)
        return bad_key(*row, "KEYI", "there is no such row", fault);
    return read_key(index, *row, key, fault);
}

int omen_index_key_at(const omen_index *index, uint64_t i, uint64_t *row, omen_row_key *out, omen_detail *why)
{
    key_fault fault;
    return tell_lookup(read_entry(index, i, row, out, &fault), &fault, why);
}

int omen_index_row_of_key_from(const omen_index *index, const omen_row_key *key, uint64_t first, int64_t *row,
                               omen_detail *why)
{
    const omen_keys_head *h = &index->keys.head;
    uint64_t at = 0, above = h->n_rows, at_row;
    omen_row_key at_key;
    key_fault fault;
    int status = OMEN_OK;
    *row = OMEN_NO_ROW;
    if (h->kind == OMEN_KEYS_NONE)
        return no_keys(why);
    if ((uint32_t)key->kind != h->kind)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the keys of the index are %s, not %s",
                         omen_key_kind_name((omen_key_kind)h->kind), omen_key_kind_name(key->kind));
    while (at < above && status == OMEN_OK) {
        const uint64_t middle = at + (above - at) / 2;
        status = read_entry(index, middle, &at_row, &at_key, &fault);
        const int order = status == OMEN_OK ? omen_row_key_compare(&at_key, key) : 0;
        if (order < 0 || (order == 0 && at_row < first)) /* rows of one key rise */
            at = middle + 1;
        else
            above = middle;
    }
    if (status == OMEN_OK && at < h->n_rows) {
        status = read_entry(index, at, &at_row, &at_key, &fault);
        if (status == OMEN_OK && omen_row_key_compare(&at_key, key) == 0 && at_row >= first)
            *row = (int64_t)at_row;
    }
    return tell_lookup(status, &fault, why);
}

int omen_index_row_of_key(const omen_index *index, const omen_row_key *key, int64_t *row, omen_detail *why)
{
    return omen_index_row_of_key_from(index, key, 0, row, why);
}

/* ---- checking ---- */

static int tell(omen_fault_fn fault, void *context, const char *section, const char *text)
{
    fault(context, section, text);
    return OMEN_ERR_CORRUPT;
}

/* Every key; and KEYS, which says what the longest text is. */
static int check_keys(const omen_index *index, omen_fault_fn fault, void *context)
{
    const omen_keys_head *h = &index->keys.head;
    key_fault found;
    uint32_t longest = 0;
    uint64_t at = 0;
    omen_row_key key;
    for (uint64_t row = 0; row < h->n_rows; row++) {
        if (read_key(index, row, &key, &found) != OMEN_OK)
            return tell(fault, context, found.section ? found.section : "KEYV", found.text.text);
        longest = key.n_bytes > longest ? key.n_bytes : longest;
        at += key.n_bytes;
    }
    /* each begins where the one before ends, so that together they are all of KEYV, from its first byte on */
    if (longest != h->longest || (h->kind == OMEN_KEYS_TEXT && at != h->most))
        return tell(fault, context, "KEYS", "its lengths are not those of the keys");
    return OMEN_OK;
}

/* Rows by rising key, then rising number: so all are different, and with that each row is there once. */
static int check_order(const omen_index *index, omen_fault_fn fault, void *context)
{
    const omen_keys_head *h = &index->keys.head;
    omen_row_key last = {.kind = OMEN_KEYS_NONE}, key;
    key_fault found;
    uint64_t last_row = 0, row;
    for (uint64_t i = 0; i < h->n_rows; i++) {
        if (read_entry(index, i, &row, &key, &found) != OMEN_OK)
            return tell(fault, context, found.section ? found.section : "KEYI", found.text.text);
        const int order = i > 0 ? omen_row_key_compare(&last, &key) : -1;
        if (order > 0 || (order == 0 && last_row >= row))
            return tell(fault, context, "KEYI", "the keys are not in order");
        if (order == 0 && !(h->flags & OMEN_KEYS_FLAG_SHARED))
            return tell(fault, context, "KEYI", "a key stands twice");
        if (h->kind != OMEN_KEYS_TEXT &&
            ((i == 0 && key.number != h->least) || (i + 1 == h->n_rows && key.number != h->most)))
            return tell(fault, context, "KEYS", "its smallest or largest key is none");
        last = key;
        last_row = row;
    }
    return OMEN_OK;
}

int omen_index_keys_check(const omen_index *index, omen_fault_fn fault, void *context)
{
    if (index->keys.head.kind == OMEN_KEYS_NONE)
        return OMEN_OK;
    const int status = check_keys(index, fault, context);
    return status == OMEN_OK ? check_order(index, fault, context) : status;
}
