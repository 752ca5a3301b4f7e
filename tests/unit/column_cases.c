/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "lib/matrix.h"
#include "lib/row_set.h"
#include "tests/unit/check.h"
#include "tests/unit/column_cases.h"

omen_detail column_detail;

static void close_index(column_case *c)
{
    if (c->index) {
        omen_columns_close(c->index);
        free((void *)c->index->first);
    }
    free(c->index);
    c->index = NULL;
}

int open_columns(column_case *c)
{
    const omen_section_list list = {c->sections.sections, c->sections.n, true, &column_detail};
    close_index(c);
    uint32_t *first = calloc(2, sizeof *first);
    c->index = calloc(1, sizeof *c->index);
    c->index->meta.n_rows = c->n_rows;
    c->index->meta.n_lists = 1;
    c->index->first = first;
    first[1] = (uint32_t)c->n_rows;
    const int status = omen_columns_open(c->index, &list);
    if (status != OMEN_OK)
        close_index(c);
    return status;
}

column_case write_columns(omen_columns *columns, uint64_t seed)
{
    column_case c = {.n_rows = omen_columns_row_count(columns)};
    c.rows = malloc(c.n_rows * sizeof *c.rows);
    for (uint64_t i = 0; i < c.n_rows; i++) {
        const uint64_t j = omen_random(seed, i) % (i + 1);
        c.rows[i] = c.rows[j];
        c.rows[j] = (uint32_t)i;
    }
    const omen_section perm = {.id = OMEN_SECTION_PERM, .data = c.rows, .n_bytes = c.n_rows * 4};
    const omen_sink sink = sink_of(&c.sections);
    CHECK_EQ_INT(sink.start(sink.self, 1, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_columns_write(columns, &perm, &sink, NULL, NULL, &column_detail), OMEN_OK);
    omen_columns_destroy(columns);
    CHECK_CASE(open_columns(&c) == OMEN_OK, "%s", column_detail.text);
    return c;
}

void columns_free(column_case *c)
{
    close_index(c);
    sections_free(&c->sections);
    free(c->rows);
}

uint8_t *select_rows(const column_case *c, const char *text, int *status)
{
    omen_condition *condition = NULL;
    omen_row_set *set = NULL;
    uint8_t *selected = NULL;
    column_detail.text[0] = '\0';
    *status = omen_condition_create(c->index, text, &condition, &column_detail);
    if (*status == OMEN_OK)
        *status =
            omen_conditions_evaluate((const omen_condition *const *)&condition, 1, 1, &set, NULL, NULL, &column_detail);
    if (*status == OMEN_OK) {
        uint64_t n = 0;
        selected = calloc(c->n_rows, 1);
        for (uint64_t i = 0; i < c->n_rows; i++)
            n += selected[c->rows[i]] = omen_row_set_has(set, i);
        CHECK_EQ_INT(n, omen_row_set_count(set));
    }
    CHECK((*status == OMEN_OK) == (selected && set && condition));
    omen_row_set_destroy(set);
    omen_condition_destroy(condition);
    return selected;
}

int64_t count_rows(const column_case *c, const char *condition)
{
    int status;
    int64_t n = 0;
    uint8_t *selected = select_rows(c, condition, &status);
    for (uint64_t i = 0; selected && i < c->n_rows; i++)
        n += selected[i];
    free(selected);
    return status == OMEN_OK ? n : -1;
}
