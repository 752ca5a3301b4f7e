/* SPDX-License-Identifier: Apache-2.0 */
/* The training stages of a build: a sample of the rows, the transform and the codec that are learnt from it. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/build_state.h"
#include "lib/calibrate.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"

#define ROWS_PER_LIST_SAMPLE 64u
#define SAMPLE_LEAST         16384u
#define PCA_SAMPLE           8192u /* or 4 d_full, if more */
#define SAMPLE_ROWS          1024u /* sampled rows read at a time; what surrounds them may leave memory then */
#define ERROR_SAMPLE         2048u /* rows that the codecs' errors are measured on */
#define ERROR_QUERIES        64u
#define IP_GAIN              2.0 /* under ip, the error of a codec without a gain counts so many times */
#define QUERIES_SHARE        4u  /* of the sample, one in so many may be left out for calibration */
#define HASH_BYTES           (64u << 20)
#define UNIT_SLACK           1e-3  /* how far from 1 a length is that counts as 1 */
#define SPREAD_LEAST         2e-39 /* of squared distances, twice the variance: those to near rows are far smaller */

/* ---- sample ---- */

/* Rows whose distances would not be numbers. */
int omen_build_check_row(const omen_build_state *b, const float *values, uint64_t row, omen_detail *why)
{
    const float norm2 = omen_kernels_get()->ip_f32(values, values, b->source->d);
    if (!(norm2 <= OMEN_NORM2_MOST))
        return omen_fail(why, OMEN_ERR_INPUT, "%s is too long: its squared norm is over %g",
                         omen_build_row_label(b, row).text, (double)OMEN_NORM2_MOST);
    if (b->options->metric != OMEN_METRIC_COSINE || b->options->zero_ok || omen_norm2(values, b->source->d) > 0)
        return OMEN_OK;
    return omen_fail(why, OMEN_ERR_INPUT, "%s is a zero vector, which has no cosine; %s",
                     omen_build_row_label(b, row).text,
                     b->options->model ? "a model that was trained with options.zero_ok accepts it"
                                       : "options.zero_ok accepts it, with similarity 0 to everything");
}

size_t omen_build_sample_rows(uint64_t n, uint32_t n_lists)
{
    const size_t wanted = (size_t)n_lists * ROWS_PER_LIST_SAMPLE;
    return least(wanted < SAMPLE_LEAST ? SAMPLE_LEAST : wanted, n);
}

/* The least and the most of squared lengths. */
typedef struct {
    float least, most;
} norm_range;

/* Reads the sampled rows [i0, i1), whose numbers rise. */
static int read_sampled(const omen_build_state *b, const uint64_t *rows, size_t i0, size_t i1, norm_range *norms2,
                        omen_watch *watch, omen_detail *why)
{
    const omen_source *source = b->source;
    const size_t d = source->d;
    int status = OMEN_OK;
    *norms2 = (norm_range){FLT_MAX, 0};
    for (size_t i = i0; i < i1 && status == OMEN_OK && !omen_watch_stopped(watch); i++) {
        float *row = b->sample + i * d;
        status = source->read(source->self, rows[i], 1, row, why);
        if (status == OMEN_OK)
            status = omen_build_check_row(b, row, rows[i], why);
        const float norm2 = status == OMEN_OK ? omen_kernels_get()->ip_f32(row, row, d) : 0;
        norms2->least = norm2 < norms2->least ? norm2 : norms2->least;
        norms2->most = norm2 > norms2->most ? norm2 : norms2->most;
    }
    if (source->release)
        source->release(source->self, rows[i0], rows[i1 - 1] + 1 - rows[i0]);
    return status;
}

/* XXH3 of the sample, in pieces: there may be gigabytes of it. */
static uint64_t hash_sample(const omen_build_state *b, uint64_t seed, omen_watch *watch)
{
    const size_t n_bytes = b->n_sample * b->source->d * sizeof *b->sample;
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset_withSeed(&state, seed);
    for (size_t at = 0; at < n_bytes && !omen_watch_stopped(watch); at += HASH_BYTES)
        XXH3_64bits_update(&state, (const char *)b->sample + at, least(HASH_BYTES, n_bytes - at));
    return XXH3_64bits_digest(&state);
}

