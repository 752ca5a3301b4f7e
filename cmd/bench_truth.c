/* SPDX-License-Identifier: Apache-2.0 */
/* omendb bench, the truth: exact neighbours from a file, the base or the refine tier, and recall against them.
 *
 * Distances are compared in float64, computed here from base rows for the truth and for what was found alike; without
 * the base, both are the index's own. An id of the truth counts as found by distance without computing anything. */
#include "cmd/bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "formats/truth.h"

/* A row this much beyond the k-th true neighbour is as good, as ann-benchmarks counts it. */
#define DISTANCE_SLACK 1e-3

/* Queries searched between two looks at signals: whole groups for every thread. */
#define BLOCK_QUERIES 4096u

static double distance(omen_metric metric, const float *x, const float *y, uint32_t d)
{
    double sum = 0, xx = 0, yy = 0;

    if (metric == OMEN_METRIC_L2) {
        for (uint32_t i = 0; i < d; i++) {
            double difference = (double)x[i] - y[i];

            sum += difference * difference;
        }
        return sum;
    }
    for (uint32_t i = 0; i < d; i++) {
        sum += (double)x[i] * y[i];
        xx += (double)x[i] * x[i];
        yy += (double)y[i] * y[i];
    }
    if (metric == OMEN_METRIC_IP)
        return -sum;
    return xx > 0 && yy > 0 ? 1 - sum / sqrt(xx * yy) : 1;
}

/* The scale on which DISTANCE_SLACK is meant: for l2 the Euclidean distance, not its square. */
static double comparable(omen_metric metric, double value)
{
    return metric == OMEN_METRIC_L2 ? sqrt(fmax(value, 0)) : value;
}

/* Reads one row of the base and measures it against a query. */
static int base_distance(const struct bench *b, uint64_t query, int64_t id, float *row, double *out, omen_detail *why)
{
    int status = b->base.read(b->base.self, (uint64_t)id, 1, row, why);

    if (status == OMEN_OK)
        *out = distance(b->info.metric, b->queries + query * b->info.d, row, b->info.d);
    return status;
}

/* Whether id is one of n. */
static bool has_id(const int64_t *ids, uint32_t n, int64_t id)
{
    for (uint32_t i = 0; i < n; i++)
        if (ids[i] == id)
            return true;
    return false;
}

/* ---- truth ---- */

static uint32_t greatest_k(const struct bench_options *o)
{
    uint32_t k = 0;

    for (size_t i = 0; i < o->n_ks; i++)
        k = o->ks[i] > k ? o->ks[i] : k;
    return k;
}

static int read_truth(struct bench *b, uint32_t k, omen_detail *why)
{
    const char *path = b->options->truth_path;
    omen_truth file;
    uint64_t n_found = 0;
    int status = omen_truth_read(&file, path, b->n_queries, why);

    b->truth.kind = BENCH_TRUTH_FILE;
    if (status == OMEN_OK && file.k < k)
        status = omen_fail(why, OMEN_ERR_INPUT, "\"%s\" has %u neighbours a query, too few for -k %u", path, file.k, k);
    for (uint64_t i = 0; status == OMEN_OK && i < file.n * file.k; i++) {
        if (file.ids[i] != OMEN_NO_ROW && (uint64_t)file.ids[i] >= b->info.n_rows) {
            status = omen_fail(why, OMEN_ERR_INPUT, "\"%s\" names row %d, and the index has %llu rows", path,
                               file.ids[i], (unsigned long long)b->info.n_rows);
        }
    }
    if (status == OMEN_OK) {
        b->truth.ids = malloc(b->n_queries * k * sizeof *b->truth.ids);
        status = b->truth.ids ? OMEN_OK : OMEN_ERR_MEMORY;
    }
    for (uint64_t i = 0; status == OMEN_OK && i < b->n_queries * k; i++) {
        b->truth.ids[i] = file.ids[i / k * file.k + i % k];
        n_found += b->truth.ids[i] != OMEN_NO_ROW;
    }
    if (status == OMEN_OK && n_found == 0)
        status = omen_fail(why, OMEN_ERR_INPUT, "\"%s\" has no neighbour of any query", path);
    omen_truth_finish(&file);
    return status;
}

