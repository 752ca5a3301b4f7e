/* SPDX-License-Identifier: Apache-2.0 */
/* What a program that links the library relies on: structs of another size than the library's, as a program compiled
 * against an older or newer header has them, and first calls from several threads at once. */
#include <math.h>
#include <pthread.h>
#include <unistd.h>

#include "formats/omendb_files.h"
#include "tests/unit/check.h"

enum { N = 300, D = 8 };

static float rows[N][D];

static int read_rows(void *self, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    memcpy(out, rows[first], n * sizeof rows[0]);
    return OMEN_OK;
}

static const omen_source source = {.n_rows = N, .d = D, .element_bytes = 4, .n_bytes = sizeof rows, .read = read_rows};

/* ---- the first calls ---- */

enum { N_THREADS = 16 };

static void *first_call(void *unused)
{
    return (void *)omen_cpu_level();
}

/* Has to run first: nothing has chosen the kernels yet. */
static void test_threads_begin_at_once(void)
{
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++)
        CHECK_EQ_INT(pthread_create(&threads[i], NULL, first_call, NULL), 0);
    for (int i = 0; i < N_THREADS; i++) {
        void *level;
        pthread_join(threads[i], &level);
        CHECK(strcmp(level, omen_cpu_level()) == 0);
    }
    omen_detail why = {""};
    CHECK_EQ_INT(omen_cpu_select("scalar", &why), OMEN_OK);
    CHECK(strcmp(omen_cpu_level(), "scalar") == 0);
    CHECK_EQ_INT(omen_cpu_select(NULL, &why), OMEN_OK);
}

/* ---- structs of another size ---- */

/* What lies behind a program's struct is not the library's. */
#define GUARD 0x5a

static bool is_untouched(const void *of, size_t from, size_t to)
{
    const unsigned char *bytes = of;
    for (size_t i = from; i < to; i++)
        if (bytes[i] != GUARD)
            return false;
    return true;
}

static void test_init_of_older_program(void)
{
    omen_build_options build;
    omen_search_options search;
    const size_t known = offsetof(omen_build_options, seed);
    memset(&build, GUARD, sizeof build);
    (omen_build_options_init)(&build, known);
    CHECK(build.struct_bytes == known && build.refine == OMEN_REFINE_AUTO && build.bytes == OMEN_DEFAULT_BYTES);
    CHECK(is_untouched(&build, known, sizeof build));
    memset(&search, GUARD, sizeof search);
    (omen_search_options_init)(&search, offsetof(omen_search_options, recall));
    CHECK(search.k == 10 && is_untouched(&search, offsetof(omen_search_options, recall), sizeof search));
}

static void test_init_of_newer_program(void)
{
    struct {
        omen_search_options known;
        uint64_t newer;
    } search;
    memset(&search, GUARD, sizeof search);
    (omen_search_options_init)(&search.known, sizeof search);
    CHECK(search.known.struct_bytes == sizeof search && search.known.k == 10 && search.newer == 0);
}

