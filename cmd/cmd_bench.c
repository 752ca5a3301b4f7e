/* omendb bench: what an index costs and what it gives: recall, speed, memory, and whether they got worse. */
#include "cmd/bench.h"

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

static void print_usage(void)
{
    printf("usage: omendb bench [options] --base FILE --queries FILE\n"
           "       omendb bench [options] --base FILE --held-out N\n"
           "       omendb bench [options] INDEX --queries FILE\n"
           "       omendb bench --plot FILE --compare A.json B.json ...\n"
           "\n"
           "Measures recall, speed and memory of an index, which is built first from --base without INDEX.\n"
           "Every rate stands beside the recall that it was measured at.\n"
           "\n"
           "input:\n"
           "      --base FILE          vectors; with INDEX: those it was built from, for true distances\n"
           "      --queries FILE       queries\n"
           "      --held-out N         take N rows of the base as queries, and leave them out of the index\n"
           "      --truth FILE         true neighbours in ivecs or ibin (default: exact search of the base;\n"
           "                           without a base, of the index's refine tier)\n"
           "      --save-truth FILE    keep the true neighbours (.ivecs or .ibin)\n"
           "  -f, --format NAME        format of base and queries (default: by extension and content)\n"
           "  -d, --dim N              dimensions of raw rows\n"
           "      --zero-ok            cosine: accept zero rows and queries\n"
           "\n"
           "index, without INDEX:\n"
           "  -o, --index FILE         keep the index under this name (default: temporary, in TMPDIR)\n"
           "  -m, -b, -c, -r, -l, --seed\n"
           "                           as for build: --metric, --bytes, --codec, --refine, --lists\n"
           "\n"
           "sweep:\n"
           "  -k, --neighbors LIST     rows to find a query, such as 1,10,100 (default %u)\n"
           "      --recall LIST        recalls to ask for (default 0.8,0.85,0.9,0.93,0.95,0.96,0.97,0.98,0.99,\n"
           "                           0.995)\n"
           "      --probes LIST        instead of --recall: lists to scan a query,\n"
           "      --rerank LIST        and candidates to re-rank; every pair of both lists\n"
           "      --runs N             timed runs of each figure, at least (default %u)\n"
           "      --min-time S         seconds of each figure, at least (default %g)\n"
           "  -t, --threads N          threads (default: the processors this process may use)\n"
           "      --cpu LEVEL          SIMD level: scalar, avx2, avx512, avx512vnni or neon (default: the best)\n"
           "\n"
           "comparison:\n"
           "      --baseline FILE      compare with a result of --json; exit 1 if recall or sizes got worse\n"
           "      --baseline-binary P  compare search times with the program P, run in turn; exit 1 if slower\n"
           "      --max-recall-drop R  (default 0.005)\n"
           "      --max-slowdown P     a share or a percentage (default 10%%); of --baseline-binary\n"
           "      --max-growth P       of bytes a vector and the file (default 1%%)\n"
           "      --compare FILE ...   results of --json to draw with, or instead of, this run's\n"
           "      --plot FILE          draw recall against queries/s (.svg or .png; needs gnuplot)\n"
           "\n"
           "messages:\n"
           "  -q, --quiet              no progress, no table\n"
           "  -v, --verbose            tell each step on stderr\n"
           "      --json               print one JSON object on stdout instead of the table\n"
           "  -h, --help               print this help\n"
           "\n"
           "An interrupted run prints what was measured so far. Exit code 1: worse than the baseline, 2: wrong\n"
           "usage, unusable input, or a baseline of other data or options.\n"
           "\n"
           "examples:\n"
           "  omendb bench --base base.fvecs --queries q.fvecs -k 1,10,100\n"
           "  omendb bench base.omen --queries q.fvecs --truth gt.ivecs --json > today.json\n"
           "  omendb bench base.omen --queries q.fvecs --truth gt.ivecs --baseline last.json\n"
           "  omendb bench --plot both.svg --compare last.json today.json\n",
           DEFAULT_K, DEFAULT_RUNS, DEFAULT_MIN_SECONDS);
}

