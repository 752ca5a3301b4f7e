/* SPDX-License-Identifier: Apache-2.0 */
/* Exact search: of rows that are bytes, against floats and whole numbers; and of rows as they come, against float64. */
#include <malloc.h>
#include <math.h>
#include <stdlib.h>

#include "lib/index.h"
#include "lib/index_format.h"
#include "lib/matrix.h"
#include "lib/neighbours.h"
#include "lib/row_hash.h"
#include "lib/watch.h"
#include "tests/unit/check.h"
#include "tests/unit/index_cases.h"

/* Whole numbers from 0 to 255 are searched as bytes where the source has bytes, and nobody can tell. */
static void test_bytes(void)
{
    static const uint32_t dims[] = {1, 3, 4, 37, 128, 784};
    for (size_t turn = 0; turn < sizeof dims / sizeof *dims; turn++) {
        const uint32_t d = dims[turn], k = 20, n_queries = 33;
        rows_in_memory rows = make_rows(4500, d, INTEGERS, turn);
        for (uint64_t i = 0; i < rows.n * d; i++)
            rows.x[i] = i / d % 3 ? (float)(omen_random(turn, i) % 256) : rows.x[i] > 9 ? 255 : 0;
        omen_source source = source_of(&rows);
        int64_t *want = malloc(2 * n_queries * k * sizeof *want), *ids = want + n_queries * k;
        float *want_distances = malloc(2 * n_queries * k * sizeof(float));
        float *distances = want_distances + n_queries * k;
        CHECK_EQ_INT(omen_source_search(&source, OMEN_METRIC_L2, k, rows.x, n_queries, 2, want, want_distances, NULL,
                                        NULL, NULL),
                     OMEN_OK);
        source.read_bytes = read_row_bytes;
        rows.n_byte_reads = 0;
        CHECK_EQ_INT(
            omen_source_search(&source, OMEN_METRIC_L2, k, rows.x, n_queries, 2, ids, distances, NULL, NULL, NULL),
            OMEN_OK);
        CHECK(rows.n_byte_reads > 0);
        CHECK_CASE(memcmp(want, ids, n_queries * k * sizeof *ids) == 0, "ids of %u dimensions", d);
        CHECK_CASE(memcmp(want_distances, distances, n_queries * k * sizeof(float)) == 0, "distances, d %u", d);
        /* of queries that are not bytes, or under another metric, nobody asks for bytes */
        rows.n_byte_reads = 0;
        CHECK_EQ_INT(
            omen_source_search(&source, OMEN_METRIC_IP, k, rows.x, n_queries, 2, ids, distances, NULL, NULL, NULL),
            OMEN_OK);
        static const float others[] = {0.5f, -1, 256, 1e30f};
        for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
            float *query = malloc(d * sizeof *query);
            memcpy(query, rows.x, d * sizeof *query);
            query[d - 1] = others[i];
            CHECK_EQ_INT(omen_source_search(&source, OMEN_METRIC_L2, k, query, 1, 1, ids, NULL, NULL, NULL, NULL),
                         OMEN_OK);
            free(query);
        }
        CHECK_EQ_INT(rows.n_byte_reads, 0);

        /* 96 queries of an index are searched as bytes, 24 as floats. Rows with more than a byte holds are not bytes;
         * one of these would be taken for the neighbour of another query */
        for (int beyond = 0; beyond < 2; beyond++) {
            omen_build_options o;
            omen_build_options_init(&o);
            for (uint32_t j = 0; j < d && beyond; j++) {
                rows.x[4200 * d + j] = j % 2 ? 255 : 1;
                rows.x[4000 * d + j] = rows.x[4200 * d + j] + (j % 2 ? 1 : 0);
            }
            sections_in_memory sections;
            omen_index *index = make_index(&rows, &o, &sections);
            if (!index)
                break;
            omen_search_options options;
            omen_search_options_init(&options);
            options.exact = true;
            options.k = k;
            results all = search(index, &options, rows.x + 4150 * d, 96);
            for (uint64_t q = 0; q < 96; q += 24) {
                results some = search(index, &options, rows.x + (4150 + q) * d, 24);
                results part = {24, k, all.ids + q * k, all.distances + q * k};
                CHECK_CASE(same_results(&some, &part), "exact search of queries from %llu, %u dimensions",
                           (unsigned long long)q, d);
                results_free(&some);
            }
            results_free(&all);
            omen_index_close(index);
            sections_free(&sections);
        }
        free(want_distances);
        free(want);
        rows_free(&rows);
    }
}

