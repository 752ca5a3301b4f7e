/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of all input files: what they say of files that are wrong in one way, and small sound files of each format
 * with every byte changed, cut at every byte, and read while an allocation fails. */
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "formats/omendb_files.h"
#include "formats/truth.h"
#include "formats/vectors_stream.h"
#include "tests/unit/check.h"
#include "tests/unit/failing_allocations.h"
#include "tests/unit/scratch.h"
#include "tests/unit/vector_files.h"

/* ---- reading ---- */

typedef enum { VECTORS, STREAM, TABLE, ARRAY, TAGS, KEYS, KEY_COLUMN, TRUTH } kind;

#define N_ROWS 2u /* of every file */

static int read_vectors(const char *path)
{
    float row[16];
    omen_vectors *vectors = NULL;
    int status = omen_vectors_open(&vectors, path, NULL, &detail);
    if (status == OMEN_OK) {
        const omen_source source = omen_vectors_source(vectors);
        for (uint64_t i = 0; i < source.n_rows && i < 50 && source.d <= 16 && status == OMEN_OK; i++)
            status = source.read(source.self, i, 1, row, &detail);
    }
    omen_vectors_close(vectors);
    return status;
}

/* Takes all rows of a pipe that has the bytes of the file, each by its own call or all at once, and compares them with
 * those of the file. */
static int read_stream(const char *path)
{
    static char bytes[60000];
    const char *dot = strrchr(path, '.');
    const omen_vectors_options options = {.format = dot + 1};
    omen_vectors_stream *stream = NULL;
    omen_vectors *vectors = NULL, *file = NULL;
    float row[16], want[16];
    char name[32];
    int ends[2];
    uint64_t n_rows = 0, n = 0;
    FILE *from = fopen(path, "rb");
    const size_t n_bytes = from ? fread(bytes, 1, sizeof bytes, from) : 0;
    CHECK(from && fclose(from) == 0 && pipe(ends) == 0);
    CHECK(write(ends[1], bytes, n_bytes) == (ssize_t)n_bytes && close(ends[1]) == 0);
    snprintf(name, sizeof name, "/dev/fd/%d", ends[0]);
    const int of_file = omen_vectors_open(&file, path, &options, &detail);
    detail.text[0] = '\0';
    int status = omen_vectors_stream_open(&stream, &vectors, name, &options, &detail);
    close(ends[0]);
    CHECK_CASE((status == OMEN_OK) == (stream || vectors), "%s: %d", path, status);
    if (stream && omen_vectors_stream_dim(stream) <= 16)
        do {
            status = omen_vectors_stream_next(stream, 1, NULL, NULL, row, &n, &detail);
            if (status == OMEN_OK && n == 1 && of_file == OMEN_OK) {
                const omen_source source = omen_vectors_source(file);
                omen_detail why;
                CHECK_CASE(n_rows < source.n_rows && source.d == omen_vectors_stream_dim(stream) &&
                               source.read(source.self, n_rows, 1, want, &why) == OMEN_OK &&
                               memcmp(row, want, source.d * sizeof *row) == 0,
                           "%s: row %llu is another one in a stream", path, (unsigned long long)n_rows);
            }
            n_rows += n;
        } while (status == OMEN_OK && n > 0);
    if (stream && status == OMEN_OK && of_file == OMEN_OK)
        CHECK_CASE(n_rows == omen_vectors_source(file).n_rows, "%s: %llu rows in a stream", path,
                   (unsigned long long)n_rows);
    omen_vectors_stream_close(stream);
    omen_vectors_close(vectors);
    omen_vectors_close(file);
    return status;
}

static int read_file(kind what, const char *path, const char *types)
{
    char assignment[600];
    const char *const arrays[] = {assignment};
    omen_column_paths columns = {.types = types};
    omen_columns *made = NULL;
    omen_row_keys *keys = NULL;
    omen_truth truth = {.n = 0};
    int status;
    detail.text[0] = '\0';
    snprintf(assignment, sizeof assignment, "x=%s", path);
    switch (what) {
    case VECTORS:
        return read_vectors(path);
    case STREAM:
        return read_stream(path);
    case KEYS:
        status = omen_row_keys_read(&keys, path, N_ROWS, false, 0, 1, &detail);
        break;
    case KEY_COLUMN:
        columns.table = path;
        status = omen_row_keys_read_column(&keys, &columns, "a", N_ROWS, false, 0, 1, &detail);
        break;
    case TRUTH:
        status = omen_truth_read(&truth, path, 0, &detail);
        break;
    default:
        columns.table = what == TABLE ? path : NULL;
        columns.arrays = what == ARRAY ? arrays : NULL;
        columns.n_arrays = what == ARRAY;
        columns.tags = what == TAGS ? path : NULL;
        status = omen_columns_read(&made, &columns, N_ROWS, 0, &detail);
    }
    CHECK_CASE(what == TRUTH || (status == OMEN_OK) == (made || keys), "%s gives %d", path, status);
    CHECK_CASE(status == OMEN_OK || detail.text[0] != '\0', "%s gives %d without a reason", path, status);
    omen_truth_finish(&truth);
    omen_row_keys_destroy(keys);
    omen_columns_destroy(made);
    return status;
}

