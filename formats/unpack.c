/* SPDX-License-Identifier: Apache-2.0 */
/* gzip and zstd, member after member and frame after frame, into a temporary file. What is unpacked is written as it
 * comes, so that a small file which holds terabytes ends where TMPDIR does. */
#include "formats/unpack.h"
#include "formats/container_format.h"
#include "formats/deflate.h"
#include "formats/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <zstd.h>
#include <zstd_errors.h>

#define CHUNK_BYTES ((size_t)1 << 20)

/* ---- gzip -------------------------------------------------------------- */

/* A header that gzip could have written: no reserved flag, and one of the levels and systems there are. */
static bool is_gzip(const unsigned char *bytes, uint64_t n_bytes)
{
    return n_bytes >= 10 && (bytes[3] & 0xe0) == 0 && (bytes[8] == 0 || bytes[8] == 2 || bytes[8] == 4) &&
           (bytes[9] <= 13 || bytes[9] == 255);
}

/* Whether nothing but zeros is left, with which tapes and blocks are filled up. */
static bool is_padding(const unsigned char *bytes, uint64_t n_bytes)
{
    while (n_bytes > 0 && *bytes == 0) {
        bytes++;
        n_bytes--;
    }
    return n_bytes == 0;
}

static int expand_gzip(const omen_compression *self, const unsigned char *bytes, uint64_t n_bytes, int fd,
                       omen_progress_fn progress, void *context, omen_detail *reason)
{
    int status = OMEN_OK;
    for (uint64_t at = 0; at < n_bytes && status == OMEN_OK;) {
        const uint64_t left = n_bytes - at;
        if (at > 0 && is_padding(bytes + at, left))
            break;
        if (at > 0 && (left < self->n_magic || memcmp(bytes + at, self->magic, self->n_magic) != 0))
            return omen_fail(reason, OMEN_ERR_INPUT, "what follows its %llu bytes of gzip is not gzip",
                             (unsigned long long)at);
        omen_inflate work = {.form = OMEN_INFLATE_GZIP,
                             .from = bytes + at,
                             .n_from = left,
                             .first = at,
                             .total = n_bytes,
                             .fd = fd,
                             .most_bytes = UINT64_MAX,
                             .progress = progress,
                             .context = context};
        status = omen_inflate_run(&work, reason);
        at += work.n_read;
    }
    return status;
}

/* ---- zstd -------------------------------------------------------------- */

#define SKIPPABLE_BYTES 8u /* the mark of a frame to be skipped, and the length that follows */

/* The bytes behind the frames to be skipped, with which some writers begin, such as pzstd. */
static const unsigned char *skip_frames(const unsigned char *bytes, uint64_t *n_bytes)
{
    while (*n_bytes >= SKIPPABLE_BYTES && (container_load_u32(bytes) & 0xfffffff0u) == ZSTD_MAGIC_SKIPPABLE_START) {
        const uint64_t n = SKIPPABLE_BYTES + (uint64_t)container_load_u32(bytes + 4);
        if (n > *n_bytes)
            break;
        bytes += n;
        *n_bytes -= n;
    }
    return bytes;
}

static int fail_zstd(size_t result, omen_detail *reason)
{
    switch (ZSTD_getErrorCode(result)) {
    case ZSTD_error_memory_allocation:
        return omen_fail(reason, OMEN_ERR_MEMORY, "out of memory to unpack it");
    case ZSTD_error_frameParameter_windowTooLarge:
        return omen_fail(reason, OMEN_ERR_INPUT, "it was compressed with a window of more than 128 MiB");
    default:
        return omen_fail(reason, OMEN_ERR_INPUT, "its zstd data is damaged: %s", ZSTD_getErrorName(result));
    }
}

