/* SPDX-License-Identifier: Apache-2.0 */
/* The eigensolver: orthonormal vectors, what they hold against Jacobi's method, and the same bits for every number of
 * threads and SIMD level. */
#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "lib/eigen.h"
#include "lib/matrix.h"
#include "lib/omendb.h"
#include "lib/transform.h"
#include "tests/unit/check.h"

#define ORTHONORMAL 1e-5

/* ---- matrices of known eigenvalues ---- */

typedef enum { FALLING, STEEP, FLAT, CLUSTERS, PAIRS, RANK_3, ZERO, GRADED, GLUED, N_SPECTRA } spectrum;

static const char *const spectrum_names[N_SPECTRA] = {"falling",   "steep", "flat",   "three clusters", "pairs",
                                                      "of rank 3", "zero",  "graded", "glued"};

static double value_of(spectrum s, size_t i, size_t n)
{
    switch (s) {
    case FALLING:
        return 1 / (1 + 0.1 * (double)i);
    case STEEP:
    case GRADED:
        return ldexp(1, -(int)i);
    case FLAT:
        return 1;
    case CLUSTERS:
        return i < n / 3 ? 1 : i < n / 2 ? 0.5 : 1e-3;
    case PAIRS:
        return 1 / (1 + (double)(i / 2));
    case RANK_3:
        return i < 3;
    default:
        return 0;
    }
}

/* n x n: the eigenvalues on the diagonal, turned by reflections at random vectors (but for GRADED, whose small values
 * would drown); GLUED is Wilkinson's tridiagonal matrices, loosely coupled, whose eigenvalues nearly agree. */
static double *make_matrix(spectrum s, size_t n)
{
    double *a = calloc(n * n, sizeof *a), *u = calloc(2 * n, sizeof *u), *p = u + n;
    for (size_t i = 0; i < n; i++)
        a[i * n + i] = value_of(s, i, n);
    for (size_t i = 0; i < n && s == GLUED; i++) {
        a[i * n + i] = 10 + fabs((double)(i % 21) - 10);
        if (i > 0)
            a[i * n + i - 1] = a[(i - 1) * n + i] = i % 21 ? 1 : 1e-8;
    }
    for (uint64_t h = 0; h < 4 && s != GRADED && s != GLUED; h++) {
        double norm2 = 0, middle = 0;
        for (size_t i = 0; i < n; i++) {
            u[i] = omen_random_unit(h + 100, i) - 0.5;
            norm2 += u[i] * u[i];
        }
        for (size_t i = 0; i < n; i++)
            u[i] /= sqrt(norm2);
        for (size_t i = 0; i < n; i++) {
            p[i] = 0;
            for (size_t j = 0; j < n; j++)
                p[i] += a[i * n + j] * u[j];
            middle += p[i] * u[i];
        }
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                a[i * n + j] += 4 * middle * u[i] * u[j] - 2 * (u[i] * p[j] + p[i] * u[j]);
    }
    free(u);
    return a;
}

/* Eigenvalues of a (n x n, overwritten), falling, by cyclic Jacobi rotations. */
static void jacobi(double *a, size_t n, double *values)
{
    double off = 1, norm2 = 0;
    for (size_t i = 0; i < n * n; i++)
        norm2 += a[i] * a[i];
    for (int sweep = 0; sweep < 30 && off > 1e-26 * norm2; sweep++) {
        off = 0;
        for (size_t p = 0; p < n; p++) {
            for (size_t q = p + 1; q < n; q++) {
                const double x = a[p * n + q];
                off += x * x;
                if (x == 0)
                    continue;
                const double theta = (a[q * n + q] - a[p * n + p]) / (2 * x);
                const double t = (theta < 0 ? -1 : 1) / (fabs(theta) + sqrt(theta * theta + 1));
                const double c = 1 / sqrt(t * t + 1), s = t * c;
                for (size_t k = 0; k < n; k++) {
                    const double y = a[k * n + p], z = a[k * n + q];
                    a[k * n + p] = c * y - s * z;
                    a[k * n + q] = s * y + c * z;
                }
                for (size_t k = 0; k < n; k++) {
                    const double y = a[p * n + k], z = a[q * n + k];
                    a[p * n + k] = c * y - s * z;
                    a[q * n + k] = s * y + c * z;
                }
            }
        }
    }
    for (size_t i = 0; i < n; i++) {
        size_t at = i;
        for (; at > 0 && values[at - 1] < a[i * n + i]; at--)
            values[at] = values[at - 1];
        values[at] = a[i * n + i];
    }
}

