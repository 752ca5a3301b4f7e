/* SPDX-License-Identifier: Apache-2.0 */
/* Writes compressed files: blocks of about 1 MiB, packed in parallel and appended in order. */
#include "formats/omz_order.h"
#include "formats/omz_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BLOCK_BYTES_THOROUGH (4u << 20)
#define BLOCK_BYTES_LONG     OMZ_MAX_BLOCK_BYTES
#define LEVEL_THOROUGH       10

/* The bytes of a region's blocks but its last. */
static uint64_t cut_region(const region *like, uint64_t block_bytes)
{
    const uint64_t n_records = block_bytes / like->shape.record_bytes;

    return (n_records > 0 ? n_records : 1) * like->shape.record_bytes;
}

typedef struct {
    block *blocks;
    uint64_t n, most_bytes;
} block_list;

static int list_blocks(const omen_omz_input *in, uint64_t block_bytes, block_list *list, omen_detail *why)
{
    uint64_t n = 0;

    for (size_t r = 0; r < in->n_regions; r++) {
        const uint64_t each = cut_region(&in->regions[r], block_bytes);
        n += (in->regions[r].n_bytes + each - 1) / each;
    }
    *list = (block_list){.blocks = calloc(n + 1, sizeof *list->blocks)};
    if (!list->blocks)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for a table of %llu blocks", (unsigned long long)n);
    for (size_t r = 0; r < in->n_regions; r++) {
        const region *like = &in->regions[r];
        const uint64_t each = cut_region(like, block_bytes);
        for (uint64_t at = 0; at < like->n_bytes; at += each) {
            const uint64_t left = like->n_bytes - at, n_bytes = left < each ? left : each;
            list->blocks[list->n++] =
                (block){.raw_offset = like->offset + at, .raw = (uint32_t)n_bytes, .shape = like->shape};
            list->most_bytes = n_bytes > list->most_bytes ? n_bytes : list->most_bytes;
        }
    }
    return OMEN_OK;
}

static void store_block(const block *b, uint8_t out[TABLE_ENTRY_BYTES])
{
    memset(out, 0, TABLE_ENTRY_BYTES);
    container_store_u64(out + AT_OFFSET, b->offset);
    container_store_u32(out + AT_STORED, b->stored);
    container_store_u32(out + AT_RAW, b->raw);
    container_store_u32(out + AT_RECORD, b->shape.record_bytes);
    container_store_u32(out + AT_HEAD, b->shape.head_bytes);
    out[AT_VALUE] = (uint8_t)b->shape.value;
    out[AT_BIG_ENDIAN] = b->shape.big_endian;
    container_store_u64(out + AT_HASH, b->hash);
}

static int append_table(const block_list *list, const omen_sink *sink, omen_detail *why)
{
    uint8_t record[TABLE_ENTRY_BYTES];
    int status = sink->begin(sink->self, SECTION_TABLE, OMEN_ELEMENT_BYTES, false, why);

    for (uint64_t i = 0; i < list->n && status == OMEN_OK; i++) {
        store_block(&list->blocks[i], record);
        status = sink->append(sink->self, record, sizeof record, why);
    }
    return status == OMEN_OK ? sink->finish(sink->self, why) : status;
}

typedef struct {
    const block_list *list;
    const uint8_t *bytes;
    const omen_omz_options *options;
    const omen_sink *sink;
    uint64_t offset;
    omen_detail *why;
} packing;

static void *start_packing(void *context)
{
    const packing *p = context;
    return omz_coder_create(p->list->most_bytes, p->options->level, p->options->is_long);
}

static void stop_packing(void *worker)
{
    omz_coder_destroy(worker);
}

static int pack_block(void *context, void *worker, uint64_t i, uint8_t *slot)
{
    const packing *p = context;
    block *b = &p->list->blocks[i];

    b->hash = container_hash(p->bytes + b->raw_offset, b->raw);
    b->stored = (uint32_t)omz_block_encode(worker, &b->shape, p->bytes + b->raw_offset, b->raw, slot);
    return b->stored > 0 ? OMEN_OK : OMEN_ERR_MEMORY;
}

