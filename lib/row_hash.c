/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/row_hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

void omen_row_hash_add(omen_row_hash *hash, uint64_t first, const float *rows, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++) {
        const XXH128_hash_t one = XXH3_128bits_withSeed(rows + i * d, d * sizeof *rows, first + i);
        hash->low += one.low64;
        hash->high += one.high64;
    }
}

void omen_row_hash_join(omen_row_hash *hash, const omen_row_hash *other)
{
    hash->low += other->low;
    hash->high += other->high;
}

bool omen_row_hash_is(const omen_row_hash *a, const omen_row_hash *b)
{
    return a->low == b->low && a->high == b->high;
}
