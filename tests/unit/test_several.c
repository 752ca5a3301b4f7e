/* SPDX-License-Identifier: Apache-2.0 */
/* Several files of vectors as one: rows across their ends, what is known of each, and how their paths are found. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/input_paths.h"
#include "formats/omendb_files.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include "tests/unit/vector_files.h"

#define D    5u
#define MOST 8u

/* One of the files: its rows are the first of the test array, plus shift. */
typedef struct {
    const char *name;
    unsigned n;
    float shift;
} file;

static const file floats = {"floats.fvecs", 20, 0}, doubles = {"doubles.npy", 7, 0}, halves = {"halves.npy", 1, 0};
static const file bytes = {"bytes.u8bin", 11, 60}, more_bytes = {"more.bvecs", 3, 60};

static void make_files(void)
{
    blob b = {0};
    add_vecs(&b, "f4", floats.n, D);
    save(floats.name, &b);
    b.n = 0;
    add_npy(&b, 1, "{'descr': '<f8', 'fortran_order': True, 'shape': (7, 5), }");
    for (unsigned i = 0; i < doubles.n * D; i++) /* by columns */
        add_one(&b, "f8", false, value_at(i % doubles.n, i / doubles.n));
    save(doubles.name, &b);
    b.n = 0;
    add_npy(&b, 1, "{'descr': '>f2', 'fortran_order': False, 'shape': (1, 5), }");
    add_rows(&b, "f2", true, halves.n, D);
    save(halves.name, &b);
    b.n = 0;
    add_u32(&b, bytes.n);
    add_u32(&b, D);
    add_rows(&b, "u1", false, bytes.n, D);
    save(bytes.name, &b);
    b.n = 0;
    add_vecs(&b, "u1", more_bytes.n, D);
    save(more_bytes.name, &b);
    b.n = 0;
    add_vecs(&b, "f4", 4, D + 1);
    save("wide.fvecs", &b);
    b.n = 0;
    add_vecs(&b, "f4", 4, D);
    memcpy(b.bytes + 2 * (4 + 4 * D) + 4, "\0\0\xc0\x7f", 4);
    save("nan.fvecs", &b);
}

/* Opens files by name; returns as omen_vectors_open_several(). */
static int open_names(const char *const *names, size_t n, omen_vectors **out)
{
    char *paths[MOST] = {NULL};
    for (size_t i = 0; i < n; i++)
        paths[i] = strdup(path_of(names[i]));
    detail.text[0] = '\0';
    const int status = omen_vectors_open_several(out, (const char *const *)paths, n, NULL, &detail);
    for (size_t i = 0; i < n; i++)
        free(paths[i]);
    CHECK((status == OMEN_OK) == !!*out);
    return status;
}

static float value_of(const file *files, uint64_t row, uint64_t column)
{
    while (row >= files->n)
        row -= files++->n;
    return value_at(row, column) + files->shift;
}

