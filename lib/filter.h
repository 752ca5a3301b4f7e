/* SPDX-License-Identifier: Apache-2.0 */
/* Search under filters: each query finds only rows of its own set. */
#ifndef OMEN_FILTER_H
#define OMEN_FILTER_H

#include "lib/lists/lists_spread.h"
#include "lib/row_set.h"
#include "lib/ways.h"

/* What the way through the lists is restricted by. */
typedef struct omen_lists_filter {
    const omen_row_set *const *row_sets; /* of each query, none of them NULL; equal ones best stand together */
    const omen_list_spread *spread;
} omen_lists_filter;

/* What a comparison with a refine row costs, and a scan of a block of codes, in about nanoseconds: only their relation
 * matters. */
static inline float omen_row_cost(const omen_index *index)
{
    return 8 + (float)index->refine_row_bytes / 12;
}

static inline float omen_block_cost(const omen_index *index)
{
    return 4 + (float)index->block_bytes / 64;
}

/* How many rows of an index are few: to compare them all costs no more than to rank the lists. */
uint64_t omen_filter_few(const omen_index *index);

/* Among how many of all rows the k nearest of a set are, if it has nothing to do with where rows are. */
static inline uint32_t omen_filter_rank(const omen_row_set *set, uint32_t k)
{
    const double rank = (double)k * (double)set->n_rows / (double)set->n_matches;
    return rank < (double)set->n_rows ? (uint32_t)rank : (uint32_t)set->n_rows;
}

/* Whether a set that is no list is searched through the graph: where it is asked for, or was measured to cost less.
 * That does not depend on how many queries there are. */
bool omen_filter_takes_graph(const omen_index *index, const omen_search_options *options, const omen_row_set *set);

/* The plan of a set, by what it costs, or of options->exact. */
omen_plan omen_filter_plan(const omen_index *index, const omen_search_options *options, const omen_row_set *set);

/* Searches as job->options and its row_sets say, some of which may be NULL. keys of a query with fewer than k matches
 * end in UINT64_MAX. Returns as a way does, and OMEN_ERR_ARGUMENT for a set of another index. */
int omen_search_filtered(const omen_index *index, const omen_search_job *job) OMEN_MUST_CHECK;

/* The way through the lists for all rows within a distance, of all rows or of job->row_sets, into job->ranges. missed
 * of the effort is a share of what is within the distance; below 0: least_lists are taken. Returns as a way does. */
int omen_search_lists_within(const omen_index *index, const omen_search_job *job, const omen_effort *effort,
                             const omen_list_spread *spread) OMEN_MUST_CHECK;

/* The way of exact search for all rows within a distance, or under filters: each query against the refine rows of its
 * set, job->row_sets. */
int omen_search_rows(const omen_index *index, const omen_search_job *job) OMEN_MUST_CHECK;

#endif
