/* Tests of the vector readers and the result writers on small files in a temporary directory. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "formats/omendb_files.h"
#include "formats/vectors.h"
#include "tests/unit/check.h"

/* ---- files made byte by byte -------------------------------------------- */

static char directory[64];

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

typedef struct blob {
    size_t n;
    unsigned char bytes[16384];
} blob;

static void add(blob *b, const void *bytes, size_t n)
{
    memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
}

static void add_value(blob *b, uint64_t bits, int n_bytes, bool big_endian)
{
    for (int i = 0; i < n_bytes; i++)
        b->bytes[b->n++] = (unsigned char)(bits >> 8 * (big_endian ? n_bytes - 1 - i : i));
}

static void add_u32(blob *b, uint32_t value)
{
    add_value(b, value, 4, false);
}

static void add_float(blob *b, float value, bool big_endian)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    add_value(b, bits, 4, big_endian);
}

static void add_double(blob *b, double value, bool big_endian)
{
    uint64_t bits;
    memcpy(&bits, &value, 8);
    add_value(b, bits, 8, big_endian);
}

static void add_half(blob *b, float value, bool big_endian)
{
    /* only for small whole numbers, which halves hold exactly */
    uint16_t bits = 0;
    if (value != 0) {
        int exponent;
        float fraction = frexpf(fabsf(value), &exponent);
        bits = (uint16_t)((exponent - 1 + 15) << 10 | ((int)(fraction * 2048) & 1023));
        bits |= value < 0 ? 0x8000 : 0;
    }
    add_value(b, bits, 2, big_endian);
}

static void save_bytes(const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(path_of(name), "wb");
    if (f == NULL || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) {
        perror(path_of(name));
        exit(1);
    }
}

static void save(const char *name, const blob *b)
{
    save_bytes(name, b->bytes, b->n);
}

/* The test array: whole numbers from -60 to 67, so that every type but u1 holds them. */
static float value_at(uint64_t row, uint64_t column)
{
    return (float)(int)((row * 31 + column * 7) % 128) - 60;
}

static void add_one(blob *b, const char *type, bool big_endian, float value)
{
    if (strcmp(type, "f4") == 0)
        add_float(b, value, big_endian);
    else if (strcmp(type, "f8") == 0)
        add_double(b, value, big_endian);
    else if (strcmp(type, "f2") == 0)
        add_half(b, value, big_endian);
    else if (strcmp(type, "u1") == 0)
        add_value(b, (unsigned)(value + 60), 1, false);
    else if (strcmp(type, "i4") == 0)
        add_value(b, (uint32_t)(int)value, 4, big_endian);
    else
        add_value(b, (unsigned char)(int)value, 1, false);
}

static void add_rows(blob *b, const char *type, bool big_endian, unsigned n, unsigned d)
{
    for (unsigned i = 0; i < n * d; i++)
        add_one(b, type, big_endian, value_at(i / d, i % d));
}

static void add_vecs(blob *b, const char *type, unsigned n, unsigned d)
{
    for (unsigned i = 0; i < n; i++) {
        add_u32(b, d);
        for (unsigned j = 0; j < d; j++)
            add_one(b, type, false, value_at(i, j));
    }
}

static void add_npy(blob *b, int version, const char *header)
{
    size_t length = strlen(header);
    add(b, "\x93NUMPY", 6);
    add_value(b, (unsigned)version, 1, false);
    add_value(b, 0, 1, false);
    add_value(b, length, version == 1 ? 2 : 4, false);
    add(b, header, length);
}

/* ---- opening ------------------------------------------------------------ */

static omen_detail detail;

static int try_open(const char *name, const char *format, uint32_t d, omen_vectors **out)
{
    omen_vectors_options options = {.format = format, .d = d};
    detail.text[0] = '\0';
    int rc = omen_vectors_open(out, name[0] == '/' || strcmp(name, "-") == 0 ? name : path_of(name), &options, &detail);
    if (rc != OMEN_OK) {
        CHECK(*out == NULL);
        CHECK(detail.text[0] != '\0');
        CHECK(strchr(detail.text, '\n') == NULL);
        CHECK(detail.text[strlen(detail.text) - 1] != '.');
    }
    return rc;
}

/* Expects opening to fail with code and a message that has part in it. */
static void refuse(const char *name, const char *format, uint32_t d, int code, const char *part)
{
    omen_vectors *vectors;
    int rc = try_open(name, format, d, &vectors);
    CHECK_EQ_INT(rc, code);
    if (rc != code)
        printf("# %s: %s\n", name, detail.text);
    CHECK_STR_CONTAINS(detail.text, part);
    omen_vectors_close(vectors);
}

static void refuse_blob(const char *name, const blob *b, int code, const char *part)
{
    save(name, b);
    refuse(name, NULL, 0, code, part);
}

