/* SPDX-License-Identifier: Apache-2.0 */
/* The choice of the refine tier: its centre, from the sample, and the smallest tier that ranks rows of the sample as
 * they are ranked unrounded.
 *
 * Rows of the sample are queries against the others. A tier's error moves each distance a little; where distances
 * stand densely, that brings a row from behind the tenth place before it, and another behind it: as many as the density
 * times half the mean deviation of the errors. Counted so, and not by the neighbours that are lost, a few hundred
 * queries tell one in ten thousand. All rows stand more densely than those of a sample, and so many more are lost; how
 * many is seen from the same at twice the rank, where it is as if there were half the rows. Only operations that every
 * machine rounds alike are used. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/build_state.h"
#include "lib/kernels/kernels.h"
#include "lib/keys.h"
#include "lib/matrix.h"
#include "lib/refine.h"

#define STUDY_ROWS    16384u
#define STUDY_VALUES  (1u << 21) /* of the rows that are compared, or */
#define STUDY_LEAST   1024u      /* so many rows of any dimension */
#define STUDY_QUERIES 192u
#define CENTRE_ROWS   255u
#define RANK          10u /* the cut that the ceiling is for */
#define NEAR          (4 * RANK)
#define LOSS_MOST     0.0006 /* of the 0.001 that is allowed: queries are not rows, and a sample is not all rows */
#define GROWTH_MOST   2.0    /* of the loss where there are twice the rows */
#define CEILING_LEAST 0.0001 /* 0 would say that nothing is known */

typedef struct {
    const omen_build_state *b;
    omen_metric metric; /* l2 for cosine, of rows of unit length */
    size_t n, d, n_queries;
    float *rows;         /* n x d; cosine: of unit length */
    uint64_t *near;      /* [n_queries][NEAR]: (distance, row) of the nearest, ascending */
    double (*losses)[2]; /* [n_queries]: share lost of the first RANK: of these rows, of half of them */
} study;

size_t omen_build_study_rows(size_t n_sample, size_t d)
{
    const size_t n = STUDY_VALUES / d > STUDY_LEAST ? STUDY_VALUES / d : STUDY_LEAST;
    return least(n_sample, least(n, STUDY_ROWS));
}

static void study_finish(study *s)
{
    free(s->rows);
    free(s->near);
    free(s->losses);
}

static int study_init(study *s, const omen_build_state *b)
{
    const omen_transform unit = {.metric = OMEN_METRIC_COSINE, .d = b->transform.d, .d_full = b->transform.d};
    *s = (study){.b = b, .d = b->transform.d, .n = omen_build_study_rows(b->n_sample, b->transform.d)};
    s->metric = b->options->metric == OMEN_METRIC_COSINE ? OMEN_METRIC_L2 : b->options->metric;
    s->n_queries = least(s->n, STUDY_QUERIES);
    s->rows = omen_alloc(s->n * s->d, sizeof *s->rows);
    s->near = omen_alloc(s->n_queries * NEAR, sizeof *s->near);
    s->losses = omen_alloc(s->n_queries, sizeof *s->losses);
    if (!s->rows || !s->near || !s->losses)
        return OMEN_ERR_MEMORY;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < s->n; i++) {
        const float *row = b->sample + i * b->n_sample / s->n * s->d;
        if (b->options->metric == OMEN_METRIC_COSINE)
            omen_transform_lift(&unit, row, 1, false, s->rows + i * s->d);
        else
            memcpy(s->rows + i * s->d, row, s->d * sizeof *row);
    }
    return OMEN_OK;
}

