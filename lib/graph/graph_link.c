/* SPDX-License-Identifier: Apache-2.0 */
/* The last steps of a graph: an edge in the other direction for each edge, and the choice between them; copies of a row
 * as a tree below it; and a way from the entries to every row. */
#include <stdlib.h>
#include <string.h>

#include "lib/graph/graph.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"

#define WATCHED_ROWS 65536u                /* between two looks at whether to stop */
#define MERGED       OMEN_GRAPH_CANDIDATES /* edges looked at for a row before the nearest half of them is kept */

/* Edges of a row that go to its copies: a part of all, so that others are left. */
static uint32_t copies_most(const omen_graph_build *b)
{
    return b->degree / 4;
}

static uint32_t *edges_of(const omen_graph_build *b, uint32_t position)
{
    return b->edges + (size_t)position * b->degree;
}

static uint32_t count_edges(const omen_graph_build *b, uint32_t position)
{
    const uint32_t *edges = edges_of(b, position);
    uint32_t n = 0;
    while (n < b->degree && edges[n] != OMEN_GRAPH_NONE)
        n++;
    return n;
}

/* ---- edges in both directions ---- */

/* The edges that lead to each row, by a counting sort. */
typedef struct {
    uint64_t *at; /* n_rows + 1: where those of a row begin */
    uint32_t *from;
} incoming;

static int find_incoming(omen_graph_build *b, incoming *in)
{
    const uint64_t n = b->index->meta.n_rows;
    in->at = omen_graph_take(b, n + 2, sizeof *in->at);
    if (!in->at)
        return OMEN_ERR_MEMORY;
    for (uint64_t i = 0; i < b->n_alone; i++) {
        if (i % WATCHED_ROWS == 0 && omen_watch_stopped(b->watch))
            return OMEN_ERR_INTERRUPTED;
        const uint32_t *edges = edges_of(b, b->order[i]);
        for (uint32_t e = 0; e < b->degree && edges[e] != OMEN_GRAPH_NONE; e++)
            in->at[(uint64_t)edges[e] + 2]++;
    }
    for (uint64_t p = 2; p < n + 2; p++)
        in->at[p] += in->at[p - 1];
    in->from = omen_graph_take(b, in->at[n + 1], sizeof *in->from);
    if (!in->from)
        return OMEN_ERR_MEMORY;
    for (uint64_t i = 0; i < b->n_alone; i++) {
        if (i % WATCHED_ROWS == 0 && omen_watch_stopped(b->watch))
            return OMEN_ERR_INTERRUPTED;
        const uint32_t *edges = edges_of(b, b->order[i]);
        for (uint32_t e = 0; e < b->degree && edges[e] != OMEN_GRAPH_NONE; e++)
            in->from[in->at[(uint64_t)edges[e] + 1]++] = b->order[i];
    }
    return OMEN_OK;
}

/* Adds keys (distance, position) of n <= MERGED rows to those there are. */
static uint32_t add_keys(const omen_graph_build *b, uint32_t position, const uint32_t *to, uint32_t n, uint64_t *keys,
                         uint32_t n_keys)
{
    float distances[MERGED];
    omen_graph_distances_from(b, position, to, n, distances);
    for (uint32_t i = 0; i < n; i++)
        keys[n_keys + i] = omen_key(distances[i], to[i]);
    return n_keys + n;
}

/* Sorts keys, drops those that are there twice, and keeps MERGED / 2 at most. */
static uint32_t sort_keys(uint64_t *keys, uint32_t n)
{
    uint32_t n_kept = 0;
    omen_keys_sort(keys, n);
    for (uint32_t i = 0; i < n && n_kept < MERGED / 2; i++)
        if (n_kept == 0 || keys[i] != keys[n_kept - 1])
            keys[n_kept++] = keys[i];
    return n_kept;
}

/* Chooses a row's edges among those that it has and those that lead to it. */
static void merge_row(const omen_graph_build *b, const incoming *in, uint32_t position, uint32_t most)
{
    uint64_t keys[MERGED];
    const uint64_t begin = in->at[position], end = in->at[(uint64_t)position + 1];
    uint32_t n = add_keys(b, position, edges_of(b, position), count_edges(b, position), keys, 0);
    for (uint64_t i = begin; i < end;) {
        if (n > MERGED / 2)
            n = sort_keys(keys, n);
        const uint32_t room = end - i < MERGED - n ? (uint32_t)(end - i) : MERGED - n;
        n = add_keys(b, position, in->from + i, room, keys, n);
        i += room;
    }
    n = sort_keys(keys, n);
    uint32_t *edges = edges_of(b, position);
    for (uint32_t e = omen_graph_prune(b, keys, n, most, edges); e < b->degree; e++)
        edges[e] = OMEN_GRAPH_NONE;
}

