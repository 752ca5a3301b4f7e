/* SPDX-License-Identifier: Apache-2.0 */
/* The plan of a search of several indexes at once. */
#ifndef OMEN_LISTS_JOINT_PLAN_H
#define OMEN_LISTS_JOINT_PLAN_H

#include "lib/lists/lists_joint.h"
#include "lib/lists/lists_search.h"

/* What all chunks of a search share. */
typedef struct omen_joint_plan {
    const omen_joint *joint;
    const omen_search_job *job;
    uint32_t k, n_most;
    uint32_t n_counts;
    omen_effort *efforts; /* n x n_counts: of index i, for c of its rows */
    omen_lists_share *shares;
    float margin;  /* the widest that one of the indexes may ask for */
    bool is_fixed; /* the number of re-ranked rows */
    bool differ;   /* the models */
    bool refine_cold;
} omen_joint_plan;

/* How many of the best estimates of a query are in one index. */
typedef struct omen_joint_share {
    uint32_t n, n_best;
} omen_joint_share;

/* The effort of index i for c of its rows. */
omen_effort omen_joint_effort_of(const omen_joint_plan *plan, size_t i, uint32_t c);

/* Rows of the k that are in an index. */
uint32_t omen_joint_count_of(const omen_joint_plan *plan, omen_joint_share share);

/* The margin of one index that has c of the k rows, in its own estimates; below 0 if nothing was measured. It is that
 * for neighbours between c and k: nearer to k where all have one model, and nothing is lost between models. */
float omen_joint_margin_of(const omen_joint_plan *plan, size_t i, uint32_t c);

/* The rows of k that own_rows of all have if they are spread as all are; together they are at least k. */
uint32_t omen_joint_part_of_k(const omen_joint_plan *plan, uint64_t own_rows);

/* The effort of all indexes of a model: the average of theirs, by their shares; or the most of what they take where
 * they hold nothing. It does not depend on their order. */
omen_effort omen_joint_model_effort(const omen_joint_plan *plan, size_t owner, const omen_joint_share *shares);

/* Finish also after a failure. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int omen_joint_plan_init(omen_joint_plan *plan, const omen_joint *joint, const omen_search_job *job) OMEN_MUST_CHECK;

void omen_joint_plan_finish(omen_joint_plan *plan);

#endif
