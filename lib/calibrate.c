/* SPDX-License-Identifier: Apache-2.0 */
/* The queries that effort is calibrated on, and their true neighbours (neighbours.h).
 *
 * A true neighbour that the refine tier, whose rows are rounded, ranks behind k others counts as not found whatever the
 * effort: so the distances that the refine tier has are kept beside the true ones. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/calibrate.h"
#include "lib/matrix.h"
#include "lib/watch.h"

#define NOT_FOUND      UINT32_MAX
#define PLACES_ROWS    (1u << 20) /* looked up between two looks at what may stop the build */
#define COPY_RANK      10u        /* a near copy is COPY_NEARER times as near, squared, as the neighbour of this rank */
#define COPY_NEARER    16.0f
#define COPIES_MOST    0.75  /* of the k nearest; of more, the others would be too few to tell anything */
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

void omen_calibration_bytes(uint64_t n, uint32_t d, uint64_t *kept, uint64_t *passing)
{
    const uint64_t n_queries = omen_neighbours_most_queries(n, d);
    *kept = n_queries * (4 * (uint64_t)d + OMEN_NEIGHBOURS_MOST * 24 + 4);
    /* the places of rows: a table of twice as many, to a power of two */
    *passing = n_queries * (4 * (uint64_t)d + OMEN_NEIGHBOURS_MOST * (4 + 4 * 8));
}

static int allocate(omen_calibration *c)
{
    const size_t n = c->n_queries;
    c->queries = omen_alloc(n * c->d, sizeof *c->queries);
    c->own = omen_alloc(n, sizeof *c->own);
    c->truth = omen_alloc(n * c->n_truth, sizeof *c->truth);
    c->refined = omen_alloc(n * c->n_truth, sizeof *c->refined);
    c->neighbours = omen_alloc(n * c->k_most, sizeof *c->neighbours);
    c->lists = omen_alloc(n * c->k_most, sizeof *c->lists);
    return c->queries && c->own && c->truth && c->refined && c->neighbours && c->lists ? OMEN_OK : OMEN_ERR_MEMORY;
}

void omen_calibration_finish(omen_calibration *c)
{
    free(c->queries);
    free(c->own);
    free(c->truth);
    free(c->refined);
    free(c->neighbours);
    free(c->lists);
}

double omen_calibration_recall_of_others(const omen_calibration *c, uint32_t k, double recall)
{
    double copies = 0, lost = 0;
    for (size_t i = 0; i < OMEN_CALIBRATE_KS; i++)
        if (omen_calibrate_ks[i] == k) {
            copies = c->copies[i];
            lost = c->copies_lost[i];
        }
    return 1 - lost - (1 - lost - recall) / (1 - (copies < COPIES_MOST ? copies : COPIES_MOST));
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
    memmove(to->lists + at * k_most, from->lists + q * k_most, k_most * sizeof *to->lists);
}

