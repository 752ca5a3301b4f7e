/* SPDX-License-Identifier: Apache-2.0 */
/* Ground truth in ivecs and ibin: read as a whole, since recall needs it in memory anyway. */
#include "formats/truth.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define IBIN_HEADER_BYTES 8u
#define MAX_K             (1u << 24)

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

int omen_truth_parse(const char *path, omen_truth_format *out)
{
    if (ends_with(path, ".ivecs"))
        *out = OMEN_TRUTH_IVECS;
    else if (ends_with(path, ".ibin"))
        *out = OMEN_TRUTH_IBIN;
    else
        return OMEN_ERR_ARGUMENT;
    return OMEN_OK;
}

static uint32_t load_u32(const uint8_t *from)
{
    uint32_t x;
    memcpy(&x, from, sizeof x);
    return le32toh(x);
}

/* ---- reading ---- */

/* The whole file; *bytes is the caller's to free. */
static int read_whole(const char *path, uint8_t **bytes, uint64_t *n_bytes, omen_detail *why)
{
    struct stat status;
    FILE *file = fopen(path, "rbe");
    int rc = OMEN_OK;
    if (file == NULL || fstat(fileno(file), &status) != 0) {
        rc = omen_fail(why, OMEN_ERR_IO, "cannot open \"%s\": %s", path, strerror(errno));
        goto out;
    }
    if (!S_ISREG(status.st_mode)) {
        rc = omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is not a regular file", path);
        goto out;
    }
    *n_bytes = (uint64_t)status.st_size;
    *bytes = malloc(*n_bytes + 1);
    if (*bytes == NULL)
        rc = omen_fail(why, OMEN_ERR_MEMORY, "out of memory for \"%s\"", path);
    else if (fread(*bytes, 1, *n_bytes, file) != *n_bytes)
        rc = omen_fail(why, OMEN_ERR_IO, "cannot read \"%s\": %s", path,
                       ferror(file) ? strerror(errno) : "it was cut short meanwhile");

out:
    if (file != NULL)
        fclose(file);
    return rc;
}

static bool is_ibin(const uint8_t *bytes, uint64_t n_bytes)
{
    if (n_bytes < IBIN_HEADER_BYTES)
        return false;
    const uint64_t n = load_u32(bytes), k = load_u32(bytes + 4), rest = n_bytes - IBIN_HEADER_BYTES;
    return n > 0 && k > 0 && k <= MAX_K && rest % (4 * k) == 0 && (rest / (4 * k) == n || rest / (4 * k) == 2 * n);
}

/* Finds n, k, and where the ids of a query are: at offset + query * stride. */
static int find_shape(const char *path, const uint8_t *bytes, uint64_t n_bytes, omen_truth *out, uint64_t *offset,
                      uint64_t *stride, omen_detail *why)
{
    if (!ends_with(path, ".ivecs") && is_ibin(bytes, n_bytes)) {
        out->n = load_u32(bytes);
        out->k = load_u32(bytes + 4);
        *offset = IBIN_HEADER_BYTES;
        *stride = 4 * (uint64_t)out->k;
        return OMEN_OK;
    }
    if (ends_with(path, ".ibin"))
        return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is no ibin file: its length does not fit its first 8 bytes",
                         path);
    const uint32_t k = n_bytes >= 4 ? load_u32(bytes) : 0;
    if (k == 0 || k > MAX_K || n_bytes % (4 + 4 * (uint64_t)k) != 0)
        return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is no truth in ivecs or ibin, or is cut short", path);
    out->k = k;
    out->n = n_bytes / (4 + 4 * (uint64_t)k);
    *offset = 4;
    *stride = 4 + 4 * (uint64_t)k;
    for (uint64_t i = 0; i < out->n; i++) {
        if (load_u32(bytes + i * *stride) != k)
            return omen_fail(why, OMEN_ERR_INPUT, "\"%s\": query %" PRIu64 " has %d neighbours, the first has %u", path,
                             i, (int)load_u32(bytes + i * *stride), k);
    }
    return OMEN_OK;
}

int omen_truth_read(omen_truth *out, const char *path, omen_detail *why)
{
    uint8_t *bytes = NULL;
    uint64_t n_bytes = 0, offset = 0, stride = 0;
    *out = (omen_truth){.n = 0};
    int rc = read_whole(path, &bytes, &n_bytes, why);
    if (rc == OMEN_OK)
        rc = find_shape(path, bytes, n_bytes, out, &offset, &stride, why);
    if (rc == OMEN_OK) {
        out->ids = malloc(out->n * out->k * sizeof *out->ids);
        if (out->ids == NULL)
            rc = omen_fail(why, OMEN_ERR_MEMORY, "out of memory for \"%s\"", path);
    }
    for (uint64_t i = 0; rc == OMEN_OK && i < out->n; i++) {
        for (uint32_t j = 0; rc == OMEN_OK && j < out->k; j++) {
            const int32_t id = (int32_t)load_u32(bytes + offset + i * stride + 4 * (uint64_t)j);
            out->ids[i * out->k + j] = id;
            if (id < 0)
                rc = omen_fail(why, OMEN_ERR_INPUT, "\"%s\": query %" PRIu64 " has the neighbour %d", path, i, (int)id);
        }
    }
    free(bytes);
    return rc;
}

void omen_truth_finish(omen_truth *truth)
{
    free(truth->ids);
    truth->ids = NULL;
}

/* ---- writing ---- */

static void write_u32(FILE *stream, uint32_t x)
{
    x = htole32(x);
    fwrite(&x, sizeof x, 1, stream);
}

int omen_truth_write(FILE *stream, omen_truth_format format, uint64_t n, uint32_t k, const int64_t *ids,
                     const float *distances, omen_detail *why)
{
    for (uint64_t i = 0; i < n * k; i++) {
        if (ids[i] < 0 || ids[i] > INT32_MAX)
            return omen_fail(why, OMEN_ERR_INPUT, "truth files have 32-bit ids, and row %" PRId64 " does not fit",
                             ids[i]);
    }
    if (format == OMEN_TRUTH_IBIN) {
        if (n > UINT32_MAX)
            return omen_fail(why, OMEN_ERR_INPUT, "ibin counts at most 2^32 - 1 queries");
        write_u32(stream, (uint32_t)n);
        write_u32(stream, k);
    }
    for (uint64_t i = 0; i < n; i++) {
        if (format == OMEN_TRUTH_IVECS)
            write_u32(stream, k);
        for (uint32_t j = 0; j < k; j++)
            write_u32(stream, (uint32_t)ids[i * k + j]);
    }
    for (uint64_t i = 0; format == OMEN_TRUTH_IBIN && distances != NULL && i < n * k; i++) {
        uint32_t bits;
        memcpy(&bits, distances + i, sizeof bits);
        write_u32(stream, bits);
    }
    return ferror(stream) ? omen_fail(why, OMEN_ERR_IO, "cannot write the truth: %s", strerror(errno)) : OMEN_OK;
}
