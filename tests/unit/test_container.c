/* The .omen container: what was written is read back, and nothing that was changed passes.
 *
 * Files live in a directory of their own that is removed at the end. Lies with correct checksums are made by changing
 * a record and sealing everything that covers it again.
 */
#include "formats/container.h"
#include "formats/container_format.h"
#include "tests/unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB      ((size_t)1 << 20)
#define IDENTITY 0x0123456789abcdefu

static char directory[512];
static char paths[8][600];

/* A path in the test's directory; valid until eight more were asked for. */
static const char *in_directory(const char *name)
{
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", directory, name);
    return path;
}

static bool exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

/* Something to stop on: the rest of a test would only repeat the complaint. */
static void need(bool good, const char *what)
{
    if (!good) {
        printf("Bail out! %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static uint8_t *read_file(const char *path, size_t *n_bytes)
{
    struct stat status;
    const int fd = open(path, O_RDONLY);
    need(fd >= 0 && fstat(fd, &status) == 0, path);
    uint8_t *bytes = malloc((size_t)status.st_size + 1);
    need(bytes != NULL && read(fd, bytes, (size_t)status.st_size) == status.st_size, path);
    close(fd);
    *n_bytes = (size_t)status.st_size;
    return bytes;
}

static void write_file(const char *path, const uint8_t *bytes, size_t n_bytes)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    need(fd >= 0 && write(fd, bytes, n_bytes) == (ssize_t)n_bytes && close(fd) == 0, path);
}

static uint8_t byte_at(size_t section, size_t i)
{
    return (uint8_t)((i * 2654435761u >> 13) + section * 37 + 1);
}

static uint8_t *make_payload(size_t section, size_t n_bytes)
{
    uint8_t *payload = malloc(n_bytes + 1);
    need(payload != NULL, "malloc");
    for (size_t i = 0; i < n_bytes; i++) {
        payload[i] = byte_at(section, i);
    }
    return payload;
}

static uint32_t section_id(size_t i)
{
    return OMEN_FOURCC('S', 'E', '0' + i / 10, '0' + i % 10);
}

static bool racing; /* other processes write the same path */

/* Writes sections of the given lengths; each is appended in steps of step bytes, every third is optional. */
static int write_container(const char *path, const size_t *lengths, size_t n, size_t step, omen_detail *why)
{
    omen_writer *writer = NULL;
    uint64_t n_file_bytes = 0;

    int rc = omen_writer_create(&writer, path, why);
    if (rc != OMEN_OK) {
        CHECK(writer == NULL);
        return rc;
    }
    omen_sink sink = omen_writer_sink(writer);
    rc = sink.start(sink.self, IDENTITY, why);
    for (size_t s = 0; s < n && rc == OMEN_OK; s++) {
        uint8_t *payload = make_payload(s, lengths[s]);
        rc = sink.begin(sink.self, section_id(s), (uint32_t)(s % 7), s % 3 == 2, why);
        for (size_t i = 0; i < lengths[s] && rc == OMEN_OK; i += step) {
            rc = sink.append(sink.self, payload + i, lengths[s] - i < step ? lengths[s] - i : step, why);
        }
        if (rc == OMEN_OK) {
            rc = sink.finish(sink.self, why);
        }
        free(payload);
    }
    if (rc == OMEN_OK) {
        rc = omen_writer_commit(writer, &n_file_bytes, why);
    }
    if (rc == OMEN_OK && !racing) { /* else it may be another's file by now */
        struct stat status;
        CHECK(stat(path, &status) == 0 && (uint64_t)status.st_size == n_file_bytes);
    }
    omen_writer_destroy(writer);
    return rc;
}

typedef struct damage_log {
    int n;
    char section[8][8];
    uint64_t first[8], n_bytes[8];
    char text[8][256];
} damage_log;

static void log_damage(void *context, const char *section, uint64_t first, uint64_t n_bytes, const char *text)
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

/* Opens and fully checks: what `verify` does. */
static int open_and_check(const char *path, int n_threads, damage_log *log, omen_detail *why)
{
    omen_container *container = NULL;

    int rc = omen_container_open(&container, path, why);
    if (rc != OMEN_OK) {
        CHECK(container == NULL);
        return rc;
    }
    rc = omen_container_check(container, n_threads, log != NULL ? log_damage : NULL, log, why);
    omen_container_close(container);
    return rc;
}

static int open_only(const char *path, omen_detail *why)
{
    omen_container *container = NULL;
    const int rc = omen_container_open(&container, path, why);
    CHECK((container != NULL) == (rc == OMEN_OK));
    omen_container_close(container);
    return rc;
}

static const size_t all_lengths[] = {0, 1, 63, 64, MIB - 1, MIB, MIB + 1, 7 * MIB / 2};
#define N_ALL (sizeof all_lengths / sizeof all_lengths[0])
static const size_t small_lengths[] = {100, 0, 4096 - 8, 7};
#define N_SMALL (sizeof small_lengths / sizeof small_lengths[0])

/* ---- good files ---- */

static void test_round_trip(void)
{
    const char *path = in_directory("round.omen");
    omen_detail why = {""};
    omen_container *container = NULL;
    size_t n = 0;

    CHECK_EQ_INT(write_container(path, all_lengths, N_ALL, 100003, &why), OMEN_OK);
    CHECK_EQ_INT(open_and_check(path, 4, NULL, &why), OMEN_OK);
    CHECK_EQ_INT(omen_container_open(&container, path, &why), OMEN_OK);
    if (container == NULL) {
        return;
    }
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

/* ---- damage ---- */

static void test_every_flip_is_found(void)
{
    const char *path = in_directory("flip.omen");
    omen_detail why = {""};
    size_t n;

    CHECK_EQ_INT(write_container(path, small_lengths, N_SMALL, 64, &why), OMEN_OK);
    uint8_t *bytes = read_file(path, &n);
    const int fd = open(path, O_RDWR);
    for (size_t i = 0; i < n; i++) {
        const uint8_t masks[] = {0xff, (uint8_t)(1 << i % 8)};
        for (int m = 0; m < 2; m++) {
            damage_log log = {0};
            const uint8_t changed = bytes[i] ^ masks[m];
            need(pwrite(fd, &changed, 1, (off_t)i) == 1, path);
            const int rc = open_and_check(path, 1, &log, &why);
            if (rc != OMEN_ERR_CORRUPT) {
                printf("# byte %zu, mask 0x%x\n", i, masks[m]);
            }
            CHECK_EQ_INT(rc, OMEN_ERR_CORRUPT);
            bool located = log.n == 0; /* refused by open */
            for (int k = 0; k < log.n && k < 8; k++) {
                located |= log.first[k] <= i && i < log.first[k] + log.n_bytes[k];
            }
            CHECK(located);
            CHECK(log.n <= 2); /* a damaged checksum is told of the block and of the checksums */
        }
        need(pwrite(fd, &bytes[i], 1, (off_t)i) == 1, path);
    }
    close(fd);
    CHECK_EQ_INT(open_and_check(path, 1, NULL, &why), OMEN_OK);
    free(bytes);
}

static void test_every_cut_is_refused(void)
{
    const char *path = in_directory("cut.omen");
    omen_detail why = {""};
    size_t n;

    CHECK_EQ_INT(write_container(path, small_lengths, N_SMALL, 64, &why), OMEN_OK);
    uint8_t *bytes = read_file(path, &n);
    for (size_t length = n; length-- > 0;) {
        need(truncate(path, (off_t)length) == 0, path);
        CHECK_EQ_INT(open_only(path, &why), OMEN_ERR_CORRUPT);
    }
    CHECK_STR_CONTAINS(why.text, "is empty");
    write_file(path, bytes, 7);
    CHECK_EQ_INT(open_only(path, &why), OMEN_ERR_CORRUPT);
    CHECK_STR_CONTAINS(why.text, "cut short: 7 bytes");
    bytes = realloc(bytes, n + 4096);
    need(bytes != NULL, "realloc");
    memset(bytes + n, 0, 4096);
    write_file(path, bytes, n + 1);
    CHECK_EQ_INT(open_only(path, &why), OMEN_ERR_CORRUPT);
    write_file(path, bytes, n + 4096);
    CHECK_EQ_INT(open_only(path, &why), OMEN_ERR_CORRUPT);
    memmove(bytes + 4096, bytes, n); /* a whole index behind something else */
    write_file(path, bytes, n + 4096);
    CHECK_EQ_INT(open_only(path, &why), OMEN_ERR_CORRUPT);
    free(bytes);
}

static void test_damage_is_located(void)
{
    static const size_t lengths[] = {10 * MIB + 1000, 100};
    const char *path = in_directory("located.omen");
    omen_detail why = {""};
    const size_t payload = 4096, block = 4096, checksums = payload + 10 * MIB + 1000;
    const size_t n_checksums = 10 * MIB / block + 1 + 6;
    const size_t at[] = {1000,
                         payload + 2 * MIB,
                         payload + 2 * MIB + 2 * block - 1,
                         payload + 2 * MIB + 2 * block,
                         payload + 7 * MIB - block + 5,
                         payload + 7 * MIB + 5,
                         payload + 10 * MIB + 999,
                         checksums + 8 * n_checksums + 100};

    CHECK_EQ_INT(write_container(path, lengths, 2, MIB, &why), OMEN_OK);
    const int fd = open(path, O_RDWR);
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        uint8_t b;
        need(pread(fd, &b, 1, (off_t)at[i]) == 1, path);
        b ^= 0x40;
        need(pwrite(fd, &b, 1, (off_t)at[i]) == 1, path);
    }
    for (int n_threads = 0; n_threads <= 5; n_threads++) {
        damage_log log = {0};
        CHECK_EQ_INT(open_only(path, &why), OMEN_OK);
        CHECK_EQ_INT(open_and_check(path, n_threads, &log, &why), OMEN_ERR_CORRUPT);
        CHECK_EQ_INT(log.n, 5);
        CHECK_STR_CONTAINS(log.section[0], "head");
        CHECK_EQ_INT(log.first[0], 1000);
        CHECK_EQ_INT(log.n_bytes[0], 1);
        CHECK_STR_CONTAINS(log.section[1], "SE00");
        CHECK_STR_CONTAINS(log.text[1], "checksums of blocks 512 to 514 do not match");
        CHECK_EQ_INT(log.first[1], payload + 2 * MIB);
        CHECK_EQ_INT(log.n_bytes[1], 3 * block);
        CHECK_STR_CONTAINS(log.text[2], "checksums of blocks 1791 to 1792 do not match");
        CHECK_STR_CONTAINS(log.text[3], "checksum of block 2560 does not match");
        CHECK_EQ_INT(log.n_bytes[3], 1000);
        CHECK_STR_CONTAINS(log.text[4], "padding is not zero");
        CHECK_EQ_INT(log.first[4], at[7]);
    }
    const uint8_t zeros[8] = {0};
    need(pwrite(fd, zeros, 8, (off_t)checksums) == 8, path);
    damage_log log = {0};
    CHECK_EQ_INT(open_and_check(path, 2, &log, &why), OMEN_ERR_CORRUPT);
    CHECK_EQ_INT(log.n, 7);
    CHECK_STR_CONTAINS(log.text[1], "checksum of block 0 does not match");
    CHECK_STR_CONTAINS(log.text[5], "the checksums of its blocks are damaged");
    CHECK_EQ_INT(log.first[5], checksums);
    CHECK_EQ_INT(log.n_bytes[5], block);
    close(fd);
}

/* check() of a section finds what its block, and the checksums on the way to the table, hold. */
static void test_blocks_are_checked(void)
{
    static const size_t lengths[] = {10 * MIB + 1000, 100, 0};
    const char *path = in_directory("blocks.omen");
    const uint64_t n_blocks = 10 * MIB / 4096 + 1, level0 = 4096 + 10 * MIB + 1000, level1 = level0 + 8 * n_blocks;
    /* a byte of the file, and the blocks that cannot be believed when it changes */
    const struct {
        uint64_t at, first, end;
    } damage[] = {
        {4096, 0, 1},
        {4096 + 4095, 0, 1},
        {4096 + 9 * MIB, 2304, 2305},
        {level0 - 1, n_blocks - 1, n_blocks},
        {level0 + 8 * 600, 512, 1024},
        {level0 + 8 * n_blocks - 1, 2560, n_blocks},
        {level1 + 9, 0, n_blocks},
    };
    omen_detail why = {""};
    size_t n = 0;

    CHECK_EQ_INT(write_container(path, lengths, 3, MIB, &why), OMEN_OK);
    const int fd = open(path, O_RDWR);
    for (size_t i = 0; i < sizeof damage / sizeof damage[0]; i++) {
        omen_container *container = NULL;
        uint8_t b;
        need(pread(fd, &b, 1, (off_t)damage[i].at) == 1, path);
        b ^= 0x10;
        need(pwrite(fd, &b, 1, (off_t)damage[i].at) == 1, path);
        CHECK_EQ_INT(omen_container_open(&container, path, &why), OMEN_OK);
        const omen_section *s = omen_container_sections(container, &n);
        for (uint64_t block = 0; block < n_blocks; block++) {
            const bool bad = block >= damage[i].first && block < damage[i].end;
            CHECK_EQ_INT(s->check(s, block, 1, &why), bad ? OMEN_ERR_CORRUPT : OMEN_OK);
        }
        CHECK_STR_CONTAINS(why.text, "section SE00, bytes ");
        CHECK_EQ_INT(omen_section_check(&s[0], &why), OMEN_ERR_CORRUPT);
        CHECK_EQ_INT(omen_section_check(&s[1], &why), OMEN_OK);
        CHECK_EQ_INT(omen_section_check(&s[2], &why), OMEN_OK);
        omen_container_trust(container);
        CHECK_EQ_INT(omen_section_check(&s[0], &why), OMEN_OK);
        omen_container_close(container);
        b ^= 0x10;
        need(pwrite(fd, &b, 1, (off_t)damage[i].at) == 1, path);
    }
    close(fd);
}

static void test_other_files(void)
{
    const char *path = in_directory("other");
    omen_detail why = {""};
    uint8_t bytes[5000];

    memset(bytes, 'x', sizeof bytes);
    for (size_t n = 1; n <= sizeof bytes; n += 617) {
        write_file(path, bytes, n);
        CHECK_EQ_INT(open_only(path, &why), OMEN_ERR_INPUT);
        CHECK_STR_CONTAINS(why.text, "other\" is not an omendb index");
    }
    CHECK_EQ_INT(open_only(directory, &why), OMEN_ERR_IO);
    CHECK_STR_CONTAINS(why.text, "is a directory");
    CHECK_EQ_INT(open_only(in_directory("absent"), &why), OMEN_ERR_IO);
    CHECK_STR_CONTAINS(why.text, "No such file");
    const char *fifo = in_directory("fifo");
    need(mkfifo(fifo, 0666) == 0, fifo);
    CHECK_EQ_INT(open_only(fifo, &why), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(why.text, "is a pipe");
    unlink(fifo);
}

/* ---- lies with correct checksums ---- */

typedef struct forged_file {
    uint8_t *bytes;
    size_t n_bytes, table, trailer;
} forged_file;

static uint8_t *entry_of(forged_file *file, int i)
{
    return file->bytes + file->table + 64 * (size_t)i;
}

/* Seals all that covers header, table and trailer. */
static int open_resealed(forged_file *file, const char *path, omen_detail *why)
{
    uint8_t *trailer = file->bytes + file->trailer;
    container_seal(file->bytes);
    container_store_u64(trailer + TRAILER_TABLE_HASH,
                        container_hash(file->bytes + file->table, file->trailer - file->table));
    container_seal(trailer);
    write_file(path, file->bytes, file->n_bytes);
    return open_only(path, why);
}

static void test_lies_are_refused(void)
{
    const char *path = in_directory("lie.omen");
    omen_detail why = {""};
    forged_file f;

    CHECK_EQ_INT(write_container(path, small_lengths, N_SMALL, 64, &why), OMEN_OK);
    f.bytes = read_file(path, &f.n_bytes);
    f.trailer = f.n_bytes - 64;
    f.table = f.trailer - 64 * N_SMALL;
    uint8_t *good = malloc(f.n_bytes);
    need(good != NULL, "malloc");
    memcpy(good, f.bytes, f.n_bytes);
    CHECK_EQ_INT(open_resealed(&f, path, &why), OMEN_OK);
    CHECK(memcmp(good, f.bytes, f.n_bytes) == 0);

#define EXPECT(code, message)                                                                                          \
    do {                                                                                                               \
        CHECK_EQ_INT(open_resealed(&f, path, &why), code);                                                             \
        CHECK_STR_CONTAINS(why.text, message);                                                                         \
        memcpy(f.bytes, good, f.n_bytes);                                                                              \
    } while (0)

    container_store_u16(f.bytes + HEADER_MAJOR, 2);
    EXPECT(OMEN_ERR_UNSUPPORTED, "written by format version 2; this program reads version 1");
    container_store_u16(f.bytes + HEADER_MAJOR, 0);
    EXPECT(OMEN_ERR_UNSUPPORTED, "written by format version 0");
    container_store_u16(f.bytes + HEADER_MINOR, 9);
    CHECK_EQ_INT(open_resealed(&f, path, &why), OMEN_OK);
    container_store_u32(f.bytes + HEADER_FLAGS, 4);
    EXPECT(OMEN_ERR_UNSUPPORTED, "file flags 0x4");
    container_store_u32(f.bytes + HEADER_FLAGS, 1u << 16);
    CHECK_EQ_INT(open_resealed(&f, path, &why), OMEN_OK);
    f.bytes[HEADER_RESERVED + 3] = 1;
    EXPECT(OMEN_ERR_CORRUPT, "reserved");
    container_store_u64(f.bytes + HEADER_IDENTITY, 5);
    EXPECT(OMEN_ERR_CORRUPT, "different files");

    uint8_t *trailer = f.bytes + f.trailer;
    f.bytes[f.trailer + TRAILER_RESERVED] = 1;
    EXPECT(OMEN_ERR_CORRUPT, "reserved");
    container_store_u64(trailer + TRAILER_FILE_BYTES, f.n_bytes + 1);
    EXPECT(OMEN_ERR_CORRUPT, "its trailer says");
    static const uint64_t offsets[] = {0, 1, 4096, 8192, 1u << 30, UINT64_MAX, UINT64_MAX - 63, INT64_MAX};
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        container_store_u64(trailer + TRAILER_TABLE_OFFSET, offsets[i]);
        EXPECT(OMEN_ERR_CORRUPT, "section table");
        container_store_u64(trailer + TRAILER_TABLE_BYTES, offsets[i]);
        EXPECT(OMEN_ERR_CORRUPT, "section table");
        container_store_u64(trailer + TRAILER_TABLE_OFFSET, offsets[i]);
        container_store_u64(trailer + TRAILER_TABLE_BYTES, f.trailer - offsets[i]);
        EXPECT(OMEN_ERR_CORRUPT, "");
    }

    for (int e = 0; e < (int)N_SMALL; e++) {
        for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
            if (container_load_u64(entry_of(&f, e) + ENTRY_OFFSET) != offsets[i]) {
                container_store_u64(entry_of(&f, e) + ENTRY_OFFSET, offsets[i]);
                EXPECT(OMEN_ERR_CORRUPT, "contradicts");
            }
            if (container_load_u64(entry_of(&f, e) + ENTRY_BYTES) != offsets[i]) {
                container_store_u64(entry_of(&f, e) + ENTRY_BYTES, offsets[i]);
                EXPECT(OMEN_ERR_CORRUPT, "contradicts");
                container_store_u64(entry_of(&f, e) + ENTRY_STORED_BYTES, offsets[i]);
                EXPECT(OMEN_ERR_CORRUPT, "contradicts");
                container_store_u64(entry_of(&f, e) + ENTRY_BYTES, offsets[i]);
                container_store_u64(entry_of(&f, e) + ENTRY_STORED_BYTES, offsets[i]);
                /* where the layout stays the same, the checksum of the block tells */
                (void)open_resealed(&f, path, &why);
                CHECK_EQ_INT(open_and_check(path, 1, NULL, &why), OMEN_ERR_CORRUPT);
                memcpy(f.bytes, good, f.n_bytes);
                container_store_u64(entry_of(&f, e) + ENTRY_N_CHECKSUMS, offsets[i] + 5);
                EXPECT(OMEN_ERR_CORRUPT, "contradicts");
            }
        }
        entry_of(&f, e)[ENTRY_RESERVED_A + 1] = 1;
        EXPECT(OMEN_ERR_CORRUPT, "reserved");
        entry_of(&f, e)[ENTRY_RESERVED_B + 7] = 1;
        EXPECT(OMEN_ERR_CORRUPT, "reserved");
    }
    container_store_u32(entry_of(&f, 1) + ENTRY_FLAGS, 2);
    EXPECT(OMEN_ERR_UNSUPPORTED, "section \"SE01\", flags 0x2");
    container_store_u64(entry_of(&f, 1) + ENTRY_CHECKSUMS_HASH, 0); /* of the empty one */
    EXPECT(OMEN_ERR_CORRUPT, "contradicts");
    container_store_u32(entry_of(&f, 1) + ENTRY_ID, 0x1b5b4a1b);
    EXPECT(OMEN_ERR_CORRUPT, "0x1b5b4a1b cannot be the id");
    container_store_u32(entry_of(&f, 2) + ENTRY_ID, section_id(0));
    EXPECT(OMEN_ERR_CORRUPT, "twice");

    /* damaged magics are damage, not another kind of file */
    f.bytes[0] ^= 1;
    EXPECT(OMEN_ERR_CORRUPT, "does not begin like one");
    f.bytes[f.trailer] ^= 1;
    EXPECT(OMEN_ERR_CORRUPT, "no trailer");
    f.bytes[0] ^= 1;
    f.bytes[f.trailer] ^= 1;
    EXPECT(OMEN_ERR_INPUT, "is not an omendb index");
#undef EXPECT
    free(good);
    free(f.bytes);
}

/* ---- the writer's refusals ---- */

static void test_duplicate_id(void)
{
    const char *path = in_directory("twice.omen");
    omen_writer *writer = NULL;
    omen_detail why = {""}, later = {""};

    CHECK_EQ_INT(omen_writer_create(&writer, path, &why), OMEN_OK);
    omen_sink sink = omen_writer_sink(writer);
    CHECK_EQ_INT(sink.start(sink.self, IDENTITY, &why), OMEN_OK);
    CHECK_EQ_INT(sink.begin(sink.self, section_id(0), 0, false, &why), OMEN_OK);
    CHECK_EQ_INT(sink.finish(sink.self, &why), OMEN_OK);
    CHECK_EQ_INT(sink.begin(sink.self, section_id(0), 0, false, &why), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(why.text, "section \"SE00\" is written twice");
    CHECK_EQ_INT(sink.begin(sink.self, section_id(1), 0, false, &later), OMEN_ERR_ARGUMENT);
    CHECK(strcmp(why.text, later.text) == 0);
    CHECK_EQ_INT(omen_writer_commit(writer, NULL, &later), OMEN_ERR_ARGUMENT);
    omen_writer_destroy(writer);
    CHECK(!exists(path) && !exists(in_directory("twice.omen.tmp")));
}

static void test_order(void)
{
    const char *path = in_directory("order.omen");

    for (int misuse = 0; misuse < 9; misuse++) {
        omen_writer *writer = NULL;
        omen_section section;
        omen_detail why = {""};
        int rc = 0;
        CHECK_EQ_INT(omen_writer_create(&writer, path, &why), OMEN_OK);
        omen_sink s = omen_writer_sink(writer);
        if (misuse >= 2) {
            CHECK_EQ_INT(s.start(s.self, 1, &why), OMEN_OK);
        }
        if (misuse >= 5) {
            CHECK_EQ_INT(s.begin(s.self, section_id(0), 0, false, &why), OMEN_OK);
        }
        switch (misuse) {
        case 0:
            rc = s.begin(s.self, section_id(0), 0, false, &why);
            break;
        case 1:
            rc = omen_writer_commit(writer, NULL, &why);
            break;
        case 2:
            rc = s.start(s.self, 1, &why);
            break;
        case 3:
            rc = s.append(s.self, "x", 1, &why);
            break;
        case 4:
            rc = s.finish(s.self, &why);
            break;
        case 5:
            rc = omen_writer_commit(writer, NULL, &why);
            break;
        case 6:
            rc = s.begin(s.self, section_id(1), 0, false, &why);
            break;
        case 7:
            rc = s.map(s.self, section_id(0), &section, &why);
            break;
        case 8:
            rc = s.finish(s.self, &why) + s.begin(s.self, OMEN_FOURCC('t', 'a', 'i', 'l'), 0, false, &why);
            break;
        }
        CHECK_EQ_INT(rc, OMEN_ERR_ARGUMENT);
        CHECK(why.text[0] != '\0');
        omen_writer_destroy(writer);
        CHECK(!exists(path));
    }
}

static void test_too_many_sections(void)
{
    const char *path = in_directory("many.omen");
    omen_writer *writer = NULL;
    omen_detail why = {""};
    int rc = OMEN_OK, n = 0;

    for (int wanted = 1024; wanted <= 1025; wanted++) {
        CHECK_EQ_INT(omen_writer_create(&writer, path, &why), OMEN_OK);
        omen_sink s = omen_writer_sink(writer);
        rc = s.start(s.self, 1, &why);
        for (n = 0; n < wanted && rc == OMEN_OK; n++) {
            const uint32_t id = OMEN_FOURCC('a' + n % 26, 'a' + n / 26 % 26, 'a' + n / 676, 'x');
            if ((rc = s.begin(s.self, id, 0, true, &why)) == OMEN_OK) {
                rc = s.finish(s.self, &why);
            }
        }
        CHECK_EQ_INT(rc, wanted == 1024 ? OMEN_OK : OMEN_ERR_ARGUMENT);
        if (rc == OMEN_OK) {
            CHECK_EQ_INT(omen_writer_commit(writer, NULL, &why), OMEN_OK);
        }
        omen_writer_destroy(writer);
    }
    CHECK_EQ_INT(open_and_check(path, 2, NULL, &why), OMEN_OK);
}

static void test_failed_write(void)
{
    const char *path = in_directory("full.omen");
    struct rlimit old_limit, limit;
    omen_detail why = {""};
    size_t n_before, n_after;

    CHECK_EQ_INT(write_container(path, small_lengths, N_SMALL, 64, &why), OMEN_OK);
    uint8_t *before = read_file(path, &n_before);
    signal(SIGXFSZ, SIG_IGN);
    need(getrlimit(RLIMIT_FSIZE, &old_limit) == 0, "getrlimit");
    static const size_t caps[] = {0, 100, 4096, 5000, 2 * MIB, 3 * MIB + 5, 6 * MIB}; /* of 6.5 MiB and some */
    for (size_t i = 0; i < sizeof caps / sizeof caps[0]; i++) {
        limit = old_limit;
        limit.rlim_cur = caps[i];
        need(setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit");
        const int rc = write_container(path, all_lengths, N_ALL, 99999, &why);
        need(setrlimit(RLIMIT_FSIZE, &old_limit) == 0, "setrlimit");
        CHECK_EQ_INT(rc, OMEN_ERR_IO);
        CHECK_STR_CONTAINS(why.text, "full.omen.tmp\": File too large");
        CHECK_STR_CONTAINS(why.text, "cannot write \"");
        CHECK(!exists(in_directory("full.omen.tmp")));
        uint8_t *after = read_file(path, &n_after);
        CHECK(n_before == n_after && memcmp(before, after, n_before) == 0);
        free(after);
    }
    signal(SIGXFSZ, SIG_DFL);
    free(before);
}

static void test_second_writer(void)
{
    const char *path = in_directory("busy.omen");
    omen_writer *first = NULL, *second = NULL;
    omen_detail why = {""};

    CHECK_EQ_INT(omen_writer_create(&first, path, &why), OMEN_OK);
    omen_sink sink = omen_writer_sink(first);
    CHECK_EQ_INT(sink.start(sink.self, IDENTITY, &why), OMEN_OK);
    CHECK_EQ_INT(omen_writer_create(&second, path, &why), OMEN_ERR_IO);
    CHECK(second == NULL);
    CHECK_STR_CONTAINS(why.text, "another process is writing \"");
    CHECK(exists(in_directory("busy.omen.tmp")));
    CHECK_EQ_INT(omen_writer_commit(first, NULL, &why), OMEN_OK);
    CHECK_EQ_INT(omen_writer_create(&second, path, &why), OMEN_OK); /* the committed file is nobody's temporary */
    omen_writer_destroy(second);
    omen_writer_destroy(first);
    CHECK_EQ_INT(open_and_check(path, 1, NULL, &why), OMEN_OK);
    CHECK(!exists(in_directory("busy.omen.tmp")));
}

/* What a killed process leaves is taken over, and none of its bytes survive. */
static void test_left_over(void)
{
    const char *path = in_directory("left.omen");
    omen_detail why = {""};
    size_t n, n_clean;

    CHECK_EQ_INT(write_container(path, small_lengths, N_SMALL, 64, &why), OMEN_OK);
    uint8_t *clean = read_file(path, &n_clean);
    uint8_t *junk = malloc(MIB);
    need(junk != NULL, "malloc");
    memset(junk, 0xaa, MIB);
    write_file(in_directory("left.omen.tmp"), junk, MIB);
    CHECK_EQ_INT(write_container(path, small_lengths, N_SMALL, 64, &why), OMEN_OK);
    uint8_t *bytes = read_file(path, &n);
    CHECK(n == n_clean && memcmp(bytes, clean, n) == 0);
    CHECK(!exists(in_directory("left.omen.tmp")));
    free(bytes);
    free(junk);
    free(clean);
}

static void test_refused_targets(void)
{
    omen_writer *writer = NULL;
    omen_detail why = {""};

    CHECK_EQ_INT(omen_writer_create(&writer, directory, &why), OMEN_ERR_IO);
    CHECK_STR_CONTAINS(why.text, "Is a directory");
    CHECK_EQ_INT(omen_writer_create(&writer, "", &why), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(omen_writer_create(&writer, "/dev/null", &why), OMEN_ERR_IO);
    CHECK_STR_CONTAINS(why.text, "not a regular file");
    CHECK_EQ_INT(omen_writer_create(&writer, in_directory("absent/x.omen"), &why), OMEN_ERR_IO);
    CHECK_STR_CONTAINS(why.text, "absent/x.omen.tmp\": No such file");
    CHECK(writer == NULL);

    /* a link planted under the temporary's name must not lead the writer to another file */
    const char *victim = in_directory("victim"), *link = in_directory("linked.omen.tmp");
    write_file(victim, (const uint8_t *)"precious", 8);
    need(symlink(victim, link) == 0, link);
    CHECK_EQ_INT(omen_writer_create(&writer, in_directory("linked.omen"), &why), OMEN_ERR_IO);
    size_t n;
    uint8_t *bytes = read_file(victim, &n);
    CHECK_EQ_INT(n, 8);
    free(bytes);
    CHECK(exists(link));
}

/* The temporary vanishes, or another takes its name: commit must not publish what is not its own. */
static void test_stolen_temporary(void)
{
    const char *path = in_directory("stolen.omen"), *temp = in_directory("stolen.omen.tmp");

    for (int replaced = 0; replaced < 2; replaced++) {
        omen_writer *writer = NULL;
        omen_detail why = {""};
        CHECK_EQ_INT(omen_writer_create(&writer, path, &why), OMEN_OK);
        omen_sink sink = omen_writer_sink(writer);
        CHECK_EQ_INT(sink.start(sink.self, IDENTITY, &why), OMEN_OK);
        unlink(temp);
        if (replaced) {
            write_file(temp, (const uint8_t *)"other", 5);
        }
        CHECK_EQ_INT(omen_writer_commit(writer, NULL, &why), OMEN_ERR_IO);
        CHECK_STR_CONTAINS(why.text, "was removed or replaced");
        omen_writer_destroy(writer);
        CHECK(!exists(path));
        CHECK_EQ_INT(exists(temp), replaced);
    }
}

/* Writers of several processes race for one path: each succeeds or is refused as busy, and what the path shows is whole
 * at any moment. */
static void test_racing_writers(void)
{
    const char *path = in_directory("race.omen");
    pid_t children[4];
    omen_detail why = {""};

    CHECK_EQ_INT(write_container(path, small_lengths, N_SMALL, 64, &why), OMEN_OK);
    fflush(stdout); /* or each child has a copy */
    for (int c = 0; c < 4; c++) {
        children[c] = fork();
        need(children[c] >= 0, "fork");
        if (children[c] == 0) {
            racing = true;
            for (int i = 0; i < 100; i++) {
                const int rc = write_container(path, small_lengths, N_SMALL - (size_t)c % 2, 64, &why);
                if (rc != OMEN_OK && (rc != OMEN_ERR_IO || strstr(why.text, "another process is writing") == NULL)) {
                    printf("# %s\n", why.text);
                    fflush(stdout);
                    _exit(1);
                }
            }
            _exit(0);
        }
    }
    for (int i = 0; i < 100; i++) {
        CHECK_EQ_INT(open_and_check(path, 1, NULL, &why), OMEN_OK);
    }
    for (int c = 0; c < 4; c++) {
        int status = -1;
        CHECK(waitpid(children[c], &status, 0) == children[c] && status == 0);
    }
    CHECK_EQ_INT(open_and_check(path, 1, NULL, &why), OMEN_OK);
    CHECK(!exists(in_directory("race.omen.tmp")));
}

static void test_null_is_fine(void)
{
    omen_writer_destroy(NULL);
    omen_container_close(NULL);
    CHECK_EQ_INT(open_only(in_directory("absent"), NULL), OMEN_ERR_IO);
}

int main(void)
{
    const char *base = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%s/omendb-container-XXXXXX", base != NULL ? base : "/tmp");
    need(mkdtemp(directory) != NULL, directory);

    RUN(test_round_trip);
    RUN(test_no_sections);
    RUN(test_same_bytes);
    RUN(test_documented_bytes);
    RUN(test_map);
    RUN(test_every_flip_is_found);
    RUN(test_every_cut_is_refused);
    RUN(test_damage_is_located);
    RUN(test_blocks_are_checked);
    RUN(test_other_files);
    RUN(test_lies_are_refused);
    RUN(test_duplicate_id);
    RUN(test_order);
    RUN(test_too_many_sections);
    RUN(test_failed_write);
    RUN(test_second_writer);
    RUN(test_left_over);
    RUN(test_refused_targets);
    RUN(test_stolen_temporary);
    RUN(test_racing_writers);
    RUN(test_null_is_fine);

    static const char *const left[] = {"round.omen", "none.omen", "same.omen", "bytes.omen",     "map.omen",
                                       "flip.omen",  "cut.omen",  "other",     "located.omen",   "blocks.omen",
                                       "lie.omen",   "many.omen", "full.omen", "busy.omen",      "linked.omen.tmp",
                                       "victim",     "left.omen", "race.omen", "stolen.omen.tmp"};
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        unlink(in_directory(left[i]));
    }
    rmdir(directory);
    return check_finish();
}
