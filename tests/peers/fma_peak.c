/* SPDX-License-Identifier: Apache-2.0 */
/* The rate of fused multiply-adds on float32 that this machine reaches with registers alone: the ceiling of exact
 * search.
 *
 *     gcc -O2 -march=native -fopenmp -o fma_peak tests/peers/fma_peak.c && ./fma_peak
 *
 * Prints GFLOP/s (a fused multiply-add is two operations) of the widest vectors that it was compiled for, with one
 * thread and with all, best and median of several runs. omendb bench tells Gop/s of exact search as "truth".
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__AVX512F__)
#define LANES 16
#define LEVEL "avx512"
#elif defined(__AVX__) && defined(__FMA__)
#define LANES 8
#define LEVEL "avx2"
#else
#define LANES 4
#define LEVEL "128-bit vectors"
#endif

#if defined(__aarch64__)
#define REGISTER(v) "+w"(v)
#else
#define REGISTER(v) "+v"(v)
#endif

typedef float vector __attribute__((vector_size(4 * LANES)));

/* Independent chains: two units of latency 4 or 5 need at least 10, and AVX2 has 16 registers. */
#define CHAINS 12
#define STEPS  4000000
#define RUNS   100

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* One step of a chain, which stays in its register. */
#define STEP(v)                                                                                                        \
    v = v * factor + term;                                                                                             \
    __asm__("" : REGISTER(v))

/* Returns what depends on all chains, so that none is left out. */
static float work(float start)
{
    const vector zero = {0}, factor = zero + 0.999f, term = zero + 0.001f;
    vector a = zero + start, b = a + 1, c = a + 2, d = a + 3, e = a + 4, f = a + 5;
    vector g = a + 6, h = a + 7, i = a + 8, j = a + 9, k = a + 10, l = a + 11;
    float total = 0;

    for (int step = 0; step < STEPS; step++) {
        STEP(a);
        STEP(b);
        STEP(c);
        STEP(d);
        STEP(e);
        STEP(f);
        STEP(g);
        STEP(h);
        STEP(i);
        STEP(j);
        STEP(k);
        STEP(l);
    }
    a += b + c + d + e + f + g + h + i + j + k + l;
    for (int lane = 0; lane < LANES; lane++)
        total += a[lane];
    return total;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void measure(int n_threads)
{
    const double operations = 2.0 * CHAINS * LANES * STEPS * n_threads;
    double rates[RUNS];
    float ignored = 0;

    for (int run = -1; run < RUNS; run++) { /* the first is the warm-up */
        double started = seconds(), rate;

#pragma omp parallel num_threads(n_threads) reduction(+ : ignored)
        ignored += work((float)omp_get_thread_num());
        rate = 1e-9 * operations / (seconds() - started);
        if (run >= 0)
            rates[run] = rate;
    }
    qsort(rates, RUNS, sizeof *rates, compare);
    printf("%d thread%s, %s: %.1f GFLOP/s at best, median %.1f%s\n", n_threads, n_threads == 1 ? "" : "s", LEVEL,
           rates[RUNS - 1], rates[RUNS / 2], ignored == 0 ? "!" : "");
}

int main(void)
{
    measure(1);
    measure(omp_get_max_threads());
    return 0;
}
