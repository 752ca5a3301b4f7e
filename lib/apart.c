/* SPDX-License-Identifier: Apache-2.0 */
/* Rows set apart, and their comparison with every query. They are in lists as well, coded as if they were shorter, so
 * the lists may have found one of them: the same key then. */
#include <stdlib.h>
#include <string.h>

#include "lib/apart.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"
#include "lib/range.h"
#include "lib/refine.h"
#include "lib/row_set.h"
#include "lib/watch.h"

#define SLACK 1.02f /* times the squared radius: less is within the error of a code */

bool omen_apart_is(const float *row, size_t d, float radius2)
{
    return omen_kernels_get()->ip_f32(row, row, d) > SLACK * radius2;
}

int omen_apart_open(omen_index *index, const omen_section_list *list)
{
    const omen_meta *m = &index->meta;
    const omen_section *s = omen_sections_find(list, OMEN_SECTION_APRT);
    if (!s)
        return OMEN_OK;
    if (s->element != OMEN_ELEMENT_U32 || s->n_bytes % sizeof *index->apart || s->n_bytes / 4 > m->n_rows ||
        m->metric != OMEN_METRIC_IP || m->refine == OMEN_REFINE_NONE || !list->has_ids)
        return omen_fail(list->why, OMEN_ERR_CORRUPT, "section APRT does not fit this index");
    index->apart = s->data;
    index->n_apart = (uint32_t)(s->n_bytes / sizeof *index->apart);
    for (uint32_t i = 0; i < index->n_apart; i++)
        if (index->apart[i] >= m->n_rows || (i > 0 && index->apart[i] <= index->apart[i - 1]))
            return omen_fail(list->why, OMEN_ERR_CORRUPT, "section APRT: impossible position %u", index->apart[i]);
    return OMEN_OK;
}

/* Puts a key into k ascending ones, if it is less than the last and not there yet. */
static void insert(uint64_t *keys, uint32_t k, uint64_t key)
{
    uint32_t at = 0, above = k;
    if (key >= keys[k - 1])
        return;
    while (at < above) {
        const uint32_t middle = at + (above - at) / 2;
        if (keys[middle] < key)
            at = middle + 1;
        else
            above = middle;
    }
    if (keys[at] == key)
        return;
    memmove(keys + at + 1, keys + at, (k - 1 - at) * sizeof *keys);
    keys[at] = key;
}

static int touch_apart(const omen_index *index, omen_detail *why)
{
    int status = OMEN_OK;
    for (uint32_t i = 0; i < index->n_apart && status == OMEN_OK; i++)
        status = omen_index_touch_row(index, index->apart[i], true, why);
    return status;
}

int omen_apart_search(const omen_index *index, const float *queries, const omen_row_set *const *row_sets,
                      uint64_t n_queries, uint32_t k, int n_threads, uint32_t first_row, uint64_t *keys,
                      omen_search_stats *stats, omen_watch *watch, omen_detail *why)
{
    const omen_meta *m = &index->meta;
    const int status = touch_apart(index, why);
    if (status != OMEN_OK || !index->n_apart)
        return status;
    const omen_distance_fn distance = omen_refine_kernel(m->refine, m->metric);
#pragma omp parallel for schedule(dynamic, 16) num_threads(n_threads)
    for (uint64_t q = 0; q < n_queries; q++) {
        const float *query = queries + q * m->d;
        const double offset = omen_refine_offset(&index->refine, query);
        for (uint32_t i = 0; i < index->n_apart && !omen_watch_stopped(watch); i++) {
            const uint64_t row = index->apart[i];
            if (row_sets && !omen_row_set_has(row_sets[q], row))
                continue;
            const uint8_t *stored = index->refine_rows + row * index->refine_row_bytes;
            insert(keys + q * k, k,
                   omen_key(omen_refine_distance(&index->refine, distance, query, offset, stored),
                            first_row + index->ids[row]));
        }
    }
    if (stats)
        stats->rows_reranked += n_queries * index->n_apart;
    return omen_watch_status(watch);
}

int omen_apart_search_within(const omen_index *index, const omen_search_job *job)
{
    const omen_meta *m = &index->meta;
    const uint64_t most = omen_key(job->options->within, UINT32_MAX);
    const omen_distance_fn distance = omen_refine_kernel(m->refine, m->metric);
    uint64_t *keys = omen_alloc(index->n_apart, sizeof *keys);
    int status = keys ? touch_apart(index, job->why) : OMEN_ERR_MEMORY;
    for (uint64_t q = 0; q < job->n_queries && status == OMEN_OK; q++) {
        const float *query = job->queries + q * m->d;
        const double offset = omen_refine_offset(&index->refine, query);
        uint64_t n = 0;
        for (uint32_t i = 0; i < index->n_apart; i++) {
            const uint64_t row = index->apart[i];
            const uint8_t *stored = index->refine_rows + row * index->refine_row_bytes;
            keys[n] = omen_key(omen_refine_distance(&index->refine, distance, query, offset, stored), index->ids[row]);
            n += keys[n] <= most && (!job->row_sets || omen_row_set_has(job->row_sets[q], row));
        }
        status = omen_watch_status(job->watch);
        if (status == OMEN_OK)
            status = omen_range_add_new(&job->ranges[q], keys, n, job->options->limit);
    }
    free(keys);
    if (job->stats)
        job->stats->rows_reranked += job->n_queries * index->n_apart;
    return status;
}
