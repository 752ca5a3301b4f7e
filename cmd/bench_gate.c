/* SPDX-License-Identifier: Apache-2.0 */
/* omendb bench --baseline: compares this result with an earlier one.
 *
 * Gated are the figures that do not depend on the machine: recall at the efforts that are asked for and again at the
 * very effort that the baseline used (a recall wanted is met by more effort, which would hide a worse code), bytes a
 * vector and the file's size. Times of another run are reported only. */
#include "cmd/bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- the same data and options ---- */

/* Whether a member is equal on both sides; a base that one side did not have is not compared. */
static bool same_member(const json_t *a, const json_t *b, const char *name)
{
    const json_t *x = json_object_get(a, name), *y = json_object_get(b, name);

    return json_equal(x, y) || (strcmp(name, "base_hash") == 0 && (json_is_null(x) || json_is_null(y)));
}

static size_t at_least_one(const json_t *list)
{
    return json_array_size(list) > 0 ? json_array_size(list) : 1;
}

/* How many points a run with these options has. */
static size_t count_points(const json_t *options)
{
    return json_array_size(json_object_get(options, "k")) * at_least_one(json_object_get(options, "recall")) *
           at_least_one(json_object_get(options, "probes")) * at_least_one(json_object_get(options, "rerank")) *
           at_least_one(json_object_get(options, "ways"));
}

/* Tells of all members that differ, with their values. what is the sentence's beginning. Returns OMEN_OK if there are
 * none. */
static int check_same(const json_t *was, const json_t *now, const char *const *names, size_t n, const char *what,
                      omen_detail *why)
{
    omen_detail list = {.text = ""};
    size_t used = 0;

    for (size_t i = 0; i < n; i++) {
        if (!same_member(was, now, names[i]) && used < sizeof list.text) {
            used +=
                (size_t)snprintf(list.text + used, sizeof list.text - used, "%s\"%s\"", used > 0 ? ", " : "", names[i]);
        }
    }
    return used == 0
               ? OMEN_OK
               : omen_fail(why, OMEN_ERR_INPUT, "%s: %s differ%s", what, list.text, strchr(list.text, ',') ? "" : "s");
}

/* Options of the build: as asked for where both runs built, else as both indexes tell. */
static int check_build(const json_t *head, const json_t *baseline, omen_detail *why)
{
    static const char *const names[] = {"codec", "refine", "bytes", "lists", "seed", "zero_ok"};
    const bool both_built =
        json_is_object(json_object_get(head, "build")) && json_is_object(json_object_get(baseline, "build"));
    const char *object = both_built ? "build" : "index";

    return check_same(json_object_get(baseline, object), json_object_get(head, object), names,
                      sizeof names / sizeof names[0], "the baseline's index was built with other options", why);
}

/* That no figure is missing which the gate would compare. */
static int check_complete(const json_t *baseline, omen_detail *why)
{
    static const char *const sizes[] = {"index.bytes_per_vector.code", "index.bytes_per_vector.factors",
                                        "index.bytes_per_vector.total", "index.file_bytes"};
    const json_t *points = json_object_get(baseline, "points");
    const bool by_distance = strcmp(bench_json_string(baseline, "truth.distances"), "none") != 0;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (isnan(bench_json_number(baseline, sizes[i])))
            return omen_fail(why, OMEN_ERR_INPUT, "the baseline lacks \"%s\"", sizes[i]);
    for (size_t i = 0; i < json_array_size(points); i++) {
        const json_t *point = json_array_get(points, i);

        if (isnan(bench_json_number(point, "recall_by_id")) ||
            (by_distance && isnan(bench_json_number(point, "recall_by_distance")))) {
            return omen_fail(why, OMEN_ERR_INPUT, "the baseline has a point without its recall");
        }
    }
    return OMEN_OK;
}

/* Results without the member are of lists. */
static bool same_ways(const json_t *was, const json_t *now)
{
    const json_t *old_ways = json_object_get(was, "ways"), *ways = json_object_get(now, "ways");
    const char *only = json_string_value(json_array_get(ways, 0));

    return old_ways ? json_equal(old_ways, ways) : json_array_size(ways) == 1 && only && strcmp(only, "lists") == 0;
}

