/* SPDX-License-Identifier: Apache-2.0 */
/* Exact search: every query against every row, of the refine tier or of a source.
 *
 * Rows are read block by block and multiplied with a group of queries; a row that comes near a query's k nearest so
 * far, with some room for the rounding of the product, is kept and measured again by the distance kernel, whose value
 * is returned. Where the product is too coarse for that, as for values far from the others, the kernel measures all
 * rows. Cosine is the squared distance of unit vectors, which cancels less than their product. Under l2, bytes compared
 * with bytes are multiplied as bytes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/index.h"
#include "lib/byte_products.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"
#include "lib/refine.h"

#define GROUP      256u  /* queries of one product */
#define ROWS       192u  /* rows of one product */
#define ROOM       32u   /* candidates kept beyond k */
#define RANGE_ROWS 4096u /* fewest rows worth a task of their own */

/* what a product may be off by, in roundings of a distance: rows this near are taken for equally far */
#define COARSE_TIMES 4.0

#define BYTE_QUERIES 64u /* fewer do not pay for looking whether rows are bytes */

/* Where rows come from: the refine tier of an index, or a source. */
typedef struct {
    const omen_index *index;
    const omen_source *source;
    omen_metric metric;
    omen_transform unit; /* cosine: scales source rows and queries to unit length */
    uint64_t n_rows;
    uint32_t d;
    uint32_t *positions; /* index: of each id, so that ties are broken by id all the way */
    bool as_bytes;       /* rows and queries are bytes, and products of bytes will do */
    float *centre;       /* l2, cosine: subtracted from rows and queries, so that products do not cancel */
    omen_watch *watch;   /* NULL: the search is never stopped */
} row_supply;

static int supply_rows(const row_supply *supply, uint64_t first, size_t n, float *rows, omen_detail *why)
{
    if (!supply->index) {
        int status = supply->source->read(supply->source->self, first, n, rows, why);
        if (status == OMEN_OK && supply->metric == OMEN_METRIC_COSINE)
            omen_transform_lift(&supply->unit, rows, n, false, rows);
        return status;
    }
    const omen_index *index = supply->index;
    for (size_t i = 0; i < n; i++)
        omen_refine_decode(index->meta.refine, index->refine_rows + (first + i) * index->refine_row_bytes, supply->d,
                           rows + i * supply->d);
    return OMEN_OK;
}

/* The same as bytes; see rows_are_bytes(). */
static int supply_bytes(const row_supply *supply, uint64_t first, size_t n, uint8_t *rows, omen_detail *why)
{
    const omen_index *index = supply->index;
    const size_t d = supply->d;
    if (!index)
        return supply->source->read_bytes(supply->source->self, first, n, rows, why);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = index->refine_rows + (first + i) * index->refine_row_bytes;
        float lo;
        memcpy(&lo, row, sizeof lo);
        for (size_t k = 0; k < d; k++)
            rows[i * d + k] = (uint8_t)(row[OMEN_SQ_HEADER + k] + (uint8_t)lo);
    }
    return OMEN_OK;
}

/* Squared distance, from unit vectors too, unless the metric is ip. */
static bool is_squared(const row_supply *supply)
{
    return supply->metric != OMEN_METRIC_IP;
}

/* Whether one of the rows supplied is a zero row under cosine. */
static bool is_zero_row(const row_supply *supply, const float *row)
{
    return supply->metric == OMEN_METRIC_COSINE && (!supply->index || supply->index->refine.has_zero_rows) &&
           !(omen_kernels_get()->ip_f32(row, row, supply->d) > 0);
}

/* Whether a query, as it was given, is a zero vector under cosine: as far from every row as from any other. */
static bool is_zero_query(const row_supply *supply, const float *query)
{
    return supply->metric == OMEN_METRIC_COSINE && omen_norm2(query, supply->d) == 0;
}

static uint64_t source_key(const row_supply *supply, const float *query, uint32_t id, const float *row)
{
    const omen_kernels *kernels = omen_kernels_get();
    if (!is_squared(supply))
        return omen_key(0 - kernels->ip_f32(query, row, supply->d), id); /* no -0, which would come before 0 */
    const float value = kernels->l2_f32(query, row, supply->d);
    return omen_key(supply->metric == OMEN_METRIC_L2 ? value : is_zero_row(supply, row) ? 1 : value / 2, id);
}

