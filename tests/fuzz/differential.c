/* SPDX-License-Identifier: Apache-2.0 */
/* Small random indexes, searched in every way, against a brute force in float64 that shares no code with the library.
 *
 *   differential [CASES [FIRST]]   cases FIRST (default 0) to FIRST + CASES - 1; 300, or 60 with OMEN_TEST_QUICK
 *
 * Of each case: exact search, of the index and of its source, gives the rows that the brute force does, up to rows that
 * float32 sums do not tell apart; lists and graph give as many rows as there are, each once, in order, at the distances
 * that exact search has; all that under filters; and every SIMD level and number of threads gives the same bits. A case
 * that fails is told by its number, and can be run alone. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "lib/index.h"
#include "lib/matrix.h"
#include "lib/omendb_rows.h"
#include "tests/unit/check.h"
#include "tests/unit/in_memory.h"

#define N_QUERIES    5u
#define EPS          0x1p-24
#define SPREAD_LEAST 2e-39 /* as in lib/build_train.c */

static uint64_t case_number, n_draws;

static uint64_t draw(uint64_t n)
{
    return omen_random(case_number + 0x1000, n_draws++) % n;
}

static double unit(void)
{
    return omen_random_unit(case_number + 0x2000, n_draws++);
}

static double normal(void)
{
    return sqrt(-2 * log(1 - unit())) * cos(6.283185307179586 * unit());
}

/* ---- a case ---- */

typedef enum {
    NORMAL,
    WHOLE,     /* small whole numbers: ties */
    REPEATED,  /* few rows, many times */
    ZEROS,     /* half of the rows */
    SPARSE,    /* most values */
    DENORMAL,  /* below what float32 holds in full */
    TINY,      /* around 1e-30, whose squares vanish */
    LARGE,     /* around 1e15 */
    TOO_LARGE, /* up to 1e30: squares overflow */
    MIXED,     /* every value of another size, 1e-30 to 1e15 */
    FAR,       /* near one another, far from the origin */
    LENGTHS,   /* rows of very different lengths */
    BYTES,     /* 0 to 255 */
    N_DATA
} data_kind;

static const char *const data_names[N_DATA] = {"normal",   "whole",   "repeated", "zeros",     "sparse",
                                               "denormal", "tiny",    "large",    "too large", "mixed",
                                               "far",      "lengths", "bytes"};

typedef struct test_case {
    uint64_t n;
    uint32_t d;
    data_kind data;
    omen_build_options options;
    rows_in_memory rows;
    float queries[N_QUERIES * 70];
    bool queries_are_sound;
    double most_norm2, most_value; /* of rows */
    double most_apart2;            /* squared distance of a row from the first */
    bool has_zeros;
    char text[200];
} test_case;

static float value_of(const test_case *c, double length)
{
    const double x = normal();

    switch (c->data) {
    case WHOLE:
        return (float)((int)draw(5) - 2);
    case SPARSE:
        return draw(10) ? 0 : (float)x;
    case DENORMAL:
        return (float)(x * 1e-41);
    case TINY:
        return (float)(x * 1e-30);
    case LARGE:
        return (float)(x * 1e15);
    case TOO_LARGE:
        return (float)(x * pow(10, 16 + 14 * length));
    case MIXED:
        return (float)(x * pow(10, -30 + 45 * unit()));
    case FAR:
        return (float)(3000 + x / 16);
    case LENGTHS:
        return (float)(x * pow(10, -6 + 12 * length));
    case BYTES:
        return (float)draw(256);
    default:
        return (float)x;
    }
}

static double norm2_of(const float *x, uint32_t d)
{
    double sum = 0;

    for (uint32_t j = 0; j < d; j++)
        sum += (double)x[j] * (double)x[j];
    return sum;
}

static double apart2(const float *x, const float *y, uint32_t d)
{
    double sum = 0;

    for (uint32_t j = 0; j < d; j++)
        sum += ((double)x[j] - (double)y[j]) * ((double)x[j] - (double)y[j]);
    return sum;
}

static void make_row(const test_case *c, float *to, uint64_t i)
{
    const double length = unit();

    for (uint32_t j = 0; j < c->d; j++)
        to[j] = c->data == ZEROS && i % 2 ? 0 : value_of(c, length);
}

