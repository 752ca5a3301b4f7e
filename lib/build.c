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
#include "lib/refine.h"
#include "lib/transform.h"

#define ROWS_PER_LIST_LEAST  39u /* fewer training rows leave centroids unsettled */
#define ROWS_PER_LIST_SAMPLE 64u
#define SAMPLE_LEAST         16384u
#define PCA_SAMPLE           16384u /* or 4 d_full, if more */
#define CODEC_SAMPLE         16384u
#define ERROR_SAMPLE         2048u /* rows that the codecs' errors are measured on */
#define ERROR_QUERIES        64u
#define KEPT_DIMS_A_BYTE     8u         /* transform dimensions kept for each hot byte */
#define LIST_BYTES           20u        /* of a list besides its centroid: offset, factor ranges */
#define BLOCK_VALUES         (1u << 18) /* input values of an encode block */
#define APPEND_BYTES         (4u << 20) /* written at a time in the order stage */

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
    /* one entry a row of the source */
    uint32_t *lists;
    uint8_t *codes; /* n_sub / 2 bytes */
    float *factors; /* n_factors */
    uint8_t *refine_rows;
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

static int read_sample(build_state *b)
{
    const omen_kernels *kernels = omen_kernels_get();
    const uint64_t n = b->source->n_rows;
    const size_t d = b->source->d;
    omen_transform *t = &b->transform;
    size_t wanted = round_up((size_t)b->n_lists * ROWS_PER_LIST_SAMPLE, 1);
    wanted = wanted < SAMPLE_LEAST ? SAMPLE_LEAST : wanted;
    b->n_sample = least(wanted, n);
    b->report->few_training_rows = b->n_lists > 1 && n / b->n_lists < ROWS_PER_LIST_LEAST;
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
    }
    free(rows);
    if (status != OMEN_OK)
        return status;
    b->identity = XXH3_64bits_withSeed(b->sample, b->n_sample * d * sizeof *b->sample, n * 31 + d);
    const omen_build_options *o = b->options;
    const uint64_t asked[] = {o->metric, o->codec, o->refine, o->bytes, b->n_lists, o->seed, o->zero_ok};
    b->identity = XXH3_64bits_withSeed(asked, sizeof asked, b->identity);

    t->metric = o->metric;
    t->d = (uint32_t)d;
    t->d_full = (uint32_t)d + (o->metric == OMEN_METRIC_IP);
    for (size_t i = 0; i < b->n_sample && o->metric == OMEN_METRIC_IP; i++) {
        const float norm2 = kernels->ip_f32(b->sample + i * d, b->sample + i * d, d);
        t->ip_radius2 = norm2 > t->ip_radius2 && isfinite(norm2) ? norm2 : t->ip_radius2;
    }
    return OMEN_OK;
}

/* ---- transform ---- */

