/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a new index of the sections of another one and of what is attached to it. */
#include "formats/attach.h"

#include <string.h>

#include "formats/container.h"
#include "formats/key_source.h"
#include "formats/scratch_files.h"

#define MOST_SECTIONS    32u /* of an index without keys and columns; a sink that has more is refused */
#define GRAPH_CODE_BYTES 64u
#define COPY_BLOCKS      256u /* of OMEN_CHECK_BYTES, copied between two looks at who is told */

/* Both indexes while the new one is made. */
typedef struct {
    const omen_attach *attach;
    omen_container *container;
    omen_index *index;
    omen_row_keys *keys;
    omen_columns *columns;
    omen_writer *writer;
    omen_vectors *tune_vectors;
    omen_scratch_files scratch_files;
    omen_scratch scratch;
    uint32_t written[MOST_SECTIONS]; /* sections of the rows and their graph */
    size_t n_written;
    omen_detail *why;
} attaching;

/* What may be attached, in the order in which a build writes it. */
typedef enum { PART_ROWS, PART_GRAPH, PART_EFFORTS, PART_GRAPH_EFFORTS, PART_KEYS, PART_COLUMNS, N_PARTS } part;

static part part_of(uint32_t id)
{
    if (id == OMEN_SECTION_KEYS || id == OMEN_SECTION_KEYV || id == OMEN_SECTION_KEYO || id == OMEN_SECTION_KEYI)
        return PART_KEYS;
    if (id == OMEN_SECTION_GDIM || id == OMEN_SECTION_GSCL || id == OMEN_SECTION_GCOD || id == OMEN_SECTION_GADJ ||
        id == OMEN_SECTION_GENT || id == OMEN_SECTION_GECD)
        return PART_GRAPH;
    if (id == OMEN_SECTION_TUNE || id == OMEN_SECTION_ATUN)
        return PART_EFFORTS;
    if (id == OMEN_SECTION_GTUN)
        return PART_GRAPH_EFFORTS;
    return id == OMEN_SECTION_COLS || id == OMEN_SECTION_CVAL ? PART_COLUMNS : PART_ROWS;
}

/* Whether a section gives way to what is attached. */
static bool is_replaced(const attaching *a, uint32_t id)
{
    const part p = part_of(id);
    return (p == PART_KEYS && a->keys) || (p == PART_COLUMNS && a->columns) ||
           ((p == PART_GRAPH || p == PART_GRAPH_EFFORTS) && a->attach->graph);
}

static uint32_t graph_degree(const omen_attach *attach)
{
    return attach->degree ? attach->degree : OMEN_DEFAULT_DEGREE;
}

/* ---- opening ---- */

/* The queries to tune for. */
static int open_queries(attaching *a, const omen_index_info *info)
{
    const int status = omen_vectors_open(&a->tune_vectors, a->attach->tune_queries, NULL, a->why);
    if (status != OMEN_OK)
        return status;
    const omen_source source = omen_vectors_source(a->tune_vectors);
    if (source.d != info->d || source.n_rows < 1)
        return omen_fail(a->why, OMEN_ERR_INPUT, "\"%s\": the queries to tune for have %u dimensions, the index %u",
                         a->attach->tune_queries, source.d, info->d);
    return OMEN_OK;
}

/* Refuses columns that lack one of the index, which would be gone. */
static int check_columns(const attaching *a, const omen_index_info *info)
{
    int status = OMEN_OK;

    for (uint32_t i = 0; i < info->n_columns && status == OMEN_OK; i++) {
        omen_column_info column = {.struct_bytes = sizeof column};
        const char *name;
        bool is_there = false;

        status = omen_index_get_column(a->index, i, &column);
        for (uint32_t j = 0; status == OMEN_OK && !is_there && (name = omen_columns_name(a->columns, j)); j++)
            is_there = strlen(name) == column.name_bytes && memcmp(name, column.name, column.name_bytes) == 0;
        if (status == OMEN_OK && !is_there) {
            status =
                omen_fail(a->why, OMEN_ERR_INPUT,
                          "\"%s\" has the column \"%.*s\" (%s), which would be lost: attach it again beside "
                          "the others, or see options.drop_columns",
                          a->attach->input, (int)column.name_bytes, column.name, omen_column_type_name(column.type));
        }
    }
    return status;
}

