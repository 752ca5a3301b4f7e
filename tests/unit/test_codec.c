/* SPDX-License-Identifier: Apache-2.0 */
/* The codecs of residuals (pq, rabitq), the refine tier's codecs, and the integer keys that results are sorted by. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "lib/codec.h"
#include "lib/index.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"
#include "lib/refine.h"
#include "tests/unit/check.h"

static double normal(uint64_t seed, uint64_t i)
{
    const double u = 1 - omen_random_unit(seed, 2 * i), v = omen_random_unit(seed, 2 * i + 1);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* n rows whose dimension j has deviation decay^j: what PCA leaves of correlated data. */
static float *gaussian(size_t n, uint32_t d, double decay, uint64_t seed)
{
    float *rows = malloc(n * d * sizeof *rows);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < d; j++)
            rows[i * d + j] = (float)(normal(seed, i * d + j) * pow(decay, (double)j));
    return rows;
}

static void *clone(const void *from, size_t n_bytes)
{
    void *to = malloc(n_bytes ? n_bytes : 1);
    memcpy(to, from, n_bytes);
    return to;
}

static int train(omen_codec_model *model, omen_codec kind, const float *rows, size_t n, uint32_t d, uint32_t bytes)
{
    const int status = omen_codec_train(model, kind, rows, n, d, bytes, 5, NULL);
    CHECK_EQ_INT(status, OMEN_OK);
    CHECK(model->kind == kind && model->n_sub >= 2 && model->n_sub % 2 == 0);
    CHECK(omen_codec_bytes(model) <= bytes);
    CHECK_EQ_INT(omen_codec_bytes(model), model->n_sub / 2 + model->n_factors);
    return status;
}

/* What one encode call gives, in buffers of exactly the promised size. */
typedef struct {
    uint8_t *codes;
    float *factors, *reconstructions;
} encoded;

static encoded encode(const omen_codec_model *model, const float *residuals, const float *centroids, size_t n,
                      const float *tails)
{
    encoded e = {malloc(n * model->n_sub / 2), malloc(n * model->n_factors * sizeof(float)),
                 malloc(n * model->d * sizeof(float))};
    float *scratch = malloc(omen_codec_scratch_floats(model) * sizeof *scratch);
    omen_codec_encode(model, residuals, centroids, n, model->d, tails, e.codes, e.factors, e.reconstructions, scratch);
    free(scratch);
    return e;
}

static void encoded_free(encoded *e)
{
    free(e->codes);
    free(e->factors);
    free(e->reconstructions);
}

static const float no_tails[OMEN_ENCODE_ROWS];

static const char *label(omen_codec kind, uint32_t d, uint32_t bytes)
{
    static char text[64];
    snprintf(text, sizeof text, "%s, d %u, %u bytes", omen_codec_name(kind), d, bytes);
    return text;
}

/* ---- both codecs -------------------------------------------------------- */

static void check_error_falls(omen_codec kind, uint32_t d, double decay)
{
    enum { N = 2048 };
    static const uint32_t bytes[] = {8, 16, 32, 64};
    float *rows = gaussian(2 * N, d, decay, 11), *residuals = malloc(N * d * sizeof *residuals);
    float *centroids = gaussian(8, d, decay, 12);
    uint32_t *lists = malloc(2 * N * sizeof *lists);
    for (size_t i = 0; i < 2 * N; i++) {
        lists[i] = (uint32_t)(i % 8);
        for (size_t j = 0; j < d; j++) {
            if (i < N)
                residuals[i * d + j] = rows[i * d + j];
            rows[i * d + j] += centroids[i % 8 * d + j];
        }
    }
    double before = 1;
    for (size_t i = 0; i < 4; i++) {
        omen_codec_model model;
        if (train(&model, kind, residuals, N, d, bytes[i]) == OMEN_OK) {
            /* on rows not trained on */
            double error = -1;
            CHECK(omen_codec_error(&model, rows + (size_t)N * d, centroids, lists + N, N, 32, &error) == OMEN_OK);
            printf("# %s: %u used, error %.5f\n", label(kind, d, bytes[i]), omen_codec_bytes(&model), error);
            /* pq stops at a sub-quantiser for each dimension: more bytes are not used, and change nothing but chance */
            const bool is_full = kind == OMEN_CODEC_PQ && omen_codec_bytes(&model) < bytes[i];
            CHECK_CASE(error > 0 && error < before * (is_full ? 1.1 : 0.8), "%s: %g after %g", label(kind, d, bytes[i]),
                       error, before);
            if (is_full)
                CHECK_EQ_INT(model.n_sub, d);
            before = error;
        }
        omen_codec_finish(&model);
    }
    free(lists);
    free(centroids);
    free(residuals);
    free(rows);
}

