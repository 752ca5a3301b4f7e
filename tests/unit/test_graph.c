/* SPDX-License-Identifier: Apache-2.0 */
/* The graph: its codes, that it is sound and finds what is near whatever the rows, the choice between the ways, and
 * sections that no build makes. */
#include <math.h>
#include <stdlib.h>

#include "lib/graph/graph.h"
#include "lib/matrix.h"
#include "tests/unit/check.h"
#include "tests/unit/index_cases.h"

/* ---- codes ---- */

/* What is left of a dimension's variance by its nibbles is what the estimate misses. */
static void test_codes(void)
{
    static const uint32_t dims[] = {1, 2, 7, 40, 60, 119, 120, 121, 256, 700};
    for (size_t c = 0; c < sizeof dims / sizeof *dims; c++) {
        const uint32_t d = dims[c];
        double means[700], variances[700];
        float ranges[700][2], row[700], query[700];
        omen_graph_scales scales = {.d = d, .ranges = ranges};
        for (uint32_t j = 0; j < d; j++) {
            means[j] = 0.02 * omen_random_unit(1, j);
            variances[j] = 9.0 / (1 + j);
        }
        omen_graph_scales_fit(&scales, means, variances);
        CHECK_CASE(omen_graph_scales_are_sound(scales.dims, (const float(*)[2])ranges, d), "scales of %u", d);
        double errors = 0, sum = 0;
        for (uint64_t i = 0; i < 50; i++) {
            uint8_t code[OMEN_GRAPH_CODE_BYTES];
            omen_graph_query q;
            double want = 1.5;
            for (uint32_t j = 0; j < d; j++) {
                const double spread = sqrt(3 * variances[j]);
                row[j] = (float)(means[j] + spread * (2 * omen_random_unit(2 + i, j) - 1));
                query[j] = (float)(means[j] + spread * (2 * omen_random_unit(900 + i, j) - 1));
                want += (double)(row[j] - query[j]) * (double)(row[j] - query[j]);
            }
            omen_graph_encode(&scales, row, 1, code);
            CHECK(omen_graph_code_is_sound(code));
            omen_graph_query_make(scales.dims, (const float(*)[2])ranges, d, query, 0.5f, &q);
            float estimate;
            const uint32_t zero = 0;
            omen_kernels_get()->graph_estimates(code, &zero, 1, (const int8_t(*)[64])q.weights, q.unit, &estimate);
            errors += fabs((double)estimate + (double)q.offset - want);
            sum += want;
        }
        const double most = d <= 60 ? 0.01 : d <= 120 ? 0.05 : 0.1;
        CHECK_CASE(errors < most * sum, "%u dimensions: estimates are off by %g of the distance", d, errors / sum);
    }
}

/* ---- graphs ---- */

static int n_faults;

static void count_fault(void *context, const char *section, const char *text)
{
    n_faults++;
    printf("# %s: %s\n", section, text);
}

/* Share of the exact neighbours, by distance, that the graph finds at its default effort. */
static double recall_of(const omen_index *index, const rows_in_memory *queries, uint32_t k, const char *what)
{
    omen_search_options options;
    omen_search_options_init(&options);
    options.k = k;
    options.way = OMEN_SEARCH_GRAPH;
    options.zero_ok = true;
    results found = search(index, &options, queries->x, queries->n);
    check_distinct(&found, index->meta.n_rows, what);
    options.way = OMEN_SEARCH_EXACT;
    results exact = search(index, &options, queries->x, queries->n);
    uint64_t hits = 0;
    for (uint64_t q = 0; q < exact.n_queries; q++)
        for (uint32_t i = 0; i < k; i++)
            hits += found.distances[q * k + i] <= exact.distances[q * k + k - 1];
    results_free(&found);
    results_free(&exact);
    return (double)hits / (double)(queries->n * k);
}