/* ---- checks ---- */

typedef struct {
    size_t n, m, ld;
    float *vectors;
    double *values;
} solution;

static solution solve(const double *matrix, size_t n, size_t m)
{
    solution s = {n, m, (n + 15) / 16 * 16, NULL, NULL};
    double *copy = malloc(n * n * sizeof *copy);
    memcpy(copy, matrix, n * n * sizeof *copy);
    s.vectors = omen_alloc(m * s.ld, sizeof *s.vectors);
    s.values = omen_alloc(m, sizeof *s.values);
    omen_watch watch = omen_watch_make(NULL, NULL, "test");
    CHECK_EQ_INT(omen_eigen_top(copy, n, m, s.vectors, s.ld, s.values, &watch), OMEN_OK);
    free(copy);
    return s;
}

static void solution_free(solution *s)
{
    free(s->vectors);
    free(s->values);
}

/* Largest departure of rows from orthonormal ones. */
static double departure(const float *rows, size_t m, size_t n, size_t ld)
{
    double worst = 0;
    for (size_t r = 0; r < m; r++) {
        for (size_t s = 0; s <= r; s++) {
            double dot = r == s ? -1 : 0;
            for (size_t j = 0; j < n; j++)
                dot += (double)rows[r * ld + j] * (double)rows[s * ld + j];
            if (!(fabs(dot) <= worst))
                worst = fabs(dot);
        }
    }
    return worst;
}

/* The m vectors found against the matrix. all: every vector wanted is an eigenvector. */
static void check_solution(const double *a, size_t n, size_t m, bool all, double loss_most, const char *name)
{
    solution s = solve(a, n, m);
    double *copy = malloc(n * n * sizeof *copy), *values = malloc(n * sizeof *values);
    memcpy(copy, a, n * n * sizeof *copy);
    jacobi(copy, n, values);
    double top = 0, held = 0, most = 0;
    for (size_t i = 0; i < n; i++)
        top = fabs(values[i]) > top ? fabs(values[i]) : top;
    for (size_t i = 0; i < m; i++)
        most += values[i];
    CHECK_CASE(departure(s.vectors, m, n, s.ld) <= ORTHONORMAL, "%s, n %zu, m %zu: %g", name, n, m,
               departure(s.vectors, m, n, s.ld));
    for (size_t r = 0; r < m; r++) {
        const float *x = s.vectors + r * s.ld;
        double quotient = 0, residual2 = 0;
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                quotient += (double)x[i] * a[i * n + j] * (double)x[j];
        for (size_t i = 0; i < n && all; i++) {
            double y = -quotient * (double)x[i];
            for (size_t j = 0; j < n; j++)
                y += a[i * n + j] * (double)x[j];
            residual2 += y * y;
        }
        held += quotient;
        CHECK_CASE(sqrt(residual2) <= 1e-5 * top, "%s, n %zu, vector %zu: %g", name, n, r, sqrt(residual2));
        CHECK_CASE(!all || fabs(quotient - values[r]) <= 1e-6 * top, "%s, n %zu, vector %zu", name, n, r);
        CHECK_CASE(fabs(quotient - s.values[r]) <= 1e-5 * top, "%s, n %zu, vector %zu", name, n, r);
        CHECK_CASE(r == 0 || s.values[r] <= s.values[r - 1], "%s, n %zu, vector %zu", name, n, r);
    }
    CHECK_CASE(held >= most - loss_most * fabs(most), "%s, n %zu, m %zu: %g of %g", name, n, m, held, most);
    free(values);
    free(copy);
    solution_free(&s);
}

/* ---- tests ---- */

static void test_every_size(void)
{
    for (size_t n = 1; n <= 70; n += check_quick() ? 5 : 1) {
        for (spectrum s = 0; s < N_SPECTRA; s++) {
            double *a = make_matrix(s, n);
            check_solution(a, n, n, true, 1e-6, spectrum_names[s]);
            if (n >= 4)
                check_solution(a, n, n / 4, false, 1e-4, spectrum_names[s]);
            free(a);
        }
    }
}

