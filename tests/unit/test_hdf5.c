/* SPDX-License-Identifier: Apache-2.0 */
/* Files of HDF5, made here: what is read of them, what is said of chunks, types and shapes that are wrong, small files
 * with every byte changed, and what becomes of a failure of each call of libhdf5. */
#include "formats/hdf5_library.h"

#include <stdlib.h>
#include <unistd.h>

#include "formats/truth.h"
#include "formats/vectors.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include "tests/unit/vector_files.h"

#define N_ROWS 5u
#define DIM    4u

/* ---- making files ---- */

/* Of the filters, a letter each: shuffle, z (deflate), fletcher32, lzf, nbit, other. "": chunks that are not packed. */
static hid_t make_plan(const char *filters, hsize_t n_rows, hsize_t n_columns)
{
    const hsize_t chunk[2] = {n_rows, n_columns};
    const hid_t plan = H5Pcreate(H5P_DATASET_CREATE);
    CHECK(H5Pset_chunk(plan, 2, chunk) >= 0);
    for (; *filters; filters++) {
        herr_t status = -1;
        switch (*filters) {
        case 's':
            status = H5Pset_shuffle(plan);
            break;
        case 'z':
            status = H5Pset_deflate(plan, 6);
            break;
        case 'f':
            status = H5Pset_fletcher32(plan);
            break;
        case 'l':
            status = H5Pset_filter(plan, 32000, H5Z_FLAG_OPTIONAL, 0, NULL);
            break;
        case 'n':
            status = H5Pset_nbit(plan);
            break;
        case 'o':
            status = H5Pset_filter(plan, 32001, H5Z_FLAG_OPTIONAL, 0, NULL);
            break;
        }
        CHECK_CASE(status >= 0, "%c", *filters);
    }
    return plan;
}

