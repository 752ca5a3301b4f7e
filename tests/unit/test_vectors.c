/* SPDX-License-Identifier: Apache-2.0 */
/* The vector readers, format by format, on small files in a scratch directory. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "formats/omendb_files.h"
#include "formats/vectors.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include "tests/unit/vector_files.h"

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
    add_vecs(&b, "f2", 20, 5);
    expect_blob("a.hvecs", &b, 20, 5, 0);
    save("plain", &b);
    expect("plain", NULL, 0, "hvecs", 20, 5, 0);
    b.n = 0;
    add_vecs(&b, "f4", 1, 1);
    expect_blob("one.fvecs", &b, 1, 1, 0);

    omen_vectors *vectors;
    CHECK_EQ_INT(try_open("a.bvecs", NULL, 0, &vectors), OMEN_OK);
    omen_source source = omen_vectors_source(vectors);
    CHECK_EQ_INT(source.element_bytes, 1);
    CHECK_EQ_INT(source.n_bytes, 20 * 9);
    CHECK(source.read_bytes);
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
    static const char *const types[] = {"f2", "f4", "f8", "i1", "u1", "i2", "i4", "i8", "u2", "u4", "u8"};
    static const char orders[] = "<>|=";
    for (int version = 1; version <= 3; version++) {
        for (int t = 0; t < 11; t++) {
            for (int o = 0; o < 4; o++) {
                for (int fortran = 0; fortran < 2; fortran++) {
                    blob b = {0};
                    char header[128];
                    unsigned n = 37, d = 19;
                    snprintf(header, sizeof(header), "{'descr': '%c%s', 'fortran_order': %s, 'shape': (%u, %u), }   \n",
                             orders[o], types[t], fortran ? "True" : "False", n, d);
                    add_npy(&b, version, header);
                    bool big = orders[o] == '>' || (orders[o] != '<' && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
                    if (fortran)
                        for (unsigned i = 0; i < n * d; i++)
                            add_one(&b, types[t], big, value_at(i % n, i / n));
                    else
                        add_rows(&b, types[t], big, n, d);
                    expect_blob("a.npy", &b, n, d, types[t][0] == 'u' ? 60 : 0);
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

/* What ml_dtypes writes for bfloat16 and float8 e5m2. */
static void test_npy_narrow_floats(void)
{
    static const struct {
        const char *descr;
        uint64_t bits;
        int n_bytes;
        float value;
    } some[] = {{"<V2", 0x3f80, 2, 1},           {">V2", 0xc2f7, 2, -123.5f}, {"<V2", 0x0001, 2, 0x1p-133f},
                {"<V2", 0x7f7f, 2, 0x1.fep127f}, {"<f1", 0x3c, 1, 1},         {"<f1", 0xc5, 1, -5},
                {"<f1", 0x01, 1, 0x1p-16f},      {"<f1", 0x7b, 1, 57344},     {"|f1", 0x80, 1, 0}};
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
        blob b = {0};
        char header[128];
        float row[1];
        omen_vectors *vectors;
        snprintf(header, sizeof(header), "{'descr': '%s', 'fortran_order': False, 'shape': (1, 1), }", some[i].descr);
        add_npy(&b, 1, header);
        add_value(&b, some[i].bits, some[i].n_bytes, some[i].descr[0] == '>');
        save("a.npy", &b);
        CHECK_EQ_INT(try_open("a.npy", NULL, 0, &vectors), OMEN_OK);
        omen_source source = omen_vectors_source(vectors);
        CHECK_EQ_INT(source.read(source.self, 0, 1, row, &detail), OMEN_OK);
        CHECK(row[0] == some[i].value);
        omen_vectors_close(vectors);
        b.n -= (size_t)some[i].n_bytes;
        add_value(&b, some[i].n_bytes == 1 ? 0x7c : 0x7f80, some[i].n_bytes, some[i].descr[0] == '>');
        save("a.npy", &b);
        refuse_row("a.npy", 0, "row 0 has an infinite value in column 0");
    }
}

