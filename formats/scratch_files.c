/* SPDX-License-Identifier: Apache-2.0 */
/* Scratch files: they have no name, so that nothing is left of them, whatever ends the process. */
#include "formats/scratch_files.h"
#include "formats/in_use.h"
#include "formats/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ZEROS_BYTES (64u << 10)

/* A file of an output, as messages call it. */
typedef struct {
    int fd;
    char output[OMEN_LABEL_BYTES], text[2 * OMEN_LABEL_BYTES + 32];
} scratch_file;

static int open_spool(scratch_file *file, omen_detail *why)
{
    const int status = omen_spool_open(file->text, &file->fd, why);

    snprintf(file->text, sizeof file->text, "the scratch file of %s in TMPDIR", file->output);
    return status;
}

/* A file in the directory of the output, or in TMPDIR where that makes none without a name. */
static int open_file(const omen_scratch_files *files, scratch_file *file, omen_detail *why)
{
    const char *slash = strrchr(files->path, '/');
    char *directory = files->directory ? strdup(files->directory)
                      : !slash         ? strdup(".")
                                       : strndup(files->path, slash == files->path ? 1 : (size_t)(slash - files->path));

    if (!directory)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for %s", file->text);
    file->fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    const int code = errno;

    free(directory);
    if (file->fd >= 0)
        return OMEN_OK;
    if (code == EOPNOTSUPP || code == EISDIR || code == EINVAL) /* as file systems say that they have no such files */
        return open_spool(file, why);
    return omen_fail(why, OMEN_ERR_IO, "cannot create %s: %s", file->text, strerror(code));
}

/* Takes the room on the disk now: a write to a mapping of a file for which there is none would end the process. */
static int reserve(const scratch_file *file, uint64_t n_bytes, omen_detail *why)
{
    static const uint8_t zeros[ZEROS_BYTES];
    int status = OMEN_OK;

    if (fallocate(file->fd, 0, 0, (off_t)n_bytes) == 0)
        return OMEN_OK;
    if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) /* which zeros would find out by filling the disk */
        return omen_fail(why, OMEN_ERR_IO, "cannot write %s: %s", file->text, strerror(errno));
    for (uint64_t at = 0; at < n_bytes && status == OMEN_OK; at += ZEROS_BYTES) {
        const uint64_t left = n_bytes - at;

        if (omen_pwrite_all(file->fd, zeros, left < ZEROS_BYTES ? left : ZEROS_BYTES, at) != 0)
            status = omen_fail(why, OMEN_ERR_IO, "cannot write %s: %s", file->text, strerror(errno));
    }
    return status;
}

/* MAP_FAILED with errno set on failure. A file system that maps no files does without: TMPDIR takes its place. */
static void *map_file(scratch_file *file, uint64_t n_bytes, int *status, omen_detail *why)
{
    void *memory = omen_mapping_open_to_write(file->fd, (size_t)n_bytes, file->text);

    if (memory != MAP_FAILED || errno != ENODEV)
        return memory;
    close(file->fd);
    *status = open_spool(file, why);
    if (*status == OMEN_OK)
        *status = reserve(file, n_bytes, why);
    return *status == OMEN_OK ? omen_mapping_open_to_write(file->fd, (size_t)n_bytes, file->text) : MAP_FAILED;
}

static int take(void *self, uint64_t n_bytes, void **out, omen_detail *why)
{
    omen_scratch_files *files = self;
    scratch_file file = {.fd = -1};
    char directory[OMEN_LABEL_BYTES];
    size_t i = 0;

    *out = NULL;
    omen_label_set(file.output, files->path);
    omen_label_set(directory, files->directory ? files->directory : "");
    snprintf(file.text, sizeof file.text, "the scratch file of %s%s%s", file.output, files->directory ? " in " : "",
             files->directory ? directory : "");
    while (i < OMEN_SCRATCH_MOST && files->taken[i].memory)
        i++;
    if (i == OMEN_SCRATCH_MOST || n_bytes > SIZE_MAX)
        return omen_fail(why, OMEN_ERR_MEMORY, "more than %s can hold", file.text);
    n_bytes = n_bytes > 0 ? n_bytes : 1;
    int status = open_file(files, &file, why);
    if (status == OMEN_OK)
        status = reserve(&file, n_bytes, why);
    if (status == OMEN_OK) {
        void *memory = map_file(&file, n_bytes, &status, why);

        if (memory == MAP_FAILED && status == OMEN_OK) {
            status = omen_fail(why, errno == ENOMEM ? OMEN_ERR_MEMORY : OMEN_ERR_IO, "cannot map %s: %s", file.text,
                               strerror(errno));
        } else if (memory != MAP_FAILED) {
            files->taken[i].memory = *out = memory;
            files->taken[i].n_bytes = (size_t)n_bytes;
        }
    }
    if (file.fd >= 0)
        close(file.fd);
    return status;
}

static void give(void *self, void *memory)
{
    omen_scratch_files *files = self;

    for (size_t i = 0; i < OMEN_SCRATCH_MOST && memory; i++) {
        if (files->taken[i].memory == memory) {
            omen_mapping_close(memory, files->taken[i].n_bytes);
            files->taken[i].memory = memory = NULL;
        }
    }
}

omen_scratch omen_scratch_files_of(omen_scratch_files *files)
{
    return (omen_scratch){.self = files, .take = take, .give = give};
}

void omen_scratch_files_close(omen_scratch_files *files)
{
    for (size_t i = 0; i < OMEN_SCRATCH_MOST; i++)
        give(files, files->taken[i].memory);
}