static void test_error_falls(omen_codec kind)
{
    check_error_falls(kind, 64, 0.97);
    /* a dimension has at most four bits in pq: only a flat spectrum gains as much from the last bytes as from the first
     */
    check_error_falls(kind, 160, 0.995);
}

/* Tables and factors are about the same reconstruction r: the tables' sum is -2 <q, r> and
 * f = |residual|^2 + 2 <c, r> + tail, for n rows at once as for each alone. */
static void test_consistent(omen_codec kind)
{
    static const uint32_t ds[] = {1, 2, 3, 13, 16, 64, 130}, budgets[] = {4, 5, 8, 32, 256};
    for (size_t di = 0; di < sizeof ds / sizeof *ds; di++) {
        for (size_t bi = 0; bi < sizeof budgets / sizeof *budgets; bi++) {
            const uint32_t d = ds[di], bytes = budgets[bi];
            const char *what = label(kind, d, bytes);
            float *rows = gaussian(300, d, 0.95, d), *centroids = gaussian(16, d, 0.95, d + 1000);
            float *query = gaussian(1, d, 0.95, d + 2000), tails[16];
            omen_codec_model model;
            train(&model, kind, rows, 300, d, bytes);
            float *table = malloc((size_t)model.n_sub * 16 * sizeof *table);
            omen_codec_tables(&model, query, table);
            for (int i = 0; i < 16; i++)
                tails[i] = (float)i;
            encoded all = encode(&model, rows, centroids, 16, tails);
            for (size_t n = 1; n <= 16; n += 5) {
                float *some_rows = clone(rows, n * d * sizeof *rows), *some_centroids = clone(centroids, n * d * 4);
                encoded some = encode(&model, some_rows, some_centroids, n, tails);
                CHECK_CASE(memcmp(some.codes, all.codes, n * model.n_sub / 2) == 0, "%s: codes of %zu rows", what, n);
                CHECK_CASE(memcmp(some.factors, all.factors, n * model.n_factors * 4) == 0, "%s: %zu rows", what, n);
                encoded_free(&some);
                free(some_centroids);
                free(some_rows);
            }
            for (size_t i = 0; i < 16; i++) {
                const uint8_t *code = all.codes + i * model.n_sub / 2;
                const float *r = all.reconstructions + i * d, *x = rows + i * d, *c = centroids + i * d;
                double sum = 0, size = 1e-3, cross = 0, norm2 = 0, offset = 0;
                for (size_t m = 0; m < model.n_sub; m++) {
                    const float t = table[m * 16 + (code[m / 2] >> m % 2 * 4 & 15)];
                    sum += (double)t;
                    size += fabs((double)t);
                }
                for (size_t j = 0; j < d; j++) {
                    cross += (double)query[j] * (double)r[j];
                    norm2 += (double)x[j] * (double)x[j];
                    offset += (double)c[j] * (double)r[j];
                }
                const double g = kind == OMEN_CODEC_RABITQ ? (double)all.factors[2 * i + 1] : 1;
                const double f = (double)all.factors[i * model.n_factors];
                CHECK_CASE(fabs(g * sum + 2 * cross) <= 1e-5 * size * (1 + g), "%s, row %zu: %g, not %g", what, i,
                           g * sum, -2 * cross);
                CHECK_CASE(fabs(f - (norm2 + 2 * offset + (double)i)) <= 1e-5 * (norm2 + 2 * fabs(offset) + 20),
                           "%s, row %zu: f %g, not %g", what, i, f, norm2 + 2 * offset + (double)i);
            }
            encoded_free(&all);
            free(table);
            omen_codec_finish(&model);
            free(query);
            free(centroids);
            free(rows);
        }
    }
}

