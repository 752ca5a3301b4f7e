/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever the library does with files, in one process, while a call of libc fails (tests/fault/fault.c) or an
 * allocation: the failure is told as what it is, and nothing is kept. tests/fault/fault.py looks at the files that are
 * left; here many more calls fail in the same time.
 *
 *   test_failing_files [N]   of the calls of each piece of work at most N fail, evenly spread (default 10) */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/attach.h"
#include "formats/container.h"
#include "formats/input_paths.h"
#include "formats/omendb_files.h"
#include "formats/omz.h"
#include "formats/scratch_files.h"
#include "formats/shards.h"
#include "tests/fault/fault.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include "tests/unit/vector_files.h"

#define N_ROWS 64u
#define DIM    4u

/* ---- inputs ---- */

static void write_text(const char *name, const char *header, const char *format)
{
    char text[8192], *to = stpcpy(text, header);
    for (unsigned i = 0; i < N_ROWS; i++)
        to += sprintf(to, format, i, i % 5);
    save_bytes(name, text, (size_t)(to - text));
}

static void make_inputs(void)
{
    blob b = {0};
    add_vecs(&b, "f4", N_ROWS, DIM);
    save("v.fvecs", &b);
    b.n = 0;
    add_vecs(&b, "f4", N_ROWS / 2, DIM);
    CHECK(mkdir(path_of("parts"), 0700) == 0);
    CHECK(mkdir(path_of("tmp"), 0700) == 0);
    save("parts/0.fvecs", &b);
    save("parts/1.fvecs", &b);
    b.n = 0;
    add_npy(&b, 1, "{'descr': '<i4', 'fortran_order': False, 'shape': (64,), }\n");
    for (unsigned i = 0; i < N_ROWS; i++)
        add_u32(&b, i);
    save("x.npy", &b);
    write_text("k.txt", "", "key %u of %u\n");
    write_text("t.csv", "a,b\n", "%u,\"w%u\"\n");
    write_text("t.jsonl", "", "{\"a\":%u,\"t\":[\"w%u\"]}\n");
    write_text("g.txt", "", "tag%.0u red%u\n");
    write_text("q.csv", "", "%u,1,2.5,%u\n");
    write_text("q.jsonl", "", "[%u,1,2.5,%u]\n");
    save_bytes("list", "parts\nv.fvecs\n", 14);
}

/* ---- work ---- */

static const char *const arrays[] = {"x=x.npy"};
static const omen_column_paths columns = {.table = "t.csv", .arrays = arrays, .n_arrays = 1, .tags = "g.txt"};
static const omen_column_paths other_columns = {.table = "t.jsonl"};

static omen_build_options options_of(bool graph)
{
    omen_build_options o;
    omen_build_options_init(&o);
    o.codec = OMEN_CODEC_RABITQ;
    o.refine = OMEN_REFINE_SQ8;
    o.bytes = 4;
    o.lists.n = 2;
    o.n_threads = 1;
    o.chunk_rows = 20;
    o.graph.wanted = graph;
    o.graph.degree = graph ? OMEN_MIN_DEGREE : 0;
    return o;
}

static omen_build_paths paths_of(const char *input, const char *output)
{
    return (omen_build_paths){.struct_bytes = sizeof(omen_build_paths), .input = input, .output = output};
}

/* What the work leaves besides files. */
static omen_build_report report = {.struct_bytes = sizeof report};
static omen_build_outcome outcome = {.struct_bytes = sizeof outcome};
static omen_index_info info = {.struct_bytes = sizeof info};

static int build_whole(void)
{
    omen_build_paths paths = paths_of("v.fvecs", "out.omen");
    const omen_build_options o = options_of(true);
    paths.keys = "k.txt";
    paths.column_paths = &columns;
    paths.tune_queries = "q.csv";
    return omen_index_build_file(&paths, &o, &report, &info, &outcome, &detail);
}

static int build_parts(void)
{
    static const char *const inputs[] = {"parts/0.fvecs", "parts/1.fvecs"};
    omen_build_paths paths = paths_of(NULL, "out.omen");
    const omen_build_options o = options_of(false);
    paths.inputs = inputs;
    paths.n_inputs = 2;
    paths.keys = "t.csv";
    paths.key_column = "a";
    paths.checkpoint_directory = "tmp";
    return omen_index_build_file(&paths, &o, &report, &info, &outcome, &detail);
}