/* Leaves rows that calibration will search for out of the sample, where enough others are left: a model fits the rows
 * that it was trained on better than others, and so would the effort that is measured on them. */
static void leave_out_queries(omen_build_state *b, uint64_t *rows)
{
    uint64_t queries[OMEN_NEIGHBOURS_QUERIES];
    size_t n = 0, at = 0;
    if (b->options->tune_queries || b->options->codes_only)
        return;
    const uint32_t n_queries = omen_neighbours_draw(b->source->n_rows, b->source->d, b->options->seed, queries);
    if (b->n_sample / QUERIES_SHARE < n_queries)
        return;
    for (size_t i = 0; i < b->n_sample; i++) {
        while (at < n_queries && queries[at] < rows[i])
            at++;
        if (at == n_queries || queries[at] != rows[i])
            rows[n++] = rows[i];
    }
    b->n_sample = n;
}

/* Puts the lengths of the sample into the report. */
static void tell_norms(const omen_build_state *b, float least2, float most2)
{
    omen_build_report *report = b->report;
    report->norms.n_rows = b->n_sample;
    report->norms.least = sqrt((double)least2);
    report->norms.most = sqrt((double)most2);
    report->norms.are_unit = report->norms.least >= 1 - UNIT_SLACK && report->norms.most <= 1 + UNIT_SLACK;
}

/* Refuses rows whose squared distances float32 holds badly or not at all, under l2, where nothing scales them: by the
 * mean of the distances from the first row of the sample. Rows that are all equal have none. */
static int check_spread(const omen_build_state *b, omen_watch *watch)
{
    const size_t n = b->n_sample, d = b->source->d;
    const omen_source_part *parts = b->options->parts;
    const char *name = b->options->n_parts > 0 ? parts[0].name : b->source->name;
    double sum = 0, factor = 1;
    for (size_t i = 1; i < n && sum < SPREAD_LEAST * (double)n; i++) {
        if (i % SAMPLE_ROWS == 0 && omen_watch_stopped(watch))
            return OMEN_OK; /* which its caller tells */
        for (size_t j = 0; j < d; j++) {
            const double apart = (double)b->sample[i * d + j] - (double)b->sample[j];
            sum += apart * apart;
        }
    }
    const double spread = sum / (double)n;
    if (!(sum > 0) || spread >= SPREAD_LEAST)
        return OMEN_OK;
    while (spread * factor * factor < 1)
        factor *= 10;
    return omen_fail(b->why, OMEN_ERR_INPUT,
                     "%.300s%s: values are too small: squared distances of about %.1g vanish in float32; multiply rows "
                     "and queries by %g",
                     name ? name : "the rows", b->options->n_parts > 1 ? " and others" : "", spread, factor);
}

int omen_build_read_sample(omen_build_state *b)
{
    const uint64_t n = b->source->n_rows;
    const size_t d = b->source->d;
    omen_transform *t = &b->transform;
    b->n_sample = omen_build_sample_rows(n, b->n_lists);
    uint64_t *rows = omen_alloc(b->n_sample, sizeof *rows);
    b->sample = omen_alloc(b->n_sample * d, sizeof *b->sample);
    if (!rows || !b->sample) {
        free(rows);
        return omen_build_no_memory(b);
    }
    omen_random_rows(b->options->seed, n, b->n_sample, rows);
    leave_out_queries(b, rows);
    omen_watch watch = omen_build_watch(b, OMEN_STAGE_SAMPLE);
    int status = OMEN_OK;
    size_t failed_at = SIZE_MAX; /* the first row at fault is told, whichever thread meets it */
    float least2 = FLT_MAX, most2 = 0;
#pragma omp parallel for schedule(dynamic) reduction(min : least2) reduction(max : most2)
    for (size_t i = 0; i < b->n_sample; i += SAMPLE_ROWS) {
        omen_detail why = {""};
        norm_range norms2;
        const int own = read_sampled(b, rows, i, least(i + SAMPLE_ROWS, b->n_sample), &norms2, &watch, &why);
        least2 = norms2.least < least2 ? norms2.least : least2;
        most2 = norms2.most > most2 ? norms2.most : most2;
        if (own != OMEN_OK) {
#pragma omp critical(omen_build)
            {
                if (i < failed_at) {
                    failed_at = i;
                    status = own;
                    if (b->why)
                        *b->why = why;
                }
            }
        }
    }
    free(rows);
    if (status != OMEN_OK)
        return status;
    tell_norms(b, least2, most2);
    const omen_build_options *o = b->options;
    if (o->metric == OMEN_METRIC_L2 && !o->codes_only && !omen_watch_stopped(&watch)) /* all rows were read */
        status = check_spread(b, &watch);
    if (status != OMEN_OK)
        return status;
    b->identity = hash_sample(b, n * 31 + d, &watch);
    const uint64_t asked[] = {o->metric, o->codec, o->refine, o->bytes, b->n_lists, o->seed, o->zero_ok};
    b->identity = XXH3_64bits_withSeed(asked, sizeof asked, b->identity);

    t->d = (uint32_t)d;
    t->d_full = (uint32_t)d + (o->metric == OMEN_METRIC_IP);
    if (o->metric == OMEN_METRIC_IP && !omen_watch_stopped(&watch)) /* else there are rows that were not read */
        status = omen_build_fit_radius(b);
    return omen_build_status(b, status == OMEN_OK ? omen_watch_status(&watch) : status);
}

