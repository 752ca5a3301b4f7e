/* SPDX-License-Identifier: Apache-2.0 */
/* Search for all rows within a distance, and of rows among themselves, against all rows in order of distance. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/index.h"
#include "lib/lists/lists_errors.h"
#include "lib/omendb_rows.h"
#include "lib/row_set.h"
#include "tests/unit/check.h"
#include "tests/unit/index_cases.h"

#define N_ROWS    1500u
#define N_QUERIES 24u
#define D         24u
#define K         10u

/* ---- one search ---- */

static omen_found *within(const omen_index *index, const omen_search_options *options, const float *queries, uint64_t n)
{
    omen_found *found = NULL;
    const int status = omen_index_search_within(index, options, queries, n, &found, NULL, &detail);
    CHECK_CASE(status == OMEN_OK, "%d, %s", status, detail.text);
    CHECK_EQ_INT(found ? found->n_queries : UINT64_MAX, n);
    return found;
}

static bool same_found(const omen_found *a, const omen_found *b)
{
    const uint64_t n = a->first[a->n_queries];
    return a->n_queries == b->n_queries && memcmp(a->first, b->first, (a->n_queries + 1) * sizeof *a->first) == 0 &&
           memcmp(a->ids, b->ids, n * sizeof *a->ids) == 0 &&
           memcmp(a->distances, b->distances, n * sizeof *a->distances) == 0 &&
           memcmp(a->is_cut, b->is_cut, a->n_queries) == 0;
}

/* Whether a set has a row, by its number; NULL has all. */
static bool passes(const omen_index *index, const omen_row_set *set, int64_t id)
{
    for (uint64_t i = 0; set && i < N_ROWS; i++)
        if (index->ids[i] == (uint32_t)id)
            return omen_row_set_has(set, i);
    return !set;
}

/* How many of all rows of a query, which are in order, are in the set and within the distance; their first `most` must
 * be what was found, if that is complete, else what was found must be some of them, in this order. */
static uint64_t check_query(const omen_index *index, const results *all, uint64_t q, const omen_found *found,
                            const omen_search_options *o, const omen_row_set *set, bool complete, const char *what)
{
    const uint64_t begin = found->first[q], end = found->first[q + 1];
    const uint64_t most = o->limit ? o->limit : UINT64_MAX;
    uint64_t n = 0, at = begin;
    for (uint64_t i = 0; i < all->k && all->distances[q * all->k + i] <= o->within; i++) {
        if (!passes(index, set, all->ids[q * all->k + i]))
            continue;
        const bool is_next = at < end && found->ids[at] == all->ids[q * all->k + i] &&
                             found->distances[at] == all->distances[q * all->k + i];
        CHECK_CASE(is_next || !complete || n >= most, "%s, query %llu: lacks row %lld", what, (unsigned long long)q,
                   (long long)all->ids[q * all->k + i]);
        at += is_next;
        n++;
    }
    CHECK_CASE(at == end, "%s, query %llu: %llu rows that are not within", what, (unsigned long long)q,
               (unsigned long long)(end - at));
    CHECK_CASE(!complete || found->is_cut[q] == (n > most), "%s, query %llu", what, (unsigned long long)q);
    return n;
}

/* ---- one index ---- */

/* Returns the share found of what is within the distance. */
static double check_distance(const omen_index *index, const omen_search_options *base, const rows_in_memory *queries,
                             const results *all, const omen_row_set *set, bool complete, const char *what)
{
    const omen_row_set *sets[N_QUERIES];
    omen_search_options o = *base;
    uint64_t n = 0, n_found = 0;
    for (size_t i = 0; i < N_QUERIES; i++)
        sets[i] = set;
    o.row_sets = set ? sets : NULL;
    o.has_within = true;
    omen_found *found = within(index, &o, queries->x, N_QUERIES);
    for (uint64_t q = 0; q < N_QUERIES && found; q++)
        n += check_query(index, all, q, found, &o, set, complete, what);
    n_found = found ? found->first[N_QUERIES] : 0;
    omen_found_destroy(found);
    return n ? (double)n_found / (double)n : 1;
}

