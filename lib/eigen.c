/* SPDX-License-Identifier: Apache-2.0 */
/* Eigenvectors of symmetric matrices: all of them by eigen_dense.c; the largest of many by subspace iteration,
 * accelerated by Chebyshev polynomials, and Rayleigh-Ritz at the end.
 *
 * Products of matrices are the float32 kernel's, which leaves errors of some 1e-7 in the vectors; a final Gram-Schmidt
 * pass removes them. Everything is cut in fixed blocks, each output is computed by one thread in a fixed order, and
 * nothing but additions, products, quotients and square roots is used, so the bits are the same everywhere. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/eigen_parts.h"

#define ROUNDS      12u
#define DEGREE_MOST 12u
#define GROWTH_MOST 1e6  /* of a direction against those cut, in a round: what float32 still tells apart */
#define LOSS_MOST   1e-5 /* of what the vectors wanted hold, as foreseen */
#define START_LOSS  16   /* squared tangent between directions wanted and a random start */

/* Vectors iterated for m wanted ones of n: some more, so that the last ones wanted settle as well. */
static size_t block_rows(size_t n, size_t m)
{
    return omen_least(omen_round_up(m + m / 8 + 8, EIGEN_GRAM_ROWS), n);
}

static bool is_dense(size_t n, size_t m)
{
    return 2 * block_rows(n, m) > n;
}

uint64_t omen_eigen_bytes(uint64_t n, uint64_t m)
{
    const uint64_t block = block_rows(n, m), ld = omen_eigen_stride(n);
    const uint64_t gram = 2 * block * ld * sizeof(float) + EIGEN_GRAM_ROWS * (block + ld) * sizeof(float);
    if (is_dense(n, m))
        return omen_eigen_dense_bytes(n) + gram;
    return n * ld * sizeof(float) + 3 * block * ld * sizeof(float) + 8 * block +
           (omen_eigen_dense_bytes(block) + block * block * 12 > gram
                ? omen_eigen_dense_bytes(block) + block * block * 12
                : gram);
}

/* The upper triangle's other half. */
static void mirror(double *a, size_t n)
{
#pragma omp parallel for schedule(dynamic, 16) if (n > 256)
    for (size_t i = 1; i < n; i++)
        for (size_t j = 0; j < i; j++)
            a[i * n + j] = a[j * n + i];
}

/* Chebyshev's polynomial on [0, cut] at x, where it is at least 1. */
static double chebyshev(unsigned degree, double x, double cut)
{
    const double y = x > cut ? 2 * x / cut - 1 : 1;
    double before = 1, now = y;
    for (unsigned k = 1; k < degree; k++) {
        const double next = 2 * y * now - before;
        before = now;
        now = next;
    }
    return now;
}

typedef struct {
    size_t n, ld, n_rows, n_wanted;
    float *panels;       /* the matrix, n x n, packed */
    float *q, *w, *old;  /* n_rows x ld each */
    double *held, *gain; /* n_rows: what the rows of q hold, falling; how much those directions grew against the cut */
    omen_watch *watch;
} iteration;

static void swap_rows(float **a, float **b)
{
    float *const c = *a;
    *a = *b;
    *b = c;
}

/* q becomes the Chebyshev polynomial of the matrix, times q; w is the matrix times q. */
static void filter(iteration *s, unsigned degree, double cut)
{
    const size_t n_values = s->n_rows * s->ld;
    float scale = (float)(2 / cut), once = 1;
    for (unsigned k = 1; k <= degree; k++, scale = (float)(4 / cut), once = 2) {
        if (k > 1)
            omen_eigen_multiply(s->q, s->ld, s->n_rows, s->panels, s->n, s->n, s->w, s->ld, s->watch);
#pragma omp parallel for schedule(static) if (n_values > EIGEN_SERIAL_MOST / 16)
        for (size_t r = 0; r < s->n_rows; r++) {
            float *w = s->w + r * s->ld;
            const float *q = s->q + r * s->ld, *old = s->old + r * s->ld;
            for (size_t j = 0; j < s->n; j++) {
                const float next = scale * w[j] - once * q[j];
                w[j] = k > 1 ? next - old[j] : next;
            }
        }
        swap_rows(&s->old, &s->q);
        swap_rows(&s->q, &s->w);
    }
}

/* Fills held, and returns what the vectors wanted are foreseen to lack after one more polynomial of the degree, of what
 * they hold. */
static void measure(iteration *s)
{
    const omen_kernels *kernels = omen_kernels_get();
    for (size_t r = 0; r < s->n_rows; r++) {
        const double held = (double)kernels->ip_f32(s->q + r * s->ld, s->w + r * s->ld, s->n);
        size_t at = r;
        for (; at > 0 && s->held[at - 1] < held; at--)
            s->held[at] = s->held[at - 1];
        s->held[at] = held;
    }
}

static double foreseen_loss(const iteration *s, unsigned degree, double cut)
{
    double loss = 0, sum = 0;
    for (size_t r = 0; r < s->n_wanted; r++) {
        const double gain = s->gain[r] * (degree ? chebyshev(degree, s->held[r], cut) : 1);
        const double share = START_LOSS / (gain * gain);
        loss += (s->held[r] - cut) * (share < 1 ? share : 1);
        sum += s->held[r];
    }
    return sum > 0 ? loss / sum : 0;
}

