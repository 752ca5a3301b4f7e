/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of an index as a source: what its refine tier holds of them. */
#include <stdlib.h>

#include "lib/index.h"
#include "lib/matrix.h"
#include "lib/omendb_rows.h"
#include "lib/refine.h"
#include "lib/row_set.h"

#define AT_ONCE 4096u /* positions looked at between two checks of their numbers */

struct omen_index_rows {
    const omen_index *index;
    uint64_t n;
    uint32_t *positions; /* n */
};

/* Notes position where it is asked for: wanted is sorted, (row << 32 | place in positions). */
static void note_position(const uint64_t *wanted, uint64_t n, uint32_t row, uint32_t position, uint32_t *positions)
{
    uint64_t at = 0, above = n;
    while (at < above) {
        const uint64_t middle = at + (above - at) / 2;
        if (wanted[middle] >> 32 < row)
            at = middle + 1;
        else
            above = middle;
    }
    for (; at < n && wanted[at] >> 32 == row; at++)
        positions[(uint32_t)wanted[at]] = position;
}

/* Finds the positions of rows in one pass over the numbers of all, in which those wanted have a bit set. */
static int find_positions(const omen_index *index, const uint64_t *rows, uint64_t n, uint32_t *positions,
                          omen_detail *why)
{
    const uint64_t n_rows = index->meta.n_rows;
    uint64_t n_missing = 0;
    uint64_t *wanted = omen_alloc(n, sizeof *wanted), *bits = omen_alloc_zero(n_rows / 64 + 1, sizeof *bits);
    int status = wanted && bits ? OMEN_OK : omen_fail(why, OMEN_ERR_MEMORY, "out of memory");
    for (uint64_t i = 0; i < n && status == OMEN_OK; i++) {
        wanted[i] = rows[i] << 32 | i;
        n_missing += !(bits[rows[i] / 64] >> rows[i] % 64 & 1);
        bits[rows[i] / 64] |= (uint64_t)1 << rows[i] % 64;
    }
    if (status == OMEN_OK)
        omen_keys_sort(wanted, n);
    for (uint64_t first = 0; first < n_rows && n_missing > 0 && status == OMEN_OK; first += AT_ONCE) {
        const uint64_t n_here = omen_least(n_rows - first, AT_ONCE);
        status = omen_index_touch_ids(index, first, n_here, why);
        for (uint64_t i = first; i < first + n_here && status == OMEN_OK; i++) {
            const uint32_t row = index->ids[i];
            if (row >= n_rows || !(bits[row / 64] >> row % 64 & 1))
                continue;
            bits[row / 64] &= ~((uint64_t)1 << row % 64);
            n_missing--;
            note_position(wanted, n, row, (uint32_t)i, positions);
        }
    }
    if (status == OMEN_OK && n_missing > 0)
        status = omen_fail(why, OMEN_ERR_CORRUPT, "section PERM lacks %llu of the rows", (unsigned long long)n_missing);
    free(wanted);
    free(bits);
    return status;
}

int omen_index_rows_open(omen_index_rows **out, const omen_index *index, const uint64_t *rows, uint64_t n,
                         omen_detail *why)
{
    *out = NULL;
    if (index->meta.refine == OMEN_REFINE_NONE)
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "rows of an index need a refine tier, which this one was built without");
    if (n > UINT32_MAX)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "%llu rows at once: at most %u are possible", (unsigned long long)n,
                         UINT32_MAX);
    for (uint64_t i = 0; i < n; i++)
        if (rows[i] >= index->meta.n_rows)
            return omen_fail(why, OMEN_ERR_ARGUMENT, "row %llu does not exist", (unsigned long long)rows[i]);
    omen_index_rows *made = calloc(1, sizeof *made);
    if (made)
        *made = (omen_index_rows){.index = index, .n = n, .positions = omen_alloc(n, sizeof *made->positions)};
    int status = made && made->positions ? OMEN_OK : omen_fail(why, OMEN_ERR_MEMORY, "out of memory");
    if (status == OMEN_OK)
        status = find_positions(index, rows, n, made->positions, why);
    if (status != OMEN_OK) {
        omen_index_rows_close(made);
        return status;
    }
    *out = made;
    return OMEN_OK;
}

int omen_index_rows_open_set(omen_index_rows **out, const omen_index *index, const omen_row_set *set, omen_detail *why)
{
    const uint64_t n_rows = index->meta.n_rows, n = set ? set->n_matches : n_rows;
    *out = NULL;
    if (index->meta.refine == OMEN_REFINE_NONE || (set && set->index != index))
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         set && set->index != index
                             ? "the set of rows is of another index"
                             : "rows of an index need a refine tier, which this one was built without");
    omen_index_rows *made = calloc(1, sizeof *made);
    if (made)
        *made = (omen_index_rows){.index = index, .positions = omen_alloc(n, sizeof *made->positions)};
    int status = made && made->positions ? omen_index_touch_ids(index, 0, n_rows, why)
                                         : omen_fail(why, OMEN_ERR_MEMORY, "out of memory");
    const bool is_list = set && set->positions;
    if (status == OMEN_OK && is_list) {
        memcpy(made->positions, set->positions, n * sizeof *made->positions);
        made->n = n;
    }
    for (uint64_t i = 0; i < n_rows && status == OMEN_OK; i++)
        if (index->ids[i] >= n_rows) /* of sections in memory nothing was checked */
            status = omen_fail(why, OMEN_ERR_CORRUPT, "section PERM: row %u does not exist", index->ids[i]);
        else if (!is_list && (!set || omen_row_set_has(set, i)))
            made->positions[made->n++] = (uint32_t)i;
    if (status != OMEN_OK) {
        omen_index_rows_close(made);
        return status;
    }
    *out = made;
    return OMEN_OK;
}

uint64_t omen_index_rows_number(const omen_index_rows *rows, uint64_t i)
{
    return rows->index->ids[rows->positions[i]];
}

void omen_index_rows_close(omen_index_rows *rows)
{
    if (!rows)
        return;
    free(rows->positions);
    free(rows);
}

int omen_index_read_rows(const omen_index *index, const uint32_t *positions, uint64_t n, float *out, omen_detail *why)
{
    const uint32_t d = index->meta.d;
    for (uint64_t i = 0; i < n; i++) {
        const uint32_t position = positions[i];
        const uint8_t *stored = index->refine_rows + position * (uint64_t)index->refine_row_bytes;
        const int status = omen_index_touch_rows(index, position, 1, why);
        if (status != OMEN_OK)
            return status;
        if (!omen_refine_is_valid(index->meta.refine, stored, d))
            return omen_fail(why, OMEN_ERR_CORRUPT, "section REFN: row at position %u is not finite, or too long",
                             position);
        omen_refine_decode(index->meta.refine, stored, d, out + i * d);
        for (uint32_t j = 0; j < d && index->refine.centre; j++)
            out[i * d + j] += index->refine.centre[j];
    }
    return OMEN_OK;
}

static int read_rows(void *self, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    const omen_index_rows *rows = self;
    return omen_index_read_rows(rows->index, rows->positions + first, n, out, why);
}

omen_source omen_index_rows_source(omen_index_rows *rows)
{
    return (omen_source){.self = rows,
                         .n_rows = rows->n,
                         .d = rows->index->meta.d,
                         .element_bytes = sizeof(float),
                         .n_bytes = rows->n * rows->index->meta.d * sizeof(float),
                         .read = read_rows};
}
