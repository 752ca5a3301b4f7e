/* SPDX-License-Identifier: Apache-2.0 */
/* Measures which effort of the graph reaches which recall, and reads what was measured.
 *
 * Effort is a reach: a query's pool goes so much farther than its k-th best estimate, squared. That a query far from all
 * rows, to which many of them are about as far, takes a larger pool is what makes the recall hold for queries that are
 * unlike the rows. Queries are the rows that the lists are measured on; a row is then neither its own neighbour nor a
 * step on the way. Each reach is searched by once, and the share of its pools that is re-ranked is read off. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/graph.h"
#include "lib/matrix.h"
#include "lib/refine.h"

#define QUERIES       400u /* at most, */
#define VALUES        15000u /* and so many neighbours of them all */
#define BEYOND        32u  /* rows behind the k-th that may be as near as it is */
#define LOWER_BOUND   1.5
#define MARGIN_MOST   0.0035
#define TOP_MARGIN    0.001
#define TRIVIAL_RANK  10u
#define TRIVIAL_LEFT  50u
#define TRIVIAL_COSINE 1e-6f
#define N_KS          3u
#define N_LEVELS      10u
#define N_SHARES      4u
#define N_REACHES     22u
#define LEAST_ROWS    16u /* that a pool holds, */
#define SPARE_ROWS    6u  /* and beyond k */
#define POOL_TIMES    8u /* the most that a pool holds, in averages */
#define POOL_MOST     65536u
#define GAIN_LEAST    0.0002 /* of recall by the next reach; less, twice, and the table ends */
#define ESTIMATES_MOST 12000.0

/* Relative costs, of one estimate to a re-ranked row and its values. They steer the choice, nothing more. */
#define COST_ROW       2.0
#define COST_ROW_VALUE 0.02

static const uint32_t ks[N_KS] = {1, 10, 100};
static const float levels[N_LEVELS] = {0.80f, 0.85f, 0.90f, 0.93f, 0.95f,
                                       0.96f, 0.97f, 0.98f, 0.99f, OMEN_TUNE_HIGHEST};
static const float shares[N_SHARES] = {0.25f, 0.5f, 0.75f, 1};
static const float reaches[N_REACHES] = {0,     0.02f, 0.04f, 0.06f, 0.08f, 0.1f, 0.125f, 0.15f, 0.18f, 0.215f, 0.26f,
                                         0.31f, 0.37f, 0.45f, 0.55f, 0.7f,  0.9f, 1.2f,   1.6f,  2.2f,  3,      4};

typedef struct {
    const omen_index *index;
    uint32_t n_queries, n_truth;
    float *queries;
    uint32_t *own;   /* positions of the queries; OMEN_GRAPH_NONE for those that are not rows */
    uint64_t *truth; /* n_queries x n_truth keys (distance, id), own rows left out */
    int n_threads;
    omen_watch *watch;
} tuning;

/* What one reach gave. */
typedef struct {
    uint64_t n_found[N_SHARES], n_found2[N_SHARES], n_rows[N_SHARES]; /* n_found2: sum of squares */
    uint64_t n_pool, n_estimates;
} outcome;

static uint32_t at_most(double n, uint64_t most)
{
    return (uint32_t)(n < (double)most ? n : (double)most);
}

/* The bounds of a pool that holds n_pool rows on average. */
static omen_graph_effort effort_of(const omen_index *index, uint32_t k, float reach, double n_pool, float share)
{
    const uint64_t n = index->meta.n_rows, most = n < POOL_MOST || n < k ? n : k > POOL_MOST ? k : POOL_MOST;
    omen_graph_effort e = {.reach = reach, .share = share};
    e.least_pool = at_most(fmax(fmax(ceil(n_pool / 2), (double)k + SPARE_ROWS), LEAST_ROWS), most);
    e.most_pool = at_most(fmax(ceil(n_pool * POOL_TIMES), (double)e.least_pool), most);
    return e;
}

/* ---- measuring ---- */