/* Of fewer rows than are asked for, all, and what is left of a query's places says so. */
static void test_fewer_rows(void)
{
    enum { N_ROWS = 7, K = 10, N_QUERIES = 3 };
    rows_in_memory rows = make_rows(N_ROWS, 5, CLUSTERED, 1);
    const omen_source source = source_of(&rows);
    int64_t all[N_QUERIES * N_ROWS], ids[N_QUERIES * K];
    float all_distances[N_QUERIES * N_ROWS], distances[N_QUERIES * K];
    CHECK_EQ_INT(
        omen_source_search(&source, OMEN_METRIC_L2, N_ROWS, rows.x, N_QUERIES, 2, all, all_distances, NULL, NULL, NULL),
        OMEN_OK);
    CHECK_EQ_INT(omen_source_search(&source, OMEN_METRIC_L2, K, rows.x, N_QUERIES, 2, ids, distances, NULL, NULL, NULL),
                 OMEN_OK);
    for (int q = 0; q < N_QUERIES; q++) {
        CHECK_EQ_INT(omen_found_count(ids + q * K, K), N_ROWS);
        CHECK(memcmp(ids + q * K, all + q * N_ROWS, N_ROWS * sizeof *ids) == 0);
        CHECK(memcmp(distances + q * K, all_distances + q * N_ROWS, N_ROWS * sizeof *distances) == 0);
        for (int i = q * K + N_ROWS; i < (q + 1) * K; i++)
            CHECK(ids[i] == OMEN_NO_ROW && distances[i] == INFINITY);
    }
    CHECK_EQ_INT(omen_source_search(&source, OMEN_METRIC_L2, 0, rows.x, 1, 1, ids, NULL, NULL, NULL, NULL),
                 OMEN_ERR_ARGUMENT);
    static const int64_t none[] = {OMEN_NO_ROW, OMEN_NO_ROW}, full[] = {3, 0};
    CHECK(omen_found_count(none, 2) == 0 && omen_found_count(full, 2) == 2 && omen_found_count(full, 1) == 1);
    rows_free(&rows);
}

/* Rows far from the origin and near to each other, many equally far from a query: exact to the last tie. */
static void test_near_bytes(void)
{
    const uint32_t d = 784, k = 20;
    rows_in_memory rows = make_rows(2000, d, EQUAL, 1);
    for (uint64_t i = 0; i < rows.n * d; i++)
        rows.x[i] = 250 + (float)(i % d < 40 ? omen_random(1, i) % 3 : 0);
    omen_source source = source_of(&rows);
    source.read_bytes = read_row_bytes;
    int64_t ids[3 * 20];
    CHECK_EQ_INT(omen_source_search(&source, OMEN_METRIC_L2, k, rows.x, 3, 2, ids, NULL, NULL, NULL, NULL), OMEN_OK);
    for (uint32_t q = 0; q < 3; q++) {
        uint64_t *keys = malloc(rows.n * sizeof *keys);
        for (uint64_t i = 0; i < rows.n; i++) {
            uint64_t distance = 0;
            for (uint32_t j = 0; j < d; j++) {
                const int apart = (int)rows.x[i * d + j] - (int)rows.x[q * d + j];
                distance += (uint64_t)(apart * apart);
            }
            keys[i] = distance << 32 | i;
        }
        omen_keys_sort(keys, rows.n);
        for (uint32_t i = 0; i < k; i++)
            CHECK_CASE((uint64_t)ids[q * k + i] == (keys[i] & UINT32_MAX), "query %u, neighbour %u: %lld, not %llu", q,
                       i, (long long)ids[q * k + i], (unsigned long long)(keys[i] & UINT32_MAX));
        free(keys);
    }
    rows_free(&rows);
}

