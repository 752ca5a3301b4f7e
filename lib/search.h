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

/* Searches the way that omen_index_choose_way() says. options are those of the job, and get exact where that way is.
 * Returns as that does, or as the way. */
int omen_search_run(const omen_index *index, omen_search_options *options, const omen_search_job *job) OMEN_MUST_CHECK;

#endif
