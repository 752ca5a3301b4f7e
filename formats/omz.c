/* Compressed files: a file cut into blocks of about 1 MiB, each with the type of its values, packed and unpacked in
 * parallel.
 *
 * Nothing in a block is trusted: lengths are compared with the table and the buffers before they are used, and the
 * result with its checksum. */
#include "formats/omz.h"
#include "formats/container_format.h"
#include "formats/file.h"
#include "formats/omz_block.h"
#include "formats/omz_order.h"
#include "formats/rows.h"
#include "formats/vectors_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SECTION_HEAD  OMEN_FOURCC('Z', 'H', 'E', 'D')
#define SECTION_DATA  OMEN_FOURCC('Z', 'D', 'A', 'T')
#define SECTION_TABLE OMEN_FOURCC('Z', 'T', 'A', 'B')

#define OMZ_SUFFIX ".omz"

/* Bytes of the original in a block, unless one record is longer. */
#define BLOCK_BYTES          (1u << 20)
#define BLOCK_BYTES_THOROUGH (4u << 20)
#define BLOCK_BYTES_LONG     OMZ_MAX_BLOCK_BYTES
#define LEVEL_THOROUGH       10

#define SQ8_HEAD_BYTES 8u

#define META_BYTES         128u         /* of an index's section META */
#define VECTORS_HEAD_BYTES (128u << 10) /* the header of a file of vectors is no longer */

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

/* Refuses to unpack n_bytes into a file on a disk that has not so many free. A file system that does not say is tried.
 */
static int check_room(int fd, uint64_t n_bytes, omen_detail *why)
{
    struct statvfs status;

    if (fstatvfs(fd, &status) != 0 || status.f_frsize == 0 || n_bytes / status.f_frsize < status.f_bavail) {
        return OMEN_OK;
    }
    return omen_fail(why, OMEN_ERR_IO, "unpacked it has %llu MiB, and TMPDIR has %llu MiB free",
                     (unsigned long long)(n_bytes >> 20) + 1,
                     (unsigned long long)((uint64_t)status.f_bavail * status.f_frsize >> 20));
}

static const omz_shape plain_bytes = {.value = OMEN_VALUE_U1, .record_bytes = 1};

/* ---- compressing a file ---- */

/* What a file is made of. */
struct omen_omz_input {
    omen_input input;
    char format[16];
    region *regions; /* they cover it */
    size_t n_regions;
};

/* Adds a region, and before it one without structure for what lies between. */
static int add_region(omen_omz_input *in, region r, omen_detail *why)
{
    region *grown = realloc(in->regions, (in->n_regions + 2) * sizeof *grown);
    uint64_t end = 0;

    if (grown == NULL) {
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the regions of %s", in->input.label);
    }
    in->regions = grown;
    if (in->n_regions > 0) {
        end = grown[in->n_regions - 1].offset + grown[in->n_regions - 1].n_bytes;
    }
    if (end < r.offset) {
        grown[in->n_regions++] = (region){.offset = end, .n_bytes = r.offset - end, .shape = plain_bytes};
    }
    if (r.n_bytes > 0) {
        grown[in->n_regions++] = r;
    }
    return OMEN_OK;
}