static void swallow(void *context, const char *section, const char *text)
{
    (void)context, (void)section, (void)text;
}

static void swallow_damage(void *context, const char *section, uint64_t first, uint64_t n_bytes, const char *text)
{
    (void)context, (void)section, (void)first, (void)n_bytes, (void)text;
}

static int open_index(void)
{
    static const char *const names[] = {"a.omen", "a.omz"};
    int status = OMEN_OK;
    for (int i = 0; i < 2 && status == OMEN_OK; i++) {
        omen_container *container = NULL;
        omen_index *index = NULL;
        status = omen_container_open(&container, names[i], &detail);
        if (status == OMEN_OK)
            status = omen_container_check(container, 1, swallow_damage, NULL, &detail);
        if (status == OMEN_OK)
            status = omen_container_open_index(&container, &index, names[i], UINT64_MAX, true, &detail);
        if (status == OMEN_OK)
            status = omen_index_check(index, swallow, NULL);
        omen_index_close(index);
        omen_container_close(container);
    }
    return status;
}

static int attach_all(void)
{
    const omen_attach attach = {.input = "a.omen",
                                .output = "out.omen",
                                .keys = "t.csv",
                                .key_column = "a",
                                .columns = &other_columns,
                                .drop_columns = true,
                                .graph = true,
                                .degree = 8,
                                .tune_queries = "q.csv",
                                .n_threads = 1};
    uint64_t n_file_bytes;
    return omen_attach_make(&attach, &n_file_bytes, &info, &detail);
}

static int train(void)
{
    static const char *const inputs[] = {"parts/0.fvecs", "parts/1.fvecs"};
    omen_build_paths paths = paths_of(NULL, "out.model");
    const omen_build_options o = options_of(false);
    paths.inputs = inputs;
    paths.n_inputs = 2;
    paths.tune_queries = "q.csv";
    uint64_t identity;
    return omen_model_train_file(&paths, &o, &identity, &report, &outcome, &detail);
}

static int shard_of(const char *output, uint64_t number)
{
    const omen_build_paths paths = paths_of(NULL, output);
    const omen_build_options o = options_of(false);
    omen_shard_info shard;
    bool was_there;
    return omen_shard_build_file(&paths, &o, "a.model", number, 2, &was_there, &shard, &report, &outcome, &detail);
}

static int build_shard(void)
{
    const int status = shard_of("out.shard", 1);
    return status == OMEN_OK ? shard_of("out.shard", 1) : status; /* which is there already */
}

static int build_by_model(void)
{
    const omen_build_paths paths = paths_of("v.fvecs", "out.omen");
    const omen_build_options o = options_of(false);
    return omen_model_build_file(&paths, &o, "a.model", &report, &info, &outcome, &detail);
}

static int merge(void)
{
    static const char *const shards[] = {"1.shard", "0.shard"};
    omen_build_paths paths = paths_of(NULL, "out.omen");
    const omen_build_options o = options_of(true);
    bool lacks;
    paths.keys = "k.txt";
    return omen_shards_merge_file(&paths, &o, "a.model", shards, 2, &lacks, &report, &info, &outcome, &detail);
}

static int check_shard(void)
{
    static const char *const inputs[] = {"parts/0.fvecs", "parts/1.fvecs"};
    omen_build_paths paths = paths_of(NULL, NULL);
    omen_build_options o = options_of(false);
    omen_model model = {.part = NULL};
    omen_part *part = NULL;
    o.chunk_rows = 7; /* encoded again in several */
    paths.inputs = inputs;
    paths.n_inputs = 2;
    paths.tune_queries = "q.csv";
    int status = omen_model_open(&model, "a.model", NULL, NULL, &detail);
    if (status == OMEN_OK)
        status = omen_model_check_source(&model, &paths, &o, swallow, NULL, &detail);
    if (status == OMEN_OK)
        status = omen_part_open_to_read(&part, "0.shard", &detail);
    if (status == OMEN_OK)
        status = omen_shard_check_source(part, &model, &paths, &o, swallow, NULL, &detail);
    omen_part_close(part);
    omen_model_close(&model);
    return status;
}

