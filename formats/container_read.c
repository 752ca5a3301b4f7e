/* Reads an .omen container: maps it, proves its structure, and on request every byte of it.
 *
 * Invariants:
 * - The file is hostile until proven otherwise: each offset, length and count is compared with what the layout rules
 *   and the file's real size give before it is used.
 * - open() reads header, table, trailer and section headers only, so its time does not depend on the file's size.
 * - check() reads with pread, not through the mapping: a bad disk sector is then a finding, not a SIGBUS. It allocates
 *   nothing; faults are told from the calling thread, in file order.
 * - The file has to stay as it is while it is open. One that is cut under a mapping ends the reader with SIGBUS; files
 *   that are replaced by rename, as the writer does, are safe.
 */
#include "formats/container.h"
#include "formats/container_format.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct omen_container {
    int fd;
    const uint8_t *base; /* the mapped file */
    uint64_t n_bytes;
    uint64_t identity;
    uint64_t table_offset;
    uint32_t n_sections;
    container_entry *entries;
    omen_section *sections;
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

/* Maps the open file. */
static int map_file(omen_container *container, const char *path, omen_detail *why)
{
    struct stat status;

    if (container->fd < 0 || fstat(container->fd, &status) != 0) {
        return omen_fail(why, OMEN_ERR_IO, "cannot open \"%s\": %s", path, strerror(errno));
    }
    if (!S_ISREG(status.st_mode)) {
        return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is not an omendb index: not a regular file", path);
    }
    if (status.st_size == 0) {
        return omen_fail(why, OMEN_ERR_CORRUPT, "\"%s\" is empty", path);
    }
    if ((uint64_t)status.st_size > SIZE_MAX) {
        return omen_fail(why, OMEN_ERR_MEMORY, "\"%s\" is too large for this machine's address space", path);
    }
    void *base = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, container->fd, 0);
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
        if (memcmp(header, CONTAINER_HEADER_MAGIC, n) != 0) {
            return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is not an omendb index", path);
        }
        return omen_fail(why, OMEN_ERR_CORRUPT, "\"%s\" is cut short: %llu bytes", path, (unsigned long long)n_bytes);
    }
    if (memcmp(header, CONTAINER_HEADER_MAGIC, CONTAINER_MAGIC_BYTES) != 0) {
        const uint8_t *trailer = header + n_bytes - CONTAINER_RECORD_BYTES;
        if (memcmp(trailer, CONTAINER_TRAILER_MAGIC, CONTAINER_MAGIC_BYTES) == 0) {
            return fail_damaged(why, path, "it ends like an index and does not begin like one");
        }
        return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is not an omendb index", path);
    }
    if (!container_is_sealed(header)) {
        return fail_damaged(why, path, "checksum of the file header does not match");
    }
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
    if (!container_is_zero(header + HEADER_RESERVED, RECORD_HASH - HEADER_RESERVED)) {
        return fail_damaged(why, path, "reserved bytes of the file header are not zero");
    }
    container->identity = container_load_u64(header + HEADER_IDENTITY);
    return OMEN_OK;
}

/* Checks the trailer and the table as a whole; entries come after. */
static int check_trailer(omen_container *container, const char *path, omen_detail *why)
{
    const uint64_t n_bytes = container->n_bytes;

    if (n_bytes < CONTAINER_MIN_BYTES) {
        return omen_fail(why, OMEN_ERR_CORRUPT, "\"%s\" is cut short: %llu bytes", path, (unsigned long long)n_bytes);
    }
    const uint64_t trailer_offset = n_bytes - CONTAINER_RECORD_BYTES;
    const uint8_t *trailer = container->base + trailer_offset;
    if (memcmp(trailer, CONTAINER_TRAILER_MAGIC, CONTAINER_MAGIC_BYTES) != 0) {
        return fail_damaged(why, path, "it is cut short, or its end is overwritten: no trailer in the last 64 bytes");
    }
    if (!container_is_sealed(trailer)) {
        return fail_damaged(why, path, "checksum of the trailer does not match");
    }
    const uint64_t stated = container_load_u64(trailer + TRAILER_FILE_BYTES);
    if (stated != n_bytes) {
        return omen_fail(why, OMEN_ERR_CORRUPT, "\"%s\" is damaged: it is %llu bytes long and its trailer says %llu",
                         path, (unsigned long long)n_bytes, (unsigned long long)stated);
    }
    if (container_load_u64(trailer + TRAILER_IDENTITY) != container->identity) {
        return fail_damaged(why, path, "header and trailer are of different files");
    }
    if (!container_is_zero(trailer + TRAILER_RESERVED, RECORD_HASH - TRAILER_RESERVED)) {
        return fail_damaged(why, path, "reserved bytes of the trailer are not zero");
    }
    const uint64_t table_offset = container_load_u64(trailer + TRAILER_TABLE_OFFSET);
    const uint64_t n_table_bytes = container_load_u64(trailer + TRAILER_TABLE_BYTES);
    if (n_table_bytes % CONTAINER_RECORD_BYTES != 0 ||
        n_table_bytes > (uint64_t)CONTAINER_MAX_SECTIONS * CONTAINER_RECORD_BYTES ||
        n_table_bytes > trailer_offset - CONTAINER_PAGE_BYTES || table_offset != trailer_offset - n_table_bytes ||
        table_offset % CONTAINER_PAGE_BYTES != 0) {
        return fail_damaged(why, path, "the section table is not where it has to be");
    }
    const uint64_t table_hash = container_load_u64(trailer + TRAILER_TABLE_HASH);
    if (container_hash(container->base + table_offset, n_table_bytes) != table_hash) {
        return fail_damaged(why, path, "checksum of the section table does not match");
    }
    container->table_offset = table_offset;
    container->n_sections = (uint32_t)(n_table_bytes / CONTAINER_RECORD_BYTES);
    return OMEN_OK;
}

