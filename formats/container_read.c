/* SPDX-License-Identifier: Apache-2.0 */
/* Reads an .omen container: maps it and checks its structure, then its bytes, block by block as needed or all at once.
 *
 * Invariants:
 * - The file is hostile until proven otherwise: each offset, length and count is compared with what the layout rules
 *   and the file's real size give before it is used.
 * - open() reads header, table and trailer only, so its time does not depend on the file's size.
 * - A block is checked against its checksum, the block of checksums that holds it against its own, and so on up to the
 *   table, which open() has checked. Blocks of checksums are checked once; the reader of a section must remember which
 *   blocks of the payload have been checked.
 * - check() reads with pread, not through the mapping: a bad disk sector is then a finding, not a SIGBUS. It allocates
 *   nothing; faults are reported from the calling thread, in file order.
 * - The file must not change while it is open. One that is cut short raises SIGBUS in the reader, and in_use.h gives
 *   the handler its name; files that are replaced by rename, as the writer does, are safe.
 */
#include "formats/container.h"
#include "formats/container_format.h"
#include "formats/file.h"
#include "formats/in_use.h"
#include "formats/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The checksums of one section. */
typedef struct section_tree {
    const uint8_t *base; /* the mapped file */
    container_entry entry;
    container_layout layout;
    uint64_t first_bit[CONTAINER_MAX_LEVELS]; /* of a level's blocks in proven */
    uint64_t *proven;                         /* a bit for each block of checksums that has been checked */
} section_tree;

struct omen_container {
    int fd;
    const uint8_t *base; /* the mapped file */
    uint64_t n_bytes;
    uint64_t identity;
    uint64_t table_offset, table_hash;
    uint32_t n_sections;
    section_tree *trees;
    omen_section *sections;
    uint64_t *proven; /* the bits of all trees */
};

/* ---- opening ---- */

static int fail_damaged(omen_detail *why, const char *path, const char *what)
{
    return omen_fail(why, OMEN_ERR_CORRUPT, "\"%s\" is damaged: %s", path, what);
}

static int fail_section(omen_detail *why, const char *path, uint32_t id, const char *what)
{
    char name[5];
    container_id_name(name, id);
    return omen_fail(why, OMEN_ERR_CORRUPT, "\"%s\" is damaged: section \"%s\": %s", path, name, what);
}

/* Names the kind of what cannot be mapped. A directory is an error like other files that cannot be opened. */
static int fail_kind(omen_detail *why, const char *path, mode_t mode)
{
    if (S_ISDIR(mode))
        return omen_fail(why, OMEN_ERR_IO, "\"%s\" is a directory, not an index", path);
    return omen_fail(why, OMEN_ERR_ARGUMENT, "\"%s\" is %s; an index is read by mapping it: save it to a file first",
                     path,
                     S_ISFIFO(mode)   ? "a pipe"
                     : S_ISSOCK(mode) ? "a socket"
                     : S_ISCHR(mode)  ? "a character device"
                                      : "a block device");
}

