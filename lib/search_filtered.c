/* SPDX-License-Identifier: Apache-2.0 */
/* A batch under filters: each filter is planned by its cost, and the queries of a plan, those of a filter side by side,
 * go the way that it names. */
#include <stdlib.h>
#include <string.h>

#include "lib/filter.h"
#include "lib/matrix.h"
#include "lib/range.h"
#include "lib/sized.h"

/* What ranking the lists costs, for each list and dimension, and what choosing among them, for each list: in the unit
 * of omen_row_cost(). */
#define RANK_COST   0.05f
#define CHOOSE_COST 20.0f

uint64_t omen_filter_few(const omen_index *index)
{
    const omen_meta *m = &index->meta;
    if (m->refine == OMEN_REFINE_NONE)
        return 0;
    return (uint64_t)((float)m->n_lists * (CHOOSE_COST + RANK_COST * (float)m->d_kept) / omen_row_cost(index));
}

omen_plan omen_filter_plan(const omen_index *index, const omen_search_options *options, const omen_row_set *set)
{
    if (!set->n_matches)
        return OMEN_PLAN_NOTHING;
    if (options->exact || set->n_matches <= omen_filter_few(index))
        return OMEN_PLAN_ROWS;
    return omen_filter_takes_graph(index, options, set) ? OMEN_PLAN_GRAPH : OMEN_PLAN_LISTS;
}

const char *omen_plan_text(omen_plan plan)
{
    switch (plan) {
    case OMEN_PLAN_NOTHING:
        return "no row matches";
    case OMEN_PLAN_ROWS:
        return "each is compared";
    case OMEN_PLAN_LISTS:
        return "searched list by list";
    case OMEN_PLAN_GRAPH:
        return "searched through the graph";
    }
    return "?";
}

int omen_row_set_get_info(const omen_row_set *set, const omen_search_options *options, omen_row_set_info *out)
{
    const omen_index *index = set->index;
    omen_search_options known;
    omen_row_set_info info;
    int status = omen_sized_take(&known, sizeof known, options, "omen_search_options", NULL);
    if (status == OMEN_OK)
        status = omen_sized_take(&info, sizeof info, out, "omen_row_set_info", NULL);
    if (status != OMEN_OK)
        return status;
    info.n_matches = set->n_matches;
    info.n_lists = 0;
    for (uint32_t l = 0; l < index->meta.n_lists && !set->positions; l++)
        info.n_lists += set->counts[l] > 0;
    for (uint64_t i = 0, l = 0; i < set->n_matches && set->positions; i++) {
        const bool is_new = i == 0 || set->positions[i] >= index->first[l + 1];
        while (set->positions[i] >= index->first[l + 1])
            l++;
        info.n_lists += is_new;
    }
    info.plan = omen_filter_plan(index, &known, set);
    omen_sized_give(out, &info);
    return OMEN_OK;
}

/* The queries of a batch that are searched alike. */
typedef struct {
    uint64_t query; /* among those of the batch */
    const omen_row_set *set;
} filtered_query;

/* By filter, so that each is prepared once; a query's answer does not depend on its neighbours. */
static int by_set(const void *a, const void *b)
{
    const filtered_query *x = a, *y = b;
    if (x->set != y->set)
        return (uintptr_t)x->set < (uintptr_t)y->set ? -1 : 1;
    return x->query < y->query ? -1 : x->query > y->query;
}

/* Searches n queries of the job the given way, with their sets or without, and puts their keys in place. */
static int search_part(const omen_index *index, const omen_search_job *job, const filtered_query *part, uint64_t n,
                       int way, bool has_sets)
{
    const uint32_t d = index->meta.d, k = job->ranges ? 0 : job->k;
    if (!n)
        return OMEN_OK;
    omen_range *ranges = job->ranges ? omen_alloc_zero(n, sizeof *ranges) : NULL;
    float *queries = omen_alloc(n * d, sizeof *queries);
    uint64_t *keys = omen_alloc(n * k, sizeof *keys);
    const omen_row_set **sets = omen_alloc(n, sizeof *sets);
    int status = queries && keys && sets && (ranges || !job->ranges) ? OMEN_OK : OMEN_ERR_MEMORY;
    for (uint64_t i = 0; i < n && status == OMEN_OK; i++) {
        memcpy(queries + i * d, job->queries + part[i].query * d, d * sizeof *queries);
        sets[i] = part[i].set;
    }
    if (status == OMEN_OK) {
        omen_search_job own = *job;
        own.queries = queries;
        own.n_queries = n;
        own.keys = keys;
        own.ranges = ranges;
        own.row_sets = has_sets ? sets : NULL;
        status = omen_ways[way].search(index, &own);
    }
    for (uint64_t i = 0; i < n && status == OMEN_OK; i++) {
        if (ranges) {
            job->ranges[part[i].query] = ranges[i];
            ranges[i].keys = NULL;
        } else {
            memcpy(job->keys + part[i].query * k, keys + i * k, k * sizeof *keys);
        }
    }
    omen_ranges_free(ranges, n);
    free(queries);
    free(keys);
    free(sets);
    return status;
}