/* Whether the rows are whole numbers, and whether none spans more than sq8 holds. */
static void look_at_numbers(const study *s, bool *whole, bool *narrow)
{
    int fraction = 0, wide = 0;
#pragma omp parallel for schedule(static) reduction(| : fraction, wide)
    for (size_t i = 0; i < s->n; i++) {
        const float *row = s->rows + i * s->d;
        float low = row[0], high = row[0];
        for (size_t j = 0; j < s->d; j++) {
            fraction |= !(fabsf(row[j]) <= 0x1p24f) || row[j] != (float)(int)row[j];
            low = row[j] < low ? row[j] : low;
            high = row[j] > high ? row[j] : high;
        }
        wide |= high - low > 255;
    }
    *whole = !fraction;
    *narrow = !wide;
}

/* The median of each dimension: outliers and zeros do not move it. A whole number where rows are. NULL if it is 0. */
static int find_centre(const study *s, bool whole, float **out)
{
    const size_t n = least(s->n, CENTRE_ROWS), middle = n / 2 + 1;
    float *centre = omen_alloc(s->d, sizeof *centre);
    bool is_zero = true;
    *out = NULL;
    if (!centre)
        return OMEN_ERR_MEMORY;
#pragma omp parallel for schedule(static)
    for (size_t j = 0; j < s->d; j++) {
        uint64_t keys[CENTRE_ROWS], key = 0;
        for (size_t i = 0; i < n; i++)
            keys[i] = omen_key(s->rows[i * s->n / n * s->d + j], 0);
        omen_keys_select(keys, n, middle);
        for (size_t i = 0; i < middle; i++)
            key = keys[i] > key ? keys[i] : key;
        centre[j] = whole ? floorf(omen_key_distance(key) + 0.5f) : omen_key_distance(key);
    }
    for (size_t j = 0; j < s->d; j++)
        is_zero &= centre[j] == 0;
    if (is_zero)
        free(centre);
    else
        *out = centre;
    return OMEN_OK;
}

/* The row that query q is. */
static size_t row_of(const study *s, size_t q)
{
    return q * s->n / s->n_queries;
}

static int read_rows(void *self, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    const study *s = self;
    memcpy(out, s->rows + first * s->d, n * s->d * sizeof *out);
    return OMEN_OK;
}

/* The nearest rows of every query, unrounded. */
static int find_near(study *s, omen_watch *watch)
{
    const omen_source source = {.self = s, .n_rows = s->n, .d = (uint32_t)s->d, .read = read_rows};
    float *queries = omen_alloc(s->n_queries * s->d, sizeof *queries);
    uint64_t *keys = omen_alloc(s->n_queries * (NEAR + 1), sizeof *keys);
    int status = queries && keys ? OMEN_OK : OMEN_ERR_MEMORY;
    for (size_t q = 0; q < s->n_queries && status == OMEN_OK; q++)
        memcpy(queries + q * s->d, s->rows + row_of(s, q) * s->d, s->d * sizeof *queries);
    if (status == OMEN_OK)
        status = omen_search_source(&source, s->metric, queries, s->n_queries, NEAR + 1, s->b->n_threads, keys, watch,
                                    s->b->why);
    for (size_t q = 0; q < s->n_queries && status == OMEN_OK; q++) {
        const uint64_t *found = keys + q * (NEAR + 1);
        for (size_t i = 0, n = 0; n < NEAR; i++) /* but the query itself, which may be behind its copies */
            if ((uint32_t)found[i] != row_of(s, q))
                s->near[q * NEAR + n++] = found[i];
    }
    free(queries);
    free(keys);
    return status;
}

/* The share of the first rank rows that errors of their distances, and of as many behind them, take away; near has 2
 * rank, ascending. Negative where the rows are equally far from the query, as copies of it are, which says nothing. */
static double share_lost(const uint64_t *near, const double *errors, size_t rank)
{
    const size_t first = rank / 2, last = 2 * rank;
    const double width = (double)omen_key_distance(near[last - 1]) - (double)omen_key_distance(near[first - 1]);
    double mean = 0, deviation = 0;
    if (!(width > 0))
        return -1;
    for (size_t i = 0; i < last; i++)
        mean += errors[i] / (double)last;
    for (size_t i = 0; i < last; i++)
        deviation += fabs(errors[i] - mean) / (double)last;
    /* last - first gaps between so many rows, less one: what is known is where the last one ends */
    const double share = (double)(last - first - 1) / width * deviation / 2 / (double)rank;
    return share < 1 ? share : 1;
}