/* Maps the open file. */
static int map_file(omen_container *container, const char *path, omen_detail *why)
{
    char label[OMEN_LABEL_BYTES];
    struct stat status;

    if (container->fd < 0 || fstat(container->fd, &status) != 0)
        return omen_fail(why, OMEN_ERR_IO, "cannot open \"%s\": %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return fail_kind(why, path, status.st_mode);
    if (status.st_size == 0)
        return omen_fail(why, OMEN_ERR_CORRUPT, "\"%s\" is empty", path);
    if ((uint64_t)status.st_size > SIZE_MAX)
        return omen_fail(why, OMEN_ERR_MEMORY, "\"%s\" is too large for this machine's address space", path);
    omen_label_set(label, path);
    void *base = omen_file_map(container->fd, 0, (size_t)status.st_size, label);
    if (base == MAP_FAILED) {
        const int code = errno == ENOMEM ? OMEN_ERR_MEMORY : OMEN_ERR_IO;
        return omen_fail(why, code, "cannot map \"%s\": %s", path, strerror(errno));
    }
    container->base = base;
    container->n_bytes = (uint64_t)status.st_size;
    return OMEN_OK;
}

/* Tells an index from another file, and a damaged one from a newer one. */
static int check_header(omen_container *container, const char *path, omen_detail *why)
{
    const uint8_t *header = container->base;
    const uint64_t n_bytes = container->n_bytes;

    if (n_bytes < CONTAINER_RECORD_BYTES) {
        const size_t n = n_bytes < CONTAINER_MAGIC_BYTES ? (size_t)n_bytes : CONTAINER_MAGIC_BYTES;
        if (memcmp(header, CONTAINER_HEADER_MAGIC, n) != 0)
            return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is not an omendb index", path);
        return omen_fail(why, OMEN_ERR_CORRUPT, "\"%s\" is cut short: %llu bytes", path, (unsigned long long)n_bytes);
    }
    if (memcmp(header, CONTAINER_HEADER_MAGIC, CONTAINER_MAGIC_BYTES) != 0) {
        const uint8_t *trailer = header + n_bytes - CONTAINER_RECORD_BYTES;
        if (memcmp(trailer, CONTAINER_TRAILER_MAGIC, CONTAINER_MAGIC_BYTES) == 0)
            return fail_damaged(why, path, "it ends like an index and does not begin like one");
        return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is not an omendb index", path);
    }
    if (!container_is_sealed(header))
        return fail_damaged(why, path, "checksum of the file header does not match");
    const uint32_t major = container_load_u16(header + HEADER_MAJOR);
    if (major != CONTAINER_MAJOR) {
        return omen_fail(why, OMEN_ERR_UNSUPPORTED,
                         "\"%s\" was written by format version %u; this program reads version %u", path, major,
                         CONTAINER_MAJOR);
    }
    const uint32_t flags = container_load_u32(header + HEADER_FLAGS);
    if ((flags & CONTAINER_FLAGS_MANDATORY) != 0) {
        return omen_fail(why, OMEN_ERR_UNSUPPORTED, "\"%s\" uses features this program does not know (file flags 0x%x)",
                         path, flags);
    }
    if (!container_is_zero(header + HEADER_RESERVED, RECORD_HASH - HEADER_RESERVED))
        return fail_damaged(why, path, "reserved bytes of the file header are not zero");
    container->identity = container_load_u64(header + HEADER_IDENTITY);
    return OMEN_OK;
}

/* Checks the trailer and the table as a whole; entries come after. */
static int check_trailer(omen_container *container, const char *path, omen_detail *why)
{
    const uint64_t n_bytes = container->n_bytes;

    if (n_bytes < CONTAINER_MIN_BYTES)
        return omen_fail(why, OMEN_ERR_CORRUPT, "\"%s\" is cut short: %llu bytes", path, (unsigned long long)n_bytes);
    const uint64_t trailer_offset = n_bytes - CONTAINER_RECORD_BYTES;
    const uint8_t *trailer = container->base + trailer_offset;
    if (memcmp(trailer, CONTAINER_TRAILER_MAGIC, CONTAINER_MAGIC_BYTES) != 0)
        return fail_damaged(why, path, "it is cut short, or its end is overwritten: no trailer in the last 64 bytes");
    if (!container_is_sealed(trailer))
        return fail_damaged(why, path, "checksum of the trailer does not match");
    const uint64_t stated = container_load_u64(trailer + TRAILER_FILE_BYTES);
    if (stated != n_bytes) {
        return omen_fail(why, OMEN_ERR_CORRUPT, "\"%s\" is damaged: it is %llu bytes long and its trailer says %llu",
                         path, (unsigned long long)n_bytes, (unsigned long long)stated);
    }
    if (container_load_u64(trailer + TRAILER_IDENTITY) != container->identity)
        return fail_damaged(why, path, "header and trailer are of different files");
    if (!container_is_zero(trailer + TRAILER_RESERVED, RECORD_HASH - TRAILER_RESERVED))
        return fail_damaged(why, path, "reserved bytes of the trailer are not zero");
    const uint64_t table_offset = container_load_u64(trailer + TRAILER_TABLE_OFFSET);
    const uint64_t n_table_bytes = container_load_u64(trailer + TRAILER_TABLE_BYTES);
    if (n_table_bytes % CONTAINER_RECORD_BYTES != 0 ||
        n_table_bytes > (uint64_t)CONTAINER_MAX_SECTIONS * CONTAINER_RECORD_BYTES ||
        n_table_bytes > trailer_offset - CONTAINER_PAGE_BYTES || table_offset != trailer_offset - n_table_bytes ||
        table_offset % CONTAINER_PAGE_BYTES != 0) {
        return fail_damaged(why, path, "the section table is not where it has to be");
    }
    const uint64_t table_hash = container_load_u64(trailer + TRAILER_TABLE_HASH);
    if (container_hash(container->base + table_offset, n_table_bytes) != table_hash)
        return fail_damaged(why, path, "checksum of the section table does not match");
    container->table_offset = table_offset;
    container->table_hash = table_hash;
    container->n_sections = (uint32_t)(n_table_bytes / CONTAINER_RECORD_BYTES);
    return OMEN_OK;
}

/* ---- checking blocks through the mapping ---- */

/* Where block b of a level of checksums is, and how long. */
static uint64_t checksums_block(const container_layout *layout, uint32_t level, uint64_t b, size_t *n_bytes)
{
    const uint64_t left = 8 * layout->n_level[level] - b * CONTAINER_BLOCK_BYTES;

    *n_bytes = left < CONTAINER_BLOCK_BYTES ? (size_t)left : CONTAINER_BLOCK_BYTES;
    return layout->level[level] + b * CONTAINER_BLOCK_BYTES;
}

static int fail_block(const section_tree *tree, uint64_t offset, uint64_t n_bytes, const char *what, omen_detail *why)
{
    char name[5];

    container_id_name(name, tree->entry.id);
    return omen_fail(why, OMEN_ERR_CORRUPT, "section %s, bytes %llu-%llu: %s", name, (unsigned long long)offset,
                     (unsigned long long)(offset + n_bytes), what);
}

/* Checks block b of a level of checksums, and what it is checked against, unless that was done before. */
static int prove_checksums(const section_tree *tree, uint32_t level, uint64_t b, omen_detail *why)
{
    const uint64_t bit = tree->first_bit[level] + b;
    uint64_t *word = tree->proven + bit / 64, expected = tree->entry.checksums_hash;
    size_t n_bytes;

    if (__atomic_load_n(word, __ATOMIC_RELAXED) >> bit % 64 & 1)
        return OMEN_OK;
    if (level + 1 < tree->layout.n_levels) {
        const int status = prove_checksums(tree, level + 1, b / CONTAINER_FANOUT, why);
        if (status != OMEN_OK)
            return status;
        expected = container_load_u64(tree->base + tree->layout.level[level + 1] + 8 * b);
    }
    const uint64_t offset = checksums_block(&tree->layout, level, b, &n_bytes);
    if (container_hash(tree->base + offset, n_bytes) != expected)
        return fail_block(tree, offset, n_bytes, "the checksums of blocks are damaged", why);
    __atomic_fetch_or(word, (uint64_t)1 << bit % 64, __ATOMIC_RELAXED);
    return OMEN_OK;
}

static int check_section_blocks(const omen_section *section, uint64_t first, uint64_t n, omen_detail *why)
{
    const section_tree *tree = section->checker;

    for (uint64_t b = first; b < first + n; b++) {
        const uint64_t at = b * CONTAINER_BLOCK_BYTES, left = tree->entry.n_bytes - at;
        const size_t n_bytes = left < CONTAINER_BLOCK_BYTES ? (size_t)left : CONTAINER_BLOCK_BYTES;
        const int status = prove_checksums(tree, 0, b / CONTAINER_FANOUT, why);
        if (status != OMEN_OK)
            return status;
        if (container_hash((const uint8_t *)section->data + at, n_bytes) !=
            container_load_u64(tree->base + tree->layout.level[0] + 8 * b)) {
            return fail_block(tree, tree->entry.offset + at, n_bytes, "its checksum does not match", why);
        }
    }
    return OMEN_OK;
}

/* ---- the table ---- */

/* Checks entry i, which has to begin at *end, and moves *end behind it. */
static int check_entry(omen_container *container, uint32_t i, uint64_t *end, const char *path, omen_detail *why)
{
    const uint8_t *record = container->base + container->table_offset + (uint64_t)i * CONTAINER_RECORD_BYTES;
    container_entry *entry = &container->trees[i].entry;
    container_layout *layout = &container->trees[i].layout;

    container_decode_entry(entry, record);
    if (!container_id_is_valid(entry->id)) {
        return omen_fail(why, OMEN_ERR_CORRUPT, "\"%s\" is damaged: 0x%08x cannot be the id of a section", path,
                         entry->id);
    }
    for (uint32_t j = 0; j < i; j++)
        if (container->trees[j].entry.id == entry->id)
            return fail_section(why, path, entry->id, "it is there twice");
    const uint32_t unknown = entry->flags & CONTAINER_FLAGS_MANDATORY & ~CONTAINER_FLAG_OPTIONAL;
    if (unknown != 0) {
        char name[5];
        container_id_name(name, entry->id);
        return omen_fail(why, OMEN_ERR_UNSUPPORTED,
                         "\"%s\" uses features this program does not know (section \"%s\", flags 0x%x)", path, name,
                         entry->flags);
    }
    if (!container_is_zero(record + ENTRY_RESERVED_A, ENTRY_OFFSET - ENTRY_RESERVED_A) ||
        !container_is_zero(record + ENTRY_RESERVED_B, CONTAINER_RECORD_BYTES - ENTRY_RESERVED_B)) {
        return fail_section(why, path, entry->id, "reserved bytes of its table entry are not zero");
    }
    if (entry->offset != *end || entry->n_stored_bytes != entry->n_bytes ||
        !container_lay_out(layout, entry->offset, entry->n_bytes) || layout->end > container->table_offset ||
        entry->n_checksums != layout->n_checksums ||
        (entry->n_bytes == 0 && entry->checksums_hash != container_hash("", 0))) {
        return fail_section(why, path, entry->id, "its offset or length contradicts the rest of the file");
    }
    *end = layout->end;
    container->trees[i].base = container->base;
    container->sections[i] = (omen_section){
        .id = entry->id,
        .element = entry->element,
        .optional = (entry->flags & CONTAINER_FLAG_OPTIONAL) != 0,
        .data = container->base + entry->offset,
        .n_bytes = entry->n_bytes,
        .is_file_mapping = true,
        .check = check_section_blocks,
        .checker = &container->trees[i],
    };
    return OMEN_OK;
}

/* Gives each tree its bits: a few for each GiB of the file. */
static int allot_bits(omen_container *container, const char *path, omen_detail *why)
{
    uint64_t n_bits = 0;

    for (uint32_t i = 0; i < container->n_sections; i++) {
        section_tree *tree = &container->trees[i];
        for (uint32_t level = 0; level < tree->layout.n_levels; level++) {
            tree->first_bit[level] = n_bits;
            n_bits += container_blocks(8 * tree->layout.n_level[level]);
        }
    }
    container->proven = calloc(n_bits / 64 + 1, sizeof *container->proven);
    for (uint32_t i = 0; i < container->n_sections; i++)
        container->trees[i].proven = container->proven;
    return container->proven ? OMEN_OK : omen_fail(why, OMEN_ERR_MEMORY, "out of memory while opening \"%s\"", path);
}

static int check_table(omen_container *container, const char *path, omen_detail *why)
{
    const size_t n = container->n_sections > 0 ? container->n_sections : 1;
    uint64_t end = CONTAINER_PAGE_BYTES;

    container->trees = calloc(n, sizeof *container->trees);
    container->sections = calloc(n, sizeof *container->sections);
    if (!container->trees || !container->sections)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory while opening \"%s\"", path);
    for (uint32_t i = 0; i < container->n_sections; i++) {
        const int status = check_entry(container, i, &end, path, why);
        if (status != OMEN_OK)
            return status;
    }
    if (end != container->table_offset)
        return fail_damaged(why, path, "there is a gap between the last section and the section table");
    return allot_bits(container, path, why);
}

