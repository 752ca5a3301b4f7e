/* SPDX-License-Identifier: Apache-2.0 */
/* omendb bench: what an index costs and what it gives: recall, speed, memory, and whether they got worse. */
#include "cmd/bench.h"
#include "cmd/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/truth.h"

#define NAME BENCH_NAME

#define DEFAULT_K           10u
#define DEFAULT_RUNS        10u
#define DEFAULT_MIN_SECONDS 3.0
#define MAX_RUNS            1000000u
#define MAX_MIN_SECONDS     86400.0

static const float default_recalls[] = {0.80f, 0.85f, 0.90f, 0.93f, 0.95f, 0.96f, 0.97f, 0.98f, 0.99f, 0.995f};

/* ---- arguments ---- */

/* Copies the next word of a list with commas between; moves *list on. False at its end. */
static bool next_word(const char **list, char word[32])
{
    size_t length;

    if (!*list)
        return false;
    length = strcspn(*list, ",");
    snprintf(word, 32, "%.*s", length < 31 ? (int)length : 31, *list);
    *list = (*list)[length] == ',' ? *list + length + 1 : NULL;
    return true;
}

static bool too_many(const char *option, size_t room)
{
    cmd_say(NAME, "%s takes at most %zu values", option, room);
    return false;
}

static bool parse_counts(const char *option, const char *list, uint32_t *out, size_t room, size_t *n)
{
    char word[32];
    uint64_t value;

    for (*n = 0; next_word(&list, word); ++*n) {
        if (*n == room)
            return too_many(option, room);
        if (!cmd_parse_integer(NAME, option, word, 1, INT32_MAX, &value))
            return false;
        out[*n] = (uint32_t)value;
    }
    return true;
}

static bool parse_recalls(const char *list, struct bench_options *o)
{
    char word[32];

    for (o->n_recalls = 0; next_word(&list, word); o->n_recalls++) {
        if (o->n_recalls == BENCH_MAX_EFFORTS)
            return too_many("--recall", BENCH_MAX_EFFORTS);
        if (!cmd_parse_share(NAME, "--recall", word, &o->recalls[o->n_recalls]))
            return false;
    }
    o->recalls_given = true;
    return true;
}

/* A number from 0 to the option's most, or a percentage if it may be one. */
static bool take_real(const cmd_option *option, const char *text, bool percentage, void *self)
{
    double *out = (double *)((char *)self + option->offset);
    char *end;

    *out = strtod(text, &end);
    if (percentage && end != text && *end == '%') {
        *out /= 100;
        end++;
    }
    if (end == text || *end != '\0' || !(*out >= 0 && *out <= (double)option->most)) {
        cmd_say(NAME, percentage ? "--%s takes a share or a percentage, not \"%s\"" : "--%s takes a number, not \"%s\"",
                option->name, text);
        return false;
    }
    return true;
}

static bool take_number(const char *command, const cmd_option *option, const char *value, void *self)
{
    return take_real(option, value, false, self);
}

static bool take_share(const char *command, const cmd_option *option, const char *value, void *self)
{
    return take_real(option, value, true, self);
}

static bool take_ks(const char *command, const cmd_option *option, const char *value, void *self)
{
    struct bench_options *o = self;

    return parse_counts("-k", value, o->ks, BENCH_MAX_KS, &o->n_ks);
}

static bool take_probes(const char *command, const cmd_option *option, const char *value, void *self)
{
    struct bench_options *o = self;

    return parse_counts("--probes", value, o->probes, BENCH_MAX_GRID, &o->n_probes);
}

static bool take_reranks(const char *command, const cmd_option *option, const char *value, void *self)
{
    struct bench_options *o = self;

    return parse_counts("--rerank", value, o->reranks, BENCH_MAX_GRID, &o->n_reranks);
}

static bool take_recalls(const char *command, const cmd_option *option, const char *value, void *self)
{
    return parse_recalls(value, self);
}

static bool take_panels(const char *command, const cmd_option *option, const char *value, void *self)
{
    struct bench_options *o = self;
    char word[32];

    for (o->panels = 0; next_word(&value, word);) {
        size_t i = 0;

        while (i < BENCH_N_PANELS && strcmp(word, bench_panel_name(i)) != 0)
            i++;
        if (i == BENCH_N_PANELS) {
            cmd_say(NAME, "--plot-panels takes %s, with commas between, not \"%s\"",
                    cmd_choice("", bench_panel_name).text, word);
            return false;
        }
        o->panels |= 1u << i;
    }
    return true;
}

