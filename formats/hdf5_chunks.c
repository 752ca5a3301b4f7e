/* SPDX-License-Identifier: Apache-2.0 */
/* Datasets of HDF5 whose values are in chunks: stored bytes are asked of libhdf5, and unpacked here with bounds of our
 * own: its filters unpack whatever a chunk holds. A band of chunks, side by side, is in memory at a time. */
#include "formats/file.h"
#include "formats/hdf5_library.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define BAND_BYTES_MOST ((uint64_t)256 << 20)
#define FILTERS_MOST    3u
#define COMPACT_MOST    65536u
#define FILTER_LZF      32000 /* the number under which h5py has its own */
#define FILTER_OTHERS   256   /* from here on, filters that come with a program, not with libhdf5 */

typedef struct {
    omen_hdf5 *file;
    const omen_hdf5_dataset *dataset;
    hid_t id;
    uint64_t rows, columns; /* of a chunk */
    uint32_t value_bytes;
    uint64_t chunk_bytes, stored_most;
    int filters[FILTERS_MOST];
    unsigned n_filters;
    unsigned char *chunk, *other; /* stored_most of each */
    unsigned char *band;
} chunks;

static int fail_chunk(const hsize_t at[2], const char *what, omen_detail *reason)
{
    return omen_fail(reason, OMEN_ERR_INPUT, "the chunk at row %" PRIu64 ", column %" PRIu64 " %s", (uint64_t)at[0],
                     (uint64_t)at[1], what);
}

#define NOT_UNPACKED "is damaged: it cannot be unpacked"

/* ---- filters ------------------------------------------------------------------ */

/* Fletcher's checksum of 16-bit words, of which the first byte is the high one, or the low one. */
static uint32_t fletcher(const unsigned char *bytes, size_t n, bool high_first)
{
    uint64_t a = 0, b = 0;
    for (size_t i = 0; i < n; i += 2) {
        const unsigned next = i + 1 < n ? bytes[i + 1] : 0;
        a = (a + (high_first ? (unsigned)bytes[i] << 8 | next : next << 8 | bytes[i])) % 65535;
        b = (b + a) % 65535;
    }
    return (uint32_t)(b << 16 | a);
}

/* Equal but for 0 and 65535, which are the same there. */
static bool is_sum(uint32_t stored, uint32_t sum)
{
    return stored % 65536 % 65535 == sum % 65536 && (stored >> 16) % 65535 == sum >> 16;
}

static int check_sum(chunks *c, const hsize_t at[2], size_t *n, omen_detail *reason)
{
    if (*n < 4)
        return fail_chunk(at, "is cut short", reason);
    *n -= 4;
    const unsigned char *p = c->chunk + *n;
    const uint32_t stored = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    return is_sum(stored, fletcher(c->chunk, *n, true)) || is_sum(stored, fletcher(c->chunk, *n, false))
               ? OMEN_OK
               : fail_chunk(at, "is damaged: its checksum is not the one given", reason);
}

static void swap(chunks *c)
{
    unsigned char *chunk = c->chunk;
    c->chunk = c->other;
    c->other = chunk;
}

static int inflate_chunk(chunks *c, const hsize_t at[2], size_t *n, omen_detail *reason)
{
    uLongf n_out = c->stored_most;
    const int result = uncompress(c->other, &n_out, c->chunk, *n);
    if (result == Z_MEM_ERROR)
        return omen_fail(reason, OMEN_ERR_MEMORY, "out of memory to unpack it");
    if (result != Z_OK)
        return fail_chunk(at, NOT_UNPACKED, reason);
    *n = n_out;
    swap(c);
    return OMEN_OK;
}

