/* SPDX-License-Identifier: Apache-2.0 */
/* Inverted lists: centroids by hierarchical k-means, and the assignment of rows to them through the hierarchy.
 *
 * Phases of training, for more than FLAT_LISTS lists: k-means to sqrt(n_lists) parents; k-means of each parent's rows
 * to its share of the lists; full passes in which a row looks only at the children of its nearest parents. The first of
 * these tells how much farther than the nearest the parent of a row's list may be, so that later a row in the middle of
 * a parent's rows looks at fewer than one at their edge. Centroids are then rounded to 8 bits a dimension, and
 * everything after uses the rounded values.
 *
 * Determinism: a row's assignment is a function of the row alone; a centroid is the sum of its rows in row order in
 * float64, by one thread. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/index_format.h"
#include "lib/kernels/kernels.h"
#include "lib/keys.h"
#include "lib/matrix.h"
#include "lib/lists/partition.h"

#define FLAT_LISTS    256u         /* up to here one level is cheaper than two */
#define NEAR_PARENTS  8u           /* parents whose children a row is compared with, at most */
#define AHEAD_SHARE   (1.0 / 1024) /* of the rows of a parent, whose list belongs to one farther away than its limit */
#define AHEAD_LEAST   64u          /* rows that tell a limit */
#define PARENT_PASSES 8u
#define CHILD_PASSES  6u
#define FULL_PASSES   2u
#define PARENT_SAMPLE 256u /* rows a parent is trained on */

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Each centroid becomes the mean of its rows; each empty one takes half of the largest. */
static int update_centroids(const float *rows, size_t n, uint32_t d, uint32_t k, const uint32_t *clusters,
                            float *centroids, omen_watch *watch)
{
    int status = OMEN_OK;
    size_t *first = omen_alloc_zero((size_t)k + 1, sizeof *first), *order = omen_alloc(n, sizeof *order);
    if (!first || !order) {
        status = OMEN_ERR_MEMORY;
        goto out;
    }
    for (size_t i = 0; i < n; i++)
        first[clusters[i] + 1]++;
    for (size_t c = 0; c < k; c++)
        first[c + 1] += first[c];
    for (size_t i = 0; i < n; i++)
        order[first[clusters[i]]++] = i;
    memmove(first + 1, first, k * sizeof *first);
    first[0] = 0;
#pragma omp parallel
    {
        double *sum = omen_alloc(d, sizeof *sum);
        if (!sum) {
#pragma omp atomic write
            status = OMEN_ERR_MEMORY;
        }
#pragma omp for schedule(dynamic, 16)
        for (size_t c = 0; c < k; c++) {
            const size_t count = first[c + 1] - first[c];
            if (!sum || count == 0 || omen_watch_stopped(watch))
                continue;
            memset(sum, 0, d * sizeof *sum);
            for (size_t i = first[c]; i < first[c + 1]; i++) {
                const float *row = rows + order[i] * d;
                for (size_t j = 0; j < d; j++)
                    sum[j] += (double)row[j];
            }
            for (size_t j = 0; j < d; j++)
                centroids[c * d + j] = (float)(sum[j] / (double)count);
        }
        free(sum);
    }
    if (status == OMEN_OK)
        status = omen_watch_status(watch);
    if (status != OMEN_OK)
        goto out;
    size_t *counts = order; /* reuse: only counts are needed now, and n may be less than k */
    if (n < k) {
        free(order);
        counts = order = omen_alloc(k, sizeof *order);
        if (!order) {
            status = OMEN_ERR_MEMORY;
            goto out;
        }
    }
    for (size_t c = 0; c < k; c++)
        counts[c] = first[c + 1] - first[c];
    for (size_t c = 0; c < k; c++) {
        if (counts[c] != 0)
            continue;
        if (omen_watch_stopped(watch)) /* with many of the same rows this takes a while */
            break;
        size_t top = 0;
        for (size_t i = 1; i < k; i++)
            if (counts[i] > counts[top])
                top = i;
        if (counts[top] < 2)
            break;
        for (size_t j = 0; j < d; j++) {
            const float x = centroids[top * d + j], nudge = x * 0x1p-10f;
            centroids[c * d + j] = j % 2 ? x - nudge : x + nudge;
            centroids[top * d + j] = j % 2 ? x + nudge : x - nudge;
        }
        counts[c] = counts[top] / 2;
        counts[top] -= counts[c];
    }
    status = omen_watch_status(watch);
out:
    free(order);
    free(first);
    return status;
}

