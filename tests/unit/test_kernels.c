/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of products, choices and rows at every SIMD level (kernel_cases.h). */
#include <math.h>

#include "lib/matrix.h"
#include "tests/unit/kernel_cases.h"

static void test_matmul(void)
{
    const size_t k_step = check_quick() ? 13 : 1;
    for (size_t m = 0; m <= 26; m++) {
        for (size_t n_panels = 1; n_panels <= 3; n_panels++) {
            for (size_t k = m % k_step; k <= 130; k += k_step) {
                const value_kind kind = (value_kind)((m + k) % N_KINDS);
                const size_t lda = k + draw_below(3), ldc = n_panels * OMEN_PANEL + draw_below(2) * 5;
                /* the last row ends with its last value, not with its stride */
                const size_t n_a = m ? (m - 1) * lda + k : 0;
                const size_t n_c = m ? (m - 1) * ldc + n_panels * OMEN_PANEL : 0;
                float *a = last_floats(0, n_a), *panels = last_floats(1, n_panels * k * OMEN_PANEL);
                float *want = last_floats(2, n_c), *got = last_floats(3, n_c);
                draw_floats(a, n_a, kind);
                draw_floats(panels, n_panels * k * OMEN_PANEL, kind);
                memset(want, 0xa5, n_c * sizeof *want);
                memset(got, 0xa5, n_c * sizeof *got);
                scalar->matmul(a, lda, m, panels, n_panels, k, want, ldc);
                level->matmul(a, lda, m, panels, n_panels, k, got, ldc);
                CHECK_CASE(same_floats(want, got, n_c), "m %zu, %zu panels, k %zu, lda %zu, ldc %zu, values %d", m,
                           n_panels, k, lda, ldc, (int)kind);
            }
        }
    }
    for (size_t n_panels = 4; n_panels <= 13; n_panels++) { /* one row goes through many panels at once */
        for (size_t k = 0; k <= 19; k++) {
            const size_t n_c = n_panels * OMEN_PANEL;
            float *a = last_floats(0, k), *panels = last_floats(1, n_c * k), *want = last_floats(2, n_c);
            float *got = last_floats(3, n_c);
            draw_floats(a, k, (value_kind)(k % N_KINDS));
            draw_floats(panels, n_c * k, (value_kind)(k % N_KINDS));
            scalar->matmul(a, k, 1, panels, n_panels, k, want, n_c);
            level->matmul(a, k, 1, panels, n_panels, k, got, n_c);
            CHECK_CASE(same_floats(want, got, n_c), "one row, %zu panels, k %zu", n_panels, k);
        }
    }
    /* the transform sums its mean with ldc 0, one row */
    float *a = last_floats(0, 19), *panels = last_floats(1, 19 * 48), *want = last_floats(2, 48);
    float *got = last_floats(3, 48);
    draw_floats(a, 19, PLAIN);
    draw_floats(panels, 19 * 48, PLAIN);
    scalar->matmul(a, 19, 1, panels, 3, 19, want, 0);
    level->matmul(a, 19, 1, panels, 3, 19, got, 0);
    CHECK(same_floats(want, got, 48));
}

static void test_float64(void)
{
    for (size_t n = 0; n <= 100; n++) {
        for (value_kind kind = 0; kind < N_KINDS; kind++) {
            double *a = last_doubles(0, n), *b = last_doubles(1, n);
            draw_doubles(a, n, kind);
            draw_doubles(b, n, kind);
            const double want = scalar->dot_f64(a, b, n), got = level->dot_f64(a, b, n);
            CHECK_CASE(same_doubles(&want, &got, 1), "n %zu, values %d", n, kind);
            const size_t n_rows = draw_below(6), ld = n + draw_below(3), n_values = n_rows ? (n_rows - 1) * ld + n : 0;
            double *rows = last_doubles(2, n_values), *x = last_doubles(3, n_rows);
            draw_doubles(rows, n_values, kind);
            draw_doubles(x, n_rows, kind);
            memcpy(b, a, n * sizeof *a);
            scalar->reduce_f64(a, x, rows, ld, n_rows, n);
            level->reduce_f64(b, x, rows, ld, n_rows, n);
            CHECK_CASE(same_doubles(a, b, n), "n %zu, %zu rows, ld %zu, values %d", n, n_rows, ld, kind);
        }
    }
}