/* The first option that a result's filter was given by, for a message. */
static cmd_name filter_text(const json_t *result)
{
    static const char *const members[] = {"where", "where_file", "where_tags", "only", "except"};
    static const char *const names[] = {"where", "where-file", "where-tags", "only", "except"};
    const json_t *filter = json_object_get(result, "filter");
    cmd_name out = {.text = "none"};

    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const char *value = bench_json_string(filter, members[i]);

        if (value[0] == '\0')
            continue;
        snprintf(out.text, sizeof out.text, "--%s \"%.100s\"", names[i], value);
        break;
    }
    return out;
}

/* A result without the member has no filter. */
static int check_filter(const json_t *head, const json_t *baseline, omen_detail *why)
{
    if (strcmp(bench_json_string(head, "filter.hash"), bench_json_string(baseline, "filter.hash")) == 0)
        return OMEN_OK;
    return omen_fail(why, OMEN_ERR_INPUT, "the baseline was measured with another filter: %s, and now it is %s",
                     filter_text(baseline).text, filter_text(head).text);
}

int bench_gate_check(const json_t *head, const json_t *baseline, omen_detail *why)
{
    static const char *const data[] = {"n", "d", "metric", "n_queries", "held_out", "base_hash", "queries_hash"};
    static const char *const options[] = {"k", "recall", "probes", "rerank"};
    const json_t *was = json_object_get(baseline, "data"), *now = json_object_get(head, "data");
    const json_t *was_options = json_object_get(baseline, "options"), *now_options = json_object_get(head, "options");
    int status;

    if (json_is_true(json_object_get(baseline, "interrupted")))
        return omen_fail(why, OMEN_ERR_INPUT, "the baseline was interrupted and lacks points");
    status = check_same(was, now, data, sizeof data / sizeof data[0], "the baseline is of other data", why);
    if (status == OMEN_OK)
        status = check_filter(head, baseline, why);
    if (status == OMEN_OK) {
        status = check_same(was_options, now_options, options, sizeof options / sizeof options[0],
                            "the baseline was measured with other options", why);
    }
    if (status == OMEN_OK && !same_ways(was_options, now_options))
        status = omen_fail(why, OMEN_ERR_INPUT, "the baseline was measured with other options: \"ways\" differs");
    if (status == OMEN_OK)
        status = check_build(head, baseline, why);
    if (status != OMEN_OK)
        return status;
    if (json_array_size(json_object_get(baseline, "points")) != count_points(was_options))
        return omen_fail(why, OMEN_ERR_INPUT, "the baseline lacks points");
    /* The truth over a refine tier depends on the index; its origin still has to be the same. */
    if (strcmp(bench_json_string(head, "truth.origin"), bench_json_string(baseline, "truth.origin")) != 0 ||
        strcmp(bench_json_string(head, "truth.distances"), bench_json_string(baseline, "truth.distances")) != 0) {
        return omen_fail(why, OMEN_ERR_INPUT, "the baseline has its truth from another place (%s, here %s)",
                         bench_json_string(baseline, "truth.origin"), bench_json_string(head, "truth.origin"));
    }
    if (strcmp(bench_json_string(head, "truth.origin"), "refine") != 0 && !same_member(was, now, "truth_hash"))
        return omen_fail(why, OMEN_ERR_INPUT, "the baseline is of other data: \"truth_hash\" differs");
    return check_complete(baseline, why);
}

/* ---- figures ---- */

struct gate {
    struct bench *b;
    FILE *stream;
    json_t *regressions, *reported;
    bool complete; /* all were recorded */
};

static void record(struct gate *g, json_t *list, const char *figure, double was, double now)
{
    if (json_array_append_new(list, json_pack("{s:s, s:o, s:o}", "figure", figure, "baseline", cmd_json_real(was),
                                              "now", cmd_json_real(now))) != 0) {
        g->complete = false;
    }
}

static void regress(struct gate *g, const char *figure, double was, double now, int digits)
{
    fprintf(g->stream, "worse   %s: %.*f, baseline %.*f\n", figure, digits, now, digits, was);
    record(g, g->regressions, figure, was, now);
}

static void gate_recall(struct gate *g, const char *what, uint32_t k, const char *where, double was, double now)
{
    char figure[160];

    /* A rounding error of the decimal file is no regression. */
    if (!isnan(was) && was - now > g->b->options->max_recall_drop + 1e-6) {
        snprintf(figure, sizeof figure, "recall@%u %s %s", k, what, where);
        regress(g, figure, was, now, 4);
    }
}

