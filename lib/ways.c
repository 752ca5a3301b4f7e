/* SPDX-License-Identifier: Apache-2.0 */
/* The table of ways through an index, and how each plans a search from the options. */
#include <math.h>
#include <stdlib.h>

#include "lib/apart.h"
#include "lib/filter.h"
#include "lib/graph/graph.h"
#include "lib/lists/lists.h"
#include "lib/lists/lists_errors.h"
#include "lib/matrix.h"
#include "lib/omendb_info.h"
#include "lib/sized.h"
#include "lib/ways.h"

/* Under a filter the lists not taken are expected to hold this part of what the recall may lack, and what the margin
 * leaves out is another part of it. A query is searched again where the k-th match that it found is beyond its limit:
 * margins were measured on rows near queries, and say little of far ones, whose codes may be those of nearer rows. */
#define MISSED_BY_LISTS  0.75f
#define MISSED_BY_MARGIN 0.25f
#define FILTERED_LACK    1.0f
#define MISSED_BY_GRAPH  0.75f /* of what the recall may lack: as much is left to the graph under a filter, */
#define FILTERED_POOLS   6     /* and a pool may become so many times as large as one is on average */

/* For all rows within a distance, lists are taken and rows re-ranked by reach and margin as for the k nearest, relative
 * to the distance that was given instead of the one found: reach and margin were measured relative to the k-th estimate
 * of the first lists, which is farther than the k-th row, so both are raised. */
#define RANGE_K      10u
#define RANGE_REACH  2.0f
#define RANGE_MARGIN 1.5f
#define RANGE_MORE   1.1f  /* times the errors that were seen, */
#define RANGE_ALL    1.5f  /* and where all rows are asked for */
#define RANGE_MISSED 0.5f  /* times what the recall may lack: the lists not taken may be expected to hold it */
#define RANGE_POOL   512u  /* rows re-ranked together */
#define RANGE_FEW    1024u /* rows that are compared one by one: the calibration of so few says nothing of a distance */

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

/* Raises the margin to what the errors of estimates take, however near the rows are: half of what the recall may lack
 * is left to the lists. */
static int raise_margin(omen_effort *effort, const omen_index *index, const omen_search_job *job)
{
    const omen_meta *m = &index->meta;
    const float recall = job->options->recall > 0 ? job->options->recall : OMEN_DEFAULT_RECALL;
    const float factor = job->options->effort_factor > 0 ? job->options->effort_factor : 1;
    const omen_list_errors *errors;
    if (m->refine == OMEN_REFINE_NONE || m->codec == OMEN_CODEC_NONE || !(effort->margin < INFINITY))
        return OMEN_OK; /* nothing is estimated, or re-ranked, or turned away */
    const int status = omen_list_errors_get(index, job->n_threads, &errors, job->watch, job->why);
    if (status != OMEN_OK)
        return status;
    const float error = omen_list_errors_quantile(errors, 1 - (double)RANGE_MISSED * (1 - (double)recall));
    /* all rows: beyond the largest error that was seen */
    effort->margin = fmaxf(effort->margin, error * (recall < 1 ? RANGE_MORE : RANGE_ALL) * factor);
    return OMEN_OK;
}

