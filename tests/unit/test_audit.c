/* SPDX-License-Identifier: Apache-2.0 */
/* The audit: which queries are sampled, what counts as found, and what the interval is worth. */
#include <math.h>

#include "lib/index.h"
#include "lib/matrix.h"
#include "tests/unit/check.h"
#include "tests/unit/index_cases.h"

static bool has(const uint64_t *numbers, size_t n, uint64_t number)
{
    for (size_t i = 0; i < n; i++)
        if (numbers[i] == number)
            return true;
    return false;
}

/* Ascending, each once; a smaller sample is part of a larger one, and what more queries bring replaces as few. */
static void test_choose(void)
{
    uint64_t few[100], many[1000], others[100];
    CHECK_EQ_INT(omen_audit_choose(7, 5000, 1000, many), OMEN_OK);
    for (int i = 1; i < 1000; i++)
        CHECK(many[i - 1] < many[i] && many[i] < 5000);
    CHECK_EQ_INT(omen_audit_choose(7, 5000, 100, few), OMEN_OK);
    for (int i = 0; i < 100; i++)
        CHECK(has(many, 1000, few[i]));
    CHECK_EQ_INT(omen_audit_choose(7, 10000, 100, others), OMEN_OK);
    int n_kept = 0;
    for (int i = 0; i < 100; i++) {
        CHECK(others[i] >= 5000 || has(few, 100, others[i]));
        n_kept += has(others, 100, few[i]);
    }
    CHECK_CASE(n_kept > 30 && n_kept < 70, "%d kept", n_kept);
    CHECK_EQ_INT(omen_audit_choose(8, 5000, 100, others), OMEN_OK);
    CHECK(memcmp(few, others, sizeof few) != 0);
    /* all, none, and more than there are */
    CHECK_EQ_INT(omen_audit_choose(7, 100, 100, few), OMEN_OK);
    for (uint64_t i = 0; i < 100; i++)
        CHECK(few[i] == i);
    CHECK_EQ_INT(omen_audit_choose(7, 100, 0, few), OMEN_OK);
    CHECK_EQ_INT(omen_audit_choose(7, 99, 100, few), OMEN_ERR_ARGUMENT);
}

/* A row as near as the k-th is as good as the k-th, whichever it is. */
static void test_count(void)
{
    const float found[] = {1, 2, 3, 1, 2, 4, 5, 6, 7, 1, 1, 1}, limits[] = {3, 3, 3, 1};
    uint32_t hits[4];
    omen_audit_count(found, limits, 4, 3, hits);
    CHECK_EQ_INT(hits[0], 3);
    CHECK_EQ_INT(hits[1], 2);
    CHECK_EQ_INT(hits[2], 0);
    CHECK_EQ_INT(hits[3], 3);
}

/* Where a filter has fewer than k rows, what is not there is neither found nor wanted. */
static void test_few(void)
{
    const float found[] = {1, 2, INFINITY, 1, INFINITY, INFINITY, 1, 2, 4};
    const float limits[] = {INFINITY, INFINITY, 3};
    const uint32_t wanted[] = {2, 2, 3};
    uint32_t hits[3];
    omen_audit_count(found, limits, 3, 3, hits);
    CHECK_EQ_INT(hits[0], 2);
    CHECK_EQ_INT(hits[1], 1);
    CHECK_EQ_INT(hits[2], 2);
    CHECK(omen_audit_recall(hits, wanted, 3, 3, 3, 1).mean == 5.0 / 7);
    const omen_recall sampled = omen_audit_recall(hits, wanted, 3, 1000, 3, 1);
    CHECK(sampled.low > 0 && sampled.low < 5.0 / 7 && sampled.high > 5.0 / 7 && sampled.high < 1);
    const uint32_t none[] = {0, 0, 0};
    CHECK(omen_audit_recall(none, none, 3, 1000, 3, 1).mean == 1);
}

