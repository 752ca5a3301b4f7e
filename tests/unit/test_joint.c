/* SPDX-License-Identifier: Apache-2.0 */
/* Several indexes searched as one, against one index of all their rows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/joint.h"
#include "lib/matrix.h"
#include "tests/unit/check.h"
#include "tests/unit/index_cases.h"

#define N_ROWS    2400u
#define N_QUERIES 40u
#define D         20u
#define K         10u
#define N_PARTS   3u

/* One index of all rows, and parts of 1,500, 600 and 300 of them. */
typedef struct {
    rows_in_memory rows, queries, part_rows[N_PARTS];
    sections_in_memory sections, part_sections[N_PARTS];
    omen_index *index, *parts[N_PARTS];
    omen_joint *joint;
} fixture;

static const uint64_t first[N_PARTS + 1] = {0, 1500, 2100, N_ROWS};

static void fixture_make(fixture *f, omen_metric metric, omen_codec codec, omen_refine refine)
{
    omen_build_options options;
    omen_build_options_init(&options);
    options.metric = metric;
    options.codec = codec;
    options.refine = refine;
    memset(f, 0, sizeof *f);
    f->rows = make_rows(N_ROWS, D, CLUSTERED, 3);
    f->queries = make_rows(N_QUERIES, D, CLUSTERED, 4);
    f->index = make_index(&f->rows, &options, &f->sections);
    for (size_t i = 0; i < N_PARTS; i++) {
        f->part_rows[i] = (rows_in_memory){.n = first[i + 1] - first[i], .d = D, .x = f->rows.x + first[i] * D};
        f->parts[i] = make_index(&f->part_rows[i], &options, &f->part_sections[i]);
    }
    CHECK_EQ_INT(omen_joint_create(&f->joint, (const omen_index *const *)f->parts, NULL, N_PARTS, &detail), OMEN_OK);
}

static void fixture_free(fixture *f)
{
    omen_joint_destroy(f->joint);
    omen_index_close(f->index);
    sections_free(&f->sections);
    for (size_t i = 0; i < N_PARTS; i++) {
        omen_index_close(f->parts[i]);
        sections_free(&f->part_sections[i]);
    }
    rows_free(&f->rows);
    rows_free(&f->queries);
}

/* Searches the joint as search() does one index. */
static results search_joint(const fixture *f, const omen_search_options *options)
{
    results r = {.n_queries = N_QUERIES, .k = options->k};
    r.ids = malloc(N_QUERIES * r.k * sizeof *r.ids);
    r.distances = malloc(N_QUERIES * r.k * sizeof *r.distances);
    CHECK_EQ_INT(omen_joint_search(f->joint, options, f->queries.x, N_QUERIES, r.ids, r.distances, NULL, &detail),
                 OMEN_OK);
    return r;
}

/* The share of the rows of `all` that r has. */
static double recall(const results *r, const results *all)
{
    uint64_t n = 0;
    for (uint64_t q = 0; q < N_QUERIES; q++)
        for (uint32_t i = 0; i < K; i++)
            for (uint32_t j = 0; j < K; j++)
                n += r->ids[q * K + i] == all->ids[q * K + j];
    return (double)n / (N_QUERIES * K);
}

static void check_combination(omen_metric metric, omen_codec codec, omen_refine refine)
{
    fixture f;
    omen_search_options options;
    omen_search_options_init(&options);
    fixture_make(&f, metric, codec, refine);
    options.k = K;
    options.exact = true;
    results one = search(f.index, &options, f.queries.x, N_QUERIES), joint = search_joint(&f, &options);
    /* rows of byte range are the same in all refine tiers of float32 */
    CHECK_CASE(recall(&joint, &one) == 1, "metric %d: exact search differs", (int)metric);
    check_complete(&joint, N_ROWS, "exact");
    results_free(&joint);
    options.exact = false;
    joint = search_joint(&f, &options);
    check_complete(&joint, N_ROWS, "lists");
    CHECK_CASE(recall(&joint, &one) >= 0.93, "metric %d, codec %d: recall %.3f", (int)metric, (int)codec,
               recall(&joint, &one));
    results_free(&joint);
    /* all lists and rows are what exact search compares */
    options.lists.probes = N_ROWS;
    options.rerank = N_ROWS;
    joint = search_joint(&f, &options);
    CHECK_CASE(recall(&joint, &one) == 1, "metric %d, codec %d: not all lists", (int)metric, (int)codec);
    results_free(&joint);
    results_free(&one);
    /* more than there are */
    options.lists.probes = options.rerank = 0;
    options.k = N_ROWS + 5;
    joint = search_joint(&f, &options);
    for (uint64_t q = 0; q < N_QUERIES; q++)
        CHECK_EQ_INT(omen_found_count(joint.ids + q * options.k, options.k), N_ROWS);
    results_free(&joint);
    fixture_free(&f);
}

static void test_combinations(void)
{
    check_combination(OMEN_METRIC_L2, OMEN_CODEC_PQ, OMEN_REFINE_F32);
    check_combination(OMEN_METRIC_L2, OMEN_CODEC_RABITQ, OMEN_REFINE_F32);
    check_combination(OMEN_METRIC_COSINE, OMEN_CODEC_RABITQ, OMEN_REFINE_F32);
    check_combination(OMEN_METRIC_COSINE, OMEN_CODEC_NONE, OMEN_REFINE_F32);
    check_combination(OMEN_METRIC_IP, OMEN_CODEC_PQ, OMEN_REFINE_F32);
}

