/* SPDX-License-Identifier: Apache-2.0 */
/* Which of several indexes share a model. Of those a query is transformed once, ranks one set of centroids, and has one
 * set of tables; and as the same list is the same place in all of them, they are searched as one index would be. */
#include <stdlib.h>
#include <string.h>

#include "lib/joint.h"
#include "lib/matrix.h"
#include "lib/model_part.h"

static bool same_parts(const omen_model_part *a, const omen_model_part *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (memcmp(omen_model_part_data(&a[i]), omen_model_part_data(&b[i]), omen_model_parts_bytes(&a[i], 1)) != 0)
            return false;
    return true;
}

/* What of META is the model's, of indexes of one metric and dimension. */
static bool same_counts(const omen_meta *a, const omen_meta *b)
{
    return a->d_full == b->d_full && a->d_kept == b->d_kept && a->codec == b->codec && a->refine == b->refine &&
           a->n_lists == b->n_lists && a->n_sub == b->n_sub && a->n_factors == b->n_factors &&
           a->n_active == b->n_active && a->d_used == b->d_used &&
           /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-*): the same bits are meant */
           memcmp(&a->ip_radius2, &b->ip_radius2, sizeof a->ip_radius2) == 0 && a->flags == b->flags;
}

static bool same_model(const omen_index *a, const omen_index *b)
{
    const omen_meta *m = &a->meta;
    omen_transform transform[2] = {a->transform, b->transform};
    omen_codec_model codec[2] = {a->model, b->model};
    omen_model_part parts[2][OMEN_MODEL_PARTS];
    if (!same_counts(m, &b->meta) || !a->refine.centre != !b->refine.centre ||
        (a->refine.centre && memcmp(a->refine.centre, b->refine.centre, m->d * sizeof *a->refine.centre) != 0) ||
        memcmp(a->centroid_codes, b->centroid_codes, (size_t)m->n_lists * m->d_kept) != 0 ||
        memcmp(a->centroid_scales, b->centroid_scales, 2 * (size_t)m->d_kept * sizeof *a->centroid_scales) != 0)
        return false;
    omen_transform_parts(&transform[1], parts[1]);
    if (!same_parts(parts[0], parts[1], omen_transform_parts(&transform[0], parts[0])))
        return false;
    omen_codec_parts(&codec[1], parts[1]);
    return same_parts(parts[0], parts[1], omen_codec_parts(&codec[0], parts[0]));
}

/* Adds index i to those of a model, whose first one is at. */
static int add(omen_joint_model *models, const omen_index *const *indexes, size_t at, size_t i)
{
    omen_joint_model *all = &models[at];
    const omen_index *index = indexes[i];
    const size_t n = (size_t)index->meta.n_lists + 1;
    if (!all->sums) {
        all->sums = omen_alloc(n, sizeof *all->sums);
        if (!all->sums)
            return OMEN_ERR_MEMORY;
        memcpy(all->sums, indexes[at]->first, n * sizeof *all->sums);
    }
    for (size_t l = 0; l < n; l++)
        all->sums[l] += index->first[l];
    all->n_rows += index->meta.n_rows;
    all->f_step_max = all->f_step_max > index->f_step_max ? all->f_step_max : index->f_step_max;
    all->g_max = all->g_max > index->g_max ? all->g_max : index->g_max;
    models[all->last].next = i;
    all->last = i;
    models[i].owner = at;
    return OMEN_OK;
}

int omen_joint_find_models(omen_joint_model *models, const omen_index *const *indexes, size_t n)
{
    int status = OMEN_OK;
    for (size_t i = 0; i < n && status == OMEN_OK; i++) {
        const omen_index *index = indexes[i];
        size_t at = 0;
        models[i] = (omen_joint_model){.owner = i,
                                       .next = SIZE_MAX,
                                       .last = i,
                                       .n_rows = index->meta.n_rows,
                                       .f_step_max = index->f_step_max,
                                       .g_max = index->g_max};
        while (at < i && (models[at].owner != at || !same_model(indexes[at], index)))
            at++;
        if (at < i)
            status = add(models, indexes, at, i);
    }
    return status;
}