/* ---- rows as they come ---- */

typedef enum {
    PLAIN,
    COLUMN_AT_1E3,
    COLUMN_AT_1E4,
    COORDINATES,
    UNIX_TIME,
    COLUMN_TIMES_1E4,
    CAUCHY,
    LENGTHS,
    SPARSE,
    HALF_EQUAL,
    HALF_ZERO,
    HUGE_ROW,
    FAR_COSINE,
    TINY_COSINE,
    N_DATA_KINDS,
} data_kind;

static const char *const data_names[N_DATA_KINDS] = {"plain",
                                                     "a column at 1,000",
                                                     "a column at 10,000",
                                                     "coordinates",
                                                     "unix time",
                                                     "a column times 10,000",
                                                     "Cauchy",
                                                     "lengths",
                                                     "sparse",
                                                     "half equal",
                                                     "half zero",
                                                     "a huge row",
                                                     "far from the origin",
                                                     "tiny"};

static double gauss(uint64_t seed, uint64_t at)
{
    double sum = -6;
    for (uint64_t i = 0; i < 12; i++)
        sum += (double)(omen_random(seed, 12 * at + i) >> 40) * 0x1p-24;
    return sum;
}

/* Clusters, and what the kind makes of them. Rows and queries differ by seed. */
static rows_in_memory make_data(data_kind kind, uint64_t n, uint32_t d, uint64_t seed)
{
    rows_in_memory rows = make_rows(n, d, CLUSTERED, seed);
    for (uint64_t i = 0; i < n; i++) {
        const double length = exp(1.5 * gauss(seed + 7, i));
        for (uint32_t j = 0; j < d; j++) {
            const uint64_t at = i * d + j;
            double x = (double)rows.x[at];
            if (kind == COLUMN_AT_1E3 || kind == COLUMN_AT_1E4)
                x += j != 5 ? 0 : kind == COLUMN_AT_1E3 ? 1000 : 10000;
            else if (kind == COORDINATES)
                x = j == 5 ? 5e5 + 1e3 * x : j == 6 ? 5e6 + 1e3 * x : x;
            else if (kind == UNIX_TIME && j == 5)
                x = 1.7e9 + 1e7 * x;
            else if (kind == COLUMN_TIMES_1E4)
                x *= j == 5 ? 1e4 : 1;
            else if (kind == CAUCHY)
                x = gauss(seed, at) / (1e-4 + fabs(gauss(seed + 1, at)));
            else if (kind == LENGTHS)
                x *= length;
            else if (kind == SPARSE)
                x = omen_random(seed, at) % 25 ? 0 : x;
            else if (kind == HALF_EQUAL && i % 2)
                x = 1.5;
            else if (kind == HALF_ZERO && i % 2)
                x = 0;
            else if (kind == HUGE_ROW && i == 77 && seed == 1)
                x = 1e9;
            else if (kind == FAR_COSINE)
                x = 100 + x / 2;
            else if (kind == TINY_COSINE)
                x *= 1e-23;
            rows.x[at] = (float)x;
        }
    }
    return rows;
}

static double distance64(omen_metric metric, const float *a, const float *b, uint32_t d)
{
    double ab = 0, aa = 0, bb = 0, apart = 0;
    for (uint32_t j = 0; j < d; j++) {
        ab += (double)a[j] * (double)b[j];
        aa += (double)a[j] * (double)a[j];
        bb += (double)b[j] * (double)b[j];
        apart += ((double)a[j] - (double)b[j]) * ((double)a[j] - (double)b[j]);
    }
    if (metric != OMEN_METRIC_COSINE)
        return metric == OMEN_METRIC_L2 ? apart : -ab;
    apart = 0;
    for (uint32_t j = 0; j < d; j++)
        apart += pow((double)a[j] / sqrt(aa) - (double)b[j] / sqrt(bb), 2);
    return apart / 2;
}

