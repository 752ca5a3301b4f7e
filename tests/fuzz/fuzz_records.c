/* SPDX-License-Identifier: Apache-2.0 */
/* Records that say anything, checksums right: of a build, of a model and its shards, of query --self. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "formats/shards.h"
#include "tests/fuzz/fuzz.h"

#define N_ROWS 48u
#define D      3u

static void tell_fault(void *context, const char *section, const char *text)
{
    FUZZ_REQUIRE(false, "%s: the index is not sound: %s: %s", (const char *)context, section, text);
}

/* What a build that succeeded has made is what verify calls sound. */
static void check_index(const char *name)
{
    omen_container *container = NULL;
    omen_index *index = NULL;
    omen_detail why = {""};

    FUZZ_REQUIRE(omen_container_open(&container, name, &why) == OMEN_OK &&
                     omen_container_open_index(&container, &index, name, UINT64_MAX, true, &why) == OMEN_OK,
                 "%s", why.text);
    FUZZ_REQUIRE(omen_index_check(index, tell_fault, (void *)name) == OMEN_OK, "%s", name);
    omen_index_close(index);
    omen_container_close(container);
}

/* ---- checkpoints of builds ---- */

static float values[N_ROWS * D];

static int read_rows(void *self, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    (void)self, (void)why;
    memcpy(out, values + first * D, n * D * sizeof *values);
    return OMEN_OK;
}

static omen_source rows_source(void)
{
    for (uint32_t i = 0; i < N_ROWS * D; i++)
        values[i] = (float)(i * 2654435761u >> 24) / 16 + (float)(i % 7);
    return (omen_source){.n_rows = N_ROWS, .d = D, .element_bytes = 4, .n_bytes = sizeof values, .read = read_rows};
}

/* The builds, by number. */
static omen_build_options options_of(uint32_t number)
{
    static const struct {
        omen_metric metric;
        omen_codec codec;
        omen_refine refine;
        uint32_t degree; /* of a graph; 0: none */
    } kinds[] = {{OMEN_METRIC_L2, OMEN_CODEC_PQ, OMEN_REFINE_SQ8, 0},
                 {OMEN_METRIC_IP, OMEN_CODEC_RABITQ, OMEN_REFINE_F16, 0},
                 {OMEN_METRIC_COSINE, OMEN_CODEC_PQ, OMEN_REFINE_SQ12, 9},
                 {OMEN_METRIC_L2, OMEN_CODEC_NONE, OMEN_REFINE_F32, 8}};
    omen_build_options options;

    number %= sizeof kinds / sizeof *kinds;
    omen_build_options_init(&options);
    options.metric = kinds[number].metric;
    options.codec = kinds[number].codec;
    options.refine = kinds[number].refine;
    options.graph.wanted = kinds[number].degree > 0;
    options.graph.degree = kinds[number].degree;
    options.bytes = 6;
    options.lists.n = 4;
    options.n_threads = 1;
    options.chunk_rows = 20;
    return options;
}

static int build(const omen_build_options *options, omen_detail *why)
{
    const omen_source source = rows_source();
    omen_writer *writer = NULL;
    omen_part *part = NULL;
    int status = omen_part_open(&part, "out.omen", false, why);

    if (status == OMEN_OK)
        status = omen_writer_create(&writer, "out.omen", why);
    if (status == OMEN_OK) {
        const omen_checkpoint checkpoint = omen_part_checkpoint(part);
        const omen_sink sink = omen_writer_sink(writer);

        status = omen_index_build(&source, options, &sink, &checkpoint, NULL, why);
    }
    if (status == OMEN_OK)
        status = omen_writer_commit(writer, NULL, why);
    omen_writer_destroy(writer);
    omen_part_close(part);
    return status;
}