/* With tails that are 0 and a centroid at the origin every dimension enters f; a coded one also changes the code. */
static void test_every_dimension(omen_codec kind)
{
    static const uint32_t ds[] = {1, 2, 13, 64};
    for (size_t di = 0; di < sizeof ds / sizeof *ds; di++) {
        const uint32_t d = ds[di], bytes = 16;
        float *rows = gaussian(1000, d, 0.97, d), *origin = calloc(d, sizeof *origin);
        omen_codec_model model;
        train(&model, kind, rows, 1000, d, bytes);
        uint8_t *is_coded = calloc(d, 1);
        for (size_t a = 0; a < model.n_active; a++)
            is_coded[model.dims[a]]++;
        for (size_t j = 0; j < model.d_used; j++)
            is_coded[j]++;
        for (size_t j = 0; j < d; j++) {
            float *low = clone(rows, d * sizeof *low), *high = clone(rows, d * sizeof *high);
            CHECK_CASE(is_coded[j] <= 1, "%s: dimension %zu is coded twice", label(kind, d, bytes), j);
            low[j] -= 10;
            high[j] += 11;
            encoded a = encode(&model, low, origin, 1, no_tails), b = encode(&model, high, origin, 1, no_tails);
            const bool same_code = memcmp(a.codes, b.codes, model.n_sub / 2) == 0;
            const bool same_factors = memcmp(a.factors, b.factors, model.n_factors * sizeof(float)) == 0;
            CHECK_CASE(!same_code || !same_factors, "%s: dimension %zu changes nothing", label(kind, d, bytes), j);
            if (is_coded[j])
                CHECK_CASE(!same_code, "%s: dimension %zu does not change the code", label(kind, d, bytes), j);
            encoded_free(&a);
            encoded_free(&b);
            free(low);
            free(high);
        }
        free(is_coded);
        omen_codec_finish(&model);
        free(origin);
        free(rows);
    }
}

static void test_few_rows(omen_codec kind)
{
    static const uint32_t ds[] = {1, 2, 13};
    for (size_t di = 0; di < 3; di++) {
        for (size_t n = 1; n <= 17; n++) {
            const uint32_t d = ds[di], lists[17] = {0};
            float *rows = gaussian(n, d, 0.9, n), *origin = calloc(16 * d, sizeof *origin);
            omen_codec_model model;
            train(&model, kind, rows, n, d, 32);
            double error = -1;
            CHECK(omen_codec_error(&model, rows, origin, lists, n, n, &error) == OMEN_OK);
            CHECK_CASE(error >= 0 && error < 1, "%s, %zu rows: %g", label(kind, d, 32), n, error);
            /* sixteen codewords for each dimension hold up to sixteen rows exactly */
            encoded e = encode(&model, rows, origin, n < 16 ? n : 16, no_tails);
            for (size_t i = 0; i < n * d && kind == OMEN_CODEC_PQ && n <= 16; i++)
                CHECK_CASE(fabsf(e.reconstructions[i] - rows[i]) < 1e-5f, "%s, %zu rows: %g became %g",
                           label(kind, d, 32), n, (double)rows[i], (double)e.reconstructions[i]);
            encoded_free(&e);
            omen_codec_finish(&model);
            free(origin);
            free(rows);
        }
    }
}

static void test_constant(omen_codec kind)
{
    static const uint32_t ds[] = {1, 2, 13};
    for (size_t di = 0; di < 3; di++) {
        const uint32_t d = ds[di], lists[40] = {0};
        float *rows = malloc(40 * d * sizeof *rows), *zeros = calloc(40 * d, sizeof *zeros);
        for (size_t i = 0; i < 40 * d; i++)
            rows[i] = (float)(i % d) + 0.5f;
        omen_codec_model model;
        train(&model, kind, zeros, 40, d, 16);
        /* the rows are their centroid */
        double error = -1;
        CHECK(omen_codec_error(&model, rows, rows, lists, 40, 10, &error) == OMEN_OK && error == 0);
        encoded e = encode(&model, zeros, rows, 16, no_tails);
        for (size_t i = 0; i < 16; i++)
            CHECK_CASE(e.factors[i * model.n_factors] == 0, "%s: f is not 0", label(kind, d, 16));
        for (size_t i = 0; i < 16 * d; i++)
            CHECK_CASE(e.reconstructions[i] == 0, "%s: the reconstruction is not 0", label(kind, d, 16));
        encoded_free(&e);
        omen_codec_finish(&model);
        free(zeros);
        free(rows);
    }
}