static void make_case(test_case *c, uint64_t number)
{
    static const omen_codec codecs[] = {OMEN_CODEC_NONE, OMEN_CODEC_PQ, OMEN_CODEC_RABITQ, OMEN_CODEC_AUTO};
    omen_build_options *o = &c->options;

    case_number = number;
    n_draws = 0;
    *c = (test_case){.n = 1 + draw(draw(4) ? 60 : 300), .d = 1 + (uint32_t)draw(draw(3) ? 20 : 70)};
    c->data = (data_kind)draw(N_DATA);
    omen_build_options_init(o);
    o->metric = (omen_metric)draw(3);
    o->codec = codecs[draw(4)];
    o->refine = draw(8) ? (omen_refine)draw(OMEN_N_REFINES) : OMEN_REFINE_AUTO;
    if (o->codec == OMEN_CODEC_NONE && o->refine == OMEN_REFINE_NONE)
        o->refine = OMEN_REFINE_F32;
    o->bytes = OMEN_MIN_BYTES + (uint32_t)draw(draw(2) ? 12 : 60);
    o->lists.n = draw(3) ? 1 + (uint32_t)draw(draw(2) ? c->n : c->n < 8 ? c->n : 8) : 0;
    o->seed = draw(3);
    o->zero_ok = draw(4) > 0;
    o->graph.wanted = draw(3) == 0 && o->refine != OMEN_REFINE_NONE;
    o->graph.degree = o->graph.wanted ? OMEN_MIN_DEGREE + (uint32_t)draw(10) : 0;
    c->rows = (rows_in_memory){.n = c->n, .d = c->d, .x = malloc(c->n * c->d * sizeof(float))};
    for (uint64_t i = 0; i < c->n; i++) {
        float *row = c->rows.x + i * c->d;

        if (c->data == REPEATED && i >= 3)
            memcpy(row, c->rows.x + draw(3) * c->d, c->d * sizeof *row);
        else
            make_row(c, row, i);
        const double norm2 = norm2_of(row, c->d);

        c->most_norm2 = norm2 > c->most_norm2 ? norm2 : c->most_norm2;
        c->most_apart2 = fmax(c->most_apart2, apart2(row, c->rows.x, c->d));
        c->has_zeros |= !(norm2 > 0);
        for (uint32_t j = 0; j < c->d; j++)
            c->most_value = fmax(c->most_value, fabs((double)row[j]));
    }
    c->queries_are_sound = true;
    for (uint64_t q = 0; q < N_QUERIES; q++) {
        float *query = c->queries + q * c->d;

        if (q == 0) /* a row */
            memcpy(query, c->rows.x + draw(c->n) * c->d, c->d * sizeof *query);
        else
            make_row(c, query, q);
        c->queries_are_sound &= norm2_of(query, c->d) < 0.99 * (double)OMEN_NORM2_MOST;
    }
    snprintf(c->text, sizeof c->text, "case %llu: %llu x %u %s, %s %s %s, %u bytes, %u lists%s%s",
             (unsigned long long)number, (unsigned long long)c->n, c->d, data_names[c->data],
             omen_metric_name(o->metric), omen_codec_name(o->codec),
             o->refine == OMEN_REFINE_AUTO ? "auto" : omen_refine_name(o->refine), o->bytes, o->lists.n,
             o->graph.wanted ? ", graph" : "", o->zero_ok ? ", zeros" : "");
}

static const struct {
    const char *level;
    int n_threads;
} variants[] = {{"scalar", 1}, {"avx2", 2}, {"avx512", 1}, {"avx512vnni", 3}, {"neon", 2}, {NULL, 2}};
#define N_VARIANTS (sizeof variants / sizeof *variants)

/* ---- the brute force ---- */

/* A distance, and how far from it a sum in float32 may be. */
typedef struct truth {
    double distance, slack;
} truth;

/* Of the centre that a tier's rows are stored without: adding it rounds them to float32 once more. */
static double centre_length;

