/* SPDX-License-Identifier: Apache-2.0 */
/* omendb bench, the sweep: for each k and effort a warm-up whose results give recall, then timed runs.
 *
 * Each rate has at least --runs runs and --min-time seconds. The results of one thread and of single queries must be
 * those of the batch, or the figures would belong to different answers; that is checked. */
#include "cmd/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Queries timed one by one in each run, spread over all of them: enough for a p99, and a run stays short. */
#define SINGLE_QUERIES 1000u

/* ---- figures ---- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double bench_percentile(const double *sorted, uint64_t n, double p)
{
    double at = p * (double)(n - 1);
    uint64_t below = (uint64_t)at;
    uint64_t above = below + 1 < n ? below + 1 : below;

    return sorted[below] + (at - (double)below) * (sorted[above] - sorted[below]);
}

struct bench_figure bench_summarize(double *values, uint64_t n)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): of one run at least */
    qsort(values, n, sizeof *values, compare_doubles);
    return (struct bench_figure){bench_percentile(values, n, 0.5), values[0], values[n - 1], n};
}

/* A list of values that grows. */
struct series {
    double *values;
    uint64_t n, room;
};

static int series_add(struct series *s, double value)
{
    if (s->n == s->room) {
        uint64_t room = s->room > 0 ? 2 * s->room : 64;
        double *values = realloc(s->values, room * sizeof *values);

        if (!values)
            return OMEN_ERR_MEMORY;
        s->values = values;
        s->room = room;
    }
    s->values[s->n++] = value;
    return OMEN_OK;
}

/* ---- one point ---- */

/* What one point needs; ids and distances are n_queries x k. */
struct work {
    struct bench *b;
    omen_search_options search;
    int64_t *ids, *other_ids;
    float *distances;
    char stage[56]; /* for the progress line */
};

static bool is_enough(const struct bench *b, uint64_t n, double started)
{
    return n >= b->options->n_runs && cmd_seconds() - started >= b->options->min_seconds;
}

/* Tells the progress; OMEN_ERR_INTERRUPTED after a signal. */
static int look(struct work *w, const char *what)
{
    char text[80];

    snprintf(text, sizeof text, "%s %s", w->stage, what);
    return cmd_progress_update(&w->b->progress, text, 0, 0) != 0 ? OMEN_ERR_INTERRUPTED : OMEN_OK;
}

/* Whether a search should stop. */
static int ask(void *context, const char *stage, uint64_t done, uint64_t total)
{
    return cmd_signals_noted() != 0;
}

static int search_batch(struct work *w, int n_threads, int64_t *ids, omen_search_stats *stats, omen_detail *why)
{
    w->search.n_threads = n_threads;
    return bench_search(w->b, &w->search, 0, w->b->n_queries, ids, w->distances, stats, why);
}

static int check_same(const struct work *w, const char *what, omen_detail *why)
{
    if (memcmp(w->ids, w->other_ids, w->b->n_queries * w->search.k * sizeof *w->ids) != 0)
        return omen_fail(why, OMEN_ERR_CORRUPT, "%s found other rows than the batch with all threads: a bug", what);
    return OMEN_OK;
}

static int measure_batch(struct work *w, int n_threads, const char *what, struct bench_figure *out, omen_detail *why)
{
    struct series rates = {.n = 0};
    double started = cmd_seconds(), before;
    int status = OMEN_OK;

    while (status == OMEN_OK && !is_enough(w->b, rates.n, started)) {
        status = look(w, what);
        before = cmd_seconds();
        if (status == OMEN_OK)
            status = search_batch(w, n_threads, w->other_ids, NULL, why);
        if (status == OMEN_OK)
            status = series_add(&rates, (double)w->b->n_queries / (cmd_seconds() - before));
    }
    if (status == OMEN_OK)
        *out = bench_summarize(rates.values, rates.n);
    free(rates.values);
    return status;
}

/* One pass over n queries, one at a time: milliseconds of each, and their sum in seconds. */
static int pass_single(struct work *w, uint64_t n, double *ms, double *seconds, omen_detail *why)
{
    struct bench *b = w->b;
    const uint32_t k = w->search.k;
    int status = OMEN_OK;

    *seconds = 0;
    for (uint64_t i = 0; status == OMEN_OK && i < n; i++) {
        uint64_t q = b->n_queries * i / n;
        double before = cmd_seconds();

        status = bench_search(b, &w->search, q, 1, w->other_ids + q * k, w->distances, NULL, why);
        ms[i] = cmd_seconds() - before;
        *seconds += ms[i];
        ms[i] *= 1e3;
        if (cmd_signals_noted() != 0)
            status = OMEN_ERR_INTERRUPTED;
    }
    return status;
}