/* Expects every range of rows of the files together, and what is known of them. */
static void expect_several(const file *files, size_t n_files, uint32_t element_bytes, bool are_bytes,
                           const char *format)
{
    const char *names[MOST];
    omen_vectors *vectors;
    uint64_t n = 0, n_bytes = 0;
    size_t n_parts;
    for (size_t i = 0; i < n_files; i++) {
        names[i] = files[i].name;
        n += files[i].n;
    }
    CHECK_EQ_INT(open_names(names, n_files, &vectors), OMEN_OK);
    if (!vectors)
        return;
    const omen_source source = omen_vectors_source(vectors);
    const omen_source_part *parts = omen_vectors_parts(vectors, &n_parts);
    CHECK_EQ_INT(source.n_rows, n);
    CHECK_EQ_INT(source.d, D);
    CHECK_EQ_INT(source.element_bytes, element_bytes);
    CHECK(!source.read_bytes == !are_bytes);
    CHECK(strcmp(omen_vectors_format(vectors), format) == 0);
    CHECK_EQ_INT(n_parts, n_files);
    for (size_t i = 0; i < n_parts; i++) {
        CHECK_EQ_INT(parts[i].n_rows, files[i].n);
        CHECK_STR_CONTAINS(parts[i].name, files[i].name);
        n_bytes += parts[i].n_bytes;
    }
    CHECK_EQ_INT(source.n_bytes, n_bytes);
    float *rows = malloc(n * D * sizeof *rows);
    for (uint64_t first = 0; first <= n; first++) {
        for (uint64_t part = 0; part <= n - first; part++) {
            int bad = 0;
            CHECK_EQ_INT(source.read(source.self, first, part, rows, &detail), OMEN_OK);
            for (uint64_t i = 0; i < part * D; i++)
                bad += rows[i] != value_of(files, first + i / D, i % D);
            uint8_t *read = (uint8_t *)rows;
            if (are_bytes)
                CHECK_EQ_INT(source.read_bytes(source.self, first, part, read, &detail), OMEN_OK);
            for (uint64_t i = 0; i < part * D && are_bytes; i++)
                bad += read[i] != value_of(files, first + i / D, i % D);
            CHECK_CASE(bad == 0, "rows %d + %d", (int)first, (int)part);
            source.release(source.self, first, part);
        }
    }
    CHECK_EQ_INT(source.read(source.self, n, 1, rows, &detail), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(source.read(source.self, 1, UINT64_MAX, rows, &detail), OMEN_ERR_ARGUMENT);
    free(rows);
    omen_vectors_close(vectors);
}

static void test_rows_across_files(void)
{
    expect_several((file[]){floats, doubles, halves, bytes, floats}, 5, 8, false, "several formats");
    expect_several((file[]){halves, halves}, 2, 2, false, "npy");
    expect_several((file[]){bytes, more_bytes, bytes}, 3, 1, true, "several formats");
    expect_several((file[]){more_bytes, floats}, 2, 4, false, "several formats");
}

static void test_refusals(void)
{
    omen_vectors *vectors = NULL;
    size_t n_parts = 7;
    CHECK_EQ_INT(open_names((const char *[]){floats.name, "wide.fvecs"}, 2, &vectors), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(detail.text, "wide.fvecs\" has 6 dimensions, and \"");
    CHECK_STR_CONTAINS(detail.text, "floats.fvecs\" has 5");
    CHECK_EQ_INT(open_names((const char *[]){floats.name, bytes.name, "absent.npy"}, 3, &vectors), OMEN_ERR_IO);
    CHECK_STR_CONTAINS(detail.text, "absent.npy\": No such file");
    CHECK_EQ_INT(open_names(NULL, 0, &vectors), OMEN_ERR_ARGUMENT);
    const char **many = calloc(OMEN_MAX_FILES + 1, sizeof *many);
    CHECK_EQ_INT(omen_vectors_open_several(&vectors, many, OMEN_MAX_FILES + 1, NULL, &detail), OMEN_ERR_ARGUMENT);
    CHECK(!vectors);
    free(many);
    /* of one file nothing is several */
    CHECK_EQ_INT(open_names((const char *[]){floats.name}, 1, &vectors), OMEN_OK);
    CHECK(!omen_vectors_parts(vectors, &n_parts));
    CHECK_EQ_INT(n_parts, 0);
    omen_vectors_close(vectors);
    /* a bad row is told by its file, and by its number there */
    CHECK_EQ_INT(open_names((const char *[]){floats.name, "nan.fvecs"}, 2, &vectors), OMEN_OK);
    const omen_source source = omen_vectors_source(vectors);
    float rows[24 * D];
    CHECK_EQ_INT(source.read(source.self, 0, 24, rows, &detail), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(detail.text, "nan.fvecs\": row 2 has a NaN in column 0");
    omen_vectors_close(vectors);
}

/* Expects the paths that a list names. */
static void expect_list(const void *text, size_t n_bytes, int code, const char *wanted)
{
    omen_paths paths = {.names = NULL};
    static char got[8192];
    got[0] = '\0';
    save_bytes("list", text, n_bytes);
    detail.text[0] = '\0';
    CHECK_EQ_INT(omen_paths_read(&paths, path_of("list"), &detail), code);
    for (size_t i = 0; i < paths.n && code == OMEN_OK; i++) {
        strcat(got, paths.names[i]);
        strcat(got, "|");
    }
    CHECK_STR_CONTAINS(code == OMEN_OK ? got : detail.text, wanted);
    omen_paths_finish(&paths);
}

static void test_lists(void)
{
    static char line[5000];
    memset(line, 'x', sizeof line);
#define LIST(text) text, sizeof(text) - 1
    expect_list(LIST("a\nb c\n"), OMEN_OK, "a|b c|");
    expect_list(LIST("\xef\xbb\xbf\r\n \t\n/a\r\n\n b"), OMEN_OK, "/a| b|");
    expect_list(LIST("\n\r\n  \n"), OMEN_ERR_INPUT, "list\" names no file");
    expect_list(LIST(""), OMEN_ERR_INPUT, "list\" is empty");
    expect_list(LIST("a\nb\0c\n"), OMEN_ERR_INPUT, "list\", line 2: a zero byte");
    expect_list(line, sizeof line, OMEN_ERR_INPUT, "list\", line 1: 5000 bytes");
    for (size_t i = 1; i < sizeof line; i += 2)
        line[i] = '\n';
    expect_list(line, sizeof line, OMEN_OK, "x|x|x|"); /* 2,500 paths */
#undef LIST
}

static void test_directories(void)
{
    static const char *const files[] = {"parts/b.npy",    "parts/B.fvecs", "parts/a.npy.omz",   "parts/.hidden",
                                        "parts/_SUCCESS", "parts/x.omen",  "parts/x.omen.part", "parts/10-idx3-ubyte"};
    const char *const wanted[] = {"first", "parts/10-idx3-ubyte", "parts/B.fvecs", "parts/a.npy.omz", "parts/b.npy"};
    omen_paths paths = {.names = NULL};
    mkdir(path_of("parts"), 0777);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        save_bytes(files[i], "", 0);
    save_bytes("first", "", 0);
    CHECK_EQ_INT(omen_paths_add(&paths, path_of("first"), strlen(path_of("first")), &detail), OMEN_OK);
    CHECK_EQ_INT(omen_paths_add(&paths, path_of("parts/"), strlen(path_of("parts/")), &detail), OMEN_OK);
    CHECK_EQ_INT(omen_paths_expand(&paths, false, &detail), OMEN_OK);
    CHECK_EQ_INT(paths.n, 5);
    for (size_t i = 0; i < paths.n && i < 5; i++)
        CHECK(strcmp(paths.names[i], path_of(wanted[i])) == 0);
    save_bytes("parts/note.txt", "", 0);
    omen_paths_finish(&paths);
    for (int takes_any = 0; takes_any < 2; takes_any++) {
        CHECK_EQ_INT(omen_paths_add(&paths, path_of("parts"), strlen(path_of("parts")), &detail), OMEN_OK);
        CHECK_EQ_INT(omen_paths_expand(&paths, takes_any, &detail), takes_any ? OMEN_OK : OMEN_ERR_INPUT);
        if (takes_any)
            CHECK_EQ_INT(paths.n, 5);
        else
            CHECK_STR_CONTAINS(detail.text, "parts/note.txt\" does not say by its name");
        omen_paths_finish(&paths);
    }
}

/* What is in a directory besides files of vectors: passed over by its name, or refused. */
static void test_directory_entries(void)
{
    static const struct {
        const char *name;
        bool is_taken, is_refused;
    } entries[] = {{"v.npy", true, false},       {"v.fvecs.gz", true, false},    {"v.npy.zst", true, false},
                   {"v.fvecs.omz", true, false}, {".hidden.npy", false, false},  {"_SUCCESS", false, false},
                   {"i.omen", false, false},     {"i.omen.part", false, false},  {"i.omen.tmp", false, false},
                   {"m.model", false, false},    {"m.model.part", false, false}, {"a", false, true},
                   {"notes.doc", false, true},   {"x.gz", false, true},          {"0.shard", false, true}};
    char path[300], slashed[300];
    snprintf(slashed, sizeof slashed, "%s/", path_of("entries"));
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
        for (int takes_any = 0; takes_any < 2; takes_any++) {
            omen_paths paths = {.n = 0};
            CHECK(mkdir(path_of("entries"), 0700) == 0);
            snprintf(path, sizeof path, "entries/%s", entries[i].name);
            save_bytes(path, "x", 1);
            CHECK_EQ_INT(omen_paths_add(&paths, slashed, strlen(slashed), &detail), OMEN_OK);
            const int status = omen_paths_expand(&paths, takes_any, &detail);
            const bool is_taken = entries[i].is_taken || (takes_any && entries[i].is_refused);
            CHECK_CASE(status == (is_taken ? OMEN_OK : OMEN_ERR_INPUT), "%s: %d, %s", entries[i].name, status,
                       detail.text);
            CHECK_CASE(is_taken || strstr(detail.text, entries[i].is_refused ? "does not say by its name"
                                                                             : "without files of vectors"),
                       "%s: %s", entries[i].name, detail.text);
            CHECK_CASE(!is_taken || (paths.n == 1 && strcmp(paths.names[0], path_of(path)) == 0), "%s",
                       entries[i].name);
            omen_paths_finish(&paths);
            paths = (omen_paths){.n = 0};
            CHECK_EQ_INT(omen_paths_add_shards(&paths, path_of("entries"), &detail), OMEN_OK);
            CHECK_EQ_INT(paths.n, strcmp(entries[i].name, "0.shard") == 0);
            omen_paths_finish(&paths);
            CHECK(unlink(path_of(path)) == 0 && rmdir(path_of("entries")) == 0);
        }
    /* names that lead to nothing are kept as they are: they may be of parts of a file */
    static char longest[300];
    memset(longest, 'n', sizeof longest - 1);
    CHECK(symlink("loop", path_of("loop")) == 0);
    save_bytes("plain", "x", 1);
    const char *const kept[] = {"loop", "none:v", "plain/x", longest, NULL};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        const char *name = kept[i] ? path_of(kept[i]) : "-";
        omen_paths paths = {.n = 0};
        CHECK_EQ_INT(omen_paths_add(&paths, name, strlen(name), &detail), OMEN_OK);
        CHECK_EQ_INT(omen_paths_expand(&paths, false, &detail), OMEN_OK);
        CHECK(paths.n == 1 && strcmp(paths.names[0], name) == 0);
        omen_paths_finish(&paths);
    }
    /* a link in a directory is one of its files */
    omen_paths linked = {.n = 0};
    CHECK(mkdir(path_of("entries"), 0700) == 0 && symlink("../plain", path_of("entries/v.npy")) == 0);
    CHECK_EQ_INT(omen_paths_add(&linked, path_of("entries"), strlen(path_of("entries")), &detail), OMEN_OK);
    CHECK_EQ_INT(omen_paths_expand(&linked, false, &detail), OMEN_OK);
    CHECK_EQ_INT(linked.n, 1);
    omen_paths_finish(&linked);
    CHECK(unlink(path_of("entries/v.npy")) == 0 && rmdir(path_of("entries")) == 0);
    /* a directory or a pipe in it */
    for (int is_pipe = 0; is_pipe < 2; is_pipe++) {
        omen_paths paths = {.n = 0};
        CHECK(mkdir(path_of("entries"), 0700) == 0);
        CHECK((is_pipe ? mkfifo : mkdir)(path_of("entries/v.npy"), 0700) == 0);
        CHECK_EQ_INT(omen_paths_add(&paths, path_of("entries"), strlen(path_of("entries")), &detail), OMEN_OK);
        CHECK_EQ_INT(omen_paths_expand(&paths, false, &detail), OMEN_ERR_INPUT);
        CHECK_STR_CONTAINS(detail.text, "is no regular file");
        omen_paths_finish(&paths);
        CHECK((is_pipe ? unlink : rmdir)(path_of("entries/v.npy")) == 0 && rmdir(path_of("entries")) == 0);
    }
}

int main(void)
{
    directory_make();
    make_files();
    RUN(test_rows_across_files);
    RUN(test_refusals);
    RUN(test_lists);
    RUN(test_directories);
    RUN(test_directory_entries);
    directory_remove();
    return check_finish();
}
