/* SPDX-License-Identifier: Apache-2.0 */
/* Rows set apart: those of inner-product indexes that are longer than the radius that the others are lifted to. There
 * are few, and every query is compared with all of them. */
#ifndef OMEN_APART_H
#define OMEN_APART_H

#include "lib/index.h"
#include "lib/sections.h"
#include "lib/ways.h"

/* Whether a row (d values) is longer than the radius by so much that its code misses it. */
bool omen_apart_is(const float *row, size_t d, float radius2) OMEN_MUST_CHECK;

/* Opens the section APRT, which is missing where no row is apart. Returns OMEN_OK or OMEN_ERR_CORRUPT. */
int omen_apart_open(omen_index *index, const omen_section_list *list) OMEN_MUST_CHECK;

/* Puts the rows set apart into keys, the k best (distance, first_row + id) of each query so far, ascending; stats may
 * be NULL.
 * Returns OMEN_OK, OMEN_ERR_CORRUPT or OMEN_ERR_INTERRUPTED. */
int omen_apart_search(const omen_index *index, const float *queries, const omen_row_set *const *row_sets,
                      uint64_t n_queries, uint32_t k, int n_threads, uint32_t first_row, uint64_t *keys,
                      omen_search_stats *stats, omen_watch *watch, omen_detail *why) OMEN_MUST_CHECK;

/* The same into job->ranges, of a search for all rows within a distance. Returns OMEN_ERR_MEMORY besides. */
int omen_apart_search_within(const omen_index *index, const omen_search_job *job) OMEN_MUST_CHECK;

#endif