/* LZF: runs of bytes as they are, and of bytes that stood so far back before. */
static int unpack_lzf(chunks *c, const hsize_t at[2], size_t *n, omen_detail *reason)
{
    const unsigned char *from = c->chunk, *end = from + *n;
    unsigned char *to = c->other, *to_end = to + c->stored_most;
    while (from < end) {
        const unsigned head = *from++;
        size_t length = head >> 5, back = 0;
        if (length == 0) {
            length = head + 1;
            if (length > end - from || length > to_end - to)
                return fail_chunk(at, NOT_UNPACKED, reason);
            memcpy(to, from, length);
            from += length;
        } else {
            if (length == 7 && from < end)
                length += *from++;
            if (from < end)
                back = ((head & 31) << 8 | *from++) + 1;
            length += 2;
            if (back == 0 || back > to - c->other || length > to_end - to)
                return fail_chunk(at, NOT_UNPACKED, reason);
            for (size_t i = 0; i < length; i++) /* it may go on into what it writes */
                to[i] = *(to + i - back);
        }
        to += length;
    }
    *n = (size_t)(to - c->other);
    swap(c);
    return OMEN_OK;
}

/* The bytes of all values stand together, the first ones first. */
static void gather_bytes(chunks *c, size_t n)
{
    const size_t n_values = n / c->value_bytes, n_whole = n_values * c->value_bytes;
    for (size_t b = 0; b < c->value_bytes; b++)
        for (size_t i = 0; i < n_values; i++)
            c->other[i * c->value_bytes + b] = c->chunk[b * n_values + i];
    memcpy(c->other + n_whole, c->chunk + n_whole, n - n_whole);
    swap(c);
}

/* Finds how many bytes of a chunk are stored. */
static int find_stored(const chunks *c, const hsize_t at[2], hsize_t *n, omen_detail *reason)
{
    *n = 0;
    if (c->file->h5->H5Dget_chunk_storage_size(c->id, at, n) < 0 || *n == 0)
        return fail_chunk(
            at,
            "is missing: nothing was written there; h5repack with GZIP=4 puts the fill value there, if that is meant",
            reason);
    return *n <= c->stored_most && *n <= c->file->input->n_bytes
               ? OMEN_OK
               : fail_chunk(at, "is damaged: it is longer than it can be", reason);
}

/* Reads a chunk into c->chunk. */
static int read_chunk(chunks *c, const hsize_t at[2], omen_detail *reason)
{
    const omen_hdf5_library *h5 = c->file->h5;
    hsize_t n_stored;
    uint32_t skipped = 0;
    int status = find_stored(c, at, &n_stored, reason);

    if (status != OMEN_OK)
        return status;
    if (h5->H5Dread_chunk(c->id, H5P_DEFAULT, at, &skipped, c->chunk) < 0)
        return fail_chunk(at, "is damaged: it cannot be read", reason);
    size_t n = n_stored;
    for (unsigned i = c->n_filters; i-- > 0 && status == OMEN_OK;) {
        if (skipped >> i & 1)
            continue;
        if (c->filters[i] == H5Z_FILTER_FLETCHER32)
            status = check_sum(c, at, &n, reason);
        else if (c->filters[i] == H5Z_FILTER_DEFLATE)
            status = inflate_chunk(c, at, &n, reason);
        else if (c->filters[i] == FILTER_LZF)
            status = unpack_lzf(c, at, &n, reason);
        else
            gather_bytes(c, n);
    }
    if (status == OMEN_OK && n != c->chunk_bytes)
        return fail_chunk(at, "is damaged: it has another length than the others", reason);
    return status;
}

/* ---- bands --------------------------------------------------------------------- */

/* Puts the part of a chunk that lies in the dataset into the band. */
static void place(chunks *c, uint64_t column, uint64_t n_rows)
{
    const uint64_t d = c->dataset->shape[1], left = d - column;
    const uint64_t n_columns = left < c->columns ? left : c->columns;
    for (uint64_t i = 0; i < n_rows; i++)
        memcpy(c->band + (i * d + column) * c->value_bytes, c->chunk + i * c->columns * c->value_bytes,
               n_columns * c->value_bytes);
}