static void test_some_hundred(void)
{
    static const size_t sizes[] = {96, 129, 211};
    for (size_t i = 0; i < (check_quick() ? 1 : 3); i++) {
        for (spectrum s = 0; s < N_SPECTRA; s++) {
            const size_t n = sizes[i];
            double *a = make_matrix(s, n);
            check_solution(a, n, n, true, 1e-6, spectrum_names[s]);
            check_solution(a, n, n - n / 3, true, 1e-6, spectrum_names[s]);
            check_solution(a, n, n / 5, false, 1e-4, spectrum_names[s]);
            check_solution(a, n, 1, false, 1e-4, spectrum_names[s]);
            free(a);
        }
    }
}

static void test_scales(void)
{
    static const double scales[] = {1e-10, 1, 1e10};
    for (size_t i = 0; i < 3; i++) {
        double *a = make_matrix(FALLING, 120);
        for (size_t j = 0; j < 120 * 120; j++)
            a[j] *= scales[i];
        check_solution(a, 120, 120, true, 1e-6, "scaled");
        check_solution(a, 120, 20, false, 1e-4, "scaled");
        free(a);
    }
}

/* Values far smaller than the largest are found as well, where the columns they belong to are small. */
static void test_graded(void)
{
    double *a = make_matrix(GRADED, 40);
    solution s = solve(a, 40, 40);
    for (size_t r = 0; r < 40; r++) {
        CHECK_CASE(fabs(s.values[r] - ldexp(1, -(int)r)) <= 1e-6 * ldexp(1, -(int)r), "value %zu: %g", r, s.values[r]);
        CHECK_CASE(fabs(fabs((double)s.vectors[r * s.ld + r]) - 1) <= 1e-6, "vector %zu", r);
    }
    solution_free(&s);
    free(a);
}

static void test_same_bits(void)
{
    static const char *const levels[] = {"scalar", "avx2", "avx512", "avx512vnni", "neon"};
    static const struct {
        size_t n, m;
    } cases[] = {{61, 61}, {300, 300}, {400, 40}, {1, 1}};
    for (size_t c = 0; c < (check_quick() ? 1 : 4); c++) {
        const size_t n = cases[c].n, m = cases[c].m;
        double *a = make_matrix(FALLING, n);
        CHECK_EQ_INT(omen_cpu_select(NULL, NULL), OMEN_OK);
        omp_set_num_threads(1);
        solution first = solve(a, n, m);
        for (int threads = 2; threads <= 8; threads += threads == 3 ? 5 : 1) {
            omp_set_num_threads(threads);
            solution s = solve(a, n, m);
            CHECK_CASE(memcmp(first.values, s.values, m * sizeof *s.values) == 0, "n %zu, %d threads", n, threads);
            for (size_t r = 0; r < m; r++)
                CHECK_CASE(memcmp(first.vectors + r * s.ld, s.vectors + r * s.ld, n * sizeof(float)) == 0,
                           "n %zu, %d threads, vector %zu", n, threads, r);
            solution_free(&s);
        }
        omp_set_num_threads(2);
        for (size_t l = 0; l < sizeof levels / sizeof *levels; l++) {
            if (omen_cpu_select(levels[l], NULL) != OMEN_OK)
                continue;
            solution s = solve(a, n, m);
            CHECK_CASE(memcmp(first.values, s.values, m * sizeof *s.values) == 0, "n %zu, %s", n, levels[l]);
            for (size_t r = 0; r < m; r++)
                CHECK_CASE(memcmp(first.vectors + r * s.ld, s.vectors + r * s.ld, n * sizeof(float)) == 0,
                           "n %zu, %s, vector %zu", n, levels[l], r);
            solution_free(&s);
        }
        CHECK_EQ_INT(omen_cpu_select(NULL, NULL), OMEN_OK);
        solution_free(&first);
        free(a);
    }
}

/* Of the bits of the vectors: FNV-1a, by 32-bit words. */
static uint64_t checksum(const solution *s)
{
    uint64_t sum = 0xcbf29ce484222325;
    for (size_t r = 0; r < s->m; r++) {
        for (size_t j = 0; j < s->n; j++) {
            uint32_t bits;
            memcpy(&bits, s->vectors + r * s->ld + j, sizeof bits);
            sum = (sum ^ bits) * 0x100000001b3;
        }
    }
    return sum;
}

/* What other machines and compilers have found. */
static void test_same_bits_elsewhere(void)
{
    static const struct {
        size_t n, m;
        uint64_t sum;
    } cases[] = {{61, 61, 0xff525a232087307b}, {120, 12, 0x2cd69c5208c4a4f4}};
    for (size_t c = 0; c < 2; c++) {
        double *a = make_matrix(FALLING, cases[c].n);
        solution s = solve(a, cases[c].n, cases[c].m);
        CHECK_CASE(checksum(&s) == cases[c].sum, "n %zu: 0x%016llx", s.n, (unsigned long long)checksum(&s));
        solution_free(&s);
        free(a);
    }
}

