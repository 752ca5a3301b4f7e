/* SPDX-License-Identifier: Apache-2.0 */
/* The queries that effort is calibrated on, and their true neighbours, found by one exact search of the source.
 *
 * A true neighbour that the refine tier, whose rows are rounded, ranks behind k others counts as not found whatever the
 * effort: so the distances that the refine tier has are kept beside the true ones. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/calibrate.h"
#include "lib/matrix.h"
#include "lib/watch.h"

#define QUERIES_LEAST  100u
#define WORK_MOST      7e10 /* multiply-adds spent on exact neighbours */
#define BEYOND         32u  /* neighbours behind the last wanted one that might take its place after rounding */
#define APART          UINT32_MAX
#define COPY_RANK      10u /* a near copy is COPY_NEARER times as near, squared, as the neighbour of this rank */
#define COPY_NEARER    16.0f
#define TRIVIAL_RANK   10u   /* a query whose neighbour of this rank is at distance 0 is trivial, */
#define TRIVIAL_COSINE 1e-6f /* or, under cosine, at no more than rounding */
#define TRIVIAL_LEFT   50u   /* queries to measure on, at least */

#define LOWER_BOUND 1.5 /* standard errors */

const uint32_t omen_calibrate_ks[OMEN_CALIBRATE_KS] = {1, 10, OMEN_CALIBRATE_K};
const float omen_calibrate_levels[OMEN_CALIBRATE_LEVELS] = {0.80f, 0.85f, 0.90f, 0.93f, 0.95f,
                                                            0.96f, 0.97f, 0.98f, 0.99f, OMEN_TUNE_HIGHEST};

double omen_calibration_safe_recall(uint64_t n_found, uint64_t n_found2, uint32_t n_queries, uint32_t k,
                                    double margin_most)
{
    const double n = n_queries, mean = (double)n_found / (n * k);
    const double variance = (double)n_found2 / (n * k * k) - mean * mean;
    const double margin = LOWER_BOUND * sqrt((variance > 0 ? variance : 0) / n);
    return mean - (margin < margin_most ? margin : margin_most);
}

uint32_t omen_calibration_most_queries(uint64_t n_rows, uint32_t d)
{
    const double affordable = WORK_MOST / ((double)n_rows * d);
    return affordable > OMEN_CALIBRATE_QUERIES ? OMEN_CALIBRATE_QUERIES
           : affordable < QUERIES_LEAST        ? QUERIES_LEAST
                                               : (uint32_t)affordable;
}

void omen_calibration_bytes(uint64_t n, uint32_t d, int n_threads, uint64_t *kept, uint64_t *passing)
{
    const uint64_t n_queries = omen_calibration_most_queries(n, d);
    /* the exact search keeps some more keys than asked for, in each of two ranges of rows a thread */
    const uint64_t exact = 2 * (uint64_t)n_threads * (OMEN_CALIBRATE_K + 2 * BEYOND) * 8;
    *kept = n_queries * (4 * (uint64_t)d + (OMEN_CALIBRATE_K + BEYOND + 1) * 20 + 4);
    *passing = n_queries * (4 * (uint64_t)d + exact) + 4 * n +
               (uint64_t)n_threads * omen_search_exact_bytes(d, OMEN_CALIBRATE_K + BEYOND + 1);
}

/* Draws from n_rows rows, for an index of n. */
static uint32_t draw(uint64_t n, uint32_t d, uint64_t n_rows, uint64_t seed, uint64_t rows[OMEN_CALIBRATE_QUERIES])
{
    const uint32_t n_most = omen_calibration_most_queries(n, d), n_drawn = n_most < n_rows ? n_most : (uint32_t)n_rows;
    omen_random_rows(seed ^ 0x63616c69, n_rows, n_drawn, rows);
    return n_drawn;
}

uint32_t omen_calibration_draw(uint64_t n_rows, uint32_t d, uint64_t seed, uint64_t rows[OMEN_CALIBRATE_QUERIES])
{
    return draw(n_rows, d, n_rows, seed, rows);
}

static int allocate(omen_calibration *c)
{
    const size_t n = c->n_queries;
    c->queries = omen_alloc(n * c->d, sizeof *c->queries);
    c->own = omen_alloc(n, sizeof *c->own);
    c->truth = omen_alloc(n * c->n_truth, sizeof *c->truth);
    c->refined = omen_alloc(n * c->n_truth, sizeof *c->refined);
    c->neighbours = omen_alloc(n * c->k_most, sizeof *c->neighbours);
    return c->queries && c->own && c->truth && c->refined && c->neighbours ? OMEN_OK : OMEN_ERR_MEMORY;
}