static int by_distance(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Share of the k = 10 found that are as near as the true tenth, to within 1e-6 of it. */
static double share_right(const results *r, omen_metric metric, const rows_in_memory *rows,
                          const rows_in_memory *queries)
{
    double *all = malloc(rows->n * sizeof *all), *sorted = malloc(rows->n * sizeof *sorted);
    uint64_t n_right = 0;
    for (uint64_t q = 0; q < queries->n; q++) {
        for (uint64_t i = 0; i < rows->n; i++)
            all[i] = sorted[i] = distance64(metric, queries->x + q * rows->d, rows->x + i * rows->d, rows->d);
        qsort(sorted, rows->n, sizeof *sorted, by_distance);
        for (uint32_t i = 0; i < 10; i++)
            n_right += all[r->ids[q * 10 + i]] <= sorted[9] + 1e-6 * fabs(sorted[9]);
    }
    free(all);
    free(sorted);
    return (double)n_right / (double)(10 * queries->n);
}

/* Exact search over the tier that a build chooses is exact search of the rows, whatever they are. */
static void test_chosen_tier(void)
{
    for (data_kind kind = PLAIN; kind < N_DATA_KINDS; kind++) {
        const uint32_t d = kind == SPARSE ? 128 : 32;
        rows_in_memory rows = make_data(kind, 2000, d, 1), queries = make_data(kind, 100, d, 1000);
        omen_build_options o;
        omen_search_options options;
        sections_in_memory sections;
        omen_build_options_init(&o);
        omen_search_options_init(&options);
        o.codec = OMEN_CODEC_NONE;
        o.lists.n = 5;
        o.metric = kind >= FAR_COSINE ? OMEN_METRIC_COSINE : kind == HUGE_ROW ? OMEN_METRIC_IP : OMEN_METRIC_L2;
        omen_index *index = make_index(&rows, &o, &sections);
        options.k = 10;
        options.exact = true;
        if (index) {
            results r = search(index, &options, queries.x, queries.n);
            const double share = share_right(&r, o.metric, &rows, &queries);
            printf("# %s: %s keeps %.5f, exact %.4f\n", data_names[kind], omen_refine_name(index->meta.refine),
                   (double)index->meta.refine_ceiling, share);
            CHECK_CASE(share >= 0.998, "%s: exact search over %s finds %.4f", data_names[kind],
                       omen_refine_name(index->meta.refine), share);
            results_free(&r);
        }
        omen_index_close(index);
        sections_free(&sections);
        rows_free(&rows);
        rows_free(&queries);
    }
}

/* What is chosen for rows that need no rounding, and what f16 cannot hold. */
static void test_choice(void)
{
    static const struct {
        rows_kind kind;
        uint32_t d;
        omen_refine wanted;
    } cases[] = {{INTEGERS, 30, OMEN_REFINE_SQ8}, {CLUSTERED, 2, OMEN_REFINE_F32}, {EQUAL, 30, OMEN_REFINE_SQ8}};
    omen_build_options o;
    sections_in_memory sections;
    omen_build_options_init(&o);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rows_in_memory rows = make_rows(600, cases[i].d, cases[i].kind, 1);
        omen_index *index = make_index(&rows, &o, &sections);
        CHECK_CASE(index && index->meta.refine == cases[i].wanted && index->meta.refine_ceiling == 1, "rows %zu: %s", i,
                   index ? omen_refine_name(index->meta.refine) : "no index");
        CHECK_CASE(index && (index->refine.centre != NULL) == (cases[i].kind == EQUAL), "rows %zu: the centre", i);
        omen_index_close(index);
        sections_free(&sections);
        rows_free(&rows);
    }
    rows_in_memory rows = make_rows(600, 5, CLUSTERED, 1);
    rows.x[300 * 5 + 2] = 70000;
    o.refine = OMEN_REFINE_F16;
    refuse_build(&rows, &o, OMEN_ERR_INPUT, "row 300 holds a value that f16");
    rows_free(&rows);
}

