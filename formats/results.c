/* SPDX-License-Identifier: Apache-2.0 */
/* Result writers. Text and binary alike go through one buffer, so that the stream sees few large writes. */
#include "formats/omendb_files.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_BYTES 65536
#define ITEM_BYTES   64 /* no single put writes more than this */

typedef struct buffer {
    FILE *stream;
    size_t n;
    int failed;  /* errno of the first write that failed */
    char *bytes; /* BUFFER_BYTES + ITEM_BYTES: too many for the stack */
} buffer;

static void buffer_flush(buffer *out)
{
    errno = 0;
    if (!out->failed && out->n > 0 && fwrite(out->bytes, 1, out->n, out->stream) != out->n)
        out->failed = errno ? errno : EIO;
    out->n = 0;
}

/* Room for one more item. */
static inline char *buffer_room(buffer *out)
{
    if (out->n > BUFFER_BYTES)
        buffer_flush(out);
    return out->bytes + out->n;
}

static int buffer_finish(buffer *out, omen_detail *why)
{
    buffer_flush(out);
    free(out->bytes);
    if (out->failed)
        return omen_fail(why, OMEN_ERR_IO, "cannot write the results: %s", strerror(out->failed));
    return OMEN_OK;
}

static inline void put_text(buffer *out, const char *text, size_t n)
{
    memcpy(buffer_room(out), text, n);
    out->n += n;
}

#define PUT(out, literal) put_text(out, literal, sizeof(literal) - 1)

static void put_integer(buffer *out, int64_t value)
{
    char digits[24];
    size_t at = sizeof(digits);
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0)
        digits[--at] = '-';
    put_text(out, digits + at, sizeof(digits) - at);
}

/* As %.9g, which gives every float32 back exactly. Whole numbers, the squared distances of byte vectors, are common
 * enough to have a faster way. */
static void put_distance(buffer *out, float value)
{
    if (value > -1e9f && value < 1e9f && (float)(int32_t)value == value && (value != 0 || !signbit(value)))
        put_integer(out, (int32_t)value);
    else
        out->n += (size_t)snprintf(buffer_room(out), ITEM_BYTES, "%.9g", (double)value);
}

static void put_le(buffer *out, uint64_t value, unsigned n_bytes)
{
    unsigned char *to = (unsigned char *)buffer_room(out);
    for (unsigned i = 0; i < n_bytes; i++)
        to[i] = (unsigned char)(value >> 8 * i);
    out->n += n_bytes;
}

static void put_float(buffer *out, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    put_le(out, bits, 4);
}

static void write_tsv(buffer *out, uint64_t query, uint32_t k, const int64_t *ids, const float *distances)
{
    for (uint32_t i = 0; i < k; i++) {
        put_integer(out, (int64_t)query);
        PUT(out, "\t");
        put_integer(out, (int64_t)i + 1);
        PUT(out, "\t");
        put_integer(out, ids[i]);
        if (distances != NULL) {
            PUT(out, "\t");
            put_distance(out, distances[i]);
        }
        PUT(out, "\n");
    }
}

static void write_jsonl(buffer *out, uint64_t query, uint32_t k, const int64_t *ids, const float *distances)
{
    PUT(out, "{\"query\":");
    put_integer(out, (int64_t)query);
    PUT(out, ",\"ids\":[");
    for (uint32_t i = 0; i < k; i++) {
        if (i > 0)
            PUT(out, ",");
        put_integer(out, ids[i]);
    }
    if (distances != NULL) {
        PUT(out, "],\"distances\":[");
        for (uint32_t i = 0; i < k; i++) {
            if (i > 0)
                PUT(out, ",");
            /* JSON has no word for a distance that overflowed. */
            if (isfinite(distances[i]))
                put_distance(out, distances[i]);
            else
                PUT(out, "null");
        }
    }
    PUT(out, "]}\n");
}

static void write_ivecs(buffer *out, uint32_t k, const int64_t *ids)
{
    put_le(out, k, 4);
    for (uint32_t i = 0; i < k; i++)
        put_le(out, (uint64_t)ids[i], 4);
}

