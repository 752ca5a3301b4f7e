/* SPDX-License-Identifier: Apache-2.0 */
/* The true neighbours of calibration's queries, collected while rows go by.
 *
 * Rows are multiplied with all queries. What the product may be off by is bounded, so a row whose distance might be
 * among the k nearest is never missed; the distance kernel measures it at once, while it is in the cache. Where
 * products are coarse, as for values far from the others, the kernel measures more rows, up to all. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/byte_products.h"
#include "lib/kernels/kernels.h"
#include "lib/keys.h"
#include "lib/matrix.h"
#include "lib/transform.h"
#include "lib/neighbours.h"
#include "lib/watch.h"

#define GROUP         256u /* queries of one product */
#define ROWS          192u /* rows of one product */
#define QUERIES_LEAST 100u
#define WORK_MOST     7e10 /* multiply-adds spent on comparing */

#define BYTE_EXACT (1u << 24u) /* sums of bytes below this are exact in float32 */

#define SHORT2 1e-30f /* squared lengths below it may have lost bits: */
#define SHORT  1e-15f /* they count as this long, which they are not */

/* ---- the queries ---- */

uint32_t omen_neighbours_most_queries(uint64_t n_rows, uint32_t d)
{
    const double affordable = WORK_MOST / ((double)n_rows * d);
    return affordable > OMEN_NEIGHBOURS_QUERIES ? OMEN_NEIGHBOURS_QUERIES
           : affordable < QUERIES_LEAST         ? QUERIES_LEAST
                                                : (uint32_t)affordable;
}

/* Draws from n_from rows, for n_rows. */
static uint32_t draw(uint64_t n_rows, uint32_t d, uint64_t n_from, uint64_t seed,
                     uint64_t rows[OMEN_NEIGHBOURS_QUERIES])
{
    const uint32_t n_most = omen_neighbours_most_queries(n_rows, d), n = n_most < n_from ? n_most : (uint32_t)n_from;
    omen_random_rows(seed ^ 0x63616c69, n_from, n, rows);
    return n;
}

uint32_t omen_neighbours_draw(uint64_t n_rows, uint32_t d, uint64_t seed, uint64_t rows[OMEN_NEIGHBOURS_QUERIES])
{
    return draw(n_rows, d, n_rows, seed, rows);
}

int omen_neighbours_init(omen_neighbours *t, omen_metric metric, uint64_t n_rows, uint32_t d, uint64_t seed,
                         uint64_t n_given)
{
    uint64_t rows[OMEN_NEIGHBOURS_QUERIES];
    *t = (omen_neighbours){.metric = metric, .d = d, .are_rows = n_given == 0};
    if (n_rows < 2) /* no other row to be a neighbour */
        return OMEN_OK;
    const uint64_t others = n_rows - t->are_rows, most = OMEN_NEIGHBOURS_WANTED + OMEN_NEIGHBOURS_BEYOND;
    t->n_queries = draw(n_rows, d, n_given > 0 ? n_given : n_rows, seed, rows);
    t->k = (uint32_t)omen_least(others, most) + t->are_rows;
    const size_t n = t->n_queries;
    t->queries = omen_alloc_zero(n * d, sizeof *t->queries);
    t->own = omen_alloc(n, sizeof *t->own);
    t->keys = omen_alloc(n * t->k, sizeof *t->keys);
    t->part = omen_alloc(n * t->k, sizeof *t->part);
    t->found = omen_alloc(n * 2 * t->k, sizeof *t->found);
    t->n_found = omen_alloc_zero(n, sizeof *t->n_found);
    t->norms2 = omen_alloc_zero(n, sizeof *t->norms2);
    if (!t->queries || !t->own || !t->keys || !t->part || !t->found || !t->n_found || !t->norms2)
        return OMEN_ERR_MEMORY;
    memset(t->keys, 0xff, n * t->k * sizeof *t->keys);
    for (size_t q = 0; q < n; q++)
        t->own[q] = t->are_rows ? (uint32_t)rows[q] : OMEN_NEIGHBOURS_NO_ROW;
    return OMEN_OK;
}

static bool query_is_sound(const omen_neighbours *t, uint32_t q)
{
    const float *query = t->queries + (size_t)q * t->d;
    return omen_kernels_get()->ip_f32(query, query, t->d) <= OMEN_NORM2_MOST;
}

