/* SPDX-License-Identifier: Apache-2.0 */
/* The result writers. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "formats/hdf5_file.h"
#include "formats/omendb_files.h"
#include "formats/results.h"
#include "formats/truth.h"
#include "formats/vectors.h"
#include "tests/unit/check.h"
#include "tests/unit/failing_allocations.h"
#include "tests/unit/in_memory.h"
#include "tests/unit/scratch.h"
#include "tests/unit/vector_files.h"

#define N_FORMATS ((size_t)OMEN_RESULTS_HDF5 + 1)

static const int64_t some_ids[] = {7, 0, 9000000000, 12, -2, 3};
static const float some_distances[] = {0, 0.1f, 1234567, 1e-10f, -0.0f, -2.5f};

static size_t results_bytes(omen_results_format format, bool with_distances, const int64_t *ids, char *bytes,
                            size_t size)
{
    omen_results results = {
        .stream = tmpfile(), .format = format, .with_distances = with_distances, .n_queries = 3, .k = 2};
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
                       "2\t1\t-2\t-0\n2\t2\t3\t-2.5\n") == 0);
    results_bytes(OMEN_RESULTS_TSV, false, some_ids, text, sizeof(text));
    CHECK(strcmp(text, "0\t1\t7\n0\t2\t0\n1\t1\t9000000000\n1\t2\t12\n2\t1\t-2\n2\t2\t3\n") == 0);
    results_bytes(OMEN_RESULTS_JSONL, true, some_ids, text, sizeof(text));
    CHECK(strcmp(text, "{\"query\":0,\"rows\":[7,0],\"distances\":[0,0.100000001]}\n"
                       "{\"query\":1,\"rows\":[9000000000,12],\"distances\":[1234567,1.00000001e-10]}\n"
                       "{\"query\":2,\"rows\":[-2,3],\"distances\":[-0,-2.5]}\n") == 0);
    results_bytes(OMEN_RESULTS_JSONL, false, some_ids, text, sizeof(text));
    CHECK(strcmp(text, "{\"query\":0,\"rows\":[7,0]}\n{\"query\":1,\"rows\":[9000000000,12]}\n"
                       "{\"query\":2,\"rows\":[-2,3]}\n") == 0);

    /* The extremes, and distances JSON has no number for. */
    int64_t ids[] = {INT64_MIN, INT64_MAX};
    float distances[] = {INFINITY, 3.40282347e38f};
    omen_results results = {
        .stream = tmpfile(), .format = OMEN_RESULTS_JSONL, .with_distances = true, .n_queries = 1, .k = 2};
    CHECK_EQ_INT(omen_results_write(&results, UINT32_MAX, 1, ids, distances, &detail), OMEN_OK);
    rewind(results.stream);
    text[fread(text, 1, sizeof(text) - 1, results.stream)] = '\0';
    CHECK(strcmp(text, "{\"query\":4294967295,\"rows\":[-9223372036854775808,9223372036854775807],"
                       "\"distances\":[null,3.40282347e+38]}\n") == 0);
    fclose(results.stream);
}

