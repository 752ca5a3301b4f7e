/* SPDX-License-Identifier: Apache-2.0 */
/* Several indexes as one: what they have in common, and their joint searches. The nearest rows are found through the
 * lists of all together (lists_joint.c); where nothing would be gained by that, each index is searched and the answers
 * are merged. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/apart.h"
#include "lib/joint.h"
#include "lib/lists/lists_joint.h"
#include "lib/matrix.h"
#include "lib/range.h"
#include "lib/row_set.h"
#include "lib/search.h"
#include "lib/sized.h"
#include "lib/watch.h"

/* ---- the indexes ---- */

/* What two indexes cannot differ in. */
static int check_pair(const omen_joint *joint, size_t i, omen_detail *why)
{
    const omen_meta *a = &joint->indexes[0]->meta, *b = &joint->indexes[i]->meta;
    const char *name_a = joint->names[0], *name_b = joint->names[i];
    if (a->metric != b->metric)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "%.150s is an index of metric %s, and %.150s of %s", name_a,
                         omen_metric_name(a->metric), name_b, omen_metric_name(b->metric));
    if (a->d != b->d)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "%.150s has %u dimensions, and %.150s has %u", name_a, a->d, name_b,
                         b->d);
    if ((a->refine == OMEN_REFINE_NONE) != (b->refine == OMEN_REFINE_NONE))
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "%.150s has %s refine tier, and %.150s %s: estimates and distances cannot be compared", name_a,
                         a->refine == OMEN_REFINE_NONE ? "no" : "a", name_b,
                         b->refine == OMEN_REFINE_NONE ? "none" : "has one");
    return OMEN_OK;
}

static char *name_of(const char *const *names, size_t i)
{
    char text[32];
    snprintf(text, sizeof text, "index %zu", i);
    return strdup(names ? names[i] : text);
}

int omen_joint_create(omen_joint **out, const omen_index *const *indexes, const char *const *names, size_t n,
                      omen_detail *why)
{
    *out = NULL;
    if (n < 1)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "no index to search");
    omen_joint *joint = omen_alloc_zero(1, sizeof *joint);
    int status = OMEN_ERR_MEMORY;
    if (!joint)
        goto out;
    joint->indexes = omen_alloc_zero(n, sizeof *joint->indexes);
    joint->names = omen_alloc_zero(n, sizeof *joint->names);
    joint->first = omen_alloc_zero(n + 1, sizeof *joint->first);
    joint->models = omen_alloc_zero(n, sizeof *joint->models);
    if (!joint->indexes || !joint->names || !joint->first || !joint->models)
        goto out;
    status = OMEN_OK;
    for (size_t i = 0; i < n && status == OMEN_OK; i++) {
        joint->indexes[i] = indexes[i];
        joint->first[i + 1] = joint->first[i] + indexes[i]->meta.n_rows;
        joint->names[i] = name_of(names, i);
        joint->n = i + 1;
        status = joint->names[i] ? check_pair(joint, i, why) : OMEN_ERR_MEMORY;
        if (status == OMEN_OK && joint->first[i + 1] > OMEN_MAX_ROWS)
            status =
                omen_fail(why, OMEN_ERR_ARGUMENT,
                          "with %.190s there are more than %u rows, which is the most that can be searched together",
                          joint->names[i], OMEN_MAX_ROWS);
    }
    if (status == OMEN_OK)
        status = omen_joint_find_models(joint->models, joint->indexes, n);
out:
    if (status == OMEN_OK) {
        *out = joint;
        return OMEN_OK;
    }
    omen_joint_destroy(joint);
    return status == OMEN_ERR_MEMORY ? omen_fail(why, status, "out of memory") : status;
}

void omen_joint_destroy(omen_joint *joint)
{
    if (!joint)
        return;
    for (size_t i = 0; i < joint->n; i++) {
        free(joint->names[i]);
        if (joint->models)
            free(joint->models[i].sums);
    }
    free(joint->models);
    free(joint->indexes);
    free(joint->names);
    free(joint->first);
    free(joint);
}

uint64_t omen_joint_row_count(const omen_joint *joint)
{
    return joint->first[joint->n];
}

size_t omen_joint_find(const omen_joint *joint, uint64_t row, uint64_t *own_row)
{
    const size_t i = omen_joint_part(joint, row);
    if (own_row)
        *own_row = row - joint->first[i];
    return i;
}

