/* SPDX-License-Identifier: Apache-2.0 */
/* An index searched for its own rows. Rows that follow each other in the lists have the same neighbours, lists and
 * codes in cache. */
#include <stdlib.h>
#include <string.h>

#include "lib/index.h"
#include "lib/matrix.h"
#include "lib/omendb_rows.h"
#include "lib/row_set.h"
#include "lib/sized.h"

#define BATCH_ROWS   16384u                /* most rows searched together */
#define BATCH_BYTES  ((uint64_t)256 << 20) /* fewer, if they and their results would pass this */
#define BATCH_FIRST  256u                  /* rows of the first batch for ranges, before it is known what they find */
#define FOUND_LITTLE ((uint64_t)1 << 20)   /* results, up to which the next batch may be larger */

typedef struct {
    const omen_index *index;
    const omen_row_set *set; /* or NULL */
    omen_search_options options;
    omen_search_stats *stats;
    uint64_t at;         /* position of the next row */
    uint64_t *seen;      /* bits by row number */
    uint64_t most, size; /* rows of a batch: room, and as many as the next one has */
    uint64_t n;
    uint32_t *positions;
    int64_t *rows;
    float *queries;
    const omen_row_set **sets;
    omen_found nearest; /* of k: room */
} self_search;

static void finish(self_search *s)
{
    free(s->seen);
    free(s->positions);
    free(s->rows);
    free(s->queries);
    free(s->sets);
    free(s->nearest.first);
    free(s->nearest.ids);
    free(s->nearest.distances);
    free(s->nearest.is_cut);
}

static int init(self_search *s)
{
    const uint64_t n_rows = s->index->meta.n_rows, d = s->index->meta.d;
    const uint64_t k = s->options.has_within ? 0 : s->options.k;
    const uint64_t row_bytes = d * sizeof(float) + k * (sizeof(int64_t) + sizeof(float));
    s->most = omen_least(omen_least(BATCH_ROWS, BATCH_BYTES / row_bytes + 1), n_rows);
    s->size = s->options.has_within ? omen_least(s->most, BATCH_FIRST) : s->most;
    s->seen = omen_alloc_zero(n_rows / 64 + 1, sizeof *s->seen);
    s->positions = omen_alloc(s->most, sizeof *s->positions);
    s->rows = omen_alloc(s->most, sizeof *s->rows);
    s->queries = omen_alloc(s->most * d, sizeof *s->queries);
    s->sets = omen_alloc(s->most, sizeof *s->sets);
    s->nearest.first = omen_alloc(s->most + 1, sizeof *s->nearest.first);
    s->nearest.ids = omen_alloc(s->most * k, sizeof *s->nearest.ids);
    s->nearest.distances = omen_alloc(s->most * k, sizeof *s->nearest.distances);
    s->nearest.is_cut = omen_alloc_zero(s->most, sizeof *s->nearest.is_cut);
    if (!s->seen || !s->positions || !s->rows || !s->queries || !s->sets || !s->nearest.first || !s->nearest.ids ||
        !s->nearest.distances || !s->nearest.is_cut)
        return OMEN_ERR_MEMORY;
    for (uint64_t i = 0; i < s->most; i++)
        s->sets[i] = s->set;
    s->options.row_sets = s->set ? s->sets : NULL;
    return OMEN_OK;
}

/* Notes that a row is searched for, or was before. No row is twice in the lists. */
static int note_row(self_search *s, uint32_t row, omen_detail *why)
{
    const uint64_t n_rows = s->index->meta.n_rows;
    if (row >= n_rows || s->seen[row / 64] >> row % 64 & 1)
        return omen_fail(why, OMEN_ERR_CORRUPT, "section PERM: row %u %s", row,
                         row >= n_rows ? "does not exist" : "has two positions");
    s->seen[row / 64] |= (uint64_t)1 << row % 64;
    return OMEN_OK;
}

/* Passes over rows that an earlier search has handed out. */
static int skip(self_search *s, uint64_t n, omen_detail *why)
{
    const omen_index *index = s->index;
    int status = OMEN_OK;
    for (; status == OMEN_OK && n > 0 && s->at < index->meta.n_rows; s->at++) {
        if (s->set && !omen_row_set_has(s->set, s->at))
            continue;
        status = omen_index_touch_ids(index, s->at, 1, why);
        if (status == OMEN_OK)
            status = note_row(s, index->ids[s->at], why);
        n--;
    }
    return status;
}

