/* SPDX-License-Identifier: Apache-2.0 */
/* What all stages of a build use: their names, progress and failures. */
#include <stdio.h>

#include "lib/build_state.h"

static const char *const stage_names[OMEN_N_STAGES] = {"sample", "transform", "partition", "codec",
                                                       "encode", "order",     "graph",     "calibrate"};

const char *omen_stage_name(omen_stage stage)
{
    return stage_names[stage];
}

int omen_build_no_memory(omen_build_state *b)
{
    if (!b->source) /* a graph for an index that there is */
        return omen_fail(b->why, OMEN_ERR_MEMORY, "out of memory for a graph");
    return omen_fail(b->why, OMEN_ERR_MEMORY, "out of memory for %llu x %u vectors",
                     (unsigned long long)b->source->n_rows, b->source->d);
}

omen_row_label omen_build_row_label(const omen_build_state *b, uint64_t row)
{
    const omen_source_part *parts = b->options->parts;
    omen_row_label out;
    size_t i = 0;
    while (i < b->options->n_parts && row >= parts[i].n_rows)
        row -= parts[i++].n_rows;
    if (i < b->options->n_parts)
        snprintf(out.text, sizeof out.text, "row %llu of %.300s", (unsigned long long)row, parts[i].name);
    else if (b->source->name)
        snprintf(out.text, sizeof out.text, "row %llu of %.300s", (unsigned long long)row, b->source->name);
    else
        snprintf(out.text, sizeof out.text, "row %llu", (unsigned long long)row);
    return out;
}

omen_watch omen_build_watch(const omen_build_state *b, omen_stage stage)
{
    return omen_watch_make(b->options->progress, b->options->progress_context, stage_names[stage]);
}

int omen_build_status(omen_build_state *b, int status)
{
    if (status == OMEN_ERR_MEMORY)
        return omen_build_no_memory(b);
    return status == OMEN_ERR_INTERRUPTED ? omen_fail(b->why, status, "interrupted") : status;
}

int omen_build_progress(omen_build_state *b, omen_stage stage, uint64_t done, uint64_t total)
{
    const omen_build_options *o = b->options;
    if (o->progress && o->progress(o->progress_context, stage_names[stage], done, total))
        return omen_fail(b->why, OMEN_ERR_INTERRUPTED, "interrupted");
    return OMEN_OK;
}