/* ---- arguments ---- */

enum {
    OPT_BASE = 256,
    OPT_QUERIES,
    OPT_HELD_OUT,
    OPT_TRUTH,
    OPT_SAVE_TRUTH,
    OPT_ZERO_OK,
    OPT_SEED,
    OPT_RECALL,
    OPT_PROBES,
    OPT_RERANK,
    OPT_RUNS,
    OPT_MIN_TIME,
    OPT_CPU,
    OPT_BASELINE,
    OPT_BASELINE_BINARY,
    OPT_MAX_RECALL_DROP,
    OPT_MAX_SLOWDOWN,
    OPT_MAX_GROWTH,
    OPT_COMPARE,
    OPT_PLOT,
    OPT_JSON,
};

static const char short_options[] = ":f:d:o:m:b:c:r:l:k:t:qvh";

static const struct option long_options[] = {
    {"base", required_argument, NULL, OPT_BASE},
    {"queries", required_argument, NULL, OPT_QUERIES},
    {"held-out", required_argument, NULL, OPT_HELD_OUT},
    {"truth", required_argument, NULL, OPT_TRUTH},
    {"save-truth", required_argument, NULL, OPT_SAVE_TRUTH},
    {"format", required_argument, NULL, 'f'},
    {"dim", required_argument, NULL, 'd'},
    {"zero-ok", no_argument, NULL, OPT_ZERO_OK},
    {"index", required_argument, NULL, 'o'},
    {"metric", required_argument, NULL, 'm'},
    {"bytes", required_argument, NULL, 'b'},
    {"codec", required_argument, NULL, 'c'},
    {"refine", required_argument, NULL, 'r'},
    {"lists", required_argument, NULL, 'l'},
    {"seed", required_argument, NULL, OPT_SEED},
    {"neighbors", required_argument, NULL, 'k'},
    {"recall", required_argument, NULL, OPT_RECALL},
    {"probes", required_argument, NULL, OPT_PROBES},
    {"rerank", required_argument, NULL, OPT_RERANK},
    {"runs", required_argument, NULL, OPT_RUNS},
    {"min-time", required_argument, NULL, OPT_MIN_TIME},
    {"threads", required_argument, NULL, 't'},
    {"cpu", required_argument, NULL, OPT_CPU},
    {"baseline", required_argument, NULL, OPT_BASELINE},
    {"baseline-binary", required_argument, NULL, OPT_BASELINE_BINARY},
    {"max-recall-drop", required_argument, NULL, OPT_MAX_RECALL_DROP},
    {"max-slowdown", required_argument, NULL, OPT_MAX_SLOWDOWN},
    {"max-growth", required_argument, NULL, OPT_MAX_GROWTH},
    {"compare", required_argument, NULL, OPT_COMPARE},
    {"plot", required_argument, NULL, OPT_PLOT},
    {"quiet", no_argument, NULL, 'q'},
    {"verbose", no_argument, NULL, 'v'},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* Copies the next word of a list with commas between; moves *list on. False at its end. */
static bool next_word(const char **list, char word[32])
{
    size_t length;

    if (*list == NULL) {
        return false;
    }
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
        if (*n == room) {
            return too_many(option, room);
        }
        if (!cmd_parse_integer(NAME, option, word, 1, INT32_MAX, &value)) {
            return false;
        }
        out[*n] = (uint32_t)value;
    }
    return true;
}

static bool parse_recalls(const char *list, struct bench_options *o)
{
    char word[32];

    for (o->n_recalls = 0; next_word(&list, word); o->n_recalls++) {
        if (o->n_recalls == BENCH_MAX_EFFORTS) {
            return too_many("--recall", BENCH_MAX_EFFORTS);
        }
        if (!cmd_parse_share(NAME, "--recall", word, &o->recalls[o->n_recalls])) {
            return false;
        }
    }
    o->recalls_given = true;
    return true;
}