static int expand_zstd(const omen_compression *self, const unsigned char *bytes, uint64_t n_bytes, int fd,
                       omen_progress_fn progress, void *context, omen_detail *reason)
{
    ZSTD_DStream *stream = ZSTD_createDStream();
    unsigned char *out = malloc(CHUNK_BYTES);
    ZSTD_inBuffer from = {.src = bytes, .size = 0};
    size_t left = 1; /* of the frame: 0 at its end */
    bool is_full = false;
    int status = stream && out ? OMEN_OK : omen_fail(reason, OMEN_ERR_MEMORY, "out of memory to unpack it");
    const unsigned long long claimed = ZSTD_getFrameContentSize(bytes, n_bytes); /* of the first frame, if it says so */

    if (status == OMEN_OK && claimed != ZSTD_CONTENTSIZE_UNKNOWN && claimed != ZSTD_CONTENTSIZE_ERROR)
        status = omen_spool_check_room(fd, claimed, reason);
    while (status == OMEN_OK && (from.pos < n_bytes || is_full)) {
        ZSTD_outBuffer to = {.dst = out, .size = CHUNK_BYTES};
        if (from.pos == from.size)
            from.size = n_bytes - from.size < CHUNK_BYTES ? n_bytes : from.size + CHUNK_BYTES;
        left = ZSTD_decompressStream(stream, &to, &from);
        is_full = left != 0 && to.pos == to.size; /* it may hold more, without more to read */
        if (ZSTD_isError(left))
            status = fail_zstd(left, reason);
        else if (omen_write_all(fd, out, to.pos) != 0)
            status = omen_fail(reason, OMEN_ERR_IO, "%s", strerror(errno));
        else if (progress && progress(context, "unpack", from.pos, n_bytes) != 0)
            status = omen_fail(reason, OMEN_ERR_INTERRUPTED, "interrupted");
    }
    if (status == OMEN_OK && left != 0)
        status = omen_fail(reason, OMEN_ERR_INPUT, "it is cut short: its last frame of zstd has no end");
    free(out);
    ZSTD_freeDStream(stream);
    return status;
}

/* ---- the table --------------------------------------------------------- */

static const omen_compression compressions[] = {
    {"\x1f\x8b\x08", 3, "gzip", ".gz", "zcat", expand_gzip},
    {"\x28\xb5\x2f\xfd", 4, "zstd", ".zst", "zstdcat", expand_zstd},
    {"\xfd"
     "7zXZ\0",
     6, "xz", ".xz", "xzcat", NULL},
    {"BZh", 3, "bzip2", ".bz2", "bzcat", NULL},
    {"\x04\x22\x4d\x18", 4, "lz4", ".lz4", "lz4cat", NULL},
};
#define N_COMPRESSIONS (sizeof compressions / sizeof compressions[0])

const omen_compression *omen_compression_of(const unsigned char *bytes, uint64_t n_bytes)
{
    static const char block[] = "1AY&SY"; /* of bzip2, behind its level */
    for (size_t i = 0; i < N_COMPRESSIONS; i++) {
        const omen_compression *c = &compressions[i];
        uint64_t n_left = n_bytes;
        const unsigned char *first = c->expand == expand_zstd ? skip_frames(bytes, &n_left) : bytes;
        if (n_left < c->n_magic || memcmp(first, c->magic, c->n_magic) != 0)
            continue;
        if (i == 0 && !is_gzip(bytes, n_bytes))
            continue;
        if (c->n_magic == 3 && i > 0 && (n_bytes < 10 || memcmp(bytes + 4, block, 6) != 0))
            continue;
        return c;
    }
    return NULL;
}

bool omen_compression_may_begin(const unsigned char *bytes, uint64_t n_bytes)
{
    static const unsigned char skippable[] = {0x2a, 0x4d, 0x18}; /* of zstd, behind 0x50 to 0x5f */
    for (size_t i = 0; i < N_COMPRESSIONS; i++)
        if (memcmp(bytes, compressions[i].magic,
                   n_bytes < compressions[i].n_magic ? n_bytes : compressions[i].n_magic) == 0)
            return true;
    return n_bytes > 0 && bytes[0] >> 4 == 5 &&
           memcmp(bytes + 1, skippable, n_bytes - 1 < sizeof skippable ? n_bytes - 1 : sizeof skippable) == 0;
}

size_t omen_compression_stem(const char *path)
{
    const size_t length = strlen(path);
    for (size_t i = 0; i < N_COMPRESSIONS; i++) {
        const size_t n = strlen(compressions[i].suffix);
        if (compressions[i].expand && length > n && strcasecmp(path + length - n, compressions[i].suffix) == 0)
            return length - n;
    }
    return length;
}

int omen_compression_expand(const omen_compression *compression, const unsigned char *bytes, uint64_t n_bytes,
                            const char *label, omen_progress_fn progress, void *context, int *fd, omen_detail *why)
{
    omen_detail reason = {""};
    int status = omen_spool_open(label, fd, why);
    if (status != OMEN_OK)
        return status;
    status = compression->expand(compression, bytes, n_bytes, *fd, progress, context, &reason);
    if (status == OMEN_OK)
        return OMEN_OK;
    close(*fd);
    *fd = -1;
    return omen_fail(why, status, status == OMEN_ERR_IO ? "cannot write the temporary copy of %s: %s" : "%s: %s", label,
                     reason.text);
}