static bool take_compared(const char *command, const cmd_option *option, const char *value, void *self)
{
    struct bench_options *o = self;

    if (o->n_compare == BENCH_MAX_FILES - 1)
        return too_many("--compare", BENCH_MAX_FILES - 1);
    o->compare_paths[o->n_compare++] = value;
    return true;
}

/* For --help. */
static const char *truth_formats(void)
{
    static cmd_name names;

    names = cmd_choice("", omen_truth_name);
    return names.text;
}

static const char *truth_extensions(void)
{
    static cmd_name names;

    names = cmd_choice(".", omen_truth_name);
    return names.text;
}

static const cmd_option options[] = {
    {.group = "input",
     .name = "base",
     .argument = "FILE",
     .files = CMD_FILES_VECTORS,
     CMD_TEXT(struct bench_options, base_path),
     .help = "vectors; with INDEX: those it was built from, for true distances"},
    {.name = "queries",
     .argument = "FILE",
     .files = CMD_FILES_VECTORS,
     CMD_TEXT(struct bench_options, queries_path),
     .help = "queries"},
    {.name = "held-out",
     .argument = "N",
     CMD_U64(struct bench_options, n_held_out, 1, UINT32_MAX),
     .help = "take N rows of the base as queries, and leave them out of the index"},
    {.name = "truth",
     .argument = "FILE",
     CMD_TEXT(struct bench_options, truth_path),
     .help = "true neighbours (default: exact search of the base; without a base, of\n"
             "the index's refine tier), a dataset of HDF5 or a file in ",
     .names = truth_formats},
    {.name = "save-truth",
     .argument = "FILE",
     CMD_TEXT(struct bench_options, save_truth_path),
     .help = "keep the true neighbours, in a file that ends with ",
     .names = truth_extensions},
    {.letters = "f", .name = "format", CMD_OPTION_FORMAT(struct bench_options, format, "base and queries")},
    {.letters = "d", CMD_OPTION_DIM(struct bench_options, d), .help = "dimensions of raw rows"},
    {.name = "zero-ok", CMD_FLAG(struct bench_options, build.zero_ok), .help = "cosine: accept zero rows and queries"},

    {.group = "index, without INDEX",
     .letters = "o",
     .name = "index",
     .argument = "FILE",
     CMD_TEXT(struct bench_options, keep_path),
     .help = "keep the index under this name (default: temporary, in TMPDIR)"},
    {.shown = "-m, -b, -c, -r, -l, --graph, --degree, --seed",
     .help = "as for build: metric, bytes, codec, refine, lists, graph, seed"},
    {.letters = "m", .name = "metric", .argument = "NAME", CMD_METRIC(struct bench_options, build.metric)},
    {.letters = "b",
     .name = "bytes",
     .argument = "N",
     CMD_U32(struct bench_options, build.bytes, OMEN_MIN_BYTES, OMEN_MAX_BYTES)},
    {.letters = "c", .name = "codec", .argument = "NAME", CMD_CODEC(struct bench_options, build.codec)},
    {.letters = "r", .name = "refine", .argument = "NAME", CMD_REFINE(struct bench_options, build.refine)},
    {.letters = "l", .name = "lists", .argument = "N", CMD_U32(struct bench_options, build.lists.n, 1, UINT32_MAX)},
    {.name = "graph", CMD_FLAG(struct bench_options, build.graph.wanted)},
    {.name = "degree",
     .argument = "N",
     CMD_U32(struct bench_options, build.graph.degree, OMEN_MIN_DEGREE, OMEN_MAX_DEGREE)},
    {.name = "seed", .argument = "N", CMD_U64(struct bench_options, build.seed, 0, UINT64_MAX)},

    CMD_OPTIONS_FILTER(struct bench_options, filter),
    {.name = "rows",
     CMD_FLAG(struct bench_options, rows),
     .help = "read row numbers in --only and --except (default: keys, if there are any)"},

    {.group = "sweep",
     .letters = "k",
     .name = "neighbors",
     .argument = "LIST",
     .take = take_ks,
     .usual = DEFAULT_K,
     .help = "rows to find for each query, such as 1,10,100 (default %d)"},
    {.name = "recall",
     .argument = "LIST",
     .take = take_recalls,
     .help = "recalls to ask for (default 0.8,0.85,0.9,0.93,0.95,0.96,0.97,0.98,0.99,\n"
             "0.995)"},
    {.name = "probes",
     .argument = "LIST",
     .take = take_probes,
     .help = "instead of --recall: lists to scan for each query,"},
    {.name = "rerank",
     .argument = "LIST",
     .take = take_reranks,
     .help = "and candidates to re-rank; every pair of both lists"},
    {.name = "way",
     .argument = "NAME",
     CMD_WAY(struct bench_options, way),
     .help = "lists, graph or auto: both, where the index has a graph (default auto)"},
    {.name = "runs",
     .argument = "N",
     CMD_U32(struct bench_options, n_runs, 1, MAX_RUNS),
     .usual = DEFAULT_RUNS,
     .help = "timed runs of each figure, at least (default %d)"},
    {.name = "min-time",
     .argument = "S",
     CMD_TAKE(take_number, struct bench_options, min_seconds, double),
     .most = MAX_MIN_SECONDS,
     .usual = DEFAULT_MIN_SECONDS,
     .help = "seconds of each figure, at least (default %d)"},
    {CMD_OPTION_THREADS(struct bench_options, n_threads, "")},
    {CMD_OPTION_CPU(struct bench_options, cpu)},

    {.group = "comparison",
     .name = "baseline",
     .argument = "FILE",
     CMD_TEXT(struct bench_options, baseline_path),
     .help = "compare with a result of --json; exit 1 if recall or sizes got worse"},
    {.name = "baseline-binary",
     .argument = "P",
     .files = CMD_FILES_ANY,
     CMD_TEXT(struct bench_options, baseline_binary),
     .help = "compare search times with the program P, run in turn; exit 1 if slower"},
    {.name = "max-recall-drop",
     .argument = "R",
     CMD_TAKE(take_number, struct bench_options, max_recall_drop, double),
     .most = 1,
     .help = "(default 0.005)"},
    {.name = "max-slowdown",
     .argument = "P",
     CMD_TAKE(take_share, struct bench_options, max_slowdown, double),
     .most = 1000,
     .help = "a share or a percentage (default 10%); of --baseline-binary"},
    {.name = "max-growth",
     .argument = "P",
     CMD_TAKE(take_share, struct bench_options, max_growth, double),
     .most = 1000,
     .help = "of bytes a vector and the file (default 1%)"},
    {.name = "compare",
     .argument = "FILE ...",
     .take = take_compared,
     .takes_words = true,
     .help = "results of --json to draw with, or instead of, this run's"},
    {.name = "plot",
     .argument = "FILE",
     CMD_TEXT(struct bench_options, plot_path),
     .help = "draw recall against queries/s (.svg or .png; needs gnuplot)"},
    {.name = "plot-panels",
     .argument = "LIST",
     .take = take_panels,
     .values = bench_panel_name,
     .help = "what --plot draws: recall, latency and build, or some (default recall)"},

    {.group = "messages",
     CMD_OPTION_QUIET(struct bench_options, verbosity),
     .help = "no table; progress only if OMENDB_PROGRESS is set"},
    {CMD_OPTION_VERBOSE(struct bench_options, verbosity), .help = "tell each step on stderr"},
    {CMD_OPTION_JSON(struct bench_options, json), .help = "print one JSON object on stdout instead of the table"},
    {CMD_OPTION_HELP},
};