/* All rows within a distance. */
static int search_lists_within(const omen_index *index, const omen_search_job *job)
{
    uint32_t n_probes;
    const omen_search_options *options = job->options;
    omen_effort effort = range_effort(index, options, &n_probes);
    const omen_list_spread *spread;
    if (job->stats)
        job->stats->lists.probes = n_probes;
    int status = omen_list_spread_get(index, job->n_threads, &spread, job->watch, job->why);
    if (status == OMEN_OK)
        status = raise_margin(&effort, index, job);
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
    uint32_t n_probes, n_rerank, n_more_probes; /* on average */
    if (job->ranges)
        return search_lists_within(index, job);
    omen_effort effort = job->row_sets ? omen_index_effort(index, k, recall, &n_probes, &n_rerank)
                                       : omen_index_effort_again(index, k, recall, &n_probes, &n_rerank);
    if (job->row_sets) {
        const omen_effort more =
            omen_index_effort(index, k, 1 - MISSED_BY_MARGIN * (1 - recall), &n_more_probes, &n_rerank);
        effort.margin = more.margin;
        effort.most_rows = more.most_rows;
        effort.lack = FILTERED_LACK;
    }
    effort.missed = MISSED_BY_LISTS * (1 - recall);
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
    return omen_apart_search(index, job->queries, job->row_sets, job->n_queries, k, job->n_threads, 0, job->keys,
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

/* The effort of a query under a filter: its k rows of the set are among so many of all rows, if the set has nothing to
 * do with where rows are. */
static omen_graph_effort filtered_effort(const omen_index *index, const omen_search_job *job, const omen_row_set *set)
{
    const omen_search_options *options = job->options;
    const float recall = options->recall > 0 ? options->recall : OMEN_DEFAULT_RECALL;
    const uint32_t k = omen_filter_rank(set, job->k);
    omen_graph_tune measured;
    omen_graph_effort effort = omen_graph_effort_for(index, k, 1 - MISSED_BY_GRAPH * (1 - recall), &measured);
    omen_graph_effort_scale(&effort, index, k, options->effort_factor);
    const double most = FILTERED_POOLS * fmax(2.0 * effort.least_pool, k);
    effort.most_pool = omen_graph_at_most(most, effort.most_pool);
    return effort;
}

/* Rows set apart, for the queries that the graph answered: those that it gave up are told by their having no key. */
static int search_apart_filtered(const omen_index *index, const omen_search_job *job)
{
    const uint64_t k = job->k;
    int status = OMEN_OK;
    for (uint64_t q = 0, n; q < job->n_queries && status == OMEN_OK; q += n + 1) {
        for (n = 0; q + n < job->n_queries && job->keys[(q + n) * k] != UINT64_MAX;)
            n++;
        if (n > 0)
            status = omen_apart_search(index, job->queries + q * index->meta.d, job->row_sets + q, n, job->k,
                                       job->n_threads, 0, job->keys + q * k, job->stats, job->watch, job->why);
    }
    return status;
}

static int search_graph_filtered(const omen_index *index, const omen_search_job *job)
{
    omen_graph_effort *efforts = omen_alloc(job->n_queries, sizeof *efforts);
    if (!efforts)
        return OMEN_ERR_MEMORY;
    for (uint64_t q = 0; q < job->n_queries; q++)
        efforts[q] = filtered_effort(index, job, job->row_sets[q]);
    int status = omen_search_graph(index, job->queries, job->row_sets, job->n_queries, job->k, efforts, job->n_threads,
                                   job->keys, job->stats, job->watch, job->why);
    free(efforts);
    return status == OMEN_OK && index->n_apart ? search_apart_filtered(index, job) : status;
}

static int search_graph(const omen_index *index, const omen_search_job *job)
{
    const omen_search_options *options = job->options;
    omen_graph_tune measured;
    omen_graph_effort effort =
        omen_graph_effort_for(index, job->k, options->recall > 0 ? options->recall : OMEN_DEFAULT_RECALL, &measured);
    omen_graph_effort_scale(&effort, index, job->k, options->effort_factor);
    if (job->stats) {
        job->stats->lists.probes = 0;
        job->stats->rerank = measured.n_rows;
    }
    if (job->row_sets)
        return search_graph_filtered(index, job);
    const int status = omen_search_graph(index, job->queries, NULL, job->n_queries, job->k, &effort, job->n_threads,
                                         job->keys, job->stats, job->watch, job->why);
    if (status != OMEN_OK || !index->n_apart)
        return status;
    return omen_apart_search(index, job->queries, NULL, job->n_queries, job->k, job->n_threads, 0, job->keys,
                             job->stats, job->watch, job->why);
}

/* ---- the choice ---- */

/* Relative costs beside those of graph.h, of queries one by one and of many, which share scans and products. Fitted to
 * times: docs/EXPERIMENTS.md. */
#define SHARING_QUERIES 64u
#define FILTERED_LIST   1.0 /* of each list, to be chosen or left out by what a filter lets pass of it */
static const struct {
    double code;       /* of a list, 32 bytes */
    double centroid;   /* a dimension of a centroid that a list is chosen by */
    double axis;       /* a value of the axes that a query is projected on, in bytes, */
    double lists_axis; /* and in float32: by lists on all, */
    double graph_axis; /* by the graph on those that codes hold anything of */
    double lists_query;
} costs[2] = {{0.130, 0.0091, 0.0010, 0.0071, 0.0097, 170}, {0.072, 0.0019, 0.0007, 0.0020, 0.0054, 362}};

static double lists_cost(const omen_index *index, uint32_t k, float recall, uint64_t n_queries)
{
    const omen_meta *m = &index->meta;
    const omen_tune_entry *most = omen_index_effort_most(index, k);
    uint32_t n_probes, n_rerank;
    if (!most || most->recall < recall)
        return 0;
    omen_index_effort_again(index, k, recall, &n_probes, &n_rerank);
    const double n_codes = n_probes * ((double)m->n_rows / m->n_lists), hot = (m->n_sub / 2 + m->n_factors) / 32.0;
    const size_t many = n_queries >= SHARING_QUERIES;
    const double axis = index->axes.for_lists ? costs[many].axis : costs[many].lists_axis;
    return n_codes * hot * costs[many].code + (double)m->n_lists * m->d_kept * costs[many].centroid +
           (double)m->d_full * m->d_kept * axis + costs[many].lists_query + omen_graph_rows_cost(n_rerank, m->d);
}

static double graph_cost(const omen_index *index, uint32_t k, float recall, uint64_t n_queries)
{
    omen_graph_tune measured;
    const size_t many = n_queries >= SHARING_QUERIES;
    const double axis = index->axes.for_graph ? costs[many].axis : costs[many].graph_axis;
    omen_graph_effort_for(index, k, recall, &measured);
    if (!measured.k || measured.recall < recall)
        return 0;
    return omen_graph_walk_cost(measured.n_estimates, measured.pool, index->graph.degree) +
           omen_graph_rows_cost(measured.n_rows, index->meta.d) +
           (double)index->meta.d_full * index->axes.n_graph * axis;
}

/* The way that was measured to cost less. */
static void choose_by_cost(const omen_index *index, const omen_search_options *o, omen_way_choice *out)
{
    out->way = OMEN_SEARCH_LISTS;
    if (o->has_within && !o->lists.probes && index->meta.refine != OMEN_REFINE_NONE &&
        index->meta.n_rows <= RANGE_FEW) {
        out->way = OMEN_SEARCH_EXACT;
        out->reason = "the index has few rows";
    } else if (!index->graph.degree)
        out->reason = "the index has no graph";
    else if (o->lists.probes || o->rerank)
        out->reason = "the effort asked for is that of lists";
    else if (o->row_sets)
        out->reason = "a filter goes through them, but where the graph costs less";
    else if (o->has_within)
        out->reason = "a search within a distance goes through them";
    else if (out->graph_cost > 0 && !(out->lists_cost > 0 && out->lists_cost <= out->graph_cost)) {
        out->way = OMEN_SEARCH_GRAPH;
        out->reason = out->lists_cost > 0 ? "it costs less" : "it alone reaches the recall";
    } else {
        out->reason = out->graph_cost > 0 ? "they cost less" : "the graph does not reach the recall";
    }
}

bool omen_filter_takes_graph(const omen_index *index, const omen_search_options *o, const omen_row_set *set)
{
    const float recall = o->recall > 0 ? o->recall : OMEN_DEFAULT_RECALL;
    const float asked = 1 - MISSED_BY_GRAPH * (1 - recall);
    const uint32_t k = omen_filter_rank(set, o->k);
    if (!index->graph.degree || o->has_within || o->lists.probes || o->rerank || k > index->meta.n_rows / 4)
        return false;
    if (o->way == OMEN_SEARCH_GRAPH)
        return true;
    /* a set that lacks the longest rows leaves rows, under ip, that the codes of all can hardly tell apart */
    if (o->way != OMEN_SEARCH_AUTO || k > omen_graph_most_k(index) || index->meta.metric == OMEN_METRIC_IP)
        return false;
    const double graph = graph_cost(index, k, asked, SHARING_QUERIES);
    const double lists = lists_cost(index, k, asked, SHARING_QUERIES);
    return graph > 0 && lists > 0 && graph < lists + FILTERED_LIST * index->meta.n_lists;
}

static int choose(const omen_index *index, const omen_search_options *o, uint64_t n_queries, omen_way_choice *out,
                  omen_detail *why)
{
    const uint32_t asked = o->has_within ? RANGE_K : o->k;
    const uint32_t k = asked < index->meta.n_rows ? asked : (uint32_t)index->meta.n_rows;
    const float recall = o->recall > 0 ? o->recall : OMEN_DEFAULT_RECALL;
    out->way = o->exact ? OMEN_SEARCH_EXACT : o->way;
    out->reason = "it was asked for";
    if (out->way > OMEN_SEARCH_EXACT)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "options.way is none that there is");
    if (out->way == OMEN_SEARCH_GRAPH && o->has_within)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "options.within: a graph is not searched for all rows within it");
    if (out->way == OMEN_SEARCH_GRAPH && !index->graph.degree)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the index has no graph; build it with options.graph.wanted");
    if (out->way == OMEN_SEARCH_GRAPH && (o->lists.probes || o->rerank))
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "options.lists.probes and options.rerank are of lists, not of a graph");
    out->can_reach = true;
    out->recall_most = 1;
    out->lists_cost = lists_cost(index, k, recall, n_queries);
    out->graph_cost = index->graph.degree ? graph_cost(index, k, recall, n_queries) : 0;
    if (out->way == OMEN_SEARCH_AUTO)
        choose_by_cost(index, o, out);
    if (out->way == OMEN_SEARCH_LISTS)
        out->can_reach = omen_index_can_reach(index, k, recall, &out->recall_most);
    else if (out->way == OMEN_SEARCH_GRAPH)
        out->can_reach = omen_graph_can_reach(index, k, recall, &out->recall_most);
    return OMEN_OK;
}