struct asking {
    struct bench *b;
    uint64_t first;
};

/* How far the truth is: the search itself knows of its own queries only, in parts. */
static int ask(void *context, const char *stage, uint64_t done, uint64_t total)
{
    struct asking *a = context;

    return cmd_progress_update(&a->b->progress, "truth", a->first + done / OMEN_PROGRESS_PARTS, a->b->n_queries);
}

/* Exact search, of the base or of the refine tier. distances is n_queries x k. */
static int search_truth(struct bench *b, uint32_t k, float *distances, omen_detail *why)
{
    omen_search_options search;
    struct asking asking = {.b = b};
    double started = cmd_seconds();
    int status = OMEN_OK;

    omen_search_options_init(&search);
    search.k = k;
    search.exact = true;
    search.zero_ok = b->options->build.zero_ok;
    search.n_threads = b->options->n_threads;
    search.progress = ask;
    search.progress_context = &asking;
    b->truth.kind = b->has_base ? BENCH_TRUTH_SOURCE : BENCH_TRUTH_REFINE;
    if (b->has_base && b->filter.is_given)
        status = bench_filter_truth(b, k, distances, ask, &asking, &asking.first, why);
    for (uint64_t first = asking.first; status == OMEN_OK && first < b->n_queries; first += BLOCK_QUERIES) {
        uint64_t n = b->n_queries - first < BLOCK_QUERIES ? b->n_queries - first : BLOCK_QUERIES;
        const float *queries = b->queries + first * b->info.d;
        int64_t *ids = b->truth.ids + first * k;

        asking.first = first;
        status = b->has_base ? omen_source_search(&b->base, b->info.metric, k, queries, n, search.n_threads, ids,
                                                  distances + first * k, ask, &asking, why)
                             : bench_search(b, &search, first, n, ids, distances + first * k, NULL, why);
    }
    b->truth.seconds = cmd_seconds() - started;
    return status;
}

/* True distances in float64, made to rise: the limit of k is the greatest of the first k. Of what is no neighbour,
 * infinity. */
static int measure_truth(struct bench *b, const float *found, omen_detail *why)
{
    const uint32_t k = b->truth.k;
    int status = OMEN_OK;

    b->truth.distances = malloc(b->n_queries * k * sizeof *b->truth.distances);
    if (!b->truth.distances)
        return OMEN_ERR_MEMORY;
#pragma omp parallel num_threads(b->options->n_threads)
    {
        float *row = malloc(b->info.d * sizeof *row);
        omen_detail own_why = {.text = ""};
        int own = row ? OMEN_OK : OMEN_ERR_MEMORY;

#pragma omp for schedule(dynamic, 64)
        for (uint64_t q = 0; q < b->n_queries; q++) {
            double *distances = b->truth.distances + q * k;
            const uint32_t n_found = omen_found_count(b->truth.ids + q * k, k);

            if (cmd_signals_noted() != 0)
                own = OMEN_ERR_INTERRUPTED;

            for (uint32_t i = 0; own == OMEN_OK && i < k; i++) {
                if (i >= n_found)
                    distances[i] = INFINITY;
                else if (b->has_base)
                    own = base_distance(b, q, b->truth.ids[q * k + i], row, &distances[i], &own_why);
                else
                    distances[i] = found[q * k + i];
                if (own == OMEN_OK && i > 0 && distances[i] < distances[i - 1])
                    distances[i] = distances[i - 1];
            }
        }
        free(row);
        if (own != OMEN_OK) {
#pragma omp critical(bench_truth)
            {
                status = own;
                *why = own_why;
            }
        }
    }
    return status;
}

/* ---- a truth from elsewhere ---- */

/* By how much a row outside of the truth has to be nearer than the truth's last to contradict it: shares of the
 * distance, and of the scale of the vectors, since whoever made the truth may have computed in float32. */
struct slack {
    double of_distance, of_scale;
};
static const struct slack float_slack = {1e-3, 1e-5};
static const struct slack rounded_slack = {0.05, 1e-3}; /* distances to rounded rows */

