/* SPDX-License-Identifier: Apache-2.0 */
/* The edges of a graph: candidates for each row, found among the rows of its own and near lists, and the choice between
 * them. Lists that are long are cut into leaves first, so that the work grows hardly faster than the rows.
 *
 * Rows whose coarse rows are the same are copies: only the first of them takes part, or all edges of a row that has
 * many would lead to its copies. graph_link.c hangs the others on it. */
#include <stdlib.h>
#include <string.h>

#include "lib/graph/graph.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"

#define LEAF_MOST    OMEN_GRAPH_PACKED /* rows */
#define SPLIT_SAMPLE 1024u             /* rows that tell along which dimension a list is cut */
#define PROBES       32u               /* leaves that a row is compared with */
#define NEAR         (3 * PROBES)      /* leaves that these are chosen from, those near the row's own */
#define CANDIDATES   64u               /* rows that edges are chosen from */
#define OTHERS       16u               /* rows of other leaves besides, one of each: edges that lead out of a cluster */
#define ROOM         (2 * CANDIDATES + OTHERS)
#define BLOCK_ROWS   64u    /* rows of one product */
#define GROUP_ROWS   65536u /* of a record: a second's work, or a few */

_Static_assert(ROOM <= OMEN_GRAPH_CANDIDATES, "edges are chosen among all candidates");

/* ---- copies and leaves ---- */

/* Fills copy_of for one list. keys has room for it. */
static void find_copies(omen_graph_build *b, uint32_t first, uint32_t end, uint64_t *keys)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t d8 = b->d8;
    for (uint32_t p = first; p < end; p++)
        keys[p - first] = kernels->xxh3(b->coarse + p * d8, d8) << 32 | p;
    omen_keys_sort(keys, end - first);
    for (uint32_t i = 0, begin = 0; i < end - first; i++) {
        const uint32_t p = (uint32_t)keys[i];
        if (keys[i] >> 32 != keys[begin] >> 32)
            begin = i;
        b->copy_of[p] = p;
        for (uint32_t j = begin; j < i && b->copy_of[p] == p; j++) { /* a second one is a collision of hashes */
            const uint32_t other = (uint32_t)keys[j];
            if (b->copy_of[other] == other && memcmp(b->coarse + other * d8, b->coarse + p * d8, d8) == 0)
                b->copy_of[p] = other;
        }
    }
}

/* The dimension in which n rows of order vary most. */
static uint32_t widest_dim(const omen_graph_build *b, const uint32_t *order, uint32_t n)
{
    const uint32_t n_looked = n < SPLIT_SAMPLE ? n : SPLIT_SAMPLE;
    int64_t sums[OMEN_GRAPH_COARSE] = {0}, squares[OMEN_GRAPH_COARSE] = {0}, widest = -1;
    uint32_t best = 0;
    for (uint32_t i = 0; i < n_looked; i++) {
        const uint8_t *row = b->coarse + (size_t)order[(uint64_t)i * n / n_looked] * b->d8;
        for (uint32_t k = 0; k < b->d8; k++) {
            sums[k] += row[k];
            squares[k] += row[k] * row[k];
        }
    }
    for (uint32_t k = 0; k < b->d8; k++) {
        const int64_t variance = squares[k] * n_looked - sums[k] * sums[k];
        best = variance > widest ? k : best;
        widest = variance > widest ? variance : widest;
    }
    return best;
}

/* Cuts n rows of order in halves until they are few; starts marks where leaves begin. */
static void split(const omen_graph_build *b, uint32_t *order, uint32_t n, uint8_t *starts, uint64_t *keys)
{
    while (n > LEAF_MOST) {
        const uint32_t dim = widest_dim(b, order, n), half = n / 2;
        for (uint32_t i = 0; i < n; i++)
            keys[i] = (uint64_t)b->coarse[(size_t)order[i] * b->d8 + dim] << 32 | order[i];
        omen_keys_select(keys, n, half);
        for (uint32_t i = 0; i < n; i++)
            order[i] = (uint32_t)keys[i];
        split(b, order, half, starts, keys);
        order += half;
        starts += half;
        n -= half;
    }
    starts[0] = 1;
}

