/* SPDX-License-Identifier: Apache-2.0 */
/* The .omen container: what was written is read back. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/container.h"
#include "formats/container_format.h"
#include "tests/unit/check.h"
#include "tests/unit/container_files.h"
#include "tests/unit/scratch.h"

static void test_round_trip(void)
{
    const char *path = in_directory("round.omen");
    omen_detail why = {""};
    omen_container *container = NULL;
    size_t n = 0;

    CHECK_EQ_INT(write_container(path, all_lengths, N_ALL, 100003, &why), OMEN_OK);
    CHECK_EQ_INT(open_and_check(path, 4, NULL, &why), OMEN_OK);
    CHECK_EQ_INT(omen_container_open(&container, path, &why), OMEN_OK);
    if (!container)
        return;
    const omen_section *sections = omen_container_sections(container, &n);
    CHECK_EQ_INT(n, N_ALL);
    for (size_t s = 0; s < n && s < N_ALL; s++) {
        uint8_t *payload = make_payload(s, all_lengths[s]);
        CHECK(sections[s].id == section_id(s));
        CHECK_EQ_INT(sections[s].element, s % 7);
        CHECK_EQ_INT(sections[s].optional, s % 3 == 2);
        CHECK_EQ_INT(sections[s].n_bytes, all_lengths[s]);
        CHECK((uintptr_t)sections[s].data % 64 == 0);
        CHECK(memcmp(sections[s].data, payload, all_lengths[s]) == 0);
        free(payload);
    }
    omen_container_close(container);
    CHECK(!exists(in_directory("round.omen.tmp")));
}

static void test_no_sections(void)
{
    const char *path = in_directory("none.omen");
    omen_detail why = {""};

    CHECK_EQ_INT(write_container(path, NULL, 0, 1, &why), OMEN_OK);
    CHECK_EQ_INT(open_and_check(path, 1, NULL, &why), OMEN_OK);
}

static void test_same_bytes(void)
{
    static const size_t steps[] = {1000, MIB, 3 * MIB + 5, 1 << 30};
    size_t n_first, n;
    omen_detail why = {""};
    const char *path = in_directory("same.omen");

    CHECK_EQ_INT(write_container(path, all_lengths, N_ALL, 77777, &why), OMEN_OK);
    uint8_t *first = read_file(path, &n_first);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        CHECK_EQ_INT(write_container(path, all_lengths, N_ALL, steps[i], &why), OMEN_OK);
        uint8_t *bytes = read_file(path, &n);
        CHECK(n == n_first && memcmp(bytes, first, n) == 0);
        free(bytes);
    }
    free(first);
}

/* Bytes as docs/FORMAT.md has them, not as container_format.h computes them. */
static void test_documented_bytes(void)
{
    static const size_t lengths[] = {5};
    const char *path = in_directory("bytes.omen");
    omen_detail why = {""};
    size_t n;

    CHECK_EQ_INT(write_container(path, lengths, 1, 5, &why), OMEN_OK);
    uint8_t *b = read_file(path, &n);
    CHECK_EQ_INT(n, 4096 + 4096 + 64 + 64);
    CHECK(b[4096] == byte_at(0, 0) && b[4096 + 4] == byte_at(0, 4) && container_is_zero(b + 4096 + 5, 3));
    CHECK(container_load_u64(b + 4096 + 8) == XXH3_64bits(b + 4096, 5));
    CHECK(memcmp(b, "OMENDB\r\n\1\0\0\0\0\0\0\0\xef\xcd\xab\x89\x67\x45\x23\x01", 24) == 0);
    CHECK(memcmp(b + 8192, "SE00\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\5\0\0\0\0\0\0\0", 32) == 0);
    CHECK(memcmp(b + 8192 + 32, "\5\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0", 16) == 0);
    CHECK(container_load_u64(b + 8192 + 48) == XXH3_64bits(b + 4096 + 8, 8));
    CHECK(container_is_zero(b + 8192 + 56, 8));
    CHECK(memcmp(b + 8192 + 64, "OMENEND\n\0\x20\0\0\0\0\0\0\x40\0\0\0\0\0\0\0", 24) == 0);
    CHECK(XXH3_64bits(NULL, 0) == 0x2d06800538d394c2u);
    free(b);
    /* two levels: 514 checksums, 8 bytes each, are two blocks */
    const size_t longer = 513 * 4096 + 1, level0 = 4096 + longer + 7, level1 = level0 + 8 * 514;
    CHECK_EQ_INT(write_container(path, &longer, 1, MIB, &why), OMEN_OK);
    b = read_file(path, &n);
    CHECK(container_load_u64(b + level0 + 8) == XXH3_64bits(b + 4096 + 4096, 4096));
    CHECK(container_load_u64(b + level0 + 8 * 513) == XXH3_64bits(b + 4096 + 513 * 4096, 1));
    CHECK(container_load_u64(b + level1) == XXH3_64bits(b + level0, 4096));
    CHECK(container_load_u64(b + level1 + 8) == XXH3_64bits(b + level0 + 4096, 16));
    CHECK_EQ_INT(container_load_u64(b + n - 128 + 40), 516);
    CHECK(container_load_u64(b + n - 128 + 48) == XXH3_64bits(b + level1, 16));
    free(b);
}

