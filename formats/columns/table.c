/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of columns: the first walk finds their types, the second keeps their values. */
#include "formats/columns_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST_WHOLE 400u /* digits of a whole number */
#define LIST_BYTES    300u
#define MORE          ", ..." /* ends a list that is cut */

/* What the first walk has seen in a column. */
enum { SEEN_INTEGERS = 1, SEEN_REALS = 2, SEEN_TEXTS = 4, SEEN_TAGS = 8 };

typedef enum { TYPE_FOUND, TYPE_INT64, TYPE_FLOAT32, TYPE_FLOAT64, TYPE_TEXT, TYPE_TAGS, TYPE_SKIP } table_type;

static const char *const type_names[] = {"", "int64", "float32", "float64", "text", "tags", "skip"};
#define N_TYPES (sizeof type_names / sizeof *type_names)

typedef struct {
    char *name;
    table_type type;
    bool is_found; /* the type, from the values */
    unsigned seen;
    uint64_t seen_line; /* of the first value */
    const char *seen_kind;
    uint64_t *nulls; /* bits; all set until a value comes */
    int64_t *integers;
    double *reals;
    uint32_t *codes;
    omen_intern texts;
    uint64_t *first; /* TAGS: n_rows + 1 */
    uint32_t *tags;
    uint64_t n_tags, tags_size;
    uint64_t n_rows_begun; /* TAGS: first is set below this */
} table_column;

/* The type that was asked for of a column. */
typedef struct {
    const char *name;
    size_t n_bytes;
    table_type type;
    bool is_met;
} wish;

struct omen_table {
    const char *label;
    table_column *columns;
    uint32_t n, size;
    wish *wishes;
    size_t n_wishes;
    const char *keys; /* the name of the column of keys; NULL: none */
    uint64_t *lines;  /* a row: its line; with keys */
    bool keeps;       /* the second walk */
    uint64_t n_rows, n_bytes, memory_bytes;
    const omen_columns *others;
};

/* ---- faults ---- */

static int no_memory(const omen_table *t, omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the columns in %s", t->label);
}

/* A field that is not what its column holds. */
static int fail_field(const omen_table *t, uint32_t number, const omen_field *f, const char *what, omen_detail *why)
{
    const table_column *c = &t->columns[number - 1];
    char shown[64];
    switch (f->kind) {
    case OMEN_FIELD_LIST:
        snprintf(shown, sizeof shown, "[]");
        break;
    case OMEN_FIELD_INTEGER:
        snprintf(shown, sizeof shown, "%" PRId64, f->integer);
        break;
    case OMEN_FIELD_REAL:
        snprintf(shown, sizeof shown, "%.17g", f->real);
        break;
    default:
        snprintf(shown, sizeof shown, "\"%.*s\"%s", (int)(f->n_bytes < 40 ? f->n_bytes : 40), f->text,
                 f->n_bytes > 40 ? "..." : "");
    }
    return omen_fail(why, OMEN_ERR_INPUT, "%s, line %" PRIu64 ", column %u (%.60s): %s %s", t->label, f->line,
                     f->position, c->name, shown, what);
}

/* ---- types that are asked for ---- */

/* Reads "price:int64,lang:text". */
static int read_wishes(omen_table *t, const char *types, omen_detail *why)
{
    for (const char *at = types; at && *at != '\0';) {
        const size_t n = strcspn(at, ",");
        const char *colon = memrchr(at, ':', n);
        table_type type = TYPE_INT64;
        while (colon && type < N_TYPES &&
               (strlen(type_names[type]) != (size_t)(at + n - colon - 1) ||
                strncmp(type_names[type], colon + 1, (size_t)(at + n - colon - 1)) != 0))
            type++;
        if (!colon || colon == at || type == N_TYPES)
            return omen_fail(why, OMEN_ERR_ARGUMENT,
                             "options.column_types: \"%.*s\" is not NAME:TYPE with a type of int64, float32, float64, "
                             "text, tags or skip",
                             (int)(n < 100 ? n : 100), at);
        for (size_t i = 0; i < t->n_wishes; i++)
            if (t->wishes[i].n_bytes == (size_t)(colon - at) &&
                memcmp(t->wishes[i].name, at, t->wishes[i].n_bytes) == 0)
                return omen_fail(why, OMEN_ERR_ARGUMENT, "options.column_types: \"%.*s\" is named twice",
                                 (int)(colon - at < 100 ? colon - at : 100), at);
        wish *grown = realloc(t->wishes, (t->n_wishes + 1) * sizeof *grown);
        if (!grown)
            return no_memory(t, why);
        t->wishes = grown;
        t->wishes[t->n_wishes++] = (wish){at, (size_t)(colon - at), type, false};
        at += n + (at[n] == ',');
    }
    return OMEN_OK;
}

