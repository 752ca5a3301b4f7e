/* SPDX-License-Identifier: Apache-2.0 */
/* The way through the graph: best first, with a sorted pool of the rows with the smallest estimates.
 *
 * Each step looks at the neighbours of the nearest few rows of the pool whose neighbours have not been looked at yet.
 * Most of a step waits for memory, so the codes of all new neighbours are asked for at once. What a query finds depends
 * on nothing but the query: estimates are the same on every processor, and ties go to the lower position. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/graph/graph.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"
#include "lib/query_axes.h"
#include "lib/refine.h"

#define STEP         3u  /* rows of the pool whose neighbours are looked at together, */
#define STEP_MOST    64u /* and of a large pool, a part of it: */
#define STEP_PART    32u
#define SCALE_RANK   10u   /* rank of the estimate that a reach is relative to, at least */
#define SPREAD_POOLS 3u    /* times the least pool: the rank that tells how crowded the rows behind the k-th are, */
#define NEAR_BEHIND  0.03f /* parts of the squared distance of the k-th: if these are so near behind it, or nearer, */
#define CROWDED      4.0f  /* the reach is enlarged by so much, and by less the farther they are */
#define STANDS_IN    4u    /* one in so many edges to a query's own row leads to another one */
#define BEGIN        8u    /* entries that a pool begins with */
#define CHUNK        OMEN_GRAPH_CHUNK
#define AHEAD        6u     /* refine rows that are prefetched */
#define MOVED_KEYS   1024u  /* of a pool, from which on they are not merged one by one */
#define REMEMBERED   16384u /* visited rows that are forgotten one by one */

/* In a pool, a key's number is twice the position, and odd once the row's neighbours have been looked at. */
struct omen_graph_walk {
    const omen_index *index;
    uint32_t most_pool;
    uint64_t *visited; /* one bit a row; all 0 between queries */
    uint32_t *seen;    /* the rows visited, unless has_lost: they are more than it has room for */
    size_t n_seen, seen_size, step_size;
    bool has_lost;
    uint32_t n_met;                    /* rows that have led to the query's own */
    uint64_t *pool;                    /* most_pool + what one step adds */
    uint64_t *fresh;                   /* what one step adds */
    uint32_t *at;                      /* which of a step's rows these are */
    float *estimates;                  /* of a step's rows */
    uint32_t *numbers;                 /* 0, 1, 2 ...: of entries */
    float *lifted, *projected, *tails; /* CHUNK queries */
    void *work;                        /* to project them */
    const float *queries;              /* the same, as they are compared with refine rows */
    uint64_t *found;                   /* most_pool keys (estimate or distance, position or id) */
    const omen_row_set *set;           /* of a search under a filter; else NULL */
    uint64_t *matches;                 /* keys as the pool's, of the nearest n_matches rows of the set */
    size_t n_matches;
};

/* Rows that one step adds at most. */
static size_t step_size(const omen_index *index)
{
    const omen_graph *g = &index->graph;
    const size_t neighbours = (STEP_MOST + 1) * (size_t)g->degree; /* more: of a query's own copies */
    return neighbours > g->n_entries ? neighbours : g->n_entries;
}

void omen_graph_walk_destroy(omen_graph_walk *w)
{
    if (!w)
        return;
    free(w->visited);
    free(w->seen);
    free(w->pool);
    free(w->fresh);
    free(w->at);
    free(w->estimates);
    free(w->numbers);
    free(w->lifted);
    free(w->projected);
    free(w->tails);
    free(w->work);
    free(w->found);
    free(w->matches);
    free(w);
}