/* Whether the refine tier of a keeps less of the nearest rows than that of b. */
static bool is_rounded_more(const omen_index *a, const omen_index *b)
{
    const double of_a = omen_index_ceiling(a, NULL), of_b = omen_index_ceiling(b, NULL);
    return of_a < of_b || (of_a == of_b && omen_index_rows_are_exact(b) && !omen_index_rows_are_exact(a));
}

int omen_joint_get_info(const omen_joint *joint, omen_index_info *out)
{
    omen_index_info all = {.struct_bytes = sizeof all}, own = all;
    const size_t program_bytes = out->struct_bytes;
    size_t worst = 0;
    if (program_bytes == 0 || program_bytes > sizeof all)
        return OMEN_ERR_ARGUMENT;
    int status = omen_index_get_info(joint->indexes[0], &all);
    for (size_t i = 1; i < joint->n && status == OMEN_OK; i++) {
        status = omen_index_get_info(joint->indexes[i], &own);
        if (is_rounded_more(joint->indexes[i], joint->indexes[worst])) {
            worst = i;
            all.refine = own.refine;
        }
        all.n_rows += own.n_rows;
        all.lists.n += own.lists.n;
        all.centroid_bytes += own.centroid_bytes;
        all.refine_bytes += own.refine_bytes;
        all.id_bytes += own.id_bytes;
        all.model_bytes += own.model_bytes;
        all.key_bytes += own.key_bytes;
        all.column_bytes += own.column_bytes;
        all.graph.bytes += own.graph.bytes;
        all.zero_ok |= own.zero_ok;
        all.key_kind = all.key_kind == own.key_kind ? own.key_kind : OMEN_KEYS_NONE;
        all.key_most_bytes = all.key_most_bytes > own.key_most_bytes ? all.key_most_bytes : own.key_most_bytes;
    }
    all.struct_bytes = program_bytes;
    memcpy(out, &all, program_bytes);
    return status;
}

double omen_joint_ceiling(const omen_joint *joint, double *at_least)
{
    double least = 1, known = 1;
    for (size_t i = 0; i < joint->n; i++) {
        double own;
        least = fmin(least, omen_index_ceiling(joint->indexes[i], &own));
        known = fmin(known, own);
    }
    if (at_least)
        *at_least = known;
    return least;
}

bool omen_joint_rows_are_exact(const omen_joint *joint)
{
    for (size_t i = 0; i < joint->n; i++)
        if (!omen_index_rows_are_exact(joint->indexes[i]))
            return false;
    return true;
}

/* ---- the way ---- */

int omen_joint_choose_way(const omen_joint *joint, const omen_search_options *options, uint64_t n_queries,
                          omen_way_choice *out, omen_detail *why)
{
    omen_search_options known;
    omen_way_choice made;
    if (joint->n == 1)
        return omen_index_choose_way(joint->indexes[0], options, n_queries, out, why);
    int status = omen_sized_take(&known, sizeof known, options, "omen_search_options", why);
    if (status == OMEN_OK)
        status = omen_sized_take(&made, sizeof made, out, "omen_way_choice", why);
    if (status != OMEN_OK)
        return status;
    if (known.way > OMEN_SEARCH_EXACT || known.way == OMEN_SEARCH_GRAPH)
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         known.way == OMEN_SEARCH_GRAPH ? "several indexes are not searched through their graphs"
                                                        : "options.way is none that there is");
    const bool is_exact = known.exact || known.way == OMEN_SEARCH_EXACT;
    made.reason = is_exact || known.way == OMEN_SEARCH_LISTS ? "it was asked for" : "several indexes go through them";
    made.way = is_exact ? OMEN_SEARCH_EXACT : OMEN_SEARCH_LISTS;
    made.lists_cost = made.graph_cost = 0;
    made.can_reach = true;
    made.recall_most = 1;
    for (size_t i = 0; i < joint->n && !is_exact; i++) {
        const omen_meta *m = &joint->indexes[i]->meta;
        const float recall = known.recall > 0 ? known.recall : OMEN_DEFAULT_RECALL;
        const uint64_t k = known.has_within || known.k < 1 ? 1 : known.k;
        double most;
        made.can_reach &=
            omen_index_can_reach(joint->indexes[i], (uint32_t)(k < m->n_rows ? k : m->n_rows), recall, &most);
        made.recall_most = fmin(made.recall_most, most);
    }
    omen_sized_give(out, &made);
    return OMEN_OK;
}

