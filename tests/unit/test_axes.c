/* SPDX-License-Identifier: Apache-2.0 */
/* Queries on axes in bytes: projected, rotated, and where they stay in float32. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/codec.h"
#include "lib/matrix.h"
#include "lib/query_axes.h"
#include "tests/unit/check.h"
#include "tests/unit/index_cases.h"

/* On axes that bytes hold exactly, vectors come out as they were split: of values of about the same size by 8 bits, of
 * others by 16, each as if it were alone. */
static void test_byte_axes(void)
{
    enum { N = 3, D = 50, N_K = 52, WIDTH = 64 };
    float axes[D * D] = {0}, x[N * D], from[D], out[N * WIDTH], alone[WIDTH], sums[2 * N * WIDTH];
    float units[N], lengths2[N];
    double errors2[D];
    uint8_t high[N * N_K], low[N * N_K];
    omen_byte_axes a;
    omen_byte_vectors v = {.high = high, .low = low, .units = units, .lengths2 = lengths2}, one = v;
    for (size_t j = 0; j < D; j++) {
        axes[j * D + j] = j % 2 ? 1 : -1;
        from[j] = (float)j;
        for (size_t i = 0; i < N; i++)
            x[i * D + j] = from[j] + (i == 1 && j == 20 ? 100 : sinf((float)(D * i + j)));
    }
    CHECK_EQ_INT(omen_byte_axes_init(&a, axes, D, D, errors2), OMEN_OK);
    for (size_t i = 0; i < N; i++)
        omen_byte_vectors_split(&v, i, x + i * D, from, D);
    CHECK(v.n == N && v.any_low);
    omen_byte_axes_multiply(&a, &v, 0, D, out, WIDTH, sums);
    for (size_t i = 0; i < N; i++) {
        const float unit = (i == 1 ? 100.0f : 1.0f) / 32639, most = i == 1 ? unit : 129 * unit;
        float worst = 0;
        for (size_t j = 0; j < D; j++) {
            const float want = axes[j * D + j] * (x[i * D + j] - from[j]);
            CHECK_CASE(fabsf(out[i * WIDTH + j] - want) <= most, "vector %zu: %g, not %g", i,
                       (double)out[i * WIDTH + j], (double)want);
            worst = fmaxf(worst, fabsf(out[i * WIDTH + j] - want));
        }
        CHECK(i == 1 || worst > unit);
        omen_byte_vectors_split(&one, 0, x + i * D, from, D);
        CHECK(one.any_low == (i == 1));
        for (uint32_t first = 0; first < D; first += 16) {
            omen_byte_axes_multiply(&a, &one, first, 16, alone, 0, sums);
            CHECK(memcmp(alone, out + i * WIDTH + first, (D - first < 16 ? D - first : 16) * sizeof *alone) == 0);
        }
    }
    for (size_t j = 0; j < D; j++)
        CHECK(errors2[j] == 0);
    omen_byte_axes_finish(&a);
}

/* Tables by products of bytes are those of float32, but for the rounding of rotation and query; a row of the rotation
 * that is 0, as a file may have it, gives 0. */
static void test_tables_in_bytes(void)
{
    static const uint32_t ds[] = {1, 3, 64, 130, 700}, budgets[] = {4, 32, 256};
    for (size_t c = 0; c < 15; c++) {
        const uint32_t d = ds[c % 5], bytes = budgets[c / 5];
        rows_in_memory query = make_rows(1, d, CLUSTERED, d);
        omen_codec_model model;
        CHECK_EQ_INT(omen_codec_train(&model, OMEN_CODEC_RABITQ, NULL, 0, d, bytes, 5, NULL), OMEN_OK);
        const size_t n = (size_t)model.n_sub * 16;
        memset(model.rotation + model.d_used, 0, model.d_used * sizeof *model.rotation);
        free(model.panels);
        float *want = omen_alloc(n, sizeof *want), *got = omen_alloc(n, sizeof *got);
        CHECK_EQ_INT(omen_codec_prepare(&model), OMEN_OK);
        omen_codec_tables(&model, query.x, want);
        CHECK_EQ_INT(omen_codec_prepare_bytes(&model), OMEN_OK);
        omen_codec_tables(&model, query.x, got);
        const float length = sqrtf(omen_kernels_get()->ip_f32(query.x, query.x, model.d_used));
        for (size_t i = 0; i < n; i++)
            CHECK_CASE(fabsf(want[i] - got[i]) <= 0.03f * length, "%u dimensions, %u bytes: %zu is %g, not %g of %g", d,
                       bytes, i, (double)got[i], (double)want[i], (double)length);
        free(want);
        free(got);
        omen_codec_finish(&model);
        rows_free(&query);
    }
}

/* Projects the first rows as queries, and one that is all in one value: by products of bytes they are where the
 * transform has them, but for the rounding of axes and query; and each is where it is alone. */