/* The same whatever computes it, and for each query alone. */
static void check_variants(const omen_index *index, const omen_search_options *base, const rows_in_memory *queries,
                           const char *what)
{
    omen_search_options o = *base;
    select_variant(&variants[0]);
    o.n_threads = 1;
    omen_found *want = within(index, &o, queries->x, N_QUERIES);
    for (size_t v = 1; v < N_VARIANTS; v++) {
        if (!select_variant(&variants[v]))
            continue;
        o.n_threads = variants[v].n_threads;
        omen_found *got = within(index, &o, queries->x, N_QUERIES);
        CHECK_CASE(same_found(want, got), "%s: %s, %d threads", what,
                   variants[v].level ? variants[v].level : "best level", o.n_threads);
        omen_found_destroy(got);
    }
    select_variant(&(struct variant){NULL, 0});
    for (uint64_t q = 0; q < N_QUERIES; q++) {
        omen_found *one = within(index, &o, queries->x + q * D, 1);
        const uint64_t n = want->first[q + 1] - want->first[q];
        CHECK_CASE(one->first[1] == n && memcmp(one->ids, want->ids + want->first[q], n * sizeof *one->ids) == 0,
                   "%s: query %llu alone", what, (unsigned long long)q);
        omen_found_destroy(one);
    }
    omen_found_destroy(want);
}

static omen_row_set *every_third(const omen_index *index)
{
    int64_t ids[N_ROWS / 3];
    omen_row_set *set = NULL;
    for (uint32_t i = 0; i < N_ROWS / 3; i++)
        ids[i] = 3 * (int64_t)i;
    CHECK_EQ_INT(omen_row_set_create(index, ids, N_ROWS / 3, false, &set, &detail), OMEN_OK);
    return set;
}

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* The median distance of a rank. */
static float distance_of_rank(const results *all, uint32_t rank)
{
    float values[N_QUERIES];
    for (uint32_t q = 0; q < N_QUERIES; q++)
        values[q] = all->distances[q * all->k + rank];
    qsort(values, N_QUERIES, sizeof *values, by_value);
    return values[N_QUERIES / 2];
}

static void check_index(const omen_index *index, const omen_build_options *build, const rows_in_memory *rows,
                        const rows_in_memory *queries)
{
    omen_search_options o;
    char what[240];
    const bool refined = build->refine != OMEN_REFINE_NONE;
    omen_search_options_init(&o);
    o.k = N_ROWS;
    o.exact = refined;
    o.lists.probes = refined ? 0 : index->meta.n_lists;
    results all = search(index, &o, queries->x, N_QUERIES);
    omen_row_set *third = every_third(index);
    const float distances[] = {-INFINITY,
                               distance_of_rank(&all, 0),
                               distance_of_rank(&all, 10),
                               distance_of_rank(&all, 200),
                               distance_of_rank(&all, N_ROWS - 1),
                               FLT_MAX};
    double sum = 0;
    for (size_t i = 0; i < 12; i++) {
        const omen_row_set *set = i % 2 ? third : NULL;
        o.within = i < 2 ? -FLT_MAX : distances[i / 2];
        snprintf(what, sizeof what, "%s, within %g%s", case_name(rows, build), (double)o.within, set ? ", filter" : "");
        check_distance(index, &o, queries, &all, set, true, what);
        o.limit = 7;
        check_distance(index, &o, queries, &all, set, true, what);
        o.limit = 0;
        if (refined) {
            o.exact = false;
            const double recall = check_distance(index, &o, queries, &all, set, false, what);
            CHECK_CASE(recall >= 0.85, "%s: recall %.3f", what, recall);
            sum += recall / 12;
            o.exact = true;
        }
    }
    if (refined) {
        printf("# %s: recall %.3f\n", case_name(rows, build), sum);
        CHECK_CASE(sum >= 0.95, "%s: recall %.3f", case_name(rows, build), sum);
    }
    o.exact = false;
    o.lists.probes = 0;
    o.has_within = true;
    o.within = distances[2];
    o.limit = 9;
    check_variants(index, &o, queries, case_name(rows, build));
    omen_row_set_destroy(third);
    results_free(&all);
}

