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
    return share_found(r->ids, all->ids, N_QUERIES, K);
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

/* Indexes that differ in one thing, so that they share no model, find what one index of all rows does. */
static void test_other_models(void)
{
    static const struct {
        omen_codec codec;
        omen_refine refine;
        uint32_t bytes, n_lists;
    } others[] = {{OMEN_CODEC_PQ, OMEN_REFINE_F32, 10, 20},     {OMEN_CODEC_PQ, OMEN_REFINE_F32, 10, 30},
                  {OMEN_CODEC_PQ, OMEN_REFINE_F32, 8, 20},      {OMEN_CODEC_RABITQ, OMEN_REFINE_F32, 10, 20},
                  {OMEN_CODEC_NONE, OMEN_REFINE_F32, 10, 20},   {OMEN_CODEC_PQ, OMEN_REFINE_SQ16, 10, 20},
                  {OMEN_CODEC_RABITQ, OMEN_REFINE_F32, 12, 20}, {OMEN_CODEC_PQ, OMEN_REFINE_F32, 10, 20}};
    fixture f;
    omen_search_options options;
    omen_search_options_init(&options);
    fixture_make(&f, OMEN_METRIC_L2, OMEN_CODEC_PQ, OMEN_REFINE_F32);
    options.k = K;
    options.exact = true;
    results one = search(f.index, &options, f.queries.x, N_QUERIES);
    options.exact = false;
    options.lists.probes = options.rerank = N_ROWS;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        sections_in_memory sections = {.n = 0};
        omen_build_options build_options;
        omen_joint *joint = NULL;
        omen_build_options_init(&build_options);
        build_options.codec = others[i].codec;
        build_options.refine = others[i].refine;
        build_options.bytes = others[i].bytes;
        build_options.lists.n = others[i].n_lists;
        omen_index *other = make_index(&f.part_rows[1], &build_options, &sections);
        const omen_index *const parts[] = {f.parts[0], other, f.parts[2]};
        CHECK_EQ_INT(omen_joint_create(&joint, parts, NULL, N_PARTS, &detail), OMEN_OK);
        const fixture with = {.queries = f.queries, .joint = joint};
        results r = search_joint(&with, &options);
        CHECK_CASE(recall(&r, &one) >= (others[i].refine == OMEN_REFINE_F32 ? 1 : 0.99), "index %zu: recall %.3f", i,
                   recall(&r, &one));
        results_free(&r);
        omen_joint_destroy(joint);
        omen_index_close(other);
        sections_free(&sections);
    }
    results_free(&one);
    fixture_free(&f);
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

/* ---- keys ---- */

#define KEYS_PARTS 5u
#define KEYS_ROWS  60u /* of each part */

/* Number i of the keys of a part: they lie between those of the others, or behind them, or both. */
static uint64_t number_of(size_t pattern, size_t part, uint64_t i)
{
    const uint64_t turned = i * 7 % KEYS_ROWS;
    return pattern == 0   ? turned * KEYS_PARTS + part
           : pattern == 1 ? part * KEYS_ROWS + turned
                          : turned / 10 * 10 * KEYS_PARTS + part * 10 + turned % 10;
}

typedef struct {
    sections_in_memory sections[KEYS_PARTS]; /* n of bare are not its own */
    omen_index *indexes[KEYS_PARTS];
    omen_joint *joint;
} keyed;

/* Indexes over the same sections, each with keys of its own; key clash of the last part, or none if that is negative,
 * is one of another part. */
