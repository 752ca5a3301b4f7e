/* SPDX-License-Identifier: Apache-2.0 */
/* Queries on the principal axes of an index, by products of bytes. What is rounded off is little beside the errors of
 * the codes, unless rows are spread much farther than they are from their centroids: then, and where an axis has values
 * that are lost in bytes, axes stay in float32. */
#include <stdlib.h>

#include "lib/graph/graph.h"
#include "lib/query_axes.h"

#define ERROR_MOST2 (1.0 / (32 * 32)) /* squared length of what is rounded off an axis, at most */
#define RESIDUAL    (1.0 / (16 * 16)) /* rounding by so much of the squared residual is lost in the errors of codes */

/* How many of the first axes the graph's codes hold anything of. */
static uint32_t count_graph_axes(const omen_index *index)
{
    uint32_t i = OMEN_GRAPH_NIBBLES - 1;
    if (!index->graph.degree)
        return 0;
    while (i > 0 && index->graph.dims[i] >= index->meta.d_kept)
        i--;
    return index->graph.dims[i] < index->meta.d_kept ? index->graph.dims[i] + 1 : 1;
}

/* The mean squared length of the residuals that codes stand for; 0 without codes, and where estimates are the answer,
 * which are not to be rounded. */
static double residual2(const omen_index *index)
{
    const omen_meta *m = &index->meta;
    double gains2 = 0;
    if (m->refine == OMEN_REFINE_NONE)
        return 0;
    for (size_t l = 0; l < m->n_lists && omen_codec_has_gain(m->n_factors); l++) {
        const float *gain = index->ranges + 4 * l + 2;
        const double middle = (double)gain[0] + 127.5 * (double)gain[1];
        gains2 += (index->first[l + 1] - index->first[l]) * middle * middle;
    }
    return omen_codec_residual2(&index->model, gains2 / (double)m->n_rows);
}

/* The mean squared length of the rows' centroids, from the mean of all. */
static double between_lists2(const omen_index *index)
{
    double sum = 0;
    for (size_t l = 0; l < index->meta.n_lists; l++)
        sum += (index->first[l + 1] - index->first[l]) * 2.0 * (double)index->half_norms[l];
    return sum / (double)index->meta.n_rows;
}

static int round_axes(omen_index *index)
{
    const omen_transform *t = &index->transform;
    omen_query_axes *a = &index->axes;
    const double inner2 = residual2(index);
    double rounded2 = 0, most2 = 0;
    a->n_graph = count_graph_axes(index);
    if (t->d_full > OMEN_BYTE_DIMS || !(inner2 > 0 || a->n_graph)) /* nothing is estimated */
        return OMEN_OK;
    double *errors2 = omen_alloc(t->d_kept, sizeof *errors2);
    const int status =
        errors2 ? omen_byte_axes_init(&a->bytes, t->basis, t->d_kept, t->d_full, errors2) : OMEN_ERR_MEMORY;
    for (uint32_t r = 0; r < t->d_kept && status == OMEN_OK; r++) {
        /* of a query of length 1, in any direction */
        rounded2 += errors2[r] / t->d_full + (double)OMEN_BYTE_STEP2 / 12;
        most2 = errors2[r] > most2 ? errors2[r] : most2;
        a->for_graph |= r + 1 == a->n_graph && most2 <= ERROR_MOST2;
    }
    free(errors2);
    a->for_lists =
        inner2 > 0 && most2 <= ERROR_MOST2 && (between_lists2(index) + inner2) * rounded2 <= RESIDUAL * inner2;
    if (!a->for_lists && !a->for_graph)
        omen_byte_axes_finish(&a->bytes);
    return status;
}

int omen_query_axes_open(omen_index *index)
{
    const omen_query_axes *a = &index->axes;
    int status = round_axes(index);
    if (status == OMEN_OK && a->for_lists)
        status = omen_codec_prepare_bytes(&index->model);
    if (status != OMEN_OK || (a->for_lists && a->for_graph == (a->n_graph > 0)))
        return status; /* nothing takes the axes of the transform */
    return omen_transform_prepare(&index->transform);
}

void omen_query_axes_close(omen_index *index)
{
    omen_byte_axes_finish(&index->axes.bytes);
}

size_t omen_query_axes_work_bytes(const omen_index *index, size_t n)
{
    const size_t width = omen_round_up(index->transform.d_kept, OMEN_PANEL);
    return (n < OMEN_BYTE_VECTORS ? n : OMEN_BYTE_VECTORS) *
           (2 * omen_byte_fours(index->transform.d_full) + (2 * width + 2) * sizeof(float));
}

void omen_query_axes_project(const omen_index *index, bool for_graph, const float *lifted, size_t n, float *out,
                             size_t ld, float *tails, void *work)
{
    const omen_transform *t = &index->transform;
    const omen_query_axes *a = &index->axes;
    const uint32_t n_axes = for_graph ? a->n_graph : t->d_kept, d = t->d_full;
    if (!(for_graph ? a->for_graph : a->for_lists)) {
        omen_transform_project_first(t, lifted, n, n_axes, out, ld, tails);
        return;
    }
    for (size_t i0 = 0; i0 < n; i0 += OMEN_BYTE_VECTORS) {
        const size_t count = n - i0 < OMEN_BYTE_VECTORS ? n - i0 : OMEN_BYTE_VECTORS;
        float *sums = work, *units = sums + 2 * count * omen_round_up(n_axes, OMEN_PANEL);
        uint8_t *high = (uint8_t *)(units + count), *low = high + count * omen_byte_fours(d);
        omen_byte_vectors v = {.high = high, .low = low, .units = units, .lengths2 = tails + i0};
        for (size_t i = 0; i < count; i++)
            omen_byte_vectors_split(&v, i, lifted + (i0 + i) * d, t->mean, d);
        omen_byte_axes_multiply(&a->bytes, &v, 0, n_axes, out + i0 * ld, ld, sums);
        for (size_t i = i0; i < i0 + count; i++) {
            const float tail = tails[i] - omen_kernels_get()->ip_f32(out + i * ld, out + i * ld, n_axes);
            tails[i] = tail > 0 && n_axes < d ? tail : 0;
        }
    }
}