/* A number from 0 to most, or a percentage if it may be one. */
static bool parse_number(const char *option, const char *text, double most, bool percentage, double *out)
{
    char *end;

    *out = strtod(text, &end);
    if (percentage && end != text && *end == '%') {
        *out /= 100;
        end++;
    }
    if (end == text || *end != '\0' || !(*out >= 0 && *out <= most)) {
        cmd_say(NAME, percentage ? "%s takes a share or a percentage, not \"%s\"" : "%s takes a number, not \"%s\"",
                option, text);
        return false;
    }
    return true;
}

static bool add_compared(struct bench_options *o, const char *path)
{
    if (o->n_compare == BENCH_MAX_FILES - 1) {
        return too_many("--compare", BENCH_MAX_FILES - 1);
    }
    o->compare_paths[o->n_compare++] = path;
    return true;
}

/* Takes one option about the index to build. */
static bool take_build_option(struct bench_options *o, int option, const char *value)
{
    uint64_t number;

    switch (option) {
    case 'm':
        if (omen_metric_parse(value, &o->build.metric) != OMEN_OK) {
            cmd_say(NAME, "--metric must be l2, ip or cosine, not \"%s\"", value);
            return false;
        }
        return true;
    case 'b':
        if (!cmd_parse_integer(NAME, "--bytes", value, OMEN_MIN_BYTES, OMEN_MAX_BYTES, &number)) {
            return false;
        }
        o->build.bytes = (uint32_t)number;
        return true;
    case 'c':
        if (omen_codec_parse(value, &o->build.codec) != OMEN_OK) {
            cmd_say(NAME, "--codec must be auto, pq, rabitq or none, not \"%s\"", value);
            return false;
        }
        return true;
    case 'r':
        if (omen_refine_parse(value, &o->build.refine) != OMEN_OK) {
            cmd_say(NAME, "--refine must be sq8, f16, f32 or none, not \"%s\"", value);
            return false;
        }
        return true;
    case 'l':
        if (!cmd_parse_integer(NAME, "--lists", value, 1, UINT32_MAX, &number)) {
            return false;
        }
        o->build.n_lists = (uint32_t)number;
        return true;
    default: /* OPT_SEED */
        return cmd_parse_integer(NAME, "--seed", value, 0, UINT64_MAX, &o->build.seed);
    }
}

/* Takes one option; false, after a message, if its value is bad. */
static bool take_option(struct bench_options *o, int option, const char *value)
{
    uint64_t number;

    switch (option) {
    case OPT_BASE:
        o->base_path = value;
        return true;
    case OPT_QUERIES:
        o->queries_path = value;
        return true;
    case OPT_HELD_OUT:
        return cmd_parse_integer(NAME, "--held-out", value, 1, UINT32_MAX, &o->n_held_out);
    case OPT_TRUTH:
        o->truth_path = value;
        return true;
    case OPT_SAVE_TRUTH:
        o->save_truth_path = value;
        return true;
    case 'f':
        o->format = value;
        return true;
    case 'd':
        return cmd_parse_dim(NAME, value, &o->d);
    case OPT_ZERO_OK:
        o->build.zero_ok = true;
        return true;
    case 'o':
        o->keep_path = value;
        return true;
    case 'k':
        return parse_counts("-k", value, o->ks, BENCH_MAX_KS, &o->n_ks);
    case OPT_RECALL:
        return parse_recalls(value, o);
    case OPT_PROBES:
        return parse_counts("--probes", value, o->probes, BENCH_MAX_GRID, &o->n_probes);
    case OPT_RERANK:
        return parse_counts("--rerank", value, o->reranks, BENCH_MAX_GRID, &o->n_reranks);
    case OPT_RUNS:
        if (!cmd_parse_integer(NAME, "--runs", value, 1, MAX_RUNS, &number)) {
            return false;
        }
        o->n_runs = (uint32_t)number;
        return true;
    case OPT_MIN_TIME:
        return parse_number("--min-time", value, MAX_MIN_SECONDS, false, &o->min_seconds);
    case 't':
        return cmd_parse_threads(NAME, value, &o->n_threads);
    case OPT_CPU:
        o->cpu = value;
        return true;
    case OPT_BASELINE:
        o->baseline_path = value;
        return true;
    case OPT_BASELINE_BINARY:
        o->baseline_binary = value;
        return true;
    case OPT_MAX_RECALL_DROP:
        return parse_number("--max-recall-drop", value, 1, false, &o->max_recall_drop);
    case OPT_MAX_SLOWDOWN:
        return parse_number("--max-slowdown", value, 1000, true, &o->max_slowdown);
    case OPT_MAX_GROWTH:
        return parse_number("--max-growth", value, 1000, true, &o->max_growth);
    case OPT_COMPARE:
        return add_compared(o, value);
    case OPT_PLOT:
        o->plot_path = value;
        return true;
    case 'q':
        o->verbosity = -1;
        return true;
    case 'v':
        o->verbosity = 1;
        return true;
    case OPT_JSON:
        o->json = true;
        return true;
    default:
        return take_build_option(o, option, value);
    }
}