/* Under cosine a zero query is at distance 1 of all rows, by whichever function. */
static void test_zero_query(void)
{
    enum { N_ROWS = 300, D = 7, K = 5 };
    rows_in_memory rows = make_rows(N_ROWS, D, CLUSTERED, 1);
    const omen_source source = source_of(&rows);
    float queries[2 * D] = {0}, distances[2 * K];
    int64_t ids[2 * K];
    memcpy(queries + D, rows.x, D * sizeof *queries);
    CHECK_EQ_INT(omen_source_search(&source, OMEN_METRIC_COSINE, K, queries, 2, 2, ids, distances, NULL, NULL, &detail),
                 OMEN_OK);
    for (int i = 0; i < K; i++)
        CHECK_CASE(ids[i] == i && distances[i] == 1, "rank %d is row %lld at %g", i, (long long)ids[i],
                   (double)distances[i]);
    CHECK(ids[K] == 0 && distances[K] < 1e-6f);

    omen_build_options o;
    sections_in_memory sections;
    omen_build_options_init(&o);
    o.metric = OMEN_METRIC_COSINE;
    for (o.refine = OMEN_REFINE_SQ8; o.refine < OMEN_N_REFINES; o.refine++) {
        omen_index *index = make_index(&rows, &o, &sections);
        CHECK(index && omen_index_distances(index, queries, 2, K, ids, 2, distances, &detail) == OMEN_OK);
        for (int i = 0; i < K; i++)
            CHECK_CASE(distances[i] == 1, "%s: row %d is at %g", omen_refine_name(o.refine), i, (double)distances[i]);
        omen_index_close(index);
        sections_free(&sections);
    }
    rows_free(&rows);
}

/* Under ip a query is scaled to the longest row: by a factor whose square float32 does not hold. */
static void test_short_query(void)
{
    enum { N_ROWS = 300, D = 7, K = 5 };
    rows_in_memory rows = make_rows(N_ROWS, D, CLUSTERED, 1);
    float query[D];
    omen_build_options o;
    omen_search_options options;
    sections_in_memory sections;
    for (uint64_t i = 0; i < N_ROWS * D; i++)
        rows.x[i] *= i / D % 2 ? 1e17f : 1e-13f;
    for (int j = 0; j < D; j++)
        query[j] = rows.x[j];
    omen_build_options_init(&o);
    omen_search_options_init(&options);
    o.metric = OMEN_METRIC_IP;
    o.refine = OMEN_REFINE_F32;
    options.k = K;
    omen_index *index = make_index(&rows, &o, &sections);
    if (index) {
        options.lists.probes = index->meta.n_lists;
        options.rerank = N_ROWS;
        results found = search(index, &options, query, 1);
        options.exact = true;
        results exact = search(index, &options, query, 1);
        CHECK(same_results(&found, &exact) && exact.distances[0] < 0);
        results_free(&found);
        results_free(&exact);
    }
    omen_index_close(index);
    sections_free(&sections);
    rows_free(&rows);
}

/* Rows whose products are too small for float32 to hold in full: what is found is what the distance kernel finds. */
static void test_tiny_rows(void)
{
    enum { N_ROWS = 1000, D = 8, K = 10, N_QUERIES = 20 };
    rows_in_memory rows = make_rows(N_ROWS, D, CLUSTERED, 1);
    const omen_source source = source_of(&rows);
    uint64_t *keys = malloc(N_ROWS * sizeof *keys);
    int64_t ids[N_QUERIES * K];
    for (uint64_t i = 0; i < N_ROWS * D; i++)
        rows.x[i] *= 1e-23f;
    CHECK_EQ_INT(omen_source_search(&source, OMEN_METRIC_L2, K, rows.x, N_QUERIES, 2, ids, NULL, NULL, NULL, &detail),
                 OMEN_OK);
    for (uint32_t q = 0; q < N_QUERIES; q++) {
        for (uint32_t i = 0; i < N_ROWS; i++)
            keys[i] = omen_key(omen_kernels_get()->l2_f32(rows.x + q * D, rows.x + (size_t)i * D, D), i);
        omen_keys_sort(keys, N_ROWS);
        for (uint32_t i = 0; i < K; i++)
            CHECK_CASE(ids[q * K + i] == (uint32_t)keys[i], "query %u, rank %u is row %lld, not %u", q, i,
                       (long long)ids[q * K + i], (uint32_t)keys[i]);
    }
    free(keys);
    rows_free(&rows);
}

