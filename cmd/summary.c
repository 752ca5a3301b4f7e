/* SPDX-License-Identifier: Apache-2.0 */
/* The summaries of build and query, for people and as JSON. */
#include "cmd/cmd.h"

#include <math.h>
#include <stdio.h>

#define NEAR_COPIES_TOLD 0.01 /* of the rows, to be told of */
#define SPREAD_TOLD      5.0  /* of lengths of rows under ip, to be told of */

/* ---- build ---- */

/* Cold bytes a vector. */
static double share(const struct cmd_build_outcome *o, uint64_t n_bytes)
{
    return (double)n_bytes / (double)o->info.n_rows;
}

static double input_ratio(const struct cmd_build_outcome *o)
{
    uint32_t hot = o->info.code_bytes + o->info.factor_bytes;

    return hot > 0 ? 4.0 * o->info.d / hot : NAN;
}

/* Which tier the rows are kept in, and why: what it and smaller ones keep of the true neighbours. */
static void refine_line(const omen_build_report *report)
{
    if (report->refine_ceilings[report->refine] == 0)
        return;
    fprintf(stderr, "  refine  %s keeps ", omen_refine_name(report->refine));
    if (report->refine_ceilings[report->refine] == 1)
        fprintf(stderr, "all of the 10 nearest rows");
    else
        fprintf(stderr, "%.4f of the 10 nearest rows, by estimate", report->refine_ceilings[report->refine]);
    for (size_t i = 0; i < OMEN_N_REFINES; i++)
        if (i != (size_t)report->refine && report->refine_ceilings[i] > 0)
            fprintf(stderr, "; %s would keep %.4f", omen_refine_name((omen_refine)i), report->refine_ceilings[i]);
    fprintf(stderr, "\n");
}

void cmd_build_summary(const struct cmd_build_outcome *o, bool verbose)
{
    const omen_index_info *info = &o->info;
    uint32_t hot = info->code_bytes + info->factor_bytes;

    fprintf(stderr, "%s: %s x %u %s, %s %s, codec %s, refine %s\n", cmd_printable(o->output).text,
            cmd_group(info->n_rows).text, info->d, omen_metric_name(info->metric), cmd_group(info->lists.n).text,
            info->lists.n == 1 ? "list" : "lists", omen_codec_name(info->codec), omen_refine_name(info->refine));
    if (o->n_inputs > 1)
        fprintf(stderr, "  inputs  %s files, as one\n", cmd_group(o->n_inputs).text);
    fprintf(stderr, "  time    %.2f s with %d %s (%s)", o->seconds, o->report.n_threads,
            o->report.n_threads == 1 ? "thread" : "threads", omen_cpu_level());
    if (o->is_resumed)
        fprintf(stderr, ", continued from a checkpoint\n");
    else
        fprintf(stderr, ": %s vectors/s\n", cmd_group_round((double)info->n_rows / o->seconds).text);
    fprintf(stderr, "  stages ");
    for (uint32_t i = 0; i < o->report.n_stages; i++)
        fprintf(stderr, "%s %s %.2f", i > 0 ? "," : "", o->report.stages[i].name, o->report.stages[i].seconds);
    fprintf(stderr, " s\n");
    if (hot > 0) {
        fprintf(stderr, "  hot     %u bytes a vector: code %u, factors %u; 1/%.1f of float32 rows\n", hot,
                info->code_bytes, info->factor_bytes, input_ratio(o));
    }
    fprintf(stderr, "  cold    refine %.1f, ids %.1f, centroids %.1f, model %.1f bytes a vector\n",
            share(o, info->refine_bytes), share(o, info->id_bytes), share(o, info->centroid_bytes),
            share(o, info->model_bytes));
    if (info->graph.degree > 0)
        fprintf(stderr, "  graph   %.1f bytes a vector, %u neighbours each\n", share(o, info->graph.bytes),
                info->graph.degree);
    refine_line(&o->report);
    if (info->key_kind != OMEN_KEYS_NONE) {
        fprintf(stderr, "  keys    %s, %.1f bytes a vector\n", omen_key_kind_name(info->key_kind),
                share(o, info->key_bytes));
    }
    if (info->n_columns > 0)
        fprintf(stderr, "  columns %u, %.1f bytes a vector\n", info->n_columns, share(o, info->column_bytes));
    fprintf(stderr, "  file    %s bytes (%s), %.1f a vector\n", cmd_group(o->file_bytes).text,
            cmd_human_bytes(o->file_bytes).text, share(o, o->file_bytes));
    if (o->report.near_copies >= NEAR_COPIES_TOLD && o->report.near_copies <= OMEN_NEAR_COPIES_MOST)
        fprintf(stderr, "  sample  %.0f%% of the rows have a near copy\n", 100 * o->report.near_copies);
    if (!isnan(o->recall_most))
        fprintf(stderr, "  recall  @10: %s\n", o->reach.text);
    if (verbose) {
        fprintf(stderr, "  errors ");
        for (uint32_t i = 0; i < o->report.n_codec_errors; i++) {
            fprintf(stderr, "%s %s ", i > 0 ? "," : "", omen_codec_name(o->report.codec_errors[i].codec));
            fprintf(stderr, isnan(o->report.codec_errors[i].error) ? "not tried" : "%.4f",
                    o->report.codec_errors[i].error);
        }
        fputc('\n', stderr);
        fprintf(stderr, "  effort  %u lists probed, %u rows re-ranked on average by default (k = 10)\n",
                info->lists.default_probes, info->default_rerank);
    }
}

