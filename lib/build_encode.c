/* SPDX-License-Identifier: Apache-2.0 */
/* The encode stage: the one pass over all rows, in blocks that stay in cache, a chunk of them to a record. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "lib/build_state.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"
#include "lib/refine.h"

#define BLOCK_VALUES (1u << 18) /* input values of an encode block */

/* ---- encode ---- */

typedef struct {
    float *rows, *lifted, *projected, *residuals, *centroids, *tails, *scratch;
    void *assign;
    omen_neighbours_scan truth;
    omen_row_hash hash; /* of the rows that were read into them */
} encode_buffers;

static void buffers_finish(encode_buffers *e)
{
    free(e->rows);
    free(e->lifted);
    free(e->projected);
    free(e->residuals);
    free(e->centroids);
    free(e->tails);
    free(e->scratch);
    free(e->assign);
    omen_neighbours_scan_finish(&e->truth);
}

static int buffers_init(const omen_build_state *b, encode_buffers *e, size_t block)
{
    const omen_transform *t = &b->transform;
    const size_t ld = round_up(t->d_kept, OMEN_PANEL);
    const bool has_codes = b->model.kind != OMEN_CODEC_NONE;
    *e = (encode_buffers){0};
    e->rows = omen_alloc(block * t->d, sizeof(float));
    e->lifted = omen_alloc(block * t->d_full, sizeof(float));
    e->projected = omen_alloc(block * ld, sizeof(float));
    e->residuals = omen_alloc(OMEN_ENCODE_ROWS * ld, sizeof(float));
    e->centroids = omen_alloc(OMEN_ENCODE_ROWS * ld, sizeof(float));
    e->tails = omen_alloc(block, sizeof(float));
    e->scratch = omen_alloc(has_codes ? omen_codec_scratch_floats(&b->model) : 1, sizeof(float));
    e->assign = omen_alloc(omen_partition_scratch_bytes(&b->partition), 1);
    const int status = omen_neighbours_scan_init(&e->truth, &b->truth);
    return e->rows && e->lifted && e->projected && e->residuals && e->centroids && e->tails && e->scratch && e->assign
               ? status
               : OMEN_ERR_MEMORY;
}

/* Rows of a block: few enough for the second-level cache. */
size_t omen_build_block_rows(size_t d)
{
    return d > BLOCK_VALUES / 16 ? 16 : least(OMEN_ASSIGN_ROWS, BLOCK_VALUES / d / 16 * 16);
}

/* Takes a row that is farther from its centroid than its list's limit to that distance. */
static void limit_residual(const omen_build_state *b, float *residual, float *tail, float limit2)
{
    const size_t d = b->transform.d_kept;
    const float length2 = *tail + omen_kernels_get()->ip_f32(residual, residual, d);
    if (!(length2 > limit2))
        return;
    const float scale = sqrtf(limit2 / length2);
    for (size_t j = 0; j < d; j++)
        residual[j] *= scale;
    *tail *= limit2 / length2;
}