int omen_container_open(omen_container **out, const char *path, omen_detail *why)
{
    struct stat info;

    *out = NULL;
    if (strcmp(path, "-") == 0) {
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "an index cannot be standard input, since it is read by mapping it: save it to a file first "
                         "(a file of that name is \"./-\")");
    }
    /* O_NONBLOCK: a FIFO must be refused, not waited for; O_NOCTTY: nor a terminal taken */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno == ENXIO && stat(path, &info) == 0) /* sockets, and devices that are not there */
        return fail_kind(why, path, info.st_mode);
    if (fd < 0)
        return omen_fail(why, OMEN_ERR_IO, "cannot open \"%s\": %s", path, strerror(errno));
    const int status = omen_container_open_fd(out, fd, path, why);
    close(fd);
    return status;
}

int omen_container_open_fd(omen_container **out, int fd, const char *path, omen_detail *why)
{
    int status;

    *out = NULL;
    omen_container *container = calloc(1, sizeof *container);
    if (!container)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory while opening \"%s\"", path);
    container->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if ((status = map_file(container, path, why)) != OMEN_OK ||
        (status = check_header(container, path, why)) != OMEN_OK ||
        (status = check_trailer(container, path, why)) != OMEN_OK ||
        (status = check_table(container, path, why)) != OMEN_OK) {
        omen_container_close(container);
        return status;
    }
    *out = container;
    return OMEN_OK;
}