static void gate_size(struct gate *g, const char *figure, double was, double now)
{
    if (!isnan(was) && now > was * (1 + g->b->options->max_growth) + 1e-4)
        regress(g, figure, was, now, 1);
}

static void report_time(struct gate *g, const char *figure, double was, double now, const char *unit)
{
    if (was > 0 && now > 0) {
        fprintf(g->stream, "time    %s: %.4g %s, baseline %.4g (%+.1f%%)\n", figure, now, unit, was,
                100 * (now / was - 1));
        record(g, g->reported, figure, was, now);
    }
}

/* What a recall takes: told where it differs. */
static void report_work(struct gate *g, const char *figure, double was, double now)
{
    if (was > 0 && now > 0 && was != now) {
        fprintf(g->stream, "work    %s: %.6g, baseline %.6g (%+.1f%%)\n", figure, now, was, 100 * (now / was - 1));
        record(g, g->reported, figure, was, now);
    }
}

/* ---- points ---- */

/* Results without the member are of lists. */
static const char *way_of(const json_t *point)
{
    const char *way = bench_json_string(point, "way");

    return way[0] != '\0' ? way : omen_search_way_name(OMEN_SEARCH_LISTS);
}

/* tells_way: the point is one of several ways. */
static void describe_effort(char *text, size_t size, const json_t *point, bool tells_way)
{
    double target = bench_json_number(point, "target");

    if (isnan(target)) {
        snprintf(text, size, "at --probes %.0f --rerank %.0f", bench_json_number(point, "probes"),
                 bench_json_number(point, "rerank"));
    } else {
        snprintf(text, size, "at --recall %g%s%.16s", target, tells_way ? " --way " : "",
                 tells_way ? way_of(point) : "");
    }
}

static bool same_effort(const json_t *a, const json_t *b)
{
    return json_equal(json_object_get(a, "probes"), json_object_get(b, "probes")) &&
           json_equal(json_object_get(a, "rerank"), json_object_get(b, "rerank"));
}

/* Recall at the counts that the baseline's point used. Where a recall was asked for, they were averages: no query took
 * them. */
static int gate_effort(struct gate *g, const json_t *was, omen_detail *why)
{
    const uint32_t k = (uint32_t)bench_json_number(was, "k");
    const double probes = bench_json_number(was, "probes"), rerank = bench_json_number(was, "rerank");
    double by_distance, by_id;
    char text[64], where[96];
    int status;

    if (!(probes >= 1 && rerank >= 1 && probes <= INT32_MAX && rerank <= INT32_MAX))
        return omen_fail(why, OMEN_ERR_INPUT, "the baseline has a point without its effort");
    const struct bench_effort effort = {
        .way = OMEN_SEARCH_LISTS, .probes = (uint32_t)probes, .rerank = (uint32_t)rerank};
    status = bench_recall_at(g->b, k, &effort, &by_distance, &by_id, why);
    if (status == OMEN_OK) {
        bench_effort_text(text, sizeof text, &effort);
        snprintf(where, sizeof where, "at the baseline's effort (%s)", text);
        gate_recall(g, "by distance", k, where, bench_json_number(was, "recall_by_distance"), by_distance);
        gate_recall(g, "by id", k, where, bench_json_number(was, "recall_by_id"), by_id);
    }
    return status;
}

static int gate_point(struct gate *g, const json_t *was, const json_t *now, bool same_lists, bool tells_way,
                      omen_detail *why)
{
    const uint32_t k = (uint32_t)bench_json_number(now, "k");
    char where[96], figure[160];

    if (bench_json_number(was, "k") != k || strcmp(way_of(was), way_of(now)) != 0 ||
        !json_equal(json_object_get(was, "target"), json_object_get(now, "target")))
        return omen_fail(why, OMEN_ERR_INPUT, "the baseline has other points than its options say");
    describe_effort(where, sizeof where, now, tells_way);
    gate_recall(g, "by distance", k, where, bench_json_number(was, "recall_by_distance"),
                bench_json_number(now, "recall_by_distance"));
    gate_recall(g, "by id", k, where, bench_json_number(was, "recall_by_id"), bench_json_number(now, "recall_by_id"));
    snprintf(figure, sizeof figure, "queries/s in batch, k %u %s, recall %.4f", k, where,
             isnan(bench_json_number(now, "recall_by_distance")) ? bench_json_number(now, "recall_by_id")
                                                                 : bench_json_number(now, "recall_by_distance"));
    report_time(g, figure, bench_json_number(was, "batch.median"), bench_json_number(now, "batch.median"), "queries/s");
    if (!json_is_null(json_object_get(now, "target"))) {
        snprintf(figure, sizeof figure, "codes scanned a query, k %u %s", k, where);
        report_work(g, figure, bench_json_number(was, "codes_scanned"), bench_json_number(now, "codes_scanned"));
        snprintf(figure, sizeof figure, "graph codes compared a query, k %u %s", k, where);
        report_work(g, figure, bench_json_number(was, "graph_estimates"), bench_json_number(now, "graph_estimates"));
        snprintf(figure, sizeof figure, "rows re-ranked a query, k %u %s", k, where);
        report_work(g, figure, bench_json_number(was, "rows_reranked"), bench_json_number(now, "rows_reranked"));
        return OMEN_OK;
    }
    return same_lists && !same_effort(was, now) ? gate_effort(g, was, why) : OMEN_OK;
}

