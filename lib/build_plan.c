/* SPDX-License-Identifier: Apache-2.0 */
/* The plan of a build: checks options, and counts memory, disk space and chunks before any work. */
#include <math.h>

#include "lib/build_state.h"
#include "lib/graph/graph.h"
#include "lib/kernels/kernels.h"
#include "lib/refine.h"
#include "lib/sized.h"
#include "lib/ways.h"

#define LIST_BYTES   20u         /* of a list besides its centroid: offset, factor ranges */
#define DIM_BYTES    8u          /* of all centroids, a dimension: scale and offset of their codes */
#define CHUNK_BYTES  (32u << 20) /* encoded rows between two checkpoints, */
#define CHUNK_VALUES (64u << 20) /* and the input values that they are made of: a second's work, or a few */

/* ---- options ---- */

int omen_build_check(const omen_source *source, const omen_build_options *o, omen_detail *why)
{
    if (source->n_rows < 1 || source->d < 1 || source->d > OMEN_MAX_DIM)
        return omen_fail(why, OMEN_ERR_INPUT, "%llu x %u vectors: at least one row of 1 to %u dimensions is needed",
                         (unsigned long long)source->n_rows, source->d, OMEN_MAX_DIM);
    if (source->n_rows > OMEN_MAX_ROWS)
        return omen_fail(why, OMEN_ERR_INPUT, "%llu rows: one index holds at most %u; split the input",
                         (unsigned long long)source->n_rows, OMEN_MAX_ROWS);
    uint64_t n_in_parts = o->n_parts > 0 ? 0 : source->n_rows;
    for (size_t i = 0; i < o->n_parts; i++)
        n_in_parts += o->parts[i].n_rows;
    if (n_in_parts != source->n_rows)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "options.parts has %llu rows, the source %llu",
                         (unsigned long long)n_in_parts, (unsigned long long)source->n_rows);
    if (o->extent > OMEN_BUILD_MERGE || (o->extent != OMEN_BUILD_ALL && o->codes_only))
        return omen_fail(why, OMEN_ERR_ARGUMENT, "there is no part number %u of this build", (unsigned)o->extent);
    if (o->extent == OMEN_BUILD_SHARD &&
        (o->shard.n < 1 || o->shard.first >= source->n_rows || o->shard.n > source->n_rows - o->shard.first))
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the shard has %llu rows from %llu on, the source %llu",
                         (unsigned long long)o->shard.n, (unsigned long long)o->shard.first,
                         (unsigned long long)source->n_rows);
    if (o->bytes < OMEN_MIN_BYTES || o->bytes > OMEN_MAX_BYTES)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "%u bytes a vector: between %u and %u are possible", o->bytes,
                         OMEN_MIN_BYTES, OMEN_MAX_BYTES);
    if (o->lists.n > source->n_rows)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "%u lists are more than the %llu rows", o->lists.n,
                         (unsigned long long)source->n_rows);
    if (o->tune_queries && (o->tune_queries->d != source->d || o->tune_queries->n_rows < 1))
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the queries to tune for have %u dimensions, the input %u",
                         o->tune_queries->d, source->d);
    if (o->codes_only && (o->metric != OMEN_METRIC_L2 || o->lists.n != 1))
        return omen_fail(why, OMEN_ERR_ARGUMENT, "codes without lists have one list and metric l2");
    if (o->codec != OMEN_CODEC_AUTO && !omen_codec_is_known(o->codec))
        return omen_fail(why, OMEN_ERR_ARGUMENT, "there is no codec of number %u", (unsigned)o->codec);
    if (o->codec == OMEN_CODEC_NONE && o->refine == OMEN_REFINE_NONE)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "codec none and refine none leave nothing to search");
    if (o->graph.degree && (!o->graph.wanted || o->graph.degree < OMEN_MIN_DEGREE || o->graph.degree > OMEN_MAX_DEGREE))
        return omen_fail(why, OMEN_ERR_ARGUMENT, "options.graph.degree is from %u to %u, of a graph", OMEN_MIN_DEGREE,
                         OMEN_MAX_DEGREE);
    if (o->graph.wanted && (o->refine == OMEN_REFINE_NONE || o->codes_only))
        return omen_fail(why, OMEN_ERR_ARGUMENT, "options.graph.wanted needs a refine tier: its edges are found by it");
    if (o->graph.wanted && source->n_rows > OMEN_GRAPH_MOST_ROWS)
        return omen_fail(why, OMEN_ERR_INPUT, "%llu rows: a graph holds at most %u; build without options.graph.wanted",
                         (unsigned long long)source->n_rows, OMEN_GRAPH_MOST_ROWS);
    return OMEN_OK;
}

