/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that write and read compressed files share: sections, the table of blocks, both handles. Private to
 * formats/omz*.c. */
#ifndef OMEN_OMZ_PARTS_H
#define OMEN_OMZ_PARTS_H

#include "formats/container_format.h"
#include "formats/input.h"
#include "formats/omz.h"
#include "formats/omz_block.h"

#define SECTION_HEAD  OMEN_FOURCC('Z', 'H', 'E', 'D')
#define SECTION_DATA  OMEN_FOURCC('Z', 'D', 'A', 'T')
#define SECTION_TABLE OMEN_FOURCC('Z', 'T', 'A', 'B')

#define SQ_HEAD_BYTES 8u

/* Sections: HEAD is one record of 32 bytes, TABLE one of 40 for each block. */
enum { HEAD_BYTES = 32, HEAD_ORIGINAL = 0, HEAD_N_BLOCKS = 8, HEAD_KIND = 16, HEAD_BLOCK = 20, HEAD_ZERO = 24 };
enum { KIND_VECTORS = 0, KIND_INDEX = 1 };
enum {
    TABLE_ENTRY_BYTES = 40,
    AT_OFFSET = 0,
    AT_STORED = 8,
    AT_RAW = 12,
    AT_RECORD = 16,
    AT_HEAD = 20,
    AT_VALUE = 24,
    AT_BIG_ENDIAN = 25,
    AT_ZERO = 26,
    AT_HASH = 32,
};

/* A stretch of a file whose bytes are alike. */
typedef struct {
    uint64_t offset, n_bytes; /* whole records */
    omz_shape shape;
} region;

typedef struct {
    uint64_t offset; /* of the stored bytes in DATA */
    uint64_t raw_offset;
    uint32_t stored, raw;
    omz_shape shape;
    uint64_t hash;
} block;

/* Bytes of the original in a block, unless one record is longer. */
#define BLOCK_BYTES (1u << 20)

/* What a file is made of. */
struct omen_omz_input {
    omen_input input;
    bool is_unpacked; /* it was gzip or zstd */
    char format[16];
    region *regions; /* they cover it */
    size_t n_regions;
};

/* A compressed file, open. */
struct omen_omz {
    const uint8_t *data;
    uint64_t n_data_bytes, original_bytes, n_blocks;
    uint32_t most_bytes; /* of the longest block in the original */
    bool is_index;
    block *blocks;
};

/* The message of a damaged block. Returns OMEN_ERR_CORRUPT. */
int omz_fail_block(uint64_t i, const char *what, omen_detail *why);

/* Unpacks block i into out. False when it contradicts itself or its checksum. */
bool omz_unpack_block(const omen_omz *omz, omz_coder *coder, uint64_t i, uint8_t *out);

#endif
