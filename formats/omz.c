/* SPDX-License-Identifier: Apache-2.0 */
/* Reads compressed files: the table of blocks, and blocks unpacked in parallel.
 *
 * Nothing in a block is trusted: lengths are compared with the table and the buffers before they are used, and the
 * result with its checksum. */
#include "formats/file.h"
#include "formats/omz_order.h"
#include "formats/omz_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const omen_section *find_section(const omen_container *container, uint32_t id)
{
    size_t n;
    const omen_section *sections = omen_container_sections(container, &n);

    for (size_t i = 0; i < n; i++)
        if (sections[i].id == id)
            return &sections[i];
    return NULL;
}

bool omen_omz_is(const omen_container *container)
{
    return find_section(container, SECTION_HEAD);
}

int omz_fail_block(uint64_t i, const char *what, omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_CORRUPT, "block %llu is damaged: %s", (unsigned long long)i, what);
}

static bool shape_is_sound(const block *b, uint32_t most_bytes)
{
    const omz_shape *s = &b->shape;

    return b->raw > 0 && b->raw <= most_bytes && s->record_bytes > 0 && b->raw % s->record_bytes == 0 &&
           s->head_bytes <= SQ_HEAD_BYTES && s->head_bytes < s->record_bytes && s->value <= OMEN_VALUE_F8 &&
           (s->record_bytes - s->head_bytes) % omen_value_bytes(s->value) == 0;
}

int omen_omz_open(omen_omz **out, const omen_container *container, omen_detail *why)
{
    const omen_section *head = find_section(container, SECTION_HEAD), *data = find_section(container, SECTION_DATA),
                       *table = find_section(container, SECTION_TABLE);
    uint64_t offset = 0, raw_offset = 0;

    *out = NULL;
    if (!head)
        return omen_fail(why, OMEN_ERR_INPUT, "it is an index, not a compressed file");
    if (!data || !table || head->n_bytes != HEAD_BYTES)
        return omen_fail(why, OMEN_ERR_CORRUPT, "sections of a compressed file are missing or of a wrong length");
    if (omen_section_check(head, why) != OMEN_OK || omen_section_check(table, why) != OMEN_OK)
        return OMEN_ERR_CORRUPT;
    omen_omz *omz = calloc(1, sizeof *omz);
    const uint64_t n_blocks = container_load_u64((const uint8_t *)head->data + HEAD_N_BLOCKS);
    const uint32_t kind = container_load_u32((const uint8_t *)head->data + HEAD_KIND);
    const uint32_t block_bytes = container_load_u32((const uint8_t *)head->data + HEAD_BLOCK);
    if (!omz || n_blocks != table->n_bytes / TABLE_ENTRY_BYTES || table->n_bytes % TABLE_ENTRY_BYTES != 0 ||
        kind > KIND_INDEX || block_bytes > OMZ_MAX_BLOCK_BYTES ||
        !container_is_zero((const uint8_t *)head->data + HEAD_ZERO, HEAD_BYTES - HEAD_ZERO)) {
        free(omz);
        return !omz ? omen_fail(why, OMEN_ERR_MEMORY, "out of memory")
                    : omen_fail(why, OMEN_ERR_CORRUPT, "its head and its table of blocks disagree");
    }
    *omz = (omen_omz){.data = data->data,
                      .n_data_bytes = data->n_bytes,
                      .original_bytes = container_load_u64((const uint8_t *)head->data + HEAD_ORIGINAL),
                      .n_blocks = n_blocks,
                      .is_index = kind == KIND_INDEX,
                      .blocks = calloc(n_blocks + 1, sizeof *omz->blocks)};
    int status = !omz->blocks ? omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the table of blocks") : OMEN_OK;
    for (uint64_t i = 0; i < n_blocks && status == OMEN_OK; i++) {
        const uint8_t *from = (const uint8_t *)table->data + i * TABLE_ENTRY_BYTES;
        block *b = &omz->blocks[i];
        *b = (block){.offset = container_load_u64(from + AT_OFFSET),
                     .raw_offset = raw_offset,
                     .stored = container_load_u32(from + AT_STORED),
                     .raw = container_load_u32(from + AT_RAW),
                     .shape = {.value = from[AT_VALUE],
                               .big_endian = from[AT_BIG_ENDIAN] == 1,
                               .head_bytes = container_load_u32(from + AT_HEAD),
                               .record_bytes = container_load_u32(from + AT_RECORD)},
                     .hash = container_load_u64(from + AT_HASH)};
        if (b->offset != offset || b->stored > omz->n_data_bytes - offset || from[AT_BIG_ENDIAN] > 1 ||
            !container_is_zero(from + AT_ZERO, AT_HASH - AT_ZERO) || !shape_is_sound(b, block_bytes) ||
            !omz_block_check(&b->shape, omz->data + offset, b->stored, b->raw)) {
            status = omz_fail_block(i, "its entry contradicts the file", why);
        }
        omz->most_bytes = b->raw > omz->most_bytes ? b->raw : omz->most_bytes;
        offset += b->stored;
        raw_offset += b->raw;
    }
    if (status == OMEN_OK && (offset != omz->n_data_bytes || raw_offset != omz->original_bytes)) {
        status = omen_fail(why, OMEN_ERR_CORRUPT, "the blocks hold %llu bytes of the original, and %llu are stated",
                           (unsigned long long)raw_offset, (unsigned long long)omz->original_bytes);
    }
    if (status != OMEN_OK) {
        omen_omz_close(omz);
        return status;
    }
    *out = omz;
    return OMEN_OK;
}