static void keyed_make(keyed *k, const sections_in_memory *bare, omen_key_kind kind, size_t pattern, size_t n,
                       int64_t clash, size_t clash_part)
{
    for (size_t part = 0; part < n; part++) {
        omen_row_keys *keys = NULL;
        k->sections[part] = *bare;
        const omen_sink sink = sink_of(&k->sections[part]);
        CHECK_EQ_INT(omen_row_keys_create(&keys, kind, KEYS_ROWS, &detail), OMEN_OK);
        for (uint64_t i = 0; i < KEYS_ROWS; i++) {
            char text[120];
            const bool is_clash = (int64_t)i == clash && part + 1 == n;
            uint64_t number = is_clash ? number_of(pattern, clash_part, i / 2) : number_of(pattern, part, i);
            if (kind == OMEN_KEYS_INT64)
                number -= 70;
            omen_row_key key = {.kind = kind, .number = number};
            if (kind == OMEN_KEYS_TEXT) {
                key = (omen_row_key){.kind = kind, .text = text};
                key.n_bytes =
                    (uint32_t)snprintf(text, sizeof text, "%0*llu", i % 2 ? 90 : 6, (unsigned long long)number);
            }
            CHECK_EQ_INT(omen_row_keys_add(keys, &key, &detail), OMEN_OK);
        }
        CHECK_EQ_INT(omen_row_keys_finish(keys, false, 1, NULL, &detail), OMEN_OK);
        CHECK_EQ_INT(omen_row_keys_write(keys, &sink, NULL, NULL, &detail), OMEN_OK);
        omen_row_keys_destroy(keys);
        CHECK_EQ_INT(omen_index_open(&k->indexes[part], k->sections[part].sections, k->sections[part].n, &detail),
                     OMEN_OK);
    }
    CHECK_EQ_INT(omen_joint_create(&k->joint, (const omen_index *const *)k->indexes, NULL, n, &detail), OMEN_OK);
}

static void keyed_free(keyed *k, const sections_in_memory *bare, size_t n)
{
    omen_joint_destroy(k->joint);
    for (size_t part = 0; part < n; part++) {
        omen_index_close(k->indexes[part]);
        for (size_t i = bare->n; i < k->sections[part].n; i++)
            free((void *)k->sections[part].sections[i].data);
    }
}

static int stop(void *context, const char *stage, uint64_t done, uint64_t total)
{
    (void)context, (void)stage, (void)done, (void)total;
    return 1;
}

/* A key that stands in two indexes is found, wherever it is; and each row by its key. */
static void test_keys(void)
{
    static const omen_key_kind kinds[] = {OMEN_KEYS_INT64, OMEN_KEYS_UINT64, OMEN_KEYS_TEXT};
    rows_in_memory rows = make_rows(KEYS_ROWS, D, CLUSTERED, 3);
    sections_in_memory bare = {.n = 0};
    omen_build_options options;
    omen_build_options_init(&options);
    options.lists.n = 1;
    omen_index_close(make_index(&rows, &options, &bare));
    for (size_t c = 0; c < 3 * 3 * KEYS_PARTS; c++) {
        const omen_key_kind kind = kinds[c % 3];
        const size_t pattern = c / 3 % 3, n = c / 9 + 1;
        keyed k;
        keyed_make(&k, &bare, kind, pattern, n, -1, 0);
        CHECK_CASE(omen_joint_check_keys(k.joint, NULL, NULL, &detail) == OMEN_OK, "%zu parts, pattern %zu: %s", n,
                   pattern, detail.text);
        CHECK_EQ_INT(omen_joint_check_keys(k.joint, stop, NULL, &detail), n > 1 ? OMEN_ERR_INTERRUPTED : OMEN_OK);
        for (uint64_t row = 0; row < n * KEYS_ROWS; row++) {
            omen_row_key key;
            int64_t found;
            CHECK_EQ_INT(omen_joint_key_of(k.joint, row, &key, &detail), OMEN_OK);
            CHECK_EQ_INT(omen_joint_row_of_key(k.joint, &key, &found, &detail), OMEN_OK);
            CHECK_EQ_INT(found, row);
        }
        omen_row_key key = {.kind = kind, .number = 1u << 30};
        int64_t found;
        CHECK_EQ_INT(omen_joint_key_of(k.joint, n * KEYS_ROWS, &key, &detail), OMEN_ERR_ARGUMENT);
        key = (omen_row_key){.kind = kind,
                             .number = kind == OMEN_KEYS_TEXT ? 0 : 1u << 30,
                             .text = "none",
                             .n_bytes = kind == OMEN_KEYS_TEXT ? 4 : 0};
        CHECK_EQ_INT(omen_joint_row_of_key(k.joint, &key, &found, &detail), OMEN_OK);
        CHECK_EQ_INT(found, OMEN_NO_ROW);
        keyed_free(&k, &bare, n);
        for (uint32_t clash = 0; clash < KEYS_ROWS && n > 1; clash += kind == OMEN_KEYS_TEXT ? 2 : 7) {
            char first_row[40], last_row[40];
            const size_t with = clash % (n - 1);
            keyed_make(&k, &bare, kind, pattern, n, clash, with);
            /* of text, a key of an even row is as long as any other */
            const bool is_shared = kind != OMEN_KEYS_TEXT || clash / 2 % 2 == 0;
            const int status = omen_joint_check_keys(k.joint, NULL, NULL, &detail);
            CHECK_CASE(status == (is_shared ? OMEN_ERR_INPUT : OMEN_OK), "%zu parts, pattern %zu, row %u: %d", n,
                       pattern, clash, status);
            snprintf(first_row, sizeof first_row, "two indexes: row %u of", clash / 2);
            snprintf(last_row, sizeof last_row, "and row %u of", clash);
            if (is_shared) {
                CHECK_STR_CONTAINS(detail.text, first_row);
                CHECK_STR_CONTAINS(detail.text, last_row);
            }
            keyed_free(&k, &bare, n);
        }
    }
    sections_free(&bare);
    rows_free(&rows);
}