static int compress(void)
{
    static const char *const names[] = {"a.omen", "v.fvecs"};
    int status = OMEN_OK;
    for (int i = 0; i < 2 && status == OMEN_OK; i++) {
        const omen_omz_options o = {.level = 1, .n_threads = 1};
        omen_omz_input *input = NULL;
        omen_writer *writer = NULL;
        status = omen_omz_input_open(&input, names[i], NULL, 0, &detail);
        if (status == OMEN_OK)
            status = omen_writer_create(&writer, i == 0 ? "out.omz" : "b.omz", &detail);
        if (status == OMEN_OK) {
            const omen_sink sink = omen_writer_sink(writer);
            status = omen_omz_compress(input, &o, &sink, &detail);
        }
        if (status == OMEN_OK)
            status = omen_writer_commit(writer, NULL, &detail);
        omen_writer_destroy(writer);
        omen_omz_input_close(input);
    }
    return status;
}

static int unpack(void)
{
    float row[DIM];
    omen_container *container = NULL;
    omen_omz *omz = NULL;
    omen_vectors *vectors = NULL;
    int status = omen_container_open(&container, "a.omz", &detail);
    if (status == OMEN_OK)
        status = omen_omz_open(&omz, container, &detail);
    if (status == OMEN_OK)
        status = omen_omz_check(omz, 1, swallow_damage, NULL);
    for (int is_new = 0; is_new < 2 && status == OMEN_OK; is_new++) {
        const int fd = memfd_create("unpacked", 0);
        status = omen_omz_unpack_to(omz, fd, is_new, 1, NULL, NULL, &detail);
        close(fd);
    }
    omen_omz_close(omz);
    omen_container_close(container);
    if (status == OMEN_OK)
        status = omen_vectors_open(&vectors, "v.omz", NULL, &detail);
    if (status == OMEN_OK) {
        const omen_source source = omen_vectors_source(vectors);
        status = source.read(source.self, source.n_rows - 1, 1, row, &detail);
    }
    omen_vectors_close(vectors);
    return status;
}

static int read_several(void)
{
    float row[DIM];
    omen_paths paths = {.n = 0};
    omen_vectors *vectors = NULL;
    int status = omen_paths_read(&paths, "list", &detail);
    if (status == OMEN_OK)
        status = omen_paths_expand(&paths, false, &detail);
    if (status == OMEN_OK)
        status = omen_vectors_open_several(&vectors, (const char *const *)paths.names, paths.n, NULL, &detail);
    if (status == OMEN_OK) {
        const omen_source source = omen_vectors_source(vectors);
        for (uint64_t i = 0; i < source.n_rows && status == OMEN_OK; i += 31)
            status = source.read(source.self, i, 1, row, &detail);
    }
    omen_vectors_close(vectors);
    omen_paths_finish(&paths);
    return status;
}

static int fill_scratch(void)
{
    omen_scratch_files files = {.path = "out.omen"};
    const omen_scratch scratch = omen_scratch_files_of(&files);
    int status = OMEN_OK;
    for (size_t i = 0; i < 3 && status == OMEN_OK; i++) {
        const size_t n_bytes = i * 100000;
        void *memory;
        status = scratch.take(scratch.self, n_bytes, &memory, &detail);
        if (status == OMEN_OK)
            memset(memory, 17, n_bytes);
    }
    omen_scratch_files_close(&files);
    return status;
}

/* Work and what it has to have made for the work after it: out, renamed to kept. */
static const struct {
    const char *name;
    int (*run)(void);
    const char *output, *kept;
} works[] = {
    {"build", build_whole, "out.omen", "a.omen"},
    {"build of parts", build_parts, "out.omen", NULL},
    {"attach", attach_all, "out.omen", NULL},
    {"train", train, "out.model", "a.model"},
    {"shard", build_shard, "out.shard", "1.shard"},
    {"build by a model", build_by_model, "out.omen", NULL},
    {"merge", merge, "out.omen", NULL},
    {"model and inputs", check_shard, NULL, NULL},
    {"compress", compress, "out.omz", "a.omz"},
    {"open", open_index, NULL, NULL},
    {"unpack", unpack, NULL, NULL},
    {"several inputs", read_several, NULL, NULL},
    {"scratch files", fill_scratch, NULL, NULL},
};