/* The nearest of k centroids for every row, by one matrix product. */
static int assign_flat(const float *rows, size_t n, uint32_t d, uint32_t k, const float *centroids, uint32_t *clusters,
                       omen_watch *watch)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t block = 64, ldc = round_up(k, OMEN_PANEL);
    float *panels = omen_alloc(omen_panels_count(k, d), sizeof *panels), *half = omen_alloc(k, sizeof *half);
    int status = panels && half ? OMEN_OK : OMEN_ERR_MEMORY;
    if (status == OMEN_OK) {
        omen_panels_pack(centroids, k, d, d, panels);
        omen_half_norms(centroids, k, d, half);
#pragma omp parallel
        {
            float *dots = omen_alloc(block * ldc, sizeof *dots), nearest;
            if (!dots) {
#pragma omp atomic write
                status = OMEN_ERR_MEMORY;
            }
#pragma omp for schedule(dynamic)
            for (size_t i0 = 0; i0 < n; i0 += block) {
                const size_t height = least(n - i0, block);
                if (!dots || omen_watch_stopped(watch))
                    continue;
                kernels->matmul(rows + i0 * d, d, height, panels, ldc / OMEN_PANEL, d, dots, ldc);
                for (size_t i = 0; i < height; i++)
                    kernels->argmin(dots + i * ldc, half, k, &nearest, clusters + i0 + i);
            }
            free(dots);
        }
    }
    free(half);
    free(panels);
    return status == OMEN_OK ? omen_watch_status(watch) : status;
}

int omen_kmeans(const float *rows, size_t n, uint32_t d, uint32_t k, unsigned n_passes, uint64_t seed, float *centroids,
                uint32_t *clusters, omen_watch *watch)
{
    const size_t n_drawn = least(n, k);
    uint64_t *drawn = omen_alloc(n_drawn, sizeof *drawn);
    if (!drawn)
        return OMEN_ERR_MEMORY;
    omen_random_rows(seed, n, n_drawn, drawn);
    for (size_t c = 0; c < k; c++)
        /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): there are rows and clusters */
        memcpy(centroids + c * d, rows + drawn[c % n_drawn] * d, d * sizeof *centroids);
    free(drawn);
    int status = assign_flat(rows, n, d, k, centroids, clusters, watch);
    for (unsigned pass = 0; pass < n_passes && status == OMEN_OK; pass++) {
        status = update_centroids(rows, n, d, k, clusters, centroids, watch);
        if (status == OMEN_OK)
            status = assign_flat(rows, n, d, k, centroids, clusters, watch);
    }
    return status;
}

/* Packs what assignment needs from parents, first_child and centroids. */
static int prepare(omen_partition *p)
{
    const size_t d = p->d;
    if (!p->panels_at) {
        p->panels_at = omen_alloc((size_t)p->n_parents + 1, sizeof *p->panels_at);
        if (!p->panels_at)
            return OMEN_ERR_MEMORY;
        p->panels_at[0] = 0;
        for (size_t i = 0; i < p->n_parents; i++)
            p->panels_at[i + 1] = p->panels_at[i] + omen_panels_count(p->first_child[i + 1] - p->first_child[i], d);
        p->child_panels = omen_alloc(p->panels_at[p->n_parents], sizeof *p->child_panels);
        p->half_norms = omen_alloc(p->n_lists, sizeof *p->half_norms);
        p->parent_panels = omen_alloc(omen_panels_count(p->n_parents, d), sizeof *p->parent_panels);
        p->parent_half_norms = omen_alloc(p->n_parents, sizeof *p->parent_half_norms);
        if (!p->child_panels || !p->half_norms || !p->parent_panels || !p->parent_half_norms)
            return OMEN_ERR_MEMORY;
        omen_panels_pack(p->parents, p->n_parents, d, d, p->parent_panels);
        omen_half_norms(p->parents, p->n_parents, d, p->parent_half_norms);
    }
    for (size_t i = 0; i < p->n_parents; i++) {
        const size_t c = p->first_child[i];
        omen_panels_pack(p->centroids + c * d, p->first_child[i + 1] - c, d, d, p->child_panels + p->panels_at[i]);
    }
    omen_half_norms(p->centroids, p->n_lists, d, p->half_norms);
    return OMEN_OK;
}

