/* SPDX-License-Identifier: Apache-2.0 */
/* Search under filters, against exact search of all rows from which those that do not pass are left out. */
#include <math.h>
#include <stdlib.h>

#include "lib/filter.h"
#include "lib/index.h"
#include "lib/matrix.h"
#include "tests/unit/check.h"
#include "tests/unit/index_cases.h"

#define N_ROWS    1500u
#define N_QUERIES 24u
#define D         24u
#define K         10u

/* ---- sets ---- */

enum { NONE, ONE_ROW, K_LESS_ONE, JUST_K, HUNDREDTH, TENTH, HALF, NEAR, FAR, ALL_BUT_ONE, ALL, N_SETS };
static const char *const set_names[N_SETS] = {"none", "one row", "k - 1", "k",           "a hundredth", "a tenth",
                                              "half", "near",    "far",   "all but one", "all"};

/* Rows by number; near and far ones are the first and last fifth in order of distance from the first query. */
static omen_row_set *make_set(const omen_index *index, int kind, const int64_t *order)
{
    static const uint32_t counts[N_SETS] = {0, 1, K - 1, K, N_ROWS / 100, N_ROWS / 10, N_ROWS / 2};
    int64_t ids[2 * N_ROWS] = {0};
    uint64_t n = 0;
    omen_row_set *set = NULL;
    if (kind <= HALF)
        for (uint32_t i = 0; i < counts[kind]; i++)
            ids[n++] = (int64_t)((7 + (uint64_t)i * 1009 * 11) % N_ROWS); /* 1009 and 11 have no factor of N_ROWS */
    if (kind == NEAR || kind == FAR)
        for (uint32_t i = 0; i < N_ROWS / 5; i++)
            ids[n++] = order[kind == NEAR ? i : N_ROWS - 1 - i];
    if (kind == ALL)
        for (uint32_t i = 0; i < 2 * N_ROWS; i++) /* each twice */
            ids[n++] = i / 2;
    if (kind == ALL_BUT_ONE)
        ids[n++] = order[0];
    CHECK_EQ_INT(omen_row_set_create(index, ids, n, kind == ALL_BUT_ONE, &set, &detail), OMEN_OK);
    const uint64_t want = kind <= HALF          ? counts[kind]
                          : kind == ALL         ? N_ROWS
                          : kind == ALL_BUT_ONE ? N_ROWS - 1
                                                : N_ROWS / 5;
    CHECK_EQ_INT(set ? omen_row_set_count(set) : UINT64_MAX, want);
    return set;
}

/* Whether a set has a row, by its number. */
static bool passes(const omen_index *index, const omen_row_set *set, int64_t id)
{
    for (uint64_t i = 0; i < N_ROWS; i++)
        if (index->ids[i] == (uint32_t)id)
            return omen_row_set_has(set, i);
    return false;
}

/* ---- checks ---- */

/* min(k, matches) rows of the set, each once, in order, and nothing after them. */
static void check_found(const omen_index *index, const results *r, uint64_t q, const omen_row_set *set,
                        const char *what)
{
    const uint64_t n = omen_row_set_count(set) < r->k ? omen_row_set_count(set) : r->k;
    const int64_t *ids = r->ids + q * r->k;
    const float *distances = r->distances + q * r->k;
    CHECK_CASE(omen_found_count(ids, r->k) == n, "%s, query %llu: %u rows, not %llu", what, (unsigned long long)q,
               omen_found_count(ids, r->k), (unsigned long long)n);
    for (uint64_t i = 0; i < r->k; i++) {
        if (i >= n) {
            CHECK_CASE(ids[i] == OMEN_NO_ROW && distances[i] == INFINITY, "%s", what);
            continue;
        }
        CHECK_CASE(passes(index, set, ids[i]), "%s, query %llu: row %lld does not pass", what, (unsigned long long)q,
                   (long long)ids[i]);
        CHECK_CASE(i == 0 || distances[i - 1] < distances[i] ||
                       (distances[i - 1] == distances[i] && ids[i - 1] < ids[i]),
                   "%s, query %llu: rank %llu out of order", what, (unsigned long long)q, (unsigned long long)i);
    }
}