/* Which columns there are, as the end of a message. */
static void tell_columns(const omen_table *t, char out[LIST_BYTES])
{
    size_t n = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < t->n; i++) {
        const char *before = i > 0 ? ", " : t->n == 1 ? "; there is " : "; there are ";
        char item[80];
        const size_t n_item = (size_t)snprintf(item, sizeof item, "%s\"%.60s\"", before, t->columns[i].name);
        if (n + n_item + sizeof MORE > LIST_BYTES) {
            strcpy(out + n, MORE);
            return;
        }
        strcpy(out + n, item);
        n += n_item;
    }
}

static int check_wishes(const omen_table *t, omen_detail *why)
{
    char there[LIST_BYTES];
    for (size_t i = 0; i < t->n_wishes; i++)
        if (!t->wishes[i].is_met) {
            tell_columns(t, there);
            return omen_fail(why, OMEN_ERR_ARGUMENT, "options.column_types: %s has no column \"%.*s\"%s", t->label,
                             (int)(t->wishes[i].n_bytes < 100 ? t->wishes[i].n_bytes : 100), t->wishes[i].name, there);
        }
    return OMEN_OK;
}

/* ---- columns ---- */

bool omen_table_is_skipped(const omen_table *t, uint32_t number)
{
    return t->columns[number - 1].type == TYPE_SKIP;
}

int omen_table_column(omen_table *t, const char *name, size_t n_bytes, uint32_t *number, omen_detail *why)
{
    *number = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        if (strlen(t->columns[i].name) == n_bytes && memcmp(t->columns[i].name, name, n_bytes) == 0) {
            *number = i + 1;
            return OMEN_OK;
        }
    }
    if (t->keeps)
        return omen_fail(why, OMEN_ERR_INPUT, "%s changed while it was read", t->label);
    if (n_bytes < 1 || n_bytes > OMEN_MAX_COLUMN_NAME || memchr(name, '\0', n_bytes))
        return omen_fail(why, OMEN_ERR_INPUT, "%s: the name of a column has 1 to %u bytes, and column %u has %s",
                         t->label, OMEN_MAX_COLUMN_NAME, t->n + 1,
                         n_bytes == 0                     ? "none"
                         : n_bytes > OMEN_MAX_COLUMN_NAME ? "more"
                                                          : "a zero among them");
    if (t->n == OMEN_MAX_COLUMNS)
        return omen_fail(why, OMEN_ERR_INPUT, "%s has more than %u columns", t->label, OMEN_MAX_COLUMNS);
    if (t->n == t->size) {
        const uint32_t size = t->size ? 2 * t->size : 16;
        table_column *grown = realloc(t->columns, size * sizeof *grown);
        if (!grown)
            return no_memory(t, why);
        t->columns = grown;
        t->size = size;
    }
    table_column c = {.name = malloc(n_bytes + 1)};
    if (!c.name)
        return no_memory(t, why);
    memcpy(c.name, name, n_bytes);
    c.name[n_bytes] = '\0';
    for (size_t i = 0; i < t->n_wishes; i++) {
        wish *w = &t->wishes[i];
        if (w->n_bytes == n_bytes && memcmp(w->name, name, n_bytes) == 0) {
            c.type = w->type;
            w->is_met = true;
        }
    }
    const bool is_keys = t->keys && strlen(t->keys) == n_bytes && memcmp(t->keys, name, n_bytes) == 0;
    if (t->keys && !is_keys)
        c.type = TYPE_SKIP;
    else if (is_keys && c.type == TYPE_SKIP) /* of the columns, not of the keys */
        c.type = TYPE_FOUND;
    t->columns[t->n++] = c;
    *number = t->n;
    return OMEN_OK;
} /* analyzer: c.name is the table's now */