void omen_calibration_finish(omen_calibration *c)
{
    free(c->queries);
    free(c->own);
    free(c->truth);
    free(c->refined);
    free(c->neighbours);
}

/* Copies a query, to a lower place of the same or to another. */
static void copy_query(omen_calibration *to, size_t at, const omen_calibration *from, size_t q)
{
    const size_t d = from->d, n_truth = from->n_truth, k_most = from->k_most;
    to->own[at] = from->own[q];
    memmove(to->queries + at * d, from->queries + q * d, d * sizeof *to->queries);
    memmove(to->truth + at * n_truth, from->truth + q * n_truth, n_truth * sizeof *to->truth);
    memmove(to->refined + at * n_truth, from->refined + q * n_truth, n_truth * sizeof *to->refined);
    memmove(to->neighbours + at * k_most, from->neighbours + q * k_most, k_most * sizeof *to->neighbours);
}

int omen_calibration_thin(const omen_calibration *from, uint32_t n, omen_calibration *out)
{
    *out = (omen_calibration){.n_queries = n,
                              .d = from->d,
                              .k_most = from->k_most,
                              .n_truth = from->n_truth,
                              .near_copies = from->near_copies};
    const int status = allocate(out);
    for (uint32_t q = 0; q < n && status == OMEN_OK; q++)
        copy_query(out, q, from, omen_calibration_thinned(from, n, q));
    return status;
}

/* Fills neighbours: the truth, the queries themselves left out. Counts the queries that have a near copy. */
static uint32_t name_neighbours(omen_calibration *c)
{
    uint32_t n_with_copies = 0;
    for (uint32_t q = 0; q < c->n_queries; q++) {
        const uint64_t *truth = c->truth + (size_t)q * c->n_truth;
        float nearest = 0;
        for (uint32_t i = 0, t = 0; i < c->k_most; i++, t++) {
            t += (uint32_t)truth[t] == c->own[q];
            c->neighbours[(size_t)q * c->k_most + i] = (uint32_t)truth[t];
            const float distance = omen_key_distance(truth[t]);
            if (i == 0)
                nearest = distance;
            if (i == COPY_RANK - 1)
                n_with_copies += nearest * COPY_NEARER <= distance;
        }
    }
    return n_with_copies;
}

/* The distance of neighbour k of a query that is a row. */
static float distance_of(const omen_calibration *c, uint32_t q, uint32_t k)
{
    return omen_key_distance(c->truth[(size_t)q * c->n_truth + k]); /* the query itself is the first, at distance 0 */
}

/* Leaves out queries that equal so many rows that any search finds enough of them, unless few others would remain. */
static void leave_out_trivial(omen_calibration *c, omen_metric metric)
{
    const uint32_t k = c->k_most < TRIVIAL_RANK ? c->k_most : TRIVIAL_RANK;
    const float least = metric == OMEN_METRIC_COSINE ? TRIVIAL_COSINE : 0;
    uint32_t n = 0;
    for (uint32_t q = 0; q < c->n_queries; q++)
        n += distance_of(c, q, k) > least;
    if (n < TRIVIAL_LEFT || n == c->n_queries)
        return;
    n = 0;
    for (uint32_t q = 0; q < c->n_queries; q++)
        if (distance_of(c, q, k) > least)
            copy_query(c, n++, c, q);
    c->n_queries = n;
}

/* Where in the index the rows are, by id; APART for those whose distances a search takes as they are. */
static uint32_t *find_positions(const omen_index *index)
{
    uint32_t *positions = omen_alloc(index->meta.n_rows, sizeof *positions);
    for (uint64_t i = 0; i < index->meta.n_rows && positions; i++)
        positions[index->ids[i]] = (uint32_t)i;
    for (uint32_t i = 0; i < index->n_apart && positions; i++)
        positions[index->ids[index->apart[i]]] = APART;
    return positions;
}