/* What is left of all rows in order when those that do not pass are taken out. */
static void check_exact(const omen_index *index, const results *all, const results *r, uint64_t q,
                        const omen_row_set *set, const char *what)
{
    uint32_t n = 0;
    for (uint64_t i = 0; i < all->k && n < r->k; i++) {
        if (!passes(index, set, all->ids[q * all->k + i]))
            continue;
        CHECK_CASE(r->ids[q * r->k + n] == all->ids[q * all->k + i] &&
                       r->distances[q * r->k + n] == all->distances[q * all->k + i],
                   "%s, query %llu: rank %u", what, (unsigned long long)q, n);
        n++;
    }
}

static uint64_t count_hits(const results *exact, const results *r)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < r->n_queries * r->k; i++)
        n += r->ids[i] != OMEN_NO_ROW && r->distances[i] <= exact->distances[(i / r->k + 1) * r->k - 1];
    return n;
}

static uint64_t count_rows(const results *r)
{
    uint64_t n = 0;
    for (uint64_t q = 0; q < r->n_queries; q++)
        n += omen_found_count(r->ids + q * r->k, r->k);
    return n;
}

/* One set for all queries. Returns the recall. */
static double check_set(const omen_index *index, const omen_search_options *base, const rows_in_memory *queries,
                        const results *all, const omen_row_set *set, const char *what)
{
    omen_search_options options = *base;
    const omen_row_set *sets[N_QUERIES];
    double recall = 1;
    for (size_t i = 0; i < N_QUERIES; i++)
        sets[i] = set;
    options.row_sets = sets;
    results r = search(index, &options, queries->x, N_QUERIES);
    for (uint64_t q = 0; q < N_QUERIES; q++)
        check_found(index, &r, q, set, what);
    if (all) {
        options.exact = true;
        results exact = search(index, &options, queries->x, N_QUERIES);
        for (uint64_t q = 0; q < N_QUERIES; q++)
            check_exact(index, all, &exact, q, set, what);
        recall = count_rows(&r) ? (double)count_hits(&exact, &r) / (double)count_rows(&r) : 1;
        results_free(&exact);
    }
    results_free(&r);
    return recall;
}

/* A set of its own for each query, and none for some: the same as each query alone, whatever computes it. */
static void check_mixed(const omen_index *index, const omen_search_options *base, const rows_in_memory *queries,
                        omen_row_set *const *sets, const char *what)
{
    omen_search_options options = *base;
    const omen_row_set *of_query[N_QUERIES];
    for (size_t q = 0; q < N_QUERIES; q++)
        of_query[q] = q % (N_SETS + 1) < N_SETS ? sets[q % (N_SETS + 1)] : NULL;
    options.row_sets = of_query;
    select_variant(&variants[0]);
    options.n_threads = 1;
    results want = search(index, &options, queries->x, N_QUERIES);
    for (size_t v = 1; v < N_VARIANTS; v++) {
        if (!select_variant(&variants[v]))
            continue;
        options.n_threads = variants[v].n_threads;
        results got = search(index, &options, queries->x, N_QUERIES);
        CHECK_CASE(same_results(&want, &got), "%s: %s, %d threads", what,
                   variants[v].level ? variants[v].level : "best level", options.n_threads);
        results_free(&got);
    }
    select_variant(&(struct variant){NULL, 0});
    for (uint64_t q = 0; q < N_QUERIES; q++) {
        options.row_sets = of_query + q;
        results one = search(index, &options, queries->x + q * D, 1);
        results part = {1, want.k, want.ids + q * want.k, want.distances + q * want.k};
        CHECK_CASE(same_results(&part, &one), "%s: query %llu alone", what, (unsigned long long)q);
        results_free(&one);
    }
    results_free(&want);
}

/* ---- tests ---- */