static void test_matmul_u8(void)
{
    for (size_t m = 0; m <= 26; m++) {
        /* one row goes through many panels at once */
        for (size_t n_panels = 1; n_panels <= (m == 1 ? 9 : 3); n_panels++) {
            for (size_t k = 0; k <= 132; k += 4) {
                /* rows may be closer than what is read of them, where panels are 0 */
                const size_t lda = k - (k ? draw_below(4) : 0), ldc = n_panels * OMEN_PANEL + draw_below(2) * 5;
                const size_t n_a = m ? (m - 1) * lda + k : 0, n_panel = n_panels * k * OMEN_PANEL;
                const size_t n_c = m ? (m - 1) * ldc + n_panels * OMEN_PANEL : 0;
                uint8_t *a = last_bytes(0, n_a);
                int8_t *panels = (int8_t *)last_bytes(1, n_panel);
                float *want = last_floats(2, n_c), *got = last_floats(3, n_c);
                int32_t *rows = last_bytes(4, m * sizeof *rows);
                int32_t *columns = last_bytes(5, n_panels * OMEN_PANEL * sizeof *columns);
                for (size_t i = 0; i < m; i++)
                    rows[i] = (int32_t)draw_below(1u << 30) - (1 << 29);
                for (size_t j = 0; j < n_panels * OMEN_PANEL; j++)
                    columns[j] = (int32_t)draw_below(1u << 30) - (1 << 29);
                const unsigned kind = draw_below(3);
                draw_bytes(a, n_a, 256);
                draw_bytes((uint8_t *)panels, n_panel, 256);
                if (kind > 0) { /* the largest sums of either sign */
                    memset(a, 255, n_a);
                    memset(panels, kind == 1 ? -128 : 127, n_panel);
                }
                memset(want, 0xa5, n_c * sizeof *want);
                memset(got, 0xa5, n_c * sizeof *got);
                scalar->matmul_u8(a, lda, m, panels, n_panels, k, rows, columns, want, ldc);
                level->matmul_u8(a, lda, m, panels, n_panels, k, rows, columns, got, ldc);
                CHECK_CASE(same_floats(want, got, n_c), "m %zu, %zu panels, k %zu, lda %zu, ldc %zu", m, n_panels, k,
                           lda, ldc);
            }
        }
    }
}

static void test_dots_u8(void)
{
    for (size_t n = 0; n <= 9; n++) {
        for (size_t k = 4; k <= 260; k += 4) {
            const size_t n_rows = 1 + draw_below(12);
            uint8_t *rows = last_bytes(0, n_rows * k);
            uint32_t *at = last_bytes(1, n * sizeof *at);
            int8_t *b = last_bytes(2, k);
            int32_t *want = last_bytes(3, n * sizeof *want), *got = last_bytes(4, n * sizeof *got);
            const unsigned kind = draw_below(3);
            draw_bytes(rows, n_rows * k, 256);
            draw_bytes((uint8_t *)b, k, 256);
            for (size_t i = 0; i < n; i++)
                at[i] = (uint32_t)draw_below((unsigned)n_rows);
            if (kind > 0) { /* the largest sums of either sign */
                memset(rows, 255, n_rows * k);
                memset(b, kind == 1 ? -128 : 127, k);
            }
            memset(want, 0xa5, n * sizeof *want);
            memset(got, 0x5a, n * sizeof *got);
            scalar->dots_u8(rows, at, n, b, k, want);
            level->dots_u8(rows, at, n, b, k, got);
            CHECK_CASE(memcmp(want, got, n * sizeof *got) == 0, "%zu of %zu rows, k %zu", n, n_rows, k);
        }
    }
}

static void test_split16(void)
{
    for (size_t n = 1; n <= 70; n++) {
        float *x = last_floats(0, n), *from = last_floats(1, n);
        uint8_t *want = last_bytes(2, 2 * n), *got = last_bytes(3, 2 * n);
        for (int kind = 0; kind < 5; kind++) {
            draw_floats(x, n, kind == 1 ? MIXED : PLAIN);
            draw_floats(from, n, PLAIN);
            for (size_t i = 0; i < n && kind > 1; i++) { /* nothing, too little, and only the last value */
                from[i] = 0;
                x[i] = kind == 2 ? (i % 2 ? 0.0f : -0.0f) : kind == 3 ? 9e-31f : i == n - 1 ? -5.0f : 0;
            }
            memset(want, 0xa5, 2 * n);
            memset(got, 0x5a, 2 * n);
            const float unit = scalar->split16(x, from, n, want, want + n);
            CHECK_CASE(same_float(level->split16(x, from, n, got, got + n), unit) && memcmp(want, got, 2 * n) == 0,
                       "%zu values of kind %d", n, kind);
            float top = 0;
            for (size_t i = 0; i < n; i++)
                top = fabsf(x[i] - from[i]) > top ? fabsf(x[i] - from[i]) : top;
            CHECK_CASE(same_float(unit, top > 1e-30f ? top / 32639 : 0), "%zu values of kind %d: %g of %g", n, kind,
                       (double)unit, (double)top);
            for (size_t i = 0; i < n; i++) {
                const double back = (double)unit * (256 * (want[i] - 128) + want[n + i] - 128);
                CHECK_CASE(fabs(back - (double)(x[i] - from[i])) <= 0.51 * (double)unit + 1e-30,
                           "%zu values of kind %d: %g is %g", n, kind, (double)(x[i] - from[i]), back);
                CHECK_CASE(x[i] != from[i] || (want[i] == 128 && want[n + i] == 128), "%zu values of kind %d: no 0", n,
                           kind);
            }
        }
    }
}

