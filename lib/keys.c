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
