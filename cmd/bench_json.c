/* SPDX-License-Identifier: Apache-2.0 */
/* omendb bench as JSON, schema omendb-bench/1: docs/BENCH-JSON.md. */
#include "cmd/bench.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- writing ---- */

/* Sets a member and forgets about memory: a NULL value leaves the object without it, which finish() notices. */
static void put(json_t *object, const char *name, json_t *value)
{
    json_object_set_new(object, name, value);
}

/* Releases an object that lacks a member; every member was put with one call. */
static json_t *finish(json_t *object, size_t n_members)
{
    if (object && json_object_size(object) != n_members) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static json_t *integer(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *text_or_null(const char *text)
{
    return text ? cmd_json_text(text) : json_null();
}

static json_t *hash_text(uint64_t hash)
{
    char text[24];

    snprintf(text, sizeof text, "%016" PRIx64, hash);
    return json_string(text);
}

/* null if it was never measured */
static json_t *figure(const struct bench_figure *f)
{
    if (f->n_runs == 0)
        return json_null();
    return json_pack("{s:o, s:o, s:o, s:I}", "median", cmd_json_real(f->median), "min", cmd_json_real(f->low), "max",
                     cmd_json_real(f->high), "runs", (json_int_t)f->n_runs);
}

/* A recall wanted, as the user wrote it: 0.95, not the float's 0.949999988. */
static json_t *target(float value)
{
    return json_real(round((double)value * 1e6) / 1e6);
}

static json_t *machine_object(const struct bench *b)
{
    return json_pack("{s:o, s:i, s:s, s:i}", "cpu", cmd_json_text(bench_cpu_model()), "processors", omen_cpu_count(),
                     "simd", omen_cpu_level(), "threads", b->options->n_threads);
}

static json_t *data_object(const struct bench *b)
{
    json_t *out = json_object();

    put(out, "base", text_or_null(b->options->base_path));
    put(out, "queries", text_or_null(b->options->queries_path));
    put(out, "held_out", integer(b->n_held));
    put(out, "n", integer(b->info.n_rows));
    put(out, "d", integer(b->info.d));
    put(out, "metric", json_string(omen_metric_name(b->info.metric)));
    put(out, "n_queries", integer(b->n_queries));
    put(out, "base_hash", b->has_base ? hash_text(b->base_hash) : json_null());
    put(out, "queries_hash", hash_text(b->queries_hash));
    put(out, "truth_hash", b->has_truth ? hash_text(b->truth.hash) : json_null());
    return finish(out, 10);
}

static json_t *filter_object(const struct bench *b)
{
    const struct query_filter_options *options = &b->options->filter;
    const struct bench_filter *f = &b->filter;
    json_t *out = json_object();

    put(out, "only", text_or_null(options->only));
    put(out, "except", text_or_null(options->except));
    put(out, "where", text_or_null(options->where.text));
    put(out, "where_file", text_or_null(options->where.file));
    put(out, "where_tags", text_or_null(options->where.tags));
    put(out, "conditions", integer(f->rows.where.n));
    put(out, "rows_mean", cmd_json_real((double)f->n_compared / (double)b->n_queries));
    put(out, "rows_min", integer(f->least));
    put(out, "rows_median", integer(f->median));
    put(out, "rows_max", integer(f->most));
    put(out, "hash", hash_text(f->hash));
    return finish(out, 11);
}

static json_t *truth_object(const struct bench *b)
{
    static const char *const kinds[] = {"source", "refine", "file"};
    const struct bench_truth *truth = &b->truth;
    const bool searched = truth->seconds > 0;
    json_t *out = json_object();

    put(out, "origin", json_string(kinds[truth->kind]));
    put(out, "file", text_or_null(truth->kind == BENCH_TRUTH_FILE ? b->options->truth_path : NULL));
    put(out, "distances", json_string(!truth->distances ? "none" : b->has_base ? "source" : "refine"));
    put(out, "k", integer(truth->k));
    put(out, "seconds", searched ? json_real(truth->seconds) : json_null());
    put(out, "gflops",
        cmd_json_real(searched ? 2e-9 * (double)bench_truth_compared(b) * b->info.d / truth->seconds : NAN));
    return finish(out, 6);
}

static json_t *options_object(const struct bench *b)
{
    const struct bench_options *o = b->options;
    json_t *ks = json_array(), *recalls = json_array(), *probes = json_array(), *reranks = json_array();
    json_t *names = json_array(), *out = json_object();
    omen_search_way ways[2];
    const size_t n_ways = bench_ways(b, ways);
    bool complete = true;

    for (size_t i = 0; i < o->n_ks; i++)
        complete = json_array_append_new(ks, integer(o->ks[i])) == 0 && complete;
    for (size_t i = 0; i < o->n_recalls; i++)
        complete = json_array_append_new(recalls, target(o->recalls[i])) == 0 && complete;
    for (size_t i = 0; i < o->n_probes; i++)
        complete = json_array_append_new(probes, integer(o->probes[i])) == 0 && complete;
    for (size_t i = 0; i < o->n_reranks; i++)
        complete = json_array_append_new(reranks, integer(o->reranks[i])) == 0 && complete;
    put(out, "k", ks);
    put(out, "recall", recalls);
    put(out, "probes", probes);
    put(out, "rerank", reranks);
    put(out, "runs", integer(o->n_runs));
    put(out, "min_time", json_real(o->min_seconds));
    for (size_t i = 0; i < n_ways; i++)
        complete = json_array_append_new(names, json_string(omen_search_way_name(ways[i]))) == 0 && complete;
    put(out, "ways", names);
    return finish(out, complete ? 7 : 8);
}

static json_t *build_object(const struct bench *b)
{
    const struct bench_build *build = &b->build;
    const omen_build_options *options = &b->options->build;
    json_t *out = json_object(), *seconds = json_object();

    for (uint32_t i = 0; i < build->report.n_stages; i++)
        put(seconds, build->report.stages[i].name, cmd_json_real(build->report.stages[i].seconds));
    put(seconds, "commit", cmd_json_real(build->commit_seconds));
    put(seconds, "total", cmd_json_real(build->seconds));
    put(out, "bytes", integer(options->bytes));
    put(out, "codec", json_string(omen_codec_name(options->codec)));
    put(out, "refine", json_string(omen_refine_name(options->refine)));
    put(out, "lists", options->lists.n > 0 ? integer(options->lists.n) : json_null());
    put(out, "seed", integer(options->seed));
    put(out, "zero_ok", json_boolean(options->zero_ok));
    put(out, "threads", json_integer(build->report.n_threads));
    put(out, "seconds", finish(seconds, build->report.n_stages + 2));
    put(out, "vectors_per_second", cmd_json_real((double)b->info.n_rows / build->seconds));
    put(out, "peak_memory_bytes", integer(build->peak_bytes));
    return finish(out, 10);
}

static double share(const struct bench *b, uint64_t n_bytes)
{
    return (double)n_bytes / (double)b->info.n_rows;
}

static json_t *bytes_object(const struct bench *b)
{
    const omen_index_info *info = &b->info;
    const uint64_t cold =
        info->refine_bytes + info->id_bytes + info->centroid_bytes + info->model_bytes + info->graph.bytes;
    json_t *out = json_object();

    put(out, "code", integer(info->code_bytes));
    put(out, "factors", integer(info->factor_bytes));
    put(out, "refine", cmd_json_real(share(b, info->refine_bytes)));
    put(out, "ids", cmd_json_real(share(b, info->id_bytes)));
    put(out, "centroids", cmd_json_real(share(b, info->centroid_bytes)));
    put(out, "model", cmd_json_real(share(b, info->model_bytes)));
    put(out, "total", cmd_json_real(info->code_bytes + info->factor_bytes + share(b, cold)));
    put(out, "graph", cmd_json_real(share(b, info->graph.bytes)));
    return finish(out, 8);
}

static json_t *index_object(const struct bench *b)
{
    const omen_index_info *info = &b->info;
    json_t *out = json_object();

    put(out, "file", text_or_null(!b->temporary ? b->index_path : NULL));
    put(out, "codec", json_string(omen_codec_name(info->codec)));
    put(out, "refine", json_string(omen_refine_name(info->refine)));
    put(out, "lists", integer(info->lists.n));
    put(out, "bytes", integer(info->bytes));
    put(out, "seed", integer(info->seed));
    put(out, "zero_ok", json_boolean(info->zero_ok));
    put(out, "bytes_per_vector", bytes_object(b));
    put(out, "file_bytes", integer(b->file_bytes));
    put(out, "ratio", cmd_json_real(4.0 * info->d / share(b, b->file_bytes)));
    put(out, "open_seconds_cold", figure(&b->cold_open));
    put(out, "first_query_seconds_cold", figure(&b->cold_query));
    put(out, "open_seconds_warm", figure(&b->warm_open));
    return finish(out, 13);
}

json_t *bench_json_head(const struct bench *b)
{
    json_t *out = json_object();

    put(out, "schema", json_string(BENCH_SCHEMA));
    put(out, "version", json_string(OMEN_VERSION));
    put(out, "interrupted", json_boolean(b->interrupted));
    put(out, "machine", machine_object(b));
    put(out, "data", data_object(b));
    put(out, "truth", b->has_truth ? truth_object(b) : json_null());
    put(out, "filter", b->filter.is_given ? filter_object(b) : json_null());
    put(out, "options", options_object(b));
    put(out, "build", b->was_built ? build_object(b) : json_null());
    put(out, "index", index_object(b));
    put(out, "peak_memory_bytes", integer(b->peak_bytes));
    return finish(out, 11);
}

static json_t *point_object(const struct bench *b, const struct bench_point *p)
{
    json_t *out = json_object();

    put(out, "k", integer(p->k));
    put(out, "target", p->effort.target > 0 ? target(p->effort.target) : json_null());
    put(out, "probes", integer(p->effort.probes));
    put(out, "rerank", integer(p->effort.rerank));
    put(out, "recall_by_distance", cmd_json_real(p->recall_distance));
    put(out, "recall_by_id", cmd_json_real(p->recall_id));
    put(out, "dominated", json_boolean(p->dominated));
    put(out, "threads", json_integer(b->options->n_threads));
    put(out, "batch", figure(&p->all));
    put(out, "batch_one_thread", figure(&p->one));
    put(out, "single", figure(&p->single));
    put(out, "single_queries", integer(p->n_single));
    put(out, "p50_ms", figure(&p->p50));
    put(out, "p95_ms", figure(&p->p95));
    put(out, "p99_ms", figure(&p->p99));
    put(out, "lists_probed", cmd_json_real(p->lists_probed));
    put(out, "codes_scanned", cmd_json_real(p->codes_scanned));
    put(out, "rows_reranked", cmd_json_real(p->rows_reranked));
    put(out, "way", json_string(omen_search_way_name(p->effort.way)));
    put(out, "graph_estimates", cmd_json_real(p->graph_estimates));
    return finish(out, 20);
}

json_t *bench_json_points(const struct bench *b)
{
    json_t *out = json_array();

    for (size_t i = 0; i < b->n_points; i++) {
        if (json_array_append_new(out, point_object(b, &b->points[i])) != 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

/* ---- reading ---- */

/* A result of 512 points, the most there are, has less than one. */
#define MAX_FILE_BYTES ((size_t)4 << 20)

/* The value at a path of names with dots between; NULL if it is not there. */
static const json_t *find(const json_t *object, const char *path)
{
    char name[64];

    while (object && *path != '\0') {
        size_t length = strcspn(path, ".");

        snprintf(name, sizeof name, "%.*s", (int)length, path);
        object = json_object_get(object, name);
        path += length + (path[length] == '.');
    }
    return object;
}

double bench_json_number(const json_t *object, const char *path)
{
    const json_t *value = find(object, path);

    return json_is_number(value) ? json_number_value(value) : NAN;
}

const char *bench_json_string(const json_t *object, const char *path)
{
    const json_t *value = find(object, path);

    return json_is_string(value) ? json_string_value(value) : "";
}

/* What a member that is read somewhere has to be, if it is there: a file may come from anywhere. Numbers, and lengths
 * of lists, are within [low, high]. */
enum { TEXT, INTEGER, NUMBER, YES_NO, OBJECT, LIST, OR_NULL = 8 };

struct member {
    const char *path;
    int kind;
    double low, high;
};

static const struct member result_members[] = {
    {"version", TEXT, 0, 0},
    {"interrupted", YES_NO, 0, 0},
    {"machine", OBJECT, 0, 0},
    {"machine.cpu", TEXT, 0, 0},
    {"machine.simd", TEXT, 0, 0},
    {"machine.threads", INTEGER, 1, CMD_MAX_THREADS},
    {"data", OBJECT, 0, 0},
    {"data.n", INTEGER, 1, UINT32_MAX},
    {"data.d", INTEGER, 1, OMEN_MAX_DIM},
    {"data.metric", TEXT, 0, 0},
    {"data.n_queries", INTEGER, 1, 0x1p53},
    {"truth", OBJECT | OR_NULL, 0, 0},
    {"truth.origin", TEXT, 0, 0},
    {"truth.distances", TEXT, 0, 0},
    {"filter", OBJECT | OR_NULL, 0, 0},
    {"filter.only", TEXT | OR_NULL, 0, 0},
    {"filter.except", TEXT | OR_NULL, 0, 0},
    {"filter.where", TEXT | OR_NULL, 0, 0},
    {"filter.where_file", TEXT | OR_NULL, 0, 0},
    {"filter.where_tags", TEXT | OR_NULL, 0, 0},
    {"filter.rows_mean", NUMBER, 0, UINT32_MAX},
    {"filter.hash", TEXT, 0, 0},
    {"options", OBJECT, 0, 0},
    {"options.k", LIST, 1, BENCH_MAX_KS},
    {"options.recall", LIST, 0, BENCH_MAX_EFFORTS},
    {"options.probes", LIST, 0, BENCH_MAX_GRID},
    {"options.rerank", LIST, 0, BENCH_MAX_GRID},
    {"build", OBJECT | OR_NULL, 0, 0},
    {"build.seconds", OBJECT, 0, 0},
    {"build.seconds.total", NUMBER, 0, 1e12},
    {"index", OBJECT, 0, 0},
    {"index.lists", INTEGER, 1, UINT32_MAX},
    {"index.bytes_per_vector", OBJECT, 0, 0},
    {"index.bytes_per_vector.code", NUMBER, 0, 1e9},
    {"index.bytes_per_vector.factors", NUMBER, 0, 1e9},
    {"index.bytes_per_vector.total", NUMBER, 0, 1e9},
    {"index.file_bytes", NUMBER, 0, 0x1p63},
    {"options.ways", LIST, 0, 2},
    {"points", LIST, 0, 2 * BENCH_MAX_KS *BENCH_MAX_EFFORTS},
};

static const struct member k_member = {"", INTEGER, 1, INT32_MAX};

static const struct member point_members[] = {
    {"", OBJECT, 0, 0},
    {"k", INTEGER, 1, INT32_MAX},
    {"target", NUMBER | OR_NULL, 0, 1},
    {"probes", INTEGER, 0, INT32_MAX},
    {"way", TEXT, 0, 0},
    {"rerank", INTEGER, 0, INT32_MAX},
    {"recall_by_distance", NUMBER | OR_NULL, 0, 1},
    {"recall_by_id", NUMBER, 0, 1},
    {"dominated", YES_NO, 0, 0},
    {"batch", OBJECT | OR_NULL, 0, 0},
    {"batch.median", NUMBER, 1e-9, 1e15},
    {"batch.min", NUMBER, 1e-9, 1e15},
    {"batch.max", NUMBER, 1e-9, 1e15},
};

static bool is_fitting(const json_t *value, const struct member *member)
{
    const double number = json_is_number(value) ? json_number_value(value) : NAN;

    if (json_is_null(value) && (member->kind & OR_NULL) != 0)
        return true;
    switch (member->kind & ~OR_NULL) {
    case TEXT:
        return json_is_string(value);
    case INTEGER:
        return json_is_integer(value) && number >= member->low && number <= member->high;
    case NUMBER:
        return number >= member->low && number <= member->high;
    case YES_NO:
        return json_is_boolean(value);
    case OBJECT:
        return json_is_object(value);
    default: /* LIST */
        return json_is_array(value) && (double)json_array_size(value) >= member->low &&
               (double)json_array_size(value) <= member->high;
    }
}

/* A value for a message; the caller frees it. NULL if out of memory, and for long ones. */
static char *value_text(const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(7));

    if (text && strlen(text) > 80) {
        free(text);
        text = NULL;
    }
    return text;
}

/* Checks members of object, which is called name in the file. */
static int check_members(const json_t *object, const char *name, const struct member *members, size_t n,
                         omen_detail *why)
{
    for (size_t i = 0; i < n; i++) {
        const json_t *value = find(object, members[i].path);

        if (value && !is_fitting(value, &members[i])) {
            char *text = value_text(value);

            omen_fail(why, OMEN_ERR_INPUT, "%s%s%s cannot be %s", name,
                      name[0] != '\0' && members[i].path[0] != '\0' ? "." : "", members[i].path,
                      text ? text : "what it is");
            free(text);
            return OMEN_ERR_INPUT;
        }
    }
    return OMEN_OK;
}

static int check_result(const json_t *result, omen_detail *why)
{
    const json_t *ks = find(result, "options.k"), *points = find(result, "points");
    int status = check_members(result, "", result_members, sizeof result_members / sizeof result_members[0], why);

    if (status == OMEN_OK && strcmp(bench_json_string(result, "schema"), BENCH_SCHEMA) != 0)
        status = omen_fail(why, OMEN_ERR_INPUT, "its schema is not %s", BENCH_SCHEMA);
    if (status == OMEN_OK && !points)
        status = omen_fail(why, OMEN_ERR_INPUT, "it has no points");
    for (size_t i = 0; status == OMEN_OK && i < json_array_size(ks); i++)
        status = check_members(json_array_get(ks, i), "options.k[]", &k_member, 1, why);
    for (size_t i = 0; status == OMEN_OK && i < json_array_size(points); i++) {
        status = check_members(json_array_get(points, i), "points[]", point_members,
                               sizeof point_members / sizeof point_members[0], why);
    }
    return status;
}

/* The whole file, no more than MAX_FILE_BYTES of it. *text is the caller's to free. */
static int read_file(const char *path, char **text, size_t *n_bytes, omen_detail *why)
{
    FILE *file = fopen(path, "re");
    int status = OMEN_OK;

    *text = malloc(MAX_FILE_BYTES + 1);
    if (!file) {
        status = omen_fail(why, OMEN_ERR_IO, "cannot open \"%s\": %m", path);
    } else if (!*text) {
        status = OMEN_ERR_MEMORY;
    } else {
        *n_bytes = fread(*text, 1, MAX_FILE_BYTES + 1, file);
        if (ferror(file))
            status = omen_fail(why, OMEN_ERR_IO, "cannot read \"%s\": %m", path);
        else if (*n_bytes > MAX_FILE_BYTES)
            status = omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is too long for a result of omendb bench --json", path);
    }
    if (file)
        fclose(file);
    return status;
}

int bench_json_load(json_t **out, const char *path, omen_detail *why)
{
    omen_detail reason = {.text = ""};
    json_error_t error;
    size_t n_bytes = 0;
    char *text = NULL;
    int status = read_file(path, &text, &n_bytes, why);

    *out = NULL;
    if (status == OMEN_OK) {
        *out = json_loadb(text, n_bytes, JSON_REJECT_DUPLICATES, &error);
        if (!*out) {
            status =
                json_error_code(&error) == json_error_out_of_memory
                    ? OMEN_ERR_MEMORY
                    : omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is no JSON: line %d: %s", path, error.line, error.text);
        }
    }
    free(text);
    if (status == OMEN_OK) {
        status = check_result(*out, &reason);
        if (status != OMEN_OK)
            omen_fail(why, status, "\"%s\" is no result of omendb bench --json: %s", path, reason.text);
    }
    if (status != OMEN_OK) {
        json_decref(*out);
        *out = NULL;
    }
    return status;
}
