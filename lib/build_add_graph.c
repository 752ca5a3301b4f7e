/* SPDX-License-Identifier: Apache-2.0 */
/* A graph added to an index that there is: the stages of the build that make it, on sections that have been copied. */
#include <omp.h>
#include <stdlib.h>

#include "lib/build_state.h"
#include "lib/graph/graph.h"
#include "lib/matrix.h"
#include "lib/sized.h"

/* The rows of an index in their order, as its refine tier has them. */
typedef struct {
    omen_index *index;
    uint32_t *positions; /* n_rows, by number */
} index_source;

static int read_rows(void *self, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    const index_source *s = self;
    return omen_index_read_rows(s->index, s->positions + first, n, out, why);
}

static int index_source_init(index_source *s, omen_build_state *b)
{
    s->positions = NULL;
    int status = omen_build_open_index(b, &s->index);
    if (status != OMEN_OK)
        return status;
    const uint64_t n = s->index->meta.n_rows;
    s->positions = omen_alloc_zero(n, sizeof *s->positions);
    if (!s->positions)
        return OMEN_ERR_MEMORY;
    for (uint64_t i = 0; i < n; i++) {
        if (s->index->ids[i] >= n)
            return omen_fail(b->why, OMEN_ERR_CORRUPT, "section PERM: row %u does not exist", s->index->ids[i]);
        s->positions[s->index->ids[i]] = (uint32_t)i;
    }
    return OMEN_OK;
}

static void index_source_finish(index_source *s)
{
    free(s->positions);
    omen_index_close(s->index);
}

/* Whether the index can have a graph, and the memory for it is there. */
static int check(omen_build_state *b, const omen_index *index)
{
    const omen_build_options *o = b->options;
    const int n_threads = b->n_threads;
    omen_detail *why = b->why;
    const omen_meta *m = &index->meta;
    const uint32_t degree = o->graph.degree ? o->graph.degree : OMEN_DEFAULT_DEGREE;
    if (degree < OMEN_MIN_DEGREE || degree > OMEN_MAX_DEGREE)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "options.graph.degree must be %u to %u", OMEN_MIN_DEGREE,
                         OMEN_MAX_DEGREE);
    if (m->refine == OMEN_REFINE_NONE)
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "options.graph.wanted needs a refine tier, which this index was built without");
    if (!index->ids)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "options.graph.wanted: codes without row numbers have no graph");
    if (m->n_rows > OMEN_GRAPH_MOST_ROWS)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "options.graph.wanted: a graph has at most %u rows",
                         OMEN_GRAPH_MOST_ROWS);
    uint64_t truth, passing, of_rows;
    uint64_t making = omen_graph_build_bytes(m->n_rows, m->d_kept, degree, n_threads, &of_rows);
    omen_calibration_bytes(m->n_rows, m->d, &truth, &passing);
    const uint64_t exact =
        (uint64_t)n_threads * (omen_search_exact_bytes(m->d, OMEN_NEIGHBOURS_MOST) +
                               2 * omen_neighbours_most_queries(m->n_rows, m->d) * 8 * 2 * OMEN_NEIGHBOURS_MOST);
    passing = (passing > exact ? passing : exact) + omen_neighbours_bytes(m->n_rows, m->d);
    const uint64_t tuning = omen_graph_calibrate_bytes(m->n_rows, m->d, m->n_lists, n_threads);
    const uint64_t measuring = truth + (tuning > passing ? tuning : passing) + 4 * m->n_rows;
    if (o->scratch && o->memory_bytes > 0 && making > o->memory_bytes) {
        b->plan.scratch_bytes = of_rows;
        making -= of_rows;
    }
    const uint64_t needed = making > measuring ? making : measuring;
    if (o->memory_bytes > 0 && needed > o->memory_bytes)
        return omen_fail(why, OMEN_ERR_MEMORY, "%llu MiB of memory is too little: this graph needs %llu MiB",
                         (unsigned long long)(o->memory_bytes >> 20), (unsigned long long)(needed >> 20) + 1);
    return OMEN_OK;
}