static void test_all_kinds(void)
{
    rows_in_memory rows = make_rows(N_ROWS, D, CLUSTERED, 1), queries = make_rows(N_QUERIES, D, CLUSTERED, 1000);
    for (int i = 0; i < 72; i += check_quick() ? 5 : 1) {
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

/* Rows set apart under ip are in lists too, and found once. */
static void test_apart(void)
{
    rows_in_memory rows = make_rows(N_ROWS, D, CLUSTERED, 1), queries = make_rows(N_QUERIES, D, CLUSTERED, 1000);
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < D; j++)
            rows.x[(100 + i) * D + j] *= 40;
    memset(queries.x, 0, D * sizeof *queries.x); /* as near to all */
    omen_build_options o;
    omen_build_options_init(&o);
    o.metric = OMEN_METRIC_IP;
    sections_in_memory sections;
    omen_index *index = make_index(&rows, &o, &sections);
    CHECK(index->n_apart > 0);
    check_index(index, &o, &rows, &queries);
    omen_index_close(index);
    sections_free(&sections);
    rows_free(&rows);
    rows_free(&queries);
}

/* ---- rows among themselves ---- */

typedef struct {
    const omen_index *index;
    const omen_search_options *options;
    const omen_row_set *set;
    results all; /* of every row, by its number, all others in order */
    bool *seen;
    uint64_t n_found, n_wanted, n_taken;
    int answer;
} self_check;

static int take(void *context, const int64_t *rows, const omen_found *found, omen_detail *why)
{
    self_check *c = context;
    const omen_search_options *o = c->options;
    const uint64_t most = !o->has_within ? o->k : o->limit ? o->limit : UINT64_MAX;
    c->n_taken++;
    for (uint64_t q = 0; q < found->n_queries; q++) {
        const uint64_t row = (uint64_t)rows[q], end = found->first[q + 1];
        uint64_t at = found->first[q], n = 0;
        CHECK(!c->seen[row] && passes(c->index, c->set, rows[q]));
        c->seen[row] = true;
        c->n_found += end - at;
        for (uint32_t i = 0; i < c->all.k; i++) {
            const int64_t id = c->all.ids[row * c->all.k + i];
            const float distance = c->all.distances[row * c->all.k + i];
            if (id == rows[q] || !passes(c->index, c->set, id) || (o->has_within && distance > o->within))
                continue;
            n++;
            c->n_wanted += n <= most;
            at += at < end && found->ids[at] == id && found->distances[at] == distance;
            if (o->exact && n <= most)
                CHECK_CASE(at - found->first[q] == n, "row %llu lacks row %lld", (unsigned long long)row,
                           (long long)id);
        }
        CHECK_CASE(at == end, "row %llu found others, or itself", (unsigned long long)row);
        CHECK(!o->exact || found->is_cut[q] == (o->has_within && n > most));
    }
    return c->answer;
}

/* Returns the recall. */
static double check_self(const omen_index *index, const omen_search_options *options, const omen_row_set *set,
                         const results *all)
{
    self_check c = {.index = index, .options = options, .set = set, .all = *all};
    uint64_t n = 0;
    c.seen = calloc(N_ROWS, sizeof *c.seen);
    CHECK_EQ_INT(omen_index_search_self(index, options, set, 0, take, &c, NULL, &detail), OMEN_OK);
    for (uint64_t i = 0; i < N_ROWS; i++)
        n += c.seen[i];
    CHECK_EQ_INT(n, set ? omen_row_set_count(set) : N_ROWS);
    /* what is left of an earlier search: those that it handed out first are left out */
    self_check rest = {.index = index, .options = options, .set = set, .all = *all, .seen = calloc(N_ROWS, 1)};
    uint64_t n_rest = 0;
    CHECK_EQ_INT(omen_index_search_self(index, options, set, n / 3, take, &rest, NULL, &detail), OMEN_OK);
    for (uint64_t i = 0; i < N_ROWS; i++)
        n_rest += rest.seen[i];
    CHECK_EQ_INT(n_rest, n - n / 3);
    rest.n_taken = 0;
    CHECK_EQ_INT(omen_index_search_self(index, options, set, n, take, &rest, NULL, &detail), OMEN_OK);
    CHECK_EQ_INT(rest.n_taken, 0);
    free(rest.seen);
    free(c.seen);
    return c.n_wanted ? (double)c.n_found / (double)c.n_wanted : 1;
}

/* The rows as the index has them. */
static float *read_all(const omen_index *index, omen_index_rows **rows)
{
    float *x = malloc((size_t)N_ROWS * D * sizeof *x), *by_row = malloc((size_t)N_ROWS * D * sizeof *x);
    CHECK_EQ_INT(omen_index_rows_open_set(rows, index, NULL, &detail), OMEN_OK);
    const omen_source source = omen_index_rows_source(*rows);
    CHECK_EQ_INT(source.n_rows, N_ROWS);
    CHECK_EQ_INT(source.read(source.self, 0, N_ROWS, x, &detail), OMEN_OK);
    for (uint64_t i = 0; i < N_ROWS; i++)
        memcpy(by_row + omen_index_rows_number(*rows, i) * D, x + i * D, D * sizeof *x);
    free(x);
    return by_row;
}

static void test_self(void)
{
    static const rows_kind kinds[] = {CLUSTERED, DUPLICATES, CLUSTERED, CLUSTERED};
    for (int i = 0; i < 4; i += check_quick() ? 3 : 1) {
        rows_in_memory rows = make_rows(N_ROWS, D, kinds[i], 1);
        omen_build_options b;
        omen_build_options_init(&b);
        b.metric = i == 2 ? OMEN_METRIC_COSINE : i == 3 ? OMEN_METRIC_IP : OMEN_METRIC_L2;
        b.zero_ok = true;
        if (i == 2)
            memset(rows.x + 41 * D, 0, D * sizeof *rows.x);
        sections_in_memory sections;
        omen_index *index = make_index(&rows, &b, &sections);
        omen_index_rows *opened;
        float *x = read_all(index, &opened);
        omen_search_options o;
        omen_search_options_init(&o);
        o.k = N_ROWS;
        o.exact = o.zero_ok = true;
        results all = search(index, &o, x, N_ROWS);
        omen_row_set *third = every_third(index);
        o.k = K;
        for (int j = 0; j < 6; j++) {
            const omen_row_set *set = j % 2 ? third : NULL;
            o.has_within = j >= 2;
            o.within = all.distances[700 * (uint64_t)N_ROWS + 20];
            o.limit = j >= 4 ? 5 : 0;
            o.exact = true;
            CHECK(check_self(index, &o, set, &all) == 1);
            o.exact = false;
            const double recall = check_self(index, &o, set, &all);
            CHECK_CASE(recall >= 0.93 || kinds[i] == DUPLICATES, "%s, case %d: recall %.3f", case_name(&rows, &b), j,
                       recall);
        }
        omen_row_set_destroy(third);
        omen_index_rows_close(opened);
        free(x);
        results_free(&all);
        omen_index_close(index);
        sections_free(&sections);
        rows_free(&rows);
    }
}

/* ---- the errors of estimates ---- */

/* They are measured where a range needs them, once, and are the same for any number of threads. */
static void test_errors(void)
{
    const omen_list_errors few = {.n = 4, .values = {-1, 0, 2, 5}}, none = {.n = 0};
    rows_in_memory rows = make_rows(N_ROWS, D, CLUSTERED, 1);
    omen_build_options b;
    omen_search_options o;
    omen_build_options_init(&b);
    b.bytes = 8;
    sections_in_memory sections;
    omen_index *index = make_index(&rows, &b, &sections), *other = NULL;
    omen_row_set *set;
    int64_t ids[K], some[] = {1, 5, 9};
    CHECK(omen_list_errors_quantile(&none, 1) == 0);
    CHECK(omen_list_errors_quantile(&few, 0) == -1 && omen_list_errors_quantile(&few, 0.5) == 0);
    CHECK(omen_list_errors_quantile(&few, 0.51) == 2 && omen_list_errors_quantile(&few, 1) == 5);
    omen_search_options_init(&o);
    o.k = K;
    CHECK_EQ_INT(omen_row_set_create(index, some, 3, true, &set, &detail), OMEN_OK);
    o.row_sets = (const omen_row_set *const[]){set};
    CHECK_EQ_INT(omen_index_search(index, &o, rows.x, 1, ids, NULL, NULL, &detail), OMEN_OK);
    CHECK(!index->errors); /* of no use to a filter */
    o.row_sets = NULL;
    o.has_within = true;
    o.within = 0.5f;
    o.n_threads = 1;
    omen_found_destroy(within(index, &o, rows.x, 1));
    const omen_list_errors *errors = index->errors;
    CHECK(errors && errors->n > OMEN_ERRORS / 2);
    o.n_threads = 3;
    omen_found_destroy(within(index, &o, rows.x, 1));
    CHECK(index->errors == errors);
    CHECK_EQ_INT(omen_index_open(&other, sections.sections, sections.n, &detail), OMEN_OK);
    omen_found_destroy(within(other, &o, rows.x, 1));
    CHECK(errors && other->errors && memcmp(errors, other->errors, sizeof *errors) == 0);
    omen_row_set_destroy(set);
    omen_index_close(index);
    omen_index_close(other);
    sections_free(&sections);
    rows_free(&rows);
}

/* ---- refusals ---- */

static void refuse_within(const omen_index *index, const omen_search_options *o, const float *query, const char *part)
{
    omen_found *found;
    CHECK_EQ_INT(omen_index_search_within(index, o, query, 1, &found, NULL, &detail), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(detail.text, part);
    CHECK(!found);
}

static void test_refusals(void)
{
    rows_in_memory rows = make_rows(N_ROWS, D, CLUSTERED, 1);
    omen_build_options b;
    omen_build_options_init(&b);
    sections_in_memory sections;
    omen_index *index = make_index(&rows, &b, &sections);
    omen_search_options o;
    int64_t ids[K];
    omen_search_options_init(&o);
    refuse_within(index, &o, rows.x, "options.within has to be given");
    o.has_within = true;
    CHECK_EQ_INT(omen_index_search(index, &o, rows.x, 1, ids, NULL, NULL, &detail), OMEN_ERR_ARGUMENT);
    o.within = NAN;
    refuse_within(index, &o, rows.x, "must be a number");
    o.within = INFINITY;
    refuse_within(index, &o, rows.x, "must be a number");
    o.within = 1;
    o.rerank = 5;
    refuse_within(index, &o, rows.x, "options.rerank");
    o.rerank = 0;
    o.way = OMEN_SEARCH_GRAPH;
    refuse_within(index, &o, rows.x, "a graph is not searched");
    self_check none = {.index = index, .options = &o};
    CHECK_EQ_INT(omen_index_search_self(index, &o, NULL, 0, take, &none, NULL, &detail), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(detail.text, "not the graph");
    o.way = OMEN_SEARCH_AUTO;
    omen_found_destroy(NULL);

    self_check c = {.index = index, .options = &o, .answer = -55, .seen = calloc(N_ROWS, 1)};
    const omen_row_set *sets[] = {NULL};
    o.within = -1; /* no row is */
    CHECK_EQ_INT(omen_index_search_self(index, &o, NULL, 0, take, &c, NULL, &detail), -55);
    CHECK_EQ_INT(c.n_taken, 1);
    free(c.seen);
    o.row_sets = sets;
    CHECK_EQ_INT(omen_index_search_self(index, &o, NULL, 0, take, &c, NULL, &detail), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(detail.text, "options.row_sets");
    o = (omen_search_options){.struct_bytes = sizeof o};
    CHECK_EQ_INT(omen_index_search_self(index, &o, NULL, 0, take, &c, NULL, &detail), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(detail.text, "k must be");
    omen_index_close(index);

    /* two positions of one row */
    for (size_t i = 0; i < sections.n; i++)
        if (sections.sections[i].id == OMEN_SECTION_PERM) {
            uint32_t *ids_of = (uint32_t *)(uintptr_t)sections.sections[i].data;
            ids_of[18] = ids_of[17];
        }
    CHECK_EQ_INT(omen_index_open(&index, sections.sections, sections.n, &detail), OMEN_OK);
    c = (self_check){.index = index, .options = &o, .seen = calloc(N_ROWS, 1)};
    o.has_within = true;
    o.within = -1;
    CHECK_EQ_INT(omen_index_search_self(index, &o, NULL, 0, take, &c, NULL, &detail), OMEN_ERR_CORRUPT);
    CHECK_STR_CONTAINS(detail.text, "section PERM");
    o.within = 1e30f;
    omen_found *found;
    CHECK_EQ_INT(omen_index_search_within(index, &o, rows.x, 1, &found, NULL, &detail), OMEN_ERR_CORRUPT);
    free(c.seen);
    omen_index_close(index);
    sections_free(&sections);
    rows_free(&rows);
}

static int stop(void *context, const char *stage, uint64_t done, uint64_t total)
{
    return 1;
}

static void test_interrupted(void)
{
    rows_in_memory rows = make_rows(N_ROWS, D, CLUSTERED, 1);
    omen_build_options b;
    omen_build_options_init(&b);
    sections_in_memory sections;
    omen_index *index = make_index(&rows, &b, &sections);
    omen_search_options o;
    omen_search_options_init(&o);
    o.progress = stop;
    o.has_within = true;
    o.within = 1;
    for (size_t i = 0; i < 2; i++) {
        omen_found *found;
        o.exact = i;
        CHECK_EQ_INT(omen_index_search_within(index, &o, rows.x, 1, &found, NULL, &detail), OMEN_ERR_INTERRUPTED);
    }
    omen_index_close(index);
    sections_free(&sections);
    rows_free(&rows);
}

int main(void)
{
    RUN(test_all_kinds);
    RUN(test_apart);
    RUN(test_self);
    RUN(test_errors);
    RUN(test_refusals);
    RUN(test_interrupted);
    return check_finish();
}
