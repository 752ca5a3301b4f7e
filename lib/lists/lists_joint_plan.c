/* SPDX-License-Identifier: Apache-2.0 */
/* What a search of several indexes at once costs in each: efforts for c of the k rows, as each was measured for c
 * neighbours. */
#include <math.h>
#include <stdlib.h>

#include "lib/lists/lists_joint_plan.h"
#include "lib/matrix.h"

#define COUNTS       129u /* of rows in one index, for which efforts are kept; for others they are made anew */
#define RADII_MOST   1e6f /* a smaller radius is none beside the longest */
#define MOST_INDEXES 4u   /* so many times the rows that one re-ranks at most are re-ranked of all, at most */

/* An index that has few of the k rows is searched less far than for these alone, and more is left to the margin, which
 * is that for more neighbours. Together both find what is asked for (docs/EXPERIMENTS.md). */
#define REACH_LEAST       0.87f
#define REACH_LEAST_APART 0.95f /* of models that differ */

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

omen_effort omen_joint_effort_of(const omen_joint_plan *plan, size_t i, uint32_t c)
{
    uint32_t n_probes, n_rerank;
    return c < plan->n_counts ? plan->efforts[i * plan->n_counts + c]
                              : make_effort(plan->joint->indexes[i], plan->job->options, c, &n_probes, &n_rerank);
}

uint32_t omen_joint_count_of(const omen_joint_plan *plan, omen_joint_share share)
{
    return (uint32_t)(((uint64_t)share.n * plan->k + share.n_best - 1) / share.n_best);
}

float omen_joint_margin_of(const omen_joint_plan *plan, size_t i, uint32_t c)
{
    const float k = (float)plan->k, middle = sqrtf((float)(c < 1 ? 1 : c) * k);
    const float wanted = (plan->differ ? middle : sqrtf(middle * sqrtf(middle * k))) + 0.5f;
    return plan->joint->indexes[i]->n_tune ? omen_joint_effort_of(plan, i, (uint32_t)wanted).margin : -1;
}

uint32_t omen_joint_part_of_k(const omen_joint_plan *plan, uint64_t own_rows)
{
    const double all = (double)plan->joint->first[plan->joint->n], own = (double)own_rows;
    const double part = ceil((double)plan->k * own / all);
    return part < own ? (uint32_t)part : (uint32_t)own;
}

/* The effort of an index that has a share of the k rows. */
static omen_effort share_effort(const omen_joint_plan *plan, size_t i, omen_joint_share share)
{
    omen_effort e = omen_joint_effort_of(plan, i, omen_joint_count_of(plan, share));
    const float least = plan->differ ? REACH_LEAST_APART : REACH_LEAST;
    e.reach *= least + (1 - least) * (float)share.n / (float)share.n_best;
    return e;
}

omen_effort omen_joint_model_effort(const omen_joint_plan *plan, size_t owner, const omen_joint_share *shares)
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

static omen_lists_share make_share(const omen_index *index, uint64_t first_row, float most_radius2)
{
    const double radius = sqrt((double)index->meta.ip_radius2), most = sqrt((double)most_radius2);
    omen_lists_share share = {1, 0, (uint32_t)first_row};
    if (index->meta.metric != OMEN_METRIC_IP || radius == most)
        return share;
    if (radius * (double)RADII_MOST > most) {
        share.factor = (float)(most / radius);
        share.offset = (float)(2 * most * (most - radius));
    } else
        share.offset = 2 * most_radius2; /* every row is about at distance 0 */
    return share;
}

/* How many candidates of all indexes are re-ranked at most, by what was measured of one; *n_average: on average. */
static uint32_t most_rows_by(const omen_joint_plan *plan, const omen_index *index, uint32_t *n_average)
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
static void plan_efforts(omen_joint_plan *plan)
{
    const omen_joint *joint = plan->joint;
    const omen_search_job *job = plan->job;
    const omen_search_options *o = job->options;
    uint32_t n_probes, n_rerank, most_rerank = 0, sum_probes = 0;
    uint64_t sum_most = 0;
    for (size_t i = 0; i < joint->n; i++) {
        for (uint32_t c = 0; c < plan->n_counts; c++)
            plan->efforts[i * plan->n_counts + c] = make_effort(joint->indexes[i], o, c, &n_probes, &n_rerank);
        const uint32_t n_most = most_rows_by(plan, joint->indexes[i], &n_rerank);
        plan->n_most = n_most > plan->n_most ? n_most : plan->n_most;
        sum_most += n_most;
        most_rerank = n_rerank > most_rerank ? n_rerank : most_rerank;
        make_effort(joint->indexes[i], o, omen_joint_part_of_k(plan, joint->indexes[i]->meta.n_rows), &n_probes,
                    &n_rerank);
        sum_probes += n_probes;
        plan->margin = fmaxf(plan->margin, plan->shares[i].factor * fmaxf(omen_joint_margin_of(plan, i, 1),
                                                                          omen_joint_margin_of(plan, i, job->k)));
    }
    /* rows as near as the k-th are in all of them */
    plan->n_most =
        (uint32_t)omen_least(omen_least(sum_most, MOST_INDEXES * (uint64_t)plan->n_most), joint->first[joint->n]);
    if (o->rerank)
        plan->n_most = most_rerank = o->rerank < joint->first[joint->n] ? o->rerank : (uint32_t)joint->first[joint->n];
    if (plan->n_most < job->k || joint->indexes[0]->meta.refine == OMEN_REFINE_NONE)
        plan->n_most = most_rerank = job->k;
    if (job->stats) {
        job->stats->lists.probes = sum_probes;
        job->stats->rerank = most_rerank;
    }
}

int omen_joint_plan_init(omen_joint_plan *plan, const omen_joint *joint, const omen_search_job *job)
{
    float most_radius2 = 0;
    *plan =
        (omen_joint_plan){.joint = joint, .job = job, .k = job->k, .margin = -1, .is_fixed = job->options->rerank > 0};
    plan->n_counts = job->k < COUNTS ? job->k + 1 : COUNTS;
    for (size_t i = 0; i < joint->n; i++)
        plan->differ |= joint->models[i].owner > 0;
    plan->efforts = omen_alloc(joint->n * plan->n_counts, sizeof *plan->efforts);
    plan->shares = omen_alloc(joint->n, sizeof *plan->shares);
    if (!plan->efforts || !plan->shares)
        return OMEN_ERR_MEMORY;
    for (size_t i = 0; i < joint->n; i++)
        most_radius2 = fmaxf(most_radius2, joint->indexes[i]->meta.ip_radius2);
    for (size_t i = 0; i < joint->n; i++)
        plan->shares[i] = make_share(joint->indexes[i], joint->first[i], most_radius2);
    plan_efforts(plan);
    if (plan->is_fixed || plan->margin < 0) /* or nothing was measured */
        plan->margin = INFINITY;
    return OMEN_OK;
}

void omen_joint_plan_finish(omen_joint_plan *plan)
{
    free(plan->efforts);
    free(plan->shares);
}