static unsigned long n_most = 10;

static void clean(size_t w)
{
    static const char *const ends[] = {"", ".tmp", ".part", ".whole.part"};
    char name[64];
    for (size_t i = 0; works[w].output && i < sizeof ends / sizeof *ends; i++) {
        snprintf(name, sizeof name, "%s%s", works[w].output, ends[i]);
        unlink(name);
    }
}

static void test_work(size_t w)
{
    static const struct {
        const char *format;
        fault_kind kind;
        int code;
    } faults[] = {{"io:%lu:EIO", FAULT_IO, OMEN_ERR_IO},
                  {"io:%lu+:ENOSPC", FAULT_IO, OMEN_ERR_IO},
                  {"short:%lu", FAULT_SHORT, OMEN_OK},
                  {"alloc:%lu", FAULT_ALLOC, OMEN_ERR_MEMORY},
                  {"alloc:%lu+", FAULT_ALLOC, OMEN_ERR_MEMORY}};
    unsigned long n_refused = 0, n_faults = 0;
    for (size_t f = 0; f < sizeof faults / sizeof *faults; f++) {
        clean(w);
        fault_plan(NULL);
        const int whole = works[w].run();
        const unsigned long n = fault_count(faults[f].kind), step = n / n_most + 1;
        CHECK_CASE(whole == OMEN_OK, "%d, %s", whole, detail.text);
        for (unsigned long i = 1 + f % step; i <= n; i += step) {
            char plan[32];
            clean(w);
            detail.text[0] = '\0';
            snprintf(plan, sizeof plan, faults[f].format, i);
            fault_plan(plan);
            const int status = works[w].run();
            fault_plan(NULL);
            CHECK_CASE(status == OMEN_OK || status == faults[f].code, "%s: %d, %s", plan, status, detail.text);
            /* a check of contents tells of faults only */
            const bool tells = works[w].run != unpack && works[w].run != open_index;
            CHECK_CASE(status == OMEN_OK || detail.text[0] != '\0' || !tells, "%s: %d without a reason", plan, status);
            n_faults++;
            n_refused += status != OMEN_OK;
        }
    }
    printf("# %lu faults, %lu refused\n", n_faults, n_refused);
    CHECK(n_refused > 0);
    clean(w);
    if (works[w].kept) {
        CHECK_CASE(works[w].run() == OMEN_OK, "%s", detail.text);
        CHECK(rename(works[w].output, works[w].kept) == 0);
    }
}

/* Where room cannot be reserved, zeros are written; where there is none, the disk is not filled with them. */
static void test_room(void)
{
    fault_plan("io:2:EIO"); /* behind the call that opens the file */
    CHECK_CASE(fill_scratch() == OMEN_OK, "%s", detail.text);
    fault_plan("io:2:ENOSPC");
    CHECK_EQ_INT(fill_scratch(), OMEN_ERR_IO);
    CHECK_STR_CONTAINS(detail.text, "cannot write the scratch file of \"out.omen\": No space left on device");
    fault_plan(NULL);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        n_most = strtoul(argv[1], NULL, 10);
    else if (check_quick())
        n_most = 4;
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0); /* where what is synced takes no time */
    directory_make();
    make_inputs();
    if (chdir(directory) != 0)
        return 1;
    for (size_t w = 0; w < sizeof works / sizeof *works; w++) {
        RUN_AS(works[w].name, test_work(w));
        if (works[w].run == train)
            CHECK_CASE(shard_of("0.shard", 0) == OMEN_OK, "%s", detail.text);
        if (works[w].run == compress)
            CHECK(rename("b.omz", "v.omz") == 0);
    }
    RUN(test_room);
    if (chdir("/") != 0)
        return 1;
    directory_remove();
    return check_finish();
}
