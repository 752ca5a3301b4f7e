/* SPDX-License-Identifier: Apache-2.0 */
/* The build: a row source in, the sections of an index out.
 *
 * Stages: sample rows; transform (PCA); partition (centroids of the inverted lists); codec (trained on residuals of the
 * sample; "auto" tries both and keeps the one with the smaller error on rows not trained on); encode, the one pass over
 * all rows, in blocks that stay in cache; order, which writes codes and refine rows in list order; calibrate, which
 * measures the default search effort on the finished index.
 *
 * Every row is treated alike whatever block or thread it falls to, so the bytes depend on input and options only. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/build_state.h"
#include "lib/graph/graph.h"
#include "lib/refine.h"
#include "lib/sized.h"

void(omen_build_options_init)(omen_build_options *options, size_t struct_bytes)
{
    const omen_build_options defaults = {
        .metric = OMEN_METRIC_L2, .codec = OMEN_CODEC_AUTO, .refine = OMEN_REFINE_AUTO, .bytes = OMEN_DEFAULT_BYTES};
    omen_sized_init(options, struct_bytes, &defaults, sizeof defaults);
}

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- the whole ---- */

static int init_runs(omen_build_state *b)
{
    const int status = omen_runs_init(&b->runs, b->n_lists, b->model.n_sub / 2, b->model.n_factors,
                                      omen_refine_row_bytes(b->refine, b->transform.d), b->checkpoint, &b->truth);
    return status == OMEN_OK ? OMEN_OK : omen_build_no_memory(b);
}

/* Takes over what the checkpoint has, or begins it. Sets first_stage. */
static int resume(omen_build_state *b)
{
    const omen_checkpoint *c = b->checkpoint;
    omen_record record;
    bool begun; /* more is there than what a shard begins with */
    bool *replaced = NULL;
    uint32_t n = 0;
    uint64_t n_linked = 0;
    int status = omen_records_describe(&b->records, b->source, b->options, b->n_lists, b->why);
    if (status != OMEN_OK)
        return status;
    if (!c->get(c->self, 0, &record))
        return omen_records_save_head(&b->records, c, b->why);
    /* the head tells whether the rest is of this build, whose options tell how long the rest can be */
    if (omen_records_may_be_head(record.n_bytes)) {
        status = c->prove(c->self, 1, NULL, NULL, b->why);
        if (status != OMEN_OK)
            return status;
        if (!c->get(c->self, 0, &record))
            return omen_records_save_head(&b->records, c, b->why);
    }
    status = omen_records_check_head(&b->records, b->source, b->options, c, b->why);
    if (status == OMEN_OK)
        status = omen_records_check_lengths(b->source, b->options, b->n_lists, c, b->why);
    if (status == OMEN_OK)
        status = c->prove(c->self, UINT32_MAX, b->options->progress, b->options->progress_context, b->why);
    if (status == OMEN_OK)
        status = omen_records_find_replaced(c, &replaced, &n, b->why);
    for (uint32_t i = 1; status == OMEN_OK && i < n && c->get(c->self, i, &record); i++) {
        if (replaced[i]) {
            if (record.kind == OMEN_RECORD_RUN && c->drop) /* a kill came first */
                status = c->drop(c->self, i, 1, b->why);
            continue;
        }
        switch (record.kind) {
        case OMEN_RECORD_TRANSFORM:
            status = omen_records_load_transform(&b->records, &b->transform, &b->refine_centre, b->source, b->options,
                                                 c, i, b->why);
            b->identity = b->records.transform.identity;
            b->refine = (omen_refine)b->records.transform.refine;
            memcpy(b->refine_ceilings, b->records.transform.refine_ceilings, sizeof b->refine_ceilings);
            b->first_stage = OMEN_STAGE_PARTITION;
            break;
        case OMEN_RECORD_PARTITION:
            status =
                omen_records_load_partition(&b->records, &b->partition, b->n_lists, b->transform.d_kept, c, i, b->why);
            b->first_stage = OMEN_STAGE_CODEC;
            break;
        case OMEN_RECORD_CODEC:
            status = omen_records_load_codec(&b->records, &b->model, b->options, b->transform.d_kept, c, i, b->why);
            if (status == OMEN_OK)
                status = init_runs(b);
            b->first_stage = OMEN_STAGE_ENCODE;
            break;
        case OMEN_RECORD_QUERIES:
            status = omen_records_load_queries(&b->records, &b->truth, b->source, b->options, c, i, b->why);
            b->has_queries = true;
            break;
        case OMEN_RECORD_LINKS: /* read by their stage */
        case OMEN_RECORD_EDGES:
            if (b->n_encoded < b->end)
                status = omen_records_contradiction(b->why);
            break;
        default:
            status = omen_runs_restore(&b->runs, i, record.n_bytes, b->n_encoded, b->end, b->why);
            if (status == OMEN_OK)
                b->n_encoded += b->runs.runs[b->runs.n_runs - 1].n_rows;
            if (status == OMEN_OK)
                status = omen_build_encode_progress(b, b->n_encoded);
        }
    }
    free(replaced);
    if (b->n_encoded == b->end)
        b->first_stage = OMEN_STAGE_ORDER;
    if (status == OMEN_OK && b->options->graph.wanted) /* order is done again before */
        status = omen_graph_records_count(c, OMEN_RECORD_LINKS, omen_build_degree(b), &n_linked, b->why);
    if (n_linked > 0)
        b->first_stage = OMEN_STAGE_GRAPH;
    const omen_build_extent extent = b->options->extent;
    const bool is_complete = extent == OMEN_BUILD_MERGE || b->options->again;
    if (status == OMEN_OK &&
        ((extent == OMEN_BUILD_SHARD && !b->has_queries) || (is_complete && b->first_stage < OMEN_STAGE_ORDER)))
        return omen_records_contradiction(b->why);
    begun = extent != OMEN_BUILD_SHARD || b->runs.n_runs > 0;
    if (status == OMEN_OK && begun && b->first_stage > OMEN_STAGE_SAMPLE && b->options->resumed)
        b->options->resumed(b->options->progress_context, omen_stage_name(b->first_stage),
                            n_linked > 0 ? n_linked : b->n_encoded, b->source->n_rows);
    return status;
}

