/* SPDX-License-Identifier: Apache-2.0 */
/* Writes an .omen container: streams sections into a new file (formats/file.c), which gets its name at the end.
 *
 * Invariants:
 * - All writes are pwrite at positions this file computes; the descriptor's own position is never used.
 * - The buffer holds less than WRITE_BYTES, a multiple of the checksum block, so only the end of a section is not a
 *   whole number of blocks. Checksums stay in memory until their section is finished: 1/512 of its bytes.
 * - Padding is written, not skipped: a full disk is reported by a write here, not by SIGBUS in a mapping.
 * - The first failure is kept in code and cause; every later call returns it, so no caller can publish half a file.
 */
#include "formats/container.h"
#include "formats/container_format.h"
#include "formats/file.h"
#include "formats/in_use.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define WRITE_BYTES (1u << 20)
#define SEND_LEAST  (16u << 20)

typedef struct written_section {
    container_entry entry;
    void *mapping; /* NULL until mapped */
    size_t n_mapped_bytes;
} written_section;

struct omen_writer {
    omen_file file;
    char label[OMEN_FILE_LABEL_BYTES];

    int code; /* of the first failure, or OMEN_OK */
    omen_detail cause;

    bool started, in_section, committed;
    uint64_t identity;
    uint64_t end; /* where the next section, or the table, begins; of the open section its offset */

    written_section *sections; /* the last one is the open one while in_section */
    uint32_t n_sections, sections_capacity;

    /* a thread that has the disk begin with sections that are complete */
    bool sending;
    pthread_t sender;

    uint8_t *buffer; /* WRITE_BYTES */
    size_t n_buffered;
    uint8_t *checksums; /* of the open section, encoded, level by level */
    uint64_t n_checksums, checksums_capacity;
};

/* Keeps the first failure and hands it out; every public call ends here. */
static int writer_return(omen_writer *writer, int code, omen_detail *why)
{
    if (code != OMEN_OK) {
        writer->code = code;
        if (why)
            *why = writer->cause;
    }
    return code;
}

static int fail_memory(omen_writer *writer)
{
    return omen_fail(&writer->cause, OMEN_ERR_MEMORY, "out of memory while writing %s", writer->label);
}

/* verb: what could not be done to the temporary; errno says why. */
static int fail_call(omen_writer *writer, const char *verb)
{
    return omen_fail(&writer->cause, OMEN_ERR_IO, "cannot %s %s: %s", verb, writer->label, strerror(errno));
}

static int fail_write(omen_writer *writer)
{
    return fail_call(writer, "write");
}

static int fail_order(omen_writer *writer, const char *what)
{
    return omen_fail(&writer->cause, OMEN_ERR_ARGUMENT, "cannot write %s: %s", writer->label, what);
}

static int write_at(omen_writer *writer, const void *data, uint64_t n_bytes, uint64_t offset)
{
    return omen_pwrite_all(writer->file.fd, data, n_bytes, offset) == 0 ? OMEN_OK : fail_write(writer);
}

/* Less than a page of zeros. */
static int write_zeros(omen_writer *writer, uint64_t first, uint64_t end)
{
    static const uint8_t zeros[CONTAINER_PAGE_BYTES];

    return write_at(writer, zeros, end - first, first);
}

/* ---- creating ---- */

static int create(omen_writer **out, const char *path, int needs, const struct stat *like, omen_detail *why)
{
    *out = NULL;
    omen_writer *writer = calloc(1, sizeof *writer);
    int status = OMEN_OK;

    if (!writer)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory while creating \"%s\"", path);
    writer->buffer = malloc(WRITE_BYTES);
    if (!writer->buffer)
        status = omen_fail(why, OMEN_ERR_MEMORY, "out of memory while creating \"%s\"", path);
    else
        status = omen_file_open(&writer->file, path, needs, like, why);
    if (status != OMEN_OK) {
        omen_writer_destroy(writer);
        return status;
    }
    omen_file_label(&writer->file, writer->label);
    *out = writer;
    return OMEN_OK;
}

int omen_writer_create(omen_writer **out, const char *path, omen_detail *why)
{
    return create(out, path, OMEN_FILE_NAMED, NULL, why);
}

int omen_writer_create_like(omen_writer **out, const char *path, const struct stat *like, omen_detail *why)
{
    return create(out, path, OMEN_FILE_SPOOLED, like, why);
}