int omen_neighbours_read(omen_neighbours *t, const omen_source *source, const omen_source *given, uint64_t seed,
                         omen_watch *watch, omen_detail *why)
{
    uint64_t rows[OMEN_NEIGHBOURS_QUERIES];
    const omen_source *from = given ? given : source;
    if (t->n_queries > 0)
        draw(source->n_rows, t->d, from->n_rows, seed, rows);
    for (uint32_t q = 0; q < t->n_queries; q++) {
        int status = from->read(from->self, rows[q], 1, t->queries + (size_t)q * t->d, why);
        if (status == OMEN_OK)
            status = omen_watch_status(watch);
        if (status != OMEN_OK)
            return status;
        if (given && !query_is_sound(t, q))
            return omen_fail(why, OMEN_ERR_INPUT,
                             "query %llu of options.tune_queries is too long: its squared norm is "
                             "over %g",
                             (unsigned long long)rows[q], (double)OMEN_NORM2_MOST);
    }
    return OMEN_OK;
}

bool omen_neighbours_queries_are_sound(const omen_neighbours *t)
{
    bool sound = true;
    for (uint32_t q = 0; q < t->n_queries; q++)
        sound = sound && query_is_sound(t, q);
    return sound;
}

void omen_neighbours_finish(omen_neighbours *t)
{
    free(t->queries);
    free(t->own);
    free(t->keys);
    free(t->part);
    free(t->found);
    free(t->n_found);
    free(t->units);
    free(t->norms2);
    free(t->panels);
    free(t->byte_panels);
    free(t->byte_terms);
    *t = (omen_neighbours){.n_queries = 0};
}

uint64_t omen_neighbours_bytes(uint64_t n_rows, uint32_t d)
{
    return omen_neighbours_most_queries(n_rows, d) * (12 * (uint64_t)d + 4 * 8 * OMEN_NEIGHBOURS_MOST + 32);
}

uint64_t omen_neighbours_scan_bytes(uint64_t n_rows, uint32_t d, int n_threads)
{
    return (uint64_t)n_threads *
           (ROWS * (4 * (uint64_t)d + 4 * GROUP) +
            omen_neighbours_most_queries(n_rows, d) * (2 * 8 * (uint64_t)OMEN_NEIGHBOURS_MOST + 16));
}

/* ---- what rows are compared with ---- */

static int pack_bytes(omen_neighbours *t)
{
    const size_t d = t->d, n_k = omen_byte_fours(d), width = omen_round_up(t->n_queries, OMEN_PANEL);
    t->byte_panels = omen_alloc_zero(omen_panels_count(t->n_queries, n_k), sizeof *t->byte_panels);
    t->byte_terms = omen_alloc_zero(width, sizeof *t->byte_terms);
    if (!t->byte_panels || !t->byte_terms)
        return OMEN_ERR_MEMORY;
    for (size_t q = 0; q < t->n_queries; q++)
        t->byte_terms[q] = omen_byte_pack_query(t->queries + q * d, d, n_k, q, t->byte_panels);
    return OMEN_OK;
}

/* Packs the queries less the centre, or of unit length under ip. */
static int pack_floats(omen_neighbours *t)
{
    const size_t d = t->d, n = t->n_queries;
    float *packed = omen_alloc(n * d, sizeof *packed);
    t->panels = omen_alloc(omen_panels_count(n, d), sizeof *t->panels);
    for (size_t q = 0; q < n && packed && t->panels; q++) {
        const float *query = (t->units ? t->units : t->queries) + q * d;
        float *to = packed + q * d;
        const double length = t->metric == OMEN_METRIC_IP ? sqrt(omen_norm2(query, t->d)) : 0;
        for (size_t j = 0; j < d; j++) {
            to[j] = t->metric == OMEN_METRIC_IP ? (float)(length > 0 ? (double)query[j] / length : 0)
                                                : query[j] - t->centre[j];
            t->norms2[q] += (double)to[j] * (double)to[j];
        }
        if (t->metric == OMEN_METRIC_IP)
            t->norms2[q] = length * length;
    }
    if (packed && t->panels)
        omen_panels_pack(packed, n, d, d, t->panels);
    free(packed);
    return packed && t->panels ? OMEN_OK : OMEN_ERR_MEMORY;
}