/* Encodes n rows, of which the first is number at of the chunk that begins with row chunk0. */
static int encode_block(omen_build_state *b, encode_buffers *e, uint64_t chunk0, size_t at, size_t n, omen_detail *why)
{
    const uint64_t row0 = chunk0 + at;
    uint32_t *lists = b->runs.lists + at;
    const omen_kernels *kernels = omen_kernels_get();
    const omen_transform *t = &b->transform;
    const size_t d = t->d, d_kept = t->d_kept, ld = round_up(d_kept, OMEN_PANEL);
    const size_t code_bytes = b->model.n_sub / 2, n_factors = b->model.n_factors;
    const omen_refine_space space = omen_build_refine_space(b);
    const size_t row_bytes = omen_refine_row_bytes(space.tier, t->d);
    int status = b->source->read(b->source->self, row0, n, e->rows, why);
    if (status != OMEN_OK)
        return status;
    omen_row_hash_add(&e->hash, row0, e->rows, n, d);
    const float *lifted = omen_transform_lift(t, e->rows, n, false, e->lifted);
    omen_transform_project(t, lifted, n, e->projected, ld, e->tails);
    for (size_t i = 0; i < n; i++) {
        status = omen_build_check_row(b, e->rows + i * d, row0 + i, why);
        if (status != OMEN_OK)
            return status;
    }
    omen_neighbours_scan_rows(&e->truth, &b->truth, row0, t->metric == OMEN_METRIC_COSINE ? lifted : e->rows, n);
    omen_partition_assign(&b->partition, e->projected, n, ld, lists, e->assign);
    for (size_t i0 = 0; i0 < n && b->model.kind != OMEN_CODEC_NONE; i0 += OMEN_ENCODE_ROWS) {
        const size_t count = least(OMEN_ENCODE_ROWS, n - i0);
        for (size_t i = 0; i < count; i++) {
            const float *y = e->projected + (i0 + i) * ld;
            const float *c = b->partition.centroids + (size_t)lists[i0 + i] * d_kept;
            memcpy(e->centroids + i * ld, c, d_kept * sizeof *c);
            for (size_t j = 0; j < d_kept; j++)
                e->residuals[i * ld + j] = y[j] - c[j];
            const float *row = lifted + (i0 + i) * t->d_full;
            /* a zero row has similarity 0, squared distance 2 from a unit query: as if it had length 1 outside the kept
             * dimensions */
            if (t->metric == OMEN_METRIC_COSINE && !(kernels->ip_f32(row, row, d) > 0))
                e->tails[i0 + i] += 1;
            else
                limit_residual(b, e->residuals + i * ld, e->tails + i0 + i, b->partition.limits[lists[i0 + i]]);
        }
        omen_codec_encode(&b->model, e->residuals, e->centroids, count, ld, e->tails + i0,
                          b->runs.codes + (at + i0) * code_bytes, b->runs.factors + (at + i0) * n_factors, NULL,
                          e->scratch);
    }
    /* nothing needs the rows again: they are shifted where they are */
    float *own = t->metric == OMEN_METRIC_COSINE ? e->lifted : e->rows;
    const float *stored = omen_refine_shift(&space, own, n, false, own);
    for (size_t i = 0; i < n && row_bytes; i++) {
        if (!omen_refine_fits(space.tier, stored + i * d, t->d))
            return omen_fail(why, OMEN_ERR_INPUT, "%s holds a value that f16, which ends at 65,504, cannot hold",
                             omen_build_row_label(b, row0 + i).text);
        omen_refine_encode(space.tier, stored + i * d, t->d, b->runs.refine + (at + i) * row_bytes);
    }
    return OMEN_OK;
}

int omen_build_encode_progress(omen_build_state *b, uint64_t row)
{
    const uint64_t first = b->options->extent == OMEN_BUILD_SHARD ? b->options->shard.first : 0;
    return omen_build_progress(b, OMEN_STAGE_ENCODE, row - first, b->end - first);
}

/* Encodes rows [chunk0, chunk0 + n_chunk) into the buffers of b->runs; hash gets theirs. */
static int encode_chunk(omen_build_state *b, uint64_t chunk0, uint64_t n_chunk, omen_row_hash *hash)
{
    const size_t block = omen_build_block_rows(b->transform.d);
    const uint64_t n_blocks = (n_chunk + block - 1) / block;
    uint64_t done = chunk0;
    /* blocks may fail out of order: the lowest failing one is told, which is the same for any number of threads */
    uint64_t failed_at = UINT64_MAX;
    int status = OMEN_OK;
    bool stop = false;
#pragma omp parallel
    {
        encode_buffers e;
        omen_detail why = {""};
        int own = buffers_init(b, &e, block);
        if (own != OMEN_OK) {
#pragma omp critical(omen_build)
            {
                status = omen_build_no_memory(b);
                stop = true;
            }
        }
#pragma omp for schedule(dynamic)
        for (uint64_t i = 0; i < n_blocks; i++) {
            bool skip;
            uint64_t lowest;
#pragma omp atomic read
            skip = stop;
#pragma omp atomic read
            lowest = failed_at;
            /* blocks below a failed one still count: the first bad row is to be named */
            if (skip || own != OMEN_OK || i > lowest)
                continue;
            const size_t n = least(block, n_chunk - i * block);
            const int failed = encode_block(b, &e, chunk0, i * block, n, &why);
            if (failed != OMEN_OK) {
#pragma omp critical(omen_build)
                {
                    if (i < failed_at) {
#pragma omp atomic write
                        failed_at = i;
                        status = failed;
                        if (b->why)
                            *b->why = why;
                    }
                }
            }
#pragma omp atomic
            done += n;
            if (omp_get_thread_num() == 0) {
                uint64_t so_far;
#pragma omp atomic read
                so_far = done;
                /* with a checkpoint the chunk is finished first, and kept */
                if (omen_build_encode_progress(b, so_far) != OMEN_OK && !b->checkpoint) {
#pragma omp critical(omen_build)
                    {
                        status = OMEN_ERR_INTERRUPTED;
                        stop = true;
                    }
                }
            }
        }
#pragma omp critical(omen_build)
        {
            omen_row_hash_join(hash, &e.hash);
            if (own == OMEN_OK)
                omen_neighbours_take(&b->truth, &e.truth);
        }
        buffers_finish(&e);
    }
    return status;
}

