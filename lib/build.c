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

#include "lib/codec.h"
#include "lib/index.h"
#include "lib/kernels.h"
#include "lib/matrix.h"
#include "lib/partition.h"
#include "lib/records.h"
#include "lib/refine.h"
#include "lib/runs.h"
#include "lib/transform.h"

#define ROWS_PER_LIST_LEAST  39u /* fewer training rows leave centroids unsettled */
#define ROWS_PER_LIST_SAMPLE 64u
#define SAMPLE_LEAST         16384u
#define PCA_SAMPLE           16384u /* or 4 d_full, if more */
#define SAMPLE_RELEASE       1024u  /* sampled rows after which their surroundings may leave memory */
#define CODEC_SAMPLE         16384u
#define ERROR_SAMPLE         2048u /* rows that the codecs' errors are measured on */
#define ERROR_QUERIES        64u
#define PROJECT_ROWS         256u
#define KEPT_DIMS_A_BYTE     8u          /* transform dimensions kept for each hot byte */
#define LIST_BYTES           20u         /* of a list besides its centroid: offset, factor ranges */
#define BLOCK_VALUES         (1u << 18)  /* input values of an encode block */
#define BLOCKS_AT_ONCE       2048u       /* code blocks written at a time */
#define CHUNK_BYTES          (32u << 20) /* encoded rows between two checkpoints */

void omen_build_options_init(omen_build_options *options)
{
    *options = (omen_build_options){
        .metric = OMEN_METRIC_L2, .codec = OMEN_CODEC_AUTO, .refine = OMEN_REFINE_SQ8, .bytes = OMEN_DEFAULT_BYTES};
}

static const char *const stage_names[OMEN_N_STAGES] = {"sample", "transform", "partition", "codec",
                                                       "encode", "order",     "calibrate"};

const char *omen_stage_name(omen_stage stage)
{
    return stage < OMEN_N_STAGES ? stage_names[stage] : "?";
}

typedef struct {
    const omen_source *source;
    const omen_build_options *options;
    const omen_sink *sink;
    const omen_checkpoint *checkpoint; /* NULL: none */
    omen_build_plan plan;
    omen_records records;
    omen_stage first_stage; /* the first that a checkpoint has not */
    omen_build_report *report;
    omen_detail *why;
    int n_threads;
    uint32_t n_lists;
    omen_meta meta;
    uint64_t identity;
    omen_transform transform;
    omen_partition partition;
    omen_codec_model model;
    /* the training sample: as read, then transformed (n_sample x d_kept) */
    size_t n_sample;
    float *sample, *transformed;
    omen_runs runs;
    uint64_t n_encoded; /* rows in runs */
    float code_scale;   /* codes_only, rabitq */
    /* one entry a list */
    uint32_t *first;
    float *ranges;
} build_state;

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int no_memory(build_state *b)
{
    return omen_fail(b->why, OMEN_ERR_MEMORY, "out of memory for %llu x %u vectors",
                     (unsigned long long)b->source->n_rows, b->source->d);
}

static int report_progress(build_state *b, omen_stage stage, uint64_t done, uint64_t total)
{
    const omen_build_options *o = b->options;
    if (o->progress && o->progress(o->progress_context, stage_names[stage], done, total))
        return omen_fail(b->why, OMEN_ERR_INTERRUPTED, "interrupted");
    return OMEN_OK;
}

/* ---- sample ---- */

/* Rows whose distances would not be numbers. */
static int check_row(const build_state *b, const float *values, uint64_t row, omen_detail *why)
{
    const float norm2 = omen_kernels_get()->ip_f32(values, values, b->source->d);
    if (!(norm2 <= OMEN_NORM2_MOST))
        return omen_fail(why, OMEN_ERR_INPUT, "row %llu is too long: its squared norm is over %g",
                         (unsigned long long)row, (double)OMEN_NORM2_MOST);
    if (b->options->metric != OMEN_METRIC_COSINE || b->options->zero_ok || norm2 > 0)
        return OMEN_OK;
    return omen_fail(why, OMEN_ERR_INPUT,
                     "row %llu is a zero vector, which has no cosine; --zero-ok accepts it, with similarity 0 to "
                     "everything",
                     (unsigned long long)row);
}

static size_t sample_rows(uint64_t n, uint32_t n_lists)
{
    const size_t wanted = (size_t)n_lists * ROWS_PER_LIST_SAMPLE;
    return least(wanted < SAMPLE_LEAST ? SAMPLE_LEAST : wanted, n);
}

static int read_sample(build_state *b)
{
    const omen_kernels *kernels = omen_kernels_get();
    const uint64_t n = b->source->n_rows;
    const size_t d = b->source->d;
    omen_transform *t = &b->transform;
    b->n_sample = sample_rows(n, b->n_lists);
    uint64_t *rows = omen_alloc(b->n_sample, sizeof *rows);
    b->sample = omen_alloc(b->n_sample * d, sizeof *b->sample);
    if (!rows || !b->sample) {
        free(rows);
        return no_memory(b);
    }
    omen_random_rows(b->options->seed, n, b->n_sample, rows);
    int status = OMEN_OK;
    for (size_t i = 0; i < b->n_sample && status == OMEN_OK; i++) {
        status = b->source->read(b->source->self, rows[i], 1, b->sample + i * d, b->why);
        if (status == OMEN_OK)
            status = check_row(b, b->sample + i * d, rows[i], b->why);
        if (b->source->release && (i + 1) % SAMPLE_RELEASE == 0)
            b->source->release(b->source->self, rows[i + 1 - SAMPLE_RELEASE],
                               rows[i] + 1 - rows[i + 1 - SAMPLE_RELEASE]);
    }
    free(rows);
    if (status != OMEN_OK)
        return status;
    b->identity = XXH3_64bits_withSeed(b->sample, b->n_sample * d * sizeof *b->sample, n * 31 + d);
    const omen_build_options *o = b->options;
    const uint64_t asked[] = {o->metric, o->codec, o->refine, o->bytes, b->n_lists, o->seed, o->zero_ok};
    b->identity = XXH3_64bits_withSeed(asked, sizeof asked, b->identity);

    t->d = (uint32_t)d;
    t->d_full = (uint32_t)d + (o->metric == OMEN_METRIC_IP);
    for (size_t i = 0; i < b->n_sample && o->metric == OMEN_METRIC_IP; i++) {
        const float norm2 = kernels->ip_f32(b->sample + i * d, b->sample + i * d, d);
        t->ip_radius2 = norm2 > t->ip_radius2 && isfinite(norm2) ? norm2 : t->ip_radius2;
    }
    return OMEN_OK;
}