/* The last dimension of an idx file of images: the length of a line. */
static uint32_t line_width(const omen_vectors *vectors)
{
    const uint8_t *bytes = vectors->input.bytes;

    if (strcmp(vectors->kind->name, "idx") != 0 || bytes[3] < 3) {
        return 0;
    }
    bytes += 4 * (size_t)bytes[3];
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static int regions_of_vectors(omen_omz_input *in, const char *path, const char *format, uint32_t d, omen_detail *why)
{
    const omen_vectors_options options = {.format = format, .d = d};
    omen_vectors vectors = {.input = in->input}; /* a second look at the same mapping */
    const int rc = omen_vectors_recognize(&vectors, path, &options, why);

    if (rc != OMEN_OK) {
        return rc;
    }
    const omen_layout *layout = &vectors.layout;
    const uint32_t n_value = omen_value_bytes(layout->value), n_head = layout->row_headers ? 4 : 0;
    const omz_shape shape = {
        .value = layout->value,
        .big_endian = layout->big_endian,
        .head_bytes = n_head,
        /* columns of all rows are one long run of values */
        .record_bytes = layout->by_columns ? n_value : (uint32_t)layout->stride,
        .width = line_width(&vectors),
    };
    snprintf(in->format, sizeof in->format, "%s", omen_vectors_format(&vectors));
    return add_region(in,
                      (region){.offset = layout->offset - n_head,
                               .n_bytes = layout->n_rows * (n_head + (uint64_t)layout->d * n_value),
                               .shape = shape},
                      why);
}

/* What the bytes of an index's section are. A row of sq8 begins with two numbers of its own. */
static omz_shape shape_of_section(const omen_section *s, const omen_index_info *info)
{
    omz_shape shape = plain_bytes;
    uint64_t record_bytes = 0;

    if ((s->element == OMEN_ELEMENT_F32 || s->element == OMEN_ELEMENT_U32)) {
        shape.value = s->element == OMEN_ELEMENT_F32 ? OMEN_VALUE_F4 : OMEN_VALUE_I4;
        record_bytes = 4;
    } else if (s->id == OMEN_FOURCC('R', 'E', 'F', 'N')) {
        shape.value = info->refine == OMEN_REFINE_F32   ? OMEN_VALUE_F4
                      : info->refine == OMEN_REFINE_F16 ? OMEN_VALUE_F2
                                                        : OMEN_VALUE_U1;
        shape.head_bytes = info->refine == OMEN_REFINE_SQ8 ? SQ8_HEAD_BYTES : 0;
        record_bytes = shape.head_bytes + (uint64_t)info->d * omen_value_bytes(shape.value);
    }
    if (record_bytes == 0 || record_bytes > BLOCK_BYTES || s->n_bytes % record_bytes != 0) {
        return plain_bytes;
    }
    shape.record_bytes = (uint32_t)record_bytes;
    return shape;
}

static int regions_of_index(omen_omz_input *in, const char *path, omen_detail *why)
{
    omen_container *container = NULL;
    omen_index *index = NULL;
    omen_index_info info;
    size_t n;
    int rc = omen_container_open_fd(&container, in->input.fd, path, why);

    if (rc != OMEN_OK) {
        return rc;
    }
    if (omen_container_file_bytes(container) != in->input.n_bytes) { /* regions have to lie inside the mapping */
        omen_container_close(container);
        return omen_fail(why, OMEN_ERR_IO, "cannot read %s: its length changed meanwhile", in->input.label);
    }
    const omen_section *sections = omen_container_sections(container, &n);
    if (omen_omz_is(container) || omen_codes_are(sections, n)) {
        rc = omen_fail(why, OMEN_ERR_INPUT, "%s is compressed already", in->input.label);
    }
    if (rc == OMEN_OK) {
        rc = omen_index_open(&index, sections, n, why);
    }
    if (rc == OMEN_OK) {
        omen_index_get_info(index, &info);
    }
    snprintf(in->format, sizeof in->format, "index");
    for (size_t i = 0; i < n && rc == OMEN_OK; i++) {
        rc = add_region(in,
                        (region){.offset = omen_container_offset(container, i),
                                 .n_bytes = sections[i].n_bytes,
                                 .shape = shape_of_section(&sections[i], &info)},
                        why);
    }
    omen_index_close(index);
    omen_container_close(container);
    return rc;
}

int omen_omz_input_open(omen_omz_input **out, const char *path, const char *format, uint32_t d, omen_detail *why)
{
    int rc;

    *out = NULL;
    omen_omz_input *in = calloc(1, sizeof *in);
    if (in == NULL) {
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory to open \"%s\"", path);
    }
    rc = omen_input_open(&in->input, path, why);
    if (rc == OMEN_OK) {
        rc = omen_input_is_container(&in->input) ? regions_of_index(in, path, why)
                                                 : regions_of_vectors(in, path, format, d, why);
    }
    if (rc == OMEN_OK) { /* what follows the last */
        rc = add_region(in, (region){.offset = in->input.n_bytes, .shape = plain_bytes}, why);
    }
    if (rc != OMEN_OK) {
        omen_omz_input_close(in);
        return rc;
    }
    *out = in;
    return OMEN_OK;
}

