/* SPDX-License-Identifier: Apache-2.0 */
/* From a container to the index in it. */
#include "formats/omz.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/container_format.h"
#include "formats/vectors.h"

/* Whether a name says that vectors are in the file, compressed or not, or is that of a part of a file. */
static bool is_named_vectors(const char *path)
{
    char inside[PATH_MAX]; /* a longer name leads to no file */
    const size_t n = strlen(path), n_suffix = strlen(".omz");

    if (omen_vectors_file_bytes(path) < n)
        return true;
    if (omen_vectors_named(path) || n <= n_suffix || n >= sizeof inside || strcasecmp(path + n - n_suffix, ".omz") != 0)
        return omen_vectors_named(path);
    memcpy(inside, path, n - n_suffix);
    inside[n - n_suffix] = '\0';
    return omen_vectors_named(inside);
}

bool omen_container_is_index(const char *path)
{
    char magic[CONTAINER_MAGIC_BYTES];
    omen_container *container = NULL;
    omen_detail ignored;
    struct stat info;
    bool is_index = false;

    if (is_named_vectors(path)) /* whoever opens it opens it once */
        return false;
    /* a pipe that is opened and closed ends its writer */
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return false;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return false;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && pread(fd, magic, sizeof magic, 0) == sizeof magic &&
        memcmp(magic, CONTAINER_HEADER_MAGIC, sizeof magic) == 0) {
        omen_omz *omz = NULL;
        size_t n;

        is_index = true; /* whoever opens a damaged one is told */
        if (omen_container_open_fd(&container, fd, path, &ignored) == OMEN_OK) {
            const omen_section *sections = omen_container_sections(container, &n);

            is_index = !omen_codes_are(sections, n);
            if (omen_omz_is(container) && omen_omz_open(&omz, container, &ignored) == OMEN_OK)
                is_index = omen_omz_holds_index(omz);
        }
        omen_omz_close(omz);
        omen_container_close(container);
    }
    close(fd);
    return is_index;
}

int omen_container_open_index(omen_container **container, omen_index **index, const char *path, uint64_t memory_bytes,
                              bool checks, omen_detail *why)
{
    const omen_section *sections;
    size_t n_sections;
    int status;

    *index = NULL;
    status = omen_omz_unpack_container(container, path, memory_bytes, why);
    if (status != OMEN_OK)
        return status;
    if (!checks)
        omen_container_trust(*container);
    sections = omen_container_sections(*container, &n_sections);
    if (omen_codes_are(sections, n_sections)) {
        return omen_fail(why, OMEN_ERR_INPUT,
                         "\"%s\" holds codes without lists, not an index; build an index of it first", path);
    }
    return omen_index_open(index, sections, n_sections, why);
}