/* ---- transform ---- */

static size_t pca_rows(size_t n_sample, size_t d_full)
{
    return least(n_sample, 4 * d_full > PCA_SAMPLE ? 4 * d_full : PCA_SAMPLE);
}

static int fit_transform(build_state *b)
{
    omen_transform *t = &b->transform;
    const size_t d = t->d, d_full = t->d_full;
    const size_t n_pca = pca_rows(b->n_sample, d_full);
    float *rows = omen_alloc(n_pca * d_full, sizeof *rows);
    if (!rows)
        return no_memory(b);
    /* spread over the sample: rows are in source order */
    for (size_t i = 0; i < n_pca; i++)
        omen_transform_lift(t, b->sample + i * b->n_sample / n_pca * d, 1, false, rows + i * d_full);
    int status = omen_transform_fit(t, rows, n_pca, KEPT_DIMS_A_BYTE * b->options->bytes);
    free(rows);
    return status == OMEN_OK ? OMEN_OK : no_memory(b);
}

/* b->sample to b->transformed. */
static int project_sample(build_state *b)
{
    const omen_transform *t = &b->transform;
    const size_t d = t->d, d_full = t->d_full;
    const size_t block = least(PROJECT_ROWS, b->n_sample), ld = round_up(t->d_kept, OMEN_PANEL);
    int status = OMEN_OK;
    b->transformed = omen_alloc(b->n_sample * t->d_kept, sizeof *b->transformed);
    if (!b->transformed)
        return no_memory(b);
#pragma omp parallel
    {
        float *lifted = omen_alloc(block * (d_full + ld), sizeof *lifted);
        if (!lifted) {
#pragma omp atomic write
            status = OMEN_ERR_MEMORY;
        }
#pragma omp for schedule(dynamic)
        for (size_t i0 = 0; i0 < b->n_sample; i0 += block) {
            const size_t n = least(block, b->n_sample - i0);
            if (!lifted)
                continue;
            float *projected = lifted + block * d_full;
            omen_transform_lift(t, b->sample + i0 * d, n, false, lifted);
            omen_transform_project(t, lifted, n, projected, ld, NULL);
            for (size_t i = 0; i < n; i++)
                memcpy(b->transformed + (i0 + i) * t->d_kept, projected + i * ld, t->d_kept * sizeof *projected);
        }
        free(lifted);
    }
    free(b->sample);
    b->sample = NULL;
    return status == OMEN_OK ? OMEN_OK : no_memory(b);
}

/* ---- codec ---- */

/* Residuals of n rows of the sample, every (n_sample / n)-th from the given one. */
static void spread_rows(const build_state *b, size_t from, size_t n, const uint32_t *lists, float *rows,
                        float *residuals, uint32_t *own_lists)
{
    const size_t d = b->transform.d_kept, span = b->n_sample - from;
    for (size_t i = 0; i < n; i++) {
        const size_t at = from + i * span / n;
        const float *row = b->transformed + at * d, *centroid = b->partition.centroids + (size_t)lists[at] * d;
        memcpy(rows + i * d, row, d * sizeof *rows);
        own_lists[i] = lists[at];
        for (size_t j = 0; j < d; j++)
            residuals[i * d + j] = row[j] - centroid[j];
    }
}

/* Squared error of a codec's reconstructions of n rows of the sample, all in the one list. Those of rabitq, which are
 * scaled for unbiased products, are multiplied by what brings them nearest to their rows: *scale. */
static int reconstruction_error(const build_state *b, const omen_codec_model *model, size_t n, double *error,
                                float *scale)
{
    const size_t d = b->transform.d_kept, ld = round_up(d, OMEN_PANEL);
    float *work = omen_alloc(3 * OMEN_ENCODE_ROWS * ld, sizeof *work);
    float *residuals = work, *centroids = work + OMEN_ENCODE_ROWS * ld, *back = work + 2 * OMEN_ENCODE_ROWS * ld;
    float *scratch = omen_alloc(omen_codec_scratch_floats(model), sizeof *scratch);
    uint8_t *codes = omen_alloc(OMEN_ENCODE_ROWS, model->n_sub / 2);
    float factors[OMEN_ENCODE_ROWS * OMEN_MAX_FACTORS], tails[OMEN_ENCODE_ROWS] = {0};
    double product = 0, norm2 = 0, whole = 0;
    const bool ready = work && scratch && codes;
    for (size_t i0 = 0; i0 < n && ready; i0 += OMEN_ENCODE_ROWS) {
        const size_t count = least(OMEN_ENCODE_ROWS, n - i0);
        memset(work, 0, 3 * OMEN_ENCODE_ROWS * ld * sizeof *work);
        for (size_t i = 0; i < count; i++) {
            for (size_t j = 0; j < d; j++) {
                centroids[i * ld + j] = b->partition.centroids[j];
                residuals[i * ld + j] = b->transformed[(i0 + i) * d + j] - b->partition.centroids[j];
            }
        }
        omen_codec_encode(model, residuals, centroids, count, ld, tails, codes, factors, back, scratch);
        for (size_t i = 0; i < count; i++) {
            for (size_t j = 0; j < d; j++) {
                const double r = (double)residuals[i * ld + j], c = (double)back[i * d + j];
                whole += r * r;
                product += r * c;
                norm2 += c * c;
            }
        }
    }
    *scale = model->kind == OMEN_CODEC_RABITQ && norm2 > 0 && product > 0 ? (float)(product / norm2) : 1;
    *error = whole - 2 * (double)*scale * product + (double)*scale * (double)*scale * norm2;
    free(codes);
    free(scratch);
    free(work);
    return ready ? OMEN_OK : OMEN_ERR_MEMORY;
}

