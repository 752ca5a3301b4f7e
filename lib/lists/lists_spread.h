/* SPDX-License-Identifier: Apache-2.0 */
/* How far the rows of a list are from queries: what tells a search under a filter when to stop.
 *
 * A row x of the list of centroid c, with residual r, is at |q - x|^2 = |q - c|^2 + |r|^2 - 2 <q - c, r>. Over the rows
 * of a list that is about normal, with mean |q - c|^2 + M and variance scale^2 (2 M^2 + 4 M |q - c|^2), M being the
 * mean of |r|^2: so it were, with a scale of 1 / sqrt(d), if residuals were spread evenly over d dimensions. */
#ifndef OMEN_LISTS_SPREAD_H
#define OMEN_LISTS_SPREAD_H

#include "lib/index.h"

#define OMEN_TAIL_MOST  36u /* squares of standard deviations: beyond it are less than 1e-9 */
#define OMEN_TAIL_STEPS 4u  /* entries for each */
#define OMEN_STOP_RANKS 4u
#define OMEN_STOP_STEPS 24u

/* Of the rows up to a few ranks, what part was in the lists behind those taken, by how much was expected there, as a
 * share of what was expected in those taken: it falls from step to step. */
typedef struct omen_stop_table {
    uint32_t n_ranks;                                /* measured */
    double rows[OMEN_STOP_RANKS];                    /* that were expected, as omen_log2_about() */
    double missed[OMEN_STOP_RANKS][OMEN_STOP_STEPS]; /* means over queries */
} omen_stop_table;

/* The steps at which a part is missed, of each rank. */
typedef struct omen_stop_rule {
    uint32_t n_ranks;
    double rows[OMEN_STOP_RANKS], steps[OMEN_STOP_RANKS];
    double last_step; /* of sets far larger than the last rank */
} omen_stop_rule;

typedef struct omen_list_spread {
    float scale;
    /* the share of a normal distribution that is so many standard deviations, squared and times OMEN_TAIL_STEPS, or
     * more below the mean */
    float tails[OMEN_TAIL_MOST * OMEN_TAIL_STEPS + 2];
    omen_stop_table stop;
    float means[]; /* n_lists: M */
} omen_list_spread;

/* The spread of an index, measured by the first call, on blocks of codes and refine rows that are drawn by their
 * positions: it is the same in every process. It lives as long as the index. Returns OMEN_OK, OMEN_ERR_CORRUPT,
 * OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED. */
int omen_list_spread_get(const omen_index *index, int n_threads, const omen_list_spread **out, omen_watch *watch,
                         omen_detail *why) OMEN_MUST_CHECK;

/* The chance that a row of a list is nearer than kth: both are squared distances without what the projection dropped of
 * the query, base is the centroid's. 0 where it is less than 1e-9. */
float omen_list_spread_share(const omen_list_spread *spread, uint32_t list, float base, float kth);

#define OMEN_LIST_STEPS 64u

/* Lists that are expected to hold rows that are wanted, told apart by steps of their distance, all as wide. */
typedef struct omen_list_steps {
    double expected[OMEN_LIST_STEPS]; /* rows in the lists of a step, the nearest first */
    double sum;                       /* of them */
    float least, most, per_step;      /* distances of the nearest and the farthest list; 1 / width, 0: all are as far */
} omen_list_steps;

/* Sums up n lists, of which some hold expected rows that are wanted; where that is 0 they are left out. The others are
 * at distances from least to most. */
void omen_list_steps_fill(omen_list_steps *steps, const float *distances, const float *expected, size_t n, float least,
                          float most);

/* How many of the steps, from the nearest on, have to be taken so that the others are expected to hold missed rows at
 * most; 0: none. */
uint32_t omen_list_steps_needed(const omen_list_steps *steps, double missed);

/* ---- when a search under a filter may stop ---- */

/* The share that a step of the table stands for: half of it two steps later. */
double omen_stop_share(double step);

/* The binary logarithm, less 0.09 at most, by arithmetic that rounds alike everywhere. */
double omen_log2_about(double x);

/* Part of omen_list_spread_get() (lists_stop.c). */
int omen_list_spread_measure_stop(const omen_index *index, omen_list_spread *spread, int n_threads, omen_watch *watch,
                                  omen_detail *why) OMEN_MUST_CHECK;

/* The rule by which a part of the nearest matches is missed on average. */
omen_stop_rule omen_stop_rule_make(const omen_list_spread *spread, double missed);

/* How many matches within the distance of the k-th the lists behind may be expected to hold, where those taken are
 * expected to hold so many, and all lists n_rows rows, whether they match or not. */
double omen_stop_rule_allowed(const omen_stop_rule *rule, double n_rows, double taken, uint32_t k);

#endif