static void finish_column(table_column *c)
{
    free(c->name);
    free(c->nulls);
    free(c->integers);
    free(c->reals);
    free(c->codes);
    free(c->first);
    free(c->tags);
    omen_intern_finish(&c->texts);
}

/* ---- the first walk ---- */

/* What a text stands for. One that begins with a zero or a plus, such as a postal code, is a text. */
static omen_field_kind kind_of(const omen_field *f, int64_t *integer, double *real)
{
    const size_t sign = f->n_bytes > 0 && f->text[0] == '-';
    if (f->kind != OMEN_FIELD_PLAIN) {
        *integer = f->integer;
        *real = f->real;
        return f->kind;
    }
    if (f->n_bytes == 0 || f->text[0] == '+' ||
        (f->n_bytes > sign + 1 && f->text[sign] == '0' && f->text[sign + 1] >= '0' && f->text[sign + 1] <= '9'))
        return OMEN_FIELD_TEXT;
    switch (omen_number_parse(f->text, f->n_bytes, integer, real)) {
    case OMEN_NUMBER_INTEGER:
        return OMEN_FIELD_INTEGER;
    case OMEN_NUMBER_REAL:
        return OMEN_FIELD_REAL;
    default:
        return OMEN_FIELD_TEXT;
    }
}

static const char *name_of_kind(omen_field_kind kind)
{
    return kind == OMEN_FIELD_TEXT                             ? "a text"
           : kind == OMEN_FIELD_TAG || kind == OMEN_FIELD_LIST ? "a list"
                                                               : "a number";
}

static int note(omen_table *t, uint32_t number, const omen_field *f, omen_detail *why)
{
    table_column *c = &t->columns[number - 1];
    static const unsigned bits[] = {
        [OMEN_FIELD_NULL] = 0,          [OMEN_FIELD_INTEGER] = SEEN_INTEGERS, [OMEN_FIELD_REAL] = SEEN_REALS,
        [OMEN_FIELD_TEXT] = SEEN_TEXTS, [OMEN_FIELD_TAG] = SEEN_TAGS,         [OMEN_FIELD_LIST] = SEEN_TAGS};
    int64_t integer;
    double real;
    char what[128];
    /* a column that has a text is of texts, whatever else is in it */
    if (c->type != TYPE_FOUND || f->kind == OMEN_FIELD_NULL || (f->kind == OMEN_FIELD_PLAIN && (c->seen & SEEN_TEXTS)))
        return OMEN_OK;
    const omen_field_kind kind = kind_of(f, &integer, &real);
    if (c->seen == 0) {
        c->seen_line = f->line;
        c->seen_kind = name_of_kind(kind);
    }
    c->seen |= bits[kind];
    const bool mixes =
        f->kind != OMEN_FIELD_PLAIN && (c->seen & SEEN_TEXTS) && (c->seen & (SEEN_INTEGERS | SEEN_REALS));
    if (!mixes && !((c->seen & SEEN_TAGS) && (c->seen & ~(unsigned)SEEN_TAGS)))
        return OMEN_OK;
    snprintf(what, sizeof what, "is %s%s, and line %" PRIu64 " has %s in this column",
             kind == OMEN_FIELD_TAG ? "of " : "", name_of_kind(kind), c->seen_line, c->seen_kind);
    return fail_field(t, number, f, what, why);
}

/* ---- the second walk ---- */

/* Counts what is allocated. */
static void *take(omen_table *t, uint64_t count, size_t item_bytes, int *status, omen_detail *why)
{
    if (*status != OMEN_OK)
        return NULL;
    *status = omen_columns_room(t->others, t->n_bytes + count * item_bytes, t->memory_bytes, t->label, why);
    void *array = *status == OMEN_OK ? calloc(count, item_bytes) : NULL;
    if (*status == OMEN_OK && !array)
        *status = no_memory(t, why);
    t->n_bytes += count * item_bytes;
    return array;
}

