/* SPDX-License-Identifier: Apache-2.0 */
/* Ground truth: the table of formats. Files are read as a whole, since recall needs them in memory anyway. */
#include "formats/truth.h"
#include "formats/hdf5_file.h"
#include "formats/npy_header.h"
#include "formats/vectors_internal.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define IBIN_HEADER_BYTES 8u
#define HEAD_BYTES        8u /* that tell the shape of a file */
#define MAX_K             (1u << 24)

/* Where the ids of the queries are: those of query i at offset + i * stride. */
typedef struct shape {
    uint64_t n;
    uint32_t k;
    uint64_t offset, stride;
} shape;

static uint32_t load_u32(const uint8_t *from)
{
    uint32_t x;
    memcpy(&x, from, sizeof x);
    return le32toh(x);
}

static void write_u32(FILE *stream, uint32_t x)
{
    x = htole32(x);
    fwrite(&x, sizeof x, 1, stream);
}

/* The ids of a query, of which those after the last neighbour are OMEN_NO_ROW. */
static void write_ids(FILE *stream, uint32_t k, const int64_t *ids)
{
    const uint32_t n_found = omen_found_count(ids, k);
    for (uint32_t i = 0; i < k; i++)
        write_u32(stream, (uint32_t)(i < n_found ? ids[i] : OMEN_NO_ROW));
}

/* ---- ibin -------------------------------------------------------------- */

static int find_ibin(const char *path, const uint8_t *head, uint64_t n_bytes, shape *out, omen_detail *why)
{
    if (n_bytes >= IBIN_HEADER_BYTES) {
        const uint64_t n = load_u32(head), k = load_u32(head + 4), rest = n_bytes - IBIN_HEADER_BYTES;
        *out = (shape){.n = n, .k = (uint32_t)k, .offset = IBIN_HEADER_BYTES, .stride = 4 * k};
        if (n > 0 && k > 0 && k <= MAX_K && rest % (4 * k) == 0 && (rest / (4 * k) == n || rest / (4 * k) == 2 * n))
            return OMEN_OK;
    }
    return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is no ibin file: its length does not fit its first 8 bytes", path);
}

static int write_ibin(FILE *stream, uint64_t n, uint32_t k, const int64_t *ids, const float *distances,
                      omen_detail *why)
{
    if (n > UINT32_MAX)
        return omen_fail(why, OMEN_ERR_INPUT, "ibin counts at most 2^32 - 1 queries");
    write_u32(stream, (uint32_t)n);
    write_u32(stream, k);
    for (uint64_t i = 0; i < n; i++)
        write_ids(stream, k, ids + i * k);
    for (uint64_t i = 0; distances && i < n; i++) {
        const uint32_t n_found = omen_found_count(ids + i * k, k);
        for (uint32_t j = 0; j < k; j++) {
            const float distance = j < n_found ? distances[i * k + j] : INFINITY;
            uint32_t bits;
            memcpy(&bits, &distance, sizeof bits);
            write_u32(stream, bits);
        }
    }
    return OMEN_OK;
}

/* ---- ivecs ------------------------------------------------------------- */

static int find_ivecs(const char *path, const uint8_t *head, uint64_t n_bytes, shape *out, omen_detail *why)
{
    const uint32_t k = n_bytes >= 4 ? load_u32(head) : 0;
    const uint64_t stride = 4 + 4 * (uint64_t)k;
    if (k == 0 || k > MAX_K || n_bytes % stride != 0)
        return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is no truth in ivecs or ibin, or is cut short", path);
    *out = (shape){.n = n_bytes / stride, .k = k, .offset = 4, .stride = stride};
    return OMEN_OK;
}

static int check_ivecs(const char *path, const uint8_t *bytes, const shape *found, omen_detail *why)
{
    for (uint64_t i = 0; i < found->n; i++) {
        const uint32_t k = load_u32(bytes + i * found->stride);
        if (k != found->k)
            return omen_fail(why, OMEN_ERR_INPUT, "\"%s\": query %" PRIu64 " has %d neighbours, the first has %u", path,
                             i, (int)k, found->k);
    }
    return OMEN_OK;
}

static int write_ivecs(FILE *stream, uint64_t n, uint32_t k, const int64_t *ids, const float *distances,
                       omen_detail *why)
{
    for (uint64_t i = 0; i < n; i++) {
        write_u32(stream, k);
        write_ids(stream, k, ids + i * k);
    }
    return OMEN_OK;
}

/* ---- the table --------------------------------------------------------- */

