/* SPDX-License-Identifier: Apache-2.0 */
/* Selecting and sorting keys, without branches on the data. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/keys.h"

/* Brings what is less than the median of three elements to the front of [lo, hi), without branches on the data: an
 * element goes there or stays by arithmetic alone. less becomes the first that is not; where it is the very first, the
 * pivot is the smallest, and its equals go to the front instead. */
#define PARTITION(type, x, lo, hi, less)                                                                               \
    const type a = (x)[lo], b = (x)[(lo) + ((hi) - (lo)) / 2], c = (x)[(hi)-1];                                        \
    const type pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);                              \
    size_t less = lo;                                                                                                  \
    for (size_t i = lo; i < (hi); i++) {                                                                               \
        const type t = (x)[i];                                                                                         \
        (x)[i] = (x)[less];                                                                                            \
        (x)[less] = t;                                                                                                 \
        less += t < pivot;                                                                                             \
    }                                                                                                                  \
    const bool is_smallest = less == (lo);                                                                             \
    for (size_t i = lo; i < (is_smallest ? (hi) : (lo)); i++) {                                                        \
        const type t = (x)[i];                                                                                         \
        (x)[i] = (x)[less];                                                                                            \
        (x)[less] = t;                                                                                                 \
        less += t <= pivot;                                                                                            \
    }

/* Quickselect. */
#define SELECT(type, x, n, m)                                                                                          \
    for (size_t lo = 0, hi = (n); lo < (m) && (m) < hi;) {                                                             \
        PARTITION(type, x, lo, hi, less)                                                                               \
        if ((m) <= less && !is_smallest)                                                                               \
            hi = less;                                                                                                 \
        else                                                                                                           \
            lo = less;                                                                                                 \
    }

void omen_keys_select(uint64_t *keys, size_t n, size_t m)
{
    SELECT(uint64_t, keys, n, m)
}

#define SAMPLED 16u /* keys that a limit is guessed from */
#define FEW     32u /* keys that are selected from without */

/* Sorts 16 keys: Batcher's odd-even merges (AFIPS 1968), without branches on the data. */
static void sort_sample(uint64_t *keys)
{
#define S(i, j)                                                                                                        \
    {                                                                                                                  \
        const uint64_t a = keys[i], b = keys[j];                                                                       \
        keys[i] = a < b ? a : b;                                                                                       \
        keys[j] = a < b ? b : a;                                                                                       \
    }
    /* clang-format off */
    S(0, 1) S(2, 3) S(4, 5) S(6, 7) S(8, 9) S(10, 11) S(12, 13) S(14, 15) S(0, 2) S(1, 3) S(4, 6) S(5, 7)
    S(8, 10) S(9, 11) S(12, 14) S(13, 15) S(1, 2) S(5, 6) S(9, 10) S(13, 14) S(0, 4) S(1, 5) S(2, 6) S(3, 7)
    S(8, 12) S(9, 13) S(10, 14) S(11, 15) S(2, 4) S(3, 5) S(10, 12) S(11, 13) S(1, 2) S(3, 4) S(5, 6) S(9, 10)
    S(11, 12) S(13, 14) S(0, 8) S(1, 9) S(2, 10) S(3, 11) S(4, 12) S(5, 13) S(6, 14) S(7, 15) S(4, 8) S(5, 9)
    S(6, 10) S(7, 11) S(2, 4) S(3, 5) S(6, 8) S(7, 9) S(10, 12) S(11, 13) S(1, 2) S(3, 4) S(5, 6) S(7, 8)
    S(9, 10) S(11, 12) S(13, 14)
    /* clang-format on */
#undef S
}

/* A limit that a little more than the m smallest of n keys are probably below. */
static uint64_t guess_limit(const uint64_t *keys, size_t n, size_t m)
{
    uint64_t sample[SAMPLED];
    for (size_t i = 0; i < SAMPLED; i++)
        sample[i] = keys[i * n / SAMPLED];
    sort_sample(sample);
    return sample[m * SAMPLED / n + 2];
}

void omen_keys_least(uint64_t *keys, size_t n, size_t m, uint64_t *work)
{
    uint64_t *const to = keys;
    while (n > FEW && m < n / 4 * 3) {
        const size_t n_below = omen_kernels_get()->keys_below(keys, n, guess_limit(keys, n, m), work);
        if (n_below < m || n_below == n)
            break;
        uint64_t *const rest = keys;
        keys = work;
        work = rest;
        n = n_below;
    }
    if (m < n)
        omen_keys_select(keys, n, m);
    if (keys != to)
        memcpy(to, keys, m * sizeof *keys);
}

static int by_key(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

#define INSERTION 24u /* keys that are sorted one by one */

/* Quicksort; what splits badly too often is left to the library's. */
static void sort_keys(uint64_t *keys, size_t n, int n_splits)
{
    while (n > INSERTION) {
        if (n_splits-- == 0) {
            qsort(keys, n, sizeof *keys, by_key);
            return;
        }
        PARTITION(uint64_t, keys, 0, n, less)
        if (!is_smallest)
            sort_keys(keys, less, n_splits);
        keys += less;
        n -= less;
    }
    for (size_t i = 1; i < n; i++) {
        const uint64_t key = keys[i];
        size_t j = i;
        for (; j > 0 && keys[j - 1] > key; j--)
            keys[j] = keys[j - 1];
        keys[j] = key;
    }
}

void omen_keys_sort(uint64_t *keys, size_t n)
{
    sort_keys(keys, n, 64);
}

float omen_values_select(const float *values, size_t n, size_t m, float *work)
{
    float limit = -INFINITY;
    memcpy(work, values, n * sizeof *work);
    SELECT(float, work, n, m)
    for (size_t i = 0; i < m; i++)
        limit = work[i] > limit ? work[i] : limit;
    return limit;
}
