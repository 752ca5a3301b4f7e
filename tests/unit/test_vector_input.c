/* SPDX-License-Identifier: Apache-2.0 */
/* What an input is taken for: contradictions, other content, standard input. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "formats/deflate.h"
#include "formats/omendb_files.h"
#include "formats/vectors.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include "tests/unit/vector_files.h"

static void test_contradictions(void)
{
    blob vecs = {0}, npy = {0}, fbin = {0}, idx = {0};
    add_vecs(&vecs, "f4", 20, 5);
    add_npy(&npy, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (20, 5), }");
    add_rows(&npy, "f4", false, 20, 5);
    add_u32(&fbin, 20);
    add_u32(&fbin, 5);
    add_rows(&fbin, "f4", false, 20, 5);
    add_idx(&idx, 0x0D, 2, 20, 5, 0);
    add_rows(&idx, "f4", true, 20, 5);
    const struct {
        const blob *b;
        const char *name;
    } files[] = {{&vecs, "fvecs"}, {&npy, "npy"}, {&fbin, "fbin"}, {&idx, "idx"}};
    static const char *const others[] = {"fvecs", "npy", "fbin", "idx", "bvecs", "i8bin", "raw"};
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 7; j++) {
            char name[32], part[64];
            if (strcmp(files[i].name, others[j]) == 0)
                continue;
            snprintf(name, sizeof(name), "wrong.%s", others[j]);
            snprintf(part, sizeof(part), "looks like %s (try options.format %s", files[i].name, files[i].name);
            save(name, files[i].b);
            refuse(name, NULL, 5, OMEN_ERR_INPUT, part);
            expect(name, files[i].name, 0, files[i].name, 20, 5, 0);
            if (strcmp(others[j], "raw") != 0) {
                save("plain", files[i].b);
                refuse("plain", others[j], 0, OMEN_ERR_INPUT, part);
            }
        }
        save("plain", files[i].b);
        expect("plain", NULL, 0, files[i].name, 20, 5, 0);
        save("plain.unknown", files[i].b);
        expect("plain.unknown", NULL, 5, files[i].name, 20, 5, 0);
    }
    save("x.fbin", &vecs);
    refuse("x.fbin", NULL, 0, OMEN_ERR_INPUT, "x.fbin\" is not fbin: the header says 5 x 3262119936, ");

    blob b = {0};
    add_u32(&b, 20);
    add_u32(&b, 5);
    add_rows(&b, "u1", false, 20, 5);
    refuse_blob("plain", &b, OMEN_ERR_INPUT, "may be u8bin or i8bin: choose with options.format");
    refuse_blob("wrong.fbin", &b, OMEN_ERR_INPUT, "looks like u8bin or i8bin");
    refuse_blob("text.txt", &(blob){6, "1;2;3\n"}, OMEN_ERR_INPUT, omen_vectors_formats());
    refuse("text.txt", "parquet", 0, OMEN_ERR_ARGUMENT, "unknown format \"parquet\": the formats are fvecs, ");

    /* Every name listed is a format. */
    char names[256];
    snprintf(names, sizeof(names), "%s", omen_vectors_formats());
    for (char *name = strtok(names, ", "); name; name = strtok(NULL, ", "))
        refuse("absent", name, 0, OMEN_ERR_IO, "cannot open");
}

