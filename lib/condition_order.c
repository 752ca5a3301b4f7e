/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions on one column, by the order of its values: few rows are put into the order of their positions; of many,
 * buckets are taken as a whole and what is too much or too little of them is turned over row by row. */
#include <stdlib.h>
#include <string.h>

#include "lib/condition_order.h"
#include "lib/filter.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"
#include "lib/row_set.h"

#define FEW_RANGES  8u     /* more of many rows: a pass over the values */
#define PASS_ROWS   32768u /* of a bitmap cleared and filled while near */
#define LOOSE_SHARE 64u    /* this part of the rows is set one by one in the time of a pass over the buckets */

void omen_position_sorter_finish(omen_position_sorter *sorter)
{
    free(sorter->words);
}

/* Puts n positions below n_rows, each there once, into order. */
static int sort_positions(omen_position_sorter *sorter, uint64_t n_rows, uint32_t *positions, uint64_t n)
{
    const uint64_t n_words = omen_row_set_words(n_rows), n_some = omen_row_set_words(n_words);
    if (!sorter->words && !(sorter->words = omen_alloc_zero(n_words + n_some, sizeof *sorter->words)))
        return OMEN_ERR_MEMORY;
    uint64_t *words = sorter->words, *some = words + n_words;
    for (uint64_t i = 0; i < n; i++) {
        const uint32_t w = positions[i] / 64;
        words[w] |= (uint64_t)1 << positions[i] % 64;
        some[w / 64] |= (uint64_t)1 << w % 64;
    }
    n = 0;
    for (uint64_t s = 0; s < n_some; s++) {
        for (; some[s]; some[s] &= some[s] - 1) {
            const uint64_t w = s * 64 + (uint64_t)__builtin_ctzll(some[s]);
            for (; words[w]; words[w] &= words[w] - 1)
                positions[n++] = (uint32_t)(w * 64 + (uint64_t)__builtin_ctzll(words[w]));
        }
    }
    return OMEN_OK;
}

/* Ranks [first, first + n). */
typedef struct {
    uint32_t first, n;
} ranks;

static int make_list(const omen_index *index, const omen_column_order *order, const ranks *parts, size_t n_parts,
                     uint64_t n, omen_position_sorter *sorter, omen_row_set **out)
{
    uint32_t *positions = omen_alloc(n, sizeof *positions);
    uint64_t at = 0;
    int status = positions ? OMEN_OK : OMEN_ERR_MEMORY;
    for (size_t i = 0; i < n_parts && status == OMEN_OK; at += parts[i++].n)
        memcpy(positions + at, order->rows + parts[i].first, parts[i].n * sizeof *positions);
    if (status == OMEN_OK)
        status = sort_positions(sorter, index->meta.n_rows, positions, n);
    if (status == OMEN_OK)
        *out = omen_row_set_create_list(index, positions, n);
    free(positions);
    return status == OMEN_OK && !*out ? OMEN_ERR_MEMORY : status;
}

/* Turns the bits of ranks from a to b, whichever is more, over. */
static void turn(const omen_column_order *order, uint32_t a, uint32_t b, uint64_t *words)
{
    for (uint32_t rank = a < b ? a : b, end = a < b ? b : a; rank < end; rank++) {
        const uint32_t position = order->rows[rank];
        words[position / 64] ^= (uint64_t)1 << position % 64;
    }
}

/* The bucket that begins nearest to a rank. */
static uint32_t nearest_bucket(const omen_column_order *order, uint32_t rank)
{
    const uint32_t bucket = rank / order->bucket_rows, left = order->n - bucket * order->bucket_rows;
    const uint32_t rows = left < order->bucket_rows ? left : order->bucket_rows;
    return bucket + (rank - bucket * order->bucket_rows > rows / 2);
}

/* The rank at which a bucket begins. */
static uint32_t first_of(const omen_column_order *order, uint32_t bucket)
{
    const uint64_t rank = (uint64_t)bucket * order->bucket_rows;
    return rank < order->n ? (uint32_t)rank : order->n;
}

static int make_bitmap(const omen_index *index, const omen_column_order *order, const ranks *parts, size_t n_parts,
                       omen_row_set **out)
{
    const uint64_t n_rows = index->meta.n_rows;
    ranks buckets[FEW_RANGES];
    omen_row_set *set = omen_row_set_create_unset(index);
    if (!set)
        return OMEN_ERR_MEMORY;
    for (size_t i = 0; i < n_parts; i++) {
        const uint32_t bucket = nearest_bucket(order, parts[i].first);
        const uint32_t past = nearest_bucket(order, parts[i].first + parts[i].n);
        buckets[i] = (ranks){bucket, parts[i].n <= n_rows / LOOSE_SHARE ? 0 : past - bucket};
    }
    for (uint64_t at = 0; at < n_rows; at += PASS_ROWS) {
        const uint64_t n = n_rows - at < PASS_ROWS ? n_rows - at : PASS_ROWS;
        uint64_t *words = set->words + at / 64;
        memset(words, 0, omen_row_set_words(n) * sizeof *words);
        for (size_t i = 0; i < n_parts; i++)
            if (buckets[i].n)
                omen_kernels_get()->range_bits(order->bucket + at, 1, n, buckets[i].first, buckets[i].n - 1, words);
    }
    for (size_t i = 0; i < n_parts; i++) {
        const uint32_t end = parts[i].first + parts[i].n, past = buckets[i].first + buckets[i].n;
        turn(order, parts[i].first, buckets[i].n ? first_of(order, buckets[i].first) : end, set->words);
        if (buckets[i].n)
            turn(order, end, first_of(order, past), set->words);
    }
    if (omen_row_set_finish(set) == OMEN_OK) {
        *out = set;
        return OMEN_OK;
    }
    omen_row_set_destroy(set);
    return OMEN_ERR_MEMORY;
}

int omen_condition_by_order(const omen_index *index, const omen_column_order *order, const omen_node *test,
                            omen_position_sorter *sorter, omen_row_set **out)
{
    const size_t n = test->ranges.n;
    uint64_t n_matches = 0;
    ranks own[FEW_RANGES], *parts = n <= FEW_RANGES ? own : omen_alloc(n, sizeof *parts);
    *out = NULL;
    if (!parts)
        return OMEN_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
        omen_column_order_find(order, &index->columns[test->column], test->ranges.ranges[i], &parts[i].first,
                               &parts[i].n);
        n_matches += parts[i].n;
    }
    int status = OMEN_OK;
    if (n_matches <= omen_filter_few(index))
        status = make_list(index, order, parts, n, n_matches, sorter, out);
    else if (n <= FEW_RANGES)
        status = make_bitmap(index, order, parts, n, out);
    if (parts != own)
        free(parts);
    return status;
}