static size_t widest_family(const omen_partition *p)
{
    size_t widest = p->n_parents;
    for (size_t i = 0; i < p->n_parents; i++)
        if (p->first_child[i + 1] - p->first_child[i] > widest)
            widest = p->first_child[i + 1] - p->first_child[i];
    return round_up(widest, OMEN_PANEL);
}

/* Scratch: dots of the rows with one family, rows gathered for it, per row the best value so far and its near parents,
 * how far ahead of each of these the nearest is, the rows sorted by parent, and parents within a limit. */
typedef struct {
    float *dots, *gathered, *best, *ahead, *zeros;
    uint16_t *near, *sorted;
    uint32_t *n_near, *first, *within;
} assign_scratch;

static size_t scratch_layout(const omen_partition *p, char *base, assign_scratch *s)
{
    size_t at = 0;
    const size_t rows = OMEN_ASSIGN_ROWS;
    const size_t sizes[] = {
        rows * widest_family(p) * sizeof(float),
        rows * p->d * sizeof(float),
        rows * sizeof(float),
        rows * NEAR_PARENTS * sizeof(float),
        p->n_parents * sizeof(float),
        rows * NEAR_PARENTS * sizeof(uint16_t),
        rows * NEAR_PARENTS * sizeof(uint16_t),
        rows * sizeof(uint32_t),
        ((size_t)p->n_parents + 1) * sizeof(uint32_t),
        ((size_t)p->n_parents + 16) * sizeof(uint32_t),
    };
    void *parts[10];
    for (size_t i = 0; i < 10; i++) {
        parts[i] = base ? base + at : NULL;
        at += round_up(sizes[i], 64);
    }
    if (s)
        *s = (assign_scratch){parts[0], parts[1], parts[2], parts[3], parts[4],
                              parts[5], parts[6], parts[7], parts[8], parts[9]};
    return at;
}

size_t omen_partition_scratch_bytes(const omen_partition *p)
{
    return scratch_layout(p, NULL, NULL);
}

/* The nearest parents of row i, which has its dots with them: beyond the nearest, those whose distance, squared, is at
 * most 1 + its limit times as large. */
static void select_parents(const omen_partition *p, const assign_scratch *s, const float *row, size_t i)
{
    const omen_kernels *kernels = omen_kernels_get();
    float *values = s->dots + i * widest_family(p), *ahead = s->ahead + i * NEAR_PARENTS, first;
    uint16_t *near = s->near + i * NEAR_PARENTS;
    uint32_t at, n = 0;
    kernels->argmin(values, p->parent_half_norms, p->n_parents, &first, &at);
    const float distance2 = kernels->ip_f32(row, row, p->d) + 2 * first;
    const float limit = distance2 > 0 ? first + p->ahead[at] * distance2 / 2 : first;
    for (size_t f = 0; f < p->n_parents; f++)
        values[f] = p->parent_half_norms[f] - values[f];
    const size_t n_within = kernels->filter(values, p->n_parents, limit, s->within);
    near[n] = (uint16_t)at;
    ahead[n++] = 0;
    for (size_t j = 0; j < n_within && n_within <= NEAR_PARENTS; j++) /* in any order */
        if (s->within[j] != at) {
            ahead[n] = 0;
            near[n++] = (uint16_t)s->within[j];
        }
    while (n_within > NEAR_PARENTS && n < NEAR_PARENTS) {
        float value;
        values[at] = INFINITY;
        kernels->argmin(s->zeros, values, p->n_parents, &value, &at);
        ahead[n] = distance2 > 0 ? 2 * (value - first) / distance2 : 0;
        near[n++] = (uint16_t)at;
    }
    s->n_near[i] = n;
}