static void check_projected(const omen_index *index, const rows_in_memory *rows, bool for_graph, const char *name)
{
    enum { N = 70 };
    const uint32_t d = rows->d;
    const omen_transform *t = &index->transform;
    const uint32_t n_axes = for_graph ? index->axes.n_graph : t->d_kept;
    const size_t ld = omen_round_up(t->d_kept, OMEN_PANEL);
    float *queries = omen_alloc((size_t)N * d, sizeof *queries), *lifted = omen_alloc(N * t->d_full, sizeof *lifted);
    float *want = omen_alloc(N * ld, sizeof *want), *got = omen_alloc(N * ld, sizeof *got);
    float *alone = omen_alloc(ld, sizeof *alone), want_tails[N], tails[N], tail;
    void *work = omen_alloc(omen_query_axes_work_bytes(index, N), 1);
    for (size_t q = 0; q < N; q++)
        memcpy(queries + q * d, rows->x + q % rows->n * d, d * sizeof *queries);
    for (uint32_t j = 0; j < d; j++)
        queries[(size_t)7 * d + j] = j == d / 2 ? 3 : 0;
    const float *full = omen_transform_lift(t, queries, N, true, lifted);
    omen_transform_project_first(t, full, N, n_axes, want, ld, want_tails);
    omen_query_axes_project(index, for_graph, full, N, got, ld, tails, work);
    for (size_t q = 0; q < N; q++) {
        const double length = sqrt((double)omen_kernels_get()->l2_f32(t->mean, full + q * t->d_full, t->d_full));
        double error2 = 0;
        for (size_t j = 0; j < n_axes; j++)
            error2 += pow((double)(want[q * ld + j] - got[q * ld + j]), 2);
        CHECK_CASE(sqrt(error2) <= 0.02 * length, "%s: query %zu is off by %g of %g", name, q, sqrt(error2), length);
        CHECK_CASE(fabs((double)(want_tails[q] - tails[q])) <= 0.04 * length * length, "%s: query %zu drops %g, not %g",
                   name, q, (double)tails[q], (double)want_tails[q]);
        omen_query_axes_project(index, for_graph, full + q * t->d_full, 1, alone, ld, &tail, work);
        CHECK_CASE(memcmp(alone, got + q * ld, n_axes * sizeof *alone) == 0 &&
                       memcmp(&tail, &tails[q], sizeof tail) == 0,
                   "%s: query %zu alone", name, q);
    }
    free(queries);
    free(lifted);
    free(want);
    free(got);
    free(alone);
    free(work);
}

static void check_axes(rows_in_memory *rows, omen_metric metric, omen_codec codec, bool for_lists, bool for_graph)
{
    omen_build_options o;
    omen_build_options_init(&o);
    o.metric = metric;
    o.codec = codec;
    o.graph.wanted = true;
    sections_in_memory sections;
    omen_index *index = make_index(rows, &o, &sections);
    if (!index)
        return;
    char name[160];
    snprintf(name, sizeof name, "%s", case_name(rows, &o));
    CHECK_CASE(index->axes.for_lists == for_lists, "%s: axes of lists in bytes", name);
    CHECK_CASE(index->axes.for_graph == for_graph, "%s: axes of the graph in bytes", name);
    CHECK_CASE((index->transform.panels == NULL) == (for_lists && for_graph), "%s: axes in float32", name);
    CHECK_EQ_INT(omen_transform_prepare(&index->transform), OMEN_OK); /* to compare with */
    check_projected(index, rows, false, name);
    check_projected(index, rows, true, name);
    omen_index_close(index);
    sections_free(&sections);
}

static void test_axes(void)
{
    static const uint32_t dims[] = {1, 13, 40, 300};
    for (size_t c = 0; c < 3 * sizeof dims / sizeof *dims; c++) {
        rows_in_memory rows = make_rows(600, dims[c / 3], c % 2 ? FAR_AWAY : CLUSTERED, 1);
        const omen_codec codec = c % 4 == 3 ? OMEN_CODEC_NONE : c % 4 == 1 ? OMEN_CODEC_PQ : OMEN_CODEC_RABITQ;
        const bool has_residuals = codec != OMEN_CODEC_NONE && (c > 2 || c % 3 != OMEN_METRIC_COSINE);
        check_axes(&rows, (omen_metric)(c % 3), codec, has_residuals, true);
        rows_free(&rows);
    }
    /* sums of so many do not fit 32 bits */
    rows_in_memory rows = make_rows(40, 16385, CLUSTERED, 1);
    check_axes(&rows, OMEN_METRIC_L2, OMEN_CODEC_AUTO, false, false);
    rows_free(&rows);
    /* a value that stands out, and many that go with it, each of which would be rounded off */
    rows = make_rows(60, 4000, CLUSTERED, 1);
    for (uint64_t i = 0; i < rows.n; i++)
        for (uint32_t j = 0; j < rows.d; j++)
            rows.x[i * rows.d + j] = (float)(i + 1) * (j ? 0.0038f : 1);
    check_axes(&rows, OMEN_METRIC_L2, OMEN_CODEC_AUTO, false, false);
    rows_free(&rows);
}

/* Rows that lie along a line, slantwise to all dimensions, 30,000 times as long as they are apart across: what bytes
 * round off the axes would be more than what tells neighbours from each other. */
static void test_long_line(void)
{
    rows_in_memory rows = make_rows(3000, 40, CLUSTERED, 1);
    for (uint64_t i = 0; i < rows.n; i++) {
        const double along = 3e4 * (omen_random_unit(3, i) - 0.5);
        for (uint32_t j = 0; j < 40; j++)
            rows.x[i * 40 + j] = (float)((double)rows.x[i * 40 + j] + along * (0.1 + 0.01 * (j * 7 % 40)));
    }
    check_axes(&rows, OMEN_METRIC_L2, OMEN_CODEC_AUTO, false, true);
    rows_free(&rows);
}

int main(void)
{
    RUN(test_byte_axes);
    RUN(test_tables_in_bytes);
    RUN(test_axes);
    RUN(test_long_line);
    return check_finish();
}