const cmd_syntax cmd_bench_syntax = {
    .command = NAME,
    .usage = "usage: omendb bench [options] --base FILE --queries FILE\n"
             "       omendb bench [options] --base FILE --held-out N\n"
             "       omendb bench [options] INDEX --queries FILE\n"
             "       omendb bench --plot FILE --compare A.json B.json ...\n"
             "\n"
             "Measures recall, speed and memory of an index, which is built first from --base without INDEX.\n"
             "Every rate stands beside the recall that it was measured at.\n",
    .notes = "An interrupted run prints what was measured so far. Exit code 1: worse than the baseline, 2: wrong\n"
             "usage, unusable input, or a baseline of other data or options.\n"
             "\n"
             "examples:\n"
             "  omendb bench --base base.fvecs --queries q.fvecs -k 1,10,100\n"
             "  omendb bench base.omen --queries q.fvecs --truth gt.ivecs --json > today.json\n"
             "  omendb bench base.omen --queries q.fvecs --truth gt.ivecs --baseline last.json\n"
             "  omendb bench --plot both.svg --compare last.json today.json\n",
    .column = 27,
    .operands = CMD_FILES_INDEX,
    .options = options,
    .n_options = CMD_COUNT(options),
};

/* Whether there is something to measure; otherwise results are only drawn. */
static bool measures(const struct bench_options *o)
{
    return o->index_path || o->base_path;
}