static void test_map(void)
{
    const char *path = in_directory("map.omen");
    omen_writer *writer = NULL;
    omen_detail why = {""};
    omen_section mapped[N_ALL], again;

    CHECK_EQ_INT(omen_writer_create(&writer, path, &why), OMEN_OK);
    omen_sink sink = omen_writer_sink(writer);
    CHECK_EQ_INT(sink.start(sink.self, IDENTITY, &why), OMEN_OK);
    for (size_t s = 0; s < N_ALL; s++) {
        uint8_t *payload = make_payload(s, all_lengths[s]);
        CHECK_EQ_INT(sink.begin(sink.self, section_id(s), OMEN_ELEMENT_U8, s == 1, &why), OMEN_OK);
        CHECK_EQ_INT(sink.append(sink.self, payload, all_lengths[s], &why), OMEN_OK);
        CHECK_EQ_INT(sink.finish(sink.self, &why), OMEN_OK);
        CHECK_EQ_INT(sink.map(sink.self, section_id(s), &mapped[s], &why), OMEN_OK);
        CHECK(mapped[s].id == section_id(s) && mapped[s].n_bytes == all_lengths[s] && mapped[s].optional == (s == 1));
        CHECK((uintptr_t)mapped[s].data % 64 == 0);
        free(payload);
    }
    for (size_t s = 0; s < N_ALL; s++) { /* all of them are still there */
        uint8_t *payload = make_payload(s, all_lengths[s]);
        CHECK(memcmp(mapped[s].data, payload, all_lengths[s]) == 0);
        free(payload);
    }
    CHECK_EQ_INT(sink.map(sink.self, section_id(3), &again, &why), OMEN_OK);
    CHECK(again.data == mapped[3].data);
    CHECK_EQ_INT(omen_writer_commit(writer, NULL, &why), OMEN_OK);
    CHECK(*(const uint8_t *)mapped[1].data == byte_at(1, 0)); /* until destroy, also after the commit */
    omen_writer_destroy(writer);
    CHECK_EQ_INT(open_and_check(path, 0, NULL, &why), OMEN_OK);
}

/* What cannot be mapped is told by its kind, and not waited for. */
static void test_kinds(void)
{
    static const char *const kinds[] = {"a pipe", "a socket", "a character device", "a directory", "standard input"};
    for (int i = 0; i < 5; i++) {
        const char *path = i == 2 ? "/dev/zero" : i == 4 ? "-" : in_directory("kind");
        omen_container *container = NULL;
        omen_detail why;
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        const int fd = i == 1 ? socket(AF_UNIX, SOCK_STREAM, 0) : -1;
        snprintf(address.sun_path, sizeof address.sun_path, "%.100s", path);
        need(i == 0   ? mkfifo(path, 0600) == 0
             : i == 1 ? bind(fd, (struct sockaddr *)&address, sizeof address) == 0
                      : i != 3 || mkdir(path, 0700) == 0,
             path);
        CHECK_EQ_INT(omen_container_open(&container, path, &why), i == 3 ? OMEN_ERR_IO : OMEN_ERR_ARGUMENT);
        CHECK_STR_CONTAINS(why.text, kinds[i]);
        CHECK(!container);
        if (i < 2)
            unlink(path);
        if (i == 1)
            close(fd);
        if (i == 3)
            rmdir(path);
    }
}

int main(void)
{
    directory_make();
    RUN(test_round_trip);
    RUN(test_no_sections);
    RUN(test_same_bytes);
    RUN(test_documented_bytes);
    RUN(test_map);
    RUN(test_kinds);
    directory_remove();
    return check_finish();
}
