/* SPDX-License-Identifier: Apache-2.0 */
/* The least and the greatest value of a column of an open index. */
#include <math.h>
#include <string.h>

#include "lib/columns.h"
#include "lib/sized.h"

/* By a pass over the values; int64 are what is added to the least one. */
static void range_of_values(const omen_column *c, uint64_t n_rows, omen_column_range *out)
{
    const uint32_t width = c->entry.width;
    const uint64_t *nulls = (const uint64_t *)c->parts[OMEN_PART_NULLS];
    const bool is_integer = c->entry.type == OMEN_COLUMN_INT64;
    uint64_t least = UINT64_MAX, most = 0;
    out->reals.least = INFINITY;
    out->reals.most = -INFINITY;
    for (uint64_t i = 0; i < n_rows; i++) {
        if (nulls && (nulls[i / 64] >> i % 64 & 1))
            continue;
        uint64_t value = 0;
        memcpy(&value, c->parts[OMEN_PART_VALUES] + i * width, width);
        out->has_values = true;
        least = value < least ? value : least;
        most = value > most ? value : most;
        if (is_integer)
            continue;
        double real;
        float narrow;
        memcpy(&real, &value, sizeof real);
        memcpy(&narrow, &value, sizeof narrow);
        real = width == 4 ? (double)narrow : real;
        out->reals.least = real < out->reals.least ? real : out->reals.least;
        out->reals.most = real > out->reals.most ? real : out->reals.most;
    }
    if (is_integer && out->has_values) {
        out->integers.least = (int64_t)((uint64_t)c->entry.minimum + least);
        out->integers.most = (int64_t)((uint64_t)c->entry.minimum + most);
    }
}

/* The dictionary is sorted, and each entry of it is the value of some row. */
static void range_of_dictionary(const omen_column *c, omen_column_range *out)
{
    const uint64_t n = c->entry.n_words;
    out->has_values = n > 0;
    if (n && omen_column_has_words(&c->entry)) {
        const uint64_t *offsets = (const uint64_t *)c->parts[OMEN_PART_OFFSETS];
        /* of only the empty text there are no bytes */
        const char *words = c->parts[OMEN_PART_WORDS] ? (const char *)c->parts[OMEN_PART_WORDS] : "";
        out->texts.least = words + offsets[0];
        out->texts.least_bytes = offsets[1] - offsets[0];
        out->texts.most = words + offsets[n - 1];
        out->texts.most_bytes = offsets[n] - offsets[n - 1];
    } else if (n) {
        const uint32_t *numbers = (const uint32_t *)c->parts[OMEN_PART_NUMBERS];
        out->integers.least = numbers[0];
        out->integers.most = numbers[n - 1];
    }
}

int omen_index_get_column_range(const omen_index *index, uint32_t i, omen_column_range *out, omen_detail *why)
{
    omen_column_range range;
    int status = omen_sized_take(&range, sizeof range, out, "omen_column_range", why);
    if (status != OMEN_OK)
        return status;
    if (i >= index->n_columns)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "there is no column %u", i);
    status = omen_column_touch(index, i, why);
    if (status != OMEN_OK)
        return status;
    const omen_column *c = &index->columns[i];
    range = (omen_column_range){.struct_bytes = sizeof range};
    if (omen_column_has_words(&c->entry) || omen_column_is_tags(&c->entry))
        range_of_dictionary(c, &range);
    else
        range_of_values(c, index->meta.n_rows, &range);
    omen_sized_give(out, &range);
    return OMEN_OK;
}