/* What a tier loses of one query's neighbours. stored holds all rows. */
static void find_losses(const study *s, const omen_refine_space *space, const uint8_t *stored, size_t row_bytes,
                        size_t q, float *shifted)
{
    const omen_distance_fn kernel = omen_refine_kernel(space->tier, space->metric);
    const float *query = s->rows + row_of(s, q) * s->d;
    const double offset = omen_refine_offset(space, query);
    const uint64_t *near = s->near + q * NEAR;
    double errors[NEAR];
    query = omen_refine_shift(space, query, 1, true, shifted);
    for (size_t i = 0; i < NEAR; i++)
        errors[i] = (double)omen_refine_distance(space, kernel, query, offset, stored + (uint32_t)near[i] * row_bytes) -
                    (double)omen_key_distance(near[i]);
    s->losses[q][0] = share_lost(near, errors, RANK);
    s->losses[q][1] = share_lost(near, errors, 2 * RANK);
}

/* Share of the nearest of all rows that are lost: as said at the top. */
static double estimate_loss(const study *s)
{
    double losses[2], times = (double)s->b->source->n_rows / (double)s->n;
    for (size_t i = 0; i < 2; i++) {
        double sum = 0;
        size_t n = 0;
        for (size_t q = 0; q < s->n_queries; q++) {
            if (s->losses[q][i] < 0)
                continue;
            sum += s->losses[q][i];
            n++;
        }
        losses[i] = n > 0 ? sum / (double)n : 0;
    }
    double loss = losses[0];
    double growth = losses[1] > 0 ? loss / losses[1] : 1;
    growth = growth < 1 ? 1 : growth < GROWTH_MOST ? growth : GROWTH_MOST;
    for (; times >= 2; times /= 2)
        loss *= growth;
    return loss * (1 + (times - 1) * (growth - 1));
}

static int measure_tier(study *s, const omen_refine_space *space, double *loss, omen_watch *watch)
{
    const size_t row_bytes = omen_refine_row_bytes(space->tier, space->d);
    uint8_t *stored = omen_alloc(s->n, row_bytes);
    int status = stored ? OMEN_OK : OMEN_ERR_MEMORY;
#pragma omp parallel if (status == OMEN_OK)
    {
        float *shifted = omen_alloc(s->d, sizeof *shifted);
        if (!shifted) {
#pragma omp atomic write
            status = OMEN_ERR_MEMORY;
        }
#pragma omp for schedule(static)
        for (size_t i = 0; i < s->n; i++)
            if (stored && shifted)
                omen_refine_encode(space->tier, omen_refine_shift(space, s->rows + i * s->d, 1, false, shifted),
                                   space->d, stored + i * row_bytes);
#pragma omp for schedule(dynamic, 8)
        for (size_t q = 0; q < s->n_queries; q++)
            if (stored && shifted && !omen_watch_stopped(watch))
                find_losses(s, space, stored, row_bytes, q, shifted);
        free(shifted);
    }
    if (status == OMEN_OK)
        status = omen_watch_status(watch);
    *loss = status == OMEN_OK ? estimate_loss(s) : 0;
    free(stored);
    return status;
}

/* What is kept where so much is lost. */
static float ceiling_of(double loss)
{
    return (float)(1 - loss > CEILING_LEAST ? 1 - loss : CEILING_LEAST);
}