omen_graph_walk *omen_graph_walk_create(const omen_index *index, uint32_t most_pool)
{
    const omen_meta *m = &index->meta;
    const size_t n_step = step_size(index), n_seen = REMEMBERED + n_step;
    omen_graph_walk *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    *w = (omen_graph_walk){
        .index = index,
        .most_pool = most_pool,
        .visited = calloc(m->n_rows / 64 + 1, sizeof *w->visited),
        .seen = omen_alloc(n_seen, sizeof *w->seen),
        .seen_size = n_seen,
        .step_size = n_step,
        .pool = omen_alloc(most_pool + n_step, sizeof *w->pool),
        .fresh = omen_alloc(n_step, sizeof *w->fresh),
        .at = omen_alloc(n_step + 16, sizeof *w->at),
        .estimates = omen_alloc(n_step, sizeof *w->estimates),
        .numbers = omen_alloc(index->graph.n_entries, sizeof *w->numbers),
        .lifted = omen_alloc(CHUNK * m->d_full, sizeof *w->lifted),
        .projected = omen_alloc(CHUNK * omen_round_up(m->d_kept, OMEN_PANEL), sizeof *w->projected),
        .tails = omen_alloc(CHUNK, sizeof *w->tails),
        .work = omen_alloc(omen_query_axes_work_bytes(index, CHUNK), 1),
        .found = omen_alloc(most_pool, sizeof *w->found),
        .matches = omen_alloc(most_pool + n_step, sizeof *w->matches),
    };
    if (!w->visited || !w->seen || !w->pool || !w->fresh || !w->at || !w->estimates || !w->numbers || !w->lifted ||
        !w->projected || !w->tails || !w->work || !w->found || !w->matches) {
        omen_graph_walk_destroy(w);
        return NULL;
    }
    for (uint32_t i = 0; i < index->graph.n_entries; i++)
        w->numbers[i] = i;
    return w;
}

/* A walk that an earlier search has left, or a new one: a query alone need not wait for memory to be cleared. */
static omen_graph_walk *take_walk(const omen_index *index, uint32_t most_pool)
{
    omen_graph_walk **spare = (omen_graph_walk **)&index->graph.spare;
    omen_graph_walk *w = __atomic_exchange_n(spare, NULL, __ATOMIC_ACQ_REL);
    if (w && w->most_pool >= most_pool)
        return w;
    omen_graph_walk_destroy(w);
    return omen_graph_walk_create(index, most_pool);
}

