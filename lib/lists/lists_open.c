/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of an index: opening, closing and checking them. */
#include <stdio.h>
#include <stdlib.h>

#include "lib/lists/lists.h"
#include "lib/lists/lists_search.h"
#include "lib/matrix.h"
#include "lib/lists/partition.h"

/* Of META's counts, without its arrays. */
static omen_partition partition_of(const omen_meta *m)
{
    return (omen_partition){.n_lists = m->n_lists, .d = m->d_kept};
}

int omen_lists_check_sections(const omen_section_list *list, const omen_meta *m)
{
    omen_partition partition = partition_of(m);
    omen_model_part parts[OMEN_MODEL_PARTS];
    int status = omen_sections_check_parts(list, parts, omen_partition_parts(&partition, parts));
    if (status == OMEN_OK)
        status = omen_sections_check(list, OMEN_SECTION_LIST, OMEN_ELEMENT_U32, (uint64_t)m->n_lists + 1, 4);
    return status;
}

int omen_lists_open(omen_index *index, const omen_section_list *list)
{
    const omen_meta *m = &index->meta;
    const size_t n_lists = m->n_lists, d = m->d_kept;
    omen_partition partition = partition_of(m);
    omen_model_part parts[OMEN_MODEL_PARTS];
    const size_t n_parts = omen_partition_parts(&partition, parts);
    for (size_t i = 0; i < n_parts; i++) {
        if (!parts[i].id)
            continue;
        omen_model_part_set(&parts[i], omen_sections_data(list, parts[i].id)); /* which stay where they are */
        index->centroid_bytes += omen_model_parts_bytes(&parts[i], 1);
    }
    index->centroid_codes = partition.codes;
    index->centroid_scales = partition.scales;
    index->first = omen_sections_data(list, OMEN_SECTION_LIST);
    if (!omen_scales_are_sound(index->centroid_scales, m->d_kept))
        return omen_fail(list->why, OMEN_ERR_CORRUPT, "section CSCL holds a value that is out of range");
    for (size_t l = 0; l < n_lists; l++) {
        if (index->first[l] > index->first[l + 1])
            return omen_fail(list->why, OMEN_ERR_CORRUPT, "section LIST: offsets of list %zu fall", l);
        if (index->first[l + 1] - index->first[l] > index->largest_list)
            index->largest_list = index->first[l + 1] - index->first[l];
    }
    if (index->first[0] != 0 || index->first[n_lists] != m->n_rows)
        return omen_fail(list->why, OMEN_ERR_CORRUPT, "section LIST: the lists do not hold all rows");
    index->centroid_bytes += (uint64_t)n_lists * sizeof *index->first;

    float *centroids = omen_alloc(n_lists * d, sizeof *centroids);
    index->panels = omen_alloc(omen_panels_count(n_lists, d), sizeof *index->panels);
    index->half_norms = omen_alloc(n_lists, sizeof *index->half_norms);
    if (!centroids || !index->panels || !index->half_norms) {
        free(centroids);
        return OMEN_ERR_MEMORY;
    }
    omen_centroids_decode(index->centroid_codes, index->centroid_scales, m->n_lists, m->d_kept, centroids);
    omen_panels_pack(centroids, n_lists, d, d, index->panels);
    omen_half_norms(centroids, n_lists, d, index->half_norms);
    free(centroids);
    if (!omen_half_norms_are_sound(index->half_norms, n_lists))
        return omen_fail(list->why, OMEN_ERR_CORRUPT, "section CENT: a centroid is too long");
    return OMEN_OK;
}

void omen_lists_close(omen_index *index)
{
    free(index->panels);
    free(index->half_norms);
    free(index->spread);
    free(index->errors);
    omen_lists_free_kept(index);
}

int omen_lists_check(const omen_index *index, omen_fault_fn fault, void *context)
{
    char text[160];
    for (size_t l = 0; l < index->meta.n_lists && index->ids; l++) {
        for (uint64_t i = (uint64_t)index->first[l] + 1; i < index->first[l + 1]; i++) {
            if (index->ids[i] <= index->ids[i - 1]) {
                snprintf(text, sizeof text, "list %zu is not in order of id at position %llu", l,
                         (unsigned long long)i);
                fault(context, "PERM", text);
                return OMEN_ERR_CORRUPT;
            }
        }
    }
    return OMEN_OK;
}