void omen_omz_input_close(omen_omz_input *in)
{
    if (in != NULL) {
        omen_input_close(&in->input);
        free(in->regions);
        free(in);
    }
}

uint64_t omen_omz_input_bytes(const omen_omz_input *in)
{
    return in->input.n_bytes;
}

const struct stat *omen_omz_input_status(const omen_omz_input *in)
{
    return &in->input.status;
}

const char *omen_omz_input_format(const omen_omz_input *in)
{
    return in->format;
}

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
    if (list->blocks == NULL) {
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for a table of %llu blocks", (unsigned long long)n);
    }
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
    int rc = sink->begin(sink->self, SECTION_TABLE, OMEN_ELEMENT_BYTES, false, why);

    for (uint64_t i = 0; i < list->n && rc == OMEN_OK; i++) {
        store_block(&list->blocks[i], record);
        rc = sink->append(sink->self, record, sizeof record, why);
    }
    return rc == OMEN_OK ? sink->finish(sink->self, why) : rc;
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

static void stop_coder(void *worker)
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

    if (made != OMEN_OK) {
        return made;
    }
    if (o->progress != NULL && o->progress(o->context, "compress", i, p->list->n) != 0) {
        return omen_fail(p->why, OMEN_ERR_INTERRUPTED, "interrupted");
    }
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
        .stop = stop_coder,
        .make = pack_block,
        .take = append_block,
    };
    const int rc = omz_order_run(&order);
    return rc == OMEN_ERR_MEMORY ? omen_fail(p->why, rc, "out of memory for the buffers of blocks") : rc;
}

/* A block is read twice, for its checksum and its codes: of a file that changes in between it could not be unpacked. */
static int check_unchanged(const omen_input *input, omen_detail *why)
{
    const struct stat *before = &input->status;
    struct stat now;

    if (fstat(input->fd, &now) != 0) {
        return omen_fail(why, OMEN_ERR_IO, "cannot read %s: %s", input->label, strerror(errno));
    }
    if (now.st_dev != before->st_dev || now.st_ino != before->st_ino) { /* a copy of our own */
        return OMEN_OK;
    }
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
    int rc = list_blocks(in, block_bytes, &list, why);

    if (rc == OMEN_OK) {
        /* the identity ties sections together; the blocks have checksums of their contents */
        rc = sink->start(sink->self, container_hash(bytes, n_bytes < BLOCK_BYTES ? n_bytes : BLOCK_BYTES) ^ n_bytes,
                         why);
    }
    if (rc == OMEN_OK) {
        container_store_u64(head + HEAD_ORIGINAL, n_bytes);
        container_store_u64(head + HEAD_N_BLOCKS, list.n);
        container_store_u32(head + HEAD_KIND, omen_input_is_container(&in->input) ? KIND_INDEX : KIND_VECTORS);
        container_store_u32(head + HEAD_BLOCK, (uint32_t)list.most_bytes);
        rc = sink->begin(sink->self, SECTION_HEAD, OMEN_ELEMENT_BYTES, false, why);
    }
    if (rc == OMEN_OK) {
        rc = sink->append(sink->self, head, sizeof head, why);
    }
    if (rc == OMEN_OK) {
        rc = sink->finish(sink->self, why);
    }
    if (rc == OMEN_OK) {
        rc = sink->begin(sink->self, SECTION_DATA, OMEN_ELEMENT_BYTES, false, why);
    }
    if (rc == OMEN_OK) {
        packing p = {.list = &list, .bytes = bytes, .options = options, .sink = sink, .why = why};
        rc = append_blocks(&p);
    }
    if (rc == OMEN_OK) {
        rc = sink->finish(sink->self, why);
    }
    if (rc == OMEN_OK) {
        rc = append_table(&list, sink, why);
    }
    if (rc == OMEN_OK) {
        rc = check_unchanged(&in->input, why);
    }
    free(list.blocks);
    return rc;
}