static uint64_t index_key(const row_supply *supply, const float *query, double offset, uint64_t position)
{
    const omen_index *index = supply->index;
    const omen_distance_fn kernel = omen_refine_kernel(index->refine.tier, index->refine.metric);
    const uint8_t *stored = index->refine_rows + position * index->refine_row_bytes;
    return omen_key(omen_refine_distance(&index->refine, kernel, query, offset, stored), index->ids[position]);
}

/* The key (distance, id) of one row by id; scratch holds a row. */
static int supply_key(const row_supply *supply, const float *query, double offset, uint32_t id, float *scratch,
                      uint64_t *key, omen_detail *why)
{
    if (supply->index) {
        *key = index_key(supply, query, offset, supply->positions[id]);
        return OMEN_OK;
    }
    const int status = supply_rows(supply, id, 1, scratch, why);
    if (status == OMEN_OK)
        *key = source_key(supply, query, id, scratch);
    return status;
}

typedef struct {
    float *rows, *centred, *panels, *dots, *floors;
    uint8_t *byte_rows;
    int8_t *byte_panels;              /* values of queries less BYTE_CENTRE */
    int32_t *row_terms, *query_terms; /* what makes products of bytes negative squared distances */
    uint64_t *keys;
    uint32_t *counts;
    size_t kept, size;
} exact_state;

static void state_finish(exact_state *s)
{
    free(s->rows);
    free(s->centred);
    free(s->panels);
    free(s->byte_rows);
    free(s->byte_panels);
    free(s->row_terms);
    free(s->query_terms);
    free(s->dots);
    free(s->floors);
    free(s->keys);
    free(s->counts);
}

static int state_init(exact_state *s, const row_supply *supply, size_t kept)
{
    const size_t d = supply->d;
    memset(s, 0, sizeof *s);
    s->kept = kept;
    s->size = 2 * kept;
    s->rows = omen_alloc(supply->as_bytes ? d : ROWS * d, sizeof *s->rows);
    if (supply->as_bytes) {
        s->byte_rows = omen_alloc_zero(ROWS * d + 3, 1);
        s->byte_panels = omen_alloc(omen_panels_count(GROUP, omen_byte_fours(d)), 1);
        s->row_terms = omen_alloc(ROWS, sizeof *s->row_terms);
        s->query_terms = omen_alloc(GROUP, sizeof *s->query_terms);
    } else {
        s->centred = omen_alloc(GROUP * d, sizeof *s->centred);
        s->panels = omen_alloc(omen_panels_count(GROUP, d), sizeof *s->panels);
    }
    s->dots = omen_alloc((size_t)ROWS * GROUP, sizeof *s->dots);
    s->floors = omen_alloc(GROUP, sizeof *s->floors);
    s->keys = omen_alloc(GROUP * s->size, sizeof *s->keys);
    s->counts = omen_alloc(GROUP, sizeof *s->counts);
    const bool has_product =
        supply->as_bytes ? s->byte_rows && s->byte_panels && s->row_terms && s->query_terms : s->centred && s->panels;
    return has_product && s->rows && s->dots && s->floors && s->keys && s->counts ? OMEN_OK : OMEN_ERR_MEMORY;
}

uint64_t omen_search_exact_bytes(uint32_t d, uint32_t k)
{
    return 4 * ((uint64_t)d * (ROWS + 2 * (GROUP + OMEN_PANEL)) + ROWS * GROUP + 2 * GROUP) +
           8 * (uint64_t)GROUP * 2 * (k + ROOM);
}

/* The mean of the first rows: near enough to the middle of all. That of centred refine rows is 0. */
static int find_centre(row_supply *supply, omen_detail *why)
{
    const size_t d = supply->d, n = supply->n_rows < ROWS ? supply->n_rows : ROWS;
    float *rows = omen_alloc(n * d, sizeof *rows);
    supply->centre = omen_alloc_zero(d, sizeof *supply->centre);
    const bool is_wanted = is_squared(supply) && !(supply->index && supply->index->refine.centre);
    int status = rows && supply->centre ? OMEN_OK : OMEN_ERR_MEMORY;
    if (status == OMEN_OK && is_wanted)
        status = supply_rows(supply, 0, n, rows, why);
    for (size_t j = 0; j < d && status == OMEN_OK && is_wanted; j++) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += (double)rows[i * d + j];
        supply->centre[j] = (float)(sum / (double)n);
    }
    free(rows);
    return status;
}

