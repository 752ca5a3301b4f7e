/* SPDX-License-Identifier: Apache-2.0 */
/* Chooses the kernel table: scalar first, the best level this processor runs unless capped. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "lib/kernels/kernels.h"
#include "lib/omendb.h"

/* The one thing that the library knows besides what it is given. Several threads may ask for it first. */
static _Atomic(const omen_kernels *) active;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool level_runs_here(const omen_kernels *k)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
#ifdef OMEN_HAVE_AVX2
    /* F16C is older than AVX2, and not every compiler can ask for it */
    if (k == &omen_kernels_avx2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
#ifdef OMEN_HAVE_AVX512
    if (k == &omen_kernels_avx512vnni && !__builtin_cpu_supports("avx512vnni"))
        return false;
    if (k == &omen_kernels_avx512 || k == &omen_kernels_avx512vnni)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#endif
#endif
    return true;
}

/* Worst to best; only what was compiled in. */
static const omen_kernels *const levels[] = {
    &omen_kernels_scalar,
#ifdef OMEN_HAVE_AVX2
    &omen_kernels_avx2,
#endif
#ifdef OMEN_HAVE_AVX512
    &omen_kernels_avx512, &omen_kernels_avx512vnni,
#endif
#ifdef OMEN_HAVE_NEON
    &omen_kernels_neon,
#endif
};

int omen_cpu_select(const char *level, omen_detail *why)
{
    const size_t n = sizeof levels / sizeof *levels;
    const char *name = level ? level : "best";
    for (size_t i = n; i-- > 0;) {
        if (level ? strcmp(level, levels[i]->name) == 0 : level_runs_here(levels[i])) {
            if (!level_runs_here(levels[i]))
                return omen_fail(why, OMEN_ERR_ARGUMENT, "this processor has no %s", name);
            atomic_store_explicit(&active, levels[i], memory_order_release);
            return OMEN_OK;
        }
    }
    return omen_fail(why, OMEN_ERR_ARGUMENT,
                     "unknown SIMD level \"%s\" in this build (scalar, avx2, avx512, avx512vnni or neon)", name);
}

/* The best level, unless one was chosen meanwhile. */
static void choose_best(void)
{
    const omen_kernels *none = NULL, *best = &omen_kernels_scalar;
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (level_runs_here(levels[i]))
            best = levels[i];
    atomic_compare_exchange_strong(&active, &none, best);
}

const omen_kernels *omen_kernels_get(void)
{
    const omen_kernels *chosen = atomic_load_explicit(&active, memory_order_acquire);
    if (chosen)
        return chosen;
    pthread_once(&once, choose_best);
    return atomic_load_explicit(&active, memory_order_acquire);
}

uint64_t omen_checksum(const void *data, size_t n)
{
    return omen_kernels_get()->xxh3(data, n);
}

const char *omen_cpu_level(void)
{
    return omen_kernels_get()->name;
}

int omen_cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int n = CPU_COUNT(&set);
    return n > 0 ? n : 1;
}