/* Of m queries, n_second found `second` of k, the others `first`. */
static omen_recall recall_of(uint32_t m, uint32_t k, uint32_t first, uint32_t n_second, uint32_t second, uint64_t of,
                             double ceiling)
{
    uint32_t hits[400];
    for (uint32_t i = 0; i < m; i++)
        hits[i] = i < n_second ? second : first;
    return omen_audit_recall(hits, NULL, m, of, k, ceiling);
}

#define CHECK_RECALL(r, a, b, c)                                                                                       \
    CHECK_CASE(fabs((r).mean - (a)) < 2e-6 && fabs((r).low - (b)) < 2e-6 && fabs((r).high - (c)) < 2e-6,               \
               "%.7f (%.7f to %.7f)", (r).mean, (r).low, (r).high)

static void test_interval(void)
{
    CHECK_RECALL(recall_of(400, 10, 10, 20, 5, 100000, 1), 0.975, 0.9618869, 0.9836780);
    CHECK_RECALL(recall_of(400, 10, 10, 0, 0, 100000, 1), 1, 0.9904877, 1);
    CHECK_RECALL(recall_of(50, 10, 0, 0, 0, 100000, 1), 0, 0, 0.0713476);
    CHECK_RECALL(recall_of(400, 10, 9, 200, 10, 100000, 1), 0.95, 0.9428036,
                 0.9563329); /* a design effect of 1 at least */
    CHECK_RECALL(recall_of(200, 1, 1, 10, 0, 100000, 1), 0.95, 0.9104219, 0.9726174);
    /* all queries leave nothing to guess, and a ceiling lowers everything */
    CHECK_RECALL(recall_of(400, 10, 10, 20, 5, 400, 1), 0.975, 0.975, 0.975);
    CHECK_RECALL(recall_of(400, 10, 10, 20, 5, 400, 0.98), 0.9555, 0.9555, 0.9555);
    CHECK_RECALL(recall_of(1, 10, 10, 0, 0, 1, 1), 1, 1, 1);
    const omen_recall one = recall_of(1, 10, 7, 0, 0, 2, 1);
    CHECK(one.mean == 0.7 && one.low > 0 && one.low < 0.3 && one.high > 0.9 && one.high < 1);
}

/* Queries of which most find all and some very little, as real ones: the lower limit, which promises 2.5%, is above the
 * true recall in at most 5% of samples. */
static void test_coverage(void)
{
    static uint32_t population[20000];
    const uint32_t n = sizeof population / sizeof *population, n_draws = check_quick() ? 200 : 3000;
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        const double u = omen_random_unit(1, i);
        population[i] = u < 0.75   ? 10
                        : u < 0.97 ? 7 + (uint32_t)(3 * omen_random_unit(2, i))
                                   : (uint32_t)(7 * omen_random_unit(3, i));
        sum += population[i];
    }
    const double truth = sum / (10.0 * n);
    static const uint32_t sizes[] = {100, 400};
    for (size_t s = 0; s < 2; s++) {
        uint32_t n_above = 0, n_below = 0;
        for (uint32_t draw = 0; draw < n_draws; draw++) {
            uint32_t hits[400];
            for (uint32_t i = 0; i < sizes[s]; i++)
                hits[i] = population[omen_random(100 + draw, i) % n];
            const omen_recall r = omen_audit_recall(hits, NULL, sizes[s], n, 10, 1);
            n_above += r.low > truth;
            n_below += r.high < truth;
        }
        printf("# %u queries: low above the truth %.3f, high below it %.3f of samples\n", sizes[s],
               (double)n_above / n_draws, (double)n_below / n_draws);
        CHECK(n_above <= 0.05 * n_draws);
        CHECK(n_below <= 0.06 * n_draws);
    }
}