static void check_index(const omen_index *index, const omen_build_options *o, const rows_in_memory *rows,
                        const rows_in_memory *queries)
{
    omen_search_options options;
    omen_row_set *sets[N_SETS];
    char what[200];
    double sum = 0;
    omen_search_options_init(&options);
    options.k = N_ROWS;
    options.exact = o->refine != OMEN_REFINE_NONE;
    options.lists.probes = options.exact ? 0 : index->meta.n_lists;
    results all = search(index, &options, queries->x, N_QUERIES);
    omen_search_options_init(&options);
    for (int i = 0; i < N_SETS; i++) {
        sets[i] = make_set(index, i, all.ids);
        snprintf(what, sizeof what, "%s, %s", case_name(rows, o), set_names[i]);
        const double recall =
            check_set(index, &options, queries, o->refine != OMEN_REFINE_NONE ? &all : NULL, sets[i], what);
        CHECK_CASE(recall >= 0.85, "%s: recall %.3f", what, recall);
        sum += recall;
        options.lists.probes = 1;
        check_set(index, &options, queries, NULL, sets[i], what);
        options.lists.probes = 0;
        options.k = 200;
        check_set(index, &options, queries, NULL, sets[i], what);
        options.k = K;
    }
    printf("# %s: recall@10 %.3f on average\n", case_name(rows, o), sum / N_SETS);
    CHECK_CASE(sum / N_SETS >= 0.95, "%s: recall %.3f", case_name(rows, o), sum / N_SETS);
    check_mixed(index, &options, queries, sets, case_name(rows, o));
    for (int i = 0; i < N_SETS; i++)
        omen_row_set_destroy(sets[i]);
    results_free(&all);
}

static void test_all_kinds(void)
{
    rows_in_memory rows = make_rows(N_ROWS, D, CLUSTERED, 1), queries = make_rows(N_QUERIES, D, CLUSTERED, 1000);
    for (int i = 0; i < 72; i++) {
        omen_build_options o;
        if (!combination(i, &o) || o.codec == OMEN_CODEC_AUTO || (o.refine > OMEN_REFINE_SQ8 && i % 7 != 3))
            continue; /* of the other tiers a few: they differ in their kernels only */
        sections_in_memory sections;
        omen_index *index = make_index(&rows, &o, &sections);
        if (index)
            check_index(index, &o, &rows, &queries);
        omen_index_close(index);
        sections_free(&sections);
    }
    rows_free(&rows);
    rows_free(&queries);
}

/* Rows without clusters, of which a filter that ignores where they are takes many lists, and one whose rows are far
 * from the query more: the first lists alone would find few of the nearest. */
static void test_stop(void)
{
    enum { N = 4000, D_PLAIN = 16, N_PLAIN = 20 };
    rows_in_memory rows = make_rows(N, D_PLAIN, CLUSTERED, 1);
    for (uint64_t i = 0; i < (uint64_t)N * D_PLAIN; i++) {
        rows.x[i] = -6;
        for (uint64_t j = 0; j < 12; j++) /* of twelve, about normal */
            rows.x[i] += (float)omen_random_unit(5, 12 * i + j);
    }
    omen_build_options o;
    omen_build_options_init(&o);
    o.refine = OMEN_REFINE_F32;
    o.bytes = 12;
    sections_in_memory sections;
    omen_index *index = make_index(&rows, &o, &sections);
    omen_search_options options;
    omen_search_options_init(&options);
    options.k = N;
    options.exact = true;
    results all = search(index, &options, rows.x, N_PLAIN);
    for (int far = 0; far < 2; far++) {
        omen_row_set *sets[N_PLAIN];
        int64_t ids[N / 5];
        for (uint64_t q = 0; q < N_PLAIN; q++) {
            for (uint64_t i = 0; i < N / 5; i++)
                ids[i] = far ? all.ids[(q + 1) * N - 1 - i] : (int64_t)(5 * i + q % 5);
            CHECK_EQ_INT(omen_row_set_create(index, ids, N / 5, false, &sets[q], &detail), OMEN_OK);
        }
        omen_search_options_init(&options);
        options.row_sets = (const omen_row_set *const *)sets;
        omen_row_set_info info = {.struct_bytes = sizeof info};
        CHECK(omen_row_set_get_info(sets[0], &options, &info) == OMEN_OK && info.plan == OMEN_PLAN_LISTS);
        results r = search(index, &options, rows.x, N_PLAIN);
        options.exact = true;
        results exact = search(index, &options, rows.x, N_PLAIN);
        const double recall = (double)count_hits(&exact, &r) / (double)count_rows(&exact);
        printf("# %s: recall@10 %.3f\n", far ? "far" : "anywhere", recall);
        CHECK_CASE(recall >= 0.92, "%s: recall %.3f", far ? "far" : "anywhere", recall);
        results_free(&exact);
        results_free(&r);
        for (uint64_t q = 0; q < N_PLAIN; q++)
            omen_row_set_destroy(sets[q]);
    }
    results_free(&all);
    omen_index_close(index);
    sections_free(&sections);
    rows_free(&rows);
}

