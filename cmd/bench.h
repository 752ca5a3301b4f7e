/* SPDX-License-Identifier: Apache-2.0 */
/* Private to cmd_bench.c and bench_*.c: the parts of omendb bench.
 *
 *   bench_data.c     base, held-out queries, queries, and the index that is measured
 *   bench_filter.c   which rows each query may find, and searches among them
 *   bench_truth.c    exact neighbours, and recall against them
 *   bench_measure.c  the sweep: one point an effort
 *   bench_report.c   the table;  bench_json.c  the same as JSON (docs/BENCH-JSON.md)
 *   bench_gate.c     comparison with an earlier result;  bench_ab.c  with another program, in one run
 *   bench_plot.c     pictures: what is drawn;  bench_axes.c  where;  bench_picture.c  by gnuplot
 */
#ifndef BENCH_H
#define BENCH_H

#include "cmd/query_filter.h"

#define BENCH_NAME   "bench"
#define BENCH_SCHEMA "omendb-bench/1"

/* Worse than the baseline: the only exit code of bench alone. */
#define BENCH_EXIT_WORSE 1

#define BENCH_MAX_KS      8
#define BENCH_MAX_EFFORTS 64
#define BENCH_MAX_GRID    8 /* values of --probes, and of --rerank: every pair is an effort */
#define BENCH_MAX_FILES   16

/* What the command line says. */
struct bench_options {
    const char *index_path, *base_path, *queries_path, *truth_path;
    const char *keep_path; /* -o: the index that is built stays under this name */
    const char *save_truth_path, *plot_path, *baseline_path, *baseline_binary, *cpu;
    const char *compare_paths[BENCH_MAX_FILES];
    size_t n_compare;
    const char *format; /* of base and queries */
    uint32_t d;
    uint64_t n_held_out;
    omen_build_options build;
    uint32_t ks[BENCH_MAX_KS];
    float recalls[BENCH_MAX_EFFORTS];
    uint32_t probes[BENCH_MAX_GRID], reranks[BENCH_MAX_GRID];
    size_t n_ks, n_recalls, n_probes, n_reranks;
    struct query_filter_options filter;
    bool rows;           /* its files name rows by number where there are keys */
    omen_search_way way; /* AUTO: each that there is, but exact */
    bool recalls_given;
    unsigned panels; /* of the picture: bits of bench_panel; 0: only recall */
    uint32_t n_runs;
    double min_seconds;
    double max_recall_drop, max_slowdown, max_growth;
    int n_threads; /* never 0 after parsing */
    int verbosity;
    bool json;
};

/* A figure measured several times. */
struct bench_figure {
    double median, low, high;
    uint64_t n_runs;
};

/* What a query may cost. */
struct bench_effort {
    omen_search_way way;     /* OMEN_SEARCH_LISTS or _GRAPH */
    bool tells_way;          /* texts name it, as query has to be told which */
    float target;            /* recall asked for; 0: the counts were asked for */
    uint32_t probes, rerank; /* with a target, what was taken on average when it was measured */
};

/* One effort at one k. Rates are queries a second. */
struct bench_point {
    uint32_t k;
    struct bench_effort effort;
    double recall_distance, recall_id;                 /* by distance: NaN if the true distances are not known */
    double lists_probed, codes_scanned, rows_reranked; /* a query */
    double graph_estimates;
    struct bench_figure all, one, single; /* batch with all threads, with one; one query at a time with one */
    struct bench_figure p50, p95, p99;    /* milliseconds of one query */
    uint64_t n_single;                    /* queries timed one by one in each run */
    bool dominated;                       /* another point of this k has at least its recall and its rate */
};

struct bench_build {
    omen_build_report report;
    double commit_seconds, seconds; /* seconds: from opening the input to the commit */
    uint64_t peak_bytes;
};

/* Which rows each query may find. */
struct bench_filter {
    bool is_given; /* and all of this is known */
    struct query_filter rows;
    const omen_row_set **sets;    /* n_queries: those of the queries last searched */
    uint64_t *n_matches;          /* n_queries: rows that each may find */
    uint64_t least, median, most; /* of them */
    uint64_t n_compared;          /* their sum */
    uint64_t hash;
};

typedef enum { BENCH_TRUTH_SOURCE, BENCH_TRUTH_REFINE, BENCH_TRUTH_FILE } bench_truth_kind;