int omen_neighbours_prepare(omen_neighbours *t, const float *centre, bool rows_are_bytes)
{
    if (t->n_queries == 0)
        return OMEN_OK;
    t->centre = centre;
    t->as_bytes = t->metric == OMEN_METRIC_L2 && rows_are_bytes && t->d <= OMEN_BYTE_DIMS &&
                  omen_values_are_bytes(t->queries, (size_t)t->n_queries * t->d);
    if (t->as_bytes)
        return pack_bytes(t);
    if (t->metric == OMEN_METRIC_COSINE) {
        const omen_transform unit = {.metric = t->metric, .d = t->d, .d_full = t->d};
        t->units = omen_alloc((size_t)t->n_queries * t->d, sizeof *t->units);
        if (!t->units)
            return OMEN_ERR_MEMORY;
        omen_transform_lift(&unit, t->queries, t->n_queries, true, t->units);
    }
    return pack_floats(t);
}

/* A zero vector under cosine is as far from every row as from any other: nothing is looked for. */
static bool is_zero_query(const omen_neighbours *t, uint32_t q)
{
    return t->metric == OMEN_METRIC_COSINE && omen_norm2(t->queries + (size_t)q * t->d, t->d) == 0;
}

/* ---- rows that go by ---- */

/* What a product may be off by, as a share of both squared norms together, or under ip of the product of the lengths: a
 * rounding for each term of both sums, and some for the norms, the centre and the difference. */
static double coarseness(const omen_neighbours *t)
{
    return (1.125 * t->d + 64) * 0x1p-24;
}

/* What is lost of products that float32 does not hold in full. */
static double lost(const omen_neighbours *t)
{
    return t->d * 0x1p-147;
}

/* What a product less the row's share of it reaches, if the kernel's distance is at most this. */
static float floor_of(const omen_neighbours *t, uint32_t q, float distance)
{
    const double off = coarseness(t), most = (double)distance * (distance > 0 ? 1 + off : 1);
    double least;
    if (t->as_bytes)
        return -(float)most * (1 + 0x1p-22f);
    if (t->metric == OMEN_METRIC_IP) {
        if (!(t->norms2[q] > (double)SHORT2)) /* what the kernel loses is not small beside it */
            return -INFINITY;
        least = -(double)distance / sqrt(t->norms2[q]);
    } else {
        const double squared = t->metric == OMEN_METRIC_COSINE ? 2 * most : most;
        least = 0.5 * (t->norms2[q] * (1 - off) - squared - lost(t));
    }
    return (float)(least - fabs(least) * 0x1p-22 - 0x1p-149);
}

int omen_neighbours_scan_init(omen_neighbours_scan *s, const omen_neighbours *t)
{
    const size_t n = t->n_queries, width = omen_round_up(n, OMEN_PANEL), d = t->d;
    *s = (omen_neighbours_scan){.dots = NULL};
    if (n == 0)
        return OMEN_OK;
    s->dots = omen_alloc((size_t)ROWS * GROUP, sizeof *s->dots);
    s->floors = omen_alloc(width, sizeof *s->floors);
    s->limits = omen_alloc(n, sizeof *s->limits);
    s->keys = omen_alloc(n * 2 * t->k, sizeof *s->keys);
    s->counts = omen_alloc_zero(n, sizeof *s->counts);
    if (t->as_bytes) /* the product reads fours */
        s->bytes = omen_alloc_zero(ROWS * d + 3, sizeof *s->bytes);
    else
        s->centred = omen_alloc(ROWS * d, sizeof *s->centred);
    if (!s->dots || !s->floors || !s->limits || !s->keys || !s->counts || (!s->bytes && !s->centred))
        return OMEN_ERR_MEMORY;
    for (size_t q = 0; q < width; q++)
        s->floors[q] = INFINITY;
    for (uint32_t q = 0; q < n; q++) {
        s->limits[q] = t->keys[(size_t)q * t->k + t->k - 1];
        if (!is_zero_query(t, q))
            s->floors[q] = s->limits[q] == UINT64_MAX ? -INFINITY : floor_of(t, q, omen_key_distance(s->limits[q]));
    }
    return OMEN_OK;
}

void omen_neighbours_scan_finish(omen_neighbours_scan *s)
{
    free(s->centred);
    free(s->dots);
    free(s->floors);
    free(s->limits);
    free(s->bytes);
    free(s->keys);
    free(s->counts);
}

/* Keeps the k nearest of a query. */
static void cut(omen_neighbours_scan *s, const omen_neighbours *t, uint32_t q)
{
    uint64_t *keys = s->keys + (size_t)q * 2 * t->k, most = 0;
    omen_keys_select(keys, s->counts[q], t->k);
    s->counts[q] = t->k;
    for (uint32_t i = 0; i < t->k; i++)
        most = keys[i] > most ? keys[i] : most;
    if (most < s->limits[q]) {
        s->limits[q] = most;
        s->floors[q] = floor_of(t, q, omen_key_distance(most));
    }
}