/* Without a refine tier there are estimates, in order. */
static void test_estimates(void)
{
    fixture f;
    omen_search_options options;
    omen_search_options_init(&options);
    fixture_make(&f, OMEN_METRIC_L2, OMEN_CODEC_PQ, OMEN_REFINE_NONE);
    results r = search_joint(&f, &options);
    check_complete(&r, N_ROWS, "estimates");
    results_free(&r);
    fixture_free(&f);
}

/* What each index finds within a distance, with joint numbers. */
static void test_within(void)
{
    fixture f;
    omen_search_options options;
    omen_found *all = NULL, *joint = NULL;
    omen_search_options_init(&options);
    fixture_make(&f, OMEN_METRIC_L2, OMEN_CODEC_PQ, OMEN_REFINE_F32);
    options.k = K;
    options.exact = true;
    results near = search(f.index, &options, f.queries.x, N_QUERIES);
    options.has_within = true;
    options.within = near.distances[K - 1];
    for (options.limit = 0; options.limit <= 4; options.limit += 4) {
        CHECK_EQ_INT(omen_index_search_within(f.index, &options, f.queries.x, N_QUERIES, &all, NULL, &detail), OMEN_OK);
        CHECK_EQ_INT(omen_joint_search_within(f.joint, &options, f.queries.x, N_QUERIES, &joint, NULL, &detail),
                     OMEN_OK);
        CHECK(memcmp(all->first, joint->first, (N_QUERIES + 1) * sizeof *all->first) == 0);
        CHECK(memcmp(all->ids, joint->ids, all->first[N_QUERIES] * sizeof *all->ids) == 0);
        CHECK(memcmp(all->is_cut, joint->is_cut, N_QUERIES * sizeof *all->is_cut) == 0);
        omen_found_destroy(all);
        omen_found_destroy(joint);
    }
    results_free(&near);
    fixture_free(&f);
}

/* Each query finds rows of its own set of each index. */
static void test_filters(void)
{
    fixture f;
    omen_search_options options;
    const omen_row_set *sets[N_PARTS * N_QUERIES];
    omen_row_set *few[N_PARTS];
    const int64_t ids[] = {3, 5, 250};
    omen_search_options_init(&options);
    fixture_make(&f, OMEN_METRIC_L2, OMEN_CODEC_PQ, OMEN_REFINE_F32);
    for (size_t i = 0; i < N_PARTS; i++) {
        CHECK_EQ_INT(omen_row_set_create(f.parts[i], ids, i, false, &few[i], &detail), OMEN_OK); /* i rows of it */
        for (size_t q = 0; q < N_QUERIES; q++)
            sets[i * N_QUERIES + q] = q % 2 || i == 0 ? few[i] : NULL;
    }
    options.k = K;
    options.row_sets = sets;
    results r = search_joint(&f, &options);
    for (uint64_t q = 0; q < N_QUERIES; q++) {
        const uint32_t n = omen_found_count(r.ids + q * K, K);
        CHECK_EQ_INT(n, q % 2 ? 3 : K); /* 0, 1 and 2 rows */
        for (uint32_t i = 0; i < n; i++)
            CHECK((uint64_t)r.ids[q * K + i] >= first[1]);
    }
    results_free(&r);
    for (size_t i = 0; i < N_PARTS; i++)
        omen_row_set_destroy(few[i]);
    fixture_free(&f);
}

static void test_numbers_and_refusals(void)
{
    fixture f, other;
    omen_joint *joint = NULL;
    uint64_t own;
    omen_index_info info = {.struct_bytes = sizeof info};
    omen_search_options options;
    omen_way_choice choice = {.struct_bytes = sizeof choice};
    const char *const names[] = {"\"x\"", "\"y\""};
    omen_search_options_init(&options);
    fixture_make(&f, OMEN_METRIC_L2, OMEN_CODEC_PQ, OMEN_REFINE_F32);
    fixture_make(&other, OMEN_METRIC_IP, OMEN_CODEC_PQ, OMEN_REFINE_F32);
    CHECK_EQ_INT(omen_joint_row_count(f.joint), N_ROWS);
    for (uint64_t row = 0; row < N_ROWS; row++) {
        const size_t i = omen_joint_find(f.joint, row, &own);
        CHECK(i < N_PARTS && own + first[i] == row && own < first[i + 1] - first[i]);
    }
    CHECK_EQ_INT(omen_joint_get_info(f.joint, &info), OMEN_OK);
    CHECK_EQ_INT(info.n_rows, N_ROWS);
    info.struct_bytes = 0;
    CHECK_EQ_INT(omen_joint_get_info(f.joint, &info), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_joint_check_keys(f.joint, NULL, NULL, &detail), OMEN_ERR_ARGUMENT);
    options.way = OMEN_SEARCH_GRAPH;
    CHECK_EQ_INT(omen_joint_choose_way(f.joint, &options, 1, &choice, &detail), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_joint_create(&joint, (const omen_index *const *)f.parts, NULL, 0, &detail), OMEN_ERR_ARGUMENT);
    CHECK(!joint);
    const omen_index *const pair[] = {f.parts[0], other.parts[0]};
    CHECK_EQ_INT(omen_joint_create(&joint, pair, names, 2, &detail), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(detail.text, "\"x\" is an index of metric l2, and \"y\" of ip");
    omen_joint_destroy(NULL);
    fixture_free(&f);
    fixture_free(&other);
}

int main(void)
{
    RUN(test_combinations);
    RUN(test_estimates);
    RUN(test_within);
    RUN(test_filters);
    RUN(test_numbers_and_refusals);
    return check_finish();
}
