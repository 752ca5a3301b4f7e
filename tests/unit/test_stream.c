/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a stream that comes in pieces, and rows of text: the rows of a file, whatever is read at once; what is wrong
 * is told. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "formats/vectors_stream.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include "tests/unit/vector_files.h"

#define N_ROWS 5u
#define DIM    3u

/* ---- a sender ---- */

typedef struct {
    int fd;
    const blob *bytes;
    size_t n_piece;
} sender;

static void *send_pieces(void *self)
{
    const sender *s = self;
    for (size_t at = 0; at < s->bytes->n; at += s->n_piece) {
        const size_t left = s->bytes->n - at, n = left < s->n_piece ? left : s->n_piece;
        if (write(s->fd, s->bytes->bytes + at, n) != (ssize_t)n)
            break; /* the reader has had enough */
        usleep(s->n_piece < 8 ? 300 : 0);
    }
    close(s->fd);
    return NULL;
}

static int count_waits(void *context, omen_detail *why)
{
    ++*(unsigned *)context;
    (void)why;
    return OMEN_OK;
}

static int refuse_to_wait(void *context, omen_detail *why)
{
    (void)context;
    return omen_fail(why, OMEN_ERR_INTERRUPTED, "it would take too long");
}

/* What is read of a stream: rows as they come, n_most at once, or all of it kept. */
typedef struct {
    int status;
    uint64_t n_rows;
    uint32_t d;
    bool is_stream; /* they came one by one */
    float rows[64];
} received;

/* As standard input, which may not wait, or by the name of the pipe. */
static received receive(const blob *bytes, size_t n_piece, uint64_t n_most, const char *suffix,
                        const omen_vectors_options *options, bool is_input)
{
    received r = {.status = OMEN_OK};
    omen_vectors_stream *stream = NULL;
    omen_vectors *vectors = NULL;
    unsigned n_waits = 0;
    char name[64];
    int ends[2];
    pthread_t thread;
    CHECK(pipe(ends) == 0);
    snprintf(name, sizeof name, "/dev/fd/%d%s", ends[0], suffix);
    if (is_input) {
        snprintf(name, sizeof name, "-%s", suffix);
        CHECK(dup2(ends[0], STDIN_FILENO) == STDIN_FILENO && fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK) == 0);
    }
    sender s = {.fd = ends[1], .bytes = bytes, .n_piece = n_piece};
    CHECK(pthread_create(&thread, NULL, send_pieces, &s) == 0);
    detail.text[0] = '\0';
    r.status = omen_vectors_stream_open(&stream, &vectors, name, options, &detail);
    r.is_stream = stream;
    if (stream) {
        r.d = omen_vectors_stream_dim(stream);
        for (uint64_t n = 1; r.status == OMEN_OK && n > 0 && r.d <= 8 && r.n_rows + n_most <= 8; r.n_rows += n)
            r.status =
                omen_vectors_stream_next(stream, n_most, count_waits, &n_waits, r.rows + r.n_rows * r.d, &n, &detail);
    } else if (vectors) {
        const omen_source source = omen_vectors_source(vectors);
        r.n_rows = source.n_rows;
        r.d = source.d;
        if (r.n_rows * r.d <= 64)
            r.status = source.read(source.self, 0, r.n_rows, r.rows, &detail);
    }
    omen_vectors_stream_close(stream);
    omen_vectors_close(vectors);
    close(ends[0]);
    if (is_input)
        close(STDIN_FILENO);
    pthread_join(thread, NULL);
    return r;
}

/* ---- tests ---- */

static blob text_of(const char *text)
{
    blob b = {0};
    add(&b, text, strlen(text));
    return b;
}

static blob npy_of(const char *header)
{
    blob b = {0};
    add_npy(&b, 1, header);
    add_rows(&b, "f4", false, N_ROWS, DIM);
    return b;
}