/* Fills copy_of, order and leaves. */
static int make_leaves(omen_graph_build *b)
{
    const omen_index *index = b->index;
    const uint32_t n_lists = index->meta.n_lists;
    const uint64_t n = index->meta.n_rows;
    uint32_t *list_at = omen_alloc_zero((size_t)n_lists + 1, sizeof *list_at);
    uint8_t *starts = omen_graph_take(b, n, 1);
    int status = list_at && starts ? OMEN_OK : OMEN_ERR_MEMORY;
#pragma omp parallel if (status == OMEN_OK)
    {
        uint64_t *keys = omen_alloc(index->largest_list, sizeof *keys);
        if (!keys) {
#pragma omp atomic write
            status = OMEN_ERR_MEMORY;
        }
#pragma omp for schedule(dynamic)
        for (uint32_t l = 0; l < n_lists; l++)
            if (keys && list_at && !omen_watch_stopped(b->watch))
                find_copies(b, index->first[l], index->first[l + 1], keys);
#pragma omp single
        for (uint32_t l = 0; l < n_lists && status == OMEN_OK && !omen_watch_stopped(b->watch); l++) {
            list_at[l] = (uint32_t)b->n_alone;
            for (uint32_t p = index->first[l]; p < index->first[l + 1]; p++)
                if (b->copy_of[p] == p)
                    b->order[b->n_alone++] = p;
            list_at[l + 1] = (uint32_t)b->n_alone;
        }
        if (status == OMEN_OK) {
#pragma omp for schedule(dynamic)
            for (uint32_t l = 0; l < n_lists; l++)
                if (!omen_watch_stopped(b->watch) && list_at[l + 1] > list_at[l])
                    split(b, b->order + list_at[l], list_at[l + 1] - list_at[l], starts + list_at[l], keys);
        }
        free(keys);
    }
    if (status == OMEN_OK)
        status = omen_watch_status(b->watch);
    for (uint64_t i = 0; i < b->n_alone && status == OMEN_OK; i++)
        b->n_leaves += starts[i];
    b->leaf_at = status == OMEN_OK ? omen_alloc((size_t)b->n_leaves + 1, sizeof *b->leaf_at) : NULL;
    if (status == OMEN_OK && !b->leaf_at)
        status = OMEN_ERR_MEMORY;
    for (uint64_t i = 0, leaf = 0; i < b->n_alone && status == OMEN_OK; i++)
        if (starts[i])
            b->leaf_at[leaf++] = (uint32_t)i;
    if (status == OMEN_OK)
        b->leaf_at[b->n_leaves] = (uint32_t)b->n_alone;
    free(list_at);
    omen_graph_give(b, starts);
    return status;
}

/* ---- the leaves' centres ---- */

typedef struct {
    uint8_t *rows; /* n_leaves x d8, coarse */
    omen_graph_terms *terms;
} centres;

static int find_centres(const omen_graph_build *b, centres *c)
{
    const uint32_t d8 = b->d8;
    c->rows = omen_alloc((size_t)b->n_leaves * d8, 1);
    c->terms = omen_alloc(b->n_leaves, sizeof *c->terms);
    if (!c->rows || !c->terms)
        return OMEN_ERR_MEMORY;
#pragma omp parallel for schedule(dynamic, 16)
    for (uint32_t leaf = 0; leaf < b->n_leaves; leaf++) {
        if (omen_watch_stopped(b->watch))
            continue;
        const uint32_t n = b->leaf_at[leaf + 1] - b->leaf_at[leaf];
        uint32_t sums[OMEN_GRAPH_COARSE] = {0};
        for (uint32_t i = b->leaf_at[leaf]; i < b->leaf_at[leaf + 1]; i++)
            for (uint32_t k = 0; k < d8; k++)
                sums[k] += b->coarse[(size_t)b->order[i] * d8 + k];
        for (uint32_t k = 0; k < d8; k++)
            c->rows[(size_t)leaf * d8 + k] = (uint8_t)((sums[k] + n / 2) / n);
        omen_graph_measure(c->rows + (size_t)leaf * d8, d8, &c->terms[leaf]);
    }
    return omen_watch_status(b->watch);
}