/* Of queries that each have their own filter: nearly the recall that is asked for (0.95; of the farthest half .94 is
 * found), of half of the rows, a hundredth and the farthest half; and where half pass, less than twice the lists of
 * searches without a filter. */
static void test_shares(void)
{
    enum { N = 24000, D_WIDE = 20, N_EACH = 40, N_FACTORS = 6 };
    rows_in_memory rows = make_rows(N, D_WIDE, CLUSTERED, 1);
    for (uint64_t i = 0; i < N; i++) /* of a few factors, and a little noise */
        for (uint64_t j = 0; j < D_WIDE; j++) {
            float x = 0.3f * (float)omen_random_unit(6, D_WIDE * i + j);
            for (uint64_t f = 0; f < N_FACTORS; f++)
                x += (float)omen_random_unit(7, N_FACTORS * i + f) * (float)omen_random_unit(8, D_WIDE * f + j);
            rows.x[i * D_WIDE + j] = x;
        }
    omen_build_options o;
    omen_build_options_init(&o);
    o.refine = OMEN_REFINE_F32;
    sections_in_memory sections;
    omen_index *index = make_index(&rows, &o, &sections);
    omen_search_options options;
    omen_search_options_init(&options);
    omen_search_stats plain = {.struct_bytes = sizeof plain};
    static int64_t ids[N];
    int64_t found[N_EACH * K];
    CHECK_EQ_INT(omen_index_search(index, &options, rows.x, N_EACH, found, NULL, &plain, &detail), OMEN_OK);
    options.k = N;
    options.exact = true;
    results all = search(index, &options, rows.x, N_EACH);
    static const char *const names[] = {"a half", "a hundredth", "the farthest half"};
    static const uint64_t parts[] = {2, 30, 2};
    for (int kind = 0; kind < 3; kind++) {
        omen_row_set *sets[N_EACH];
        for (uint64_t q = 0; q < N_EACH; q++) {
            const uint64_t n = N / parts[kind];
            for (uint64_t i = 0; i < n; i++)
                ids[i] = kind == 2 ? all.ids[(q + 1) * N - 1 - i] : (int64_t)(parts[kind] * i + q % parts[kind]);
            CHECK_EQ_INT(omen_row_set_create(index, ids, n, false, &sets[q], &detail), OMEN_OK);
        }
        omen_search_options_init(&options);
        options.row_sets = (const omen_row_set *const *)sets;
        omen_row_set_info info = {.struct_bytes = sizeof info};
        CHECK(omen_row_set_get_info(sets[0], &options, &info) == OMEN_OK && info.plan == OMEN_PLAN_LISTS);
        omen_search_stats stats = {.struct_bytes = sizeof stats};
        CHECK_EQ_INT(omen_index_search(index, &options, rows.x, N_EACH, found, NULL, &stats, &detail), OMEN_OK);
        results r = search(index, &options, rows.x, N_EACH);
        CHECK_CASE(memcmp(found, r.ids, sizeof found) == 0, "%s", names[kind]);
        options.exact = true;
        results exact = search(index, &options, rows.x, N_EACH);
        const double recall = (double)count_hits(&exact, &r) / (double)count_rows(&exact);
        const double lists = (double)stats.lists.probed / (double)plain.lists.probed;
        printf("# %s: recall@10 %.3f, %.2f times the lists\n", names[kind], recall, lists);
        CHECK_CASE(recall >= 0.93, "%s: recall %.3f", names[kind], recall);
        CHECK_CASE(kind > 0 || lists < 2, "%s: %.2f times the lists", names[kind], lists);
        results_free(&exact);
        results_free(&r);
        for (uint64_t q = 0; q < N_EACH; q++)
            omen_row_set_destroy(sets[q]);
    }
    results_free(&all);
    omen_index_close(index);
    sections_free(&sections);
    rows_free(&rows);
}