/* The model depends on rows and seed, not on the level or the threads; the next seed gives another. */
static void test_deterministic(omen_codec kind)
{
    float *rows = gaussian(500, 20, 0.95, 1);
    omen_codec_model a, b, c;
    train(&a, kind, rows, 500, 20, 16);
    CHECK_EQ_INT(omen_cpu_select("scalar", NULL), OMEN_OK);
    train(&b, kind, rows, 500, 20, 16);
    CHECK_EQ_INT(omen_cpu_select(NULL, NULL), OMEN_OK);
    CHECK_EQ_INT(omen_codec_train(&c, kind, rows, 500, 20, 16, 6, NULL), OMEN_OK);
    if (kind == OMEN_CODEC_PQ) {
        const size_t n_bytes = (size_t)a.n_active * 16 * sizeof(float);
        CHECK(a.n_active == b.n_active && memcmp(a.codewords, b.codewords, n_bytes) == 0);
        CHECK(memcmp(a.dims, b.dims, a.n_active * 4) == 0);
        CHECK(a.n_active != c.n_active || memcmp(a.codewords, c.codewords, n_bytes) != 0);
    } else {
        const size_t n_bytes = (size_t)4 * a.n_sub * a.d_used * sizeof(float);
        CHECK(memcmp(a.rotation, b.rotation, n_bytes) == 0);
        CHECK(memcmp(a.rotation, c.rotation, n_bytes) != 0);
    }
    omen_codec_finish(&a);
    omen_codec_finish(&b);
    omen_codec_finish(&c);
    omen_codec_finish(&c); /* twice is fine */
    free(rows);
}

/* Decoding gives back what encoding says the codes stand for, added to what is there. */
static void test_decode(omen_codec kind)
{
    enum { N = 16, D = 21, LD = 24 };
    float *rows = gaussian(N, D, 0.95, 1), *origin = calloc(N * D, sizeof *origin), *y = malloc(N * LD * sizeof *y);
    float gains[N] = {0};
    omen_codec_model model;
    train(&model, kind, rows, N, D, 8);
    CHECK_EQ_INT(omen_codec_prepare_decode(&model), OMEN_OK);
    encoded e = encode(&model, rows, origin, N, no_tails);
    for (size_t i = 0; i < N && omen_codec_has_gain(model.n_factors); i++)
        gains[i] = e.factors[2 * i + 1];
    for (size_t i = 0; i < N * LD; i++)
        y[i] = 1;
    float *scratch = malloc(N * omen_codec_decode_floats(&model) * sizeof *scratch + 1);
    omen_codec_decode(&model, e.codes, gains, N, y, LD, scratch);
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < LD; j++) {
            const float wanted = 1 + (j < D ? e.reconstructions[i * D + j] : 0);
            CHECK_CASE(fabsf(y[i * LD + j] - wanted) <= 1e-5f, "%s, row %zu, value %zu: %g, not %g",
                       omen_codec_name(kind), i, j, (double)y[i * LD + j], (double)wanted);
        }
    }
    omen_codec_finish(&model);
    encoded_free(&e);
    free(scratch);
    free(y);
    free(origin);
    free(rows);
}

/* ---- rabitq alone ------------------------------------------------------- */

static void test_rabitq_signs(void)
{
    enum { D = 40 };
    float *rows = gaussian(16, D, 0.97, 3), *mirrored = gaussian(16, D, 0.97, 3), *origin = calloc(16 * D, 4);
    omen_codec_model model;
    train(&model, OMEN_CODEC_RABITQ, rows, 16, D, 10);
    for (size_t i = 0; i < 16 * D; i++)
        mirrored[i] = -mirrored[i];
    encoded a = encode(&model, rows, origin, 16, no_tails), b = encode(&model, mirrored, origin, 16, no_tails);
    for (size_t i = 0; i < 16 * model.n_sub / 2; i++)
        CHECK_EQ_INT(a.codes[i] ^ b.codes[i], 255);
    CHECK(memcmp(a.factors, b.factors, 16 * 2 * sizeof(float)) == 0);
    for (size_t i = 0; i < 16; i++) {
        double dot = 0, norm2 = 0;
        for (size_t j = 0; j < D; j++) {
            CHECK(a.reconstructions[i * D + j] == -b.reconstructions[i * D + j]);
            dot += (double)a.reconstructions[i * D + j] * (double)rows[i * D + j];
            norm2 += (double)rows[i * D + j] * (double)rows[i * D + j];
        }
        /* unbiased: the part along the row is the row's own */
        CHECK_CASE(fabs(dot - norm2) <= 1e-4 * norm2, "row %zu: %g, not %g", i, dot, norm2);
    }
    /* the columns of the rotation are orthonormal */
    for (size_t j = 0; j < model.d_used; j++) {
        for (size_t l = 0; l <= j; l++) {
            double dot = 0;
            for (size_t i = 0; i < 4 * model.n_sub; i++)
                dot += (double)model.rotation[i * model.d_used + j] * (double)model.rotation[i * model.d_used + l];
            CHECK_CASE(fabs(dot - (j == l)) < 1e-5, "columns %zu and %zu: %g", j, l, dot);
        }
    }
    encoded_free(&a);
    encoded_free(&b);
    omen_codec_finish(&model);
    free(origin);
    free(mirrored);
    free(rows);
}