static bool same_machine(const json_t *a, const json_t *b)
{
    return json_equal(json_object_get(a, "machine"), json_object_get(b, "machine"));
}

int bench_gate(struct bench *b, const json_t *now, const json_t *baseline, FILE *stream, bool *worse, json_t **out,
               omen_detail *why)
{
    struct gate g = {.b = b, .stream = stream, .regressions = json_array(), .reported = json_array(), .complete = true};
    const json_t *points = json_object_get(now, "points"), *old_points = json_object_get(baseline, "points");
    const bool same_lists = bench_json_number(now, "index.lists") == bench_json_number(baseline, "index.lists");
    const bool same = same_machine(now, baseline);
    const json_t *ways = json_object_get(json_object_get(now, "options"), "ways");
    const bool tells_way = json_array_size(ways) > 1 || strcmp(json_string_value(json_array_get(ways, 0)),
                                                               omen_search_way_name(OMEN_SEARCH_LISTS)) != 0;
    int status = OMEN_OK;

    fprintf(stream, "\nagainst %s (omendb %s): recall may drop by %g, sizes grow by %g%%\n",
            cmd_printable(b->options->baseline_path).text, cmd_printable(bench_json_string(baseline, "version")).text,
            b->options->max_recall_drop, 100 * b->options->max_growth);
    fprintf(stream, "times are of another run%s: reported, not gated; --baseline-binary gates them\n",
            same ? "" : " on another machine or with other threads");
    bench_print_context(b, stream);
    if (!same_lists)
        fprintf(stream, "the number of lists differs: recall is not compared at the baseline's efforts\n");
    for (size_t i = 0; status == OMEN_OK && i < json_array_size(points); i++)
        status = gate_point(&g, json_array_get(old_points, i), json_array_get(points, i), same_lists, tells_way, why);
    gate_size(&g, "bytes a vector, code", bench_json_number(baseline, "index.bytes_per_vector.code"),
              bench_json_number(now, "index.bytes_per_vector.code"));
    gate_size(&g, "bytes a vector, factors", bench_json_number(baseline, "index.bytes_per_vector.factors"),
              bench_json_number(now, "index.bytes_per_vector.factors"));
    gate_size(&g, "bytes a vector, all parts", bench_json_number(baseline, "index.bytes_per_vector.total"),
              bench_json_number(now, "index.bytes_per_vector.total"));
    gate_size(&g, "file size in bytes", bench_json_number(baseline, "index.file_bytes"),
              bench_json_number(now, "index.file_bytes"));
    report_time(&g, "build", bench_json_number(baseline, "build.seconds.total"),
                bench_json_number(now, "build.seconds.total"), "s");
    if (json_array_size(g.regressions) > 0)
        *worse = true;
    else if (status == OMEN_OK)
        fprintf(stream, "recall and sizes: no worse than the baseline\n");
    *out = status == OMEN_OK && g.complete
               ? json_pack("{s:o, s:b, s:f, s:f, s:b, s:O, s:O}", "baseline", cmd_json_text(b->options->baseline_path),
                           "same_machine", (int)same, "max_recall_drop", b->options->max_recall_drop, "max_growth",
                           b->options->max_growth, "worse", (int)(json_array_size(g.regressions) > 0), "regressions",
                           g.regressions, "reported", g.reported)
               : NULL;
    json_decref(g.regressions);
    json_decref(g.reported);
    return status == OMEN_OK && !*out ? OMEN_ERR_MEMORY : status;
}
