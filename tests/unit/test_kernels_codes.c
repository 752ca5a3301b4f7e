/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of codes, of tables and of scans at every SIMD level (kernel_cases.h). */
#include <math.h>

#include "lib/matrix.h"
#include "tests/unit/kernel_cases.h"

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

static void test_keys_below(void)
{
    for (size_t n = 0; n <= 70; n++)
        for (int turn = 0; turn < 20; turn++) {
            uint64_t *keys = (uint64_t *)(void *)last_bytes(0, n * sizeof *keys), want[71];
            uint64_t *to = (uint64_t *)(void *)last_bytes(1, n * sizeof *to);
            for (size_t i = 0; i < n; i++)
                keys[i] = (uint64_t)draw_below(8) << 61 | draw_below(1 << 20);
            const uint64_t limit = turn == 0 ? 0 : turn == 1 ? UINT64_MAX : (uint64_t)draw_below(8) << 61 | 1 << 19;
            const size_t n_want = scalar->keys_below(keys, n, limit, want);
            CHECK_CASE(level->keys_below(keys, n, limit, to) == n_want && memcmp(to, want, n_want * sizeof *to) == 0,
                       "%zu keys below %llx", n, (unsigned long long)limit);
            size_t n_right = 0;
            for (size_t i = 0; i < n; i++)
                n_right += keys[i] < limit;
            CHECK_CASE(n_want == n_right, "%zu of %zu keys, not %zu", n_want, n, n_right);
            CHECK_CASE(level->keys_below(keys, n, limit, keys) == n_want &&
                           memcmp(keys, want, n_want * sizeof *keys) == 0,
                       "%zu keys in place", n);
        }
}