/* Whether an output is something that is read, or another output. */
static int check_files(const struct bench_options *o)
{
    cmd_file files[10 + QUERY_FILTER_FILES + BENCH_MAX_FILES] = {
        {.role = "INDEX", .path = o->index_path},
        {.role = "--base", .path = o->base_path},
        {.role = "--queries", .path = o->queries_path},
        {.role = "--truth", .path = o->truth_path},
        {.role = "--baseline", .path = o->baseline_path},
        {.role = "--baseline-binary", .path = o->baseline_binary},
        {.role = "--index", .path = o->keep_path, .is_output = true},
        {.role = "--save-truth", .path = o->save_truth_path, .is_output = true},
        {.role = "--plot", .path = o->plot_path, .is_output = true},
        {.path = "-", .is_output = true},
    };

    size_t n = 10;

    query_filter_list(&o->filter, files, &n);
    for (size_t i = 0; i < o->n_compare; i++)
        files[n++] = (cmd_file){.role = "--compare", .path = o->compare_paths[i]};
    return cmd_files_check(NAME, files, n);
}

static int check_outputs(const struct bench_options *o)
{
    const char *outputs[] = {o->keep_path, o->save_truth_path, o->plot_path};
    int status;

    for (size_t i = 0; i < sizeof outputs / sizeof outputs[0]; i++)
        if (outputs[i] && (outputs[i][0] == '\0' || cmd_is_stream(outputs[i])))
            return cmd_misuse(NAME, "--index, --save-truth and --plot want a file name");
    status = check_files(o);
    if (status != CMD_GO_ON)
        return status;
    if (o->keep_path && cmd_check_extension(NAME, o->keep_path, "omen", "an index") != CMD_GO_ON)
        return CMD_EXIT_USAGE;
    if (o->save_truth_path && !omen_truth_named(o->save_truth_path)) {
        return cmd_misuse(NAME, "--save-truth wants a name that ends with %s, not \"%s\"",
                          cmd_choice(".", omen_truth_name).text, o->save_truth_path);
    }
    return CMD_GO_ON;
}

/* What filters cannot go with. */
static int check_filter(const struct bench_options *o)
{
    const struct query_where_options *where = &o->filter.where;

    if (!query_filter_is_asked(&o->filter)) {
        return o->rows ? cmd_misuse(NAME, "--rows says how --only and --except name rows: give one of them")
                       : CMD_GO_ON;
    }
    if (!o->index_path)
        return cmd_misuse(NAME, "a filter is of the rows of an INDEX: build it first, with its columns");
    if (o->baseline_binary && (cmd_is_stream(where->file) || cmd_is_stream(where->tags)))
        return cmd_misuse(NAME, "standard input can be read once, and --baseline-binary reads the conditions again: "
                                "put them into a file");
    return query_filter_check(NAME, &o->filter);
}

/* What can be refused without opening anything. */
static int check_arguments(const struct bench_options *o)
{
    if (!measures(o)) {
        if (o->n_compare == 0)
            return cmd_misuse(NAME, "no INDEX and no --base given; see \"omendb bench --help\"");
        if (!o->plot_path)
            return cmd_misuse(NAME, "--compare draws results: name the picture with --plot");
        return check_outputs(o);
    }
    if (o->panels && !o->plot_path)
        return cmd_misuse(NAME, "--plot-panels is of a picture: name it with --plot");
    if (o->n_compare > 0 && !o->plot_path)
        return cmd_misuse(NAME, "--compare draws results: name the picture with --plot");
    if (!o->queries_path == !o->n_held_out)
        return cmd_misuse(NAME, "give either --queries or --held-out");
    if (o->index_path && o->n_held_out > 0)
        return cmd_misuse(NAME, "--held-out builds an index without the rows held out; it takes no INDEX");
    if (o->index_path && o->keep_path)
        return cmd_misuse(NAME, "--index names the index to build; with INDEX there is none");
    if (cmd_is_stream(o->base_path) && cmd_is_stream(o->queries_path))
        return cmd_misuse(NAME, "base and queries cannot both be standard input");
    if ((size_t)cmd_is_stream(o->base_path) + cmd_is_stream(o->queries_path) + query_filter_streams(&o->filter) > 1)
        return cmd_misuse(NAME, "standard input can be read once, and more than one file is \"-\"");
    if (o->way == OMEN_SEARCH_EXACT)
        return cmd_misuse(NAME, "--way exact is what the others are compared with: it is no way to measure");
    if (o->way == OMEN_SEARCH_GRAPH && (o->n_probes > 0 || o->n_reranks > 0))
        return cmd_misuse(NAME, "--probes and --rerank are of lists: they have no meaning with --way graph");
    if (o->build.graph.degree > 0 && !o->build.graph.wanted)
        return cmd_misuse(NAME, "--degree is that of a graph: add --graph, or leave it out");
    if (o->recalls_given && (o->n_probes > 0 || o->n_reranks > 0))
        return cmd_misuse(NAME, "--recall chooses the effort: --probes and --rerank have no meaning with it");
    const int status = check_filter(o);
    return status == CMD_GO_ON ? check_outputs(o) : status;
}