/* Builds, checks and searches; every variant gives the same sections. Returns the recall. */
static double try_graph(rows_in_memory *rows, const rows_in_memory *queries, omen_build_options *o, uint32_t k)
{
    static size_t turn;
    sections_in_memory sections = {0}, others = {0};
    double recall = 0;
    o->graph.wanted = true;
    const struct variant *v = &variants[turn++ % N_VARIANTS];
    if (select_variant(v))
        o->n_threads = v->n_threads;
    omen_index *index = make_index(rows, o, &sections);
    CHECK_EQ_INT(omen_cpu_select(NULL, NULL), OMEN_OK);
    if (!index)
        return 0;
    o->n_threads = 2;
    CHECK_EQ_INT(build(rows, o, &others), OMEN_OK);
    CHECK_CASE(same_sections(&sections, &others), "%s: level %s, %d threads", case_name(rows, o), v->level,
               v->n_threads);
    n_faults = 0;
    CHECK_EQ_INT(omen_index_check(index, count_fault, NULL), OMEN_OK);
    CHECK_EQ_INT(n_faults, 0);
    CHECK(index->graph.degree == (o->graph.degree ? o->graph.degree : OMEN_DEFAULT_DEGREE));
    recall = recall_of(index, queries, k, case_name(rows, o));
    omen_index_close(index);
    sections_free(&sections);
    sections_free(&others);
    return recall;
}

/* From one row on, rows that are all equal or that have copies: each graph is sound, and finds k rows. */
static void test_kinds(void)
{
    static const uint64_t counts[] = {1, 2, 3, 9, 40, 700};
    for (int kind = 0; kind < N_KINDS; kind++) {
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            const uint32_t k = counts[c] < 10 ? (uint32_t)counts[c] : 10;
            rows_in_memory rows = make_rows(counts[c], 20, (rows_kind)kind, 1),
                           queries = make_rows(20, 20, (rows_kind)kind, 9);
            omen_build_options o;
            omen_build_options_init(&o);
            o.metric = (omen_metric)(((size_t)kind + c) % 3);
            o.zero_ok = o.metric == OMEN_METRIC_COSINE;
            o.graph.degree = c % 2 ? 8 : 0;
            const double recall = try_graph(&rows, &queries, &o, k);
            /* a graph of few neighbours may miss some; few rows are all looked at */
            const double least = counts[c] <= 10 ? 1 : 0.8;
            CHECK_CASE(recall >= least, "%s: recall %.3f", case_name(&rows, &o), recall);
            rows_free(&rows);
            rows_free(&queries);
        }
    }
}

static void test_recall(void)
{
    rows_in_memory rows = make_rows(3000, 40, CLUSTERED, 1), queries = make_rows(200, 40, CLUSTERED, 1000);
    static const omen_refine tiers[] = {OMEN_REFINE_AUTO, OMEN_REFINE_F32, OMEN_REFINE_SQ8, OMEN_REFINE_F16};
    for (int i = 0; i < 4; i++) {
        omen_build_options o;
        omen_build_options_init(&o);
        o.metric = i % 2 ? OMEN_METRIC_COSINE : OMEN_METRIC_L2;
        o.refine = tiers[i];
        o.codec = i == 3 ? OMEN_CODEC_NONE : OMEN_CODEC_AUTO;
        const double recall = try_graph(&rows, &queries, &o, 10);
        printf("# %s: recall@10 %.3f\n", case_name(&rows, &o), recall);
        CHECK_CASE(recall >= 0.93, "%s: recall@10 %.3f", case_name(&rows, &o), recall);
    }
    rows_free(&rows);
    rows_free(&queries);
}

/* Queries that go off in any direction are far from all rows, many of which are about as far: nearly what is found for
 * queries like the rows. */