/* Codes that are reconstructed are judged by that, not by distances: errors relative to the variance. */
static int judge_reconstructions(build_state *b, const omen_codec_model *rabitq, size_t n)
{
    const size_t d = b->transform.d_kept;
    double spread = 0;
    float unused;
    int status = OMEN_OK;
    for (size_t i = 0; i < n * d; i++) {
        const double r = (double)(b->transformed[i] - b->partition.centroids[i % d]);
        spread += r * r;
    }
    if (b->model.kind == OMEN_CODEC_PQ)
        status = reconstruction_error(b, &b->model, n, &b->report->pq_error, &unused);
    if (status == OMEN_OK && rabitq->kind == OMEN_CODEC_RABITQ)
        status = reconstruction_error(b, rabitq, n, &b->report->rabitq_error, &b->code_scale);
    b->report->pq_error /= spread > 0 ? spread : 1;
    b->report->rabitq_error /= spread > 0 ? spread : 1;
    return status;
}

static int train_codec(build_state *b)
{
    const omen_build_options *o = b->options;
    const size_t d = b->transform.d_kept;
    b->report->pq_error = b->report->rabitq_error = NAN;
    if (o->codec == OMEN_CODEC_NONE)
        return OMEN_OK;
    /* the last eighth of the sample is held out from training, where there is enough */
    const size_t n_held = b->n_sample >= 2048 ? b->n_sample / 8 : 0, n_train = b->n_sample - n_held;
    const size_t n_codec = least(n_train, CODEC_SAMPLE);
    const size_t n_error = n_held ? least(n_held, ERROR_SAMPLE) : b->n_sample;
    const size_t n_most = n_codec > n_error ? n_codec : n_error;
    int status = OMEN_ERR_MEMORY;
    float *rows = omen_alloc(2 * n_most * d, sizeof *rows), *residuals = rows + n_most * d;
    uint32_t *lists = omen_alloc(b->n_sample, sizeof *lists), *own = omen_alloc(n_most, sizeof *own);
    void *scratch = omen_alloc(omen_partition_scratch_bytes(&b->partition), 1);
    if (!rows || !lists || !own || !scratch)
        goto out;
    for (size_t i = 0; i < b->n_sample; i += OMEN_ASSIGN_ROWS)
        omen_partition_assign(&b->partition, b->transformed + i * d, least(OMEN_ASSIGN_ROWS, b->n_sample - i), d,
                              lists + i, scratch);
    omen_codec_model rabitq = {0};
    const bool try_both = o->codec == OMEN_CODEC_AUTO;
    status = OMEN_OK;
    if (o->codec != OMEN_CODEC_RABITQ) {
        /* held-out rows are the first n_held of the sample: spread_rows starts behind them */
        spread_rows(b, n_held, n_codec, lists, rows, residuals, own);
        status = omen_pq_train(&b->model, residuals, n_codec, (uint32_t)d, o->bytes, o->seed);
    }
    if (status == OMEN_OK && o->codec != OMEN_CODEC_PQ)
        status = omen_rabitq_train(&rabitq, (uint32_t)d, o->bytes, o->seed);
    if (status == OMEN_OK) {
        for (size_t i = 0; i < n_error; i++) {
            memcpy(rows + i * d, b->transformed + i * d, d * sizeof *rows);
            own[i] = lists[i];
        }
        const size_t n_queries = least(ERROR_QUERIES, n_error);
        if (o->codes_only)
            status = judge_reconstructions(b, &rabitq, n_error);
        else if (o->codec != OMEN_CODEC_RABITQ)
            status = omen_codec_error(&b->model, rows, b->partition.centroids, own, n_error, n_queries,
                                      &b->report->pq_error);
        if (status == OMEN_OK && o->codec != OMEN_CODEC_PQ && !o->codes_only)
            status = omen_codec_error(&rabitq, rows, b->partition.centroids, own, n_error, n_queries,
                                      &b->report->rabitq_error);
    }
    if (status == OMEN_OK &&
        (o->codec == OMEN_CODEC_RABITQ || (try_both && b->report->rabitq_error < b->report->pq_error))) {
        omen_codec_finish(&b->model);
        b->model = rabitq;
    } else {
        omen_codec_finish(&rabitq);
    }
    b->code_scale = b->model.kind == OMEN_CODEC_RABITQ ? b->code_scale : 0;
out:
    free(scratch);
    free(own);
    free(lists);
    free(rows);
    return status == OMEN_OK ? OMEN_OK : no_memory(b);
}

/* ---- encode ---- */

typedef struct {
    float *rows, *lifted, *projected, *residuals, *centroids, *tails, *scratch;
    void *assign;
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
}

static int buffers_init(const build_state *b, encode_buffers *e, size_t block)
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
    return e->rows && e->lifted && e->projected && e->residuals && e->centroids && e->tails && e->scratch && e->assign
               ? OMEN_OK
               : OMEN_ERR_MEMORY;
}

/* Rows of a block: few enough for the second-level cache. */
static size_t encode_block_rows(size_t d)
{
    return d > BLOCK_VALUES / 16 ? 16 : least(OMEN_ASSIGN_ROWS, BLOCK_VALUES / d / 16 * 16);
}

/* Encodes n rows, of which the first is number at of the chunk that begins with row chunk0. */
static int encode_block(build_state *b, encode_buffers *e, uint64_t chunk0, size_t at, size_t n, omen_detail *why)
{
    const uint64_t row0 = chunk0 + at;
    uint32_t *lists = b->runs.lists + at;
    const omen_kernels *kernels = omen_kernels_get();
    const omen_transform *t = &b->transform;
    const size_t d = t->d, d_kept = t->d_kept, ld = round_up(d_kept, OMEN_PANEL);
    const size_t code_bytes = b->model.n_sub / 2, n_factors = b->model.n_factors;
    const size_t row_bytes = omen_refine_row_bytes(b->options->refine, t->d);
    int status = b->source->read(b->source->self, row0, n, e->rows, why);
    if (status != OMEN_OK)
        return status;
    omen_transform_lift(t, e->rows, n, false, e->lifted);
    omen_transform_project(t, e->lifted, n, e->projected, ld, e->tails);
    for (size_t i = 0; i < n; i++) {
        status = check_row(b, e->rows + i * d, row0 + i, why);
        if (status != OMEN_OK)
            return status;
        /* a zero row has similarity 0, squared distance 2 from a unit query: as if it had length 1 outside the kept
         * dimensions */
        if (t->metric == OMEN_METRIC_COSINE && !(kernels->ip_f32(e->lifted + i * d, e->lifted + i * d, d) > 0))
            e->tails[i] += 1;
    }
    omen_partition_assign(&b->partition, e->projected, n, ld, lists, e->assign);
    for (size_t i0 = 0; i0 < n && b->model.kind != OMEN_CODEC_NONE; i0 += OMEN_ENCODE_ROWS) {
        const size_t count = least(OMEN_ENCODE_ROWS, n - i0);
        for (size_t i = 0; i < count; i++) {
            const float *y = e->projected + (i0 + i) * ld;
            const float *c = b->partition.centroids + (size_t)lists[i0 + i] * d_kept;
            memcpy(e->centroids + i * ld, c, d_kept * sizeof *c);
            for (size_t j = 0; j < d_kept; j++)
                e->residuals[i * ld + j] = y[j] - c[j];
        }
        omen_codec_encode(&b->model, e->residuals, e->centroids, count, ld, e->tails + i0,
                          b->runs.codes + (at + i0) * code_bytes, b->runs.factors + (at + i0) * n_factors, NULL,
                          e->scratch);
    }
    const float *stored = t->metric == OMEN_METRIC_COSINE ? e->lifted : e->rows;
    for (size_t i = 0; i < n && row_bytes; i++)
        omen_refine_encode(b->options->refine, stored + i * d, t->d, b->runs.refine + (at + i) * row_bytes);
    return OMEN_OK;
}