static void test_other_content(void)
{
    blob b = {0};
    refuse_blob("empty.fvecs", &b, OMEN_ERR_INPUT, "empty.fvecs\" is empty");
    add(&b,
        "\xfd"
        "7zXZ\0....",
        10);
    save("x.idx.xz", &b);
    refuse("x.idx.xz", NULL, 0, OMEN_ERR_INPUT,
           "x.idx.xz\" is compressed: open what xzcat makes of it, with "
           "options.format idx");
    refuse("x.idx.xz", "npy", 0, OMEN_ERR_INPUT, "with options.format npy");
    refuse_blob("x.xz", &b, OMEN_ERR_INPUT, "xzcat makes of it, with options.format FORMAT");
    refuse_blob("x.fvecs", &b, OMEN_ERR_INPUT, "xzcat");
    refuse_blob("x.raw", &b, OMEN_ERR_INPUT, "xzcat");
    refuse_blob("odd name.npy", &b, OMEN_ERR_INPUT,
                "odd name.npy\" is compressed: open what xzcat makes of it, with options.format npy");
    b.n = 0;
    add(&b, "BZh91AY&SY", 10);
    refuse_blob("x.fvecs.bz2", &b, OMEN_ERR_INPUT, "bzcat");
    b.n = 0;
    add(&b, "\x04\x22\x4d\x18....", 8);
    refuse_blob("x.fvecs.lz4", &b, OMEN_ERR_INPUT, "lz4cat");
    b.n = 0;
    add(&b, "OMENDB\r\n........", 16);
    refuse_blob("x.omen", &b, OMEN_ERR_INPUT, "x.omen\" is an omendb index");
    refuse("x.omen", "raw", 4, OMEN_ERR_INPUT, "is an omendb index");
    refuse_blob("x.fvecs", &b, OMEN_ERR_INPUT, "is an omendb index");

    refuse("absent.fvecs", NULL, 0, OMEN_ERR_IO, "cannot open \"");
    refuse("absent.fvecs", NULL, 0, OMEN_ERR_IO, "absent.fvecs\": No such file or directory");
    refuse(directory, NULL, 0, OMEN_ERR_IO, "\" is a directory");
    refuse("new\nline.fvecs", NULL, 0, OMEN_ERR_IO, "new?line");
    char name[401] = "/";
    memset(name + 1, 'x', 399);
    refuse(name, NULL, 0, OMEN_ERR_IO, "\"...xx");
    refuse(name, NULL, 0, OMEN_ERR_IO, "File name too long");
}

/* A gzip member whose deflate data is one stored block; the checksum is that of these bytes. */
static void add_gzip(blob *b, const blob *from, uint32_t checksum)
{
    add(b, "\x1f\x8b\x08\0\0\0\0\0\0\3\1", 11);
    add_u32(b, (uint32_t)from->n | (~(uint32_t)from->n & 0xffff) << 16);
    add(b, from->bytes, from->n);
    add_u32(b, checksum);
    add_u32(b, (uint32_t)from->n);
}

static void test_gzip(void)
{
    blob rows = {0}, whole = {0}, b = {0};
    add_vecs(&rows, "f4", 20, 5);
    const uint32_t checksum = omen_crc32(rows.bytes, rows.n);
    add_gzip(&whole, &rows, checksum);
    save("x.fvecs.gz", &whole);
    expect("x.fvecs.gz", NULL, 0, "fvecs", 20, 5, 0);
    save("plain", &whole);
    expect("plain", NULL, 0, "fvecs", 20, 5, 0);
    /* two members, and the zeros of a block that is filled up */
    add(&b, whole.bytes, whole.n);
    add(&b, whole.bytes, whole.n);
    add(&b, "\0\0\0\0\0", 5);
    save("x.fvecs.gz", &b);
    omen_vectors *vectors;
    CHECK_EQ_INT(try_open("x.fvecs.gz", NULL, 0, &vectors), OMEN_OK);
    CHECK_EQ_INT(omen_vectors_source(vectors).n_rows, 40);
    omen_vectors_close(vectors);
    add(&b, "x", 1);
    refuse_blob("x.fvecs.gz", &b, OMEN_ERR_INPUT, "bytes of gzip is not gzip");
    /* cut anywhere: never read as something else */
    b = whole;
    for (b.n = whole.n - 1; b.n > 10; b.n -= 7)
        refuse_blob("x.fvecs.gz", &b, OMEN_ERR_INPUT, "it is cut short");
    b.n = 0;
    add_gzip(&b, &rows, checksum ^ 1);
    refuse_blob("x.fvecs.gz", &b, OMEN_ERR_INPUT, "damaged: incorrect data check");
    b.n = 0;
    add_gzip(&b, &whole, omen_crc32(whole.bytes, whole.n));
    refuse_blob("x.fvecs.gz", &b, OMEN_ERR_INPUT, "is compressed");

    /* rows that begin like gzip by chance: the length says what they are */
    enum { N = 559903 };
    static unsigned char chance[8 + N] = {0x1f, 0x8b, 8, 0, 1, 0, 0, 0};
    save_bytes("x.u8bin", chance, sizeof(chance));
    CHECK_EQ_INT(try_open("x.u8bin", NULL, 0, &vectors), OMEN_OK);
    CHECK_EQ_INT(omen_vectors_source(vectors).n_rows, N);
    omen_vectors_close(vectors);
}