static void write_npy(buffer *out, uint32_t k, const int64_t *ids, const float *distances)
{
    for (uint32_t i = 0; i < k; i++) {
        put_le(out, (uint64_t)ids[i], 8);
        if (distances != NULL)
            put_float(out, distances[i]);
    }
}

/* ---- public ------------------------------------------------------------ */

int omen_results_parse(const char *name, omen_results_format *out)
{
    static const char *const names[] = {
        [OMEN_RESULTS_TSV] = "tsv",
        [OMEN_RESULTS_JSONL] = "jsonl",
        [OMEN_RESULTS_IVECS] = "ivecs",
        [OMEN_RESULTS_NPY] = "npy",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (omen_results_format)i;
            return OMEN_OK;
        }
    }
    return OMEN_ERR_ARGUMENT;
}

int omen_results_begin(const omen_results *results, omen_detail *why)
{
    if (results->format == OMEN_RESULTS_IVECS && results->k > INT32_MAX)
        return omen_fail(why, OMEN_ERR_INPUT, "%u results a query are more than ivecs can hold", results->k);
    if (results->format != OMEN_RESULTS_NPY)
        return OMEN_OK;

    /* The header's text is padded so that the array starts at a multiple of 64 bytes. */
    enum { PREFIX_BYTES = 10, HEADER_BYTES = 192 };
    char header[HEADER_BYTES] = "\x93NUMPY\x01";
    int n = snprintf(header + PREFIX_BYTES, sizeof(header) - PREFIX_BYTES,
                     "{'descr': %s, 'fortran_order': False, 'shape': (%" PRIu64 ", %u), }",
                     results->with_distances ? "[('id', '<i8'), ('distance', '<f4')]" : "'<i8'", results->n_queries,
                     results->k);
    size_t used = PREFIX_BYTES + (size_t)n, total = (used + 1 + 63) / 64 * 64;
    memset(header + used, ' ', total - used - 1);
    header[total - 1] = '\n';
    header[8] = (char)((total - PREFIX_BYTES) & 0xff);
    header[9] = (char)((total - PREFIX_BYTES) >> 8);
    errno = 0;
    if (fwrite(header, 1, total, results->stream) != total)
        return omen_fail(why, OMEN_ERR_IO, "cannot write the results: %s", strerror(errno ? errno : EIO));
    return OMEN_OK;
}

int omen_results_write(const omen_results *results, uint64_t first, uint64_t n, const int64_t *ids,
                       const float *distances, omen_detail *why)
{
    uint32_t k = results->k;
    buffer out;
    out.stream = results->stream;
    out.n = 0;
    out.failed = 0;

    if (!results->with_distances)
        distances = NULL;
    else if (distances == NULL && results->format == OMEN_RESULTS_NPY)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the npy output announced distances and got none");
    if (results->format == OMEN_RESULTS_IVECS) {
        for (uint64_t i = 0; i < n * k; i++) {
            if (ids[i] < INT32_MIN || ids[i] > INT32_MAX) {
                return omen_fail(why, OMEN_ERR_INPUT,
                                 "query %" PRIu64 " found row %" PRId64 ", beyond the int32 ids of ivecs: use npy",
                                 first + i / k, ids[i]);
            }
        }
    }
    out.bytes = malloc(BUFFER_BYTES + ITEM_BYTES);
    if (out.bytes == NULL)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the results");
    for (uint64_t i = 0; i < n && !out.failed; i++) {
        const int64_t *query_ids = ids + i * k;
        const float *query_distances = distances != NULL ? distances + i * k : NULL;
        switch (results->format) {
        case OMEN_RESULTS_TSV:
            write_tsv(&out, first + i, k, query_ids, query_distances);
            break;
        case OMEN_RESULTS_JSONL:
            write_jsonl(&out, first + i, k, query_ids, query_distances);
            break;
        case OMEN_RESULTS_IVECS:
            write_ivecs(&out, k, query_ids);
            break;
        case OMEN_RESULTS_NPY:
            write_npy(&out, k, query_ids, query_distances);
            break;
        }
    }
    return buffer_finish(&out, why);
}
