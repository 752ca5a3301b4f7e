/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/file_works.h"

#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "formats/attach.h"
#include "formats/container.h"
#include "formats/file.h"
#include "formats/hdf5_file.h"
#include "formats/input_paths.h"
#include "formats/omendb_files.h"
#include "formats/omz.h"
#include "formats/scratch_files.h"
#include "formats/shards.h"
#include "formats/truth.h"
#include "formats/vectors_stream.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include "tests/unit/vector_files.h"

/* ---- inputs ---- */

static void write_text(const char *name, const char *header, const char *format)
{
    char text[8192], *to = stpcpy(text, header);
    for (unsigned i = 0; i < N_ROWS; i++)
        to += sprintf(to, format, i, i % 5);
    save_bytes(name, text, (size_t)(to - text));
}

void work_inputs_make(void)
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
    /* packed, and what is read whole */
    b.n = 0;
    add_vecs(&b, "f4", N_ROWS, DIM);
    blob packed;
    gzFile gz = gzopen(path_of("v.fvecs.gz"), "wb");
    CHECK(gz && gzwrite(gz, b.bytes, (unsigned)b.n) == (int)b.n && gzclose(gz) == Z_OK);
    packed.n = ZSTD_compress(packed.bytes, sizeof packed.bytes, b.bytes, b.n, 3);
    save("v.fvecs.zst", &packed);
    b.n = 0;
    add_vecs(&b, "i4", 4, DIM);
    for (unsigned i = 0; i < 4 * (DIM + 1); i++)
        b.bytes[4 * i + 3] &= 0x7f; /* none is negative */
    save("n.ivecs", &b);
    /* values of other types and in other orders, to be packed */
    b.n = 0;
    add_npy(&b, 1, "{'descr': '<i8', 'fortran_order': True, 'shape': (64, 4), }\n");
    add_rows(&b, "i8", false, N_ROWS, DIM);
    save("l.npy", &b);
    b.n = 0;
    add_npy(&b, 1, "{'descr': '>u2', 'fortran_order': False, 'shape': (64, 4), }\n");
    add_rows(&b, "i2", true, N_ROWS, DIM);
    save("u.npy", &b);
    b.n = 0;
    add_idx(&b, 8, 3, N_ROWS, 2, 2); /* images */
    add_rows(&b, "i1", true, N_ROWS, DIM);
    save("i.idx", &b);
}

/* ---- work ---- */

omen_detail *reasons = &detail;
unsigned long n_told, told_most = ULONG_MAX;

static int tell(void *context, const char *stage, uint64_t done, uint64_t total)
{
    (void)context, (void)stage, (void)done, (void)total;
    return ++n_told > told_most;
}

static const omen_vectors_options with_progress = {.progress = tell};

static const char *const arrays[] = {"x=x.npy"};
static const omen_column_paths columns = {.table = "t.csv", .arrays = arrays, .n_arrays = 1, .tags = "g.txt"};
static const omen_column_paths other_columns = {.table = "t.jsonl"};

static omen_build_options options_of(bool graph)
{
    omen_build_options o;
    omen_build_options_init(&o);
    o.progress = tell;
    o.codec = OMEN_CODEC_RABITQ;
    o.refine = OMEN_REFINE_SQ16;
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
    omen_build_options o = options_of(true);
    o.refine = OMEN_REFINE_SQ8;
    paths.keys = "k.txt";
    paths.column_paths = &columns;
    paths.tune_queries = "q.csv";
    return omen_index_build_file(&paths, &o, &report, &info, &outcome, reasons);
}

static int build_parts(void)
{
    static const char *const inputs[] = {"parts/0.fvecs", "parts/1.fvecs"};
    omen_build_paths paths = paths_of(NULL, "out.omen");
    omen_build_options o = options_of(false);
    o.refine = OMEN_REFINE_F16;
    paths.inputs = inputs;
    paths.n_inputs = 2;
    paths.keys = "t.csv";
    paths.key_column = "a";
    paths.checkpoint_directory = "tmp";
    return omen_index_build_file(&paths, &o, &report, &info, &outcome, reasons);
}

