/* SPDX-License-Identifier: Apache-2.0 */
/* Nothing that was changed passes. Lies with correct checksums are made by changing a record and sealing everything
 * that covers it again. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "formats/container.h"
#include "formats/container_format.h"
#include "tests/unit/check.h"
#include "tests/unit/container_files.h"
#include "tests/unit/scratch.h"

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
            const int status = open_and_check(path, 1, &log, &why);
            if (status != OMEN_ERR_CORRUPT)
                printf("# byte %zu, mask 0x%x\n", i, masks[m]);
            CHECK_EQ_INT(status, OMEN_ERR_CORRUPT);
            bool located = log.n == 0; /* refused by open */
            for (int k = 0; k < log.n && k < 8; k++)
                located |= log.first[k] <= i && i < log.first[k] + log.n_bytes[k];
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

int main(void)
{
    directory_make();
    RUN(test_every_flip_is_found);
    RUN(test_every_cut_is_refused);
    RUN(test_damage_is_located);
    RUN(test_blocks_are_checked);
    RUN(test_other_files);
    RUN(test_lies_are_refused);
    directory_remove();
    return check_finish();
}
