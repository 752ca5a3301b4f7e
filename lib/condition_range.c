/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of keys, and where literals lie among the keys of a column. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/condition.h"

/* ---- keys ---- */

omen_range omen_range_all(const omen_column *c)
{
    const uint32_t type = c->entry.type;
    if (type == OMEN_COLUMN_FLOAT32 || type == OMEN_COLUMN_FLOAT64)
        return (omen_range){omen_real_key(-INFINITY), omen_real_key(INFINITY)};
    if (type == OMEN_COLUMN_TEXT)
        return (omen_range){0, c->entry.n_words ? c->entry.n_words - 1 : 0};
    return (omen_range){0, c->entry.width < 8 ? ((uint64_t)1 << 8 * c->entry.width) - 1 : UINT64_MAX};
}

static omen_cut clamp(omen_cut x, const omen_column *c)
{
    const omen_cut most = (omen_cut)omen_range_all(c).high + 1;
    return x < 0 ? 0 : x > most ? most : x;
}

static void integer_cuts(const omen_column *c, const omen_literal *literal, omen_cut *low, omen_cut *past)
{
    omen_cut least = 0, above = 0; /* the first integers that are not less, and greater */
    if (literal->is_integer) {
        least = literal->integer;
        above = least + 1;
    } else if (fabs(literal->real) < 1e30) {
        least = (omen_cut)ceil(literal->real);
        above = (omen_cut)floor(literal->real) + 1;
    } else {
        least = above = literal->real > 0 ? (omen_cut)1 << 100 : -((omen_cut)1 << 100);
    }
    *low = clamp(least - c->entry.minimum, c);
    *past = clamp(above - c->entry.minimum, c);
}

static void real_cuts(const omen_column *c, const omen_literal *literal, omen_cut *low, omen_cut *past)
{
    const double x = c->entry.type == OMEN_COLUMN_FLOAT32 ? (double)(float)literal->real : literal->real;
    /* both zeros are the same number */
    *low = omen_real_key(x == 0 ? -0.0 : x);
    *past = (omen_cut)omen_real_key(x == 0 ? 0.0 : x) + 1;
}

void omen_literal_cuts(const omen_column *c, const omen_literal *literal, omen_cut *low, omen_cut *past)
{
    switch (c->entry.type) {
    case OMEN_COLUMN_INT64:
        integer_cuts(c, literal, low, past);
        return;
    case OMEN_COLUMN_TEXT: {
        const uint64_t at = omen_column_bound(c, literal->text, literal->n_bytes, false);
        *low = at;
        *past = at + omen_column_has_word(c, at, literal->text, literal->n_bytes);
        return;
    }
    default:
        real_cuts(c, literal, low, past);
    }
}

/* ---- ranges ---- */

bool omen_ranges_add(omen_ranges *r, uint64_t low, uint64_t high)
{
    if (r->n == r->size) {
        const size_t size = r->size ? 2 * r->size : 4;
        omen_range *grown = realloc(r->ranges, size * sizeof *grown);
        if (!grown)
            return false;
        r->ranges = grown;
        r->size = size;
    }
    r->ranges[r->n++] = (omen_range){low, high};
    return true;
}

static int compare_ranges(const void *a, const void *b)
{
    const omen_range *x = a, *y = b;
    return x->low != y->low ? (x->low > y->low) - (x->low < y->low) : (x->high > y->high) - (x->high < y->high);
}

void omen_ranges_merge(omen_ranges *r)
{
    size_t n = 0;
    if (r->n > 1)
        qsort(r->ranges, r->n, sizeof *r->ranges, compare_ranges);
    for (size_t i = 0; i < r->n; i++) {
        const omen_range next = r->ranges[i];
        omen_range *last = n ? &r->ranges[n - 1] : NULL;
        if (last && (last->high == UINT64_MAX || next.low <= last->high + 1))
            last->high = next.high > last->high ? next.high : last->high;
        else
            r->ranges[n++] = next;
    }
    r->n = n;
}

bool omen_ranges_invert(omen_ranges *r, omen_range all)
{
    omen_ranges out = {NULL, 0, 0};
    uint64_t low = all.low;
    bool is_done = false; /* nothing is left above */
    for (size_t i = 0; i < r->n && !is_done; i++) {
        if (r->ranges[i].low > low && !omen_ranges_add(&out, low, r->ranges[i].low - 1)) {
            free(out.ranges);
            return false;
        }
        is_done = r->ranges[i].high >= all.high;
        low = is_done ? low : r->ranges[i].high + 1;
    }
    if (!is_done && !omen_ranges_add(&out, low, all.high)) {
        free(out.ranges);
        return false;
    }
    free(r->ranges);
    *r = out;
    return true;
}