/* The test array in each format, in pieces of each size. */
static void test_pieces(void)
{
    blob vecs = {0}, bin = {0}, csv = {0}, jsonl = {0};
    const blob npy = npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (5, 3), }\n");
    add_vecs(&vecs, "f4", N_ROWS, DIM);
    add_u32(&bin, N_ROWS);
    add_u32(&bin, DIM);
    add_rows(&bin, "f4", false, N_ROWS, DIM);
    for (unsigned i = 0; i < N_ROWS; i++) {
        char text[64];
        int n = snprintf(text, sizeof text, "%g,%g,%g\n", (double)value_at(i, 0), (double)value_at(i, 1),
                         (double)value_at(i, 2));
        add(&csv, text, (size_t)n - (i + 1 == N_ROWS)); /* the last line has no end */
        n = snprintf(text, sizeof text, "[%g,%g,%g]\n", (double)value_at(i, 0), (double)value_at(i, 1),
                     (double)value_at(i, 2));
        add(&jsonl, text, (size_t)n);
    }
    const struct {
        const char *format;
        const blob *bytes;
    } cases[] = {{"fvecs", &vecs}, {"fbin", &bin}, {"csv", &csv}, {"jsonl", &jsonl}, {"npy", &npy}, {NULL, &npy}};
    static const size_t sizes[] = {1, 2, 7, 1000};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++)
            for (int k = 0; k < 4; k++) {
                const omen_vectors_options options = {.format = cases[i].format, .d = k % 2 ? DIM : 0};
                const received r = receive(cases[i].bytes, sizes[j], k < 2 ? 1 : 3, "", &options, k == 3);
                unsigned bad = 0;
                CHECK_CASE(r.status == OMEN_OK && r.n_rows == N_ROWS && r.d == DIM && r.is_stream,
                           "format %zu, %zu bytes at once: %d, %llu rows, %s", i, sizes[j], r.status,
                           (unsigned long long)r.n_rows, detail.text);
                for (unsigned at = 0; at < N_ROWS * DIM; at++)
                    bad += r.rows[at] != value_at(at / DIM, at % DIM);
                CHECK_CASE(bad == 0, "format %zu, %zu bytes at once: %u values", i, sizes[j], bad);
            }
}