/* Distances of the true neighbours as the refine tier has them. */
static int refine_truth(omen_calibration *c, const omen_index *index)
{
    const omen_distance_fn distance = omen_refine_kernel(index->meta.refine, index->meta.metric);
    const bool is_cosine = index->meta.metric == OMEN_METRIC_COSINE;
    uint32_t *positions = find_positions(index);
    float *lifted = omen_alloc(c->n_queries * (size_t)index->meta.d_full, sizeof *lifted);
    if (positions && lifted) {
        /* cosine compares the unit query, as a search does */
        const float *queries =
            is_cosine ? omen_transform_lift(&index->transform, c->queries, c->n_queries, true, lifted) : c->queries;
        queries = omen_refine_shift(&index->refine, queries, c->n_queries, true, lifted);
#pragma omp parallel for schedule(dynamic)
        for (uint32_t q = 0; q < c->n_queries; q++) {
            const float *query = queries + (size_t)q * c->d;
            const double offset = omen_refine_offset(&index->refine, query);
            for (size_t i = (size_t)q * c->n_truth; i < (size_t)(q + 1) * c->n_truth; i++) {
                const uint32_t id = (uint32_t)c->truth[i], position = positions[id];
                if (position == APART)
                    continue;
                const uint8_t *stored = index->refine_rows + (uint64_t)position * index->refine_row_bytes;
                c->refined[i] = omen_key(omen_refine_distance(&index->refine, distance, query, offset, stored), id);
            }
        }
    }
    const int status = positions && lifted ? OMEN_OK : OMEN_ERR_MEMORY;
    free(positions);
    free(lifted);
    return status;
}

void omen_calibration_mark_lost(const omen_calibration *c, uint32_t k, bool *lost)
{
#pragma omp parallel for schedule(static)
    for (uint32_t q = 0; q < c->n_queries; q++) {
        const uint64_t *truth = c->truth + (size_t)q * c->n_truth, *refined = c->refined + (size_t)q * c->n_truth;
        for (uint32_t i = 0, t = 0; i < k; i++, t++) {
            uint32_t n_before = 0;
            t += (uint32_t)truth[t] == c->own[q];
            for (uint32_t j = 0; j < c->n_truth; j++)
                n_before += refined[j] < refined[t] && (uint32_t)truth[j] != c->own[q];
            lost[(size_t)q * k + i] = n_before >= k;
        }
    }
}

/* Reads the rows drawn of from. */
static int read_queries(omen_calibration *c, const omen_source *from, const uint64_t *rows, omen_watch *watch,
                        omen_detail *why)
{
    int status = OMEN_OK;
    for (uint32_t q = 0; q < c->n_queries && status == OMEN_OK; q++) {
        status = from->read(from->self, rows[q], 1, c->queries + (size_t)q * c->d, why);
        if (status == OMEN_OK)
            status = omen_watch_status(watch);
    }
    return status;
}

int omen_calibration_init(omen_calibration *c, const omen_index *index, const omen_source *source,
                          const omen_source *queries, uint64_t seed, int n_threads, omen_watch *watch, omen_detail *why)
{
    const omen_meta *m = &index->meta;
    const uint64_t others = queries ? m->n_rows : m->n_rows - 1;
    const omen_source *from = queries ? queries : source;
    uint64_t rows[OMEN_CALIBRATE_QUERIES];
    *c = (omen_calibration){.n_queries = draw(m->n_rows, m->d, from->n_rows, seed, rows),
                            .d = m->d,
                            .k_most = others < OMEN_CALIBRATE_K ? (uint32_t)others : OMEN_CALIBRATE_K,
                            .near_copies = NAN};
    c->n_truth = (uint32_t)(others < c->k_most + BEYOND ? others : c->k_most + BEYOND) + (!queries);
    int status = allocate(c);
    for (uint32_t q = 0; q < c->n_queries && status == OMEN_OK; q++)
        c->own[q] = queries ? OMEN_CALIBRATE_NO_ROW : (uint32_t)rows[q];
    if (status == OMEN_OK)
        status = read_queries(c, from, rows, watch, why);
    if (status == OMEN_OK)
        status = omen_search_source(source, m->metric, c->queries, c->n_queries, c->n_truth, n_threads, c->truth,
                                    &c->row_hash, watch, why);
    if (status != OMEN_OK)
        return status;
    const uint32_t n_with_copies = name_neighbours(c);
    /* inner products are no distances: what is nearest need not be near */
    if (!queries && m->metric != OMEN_METRIC_IP) {
        if (c->k_most >= COPY_RANK)
            c->near_copies = (double)n_with_copies / c->n_queries;
        leave_out_trivial(c, m->metric);
    }
    memcpy(c->refined, c->truth, (size_t)c->n_queries * c->n_truth * sizeof *c->truth);
    return m->refine != OMEN_REFINE_NONE ? refine_truth(c, index) : OMEN_OK;
}