/* Compares rows with the children of parent f that sorted names. */
static void compare_family(const omen_partition *p, const assign_scratch *s, const float *rows, size_t ld, size_t f,
                           const uint16_t *sorted, size_t n, uint32_t *lists)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t d = p->d, ldc = widest_family(p), c = p->first_child[f], n_children = p->first_child[f + 1] - c;
    for (size_t i = 0; i < n; i++)
        memcpy(s->gathered + i * d, rows + sorted[i] * ld, d * sizeof *rows);
    kernels->matmul(s->gathered, d, n, p->child_panels + p->panels_at[f], round_up(n_children, OMEN_PANEL) / OMEN_PANEL,
                    d, s->dots, ldc);
    for (size_t i = 0; i < n; i++) {
        const size_t row = sorted[i];
        float value;
        uint32_t at;
        kernels->argmin(s->dots + i * ldc, p->half_norms + c, n_children, &value, &at);
        /* families come in rising order, so an equal value later is a higher list */
        if (value < s->best[row] || lists[row] == UINT32_MAX) {
            s->best[row] = value;
            lists[row] = (uint32_t)c + at;
        }
    }
}

/* Assigns rows; scratch tells what parents were near. */
static void assign_rows(const omen_partition *p, const float *rows, size_t n, size_t ld, uint32_t *lists,
                        const assign_scratch *s)
{
    const size_t d = p->d, ldc = widest_family(p);
    /* n_parents >= 17 here, so there are NEAR_PARENTS of them */
    omen_kernels_get()->matmul(rows, ld, n, p->parent_panels, round_up(p->n_parents, OMEN_PANEL) / OMEN_PANEL, d,
                               s->dots, ldc);
    memset(s->first, 0, ((size_t)p->n_parents + 1) * sizeof *s->first);
    memset(s->zeros, 0, p->n_parents * sizeof *s->zeros);
    for (size_t i = 0; i < n; i++) {
        select_parents(p, s, rows + i * ld, i);
        for (size_t j = 0; j < s->n_near[i]; j++)
            s->first[s->near[i * NEAR_PARENTS + j] + 1]++;
        s->best[i] = INFINITY;
        lists[i] = UINT32_MAX;
    }
    for (size_t f = 0; f < p->n_parents; f++)
        s->first[f + 1] += s->first[f];
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < s->n_near[i]; j++)
            s->sorted[s->first[s->near[i * NEAR_PARENTS + j]]++] = (uint16_t)i;
    for (size_t f = 0, begin = 0; f < p->n_parents; f++) {
        compare_family(p, s, rows, ld, f, s->sorted + begin, s->first[f] - begin, lists);
        begin = s->first[f];
    }
}

void omen_partition_assign(const omen_partition *p, const float *rows, size_t n, size_t ld, uint32_t *lists,
                           void *scratch)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t ldc = widest_family(p);
    assign_scratch s;
    scratch_layout(p, scratch, &s);
    if (p->n_parents > 1) {
        assign_rows(p, rows, n, ld, lists, &s);
        return;
    }
    kernels->matmul(rows, ld, n, p->child_panels, round_up(p->n_lists, OMEN_PANEL) / OMEN_PANEL, p->d, s.dots, ldc);
    for (size_t i = 0; i < n; i++)
        kernels->argmin(s.dots + i * ldc, p->half_norms, p->n_lists, s.best + i, lists + i);
}

/* Where a row's list is: the parent nearest to the row, and how far ahead of the list's own parent that is. */
typedef struct {
    float ahead;
    uint16_t parent;
} row_ahead;

static row_ahead ahead_of(const omen_partition *p, const assign_scratch *s, size_t i, uint32_t list)
{
    const uint16_t *near = s->near + i * NEAR_PARENTS;
    uint32_t j = 0;
    while (j + 1 < s->n_near[i] && !(list >= p->first_child[near[j]] && list < p->first_child[near[j] + 1u]))
        j++;
    return (row_ahead){s->ahead[i * NEAR_PARENTS + j], near[0]};
}

/* Assigns any number of rows by all threads; ahead, of n, may be NULL, and is for partitions of several parents. */
static int assign_all(const omen_partition *p, const float *rows, size_t n, uint32_t *lists, row_ahead *ahead,
                      omen_watch *watch)
{
    int status = OMEN_OK;
#pragma omp parallel
    {
        void *scratch = omen_alloc(omen_partition_scratch_bytes(p), 1);
        assign_scratch s;
        if (!scratch) {
#pragma omp atomic write
            status = OMEN_ERR_MEMORY;
        }
#pragma omp for schedule(dynamic)
        for (size_t i0 = 0; i0 < n; i0 += OMEN_ASSIGN_ROWS) {
            const size_t count = least(n - i0, OMEN_ASSIGN_ROWS);
            if (!scratch || omen_watch_stopped(watch))
                continue;
            omen_partition_assign(p, rows + i0 * p->d, count, p->d, lists + i0, scratch);
            scratch_layout(p, scratch, &s);
            for (size_t i = 0; i < count && ahead; i++)
                ahead[i0 + i] = ahead_of(p, &s, i, lists[i0 + i]);
        }
        free(scratch);
    }
    return status == OMEN_OK ? omen_watch_status(watch) : status;
}