typedef struct {
    rows_in_memory *rows;
    uint64_t bad_row, n_beyond; /* the row that cannot be read; reads of rows that are not there */
} failing_rows;

static int read_failing(void *self, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    failing_rows *f = self;
    const omen_source source = source_of(f->rows);
    if (first + n > f->rows->n) {
#pragma omp atomic
        f->n_beyond++;
    }
    return first <= f->bad_row && f->bad_row < first + n ? omen_fail(why, OMEN_ERR_IO, "a row that cannot be read")
                                                         : source.read(source.self, first, n, out, why);
}

/* Where a thread could not read its part of the rows, the others take nothing for what it would have found. */
static void test_failed_part(void)
{
    enum { N_ROWS = 20000, D = 4, N_QUERIES = 64 };
    rows_in_memory rows = make_rows(N_ROWS, D, CLUSTERED, 1);
    failing_rows failing = {&rows, 4000, 0};
    omen_source source = source_of(&rows);
    int64_t ids[N_QUERIES];
    source.self = &failing;
    source.read = read_failing;
    mallopt(M_PERTURB, 90);               /* memory that nothing was written to has no zeros */
    for (int turn = 0; turn < 20; turn++) /* whichever thread comes first */
        CHECK_EQ_INT(
            omen_source_search(&source, OMEN_METRIC_L2, 1, rows.x, N_QUERIES, 4, ids, NULL, NULL, NULL, &detail),
            OMEN_ERR_IO);
    mallopt(M_PERTURB, 0);
    CHECK_EQ_INT(failing.n_beyond, 0);
    rows_free(&rows);
}

/* The hash of rows is the same for all threads and parts. */
static void test_row_hash(void)
{
    enum { N_ROWS = 9000, D = 33 };
    rows_in_memory rows = make_rows(N_ROWS, D, INTEGERS, 1);
    const omen_source source = source_of(&rows);
    omen_row_hash all, other, part;
    omen_detail why = {""};
    CHECK_EQ_INT(omen_source_hash(&source, 0, N_ROWS, 1, NULL, NULL, &all, &why), OMEN_OK);
    CHECK_EQ_INT(omen_source_hash(&source, 0, N_ROWS, 3, NULL, NULL, &other, &why), OMEN_OK);
    CHECK(omen_row_hash_is(&all, &other));
    CHECK_EQ_INT(omen_source_hash(&source, 5000, N_ROWS - 5000, 2, NULL, NULL, &other, &why), OMEN_OK);
    CHECK_EQ_INT(omen_source_hash(&source, 0, 5000, 2, NULL, NULL, &part, &why), OMEN_OK);
    omen_row_hash_join(&other, &part);
    CHECK(omen_row_hash_is(&all, &other));
    CHECK_EQ_INT(omen_source_hash(&source, N_ROWS, 0, 1, NULL, NULL, &other, &why), OMEN_OK);
    CHECK_EQ_INT(omen_source_hash(&source, 1, N_ROWS, 1, NULL, NULL, &other, &why), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_source_hash(&source, UINT64_MAX, 2, 1, NULL, NULL, &other, &why), OMEN_ERR_ARGUMENT);
    rows.x[N_ROWS * D - 1] += 1;
    CHECK_EQ_INT(omen_source_hash(&source, 0, N_ROWS, 1, NULL, NULL, &other, &why), OMEN_OK);
    CHECK(!omen_row_hash_is(&all, &other));
    rows_free(&rows);
}

/* ---- neighbours of rows that go by ---- */

