/* SPDX-License-Identifier: Apache-2.0 */
/* Columns by path: a table, arrays and tags, which have to be of the same rows. */
#include "formats/columns_internal.h"

#include <inttypes.h>

int omen_columns_of_rows(const omen_columns *columns, uint64_t n_rows, const char *label, omen_detail *why)
{
    if (omen_columns_row_count(columns) == n_rows)
        return OMEN_OK;
    return omen_fail(why, OMEN_ERR_INPUT, "%s has %" PRIu64 " rows, and there are %" PRIu64 " vectors", label, n_rows,
                     omen_columns_row_count(columns));
}

int omen_columns_room(const omen_columns *columns, uint64_t n_bytes, uint64_t memory_bytes, const char *label,
                      omen_detail *why)
{
    const uint64_t needed = omen_columns_bytes(columns) + n_bytes;
    if (memory_bytes == 0 || needed <= memory_bytes)
        return OMEN_OK;
    return omen_fail(why, OMEN_ERR_MEMORY,
                     "the columns in %s need more than %" PRIu64 " MiB of memory, and %" PRIu64 " MiB are allowed",
                     label, needed >> 20, memory_bytes >> 20);
}

int omen_columns_read(omen_columns **out, const omen_column_paths *paths, uint64_t n_rows, uint64_t memory_bytes,
                      omen_detail *why)
{
    omen_columns *columns;
    int status = omen_columns_create(&columns, n_rows, why);
    *out = NULL;
    if (status == OMEN_OK && paths->table)
        status = omen_table_read(columns, paths->table, paths->types, memory_bytes, why);
    for (size_t i = 0; i < paths->n_arrays && status == OMEN_OK; i++)
        status = omen_array_read(columns, paths->arrays[i], memory_bytes, why);
    if (status == OMEN_OK && paths->tags)
        status = omen_tags_read(columns, paths->tags, memory_bytes, why);
    if (status != OMEN_OK) {
        omen_columns_destroy(columns);
        return status;
    }
    *out = columns;
    return OMEN_OK;
}