void omen_omz_close(omen_omz *omz)
{
    if (omz) {
        free(omz->blocks);
        free(omz);
    }
}

bool omen_omz_holds_index(const omen_omz *omz)
{
    return omz->is_index;
}

uint64_t omen_omz_original_bytes(const omen_omz *omz)
{
    return omz->original_bytes;
}

/* Where unpacked blocks go: a file, or nowhere. */
typedef struct {
    const omen_omz *omz;
    int fd;                /* -1: none */
    bool is_ordered;       /* fd is written in order */
    omen_damage_fn damage; /* told of every damaged block, which then do not end the work */
    void *damage_context;
    omen_progress_fn progress;
    void *context;
    bool damaged;
    omen_detail *why;
} reading;

static void *start_reading(void *context)
{
    const reading *r = context;
    return omz_coder_create(r->omz->most_bytes, 0, false);
}

static void stop_reading(void *worker)
{
    omz_coder_destroy(worker);
}

bool omz_unpack_block(const omen_omz *omz, omz_coder *coder, uint64_t i, uint8_t *out)
{
    const block *b = &omz->blocks[i];

    return omz_block_decode(coder, &b->shape, omz->data + b->offset, b->stored, out, b->raw) &&
           container_hash(out, b->raw) == b->hash;
}

/* Returns OMEN_OK, OMEN_ERR_CORRUPT, or an errno. */
static int unpack_block(void *context, void *worker, uint64_t i, uint8_t *slot)
{
    const reading *r = context;
    const block *b = &r->omz->blocks[i];

    if (!omz_unpack_block(r->omz, worker, i, slot))
        return OMEN_ERR_CORRUPT;
    if (r->fd < 0 || r->is_ordered || omen_pwrite_all(r->fd, slot, b->raw, b->raw_offset) == 0)
        return OMEN_OK;
    return errno;
}

static int take_block(void *context, uint64_t i, int made, const uint8_t *slot)
{
    reading *r = context;
    const block *b = &r->omz->blocks[i];

    if (made == OMEN_ERR_CORRUPT && r->damage) {
        r->damaged = true;
        r->damage(r->damage_context, "ZDAT", b->offset, b->stored, "a block does not unpack");
        return OMEN_OK;
    }
    if (made == OMEN_ERR_CORRUPT)
        return omz_fail_block(i, "its checksum does not match", r->why);
    if (made == OMEN_OK && r->fd >= 0 && r->is_ordered && omen_write_all(r->fd, slot, b->raw) != 0)
        made = errno;
    if (made != OMEN_OK)
        return omen_fail(r->why, OMEN_ERR_IO, "cannot write: %s", strerror(made));
    if (r->progress && r->progress(r->context, "unpack", i, r->omz->n_blocks) != 0)
        return omen_fail(r->why, OMEN_ERR_INTERRUPTED, "interrupted");
    return OMEN_OK;
}

static int unpack_blocks(reading *r, int n_threads)
{
    const omz_order order = {
        .context = r,
        .n_items = r->omz->n_blocks,
        .slot_bytes = r->omz->most_bytes,
        .n_threads = n_threads,
        .start = start_reading,
        .stop = stop_reading,
        .make = unpack_block,
        .take = take_block,
    };
    const int status = omz_order_run(&order);
    if (status == OMEN_ERR_MEMORY)
        return omen_fail(r->why, status, "out of memory for the buffers of blocks");
    return status == OMEN_OK && r->damaged ? OMEN_ERR_CORRUPT : status;
}

int omen_omz_unpack_to(const omen_omz *omz, int fd, bool is_new, int n_threads, omen_progress_fn progress,
                       void *context, omen_detail *why)
{
    reading r = {.omz = omz, .fd = fd, .is_ordered = !is_new, .progress = progress, .context = context, .why = why};
    return unpack_blocks(&r, n_threads);
}

int omen_omz_check(const omen_omz *omz, int n_threads, omen_damage_fn damage, void *context)
{
    reading r = {.omz = omz, .fd = -1, .damage = damage, .damage_context = context};
    return unpack_blocks(&r, n_threads);
}