/* Checks that the header in front of a section is the one that its table entry describes. */
static int check_section_header(const omen_container *container, const container_entry *entry, const char *path,
                                omen_detail *why)
{
    const uint8_t *header = container->base + entry->offset;
    uint8_t expected[CONTAINER_RECORD_BYTES];

    if (!container_is_sealed(header) || container_hash(header, CONTAINER_RECORD_BYTES) != entry->header_hash) {
        return fail_section(why, path, entry->id, "checksum of the section header does not match");
    }
    /* the encoding is unique, so comparing bytes compares every field and the reserved bytes */
    container_encode_section(expected, entry, container->identity);
    if (memcmp(header, expected, sizeof expected) != 0) {
        return fail_section(why, path, entry->id, "section header and section table disagree");
    }
    return OMEN_OK;
}

/* Checks entry i, which has to begin at *end, and moves *end behind it. */
static int check_entry(omen_container *container, uint32_t i, uint64_t *end, const char *path, omen_detail *why)
{
    const uint8_t *record = container->base + container->table_offset + (uint64_t)i * CONTAINER_RECORD_BYTES;
    container_entry *entry = &container->entries[i];
    container_layout layout;

    container_decode_entry(entry, record);
    if (!container_id_is_valid(entry->id)) {
        return omen_fail(why, OMEN_ERR_CORRUPT, "\"%s\" is damaged: 0x%08x cannot be the id of a section", path,
                         entry->id);
    }
    for (uint32_t j = 0; j < i; j++) {
        if (container->entries[j].id == entry->id) {
            return fail_section(why, path, entry->id, "it is there twice");
        }
    }
    const uint32_t unknown = entry->flags & CONTAINER_FLAGS_MANDATORY & ~CONTAINER_FLAG_OPTIONAL;
    if (unknown != 0) {
        char name[5];
        container_id_name(name, entry->id);
        return omen_fail(why, OMEN_ERR_UNSUPPORTED,
                         "\"%s\" uses features this program does not know (section \"%s\", flags 0x%x)", path, name,
                         entry->flags);
    }
    if (!container_is_zero(record + ENTRY_RESERVED, ENTRY_OFFSET - ENTRY_RESERVED)) {
        return fail_section(why, path, entry->id, "reserved bytes of its table entry are not zero");
    }
    if (entry->offset != *end || entry->n_stored_bytes != entry->n_bytes ||
        !container_lay_out(&layout, entry->offset, entry->n_bytes) || layout.end > container->table_offset ||
        entry->n_checksums != layout.n_checksums) {
        return fail_section(why, path, entry->id, "its offset or length contradicts the rest of the file");
    }
    *end = layout.end;
    const int rc = check_section_header(container, entry, path, why);
    if (rc != OMEN_OK) {
        return rc;
    }
    container->sections[i] = (omen_section){
        .id = entry->id,
        .element = entry->element,
        .optional = (entry->flags & CONTAINER_FLAG_OPTIONAL) != 0,
        .data = container->base + layout.payload,
        .n_bytes = entry->n_bytes,
    };
    return OMEN_OK;
}

static int check_table(omen_container *container, const char *path, omen_detail *why)
{
    const size_t n = container->n_sections > 0 ? container->n_sections : 1;
    uint64_t end = CONTAINER_PAGE_BYTES;

    container->entries = calloc(n, sizeof *container->entries);
    container->sections = calloc(n, sizeof *container->sections);
    if (container->entries == NULL || container->sections == NULL) {
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory while opening \"%s\"", path);
    }
    for (uint32_t i = 0; i < container->n_sections; i++) {
        const int rc = check_entry(container, i, &end, path, why);
        if (rc != OMEN_OK) {
            return rc;
        }
    }
    if (end != container->table_offset) {
        return fail_damaged(why, path, "there is a gap between the last section and the section table");
    }
    return OMEN_OK;
}