void omen_container_close(omen_container *container)
{
    if (!container)
        return;
    omen_mapping_close(container->base, (size_t)container->n_bytes);
    if (container->fd >= 0)
        close(container->fd);
    free(container->trees);
    free(container->sections);
    free(container->proven);
    free(container);
}

const omen_section *omen_container_sections(const omen_container *container, size_t *n_sections)
{
    *n_sections = container->n_sections;
    return container->sections;
}

void omen_container_trust(omen_container *container)
{
    for (uint32_t i = 0; i < container->n_sections; i++)
        container->sections[i].check = NULL;
}

uint64_t omen_container_offset(const omen_container *container, size_t i)
{
    return (uint64_t)((const uint8_t *)container->sections[i].data - container->base);
}

uint64_t omen_container_identity(const omen_container *container)
{
    return container->identity;
}

void omen_container_version(const omen_container *container, uint32_t *major, uint32_t *minor)
{
    *major = container_load_u16(container->base + HEADER_MAJOR);
    *minor = container_load_u16(container->base + HEADER_MINOR);
}

uint64_t omen_container_checksum(const omen_container *container)
{
    return container->table_hash;
}

uint64_t omen_container_file_bytes(const omen_container *container)
{
    return container->n_bytes;
}

/* ---- the full check ---- */

