/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/check.h"
#include "tests/unit/container_files.h"
#include "tests/unit/scratch.h"

static char paths[8][600];

bool racing;

const size_t all_lengths[] = {0, 1, 63, 64, MIB - 1, MIB, MIB + 1, 7 * MIB / 2};
const size_t small_lengths[] = {100, 0, 4096 - 8, 7};

const char *in_directory(const char *name)
{
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

bool exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

void need(bool good, const char *what)
{
    if (!good) {
        printf("Bail out! %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

uint8_t *read_file(const char *path, size_t *n_bytes)
{
    struct stat status;
    const int fd = open(path, O_RDONLY);
    need(fd >= 0 && fstat(fd, &status) == 0, path);
    uint8_t *bytes = malloc((size_t)status.st_size + 1);
    need(bytes && read(fd, bytes, (size_t)status.st_size) == status.st_size, path);
    close(fd);
    *n_bytes = (size_t)status.st_size;
    return bytes;
}

void write_file(const char *path, const uint8_t *bytes, size_t n_bytes)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    need(fd >= 0 && write(fd, bytes, n_bytes) == (ssize_t)n_bytes && close(fd) == 0, path);
}

uint8_t byte_at(size_t section, size_t i)
{
    return (uint8_t)((i * 2654435761u >> 13) + section * 37 + 1);
}

uint8_t *make_payload(size_t section, size_t n_bytes)
{
    uint8_t *payload = malloc(n_bytes + 1);
    need(payload != NULL, "malloc");
    for (size_t i = 0; i < n_bytes; i++)
        payload[i] = byte_at(section, i);
    return payload;
}

uint32_t section_id(size_t i)
{
    return OMEN_FOURCC('S', 'E', '0' + i / 10, '0' + i % 10);
}

int write_container(const char *path, const size_t *lengths, size_t n, size_t step, omen_detail *why)
{
    omen_writer *writer = NULL;
    uint64_t n_file_bytes = 0;

    int status = omen_writer_create(&writer, path, why);
    if (status != OMEN_OK) {
        CHECK(!writer);
        return status;
    }
    omen_sink sink = omen_writer_sink(writer);
    status = sink.start(sink.self, IDENTITY, why);
    for (size_t s = 0; s < n && status == OMEN_OK; s++) {
        uint8_t *payload = make_payload(s, lengths[s]);
        status = sink.begin(sink.self, section_id(s), (uint32_t)(s % 7), s % 3 == 2, why);
        for (size_t i = 0; i < lengths[s] && status == OMEN_OK; i += step)
            status = sink.append(sink.self, payload + i, lengths[s] - i < step ? lengths[s] - i : step, why);
        if (status == OMEN_OK)
            status = sink.finish(sink.self, why);
        free(payload);
    }
    if (status == OMEN_OK)
        status = omen_writer_commit(writer, &n_file_bytes, why);
    if (status == OMEN_OK && !racing) { /* else it may be another's file by now */
        struct stat info;
        CHECK(stat(path, &info) == 0 && (uint64_t)info.st_size == n_file_bytes);
    }
    omen_writer_destroy(writer);
    return status;
}

void log_damage(void *context, const char *section, uint64_t first, uint64_t n_bytes, const char *text)
{
    damage_log *log = context;
    if (log->n < 8) {
        snprintf(log->section[log->n], sizeof log->section[0], "%s", section);
        snprintf(log->text[log->n], sizeof log->text[0], "%s", text);
        log->first[log->n] = first;
        log->n_bytes[log->n] = n_bytes;
    }
    log->n++;
}

int open_and_check(const char *path, int n_threads, damage_log *log, omen_detail *why)
{
    omen_container *container = NULL;

    int status = omen_container_open(&container, path, why);
    if (status != OMEN_OK) {
        CHECK(!container);
        return status;
    }
    status = omen_container_check(container, n_threads, log != NULL ? log_damage : NULL, log, why);
    omen_container_close(container);
    return status;
}

int open_only(const char *path, omen_detail *why)
{
    omen_container *container = NULL;
    const int status = omen_container_open(&container, path, why);
    CHECK((container != NULL) == (status == OMEN_OK));
    omen_container_close(container);
    return status;
}