/* Keeps the first fault. */
static void note_fault(void *context, const char *section, const char *text)
{
    omen_detail *why = context;
    if (why && why->text[0] == '\0')
        omen_fail(why, OMEN_ERR_CORRUPT, "section %s: %.200s", section, text);
}

static int check_and_build(omen_build_state *b)
{
    omen_detail fault = {""};
    omen_index *index;
    int status = omen_build_open_index(b, &index);
    if (status == OMEN_OK)
        status = check(b, index);
    if (status == OMEN_OK) { /* what a search would look at by and by is used at once, and checked before */
        status = omen_index_check(index, note_fault, &fault);
        if (status != OMEN_OK && fault.text[0] != '\0')
            omen_fail(b->why, status, "%s", fault.text);
    }
    omen_index_close(index);
    return status == OMEN_OK ? omen_build_graph(b) : status;
}

/* Whether there is a graph to measure, and queries that are like its rows. */
static int check_measuring(const omen_index *index, const omen_build_options *o, omen_detail *why)
{
    if (index->graph.degree == 0 || index->meta.refine == OMEN_REFINE_NONE)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the index has no graph");
    if (o->tune_queries && (o->tune_queries->d != index->meta.d || o->tune_queries->n_rows < 1))
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the queries to tune for have %u dimensions, the index %u",
                         o->tune_queries->d, index->meta.d);
    return OMEN_OK;
}

static int calibrate(omen_build_state *b)
{
    index_source rows;
    omen_build_options options = *b->options;
    const omen_build_options *given = b->options;
    int status = index_source_init(&rows, b);
    if (status == OMEN_OK)
        status = check_measuring(rows.index, given, b->why);
    if (status == OMEN_OK) {
        const omen_meta *m = &rows.index->meta;
        const omen_source source = {.self = &rows,
                                    .n_rows = m->n_rows,
                                    .d = m->d,
                                    .element_bytes = sizeof(float),
                                    .n_bytes = m->n_rows * m->d * sizeof(float),
                                    .read = read_rows};
        options.seed = m->seed;
        b->options = &options;
        b->source = &source;
        status = omen_build_calibrate_graph(b, rows.index, 1 - omen_index_ceiling(rows.index, NULL));
        b->options = given;
        b->source = NULL;
    }
    index_source_finish(&rows);
    return status;
}

/* Runs a stage, with the threads asked for, of a build whose sections up to it are those in the sink. */
static int run(const uint32_t *sections, size_t n_sections, const omen_build_options *options, const omen_sink *sink,
               omen_detail *why, int (*stage)(omen_build_state *))
{
    omen_build_options known;
    omen_build_report report = {.struct_bytes = sizeof report};
    omen_build_state b = {.options = &known, .sink = sink, .report = &report, .why = why};
    const int threads_before = omp_get_max_threads();
    int status = omen_sized_take(&known, sizeof known, options, "omen_build_options", why);
    if (status != OMEN_OK)
        return status;
    if (n_sections > OMEN_MAX_INDEX_SECTIONS - 7) /* those of the graph */
        return omen_fail(why, OMEN_ERR_ARGUMENT, "more sections than an index has");
    for (; b.n_sections < n_sections; b.n_sections++)
        b.sections[b.n_sections] = sections[b.n_sections];
    b.n_threads = known.n_threads > 0 ? known.n_threads : omen_cpu_count();
    omp_set_num_threads(b.n_threads);
    status = stage(&b);
    omp_set_num_threads(threads_before);
    return omen_build_status(&b, status);
}

int omen_graph_add(const uint32_t *sections, size_t n_sections, const omen_build_options *options,
                   const omen_sink *sink, omen_detail *why)
{
    return run(sections, n_sections, options, sink, why, check_and_build);
}

int omen_graph_measure_efforts(const uint32_t *sections, size_t n_sections, const omen_build_options *options,
                               const omen_sink *sink, omen_detail *why)
{
    return run(sections, n_sections, options, sink, why, calibrate);
}
