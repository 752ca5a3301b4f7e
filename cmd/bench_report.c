/* SPDX-License-Identifier: Apache-2.0 */
/* omendb bench, the table for people. A rate never stands without recall, n, d, k, metric, threads, SIMD level and
 * processor: what holds for all of the table is in the line above it. */
#include "cmd/bench.h"

#include <math.h>
#include <stdio.h>

static double share(const struct bench *b, uint64_t n_bytes)
{
    return (double)n_bytes / (double)b->info.n_rows;
}

static const char *plural(int n)
{
    return n == 1 ? "" : "s";
}

static void print_filter(const struct bench *b)
{
    const struct bench_filter *f = &b->filter;
    uint64_t n_short = 0;

    for (uint64_t q = 0; q < b->n_queries; q++)
        n_short += f->n_matches[q] < b->truth.k;
    printf("filter  a query may find %s rows (median; %s to %s)", cmd_group(f->median).text, cmd_group(f->least).text,
           cmd_group(f->most).text);
    if (f->rows.has_conditions)
        printf("; %s condition%s", cmd_group(f->rows.where.n).text, plural((int)f->rows.where.n));
    if (b->has_truth && n_short > 0)
        printf("; %s quer%s fewer than %u", cmd_group(n_short).text, n_short == 1 ? "y" : "ies", b->truth.k);
    printf("\n");
}

static void print_data(const struct bench *b)
{
    const struct bench_options *o = b->options;
    char text[1024];

    printf("data    %s x %u %s", cmd_group(b->info.n_rows).text, b->info.d, omen_metric_name(b->info.metric));
    if (b->n_held > 0)
        printf("; %s queries held out of %s\n", cmd_group(b->n_queries).text, cmd_printable(o->base_path).text);
    else
        printf("; %s queries of %s\n", cmd_group(b->n_queries).text, cmd_printable(o->queries_path).text);
    printf("machine %s, %s, %d of %d processor%s\n", bench_cpu_model(), omen_cpu_level(), o->n_threads,
           omen_cpu_count(), plural(omen_cpu_count()));
    if (b->filter.is_given)
        print_filter(b);
    if (!b->has_truth)
        return;
    bench_truth_text(b, text, sizeof text);
    printf("truth   %s", text);
    if (b->truth.seconds > 0) {
        printf(", k %u: %.2f s with %d thread%s, %.1f Gop/s", b->truth.k, b->truth.seconds, o->n_threads,
               plural(o->n_threads), 2e-9 * (double)bench_truth_compared(b) * b->info.d / b->truth.seconds);
    }
    printf("\n");
    if (!b->truth.distances)
        printf("        recall by id only: give --base for true distances\n");
    else if (!b->has_base)
        printf("        distances are those of the refine tier, on either side\n");
}

static void print_build(const struct bench *b)
{
    const struct bench_build *build = &b->build;

    printf("build   %.2f s with %d thread%s: %s vectors/s, peak memory %s\n", build->seconds, build->report.n_threads,
           plural(build->report.n_threads), cmd_group_round((double)b->info.n_rows / build->seconds).text,
           cmd_human_bytes(build->peak_bytes).text);
    printf("       ");
    for (uint32_t i = 0; i < build->report.n_stages; i++)
        printf(" %s %.2f,", build->report.stages[i].name, build->report.stages[i].seconds);
    printf(" commit %.2f s\n", build->commit_seconds);
}

static void print_index(const struct bench *b)
{
    const omen_index_info *info = &b->info;

    printf("index   codec %s, refine %s, %s lists; file %s bytes (%s), %.1f a vector, 1/%.2f of float32 rows\n",
           omen_codec_name(info->codec), omen_refine_name(info->refine), cmd_group(info->lists.n).text,
           cmd_group(b->file_bytes).text, cmd_human_bytes(b->file_bytes).text, share(b, b->file_bytes),
           4.0 * info->d / share(b, b->file_bytes));
    printf("        bytes a vector: code %u, factors %u; refine %.1f, ids %.1f, centroids %.1f, model %.1f\n",
           info->code_bytes, info->factor_bytes, share(b, info->refine_bytes), share(b, info->id_bytes),
           share(b, info->centroid_bytes), share(b, info->model_bytes));
    if (info->graph.degree > 0)
        printf("        graph %.1f bytes a vector, %u neighbours each\n", share(b, info->graph.bytes),
               info->graph.degree);
    printf("open    warm %.3f ms", 1e3 * b->warm_open.median);
    if (b->cold_open.n_runs == 0) {
        printf("; cold not measured: the page cache kept the file\n");
    } else {
        printf("; out of the page cache %.3f ms, its first query %.3f ms\n", 1e3 * b->cold_open.median,
               1e3 * b->cold_query.median);
    }
}

