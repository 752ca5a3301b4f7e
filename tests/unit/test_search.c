/* SPDX-License-Identifier: Apache-2.0 */
/* Searching by lists: recall, and vectors that have no direction or no length that float32 holds. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "lib/index.h"
#include "lib/index_format.h"
#include "lib/matrix.h"
#include "tests/unit/check.h"
#include "tests/unit/index_cases.h"

/* Share of the exact neighbours that the default effort finds. */
static double recall_of(const omen_index *index, const rows_in_memory *queries, uint32_t k)
{
    omen_search_options options;
    omen_search_options_init(&options);
    options.k = k;
    results found = search(index, &options, queries->x, queries->n);
    options.exact = true;
    results exact = search(index, &options, queries->x, queries->n);
    uint64_t hits = 0;
    for (uint64_t q = 0; q < exact.n_queries; q++)
        for (uint32_t a = 0; a < k; a++)
            for (uint32_t b = 0; b < k; b++)
                hits += found.ids[q * k + a] == exact.ids[q * k + b];
    const double recall = (double)hits / (double)(queries->n * k);
    results_free(&found);
    results_free(&exact);
    return recall;
}

static void test_recall(void)
{
    rows_in_memory rows = make_rows(3000, 40, CLUSTERED, 1), queries = make_rows(200, 40, CLUSTERED, 1000);
    for (int i = 0; i < 12; i++) {
        omen_build_options o;
        CHECK(combination(i + 12, &o));
        if (o.codec == OMEN_CODEC_AUTO && o.metric != OMEN_METRIC_L2)
            continue;
        sections_in_memory sections;
        omen_index *index = make_index(&rows, &o, &sections);
        if (index) {
            const double recall = recall_of(index, &queries, 10);
            printf("# %s: recall@10 %.3f\n", case_name(&rows, &o), recall);
            CHECK_CASE(recall >= 0.9, "%s: recall@10 %.3f", case_name(&rows, &o), recall);
        }
        omen_index_close(index);
        sections_free(&sections);
    }
    rows_free(&rows);
    rows_free(&queries);
}

static void test_zero_rows(void)
{
    rows_in_memory rows = make_rows(3000, 13, CLUSTERED, 1);
    memset(rows.x + 700 * 13, 0, 13 * sizeof(float));
    memset(rows.x + 2900 * 13, 0, 13 * sizeof(float));
    for (int i = 0; i < 48; i++) {
        omen_build_options o;
        if (!combination(i, &o) || o.metric != OMEN_METRIC_COSINE || o.codec == OMEN_CODEC_AUTO || i % 4 == 3)
            continue;
        for (size_t v = 0; v < N_VARIANTS; v++) {
            o.n_threads = variants[v].n_threads;
            if (i == 2 || v == 3) /* the first row at fault is the one told, however many threads meet others first */
                refuse_build(&rows, &o, OMEN_ERR_INPUT, "row 700 is a zero vector");
        }
        o.zero_ok = true;
        rows.n = 1000; /* one zero row is left */
        sections_in_memory sections;
        omen_index *index = make_index(&rows, &o, &sections);
        if (!index)
            break;
        omen_search_options options;
        omen_search_options_init(&options);
        options.k = 1000;
        options.lists.probes = index->meta.n_lists;
        results r = search(index, &options, rows.x, 3);
        check_complete(&r, rows.n, case_name(&rows, &o));
        for (uint64_t j = 0; j < r.n_queries * r.k; j++)
            if (o.refine != OMEN_REFINE_NONE && r.ids[j] == 700)
                CHECK_CASE(r.distances[j] == 1, "%s: a zero row at %g", case_name(&rows, &o), (double)r.distances[j]);
        results_free(&r);
        /* a zero query: refused, or 1 from every row */
        int64_t ids[5];
        float distances[5];
        options.k = 5;
        CHECK_EQ_INT(omen_index_search(index, &options, rows.x + 699 * 13, 2, ids, distances, NULL, &detail),
                     OMEN_ERR_INPUT);
        CHECK_STR_CONTAINS(detail.text, "query 1 is a zero vector");
        options.zero_ok = true;
        for (int exact = 0; exact <= (o.refine != OMEN_REFINE_NONE); exact++) {
            options.exact = exact;
            r = search(index, &options, rows.x + 700 * 13, 1);
            for (uint64_t j = 0; j < r.n_queries * 5; j++)
                CHECK_CASE(r.ids[j] == (int64_t)j && r.distances[j] == 1, "%s: a zero query finds %lld at %g",
                           case_name(&rows, &o), (long long)r.ids[j], (double)r.distances[j]);
            results_free(&r);
        }
        omen_index_close(index);
        sections_free(&sections);
        rows.n = 3000;
    }
    rows_free(&rows);
}