/* Encodes rows [chunk0, chunk0 + n_chunk) into the buffers of b->runs. */
static int encode_chunk(build_state *b, uint64_t chunk0, uint64_t n_chunk)
{
    const size_t block = encode_block_rows(b->transform.d);
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
                status = no_memory(b);
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
                if (report_progress(b, OMEN_STAGE_ENCODE, so_far, b->source->n_rows) != OMEN_OK && !b->checkpoint) {
#pragma omp critical(omen_build)
                    {
                        status = OMEN_ERR_INTERRUPTED;
                        stop = true;
                    }
                }
            }
        }
        buffers_finish(&e);
    }
    return status;
}

static int encode_rows(build_state *b)
{
    const uint64_t n = b->source->n_rows;
    const uint64_t chunk_rows = least(b->plan.chunk_rows, n - b->n_encoded);
    int status = OMEN_OK;
    if (b->n_encoded < n && omen_runs_reserve(&b->runs, chunk_rows, b->plan.keeps_runs) != OMEN_OK)
        return no_memory(b);
    while (b->n_encoded < n && status == OMEN_OK) {
        const uint64_t n_chunk = least(chunk_rows, n - b->n_encoded);
        status = encode_chunk(b, b->n_encoded, n_chunk);
        if (status == OMEN_OK)
            status = omen_runs_add(&b->runs, b->n_encoded, n_chunk, b->why);
        if (b->source->release)
            b->source->release(b->source->self, b->n_encoded, n_chunk);
        if (status == OMEN_OK) {
            b->n_encoded += n_chunk;
            status = report_progress(b, OMEN_STAGE_ENCODE, b->n_encoded, n);
        }
    }
    omen_runs_trim(&b->runs);
    return status;
}

/* ---- order ---- */

static int write_section(build_state *b, uint32_t id, omen_element element, const void *data, uint64_t n_bytes)
{
    const omen_sink *s = b->sink;
    int status = s->begin(s->self, id, element, false, b->why);
    if (status == OMEN_OK)
        status = s->append(s->self, data, n_bytes, b->why);
    return status == OMEN_OK ? s->finish(s->self, b->why) : status;
}