void cmd_norms_tell(const char *command, omen_metric metric, const omen_build_report *report)
{
    if (metric == OMEN_METRIC_L2 && report->norms.are_unit) {
        cmd_say(command,
                "note: rows have unit length (%s looked at), so l2 ranks them as cosine would; only distances differ",
                cmd_group(report->norms.n_rows).text);
    } else if (metric == OMEN_METRIC_IP && report->norms.spread >= SPREAD_TOLD) {
        cmd_say(command,
                "note: the longest tenth of the rows is at least %.3g times as long as the shortest tenth (%s looked "
                "at), and ip prefers long rows; -m cosine compares directions only",
                report->norms.spread, cmd_group(report->norms.n_rows).text);
    }
}

static json_t *stage_object(const struct cmd_build_outcome *o)
{
    json_t *out = json_object();

    for (uint32_t i = 0; i < o->report.n_stages; i++) {
        if (json_object_set_new(out, o->report.stages[i].name, cmd_json_real(o->report.stages[i].seconds)) != 0) {
            json_decref(out);
            return NULL;
        }
    }
    if (json_object_set_new(out, "total", cmd_json_real(o->seconds)) != 0) {
        json_decref(out);
        return NULL;
    }
    return out;
}

/* By tier, of those that were measured: the share of the 10 nearest rows that it keeps. */
static json_t *ceilings_object(const struct cmd_build_outcome *o)
{
    json_t *out = json_object();

    for (size_t i = 0; i < OMEN_N_REFINES; i++) {
        double ceiling = o->report.refine_ceilings[i];
        if (ceiling > 0 && json_object_set_new(out, omen_refine_name((omen_refine)i), cmd_json_real(ceiling)) != 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

/* Lengths of the sampled rows; null where a checkpoint made a sample needless. */
static json_t *norms_object(const struct cmd_build_outcome *o)
{
    const omen_build_report *r = &o->report;

    return r->norms.n_rows == 0 ? json_null()
                                : json_pack("{s:I, s:o, s:o, s:b, s:o}", "rows", (json_int_t)r->norms.n_rows, "least",
                                            cmd_json_real(r->norms.least), "most", cmd_json_real(r->norms.most), "unit",
                                            (int)r->norms.are_unit, "spread",
                                            r->norms.spread > 0 ? cmd_json_real(r->norms.spread) : json_null());
}

/* What the keys are, and what they take; null without. */
static json_t *keys_object(const struct cmd_build_outcome *o)
{
    return o->info.key_kind == OMEN_KEYS_NONE
               ? json_null()
               : json_pack("{s:s, s:o}", "kind", omen_key_kind_name(o->info.key_kind), "bytes_per_vector",
                           cmd_json_real(share(o, o->info.key_bytes)));
}

/* How many columns there are, and what they take; null without. */
static json_t *columns_object(const struct cmd_build_outcome *o)
{
    return o->info.n_columns == 0 ? json_null()
                                  : json_pack("{s:i, s:o}", "count", (int)o->info.n_columns, "bytes_per_vector",
                                              cmd_json_real(share(o, o->info.column_bytes)));
}

/* How many neighbours a row has, and what the graph takes; null without. */
static json_t *graph_object(const struct cmd_build_outcome *o)
{
    return o->info.graph.degree == 0 ? json_null()
                                     : json_pack("{s:I, s:o}", "degree", (json_int_t)o->info.graph.degree,
                                                 "bytes_per_vector", cmd_json_real(share(o, o->info.graph.bytes)));
}

int cmd_build_json(const char *command, const struct cmd_build_outcome *o)
{
    const omen_index_info *info = &o->info;
    const omen_row_hash hash = {o->report.row_hash[0], o->report.row_hash[1]};
    double hot = (double)info->code_bytes + info->factor_bytes;
    double cold = share(o, info->centroid_bytes) + share(o, info->refine_bytes) + share(o, info->id_bytes) +
                  share(o, info->model_bytes) + share(o, info->graph.bytes);

    json_t *out = json_pack(
        "{s:o, s:o, s:I, s:I, s:s, s:s, s:s, s:I, s:i, s:s, s:o, s:o,"
        " s:{s:I, s:I, s:o, s:o, s:o, s:o, s:o}, s:o, s:I, s:o}",
        "input", o->input ? cmd_json_text(o->input) : json_null(), "output", cmd_json_text(o->output), "n",
        (json_int_t)info->n_rows, "d", (json_int_t)info->d, "metric", omen_metric_name(info->metric), "codec",
        omen_codec_name(info->codec), "refine", omen_refine_name(info->refine), "lists", (json_int_t)info->lists.n,
        "threads", o->report.n_threads, "simd", omen_cpu_level(), "seconds", stage_object(o), "vectors_per_second",
        cmd_json_real(o->is_resumed ? NAN : (double)info->n_rows / o->seconds), "bytes_per_vector", "code",
        (json_int_t)info->code_bytes, "factors", (json_int_t)info->factor_bytes, "centroids",
        cmd_json_real(share(o, info->centroid_bytes)), "refine", cmd_json_real(share(o, info->refine_bytes)), "ids",
        cmd_json_real(share(o, info->id_bytes)), "model", cmd_json_real(share(o, info->model_bytes)), "total",
        cmd_json_real(hot + cold), "ratio_input", cmd_json_real(input_ratio(o)), "file_bytes",
        (json_int_t)o->file_bytes, "refine_ceilings", ceilings_object(o));

    for (uint32_t i = 0; i < o->report.n_codec_errors; i++) {
        char name[32];

        snprintf(name, sizeof name, "%s_error", omen_codec_name(o->report.codec_errors[i].codec));
        if (json_object_set_new(out, name, cmd_json_real(o->report.codec_errors[i].error)) != 0) {
            json_decref(out);
            out = NULL;
        }
    }
    if (out && (json_object_set_new(out, "inputs", json_integer((json_int_t)o->n_inputs)) != 0 ||
                json_object_set_new(out, "near_copies", cmd_json_real(o->report.near_copies)) != 0 ||
                json_object_set_new(out, "norms", norms_object(o)) != 0 ||
                json_object_set_new(out, "recall_most", cmd_json_real(o->recall_most)) != 0 ||
                json_object_set_new(out, "keys", keys_object(o)) != 0 ||
                json_object_set_new(out, "columns", columns_object(o)) != 0 ||
                json_object_set_new(out, "graph", graph_object(o)) != 0 ||
                json_object_set_new(out, "done", json_true()) != 0 ||
                json_object_set_new(out, "row_hash", cmd_json_row_hash(&hash)) != 0 ||
                json_object_set_new(out, "resumed", json_boolean(o->is_resumed)) != 0)) {
        json_decref(out);
        out = NULL;
    }
    return cmd_json_print(command, out, stdout);
}

/* ---- query ---- */

static double per_query(const struct cmd_query_outcome *o, uint64_t total)
{
    return o->stats.n_queries > 0 ? (double)total / (double)o->stats.n_queries : NAN;
}

void cmd_query_summary(const struct cmd_query_outcome *o)
{
    const omen_search_stats *stats = &o->stats;
    const uint64_t n_filtered =
        stats->filtered.nothing + stats->filtered.rows + stats->filtered.lists + stats->filtered.graph;

    fprintf(stderr, "%s queries, ", cmd_group(stats->n_queries).text);
    if (o->has_within)
        fprintf(stderr, "%s rows found within the distance", cmd_group(o->n_found).text);
    else
        fprintf(stderr, "k %u", o->k);
    fprintf(stderr, ", index %s x %u %s\n", cmd_group(o->info.n_rows).text, o->info.d,
            omen_metric_name(o->info.metric));
    fprintf(stderr, "  time     %.3f s of search with %d %s (%s): %s queries/s\n", o->search_seconds, o->n_threads,
            o->n_threads == 1 ? "thread" : "threads", omen_cpu_level(),
            cmd_group_round((double)stats->n_queries / o->search_seconds).text);
    fprintf(stderr, "  other    open %.3f, read %.3f, write %.3f s\n", o->open_seconds, o->read_seconds,
            o->write_seconds);
    fprintf(stderr, "  way      %s: %s\n", omen_search_way_name(o->choice.way), o->choice.reason);
    if (n_filtered > 0 && o->n_indexes == 1) { /* of several, each is searched by its own ways */
        fprintf(stderr, "  filters  %s queries compare all rows that pass", cmd_group(stats->filtered.rows).text);
        fprintf(stderr, ", %s go through lists", cmd_group(stats->filtered.lists).text);
        fprintf(stderr, ", %s through the graph", cmd_group(stats->filtered.graph).text);
        fprintf(stderr, ", for %s no row passes\n", cmd_group(stats->filtered.nothing).text);
    }
    if (o->exact) {
        fprintf(stderr, "  effort   exact\n");
    } else if (o->choice.way == OMEN_SEARCH_GRAPH) {
        fprintf(stderr, "  effort   by the query; where it was measured, %u rows re-ranked on average\n",
                stats->rerank);
    } else {
        fprintf(stderr, "  effort   by the query; where it was measured, %u lists and %u rows on average\n",
                stats->lists.probes, stats->rerank);
    }
    if (o->choice.way == OMEN_SEARCH_GRAPH) {
        fprintf(stderr, "  a query  %.1f graph codes compared, %.1f rows re-ranked\n",
                per_query(o, stats->graph.estimates), per_query(o, stats->rows_reranked));
        return;
    }
    fprintf(stderr, "  a query  %.1f lists probed, %.1f codes scanned, ", per_query(o, stats->lists.probed),
            per_query(o, stats->codes_scanned));
    if (stats->graph.estimates > 0)
        fprintf(stderr, "%.1f graph codes compared, ", per_query(o, stats->graph.estimates));
    fprintf(stderr, "%.1f rows re-ranked\n", per_query(o, stats->rows_reranked));
}

/* The recall that was measured; null if it was not. */
static json_t *audit_object(const struct cmd_query_outcome *o)
{
    if (o->n_audited == 0)
        return json_null();
    return json_pack("{s:o, s:o, s:o, s:f, s:I, s:I, s:o}", "recall", cmd_json_real(o->recall.mean), "low",
                     cmd_json_real(o->recall.low), "high", cmd_json_real(o->recall.high), "confidence", 0.95, "sample",
                     (json_int_t)o->n_audited, "queries", (json_int_t)o->n_in_batch, "ceiling",
                     cmd_json_real(o->ceiling));
}

/* A count of --within; null without. */
static json_t *count_within(const struct cmd_query_outcome *o, uint64_t n)
{
    return o->has_within ? json_integer((json_int_t)n) : json_null();
}

int cmd_query_json(const struct cmd_query_outcome *o)
{
    const omen_search_stats *stats = &o->stats;

    return cmd_json_print(
        "query",
        json_pack("{s:I, s:I, s:I, s:I, s:s, s:i, s:s, s:{s:o, s:o, s:o, s:o, s:o}, s:o, s:I, s:I, s:o, s:b, s:o, s:o,"
                  " s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:o}",
                  "queries", (json_int_t)stats->n_queries, "k", (json_int_t)o->k, "n", (json_int_t)o->info.n_rows, "d",
                  (json_int_t)o->info.d, "metric", omen_metric_name(o->info.metric), "threads", o->n_threads, "simd",
                  omen_cpu_level(), "seconds", "open", cmd_json_real(o->open_seconds), "read",
                  cmd_json_real(o->read_seconds), "search", cmd_json_real(o->search_seconds), "write",
                  cmd_json_real(o->write_seconds), "audit", cmd_json_real(o->audit_seconds), "queries_per_second",
                  cmd_json_real((double)stats->n_queries / o->search_seconds), "probes",
                  (json_int_t)stats->lists.probes, "rerank", (json_int_t)stats->rerank, "effort_factor",
                  o->exact ? json_null() : cmd_json_real((double)o->effort_factor), "exact", (int)o->exact,
                  "lists_probed", cmd_json_real(per_query(o, stats->lists.probed)), "codes_scanned",
                  cmd_json_real(per_query(o, stats->codes_scanned)), "rows_reranked",
                  cmd_json_real(per_query(o, stats->rows_reranked)), "audit", audit_object(o), "certified",
                  o->certified == CMD_CERTIFIED_UNASKED || o->certified == CMD_CERTIFIED_NOTHING
                      ? json_null()
                      : json_boolean(o->certified == CMD_CERTIFIED_YES),
                  "note", o->note.text[0] != '\0' ? cmd_json_text(o->note.text) : json_null(), "short",
                  o->has_filter && !o->has_within ? json_integer((json_int_t)o->n_short) : json_null(), "found",
                  count_within(o, o->n_found), "cut", count_within(o, o->n_cut), "way",
                  omen_search_way_name(o->choice.way), "way_reason", o->choice.reason, "graph_estimates",
                  cmd_json_real(per_query(o, stats->graph.estimates))),
        stderr);
}