/* The key of a row that may be near; product is that of bytes. */
static uint64_t measure(const omen_neighbours *t, uint32_t q, uint32_t id, const float *row, bool is_zero,
                        float product)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t at = (size_t)q * t->d;
    if (t->as_bytes && -product < (float)BYTE_EXACT)
        return omen_key(0 - product, id);
    if (t->metric == OMEN_METRIC_IP)
        return omen_key(0 - kernels->ip_f32(t->queries + at, row, t->d), id);
    if (t->metric == OMEN_METRIC_L2)
        return omen_key(kernels->l2_f32(t->queries + at, row, t->d), id);
    return omen_key(is_zero ? 1 : kernels->l2_f32(t->units + at, row, t->d) / 2, id);
}

/* Some rows, and what of their products is of the row alone. */
typedef struct {
    uint64_t first;
    const float *rows;
    size_t n;
    float half_norms[ROWS];
    int32_t terms[ROWS];
    bool is_zero[ROWS];
} row_block;

static void prepare_bytes(const omen_neighbours *t, omen_neighbours_scan *s, row_block *b)
{
    const size_t d = t->d;
    for (size_t i = 0; i < b->n; i++) {
        const float *row = b->rows + i * d;
        uint8_t *to = s->bytes + i * d;
        for (size_t j = 0; j < d; j++)
            to[j] = (uint8_t)(int)row[j];
        b->terms[i] = omen_byte_row_term(to, d);
        b->half_norms[i] = 0;
        b->is_zero[i] = false;
    }
}

static void prepare_floats(const omen_neighbours *t, omen_neighbours_scan *s, row_block *b)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t d = t->d;
    const float off = (float)coarseness(t);
    for (size_t i = 0; i < b->n; i++) {
        const float *row = b->rows + i * d;
        float *to = s->centred + i * d;
        b->is_zero[i] = t->metric == OMEN_METRIC_COSINE && !(kernels->ip_f32(row, row, d) > 0);
        if (t->metric == OMEN_METRIC_IP) {
            const float norm2 = kernels->ip_f32(row, row, d);
            b->half_norms[i] = -off * (norm2 > SHORT2 ? sqrtf(norm2) : SHORT);
            memcpy(to, row, d * sizeof *to);
            continue;
        }
        for (size_t j = 0; j < d; j++)
            to[j] = row[j] - t->centre[j];
        /* a zero row is as far from a unit query as one at a right angle */
        b->half_norms[i] = (b->is_zero[i] ? 0.5f : 0) + 0.5f * (1 - off) * kernels->ip_f32(to, to, d);
    }
}

/* One block against the queries [q0, q0 + n). */
static void compare(omen_neighbours_scan *s, const omen_neighbours *t, const row_block *b, uint32_t q0, size_t n)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t n_panels = omen_round_up(n, OMEN_PANEL) / OMEN_PANEL, width = n_panels * OMEN_PANEL, d = t->d;
    uint16_t masks[GROUP / OMEN_PANEL];
    if (t->as_bytes)
        kernels->matmul_u8(s->bytes, d, b->n, t->byte_panels + q0 * omen_byte_fours(d), n_panels, omen_byte_fours(d),
                           b->terms, t->byte_terms + q0, s->dots, width);
    else
        kernels->matmul(s->centred, d, b->n, t->panels + q0 * d, n_panels, d, s->dots, width);
    for (size_t i = 0; i < b->n; i++) {
        const float *dots = s->dots + i * width;
        kernels->reach(dots, b->half_norms[i], s->floors + q0, n_panels, masks);
        for (size_t p = 0; p < n_panels; p++) {
            for (uint32_t mask = masks[p]; mask; mask &= mask - 1) {
                const uint32_t at = (uint32_t)(p * OMEN_PANEL) + (uint32_t)__builtin_ctz(mask), q = q0 + at;
                const uint64_t key = measure(t, q, (uint32_t)(b->first + i), b->rows + i * d, b->is_zero[i], dots[at]);
                if (key >= s->limits[q])
                    continue;
                s->keys[(size_t)q * 2 * t->k + s->counts[q]++] = key;
                if (s->counts[q] == 2 * t->k)
                    cut(s, t, q);
            }
        }
    }
}