/* One format. */
struct omen_truth_format {
    const char *name; /* also the extension of its files */
    /* Finds where the ids are, by the HEAD_BYTES first bytes of n_bytes. Returns OMEN_OK, or OMEN_ERR_INPUT for bytes
     * that are not this format. */
    int (*find)(const char *path, const uint8_t *head, uint64_t n_bytes, shape *out, omen_detail *why);
    /* Checks what is between the ids; NULL where there is nothing. Returns OMEN_OK or OMEN_ERR_INPUT. */
    int (*check)(const char *path, const uint8_t *bytes, const shape *found, omen_detail *why);
    /* As omen_truth_write(), of ids that fit and without a look at the stream's errors. */
    int (*write)(FILE *stream, uint64_t n, uint32_t k, const int64_t *ids, const float *distances, omen_detail *why);
};

/* A file of another name is taken for the last of them that its content fits. */
static const omen_truth_format formats[] = {
    {.name = "ivecs", .find = find_ivecs, .check = check_ivecs, .write = write_ivecs},
    {.name = "ibin", .find = find_ibin, .write = write_ibin},
};
#define N_FORMATS (sizeof(formats) / sizeof(formats[0]))

const char *omen_truth_name(size_t i)
{
    return i < N_FORMATS ? formats[i].name : NULL;
}

const omen_truth_format *omen_truth_named(const char *path)
{
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < N_FORMATS; i++)
        if (strcmp(dot + 1, formats[i].name) == 0)
            return &formats[i];
    return NULL;
}

/* ---- reading ----------------------------------------------------------- */

/* Opens a file that the caller closes, even after a failure. */
static int open_file(FILE **out, const char *path, uint64_t *n_bytes, omen_detail *why)
{
    struct stat info;
    *out = fopen(path, "rbe");
    if (!*out || fstat(fileno(*out), &info) != 0)
        return omen_fail(why, OMEN_ERR_IO, "cannot open \"%s\": %s", path, strerror(errno));
    if (!S_ISREG(info.st_mode))
        return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is not a regular file", path);
    *n_bytes = (uint64_t)info.st_size;
    return OMEN_OK;
}

static int read_bytes(FILE *file, const char *path, uint8_t *to, uint64_t n, omen_detail *why)
{
    return fread(to, 1, n, file) == n ? OMEN_OK
                                      : omen_fail(why, OMEN_ERR_IO, "cannot read \"%s\": %s", path,
                                                  ferror(file) ? strerror(errno) : "it was cut short meanwhile");
}

/* By the file's extension, else by its content. */
static int find_shape(const char *path, const uint8_t *head, uint64_t n_bytes, const omen_truth_format **format,
                      shape *out, omen_detail *why)
{
    *format = omen_truth_named(path);
    int status = *format ? (*format)->find(path, head, n_bytes, out, why) : OMEN_ERR_INPUT;
    for (size_t i = N_FORMATS; status == OMEN_ERR_INPUT && !omen_truth_named(path) && i > 0; i--) {
        *format = &formats[i - 1];
        status = (*format)->find(path, head, n_bytes, out, why);
    }
    return status;
}

/* Before memory is taken for all of them. */
static int check_count(const char *path, uint64_t n, uint64_t n_queries, omen_detail *why)
{
    if (n_queries == 0 || n == n_queries)
        return OMEN_OK;
    return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is the truth of %" PRIu64 " queries, and there are %" PRIu64, path, n,
                     n_queries);
}

/* Reads the whole file, if its shape is that of a truth of n_queries; *bytes is the caller's to free. */
static int read_whole(const char *path, uint64_t n_queries, uint8_t **bytes, shape *found, omen_detail *why)
{
    const omen_truth_format *format = NULL;
    FILE *file;
    uint8_t head[HEAD_BYTES] = {0};
    uint64_t n_bytes = 0;
    int status = open_file(&file, path, &n_bytes, why);
    const uint64_t n_head = n_bytes < HEAD_BYTES ? n_bytes : HEAD_BYTES;
    if (status == OMEN_OK)
        status = read_bytes(file, path, head, n_head, why);
    if (status == OMEN_OK)
        status = find_shape(path, head, n_bytes, &format, found, why);
    if (status == OMEN_OK)
        status = check_count(path, found->n, n_queries, why);
    if (status == OMEN_OK && !(*bytes = malloc(n_bytes)))
        status = omen_fail(why, OMEN_ERR_MEMORY, "out of memory for \"%s\"", path);
    if (status == OMEN_OK) {
        memcpy(*bytes, head, n_head);
        status = read_bytes(file, path, *bytes + n_head, n_bytes - n_head, why);
    }
    if (status == OMEN_OK && format->check)
        status = format->check(path, *bytes, found, why);
    if (file)
        fclose(file);
    return status;
}

