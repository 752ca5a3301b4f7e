/* SPDX-License-Identifier: Apache-2.0 */
/* Measures which effort reaches which recall, on the user's queries or on rows of the source (a row is then not its own
 * neighbour).
 *
 * One exact search gives the true neighbours. One scan of as many lists as the highest recall needs, with a wide pool,
 * then tells for every true neighbour the rank of its list and, for any smaller number of lists, its rank by estimate:
 * what probes and pool it would take to find it. From these the cheapest effort for each recall is read off; no search
 * is repeated.
 *
 * A true neighbour that the refine tier, whose rows are rounded, ranks behind k others counts as not found whatever the
 * effort. A recall counts as reached when the mean over the queries less a margin reaches it: LOWER_BOUND standard
 * errors, but MARGIN_MOST at most, since a recall found well above the one asked for is time wasted. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/index.h"
#include "lib/matrix.h"
#include "lib/refine.h"

#define QUERIES       700u
#define QUERIES_LEAST 100u
#define WORK_MOST     5e10  /* multiply-adds spent on exact neighbours */
#define POOL          1536u /* candidates looked at; a neighbour behind them counts as not found */
#define LOWER_BOUND   1.5
#define MARGIN_MOST   0.005
#define TOP_MARGIN    0.002f
#define BEYOND        32u /* neighbours behind the last wanted one that might take its place after rounding */
#define NO_ROW        UINT32_MAX
#define SHARE_MOST    0.999 /* of the true neighbours are in the lists looked at */
#define PROBE_STEP    16u
#define COPY_RANK     10u /* a near copy is COPY_NEARER times as near, squared, as the neighbour of this rank */
#define COPY_NEARER   16.0f
#define N_KS          3u
#define N_LEVELS      10u

/* Relative costs: a code scanned is 1. Measured on AVX2 and AVX-512 machines; they steer the choice, nothing more. */
#define COST_LIST      150.0
#define COST_ROW       100.0
#define COST_ROW_VALUE 0.5

#define K_MOST 100u
static const uint32_t ks[N_KS] = {1, 10, K_MOST};
static const float levels[N_LEVELS] = {0.80f, 0.85f, 0.90f, 0.93f, 0.95f,
                                       0.96f, 0.97f, 0.98f, 0.99f, OMEN_TUNE_HIGHEST};

typedef struct {
    const omen_index *index;
    uint32_t n_queries, k_most, n_truth; /* n_truth: BEYOND more, and 1 where the query itself is among them */
    float *queries;
    uint32_t *own;        /* ids of the queries; NO_ROW for those that are not rows */
    uint64_t *truth;      /* n_queries x n_truth keys (distance, id) */
    uint32_t *neighbours; /* n_queries x k_most: the ids among them, without the query's own */
    uint64_t *refined;    /* the same rows, (distance to the refine row, id) */
    bool *lost;           /* n_queries x k_most: re-ranking puts the neighbour behind k others */
    uint32_t *ranks;      /* n_queries x n_lists */
    uint32_t *list_of;    /* by id */
    uint32_t *needed;     /* n_queries x k_most: by hit, candidates to re-rank at the probes looked at; 0: not found */
    uint64_t *found;      /* pool + 1: true neighbours found with as many candidates re-ranked, at these probes */
    uint64_t *squares;    /* pool + 1: the same, of each query squared */
    uint64_t *pools;      /* n_queries x pool keys (estimate, position) */
    uint32_t *pool_ranks; /* n_queries x pool: rank of the list a candidate is in */
    uint32_t *hits;       /* n_queries x k_most: places in the pool that hold true neighbours, ascending, */
    uint32_t *hit_truth;  /* and which ones these are */
    uint32_t *n_hits;     /* n_queries */
    uint32_t pool;
    double near_copies;
    int n_threads;
    omen_watch *watch;
} calibration;

/* Whether the query has a near copy among the rows, which any effort finds. Inner products are no distances: what is
 * nearest need not be near. */