/* Expects the test array, or for u1 the array plus 60, whole and in parts. */
static void expect(const char *name, const char *format, uint32_t d_wanted, const char *want_format, uint64_t n,
                   uint32_t d, float shift)
{
    omen_vectors *vectors;
    int rc = try_open(name, format, d_wanted, &vectors);
    CHECK_EQ_INT(rc, OMEN_OK);
    if (rc != OMEN_OK) {
        printf("# %s: %s\n", name, detail.text);
        return;
    }
    omen_source source = omen_vectors_source(vectors);
    CHECK(strcmp(omen_vectors_format(vectors), want_format) == 0);
    CHECK_EQ_INT(source.n_rows, n);
    CHECK_EQ_INT(source.d, d);
    for (uint64_t first = 0; first <= n; first++) {
        for (uint64_t part = 0; part <= n - first; part += part < 3 ? 1 : (n - first - part) / 2 + 1) {
            float *rows = malloc(part * d * sizeof(float) + 1);
            int bad = 0;
            CHECK_EQ_INT(source.read(source.self, first, part, rows, &detail), OMEN_OK);
            for (uint64_t i = 0; i < part * d; i++)
                bad += rows[i] != value_at(first + i / d, i % d) + shift;
            if (source.read_bytes != NULL) {
                uint8_t *bytes = (uint8_t *)rows;
                CHECK_EQ_INT(source.read_bytes(source.self, first, part, bytes, &detail), OMEN_OK);
                for (uint64_t i = 0; i < part * d; i++)
                    bad += bytes[i] != value_at(first + i / d, i % d) + shift;
            }
            CHECK_EQ_INT(bad, 0);
            free(rows);
        }
    }
    if (source.read_bytes != NULL)
        CHECK_EQ_INT(source.read_bytes(source.self, n, 1, NULL, &detail), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(source.read(source.self, n, 1, NULL, &detail), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(source.read(source.self, 1, UINT64_MAX, NULL, &detail), OMEN_ERR_ARGUMENT);
    omen_vectors_close(vectors);
}

static void expect_blob(const char *name, const blob *b, uint64_t n, uint32_t d, float shift)
{
    save(name, b);
    expect(name, NULL, 0, strrchr(name, '.') + 1, n, d, shift);
}

/* Expects reading all rows to fail with a message that has part in it, and all rows before row to be readable. */
static void refuse_row(const char *name, uint64_t row, const char *part)
{
    omen_vectors *vectors;
    CHECK_EQ_INT(try_open(name, NULL, 0, &vectors), OMEN_OK);
    if (vectors == NULL)
        return;
    omen_source source = omen_vectors_source(vectors);
    float *rows = malloc(source.n_rows * source.d * sizeof(float));
    CHECK_EQ_INT(source.read(source.self, 0, source.n_rows, rows, &detail), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(detail.text, part);
    if (source.read_bytes != NULL) {
        detail.text[0] = '\0';
        CHECK_EQ_INT(source.read_bytes(source.self, 0, source.n_rows, (uint8_t *)rows, &detail), OMEN_ERR_INPUT);
        CHECK_STR_CONTAINS(detail.text, part);
    }
    CHECK_EQ_INT(source.read(source.self, 0, row, rows, &detail), OMEN_OK);
    CHECK_EQ_INT(source.read(source.self, row, 1, rows, &detail), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(detail.text, part);
    free(rows);
    omen_vectors_close(vectors);
}

/* Expects no prefix of the file to open. The prefix of length 0 is empty. */
static void refuse_prefixes(const char *name, const blob *b)
{
    for (size_t n = 0; n < b->n; n++) {
        omen_vectors *vectors;
        save_bytes(name, b->bytes, n);
        CHECK_EQ_INT(try_open(name, NULL, 0, &vectors), OMEN_ERR_INPUT);
        CHECK_STR_CONTAINS(detail.text, n == 0 ? "is empty" : name);
        omen_vectors_close(vectors);
    }
}

/* ---- formats ------------------------------------------------------------ */

static void test_vecs(void)
{
    blob b = {0};
    add_vecs(&b, "f4", 20, 5);
    expect_blob("a.fvecs", &b, 20, 5, 0);
    expect("a.fvecs", "fvecs", 5, "fvecs", 20, 5, 0);
    refuse("a.fvecs", NULL, 6, OMEN_ERR_ARGUMENT, "has 5 dimensions, not 6");
    b.n = 0;
    add_vecs(&b, "u1", 20, 5);
    expect_blob("a.bvecs", &b, 20, 5, 60);
    b.n = 0;
    add_vecs(&b, "i4", 20, 5);
    expect_blob("a.ivecs", &b, 20, 5, 0);
    b.n = 0;
    add_vecs(&b, "f4", 1, 1);
    expect_blob("one.fvecs", &b, 1, 1, 0);

    omen_vectors *vectors;
    CHECK_EQ_INT(try_open("a.bvecs", NULL, 0, &vectors), OMEN_OK);
    omen_source source = omen_vectors_source(vectors);
    CHECK_EQ_INT(source.element_bytes, 1);
    CHECK_EQ_INT(source.n_bytes, 20 * 9);
    CHECK(source.read_bytes != NULL);
    omen_vectors_close(vectors);
}

static void test_vecs_damaged(void)
{
    blob b = {0};
    add_vecs(&b, "f4", 20, 5);
    add(&b, "\5\0\0\0xxxx", 8);
    refuse_blob("bad.fvecs", &b, OMEN_ERR_INPUT, "bad.fvecs\": row 20 is cut short: 8 of its 24 bytes");
    b.n = 0;
    add_vecs(&b, "f4", 17, 5);
    add_vecs(&b, "f4", 30, 4);
    refuse_blob("bad.fvecs", &b, OMEN_ERR_INPUT, "row 17 has dimension 4, the first row has 5");
    b.n = 0;
    add_vecs(&b, "f4", 17, 5);
    add_vecs(&b, "f4", 1, 4);
    refuse_blob("bad.fvecs", &b, OMEN_ERR_INPUT, "row 17 has dimension 4, the first row has 5");
    b.n = 0;
    add_vecs(&b, "f4", 40, 5);
    b.bytes[17 * 24] = 96;
    save("bad.fvecs", &b);
    refuse_row("bad.fvecs", 17, "bad.fvecs\": row 17 has dimension 96, the first row has 5");
    b.n = 0;
    add(&b, "\0\0\0\0\0\0\0\0", 8);
    refuse_blob("bad.fvecs", &b, OMEN_ERR_INPUT, "dimension 0");
    b.n = 0;
    add(&b, "\xff\xff\xff\xff\0\0\0\0", 8);
    refuse_blob("bad.fvecs", &b, OMEN_ERR_INPUT, "dimension -1");
    b.n = 0;
    add_u32(&b, OMEN_MAX_DIM + 1);
    refuse_blob("bad.bvecs", &b, OMEN_ERR_INPUT, "65537");
    /* The only row at the largest dimension is short, not too wide. */
    b.n = 0;
    add_u32(&b, OMEN_MAX_DIM);
    refuse_blob("bad.bvecs", &b, OMEN_ERR_INPUT, "row 0 is cut short: 4 of its 65540 bytes");
    b.n = 0;
    add_vecs(&b, "f4", 1, 5);
    refuse_prefixes("cut.fvecs", &b);
    b.n = 0;
    add_vecs(&b, "u1", 1, 5);
    refuse_prefixes("cut.bvecs", &b);
}

static void test_not_finite(void)
{
    /* Wide enough to cross the run in which values are checked. */
    static const struct {
        float value;
        const char *part;
    } cases[] = {{NAN, "a NaN in column 3"},
                 {-NAN, "a NaN in column 3"},
                 {INFINITY, "an infinite value in column 3"},
                 {-INFINITY, "an infinite value in column 3"}};
    char part[128];
    for (size_t i = 0; i < 4; i++) {
        for (unsigned row = 0; row < 40; row += 13) {
            blob b = {0};
            snprintf(part, sizeof(part), "row %u has %s", row, cases[i].part);
            add_vecs(&b, "f4", 40, 5);
            memcpy(b.bytes + row * 24 + 4 + 12, &cases[i].value, 4);
            save("bad.fvecs", &b);
            refuse_row("bad.fvecs", row, part);
            b.n = 0;
            add_u32(&b, 40);
            add_u32(&b, 5);
            add_rows(&b, "f4", false, 40, 5);
            memcpy(b.bytes + 8 + row * 20 + 12, &cases[i].value, 4);
            save("bad.fbin", &b);
            refuse_row("bad.fbin", row, part);
            b.n = 0;
            add_npy(&b, 1, "{'descr': '<f4', 'fortran_order': True, 'shape': (40, 5), }");
            size_t start = b.n;
            add_rows(&b, "f4", false, 40, 5);
            memcpy(b.bytes + start + (3 * 40 + row) * 4, &cases[i].value, 4);
            save("bad.npy", &b);
            refuse_row("bad.npy", row, part);
        }
    }
    blob b = {0};
    add_npy(&b, 1, "{'descr': '>f8', 'fortran_order': False, 'shape': (2, 2), }");
    add_double(&b, 3.4e38, true);
    add_double(&b, 1e-320, true);
    add_double(&b, 1, true);
    add_double(&b, -1e39, true);
    save("bad.npy", &b);
    refuse_row("bad.npy", 1, "row 1 has an infinite value in column 1");
    b.n = 0;
    add_npy(&b, 1, "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 1), }");
    add(&b, "\0\0\1\x7c", 4);
    save("bad.npy", &b);
    refuse_row("bad.npy", 1, "row 1 has a NaN in column 0");
}

/* A run of rows far longer than the one in which values are converted, with a bad value near its end. */
static void test_long_run(void)
{
    enum { N = 3000, D = 7 };
    float *values = malloc((2 + N * D) * sizeof(float));
    float *rows = malloc(N * D * sizeof(float));
    uint32_t header[2] = {N, D};
    omen_vectors *vectors;
    memcpy(values, header, 8);
    for (int i = 0; i < N * D; i++)
        values[2 + i] = (float)i;
    save_bytes("long.fbin", values, (2 + N * D) * sizeof(float));
    CHECK_EQ_INT(try_open("long.fbin", NULL, 0, &vectors), OMEN_OK);
    omen_source source = omen_vectors_source(vectors);
    CHECK_EQ_INT(source.read(source.self, 0, N, rows, &detail), OMEN_OK);
    CHECK(memcmp(rows, values + 2, N * D * sizeof(float)) == 0);
    CHECK_EQ_INT(source.read(source.self, 1, N - 1, rows, &detail), OMEN_OK);
    CHECK(memcmp(rows, values + 2 + D, (N - 1) * D * sizeof(float)) == 0);
    omen_vectors_close(vectors);
    values[2 + (N - 2) * D + 6] = INFINITY;
    save_bytes("long.fbin", values, (2 + N * D) * sizeof(float));
    refuse_row("long.fbin", N - 2, "row 2998 has an infinite value in column 6");
    free(rows);
    free(values);
}

static void test_half_exact(void)
{
    blob *b = calloc(1, sizeof(*b));
    for (int big = 0; big < 2; big++) {
        for (uint32_t start = 0; start < 0x10000; start += 0x1000) {
            float rows[0x1000];
            omen_vectors *vectors;
            b->n = 0;
            add_npy(b, 1,
                    big ? "{'descr': '>f2', 'fortran_order': False, 'shape': (4096, 1), }"
                        : "{'descr': '<f2', 'fortran_order': False, 'shape': (4096, 1), }");
            for (uint32_t i = start; i < start + 0x1000; i++) {
                bool special = (i & 0x7c00) == 0x7c00;
                add_value(b, special ? 0x3c00 : i, 2, big);
            }
            save("half.npy", b);
            CHECK_EQ_INT(try_open("half.npy", NULL, 0, &vectors), OMEN_OK);
            omen_source source = omen_vectors_source(vectors);
            CHECK_EQ_INT(source.element_bytes, 2);
            CHECK_EQ_INT(source.read(source.self, 0, 0x1000, rows, &detail), OMEN_OK);
            int bad = 0;
            for (uint32_t i = 0; i < 0x1000; i++) {
                uint32_t half = start + i;
                int exponent = half >> 10 & 31, fraction = half & 1023;
                float want = exponent ? ldexpf((float)(1024 + fraction), exponent - 25) : ldexpf((float)fraction, -24);
                want = exponent == 31 ? 1 : half & 0x8000 ? -want : want;
                bad += memcmp(&want, &rows[i], 4) != 0;
            }
            CHECK_EQ_INT(bad, 0);
            omen_vectors_close(vectors);
        }
    }
    free(b);
}

static void test_npy_types(void)
{
    static const char *const types[] = {"f2", "f4", "f8", "i1", "u1"};
    static const char orders[] = "<>|=";
    for (int version = 1; version <= 3; version++) {
        for (int t = 0; t < 5; t++) {
            for (int o = 0; o < 4; o++) {
                for (int fortran = 0; fortran < 2; fortran++) {
                    blob b = {0};
                    char header[128];
                    unsigned n = 37, d = 19;
                    snprintf(header, sizeof(header), "{'descr': '%c%s', 'fortran_order': %s, 'shape': (%u, %u), }   \n",
                             orders[o], types[t], fortran ? "True" : "False", n, d);
                    add_npy(&b, version, header);
                    bool big = orders[o] == '>' || (orders[o] != '<' && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
                    if (fortran) {
                        for (unsigned i = 0; i < n * d; i++)
                            add_one(&b, types[t], big, value_at(i % n, i / n));
                    } else {
                        add_rows(&b, types[t], big, n, d);
                    }
                    expect_blob("a.npy", &b, n, d, strcmp(types[t], "u1") == 0 ? 60 : 0);
                }
            }
        }
    }
}

static void test_npy_fortran_large(void)
{
    enum { N = 600, D = 33 };
    static unsigned char file[128 + N * D * 4];
    blob b = {0};
    float *rows = malloc(N * D * sizeof(float));
    omen_vectors *vectors;
    add_npy(&b, 1, "{'descr': '<f4', 'fortran_order': True, 'shape': (600, 33), }");
    memcpy(file, b.bytes, b.n);
    for (int i = 0; i < N * D; i++) {
        float value = (float)(i % N * 100 + i / N);
        memcpy(file + b.n + i * 4, &value, 4);
    }
    save_bytes("f.npy", file, b.n + N * D * 4);
    CHECK_EQ_INT(try_open("f.npy", NULL, 0, &vectors), OMEN_OK);
    omen_source source = omen_vectors_source(vectors);
    for (uint64_t first = 0; first < N; first += 71) {
        int bad = 0;
        CHECK_EQ_INT(source.read(source.self, first, N - first, rows, &detail), OMEN_OK);
        for (uint64_t i = 0; i < (N - first) * D; i++)
            bad += rows[i] != (float)((first + i / D) * 100 + i % D);
        CHECK_EQ_INT(bad, 0);
    }
    omen_vectors_close(vectors);
    free(rows);
}

static void test_npy_headers(void)
{
    static const char *const good[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }",
        "{'shape': (3, 2), 'descr': '<f4', 'fortran_order': False}",
        "{'fortran_order':False,'shape':(3,2,),'descr':'<f4'}",
        " \n{ \"descr\"\t: \"<f4\" , 'shape' : ( 3 , 2 ) ,\n 'fortran_order' : False , } \n ",
        "{u'descr': u'<f4', 'fortran_order': False, 'shape': (3L, 2L), }",
        "{'descr': 'f4', 'fortran_order': False, 'shape': (3, 2), }",
    };
    static const struct {
        const char *header, *part;
    } bad[] = {
        {"{'descr': '|O', 'fortran_order': False, 'shape': (3, 2), }", "object '|O'"},
        {"{'descr': [('a', '<f4'), ('b', '<f4')], 'fortran_order': False, 'shape': (3,), }", "structured"},
        {"{'descr': ('<f4', (2,)), 'fortran_order': False, 'shape': (3,), }", "structured"},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (3, 2), }", "'<i4'"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (3, 2), }", "'<c8'"},
        {"{'descr': '<U5', 'fortran_order': False, 'shape': (3, 2), }", "'<U5'"},
        {"{'descr': '', 'fortran_order': False, 'shape': (3, 2), }", "dtype"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (6,), }", "has 1 dimension;"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (), }", "has 0 dimensions"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 2), }", "has 3 dimensions"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 2), }", "no rows"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 0), }", "no values"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 65537), }", "at most 65536 dimensions"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", "more than a file"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387903, 1), }", "more than a file"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (4611686018427387900, 1), }", "more than a file"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 2), }", "damaged"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 3), }", "cut short at row 2"},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (3, 3), }", "and is cut short"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 1), }", "but the file has"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 2), }", "damaged"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), 'x': 1}", "damaged"},
        {"{'descr': '<f4', 'fortran_order': False, 'descr': '<f4'}", "damaged"},
        {"{'descr': '<f4', 'fortran_order': Falsey, 'shape': (3, 2)}", "damaged"},
        {"{'descr': '<f4', 'fortran_order': False}", "damaged"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3 2)}", "damaged"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2)} x", "damaged"},
        {"{'descr': '<f4' 'fortran_order': False, 'shape': (3, 2)}", "damaged"},
        {"{'descr': '<f4, 'fortran_order': False", "damaged"},
        {"{'descr': '\\x3cf4', 'fortran_order': False, 'shape': (3, 2)}", "damaged"},
        {"{", "damaged"},
        {"{}", "damaged"},
        {"", "damaged"},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        blob b = {0};
        add_npy(&b, 1 + (int)i % 3, good[i]);
        add_rows(&b, "f4", __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__, 3, 2);
        expect_blob("a.npy", &b, 3, 2, 0);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        blob b = {0};
        add_npy(&b, 1 + (int)i % 3, bad[i].header);
        add_rows(&b, "f4", false, 3, 2);
        refuse_blob("bad.npy", &b, OMEN_ERR_INPUT, bad[i].part);
    }
    blob b = {0};
    add_npy(&b, 4, good[0]);
    refuse_blob("bad.npy", &b, OMEN_ERR_INPUT, "version is 4.0");
    b.n = 0;
    add(&b, "\x93NUMPY\2\0\xff\xff\xff\xff{}", 14);
    refuse_blob("bad.npy", &b, OMEN_ERR_INPUT, "header is cut short");
    for (int version = 1; version <= 2; version++) {
        b.n = 0;
        add_npy(&b, version, good[0]);
        add_rows(&b, "f4", false, 3, 2);
        refuse_prefixes("cut.npy", &b);
    }
    /* A header that never ends where the file does. */
    b.n = 0;
    add_npy(&b, 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3");
    refuse_blob("bad.npy", &b, OMEN_ERR_INPUT, "damaged");
}