#define READ_BLOCKS 2u    /* read at once: they are on the stack */
#define UNIT_BLOCKS 256u  /* checked by one thread at a time */
#define ROUND_UNITS 1024u /* units whose verdicts are kept at once: 1 GiB of payload */

/* What became of a read or a comparison: one of these, or a positive errno. */
enum { FOUND_GOOD = 0, FOUND_DIFFERENT = -1, FOUND_SHORT = -2 };

typedef struct damage_report {
    omen_damage_fn damage;
    void *context;
    uint64_t n_faults, n_unreadable;
    omen_detail *why; /* the first range that cannot be read */
} damage_report;

static void report_damage(damage_report *report, const char *section, uint64_t first, uint64_t n_bytes,
                          const char *text)
{
    report->n_faults++;
    if (report->damage)
        report->damage(report->context, section, first, n_bytes, text);
}

/* For a range of which a read failed: what its bytes are is not known, so it is no damage. */
static void report_unreadable(damage_report *report, const char *section, uint64_t first, uint64_t n_bytes, int error)
{
    if (report->n_unreadable++ == 0) {
        omen_fail(report->why, OMEN_ERR_IO, "cannot read section %s, bytes %llu-%llu: %s", section,
                  (unsigned long long)first, (unsigned long long)(first + n_bytes), strerror(error));
    }
}

static int read_at(int fd, uint8_t *out, size_t n_bytes, uint64_t offset)
{
    const int read = omen_pread_all(fd, out, n_bytes, offset);

    return read < 0 ? errno : read > 0 ? FOUND_SHORT : FOUND_GOOD;
}