static void test_unlike(void)
{
    enum { N = 8000, N_EACH = 300, D = 64, N_FACTORS = 20 };
    rows_in_memory rows = make_rows(N, D, CLUSTERED, 1), queries = make_rows(N_EACH, D, CLUSTERED, 2);
    for (uint64_t i = 0; i < N + N_EACH; i++) {
        float *row = i < N ? rows.x + i * D : queries.x + (i - N) * D;
        for (uint64_t j = 0; j < D; j++) {
            row[j] = i < N ? 0.8f : 0;
            for (uint64_t f = 0; f < 4; f++)
                row[j] += 2 * (float)omen_random_unit(1, 4 * (D * i + j) + f) - 1;
            for (uint64_t f = 0; f < N_FACTORS && i < N; f++)
                row[j] += (4 * (float)omen_random_unit(2, N_FACTORS * i + f) - 2) *
                          ((float)omen_random_unit(3, D * f + j) - 0.5f);
        }
    }
    omen_build_options o;
    omen_build_options_init(&o);
    o.metric = OMEN_METRIC_COSINE;
    o.refine = OMEN_REFINE_F32;
    const double recall = try_graph(&rows, &queries, &o, 10);
    printf("# queries unlike the rows: recall@10 %.3f\n", recall);
    CHECK_CASE(recall >= 0.9, "recall@10 %.3f", recall);
    rows_free(&rows);
    rows_free(&queries);
}

/* Lists that are long are cut into leaves, and what many rows are copies of still finds the others. */
static void test_leaves(void)
{
    rows_in_memory rows = make_rows(5000, 12, CLUSTERED, 3), queries = make_rows(100, 12, CLUSTERED, 5);
    omen_build_options o;
    omen_build_options_init(&o);
    o.lists.n = 1;
    for (uint64_t i = 0; i < 1500; i++) /* a third of the rows are one */
        memcpy(rows.x + (3 * i + 1) * 12, rows.x + 12, 12 * sizeof *rows.x);
    const double recall = try_graph(&rows, &queries, &o, 10);
    CHECK_CASE(recall >= 0.93, "recall@10 %.3f", recall);
    rows_free(&rows);
    rows_free(&queries);
}

/* A query's answer is its own; a factor raises the effort, and 1 leaves it as it is. */
static void test_effort(void)
{
    enum { n_queries = 60, d = 24 };
    rows_in_memory rows = make_rows(3000, d, CLUSTERED, 5), queries = make_rows(n_queries, d, CLUSTERED, 6);
    sections_in_memory sections = {0};
    omen_build_options o;
    omen_build_options_init(&o);
    o.graph.wanted = true;
    omen_index *index = make_index(&rows, &o, &sections);
    omen_search_options options;
    omen_search_options_init(&options);
    options.way = OMEN_SEARCH_GRAPH;
    results all = search(index, &options, queries.x, n_queries);
    for (uint64_t q = 0; q < n_queries; q++) {
        options.n_threads = 1 + (int)(q % 3);
        results one = search(index, &options, queries.x + q * d, 1);
        CHECK_CASE(memcmp(one.ids, all.ids + q * 10, 10 * sizeof *one.ids) == 0, "query %llu alone",
                   (unsigned long long)q);
        results_free(&one);
    }
    static const float factors[] = {0, 1, 2, 0.5f};
    uint64_t taken[4];
    for (int f = 0; f < 4; f++) {
        omen_search_stats stats = {.struct_bytes = sizeof stats};
        int64_t found[n_queries * 10];
        options.effort_factor = factors[f];
        CHECK_EQ_INT(omen_index_search(index, &options, queries.x, n_queries, found, NULL, &stats, &detail), OMEN_OK);
        CHECK(stats.way == OMEN_SEARCH_GRAPH && stats.lists.probed == 0 && stats.n_queries == n_queries);
        taken[f] = stats.graph.estimates;
    }
    CHECK(taken[0] == taken[1] && taken[2] > taken[1] && taken[3] <= taken[1]);
    results_free(&all);
    omen_index_close(index);
    sections_free(&sections);
    rows_free(&rows);
    rows_free(&queries);
}