static int parse_arguments(struct bench_options *o, int argc, char **argv)
{
    const int status = cmd_options_parse(&cmd_bench_syntax, argc, argv, o);

    if (status != CMD_GO_ON)
        return status;
    if (argc - optind > 1)
        return cmd_misuse(NAME, "one INDEX at a time; \"%s\" is one too many", argv[optind + 1]);
    o->index_path = argc > optind ? argv[optind] : NULL;
    if (o->n_recalls == 0 && o->n_probes == 0 && o->n_reranks == 0) {
        memcpy(o->recalls, default_recalls, sizeof default_recalls);
        o->n_recalls = sizeof default_recalls / sizeof default_recalls[0];
    }
    return check_arguments(o);
}

/* ---- the work ---- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* The name of a result in a picture: the file's, with its directory if another has the same. */
static const char *label_of(const struct bench_options *o, size_t which)
{
    const char *path = o->compare_paths[which];

    for (size_t i = 0; i < o->n_compare; i++)
        if (i != which && strcmp(base_name(o->compare_paths[i]), base_name(path)) == 0)
            return path;
    return base_name(path);
}

/* Draws what was compared, and this run's result if there is one. */
static int draw(const struct bench_options *o, json_t *now, omen_detail *why)
{
    json_t *results[BENCH_MAX_FILES] = {NULL};
    const char *labels[BENCH_MAX_FILES];
    size_t n = 0;
    int status = OMEN_OK;

    if (now) {
        labels[n] = "this run";
        results[n++] = json_incref(now);
    }
    for (size_t i = 0; status == OMEN_OK && i < o->n_compare; i++) {
        labels[n] = label_of(o, i);
        status = bench_json_load(&results[n++], o->compare_paths[i], why);
    }
    if (status == OMEN_OK)
        status = bench_plot(o->plot_path, o->panels ? o->panels : 1u << BENCH_PANEL_RECALL, results, labels, n, why);
    for (size_t i = 0; i < n; i++)
        json_decref(results[i]);
    return status;
}

/* Everything before the sweep. */
static int prepare(struct bench *b, json_t **baseline, omen_detail *why)
{
    const struct bench_options *o = b->options;
    json_t *head;
    int status = omen_cpu_select(o->cpu, why);

    if (status == OMEN_OK && o->plot_path)
        status = bench_plot_check(o->plot_path, why);
    if (status == OMEN_OK && o->baseline_path)
        status = bench_json_load(baseline, o->baseline_path, why);
    if (status == OMEN_OK && o->baseline_binary)
        status = bench_ab_check(b, why);
    if (status == OMEN_OK)
        status = bench_open_index(b, why);
    if (status == OMEN_OK)
        status = bench_read_queries(b, why);
    if (status == OMEN_OK)
        status = bench_open_filter(b, why);
    if (status == OMEN_OK)
        status = bench_find_truth(b, why);
    if (status == OMEN_OK && o->save_truth_path)
        status = bench_save_truth(b, why);
    /* A baseline that does not fit is reported before the long part. */
    if (status == OMEN_OK && *baseline) {
        head = bench_json_head(b);
        status = head ? bench_gate_check(head, *baseline, why) : OMEN_ERR_MEMORY;
        json_decref(head);
    }
    return status;
}

/* This run as JSON, without gate and ab. NULL if out of memory. */
static json_t *result_of(const struct bench *b)
{
    json_t *now = bench_json_head(b);

    if (now && json_object_set_new(now, "points", bench_json_points(b)) != 0) {
        json_decref(now);
        now = NULL;
    }
    return now;
}