/* Tries the tiers that may be had, smallest first, and leaves the first that will do in space. */
static int try_tiers(omen_build_state *b, study *s, omen_refine_space *space, omen_watch *watch)
{
    static const omen_refine ladder[] = {OMEN_REFINE_SQ8, OMEN_REFINE_SQ12, OMEN_REFINE_SQ16};
    const bool is_auto = b->options->refine == OMEN_REFINE_AUTO;
    const size_t n = is_auto ? sizeof ladder / sizeof *ladder : 1;
    int status = find_near(s, watch);
    for (size_t i = 0; i < n && status == OMEN_OK; i++) {
        double loss;
        space->tier = is_auto ? ladder[i] : b->options->refine;
        if (is_auto && omen_refine_row_bytes(space->tier, space->d) >= omen_refine_row_bytes(OMEN_REFINE_F32, space->d))
            break;
        status = measure_tier(s, space, &loss, watch);
        b->refine_ceilings[space->tier] = ceiling_of(loss);
        if (!is_auto || loss <= LOSS_MOST)
            return status;
    }
    space->tier = OMEN_REFINE_F32;
    return status;
}

int omen_build_measure_refine(omen_build_state *b)
{
    omen_watch watch = omen_build_watch(b, OMEN_STAGE_TRANSFORM);
    omen_refine_space space = {.tier = b->refine, .d = b->transform.d, .centre = b->refine_centre};
    float *ceiling = &b->refine_ceilings[space.tier];
    study s = {0};
    bool whole, narrow;
    memset(b->refine_ceilings, 0, sizeof b->refine_ceilings);
    if (!omen_refine_rounds(space.tier)) {
        *ceiling = space.tier == OMEN_REFINE_F32;
        return OMEN_OK;
    }
    int status = study_init(&s, b);
    if (status != OMEN_OK)
        goto out;
    space.metric = s.metric;
    look_at_numbers(&s, &whole, &narrow);
    if (whole && narrow && !space.centre && space.tier != OMEN_REFINE_F16)
        *ceiling = 1;
    else if (s.n > NEAR) {
        double loss = 0;
        status = find_near(&s, &watch);
        if (status == OMEN_OK)
            status = measure_tier(&s, &space, &loss, &watch);
        *ceiling = ceiling_of(loss);
    }
out:
    study_finish(&s);
    return omen_build_status(b, status);
}

int omen_build_choose_refine(omen_build_state *b)
{
    const omen_build_options *o = b->options;
    omen_watch watch = omen_build_watch(b, OMEN_STAGE_TRANSFORM);
    omen_refine_space space = {.tier = o->refine, .d = b->transform.d};
    study s = {0};
    float *centre = NULL;
    bool whole, narrow;
    int status = OMEN_OK;
    if (o->codes_only && o->refine == OMEN_REFINE_AUTO)
        space.tier = OMEN_REFINE_SQ8;
    if (!o->codes_only && omen_refine_rounds(o->refine)) {
        status = study_init(&s, b);
        if (status != OMEN_OK)
            goto out;
        space.metric = s.metric;
        look_at_numbers(&s, &whole, &narrow);
        if (whole && narrow && o->refine != OMEN_REFINE_F16) {
            space.tier = o->refine == OMEN_REFINE_AUTO ? OMEN_REFINE_SQ8 : o->refine;
            b->refine_ceilings[space.tier] = 1;
        } else if (s.n <= NEAR) {
            space.tier = o->refine == OMEN_REFINE_AUTO ? OMEN_REFINE_F32 : o->refine; /* too few to measure by */
        } else {
            if (!o->zero_ok)
                status = find_centre(&s, whole, &centre);
            space.centre = centre;
            if (status == OMEN_OK)
                status = try_tiers(b, &s, &space, &watch);
        }
    }
    if (space.tier == OMEN_REFINE_F32) {
        b->refine_ceilings[OMEN_REFINE_F32] = 1;
        free(centre);
        centre = NULL;
    }
out:
    study_finish(&s);
    b->refine = space.tier;
    b->refine_centre = centre;
    return omen_build_status(b, status);
}