int omen_index_choose_way(const omen_index *index, const omen_search_options *options, uint64_t n_queries,
                          omen_way_choice *out, omen_detail *why)
{
    omen_search_options known;
    omen_way_choice made;
    int status = omen_sized_take(&known, sizeof known, options, "omen_search_options", why);
    if (status == OMEN_OK)
        status = omen_sized_take(&made, sizeof made, out, "omen_way_choice", why);
    if (status == OMEN_OK)
        status = choose(index, &known, n_queries, &made, why);
    if (status == OMEN_OK)
        omen_sized_give(out, &made);
    return status;
}

const omen_way omen_ways[OMEN_N_WAYS] = {
    [OMEN_WAY_LISTS] = {.check_sections = omen_lists_check_sections,
                        .open = omen_lists_open,
                        .close = omen_lists_close,
                        .check = omen_lists_check,
                        .search = search_lists,
                        .calibrate = omen_lists_calibrate,
                        .calibrate_bytes = omen_lists_calibrate_bytes,
                        .tables = {{OMEN_SECTION_TUNE, false}, {OMEN_SECTION_ATUN, true}}},
    [OMEN_WAY_EXACT] = {.search = search_exact},
    [OMEN_WAY_GRAPH] = {.check_sections = omen_graph_check_sections,
                        .open = omen_graph_open,
                        .close = omen_graph_close,
                        .check = omen_graph_check,
                        .search = search_graph,
                        .calibrate = omen_graph_calibrate,
                        .calibrate_bytes = omen_graph_calibrate_bytes,
                        .tables = {{OMEN_SECTION_GTUN, true}}},
};

int omen_index_get_effort(const omen_index *index, omen_search_way way, size_t i, omen_measured_effort *out)
{
    omen_measured_effort effort;
    const int status = omen_sized_take(&effort, sizeof effort, out, "omen_measured_effort", NULL);
    if (status != OMEN_OK)
        return status;
    const bool again = index->n_tune_again > 0; /* what a search without a filter goes by */
    if (way == OMEN_SEARCH_LISTS && i < (again ? index->n_tune_again : index->n_tune)) {
        const omen_tune_entry *e = again ? &index->tune_again[i] : &index->tune[i];
        effort = (omen_measured_effort){
            .struct_bytes = sizeof effort, .k = e->k, .recall = e->recall, .probes = e->n_lists, .rerank = e->n_rows};
    } else if (way == OMEN_SEARCH_GRAPH && i < index->graph.n_tune) {
        const omen_graph_tune *e = &index->graph.tune[i];
        effort = (omen_measured_effort){.struct_bytes = sizeof effort,
                                        .k = e->k,
                                        .recall = e->recall,
                                        .rerank = e->n_rows,
                                        .estimates = e->n_estimates};
    } else {
        return OMEN_ERR_ARGUMENT;
    }
    omen_sized_give(out, &effort);
    return OMEN_OK;
}