/* What distances of a query to a row are made of: for l2 the squares, for ip the product of lengths. */
static double scale_of(omen_metric metric, const float *x, const float *y, uint32_t d)
{
    double xx = 0, yy = 0;

    if (metric == OMEN_METRIC_COSINE)
        return 1;
    for (uint32_t i = 0; i < d; i++) {
        xx += (double)x[i] * x[i];
        yy += (double)y[i] * y[i];
    }
    return metric == OMEN_METRIC_L2 ? xx + yy : sqrt(xx * yy);
}

/* Some queries and what is known of them; arrays are n x truth.k. */
struct checked {
    uint64_t first, n;
    const int64_t *found;
    const float *found_distances;
    const double *true_distances; /* rising */
    struct slack slack;
};

static int contradicts(const struct bench *b, const struct checked *c, uint64_t q, uint32_t k, float *row,
                       omen_detail *why)
{
    const uint32_t n_true = b->truth.k;
    const int64_t *true_ids = b->truth.ids + (c->first + q) * n_true, *found = c->found + q * n_true;
    const float *query = b->queries + (c->first + q) * b->info.d;
    const uint32_t n_known = omen_found_count(true_ids, k);
    const double last = n_known > 0 ? c->true_distances[q * n_true + n_known - 1] : -INFINITY;

    for (uint32_t i = 0; i < k && n_known > 0; i++) {
        double value = c->found_distances[q * n_true + i], scale;
        int status = OMEN_OK;

        if (found[i] == OMEN_NO_ROW || has_id(true_ids, n_known, found[i]))
            continue;
        if (b->has_base)
            status = base_distance(b, c->first + q, found[i], row, &value, why);
        else
            memcpy(row, query, b->info.d * sizeof *row); /* as long as its neighbours, more or less */
        if (status != OMEN_OK)
            return status;
        scale = scale_of(b->info.metric, query, row, b->info.d);
        if (value < last - c->slack.of_distance * fabs(last) - c->slack.of_scale * scale) {
            return omen_fail(why, OMEN_ERR_INPUT,
                             "\"%s\" is not the truth of this index under %s: query %llu finds row %lld at distance "
                             "%.7g, and the last of its %u true rows is at %.7g; they are of another metric, or of "
                             "other rows or queries",
                             b->options->truth_path, omen_metric_name(b->info.metric),
                             (unsigned long long)(c->first + q), (long long)found[i], value, n_known, last);
        }
    }
    return OMEN_OK;
}

/* The lowest query at fault is the one told. */
static int check_queries(const struct bench *b, const struct checked *c, omen_detail *why)
{
    uint64_t at_fault = UINT64_MAX;
    int status = OMEN_OK;

#pragma omp parallel num_threads(b->options->n_threads)
    {
        float *row = malloc(b->info.d * sizeof *row);

#pragma omp for schedule(dynamic, 64)
        for (uint64_t q = 0; q < c->n; q++) {
            omen_detail own_why = {.text = ""};
            int own = row ? OMEN_OK : OMEN_ERR_MEMORY;

            for (size_t i = 0; own == OMEN_OK && i < b->options->n_ks; i++)
                own = contradicts(b, c, q, b->options->ks[i], row, &own_why);
            if (own != OMEN_OK) {
#pragma omp critical(bench_truth)
                if (q < at_fault) {
                    at_fault = q;
                    status = own;
                    *why = own_why;
                }
            }
        }
        free(row);
    }
    return status;
}

/* Distances of the true rows of some queries by the refine tier, made to rise. */
static int refined_truth(const struct bench *b, uint64_t first, uint64_t n, float *distances, double *out,
                         omen_detail *why)
{
    const uint32_t k = b->truth.k;
    int status = omen_index_distances(b->index, b->queries + first * b->info.d, n, k, b->truth.ids + first * k,
                                      b->options->n_threads, distances, why);

    status = cmd_name_damage(b->index_path, status, why);
    for (uint64_t i = 0; status == OMEN_OK && i < n * k; i++)
        out[i] = i % k > 0 && distances[i] < out[i - 1] ? out[i - 1] : distances[i];
    return status;
}