static bool is_trivial(const calibration *c, uint32_t q)
{
    const uint64_t *truth = c->truth + (size_t)q * c->n_truth;
    if (c->own[q] == NO_ROW || c->k_most < COPY_RANK || c->index->meta.metric == OMEN_METRIC_IP)
        return false;
    float nearest = 0, distance = 0;
    for (uint32_t i = 0, t = 0; i < COPY_RANK; i++, t++) {
        t += (uint32_t)truth[t] == c->own[q];
        distance = omen_key_distance(truth[t]);
        nearest = i == 0 ? distance : nearest;
    }
    return nearest * COPY_NEARER <= distance;
}

/* Leaves out the trivial queries, unless next to none would be left, and returns their share. */
static double leave_out_trivial(calibration *c)
{
    const uint32_t n = c->n_queries;
    const size_t d = c->index->meta.d;
    uint32_t n_left = 0;
    for (uint32_t q = 0; q < n; q++)
        n_left += !is_trivial(c, q);
    const double share = 1 - (double)n_left / n;
    if (n_left == n || share > OMEN_NEAR_COPIES_MOST)
        return share;
    n_left = 0;
    for (uint32_t q = 0; q < n; q++) {
        if (is_trivial(c, q))
            continue;
        memmove(c->queries + n_left * d, c->queries + q * d, d * sizeof *c->queries);
        memmove(c->truth + (size_t)n_left * c->n_truth, c->truth + (size_t)q * c->n_truth,
                c->n_truth * sizeof *c->truth);
        c->own[n_left++] = c->own[q];
    }
    c->n_queries = n_left;
    return share;
}

/* Fills neighbours: the truth, the queries themselves left out. */
static void name_neighbours(calibration *c)
{
    for (uint32_t q = 0; q < c->n_queries; q++) {
        const uint64_t *truth = c->truth + (size_t)q * c->n_truth;
        for (uint32_t i = 0, t = 0; i < c->k_most; i++, t++) {
            t += (uint32_t)truth[t] == c->own[q];
            c->neighbours[(size_t)q * c->k_most + i] = (uint32_t)truth[t];
        }
    }
}

/* Lists needed to hold share of the true k nearest of all queries. */
static int probes_for(const calibration *c, uint32_t k, double share, uint32_t *n_probes)
{
    const uint32_t n_lists = c->index->meta.n_lists;
    uint32_t *n_at = omen_alloc_zero(n_lists, sizeof *n_at); /* neighbours in the list of each rank */
    if (!n_at)
        return OMEN_ERR_MEMORY;
    for (uint32_t q = 0; q < c->n_queries; q++)
        for (uint32_t i = 0; i < k; i++)
            n_at[c->ranks[(size_t)q * n_lists + c->list_of[c->neighbours[(size_t)q * c->k_most + i]]]]++;
    uint64_t wanted = (uint64_t)ceil(share * (double)c->n_queries * k), n = n_at[0];
    for (*n_probes = 1; n < wanted; n += n_at[(*n_probes)++])
        ;
    free(n_at);
    return OMEN_OK;
}

/* Looks up every candidate once: the rank of its list, and which of the k true neighbours it is. */
static void mark_candidates(calibration *c, uint32_t k)
{
    const omen_index *index = c->index;
#pragma omp parallel for schedule(dynamic)
    for (uint32_t q = 0; q < c->n_queries; q++) {
        const uint32_t *ranks = c->ranks + (size_t)q * index->meta.n_lists;
        const uint32_t *neighbours = c->neighbours + (size_t)q * c->k_most;
        const size_t at = (size_t)q * c->pool;
        uint32_t *hits = c->hits + (size_t)q * c->k_most, *hit_truth = c->hit_truth + (size_t)q * c->k_most;
        uint64_t wanted[K_MOST]; /* id, number */
        c->n_hits[q] = 0;
        for (uint32_t i = 0; i < k; i++)
            wanted[i] = (uint64_t)neighbours[i] << 32 | i;
        omen_keys_sort(wanted, k);
        for (uint32_t j = 0; j < c->pool; j++) {
            const uint64_t key = c->pools[at + j];
            c->pool_ranks[at + j] = UINT32_MAX;
            if (key == UINT64_MAX)
                continue;
            const uint32_t id = index->ids[(uint32_t)key];
            if (id == c->own[q]) /* which no real query would meet */
                continue;
            c->pool_ranks[at + j] = ranks[c->list_of[id]];
            uint32_t lo = 0, hi = k;
            while (hi - lo > 1) {
                const uint32_t mid = (lo + hi) / 2;
                if (wanted[mid] >> 32 <= id)
                    lo = mid;
                else
                    hi = mid;
            }
            if (wanted[lo] >> 32 == id) {
                hits[c->n_hits[q]] = j;
                hit_truth[c->n_hits[q]++] = (uint32_t)wanted[lo];
            }
        }
    }
}

