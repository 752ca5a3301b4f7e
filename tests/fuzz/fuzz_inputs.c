/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of what is indexed and of what queries name: vectors of all formats, lists, ground truth, baselines. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "cmd/bench.h"
#include "cmd/query_rows.h"
#include "formats/truth.h"
#include "tests/fuzz/fuzz.h"

/* ---- vectors ---- */

static const char *const extensions[] = {"fvecs", "bvecs", "ivecs",       "hvecs",  "npy", "npz", "fbin",
                                         "u8bin", "i8bin", "i32bin",      "u32bin", "idx", "csv", "tsv",
                                         "jsonl", "raw",   "safetensors", "dat",    "h5"};
#define N_EXTENSIONS (sizeof extensions / sizeof *extensions)
#define VALUES_MOST  ((uint64_t)1 << 20) /* that are read; what is compressed may have very many */

/* Rows as one piece are rows one by one, and a failure is one of a row. */
static void read_rows(const omen_source *source)
{
    const uint64_t d = source->d, most = VALUES_MOST / d + 1, n = source->n_rows < most ? source->n_rows : most;
    float *all = malloc(n * d * sizeof *all), *one = malloc(d * sizeof *one);
    uint8_t *bytes = malloc(d);
    omen_detail why = {""};
    bool has_failed = false;

    FUZZ_REQUIRE(all && one && bytes, "%llu x %llu", (unsigned long long)n, (unsigned long long)d);
    const int status = source->read(source->self, 0, n, all, &why);

    FUZZ_REQUIRE(status == OMEN_OK || why.text[0] != '\0', "a failure without a reason: %d", status);
    for (uint64_t i = 0; i < n && !has_failed; i++) {
        const int status_of_row = source->read(source->self, i, 1, one, &why);

        has_failed = status_of_row != OMEN_OK;
        FUZZ_REQUIRE(!has_failed || status != OMEN_OK, "row %llu: %s", (unsigned long long)i, why.text);
        FUZZ_REQUIRE(has_failed || status != OMEN_OK || memcmp(one, all + i * d, d * sizeof *one) == 0, "row %llu",
                     (unsigned long long)i);
        for (uint64_t j = 0; j < d && !has_failed; j++)
            FUZZ_REQUIRE(isfinite(one[j]), "row %llu, value %llu", (unsigned long long)i, (unsigned long long)j);
        if (has_failed || !source->read_bytes)
            continue;
        FUZZ_REQUIRE(source->read_bytes(source->self, i, 1, bytes, &why) == OMEN_OK, "%s", why.text);
        for (uint64_t j = 0; j < d; j++)
            FUZZ_REQUIRE((float)bytes[j] == one[j], "row %llu, byte %llu", (unsigned long long)i,
                         (unsigned long long)j);
    }
    FUZZ_REQUIRE(has_failed == (status != OMEN_OK), "all rows: %d", status);
    free(all);
    free(one);
    free(bytes);
}

void fuzz_vectors(const uint8_t *data, size_t n_bytes)
{
    char name[40];
    omen_vectors_options options = {.raw_d = 4};
    omen_vectors *vectors = NULL, *twice = NULL;
    omen_detail why = {""};

    if (n_bytes < 2)
        return;
    snprintf(name, sizeof name, "x.%s%s", extensions[data[0] % N_EXTENSIONS], data[1] & 1 ? ".gz" : "");
    options.d = data[1] >> 2;
    fuzz_write(name, data + 2, n_bytes - 2);
    fuzz_limit_memory_of_file(data + 2, n_bytes - 2);
    const int status = omen_vectors_open(&vectors, name, &options, &why);

    FUZZ_REQUIRE((status == OMEN_OK) == !!vectors, "%d", status);
    FUZZ_REQUIRE(status == OMEN_OK || why.text[0] != '\0', "a failure without a reason: %d", status);
    if (status == OMEN_OK) {
        const omen_source source = omen_vectors_source(vectors);
        const char *const names[] = {name, name};

        FUZZ_REQUIRE(source.n_rows > 0 && source.d > 0 && source.d <= OMEN_MAX_DIM, "%llu x %u",
                     (unsigned long long)source.n_rows, source.d);
        fuzz_limit_memory(n_bytes + ((size_t)33 << 20) + 4 * VALUES_MOST +
                          (size_t)16 * OMEN_MAX_DIM); /* the rows too */
        read_rows(&source);
        FUZZ_REQUIRE(omen_vectors_open_several(&twice, names, 2, &options, &why) == OMEN_OK, "%s", why.text);
        FUZZ_REQUIRE(omen_vectors_source(twice).n_rows == 2 * source.n_rows, "%llu rows",
                     (unsigned long long)omen_vectors_source(twice).n_rows);
    }
    omen_vectors_close(twice);
    omen_vectors_close(vectors);
    fuzz_lift_limit();
    remove(name);
}

