/* SPDX-License-Identifier: Apache-2.0 */
/* Building: the same bytes and results for any threads and SIMD level, and what a build refuses. */
#include <math.h>
#include <stdlib.h>

#include "lib/index.h"
#include "lib/index_format.h"
#include "lib/lists/partition.h"
#include "lib/matrix.h"
#include "tests/unit/check.h"
#include "tests/unit/index_cases.h"

static void test_small(void)
{
    static const uint64_t ns[] = {1, 3, 7, 100};
    static const uint32_t ds[] = {1, 2, 13, 40};
    for (int i = 0; i < 48; i += check_quick() ? 5 : 1) {
        omen_build_options o;
        if (!combination(i, &o))
            continue;
        /* two of the numbers of rows, with one dimension or two of each, in turn */
        for (size_t ni = (size_t)i % 2; ni < 4; ni += 2) {
            for (size_t di = ((size_t)(i / 2 + i / 12) + ni / 2) % 4; di < 4; di += ns[ni] == 100 ? 2 : 3) {
                rows_in_memory rows = make_rows(ns[ni], ds[di], CLUSTERED, 1);
                rows_in_memory queries = make_rows(9, ds[di], CLUSTERED, 1000);
                o.lists.n = ns[ni] == 100 && i % 2 ? 9 : 0;
                check_case(&rows, &queries, &o);
                rows_free(&rows);
                rows_free(&queries);
            }
        }
    }
}

/* 3,000 rows: every metric with every codec, dimensions and refine tiers in turn. */
static void test_large(void)
{
    static const uint32_t ds[] = {40, 13, 2, 1};
    for (int i = 0; i < 12; i += check_quick() ? 5 : 1) {
        omen_build_options o;
        CHECK(combination(i + 12 * (1 + i % 3), &o)); /* sq8, f16, f32 */
        if (i % 4 == 3 && o.codec != OMEN_CODEC_NONE)
            o.refine = OMEN_REFINE_NONE;
        rows_in_memory rows = make_rows(3000, ds[i / 2 % 4], CLUSTERED, 1);
        rows_in_memory queries = make_rows(40, rows.d, CLUSTERED, 1000);
        check_case(&rows, &queries, &o);
        rows_free(&rows);
        rows_free(&queries);
    }
}

/* Rows that leave some part of the build nothing to work with. */
static void test_odd_rows(void)
{
    static const uint64_t ns[] = {7, 100, 250};
    for (int i = 0; i < 48; i += check_quick() ? 5 : 1) {
        omen_build_options o;
        if (!combination(i, &o))
            continue;
        for (rows_kind kind = (rows_kind)(EQUAL + (i + i / 12) % 3); kind < N_KINDS; kind += 3) {
            const uint64_t n = ns[(i + (int)kind) % 3];
            rows_in_memory rows = make_rows(n, 13, kind, 1), queries = make_rows(9, 13, kind, 1000);
            const int faults_before = check_faults;
            o.lists.n = n == 250 ? 20 : 0;
            check_case(&rows, &queries, &o);
            if (check_faults != faults_before)
                printf("# rows: %s\n", kind_names[kind]);
            rows_free(&rows);
            rows_free(&queries);
        }
    }
}