/* The recall of an index by an audit of all its queries is that by row numbers, where no distances are equal. */
static void test_index(void)
{
    enum { N = 200, K = 10 };
    rows_in_memory rows = make_rows(3000, 40, CLUSTERED, 1), queries = make_rows(N, 40, CLUSTERED, 1000);
    omen_build_options o;
    omen_build_options_init(&o);
    sections_in_memory sections;
    omen_index *index = make_index(&rows, &o, &sections);
    omen_search_options options;
    omen_search_options_init(&options);
    options.lists.probes = 2;
    options.rerank = 12;
    results found = search(index, &options, queries.x, N);
    omen_search_options_init(&options);
    options.exact = true;
    results exact = search(index, &options, queries.x, N);
    float limits[N];
    uint32_t hits[N], n_same = 0;
    for (uint32_t q = 0; q < N; q++) {
        limits[q] = exact.distances[q * K + K - 1];
        for (uint32_t i = 0; i < K * K; i++)
            n_same += found.ids[q * K + i / K] == exact.ids[q * K + i % K];
    }
    omen_audit_count(found.distances, limits, N, K, hits);
    const omen_recall r = omen_audit_recall(hits, NULL, N, N, K, 1);
    CHECK_CASE(r.mean == (double)n_same / (N * K) && r.mean < 0.99, "%g, by row %g", r.mean, (double)n_same / (N * K));
    results_free(&found);
    results_free(&exact);
    omen_index_close(index);
    sections_free(&sections);
    rows_free(&rows);
    rows_free(&queries);
}

/* Distances of rows by number are those that a search returns, bit for bit. */
static void test_distances(void)
{
    rows_in_memory rows = make_rows(3000, 40, CLUSTERED, 1);
    for (int refine = OMEN_REFINE_SQ8; refine <= OMEN_REFINE_F32; refine++) {
        for (int metric = OMEN_METRIC_L2; metric <= OMEN_METRIC_COSINE; metric++) {
            omen_build_options o;
            omen_build_options_init(&o);
            o.metric = (omen_metric)metric;
            o.codec = OMEN_CODEC_NONE;
            o.refine = (omen_refine)refine;
            sections_in_memory sections;
            omen_index *index = make_index(&rows, &o, &sections);
            omen_search_options options;
            omen_search_options_init(&options);
            results r = search(index, &options, rows.x, 20);
            float distances[200];
            CHECK_EQ_INT(omen_index_distances(index, rows.x, 20, 10, r.ids, 2, distances, &detail), OMEN_OK);
            CHECK_CASE(memcmp(distances, r.distances, sizeof distances) == 0, "%s", case_name(&rows, &o));
            r.ids[7] = 3000;
            CHECK_EQ_INT(omen_index_distances(index, rows.x, 20, 10, r.ids, 2, distances, &detail), OMEN_ERR_ARGUMENT);
            results_free(&r);
            omen_index_close(index);
            sections_free(&sections);
        }
    }
    rows_free(&rows);
}

/* A factor of 0 is 1, and a larger one looks at more. */
static void test_factor(void)
{
    rows_in_memory rows = make_rows(3000, 40, CLUSTERED, 1);
    omen_build_options o;
    omen_build_options_init(&o);
    sections_in_memory sections;
    omen_index *index = make_index(&rows, &o, &sections);
    omen_search_options options;
    omen_search_options_init(&options);
    uint64_t scanned = 0;
    static const float factors[] = {0, 1, 2.5f, 1e6f};
    for (size_t f = 0; f < 4; f++) {
        omen_search_stats stats = {.struct_bytes = sizeof stats};
        int64_t ids[500];
        options.effort_factor = factors[f];
        CHECK_EQ_INT(omen_index_search(index, &options, rows.x, 50, ids, NULL, &stats, &detail), OMEN_OK);
        CHECK(f == 1 ? stats.codes_scanned == scanned : stats.codes_scanned > scanned);
        scanned = stats.codes_scanned;
    }
    omen_index_close(index);
    sections_free(&sections);
    rows_free(&rows);
}

int main(void)
{
    RUN(test_choose);
    RUN(test_count);
    RUN(test_few);
    RUN(test_interval);
    RUN(test_coverage);
    RUN(test_index);
    RUN(test_distances);
    RUN(test_factor);
    return check_finish();
}
