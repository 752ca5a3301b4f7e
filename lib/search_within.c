/* SPDX-License-Identifier: Apache-2.0 */
/* Search for all rows within a distance: as many as there are, so the results are made while they are found. */
#include <math.h>
#include <stdlib.h>

#include "lib/index.h"
#include "lib/matrix.h"
#include "lib/range.h"
#include "lib/row_set.h"
#include "lib/search.h"
#include "lib/sized.h"
#include "lib/watch.h"

void omen_found_destroy(omen_found *found)
{
    if (!found)
        return;
    free(found->first);
    free(found->ids);
    free(found->distances);
    free(found->is_cut);
    free(found);
}

static int check_options(const omen_search_options *options, omen_detail *why)
{
    if (!options->has_within)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "options.within has to be given");
    if (!isfinite(options->within))
        return omen_fail(why, OMEN_ERR_ARGUMENT, "options.within must be a number");
    if (options->rerank)
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "options.rerank has no meaning with options.within: what may be near enough is re-ranked");
    return OMEN_OK;
}

/* A zero query under cosine is at distance 1 from all rows, or those of its set. */
static int fill_zero(const omen_index *index, const omen_search_options *options, const omen_row_set *set,
                     omen_range *range)
{
    const uint64_t n_rows = set ? set->n_matches : index->meta.n_rows;
    free(range->keys);
    *range = (omen_range){.n = 0};
    if (options->within < 1)
        return OMEN_OK;
    range->keys = omen_alloc(n_rows, sizeof *range->keys);
    if (!range->keys)
        return OMEN_ERR_MEMORY;
    range->n = range->size = n_rows;
    if (set)
        return omen_row_set_first(set, (uint32_t)n_rows, range->keys);
    for (uint64_t i = 0; i < n_rows; i++)
        range->keys[i] = omen_key(1, (uint32_t)i);
    return OMEN_OK;
}

/* Whether the keys are of rows that exist, each once, at distances that are numbers, whatever the file says. seen has a
 * bit for each row, all of them 0 before and after. */
static int check_range(const omen_index *index, const omen_range *range, uint64_t *seen, omen_detail *why)
{
    for (uint64_t i = 0; i < range->n; i++) {
        const uint64_t row = (uint32_t)range->keys[i];
        if (row >= index->meta.n_rows || seen[row / 64] >> row % 64 & 1)
            return omen_fail(why, OMEN_ERR_CORRUPT, "section PERM: row %llu %s", (unsigned long long)row,
                             row >= index->meta.n_rows ? "does not exist" : "has two positions");
        if (!isfinite(omen_key_distance(range->keys[i])))
            return omen_fail(why, OMEN_ERR_CORRUPT, "row %llu has no finite distance", (unsigned long long)row);
        seen[row / 64] |= (uint64_t)1 << row % 64;
    }
    for (uint64_t i = 0; i < range->n; i++)
        seen[(uint32_t)range->keys[i] / 64] = 0;
    return OMEN_OK;
}

/* Makes *out of finished ranges, which it frees one by one. */
static int collect(const omen_index *index, omen_range *ranges, uint64_t n_queries, uint64_t limit, omen_found *out,
                   omen_detail *why)
{
    uint64_t n_found = 0;
    uint64_t *seen = omen_alloc_zero(index->meta.n_rows / 64 + 1, sizeof *seen);
    out->n_queries = n_queries;
    out->first = omen_alloc(n_queries + 1, sizeof *out->first);
    out->is_cut = omen_alloc(n_queries, sizeof *out->is_cut);
    int status = seen && out->first && out->is_cut ? OMEN_OK : OMEN_ERR_MEMORY;
    for (uint64_t q = 0; q < n_queries && status == OMEN_OK; q++) {
        out->is_cut[q] = omen_range_finish(&ranges[q], limit);
        out->first[q] = n_found;
        n_found += ranges[q].n;
        status = check_range(index, &ranges[q], seen, why);
    }
    free(seen);
    if (status != OMEN_OK)
        return status;
    out->first[n_queries] = n_found;
    out->ids = omen_alloc(n_found, sizeof *out->ids);
    out->distances = omen_alloc(n_found, sizeof *out->distances);
    if (!out->ids || !out->distances)
        return OMEN_ERR_MEMORY;
    for (uint64_t q = 0; q < n_queries; q++) {
        for (uint64_t i = 0; i < ranges[q].n; i++) {
            out->ids[out->first[q] + i] = (uint32_t)ranges[q].keys[i];
            out->distances[out->first[q] + i] = omen_key_distance(ranges[q].keys[i]);
        }
        free(ranges[q].keys);
        ranges[q].keys = NULL;
    }
    return OMEN_OK;
}

static int search(const omen_index *index, omen_search_options *options, const float *queries, uint64_t n_queries,
                  omen_found *out, omen_search_stats *stats, omen_detail *why)
{
    omen_watch watch = omen_watch_make_search(options->progress, options->progress_context, n_queries);
    omen_range *ranges = omen_alloc_zero(n_queries, sizeof *ranges);
    if (!ranges)
        return OMEN_ERR_MEMORY;
    const omen_search_job job = {.options = options,
                                 .queries = queries,
                                 .n_queries = n_queries,
                                 .k = 1,
                                 .n_threads = options->n_threads > 0 ? options->n_threads : omen_cpu_count(),
                                 .ranges = ranges,
                                 .stats = stats,
                                 .watch = &watch,
                                 .why = why};
    int status = omen_search_run(index, options, &job);
    for (uint64_t q = 0; q < n_queries && status == OMEN_OK; q++)
        if (omen_search_is_zero(index, options, queries + q * index->meta.d))
            status = fill_zero(index, options, options->row_sets ? options->row_sets[q] : NULL, &ranges[q]);
    if (status == OMEN_OK)
        status = collect(index, ranges, n_queries, options->limit, out, why);
    omen_ranges_free(ranges, n_queries);
    return status;
}

int omen_index_search_within(const omen_index *index, const omen_search_options *options, const float *queries,
                             uint64_t n_queries, omen_found **out, omen_search_stats *stats, omen_detail *why)
{
    omen_search_options known;
    omen_search_stats sums;
    *out = NULL;
    int status = omen_sized_take(&known, sizeof known, options, "omen_search_options", why);
    if (status == OMEN_OK && stats)
        status = omen_sized_take(&sums, sizeof sums, stats, "omen_search_stats", why);
    if (status == OMEN_OK)
        status = check_options(&known, why);
    if (status == OMEN_OK)
        status = omen_search_check_queries(index, &known, queries, n_queries, why);
    if (status != OMEN_OK)
        return status;
    known.within += 0.0f; /* -0 becomes 0, which is at least as far */
    omen_found *found = calloc(1, sizeof *found);
    status = found ? search(index, &known, queries, n_queries, found, stats ? &sums : NULL, why) : OMEN_ERR_MEMORY;
    if (stats)
        omen_sized_give(stats, &sums);
    if (status == OMEN_OK) {
        *out = found;
        return OMEN_OK;
    }
    omen_found_destroy(found);
    if (status == OMEN_ERR_INTERRUPTED)
        return omen_fail(why, status, "interrupted");
    return status == OMEN_ERR_MEMORY ? omen_fail(why, status, "out of memory for what is within the distance") : status;
}