static int measure_single(struct work *w, struct bench_point *p, omen_detail *why)
{
    const uint64_t n = w->b->n_queries < SINGLE_QUERIES ? w->b->n_queries : SINGLE_QUERIES;
    struct series rates = {.n = 0}, p50 = {.n = 0}, p95 = {.n = 0}, p99 = {.n = 0};
    double *ms = malloc(n * sizeof *ms);
    double started, seconds;
    int status = ms ? OMEN_OK : OMEN_ERR_MEMORY;

    w->search.n_threads = 1;
    p->n_single = n;
    if (status == OMEN_OK)
        status = pass_single(w, n, ms, &seconds, why); /* the warm-up */
    if (status == OMEN_OK)
        status = check_same(w, "a single query", why);
    started = cmd_seconds();
    while (status == OMEN_OK && !is_enough(w->b, rates.n, started)) {
        status = look(w, "single queries");
        if (status == OMEN_OK)
            status = pass_single(w, n, ms, &seconds, why);
        if (status == OMEN_OK) {
            qsort(ms, n, sizeof *ms, compare_doubles);
            if (series_add(&rates, (double)n / seconds) != OMEN_OK ||
                series_add(&p50, bench_percentile(ms, n, 0.50)) != OMEN_OK ||
                series_add(&p95, bench_percentile(ms, n, 0.95)) != OMEN_OK ||
                series_add(&p99, bench_percentile(ms, n, 0.99)) != OMEN_OK) {
                status = OMEN_ERR_MEMORY;
            }
        }
    }
    if (status == OMEN_OK) {
        p->single = bench_summarize(rates.values, rates.n);
        p->p50 = bench_summarize(p50.values, p50.n);
        p->p95 = bench_summarize(p95.values, p95.n);
        p->p99 = bench_summarize(p99.values, p99.n);
    }
    free(rates.values);
    free(p50.values);
    free(p95.values);
    free(p99.values);
    free(ms);
    return status;
}

static int work_init(struct work *w, struct bench *b, uint32_t k)
{
    memset(w, 0, sizeof *w);
    w->b = b;
    omen_search_options_init(&w->search);
    w->search.k = k;
    w->search.zero_ok = b->options->build.zero_ok;
    w->search.progress = ask;
    w->ids = malloc(b->n_queries * k * sizeof *w->ids);
    w->other_ids = malloc(b->n_queries * k * sizeof *w->other_ids);
    w->distances = malloc(b->n_queries * k * sizeof *w->distances);
    return w->ids && w->other_ids && w->distances ? OMEN_OK : OMEN_ERR_MEMORY;
}

static void work_finish(struct work *w)
{
    free(w->ids);
    free(w->other_ids);
    free(w->distances);
}

/* Under a filter a query finds as many rows as pass, up to k, whatever the recall. */
static int check_found(const struct work *w, omen_detail *why)
{
    const struct bench *b = w->b;
    const uint32_t k = w->search.k;

    for (uint64_t q = 0; b->filter.is_given && q < b->n_queries; q++) {
        const uint64_t n_matches = b->filter.n_matches[q];

        if (omen_found_count(w->ids + q * k, k) != (n_matches < k ? n_matches : k)) {
            return omen_fail(why, OMEN_ERR_CORRUPT, "query %llu found %u of %llu rows that pass its filter: a bug",
                             (unsigned long long)q, omen_found_count(w->ids + q * k, k), (unsigned long long)n_matches);
        }
    }
    return OMEN_OK;
}

/* The warm-up with all threads: its results are those that recall is of. */
static int measure_recall(struct work *w, struct bench_point *p, omen_detail *why)
{
    omen_search_stats stats = {.struct_bytes = sizeof stats};
    int status = look(w, "warm-up");

    if (status == OMEN_OK)
        status = search_batch(w, w->b->options->n_threads, w->ids, &stats, why);
    if (status == OMEN_OK)
        status = check_found(w, why);
    if (status == OMEN_OK)
        status = bench_recall(w->b, p->k, w->ids, w->distances, &p->recall_distance, &p->recall_id, why);
    p->effort.probes = stats.lists.probes;
    p->effort.rerank = stats.rerank;
    p->lists_probed = (double)stats.lists.probed / (double)w->b->n_queries;
    p->codes_scanned = (double)stats.codes_scanned / (double)w->b->n_queries;
    p->rows_reranked = (double)stats.rows_reranked / (double)w->b->n_queries;
    p->graph_estimates = (double)stats.graph.estimates / (double)w->b->n_queries;
    return status;
}

static void ask_for(omen_search_options *search, const struct bench_effort *effort)
{
    search->way = effort->way;
    search->recall = effort->target;
    search->lists.probes = effort->target > 0 ? 0 : effort->probes;
    search->rerank = effort->target > 0 ? 0 : effort->rerank;
}

