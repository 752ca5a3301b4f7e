/* SPDX-License-Identifier: Apache-2.0 */
/* Unpacks compressed files to be read in place of their originals: beginning and end first, which are opened as the
 * whole will be, then the rest. */
#include "formats/file.h"
#include "formats/omz_parts.h"
#include "formats/vectors_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define OMZ_SUFFIX ".omz"

#define VECTORS_HEAD_BYTES (128u << 10) /* the header of a file of vectors is no longer */

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
    if (!p->coder || !p->bytes)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the buffers of blocks");
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
            if (omz->blocks[middle].raw_offset <= offset)
                i = middle;
            else
                above = middle;
        }
        const block *b = &omz->blocks[i];
        if (i != p->i) {
            p->i = omz->n_blocks;
            if (!omz_unpack_block(omz, p->coder, i, p->bytes))
                return omz_fail_block(i, "its checksum does not match", p->why);
            p->i = i;
        }
        const uint64_t at = offset - b->raw_offset, left = b->raw - at, n = end - offset < left ? end - offset : left;
        if (omen_pwrite_all(p->fd, p->bytes + at, n, offset) != 0)
            return omen_fail(p->why, OMEN_ERR_IO, "cannot write: %s", strerror(errno));
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
    int status = peek(p, 0, CONTAINER_PAGE_BYTES);

    if (status != OMEN_OK || n_bytes < CONTAINER_MIN_BYTES)
        return status;
    status = peek(p, n_bytes - CONTAINER_RECORD_BYTES, CONTAINER_RECORD_BYTES);
    if (status == OMEN_OK && omen_pread_all(p->fd, record, sizeof record, n_bytes - sizeof record) != 0)
        return omen_fail(p->why, OMEN_ERR_IO, "cannot read back what was unpacked: %s", strerror(errno));
    const uint64_t table = container_load_u64(record + TRAILER_TABLE_OFFSET);
    const uint64_t table_bytes = container_load_u64(record + TRAILER_TABLE_BYTES);
    if (table > n_bytes || table_bytes > (uint64_t)CONTAINER_MAX_SECTIONS * CONTAINER_RECORD_BYTES ||
        table_bytes > n_bytes - table) {
        return status;
    }
    if (status == OMEN_OK)
        status = peek(p, table, table_bytes);
    for (uint64_t at = 0; at < table_bytes && status == OMEN_OK; at += CONTAINER_RECORD_BYTES) {
        if (omen_pread_all(p->fd, record, sizeof record, table + at) != 0)
            return omen_fail(p->why, OMEN_ERR_IO, "cannot read back what was unpacked: %s", strerror(errno));
        container_decode_entry(&entry, record);
        if (entry.id == OMEN_SECTION_META && entry.offset < n_bytes)
            status = peek(p, entry.offset, CONTAINER_PAGE_BYTES); /* with its checksum */
    }
    return status;
}

/* The message of a container that is packed in another, whose name it does not know: "it is damaged: ..." */
static int fail_inner(int code, const omen_detail *inner, omen_detail *why)
{
    const char *rest = inner->text[0] == '"' ? strstr(inner->text + 1, "\" ") : NULL;

    /* that it is an index is what its head says: one that is none contradicts it */
    return omen_fail(why, code == OMEN_ERR_INPUT ? OMEN_ERR_CORRUPT : code, "what is packed in it %.400s",
                     rest ? rest + 2 : inner->text);
}

/* Opens the index in a file of which only its structure has been unpacked, and checks that. */
static int open_structure(omen_container **inner, int fd, omen_detail *why)
{
    omen_detail reason = {""};
    size_t n;

    int status = omen_container_open_fd(inner, fd, "the index inside", &reason);
    if (status != OMEN_OK)
        return fail_inner(status, &reason, why);
    const omen_section *sections = omen_container_sections(*inner, &n);
    return omen_index_check_lengths(sections, n, why);
}