/* ---- refine tier -------------------------------------------------------- */

static void check_row(omen_refine refine, const float *row, uint32_t d)
{
    const size_t n_bytes = omen_refine_row_bytes(refine, d);
    uint8_t *stored = malloc(n_bytes);
    float *copy = clone(row, d * sizeof *copy), *decoded = malloc(d * sizeof *decoded), low = row[0], high = row[0];
    const char *name = omen_refine_name(refine);
    omen_refine_encode(refine, row, d, stored);
    omen_refine_decode(refine, stored, d, decoded);
    CHECK_CASE(omen_refine_is_valid(refine, stored, d), "%s, d %u", name, d);
    CHECK_CASE(omen_refine_matches(refine, stored, row, d), "%s, d %u, first %g", name, d, (double)row[0]);
    for (size_t j = 0; j < d; j++) {
        low = row[j] < low ? row[j] : low;
        high = row[j] > high ? row[j] : high;
    }
    const double top = refine == OMEN_REFINE_SQ8 ? 255 : refine == OMEN_REFINE_SQ12 ? 4095 : 65535;
    const bool has_step = refine != OMEN_REFINE_F16 && refine != OMEN_REFINE_F32;
    const double step = ((double)high - (double)low) / top;
    float stored_step = 0; /* 1 for rows of integers, however near each other */
    if (has_step)
        memcpy(&stored_step, stored + 4, sizeof stored_step);
    for (size_t j = 0; j < d; j++) {
        const double x = (double)row[j], miss = fabs((double)decoded[j] - x);
        double most = 0;
        if (has_step) /* half a step and that of the product, and the rounding of low and step to float32 */
            most = (0.5 + top * 2.4e-7) * step + 2.4e-7 * fmax(fabs((double)low), fabs((double)high));
        else if (refine == OMEN_REFINE_F16)
            most = fabs(x) > 65504 ? fabs(x) - 65504 : fmax(fabs(x) * 0x1p-11, 0x1p-25);
        CHECK_CASE(miss <= most, "%s, d %u, value %zu: %.9g became %.9g", name, d, j, x, (double)decoded[j]);
        /* a value that is another by more than the codec's step is seen; f16's clamp hides what is beyond its range */
        const double moved = has_step                    ? 2 * (double)stored_step + 4e-6 * fabs(x) + 1e-30
                             : refine == OMEN_REFINE_F16 ? fmax(fabs(x) * 0x1p-9, 0x1p-23)
                                                         : fabs(x) * 0x1p-22 + 1e-45;
        if (refine == OMEN_REFINE_F16 && fabs(x) > 60000)
            continue;
        copy[j] = (float)(x + moved);
        CHECK_CASE(!omen_refine_matches(refine, stored, copy, d), "%s, d %u: %.9g matches %.9g", name, d,
                   (double)copy[j], x);
        copy[j] = row[j];
    }
    free(stored);
    free(copy);
    free(decoded);
}

static void test_refine_rows(void)
{
    static const uint32_t ds[] = {1, 2, 13, 64, 65, 300};
    for (size_t di = 0; di < sizeof ds / sizeof *ds; di++) {
        for (uint64_t turn = 0; turn < 60; turn++) {
            const uint32_t d = ds[di];
            float *row = gaussian(1, d, 1, turn);
            /* small, large, far from the origin */
            const float scale = powf(10, (float)(turn % 12) - 6), offset = turn % 3 ? 0 : 1000 * scale;
            for (size_t j = 0; j < d; j++)
                row[j] = row[j] * scale + offset;
            check_row(OMEN_REFINE_SQ8, row, d);
            check_row(OMEN_REFINE_SQ12, row, d);
            check_row(OMEN_REFINE_SQ16, row, d);
            check_row(OMEN_REFINE_F16, row, d);
            check_row(OMEN_REFINE_F32, row, d);
            free(row);
        }
    }
}

