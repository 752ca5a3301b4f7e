/* SPDX-License-Identifier: Apache-2.0 */
/* How many true neighbours a search of the lists finds with any effort: a grid of reaches and margins (index.h), whose
 * cheapest points lists_calibrate.c writes to TUNE. Private to these two. */
#ifndef OMEN_LISTS_MEASURE_H
#define OMEN_LISTS_MEASURE_H

#include "lib/calibrate.h"

#define LISTS_N_REACHES 32u  /* looked at */
#define LISTS_N_MARGINS 128u /* looked at, besides 0 */

typedef struct omen_lists_measure {
    const omen_index *index;
    const omen_calibration *truth; /* the caller's, or thin */
    omen_calibration thin;
    uint32_t n_queries;
    bool *lost;                   /* n_queries x k: re-ranking puts the neighbour behind k others */
    uint32_t *ranks;              /* n_queries x n_lists */
    float *ahead;                 /* n_queries x n_lists: as omen_search_ranks() gives it */
    float *nearest2, *tails;      /* n_queries */
    double *norms2;               /* n_queries: of the queries themselves */
    float *d_k2, *scale, *spread; /* n_queries: of the first lists, as omen_margin_of() takes them */
    uint32_t *n_first;            /* n_queries: first lists */
    uint32_t *n_lists;            /* n_queries: lists taken, at the reach looked at */
    float *distances;             /* n_queries x k_most: of the true neighbours, as estimates have them */
    float *enlarged; /* n_queries x (LISTS_N_MARGINS + 1): the margins looked at, as omen_margin_of() makes them */
    float *kth, *kth_scale; /* n_queries: the k-th estimate in the lists taken, and what margins are relative to */
    double recall[LISTS_N_MARGINS + 1]; /* counted as reached, by number of the margin */
    float margin_most;
    uint32_t n_most;      /* lists looked at */
    uint64_t *pools;      /* n_queries x pool keys (estimate, position) */
    uint32_t *pool_ranks; /* n_queries x pool: rank of the list a candidate is in */
    uint32_t *hits; /* n_queries x k_most: places in the pool that hold true neighbours, ascending (APART first), */
    uint32_t *hit_truth; /* and which ones these are */
    uint32_t *n_hits;    /* n_queries */
    uint32_t pool;
    int n_threads;
    omen_watch *watch;
    omen_detail *why;
} omen_lists_measure;

/* Scans as many lists as hold nearly all neighbours for each of n_ks ks. Call omen_lists_measure_finish() also after a
 * failure. Returns OMEN_OK, OMEN_ERR_MEMORY or what a search returned. */
int omen_lists_measure_init(omen_lists_measure *m, const omen_index *index, const omen_calibration *truth,
                            const uint32_t *ks, size_t n_ks, int n_threads, omen_watch *watch,
                            omen_detail *why) OMEN_MUST_CHECK;

void omen_lists_measure_finish(omen_lists_measure *m);

/* Begins with a k <= k_most: reaches gets those worth looking at, falling. Returns as omen_lists_measure_init(). */
int omen_lists_measure_begin(omen_lists_measure *m, uint32_t k, float reaches[LISTS_N_REACHES]) OMEN_MUST_CHECK;

/* Fills recall for a reach. Returns the lists that it takes on average. */
uint32_t omen_lists_measure_reach(omen_lists_measure *m, uint32_t k, float reach);

/* The rows that the reach looked at last re-ranks on average with n <= OMEN_CALIBRATE_LEVELS margins, whose numbers do
 * not fall. Without codes nothing is re-ranked: 0. */
void omen_lists_measure_rows(const omen_lists_measure *m, const uint32_t *numbers, size_t n, double *rows);

/* What an effort gives where queries are searched again (omen_margin_again()). */
typedef struct omen_lists_again {
    double recall;      /* counted as reached */
    double lists, rows; /* on average: lists that are taken the second time, and rows re-ranked, both times */
} omen_lists_again;

#define LISTS_N_LACKS   5u                                      /* looked at together, at most, */
#define LISTS_N_EFFORTS (OMEN_CALIBRATE_LEVELS * LISTS_N_LACKS) /* and with so many margins */

/* Measures a reach with each of n_numbers <= OMEN_CALIBRATE_LEVELS margins, and each of these with n_lacks lacks: out
 * is n_numbers x n_lacks. Returns the lists taken on average, the first time. */
uint32_t omen_lists_measure_again(omen_lists_measure *m, uint32_t k, float reach, const uint32_t *numbers,
                                  size_t n_numbers, const float *lacks, size_t n_lacks, omen_lists_again *out);

/* The margin of a number up to LISTS_N_MARGINS. */
float omen_lists_measure_margin(const omen_lists_measure *m, uint32_t number);

/* Estimate, in bytes, of the private memory that this needs besides omen_calibration_bytes(). */
uint64_t omen_lists_measure_bytes(uint32_t n_queries, uint32_t n_lists);

#endif
