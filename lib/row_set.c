/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of rows, by position in list order, the order in which a search reads rows: bitmaps, or lists of few positions,
 * which batches of narrow filters would else spend most of their time on writing and reading. Which of both a set is
 * depends on how many rows it has, so equal sets are alike. */
#include <stdlib.h>
#include <string.h>

#include "lib/filter.h"
#include "lib/index.h"
#include "lib/matrix.h"
#include "lib/row_set.h"

/* words may be anything, or are 0. */
static omen_row_set *create(const omen_index *index, bool zero)
{
    omen_row_set *set = malloc(sizeof *set);
    if (!set)
        return NULL;
    *set = (omen_row_set){.index = index, .n_rows = index->meta.n_rows};
    const uint64_t n_words = omen_row_set_words(set->n_rows);
    set->words = zero ? omen_alloc_zero(n_words, sizeof *set->words) : omen_alloc(n_words, sizeof *set->words);
    set->counts = omen_alloc(index->meta.n_lists, sizeof *set->counts);
    if (set->words && set->counts)
        return set;
    omen_row_set_destroy(set);
    return NULL;
}

omen_row_set *omen_row_set_create_empty(const omen_index *index)
{
    return create(index, true);
}

omen_row_set *omen_row_set_create_unset(const omen_index *index)
{
    return create(index, false);
}

omen_row_set *omen_row_set_create_list(const omen_index *index, const uint32_t *positions, uint64_t n)
{
    omen_row_set *set = malloc(sizeof *set);
    uint32_t *own = omen_alloc(n, sizeof *own);
    if (!set || !own) {
        free(set);
        free(own);
        return NULL;
    }
    memcpy(own, positions, n * sizeof *own);
    *set = (omen_row_set){.index = index, .n_rows = index->meta.n_rows, .n_matches = n, .positions = own};
    return set;
}

uint64_t omen_row_set_list(const uint64_t *words, uint64_t n_words, uint32_t first, uint64_t n, uint64_t most,
                           uint32_t *to)
{
    for (uint64_t w = 0; w < n_words && n <= most; w += 8) { /* most are 0: a branch for each would not be foreseen */
        uint32_t some = 0;
        if (n_words - w < 8)
            some = (1u << (n_words - w)) - 1;
        else if ((words[w] | words[w + 1] | words[w + 2] | words[w + 3]) |
                 (words[w + 4] | words[w + 5] | words[w + 6] | words[w + 7]))
            for (uint32_t i = 0; i < 8; i++)
                some |= (uint32_t)(words[w + i] != 0) << i;
        for (; some && n <= most; some &= some - 1) {
            const uint64_t at = w + (uint32_t)__builtin_ctz(some);
            for (uint64_t word = words[at]; word; word &= word - 1)
                to[n++] = first + (uint32_t)(at * 64) + (uint32_t)__builtin_ctzll(word);
        }
    }
    return n;
}

int omen_row_set_finish(omen_row_set *set)
{
    const uint64_t n_words = omen_row_set_words(set->n_rows);
    if (set->n_rows % 64)
        set->words[n_words - 1] &= ((uint64_t)1 << set->n_rows % 64) - 1;
    set->n_matches = 0;
    omen_kernels_get()->count_bits(set->words, set->index->first, set->index->meta.n_lists, set->counts);
    for (uint32_t l = 0; l < set->index->meta.n_lists; l++)
        set->n_matches += set->counts[l];
    if (set->n_matches > omen_filter_few(set->index))
        return OMEN_OK;
    uint32_t *positions = omen_alloc(set->n_matches + 64, sizeof *positions);
    if (!positions)
        return OMEN_ERR_MEMORY;
    omen_row_set_list(set->words, n_words, 0, 0, set->n_matches, positions);
    free(set->words);
    free(set->counts);
    set->words = NULL;
    set->counts = NULL;
    set->positions = positions;
    return OMEN_OK;
}

/* Bits by row number become bits by position. */
static int place(omen_row_set *set, const uint64_t *by_id, omen_detail *why)
{
    const omen_index *index = set->index;
    int status = omen_index_touch_ids(index, 0, set->n_rows, why);
    for (uint64_t i = 0; i < set->n_rows && status == OMEN_OK; i++) {
        const uint32_t id = index->ids[i];
        if (id >= set->n_rows) /* of sections in memory nothing was checked */
            status = omen_fail(why, OMEN_ERR_CORRUPT, "section PERM: position %llu holds id %u, which no row has",
                               (unsigned long long)i, id);
        else
            set->words[i / 64] |= (by_id[id / 64] >> id % 64 & 1) << i % 64;
    }
    return status;
}