static void check_argmin(const float *dots, const float *half, size_t n, const char *what)
{
    float want, got;
    uint32_t want_at, got_at;
    scalar->argmin(dots, half, n, &want, &want_at);
    level->argmin(dots, half, n, &got, &got_at);
    CHECK_CASE(want_at == got_at && same_float(want, got), "n %zu, %s: %u with %g, not %u with %g", n, what, got_at,
               (double)got, want_at, (double)want);
}

static void test_argmin(void)
{
    for (size_t n = 1; n <= 130; n++) {
        float *dots = last_floats(0, n), *half = last_floats(1, n);
        for (int turn = 0; turn < 20; turn++) {
            draw_floats(dots, n, PLAIN);
            draw_floats(half, n, PLAIN);
            check_argmin(dots, half, n, "plain");
            draw_floats(dots, n, TIES);
            draw_floats(half, n, TIES);
            check_argmin(dots, half, n, "ties");
            /* what is left of the parents that were chosen before */
            for (size_t i = 0; i < n; i++)
                if (draw_below(2))
                    dots[i] = -INFINITY;
            check_argmin(dots, half, n, "some -inf");
            /* 0 and -0 are equal: the first counts, with its sign */
            for (size_t i = 0; i < n; i++) {
                dots[i] = 0.0f;
                half[i] = draw_below(2) ? 0.0f : -0.0f;
            }
            check_argmin(dots, half, n, "zeros");
            draw_floats(dots, n, MIXED);
            draw_floats(half, n, MIXED);
            check_argmin(dots, half, n, "mixed");
        }
        for (size_t i = 0; i < n; i++) {
            dots[i] = 3;
            half[i] = 1;
        }
        check_argmin(dots, half, n, "all equal");
        for (size_t i = 0; i < n; i++) {
            dots[i] = 4;
            check_argmin(dots, half, n, "one lower");
            dots[i] = 3;
        }
        for (size_t i = 0; i < n; i++)
            dots[i] = -INFINITY;
        check_argmin(dots, half, n, "all -inf");
    }
}

static void test_reach(void)
{
    for (size_t n_panels = 0; n_panels <= 5; n_panels++) {
        for (int turn = 0; turn < 200; turn++) {
            const size_t n = n_panels * OMEN_PANEL;
            const value_kind kind = (value_kind)(turn % N_KINDS);
            float *dots = last_floats(0, n), *floors = last_floats(1, n), half;
            uint16_t *want = (uint16_t *)last_bytes(2, 2 * n_panels), *got = (uint16_t *)last_bytes(3, 2 * n_panels);
            draw_floats(dots, n, kind);
            draw_floats(floors, n, kind);
            draw_floats(&half, 1, kind);
            for (size_t i = 0; i < n; i++) {
                const size_t what = draw_below(4); /* many equal, some that all or nothing reaches */
                floors[i] = what == 0 ? dots[i] - half : what == 1 ? -INFINITY : what == 2 ? INFINITY : floors[i];
            }
            memset(got, 0xa5, 2 * n_panels);
            scalar->reach(dots, half, floors, n_panels, want);
            level->reach(dots, half, floors, n_panels, got);
            CHECK_CASE(memcmp(want, got, 2 * n_panels) == 0, "%zu panels, values %d", n_panels, (int)kind);
        }
    }
}