/* Checks the ids of query i: row numbers, and OMEN_NO_ROW after the last. */
static int check_ids(const char *path, uint64_t i, uint32_t k, const int32_t *ids, omen_detail *why)
{
    for (uint32_t j = 0; j < k; j++) {
        if (ids[j] < OMEN_NO_ROW)
            return omen_fail(why, OMEN_ERR_INPUT, "\"%s\": query %" PRIu64 " has the neighbour %d", path, i,
                             (int)ids[j]);
        if (j > 0 && ids[j] != OMEN_NO_ROW && ids[j - 1] == OMEN_NO_ROW)
            return omen_fail(why, OMEN_ERR_INPUT, "\"%s\": query %" PRIu64 " has the neighbour %d after -1, the end",
                             path, i, (int)ids[j]);
    }
    return OMEN_OK;
}

/* Reads the ids of query i. */
static int read_ids(const char *path, const uint8_t *from, uint64_t i, uint32_t k, int32_t *out, omen_detail *why)
{
    for (uint32_t j = 0; j < k; j++)
        out[j] = (int32_t)load_u32(from + 4 * (uint64_t)j);
    return check_ids(path, i, k, out, why);
}

/* Reads a dataset of integers. */
static int read_hdf5(omen_truth *out, const char *path, uint64_t n_queries, omen_detail *why)
{
    const omen_vectors_options options = {.format = "hdf5"};
    omen_vectors *vectors = NULL;
    int status = omen_vectors_open(&vectors, path, &options, why);
    if (status != OMEN_OK)
        return status;
    const omen_layout *layout = vectors->layout;
    const uint32_t n_bytes = omen_value_bytes(layout->value);
    *out = (omen_truth){.n = layout->n_rows, .k = layout->d};
    if (omen_value_is_float(layout->value))
        status = omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is of %s: the numbers of rows are integers", path,
                           omen_value_name(layout->value));
    else
        status = check_count(path, out->n, n_queries, why);
    if (status == OMEN_OK && !(out->ids = calloc(out->n, (size_t)out->k * sizeof *out->ids)))
        status = omen_fail(why, OMEN_ERR_MEMORY, "out of memory for \"%s\"", path);
    for (uint64_t i = 0; i < out->n && status == OMEN_OK; i++) {
        const unsigned char *from = vectors->input.bytes + layout->offset + i * layout->stride;
        for (uint32_t j = 0; j < out->k && status == OMEN_OK; j++) {
            const int64_t id = (int64_t)omen_npy_integer(from + (uint64_t)j * n_bytes, n_bytes, layout->big_endian,
                                                         omen_value_is_signed(layout->value));
            out->ids[i * out->k + j] = (int32_t)id;
            if (id < 0 && !omen_value_is_signed(layout->value))
                status = omen_fail(why, OMEN_ERR_INPUT, "\"%s\": query %" PRIu64 " has the neighbour %" PRIu64, path, i,
                                   (uint64_t)id);
            else if (id < OMEN_NO_ROW || id > INT32_MAX)
                status =
                    omen_fail(why, OMEN_ERR_INPUT, "\"%s\": query %" PRIu64 " has the neighbour %" PRId64, path, i, id);
        }
        if (status == OMEN_OK)
            status = check_ids(path, i, out->k, out->ids + i * out->k, why);
    }
    omen_vectors_close(vectors);
    return status;
}

int omen_truth_read(omen_truth *out, const char *path, uint64_t n_queries, omen_detail *why)
{
    *out = (omen_truth){.n = 0};
    if (omen_hdf5_is_file(path, omen_vectors_file_bytes(path)))
        return read_hdf5(out, path, n_queries, why);
    uint8_t *bytes = NULL;
    shape found = {.n = 0};
    int status = read_whole(path, n_queries, &bytes, &found, why);
    if (status == OMEN_OK) {
        *out = (omen_truth){.n = found.n, .k = found.k, .ids = malloc(found.n * found.k * sizeof *out->ids)};
        if (!out->ids)
            status = omen_fail(why, OMEN_ERR_MEMORY, "out of memory for \"%s\"", path);
    }
    for (uint64_t i = 0; status == OMEN_OK && i < out->n; i++)
        status = read_ids(path, bytes + found.offset + i * found.stride, i, out->k, out->ids + i * out->k, why);
    free(bytes);
    return status;
}

void omen_truth_finish(omen_truth *truth)
{
    free(truth->ids);
    truth->ids = NULL;
}

/* ---- writing ----------------------------------------------------------- */

int omen_truth_write(FILE *stream, const omen_truth_format *format, uint64_t n, uint32_t k, const int64_t *ids,
                     const float *distances, omen_detail *why)
{
    for (uint64_t i = 0; i < n * k; i++)
        if (ids[i] < OMEN_NO_ROW || ids[i] > INT32_MAX)
            return omen_fail(why, OMEN_ERR_INPUT, "truth files have 32-bit ids, and row %" PRId64 " does not fit",
                             ids[i]);
    const int status = format->write(stream, n, k, ids, distances, why);
    return status == OMEN_OK && ferror(stream)
               ? omen_fail(why, OMEN_ERR_IO, "cannot write the truth: %s", strerror(errno))
               : status;
}
