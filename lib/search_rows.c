/* SPDX-License-Identifier: Apache-2.0 */
/* Exact search in sets of rows, or for all rows within a distance: a few queries of the same set go through it
 * together, block by block, so that a block's rows are in cache for all of them. */
#include <stdlib.h>
#include <string.h>

#include "lib/filter.h"
#include "lib/matrix.h"
#include "lib/range.h"
#include "lib/watch.h"

#define TASK_QUERIES 16u  /* most queries of a task, all of one set */
#define BLOCK_ROWS   256u /* rows compared with all of them */
#define AHEAD        12u  /* rows prefetched before they are compared */
#define SLACK        16u  /* keys taken in before a query's are cut back, besides k */
#define WAITING      8u   /* rows near enough, whose ids are on their way from memory */

/* One thread's buffers. */
typedef struct {
    float *lifted;
    uint64_t *keys; /* TASK_QUERIES x size */
    size_t size;
    uint32_t counts[TASK_QUERIES];
    uint64_t worst[TASK_QUERIES]; /* no key from here on is wanted */
    uint32_t positions[BLOCK_ROWS];
    uint64_t n_compared;
} rows_state;

static void cut(rows_state *s, size_t q, uint32_t k)
{
    uint64_t *keys = s->keys + q * s->size, worst = 0;
    if (s->counts[q] <= k)
        return;
    omen_keys_select(keys, s->counts[q], k);
    s->counts[q] = k;
    for (uint32_t i = 0; i < k; i++)
        worst = keys[i] > worst ? keys[i] : worst;
    s->worst[q] = worst;
}

/* Takes rows that are near enough, n keys (distance, position). */
static void take(rows_state *s, const omen_index *index, size_t q, uint32_t k, const uint64_t *waiting, size_t n)
{
    uint64_t *keys = s->keys + q * s->size;
    for (size_t i = 0; i < n; i++) {
        const uint64_t key = (waiting[i] & ~(uint64_t)UINT32_MAX) | index->ids[(uint32_t)waiting[i]];
        if (key >= s->worst[q])
            continue;
        keys[s->counts[q]++] = key;
        if (s->counts[q] == s->size)
            cut(s, q, k);
    }
}

/* One query against the n rows at s->positions. */
static void compare(rows_state *s, const omen_index *index, size_t q, const float *query, uint32_t k, size_t n)
{
    const omen_distance_fn kernel = omen_refine_kernel(index->meta.refine, index->meta.metric);
    const double offset = omen_refine_offset(&index->refine, query);
    const size_t row_bytes = index->refine_row_bytes, fetched = row_bytes < 1024 ? row_bytes : 1024;
    uint64_t waiting[WAITING];
    size_t n_waiting = 0;
    for (size_t i = 0; i < n; i++) {
        if (q == 0 && i + AHEAD < n) {
            const uint8_t *next = index->refine_rows + s->positions[i + AHEAD] * row_bytes;
            for (size_t at = 0; at < fetched; at += 64)
                __builtin_prefetch(next + at);
            if (s->worst[q] == UINT64_MAX) /* the ids are wanted, too */
                __builtin_prefetch(index->ids + s->positions[i + AHEAD]);
        }
        const uint8_t *stored = index->refine_rows + s->positions[i] * row_bytes;
        const float distance = omen_refine_distance(&index->refine, kernel, query, offset, stored);
        if (omen_key(distance, 0) >= s->worst[q]) /* so the id need not be fetched */
            continue;
        __builtin_prefetch(index->ids + s->positions[i]);
        waiting[n_waiting++] = omen_key(distance, s->positions[i]);
        if (n_waiting == WAITING) {
            take(s, index, q, k, waiting, n_waiting);
            n_waiting = 0;
        }
    }
    take(s, index, q, k, waiting, n_waiting);
}

/* The same, for all rows within a distance. */
static int compare_within(const rows_state *s, const omen_index *index, const omen_search_job *job, uint64_t q,
                          const float *query, size_t n)
{
    const omen_distance_fn kernel = omen_refine_kernel(index->meta.refine, index->meta.metric);
    const double offset = omen_refine_offset(&index->refine, query);
    const uint64_t most = omen_key(job->options->within, UINT32_MAX);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *stored = index->refine_rows + s->positions[i] * (uint64_t)index->refine_row_bytes;
        const float distance = omen_refine_distance(&index->refine, kernel, query, offset, stored);
        if (omen_key(distance, 0) <= most &&
            omen_range_add(&job->ranges[q], omen_key(distance, index->ids[s->positions[i]]), job->options->limit) !=
                OMEN_OK)
            return OMEN_ERR_MEMORY;
    }
    return OMEN_OK;
}

/* Takes up to BLOCK_ROWS positions of the set, or of all n_rows where it is NULL, from word *at on, whole words of it;
 * of a list from its *at-th on. */