#define CUT_TEXT "the file was cut while it was read"

/* Reports padding [first, end), less than a page, that is not zero. */
static void check_padding(const omen_container *container, const char *section, uint64_t first, uint64_t end,
                          damage_report *report)
{
    uint8_t padding[CONTAINER_PAGE_BYTES];
    size_t low = 0, high = (size_t)(end - first);

    const int found = read_at(container->fd, padding, high, first);
    if (found > 0) {
        report_unreadable(report, section, first, end - first, found);
        return;
    }
    if (found == FOUND_SHORT) {
        report_damage(report, section, first, end - first, CUT_TEXT);
        return;
    }
    while (low < high && padding[low] == 0)
        low++;
    while (high > low && padding[high - 1] == 0)
        high--;
    if (low < high)
        report_damage(report, section, first + low, high - low, "padding is not zero");
}

/* Adjacent blocks with the same verdict, told as one. */
typedef struct block_run {
    uint64_t first, end; /* blocks; first == end: no run */
    int found;
} block_run;

/* What the blocks of one array are checked against: the payload against level 0, a level against the one above, the
 * top level against the table. */
typedef struct block_array {
    const omen_container *container;
    const char *name; /* of the section */
    uint64_t offset, n_bytes;
    uint64_t checksums; /* offset of theirs; 0: the one of the top level is in the table */
    uint64_t top;
    bool is_payload;
} block_array;

static void report_run(const block_run *run, const block_array *array, damage_report *report)
{
    char blocks[64], text[240];
    const bool many = run->end - run->first > 1;
    const uint64_t first = run->first * CONTAINER_BLOCK_BYTES, end = run->end * CONTAINER_BLOCK_BYTES;
    const uint64_t n_bytes = (end < array->n_bytes ? end : array->n_bytes) - first;

    if (run->first == run->end)
        return;
    if (run->found > 0) {
        report_unreadable(report, array->name, array->offset + first, n_bytes, run->found);
        return;
    }
    if (many) {
        snprintf(blocks, sizeof blocks, "blocks %llu to %llu", (unsigned long long)run->first,
                 (unsigned long long)run->end - 1);
    } else {
        snprintf(blocks, sizeof blocks, "block %llu", (unsigned long long)run->first);
    }
    if (run->found == FOUND_SHORT) {
        snprintf(text, sizeof text, "%s cannot be checked: " CUT_TEXT, blocks);
    } else if (array->is_payload) {
        snprintf(text, sizeof text, "%s of %s %s not match", many ? "checksums" : "checksum", blocks,
                 many ? "do" : "does");
    } else {
        snprintf(text, sizeof text, "the checksums of its blocks are damaged");
    }
    report_damage(report, array->name, array->offset + first, n_bytes, text);
}

/* Checks n <= READ_BLOCKS blocks from b on; found gets the verdict of each. */
static void check_blocks(const block_array *array, uint64_t b, size_t n, int found[READ_BLOCKS])
{
    uint8_t data[READ_BLOCKS * CONTAINER_BLOCK_BYTES], checksums[8 * READ_BLOCKS];
    const int fd = array->container->fd;
    const uint64_t first = b * CONTAINER_BLOCK_BYTES, left = array->n_bytes - first;
    const size_t n_bytes = left < n * CONTAINER_BLOCK_BYTES ? (size_t)left : n * CONTAINER_BLOCK_BYTES;

    int read = read_at(fd, data, n_bytes, array->offset + first);
    if (read == FOUND_GOOD && array->checksums != 0)
        read = read_at(fd, checksums, 8 * n, array->checksums + 8 * b);
    else
        container_store_u64(checksums, array->top);
    for (size_t i = 0; i < n; i++) {
        const size_t at = i * CONTAINER_BLOCK_BYTES;
        const size_t size = n_bytes - at < CONTAINER_BLOCK_BYTES ? n_bytes - at : CONTAINER_BLOCK_BYTES;
        found[i] = read;
        if (read == FOUND_GOOD && container_hash(data + at, size) != container_load_u64(checksums + 8 * i))
            found[i] = FOUND_DIFFERENT;
    }
}

