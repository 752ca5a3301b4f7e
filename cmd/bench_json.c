/* omendb bench as JSON, schema omendb-bench/1: docs/BENCH-JSON.md. */
#include "cmd/bench.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
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
    if (object != NULL && json_object_size(object) != n_members) {
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
    return text != NULL ? cmd_json_text(text) : json_null();
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
    if (f->n_runs == 0) {
        return json_null();
    }
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

static json_t *truth_object(const struct bench *b)
{
    static const char *const kinds[] = {"source", "refine", "file"};
    const struct bench_truth *truth = &b->truth;
    const bool searched = truth->seconds > 0;
    json_t *out = json_object();

    put(out, "origin", json_string(kinds[truth->kind]));
    put(out, "file", text_or_null(truth->kind == BENCH_TRUTH_FILE ? b->options->truth_path : NULL));
    put(out, "distances", json_string(truth->distances == NULL ? "none" : b->has_base ? "source" : "refine"));
    put(out, "k", integer(truth->k));
    put(out, "seconds", searched ? json_real(truth->seconds) : json_null());
    put(out, "gflops",
        cmd_json_real(searched ? 2e-9 * (double)b->info.n_rows * (double)b->n_queries * b->info.d / truth->seconds
                               : NAN));
    return finish(out, 6);
}

static json_t *options_object(const struct bench *b)
{
    const struct bench_options *o = b->options;
    json_t *ks = json_array(), *recalls = json_array(), *probes = json_array(), *reranks = json_array();
    json_t *out = json_object();
    bool complete = true;

    for (size_t i = 0; i < o->n_ks; i++) {
        complete = json_array_append_new(ks, integer(o->ks[i])) == 0 && complete;
    }
    for (size_t i = 0; i < o->n_recalls; i++) {
        complete = json_array_append_new(recalls, target(o->recalls[i])) == 0 && complete;
    }
    for (size_t i = 0; i < o->n_probes; i++) {
        complete = json_array_append_new(probes, integer(o->probes[i])) == 0 && complete;
    }
    for (size_t i = 0; i < o->n_reranks; i++) {
        complete = json_array_append_new(reranks, integer(o->reranks[i])) == 0 && complete;
    }
    put(out, "k", ks);
    put(out, "recall", recalls);
    put(out, "probes", probes);
    put(out, "rerank", reranks);
    put(out, "runs", integer(o->n_runs));
    put(out, "min_time", json_real(o->min_seconds));
    return finish(out, complete ? 6 : 7);
}

static json_t *build_object(const struct bench *b)
{
    const struct bench_build *build = &b->build;
    json_t *out = json_object(), *seconds = json_object();

    for (int i = 0; i < OMEN_N_STAGES; i++) {
        put(seconds, omen_stage_name(i), cmd_json_real(build->report.stage_seconds[i]));
    }
    put(seconds, "commit", cmd_json_real(build->commit_seconds));
    put(seconds, "total", cmd_json_real(build->seconds));
    put(out, "bytes", integer(b->options->build.bytes));
    put(out, "seed", integer(b->options->build.seed));
    put(out, "threads", json_integer(build->report.n_threads));
    put(out, "seconds", finish(seconds, OMEN_N_STAGES + 2));
    put(out, "vectors_per_second", cmd_json_real((double)b->info.n_rows / build->seconds));
    put(out, "peak_memory_bytes", integer(build->peak_bytes));
    return finish(out, 6);
}

static double share(const struct bench *b, uint64_t n_bytes)
{
    return (double)n_bytes / (double)b->info.n_rows;
}

static json_t *bytes_object(const struct bench *b)
{
    const omen_index_info *info = &b->info;
    const uint64_t cold = info->refine_bytes + info->id_bytes + info->centroid_bytes + info->model_bytes;
    json_t *out = json_object();

    put(out, "code", integer(info->code_bytes));
    put(out, "factors", integer(info->factor_bytes));
    put(out, "refine", cmd_json_real(share(b, info->refine_bytes)));
    put(out, "ids", cmd_json_real(share(b, info->id_bytes)));
    put(out, "centroids", cmd_json_real(share(b, info->centroid_bytes)));
    put(out, "model", cmd_json_real(share(b, info->model_bytes)));
    put(out, "total", cmd_json_real(info->code_bytes + info->factor_bytes + share(b, cold)));
    return finish(out, 7);
}

static json_t *index_object(const struct bench *b)
{
    const omen_index_info *info = &b->info;
    json_t *out = json_object();

    put(out, "file", text_or_null(b->temporary == NULL ? b->index_path : NULL));
    put(out, "codec", json_string(omen_codec_name(info->codec)));
    put(out, "refine", json_string(omen_refine_name(info->refine)));
    put(out, "lists", integer(info->n_lists));
    put(out, "bytes_per_vector", bytes_object(b));
    put(out, "file_bytes", integer(b->file_bytes));
    put(out, "ratio", cmd_json_real(4.0 * info->d / share(b, b->file_bytes)));
    put(out, "open_seconds_cold", figure(&b->cold_open));
    put(out, "first_query_seconds_cold", figure(&b->cold_query));
    put(out, "open_seconds_warm", figure(&b->warm_open));
    return finish(out, 10);
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
    put(out, "options", options_object(b));
    put(out, "build", b->was_built ? build_object(b) : json_null());
    put(out, "index", index_object(b));
    put(out, "peak_memory_bytes", integer(b->peak_bytes));
    return finish(out, 10);
}

static json_t *point_object(const struct bench *b, const struct bench_point *p)
{
    json_t *out = json_object();

    put(out, "k", integer(p->k));
    put(out, "target", p->target > 0 ? target(p->target) : json_null());
    put(out, "probes", integer(p->probes));
    put(out, "rerank", integer(p->rerank));
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
    return finish(out, 18);
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

int bench_json_load(json_t **out, const char *path, omen_detail *why)
{
    json_error_t error;
    FILE *file = fopen(path, "re");

    *out = NULL;
    if (file == NULL) {
        return omen_fail(why, OMEN_ERR_IO, "cannot open \"%s\": %m", path);
    }
    *out = json_loadf(file, 0, &error);
    fclose(file);
    if (*out == NULL) {
        return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is no JSON: line %d: %s", path, error.line, error.text);
    }
    if (strcmp(bench_json_string(*out, "schema"), BENCH_SCHEMA) != 0 ||
        !json_is_array(json_object_get(*out, "points"))) {
        json_decref(*out);
        *out = NULL;
        return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is no result of omendb bench --json (schema %s)", path,
                         BENCH_SCHEMA);
    }
    return OMEN_OK;
}

/* The value at a path of names with dots between; NULL if it is not there. */
static const json_t *find(const json_t *object, const char *path)
{
    char name[64];

    while (object != NULL && *path != '\0') {
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