static int write_model(build_state *b)
{
    const omen_transform *t = &b->transform;
    const omen_codec_model *model = &b->model;
    const omen_partition *p = &b->partition;
    int status = b->sink->start(b->sink->self, b->identity, b->why);
#define SECTION(name, element, data, n_bytes)                                                                          \
    if (status == OMEN_OK)                                                                                             \
    status = write_section(b, OMEN_SECTION_##name, OMEN_ELEMENT_##element, data, n_bytes)
    SECTION(META, BYTES, &b->meta, sizeof b->meta);
    SECTION(MEAN, F32, t->mean, (uint64_t)t->d_full * 4);
    SECTION(BASE, F32, t->basis, (uint64_t)t->d_kept * t->d_full * 4);
    SECTION(CSCL, F32, p->scales, (uint64_t)p->d * 8);
    SECTION(CENT, U8, p->codes, (uint64_t)p->n_lists * p->d);
    SECTION(LIST, U32, b->first, ((uint64_t)p->n_lists + 1) * 4);
    if (model->kind == OMEN_CODEC_PQ) {
        SECTION(SUBS, U32, model->sub_first, ((uint64_t)model->n_sub + 1) * 4);
        SECTION(DIMS, U32, model->dims, (uint64_t)model->n_active * 4);
        SECTION(CODB, F32, model->codewords, (uint64_t)model->n_active * 64);
    } else if (model->kind == OMEN_CODEC_RABITQ) {
        SECTION(ROTA, F32, model->rotation, (uint64_t)model->n_sub * 16 * model->d_used);
    }
    if (model->kind != OMEN_CODEC_NONE)
        SECTION(FRNG, F32, b->ranges, (uint64_t)p->n_lists * model->n_factors * 8);
#undef SECTION
    return status;
}

/* Where each list begins, and the range of its factors. */
static int add_up_runs(build_state *b)
{
    const size_t n_lists = b->n_lists, n_factors = b->model.n_factors;
    b->first = omen_alloc_zero(n_lists + 1, sizeof *b->first);
    b->ranges = omen_alloc_zero(n_lists * n_factors * 2, sizeof *b->ranges);
    if (!b->first || !b->ranges)
        return no_memory(b);
    for (size_t r = 0; r < b->runs.n_runs; r++)
        for (size_t l = 0; l <= n_lists; l++)
            b->first[l] += b->runs.runs[r].first[l];
    for (size_t i = 0; i < n_lists * n_factors * 2; i += 2) {
        const float lo = b->runs.extremes[i], hi = b->runs.extremes[i + 1];
        b->ranges[i] = hi >= lo ? lo : 0;
        b->ranges[i + 1] = hi > lo ? (hi - lo) / 255 : 0;
    }
    return OMEN_OK;
}

/* One block of 32 codes, of items as a run holds them: sub-codes by byte row, then the factors as bytes. */
static void fill_block(const build_state *b, uint64_t position, const uint8_t *items, size_t n, uint8_t *block)
{
    const size_t code_bytes = b->model.n_sub / 2, n_factors = b->model.n_factors;
    const size_t item_bytes = b->runs.item_bytes[OMEN_RUN_CODES];
    size_t list = 0, above = b->n_lists; /* the list of position: first[list] <= position < first[list + 1] */
    while (above - list > 1) {
        const size_t middle = (list + above) / 2;
        if (b->first[middle] <= position)
            list = middle;
        else
            above = middle;
    }
    memset(block, 0, (code_bytes + n_factors) * OMEN_SCAN_BLOCK);
    for (size_t j = 0; j < n; j++) {
        const uint8_t *item = items + j * item_bytes, *code = item + n_factors * sizeof(float);
        while (b->first[list + 1] <= position + j)
            list++;
        for (size_t p = 0; p < code_bytes; p++)
            block[p * OMEN_SCAN_BLOCK + j] = code[p];
        for (size_t f = 0; f < n_factors; f++) {
            const float *range = b->ranges + (list * n_factors + f) * 2;
            float factor;
            memcpy(&factor, item + f * sizeof factor, sizeof factor);
            const float u = range[1] > 0 ? (factor - range[0]) / range[1] + 0.5f : 0;
            block[(code_bytes + f) * OMEN_SCAN_BLOCK + j] = (uint8_t)(int)(u < 255 ? u : 255);
        }
    }
}

/* What receives the items of a walk over the runs. */
typedef struct {
    build_state *b;
    uint64_t n_taken;  /* code items so far */
    uint64_t position; /* of the first of them that is in no block yet */
    uint64_t done, total;
    uint8_t *pending; /* items of the block that is not full yet */
    uint8_t *blocks;  /* BLOCKS_AT_ONCE */
} order_state;

static int give_bytes(order_state *o, const void *data, uint64_t n_bytes)
{
    const omen_sink *s = o->b->sink;
    const int status = s->append(s->self, data, n_bytes, o->b->why);
    o->done += n_bytes;
    return status == OMEN_OK ? report_progress(o->b, OMEN_STAGE_ORDER, o->done, o->total) : status;
}

static int take_rows(void *context, const uint8_t *items, uint64_t n, omen_detail *why)
{
    return give_bytes(context, items, n * sizeof(uint32_t));
}

static int take_refine(void *context, const uint8_t *items, uint64_t n, omen_detail *why)
{
    order_state *o = context;
    return give_bytes(o, items, n * o->b->runs.item_bytes[OMEN_RUN_REFINE]);
}

static int give_blocks(order_state *o, const uint8_t *items, size_t n)
{
    const build_state *b = o->b;
    const size_t block_bytes = omen_codec_bytes(&b->model) * OMEN_SCAN_BLOCK;
    const size_t item_bytes = b->runs.item_bytes[OMEN_RUN_CODES],
                 n_blocks = (n + OMEN_SCAN_BLOCK - 1) / OMEN_SCAN_BLOCK;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n_blocks; i++) {
        const size_t at = i * OMEN_SCAN_BLOCK;
        fill_block(b, o->position + at, items + at * item_bytes, least(OMEN_SCAN_BLOCK, n - at),
                   o->blocks + i * block_bytes);
    }
    o->position += n;
    return give_bytes(o, o->blocks, n_blocks * block_bytes);
}

/* Full blocks only; what is left over waits in pending. */
static int take_codes(void *context, const uint8_t *items, uint64_t n, omen_detail *why)
{
    order_state *o = context;
    const uint64_t n_rows = o->b->source->n_rows;
    const size_t item_bytes = o->b->runs.item_bytes[OMEN_RUN_CODES];
    /* positions up to here have come: some in blocks, the rest, less than a block, in pending */
    uint64_t come = o->n_taken;
    int status = OMEN_OK;
    while (n > 0 && status == OMEN_OK) {
        const size_t n_pending = come - o->position;
        size_t take = least(n, OMEN_SCAN_BLOCK * BLOCKS_AT_ONCE);
        if (n_pending > 0 || take < OMEN_SCAN_BLOCK) {
            take = least(n, OMEN_SCAN_BLOCK - n_pending);
            memcpy(o->pending + n_pending * item_bytes, items, take * item_bytes);
            if (n_pending + take == OMEN_SCAN_BLOCK || come + take == n_rows)
                status = give_blocks(o, o->pending, n_pending + take);
        } else {
            if (come + take < n_rows)
                take -= take % OMEN_SCAN_BLOCK;
            status = give_blocks(o, items, take);
        }
        come += take;
        items += take * item_bytes;
        n -= take;
    }
    o->n_taken = come;
    return status;
}

/* One section out of one part of the runs. */
static int write_part(build_state *b, order_state *o, uint32_t id, omen_element element, omen_run_part part,
                      omen_run_fn take)
{
    const omen_sink *s = b->sink;
    int status = s->begin(s->self, id, element, false, b->why);
    if (status == OMEN_OK)
        status = omen_runs_walk(&b->runs, part, take, o, b->why);
    return status == OMEN_OK ? s->finish(s->self, b->why) : status;
}

static int order_rows(build_state *b)
{
    const uint64_t n = b->source->n_rows;
    const size_t block_bytes = omen_codec_bytes(&b->model) * OMEN_SCAN_BLOCK;
    order_state o = {.b = b};
    o.total = round_up(n, OMEN_SCAN_BLOCK) * omen_codec_bytes(&b->model) +
              n * (b->runs.item_bytes[OMEN_RUN_REFINE] + sizeof(uint32_t));
    o.pending = omen_alloc(OMEN_SCAN_BLOCK, b->runs.item_bytes[OMEN_RUN_CODES]);
    o.blocks = omen_alloc(BLOCKS_AT_ONCE, block_bytes);
    int status = o.pending && o.blocks ? add_up_runs(b) : no_memory(b);
    if (status == OMEN_OK)
        status = write_model(b);
    if (status == OMEN_OK && b->model.kind != OMEN_CODEC_NONE)
        status = write_part(b, &o, OMEN_SECTION_CODE, OMEN_ELEMENT_U8, OMEN_RUN_CODES, take_codes);
    if (status == OMEN_OK && b->options->refine != OMEN_REFINE_NONE)
        status = write_part(b, &o, OMEN_SECTION_REFN, OMEN_ELEMENT_U8, OMEN_RUN_REFINE, take_refine);
    if (status == OMEN_OK)
        status = b->options->codes_only
                     ? OMEN_OK
                     : write_part(b, &o, OMEN_SECTION_PERM, OMEN_ELEMENT_U32, OMEN_RUN_ROWS, take_rows);
    free(o.pending);
    free(o.blocks);
    return status;
}