static void test_choice(void)
{
    rows_in_memory rows = make_rows(2000, 16, CLUSTERED, 1);
    for (int with = 0; with < 2; with++) {
        sections_in_memory sections = {0};
        omen_build_options o;
        omen_search_options s;
        omen_way_choice choice = {.struct_bytes = sizeof choice};
        omen_build_options_init(&o);
        omen_search_options_init(&s);
        o.graph.wanted = with;
        omen_index *index = make_index(&rows, &o, &sections);
        CHECK_EQ_INT(omen_index_choose_way(index, &s, 1, &choice, &detail), OMEN_OK);
        CHECK(choice.way == OMEN_SEARCH_LISTS || (with && choice.way == OMEN_SEARCH_GRAPH));
        CHECK((choice.graph_cost > 0) == with && choice.lists_cost > 0);
        s.lists.probes = 3;
        CHECK_EQ_INT(omen_index_choose_way(index, &s, 1, &choice, &detail), OMEN_OK);
        CHECK(choice.way == OMEN_SEARCH_LISTS);
        s.way = OMEN_SEARCH_GRAPH;
        CHECK_EQ_INT(omen_index_choose_way(index, &s, 1, &choice, &detail), OMEN_ERR_ARGUMENT);
        CHECK_STR_CONTAINS(detail.text, with ? "options.lists.probes" : "no graph");
        s.lists.probes = 0;
        CHECK_EQ_INT(omen_index_choose_way(index, &s, 1, &choice, &detail), with ? OMEN_OK : OMEN_ERR_ARGUMENT);
        s.exact = true;
        CHECK_EQ_INT(omen_index_choose_way(index, &s, 1, &choice, &detail), OMEN_OK);
        CHECK(choice.way == OMEN_SEARCH_EXACT);
        s.exact = false;
        s.way = (omen_search_way)17;
        CHECK_EQ_INT(omen_index_choose_way(index, &s, 1, &choice, &detail), OMEN_ERR_ARGUMENT);
        omen_index_close(index);
        sections_free(&sections);
    }
    rows_free(&rows);
}

static void test_refusals(void)
{
    rows_in_memory rows = make_rows(100, 8, CLUSTERED, 1);
    omen_build_options o;
    omen_build_options_init(&o);
    o.graph.wanted = true;
    o.refine = OMEN_REFINE_NONE;
    refuse_build(&rows, &o, OMEN_ERR_ARGUMENT, "refine tier");
    o.refine = OMEN_REFINE_AUTO;
    o.graph.degree = 7;
    refuse_build(&rows, &o, OMEN_ERR_ARGUMENT, "options.graph.degree");
    o.graph.degree = 129;
    refuse_build(&rows, &o, OMEN_ERR_ARGUMENT, "options.graph.degree");
    o.graph.degree = 16;
    o.graph.wanted = false;
    refuse_build(&rows, &o, OMEN_ERR_ARGUMENT, "options.graph.degree");
    rows_free(&rows);
}

/* ---- scratch ---- */

enum { SCRATCH_CODE = -78 }; /* no code of the library's */

typedef struct {
    uint64_t fail_at, n_calls; /* the call that fails, from 1; 0 for none */
    int n_taken;
} scratch_in_memory;

static int take_scratch(void *self, uint64_t n_bytes, void **out, omen_detail *why)
{
    scratch_in_memory *s = self;
    *out = ++s->n_calls == s->fail_at ? NULL : calloc(n_bytes > 0 ? n_bytes : 1, 1);
    s->n_taken += *out ? 1 : 0;
    return *out ? OMEN_OK : omen_fail(why, SCRATCH_CODE, "no scratch");
}

static void give_scratch(void *self, void *memory)
{
    scratch_in_memory *s = self;
    s->n_taken -= memory ? 1 : 0;
    free(memory);
}

/* A graph of coarse rows that are made up, some of them copies. */
static int make_edges(const omen_index *index, const omen_scratch *scratch, omen_graph_build *b)
{
    enum { D8 = 12 };
    static omen_watch watch;
    const uint64_t n = index->meta.n_rows;
    watch = omen_watch_make(NULL, NULL, "graph");
    *b = (omen_graph_build){.index = index, .degree = 8, .d8 = D8, .watch = &watch, .scratch = scratch, .why = &detail};
    b->coarse = omen_graph_take(b, n, D8);
    b->terms = b->coarse ? omen_graph_take(b, n, sizeof *b->terms) : NULL;
    if (!b->terms)
        return b->failure;
    for (uint64_t p = 0; p < n; p++) {
        for (uint64_t k = 0; k < D8; k++)
            b->coarse[p * D8 + k] = (uint8_t)(1 + 254 * omen_random_unit(p / 3 % 400, k));
        omen_graph_measure(b->coarse + p * D8, D8, &b->terms[p]);
    }
    const int status = omen_graph_build_edges(b);
    return status == OMEN_ERR_MEMORY && b->failure != OMEN_OK ? b->failure : status;
}