/* The next rows: none is left where n is 0 then. */
static int read_batch(self_search *s, omen_detail *why)
{
    const omen_index *index = s->index;
    const uint64_t n_rows = index->meta.n_rows;
    for (s->n = 0; s->at < n_rows && s->n < s->size; s->at++) {
        if (s->set && !omen_row_set_has(s->set, s->at))
            continue;
        int status = omen_index_touch_row(index, s->at, true, why);
        if (status == OMEN_OK)
            status = note_row(s, index->ids[s->at], why);
        if (status != OMEN_OK)
            return status;
        s->positions[s->n] = (uint32_t)s->at;
        s->rows[s->n++] = index->ids[s->at];
    }
    return omen_index_read_rows(index, s->positions, s->n, s->queries, why);
}

/* Takes each row out of what it found, and the last of more than most (0: any number) that are left then. */
static void exclude(const int64_t *rows, omen_found *found, uint64_t most)
{
    uint64_t to = 0;
    for (uint64_t q = 0, from = 0; q < found->n_queries; q++) {
        const uint64_t end = found->first[q + 1], begin = to;
        for (; from < end; from++) {
            if (found->ids[from] == rows[q])
                continue;
            if (most && to - begin == most) {
                found->is_cut[q] = true;
                continue;
            }
            found->ids[to] = found->ids[from];
            found->distances[to++] = found->distances[from];
        }
        found->first[q] = begin;
    }
    found->first[found->n_queries] = to;
}

/* The k nearest rows of each row. */
static int search_nearest(self_search *s, omen_self_fn take, void *context, omen_detail *why)
{
    const uint32_t k = s->options.k;
    omen_found *found = &s->nearest;
    const int status =
        omen_index_search(s->index, &s->options, s->queries, s->n, found->ids, found->distances, s->stats, why);
    if (status != OMEN_OK)
        return status;
    uint64_t to = 0;
    for (uint64_t q = 0; q < s->n; q++) {
        const uint32_t n = omen_found_count(found->ids + q * k, k);
        memmove(found->ids + to, found->ids + q * k, n * sizeof *found->ids);
        memmove(found->distances + to, found->distances + q * k, n * sizeof *found->distances);
        found->first[q] = to;
        to += n;
    }
    found->first[s->n] = to;
    found->n_queries = s->n;
    exclude(s->rows, found, k - 1);
    memset(found->is_cut, 0, s->n * sizeof *found->is_cut); /* more are not asked for */
    return take(context, s->rows, found, why);
}

/* All rows within the distance. */
static int search_within(self_search *s, omen_self_fn take, void *context, omen_detail *why)
{
    omen_found *found;
    int status = omen_index_search_within(s->index, &s->options, s->queries, s->n, &found, s->stats, why);
    if (status != OMEN_OK)
        return status;
    const uint64_t n_found = found->first[found->n_queries];
    exclude(s->rows, found, s->options.limit ? s->options.limit - 1 : 0);
    status = take(context, s->rows, found, why);
    omen_found_destroy(found);
    if (n_found <= FOUND_LITTLE)
        s->size = omen_least(2 * s->size, s->most);
    else if (n_found > 4 * FOUND_LITTLE && s->size > 1)
        s->size /= 2;
    return status;
}

int omen_index_search_self(const omen_index *index, const omen_search_options *options, const omen_row_set *rows,
                           uint64_t first, omen_self_fn take, void *context, omen_search_stats *stats, omen_detail *why)
{
    self_search s = {.index = index, .set = rows, .stats = stats};
    int status = omen_sized_take(&s.options, sizeof s.options, options, "omen_search_options", why);
    if (status != OMEN_OK)
        return status;
    if (s.options.row_sets || (rows && rows->index != index))
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         s.options.row_sets ? "options.row_sets has no meaning where rows search for rows"
                                            : "the set of rows is of another index");
    if (!s.options.has_within && s.options.k < 1)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "k must be at least 1");
    if (index->meta.refine == OMEN_REFINE_NONE)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "rows search for rows by their refine tier, and the index has none");
    if (!s.options.exact && s.options.way == OMEN_SEARCH_GRAPH)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "options.way: rows search for rows through the lists, not the graph");
    if (!s.options.exact && s.options.way == OMEN_SEARCH_AUTO && !s.options.has_within)
        s.options.way = OMEN_SEARCH_LISTS;
    s.options.zero_ok = true; /* what was accepted as a row is accepted as a query */
    /* one more, for the row itself */
    s.options.k = (uint32_t)omen_least(s.options.k, index->meta.n_rows - 1) + 1;
    s.options.limit += s.options.limit > 0;
    status = init(&s);
    if (status == OMEN_ERR_MEMORY)
        omen_fail(why, status, "out of memory");
    else if (status == OMEN_OK)
        status = skip(&s, first, why);
    while (status == OMEN_OK) {
        status = read_batch(&s, why);
        if (status != OMEN_OK || s.n == 0)
            break;
        status = s.options.has_within ? search_within(&s, take, context, why) : search_nearest(&s, take, context, why);
    }
    finish(&s);
    return status;
}