int omen_calibration_thin(const omen_calibration *from, uint32_t n, omen_calibration *out)
{
    *out = (omen_calibration){.n_queries = n,
                              .d = from->d,
                              .k_most = from->k_most,
                              .n_truth = from->n_truth,
                              .near_copies = from->near_copies};
    memcpy(out->copies, from->copies, sizeof out->copies);
    memcpy(out->copies_lost, from->copies_lost, sizeof out->copies_lost);
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

/* Fills copies. */
static void count_copies(omen_calibration *c)
{
    uint64_t n_copies[OMEN_CALIBRATE_KS] = {0};
    for (uint32_t q = 0; q < c->n_queries; q++) {
        float distances[COPY_RANK];
        uint32_t n = 0;
        for (uint32_t i = 0, t = 0; i < COPY_RANK; i++, t++) {
            t += (uint32_t)c->truth[(size_t)q * c->n_truth + t] == c->own[q];
            distances[i] = omen_key_distance(c->truth[(size_t)q * c->n_truth + t]);
        }
        while (n < COPY_RANK - 1 && distances[n] * COPY_NEARER <= distances[COPY_RANK - 1])
            n++;
        for (size_t i = 0; i < OMEN_CALIBRATE_KS; i++)
            n_copies[i] += n < omen_calibrate_ks[i] ? n : omen_calibrate_ks[i];
    }
    for (size_t i = 0; i < OMEN_CALIBRATE_KS; i++)
        c->copies[i] = (double)n_copies[i] / ((double)c->n_queries * omen_calibrate_ks[i]);
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

/* ---- where the neighbours are in the index ---- */

/* Positions of some rows by number: open addressing. */
typedef struct {
    uint32_t *ids, *positions;
    uint32_t mask;
} row_places;

static uint32_t find_place(const row_places *p, uint32_t id)
{
    uint32_t at = (uint32_t)(id * 0x9e3779b97f4a7c15ull >> 32) & p->mask;
    while (p->ids[at] != id && p->ids[at] != UINT32_MAX)
        at = (at + 1) & p->mask;
    return at;
}

static void places_finish(row_places *p)
{
    free(p->ids);
    free(p->positions);
}

/* The positions of all rows in truth, by one pass over the numbers of rows: nothing here grows with the index. Finish
 * also after a failure. */
static int places_init(row_places *p, const omen_calibration *c, const omen_index *index, omen_watch *watch)
{
    const size_t n = (size_t)c->n_queries * c->n_truth;
    size_t size = 16;
    while (size < 2 * n)
        size *= 2;
    p->mask = (uint32_t)(size - 1);
    p->ids = omen_alloc(size, sizeof *p->ids);
    p->positions = omen_alloc(size, sizeof *p->positions);
    if (!p->ids || !p->positions)
        return OMEN_ERR_MEMORY;
    memset(p->ids, 0xff, size * sizeof *p->ids);
    for (size_t i = 0; i < n; i++)
        p->ids[find_place(p, (uint32_t)c->truth[i])] = (uint32_t)c->truth[i];
    for (size_t i = 0; i < size; i++)
        p->positions[i] = NOT_FOUND;
#pragma omp parallel for schedule(static)
    for (uint64_t i = 0; i < index->meta.n_rows; i++) {
        if (i % PLACES_ROWS == 0 && omen_watch_stopped(watch))
            continue;
        const uint32_t at = find_place(p, index->ids[i]);
        if (p->ids[at] == index->ids[i])
            p->positions[at] = (uint32_t)i;
    }
    return omen_watch_status(watch);
}

static int by_position(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static bool is_apart(const omen_index *index, uint32_t position)
{
    return index->n_apart > 0 && bsearch(&position, index->apart, index->n_apart, sizeof position, by_position);
}

uint32_t omen_calibration_list(const omen_index *index, uint32_t position)
{
    uint32_t list = 0, above = index->meta.n_lists;
    if (is_apart(index, position))
        return OMEN_CALIBRATE_APART;
    while (above - list > 1) {
        const uint32_t middle = list + (above - list) / 2;
        if (index->first[middle] <= position)
            list = middle;
        else
            above = middle;
    }
    return list;
}

static void name_lists(omen_calibration *c, const omen_index *index, const row_places *places)
{
    for (size_t i = 0; i < (size_t)c->n_queries * c->k_most; i++)
        c->lists[i] = omen_calibration_list(index, places->positions[find_place(places, c->neighbours[i])]);
}

/* Distances of the true neighbours as the refine tier has them. */
static int refine_truth(omen_calibration *c, const omen_index *index, const row_places *places)
{
    const omen_distance_fn distance = omen_refine_kernel(index->meta.refine, index->meta.metric);
    const bool is_cosine = index->meta.metric == OMEN_METRIC_COSINE;
    float *lifted = omen_alloc(c->n_queries * (size_t)index->meta.d_full, sizeof *lifted);
    if (lifted) {
        /* cosine compares the unit query, as a search does */
        const float *queries =
            is_cosine ? omen_transform_lift(&index->transform, c->queries, c->n_queries, true, lifted) : c->queries;
        queries = omen_refine_shift(&index->refine, queries, c->n_queries, true, lifted);
#pragma omp parallel for schedule(dynamic)
        for (uint32_t q = 0; q < c->n_queries; q++) {
            const float *query = queries + (size_t)q * c->d;
            const double offset = omen_refine_offset(&index->refine, query);
            for (size_t i = (size_t)q * c->n_truth; i < (size_t)(q + 1) * c->n_truth; i++) {
                const uint32_t id = (uint32_t)c->truth[i], position = places->positions[find_place(places, id)];
                if (is_apart(index, position)) /* a search takes its distance as it is */
                    continue;
                const uint8_t *stored = index->refine_rows + (uint64_t)position * index->refine_row_bytes;
                c->refined[i] = omen_key(omen_refine_distance(&index->refine, distance, query, offset, stored), id);
            }
        }
    }
    const int status = lifted ? OMEN_OK : OMEN_ERR_MEMORY;
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

/* Fills copies_lost. */
static int count_lost(omen_calibration *c)
{
    bool *lost = omen_alloc((size_t)c->n_queries * c->k_most, sizeof *lost);
    for (size_t i = 0; lost && i < OMEN_CALIBRATE_KS && omen_calibrate_ks[i] <= c->k_most; i++) {
        const size_t n = (size_t)c->n_queries * omen_calibrate_ks[i];
        uint64_t n_lost = 0;
        omen_calibration_mark_lost(c, omen_calibrate_ks[i], lost);
        for (size_t j = 0; j < n; j++)
            n_lost += lost[j];
        c->copies_lost[i] = (double)n_lost / (double)n;
    }
    free(lost);
    return lost ? OMEN_OK : OMEN_ERR_MEMORY;
}

static bool all_are_found(const omen_calibration *c, const row_places *places)
{
    bool found = true;
    for (size_t i = 0; i < (size_t)c->n_queries * c->n_truth; i++)
        found = found && places->positions[find_place(places, (uint32_t)c->truth[i])] != NOT_FOUND;
    return found;
}

int omen_calibration_init(omen_calibration *c, const omen_index *index, const omen_neighbours *truth, omen_watch *watch)
{
    const omen_meta *m = &index->meta;
    const uint64_t others = truth->are_rows ? m->n_rows - 1 : m->n_rows;
    row_places places;
    *c = (omen_calibration){.n_queries = truth->n_queries,
                            .d = m->d,
                            .k_most = others < OMEN_CALIBRATE_K ? (uint32_t)others : OMEN_CALIBRATE_K,
                            .n_truth = truth->k,
                            .near_copies = NAN};
    int status = allocate(c);
    if (status != OMEN_OK)
        return status;
    memcpy(c->queries, truth->queries, (size_t)c->n_queries * c->d * sizeof *c->queries);
    memcpy(c->own, truth->own, c->n_queries * sizeof *c->own);
    memcpy(c->truth, truth->keys, (size_t)c->n_queries * c->n_truth * sizeof *c->truth);
    const uint32_t n_with_copies = name_neighbours(c);
    /* inner products are no distances: what is nearest need not be near */
    if (truth->are_rows && m->metric != OMEN_METRIC_IP) {
        if (c->k_most >= COPY_RANK)
            c->near_copies = (double)n_with_copies / c->n_queries;
        leave_out_trivial(c, m->metric);
        if (c->near_copies > OMEN_NEAR_COPIES_MOST)
            count_copies(c);
    }
    memcpy(c->refined, c->truth, (size_t)c->n_queries * c->n_truth * sizeof *c->truth);
    status = places_init(&places, c, index, watch);
    if (status == OMEN_OK && !all_are_found(c, &places))
        status = OMEN_ERR_CORRUPT;
    if (status == OMEN_OK)
        name_lists(c, index, &places);
    if (status == OMEN_OK && m->refine != OMEN_REFINE_NONE)
        status = refine_truth(c, index, &places);
    if (status == OMEN_OK && c->copies[0] > 0)
        status = count_lost(c);
    places_finish(&places);
    return status;
}