/* The first verdict of blocks [b, end) that is not good. With a run, each is added to it, and runs that end are told.
 */
static int check_unit(const block_array *array, uint64_t b, uint64_t end, block_run *run, damage_report *report)
{
    int worst = FOUND_GOOD, found[READ_BLOCKS];

    for (size_t n; b < end; b += n) {
        n = end - b < READ_BLOCKS ? (size_t)(end - b) : READ_BLOCKS;
        check_blocks(array, b, n, found);
        for (size_t i = 0; i < n; i++) {
            worst = worst == FOUND_GOOD ? found[i] : worst;
            if (!run)
                continue;
            if (found[i] != run->found || found[i] == FOUND_GOOD || b + i != run->end) {
                report_run(run, array, report);
                *run = (block_run){b + i, b + i, found[i]};
            }
            run->end += found[i] != FOUND_GOOD;
        }
    }
    return worst;
}

/* Checks an array in rounds: in parallel, then once more what is not good, told in order. */
static void check_array(const block_array *array, int n_threads, damage_report *report)
{
    const uint64_t n_blocks = container_blocks(array->n_bytes);
    const uint64_t n_units = (n_blocks + UNIT_BLOCKS - 1) / UNIT_BLOCKS;
    int found[ROUND_UNITS];
    block_run run = {0, 0, FOUND_GOOD};

    for (uint64_t start = 0; start < n_units; start += ROUND_UNITS) {
        const int n = (int)(n_units - start < ROUND_UNITS ? n_units - start : ROUND_UNITS);
#pragma omp parallel for num_threads(n_threads) schedule(dynamic, 1) if (n > 1 && n_threads > 1)
        for (int i = 0; i < n; i++) {
            const uint64_t b = (start + (uint64_t)i) * UNIT_BLOCKS;
            found[i] = check_unit(array, b, b + UNIT_BLOCKS < n_blocks ? b + UNIT_BLOCKS : n_blocks, NULL, NULL);
        }
        for (int i = 0; i < n; i++) {
            const uint64_t b = (start + (uint64_t)i) * UNIT_BLOCKS;
            const uint64_t end = b + UNIT_BLOCKS < n_blocks ? b + UNIT_BLOCKS : n_blocks;
            if (found[i] != FOUND_GOOD && check_unit(array, b, end, &run, report) == FOUND_GOOD) {
                report_run(&run, array, report); /* what failed once is told, whatever a second try gives */
                run = (block_run){b, end, found[i]};
            }
        }
    }
    report_run(&run, array, report);
}

static void check_section(const omen_container *container, const section_tree *tree, int n_threads,
                          damage_report *report)
{
    const container_entry *entry = &tree->entry;
    const container_layout *layout = &tree->layout;
    char name[5];

    container_id_name(name, entry->id);
    block_array array = {container, name, entry->offset, entry->n_bytes, layout->level[0], 0, true};
    check_array(&array, n_threads, report);
    check_padding(container, name, entry->offset + entry->n_bytes, layout->level[0], report);
    for (uint32_t i = 0; i < layout->n_levels; i++) {
        const uint64_t above = i + 1 < layout->n_levels ? layout->level[i + 1] : 0;
        array = (block_array){container, name, layout->level[i], 8 * layout->n_level[i], above, entry->checksums_hash,
                              false};
        check_array(&array, n_threads, report);
    }
    check_padding(container, name, layout->checksums_end, layout->end, report);
}

int omen_container_check(const omen_container *container, int n_threads, omen_damage_fn damage, void *context,
                         omen_detail *why)
{
    damage_report report = {.damage = damage, .context = context, .why = why};
    const int threads = n_threads > 0 ? n_threads : omen_cpu_count();

    check_padding(container, "head", CONTAINER_RECORD_BYTES, CONTAINER_PAGE_BYTES, &report);
    for (uint32_t i = 0; i < container->n_sections; i++)
        check_section(container, &container->trees[i], threads, &report);
    if (report.n_unreadable > 0)
        return OMEN_ERR_IO;
    return report.n_faults == 0 ? OMEN_OK : OMEN_ERR_CORRUPT;
}