static void give_walk(const omen_index *index, omen_graph_walk *w)
{
    omen_graph_walk **spare = (omen_graph_walk **)&index->graph.spare, *none = NULL;
    if (w && !__atomic_compare_exchange_n(spare, &none, w, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        omen_graph_walk_destroy(w);
}

/* ---- rows visited ---- */

/* Where the rows of a step go: behind those of the steps before, as long as there is room, so that they can be
 * forgotten one by one. */
static uint32_t *step_rows(omen_graph_walk *w)
{
    if (w->n_seen + w->step_size > w->seen_size) {
        w->n_seen = 0;
        w->has_lost = true;
    }
    return w->seen + w->n_seen;
}

static void forget(omen_graph_walk *w)
{
    if (w->has_lost)
        memset(w->visited, 0, (w->index->meta.n_rows / 64 + 1) * sizeof *w->visited);
    for (size_t i = 0; i < w->n_seen && !w->has_lost; i++)
        w->visited[w->seen[i] / 64] = 0;
    w->n_seen = 0;
    w->has_lost = false;
}

/* Marks a row as visited; 1 if it was not before. */
static inline uint32_t visit(uint64_t *visited, uint32_t row)
{
    const uint64_t word = visited[row / 64], bit = (uint64_t)1 << row % 64;
    visited[row / 64] = word | bit;
    return !(word & bit);
}

/* ---- one step ---- */

static uint64_t pool_key(float estimate, uint32_t row)
{
    return omen_key(estimate, 2 * row);
}

/* How many of n ascending keys are below one, without branches on the data. */
static size_t count_below(const uint64_t *keys, size_t n, uint64_t key)
{
    const uint64_t *from = keys;
    while (n > 1) {
        const size_t half = n / 2;
        from += from[half - 1] < key ? half : 0;
        n -= half;
    }
    return (size_t)(from - keys) + (n == 1 && *from < key);
}

/* Puts n_fresh ascending keys into the pool of n, and returns the lowest place that changed. Between the new keys of a
 * large pool many others move together. */
static size_t put_keys(uint64_t *pool, size_t n, const uint64_t *fresh, size_t n_fresh)
{
    size_t from = n, next = n_fresh;
    while (n >= MOVED_KEYS && next > 0) {
        const size_t place = count_below(pool, from, fresh[next - 1]);
        memmove(pool + place + next, pool + place, (from - place) * sizeof *pool);
        from = place;
        next--;
        pool[from + next] = fresh[next];
    }
    while (next > 0) {
        const bool moves = from > 0 && pool[from - 1] > fresh[next - 1];
        pool[from + next - 1] = moves ? pool[from - 1] : fresh[next - 1];
        from -= moves;
        next -= !moves;
    }
    return from;
}

/* Of n ascending keys, which are given up, those of the set. What is behind the most that can count goes. */
static void keep_matches(omen_graph_walk *w, uint64_t *keys, size_t n)
{
    size_t n_kept = 0;
    for (size_t i = 0; i < n; i++) {
        keys[n_kept] = keys[i];
        n_kept += omen_row_set_has(w->set, (uint32_t)keys[i] / 2);
    }
    put_keys(w->matches, w->n_matches, keys, n_kept);
    w->n_matches += n_kept;
    w->n_matches = w->n_matches < w->most_pool ? w->n_matches : w->most_pool;
}

/* Puts those of n new rows whose estimates are not above limit into the pool of *n_pool; returns the lowest place that
 * changed. */
static uint32_t merge(omen_graph_walk *w, const uint32_t *rows, size_t n, float limit, uint32_t *n_pool)
{
    const size_t n_fresh = omen_kernels_get()->filter(w->estimates, n, limit, w->at);
    if (n_fresh == 0)
        return *n_pool;
    for (size_t i = 0; i < n_fresh; i++)
        w->fresh[i] = pool_key(w->estimates[w->at[i]], rows[w->at[i]]);
    omen_keys_sort(w->fresh, n_fresh);
    *n_pool += (uint32_t)n_fresh;
    const uint32_t changed = (uint32_t)put_keys(w->pool, *n_pool - n_fresh, w->fresh, n_fresh);
    if (w->set)
        keep_matches(w, w->fresh, n_fresh);
    return changed;
}

/* To a query unlike the rows many of them are about as far as its k-th, and tell the way to the nearest badly: it goes
 * the farther beyond the k-th, the nearer those are that would make a pool larger than most. By how much does not grow
 * with the reach: where a high recall takes large pools anyway, these queries' would become larger than they need. */
static float enlarged_reach(float reach, float d_k2, float spread)
{
    const float near = NEAR_BEHIND * d_k2;
    return reach * d_k2 * (1 + CROWDED * (spread > near ? near / spread : 1));
}

static uint32_t least_rank(const omen_graph_effort *effort)
{
    return SCALE_RANK < effort->least_pool ? SCALE_RANK : effort->least_pool;
}

uint32_t omen_graph_scale_rank(uint32_t k, const omen_graph_effort *effort)
{
    return k > least_rank(effort) ? k : least_rank(effort);
}

/* The rank of the estimate that the reach is relative to, among all rows or those of the set: as many of these as may
 * be expected among so many of all. */
static uint32_t scale_rank(const omen_graph_walk *w, uint32_t k, const omen_graph_effort *effort)
{
    if (!w->set)
        return omen_graph_scale_rank(k, effort);
    const uint64_t least = (least_rank(effort) * w->set->n_matches + w->set->n_rows - 1) / w->set->n_rows;
    return k > least ? k : (uint32_t)least;
}

/* The estimate up to which rows are wanted; cuts the pool to it. */
static float cut(const omen_graph_walk *w, const omen_graph_query *query, uint32_t k, const omen_graph_effort *effort,
                 uint32_t *n_pool)
{
    const uint64_t *pool = w->pool;
    const uint32_t rank = scale_rank(w, k, effort);
    if (*n_pool < effort->least_pool || (w->set && w->n_matches < rank && *n_pool < effort->most_pool))
        return INFINITY;
    const float kth = !w->set                ? omen_key_distance(pool[rank - 1])
                      : w->n_matches >= rank ? omen_key_distance(w->matches[rank - 1])
                                             : INFINITY;
    const float least = omen_key_distance(pool[effort->least_pool - 1]);
    const float d_k2 = kth + query->offset > 0 ? kth + query->offset : 0;
    const uint32_t far = SPREAD_POOLS * effort->least_pool, behind = far < *n_pool ? far : *n_pool;
    const float reach = enlarged_reach(effort->reach, d_k2, omen_key_distance(pool[behind - 1]) - kth);
    const float wanted = kth + reach, limit = wanted > least ? wanted : least;
    uint32_t n = *n_pool < effort->most_pool ? *n_pool : effort->most_pool;
    while (n > effort->least_pool && omen_key_distance(pool[n - 1]) > limit)
        n--;
    *n_pool = n;
    return n == effort->most_pool && omen_key_distance(pool[n - 1]) < limit ? omen_key_distance(pool[n - 1]) : limit;
}

/* Where the query is a row, n_met rows having led to it before this one: the neighbour of its own that takes its place,
 * or OMEN_GRAPH_NONE. Without that row, an edge to it would lead to another row near it, or to none. That it is one in
 * every fourth case, and never the nearest, was found by comparing with queries that are no rows. */
static uint32_t stand_in(const omen_graph *g, uint32_t own, uint32_t n_met)
{
    const uint32_t at = (n_met + 1) / STANDS_IN;
    return (n_met + 1) % STANDS_IN == 0 && at < g->degree ? g->neighbours[(size_t)own * g->degree + at]
                                                          : OMEN_GRAPH_NONE;
}

/* Appends the neighbours of a row that have not been visited to the n rows of the step. */
static int take_neighbours(omen_graph_walk *w, uint32_t row, uint32_t own, uint32_t *rows, size_t *n, omen_detail *why)
{
    const omen_index *index = w->index;
    const omen_graph *g = &index->graph;
    const uint64_t n_rows = index->meta.n_rows, row_bytes = 4 * (uint64_t)g->degree;
    if (!omen_touched_before(&g->adjacency, row * row_bytes, row_bytes)) {
        const int status = omen_index_touch_neighbours(index, row, 1, why);
        if (status != OMEN_OK)
            return status;
    }
    const uint32_t *to = g->neighbours + (size_t)row * g->degree, degree = g->degree;
    uint64_t *visited = w->visited;
    size_t count = *n;
    bool meets_own = false;
    for (uint32_t i = 0; i < degree && to[i] < n_rows; i++) {
        meets_own |= to[i] == own;
        rows[count] = to[i];
        count += visit(visited, to[i]);
    }
    /* some of its neighbours, and all its copies, take the place of the query's own row */
    if (meets_own) {
        rows[count] = stand_in(g, own, w->n_met++);
        count += rows[count] < n_rows && visit(visited, rows[count]);
    }
    to = meets_own ? g->neighbours + (size_t)own * degree : to;
    for (uint32_t i = 0; i < degree && meets_own && to[i] < n_rows; i++) {
        rows[count] = to[i];
        if (memcmp(g->codes + (size_t)to[i] * OMEN_GRAPH_CODE_BYTES, g->codes + (size_t)own * OMEN_GRAPH_CODE_BYTES,
                   OMEN_GRAPH_NIBBLES / 2) == 0)
            count += visit(visited, to[i]);
    }
    for (size_t i = *n; i < count; i++)
        __builtin_prefetch(g->codes + (size_t)rows[i] * OMEN_GRAPH_CODE_BYTES);
    *n = count;
    return OMEN_OK;
}

/* Checks the codes of n rows, where that has not been done. A code is in one block. */
static int touch_codes(const omen_graph_walk *w, const uint32_t *rows, size_t n, omen_detail *why)
{
    const omen_touched *code = &w->index->graph.code;
    bool all = true;
    int status = OMEN_OK;
    for (size_t i = 0; i < n && code->seen; i++)
        all &= omen_touched_before(code, (uint64_t)rows[i] * OMEN_GRAPH_CODE_BYTES, 1);
    for (size_t i = 0; i < n && !all && status == OMEN_OK; i++)
        status = omen_index_touch_graph_codes(w->index, rows[i], 1, why);
    return status;
}

/* Begins a pool with the nearest of the entries. */
static void take_entries(omen_graph_walk *w, const omen_graph_query *query, uint32_t own, uint32_t *n_pool)
{
    const omen_graph *g = &w->index->graph;
    size_t n = 0;
    omen_kernels_get()->graph_estimates(g->entry_codes, w->numbers, g->n_entries, query->weights, query->unit,
                                        w->estimates);
    for (uint32_t i = 0; i < g->n_entries; i++) {
        w->pool[n] = pool_key(w->estimates[i], g->entries[i]);
        n += g->entries[i] != own;
    }
    *n_pool = (uint32_t)(n < BEGIN ? n : BEGIN);
    if (*n_pool < n)
        omen_keys_select(w->pool, n, *n_pool);
    omen_keys_sort(w->pool, *n_pool);
    for (uint32_t i = 0; i < *n_pool; i++)
        if (visit(w->visited, (uint32_t)w->pool[i] / 2))
            w->seen[w->n_seen++] = (uint32_t)w->pool[i] / 2;
}

/* Asks for the neighbours of the rows of the pool that a step begins with. */
static inline void prefetch_next(const omen_graph_walk *w, uint32_t next, uint32_t n_pool)
{
    const omen_graph *g = &w->index->graph;
    for (uint32_t i = next, ahead = 0; i < n_pool && ahead < STEP; i++) {
        if (w->pool[i] & 1)
            continue;
        const uint8_t *to = (const uint8_t *)(g->neighbours + (size_t)((uint32_t)w->pool[i] / 2) * g->degree);
        for (size_t at = 0; at < 4 * (size_t)g->degree; at += 64)
            __builtin_prefetch(to + at);
        ahead++;
    }
}

void omen_graph_project(omen_graph_walk *w, const float *queries, size_t n)
{
    const omen_index *index = w->index;
    const size_t ld = omen_round_up(index->meta.d_kept, OMEN_PANEL);
    const float *lifted = omen_transform_lift(&index->transform, queries, n, true, w->lifted);
    omen_query_axes_project(index, true, lifted, n, w->projected, ld, w->tails, w->work);
    /* cosine re-ranks with the unit query; nothing else needs the lifted ones again */
    w->queries = omen_refine_shift(&index->refine, index->meta.metric == OMEN_METRIC_COSINE ? lifted : queries, n, true,
                                   w->lifted);
}

int64_t omen_graph_walk_query(omen_graph_walk *w, size_t q, uint32_t k, const omen_graph_effort *effort, uint32_t own,
                              omen_graph_view *out, omen_detail *why)
{
    const omen_graph *g = &w->index->graph;
    const omen_kernels *kernels = omen_kernels_get();
    const size_t ld = omen_round_up(w->index->meta.d_kept, OMEN_PANEL);
    omen_graph_query code_query;
    const omen_graph_query *query = &code_query;
    omen_graph_query_make(g->dims, g->ranges, w->index->axes.n_graph, w->projected + q * ld, w->tails[q], &code_query);
    uint32_t n_pool = 0, next = 0, next_entry = 0;
    bool is_last = false;
    int status = OMEN_OK;
    if (own != OMEN_GRAPH_NONE && visit(w->visited, own))
        w->seen[w->n_seen++] = own;
    take_entries(w, query, own, &n_pool);
    w->n_matches = 0;
    if (w->set) {
        memcpy(w->fresh, w->pool, n_pool * sizeof *w->pool);
        keep_matches(w, w->fresh, n_pool);
    }
    w->n_met = 0;
    float limit = cut(w, query, k, effort, &n_pool);
    out->n_estimates = g->n_entries;
    while (status == OMEN_OK) {
        size_t n = 0;
        uint32_t n_taken = 0, *rows = step_rows(w);
        const uint32_t part = n_pool / STEP_PART < STEP_MOST ? n_pool / STEP_PART : STEP_MOST;
        const uint32_t step = part > STEP ? part : STEP;
        for (; next < n_pool && n_taken < step && status == OMEN_OK; next++) {
            if (w->pool[next] & 1)
                continue;
            w->pool[next] |= 1;
            n_taken++;
            status = take_neighbours(w, (uint32_t)w->pool[next] / 2, own, rows, &n, why);
        }
        prefetch_next(w, next, n_pool); /* unless nearer ones are found, these will be */
        w->n_seen += n;
        if (n_taken == 0 && own != OMEN_GRAPH_NONE && n_pool < effort->least_pool && !is_last) {
            is_last = true; /* nothing leads past the query's own row */
            status = take_neighbours(w, own, own, rows, &n, why);
            w->n_seen += n;
        } else if (n_taken == 0 && n_pool < effort->least_pool && next_entry < g->n_entries) {
            /* every row is reached from all entries, not from the nearest of them */
            for (; next_entry < g->n_entries && n < g->degree; next_entry++) {
                rows[n] = g->entries[next_entry];
                n += rows[n] != own && visit(w->visited, rows[n]);
            }
            w->n_seen += n;
        } else if (n_taken == 0) {
            break;
        }
        if (status != OMEN_OK)
            break;
        status = touch_codes(w, rows, n, why);
        if (status != OMEN_OK)
            break;
        kernels->graph_estimates(g->codes, rows, n, query->weights, query->unit, w->estimates);
        out->n_estimates += n;
        const uint32_t changed = merge(w, rows, n, limit, &n_pool);
        next = changed < next ? changed : next;
        limit = cut(w, query, k, effort, &n_pool);
        prefetch_next(w, next, n_pool);
    }
    forget(w);
    if (status != OMEN_OK)
        return status;
    for (uint32_t i = 0; i < n_pool; i++)
        w->found[i] = w->pool[i] >> 32 << 32 | (uint32_t)w->pool[i] / 2;
    out->keys = w->found;
    return n_pool;
}

int64_t omen_graph_walk_filtered(omen_graph_walk *w, size_t q, uint32_t k, const omen_graph_effort *effort,
                                 const omen_row_set *set, omen_graph_view *out, omen_detail *why)
{
    w->set = set;
    const int64_t n_pool = omen_graph_walk_query(w, q, k, effort, OMEN_GRAPH_NONE, out, why);
    w->set = NULL;
    if (n_pool < 0)
        return n_pool;
    if (w->n_matches < k || n_pool == effort->most_pool)
        return 0;
    const uint64_t last = w->pool[n_pool - 1] | 1;
    size_t n = 0;
    for (; n < w->n_matches && w->matches[n] <= last; n++)
        w->found[n] = w->matches[n] >> 32 << 32 | (uint32_t)w->matches[n] / 2;
    return (int64_t)n;
}

/* ---- re-ranking ---- */

int omen_graph_rerank(omen_graph_walk *w, size_t q, uint32_t from, uint32_t to, omen_detail *why)
{
    const omen_index *index = w->index;
    const omen_distance_fn distance = omen_refine_kernel(index->meta.refine, index->meta.metric);
    const float *query = w->queries + q * index->meta.d;
    const size_t row_bytes = index->refine_row_bytes, touched = row_bytes < 1024 ? row_bytes : 1024;
    const double offset = omen_refine_offset(&index->refine, query);
    for (uint32_t ahead = from, i = from; i < to; i++) {
        for (; ahead < to && ahead < i + AHEAD; ahead++) {
            const size_t row = (uint32_t)w->found[ahead];
            for (size_t at = 0; at < touched; at += 64)
                __builtin_prefetch(index->refine_rows + row * row_bytes + at);
            __builtin_prefetch(index->ids + row);
        }
        const uint64_t row = (uint32_t)w->found[i];
        int status = OMEN_OK;
        if (!omen_touched_before(&index->refn, row * row_bytes, row_bytes))
            status = omen_index_touch_rows(index, row, 1, why);
        if (status == OMEN_OK && !omen_touched_before(&index->perm, row * 4, 4))
            status = omen_index_touch_ids(index, row, 1, why);
        if (status != OMEN_OK)
            return status;
        w->found[i] = omen_key(
            omen_refine_distance(&index->refine, distance, query, offset, index->refine_rows + row * row_bytes),
            index->ids[row]);
    }
    return OMEN_OK;
}

/* Searches n <= CHUNK queries. */
static int search_some(omen_graph_walk *w, const float *queries, const omen_row_set *const *sets, size_t n, uint32_t k,
                       const omen_graph_effort *efforts, uint64_t *keys, omen_search_stats *stats, omen_detail *why)
{
    omen_graph_project(w, queries, n);
    for (size_t q = 0; q < n; q++) {
        omen_graph_view view;
        const omen_graph_effort *effort = &efforts[sets ? q : 0];
        const int64_t n_found = sets ? omen_graph_walk_filtered(w, q, k, effort, sets[q], &view, why)
                                     : omen_graph_walk_query(w, q, k, effort, OMEN_GRAPH_NONE, &view, why);
        if (n_found < 0)
            return (int)n_found;
        if (sets && n_found == 0) {
            memset(keys + q * k, 0xff, k * sizeof *keys);
            stats->graph.estimates += view.n_estimates;
            continue;
        }
        if (n_found < k)
            return omen_fail(why, OMEN_ERR_CORRUPT, "section GADJ: fewer than %u rows are reached", k);
        const uint32_t n_rows = omen_graph_rerank_rows((uint32_t)n_found, k, effort->share);
        const int status = omen_graph_rerank(w, q, 0, n_rows, why);
        if (status != OMEN_OK)
            return status;
        if (n_rows > k)
            omen_keys_select(w->found, n_rows, k);
        omen_keys_sort(w->found, k);
        memcpy(keys + q * k, w->found, k * sizeof *keys);
        stats->graph.estimates += view.n_estimates;
        stats->rows_reranked += n_rows;
        stats->n_queries++;
    }
    return OMEN_OK;
}

/* What the threads of a search share. */
typedef struct {
    const omen_index *index;
    const float *queries;
    uint64_t n_queries, size; /* queries that a thread takes at once */
    uint32_t k;
    const omen_row_set *const *row_sets;
    const omen_graph_effort *efforts;
    uint32_t most_pool;
    uint64_t *keys;
    omen_search_stats *stats;
    omen_watch *watch;
    omen_detail *why;
    uint64_t next; /* query that no thread has taken */
    int status;
} search;

/* Takes queries until there are none. */
static void search_part(search *s)
{
    omen_graph_walk *w = take_walk(s->index, s->most_pool);
    omen_search_stats sums = {0};
    omen_detail why = {""};
    int status = w ? OMEN_OK : OMEN_ERR_MEMORY;
    while (status == OMEN_OK) {
        const uint64_t q = __atomic_fetch_add(&s->next, s->size, __ATOMIC_RELAXED), left = s->n_queries - q;
        if (q >= s->n_queries)
            break;
        const uint64_t n_before = sums.n_queries;
        status = omen_watch_status(s->watch);
        if (status == OMEN_OK)
            status = search_some(w, s->queries + q * s->index->meta.d, s->row_sets ? s->row_sets + q : NULL,
                                 left < s->size ? left : s->size, s->k, s->efforts + (s->row_sets ? q : 0),
                                 s->keys + q * s->k, &sums, &why);
        omen_watch_add_parts(s->watch, (sums.n_queries - n_before) * OMEN_PROGRESS_PARTS); /* not those given up */
    }
#pragma omp critical(omen_graph_search)
    {
        if (status != OMEN_OK) {
            s->status = status;
            if (s->why)
                *s->why = why;
        }
        if (s->stats) {
            s->stats->n_queries += sums.n_queries;
            s->stats->graph.estimates += sums.graph.estimates;
            s->stats->rows_reranked += sums.rows_reranked;
        }
    }
    give_walk(s->index, w);
}

int omen_search_graph(const omen_index *index, const float *queries, const omen_row_set *const *row_sets,
                      uint64_t n_queries, uint32_t k, const omen_graph_effort *efforts, int n_threads, uint64_t *keys,
                      omen_search_stats *stats, omen_watch *watch, omen_detail *why)
{
    search s = {.index = index,
                .queries = queries,
                .n_queries = n_queries,
                .size = n_queries / (4 * (uint64_t)n_threads),
                .k = k,
                .row_sets = row_sets,
                .efforts = efforts,
                .keys = keys,
                .stats = stats,
                .watch = watch,
                .why = why};
    for (uint64_t q = 0; q < (row_sets ? n_queries : 1); q++)
        s.most_pool = efforts[q].most_pool > s.most_pool ? efforts[q].most_pool : s.most_pool;
    s.size = s.size < 1 ? 1 : s.size < CHUNK ? s.size : CHUNK;
    const uint64_t n_chunks = (n_queries + s.size - 1) / s.size;
    if ((uint64_t)n_threads > n_chunks)
        n_threads = n_chunks ? (int)n_chunks : 1;
    if (n_threads == 1) { /* a team of one would cost what a tenth of an easy query does */
        search_part(&s);
        return s.status;
    }
#pragma omp parallel num_threads(n_threads)
    search_part(&s);
    return s.status;
}
