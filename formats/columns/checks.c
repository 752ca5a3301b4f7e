/* SPDX-License-Identifier: Apache-2.0 */
/* What every file of columns is checked for: as many rows as there are vectors, and room in memory. */
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