/* rounded: row is what a tier holds, as float32: of cosine about as long as 1, and measured as it is. */
static truth measure(omen_metric metric, const float *query, const float *row, uint32_t d, bool rounded)
{
    const double qq = norm2_of(query, d), rr = norm2_of(row, d), terms = d + 8;
    const double q_scale = metric == OMEN_METRIC_COSINE && qq > 0 ? 1 / sqrt(qq) : 1;
    const double r_scale = metric == OMEN_METRIC_COSINE && !rounded && rr > 0 ? 1 / sqrt(rr) : 1;
    double apart2 = 0, product = 0, sizes = 0;

    if (metric == OMEN_METRIC_COSINE && (!(qq > 0) || !(rr > 0)))
        return (truth){1, 0};
    for (uint32_t j = 0; j < d; j++) {
        const double a = (double)query[j] * q_scale, b = (double)row[j] * r_scale;

        apart2 += (a - b) * (a - b);
        product += a * b;
        sizes += fabs(a * b);
    }
    /* what a tier adds to its centre, and a query scaled to unit length, are rounded to float32 themselves */
    const double added = rounded ? centre_length : 0;
    const double moved = metric == OMEN_METRIC_COSINE ? 8 * EPS * (1 + added)
                         : rounded                    ? 4 * EPS * (sqrt(qq) + sqrt(rr) + added)
                                                      : 0;
    const double lost = terms * (double)FLT_MIN; /* products that vanish */

    if (metric == OMEN_METRIC_IP)
        return (truth){-product, 4 * terms * EPS * sizes + moved * (sqrt(qq) + sqrt(rr)) + lost};
    const double slack = 2 * terms * EPS * apart2 + 2 * moved * sqrt(apart2) + moved * moved + lost;

    return metric == OMEN_METRIC_L2 ? (truth){apart2, slack} : (truth){apart2 / 2, slack};
}

static int by_distance(const void *a, const void *b)
{
    const truth *x = a, *y = b;

    return x->distance < y->distance ? -1 : x->distance > y->distance;
}

/* What exact search found, against rows that may be those of a tier. allowed: NULL, or which rows may be found. */
static void check_exact(const test_case *c, const float *rows, bool rounded, const uint8_t *allowed, uint32_t k,
                        const int64_t *ids, const float *distances, const char *what)
{
    truth *all = malloc(c->n * sizeof *all), *sorted = malloc(c->n * sizeof *sorted);

    for (uint32_t q = 0; q < N_QUERIES; q++) {
        uint32_t n = 0;

        for (uint64_t i = 0; i < c->n; i++) {
            all[i] = measure(c->options.metric, c->queries + (size_t)q * c->d, rows + i * c->d, c->d, rounded);
            if (!allowed || allowed[i])
                sorted[n++] = all[i];
        }
        qsort(sorted, n, sizeof *sorted, by_distance);
        for (uint32_t i = 0; i < k && i < n; i++) {
            /* rows are chosen by products, as near as this to one another at random (lib/search_exact.c) */
            const double coarse =
                c->options.metric == OMEN_METRIC_IP ? 0 : 4 * (c->d + 16) * EPS * fabs(sorted[i].distance);
            const int64_t id = ids[q * k + i];
            const double told = (double)distances[q * k + i];

            if (id < 0 || (uint64_t)id >= c->n)
                break; /* check_order() tells */
            CHECK_CASE(fabs(told - all[id].distance) <= all[id].slack,
                       "%s, %s: query %u, row %lld is told to be at %.9g, and is at %.17g, give or take %.3g", c->text,
                       what, q, (long long)id, told, all[id].distance, all[id].slack);
            CHECK_CASE(all[id].distance <= sorted[i].distance + all[id].slack + sorted[i].slack + coarse,
                       "%s, %s: query %u, rank %u is row %lld at %.17g; there is one at %.17g", c->text, what, q, i,
                       (long long)id, all[id].distance, sorted[i].distance);
        }
    }
    free(all);
    free(sorted);
}

/* ---- searches ---- */

typedef struct answer {
    uint32_t k;
    int64_t ids[N_QUERIES * 320];
    float distances[N_QUERIES * 320];
} answer;