static size_t next_positions(const omen_row_set *set, uint64_t n_rows, uint64_t *at, uint32_t positions[BLOCK_ROWS])
{
    const uint64_t n_words = omen_row_set_words(n_rows);
    size_t n = 0;
    for (; set && set->positions && *at < set->n_matches && n < BLOCK_ROWS; ++*at)
        positions[n++] = set->positions[*at];
    if (set && set->positions)
        return n;
    for (; !set && *at < n_words && n + 64 <= BLOCK_ROWS; ++*at)
        for (uint64_t row = *at * 64; row < *at * 64 + 64 && row < n_rows; row++)
            positions[n++] = (uint32_t)row;
    for (; *at < n_words && n + 64 <= BLOCK_ROWS; ++*at)
        for (uint64_t word = set->words[*at]; word; word &= word - 1)
            positions[n++] = (uint32_t)(*at * 64 + (uint64_t)__builtin_ctzll(word));
    return n;
}

/* Queries [first, first + n) of the job, all of one set. */
static int search_task(rows_state *s, const omen_index *index, const omen_search_job *job, uint64_t first, size_t n,
                       omen_detail *why)
{
    const uint32_t d = index->meta.d, k = job->k;
    const omen_row_set *set = job->row_sets ? job->row_sets[first] : NULL;
    const uint64_t n_all = index->meta.n_rows;
    const uint64_t end = set && set->positions ? set->n_matches : omen_row_set_words(n_all);
    const float *queries = job->queries + first * d;
    if (index->meta.metric == OMEN_METRIC_COSINE)
        queries = omen_transform_lift(&index->transform, queries, n, true, s->lifted);
    queries = omen_refine_shift(&index->refine, queries, n, true, s->lifted);
    for (size_t q = 0; q < n; q++) {
        s->counts[q] = 0;
        s->worst[q] = UINT64_MAX;
    }
    uint64_t at = 0;
    for (size_t n_rows; (n_rows = next_positions(set, n_all, &at, s->positions)) > 0 || at < end;) {
        int status = omen_watch_status(job->watch);
        for (size_t i = 0; i < n_rows && status == OMEN_OK; i++)
            status = omen_index_touch_row(index, s->positions[i], true, why);
        if (status != OMEN_OK)
            return status;
        for (size_t q = 0; q < n && status == OMEN_OK; q++) {
            if (job->ranges)
                status = compare_within(s, index, job, first + q, queries + q * d, n_rows);
            else
                compare(s, index, q, queries + q * d, k, n_rows);
        }
        if (status != OMEN_OK)
            return status;
    }
    for (size_t q = 0; q < n && !job->ranges; q++) {
        uint64_t *keys = job->keys + (first + q) * k;
        cut(s, q, k);
        omen_keys_sort(s->keys + q * s->size, s->counts[q]);
        for (uint32_t i = 0; i < k; i++)
            keys[i] = i < s->counts[q] ? s->keys[q * s->size + i] : UINT64_MAX;
    }
    omen_watch_add_parts(job->watch, n * OMEN_PROGRESS_PARTS);
    s->n_compared += n * (set ? set->n_matches : 0);
    return OMEN_OK;
}

int omen_search_rows(const omen_index *index, const omen_search_job *job)
{
    /* tasks begin where the set changes, or after enough queries */
    uint64_t *firsts = omen_alloc(job->n_queries + 1, sizeof *firsts), n_tasks = 0;
    int status = firsts ? OMEN_OK : OMEN_ERR_MEMORY;
    if (!firsts)
        return status;
    for (uint64_t q = 0; q < job->n_queries; q++)
        if (q == 0 || (job->row_sets && job->row_sets[q] != job->row_sets[q - 1]) ||
            q - firsts[n_tasks - 1] == TASK_QUERIES)
            firsts[n_tasks++] = q;
    firsts[n_tasks] = job->n_queries;
    const int n_used = (uint64_t)job->n_threads < n_tasks ? job->n_threads : (int)n_tasks;
#pragma omp parallel num_threads(n_used > 0 ? n_used : 1)
    {
        rows_state s = {.size = 2 * (size_t)(job->ranges ? 0 : job->k) + SLACK};
        omen_detail own_why = {""};
        s.lifted = omen_alloc(TASK_QUERIES * (size_t)index->meta.d, sizeof *s.lifted);
        s.keys = omen_alloc(TASK_QUERIES * s.size, sizeof *s.keys);
        int own = s.lifted && s.keys ? OMEN_OK : OMEN_ERR_MEMORY;
#pragma omp for schedule(dynamic)
        for (uint64_t i = 0; i < n_tasks; i++)
            if (own == OMEN_OK)
                own = search_task(&s, index, job, firsts[i], firsts[i + 1] - firsts[i], &own_why);
#pragma omp critical(omen_search_rows)
        {
            if (own != OMEN_OK) {
                status = own;
                if (job->why)
                    *job->why = own_why;
            }
            if (job->stats)
                job->stats->rows_reranked += s.n_compared;
        }
        free(s.lifted);
        free(s.keys);
    }
    free(firsts);
    return status;
}