/* ---- the k nearest ---- */

/* How many of k rows a query can find. */
static uint32_t rows_to_find(const omen_joint *joint, const omen_search_job *job, uint64_t query)
{
    uint64_t n = 0;
    for (size_t i = 0; i < joint->n; i++) {
        const omen_row_set *set = job->row_sets ? job->row_sets[i * job->n_queries + query] : NULL;
        n += set ? omen_row_set_count(set) : joint->indexes[i]->meta.n_rows;
    }
    return n < job->k ? (uint32_t)n : job->k;
}

/* Puts n rising keys of rows from first_row on into the k rising ones of a query. work has room for k. */
static void merge(uint64_t *keys, uint32_t k, const uint64_t *own, uint32_t n, uint64_t first_row, uint64_t *work)
{
    uint32_t a = 0, b = 0;
    for (uint32_t i = 0; i < k; i++) {
        const bool has_own = b < n && own[b] != UINT64_MAX && own[b] + first_row < keys[a];
        work[i] = has_own ? own[b++] + first_row : keys[a++];
    }
    memcpy(keys, work, k * sizeof *keys);
}

/* Searches one index after the other, each for all that is wanted. */
static int search_each(const omen_joint *joint, const omen_search_options *options, const omen_search_job *job)
{
    uint64_t *own = omen_alloc(job->n_queries * job->k, sizeof *own), *work = omen_alloc(job->k, sizeof *work);
    int status = own && work ? OMEN_OK : OMEN_ERR_MEMORY;
    uint64_t n_searched = job->stats ? job->stats->n_queries : 0;
    for (uint64_t i = 0; i < job->n_queries * job->k; i++)
        job->keys[i] = UINT64_MAX;
    for (size_t i = 0; i < joint->n && status == OMEN_OK; i++) {
        const omen_index *index = joint->indexes[i];
        omen_search_options own_options = *options;
        omen_search_job own_job = *job;
        own_options.row_sets = job->row_sets ? job->row_sets + i * job->n_queries : NULL;
        if (own_options.way == OMEN_SEARCH_AUTO && !own_options.exact)
            own_options.way = OMEN_SEARCH_LISTS; /* not the graph of one of them */
        own_job.options = &own_options;
        own_job.row_sets = NULL; /* the options have them */
        own_job.k = job->k < index->meta.n_rows ? job->k : (uint32_t)index->meta.n_rows;
        own_job.keys = own;
        status = omen_joint_blame(joint, i, omen_search_run(index, &own_options, &own_job), job->why);
        for (uint64_t q = 0; q < job->n_queries && status == OMEN_OK; q++)
            merge(job->keys + q * job->k, job->k, own + q * own_job.k, own_job.k, joint->first[i], work);
    }
    if (job->stats) /* not once for every index */
        job->stats->n_queries = n_searched + job->n_queries;
    free(own);
    free(work);
    return status;
}

/* Through the lists of all together, and the rows that are apart. */
static int search_lists(const omen_joint *joint, const omen_search_job *job)
{
    int status = omen_search_lists_joint(joint, job);
    for (size_t i = 0; i < joint->n && status == OMEN_OK; i++)
        if (joint->indexes[i]->n_apart)
            status = omen_joint_blame(joint, i,
                                      omen_apart_search(joint->indexes[i], job->queries, NULL, job->n_queries, job->k,
                                                        job->n_threads, (uint32_t)joint->first[i], job->keys,
                                                        job->stats, job->watch, job->why),
                                      job->why);
    return status;
}

/* The rows with the lowest numbers, for a query that is as far from all of them. */
static int fill_zero(const omen_joint *joint, const omen_search_job *job, uint64_t query, uint64_t *keys)
{
    uint32_t n = 0;
    int status = OMEN_OK;
    for (size_t i = 0; i < joint->n && n < job->k && status == OMEN_OK; i++) {
        const omen_row_set *set = job->row_sets ? job->row_sets[i * job->n_queries + query] : NULL;
        const uint64_t n_rows = set ? omen_row_set_count(set) : joint->indexes[i]->meta.n_rows;
        const uint32_t n_own = n_rows < job->k - n ? (uint32_t)n_rows : job->k - n;
        if (set)
            status = omen_row_set_first(set, n_own, keys + n);
        for (uint32_t j = n; j < n + n_own; j++)
            keys[j] = set ? keys[j] + joint->first[i] : omen_key(1, (uint32_t)joint->first[i] + j - n);
        n += n_own;
    }
    return status;
}