static hid_t make_file(const char *name)
{
    const hid_t file = H5Fcreate(path_of(name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    CHECK(file >= 0);
    return file;
}

/* A dataset without values. plan, if it is one, and the space are closed. */
static hid_t add_dataset(hid_t file, const char *name, hid_t type, hid_t space, hid_t plan)
{
    const hid_t id = H5Dcreate2(file, name, type, space, H5P_DEFAULT, plan, H5P_DEFAULT);
    CHECK_CASE(id >= 0, "%s", name);
    H5Sclose(space);
    if (plan != H5P_DEFAULT)
        H5Pclose(plan);
    return id;
}

/* The test array, plus 60. */
static void add_values(hid_t file, const char *name, hid_t type, hid_t plan)
{
    static const hsize_t shape[2] = {N_ROWS, DIM};
    float values[N_ROWS * DIM];
    for (unsigned i = 0; i < N_ROWS * DIM; i++)
        values[i] = value_at(i / DIM, i % DIM) + 60;
    const hid_t id = add_dataset(file, name, type, H5Screate_simple(2, shape, NULL), plan);
    CHECK_CASE(H5Dwrite(id, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0, "%s", name);
    H5Dclose(id);
}

/* Another type: the same but for one property. */
static hid_t type_with(hid_t type, herr_t (*set)(hid_t, size_t), size_t value)
{
    const hid_t other = H5Tcopy(type);
    CHECK(set(other, value) >= 0);
    return other;
}

static hid_t make_bfloat16(void)
{
    const hid_t type = H5Tcopy(H5T_IEEE_F32LE);
    CHECK(H5Tset_fields(type, 15, 7, 8, 0, 7) >= 0 && H5Tset_size(type, 2) >= 0 && H5Tset_ebias(type, 127) >= 0);
    return type;
}

static hid_t make_half(bool is_biased)
{
    const hid_t type = H5Tcopy(H5T_IEEE_F32LE);
    CHECK(H5Tset_fields(type, 15, 10, 5, 0, 10) >= 0 && H5Tset_size(type, 2) >= 0 &&
          H5Tset_ebias(type, is_biased ? 14 : 15) >= 0);
    return type;
}

/* Expects opening to fail, and the reason to have part in it. */
static void refuse_file(const char *name, const char *part)
{
    omen_vectors *vectors;
    CHECK_EQ_INT(omen_vectors_open(&vectors, path_of(name), NULL, &detail), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(detail.text, part);
    omen_vectors_close(vectors);
}

/* ---- what is read ---- */

static void test_types(void)
{
    const hid_t types[] = {H5T_STD_U8LE,   H5T_STD_I8BE,     H5T_STD_I16BE,  H5T_STD_U16LE,  H5T_STD_I32LE,
                           H5T_STD_U32BE,  H5T_STD_I64LE,    H5T_STD_U64BE,  H5T_IEEE_F32LE, H5T_IEEE_F32BE,
                           H5T_IEEE_F64LE, make_half(false), make_bfloat16()};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const hid_t file = make_file("t.h5");
        add_values(file, "v", types[i], H5P_DEFAULT);
        H5Fclose(file);
        expect("t.h5", NULL, 0, "hdf5", N_ROWS, DIM, 60);
    }
}

static void test_other_types(void)
{
    const hid_t no_norm = H5Tcopy(H5T_IEEE_F32LE);
    CHECK(H5Tset_norm(no_norm, H5T_NORM_NONE) >= 0);
    const hid_t shifted = H5Tcopy(H5T_STD_U32LE);
    CHECK(H5Tset_precision(shifted, 16) >= 0 && H5Tset_offset(shifted, 8) >= 0);
    const hid_t mantissa = H5Tcopy(H5T_IEEE_F32LE);
    CHECK(H5Tset_fields(mantissa, 31, 0, 8, 8, 23) >= 0);
    const hid_t types[] = {no_norm,
                           shifted,
                           mantissa,
                           type_with(H5T_STD_U32LE, H5Tset_precision, 24),
                           type_with(H5T_STD_U8LE, H5Tset_size, 3),
                           type_with(H5T_IEEE_F32LE, H5Tset_ebias, 126),
                           make_half(true),
                           H5T_STD_B8LE,
                           type_with(H5T_C_S1, H5Tset_size, 3)};
    static const hsize_t shape[2] = {N_ROWS, DIM};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const hid_t file = make_file("t.h5");
        H5Dclose(add_dataset(file, "v", types[i], H5Screate_simple(2, shape, NULL), H5P_DEFAULT));
        H5Fclose(file);
        refuse_file("t.h5", "v (5 x 4, no numbers)");
        refuse_file("t.h5:v", "holds no numbers that are read");
    }
}

static void test_layouts(void)
{
    static const char *const filters[] = {"", "s", "z", "f", "szf", "zf", "sf"};
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        for (hsize_t n = 1; n <= 3; n++) {
            const hid_t file = make_file("l.h5");
            add_values(file, "v", H5T_IEEE_F32BE, make_plan(filters[i], n, n == 2 ? DIM : n));
            H5Fclose(file);
            expect("l.h5", NULL, 0, "hdf5", N_ROWS, DIM, 60);
        }
    const hid_t file = make_file("l.h5"), plan = H5Pcreate(H5P_DATASET_CREATE);
    CHECK(H5Pset_layout(plan, H5D_COMPACT) >= 0);
    add_values(file, "v", H5T_STD_I16LE, plan);
    H5Fclose(file);
    expect("l.h5", NULL, 0, "hdf5", N_ROWS, DIM, 60);
}

/* More values than fit on the stack, with the description. */
static void test_large_compact(void)
{
    static const hsize_t shape[2] = {300, 40};
    static float values[300 * 40];
    const hid_t file = make_file("l.h5"), plan = H5Pcreate(H5P_DATASET_CREATE);
    for (unsigned i = 0; i < 300 * 40; i++)
        values[i] = value_at(i / 40, i % 40);
    CHECK(H5Pset_layout(plan, H5D_COMPACT) >= 0);
    const hid_t id = add_dataset(file, "v", H5T_STD_I16LE, H5Screate_simple(2, shape, NULL), plan);
    CHECK(H5Dwrite(id, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(id);
    H5Fclose(file);
    expect("l.h5", NULL, 0, "hdf5", 300, 40, 0);
}

/* Ground truth: integers that are rows, and -1 behind the last. */
static void test_truth(void)
{
    static const hsize_t shape[2] = {2, 3};
    const struct {
        hid_t type;
        double values[6];
        const char *part; /* of what is said; NULL: it is read */
    } cases[] = {
        {H5T_STD_I32LE, {4, 2, -1, 0, 1, 2}, NULL},
        {H5T_STD_U64BE, {4, 2, 7, 0, 1, 2}, NULL},
        {H5T_STD_U8LE, {4, 2, 7, 0, 1, 255}, NULL},
        {H5T_IEEE_F32LE, {4, 2, 7, 0, 1, 2}, "is of float32: the numbers of rows are integers"},
        {H5T_STD_I64LE, {4, 2, 7, 0, -2, 2}, "query 1 has the neighbour -2"},
        {H5T_STD_I64LE, {4, 2, 7, 0, -1, 2}, "query 1 has the neighbour 2 after -1"},
        {H5T_STD_I64LE, {4, 4294967296, 7, 0, 1, 2}, "query 0 has the neighbour 4294967296"},
        {H5T_STD_U64LE, {4, 18446744073709549568.0, 7, 0, 1, 2}, "query 0 has the neighbour 18446744073709549568"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const hid_t file = make_file("n.h5");
        const hid_t id = add_dataset(file, "neighbors", cases[i].type, H5Screate_simple(2, shape, NULL), H5P_DEFAULT);
        CHECK(H5Dwrite(id, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, cases[i].values) >= 0);
        H5Dclose(id);
        H5Fclose(file);
        omen_truth truth;
        const int status = omen_truth_read(&truth, path_of("n.h5"), 0, &detail);
        CHECK_CASE(status == (cases[i].part ? OMEN_ERR_INPUT : OMEN_OK), "truth %zu: %d, %s", i, status, detail.text);
        CHECK_CASE(!cases[i].part || strstr(detail.text, cases[i].part), "truth %zu: %s", i, detail.text);
        CHECK_CASE(status != OMEN_OK || (truth.n == 2 && truth.k == 3 && truth.ids[0] == 4), "truth %zu", i);
        omen_truth_finish(&truth);
    }
    CHECK_EQ_INT(omen_truth_read(&(omen_truth){.n = 0}, path_of("n.h5:none"), 0, &detail), OMEN_ERR_INPUT);
}

/* ---- chunks ---- */

/* One chunk of 2 x 2 bytes, 1 to 4. */
static const struct {
    const char *filters, *bytes;
    size_t n;         /* 0: it is not there */
    uint32_t skipped; /* filters, as bits */
    const char *part; /* of what is said; NULL: it is read */
} stored[] = {
    {"", "\1\2\3\4", 4, 0, NULL},
    {"", "", 0, 0, "is missing"},
    {"f", "\1\2\3", 3, 0, "is cut short"},
    {"f", "\1\2\3\4\6\4\10\5", 8, 0, NULL}, /* the high byte first, and the low one */
    {"f", "\1\2\3\4\4\6\5\10", 8, 0, NULL},
    {"f", "\1\2\3\4\4\6\5\11", 8, 0, "its checksum is not the one given"},
    {"f", "\1\2\3\4\5\6\5\10", 8, 0, "its checksum is not the one given"},
    {"f", "\1\2\3\4", 4, 1, NULL},
    {"f", "\1\2\3\0\2\4\3\5", 8, 0, "its checksum"},
    {"f", "\1\2\3\2\4\4\5", 7, 0, "another length"}, /* of an odd number of bytes: 0x0102 and 0x0300 */
    {"z", "\1\2\3\4", 4, 0, "it cannot be unpacked"},
    {"z", "\x78\x01\x01\x04\x00\xfb\xff\x01\x02\x03\x04\x00\x18\x00\x0b", 15, 0, NULL},
    {"z", "\x78\x01\x01\x03\x00\xfc\xff\x01\x02\x03\x00\x0d\x00\x07", 14, 0, "another length"},
    {"l", "\3\1\2\3\4", 5, 0, NULL},
    {"l", "\1\1\2\1\3\4", 6, 0, NULL},
    {"l", "\1\2\3\4", 4, 1, NULL},
    {"l", "\0\7\x20\0", 4, 0, NULL}, /* 7 7 7 7 */
    {"l", "\3\1\2", 3, 0, "it cannot be unpacked"},
    {"l", "\0\7\x20", 3, 0, "it cannot be unpacked"},
    {"l", "\0\7\xe0", 3, 0, "it cannot be unpacked"},
    {"l", "\0\7\x20\5", 4, 0, "it cannot be unpacked"},
    {"l", "\0\7\xe0\xff\0", 5, 0, "another length"},
    {"l", "\0\7\xe0\xff\0\xe0\xff\0\xe0\xff\0\xe0\xff\0", 14, 0, "it cannot be unpacked"},
    {"l", "\0\7\xe0\xff\0\xe0\xff\0\xe0\xff\0\xe0\xe0\0\3\1\2\3\4", 19, 0, "it cannot be unpacked"},
    {"zz", "\1\2\3\4", 4, 0, "by filter 1 twice"},
    {"szfl", "\1\2\3\4", 4, 0, "by filter 32000"},
    {"o", "\1\2\3\4", 4, 0, "what wrote it can write it with gzip"},
    {"n", "\1\2\3\4", 4, 0, "h5repack packs it anew with GZIP=4"},
};

static void test_chunks(void)
{
    static const hsize_t shape[2] = {2, 2}, first[2] = {0, 0};
    static const char large[2000];
    for (size_t i = 0; i <= sizeof stored / sizeof *stored; i++) {
        const bool is_large = i == sizeof stored / sizeof *stored;
        const char *part = is_large ? "it is longer than it can be" : stored[i].part;
        const hid_t file = make_file("c.h5");
        const hid_t plan = make_plan(is_large ? "z" : stored[i].filters, 2, 2);
        const hid_t id = add_dataset(file, "v", H5T_STD_U8LE, H5Screate_simple(2, shape, NULL), plan);
        if (is_large)
            CHECK(H5Dwrite_chunk(id, H5P_DEFAULT, 0, first, sizeof large, large) >= 0);
        else if (stored[i].n > 0)
            CHECK_CASE(H5Dwrite_chunk(id, H5P_DEFAULT, stored[i].skipped, first, stored[i].n, stored[i].bytes) >= 0,
                       "chunk %zu", i);
        H5Dclose(id);
        H5Fclose(file);
        omen_vectors *vectors;
        const int status = try_open("c.h5", NULL, 0, &vectors);
        CHECK_CASE(status == (part ? OMEN_ERR_INPUT : OMEN_OK), "chunk %zu: %d, %s", i, status, detail.text);
        CHECK_CASE(!part || strstr(detail.text, part), "chunk %zu: %s", i, detail.text);
        if (status == OMEN_OK) {
            const omen_source source = omen_vectors_source(vectors);
            float row[2];
            CHECK_EQ_INT(source.read(source.self, 1, 1, row, &detail), OMEN_OK);
            CHECK_CASE((row[0] == 3 && row[1] == 4) || (row[0] == 7 && row[1] == 7), "chunk %zu: %g, %g", i, row[0],
                       row[1]);
        }
        omen_vectors_close(vectors);
    }
}

static void test_large_chunks(void)
{
    static const hsize_t chunks[][2] = {{1u << 29, 1}, {1, 1u << 29}, {1u << 15, 1u << 15}, {1u << 10, 1u << 14}};
    static const hsize_t endless[2] = {H5S_UNLIMITED, H5S_UNLIMITED};
    for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++) {
        /* of the last, a band has too many side by side */
        const hsize_t shape[2] = {i == 3 ? 1u << 14 : 2, i == 3 ? 1u << 15 : 2};
        const hid_t file = make_file("c.h5");
        H5Dclose(add_dataset(file, "v", H5T_STD_U16LE, H5Screate_simple(2, shape, endless),
                             make_plan("", chunks[i][0], chunks[i][1])));
        H5Fclose(file);
        refuse_file("c.h5", i == 3 ? "is missing" : "take more than 256 MiB side by side");
    }
}

static int count_told(void *context, const char *stage, uint64_t done, uint64_t total)
{
    int *n = context;
    (void)stage, (void)done, (void)total;
    return (*n)-- == 0;
}

/* Unpacking ends when it is asked to, whichever chunk it is at. */
static void test_stopped(void)
{
    const hid_t file = make_file("c.h5");
    add_values(file, "v", H5T_IEEE_F32LE, make_plan("z", 2, 2));
    H5Fclose(file);
    for (int i = 0; i < 7; i++) {
        int left = i;
        const omen_vectors_options options = {.progress = count_told, .context = &left};
        omen_vectors *vectors;
        /* 3 x 2 chunks */
        CHECK_EQ_INT(omen_vectors_open(&vectors, path_of("c.h5"), &options, &detail),
                     i < 6 ? OMEN_ERR_INTERRUPTED : OMEN_OK);
        omen_vectors_close(vectors);
    }
}

/* ---- names and shapes ---- */

static void test_shapes(void)
{
    static const hsize_t shape[3] = {2, 3, 4};
    const hid_t file = make_file("s.h5");
    for (int n = 0; n <= 3; n++) {
        char name[8];
        snprintf(name, sizeof name, "d%d", n);
        H5Dclose(add_dataset(file, name, H5T_STD_U8LE, H5Screate_simple(n, shape, NULL), H5P_DEFAULT));
    }
    H5Fclose(file);
    refuse_file("s.h5", "a shape but no values");
    refuse_file("s.h5:d0", "has 0 dimensions");
    refuse_file("s.h5:d1", "has 1 dimension;");
    refuse_file("s.h5:d3", "has 3 dimensions");
    refuse_file("s.h5:none", "has no dataset \"none\"; there are d0 (0 dimensions, uint8), d1 (2, uint8), d2 (2 x 3, "
                             "uint8), d3 (3 dimensions, uint8)");
}

/* Groups within groups, a group of many links, a name that is too long, and links that lead nowhere. */
static void test_groups(void)
{
    char name[400] = "";
    hid_t file = make_file("g.h5");
    for (int i = 0; i < 20; i++) {
        strcat(name, i ? "/g" : "g");
        H5Gclose(H5Gcreate2(file, name, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    }
    add_values(file, "v", H5T_IEEE_F32LE, H5P_DEFAULT);
    H5Fclose(file);
    refuse_file("g.h5", "not all of its datasets could be looked at");
    expect("g.h5:v", NULL, 0, "hdf5", N_ROWS, DIM, 60);

    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    file = make_file("g.h5");
    add_values(file, name, H5T_IEEE_F32LE, H5P_DEFAULT);
    H5Fclose(file);
    refuse_file("g.h5", "it holds no datasets that can be looked at");

    file = make_file("g.h5");
    H5Gclose(H5Gcreate2(file, "g", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    CHECK(H5Lcreate_soft("/nowhere", file, "soft", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    const hid_t type = H5Tcopy(H5T_STD_U32LE);
    CHECK(H5Tcommit2(file, "type", type, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT) >= 0);
    H5Tclose(type);
    H5Fclose(file);
    refuse_file("g.h5", "it holds no datasets");
    CHECK(!strstr(detail.text, "looked at"));
    refuse_file("g.h5:g", "it holds no datasets");

    static const hsize_t length[1] = {4};
    file = make_file("g.h5");
    H5Dclose(add_dataset(file, "d1", H5T_STD_U8LE, H5Screate_simple(1, length, NULL), H5P_DEFAULT));
    H5Fclose(file);
    refuse_file("g.h5", "no dataset of numbers has two dimensions; there is d1 (4, uint8)");
    snprintf(name, sizeof name, "g.h5:%0300d", 0);
    refuse_file(name, "it has no dataset \"000");

    file = make_file("g.h5");
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "the_dataset_of_a_rather_long_name_%d", i);
        add_values(file, name, H5T_IEEE_F32LE, H5P_DEFAULT);
    }
    H5Fclose(file);
    refuse_file("g.h5", "several datasets have two dimensions");
    CHECK_STR_CONTAINS(detail.text, ", ...");

    file = make_file("g.h5");
    for (int i = 0; i < 4100; i++) {
        snprintf(name, sizeof name, "link%d", i);
        H5Lcreate_soft("/nowhere", file, name, H5P_DEFAULT, H5P_DEFAULT);
    }
    add_values(file, "v", H5T_IEEE_F32LE, H5P_DEFAULT);
    H5Fclose(file);
    refuse_file("g.h5", "it holds no datasets that can be looked at");
}

/* Values in other files: the names that are told there are not opened. */
static void test_elsewhere(void)
{
    static const hsize_t shape[2] = {N_ROWS, DIM};
    hid_t file = make_file("e.h5"), plan = H5Pcreate(H5P_DATASET_CREATE);
    CHECK(H5Pset_external(plan, "/dev/zero", 0, H5F_UNLIMITED) >= 0);
    H5Dclose(add_dataset(file, "v", H5T_STD_U8LE, H5Screate_simple(2, shape, NULL), plan));
    H5Fclose(file);
    refuse_file("e.h5", "are in other files, which are not read");

    file = make_file("e.h5");
    plan = H5Pcreate(H5P_DATASET_CREATE);
    const hid_t space = H5Screate_simple(2, shape, NULL);
    CHECK(H5Pset_virtual(plan, space, "o.h5", "v", space) >= 0);
    H5Dclose(add_dataset(file, "v", H5T_STD_U8LE, space, plan));
    H5Fclose(file);
    refuse_file("e.h5", "not all of its datasets could be looked at");
    CHECK_STR_CONTAINS(detail.text, "v (virtual, in other files)");
    refuse_file("e.h5:v", "are in other files, which are not read");
}

/* ---- bytes ---- */

static int read_rows(const char *name, bool *is_right)
{
    omen_vectors *vectors = NULL;
    int status = omen_vectors_open(&vectors, path_of(name), NULL, &detail);
    *is_right = false;
    if (status == OMEN_OK) {
        const omen_source source = omen_vectors_source(vectors);
        float row[DIM];
        *is_right = source.n_rows == N_ROWS && source.d == DIM;
        for (uint64_t i = 0; i < N_ROWS && *is_right && status == OMEN_OK; i++) {
            status = source.read(source.self, i, 1, row, &detail);
            for (unsigned j = 0; j < DIM && status == OMEN_OK; j++)
                *is_right = *is_right && row[j] == value_at(i, j) + 60;
        }
    }
    omen_vectors_close(vectors);
    return status;
}

/* Whatever a byte is changed to: rows, or the reason why there are none. */
static void test_bytes(void)
{
    const char *const filters[] = {NULL, "", "szf"};
    for (size_t f = 0; f < sizeof filters / sizeof *filters; f++) {
        static uint8_t bytes[1 << 16];
        unsigned n_read = 0, n_refused = 0;
        bool is_right;
        const hid_t file = make_file("b.h5");
        add_values(file, "v", H5T_IEEE_F32LE, filters[f] ? make_plan(filters[f], 2, 3) : H5P_DEFAULT);
        H5Fclose(file);
        FILE *stream = fopen(path_of("b.h5"), "rb");
        const size_t n = stream ? fread(bytes, 1, sizeof bytes, stream) : 0;
        CHECK(stream && n > 0 && n < sizeof bytes && fclose(stream) == 0);
        CHECK(read_rows("b.h5", &is_right) == OMEN_OK && is_right);
        for (size_t at = f; at < n; at += check_quick() ? 29 : 11) {
            const uint8_t byte = bytes[at], others[] = {0, 0xff, byte ^ 1, byte ^ 0x80};
            for (size_t i = 0; i < sizeof others; i++) {
                if (others[i] == byte)
                    continue;
                bytes[at] = others[i];
                unlink(path_of("b.h5"));
                save_bytes("b.h5", bytes, n);
                const int status = read_rows("b.h5", &is_right);
                CHECK_CASE(status == OMEN_OK || status == OMEN_ERR_INPUT || status == OMEN_ERR_ARGUMENT,
                           "%zu at %zu: %d, %s", i, at, status, detail.text);
                n_read += status == OMEN_OK;
                n_refused += status != OMEN_OK;
            }
            bytes[at] = byte;
        }
        for (size_t length = 0; length < n; length += 97) {
            unlink(path_of("b.h5"));
            save_bytes("b.h5", bytes, length);
            n_refused += read_rows("b.h5", &is_right) != OMEN_OK || is_right;
        }
        printf("# %u read, %u refused\n", n_read, n_refused);
        CHECK(n_read > 0 && n_refused > 0);
    }
}

/* ---- calls that fail ---- */

/* The calls of libhdf5 that may fail: what each returns then. What only closes is not looked at. */
/* clang-format off */
#define FAILING_CALLS(X) \
    X(hid_t, -1, H5Pcreate, (hid_t a), (a)) \
    X(herr_t, -1, H5Pset_fapl_core, (hid_t a, size_t b, hbool_t c), (a, b, c)) \
    X(herr_t, -1, H5Pset_fclose_degree, (hid_t a, H5F_close_degree_t b), (a, b)) \
    X(herr_t, -1, H5Pset_file_image_callbacks, (hid_t a, H5FD_file_image_callbacks_t *b), (a, b)) \
    X(herr_t, -1, H5Pset_file_image, (hid_t a, void *b, size_t c), (a, b, c)) \
    X(H5D_layout_t, H5D_LAYOUT_ERROR, H5Pget_layout, (hid_t a), (a)) \
    X(int, -1, H5Pget_external_count, (hid_t a), (a)) \
    X(int, -1, H5Pget_chunk, (hid_t a, int b, hsize_t *c), (a, b, c)) \
    X(int, -1, H5Pget_nfilters, (hid_t a), (a)) \
    X(herr_t, -1, H5Pset_alloc_time, (hid_t a, H5D_alloc_time_t b), (a, b)) \
    X(herr_t, -1, H5Pset_fill_time, (hid_t a, H5D_fill_time_t b), (a, b)) \
    X(herr_t, -1, H5Pset_obj_track_times, (hid_t a, hbool_t b), (a, b)) \
    X(hid_t, -1, H5Fopen, (const char *a, unsigned b, hid_t c), (a, b, c)) \
    X(hid_t, -1, H5Fcreate, (const char *a, unsigned b, hid_t c, hid_t d), (a, b, c, d)) \
    X(hid_t, -1, H5Oopen, (hid_t a, const char *b, hid_t c), (a, b, c)) \
    X(H5I_type_t, H5I_BADID, H5Iget_type, (hid_t a), (a)) \
    X(herr_t, -1, H5Literate, (hid_t a, H5_index_t b, H5_iter_order_t c, hsize_t *d, H5L_iterate_t e, void *f), \
      (a, b, c, d, e, f)) \
    X(hid_t, -1, H5Dget_space, (hid_t a), (a)) \
    X(hid_t, -1, H5Dget_type, (hid_t a), (a)) \
    X(hid_t, -1, H5Dget_create_plist, (hid_t a), (a)) \
    X(haddr_t, HADDR_UNDEF, H5Dget_offset, (hid_t a), (a)) \
    X(hsize_t, 0, H5Dget_storage_size, (hid_t a), (a)) \
    X(herr_t, -1, H5Dget_chunk_storage_size, (hid_t a, const hsize_t *b, hsize_t *c), (a, b, c)) \
    X(herr_t, -1, H5Dread_chunk, (hid_t a, hid_t b, const hsize_t *c, uint32_t *d, void *e), (a, b, c, d, e)) \
    X(herr_t, -1, H5Dread, (hid_t a, hid_t b, hid_t c, hid_t d, hid_t e, void *f), (a, b, c, d, e, f)) \
    X(hid_t, -1, H5Dcreate2, (hid_t a, const char *b, hid_t c, hid_t d, hid_t e, hid_t f, hid_t g), \
      (a, b, c, d, e, f, g)) \
    X(hid_t, -1, H5Screate_simple, (int a, const hsize_t *b, const hsize_t *c), (a, b, c)) \
    X(int, -1, H5Sget_simple_extent_ndims, (hid_t a), (a)) \
    X(int, -1, H5Sget_simple_extent_dims, (hid_t a, hsize_t *b, hsize_t *c), (a, b, c)) \
    X(H5T_class_t, H5T_NO_CLASS, H5Tget_class, (hid_t a), (a)) \
    X(size_t, 0, H5Tget_size, (hid_t a), (a)) \
    X(H5T_sign_t, H5T_SGN_ERROR, H5Tget_sign, (hid_t a), (a)) \
    X(H5T_order_t, H5T_ORDER_ERROR, H5Tget_order, (hid_t a), (a)) \
    X(size_t, 0, H5Tget_precision, (hid_t a), (a)) \
    X(int, -1, H5Tget_offset, (hid_t a), (a)) \
    X(herr_t, -1, H5Tget_fields, (hid_t a, size_t *b, size_t *c, size_t *d, size_t *e, size_t *f), \
      (a, b, c, d, e, f)) \
    X(H5T_norm_t, H5T_NORM_ERROR, H5Tget_norm, (hid_t a), (a)) \
    X(size_t, 0, H5Tget_ebias, (hid_t a), (a))
/* clang-format on */

static omen_hdf5_library whole; /* the library's table, as it was */
static unsigned long n_calls, failing_call;

static const char *failed; /* the name of that call */

static bool fails(const char *name)
{
    if (++n_calls != failing_call)
        return false;
    failed = name;
    return true;
}

#define FAILING(type, failure, name, parameters, arguments)                                                            \
    static type failing_##name parameters                                                                              \
    {                                                                                                                  \
        return fails(#name) ? failure : whole.name arguments;                                                          \
    }
FAILING_CALLS(FAILING)

/* The file is closed whatever is said of it. */
static herr_t failing_H5Fclose(hid_t file)
{
    const herr_t status = whole.H5Fclose(file);
    return fails("H5Fclose") ? -1 : status;
}

/* Lets call n fail from now on, of all that the library makes; 0: none. */
static void fail_call(omen_hdf5_library *h5, unsigned long n)
{
    n_calls = 0;
    failing_call = n;
    failed = "";
#define LEAD(type, failure, name, parameters, arguments) h5->name = failing_##name;
    FAILING_CALLS(LEAD)
    h5->H5Fclose = failing_H5Fclose;
}

static int create_arrays(void)
{
    omen_hdf5_array arrays[2] = {{.name = "neighbors", .value = OMEN_VALUE_I8, .n = 3, .d = 2},
                                 {.name = "distances", .value = OMEN_VALUE_F4, .n = 3, .d = 2}};
    int fd;
    const int status = omen_hdf5_create(&fd, arrays, 2, &detail);
    if (status == OMEN_OK)
        CHECK(arrays[0].offset > 0 && arrays[1].offset >= arrays[0].offset + 3 * 2 * 8);
    if (fd >= 0)
        close(fd);
    return status;
}

static void test_calls(void)
{
    static const char *const names[] = {"one.h5", "one.h5:v", "i.h5", "chunks.h5", "compact.h5", "group.h5", "create"};
    const omen_hdf5_library *found;
    CHECK_EQ_INT(omen_hdf5_lock(&found, &detail), OMEN_OK);
    omen_hdf5_unlock();
    whole = *found;
    hid_t file = make_file("one.h5");
    add_values(file, "v", H5T_IEEE_F32LE, H5P_DEFAULT);
    H5Fclose(file);
    file = make_file("i.h5");
    add_values(file, "v", H5T_STD_U8LE, H5P_DEFAULT);
    H5Fclose(file);
    file = make_file("chunks.h5");
    add_values(file, "v", H5T_IEEE_F32LE, make_plan("sf", 2, 3));
    H5Fclose(file);
    file = make_file("compact.h5");
    const hid_t plan = H5Pcreate(H5P_DATASET_CREATE);
    CHECK(H5Pset_layout(plan, H5D_COMPACT) >= 0);
    add_values(file, "v", H5T_STD_I16LE, plan);
    H5Fclose(file);
    file = make_file("group.h5");
    H5Gclose(H5Gcreate2(file, "g", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    add_values(file, "g/v", H5T_IEEE_F32LE, H5P_DEFAULT);
    H5Fclose(file);
    const ssize_t n_open = H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const bool is_create = strcmp(names[i], "create") == 0;
        unsigned long n = 1;
        unsigned n_refused = 0;
        for (unsigned long call = 0; call <= n; call++) {
            bool is_right = true;
            detail.text[0] = '\0';
            fail_call((omen_hdf5_library *)found, call);
            const int status = is_create ? create_arrays() : read_rows(names[i], &is_right);
            if (call == 0) {
                CHECK_CASE(status == OMEN_OK && is_right, "%s: %d, %s", names[i], status, detail.text);
                n = n_calls;
            }
            CHECK_CASE(status == OMEN_OK ? is_right : status == (is_create ? OMEN_ERR_IO : OMEN_ERR_INPUT),
                       "%s, %s fails: %d, %s", names[i], failed, status, detail.text);
            CHECK_CASE(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) == n_open, "%s, call %lu: %zd kept open",
                       names[i], call, H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) - n_open);
            n_refused += status != OMEN_OK;
        }
        printf("# %s: %lu calls, %u refused\n", names[i], n, n_refused);
        /* but for the one that closes, and that asks again for the layout of what is in chunks */
        CHECK_CASE(n_refused + 2 >= n, "%s: %u of %lu failures", names[i], n_refused, n);
        *(omen_hdf5_library *)found = whole;
    }
}

/* A call that fails leaves a dataset out: of two, the other is not taken for the only one. */
static void test_left_out(void)
{
    const omen_hdf5_library *found;
    const hid_t file = make_file("two.h5");
    bool is_right;
    add_values(file, "v", H5T_IEEE_F32LE, H5P_DEFAULT);
    add_values(file, "w", H5T_IEEE_F32LE, H5P_DEFAULT);
    H5Fclose(file);
    CHECK_EQ_INT(omen_hdf5_lock(&found, &detail), OMEN_OK);
    omen_hdf5_unlock();
    fail_call((omen_hdf5_library *)found, 0);
    CHECK_EQ_INT(read_rows("two.h5", &is_right), OMEN_ERR_INPUT);
    const unsigned long n = n_calls;
    for (unsigned long call = 1; call <= n; call++) {
        fail_call((omen_hdf5_library *)found, call);
        CHECK_CASE(read_rows("two.h5", &is_right) == OMEN_ERR_INPUT, "call %lu", call);
    }
    *(omen_hdf5_library *)found = whole;
}

int main(void)
{
    directory_make();
    CHECK_EQ_INT(omen_hdf5_check(&detail), OMEN_OK); /* before the first call of libhdf5 of this test's own */
    CHECK(H5Eset_auto2(H5E_DEFAULT, NULL, NULL) >= 0);
    RUN(test_types);
    RUN(test_other_types);
    RUN(test_layouts);
    RUN(test_large_compact);
    RUN(test_truth);
    RUN(test_chunks);
    RUN(test_large_chunks);
    RUN(test_stopped);
    RUN(test_shapes);
    RUN(test_groups);
    RUN(test_elsewhere);
    RUN(test_bytes);
    RUN(test_calls);
    RUN(test_left_out);
    directory_remove();
    return check_finish();
}
