/* SPDX-License-Identifier: Apache-2.0 */
/* The way through the lists of several indexes at once: as lists_search.c goes through one, but for what is found.
 *
 * A query has one pool. Its keys are (estimate, joint row), the estimates corrected by what those of each index are
 * known to be too large by (lists_bias.h), so that all are distances in one space (under ip the lifted one of the
 * longest radius). The first lists are the nearest few of every index; the k-th best estimate in all of them is d_k^2,
 * for all.
 *
 * c of k rows are in an index, as told by more than k of the best estimates. So its own c-th neighbour is as far as the
 * k-th of all, and it has to be searched as was measured for c neighbours, not k. That is why an index that shares the
 * rows of a place with others is searched for less there, and one that has nothing there for next to nothing. What is
 * re-ranked is within one margin of the k-th best of all: the widest of those indexes that hold some of the rows, since
 * the rows that were luckiest in one make the k-th best. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/lists/lists_bias.h"
#include "lib/lists/lists_joint.h"
#include "lib/lists/lists_search.h"

#define CHUNK        512u         /* most queries of a chunk */
#define CHUNK_BYTES  (128u << 20) /* most that what grows with the queries of a chunk of more than one takes */
#define ASK_AHEAD    16u          /* queries whose refine rows are prefetched before they are used */
#define COUNTS       129u         /* of rows in one index, for which efforts are kept; for others they are made anew */
#define RADII_MOST   1e6f         /* a smaller radius is none beside the longest */
#define CROWDED_MOST 1.0f         /* as OMEN_CROWDED_MOST; less, since the first lists are many */

/* An index that has few of the k rows is searched less far than for these alone, and more is left to the margin, which
 * is that for more neighbours. Together both find what is asked for (docs/EXPERIMENTS.md). */
#define REACH_LEAST       0.87f
#define REACH_LEAST_APART 0.95f /* of models that differ */

/* What all chunks of a search share. */
typedef struct {
    const omen_joint *joint;
    const omen_search_job *job;
    const omen_list_bias *biases; /* n */
    uint32_t k, n_most;
    uint32_t n_counts;
    omen_effort *efforts; /* n x n_counts: of index i, for c of its rows */
    omen_lists_share *shares;
    float margin;  /* the widest that one of the indexes may ask for */
    bool is_fixed; /* the number of re-ranked rows */
    bool differ;   /* the models */
    bool refine_cold;
} joint_plan;

/* How many of the best estimates of a query are in one index. */
typedef struct {
    uint32_t n, n_best;
} joint_share;

/* One thread's chunk of queries. */
typedef struct {
    const joint_plan *plan;
    omen_lists_chunk *parts; /* n */
    const float **rows;      /* n: the queries, as refine rows of each index are compared with them */
    float *kth;              /* of each query: the k-th estimate of the first lists */
    joint_share *counts;     /* queries x n; in the end n are keys of the pool */
    uint32_t *starts;        /* n: room to order them */
    size_t failed;           /* the index at fault */
} joint_chunk;

/* ---- the plan ---- */

/* The effort of one index that has c of the rows wanted. */
static omen_effort make_effort(const omen_index *index, const omen_search_options *o, uint32_t c, uint32_t *n_probes,
                               uint32_t *n_rerank)
{
    const omen_meta *m = &index->meta;
    const uint32_t k = c < 1 ? 1 : c < m->n_rows ? c : (uint32_t)m->n_rows;
    omen_effort e = omen_index_effort(index, k, o->recall > 0 ? o->recall : OMEN_DEFAULT_RECALL, n_probes, n_rerank);
    if (!index->n_tune) /* of too few rows to measure anything */
        e.least_lists = e.most_lists = m->n_lists;
    else if (c == 0 && e.least_lists < e.most_lists)
        e.least_lists = e.first_lists;
    omen_effort_scale(&e, index, o->effort_factor);
    if (o->lists.probes) {
        *n_probes = o->lists.probes < m->n_lists ? o->lists.probes : m->n_lists;
        e.least_lists = e.most_lists = *n_probes;
        e.first_lists = e.first_lists < *n_probes ? e.first_lists : *n_probes;
    }
    return e;
}