void omen_neighbours_scan_rows(omen_neighbours_scan *s, const omen_neighbours *t, uint64_t first, const float *rows,
                               size_t n)
{
    row_block b;
    for (size_t i0 = 0; i0 < n && t->n_queries > 0; i0 += ROWS) {
        b.first = first + i0;
        b.rows = rows + i0 * t->d;
        b.n = omen_least(ROWS, n - i0);
        if (t->as_bytes)
            prepare_bytes(t, s, &b);
        else
            prepare_floats(t, s, &b);
        for (uint32_t q0 = 0; q0 < t->n_queries; q0 += GROUP)
            compare(s, t, &b, q0, omen_least(GROUP, t->n_queries - q0));
    }
}

/* ---- what was found ---- */

void omen_neighbours_take(omen_neighbours *t, omen_neighbours_scan *s)
{
    for (uint32_t q = 0; q < t->n_queries; q++) {
        uint64_t *found = t->found + (size_t)q * 2 * t->k;
        if (s->counts[q] > t->k)
            cut(s, t, q);
        memcpy(found + t->n_found[q], s->keys + (size_t)q * 2 * t->k, s->counts[q] * sizeof *found);
        t->n_found[q] += s->counts[q];
        if (t->n_found[q] > t->k) {
            omen_keys_select(found, t->n_found[q], t->k);
            t->n_found[q] = t->k;
        }
    }
}

/* Merges n keys, ascending, into those of a query. Returns how many of them are among the k nearest. */
static uint32_t merge(omen_neighbours *t, uint32_t q, const uint64_t *keys, uint32_t n)
{
    uint64_t *to = t->keys + (size_t)q * t->k, merged[OMEN_NEIGHBOURS_MOST];
    uint32_t i = 0, j = 0, n_merged = 0;
    while (n_merged < t->k) {
        if (j < n && keys[j] < to[i])
            merged[n_merged++] = keys[j++];
        else
            merged[n_merged++] = to[i++];
    }
    memcpy(to, merged, t->k * sizeof *to);
    return j;
}

void omen_neighbours_end_chunk(omen_neighbours *t, uint64_t n)
{
    const size_t each = (size_t)omen_neighbours_part_keys(t, n);
    for (uint32_t q = 0; q < t->n_queries; q++) {
        uint64_t *found = t->found + (size_t)q * 2 * t->k, *part = t->part + q * each;
        omen_keys_sort(found, t->n_found[q]);
        const uint32_t n_kept = merge(t, q, found, t->n_found[q]);
        memcpy(part, found, n_kept * sizeof *part);
        memset(part + n_kept, 0xff, (each - n_kept) * sizeof *part);
        t->n_found[q] = 0;
    }
}

bool omen_neighbours_join(omen_neighbours *t, uint64_t row0, uint64_t n)
{
    const size_t each = (size_t)omen_neighbours_part_keys(t, n);
    for (size_t i = 0; i < t->n_queries * each; i++) {
        const uint64_t key = t->part[i], row = (uint32_t)key;
        if (i % each > 0 && t->part[i - 1] > key)
            return false;
        if (key != UINT64_MAX && (row < row0 || row - row0 >= n || !isfinite(omen_key_distance(key)) ||
                                  (i % each > 0 && t->part[i - 1] == key)))
            return false;
    }
    for (uint32_t q = 0; q < t->n_queries; q++)
        merge(t, q, t->part + q * each, (uint32_t)each);
    return true;
}

/* Whether no row is there twice, which runs may claim: whoever leaves out a query's own row counts on it. */
static bool rows_are_distinct(const uint64_t *keys, uint32_t n)
{
    bool are_distinct = true;
    for (uint32_t i = 1; i < n; i++)
        for (uint32_t j = 0; j < i; j++)
            are_distinct &= (uint32_t)keys[j] != (uint32_t)keys[i];
    return are_distinct;
}

bool omen_neighbours_complete(omen_neighbours *t)
{
    bool is_complete = true;
    for (uint32_t q = 0; q < t->n_queries; q++) {
        uint64_t *keys = t->keys + (size_t)q * t->k;
        for (uint32_t i = 0; i < t->k && is_zero_query(t, q); i++)
            keys[i] = omen_key(1, i);
        is_complete = is_complete && keys[t->k - 1] != UINT64_MAX && rows_are_distinct(keys, t->k);
    }
    return is_complete;
}
