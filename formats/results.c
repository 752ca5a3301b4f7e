/* SPDX-License-Identifier: Apache-2.0 */
/* Result writers: the table of formats. Text and binary alike go through one buffer, so that the stream sees few large
 * writes. */
#include "formats/results.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_BYTES 65536
#define ITEM_BYTES   64 /* no single put writes more than this */

struct omen_results_buffer {
    FILE *stream;
    size_t n;
    int failed;  /* errno of the first write that failed */
    char *bytes; /* BUFFER_BYTES + ITEM_BYTES: too many for the stack */
};
typedef struct omen_results_buffer buffer;

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

/* ---- one query in each format ------------------------------------------ */

static void write_tsv(buffer *out, uint64_t query, uint32_t n, uint32_t k, const int64_t *ids, const float *distances)
{
    for (uint32_t i = 0; i < n; i++) {
        put_integer(out, (int64_t)query);
        PUT(out, "\t");
        put_integer(out, (int64_t)i + 1);
        PUT(out, "\t");
        put_integer(out, ids[i]);
        if (distances) {
            PUT(out, "\t");
            put_distance(out, distances[i]);
        }
        PUT(out, "\n");
    }
}

static void write_jsonl(buffer *out, uint64_t query, uint32_t n, uint32_t k, const int64_t *ids, const float *distances)
{
    PUT(out, "{\"query\":");
    put_integer(out, (int64_t)query);
    PUT(out, ",\"ids\":[");
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0)
            PUT(out, ",");
        put_integer(out, ids[i]);
    }
    if (distances) {
        PUT(out, "],\"distances\":[");
        for (uint32_t i = 0; i < n; i++) {
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

static int begin_ivecs(const omen_results *results, omen_detail *why)
{
    if (results->k > INT32_MAX)
        return omen_fail(why, OMEN_ERR_INPUT, "%u results a query are more than ivecs can hold", results->k);
    return OMEN_OK;
}

static void write_ivecs(buffer *out, uint64_t query, uint32_t n, uint32_t k, const int64_t *ids, const float *distances)
{
    put_le(out, k, 4);
    for (uint32_t i = 0; i < k; i++)
        put_le(out, (uint64_t)(i < n ? ids[i] : OMEN_NO_ROW), 4);
}

static int begin_npy(const omen_results *results, omen_detail *why)
{
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

static void write_npy(buffer *out, uint64_t query, uint32_t n, uint32_t k, const int64_t *ids, const float *distances)
{
    for (uint32_t i = 0; i < k; i++) {
        put_le(out, (uint64_t)(i < n ? ids[i] : OMEN_NO_ROW), 8);
        if (distances)
            put_float(out, i < n ? distances[i] : INFINITY);
    }
}

/* ---- the table --------------------------------------------------------- */

static const omen_results_writer writers[] = {
    [OMEN_RESULTS_TSV] =
        {
            .name = "tsv",
            .help = "a line per neighbour: query, rank from 1, row, and the distance if asked for",
            .has_distances = true,
            .most_id = INT64_MAX,
            .begin = NULL,
            .write = write_tsv,
        },
    [OMEN_RESULTS_JSONL] =
        {
            .name = "jsonl",
            .help = "a line per query: {\"query\":0,\"ids\":[...],\"distances\":[...]}",
            .has_distances = true,
            .most_id = INT64_MAX,
            .begin = NULL,
            .write = write_jsonl,
        },
    [OMEN_RESULTS_IVECS] =
        {
            .name = "ivecs",
            .help = "per query the int32 k, then k int32 rows",
            .is_binary = true,
            .most_id = INT32_MAX,
            .begin = begin_ivecs,
            .write = write_ivecs,
        },
    [OMEN_RESULTS_NPY] =
        {
            .name = "npy",
            .help = "int64 array of queries x k; with distances a structured array (id, distance)",
            .is_binary = true,
            .has_distances = true,
            .has_fixed_fields = true,
            .most_id = INT64_MAX,
            .begin = begin_npy,
            .write = write_npy,
        },
};
#define N_WRITERS (sizeof(writers) / sizeof(writers[0]))

const omen_results_writer *omen_results_writer_at(size_t i)
{
    return i < N_WRITERS ? &writers[i] : NULL;
}

const char *omen_results_name(size_t i)
{
    return i < N_WRITERS ? writers[i].name : NULL;
}

int omen_results_parse(const char *name, omen_results_format *out)
{
    for (size_t i = 0; i < N_WRITERS; i++) {
        if (strcmp(name, writers[i].name) == 0) {
            *out = (omen_results_format)i;
            return OMEN_OK;
        }
    }
    return OMEN_ERR_ARGUMENT;
}

/* ---- writing ----------------------------------------------------------- */

int omen_results_begin(const omen_results *results, omen_detail *why)
{
    const omen_results_writer *writer = &writers[results->format];
    return writer->begin ? writer->begin(results, why) : OMEN_OK;
}

/* Names the first row whose number the format does not hold. */
static int check_ids(const omen_results *results, uint64_t first, uint64_t n, const int64_t *ids, omen_detail *why)
{
    const omen_results_writer *writer = &writers[results->format];
    for (uint64_t i = 0; i < n && writer->most_id < INT64_MAX; i++) {
        const int64_t *query_ids = ids + i * results->k;
        const uint32_t n_found = omen_found_count(query_ids, results->k);
        for (uint32_t j = 0; j < n_found; j++) {
            if (query_ids[j] < -writer->most_id - 1 || query_ids[j] > writer->most_id) {
                return omen_fail(why, OMEN_ERR_INPUT,
                                 "query %" PRIu64 " found row %" PRId64 ", beyond the int32 ids of %s: use npy",
                                 first + i, query_ids[j], writer->name);
            }
        }
    }
    return OMEN_OK;
}

int omen_results_write(const omen_results *results, uint64_t first, uint64_t n, const int64_t *ids,
                       const float *distances, omen_detail *why)
{
    const omen_results_writer *writer = &writers[results->format];
    const uint32_t k = results->k;
    buffer out;
    out.stream = results->stream;
    out.n = 0;
    out.failed = 0;

    if (!results->with_distances)
        distances = NULL;
    else if (!distances && writer->has_fixed_fields)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the %s output announced distances and got none", writer->name);
    int status = check_ids(results, first, n, ids, why);
    if (status != OMEN_OK)
        return status;
    out.bytes = malloc(BUFFER_BYTES + ITEM_BYTES);
    if (!out.bytes)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the results");
    for (uint64_t i = 0; i < n && !out.failed; i++) {
        const int64_t *query_ids = ids + i * k;
        writer->write(&out, first + i, omen_found_count(query_ids, k), k, query_ids,
                      distances ? distances + i * k : NULL);
    }
    return buffer_finish(&out, why);
}