/* Integers that float32 holds, and the first that it rounds. */
static void test_npy_wide_integers(void)
{
    static const struct {
        const char *descr;
        uint64_t good, bad;
    } some[] = {{"<i4", 1 << 24, (1 << 24) + 1},
                {">i4", (uint32_t) - (1 << 24), (uint32_t)(-(1 << 24) - 1)},
                {"<i4", 0x80000000u, 0x80000001u},
                {"<u4", 0xffffff00u, 0xffffff01u},
                {"<i8", 0x8000000000000000u, 0x7fffffffffffffffu},
                {">i8", (uint64_t) - (1ll << 24), (uint64_t)(-(1ll << 24) - 1)},
                {"<u8", 0xffffff0000000000u, 0xffffffffffffffffu}};
    for (size_t i = 0; i < 2 * sizeof(some) / sizeof(some[0]); i++) {
        const bool big = some[i / 2].descr[0] == '>', by_columns = i % 2;
        const int n_bytes = some[i / 2].descr[2] - '0';
        blob b = {0};
        char header[128];
        snprintf(header, sizeof(header), "{'descr': '%s', 'fortran_order': %s, 'shape': (150, 3), }", some[i / 2].descr,
                 by_columns ? "True" : "False");
        add_npy(&b, 1, header);
        for (unsigned j = 0; j < 450; j++) {
            const unsigned row = by_columns ? j % 150 : j / 3, column = by_columns ? j / 150 : j % 3;
            add_value(&b, row == 77 && column == 1 ? some[i / 2].bad : some[i / 2].good, n_bytes, big);
        }
        save("a.npy", &b);
        refuse_row("a.npy", 77, "row 77 has an integer in column 1 that float32 would round");
    }
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
        {"{'descr': '<i16', 'fortran_order': False, 'shape': (3, 2), }", "'<i16'"},
        {"{'descr': '|V2', 'fortran_order': False, 'shape': (3, 2), }", "'|V2'"},
        {"{'descr': '<V1', 'fortran_order': False, 'shape': (3, 2), }", "'<V1', a type of 8 bits"},
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
    refuse("a.raw", NULL, 0, OMEN_ERR_ARGUMENT, "options.d");
    refuse("a.raw", NULL, 7, OMEN_ERR_INPUT, "row 14 is cut short: 8 bytes are left for its 7 dimensions (28 bytes)");
    refuse("a.raw", NULL, OMEN_MAX_DIM, OMEN_ERR_INPUT, "row 0 is cut short");
    refuse("a.raw", NULL, OMEN_MAX_DIM + 1, OMEN_ERR_ARGUMENT, "65537");
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
        const bool can_be = strstr(written, entry);
        CHECK(strcmp(omen_vectors_named(file), name) == 0);
        CHECK((omen_vectors_write_named(file) != NULL) == can_be);
        FILE *stream = fopen(path_of(file), "wb");
        const int status = omen_vectors_write(stream, name, &source, NULL, NULL, &why);
        fclose(stream);
        CHECK_EQ_INT(status, can_be ? OMEN_OK : OMEN_ERR_ARGUMENT);
        if (!can_be) {
            CHECK(strstr(why.text, omen_vectors_write_formats()));
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

int main(void)
{
    directory_make();
    RUN(test_vecs);
    RUN(test_vecs_damaged);
    RUN(test_not_finite);
    RUN(test_long_run);
    RUN(test_half_exact);
    RUN(test_npy_types);
    RUN(test_npy_fortran_large);
    RUN(test_npy_narrow_floats);
    RUN(test_npy_wide_integers);
    RUN(test_npy_headers);
    RUN(test_bin);
    RUN(test_idx);
    RUN(test_raw);
    RUN(test_written);
    directory_remove();
    return check_finish();
}
