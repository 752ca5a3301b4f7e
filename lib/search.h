/* SPDX-License-Identifier: Apache-2.0 */
/* What the searches of omendb.h share. */
#ifndef OMEN_SEARCH_H
#define OMEN_SEARCH_H

#include "lib/ways.h"

/* Whether queries are such as an index can be searched for. Returns OMEN_OK or OMEN_ERR_INPUT. */
int omen_search_check_queries(const omen_index *index, const omen_search_options *options, const float *queries,
                              uint64_t n_queries, omen_detail *why) OMEN_MUST_CHECK;

/* Whether a query is a zero query that has no direction: as far from every row as from any other. */
bool omen_search_is_zero(const omen_index *index, const omen_search_options *options, const float *query);

/* Whether the keys of queries, n_found[q] of the k of query q, are rows that exist, each once, at distances that are
 * numbers, whatever the files say. Returns OMEN_OK, OMEN_ERR_CORRUPT or OMEN_ERR_MEMORY. */
int omen_search_check_results(uint64_t n_rows, const uint64_t *keys, uint64_t n_queries, uint32_t k,
                              const uint32_t *n_found, int n_threads, omen_detail *why) OMEN_MUST_CHECK;

/* One query's n keys as k ids and distances (or NULL). */
void omen_search_put_found(const uint64_t *keys, uint32_t n, uint32_t k, int64_t *ids, float *distances);

/* Searches the way that omen_index_choose_way() says. options are those of the job, and get exact where that way is.
 * Returns as that does, or as the way. */
int omen_search_run(const omen_index *index, omen_search_options *options, const omen_search_job *job) OMEN_MUST_CHECK;

#endif