static int open_all(attaching *a)
{
    const omen_attach *attach = a->attach;
    const uint64_t memory_bytes = attach->memory_bytes > 0 ? attach->memory_bytes : UINT64_MAX;
    omen_index_info info = {.struct_bytes = sizeof info};
    uint64_t n_bytes = 0, key_bytes = 0;
    size_t n_sections;

    int status = omen_container_open(&a->container, attach->input, a->why);
    if (status == OMEN_OK)
        status = omen_container_open_index(&a->container, &a->index, attach->input, memory_bytes, true, a->why);
    if (status == OMEN_OK)
        status = omen_index_get_info(a->index, &info);
    if (status == OMEN_OK && attach->keys) {
        const omen_key_source source = {attach->keys, attach->key_column, attach->columns, attach->allow_duplicates};
        status = omen_row_keys_read_of(&a->keys, &source, info.n_rows, attach->memory_bytes, attach->n_threads, a->why);
    }
    if (status == OMEN_OK && attach->columns)
        status = omen_columns_read(&a->columns, attach->columns, info.n_rows, attach->memory_bytes, a->why);
    if (status == OMEN_OK && attach->tune_queries)
        status = open_queries(a, &info);
    if (status == OMEN_OK && a->columns && !attach->drop_columns)
        status = check_columns(a, &info);
    if (status != OMEN_OK)
        return status;
    const omen_section *sections = omen_container_sections(a->container, &n_sections);
    for (size_t i = 0; i < n_sections; i++)
        n_bytes += is_replaced(a, sections[i].id) ? 0 : sections[i].n_bytes;
    if (a->keys)
        omen_row_keys_sizes(info.n_rows, omen_row_keys_text_bytes(a->keys), NULL, NULL, &key_bytes);
    n_bytes += key_bytes + omen_columns_bytes(a->columns);
    if (attach->graph)
        n_bytes += info.n_rows * (GRAPH_CODE_BYTES + 4 * (uint64_t)graph_degree(attach));
    return omen_disk_check(attach->output, n_bytes + n_bytes / 256, a->why);
}

/* ---- writing ---- */

static int copy_section(const attaching *a, const omen_sink *sink, const omen_section *section, uint64_t *done,
                        uint64_t total)
{
    const omen_attach *attach = a->attach;
    int status = sink->begin(sink->self, section->id, section->element, section->optional, a->why);
    for (uint64_t at = 0, n; status == OMEN_OK && at < section->n_bytes; at += n) {
        const uint64_t left = section->n_bytes - at, most = (uint64_t)COPY_BLOCKS * OMEN_CHECK_BYTES;
        n = left < most ? left : most;
        if (section->check) {
            status =
                section->check(section, at / OMEN_CHECK_BYTES, (n + OMEN_CHECK_BYTES - 1) / OMEN_CHECK_BYTES, a->why);
        }
        if (status == OMEN_OK)
            status = sink->append(sink->self, (const char *)section->data + at, n, a->why);
        *done += n;
        if (status == OMEN_OK && attach->progress && attach->progress(attach->context, "copy", *done, total) != 0)
            status = omen_fail(a->why, OMEN_ERR_INTERRUPTED, "interrupted");
    }
    return status == OMEN_OK ? sink->finish(sink->self, a->why) : status;
}

/* Copies a section; those of the rows are remembered for what reads them back. */
static int copy_part(attaching *a, const omen_sink *sink, part p, const omen_section *section, uint64_t *done,
                     uint64_t total)
{
    if (p < PART_KEYS && a->attach->graph) {
        if (a->n_written == MOST_SECTIONS)
            return omen_fail(a->why, OMEN_ERR_CORRUPT, "more sections than an index has");
        a->written[a->n_written++] = section->id;
    }
    return copy_section(a, sink, section, done, total);
}

