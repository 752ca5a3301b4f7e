/* SPDX-License-Identifier: Apache-2.0 */
/* Result writers: the table of formats. Text and binary alike go through one buffer, so that the stream sees few large
 * writes. */
#include "formats/results.h"
#include "formats/hdf5_file.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_BYTES 65536
#define ITEM_BYTES   64 /* no single put writes more than this */

typedef struct omen_results_buffer buffer;

int omen_results_buffer_init(buffer *out, FILE *stream)
{
    *out = (buffer){.stream = stream};
    out->bytes = stream ? malloc(BUFFER_BYTES + ITEM_BYTES) : NULL;
    return stream && !out->bytes ? OMEN_ERR_MEMORY : OMEN_OK;
}

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

int omen_results_buffer_finish(buffer *out, omen_detail *why)
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

/* Text of any length. */
static void put_long_text(buffer *out, const char *text, size_t n)
{
    for (size_t done = 0, part; done < n; done += part) {
        part = n - done < ITEM_BYTES ? n - done : ITEM_BYTES;
        put_text(out, text + done, part);
    }
}

#define PUT(out, literal) put_text(out, literal, sizeof(literal) - 1)

static void put_number(buffer *out, uint64_t value, bool is_negative)
{
    char digits[24];
    size_t at = sizeof(digits);
    uint64_t rest = is_negative ? 0 - value : value;
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (is_negative)
        digits[--at] = '-';
    put_text(out, digits + at, sizeof(digits) - at);
}

static void put_integer(buffer *out, int64_t value)
{
    put_number(out, (uint64_t)value, value < 0);
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

/* A row, by its key or, where that is NULL, its number; text as it is. */
static void put_row(buffer *out, const omen_row_key *key, int64_t row)
{
    if (!key)
        put_integer(out, row);
    else if (key->kind == OMEN_KEYS_TEXT)
        put_long_text(out, key->text, key->n_bytes);
    else
        put_number(out, key->number, key->kind == OMEN_KEYS_INT64 && key->number >> 63);
}

/* Neighbour i. */
static void put_name(buffer *out, const omen_results_found *found, uint32_t i)
{
    if (found->labels) {
        put_long_text(out, found->labels[i], strlen(found->labels[i]));
        PUT(out, ":");
    }
    put_row(out, found->keys ? &found->keys[i] : NULL, found->ids[i]);
}

static void put_query(buffer *out, const omen_results_found *found)
{
    put_row(out, found->query_key, (int64_t)found->query);
}

static int begin_lines(const omen_results *results, const omen_index_info *info, omen_detail *why)
{
    const char *d = results->format == OMEN_RESULTS_CSV ? "," : "\t";
    errno = 0;
    if (results->with_header &&
        fprintf(results->stream, "query%srank%s%s%s%s\n", d, d, info ? "key" : "row", results->with_distances ? d : "",
                results->with_distances ? "distance" : "") < 0)
        return omen_fail(why, OMEN_ERR_IO, "cannot write the results: %s", strerror(errno ? errno : EIO));
    return OMEN_OK;
}

static void write_tsv(buffer *out, const omen_results_found *found)
{
    for (uint32_t i = 0; i < found->n; i++) {
        put_query(out, found);
        PUT(out, "\t");
        put_integer(out, (int64_t)i + 1);
        PUT(out, "\t");
        put_name(out, found, i);
        if (found->distances) {
            PUT(out, "\t");
            put_distance(out, found->distances[i]);
        }
        PUT(out, "\n");
    }
}

static bool needs_quotes(const char *text, size_t n_bytes)
{
    return memchr(text, ',', n_bytes) || memchr(text, '"', n_bytes);
}

/* A part of a field of csv, in which a quote stands twice. */
static void put_csv_part(buffer *out, const char *text, size_t n_bytes)
{
    size_t from = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        if (text[i] != '"')
            continue;
        put_long_text(out, text + from, i + 1 - from);
        from = i; /* so that it stands there twice */
    }
    put_long_text(out, text + from, n_bytes - from);
}

/* A row, by its key or number, behind its label or NULL, as a field of csv (RFC 4180). A key has no ends of lines, and
 * so has a label. */