int omen_row_set_create(const omen_index *index, const int64_t *ids, uint64_t n_ids, bool except, omen_row_set **out,
                        omen_detail *why)
{
    const uint64_t n_rows = index->meta.n_rows, n_words = omen_row_set_words(n_rows);
    *out = NULL;
    for (uint64_t i = 0; i < n_ids; i++)
        if (ids[i] < 0 || (uint64_t)ids[i] >= n_rows)
            return omen_fail(why, OMEN_ERR_ARGUMENT, "row %lld does not exist: the index has rows 0 to %llu",
                             (long long)ids[i], (unsigned long long)n_rows - 1);
    omen_row_set *set = omen_row_set_create_empty(index);
    uint64_t *by_id = omen_alloc_zero(n_words, sizeof *by_id);
    int status = set && by_id ? OMEN_OK : omen_fail(why, OMEN_ERR_MEMORY, "out of memory for a set of rows");
    for (uint64_t i = 0; i < n_ids && status == OMEN_OK; i++)
        by_id[ids[i] / 64] |= (uint64_t)1 << ids[i] % 64;
    for (uint64_t i = 0; i < n_words && status == OMEN_OK && except; i++)
        by_id[i] = ~by_id[i];
    if (status == OMEN_OK)
        status = place(set, by_id, why);
    free(by_id);
    if (status == OMEN_OK && omen_row_set_finish(set) != OMEN_OK)
        status = omen_fail(why, OMEN_ERR_MEMORY, "out of memory for a set of rows");
    if (status != OMEN_OK) {
        omen_row_set_destroy(set);
        return status;
    }
    *out = set;
    return OMEN_OK;
}

void omen_row_set_destroy(omen_row_set *set)
{
    if (!set)
        return;
    free(set->positions);
    free(set->words);
    free(set->counts);
    free(set);
}

/* Of two sets, one of them a list, the rows that both have: it has room for those of the list. */
static omen_row_set *intersect_list(const omen_row_set *a, const omen_row_set *b)
{
    const omen_row_set *list = a->positions ? a : b, *other = a->positions ? b : a;
    omen_row_set *set = omen_row_set_create_list(list->index, list->positions, list->n_matches);
    uint64_t n = 0;
    for (uint64_t i = 0; set && i < list->n_matches; i++) {
        set->positions[n] = list->positions[i];
        n += omen_row_set_has(other, list->positions[i]);
    }
    if (set)
        set->n_matches = n;
    return set;
}

static omen_row_set *intersect_bitmaps(const omen_row_set *a, const omen_row_set *b)
{
    omen_row_set *set = omen_row_set_create_unset(a->index);
    for (uint64_t i = 0; set && i < omen_row_set_words(set->n_rows); i++)
        set->words[i] = a->words[i] & b->words[i];
    if (set && omen_row_set_finish(set) != OMEN_OK) {
        omen_row_set_destroy(set);
        return NULL;
    }
    return set;
}

int omen_row_set_intersect(const omen_row_set *a, const omen_row_set *b, omen_row_set **out, omen_detail *why)
{
    *out = NULL;
    if (a->index != b->index)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the sets are of two indexes");
    *out = a->positions || b->positions ? intersect_list(a, b) : intersect_bitmaps(a, b);
    return *out ? OMEN_OK : omen_fail(why, OMEN_ERR_MEMORY, "out of memory for a set of rows");
}

uint64_t omen_row_set_count(const omen_row_set *set)
{
    return set->n_matches;
}

uint64_t omen_row_set_checksum(const omen_row_set *set)
{
    if (set->positions)
        return omen_kernels_get()->xxh3(set->positions, set->n_matches * sizeof *set->positions);
    return omen_kernels_get()->xxh3(set->words, omen_row_set_words(set->n_rows) * sizeof *set->words);
}

int omen_row_set_first(const omen_row_set *set, uint32_t n, uint64_t *keys)
{
    uint64_t *all = omen_alloc(set->n_matches, sizeof *all), n_all = 0;
    if (!all)
        return OMEN_ERR_MEMORY;
    for (uint64_t i = 0; i < set->n_matches && set->positions; i++)
        all[n_all++] = omen_key(1, set->index->ids[set->positions[i]]);
    for (uint64_t i = 0; i < set->n_rows && !set->positions; i++)
        if (omen_row_set_has(set, i))
            all[n_all++] = omen_key(1, set->index->ids[i]);
    if (n)
        omen_keys_select(all, n_all, n);
    omen_keys_sort(all, n);
    memcpy(keys, all, n * sizeof *keys);
    free(all);
    return OMEN_OK;
}