static table_type type_of(const table_column *c)
{
    return c->type != TYPE_FOUND       ? c->type
           : (c->seen & SEEN_TAGS)     ? TYPE_TAGS
           : (c->seen & SEEN_TEXTS)    ? TYPE_TEXT
           : (c->seen & SEEN_REALS)    ? TYPE_FLOAT64
           : (c->seen & SEEN_INTEGERS) ? TYPE_INT64
                                       : TYPE_TEXT;
}

/* Finds the column of keys, and makes room for the lines of the rows. */
static int begin_keys(omen_table *t, omen_detail *why)
{
    int status = OMEN_OK;
    size_t i_key = 0;
    while (i_key < t->n && strcmp(t->columns[i_key].name, t->keys) != 0)
        i_key++;
    if (i_key == t->n) {
        char there[LIST_BYTES];
        tell_columns(t, there);
        return omen_fail(why, OMEN_ERR_INPUT, "%s has no column \"%.100s\"%s", t->label, t->keys, there);
    }
    const table_type type = type_of(&t->columns[i_key]);
    if (type != TYPE_INT64 && type != TYPE_TEXT)
        return omen_fail(why, OMEN_ERR_INPUT,
                         "%s: column \"%.100s\" is of %s; keys are integers of 64 bits or texts, such as "
                         "options.column_types may make of it",
                         t->label, t->keys, type_names[type]);
    t->lines = take(t, t->n_rows, sizeof *t->lines, &status, why);
    for (uint64_t i = 0; t->lines && i < t->n_rows; i++)
        t->lines[i] = i + 1; /* of JSON Lines, where a row may lack the member */
    return status;
}

omen_table_keys omen_table_get_keys(const omen_table *t)
{
    const table_column *c = t->columns;
    while (strcmp(c->name, t->keys) != 0)
        c++;
    return (omen_table_keys){c->integers, c->codes, omen_intern_words(&c->texts), c->nulls, t->lines, t->n_bytes};
}

int omen_table_keep(omen_table *t, uint64_t n_rows, omen_detail *why)
{
    int status = check_wishes(t, why);
    t->keeps = true;
    t->n_rows = n_rows;
    if (status == OMEN_OK && t->keys)
        status = begin_keys(t, why);
    for (uint32_t i = 0; i < t->n && status == OMEN_OK; i++) {
        table_column *c = &t->columns[i];
        c->is_found = c->type == TYPE_FOUND;
        c->type = type_of(c);
        if (c->type == TYPE_SKIP)
            continue;
        /* analyzer: what take() makes is the column's, here and below */
        if (c->type == TYPE_TAGS) {
            c->first = take(t, t->n_rows + 1, sizeof *c->first, &status, why);
            continue;
        }
        /* analyzer: as above */
        c->nulls = take(t, (t->n_rows + 63) / 64, sizeof *c->nulls, &status, why);
        if (c->nulls)
            memset(c->nulls, 0xff, (t->n_rows + 63) / 64 * sizeof *c->nulls);
        if (c->type == TYPE_INT64)
            c->integers = take(t, t->n_rows, sizeof *c->integers, &status, why);
        else if (c->type == TYPE_TEXT)
            c->codes = take(t, t->n_rows, sizeof *c->codes, &status, why);
        else
            c->reals = take(t, t->n_rows, sizeof *c->reals, &status, why);
        if (c->codes)
            memset(c->codes, 0xff, t->n_rows * sizeof *c->codes); /* OMEN_NO_TEXT */
    }
    return status;
}

/* The number of the field's text. */
static int intern(omen_table *t, table_column *c, const omen_field *f, uint32_t *out, omen_detail *why)
{
    const uint64_t before = omen_intern_bytes(&c->texts);
    if (omen_intern_add(&c->texts, f->text, f->n_bytes, out) != OMEN_OK)
        return no_memory(t, why);
    t->n_bytes += omen_intern_bytes(&c->texts) - before;
    return before == omen_intern_bytes(&c->texts)
               ? OMEN_OK
               : omen_columns_room(t->others, t->n_bytes, t->memory_bytes, t->label, why);
}