/* ---- calibrate ---- */

static int calibrate(build_state *b)
{
    static const uint32_t ids[] = {
        OMEN_SECTION_META, OMEN_SECTION_MEAN, OMEN_SECTION_BASE, OMEN_SECTION_CSCL, OMEN_SECTION_CENT,
        OMEN_SECTION_LIST, OMEN_SECTION_FRNG, OMEN_SECTION_SUBS, OMEN_SECTION_DIMS, OMEN_SECTION_CODB,
        OMEN_SECTION_ROTA, OMEN_SECTION_CODE, OMEN_SECTION_REFN, OMEN_SECTION_PERM,
    };
    const omen_codec kind = b->model.kind;
    omen_section sections[sizeof ids / sizeof *ids];
    size_t n = 0, n_entries = 0;
    omen_tune_entry entries[OMEN_N_TUNE];
    omen_index *index = NULL;
    int status = OMEN_OK;
    for (size_t i = 0; i < sizeof ids / sizeof *ids && status == OMEN_OK; i++) {
        const bool of_pq = ids[i] == OMEN_SECTION_SUBS || ids[i] == OMEN_SECTION_DIMS || ids[i] == OMEN_SECTION_CODB;
        if ((of_pq && kind != OMEN_CODEC_PQ) || (ids[i] == OMEN_SECTION_ROTA && kind != OMEN_CODEC_RABITQ) ||
            ((ids[i] == OMEN_SECTION_CODE || ids[i] == OMEN_SECTION_FRNG) && kind == OMEN_CODEC_NONE) ||
            (ids[i] == OMEN_SECTION_REFN && b->options->refine == OMEN_REFINE_NONE))
            continue;
        status = b->sink->map(b->sink->self, ids[i], &sections[n++], b->why);
    }
    if (status == OMEN_OK)
        status = omen_index_open(&index, sections, n, b->why);
    if (status == OMEN_OK)
        status = omen_index_calibrate(index, b->source, b->options->tune_queries, b->options->seed, b->n_threads,
                                      entries, &n_entries, b->why);
    if (status == OMEN_OK && n_entries > 0)
        status = write_section(b, OMEN_SECTION_TUNE, OMEN_ELEMENT_BYTES, entries, n_entries * sizeof *entries);
    omen_index_close(index);
    return status == OMEN_ERR_MEMORY ? no_memory(b) : status;
}

/* ---- options ---- */

static int check_options(const omen_source *source, const omen_build_options *o, omen_detail *why)
{
    if (source->n_rows < 1 || source->d < 1 || source->d > OMEN_MAX_DIM)
        return omen_fail(why, OMEN_ERR_INPUT, "%llu x %u vectors: at least one row of 1 to %u dimensions is needed",
                         (unsigned long long)source->n_rows, source->d, OMEN_MAX_DIM);
    if (source->n_rows > OMEN_MAX_ROWS)
        return omen_fail(why, OMEN_ERR_INPUT, "%llu rows: one index holds at most %u; split the input",
                         (unsigned long long)source->n_rows, OMEN_MAX_ROWS);
    if (o->bytes < OMEN_MIN_BYTES || o->bytes > OMEN_MAX_BYTES)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "%u bytes a vector: between %u and %u are possible", o->bytes,
                         OMEN_MIN_BYTES, OMEN_MAX_BYTES);
    if (o->n_lists > source->n_rows)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "%u lists are more than the %llu rows", o->n_lists,
                         (unsigned long long)source->n_rows);
    if (o->tune_queries && (o->tune_queries->d != source->d || o->tune_queries->n_rows < 1))
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the queries to tune for have %u dimensions, the input %u",
                         o->tune_queries->d, source->d);
    if (o->codes_only && (o->metric != OMEN_METRIC_L2 || o->n_lists != 1))
        return omen_fail(why, OMEN_ERR_ARGUMENT, "codes without lists have one list and metric l2");
    if (o->codec == OMEN_CODEC_NONE && o->refine == OMEN_REFINE_NONE)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "codec none and refine none leave nothing to search");
    return OMEN_OK;
}

/* 2 sqrt(n) balances the search for lists with the scan of lists. Fewer when there are not rows enough to train on, or
 * when centroids, one byte a kept dimension, would cost the hot data more than a byte a row. */
static uint32_t default_lists(uint64_t n, uint32_t d, uint32_t bytes)
{
    const uint32_t d_kept = d < KEPT_DIMS_A_BYTE * bytes ? d : KEPT_DIMS_A_BYTE * bytes;
    double lists = 2 * sqrt((double)n);
    const double trainable = (double)n / ROWS_PER_LIST_LEAST, affordable = (double)n / (d_kept + LIST_BYTES);
    lists = lists < trainable ? lists : trainable;
    lists = lists < affordable ? lists : affordable;
    return lists < 1 ? 1 : (uint32_t)lists;
}

/* ---- the plan ---- */

/* Private memory that any build takes: code, heaps of the threads, buffers of LAPACK. */
#define BASE_BYTES   (24ull << 20)
#define THREAD_BYTES (2ull << 20)
#define CHUNK_LEAST  4096u /* rows: fewer make too many runs */

static uint64_t most_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