static void swallow(void *context, const char *section, const char *text)
{
    (void)context, (void)section, (void)text;
}

static void swallow_damage(void *context, const char *section, uint64_t first, uint64_t n_bytes, const char *text)
{
    (void)context, (void)section, (void)first, (void)n_bytes, (void)text;
}

/* As npz and, where it can be written, HDF5. */
static int write_results(void)
{
    static const int64_t ids[] = {4, 2, 1, OMEN_NO_ROW, 3, 0};
    static const float distances[6] = {1, 2, 3, 4, 5, 6};
    const bool has_hdf5 = omen_hdf5_check(NULL) == OMEN_OK;
    int status = OMEN_OK;
    for (int i = 0; i < 1 + has_hdf5 && status == OMEN_OK; i++) {
        omen_results results = {.stream = tmpfile(),
                                .distances = tmpfile(),
                                .format = i == 0 ? OMEN_RESULTS_NPZ : OMEN_RESULTS_HDF5,
                                .with_distances = true,
                                .n_queries = 3,
                                .k = 2};
        omen_file file;
        FILE *stream = NULL;
        CHECK(results.stream && results.distances);
        status = omen_file_open(&file, i == 0 ? "out.npz" : "out.h5", OMEN_FILE_ANY, NULL, reasons);
        if (status == OMEN_OK)
            status = omen_results_begin(&results, reasons);
        if (status == OMEN_OK)
            status = omen_results_write(&results, 0, 3, ids, distances, reasons);
        if (status == OMEN_OK) {
            char name[32];
            snprintf(name, sizeof name, "/dev/fd/%d", file.fd);
            stream = fopen(name, "wb");
            CHECK(stream);
            status = omen_results_pack(&results, false, stream, reasons);
        }
        if (stream && fclose(stream) != 0 && status == OMEN_OK)
            status = omen_fail(reasons, OMEN_ERR_IO, "cannot write the results");
        if (status == OMEN_OK)
            status = omen_file_commit(&file, reasons);
        omen_file_close(&file);
        fclose(results.stream);
        fclose(results.distances);
    }
    return status;
}

static int open_index(void)
{
    static const char *const names[] = {"a.omen", "a.omz"};
    int status = OMEN_OK;
    for (int i = 0; i < 2 && status == OMEN_OK; i++) {
        omen_container *container = NULL;
        omen_index *index = NULL;
        status = omen_container_open(&container, names[i], reasons);
        if (status == OMEN_OK)
            status = omen_container_check(container, 1, swallow_damage, NULL, reasons);
        if (status == OMEN_OK)
            status = omen_container_open_index(&container, &index, names[i], UINT64_MAX, true, reasons);
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
                                .progress = tell,
                                .n_threads = 1};
    uint64_t n_file_bytes;
    return omen_attach_make(&attach, &n_file_bytes, &info, reasons);
}

static int train(void)
{
    static const char *const inputs[] = {"parts/0.fvecs", "parts/1.fvecs"};
    omen_build_paths paths = paths_of(NULL, "out.model");
    paths.checkpoint_directory = "tmp";
    const omen_build_options o = options_of(false);
    paths.inputs = inputs;
    paths.n_inputs = 2;
    paths.tune_queries = "q.csv";
    uint64_t identity;
    return omen_model_train_file(&paths, &o, &identity, &report, &outcome, reasons);
}

static int shard_of(const char *output, uint64_t number, uint64_t count)
{
    const omen_build_paths paths = paths_of(NULL, output);
    const omen_build_options o = options_of(false);
    omen_shard_info shard;
    bool was_there;
    return omen_shard_build_file(&paths, &o, "a.model", number, count, &was_there, &shard, &report, &outcome, reasons);
}

static int build_shard(void)
{
    const int status = shard_of("out.shard", 1, 2);
    return status == OMEN_OK ? shard_of("out.shard", 1, 2) : status; /* which is there already */
}

