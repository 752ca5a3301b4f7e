/* SPDX-License-Identifier: Apache-2.0 */
/* Queries, batch by batch: read, searched, answered; of a stream as they come. */
#include "cmd/query_batches.h"
#include "cmd/query_rows.h"
#include "cmd/query_self.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Queries searched together: enough for lists to be shared; fewer if k is so large that a batch passes BATCH_BYTES. */
#define BATCH_ROWS  16384u
#define BATCH_BYTES ((uint64_t)256 << 20)

/* With --within it is not known what a batch finds: the first is small, and the next larger, unless much is found. */
#define FIRST_ROWS   256u
#define FOUND_LITTLE ((uint64_t)1 << 20)

int query_batches_init(struct query_batches *s, uint64_t n_queries, size_t n_filtered)
{
    const struct query *q = s->q;
    const uint64_t k = q->search.has_within ? 1 : q->search.k;
    const uint64_t row_bytes = s->d * sizeof(float) + k * (sizeof(int64_t) + sizeof(float));
    const uint64_t fitting = BATCH_BYTES / row_bytes;

    s->n_rows = q->batch_rows > 0 && q->batch_rows < BATCH_ROWS ? q->batch_rows : BATCH_ROWS;
    s->n_rows = n_queries < s->n_rows ? n_queries : s->n_rows;
    if (s->n_rows > fitting)
        s->n_rows = fitting > 0 ? fitting : 1;
    s->rows = malloc(s->n_rows * s->d * sizeof(float));
    s->ids = malloc(s->n_rows * k * sizeof(int64_t));
    s->distances = q->distances ? malloc(s->n_rows * k * sizeof(float)) : NULL;
    s->sets = n_filtered > 0 ? malloc(s->n_rows * n_filtered * sizeof *s->sets) : NULL;
    if (!s->rows || !s->ids || (q->distances && !s->distances) || (n_filtered > 0 && !s->sets))
        return OMEN_ERR_MEMORY;
    return OMEN_OK;
}

void query_batches_finish(struct query_batches *s)
{
    free(s->rows);
    free(s->ids);
    free(s->distances);
    free(s->sets);
}

void query_lap(double *clock, double *sum)
{
    double now = cmd_seconds();

    *sum += now - *clock;
    *clock = now;
}

static int show_progress(void *context, const char *stage, uint64_t done, uint64_t total)
{
    struct query_batches *s = context;

    if (done == s->n_parts && done > 0) /* between two scans of lists there is nothing to tell */
        return 0;
    s->n_parts = done;
    return cmd_progress_update(&s->progress, stage, s->n_before * OMEN_PROGRESS_PARTS + done,
                               s->source.n_rows * OMEN_PROGRESS_PARTS);
}

/* What a batch has found, and whether all queries found enough. */
static void count_found(const struct query_batches *s, uint64_t n, struct cmd_query_outcome *o)
{
    for (uint64_t i = 0; i < n && s->sets; i++) {
        const uint32_t n_found = omen_found_count(s->ids + i * o->k, o->k);

        o->n_short += n_found < o->k;
        o->n_passing += n_found;
    }
}

/* Searches for n queries, of which the first is number first, and writes what they find. */
static int search_batch(struct query_batches *s, uint64_t first, uint64_t n, const float *rows, omen_detail *why)
{
    struct query_indexes *indexes = s->indexes;
    const omen_joint *joint = indexes->joint;
    const char *const *labels = (const char *const *)indexes->labels;
    struct cmd_query_outcome *o = s->o;
    const omen_results *results = s->results;
    omen_found *found = NULL;
    int status = OMEN_OK;

    if (s->sets)
        status = query_indexes_fill(indexes, NULL, first, n, s->search.n_threads, s->sets, why);
    if (status != OMEN_OK)
        return status;
    s->search.row_sets = s->sets;
    s->search.first_query = first;
    status = s->search.has_within ? omen_joint_search_within(joint, &s->search, rows, n, &found, &o->stats, why)
                                  : omen_joint_search(joint, &s->search, rows, n, s->ids, s->distances, &o->stats, why);
    query_lap(&s->clock, &o->search_seconds);
    if (status == OMEN_OK && found) {
        query_self_count(found, o);
        query_rows_shift(found->ids, found->first[n], s->q->row_offset);
        status = omen_results_write_found_joint(results, joint, s->by_key, labels, first, found, why);
        s->n_worth = found->first[n] < FOUND_LITTLE ? 2 * n : found->first[n] > 4 * FOUND_LITTLE ? (n + 1) / 2 : n;
        omen_found_destroy(found);
    } else if (status == OMEN_OK) {
        if (s->q->exclude_self)
            query_rows_exclude(s->numbers + first, n, s->search.k, s->ids, s->distances);
        count_found(s, n, o);
        query_rows_shift(s->ids, n * o->k, s->q->row_offset);
        status = omen_results_write_joint(results, joint, s->by_key, labels, first, n, s->ids, s->distances, why);
    }
    query_lap(&s->clock, &o->write_seconds);
    return status;
}