/* ---- reading ---- */

struct omen_omz {
    const uint8_t *data;
    uint64_t n_data_bytes, original_bytes, n_blocks;
    uint32_t most_bytes; /* of the longest block in the original */
    bool is_index;
    block *blocks;
};

static const omen_section *find_section(const omen_container *container, uint32_t id)
{
    size_t n;
    const omen_section *sections = omen_container_sections(container, &n);

    for (size_t i = 0; i < n; i++) {
        if (sections[i].id == id) {
            return &sections[i];
        }
    }
    return NULL;
}

bool omen_omz_is(const omen_container *container)
{
    return find_section(container, SECTION_HEAD) != NULL;
}

static int fail_block(uint64_t i, const char *what, omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_CORRUPT, "block %llu is damaged: %s", (unsigned long long)i, what);
}

static bool shape_is_sound(const block *b, uint32_t most_bytes)
{
    const omz_shape *s = &b->shape;

    return b->raw > 0 && b->raw <= most_bytes && s->record_bytes > 0 && b->raw % s->record_bytes == 0 &&
           s->head_bytes <= SQ8_HEAD_BYTES && s->head_bytes < s->record_bytes && s->value <= OMEN_VALUE_F8 &&
           (s->record_bytes - s->head_bytes) % omen_value_bytes(s->value) == 0;
}

int omen_omz_open(omen_omz **out, const omen_container *container, omen_detail *why)
{
    const omen_section *head = find_section(container, SECTION_HEAD), *data = find_section(container, SECTION_DATA),
                       *table = find_section(container, SECTION_TABLE);
    uint64_t offset = 0, raw_offset = 0;

    *out = NULL;
    if (head == NULL) {
        return omen_fail(why, OMEN_ERR_INPUT, "it is an index, not a compressed file");
    }
    if (data == NULL || table == NULL || head->n_bytes != HEAD_BYTES) {
        return omen_fail(why, OMEN_ERR_CORRUPT, "sections of a compressed file are missing or of a wrong length");
    }
    if (omen_section_check(head, why) != OMEN_OK || omen_section_check(table, why) != OMEN_OK) {
        return OMEN_ERR_CORRUPT;
    }
    omen_omz *omz = calloc(1, sizeof *omz);
    const uint64_t n_blocks = container_load_u64((const uint8_t *)head->data + HEAD_N_BLOCKS);
    const uint32_t kind = container_load_u32((const uint8_t *)head->data + HEAD_KIND);
    const uint32_t block_bytes = container_load_u32((const uint8_t *)head->data + HEAD_BLOCK);
    if (omz == NULL || n_blocks != table->n_bytes / TABLE_ENTRY_BYTES || table->n_bytes % TABLE_ENTRY_BYTES != 0 ||
        kind > KIND_INDEX || block_bytes > OMZ_MAX_BLOCK_BYTES ||
        !container_is_zero((const uint8_t *)head->data + HEAD_ZERO, HEAD_BYTES - HEAD_ZERO)) {
        free(omz);
        return omz == NULL ? omen_fail(why, OMEN_ERR_MEMORY, "out of memory")
                           : omen_fail(why, OMEN_ERR_CORRUPT, "its head and its table of blocks disagree");
    }
    *omz = (omen_omz){.data = data->data,
                      .n_data_bytes = data->n_bytes,
                      .original_bytes = container_load_u64((const uint8_t *)head->data + HEAD_ORIGINAL),
                      .n_blocks = n_blocks,
                      .is_index = kind == KIND_INDEX,
                      .blocks = calloc(n_blocks + 1, sizeof *omz->blocks)};
    int rc = omz->blocks == NULL ? omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the table of blocks") : OMEN_OK;
    for (uint64_t i = 0; i < n_blocks && rc == OMEN_OK; i++) {
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
            rc = fail_block(i, "its entry contradicts the file", why);
        }
        omz->most_bytes = b->raw > omz->most_bytes ? b->raw : omz->most_bytes;
        offset += b->stored;
        raw_offset += b->raw;
    }
    if (rc == OMEN_OK && (offset != omz->n_data_bytes || raw_offset != omz->original_bytes)) {
        rc = omen_fail(why, OMEN_ERR_CORRUPT, "the blocks hold %llu bytes of the original, and %llu are stated",
                       (unsigned long long)raw_offset, (unsigned long long)omz->original_bytes);
    }
    if (rc != OMEN_OK) {
        omen_omz_close(omz);
        return rc;
    }
    *out = omz;
    return OMEN_OK;
}