/* Writes the graph, or what effort it takes. */
static int write_graph(attaching *a, const omen_sink *sink, part p)
{
    static const uint32_t graph[] = {OMEN_SECTION_GDIM, OMEN_SECTION_GSCL, OMEN_SECTION_GCOD,
                                     OMEN_SECTION_GADJ, OMEN_SECTION_GENT, OMEN_SECTION_GECD};
    const size_t n_graph = sizeof graph / sizeof *graph;
    omen_build_options options;
    omen_source queries;

    omen_build_options_init(&options);
    if (a->tune_vectors) {
        queries = omen_vectors_source(a->tune_vectors);
        options.tune_queries = &queries;
    }
    options.graph.wanted = true;
    options.graph.degree = a->attach->degree;
    options.n_threads = a->attach->n_threads;
    options.memory_bytes = a->attach->memory_bytes;
    options.scratch = &a->scratch;
    options.progress = a->attach->progress;
    options.progress_context = a->attach->context;
    if (p == PART_GRAPH_EFFORTS)
        return omen_graph_measure_efforts(a->written, a->n_written, &options, sink, a->why);
    if (a->n_written + n_graph > MOST_SECTIONS)
        return omen_fail(a->why, OMEN_ERR_CORRUPT, "more sections than an index has");
    const int status = omen_graph_add(a->written, a->n_written, &options, sink, a->why);
    for (size_t i = 0; i < n_graph; i++)
        a->written[a->n_written++] = graph[i];
    return status;
}

/* Writes what is attached of a part. */
static int write_attached(attaching *a, const omen_sink *sink, part p)
{
    omen_section perm;
    if ((p == PART_GRAPH || p == PART_GRAPH_EFFORTS) && a->attach->graph)
        return write_graph(a, sink, p);
    if (p == PART_KEYS && a->keys)
        return omen_row_keys_write(a->keys, sink, a->attach->progress, a->attach->context, a->why);
    if (p != PART_COLUMNS || !a->columns)
        return OMEN_OK;
    const int status = sink->map(sink->self, OMEN_SECTION_PERM, &perm, a->why);
    return status == OMEN_OK
               ? omen_columns_write(a->columns, &perm, sink, a->attach->progress, a->attach->context, a->why)
               : status;
}

static int write_all(attaching *a)
{
    const omen_sink sink = omen_writer_sink(a->writer);
    size_t n_sections;
    const omen_section *sections = omen_container_sections(a->container, &n_sections);
    uint64_t done = 0, total = 0;

    for (size_t i = 0; i < n_sections; i++)
        total += is_replaced(a, sections[i].id) ? 0 : sections[i].n_bytes;
    int status = sink.start(sink.self, omen_container_identity(a->container), a->why);
    for (part p = 0; p < N_PARTS && status == OMEN_OK; p++) {
        for (size_t i = 0; i < n_sections && status == OMEN_OK; i++)
            if (part_of(sections[i].id) == p && !is_replaced(a, sections[i].id))
                status = copy_part(a, &sink, p, &sections[i], &done, total);
        if (status == OMEN_OK)
            status = write_attached(a, &sink, p);
    }
    return status;
}

/* Opens the file that was written: it has to be an index, and says what it is. */
static int read_back(const attaching *a, omen_index_info *info)
{
    omen_container *container = NULL;
    omen_index *index = NULL;
    int status = omen_writer_open(a->writer, &container, a->why);

    if (status == OMEN_OK)
        status = omen_container_open_index(&container, &index, a->attach->output, UINT64_MAX, true, a->why);
    if (status == OMEN_OK)
        status = omen_index_get_info(index, info);
    omen_index_close(index);
    omen_container_close(container);
    return status;
}

int omen_attach_make(const omen_attach *attach, uint64_t *n_file_bytes, omen_index_info *info, omen_detail *why)
{
    attaching a = {.attach = attach, .why = why, .scratch_files.path = attach->output};

    a.scratch = omen_scratch_files_of(&a.scratch_files);
    int status = open_all(&a);

    if (status == OMEN_OK)
        status = omen_writer_create(&a.writer, attach->output, why);
    if (status == OMEN_OK)
        status = write_all(&a);
    if (status == OMEN_OK)
        status = omen_writer_commit(a.writer, n_file_bytes, why);
    if (status == OMEN_OK)
        status = read_back(&a, info);
    omen_writer_destroy(a.writer);
    omen_scratch_files_close(&a.scratch_files);
    omen_vectors_close(a.tune_vectors);
    omen_row_keys_destroy(a.keys);
    omen_columns_destroy(a.columns);
    omen_index_close(a.index);
    omen_container_close(a.container);
    return status;
}