static int fit_transform(build_state *b)
{
    omen_transform *t = &b->transform;
    const size_t d = t->d, d_full = t->d_full;
    const size_t n_pca = least(b->n_sample, 4 * d_full > PCA_SAMPLE ? 4 * d_full : PCA_SAMPLE);
    float *rows = omen_alloc(n_pca * d_full, sizeof *rows);
    if (!rows)
        return no_memory(b);
    /* spread over the sample: rows are in source order */
    for (size_t i = 0; i < n_pca; i++)
        omen_transform_lift(t, b->sample + i * b->n_sample / n_pca * d, 1, false, rows + i * d_full);
    int status = omen_transform_fit(t, rows, n_pca, KEPT_DIMS_A_BYTE * b->options->bytes);
    free(rows);
    if (status != OMEN_OK)
        return no_memory(b);
    const size_t block = least(256, b->n_sample), ld = round_up(t->d_kept, OMEN_PANEL);
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
        if (o->codec != OMEN_CODEC_RABITQ)
            status = omen_codec_error(&b->model, rows, b->partition.centroids, own, n_error, n_queries,
                                      &b->report->pq_error);
        if (status == OMEN_OK && o->codec != OMEN_CODEC_PQ)
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

static int encode_block(build_state *b, encode_buffers *e, uint64_t row0, size_t n, omen_detail *why)
{
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
    omen_partition_assign(&b->partition, e->projected, n, ld, b->lists + row0, e->assign);
    for (size_t i0 = 0; i0 < n && b->model.kind != OMEN_CODEC_NONE; i0 += OMEN_ENCODE_ROWS) {
        const size_t count = least(OMEN_ENCODE_ROWS, n - i0);
        for (size_t i = 0; i < count; i++) {
            const float *y = e->projected + (i0 + i) * ld;
            const float *c = b->partition.centroids + (size_t)b->lists[row0 + i0 + i] * d_kept;
            memcpy(e->centroids + i * ld, c, d_kept * sizeof *c);
            for (size_t j = 0; j < d_kept; j++)
                e->residuals[i * ld + j] = y[j] - c[j];
        }
        omen_codec_encode(&b->model, e->residuals, e->centroids, count, ld, e->tails + i0,
                          b->codes + (row0 + i0) * code_bytes, b->factors + (row0 + i0) * n_factors, NULL, e->scratch);
    }
    const float *stored = t->metric == OMEN_METRIC_COSINE ? e->lifted : e->rows;
    for (size_t i = 0; i < n && row_bytes; i++)
        omen_refine_encode(b->options->refine, stored + i * d, t->d, b->refine_rows + (row0 + i) * row_bytes);
    return OMEN_OK;
}

static int encode_rows(build_state *b)
{
    const uint64_t n = b->source->n_rows;
    const size_t d = b->transform.d;
    const size_t block = d > BLOCK_VALUES / 16 ? 16 : least(OMEN_ASSIGN_ROWS, BLOCK_VALUES / d / 16 * 16);
    const uint64_t n_blocks = (n + block - 1) / block;
    b->lists = omen_alloc(n, sizeof *b->lists);
    b->codes = omen_alloc(n, b->model.n_sub / 2);
    b->factors = omen_alloc(n * b->model.n_factors, sizeof *b->factors);
    b->refine_rows = omen_alloc(n, omen_refine_row_bytes(b->options->refine, (uint32_t)d));
    if (!b->lists || !b->codes || !b->factors || !b->refine_rows)
        return no_memory(b);
    uint64_t done = 0;
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
            const uint64_t row0 = i * block;
            const int failed = encode_block(b, &e, row0, least(block, n - row0), &why);
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
            done += least(block, n - row0);
            if (omp_get_thread_num() == 0) {
                uint64_t so_far;
#pragma omp atomic read
                so_far = done;
                if (report_progress(b, OMEN_STAGE_ENCODE, so_far, n) != OMEN_OK) {
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

/* Counting sort of rows by list; rows of a list keep their order. Then the extremes of each list's factors. */
static int sort_rows(build_state *b, uint32_t *order)
{
    const uint64_t n = b->source->n_rows;
    const size_t n_lists = b->n_lists, n_factors = b->model.n_factors;
    uint32_t *at = omen_alloc(n_lists, sizeof *at);
    b->first = omen_alloc_zero(n_lists + 1, sizeof *b->first);
    b->ranges = omen_alloc_zero(n_lists * n_factors * 2, sizeof *b->ranges);
    if (!at || !b->first || !b->ranges) {
        free(at);
        return no_memory(b);
    }
    for (uint64_t i = 0; i < n; i++)
        b->first[b->lists[i] + 1]++;
    for (size_t l = 0; l < n_lists; l++)
        b->first[l + 1] += b->first[l];
    memcpy(at, b->first, n_lists * sizeof *at);
    for (uint64_t i = 0; i < n; i++)
        order[at[b->lists[i]]++] = (uint32_t)i;
    free(at);
#pragma omp parallel for schedule(dynamic, 64)
    for (size_t l = 0; l < n_lists; l++) {
        for (size_t f = 0; f < n_factors && b->first[l] < b->first[l + 1]; f++) {
            float lo = INFINITY, hi = -INFINITY;
            for (uint32_t i = b->first[l]; i < b->first[l + 1]; i++) {
                const float x = b->factors[(size_t)order[i] * n_factors + f];
                lo = x < lo ? x : lo;
                hi = x > hi ? x : hi;
            }
            float *range = b->ranges + (l * n_factors + f) * 2;
            range[0] = lo;
            range[1] = hi > lo ? (hi - lo) / 255 : 0;
        }
    }
    return OMEN_OK;
}

/* One block of 32 codes: sub-codes by byte row, then the factors as bytes. */
static void fill_block(const build_state *b, const uint32_t *order, uint64_t row0, size_t n, uint8_t *block)
{
    const size_t code_bytes = b->model.n_sub / 2, n_factors = b->model.n_factors;
    memset(block, 0, (code_bytes + n_factors) * OMEN_SCAN_BLOCK);
    for (size_t j = 0; j < n; j++) {
        const size_t row = order[row0 + j];
        const uint8_t *code = b->codes + row * code_bytes;
        for (size_t p = 0; p < code_bytes; p++)
            block[p * OMEN_SCAN_BLOCK + j] = code[p];
        for (size_t f = 0; f < n_factors; f++) {
            const float *range = b->ranges + ((size_t)b->lists[row] * n_factors + f) * 2;
            const float u = range[1] > 0 ? (b->factors[row * n_factors + f] - range[0]) / range[1] + 0.5f : 0;
            block[(code_bytes + f) * OMEN_SCAN_BLOCK + j] = (uint8_t)(int)(u < 255 ? u : 255);
        }
    }
}

/* Writes n_items items of item_bytes, produced in parallel a few MiB at a time. Items are code blocks, or refine rows.
 */
static int write_items(build_state *b, const uint32_t *order, bool are_blocks, uint64_t *done)
{
    const uint64_t n_rows = b->source->n_rows;
    const size_t row_bytes = omen_refine_row_bytes(b->options->refine, b->transform.d);
    const size_t item_bytes = are_blocks ? (b->model.n_sub / 2 + b->model.n_factors) * OMEN_SCAN_BLOCK : row_bytes;
    const uint64_t n_items = are_blocks ? (n_rows + OMEN_SCAN_BLOCK - 1) / OMEN_SCAN_BLOCK : n_rows;
    const uint64_t at_once = item_bytes < APPEND_BYTES ? APPEND_BYTES / item_bytes : 1;
    const omen_sink *s = b->sink;
    uint8_t *buffer = omen_alloc(at_once, item_bytes);
    if (!buffer)
        return no_memory(b);
    int status = s->begin(s->self, are_blocks ? OMEN_SECTION_CODE : OMEN_SECTION_REFN, OMEN_ELEMENT_U8, false, b->why);
    for (uint64_t i0 = 0; i0 < n_items && status == OMEN_OK; i0 += at_once) {
        const uint64_t n = least(at_once, n_items - i0);
#pragma omp parallel for schedule(static)
        for (uint64_t i = 0; i < n; i++) {
            if (are_blocks) {
                const uint64_t row0 = (i0 + i) * OMEN_SCAN_BLOCK;
                fill_block(b, order, row0, least(OMEN_SCAN_BLOCK, n_rows - row0), buffer + i * item_bytes);
            } else {
                memcpy(buffer + i * item_bytes, b->refine_rows + (size_t)order[i0 + i] * item_bytes, item_bytes);
            }
        }
        status = s->append(s->self, buffer, n * item_bytes, b->why);
        *done += n * item_bytes;
        if (status == OMEN_OK)
            status =
                report_progress(b, OMEN_STAGE_ORDER, *done,
                                round_up(n_rows, OMEN_SCAN_BLOCK) * omen_codec_bytes(&b->model) + n_rows * row_bytes);
    }
    free(buffer);
    return status == OMEN_OK ? s->finish(s->self, b->why) : status;
}

static int order_rows(build_state *b)
{
    const uint64_t n = b->source->n_rows;
    uint64_t done = 0;
    uint32_t *order = omen_alloc(n, sizeof *order);
    int status = order ? sort_rows(b, order) : no_memory(b);
    if (status == OMEN_OK)
        status = write_model(b);
    if (status == OMEN_OK && b->model.kind != OMEN_CODEC_NONE)
        status = write_items(b, order, true, &done);
    if (status == OMEN_OK && b->options->refine != OMEN_REFINE_NONE)
        status = write_items(b, order, false, &done);
    if (status == OMEN_OK)
        status = write_section(b, OMEN_SECTION_PERM, OMEN_ELEMENT_U32, order, n * sizeof *order);
    free(order);
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

/* ---- the whole ---- */

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

static int run_stage(build_state *b, omen_stage stage)
{
    const omen_build_options *o = b->options;
    switch (stage) {
    case OMEN_STAGE_SAMPLE:
        return read_sample(b);
    case OMEN_STAGE_TRANSFORM:
        return fit_transform(b);
    case OMEN_STAGE_PARTITION: {
        const int status = omen_partition_train(&b->partition, b->transformed, b->n_sample, b->transform.d_kept,
                                                b->n_lists, o->seed, o->progress, o->progress_context);
        return status == OMEN_ERR_MEMORY        ? no_memory(b)
               : status == OMEN_ERR_INTERRUPTED ? omen_fail(b->why, status, "interrupted")
                                                : status;
    }
    case OMEN_STAGE_CODEC: {
        const int status = train_codec(b);
        free(b->transformed);
        b->transformed = NULL;
        b->meta = (omen_meta){
            .n_rows = b->source->n_rows,
            .d = b->transform.d,
            .d_full = b->transform.d_full,
            .d_kept = b->transform.d_kept,
            .metric = o->metric,
            .codec = b->model.kind,
            .refine = o->refine,
            .n_lists = b->n_lists,
            .n_sub = b->model.n_sub,
            .n_factors = b->model.n_factors,
            .n_active = b->model.n_active,
            .d_used = b->model.d_used,
            .bytes = o->bytes,
            .seed = o->seed,
            .ip_radius2 = b->transform.ip_radius2,
            .flags = o->zero_ok ? OMEN_META_FLAG_ZERO_OK : 0,
        };
        return status;
    }
    case OMEN_STAGE_ENCODE:
        return encode_rows(b);
    case OMEN_STAGE_ORDER:
        return order_rows(b);
    case OMEN_STAGE_CALIBRATE:
        return calibrate(b);
    default:
        return OMEN_OK;
    }
}

int omen_index_build(const omen_source *source, const omen_build_options *options, const omen_sink *sink,
                     omen_build_report *report, omen_detail *why)
{
    omen_build_report unused;
    int status = check_options(source, options, why);
    if (status != OMEN_OK)
        return status;
    build_state b = {
        .source = source, .options = options, .sink = sink, .report = report ? report : &unused, .why = why};
    b.n_threads = options->n_threads > 0 ? options->n_threads : omen_cpu_count();
    b.n_lists = options->n_lists ? options->n_lists : default_lists(source->n_rows, source->d, options->bytes);
    *b.report =
        (omen_build_report){.n_rows = source->n_rows, .d = source->d, .n_lists = b.n_lists, .n_threads = b.n_threads};
    const int threads_before = omp_get_max_threads();
    omp_set_num_threads(b.n_threads);
    for (int stage = 0; stage < OMEN_N_STAGES && status == OMEN_OK; stage++) {
        const double start = now_seconds();
        status = report_progress(&b, stage, 0, 1);
        if (status == OMEN_OK)
            status = run_stage(&b, stage);
        b.report->stage_seconds[stage] = now_seconds() - start;
    }
    b.report->codec = b.model.kind;
    omp_set_num_threads(threads_before);
    omen_transform_finish(&b.transform);
    omen_partition_finish(&b.partition);
    omen_codec_finish(&b.model);
    free(b.sample);
    free(b.transformed);
    free(b.lists);
    free(b.codes);
    free(b.factors);
    free(b.refine_rows);
    free(b.first);
    free(b.ranges);
    return status;
}