/* As many rows as there are, each once, nearest first, ties by number; then none. */
static void check_order(const test_case *c, const answer *a, const uint8_t *allowed, uint64_t n_allowed,
                        const char *what)
{
    for (uint32_t q = 0; q < N_QUERIES; q++) {
        const int64_t *ids = a->ids + (size_t)q * a->k;
        const float *distances = a->distances + (size_t)q * a->k;
        const uint32_t n = omen_found_count(ids, a->k);
        uint8_t seen[320] = {0};

        CHECK_CASE(n == (n_allowed < a->k ? n_allowed : a->k), "%s, %s: query %u finds %u of %llu rows, k %u", c->text,
                   what, q, n, (unsigned long long)n_allowed, a->k);
        for (uint32_t i = 0; i < a->k; i++) {
            if (i >= n) {
                CHECK_CASE(ids[i] == OMEN_NO_ROW && isinf(distances[i]), "%s, %s: query %u, rank %u", c->text, what, q,
                           i);
                continue;
            }
            const bool is_row = ids[i] >= 0 && (uint64_t)ids[i] < c->n;

            CHECK_CASE(is_row && isfinite(distances[i]), "%s, %s: query %u, row %lld at %g", c->text, what, q,
                       (long long)ids[i], (double)distances[i]);
            if (!is_row)
                continue;
            CHECK_CASE(!seen[ids[i]]++ && (!allowed || allowed[ids[i]]), "%s, %s: query %u, row %lld", c->text, what, q,
                       (long long)ids[i]);
            CHECK_CASE(i == 0 || distances[i - 1] < distances[i] ||
                           (distances[i - 1] == distances[i] && ids[i - 1] < ids[i]),
                       "%s, %s: query %u, row %lld at %.9g behind row %lld at %.9g", c->text, what, q,
                       (long long)ids[i], (double)distances[i], (long long)ids[i - 1], (double)distances[i - 1]);
        }
    }
}

/* The same search by every variant. False if it failed as it should. */
static bool search(const test_case *c, const omen_index *index, omen_search_options options, answer *first,
                   const char *what)
{
    static answer other;
    omen_detail why = {""};
    int status = OMEN_OK;

    first->k = other.k = options.k;
    for (size_t v = 0; v < N_VARIANTS; v++) {
        answer *a = v == 0 ? first : &other;

        if (omen_cpu_select(variants[v].level, NULL) != OMEN_OK)
            continue;
        options.n_threads = variants[v].n_threads;
        const int status_of_one =
            omen_index_search(index, &options, c->queries, N_QUERIES, a->ids, a->distances, NULL, &why);

        CHECK_CASE(status_of_one == OMEN_OK || (status_of_one == OMEN_ERR_INPUT && why.text[0] != '\0'),
                   "%s, %s: %d, %s", c->text, what, status_of_one, why.text);
        CHECK_CASE(v == 0 || status_of_one == status, "%s, %s: %d, not %d", c->text, what, status_of_one, status);
        status = status_of_one;
        if (v == 0 || status != OMEN_OK)
            continue;
        const size_t n = (size_t)N_QUERIES * options.k;

        CHECK_CASE(memcmp(a->ids, first->ids, n * sizeof *a->ids) == 0 &&
                       memcmp(a->distances, first->distances, n * sizeof *a->distances) == 0,
                   "%s, %s: %s with %d threads differs", c->text, what,
                   variants[v].level ? variants[v].level : "the best level", variants[v].n_threads);
    }
    /* a query that cannot be searched for is the only reason to fail */
    bool is_sound = c->queries_are_sound;

    for (uint32_t q = 0; q < N_QUERIES; q++)
        is_sound &= c->options.metric != OMEN_METRIC_COSINE || options.zero_ok ||
                    norm2_of(c->queries + (size_t)q * c->d, c->d) > 0;
    CHECK_CASE(status == OMEN_OK || !is_sound, "%s, %s: %s", c->text, what, why.text);
    return status == OMEN_OK;
}

static bool same(const answer *a, const answer *b)
{
    const size_t n = (size_t)N_QUERIES * a->k;

    return a->k == b->k && memcmp(a->ids, b->ids, n * sizeof *a->ids) == 0 &&
           memcmp(a->distances, b->distances, n * sizeof *a->distances) == 0;
}

/* That each distance is what the tier says of the row. */
static void check_distances(const test_case *c, const omen_index *index, const answer *a, const char *what)
{
    static float distances[N_QUERIES * 320];
    omen_detail why = {""};

    CHECK_CASE(omen_index_distances(index, c->queries, N_QUERIES, a->k, a->ids, 1, distances, &why) == OMEN_OK,
               "%s, %s: %s", c->text, what, why.text);
    CHECK_CASE(memcmp(distances, a->distances, (size_t)N_QUERIES * a->k * sizeof *distances) == 0,
               "%s, %s: other distances", c->text, what);
}