static void subtract_centre(const row_supply *supply, const float *rows, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < supply->d; j++)
            out[i * supply->d + j] = rows[i * supply->d + j] - supply->centre[j];
}

/* Keeps the best of a query's keys. floors[q] is what a product less half_norms has to reach to matter; halved says
 * that this is half a key's distance. */
static void cut(exact_state *s, size_t q, bool halved)
{
    uint64_t *keys = s->keys + q * s->size;
    omen_keys_select(keys, s->counts[q], s->kept);
    s->counts[q] = (uint32_t)s->kept;
    float limit = -INFINITY;
    for (size_t i = 0; i < s->kept; i++) {
        const float v = omen_key_distance(keys[i]);
        limit = v > limit ? v : limit;
    }
    s->floors[q] = halved ? -0.5f * limit : -limit;
}

static void pack_queries(exact_state *s, const row_supply *supply, const float *queries, size_t n)
{
    const size_t d = supply->d, n_k = omen_byte_fours(d);
    if (!supply->as_bytes) {
        subtract_centre(supply, queries, n, s->centred);
        omen_panels_pack(s->centred, n, d, d, s->panels);
        return;
    }
    memset(s->byte_panels, 0, omen_panels_count(n, n_k));
    memset(s->query_terms, 0, GROUP * sizeof *s->query_terms);
    for (size_t q = 0; q < n; q++)
        s->query_terms[q] = omen_byte_pack_query(queries + q * d, d, n_k, q, s->byte_panels);
}

/* What a product may be off by, at most, as a share of both squared norms together: a rounding for each of its terms,
 * and some for the norm and the centre. */
static float coarseness(const row_supply *supply)
{
    return (float)(supply->d + 16) * 0x1p-24f;
}

/* How near rows [first, first + n) are to the packed queries, more being nearer: s->dots less half_norms of the row. As
 * bytes that is minus the squared distance, exactly up to 2^24; else the product, and but for ip half the squared norm,
 * less what the product may be off by. */
static int multiply_rows(exact_state *s, const row_supply *supply, uint64_t first, size_t n, size_t n_panels,
                         float half_norms[ROWS], omen_detail *why)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t d = supply->d, ldc = n_panels * OMEN_PANEL;
    if (supply->as_bytes) {
        int status = supply_bytes(supply, first, n, s->byte_rows, why);
        if (status != OMEN_OK)
            return status;
        for (size_t i = 0; i < n; i++) {
            s->row_terms[i] = omen_byte_row_term(s->byte_rows + i * d, d);
            half_norms[i] = 0;
        }
        kernels->matmul_u8(s->byte_rows, d, n, s->byte_panels, n_panels, omen_byte_fours(d), s->row_terms,
                           s->query_terms, s->dots, ldc);
        return OMEN_OK;
    }
    int status = supply_rows(supply, first, n, s->rows, why);
    if (status != OMEN_OK)
        return status;
    if (is_squared(supply)) {
        for (size_t i = 0; i < n; i++) /* as far from a unit query as from one at a right angle */
            half_norms[i] = is_zero_row(supply, s->rows + i * d) ? 0.5f : 0;
        subtract_centre(supply, s->rows, n, s->rows);
    }
    kernels->matmul(s->rows, d, n, s->panels, n_panels, d, s->dots, ldc);
    for (size_t i = 0; i < n; i++)
        half_norms[i] = is_squared(supply) ? half_norms[i] + 0.5f * (1 - coarseness(supply)) *
                                                                 kernels->ip_f32(s->rows + i * d, s->rows + i * d, d)
                                           : 0;
    return OMEN_OK;
}

/* Of so many queries, what is done when they have been compared with all rows before one. */
static uint64_t parts_before(const row_supply *supply, size_t n_queries, uint64_t row)
{
    return n_queries * OMEN_PROGRESS_PARTS * row / supply->n_rows;
}

/* Rows [row0, row1) against one group: leaves the best kept keys of query q, or all if there are fewer, at
 * s->keys + q * s->size. Their distances are those of the product. */