/* ---- candidates ---- */

/* What a thread needs to find the candidates of a leaf's rows. */
typedef struct {
    omen_graph_panels panels;
    uint64_t *near;     /* n_leaves: keys (distance, leaf) */
    uint8_t *rows;      /* LEAF_MOST x d8: the leaf's rows, turned */
    int32_t *terms;     /* LEAF_MOST */
    float *distances;   /* BLOCK_ROWS x OMEN_GRAPH_PACKED */
    uint8_t *some_rows; /* BLOCK_ROWS x d8 */
    uint64_t *wanted;   /* OMEN_GRAPH_PACKED: keys of one row's leaves */
    uint32_t *at;       /* OMEN_GRAPH_PACKED + 16 */
    uint8_t *takes;     /* near x LEAF_MOST: whether a row is compared with a leaf */
    uint64_t *keys;     /* LEAF_MOST x ROOM: the best so far, in any order, less than 2 CANDIDATES of them */
    uint32_t *n_keys;   /* LEAF_MOST */
    uint64_t *others;   /* LEAF_MOST x OTHERS: the best row of each of the other leaves */
    uint32_t *n_others; /* LEAF_MOST */
    float *zeros;       /* OMEN_GRAPH_PACKED */
    float *limits;      /* LEAF_MOST: distances from which on no candidate is wanted */
    uint32_t n_near;
} finder;

static void finder_finish(finder *f)
{
    omen_graph_panels_finish(&f->panels);
    free(f->near);
    free(f->rows);
    free(f->terms);
    free(f->distances);
    free(f->some_rows);
    free(f->wanted);
    free(f->at);
    free(f->takes);
    free(f->keys);
    free(f->n_keys);
    free(f->others);
    free(f->n_others);
    free(f->zeros);
    free(f->limits);
}

static int finder_init(finder *f, const omen_graph_build *b)
{
    memset(f, 0, sizeof *f);
    const int status = omen_graph_panels_init(&f->panels, b->d8);
    f->near = omen_alloc(b->n_leaves, sizeof *f->near);
    f->rows = omen_alloc((size_t)LEAF_MOST * b->d8, 1);
    f->terms = omen_alloc(LEAF_MOST, sizeof *f->terms);
    f->distances = omen_alloc((size_t)BLOCK_ROWS * OMEN_GRAPH_PACKED, sizeof *f->distances);
    f->some_rows = omen_alloc((size_t)BLOCK_ROWS * b->d8, 1);
    f->wanted = omen_alloc(OMEN_GRAPH_PACKED, sizeof *f->wanted);
    f->at = omen_alloc(OMEN_GRAPH_PACKED + 16, sizeof *f->at);
    f->takes = omen_alloc((size_t)OMEN_GRAPH_PACKED * LEAF_MOST, 1);
    f->keys = omen_alloc((size_t)LEAF_MOST * ROOM, sizeof *f->keys);
    f->n_keys = omen_alloc(LEAF_MOST, sizeof *f->n_keys);
    f->others = omen_alloc((size_t)LEAF_MOST * OTHERS, sizeof *f->others);
    f->n_others = omen_alloc(LEAF_MOST, sizeof *f->n_others);
    f->zeros = omen_alloc_zero(OMEN_GRAPH_PACKED, sizeof *f->zeros);
    f->limits = omen_alloc(LEAF_MOST, sizeof *f->limits);
    return status == OMEN_OK && f->near && f->rows && f->terms && f->distances && f->some_rows && f->wanted && f->at &&
                   f->takes && f->keys && f->n_keys && f->others && f->n_others && f->zeros && f->limits
               ? OMEN_OK
               : OMEN_ERR_MEMORY;
}

