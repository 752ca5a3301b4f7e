/* SPDX-License-Identifier: Apache-2.0 */
/* Texts, each kept once: an open hash table of their numbers. */
#include "formats/columns_internal.h"

#include <stdlib.h>
#include <string.h>

/* An array of *size items with room for so many, at least; NULL without memory: then it is as it was. */
static void *grow(void *array, uint64_t *size, uint64_t wanted, size_t item_bytes)
{
    uint64_t larger = *size ? *size : 64;
    while (larger < wanted)
        larger *= 2;
    void *grown = larger == *size ? array : realloc(array, larger * item_bytes);
    if (grown)
        *size = larger;
    return grown;
}

static uint32_t *slot_of(const omen_intern *in, uint32_t *slots, uint64_t n_slots, const char *text, size_t n_bytes)
{
    for (uint64_t at = omen_checksum(text, n_bytes);; at++) {
        uint32_t *slot = &slots[at & (n_slots - 1)];
        if (!*slot)
            return slot;
        const uint64_t begin = in->offsets[*slot - 1], length = in->offsets[*slot] - begin;
        if (length == n_bytes && (!n_bytes || memcmp(in->bytes + begin, text, n_bytes) == 0))
            return slot;
    }
}

/* Twice as many slots. */
static bool rehash(omen_intern *in)
{
    const uint64_t n_slots = in->n_slots ? 2 * in->n_slots : 256;
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (!slots)
        return false;
    for (uint64_t i = 0; i < in->n; i++)
        *slot_of(in, slots, n_slots, in->bytes + in->offsets[i], in->offsets[i + 1] - in->offsets[i]) = (uint32_t)i + 1;
    free(in->slots);
    in->slots = slots;
    in->n_slots = n_slots;
    return true;
}

int omen_intern_add(omen_intern *in, const char *text, size_t n_bytes, uint32_t *number)
{
    if (in->n * 2 >= in->n_slots && !rehash(in))
        return OMEN_ERR_MEMORY;
    uint32_t *slot = slot_of(in, in->slots, in->n_slots, text, n_bytes);
    if (*slot) {
        *number = *slot - 1;
        return OMEN_OK;
    }
    char *bytes = grow(in->bytes, &in->bytes_size, in->n_bytes + n_bytes + 1, 1);
    in->bytes = bytes ? bytes : in->bytes;
    uint64_t *offsets = grow(in->offsets, &in->offsets_size, in->n + 2, sizeof *offsets);
    in->offsets = offsets ? offsets : in->offsets;
    if (!bytes || !offsets || in->n >= UINT32_MAX - 2)
        return OMEN_ERR_MEMORY;
    if (n_bytes)
        memcpy(in->bytes + in->n_bytes, text, n_bytes);
    in->offsets[0] = 0;
    in->n_bytes += n_bytes;
    in->offsets[in->n + 1] = in->n_bytes;
    *number = (uint32_t)in->n++;
    *slot = *number + 1;
    return OMEN_OK;
}

omen_words omen_intern_words(const omen_intern *in)
{
    static const uint64_t none;
    return (omen_words){in->n, in->n ? in->offsets : &none, in->bytes};
}

uint64_t omen_intern_bytes(const omen_intern *in)
{
    return in->bytes_size + in->offsets_size * sizeof *in->offsets + in->n_slots * sizeof *in->slots;
}

void omen_intern_finish(omen_intern *in)
{
    free(in->bytes);
    free(in->offsets);
    free(in->slots);
    *in = (omen_intern){NULL, 0, 0, NULL, 0, 0, NULL, 0};
}
