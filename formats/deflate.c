/* SPDX-License-Identifier: Apache-2.0 */
/* zlib's inflate, with memory that is asked for here. */
#include "formats/deflate.h"
#include "formats/file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define CHUNK_BYTES  ((size_t)1 << 20)
#define WINDOW_BITS  15
#define GZIP_HEADERS 16 /* added to it */

static void *allocate(void *opaque, unsigned n, unsigned size)
{
    return calloc(n, size);
}

static void release(void *opaque, void *memory)
{
    free(memory);
}

/* Writes n bytes of out, what the stream has given last. */
static int keep(omen_inflate *work, const unsigned char *out, size_t n, omen_detail *reason)
{
    if (n > work->most_bytes - work->n_written)
        return omen_fail(reason, OMEN_ERR_INPUT, "it unpacks to more than the %llu bytes that it should have",
                         (unsigned long long)work->most_bytes);
    if (omen_write_all(work->fd, out, n) != 0)
        return omen_fail(reason, OMEN_ERR_IO, "%s", strerror(errno));
    if (work->form == OMEN_INFLATE_RAW)
        work->checksum = (uint32_t)crc32_z(work->checksum, out, n);
    work->n_written += n;
    if (work->progress && work->progress(work->context, "unpack", work->first + work->n_read, work->total) != 0)
        return omen_fail(reason, OMEN_ERR_INTERRUPTED, "interrupted");
    return OMEN_OK;
}

static int fail_inflate(int result, const z_stream *stream, omen_detail *reason)
{
    switch (result) {
    case Z_MEM_ERROR:
        return omen_fail(reason, OMEN_ERR_MEMORY, "out of memory to unpack it");
    case Z_BUF_ERROR:
        return omen_fail(reason, OMEN_ERR_INPUT, "it is cut short: the compressed data has no end");
    default:
        return omen_fail(reason, OMEN_ERR_INPUT, "its compressed data is damaged: %s",
                         stream->msg ? stream->msg : "it is not deflate");
    }
}

int omen_inflate_run(omen_inflate *work, omen_detail *reason)
{
    z_stream stream = {.zalloc = allocate, .zfree = release};
    unsigned char *out = malloc(CHUNK_BYTES);
    int result = Z_OK, status = OMEN_OK;

    work->n_read = work->n_written = 0;
    work->checksum = 0;
    if (!out)
        return omen_fail(reason, OMEN_ERR_MEMORY, "out of memory to unpack it");
    result = inflateInit2(&stream, work->form == OMEN_INFLATE_GZIP ? GZIP_HEADERS + WINDOW_BITS : -WINDOW_BITS);
    if (result != Z_OK) {
        free(out);
        return fail_inflate(result, &stream, reason);
    }
    while (status == OMEN_OK && result != Z_STREAM_END) {
        const uint64_t left = work->n_from - work->n_read;
        const unsigned n = left < CHUNK_BYTES ? (unsigned)left : (unsigned)CHUNK_BYTES;
        stream.next_in = (unsigned char *)work->from + work->n_read; /* which zlib does not write to */
        stream.avail_in = n;
        stream.next_out = out;
        stream.avail_out = CHUNK_BYTES;
        result = inflate(&stream, Z_NO_FLUSH);
        work->n_read += n - stream.avail_in;
        if (result != Z_OK && result != Z_STREAM_END)
            status = fail_inflate(result, &stream, reason);
        else
            status = keep(work, out, CHUNK_BYTES - stream.avail_out, reason);
    }
    inflateEnd(&stream);
    free(out);
    return status;
}

int omen_inflate_head(const unsigned char *from, uint64_t n_from, unsigned char *out, unsigned *n_out,
                      omen_detail *reason)
{
    z_stream stream = {.zalloc = allocate, .zfree = release};
    int result = inflateInit2(&stream, -WINDOW_BITS);
    if (result != Z_OK)
        return fail_inflate(result, &stream, reason);
    stream.next_in = (unsigned char *)from; /* which zlib does not write to */
    stream.avail_in = n_from < UINT32_MAX ? (unsigned)n_from : UINT32_MAX;
    stream.next_out = out;
    stream.avail_out = *n_out;
    result = inflate(&stream, Z_NO_FLUSH);
    const bool is_sound = result == Z_OK || result == Z_STREAM_END || (result == Z_BUF_ERROR && stream.avail_out == 0);
    const int status = is_sound ? OMEN_OK : fail_inflate(result, &stream, reason);
    *n_out -= stream.avail_out;
    inflateEnd(&stream);
    return status;
}

uint32_t omen_crc32(const unsigned char *bytes, uint64_t n_bytes)
{
    return (uint32_t)crc32_z(0, bytes, n_bytes);
}

uint32_t omen_crc32_more(uint32_t checksum, const unsigned char *bytes, uint64_t n_bytes)
{
    return (uint32_t)crc32_z(checksum, bytes, n_bytes);
}
