/* SPDX-License-Identifier: Apache-2.0 */
/* The graph stage: codes and edges over the rows of the index that has been written, as its refine tier has them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/build_state.h"
#include "lib/graph/graph.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"

#define FIT_ROWS   8192u /* rows that the scales are fitted to */
#define BLOCK_ROWS 64u   /* rows projected at once */
#define WRITE_ROWS 8192u /* codes written at once */
#define WIDEST     4.5   /* how far coarse rows reach in the dimension of most variance, in standard deviations */

typedef struct {
    omen_build_state *b;
    omen_index *index;
    omen_graph_scales scales;
    float *means; /* d_kept */
    float coarse_step;
    omen_graph_build edges;
} graph_state;

/* Memory to project a block of rows. */
typedef struct {
    float *rows, *lifted, *projected, *tails;
    omen_detail why;
} projector;

static void projector_finish(projector *p)
{
    free(p->rows);
    free(p->lifted);
    free(p->projected);
    free(p->tails);
}

static int projector_init(projector *p, const omen_meta *m)
{
    p->rows = omen_alloc((size_t)BLOCK_ROWS * m->d, sizeof *p->rows);
    p->lifted = omen_alloc((size_t)BLOCK_ROWS * m->d_full, sizeof *p->lifted);
    p->projected = omen_alloc(BLOCK_ROWS * omen_round_up(m->d_kept, OMEN_PANEL), sizeof *p->projected);
    p->tails = omen_alloc(BLOCK_ROWS, sizeof *p->tails);
    return p->rows && p->lifted && p->projected && p->tails ? OMEN_OK : OMEN_ERR_MEMORY;
}

/* Projects n <= BLOCK_ROWS rows, at positions first, first + step ... Tails have 1 added for zero rows under cosine. */
static int project(projector *p, const omen_index *index, uint64_t first, double step, size_t n)
{
    const omen_meta *m = &index->meta;
    uint32_t positions[BLOCK_ROWS];
    for (size_t i = 0; i < n; i++)
        positions[i] = (uint32_t)(first + (uint64_t)((double)i * step));
    const int status = omen_index_read_rows(index, positions, n, p->rows, &p->why);
    if (status != OMEN_OK)
        return status;
    const float *lifted = omen_transform_lift(&index->transform, p->rows, n, false, p->lifted);
    omen_transform_project(&index->transform, lifted, n, p->projected, omen_round_up(m->d_kept, OMEN_PANEL), p->tails);
    for (size_t i = 0; i < n && m->metric == OMEN_METRIC_COSINE; i++)
        p->tails[i] += omen_norm2(p->rows + i * m->d, m->d) > 0 ? 0 : 1;
    return OMEN_OK;
}

/* Means and variances of the projected rows, by some of them, and the scales that follow. */
static int fit_scales(graph_state *s)
{
    const omen_meta *m = &s->index->meta;
    const size_t d = m->d_kept, ld = omen_round_up(d, OMEN_PANEL);
    const uint64_t n = least(m->n_rows, FIT_ROWS);
    double *sums = omen_alloc_zero(2 * d, sizeof *sums), widest = 0;
    projector p = {0};
    int status = projector_init(&p, m);
    status = sums ? status : OMEN_ERR_MEMORY;
    for (uint64_t i0 = 0; i0 < n && status == OMEN_OK; i0 += BLOCK_ROWS) {
        const size_t count = least(BLOCK_ROWS, n - i0);
        status = project(&p, s->index, i0 * m->n_rows / n, (double)m->n_rows / (double)n, count);
        for (size_t i = 0; i < count && status == OMEN_OK; i++)
            for (size_t j = 0; j < d; j++) {
                const double y = (double)p.projected[i * ld + j];
                sums[j] += y;
                sums[d + j] += y * y;
            }
    }
    for (size_t j = 0; j < d && status == OMEN_OK; j++) {
        sums[j] /= (double)n;
        sums[d + j] = fmax(sums[d + j] / (double)n - sums[j] * sums[j], 0);
        s->means[j] = (float)sums[j];
        widest = fmax(widest, sqrt(sums[d + j]));
    }
    if (status == OMEN_ERR_CORRUPT && s->b->why)
        *s->b->why = p.why;
    if (status == OMEN_OK)
        omen_graph_scales_fit(&s->scales, sums, sums + d);
    s->coarse_step = widest > 0 ? (float)(widest * WIDEST / 127) : 1;
    projector_finish(&p);
    free(sums);
    return status;
}