int omen_partition_assign_all(const omen_partition *p, const float *rows, size_t n, uint32_t *lists, omen_watch *watch)
{
    return assign_all(p, rows, n, lists, NULL, watch);
}

/* Sets the limits that all rows of the n but a few are within, parent by parent. */
static int fit_ahead(omen_partition *p, const row_ahead *rows, size_t n)
{
    size_t *first = omen_alloc_zero((size_t)p->n_parents + 2, sizeof *first);
    float *sorted = omen_alloc(2 * n, sizeof *sorted);
    if (first && sorted) {
        for (size_t i = 0; i < n; i++)
            first[rows[i].parent + 2]++;
        for (size_t f = 0; f < p->n_parents; f++)
            first[f + 2] += first[f + 1];
        for (size_t i = 0; i < n; i++)
            sorted[first[rows[i].parent + 1]++] = rows[i].ahead;
        for (size_t f = 0; f < p->n_parents; f++) {
            const size_t count = first[f + 1] - first[f], n_within = count - (size_t)(AHEAD_SHARE * (double)count);
            if (count >= AHEAD_LEAST)
                p->ahead[f] = omen_values_select(sorted + first[f], count, n_within, sorted + n);
        }
    }
    const int status = first && sorted ? OMEN_OK : OMEN_ERR_MEMORY;
    free(first);
    free(sorted);
    return status;
}

/* A pass in which rows look at the children of their nearest parents, of more of them in the first one, and centroids
 * move. */
static int full_pass(omen_partition *p, const float *rows, size_t n, bool is_first, uint32_t *lists, omen_watch *watch)
{
    row_ahead *ahead = is_first ? omen_alloc(n, sizeof *ahead) : NULL;
    int status = is_first && !ahead ? OMEN_ERR_MEMORY : prepare(p);
    if (status == OMEN_OK)
        status = assign_all(p, rows, n, lists, ahead, watch);
    if (status == OMEN_OK && is_first)
        status = fit_ahead(p, ahead, n);
    free(ahead);
    return status == OMEN_OK ? update_centroids(rows, n, p->d, p->n_lists, lists, p->centroids, watch) : status;
}

/* Shares n_lists among parents by their row counts, at least one each: largest remainders, ties to the lower parent. */
static void share_lists(const size_t *counts, uint32_t n_parents, size_t n, uint32_t n_lists, uint32_t *first_child)
{
    uint32_t left = n_lists - n_parents;
    first_child[0] = 0;
    for (uint32_t i = 0; i < n_parents; i++)
        first_child[i + 1] = 1 + (uint32_t)((uint64_t)counts[i] * (n_lists - n_parents) / n);
    for (uint32_t i = 0; i < n_parents; i++)
        left -= first_child[i + 1] - 1;
    for (; left > 0; left--) {
        uint32_t top = 0;
        for (uint32_t i = 1; i < n_parents; i++)
            if ((double)counts[i] / first_child[i + 1] > (double)counts[top] / first_child[top + 1])
                top = i;
        first_child[top + 1]++;
    }
    for (uint32_t i = 0; i < n_parents; i++)
        first_child[i + 1] += first_child[i];
}

