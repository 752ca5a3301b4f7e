/* SPDX-License-Identifier: Apache-2.0 */
/* The effort that a recall takes, by the table of what the build measured. */
#include <math.h>

#include "lib/index.h"

#define DEFAULT_RERANK 10u /* times k, where nothing was measured */

/* Between a and b, rounded up. */
static uint64_t share_of(uint32_t a, uint32_t b, float share)
{
    return (uint64_t)ceilf((float)a + share * ((float)b - (float)a));
}

/* The k of the table that serves k: the smallest that covers it, or the largest; 0 without a table. */
static uint32_t covering(const omen_index *index, uint32_t k)
{
    uint32_t k_covered = index->n_tune ? index->tune[index->n_tune - 1].k : 0;
    for (size_t i = index->n_tune; i-- > 0;)
        if (index->tune[i].k >= k)
            k_covered = index->tune[i].k;
    return k_covered;
}

const omen_tune_entry *omen_index_effort_most(const omen_index *index, uint32_t k)
{
    const uint32_t k_covered = covering(index, k);
    const omen_tune_entry *last = NULL;
    for (size_t i = 0; i < index->n_tune; i++)
        if (index->tune[i].k == k_covered)
            last = &index->tune[i];
    return last;
}

void omen_index_effort(const omen_index *index, uint32_t k, float recall, uint32_t *probes, uint32_t *rerank_rows)
{
    const omen_meta *m = &index->meta;
    const omen_tune_entry *e = NULL, *before = NULL;
    /* entries rise by k, then by recall: the first that covers both, or the last of the largest k */
    const uint32_t k_covered = covering(index, k);
    for (size_t i = 0; i < index->n_tune && !(e && e->recall >= recall); i++) {
        if (index->tune[i].k != k_covered)
            continue;
        before = e;
        e = &index->tune[i];
    }
    uint64_t n_probes = e ? e->n_probes : (m->n_lists + 15) / 16,
             n_rerank = e ? e->n_rerank : DEFAULT_RERANK * (uint64_t)k;
    /* between two entries: recall grows more slowly than effort does, so a share of the effort gives more than that
     * share of the recall */
    if (before && e->recall > recall && recall > before->recall) {
        const float share = (recall - before->recall) / (e->recall - before->recall);
        n_probes = share_of(before->n_probes, e->n_probes, share);
        n_rerank = share_of(before->n_rerank, e->n_rerank, share);
    }
    /* more than was measured: every list, and a wide pool; but a table that ends early says that more does not help */
    if (e && e->recall < recall && e->recall >= OMEN_TUNE_HIGHEST) {
        n_probes = m->n_lists;
        n_rerank *= 4;
    }
    if (e && e->k < k) { /* beyond what was measured: in proportion */
        n_rerank = n_rerank * k / e->k;
        n_probes += n_probes * k / (4 * (uint64_t)e->k);
    }
    *probes = (uint32_t)(n_probes < m->n_lists ? n_probes : m->n_lists);
    *rerank_rows = (uint32_t)(n_rerank < m->n_rows ? n_rerank : m->n_rows);
}