static void test_filter(void)
{
    for (size_t n = 0; n <= 130; n++) {
        for (int turn = 0; turn < 60; turn++) {
            const value_kind kind = (value_kind)(turn % N_KINDS);
            float *values = last_floats(0, n), limit;
            uint32_t want[130 + 16], *got = (uint32_t *)(void *)last_floats(1, n + 16);
            draw_floats(values, n, kind);
            draw_floats(&limit, 1, kind);
            if (n > 0 && turn % 3 == 0)
                limit = values[draw_below((uint32_t)n)];
            const size_t n_want = scalar->filter(values, n, limit, want), n_got = level->filter(values, n, limit, got);
            CHECK_CASE(n_got == n_want && memcmp(want, got, n_want * sizeof *want) == 0, "%zu values, kind %d", n,
                       (int)kind);
        }
    }
}

/* The kinds of rows that are integers between a low and a high value. */
typedef struct {
    const char *name;
    uint32_t bits;
    void (*want)(const float *row, size_t d, uint8_t *out);
    void (*got)(const float *row, size_t d, uint8_t *out);
} range_rows;

static uint32_t range_code(const uint8_t *row, uint32_t bits, size_t d, size_t j)
{
    return bits == 8 ? row[OMEN_SQ_HEADER + j] : bits == 12 ? omen_sq12_code(row, d, j) : omen_sq16_code(row, j);
}

static void check_range_rows(const range_rows *rows, size_t d, int turn)
{
    const uint32_t top = (1u << rows->bits) - 1;
    const size_t n_bytes = OMEN_SQ_HEADER + (d * rows->bits + 7) / 8;
    float *row = last_floats(0, d), header[2];
    uint8_t *got = last_bytes(1, n_bytes), want[OMEN_SQ_HEADER + 200];
    draw_floats(row, d, turn % 3 == 0 ? MIXED : turn % 3 == 1 ? TIES : PLAIN);
    for (size_t j = 0; j < d && turn % 5 == 0; j++) /* whole numbers, of which one may be too far or broken */
        row[j] = (float)draw_below(top + 1) + (turn % 2 ? -100.0f : 0);
    if (turn % 20 == 5)
        row[d - 1] += turn % 40 == 5 ? 0.5f : 1.2f * (float)top;
    rows->want(row, d, want);
    rows->got(row, d, got);
    CHECK_CASE(memcmp(want, got, n_bytes) == 0, "%s row of %zu, turn %d", rows->name, d, turn);
    memcpy(header, got, sizeof header);
    bool is_near = true;
    float lo = INFINITY;
    for (size_t j = 0; j < d; j++) {
        lo = row[j] < lo ? row[j] : lo;
        const double back = (double)header[0] + (double)header[1] * range_code(got, rows->bits, d, j);
        is_near &= fabs(back - (double)row[j]) <= 0.51 * (double)header[1] + top * 0x1p-126;
    }
    CHECK_CASE(is_near && header[0] == lo, "%s row of %zu, turn %d: not the nearest values", rows->name, d, turn);
    const bool is_whole = turn % 20 == 0;
    CHECK_CASE(!is_whole || header[1] == 1, "%s: whole numbers of %zu have step %g", rows->name, d, (double)header[1]);
}

static void test_range_encode(void)
{
    const range_rows kinds[] = {{"sq8", 8, scalar->sq8_encode, level->sq8_encode},
                                {"sq12", 12, scalar->sq12_encode, level->sq12_encode},
                                {"sq16", 16, scalar->sq16_encode, level->sq16_encode}};
    for (size_t i = 0; i < 3; i++)
        for (size_t d = 1; d <= 100; d++)
            for (int turn = 0; turn < 60; turn++)
                check_range_rows(&kinds[i], d, turn);
}

typedef enum { F32, F16, SQ8, SQ12, SQ16, N_ROW_TYPES } row_type;

static size_t row_bytes(row_type type, size_t d)
{
    static const size_t bits[N_ROW_TYPES] = {32, 16, 8, 12, 16};
    return (type < SQ8 ? 0 : OMEN_SQ_HEADER) + (bits[type] * d + 7) / 8;
}

static void draw_row(uint8_t *row, row_type type, size_t d, value_kind kind)
{
    if (type == F32) {
        for (size_t i = 0; i < d; i++) {
            const float x = draw_value(kind);
            memcpy(row + 4 * i, &x, 4);
        }
    } else if (type == F16) {
        for (size_t i = 0; i < d; i++) {
            uint16_t h = (uint16_t)draw();
            if (kind == TIES) /* subnormals and zeros of both signs */
                h &= 0x83ff;
            else if (kind != EXTREME && (h & 0x7c00) == 0x7c00) /* infinities and NaN only among extremes */
                h ^= 0x4000;
            memcpy(row + 2 * i, &h, 2);
        }
    } else {
        static const float steps[] = {0.0f, 0x1p-149f, 1e-39f, 1.0f, 1e18f, 1e-3f};
        const float low = draw_value(kind);
        const float step = kind == PLAIN ? draw_value(PLAIN) : steps[draw_below(6)];
        memcpy(row, &low, 4);
        memcpy(row + 4, &step, 4);
        draw_bytes(row + OMEN_SQ_HEADER, row_bytes(type, d) - OMEN_SQ_HEADER, 256);
    }
}