int omen_container_open(omen_container **out, const char *path, omen_detail *why)
{
    /* O_NONBLOCK: a FIFO must be refused, not waited for */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    *out = NULL;
    if (fd < 0) {
        return omen_fail(why, OMEN_ERR_IO, "cannot open \"%s\": %s", path, strerror(errno));
    }
    const int rc = omen_container_open_fd(out, fd, path, why);
    close(fd);
    return rc;
}

int omen_container_open_fd(omen_container **out, int fd, const char *path, omen_detail *why)
{
    int rc;

    *out = NULL;
    omen_container *container = calloc(1, sizeof *container);
    if (container == NULL) {
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory while opening \"%s\"", path);
    }
    container->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if ((rc = map_file(container, path, why)) != OMEN_OK || (rc = check_header(container, path, why)) != OMEN_OK ||
        (rc = check_trailer(container, path, why)) != OMEN_OK || (rc = check_table(container, path, why)) != OMEN_OK) {
        omen_container_close(container);
        return rc;
    }
    *out = container;
    return OMEN_OK;
}

void omen_container_close(omen_container *container)
{
    if (container == NULL) {
        return;
    }
    if (container->base != NULL) {
        munmap((void *)container->base, (size_t)container->n_bytes);
    }
    if (container->fd >= 0) {
        close(container->fd);
    }
    free(container->entries);
    free(container->sections);
    free(container);
}

const omen_section *omen_container_sections(const omen_container *container, size_t *n_sections)
{
    *n_sections = container->n_sections;
    return container->sections;
}

uint64_t omen_container_offset(const omen_container *container, size_t i)
{
    return (uint64_t)((const uint8_t *)container->sections[i].data - container->base);
}

uint64_t omen_container_file_bytes(const omen_container *container)
{
    return container->n_bytes;
}

/* ---- the full check ---- */

#define READ_BYTES   8192u /* at once: they are on the stack */
#define ROUND_BLOCKS 512u  /* blocks whose verdicts are kept at once, also there */

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
    if (report->damage != NULL) {
        report->damage(report->context, section, first, n_bytes, text);
    }
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
    while (n_bytes > 0) {
        const ssize_t n = pread(fd, out, n_bytes, (off_t)offset);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return errno;
        }
        if (n == 0) {
            return FOUND_SHORT;
        }
        out += n;
        offset += (uint64_t)n;
        n_bytes -= (size_t)n;
    }
    return FOUND_GOOD;
}

/* Compares the checksum of a byte range of the file with what it should be. */
static int check_range(int fd, uint64_t first, uint64_t n_bytes, uint64_t expected)
{
    uint8_t buffer[READ_BYTES];
    XXH3_state_t state;

    XXH3_INITSTATE(&state);
    XXH3_64bits_reset(&state);
    for (uint64_t done = 0; done < n_bytes;) {
        const size_t n = n_bytes - done < READ_BYTES ? (size_t)(n_bytes - done) : READ_BYTES;
        const int found = read_at(fd, buffer, n, first + done);
        if (found != FOUND_GOOD) {
            return found;
        }
        XXH3_64bits_update(&state, buffer, n);
        done += n;
    }
    return XXH3_64bits_digest(&state) == expected ? FOUND_GOOD : FOUND_DIFFERENT;
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
    while (low < high && padding[low] == 0) {
        low++;
    }
    while (high > low && padding[high - 1] == 0) {
        high--;
    }
    if (low < high) {
        report_damage(report, section, first + low, high - low, "padding is not zero");
    }
}

/* Adjacent blocks with the same verdict, told as one. */
typedef struct block_run {
    uint64_t first, end; /* blocks; first == end: no run */
    int found;
} block_run;