/* The space; leaves its orthonormal basis in q, and the matrix times that in w. */
static int iterate(iteration *s)
{
    int status = OMEN_OK;
    for (size_t r = 0; r < s->n_rows; r++)
        for (size_t j = 0; j < s->n; j++)
            s->w[r * s->ld + j] = (float)(omen_random_unit(0x65696765, r * s->n + j) - 0.5);
    omen_eigen_multiply(s->w, s->ld, s->n_rows, s->panels, s->n, s->n, s->q, s->ld, s->watch);
    for (unsigned round = 0; status == OMEN_OK; round++) {
        status = omen_eigen_orthonormalise(s->q, s->n_rows, s->n, s->ld, s->watch);
        if (status != OMEN_OK)
            break;
        omen_eigen_multiply(s->q, s->ld, s->n_rows, s->panels, s->n, s->n, s->w, s->ld, s->watch);
        status = omen_watch_status(s->watch);
        measure(s);
        /* less than that is rounding */
        const double top = s->held[0], least_cut = 1e-6 * top, lowest = s->held[s->n_rows - 1];
        const double cut = lowest > least_cut ? lowest : least_cut;
        for (size_t r = 0; r < s->n_rows && round == 0; r++)
            s->gain[r] = s->held[r] > cut ? s->held[r] / cut : 1;
        if (status != OMEN_OK || round == ROUNDS || !(top > 0) || foreseen_loss(s, 0, cut) <= 3 * LOSS_MOST)
            break;
        unsigned degree = 1;
        while (degree < DEGREE_MOST && chebyshev(degree + 1, top, cut) <= GROWTH_MOST &&
               foreseen_loss(s, degree, cut) > LOSS_MOST)
            degree++;
        filter(s, degree, cut);
        for (size_t r = 0; r < s->n_rows; r++)
            s->gain[r] *= chebyshev(degree, s->held[r], cut);
    }
    return status;
}

static int solve_largest(double *matrix, size_t n, size_t m, float *vectors, size_t ld, double *values,
                         omen_watch *watch)
{
    iteration s = {.n = n, .ld = omen_eigen_stride(n), .n_rows = block_rows(n, m), .n_wanted = m, .watch = watch};
    const size_t l = s.n_rows, width = omen_round_up(l, OMEN_PANEL);
    s.panels = omen_alloc(omen_panels_count(n, n), sizeof *s.panels);
    s.q = omen_alloc(l * s.ld, sizeof *s.q);
    s.w = omen_alloc(l * s.ld, sizeof *s.w);
    s.old = omen_alloc(l * s.ld, sizeof *s.old);
    s.held = omen_alloc(2 * l, sizeof *s.held);
    s.gain = s.held + l;
    int status = s.panels && s.q && s.w && s.old && s.held ? OMEN_OK : OMEN_ERR_MEMORY;
    if (status == OMEN_OK) {
#pragma omp parallel for schedule(static)
        for (size_t j = 0; j < n; j += OMEN_PANEL)
            for (size_t k = 0; k < n; k++)
                for (size_t i = 0; i < OMEN_PANEL; i++)
                    s.panels[j * n + k * OMEN_PANEL + i] =
                        j + i >= n ? 0 : (float)(k < j + i ? matrix[k * n + j + i] : matrix[(j + i) * n + k]);
        status = iterate(&s);
    }
    /* Rayleigh and Ritz: the eigenvectors within the space */
    free(s.panels);
    free(s.old);
    free(s.held);
    float *panels = omen_alloc(omen_panels_count(n, l), sizeof *panels);
    float *small = omen_alloc(l * width, sizeof *small), *turn = omen_alloc(m * width, sizeof *turn);
    double *ritz = omen_alloc(l * l, sizeof *ritz);
    if (!panels || !small || !turn || !ritz)
        status = status == OMEN_OK ? OMEN_ERR_MEMORY : status;
    if (status == OMEN_OK) {
        omen_panels_pack(s.q, l, n, s.ld, panels);
        omen_eigen_multiply(s.w, s.ld, l, panels, l, n, small, width, watch);
        for (size_t i = 0; i < l; i++)
            for (size_t j = 0; j < l; j++)
                ritz[i * l + j] = 0.5 * ((double)small[i * width + j] + (double)small[j * width + i]);
        omen_eigen_pack(s.q, l, n, s.ld, panels);
        status = omen_eigen_dense(ritz, l, m, turn, width, values, watch);
    }
    if (status == OMEN_OK)
        omen_eigen_multiply(turn, width, m, panels, n, l, vectors, ld, watch);
    free(ritz);
    free(turn);
    free(small);
    free(panels);
    free(s.w);
    free(s.q);
    return status;
}

int omen_eigen_top(double *matrix, size_t n, size_t m, float *vectors, size_t ld, double *values, omen_watch *watch)
{
    int status;
    if (is_dense(n, m)) {
        mirror(matrix, n);
        status = omen_eigen_dense(matrix, n, m, vectors, ld, values, watch);
    } else {
        status = solve_largest(matrix, n, m, vectors, ld, values, watch);
    }
    return status == OMEN_OK ? omen_eigen_orthonormalise(vectors, m, n, ld, watch) : status;
}