static void test_bin(void)
{
    static const char *const names[] = {"a.fbin", "a.u8bin", "a.i8bin"};
    static const char *const types[] = {"f4", "u1", "i1"};
    blob b = {0};
    for (int i = 0; i < 3; i++) {
        b.n = 0;
        add_u32(&b, 20);
        add_u32(&b, 5);
        add_rows(&b, types[i], false, 20, 5);
        expect_blob(names[i], &b, 20, 5, i == 1 ? 60 : 0);
    }
    b.n = 0;
    add_u32(&b, 3);
    add_u32(&b, 2);
    add_rows(&b, "f4", false, 3, 2);
    refuse_prefixes("cut.fbin", &b);
    add(&b, "x", 1);
    refuse_blob("bad.fbin", &b, OMEN_ERR_INPUT, "3 x 2 (32 bytes), but the file has 33 bytes");
    b.n = 8 + 20;
    refuse_blob("bad.fbin", &b, OMEN_ERR_INPUT, "cut short at row 2");
    static const struct {
        uint32_t n, d;
        const char *part;
    } bad[] = {{0, 2, "no rows"},
               {2, 0, "no values"},
               {1, OMEN_MAX_DIM + 1, "at most 65536"},
               {0xffffffff, OMEN_MAX_DIM, "cut short at row 0"},
               {0xffffffff, 0xffffffff, "at most 65536"}};
    for (int i = 0; i < 5; i++) {
        b.n = 0;
        add_u32(&b, bad[i].n);
        add_u32(&b, bad[i].d);
        refuse_blob("bad.fbin", &b, OMEN_ERR_INPUT, bad[i].part);
    }
}