/* ---- files that are wrong in one way ---- */

typedef struct {
    kind what;
    const char *name, *text, *types, *part; /* what the message has; NULL: it is read */
} text_case;

#define LONG_NAME_SHOWN                                                                                                \
    "a_name_of_a_hundred_bytes_and_more_of_which_messages_show_the_first_hundred_bytes_and_no_more_of_the"
#define LONG_NAME LONG_NAME_SHOWN "m_at_all"

static const text_case texts[] = {
    {TABLE, "t.csv", "a,b\n1,\"x\"\"y\"\n2,\"z\"\r\n", NULL, NULL},
    {TABLE, "t.csv", "a,b\n1,\"x\"\r\n2,\"z\"\r", NULL, NULL},
    {TABLE, "t.csv", "a,b\n1,\"x\"y\n2,z\n", NULL, "something follows the quote"},
    {TABLE, "t.csv", "a,b\n1,\"x\"\rz\n2,z\n", NULL, "something follows the quote"},
    {TABLE, "t.csv", "a,b\n1,x\n2,\"z", NULL, "none ends it"},
    {TABLE, "t.csv", "a,b\n1,x\n2,\"z\"\"", NULL, "none ends it"},
    {TABLE, "t.csv", "a,\n1,x\n2,z\n", NULL, "column 2 has none"},
    {TABLE, "t.csv", "a,a\n1,x\n2,z\n", NULL, "have the same name"},
    {TABLE, "t.csv", "a,b\n1\n2,z\n", NULL, "line 2"},
    {TABLE, "t.csv", "a,b\n1,x,y\n2,z\n", NULL, "line 2"},
    {TABLE, "t.csv",
     "\xef\xbb\xbf"
     "a\n1\n2\n",
     "a:int64", NULL},
    {TABLE, "t.csv",
     "\xef\xbb"
     "a\n1\n2\n",
     "a:int64", "has no column \"a\"; there is"},
    {TABLE, "t.csv", "a,b\n1,x\n2,z\n", "c:int64", "there are \"a\", \"b\""},
    {TABLE, "t.csv", "a\n1\n2\n", "a", "is not NAME:TYPE"},
    {TABLE, "t.csv", "a\n1\n2\n", ":int64", "is not NAME:TYPE"},
    {TABLE, "t.csv", "a\n1\n2\n", "a:int32", "is not NAME:TYPE"},
    {TABLE, "t.csv", "a\n1\n2\n", "a:int64,a:text", "is named twice"},
    {TABLE, "t.csv", "a\n1.5\n2\n", "a:int64", "is no integer of 64 bits"},
    {TABLE, "t.csv", "a\nthe words of this text are more than forty characters\n2\n", "a:int64", "\"..."},
    {TABLE, "t.csv", "a\nx\n2\n", "a:float32", "is no number"},
    {TABLE, "t.csv", "a\n1e39\n2\n", "a:float32", "is beyond float32"},
    {TABLE, "t.csv", "a\n9007199254740993\n1.5\n", NULL, "float64 does not hold"},
    {TABLE, "t.csv", "a\n9223372036854775807\n1.5\n", NULL, "float64 does not hold"},
    {TABLE, "t.csv", "a\n123456789012345678901234567890\n1.5\n", NULL, "float64 does not hold"},
    {TABLE, "t.csv", "a\n18446744073709551616\n-1.5\n", NULL, NULL},
    {TABLE, "t.csv", "a\n007\n-01\n", NULL, NULL},
    {TABLE, "t.csv", "a\n+7\n-\n", "a:text", NULL},
    {TABLE, "t.csv", "a\n1\n2\n", "a:tags", "is no list of tags"},
    {TABLE, "t.csv", "a\n1\n2\n", LONG_NAME ":int32", "is not NAME:TYPE"},
    {TABLE, "t.csv", "a\n1\n2\n", LONG_NAME ":int64", "has no column \"" LONG_NAME_SHOWN "\""},
    {TABLE, "t.csv", "a\n1\n2\n", LONG_NAME ":int64," LONG_NAME ":text", "is named twice"},
    {TABLE, "t.csv", "a\n+7\n2\n", "a:int64", NULL},
    {TABLE, "t.csv", "a\n1e400\n2\n", "a:float64", "is beyond float64"},
    {TAGS, "g.txt", "x\xe2\x82\n2\n", NULL, "UTF-8"},
    {TAGS, "g.txt", "x\xe2\x28\xa1\n2\n", NULL, "UTF-8"},
    {TAGS, "g.txt", "x\xc0\x80\n2\n", NULL, "UTF-8"},
    {TAGS, "g.txt", "x\xed\xa0\x80\n2\n", NULL, "UTF-8"},
    {TAGS, "g.txt", "x\xf4\x90\x80\x80\n2\n", NULL, "UTF-8"},
    {TAGS, "g.txt", "x\xff\n2\n", NULL, "UTF-8"},
    {TAGS, "g.txt", "\xf0\x9f\x98\x80\xee\x80\x80\xc2\xa9\n2\n", NULL, NULL},
    {TABLE, "t.tsv", "a\tb\n1\t\"x\n2\t\n", NULL, NULL},
    {TABLE, "t.jsonl", "{\"a\":true}\n{\"a\":false}\n", NULL, NULL},
    {TABLE, "t.jsonl", "{\"a\":null,\"b\":1.5}\n{\"b\":2}\n", NULL, NULL},
    {TABLE, "t.jsonl", "{\"a\":[\"x\",\"y\"]}\n{\"a\":[]}\n", NULL, NULL},
    {TABLE, "t.jsonl", "{\"a\":[]}\n{\"a\":[\"x\"]}\n", "a:skip", NULL},
    {TABLE, "t.jsonl", "{\"a\":[\"x\",1]}\n{}\n", NULL, "a list may hold strings only"},
    {TABLE, "t.jsonl", "{\"a\":{}}\n{}\n", NULL, "an object is no value"},
    {TABLE, "t.jsonl", "[1]\n{}\n", NULL, "is no object"},
    {TABLE, "t.jsonl", "{\"a\":1,}\n{}\n", NULL, "line 1, character"},
    {TABLE, "t.jsonl", "{\"a\":1,\"a\":2}\n{}\n", NULL, "line 1"},
    {TABLE, "t.jsonl", "{\"\":1}\n{}\n", NULL, "has none"},
    {TABLE, "t.jsonl", "{\"a\":\"x\"}\n{\"a\":[\"y\"]}\n", NULL, "line 1 has a text"},
    {TABLE, "t.jsonl", "{\"a\":[\"y\"]}\n{\"a\":3}\n", NULL, "line 1 has a list"},
    {TABLE, "t.jsonl", "{\"a\":1}\n{\"a\":\"x\"}\n", NULL, "line 1 has a number"},
    {TABLE, "t.jsonl", "{\"a\":1.5}\n{\"a\":[]}\n", NULL, "line 1 has a number"},
    {TABLE, "t.jsonl", "{\"a\":[\"x\"]}\n{}\n", "a:int64", "is one of a list"},
    {TABLE, "t.jsonl", "{\"a\":[]}\n{}\n", "a:text", "is a list, and"},
    {TABLE, "t.jsonl", "{\"a\":7}\n{}\n", "a:text", "7 is no text"},
    {TABLE, "t.jsonl", "{\"a\":7.25}\n{}\n", "a:int64", "7.25 is no integer"},
    {TABLE, "t.jsonl", "{\"a\":9007199254740993}\n{\"a\":0.5}\n", NULL, "float64 does not hold"},
    {TABLE, "t.txt", "{\"a\":1}\n{\"a\":2}\n", NULL, NULL},
    {TABLE, "t.txt", "a,b\n1,2\n3,4\n", NULL, NULL},
    {TABLE, "t.txt", "a\n1\n2", NULL, NULL},
    {TABLE, "t.txt", "a\tb\n1\t2\n3\t4\n", NULL, NULL},
    {TABLE, "t.csv", "a\n1\n", NULL, "1 row"},
    {TABLE, "t.csv", "", NULL, ""},
    {KEY_COLUMN, "t.csv", "a,b\nx,1\ny,2\n", NULL, NULL},
    {KEY_COLUMN, "t.csv", "a,b\n2,1\n1,2\n", "a:skip,b:text", NULL},
    {KEY_COLUMN, "t.csv", "a,b\n0.5,1\n1.5,2\n", NULL, "is of float64"},
    {KEY_COLUMN, "t.csv", "b\n1\n2\n", NULL, "has no column \"a\""},
    {KEY_COLUMN, "t.csv", "a\n1\n1\n", NULL, "have the same key"},
    {KEY_COLUMN, "t.jsonl", "{\"a\":\"x\"}\n{\"b\":1}\n", NULL, "line 2"},
    {KEY_COLUMN, "t.jsonl", "{\"a\":\"x\"}\n{\"a\":null}\n", NULL, "line 2"},
    {KEYS, "k.txt", "x\ny\n", NULL, NULL},
    {KEYS, "k.txt", "x\r\ny", NULL, NULL},
    {KEYS, "k.txt", "x\nx\n", NULL, "line"},
    {KEYS, "k.txt", "x\n\n", NULL, "line 2"},
    {KEYS, "k.txt", "x\ny\nz\n", NULL, "row"},
    {KEYS, "k.txt", "x\n\xff\n", NULL, "UTF-8"},
    {KEYS, "k.txt", "x\n\xe2\x82\xac\n", NULL, NULL},
    {KEYS, "k.txt", "x\n\xc0\x80\n", NULL, "UTF-8"},
    {KEYS, "k.txt", "x\n\xed\xa0\x80\n", NULL, "UTF-8"},
    {KEYS, "k.txt", "x\n\xf4\x90\x80\x80\n", NULL, "UTF-8"},
    {KEYS, "k.txt", "x\n\xf0\x9f\x98\x80\n", NULL, NULL},
    {TAGS, "g.txt", "red blue\n\n", NULL, NULL},
    {TAGS, "g.txt", "red\t blue \r\nred", NULL, NULL},
    {TAGS, "g.txt", "red\n", NULL, "row"},
    {TAGS, "g.txt", "red\n\xff\n", NULL, ""},
    {VECTORS, "v.csv", "1,-2\n+3,4.5e0\n", NULL, NULL},
    {VECTORS, "v.csv", "x,y\n1,2\n", NULL, NULL},
    {VECTORS, "v.csv", "1,2\n3\n", NULL, "line 2"},
    {VECTORS, "v.csv", "1,2\n3,+\n", NULL, "line 2"},
    {VECTORS, "v.csv", "1,2\n3,the words of this text are more than forty characters\n", NULL, "..."},
    {VECTORS, "v.tsv", "1\t2\n\t4\n", NULL, "line 2"},
    {VECTORS, "v.jsonl", "[1,2]\n[3,4.5]\n", NULL, NULL},
    {VECTORS, "v.jsonl", "{\"v\":[1,2]}\n{\"v\":[3,4.5]}\n", NULL, NULL},
    {VECTORS, "v.jsonl", "[1,2]\n{\"v\":[3,4]}\n", NULL, "is an object"},
    {VECTORS, "v.jsonl", "{\"v\":[1,2]}\n[3,4]\n", NULL, "line 2"},
    {VECTORS, "v.jsonl", "[1,2]\n3\n", NULL, "line 2"},
    {VECTORS, "v.jsonl", "[1,2]\n[3,\"x\"]\n", NULL, "line 2"},
    {VECTORS, "v.jsonl", "[1,2]\n[3]\n", NULL, "line 2"},
    {VECTORS, "v.jsonl", "{\"v\":[1],\"w\":[2]}\n", NULL, "v"},
    {VECTORS, "v.jsonl", "{\"v\":1}\n", NULL, ""},
    {VECTORS, "v.jsonl", "3\n4\n", NULL, ""},
    {VECTORS, "v.jsonl", "[true]\n", NULL, ""},
    {VECTORS, "v.jsonl", "[1,true]\n", NULL, "number 2: it is no number"},
    {VECTORS, "v.jsonl", "[]\n", NULL, ""},
    {VECTORS, "v.jsonl", "{}\n", NULL, ""},
    {VECTORS, "v.jsonl", "[\n", NULL, ""},
    {VECTORS, "v.jsonl", "{\"w\":3,\"v\":[1,2]}\n{\"v\":[3,4]}\n", NULL, NULL},
    {VECTORS, "v.csv", "x,-inf\n1,2\n", NULL, NULL},
    {VECTORS, "v.csv", "1,-inf\n3,4\n", NULL, ""},
    {VECTORS, "v.csv", "-,a\n2,3\n", NULL, NULL},
    {VECTORS, "v.csv", "-,1\n2,3\n", NULL, "line 1, column 1"},
    {VECTORS, "v.csv", ",a\n2,3\n", NULL, "column 1 has no name"},
    {VECTORS, "v.jsonl", "{\"v\":[1,2]}\n{\"w\":[3,4]}\n", NULL, "line 2"},
};