struct bench_truth {
    bench_truth_kind kind;
    uint32_t k;
    int64_t *ids;      /* n_queries x k */
    double *distances; /* n_queries x k, rising; NULL: not known */
    double seconds;    /* of the exact search; 0: read from a file */
    uint64_t hash;
};

/* All of a run. */
struct bench {
    const struct bench_options *options;
    cmd_progress progress;

    omen_vectors *base_vectors;
    omen_source whole, base; /* base: whole without the rows held out */
    bool has_base;
    uint64_t *held; /* rows of whole that are queries, rising */
    uint64_t n_held;
    uint64_t base_hash;

    float *queries;
    uint64_t n_queries;
    uint64_t queries_hash;
    struct bench_filter filter;

    char *index_path; /* owned */
    char *temporary;  /* owned: the directory of a temporary index */
    omen_container *container;
    omen_index *index;
    omen_index_info info;
    uint64_t file_bytes;
    bool was_built;
    struct bench_build build;
    /* seconds; no runs: the page cache could not be dropped */
    struct bench_figure cold_open, cold_query, warm_open;

    struct bench_truth truth;
    bool has_truth;

    struct bench_point *points; /* room for n_ks x efforts */
    size_t n_points;
    bool interrupted;
    uint64_t peak_bytes; /* of the whole run */
};

/* ---- bench_data.c ---- */

/* Opens the base and chooses the rows held out. */
int bench_open_base(struct bench *b, omen_detail *why) OMEN_MUST_CHECK;

/* Builds the index of a run without INDEX; opens it, timed. */
int bench_open_index(struct bench *b, omen_detail *why) OMEN_MUST_CHECK;

/* Reads all queries, from their file or from the rows held out. */
int bench_read_queries(struct bench *b, omen_detail *why) OMEN_MUST_CHECK;

/* Closes and frees everything, and removes a temporary index. */
void bench_finish(struct bench *b);

/* The processor's name, such as "AMD EPYC 9654"; "unknown" if the system does not say. Static storage. */
const char *bench_cpu_model(void);

/* The largest resident set of this program so far, in bytes; 0 if unknown. */
uint64_t bench_peak_bytes(void);

/* ---- bench_filter.c ---- */

/* Reads the filters of all queries and counts the rows that pass. Afterwards bench_finish_filter(), even after a
 * failure. */
int bench_open_filter(struct bench *b, omen_detail *why) OMEN_MUST_CHECK;
void bench_finish_filter(struct bench *b);

/* The row numbers of a set, rising; *numbers is the caller's to free, NULL after a failure. */
int bench_filter_rows(const struct bench *b, const omen_row_set *set, uint64_t **numbers, uint64_t *n,
                      omen_detail *why) OMEN_MUST_CHECK;

/* Searches queries `first` to `first` + n_queries under their filters, whose conditions it evaluates. As
 * omen_index_search(): ids and distances begin with the first of them. */
int bench_search(struct bench *b, const omen_search_options *options, uint64_t first, uint64_t n_queries, int64_t *ids,
                 float *distances, omen_search_stats *stats, omen_detail *why) OMEN_MUST_CHECK;

/* Fills b->truth.ids, and distances, of all queries by exact search of the base among the rows that pass. *first counts
 * the queries for progress. */
int bench_filter_truth(struct bench *b, uint32_t k, float *distances, omen_progress_fn progress, void *context,
                       uint64_t *first, omen_detail *why) OMEN_MUST_CHECK;

/* Refuses a truth of a file that has other rows than those that pass, or another number of them. */
int bench_filter_check_truth(struct bench *b, omen_detail *why) OMEN_MUST_CHECK;

/* ---- bench_truth.c ---- */

/* Fills b->truth from the file, the base or the refine tier. */
int bench_find_truth(struct bench *b, omen_detail *why) OMEN_MUST_CHECK;

int bench_save_truth(const struct bench *b, omen_detail *why) OMEN_MUST_CHECK;

/* Rows that the exact search compared with queries. */
uint64_t bench_truth_compared(const struct bench *b);

/* "exact over the source", "exact over the sq8 refine tier", or the file's name. */
void bench_truth_text(const struct bench *b, char *text, size_t size);

/* Recall of ids (n_queries x k) with the distances that the index gave, which may be NULL: recall by distance then
 * needs the base. An id that a query returns twice counts once. */
int bench_recall(const struct bench *b, uint32_t k, const int64_t *ids, const float *distances, double *by_distance,
                 double *by_id, omen_detail *why) OMEN_MUST_CHECK;