/* A file with the two bytes that come before it. */
static void seed_vectors(const char *extension, uint8_t options, const void *file, size_t n_bytes)
{
    uint8_t seed[4096] = {0, options};

    while (strcmp(extensions[seed[0]], extension) != 0)
        seed[0]++;
    FUZZ_REQUIRE(n_bytes + 2 <= sizeof seed, "%zu bytes", n_bytes);
    memcpy(seed + 2, file, n_bytes);
    fuzz_seed(seed, n_bytes + 2);
}

#define SEED(extension, literal) seed_vectors(extension, 0, literal, sizeof(literal) - 1)

/* An npy array in a buffer; returns its length. */
static size_t make_npy(uint8_t *to, const char *type, const char *shape, size_t n_values)
{
    const int n = snprintf((char *)to + 10, 118, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", type, shape);

    memcpy(to, "\x93NUMPY\1\0\x76", 10);
    memset(to + 10 + n, ' ', (size_t)(117 - n));
    to[127] = '\n';
    for (size_t i = 0; i < n_values; i++)
        to[128 + i] = (uint8_t)(i % 4 < 2 ? i : 60);
    return 128 + n_values;
}

static void put_u16(uint8_t **to, uint32_t value)
{
    memcpy(*to, &value, 2);
    *to += 2;
}

static void put_u32(uint8_t **to, uint32_t value)
{
    memcpy(*to, &value, 4);
    *to += 4;
}

/* An archive of one stored file. */
static size_t make_zip(uint8_t *zip, const char *name, const uint8_t *file, uint32_t n_bytes)
{
    const uint32_t crc = (uint32_t)crc32(0, file, n_bytes), n_name = (uint32_t)strlen(name);
    uint8_t *to = zip;

    for (int turn = 0; turn < 2; turn++) {
        const uint32_t at = (uint32_t)(to - zip);

        put_u32(&to, turn == 0 ? 0x04034b50 : 0x02014b50);
        if (turn == 1)
            put_u16(&to, 20);
        put_u16(&to, 20), put_u16(&to, 0), put_u16(&to, 0), put_u32(&to, 0);
        put_u32(&to, crc), put_u32(&to, n_bytes), put_u32(&to, n_bytes), put_u16(&to, n_name), put_u16(&to, 0);
        if (turn == 1)
            put_u16(&to, 0), put_u16(&to, 0), put_u16(&to, 0), put_u32(&to, 0), put_u32(&to, 0);
        memcpy(to, name, n_name);
        to += n_name;
        if (turn == 0) {
            memcpy(to, file, n_bytes);
            to += n_bytes;
            continue;
        }
        const uint32_t n_directory = (uint32_t)(to - zip) - at;

        put_u32(&to, 0x06054b50), put_u32(&to, 0), put_u16(&to, 1), put_u16(&to, 1);
        put_u32(&to, n_directory), put_u32(&to, at), put_u16(&to, 0);
    }
    return (size_t)(to - zip);
}

void fuzz_vectors_seeds(void)
{
    static const char safetensors[] =
        "{\"emb\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}  \0\0\0\0\0\0\0\0\0\0\200?\0\0\0@";
    uint8_t bytes[2048] = {0}, packed[2048], *to = bytes;
    uLongf n_packed = sizeof packed;
    size_t n;

    SEED("fvecs", "\2\0\0\0\0\0\200?\0\0\0@\2\0\0\0\0\0\0\0\0\0\200?");
    SEED("bvecs", "\3\0\0\0\1\2\3\3\0\0\0\4\5\6");
    SEED("ivecs", "\2\0\0\0\1\0\0\0\2\0\0\0");
    SEED("hvecs", "\2\0\0\0\0\x3c\0\x40");
    SEED("fbin", "\1\0\0\0\2\0\0\0\0\0\200?\0\0\0@");
    SEED("u8bin", "\2\0\0\0\3\0\0\0\1\2\3\4\5\6");
    SEED("i8bin", "\2\0\0\0\3\0\0\0\1\2\3\4\5\376");
    SEED("i32bin", "\1\0\0\0\2\0\0\0\1\0\0\0\2\0\0\0");
    SEED("u32bin", "\1\0\0\0\2\0\0\0\1\0\0\0\2\0\0\0");
    SEED("idx", "\0\0\x08\3\0\0\0\2\0\0\0\2\0\0\0\1\1\2\3\4");
    SEED("idx", "\0\0\x0d\2\0\0\0\2\0\0\0\1\x3f\200\0\0\x40\0\0\0");
    SEED("csv", "a,b,c\n1,2.5,-3e2\n\"4\",5,6\n");
    SEED("tsv", "1\t2\t3\n4\t5\t6\n");
    SEED("jsonl", "{\"id\":1,\"emb\":[1,2.5]}\n{\"id\":2,\"emb\":[3,-4e1]}\n");
    SEED("jsonl", "[1,2,3]\n[4,5,6]\n");
    SEED("raw", "\0\0\200?\0\0\0@\0\0\200?\0\0\0@");
    SEED("dat", "\2\0\0\0\0\0\200?\0\0\0@\2\0\0\0\0\0\0\0\0\0\200?");
    put_u32(&to, 64);
    memcpy(bytes + 8, safetensors, sizeof safetensors - 1);
    seed_vectors("safetensors", 0, bytes, 8 + 64 + 16);
    static const char *const types[][2] = {
        {"<f4", "(3, 4)"}, {"|u1", "(12, 4)"}, {"<f2", "(6, 4)"}, {">f8", "(2, 3)"}, {"<i8", "(2, 3)"}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        n = make_npy(bytes, types[i][0], types[i][1], 48);
        seed_vectors("npy", 0, bytes, n);
    }
    n = make_zip(packed, "emb.npy", bytes, (uint32_t)n);
    seed_vectors("npz", 0, packed, n);
    for (uint32_t i = 0; i < 40; i++)
        memcpy(bytes + 20 * i, "\4\0\0\0\0\0\200?\0\0\0@\0\0\0\0\0\0\100A", 20);
    n = ZSTD_compress(packed, sizeof packed, bytes, 800, 3);
    seed_vectors("fvecs", 0, packed, n);
    z_stream stream = {.next_in = bytes, .avail_in = 800, .next_out = packed, .avail_out = (uInt)n_packed};
    FUZZ_REQUIRE(deflateInit2(&stream, 9, Z_DEFLATED, 31, 9, Z_DEFAULT_STRATEGY) == Z_OK &&
                     deflate(&stream, Z_FINISH) == Z_STREAM_END,
                 "gzip");
    seed_vectors("fvecs", 1, packed, stream.total_out);
    deflateEnd(&stream);
}

/* ---- lists ---- */

static omen_container *list_container;
static omen_index *list_index;

static void open_index_with_keys(void)
{
    const fuzz_recipe recipe = {.n = 40, .d = 3, .refine = OMEN_REFINE_F32, .keys = true};
    omen_detail why = {""};

    fuzz_make_index("keys.omen", &recipe);
    fuzz_keep("keys.omen");
    FUZZ_REQUIRE(omen_container_open(&list_container, "keys.omen", &why) == OMEN_OK &&
                     omen_container_open_index(&list_container, &list_index, "keys.omen", UINT64_MAX, true, &why) ==
                         OMEN_OK,
                 "%s", why.text);
}

void fuzz_lists(const uint8_t *data, size_t n_bytes)
{
    omen_paths paths = {.n = 0};
    omen_detail why = {""};
    uint64_t *rows = NULL, n = 0;

    if (!list_index)
        open_index_with_keys();
    if (n_bytes < 1)
        return;
    fuzz_write("list.txt", data + 1, n_bytes - 1);
    fuzz_limit_memory_of_file(data + 1, n_bytes - 1);
    if (data[0] % 5 == 4) {
        const int status = omen_paths_read(&paths, "list.txt", &why);

        FUZZ_REQUIRE(status == OMEN_OK ? paths.n > 0 : why.text[0] != '\0', "%d, %zu paths", status, paths.n);
        for (size_t i = 0; i < paths.n; i++)
            FUZZ_REQUIRE(paths.names[i][0] != '\0' && !strchr(paths.names[i], '\n'), "path %zu", i);
        omen_paths_finish(&paths);
    } else {
        const int status = query_rows_read(list_index, "list.txt", (query_rows_kind)(data[0] % 5), &rows, &n, &why);

        FUZZ_REQUIRE(status == OMEN_OK || (!rows && why.text[0] != '\0'), "%d: %s", status, why.text);
        for (uint64_t i = 0; status == OMEN_OK && i < n; i++)
            FUZZ_REQUIRE(rows[i] < 40, "row %llu", (unsigned long long)rows[i]);
        free(rows);
    }
    fuzz_lift_limit();
}

void fuzz_lists_seeds(void)
{
    static const char *const seeds[] = {"\0key-7\nkey-21\r\n", "\1\x30\n39\n7\n", "\2key-7\n\nkey-7\n",
                                        "\3 3 \n\t4\r\n\n5", "\4part-0.npy\nb.fvecs\r\n\n  \n-\n"};

    fuzz_seed("\0Schl\xc3\xbcssel 14\n", 15);
    fuzz_seed(seeds[0], 1 + strlen(seeds[0] + 1));
    for (size_t i = 1; i < sizeof seeds / sizeof *seeds; i++)
        fuzz_seed(seeds[i], strlen(seeds[i]));
}

/* ---- truth and baselines ---- */

void fuzz_reports(const uint8_t *data, size_t n_bytes)
{
    static const char *const names[] = {"x.ivecs", "x.ibin", "x.bin"};
    omen_truth truth = {.n = 0};
    omen_detail why = {""};
    json_t *result = NULL;

    if (n_bytes < 1)
        return;
    const unsigned kind = data[0] % 4;

    if (kind < 3) {
        fuzz_write(names[kind], data + 1, n_bytes - 1);
        fuzz_limit_memory(n_bytes);
        const int status = omen_truth_read(&truth, names[kind], 0, &why);

        FUZZ_REQUIRE(status == OMEN_OK ? truth.n > 0 && truth.k > 0 : why.text[0] != '\0', "%d", status);
        for (uint64_t i = 0; status == OMEN_OK && i < truth.n; i++)
            for (uint32_t j = 0; j < truth.k; j++) {
                const int32_t *ids = truth.ids + i * truth.k;

                FUZZ_REQUIRE(ids[j] >= OMEN_NO_ROW && (j == 0 || ids[j] == OMEN_NO_ROW || ids[j - 1] != OMEN_NO_ROW),
                             "query %llu", (unsigned long long)i);
            }
        omen_truth_finish(&truth);
    } else {
        fuzz_write("x.json", data + 1, n_bytes - 1);
        fuzz_limit_memory(20 * n_bytes); /* a value of JSON takes more than its characters */
        const int status = bench_json_load(&result, "x.json", &why);

        FUZZ_REQUIRE(status == OMEN_OK ? !!result : why.text[0] != '\0', "%d", status);
        if (status == OMEN_OK && bench_gate_check(result, result, &why) != OMEN_OK)
            FUZZ_REQUIRE(why.text[0] != '\0', "a failure without a reason");
        json_decref(result);
    }
    fuzz_lift_limit();
}

void fuzz_reports_seeds(void)
{
    static const char json[] =
        "\3{\"schema\":\"omendb-bench/1\",\"version\":\"0.1.0\",\"interrupted\":false,\"machine\":{\"cpu\":\"x\","
        "\"simd\":\"avx2\",\"threads\":2},\"data\":{\"n\":60,\"d\":4,\"metric\":\"l2\",\"n_queries\":5,"
        "\"base_hash\":null},\"truth\":{\"origin\":\"source\",\"distances\":\"source\"},\"filter\":{\"hash\":\"0a\","
        "\"where\":\"a = 1\",\"rows_mean\":5},\"options\":{\"k\":[10],\"recall\":[0.9],\"probes\":[],\"rerank\":[],"
        "\"ways\":[\"lists\"]},\"build\":{\"codec\":\"auto\",\"seconds\":{\"total\":0.5}},\"index\":{\"lists\":7,"
        "\"bytes_per_vector\":{\"code\":4,\"factors\":2,\"total\":20},\"file_bytes\":70000},\"points\":[{\"k\":10,"
        "\"target\":0.9,\"probes\":3,\"way\":\"lists\",\"rerank\":20,\"recall_by_distance\":0.95,\"recall_by_id\":0.94,"
        "\"dominated\":false,\"batch\":{\"median\":1000,\"min\":900,\"max\":1100}}]}";

    fuzz_seed("\0\2\0\0\0\1\0\0\0\2\0\0\0\2\0\0\0\5\0\0\0\377\377\377\377", 25);
    fuzz_seed("\1\2\0\0\0\2\0\0\0\1\0\0\0\2\0\0\0\3\0\0\0\4\0\0\0", 25);
    fuzz_seed("\2\1\0\0\0\2\0\0\0\1\0\0\0\2\0\0\0\0\0\200?\0\0\0@", 25);
    fuzz_seed(json, sizeof json - 1);
}