static void test_list_values(void)
{
    for (size_t n = 0; n <= 50; n++)
        for (int turn = 0; turn < 20; turn++) {
            float *half_norms = last_floats(0, n), *got = last_floats(1, n), want[50];
            draw_floats(half_norms, n, (value_kind)(turn % N_KINDS));
            draw_floats(want, n, (value_kind)(turn % N_KINDS));
            memcpy(got, want, n * sizeof *got);
            const float least = scalar->list_values(half_norms, want, n);
            CHECK_CASE(same_float(level->list_values(half_norms, got, n), least) &&
                           memcmp(got, want, n * sizeof *got) == 0,
                       "%zu values", n);
            for (size_t i = 0; i < n; i++)
                CHECK_CASE(!(want[i] < least), "value %zu of %zu is below the least", i, n);
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

static void test_list_shares(void)
{
    enum { LAST = 144 };
    float tails[LAST + 2] = {0};
    for (size_t i = 0; i < LAST; i++)
        tails[i] = 0.5f / (1 + (float)i);
    for (int turn = 0; turn < 400; turn++) {
        const uint32_t n = draw_below(70);
        float *values = last_floats(0, n), *means = last_floats(1, n), *want = last_floats(2, n),
              *got = last_floats(3, n);
        draw_floats(values, n, (value_kind)(turn % N_KINDS));
        for (uint32_t l = 0; l < n; l++) /* some are 0: then there is no variance */
            means[l] = turn % 3 ? (float)draw_below(5) : 0;
        const float norm2 = turn % 5 ? (float)draw_below(9) : 0,
                    distance2 = turn % 7 ? (float)draw_below(30) : INFINITY;
        const float scale2 = (float)draw_below(100) / 100;
        scalar->list_shares(values, means, n, norm2, distance2, scale2, tails, LAST, want);
        level->list_shares(values, means, n, norm2, distance2, scale2, tails, LAST, got);
        CHECK_CASE(memcmp(want, got, n * sizeof *want) == 0, "%u lists, turn %d", n, turn);
    }
}

static void test_list_expected(void)
{
    for (int turn = 0; turn < 400; turn++) {
        const uint32_t n = draw_below(70);
        float *values = last_floats(0, n), *shares = last_floats(1, n), *expected = last_floats(2, n),
              *distances = last_floats(3, n), kept[2][70];
        uint32_t first[71] = {draw_below(9)}, matches[70];
        omen_list_expectation want, got;
        for (uint32_t l = 0; l < n; l++) { /* some as far as others, some without rows or matches */
            values[l] = (float)draw_below(20) - 9;
            shares[l] = turn % 3 && draw_below(3) ? -(float)draw_below(1000) / 1000 : -1e-7f * (float)draw_below(3);
            first[l + 1] = first[l] + (turn % 5 ? draw_below(1000) : 0);
            matches[l] = draw_below(2) ? draw_below(first[l + 1] - first[l] + 1) : 0;
        }
        const float last_value = (float)draw_below(22) - 10;
        const uint32_t last_list = n ? draw_below(n) : 0;
        scalar->list_expected(values, shares, first, matches, n, 1e-7f, last_value, last_list, expected, distances,
                              &want);
        memcpy(kept[0], expected, want.n * sizeof *expected);
        memcpy(kept[1], distances, want.n * sizeof *distances);
        /* in place of the shares */
        level->list_expected(values, shares, first, matches, n, 1e-7f, last_value, last_list, shares, distances, &got);
        CHECK_CASE(want.n == got.n && memcmp(&want, &got, offsetof(omen_list_expectation, n)) == 0 &&
                       memcmp(kept[0], shares, got.n * sizeof *shares) == 0 &&
                       memcmp(kept[1], distances, got.n * sizeof *distances) == 0,
                   "%u lists, turn %d", n, turn);
    }
}

static void test_bit_positions(void)
{
    for (int turn = 0; turn < 500; turn++) {
        const uint32_t n_bits = 1 + draw_below(700), row0 = draw_below(n_bits),
                       row1 = row0 + 1 + draw_below(n_bits - row0);
        uint64_t *words = (uint64_t *)(void *)last_bytes(0, (n_bits + 63) / 64 * sizeof *words);
        uint32_t want[700 + 16], got[700 + 16], n = 0;
        for (uint32_t i = 0; i < (n_bits + 63) / 64; i++)
            words[i] =
                turn % 4 ? (uint64_t)(draw_below(UINT32_MAX) & draw_below(UINT32_MAX)) << draw_below(40) : UINT64_MAX;
        for (uint32_t i = row0; i < row1; i++)
            if (words[i / 64] >> i % 64 & 1)
                want[n++] = i;
        const size_t n_got = level->bit_positions(words, row0, row1, got);
        CHECK_CASE(n_got == n && memcmp(want, got, n * sizeof *want) == 0, "bits %u to %u, turn %d", row0, row1, turn);
    }
}

static void test_range_bits(void)
{
    static const uint32_t widths[] = {1, 2, 3, 4, 8};
    for (int turn = 0; turn < 600; turn++) {
        const uint32_t width = widths[turn % 5], n = draw_below(400);
        const uint64_t mask = width < 8 ? ((uint64_t)1 << 8 * width) - 1 : UINT64_MAX;
        const uint64_t near = turn % 3 ? draw_below(UINT32_MAX) * (uint64_t)draw_below(UINT32_MAX) : mask - 2;
        const uint64_t low = (near - 20) & mask;
        const uint64_t span = turn % 7 && mask - low > 40 ? draw_below(40) : mask - low;
        uint8_t *values = last_bytes(0, (size_t)n * width);
        uint64_t want[7], got[7];
        for (uint32_t i = 0; i < n; i++) { /* about the range, and at random */
            const uint64_t x =
                draw_below(4) ? near - 40 + draw_below(80) : draw_below(UINT32_MAX) * UINT64_C(77777777777);
            memcpy(values + (size_t)i * width, &x, width);
        }
        for (uint32_t w = 0; w < 7; w++)
            want[w] = got[w] = turn % 2 ? draw_below(UINT32_MAX) : 0;
        for (uint32_t i = 0; i < n; i++) {
            uint64_t x = 0;
            memcpy(&x, values + (size_t)i * width, width);
            want[i / 64] |= (uint64_t)(x >= low && x - low <= span) << i % 64;
        }
        level->range_bits(values, width, n, low, span, got);
        CHECK_CASE(memcmp(want, got, sizeof want) == 0, "%u values of %u bytes, turn %d", n, width, turn);
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

static void test_scan_plain(void)
{
    test_scan(true);
}

static void test_scan_gain(void)
{
    test_scan(false);
}

/* Every count of rows, in any order and more than once; weights of a query's kind and the largest there are. */
static void test_graph_estimates(void)
{
    enum { N_CODES = 9 };
    for (size_t n = 0; n <= 19; n++) {
        for (int turn = 0; turn < 60; turn++) {
            uint8_t *codes = last_bytes(0, N_CODES * 64);
            uint32_t *rows = last_bytes(1, n * sizeof *rows);
            float *want = last_floats(2, n), *got = last_floats(3, n);
            int8_t(*weights)[64] = last_bytes(4, sizeof(int8_t[4][64]));
            const float unit = turn % 5 ? draw_value(PLAIN) : draw_value(EXTREME);
            draw_bytes(codes, N_CODES * 64, 256);
            for (size_t i = 0; i < N_CODES; i++) {
                const float base = 100 * draw_value(turn % 7 ? PLAIN : TIES);
                memcpy(codes + i * 64 + 60, &base, sizeof base);
            }
            for (size_t i = 0; i < n; i++)
                rows[i] = draw_below(N_CODES);
            draw_bytes((uint8_t *)weights, sizeof(int8_t[4][64]), 256);
            for (size_t part = 0; part < 4; part++) {
                for (size_t j = 0; j < 60 && turn % 3 == 0; j++)
                    weights[part][j] = turn % 2 ? -128 : 127;
                memset(weights[part] + 60, 0, 4);
            }
            if (turn % 4 == 0) /* with the largest weights, the largest sums there are */
                for (size_t i = 0; i < N_CODES; i++)
                    memset(codes + i * 64, 0xff, 60);
            scalar->graph_estimates(codes, rows, n, (const int8_t(*)[64])weights, unit, want);
            level->graph_estimates(codes, rows, n, (const int8_t(*)[64])weights, unit, got);
            CHECK_CASE(same_floats(want, got, n), "graph estimates of %zu", n);
        }
    }
}

int main(void)
{
    static const kernel_test tests[] = {{"tables", test_tables},
                                        {"signs", test_signs},
                                        {"keys", test_take_keys},
                                        {"keys below a limit", test_keys_below},
                                        {"values of lists", test_list_values},
                                        {"bits", test_count_bits},
                                        {"values in a range", test_range_bits},
                                        {"shares of lists", test_list_shares},
                                        {"expected of lists", test_list_expected},
                                        {"positions of bits", test_bit_positions},
                                        {"encode16", test_encode16},
                                        {"scan_plain", test_scan_plain},
                                        {"scan_gain", test_scan_gain},
                                        {"graph_estimates", test_graph_estimates}};
    kernel_cases_run(tests, sizeof tests / sizeof *tests);
    return check_finish();
}