static void put_csv(buffer *out, const char *label, const omen_row_key *key, int64_t row)
{
    const bool is_text = key && key->kind == OMEN_KEYS_TEXT;
    const bool is_quoted =
        (label && needs_quotes(label, strlen(label))) || (is_text && needs_quotes(key->text, key->n_bytes));
    if (is_quoted)
        PUT(out, "\"");
    if (label) {
        put_csv_part(out, label, strlen(label));
        PUT(out, ":");
    }
    if (is_text)
        put_csv_part(out, key->text, key->n_bytes);
    else
        put_row(out, key, row);
    if (is_quoted)
        PUT(out, "\"");
}

static void write_csv(buffer *out, const omen_results_found *found)
{
    for (uint32_t i = 0; i < found->n; i++) {
        put_csv(out, NULL, found->query_key, (int64_t)found->query);
        PUT(out, ",");
        put_integer(out, (int64_t)i + 1);
        PUT(out, ",");
        put_csv(out, found->labels ? found->labels[i] : NULL, found->keys ? &found->keys[i] : NULL, found->ids[i]);
        if (found->distances) {
            PUT(out, ",");
            put_distance(out, found->distances[i]);
        }
        PUT(out, "\n");
    }
}

/* A key has no control characters: two others have a meaning in a string of JSON. */
static void put_json_part(buffer *out, const char *text, size_t n_bytes)
{
    size_t from = 0;
    for (size_t i = 0; i < n_bytes; i++) {
        if (text[i] != '"' && text[i] != '\\')
            continue;
        put_long_text(out, text + from, i - from);
        PUT(out, "\\");
        from = i;
    }
    put_long_text(out, text + from, n_bytes - from);
}

static void put_json_text(buffer *out, const omen_row_key *key)
{
    PUT(out, "\"");
    put_json_part(out, key->text, key->n_bytes);
    PUT(out, "\"");
}

/* Neighbour i: a string, unless it is a number without a label. */
static void put_json_name(buffer *out, const omen_results_found *found, uint32_t i)
{
    const omen_row_key *key = found->keys ? &found->keys[i] : NULL;
    const bool is_text = key && key->kind == OMEN_KEYS_TEXT;
    if (!found->labels && !is_text) {
        put_row(out, key, found->ids[i]);
        return;
    }
    PUT(out, "\"");
    if (found->labels) {
        put_json_part(out, found->labels[i], strlen(found->labels[i]));
        PUT(out, ":");
    }
    if (is_text)
        put_json_part(out, key->text, key->n_bytes);
    else
        put_row(out, key, found->ids[i]);
    PUT(out, "\"");
}

static void write_jsonl(buffer *out, const omen_results_found *found)
{
    PUT(out, "{\"query\":");
    if (found->query_key && found->key_kind == OMEN_KEYS_TEXT)
        put_json_text(out, found->query_key);
    else
        put_query(out, found);
    if (found->keys && !found->names_are_rows)
        PUT(out, ",\"keys\":[");
    else
        PUT(out, ",\"rows\":[");
    for (uint32_t i = 0; i < found->n; i++) {
        if (i > 0)
            PUT(out, ",");
        put_json_name(out, found, i);
    }
    if (found->distances) {
        PUT(out, "],\"distances\":[");
        for (uint32_t i = 0; i < found->n; i++) {
            if (i > 0)
                PUT(out, ",");
            /* JSON has no word for a distance that overflowed. */
            if (isfinite(found->distances[i]))
                put_distance(out, found->distances[i]);
            else
                PUT(out, "null");
        }
    }
    PUT(out, "]}\n");
}

/* Neighbour i as an integer; the number that stands for none where there is none. */
static uint64_t number_of(const omen_results_found *found, uint32_t i)
{
    if (i >= found->n)
        return (uint64_t)OMEN_NO_ROW;
    return found->keys ? found->keys[i].number : (uint64_t)found->ids[i];
}

static int begin_ivecs(const omen_results *results, const omen_index_info *info, omen_detail *why)
{
    if (results->k > INT32_MAX)
        return omen_fail(why, OMEN_ERR_INPUT, "%u results a query are more than ivecs can hold", results->k);
    return OMEN_OK;
}