static int write_bands(chunks *c, int fd, omen_progress_fn progress, void *context, omen_detail *reason)
{
    const uint64_t n = c->dataset->shape[0], d = c->dataset->shape[1];
    int status = OMEN_OK;

    for (hsize_t row = 0; row < n && status == OMEN_OK; row += c->rows) {
        const uint64_t n_rows = n - row < c->rows ? n - row : c->rows;
        for (hsize_t column = 0; column < d && status == OMEN_OK; column += c->columns) {
            const hsize_t at[2] = {row, column};
            status = read_chunk(c, at, reason);
            if (status == OMEN_OK)
                place(c, column, n_rows);
            if (status == OMEN_OK && progress && progress(context, "unpack", row, n) != 0)
                status = omen_fail(reason, OMEN_ERR_INTERRUPTED, "interrupted");
        }
        if (status == OMEN_OK && omen_write_all(fd, c->band, n_rows * d * c->value_bytes) != 0)
            status = omen_fail(reason, OMEN_ERR_IO, "%s", strerror(errno));
    }
    return status;
}

/* What was done to the chunks. */
static int find_filters(chunks *c, hid_t plan, omen_detail *reason)
{
    const omen_hdf5_library *h5 = c->file->h5;
    const int n = h5->H5Pget_nfilters(plan);

    for (int i = 0; i < n; i++) {
        unsigned flags, config, values[8] = {0};
        size_t n_values = sizeof values / sizeof values[0];
        char name[64] = "";
        const H5Z_filter_t filter =
            h5->H5Pget_filter2(plan, (unsigned)i, &flags, &n_values, values, sizeof name, name, &config);
        const bool is_known = filter == H5Z_FILTER_DEFLATE || filter == H5Z_FILTER_FLETCHER32 || filter == FILTER_LZF ||
                              (filter == H5Z_FILTER_SHUFFLE && n_values > 0 && values[0] == c->value_bytes);
        name[sizeof name - 1] = '\0';
        if (!is_known || (unsigned)i >= FILTERS_MOST)
            return omen_fail(reason, OMEN_ERR_INPUT,
                             "its chunks are packed by filter %d (%.40s), which is not read: gzip (deflate), lzf, "
                             "shuffle and fletcher32 are; %s",
                             (int)filter, name[0] != '\0' ? name : "without a name",
                             filter < FILTER_OTHERS ? "h5repack packs it anew with GZIP=4"
                                                    : "what wrote it can write it with gzip, or as npy");
        for (unsigned j = 0; j < c->n_filters; j++)
            if (c->filters[j] == filter)
                return omen_fail(reason, OMEN_ERR_INPUT, "its chunks are packed by filter %d twice", (int)filter);
        c->filters[c->n_filters++] = filter;
    }
    return n < 0 ? omen_fail(reason, OMEN_ERR_INPUT, "it is damaged") : OMEN_OK;
}

/* Finds the shape of the chunks, and that a band of them fits in memory. */
static int find_chunks(chunks *c, hid_t plan, omen_detail *reason)
{
    const uint64_t n = c->dataset->shape[0], d = c->dataset->shape[1];
    hsize_t shape[2];

    c->value_bytes = omen_value_bytes(c->dataset->value);
    if (c->file->h5->H5Pget_chunk(plan, 2, shape) != 2 || shape[0] == 0 || shape[1] == 0)
        return omen_fail(reason, OMEN_ERR_INPUT, "it is damaged: its chunks have no size");
    c->rows = shape[0];
    c->columns = shape[1];
    const uint64_t most = BAND_BYTES_MOST / c->value_bytes, n_rows = c->rows < n ? c->rows : n;
    if (c->rows > most || c->columns > most / c->rows || d > most / n_rows)
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "its chunks of %" PRIu64 " x %" PRIu64
                         " values take more than %u MiB side by side; h5repack makes smaller "
                         "ones",
                         c->rows, c->columns, (unsigned)(BAND_BYTES_MOST >> 20));
    c->chunk_bytes = c->rows * c->columns * c->value_bytes;
    c->stored_most = c->chunk_bytes + c->chunk_bytes / 64 + 1024; /* what cannot be packed grows a little */
    return find_filters(c, plan, reason);
}