/* How many queries to take next. */
static uint64_t batch_rows(const struct query_batches *s)
{
    return s->n_worth < s->n_rows ? s->n_worth : s->n_rows;
}

/* All queries of a source. */
static int search_source(struct query_batches *s, omen_detail *why)
{
    const omen_source *source = &s->source;
    uint64_t n;
    int status = OMEN_OK;

    for (uint64_t first = 0; status == OMEN_OK && first < source->n_rows; first += n) {
        n = batch_rows(s);
        n = source->n_rows - first < n ? source->n_rows - first : n;
        if (s->sets)
            n = query_indexes_fit(s->indexes, NULL, first, n);
        s->n_before = first;
        show_progress(s, "search", 0, 0);
        status = source->read(source->self, first, n, s->rows, why);
        if (s->numbers)
            status = cmd_name_damage(s->q->indexes.paths[0], status, why);
        query_lap(&s->clock, &s->o->read_seconds);
        if (status == OMEN_OK)
            status = search_batch(s, first, n, s->rows, why);
    }
    return status;
}

/* An omen_stream_wait_fn: the sender may wait for answers before it sends more. */
static int send_answers(void *context, omen_detail *why)
{
    const struct query_batches *s = context;

    if (fflush(s->results->stream) != 0 || (s->results->distances && fflush(s->results->distances) != 0))
        return omen_fail(why, OMEN_ERR_IO, "cannot write the results: %s", strerror(errno));
    return OMEN_OK;
}

/* How many of n rows come before the first that the library may refuse, as a zero vector or as too long; 1 if that is
 * the first of them. */
static uint64_t rows_before_fault(const struct query_batches *s, const float *rows, uint64_t n)
{
    const bool refuses_zero = s->o->info.metric == OMEN_METRIC_COSINE && !s->search.zero_ok;
    const double most = 0.999 * (double)OMEN_NORM2_MOST; /* its sum may be rounded otherwise */

    for (uint64_t i = 0; i < n; i++) {
        double norm2 = 0;
        for (uint32_t j = 0; j < s->d; j++)
            norm2 += (double)rows[i * s->d + j] * (double)rows[i * s->d + j];
        if (norm2 > most || (norm2 == 0 && refuses_zero))
            return i > 0 ? i : 1;
    }
    return n;
}

/* All queries of a stream, as they come. Those before one that is at fault are answered, whatever came with it. */
static int search_stream(struct query_batches *s, omen_detail *why)
{
    uint64_t first = 0, n = 1, n_part;
    int status = OMEN_OK;

    while (status == OMEN_OK && n > 0) {
        s->n_before = first;
        show_progress(s, "search", 0, 0);
        status = omen_vectors_stream_next(s->stream, batch_rows(s), send_answers, s, s->rows, &n, why);
        query_lap(&s->clock, &s->o->read_seconds);
        for (uint64_t i = 0; i < n && status == OMEN_OK; i += n_part) {
            const float *rows = s->rows + i * s->d;
            n_part = rows_before_fault(s, rows, n - i);
            status = search_batch(s, first + i, n_part, rows, why);
        }
        first += n;
    }
    s->o->n_in_batch = first;
    return status;
}

int query_batches_run(struct query_batches *s, struct cmd_query_outcome *o, omen_detail *why)
{
    int status;

    s->o = o;
    s->search = s->q->search;
    s->clock = cmd_seconds();
    s->n_worth = s->search.has_within ? FIRST_ROWS : s->n_rows;
    cmd_progress_init(&s->progress, s->shows_progress ? 0 : -1);
    s->progress.unit = OMEN_PROGRESS_PARTS;
    s->search.progress = s->shows_progress ? show_progress : NULL;
    s->search.progress_context = s;
    status = omen_results_begin_joint(s->results, s->indexes->joint, s->by_key, (const char *const *)s->indexes->labels,
                                      why);
    if (status == OMEN_OK)
        status = s->stream ? search_stream(s, why) : search_source(s, why);
    cmd_progress_clear(&s->progress);
    return status;
}