static void write_ivecs(buffer *out, const omen_results_found *found)
{
    put_le(out, found->k, 4);
    for (uint32_t i = 0; i < found->k; i++)
        put_le(out, number_of(found, i), 4);
}

static int begin_ibin(const omen_results *results, const omen_index_info *info, omen_detail *why)
{
    unsigned char header[8];
    if (results->n_queries > UINT32_MAX || results->k > INT32_MAX)
        return omen_fail(why, OMEN_ERR_INPUT, "ibin holds 2^32 - 1 queries and 2^31 - 1 results of each at most");
    for (int i = 0; i < 4; i++) {
        header[i] = (unsigned char)(results->n_queries >> 8 * i);
        header[4 + i] = (unsigned char)(results->k >> 8 * i);
    }
    errno = 0;
    if (fwrite(header, 1, sizeof header, results->stream) != sizeof header ||
        (results->distances && fwrite(header, 1, sizeof header, results->distances) != sizeof header))
        return omen_fail(why, OMEN_ERR_IO, "cannot write the results: %s", strerror(errno ? errno : EIO));
    return OMEN_OK;
}

static void write_ibin(buffer *out, const omen_results_found *found)
{
    for (uint32_t i = 0; i < found->k; i++)
        put_le(out, number_of(found, i), 4);
}

void omen_results_put_beside(buffer *out, const omen_results_found *found, bool has_k)
{
    if (has_k)
        put_le(out, found->k, 4);
    for (uint32_t i = 0; i < found->k; i++)
        put_float(out, i < found->n ? found->distances[i] : INFINITY);
}

/* Writes the header of an array of queries x k. */
static int put_npy_header(const omen_results *results, FILE *stream, const char *descr, omen_detail *why)
{
    /* The header's text is padded so that the array starts at a multiple of 64 bytes. */
    enum { PREFIX_BYTES = 10, HEADER_BYTES = 192 };
    char header[HEADER_BYTES] = "\x93NUMPY\x01";
    int n = snprintf(header + PREFIX_BYTES, sizeof(header) - PREFIX_BYTES,
                     "{'descr': %s, 'fortran_order': False, 'shape': (%" PRIu64 ", %u), }", descr, results->n_queries,
                     results->k);
    size_t used = PREFIX_BYTES + (size_t)n, total = (used + 1 + 63) / 64 * 64;
    memset(header + used, ' ', total - used - 1);
    header[total - 1] = '\n';
    header[8] = (char)((total - PREFIX_BYTES) & 0xff);
    header[9] = (char)((total - PREFIX_BYTES) >> 8);
    errno = 0;
    if (fwrite(header, 1, total, stream) != total)
        return omen_fail(why, OMEN_ERR_IO, "cannot write the results: %s", strerror(errno ? errno : EIO));
    return OMEN_OK;
}

static int begin_npy(const omen_results *results, const omen_index_info *info, omen_detail *why)
{
    /* analyzer: the format was checked when the results were opened */
    const bool is_pair = omen_results_writer_at((size_t)results->format)->is_archive;
    char type[16] = "<i8", descr[64];
    if (info && info->key_kind == OMEN_KEYS_TEXT)
        snprintf(type, sizeof(type), "|S%u", info->key_most_bytes);
    if (info && info->key_kind == OMEN_KEYS_UINT64)
        snprintf(type, sizeof(type), "<u8");
    if (results->with_distances && !is_pair)
        snprintf(descr, sizeof(descr), "[('%s', '%s'), ('distance', '<f4')]", info ? "key" : "id", type);
    else
        snprintf(descr, sizeof(descr), "'%s'", type);
    const int status = put_npy_header(results, results->stream, descr, why);
    return status == OMEN_OK && is_pair && results->distances
               ? put_npy_header(results, results->distances, "'<f4'", why)
               : status;
}

/* A text in so many bytes, zeros behind it; of no neighbour all are zeros, which no key is. */
static void put_fixed_text(buffer *out, const omen_row_key *key, uint32_t n_bytes)
{
    static const char zeros[ITEM_BYTES];
    const uint32_t n_text = key ? key->n_bytes : 0;
    if (key)
        put_long_text(out, key->text, n_text);
    for (uint32_t done = n_text, part; done < n_bytes; done += part) {
        part = n_bytes - done < ITEM_BYTES ? n_bytes - done : ITEM_BYTES;
        put_text(out, zeros, part);
    }
}