static void add_idx(blob *b, int type, int n_dimensions, uint32_t n, uint32_t d1, uint32_t d2)
{
    unsigned char magic[4] = {0, 0, (unsigned char)type, (unsigned char)n_dimensions};
    uint32_t dimensions[3] = {n, d1, d2};
    add(b, magic, 4);
    for (int i = 0; i < n_dimensions; i++)
        add_value(b, i < 3 ? dimensions[i] : 0xffffffff, 4, true);
}

static void test_idx(void)
{
    static const struct {
        int code;
        const char *type;
    } types[] = {{0x08, "u1"}, {0x09, "i1"}, {0x0D, "f4"}, {0x0E, "f8"}};
    blob b = {0};
    for (int i = 0; i < 4; i++) {
        b.n = 0;
        add_idx(&b, types[i].code, 3, 20, 2, 3);
        add_rows(&b, types[i].type, true, 20, 6);
        expect_blob("a.idx", &b, 20, 6, i == 0 ? 60 : 0);
        save("t10k-images-idx3-ubyte", &b);
        expect("t10k-images-idx3-ubyte", NULL, 6, "idx", 20, 6, i == 0 ? 60 : 0);
        b.n = 0;
        add_idx(&b, types[i].code, 2, 20, 6, 0);
        add_rows(&b, types[i].type, true, 20, 6);
        expect_blob("a.idx", &b, 20, 6, i == 0 ? 60 : 0);
    }
    b.n = 0;
    add_idx(&b, 0x08, 3, 3, 2, 2);
    add_rows(&b, "u1", true, 3, 4);
    refuse_prefixes("cut.idx", &b);
    add(&b, "x", 1);
    refuse_blob("bad.idx", &b, OMEN_ERR_INPUT, "but the file has 29 bytes");
    static const struct {
        int code, n_dimensions;
        uint32_t n, d1, d2;
        const char *part;
    } bad[] = {{0x0B, 2, 20, 6, 0, "type short (0x0B)"},
               {0x0C, 2, 20, 6, 0, "type int (0x0C)"},
               {0x0A, 2, 20, 6, 0, "no idx header"},
               {0x08, 0, 20, 6, 0, "no idx header"},
               {0x08, 1, 20, 6, 0, "one dimension"},
               {0x08, 2, 0, 6, 0, "no rows"},
               {0x08, 3, 6, 0, 6, "no values"},
               {0x08, 3, 6, 257, 256, "at most 65536"},
               {0x08, 3, 6, 0xffffffff, 0xffffffff, "at most 65536"},
               {0x08, 6, 6, 0xffffffff, 0xffffffff, "more than a file"},
               {0x0E, 2, 0xffffffff, 65536, 0, "cut short at row 0"}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        b.n = 0;
        add_idx(&b, bad[i].code, bad[i].n_dimensions, bad[i].n, bad[i].d1, bad[i].d2);
        refuse_blob("bad.idx", &b, OMEN_ERR_INPUT, bad[i].part);
    }
}