static uint32_t leaf_rows(const omen_graph_build *b, uint32_t leaf)
{
    return b->leaf_at[leaf + 1] - b->leaf_at[leaf];
}

/* The leaves near one: at least NEAR, and more where these hold few rows. */
static void find_near(finder *f, const omen_graph_build *b, const centres *c, uint32_t leaf)
{
    uint8_t turned[OMEN_GRAPH_COARSE];
    uint64_t n_rows = 0;
    omen_graph_turn(c->rows + (size_t)leaf * b->d8, b->d8, turned);
    for (uint32_t l0 = 0; l0 < b->n_leaves; l0 += OMEN_GRAPH_PACKED) {
        const uint32_t n = b->n_leaves - l0 < OMEN_GRAPH_PACKED ? b->n_leaves - l0 : OMEN_GRAPH_PACKED;
        omen_graph_pack(&f->panels, c->rows + (size_t)l0 * b->d8, c->terms + l0, b->d8, NULL, n);
        omen_graph_distances(&f->panels, b->d8, turned, &c->terms[leaf].row, 1, n, f->panels.distances);
        for (uint32_t i = 0; i < n; i++)
            f->near[l0 + i] = omen_key(f->panels.distances[i], l0 + i);
    }
    const uint32_t most = b->n_leaves < OMEN_GRAPH_PACKED ? b->n_leaves : OMEN_GRAPH_PACKED;
    omen_keys_select(f->near, b->n_leaves, most);
    omen_keys_sort(f->near, most);
    for (f->n_near = 0; f->n_near < most && (f->n_near < NEAR || n_rows < 8 * CANDIDATES); f->n_near++)
        n_rows += leaf_rows(b, (uint32_t)f->near[f->n_near]);
}

/* Which of the near leaves each row of a leaf is compared with: PROBES of the nearest to it, and more where these hold
 * few rows. */
static void choose_leaves(finder *f, const omen_graph_build *b, const centres *c, uint32_t n_rows)
{
    for (uint32_t i = 0; i < f->n_near; i++)
        f->at[i] = (uint32_t)f->near[i];
    omen_graph_pack(&f->panels, c->rows, c->terms, b->d8, f->at, f->n_near);
    memset(f->takes, 0, (size_t)f->n_near * LEAF_MOST);
    for (uint32_t i0 = 0; i0 < n_rows; i0 += BLOCK_ROWS) {
        const uint32_t m = n_rows - i0 < BLOCK_ROWS ? n_rows - i0 : BLOCK_ROWS;
        omen_graph_distances(&f->panels, b->d8, f->rows + (size_t)i0 * b->d8, f->terms + i0, m, f->n_near,
                             f->distances);
        for (uint32_t i = 0; i < m; i++) {
            uint64_t n_found = 0;
            for (uint32_t j = 0; j < f->n_near; j++)
                f->wanted[j] = omen_key(f->distances[(size_t)i * OMEN_GRAPH_PACKED + j], j);
            omen_keys_select(f->wanted, f->n_near, PROBES);
            for (uint32_t j = 0; j < f->n_near && j < PROBES; j++)
                n_found += leaf_rows(b, (uint32_t)f->near[(uint32_t)f->wanted[j]]);
            if (n_found < 4 * CANDIDATES) /* in order, to see how many more it takes */
                omen_keys_sort(f->wanted, f->n_near);
            n_found = 0;
            for (uint32_t j = 0; j < f->n_near && (j < PROBES || n_found < 4 * CANDIDATES); j++) {
                const uint32_t number = (uint32_t)f->wanted[j];
                f->takes[(size_t)number * LEAF_MOST + i0 + i] = 1;
                n_found += leaf_rows(b, (uint32_t)f->near[number]);
            }
        }
    }
}