/* ---- transform ---- */

size_t omen_build_pca_rows(size_t n_sample, size_t d_full)
{
    return least(n_sample, 4 * d_full > PCA_SAMPLE ? 4 * d_full : PCA_SAMPLE);
}

int omen_build_fit_transform(omen_build_state *b)
{
    omen_transform *t = &b->transform;
    const size_t d = t->d, d_full = t->d_full;
    const size_t n_pca = omen_build_pca_rows(b->n_sample, d_full);
    float *rows = omen_alloc(n_pca * d_full, sizeof *rows);
    omen_watch watch = omen_build_watch(b, OMEN_STAGE_TRANSFORM);
    if (!rows)
        return omen_build_no_memory(b);
        /* spread over the sample: rows are in source order */
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n_pca; i++) {
        const float *row = b->sample + i * b->n_sample / n_pca * d;
        if (i % SAMPLE_ROWS == 0 && omen_watch_stopped(&watch))
            continue; /* the fit stops as well */
        const float *lifted = omen_transform_lift(t, row, 1, false, rows + i * d_full);
        if (lifted == row)
            memcpy(rows + i * d_full, row, d * sizeof *row);
    }
    int status = omen_build_pull_far(b, rows, n_pca, d_full, &watch);
    if (status == OMEN_OK)
        status = omen_transform_fit(t, rows, n_pca, BUILD_KEPT_DIMS_A_BYTE * b->options->bytes, &watch);
    free(rows);
    return omen_build_status(b, status);
}

/* b->sample to b->transformed. */
int omen_build_project_sample(omen_build_state *b)
{
    const omen_transform *t = &b->transform;
    const size_t d = t->d, d_full = t->d_full;
    const size_t block = least(BUILD_PROJECT_ROWS, b->n_sample), ld = round_up(t->d_kept, OMEN_PANEL);
    omen_watch watch = omen_build_watch(b, OMEN_STAGE_TRANSFORM);
    int status = OMEN_OK;
    b->transformed = omen_alloc(b->n_sample * t->d_kept, sizeof *b->transformed);
    if (!b->transformed)
        return omen_build_no_memory(b);
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
            if (!lifted || omen_watch_stopped(&watch))
                continue;
            float *projected = lifted + block * d_full;
            const float *rows = omen_transform_lift(t, b->sample + i0 * d, n, false, lifted);
            omen_transform_project(t, rows, n, projected, ld, NULL);
            for (size_t i = 0; i < n; i++)
                memcpy(b->transformed + (i0 + i) * t->d_kept, projected + i * ld, t->d_kept * sizeof *projected);
        }
        free(lifted);
    }
    free(b->sample);
    b->sample = NULL;
    return omen_build_status(b, status == OMEN_OK ? omen_watch_status(&watch) : status);
}

/* ---- codec ---- */