static int keep_tag(omen_table *t, table_column *c, const omen_field *f, omen_detail *why)
{
    uint32_t tag;
    const int status = intern(t, c, f, &tag, why);
    if (status != OMEN_OK)
        return status;
    if (c->n_tags == c->tags_size) {
        const uint64_t size = c->tags_size ? 2 * c->tags_size : 256;
        uint32_t *grown = realloc(c->tags, size * sizeof *grown);
        if (!grown)
            return no_memory(t, why);
        t->n_bytes += (size - c->tags_size) * sizeof *grown;
        c->tags = grown;
        c->tags_size = size;
    }
    for (; c->n_rows_begun <= f->row; c->n_rows_begun++)
        c->first[c->n_rows_begun] = c->n_tags;
    c->tags[c->n_tags++] = tag;
    return OMEN_OK;
}

/* Whether float64 holds a number that is whole, as INTEGER or in the field's text; any other is not meant to the last
 * digit. */
static bool is_held(const omen_field *f, omen_field_kind kind, int64_t integer, double real)
{
    char exact[LONGEST_WHOLE + 1];
    if (kind == OMEN_FIELD_INTEGER)
        return real < 0x1p63 && (int64_t)real == integer;
    if (f->kind != OMEN_FIELD_PLAIN)
        return true;
    for (size_t i = f->text[0] == '-'; i < f->n_bytes; i++)
        if (f->text[i] < '0' || f->text[i] > '9')
            return true;
    return (size_t)snprintf(exact, sizeof exact, "%.0f", real) == f->n_bytes && memcmp(exact, f->text, f->n_bytes) == 0;
}

static int keep(omen_table *t, uint32_t number, const omen_field *f, omen_detail *why)
{
    table_column *c = &t->columns[number - 1];
    int64_t integer = 0;
    double real = 0;
    if (t->lines && c->type != TYPE_SKIP && f->row < t->n_rows)
        t->lines[f->row] = f->line;
    if (c->type == TYPE_SKIP || f->kind == OMEN_FIELD_NULL)
        return OMEN_OK;
    if (f->row >= t->n_rows)
        return omen_fail(why, OMEN_ERR_INPUT, "%s changed while it was read", t->label);
    if (c->type == TYPE_TAGS && f->kind == OMEN_FIELD_LIST)
        return OMEN_OK;
    if (c->type == TYPE_TAGS)
        return f->kind == OMEN_FIELD_TAG ? keep_tag(t, c, f, why) : fail_field(t, number, f, "is no list of tags", why);
    if (f->kind == OMEN_FIELD_TAG || f->kind == OMEN_FIELD_LIST)
        return fail_field(t, number, f,
                          f->kind == OMEN_FIELD_TAG ? "is one of a list, and the column is not of tags"
                                                    : "is a list, and the column is not of tags",
                          why);
    c->nulls[f->row / 64] &= ~((uint64_t)1 << f->row % 64);
    if (c->type == TYPE_TEXT)
        return f->kind == OMEN_FIELD_PLAIN || f->kind == OMEN_FIELD_TEXT ? intern(t, c, f, &c->codes[f->row], why)
                                                                         : fail_field(t, number, f, "is no text", why);
    /* a type that was asked for takes numbers with a zero or a plus in front, too */
    omen_field_kind kind = f->kind;
    if (kind == OMEN_FIELD_PLAIN) {
        const omen_number_kind parsed = omen_number_parse(f->text, f->n_bytes, &integer, &real);
        kind = parsed == OMEN_NUMBER_INTEGER ? OMEN_FIELD_INTEGER
               : parsed == OMEN_NUMBER_REAL  ? OMEN_FIELD_REAL
                                             : OMEN_FIELD_TEXT;
    } else {
        kind_of(f, &integer, &real);
    }
    if (c->type == TYPE_INT64) {
        c->integers[f->row] = integer;
        return kind == OMEN_FIELD_INTEGER ? OMEN_OK : fail_field(t, number, f, "is no integer of 64 bits", why);
    }
    if (kind != OMEN_FIELD_INTEGER && kind != OMEN_FIELD_REAL)
        return fail_field(t, number, f, "is no number", why);
    if (c->is_found && !is_held(f, kind, integer, real))
        return fail_field(
            t, number, f,
            "is a whole number that float64 does not hold; the type float64 rounds it (options.column_types)", why);
    c->reals[f->row] = real;
    if (!isfinite(c->type == TYPE_FLOAT32 ? (double)(float)real : real))
        return fail_field(t, number, f, c->type == TYPE_FLOAT32 ? "is beyond float32" : "is beyond float64", why);
    return OMEN_OK;
}