void fuzz_resume(const uint8_t *data, size_t n_bytes)
{
    fuzz_part parts[FUZZ_MAX_PARTS];
    const size_t n = fuzz_parts(data, n_bytes, parts);
    const omen_build_options options = options_of(n > 0 ? parts[0].flags : 0);
    omen_detail why = {""};

    fuzz_write_records("out.omen.part", 0, parts, n, 0);
    fuzz_limit_memory(n_bytes);
    const int code = fuzz_command("info out.omen.part"), status = build(&options, &why);

    FUZZ_REQUIRE(status == OMEN_OK || status == OMEN_ERR_ARGUMENT || status == OMEN_ERR_INPUT ||
                     status == OMEN_ERR_CORRUPT,
                 "%d: %s", status, why.text);
    FUZZ_REQUIRE(code == 0 || code == 3, "info exits %d", code);
    if (status == OMEN_OK)
        check_index("out.omen");
    fuzz_lift_limit();
    remove("out.omen");
    remove("out.omen.part");
}

/* Ends a build at the stage that context names. */
static int stop_at(void *context, const char *stage, uint64_t done, uint64_t total)
{
    (void)done, (void)total;
    return strcmp(stage, context) == 0;
}

static bool was_resumed;

static void note_resumed(void *context, const char *stage, uint64_t row, uint64_t n_rows)
{
    (void)context, (void)stage, (void)row, (void)n_rows;
    was_resumed = true;
}

/* Gives the records of a file as parts: flags are those of the first. */
static size_t load_records(const char *name, uint32_t element, uint32_t flags, fuzz_part *parts, uint8_t **file)
{
    size_t n_bytes;

    *file = fuzz_read(name, &n_bytes);
    FUZZ_REQUIRE(*file, "%s: %s", name, strerror(errno));
    const size_t n = fuzz_record_parts(*file, n_bytes, element, parts);

    FUZZ_REQUIRE(n > 0, "%s has no records", name);
    parts[0].flags = flags;
    return n;
}

/* A model whose axes are all the same one, which is of unit length: the mean and they are the last arrays but for a
 * centre. */
static void seed_equal_axes(fuzz_part *parts, size_t n)
{
    const fuzz_part was = parts[1];
    uint8_t *payload = malloc(was.n_bytes), *joined;
    uint32_t counts[3]; /* d, d_full, d_kept */
    size_t n_bytes;

    FUZZ_REQUIRE(payload && was.id == OMEN_RECORD_TRANSFORM && was.n_bytes > 64, "record %u", was.id);
    memcpy(payload, was.data, was.n_bytes);
    memcpy(counts, payload + 8, sizeof counts);
    uint8_t *axes = payload + 56 + 4 * counts[1];

    FUZZ_REQUIRE(axes + 4 * counts[1] * counts[2] <= payload + was.n_bytes && counts[2] > 1, "%zu bytes", was.n_bytes);
    for (uint32_t i = 1; i < counts[2]; i++)
        memcpy(axes + 4 * counts[1] * i, axes, 4 * counts[1]);
    parts[1].data = payload;
    joined = fuzz_parts_join(parts, n, &n_bytes);
    fuzz_seed(joined, n_bytes);
    free(joined);
    free(payload);
    parts[1] = was;
}

void fuzz_resume_seeds(void)
{
    for (uint32_t i = 0; i < 4; i++) {
        omen_build_options options = options_of(i);
        fuzz_part parts[FUZZ_MAX_PARTS];
        omen_detail why = {""};
        uint8_t *file, *joined;
        size_t n_bytes;

        options.progress = stop_at; /* all records are there then */
        options.progress_context = options.graph.wanted ? "calibrate" : "order";
        FUZZ_REQUIRE(build(&options, &why) == OMEN_ERR_INTERRUPTED, "%s", why.text);
        const size_t n = load_records("out.omen.part", 0, i, parts, &file);

        for (size_t kept = n; kept > 2; kept -= 2) { /* with fewer runs, and fewer models */
            joined = fuzz_parts_join(parts, kept, &n_bytes);
            fuzz_seed(joined, n_bytes);
            free(joined);
        }
        seed_equal_axes(parts, n);
        /* what this file writes is continued */
        fuzz_write_records("out.omen.part", 0, parts, n, 0);
        options.progress = NULL;
        options.resumed = note_resumed;
        was_resumed = false;
        FUZZ_REQUIRE(build(&options, &why) == OMEN_OK && was_resumed, "%s", why.text);
        free(file);
        remove("out.omen.part");
    }
}

