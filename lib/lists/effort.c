/* SPDX-License-Identifier: Apache-2.0 */
/* The effort that a recall takes, by the table of what the build measured. */
#include <math.h>

#include "lib/index.h"

#define DEFAULT_RERANK 10u   /* times k, where nothing was measured */
#define LISTS_MOST     8u    /* times the average: the most that a query may take */
#define ROWS_MOST      1536u /* rows that a query may re-rank; more where the average is near */

/* Between a and b. */
static float mix(float a, float b, float share)
{
    return a + share * (b - a);
}

const omen_tune_entry *omen_index_effort_most(const omen_index *index, uint32_t k)
{
    const omen_tune_entry *last = NULL; /* entries rise by k, then by recall: the first k that covers, or the largest */
    for (size_t i = 0; i < index->n_tune && !(last && last->k >= k && index->tune[i].k > last->k); i++)
        last = &index->tune[i];
    return last;
}

/* TUNE, without lacks, or ATUN. */
typedef struct {
    const omen_tune_entry *entries;
    const float *lacks;
    size_t n;
} effort_table;

typedef struct {
    omen_tune_entry e;
    float lack;
} effort_entry;

static effort_entry entry_at(const effort_table *t, const omen_tune_entry *e)
{
    return (effort_entry){*e, t->lacks ? t->lacks[e - t->entries] : 0};
}

/* Between two entries; the recall of b. */
static effort_entry mix_entries(const effort_entry *a, const effort_entry *b, float share)
{
    return (effort_entry){{b->e.k, b->e.recall, mix(a->e.reach, b->e.reach, share),
                           mix(a->e.margin, b->e.margin, share),
                           (uint32_t)ceilf(mix((float)a->e.n_lists, (float)b->e.n_lists, share)),
                           (uint32_t)ceilf(mix((float)a->e.n_rows, (float)b->e.n_rows, share))},
                          a->lack > 0 ? 1 / mix(1 / a->lack, 1 / b->lack, share) : 0};
}

/* The entry of k_measured that reaches recall, or what is between two; k 0 where there is none. */
static effort_entry entry_for(const effort_table *t, uint32_t k_measured, float recall)
{
    const omen_tune_entry *e = NULL, *before = NULL;
    for (size_t i = 0; i < t->n && !(e && e->recall >= recall); i++) {
        if (t->entries[i].k != k_measured)
            continue;
        before = e;
        e = &t->entries[i];
    }
    if (!e)
        return (effort_entry){.lack = 0};
    effort_entry out = entry_at(t, e);
    if (!before || e->recall <= recall || recall <= before->recall)
        return out;
    /* between two entries: recall grows more slowly than effort does, so a share of the effort gives more than that
     * share of the recall */
    const effort_entry low = entry_at(t, before);
    out = mix_entries(&low, &out, (recall - before->recall) / (e->recall - before->recall));
    out.e.recall = recall;
    return out;
}

static uint32_t at_most(double n, uint64_t most)
{
    return (uint32_t)(n < (double)most ? n : (double)most);
}

/* The effort by a table, as index.h has omen_index_effort_among(). */
static omen_effort effort_by(const omen_index *index, const effort_table *t, uint32_t k, float recall, uint64_t n_all,
                             uint32_t *n_lists, uint32_t *n_rows)
{
    const omen_meta *m = &index->meta;
    /* entries rise by k, then by recall */
    uint32_t below = 0, above = 0; /* of the measured ks, the largest up to k and the smallest from k on */
    for (size_t i = 0; i < t->n; i++) {
        if (t->entries[i].k <= k)
            below = t->entries[i].k;
        if (t->entries[i].k >= k && !above)
            above = t->entries[i].k;
    }
    effort_entry found = entry_for(t, above ? above : below, recall);
    if (!found.e.k) {
        *n_lists = (m->n_lists + 15) / 16;
        *n_rows = at_most(DEFAULT_RERANK * (double)k, n_all);
        return omen_effort_fixed(*n_lists, *n_rows);
    }
    if (below && above > below) {
        const effort_entry b = entry_for(t, below, recall);
        const float share = (sqrtf((float)k) - sqrtf((float)below)) / (sqrtf((float)above) - sqrtf((float)below));
        found = mix_entries(&b, &found, share);
    }
    const omen_tune_entry e = found.e;
    double lists = e.n_lists, rows = e.n_rows;
    if (e.k < k) { /* beyond what was measured: in proportion */
        rows = rows * k / e.k;
        lists += lists * k / (4.0 * e.k);
    }
    omen_effort out = {.reach = e.reach,
                       .margin = e.margin,
                       .lack = found.lack,
                       .first_lists = omen_first_lists(index),
                       .least_lists = omen_least_lists(index, at_most(ceil(lists), m->n_lists)),
                       .most_lists = at_most(lists * LISTS_MOST, m->n_lists),
                       .most_rows = at_most(fmax(fmax(ROWS_MOST, 4 * rows), k), n_all)};
    /* more than was measured: every list, and a wide pool; but a table that ends early says that more does not help */
    if (e.recall < recall && e.recall >= OMEN_TUNE_HIGHEST) {
        out.least_lists = out.most_lists = m->n_lists;
        out.margin *= 2;
        out.most_rows = at_most(4.0 * out.most_rows, n_all);
    }
    out.most_lists = out.most_lists > out.least_lists ? out.most_lists : out.least_lists;
    *n_lists = at_most(lists, m->n_lists);
    *n_rows = at_most(fmax(rows, k), n_all);
    return out;
}

omen_effort omen_index_effort_among(const omen_index *index, uint32_t k, float recall, uint64_t n_all,
                                    uint32_t *n_lists, uint32_t *n_rows)
{
    const effort_table table = {index->tune, NULL, index->n_tune};
    return effort_by(index, &table, k, recall, n_all, n_lists, n_rows);
}

omen_effort omen_index_effort_again(const omen_index *index, uint32_t k, float recall, uint32_t *n_lists,
                                    uint32_t *n_rows)
{
    const effort_table table = {index->tune_again, index->tune_lack, index->n_tune_again};
    return index->n_tune_again ? effort_by(index, &table, k, recall, index->meta.n_rows, n_lists, n_rows)
                               : omen_index_effort(index, k, recall, n_lists, n_rows);
}

omen_effort omen_index_effort(const omen_index *index, uint32_t k, float recall, uint32_t *n_lists, uint32_t *n_rows)
{
    return omen_index_effort_among(index, k, recall, index->meta.n_rows, n_lists, n_rows);
}

void omen_effort_scale(omen_effort *e, const omen_index *index, float factor)
{
    if (!(factor > 0))
        return;
    const omen_meta *m = &index->meta;
    const float reach = e->reach * factor, margin = e->margin * factor;
    e->missed /= factor;
    e->reach = reach < OMEN_REACH_MOST ? reach : OMEN_REACH_MOST;
    e->margin = e->margin < INFINITY && !(margin < OMEN_COORDINATE_MOST) ? OMEN_COORDINATE_MOST : margin;
    e->least_lists = at_most(fmax(ceil((double)e->least_lists * (double)factor), e->first_lists), m->n_lists);
    e->most_lists = at_most(fmax(ceil((double)e->most_lists * (double)factor), e->least_lists), m->n_lists);
    e->most_rows = at_most(ceil((double)e->most_rows * (double)factor), m->n_rows);
}
