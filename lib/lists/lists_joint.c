/* SPDX-License-Identifier: Apache-2.0 */
/* The way through the lists of several indexes at once: as lists_search.c goes through one, but for what is found.
 *
 * A query has one pool. Its keys are (estimate, joint row), the estimates corrected by what those of each model are
 * seen to be too large by, so that all are distances in one space (under ip the lifted one of the longest radius). The
 * first lists are the nearest few of every index; the k-th best estimate in all of them is d_k^2, for all.
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

#include "lib/lists/lists_joint_plan.h"

#define CHUNK        512u         /* most queries of a chunk */
#define CHUNK_BYTES  (128u << 20) /* most that what grows with the queries of a chunk of more than one takes */
#define ASK_AHEAD    16u          /* queries whose refine rows are prefetched before they are used */
#define SAMPLE_ROWS  8u           /* compared first, of each model, to make estimates comparable, */
#define SAMPLE_LEAST 4u           /* and of more indexes than these */
#define FEW_INDEXES  4u
#define CROWDED_MOST 1.0f /* as OMEN_CROWDED_MOST; less, since the first lists are many */
#define LACK_MOST    1.0f /* margins that a limit may lack before a query is searched again, */
#define NARROW       0.9f /* and how narrow the margin of its first lists may be beside what it should be */

/* One thread's chunk of queries. */
typedef struct {
    const omen_joint_plan *plan;
    omen_lists_chunk *parts;  /* n */
    const float **rows;       /* n: the queries, as refine rows of each index are compared with them */
    float *kth;               /* of each query: the k-th estimate of the first lists */
    float *units;             /* and the margin, where it is not crowded; below 0: unknown */
    float *wanted;            /* and as it should be */
    omen_joint_share *counts; /* queries x n */
    uint32_t *n_keys;         /* queries x n: of the pool in the end */
    uint32_t *starts;         /* n: room to order them */
    size_t failed;            /* the index at fault */
} joint_chunk;

/* ---- a chunk ---- */

static void chunk_finish(joint_chunk *c)
{
    for (size_t i = c->plan->joint->n; c->parts && i-- > 0;)
        omen_lists_chunk_finish(&c->parts[i]);
    free(c->parts);
    free(c->rows);
    free(c->kth);
    free(c->units);
    free(c->wanted);
    free(c->n_keys);
    free(c->counts);
    free(c->starts);
}