static int search_all(const omen_joint *joint, const omen_search_options *options, const omen_search_job *job,
                      int64_t *ids, float *distances)
{
    const omen_index *first = joint->indexes[0];
    const bool is_exact = options->exact || options->way == OMEN_SEARCH_EXACT;
    int status = is_exact || job->row_sets ? search_each(joint, options, job) : search_lists(joint, job);
    uint32_t *n_found = omen_alloc(job->n_queries, sizeof *n_found);
    if (!n_found)
        status = OMEN_ERR_MEMORY;
    for (uint64_t q = 0; q < job->n_queries && status == OMEN_OK; q++) {
        n_found[q] = rows_to_find(joint, job, q);
        if (omen_search_is_zero(first, options, job->queries + q * first->meta.d))
            status = fill_zero(joint, job, q, job->keys + q * job->k);
    }
    if (status == OMEN_OK)
        status = omen_search_check_results(joint->first[joint->n], job->keys, job->n_queries, job->k, n_found,
                                           job->n_threads, job->why);
    for (uint64_t q = 0; q < job->n_queries && status == OMEN_OK; q++)
        omen_search_put_found(job->keys + q * job->k, n_found[q], options->k, ids + q * options->k,
                              distances ? distances + q * options->k : NULL);
    free(n_found);
    if (job->stats)
        job->stats->way = is_exact ? OMEN_SEARCH_EXACT : OMEN_SEARCH_LISTS;
    return status;
}

int omen_joint_search(const omen_joint *joint, const omen_search_options *options, const float *queries,
                      uint64_t n_queries, int64_t *ids, float *distances, omen_search_stats *stats, omen_detail *why)
{
    omen_search_options known;
    omen_search_stats sums;
    omen_way_choice choice = {.struct_bytes = sizeof choice};
    if (joint->n == 1)
        return omen_joint_blame(
            joint, 0, omen_index_search(joint->indexes[0], options, queries, n_queries, ids, distances, stats, why),
            why);
    int status = omen_sized_take(&known, sizeof known, options, "omen_search_options", why);
    if (status == OMEN_OK && stats)
        status = omen_sized_take(&sums, sizeof sums, stats, "omen_search_stats", why);
    if (status == OMEN_OK)
        status = omen_joint_choose_way(joint, &known, n_queries, &choice, why);
    if (status == OMEN_OK && (known.k < 1 || known.has_within))
        status = omen_fail(why, OMEN_ERR_ARGUMENT,
                           known.k < 1 ? "k must be at least 1" : "options.within is for omen_joint_search_within()");
    if (status == OMEN_OK)
        status = omen_search_check_queries(joint->indexes[0], &known, queries, n_queries, why);
    if (status != OMEN_OK)
        return status;
    const uint64_t n_rows = joint->first[joint->n];
    const uint32_t k = known.k < n_rows ? known.k : (uint32_t)n_rows;
    uint64_t *keys = omen_alloc(n_queries * k, sizeof *keys);
    const bool is_one_search = choice.way == OMEN_SEARCH_LISTS && !known.row_sets; /* whose progress can be told */
    omen_watch watch = is_one_search ? omen_watch_make_search(known.progress, known.progress_context, n_queries)
                                     : omen_watch_make(known.progress, known.progress_context, "search");
    const omen_search_job job = {.options = &known,
                                 .queries = queries,
                                 .n_queries = n_queries,
                                 .k = k,
                                 .n_threads = known.n_threads > 0 ? known.n_threads : omen_cpu_count(),
                                 .keys = keys,
                                 .stats = stats ? &sums : NULL,
                                 .watch = &watch,
                                 .why = why,
                                 .row_sets = known.row_sets};
    status = keys ? search_all(joint, &known, &job, ids, distances) : OMEN_ERR_MEMORY;
    free(keys);
    if (stats)
        omen_sized_give(stats, &sums);
    if (status == OMEN_ERR_INTERRUPTED)
        return omen_fail(why, status, "interrupted");
    return status == OMEN_ERR_MEMORY ? omen_fail(why, status, "out of memory") : status;
}