/* The key of a row as the distance kernels have it. */
static uint64_t kernel_key(omen_metric metric, const float *query, const float *row, uint32_t d, uint32_t id)
{
    const omen_kernels *kernels = omen_kernels_get();
    const omen_transform unit = {.metric = metric, .d = d, .d_full = d};
    float both[2][128];
    if (metric == OMEN_METRIC_IP)
        return omen_key(0 - kernels->ip_f32(query, row, d), id);
    if (metric == OMEN_METRIC_L2)
        return omen_key(kernels->l2_f32(query, row, d), id);
    omen_transform_lift(&unit, query, 1, true, both[0]);
    omen_transform_lift(&unit, row, 1, false, both[1]);
    if (omen_norm2(query, d) == 0 || omen_norm2(row, d) == 0)
        return omen_key(1, id);
    return omen_key(kernels->l2_f32(both[0], both[1], d) / 2, id);
}

/* Lets rows [from, to) go by in chunks of some, each dealt out to two threads. */
static void scan_rows(omen_neighbours *t, const rows_in_memory *rows, uint64_t from, uint64_t to, uint64_t chunk)
{
    const omen_transform unit = {.metric = OMEN_METRIC_COSINE, .d = rows->d, .d_full = rows->d};
    float *compared = malloc(rows->n * rows->d * sizeof *compared);
    memcpy(compared, rows->x, rows->n * rows->d * sizeof *compared);
    if (t->metric == OMEN_METRIC_COSINE)
        omen_transform_lift(&unit, rows->x, rows->n, false, compared);
    for (uint64_t at = from; at < to; at += chunk) {
        const uint64_t n = omen_least(chunk, to - at);
        omen_neighbours_scan scans[2];
        for (uint64_t s = 0; s < 2; s++) {
            const uint64_t first = at + n * s / 2, end = at + n * (s + 1) / 2;
            CHECK_EQ_INT(omen_neighbours_scan_init(&scans[s], t), OMEN_OK);
            omen_neighbours_scan_rows(&scans[s], t, first, compared + first * rows->d, end - first);
        }
        for (int s = 1; s >= 0; s--) {
            omen_neighbours_take(t, &scans[s]);
            omen_neighbours_scan_finish(&scans[s]);
        }
        omen_neighbours_end_chunk(t, n);
    }
    free(compared);
}

static void make_neighbours(omen_neighbours *t, const rows_in_memory *rows, omen_metric metric, const float *centre,
                            bool as_bytes)
{
    const omen_source source = source_of((rows_in_memory *)rows);
    omen_watch watch = omen_watch_make(NULL, NULL, "");
    CHECK_EQ_INT(omen_neighbours_init(t, metric, rows->n, rows->d, 3, 0), OMEN_OK);
    CHECK_EQ_INT(omen_neighbours_read(t, &source, NULL, 3, &watch, &detail), OMEN_OK);
    CHECK_EQ_INT(omen_neighbours_prepare(t, centre, as_bytes), OMEN_OK);
}

/* What is collected is what the kernel finds among all rows, whatever they are: in chunks, by two threads, and of two
 * shards joined. */