static void test_raw(void)
{
    blob b = {0};
    add_rows(&b, "f4", false, 20, 5);
    save("a.raw", &b);
    save("a.F32", &b);
    expect("a.raw", NULL, 5, "raw", 20, 5, 0);
    expect("a.F32", NULL, 5, "raw", 20, 5, 0);
    refuse("a.raw", NULL, 0, OMEN_ERR_ARGUMENT, "--dim");
    refuse("a.raw", NULL, 7, OMEN_ERR_INPUT, "row 14 is cut short: 8 bytes are left for its 7 dimensions (28 bytes)");
    refuse("a.raw", NULL, OMEN_MAX_DIM, OMEN_ERR_INPUT, "row 0 is cut short");
    refuse("a.raw", NULL, OMEN_MAX_DIM + 1, OMEN_ERR_ARGUMENT, "65537");
}

/* ---- detection ---------------------------------------------------------- */

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
            snprintf(part, sizeof(part), "looks like %s (try --format %s", files[i].name, files[i].name);
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
    refuse_blob("plain", &b, OMEN_ERR_INPUT, "may be u8bin or i8bin: choose with --format");
    refuse_blob("wrong.fbin", &b, OMEN_ERR_INPUT, "looks like u8bin or i8bin");
    refuse_blob("text.csv", &(blob){6, "1,2,3\n"}, OMEN_ERR_INPUT, omen_vectors_formats());
    refuse("text.csv", "parquet", 0, OMEN_ERR_ARGUMENT, "unknown format \"parquet\": the formats are fvecs, ");

    /* Every name listed is a format. */
    char names[128];
    snprintf(names, sizeof(names), "%s", omen_vectors_formats());
    for (char *name = strtok(names, ", "); name; name = strtok(NULL, ", "))
        refuse("absent", name, 0, OMEN_ERR_IO, "cannot open");
}