/* The way of queries without a filter beside others that have one. */
static int way_without(const omen_search_options *options)
{
    return options->exact ? OMEN_WAY_EXACT : options->way == OMEN_SEARCH_GRAPH ? OMEN_WAY_GRAPH : OMEN_WAY_LISTS;
}

#define N_PARTS (OMEN_PLAN_GRAPH + 2)

int omen_search_filtered(const omen_index *index, const omen_search_job *job)
{
    const omen_search_options *options = job->options;
    filtered_query *parts[N_PARTS] = {NULL}; /* by plan, then those without a filter */
    uint64_t n[N_PARTS] = {0}, n_given_up = 0;
    int status = OMEN_OK;
    for (size_t p = 0; p < N_PARTS; p++)
        if (!(parts[p] = omen_alloc(job->n_queries, sizeof *parts[p])))
            status = OMEN_ERR_MEMORY;
    for (uint64_t q = 0; q < job->n_queries && status == OMEN_OK; q++) {
        const omen_row_set *set = options->row_sets[q];
        if (set && set->index != index)
            status = omen_fail(job->why, OMEN_ERR_ARGUMENT, "options.row_sets: set %llu is of another index",
                               (unsigned long long)q);
        else {
            const int part = set ? (int)omen_filter_plan(index, options, set) : N_PARTS - 1;
            parts[part][n[part]++] = (filtered_query){q, set};
        }
    }
    if (status == OMEN_OK) {
        for (uint64_t i = 0; i < n[OMEN_PLAN_NOTHING] && !job->ranges; i++)
            memset(job->keys + parts[OMEN_PLAN_NOTHING][i].query * job->k, 0xff, job->k * sizeof *job->keys);
        if (job->stats)
            job->stats->n_queries += n[OMEN_PLAN_NOTHING];
        qsort(parts[OMEN_PLAN_ROWS], n[OMEN_PLAN_ROWS], sizeof **parts, by_set);
        status = search_part(index, job, parts[OMEN_PLAN_ROWS], n[OMEN_PLAN_ROWS], OMEN_WAY_EXACT, true);
    }
    if (status == OMEN_OK)
        status = search_part(index, job, parts[OMEN_PLAN_GRAPH], n[OMEN_PLAN_GRAPH], OMEN_WAY_GRAPH, true);
    for (uint64_t i = 0; i < n[OMEN_PLAN_GRAPH] && status == OMEN_OK; i++) /* those that the graph is not enough for */
        if (job->keys[parts[OMEN_PLAN_GRAPH][i].query * job->k] == UINT64_MAX) {
            parts[OMEN_PLAN_LISTS][n[OMEN_PLAN_LISTS]++] = parts[OMEN_PLAN_GRAPH][i];
            n_given_up++;
        }
    if (status == OMEN_OK) {
        qsort(parts[OMEN_PLAN_LISTS], n[OMEN_PLAN_LISTS], sizeof **parts, by_set);
        status = search_part(index, job, parts[OMEN_PLAN_LISTS], n[OMEN_PLAN_LISTS], OMEN_WAY_LISTS, true);
    }
    if (status == OMEN_OK)
        status = search_part(index, job, parts[N_PARTS - 1], n[N_PARTS - 1], way_without(options), false);
    if (status == OMEN_OK && job->stats) {
        job->stats->filtered.nothing += n[OMEN_PLAN_NOTHING];
        job->stats->filtered.rows += n[OMEN_PLAN_ROWS];
        job->stats->filtered.lists += n[OMEN_PLAN_LISTS];
        job->stats->filtered.graph += n[OMEN_PLAN_GRAPH] - n_given_up;
    }
    for (size_t p = 0; p < N_PARTS; p++)
        free(parts[p]);
    return status;
}
