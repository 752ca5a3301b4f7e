/* SPDX-License-Identifier: Apache-2.0 */
/* JSON Lines: of each object a member that is a list of numbers is the row, or each line is such a list. */
#include "formats/row_spool.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

/* A list of numbers with at least one in it. */
static bool is_row(const json_t *value)
{
    return json_is_array(value) && json_is_number(json_array_get(value, 0));
}

/* The name of the only member that is a list of numbers. */
static int find_member(const json_t *object, char *found, omen_detail *reason)
{
    char list[OMEN_NAME_BYTES] = "";
    unsigned n = 0;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value)
    {
        const size_t used = strlen(list);
        if (!is_row(value))
            continue;
        snprintf(list + used, sizeof list - used, "%s\"%.60s\"", used > 0 ? ", " : "", name);
        snprintf(found, OMEN_NAME_BYTES, "%s", name);
        n++;
    }
    if (n == 1)
        return OMEN_OK;
    return n == 0 ? omen_fail(reason, OMEN_ERR_INPUT, "line 1 has no member that is a list of numbers" OMEN_ROWS_ONLY)
                  : omen_fail(reason, OMEN_ERR_INPUT,
                              "several members are lists of numbers: name one, as FILE:NAME, of %s", list);
}

static int take_row(omen_row_spool *spool, const json_t *row, uint64_t line, omen_detail *reason)
{
    int status = OMEN_OK;
    for (size_t i = 0; status == OMEN_OK && i < json_array_size(row); i++) {
        const json_t *value = json_array_get(row, i);
        if (!json_is_number(value))
            return omen_fail(reason, OMEN_ERR_INPUT, "line %" PRIu64 ", number %zu: it is no number", line, i + 1);
        status = omen_row_spool_put(spool, json_is_integer(value), json_integer_value(value), json_number_value(value),
                                    line, reason);
    }
    return status;
}

int omen_jsonl_take_line(omen_row_spool *spool, const char *line, size_t n_bytes, uint64_t number, omen_detail *reason)
{
    char *member = spool->member;
    json_error_t error;
    json_t *value = json_loadb(line, n_bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    int status = OMEN_OK;
    if (!value)
        return omen_fail(reason, OMEN_ERR_INPUT, "line %" PRIu64 ", character %d: %.200s", number, error.column,
                         error.text);
    if (member[0] == '\0' && json_is_object(value))
        status = number == 1
                     ? find_member(value, member, reason)
                     : omen_fail(reason, OMEN_ERR_INPUT, "line %" PRIu64 " is an object, the first is none", number);
    const json_t *row = member[0] != '\0' ? json_object_get(value, member) : value;
    if (status == OMEN_OK && !json_is_array(row))
        status = member[0] != '\0'
                     ? omen_fail(reason, OMEN_ERR_INPUT, "line %" PRIu64 " has no list of numbers \"%.100s\"", number,
                                 member)
                     : omen_fail(reason, OMEN_ERR_INPUT, "line %" PRIu64 " is neither an object nor a list", number);
    if (status == OMEN_OK)
        status = take_row(spool, row, number, reason);
    json_decref(value);
    return status == OMEN_OK ? omen_row_spool_end_row(spool, number, reason) : status;
}

/* The first line is an object with a list of numbers, or such a list. */
bool omen_jsonl_probe(const omen_input *input, const omen_vector_format *format)
{
    omen_lines lines =
        omen_lines_of(input->bytes, input->n_bytes < OMEN_LINE_BYTES_MOST ? input->n_bytes : OMEN_LINE_BYTES_MOST);
    const char *line, *name;
    size_t n_bytes;
    json_t *member;
    bool is_it = false;
    if (lines.at == lines.end || (*lines.at != '{' && *lines.at != '['))
        return false;
    if (!omen_lines_next(&lines, &line, &n_bytes) || n_bytes < 3)
        return false;
    json_t *value = json_loadb(line, n_bytes, JSON_ALLOW_NUL, NULL);
    is_it = is_row(value);
    json_object_foreach(value, name, member)
    {
        is_it |= is_row(member);
    }
    json_decref(value);
    return is_it;
}