static int append_block(void *context, uint64_t i, int made, const uint8_t *slot)
{
    packing *p = context;
    const omen_omz_options *o = p->options;
    block *b = &p->list->blocks[i];

    if (made != OMEN_OK)
        return made;
    if (o->progress && o->progress(o->context, "compress", i, p->list->n) != 0)
        return omen_fail(p->why, OMEN_ERR_INTERRUPTED, "interrupted");
    b->offset = p->offset;
    p->offset += b->stored;
    return p->sink->append(p->sink->self, slot, b->stored, p->why);
}

static int append_blocks(packing *p)
{
    const omz_order order = {
        .context = p,
        .n_items = p->list->n,
        .slot_bytes = omz_block_bound(p->list->most_bytes),
        .n_threads = p->options->n_threads,
        .start = start_packing,
        .stop = stop_packing,
        .make = pack_block,
        .take = append_block,
    };
    const int status = omz_order_run(&order);
    return status == OMEN_ERR_MEMORY ? omen_fail(p->why, status, "out of memory for the buffers of blocks") : status;
}

/* A block is read twice, for its checksum and its codes: of a file that changes in between it could not be unpacked. */
static int check_unchanged(const omen_input *input, omen_detail *why)
{
    const struct stat *before = &input->status;
    struct stat now;

    if (fstat(input->fd, &now) != 0)
        return omen_fail(why, OMEN_ERR_IO, "cannot read %s: %s", input->label, strerror(errno));
    if (now.st_dev != before->st_dev || now.st_ino != before->st_ino) /* a copy of our own */
        return OMEN_OK;
    if (now.st_size != before->st_size || now.st_mtim.tv_sec != before->st_mtim.tv_sec ||
        now.st_mtim.tv_nsec != before->st_mtim.tv_nsec) {
        return omen_fail(why, OMEN_ERR_IO, "cannot read %s: it was changed meanwhile", input->label);
    }
    return OMEN_OK;
}

int omen_omz_compress(const omen_omz_input *in, const omen_omz_options *options, const omen_sink *sink,
                      omen_detail *why)
{
    const uint8_t *bytes = in->input.bytes;
    const uint64_t n_bytes = in->input.n_bytes;
    uint8_t head[HEAD_BYTES] = {0};
    block_list list = {0};
    const uint64_t block_bytes = options->is_long                   ? BLOCK_BYTES_LONG
                                 : options->level >= LEVEL_THOROUGH ? BLOCK_BYTES_THOROUGH
                                                                    : BLOCK_BYTES;
    int status = list_blocks(in, block_bytes, &list, why);

    if (status == OMEN_OK) {
        /* the identity ties sections together; the blocks have checksums of their contents */
        status = sink->start(sink->self, container_hash(bytes, n_bytes < BLOCK_BYTES ? n_bytes : BLOCK_BYTES) ^ n_bytes,
                             why);
    }
    if (status == OMEN_OK) {
        container_store_u64(head + HEAD_ORIGINAL, n_bytes);
        container_store_u64(head + HEAD_N_BLOCKS, list.n);
        container_store_u32(head + HEAD_KIND, omen_input_is_container(&in->input) ? KIND_INDEX : KIND_VECTORS);
        container_store_u32(head + HEAD_BLOCK, (uint32_t)list.most_bytes);
        status = sink->begin(sink->self, SECTION_HEAD, OMEN_ELEMENT_BYTES, false, why);
    }
    if (status == OMEN_OK)
        status = sink->append(sink->self, head, sizeof head, why);
    if (status == OMEN_OK)
        status = sink->finish(sink->self, why);
    if (status == OMEN_OK)
        status = sink->begin(sink->self, SECTION_DATA, OMEN_ELEMENT_BYTES, false, why);
    if (status == OMEN_OK) {
        packing p = {.list = &list, .bytes = bytes, .options = options, .sink = sink, .why = why};
        status = append_blocks(&p);
    }
    if (status == OMEN_OK)
        status = sink->finish(sink->self, why);
    if (status == OMEN_OK)
        status = append_table(&list, sink, why);
    if (status == OMEN_OK)
        status = check_unchanged(&in->input, why);
    free(list.blocks);
    return status;
}
