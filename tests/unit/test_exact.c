/* SPDX-License-Identifier: Apache-2.0 */
/* Exact search of rows that are bytes, against floats and whole numbers. */
#include <math.h>
#include <stdlib.h>

#include "lib/index.h"
#include "lib/index_format.h"
#include "lib/matrix.h"
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
            if (index == NULL)
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

int main(void)
{
    RUN(test_bytes);
    RUN(test_fewer_rows);
    RUN(test_near_bytes);
    return check_finish();
}