static void test_orthonormalise(void)
{
    enum { N = 40, LD = 48 };
    float rows[N * LD];
    omen_watch watch = omen_watch_make(NULL, NULL, "test");
    /* equal rows, zero rows, rows that differ in the last bits, tiny and huge ones */
    for (int kind = 0; kind < 6; kind++) {
        for (size_t r = 0; r < N; r++) {
            for (size_t j = 0; j < N; j++) {
                const float x = (float)(omen_random_unit(1, j) - 0.5), y = (float)omen_random_unit(r + 2, j);
                const float kinds[] = {x, 0, x + 1e-6f * y, x * 1e-25f * y, x * 1e25f * y, j < 3 ? y : 0};
                rows[r * LD + j] = kinds[kind];
            }
        }
        CHECK_EQ_INT(omen_eigen_orthonormalise(rows, N, N, LD, &watch), OMEN_OK);
        CHECK_CASE(departure(rows, N, N, LD) <= ORTHONORMAL, "kind %d: %g", kind, departure(rows, N, N, LD));
    }
}

/* What a build asks of it: an orthonormal basis by falling variance, whatever the rows. */
static void check_transform(size_t n, uint32_t d, uint32_t m, float scale, int kind)
{
    float *rows = malloc(n * d * sizeof *rows);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < d; j++) {
            const float x = (float)(omen_random_unit(3, i * d + j) - 0.5);
            const float kinds[] = {x, 0, 1, j ? 7 : x, j < 2 ? x : rows[i * d + j % 2], i == 0 && j == 0};
            rows[i * d + j] = scale * kinds[kind];
        }
    }
    omen_transform t = {.metric = OMEN_METRIC_L2, .d = d, .d_full = d};
    omen_watch watch = omen_watch_make(NULL, NULL, "test");
    CHECK_EQ_INT(omen_transform_fit(&t, rows, n, m, &watch), OMEN_OK);
    CHECK_CASE(t.d_kept >= 1 && t.d_kept <= m && t.d_kept <= d, "%u kept of %u", t.d_kept, d);
    CHECK_CASE(n < d || t.d_kept == (m < d ? m : d), "%u kept of %u", t.d_kept, d);
    CHECK_CASE(departure(t.basis, t.d_kept, d, d) <= ORTHONORMAL, "n %zu, d %u, scale %g, kind %d: %g", n, d,
               (double)scale, kind, departure(t.basis, t.d_kept, d, d));
    for (size_t j = 0; j < d; j++)
        CHECK_CASE(isfinite(t.mean[j]), "mean of %g", (double)scale);
    omen_transform_finish(&t);
    free(rows);
}

static void test_transform(void)
{
    static const float scales[] = {1, 1e-30f, 1e-43f, 1e15f, 1e18f};
    static const uint32_t ds[] = {1, 2, 3, 17, 90};
    static const size_t ns[] = {1, 2, 5, 40, 1500};
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < 5; j++)
            for (size_t k = 0; k < 5; k++)
                for (int kind = 0; kind < 6; kind++)
                    for (uint32_t m = 1; m <= 100; m += 33)
                        check_transform(ns[j], ds[i], m, scales[k], kind);
}

static int stop_at_once(void *context, const char *stage, uint64_t done, uint64_t total)
{
    return ++*(int *)context > 3;
}

static void test_stop(void)
{
    static const size_t kept[] = {200, 20};
    for (size_t i = 0; i < 2; i++) {
        double *a = make_matrix(FALLING, 200), values[200];
        float *vectors = omen_alloc(200 * 208, sizeof *vectors);
        int n_calls = 0;
        omen_watch watch = omen_watch_make(stop_at_once, &n_calls, "test");
        CHECK_EQ_INT(omen_eigen_top(a, 200, kept[i], vectors, 208, values, &watch), OMEN_ERR_INTERRUPTED);
        CHECK_EQ_INT(n_calls, 4);
        free(vectors);
        free(a);
    }
}

int main(void)
{
    RUN(test_every_size);
    RUN(test_some_hundred);
    RUN(test_scales);
    RUN(test_graded);
    RUN(test_same_bits);
    RUN(test_same_bits_elsewhere);
    RUN(test_orthonormalise);
    RUN(test_transform);
    RUN(test_stop);
    return check_finish();
}