/* Rounds a projected row to bytes. */
static void make_coarse(const graph_state *s, const float *projected, uint8_t *out)
{
    const uint32_t d = (uint32_t)least(s->index->meta.d_kept, OMEN_GRAPH_COARSE);
    memset(out, 128, s->edges.d8);
    for (uint32_t j = 0; j < d; j++) {
        const float x = (projected[j] - s->means[j]) / s->coarse_step;
        const float near = x > -127 ? x < 127 ? x : 127 : -127;
        const int32_t whole = (int32_t)(near + (near < 0 ? -0.5f : 0.5f));
        out[j] = (uint8_t)(128 + whole);
    }
}

/* Codes of n <= WRITE_ROWS rows, and their coarse rows. */
static int encode(graph_state *s, uint64_t first, uint64_t n, uint8_t *codes)
{
    const omen_meta *m = &s->index->meta;
    const size_t ld = omen_round_up(m->d_kept, OMEN_PANEL);
    int status = OMEN_OK;
#pragma omp parallel
    {
        projector p = {0};
        int own = projector_init(&p, m);
#pragma omp for schedule(dynamic)
        for (uint64_t i0 = 0; i0 < n; i0 += BLOCK_ROWS) {
            if (own != OMEN_OK)
                continue;
            const size_t count = least(BLOCK_ROWS, n - i0);
            own = project(&p, s->index, first + i0, 1, count);
            for (size_t i = 0; i < count && own == OMEN_OK; i++) {
                const uint64_t row = first + i0 + i;
                omen_graph_encode(&s->scales, p.projected + i * ld, p.tails[i],
                                  codes + (i0 + i) * OMEN_GRAPH_CODE_BYTES);
                uint8_t *coarse = s->edges.coarse + row * s->edges.d8;
                make_coarse(s, p.projected + i * ld, coarse);
                omen_graph_measure(coarse, s->edges.d8, &s->edges.terms[row]);
            }
        }
#pragma omp critical(omen_build_graph)
        if (own != OMEN_OK) {
            status = own;
            if (own == OMEN_ERR_CORRUPT && s->b->why)
                *s->b->why = p.why;
        }
        projector_finish(&p);
    }
    return status;
}

static int write_codes(graph_state *s)
{
    omen_build_state *b = s->b;
    const uint64_t n = s->index->meta.n_rows;
    uint8_t *codes = omen_alloc(least(n, WRITE_ROWS), OMEN_GRAPH_CODE_BYTES);
    int status = codes ? OMEN_OK : OMEN_ERR_MEMORY;
    if (status == OMEN_OK)
        status = omen_build_begin_section(b, OMEN_SECTION_GCOD, OMEN_ELEMENT_U8, true);
    for (uint64_t i0 = 0; i0 < n && status == OMEN_OK; i0 += WRITE_ROWS) {
        const uint64_t count = least(n - i0, WRITE_ROWS);
        status = encode(s, i0, count, codes);
        if (status == OMEN_OK)
            status = b->sink->append(b->sink->self, codes, count * OMEN_GRAPH_CODE_BYTES, b->why);
        if (status == OMEN_OK)
            status = omen_build_progress(b, OMEN_STAGE_GRAPH, i0, 4 * n);
    }
    free(codes);
    return status == OMEN_OK ? b->sink->finish(b->sink->self, b->why) : status;
}

