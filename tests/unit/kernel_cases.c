/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of kernels share. */
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/matrix.h"
#include "tests/unit/kernel_cases.h"

const omen_kernels *const scalar = &omen_kernels_scalar;
const omen_kernels *level;

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

void *last_bytes(int arena, size_t n_bytes)
{
    return arena_ends[arena] - n_bytes;
}

float *last_floats(int arena, size_t n)
{
    return last_bytes(arena, n * sizeof(float));
}

static uint64_t n_drawn;

uint64_t draw(void)
{
    return omen_random(7, n_drawn++);
}

uint32_t draw_below(uint32_t n)
{
    return (uint32_t)(draw() % n);
}

float draw_value(value_kind kind)
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

void draw_floats(float *out, size_t n, value_kind kind)
{
    for (size_t i = 0; i < n; i++)
        out[i] = draw_value(kind);
}

void draw_bytes(uint8_t *out, size_t n, unsigned below)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)draw_below(below);
}

bool same_float(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b));
}

bool same_floats(const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!same_float(a[i], b[i]))
            return false;
    return true;
}

double *last_doubles(int arena, size_t n)
{
    return last_bytes(arena, n * sizeof(double));
}

void draw_doubles(double *out, size_t n, value_kind kind)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (double)draw_value(kind) * (1 + 0x1p-40 * draw_below(1000));
}

bool same_doubles(const double *a, const double *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(a + i, b + i, sizeof *a) != 0 && !(isnan(a[i]) && isnan(b[i])))
            return false;
    return true;
}

static void test_level(const omen_kernels *kernels, const kernel_test *tests, size_t n)
{
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
    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "kernels %s %s", kernels->name, tests[i].name);
        RUN_AS(name, tests[i].run());
    }
}

void kernel_cases_run(const kernel_test *tests, size_t n)
{
    make_arenas();
    test_level(&omen_kernels_scalar, tests, n);
#ifdef OMEN_HAVE_AVX2
    test_level(&omen_kernels_avx2, tests, n);
#endif
#ifdef OMEN_HAVE_AVX512
    test_level(&omen_kernels_avx512, tests, n);
    test_level(&omen_kernels_avx512vnni, tests, n);
#endif
#ifdef OMEN_HAVE_NEON
    test_level(&omen_kernels_neon, tests, n);
#endif
}
