/* SPDX-License-Identifier: Apache-2.0 */
/* omendb: the recall of a batch, measured on a sample of its queries, and the recall that an index can reach. A part of
 * the public interface, as omendb.h describes it, which is installed beside this file. */
#ifndef OMENDB_AUDIT_H
#define OMENDB_AUDIT_H

#include "omendb.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Chooses n_sample of queries 0 .. n_queries - 1: those with the smallest hashes of seed and number. numbers gets them
 * in ascending order, n_sample of them. Returns OMEN_OK, OMEN_ERR_ARGUMENT (n_sample > n_queries) or OMEN_ERR_MEMORY.
 */
OMEN_API int omen_audit_choose(uint64_t seed, uint64_t n_queries, uint64_t n_sample, uint64_t *numbers) OMEN_MUST_CHECK;

/* Counts for each of n queries how many of its k found rows are as near as the k-th nearest row.
 *   found   n x k distances of omen_index_search(); INFINITY, where a filter leaves fewer than k rows, is none found
 *   limits  n distances of the k-th nearest row, from omen_index_search() with its option exact
 *   hits    n counts, written */
OMEN_API void omen_audit_count(const float *found, const float *limits, uint64_t n, uint32_t k, uint32_t *hits);

/* A recall, and the limits that its true value is between in 95 of 100 samples. */
typedef struct omen_recall {
    double mean, low, high;
} omen_recall;

/* The recall@k of n_queries, of which n_sample (at least 1) were compared with exact search, hits being their counts by
 * omen_audit_count() and wanted the rows that exact search found of each (NULL: k): the share of the wanted rows found,
 * with Wilson's interval for so many rows over the design effect, since rows of one query are found or missed together.
 * Where the sample is all there is, mean, low and high are the same, and 1 where nothing is wanted. ceiling is the
 * recall of the exact search itself, and multiplies all three: omen_index_ceiling(), or 1. */
OMEN_API omen_recall omen_audit_recall(const uint32_t *hits, const uint32_t *wanted, uint64_t n_sample,
                                       uint64_t n_queries, uint32_t k, double ceiling);

/* The recall@10 of exact search, whose refine rows may be rounded, as the build estimated it; 1 where it did not.
 * at_least, if not NULL, gets what is taken for it in that case, so as not to claim too much. */
OMEN_API double omen_index_ceiling(const omen_index *index, double *at_least);

/* Whether the refine tier holds rows as they were read; false without one, and where the build did not measure it. */
OMEN_API bool omen_index_rows_are_exact(const omen_index *index);

/* Whether the build found that an effort of the lists reaches recall@k (k at least 1), or measured nothing. most, if
 * not NULL, gets the highest recall that it measured, or 1; more effort gives next to nothing more. */
OMEN_API bool omen_index_can_reach(const omen_index *index, uint32_t k, float recall, double *most);

#ifdef __cplusplus
}
#endif

#endif
