/* SPDX-License-Identifier: Apache-2.0 */
/* The input: a mapped file. A stream is copied to an unlinked temporary file first, a compressed file unpacked to
 * one. */
#include "formats/input.h"
#include "formats/file.h"
#include "formats/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#define INDEX_MAGIC "OMENDB\r\n"

/* A signal that interrupts the wait for input ends it, since the sender may never write again. */
int omen_stream_spool(int *fd, const char *label, const void *begun, size_t n_begun, omen_detail *why)
{
    enum { CHUNK_BYTES = 1 << 20 };
    char *chunk = NULL;
    int copy = -1, status = omen_spool_open(label, &copy, why);

    if (status != OMEN_OK)
        return status;
    chunk = malloc(CHUNK_BYTES);
    if (!chunk) {
        status = omen_fail(why, OMEN_ERR_MEMORY, "no memory to read %s", label);
        goto out;
    }
    if (omen_write_all(copy, begun, n_begun) != 0) {
        status = omen_fail(why, OMEN_ERR_IO, "cannot write the temporary copy of %s: %s", label, strerror(errno));
        goto out;
    }
    for (;;) {
        ssize_t n = read(*fd, chunk, CHUNK_BYTES);
        if (n == 0)
            break;
        if (n < 0) {
            status = omen_fail(why, errno == EINTR ? OMEN_ERR_INTERRUPTED : OMEN_ERR_IO, "cannot read %s: %s", label,
                               strerror(errno));
            goto out;
        }
        if (omen_write_all(copy, chunk, (uint64_t)n) != 0) {
            status = omen_fail(why, OMEN_ERR_IO, "cannot write the temporary copy of %s: %s", label, strerror(errno));
            goto out;
        }
    }
out:
    free(chunk);
    if (status != OMEN_OK) {
        close(copy);
        return status;
    }
    close(*fd);
    *fd = copy;
    return OMEN_OK;
}

int omen_input_map(omen_input *input, omen_detail *why)
{
    struct stat status;
    if (fstat(input->fd, &status) != 0)
        return omen_fail(why, OMEN_ERR_IO, "cannot read %s: %s", input->label, strerror(errno));
    if (status.st_size == 0)
        return omen_fail(why, OMEN_ERR_INPUT, "%s is empty", input->label);
    if ((uint64_t)status.st_size > SIZE_MAX)
        return omen_fail(why, OMEN_ERR_INPUT, "%s is too large for this system", input->label);
    void *bytes = omen_file_map(input->fd, 0, (size_t)status.st_size, input->label);
    if (bytes == MAP_FAILED) {
        return omen_fail(why, errno == ENOMEM ? OMEN_ERR_MEMORY : OMEN_ERR_IO, "cannot map %s: %s", input->label,
                         strerror(errno));
    }
    input->bytes = bytes;
    input->n_bytes = (uint64_t)status.st_size;
    return OMEN_OK;
}

int omen_input_begin(omen_input *input, const char *path, omen_detail *why)
{
    bool standard = strcmp(path, "-") == 0;
    struct stat *info = &input->status;
    int status = OMEN_OK;

    omen_label_set(input->label, path);
    input->stamp = 0;
    input->bytes = NULL;
    input->n_bytes = 0;
    input->fd = standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (input->fd < 0 || fstat(input->fd, info) != 0) {
        status = omen_fail(why, OMEN_ERR_IO, "cannot open %s: %s", input->label, strerror(errno));
        goto out;
    }
    if (S_ISDIR(info->st_mode)) {
        status = omen_fail(why, OMEN_ERR_IO, "%s is a directory: name a file in it", input->label);
        goto out;
    }
    if (standard && isatty(input->fd)) {
        status = omen_fail(why, OMEN_ERR_ARGUMENT, "standard input is a terminal: pipe vectors into it or name a file");
        goto out;
    }
    if (S_ISREG(info->st_mode) && !standard)
        input->stamp = (uint64_t)info->st_mtim.tv_sec * 1000000000u + (uint64_t)info->st_mtim.tv_nsec;
out:
    if (status != OMEN_OK)
        omen_input_close(input);
    return status;
}

bool omen_input_is_stream(const omen_input *input)
{
    return !S_ISREG(input->status.st_mode);
}