/* Distances of the true neighbours as the refine tier has them. */
static int refine_truth(calibration *c)
{
    const omen_index *index = c->index;
    const omen_distance_fn distance = omen_refine_kernel(index->meta.refine, index->meta.metric);
    const size_t d_full = index->meta.d_full;
    const bool is_cosine = index->meta.metric == OMEN_METRIC_COSINE;
    float *lifted = is_cosine ? omen_alloc(c->n_queries * d_full, sizeof *lifted) : NULL;
    if (is_cosine && !lifted)
        return OMEN_ERR_MEMORY;
    /* cosine compares the unit query, as a search does */
    const float *queries =
        is_cosine ? omen_transform_lift(&index->transform, c->queries, c->n_queries, true, lifted) : c->queries;
#pragma omp parallel for schedule(dynamic)
    for (uint32_t q = 0; q < c->n_queries; q++) {
        for (uint32_t i = 0; i < c->n_truth; i++) {
            const uint32_t id = (uint32_t)c->truth[(size_t)q * c->n_truth + i], list = c->list_of[id];
            uint32_t row = index->first[list], above = index->first[list + 1]; /* ids of a list rise */
            while (above - row > 1) {
                const uint32_t middle = row + (above - row) / 2;
                if (index->ids[middle] <= id)
                    row = middle;
                else
                    above = middle;
            }
            const float value = distance(queries + (size_t)q * index->meta.d,
                                         index->refine_rows + (uint64_t)row * index->refine_row_bytes, index->meta.d);
            c->refined[(size_t)q * c->n_truth + i] = omen_key(omen_metric_distance(index->meta.metric, value), id);
        }
    }
    free(lifted);
    return OMEN_OK;
}

/* Fills lost: whether re-ranking puts a true neighbour behind k others. */
static void mark_lost(calibration *c, uint32_t k)
{
#pragma omp parallel for schedule(static)
    for (uint32_t q = 0; q < c->n_queries; q++) {
        const uint64_t *truth = c->truth + (size_t)q * c->n_truth, *refined = c->refined + (size_t)q * c->n_truth;
        for (uint32_t i = 0, t = 0; i < k; i++, t++) {
            uint32_t n_before = 0;
            t += (uint32_t)truth[t] == c->own[q];
            for (uint32_t j = 0; j < c->n_truth; j++)
                n_before += refined[j] < refined[t] && (uint32_t)truth[j] != c->own[q];
            c->lost[(size_t)q * k + i] = n_before >= k;
        }
    }
}

/* Fills needed, found and squares for n_probes lists. The hits of a query come by rank: the nth adds one to what it
 * finds, at its rank and beyond, and 2 n - 1 to the square. */
