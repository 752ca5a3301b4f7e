/* SPDX-License-Identifier: Apache-2.0 */
/* One block of a compressed file: the choice of filters that make its numbers compressible, and zstd. Bytes:
 * docs/FORMAT.md, part 3. Private to formats/omz*.c. */
#ifndef OMEN_OMZ_BLOCK_H
#define OMEN_OMZ_BLOCK_H

#include "formats/omz_filter.h"

#define OMZ_MAX_BLOCK_BYTES (32u << 20)

typedef struct omz_coder omz_coder; /* contexts and scratch of one thread */

/* For blocks of at most n_block_bytes; level 1 to 19, or 0 to decode only. NULL if out of memory. */
omz_coder *omz_coder_create(size_t n_block_bytes, int level, bool is_long);
void omz_coder_destroy(omz_coder *coder);

/* Most bytes that encoding n_bytes may produce. */
size_t omz_block_bound(size_t n_bytes);

/* Encodes n_bytes, whole records, into out. Returns the length, 0 if out of memory. The result depends on
 * bytes, shape and level only. */
size_t omz_block_encode(omz_coder *coder, const omz_shape *shape, const uint8_t *raw, size_t n_bytes, uint8_t *out);

/* Whether stored can hold n_bytes of such records, by its own headers and those of its zstd frames. Cheap; call it
 * before allocating memory for all blocks. */
bool omz_block_check(const omz_shape *shape, const uint8_t *stored, size_t n_stored, size_t n_bytes);

/* Decodes into n_bytes of raw. False if stored contradicts itself or the shape. */
bool omz_block_decode(omz_coder *coder, const omz_shape *shape, const uint8_t *stored, size_t n_stored, uint8_t *raw,
                      size_t n_bytes);

#endif