static void redirect(int fd)
{
    dup2(fd, STDIN_FILENO);
    close(fd);
}

/* Puts bytes into a pipe on standard input. The pipe holds them all, so that no second process is needed. */
static void pipe_in(const blob *b)
{
    int ends[2];
    CHECK_EQ_INT(pipe(ends), 0);
    CHECK_EQ_INT(write(ends[1], b->bytes, b->n), b->n);
    close(ends[1]);
    redirect(ends[0]);
}

static void test_standard_input(void)
{
    int saved = dup(STDIN_FILENO);
    blob b = {0}, raw = {0};
    add_vecs(&b, "f4", 20, 5);
    add_rows(&raw, "f4", false, 20, 5);
    pipe_in(&b);
    expect("-", "fvecs", 0, "fvecs", 20, 5, 0);
    pipe_in(&b);
    expect("-", NULL, 0, "fvecs", 20, 5, 0);
    pipe_in(&raw);
    expect("-", "raw", 5, "raw", 20, 5, 0);
    pipe_in(&raw);
    refuse("-", NULL, 0, OMEN_ERR_ARGUMENT, "standard input needs its format named with options.format");
    pipe_in(&(blob){0});
    refuse("-", "fvecs", 0, OMEN_ERR_INPUT, "standard input is empty");
    pipe_in(&(blob){5, "\x04\x22\x4d\x18"});
    refuse("-", NULL, 0, OMEN_ERR_INPUT,
           "standard input is compressed: open what lz4cat makes of it, with options.format FORMAT");
    pipe_in(&b);
    setenv("TMPDIR", path_of("absent"), 1);
    refuse("-", "fvecs", 0, OMEN_ERR_IO, "absent\": No such file or directory");
    setenv("TMPDIR", directory, 1);
    expect("-", "fvecs", 0, "fvecs", 20, 5, 0);
    unsetenv("TMPDIR");

    save("a.fvecs", &b);
    redirect(open(path_of("a.fvecs"), O_RDONLY));
    expect("-", NULL, 0, "fvecs", 20, 5, 0);
    expect("-", NULL, 0, "fvecs", 20, 5, 0);
    /* Only what has not been read yet is the input. */
    blob late = {0};
    add(&late, "skip", 4);
    add(&late, b.bytes, b.n);
    save("late", &late);
    redirect(open(path_of("late"), O_RDONLY));
    CHECK_EQ_INT(lseek(STDIN_FILENO, 4, SEEK_SET), 4);
    expect("-", NULL, 0, "fvecs", 20, 5, 0);

    /* So is a pipe that has a name, as the shell's <(...) has. */
    pipe_in(&b);
    expect("/dev/stdin", NULL, 5, "fvecs", 20, 5, 0);

    omen_vectors *vectors;
    close(STDIN_FILENO);
    CHECK_EQ_INT(try_open("-", "fvecs", 0, &vectors), OMEN_ERR_IO);
    CHECK_STR_CONTAINS(detail.text, "cannot open standard input: Bad file descriptor");
    dup2(saved, STDIN_FILENO);
    close(saved);
}

int main(void)
{
    directory_make();
    RUN(test_contradictions);
    RUN(test_other_content);
    RUN(test_gzip);
    RUN(test_standard_input);
    directory_remove();
    return check_finish();
}