static void test_refine_edges(void)
{
    static const float rows[][4] = {{0, 0, 0, 0},
                                    {-0.0f, 0, -0.0f, 0},
                                    {1, 1, 1, 1},
                                    {0.1f, 0.1f, 0.1f, 0.1f},
                                    {-1e9f, -1e9f, 1e9f, 1e9f},
                                    {1e18f, -1e18f, 0, 1e17f},
                                    {1e-20f, 2e-20f, 3e-20f, 0},
                                    {65504, -65504, 65519, 65520},
                                    {0x1p-14f, 0x1p-15f, 0x1p-24f, 0x1p-25f},
                                    {0x1.ffep-15f, 0x1.fffp-15f, 0x1.fff8p-15f, 0x1p-14f},
                                    {1e5f, -1e5f, 3, 4}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (omen_refine refine = OMEN_REFINE_SQ8; refine < OMEN_N_REFINES; refine++)
            check_row(refine, rows[i], 4);
    /* rows so small that one step, or its reciprocal, is no normal number */
    static const float tiny[][4] = {{0, 1e-38f, 5e-39f, 0}, {0, 1e-40f, 5e-41f, 0}, {0, 0x1p-149f, 0, 0}};
    for (size_t i = 0; i < sizeof tiny / sizeof *tiny; i++) {
        uint8_t stored[12];
        float decoded[4];
        omen_refine_encode(OMEN_REFINE_SQ8, tiny[i], 4, stored);
        omen_refine_decode(OMEN_REFINE_SQ8, stored, 4, decoded);
        for (size_t j = 0; j < 4; j++)
            CHECK_CASE(decoded[j] >= 0 && decoded[j] <= tiny[i][1], "%g became %g", (double)tiny[i][j],
                       (double)decoded[j]);
        CHECK_CASE(omen_refine_matches(OMEN_REFINE_SQ8, stored, tiny[i], 4), "tiny row %zu", i);
    }
}

static void test_sq8_integers(void)
{
    for (int low = -300; low <= 16777216 - 255; low = low < 300 ? low + 37 : low * 3 + 1) {
        for (uint32_t d = 1; d <= 130; d += 43) {
            float row[130], decoded[130];
            uint8_t stored[8 + 130];
            for (uint32_t j = 0; j < d; j++)
                row[j] = (float)(low + (int)(omen_random((uint64_t)low, j) % 256));
            omen_refine_encode(OMEN_REFINE_SQ8, row, d, stored);
            omen_refine_decode(OMEN_REFINE_SQ8, stored, d, decoded);
            CHECK_CASE(memcmp(row, decoded, d * sizeof *row) == 0, "low %d, d %u", low, d);
            row[d / 2] += 2 + row[d / 2] / 100000;
            CHECK_CASE(!omen_refine_matches(OMEN_REFINE_SQ8, stored, row, d), "low %d, d %u", low, d);
        }
    }
}

static float half(uint32_t h)
{
    return omen_half_to_float((uint16_t)h);
}

static void test_f16(void)
{
    for (uint32_t h = 0; h < 65536; h++) {
        const uint16_t in = (uint16_t)h;
        uint16_t out;
        float x;
        omen_refine_decode(OMEN_REFINE_F16, &in, 1, &x);
        /* an independent reading of the bits */
        const int exponent = in >> 10 & 31, mantissa = in & 1023;
        const double magnitude = exponent == 0 ? ldexp(mantissa, -24) : ldexp(mantissa + 1024, exponent - 25),
                     sign = in >> 15 ? -1 : 1;
        CHECK_EQ_INT(omen_refine_is_valid(OMEN_REFINE_F16, &in, 1), exponent != 31);
        if (exponent == 31) {
            CHECK(mantissa ? isnan(x) : isinf(x) && (x < 0) == (in >> 15));
            continue;
        }
        CHECK_CASE((double)x == sign * magnitude && (signbit(x) != 0) == (in >> 15), "%#x is %g", h, (double)x);
        omen_refine_encode(OMEN_REFINE_F16, &x, 1, (uint8_t *)&out);
        CHECK_CASE(out == in, "%#x became %#x", h, out);
        /* halfway to the next one goes to the even one, and a hair off halfway to the nearer */
        if ((h & 0x7fff) < 0x7bff) {
            const float between = (float)(((double)x + (double)half(h + 1)) / 2);
            const float away = signbit(x) ? -INFINITY : INFINITY;
            const float values[] = {between, nextafterf(between, 0), nextafterf(between, away)};
            const uint32_t wanted[] = {h + (h & 1), h, h + 1};
            for (int i = 0; i < 3; i++) {
                omen_refine_encode(OMEN_REFINE_F16, &values[i], 1, (uint8_t *)&out);
                CHECK_CASE(out == wanted[i], "%a became %#x, not %#x", (double)values[i], out, wanted[i]);
            }
        }
    }
}

static void test_invalid_rows(void)
{
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        float row[3] = {1, 2, bad[i]};
        uint8_t sq8[11] = {0};
        CHECK(!omen_refine_is_valid(OMEN_REFINE_F32, row, 3));
        memcpy(sq8, &bad[i], 4);
        CHECK(!omen_refine_is_valid(OMEN_REFINE_SQ8, sq8, 3));
        memset(sq8, 0, 4);
        memcpy(sq8 + 4, &bad[i], 4);
        CHECK(!omen_refine_is_valid(OMEN_REFINE_SQ8, sq8, 3));
    }
    uint8_t sq8[11] = {0};
    CHECK(omen_refine_is_valid(OMEN_REFINE_SQ8, sq8, 3));
    memcpy(sq8 + 4, &(float){-1}, 4);
    CHECK(!omen_refine_is_valid(OMEN_REFINE_SQ8, sq8, 3));
    CHECK_EQ_INT(omen_refine_row_bytes(OMEN_REFINE_NONE, 9), 0);
    CHECK_EQ_INT(omen_refine_row_bytes(OMEN_REFINE_SQ8, 9), 17);
    CHECK_EQ_INT(omen_refine_row_bytes(OMEN_REFINE_SQ12, 9), 22);
    CHECK_EQ_INT(omen_refine_row_bytes(OMEN_REFINE_SQ12, 10), 23);
    CHECK_EQ_INT(omen_refine_row_bytes(OMEN_REFINE_SQ16, 9), 26);
    CHECK_EQ_INT(omen_refine_row_bytes(OMEN_REFINE_F16, 9), 18);
    CHECK_EQ_INT(omen_refine_row_bytes(OMEN_REFINE_F32, 9), 36);
}