/* The comparisons that were asked for, into the result. */
static int compare(struct bench *b, json_t *now, const json_t *baseline, bool *worse, omen_detail *why)
{
    const struct bench_options *o = b->options;
    FILE *stream = o->json || o->verbosity < 0 ? stderr : stdout;
    json_t *gate = NULL, *ab = NULL;
    int status = OMEN_OK;

    if (baseline && !b->interrupted)
        status = bench_gate(b, now, baseline, stream, worse, &gate, why);
    if (status == OMEN_OK && o->baseline_binary && !b->interrupted)
        status = bench_ab(b, stream, worse, &ab, why);
    b->interrupted = b->interrupted || status == OMEN_ERR_INTERRUPTED;
    if (json_object_set_new(now, "gate", gate ? gate : json_null()) != 0 ||
        json_object_set_new(now, "ab", ab ? ab : json_null()) != 0 ||
        json_object_set_new(now, "interrupted", json_boolean(b->interrupted)) != 0) {
        return OMEN_ERR_MEMORY;
    }
    return status;
}

/* Table, comparisons and JSON of what was measured. */
static int report(struct bench *b, const json_t *baseline, bool *worse, omen_detail *why)
{
    const struct bench_options *o = b->options;
    json_t *now;
    int status;

    b->peak_bytes = bench_peak_bytes();
    cmd_progress_clear(&b->progress);
    if (!o->json && o->verbosity >= 0) {
        bench_print_table(b);
        fflush(stdout);
    }
    now = result_of(b);
    if (!now)
        return OMEN_ERR_MEMORY;
    status = compare(b, now, baseline, worse, why);
    if (status == OMEN_OK && o->plot_path && b->n_points > 0)
        status = draw(o, now, why);
    if (o->json && cmd_json_print(NAME, json_incref(now), stdout) != CMD_EXIT_OK)
        status = status == OMEN_OK ? OMEN_ERR_IO : status;
    json_decref(now);
    return status;
}

static int run(const struct bench_options *o)
{
    struct bench b = {.options = o};
    omen_detail why = {.text = ""};
    json_t *baseline = NULL;
    bool worse = false, has_report;
    int status, report_rc;

    /* a long run in a log may be asked for progress without the table */
    cmd_progress_init(&b.progress, o->verbosity < 0 && cmd_progress_is_wanted() ? 0 : o->verbosity);
    cmd_progress_update(&b.progress, "read", 0, 0);
    cmd_signals_note();
    status = prepare(&b, &baseline, &why);
    if (status == OMEN_OK)
        status = bench_sweep(&b, &why);
    cmd_progress_clear(&b.progress);
    b.interrupted = status == OMEN_ERR_INTERRUPTED;
    has_report = b.queries && (status == OMEN_OK || b.interrupted);
    if (has_report) {
        report_rc = report(&b, baseline, &worse, &why);
        status = report_rc != OMEN_OK ? report_rc : status;
    }
    json_decref(baseline);
    bench_finish(&b);
    if (status == OMEN_ERR_INTERRUPTED) {
        cmd_say(NAME, has_report ? "interrupted" : "interrupted; nothing was measured");
        return cmd_exit_code(status);
    }
    if (status != OMEN_OK)
        return cmd_fail(NAME, status, &why);
    return worse ? BENCH_EXIT_WORSE : CMD_EXIT_OK;
}

int cmd_bench(int argc, char **argv)
{
    struct bench_options o = {
        .ks = {DEFAULT_K},
        .n_ks = 1,
        .n_runs = DEFAULT_RUNS,
        .min_seconds = DEFAULT_MIN_SECONDS,
        .max_recall_drop = 0.005,
        .max_slowdown = 0.10,
        .max_growth = 0.01,
    };
    omen_detail why = {.text = ""};
    int status;

    omen_build_options_init(&o.build);
    status = parse_arguments(&o, argc, argv);
    if (status != CMD_GO_ON)
        return status;
    if (measures(&o)) {
        o.n_threads = cmd_threads(o.verbosity < 0 ? NULL : NAME, o.n_threads);
        return run(&o);
    }
    status = bench_plot_check(o.plot_path, &why);
    if (status == OMEN_OK)
        status = draw(&o, NULL, &why);
    return status == OMEN_OK ? CMD_EXIT_OK : cmd_fail(NAME, status, &why);
}