int omen_build_plan_make(const omen_source *source, const omen_build_options *o, bool has_checkpoint,
                         omen_build_plan *out, omen_detail *why)
{
    const int status = check_options(source, o, why);
    if (status != OMEN_OK)
        return status;
    const uint64_t n = source->n_rows, d = source->d, d_full = d + (o->metric == OMEN_METRIC_IP);
    const uint64_t d_kept = round_up(least(d_full, (size_t)KEPT_DIMS_A_BYTE * o->bytes), OMEN_PANEL);
    const uint64_t n_lists = o->n_lists ? o->n_lists : default_lists(n, source->d, o->bytes);
    const uint64_t n_sample = sample_rows(n, (uint32_t)n_lists), n_pca = pca_rows(n_sample, d_full);
    const uint64_t threads = o->n_threads > 0 ? o->n_threads : omen_cpu_count();
    const bool has_codes = o->codec != OMEN_CODEC_NONE;
    const uint64_t code_bytes = has_codes ? o->bytes : 0, row_bytes = omen_refine_row_bytes(o->refine, source->d);
    const uint64_t factor_bytes = has_codes ? OMEN_MAX_FACTORS * sizeof(float) : 0;
    const uint64_t parents = n_lists > 1 ? (uint64_t)sqrt((double)n_lists) + 1 : 1;

    const uint64_t sample = n_sample * d * 4, transformed = n_sample * d_kept * 4;
    const uint64_t model = 2 * d_full * d_kept * 4 + n_lists * (9 * d_kept + 32) + parents * d_kept * 8 +
                           (has_codes ? 64 * code_bytes * least(d_kept, 8 * code_bytes) : 0);
    const uint64_t assign = threads * OMEN_ASSIGN_ROWS * (4 * n_lists / parents + 4 * parents + 4 * d_kept + 128);
    const uint64_t square = least(n_pca, d_full) * least(n_pca, d_full) * 8;
    uint64_t stages = sample + n_pca * d_full * 4 + 3 * square;
    stages = most_of(stages,
                     sample + transformed + 2 * d_full * d_kept * 4 + threads * PROJECT_ROWS * 4 * (d_full + d_kept));
    stages = most_of(stages, transformed + model + n_sample * 24 + assign + 256 * parents * d_kept * 4 +
                                 threads * 3 * (n_sample / parents + 1) * d_kept * 4);
    stages = most_of(stages, transformed + model + n_sample * 8 + 3 * CODEC_SAMPLE * d_kept * 4 + assign +
                                 (has_codes ? code_bytes * 8 * 8 * d_kept : 0));
    const size_t block = encode_block_rows(d);
    const uint64_t encode = model + assign + threads * block * 4 * (d + d_full + d_kept);
    const uint64_t row = omen_runs_chunk_row_bytes(code_bytes, has_codes ? OMEN_MAX_FACTORS : 0, row_bytes);
    const uint64_t calibrate = model + omen_calibrate_bytes(n, source->d, (uint32_t)n_lists, (int)threads);
    const uint64_t base = BASE_BYTES + threads * THREAD_BYTES;

    bool keep = true; /* all runs in memory: first choice */
    uint64_t chunk = o->chunk_rows ? o->chunk_rows : most_of(2 * CHUNK_BYTES / row, CHUNK_LEAST);
    chunk = has_checkpoint ? least(chunk, n) : n;
    for (;;) {
        const uint64_t n_chunks = (n + chunk - 1) / chunk;
        const uint64_t tables = n_chunks * (n_lists + 1) * 4 + 4 * n_lists * factor_bytes;
        const uint64_t walk = omen_runs_walk_bytes(n_chunks) + 2 * BLOCKS_AT_ONCE * OMEN_SCAN_BLOCK * code_bytes;
        uint64_t peak = most_of(stages, encode + tables + chunk * row);
        peak = most_of(peak, model + tables + walk + chunk * row / 2);
        /* the last run stays in memory to the end */
        peak = base + most_of(peak, calibrate + tables + chunk * row / 2);
        const uint64_t kept = keep && n_chunks > 1 ? n * row / 2 : 0;
        if (kept && o->memory_bytes && kept > (o->memory_bytes - least(peak, o->memory_bytes)) / 2) {
            keep = false;
            continue;
        }
        peak += kept;
        *out = (omen_build_plan){
            .memory_bytes = peak,
            .chunk_rows = chunk,
            .keeps_runs = keep,
            .n_chunks = n_chunks,
            .checkpoint_bytes = has_checkpoint ? model + n * row / 2 + n_chunks * 8 * n_lists * (1 + factor_bytes) : 0,
            .index_bytes = round_up(n, OMEN_SCAN_BLOCK) * (code_bytes + row_bytes + 4) + model,
        };
        if (!o->memory_bytes || peak <= o->memory_bytes)
            return OMEN_OK;
        if (!has_checkpoint || o->chunk_rows || chunk <= CHUNK_LEAST)
            return omen_fail(why, OMEN_ERR_MEMORY, "%llu MiB of memory are too little: this build needs %llu MiB",
                             (unsigned long long)(o->memory_bytes >> 20), (unsigned long long)(peak >> 20) + 1);
        chunk = most_of(chunk / 2, CHUNK_LEAST);
    }
}

/* ---- the whole ---- */

static int init_runs(build_state *b)
{
    const int status = omen_runs_init(&b->runs, b->n_lists, b->model.n_sub / 2, b->model.n_factors,
                                      omen_refine_row_bytes(b->options->refine, b->transform.d), b->checkpoint);
    return status == OMEN_OK ? OMEN_OK : no_memory(b);
}

/* Takes over what the checkpoint has, or begins it. Sets first_stage. */
static int resume(build_state *b)
{
    const omen_checkpoint *c = b->checkpoint;
    omen_record record;
    int status = omen_records_describe(&b->records, b->source, b->options, b->n_lists, b->why);
    if (status != OMEN_OK)
        return status;
    if (!c->get(c->self, 0, &record))
        return omen_records_save_head(&b->records, c, b->why);
    status = omen_records_check_head(&b->records, c, b->why);
    for (uint32_t i = 1; status == OMEN_OK && c->get(c->self, i, &record); i++) {
        const uint32_t expected = i < 4 ? OMEN_RECORD_HEAD + i : OMEN_RECORD_RUN;
        if (record.kind != expected)
            return omen_fail(b->why, OMEN_ERR_CORRUPT, "the checkpoint contradicts itself");
        switch (record.kind) {
        case OMEN_RECORD_TRANSFORM:
            status = omen_records_load_transform(&b->records, &b->transform, c, i, b->why);
            b->identity = b->records.transform.identity;
            b->first_stage = OMEN_STAGE_PARTITION;
            break;
        case OMEN_RECORD_PARTITION:
            status = omen_records_load_partition(&b->records, &b->partition, c, i, b->why);
            b->first_stage = OMEN_STAGE_CODEC;
            break;
        case OMEN_RECORD_CODEC:
            status = omen_records_load_codec(&b->records, &b->model, c, i, b->why);
            if (status == OMEN_OK)
                status = init_runs(b);
            b->report->pq_error = b->records.codec.pq_error;
            b->report->rabitq_error = b->records.codec.rabitq_error;
            b->first_stage = OMEN_STAGE_ENCODE;
            break;
        default:
            status = omen_runs_restore(&b->runs, i, record.n_bytes, b->why);
            if (status == OMEN_OK) {
                const omen_run *run = &b->runs.runs[b->runs.n_runs - 1];
                if (run->row0 != b->n_encoded || run->n_rows > b->source->n_rows - b->n_encoded)
                    return omen_fail(b->why, OMEN_ERR_CORRUPT, "the checkpoint contradicts itself");
                b->n_encoded += run->n_rows;
            }
        }
    }
    if (b->n_encoded == b->source->n_rows)
        b->first_stage = OMEN_STAGE_ORDER;
    if (status == OMEN_OK && b->first_stage > OMEN_STAGE_SAMPLE && b->options->resumed)
        b->options->resumed(b->options->progress_context, stage_names[b->first_stage], b->n_encoded, b->source->n_rows);
    return status;
}