/* Rows within a distance: those that exact search has as near. */
static void check_within(const test_case *c, const omen_index *index, omen_search_options options, const answer *exact)
{
    const uint32_t n_all = omen_found_count(exact->ids, exact->k);
    const float within = exact->distances[draw(n_all)];
    omen_detail why = {""};

    options.k = 0;
    options.rerank = 0;
    options.has_within = true;
    options.within = within;
    for (int turn = 0; turn < 2; turn++) {
        omen_found *found = NULL;

        options.exact = turn == 0;
        options.n_threads = 1 + turn;
        const int status = omen_index_search_within(index, &options, c->queries, N_QUERIES, &found, NULL, &why);

        CHECK_CASE(status == OMEN_OK, "%s, within %g: %d, %s", c->text, (double)within, status, why.text);
        for (uint32_t q = 0; status == OMEN_OK && q < N_QUERIES; q++) {
            const uint64_t first = found->first[q], n = found->first[q + 1] - first;
            uint64_t n_near = 0, at = 0;

            while (n_near < n_all && exact->distances[(size_t)q * exact->k + n_near] <= within)
                n_near++;
            CHECK_CASE(turn == 0 ? n == n_near : n <= n_near, "%s, within %.9g: query %u finds %llu rows, of %llu",
                       c->text, (double)within, q, (unsigned long long)n, (unsigned long long)n_near);
            /* in the same order, some perhaps left out */
            for (uint64_t i = 0; i < n; i++, at++) {
                while (at < n_near && exact->ids[(size_t)q * exact->k + at] != found->ids[first + i])
                    at++;
                CHECK_CASE(at < n_near && exact->distances[(size_t)q * exact->k + at] == found->distances[first + i],
                           "%s, within %.9g: query %u finds row %lld", c->text, (double)within, q,
                           (long long)found->ids[first + i]);
            }
        }
        omen_found_destroy(found);
    }
}

static void check_filter(const test_case *c, const omen_index *index, omen_search_options options, const answer *exact)
{
    static answer a;
    uint8_t allowed[320] = {0};
    int64_t rows[320];
    uint64_t n = 0;
    omen_row_set *set = NULL;
    omen_detail why = {""};
    const uint64_t share = 1 + draw(12);

    for (uint64_t i = 0; i < c->n; i++) {
        if (draw(share) == 0) {
            rows[n++] = (int64_t)i;
            allowed[i] = 1;
        }
    }
    CHECK_CASE(omen_row_set_create(index, rows, n, false, &set, &why) == OMEN_OK, "%s: %s", c->text, why.text);
    if (!set)
        return;
    const omen_row_set *const sets[N_QUERIES] = {set, set, set, set, set};

    options.row_sets = sets;
    if (search(c, index, options, &a, "filter"))
        check_order(c, &a, allowed, n, "filter");
    if (exact) {
        options.exact = true;
        if (search(c, index, options, &a, "exact under a filter")) {
            check_order(c, &a, allowed, n, "exact under a filter");
            for (uint32_t q = 0; q < N_QUERIES; q++) {
                uint32_t at = 0;

                for (uint32_t i = 0; i < a.k && a.ids[q * a.k + i] != OMEN_NO_ROW; i++, at++) {
                    while (at < exact->k &&
                           !(exact->ids[q * exact->k + at] >= 0 && allowed[exact->ids[q * exact->k + at]]))
                        at++;
                    CHECK_CASE(at < exact->k && a.ids[q * a.k + i] == exact->ids[q * exact->k + at] &&
                                   a.distances[q * a.k + i] == exact->distances[q * exact->k + at],
                               "%s, exact under a filter: query %u, rank %u is row %lld", c->text, q, i,
                               (long long)a.ids[q * a.k + i]);
                }
            }
        }
    }
    omen_row_set_destroy(set);
}