/* Searches, and refuses a truth that what was found contradicts: by distances of the base, else of the refine tier. */
static int check_truth(struct bench *b, omen_detail *why)
{
    const uint32_t k = b->truth.k;
    const uint64_t most = b->n_queries < BLOCK_QUERIES ? b->n_queries : BLOCK_QUERIES;
    int64_t *found = malloc(most * k * sizeof *found);
    float *distances = malloc(most * k * sizeof *distances), *scratch = malloc(most * k * sizeof *scratch);
    double *refined = malloc(most * k * sizeof *refined);
    const bool exact_rows = b->has_base || omen_index_rows_are_exact(b->index);
    omen_search_options search;
    struct asking asking = {.b = b};
    int status = found && distances && scratch && refined ? OMEN_OK : OMEN_ERR_MEMORY;

    omen_search_options_init(&search);
    search.k = k;
    search.zero_ok = b->options->build.zero_ok;
    search.n_threads = b->options->n_threads;
    search.progress = ask;
    search.progress_context = &asking;
    for (uint64_t first = 0, n; status == OMEN_OK && first < b->n_queries; first += n) {
        n = b->n_queries - first < most ? b->n_queries - first : most;
        asking.first = first;
        status = bench_search(b, &search, first, n, found, distances, NULL, why);
        if (status == OMEN_OK && !b->has_base)
            status = refined_truth(b, first, n, scratch, refined, why);
        if (status == OMEN_OK) {
            const struct checked c = {first,
                                      n,
                                      found,
                                      distances,
                                      b->has_base ? b->truth.distances + first * k : refined,
                                      exact_rows ? float_slack : rounded_slack};
            status = check_queries(b, &c, why);
        }
    }
    free(found);
    free(distances);
    free(scratch);
    free(refined);
    return status;
}

int bench_find_truth(struct bench *b, omen_detail *why)
{
    const uint32_t k = greatest_k(b->options);
    float *distances = NULL;
    int status;

    if (k > b->info.n_rows) {
        return omen_fail(why, OMEN_ERR_ARGUMENT, "-k %u is more than the %llu rows of the index", k,
                         (unsigned long long)b->info.n_rows);
    }
    b->truth.k = k;
    if (b->options->truth_path) {
        status = read_truth(b, k, why);
    } else if (!b->has_base && b->info.refine == OMEN_REFINE_NONE) {
        status = omen_fail(why, OMEN_ERR_ARGUMENT,
                           "the index has no refine tier to take the truth from; give --base or --truth");
    } else {
        b->truth.ids = malloc(b->n_queries * k * sizeof *b->truth.ids);
        distances = malloc(b->n_queries * k * sizeof *distances);
        status = b->truth.ids && distances ? search_truth(b, k, distances, why) : OMEN_ERR_MEMORY;
    }
    if (status == OMEN_OK)
        b->truth.hash = XXH3_64bits(b->truth.ids, b->n_queries * k * sizeof *b->truth.ids);
    if (status == OMEN_OK && (b->has_base || distances))
        status = measure_truth(b, distances, why);
    if (status == OMEN_OK && b->options->truth_path && b->filter.is_given)
        status = bench_filter_check_truth(b, why);
    if (status == OMEN_OK && b->options->truth_path && (b->has_base || b->info.refine != OMEN_REFINE_NONE))
        status = check_truth(b, why);
    free(distances);
    b->has_truth = status == OMEN_OK;
    return status;
}

int bench_save_truth(const struct bench *b, omen_detail *why)
{
    const uint64_t n = b->n_queries * b->truth.k;
    const omen_truth_format *format = omen_truth_named(b->options->save_truth_path);
    cmd_output output = {.stream = NULL};
    float *distances = NULL;
    int status = OMEN_OK;

    if (b->truth.distances) {
        distances = malloc(n * sizeof *distances);
        status = distances ? OMEN_OK : OMEN_ERR_MEMORY;
        for (uint64_t i = 0; status == OMEN_OK && i < n; i++)
            distances[i] = (float)b->truth.distances[i];
    }
    if (status == OMEN_OK)
        status = cmd_output_open(&output, b->options->save_truth_path, NULL, why);
    if (status == OMEN_OK)
        status = omen_truth_write(output.stream, format, b->n_queries, b->truth.k, b->truth.ids, distances, why);
    if (status == OMEN_OK)
        status = cmd_output_commit(&output, why);
    cmd_output_close(&output);
    free(distances);
    return status;
}