static void count_found(calibration *c, uint32_t k, uint32_t n_probes)
{
    const bool has_codes = c->index->meta.codec != OMEN_CODEC_NONE;
#pragma omp parallel for schedule(static)
    for (uint32_t q = 0; q < c->n_queries; q++) {
        const size_t at = (size_t)q * c->k_most;
        const uint32_t *ranks = c->ranks + (size_t)q * c->index->meta.n_lists;
        const uint32_t *pool_ranks = c->pool_ranks + (size_t)q * c->pool;
        const bool *lost = c->lost + (size_t)q * k;
        uint32_t *needed = c->needed + at;
        for (uint32_t i = 0; i < k && !has_codes; i++) /* every row of a probed list is compared */
            needed[i] = ranks[c->list_of[c->neighbours[at + i]]] < n_probes && !lost[i];
        for (uint32_t h = 0, j = 0, rank = 0; has_codes && h < c->n_hits[q]; h++) {
            const uint32_t hit = c->hits[at + h];
            for (; j <= hit; j++)
                rank += pool_ranks[j] < n_probes;
            needed[h] = pool_ranks[hit] < n_probes && !lost[c->hit_truth[at + h]] ? rank : 0;
        }
    }
    memset(c->found, 0, (c->pool + 1) * sizeof *c->found);
    memset(c->squares, 0, (c->pool + 1) * sizeof *c->squares);
    for (uint32_t q = 0; q < c->n_queries; q++) {
        const uint32_t n_hits = has_codes ? c->n_hits[q] : k, *needed = c->needed + (size_t)q * c->k_most;
        for (uint32_t h = 0, n = 0; h < n_hits; h++) {
            if (needed[h] == 0)
                continue;
            c->found[needed[h]]++;
            c->squares[needed[h]] += 2 * ++n - 1;
        }
    }
    for (uint32_t rank = 1; rank <= c->pool; rank++) {
        c->found[rank] += c->found[rank - 1];
        c->squares[rank] += c->squares[rank - 1];
    }
}

/* Recall with n_rerank candidates re-ranked, as cautiously as said above. */
static double recall_at(const calibration *c, uint32_t k, uint32_t n_rerank)
{
    const double n = c->n_queries, mean = (double)c->found[n_rerank] / (n * k);
    const double variance = (double)c->squares[n_rerank] / (n * k * k) - mean * mean;
    const double margin = LOWER_BOUND * sqrt((variance > 0 ? variance : 0) / n);
    return mean - (margin < MARGIN_MOST ? margin : MARGIN_MOST);
}

static int calibrate_k(calibration *c, uint32_t k, omen_tune_entry *entries, size_t *n_entries)
{
    const omen_meta *m = &c->index->meta;
    const double rows_a_list = (double)m->n_rows / m->n_lists, cost_row = COST_ROW + COST_ROW_VALUE * m->d;
    float level[N_LEVELS];
    double best_cost[N_LEVELS];
    omen_tune_entry best[N_LEVELS] = {{0, 0, 0, 0}};
    uint32_t n_low, n_high;
    int status = probes_for(c, k, levels[0], &n_low);
    if (status == OMEN_OK)
        status = probes_for(c, k, SHARE_MOST, &n_high);
    if (status != OMEN_OK)
        return status;
    if (m->codec != OMEN_CODEC_NONE)
        mark_candidates(c, k);
    if (m->refine != OMEN_REFINE_NONE)
        mark_lost(c, k);
    /* where no effort reaches a level, as behind rounded refine rows, the table ends with nearly the most there is */
    count_found(c, k, n_high);
    const uint32_t most = m->refine != OMEN_REFINE_NONE || k > c->pool ? c->pool : k; /* what a search can re-rank */
    const float top = (float)recall_at(c, k, most) - TOP_MARGIN;
    size_t n_levels = 0;
    while (n_levels < N_LEVELS && levels[n_levels] <= top) {
        level[n_levels] = levels[n_levels];
        n_levels++;
    }
    if (n_levels < N_LEVELS && top > (n_levels > 0 ? level[n_levels - 1] : 0))
        level[n_levels++] = top;
    for (size_t l = 0; l < n_levels; l++)
        best_cost[l] = INFINITY;
    for (uint32_t probes = n_low;; probes += probes < PROBE_STEP ? 1 : probes / PROBE_STEP) {
        probes = probes < n_high ? probes : n_high;
        if (omen_watch_stopped(c->watch))
            return OMEN_ERR_INTERRUPTED;
        count_found(c, k, probes);
        uint32_t rerank = k < c->pool ? k : c->pool;
        for (size_t l = 0; l < n_levels; l++) {
            while (recall_at(c, k, rerank) < (double)level[l] && rerank < c->pool && m->refine != OMEN_REFINE_NONE)
                rerank++;
            if (recall_at(c, k, rerank) < (double)level[l])
                break;
            const double cost = probes * (COST_LIST + rows_a_list) + rerank * cost_row;
            if (cost < best_cost[l]) {
                best_cost[l] = cost;
                best[l] = (omen_tune_entry){k, probes, rerank, level[l]};
            }
        }
        if (probes == n_high)
            break;
    }
    for (size_t l = 0; l < n_levels && best[l].k; l++)
        entries[(*n_entries)++] = best[l];
    return OMEN_OK;
}