/* All rows of the tier as float32. */
static float *decode(const test_case *c, const omen_index *index)
{
    uint64_t numbers[320];
    omen_index_rows *rows = NULL;
    omen_detail why = {""};
    float *out = malloc(c->n * c->d * sizeof *out);

    for (uint64_t i = 0; i < c->n; i++)
        numbers[i] = i;
    CHECK_CASE(omen_index_rows_open(&rows, index, numbers, c->n, &why) == OMEN_OK, "%s: %s", c->text, why.text);
    const omen_source source = omen_index_rows_source(rows);

    CHECK_CASE(source.read(source.self, 0, c->n, out, &why) == OMEN_OK, "%s: %s", c->text, why.text);
    omen_index_rows_close(rows);
    return out;
}

static void check_index(const test_case *c, const omen_index *index)
{
    static answer exact, a;
    omen_index_info info = {.struct_bytes = sizeof info};
    omen_search_options options;

    CHECK_CASE(omen_index_get_info(index, &info) == OMEN_OK, "%s", c->text);
    omen_search_options_init(&options);
    options.zero_ok = c->options.zero_ok;
    const bool has_tier = info.refine != OMEN_REFINE_NONE;
    centre_length = index->refine.centre ? sqrt(norm2_of(index->refine.centre, c->d)) : 0;
    bool is_searched = false;

    if (has_tier) {
        options.exact = true;
        options.k = (uint32_t)c->n + (uint32_t)draw(4);
        is_searched = search(c, index, options, &exact, "exact");
        if (is_searched) {
            float *rows = decode(c, index);

            check_order(c, &exact, NULL, c->n, "exact");
            check_distances(c, index, &exact, "exact");
            check_exact(c, rows, true, NULL, exact.k, exact.ids, exact.distances, "exact of the tier");
            free(rows);
            if (info.refine == OMEN_REFINE_F32)
                check_exact(c, c->rows.x, false, NULL, exact.k, exact.ids, exact.distances, "exact of the rows");
            check_within(c, index, options, &exact);
        }
        options.exact = false;
    }
    /* all lists, and all rows re-ranked, are exact search */
    options.lists.probes = info.lists.n;
    options.rerank = (uint32_t)c->n;
    options.k = has_tier ? exact.k : (uint32_t)c->n + 2;
    if (search(c, index, options, &a, "all lists")) {
        check_order(c, &a, NULL, c->n, "all lists");
        CHECK_CASE(!has_tier || same(&a, &exact), "%s: all lists are not exact search", c->text);
    }
    options.lists.probes = draw(2) ? 1 + (uint32_t)draw(info.lists.n) : 0;
    options.rerank = draw(2) && has_tier ? 1 + (uint32_t)draw(c->n) : 0;
    options.recall = draw(2) ? (float)(1 - 0.9 * unit()) : 0;
    options.k = 1 + (uint32_t)draw(draw(2) ? 10 : c->n + 5);
    if (options.lists.probes > 0 || options.rerank > 0)
        options.recall = 0;
    options.way = OMEN_SEARCH_LISTS;
    if (search(c, index, options, &a, "lists")) {
        check_order(c, &a, NULL, c->n, "lists");
        if (has_tier)
            check_distances(c, index, &a, "lists");
    }
    options.way = OMEN_SEARCH_AUTO;
    check_filter(c, index, options, is_searched ? &exact : NULL);
    if (info.graph.degree > 0) {
        options.way = OMEN_SEARCH_GRAPH;
        options.lists.probes = options.rerank = 0;
        if (search(c, index, options, &a, "graph")) {
            check_order(c, &a, NULL, c->n, "graph");
            check_distances(c, index, &a, "graph");
        }
    }
}

/* Exact search of rows that no index holds. */
static void check_source(test_case *c)
{
    static answer first, a;
    const omen_source source = source_of(&c->rows);
    omen_detail why = {""};

    first.k = a.k = 1 + (uint32_t)draw(c->n + 5);
    for (size_t v = 0; v < N_VARIANTS; v++) {
        answer *to = v == 0 ? &first : &a;

        if (omen_cpu_select(variants[v].level, NULL) != OMEN_OK)
            continue;
        const int status = omen_source_search(&source, c->options.metric, to->k, c->queries, N_QUERIES,
                                              variants[v].n_threads, to->ids, to->distances, NULL, NULL, &why);

        CHECK_CASE(status == OMEN_OK, "%s, source: %d, %s", c->text, status, why.text);
        CHECK_CASE(v == 0 || same(&first, to), "%s, source: %s with %d threads differs", c->text,
                   variants[v].level ? variants[v].level : "the best level", variants[v].n_threads);
    }
    check_order(c, &first, NULL, c->n, "source");
    check_exact(c, c->rows.x, false, NULL, first.k, first.ids, first.distances, "source");
}