/* A zero query is as far from every row: it finds the lowest of those that pass. */
static void test_zero_query(void)
{
    rows_in_memory rows = make_rows(N_ROWS, D, CLUSTERED, 1);
    omen_build_options o;
    omen_build_options_init(&o);
    o.metric = OMEN_METRIC_COSINE;
    sections_in_memory sections;
    omen_index *index = make_index(&rows, &o, &sections);
    const float zero[D] = {0};
    const int64_t ids[] = {900, 5, 41, 700};
    omen_row_set *set = NULL;
    CHECK_EQ_INT(omen_row_set_create(index, ids, 4, false, &set, &detail), OMEN_OK);
    const omen_row_set *sets[] = {set};
    omen_search_options options;
    omen_search_options_init(&options);
    options.zero_ok = true;
    options.row_sets = sets;
    options.k = 3;
    results r = search(index, &options, zero, 1);
    CHECK(r.ids[0] == 5 && r.ids[1] == 41 && r.ids[2] == 700 && r.distances[2] == 1);
    results_free(&r);
    omen_row_set_destroy(set);
    omen_index_close(index);
    sections_free(&sections);
    rows_free(&rows);
}

/* Progress, which is never of more than there is. */
static int look_at_share(void *context, const char *stage, uint64_t done, uint64_t total)
{
    *(bool *)context |= done > total;
    return 0;
}

/* Through the graph: as many rows, and what was asked for, also where rows that pass are far away. */
static void test_graph(void)
{
    static const omen_metric metrics[] = {OMEN_METRIC_L2, OMEN_METRIC_IP, OMEN_METRIC_COSINE};
    for (size_t c = 0; c < sizeof metrics / sizeof *metrics; c++) {
        rows_in_memory rows = make_rows(N_ROWS, D, CLUSTERED, 31 + c), queries = make_rows(N_QUERIES, D, CLUSTERED, 51);
        omen_build_options o;
        omen_search_options options;
        omen_row_set *sets[N_SETS];
        sections_in_memory sections;
        omen_row_set_info info = {.struct_bytes = sizeof info};
        omen_build_options_init(&o);
        o.metric = metrics[c];
        o.graph.wanted = true;
        for (uint32_t i = 0; i < N_ROWS && o.metric == OMEN_METRIC_IP; i += N_ROWS / 15) /* set apart */
            for (uint32_t j = 0; j < D; j++)
                rows.x[i * D + j] *= 30;
        omen_index *index = make_index(&rows, &o, &sections);
        CHECK((index->n_apart > 0) == (o.metric == OMEN_METRIC_IP));
        omen_search_options_init(&options);
        options.k = N_ROWS;
        options.exact = true;
        results all = search(index, &options, queries.x, N_QUERIES);
        omen_search_options_init(&options);
        bool is_too_much = false;
        options.way = OMEN_SEARCH_GRAPH;
        options.progress = look_at_share;
        options.progress_context = &is_too_much;
        for (int i = 0; i < N_SETS; i++) {
            sets[i] = make_set(index, i, all.ids);
            const double recall = check_set(index, &options, &queries, &all, sets[i], set_names[i]);
            CHECK_CASE(recall >= 0.9, "metric %d, %s: recall %.3f by the graph", (int)metrics[c], set_names[i], recall);
            options.k = 400; /* more than half of the sets have */
            check_set(index, &options, &queries, NULL, sets[i], set_names[i]);
            options.k = K;
        }
        CHECK(!is_too_much);
        options.progress = NULL;
        check_mixed(index, &options, &queries, sets, "by the graph");
        CHECK_EQ_INT(omen_row_set_get_info(sets[HALF], &options, &info), OMEN_OK);
        CHECK_EQ_INT(info.plan, OMEN_PLAN_GRAPH);
        CHECK_STR_CONTAINS(omen_plan_text(info.plan), "through the graph");
        CHECK_EQ_INT(omen_row_set_get_info(sets[JUST_K], &options, &info), OMEN_OK);
        CHECK_EQ_INT(info.plan, OMEN_PLAN_ROWS);
        options.way = OMEN_SEARCH_LISTS;
        CHECK_EQ_INT(omen_row_set_get_info(sets[HALF], &options, &info), OMEN_OK);
        CHECK_EQ_INT(info.plan, OMEN_PLAN_LISTS);
        for (int i = 0; i < N_SETS; i++)
            omen_row_set_destroy(sets[i]);
        results_free(&all);
        omen_index_close(index);
        sections_free(&sections);
        rows_free(&rows);
        rows_free(&queries);
    }
}