/* n rows of the sample, every (span / n)-th of the span that begins with the given one, with their lists. */
static int spread_rows(const omen_build_state *b, size_t from, size_t span, size_t n, float *rows, uint32_t *lists,
                       omen_watch *watch)
{
    const size_t d = b->transform.d_kept;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n; i++)
        memcpy(rows + i * d, b->transformed + (from + i * span / n) * d, d * sizeof *rows);
    return omen_partition_assign_all(&b->partition, rows, n, lists, watch);
}

/* Squared error of a codec's reconstructions of n rows of the sample, all in the one list. Those that have a gain,
 * which are scaled for unbiased products, are multiplied by what brings them nearest to their rows: *scale, else 0. */
static int reconstruction_error(const omen_build_state *b, const omen_codec_model *model, size_t n, double *error,
                                float *scale, omen_watch *watch)
{
    const size_t d = b->transform.d_kept, ld = round_up(d, OMEN_PANEL);
    float *work = omen_alloc(3 * OMEN_ENCODE_ROWS * ld, sizeof *work);
    float *residuals = work, *centroids = work + OMEN_ENCODE_ROWS * ld, *back = work + 2 * OMEN_ENCODE_ROWS * ld;
    float *scratch = omen_alloc(omen_codec_scratch_floats(model), sizeof *scratch);
    uint8_t *codes = omen_alloc(OMEN_ENCODE_ROWS, model->n_sub / 2);
    float factors[OMEN_ENCODE_ROWS * OMEN_MAX_FACTORS], tails[OMEN_ENCODE_ROWS] = {0};
    double product = 0, norm2 = 0, whole = 0;
    const bool ready = work && scratch && codes;
    for (size_t i0 = 0; i0 < n && ready && !omen_watch_stopped(watch); i0 += OMEN_ENCODE_ROWS) {
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
    const bool has_gain = omen_codec_has_gain(model->n_factors);
    const float by = has_gain && norm2 > 0 && product > 0 ? (float)(product / norm2) : 1;
    *error = whole - 2 * (double)by * product + (double)by * (double)by * norm2;
    *scale = has_gain ? by : 0;
    free(codes);
    free(scratch);
    free(work);
    return ready ? omen_watch_status(watch) : OMEN_ERR_MEMORY;
}

/* Codes that are reconstructed are judged by that, not by distances: errors relative to the variance. models, errors
 * and scales have OMEN_N_CODECS entries; those not trained are left out. */
static int judge_reconstructions(const omen_build_state *b, const omen_codec_model *models, size_t n, double *errors,
                                 float *scales, omen_watch *watch)
{
    const size_t d = b->transform.d_kept;
    double spread = 0;
    int status = OMEN_OK;
    for (size_t i = 0; i < n * d; i++) {
        const double r = (double)(b->transformed[i] - b->partition.centroids[i % d]);
        spread += r * r;
    }
    for (size_t i = 0; i < OMEN_N_CODECS && status == OMEN_OK; i++) {
        if (models[i].kind == OMEN_CODEC_NONE)
            continue;
        status = reconstruction_error(b, &models[i], n, &errors[i], &scales[i], watch);
        errors[i] /= spread > 0 ? spread : 1;
    }
    return status;
}

/* The same by distances between rows (n x d) in their lists. */
static int judge_distances(const omen_build_state *b, const omen_codec_model *models, const float *rows,
                           const uint32_t *lists, size_t n, double *errors)
{
    int status = OMEN_OK;
#pragma omp parallel for schedule(static, 1)
    for (size_t i = 0; i < OMEN_N_CODECS; i++) {
        if (models[i].kind == OMEN_CODEC_NONE)
            continue;
        const int own =
            omen_codec_error(&models[i], rows, b->partition.centroids, lists, n, least(ERROR_QUERIES, n), &errors[i]);
        if (own != OMEN_OK) {
#pragma omp atomic write
            status = own;
        }
    }
    return status;
}

/* Trains the codecs that are to be tried into models, of OMEN_N_CODECS. rows and lists have room for n rows, those of
 * the sample from the given one on, n of span. */
static int train_models(omen_build_state *b, omen_codec_model *models, size_t from, size_t span, size_t n, float *rows,
                        uint32_t *lists, omen_watch *watch)
{
    const omen_build_options *o = b->options;
    const size_t d = b->transform.d_kept;
    bool has_residuals = false;
    int status = OMEN_OK;
    for (uint32_t kind = 1; kind <= OMEN_N_CODECS && status == OMEN_OK; kind++) {
        if (o->codec != OMEN_CODEC_AUTO && o->codec != kind)
            continue;
        if (omen_codec_needs_residuals(kind) && !has_residuals) {
            status = spread_rows(b, from, span, n, rows, lists, watch);
            if (status != OMEN_OK)
                return status;
#pragma omp parallel for schedule(static)
            for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < d; j++)
                    rows[i * d + j] -= b->partition.centroids[lists[i] * d + j];
            has_residuals = true;
        }
        status = omen_codec_train(&models[kind - 1], kind, has_residuals ? rows : NULL, n, (uint32_t)d, o->bytes,
                                  o->seed, watch);
    }
    return status;
}