static void print_share(double value)
{
    if (isnan(value))
        printf(" %6s", "-");
    else
        printf(" %6.4f", value);
}

/* "12,345 12,000-12,400" in columns, the range at least that wide. */
static void print_rate(const struct bench_figure *rate, int width)
{
    char range[72];

    snprintf(range, sizeof range, "%s-%s", cmd_group_round(rate->low).text, cmd_group_round(rate->high).text);
    printf("  %8s %-*s", cmd_group_round(rate->median).text, width, range);
}

/* "0.026 0.025-0.031" in columns */
static void print_milliseconds(const struct bench_figure *ms)
{
    char range[72];

    snprintf(range, sizeof range, "%.3f-%.3f", ms->low, ms->high);
    printf("  %6.3f %-12s", ms->median, range);
}

static double mean_matches(const struct bench *b)
{
    return (double)b->filter.n_compared / (double)b->n_queries;
}

void bench_print_context(const struct bench *b, FILE *stream)
{
    fprintf(stream, "%s x %u %s, %s queries", cmd_group(b->info.n_rows).text, b->info.d,
            omen_metric_name(b->info.metric), cmd_group(b->n_queries).text);
    if (b->filter.is_given)
        fprintf(stream, " that may find %s rows each", cmd_group_round(mean_matches(b)).text);
    fprintf(stream, ", %s, %d thread%s, %s\n", omen_cpu_level(), b->options->n_threads, plural(b->options->n_threads),
            bench_cpu_model());
}

/* What both tables begin with. */
static void print_effort(const struct bench_point *p)
{
    printf("%4u%s", p->k, p->dominated ? "*" : " ");
    if (p->effort.target > 0)
        printf(" %-6.4g", (double)p->effort.target);
    else
        printf(" %-6s", "-");
    if (p->effort.way == OMEN_SEARCH_GRAPH)
        printf(" %6s %6u", "graph", p->effort.rerank);
    else
        printf(" %6u %6u", p->effort.probes, p->effort.rerank);
    print_share(p->recall_distance);
    print_share(p->recall_id);
}

static void print_rates(const struct bench *b)
{
    char batch[32];

    snprintf(batch, sizeof batch, "batch, %d thread%s", b->options->n_threads, plural(b->options->n_threads));
    printf("%4s  %-6s %6s %6s %6s %6s   %-23s   %-23s   %s\n", "k", "wanted", "probes", "rerank", "recall", "by id",
           batch, "batch, 1 thread", "one by one, 1 thread");
    for (size_t i = 0; i < b->n_points; i++) {
        const struct bench_point *p = &b->points[i];

        print_effort(p);
        print_rate(&p->all, 15);
        print_rate(&p->one, 15);
        print_rate(&p->single, 0);
        printf("\n");
    }
}

static void print_latencies(const struct bench *b)
{
    printf("%4s  %-6s %6s %6s %6s %6s   %-18s   %-18s   %-18s  %5s %7s %5s\n", "k", "wanted", "probes", "rerank",
           "recall", "by id", "p50, ms", "p95, ms", "p99, ms", "lists", "codes", "rows");
    for (size_t i = 0; i < b->n_points; i++) {
        const struct bench_point *p = &b->points[i];

        print_effort(p);
        print_milliseconds(&p->p50);
        print_milliseconds(&p->p95);
        print_milliseconds(&p->p99);
        printf("  %5.0f %7.0f %5.0f\n", p->lists_probed, p->codes_scanned + p->graph_estimates, p->rows_reranked);
    }
}

static void print_points(const struct bench *b)
{
    const struct bench_options *o = b->options;

    printf("\n");
    bench_print_context(b, stdout);
    printf("recall: by distance (at most 1e-3 beyond the k-th true one) and by id; * another point has at least this\n"
           "recall and rate; median and range of at least %u run%s and %g s\n\nqueries/s\n",
           o->n_runs, plural((int)o->n_runs), o->min_seconds);
    print_rates(b);
    printf("\none query at a time, 1 thread; scanned and re-ranked a query\n");
    print_latencies(b);
}

void bench_print_table(const struct bench *b)
{
    print_data(b);
    if (b->was_built)
        print_build(b);
    print_index(b);
    printf("memory  peak %s of this process, truth and queries included\n", cmd_human_bytes(b->peak_bytes).text);
    if (b->n_points > 0)
        print_points(b);
    if (b->interrupted)
        printf("interrupted: %zu points were measured\n", b->n_points);
}