/* Queries are finite, and no more is asked of them. One too long for float32 sums may be refused by number; what is not
 * refused is answered in full. */
static void test_long_queries(void)
{
    rows_in_memory rows = make_rows(300, 5, CLUSTERED, 1);
    for (int i = 0; i < 48; i += check_quick() ? 5 : 1) {
        omen_build_options o;
        if (!combination(i, &o) || o.codec == OMEN_CODEC_AUTO)
            continue;
        o.lists.n = i % 2 ? 100 : 280;
        sections_in_memory sections;
        omen_index *index = make_index(&rows, &o, &sections);
        static const float sizes[] = {1e15f, 1e19f, 1e20f, 3e38f, -3e38f, 1e-30f, 1e-45f};
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes && index; s++) {
            float queries[15] = {0};
            for (int j = 0; j < 15; j++)
                queries[j] = j % 5 < (j / 5 + 1) ? sizes[s] : (float)(j % 2);
            for (int exact = 0; exact <= (o.refine != OMEN_REFINE_NONE); exact++) {
                for (uint32_t k = 10; k <= 300; k += 290) {
                    const omen_search_options options = {
                        .struct_bytes = sizeof options, .k = k, .exact = exact, .zero_ok = true};
                    results r = {3, k, malloc(3 * k * sizeof *r.ids), malloc(3 * k * sizeof *r.distances)};
                    char what[200];
                    snprintf(what, sizeof what, "%s: %s search for %g", case_name(&rows, &o), exact ? "exact" : "list",
                             (double)sizes[s]);
                    const int status =
                        omen_index_search(index, &options, queries, 3, r.ids, r.distances, NULL, &detail);
                    if (status == OMEN_OK) {
                        check_distinct(&r, rows.n, what);
                    } else {
                        CHECK_CASE(status == OMEN_ERR_INPUT && fabsf(sizes[s]) > 1e18f, "%s: %d", what, status);
                        CHECK_STR_CONTAINS(detail.text, "query 0");
                    }
                    results_free(&r);
                }
            }
        }
        omen_index_close(index);
        sections_free(&sections);
    }
    rows_free(&rows);
}

/* Effort is chosen by the query: the answer is that of the query alone, whatever it is searched with; queries unlike
 * the rows take more; a factor raises it, and 1 leaves it as it is. */