/* In scratch a graph is the same, and where that fails, nothing is kept. */
static void test_scratch(void)
{
    rows_in_memory rows = make_rows(800, 8, CLUSTERED, 1);
    sections_in_memory sections = {0};
    scratch_in_memory state = {0};
    const omen_scratch scratch = {.self = &state, .take = take_scratch, .give = give_scratch};
    omen_graph_build want, got;
    omen_build_options o;
    omen_build_options_init(&o);
    omen_index *index = make_index(&rows, &o, &sections);
    CHECK_EQ_INT(make_edges(index, NULL, &want), OMEN_OK);
    CHECK_EQ_INT(make_edges(index, &scratch, &got), OMEN_OK);
    CHECK(memcmp(want.edges, got.edges, rows.n * want.degree * sizeof *want.edges) == 0);
    CHECK(state.n_taken > 0);
    omen_graph_build_finish(&want);
    omen_graph_build_finish(&got);
    CHECK_EQ_INT(state.n_taken, 0);
    const uint64_t n_calls = state.n_calls;
    CHECK(n_calls >= 10);
    for (uint64_t i = 1; i <= n_calls; i++) {
        state = (scratch_in_memory){.fail_at = i};
        CHECK_EQ_INT(make_edges(index, &scratch, &got), SCRATCH_CODE);
        omen_graph_build_finish(&got);
        CHECK_EQ_INT(state.n_taken, 0);
    }
    omen_index_close(index);
    sections_free(&sections);
    rows_free(&rows);
}

/* ---- sections that no build makes ---- */

static omen_section *section_of(sections_in_memory *sections, uint32_t id)
{
    for (size_t i = 0; i < sections->n; i++)
        if (sections->sections[i].id == id)
            return &sections->sections[i];
    return NULL;
}

/* Opens, checks and searches: the first failure, or OMEN_OK. */
static int try_sections(const sections_in_memory *sections, const rows_in_memory *queries)
{
    omen_index *index = NULL;
    omen_search_options options;
    int64_t ids[50];
    int status = omen_index_open(&index, sections->sections, sections->n, &detail);
    omen_search_options_init(&options);
    options.way = OMEN_SEARCH_GRAPH;
    if (status == OMEN_OK) { /* which may find less, but nothing that is not there */
        const int found = omen_index_search(index, &options, queries->x, 5, ids, NULL, NULL, &detail);
        CHECK(found == OMEN_OK || found == OMEN_ERR_CORRUPT);
        status = omen_index_check(index, count_fault, NULL);
    }
    omen_index_close(index);
    return status;
}