static void report_run(const block_run *run, const container_entry *entry, const container_layout *layout,
                       bool array_good, damage_report *report)
{
    char name[5], blocks[64], text[240];
    const bool many = run->end - run->first > 1;

    if (run->first == run->end) {
        return;
    }
    const uint64_t first = run->first * CONTAINER_BLOCK_BYTES;
    const uint64_t end = run->end == layout->n_checksums ? entry->n_bytes : run->end * (uint64_t)CONTAINER_BLOCK_BYTES;
    container_id_name(name, entry->id);
    if (run->found > 0) {
        report_unreadable(report, name, layout->payload + first, end - first, run->found);
        return;
    }
    if (many) {
        snprintf(blocks, sizeof blocks, "blocks %llu to %llu", (unsigned long long)run->first,
                 (unsigned long long)run->end - 1);
    } else {
        snprintf(blocks, sizeof blocks, "block %llu", (unsigned long long)run->first);
    }
    if (run->found == FOUND_DIFFERENT) {
        snprintf(text, sizeof text, "%s of %s %s not match%s", many ? "checksums" : "checksum", blocks,
                 many ? "do" : "does", array_good ? "" : ", and the checksums themselves are damaged");
    } else {
        snprintf(text, sizeof text, "%s cannot be checked: " CUT_TEXT, blocks);
    }
    report_damage(report, name, layout->payload + first, end - first, text);
}

static int check_block(const omen_container *container, const container_entry *entry, const container_layout *layout,
                       uint64_t block, uint64_t expected)
{
    const uint64_t first = block * CONTAINER_BLOCK_BYTES;
    const uint64_t left = entry->n_bytes - first;

    return check_range(container->fd, layout->payload + first,
                       left < CONTAINER_BLOCK_BYTES ? left : CONTAINER_BLOCK_BYTES, expected);
}

/* Checks the blocks of a section in rounds: in parallel, then merged and told in order. */
static void check_blocks(const omen_container *container, const container_entry *entry, const container_layout *layout,
                         bool array_good, int n_threads, damage_report *report)
{
    uint8_t checksums[8 * ROUND_BLOCKS];
    int found[ROUND_BLOCKS];
    block_run run = {0, 0, FOUND_GOOD};

    for (uint64_t start = 0; start < layout->n_checksums; start += ROUND_BLOCKS) {
        const uint64_t left = layout->n_checksums - start;
        const int n = (int)(left < ROUND_BLOCKS ? left : ROUND_BLOCKS);
        const int read = read_at(container->fd, checksums, 8 * (size_t)n, layout->checksums + 8 * start);
#pragma omp parallel for num_threads(n_threads) schedule(dynamic, 1) if (n > 1 && n_threads > 1)
        for (int i = 0; i < n; i++) {
            const uint64_t expected = container_load_u64(checksums + 8 * i);
            found[i] = read != FOUND_GOOD ? read : check_block(container, entry, layout, start + (uint64_t)i, expected);
        }
        for (int i = 0; i < n; i++) {
            const uint64_t block = start + (uint64_t)i;
            if (found[i] != run.found || found[i] == FOUND_GOOD) {
                report_run(&run, entry, layout, array_good, report);
                run = (block_run){block, block, found[i]};
            }
            if (found[i] != FOUND_GOOD) {
                run.end = block + 1;
            }
        }
    }
    report_run(&run, entry, layout, array_good, report);
}

static void check_section(const omen_container *container, const container_entry *entry, int n_threads,
                          damage_report *report)
{
    container_layout layout;
    char name[5];

    container_id_name(name, entry->id);
    if (!container_lay_out(&layout, entry->offset, entry->n_bytes)) { /* open() has seen to it */
        report_damage(report, name, entry->offset, CONTAINER_RECORD_BYTES, "length is out of range");
        return;
    }
    const uint64_t n_array_bytes = 8 * layout.n_checksums;
    const int array = check_range(container->fd, layout.checksums, n_array_bytes, entry->checksums_hash);

    check_blocks(container, entry, &layout, array == FOUND_GOOD, n_threads, report);
    check_padding(container, name, layout.payload + entry->n_bytes, layout.checksums, report);
    if (array == FOUND_DIFFERENT) {
        report_damage(report, name, layout.checksums, n_array_bytes,
                      "the checksums of the blocks do not match the section table");
    } else if (array == FOUND_SHORT) {
        report_damage(report, name, layout.checksums, n_array_bytes, CUT_TEXT);
    } else if (array > 0) {
        report_unreadable(report, name, layout.checksums, n_array_bytes, array);
    }
    check_padding(container, name, layout.checksums + n_array_bytes, layout.end, report);
}

int omen_container_check(const omen_container *container, int n_threads, omen_damage_fn damage, void *context,
                         omen_detail *why)
{
    damage_report report = {.damage = damage, .context = context, .why = why};
    const int threads = n_threads > 0 ? n_threads : omen_cpu_count();

    check_padding(container, "head", CONTAINER_RECORD_BYTES, CONTAINER_PAGE_BYTES, &report);
    for (uint32_t i = 0; i < container->n_sections; i++) {
        check_section(container, &container->entries[i], threads, &report);
    }
    if (report.n_unreadable > 0) {
        return OMEN_ERR_IO;
    }
    return report.n_faults == 0 ? OMEN_OK : OMEN_ERR_CORRUPT;
}