static void note_fault(void *context, const char *section, const char *text)
{
    const test_case *c = context;

    CHECK_CASE(false, "%s: %s: %s", c->text, section, text);
}

static int build(test_case *c, size_t variant, sections_in_memory *sections, omen_detail *why)
{
    const omen_source source = source_of(&c->rows);
    const omen_sink sink = sink_of(sections);
    omen_build_options options = c->options;

    if (omen_cpu_select(variants[variant].level, NULL) != OMEN_OK && omen_cpu_select(NULL, NULL) != OMEN_OK)
        return OMEN_ERR_ARGUMENT;
    options.n_threads = variants[variant].n_threads;
    *sections = (sections_in_memory){.n = 0};
    return omen_index_build(&source, &options, &sink, NULL, NULL, why);
}

static unsigned n_refused;

static void run_case(uint64_t number)
{
    static test_case c;
    sections_in_memory sections, others;
    omen_index *index = NULL;
    omen_detail why = {""};

    make_case(&c, number);
    const bool has_zero_fault = c.options.metric == OMEN_METRIC_COSINE && c.has_zeros && !c.options.zero_ok;
    const bool is_too_long = c.most_norm2 > 1.01 * (double)OMEN_NORM2_MOST;
    const bool may_be_too_long = c.most_norm2 > 0.99 * (double)OMEN_NORM2_MOST;
    const bool is_beyond_f16 =
        c.options.refine == OMEN_REFINE_F16 && c.options.metric != OMEN_METRIC_COSINE && c.most_value > 32000;
    /* by the mean of those distances, which is from 1/n of the largest to the largest */
    const bool is_l2 = c.options.metric == OMEN_METRIC_L2;
    const bool is_too_small = is_l2 && c.most_apart2 > 0 && c.most_apart2 < SPREAD_LEAST;
    const bool may_be_too_small = is_l2 && c.most_apart2 > 0 && c.most_apart2 / (double)c.n < SPREAD_LEAST;
    const int status = build(&c, draw(N_VARIANTS), &sections, &why);

    CHECK_CASE(status == OMEN_OK || (status == OMEN_ERR_INPUT && why.text[0] != '\0'), "%s: %d, %s", c.text, status,
               why.text);
    CHECK_CASE(status != OMEN_OK || (!has_zero_fault && !is_too_long && !is_too_small), "%s: no fault is found",
               c.text);
    CHECK_CASE(status == OMEN_OK || has_zero_fault || may_be_too_long || may_be_too_small || is_beyond_f16, "%s: %s",
               c.text, why.text);
    n_refused += status != OMEN_OK;
    if (status == OMEN_OK) {
        CHECK_CASE(omen_index_open(&index, sections.sections, sections.n, &why) == OMEN_OK, "%s: %s", c.text, why.text);
        if (draw(3) == 0) {
            CHECK_CASE(build(&c, draw(N_VARIANTS), &others, &why) == OMEN_OK, "%s: %s", c.text, why.text);
            CHECK_CASE(same_sections(&sections, &others), "%s: another index", c.text);
            sections_free(&others);
        }
        if (index) {
            CHECK_CASE(omen_index_check(index, note_fault, &c) == OMEN_OK, "%s", c.text);
            check_index(&c, index);
        }
    }
    if (!may_be_too_long && c.queries_are_sound)
        check_source(&c);
    CHECK(omen_cpu_select(NULL, NULL) == OMEN_OK);
    omen_index_close(index);
    sections_free(&sections);
    rows_free(&c.rows);
}

static void run_cases(uint64_t first, uint64_t n)
{
    for (uint64_t i = first; i < first + n && check_faults < 10; i++)
        run_case(i);
    printf("# %llu cases, %u of them refused as they should be\n", (unsigned long long)n, n_refused);
}

int main(int argc, char **argv)
{
    const uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : check_quick() ? 60 : 300;
    const uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;

    RUN_AS("random cases against a brute force", run_cases(first, n));
    return check_finish();
}
