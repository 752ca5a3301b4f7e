/* SPDX-License-Identifier: Apache-2.0 */
/* A hash of rows that does not depend on the order or the parts in which they are read: the sum of a hash of each row's
 * values and number. */
#ifndef OMEN_ROW_HASH_H
#define OMEN_ROW_HASH_H

#include "lib/omendb_info.h"

/* Adds rows [first, first + n) of d values. */
void omen_row_hash_add(omen_row_hash *hash, uint64_t first, const float *rows, size_t n, size_t d);

/* Adds rows of another hash, which has none of these. */
void omen_row_hash_join(omen_row_hash *hash, const omen_row_hash *other);

bool omen_row_hash_is(const omen_row_hash *a, const omen_row_hash *b);

#endif
