/* SPDX-License-Identifier: Apache-2.0 */
/* Every SIMD level against the scalar reference, bit for bit: every length, unaligned rows, extreme values.
 *
 * Every argument ends at a page that cannot be read or written, so that a kernel that goes beyond one dies, with or
 * without a sanitizer. Outputs start as the same bytes for both levels and are compared whole, gaps included. */
#ifndef OMEN_KERNEL_CASES_H
#define OMEN_KERNEL_CASES_H

#include "lib/kernels/kernels.h"
#include "lib/omendb.h"
#include "tests/unit/check.h"

extern const omen_kernels *const scalar; /* the reference */
extern const omen_kernels *level;        /* under test */

typedef struct kernel_test {
    const char *name;
    void (*run)(void);
} kernel_test;

/* Runs n tests at every level there is, the scalar one included: that the tests' own arguments are sound. */
void kernel_cases_run(const kernel_test *tests, size_t n);

/* ---- arguments ---- */

/* The last n_bytes before the guard page of one arena. */
#define ARENA_BYTES ((size_t)1 << 18)
#define N_ARENAS    8
void *last_bytes(int arena, size_t n_bytes);
float *last_floats(int arena, size_t n);
double *last_doubles(int arena, size_t n);

/* The same values in every run. */
uint64_t draw(void);
uint32_t draw_below(uint32_t n);

/* PLAIN: -1 to 1. TIES: few whole values. EXTREME: what arithmetic treats specially; no NaN, though sums may become
 * one. MIXED: plain with some extremes that do not drown the rest. */
typedef enum { PLAIN, TIES, MIXED, EXTREME, N_KINDS } value_kind;
float draw_value(value_kind kind);
void draw_floats(float *out, size_t n, value_kind kind);
void draw_doubles(double *out, size_t n, value_kind kind);
void draw_bytes(uint8_t *out, size_t n, unsigned below);

/* The same bits; which NaN came out is the processor's affair. */
bool same_float(float a, float b);
bool same_floats(const float *a, const float *b, size_t n);
bool same_doubles(const double *a, const double *b, size_t n);

#endif