/* ---- models and shards ---- */

#define N_SHARDS 2u
static const char *const shard_names[N_SHARDS] = {"0.shard", "1.shard"};
static const omen_build_paths merge_paths = {
    .struct_bytes = sizeof merge_paths, .input = "base.fvecs", .output = "out.omen"};

static void keep_base(void)
{
    static bool is_kept;

    if (is_kept)
        return;
    fuzz_make_vectors("base.fvecs", N_ROWS, D);
    fuzz_keep("base.fvecs");
    is_kept = true;
}

/* The model is part 0, shards are parts 1 and 2. Their heads get the model's identity, but for one in eight. */
void fuzz_shards(const uint8_t *data, size_t n_bytes)
{
    fuzz_part parts[FUZZ_MAX_PARTS];
    const size_t n = fuzz_parts(data, n_bytes, parts);
    uint8_t heads[N_SHARDS][256];
    omen_build_outcome outcome = {.struct_bytes = sizeof outcome};
    omen_build_options options = options_of(0);
    omen_part *model = NULL;
    omen_detail why = {""};
    bool lacks_shards, has_head[N_SHARDS] = {false};

    keep_base();
    fuzz_write_records("x.model", OMEN_PART_MODEL, parts, n, 0);
    fuzz_limit_memory(n_bytes);
    if (omen_part_open_to_read(&model, "x.model", &why) == OMEN_OK) {
        const uint64_t identity = omen_model_identity(model);

        for (size_t i = 0; i < n && omen_checksum(data, n_bytes) % 8 > 0; i++) {
            const uint32_t shard = parts[i].element - 1;

            if (shard < N_SHARDS && !has_head[shard] && parts[i].n_bytes >= 8 && parts[i].n_bytes <= sizeof heads[0]) {
                has_head[shard] = true;
                memcpy(heads[shard], parts[i].data, parts[i].n_bytes);
                memcpy(heads[shard], &identity, 8);
                parts[i].data = heads[shard];
            }
        }
    }
    omen_part_close(model);
    for (uint32_t i = 0; i < N_SHARDS; i++)
        fuzz_write_records(shard_names[i], OMEN_PART_SHARD, parts, n, i + 1);
    const int code = fuzz_command("info x.model 0.shard 1.shard");
    const int status = omen_shards_merge_file(&merge_paths, &options, "x.model", shard_names, N_SHARDS, &lacks_shards,
                                              NULL, NULL, &outcome, &why);

    FUZZ_REQUIRE(code == 0 || code == 2 || code == 3, "info exits %d", code);
    FUZZ_REQUIRE(status == OMEN_OK || why.text[0] != '\0', "a failure without a reason: %d", status);
    FUZZ_REQUIRE(status != OMEN_ERR_MEMORY && status != OMEN_ERR_INTERRUPTED, "%d: %s", status, why.text);
    if (status == OMEN_OK)
        check_index("out.omen");
    fuzz_lift_limit();
    remove("out.omen");
    remove("out.omen.part");
}

void fuzz_shards_seeds(void)
{
    static const char *const kinds[] = {"-c pq -r sq8", "-c rabitq -r f16 -m ip"};

    keep_base();
    for (size_t i = 0; i < 2; i++) {
        fuzz_part parts[FUZZ_MAX_PARTS];
        uint8_t *files[1 + N_SHARDS], *joined;
        char command[128];
        size_t n_bytes;

        snprintf(command, sizeof command, "train -q -t 1 -b 6 -l 4 %s -o a.model base.fvecs", kinds[i]);
        FUZZ_REQUIRE(fuzz_command(command) == 0 &&
                         fuzz_command("build -q -t 1 --model a.model --shard 0/2 -o a.shard base.fvecs") == 0 &&
                         fuzz_command("build -q -t 1 --model a.model --shard 1/2 -o b.shard base.fvecs") == 0,
                     "%s", command);
        size_t n = load_records("a.model", 0, 0, parts, &files[0]);

        n += load_records("a.shard", 1, 0, parts + n, &files[1]);
        n += load_records("b.shard", 2, 0, parts + n, &files[2]);
        joined = fuzz_parts_join(parts, n, &n_bytes);
        fuzz_seed(joined, n_bytes);
        free(joined);
        for (size_t j = 0; j < 1 + N_SHARDS; j++)
            free(files[j]);
        fuzz_clean();
    }
}

