/* SPDX-License-Identifier: Apache-2.0 */
/* What every way through an index calibrates its effort on: queries, the user's or rows of the source, and their true
 * neighbours. */
#ifndef OMEN_CALIBRATE_H
#define OMEN_CALIBRATE_H

#include "lib/neighbours.h"

#define OMEN_CALIBRATE_K      OMEN_NEIGHBOURS_WANTED /* the largest k that is measured */
#define OMEN_CALIBRATE_KS     3u
#define OMEN_CALIBRATE_LEVELS 10u
#define OMEN_CALIBRATE_APART  UINT32_MAX

/* The ks that are measured, as far as there are so many neighbours, and the recalls that efforts are found for; both
 * rising. */
extern const uint32_t omen_calibrate_ks[OMEN_CALIBRATE_KS];
extern const float omen_calibrate_levels[OMEN_CALIBRATE_LEVELS];

#define OMEN_WAY_TABLES 2u /* sections that a way is calibrated to, at most */

/* The content of one of them: data is the caller's to free; 0 bytes: there is none. */
typedef struct omen_way_table {
    void *data;
    size_t n_bytes;
} omen_way_table;

typedef struct omen_calibration {
    uint32_t n_queries, d;
    uint32_t k_most;   /* OMEN_CALIBRATE_K, or as many neighbours as there are */
    uint32_t n_truth;  /* some more than k_most, which might take the place of these after rounding */
    float *queries;    /* n_queries x d */
    uint32_t *own;     /* ids of the queries, which are not their own neighbours; OMEN_NEIGHBOURS_NO_ROW: not a row */
    uint64_t *truth;   /* n_queries x n_truth keys (distance, id), ascending, of the source's rows; own among them */
    uint64_t *refined; /* the same rows in the same order: (distance as re-ranking measures it, id) */
    uint32_t *neighbours; /* n_queries x k_most ids: the nearest of truth, without own */
    uint32_t *lists;      /* n_queries x k_most: the lists they are in; OMEN_CALIBRATE_APART: a row set apart */
    double near_copies;   /* as in omen_build_report */
    double copies[OMEN_CALIBRATE_KS]; /* share of near copies among the k nearest, where most queries have one; or 0 */
    double copies_lost[OMEN_CALIBRATE_KS]; /* there, of the k nearest: lost (omen_calibration_mark_lost()) */
    double lost; /* recall that the source's rows have lost by rounding, which truth does not show */
} omen_calibration;

/* Makes the queries and neighbours of a calibration of what was found for an index of at least 2 rows. Rows that equal
 * so many others that any search finds enough of them are left out. Call omen_calibration_finish() also after a
 * failure. Returns OMEN_OK, OMEN_ERR_MEMORY, OMEN_ERR_INTERRUPTED or OMEN_ERR_CORRUPT (a neighbour is no row). */
int omen_calibration_init(omen_calibration *c, const omen_index *index, const omen_neighbours *truth,
                          omen_watch *watch) OMEN_MUST_CHECK;

void omen_calibration_finish(omen_calibration *c);

/* The list that a position is in, or OMEN_CALIBRATE_APART. */
uint32_t omen_calibration_list(const omen_index *index, uint32_t position);

/* Keeps n of the queries: query q of out is query omen_calibration_thinned(from, n, q) of from. As
 * omen_calibration_init(), returns OMEN_OK or OMEN_ERR_MEMORY. */
int omen_calibration_thin(const omen_calibration *from, uint32_t n, omen_calibration *out) OMEN_MUST_CHECK;

static inline uint32_t omen_calibration_thinned(const omen_calibration *from, uint32_t n, uint32_t q)
{
    return (uint32_t)((uint64_t)q * from->n_queries / n);
}

/* Whether re-ranking puts each of the k neighbours of each query behind k others, whatever the effort: lost is
 * n_queries x k. */
void omen_calibration_mark_lost(const omen_calibration *c, uint32_t k, bool *lost);

/* The recall that n_queries searches for k neighbours count as reaching, of which they found n_found, n_found2 being
 * the sum of the squares of what each found: the mean less 1.5 standard errors, but by margin_most at the most, since a
 * recall found well above the one asked for is time wasted. */
double omen_calibration_safe_recall(uint64_t n_found, uint64_t n_found2, uint32_t n_queries, uint32_t k,
                                    double margin_most);

/* The recall among those of the k nearest, a k of omen_calibrate_ks, that are no near copies of a query, if copies are
 * always found, but for what is lost: what queries find that are no rows. Where few queries have copies, recall itself.
 */
double omen_calibration_recall_of_others(const omen_calibration *c, uint32_t k, double recall);

/* Estimate, in bytes, of the private memory that this needs: what a calibration keeps, and what is free again when
 * omen_calibration_init() returns. */
void omen_calibration_bytes(uint64_t n, uint32_t d, uint64_t *kept, uint64_t *passing);

#endif
