/* SPDX-License-Identifier: Apache-2.0 */
/* omendb: several indexes that are searched as one. A part of the public interface, as omendb.h describes it, which is
 * installed beside this file. */
#ifndef OMENDB_JOINT_H
#define OMENDB_JOINT_H

#include "omendb_audit.h"
#include "omendb_rows.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Several indexes of the same metric and dimension. Their rows are numbered through in the order of the indexes: row r
 * of index i is joint row r + the number of rows of the indexes before it. It does not change, so threads may share it.
 */
typedef struct omen_joint omen_joint;

/* Joins n >= 1 indexes, which stay the caller's and must outlive *out. names: what failures call them, n of them, which
 * are copied; NULL: "index 0" and so on. *out is the caller's to destroy, NULL on failure. Returns OMEN_OK,
 * OMEN_ERR_ARGUMENT (no index; metrics, dimensions or refine tiers that do not go together; more than 2^32 - 16 rows)
 * or OMEN_ERR_MEMORY. */
OMEN_API int omen_joint_create(omen_joint **out, const omen_index *const *indexes, const char *const *names, size_t n,
                               omen_detail *why) OMEN_MUST_CHECK;

/* NULL is fine. */
OMEN_API void omen_joint_destroy(omen_joint *joint);

/* How many rows all of them have. */
OMEN_API uint64_t omen_joint_row_count(const omen_joint *joint);

/* What they are together, to *out: as omen_index_get_info(), with the sums of rows, lists and bytes; key_kind is
 * OMEN_KEYS_NONE unless all have keys of one kind, key_most_bytes of the longest; zero_ok where one of them accepts
 * zero rows; refine of the one whose tier is rounded most; everything else is of the first. */
OMEN_API int omen_joint_get_info(const omen_joint *joint, omen_index_info *out) OMEN_MUST_CHECK;

/* The number of the index that has a joint row, which has to exist. own_row, if not NULL, gets its number there. */
OMEN_API size_t omen_joint_find(const omen_joint *joint, uint64_t row, uint64_t *own_row);

/* Finds the k nearest of all rows as omen_index_search() finds those of one index: ids are joint rows. Through the
 * lists the effort is planned for all of them together, so that the recall of the joint answer is the one asked for.
 *   queries, ids, distances, stats   as omen_index_search() has them
 *   options  row_sets holds n x n_queries sets: query q finds rows of index i that are in row_sets[i * n_queries + q],
 *            all where that is NULL. Each index is then searched for the whole recall, and so it is with exact. way
 *            cannot be OMEN_SEARCH_GRAPH unless there is one index, of which everything is as without this function
 * Returns as omen_index_search() does; why names the index at fault. */
OMEN_API int omen_joint_search(const omen_joint *joint, const omen_search_options *options, const float *queries,
                               uint64_t n_queries, int64_t *ids, float *distances, omen_search_stats *stats,
                               omen_detail *why) OMEN_MUST_CHECK;

/* Finds all rows within a distance, as omen_index_search_within() does. *out is the caller's to destroy, NULL on
 * failure. */
OMEN_API int omen_joint_search_within(const omen_joint *joint, const omen_search_options *options, const float *queries,
                                      uint64_t n_queries, omen_found **out, omen_search_stats *stats,
                                      omen_detail *why) OMEN_MUST_CHECK;

/* Chooses the way, as omen_index_choose_way() does: of several indexes lists, unless exact search is asked for.
 * can_reach says whether each index reaches the recall, recall_most the least that one of them does. */
OMEN_API int omen_joint_choose_way(const omen_joint *joint, const omen_search_options *options, uint64_t n_queries,
                                   omen_way_choice *out, omen_detail *why) OMEN_MUST_CHECK;

/* The least omen_index_ceiling() of them, and whether omen_index_rows_are_exact() of all. */
OMEN_API double omen_joint_ceiling(const omen_joint *joint, double *at_least);
OMEN_API bool omen_joint_rows_are_exact(const omen_joint *joint);

/* The key of a joint row, as omen_index_key_of(). */
OMEN_API int omen_joint_key_of(const omen_joint *joint, uint64_t row, omen_row_key *out,
                               omen_detail *why) OMEN_MUST_CHECK;

/* The first joint row of a key, as omen_index_row_of_key(). */
OMEN_API int omen_joint_row_of_key(const omen_joint *joint, const omen_row_key *key, int64_t *row,
                                   omen_detail *why) OMEN_MUST_CHECK;

/* Whether all indexes have keys of the same kind, and no key is in two of them: their sorted keys are merged, skipping
 * what lies between those of other indexes. progress may be NULL. Returns OMEN_OK, OMEN_ERR_INPUT (why names both
 * places), OMEN_ERR_ARGUMENT (indexes without keys, or of another kind), OMEN_ERR_CORRUPT, OMEN_ERR_MEMORY or
 * OMEN_ERR_INTERRUPTED. */
OMEN_API int omen_joint_check_keys(const omen_joint *joint, omen_progress_fn progress, void *context,
                                   omen_detail *why) OMEN_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
