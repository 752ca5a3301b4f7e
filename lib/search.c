/* SPDX-License-Identifier: Apache-2.0 */
/* The search entry points: they check queries, choose the way, and look at what was found before it leaves. */
#include <math.h>
#include <stdlib.h>

#include "lib/filter.h"
#include "lib/index.h"
#include "lib/matrix.h"
#include "lib/refine.h"
#include "lib/search.h"
#include "lib/sized.h"
#include "lib/watch.h"

void(omen_search_options_init)(omen_search_options *options, size_t struct_bytes)
{
    const omen_search_options defaults = {.k = 10};
    omen_sized_init(options, struct_bytes, &defaults, sizeof defaults);
}

/* How many of k rows a query has to find. */
static uint32_t rows_to_find(const omen_search_options *options, uint64_t query, uint32_t k)
{
    const omen_row_set *set = options->row_sets ? options->row_sets[query] : NULL;
    return set && set->n_matches < k ? (uint32_t)set->n_matches : k;
}

/* Whether the k keys of one query are rows that exist, each once, at distances that are numbers. seen is a hash table
 * of n_seen (a power of two, at least twice k) pairs {query + 1, row}, zero at first. */
static int check_result(uint64_t n_rows, const uint64_t *keys, uint32_t k, uint64_t query, uint64_t (*seen)[2],
                        uint64_t n_seen, omen_detail *why)
{
    for (uint32_t i = 0; i < k; i++) {
        const uint64_t row = (uint32_t)keys[i];
        uint64_t slot = row * 0x9e3779b97f4a7c15u >> 32 & (n_seen - 1);
        while (seen[slot][0] == query + 1 && seen[slot][1] != row)
            slot = (slot + 1) & (n_seen - 1);
        if (row >= n_rows || seen[slot][0] == query + 1)
            return omen_fail(why, OMEN_ERR_CORRUPT, "section PERM: row %llu %s", (unsigned long long)row,
                             row >= n_rows ? "does not exist" : "has two positions");
        if (!isfinite(omen_key_distance(keys[i])))
            return omen_fail(why, OMEN_ERR_CORRUPT, "row %llu has no finite distance", (unsigned long long)row);
        seen[slot][0] = query + 1;
        seen[slot][1] = row;
    }
    return OMEN_OK;
}

int omen_search_check_results(uint64_t n_rows, const uint64_t *keys, uint64_t n_queries, uint32_t k,
                              const uint32_t *n_found, int n_threads, omen_detail *why)
{
    uint64_t n_seen = 8;
    int status = OMEN_OK;
    while (n_seen < 2 * (uint64_t)k)
        n_seen *= 2;
#pragma omp parallel num_threads(n_threads) if (n_queries * k >= 4096)
    {
        uint64_t(*seen)[2] = omen_alloc_zero(n_seen, sizeof *seen);
        omen_detail own_why = {""};
        int own = seen ? OMEN_OK : OMEN_ERR_MEMORY;
#pragma omp for schedule(static)
        for (uint64_t q = 0; q < n_queries; q++)
            if (own == OMEN_OK)
                own = check_result(n_rows, keys + q * k, n_found[q], q, seen, n_seen, &own_why);
        if (own != OMEN_OK) {
#pragma omp critical(omen_check_results)
            {
                status = own;
                if (why)
                    *why = own_why;
            }
        }
        free(seen);
    }
    return status;
}

uint32_t omen_found_count(const int64_t *ids, uint32_t k)
{
    uint32_t n = 0;
    while (n < k && ids[n] != OMEN_NO_ROW)
        n++;
    return n;
}

void omen_search_put_found(const uint64_t *keys, uint32_t n, uint32_t k, int64_t *ids, float *distances)
{
    for (uint32_t i = 0; i < k; i++)
        ids[i] = i < n ? (int64_t)(uint32_t)keys[i] : OMEN_NO_ROW;
    for (uint32_t i = 0; i < k && distances; i++)
        distances[i] = i < n ? omen_key_distance(keys[i]) : INFINITY;
}

int omen_search_check_queries(const omen_index *index, const omen_search_options *options, const float *queries,
                              uint64_t n_queries, omen_detail *why)
{
    const omen_meta *m = &index->meta;
    for (uint64_t q = 0; q < n_queries; q++) {
        const double norm2 = omen_norm2(queries + q * m->d, m->d);
        if (!(norm2 <= (double)OMEN_NORM2_MOST))
            return omen_fail(why, OMEN_ERR_INPUT, "query %llu is too long: its squared norm is over %g",
                             (unsigned long long)(options->first_query + q), (double)OMEN_NORM2_MOST);
        if (m->metric == OMEN_METRIC_COSINE && !options->zero_ok && norm2 == 0)
            return omen_fail(why, OMEN_ERR_INPUT,
                             "query %llu is a zero vector, which has no cosine; options.zero_ok accepts it",
                             (unsigned long long)(options->first_query + q));
    }
    return OMEN_OK;
}

bool omen_search_is_zero(const omen_index *index, const omen_search_options *options, const float *query)
{
    return index->meta.metric == OMEN_METRIC_COSINE && options->zero_ok && omen_norm2(query, index->meta.d) == 0;
}

static int way_of(omen_search_way way)
{
    return way == OMEN_SEARCH_EXACT ? OMEN_WAY_EXACT : way == OMEN_SEARCH_GRAPH ? OMEN_WAY_GRAPH : OMEN_WAY_LISTS;
}

