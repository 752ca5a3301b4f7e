/* SPDX-License-Identifier: Apache-2.0 */
/* What a model consists of: transform, partition and codec each list their arrays once, and the writer and the reader
 * of an index and the checkpoint's records go by that list. */
#ifndef OMEN_MODEL_PART_H
#define OMEN_MODEL_PART_H

#include "lib/omendb.h"

#define OMEN_MODEL_PARTS 6u /* of one model, at most */

/* One array of a model, whose counts are set, whether the array is there yet or not. */
typedef struct omen_model_part {
    uint32_t id; /* of the section; 0: the checkpoint alone holds it, an index needs it no more */
    omen_element element;
    void *slot; /* the pointer that the model keeps to it; see omen_model_part_data() */
    uint64_t count;
} omen_model_part;

/* The part's array, which the model owns, and making p that. */
static inline const void *omen_model_part_data(const omen_model_part *part)
{
    const void *p;
    __builtin_memcpy(&p, part->slot, sizeof p);
    return p;
}

static inline void omen_model_part_set(const omen_model_part *part, const void *p)
{
    __builtin_memcpy(part->slot, &p, sizeof p);
}

/* Size in bytes of one element of a part. */
static inline size_t omen_model_part_size(const omen_model_part *part)
{
    return part->element == OMEN_ELEMENT_U8 ? 1 : 4; /* else u32 or f32 */
}

/* Size in bytes of n parts, whose counts are within the limits of options or of META: nothing overflows. */
static inline uint64_t omen_model_parts_bytes(const omen_model_part *parts, size_t n)
{
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < n; i++)
        n_bytes += parts[i].count * omen_model_part_size(&parts[i]);
    return n_bytes;
}

#endif
