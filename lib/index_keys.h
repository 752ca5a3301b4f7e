/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of an index, and what keys of rows have to be (docs/FORMAT.md, Keys). */
#ifndef OMEN_INDEX_KEYS_H
#define OMEN_INDEX_KEYS_H

#include "lib/index.h"
#include "lib/omendb_rows.h"
#include "lib/sections.h"

/* Bytes of the integers 0 .. most: 1 to 8. */
uint32_t omen_row_key_width(uint64_t most);

/* Whether a text may be a key. Returns OMEN_OK or OMEN_ERR_INPUT, and in why what is wrong with it. */
int omen_row_key_check_text(const char *text, uint64_t n_bytes, omen_detail *why) OMEN_MUST_CHECK;

/* Negative, 0 or positive as a is less than b, the same, or greater; both of one kind. */
int omen_row_key_compare(const omen_row_key *a, const omen_row_key *b);

/* Key i, below the number of rows, of an index that has keys, in their order, and its row: as omen_index_key_of(). */
int omen_index_key_at(const omen_index *index, uint64_t i, uint64_t *row, omen_row_key *out,
                      omen_detail *why) OMEN_MUST_CHECK;

/* Checks what META says of the sections of keys, reading nothing but META. Returns OMEN_OK or OMEN_ERR_CORRUPT. */
int omen_index_keys_check_sections(const omen_section_list *list, const omen_meta *m) OMEN_MUST_CHECK;

/* Opens the keys, if there are any. The index keeps its touched sections already. Returns OMEN_OK, OMEN_ERR_CORRUPT or
 * OMEN_ERR_UNSUPPORTED. */
int omen_index_keys_open(omen_index *index, const omen_section_list *list) OMEN_MUST_CHECK;

/* Bytes of all their sections. */
uint64_t omen_index_keys_bytes(const omen_index *index);

/* Checks every key, and their order. As omen_index_check(). */
int omen_index_keys_check(const omen_index *index, omen_fault_fn fault, void *context) OMEN_MUST_CHECK;

#endif