/* Few hot bytes, many, more than there are dimensions; more lists than one level of the hierarchy has. */
static void test_options(void)
{
    static const struct {
        omen_codec codec;
        uint32_t bytes, n_lists, d;
    } cases[] = {{OMEN_CODEC_PQ, 4, 0, 40},       {OMEN_CODEC_RABITQ, 4, 0, 40}, {OMEN_CODEC_PQ, 256, 0, 40},
                 {OMEN_CODEC_RABITQ, 256, 0, 40}, {OMEN_CODEC_PQ, 5, 300, 13},   {OMEN_CODEC_RABITQ, 19, 300, 13},
                 {OMEN_CODEC_NONE, 32, 300, 13},  {OMEN_CODEC_PQ, 16, 1200, 13}, {OMEN_CODEC_AUTO, 32, 1, 13},
                 {OMEN_CODEC_RABITQ, 132, 0, 40}, {OMEN_CODEC_PQ, 256, 0, 600},  {OMEN_CODEC_RABITQ, 256, 0, 600},
                 {OMEN_CODEC_RABITQ, 8, 0, 600},  {OMEN_CODEC_PQ, 32, 1200, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i += check_quick() ? 3 : 1) {
        omen_build_options o;
        omen_build_options_init(&o);
        o.metric = (omen_metric)(i % 3);
        o.refine = i % 2 ? OMEN_REFINE_F32 : OMEN_REFINE_SQ8;
        o.codec = cases[i].codec;
        o.bytes = cases[i].bytes;
        o.lists.n = cases[i].n_lists;
        rows_in_memory rows = make_rows(cases[i].n_lists > 400 ? 1200 : 400, cases[i].d, CLUSTERED, 1);
        rows_in_memory queries = make_rows(9, rows.d, CLUSTERED, 1000);
        check_case(&rows, &queries, &o);
        rows_free(&rows);
        rows_free(&queries);
    }
}

static void test_bad_options(void)
{
    rows_in_memory rows = make_rows(20, 3, CLUSTERED, 1);
    omen_build_options o;
    omen_build_options_init(&o);
    o.lists.n = 21;
    refuse_build(&rows, &o, OMEN_ERR_ARGUMENT, "21 lists are more than the 20 rows");
    o.lists.n = 20;
    o.codec = 3;
    refuse_build(&rows, &o, OMEN_ERR_ARGUMENT, "no codec of number 3");
    o.codec = OMEN_CODEC_AUTO;
    sections_in_memory sections;
    omen_index *index = make_index(&rows, &o, &sections);
    omen_search_options options;
    omen_search_options_init(&options);
    int64_t ids[10];
    options.k = 0;
    CHECK_EQ_INT(omen_index_search(index, &options, rows.x, 1, ids, NULL, NULL, &detail), OMEN_ERR_ARGUMENT);
    options.k = 10;
    CHECK_EQ_INT(omen_index_search(index, &options, rows.x, 1, ids, NULL, NULL, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_index_search(index, &options, rows.x, 0, ids, NULL, NULL, NULL), OMEN_OK);
    omen_index_close(index);
    omen_index_close(NULL);
    sections_free(&sections);

    omen_build_options_init(&o);
    o.refine = OMEN_REFINE_NONE;
    index = make_index(&rows, &o, &sections);
    options.exact = true;
    CHECK_EQ_INT(omen_index_search(index, &options, rows.x, 1, ids, NULL, NULL, &detail), OMEN_ERR_ARGUMENT);
    omen_index_close(index);
    sections_free(&sections);
    o.codec = OMEN_CODEC_NONE;
    refuse_build(&rows, &o, OMEN_ERR_ARGUMENT, "nothing to search");
    for (int i = 0; i < 2; i++) {
        omen_build_options_init(&o);
        o.bytes = i ? OMEN_MIN_BYTES - 1 : OMEN_MAX_BYTES + 1;
        refuse_build(&rows, &o, OMEN_ERR_ARGUMENT, "bytes a vector");
    }
    omen_build_options_init(&o);
    rows.n = 0;
    refuse_build(&rows, &o, OMEN_ERR_INPUT, "at least one row");
    rows_free(&rows);
}

/* A finite row may still be too long for float32 sums: refused by number, for every metric, not "out of memory". */
static void test_long_rows(void)
{
    for (int i = 0; i < 48; i += check_quick() ? 5 : 1) {
        omen_build_options o;
        if (!combination(i, &o))
            continue;
        rows_in_memory rows = make_rows(100, 5, CLUSTERED, 1);
        rows.x[62 * 5 + 2] = 1e30f;
        refuse_build(&rows, &o, OMEN_ERR_INPUT, "row 62 is too long");
        rows_free(&rows);
    }
}

/* A row's list depends on nothing that memory had before: a sanitizer sees what is looked up by it. */
static void test_assignment(void)
{
    enum { N = 1500, DIM = 3, LISTS = 300 };
    rows_in_memory rows = make_rows(N, DIM, CLUSTERED, 1);
    omen_partition p = {0};
    omen_watch watch = {0};
    uint32_t trained[N], lists[2][N];
    CHECK_EQ_INT(omen_partition_train(&p, rows.x, N, DIM, LISTS, 1, trained, &watch), OMEN_OK);
    const size_t n_bytes = omen_partition_scratch_bytes(&p);
    void *scratch = omen_alloc(n_bytes, 1);
    CHECK(p.n_parents > 1 && scratch);
    for (int i = 0; i < 2 && scratch; i++)
        for (size_t at = 0; at < N; at += OMEN_ASSIGN_ROWS) {
            const size_t n = N - at < OMEN_ASSIGN_ROWS ? N - at : OMEN_ASSIGN_ROWS;
            memset(scratch, i ? 0xff : 0, n_bytes);
            omen_partition_assign(&p, rows.x + at * DIM, n, DIM, lists[i] + at, scratch);
        }
    CHECK(memcmp(lists[0], lists[1], sizeof lists[0]) == 0);
    free(scratch);
    omen_partition_finish(&p);
    rows_free(&rows);
}

/* Another seed, another row, another option: another identity. */
static void test_identity(void)
{
    rows_in_memory rows = make_rows(50, 4, CLUSTERED, 1);
    omen_build_options o, changed;
    sections_in_memory first, other;
    omen_build_options_init(&o);
    omen_index_close(make_index(&rows, &o, &first));
    for (int i = 0; i < 8; i++) {
        changed = o;
        changed.metric = i == 0 ? OMEN_METRIC_IP : o.metric;
        changed.codec = i == 1 ? OMEN_CODEC_PQ : o.codec;
        changed.refine = i == 2 ? OMEN_REFINE_F16 : o.refine;
        changed.bytes += i == 3;
        changed.lists.n = i == 4 ? 3 : 0;
        changed.seed += i == 5;
        changed.zero_ok = i == 6;
        rows.x[17] += i == 7;
        omen_index_close(make_index(&rows, &changed, &other));
        CHECK_CASE(first.identity != other.identity, "change %d", i);
        sections_free(&other);
    }
    sections_free(&first);
    rows_free(&rows);
}

int main(void)
{
    RUN(test_small);
    RUN(test_large);
    RUN(test_odd_rows);
    RUN(test_options);
    RUN(test_bad_options);
    RUN(test_long_rows);
    RUN(test_assignment);
    RUN(test_identity);
    return check_finish();
}