/* ---- all within a distance ---- */

/* Makes *out of what each of the indexes found. */
static int join_found(const omen_joint *joint, omen_found *const *own, uint64_t n_queries, uint64_t limit,
                      omen_found *out)
{
    uint64_t n_most = 0, n = 0;
    int status = OMEN_OK;
    for (size_t i = 0; i < joint->n; i++)
        n_most += own[i]->first[n_queries];
    out->n_queries = n_queries;
    out->first = omen_alloc(n_queries + 1, sizeof *out->first);
    out->is_cut = omen_alloc(n_queries, sizeof *out->is_cut);
    out->ids = omen_alloc(n_most, sizeof *out->ids);
    out->distances = omen_alloc(n_most, sizeof *out->distances);
    if (!out->first || !out->is_cut || !out->ids || !out->distances)
        return OMEN_ERR_MEMORY;
    for (uint64_t q = 0; q < n_queries && status == OMEN_OK; q++) {
        omen_range range = {.n = 0};
        bool is_cut = false;
        for (size_t i = 0; i < joint->n && status == OMEN_OK; i++) {
            is_cut |= own[i]->is_cut[q];
            for (uint64_t at = own[i]->first[q]; at < own[i]->first[q + 1] && status == OMEN_OK; at++)
                status = omen_range_add(
                    &range, omen_key(own[i]->distances[at], (uint32_t)((uint64_t)own[i]->ids[at] + joint->first[i])),
                    limit);
        }
        out->is_cut[q] = omen_range_finish(&range, limit) || is_cut;
        out->first[q] = n;
        for (uint64_t j = 0; j < range.n && status == OMEN_OK; j++, n++) {
            out->ids[n] = (uint32_t)range.keys[j];
            out->distances[n] = omen_key_distance(range.keys[j]);
        }
        free(range.keys);
    }
    out->first[n_queries] = n;
    return status;
}

/* Who is asked whether to stop: of one search after the other there is no progress to tell. */
typedef struct {
    omen_progress_fn progress;
    void *context;
} asking;

static int ask(void *context, const char *stage, uint64_t done, uint64_t total)
{
    const asking *a = context;
    return a->progress(a->context, stage, 0, total);
}

int omen_joint_search_within(const omen_joint *joint, const omen_search_options *options, const float *queries,
                             uint64_t n_queries, omen_found **out, omen_search_stats *stats, omen_detail *why)
{
    omen_search_options known;
    omen_way_choice choice = {.struct_bytes = sizeof choice};
    *out = NULL;
    int status = omen_sized_take(&known, sizeof known, options, "omen_search_options", why);
    if (status == OMEN_OK && joint->n > 1)
        status = omen_joint_choose_way(joint, &known, n_queries, &choice, why);
    if (status != OMEN_OK)
        return status;
    asking asks = {known.progress, known.progress_context};
    if (known.progress && joint->n > 1) {
        known.progress = ask;
        known.progress_context = &asks;
    }
    omen_found **own = omen_alloc_zero(joint->n, sizeof *own), *found = calloc(1, sizeof *found);
    const uint64_t n_searched = stats ? stats->n_queries : 0;
    status = own && found ? OMEN_OK : OMEN_ERR_MEMORY;
    for (size_t i = 0; i < joint->n && status == OMEN_OK; i++) {
        omen_search_options own_options = known;
        own_options.row_sets = known.row_sets ? known.row_sets + i * n_queries : NULL;
        status = omen_index_search_within(joint->indexes[i], &own_options, queries, n_queries, &own[i], stats, why);
        status = omen_joint_blame(joint, i, status, why);
    }
    if (stats) /* not once for every index */
        stats->n_queries = n_searched + n_queries;
    if (status == OMEN_OK)
        status = join_found(joint, own, n_queries, known.limit, found);
    for (size_t i = 0; i < joint->n && own; i++)
        omen_found_destroy(own[i]);
    free(own);
    if (status == OMEN_OK) {
        *out = found;
        return OMEN_OK;
    }
    omen_found_destroy(found);
    return status == OMEN_ERR_MEMORY ? omen_fail(why, status, "out of memory for what is within the distance") : status;
}
