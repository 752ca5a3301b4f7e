/* SPDX-License-Identifier: Apache-2.0 */
/* The table of ways through an index, and how each plans a search from the options. */
#include <math.h>

#include "lib/apart.h"
#include "lib/graph.h"
#include "lib/lists.h"
#include "lib/ways.h"

static int search_lists(const omen_index *index, const omen_search_job *job)
{
    const omen_meta *m = &index->meta;
    const omen_search_options *options = job->options;
    const uint32_t k = job->k;
    uint32_t n_probes, n_rerank; /* on average */
    omen_effort effort =
        omen_index_effort(index, k, options->recall > 0 ? options->recall : OMEN_DEFAULT_RECALL, &n_probes, &n_rerank);
    omen_effort_scale(&effort, index, options->effort_factor);
    if (options->probes) {
        n_probes = options->probes < m->n_lists ? options->probes : m->n_lists;
        effort.least_lists = effort.most_lists = n_probes;
        effort.first_lists = effort.first_lists < n_probes ? effort.first_lists : n_probes;
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
        job->stats->probes = n_probes;
        job->stats->rerank = n_rerank;
    }
    const int status = omen_search_lists(index, job->queries, job->n_queries, k, &effort, options->refine_cold,
                                         job->n_threads, job->keys, job->stats, job->watch, job->why);
    if (status != OMEN_OK || !index->n_apart)
        return status;
    return omen_apart_search(index, job->queries, job->n_queries, k, job->n_threads, job->keys, job->stats, job->watch,
                             job->why);
}

static int search_exact(const omen_index *index, const omen_search_job *job)
{
    if (index->meta.refine == OMEN_REFINE_NONE)
        return omen_fail(job->why, OMEN_ERR_ARGUMENT,
                         "exact search needs a refine tier, which this index was built without");
    if (job->stats) {
        job->stats->probes = job->stats->rerank = 0;
        job->stats->n_queries += job->n_queries;
        job->stats->rows_reranked += job->n_queries * index->meta.n_rows;
    }
    return omen_search_exact(index, job->queries, job->n_queries, job->k, job->n_threads, job->keys, job->watch,
                             job->why);
}

const omen_way omen_ways[OMEN_N_WAYS] = {
    [OMEN_WAY_LISTS] = {.check_sections = omen_lists_check_sections,
                        .open = omen_lists_open,
                        .close = omen_lists_close,
                        .check = omen_lists_check,
                        .search = search_lists,
                        .calibrate = omen_index_calibrate,
                        .calibrate_bytes = omen_calibrate_bytes},
    [OMEN_WAY_EXACT] = {.search = search_exact},
    [OMEN_WAY_GRAPH] = {.check_sections = omen_graph_check_sections,
                        .open = omen_graph_open,
                        .close = omen_graph_close,
                        .check = omen_graph_check},
};