/* Distances from centred rows are those from the rows, and a zero row is one. */
static void test_centred(void)
{
    enum { D = 20 };
    float query[D], row[D], centre[D], shifted_query[D], shifted_row[D];
    uint8_t stored[OMEN_SQ_HEADER + 2 * D];
    for (uint32_t j = 0; j < D; j++) {
        centre[j] = j == 3 ? 1e6f : 100;
        row[j] = centre[j] + (float)(omen_random(1, j) % 1000) / 256;
        query[j] = centre[j] + (float)(omen_random(2, j) % 1000) / 256;
    }
    for (int metric = OMEN_METRIC_L2; metric <= OMEN_METRIC_IP; metric++) {
        const omen_refine_space space = {
            .tier = OMEN_REFINE_SQ16, .metric = (omen_metric)metric, .d = D, .centre = centre};
        double l2 = 0, ip = 0;
        for (uint32_t j = 0; j < D; j++) {
            l2 += ((double)query[j] - (double)row[j]) * ((double)query[j] - (double)row[j]);
            ip += (double)query[j] * (double)row[j];
        }
        const float *q = omen_refine_shift(&space, query, 1, true, shifted_query);
        CHECK((q == query) == (metric == OMEN_METRIC_IP));
        omen_refine_encode(space.tier, omen_refine_shift(&space, row, 1, false, shifted_row), D, stored);
        const double found = (double)omen_refine_distance(&space, omen_refine_kernel(space.tier, space.metric), q,
                                                          omen_refine_offset(&space, query), stored);
        const double wanted = metric == OMEN_METRIC_L2 ? l2 : -ip;
        CHECK_CASE(fabs(found - wanted) <= (metric == OMEN_METRIC_L2 ? 1e-3 : 1e-6) * fabs(wanted), "%s: %g, not %g",
                   omen_metric_name(space.metric), found, wanted);
    }
    const float zeros[D] = {0}, unit[D] = {[2] = 1};
    for (omen_refine refine = OMEN_REFINE_SQ8; refine < OMEN_N_REFINES; refine++) {
        uint8_t any[4 * D + OMEN_SQ_HEADER];
        const omen_refine_space space = {.tier = refine, .metric = OMEN_METRIC_COSINE, .d = D, .has_zero_rows = true};
        const omen_distance_fn kernel = omen_refine_kernel(refine, OMEN_METRIC_COSINE);
        omen_refine_encode(refine, zeros, D, any);
        CHECK(omen_refine_is_zero(&space, any) && omen_refine_distance(&space, kernel, unit, 0, any) == 1);
        omen_refine_encode(refine, unit, D, any);
        CHECK(!omen_refine_is_zero(&space, any) && omen_refine_distance(&space, kernel, unit, 0, any) == 0);
    }
    const float wide[D] = {65519, -65519}, wider[D] = {0, -65520};
    CHECK(omen_refine_fits(OMEN_REFINE_F16, wide, D) && !omen_refine_fits(OMEN_REFINE_F16, wider, D) &&
          omen_refine_fits(OMEN_REFINE_SQ8, wider, D));
    centre[7] = NAN;
    CHECK(!omen_refine_centre_is_sound(centre, D));
    centre[7] = 1e19f;
    CHECK(!omen_refine_centre_is_sound(centre, D));
}

