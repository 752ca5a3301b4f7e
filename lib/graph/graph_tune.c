/* SPDX-License-Identifier: Apache-2.0 */
/* Measures which effort of the graph reaches which recall.
 *
 * Effort is a reach: a query's pool goes so much farther than its k-th best estimate, squared. That a query far from
 * all rows, to which many of them are about as far, takes a larger pool is what makes the recall hold for queries that
 * are unlike the rows. Queries are the rows that the lists are measured on; a row is then neither its own neighbour nor
 * a step on the way; some of its neighbours are one in its place (graph_search.c). Each reach is searched by once, for
 * all k whose walks are the same, and the share of its pools that is re-ranked is read off. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/graph/graph.h"
#include "lib/matrix.h"
#include "lib/refine.h"

#define MOST_WANTED    (OMEN_CALIBRATE_K + 32) /* neighbours, and rows as near as the last */
#define VALUES         40000u                  /* neighbours of all queries, at most, */
#define ESTIMATES      2000000.0               /* and about so many estimates a reach, */
#define QUERIES_LEAST  200u                    /* but so many queries */
#define MARGIN_MOST    0.007                   /* of a recall, to be safe */
#define TOP_MARGIN     0.001
#define N_LEVELS       OMEN_CALIBRATE_LEVELS
#define N_SHARES       4u
#define N_REACHES      22u
#define IDLE_ROWS      22u    /* a pool of more than twice so many beyond k should find more than one before it */
#define GAIN_LEAST     0.0002 /* of recall by the next reach; less, twice, and the table ends */
#define ESTIMATES_MOST 12000.0

static const float shares[N_SHARES] = {0.25f, 0.5f, 0.75f, 1};
static const float reaches[N_REACHES] = {0,     0.01f,   0.02f, 0.03f,  0.04f,  0.05f,  0.0625f, 0.075f,
                                         0.09f, 0.1075f, 0.13f, 0.155f, 0.185f, 0.225f, 0.275f,  0.35f,
                                         0.45f, 0.6f,    0.8f,  1.1f,   1.5f,   2};

typedef struct {
    const omen_index *index;
    const omen_calibration *truth;
    uint32_t *own; /* positions of the queries; OMEN_GRAPH_NONE for those that are not rows */
    int n_threads;
    omen_watch *watch;
} tuning;

/* What one reach gave: to each k, and to all. */
typedef struct {
    uint64_t n_found[N_SHARES], n_found2[N_SHARES], n_rows[N_SHARES]; /* n_found2: sum of squares */
} found_rows;

typedef struct {
    found_rows of[OMEN_CALIBRATE_KS];
    uint64_t n_pool, n_estimates;
} outcome;

/* Some k whose walks are the same. */
typedef struct {
    const uint32_t *k;
    size_t n;
} some_ks;

/* ---- measuring ---- */