static void test_results_binary(void)
{
    static const int64_t ids[] = {7, 0, 2147483647, 12, -2, 3};
    char bytes[1024], want[1024];
    size_t n = results_bytes(OMEN_RESULTS_IVECS, true, ids, bytes, sizeof(bytes));
    static const char ivecs[] = "\2\0\0\0\7\0\0\0\0\0\0\0"
                                "\2\0\0\0\xff\xff\xff\x7f\x0c\0\0\0"
                                "\2\0\0\0\xfe\xff\xff\xff\3\0\0\0";
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

static void test_results_csv(void)
{
    char text[1024];
    results_bytes(OMEN_RESULTS_CSV, true, some_ids, text, sizeof(text));
    CHECK(strcmp(text, "0,1,7,0\n0,2,0,0.100000001\n1,1,9000000000,1234567\n1,2,12,1.00000001e-10\n"
                       "2,1,-2,-0\n2,2,3,-2.5\n") == 0);
    omen_results results = {.stream = tmpfile(),
                            .format = OMEN_RESULTS_TSV,
                            .with_distances = true,
                            .n_queries = 1,
                            .k = 1,
                            .with_header = true};
    CHECK_EQ_INT(omen_results_begin(&results, &detail), OMEN_OK);
    results.format = OMEN_RESULTS_CSV;
    results.with_distances = false;
    CHECK_EQ_INT(omen_results_begin(&results, &detail), OMEN_OK);
    rewind(results.stream);
    text[fread(text, 1, sizeof(text) - 1, results.stream)] = '\0';
    CHECK(strcmp(text, "query\trank\trow\tdistance\nquery,rank,row\n") == 0);
    fclose(results.stream);
}

/* ivecs and ibin, with their distances in fvecs and fbin, of queries with fewer neighbours too. */
static void test_results_beside(void)
{
    static const int64_t ids[] = {7, OMEN_NO_ROW, 5, 0, OMEN_NO_ROW, 1};
    char name[2][16] = {"a.ivecs", "a.ibin"};
    for (int i = 0; i < 2; i++) {
        blob want[2] = {{0}, {0}};
        char bytes[1024];
        FILE *streams[2] = {tmpfile(), tmpfile()};
        omen_results results = {.stream = streams[0],
                                .format = i == 0 ? OMEN_RESULTS_IVECS : OMEN_RESULTS_IBIN,
                                .with_distances = true,
                                .n_queries = 3,
                                .k = 2,
                                .distances = streams[1]};
        for (int s = 0; s < 2; s++) {
            if (i == 1) {
                add_u32(&want[s], 3);
                add_u32(&want[s], 2);
            }
            for (unsigned q = 0; q < 3; q++) {
                if (i == 0)
                    add_u32(&want[s], 2);
                for (unsigned j = 0; j < 2; j++) {
                    const bool is_there = j < omen_found_count(ids + 2 * q, 2);
                    if (s == 0)
                        add_u32(&want[s], is_there ? (uint32_t)ids[2 * q + j] : UINT32_MAX);
                    else
                        add_float(&want[s], is_there ? some_distances[2 * q + j] : INFINITY, false);
                }
            }
        }
        CHECK_EQ_INT(omen_results_begin(&results, &detail), OMEN_OK);
        CHECK_EQ_INT(omen_results_write(&results, 0, 2, ids, some_distances, &detail), OMEN_OK);
        CHECK_EQ_INT(omen_results_write(&results, 2, 1, ids + 4, some_distances + 4, &detail), OMEN_OK);
        CHECK_EQ_INT(omen_results_write(&results, 2, 1, ids + 4, NULL, &detail), OMEN_ERR_ARGUMENT);
        for (int s = 0; s < 2; s++) {
            rewind(streams[s]);
            CHECK_EQ_INT(fread(bytes, 1, sizeof(bytes), streams[s]), want[s].n);
            CHECK(memcmp(bytes, want[s].bytes, want[s].n) == 0);
            fclose(streams[s]);
        }
        /* it is what truth is read from */
        omen_truth truth;
        save(name[i], &want[0]);
        CHECK_EQ_INT(omen_truth_read(&truth, path_of(name[i]), 0, &detail), OMEN_OK);
        CHECK_EQ_INT(truth.n, 3);
        CHECK_EQ_INT(truth.ids[2], 5);
        omen_truth_finish(&truth);
    }
    const omen_results many = {.stream = stdout, .format = OMEN_RESULTS_IBIN, .n_queries = (uint64_t)1 << 32, .k = 1};
    CHECK_EQ_INT(omen_results_begin(&many, &detail), OMEN_ERR_INPUT);
}

/* Queries with 1, 2 and no neighbours of 2: text has those that there are, binary formats -1 at infinity in place of
 * the others, whatever stands there. */
static void test_results_of_fewer(void)
{
    static const int64_t ids[] = {7, OMEN_NO_ROW, 5, 0, OMEN_NO_ROW, 9000000000};
    char bytes[1024];
    results_bytes(OMEN_RESULTS_TSV, true, ids, bytes, sizeof(bytes));
    CHECK(strcmp(bytes, "0\t1\t7\t0\n1\t1\t5\t1234567\n1\t2\t0\t1.00000001e-10\n") == 0);
    results_bytes(OMEN_RESULTS_JSONL, true, ids, bytes, sizeof(bytes));
    CHECK(strcmp(bytes, "{\"query\":0,\"rows\":[7],\"distances\":[0]}\n"
                        "{\"query\":1,\"rows\":[5,0],\"distances\":[1234567,1.00000001e-10]}\n"
                        "{\"query\":2,\"rows\":[],\"distances\":[]}\n") == 0);
    results_bytes(OMEN_RESULTS_JSONL, false, ids, bytes, sizeof(bytes));
    CHECK(strcmp(bytes, "{\"query\":0,\"rows\":[7]}\n{\"query\":1,\"rows\":[5,0]}\n{\"query\":2,\"rows\":[]}\n") == 0);

    static const char ivecs[] = "\2\0\0\0\7\0\0\0\xff\xff\xff\xff"
                                "\2\0\0\0\5\0\0\0\0\0\0\0"
                                "\2\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff";
    CHECK_EQ_INT(results_bytes(OMEN_RESULTS_IVECS, false, ids, bytes, sizeof(bytes)), 36);
    CHECK(memcmp(bytes, ivecs, 36) == 0);

    static const int64_t padded[] = {7, -1, 5, 0, -1, -1};
    CHECK_EQ_INT(results_bytes(OMEN_RESULTS_NPY, true, ids, bytes, sizeof(bytes)), 128 + 72);
    blob b = {0};
    for (int i = 0; i < 6; i++) {
        add_value(&b, (uint64_t)padded[i], 8, false);
        add_float(&b, padded[i] < 0 ? INFINITY : some_distances[i], false);
    }
    CHECK(memcmp(bytes + 128, b.bytes, 72) == 0);
}

/* The table, as help and messages take it. */
static void test_results_table(void)
{
    size_t n = 0;
    for (; omen_results_name(n); n++) {
        omen_results_format format;
        const omen_results_writer *kind = omen_results_writer_at(n);
        CHECK_EQ_INT(omen_results_parse(omen_results_name(n), &format), OMEN_OK);
        CHECK(format == n && kind->help && kind->write);
    }
    CHECK(n == OMEN_RESULTS_HDF5 + 1 && !omen_results_writer_at(n));
}

/* ---- truth ---- */

/* Writes a truth to the file x.NAME and reads it back. */
static int truth_back(const char *name, const int64_t *ids, const float *distances, omen_truth *out)
{
    char file[40];
    snprintf(file, sizeof(file), "x.%s", name);
    FILE *stream = fopen(path_of(file), "w");
    const int status = omen_truth_write(stream, omen_truth_named(path_of(file)), 3, 2, ids, distances, &detail);
    fclose(stream);
    return status == OMEN_OK ? omen_truth_read(out, path_of(file), 0, &detail) : status;
}

static void test_truth_of_fewer(void)
{
    static const int64_t ids[] = {7, OMEN_NO_ROW, 5, 0, OMEN_NO_ROW, OMEN_NO_ROW};
    size_t n = 0;
    for (; omen_truth_name(n); n++) {
        omen_truth truth;
        CHECK_EQ_INT(truth_back(omen_truth_name(n), ids, some_distances, &truth), OMEN_OK);
        CHECK(truth.n == 3 && truth.k == 2);
        for (int i = 0; i < 6; i++)
            CHECK_EQ_INT(truth.ids[i], ids[i]);
        omen_truth_finish(&truth);
    }
    CHECK_EQ_INT(n, 2);
    CHECK(!omen_truth_named("x.npy") && !omen_truth_named("ivecs"));

    /* a row after the end, a negative one, one of 33 bits */
    static const int64_t bad[][6] = {{7, 1, 5, 0, -1, 4}, {7, 1, -2, 0, 3, 4}, {7, 1, 5, 0, 3, 4294967296}};
    omen_truth truth;
    blob b = {0};
    for (int i = 0; i < 9; i++)
        add_value(&b, i % 3 == 0 ? 2 : (uint64_t)bad[0][i / 3 * 2 + i % 3 - 1], 4, false);
    save("bad.ivecs", &b);
    CHECK_EQ_INT(omen_truth_read(&truth, path_of("bad.ivecs"), 0, &detail), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(detail.text, "query 2 has the neighbour 4 after -1");
    omen_truth_finish(&truth);
    for (int i = 1; i < 3; i++) {
        truth = (omen_truth){.n = 0};
        CHECK_EQ_INT(truth_back("ibin", bad[i], NULL, &truth), OMEN_ERR_INPUT);
        omen_truth_finish(&truth);
    }
}

static void test_results_refused(void)
{
    omen_results results = {
        .stream = tmpfile(), .format = OMEN_RESULTS_IVECS, .with_distances = false, .n_queries = 3, .k = 2};
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
    CHECK_EQ_INT(omen_results_parse("parquet", &format), OMEN_ERR_ARGUMENT);

    FILE *full = fopen("/dev/full", "w");
    if (!full)
        return;
    static const omen_results_format all[] = {OMEN_RESULTS_TSV, OMEN_RESULTS_JSONL, OMEN_RESULTS_NPY};
    setvbuf(full, NULL, _IONBF, 0);
    for (int i = 0; i < 3; i++) {
        omen_results to_full = {.stream = full, .format = all[i], .with_distances = false, .n_queries = 3, .k = 2};
        CHECK_EQ_INT(omen_results_write(&to_full, 0, 3, some_ids, NULL, &detail), OMEN_ERR_IO);
        CHECK_STR_CONTAINS(detail.text, "No space left on device");
    }
    omen_results to_full = {
        .stream = full, .format = OMEN_RESULTS_NPY, .with_distances = false, .n_queries = 3, .k = 2};
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
    omen_results results = {
        .stream = tmpfile(), .format = OMEN_RESULTS_TSV, .with_distances = true, .n_queries = N, .k = K};
    CHECK_EQ_INT(omen_results_write(&results, 0, N, ids, distances, &detail), OMEN_OK);
    rewind(results.stream);
    int bad = 0;
    for (int i = 0; i < N * K; i++) {
        char line[128], want[128];
        snprintf(want, sizeof(want), "%d\t%d\t%" PRId64 "\t%.9g\n", i / K, i % K + 1, ids[i], (double)distances[i]);
        bad += !fgets(line, sizeof(line), results.stream) || strcmp(line, want) != 0;
    }
    CHECK_EQ_INT(bad, 0);
    CHECK_EQ_INT(fgetc(results.stream), EOF);
    fclose(results.stream);
    free(distances);
    free(ids);
}

/* ---- failures ---- */

/* A stream that takes so many bytes. */
typedef struct {
    size_t n, most;
    int error; /* errno then; 0: it is not told */
} limited;

static ssize_t take_limited(void *cookie, const char *bytes, size_t n)
{
    limited *l = cookie;
    (void)bytes;
    if (l->n + n > l->most) {
        errno = l->error;
        return 0;
    }
    l->n += n;
    return (ssize_t)n;
}

static FILE *open_limited(limited *l, size_t most)
{
    *l = (limited){.most = most, .error = most % 2 ? ENOSPC : 0};
    FILE *stream = fopencookie(l, "w", (cookie_io_functions_t){.write = take_limited});
    CHECK(stream && setvbuf(stream, NULL, _IONBF, 0) == 0);
    return stream;
}

#define N_FOUND 3u
#define K_FOUND 2u

/* An index of rows with keys, or none; the sections' checks fail if is_damaged says so. */
static bool is_damaged;

static int check_section(const omen_section *section, uint64_t first, uint64_t n, omen_detail *why)
{
    (void)first, (void)n;
    return is_damaged ? omen_fail(why, OMEN_ERR_CORRUPT, "section %.4s is damaged", (const char *)&section->id)
                      : OMEN_OK;
}

static const char *const key_texts[] = {
    "plain", "a,b", "say \"so\"", "back\\slash",
    "a text of more than sixty-four bytes, so that it is put in two parts, and with a \" in the second of them"};

static omen_index *make_keyed(omen_key_kind kind, rows_in_memory *rows, sections_in_memory *sections)
{
    omen_build_options options;
    omen_row_keys *keys = NULL;
    omen_index *index = NULL;
    omen_build_options_init(&options);
    options.lists.n = 1;
    *rows = make_rows(40, 4, CLUSTERED, 3);
    const omen_source source = source_of(rows);
    const omen_sink sink = sink_of(sections);
    CHECK_EQ_INT(omen_index_build(&source, &options, &sink, NULL, NULL, &detail), OMEN_OK);
    CHECK_EQ_INT(omen_row_keys_create(&keys, kind, rows->n, &detail), OMEN_OK);
    for (uint64_t i = 0; i < rows->n; i++) {
        char text[160];
        omen_row_key key = {.kind = kind, .number = kind == OMEN_KEYS_TEXT ? 0 : i + 100};
        if (kind == OMEN_KEYS_INT64)
            key.number -= 160;
        if (kind == OMEN_KEYS_TEXT) {
            key.n_bytes = (uint32_t)snprintf(text, sizeof text, "%s %u", key_texts[i % 5], (unsigned)i);
            key.text = text;
        }
        CHECK_EQ_INT(omen_row_keys_add(keys, &key, &detail), OMEN_OK);
    }
    CHECK_EQ_INT(omen_row_keys_finish(keys, false, 1, NULL, &detail), OMEN_OK);
    CHECK_EQ_INT(omen_row_keys_write(keys, &sink, NULL, NULL, &detail), OMEN_OK);
    omen_row_keys_destroy(keys);
    for (size_t i = 0; i < sections->n; i++)
        sections->sections[i].check = check_section;
    CHECK_EQ_INT(omen_index_open(&index, sections->sections, sections->n, &detail), OMEN_OK);
    return index;
}

/* What is written, and how. */
typedef struct {
    omen_results_format format;
    const omen_index *index; /* whose keys are written, or NULL */
    const omen_joint *joint; /* in its place, with labels */
    bool with_distances;
} output;

/* Writes some results whole, of an archive too. */
static int write_whole(const output *o, FILE *stream, FILE *beside)
{
    static const int64_t ids[] = {4, 2, 1, OMEN_NO_ROW, 3, 0};
    static const char *const labels[] = {"one", "the \"other\", of them"};
    const omen_results_writer *writer = omen_results_writer_at(o->format);
    const bool is_archive = writer->is_archive;
    omen_results results = {.stream = is_archive ? tmpfile() : stream,
                            .format = o->format,
                            .with_distances = o->with_distances,
                            .with_header = writer->has_header,
                            .n_queries = N_FOUND,
                            .k = K_FOUND};
    if (o->with_distances && is_archive)
        results.distances = tmpfile();
    else if (o->with_distances && writer->beside)
        results.distances = beside;
    int status;
    if (o->joint) {
        status = omen_results_begin_joint(&results, o->joint, true, writer->is_binary ? NULL : labels, &detail);
        if (status == OMEN_OK)
            status = omen_results_write_joint(&results, o->joint, true, writer->is_binary ? NULL : labels, 0, N_FOUND,
                                              ids, some_distances, &detail);
    } else {
        status = omen_results_begin_keys(&results, o->index, &detail);
        if (status == OMEN_OK)
            status = omen_results_write_keys(&results, o->index, 0, N_FOUND, ids, some_distances, &detail);
    }
    if (status == OMEN_OK && is_archive)
        status = omen_results_pack(&results, o->index || o->joint, stream, &detail);
    if (is_archive)
        fclose(results.stream);
    if (is_archive && results.distances)
        fclose(results.distances);
    return status;
}

/* A disk that is full after any number of bytes, memory that ends at any allocation, and damaged keys. */
static void test_results_failures(void)
{
    rows_in_memory rows[3];
    sections_in_memory sections[3] = {{.n = 0}, {.n = 0}, {.n = 0}};
    static const omen_key_kind kinds[] = {OMEN_KEYS_INT64, OMEN_KEYS_UINT64, OMEN_KEYS_TEXT};
    omen_index *indexes[3];
    omen_joint *joint = NULL;
    limited to, to_beside;
    for (int i = 0; i < 3; i++)
        indexes[i] = make_keyed(kinds[i], &rows[i], &sections[i]);
    const omen_index *const both[] = {indexes[2], indexes[2]};
    CHECK_EQ_INT(omen_joint_create(&joint, both, NULL, 2, &detail), OMEN_OK);
    const bool has_hdf5 = omen_hdf5_check(&detail) == OMEN_OK;
    for (size_t c = 0; c < N_FORMATS * 5 * 2; c++) {
        const size_t named = c / 2 % 5;
        const output o = {.format = (omen_results_format)(c / 10),
                          .index = named > 0 && named < 4 ? indexes[named - 1] : NULL,
                          .joint = named == 4 ? joint : NULL,
                          .with_distances = c % 2};
        const omen_results_writer *writer = omen_results_writer_at(o.format);
        if (o.format == OMEN_RESULTS_HDF5 && !has_hdf5)
            continue;
        FILE *stream = open_limited(&to, SIZE_MAX / 2), *beside = open_limited(&to_beside, SIZE_MAX / 2);
        allocations_begin(0);
        const int whole = write_whole(&o, stream, beside);
        const uint64_t n_allocations = allocations_end();
        fclose(stream);
        fclose(beside);
        const size_t n = to.n, n_beside = to_beside.n;
        if (named >= 3 && !writer->has_text) {
            CHECK_CASE(whole == OMEN_ERR_INPUT && strstr(detail.text, "holds no text"), "%s: %d", writer->name, whole);
            continue;
        }
        CHECK_CASE(whole == OMEN_OK && n > 0, "%s, names %zu: %d, %s", writer->name, named, whole, detail.text);
        CHECK_CASE((n_beside > 0) == (o.with_distances && writer->beside), "%s: %zu bytes beside", writer->name,
                   n_beside);
        for (size_t most = 0; most < n + n_beside; most += writer->is_archive ? 23 : 1) {
            stream = open_limited(&to, most < n ? most : SIZE_MAX / 2);
            beside = open_limited(&to_beside, most < n ? SIZE_MAX / 2 : most - n);
            const int status = write_whole(&o, stream, beside);
            CHECK_CASE(status == OMEN_ERR_IO, "%s, names %zu, %zu bytes: %d", writer->name, named, most, status);
            const size_t where = most < n ? most : most - n;
            CHECK_STR_CONTAINS(detail.text, where % 2 ? "cannot write the results: No space left on device"
                                                      : "cannot write the results: Input/output error");
            fclose(stream);
            fclose(beside);
        }
        for (uint64_t i = 1; i <= n_allocations; i++) {
            stream = open_limited(&to, SIZE_MAX / 2);
            beside = open_limited(&to_beside, SIZE_MAX / 2);
            allocations_begin(i);
            const int status = write_whole(&o, stream, beside);
            allocations_end();
            CHECK_CASE(status == OMEN_ERR_MEMORY, "%s, names %zu, allocation %llu: %d", writer->name, named,
                       (unsigned long long)i, status);
            fclose(stream);
            fclose(beside);
        }
    }
    omen_joint_destroy(joint);
    for (int i = 0; i < 3; i++) {
        omen_index_close(indexes[i]);
        sections_free(&sections[i]);
        rows_free(&rows[i]);
    }
}

/* Streams that cannot be read again, of which an archive is to be made; and counts that no format has. */
static void test_results_unreadable(void)
{
    const bool has_hdf5 = omen_hdf5_check(&detail) == OMEN_OK;
    for (int i = 0; i < 1 + has_hdf5; i++)
        for (int which = 0; which < 2; which++) {
            omen_results results = {.stream = tmpfile(),
                                    .distances = tmpfile(),
                                    .format = i == 0 ? OMEN_RESULTS_NPZ : OMEN_RESULTS_HDF5,
                                    .with_distances = true,
                                    .n_queries = 3,
                                    .k = 2};
            FILE *out = tmpfile(), **one = which ? &results.distances : &results.stream;
            fclose(*one);
            *one = fopen(path_of("unreadable"), "wb");
            CHECK_EQ_INT(omen_results_begin(&results, &detail), OMEN_OK);
            CHECK_EQ_INT(omen_results_write(&results, 0, 3, some_ids, some_distances, &detail), OMEN_OK);
            CHECK_EQ_INT(omen_results_pack(&results, false, out, &detail), OMEN_ERR_IO);
            CHECK_STR_CONTAINS(detail.text, "cannot read the temporary copy of the results");
            fclose(results.stream);
            fclose(results.distances);
            fclose(out);
        }
    omen_results many = {.stream = stdout, .format = OMEN_RESULTS_IBIN, .n_queries = 1, .k = UINT32_MAX};
    CHECK_EQ_INT(omen_results_begin(&many, &detail), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(detail.text, "ibin holds 2^32 - 1 queries");
}

/* Keys that are damaged, or that a format has another meaning for: nothing of the query is written. */
static void test_results_bad_keys(void)
{
    static const int64_t ids[] = {4, 2};
    static const uint64_t first[] = {0, 1, 4};
    int64_t many[] = {1, 2, 3, 4};
    float distances[] = {1, 2, 3, 4};
    const omen_found found = {.n_queries = 2, .first = (uint64_t *)first, .ids = many, .distances = distances};
    for (int c = 0; c < 3 * (int)N_FORMATS; c++) {
        static const omen_key_kind kinds[] = {OMEN_KEYS_INT64, OMEN_KEYS_UINT64, OMEN_KEYS_TEXT};
        const omen_results_writer *writer = omen_results_writer_at((size_t)c / 3);
        rows_in_memory rows;
        sections_in_memory sections = {.n = 0};
        omen_index *index = make_keyed(kinds[c % 3], &rows, &sections);
        omen_results results = {.stream = tmpfile(), .format = (omen_results_format)(c / 3), .n_queries = 1, .k = 2};
        is_damaged = true;
        int status = omen_results_begin_keys(&results, index, &detail);
        const long n_begun = ftell(results.stream);
        if (status == OMEN_OK)
            status = omen_results_write_keys(&results, index, 0, 1, ids, NULL, &detail);
        is_damaged = false;
        const bool has_no_text = kinds[c % 3] == OMEN_KEYS_TEXT && !writer->has_text;
        CHECK_CASE(status == (has_no_text ? OMEN_ERR_INPUT : OMEN_ERR_CORRUPT), "%s: %d, %s", writer->name, status,
                   detail.text);
        CHECK_CASE(ftell(results.stream) == n_begun, "%s: something was written", writer->name);
        /* of results within a distance, the second query has more than k */
        status = omen_results_write_found(&results, NULL, 0, NULL, &found, &detail);
        CHECK_CASE(status == (writer->has_fixed_fields ? OMEN_ERR_ARGUMENT : OMEN_OK), "%s: %d", writer->name, status);
        fclose(results.stream);
        omen_index_close(index);
        sections_free(&sections);
        rows_free(&rows);
    }
}

static int tell(void *context, const char *stage, uint64_t done, uint64_t total)
{
    int *left = context;
    (void)stage, (void)done, (void)total;
    return (*left)-- == 0;
}

/* Rows and truth, to a disk that is full after any number of bytes; rows that cannot be read, and an end on request. */
static void test_rows_and_truth_failures(void)
{
    static const int64_t ids[] = {7, OMEN_NO_ROW, 5, 0, 1, 2};
    rows_in_memory rows = make_rows(3, 4, CLUSTERED, 3);
    const omen_source source = source_of(&rows);
    limited to;
    for (int f = 0; f < 2; f++) {
        const char *format = f == 0 ? "fvecs" : "fbin";
        const omen_truth_format *truth = omen_truth_named(f == 0 ? "x.ivecs" : "x.ibin");
        FILE *stream = open_limited(&to, SIZE_MAX / 2);
        int left = 100;
        allocations_begin(0);
        CHECK_EQ_INT(omen_vectors_write(stream, format, &source, tell, &left, &detail), OMEN_OK);
        const uint64_t n_allocations = allocations_end();
        const size_t n = to.n;
        to.n = 0;
        CHECK_EQ_INT(omen_truth_write(stream, truth, 3, 2, ids, f ? some_distances : NULL, &detail), OMEN_OK);
        const size_t n_truth = to.n;
        for (rows.fail_at = 1; rows.fail_at <= rows.n_reads; rows.fail_at++) {
            rows.n_reads = 0;
            CHECK(omen_vectors_write(stream, format, &source, NULL, NULL, &detail) != OMEN_OK);
        }
        rows.fail_at = 0;
        left = 0;
        CHECK_EQ_INT(omen_vectors_write(stream, format, &source, tell, &left, &detail), OMEN_ERR_INTERRUPTED);
        for (uint64_t i = 1; i <= n_allocations; i++) {
            allocations_begin(i);
            CHECK_EQ_INT(omen_vectors_write(stream, format, &source, NULL, NULL, &detail), OMEN_ERR_MEMORY);
            allocations_end();
        }
        fclose(stream);
        CHECK(n == (f == 0 ? 3 * 5 * 4 : 8 + 3 * 4 * 4) && n_truth == (f == 0 ? 3 * 3 * 4 : 8 + 2 * 3 * 2 * 4));
        for (size_t most = 0; most < n; most++) {
            stream = open_limited(&to, most);
            CHECK_EQ_INT(omen_vectors_write(stream, format, &source, NULL, NULL, &detail), OMEN_ERR_IO);
            CHECK_STR_CONTAINS(detail.text, most % 2 ? "No space left on device" : "cannot write rows");
            fclose(stream);
        }
        for (size_t most = 0; most < n_truth; most++) {
            stream = open_limited(&to, most);
            CHECK_EQ_INT(omen_truth_write(stream, truth, 3, 2, ids, f ? some_distances : NULL, &detail), OMEN_ERR_IO);
            fclose(stream);
        }
    }
    omen_truth truth;
    CHECK_EQ_INT(omen_truth_read(&truth, path_of("none"), 0, &detail), OMEN_ERR_IO);
    CHECK_EQ_INT(omen_truth_read(&truth, directory, 0, &detail), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(detail.text, "is not a regular file");
    CHECK_EQ_INT(omen_truth_write(stdout, omen_truth_named("x.ibin"), (uint64_t)1 << 32, 0, ids, NULL, &detail),
                 OMEN_ERR_INPUT);
    rows_free(&rows);
}

/* An index without keys, or several without, has none to write. */
static void test_results_no_keys(void)
{
    rows_in_memory rows = make_rows(40, 4, CLUSTERED, 3);
    const omen_source source = source_of(&rows);
    sections_in_memory sections = {.n = 0};
    const omen_sink sink = sink_of(&sections);
    const char *const labels[] = {"a", "b"};
    omen_index *index = NULL;
    omen_joint *joint = NULL;
    omen_build_options options;
    omen_build_options_init(&options);
    options.lists.n = 1;
    CHECK_EQ_INT(omen_index_build(&source, &options, &sink, NULL, NULL, &detail), OMEN_OK);
    CHECK_EQ_INT(omen_index_open(&index, sections.sections, sections.n, &detail), OMEN_OK);
    const omen_index *const both[] = {index, index};
    CHECK_EQ_INT(omen_joint_create(&joint, both, NULL, 2, &detail), OMEN_OK);
    omen_results results = {.stream = tmpfile(), .format = OMEN_RESULTS_TSV, .n_queries = 1, .k = 2};
    CHECK_EQ_INT(omen_results_begin_keys(&results, index, &detail), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(detail.text, "the index has no keys to write");
    CHECK_EQ_INT(omen_results_begin_joint(&results, joint, true, NULL, &detail), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(detail.text, "not all indexes have keys of one kind");
    CHECK_EQ_INT(omen_results_begin_joint(&results, joint, false, labels, &detail), OMEN_OK);
    results.format = OMEN_RESULTS_NPY;
    CHECK_EQ_INT(omen_results_begin_joint(&results, joint, false, labels, &detail), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(detail.text, "npy holds no labels");
    results.with_distances = true;
    CHECK_EQ_INT(omen_results_write(&results, 0, 1, some_ids, NULL, &detail), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(detail.text, "announced distances and got none");
    fclose(results.stream);
    omen_joint_destroy(joint);
    omen_index_close(index);
    sections_free(&sections);
    rows_free(&rows);
}

int main(void)
{
    directory_make();
    RUN(test_results_text);
    RUN(test_results_binary);
    RUN(test_results_csv);
    RUN(test_results_beside);
    RUN(test_results_of_fewer);
    RUN(test_results_table);
    RUN(test_truth_of_fewer);
    RUN(test_results_refused);
    RUN(test_results_long);
    RUN(test_results_failures);
    RUN(test_results_unreadable);
    RUN(test_results_bad_keys);
    RUN(test_results_no_keys);
    RUN(test_rows_and_truth_failures);
    directory_remove();
    return check_finish();
}