static int search_range(exact_state *s, const row_supply *supply, const float *queries, size_t n_queries, uint64_t row0,
                        uint64_t row1, omen_detail *why)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t width = (n_queries + OMEN_PANEL - 1) / OMEN_PANEL * OMEN_PANEL;
    const bool halved = is_squared(supply) && !supply->as_bytes;
    uint16_t masks[GROUP / OMEN_PANEL];
    float half_norms[ROWS];
    pack_queries(s, supply, queries, n_queries);
    for (size_t q = 0; q < width; q++) {
        s->counts[q] = 0;
        s->floors[q] = q < n_queries ? -INFINITY : INFINITY;
    }
    for (uint64_t i0 = row0; i0 < row1; i0 += ROWS) {
        const size_t n = row1 - i0 < ROWS ? row1 - i0 : ROWS;
        if (omen_watch_stopped(supply->watch))
            return OMEN_ERR_INTERRUPTED;
        int status = supply->index ? omen_index_touch_rows(supply->index, i0, n, why) : OMEN_OK;
        if (status == OMEN_OK)
            status = multiply_rows(s, supply, i0, n, width / OMEN_PANEL, half_norms, why);
        if (status != OMEN_OK)
            return status;
        omen_watch_add_parts(supply->watch,
                             parts_before(supply, n_queries, i0 + n) - parts_before(supply, n_queries, i0));
        for (size_t i = 0; i < n; i++) {
            const float *dots = s->dots + i * width;
            const uint32_t id = supply->index ? supply->index->ids[i0 + i] : (uint32_t)(i0 + i);
            kernels->reach(dots, half_norms[i], s->floors, width / OMEN_PANEL, masks);
            for (size_t p = 0; p < width / OMEN_PANEL; p++) {
                for (uint32_t mask = masks[p]; mask; mask &= mask - 1) {
                    const size_t q = p * OMEN_PANEL + (size_t)__builtin_ctz(mask);
                    const float v = dots[q] - half_norms[i];
                    s->keys[q * s->size + s->counts[q]++] = omen_key(halved ? -2 * v : -v, id);
                    if (s->counts[q] == s->size)
                        cut(s, q, halved);
                }
            }
        }
    }
    for (size_t q = 0; q < n_queries; q++)
        if (s->counts[q] > s->kept)
            cut(s, q, halved);
    return OMEN_OK;
}

/* The nearest rows of one query by the distance kernel alone, the best kept and perhaps more: keys has room for twice
 * as many. */
static int measure_all(exact_state *s, const row_supply *supply, const float *query, double offset, uint64_t *keys,
                       size_t *n_keys, omen_detail *why)
{
    size_t n_kept = 0;
    for (uint64_t i0 = 0; i0 < supply->n_rows; i0 += ROWS) {
        const size_t n = supply->n_rows - i0 < ROWS ? supply->n_rows - i0 : ROWS;
        if (omen_watch_stopped(supply->watch))
            return OMEN_ERR_INTERRUPTED;
        const int status = supply->index ? OMEN_OK : supply_rows(supply, i0, n, s->rows, why);
        if (status != OMEN_OK)
            return status;
        for (size_t i = 0; i < n; i++) {
            keys[n_kept++] = supply->index ? index_key(supply, query, offset, i0 + i)
                                           : source_key(supply, query, (uint32_t)(i0 + i), s->rows + i * supply->d);
            if (n_kept == s->size) {
                omen_keys_select(keys, n_kept, s->kept);
                n_kept = s->kept;
            }
        }
    }
    *n_keys = n_kept;
    return OMEN_OK;
}

/* Whether a row that is not among n > 0 keys of products could be nearer than the k-th of those measured, by more than
 * sums in float32 tell apart. limit is the largest product. */
static bool is_coarse(const row_supply *supply, const float *query, float limit, float kth)
{
    double norm2 = 0;
    for (size_t j = 0; j < supply->d; j++) {
        const double x = (double)(query[j] - supply->centre[j]);
        norm2 += x * x;
    }
    const double squared = supply->metric == OMEN_METRIC_COSINE ? 2 * (double)kth : (double)kth;
    const double off = (double)coarseness(supply);
    const double lost = supply->d * 0x1p-148; /* of products below the least that float32 holds in full */
    return squared * (1 - COARSE_TIMES * off) > (double)limit + norm2 * (1 - off) - lost;
}

