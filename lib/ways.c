/* SPDX-License-Identifier: Apache-2.0 */
/* The table of ways through an index, and how each plans a search from the options. */
#include <math.h>

#include "lib/apart.h"
#include "lib/filter.h"
#include "lib/lists.h"
#include "lib/range.h"
#include "lib/ways.h"

/* Under a filter the lists not taken may hold as many matches as the recall may lack: fewer are missed in the end,
 * since neighbours come nearer after they are counted. What the margin leaves out is a part of it. */
#define MISSED_BY_MARGIN 0.25f

/* For all rows within a distance, lists are taken and rows re-ranked by reach and margin as for the k nearest, relative
 * to the distance that was given instead of the one found: reach and margin were measured relative to the k-th estimate
 * of the first lists, which is farther than the k-th row, so both are raised. */
#define RANGE_K      10u
#define RANGE_REACH  2.0f
#define RANGE_MARGIN 1.5f
#define RANGE_MISSED 0.5f /* times what the recall may lack: the lists not taken may be expected to hold it */
#define RANGE_POOL   512u /* rows re-ranked together */

/* The effort of ranges. */
static omen_effort range_effort(const omen_index *index, const omen_search_options *options, uint32_t *n_probes)
{
    const omen_meta *m = &index->meta;
    const uint32_t k = RANGE_K < m->n_rows ? RANGE_K : (uint32_t)m->n_rows;
    const float recall = options->recall > 0 ? options->recall : OMEN_DEFAULT_RECALL;
    uint32_t n_rerank;
    omen_effort effort = omen_index_effort(index, k, recall, n_probes, &n_rerank);
    if (!index->n_tune) /* of too few rows to measure anything */
        effort.least_lists = m->n_lists;
    else if (effort.least_lists < effort.most_lists) /* else all lists are needed */
        effort.least_lists = effort.first_lists;
    effort.reach *= RANGE_REACH;
    effort.margin *= RANGE_MARGIN;
    effort.missed = RANGE_MISSED * (1 - recall);
    omen_effort_scale(&effort, index, options->effort_factor);
    if (options->lists.probes) {
        *n_probes = options->lists.probes < m->n_lists ? options->lists.probes : m->n_lists;
        effort.least_lists = *n_probes;
        effort.missed = -1;
    }
    effort.most_lists = m->n_lists;
    effort.most_rows = RANGE_POOL;
    return effort;
}

/* All rows within a distance. */
static int search_lists_within(const omen_index *index, const omen_search_job *job)
{
    uint32_t n_probes;
    const omen_effort effort = range_effort(index, job->options, &n_probes);
    const omen_list_spread *spread;
    if (job->stats)
        job->stats->lists.probes = n_probes;
    int status = omen_list_spread_get(index, job->n_threads, &spread, job->watch, job->why);
    if (status == OMEN_OK)
        status = omen_search_lists_within(index, job, &effort, spread);
    return status == OMEN_OK && index->n_apart ? omen_apart_search_within(index, job) : status;
}

static int search_lists(const omen_index *index, const omen_search_job *job)
{
    const omen_meta *m = &index->meta;
    const omen_search_options *options = job->options;
    const uint32_t k = job->k;
    const float recall = options->recall > 0 ? options->recall : OMEN_DEFAULT_RECALL;
    omen_lists_filter filter = {.row_sets = job->row_sets};
    uint32_t n_probes, n_rerank; /* on average */
    if (job->ranges)
        return search_lists_within(index, job);
    omen_effort effort =
        omen_index_effort(index, k, job->row_sets ? 1 - MISSED_BY_MARGIN * (1 - recall) : recall, &n_probes, &n_rerank);
    effort.missed = (float)k * (1 - recall);
    omen_effort_scale(&effort, index, options->effort_factor);
    if (options->lists.probes) {
        n_probes = options->lists.probes < m->n_lists ? options->lists.probes : m->n_lists;
        effort.least_lists = effort.most_lists = n_probes;
        effort.first_lists = effort.first_lists < n_probes ? effort.first_lists : n_probes;
        effort.missed = -1;
    }
    if (options->rerank) {
        n_rerank = options->rerank < m->n_rows ? options->rerank : (uint32_t)m->n_rows;
        effort.margin = INFINITY;
        effort.most_rows = n_rerank;
    }
    if (m->refine == OMEN_REFINE_NONE || m->codec == OMEN_CODEC_NONE)
        effort.most_rows = n_rerank = k;
    if (effort.most_rows < k)
        effort.most_rows = n_rerank = k;
    if (job->stats) {
        job->stats->lists.probes = n_probes;
        job->stats->rerank = n_rerank;
    }
    int status = OMEN_OK;
    if (job->row_sets)
        status = omen_list_spread_get(index, job->n_threads, &filter.spread, job->watch, job->why);
    if (status == OMEN_OK)
        status = omen_search_lists(index, job->queries, job->n_queries, k, &effort, job->row_sets ? &filter : NULL,
                                   options->refine_cold, job->n_threads, job->keys, job->stats, job->watch, job->why);
    if (status != OMEN_OK || !index->n_apart)
        return status;
    return omen_apart_search(index, job->queries, job->row_sets, job->n_queries, k, job->n_threads, job->keys,
                             job->stats, job->watch, job->why);
}

static int search_exact(const omen_index *index, const omen_search_job *job)
{
    if (index->meta.refine == OMEN_REFINE_NONE)
        return omen_fail(job->why, OMEN_ERR_ARGUMENT,
                         "exact search needs a refine tier, which this index was built without");
    if (job->stats) {
        job->stats->lists.probes = job->stats->rerank = 0;
        job->stats->n_queries += job->n_queries;
        job->stats->rows_reranked += job->row_sets ? 0 : job->n_queries * index->meta.n_rows;
    }
    if (job->row_sets || job->ranges)
        return omen_search_rows(index, job);
    return omen_search_exact(index, job->queries, job->n_queries, job->k, job->n_threads, job->keys, job->watch,
                             job->why);
}

const omen_way omen_ways[OMEN_N_WAYS] = {
    [OMEN_WAY_LISTS] = {.check_sections = omen_lists_check_sections,
                        .open = omen_lists_open,
                        .close = omen_lists_close,
                        .check = omen_lists_check,
                        .search = search_lists,
                        .calibrate = omen_lists_calibrate,
                        .calibrate_bytes = omen_lists_calibrate_bytes,
                        .table = OMEN_SECTION_TUNE},
    [OMEN_WAY_EXACT] = {.search = search_exact},
};