/* What an interrupted run leaves is continued. */
static void make_begun(int (*run)(void), unsigned long n_most)
{
    const unsigned long most = told_most;
    n_told = 0;
    told_most = n_most;
    const int status = run();
    CHECK_CASE(status == OMEN_ERR_INTERRUPTED, "%d, %s, told %lu times", status, detail.text, n_told);
    n_told = 0;
    told_most = most;
}

static int build_by_model(void)
{
    const omen_build_paths paths = paths_of("v.fvecs", "out.omen");
    const omen_build_options o = options_of(false);
    return omen_model_build_file(&paths, &o, "a.model", &report, &info, &outcome, reasons);
}

static int merge(void)
{
    static const char *const shards[] = {"1.shard", "0.shard"};
    omen_build_paths paths = paths_of(NULL, "out.omen");
    const omen_build_options o = options_of(true);
    bool lacks;
    paths.keys = "k.txt";
    return omen_shards_merge_file(&paths, &o, "a.model", shards, 2, &lacks, &report, &info, &outcome, reasons);
}

/* More shards than files that may be open: some are opened again whenever they are read. */
static char many_names[WORK_SHARDS][16];
const char *work_shards[WORK_SHARDS];

static void make_many(void)
{
    for (unsigned i = 0; i < WORK_SHARDS; i++) {
        snprintf(many_names[i], sizeof many_names[i], "%u.of.shard", i);
        work_shards[i] = many_names[i];
        CHECK_CASE(shard_of(many_names[i], i, WORK_SHARDS) == OMEN_OK, "%s", detail.text);
    }
}

int work_merge(const char *const *shards, size_t n)
{
    omen_build_paths paths = paths_of(NULL, "out.omen");
    const omen_build_options o = options_of(false);
    bool lacks;
    return omen_shards_merge_file(&paths, &o, "a.model", shards, n, &lacks, &report, &info, &outcome, reasons);
}

static int merge_many(void)
{
    struct rlimit was, few;
    CHECK(getrlimit(RLIMIT_NOFILE, &was) == 0);
    few = was;
    few.rlim_cur = WORK_SHARDS + 8; /* half of which is for shards */
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    const int status = work_merge(work_shards, WORK_SHARDS);
    CHECK(setrlimit(RLIMIT_NOFILE, &was) == 0);
    return status;
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
    int status = omen_model_open(&model, "a.model", tell, NULL, reasons);
    if (status == OMEN_OK)
        status = omen_model_check_source(&model, &paths, &o, swallow, NULL, reasons);
    if (status == OMEN_OK)
        status = omen_part_open_to_read(&part, "0.shard", reasons);
    if (status == OMEN_OK)
        status = omen_shard_check_source(part, &model, &paths, &o, swallow, NULL, reasons);
    omen_part_close(part);
    omen_model_close(&model);
    return status;
}

static const char *const unpacked[] = {"a.omen", "o.omen", "m.omen", "g.omen", "v.fvecs", "l.npy", "u.npy", "i.idx"};
#define N_UNPACKED (sizeof unpacked / sizeof *unpacked)

static const char *name_packed(size_t i)
{
    static char name[32];
    snprintf(name, sizeof name, "%.20s.omz", unpacked[i]);
    return name;
}

static int pack(void)
{
    int status = OMEN_OK;
    for (size_t i = 0; i < N_UNPACKED && status == OMEN_OK; i++) {
        const omen_omz_options o = {.level = 1, .n_threads = 1, .progress = tell};
        omen_omz_input *input = NULL;
        omen_writer *writer = NULL;
        status = omen_omz_input_open(&input, unpacked[i], NULL, 0, reasons);
        if (status == OMEN_OK)
            status = omen_writer_create(&writer, i == 0 ? "out.omz" : name_packed(i), reasons);
        if (status == OMEN_OK) {
            const omen_sink sink = omen_writer_sink(writer);
            status = omen_omz_compress(input, &o, &sink, reasons);
        }
        if (status == OMEN_OK)
            status = omen_writer_commit(writer, NULL, reasons);
        omen_writer_destroy(writer);
        omen_omz_input_close(input);
    }
    return status;
}

