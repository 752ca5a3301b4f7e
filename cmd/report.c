/* SPDX-License-Identifier: Apache-2.0 */
/* What --json prints of a build or a step of one besides an index: a model, a shard, and work that stopped. */
#include "cmd/cmd.h"

#include <math.h>

/* Seconds of each stage. */
static json_t *seconds_object(const omen_build_report *report, double total)
{
    json_t *out = json_object();
    int failed = 0;

    for (uint32_t i = 0; i < report->n_stages; i++)
        failed |= json_object_set_new(out, report->stages[i].name, cmd_json_real(report->stages[i].seconds));
    failed |= json_object_set_new(out, "total", cmd_json_real(total));
    if (failed == 0)
        return out;
    json_decref(out);
    return NULL;
}

int cmd_report_stop(const char *command, const char *output, const struct cmd_stop *stop)
{
    const bool has_rows = stop->n_rows > 0;
    const int status = cmd_json_print(
        command,
        json_pack("{s:o, s:b, s:o, s:i, s:o, s:o, s:b}", "output", cmd_json_text(output), "done", 0, "why",
                  cmd_json_text(stop->why), "exit", stop->exit_code, "rows_done",
                  has_rows ? json_integer((json_int_t)stop->rows_done) : json_null(), "rows",
                  has_rows ? json_integer((json_int_t)stop->n_rows) : json_null(), "continues", (int)stop->continues),
        stdout);

    return status == CMD_EXIT_OK ? stop->exit_code : status;
}

int cmd_report_model(const struct cmd_build_outcome *o, omen_metric metric, uint64_t identity)
{
    char name[24];

    snprintf(name, sizeof name, "%016llx", (unsigned long long)identity);
    return cmd_json_print("train",
                          json_pack("{s:o, s:b, s:I, s:I, s:s, s:s, s:s, s:s, s:i, s:s, s:o, s:I, s:b}", "output",
                                    cmd_json_text(o->output), "done", 1, "n", (json_int_t)o->report.n_rows, "d",
                                    (json_int_t)o->report.d, "metric", omen_metric_name(metric), "codec",
                                    omen_codec_name(o->report.codec), "refine", omen_refine_name(o->report.refine),
                                    "identity", name, "threads", o->report.n_threads, "simd", omen_cpu_level(),
                                    "seconds", seconds_object(&o->report, o->seconds), "file_bytes",
                                    (json_int_t)o->file_bytes, "resumed", (int)o->is_resumed),
                          stdout);
}

int cmd_report_shard(const struct cmd_build_outcome *o, const omen_shard_info *shard, bool was_there)
{
    const omen_row_hash hash = {o->report.row_hash[0], o->report.row_hash[1]};
    char name[24];

    snprintf(name, sizeof name, "%016llx", (unsigned long long)shard->identity);
    return cmd_json_print(
        "build",
        json_pack("{s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:s, s:o, s:b, s:o, s:o, s:o, s:b}", "output",
                  cmd_json_text(o->output), "done", 1, "first", (json_int_t)shard->first, "rows", (json_int_t)shard->n,
                  "number", (json_int_t)shard->number, "count", (json_int_t)shard->count, "rows_of_all",
                  (json_int_t)shard->n_rows, "model", name, "row_hash", cmd_json_row_hash(&hash), "was_there",
                  (int)was_there, "threads", was_there ? json_null() : json_integer(o->report.n_threads), "seconds",
                  was_there ? json_null() : seconds_object(&o->report, o->seconds), "file_bytes",
                  was_there ? json_null() : json_integer((json_int_t)o->file_bytes), "resumed", (int)o->is_resumed),
        stdout);
}