void bench_effort_text(char *text, size_t size, const struct bench_effort *effort)
{
    if (effort->target > 0)
        snprintf(text, size, "--recall %g%s%s", (double)effort->target, effort->tells_way ? " --way " : "",
                 effort->tells_way ? omen_search_way_name(effort->way) : "");
    else
        snprintf(text, size, "--probes %u --rerank %u", effort->probes, effort->rerank);
}

static int measure_point(struct bench *b, struct bench_point *p, const char *stage, omen_detail *why)
{
    struct work w;
    int status = work_init(&w, b, p->k);

    ask_for(&w.search, &p->effort);
    snprintf(w.stage, sizeof w.stage, "%s", stage);
    if (status == OMEN_OK)
        status = measure_recall(&w, p, why);
    if (status == OMEN_OK)
        status = measure_batch(&w, b->options->n_threads, "all threads", &p->all, why);
    if (status == OMEN_OK && b->options->n_threads > 1) {
        status = search_batch(&w, 1, w.other_ids, NULL, why);
        if (status == OMEN_OK)
            status = check_same(&w, "a batch with one thread", why);
        if (status == OMEN_OK)
            status = measure_batch(&w, 1, "one thread", &p->one, why);
    } else if (status == OMEN_OK) {
        p->one = p->all;
    }
    if (status == OMEN_OK)
        status = measure_single(&w, p, why);
    work_finish(&w);
    return status;
}

/* ---- all points ---- */

static double frontier_recall(const struct bench_point *p)
{
    return isnan(p->recall_distance) ? p->recall_id : p->recall_distance;
}

static void mark_dominated(struct bench_point *points, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct bench_point *p = &points[i];

        p->dominated = false;
        for (size_t j = 0; j < n; j++) {
            const struct bench_point *other = &points[j];
            double recall = frontier_recall(p), other_recall = frontier_recall(other);

            if (other->k == p->k && other_recall >= recall && other->all.median >= p->all.median &&
                (other_recall > recall || other->all.median > p->all.median)) {
                p->dominated = true;
            }
        }
    }
}

static size_t count_efforts(const struct bench_options *o)
{
    size_t n_reranks = o->n_reranks > 0 ? o->n_reranks : 1;
    size_t n_probes = o->n_probes > 0 ? o->n_probes : 1;

    return o->n_recalls > 0 ? o->n_recalls : n_probes * n_reranks;
}

static void set_effort(struct bench_effort *effort, const struct bench_options *o, size_t i)
{
    if (o->n_recalls > 0) {
        effort->target = o->recalls[i];
        return;
    }
    if (o->n_probes > 0) {
        effort->probes = o->probes[i % o->n_probes];
        i /= o->n_probes;
    }
    if (o->n_reranks > 0)
        effort->rerank = o->reranks[i];
}

size_t bench_ways(const struct bench *b, omen_search_way ways[2])
{
    const struct bench_options *o = b->options;
    size_t n = 0;

    if (o->way != OMEN_SEARCH_GRAPH)
        ways[n++] = OMEN_SEARCH_LISTS;
    if (o->way == OMEN_SEARCH_GRAPH || (o->way == OMEN_SEARCH_AUTO && b->info.graph.degree > 0 && o->n_recalls > 0))
        ways[n++] = OMEN_SEARCH_GRAPH;
    return n;
}

int bench_sweep(struct bench *b, omen_detail *why)
{
    const struct bench_options *o = b->options;
    omen_search_way ways[2];
    const size_t n_ways = bench_ways(b, ways), n_efforts = count_efforts(o), n_all = o->n_ks * n_ways * n_efforts;
    char stage[56];
    int status = OMEN_OK;

    b->points = calloc(n_all, sizeof *b->points);
    if (!b->points)
        return OMEN_ERR_MEMORY;
    for (size_t i = 0; status == OMEN_OK && i < n_all; i++) {
        struct bench_point *p = &b->points[i];

        p->k = o->ks[i / (n_ways * n_efforts)];
        p->effort.way = ways[i / n_efforts % n_ways];
        p->effort.tells_way = n_ways > 1 || p->effort.way == OMEN_SEARCH_GRAPH;
        set_effort(&p->effort, o, i % n_efforts);
        snprintf(stage, sizeof stage, "point %zu/%zu", i + 1, n_all);
        status = measure_point(b, p, stage, why);
        b->n_points += status == OMEN_OK;
    }
    mark_dominated(b->points, b->n_points);
    return status;
}

int bench_recall_at(struct bench *b, uint32_t k, const struct bench_effort *effort, double *by_distance, double *by_id,
                    omen_detail *why)
{
    struct bench_point p = {.k = k};
    struct work w;
    int status = work_init(&w, b, k);

    ask_for(&w.search, effort);
    snprintf(w.stage, sizeof w.stage, "baseline");
    if (status == OMEN_OK)
        status = measure_recall(&w, &p, why);
    *by_distance = p.recall_distance;
    *by_id = p.recall_id;
    work_finish(&w);
    return status;
}
