/* SPDX-License-Identifier: Apache-2.0 */
/* The effort of the graph that a recall takes, by the table of what the build measured. */
#include <math.h>

#include "lib/graph/graph.h"

#define LEAST_ROWS    16u  /* that a pool holds, */
#define SPARE_ROWS    6u   /* and beyond k */
#define POOL_TIMES    32u  /* the most that a pool holds, in averages */
#define DEFAULT_REACH 0.2f /* where nothing was measured, */
#define DEFAULT_POOL  10u  /* times k */

uint32_t omen_graph_at_most(double n, uint64_t most)
{
    return (uint32_t)(n < (double)most ? n : (double)most);
}

/* The rows that a pool holds at most. */
static uint64_t pool_most(const omen_index *index, uint32_t k)
{
    const uint64_t most = k > OMEN_GRAPH_POOL_MOST ? k : OMEN_GRAPH_POOL_MOST;
    return index->meta.n_rows < most ? index->meta.n_rows : most;
}

omen_graph_effort omen_graph_effort_of(const omen_index *index, uint32_t k, float reach, double n_pool, float share)
{
    const uint64_t most = pool_most(index, k);
    omen_graph_effort e = {.reach = reach, .share = share};
    e.least_pool = omen_graph_at_most(fmax(fmax(ceil(n_pool / 2), (double)k + SPARE_ROWS), LEAST_ROWS), most);
    e.most_pool = omen_graph_at_most(fmax(ceil(n_pool * POOL_TIMES), (double)e.least_pool), most);
    return e;
}

static float mix(float a, float b, float share)
{
    return a + share * (b - a);
}

static uint32_t mix_up(uint32_t a, uint32_t b, float share)
{
    return (uint32_t)ceilf(mix((float)a, (float)b, share));
}

static omen_graph_tune mix_entries(const omen_graph_tune *a, const omen_graph_tune *b, float recall, float share)
{
    return (omen_graph_tune){b->k,
                             recall,
                             mix(a->reach, b->reach, share),
                             mix_up(a->pool, b->pool, share),
                             mix_up(a->n_rows, b->n_rows, share),
                             mix_up(a->n_estimates, b->n_estimates, share)};
}

/* The entry of k_measured that reaches recall, or what is between two; k 0 where there is none. */
static omen_graph_tune entry_for(const omen_graph *g, uint32_t k_measured, float recall)
{
    const omen_graph_tune *e = NULL, *before = NULL;
    for (size_t i = 0; i < g->n_tune && !(e && e->recall >= recall); i++) {
        if (g->tune[i].k != k_measured)
            continue;
        before = e;
        e = &g->tune[i];
    }
    if (!e || !before || e->recall <= recall || recall <= before->recall)
        return e ? *e : (omen_graph_tune){0};
    return mix_entries(before, e, recall, (recall - before->recall) / (e->recall - before->recall));
}

omen_graph_effort omen_graph_effort_for(const omen_index *index, uint32_t k, float recall, omen_graph_tune *measured)
{
    const omen_graph *g = &index->graph;
    uint32_t below = 0, above = 0; /* of the measured ks, the largest up to k and the smallest from k on */
    for (size_t i = 0; i < g->n_tune; i++) {
        below = g->tune[i].k <= k ? g->tune[i].k : below;
        above = g->tune[i].k >= k && !above ? g->tune[i].k : above;
    }
    omen_graph_tune e = entry_for(g, above ? above : below, recall);
    if (!e.k) { /* nothing was measured */
        *measured = (omen_graph_tune){0};
        return omen_graph_effort_of(index, k, DEFAULT_REACH, (double)DEFAULT_POOL * k, 1);
    }
    if (below && above > below) {
        const omen_graph_tune b = entry_for(g, below, recall);
        const float reached = b.recall < e.recall ? b.recall : e.recall;
        e = mix_entries(&b, &e, reached,
                        (sqrtf((float)k) - sqrtf((float)below)) / (sqrtf((float)above) - sqrtf((float)below)));
    }
    *measured = e;
    const double times = e.k < k ? (double)k / e.k : 1; /* beyond what was measured: in proportion */
    measured->n_estimates = omen_graph_at_most(ceil(e.n_estimates * times), index->meta.n_rows);
    measured->n_rows = omen_graph_at_most(ceil(e.n_rows * times), index->meta.n_rows);
    measured->pool = omen_graph_at_most(ceil(e.pool * times), index->meta.n_rows);
    float reach = e.reach, share = (float)e.n_rows / (float)e.pool;
    double n_pool = e.pool * times;
    if (e.recall < recall && e.recall >= OMEN_TUNE_HIGHEST) { /* more than was measured */
        reach *= 2;
        n_pool *= 4;
        share = 1;
    }
    return omen_graph_effort_of(index, k, reach, n_pool, share);
}

uint32_t omen_graph_most_k(const omen_index *index)
{
    const omen_graph *g = &index->graph;
    return g->n_tune ? g->tune[g->n_tune - 1].k : 0;
}

bool omen_graph_can_reach(const omen_index *index, uint32_t k, float recall, double *most)
{
    const omen_graph *g = &index->graph;
    const omen_graph_tune *last = NULL; /* entries rise by k, then by recall: the first k that covers, or the largest */
    for (size_t i = 0; i < g->n_tune && !(last && last->k >= k && g->tune[i].k > last->k); i++)
        last = &g->tune[i];
    const bool can = !last || recall <= last->recall, is_lost = can && omen_index_is_rounded_below(index, recall);
    *most = is_lost ? omen_index_ceiling(index, NULL) : can ? 1 : (double)last->recall;
    return can && !is_lost;
}

void omen_graph_effort_scale(omen_graph_effort *e, const omen_index *index, uint32_t k, float factor)
{
    const uint64_t most = pool_most(index, k);
    if (!(factor > 0))
        return;
    const float reach = e->reach * factor, share = e->share * factor;
    e->reach = reach < OMEN_REACH_MOST ? reach : OMEN_REACH_MOST;
    e->share = share < 1 ? share : 1;
    e->least_pool = omen_graph_at_most(fmax(ceil((double)e->least_pool * (double)factor), k), most);
    e->most_pool = omen_graph_at_most(fmax(ceil((double)e->most_pool * (double)factor), e->least_pool), most);
}
