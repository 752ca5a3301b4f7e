/* SPDX-License-Identifier: Apache-2.0 */
/* Zeros with a sign: products that vanish, and rows of -0. */
#include <math.h>
#include <stdlib.h>

#include "tests/unit/check.h"
#include "tests/unit/index_cases.h"

/* N rows in order of their numbers, all at 0, never -0. */
static void check_all_at_zero(const int64_t *ids, const float *distances, int64_t n, const char *what, size_t tier)
{
    for (int64_t i = 0; i < n; i++)
        CHECK_CASE(ids[i] == i && distances[i] == 0 && !signbit(distances[i]),
                   "%s, tier %zu, place %lld: row %lld at %g", what, tier, (long long)i, (long long)ids[i],
                   (double)distances[i]);
}

/* Inner products that vanish are 0 of either sign, and the same distance. */
static void test_vanishing_products(void)
{
    enum { D = 16, N = 40 };
    rows_in_memory rows = {.n = N, .d = D, .x = malloc(N * D * sizeof(float))};
    const omen_source source = source_of(&rows);
    const omen_refine tiers[] = {OMEN_REFINE_F32, OMEN_REFINE_SQ12};
    int64_t ids[N];
    float distances[N];
    for (uint64_t i = 0; i < N * D; i++) /* squares of these are nothing to float32 */
        rows.x[i] = i / D % 2 ? 1e-30f : -1e-30f;
    CHECK_EQ_INT(omen_source_search(&source, OMEN_METRIC_IP, N, rows.x, 1, 1, ids, distances, NULL, NULL, NULL),
                 OMEN_OK);
    check_all_at_zero(ids, distances, N, "source", 0);
    for (size_t t = 0; t < sizeof tiers / sizeof *tiers; t++) {
        omen_build_options o;
        omen_build_options_init(&o);
        o.metric = OMEN_METRIC_IP;
        o.refine = tiers[t];
        sections_in_memory sections;
        omen_index *index = make_index(&rows, &o, &sections);
        if (!index)
            continue;
        omen_search_options options;
        omen_search_options_init(&options);
        options.exact = true;
        options.k = N;
        results r = search(index, &options, rows.x, 1);
        check_all_at_zero(r.ids, r.distances, N, "index", t);
        results_free(&r);
        omen_index_close(index);
        sections_free(&sections);
    }
    rows_free(&rows);
}

/* Rows of -0 are zero rows, at 1 from every query; and estimates of a product with a zero query are 0, never -0. */
static void test_negative_zeros(void)
{
    enum { D = 5, N = 40 };
    static const omen_refine tiers[] = {OMEN_REFINE_F32, OMEN_REFINE_F16, OMEN_REFINE_SQ8, OMEN_REFINE_SQ16,
                                        OMEN_REFINE_NONE};
    for (size_t t = 0; t < sizeof tiers / sizeof *tiers; t++) {
        rows_in_memory rows = make_rows(N, D, CLUSTERED, 1);
        const float zeros[D] = {0};
        const bool has_rows = tiers[t] != OMEN_REFINE_NONE;
        omen_build_options o;
        omen_build_options_init(&o);
        o.metric = has_rows ? OMEN_METRIC_COSINE : OMEN_METRIC_IP;
        o.refine = tiers[t];
        o.zero_ok = has_rows;
        for (uint32_t j = 0; j < D; j++) {
            rows.x[7 * D + j] = -0.0f;
            rows.x[9 * D + j] = j % 2 ? -0.0f : 0.0f;
        }
        sections_in_memory sections;
        omen_index *index = make_index(&rows, &o, &sections);
        if (!index)
            continue;
        omen_search_options options;
        omen_search_options_init(&options);
        options.exact = has_rows;
        options.k = N;
        results r = search(index, &options, has_rows ? rows.x : zeros, 1);
        for (int64_t i = 0; i < N; i++) {
            const bool is_zero = r.ids[i] == 7 || r.ids[i] == 9;
            CHECK_CASE(!has_rows || !is_zero || r.distances[i] == 1, "tier %zu, row %lld at %g", t, (long long)r.ids[i],
                       (double)r.distances[i]);
        }
        if (!has_rows)
            check_all_at_zero(r.ids, r.distances, N, "estimates", t);
        results_free(&r);
        omen_index_close(index);
        sections_free(&sections);
        rows_free(&rows);
    }
}

int main(void)
{
    RUN(test_vanishing_products);
    RUN(test_negative_zeros);
    return check_finish();
}