static void test_plan_sizes(void)
{
    omen_build_options build;
    omen_build_plan plan = {.struct_bytes = sizeof plan}, older;
    omen_detail why = {""};
    omen_build_options_init(&build);
    CHECK_EQ_INT(omen_build_plan_make(&source, &build, false, &plan, &why), OMEN_OK);
    CHECK(plan.struct_bytes == sizeof plan && plan.index_bytes > 0);
    memset(&older, GUARD, sizeof older);
    older.struct_bytes = offsetof(omen_build_plan, index_bytes);
    CHECK_EQ_INT(omen_build_plan_make(&source, &build, false, &older, &why), OMEN_OK);
    CHECK(older.memory_bytes == plan.memory_bytes && older.struct_bytes == offsetof(omen_build_plan, index_bytes));
    CHECK(is_untouched(&older, older.struct_bytes, sizeof older));
    plan.struct_bytes = 0;
    CHECK_EQ_INT(omen_build_plan_make(&source, &build, false, &plan, &why), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(why.text, "omen_build_plan.struct_bytes is not set");
    plan.struct_bytes = sizeof plan;
    build.struct_bytes = sizeof build + 8;
    CHECK_EQ_INT(omen_build_plan_make(&source, &build, false, &plan, &why), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(why.text, "newer");
}

static char path[] = "/tmp/omendb-test-api-XXXXXX";

static void test_build_sizes(void)
{
    omen_build_options build;
    omen_build_report report = {.struct_bytes = offsetof(omen_build_report, near_copies), .near_copies = 7};
    omen_writer *writer = NULL;
    omen_detail why = {""};
    omen_build_options_init(&build);
    CHECK_EQ_INT(omen_writer_create(&writer, path, &why), OMEN_OK);
    if (!writer)
        return;
    const omen_sink sink = omen_writer_sink(writer);
    build.struct_bytes = 0;
    CHECK_EQ_INT(omen_index_build(&source, &build, &sink, NULL, &report, &why), OMEN_ERR_ARGUMENT);
    build.struct_bytes = offsetof(omen_build_options, seed); /* what follows is 0, whatever is there */
    memset((char *)&build + build.struct_bytes, GUARD, sizeof build - build.struct_bytes);
    CHECK_EQ_INT(omen_index_build(&source, &build, &sink, NULL, &report, &why), OMEN_OK);
    CHECK(report.n_rows == N && report.n_encoded == N && report.near_copies == 7);
    CHECK(report.n_stages > 1 && report.n_stages <= OMEN_MAX_STAGES);
    for (uint32_t i = 0; i < report.n_stages; i++)
        CHECK(*report.stages[i].name && report.stages[i].seconds >= 0);
    CHECK(strcmp(report.stages[0].name, "sample") == 0);
    /* auto tries every codec, and keeps the best */
    CHECK(report.n_codec_errors > 1 && report.n_codec_errors <= OMEN_MAX_CODECS);
    double least = INFINITY, of_chosen = NAN;
    for (uint32_t i = 0; i < report.n_codec_errors; i++) {
        CHECK(strcmp(omen_codec_name(report.codec_errors[i].codec), "?") != 0);
        least = fmin(least, report.codec_errors[i].error);
        if (report.codec_errors[i].codec == report.codec)
            of_chosen = report.codec_errors[i].error;
    }
    CHECK(of_chosen == least);
    CHECK_EQ_INT(omen_writer_commit(writer, NULL, &why), OMEN_OK);
    omen_writer_destroy(writer);
}

static void test_search_sizes(void)
{
    omen_container *container = NULL;
    omen_index *index = NULL;
    omen_detail why = {""};
    CHECK_EQ_INT(omen_container_open(&container, path, &why), OMEN_OK);
    if (container)
        CHECK_EQ_INT(omen_container_open_index(&container, &index, path, UINT64_MAX, true, &why), OMEN_OK);
    if (index) {
        omen_index_info info = {.struct_bytes = offsetof(omen_index_info, d_kept), .d_kept = 7};
        CHECK_EQ_INT(omen_index_get_info(index, &info), OMEN_OK);
        CHECK(info.n_rows == N && info.d == D && info.d_kept == 7);
        info.struct_bytes = sizeof info + 1;
        CHECK_EQ_INT(omen_index_get_info(index, &info), OMEN_ERR_ARGUMENT);

        omen_measured_effort effort = {.struct_bytes = offsetof(omen_measured_effort, estimates), .estimates = 7};
        size_t n_efforts = 0;
        while (omen_index_get_effort(index, OMEN_SEARCH_LISTS, n_efforts, &effort) == OMEN_OK) {
            CHECK(effort.k > 0 && effort.recall > 0 && effort.probes > 0 && effort.rerank > 0 && effort.estimates == 7);
            n_efforts++;
        }
        CHECK(n_efforts > 0);
        CHECK_EQ_INT(omen_index_get_effort(index, OMEN_SEARCH_GRAPH, 0, &effort), OMEN_ERR_ARGUMENT);
        effort.struct_bytes = 0;
        CHECK_EQ_INT(omen_index_get_effort(index, OMEN_SEARCH_LISTS, 0, &effort), OMEN_ERR_ARGUMENT);
        omen_column_range range = {.struct_bytes = sizeof range};
        CHECK_EQ_INT(omen_index_get_column_range(index, 0, &range, &why), OMEN_ERR_ARGUMENT);

        omen_search_options search;
        omen_search_stats stats = {.struct_bytes = offsetof(omen_search_stats, codes_scanned), .codes_scanned = 7};
        int64_t ids[10];
        (omen_search_options_init)(&search, offsetof(omen_search_options, lists));
        for (int i = 1; i <= 2; i++) { /* stats are added to */
            CHECK_EQ_INT(omen_index_search(index, &search, rows[5], 1, ids, NULL, &stats, &why), OMEN_OK);
            CHECK(ids[0] == 5 && stats.n_queries == (uint64_t)i && stats.codes_scanned == 7);
        }
        stats.struct_bytes = 0;
        CHECK_EQ_INT(omen_index_search(index, &search, rows[5], 1, ids, NULL, &stats, &why), OMEN_ERR_ARGUMENT);
        search.struct_bytes = sizeof search + 8;
        CHECK_EQ_INT(omen_index_search(index, &search, rows[5], 1, ids, NULL, NULL, &why), OMEN_ERR_ARGUMENT);
        CHECK_STR_CONTAINS(why.text, "omen_search_options");
    }
    omen_index_close(index);
    omen_container_close(container);
}

/* ---- a build by path ---- */

enum { STOP_AFTER = 100 }; /* rows */

static int n_opened, n_planned;

static void note_opened(void *context, const char *format, const omen_source *input)
{
    n_opened += context == &n_opened && strcmp(format, "raw") == 0 && input->n_rows == N;
}

static void note_planned(void *context, const omen_build_plan *plan)
{
    char tmp[sizeof path + 4];
    snprintf(tmp, sizeof tmp, "%s.tmp", path);
    n_planned += context == &n_opened && plan->index_bytes > 0 && access(tmp, F_OK) != 0;
}

static int stop_in_encode(void *context, const char *stage, uint64_t done, uint64_t total)
{
    return strcmp(stage, "encode") == 0 && done >= STOP_AFTER;
}

static void write_file(const char *name, const void *bytes, size_t n_bytes)
{
    FILE *file = fopen(name, "wb");
    CHECK(file && fwrite(bytes, n_bytes, 1, file) == 1 && fclose(file) == 0);
}

static size_t read_file(const char *name, char *bytes, size_t size)
{
    FILE *file = fopen(name, "rb");
    const size_t n = file ? fread(bytes, 1, size, file) : 0;
    if (file)
        fclose(file);
    return n;
}

/* The same bytes as by the steps, also when it is stopped and continued; and what it says when it cannot continue. */
static void test_build_by_path(void)
{
    static char want[1 << 20], got[1 << 20];
    char input[sizeof path + 4], part[sizeof path + 5];
    omen_build_options build;
    omen_build_report report = {.struct_bytes = sizeof report};
    omen_index_info info = {.struct_bytes = sizeof info};
    omen_build_outcome outcome = {.struct_bytes = sizeof outcome};
    omen_writer *writer = NULL;
    omen_detail why = {""};
    snprintf(input, sizeof input, "%s.f32", path);
    snprintf(part, sizeof part, "%s.part", path);
    write_file(input, rows, sizeof rows);
    omen_vectors *vectors = NULL;
    const omen_vectors_options raw = {.d = D};
    omen_build_options_init(&build);
    build.chunk_rows = 50;
    CHECK_EQ_INT(omen_vectors_open(&vectors, input, &raw, &why), OMEN_OK);
    CHECK_EQ_INT(omen_writer_create(&writer, path, &why), OMEN_OK);
    const omen_source from_file = omen_vectors_source(vectors);
    const omen_sink sink = omen_writer_sink(writer);
    CHECK_EQ_INT(omen_index_build(&from_file, &build, &sink, NULL, NULL, &why), OMEN_OK);
    CHECK_EQ_INT(omen_writer_commit(writer, NULL, &why), OMEN_OK);
    omen_writer_destroy(writer);
    omen_vectors_close(vectors);
    const size_t n_want = read_file(path, want, sizeof want);
    CHECK_EQ_INT(unlink(path), 0);

    omen_build_paths paths = {.struct_bytes = sizeof paths, .input = input, .vectors = &raw, .output = path};
    paths.opened = note_opened;
    paths.planned = note_planned;
    paths.context = &n_opened;
    build.progress = stop_in_encode;
    CHECK_EQ_INT(omen_index_build_file(&paths, &build, &report, &info, &outcome, &why), OMEN_ERR_INTERRUPTED);
    CHECK(outcome.can_continue && !outcome.needs_fresh && outcome.file_bytes == 0);
    CHECK(n_opened == 1 && n_planned == 1 && access(path, F_OK) != 0 && access(part, F_OK) == 0);
    build.progress = NULL;
    build.seed = 1;
    CHECK_EQ_INT(omen_index_build_file(&paths, &build, NULL, NULL, &outcome, &why), OMEN_ERR_ARGUMENT);
    CHECK(!outcome.can_continue && outcome.needs_fresh && access(part, F_OK) == 0);
    CHECK_STR_CONTAINS(why.text, "options.seed 0, not 1");
    build.seed = 0;
    CHECK_EQ_INT(omen_index_build_file(&paths, &build, &report, &info, &outcome, &why), OMEN_OK);
    CHECK(outcome.file_bytes == n_want && !outcome.can_continue && !outcome.needs_fresh);
    CHECK(info.n_rows == N && info.d == D && report.n_rows == N && access(part, F_OK) != 0);
    CHECK(read_file(path, got, sizeof got) == n_want && memcmp(want, got, n_want) == 0);

    /* of an older program, which knows no callbacks; of one that forgot the size; what cannot be read */
    paths.struct_bytes = offsetof(omen_build_paths, opened);
    CHECK_EQ_INT(omen_index_build_file(&paths, &build, NULL, NULL, NULL, &why), OMEN_OK);
    CHECK(n_opened == 3 && n_planned == 3);
    paths.struct_bytes = 0;
    CHECK_EQ_INT(omen_index_build_file(&paths, &build, NULL, NULL, NULL, &why), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(why.text, "omen_build_paths.struct_bytes is not set");
    paths.struct_bytes = sizeof paths;
    paths.tune_queries = "/nowhere/q.fvecs";
    CHECK_EQ_INT(omen_index_build_file(&paths, &build, NULL, NULL, NULL, &why), OMEN_ERR_IO);
    CHECK_STR_CONTAINS(why.text, "/nowhere/q.fvecs");
    CHECK(read_file(path, got, sizeof got) == n_want && memcmp(want, got, n_want) == 0);

    /* the same rows in two files */
    char second[sizeof input + 4];
    snprintf(second, sizeof second, "%s.f32", input);
    write_file(input, rows[0], 100 * sizeof rows[0]);
    write_file(second, rows[100], (N - 100) * sizeof rows[0]);
    const char *const inputs[] = {input, second};
    paths.tune_queries = paths.input = NULL;
    CHECK_EQ_INT(omen_index_build_file(&paths, &build, NULL, NULL, NULL, &why), OMEN_ERR_ARGUMENT);
    CHECK_STR_CONTAINS(why.text, "no file of vectors is named");
    paths.inputs = inputs;
    paths.n_inputs = 2;
    memset(got, 0, sizeof got);
    CHECK_EQ_INT(omen_index_build_file(&paths, &build, NULL, NULL, NULL, &why), OMEN_OK);
    CHECK(read_file(path, got, sizeof got) == n_want && memcmp(want, got, n_want) == 0);
    unlink(second);
    unlink(input);
}

int main(void)
{
    for (int i = 0; i < N * D; i++)
        rows[i / D][i % D] = (float)(i / D * (i % D + 1) % 37 + i / D);
    const int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    RUN(test_threads_begin_at_once);
    RUN(test_init_of_older_program);
    RUN(test_init_of_newer_program);
    RUN(test_plan_sizes);
    RUN(test_build_sizes);
    RUN(test_search_sizes);
    RUN(test_build_by_path);
    unlink(path);
    return check_finish();
}