static void test_texts(void)
{
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const text_case *c = &texts[i];
        save_bytes(c->name, c->text, strlen(c->text));
        const int status = read_file(c->what, path_of(c->name), c->types);
        CHECK_CASE((status == OMEN_OK) == !c->part, "case %zu, \"%s\": %d, %s", i, c->text, status, detail.text);
        CHECK_CASE(!c->part || strstr(detail.text, c->part), "case %zu: %s", i, detail.text);
    }
}

/* Names of columns that no text literal holds. */
static void test_names(void)
{
    char text[40000], *to = text;
    memset(text, 'n', 300);
    strcpy(text + 300, "\n1\n2\n");
    save_bytes("t.csv", text, 305);
    CHECK_EQ_INT(read_file(TABLE, path_of("t.csv"), NULL), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(detail.text, "has more");
    save_bytes("t.csv", "a\0b\n1\n2\n", 8);
    CHECK_EQ_INT(read_file(TABLE, path_of("t.csv"), NULL), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(detail.text, "a zero among them");
    for (int i = 0; i < 30; i++)
        to += sprintf(to, "%sthe_column_of_a_rather_long_name_%d", i ? "," : "", i);
    to = stpcpy(to, "\n");
    save_bytes("t.csv", text, (size_t)(to - text));
    CHECK_EQ_INT(read_file(TABLE, path_of("t.csv"), "a:text"), OMEN_ERR_INPUT);
    to = text;
    for (unsigned i = 0; i <= OMEN_MAX_COLUMNS; i++)
        to += sprintf(to, "%sc%u", i ? "," : "", i);
    save_bytes("t.csv", text, (size_t)(to - text));
    CHECK_EQ_INT(read_file(TABLE, path_of("t.csv"), NULL), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(detail.text, "more than 1024 columns");
    to = stpcpy(text, "{\"c\":0");
    for (unsigned i = 0; i <= OMEN_MAX_COLUMNS; i++)
        to += sprintf(to, ",\"c%u\":0", i);
    to = stpcpy(to, "}\n");
    save_bytes("t.jsonl", text, (size_t)(to - text));
    CHECK_EQ_INT(read_file(TABLE, path_of("t.jsonl"), NULL), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(detail.text, "more than 1024 columns");
    for (int i = 0; i < 3; i++) {
        static const char *const wrong[] = {"x", "=x", "x="};
        const omen_column_paths columns = {.arrays = &wrong[i], .n_arrays = 1};
        omen_columns *made;
        CHECK_EQ_INT(omen_columns_read(&made, &columns, N_ROWS, 0, &detail), OMEN_ERR_ARGUMENT);
        CHECK(!made);
    }
}

/* Headers of npy, of which only those with a shape at the end are read; as vectors, as a column and as keys. */
static void test_npy_headers(void)
{
    static const struct {
        const char *header;
        bool is_array, is_vector;
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\n", true, false},
        {"{u'descr': \"<f4\", 'fortran_order': True, 'shape': (2L, 2L)}", true, false},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (2, 1)}", true, true},
        {"{'descr': '>u8', 'fortran_order': False, 'shape': (2,)}", false, true},
        {"{'descr': '|b1', 'fortran_order': False, 'shape': (2,)}", false, true},
        {"{'descr': '<f2', 'fortran_order': False, 'shape': (2,)}", false, true},
        {"{'descr': '<i3', 'fortran_order': False, 'shape': (2,)}", false, false},
        {"{'descr': '<f1', 'fortran_order': False, 'shape': (2,)}", false, false},
        {"{'descr': '<i4x', 'fortran_order': False, 'shape': (2,)}", false, false},
        {"{'descr': '<i0', 'fortran_order': False, 'shape': (2,)}", false, false},
        {"{'descr': '<i', 'fortran_order': False, 'shape': (2,)}", false, false},
        {"{'descr': '', 'fortran_order': False, 'shape': (2,)}", false, false},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (2,)}", false, false},
        {"{'descr': '<U99999999999', 'fortran_order': False, 'shape': (2,)}", false, false},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (2, 1, 1)}", false, false},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': ()}", false, false},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 2)}", false, false},
        {"{'descr': ('a',), 'fortran_order': False, 'shape': (2, 2)}", false, false},
        {"", false, false},
        {"{", false, false},
        {"{}", false, false},
        {"{'descr' '<f4'}", false, false},
        {"{'descr': <f4}", false, false},
        {"{'descr': '<f4}", false, false},
        {"{'descr': '<f\\4', 'fortran_order': False, 'shape': (2, 2)}", false, false},
        {"{'descr': '<f4', 'fortran_order': Falsehood, 'shape': (2, 2)}", false, false},
        {"{'descr': '<f4', 'fortran_order': No, 'shape': (2, 2)}", false, false},
        {"{'descr': '<f4', 'fortran_order': T", false, false},
        {"{'descr': '<f4', 'fortran_order': True", false, false},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': 2}", false, false},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2 2)}", false, false},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,,2)}", false, false},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (x)}", false, false},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, ", false, false},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 2)}", false, false},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551616, 2)}", false, false},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387905, 2)}", false, false},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}", false, false},
        {"{'dtype': '<f4', 'fortran_order': False, 'shape': (2, 2)}", false, false},
        {"{'a key that is longer than all of them': 1}", false, false},
        {"{'descr': '<f4', 'fortran_order': False}", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        blob b = {0};
        add_npy(&b, 1 + (int)(i % 3), cases[i].header);
        for (int j = 0; j < 4; j++)
            add_float(&b, 0.5f, false);
        if (cases[i].is_vector)
            b.n -= strstr(cases[i].header, "u8")   ? 0
                   : strstr(cases[i].header, "4'") ? 8
                   : strstr(cases[i].header, "f2") ? 12
                                                   : 14;
        save("h.npy", &b);
        CHECK_CASE((read_file(VECTORS, path_of("h.npy"), NULL) == OMEN_OK) == cases[i].is_array, "%s: %s",
                   cases[i].header, detail.text);
        CHECK_CASE((read_file(ARRAY, path_of("h.npy"), NULL) == OMEN_OK) == cases[i].is_vector, "%s: %s",
                   cases[i].header, detail.text);
        read_file(KEYS, path_of("h.npy"), NULL);
    }
}