/* Takes what is near enough of the distances of row i from n rows at order. */
static void take_candidates(finder *f, const uint32_t *order, uint32_t n, const float *distances, uint32_t own,
                            uint32_t i)
{
    uint64_t *keys = f->keys + (size_t)i * ROOM;
    const size_t n_near = omen_kernels_get()->filter(distances, n, f->limits[i], f->at);
    for (size_t j = 0; j < n_near; j++) {
        const uint32_t position = order[f->at[j]];
        const float distance = distances[f->at[j]];
        if (position == own || distance > f->limits[i])
            continue;
        keys[f->n_keys[i]++] = omen_key(distance, position);
        if (f->n_keys[i] < 2 * CANDIDATES)
            continue;
        omen_keys_select(keys, 2 * CANDIDATES, CANDIDATES);
        f->n_keys[i] = CANDIDATES;
        uint64_t last = 0;
        for (uint32_t t = 0; t < CANDIDATES; t++)
            last = keys[t] > last ? keys[t] : last;
        f->limits[i] = omen_key_distance(last);
    }
}

/* Takes the nearest of n rows of another leaf for row i. */
static void take_other(finder *f, const uint32_t *order, uint32_t n, const float *distances, uint32_t i)
{
    float distance;
    uint32_t at;
    if (f->n_others[i] == OTHERS)
        return;
    omen_kernels_get()->argmin(f->zeros, distances, n, &distance, &at);
    f->others[(size_t)i * OTHERS + f->n_others[i]++] = omen_key(distance, order[at]);
}

/* The candidates of row i, sorted. Returns how many. */
static uint32_t sort_candidates(finder *f, uint32_t i)
{
    uint64_t *keys = f->keys + (size_t)i * ROOM;
    uint32_t n = f->n_keys[i] < CANDIDATES ? f->n_keys[i] : CANDIDATES, n_kept = 0;
    if (n < f->n_keys[i])
        omen_keys_select(keys, f->n_keys[i], n);
    memcpy(keys + n, f->others + (size_t)i * OTHERS, f->n_others[i] * sizeof *keys);
    n += f->n_others[i];
    omen_keys_sort(keys, n);
    for (uint32_t t = 0; t < n; t++)
        if (n_kept == 0 || keys[t] != keys[n_kept - 1])
            keys[n_kept++] = keys[t];
    return n_kept;
}

/* Compares the rows of a leaf that want it with the rows of another. */
static void compare_leaf(finder *f, const omen_graph_build *b, const uint32_t *own, uint32_t n_rows, uint32_t number)
{
    const uint32_t leaf = (uint32_t)f->near[number], n = leaf_rows(b, leaf);
    const uint32_t *order = b->order + b->leaf_at[leaf];
    const uint8_t *takes = f->takes + (size_t)number * LEAF_MOST;
    uint32_t rows[BLOCK_ROWS];
    int32_t terms[BLOCK_ROWS];
    bool is_packed = false;
    for (uint32_t i = 0; i < n_rows;) {
        uint32_t m = 0;
        for (; i < n_rows && m < BLOCK_ROWS; i++) {
            if (!takes[i])
                continue;
            rows[m] = i;
            terms[m] = f->terms[i];
            memcpy(f->some_rows + (size_t)m++ * b->d8, f->rows + (size_t)i * b->d8, b->d8);
        }
        if (m > 0 && !is_packed)
            omen_graph_pack(&f->panels, b->coarse, b->terms, b->d8, order, n);
        is_packed = true;
        omen_graph_distances(&f->panels, b->d8, f->some_rows, terms, m, n, f->distances);
        for (uint32_t j = 0; j < m; j++) {
            take_candidates(f, order, n, f->distances + (size_t)j * OMEN_GRAPH_PACKED, own[rows[j]], rows[j]);
            if (order != own)
                take_other(f, order, n, f->distances + (size_t)j * OMEN_GRAPH_PACKED, rows[j]);
        }
    }
}

