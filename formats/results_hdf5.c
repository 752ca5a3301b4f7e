/* SPDX-License-Identifier: Apache-2.0 */
/* Results as HDF5: libhdf5 makes a file with holes in the places of the arrays, and what is written has the arrays
 * there, from the files of npy that they were kept in. */
#include "formats/file.h"
#include "formats/hdf5_file.h"
#include "formats/npy_header.h"
#include "formats/results.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail_read(omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_IO, "cannot read the temporary copy of the results: %s",
                     strerror(errno ? errno : EIO));
}

/* Copies n bytes from there on. */
static int copy(int fd, uint64_t from, uint64_t n, FILE *out, omen_detail *why)
{
    unsigned char bytes[8192];
    for (uint64_t done = 0; done < n;) {
        const size_t part = n - done < sizeof bytes ? (size_t)(n - done) : sizeof bytes;
        const ssize_t got = pread(fd, bytes, part, (off_t)(from + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0)
            errno = EIO;
        if (got <= 0)
            return fail_read(why);
        errno = 0;
        if (fwrite(bytes, 1, (size_t)got, out) != (size_t)got)
            return omen_fail(why, OMEN_ERR_IO, "cannot write the results: %s", strerror(errno ? errno : EIO));
        done += (uint64_t)got;
    }
    return OMEN_OK;
}

/* Finds where the array is in its file, and its type. */
static int find_array(FILE *part, omen_hdf5_array *array, uint64_t *offset, omen_detail *why)
{
    unsigned char head[256];
    omen_npy_header header;
    errno = 0;
    if (fflush(part) != 0)
        return omen_fail(why, OMEN_ERR_IO, "cannot write the temporary copy of the results: %s",
                         strerror(errno ? errno : EIO));
    const ssize_t n = pread(fileno(part), head, sizeof head, 0);
    if (n < 0 || omen_npy_header_read(head, (uint64_t)n, &header, why) != OMEN_OK)
        return fail_read(why);
    *offset = header.offset;
    array->value = strcmp(header.descr, "<f4") == 0   ? OMEN_VALUE_F4
                   : strcmp(header.descr, "<u8") == 0 ? OMEN_VALUE_U8
                                                      : OMEN_VALUE_I8;
    array->n = header.shape[0];
    array->d = header.shape[1];
    return OMEN_OK;
}

/* Writes the file fd with the arrays in their places, which follow each other. */
static int put(int fd, FILE *const parts[2], const omen_hdf5_array *arrays, const uint64_t *offsets, size_t n,
               FILE *out, omen_detail *why)
{
    struct stat info;
    uint64_t at = 0;
    int status = OMEN_OK;
    if (fstat(fd, &info) != 0)
        return fail_read(why);
    for (size_t i = 0; i < n && status == OMEN_OK; i++) {
        const uint64_t n_bytes = arrays[i].n * arrays[i].d * omen_value_bytes(arrays[i].value);
        if (n_bytes == 0)
            continue;
        if (arrays[i].offset < at)
            return omen_fail(why, OMEN_ERR_IO, "cannot write the results: libhdf5 has put them in another order");
        status = copy(fd, at, arrays[i].offset - at, out, why);
        if (status == OMEN_OK)
            status = copy(fileno(parts[i]), offsets[i], n_bytes, out, why);
        at = arrays[i].offset + n_bytes;
    }
    return status == OMEN_OK && (uint64_t)info.st_size > at ? copy(fd, at, (uint64_t)info.st_size - at, out, why)
                                                            : status;
}

int omen_results_pack_hdf5(const omen_results *results, bool has_keys, FILE *out, omen_detail *why)
{
    omen_hdf5_array arrays[2] = {{.name = has_keys ? "keys" : "neighbors"}, {.name = "distances"}};
    FILE *const parts[2] = {results->stream, results->distances};
    uint64_t offsets[2] = {0, 0};
    size_t n = 0;
    int fd = -1, status = OMEN_OK;

    for (; n < 2 && parts[n] && status == OMEN_OK; n++)
        status = find_array(parts[n], &arrays[n], &offsets[n], why);
    if (status == OMEN_OK)
        status = omen_hdf5_create(&fd, arrays, n, why);
    if (status == OMEN_OK)
        status = put(fd, parts, arrays, offsets, n, out, why);
    if (fd >= 0)
        close(fd);
    return status;
}