/* ---- sound files, changed ---- */

#define MOST_FILES 40

static struct {
    kind what;
    char name[16];
    blob bytes;
} files[MOST_FILES];
static size_t n_files;

static blob *new_file(kind what, const char *name)
{
    files[n_files].what = what;
    snprintf(files[n_files].name, sizeof files[n_files].name, "%s", name);
    return &files[n_files++].bytes;
}

static void add_text(blob *b, const char *text)
{
    add(b, text, strlen(text));
}

/* As gzip (16 + 15 window bits) or deflate (-15) has it. */
static blob deflated(const blob *content, int window_bits)
{
    blob out = {0};
    z_stream stream = {.next_in = (unsigned char *)content->bytes, .avail_in = (unsigned)content->n};
    stream.next_out = out.bytes;
    stream.avail_out = sizeof out.bytes;
    CHECK(deflateInit2(&stream, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) == Z_OK &&
          deflate(&stream, Z_FINISH) == Z_STREAM_END && deflateEnd(&stream) == Z_OK);
    out.n = sizeof out.bytes - stream.avail_out;
    return out;
}

/* content is stored, or packed by that method. */
static void add_packed_zip(blob *b, const char *member, const blob *content, uint32_t crc, bool is_64, unsigned method,
                           size_t n_unpacked)
{
    const uint32_t n = (uint32_t)content->n, n_name = (uint32_t)strlen(member);
    for (int central = 0; central < 2; central++) {
        const size_t at = b->n;
        add(b, central ? "PK\1\2\x14\0" : "PK\3\4", central ? 6 : 4);
        add(b, "\x14\0\0\0", 4); /* version, flags */
        add_value(b, method, 2, false);
        add(b, "\0\0\0\0", 4); /* time, date */
        add_u32(b, crc);
        add_u32(b, central && is_64 ? UINT32_MAX : n);
        add_u32(b, central && is_64 ? UINT32_MAX : (uint32_t)n_unpacked);
        add_value(b, n_name, 2, false);
        add_value(b, central && is_64 ? 28 : 0, 2, false);
        if (central)
            add(b, "\0\0\0\0\0\0\0\0\0\0", 10);
        if (central)
            add_u32(b, is_64 ? UINT32_MAX : 0);
        add_text(b, member);
        if (!central) {
            add(b, content->bytes, content->n);
            continue;
        }
        if (is_64) {
            add(b, "\1\0\x18\0", 4);
            add_value(b, n_unpacked, 8, false);
            add_value(b, n, 8, false);
            add_value(b, 0, 8, false);
        }
        const uint32_t n_directory = (uint32_t)(b->n - at);
        if (is_64) {
            const size_t end = b->n;
            add(b, "PK\6\6", 4);
            add_value(b, 44, 8, false);
            add(b, "\x2d\0\x2d\0\0\0\0\0\0\0\0\0", 12);
            add_value(b, 1, 8, false);
            add_value(b, 1, 8, false);
            add_value(b, n_directory, 8, false);
            add_value(b, at, 8, false);
            add(b, "PK\6\7\0\0\0\0", 8);
            add_value(b, end, 8, false);
            add_u32(b, 1);
        }
        add(b, "PK\5\6\0\0\0\0", 8);
        add_value(b, is_64 ? 0xffff : 1, 2, false);
        add_value(b, is_64 ? 0xffff : 1, 2, false);
        add_u32(b, is_64 ? UINT32_MAX : n_directory);
        add_u32(b, is_64 ? UINT32_MAX : (uint32_t)at);
        add_value(b, 0, 2, false);
    }
}