void omen_omz_close(omen_omz *omz)
{
    if (omz != NULL) {
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

/* False when the block contradicts itself or its checksum. */
static bool unpack_bytes(const omen_omz *omz, omz_coder *coder, uint64_t i, uint8_t *out)
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

    if (!unpack_bytes(r->omz, worker, i, slot)) {
        return OMEN_ERR_CORRUPT;
    }
    if (r->fd < 0 || r->is_ordered || omen_pwrite_all(r->fd, slot, b->raw, b->raw_offset) == 0) {
        return OMEN_OK;
    }
    return errno;
}

static int take_block(void *context, uint64_t i, int made, const uint8_t *slot)
{
    reading *r = context;
    const block *b = &r->omz->blocks[i];

    if (made == OMEN_ERR_CORRUPT && r->damage != NULL) {
        r->damaged = true;
        r->damage(r->damage_context, "ZDAT", b->offset, b->stored, "a block does not unpack");
        return OMEN_OK;
    }
    if (made == OMEN_ERR_CORRUPT) {
        return fail_block(i, "its checksum does not match", r->why);
    }
    if (made == OMEN_OK && r->fd >= 0 && r->is_ordered && omen_write_all(r->fd, slot, b->raw) != 0) {
        made = errno;
    }
    if (made != OMEN_OK) {
        return omen_fail(r->why, OMEN_ERR_IO, "cannot write: %s", strerror(made));
    }
    if (r->progress != NULL && r->progress(r->context, "unpack", i, r->omz->n_blocks) != 0) {
        return omen_fail(r->why, OMEN_ERR_INTERRUPTED, "interrupted");
    }
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
        .stop = stop_coder,
        .make = unpack_block,
        .take = take_block,
    };
    const int rc = omz_order_run(&order);
    if (rc == OMEN_ERR_MEMORY) {
        return omen_fail(r->why, rc, "out of memory for the buffers of blocks");
    }
    return rc == OMEN_OK && r->damaged ? OMEN_ERR_CORRUPT : rc;
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

/* ---- a part of a file, ahead of the rest ---- */

/* The original, of which parts are put into a file as long as all of it. */
typedef struct {
    const omen_omz *omz;
    int fd;
    omz_coder *coder;
    uint8_t *bytes; /* of one block */
    uint64_t i;     /* its number; n_blocks: none yet */
    omen_detail *why;
} peeking;

static int start_peeking(peeking *p, const omen_omz *omz, int fd, omen_detail *why)
{
    *p = (peeking){.omz = omz, .fd = fd, .i = omz->n_blocks, .why = why};
    p->coder = omz_coder_create(omz->most_bytes, 0, false);
    p->bytes = malloc((size_t)omz->most_bytes + 1);
    if (p->coder == NULL || p->bytes == NULL) {
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the buffers of blocks");
    }
    if (ftruncate(fd, (off_t)omz->original_bytes) != 0) {
        return omen_fail(why, OMEN_ERR_IO, "cannot make room to unpack %llu bytes: %s",
                         (unsigned long long)omz->original_bytes, strerror(errno));
    }
    return OMEN_OK;
}

static void stop_peeking(peeking *p)
{
    omz_coder_destroy(p->coder);
    free(p->bytes);
}

/* Puts n_bytes from offset on, as far as the original has them, in their place. */
static int peek(peeking *p, uint64_t offset, uint64_t n_bytes)
{
    const omen_omz *omz = p->omz;
    const uint64_t end =
        offset < omz->original_bytes && n_bytes < omz->original_bytes - offset ? offset + n_bytes : omz->original_bytes;

    while (offset < end) {
        uint64_t i = 0, above = omz->n_blocks; /* the block of offset: they are in order and leave no gap */
        while (above - i > 1) {
            const uint64_t middle = i + (above - i) / 2;
            if (omz->blocks[middle].raw_offset <= offset) {
                i = middle;
            } else {
                above = middle;
            }
        }
        const block *b = &omz->blocks[i];
        if (i != p->i) {
            p->i = omz->n_blocks;
            if (!unpack_bytes(omz, p->coder, i, p->bytes)) {
                return fail_block(i, "its checksum does not match", p->why);
            }
            p->i = i;
        }
        const uint64_t at = offset - b->raw_offset, left = b->raw - at, n = end - offset < left ? end - offset : left;
        if (omen_pwrite_all(p->fd, p->bytes + at, n, offset) != 0) {
            return omen_fail(p->why, OMEN_ERR_IO, "cannot write: %s", strerror(errno));
        }
        offset += n;
    }
    return OMEN_OK;
}

/* All that opening a container reads, and META. Lengths are not believed: what they lead to beyond the file is left
 * out, for the opening to miss. */
static int peek_container(peeking *p)
{
    const uint64_t n_bytes = p->omz->original_bytes;
    uint8_t record[CONTAINER_RECORD_BYTES] = {0};
    container_entry entry;
    int rc = peek(p, 0, CONTAINER_PAGE_BYTES);

    if (rc != OMEN_OK || n_bytes < CONTAINER_MIN_BYTES) {
        return rc;
    }
    rc = peek(p, n_bytes - CONTAINER_RECORD_BYTES, CONTAINER_RECORD_BYTES);
    if (rc == OMEN_OK && pread(p->fd, record, sizeof record, (off_t)(n_bytes - sizeof record)) != sizeof record) {
        return omen_fail(p->why, OMEN_ERR_IO, "cannot read back what was unpacked: %s", strerror(errno));
    }
    const uint64_t table = container_load_u64(record + TRAILER_TABLE_OFFSET);
    const uint64_t table_bytes = container_load_u64(record + TRAILER_TABLE_BYTES);
    if (table > n_bytes || table_bytes > (uint64_t)CONTAINER_MAX_SECTIONS * CONTAINER_RECORD_BYTES ||
        table_bytes > n_bytes - table) {
        return rc;
    }
    if (rc == OMEN_OK) {
        rc = peek(p, table, table_bytes);
    }
    for (uint64_t at = 0; at < table_bytes && rc == OMEN_OK; at += CONTAINER_RECORD_BYTES) {
        if (pread(p->fd, record, sizeof record, (off_t)(table + at)) != sizeof record) {
            return omen_fail(p->why, OMEN_ERR_IO, "cannot read back what was unpacked: %s", strerror(errno));
        }
        container_decode_entry(&entry, record);
        if (entry.id == OMEN_FOURCC('M', 'E', 'T', 'A') && entry.offset < n_bytes) {
            rc = peek(p, entry.offset, CONTAINER_PAGE_BYTES); /* with its checksum */
        }
    }
    return rc;
}

/* The message of a container that is packed in another, whose name it does not know: "it is damaged: ..." */
static int fail_inner(int code, const omen_detail *inner, omen_detail *why)
{
    const char *rest = inner->text[0] == '"' ? strstr(inner->text + 1, "\" ") : NULL;

    /* that it is an index is what its head says: one that is none contradicts it */
    return omen_fail(why, code == OMEN_ERR_INPUT ? OMEN_ERR_CORRUPT : code, "what is packed in it %.400s",
                     rest != NULL ? rest + 2 : inner->text);
}

/* Opens the index in a file of which only its structure has been unpacked, and checks that. */
static int open_structure(omen_container **inner, int fd, omen_detail *why)
{
    omen_detail reason = {""};
    size_t n;

    int rc = omen_container_open_fd(inner, fd, "the index inside", &reason);
    if (rc != OMEN_OK) {
        return fail_inner(rc, &reason, why);
    }
    const omen_section *sections = omen_container_sections(*inner, &n);
    return omen_index_check_lengths(sections, n, why);
}

int omen_omz_unpack_container(omen_container **container, const char *path, uint64_t memory_bytes, omen_detail *why)
{
    omen_omz *omz = NULL;
    omen_container *inner = NULL;
    omen_detail reason = {""};
    peeking p = {.omz = NULL};
    int rc, fd;

    if (!omen_omz_is(*container)) {
        return OMEN_OK;
    }
    rc = omen_omz_open(&omz, *container, &reason);
    if (rc == OMEN_OK && !omz->is_index) {
        rc = omen_fail(&reason, OMEN_ERR_INPUT, "it is a compressed file of vectors, not an index");
    }
    fd = rc == OMEN_OK ? memfd_create("omendb", MFD_CLOEXEC) : -1;
    if (rc == OMEN_OK && fd < 0) {
        rc = omen_fail(&reason, OMEN_ERR_MEMORY, "no memory to unpack into: %s", strerror(errno));
    }
    if (rc == OMEN_OK) {
        rc = start_peeking(&p, omz, fd, &reason);
    }
    if (rc == OMEN_OK) {
        rc = peek_container(&p);
    }
    stop_peeking(&p);
    if (rc == OMEN_OK) {
        rc = open_structure(&inner, fd, &reason);
    }
    if (rc == OMEN_OK && omz->original_bytes > memory_bytes) {
        rc = omen_fail(&reason, OMEN_ERR_MEMORY,
                       "unpacked it takes %llu MiB of memory, and %llu MiB are to be had; unpack it to a file with "
                       "omendb compress -d",
                       (unsigned long long)(omz->original_bytes >> 20), (unsigned long long)(memory_bytes >> 20));
    }
    if (rc == OMEN_OK) {
        rc = omen_omz_unpack_to(omz, fd, true, 0, NULL, NULL, &reason);
    }
    omen_omz_close(omz);
    if (fd >= 0) {
        close(fd);
    }
    if (rc != OMEN_OK) {
        omen_container_close(inner);
        return omen_fail(why, rc, "\"%s\": %s", path, reason.text);
    }
    omen_container_close(*container);
    *container = inner;
    return OMEN_OK;
}

/* The ends of a file of vectors, for check, and then the rest. */
static int unpack_vectors(const omen_omz *omz, int fd, omen_head_fn check, void *context, omen_detail *why)
{
    peeking p;
    const block *last = &omz->blocks[omz->n_blocks > 0 ? omz->n_blocks - 1 : 0];
    int rc = check_room(fd, omz->original_bytes, why);

    if (rc != OMEN_OK) {
        return rc;
    }
    rc = start_peeking(&p, omz, fd, why);
    if (rc == OMEN_OK) {
        rc = peek(&p, 0, VECTORS_HEAD_BYTES);
    }
    if (rc == OMEN_OK && omz->n_blocks > 0) {
        rc = peek(&p, last->raw_offset, last->raw);
    }
    stop_peeking(&p);
    if (rc == OMEN_OK && omz->original_bytes > 0) {
        rc = check(context, fd, why);
    }
    return rc == OMEN_OK ? omen_omz_unpack_to(omz, fd, true, 0, NULL, NULL, why) : rc;
}

/* Codes as the rows they stand for. */
static int reconstruct(const omen_container *container, int fd, omen_detail *why)
{
    omen_codes *codes = NULL;
    size_t n;
    const omen_section *sections = omen_container_sections(container, &n);
    int rc = omen_codes_open(&codes, sections, n, why);
    if (rc == OMEN_OK) {
        rc = check_room(fd, omen_codes_source(codes).n_bytes, why);
    }
    const int copy = rc == OMEN_OK ? dup(fd) : -1;
    FILE *stream = copy >= 0 ? fdopen(copy, "w") : NULL;

    if (rc == OMEN_OK && stream == NULL) {
        rc = omen_fail(why, OMEN_ERR_IO, "cannot write a temporary copy: %s", strerror(errno));
        if (copy >= 0) {
            close(copy);
        }
    }
    if (rc == OMEN_OK) {
        const omen_source source = omen_codes_source(codes);
        rc = omen_rows_write(stream, "fbin", &source, NULL, NULL, why);
    }
    if (stream != NULL && fclose(stream) != 0 && rc == OMEN_OK) {
        rc = omen_fail(why, OMEN_ERR_IO, "cannot write a temporary copy: %s", strerror(errno));
    }
    omen_codes_close(codes);
    return rc;
}

int omen_omz_unpack_input(const omen_input *input, const char *path, omen_head_fn check, void *context, int *fd,
                          bool *is_fbin, omen_detail *why)
{
    omen_container *container = NULL;
    omen_omz *omz = NULL;
    omen_detail reason = {""};
    size_t n = 0;
    const omen_section *sections = NULL;
    const size_t length = strlen(path), n_suffix = strlen(OMZ_SUFFIX);
    const bool is_named_so = length > n_suffix && strcmp(path + length - n_suffix, OMZ_SUFFIX) == 0;
    int rc = omen_container_open_fd(&container, input->fd, path, why);

    *fd = -1;
    *is_fbin = false;
    if (rc == OMEN_OK) {
        sections = omen_container_sections(container, &n);
        *is_fbin = omen_codes_are(sections, n);
    }
    if (rc != OMEN_OK || (!omen_omz_is(container) && !*is_fbin)) {
        omen_container_close(container);
        return is_named_so ? rc : OMEN_OK; /* damage is told of what should be compressed vectors only */
    }
    if (!*is_fbin) {
        rc = omen_omz_open(&omz, container, &reason);
    }
    if (rc == OMEN_OK && omz != NULL && omz->is_index) { /* told by the caller as what it is */
        omen_omz_close(omz);
        omen_container_close(container);
        return OMEN_OK;
    }
    if (rc == OMEN_OK) {
        rc = omen_spool_open(input->label, fd, &reason);
    }
    if (rc == OMEN_OK) {
        rc = *is_fbin ? reconstruct(container, *fd, &reason) : unpack_vectors(omz, *fd, check, context, &reason);
    }
    omen_omz_close(omz);
    omen_container_close(container);
    /* what check says names the input already */
    return rc == OMEN_OK || strstr(reason.text, input->label) == reason.text
               ? (rc == OMEN_OK ? OMEN_OK : omen_fail(why, rc, "%s", reason.text))
               : omen_fail(why, rc, "%s: %s", input->label, reason.text);
}