/* Of the codecs tried the one with the smallest error, the first among equals. Inner products look for the longest rows
 * of all, and without a gain a code makes these shorter than they are: few rows, which weigh little in the error, but
 * it takes a great many candidates to find them. */
static size_t choose_codec(bool is_ip, const omen_codec_model *models, const double *errors)
{
    size_t best = OMEN_N_CODECS;
    double least_error = 0;
    for (size_t i = 0; i < OMEN_N_CODECS; i++) {
        if (models[i].kind == OMEN_CODEC_NONE)
            continue;
        const bool is_short = is_ip && !omen_codec_has_gain(models[i].n_factors);
        const double error = is_short ? IP_GAIN * errors[i] : errors[i];
        if (best == OMEN_N_CODECS || error < least_error) {
            best = i;
            least_error = error;
        }
    }
    return best;
}

int omen_build_train_codec(omen_build_state *b)
{
    const omen_build_options *o = b->options;
    const size_t d = b->transform.d_kept;
    double *errors = b->records.codec.errors;
    if (o->codec == OMEN_CODEC_NONE)
        return OMEN_OK;
    /* an eighth of the sample is held out from training, where there is enough: its first rows */
    const size_t n_held = b->n_sample >= 2048 ? b->n_sample / 8 : 0, n_train = b->n_sample - n_held;
    const size_t n_codec = least(n_train, BUILD_CODEC_SAMPLE);
    const size_t n_error = n_held ? least(n_held, ERROR_SAMPLE) : b->n_sample;
    const size_t n_most = n_codec > n_error ? n_codec : n_error;
    omen_watch watch = omen_build_watch(b, OMEN_STAGE_CODEC);
    omen_codec_model models[OMEN_N_CODECS] = {0};
    float scales[OMEN_N_CODECS] = {0};
    float *rows = omen_alloc(n_most * d, sizeof *rows);
    uint32_t *lists = omen_alloc(n_most, sizeof *lists);
    int status =
        rows && lists ? train_models(b, models, n_held, n_train, n_codec, rows, lists, &watch) : OMEN_ERR_MEMORY;
    if (status == OMEN_OK)
        status = spread_rows(b, 0, n_error, n_error, rows, lists, &watch);
    if (status == OMEN_OK)
        status = o->codes_only ? judge_reconstructions(b, models, n_error, errors, scales, &watch)
                               : judge_distances(b, models, rows, lists, n_error, errors);
    const size_t best = choose_codec(o->metric == OMEN_METRIC_IP && !o->codes_only, models, errors);
    for (size_t i = 0; i < OMEN_N_CODECS; i++) {
        if (i != best) {
            omen_codec_finish(&models[i]);
            continue;
        }
        b->model = models[i];
        b->code_scale = scales[i];
    }
    free(lists);
    free(rows);
    return omen_build_status(b, status);
}

int omen_build_read_queries(omen_build_state *b)
{
    const omen_build_options *o = b->options;
    omen_watch watch = omen_build_watch(b, OMEN_STAGE_CODEC);
    if (o->codes_only)
        return OMEN_OK;
    int status = omen_neighbours_init(&b->truth, o->metric, b->source->n_rows, b->source->d, o->seed,
                                      o->tune_queries ? o->tune_queries->n_rows : 0);
    if (status == OMEN_OK)
        status = omen_neighbours_read(&b->truth, b->source, o->tune_queries, o->seed, &watch, b->why);
    return omen_build_status(b, status);
}