/* The edges of all rows of a leaf. */
static int link_leaf(finder *f, const omen_graph_build *b, const centres *c, uint32_t leaf)
{
    const uint32_t n_rows = leaf_rows(b, leaf), *own = b->order + b->leaf_at[leaf];
    for (uint32_t i = 0; i < n_rows; i++) {
        omen_graph_turn(b->coarse + (size_t)own[i] * b->d8, b->d8, f->rows + (size_t)i * b->d8);
        f->terms[i] = b->terms[own[i]].row;
        f->n_keys[i] = f->n_others[i] = 0;
        f->limits[i] = INFINITY;
    }
    find_near(f, b, c, leaf);
    choose_leaves(f, b, c, n_rows);
    for (uint32_t i = 0; i < f->n_near; i++) {
        if (omen_watch_stopped(b->watch))
            return OMEN_ERR_INTERRUPTED;
        compare_leaf(f, b, own, n_rows, i);
    }
    for (uint32_t i = 0; i < n_rows; i++) {
        if (i % 256 == 0 && omen_watch_stopped(b->watch))
            return OMEN_ERR_INTERRUPTED;
        const uint32_t n = sort_candidates(f, i);
        const uint64_t *keys = f->keys + (size_t)i * ROOM;
        uint32_t *edges = b->edges + (size_t)own[i] * b->degree;
        for (uint32_t t = omen_graph_prune(b, keys, n, b->degree, edges); t < b->degree; t++)
            edges[t] = OMEN_GRAPH_NONE;
    }
    return OMEN_OK;
}

/* ---- entries ---- */

/* The rows nearest to the centres of leaves that are spread over all. */
static int choose_entries(omen_graph_build *b, const centres *c)
{
    b->n_entries = b->n_leaves < OMEN_GRAPH_ENTRIES ? b->n_leaves : OMEN_GRAPH_ENTRIES;
    b->entries = omen_alloc(b->n_entries, sizeof *b->entries);
    omen_graph_panels panels;
    const int status = omen_graph_panels_init(&panels, b->d8);
    for (uint32_t e = 0; e < b->n_entries && b->entries && status == OMEN_OK; e++) {
        const uint32_t leaf = (uint32_t)((uint64_t)e * b->n_leaves / b->n_entries), n = leaf_rows(b, leaf);
        const uint32_t *order = b->order + b->leaf_at[leaf];
        uint64_t best = UINT64_MAX;
        uint8_t turned[OMEN_GRAPH_COARSE];
        omen_graph_turn(c->rows + (size_t)leaf * b->d8, b->d8, turned);
        omen_graph_pack(&panels, b->coarse, b->terms, b->d8, order, n);
        omen_graph_distances(&panels, b->d8, turned, &c->terms[leaf].row, 1, n, panels.distances);
        for (uint32_t i = 0; i < n; i++) {
            const uint64_t key = omen_key(panels.distances[i], order[i]);
            best = key < best ? key : best;
        }
        b->entries[e] = (uint32_t)best;
    }
    omen_graph_panels_finish(&panels);
    return b->entries ? status : OMEN_ERR_MEMORY;
}

/* ---- the whole ---- */

/* Leaves [from, to). */
static int link_leaves(const omen_graph_build *b, const centres *c, uint32_t from, uint32_t to)
{
    int status = OMEN_OK;
#pragma omp parallel
    {
        finder f;
        int own = finder_init(&f, b);
#pragma omp for schedule(dynamic)
        for (uint32_t leaf = from; leaf < to; leaf++)
            if (own == OMEN_OK)
                own = link_leaf(&f, b, c, leaf);
        if (own != OMEN_OK) {
#pragma omp atomic write
            status = own;
        }
        finder_finish(&f);
    }
    return status;
}

/* The leaf that begins with row number first of order; the records say so. */
static int find_leaf(const omen_graph_build *b, uint64_t first, uint32_t *leaf)
{
    uint32_t low = 0, high = b->n_leaves;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (b->leaf_at[middle] < first)
            low = middle + 1;
        else
            high = middle;
    }
    *leaf = low;
    return b->leaf_at[low] == first ? OMEN_OK : omen_records_contradiction(b->why);
}