int omen_table_field(omen_table *t, uint32_t number, const omen_field *field, omen_detail *why)
{
    return t->keeps ? keep(t, number, field, why) : note(t, number, field, why);
}

/* ---- the whole ---- */

static int give_column(omen_table *t, table_column *c, omen_columns *columns, omen_detail *why)
{
    const omen_words words = omen_intern_words(&c->texts);
    switch (c->type) {
    case TYPE_INT64:
        return omen_columns_add_integers(columns, c->name, c->integers, c->nulls, why);
    case TYPE_FLOAT32:
        return omen_columns_add_reals(columns, c->name, OMEN_COLUMN_FLOAT32, c->reals, c->nulls, why);
    case TYPE_FLOAT64:
        return omen_columns_add_reals(columns, c->name, OMEN_COLUMN_FLOAT64, c->reals, c->nulls, why);
    case TYPE_TEXT:
        return omen_columns_add_texts(columns, c->name, &words, c->codes, why);
    case TYPE_TAGS:
        for (; c->n_rows_begun <= t->n_rows; c->n_rows_begun++)
            c->first[c->n_rows_begun] = c->n_tags;
        return omen_columns_add_tags(columns, c->name, &words, c->first, c->tags, why);
    default:
        return OMEN_OK;
    }
}

int omen_table_open(omen_table **out, const char *label, const omen_columns *columns, const char *types,
                    const char *keys, uint64_t memory_bytes, omen_detail *why)
{
    omen_table *t = calloc(1, sizeof *t);
    *out = t;
    if (!t)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the columns in %s", label);
    t->label = label;
    t->keys = keys;
    t->others = columns;
    t->memory_bytes = memory_bytes;
    return read_wishes(t, types, why);
}

/* Bytes of what was read of a column, of those counted. */
static uint64_t kept_bytes(const omen_table *t, const table_column *c)
{
    const uint64_t n = t->n_rows;
    return (c->nulls ? (n + 63) / 64 * 8 : 0) + (c->integers ? 8 * n : 0) + (c->reals ? 8 * n : 0) +
           (c->codes ? 4 * n : 0) + (c->first ? 8 * (n + 1) : 0) + 4 * c->tags_size + omen_intern_bytes(&c->texts);
}

int omen_table_give(omen_table *t, omen_columns *columns, omen_detail *why)
{
    int status = OMEN_OK;
    for (uint32_t i = 0; i < t->n && status == OMEN_OK; i++) {
        table_column *c = &t->columns[i];
        /* what is read is copied, narrower, and texts are sorted */
        const uint64_t copy_bytes = t->n_rows * 8 + c->n_tags * 8 + omen_intern_bytes(&c->texts);
        if (c->type != TYPE_SKIP)
            status = omen_columns_room(columns, t->n_bytes + copy_bytes, t->memory_bytes, t->label, why);
        if (status == OMEN_OK)
            status = give_column(t, c, columns, why);
        t->n_bytes -= kept_bytes(t, c);
        finish_column(c);
        *c = (table_column){.type = TYPE_SKIP};
    }
    return status;
}

void omen_table_close(omen_table *t)
{
    if (!t)
        return;
    for (uint32_t i = 0; i < t->n; i++)
        finish_column(&t->columns[i]);
    free(t->columns);
    free(t->wishes);
    free(t->lines);
    free(t);
}
