/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of rows of one index: what a filter selects. */
#ifndef OMEN_ROW_SET_H
#define OMEN_ROW_SET_H

#include "lib/omendb_columns.h"

/* A set of few rows (omen_filter_few()) is a list of them, any other a bitmap. */
struct omen_row_set {
    const omen_index *index;
    uint64_t n_rows, n_matches;
    uint32_t *positions; /* n_matches, rising, of a list; NULL: it is a bitmap, and only then are there others */
    uint64_t *words;     /* omen_row_set_words(n_rows), bit i of them: the row at position i; bits past n_rows are 0 */
    uint32_t *counts;    /* of each list */
};

/* Words of a set of n_rows rows. */
static inline uint64_t omen_row_set_words(uint64_t n_rows)
{
    return (n_rows + 63) / 64;
}

/* Whether position is among n rising ones. */
static inline bool omen_positions_have(const uint32_t *positions, uint64_t n, uint64_t position)
{
    uint64_t low = 0, high = n;
    while (low < high) {
        const uint64_t middle = (low + high) / 2;
        if (positions[middle] < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && positions[low] == position;
}

static inline bool omen_row_set_has(const omen_row_set *set, uint64_t position)
{
    return set->positions ? omen_positions_have(set->positions, set->n_matches, position)
                          : set->words[position / 64] >> position % 64 & 1;
}

/* A bitmap without rows, to be filled by position: NULL when out of memory. omen_row_set_destroy() frees it. */
omen_row_set *omen_row_set_create_empty(const omen_index *index);

/* The same, whose words may be anything, to be set all of them. */
omen_row_set *omen_row_set_create_unset(const omen_index *index);

/* A list of the n rising positions, which are few: NULL when out of memory. */
omen_row_set *omen_row_set_create_list(const omen_index *index, const uint32_t *positions, uint64_t n);

/* After filling words: clears the bits past n_rows and counts the rows, of each list, too. Where they are few the
 * bitmap becomes a list. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int omen_row_set_finish(omen_row_set *set) OMEN_MUST_CHECK;

/* Appends the positions of the bits of n_words words, the first of them being first: to has room for most + 64. Returns
 * how many there are then, n having been there before; more than most: not all of them are. */
uint64_t omen_row_set_list(const uint64_t *words, uint64_t n_words, uint32_t first, uint64_t n, uint64_t most,
                           uint32_t *to);

/* Keys (1, row number) of its n rows with the lowest numbers, ascending; n is at most n_matches. Returns OMEN_OK or
 * OMEN_ERR_MEMORY. */
int omen_row_set_first(const omen_row_set *set, uint32_t n, uint64_t *keys) OMEN_MUST_CHECK;

#endif