/* What is no stream of rows is kept and read as a file, and what is wrong is told. */
static void test_others(void)
{
    static const struct {
        const char *format, *suffix, *text;
        uint32_t d;
        int status;
        const char *part; /* of the reason */
        uint64_t n_rows;
        bool is_stream;
    } cases[] = {
        {NULL, "", "1,2\n3,4\n", 0, OMEN_OK, "", 2, false},
        {NULL, "", "\x93NUM", 0, OMEN_ERR_INPUT, "", 0, false},
        {NULL, "", "", 0, OMEN_ERR_INPUT, "is empty", 0, false},
        {"csv", "", "1,2\n3,4\n", 3, OMEN_ERR_ARGUMENT, "has 2 dimensions, not 3 as asked for", 0, false},
        {"csv", "", "1,2\n\n3,4\n", 0, OMEN_ERR_INPUT, "line 2", 1, true},
        {"csv", "", "1,2\n3,x\n", 0, OMEN_ERR_INPUT, "line 2", 1, true},
        {"csv", "", "\n\n", 0, OMEN_ERR_INPUT, "", 0, false},
        {"csv", "", "\xef\xbb\xbf", 0, OMEN_ERR_INPUT, "", 0, false},
        {"csv", "",
         "\xef\xbb\xbf"
         "1,2\n",
         0, OMEN_OK, "", 1, true},
        {"npy", "", "1,2\n3,4\n", 0, OMEN_ERR_INPUT, "npy magic string", 0, false},
        {"npy", "", "\x93NUMPY\1", 0, OMEN_ERR_INPUT, "cut short", 0, false},
        {"npy", "", "\x93NUMPY\2\0\xff\xff\xff\x7f", 0, OMEN_ERR_INPUT, "", 0, false},
        {"fvecs", "", "\2\0\0\0abcdabcd\2\0\0\0ab", 0, OMEN_ERR_INPUT, "row 1 is cut short: 6 of its 12 bytes", 1,
         true},
        {"fvecs", "", "\2\0\0\0abcdabcd\3\0\0\0abcdabcd", 0, OMEN_ERR_INPUT, "row 1", 1, true},
        {"fbin", "", "\2", 0, OMEN_ERR_INPUT, "cut short", 0, false},
        {"jsonl", ":v", "{\"v\":[1,2]}\n{\"v\":[3,4],\"w\":1}\n", 0, OMEN_OK, "", 2, true},
        {"jsonl", ":w", "{\"v\":[1,2]}\n", 0, OMEN_ERR_INPUT, "w", 0, false},
        {"csv", ":w", "1,2\n", 0, OMEN_ERR_ARGUMENT, "", 0, false},
        {"nonsense", "", "1,2\n", 0, OMEN_ERR_ARGUMENT, "nonsense", 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        blob b = text_of(cases[i].text);
        if (i == 11)
            b.n = 12; /* a zero is among them */
        if (cases[i].format && strcmp(cases[i].format, "fvecs") == 0)
            b.n = 0, add(&b, cases[i].text, i == 12 ? 18 : 24);
        const omen_vectors_options options = {.format = cases[i].format, .d = cases[i].d};
        for (size_t n_piece = 2; n_piece <= 1000; n_piece += 998) {
            const received r = receive(&b, n_piece, 1, cases[i].suffix, &options, i % 2);
            CHECK_CASE(r.status == cases[i].status || (cases[i].status != OMEN_OK && r.status != OMEN_OK && i == 17),
                       "case %zu: %d, %s", i, r.status, detail.text);
            CHECK_CASE(strstr(r.status == OMEN_OK ? "" : detail.text, cases[i].part), "case %zu: %s", i, detail.text);
            CHECK_CASE(r.n_rows == cases[i].n_rows && r.is_stream == cases[i].is_stream, "case %zu: %llu rows", i,
                       (unsigned long long)r.n_rows);
        }
    }
}

/* A wait that is refused ends the reading, after the rows that were there. */
static void test_no_wait(void)
{
    const blob csv = text_of("1,2\n3,4\n");
    const omen_vectors_options options = {.format = "csv"};
    omen_vectors_stream *stream = NULL;
    omen_vectors *vectors = NULL;
    float rows[8];
    uint64_t n;
    char name[32];
    int ends[2];
    CHECK(pipe(ends) == 0 && write(ends[1], csv.bytes, csv.n) == (ssize_t)csv.n);
    snprintf(name, sizeof name, "/dev/fd/%d", ends[0]);
    CHECK_EQ_INT(omen_vectors_stream_open(&stream, &vectors, name, &options, &detail), OMEN_OK);
    CHECK_EQ_INT(omen_vectors_stream_next(stream, 4, refuse_to_wait, NULL, rows, &n, &detail), OMEN_OK);
    CHECK_EQ_INT(n, 2);
    CHECK_EQ_INT(omen_vectors_stream_next(stream, 4, refuse_to_wait, NULL, rows, &n, &detail), OMEN_ERR_INTERRUPTED);
    CHECK_STR_CONTAINS(detail.text, "it would take too long");
    CHECK_EQ_INT(omen_vectors_stream_next(stream, 4, refuse_to_wait, NULL, rows, &n, NULL), OMEN_ERR_INTERRUPTED);
    omen_vectors_stream_close(stream);
    close(ends[0]);
    close(ends[1]);
}

/* ---- long texts ---- */

static int count_told(void *context, const char *stage, uint64_t done, uint64_t total)
{
    int *left = context;
    CHECK(strcmp(stage, "convert") == 0 && done <= total);
    return (*left)-- == 0;
}

/* More values than are kept in memory: they come back, and reading ends when it is asked to. */
static void test_long_text(void)
{
    enum { N = 5000, D = 100 };
    FILE *file = fopen(path_of("long.csv"), "w");
    float row[D];
    int left = 1 << 30, n_told;
    omen_vectors_options options = {.progress = count_told, .context = &left};
    omen_vectors *vectors;
    for (unsigned i = 0; i < N; i++)
        for (unsigned j = 0; j < D; j++)
            fprintf(file, "%g%c", (double)value_at(i, j), j + 1 < D ? ',' : '\n');
    CHECK(fclose(file) == 0);
    CHECK_EQ_INT(omen_vectors_open(&vectors, path_of("long.csv"), &options, &detail), OMEN_OK);
    const omen_source source = omen_vectors_source(vectors);
    CHECK(source.n_rows == N && source.d == D);
    for (unsigned i = 0; i < N; i += 499) {
        unsigned bad = 0;
        CHECK_EQ_INT(source.read(source.self, i, 1, row, &detail), OMEN_OK);
        for (unsigned j = 0; j < D; j++)
            bad += row[j] != value_at(i, j);
        CHECK_EQ_INT(bad, 0);
    }
    omen_vectors_close(vectors);
    n_told = (1 << 30) - left;
    CHECK(n_told > 0);
    for (int i = 0; i < n_told; i++) {
        left = i;
        CHECK_EQ_INT(omen_vectors_open(&vectors, path_of("long.csv"), &options, &detail), OMEN_ERR_INTERRUPTED);
        omen_vectors_close(vectors);
    }
}

/* A line of more than 16 MiB, in a file and in a stream. */
static void test_long_line(void)
{
    static const size_t n = (17u << 20);
    char *text = malloc(n);
    memset(text, '1', n);
    memcpy(text, "1,2\n", 4);
    save_bytes("line.csv", text, n);
    refuse("line.csv", NULL, 0, OMEN_ERR_INPUT, "line 2 is longer than 16 MiB");
    free(text);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* of readers that have had enough */
    directory_make();
    RUN(test_pieces);
    RUN(test_others);
    RUN(test_no_wait);
    RUN(test_long_text);
    RUN(test_long_line);
    directory_remove();
    return check_finish();
}
