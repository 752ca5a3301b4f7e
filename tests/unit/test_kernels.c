/* SPDX-License-Identifier: Apache-2.0 */
/* Every SIMD level against the scalar reference, bit for bit: every length, unaligned rows, extreme values.
 *
 * Every argument ends at a page that cannot be read or written, so that a kernel that goes beyond one dies, with or
 * without a sanitizer. Outputs start as the same bytes for both levels and are compared whole, gaps included. */
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/kernels.h"
#include "lib/matrix.h"
#include "lib/omendb.h"
#include "tests/unit/check.h"

static const omen_kernels *const scalar = &omen_kernels_scalar;
static const omen_kernels *level; /* under test */

/* ---- arguments ---------------------------------------------------------- */

#define ARENA_BYTES ((size_t)1 << 18)
#define N_ARENAS    8

static uint8_t *arena_ends[N_ARENAS];

static void make_arenas(void)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < N_ARENAS; i++) {
        uint8_t *base = mmap(NULL, ARENA_BYTES + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (base == MAP_FAILED || mprotect(base + ARENA_BYTES, page, PROT_NONE) != 0) {
            perror("mmap");
            exit(1);
        }
        arena_ends[i] = base + ARENA_BYTES;
    }
}

/* The last n_bytes before the guard page of one arena. */
static void *last_bytes(int arena, size_t n_bytes)
{
    return arena_ends[arena] - n_bytes;
}

static float *last_floats(int arena, size_t n)
{
    return last_bytes(arena, n * sizeof(float));
}

static uint64_t n_drawn;

static uint64_t draw(void)
{
    return omen_random(7, n_drawn++);
}

static uint32_t draw_below(uint32_t n)
{
    return (uint32_t)(draw() % n);
}

typedef enum { PLAIN, TIES, MIXED, EXTREME, N_KINDS } value_kind;

/* PLAIN: -1 to 1. TIES: few whole values. EXTREME: what arithmetic treats specially; no NaN, though sums may become
 * one. MIXED: plain with some extremes that do not drown the rest. */
static float draw_value(value_kind kind)
{
    static const float extremes[] = {0.0f,  -0.0f,       0x1p-149f,      -0x1p-149f,  0x1.fffffcp-127f, 0x1p-126f,
                                     1e18f, -1e18f,      3.40282347e38f, 1e-20f,      -1e-20f,          1.0f,
                                     -1.0f, 0x1.8p-140f, 0x1.000002p0f,  16777217.0f, -65504.0f,        1e-30f};
    const uint64_t bits = draw();
    const float plain = (float)((double)(bits >> 11) * 0x1p-52 - 1);
    switch (kind) {
    case TIES:
        return (float)(int)(bits % 3) - 1;
    case MIXED:
        return bits % 8 ? plain : extremes[bits / 8 % 6];
    case EXTREME:
        return extremes[bits % (sizeof extremes / sizeof *extremes)];
    default:
        return plain;
    }
}

static void draw_floats(float *out, size_t n, value_kind kind)
{
    for (size_t i = 0; i < n; i++)
        out[i] = draw_value(kind);
}

static void draw_bytes(uint8_t *out, size_t n, unsigned below)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)draw_below(below);
}

/* The same bits; which NaN came out is the processor's affair. */
static bool same_float(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

static bool same_floats(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!same_float(a[i], b[i]))
            return false;
    return true;
}

static double *last_doubles(int arena, size_t n)
{
    return last_bytes(arena, n * sizeof(double));
}

static void draw_doubles(double *out, size_t n, value_kind kind)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (double)draw_value(kind) * (1 + 0x1p-40 * draw_below(1000));
}

static bool same_doubles(const double *a, const double *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i])))
            return false;
    return true;
}

