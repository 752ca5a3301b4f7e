/* SPDX-License-Identifier: Apache-2.0 */
/* Compares columns with those of an index: they are written once more, and each byte is compared instead of kept. */
#include <stdio.h>
#include <string.h>

#include "lib/columns.h"

/* The sink of the comparison. */
typedef struct {
    const omen_index *index;
    const omen_section *section; /* that is compared with */
    uint64_t at;                 /* bytes of it that were the same */
    bool differs;
} comparison;

static int start(void *self, uint64_t identity, omen_detail *why)
{
    return OMEN_OK;
}

static int begin(void *self, uint32_t id, uint32_t element, bool optional, omen_detail *why)
{
    comparison *c = self;
    c->section = id == OMEN_SECTION_COLS ? &c->index->cols : &c->index->cval.section;
    c->at = 0;
    return OMEN_OK;
}

static int append(void *self, const void *data, uint64_t n_bytes, omen_detail *why)
{
    comparison *c = self;
    const uint8_t *here = data, *there = (const uint8_t *)c->section->data + c->at;
    const uint64_t left = c->section->n_bytes - c->at, n = left < n_bytes ? left : n_bytes;
    uint64_t same = 0;
    if (n && memcmp(here, there, n) == 0)
        same = n;
    while (same < n && here[same] == there[same])
        same++;
    c->at += same;
    c->differs = same < n_bytes;
    return c->differs ? OMEN_ERR_CORRUPT : OMEN_OK;
}

static int finish(void *self, omen_detail *why)
{
    comparison *c = self;
    c->differs = c->at != c->section->n_bytes;
    return c->differs ? OMEN_ERR_CORRUPT : OMEN_OK;
}

/* Tells of the first column that is another one; false if all are the same by name and type. */
static bool tell_names(const omen_index *index, const omen_columns *columns, char *text, size_t size)
{
    for (uint32_t i = 0; i < index->n_columns || i < columns->n; i++) {
        const omen_column *there = i < index->n_columns ? &index->columns[i] : NULL;
        const omen_made_column *here = i < columns->n ? &columns->columns[i] : NULL;
        if (there && here && there->entry.type == here->entry.type &&
            there->entry.name_bytes == here->entry.name_bytes &&
            memcmp(there->name, here->name, there->entry.name_bytes) == 0)
            continue;
        snprintf(text, size, "column %u is \"%.*s\" (%s) in the index, and \"%.60s\" (%s) in what it is compared with",
                 i + 1, there ? (int)(there->entry.name_bytes < 60 ? there->entry.name_bytes : 60) : 4,
                 there ? there->name : "none", there ? omen_column_type_name(there->entry.type) : "-",
                 here ? here->name : "none", here ? omen_column_type_name(here->entry.type) : "-");
        return true;
    }
    return false;
}

/* Tells of the column in whose part of CVAL, or entry of COLS, the first difference is. */
static void tell_place(const comparison *c, char *text, size_t size)
{
    const omen_index *index = c->index;
    const bool in_values = c->section == &index->cval.section;
    uint32_t i = 0;
    while (i + 1 < index->n_columns && (in_values ? index->columns[i + 1].at[0] <= c->at
                                                  : 8 + (uint64_t)(i + 1) * sizeof(omen_column_entry) <= c->at))
        i++;
    const omen_column *column = &index->columns[i];
    const uint64_t values = column->at[OMEN_PART_VALUES];
    const int n = (int)(column->entry.name_bytes < 100 ? column->entry.name_bytes : 100);
    if (in_values && column->parts[OMEN_PART_VALUES] && c->at >= values &&
        (c->at - values) / column->entry.width < index->meta.n_rows)
        snprintf(text, size, "column \"%.*s\": row %u has another value", n, column->name,
                 index->ids[(c->at - values) / column->entry.width]);
    else
        snprintf(text, size, "column \"%.*s\" has other values", n, column->name);
}

int omen_index_check_columns(const omen_index *index, const omen_columns *columns, omen_fault_fn fault, void *context,
                             omen_detail *why)
{
    comparison c = {.index = index};
    const omen_sink sink = {&c, start, begin, append, finish, NULL};
    char text[400];
    if (columns->n_rows != index->meta.n_rows)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the columns have %llu rows, and the index %llu",
                         (unsigned long long)columns->n_rows, (unsigned long long)index->meta.n_rows);
    if (tell_names(index, columns, text, sizeof text)) {
        fault(context, "COLS", text);
        return OMEN_ERR_CORRUPT;
    }
    const int status = omen_columns_write(columns, &index->perm.section, &sink, NULL, NULL, why);
    if (!c.differs)
        return status;
    tell_place(&c, text, sizeof text);
    fault(context, c.section == &index->cols ? "COLS" : "CVAL", text);
    return OMEN_ERR_CORRUPT;
}