static void test_distances(void)
{
    typedef float (*distance_fn)(const float *query, const void *row, size_t d);
    const distance_fn want[N_ROW_TYPES][2] = {{scalar->l2_f32, scalar->ip_f32},
                                              {scalar->l2_f16, scalar->ip_f16},
                                              {scalar->l2_sq8, scalar->ip_sq8},
                                              {scalar->l2_sq12, scalar->ip_sq12},
                                              {scalar->l2_sq16, scalar->ip_sq16}};
    const distance_fn got[N_ROW_TYPES][2] = {{level->l2_f32, level->ip_f32},
                                             {level->l2_f16, level->ip_f16},
                                             {level->l2_sq8, level->ip_sq8},
                                             {level->l2_sq12, level->ip_sq12},
                                             {level->l2_sq16, level->ip_sq16}};
    static const char *const names[N_ROW_TYPES][2] = {{"l2_f32", "ip_f32"},
                                                      {"l2_f16", "ip_f16"},
                                                      {"l2_sq8", "ip_sq8"},
                                                      {"l2_sq12", "ip_sq12"},
                                                      {"l2_sq16", "ip_sq16"}};
    const int n_turns = check_quick() ? 2 : 10;
    for (row_type type = 0; type < N_ROW_TYPES; type++) {
        for (size_t d = 0; d <= 130; d++) {
            for (size_t offset = 0; offset < 4; offset++) {
                for (int turn = 0; turn < n_turns * N_KINDS; turn++) {
                    const value_kind kind = (value_kind)(turn % N_KINDS);
                    /* one row ends at the guard page; the others, moved away from it, start unaligned */
                    const size_t n_bytes = row_bytes(type, d);
                    uint8_t *row = (uint8_t *)last_bytes(1, n_bytes + offset);
                    float *query = last_floats(0, d);
                    draw_floats(query, d, kind);
                    draw_row(row, type, d, kind);
                    for (int i = 0; i < 2; i++) {
                        const float a = want[type][i](query, row, d), b = got[type][i](query, row, d);
                        CHECK_CASE(same_float(a, b), "%s, d %zu, offset %zu, values %d: %a, not %a", names[type][i], d,
                                   offset, (int)kind, (double)b, (double)a);
                    }
                }
            }
        }
    }
}

/* Every half there is, as the kernels read it: the product with 1 in one lane is the value itself. */
static void test_all_halves(void)
{
    float *query = last_floats(0, 16);
    for (uint32_t h = 0; h < 65536; h++) {
        uint16_t *row = last_bytes(1, 32);
        memset(row, 0, 32);
        memset(query, 0, 64);
        row[h % 16] = (uint16_t)h;
        query[h % 16] = 1;
        const float a = scalar->ip_f16(query, row, 16), b = level->ip_f16(query, row, 16);
        CHECK_CASE(same_float(a, b), "half %#06x: %a, not %a", h, (double)b, (double)a);
    }
}

static void test_select(void)
{
    omen_detail why = {""};
    CHECK_EQ_INT(omen_cpu_select("sse9", &why), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(why.text, "sse9");
    CHECK_EQ_INT(omen_cpu_select("scalar", &why), OMEN_OK);
    CHECK(strcmp(omen_cpu_level(), "scalar") == 0 && omen_kernels_get() == scalar);
    CHECK_EQ_INT(omen_cpu_select(NULL, &why), OMEN_OK);
    CHECK(omen_cpu_count() >= 1);
}

int main(void)
{
    static const kernel_test tests[] = {{"matmul", test_matmul},         {"bytes", test_matmul_u8},
                                        {"rows of bytes", test_dots_u8}, {"16 bits", test_split16},
                                        {"argmin", test_argmin},         {"reach", test_reach},
                                        {"filter", test_filter},         {"rows of integers", test_range_encode},
                                        {"distances", test_distances},   {"halves", test_all_halves},
                                        {"float64", test_float64}};
    RUN(test_select);
    kernel_cases_run(tests, sizeof tests / sizeof *tests);
    return check_finish();
}