int omen_search_run(const omen_index *index, omen_search_options *options, const omen_search_job *job)
{
    omen_way_choice choice = {.struct_bytes = sizeof choice};
    int status = omen_index_choose_way(index, options, job->n_queries, &choice, job->why);
    if (status != OMEN_OK)
        return status;
    options->exact = choice.way == OMEN_SEARCH_EXACT;
    if (job->stats)
        job->stats->way = choice.way;
    return options->row_sets ? omen_search_filtered(index, job) : omen_ways[way_of(choice.way)].search(index, job);
}

int omen_index_search(const omen_index *index, const omen_search_options *options, const float *queries,
                      uint64_t n_queries, int64_t *ids, float *distances, omen_search_stats *stats, omen_detail *why)
{
    const omen_meta *m = &index->meta;
    omen_search_options known;
    omen_search_stats sums, *const program_stats = stats;
    int status = omen_sized_take(&known, sizeof known, options, "omen_search_options", why);
    if (status == OMEN_OK && stats)
        status = omen_sized_take(&sums, sizeof sums, stats, "omen_search_stats", why);
    if (status != OMEN_OK)
        return status;
    options = &known;
    stats = stats ? &sums : NULL;
    if (options->k < 1)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "k must be at least 1");
    if (options->has_within)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "options.within is for omen_index_search_within()");
    const uint32_t k = options->k < m->n_rows ? options->k : (uint32_t)m->n_rows;
    const int n_threads = options->n_threads > 0 ? options->n_threads : omen_cpu_count();
    status = omen_search_check_queries(index, options, queries, n_queries, why);
    if (status != OMEN_OK)
        return status;
    uint64_t *keys = omen_alloc(n_queries * k, sizeof *keys);
    uint32_t *n_found = omen_alloc(n_queries, sizeof *n_found);
    if (!keys || !n_found) {
        free(keys);
        free(n_found);
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the results of %llu queries",
                         (unsigned long long)n_queries);
    }
    omen_watch watch = omen_watch_make_search(options->progress, options->progress_context, n_queries);
    const omen_search_job job = {.options = options,
                                 .queries = queries,
                                 .n_queries = n_queries,
                                 .k = k,
                                 .n_threads = n_threads,
                                 .keys = keys,
                                 .stats = stats,
                                 .watch = &watch,
                                 .why = why};
    status = omen_search_run(index, &known, &job);
    for (uint64_t q = 0; q < n_queries; q++)
        n_found[q] = rows_to_find(options, q, k);
    if (status == OMEN_OK)
        status = omen_search_check_results(m->n_rows, keys, n_queries, k, n_found, n_threads, why);
    for (uint64_t q = 0; q < n_queries && status == OMEN_OK; q++) {
        const float *query = queries + q * m->d;
        /* a zero query is as far from every row as from any other: the lowest ids */
        const bool zero = omen_search_is_zero(index, options, query);
        if (zero && options->row_sets && options->row_sets[q])
            status = omen_row_set_first(options->row_sets[q], n_found[q], keys + q * k);
        else if (zero)
            for (uint32_t i = 0; i < k; i++)
                keys[q * k + i] = omen_key(1, i);
        omen_search_put_found(keys + q * k, n_found[q], options->k, ids + q * options->k,
                              distances ? distances + q * options->k : NULL);
    }
    free(keys);
    free(n_found);
    if (stats)
        omen_sized_give(program_stats, stats);
    if (status == OMEN_ERR_INTERRUPTED)
        return omen_fail(why, status, "interrupted");
    return status == OMEN_ERR_MEMORY ? omen_fail(why, status, "out of memory") : status;
}

int omen_index_distances(const omen_index *index, const float *queries, uint64_t n_queries, uint32_t k,
                         const int64_t *ids, int n_threads, float *distances, omen_detail *why)
{
    if (index->meta.refine == OMEN_REFINE_NONE)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "distances need a refine tier, which this index was built without");
    for (uint64_t i = 0; i < n_queries * k; i++)
        if (ids[i] != OMEN_NO_ROW && (uint64_t)ids[i] >= index->meta.n_rows)
            return omen_fail(why, OMEN_ERR_ARGUMENT, "row %lld does not exist", (long long)ids[i]);
    return omen_search_distances(index, queries, n_queries, k, ids, n_threads > 0 ? n_threads : omen_cpu_count(),
                                 distances, why);
}

int omen_source_search(const omen_source *source, omen_metric metric, uint32_t k, const float *queries,
                       uint64_t n_queries, int n_threads, int64_t *ids, float *distances, omen_progress_fn progress,
                       void *context, omen_detail *why)
{
    if (k < 1 || source->n_rows < 1 || source->n_rows > OMEN_MAX_ROWS)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "k must be at least 1, and n 1 to %u", OMEN_MAX_ROWS);
    const uint32_t n_found = k < source->n_rows ? k : (uint32_t)source->n_rows;
    uint64_t *keys = omen_alloc(n_queries * n_found, sizeof *keys);
    omen_watch watch = omen_watch_make_search(progress, context, n_queries);
    int status = keys ? omen_search_source(source, metric, queries, n_queries, n_found,
                                           n_threads > 0 ? n_threads : omen_cpu_count(), keys, &watch, why)
                      : omen_fail(why, OMEN_ERR_MEMORY, "out of memory");
    for (uint64_t q = 0; q < n_queries && status == OMEN_OK; q++)
        omen_search_put_found(keys + q * n_found, n_found, k, ids + q * k, distances ? distances + q * k : NULL);
    free(keys);
    return status;
}