/* ---- query --self ---- */

static const char *const self_commands[] = {
    "query -q -t 1 --self --chunk-rows 9 -k 3 -F tsv --distances -o out self.omen",
    "query -q -t 1 --self --chunk-rows 9 --within 4 -F tsv --distances -o out self.omen",
    "query -q -t 1 --self --chunk-rows 9 --within 4 --pairs -F tsv --distances -o out self.omen"};
#define N_SELF (sizeof self_commands / sizeof *self_commands)

static void keep_self(void)
{
    const fuzz_recipe recipe = {.n = 30, .d = 3, .codec = OMEN_CODEC_PQ, .refine = OMEN_REFINE_F32};
    static bool is_kept;

    if (is_kept)
        return;
    fuzz_make_index("self.omen", &recipe);
    fuzz_keep("self.omen");
    is_kept = true;
}

/* Rows that exist, rising; what each found nearest first. */
static void check_results(void)
{
    FILE *file = fopen("out", "r");
    unsigned row, rank, neighbour, last_row = 0, last_rank = 0;
    float distance, last_distance = 0;
    bool is_first = true;

    FUZZ_REQUIRE(file, "no results: %s", strerror(errno));
    while (fscanf(file, "%u\t%u\t%u\t%f\n", &row, &rank, &neighbour, &distance) == 4) {
        FUZZ_REQUIRE(row < 30 && neighbour < 30 && isfinite(distance), "%u %u %g", row, neighbour, (double)distance);
        FUZZ_REQUIRE(is_first || row > last_row ||
                         (row == last_row && rank == last_rank + 1 && distance >= last_distance),
                     "%u %u behind %u %u", row, rank, last_row, last_rank);
        last_row = row, last_rank = rank, last_distance = distance, is_first = false;
    }
    FUZZ_REQUIRE(feof(file), "row %u", last_row);
    fclose(file);
}

void fuzz_self(const uint8_t *data, size_t n_bytes)
{
    fuzz_part parts[FUZZ_MAX_PARTS];
    const size_t n = fuzz_parts(data, n_bytes, parts);
    const uint32_t which = n > 0 ? parts[0].flags % N_SELF : 0;

    keep_self();
    fuzz_write_records("out.part", 0, parts, n, 0);
    fuzz_limit_memory(n_bytes);
    const int code_of_info = fuzz_command("info out.part"), code = fuzz_command(self_commands[which]);

    FUZZ_REQUIRE(code_of_info == 0 || code_of_info == 3, "info exits %d", code_of_info);
    FUZZ_REQUIRE(code == 0 || code == 2 || code == 3, "query exits %d", code);
    if (code == 0 && which < 2)
        check_results();
    fuzz_lift_limit();
    remove("out");
    remove("out.part");
}

void fuzz_self_seeds(void)
{
    keep_self();
    for (uint32_t i = 0; i < N_SELF; i++) {
        fuzz_part parts[FUZZ_MAX_PARTS];
        uint8_t *file, *joined;
        char name[40];
        size_t n_bytes;

        /* a run that ends well removes the file, but not what is open */
        fuzz_write_records("out.part", 0, NULL, 0, 0);
        const int fd = open("out.part", O_RDONLY | O_CLOEXEC);

        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        FUZZ_REQUIRE(fuzz_command(self_commands[i]) == 0, "%s", self_commands[i]);
        const size_t n = load_records(name, 0, i, parts, &file);

        close(fd);
        for (size_t kept = n; kept > 1; kept = kept / 2) {
            joined = fuzz_parts_join(parts, kept, &n_bytes);
            fuzz_seed(joined, n_bytes);
            free(joined);
        }
        free(file);
        fuzz_clean();
    }
}