/* What was packed is the same file when it is unpacked. */
static void check_packed(void)
{
    for (size_t i = 1; i < N_UNPACKED; i++) {
        static char got[1 << 17], want[1 << 17];
        omen_container *container = NULL;
        omen_omz *omz = NULL;
        const int fd = memfd_create("unpacked", MFD_CLOEXEC), from = open(unpacked[i], O_RDONLY | O_CLOEXEC);
        CHECK_EQ_INT(omen_container_open(&container, name_packed(i), &detail), OMEN_OK);
        CHECK_EQ_INT(omen_omz_open(&omz, container, &detail), OMEN_OK);
        CHECK_EQ_INT(omen_omz_unpack_to(omz, fd, true, 1, NULL, NULL, &detail), OMEN_OK);
        const ssize_t n = pread(from, want, sizeof want, 0);
        CHECK_CASE(n > 0 && n < (ssize_t)sizeof want && pread(fd, got, sizeof got, 0) == n &&
                       !memcmp(got, want, (size_t)n),
                   "%s comes back as another file", unpacked[i]);
        omen_omz_close(omz);
        omen_container_close(container);
        close(fd);
        close(from);
    }
}

static int unpack(void)
{
    float row[DIM];
    omen_container *container = NULL;
    omen_omz *omz = NULL;
    omen_vectors *vectors = NULL;
    int status = omen_container_open(&container, "a.omz", reasons);
    if (status == OMEN_OK)
        status = omen_omz_open(&omz, container, reasons);
    if (status == OMEN_OK)
        status = omen_omz_check(omz, 1, swallow_damage, NULL);
    for (int is_new = 0; is_new < 2 && status == OMEN_OK; is_new++) {
        const int fd = memfd_create("unpacked", 0);
        status = omen_omz_unpack_to(omz, fd, is_new, 1, tell, NULL, reasons);
        close(fd);
    }
    omen_omz_close(omz);
    omen_container_close(container);
    if (status == OMEN_OK)
        status = omen_vectors_open(&vectors, "v.omz", &with_progress, reasons);
    if (status == OMEN_OK) {
        const omen_source source = omen_vectors_source(vectors);
        status = source.read(source.self, source.n_rows - 1, 1, row, reasons);
    }
    omen_vectors_close(vectors);
    return status;
}

static int read_several(void)
{
    float row[DIM];
    omen_paths paths = {.n = 0};
    omen_vectors *vectors = NULL;
    int status = omen_paths_read(&paths, "list", reasons);
    if (status == OMEN_OK)
        status = omen_paths_expand(&paths, false, reasons);
    if (status == OMEN_OK)
        status =
            omen_vectors_open_several(&vectors, (const char *const *)paths.names, paths.n, &with_progress, reasons);
    if (status == OMEN_OK) {
        const omen_source source = omen_vectors_source(vectors);
        for (uint64_t i = 0; i < source.n_rows && status == OMEN_OK; i += 31)
            status = source.read(source.self, i, 1, row, reasons);
    }
    omen_vectors_close(vectors);
    omen_paths_finish(&paths);
    return status;
}

static int read_one(const char *name)
{
    float row[DIM];
    omen_vectors *vectors = NULL;
    int status = omen_vectors_open(&vectors, name, &with_progress, reasons);
    if (status == OMEN_OK) {
        const omen_source source = omen_vectors_source(vectors);
        status = source.read(source.self, source.n_rows - 1, 1, row, reasons);
    }
    omen_vectors_close(vectors);
    return status;
}

static int read_packed(void)
{
    static const char *const names[] = {"v.fvecs.gz", "v.fvecs.zst", "q.csv", "q.jsonl"};
    int status = OMEN_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && status == OMEN_OK; i++)
        status = read_one(names[i]);
    return status;
}

/* Pipes with the bytes of these files, closed at the other end: of each one to be kept, and one to be taken as it
 * comes. */
static const char *const piped[] = {"v.fvecs", "v.fvecs.gz", "q.csv"};
#define N_PIPES (2 * sizeof piped / sizeof *piped)
static int pipes[N_PIPES];