static void fill_meta(build_state *b)
{
    b->meta = (omen_meta){
        .n_rows = b->source->n_rows,
        .d = b->transform.d,
        .d_full = b->transform.d_full,
        .d_kept = b->transform.d_kept,
        .metric = b->options->metric,
        .codec = b->model.kind,
        .refine = b->options->refine,
        .n_lists = b->n_lists,
        .n_sub = b->model.n_sub,
        .n_factors = b->model.n_factors,
        .n_active = b->model.n_active,
        .d_used = b->model.d_used,
        .bytes = b->options->bytes,
        .seed = b->options->seed,
        .ip_radius2 = b->transform.ip_radius2,
        .flags = b->options->zero_ok ? OMEN_META_FLAG_ZERO_OK : 0,
        .code_scale = b->code_scale,
    };
}

/* A training stage: what it makes is saved; on a resumed build it does only what later stages need of it. */
static int run_training(build_state *b, omen_stage stage)
{
    const omen_build_options *o = b->options;
    const omen_checkpoint *c = b->checkpoint;
    const bool made = stage < b->first_stage;
    int status = OMEN_OK;
    if (b->first_stage > OMEN_STAGE_CODEC)
        return OMEN_OK;
    switch (stage) {
    case OMEN_STAGE_SAMPLE:
        return read_sample(b);
    case OMEN_STAGE_TRANSFORM:
        if (!made)
            status = fit_transform(b);
        if (!made && status == OMEN_OK && c)
            status = omen_records_save_transform(&b->records, &b->transform, b->identity, c, b->why);
        return status == OMEN_OK ? project_sample(b) : status;
    case OMEN_STAGE_PARTITION:
        if (made)
            return OMEN_OK;
        status = omen_partition_train(&b->partition, b->transformed, b->n_sample, b->transform.d_kept, b->n_lists,
                                      o->seed, o->progress, o->progress_context);
        if (status != OMEN_OK)
            return status == OMEN_ERR_MEMORY ? no_memory(b) : omen_fail(b->why, status, "interrupted");
        return c ? omen_records_save_partition(&b->records, &b->partition, c, b->why) : OMEN_OK;
    default:
        status = train_codec(b);
        free(b->transformed);
        b->transformed = NULL;
        b->records.codec.pq_error = b->report->pq_error;
        b->records.codec.rabitq_error = b->report->rabitq_error;
        if (status == OMEN_OK && c)
            status = omen_records_save_codec(&b->records, &b->model, c, b->why);
        return status == OMEN_OK ? init_runs(b) : status;
    }
}

static int run_stage(build_state *b, omen_stage stage)
{
    switch (stage) {
    case OMEN_STAGE_ENCODE:
        return encode_rows(b);
    case OMEN_STAGE_ORDER:
        fill_meta(b);
        return order_rows(b);
    case OMEN_STAGE_CALIBRATE:
        return b->options->codes_only ? OMEN_OK : calibrate(b);
    default:
        return run_training(b, stage);
    }
}

int omen_index_build(const omen_source *source, const omen_build_options *options, const omen_sink *sink,
                     const omen_checkpoint *checkpoint, omen_build_report *report, omen_detail *why)
{
    omen_build_report unused;
    build_state b = {.source = source,
                     .options = options,
                     .sink = sink,
                     .checkpoint = checkpoint,
                     .report = report ? report : &unused,
                     .why = why};
    int status = omen_build_plan_make(source, options, checkpoint != NULL, &b.plan, why);
    if (status != OMEN_OK)
        return status;
    b.n_threads = options->n_threads > 0 ? options->n_threads : omen_cpu_count();
    b.n_lists = options->n_lists ? options->n_lists : default_lists(source->n_rows, source->d, options->bytes);
    b.transform.metric = options->metric;
    *b.report = (omen_build_report){.n_rows = source->n_rows,
                                    .d = source->d,
                                    .n_lists = b.n_lists,
                                    .n_threads = b.n_threads,
                                    .pq_error = NAN,
                                    .rabitq_error = NAN};
    b.report->few_training_rows = b.n_lists > 1 && source->n_rows / b.n_lists < ROWS_PER_LIST_LEAST;
    const int threads_before = omp_get_max_threads();
    omp_set_num_threads(b.n_threads);
    if (checkpoint)
        status = resume(&b);
    for (int stage = 0; stage < OMEN_N_STAGES && status == OMEN_OK; stage++) {
        const double start = now_seconds();
        status = report_progress(&b, stage, 0, 1);
        if (status == OMEN_OK)
            status = run_stage(&b, stage);
        b.report->stage_seconds[stage] = now_seconds() - start;
    }
    b.report->codec = b.model.kind;
    omp_set_num_threads(threads_before);
    b.report->n_encoded = b.n_encoded;
    /* a record may still be on its way out of memory that is freed next; it matters only to a build that goes on later
     */
    if (checkpoint) {
        const int written = checkpoint->wait(checkpoint->self, status == OMEN_ERR_INTERRUPTED ? why : NULL);
        status = status == OMEN_ERR_INTERRUPTED && written != OMEN_OK ? written : status;
    }
    omen_runs_finish(&b.runs);
    omen_transform_finish(&b.transform);
    omen_partition_finish(&b.partition);
    omen_codec_finish(&b.model);
    free(b.sample);
    free(b.transformed);
    free(b.first);
    free(b.ranges);
    return status;
}