/* Encodes rows from b->n_encoded on, at most a chunk and none from end on, as one run more. */
static int encode_next(omen_build_state *b, uint64_t end)
{
    const uint64_t n_chunk = least(b->plan.chunk_rows, end - b->n_encoded);
    omen_row_hash hash = {0, 0};
    int status = encode_chunk(b, b->n_encoded, n_chunk, &hash);
    if (status == OMEN_OK)
        status = omen_runs_add(&b->runs, b->n_encoded, n_chunk, &hash, b->why);
    if (b->source->release)
        b->source->release(b->source->self, b->n_encoded, n_chunk);
    if (status != OMEN_OK)
        return status;
    b->n_encoded += n_chunk;
    return omen_build_encode_progress(b, b->n_encoded);
}

static int reserve(omen_build_state *b, uint64_t n_rows)
{
    return omen_runs_reserve(&b->runs, least(b->plan.chunk_rows, n_rows), b->plan.keeps_runs) == OMEN_OK &&
                   omen_neighbours_prepare(&b->truth, b->transform.mean, b->source->read_bytes) == OMEN_OK
               ? OMEN_OK
               : omen_build_no_memory(b);
}

/* Encodes the rows of a run again, from b->n_encoded on. */
static int compare_run(omen_build_state *b, const omen_runs *made, size_t r, bool *same)
{
    omen_run_comparison comparison = {.at = NULL};
    const uint64_t end = made->runs[r].row0 + made->runs[r].n_rows;
    int status = omen_run_compare_begin(&comparison, made, r);
    if (status != OMEN_OK)
        omen_build_no_memory(b);
    while (b->n_encoded < end && status == OMEN_OK && *same) {
        status = encode_next(b, end);
        if (status == OMEN_OK)
            status = omen_run_compare_next(&comparison, &b->runs, same, b->why);
    }
    if (status == OMEN_OK && *same)
        *same = omen_run_compare_is_done(&comparison);
    omen_run_compare_finish(&comparison);
    return status;
}

/* Encodes all rows again, and compares them with the runs that the checkpoint has, and what these say of the nearest
 * rows of the queries. */
static int encode_again(omen_build_state *b)
{
    omen_runs made = b->runs;
    uint64_t *const keys = b->truth.keys;
    const size_t n_key_bytes = (size_t)b->truth.n_queries * b->truth.k * sizeof *keys;
    const uint64_t first = b->options->shard.first;
    bool same = true;
    b->n_encoded = first;
    b->truth.keys = omen_alloc(n_key_bytes + 1, 1);
    int status = omen_runs_init(&b->runs, made.n_lists, made.code_bytes, made.n_factors,
                                made.item_bytes[OMEN_RUN_REFINE], NULL, &b->truth);
    if (status != OMEN_OK || !b->truth.keys)
        status = omen_build_no_memory(b);
    else
        status = reserve(b, b->end - first);
    if (status == OMEN_OK)
        memset(b->truth.keys, 0xff, n_key_bytes);
    for (size_t r = 0; r < made.n_runs && status == OMEN_OK && same; r++)
        status = compare_run(b, &made, r, &same);
    if (status == OMEN_OK && same)
        same = omen_runs_have_same_extremes(&made, &b->runs) &&
               (n_key_bytes == 0 || memcmp(keys, b->truth.keys, n_key_bytes) == 0);
    if (status == OMEN_OK && !same)
        status = omen_fail(b->why, OMEN_ERR_CORRUPT, "rows %llu to %llu are not encoded as the model encodes them",
                           (unsigned long long)first, (unsigned long long)b->end - 1);
    omen_runs_finish(&b->runs);
    b->runs = made;
    free(b->truth.keys);
    b->truth.keys = keys;
    return status;
}

int omen_build_encode(omen_build_state *b)
{
    const uint64_t n = b->end;
    const uint64_t first = b->options->extent == OMEN_BUILD_SHARD ? b->options->shard.first : 0;
    omen_watch watch = omen_build_watch(b, OMEN_STAGE_ENCODE);
    int status = OMEN_OK;
    if (b->options->again)
        return encode_again(b);
    watch.done = b->n_encoded - first;
    watch.total = n - first;
    if (b->n_encoded < n)
        status = reserve(b, n - b->n_encoded);
    while (b->n_encoded < n && status == OMEN_OK) {
        status = encode_next(b, n);
        watch.done = b->n_encoded - first;
        if (status == OMEN_OK)
            status = omen_runs_merge_levels(&b->runs, &watch, b->why);
    }
    omen_runs_trim(&b->runs);
    if (status == OMEN_OK && b->options->extent == OMEN_BUILD_SHARD && b->options->shard.whole)
        status = omen_runs_write_whole(&b->runs, b->options->shard.whole, &watch, b->why);
    return status;
}