/* The nearest row alone, among those that are not long: estimates err more than the nearest few differ. */
static void test_graph_nearest(void)
{
    enum { N_ALL = 200, D_ALL = 3 };
    rows_in_memory rows = make_rows(N_ROWS, D_ALL, CLUSTERED, 7), queries = make_rows(N_ALL, D_ALL, CLUSTERED, 8);
    for (uint64_t i = 0; i < N_ROWS * D_ALL; i++)
        rows.x[i] = ((float)omen_random_unit(7, i) - 0.5f) * (i / D_ALL % 20 ? 1 : 20);
    for (uint64_t i = 0; i < N_ALL * D_ALL; i++)
        queries.x[i] = (float)omen_random_unit(8, i) - 0.5f;
    omen_build_options o;
    omen_search_options options;
    sections_in_memory sections;
    const omen_row_set *sets[N_ALL];
    omen_build_options_init(&o);
    o.metric = OMEN_METRIC_IP;
    o.graph.wanted = true;
    omen_index *index = make_index(&rows, &o, &sections);
    omen_row_set *set = NULL;
    int64_t long_rows[N_ROWS / 20];
    for (int64_t i = 0; i < N_ROWS / 20; i++)
        long_rows[i] = 20 * i;
    CHECK_EQ_INT(omen_row_set_create(index, long_rows, N_ROWS / 20, true, &set, &detail), OMEN_OK);
    for (size_t q = 0; q < N_ALL; q++)
        sets[q] = set;
    omen_search_options_init(&options);
    options.k = 1;
    options.row_sets = sets;
    options.way = OMEN_SEARCH_GRAPH;
    results r = search(index, &options, queries.x, N_ALL);
    options.way = OMEN_SEARCH_EXACT;
    results exact = search(index, &options, queries.x, N_ALL);
    const double recall = (double)count_hits(&exact, &r) / N_ALL;
    CHECK_CASE(recall >= 0.9, "recall %.3f", recall);
    results_free(&r);
    results_free(&exact);
    omen_row_set_destroy(set);
    omen_index_close(index);
    sections_free(&sections);
    rows_free(&rows);
    rows_free(&queries);
}

/* Sets are lists of positions or bitmaps by how many rows they have, and the same either way. */
static void test_sets(void)
{
    rows_in_memory rows = make_rows(N_ROWS, D, CLUSTERED, 3);
    omen_build_options o;
    sections_in_memory sections;
    int64_t ids[N_ROWS];
    omen_build_options_init(&o);
    omen_index *index = make_index(&rows, &o, &sections);
    const uint64_t few = omen_filter_few(index);
    CHECK(few > K && few + 2 < N_ROWS);
    for (uint64_t i = 0; i < N_ROWS; i++)
        ids[i] = (int64_t)((7 + i * 1009) % N_ROWS);
    for (uint64_t n = few - 1; n <= few + 1; n++) {
        omen_row_set *set = NULL, *all = NULL, *both = NULL;
        CHECK_EQ_INT(omen_row_set_create(index, ids, n, false, &set, &detail), OMEN_OK);
        CHECK_EQ_INT(omen_row_set_create(index, ids, N_ROWS, false, &all, &detail), OMEN_OK);
        CHECK_EQ_INT(omen_row_set_count(set), n);
        CHECK((set->positions != NULL) == (n <= few));
        CHECK_EQ_INT(omen_row_set_intersect(all, set, &both, &detail), OMEN_OK);
        CHECK_EQ_INT(omen_row_set_count(both), n);
        CHECK(omen_row_set_checksum(both) == omen_row_set_checksum(set));
        for (uint64_t i = 0; i < N_ROWS; i += 13)
            CHECK(passes(index, set, ids[i]) == (i < n));
        omen_row_set_destroy(both);
        /* without the last row and one that is not there */
        omen_row_set *rest = NULL;
        const int64_t without[] = {ids[n - 1], ids[n]};
        CHECK_EQ_INT(omen_row_set_create(index, without, 2, true, &rest, &detail), OMEN_OK);
        CHECK_EQ_INT(omen_row_set_intersect(set, rest, &both, &detail), OMEN_OK);
        CHECK_EQ_INT(omen_row_set_count(both), n - 1);
        CHECK(!passes(index, both, ids[n - 1]) && passes(index, both, ids[0]));
        CHECK((both->positions != NULL) == (n - 1 <= few));
        omen_row_set_destroy(both);
        omen_row_set_destroy(rest);
        omen_row_set_destroy(all);
        omen_row_set_destroy(set);
    }
    omen_index_close(index);
    sections_free(&sections);
    rows_free(&rows);
}