/* Texts that are keys of a kind or not, and kinds that there are not. */
static void test_key_texts(void)
{
    char digits[150];
    omen_row_key key;
    memset(digits, '1', sizeof digits);
    CHECK_EQ_INT(omen_row_key_parse(OMEN_KEYS_INT64, digits, sizeof digits, &key, &detail), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(detail.text, "is no int64");
    CHECK_EQ_INT(omen_row_key_parse(OMEN_KEYS_UINT64, "-1", 2, &key, &detail), OMEN_ERR_INPUT);
    CHECK_EQ_INT(omen_row_key_parse(OMEN_KEYS_INT64, "-1", 2, &key, &detail), OMEN_OK);
    CHECK_EQ_INT((int64_t)key.number, -1);
    CHECK(strcmp(omen_key_kind_name((omen_key_kind)99), "?") == 0);
}

/* Keys of two kinds cannot be compared, nor be told of several indexes. */
static void test_key_kinds(void)
{
    rows_in_memory rows = make_rows(KEYS_ROWS, D, CLUSTERED, 3);
    sections_in_memory bare = {.n = 0};
    omen_build_options options;
    omen_joint *joint = NULL;
    keyed a, b;
    omen_build_options_init(&options);
    options.lists.n = 1;
    omen_index_close(make_index(&rows, &options, &bare));
    keyed_make(&a, &bare, OMEN_KEYS_INT64, 0, 1, -1, 0);
    keyed_make(&b, &bare, OMEN_KEYS_TEXT, 0, 1, -1, 0);
    const omen_index *const both[] = {a.indexes[0], b.indexes[0]};
    CHECK_EQ_INT(omen_joint_create(&joint, both, NULL, 2, &detail), OMEN_OK);
    CHECK_EQ_INT(omen_joint_check_keys(joint, NULL, NULL, &detail), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(detail.text, "are int64, and those of");
    omen_joint_destroy(joint);
    keyed_free(&a, &bare, 1);
    keyed_free(&b, &bare, 1);
    sections_free(&bare);
    rows_free(&rows);
}

int main(void)
{
    RUN(test_combinations);
    RUN(test_other_models);
    RUN(test_estimates);
    RUN(test_within);
    RUN(test_filters);
    RUN(test_numbers_and_refusals);
    RUN(test_keys);
    RUN(test_key_texts);
    RUN(test_key_kinds);
    return check_finish();
}