static void test_forged(void)
{
    rows_in_memory rows = make_rows(600, 16, CLUSTERED, 1), queries = make_rows(5, 16, CLUSTERED, 2);
    static const struct {
        uint32_t id;
        size_t at; /* of a value of four bytes */
        uint32_t value;
    } forgeries[] = {
        {OMEN_SECTION_GADJ, 64, 600},         {OMEN_SECTION_GADJ, 64, 2},          {OMEN_SECTION_GADJ, 0, UINT32_MAX},
        {OMEN_SECTION_GADJ, 5, 0x80000001u},  {OMEN_SECTION_GENT, 0, 600},         {OMEN_SECTION_GENT, 0, UINT32_MAX},
        {OMEN_SECTION_GDIM, 0, 17},           {OMEN_SECTION_GDIM, 119, 0},         {OMEN_SECTION_GSCL, 0, 0x7fc00000u},
        {OMEN_SECTION_GSCL, 1, 0xbf800000u},  {OMEN_SECTION_GSCL, 1, 0x7f000000u}, {OMEN_SECTION_GCOD, 15, 0x7f800000u},
        {OMEN_SECTION_GECD, 15, 0x7fc00000u}, {OMEN_SECTION_GECD, 0, 0x12345678u}, {OMEN_SECTION_GTUN, 0, 0},
        {OMEN_SECTION_GTUN, 1, 0x40000000u},  {OMEN_SECTION_GTUN, 2, 0xbf800000u}, {OMEN_SECTION_GTUN, 3, 0},
        {OMEN_SECTION_GTUN, 3, 601},          {OMEN_SECTION_GTUN, 4, 0},           {OMEN_SECTION_GTUN, 5, 601},
    };
    sections_in_memory sections = {0};
    omen_build_options o;
    omen_build_options_init(&o);
    o.graph.wanted = true;
    CHECK_EQ_INT(build(&rows, &o, &sections), OMEN_OK);
    CHECK_EQ_INT(try_sections(&sections, &queries), OMEN_OK);
    for (size_t i = 0; i < sizeof forgeries / sizeof *forgeries; i++) {
        omen_section *s = section_of(&sections, forgeries[i].id);
        uint32_t *at = (uint32_t *)s->data + forgeries[i].at;
        const uint32_t before = *at;
        *at = forgeries[i].value;
        CHECK_CASE(try_sections(&sections, &queries) == OMEN_ERR_CORRUPT, "forgery %zu, of %.4s, is not found", i,
                   (const char *)&s->id);
        *at = before;
    }
    static const uint32_t all[] = {OMEN_SECTION_GDIM, OMEN_SECTION_GSCL, OMEN_SECTION_GCOD, OMEN_SECTION_GADJ,
                                   OMEN_SECTION_GENT, OMEN_SECTION_GECD, OMEN_SECTION_GTUN};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        omen_section *s = section_of(&sections, all[i]);
        const uint64_t n_bytes = s->n_bytes;
        for (int change = -4; change <= 0; change += 4) {
            s->n_bytes = change ? n_bytes + (uint64_t)change : 0;
            CHECK_CASE(try_sections(&sections, &queries) ==
                           (s->n_bytes || s->id != OMEN_SECTION_GTUN ? OMEN_ERR_CORRUPT : OMEN_OK),
                       "%.4s of %llu bytes", (const char *)&s->id, (unsigned long long)s->n_bytes);
        }
        s->n_bytes = n_bytes;
        s->id = OMEN_FOURCC('N', 'O', 'N', 'E'); /* optional, so skipped */
        CHECK_CASE(try_sections(&sections, &queries) == (all[i] == OMEN_SECTION_GTUN ? OMEN_OK : OMEN_ERR_CORRUPT),
                   "%.4s is missing", (const char *)&all[i]);
        s->id = all[i];
    }
    CHECK_EQ_INT(try_sections(&sections, &queries), OMEN_OK);
    sections_free(&sections);
    rows_free(&rows);
    rows_free(&queries);
}

/* However large the factor, a pool holds no more rows than any other may. */
static void test_scaled_pools(void)
{
    const omen_index index = {.meta = {.n_rows = 1u << 22}};
    const uint32_t ks[] = {10, 2 * OMEN_GRAPH_POOL_MOST};
    for (size_t i = 0; i < 2; i++) {
        omen_graph_effort e = omen_graph_effort_of(&index, ks[i], 0.5f, 1000, 1);
        const uint32_t most = ks[i] > OMEN_GRAPH_POOL_MOST ? ks[i] : OMEN_GRAPH_POOL_MOST;
        CHECK(e.most_pool <= most);
        omen_graph_effort_scale(&e, &index, ks[i], 1000);
        CHECK(e.least_pool <= e.most_pool);
        CHECK_EQ_INT(e.most_pool, most);
    }
}

int main(void)
{
    RUN(test_codes);
    RUN(test_refusals);
    RUN(test_recall);
    RUN(test_kinds);
    RUN(test_unlike);
    RUN(test_leaves);
    RUN(test_effort);
    RUN(test_scaled_pools);
    RUN(test_choice);
    RUN(test_scratch);
    RUN(test_forged);
    return check_finish();
}