/* Replaces the distances of n keys by measured ones; out gets the k best, padded with UINT64_MAX. keys has room for
 * s->size. */
static int measure(exact_state *s, const row_supply *supply, const float *query, uint64_t *keys, size_t n, uint32_t k,
                   uint64_t *out, omen_detail *why)
{
    const double offset = supply->index ? omen_refine_offset(&supply->index->refine, query) : 0;
    float limit = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (omen_watch_stopped(supply->watch))
            return OMEN_ERR_INTERRUPTED;
        limit = omen_key_distance(keys[i]) > limit ? omen_key_distance(keys[i]) : limit;
        int status = supply_key(supply, query, offset, (uint32_t)keys[i], s->rows, keys + i, why);
        if (status != OMEN_OK)
            return status;
    }
    omen_keys_sort(keys, n);
    if (is_squared(supply) && !supply->as_bytes && n < supply->n_rows && n >= k &&
        is_coarse(supply, query, limit, omen_key_distance(keys[k - 1]))) {
        const int status = measure_all(s, supply, query, offset, keys, &n, why);
        if (status != OMEN_OK)
            return status;
        omen_keys_sort(keys, n);
    }
    for (size_t i = 0; i < k; i++)
        out[i] = i < n ? keys[i] : UINT64_MAX;
    return OMEN_OK;
}

/* One group against one of n_ranges ranges of rows. A range alone is measured at once, into keys; of several, parts
 * gets kept keys of each query, padded with UINT64_MAX. */
static int search_task(exact_state *s, const row_supply *supply, const float *queries, uint64_t n_queries, uint64_t q0,
                       uint64_t range, uint64_t n_ranges, uint32_t k, uint64_t *parts, uint64_t *keys, omen_detail *why)
{
    const size_t n = n_queries - q0 < GROUP ? n_queries - q0 : GROUP, d = supply->d;
    int status = search_range(s, supply, queries + q0 * d, n, supply->n_rows * range / n_ranges,
                              supply->n_rows * (range + 1) / n_ranges, why);
    for (size_t q = 0; q < n && status == OMEN_OK; q++) {
        uint64_t *found = s->keys + q * s->size;
        if (n_ranges == 1) {
            status = measure(s, supply, queries + (q0 + q) * d, found, s->counts[q], k, keys + (q0 + q) * k, why);
            continue;
        }
        uint64_t *part = parts + ((q0 + q) * n_ranges + range) * s->kept;
        for (size_t i = 0; i < s->kept; i++)
            part[i] = i < s->counts[q] ? found[i] : UINT64_MAX;
    }
    return status;
}

/* The best of what all ranges found for a query, measured. */
static int merge_parts(exact_state *s, const row_supply *supply, const float *query, uint64_t *part, uint64_t n_ranges,
                       uint32_t k, uint64_t *keys, omen_detail *why)
{
    size_t n = 0;
    for (size_t i = 0; i < n_ranges * s->kept; i++) {
        part[n] = part[i];
        n += part[i] != UINT64_MAX;
    }
    if (n > s->kept) {
        omen_keys_select(part, n, s->kept);
        n = s->kept;
    }
    return measure(s, supply, query, part, n, k, keys, why);
}

/* Whether all refine rows are whole numbers from 0 to 255. */
static bool rows_are_bytes(const omen_index *index, int n_threads, omen_watch *watch)
{
    int any = 0;
    if (index->meta.refine != OMEN_REFINE_SQ8 || index->refine.centre)
        return false;
#pragma omp parallel for schedule(static) num_threads(n_threads) reduction(| : any)
    for (uint64_t i = 0; i < index->meta.n_rows; i++) {
        const uint8_t *row = index->refine_rows + i * index->refine_row_bytes;
        float header[2];
        memcpy(header, row, sizeof header);
        if (any || (i % RANGE_ROWS == 0 && omen_watch_stopped(watch)) ||
            !(header[0] >= 0 && header[0] <= 255 && header[0] == (float)(int)header[0])) {
            any = 1;
            continue;
        }
        uint8_t most = 0;
        for (size_t k = 0; k < index->meta.d; k++)
            most = row[OMEN_SQ_HEADER + k] > most ? row[OMEN_SQ_HEADER + k] : most;
        any |= most > 0 && !(header[1] == 1 && header[0] + (float)most <= 255);
    }
    return !any;
}

