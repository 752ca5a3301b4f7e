/* SPDX-License-Identifier: Apache-2.0 */
/* The byte layout of the .omen container, shared by its writer and its reader: docs/FORMAT.md, part 1, in code.
 *
 * Private to formats/container_*.c and their test. Offsets are counted within each 64-byte record. Loads and stores go
 * through memcpy: no record is assumed to be aligned in memory, and none is a C struct.
 */
#ifndef OMEN_CONTAINER_FORMAT_H
#define OMEN_CONTAINER_FORMAT_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include "lib/omendb.h"

#define CONTAINER_MAJOR         1u
#define CONTAINER_MINOR         0u
#define CONTAINER_PAGE_BYTES    4096u
#define CONTAINER_RECORD_BYTES  64u                         /* file header, table entry, trailer */
#define CONTAINER_HASHED_BYTES  56u                         /* bytes that the checksum at a record's end covers */
#define CONTAINER_BLOCK_BYTES   OMEN_CHECK_BYTES            /* what one checksum covers */
#define CONTAINER_FANOUT        (CONTAINER_BLOCK_BYTES / 8) /* checksums in a block of them */
#define CONTAINER_MAX_LEVELS    6u /* of checksums: CONTAINER_FANOUT to this power blocks have more than 2^63 bytes */
#define CONTAINER_MAX_SECTIONS  1024u
#define CONTAINER_MIN_BYTES     (CONTAINER_PAGE_BYTES + CONTAINER_RECORD_BYTES)
#define CONTAINER_HEADER_MAGIC  "OMENDB\r\n"
#define CONTAINER_TRAILER_MAGIC "OMENEND\n"
#define CONTAINER_MAGIC_BYTES   8u

#define CONTAINER_FLAG_OPTIONAL   1u      /* of a section */
#define CONTAINER_FLAGS_MANDATORY 0xffffu /* a reader that does not know one of these bits refuses */

enum { /* file header */
       HEADER_MAJOR = 8,
       HEADER_MINOR = 10,
       HEADER_FLAGS = 12,
       HEADER_IDENTITY = 16,
       HEADER_RESERVED = 24,
};

enum { /* table entry */
       ENTRY_ID = 0,
       ENTRY_ELEMENT = 4,
       ENTRY_FLAGS = 8,
       ENTRY_RESERVED_A = 12,
       ENTRY_OFFSET = 16,
       ENTRY_BYTES = 24,
       ENTRY_STORED_BYTES = 32,
       ENTRY_N_CHECKSUMS = 40,
       ENTRY_CHECKSUMS_HASH = 48,
       ENTRY_RESERVED_B = 56,
};

enum { /* trailer */
       TRAILER_TABLE_OFFSET = 8,
       TRAILER_TABLE_BYTES = 16,
       TRAILER_TABLE_HASH = 24,
       TRAILER_FILE_BYTES = 32,
       TRAILER_IDENTITY = 40,
       TRAILER_RESERVED = 48,
};

enum { RECORD_HASH = 56 }; /* of file header and trailer */

static inline uint16_t container_load_u16(const uint8_t *from)
{
    uint16_t x;
    memcpy(&x, from, sizeof x);
    return le16toh(x);
}

static inline uint32_t container_load_u32(const uint8_t *from)
{
    uint32_t x;
    memcpy(&x, from, sizeof x);
    return le32toh(x);
}

static inline uint64_t container_load_u64(const uint8_t *from)
{
    uint64_t x;
    memcpy(&x, from, sizeof x);
    return le64toh(x);
}

static inline void container_store_u16(uint8_t *to, uint16_t x)
{
    x = htole16(x);
    memcpy(to, &x, sizeof x);
}

static inline void container_store_u32(uint8_t *to, uint32_t x)
{
    x = htole32(x);
    memcpy(to, &x, sizeof x);
}

static inline void container_store_u64(uint8_t *to, uint64_t x)
{
    x = htole64(x);
    memcpy(to, &x, sizeof x);
}

static inline uint64_t container_hash(const void *data, size_t n_bytes)
{
    return omen_checksum(data, n_bytes);
}

/* Ends a file header or trailer with its checksum. */
static inline void container_seal(uint8_t record[CONTAINER_RECORD_BYTES])
{
    container_store_u64(record + RECORD_HASH, container_hash(record, CONTAINER_HASHED_BYTES));
}

static inline bool container_is_sealed(const uint8_t record[CONTAINER_RECORD_BYTES])
{
    return container_load_u64(record + RECORD_HASH) == container_hash(record, CONTAINER_HASHED_BYTES);
}

static inline bool container_is_zero(const uint8_t *data, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++)
        if (data[i] != 0)
            return false;
    return true;
}