/* Rows number first to first + n of order. n_copies: by position, copies of a row; NULL if there are none. */
static int merge_group(const omen_graph_build *b, const incoming *in, const uint32_t *n_copies, uint64_t first,
                       uint64_t n)
{
    int status = OMEN_OK;
#pragma omp parallel
    {
        int own = OMEN_OK;
#pragma omp for schedule(dynamic, 256)
        for (uint64_t i = first; i < first + n; i++) {
            const uint32_t position = b->order[i], copies = n_copies ? n_copies[position] : 0;
            if (own == OMEN_OK && i % 256 == 0)
                own = omen_watch_status(b->watch);
            if (own == OMEN_OK)
                merge_row(b, in, position, b->degree - (copies < copies_most(b) ? copies : copies_most(b)));
        }
        if (own != OMEN_OK) {
#pragma omp atomic write
            status = own;
        }
    }
    return status;
}

/* Merges the rows that no record has. Edges in one direction are all there before the first row is merged, whose place
 * its edges in both take. */
static int merge_rows(omen_graph_build *b, const uint32_t *n_copies)
{
    incoming in = {NULL, NULL};
    uint64_t n_done = 0, n;
    int status = find_incoming(b, &in);
    if (status == OMEN_OK)
        status = omen_graph_records_load(b, OMEN_RECORD_EDGES, &n_done);
    for (uint64_t i = n_done; i < b->n_alone && status == OMEN_OK; i += n) {
        n = b->n_alone - i < b->group_rows ? b->n_alone - i : b->group_rows;
        b->watch->done = 2 * b->index->meta.n_rows + i;
        status = merge_group(b, &in, n_copies, i, n);
        if (status == OMEN_OK)
            status = omen_graph_records_save(b, OMEN_RECORD_EDGES, i, n);
    }
    omen_graph_give(b, in.at);
    omen_graph_give(b, in.from);
    return status;
}

/* ---- copies ---- */

/* Adds an edge behind a row's others, if there is room. */
static void add_edge(const omen_graph_build *b, uint32_t position, uint32_t to)
{
    const uint32_t n = count_edges(b, position);
    if (n < b->degree)
        edges_of(b, position)[n] = to;
}

/* The rows of one group, of which the first stands for all: each leads to some of the next ones, and those back to the
 * first and to its neighbours, so that any of them can take its place. */
static void hang_copies(const omen_graph_build *b, const uint32_t *rows, uint32_t n)
{
    const uint32_t first = rows[0], n_shared = count_edges(b, first), below = copies_most(b);
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0)
            memset(edges_of(b, rows[i]), 0xff, b->degree * sizeof *b->edges); /* OMEN_GRAPH_NONE */
        for (uint64_t j = (uint64_t)i * below + 1; j <= ((uint64_t)i + 1) * below && j < n; j++)
            add_edge(b, rows[i], rows[j]);
        if (i == 0)
            continue;
        add_edge(b, rows[i], first);
        for (uint32_t e = 0; e < n_shared; e++)
            add_edge(b, rows[i], edges_of(b, first)[e]);
    }
}

/* Counts of copies by position; *out is NULL where there are none. */
static int count_copies(omen_graph_build *b, uint32_t **out)
{
    const uint64_t n = b->index->meta.n_rows;
    *out = NULL;
    if (b->n_alone == n)
        return OMEN_OK;
    *out = omen_graph_take(b, n, sizeof **out);
    for (uint64_t p = 0; p < n && *out; p++)
        (*out)[b->copy_of[p]] += b->copy_of[p] != p;
    return *out ? OMEN_OK : OMEN_ERR_MEMORY;
}

/* Hangs every copy on the row that it is a copy of. */
static int hang_all(omen_graph_build *b, const uint32_t *n_copies)
{
    const uint64_t n = b->index->meta.n_rows;
    uint64_t *at = omen_graph_take(b, n + 1, sizeof *at);
    uint32_t *rows = omen_graph_take(b, n, sizeof *rows);
    int status = at && rows ? OMEN_OK : OMEN_ERR_MEMORY;
    for (uint64_t p = 0; p < n && status == OMEN_OK; p++)
        at[p + 1] = at[p] + (b->copy_of[p] == p ? n_copies[p] + 1 : 0);
    for (uint64_t p = 0; p < n && status == OMEN_OK; p++) /* the first is the lowest */
        rows[at[b->copy_of[p]]++] = (uint32_t)p;
    for (uint64_t p = 0; p < n && status == OMEN_OK; p++) { /* at has moved to the ends of the groups */
        if (b->copy_of[p] == p && n_copies[p] > 0)
            hang_copies(b, rows + at[p] - n_copies[p] - 1, n_copies[p] + 1);
        if (p % WATCHED_ROWS == 0)
            status = omen_watch_status(b->watch);
    }
    omen_graph_give(b, at);
    omen_graph_give(b, rows);
    return status;
}

/* ---- reaching every row ---- */

