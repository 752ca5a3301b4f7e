/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Lines: an object a row. Its members are the columns; one that is null, or not there, is no value. true is 1 and
 * false 0; an array of strings is tags. */
#include "formats/columns_internal.h"
#include "formats/lines.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

typedef struct {
    omen_table *table;
    const char *label;
    omen_field field; /* row, line and position of the member */
    omen_detail *why;
} walking;

static int fail_member(const walking *w, const char *name, const char *what)
{
    return omen_fail(w->why, OMEN_ERR_INPUT, "%s, line %" PRIu64 ", column %u (%.60s): %s", w->label, w->field.line,
                     w->field.position, name, what);
}

static int take_tags(walking *w, const char *name, uint32_t number, const json_t *array)
{
    int status = OMEN_OK;
    if (json_array_size(array) == 0) {
        omen_field field = w->field;
        field.kind = OMEN_FIELD_LIST;
        return omen_table_field(w->table, number, &field, w->why);
    }
    for (size_t i = 0; i < json_array_size(array) && status == OMEN_OK; i++) {
        const json_t *tag = json_array_get(array, i);
        if (!json_is_string(tag))
            return fail_member(w, name,
                               "a list may hold strings only, which are tags; leave the column out with the type skip");
        omen_field field = w->field;
        field.kind = OMEN_FIELD_TAG;
        field.text = json_string_value(tag);
        field.n_bytes = json_string_length(tag);
        status = omen_table_field(w->table, number, &field, w->why);
    }
    return status;
}

static int take_member(walking *w, const char *name, uint32_t number, const json_t *value)
{
    omen_field field = w->field;
    if (omen_table_is_skipped(w->table, number))
        return OMEN_OK;
    switch (json_typeof(value)) {
    case JSON_NULL:
        return OMEN_OK;
    case JSON_TRUE:
    case JSON_FALSE:
        field.kind = OMEN_FIELD_INTEGER;
        field.integer = json_is_true(value);
        field.real = (double)field.integer;
        break;
    case JSON_INTEGER:
        field.kind = OMEN_FIELD_INTEGER;
        field.integer = json_integer_value(value);
        field.real = (double)field.integer;
        break;
    case JSON_REAL:
        field.kind = OMEN_FIELD_REAL;
        field.real = json_real_value(value);
        break;
    case JSON_STRING:
        field.kind = OMEN_FIELD_TEXT;
        field.text = json_string_value(value);
        field.n_bytes = json_string_length(value);
        break;
    case JSON_ARRAY:
        return take_tags(w, name, number, value);
    default:
        return fail_member(w, name, "an object is no value; leave the column out with the type skip");
    }
    return omen_table_field(w->table, number, &field, w->why);
}

static int take_line(walking *w, const char *line, size_t n_bytes)
{
    json_error_t error;
    json_t *object = json_loadb(line, n_bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    const char *name;
    json_t *value;
    int status = OMEN_OK;
    if (!json_is_object(object)) {
        status = object ? omen_fail(w->why, OMEN_ERR_INPUT, "%s, line %" PRIu64 " is no object: { ... }", w->label,
                                    w->field.line)
                        : omen_fail(w->why, OMEN_ERR_INPUT, "%s, line %" PRIu64 ", character %d: %.200s", w->label,
                                    w->field.line, error.column, error.text);
        json_decref(object);
        return status;
    }
    w->field.position = 0;
    json_object_foreach(object, name, value)
    {
        uint32_t number;
        w->field.position++;
        if (status == OMEN_OK)
            status = omen_table_column(w->table, name, strlen(name), &number, w->why);
        if (status == OMEN_OK)
            status = take_member(w, name, number, value);
    }
    json_decref(object);
    return status;
}

int omen_walk_jsonl(omen_table *table, const omen_input *input, uint64_t *n_rows, omen_detail *why)
{
    walking w = {.table = table, .label = input->label, .why = why};
    omen_lines lines = omen_lines_of(input->bytes, input->n_bytes);
    const char *line;
    size_t n_bytes;
    int status = OMEN_OK;
    for (*n_rows = 0; status == OMEN_OK && omen_lines_next(&lines, &line, &n_bytes); ++*n_rows) {
        w.field.row = *n_rows;
        w.field.line = lines.number;
        status = take_line(&w, line, n_bytes);
    }
    return status;
}