/* A set may be of another index, and ask for rows that there are not; a file's row numbers may lie. */
static void test_refusals(void)
{
    rows_in_memory rows = make_rows(300, D, CLUSTERED, 1);
    omen_build_options o;
    omen_build_options_init(&o);
    sections_in_memory sections, others;
    omen_index *index = make_index(&rows, &o, &sections), *other = make_index(&rows, &o, &others);
    omen_row_set *set = NULL, *more = NULL, *both = NULL;
    const int64_t below[] = {0, -1}, beyond[] = {299, 300}, good[] = {3, 4}, one[] = {4, 7};
    CHECK_EQ_INT(omen_row_set_create(index, below, 2, false, &set, &detail), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(detail.text, "row -1 does not exist");
    CHECK_EQ_INT(omen_row_set_create(index, beyond, 2, true, &set, &detail), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(detail.text, "row 300 does not exist: the index has rows 0 to 299");
    CHECK(!set);
    omen_row_set_destroy(NULL);
    CHECK_EQ_INT(omen_row_set_create(other, good, 2, false, &set, &detail), OMEN_OK);
    const omen_row_set *sets[] = {NULL, set};
    omen_search_options options;
    omen_search_options_init(&options);
    options.row_sets = sets;
    int64_t ids[20];
    CHECK_EQ_INT(omen_index_search(index, &options, rows.x, 2, ids, NULL, NULL, &detail), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(detail.text, "set 1 is of another index");
    CHECK_EQ_INT(omen_row_set_create(index, one, 2, false, &more, &detail), OMEN_OK);
    CHECK_EQ_INT(omen_row_set_intersect(set, more, &both, &detail), OMEN_ERR_ARGUMENT);
    omen_row_set_destroy(set);
    CHECK_EQ_INT(omen_row_set_create(index, good, 2, false, &set, &detail), OMEN_OK);
    CHECK_EQ_INT(omen_row_set_intersect(set, more, &both, &detail), OMEN_OK);
    CHECK_EQ_INT(omen_row_set_count(both), 1);
    CHECK(passes(index, both, 4));
    omen_row_set_info info = {.struct_bytes = sizeof info};
    CHECK_EQ_INT(omen_row_set_get_info(both, &options, &info), OMEN_OK);
    CHECK(info.n_matches == 1 && info.n_lists == 1 && info.plan == OMEN_PLAN_ROWS);
    CHECK_STR_CONTAINS(omen_plan_text(info.plan), "each is compared");
    omen_row_set_destroy(set);
    omen_row_set_destroy(more);
    omen_row_set_destroy(both);
    omen_index_close(index);
    for (size_t i = 0; i < sections.n; i++)
        if (sections.sections[i].id == OMEN_SECTION_PERM)
            ((uint32_t *)(uintptr_t)sections.sections[i].data)[17] = 300;
    CHECK_EQ_INT(omen_index_open(&index, sections.sections, sections.n, &detail), OMEN_OK);
    CHECK_EQ_INT(omen_row_set_create(index, good, 2, false, &set, &detail), OMEN_ERR_CORRUPT);
    CHECK_STR_CONTAINS(detail.text, "section PERM: position 17");
    omen_index_close(index);
    omen_index_close(other);
    sections_free(&sections);
    sections_free(&others);
    rows_free(&rows);
}

/* Progress that asks to stop at once. */
static int stop(void *context, const char *stage, uint64_t done, uint64_t total)
{
    return 1;
}

static void test_interrupted(void)
{
    rows_in_memory rows = make_rows(N_ROWS, D, CLUSTERED, 1);
    omen_build_options o;
    omen_build_options_init(&o);
    sections_in_memory sections;
    omen_index *index = make_index(&rows, &o, &sections);
    const int64_t ids[] = {3};
    omen_row_set *few = NULL, *many = NULL;
    CHECK_EQ_INT(omen_row_set_create(index, ids, 1, false, &few, &detail), OMEN_OK);
    CHECK_EQ_INT(omen_row_set_create(index, ids, 1, true, &many, &detail), OMEN_OK);
    const omen_row_set *sets[] = {few, many};
    omen_search_options options;
    omen_search_options_init(&options);
    options.progress = stop;
    for (size_t i = 0; i < 2; i++) {
        int64_t found[10];
        options.row_sets = sets + i;
        CHECK_EQ_INT(omen_index_search(index, &options, rows.x, 1, found, NULL, NULL, &detail), OMEN_ERR_INTERRUPTED);
    }
    omen_row_set_destroy(few);
    omen_row_set_destroy(many);
    omen_index_close(index);
    sections_free(&sections);
    rows_free(&rows);
}

/* Inner products with rows whose lengths differ, and the longest tenth of them as the filter: what a code lacks of a
 * long row costs neither recall nor many more candidates. */
static void test_long_rows(void)
{
    enum { N = 12000, D_LONG = 64, N_EACH = 100, N_FACTORS = 12, N_ALL = N + N_EACH };
    rows_in_memory rows = make_rows(N, D_LONG, CLUSTERED, 1), queries = make_rows(N_EACH, D_LONG, CLUSTERED, 2);
    uint64_t *keys = malloc(N * sizeof *keys);
    for (uint64_t i = 0; i < N_ALL; i++) {
        float *row = i < N ? rows.x + i * D_LONG : queries.x + (i - N) * D_LONG;
        float length = 0;
        for (uint64_t j = 0; j < 4; j++)
            length += 0.5f * (float)omen_random_unit(9, 4 * i + j);
        for (uint64_t j = 0; j < D_LONG; j++) {
            row[j] = 0;
            for (uint64_t f = 0; f < 4; f++)
                row[j] += 2 * (float)omen_random_unit(10, 4 * (D_LONG * i + j) + f) - 1;
            for (uint64_t f = 0; f < N_FACTORS; f++)
                row[j] += (4 * (float)omen_random_unit(11, N_FACTORS * i + f) - 2) *
                          ((float)omen_random_unit(12, D_LONG * f + j) - 0.5f);
            row[j] *= length * length;
        }
        if (i < N)
            keys[i] = omen_key(0 - omen_kernels_get()->ip_f32(row, row, D_LONG), (uint32_t)i);
    }
    omen_keys_sort(keys, N);
    omen_build_options o;
    omen_build_options_init(&o);
    o.metric = OMEN_METRIC_IP;
    o.refine = OMEN_REFINE_F32;
    sections_in_memory sections;
    omen_index *index = make_index(&rows, &o, &sections);
    int64_t ids[N / 10];
    for (size_t i = 0; i < N / 10; i++)
        ids[i] = (uint32_t)keys[i];
    const omen_row_set *sets[N_EACH];
    omen_row_set *set = NULL;
    CHECK_EQ_INT(omen_row_set_create(index, ids, N / 10, false, &set, &detail), OMEN_OK);
    for (size_t q = 0; q < N_EACH; q++)
        sets[q] = set;
    omen_search_options options;
    omen_search_options_init(&options);
    options.row_sets = sets;
    omen_search_stats stats = {.struct_bytes = sizeof stats};
    int64_t found[N_EACH * K];
    CHECK_EQ_INT(omen_index_search(index, &options, queries.x, N_EACH, found, NULL, &stats, &detail), OMEN_OK);
    results r = search(index, &options, queries.x, N_EACH);
    options.exact = true;
    results exact = search(index, &options, queries.x, N_EACH);
    const double recall = (double)count_hits(&exact, &r) / (double)count_rows(&exact);
    const double compared = (double)stats.rows_reranked / N_EACH;
    printf("# long rows: %s, recall@10 %.3f, %.0f rows compared\n", omen_codec_name(index->meta.codec), recall,
           compared);
    CHECK_CASE(recall >= 0.94, "recall %.3f", recall);
    CHECK_CASE(compared < 0.07 * N / 10, "%.0f rows compared", compared);
    results_free(&exact);
    results_free(&r);
    omen_row_set_destroy(set);
    omen_index_close(index);
    sections_free(&sections);
    free(keys);
    rows_free(&queries);
    rows_free(&rows);
}

int main(void)
{
    RUN(test_all_kinds);
    RUN(test_stop);
    RUN(test_shares);
    RUN(test_long_rows);
    RUN(test_zero_query);
    RUN(test_graph);
    RUN(test_graph_nearest);
    RUN(test_sets);
    RUN(test_refusals);
    RUN(test_interrupted);
    return check_finish();
}
