/* SPDX-License-Identifier: Apache-2.0 */
/* What a search touches: blocks of codes, refine rows and ids are compared with their checksums when they are first
 * used, and their contents checked. */
#include "lib/graph/graph.h"
#include "lib/index.h"
#include "lib/refine.h"

/* Checks the blocks of bytes [at, at + n_bytes) that nobody has touched before, and calls valid for the bytes of each.
 */
static int touch(const omen_index *index, const omen_touched *touched, uint64_t at, uint64_t n_bytes,
                 int (*valid)(const omen_index *, uint64_t begin, uint64_t end, omen_detail *), omen_detail *why)
{
    if (!n_bytes || omen_touched_before(touched, at, n_bytes))
        return OMEN_OK;
    const omen_section *s = &touched->section;
    const uint64_t end = (at + n_bytes - 1) / OMEN_CHECK_BYTES;
    for (uint64_t b = at / OMEN_CHECK_BYTES; b <= end; b++) {
        const uint64_t begin = b * OMEN_CHECK_BYTES, left = s->n_bytes - begin;
        if (omen_touched_before(touched, begin, 1))
            continue;
        int status = s->check(s, b, 1, why);
        if (status == OMEN_OK && valid)
            status = valid(index, begin, begin + (left < OMEN_CHECK_BYTES ? left : OMEN_CHECK_BYTES), why);
        if (status != OMEN_OK)
            return status;
        __atomic_fetch_or(touched->seen + b / 64, (uint64_t)1 << b % 64, __ATOMIC_RELAXED);
    }
    return OMEN_OK;
}

/* Refine rows that begin in [begin, end). */
static int rows_valid(const omen_index *index, uint64_t begin, uint64_t end, omen_detail *why)
{
    const uint64_t row_bytes = index->refine_row_bytes, first = (begin + row_bytes - 1) / row_bytes;
    const uint64_t n_rows = (end + row_bytes - 1) / row_bytes - first;
    if (omen_refine_are_valid(index->meta.refine, index->refine_rows + first * row_bytes, n_rows, row_bytes,
                              index->meta.d))
        return OMEN_OK;
    for (uint64_t i = first; i < first + n_rows; i++)
        if (!omen_refine_is_valid(index->meta.refine, index->refine_rows + i * row_bytes, index->meta.d))
            return omen_fail(why, OMEN_ERR_CORRUPT, "section REFN: row at position %llu is not finite",
                             (unsigned long long)i);
    return OMEN_OK;
}

static int ids_valid(const omen_index *index, uint64_t begin, uint64_t end, omen_detail *why)
{
    for (uint64_t i = begin / 4; i < end / 4; i++)
        if (index->ids[i] >= index->meta.n_rows)
            return omen_fail(why, OMEN_ERR_CORRUPT, "section PERM: position %llu holds id %u, which no row has",
                             (unsigned long long)i, index->ids[i]);
    return OMEN_OK;
}

static int graph_codes_valid(const omen_index *index, uint64_t begin, uint64_t end, omen_detail *why)
{
    for (uint64_t i = begin / OMEN_GRAPH_CODE_BYTES; i < end / OMEN_GRAPH_CODE_BYTES; i++)
        if (!omen_graph_code_is_sound(index->graph.codes + i * OMEN_GRAPH_CODE_BYTES))
            return omen_fail(why, OMEN_ERR_CORRUPT, "section GCOD: position %llu has no finite length",
                             (unsigned long long)i);
    return OMEN_OK;
}

static int neighbours_valid(const omen_index *index, uint64_t begin, uint64_t end, omen_detail *why)
{
    for (uint64_t i = begin / 4; i < end / 4; i++)
        if (index->graph.neighbours[i] >= index->meta.n_rows && index->graph.neighbours[i] != OMEN_GRAPH_NONE)
            return omen_fail(why, OMEN_ERR_CORRUPT, "section GADJ: position %llu has neighbour %u, which no row is",
                             (unsigned long long)(i / index->graph.degree), index->graph.neighbours[i]);
    return OMEN_OK;
}

int omen_index_touch_codes(const omen_index *index, uint64_t first_block, uint64_t n_blocks, omen_detail *why)
{
    return touch(index, &index->code, first_block * index->block_bytes, n_blocks * index->block_bytes, NULL, why);
}

int omen_index_touch_rows(const omen_index *index, uint64_t first_row, uint64_t n_rows, omen_detail *why)
{
    return touch(index, &index->refn, first_row * index->refine_row_bytes, n_rows * index->refine_row_bytes, rows_valid,
                 why);
}

int omen_index_touch_ids(const omen_index *index, uint64_t first_row, uint64_t n_rows, omen_detail *why)
{
    return touch(index, &index->perm, first_row * 4, n_rows * 4, ids_valid, why);
}

int omen_index_touch_graph_codes(const omen_index *index, uint64_t first_row, uint64_t n_rows, omen_detail *why)
{
    return touch(index, &index->graph.code, first_row * OMEN_GRAPH_CODE_BYTES, n_rows * OMEN_GRAPH_CODE_BYTES,
                 graph_codes_valid, why);
}

int omen_index_touch_neighbours(const omen_index *index, uint64_t first_row, uint64_t n_rows, omen_detail *why)
{
    const uint64_t row_bytes = 4 * (uint64_t)index->graph.degree;
    return touch(index, &index->graph.adjacency, first_row * row_bytes, n_rows * row_bytes, neighbours_valid, why);
}

int omen_index_touch_bytes(const omen_touched *touched, uint64_t at, uint64_t n_bytes, omen_detail *why)
{
    return touch(NULL, touched, at, n_bytes, NULL, why);
}