/* The same input, encoded with the same model. */
static uint64_t identity_of(const omen_build_state *b)
{
    const uint64_t *head = b->records.head;
    const uint64_t facts[] = {head[OMEN_HEAD_MODEL], head[OMEN_HEAD_N_ROWS], head[OMEN_HEAD_CONTENT]};
    return XXH3_64bits(facts, sizeof facts);
}

/* Takes over the models that options.model has and the checkpoint has not, and saves them there. */
static int take_models(omen_build_state *b)
{
    const omen_checkpoint *c = b->checkpoint, *model = b->options->model;
    const omen_stage from = b->first_stage > OMEN_STAGE_TRANSFORM ? b->first_stage : OMEN_STAGE_TRANSFORM;
    int status = omen_records_check_model(&b->records, model, b->why);
    if (status == OMEN_OK)
        status = omen_records_check_lengths(b->source, b->options, b->n_lists, model, b->why);
    if (status == OMEN_OK && from <= OMEN_STAGE_TRANSFORM) {
        status = omen_build_read_sample(b); /* the transform that it begins is replaced */
        if (status == OMEN_OK)
            status = omen_records_load_transform(&b->records, &b->transform, &b->refine_centre, b->source, b->options,
                                                 model, 1, b->why);
        b->identity = identity_of(b);
        b->refine = (omen_refine)b->records.transform.refine;
        if (status == OMEN_OK) /* what rounding costs is told of these rows, not of those that chose the tier */
            status = omen_build_measure_refine(b);
        free(b->sample);
        b->sample = NULL;
        memcpy(b->records.transform.refine_ceilings, b->refine_ceilings, sizeof b->refine_ceilings);
        if (status == OMEN_OK && c)
            status = omen_records_save_transform(&b->records, &b->transform, b->refine_centre, b->identity, c, b->why);
    }
    if (status == OMEN_OK && from <= OMEN_STAGE_PARTITION) {
        status =
            omen_records_load_partition(&b->records, &b->partition, b->n_lists, b->transform.d_kept, model, 2, b->why);
        if (status == OMEN_OK && c)
            status = omen_records_save_partition(&b->records, &b->partition, c, b->why);
    }
    if (status == OMEN_OK)
        status = omen_records_load_codec(&b->records, &b->model, b->options, b->transform.d_kept, model, 3, b->why);
    if (status == OMEN_OK && c)
        status = omen_records_save_codec(&b->records, &b->model, c, b->why);
    b->first_stage = OMEN_STAGE_ENCODE;
    return status == OMEN_OK ? init_runs(b) : status;
}

