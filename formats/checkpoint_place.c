/* SPDX-License-Identifier: Apache-2.0 */
/* Where the checkpoint of a file is, and whether the disk has room. */
#include "formats/checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <xxhash.h>

#define MOST_NAME_BYTES 160 /* of a file, in the name of a checkpoint in another directory */

/* The name of the directory that a path leads to, which is the caller's to free; NULL: out of memory. */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return !slash ? strdup(".") : strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

/* In a directory for several files, whose names may be the same: that of the file, cut short, and a hash of its path as
 * it leads from the root. */
static int name_elsewhere(const char *path, const char *directory, char **out, omen_detail *why)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const size_t n_directory = strlen(directory);
    char *parent = directory_of(path), *full = parent ? realpath(parent, NULL) : NULL;
    int status = OMEN_OK;

    *out = NULL;
    if (!parent)
        status = omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the checkpoint of \"%s\"", path);
    else if (!full)
        status = omen_fail(why, errno == ENOMEM ? OMEN_ERR_MEMORY : OMEN_ERR_IO, "cannot examine \"%s\": %s", parent,
                           strerror(errno));
    if (status == OMEN_OK) {
        const uint64_t hash = XXH3_64bits_withSeed(name, strlen(name), XXH3_64bits(full, strlen(full)));
        const char *ends = n_directory > 0 && directory[n_directory - 1] == '/' ? "" : "/";
        if (asprintf(out, "%s%s%.*s-%016llx.part", directory, ends, MOST_NAME_BYTES, name, (unsigned long long)hash) <
            0) {
            *out = NULL;
            status = omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the checkpoint of \"%s\"", path);
        }
    }
    free(full);
    free(parent);
    return status;
}

int omen_part_name(const char *path, const char *directory, char **out, omen_detail *why)
{
    if (directory)
        return name_elsewhere(path, directory, out, why);
    if (asprintf(out, "%s.part", path) >= 0)
        return OMEN_OK;
    *out = NULL;
    return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the checkpoint of \"%s\"", path);
}

int omen_disk_is_same(const char *one, const char *other, bool *is_same, omen_detail *why)
{
    char *a = directory_of(one), *b = directory_of(other);
    struct stat status_a, status_b;
    const int status = a && b ? OMEN_OK : omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the name \"%s\"", one);

    *is_same =
        status == OMEN_OK && stat(a, &status_a) == 0 && stat(b, &status_b) == 0 && status_a.st_dev == status_b.st_dev;
    free(a);
    free(b);
    return status;
}

int omen_disk_check(const char *path, uint64_t n_bytes, omen_detail *why)
{
    char *directory = directory_of(path);
    struct statvfs info;
    int status = OMEN_OK;

    if (!directory)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the name \"%s\"", path);
    /* a faulty directory is reported when a file is created in it */
    if (statvfs(directory, &info) == 0) {
        const uint64_t n_free = (uint64_t)info.f_bavail * info.f_frsize;
        if (n_free < n_bytes) {
            status = omen_fail(why, OMEN_ERR_IO,
                               "\"%s\" has %llu MiB free, and this needs about %llu MiB there while it runs", directory,
                               (unsigned long long)(n_free >> 20), (unsigned long long)(n_bytes >> 20) + 1);
        }
    }
    free(directory);
    return status;
}