static void make_pipes(void)
{
    for (size_t i = 0; i < N_PIPES; i++) {
        static char bytes[8192];
        int ends[2];
        const int fd = open(piped[i / 2], O_RDONLY | O_CLOEXEC);
        const ssize_t n = read(fd, bytes, sizeof bytes);
        CHECK(n > 0 && pipe2(ends, O_CLOEXEC) == 0 && write(ends[1], bytes, (size_t)n) == n);
        close(fd);
        close(ends[1]);
        if (pipes[i] > 0)
            close(pipes[i]);
        pipes[i] = ends[0];
    }
}

static int read_pipes(void)
{
    int status = OMEN_OK;
    for (size_t i = 0; i < N_PIPES && status == OMEN_OK; i++) {
        const omen_vectors_options options = {.format = i / 2 == 2 ? "csv" : "fvecs", .progress = tell};
        omen_vectors_stream *stream = NULL;
        omen_vectors *vectors = NULL;
        float row[DIM];
        uint64_t n = 1, n_rows = 0;
        char name[32];
        snprintf(name, sizeof name, "/dev/fd/%d", pipes[i]);
        if (i % 2)
            status = omen_vectors_stream_open(&stream, &vectors, name, &options, reasons);
        else
            status = omen_vectors_open(&vectors, name, &options, reasons);
        while (stream && status == OMEN_OK && n > 0) {
            status = omen_vectors_stream_next(stream, 1, NULL, NULL, row, &n, reasons);
            n_rows += n;
        }
        CHECK(status != OMEN_OK || (vectors ? omen_vectors_source(vectors).n_rows : n_rows) == N_ROWS);
        omen_vectors_stream_close(stream);
        omen_vectors_close(vectors);
    }
    return status;
}

static int read_others(void)
{
    omen_truth truth = {.n = 0};
    omen_columns *made = NULL;
    omen_row_keys *keys = NULL;
    int status = omen_truth_read(&truth, "n.ivecs", 0, reasons);
    omen_truth_finish(&truth);
    if (status == OMEN_OK)
        status = omen_columns_read(&made, &columns, N_ROWS, 0, reasons);
    omen_columns_destroy(made);
    if (status == OMEN_OK)
        status = omen_row_keys_read(&keys, "x.npy", N_ROWS, false, 0, 1, reasons);
    omen_row_keys_destroy(keys);
    return status;
}

/* Outputs that keep their names: written as they are made, or collected first; and copies. */
static int write_in_place(void)
{
    static const char text[] = "results";
    int status = OMEN_OK;
    for (int needs = OMEN_FILE_ANY; needs <= OMEN_FILE_SPOOLED && status == OMEN_OK;
         needs += OMEN_FILE_SPOOLED - OMEN_FILE_ANY) {
        omen_file file;
        status = omen_file_open(&file, "fifo", needs, NULL, reasons);
        if (status == OMEN_OK && omen_write_all(file.fd, text, sizeof text) != 0)
            status = omen_fail(reasons, OMEN_ERR_IO, "cannot write it");
        if (status == OMEN_OK)
            status = omen_file_commit(&file, reasons);
        omen_file_close(&file);
    }
    return status;
}

/* In the scratch directory, as all that is written to: where stat() is told to say that nothing is there, a new file
 * takes its place. */
static void make_fifo(void)
{
    static int fd; /* holds it open at both ends */
    if (fd > 0)
        close(fd);
    unlink("fifo");
    fd = mkfifo("fifo", 0600) == 0 ? open("fifo", O_RDWR | O_CLOEXEC | O_NONBLOCK) : -1;
    CHECK(fd >= 0);
}

/* With the permissions and times of another file, where those can be had. */
static int write_like(void)
{
    struct stat like;
    omen_file file;
    memset(&like, 0, sizeof like);
    like.st_mode = 0640;
    int status = omen_file_open(&file, "out.like", OMEN_FILE_ANY, &like, reasons);
    if (status == OMEN_OK && omen_write_all(file.fd, "like", 4) != 0)
        status = omen_fail(reasons, OMEN_ERR_IO, "cannot write it");
    if (status == OMEN_OK)
        status = omen_file_commit(&file, reasons);
    omen_file_close(&file);
    return status;
}

