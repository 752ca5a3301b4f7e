/* SPDX-License-Identifier: Apache-2.0 */
/* Unlinked copies in TMPDIR of what cannot be read, or mapped, where it is. */
#include "formats/spool.h"
#include "formats/in_use.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define COPY_BYTES (1u << 20)

/* ---- writing ---- */

int omen_write_all(int fd, const void *data, uint64_t n_bytes)
{
    const uint8_t *from = data;

    while (n_bytes > 0) {
        const ssize_t n = write(fd, from, n_bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? ENOSPC : errno; /* 0 is not specified; do not loop on it */
            return -1;
        }
        from += n;
        n_bytes -= (uint64_t)n;
    }
    return 0;
}

int omen_pwrite_all(int fd, const void *data, uint64_t n_bytes, uint64_t offset)
{
    const uint8_t *from = data;

    while (n_bytes > 0) {
        const ssize_t n = pwrite(fd, from, n_bytes, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? ENOSPC : errno;
            return -1;
        }
        from += n;
        n_bytes -= (uint64_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

int omen_pread_all(int fd, void *data, uint64_t n_bytes, uint64_t offset)
{
    uint8_t *to = data;

    while (n_bytes > 0) {
        const ssize_t n = pread(fd, to, n_bytes, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0) {
            errno = EIO;
            return 1;
        }
        to += n;
        n_bytes -= (uint64_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

int omen_spool_open_named(const char *label, char path[PATH_MAX], int *fd, omen_detail *why)
{
    const char *directory = getenv("TMPDIR");

    *fd = -1;
    if (!directory || directory[0] == '\0')
        directory = "/tmp";
    if (snprintf(path, PATH_MAX, "%s/omendb-XXXXXX", directory) >= PATH_MAX)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the path in TMPDIR is too long");
    *fd = mkostemp(path, O_CLOEXEC);
    if (*fd < 0) {
        return omen_fail(why, OMEN_ERR_IO, "cannot create a temporary copy of %s in \"%.100s\": %s", label, directory,
                         strerror(errno));
    }
    return OMEN_OK;
}

int omen_spool_open(const char *label, int *fd, omen_detail *why)
{
    char path[PATH_MAX];
    const int status = omen_spool_open_named(label, path, fd, why);

    if (status == OMEN_OK)
        unlink(path);
    return status;
}

int omen_spool_check_room(int fd, uint64_t n_bytes, omen_detail *reason)
{
    struct statvfs status;

    if (fstatvfs(fd, &status) != 0 || status.f_frsize == 0 || n_bytes / status.f_frsize < status.f_bavail)
        return OMEN_OK;
    return omen_fail(reason, OMEN_ERR_IO, "unpacked it has %llu MiB, and TMPDIR has %llu MiB free",
                     (unsigned long long)(n_bytes >> 20) + 1,
                     (unsigned long long)((uint64_t)status.f_bavail * status.f_frsize >> 20));
}

/* Copies n_bytes from offset on to a new file in TMPDIR. Returns it, or -1 with errno set. */
static int spool_range(int from, uint64_t offset, uint64_t n_bytes, const char *label)
{
    omen_detail unused;
    char *buffer = malloc(COPY_BYTES);
    int fd = -1, code = errno;

    if (buffer && omen_spool_open(label, &fd, &unused) != OMEN_OK)
        code = errno;
    for (uint64_t at = 0; fd >= 0 && at < n_bytes;) {
        const uint64_t left = n_bytes - at;
        const ssize_t n = pread(from, buffer, left < COPY_BYTES ? (size_t)left : COPY_BYTES, (off_t)(offset + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0 || omen_pwrite_all(fd, buffer, (uint64_t)n, at) != 0) {
            code = n == 0 ? EIO : errno;
            close(fd);
            fd = -1;
        }
        at += (uint64_t)(n > 0 ? n : 0);
    }
    free(buffer);
    errno = code;
    return fd;
}

void *omen_file_map(int fd, uint64_t offset, size_t n_bytes, const char *label)
{
    void *mapping = omen_mapping_open(fd, offset, n_bytes, label);

    if (mapping != MAP_FAILED || errno != ENODEV)
        return mapping;
    const int copy = spool_range(fd, offset, n_bytes, label);
    if (copy < 0)
        return MAP_FAILED;
    mapping = omen_mapping_open(copy, 0, n_bytes, label);
    const int code = errno;
    close(copy);
    errno = code;
    return mapping;
}