static void calibration_finish(calibration *c)
{
    free(c->queries);
    free(c->own);
    free(c->truth);
    free(c->neighbours);
    free(c->refined);
    free(c->lost);
    free(c->ranks);
    free(c->list_of);
    free(c->needed);
    free(c->found);
    free(c->squares);
    free(c->pools);
    free(c->pool_ranks);
    free(c->hits);
    free(c->hit_truth);
    free(c->n_hits);
}

static uint64_t n_queries_for(uint64_t n_rows, uint32_t d)
{
    const double affordable = WORK_MOST / ((double)n_rows * d);
    return affordable > QUERIES ? QUERIES : affordable < QUERIES_LEAST ? QUERIES_LEAST : (uint64_t)affordable;
}

uint64_t omen_calibrate_bytes(uint64_t n, uint32_t d, uint32_t n_lists, int n_threads)
{
    const uint64_t n_queries = n_queries_for(n, d);
    /* the exact search keeps some more keys than asked for, in each of two ranges of rows a thread */
    const uint64_t exact = 2 * (uint64_t)n_threads * (K_MOST + 2 * BEYOND) * 8;
    const uint64_t a_query = 8 * d + (K_MOST + BEYOND) * 36 + exact + n_lists * 12 + POOL * 24;
    /* each thread of an exact search holds a block of rows and its products with the queries */
    const uint64_t a_thread = 2048ull * (d + n_queries) * 4;
    return n_queries * a_query + 4 * n + (uint64_t)n_threads * a_thread;
}

