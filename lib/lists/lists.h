/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of an index. Searching them is in lists_search.h. */
#ifndef OMEN_LISTS_H
#define OMEN_LISTS_H

#include "lib/calibrate.h"
#include "lib/index.h"
#include "lib/sections.h"

/* Whether their sections are there and of the lengths that META gives. Returns OMEN_OK or OMEN_ERR_CORRUPT. */
int omen_lists_check_sections(const omen_section_list *list, const omen_meta *meta) OMEN_MUST_CHECK;

/* Opens centroids and lists. Returns OMEN_OK, OMEN_ERR_CORRUPT or OMEN_ERR_MEMORY. */
int omen_lists_open(omen_index *index, const omen_section_list *list) OMEN_MUST_CHECK;

/* Also after a failure of omen_lists_open(), or before it. */
void omen_lists_close(omen_index *index);

/* Whether every list is in order of id, as omen_index_check(). */
int omen_lists_check(const omen_index *index, omen_fault_fn fault, void *context) OMEN_MUST_CHECK;

/* As ways.h has it. Makes the sections TUNE and ATUN: which effort reaches which recall for k = 1, 10 and 100, those of
 * them that do not exceed k_most. Returns OMEN_OK, OMEN_ERR_MEMORY or what a search returned. */
int omen_lists_calibrate(const omen_index *index, const omen_calibration *truth, int n_threads,
                         omen_way_table tables[OMEN_WAY_TABLES], omen_watch *watch, omen_detail *why) OMEN_MUST_CHECK;

/* Estimate, in bytes, of the private memory that this needs besides omen_calibration_bytes(). */
uint64_t omen_lists_calibrate_bytes(uint64_t n_rows, uint32_t d, uint32_t n_lists, int n_threads);

#endif