/* The entries, and their codes once more. */
static int write_entries(graph_state *s)
{
    omen_build_state *b = s->b;
    const size_t n = s->edges.n_entries;
    omen_section codes;
    uint8_t *copies = omen_alloc(n, OMEN_GRAPH_CODE_BYTES);
    if (!copies)
        return OMEN_ERR_MEMORY;
    int status = b->sink->map(b->sink->self, OMEN_SECTION_GCOD, &codes, b->why);
    for (size_t i = 0; i < n && status == OMEN_OK; i++)
        memcpy(copies + i * OMEN_GRAPH_CODE_BYTES,
               (const uint8_t *)codes.data + (uint64_t)s->edges.entries[i] * OMEN_GRAPH_CODE_BYTES,
               OMEN_GRAPH_CODE_BYTES);
    if (status == OMEN_OK)
        status = omen_build_write_section(b, OMEN_SECTION_GENT, OMEN_ELEMENT_U32, true, s->edges.entries,
                                          n * sizeof *s->edges.entries);
    if (status == OMEN_OK)
        status =
            omen_build_write_section(b, OMEN_SECTION_GECD, OMEN_ELEMENT_U8, true, copies, n * OMEN_GRAPH_CODE_BYTES);
    free(copies);
    return status;
}

static int make_graph(graph_state *s)
{
    omen_build_state *b = s->b;
    const omen_meta *m = &s->index->meta;
    omen_watch watch = omen_build_watch(b, OMEN_STAGE_GRAPH);
    const uint64_t most = omen_graph_group_rows(m->n_rows, b->n_threads);
    const uint64_t group_rows = b->options->chunk_rows ? least(b->options->chunk_rows, most) : most;
    watch.done = m->n_rows;
    watch.total = 4 * m->n_rows;
    s->scales.d = m->d_kept;
    s->scales.ranges = omen_alloc(m->d_kept, sizeof *s->scales.ranges);
    s->means = omen_alloc(m->d_kept, sizeof *s->means);
    s->edges = (omen_graph_build){.index = s->index,
                                  .degree = omen_build_degree(b),
                                  .d8 = (uint32_t)round_up(least(m->d_kept, OMEN_GRAPH_COARSE), 4),
                                  .watch = &watch,
                                  .checkpoint = b->options->extent == OMEN_BUILD_ALL ? b->checkpoint : NULL,
                                  .group_rows = group_rows,
                                  .scratch = b->plan.scratch_bytes > 0 ? b->options->scratch : NULL,
                                  .why = b->why};
    s->edges.coarse = omen_graph_take(&s->edges, m->n_rows, s->edges.d8);
    s->edges.terms = omen_graph_take(&s->edges, m->n_rows, sizeof *s->edges.terms);
    if (!s->scales.ranges || !s->means || !s->edges.coarse || !s->edges.terms)
        return OMEN_ERR_MEMORY;
    int status = fit_scales(s);
    if (status == OMEN_OK)
        status = omen_build_write_section(b, OMEN_SECTION_GDIM, OMEN_ELEMENT_U32, true, s->scales.dims,
                                          sizeof s->scales.dims);
    if (status == OMEN_OK)
        status = omen_build_write_section(b, OMEN_SECTION_GSCL, OMEN_ELEMENT_F32, true, s->scales.ranges,
                                          m->d_kept * sizeof *s->scales.ranges);
    if (status == OMEN_OK)
        status = write_codes(s);
    if (status == OMEN_OK)
        status = omen_graph_build_edges(&s->edges);
    if (status == OMEN_OK)
        status = omen_build_write_section(b, OMEN_SECTION_GADJ, OMEN_ELEMENT_U32, true, s->edges.edges,
                                          m->n_rows * s->edges.degree * sizeof *s->edges.edges);
    return status == OMEN_OK ? write_entries(s) : status;
}

int omen_build_graph(omen_build_state *b)
{
    graph_state s = {.b = b};
    int status = omen_build_open_index(b, &s.index);
    if (status == OMEN_OK)
        status = omen_transform_prepare(&s.index->transform);
    if (status == OMEN_OK)
        status = make_graph(&s);
    if (status == OMEN_ERR_MEMORY && s.edges.failure != OMEN_OK)
        status = s.edges.failure;
    if (b->checkpoint) { /* it may still be writing what goes now */
        const int written = b->checkpoint->wait(b->checkpoint->self, status == OMEN_OK ? b->why : NULL);
        status = status == OMEN_OK ? written : status;
    }
    omen_graph_build_finish(&s.edges);
    free(s.scales.ranges);
    free(s.means);
    omen_index_close(s.index);
    return omen_build_status(b, status);
}