/* Draws the queries: from queries if not NULL, else from the rows of source. */
static int calibration_init(calibration *c, const omen_index *index, const omen_source *source,
                            const omen_source *queries, uint64_t seed, int n_threads, omen_watch *watch,
                            omen_detail *why)
{
    const omen_meta *m = &index->meta;
    const omen_source *from = queries ? queries : source;
    uint64_t n = n_queries_for(m->n_rows, m->d);
    n = n < from->n_rows ? n : from->n_rows;
    *c = (calibration){.index = index, .n_queries = (uint32_t)n, .n_threads = n_threads, .watch = watch};
    const uint64_t others = queries ? m->n_rows : m->n_rows - 1;
    c->k_most = others < K_MOST ? (uint32_t)others : K_MOST;
    c->n_truth = (uint32_t)(others < c->k_most + BEYOND ? others : c->k_most + BEYOND) + (queries == NULL);
    c->pool = POOL < m->n_rows ? POOL : (uint32_t)m->n_rows;
    uint64_t *rows = omen_alloc(n, sizeof *rows);
    c->queries = omen_alloc(n * m->d, sizeof *c->queries);
    c->own = omen_alloc(n, sizeof *c->own);
    c->truth = omen_alloc(n * c->n_truth, sizeof *c->truth);
    c->neighbours = omen_alloc(n * c->k_most, sizeof *c->neighbours);
    c->refined = omen_alloc(n * c->n_truth, sizeof *c->refined);
    c->lost = omen_alloc_zero(n * c->k_most, sizeof *c->lost);
    c->ranks = omen_alloc(n * m->n_lists, sizeof *c->ranks);
    c->list_of = omen_alloc(m->n_rows, sizeof *c->list_of);
    c->needed = omen_alloc(n * c->k_most, sizeof *c->needed);
    c->found = omen_alloc(c->pool + 1, sizeof *c->found);
    c->squares = omen_alloc(c->pool + 1, sizeof *c->squares);
    c->pools = omen_alloc(n * c->pool, sizeof *c->pools);
    c->pool_ranks = omen_alloc(n * c->pool, sizeof *c->pool_ranks);
    c->hits = omen_alloc(n * c->k_most, sizeof *c->hits);
    c->hit_truth = omen_alloc(n * c->k_most, sizeof *c->hit_truth);
    c->n_hits = omen_alloc(n, sizeof *c->n_hits);
    int status = rows && c->queries && c->own && c->truth && c->neighbours && c->refined && c->lost && c->ranks &&
                         c->list_of && c->needed && c->found && c->squares && c->pools && c->pool_ranks && c->hits &&
                         c->hit_truth && c->n_hits
                     ? OMEN_OK
                     : OMEN_ERR_MEMORY;
    if (status == OMEN_OK) {
        omen_random_rows(seed ^ 0x63616c69, from->n_rows, n, rows);
        for (uint32_t l = 0; l < m->n_lists && !omen_watch_stopped(watch); l++)
            for (uint32_t i = index->first[l]; i < index->first[l + 1]; i++)
                c->list_of[index->ids[i]] = l;
        status = omen_watch_status(watch);
    }
    for (uint64_t i = 0; i < n && status == OMEN_OK; i++) {
        c->own[i] = queries ? NO_ROW : (uint32_t)rows[i];
        status = from->read(from->self, rows[i], 1, c->queries + i * m->d, why);
        if (status == OMEN_OK)
            status = omen_watch_status(watch);
    }
    if (status == OMEN_OK)
        status = omen_search_source(source, m->metric, c->queries, n, c->n_truth, n_threads, c->truth, watch, why);
    if (status == OMEN_OK) {
        c->near_copies = leave_out_trivial(c);
        name_neighbours(c);
        status = omen_search_ranks(index, c->queries, c->n_queries, n_threads, c->ranks, watch);
    }
    if (status == OMEN_OK && m->refine != OMEN_REFINE_NONE)
        status = refine_truth(c);
    free(rows);
    return status;
}

int omen_index_calibrate(const omen_index *index, const omen_source *source, const omen_source *queries, uint64_t seed,
                         int n_threads, omen_tune_entry entries[OMEN_N_TUNE], size_t *n_entries, double *near_copies,
                         omen_watch *watch, omen_detail *why)
{
    *n_entries = 0;
    *near_copies = NAN;
    if (index->meta.n_rows < 2)
        return OMEN_OK; /* no other row to be a neighbour */
    calibration c;
    int status = calibration_init(&c, index, source, queries, seed, n_threads, watch, why);
    /* one scan serves every k: of the lists that the most demanding one looks at */
    uint32_t n_high = 1, n_probes = 1;
    for (size_t i = 0; i < N_KS && ks[i] <= c.k_most && status == OMEN_OK; i++) {
        status = probes_for(&c, ks[i], SHARE_MOST, &n_probes);
        n_high = n_probes > n_high ? n_probes : n_high;
    }
    if (status == OMEN_OK && index->meta.codec != OMEN_CODEC_NONE)
        status = omen_search_candidates(index, c.queries, c.n_queries, n_high, c.pool, n_threads, c.pools, watch);
    for (size_t i = 0; i < N_KS && ks[i] <= c.k_most && status == OMEN_OK; i++)
        status = calibrate_k(&c, ks[i], entries, n_entries);
    if (!queries && c.k_most >= COPY_RANK && index->meta.metric != OMEN_METRIC_IP)
        *near_copies = c.near_copies;
    calibration_finish(&c);
    return status;
}