static void fill_meta(omen_build_state *b)
{
    b->meta = (omen_meta){
        .n_rows = b->source->n_rows,
        .d = b->transform.d,
        .d_full = b->transform.d_full,
        .d_kept = b->transform.d_kept,
        .metric = b->options->metric,
        .codec = b->model.kind,
        .refine = b->refine,
        .n_lists = b->n_lists,
        .n_sub = b->model.n_sub,
        .n_factors = b->model.n_factors,
        .n_active = b->model.n_active,
        .d_used = b->model.d_used,
        .bytes = b->options->bytes,
        .seed = b->options->seed,
        .ip_radius2 = b->transform.ip_radius2,
        .flags = (b->options->zero_ok ? OMEN_META_FLAG_ZERO_OK : 0) | (b->refine_centre ? OMEN_META_FLAG_CENTRED : 0),
        .code_scale = b->code_scale,
        .refine_ceiling = b->refine_ceilings[b->refine],
    };
}

static int make_queries(omen_build_state *b)
{
    const int status = omen_build_read_queries(b);
    return status == OMEN_OK && b->checkpoint ? omen_records_save_queries(&b->records, &b->truth, b->checkpoint, b->why)
                                              : status;
}

/* A training stage: what it makes is saved; on a resumed build it does only what later stages need of it. */
static int run_training(omen_build_state *b, omen_stage stage)
{
    const omen_checkpoint *c = b->checkpoint;
    const bool made = stage < b->first_stage;
    int status = OMEN_OK;
    if (b->first_stage > OMEN_STAGE_CODEC)
        return stage == OMEN_STAGE_CODEC && !b->has_queries ? make_queries(b) : OMEN_OK;
    switch (stage) {
    case OMEN_STAGE_SAMPLE:
        return omen_build_read_sample(b);
    case OMEN_STAGE_TRANSFORM:
        if (!made)
            status = omen_build_fit_transform(b);
        if (!made && status == OMEN_OK)
            status = omen_build_choose_refine(b);
        b->records.transform.refine = b->refine;
        memcpy(b->records.transform.refine_ceilings, b->refine_ceilings, sizeof b->refine_ceilings);
        if (!made && status == OMEN_OK && c)
            status = omen_records_save_transform(&b->records, &b->transform, b->refine_centre, b->identity, c, b->why);
        return status == OMEN_OK ? omen_build_project_sample(b) : status;
    case OMEN_STAGE_PARTITION:
        if (made)
            return omen_build_pull_sample(b);
        status = omen_build_train_partition(b);
        if (status != OMEN_OK)
            return status;
        return c ? omen_records_save_partition(&b->records, &b->partition, c, b->why) : OMEN_OK;
    default:
        status = omen_build_train_codec(b);
        free(b->transformed);
        b->transformed = NULL;
        if (status == OMEN_OK && c)
            status = omen_records_save_codec(&b->records, &b->model, c, b->why);
        if (status == OMEN_OK)
            status = init_runs(b);
        return status == OMEN_OK ? make_queries(b) : status;
    }
}

static int run_stage(omen_build_state *b, omen_stage stage)
{
    switch (stage) {
    case OMEN_STAGE_ENCODE:
        return omen_build_encode(b);
    case OMEN_STAGE_ORDER:
        fill_meta(b);
        return omen_build_order(b);
    case OMEN_STAGE_GRAPH:
        return omen_build_graph(b);
    case OMEN_STAGE_CALIBRATE:
        return b->options->codes_only ? OMEN_OK : omen_build_calibrate(b);
    default:
        return run_training(b, stage);
    }
}

/* The stage that a build ends with. */
static omen_stage last_stage(omen_build_extent extent)
{
    return extent == OMEN_BUILD_MODEL   ? OMEN_STAGE_CODEC
           : extent == OMEN_BUILD_SHARD ? OMEN_STAGE_ENCODE
                                        : OMEN_STAGE_CALIBRATE;
}