/* Links the leaves that no record has, group by group. */
static int link_groups(omen_graph_build *b, const centres *c)
{
    uint64_t n_done;
    uint32_t from = 0, to;
    int status = omen_graph_records_load(b, OMEN_RECORD_LINKS, &n_done);
    if (status == OMEN_OK)
        status = find_leaf(b, n_done, &from);
    for (; from < b->n_leaves && status == OMEN_OK; from = to) {
        const uint32_t first = b->leaf_at[from];
        for (to = from + 1; to < b->n_leaves && b->leaf_at[to + 1] - first <= b->group_rows;)
            to++;
        b->watch->done = b->index->meta.n_rows + first;
        status = link_leaves(b, c, from, to);
        if (status == OMEN_OK)
            status = omen_graph_records_save(b, OMEN_RECORD_LINKS, first, b->leaf_at[to] - first);
    }
    return status;
}

uint64_t omen_graph_group_rows(uint64_t n, int n_threads)
{
    const uint64_t rows = (uint64_t)GROUP_ROWS * (n_threads > 4 ? (uint64_t)n_threads / 4 : 1);
    return rows < n ? rows : n;
}

/* Rows of a group are those of whole leaves. */
static int make_group(omen_graph_build *b)
{
    const uint64_t n = b->index->meta.n_rows;
    if (!b->checkpoint) {
        b->group_rows = n;
        return OMEN_OK;
    }
    b->group_rows = b->group_rows < LEAF_MOST ? LEAF_MOST : b->group_rows;
    b->group_rows = b->group_rows < n ? b->group_rows : n;
    b->group = omen_alloc(b->group_rows * b->degree, sizeof *b->group);
    return b->group ? omen_graph_records_drop_others(b) : OMEN_ERR_MEMORY;
}

int omen_graph_build_edges(omen_graph_build *b)
{
    const uint64_t n = b->index->meta.n_rows;
    centres c = {NULL, NULL};
    b->copy_of = omen_graph_take(b, n, sizeof *b->copy_of);
    b->order = omen_graph_take(b, n, sizeof *b->order);
    b->edges = omen_graph_take(b, n * b->degree, sizeof *b->edges);
    int status = b->copy_of && b->order && b->edges ? make_group(b) : OMEN_ERR_MEMORY;
    if (status == OMEN_OK)
        status = make_leaves(b);
    if (status == OMEN_OK)
        status = find_centres(b, &c);
    if (status == OMEN_OK)
        status = choose_entries(b, &c);
    if (status == OMEN_OK)
        status = link_groups(b, &c);
    free(c.rows);
    free(c.terms);
    return status == OMEN_OK ? omen_graph_link(b) : status;
}

void omen_graph_build_finish(omen_graph_build *b)
{
    omen_graph_give(b, b->coarse);
    omen_graph_give(b, b->terms);
    omen_graph_give(b, b->edges);
    omen_graph_give(b, b->copy_of);
    omen_graph_give(b, b->order);
    free(b->leaf_at);
    free(b->entries);
    free(b->group);
}

uint64_t omen_graph_build_bytes(uint64_t n, uint32_t d_kept, uint32_t degree, int n_threads, uint64_t *of_rows)
{
    const uint64_t d8 = d_kept < OMEN_GRAPH_COARSE ? omen_round_up(d_kept, 4) : OMEN_GRAPH_COARSE;
    /* coarse rows and terms, copy_of, order, copies; edges of both directions, and where they begin; starts */
    const uint64_t a_row = d8 + 8 + 4 + 4 + 4 + 8ull * degree + 8 + 2;
    const uint64_t a_thread = OMEN_GRAPH_PACKED * (2 * d8 + LEAF_MOST + 4 * BLOCK_ROWS + 8 * (ROOM + OTHERS) + 64);
    const uint64_t group = omen_graph_group_rows(n, n_threads) * degree * sizeof(uint32_t);
    *of_rows = n * a_row;
    return *of_rows + (n / 128 + 1) * (d8 + 16) + (uint64_t)n_threads * (a_thread + 16 * n / 256) + group;
}