/* Splits each parent's rows into its children. */
static int train_children(omen_partition *p, const float *rows, size_t n, const uint32_t *parent_of,
                          const size_t *counts, uint64_t seed, omen_watch *watch)
{
    const size_t d = p->d;
    int status = OMEN_OK;
    size_t *first = omen_alloc((size_t)p->n_parents + 1, sizeof *first), *order = omen_alloc(n, sizeof *order);
    if (!first || !order) {
        status = OMEN_ERR_MEMORY;
        goto out;
    }
    first[0] = 0;
    for (size_t f = 0; f < p->n_parents; f++)
        first[f + 1] = first[f] + counts[f];
    for (size_t i = 0; i < n; i++)
        order[first[parent_of[i]]++] = i;
    memmove(first + 1, first, p->n_parents * sizeof *first);
    first[0] = 0;
#pragma omp parallel for schedule(dynamic)
    for (size_t f = 0; f < p->n_parents; f++) {
        const size_t count = counts[f], c = p->first_child[f], n_children = p->first_child[f + 1] - c;
        if (omen_watch_stopped(watch))
            continue;
        if (count == 0) {
            for (size_t j = 0; j < n_children; j++)
                memcpy(p->centroids + (c + j) * d, p->parents + f * d, d * sizeof *rows);
            continue;
        }
        float *own = omen_alloc(count * d, sizeof *own);
        uint32_t *clusters = omen_alloc(count, sizeof *clusters);
        int done = own && clusters ? OMEN_OK : OMEN_ERR_MEMORY;
        if (done == OMEN_OK) {
            for (size_t i = 0; i < count; i++)
                memcpy(own + i * d, rows + order[first[f] + i] * d, d * sizeof *own);
            done = omen_kmeans(own, count, (uint32_t)d, (uint32_t)n_children, CHILD_PASSES, omen_random(seed, f),
                               p->centroids + c * d, clusters, watch);
        }
        free(clusters);
        free(own);
        if (done != OMEN_OK) {
#pragma omp atomic write
            status = done;
        }
    }
out:
    free(order);
    free(first);
    return status == OMEN_OK ? omen_watch_status(watch) : status;
}

/* Rounds centroids to 8 bits a dimension between the dimension's extremes. */
static int quantise(omen_partition *p)
{
    const size_t d = p->d;
    p->codes = omen_alloc((size_t)p->n_lists * d, 1);
    p->scales = omen_alloc(2 * d, sizeof *p->scales);
    if (!p->codes || !p->scales)
        return OMEN_ERR_MEMORY;
    for (size_t j = 0; j < d; j++) {
        float lo = p->centroids[j], hi = lo;
        for (size_t c = 1; c < p->n_lists; c++) {
            const float x = p->centroids[c * d + j];
            lo = x < lo ? x : lo;
            hi = x > hi ? x : hi;
        }
        p->scales[j] = lo;
        p->scales[d + j] = (hi - lo) / 255;
    }
    for (size_t c = 0; c < p->n_lists; c++) {
        for (size_t j = 0; j < d; j++) {
            const float step = p->scales[d + j];
            float u = step > 0 ? (p->centroids[c * d + j] - p->scales[j]) / step + 0.5f : 0;
            p->codes[c * d + j] = (uint8_t)(u > 255 ? 255 : u);
        }
    }
    omen_centroids_decode(p->codes, p->scales, p->n_lists, p->d, p->centroids);
    return OMEN_OK;
}

void omen_centroids_decode(const uint8_t *codes, const float *scales, uint32_t n_lists, uint32_t d, float *centroids)
{
    for (size_t c = 0; c < n_lists; c++)
        for (size_t j = 0; j < d; j++)
            centroids[c * d + j] = scales[j] + scales[d + j] * (float)codes[c * d + j];
}

uint32_t omen_partition_parents(uint32_t n_lists)
{
    return n_lists <= FLAT_LISTS ? 1 : (uint32_t)lround(sqrt(n_lists));
}

/* Rows are assigned through the hierarchy, which is over when an index is there: that needs the centroids alone. */
size_t omen_partition_parts(omen_partition *p, omen_model_part parts[OMEN_MODEL_PARTS])
{
    parts[0] = (omen_model_part){0, OMEN_ELEMENT_U32, &p->first_child, (uint64_t)p->n_parents + 1};
    parts[1] = (omen_model_part){0, OMEN_ELEMENT_F32, &p->parents, (uint64_t)p->n_parents * p->d};
    parts[2] = (omen_model_part){OMEN_SECTION_CSCL, OMEN_ELEMENT_F32, &p->scales, 2 * (uint64_t)p->d};
    parts[3] = (omen_model_part){OMEN_SECTION_CENT, OMEN_ELEMENT_U8, &p->codes, (uint64_t)p->n_lists * p->d};
    parts[4] = (omen_model_part){0, OMEN_ELEMENT_F32, &p->limits, p->n_lists};
    parts[5] = (omen_model_part){0, OMEN_ELEMENT_F32, &p->ahead, p->n_parents};
    return 6;
}