static int by_id(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The ids of a query's k nearest rows and of those as near as the k-th, ascending. Returns how many. */
static uint32_t wanted_ids(const tuning *t, uint32_t q, uint32_t k, uint32_t *ids)
{
    const omen_calibration *c = t->truth;
    const uint64_t *truth = c->truth + (size_t)q * c->n_truth;
    uint32_t n = 0;
    float kth = 0;
    for (uint32_t i = 0; i < c->n_truth && n < MOST_WANTED; i++) {
        if ((uint32_t)truth[i] == c->own[q])
            continue;
        if (n >= k && omen_key_distance(truth[i]) > kth)
            break;
        kth = omen_key_distance(truth[i]);
        ids[n++] = (uint32_t)truth[i];
    }
    qsort(ids, n, sizeof *ids, by_id);
    return n;
}

/* The best rows of a query so far, and what they are to be. */
typedef struct {
    uint32_t k, n_wanted, n_done, n_top;
    uint32_t wanted[MOST_WANTED];
    uint64_t top[OMEN_CALIBRATE_K];
} query_rows;

/* Takes keys up to n of a walk into the k best, and counts those that are wanted. */
static uint64_t count_hits(query_rows *r, const uint64_t *keys, uint32_t n)
{
    uint64_t n_hits = 0;
    for (; r->n_done < n; r->n_done++) {
        uint32_t at = r->n_top < r->k ? r->n_top++ : r->k;
        for (; at > 0 && r->top[at - 1] > keys[r->n_done]; at--)
            if (at < r->k)
                r->top[at] = r->top[at - 1];
        if (at < r->k)
            r->top[at] = keys[r->n_done];
    }
    for (uint32_t i = 0; i < r->n_top; i++) {
        const uint32_t id = (uint32_t)r->top[i];
        n_hits += bsearch(&id, r->wanted, r->n_wanted, sizeof id, by_id) ? 1 : 0;
    }
    return n_hits;
}

/* Counts what the walk of one query finds, for each share of the pool re-ranked. */
static int count_query(const tuning *t, omen_graph_walk *w, uint32_t q, some_ks ks, const omen_graph_effort *effort,
                       outcome *o)
{
    query_rows rows[OMEN_CALIBRATE_KS];
    uint32_t n_ranked = 0;
    omen_graph_view view;
    omen_graph_project(w, t->truth->queries + (size_t)q * t->index->meta.d, 1);
    const int64_t n_found = omen_graph_walk_query(w, 0, *ks.k, effort, t->own[q], &view, NULL);
    if (n_found < 0)
        return (int)n_found;
    o->n_pool += (uint64_t)n_found;
    o->n_estimates += view.n_estimates;
    for (size_t j = 0; j < ks.n; j++) {
        rows[j].k = ks.k[j];
        rows[j].n_done = rows[j].n_top = 0;
        rows[j].n_wanted = wanted_ids(t, q, ks.k[j], rows[j].wanted);
    }
    for (uint32_t s = 0; s < N_SHARES; s++) {
        for (size_t j = 0; j < ks.n; j++) {
            const uint32_t n = omen_graph_rerank_rows((uint32_t)n_found, ks.k[j], shares[s]);
            const int status = n > n_ranked ? omen_graph_rerank(w, 0, n_ranked, n, NULL) : OMEN_OK;
            if (status != OMEN_OK)
                return status;
            n_ranked = n > n_ranked ? n : n_ranked;
            const uint64_t n_hits = count_hits(&rows[j], view.keys, n);
            o->of[j].n_found[s] += n_hits;
            o->of[j].n_found2[s] += n_hits * n_hits;
            o->of[j].n_rows[s] += n;
        }
    }
    return OMEN_OK;
}

static void add_outcome(outcome *to, const outcome *o)
{
    for (size_t j = 0; j < OMEN_CALIBRATE_KS; j++)
        for (uint32_t s = 0; s < N_SHARES; s++) {
            to->of[j].n_found[s] += o->of[j].n_found[s];
            to->of[j].n_found2[s] += o->of[j].n_found2[s];
            to->of[j].n_rows[s] += o->of[j].n_rows[s];
        }
    to->n_pool += o->n_pool;
    to->n_estimates += o->n_estimates;
}

/* Searches n_queries of them once. */
static int measure(const tuning *t, uint32_t n_queries, some_ks ks, const omen_graph_effort *effort, outcome *out)
{
    int status = OMEN_OK;
    memset(out, 0, sizeof *out);
#pragma omp parallel num_threads(t->n_threads)
    {
        omen_graph_walk *w = omen_graph_walk_create(t->index, effort->most_pool);
        outcome o;
        int own = w ? OMEN_OK : OMEN_ERR_MEMORY;
        memset(&o, 0, sizeof o);
#pragma omp for schedule(dynamic, 4)
        for (uint32_t q = 0; q < n_queries; q++) {
            if (own == OMEN_OK)
                own = omen_watch_status(t->watch);
            if (own == OMEN_OK)
                own = count_query(t, w, omen_calibration_thinned(t->truth, n_queries, q), ks, effort, &o);
        }
#pragma omp critical(omen_graph_tune)
        {
            status = own != OMEN_OK ? own : status;
            add_outcome(out, &o);
        }
        omen_graph_walk_destroy(w);
    }
    return status;
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
static void offer(const omen_index *index, uint32_t k, double recall, const point *a, const point *b, double *cost,
                  omen_graph_tune *entry)
{
    const double share = b->recall > a->recall ? (recall - a->recall) / (b->recall - a->recall) : 1;
    const double t = share > 0 ? share : 0;
    const double n_rows = mix_double(a->n_rows, b->n_rows, t),
                 n_estimates = mix_double(a->n_estimates, b->n_estimates, t);
    const omen_meta *m = &index->meta;
    const double n_pool = mix_double(a->n_pool, b->n_pool, t);
    const double own =
        omen_graph_walk_cost(n_estimates, n_pool, index->graph.degree) + omen_graph_rows_cost(n_rows, m->d);
    if (!(own < *cost))
        return;
    *cost = own;
    *entry = (omen_graph_tune){k,
                               (float)recall,
                               (float)mix_double(a->reach, b->reach, t),
                               omen_graph_at_most(ceil(n_pool), m->n_rows),
                               omen_graph_at_most(ceil(n_rows), m->n_rows),
                               omen_graph_at_most(ceil(n_estimates), m->n_rows)};
}

/* How many queries are searched for where each takes about n_estimates: fewer where recall is high and varies less. */
static uint32_t count_queries(const tuning *t, uint32_t k, double n_estimates)
{
    const uint32_t most = omen_graph_at_most(VALUES / k, t->truth->n_queries);
    const double wanted = n_estimates > 0 ? ESTIMATES / n_estimates : most;
    return omen_graph_at_most(wanted > (double)QUERIES_LEAST ? wanted : QUERIES_LEAST, most);
}

/* What reaches gave one k so far. */
typedef struct {
    uint32_t k, n_idle;                 /* n_idle: reaches that gave nearly nothing more */
    omen_graph_tune best[N_LEVELS + 1]; /* the last: the highest recall of all */
    double costs[N_LEVELS + 1], top, reached;
    point before[N_SHARES];
    bool has_points;
} curve;

static bool is_complete(const curve *c)
{
    return c->best[N_LEVELS - 1].k != 0 || c->n_idle == 2;
}

/* Adds what a reach gave. */
static void add_points(const tuning *t, curve *c, double reach, uint32_t n_queries, const outcome *o,
                       const found_rows *found)
{
    const double n_pool = (double)o->n_pool / n_queries, n_estimates = (double)o->n_estimates / n_queries;
    for (uint32_t s = 0; s < N_SHARES; s++) {
        const double recall =
            omen_calibration_safe_recall(found->n_found[s], found->n_found2[s], n_queries, c->k, MARGIN_MOST);
        const point p = {omen_calibration_recall_of_others(t->truth, c->k, recall) - t->truth->lost, reach, n_pool,
                         (double)found->n_rows[s] / n_queries, n_estimates};
        for (size_t l = 0; l < N_LEVELS; l++)
            if ((double)omen_calibrate_levels[l] <= p.recall &&
                (!c->has_points || (double)omen_calibrate_levels[l] > c->before[s].recall))
                offer(t->index, c->k, (double)omen_calibrate_levels[l], c->has_points ? &c->before[s] : &p, &p,
                      &c->costs[l], &c->best[l]);
        if (p.recall - TOP_MARGIN > c->top) {
            c->top = p.recall - TOP_MARGIN;
            c->costs[N_LEVELS] = INFINITY;
            offer(t->index, c->k, c->top, &p, &p, &c->costs[N_LEVELS], &c->best[N_LEVELS]);
        }
        c->before[s] = p;
    }
    const double recall = c->before[N_SHARES - 1].recall;
    c->n_idle = recall - c->reached < GAIN_LEAST && n_pool > 2 * (c->k + IDLE_ROWS) ? c->n_idle + 1 : 0;
    c->reached = recall > c->reached ? recall : c->reached;
    c->has_points = true;
}

static int tune_ks(const tuning *t, some_ks ks, omen_graph_tune *entries, size_t *n_entries)
{
    const omen_meta *m = &t->index->meta;
    curve curves[OMEN_CALIBRATE_KS];
    double n_pool = 0, n_estimates = 0;
    memset(curves, 0, sizeof curves);
    for (size_t j = 0; j < ks.n; j++) {
        curves[j].k = ks.k[j];
        for (size_t l = 0; l <= N_LEVELS; l++)
            curves[j].costs[l] = INFINITY;
    }
    size_t n_open = ks.n;
    for (uint32_t i = 0; i < N_REACHES && n_open > 0; i++) {
        const omen_graph_effort effort = omen_graph_effort_of(t->index, *ks.k, reaches[i], n_pool, 1);
        const uint32_t n_queries = count_queries(t, ks.k[ks.n - 1], n_estimates);
        outcome o;
        const int status = measure(t, n_queries, ks, &effort, &o);
        if (status != OMEN_OK)
            return status;
        n_pool = (double)o.n_pool / n_queries;
        n_estimates = (double)o.n_estimates / n_queries;
        n_open = 0;
        for (size_t j = 0; j < ks.n; j++) {
            if (!is_complete(&curves[j]))
                add_points(t, &curves[j], (double)reaches[i], n_queries, &o, &o.of[j]);
            n_open += !is_complete(&curves[j]);
        }
        if (n_estimates > ESTIMATES_MOST || n_estimates > (double)m->n_rows / 2)
            break;
    }
    for (size_t j = 0; j < ks.n; j++) {
        const omen_graph_tune *best = curves[j].best;
        for (size_t l = 0; l < N_LEVELS && best[l].k; l++)
            entries[(*n_entries)++] = best[l];
        /* where no effort reaches a level, the table ends with nearly the most there is */
        if (!best[N_LEVELS - 1].k && best[N_LEVELS].k &&
            (!best[0].k || best[N_LEVELS].recall > entries[*n_entries - 1].recall))
            entries[(*n_entries)++] = best[N_LEVELS];
    }
    return OMEN_OK;
}

/* How many of n k, which rise, walk as the first one does. */
static size_t count_alike(const tuning *t, const uint32_t *k, size_t n)
{
    const omen_graph_effort effort = omen_graph_effort_of(t->index, *k, 0, 0, 1);
    size_t n_alike = 1;
    while (n_alike < n && omen_graph_effort_of(t->index, k[n_alike], 0, 0, 1).least_pool == effort.least_pool &&
           omen_graph_scale_rank(k[n_alike], &effort) == omen_graph_scale_rank(*k, &effort) &&
           count_queries(t, k[n_alike], 0) == count_queries(t, *k, 0))
        n_alike++;
    return n_alike;
}

/* Positions of the queries. */
static void find_positions(tuning *t)
{
    const uint32_t *ids = t->index->ids, *own = t->truth->own;
    const uint32_t n = t->truth->n_queries;
    for (uint32_t q = 0; q < n; q++)
        t->own[q] = OMEN_GRAPH_NONE;
    for (uint64_t p = 0; p < t->index->meta.n_rows && own[0] != OMEN_NEIGHBOURS_NO_ROW; p++) {
        uint32_t at = 0, above = n; /* ids of queries rise */
        while (above - at > 1) {
            const uint32_t middle = at + (above - at) / 2;
            if (own[middle] <= ids[p])
                at = middle;
            else
                above = middle;
        }
        if (own[at] == ids[p])
            t->own[at] = (uint32_t)p;
    }
}

int omen_graph_calibrate(const omen_index *index, const omen_calibration *truth, int n_threads,
                         omen_way_table tables[OMEN_WAY_TABLES], omen_watch *watch, omen_detail *why)
{
    tuning t = {.index = index, .truth = truth, .n_threads = n_threads, .watch = watch};
    size_t n_entries = 0;
    if (!index->graph.degree || truth->n_queries == 0)
        return OMEN_OK;
    omen_graph_tune *entries = omen_alloc(OMEN_CALIBRATE_KS * (N_LEVELS + 1), sizeof *entries);
    tables->data = entries;
    t.own = omen_alloc(truth->n_queries, sizeof *t.own);
    int status = entries && t.own ? OMEN_OK : OMEN_ERR_MEMORY;
    if (status == OMEN_OK)
        find_positions(&t);
    size_t n_ks = 0;
    while (n_ks < OMEN_CALIBRATE_KS && omen_calibrate_ks[n_ks] <= truth->k_most)
        n_ks++;
    for (size_t i = 0; i < n_ks && status == OMEN_OK;) {
        const some_ks ks = {omen_calibrate_ks + i, count_alike(&t, omen_calibrate_ks + i, n_ks - i)};
        status = tune_ks(&t, ks, entries, &n_entries);
        i += ks.n;
    }
    tables->n_bytes = n_entries * sizeof *entries;
    free(t.own);
    return status;
}

uint64_t omen_graph_calibrate_bytes(uint64_t n_rows, uint32_t d, uint32_t n_lists, int n_threads)
{
    return (uint64_t)omen_neighbours_most_queries(n_rows, d) * 4 +
           (n_rows / 8 + OMEN_GRAPH_POOL_MOST * 24 + 96 * d) * (uint64_t)n_threads;
}