static void *send_bytes(void *self)
{
    const omen_writer *writer = self;

    sync_file_range(writer->file.fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    return NULL;
}

static void settle_sender(omen_writer *writer)
{
    if (writer->sending) {
        pthread_join(writer->sender, NULL);
        writer->sending = false;
    }
}

/* Starts the disk on a large section that is read back, while the build computes with it: the fsync of the commit waits
 * for less then. Earlier would be in the way of what is still written. Only a hint: whatever fails here is told by that
 * fsync. */
static void start_sender(omen_writer *writer, uint64_t n_bytes)
{
    if (n_bytes >= SEND_LEAST && !writer->sending)
        writer->sending = pthread_create(&writer->sender, NULL, send_bytes, writer) == 0;
}

void omen_writer_destroy(omen_writer *writer)
{
    if (!writer)
        return;
    settle_sender(writer);
    for (uint32_t i = 0; i < writer->n_sections; i++)
        omen_mapping_close(writer->sections[i].mapping, writer->sections[i].n_mapped_bytes);
    omen_file_close(&writer->file);
    free(writer->sections);
    free(writer->checksums);
    free(writer->buffer);
    free(writer);
}

/* ---- the sink ---- */

static int writer_start(omen_writer *writer, uint64_t identity)
{
    uint8_t page[CONTAINER_PAGE_BYTES] = {0};

    if (writer->started)
        return fail_order(writer, "started twice");
    /* NOLINTNEXTLINE(bugprone-not-null-terminated-result): no text */
    memcpy(page, CONTAINER_HEADER_MAGIC, CONTAINER_MAGIC_BYTES);
    container_store_u16(page + HEADER_MAJOR, CONTAINER_MAJOR);
    container_store_u16(page + HEADER_MINOR, CONTAINER_MINOR);
    container_store_u64(page + HEADER_IDENTITY, identity);
    container_seal(page);
    writer->started = true;
    writer->identity = identity;
    writer->end = CONTAINER_PAGE_BYTES;
    return write_at(writer, page, sizeof page, 0);
}

static written_section *open_section(omen_writer *writer)
{
    return &writer->sections[writer->n_sections - 1];
}

static int writer_begin(omen_writer *writer, uint32_t id, uint32_t element, bool optional)
{
    char name[5];

    if (!writer->started || writer->in_section)
        return fail_order(writer, writer->started ? "a section is still open" : "not started");
    if (!container_id_is_valid(id))
        return omen_fail(&writer->cause, OMEN_ERR_ARGUMENT, "0x%08x cannot be the id of a section", id);
    container_id_name(name, id);
    for (uint32_t i = 0; i < writer->n_sections; i++)
        if (writer->sections[i].entry.id == id)
            return omen_fail(&writer->cause, OMEN_ERR_ARGUMENT, "section \"%s\" is written twice", name);
    if (writer->n_sections == CONTAINER_MAX_SECTIONS)
        return omen_fail(&writer->cause, OMEN_ERR_ARGUMENT, "section \"%s\" is one more than a file can hold", name);
    if (writer->n_sections == writer->sections_capacity) {
        const uint32_t capacity = writer->sections_capacity == 0 ? 16 : 2 * writer->sections_capacity;
        written_section *grown = realloc(writer->sections, capacity * sizeof *grown);
        if (!grown)
            return fail_memory(writer);
        writer->sections = grown;
        writer->sections_capacity = capacity;
    }
    writer->sections[writer->n_sections++] = (written_section){
        .entry = {.id = id, .element = element, .flags = optional ? CONTAINER_FLAG_OPTIONAL : 0, .offset = writer->end},
    };
    writer->in_section = true;
    writer->n_checksums = 0;
    writer->n_buffered = 0;
    return OMEN_OK;
}

/* Makes room for n checksums more. */
static int reserve_checksums(omen_writer *writer, uint64_t n)
{
    const uint64_t needed = writer->n_checksums + n;
    uint64_t capacity = writer->checksums_capacity == 0 ? 4096 : writer->checksums_capacity;

    if (needed <= writer->checksums_capacity)
        return OMEN_OK;
    while (capacity < needed)
        capacity *= 2;
    uint8_t *grown = realloc(writer->checksums, capacity * 8);
    if (!grown)
        return fail_memory(writer);
    writer->checksums = grown;
    writer->checksums_capacity = capacity;
    return OMEN_OK;
}

/* Appends the checksums of n_bytes, block by block; there is room for them. */
static void add_checksums(omen_writer *writer, const uint8_t *data, uint64_t n_bytes)
{
    for (uint64_t done = 0; done < n_bytes; done += CONTAINER_BLOCK_BYTES) {
        const uint64_t left = n_bytes - done;
        const size_t n = left < CONTAINER_BLOCK_BYTES ? (size_t)left : CONTAINER_BLOCK_BYTES;
        container_store_u64(writer->checksums + 8 * writer->n_checksums++, container_hash(data + done, n));
    }
}

/* Checksums and writes the next bytes of the open section: whole blocks, or the last bytes. */
static int write_blocks(omen_writer *writer, const uint8_t *data, size_t n_bytes)
{
    container_entry *entry = &open_section(writer)->entry;
    int status = reserve_checksums(writer, container_blocks(n_bytes));

    if (status == OMEN_OK)
        status = write_at(writer, data, n_bytes, entry->offset + entry->n_bytes);
    if (status == OMEN_OK) {
        add_checksums(writer, data, n_bytes);
        entry->n_bytes += n_bytes;
    }
    return status;
}

static int writer_append(omen_writer *writer, const void *data, uint64_t n_bytes)
{
    const uint8_t *from = data;
    int status = OMEN_OK;

    if (!writer->in_section)
        return fail_order(writer, "no section is open");
    while (status == OMEN_OK && n_bytes > 0) {
        if (writer->n_buffered == 0 && n_bytes >= WRITE_BYTES) { /* needs no copy */
            status = write_blocks(writer, from, WRITE_BYTES);
            from += WRITE_BYTES;
            n_bytes -= WRITE_BYTES;
            continue;
        }
        const size_t room = WRITE_BYTES - writer->n_buffered;
        const size_t n = n_bytes < room ? (size_t)n_bytes : room;
        memcpy(writer->buffer + writer->n_buffered, from, n);
        writer->n_buffered += n;
        from += n;
        n_bytes -= n;
        if (writer->n_buffered == WRITE_BYTES) {
            status = write_blocks(writer, writer->buffer, WRITE_BYTES);
            writer->n_buffered = 0;
        }
    }
    return status;
}

static int writer_finish(omen_writer *writer)
{
    container_layout layout = {0};
    int status = OMEN_OK;

    if (!writer->in_section)
        return fail_order(writer, "no section is open");
    if (writer->n_buffered > 0) {
        status = write_blocks(writer, writer->buffer, writer->n_buffered);
        writer->n_buffered = 0;
    }
    container_entry *entry = &open_section(writer)->entry;
    if (status == OMEN_OK && !container_lay_out(&layout, entry->offset, entry->n_bytes)) {
        errno = EFBIG;
        status = fail_write(writer);
    }
    if (status != OMEN_OK || (status = reserve_checksums(writer, layout.n_checksums - writer->n_checksums)) != OMEN_OK)
        return status;
    uint64_t below = 0; /* checksums in front of the level that the next one is made of */
    for (uint32_t i = 1; i < layout.n_levels; i++) {
        add_checksums(writer, writer->checksums + 8 * below, 8 * layout.n_level[i - 1]);
        below += layout.n_level[i - 1];
    }
    entry->n_stored_bytes = entry->n_bytes;
    entry->n_checksums = writer->n_checksums;
    entry->checksums_hash = container_hash(writer->checksums + 8 * below, 8 * (writer->n_checksums - below));

    const uint64_t payload_end = entry->offset + entry->n_bytes;
    if ((status = write_zeros(writer, payload_end, layout.level[0])) != OMEN_OK ||
        (status = write_at(writer, writer->checksums, layout.checksums_end - layout.level[0], layout.level[0])) !=
            OMEN_OK ||
        (status = write_zeros(writer, layout.checksums_end, layout.end)) != OMEN_OK) {
        return status;
    }
    writer->end = layout.end;
    writer->in_section = false;
    return OMEN_OK;
}

static int writer_map(omen_writer *writer, uint32_t id, omen_section *out)
{
    written_section *section = NULL;
    const uint32_t n_finished = writer->n_sections - (writer->in_section ? 1 : 0);

    for (uint32_t i = 0; i < n_finished; i++)
        if (writer->sections[i].entry.id == id)
            section = &writer->sections[i];
    if (!section)
        return fail_order(writer, "a section is read back that was not finished");
    const container_entry *entry = &section->entry;
    /* a system page may be larger than the container's */
    const uint64_t skip = entry->offset % (uint64_t)sysconf(_SC_PAGESIZE);
    if (!section->mapping) {
        const uint64_t n_bytes = skip + (entry->n_bytes > 0 ? entry->n_bytes : 1);
        void *mapping = n_bytes > SIZE_MAX
                            ? MAP_FAILED
                            : omen_file_map(writer->file.fd, entry->offset - skip, n_bytes, writer->label);
        if (mapping == MAP_FAILED) {
            const int code = errno == ENOMEM ? OMEN_ERR_MEMORY : OMEN_ERR_IO;
            return omen_fail(&writer->cause, code, "cannot map %s: %s", writer->label, strerror(errno));
        }
        section->mapping = mapping;
        section->n_mapped_bytes = n_bytes;
        start_sender(writer, entry->n_bytes);
    }
    *out = (omen_section){
        .id = id,
        .element = entry->element,
        .optional = (entry->flags & CONTAINER_FLAG_OPTIONAL) != 0,
        .data = (const uint8_t *)section->mapping + skip,
        .n_bytes = entry->n_bytes,
    };
    return OMEN_OK;
}

/* What is true of every call on a writer: nothing works after a failure or after the commit. */
static int writer_usable(omen_writer *writer)
{
    if (writer->code != OMEN_OK)
        return writer->code;
    return writer->committed ? fail_order(writer, "already committed") : OMEN_OK;
}

static int sink_start(void *self, uint64_t identity, omen_detail *why)
{
    omen_writer *writer = self;
    const int status = writer_usable(writer);
    return writer_return(writer, status != OMEN_OK ? status : writer_start(writer, identity), why);
}

static int sink_begin(void *self, uint32_t id, uint32_t element, bool optional, omen_detail *why)
{
    omen_writer *writer = self;
    const int status = writer_usable(writer);
    return writer_return(writer, status != OMEN_OK ? status : writer_begin(writer, id, element, optional), why);
}

static int sink_append(void *self, const void *data, uint64_t n_bytes, omen_detail *why)
{
    omen_writer *writer = self;
    const int status = writer_usable(writer);
    return writer_return(writer, status != OMEN_OK ? status : writer_append(writer, data, n_bytes), why);
}

static int sink_finish(void *self, omen_detail *why)
{
    omen_writer *writer = self;
    const int status = writer_usable(writer);
    return writer_return(writer, status != OMEN_OK ? status : writer_finish(writer), why);
}

static int sink_map(void *self, uint32_t id, omen_section *out, omen_detail *why)
{
    omen_writer *writer = self;
    const int status = writer_usable(writer);
    return writer_return(writer, status != OMEN_OK ? status : writer_map(writer, id, out), why);
}

omen_sink omen_writer_sink(omen_writer *writer)
{
    return (omen_sink){
        .self = writer,
        .start = sink_start,
        .begin = sink_begin,
        .append = sink_append,
        .finish = sink_finish,
        .map = sink_map,
    };
}

/* ---- committing ---- */

static int write_table_and_trailer(omen_writer *writer, uint64_t *n_file_bytes)
{
    const uint64_t n_table_bytes = (uint64_t)writer->n_sections * CONTAINER_RECORD_BYTES;
    uint8_t *table = malloc(n_table_bytes + CONTAINER_RECORD_BYTES);

    if (!table)
        return fail_memory(writer);
    for (uint32_t i = 0; i < writer->n_sections; i++)
        container_encode_entry(table + i * CONTAINER_RECORD_BYTES, &writer->sections[i].entry);
    *n_file_bytes = writer->end + n_table_bytes + CONTAINER_RECORD_BYTES;
    uint8_t *trailer = table + n_table_bytes;
    memset(trailer, 0, CONTAINER_RECORD_BYTES);
    memcpy(trailer, CONTAINER_TRAILER_MAGIC, CONTAINER_MAGIC_BYTES);
    container_store_u64(trailer + TRAILER_TABLE_OFFSET, writer->end);
    container_store_u64(trailer + TRAILER_TABLE_BYTES, n_table_bytes);
    container_store_u64(trailer + TRAILER_TABLE_HASH, container_hash(table, n_table_bytes));
    container_store_u64(trailer + TRAILER_FILE_BYTES, *n_file_bytes);
    container_store_u64(trailer + TRAILER_IDENTITY, writer->identity);
    container_seal(trailer);
    const int status = write_at(writer, table, n_table_bytes + CONTAINER_RECORD_BYTES, writer->end);
    free(table);
    return status;
}

int omen_writer_commit(omen_writer *writer, uint64_t *n_file_bytes, omen_detail *why)
{
    uint64_t n_bytes = 0;
    int status = writer_usable(writer);

    if (status == OMEN_OK && (!writer->started || writer->in_section))
        status = fail_order(writer, writer->started ? "a section is still open" : "not started");
    if (status == OMEN_OK)
        status = write_table_and_trailer(writer, &n_bytes);
    if (status == OMEN_OK)
        status = omen_file_commit(&writer->file, &writer->cause);
    if (status == OMEN_OK) {
        writer->committed = true;
        if (n_file_bytes)
            *n_file_bytes = n_bytes;
    }
    return writer_return(writer, status, why);
}

int omen_writer_like_error(const omen_writer *writer)
{
    return writer->file.like_error;
}

int omen_writer_open(const omen_writer *writer, omen_container **out, omen_detail *why)
{
    return omen_container_open_fd(out, writer->file.fd, writer->file.path ? writer->file.path : "-", why);
}

bool omen_writer_has_name(const omen_writer *writer)
{
    return writer->file.path && omen_file_leads_to(writer->file.path, writer->file.fd) == 1;
}