static omen_effort effort_of(const joint_plan *plan, size_t i, uint32_t c)
{
    uint32_t n_probes, n_rerank;
    return c < plan->n_counts ? plan->efforts[i * plan->n_counts + c]
                              : make_effort(plan->joint->indexes[i], plan->job->options, c, &n_probes, &n_rerank);
}

/* Rows of the k that are in an index. */
static uint32_t count_of(const joint_plan *plan, joint_share share)
{
    return (uint32_t)(((uint64_t)share.n * plan->k + share.n_best - 1) / share.n_best);
}

/* The margin of one index that has c of the k rows, in its own estimates; below 0 if nothing was measured. It is that
 * for neighbours between c and k: nearer to k where all have one model, and nothing is lost between models. */
static float margin_of(const joint_plan *plan, size_t i, uint32_t c)
{
    const float k = (float)plan->k, middle = sqrtf((float)(c < 1 ? 1 : c) * k);
    const float wanted = (plan->differ ? middle : sqrtf(middle * sqrtf(middle * k))) + 0.5f;
    return plan->joint->indexes[i]->n_tune ? effort_of(plan, i, (uint32_t)wanted).margin : -1;
}

/* The rows of k that own_rows of all have if they are spread as all are; together they are at least k. */
static uint32_t part_of_k(const joint_plan *plan, uint64_t own_rows)
{
    const double all = (double)plan->joint->first[plan->joint->n], own = (double)own_rows;
    const double part = ceil((double)plan->k * own / all);
    return part < own ? (uint32_t)part : (uint32_t)own;
}

/* The effort of an index that has a share of the k rows. */
static omen_effort share_effort(const joint_plan *plan, size_t i, joint_share share)
{
    omen_effort e = effort_of(plan, i, count_of(plan, share));
    const float least = plan->differ ? REACH_LEAST_APART : REACH_LEAST;
    e.reach *= least + (1 - least) * (float)share.n / (float)share.n_best;
    return e;
}

/* The effort of all indexes of a model: the average of theirs, by their shares; or the most of what they take where
 * they hold nothing. It does not depend on their order. */
static omen_effort model_effort(const joint_plan *plan, size_t owner, const joint_share *shares)
{
    const omen_joint_model *models = plan->joint->models;
    omen_effort all = share_effort(plan, owner, shares[owner]);
    double sum = 0, reach = 0, least = 0;
    float most_reach = 0;
    uint32_t most_least = 0, most_lists = 0;
    if (!models[owner].sums)
        return all;
    for (size_t i = owner; i != SIZE_MAX; i = models[i].next) {
        if (!plan->joint->indexes[i]->n_tune)
            continue;
        const omen_effort e = share_effort(plan, i, shares[i]);
        sum += shares[i].n;
        reach += shares[i].n * (double)e.reach;
        least += shares[i].n * (double)e.least_lists;
        most_reach = e.reach > most_reach ? e.reach : most_reach;
        most_least = e.least_lists > most_least ? e.least_lists : most_least;
        most_lists = e.most_lists > most_lists ? e.most_lists : most_lists;
    }
    if (most_lists == 0) /* nothing was measured of any */
        return all;
    all.reach = sum > 0 ? (float)(reach / sum) : most_reach;
    all.least_lists = sum > 0 ? (uint32_t)ceil(least / sum) : most_least;
    all.most_lists = most_lists;
    return all;
}