static int chunk_init(joint_chunk *c, const omen_joint_plan *plan, size_t n_queries)
{
    const size_t n = plan->joint->n;
    int status = OMEN_OK;
    *c = (joint_chunk){.plan = plan};
    c->parts = omen_alloc_zero(n, sizeof *c->parts);
    c->rows = omen_alloc(n, sizeof *c->rows);
    c->kth = omen_alloc(n_queries, sizeof *c->kth);
    c->units = omen_alloc(n_queries, sizeof *c->units);
    c->wanted = omen_alloc(n_queries, sizeof *c->wanted);
    c->n_keys = omen_alloc(n_queries * n, sizeof *c->n_keys);
    c->counts = omen_alloc(n_queries * n, sizeof *c->counts);
    c->starts = omen_alloc(n, sizeof *c->starts);
    if (!c->parts || !c->rows || !c->kth || !c->units || !c->wanted || !c->n_keys || !c->counts || !c->starts)
        return OMEN_ERR_MEMORY;
    for (size_t i = 0; i < n; i++)
        c->counts[i] = (omen_joint_share){0, 1};
    for (size_t i = 0; i < n && status == OMEN_OK; i++) {
        omen_lists_chunk *s = &c->parts[i];
        const omen_joint_model *model = &plan->joint->models[i];
        if (model->owner < i) {
            omen_lists_chunk_share(s, plan->joint->indexes[i], &c->parts[model->owner]);
            s->share = &plan->shares[i];
            continue;
        }
        omen_effort effort = omen_joint_model_effort(plan, i, c->counts);
        effort.most_rows = plan->n_most;
        status = omen_lists_chunk_init(s, plan->joint->indexes[i], plan->k, &effort, false, false, n_queries,
                                       i > 0 ? c->parts : NULL);
        s->k = omen_joint_part_of_k(plan, model->n_rows); /* what its lists have to hold */
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
static uint64_t query_bytes(const omen_joint_plan *plan)
{
    uint64_t n_bytes = 16 * (uint64_t)plan->n_most;
    for (size_t i = 0; i < plan->joint->n; i++) {
        const omen_meta *m = &plan->joint->indexes[i]->meta;
        if (plan->joint->models[i].owner < i)
            continue;
        n_bytes += 4 * ((uint64_t)m->n_lists + m->d_full + m->d_kept) + 16 * (uint64_t)m->n_sub +
                   2 * sizeof(omen_probe) * (uint64_t)omen_joint_effort_of(plan, i, 0).least_lists + 128;
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

/* Transforms the queries for each index. */
static int begin(joint_chunk *c, const float *queries, size_t n_queries, omen_detail *why)
{
    const omen_joint *joint = c->plan->joint;
    int status = OMEN_OK;
    for (size_t i = 0; i < joint->n && status == OMEN_OK; i++) {
        omen_lists_chunk *s = &c->parts[i];
        const size_t owner = joint->models[i].owner;
        if (owner < i) {
            c->rows[i] = c->rows[owner];
            continue;
        }
        c->failed = i;
        status = omen_lists_begin(s, queries, n_queries, true, &c->rows[i], why);
        for (size_t q = 0; q < n_queries && status == OMEN_OK; q++) {
            s->lacks[q] = s->tails[q];
            if (s->index->meta.codec != OMEN_CODEC_NONE)
                omen_lists_make_tables(s, q);
        }
    }
    return status;
}

/* Begins empty pools, whose margin is relative to the farthest of the nearest centroids. */
static void begin_pools(joint_chunk *c, size_t n_queries)
{
    const omen_joint_plan *plan = c->plan;
    const uint32_t n_least = omen_spread_rank(plan->k);
    for (size_t q = 0; q < n_queries; q++) {
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
static int scan_first(joint_chunk *c, omen_detail *why)
{
    int status = OMEN_OK;
    for (size_t i = 0; i < c->plan->joint->n && status == OMEN_OK; i++) {
        if (!c->parts[i].shares_all)
            status = scan_model(c, i, why);
    }
    return status;
}

/* By what the first lists hold: d_k, how many of the k rows are in which index, and the margin. */
static void measure_query(joint_chunk *c, size_t q)
{
    const omen_joint_plan *plan = c->plan;
    const size_t n = plan->joint->n;
    omen_pool *p = &c->parts->pools[q];
    uint64_t *work = c->parts->pool_work;
    omen_joint_share *shares = c->counts + q * n;
    float most = -1, unit = -1, nearest2 = 0;
    for (size_t i = 0; i < n; i++)
        shares[i] = (omen_joint_share){0, 1};
    c->kth[q] = INFINITY;
    c->units[q] = -1;
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
        const float margin = omen_joint_margin_of(plan, i, omen_joint_count_of(plan, shares[i])),
                    factor = s->share->factor;
        const float scale =
            sqrtf(omen_margin_scale2(own_estimate(s, q, p->kth), omen_lists_nearest2(s, q), s->tails[q]));
        if (margin < 0)
            continue;
        unit = fmaxf(unit, factor * margin * scale);
        most = fmaxf(most, factor * omen_margin_of(margin, scale, spread / factor) * scale);
    }
    c->kth[q] = p->kth;
    c->units[q] = p->margin < INFINITY ? unit : -1;
    c->wanted[q] = most;
    p->nearest2 = nearest2;
    const float scale = sqrtf(omen_margin_scale2(p->kth, nearest2, 0));
    /* not wider than it was: some of what would be within is gone */
    omen_pool_limit(p, most >= 0 && p->margin < INFINITY ? fminf(scale > 0 ? most / scale : 0, p->margin) : p->margin,
                    c->parts->pool_size, work);
}

/* The other lists of every model, as far as the k nearest rows of all are. again: of queries that are searched again.
 */
static int scan_others(joint_chunk *c, size_t n_queries, bool again, omen_detail *why)
{
    const omen_joint_plan *plan = c->plan;
    const size_t n = plan->joint->n;
    int status = OMEN_OK;
    for (size_t i = 0; i < n && status == OMEN_OK; i++) {
        omen_lists_chunk *s = &c->parts[i];
        if (s->shares_all)
            continue;
        c->failed = i;
        s->n_pairs = 0;
        for (size_t q = 0; q < n_queries && status == OMEN_OK; q++) {
            if (again && !c->parts->pools[q].is_again)
                continue;
            const omen_effort effort = omen_joint_model_effort(plan, i, c->counts + q * n);
            const float kth = own_estimate(s, q, c->kth[q]);
            const float d_k2 = omen_d_k2(kth, omen_lists_nearest2(s, q), s->tails[q]);
            status = omen_lists_add_others(s, (uint32_t)q, &effort, d_k2, plan->is_fixed ? plan->n_most : s->k);
        }
        if (status == OMEN_OK)
            status = scan_model(c, i, why);
    }
    return status;
}

/* What is left of a pool in the end, index by index; n_keys of the query become how many are of each. */
static void limit_pool(joint_chunk *c, size_t q)
{
    const omen_joint *joint = c->plan->joint;
    omen_pool *p = &c->parts->pools[q];
    uint32_t *n_keys = c->n_keys + q * joint->n;
    uint64_t *work = c->parts->pool_work;
    omen_pool_cut(p, c->parts->pool_size, work);
    for (size_t i = 0; i < joint->n; i++)
        n_keys[i] = 0;
    for (uint32_t j = 0; j < p->n; j++)
        n_keys[omen_joint_part(joint, (uint32_t)p->keys[j])]++;
    for (size_t i = 0, at = 0; i < joint->n; at += n_keys[i++])
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
        const uint32_t n = c->n_keys[q * joint->n + i];
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
        const uint32_t n = c->n_keys[q * joint->n + i];
        for (uint32_t j = 0; j < n; j++)
            keys[j] -= joint->first[i];
        omen_lists_ask_ahead(joint->indexes[i], keys, n);
        for (uint32_t j = 0; j < n; j++)
            keys[j] += joint->first[i];
        keys += n;
    }
}

/* ---- estimates made comparable ---- */

/* What the best estimates of a model are too large by, on average, is what all of the query's lack less. */
static int correct_query(joint_chunk *c, size_t owner, size_t q, omen_detail *why)
{
    const omen_joint *joint = c->plan->joint;
    omen_lists_chunk *s = &c->parts[owner];
    const omen_pool *p = &c->parts->pools[q];
    double sum = 0;
    limit_pool(c, q);
    for (uint32_t j = 0; j < p->n; j++)
        sum += (double)omen_key_distance(p->keys[j]);
    const int status = rerank_query(c, q, why);
    for (uint32_t j = 0; j < p->n && status == OMEN_OK; j++) {
        const omen_index *index = joint->indexes[omen_joint_part(joint, (uint32_t)p->keys[j])];
        const float is = omen_lifted_distance2(index, omen_key_distance(p->keys[j]), s->lists[q].query_norm2);
        sum -= (double)(s->share->factor * is + s->share->offset);
    }
    if (status == OMEN_OK && p->n > 0)
        s->lacks[q] -= (float)(sum / p->n / (double)s->share->factor);
    return status;
}

/* Brings the pair of each query with its nearest list to the front, and returns how many these are. The pairs of a
 * query stand together. */
static size_t nearest_first(omen_lists_chunk *s)
{
    size_t n = 0;
    for (size_t i = 0, end; i < s->n_pairs; i = end) {
        size_t nearest = i;
        for (end = i + 1; end < s->n_pairs && s->probes[end].query == s->probes[i].query; end++)
            nearest = s->probes[end].base < s->probes[nearest].base ? end : nearest;
        const omen_probe pair = s->probes[nearest];
        s->probes[nearest] = s->probes[n];
        s->probes[n++] = pair;
    }
    return n;
}

/* Estimates of near rows are too large, by what depends on the codes, on the query, and on how far rows are from their
 * centroids where it is. In one index, or several of a model, that is about the same for all near rows, and does no
 * harm. Between models it differs often by more than a margin. So the rows of the best estimates in the nearest list of
 * each model are compared first. */
static int correct_estimates(joint_chunk *c, size_t n_queries, omen_detail *why)
{
    const omen_joint *joint = c->plan->joint;
    const uint32_t n_rows = joint->n > FEW_INDEXES ? SAMPLE_LEAST : SAMPLE_ROWS;
    int status = OMEN_OK;
    for (size_t i = 0; i < joint->n && status == OMEN_OK; i++) {
        if (c->parts[i].shares_all)
            continue;
        for (size_t q = 0; q < n_queries; q++) {
            omen_pool *p = &c->parts->pools[q];
            *p = omen_lists_empty_pool(c->parts, q, 0, 0);
            p->k = p->n_most = p->n_least = n_rows;
            p->n_cut = c->parts->pool_size;
            p->margin = INFINITY;
            p->is_ranked = false;
        }
        omen_lists_chunk *s = &c->parts[i];
        const size_t n_pairs = s->n_pairs;
        s->n_pairs = nearest_first(s);
        status = scan_model(c, i, why);
        s->n_pairs = n_pairs;
        for (size_t q = 0; q < n_queries && status == OMEN_OK; q++)
            status = correct_query(c, i, q, why);
    }
    return status;
}

/* The k nearest of a pool that has been re-ranked. */
static void take_nearest(joint_chunk *c, size_t q, uint64_t *keys)
{
    const omen_pool *p = &c->parts->pools[q];
    if (p->n > c->plan->k)
        omen_keys_least(p->keys, p->n, c->plan->k, c->parts->pool_work);
    omen_keys_sort(p->keys, c->plan->k);
    memcpy(keys, p->keys, c->plan->k * sizeof *keys);
}

/* ---- a second time ---- */

/* Whether the k-th row found is beyond the limit up to which estimates were looked at: as of one index
 * (omen_margin_again()). Begins the pool for a limit that follows from that row then. */
static bool wants_again(joint_chunk *c, size_t q, const uint64_t *keys)
{
    const omen_joint_plan *plan = c->plan;
    const omen_joint *joint = plan->joint;
    const uint64_t last = keys[plan->k - 1];
    const size_t i = omen_joint_part(joint, (uint32_t)last);
    const omen_lists_chunk *s = &c->parts[i];
    omen_pool *p = &c->parts->pools[q];
    float lack;
    p->is_again = false;
    if (!(c->units[q] > 0) || p->n >= p->n_most || s->index->meta.refine == OMEN_REFINE_NONE)
        return false;
    const float is = omen_lifted_distance2(s->index, omen_key_distance(last), s->lists[q].query_norm2);
    const float kth = s->share->factor * is + s->share->offset,
                scale = sqrtf(omen_margin_scale2(p->kth, p->nearest2, 0));
    const float by_kth = omen_margin_again(c->units[q] / scale, p->margin, scale, p->kth, kth, &lack);
    const bool is_narrow = p->margin * scale < NARROW * c->wanted[q]; /* of what the first lists left room for */
    if (!(lack > LACK_MOST) && !is_narrow)
        return false;
    const float limit = fmaxf(by_kth, p->kth + c->wanted[q]);
    p->is_again = true;
    p->is_ranked = false;
    p->n = 0;
    p->n_cut = c->parts->pool_size;
    p->worst = limit < FLT_MAX ? omen_key(limit, UINT32_MAX) : UINT64_MAX;
    c->kth[q] = fmaxf(c->kth[q], kth);
    for (size_t j = 0; j < joint->n; j++)
        c->parts[j].lists[q].last_first = 0;
    return true;
}

static int search_again(joint_chunk *c, size_t n_queries, uint64_t *keys, omen_detail *why)
{
    int status = scan_others(c, n_queries, true, why);
    for (size_t q = 0; q < n_queries && status == OMEN_OK; q++) {
        if (!c->parts->pools[q].is_again)
            continue;
        limit_pool(c, q);
        status = rerank_query(c, q, why);
        if (status == OMEN_OK)
            take_nearest(c, q, keys + q * c->plan->k);
    }
    return status;
}

static int search_chunk(joint_chunk *c, const float *queries, size_t n_queries, uint64_t *keys, omen_detail *why)
{
    const omen_joint_plan *plan = c->plan;
    int status = begin(c, queries, n_queries, why);
    if (status == OMEN_OK && plan->differ && plan->joint->indexes[0]->meta.refine != OMEN_REFINE_NONE)
        status = correct_estimates(c, n_queries, why);
    if (status == OMEN_OK) {
        begin_pools(c, n_queries);
        status = scan_first(c, why);
    }
    for (size_t q = 0; q < n_queries && status == OMEN_OK; q++)
        measure_query(c, q);
    if (status == OMEN_OK)
        status = scan_others(c, n_queries, false, why);
    for (size_t q = 0; q < n_queries && q < ASK_AHEAD && status == OMEN_OK; q++)
        ask_ahead(c, q);
    bool any_again = false;
    for (size_t q = 0; q < n_queries && status == OMEN_OK; q++) {
        if (q + ASK_AHEAD < n_queries)
            ask_ahead(c, q + ASK_AHEAD);
        status = rerank_query(c, q, why);
        if (status != OMEN_OK)
            break;
        take_nearest(c, q, keys + q * plan->k);
        any_again |= wants_again(c, q, keys + q * plan->k);
    }
    c->parts->stats.n_queries += n_queries;
    return status == OMEN_OK && any_again ? search_again(c, n_queries, keys, why) : status;
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

static int search_chunks(omen_joint_plan *plan)
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
    omen_joint_plan plan;
    int status = omen_joint_plan_init(&plan, joint, job);
    if (status == OMEN_OK)
        status = search_chunks(&plan);
    omen_joint_plan_finish(&plan);
    return status;
}