/* A walk over all edges from the entries. The edges by which rows were first reached are a tree: others may go. */
typedef struct {
    const omen_graph_build *build;
    uint32_t *parent; /* n_rows: OMEN_GRAPH_NONE of entries and of what is not reached */
    uint32_t *queue;  /* n_rows: rows in the order in which they were reached */
    uint8_t *reached; /* n_rows */
    uint64_t n_queued, n_walked;
} reach;

static void reach_row(reach *r, uint32_t position, uint32_t parent)
{
    if (r->reached[position])
        return;
    r->reached[position] = 1;
    r->parent[position] = parent;
    r->queue[r->n_queued++] = position;
}

static int walk(reach *r)
{
    const omen_graph_build *b = r->build;
    for (; r->n_walked < r->n_queued; r->n_walked++) {
        if (r->n_walked % WATCHED_ROWS == 0 && omen_watch_stopped(b->watch))
            return OMEN_ERR_INTERRUPTED;
        const uint32_t position = r->queue[r->n_walked], *edges = edges_of(b, position);
        for (uint32_t e = 0; e < b->degree && edges[e] != OMEN_GRAPH_NONE; e++)
            reach_row(r, edges[e], position);
    }
    return OMEN_OK;
}

/* Where a row can take one more edge: a place that is free, or the last edge that is not of the tree; degree if there
 * is none. */
static uint32_t free_place(const reach *r, uint32_t position)
{
    const omen_graph_build *b = r->build;
    const uint32_t *edges = edges_of(b, position);
    for (uint32_t e = b->degree; e-- > 0;)
        if (edges[e] != OMEN_GRAPH_NONE ? r->parent[edges[e]] != position : e == 0 || edges[e - 1] != OMEN_GRAPH_NONE)
            return e;
    return b->degree;
}

/* A row that is reached and can lead to one that is not: the nearest of the latter's neighbours, else the nearest of
 * its list, else any. */
static uint32_t find_host(const reach *r, uint32_t position, uint32_t list)
{
    const omen_graph_build *b = r->build;
    const uint32_t *edges = edges_of(b, position), *first = b->index->first;
    const uint8_t *row = b->coarse + (size_t)position * b->d8;
    uint64_t best = UINT64_MAX;
    for (uint32_t e = 0; e < b->degree && edges[e] != OMEN_GRAPH_NONE; e++)
        if (r->reached[edges[e]] && free_place(r, edges[e]) < b->degree)
            return edges[e];
    for (uint32_t p = first[list]; p < first[list + 1]; p++) {
        if (!r->reached[p] || free_place(r, p) == b->degree)
            continue;
        uint64_t distance = 0;
        for (uint32_t k = 0; k < b->d8; k++) {
            const int32_t difference = b->coarse[(size_t)p * b->d8 + k] - row[k];
            distance += (uint32_t)(difference * difference);
        }
        best = distance << 32 < best >> 32 << 32 ? distance << 32 | p : best;
    }
    if (best != UINT64_MAX)
        return (uint32_t)best;
    uint64_t i = 0;
    while (free_place(r, r->queue[i]) == b->degree)
        i++;
    return r->queue[i];
}

static int reach_all(omen_graph_build *b)
{
    const uint64_t n = b->index->meta.n_rows;
    reach r = {.build = b,
               .parent = omen_graph_take(b, n, sizeof *r.parent),
               .queue = omen_graph_take(b, n, sizeof *r.queue),
               .reached = omen_graph_take(b, n, 1)};
    int status = r.parent && r.queue && r.reached ? OMEN_OK : OMEN_ERR_MEMORY;
    if (status == OMEN_OK)
        memset(r.parent, 0xff, n * sizeof *r.parent);
    for (uint32_t i = 0; i < b->n_entries && status == OMEN_OK; i++)
        reach_row(&r, b->entries[i], OMEN_GRAPH_NONE);
    if (status == OMEN_OK)
        status = walk(&r);
    for (uint32_t l = 0; l < b->index->meta.n_lists && status == OMEN_OK; l++) {
        status = omen_watch_status(b->watch);
        for (uint32_t p = b->index->first[l]; p < b->index->first[l + 1] && status == OMEN_OK; p++) {
            if (r.reached[p])
                continue;
            const uint32_t host = find_host(&r, p, l);
            edges_of(b, host)[free_place(&r, host)] = p;
            reach_row(&r, p, host);
            status = walk(&r);
        }
    }
    omen_graph_give(b, r.parent);
    omen_graph_give(b, r.queue);
    omen_graph_give(b, r.reached);
    return status;
}

int omen_graph_link(omen_graph_build *b)
{
    uint32_t *n_copies = NULL;
    int status = count_copies(b, &n_copies);
    if (status == OMEN_OK)
        status = merge_rows(b, n_copies);
    if (status == OMEN_OK && n_copies)
        status = hang_all(b, n_copies);
    if (status == OMEN_OK)
        status = reach_all(b);
    omen_graph_give(b, n_copies);
    return status;
}