/* ---- keys --------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void test_keys_select_sort(void)
{
    static const size_t sizes[] = {1, 2, 3, 4, 5, 7, 16, 63, 64, 65, 66, 100, 1000};
    for (size_t si = 0; si < sizeof sizes / sizeof *sizes; si++) {
        for (int kind = 0; kind < 6; kind++) {
            const size_t n = sizes[si], step = n <= 100 ? 1 : 37;
            uint64_t *keys = malloc(n * sizeof *keys);
            for (size_t i = 0; i < n; i++) {
                const uint64_t random = omen_random(n, i);
                keys[i] = kind == 0   ? random
                          : kind == 1 ? 42
                          : kind == 2 ? i
                          : kind == 3 ? n - i
                          : kind == 4 ? random % 3
                                      : (i < n / 2 ? i : n - i); /* up and down */
            }
            uint64_t *want = clone(keys, n * sizeof *keys);
            qsort(want, n, sizeof *want, by_value);
            for (size_t m = 1; m <= n; m = m + step > n && m < n ? n : m + step) {
                uint64_t *got = clone(keys, n * sizeof *keys);
                omen_keys_select(got, n, m);
                qsort(got, m, sizeof *got, by_value);
                CHECK_CASE(memcmp(got, want, m * sizeof *got) == 0, "select %zu of %zu, kind %d", m, n, kind);
                qsort(got, n, sizeof *got, by_value); /* none lost */
                CHECK_CASE(memcmp(got, want, n * sizeof *got) == 0, "select %zu of %zu, kind %d", m, n, kind);
                free(got);
            }
            omen_keys_sort(keys, n);
            CHECK_CASE(memcmp(keys, want, n * sizeof *keys) == 0, "sort %zu, kind %d", n, kind);
            free(want);
            free(keys);
        }
    }
    omen_keys_sort(NULL, 0);
}

static void test_key_order(void)
{
    static const float rising[] = {-INFINITY, -FLT_MAX, -1.5f, -1,   -1e-30f, -0x1p-149f, -0.0f,   0.0f,
                                   0x1p-149f, 1e-30f,   1,     1.5f, 2,       FLT_MAX,    INFINITY};
    const size_t n = sizeof rising / sizeof *rising;
    for (size_t i = 0; i < n; i++) {
        const float back = omen_key_distance(omen_key(rising[i], 7));
        CHECK(memcmp(&back, &rising[i], sizeof back) == 0);
        CHECK_EQ_INT((uint32_t)omen_key(rising[i], 0xfffffff0u), 0xfffffff0u);
        CHECK(omen_key(rising[i], 3) < omen_key(rising[i], 4));
        if (i > 0)
            CHECK_CASE(omen_key(rising[i - 1], UINT32_MAX) < omen_key(rising[i], 0), "%g and %g", (double)rising[i - 1],
                       (double)rising[i]);
    }
}

#define RUN_BOTH(test)                                                                                                 \
    do {                                                                                                               \
        RUN_AS(#test " pq", test(OMEN_CODEC_PQ));                                                                      \
        RUN_AS(#test " rabitq", test(OMEN_CODEC_RABITQ));                                                              \
    } while (0)

int main(void)
{
    RUN_BOTH(test_error_falls);
    RUN_BOTH(test_consistent);
    RUN_BOTH(test_every_dimension);
    RUN_BOTH(test_few_rows);
    RUN_BOTH(test_constant);
    RUN_BOTH(test_deterministic);
    RUN_BOTH(test_decode);
    RUN(test_rabitq_signs);
    RUN(test_refine_rows);
    RUN(test_refine_edges);
    RUN(test_sq8_integers);
    RUN(test_centred);
    RUN(test_f16);
    RUN(test_invalid_rows);
    RUN(test_keys_select_sort);
    RUN(test_key_order);
    return check_finish();
}