static void test_neighbours(void)
{
    enum { N_ROWS = 280, PART_ROWS = 110 };
    for (int kind = PLAIN; kind <= N_DATA_KINDS; kind++) {
        const bool as_bytes = kind == N_DATA_KINDS;
        const uint32_t d = kind == SPARSE ? 128 : 33;
        rows_in_memory rows = make_data(as_bytes ? PLAIN : (data_kind)kind, N_ROWS, d, 1);
        float *centre = calloc(d, sizeof *centre);
        uint64_t *keys = malloc(N_ROWS * sizeof *keys);
        for (uint64_t i = 0; i < N_ROWS * d; i++) {
            rows.x[i] = as_bytes ? (float)(i / d % 3 ? omen_random(1, i) % 256 : i / d % 2 * 255) : rows.x[i];
            if (kind == HUGE_ROW && i / d % 3 > 0) /* products of these lose most of their bits */
                rows.x[i] *= i / d % 3 == 1 ? 1e-15f : 1e-30f;
            centre[i % d] += rows.x[i] / N_ROWS;
        }
        for (omen_metric metric = OMEN_METRIC_L2; metric <= OMEN_METRIC_COSINE; metric++) {
            omen_neighbours whole, shards[2];
            uint64_t n_wrong = 0;
            if ((kind + (int)metric) % 3 > 0 && kind != HALF_ZERO && kind != HUGE_ROW && kind != TINY_COSINE &&
                !as_bytes)
                continue;
            make_neighbours(&whole, &rows, metric, centre, as_bytes);
            CHECK_EQ_INT(whole.as_bytes, as_bytes && metric == OMEN_METRIC_L2);
            scan_rows(&whole, &rows, 0, N_ROWS, 70);
            CHECK(omen_neighbours_complete(&whole) && whole.k == 133 && whole.n_queries == N_ROWS);
            for (uint32_t q = 0; q < whole.n_queries; q++) {
                for (uint32_t i = 0; i < N_ROWS; i++)
                    keys[i] = kernel_key(metric, whole.queries + (size_t)q * d, rows.x + (size_t)i * d, d, i);
                omen_keys_sort(keys, N_ROWS);
                n_wrong += memcmp(keys, whole.keys + (size_t)q * whole.k, whole.k * sizeof *keys) != 0;
            }
            CHECK_CASE(n_wrong == 0, "%s, %s: %llu queries find others", as_bytes ? "bytes" : data_names[kind],
                       omen_metric_name(metric), (unsigned long long)n_wrong);
            for (int s = 0; s < 2; s++) { /* each one chunk, whose part is all that it found */
                make_neighbours(&shards[s], &rows, metric, centre, as_bytes);
                scan_rows(&shards[s], &rows, s ? PART_ROWS : 0, s ? N_ROWS : PART_ROWS, N_ROWS);
            }
            memcpy(shards[0].part, shards[1].part, omen_neighbours_part_bytes(&shards[1], N_ROWS - PART_ROWS));
            CHECK(!omen_neighbours_join(&shards[0], N_ROWS - 1, N_ROWS - PART_ROWS));
            CHECK(omen_neighbours_join(&shards[0], PART_ROWS, N_ROWS - PART_ROWS));
            CHECK(omen_neighbours_complete(&shards[0]));
            CHECK(memcmp(shards[0].keys, whole.keys, (size_t)whole.n_queries * whole.k * sizeof *keys) == 0);
            omen_neighbours_finish(&shards[0]);
            omen_neighbours_finish(&shards[1]);
            omen_neighbours_finish(&whole);
        }
        free(keys);
        free(centre);
        rows_free(&rows);
    }
}

typedef struct {
    rows_in_memory *rows;
    bool is_encoded;
    uint64_t n_read;
} counted_rows;

static int read_counted(void *self, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    counted_rows *c = self;
    const omen_source source = source_of(c->rows);
#pragma omp atomic
    c->n_read += c->is_encoded ? n : 0;
    return source.read(source.self, first, n, out, why);
}

static int note_encoded(void *context, const char *stage, uint64_t done, uint64_t total)
{
    counted_rows *c = context;
    c->is_encoded = c->is_encoded || strcmp(stage, "order") == 0;
    return 0;
}

/* Once rows are encoded, none is read again. */
static void test_rows_read_once(void)
{
    rows_in_memory rows = make_rows(600, 9, CLUSTERED, 1);
    counted_rows counted = {&rows, false, 0};
    omen_source source = source_of(&rows);
    sections_in_memory sections = {0};
    const omen_sink sink = sink_of(&sections);
    omen_build_options o;
    omen_build_options_init(&o);
    source.self = &counted;
    source.read = read_counted;
    o.progress = note_encoded;
    o.progress_context = &counted;
    CHECK_EQ_INT(omen_index_build(&source, &o, &sink, NULL, NULL, &detail), OMEN_OK);
    CHECK(counted.is_encoded && counted.n_read == 0);
    sections_free(&sections);
    rows_free(&rows);
}

int main(void)
{
    RUN(test_bytes);
    RUN(test_fewer_rows);
    RUN(test_near_bytes);
    RUN(test_chosen_tier);
    RUN(test_choice);
    RUN(test_zero_query);
    RUN(test_short_query);
    RUN(test_tiny_rows);
    RUN(test_failed_part);
    RUN(test_row_hash);
    RUN(test_neighbours);
    RUN(test_rows_read_once);
    return check_finish();
}
