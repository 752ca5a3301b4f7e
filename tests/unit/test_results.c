/* SPDX-License-Identifier: Apache-2.0 */
/* The result writers. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "formats/omendb_files.h"
#include "formats/results.h"
#include "formats/truth.h"
#include "formats/vectors.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include "tests/unit/vector_files.h"

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
        CHECK_EQ_INT(omen_truth_read(&truth, path_of(name[i]), &detail), OMEN_OK);
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
    return status == OMEN_OK ? omen_truth_read(out, path_of(file), &detail) : status;
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
    CHECK_EQ_INT(omen_truth_read(&truth, path_of("bad.ivecs"), &detail), OMEN_ERR_INPUT);
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
    directory_remove();
    return check_finish();
}