static void add_zip(blob *b, const char *member, const blob *content, uint32_t crc, bool is_64)
{
    add_packed_zip(b, member, content, crc, is_64, 0, content->n);
}

static uint32_t crc_of(const blob *b)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < b->n; i++) {
        crc ^= b->bytes[i];
        for (int j = 0; j < 8; j++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void make_files(void)
{
    static const char tensors[] = "{\"__metadata__\":{\"a\":\"b\"},\"v\":{\"dtype\":\"F32\",\"shape\":[2,2],"
                                  "\"data_offsets\":[0,16]},\"w\":{\"dtype\":\"I8\",\"shape\":[1],"
                                  "\"data_offsets\":[16,17]}} ";
    blob npy = {0}, *b;
    add_npy(&npy, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\n");
    add_rows(&npy, "f4", false, 2, 2);
    *new_file(VECTORS, "v.npy") = npy;
    add_zip(new_file(VECTORS, "v.npz"), "v.npy", &npy, crc_of(&npy), false);
    add_zip(new_file(VECTORS, "w.npz"), "v.npy", &npy, crc_of(&npy), true);
    const blob packed = deflated(&npy, -15);
    add_packed_zip(new_file(VECTORS, "p.npz"), "v.npy", &packed, crc_of(&npy), false, 8, npy.n);
    *new_file(VECTORS, "v.npy.gz") = deflated(&npy, 16 + 15);
    b = new_file(VECTORS, "w.npy.zst");
    b->n = ZSTD_compress(b->bytes, sizeof b->bytes, npy.bytes, npy.n, 3);
    b = new_file(VECTORS, "v.safetensors");
    add_value(b, sizeof tensors - 1, 8, false);
    add_text(b, tensors);
    add_rows(b, "f4", false, 2, 2);
    add(b, "x", 1);
    add_vecs(new_file(VECTORS, "v.fvecs"), "f4", 2, 2);
    b = new_file(VECTORS, "v.fbin");
    add_u32(b, 2);
    add_u32(b, 2);
    add_rows(b, "f4", false, 2, 2);
    b = new_file(VECTORS, "v.idx");
    add_idx(b, 0x0d, 2, 2, 2, 0);
    add_rows(b, "f4", true, 2, 2);
    add_text(new_file(VECTORS, "v.csv"), "a,b\n1,-2.5\n3e0,+4\n");
    add_text(new_file(VECTORS, "v.jsonl"), "{\"id\":1,\"v\":[1,-2.5]}\n{\"id\":2,\"v\":[3,4]}\n");
    *new_file(STREAM, "s.npy") = npy;
    add_vecs(new_file(STREAM, "s.bvecs"), "u1", 3, 4);
    b = new_file(STREAM, "s.u8bin");
    add_u32(b, 3);
    add_u32(b, 4);
    add_rows(b, "u1", false, 3, 4);
    b = new_file(STREAM, "s.idx");
    add_idx(b, 0x0d, 2, 2, 2, 0);
    add_rows(b, "f4", true, 2, 2);
    add_text(new_file(STREAM, "s.csv"), "a,b\n1,-2.5\n3e0,+4\n\n");
    add_text(new_file(STREAM, "s.jsonl"), "[1,-2.5]\n[3,4]\n");
    add_text(new_file(TABLE, "t.csv"), "a,b,\"c\"\n1,0.5,\"x\"\"y\"\r\n-2,,z\n");
    add_text(new_file(TABLE, "t.jsonl"),
             "{\"a\":1,\"b\":0.5,\"c\":\"x\"}\n{\"a\":null,\"t\":[\"u\",\"v\"],\"d\":true}\n");
    b = new_file(ARRAY, "x.npy");
    add_npy(b, 2, "{'descr': '>u8', 'fortran_order': False, 'shape': (2,), }\n");
    add_value(b, 5, 8, true);
    add_value(b, 77, 8, true);
    b = new_file(TAGS, "g.spmat");
    add_value(b, 2, 8, false);
    add_value(b, 9, 8, false);
    add_value(b, 3, 8, false);
    for (unsigned i = 0; i < 3; i++)
        add_value(b, (i + 1) / 2 + (i == 2 ? 2 : 0), 8, false); /* 0, 1, 3 */
    for (unsigned i = 0; i < 3; i++)
        add_u32(b, 3 + i);
    for (unsigned i = 0; i < 3; i++)
        add_float(b, 1, false);
    add_text(new_file(TAGS, "g.txt"), "red blue\n green\n");
    add_text(new_file(KEYS, "k.txt"), "one\n\xe2\x82\xac\n");
    b = new_file(KEYS, "k.npy");
    add_npy(b, 1, "{'descr': '<U3', 'fortran_order': False, 'shape': (2,), }\n");
    for (unsigned i = 0; i < 6; i++)
        add_u32(b, i == 5 ? 0 : 0x1f600 + i);
    b = new_file(KEYS, "i.npy");
    add_npy(b, 1, "{'descr': '<i2', 'fortran_order': False, 'shape': (2,), }\n");
    add(b, "\1\0\xff\xff", 4);
    b = new_file(KEYS, "s.npy");
    add_npy(b, 1, "{'descr': '|S3', 'fortran_order': False, 'shape': (2,), }\n");
    add(b, "ab\0xyz", 6);
    add_text(new_file(KEY_COLUMN, "t.jsonl"), "{\"a\":\"x\"}\n{\"a\":\"y\",\"b\":1}\n");
    b = new_file(TRUTH, "n.ivecs");
    for (unsigned i = 0; i < 6; i++)
        add_u32(b, i % 3 == 0 ? 2 : i);
    b = new_file(TRUTH, "n.ibin");
    for (unsigned i = 0; i < 6; i++)
        add_u32(b, i < 2 ? 2 : i);
    for (unsigned i = 0; i < 4; i++)
        add_float(b, 1, false);
}

/* A new file each time: of one that is cut and written again, some file systems write the blocks at once. */
static void save_anew(const char *name, const blob *b)
{
    unlink(path_of(name));
    save(name, b);
}

static void test_bytes(void)
{
    uint64_t n_read = 0, n_refused = 0;
    for (size_t f = 0; f < n_files; f++) {
        const blob *sound = &files[f].bytes;
        const char *name = files[f].name;
        blob b = *sound;
        const size_t step = check_quick() ? 7 : 2;
        save_anew(name, sound);
        const int whole = read_file(files[f].what, path_of(name), NULL);
        CHECK_CASE(whole == OMEN_OK, "%s: %d, %s", name, whole, detail.text);
        for (size_t at = 0; at < sound->n; at += step) {
            const uint8_t byte = sound->bytes[at];
            const uint8_t bytes[] = {0, 0xff, byte ^ 1, byte ^ 0x80, '"', ' '};
            for (size_t i = 0; i < sizeof bytes; i++) {
                b.bytes[at] = bytes[i];
                save_anew(name, &b);
                const int status = read_file(files[f].what, path_of(name), NULL);
                CHECK_CASE(status == OMEN_OK || status == OMEN_ERR_INPUT || status == OMEN_ERR_ARGUMENT ||
                               status == OMEN_ERR_UNSUPPORTED,
                           "%s with %u at %zu: %d, %s", name, bytes[i], at, status, detail.text);
                n_read += status == OMEN_OK;
                n_refused += status != OMEN_OK;
            }
            b.bytes[at] = byte;
            b.n = at;
            save_anew(name, &b);
            n_refused += read_file(files[f].what, path_of(name), NULL) != OMEN_OK;
            b.n = sound->n;
        }
    }
    printf("# %llu read, %llu refused\n", (unsigned long long)n_read, (unsigned long long)n_refused);
    CHECK(n_read > 100 && n_refused > 100);
}

static void test_allocations(void)
{
    for (size_t f = 0; f < n_files; f++) {
        const char *path = path_of(files[f].name);
        save(files[f].name, &files[f].bytes);
        allocations_begin(0);
        CHECK_EQ_INT(read_file(files[f].what, path, NULL), OMEN_OK);
        const uint64_t n = allocations_end();
        for (uint64_t i = 1; i <= n; i++) {
            allocations_begin(i);
            const int status = read_file(files[f].what, path, NULL);
            allocations_end();
            CHECK_CASE(status == OMEN_ERR_MEMORY || status == OMEN_OK, "%s, allocation %llu: %d, %s", files[f].name,
                       (unsigned long long)i, status, detail.text);
        }
    }
}

int main(void)
{
    directory_make();
    make_files();
    RUN(test_texts);
    RUN(test_names);
    RUN(test_npy_headers);
    RUN(test_bytes);
    RUN(test_allocations);
    directory_remove();
    return check_finish();
}
