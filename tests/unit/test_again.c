/* SPDX-License-Identifier: Apache-2.0 */
/* Searches whose first look at the estimates does not suffice: under filters that pass the rows farthest out, whose
 * codes are those of nearer rows; and in several indexes, whose estimates are too large by what differs from place to
 * place. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/joint.h"
#include "lib/keys.h"
#include "lib/matrix.h"
#include "tests/unit/check.h"
#include "tests/unit/index_cases.h"

enum { N = 12000, N_QUERIES = 200, D = 32, K = 10, N_CLUSTERS = 100 };

static double normal(uint64_t seed, uint64_t i)
{
    double sum = -6;
    for (uint64_t j = 0; j < 12; j++)
        sum += omen_random_unit(seed, 12 * i + j);
    return sum;
}

/* Rows and queries by the same law, queries behind the rows: clusters of which the i-th has a share of 1 / i^1.2, if
 * their sizes differ; times lengths whose logarithms are normal, if these do. */
static float *make_law(bool sizes_differ, bool lengths_differ, uint64_t seed)
{
    float *x = omen_alloc((size_t)(N + N_QUERIES) * D, sizeof *x);
    double shares[N_CLUSTERS], sum = 0;
    for (uint32_t c = 0; c < N_CLUSTERS; c++)
        shares[c] = sum += sizes_differ ? pow(c + 1, -1.2) : 1;
    for (uint64_t i = 0; i < N + N_QUERIES; i++) {
        const double draw = sum * omen_random_unit(seed, i);
        const double length = lengths_differ ? exp(normal(seed + 1, i)) : 1;
        uint32_t c = 0;
        while (c + 1 < N_CLUSTERS && shares[c] < draw)
            c++;
        for (uint64_t j = 0; j < D; j++)
            x[i * D + j] = (float)(length * (normal(seed + 2, c * D + j) * (sizes_differ ? 2 : 1) +
                                             0.3 * normal(seed + 3, i * D + j)));
    }
    return x;
}

/* The twentieth of the rows that is farthest from the origin, and a quarter, which is more than are re-ranked. */
static void test_far_rows(void)
{
    static const uint64_t parts[] = {20, 4};
    float *x = make_law(false, true, 5);
    rows_in_memory rows = {.n = N, .d = D, .x = x};
    uint64_t *order = omen_alloc(N, sizeof *order);
    int64_t *ids = omen_alloc(N, sizeof *ids);
    for (uint32_t i = 0; i < N; i++)
        order[i] = omen_key(-omen_kernels_get()->ip_f32(x + (size_t)i * D, x + (size_t)i * D, D), i);
    omen_keys_sort(order, N);
    for (uint32_t i = 0; i < N; i++)
        ids[i] = (int64_t)(uint32_t)order[i];
    omen_build_options o;
    omen_build_options_init(&o);
    o.refine = OMEN_REFINE_F32;
    sections_in_memory sections;
    omen_index *index = make_index(&rows, &o, &sections);
    for (size_t p = 0; p < 2; p++) {
        omen_search_options options;
        omen_search_options_init(&options);
        omen_row_set *set = NULL;
        const omen_row_set *sets[N_QUERIES];
        CHECK_EQ_INT(omen_row_set_create(index, ids, N / parts[p], false, &set, &detail), OMEN_OK);
        for (size_t q = 0; q < N_QUERIES; q++)
            sets[q] = set;
        options.row_sets = sets;
        results found = search(index, &options, x + (size_t)N * D, N_QUERIES);
        options.n_threads = 1;
        results alone = search(index, &options, x + (size_t)N * D, 1);
        CHECK(memcmp(alone.ids, found.ids, K * sizeof *alone.ids) == 0);
        options.exact = true;
        results exact = search(index, &options, x + (size_t)N * D, N_QUERIES);
        const double share = share_found(found.ids, exact.ids, N_QUERIES, K);
        printf("# the farthest of %u: recall@10 %.3f\n", (unsigned)parts[p], share);
        CHECK_CASE(share >= 0.95, "the farthest of %u: recall %.3f", (unsigned)parts[p], share);
        results_free(&found);
        results_free(&alone);
        results_free(&exact);
        omen_row_set_destroy(set);
    }
    omen_index_close(index);
    sections_free(&sections);
    free(order);
    free(ids);
    free(x);
}

/* Two halves of rows in clusters of unlike sizes. */
static void test_joint(void)
{
    static int64_t found[N_QUERIES * K], again[N_QUERIES * K], exact[N_QUERIES * K];
    for (uint64_t seed = 10; seed < 40; seed += 10) {
        float *x = make_law(true, false, seed);
        rows_in_memory halves[2] = {{.n = N / 2, .d = D, .x = x}, {.n = N / 2, .d = D, .x = x + (size_t)N / 2 * D}};
        sections_in_memory sections[2];
        omen_index *indexes[2];
        omen_joint *joint = NULL;
        omen_build_options o;
        omen_build_options_init(&o);
        o.bytes = 16;
        for (size_t i = 0; i < 2; i++) {
            o.codec = i ? OMEN_CODEC_PQ : OMEN_CODEC_RABITQ;
            indexes[i] = make_index(&halves[i], &o, &sections[i]);
        }
        CHECK_EQ_INT(omen_joint_create(&joint, (const omen_index *const *)indexes, NULL, 2, &detail), OMEN_OK);
        omen_search_options options;
        omen_search_options_init(&options);
        const float *queries = x + (size_t)N * D;
        CHECK_EQ_INT(omen_joint_search(joint, &options, queries, N_QUERIES, found, NULL, NULL, &detail), OMEN_OK);
        options.n_threads = 1;
        for (size_t q = 0; q < N_QUERIES; q += 40)
            CHECK_EQ_INT(omen_joint_search(joint, &options, queries + q * D, 1, again + q * K, NULL, NULL, &detail),
                         OMEN_OK);
        for (size_t q = 0; q < N_QUERIES; q += 40)
            CHECK(memcmp(found + q * K, again + q * K, K * sizeof *found) == 0);
        options.exact = true;
        CHECK_EQ_INT(omen_joint_search(joint, &options, queries, N_QUERIES, exact, NULL, NULL, &detail), OMEN_OK);
        const double share = share_found(found, exact, N_QUERIES, K);
        printf("# two halves, seed %u: recall@10 %.3f\n", (unsigned)seed, share);
        CHECK_CASE(share >= 0.95, "seed %u: recall %.3f", (unsigned)seed, share);
        omen_joint_destroy(joint);
        for (size_t i = 0; i < 2; i++) {
            omen_index_close(indexes[i]);
            sections_free(&sections[i]);
        }
        free(x);
    }
}

int main(void)
{
    RUN(test_far_rows);
    RUN(test_joint);
    return check_finish();
}