/* Whether there is something to measure; otherwise results are only drawn. */
static bool measures(const struct bench_options *o)
{
    return o->index_path != NULL || o->base_path != NULL;
}

/* Whether an output is something that is read, or another output. */
static int check_files(const struct bench_options *o)
{
    cmd_file files[10 + BENCH_MAX_FILES] = {
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

    for (size_t i = 0; i < o->n_compare; i++) {
        files[10 + i] = (cmd_file){.role = "--compare", .path = o->compare_paths[i]};
    }
    return cmd_files_check(NAME, files, sizeof files / sizeof files[0]);
}

static int check_outputs(const struct bench_options *o)
{
    const char *outputs[] = {o->keep_path, o->save_truth_path, o->plot_path};
    omen_truth_format format;
    int rc;

    for (size_t i = 0; i < sizeof outputs / sizeof outputs[0]; i++) {
        if (outputs[i] != NULL && (outputs[i][0] == '\0' || strcmp(outputs[i], "-") == 0)) {
            return cmd_misuse(NAME, "--index, --save-truth and --plot want a file name");
        }
    }
    rc = check_files(o);
    if (rc != CMD_GO_ON) {
        return rc;
    }
    if (o->keep_path != NULL && cmd_check_extension(NAME, o->keep_path, "omen", "an index") != CMD_GO_ON) {
        return CMD_EXIT_USAGE;
    }
    if (o->save_truth_path != NULL && omen_truth_parse(o->save_truth_path, &format) != OMEN_OK) {
        return cmd_misuse(NAME, "--save-truth wants a name that ends with .ivecs or .ibin, not \"%s\"",
                          o->save_truth_path);
    }
    return CMD_GO_ON;
}

/* What can be refused without opening anything. */
static int check_arguments(const struct bench_options *o)
{
    if (!measures(o)) {
        if (o->n_compare == 0) {
            return cmd_misuse(NAME, "no INDEX and no --base given; see \"omendb bench --help\"");
        }
        if (o->plot_path == NULL) {
            return cmd_misuse(NAME, "--compare draws results: name the picture with --plot");
        }
        return check_outputs(o);
    }
    if (o->n_compare > 0 && o->plot_path == NULL) {
        return cmd_misuse(NAME, "--compare draws results: name the picture with --plot");
    }
    if ((o->queries_path != NULL) == (o->n_held_out > 0)) {
        return cmd_misuse(NAME, "give either --queries or --held-out");
    }
    if (o->index_path != NULL && o->n_held_out > 0) {
        return cmd_misuse(NAME, "--held-out builds an index without the rows held out; it takes no INDEX");
    }
    if (o->index_path != NULL && o->keep_path != NULL) {
        return cmd_misuse(NAME, "--index names the index to build; with INDEX there is none");
    }
    if (o->base_path != NULL && strcmp(o->base_path, "-") == 0 && o->queries_path != NULL &&
        strcmp(o->queries_path, "-") == 0) {
        return cmd_misuse(NAME, "base and queries cannot both be standard input");
    }
    if (o->recalls_given && (o->n_probes > 0 || o->n_reranks > 0)) {
        return cmd_misuse(NAME, "--recall chooses the effort: --probes and --rerank have no meaning with it");
    }
    return check_outputs(o);
}

static int parse_arguments(struct bench_options *o, int argc, char **argv)
{
    int option;

    while ((option = cmd_next_option(NAME, argc, argv, short_options, long_options)) != -1) {
        if (option == 'h') {
            print_usage();
            return CMD_EXIT_OK;
        }
        if (option == CMD_BAD_OPTION) {
            return CMD_EXIT_USAGE;
        }
        if (!take_option(o, option, optarg)) {
            return CMD_EXIT_USAGE;
        }
        /* --compare takes all words up to the next option. */
        while (option == OPT_COMPARE && optind < argc && argv[optind][0] != '-') {
            if (!add_compared(o, argv[optind++])) {
                return CMD_EXIT_USAGE;
            }
        }
    }
    if (argc - optind > 1) {
        return cmd_misuse(NAME, "one INDEX at a time; \"%s\" is one too many", argv[optind + 1]);
    }
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

    return slash != NULL ? slash + 1 : path;
}

/* The name of a result in a picture: the file's, with its directory if another has the same. */
static const char *label_of(const struct bench_options *o, size_t which)
{
    const char *path = o->compare_paths[which];

    for (size_t i = 0; i < o->n_compare; i++) {
        if (i != which && strcmp(base_name(o->compare_paths[i]), base_name(path)) == 0) {
            return path;
        }
    }
    return base_name(path);
}

/* Draws what was compared, and this run's result if there is one. */
static int draw(const struct bench_options *o, json_t *now, omen_detail *why)
{
    json_t *results[BENCH_MAX_FILES] = {NULL};
    const char *labels[BENCH_MAX_FILES];
    size_t n = 0;
    int rc = OMEN_OK;

    if (now != NULL) {
        labels[n] = "this run";
        results[n++] = json_incref(now);
    }
    for (size_t i = 0; rc == OMEN_OK && i < o->n_compare; i++) {
        labels[n] = label_of(o, i);
        rc = bench_json_load(&results[n++], o->compare_paths[i], why);
    }
    if (rc == OMEN_OK) {
        rc = bench_plot(o->plot_path, results, labels, n, why);
    }
    for (size_t i = 0; i < n; i++) {
        json_decref(results[i]);
    }
    return rc;
}

/* Everything before the sweep. */
static int prepare(struct bench *b, json_t **baseline, omen_detail *why)
{
    const struct bench_options *o = b->options;
    json_t *head;
    int rc = omen_cpu_select(o->cpu, why);

    if (rc == OMEN_OK && o->plot_path != NULL) {
        rc = bench_plot_check(o->plot_path, why);
    }
    if (rc == OMEN_OK && o->baseline_path != NULL) {
        rc = bench_json_load(baseline, o->baseline_path, why);
    }
    if (rc == OMEN_OK && o->baseline_binary != NULL) {
        rc = bench_ab_check(b, why);
    }
    if (rc == OMEN_OK) {
        rc = bench_open_index(b, why);
    }
    if (rc == OMEN_OK) {
        rc = bench_read_queries(b, why);
    }
    if (rc == OMEN_OK) {
        rc = bench_find_truth(b, why);
    }
    if (rc == OMEN_OK && o->save_truth_path != NULL) {
        rc = bench_save_truth(b, why);
    }
    /* A baseline that does not fit is reported before the long part. */
    if (rc == OMEN_OK && *baseline != NULL) {
        head = bench_json_head(b);
        rc = head != NULL ? bench_gate_check(head, *baseline, why) : OMEN_ERR_MEMORY;
        json_decref(head);
    }
    return rc;
}

/* This run as JSON, without gate and ab. NULL if out of memory. */
static json_t *result_of(const struct bench *b)
{
    json_t *now = bench_json_head(b);

    if (now != NULL && json_object_set_new(now, "points", bench_json_points(b)) != 0) {
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
    int rc = OMEN_OK;

    if (baseline != NULL && !b->interrupted) {
        rc = bench_gate(b, now, baseline, stream, worse, &gate, why);
    }
    if (rc == OMEN_OK && o->baseline_binary != NULL && !b->interrupted) {
        rc = bench_ab(b, stream, worse, &ab, why);
    }
    b->interrupted = b->interrupted || rc == OMEN_ERR_INTERRUPTED;
    if (json_object_set_new(now, "gate", gate != NULL ? gate : json_null()) != 0 ||
        json_object_set_new(now, "ab", ab != NULL ? ab : json_null()) != 0 ||
        json_object_set_new(now, "interrupted", json_boolean(b->interrupted)) != 0) {
        return OMEN_ERR_MEMORY;
    }
    return rc;
}

/* Table, comparisons and JSON of what was measured. */
static int report(struct bench *b, const json_t *baseline, bool *worse, omen_detail *why)
{
    const struct bench_options *o = b->options;
    json_t *now;
    int rc;

    b->peak_bytes = bench_peak_bytes();
    cmd_progress_clear(&b->progress);
    if (!o->json && o->verbosity >= 0) {
        bench_print_table(b);
        fflush(stdout);
    }
    now = result_of(b);
    if (now == NULL) {
        return OMEN_ERR_MEMORY;
    }
    rc = compare(b, now, baseline, worse, why);
    if (rc == OMEN_OK && o->plot_path != NULL && b->n_points > 0) {
        rc = draw(o, now, why);
    }
    if (o->json && cmd_json_print(NAME, json_incref(now), stdout) != CMD_EXIT_OK) {
        rc = rc == OMEN_OK ? OMEN_ERR_IO : rc;
    }
    json_decref(now);
    return rc;
}

static int run(const struct bench_options *o)
{
    struct bench b = {.options = o};
    omen_detail why = {.text = ""};
    json_t *baseline = NULL;
    bool worse = false, has_report;
    int rc, report_rc;

    cmd_progress_init(&b.progress, o->verbosity);
    cmd_signals_note();
    rc = prepare(&b, &baseline, &why);
    if (rc == OMEN_OK) {
        rc = bench_sweep(&b, &why);
    }
    cmd_progress_clear(&b.progress);
    b.interrupted = rc == OMEN_ERR_INTERRUPTED;
    has_report = b.queries != NULL && (rc == OMEN_OK || b.interrupted);
    if (has_report) {
        report_rc = report(&b, baseline, &worse, &why);
        rc = report_rc != OMEN_OK ? report_rc : rc;
    }
    json_decref(baseline);
    bench_finish(&b);
    if (rc == OMEN_ERR_INTERRUPTED) {
        cmd_say(NAME, has_report ? "interrupted" : "interrupted; nothing was measured");
        return cmd_exit_code(rc);
    }
    if (rc != OMEN_OK) {
        return cmd_fail(NAME, rc, &why);
    }
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
    int rc;

    omen_build_options_init(&o.build);
    rc = parse_arguments(&o, argc, argv);
    if (rc != CMD_GO_ON) {
        return rc;
    }
    if (measures(&o)) {
        o.n_threads = cmd_threads(o.n_threads);
        return run(&o);
    }
    rc = bench_plot_check(o.plot_path, &why);
    if (rc == OMEN_OK) {
        rc = draw(&o, NULL, &why);
    }
    return rc == OMEN_OK ? CMD_EXIT_OK : cmd_fail(NAME, rc, &why);
}