/* A file on standard input may have been read in part: only what follows is ours. */
static int copy_stream(omen_input *input, const void *begun, size_t n_begun, omen_detail *why)
{
    return omen_input_is_stream(input) || lseek(input->fd, 0, SEEK_CUR) != 0
               ? omen_stream_spool(&input->fd, input->label, begun, n_begun, why)
               : OMEN_OK;
}

int omen_input_settle(omen_input *input, const void *begun, size_t n_begun, omen_detail *why)
{
    int status = copy_stream(input, begun, n_begun, why);
    if (status == OMEN_OK)
        status = omen_input_map(input, why);
    if (status != OMEN_OK)
        omen_input_close(input);
    return status;
}

int omen_input_open_as_is(omen_input *input, const char *path, omen_detail *why)
{
    const int status = omen_input_begin(input, path, why);
    return status == OMEN_OK ? omen_input_settle(input, NULL, 0, why) : status;
}

/* Maps and unpacks an input that was begun. */
static int map_and_expand(omen_input *input, bool may_be_empty, omen_detail *why)
{
    struct stat info;
    int status = copy_stream(input, NULL, 0, why);
    if (status == OMEN_OK && may_be_empty && fstat(input->fd, &info) == 0 && info.st_size == 0)
        return OMEN_OK;
    if (status == OMEN_OK)
        status = omen_input_map(input, why);
    if (status == OMEN_OK)
        status = omen_input_expand(input, may_be_empty, NULL, NULL, why);
    if (status != OMEN_OK)
        omen_input_close(input);
    return status;
}

int omen_input_open(omen_input *input, const char *path, omen_detail *why)
{
    const int status = omen_input_begin(input, path, why);
    return status == OMEN_OK ? map_and_expand(input, false, why) : status;
}

int omen_input_open_or_empty(omen_input *input, const char *path, omen_detail *why)
{
    const int status = omen_input_begin(input, path, why);
    return status == OMEN_OK ? map_and_expand(input, true, why) : status;
}

int omen_input_replace(omen_input *input, int fd, bool may_be_empty, omen_detail *why)
{
    struct stat info;
    omen_input_close(input);
    input->fd = fd;
    input->n_bytes = 0;
    return may_be_empty && fstat(fd, &info) == 0 && info.st_size == 0 ? OMEN_OK : omen_input_map(input, why);
}

int omen_input_expand(omen_input *input, bool may_be_empty, omen_progress_fn progress, void *context, omen_detail *why)
{
    const omen_compression *compression = omen_compression_of(input->bytes, input->n_bytes);
    int fd;

    if (!compression || !compression->expand)
        return OMEN_OK;
    const int status =
        omen_compression_expand(compression, input->bytes, input->n_bytes, input->label, progress, context, &fd, why);
    return status == OMEN_OK ? omen_input_replace(input, fd, may_be_empty, why) : status;
}

bool omen_input_is_container(const omen_input *input)
{
    return input->n_bytes >= strlen(INDEX_MAGIC) && memcmp(input->bytes, INDEX_MAGIC, strlen(INDEX_MAGIC)) == 0;
}

void omen_input_close(omen_input *input)
{
    omen_mapping_close(input->bytes, input->n_bytes);
    if (input->fd >= 0)
        close(input->fd);
    input->bytes = NULL;
    input->fd = -1;
}

char *omen_input_name_inside(const char *path)
{
    static const char suffix[] = ".omz";
    const size_t length = strlen(path);
    const size_t n = strlen(suffix);
    const bool has_suffix = length > n && strcasecmp(path + length - n, suffix) == 0;
    return has_suffix ? strndup(path, length - n) : strdup(path);
}

int omen_input_unpack(omen_input *input, const char *path, omen_head_fn check, void *context, char **name,
                      omen_detail *why)
{
    int fd = -1;
    bool is_fbin = false;
    int status = omen_omz_unpack_input(input->fd, input->label, path, check, context, &fd, &is_fbin, why);
    if (status != OMEN_OK || fd < 0) {
        if (fd >= 0)
            close(fd);
        return status;
    }
    status = omen_input_replace(input, fd, false, why);
    *name = is_fbin ? strdup("codes.fbin") : omen_input_name_inside(path);
    return status == OMEN_OK && !*name ? omen_fail(why, OMEN_ERR_MEMORY, "no memory to open the vectors") : status;
}