int omen_omz_unpack_container(omen_container **container, const char *path, uint64_t memory_bytes, omen_detail *why)
{
    omen_omz *omz = NULL;
    omen_container *inner = NULL;
    omen_detail reason = {""};
    peeking p = {.omz = NULL};
    int status, fd;

    if (!omen_omz_is(*container))
        return OMEN_OK;
    status = omen_omz_open(&omz, *container, &reason);
    if (status == OMEN_OK && !omz->is_index)
        status = omen_fail(&reason, OMEN_ERR_INPUT, "it is a compressed file of vectors, not an index");
    fd = status == OMEN_OK ? memfd_create("omendb", MFD_CLOEXEC) : -1;
    if (status == OMEN_OK && fd < 0)
        status = omen_fail(&reason, OMEN_ERR_MEMORY, "no memory to unpack into: %s", strerror(errno));
    if (status == OMEN_OK)
        status = start_peeking(&p, omz, fd, &reason);
    if (status == OMEN_OK)
        status = peek_container(&p);
    stop_peeking(&p);
    if (status == OMEN_OK)
        status = open_structure(&inner, fd, &reason);
    if (status == OMEN_OK && omz->original_bytes > memory_bytes) {
        status =
            omen_fail(&reason, OMEN_ERR_MEMORY,
                      "unpacked it takes %llu MiB of memory, and %llu MiB are to be had; unpack it to a file first",
                      (unsigned long long)(omz->original_bytes >> 20), (unsigned long long)(memory_bytes >> 20));
    }
    if (status == OMEN_OK)
        status = omen_omz_unpack_to(omz, fd, true, 0, NULL, NULL, &reason);
    omen_omz_close(omz);
    if (fd >= 0)
        close(fd);
    if (status != OMEN_OK) {
        omen_container_close(inner);
        return omen_fail(why, status, "\"%s\": %s", path, reason.text);
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
    int status = omen_spool_check_room(fd, omz->original_bytes, why);

    if (status != OMEN_OK)
        return status;
    status = start_peeking(&p, omz, fd, why);
    if (status == OMEN_OK)
        status = peek(&p, 0, VECTORS_HEAD_BYTES);
    if (status == OMEN_OK && omz->n_blocks > 0)
        status = peek(&p, last->raw_offset, last->raw);
    stop_peeking(&p);
    if (status == OMEN_OK && omz->original_bytes > 0)
        status = check(context, fd, why);
    return status == OMEN_OK ? omen_omz_unpack_to(omz, fd, true, 0, NULL, NULL, why) : status;
}

/* Codes as the rows they stand for. */
static int reconstruct(const omen_container *container, int fd, omen_detail *why)
{
    omen_codes *codes = NULL;
    size_t n;
    const omen_section *sections = omen_container_sections(container, &n);
    int status = omen_codes_open(&codes, sections, n, why);
    if (status == OMEN_OK)
        status = omen_spool_check_room(fd, omen_codes_source(codes).n_bytes, why);
    const int copy = status == OMEN_OK ? dup(fd) : -1;
    FILE *stream = copy >= 0 ? fdopen(copy, "w") : NULL;

    if (status == OMEN_OK && !stream) {
        status = omen_fail(why, OMEN_ERR_IO, "cannot write a temporary copy: %s", strerror(errno));
        if (copy >= 0)
            close(copy);
    }
    if (status == OMEN_OK) {
        const omen_source source = omen_codes_source(codes);
        status = omen_bin_write(stream, &source, NULL, NULL, why);
    }
    if (stream && fclose(stream) != 0 && status == OMEN_OK)
        status = omen_fail(why, OMEN_ERR_IO, "cannot write a temporary copy: %s", strerror(errno));
    omen_codes_close(codes);
    return status;
}

int omen_omz_unpack_input(int from, const char *label, const char *path, omen_head_fn check, void *context, int *fd,
                          bool *is_fbin, omen_detail *why)
{
    omen_container *container = NULL;
    omen_omz *omz = NULL;
    omen_detail reason = {""};
    size_t n = 0;
    const omen_section *sections = NULL;
    const size_t length = strlen(path), n_suffix = strlen(OMZ_SUFFIX);
    const bool is_named_so = length > n_suffix && strcmp(path + length - n_suffix, OMZ_SUFFIX) == 0;
    int status = omen_container_open_fd(&container, from, path, why);

    *fd = -1;
    *is_fbin = false;
    if (status == OMEN_OK) {
        sections = omen_container_sections(container, &n);
        *is_fbin = omen_codes_are(sections, n);
    }
    if (status != OMEN_OK || (!omen_omz_is(container) && !*is_fbin)) {
        omen_container_close(container);
        return is_named_so ? status : OMEN_OK; /* damage is told of what should be compressed vectors only */
    }
    if (!*is_fbin)
        status = omen_omz_open(&omz, container, &reason);
    if (status == OMEN_OK && omz && omz->is_index) { /* told by the caller as what it is */
        omen_omz_close(omz);
        omen_container_close(container);
        return OMEN_OK;
    }
    if (status == OMEN_OK)
        status = omen_spool_open(label, fd, &reason);
    if (status == OMEN_OK)
        status = omz ? unpack_vectors(omz, *fd, check, context, &reason) : reconstruct(container, *fd, &reason);
    omen_omz_close(omz);
    omen_container_close(container);
    /* what check says names the input already */
    return status == OMEN_OK || strstr(reason.text, label) == reason.text
               ? (status == OMEN_OK ? OMEN_OK : omen_fail(why, status, "%s", reason.text))
               : omen_fail(why, status, "%s: %s", label, reason.text);
}