/* 2 sqrt(n) balances the search for lists with the scan of lists. Fewer when there are not rows enough to train on, or
 * when centroids, one byte a kept dimension, would cost the hot data more than a byte a row. */
uint32_t omen_build_lists(uint64_t n, uint32_t d, uint32_t bytes)
{
    const uint32_t d_kept = d < BUILD_KEPT_DIMS_A_BYTE * bytes ? d : BUILD_KEPT_DIMS_A_BYTE * bytes;
    double lists = 2 * sqrt((double)n);
    const double trainable = (double)n / BUILD_ROWS_A_LIST;
    const double affordable = ((double)n - DIM_BYTES * (double)d_kept) / (d_kept + LIST_BYTES);
    lists = lists < trainable ? lists : trainable;
    lists = lists < affordable ? lists : affordable;
    return lists < 1 ? 1 : (uint32_t)lists;
}

/* ---- the plan ---- */

/* Private memory that any build takes: code, and heaps of the threads. */
#define BASE_BYTES   (24ull << 20)
#define THREAD_BYTES (2ull << 20)
#define CHUNK_LEAST  4096u /* rows: fewer make too many runs */

static uint64_t most_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* What the largest runs take that are merged, before the ones that they are made of go; a shard is written once more.
 */
static uint64_t merged_bytes(const omen_build_options *o, bool keep, uint64_t encoded_bytes, uint64_t n_chunks)
{
    uint64_t largest = 1;
    if (o->extent == OMEN_BUILD_SHARD)
        return encoded_bytes;
    if (keep || n_chunks < OMEN_RUN_FAN)
        return 0;
    while (largest * OMEN_RUN_FAN <= n_chunks)
        largest *= OMEN_RUN_FAN;
    return (uint64_t)((double)encoded_bytes * (double)largest / (double)n_chunks);
}