/* ---- bench_measure.c ---- */

/* The ways that are measured, in their order; returns how many. */
size_t bench_ways(const struct bench *b, omen_search_way ways[2]);

/* Measures all points. After OMEN_ERR_INTERRUPTED b->points has those that are complete. */
int bench_sweep(struct bench *b, omen_detail *why) OMEN_MUST_CHECK;

/* Recall at one effort, untimed. */
int bench_recall_at(struct bench *b, uint32_t k, const struct bench_effort *effort, double *by_distance, double *by_id,
                    omen_detail *why) OMEN_MUST_CHECK;

/* The effort in the words of the command line, such as "--recall 0.95". */
void bench_effort_text(char *text, size_t size, const struct bench_effort *effort);

/* Median, least and greatest of n values, which it sorts. */
struct bench_figure bench_summarize(double *values, uint64_t n);

/* The p-quantile (0 <= p <= 1) of n sorted values. */
double bench_percentile(const double *sorted, uint64_t n, double p);

/* ---- bench_report.c, bench_json.c ---- */

void bench_print_table(const struct bench *b);

/* Prints one line with what every rate depends on besides k and effort: n, d, metric, SIMD level, threads,
 * processor. */
void bench_print_context(const struct bench *b, FILE *stream);

/* Each returns NULL if out of memory. The head has everything but points, gate and ab. */
json_t *bench_json_head(const struct bench *b);
json_t *bench_json_points(const struct bench *b);

/* Reads an earlier result and checks its schema. Returns OMEN_OK, OMEN_ERR_IO or OMEN_ERR_INPUT (*out is NULL then).
 */
int bench_json_load(json_t **out, const char *path, omen_detail *why) OMEN_MUST_CHECK;

/* A number of an object by a path such as "index.file_bytes"; NaN if it is missing or null. */
double bench_json_number(const json_t *object, const char *path);

/* A string by such a path; "" if it is missing. */
const char *bench_json_string(const json_t *object, const char *path);

/* ---- bench_gate.c ---- */

/* Checks that the result of --baseline has the same data and options as the head of this run; OMEN_ERR_INPUT if not. */
int bench_gate_check(const json_t *head, const json_t *baseline, omen_detail *why) OMEN_MUST_CHECK;

/* Compares, prints a line for each figure that matters on stream, and sets *worse. *out is an object for the JSON. */
int bench_gate(struct bench *b, const json_t *now, const json_t *baseline, FILE *stream, bool *worse, json_t **out,
               omen_detail *why) OMEN_MUST_CHECK;

/* ---- bench_ab.c ---- */

/* Checks that --baseline-binary can be run, before the long part of the work. */
int bench_ab_check(const struct bench *b, omen_detail *why) OMEN_MUST_CHECK;

/* Runs --baseline-binary and this program in turn. As bench_gate(). */
int bench_ab(struct bench *b, FILE *stream, bool *worse, json_t **out, omen_detail *why) OMEN_MUST_CHECK;

/* ---- bench_picture.c ---- */

/* A picture in words, for those who do not see it. */
struct bench_picture_text {
    const char *title;
    char **lines;
    size_t n_lines;
};

bool bench_picture_is_svg(const char *path);

/* A stream in memory; name is for messages. */
int bench_memory_file(FILE **out, const char *name, omen_detail *why) OMEN_MUST_CHECK;

/* Checks that gnuplot can be run and that the name ends in .svg or .png; else OMEN_ERR_ARGUMENT, with what to do. */
int bench_plot_check(const char *path, omen_detail *why) OMEN_MUST_CHECK;

/* Draws a script, of bench_memory_file(), into path. */
int bench_picture_draw(FILE *script, const char *path, const struct bench_picture_text *text,
                       omen_detail *why) OMEN_MUST_CHECK;

/* ---- bench_plot.c ---- */

typedef enum { BENCH_PANEL_RECALL, BENCH_PANEL_LATENCY, BENCH_PANEL_BUILD, BENCH_N_PANELS } bench_panel;

/* Such as "recall"; NULL behind the last one. */
const char *bench_panel_name(size_t i);

/* Draws results (objects of the schema) into path: one panel for each bit of panels. labels[i] names results[i]. */
int bench_plot(const char *path, unsigned panels, json_t *const *results, const char *const *labels, size_t n_results,
               omen_detail *why) OMEN_MUST_CHECK;

#endif