static omen_lists_share make_share(const omen_index *index, const omen_list_bias *bias, uint64_t first_row,
                                   float most_radius2)
{
    const double radius = sqrt((double)index->meta.ip_radius2), most = sqrt((double)most_radius2);
    omen_lists_share share = {1 / (1 - bias->slope), 0, (uint32_t)first_row};
    if (index->meta.metric != OMEN_METRIC_IP || radius == most)
        return share;
    if (radius * (double)RADII_MOST > most) {
        share.factor *= (float)(most / radius);
        share.offset = (float)(2 * most * (most - radius));
    } else
        share.offset = 2 * most_radius2; /* every row is about at distance 0 */
    return share;
}

static bool is_less(const omen_list_bias *a, const omen_list_bias *b)
{
    return a->slope != b->slope       ? a->slope < b->slope
           : a->at_zero != b->at_zero ? a->at_zero < b->at_zero
                                      : a->nearest2 < b->nearest2;
}

/* The biases of all indexes, measured by the first search. */
static int get_biases(joint_plan *plan)
{
    const omen_joint *joint = plan->joint;
    const omen_search_job *job = plan->job;
    /* a joint is on the heap and was made writable; a search sets nothing of it but this, once */
    omen_list_bias **place = (omen_list_bias **)&joint->biases, *before = NULL;
    int status = OMEN_OK;
    plan->biases = __atomic_load_n(place, __ATOMIC_ACQUIRE);
    if (plan->biases)
        return OMEN_OK;
    omen_list_bias *biases = omen_alloc(joint->n, sizeof *biases);
    if (!biases)
        return OMEN_ERR_MEMORY;
    for (size_t i = 0; i < joint->n && status == OMEN_OK; i++) {
        biases[i] = (omen_list_bias){.at_zero = 0};
        if (plan->differ)
            status = omen_joint_blame(
                joint, i, omen_list_bias_measure(joint->indexes[i], job->n_threads, &biases[i], job->watch, job->why),
                job->why);
    }
    for (size_t i = 0; i < joint->n && status == OMEN_OK; i++) /* which is one of a model */
        for (size_t j = joint->models[i].owner == i ? i : SIZE_MAX; j != SIZE_MAX; j = joint->models[j].next)
            biases[i] = is_less(&biases[j], &biases[i]) ? biases[j] : biases[i];
    for (size_t i = 0; i < joint->n && status == OMEN_OK; i++)
        biases[i] = biases[joint->models[i].owner];
    if (status != OMEN_OK) {
        free(biases);
        return status;
    }
    if (!__atomic_compare_exchange_n(place, &before, biases, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        free(biases); /* another thread was first, with the same */
        biases = before;
    }
    plan->biases = biases;
    return OMEN_OK;
}

/* How many candidates of all indexes are re-ranked at most, by what was measured of one; *n_average: on average. */
static uint32_t most_rows_by(const joint_plan *plan, const omen_index *index, uint32_t *n_average)
{
    const omen_search_options *o = plan->job->options;
    const uint64_t n_all = plan->joint->first[plan->joint->n];
    const float recall = o->recall > 0 ? o->recall : OMEN_DEFAULT_RECALL;
    uint32_t n_probes;
    const omen_effort e = omen_index_effort_among(index, plan->k, recall, n_all, &n_probes, n_average);
    const double n = ceil((double)e.most_rows * (o->effort_factor > 0 ? (double)o->effort_factor : 1));
    return n < (double)n_all ? (uint32_t)n : (uint32_t)n_all;
}

/* Efforts, and what depends on them. */
static void plan_efforts(joint_plan *plan)
{
    const omen_joint *joint = plan->joint;
    const omen_search_job *job = plan->job;
    const omen_search_options *o = job->options;
    uint32_t n_probes, n_rerank, most_rerank = 0, sum_probes = 0;
    for (size_t i = 0; i < joint->n; i++) {
        for (uint32_t c = 0; c < plan->n_counts; c++)
            plan->efforts[i * plan->n_counts + c] = make_effort(joint->indexes[i], o, c, &n_probes, &n_rerank);
        const uint32_t n_most = most_rows_by(plan, joint->indexes[i], &n_rerank);
        plan->n_most = n_most > plan->n_most ? n_most : plan->n_most;
        most_rerank = n_rerank > most_rerank ? n_rerank : most_rerank;
        make_effort(joint->indexes[i], o, part_of_k(plan, joint->indexes[i]->meta.n_rows), &n_probes, &n_rerank);
        sum_probes += n_probes;
        plan->margin =
            fmaxf(plan->margin, plan->shares[i].factor * fmaxf(margin_of(plan, i, 1), margin_of(plan, i, job->k)));
    }
    if (o->rerank)
        plan->n_most = most_rerank = o->rerank < joint->first[joint->n] ? o->rerank : (uint32_t)joint->first[joint->n];
    if (plan->n_most < job->k || joint->indexes[0]->meta.refine == OMEN_REFINE_NONE)
        plan->n_most = most_rerank = job->k;
    if (job->stats) {
        job->stats->lists.probes = sum_probes;
        job->stats->rerank = most_rerank;
    }
}

static int plan_init(joint_plan *plan, const omen_joint *joint, const omen_search_job *job)
{
    float most_radius2 = 0;
    *plan = (joint_plan){.joint = joint, .job = job, .k = job->k, .margin = -1, .is_fixed = job->options->rerank > 0};
    plan->n_counts = job->k < COUNTS ? job->k + 1 : COUNTS;
    for (size_t i = 0; i < joint->n; i++)
        plan->differ |= joint->models[i].owner > 0;
    plan->efforts = omen_alloc(joint->n * plan->n_counts, sizeof *plan->efforts);
    plan->shares = omen_alloc(joint->n, sizeof *plan->shares);
    const int status = plan->efforts && plan->shares ? get_biases(plan) : OMEN_ERR_MEMORY;
    if (status != OMEN_OK)
        return status;
    for (size_t i = 0; i < joint->n; i++)
        most_radius2 = fmaxf(most_radius2, joint->indexes[i]->meta.ip_radius2);
    for (size_t i = 0; i < joint->n; i++)
        plan->shares[i] = make_share(joint->indexes[i], &plan->biases[i], joint->first[i], most_radius2);
    plan_efforts(plan);
    if (plan->is_fixed || plan->margin < 0) /* or nothing was measured */
        plan->margin = INFINITY;
    return OMEN_OK;
}

static void plan_finish(joint_plan *plan)
{
    free(plan->efforts);
    free(plan->shares);
}

/* ---- a chunk ---- */

static void chunk_finish(joint_chunk *c)
{
    for (size_t i = c->plan->joint->n; c->parts && i-- > 0;)
        omen_lists_chunk_finish(&c->parts[i]);
    free(c->parts);
    free(c->rows);
    free(c->kth);
    free(c->counts);
    free(c->starts);
}

static int chunk_init(joint_chunk *c, const joint_plan *plan, size_t n_queries)
{
    const size_t n = plan->joint->n;
    int status = OMEN_OK;
    *c = (joint_chunk){.plan = plan};
    c->parts = omen_alloc_zero(n, sizeof *c->parts);
    c->rows = omen_alloc(n, sizeof *c->rows);
    c->kth = omen_alloc(n_queries, sizeof *c->kth);
    c->counts = omen_alloc(n_queries * n, sizeof *c->counts);
    c->starts = omen_alloc(n, sizeof *c->starts);
    if (!c->parts || !c->rows || !c->kth || !c->counts || !c->starts)
        return OMEN_ERR_MEMORY;
    for (size_t i = 0; i < n; i++)
        c->counts[i] = (joint_share){0, 1};
    for (size_t i = 0; i < n && status == OMEN_OK; i++) {
        omen_lists_chunk *s = &c->parts[i];
        const omen_joint_model *model = &plan->joint->models[i];
        if (model->owner < i) {
            omen_lists_chunk_share(s, plan->joint->indexes[i], &c->parts[model->owner]);
            s->share = &plan->shares[i];
            continue;
        }
        omen_effort effort = model_effort(plan, i, c->counts);
        effort.most_rows = plan->n_most;
        status = omen_lists_chunk_init(s, plan->joint->indexes[i], plan->k, &effort, false, false, n_queries,
                                       i > 0 ? c->parts : NULL);
        s->k = part_of_k(plan, model->n_rows); /* what its lists have to hold */
        s->first = model->sums ? model->sums : s->first;
        s->f_step_max = model->f_step_max;
        s->g_max = model->g_max;
        s->keys_are_ids = false;
        s->share = &plan->shares[i];
        s->watch = plan->job->watch;
    }
    return status;
}

/* Bytes that a query takes in a chunk. */
static uint64_t query_bytes(const joint_plan *plan)
{
    uint64_t n_bytes = 16 * (uint64_t)plan->n_most;
    for (size_t i = 0; i < plan->joint->n; i++) {
        const omen_meta *m = &plan->joint->indexes[i]->meta;
        if (plan->joint->models[i].owner < i)
            continue;
        n_bytes += 4 * ((uint64_t)m->n_lists + m->d_full + m->d_kept) + 16 * (uint64_t)m->n_sub +
                   2 * sizeof(omen_probe) * (uint64_t)effort_of(plan, i, 0).least_lists + 128;
    }
    return n_bytes;
}

/* The squared distance of a query to the nearest centroid of an index, with what the projection dropped. */
static float nearest_of(const omen_lists_chunk *s, size_t q)
{
    return omen_lists_nearest2(s, q) + s->tails[q];
}

/* What an estimate of a pool is in those of one index. */
static float own_estimate(const omen_lists_chunk *s, size_t q, float estimate)
{
    return (estimate - s->share->offset) / s->share->factor - s->lacks[q];
}

/* Transforms the queries for each index, and begins empty pools, whose margin is relative to the farthest of the
 * nearest centroids. */
static int begin(joint_chunk *c, const float *queries, size_t n_queries, omen_detail *why)
{
    const joint_plan *plan = c->plan;
    const uint32_t n_least = omen_spread_rank(plan->k);
    int status = OMEN_OK;
    for (size_t i = 0; i < plan->joint->n && status == OMEN_OK; i++) {
        omen_lists_chunk *s = &c->parts[i];
        const size_t owner = plan->joint->models[i].owner;
        if (owner < i) {
            c->rows[i] = c->rows[owner];
            continue;
        }
        c->failed = i;
        status = omen_lists_begin(s, queries, n_queries, true, &c->rows[i], why);
        for (size_t q = 0; q < n_queries && status == OMEN_OK; q++)
            s->lacks[q] = s->tails[q] - omen_list_bias_at(&plan->biases[i], nearest_of(s, q));
    }
    for (size_t q = 0; q < n_queries && status == OMEN_OK; q++) {
        omen_pool *p = &c->parts->pools[q];
        float nearest2 = 0;
        for (size_t i = 0; i < plan->joint->n; i++)
            nearest2 = fmaxf(nearest2, nearest_of(&c->parts[i], q));
        *p = omen_lists_empty_pool(c->parts, q, nearest2, 0);
        p->k = plan->k;
        p->n_least = n_least < p->n_most ? n_least : p->n_most;
        p->margin = plan->margin * (1 + CROWDED_MOST);
        p->has_margin = true; /* until measure_query() */
    }
    return status;
}

/* Scans the lists that have been chosen, of all indexes of a model. */
static int scan_model(joint_chunk *c, size_t owner, omen_detail *why)
{
    const omen_joint_model *models = c->plan->joint->models;
    omen_lists_sort_probes(&c->parts[owner]);
    c->failed = owner;
    int status = omen_lists_scan_pairs(&c->parts[owner], c->rows[owner], why);
    for (size_t i = models[owner].next; i != SIZE_MAX && status == OMEN_OK; i = models[i].next) {
        c->failed = i;
        status = omen_lists_scan_shared(&c->parts[i], &c->parts[owner], c->rows[i], why);
    }
    return status;
}

/* The first lists of every model. */
static int scan_first(joint_chunk *c, size_t n_queries, omen_detail *why)
{
    int status = OMEN_OK;
    for (size_t i = 0; i < c->plan->joint->n && status == OMEN_OK; i++) {
        omen_lists_chunk *s = &c->parts[i];
        if (s->shares_all)
            continue;
        for (size_t q = 0; q < n_queries && s->index->meta.codec != OMEN_CODEC_NONE; q++)
            omen_lists_make_tables(s, q);
        status = scan_model(c, i, why);
    }
    return status;
}

/* By what the first lists hold: d_k, how many of the k rows are in which index, and the margin. */
static void measure_query(joint_chunk *c, size_t q)
{
    const joint_plan *plan = c->plan;
    const size_t n = plan->joint->n;
    omen_pool *p = &c->parts->pools[q];
    uint64_t *work = c->parts->pool_work;
    joint_share *shares = c->counts + q * n;
    float most = -1, nearest2 = 0;
    for (size_t i = 0; i < n; i++)
        shares[i] = (joint_share){0, 1};
    c->kth[q] = INFINITY;
    if (p->n < p->k) {
        omen_pool_limit(p, INFINITY, c->parts->pool_size, work);
        return;
    }
    const float spread = omen_pool_measure(p, work);
    const uint64_t farthest = omen_key(p->kth + spread, UINT32_MAX);
    const size_t n_best = omen_kernels_get()->keys_below(p->keys, p->n, farthest, work);
    for (size_t j = 0; j < n_best; j++)
        shares[omen_joint_part(plan->joint, (uint32_t)work[j])].n++;
    for (size_t i = 0; i < n; i++) {
        const omen_lists_chunk *s = &c->parts[i];
        shares[i].n_best = (uint32_t)n_best;
        if (shares[i].n == 0)
            continue;
        nearest2 = fmaxf(nearest2, nearest_of(s, q));
        const float margin = margin_of(plan, i, count_of(plan, shares[i])), factor = s->share->factor;
        const float scale =
            sqrtf(omen_margin_scale2(own_estimate(s, q, p->kth), omen_lists_nearest2(s, q), s->tails[q]));
        if (margin >= 0)
            most = fmaxf(most, factor * omen_margin_of(margin, scale, spread / factor) * scale);
    }
    c->kth[q] = p->kth;
    p->nearest2 = nearest2;
    const float scale = sqrtf(omen_margin_scale2(p->kth, nearest2, 0));
    /* not wider than it was: some of what would be within is gone */
    omen_pool_limit(p, most >= 0 && p->margin < INFINITY ? fminf(scale > 0 ? most / scale : 0, p->margin) : p->margin,
                    c->parts->pool_size, work);
}

/* The other lists of every model, as far as the k nearest rows of all are. */
static int scan_others(joint_chunk *c, size_t n_queries, omen_detail *why)
{
    const joint_plan *plan = c->plan;
    const size_t n = plan->joint->n;
    int status = OMEN_OK;
    for (size_t i = 0; i < n && status == OMEN_OK; i++) {
        omen_lists_chunk *s = &c->parts[i];
        if (s->shares_all)
            continue;
        c->failed = i;
        s->n_pairs = 0;
        for (size_t q = 0; q < n_queries && status == OMEN_OK; q++) {
            const omen_effort effort = model_effort(plan, i, c->counts + q * n);
            const float kth = own_estimate(s, q, c->kth[q]);
            const float d_k2 = omen_d_k2(kth, omen_lists_nearest2(s, q), s->tails[q]);
            status = omen_lists_add_others(s, (uint32_t)q, &effort, d_k2, plan->is_fixed ? plan->n_most : s->k);
        }
        if (status == OMEN_OK)
            status = scan_model(c, i, why);
    }
    return status;
}

/* What is left of a pool in the end, index by index; counts of the query become how many keys are of each. */
static void limit_pool(joint_chunk *c, size_t q)
{
    const omen_joint *joint = c->plan->joint;
    omen_pool *p = &c->parts->pools[q];
    joint_share *counts = c->counts + q * joint->n;
    uint64_t *work = c->parts->pool_work;
    omen_pool_cut(p, c->parts->pool_size, work);
    for (size_t i = 0; i < joint->n; i++)
        counts[i].n = 0;
    for (uint32_t j = 0; j < p->n; j++)
        counts[omen_joint_part(joint, (uint32_t)p->keys[j])].n++;
    for (size_t i = 0, at = 0; i < joint->n; at += counts[i++].n)
        c->starts[i] = (uint32_t)at;
    for (uint32_t j = 0; j < p->n; j++)
        work[c->starts[omen_joint_part(joint, (uint32_t)p->keys[j])]++] = p->keys[j];
    memcpy(p->keys, work, p->n * sizeof *work);
}

/* Without a refine tier an estimate is the distance. */
static int take_estimates(omen_lists_chunk *s, uint64_t *keys, uint32_t n, size_t q, omen_detail *why)
{
    const omen_index *index = s->index;
    for (uint32_t j = 0; j < n; j++) {
        const uint32_t row = (uint32_t)keys[j];
        const float distance2 = (omen_key_distance(keys[j]) - s->share->offset) / s->share->factor;
        const int status = omen_index_touch_ids(index, row, 1, why);
        if (status != OMEN_OK)
            return status;
        keys[j] = omen_key(omen_estimate_distance(index, distance2, s->lists[q].query_norm2), index->ids[row]);
    }
    return OMEN_OK;
}

/* The pool's keys become (distance, joint row). */
static int rerank_query(joint_chunk *c, size_t q, omen_detail *why)
{
    const omen_joint *joint = c->plan->joint;
    uint64_t *keys = c->parts->pools[q].keys;
    int status = OMEN_OK;
    for (size_t i = 0; i < joint->n && status == OMEN_OK; i++) {
        const uint32_t n = c->counts[q * joint->n + i].n;
        omen_lists_chunk *s = &c->parts[i];
        if (n == 0)
            continue;
        c->failed = i;
        for (uint32_t j = 0; j < n; j++)
            keys[j] -= s->share->first_row;
        if (s->index->meta.refine == OMEN_REFINE_NONE)
            status = take_estimates(s, keys, n, q, why);
        else
            status = omen_lists_rerank(s, keys, n, c->rows[i] + q * s->index->meta.d, why);
        for (uint32_t j = 0; j < n; j++)
            keys[j] += s->share->first_row;
        keys += n;
    }
    return status;
}

/* Asks for the refine rows that a query needs. */
static void ask_ahead(joint_chunk *c, size_t q)
{
    const omen_joint *joint = c->plan->joint;
    uint64_t *keys = c->parts->pools[q].keys;
    limit_pool(c, q);
    for (size_t i = 0; i < joint->n && c->plan->refine_cold; i++) {
        const uint32_t n = c->counts[q * joint->n + i].n;
        for (uint32_t j = 0; j < n; j++)
            keys[j] -= joint->first[i];
        omen_lists_ask_ahead(joint->indexes[i], keys, n);
        for (uint32_t j = 0; j < n; j++)
            keys[j] += joint->first[i];
        keys += n;
    }
}

static int search_chunk(joint_chunk *c, const float *queries, size_t n_queries, uint64_t *keys, omen_detail *why)
{
    const joint_plan *plan = c->plan;
    int status = begin(c, queries, n_queries, why);
    if (status == OMEN_OK)
        status = scan_first(c, n_queries, why);
    for (size_t q = 0; q < n_queries && status == OMEN_OK; q++)
        measure_query(c, q);
    if (status == OMEN_OK)
        status = scan_others(c, n_queries, why);
    for (size_t q = 0; q < n_queries && q < ASK_AHEAD && status == OMEN_OK; q++)
        ask_ahead(c, q);
    for (size_t q = 0; q < n_queries && status == OMEN_OK; q++, keys += plan->k) {
        omen_pool *p = &c->parts->pools[q];
        if (q + ASK_AHEAD < n_queries)
            ask_ahead(c, q + ASK_AHEAD);
        status = rerank_query(c, q, why);
        if (status != OMEN_OK)
            break;
        if (p->n > plan->k)
            omen_keys_least(p->keys, p->n, plan->k, c->parts->pool_work);
        omen_keys_sort(p->keys, plan->k);
        memcpy(keys, p->keys, plan->k * sizeof *keys);
    }
    c->parts->stats.n_queries += n_queries;
    return status;
}

static void add_stats(omen_search_stats *to, const joint_chunk *c)
{
    for (size_t i = 0; i < c->plan->joint->n && c->parts; i++) {
        const omen_search_stats *from = &c->parts[i].stats;
        to->n_queries += from->n_queries;
        to->lists.probed += from->lists.probed;
        to->codes_scanned += from->codes_scanned;
        to->rows_reranked += from->rows_reranked;
    }
}

static int search_chunks(joint_plan *plan)
{
    const omen_joint *joint = plan->joint;
    const omen_search_job *job = plan->job;
    const uint64_t n_queries = job->n_queries, bytes = query_bytes(plan);
    uint64_t size = (n_queries + 2 * (uint64_t)job->n_threads - 1) / (2 * (uint64_t)job->n_threads);
    size = size < 1 ? 1 : size < CHUNK ? size : CHUNK;
    size = size * bytes <= CHUNK_BYTES ? size : bytes < CHUNK_BYTES ? CHUNK_BYTES / bytes : 1;
    const uint64_t n_chunks = (n_queries + size - 1) / size;
    const int n_threads = (uint64_t)job->n_threads < n_chunks ? job->n_threads : n_chunks > 0 ? (int)n_chunks : 1;
    int status = OMEN_OK;
    for (size_t i = 0; i < joint->n && job->options->refine_cold; i++) {
        if (!joint->indexes[i]->refn.section.is_file_mapping)
            continue;
        plan->refine_cold = true;
        omen_lists_expect_random(joint->indexes[i]);
    }
#pragma omp parallel num_threads(n_threads)
    {
        joint_chunk c;
        omen_detail own_why = {""};
        int own = chunk_init(&c, plan, size);
#pragma omp for schedule(dynamic)
        for (uint64_t q0 = 0; q0 < n_queries; q0 += size)
            if (own == OMEN_OK) {
                const uint64_t n = n_queries - q0 < size ? n_queries - q0 : size;
                own = search_chunk(&c, job->queries + q0 * joint->indexes[0]->meta.d, n, job->keys + q0 * plan->k,
                                   &own_why);
                omen_watch_add_parts(job->watch, n * OMEN_PROGRESS_PARTS);
            }
#pragma omp critical(omen_search_lists_joint)
        {
            if (own != OMEN_OK) {
                status = own;
                if (job->why)
                    *job->why = own_why;
                omen_joint_blame(joint, c.failed, own, job->why);
            }
            if (job->stats)
                add_stats(job->stats, &c);
        }
        chunk_finish(&c);
    }
    return status;
}

int omen_search_lists_joint(const omen_joint *joint, const omen_search_job *job)
{
    joint_plan plan;
    int status = plan_init(&plan, joint, job);
    if (status == OMEN_OK)
        status = search_chunks(&plan);
    plan_finish(&plan);
    return status;
}