int omen_index_build(const omen_source *source, const omen_build_options *options, const omen_sink *sink,
                     const omen_checkpoint *checkpoint, omen_build_report *report, omen_detail *why)
{
    omen_build_report made;
    omen_build_options known;
    int status = omen_sized_take(&known, sizeof known, options, "omen_build_options", why);
    if (status == OMEN_OK && report)
        status = omen_sized_take(&made, sizeof made, report, "omen_build_report", why);
    if (status != OMEN_OK)
        return status;
    options = &known;
    omen_build_state b = {.source = source,
                          .options = options,
                          .sink = sink,
                          .checkpoint = checkpoint,
                          .report = &made,
                          .plan.struct_bytes = sizeof b.plan,
                          .why = why};
    status = omen_build_plan_make(source, options, checkpoint, &b.plan, why);
    if (status != OMEN_OK)
        return status;
    if (options->model && (options->extent != OMEN_BUILD_ALL || options->codes_only))
        return omen_fail(why, OMEN_ERR_ARGUMENT, "options.model is of all of an index");
    if (options->extent != OMEN_BUILD_ALL && !checkpoint)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "a part of a build is made into a checkpoint");
    if (options->again && options->extent != OMEN_BUILD_SHARD)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "options.again is of a shard");
    b.end = source->n_rows;
    if (options->extent == OMEN_BUILD_SHARD) {
        b.n_encoded = options->shard.first;
        b.end = options->shard.first + options->shard.n;
    }
    b.n_threads = options->n_threads > 0 ? options->n_threads : omen_cpu_count();
    b.n_lists = options->lists.n ? options->lists.n : omen_build_lists(source->n_rows, source->d, options->bytes);
    b.transform.metric = options->metric;
    *b.report = (omen_build_report){.struct_bytes = sizeof made,
                                    .n_rows = source->n_rows,
                                    .d = source->d,
                                    .n_threads = b.n_threads,
                                    .n_codec_errors = OMEN_N_CODECS,
                                    .near_copies = NAN};
    for (size_t i = 0; i < OMEN_N_CODECS; i++)
        b.records.codec.errors[i] = NAN;
    b.report->few_training_rows = b.n_lists > 1 && source->n_rows / b.n_lists < BUILD_ROWS_A_LIST;
    const int threads_before = omp_get_max_threads();
    omp_set_num_threads(b.n_threads);
    if (checkpoint)
        status = resume(&b);
    else if (options->model)
        status = omen_records_describe(&b.records, source, options, b.n_lists, why);
    if (status == OMEN_OK && options->model && b.first_stage < OMEN_STAGE_ENCODE)
        status = take_models(&b);
    for (omen_stage stage = 0; stage <= last_stage(options->extent) && status == OMEN_OK; stage++) {
        if (stage == OMEN_STAGE_GRAPH && !options->graph.wanted)
            continue;
        const double start = now_seconds();
        const uint32_t number = b.report->n_stages++;
        b.report->stages[number].name = omen_stage_name(stage);
        status = omen_build_progress(&b, stage, 0, 1);
        if (status == OMEN_OK)
            status = run_stage(&b, stage);
        b.report->stages[number].seconds = now_seconds() - start;
    }
    b.report->codec = b.model.kind;
    for (uint32_t i = 0; i < OMEN_N_CODECS; i++) {
        b.report->codec_errors[i].codec = i + 1;
        b.report->codec_errors[i].error = b.records.codec.errors[i];
    }
    b.report->refine = b.refine;
    for (size_t i = 0; i < OMEN_N_REFINES; i++)
        b.report->refine_ceilings[i] = (double)b.refine_ceilings[i];
    omp_set_num_threads(threads_before);
    b.report->n_encoded = b.n_encoded;
    const omen_row_hash hash = omen_runs_hash(&b.runs);
    b.report->row_hash[0] = hash.low;
    b.report->row_hash[1] = hash.high;
    /* a record may still be on its way out of memory that is freed next; it matters only to a build that goes on later
     */
    if (checkpoint) {
        const int written = checkpoint->wait(checkpoint->self, status == OMEN_ERR_INTERRUPTED ? why : NULL);
        status = status == OMEN_ERR_INTERRUPTED && written != OMEN_OK ? written : status;
    }
    omen_records_finish(&b.records);
    omen_runs_finish(&b.runs);
    omen_neighbours_finish(&b.truth);
    omen_transform_finish(&b.transform);
    omen_partition_finish(&b.partition);
    omen_codec_finish(&b.model);
    free(b.refine_centre);
    free(b.sample);
    free(b.transformed);
    free(b.first);
    free(b.ranges);
    free(b.apart);
    if (report)
        omen_sized_give(report, &made);
    return status;
}