uint64_t bench_truth_compared(const struct bench *b)
{
    return b->filter.is_given ? b->filter.n_compared : b->info.n_rows * b->n_queries;
}

void bench_truth_text(const struct bench *b, char *text, size_t size)
{
    if (b->truth.kind == BENCH_TRUTH_SOURCE)
        snprintf(text, size, "exact over the source");
    else if (b->truth.kind == BENCH_TRUTH_REFINE)
        snprintf(text, size, "exact over the %s refine tier", omen_refine_name(b->info.refine));
    else
        snprintf(text, size, "%s", cmd_printable(b->options->truth_path).text);
}

/* ---- recall ---- */

/* What the queries of a recall found. */
struct tally {
    uint64_t wanted; /* true neighbours: k a query, or as many as it has */
    uint64_t near;   /* found, by distance */
    uint64_t same;   /* found, by id */
};

/* Counts what one query found. row holds a base row. */
static int count_found(const struct bench *b, uint64_t q, uint32_t k, const int64_t *ids, const float *distances,
                       float *row, struct tally *tally, omen_detail *why)
{
    const struct bench_truth *truth = &b->truth;
    const int64_t *true_ids = truth->ids + q * truth->k;
    const uint32_t n_true = omen_found_count(true_ids, k), n_found = omen_found_count(ids, k);
    double limit = 0, value;
    uint64_t near = 0;
    int status = OMEN_OK;

    if (n_true == 0)
        return OMEN_OK;
    if (truth->distances)
        limit = comparable(b->info.metric, truth->distances[q * truth->k + n_true - 1]) + DISTANCE_SLACK;
    for (uint32_t i = 0; status == OMEN_OK && i < n_found; i++) {
        if (has_id(ids, i, ids[i]))
            continue; /* twice in one answer */
        if (has_id(true_ids, n_true, ids[i])) {
            tally->same++;
            near++;
        } else if (truth->distances) {
            value = distances ? distances[i] : INFINITY;
            if (b->has_base)
                status = base_distance(b, q, ids[i], row, &value, why);
            near += comparable(b->info.metric, value) <= limit;
        }
    }
    tally->wanted += n_true;
    tally->near += near < n_true ? near : n_true; /* rows as near as the last may be more */
    return status;
}

int bench_recall(const struct bench *b, uint32_t k, const int64_t *ids, const float *distances, double *by_distance,
                 double *by_id, omen_detail *why)
{
    struct tally all = {.wanted = 0};
    int status = OMEN_OK;

#pragma omp parallel num_threads(b->options->n_threads)
    {
        struct tally tally = {.wanted = 0};
        float *row = malloc(b->info.d * sizeof *row);
        omen_detail own_why = {.text = ""};
        int own = row ? OMEN_OK : OMEN_ERR_MEMORY;

#pragma omp for schedule(dynamic, 64)
        for (uint64_t q = 0; q < b->n_queries; q++) {
            if (cmd_signals_noted() != 0)
                own = OMEN_ERR_INTERRUPTED;
            if (own == OMEN_OK)
                own = count_found(b, q, k, ids + q * k, distances ? distances + q * k : NULL, row, &tally, &own_why);
        }
        free(row);
#pragma omp critical(bench_truth)
        {
            all.wanted += tally.wanted;
            all.near += tally.near;
            all.same += tally.same;
            if (own != OMEN_OK) {
                status = own;
                *why = own_why;
            }
        }
    }
    *by_distance = b->truth.distances && (b->has_base || distances) ? (double)all.near / (double)all.wanted : NAN;
    *by_id = (double)all.same / (double)all.wanted;
    return status;
}