static int by_id(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The ids of a query's k nearest rows and of those as near as the k-th, ascending. Returns how many. */
static uint32_t wanted_ids(const tuning *t, uint32_t q, uint32_t k, uint32_t *ids)
{
    const uint64_t *truth = t->truth + (size_t)q * t->n_truth;
    const float kth = omen_key_distance(truth[k - 1]);
    uint32_t n = 0;
    while (n < t->n_truth && omen_key_distance(truth[n]) <= kth) {
        ids[n] = (uint32_t)truth[n];
        n++;
    }
    qsort(ids, n, sizeof *ids, by_id);
    return n;
}

/* Counts what the walk of one query finds, for each share of the pool re-ranked. */
static int count_query(const tuning *t, omen_graph_walk *w, uint32_t q, uint32_t k, const omen_graph_effort *effort,
                       outcome *o)
{
    uint32_t wanted[100 + BEYOND + 1], n_done = 0, n_top = 0;
    uint64_t top[100];
    const uint32_t n_wanted = wanted_ids(t, q, k, wanted);
    omen_graph_view view;
    omen_graph_project(w, t->queries + (size_t)q * t->index->meta.d, 1);
    const int64_t n_found = omen_graph_walk_query(w, 0, k, effort, t->own[q], &view, NULL);
    if (n_found < 0)
        return (int)n_found;
    o->n_pool += (uint64_t)n_found;
    o->n_estimates += view.n_estimates;
    for (uint32_t s = 0; s < N_SHARES; s++) {
        const uint32_t n = omen_graph_rerank_rows((uint32_t)n_found, k, shares[s]);
        const int status = omen_graph_rerank(w, 0, n_done, n, NULL);
        uint64_t n_hits = 0;
        if (status != OMEN_OK)
            return status;
        for (; n_done < n; n_done++) { /* into the k best so far */
            uint32_t at = n_top < k ? n_top++ : k;
            for (; at > 0 && top[at - 1] > view.keys[n_done]; at--)
                if (at < k)
                    top[at] = top[at - 1];
            if (at < k)
                top[at] = view.keys[n_done];
        }
        for (uint32_t i = 0; i < n_top; i++) {
            const uint32_t id = (uint32_t)top[i];
            n_hits += bsearch(&id, wanted, n_wanted, sizeof id, by_id) != NULL;
        }
        o->n_found[s] += n_hits;
        o->n_found2[s] += n_hits * n_hits;
        o->n_rows[s] += n;
    }
    return OMEN_OK;
}

/* Searches n_queries of them once. */
static int measure(const tuning *t, uint32_t n_queries, uint32_t k, const omen_graph_effort *effort, outcome *out)
{
    int status = OMEN_OK;
    memset(out, 0, sizeof *out);
#pragma omp parallel num_threads(t->n_threads)
    {
        omen_graph_walk *w = omen_graph_walk_create(t->index, effort->most_pool);
        outcome o = {{0}, {0}, {0}, 0, 0};
        int own = w ? OMEN_OK : OMEN_ERR_MEMORY;
#pragma omp for schedule(dynamic, 4)
        for (uint32_t q = 0; q < n_queries; q++) {
            if (own == OMEN_OK)
                own = omen_watch_status(t->watch);
            if (own == OMEN_OK)
                own = count_query(t, w, (uint32_t)((uint64_t)q * t->n_queries / n_queries), k, effort, &o);
        }
#pragma omp critical(omen_graph_tune)
        {
            status = own != OMEN_OK ? own : status;
            for (uint32_t s = 0; s < N_SHARES; s++) {
                out->n_found[s] += o.n_found[s];
                out->n_found2[s] += o.n_found2[s];
                out->n_rows[s] += o.n_rows[s];
            }
            out->n_pool += o.n_pool;
            out->n_estimates += o.n_estimates;
        }
        omen_graph_walk_destroy(w);
    }
    return status;
}

/* The recall that counts as reached, as lists have it: less 1.5 standard errors, but not much less. */
static double safe_recall(const outcome *o, uint32_t s, uint32_t n_queries, uint32_t k)
{
    const double n = n_queries, mean = (double)o->n_found[s] / (n * k);
    const double variance = (double)o->n_found2[s] / (n * k * k) - mean * mean;
    const double margin = LOWER_BOUND * sqrt((variance > 0 ? variance : 0) / n);
    return mean - (margin < MARGIN_MOST ? margin : MARGIN_MOST);
}

/* One point of a curve: what a reach and a share of the pool gave. */
typedef struct {
    double recall, reach, n_pool, n_rows, n_estimates;
} point;

static double mix_double(double a, double b, double share)
{
    return a + share * (b - a);
}

/* Takes what reaches recall, between two points of the same share, if it costs less than what entry holds. Recall grows
 * more slowly than reach does, so a share of the reach gives more than that share of the recall. */
static void offer(const omen_meta *m, uint32_t k, double recall, const point *a, const point *b, double *cost,
                  omen_graph_tune *entry)
{
    const double share = b->recall > a->recall ? (recall - a->recall) / (b->recall - a->recall) : 1;
    const double t = share > 0 ? share : 0;
    const double n_rows = mix_double(a->n_rows, b->n_rows, t), n_estimates = mix_double(a->n_estimates, b->n_estimates, t);
    const double own = n_estimates + n_rows * (COST_ROW + COST_ROW_VALUE * m->d);
    if (!(own < *cost))
        return;
    *cost = own;
    *entry = (omen_graph_tune){k,
                               (float)recall,
                               (float)mix_double(a->reach, b->reach, t),
                               at_most(ceil(mix_double(a->n_pool, b->n_pool, t)), m->n_rows),
                               at_most(ceil(n_rows), m->n_rows),
                               at_most(ceil(n_estimates), m->n_rows)};
}

static int tune_k(const tuning *t, uint32_t k, omen_graph_tune *entries, size_t *n_entries)
{
    const omen_meta *m = &t->index->meta;
    omen_graph_tune best[N_LEVELS + 1] = {{0}}; /* the last: the highest recall of all */
    point before[N_SHARES];
    double costs[N_LEVELS + 1], n_pool = 0, top = 0, reached = 0;
    const uint32_t n_queries = t->n_queries < VALUES / k ? t->n_queries : VALUES / k;
    for (size_t l = 0; l <= N_LEVELS; l++)
        costs[l] = INFINITY;
    for (uint32_t i = 0, n_idle = 0; i < N_REACHES && best[N_LEVELS - 1].k == 0 && n_idle < 2; i++) {
        const omen_graph_effort effort = effort_of(t->index, k, reaches[i], n_pool, 1);
        outcome o;
        const int status = measure(t, n_queries, k, &effort, &o);
        if (status != OMEN_OK)
            return status;
        n_pool = (double)o.n_pool / n_queries;
        for (uint32_t s = 0; s < N_SHARES; s++) {
            const point p = {safe_recall(&o, s, n_queries, k), (double)reaches[i], n_pool,
                             (double)o.n_rows[s] / n_queries, (double)o.n_estimates / n_queries};
            for (size_t l = 0; l < N_LEVELS; l++)
                if ((double)levels[l] <= p.recall && (i == 0 || (double)levels[l] > before[s].recall))
                    offer(m, k, (double)levels[l], i > 0 ? &before[s] : &p, &p, &costs[l], &best[l]);
            if (p.recall - TOP_MARGIN > top) {
                top = p.recall - TOP_MARGIN;
                costs[N_LEVELS] = INFINITY;
                offer(m, k, top, &p, &p, &costs[N_LEVELS], &best[N_LEVELS]);
            }
            before[s] = p;
        }
        const double recall = before[N_SHARES - 1].recall;
        n_idle = recall - reached < GAIN_LEAST && n_pool > 2 * (k + SPARE_ROWS + LEAST_ROWS) ? n_idle + 1 : 0;
        reached = recall > reached ? recall : reached;
        if (before[0].n_estimates > ESTIMATES_MOST || before[0].n_estimates > (double)m->n_rows / 2)
            break;
    }
    for (size_t l = 0; l < N_LEVELS && best[l].k; l++)
        entries[(*n_entries)++] = best[l];
    /* where no effort reaches a level, the table ends with nearly the most there is */
    if (!best[N_LEVELS - 1].k && best[N_LEVELS].k && (!best[0].k || best[N_LEVELS].recall > entries[*n_entries - 1].recall))
        entries[(*n_entries)++] = best[N_LEVELS];
    return OMEN_OK;
}

/* ---- queries and their neighbours ---- */

static void tuning_finish(tuning *t)
{
    free(t->queries);
    free(t->own);
    free(t->truth);
}

/* Leaves out own rows, then queries that equal so many rows that any search finds enough of them. */
static void clean_truth(tuning *t, const uint64_t *found, uint32_t n_found, const uint64_t *rows, bool are_rows)
{
    const omen_meta *m = &t->index->meta;
    const float least = m->metric == OMEN_METRIC_COSINE ? TRIVIAL_COSINE : 0;
    const uint32_t rank = t->n_truth < TRIVIAL_RANK ? t->n_truth : TRIVIAL_RANK;
    uint32_t n_kept = 0, n_trivial = 0;
    for (uint32_t q = 0; q < t->n_queries; q++) {
        uint64_t *truth = t->truth + (size_t)q * t->n_truth;
        for (uint32_t i = 0, at = 0; at < t->n_truth; i++, at++) {
            i += are_rows && i < n_found - 1 && (uint32_t)found[(size_t)q * n_found + i] == (uint32_t)rows[q];
            truth[at] = found[(size_t)q * n_found + i];
        }
        n_trivial += omen_key_distance(truth[rank - 1]) <= least;
    }
    if (!are_rows || m->metric == OMEN_METRIC_IP || t->n_queries - n_trivial < TRIVIAL_LEFT)
        return;
    for (uint32_t q = 0; q < t->n_queries; q++) {
        if (omen_key_distance(t->truth[(size_t)q * t->n_truth + rank - 1]) <= least)
            continue;
        memmove(t->queries + (size_t)n_kept * m->d, t->queries + (size_t)q * m->d, m->d * sizeof *t->queries);
        memmove(t->truth + (size_t)n_kept * t->n_truth, t->truth + (size_t)q * t->n_truth,
                t->n_truth * sizeof *t->truth);
        t->own[n_kept++] = t->own[q];
    }
    t->n_queries = n_kept;
}

/* Positions of rows, whose numbers rise. */
static void find_positions(tuning *t, const uint64_t *rows)
{
    const uint32_t *ids = t->index->ids;
    for (uint64_t p = 0; p < t->index->meta.n_rows; p++) {
        uint32_t at = 0, above = t->n_queries;
        while (above - at > 1) {
            const uint32_t middle = at + (above - at) / 2;
            if (rows[middle] <= ids[p])
                at = middle;
            else
                above = middle;
        }
        if (rows[at] == ids[p])
            t->own[at] = (uint32_t)p;
    }
}

static int tuning_init(tuning *t, const omen_source *source, const omen_source *queries, uint64_t seed,
                       omen_detail *why)
{
    const omen_meta *m = &t->index->meta;
    const omen_source *from = queries ? queries : source;
    uint64_t drawn[OMEN_CALIBRATE_QUERIES], rows[QUERIES];
    const uint32_t n_drawn = omen_calibrate_draw(from->n_rows, m->d, seed, drawn);
    const uint64_t others = queries ? m->n_rows : m->n_rows - 1;
    const uint32_t k_most = others < ks[N_KS - 1] ? (uint32_t)others : ks[N_KS - 1];
    t->n_queries = n_drawn < QUERIES ? n_drawn : QUERIES;
    t->n_truth = (uint32_t)(others < k_most + BEYOND ? others : k_most + BEYOND);
    const uint32_t n_found = t->n_truth + !queries;
    t->queries = omen_alloc((size_t)t->n_queries * m->d, sizeof *t->queries);
    t->own = omen_alloc(t->n_queries, sizeof *t->own);
    t->truth = omen_alloc((size_t)t->n_queries * t->n_truth, sizeof *t->truth);
    uint64_t *found = omen_alloc((size_t)t->n_queries * n_found, sizeof *found);
    int status = t->queries && t->own && t->truth && found ? OMEN_OK : OMEN_ERR_MEMORY;
    for (uint32_t q = 0; q < t->n_queries && status == OMEN_OK; q++) {
        rows[q] = drawn[(uint64_t)q * n_drawn / t->n_queries];
        t->own[q] = OMEN_GRAPH_NONE;
        status = from->read(from->self, rows[q], 1, t->queries + (size_t)q * m->d, why);
        if (status == OMEN_OK)
            status = omen_watch_status(t->watch);
    }
    if (status == OMEN_OK && !queries)
        find_positions(t, rows);
    if (status == OMEN_OK)
        status = omen_search_source(source, m->metric, t->queries, t->n_queries, n_found, t->n_threads, found,
                                    t->watch, why);
    if (status == OMEN_OK)
        clean_truth(t, found, n_found, rows, !queries);
    free(found);
    return status;
}

int omen_graph_calibrate(const omen_index *index, const omen_source *source, const omen_source *queries, uint64_t seed,
                         int n_threads, omen_graph_tune entries[OMEN_N_TUNE], size_t *n_entries, omen_watch *watch,
                         omen_detail *why)
{
    tuning t = {.index = index, .n_threads = n_threads, .watch = watch};
    *n_entries = 0;
    if (!index->graph.degree || index->meta.n_rows < 2)
        return OMEN_OK;
    int status = tuning_init(&t, source, queries, seed, why);
    for (size_t i = 0; i < N_KS && ks[i] + BEYOND <= t.n_truth + BEYOND && ks[i] <= t.n_truth && status == OMEN_OK; i++)
        status = tune_k(&t, ks[i], entries, n_entries);
    tuning_finish(&t);
    return status;
}

/* ---- reading ---- */

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
        return effort_of(index, k, 0.3f, 10.0 * k, 1);
    }
    if (below && above > below) {
        const omen_graph_tune b = entry_for(g, below, recall);
        const float reached = b.recall < e.recall ? b.recall : e.recall;
        e = mix_entries(&b, &e, reached, (sqrtf((float)k) - sqrtf((float)below)) / (sqrtf((float)above) - sqrtf((float)below)));
    }
    *measured = e;
    const double times = e.k < k ? (double)k / e.k : 1; /* beyond what was measured: in proportion */
    measured->n_estimates = at_most(ceil(e.n_estimates * times), index->meta.n_rows);
    measured->n_rows = at_most(ceil(e.n_rows * times), index->meta.n_rows);
    float reach = e.reach, share = (float)e.n_rows / (float)e.pool;
    double n_pool = e.pool * times;
    if (e.recall < recall && e.recall >= OMEN_TUNE_HIGHEST) { /* more than was measured */
        reach *= 2;
        n_pool *= 4;
        share = 1;
    }
    return effort_of(index, k, reach, n_pool, share);
}

bool omen_graph_can_reach(const omen_index *index, uint32_t k, float recall, double *most)
{
    const omen_graph *g = &index->graph;
    const omen_graph_tune *last = NULL; /* entries rise by k, then by recall: the first k that covers, or the largest */
    for (size_t i = 0; i < g->n_tune && !(last && last->k >= k && g->tune[i].k > last->k); i++)
        last = &g->tune[i];
    const bool can = !last || recall <= last->recall;
    *most = can ? 1 : (double)last->recall;
    return can;
}

void omen_graph_effort_scale(omen_graph_effort *e, const omen_index *index, float factor)
{
    const uint64_t n = index->meta.n_rows;
    if (!(factor > 0))
        return;
    const float reach = e->reach * factor, share = e->share * factor;
    e->reach = reach < OMEN_REACH_MOST ? reach : OMEN_REACH_MOST;
    e->share = share < 1 ? share : 1;
    e->least_pool = at_most(fmax(ceil((double)e->least_pool * (double)factor), 1), n);
    e->most_pool = at_most(fmax(ceil((double)e->most_pool * (double)factor), e->least_pool), n);
}