static void test_effort_by_query(void)
{
    enum { n_queries = 60, d = 24 };
    rows_in_memory rows = make_rows(6000, d, CLUSTERED, 5);
    float *queries = malloc(n_queries * d * sizeof *queries);
    for (uint64_t q = 0; q < n_queries; q++) /* half of them are rows, half are far from all */
        for (uint32_t j = 0; j < d; j++)
            queries[q * d + j] = rows.x[q * 50 * d + j] * (q % 2 ? 1 : 2);
    omen_build_options o;
    for (int i = 0; i < 48; i += check_quick() ? 5 : 1) {
        if (!combination(i, &o) || o.codec == OMEN_CODEC_AUTO || o.refine == OMEN_REFINE_F16 || i % 3 == 0)
            continue;
        o.lists.n = 120;
        sections_in_memory sections;
        omen_index *index = make_index(&rows, &o, &sections);
        if (!index)
            break;
        omen_search_options options;
        omen_search_options_init(&options);
        results all = search(index, &options, queries, n_queries);
        for (uint64_t q = 0; q < n_queries; q++) {
            options.n_threads = 1 + (int)(q % 3);
            results one = search(index, &options, queries + q * d, 1);
            CHECK_CASE(memcmp(one.ids, all.ids + q * 10, 10 * sizeof *one.ids) == 0, "%s: query %llu alone",
                       case_name(&rows, &o), (unsigned long long)q);
            results_free(&one);
        }
        uint64_t probed[3], ids[3];
        static const float factors[3] = {0, 1, 2};
        for (int f = 0; f < 3; f++) {
            omen_search_stats stats = {.struct_bytes = sizeof stats};
            options.effort_factor = factors[f];
            int64_t found[600];
            CHECK_EQ_INT(omen_index_search(index, &options, queries, n_queries, found, NULL, &stats, &detail), OMEN_OK);
            probed[f] = stats.lists.probed;
            ids[f] = (uint64_t)memcmp(found, all.ids, sizeof found);
        }
        CHECK_CASE(ids[0] == 0 && ids[1] == 0 && probed[0] == probed[1], "%s: a factor of 1", case_name(&rows, &o));
        CHECK_CASE(probed[2] > probed[1], "%s: %llu lists, doubled %llu", case_name(&rows, &o),
                   (unsigned long long)probed[1], (unsigned long long)probed[2]);
        results_free(&all);
        omen_index_close(index);
        sections_free(&sections);
    }
    free(queries);
    rows_free(&rows);
}

/* A search uses the memory that the one before has left, whatever that was for; so do several at the same time. */
static void test_memory_kept(void)
{
    static const struct {
        uint32_t k;
        uint64_t n;
        int n_threads;
        float recall;
    } searches[] = {{1, 1, 1, 0.8f},   {10, 90, 2, 0.95f}, {100, 7, 1, 0.99f},
                    {10, 90, 3, 0.8f}, {3, 1, 1, 0.95f},   {1, 90, 1, 0.99f}};
    enum { n_searches = sizeof searches / sizeof *searches, d = 16 };
    rows_in_memory rows = make_rows(900, d, CLUSTERED, 7), queries = make_rows(90, d, CLUSTERED, 8);
    omen_build_options o;
    omen_build_options_init(&o);
    o.lists.n = 40;
    sections_in_memory sections;
    results first[n_searches];
    omen_search_options options[n_searches];
    for (int i = 0; i < n_searches; i++) {
        omen_search_options_init(&options[i]);
        options[i].k = searches[i].k;
        options[i].n_threads = searches[i].n_threads;
        options[i].recall = searches[i].recall;
        omen_index *index = make_index(&rows, &o, &sections); /* nothing is left to it */
        first[i] = search(index, &options[i], queries.x, searches[i].n);
        omen_index_close(index);
        sections_free(&sections);
    }
    omen_index *index = make_index(&rows, &o, &sections);
    int n_other = 0;
#pragma omp parallel num_threads(3) reduction(+ : n_other)
    for (int turn = 0; turn < 40; turn++) {
        const int i = (turn * 5 + omp_get_thread_num() + turn / n_searches) % n_searches;
        results again = search(index, &options[i], queries.x, searches[i].n);
        n_other += !same_results(&again, &first[i]);
        results_free(&again);
    }
    CHECK_EQ_INT(n_other, 0);
    omen_index_close(index);
    sections_free(&sections);
    for (int i = 0; i < n_searches; i++)
        results_free(&first[i]);
    rows_free(&queries);
    rows_free(&rows);
}

int main(void)
{
    RUN(test_recall);
    RUN(test_effort_by_query);
    RUN(test_memory_kept);
    RUN(test_zero_rows);
    RUN(test_long_queries);
    return check_finish();
}