bool omen_scales_are_sound(const float *scales, uint32_t d)
{
    bool sound = true;
    for (size_t j = 0; j < d; j++) {
        const float low = scales[j], step = scales[d + j];
        sound &= low >= -OMEN_COORDINATE_MOST && step >= 0 && low + 255 * step <= OMEN_COORDINATE_MOST;
    }
    return sound;
}

bool omen_half_norms_are_sound(const float *half_norms, size_t n)
{
    bool sound = true;
    for (size_t i = 0; i < n; i++)
        sound &= half_norms[i] <= OMEN_LENGTH2_MOST / 2;
    return sound;
}

int omen_partition_train(omen_partition *p, const float *rows, size_t n, uint32_t d, uint32_t n_lists, uint64_t seed,
                         uint32_t *lists, omen_watch *watch)
{
    int status = OMEN_ERR_MEMORY;
    p->d = d;
    p->n_lists = n_lists;
    p->n_parents = omen_partition_parents(n_lists);
    watch->total = 3 + FULL_PASSES;
    size_t *counts = omen_alloc_zero(p->n_parents, sizeof *counts);
    p->first_child = omen_alloc((size_t)p->n_parents + 1, sizeof *p->first_child);
    p->parents = omen_alloc_zero((size_t)p->n_parents * d, sizeof *p->parents);
    p->ahead = omen_alloc(p->n_parents, sizeof *p->ahead);
    p->centroids = omen_alloc((size_t)n_lists * d, sizeof *p->centroids);
    if (!counts || !p->first_child || !p->parents || !p->ahead || !p->centroids)
        goto out;
    for (size_t i = 0; i < p->n_parents; i++)
        p->ahead[i] = FLT_MAX;
#define STEP_DONE()                                                                                                    \
    do {                                                                                                               \
        watch->done++;                                                                                                 \
        if (status == OMEN_OK)                                                                                         \
            status = omen_watch_status(watch);                                                                         \
        if (status != OMEN_OK)                                                                                         \
            goto out;                                                                                                  \
    } while (0)
    if (p->n_parents == 1) {
        p->first_child[0] = 0;
        p->first_child[1] = n_lists;
        status = omen_kmeans(rows, n, d, n_lists, PARENT_PASSES, seed, p->centroids, lists, watch);
        STEP_DONE();
    } else {
        /* rows are in source order: take every m-th for the parents */
        const size_t n_some = least(n, (size_t)PARENT_SAMPLE * p->n_parents);
        float *some = omen_alloc(n_some * d, sizeof *some);
        if (!some)
            goto out;
        for (size_t i = 0; i < n_some; i++)
            memcpy(some + i * d, rows + i * n / n_some * d, d * sizeof *some);
        status = omen_kmeans(some, n_some, d, p->n_parents, PARENT_PASSES, seed, p->parents, lists, watch);
        free(some);
        if (status == OMEN_OK)
            status = assign_flat(rows, n, d, p->n_parents, p->parents, lists, watch);
        STEP_DONE();
        for (size_t i = 0; i < n; i++)
            counts[lists[i]]++;
        share_lists(counts, p->n_parents, n, n_lists, p->first_child);
        status = train_children(p, rows, n, lists, counts, seed, watch);
        STEP_DONE();
        for (unsigned pass = 0; pass < FULL_PASSES; pass++) {
            status = full_pass(p, rows, n, pass == 0, lists, watch);
            STEP_DONE();
        }
    }
#undef STEP_DONE
    status = quantise(p);
    if (status == OMEN_OK)
        status = prepare(p);
out:
    free(counts);
    return status;
}

int omen_partition_restore(omen_partition *p)
{
    p->centroids = omen_alloc((size_t)p->n_lists * p->d, sizeof *p->centroids);
    if (!p->centroids)
        return OMEN_ERR_MEMORY;
    omen_centroids_decode(p->codes, p->scales, p->n_lists, p->d, p->centroids);
    return prepare(p);
}

void omen_partition_finish(omen_partition *p)
{
    free(p->first_child);
    free(p->parents);
    free(p->centroids);
    free(p->codes);
    free(p->scales);
    free(p->limits);
    free(p->ahead);
    free(p->parent_panels);
    free(p->parent_half_norms);
    free(p->child_panels);
    free(p->half_norms);
    free(p->panels_at);
    memset(p, 0, sizeof *p);
}
