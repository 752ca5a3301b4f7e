/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of compressed files: every shape and every kind of values come back, lies are refused or survived; and the
 * parallel work that is taken in order. */
#include "formats/omz_block.h"
#include "formats/omz_order.h"
#include "tests/unit/check.h"

#include <math.h>
#include <zstd.h>

#define MOST_BYTES ((size_t)300000)

static uint64_t state = 1;

static uint32_t draw(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

static double draw_normal(void)
{
    double sum = 0;
    for (int i = 0; i < 12; i++)
        sum += draw() * 0x1p-31;
    return sum - 6;
}

/* What the values of a block are like. */
enum { NOISE, NORMAL, WHOLE, HALF, DIGITS, SPECIAL, EQUAL, ROWS_TWICE, N_LIKES };

static double draw_value(int like)
{
    static const double special[] = {0.0,     -0.0,  INFINITY, -INFINITY, NAN, 0x1p-149,
                                     0x1p-24, 65504, 65536,    255,       256, 1e-4};
    double x = draw_normal();
    char text[32];
    switch (like) {
    case WHOLE:
        return draw() % 256;
    case HALF:
        return ldexp((double)(int)(draw() % 4095) - 2047, (int)(draw() % 20) - 24);
    case DIGITS:
        snprintf(text, sizeof text, "%.5g", x);
        return strtod(text, NULL);
    case SPECIAL:
        return draw() % 3 ? special[draw() % 12] : x;
    case EQUAL:
        return 1;
    default:
        return x;
    }
}

static void fill(const omz_shape *shape, int like, uint8_t *bytes, size_t n_bytes)
{
    const uint32_t size = omen_value_bytes(shape->value), record = shape->record_bytes;
    for (size_t i = 0; i < n_bytes; i++)
        bytes[i] = like == NOISE ? (uint8_t)draw() : 7;
    for (size_t r = 0; r + record <= n_bytes && like != NOISE; r += record) {
        for (size_t at = r + shape->head_bytes; at < r + record; at += size) {
            const double d = draw_value(like);
            const float f = (float)d;
            const int32_t i = isfinite(d) && fabs(d) < 1e9 ? (int32_t)d : 0;
            const void *from = shape->value == OMEN_VALUE_F8   ? (const void *)&d
                               : shape->value == OMEN_VALUE_F4 ? (const void *)&f
                                                               : (const void *)&i;
            for (uint32_t j = 0; j < size; j++)
                bytes[at + j] = ((const uint8_t *)from)[shape->big_endian ? size - 1 - j : j];
        }
    }
    if (like == ROWS_TWICE)
        memcpy(bytes + n_bytes / 2 / record * record, bytes, n_bytes / 2 / record * record);
}

static const omen_value values[] = {OMEN_VALUE_U1, OMEN_VALUE_I1, OMEN_VALUE_I4,
                                    OMEN_VALUE_F2, OMEN_VALUE_F4, OMEN_VALUE_F8};

static void test_round_trips(void)
{
    static uint8_t raw[MOST_BYTES], back[MOST_BYTES];
    static const uint32_t d_of[] = {1, 7, 100};
    static const size_t n_of[] = {1, 2, 33, 700};
    uint8_t *stored = malloc(omz_block_bound(MOST_BYTES)), *again = malloc(omz_block_bound(MOST_BYTES));
    omz_coder *expand = omz_coder_create(MOST_BYTES, 0, false);
    for (int level = 1; level <= 12; level += level == 1 ? 2 : 9) {
        omz_coder *coder = omz_coder_create(MOST_BYTES, level, level == 12);
        for (unsigned i = 0; i < 6 * 2 * 2 * 3 * 4 * N_LIKES; i++) {
            const omen_value value = values[i % 6];
            const uint32_t head = i / 6 % 2 * 4, d = d_of[i / 24 % 3];
            const omz_shape shape = {.value = value,
                                     .big_endian = i / 12 % 2,
                                     .head_bytes = head,
                                     .record_bytes = head + d * omen_value_bytes(value),
                                     .width = i % 5 ? 28 : 0};
            size_t n = n_of[i / 72 % 4] * shape.record_bytes;
            n = n <= MOST_BYTES ? n : MOST_BYTES / shape.record_bytes * shape.record_bytes;
            fill(&shape, (int)(i / 288), raw, n);
            const size_t n_stored = omz_block_encode(coder, &shape, raw, n, stored);
            CHECK_CASE(n_stored > 0 && n_stored <= omz_block_bound(n), "case %u", i);
            CHECK_CASE(omz_block_encode(coder, &shape, raw, n, again) == n_stored && !memcmp(stored, again, n_stored),
                       "case %u", i);
            CHECK_CASE(omz_block_check(&shape, stored, n_stored, n), "case %u", i);
            memset(back, 0xee, sizeof back);
            CHECK_CASE(omz_block_decode(expand, &shape, stored, n_stored, back, n) && !memcmp(raw, back, n), "case %u",
                       i);
            CHECK_CASE(!omz_block_check(&shape, stored, n_stored - 1, n), "case %u", i);
            CHECK_CASE(!omz_block_check(&shape, stored, n_stored, n + shape.record_bytes), "case %u", i);
        }
        omz_coder_destroy(coder);
    }
    omz_coder_destroy(expand);
    free(stored);
    free(again);
}

/* A changed block is refused, or decodes to something: under a sanitizer this test shows that it writes nowhere else.
 */
static void test_lies(void)
{
    static uint8_t raw[8000];
    uint8_t *stored = malloc(omz_block_bound(sizeof raw));
    omz_coder *coder = omz_coder_create(sizeof raw, 1, false), *expand = omz_coder_create(sizeof raw, 0, false);
    const unsigned n_tries = check_quick() ? 200 : 2000;
    unsigned n_refused = 0;
    for (unsigned i = 0; i < 6 * N_LIKES; i++) {
        const uint32_t head = i % 2 * 4;
        const omz_shape shape = {
            .value = values[i % 6], .head_bytes = head, .record_bytes = head + 10 * omen_value_bytes(values[i % 6])};
        const size_t n = sizeof raw / shape.record_bytes * shape.record_bytes;
        fill(&shape, (int)(i / 6), raw, n);
        const size_t n_stored = omz_block_encode(coder, &shape, raw, n, stored);
        for (unsigned j = 0; j < n_tries; j++) {
            uint8_t *copy = malloc(n_stored), *back = malloc(n);
            memcpy(copy, stored, n_stored);
            for (unsigned k = 0; k <= j % 3; k++)
                copy[draw() % (j % 2 ? n_stored : n_stored < 40 ? n_stored : 40)] = (uint8_t)draw();
            n_refused += !omz_block_decode(expand, &shape, copy, n_stored, back, n);
            free(copy);
            free(back);
        }
    }
    CHECK(n_refused > n_tries);
    omz_coder_destroy(coder);
    omz_coder_destroy(expand);
    free(stored);
}

/* ---- zstd that fails ---- */

static unsigned n_calls, failing_call; /* of zstd */

static bool fails(void)
{
    return ++n_calls == failing_call;
}

ZSTD_CCtx *__real_ZSTD_createCCtx(void);
ZSTD_CCtx *__wrap_ZSTD_createCCtx(void);
ZSTD_DCtx *__real_ZSTD_createDCtx(void);
ZSTD_DCtx *__wrap_ZSTD_createDCtx(void);
size_t __real_ZSTD_CCtx_setParameter(ZSTD_CCtx *way, ZSTD_cParameter parameter, int value);
size_t __wrap_ZSTD_CCtx_setParameter(ZSTD_CCtx *way, ZSTD_cParameter parameter, int value);
size_t __real_ZSTD_compress2(ZSTD_CCtx *way, void *to, size_t room, const void *from, size_t n);
size_t __wrap_ZSTD_compress2(ZSTD_CCtx *way, void *to, size_t room, const void *from, size_t n);

ZSTD_CCtx *__wrap_ZSTD_createCCtx(void)
{
    return fails() ? NULL : __real_ZSTD_createCCtx();
}

ZSTD_DCtx *__wrap_ZSTD_createDCtx(void)
{
    return fails() ? NULL : __real_ZSTD_createDCtx();
}

size_t __wrap_ZSTD_CCtx_setParameter(ZSTD_CCtx *way, ZSTD_cParameter parameter, int value)
{
    return fails() ? (size_t)-1 : __real_ZSTD_CCtx_setParameter(way, parameter, value);
}

size_t __wrap_ZSTD_compress2(ZSTD_CCtx *way, void *to, size_t room, const void *from, size_t n)
{
    return fails() ? (size_t)-1 : __real_ZSTD_compress2(way, to, room, from, n);
}

/* Whichever call fails: no coder, or no block, or one that comes back, where the trial of a filter failed. */
static void test_failing_zstd(void)
{
    static uint8_t raw[8000], back[8000];
    uint8_t *stored = malloc(omz_block_bound(sizeof raw));
    omz_coder *expand = omz_coder_create(sizeof raw, 0, false);
    unsigned n_no_coder = 0, n_no_block = 0, n_good = 0;
    n_calls = 0;
    failing_call = 1;
    CHECK(!omz_coder_create(sizeof raw, 0, false));
    failing_call = 0;
    for (unsigned i = 0; i < 3 * 6 * 3; i++) {
        const int level = i % 3 == 0 ? 1 : i % 3 == 1 ? 9 : 19, like = i % 9 < 3 ? NORMAL : i % 9 < 6 ? WHOLE : DIGITS;
        const omz_shape shape = {.value = values[i / 9],
                                 .head_bytes = i % 2 * 4,
                                 .record_bytes = i % 2 * 4 + 10 * omen_value_bytes(values[i / 9])};
        const size_t n = sizeof raw / shape.record_bytes * shape.record_bytes;
        unsigned n_whole = 1;
        fill(&shape, like, raw, n);
        for (unsigned call = 0; call <= n_whole; call++) {
            n_calls = 0;
            failing_call = call;
            omz_coder *coder = omz_coder_create(sizeof raw, level, level == 19);
            const size_t n_stored = coder ? omz_block_encode(coder, &shape, raw, n, stored) : 0;
            omz_coder_destroy(coder);
            n_whole = call == 0 ? n_calls : n_whole;
            failing_call = 0;
            n_no_coder += !coder;
            n_no_block += coder && n_stored == 0;
            CHECK_CASE(call > 0 || n_stored > 0, "case %u", i);
            if (n_stored == 0)
                continue;
            n_good++;
            CHECK_CASE(omz_block_decode(expand, &shape, stored, n_stored, back, n) && !memcmp(raw, back, n),
                       "case %u, call %u", i, call);
        }
    }
    printf("# %u coders and %u blocks not made, %u made\n", n_no_coder, n_no_block, n_good);
    CHECK(n_no_coder > 0 && n_no_block > 0 && n_good > 0);
    omz_coder_destroy(expand);
    free(stored);
}

/* Every filter that a block may claim, also those that do not fit its values: it is refused, or decodes to something.
 */
static void test_filters(void)
{
    static uint8_t raw[8000], back[8000];
    static const uint8_t arguments[] = {0, 1, 3, 5, 9, 10, 20, 255};
    uint8_t *stored = malloc(omz_block_bound(sizeof raw));
    omz_coder *coder = omz_coder_create(sizeof raw, 1, false), *expand = omz_coder_create(sizeof raw, 0, false);
    unsigned n_refused = 0, n_decoded = 0;
    for (unsigned i = 0; i < 6 * N_LIKES; i++) {
        const omz_shape shape = {.value = values[i % 6], .record_bytes = 10 * omen_value_bytes(values[i % 6])};
        const size_t n = sizeof raw / shape.record_bytes * shape.record_bytes;
        fill(&shape, (int)(i / 6), raw, n);
        const size_t n_stored = omz_block_encode(coder, &shape, raw, n, stored);
        for (unsigned f = 0; f < 17 * 6 * sizeof arguments; f++) {
            stored[0] = (uint8_t)(f % 17);
            stored[1] = (uint8_t)(f / 17 % 6);
            stored[2] = arguments[f / 17 / 6];
            const bool is_sound = omz_block_check(&shape, stored, n_stored, n);
            const bool is_decoded = omz_block_decode(expand, &shape, stored, n_stored, back, n);
            CHECK_CASE(is_sound || !is_decoded, "case %u, filter %u", i, f);
            n_refused += !is_decoded;
            n_decoded += is_decoded;
        }
        CHECK_CASE(!omz_block_decode(expand, &shape, stored, n_stored, back, sizeof raw + shape.record_bytes),
                   "case %u: more than the coder was made for", i);
    }
    CHECK(n_refused > 0 && n_decoded > 0);
    omz_coder_destroy(coder);
    omz_coder_destroy(expand);
    free(stored);
}

typedef struct series {
    uint64_t n_taken, stop_at;
    int n_started;
    bool in_order;
} series;

static void *start(void *context)
{
    series *s = context;
    return __atomic_add_fetch(&s->n_started, 1, __ATOMIC_SEQ_CST) == 99 ? NULL : malloc(1);
}

static int make(void *context, void *worker, uint64_t item, uint8_t *slot)
{
    /* some take longer than others */
    for (uint64_t i = 0; i <= item * 7919 % 5000; i++) {
        memcpy(slot, &item, sizeof item);
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
    }
    return (int)(item % 100);
}

static int take(void *context, uint64_t item, int made, const uint8_t *slot)
{
    series *s = context;
    uint64_t found;
    memcpy(&found, slot, sizeof found);
    s->in_order &= item == s->n_taken && found == item && made == (int)(item % 100);
    s->n_taken++;
    return item == s->stop_at ? OMEN_ERR_IO : OMEN_OK;
}

static void test_order(void)
{
    for (int n_threads = 1; n_threads <= 9; n_threads += 2) {
        for (uint64_t n = 1; n <= 2000; n = n * 3 + 1) {
            series s = {.stop_at = UINT64_MAX, .in_order = true};
            omz_order order = {&s, n, sizeof(uint64_t), n_threads, start, free, make, take};
            CHECK_EQ_INT(omz_order_run(&order), OMEN_OK);
            CHECK_CASE(s.in_order && s.n_taken == n, "%d threads, %llu items", n_threads, (unsigned long long)n);
            s = (series){.stop_at = n / 2, .in_order = true};
            CHECK_EQ_INT(omz_order_run(&order), OMEN_ERR_IO);
            CHECK_CASE(s.in_order && s.n_taken == n / 2 + 1, "%d threads, %llu items", n_threads,
                       (unsigned long long)n);
            s = (series){.stop_at = UINT64_MAX, .in_order = true, .n_started = 98};
            CHECK_EQ_INT(omz_order_run(&order), OMEN_ERR_MEMORY);
        }
    }
}

int main(void)
{
    RUN(test_round_trips);
    RUN(test_lies);
    RUN(test_filters);
    RUN(test_failing_zstd);
    RUN(test_order);
    return check_finish();
}