/* Neighbour i of an array. */
static void put_item(buffer *out, const omen_results_found *found, uint32_t i)
{
    if (found->keys && found->key_kind == OMEN_KEYS_TEXT)
        put_fixed_text(out, i < found->n ? &found->keys[i] : NULL, found->key_most_bytes);
    else
        put_le(out, number_of(found, i), 8);
}

/* As npz: its arrays are taken from there. */
static int begin_hdf5(const omen_results *results, const omen_index_info *info, omen_detail *why)
{
    const int status = omen_hdf5_check(why);
    return status == OMEN_OK ? begin_npy(results, info, why) : status;
}

static void write_npz(buffer *out, const omen_results_found *found)
{
    for (uint32_t i = 0; i < found->k; i++)
        put_item(out, found, i);
}

static void write_npy(buffer *out, const omen_results_found *found)
{
    for (uint32_t i = 0; i < found->k; i++) {
        put_item(out, found, i);
        if (found->distances)
            put_float(out, i < found->n ? found->distances[i] : INFINITY);
    }
}

/* ---- the table --------------------------------------------------------- */

static const omen_results_writer writers[] = {
    [OMEN_RESULTS_TSV] =
        {
            .name = "tsv",
            .help = "a line per neighbour: query, rank from 1, key or row, and the distance if asked for",
            .has_distances = true,
            .has_header = true,
            .has_text = true,
            .most_id = INT64_MAX,
            .begin = begin_lines,
            .write = write_tsv,
        },
    [OMEN_RESULTS_JSONL] =
        {
            .name = "jsonl",
            .help = "a line per query: {\"query\":0,\"rows\":[...],\"distances\":[...]}; \"keys\" if there are",
            .has_distances = true,
            .has_text = true,
            .most_id = INT64_MAX,
            .begin = NULL,
            .write = write_jsonl,
        },
    [OMEN_RESULTS_IVECS] =
        {
            .name = "ivecs",
            .help = "per query the int32 k, then k int32 rows, or keys that are integers; distances in fvecs",
            .beside = "fvecs",
            .is_binary = true,
            .has_fixed_fields = true,
            .most_id = INT32_MAX,
            .begin = begin_ivecs,
            .write = write_ivecs,
        },
    [OMEN_RESULTS_NPY] =
        {
            .name = "npy",
            .help = "array of queries x k; with distances a structured array (id or key, distance)",
            .is_binary = true,
            .has_distances = true,
            .has_fixed_fields = true,
            .has_text = true,
            .most_id = INT64_MAX,
            .has_counts = true,
            .begin = begin_npy,
            .write = write_npy,
        },
    [OMEN_RESULTS_CSV] =
        {
            .name = "csv",
            .help = "as tsv, with commas; a key with a comma or a quote in it stands in quotes",
            .has_distances = true,
            .has_header = true,
            .has_text = true,
            .most_id = INT64_MAX,
            .begin = begin_lines,
            .write = write_csv,
        },
    [OMEN_RESULTS_IBIN] =
        {
            .name = "ibin",
            .help = "two uint32, queries and k, then k int32 rows a query, or integer keys; distances in fbin",
            .beside = "fbin",
            .is_binary = true,
            .has_fixed_fields = true,
            .most_id = INT32_MAX,
            .has_counts = true,
            .begin = begin_ibin,
            .write = write_ibin,
        },
    [OMEN_RESULTS_NPZ] =
        {
            .name = "npz",
            .help = "the arrays ids, or keys, and distances if asked for, of queries x k",
            .is_archive = true,
            .is_binary = true,
            .has_fixed_fields = true,
            .has_text = true,
            .most_id = INT64_MAX,
            .has_counts = true,
            .begin = begin_npy,
            .write = write_npz,
        },
    [OMEN_RESULTS_HDF5] =
        {
            .name = "hdf5",
            .help = "the datasets neighbors and, if asked for, distances, of queries x k",
            .is_archive = true,
            .is_binary = true,
            .has_fixed_fields = true,
            .most_id = INT64_MAX,
            .has_counts = true,
            .begin = begin_hdf5,
            .write = write_npz,
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