/* One section as the table describes it. Reserved bytes are not kept: readers check them on the record. */
typedef struct container_entry {
    uint32_t id, element, flags;
    uint64_t offset;         /* of the payload */
    uint64_t n_bytes;        /* of the payload */
    uint64_t n_stored_bytes; /* equal to n_bytes in this version */
    uint64_t n_checksums;    /* on all levels */
    uint64_t checksums_hash; /* of the top level */
} container_entry;

static inline void container_encode_entry(uint8_t out[CONTAINER_RECORD_BYTES], const container_entry *entry)
{
    memset(out, 0, CONTAINER_RECORD_BYTES);
    container_store_u32(out + ENTRY_ID, entry->id);
    container_store_u32(out + ENTRY_ELEMENT, entry->element);
    container_store_u32(out + ENTRY_FLAGS, entry->flags);
    container_store_u64(out + ENTRY_OFFSET, entry->offset);
    container_store_u64(out + ENTRY_BYTES, entry->n_bytes);
    container_store_u64(out + ENTRY_STORED_BYTES, entry->n_stored_bytes);
    container_store_u64(out + ENTRY_N_CHECKSUMS, entry->n_checksums);
    container_store_u64(out + ENTRY_CHECKSUMS_HASH, entry->checksums_hash);
}

static inline void container_decode_entry(container_entry *entry, const uint8_t in[CONTAINER_RECORD_BYTES])
{
    entry->id = container_load_u32(in + ENTRY_ID);
    entry->element = container_load_u32(in + ENTRY_ELEMENT);
    entry->flags = container_load_u32(in + ENTRY_FLAGS);
    entry->offset = container_load_u64(in + ENTRY_OFFSET);
    entry->n_bytes = container_load_u64(in + ENTRY_BYTES);
    entry->n_stored_bytes = container_load_u64(in + ENTRY_STORED_BYTES);
    entry->n_checksums = container_load_u64(in + ENTRY_N_CHECKSUMS);
    entry->checksums_hash = container_load_u64(in + ENTRY_CHECKSUMS_HASH);
}

/* Where the checksums of a section are. Level 0 has one for each block of the payload, each further level one for each
 * block of the level below; the top level is one block at most. */
typedef struct container_layout {
    uint32_t n_levels;
    uint64_t n_level[CONTAINER_MAX_LEVELS]; /* checksums of a level */
    uint64_t level[CONTAINER_MAX_LEVELS];   /* its offset in the file */
    uint64_t n_checksums;                   /* on all levels */
    uint64_t checksums_end;
    uint64_t end; /* offset of what follows the section */
} container_layout;

static inline uint64_t container_blocks(uint64_t n_bytes)
{
    return n_bytes / CONTAINER_BLOCK_BYTES + (n_bytes % CONTAINER_BLOCK_BYTES != 0);
}

/* Lays out a section at offset with n_bytes of payload. False if it would not end below 2^63. */
static inline bool container_lay_out(container_layout *out, uint64_t offset, uint64_t n_bytes)
{
    const uint64_t limit = INT64_MAX;

    /* checksums and padding add far less than 2^63, so no sum below wraps */
    if (offset > limit || n_bytes > limit - offset)
        return false;
    uint64_t at = (offset + n_bytes + 7) / 8 * 8, n = container_blocks(n_bytes);
    out->n_levels = 0;
    out->n_checksums = 0;
    do {
        out->level[out->n_levels] = at;
        out->n_level[out->n_levels] = n;
        out->n_levels++;
        out->n_checksums += n;
        at += 8 * n;
        n = container_blocks(8 * n);
    } while (n > 1);
    out->checksums_end = at;
    out->end = (at + CONTAINER_PAGE_BYTES - 1) / CONTAINER_PAGE_BYTES * CONTAINER_PAGE_BYTES;
    return out->end <= limit;
}

/* Whether an id may name a section: printable, and not a name that reports use for the parts outside sections. Being
 * printable also keeps control characters of a hostile file off the terminal. */
static inline bool container_id_is_valid(uint32_t id)
{
    for (int i = 0; i < 4; i++) {
        const uint32_t c = id >> (8 * i) & 0xff;
        if (c < 0x20 || c > 0x7e)
            return false;
    }
    return id != OMEN_FOURCC('h', 'e', 'a', 'd') && id != OMEN_FOURCC('t', 'a', 'b', 'l') &&
           id != OMEN_FOURCC('t', 'a', 'i', 'l');
}

static inline void container_id_name(char name[5], uint32_t id)
{
    for (int i = 0; i < 4; i++)
        name[i] = (char)(id >> (8 * i) & 0xff);
    name[4] = '\0';
}

#endif