static void test_other_content(void)
{
    blob b = {0};
    refuse_blob("empty.fvecs", &b, OMEN_ERR_INPUT, "empty.fvecs\" is empty");
    add(&b, "\x1f\x8b\x08\0\0\0\0\0\0\3", 10);
    char part[1024];
    save("x.idx.gz", &b);
    snprintf(part, sizeof(part), "is compressed: use zcat %s | omendb ... --format idx -", path_of("x.idx.gz"));
    refuse("x.idx.gz", NULL, 0, OMEN_ERR_INPUT, part);
    refuse("x.idx.gz", "npy", 0, OMEN_ERR_INPUT, "--format npy -");
    refuse_blob("x.gz", &b, OMEN_ERR_INPUT, "--format FORMAT -");
    refuse_blob("x.fvecs", &b, OMEN_ERR_INPUT, "zcat");
    refuse_blob("x.raw", &b, OMEN_ERR_INPUT, "zcat");
    refuse_blob("odd name.npy", &b, OMEN_ERR_INPUT, "odd name.npy\" | omendb ... --format npy -");
    b.n = 0;
    add(&b, "\x28\xb5\x2f\xfd....", 8);
    refuse_blob("x.fvecs.zst", &b, OMEN_ERR_INPUT, "zstdcat");
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

/* ---- streams ------------------------------------------------------------ */

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
    refuse("-", NULL, 0, OMEN_ERR_ARGUMENT, "standard input needs its format named with --format");
    pipe_in(&(blob){0});
    refuse("-", "fvecs", 0, OMEN_ERR_INPUT, "standard input is empty");
    pipe_in(&(blob){4, "\x1f\x8b\x08"});
    refuse("-", NULL, 0, OMEN_ERR_INPUT, "zcat | omendb ... --format FORMAT -");
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

/* ---- results ------------------------------------------------------------ */

static const int64_t some_ids[] = {7, 0, 9000000000, 12, -1, 3};
static const float some_distances[] = {0, 0.1f, 1234567, 1e-10f, -0.0f, -2.5f};

static size_t results_bytes(omen_results_format format, bool with_distances, const int64_t *ids, char *bytes,
                            size_t size)
{
    omen_results results = {tmpfile(), format, with_distances, 3, 2};
    CHECK_EQ_INT(omen_results_begin(&results, &detail), OMEN_OK);
    CHECK_EQ_INT(omen_results_write(&results, 0, 2, ids, some_distances, &detail), OMEN_OK);
    CHECK_EQ_INT(omen_results_write(&results, 2, 1, ids + 4, some_distances + 4, &detail), OMEN_OK);
    rewind(results.stream);
    size_t n = fread(bytes, 1, size - 1, results.stream);
    bytes[n] = '\0';
    fclose(results.stream);
    return n;
}

static void test_results_text(void)
{
    char text[1024];
    results_bytes(OMEN_RESULTS_TSV, true, some_ids, text, sizeof(text));
    CHECK(strcmp(text, "0\t1\t7\t0\n0\t2\t0\t0.100000001\n1\t1\t9000000000\t1234567\n1\t2\t12\t1.00000001e-10\n"
                       "2\t1\t-1\t-0\n2\t2\t3\t-2.5\n") == 0);
    results_bytes(OMEN_RESULTS_TSV, false, some_ids, text, sizeof(text));
    CHECK(strcmp(text, "0\t1\t7\n0\t2\t0\n1\t1\t9000000000\n1\t2\t12\n2\t1\t-1\n2\t2\t3\n") == 0);
    results_bytes(OMEN_RESULTS_JSONL, true, some_ids, text, sizeof(text));
    CHECK(strcmp(text, "{\"query\":0,\"ids\":[7,0],\"distances\":[0,0.100000001]}\n"
                       "{\"query\":1,\"ids\":[9000000000,12],\"distances\":[1234567,1.00000001e-10]}\n"
                       "{\"query\":2,\"ids\":[-1,3],\"distances\":[-0,-2.5]}\n") == 0);
    results_bytes(OMEN_RESULTS_JSONL, false, some_ids, text, sizeof(text));
    CHECK(strcmp(text, "{\"query\":0,\"ids\":[7,0]}\n{\"query\":1,\"ids\":[9000000000,12]}\n"
                       "{\"query\":2,\"ids\":[-1,3]}\n") == 0);

    /* The extremes, and distances JSON has no number for. */
    int64_t ids[] = {INT64_MIN, INT64_MAX};
    float distances[] = {INFINITY, 3.40282347e38f};
    omen_results results = {tmpfile(), OMEN_RESULTS_JSONL, true, 1, 2};
    CHECK_EQ_INT(omen_results_write(&results, UINT32_MAX, 1, ids, distances, &detail), OMEN_OK);
    rewind(results.stream);
    text[fread(text, 1, sizeof(text) - 1, results.stream)] = '\0';
    CHECK(strcmp(text, "{\"query\":4294967295,\"ids\":[-9223372036854775808,9223372036854775807],"
                       "\"distances\":[null,3.40282347e+38]}\n") == 0);
    fclose(results.stream);
}

static void test_results_binary(void)
{
    static const int64_t ids[] = {7, 0, 2147483647, 12, -1, 3};
    char bytes[1024], want[1024];
    size_t n = results_bytes(OMEN_RESULTS_IVECS, true, ids, bytes, sizeof(bytes));
    static const char ivecs[] = "\2\0\0\0\7\0\0\0\0\0\0\0"
                                "\2\0\0\0\xff\xff\xff\x7f\x0c\0\0\0"
                                "\2\0\0\0\xff\xff\xff\xff\3\0\0\0";
    CHECK_EQ_INT(n, 36);
    CHECK(memcmp(bytes, ivecs, 36) == 0);

    n = results_bytes(OMEN_RESULTS_NPY, false, some_ids, bytes, sizeof(bytes));
    CHECK_EQ_INT(n, 128 + 48);
    snprintf(want, sizeof(want), "%-117s\n", "{'descr': '<i8', 'fortran_order': False, 'shape': (3, 2), }");
    CHECK(memcmp(bytes, "\x93NUMPY\1\0\x76\0", 10) == 0);
    CHECK(memcmp(bytes + 10, want, 118) == 0);
    blob b = {0};
    for (int i = 0; i < 6; i++)
        add_value(&b, (uint64_t)some_ids[i], 8, false);
    CHECK(memcmp(bytes + 128, b.bytes, 48) == 0);

    n = results_bytes(OMEN_RESULTS_NPY, true, some_ids, bytes, sizeof(bytes));
    CHECK_EQ_INT(n, 128 + 72);
    snprintf(want, sizeof(want), "%-117s\n",
             "{'descr': [('id', '<i8'), ('distance', '<f4')], 'fortran_order': False, 'shape': (3, 2), }");
    CHECK(memcmp(bytes + 10, want, 118) == 0);
    b.n = 0;
    for (int i = 0; i < 6; i++) {
        add_value(&b, (uint64_t)some_ids[i], 8, false);
        add_float(&b, some_distances[i], false);
    }
    CHECK(memcmp(bytes + 128, b.bytes, 72) == 0);
}

static void test_results_refused(void)
{
    omen_results results = {tmpfile(), OMEN_RESULTS_IVECS, false, 3, 2};
    CHECK_EQ_INT(omen_results_write(&results, 5, 3, some_ids, NULL, &detail), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(detail.text, "query 6 found row 9000000000, beyond");
    CHECK_EQ_INT(ftell(results.stream), 0);
    results.k = UINT32_MAX;
    CHECK_EQ_INT(omen_results_begin(&results, &detail), OMEN_ERR_INPUT);
    fclose(results.stream);

    omen_results_format format;
    CHECK_EQ_INT(omen_results_parse("npy", &format), OMEN_OK);
    CHECK_EQ_INT(format, OMEN_RESULTS_NPY);
    CHECK_EQ_INT(omen_results_parse("tsv", &format), OMEN_OK);
    CHECK_EQ_INT(format, OMEN_RESULTS_TSV);
    CHECK_EQ_INT(omen_results_parse("csv", &format), OMEN_ERR_ARGUMENT);

    FILE *full = fopen("/dev/full", "w");
    if (full == NULL)
        return;
    static const omen_results_format all[] = {OMEN_RESULTS_TSV, OMEN_RESULTS_JSONL, OMEN_RESULTS_NPY};
    setvbuf(full, NULL, _IONBF, 0);
    for (int i = 0; i < 3; i++) {
        omen_results to_full = {full, all[i], false, 3, 2};
        CHECK_EQ_INT(omen_results_write(&to_full, 0, 3, some_ids, NULL, &detail), OMEN_ERR_IO);
        CHECK_STR_CONTAINS(detail.text, "No space left on device");
    }
    omen_results to_full = {full, OMEN_RESULTS_NPY, false, 3, 2};
    CHECK_EQ_INT(omen_results_begin(&to_full, &detail), OMEN_ERR_IO);
    fclose(full);
}

/* More than the writer's buffer holds. */
static void test_results_long(void)
{
    enum { N = 5000, K = 7 };
    int64_t *ids = malloc(N * K * sizeof(*ids));
    float *distances = malloc(N * K * sizeof(*distances));
    for (int i = 0; i < N * K; i++) {
        ids[i] = (int64_t)i * i * i;
        distances[i] = (float)i / 3;
    }
    omen_results results = {tmpfile(), OMEN_RESULTS_TSV, true, N, K};
    CHECK_EQ_INT(omen_results_write(&results, 0, N, ids, distances, &detail), OMEN_OK);
    rewind(results.stream);
    int bad = 0;
    for (int i = 0; i < N * K; i++) {
        char line[128], want[128];
        snprintf(want, sizeof(want), "%d\t%d\t%" PRId64 "\t%.9g\n", i / K, i % K + 1, ids[i], (double)distances[i]);
        bad += fgets(line, sizeof(line), results.stream) == NULL || strcmp(line, want) != 0;
    }
    CHECK_EQ_INT(bad, 0);
    CHECK_EQ_INT(fgetc(results.stream), EOF);
    fclose(results.stream);
    free(distances);
    free(ids);
}

static int read_sequence(void *self, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    for (uint64_t i = 0; i < n * 5; i++)
        out[i] = (float)(first * 5 + i) / 4;
    return OMEN_OK;
}

/* Every format that the table says can be written is read back as what was written; the others are refused. */
static void test_written(void)
{
    enum { N_ROWS = 70000 }; /* more than are written at once */
    const omen_source source = {.n_rows = N_ROWS, .d = 5, .read = read_sequence};
    char all[128], written[128], *rest = all;
    float row[5];
    unsigned n_written = 0;
    snprintf(all, sizeof(all), "%s", omen_vectors_formats());
    snprintf(written, sizeof(written), ", %s, ", omen_vectors_write_formats());
    for (char *name = strtok_r(all, ", ", &rest); name; name = strtok_r(NULL, ", ", &rest)) {
        char file[64], entry[64];
        omen_detail why = {""};
        omen_vectors *vectors = NULL;
        snprintf(file, sizeof(file), "written.%s", name);
        snprintf(entry, sizeof(entry), ", %s, ", name);
        const bool can_be = strstr(written, entry) != NULL;
        CHECK(strcmp(omen_vectors_named(file), name) == 0);
        CHECK((omen_vectors_write_named(file) != NULL) == can_be);
        FILE *stream = fopen(path_of(file), "wb");
        const int rc = omen_vectors_write(stream, name, &source, NULL, NULL, &why);
        fclose(stream);
        CHECK_EQ_INT(rc, can_be ? OMEN_OK : OMEN_ERR_ARGUMENT);
        if (!can_be) {
            CHECK(strstr(why.text, omen_vectors_write_formats()) != NULL);
            continue;
        }
        n_written++;
        CHECK_EQ_INT(omen_vectors_open(&vectors, path_of(file), &(omen_vectors_options){.raw_d = 5}, &why), OMEN_OK);
        const omen_source back = omen_vectors_source(vectors);
        CHECK_EQ_INT(back.n_rows, N_ROWS);
        CHECK_EQ_INT(back.read(back.self, N_ROWS - 1, 1, row, &why), OMEN_OK);
        CHECK(row[4] == (N_ROWS * 5 - 1) / 4.0f);
        omen_vectors_close(vectors);
    }
    CHECK(n_written >= 4);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    return remove(path);
}

int main(void)
{
    const char *parent = getenv("TMPDIR");
    snprintf(directory, sizeof(directory), "%.40s/omendb-XXXXXX", parent && *parent ? parent : "/tmp");
    if (mkdtemp(directory) == NULL) {
        perror(directory);
        return 1;
    }
    RUN(test_vecs);
    RUN(test_vecs_damaged);
    RUN(test_not_finite);
    RUN(test_long_run);
    RUN(test_half_exact);
    RUN(test_npy_types);
    RUN(test_npy_fortran_large);
    RUN(test_npy_headers);
    RUN(test_bin);
    RUN(test_idx);
    RUN(test_raw);
    RUN(test_contradictions);
    RUN(test_other_content);
    RUN(test_written);
    RUN(test_standard_input);
    RUN(test_results_text);
    RUN(test_results_binary);
    RUN(test_results_refused);
    RUN(test_results_long);
    nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return check_finish();
}