/* ---- tests -------------------------------------------------------------- */

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
        for (int kind = 0; kind < N_KINDS; kind++) {
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
        for (size_t n_panels = 1; n_panels <= 3; n_panels++) {
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

static void test_tables(void)
{
    for (size_t n_sub = 0; n_sub <= 9; n_sub++) {
        for (int turn = 0; turn < 100; turn++) {
            const value_kind kind = turn % 2 ? PLAIN : TIES;
            uint32_t firsts[10], dims[20];
            size_t n_dims = 0;
            for (size_t m = 0; m <= n_sub; m++) {
                firsts[m] = (uint32_t)n_dims;
                n_dims += m < n_sub ? draw_below(3) : 0;
            }
            for (size_t a = 0; a < n_dims; a++)
                dims[a] = draw_below(20);
            float *query = last_floats(0, 20), *words = last_floats(1, n_dims * 16);
            float *want = last_floats(2, n_sub * 16), *got = last_floats(3, n_sub * 16), lows[9], lows_got[9];
            uint8_t *luts = last_bytes(4, n_sub * 16), luts_want[9 * 16];
            draw_floats(query, 20, kind);
            draw_floats(words, n_dims * 16, kind);
            scalar->pq_tables(query, dims, firsts, n_sub, words, want);
            level->pq_tables(query, dims, firsts, n_sub, words, got);
            CHECK_CASE(same_floats(want, got, n_sub * 16), "tables of %zu", n_sub);
            const float widest = scalar->table_lows(want, n_sub, lows),
                        widest_got = level->table_lows(want, n_sub, lows_got);
            CHECK_CASE(same_float(widest, widest_got) && same_floats(lows, lows_got, n_sub), "lows of %zu", n_sub);
            const float scale = widest > 0 ? (turn % 3 ? 63 : 70) / widest : 1; /* 70: some reach the limit */
            scalar->table_round(want, lows, n_sub, scale, 63, luts_want);
            level->table_round(want, lows, n_sub, scale, 63, luts);
            CHECK_CASE(memcmp(luts_want, luts, n_sub * 16) == 0, "rounded tables of %zu", n_sub);
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

static void test_signs(void)
{
    for (size_t d = 8; d <= 256; d += 8) {
        for (int turn = 0; turn < 20; turn++) {
            float *z = last_floats(0, d);
            uint8_t *got = last_bytes(1, d / 8), want[256 / 8];
            draw_floats(z, d, (value_kind)(turn % N_KINDS));
            const float want_sum = scalar->signs(z, d, want), got_sum = level->signs(z, d, got);
            CHECK_CASE(same_float(want_sum, got_sum) && memcmp(want, got, d / 8) == 0, "signs of %zu", d);
            bool is_right = true;
            double sum = 0;
            for (size_t j = 0; j < d; j++) {
                is_right &= (got[j / 8] >> j % 8 & 1) == (z[j] >= 0);
                sum += fabs((double)z[j]);
            }
            is_right &= sum > 1e38 || fabs(sum - (double)got_sum) <= 1e-5 * sum;
            CHECK_CASE(is_right, "signs of %zu: sum %g, not %g", d, (double)got_sum, sum);
        }
    }
}

static void test_take_keys(void)
{
    for (int turn = 0; turn < 2000; turn++) {
        int16_t *est = (int16_t *)(void *)last_bytes(0, 32 * sizeof *est);
        uint64_t *got = (uint64_t *)(void *)last_bytes(1, 32 * sizeof *got), want[32];
        uint32_t mask = 0;
        float base, unit;
        for (size_t j = 0; j < 32; j++) {
            est[j] = (int16_t)draw_below(65536);
            mask |= (uint32_t)(draw_below(32) < (uint32_t)turn % 33) << j;
        }
        draw_floats(&base, 1, (value_kind)(turn % N_KINDS));
        draw_floats(&unit, 1, (value_kind)(turn % N_KINDS));
        const uint32_t row = turn % 7 ? draw_below(1 << 20) : UINT32_MAX - 31;
        const size_t n_want = scalar->take_keys(est, mask, base, unit, row, want);
        const size_t n_got = level->take_keys(est, mask, base, unit, row, got);
        CHECK_CASE(n_got == n_want && memcmp(want, got, n_want * sizeof *want) == 0, "mask %08x", (unsigned)mask);
    }
}

static void test_count_bits(void)
{
    for (int turn = 0; turn < 500; turn++) {
        const uint32_t n_bits = draw_below(700), n = draw_below(9);
        uint64_t *words = (uint64_t *)(void *)last_bytes(0, (n_bits + 63) / 64 * sizeof *words);
        uint32_t first[10] = {draw_below(n_bits + 1)}, want[9], got[9];
        for (uint32_t l = 0; l < n; l++) /* some are empty */
            first[l + 1] = first[l] + (turn % 5 ? draw_below(n_bits - first[l] + 1) : 0);
        for (uint32_t i = 0; i < (n_bits + 63) / 64; i++)
            words[i] = turn % 4 ? (uint64_t)draw_below(UINT32_MAX) << 32 | draw_below(UINT32_MAX) : UINT64_MAX;
        for (uint32_t l = 0; l < n; l++) {
            want[l] = 0;
            for (uint32_t i = first[l]; i < first[l + 1]; i++)
                want[l] += words[i / 64] >> i % 64 & 1;
        }
        level->count_bits(words, first, n, got);
        CHECK_CASE(memcmp(want, got, n * sizeof *want) == 0, "%u bits in %u parts", n_bits, n);
    }
}

static void test_encode16(void)
{
    for (size_t n_dims = 0; n_dims <= 9; n_dims++) {
        for (int turn = 0; turn < 400; turn++) {
            const value_kind kind = (value_kind)(turn % N_KINDS);
            float *residual = last_floats(0, n_dims * 16), *words = last_floats(1, n_dims * 16);
            float *half = last_floats(2, 16);
            uint8_t *want = last_bytes(3, 16), *got = last_bytes(4, 16);
            draw_floats(residual, n_dims * 16, kind);
            draw_floats(words, n_dims * 16, kind);
            draw_floats(half, 16, kind);
            if (turn % 3 == 0) { /* the upper eight codewords repeat the lower ones */
                for (size_t i = 0; i < n_dims; i++)
                    memcpy(words + i * 16 + 8, words + i * 16, 8 * sizeof *words);
                memcpy(half + 8, half, 8 * sizeof *half);
            }
            memset(got, 0xa5, 16);
            scalar->encode16(residual, words, half, n_dims, want);
            level->encode16(residual, words, half, n_dims, got);
            CHECK_CASE(memcmp(want, got, 16) == 0, "%zu dimensions, values %d, turn %d", n_dims, (int)kind, turn);
        }
    }
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

/* ---- scans -------------------------------------------------------------- */

/* The scan of one to four queries: query i has the tables rotated by i bytes and a threshold of its own. */
static void check_scans(bool is_pq, const uint8_t *blocks, size_t n_blocks, size_t n_pairs, size_t block_bytes,
                        const uint8_t *luts, const omen_scan *scan, size_t n_scans)
{
    const size_t n_est = n_blocks * OMEN_SCAN_BLOCK, n_luts = n_pairs * 32;
    omen_scan want[OMEN_SCANS], got[OMEN_SCANS];
    int16_t *want_est = last_bytes(2, n_scans * n_est * 2), *got_est = last_bytes(3, n_scans * n_est * 2);
    uint32_t *want_masks = last_bytes(4, n_scans * n_blocks * 4), *got_masks = last_bytes(5, n_scans * n_blocks * 4);
    uint8_t *tables = last_bytes(6, n_scans * n_luts);
    memset(want_est, 0x55, n_scans * n_est * 2);
    memset(got_est, 0xa5, n_scans * n_est * 2);
    memset(got_masks, 0xa5, n_scans * n_blocks * 4);
    for (size_t i = 0; i < n_scans; i++) {
        for (size_t j = 0; j < n_luts; j++)
            tables[i * n_luts + j] = luts[j / 16 * 16 + (j + i) % 16];
        want[i] = *scan;
        want[i].luts = tables + i * n_luts;
        want[i].threshold = (int16_t)(scan->threshold ^ (int)(i * 3));
        got[i] = want[i];
        want[i].est = want_est + i * n_est;
        want[i].masks = want_masks + i * n_blocks;
        got[i].est = got_est + i * n_est;
        got[i].masks = got_masks + i * n_blocks;
    }
    (is_pq ? scalar->scan_plain : scalar->scan_gain)(blocks, n_blocks, n_pairs, block_bytes, want, n_scans);
    (is_pq ? level->scan_plain : level->scan_gain)(blocks, n_blocks, n_pairs, block_bytes, got, n_scans);
    for (size_t i = 0; i < n_scans; i++) {
        for (size_t b = 0; b < n_blocks; b++) {
            CHECK_CASE(want[i].masks[b] == got[i].masks[b],
                       "%s, query %zu of %zu, %zu pairs, block %zu of %zu: %#x, not %#x (f %u, g %d + %u, middle %d, "
                       "shift %u, threshold %d)",
                       is_pq ? "pq" : "rabitq", i, n_scans, n_pairs, b, n_blocks, got[i].masks[b], want[i].masks[b],
                       scan->f_scale, scan->g_base, scan->g_scale, scan->middle, scan->shift, got[i].threshold);
            if (want[i].masks[b])
                CHECK_CASE(memcmp(want[i].est + b * OMEN_SCAN_BLOCK, got[i].est + b * OMEN_SCAN_BLOCK, 64) == 0,
                           "%s, query %zu of %zu, %zu pairs, block %zu of %zu", is_pq ? "pq" : "rabitq", i, n_scans,
                           n_pairs, b, n_blocks);
        }
    }
}

static int16_t draw_threshold(int middle)
{
    switch (draw_below(6)) {
    case 0:
        return INT16_MIN;
    case 1:
        return INT16_MAX;
    case 2:
        return (int16_t)draw();
    default: /* where about half of the codes pass */
        return (int16_t)(middle < 32000 ? middle + (int)draw_below(64) - 32 : 32000);
    }
}

/* Tables of at most most; their greatest sum comes back. */
static int draw_luts(uint8_t *luts, size_t n_pairs, unsigned most)
{
    int sum = 0;
    for (size_t m = 0; m < 2 * n_pairs; m++) {
        uint8_t top = 0;
        const unsigned below = draw_below(8) ? most + 1 : 1 + draw_below(2) * most;
        draw_bytes(luts + m * 16, 16, below);
        if (draw_below(4) == 0)
            luts[m * 16 + draw_below(16)] = (uint8_t)most;
        for (size_t j = 0; j < 16; j++)
            top = luts[m * 16 + j] > top ? luts[m * 16 + j] : top;
        sum += top;
    }
    return sum;
}

static void test_scan(bool is_pq)
{
    static const uint16_t f_scales[] = {0, 1, 255, 16063, 65535};
    const size_t n_factors = is_pq ? 1 : 2, n_turns = check_quick() ? 2 : 12;
    for (size_t n_pairs = 1; n_pairs <= 256 - n_factors; n_pairs = n_pairs == 40 ? 256 - n_factors : n_pairs + 1) {
        for (size_t n_blocks = 1; n_blocks <= 9; n_blocks++) {
            for (size_t turn = 0; turn < n_turns; turn++) {
                const size_t block_bytes = (n_pairs + n_factors) * OMEN_SCAN_BLOCK,
                             n_scans = 1 + draw_below(OMEN_SCANS);
                omen_scan params = {0};
                uint8_t *luts = last_bytes(1, n_pairs * 32);
                uint8_t *blocks = last_bytes(0, n_blocks * block_bytes);
                const unsigned most = turn % 3 ? OMEN_SCAN_BLOCK * 2 - 1 : 1 + draw_below(63);
                int sum_most = draw_luts(luts, n_pairs, most);
                draw_bytes(blocks, n_blocks * block_bytes, 256);
                if (turn == 1) { /* the greatest sums there are */
                    memset(luts, 63, n_pairs * 32);
                    sum_most = (int)(126 * n_pairs);
                }
                params.f_scale = turn % 2 ? f_scales[draw_below(5)] : (uint16_t)draw_below(16064);
                /* search.c keeps f * f_scale / 256 within 16 bits with a sign; the full scale is possible only for the
                 * lower f codes */
                for (size_t b = 0; b < n_blocks && params.f_scale > 32767; b++)
                    for (size_t j = 0; j < OMEN_SCAN_BLOCK; j++)
                        blocks[b * block_bytes + n_pairs * OMEN_SCAN_BLOCK + j] &= 127;
                if (!is_pq) {
                    params.middle = (int16_t)(sum_most / 2 + (sum_most > 8 ? (int)draw_below(5) - 2 : 0));
                    const int widest =
                        sum_most - params.middle > params.middle ? sum_most - params.middle : params.middle;
                    params.shift = (uint16_t)draw_below(11);
                    while (params.shift > 0 && widest << params.shift >= 32768)
                        params.shift--;
                    /* gains up to 1, which is 32767: g_base + 255 g_scale / 256 */
                    const unsigned g_top = draw_below(4) ? draw_below(32768) : 32767;
                    params.g_base = (int16_t)(draw_below(4) ? draw_below(g_top + 1) : g_top * draw_below(2));
                    params.g_scale = (uint16_t)((g_top - (unsigned)params.g_base) * 256 / 255);
                    params.threshold = draw_threshold((int)(draw_below(2000)) - 1000);
                } else {
                    params.threshold = draw_threshold(sum_most / 2 + params.f_scale / 2);
                }
                check_scans(is_pq, blocks, n_blocks, n_pairs, block_bytes, luts, &params, n_scans);
                params.threshold = INT16_MAX; /* all estimates */
                check_scans(is_pq, blocks, n_blocks, n_pairs, block_bytes, luts, &params, n_scans);
            }
        }
    }
}

static void test_level(const omen_kernels *kernels)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } tests[] = {{"matmul", test_matmul},
                 {"bytes", test_matmul_u8},
                 {"argmin", test_argmin},
                 {"reach", test_reach},
                 {"filter", test_filter},
                 {"tables", test_tables},
                 {"rows of integers", test_range_encode},
                 {"signs", test_signs},
                 {"keys", test_take_keys},
                 {"bits", test_count_bits},
                 {"encode16", test_encode16},
                 {"distances", test_distances},
                 {"halves", test_all_halves},
                 {"float64", test_float64}};
    char name[64];
    snprintf(name, sizeof name, "kernels %s", kernels->name);
    if (omen_cpu_select(kernels->name, NULL) != OMEN_OK) {
        char why[64];
        snprintf(why, sizeof why, "this processor has no %s", kernels->name);
        check_skip(name, why);
        return;
    }
    level = kernels;
    CHECK(strcmp(omen_cpu_level(), kernels->name) == 0);
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        snprintf(name, sizeof name, "kernels %s %s", kernels->name, tests[i].name);
        RUN_AS(name, tests[i].run());
    }
    snprintf(name, sizeof name, "kernels %s scan_plain", kernels->name);
    RUN_AS(name, test_scan(true));
    snprintf(name, sizeof name, "kernels %s scan_gain", kernels->name);
    RUN_AS(name, test_scan(false));
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
    make_arenas();
    RUN(test_select);
    /* with itself: that the tests' own arguments are sound */
    test_level(&omen_kernels_scalar);
#ifdef OMEN_HAVE_AVX2
    test_level(&omen_kernels_avx2);
#endif
#ifdef OMEN_HAVE_AVX512
    test_level(&omen_kernels_avx512);
    test_level(&omen_kernels_avx512vnni);
#endif
#ifdef OMEN_HAVE_NEON
    test_level(&omen_kernels_neon);
#endif
    return check_finish();
}