int omen_build_plan_make(const omen_source *source, const omen_build_options *o, bool has_checkpoint,
                         omen_build_plan *out, omen_detail *why)
{
    omen_build_options known;
    omen_build_plan plan;
    int status = omen_sized_take(&known, sizeof known, o, "omen_build_options", why);
    o = &known;
    if (status == OMEN_OK)
        status = omen_sized_take(&plan, sizeof plan, out, "omen_build_plan", why);
    if (status == OMEN_OK)
        status = omen_build_check(source, o, why);
    if (status != OMEN_OK)
        return status;
    const uint64_t n = source->n_rows, d = source->d, d_full = d + (o->metric == OMEN_METRIC_IP);
    const uint64_t d_kept = round_up(least(d_full, (size_t)BUILD_KEPT_DIMS_A_BYTE * o->bytes), OMEN_PANEL);
    const uint64_t n_lists = o->lists.n ? o->lists.n : omen_build_lists(n, source->d, o->bytes);
    const uint64_t n_sample = omen_build_sample_rows(n, (uint32_t)n_lists),
                   n_pca = omen_build_pca_rows(n_sample, d_full);
    const uint64_t threads = (uint64_t)(o->n_threads > 0 ? o->n_threads : omen_cpu_count());
    const bool has_codes = o->codec != OMEN_CODEC_NONE;
    /* bytes fit sq8; of other rows auto may choose any tier */
    const bool are_bytes = source->element_bytes == 1 && o->metric != OMEN_METRIC_COSINE;
    const omen_refine refine = o->refine == OMEN_REFINE_AUTO && are_bytes ? OMEN_REFINE_SQ8 : o->refine;
    const uint64_t code_bytes = has_codes ? o->bytes : 0, row_bytes = omen_refine_row_bytes(refine, source->d);
    const uint64_t factor_bytes = has_codes ? OMEN_MAX_FACTORS * sizeof(float) : 0;
    const uint64_t parents = n_lists > 1 ? (uint64_t)sqrt((double)n_lists) + 1 : 1;

    const uint64_t sample = n_sample * d * 4, transformed = n_sample * d_kept * 4;
    const uint64_t model = 2 * d_full * d_kept * 4 + n_lists * (9 * d_kept + 32) + parents * d_kept * 8 +
                           (has_codes ? 64 * code_bytes * least(d_kept, 8 * code_bytes) : 0);
    const uint64_t assign = threads * OMEN_ASSIGN_ROWS * (4 * n_lists / parents + 4 * parents + 4 * d_kept + 128);
    uint64_t stages =
        sample + n_pca * d_full * 4 +
        omen_transform_fit_bytes(n_pca, d_full, least(d_full, (size_t)BUILD_KEPT_DIMS_A_BYTE * o->bytes), threads);
    const uint64_t n_study = omen_build_study_rows(n_sample, d);
    stages = most_of(stages, sample + 2 * d_full * d_kept * 4 + n_study * 4 * 2 * d + threads * (8 * n_study + 4 * d) +
                                 (1u << 20));
    stages = most_of(stages, sample + transformed + 2 * d_full * d_kept * 4 +
                                 threads * BUILD_PROJECT_ROWS * 4 * (d_full + d_kept));
    /* twice where outliers call for a second partition */
    stages = most_of(stages, 2 * (transformed + model) + n_sample * 36 + assign + 256 * parents * d_kept * 4 +
                                 threads * 3 * (n_sample / parents + 1) * d_kept * 4);
    stages = most_of(stages, transformed + model + n_sample * 8 + 3 * BUILD_CODEC_SAMPLE * d_kept * 4 + assign +
                                 (has_codes ? code_bytes * 8 * 8 * d_kept : 0));
    const size_t block = omen_build_block_rows(d);
    const uint64_t encode = model + assign + threads * block * 4 * (d + d_full + d_kept) +
                            omen_neighbours_bytes(n, source->d) +
                            omen_neighbours_scan_bytes(n, source->d, (int)threads);
    const uint64_t again = omen_run_compare_bytes((uint32_t)n_lists, row_bytes) + omen_neighbours_bytes(n, source->d);
    const uint64_t sums = n * most_of(code_bytes, row_bytes) / (OMEN_CHECK_BYTES / 8) * 2; /* of the sink */
    const uint64_t row = omen_runs_chunk_row_bytes(code_bytes, has_codes ? OMEN_MAX_FACTORS : 0, row_bytes);
    uint64_t calibrate = 0; /* one way after the other */
    for (size_t i = 0; i < OMEN_N_WAYS; i++)
        if (omen_ways[i].calibrate && (i != OMEN_WAY_GRAPH || o->graph.wanted))
            calibrate = most_of(calibrate, omen_ways[i].calibrate_bytes(n, source->d, (uint32_t)n_lists, (int)threads));
    uint64_t truth, passing;
    omen_calibration_bytes(n, source->d, &truth, &passing);
    const uint64_t queries = omen_neighbours_bytes(n, source->d);
    calibrate = truth + most_of(calibrate, queries + passing);
    const uint32_t degree = o->graph.wanted ? (o->graph.degree ? o->graph.degree : OMEN_DEFAULT_DEGREE) : 0;
    uint64_t of_rows = 0, scratch = 0;
    uint64_t graph =
        o->graph.wanted ? omen_graph_build_bytes(n, (uint32_t)d_kept, degree, (int)threads, &of_rows) + model : 0;
    calibrate += model;
    const uint64_t base = BASE_BYTES + threads * THREAD_BYTES;

    if (o->extent == OMEN_BUILD_SHARD || o->extent == OMEN_BUILD_MERGE) /* the models are there */
        stages = 0;
    const uint64_t n_encode = o->extent == OMEN_BUILD_SHARD ? o->shard.n : n;
    bool keep = o->extent == OMEN_BUILD_ALL; /* all runs in memory: first choice */
    uint64_t chunk =
        o->chunk_rows ? o->chunk_rows : most_of(least(2 * CHUNK_BYTES / row, CHUNK_VALUES / d), CHUNK_LEAST);
    chunk = has_checkpoint ? least(chunk, n_encode) : n;
    const bool makes_index = o->extent == OMEN_BUILD_ALL || o->extent == OMEN_BUILD_MERGE;
    const uint64_t index_bytes = round_up(n, OMEN_SCAN_BLOCK) * (code_bytes + row_bytes + 4) + model +
                                 (o->graph.wanted ? n * (OMEN_GRAPH_CODE_BYTES + 4 * degree) : 0);
    const uint64_t edges = o->extent == OMEN_BUILD_ALL ? n * 2 * 4 * degree : 0; /* in the checkpoint */
    for (;;) {
        const uint64_t n_chunks = (n_encode + chunk - 1) / chunk;
        const uint64_t n_runs =
            keep || !has_checkpoint || o->extent == OMEN_BUILD_MERGE ? n_chunks : omen_runs_most(n_chunks);
        const uint64_t tables = n_runs * (n_lists + 1) * 4 + 4 * n_lists * factor_bytes;
        const uint64_t walk =
            omen_runs_walk_bytes(n_runs, n * row / 2) + 2 * BUILD_BLOCKS_AT_ONCE * OMEN_SCAN_BLOCK * code_bytes;
        uint64_t peak = stages;
        if (o->extent == OMEN_BUILD_ALL || o->extent == OMEN_BUILD_SHARD)
            peak = most_of(peak, encode + tables + chunk * row + (o->again ? again : 0));
        if (makes_index) {
            /* the last run stays in memory to the end */
            peak = most_of(peak, model + queries + tables + walk + sums + chunk * row / 2);
            peak = most_of(peak, most_of(calibrate, graph) + tables + chunk * row / 2);
        }
        if (makes_index && o->scratch && scratch < of_rows && o->memory_bytes &&
            graph + tables + chunk * row / 2 + base > o->memory_bytes) {
            scratch = of_rows;
            graph -= of_rows;
            continue;
        }
        peak += base;
        const uint64_t kept = keep && n_chunks > 1 ? n * row / 2 : 0;
        if (kept && o->memory_bytes && kept > (o->memory_bytes - least(peak, o->memory_bytes)) / 2) {
            keep = false;
            continue;
        }
        peak += kept;
        const uint64_t encoded =
            o->extent == OMEN_BUILD_MODEL ? 0 : n_encode * row / 2 + n_chunks * 8 * n_lists * (1 + factor_bytes);
        plan = (omen_build_plan){
            .struct_bytes = sizeof plan,
            .memory_bytes = peak,
            .chunk_rows = chunk,
            .keeps_runs = keep,
            .n_chunks = n_chunks,
            .checkpoint_bytes = has_checkpoint && o->extent != OMEN_BUILD_MERGE
                                    ? model + encoded + merged_bytes(o, keep, encoded, n_chunks) + edges
                                    : 0,
            .index_bytes = makes_index ? index_bytes : 0,
            .scratch_bytes = scratch,
        };
        plan.index_bytes += plan.index_bytes / (OMEN_CHECK_BYTES / 8 - 2);
        omen_sized_give(out, &plan);
        if (!o->memory_bytes || peak <= o->memory_bytes)
            return OMEN_OK;
        if (!has_checkpoint || o->chunk_rows || chunk <= CHUNK_LEAST)
            return omen_fail(why, OMEN_ERR_MEMORY, "%llu MiB of memory is too little: this build needs %llu MiB",
                             (unsigned long long)(o->memory_bytes >> 20), (unsigned long long)(peak >> 20) + 1);
        chunk = most_of(chunk / 2, CHUNK_LEAST);
    }
}
