/* SPDX-License-Identifier: Apache-2.0 */
/* What queries find within a distance, while it is being found. */
#ifndef OMEN_RANGE_H
#define OMEN_RANGE_H

#include "lib/omendb.h"

/* Keys (distance, id) that one query has found, in any order. Starts zeroed. */
typedef struct omen_range {
    uint64_t *keys;
    uint64_t n, size;
} omen_range;

/* Adds a key. Of more than limit + 1 keys (0: no limit) some others than the limit + 1 smallest may be dropped. Returns
 * OMEN_OK or OMEN_ERR_MEMORY. */
int omen_range_add(omen_range *range, uint64_t key, uint64_t limit) OMEN_MUST_CHECK;

/* Adds those of n different keys that it does not have yet, as omen_range_add(). Sorts both. */
int omen_range_add_new(omen_range *range, uint64_t *keys, uint64_t n, uint64_t limit) OMEN_MUST_CHECK;

/* Sorts the keys and leaves the limit smallest. Returns whether there were more. */
bool omen_range_finish(omen_range *range, uint64_t limit);

void omen_ranges_free(omen_range *ranges, uint64_t n);

#endif