static bool bytes_will_do(const row_supply *supply, const float *queries, uint64_t n_queries, int n_threads)
{
    if (supply->metric != OMEN_METRIC_L2 || supply->d > OMEN_BYTE_DIMS)
        return false;
    /* rows of an index have to be looked at, which one query does not pay for */
    if (supply->index ? n_queries < BYTE_QUERIES || !rows_are_bytes(supply->index, n_threads, supply->watch)
                      : !supply->source->read_bytes)
        return false;
    return omen_values_are_bytes(queries, n_queries * supply->d);
}

/* Makes *queries point at what the stored rows are compared with: of unit length under cosine, less the centre of the
 * refine rows. Where that differs it is in *lifted, which is the caller's to free. */
static int prepare_queries(row_supply *supply, const float **queries, uint64_t n_queries, float **lifted)
{
    const omen_refine_space *space = supply->index ? &supply->index->refine : NULL;
    supply->unit = (omen_transform){.metric = OMEN_METRIC_COSINE, .d = supply->d, .d_full = supply->d};
    if (supply->metric != OMEN_METRIC_COSINE && !(space && space->centre))
        return OMEN_OK;
    *lifted = omen_alloc(n_queries * supply->d, sizeof **lifted);
    if (!*lifted)
        return OMEN_ERR_MEMORY;
    if (supply->metric == OMEN_METRIC_COSINE)
        *queries = omen_transform_lift(&supply->unit, *queries, n_queries, true, *lifted);
    if (space)
        *queries = omen_refine_shift(space, *queries, n_queries, true, *lifted);
    return OMEN_OK;
}

static int search_all(row_supply *supply, const float *queries, uint64_t n_queries, uint32_t k, int n_threads,
                      uint64_t *keys, omen_detail *why)
{
    const uint64_t n_rows = supply->n_rows, n_groups = (n_queries + GROUP - 1) / GROUP;
    /* few queries: share the rows among the threads too */
    uint64_t n_ranges = n_groups >= 2 * (uint64_t)n_threads ? 1 : 2 * (uint64_t)n_threads;
    if (n_ranges > n_rows / RANGE_ROWS)
        n_ranges = n_rows / RANGE_ROWS ? n_rows / RANGE_ROWS : 1;
    const size_t kept = (uint64_t)k + ROOM < n_rows ? k + ROOM : n_rows;
    float *lifted = NULL;
    int status = OMEN_OK;
    bool lacks_parts = false; /* of a task that failed */
    uint64_t *parts = n_ranges > 1 ? omen_alloc(n_queries * n_ranges * kept, sizeof *parts) : NULL;
    if (n_ranges > 1 && !parts)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory");
    supply->as_bytes = bytes_will_do(supply, queries, n_queries, n_threads);
    status = find_centre(supply, why);
    if (status == OMEN_OK)
        status = prepare_queries(supply, &queries, n_queries, &lifted);
#pragma omp parallel num_threads(n_threads) if (status == OMEN_OK)
    {
        exact_state s = {0};
        omen_detail own_why = {""};
        int own = status == OMEN_OK ? state_init(&s, supply, kept) : status;
#pragma omp for schedule(dynamic)
        for (uint64_t task = 0; task < n_groups * n_ranges; task++) {
            if (own == OMEN_OK)
                /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): the loop is of no task then */
                own = search_task(&s, supply, queries, n_queries, task / n_ranges * GROUP, task % n_ranges, n_ranges, k,
                                  parts, keys, &own_why);
            if (own != OMEN_OK) {
#pragma omp atomic write
                lacks_parts = true;
            }
        }
#pragma omp for schedule(dynamic, 8)
        for (uint64_t q = 0; q < (n_ranges > 1 && !lacks_parts ? n_queries : 0); q++)
            if (own == OMEN_OK)
                own = merge_parts(&s, supply, queries + q * supply->d, parts + q * n_ranges * kept, n_ranges, k,
                                  keys + q * k, &own_why);
        if (own != OMEN_OK) {
#pragma omp critical(omen_exact)
            {
                status = own;
                if (why)
                    *why = own_why;
            }
        }
        state_finish(&s);
    }
    free(parts);
    free(lifted);
    free(supply->centre);
    if (status == OMEN_ERR_INTERRUPTED)
        return omen_fail(why, status, "interrupted");
    return status == OMEN_ERR_MEMORY ? omen_fail(why, status, "out of memory") : status;
}