static int source_fd; /* what is copied */

static void open_source(void)
{
    if (source_fd > 0)
        close(source_fd);
    source_fd = open("v.fvecs", O_RDONLY | O_CLOEXEC);
}

static int copy(void)
{
    return omen_file_copy(source_fd, "v.fvecs", N_ROWS * (DIM + 1) * 4, "out.fvecs", tell, NULL, reasons);
}

int work_fill_scratch(void)
{
    omen_scratch_files files = {.path = "out.omen"};
    const omen_scratch scratch = omen_scratch_files_of(&files);
    int status = OMEN_OK;
    for (size_t i = 0; i < 3 && status == OMEN_OK; i++) {
        const size_t n_bytes = i * 100000;
        void *memory;
        status = scratch.take(scratch.self, n_bytes, &memory, reasons);
        if (status == OMEN_OK)
            memset(memory, 17, n_bytes);
    }
    omen_scratch_files_close(&files);
    return status;
}

const work works[] = {
    {"build", build_whole, "out.omen", "a.omen"},
    {"build of parts", build_parts, "out.omen", "o.omen"},
    {"build that goes on", build_parts, "out.omen", NULL},
    {"attach", attach_all, "out.omen", "g.omen"},
    {"train", train, "out.model", "a.model"},
    {"shard", build_shard, "out.shard", "1.shard"},
    {"shard that goes on", build_shard, "out.shard", NULL},
    {"build by a model", build_by_model, "out.omen", NULL},
    {"merge", merge, "out.omen", "m.omen"},
    {"merge of many", merge_many, "out.omen", "n.omen"},
    {"model and inputs", check_shard, NULL, NULL},
    {"compress", pack, "out.omz", "a.omz"},
    {"results", write_results, "out.npz", NULL},
    {"open", open_index, NULL, NULL},
    {"unpack", unpack, NULL, NULL},
    {"several inputs", read_several, NULL, NULL},
    {"scratch files", work_fill_scratch, NULL, NULL},
    {"packed inputs", read_packed, NULL, NULL},
    {"pipes", read_pipes, NULL, NULL},
    {"other inputs", read_others, NULL, NULL},
    {"in place", write_in_place, NULL, NULL},
    {"copy", copy, "out.fvecs", NULL},
    {"attributes", write_like, NULL, NULL},
    {NULL, NULL, NULL, NULL},
};

bool work_tells(const work *w)
{
    return w->run != unpack && w->run != open_index;
}

void work_clean(const work *w)
{
    static const char *const ends[] = {"", ".tmp", ".part", ".whole.part"};
    char name[64];
    glob_t checkpoints; /* of some are here */
    if (glob("tmp/*", 0, NULL, &checkpoints) == 0)
        for (size_t i = 0; i < checkpoints.gl_pathc; i++)
            unlink(checkpoints.gl_pathv[i]);
    globfree(&checkpoints);
    for (size_t i = 0; w->output && i < sizeof ends / sizeof *ends; i++) {
        snprintf(name, sizeof name, "%s%s", w->output, ends[i]);
        unlink(name);
    }
    if (strcmp(w->name, "build that goes on") == 0)
        make_begun(build_parts, 300);
    if (strcmp(w->name, "shard that goes on") == 0)
        make_begun(build_shard, 20);
    if (w->run == read_pipes)
        make_pipes();
    if (w->run == write_in_place)
        make_fifo();
    if (w->run == copy)
        open_source();
}

void work_keep(const work *w)
{
    work_clean(w);
    if (!w->kept)
        return;
    CHECK_CASE(w->run() == OMEN_OK, "%s", detail.text);
    CHECK(rename(w->output, w->kept) == 0);
    if (w->run == train)
        make_many();
    if (w->run == train)
        CHECK_CASE(shard_of("0.shard", 0, 2) == OMEN_OK, "%s", detail.text);
    if (w->run == pack) {
        check_packed();
        CHECK(rename("v.fvecs.omz", "v.omz") == 0);
    }
}