static int unpack_chunks(chunks *c, hid_t plan, int fd, omen_progress_fn progress, void *context, omen_detail *reason)
{
    const uint64_t n = c->dataset->shape[0], d = c->dataset->shape[1];
    const hsize_t first[2] = {0, 0};
    hsize_t last[2] = {n - 1, d - 1}, n_stored;
    int status = find_chunks(c, plan, reason);

    /* a shape that only claims to be large is refused at once */
    if (status == OMEN_OK)
        status = find_stored(c, first, &n_stored, reason);
    if (status == OMEN_OK) {
        last[0] -= last[0] % c->rows;
        last[1] -= last[1] % c->columns;
        status = find_stored(c, last, &n_stored, reason);
    }
    if (status == OMEN_OK)
        status = omen_spool_check_room(fd, n * d * c->value_bytes, reason);
    if (status != OMEN_OK)
        return status;
    c->chunk = malloc(c->stored_most);
    c->other = malloc(c->stored_most);
    c->band = malloc((c->rows < n ? c->rows : n) * d * c->value_bytes);
    status = c->chunk && c->other && c->band ? write_bands(c, fd, progress, context, reason)
                                             : omen_fail(reason, OMEN_ERR_MEMORY, "out of memory to unpack it");
    free(c->chunk);
    free(c->other);
    free(c->band);
    return status;
}

/* Values that are kept with the description. */
static int unpack_compact(const chunks *c, int fd, omen_detail *reason)
{
    const omen_hdf5_library *h5 = c->file->h5;
    const uint64_t n = c->dataset->shape[0], d = c->dataset->shape[1];
    const uint64_t n_bytes = n * d * omen_value_bytes(c->dataset->value);
    unsigned char bytes[4096], *all = bytes;
    const hid_t type = h5->H5Dget_type(c->id);
    int status = OMEN_OK;

    if (n_bytes > COMPACT_MOST || h5->H5Dget_storage_size(c->id) != n_bytes)
        status = omen_fail(reason, OMEN_ERR_INPUT, "it is damaged: it holds %" PRIu64 " of %" PRIu64 " bytes",
                           (uint64_t)h5->H5Dget_storage_size(c->id), n_bytes);
    else if (n_bytes > sizeof bytes && !(all = malloc(n_bytes)))
        status = omen_fail(reason, OMEN_ERR_MEMORY, "out of memory to unpack it");
    if (status == OMEN_OK && (type < 0 || h5->H5Dread(c->id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, all) < 0))
        status = omen_fail(reason, OMEN_ERR_INPUT, "it is damaged: it cannot be read");
    if (status == OMEN_OK && omen_write_all(fd, all, n_bytes) != 0)
        status = omen_fail(reason, OMEN_ERR_IO, "%s", strerror(errno));
    if (type >= 0)
        h5->H5Tclose(type);
    if (all != bytes)
        free(all);
    return status;
}

int omen_hdf5_unpack(omen_hdf5 *file, const omen_hdf5_dataset *dataset, int fd, omen_progress_fn progress,
                     void *context, omen_detail *reason)
{
    const omen_hdf5_library *h5 = file->h5;
    chunks c = {.file = file, .dataset = dataset, .id = h5->H5Oopen(file->id, dataset->name, H5P_DEFAULT)};
    const hid_t plan = c.id >= 0 ? h5->H5Dget_create_plist(c.id) : -1;
    int status;

    if (plan < 0)
        status = omen_fail(reason, OMEN_ERR_INPUT, "it is damaged");
    else if (h5->H5Pget_layout(plan) == H5D_COMPACT)
        status = unpack_compact(&c, fd, reason);
    else
        status = unpack_chunks(&c, plan, fd, progress, context, reason);
    if (plan >= 0)
        h5->H5Pclose(plan);
    if (c.id >= 0)
        h5->H5Oclose(c.id);
    return status;
}