/* Fills positions, which is the caller's to free even after a failure. */
static int find_positions(row_supply *supply, omen_detail *why)
{
    const omen_index *index = supply->index;
    const uint64_t n_rows = index->meta.n_rows;
    supply->positions = omen_alloc_zero(n_rows, sizeof *supply->positions);
    if (!supply->positions)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory");
    int status = omen_index_touch_ids(index, 0, n_rows, why);
    for (uint64_t i = 0; i < n_rows && status == OMEN_OK; i++)
        if (index->ids[i] >= n_rows) /* of sections in memory nothing was checked */
            status = omen_fail(why, OMEN_ERR_CORRUPT, "section PERM: position %llu holds an id beyond the rows",
                               (unsigned long long)i);
        else
            supply->positions[index->ids[i]] = (uint32_t)i;
    return status;
}

int omen_search_exact(const omen_index *index, const float *queries, uint64_t n_queries, uint32_t k, int n_threads,
                      uint64_t *keys, omen_watch *watch, omen_detail *why)
{
    const omen_meta *m = &index->meta;
    row_supply supply = {.index = index, .metric = m->metric, .n_rows = m->n_rows, .d = m->d, .watch = watch};
    int status = find_positions(&supply, why);
    if (status == OMEN_OK)
        status = search_all(&supply, queries, n_queries, k, n_threads, keys, why);
    free(supply.positions);
    return status;
}

int omen_search_distances(const omen_index *index, const float *queries, uint64_t n_queries, uint32_t k,
                          const int64_t *ids, int n_threads, float *distances, omen_detail *why)
{
    const omen_meta *m = &index->meta;
    row_supply supply = {.index = index, .metric = m->metric, .n_rows = m->n_rows, .d = m->d};
    const float *given = queries;
    float *lifted = NULL;
    int status = find_positions(&supply, why);
    if (status == OMEN_OK)
        status = prepare_queries(&supply, &queries, n_queries, &lifted);
    if (status == OMEN_OK) {
#pragma omp parallel num_threads(n_threads)
        {
            omen_detail own_why = {""};
            int own = OMEN_OK;
#pragma omp for schedule(static)
            for (uint64_t i = 0; i < n_queries * k; i++) {
                uint64_t key = 0;
                if (ids[i] == OMEN_NO_ROW) {
                    distances[i] = INFINITY;
                    continue;
                }
                if (own == OMEN_OK)
                    own = omen_index_touch_rows(index, supply.positions[ids[i]], 1, &own_why);
                const float *query = queries + i / k * m->d;
                if (own == OMEN_OK)
                    own = supply_key(&supply, query, omen_refine_offset(&index->refine, query), (uint32_t)ids[i], NULL,
                                     &key, &own_why);
                distances[i] = omen_key_distance(key);
            }
            if (own != OMEN_OK) {
#pragma omp critical(omen_exact)
                {
                    status = own;
                    if (why)
                        *why = own_why;
                }
            }
        }
    }
    for (uint64_t q = 0; q < n_queries && status == OMEN_OK; q++) {
        const bool is_zero = is_zero_query(&supply, given + q * m->d);
        for (uint64_t i = q * k; i < (q + 1) * k && is_zero; i++)
            distances[i] = ids[i] == OMEN_NO_ROW ? INFINITY : 1;
    }
    free(lifted);
    free(supply.positions);
    return status == OMEN_ERR_MEMORY ? omen_fail(why, status, "out of memory") : status;
}

int omen_search_source(const omen_source *source, omen_metric metric, const float *queries, uint64_t n_queries,
                       uint32_t k, int n_threads, uint64_t *keys, omen_watch *watch, omen_detail *why)
{
    row_supply supply = {.source = source, .metric = metric, .n_rows = source->n_rows, .d = source->d, .watch = watch};
    const int status = search_all(&supply, queries, n_queries, k, n_threads, keys, why);
    for (uint64_t q = 0; q < n_queries && status == OMEN_OK; q++) {
        const bool is_zero = is_zero_query(&supply, queries + q * source->d);
        for (uint32_t i = 0; i < k && i < source->n_rows && is_zero; i++)
            keys[q * k + i] = omen_key(1, i);
    }
    return status;
}
