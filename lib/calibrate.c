/* SPDX-License-Identifier: Apache-2.0 */
/* Measures which effort reaches which recall, on the user's queries or on rows of the source (a row is then not its own
 * neighbour).
 *
 * Effort is a reach, which lists a query takes, and a margin, which of their rows are re-ranked (index.h). One exact
 * search gives the true neighbours. One scan of as many lists as the highest recall needs, with a wide pool, then tells
 * for every true neighbour the reach that its list takes and, for any reach, the margin that it takes to find it. From
 * these the cheapest effort for each recall is read off; no search is repeated.
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

#define QUERIES        OMEN_CALIBRATE_QUERIES
#define QUERIES_LEAST  100u
#define WORK_MOST      7e10  /* multiply-adds spent on exact neighbours */
#define POOL           1536u /* candidates looked at, where that is enough; one behind them counts as not found */
#define LOWER_BOUND    1.5
#define MARGIN_MOST    0.0035
#define TOP_MARGIN     0.002f
#define BEYOND         32u /* neighbours behind the last wanted one that might take its place after rounding */
#define NO_ROW         UINT32_MAX
#define APART          UINT32_MAX
#define SHARE_MOST     0.999 /* of the true neighbours are in the lists looked at */
#define N_REACHES      32u   /* looked at, */
#define SHARE_STEP     1.19  /* each leaves out so many times the neighbours of the one before */
#define N_MARGINS      128u  /* looked at, besides 0 */
#define COPY_RANK      10u   /* a near copy is COPY_NEARER times as near, squared, as the neighbour of this rank */
#define COPY_NEARER    16.0f
#define N_KS           3u
#define TRIVIAL_RANK   10u   /* a query whose neighbour of this rank is at distance 0 is trivial, */
#define TRIVIAL_COSINE 1e-6f /* or, under cosine, at no more than rounding */
#define TRIVIAL_LEFT   50u   /* queries to measure on, at least */
#define N_LEVELS       10u

/* Relative costs: a code scanned is 1. Measured on AVX2 and AVX-512 machines; they steer the choice, nothing more. */
#define COST_LIST      150.0
#define COST_ROW       100.0
#define COST_ROW_VALUE 0.5

/* Where the first lists are nearly all that it takes, the sample hardly tells one reach from another. A smaller one,
 * less safe for other queries, then has to save something. */
#define FEW_LISTS  (2 * OMEN_FIRST_LISTS)
#define COST_WORTH 0.96

/* Where the pools of so many candidates miss more than 1 - SHORT of the nearest, wider ones are looked at. */
#define SHORT   0.96
#define N_WIDER 2u
static const uint32_t wider[N_WIDER] = {4 * POOL, 7 * POOL};

#define K_MOST 100u
static const uint32_t ks[N_KS] = {1, 10, K_MOST};
static const float levels[N_LEVELS] = {0.80f, 0.85f, 0.90f, 0.93f, 0.95f,
                                       0.96f, 0.97f, 0.98f, 0.99f, OMEN_TUNE_HIGHEST};

typedef struct {
    const omen_index *index;
    uint32_t n_queries, k_most, n_truth; /* n_truth: BEYOND more, and 1 where the query itself is among them */
    float *queries;
    uint32_t *own;                /* ids of the queries; NO_ROW for those that are not rows */
    uint64_t *truth;              /* n_queries x n_truth keys (distance, id) */
    uint32_t *neighbours;         /* n_queries x k_most: the ids among them, without the query's own */
    uint64_t *refined;            /* the same rows, (distance to the refine row, id) */
    bool *lost;                   /* n_queries x k_most: re-ranking puts the neighbour behind k others */
    uint32_t *ranks;              /* n_queries x n_lists */
    float *ahead;                 /* n_queries x n_lists: as omen_search_ranks() gives it */
    float *nearest2, *tails;      /* n_queries */
    double *norms2;               /* n_queries: of the queries themselves */
    float *d_k2, *scale, *spread; /* n_queries: of the first lists, as omen_margin_of() takes them */
    uint32_t *n_first;            /* n_queries: first lists */
    uint32_t *list_of;            /* by id; APART for rows that are found whatever the effort */
    uint32_t *n_lists;            /* n_queries: lists taken, at the reach looked at */
    float *enlarged; /* n_queries x (N_MARGINS + 1): the margins looked at, as omen_margin_of() makes them */
    double recall[N_MARGINS + 1], rows[N_MARGINS + 1]; /* the recall counted as reached, mean rows */
    float margin_most;
    uint64_t *pools;      /* n_queries x pool keys (estimate, position) */
    uint32_t *pool_ranks; /* n_queries x pool: rank of the list a candidate is in */
    uint32_t *hits; /* n_queries x k_most: places in the pool that hold true neighbours, ascending (APART first), */
    uint32_t *hit_truth; /* and which ones these are */
    uint32_t *n_hits;    /* n_queries */
    uint32_t pool, n_with_copies;
    int n_threads;
    omen_watch *watch;
} calibration;

/* Fills neighbours: the truth, the queries themselves left out. Counts the queries that have a near copy. */
static void name_neighbours(calibration *c)
{
    for (uint32_t q = 0; q < c->n_queries; q++) {
        const uint64_t *truth = c->truth + (size_t)q * c->n_truth;
        float nearest = 0;
        for (uint32_t i = 0, t = 0; i < c->k_most; i++, t++) {
            t += (uint32_t)truth[t] == c->own[q];
            c->neighbours[(size_t)q * c->k_most + i] = (uint32_t)truth[t];
            const float distance = omen_key_distance(truth[t]);
            if (i == 0)
                nearest = distance;
            if (i == COPY_RANK - 1)
                c->n_with_copies += nearest * COPY_NEARER <= distance;
        }
    }
}

/* The rank of the list that a row is in. */
static uint32_t rank_of(const calibration *c, uint32_t query, uint32_t id)
{
    return c->list_of[id] == APART ? 0 : c->ranks[(size_t)query * c->index->meta.n_lists + c->list_of[id]];
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
            n_at[rank_of(c, q, c->neighbours[(size_t)q * c->k_most + i])]++;
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
        const uint32_t *neighbours = c->neighbours + (size_t)q * c->k_most;
        const size_t at = (size_t)q * c->pool;
        uint32_t *hits = c->hits + (size_t)q * c->k_most, *hit_truth = c->hit_truth + (size_t)q * c->k_most;
        uint64_t wanted[K_MOST]; /* id, number */
        c->n_hits[q] = 0;
        for (uint32_t i = 0; i < k; i++) {
            wanted[i] = (uint64_t)neighbours[i] << 32 | i;
            if (c->list_of[neighbours[i]] == APART) {
                hits[c->n_hits[q]] = APART;
                hit_truth[c->n_hits[q]++] = i;
            }
        }
        omen_keys_sort(wanted, k);
        for (uint32_t j = 0; j < c->pool; j++) {
            const uint64_t key = c->pools[at + j];
            c->pool_ranks[at + j] = UINT32_MAX;
            if (key == UINT64_MAX)
                continue;
            const uint32_t id = index->ids[(uint32_t)key];
            if (id == c->own[q]) /* which no real query would meet */
                continue;
            c->pool_ranks[at + j] = rank_of(c, q, id);
            if (c->list_of[id] == APART)
                continue;
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
    float *lifted = omen_alloc(c->n_queries * d_full, sizeof *lifted);
    if (!lifted)
        return OMEN_ERR_MEMORY;
    /* cosine compares the unit query, as a search does */
    const float *queries =
        is_cosine ? omen_transform_lift(&index->transform, c->queries, c->n_queries, true, lifted) : c->queries;
    queries = omen_refine_shift(&index->refine, queries, c->n_queries, true, lifted);
#pragma omp parallel for schedule(dynamic)
    for (uint32_t q = 0; q < c->n_queries; q++) {
        const float *query = queries + (size_t)q * index->meta.d;
        const double offset = omen_refine_offset(&index->refine, query);
        for (uint32_t i = 0; i < c->n_truth; i++) {
            const uint32_t id = (uint32_t)c->truth[(size_t)q * c->n_truth + i], list = c->list_of[id];
            if (list == APART) {
                c->refined[(size_t)q * c->n_truth + i] = c->truth[(size_t)q * c->n_truth + i];
                continue;
            }
            uint32_t row = index->first[list], above = index->first[list + 1]; /* ids of a list rise */
            while (above - row > 1) {
                const uint32_t middle = row + (above - row) / 2;
                if (index->ids[middle] <= id)
                    row = middle;
                else
                    above = middle;
            }
            const uint8_t *stored = index->refine_rows + (uint64_t)row * index->refine_row_bytes;
            const float found = omen_refine_distance(&index->refine, distance, query, offset, stored);
            c->refined[(size_t)q * c->n_truth + i] = omen_key(found, id);
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

/* The number of first lists of a query. */
static uint32_t count_first(const omen_index *index, const uint32_t *ranks, uint64_t wanted, uint32_t *order)
{
    const uint32_t n_lists = index->meta.n_lists;
    uint64_t n_rows = 0;
    uint32_t n = omen_first_lists(index), counted = 0;
    for (uint32_t l = 0; l < n_lists; l++)
        order[ranks[l]] = l;
    for (;; n = n < n_lists / 2 ? 2 * n : n_lists) {
        for (; counted < n; counted++)
            n_rows += index->first[order[counted] + 1] - index->first[order[counted]];
        if (n_rows >= wanted || n == n_lists)
            return n;
    }
}

/* Searches the first lists of each query: what is in them is what reach and margin are relative to. */
static int measure_first(calibration *c, uint32_t k)
{
    const omen_index *index = c->index;
    const bool has_codes = index->meta.codec != OMEN_CODEC_NONE;
    const uint32_t n_lists = index->meta.n_lists, first = omen_first_lists(index);
    /* one more where the query itself is in the way */
    const uint64_t wanted = omen_first_rows(index, k), more = wanted + (wanted < index->meta.n_rows);
    const uint32_t n_nearest = (uint32_t)more;
    uint64_t *nearest = omen_alloc((uint64_t)c->n_queries * n_nearest, sizeof *nearest);
    uint32_t *order = omen_alloc(n_lists, sizeof *order);
    int status = nearest && order ? OMEN_OK : OMEN_ERR_MEMORY;
    if (status == OMEN_OK && has_codes)
        status =
            omen_search_candidates(index, c->queries, c->n_queries, first, n_nearest, c->n_threads, nearest, c->watch);
    else if (status == OMEN_OK) {
        const omen_effort effort = omen_effort_fixed(first, n_nearest);
        status = omen_search_lists(index, c->queries, c->n_queries, n_nearest, &effort, NULL, false, c->n_threads,
                                   nearest, NULL, c->watch, NULL);
    }
    for (uint32_t q = 0; q < c->n_queries && status == OMEN_OK; q++) {
        const uint64_t *keys = nearest + (size_t)q * n_nearest;
        float kth = 0, last = 0;
        uint64_t n = 0;
        for (uint32_t j = 0; j < n_nearest && n < wanted && keys[j] != UINT64_MAX; j++) {
            const uint32_t id = has_codes ? index->ids[(uint32_t)keys[j]] : (uint32_t)keys[j];
            if (id == c->own[q])
                continue;
            last = omen_key_distance(keys[j]);
            if (!has_codes)
                last = omen_lifted_distance2(index, last, c->norms2[q]) - c->tails[q];
            kth = n < k ? last : kth;
            n++;
        }
        c->n_first[q] = count_first(index, c->ranks + (size_t)q * n_lists, wanted, order);
        c->d_k2[q] = omen_d_k2(kth, c->nearest2[q], c->tails[q]);
        c->scale[q] = sqrtf(omen_margin_scale2(kth, c->nearest2[q], c->tails[q]));
        c->spread[q] = last - kth;
    }
    free(nearest);
    free(order);
    return status;
}

/* The reach that the list of a rank takes. */
static float reach_of(const calibration *c, uint32_t q, uint32_t rank)
{
    return c->ahead[(size_t)q * c->index->meta.n_lists + rank] / c->d_k2[q];
}

/* Lists that the query takes: those up to reach, at least n_least, at most n_most. */
static uint32_t lists_taken(const calibration *c, uint32_t q, float reach, uint32_t n_least, uint32_t n_most)
{
    uint32_t taken = n_least > c->n_first[q] ? n_least : c->n_first[q], beyond = n_most + 1;
    if (taken >= n_most)
        return taken;
    for (; beyond - taken > 1;) {
        const uint32_t middle = taken + (beyond - taken) / 2;
        if (reach_of(c, q, middle - 1) <= reach)
            taken = middle;
        else
            beyond = middle;
    }
    return taken;
}

/* Fills n_lists for a reach; returns the mean, rounded up. */
static uint32_t take_lists(calibration *c, float reach, uint32_t n_high)
{
    uint32_t n_least = 0, mean = 0;
    for (int pass = 0; pass < 2; pass++) { /* the least is half of the mean, which it raises a little */
        uint64_t sum = 0;
        for (uint32_t q = 0; q < c->n_queries; q++)
            sum += c->n_lists[q] = lists_taken(c, q, reach, n_least, n_high);
        mean = (uint32_t)((sum + c->n_queries - 1) / c->n_queries);
        n_least = omen_least_lists(c->index, mean);
    }
    return mean;
}

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

/* Reaches to look at, falling: those that the lists of all neighbours but a share take. */
static int choose_reaches(calibration *c, uint32_t k, float out[N_REACHES])
{
    const uint64_t n = (uint64_t)c->n_queries * k;
    float *reaches = omen_alloc(n, sizeof *reaches);
    double share = 1 - SHARE_MOST;
    if (!reaches)
        return OMEN_ERR_MEMORY;
    for (uint32_t q = 0; q < c->n_queries; q++)
        for (uint32_t i = 0; i < k; i++) {
            const float reach = reach_of(c, q, rank_of(c, q, c->neighbours[(size_t)q * c->k_most + i]));
            reaches[(size_t)q * k + i] = reach < OMEN_REACH_MOST ? reach : OMEN_REACH_MOST;
        }
    qsort(reaches, n, sizeof *reaches, by_value);
    for (uint32_t i = 0; i < N_REACHES; i++, share *= SHARE_STEP)
        out[i] = reaches[(uint64_t)((1 - share) * (double)(n - 1))];
    free(reaches);
    return OMEN_OK;
}

static float margin_of(const calibration *c, uint32_t number)
{
    const float share = (float)number / N_MARGINS;
    return c->margin_most * share * share;
}

/* The k-th smallest estimate in the n_lists nearest lists. */
static float kth_estimate(const calibration *c, uint32_t q, uint32_t k, uint32_t n_lists)
{
    const uint32_t *pool_ranks = c->pool_ranks + (size_t)q * c->pool;
    float kth = 0;
    for (uint32_t j = 0, left = k; j < c->pool && left > 0; j++) {
        const uint64_t key = c->pools[(size_t)q * c->pool + j];
        if (key == UINT64_MAX)
            break;
        kth = pool_ranks[j] < n_lists ? omen_key_distance(key) : kth;
        left -= pool_ranks[j] < n_lists;
    }
    return kth;
}

/* The margin that nearly every hit takes at most, where many lists are looked at. */
static int measure_margins(calibration *c, uint32_t k, uint32_t n_high)
{
    float *margins = omen_alloc(2 * (uint64_t)c->n_queries * k, sizeof *margins);
    uint64_t n = 0;
    if (!margins)
        return OMEN_ERR_MEMORY;
    for (uint32_t q = 0; q < c->n_queries; q++) {
        const float kth = kth_estimate(c, q, k, n_high);
        const float scale = sqrtf(omen_margin_scale2(kth, c->nearest2[q], c->tails[q]));
        for (uint32_t h = 0; h < c->n_hits[q] && scale > 0; h++) {
            if (c->hits[(size_t)q * c->k_most + h] == APART)
                continue;
            const size_t at = (size_t)q * c->pool + c->hits[(size_t)q * c->k_most + h];
            const float wanted = (omen_key_distance(c->pools[at]) - kth) / scale;
            if (c->pool_ranks[at] < n_high)
                margins[n++] = fmaxf(omen_margin_for(wanted, c->scale[q], c->spread[q]), 0);
        }
    }
    const uint64_t m = (uint64_t)(SHARE_MOST * (double)n);
    const float most = n > 0 ? omen_values_select(margins, n, m > 0 ? m : 1, margins + (uint64_t)c->n_queries * k) : 0;
    c->margin_most = most < OMEN_COORDINATE_MOST ? most : OMEN_COORDINATE_MOST;
    free(margins);
    for (uint32_t q = 0; q < c->n_queries; q++)
        for (uint32_t i = 0; i <= N_MARGINS; i++)
            c->enlarged[(size_t)q * (N_MARGINS + 1) + i] = omen_margin_of(margin_of(c, i), c->scale[q], c->spread[q]);
    return OMEN_OK;
}

/* Counts, of one query and for every margin, the neighbours found and the rows re-ranked, into found and rows. */
static void count_query(const calibration *c, uint32_t q, uint32_t k, uint32_t found[N_MARGINS + 1],
                        uint32_t rows[N_MARGINS + 1])
{
    const uint64_t *pool = c->pools + (size_t)q * c->pool;
    const uint32_t n_lists = c->n_lists[q], *pool_ranks = c->pool_ranks + (size_t)q * c->pool;
    const uint32_t *hits = c->hits + (size_t)q * c->k_most, *hit_truth = c->hit_truth + (size_t)q * c->k_most;
    const bool *lost = c->lost + (size_t)q * k;
    memset(found, 0, (N_MARGINS + 1) * sizeof *found);
    memset(rows, 0, (N_MARGINS + 1) * sizeof *rows);
    if (c->index->meta.codec == OMEN_CODEC_NONE) { /* every row of a probed list is compared */
        const uint32_t *neighbours = c->neighbours + (size_t)q * c->k_most;
        for (uint32_t i = 0; i < k; i++)
            found[0] += rank_of(c, q, neighbours[i]) < n_lists && !lost[i];
    } else {
        const float *enlarged = c->enlarged + (size_t)q * (N_MARGINS + 1);
        const float kth = kth_estimate(c, q, k, n_lists);
        const float scale = sqrtf(omen_margin_scale2(kth, c->nearest2[q], c->tails[q]));
        float limit = kth; /* estimates up to which the margin takes rows; they rise */
        uint32_t h = 0;
        for (; h < c->n_hits[q] && hits[h] == APART; h++) /* those come first */
            found[0] += !lost[hit_truth[h]];
        for (uint32_t j = 0, number = 0; j < c->pool; j++) {
            const bool is_hit = h < c->n_hits[q] && hits[h] == j;
            h += is_hit;
            if (pool_ranks[j] >= n_lists)
                continue;
            const float estimate = omen_key_distance(pool[j]);
            while (estimate > limit && number < N_MARGINS)
                limit = kth + enlarged[++number] * scale;
            if (estimate > limit)
                break;
            rows[number]++;
            found[number] += is_hit && !lost[hit_truth[h - 1]];
        }
    }
    for (uint32_t i = 1; i <= N_MARGINS; i++) {
        found[i] += found[i - 1];
        rows[i] += rows[i - 1];
    }
}

/* Fills recall, as cautiously as said above, and rows, for the lists taken. */
static void count_found(calibration *c, uint32_t k)
{
    uint64_t found[N_MARGINS + 1] = {0}, squares[N_MARGINS + 1] = {0}, rows[N_MARGINS + 1] = {0};
#pragma omp parallel for schedule(static) reduction(+ : found, squares, rows) num_threads(c->n_threads)
    for (uint32_t q = 0; q < c->n_queries; q++) {
        uint32_t n_found[N_MARGINS + 1], n_rows[N_MARGINS + 1];
        count_query(c, q, k, n_found, n_rows);
        for (uint32_t i = 0; i <= N_MARGINS; i++) {
            found[i] += n_found[i];
            squares[i] += (uint64_t)n_found[i] * n_found[i];
            rows[i] += n_rows[i];
        }
    }
    const double n = c->n_queries;
    for (uint32_t i = 0; i <= N_MARGINS; i++) {
        const double mean = (double)found[i] / (n * k), variance = (double)squares[i] / (n * k * k) - mean * mean;
        const double margin = LOWER_BOUND * sqrt((variance > 0 ? variance : 0) / n);
        c->recall[i] = mean - (margin < MARGIN_MOST ? margin : MARGIN_MOST);
        c->rows[i] = (double)rows[i] / n;
    }
}

/* The smallest margin from number on that reaches recall; N_MARGINS + 1 if none does. Without a refine tier there is
 * no re-ranking. */
static uint32_t margin_for(const calibration *c, float recall, uint32_t number)
{
    const uint32_t most = c->index->meta.refine != OMEN_REFINE_NONE ? N_MARGINS : 0;
    while (number <= most && c->recall[number] < (double)recall)
        number++;
    return number <= most ? number : N_MARGINS + 1;
}

/* Keeps n of the queries, those numbered in kept, which rises. */
static void keep_queries(calibration *c, const uint32_t *kept, uint32_t n)
{
    const size_t d = c->index->meta.d, n_lists = c->index->meta.n_lists;
    for (size_t q = 0; q < n; q++) {
        const size_t from = kept[q];
        c->own[q] = c->own[from];
        c->nearest2[q] = c->nearest2[from];
        c->tails[q] = c->tails[from];
        c->norms2[q] = c->norms2[from];
        memmove(c->queries + q * d, c->queries + from * d, d * sizeof *c->queries);
        memmove(c->truth + q * c->n_truth, c->truth + from * c->n_truth, c->n_truth * sizeof *c->truth);
        memmove(c->refined + q * c->n_truth, c->refined + from * c->n_truth, c->n_truth * sizeof *c->refined);
        memmove(c->neighbours + q * c->k_most, c->neighbours + from * c->k_most, c->k_most * sizeof *c->neighbours);
        memmove(c->ranks + q * n_lists, c->ranks + from * n_lists, n_lists * sizeof *c->ranks);
        memmove(c->ahead + q * n_lists, c->ahead + from * n_lists, n_lists * sizeof *c->ahead);
    }
    c->n_queries = n;
}

/* Leaves out queries that equal so many rows that any search finds enough of them, unless few others would remain. */
static int leave_out_trivial(calibration *c)
{
    const uint32_t k = c->k_most < TRIVIAL_RANK ? c->k_most : TRIVIAL_RANK;
    const float least = c->index->meta.metric == OMEN_METRIC_COSINE ? TRIVIAL_COSINE : 0;
    uint32_t *kept = omen_alloc(c->n_queries, sizeof *kept), n = 0;
    if (!kept)
        return OMEN_ERR_MEMORY;
    for (uint32_t q = 0; q < c->n_queries; q++) {
        /* the k-th of the truth without the query, which is its first where it is there */
        const uint64_t *truth = c->truth + (size_t)q * c->n_truth;
        if (omen_key_distance(truth[k - 1 + (c->own[q] != NO_ROW)]) > least)
            kept[n++] = q;
    }
    if (n >= TRIVIAL_LEFT && n < c->n_queries)
        keep_queries(c, kept, n);
    free(kept);
    return OMEN_OK;
}

/* Whether the pools miss so many of the k nearest that the default recall is out of reach. */
static bool is_short(calibration *c, uint32_t k)
{
    uint64_t n_found = 0;
    mark_candidates(c, k);
    for (uint32_t q = 0; q < c->n_queries; q++)
        n_found += c->n_hits[q];
    return (double)n_found < SHORT * (double)c->n_queries * k;
}

/* Wider pools for the same memory: of fewer queries. */
static int widen(calibration *c, uint32_t pool)
{
    const uint32_t before = c->n_queries, fewer = QUERIES * POOL / pool;
    const uint32_t n = before < fewer ? before : fewer;
    c->pool = pool < c->index->meta.n_rows ? pool : (uint32_t)c->index->meta.n_rows;
    free(c->pools);
    free(c->pool_ranks);
    c->pools = omen_alloc((size_t)n * c->pool, sizeof *c->pools);
    c->pool_ranks = omen_alloc((size_t)n * c->pool, sizeof *c->pool_ranks);
    uint32_t *kept = omen_alloc(n, sizeof *kept);
    const bool ready = c->pools && c->pool_ranks && kept;
    for (uint32_t q = 0; q < n && ready; q++)
        kept[q] = (uint32_t)((uint64_t)q * before / n);
    if (ready)
        keep_queries(c, kept, n);
    free(kept);
    return ready ? OMEN_OK : OMEN_ERR_MEMORY;
}

/* The candidates of all queries in the n_probes nearest lists, in pools as wide as it takes. */
static int find_candidates(calibration *c, uint32_t n_probes)
{
    const uint32_t k = c->k_most < TRIVIAL_RANK ? c->k_most : TRIVIAL_RANK;
    int status = OMEN_OK;
    for (size_t i = 0; status == OMEN_OK; i++) {
        status = omen_search_candidates(c->index, c->queries, c->n_queries, n_probes, c->pool, c->n_threads, c->pools,
                                        c->watch);
        if (status != OMEN_OK || i == N_WIDER || c->pool == c->index->meta.n_rows || !is_short(c, k))
            break;
        status = widen(c, wider[i]);
    }
    return status;
}

static int calibrate_k(calibration *c, uint32_t k, uint32_t n_high, omen_tune_entry *entries, size_t *n_entries)
{
    const omen_meta *m = &c->index->meta;
    const double rows_a_list = (double)m->n_rows / m->n_lists, cost_row = COST_ROW + COST_ROW_VALUE * m->d;
    float level[N_LEVELS], reaches[N_REACHES];
    double best_cost[N_LEVELS];
    omen_tune_entry best[N_LEVELS] = {{0}};
    if (m->codec != OMEN_CODEC_NONE)
        mark_candidates(c, k);
    if (m->refine != OMEN_REFINE_NONE)
        mark_lost(c, k);
    int status = measure_first(c, k);
    if (status == OMEN_OK)
        status = choose_reaches(c, k, reaches);
    if (status != OMEN_OK)
        return status;
    if (m->codec != OMEN_CODEC_NONE && (status = measure_margins(c, k, n_high)) != OMEN_OK)
        return status;
    /* where no effort reaches a level, as behind rounded refine rows, the table ends with nearly the most there is */
    take_lists(c, reaches[0], n_high);
    count_found(c, k);
    const float top = (float)c->recall[m->refine != OMEN_REFINE_NONE ? N_MARGINS : 0] - TOP_MARGIN;
    size_t n_levels = 0;
    while (n_levels < N_LEVELS && levels[n_levels] <= top) {
        level[n_levels] = levels[n_levels];
        n_levels++;
    }
    if (n_levels < N_LEVELS && top > (n_levels > 0 ? level[n_levels - 1] : 0))
        level[n_levels++] = top;
    for (size_t l = 0; l < n_levels; l++)
        best_cost[l] = INFINITY;
    uint32_t n_reaches = N_REACHES;
    for (uint32_t i = 0; i < n_reaches; i++) {
        if (omen_watch_stopped(c->watch))
            return OMEN_ERR_INTERRUPTED;
        const uint32_t n_lists = take_lists(c, reaches[i], n_high);
        count_found(c, k);
        uint32_t number = 0;
        for (size_t l = 0; l < n_levels; l++) {
            number = margin_for(c, level[l], number);
            if (number > N_MARGINS) {
                n_reaches = l == 0 ? i : n_reaches; /* no level is reached with less */
                break;
            }
            const double rows = c->rows[number] > k ? c->rows[number] : k;
            const double cost = n_lists * (COST_LIST + rows_a_list) + rows * cost_row;
            if (cost < (n_lists <= FEW_LISTS ? COST_WORTH : 1) * best_cost[l]) {
                best_cost[l] = cost;
                best[l] =
                    (omen_tune_entry){k, level[l], reaches[i], margin_of(c, number), n_lists, (uint32_t)ceil(rows)};
            }
        }
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
    free(c->ahead);
    free(c->nearest2);
    free(c->tails);
    free(c->norms2);
    free(c->d_k2);
    free(c->scale);
    free(c->spread);
    free(c->n_first);
    free(c->n_lists);
    free(c->enlarged);
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
    const uint64_t first = (4 * K_MOST + 13) * 8;
    const uint64_t a_query =
        8 * d + (K_MOST + BEYOND) * 36 + exact + first + n_lists * 16 + POOL * 24 + (N_MARGINS + 1) * 4;
    /* each thread of an exact search holds a block of rows and its products with the queries */
    const uint64_t a_thread = 2048ull * (d + n_queries) * 4;
    return n_queries * a_query + 4 * n + (uint64_t)n_threads * a_thread;
}

uint32_t omen_calibrate_draw(uint64_t n_rows, uint32_t d, uint64_t seed, uint64_t rows[OMEN_CALIBRATE_QUERIES])
{
    uint64_t n = n_queries_for(n_rows, d);
    n = n < n_rows ? n : n_rows;
    omen_random_rows(seed ^ 0x63616c69, n_rows, n, rows);
    return (uint32_t)n;
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
    c->n_truth = (uint32_t)(others < c->k_most + BEYOND ? others : c->k_most + BEYOND) + (!queries);
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
    c->ahead = omen_alloc(n * m->n_lists, sizeof *c->ahead);
    c->nearest2 = omen_alloc(n, sizeof *c->nearest2);
    c->tails = omen_alloc(n, sizeof *c->tails);
    c->norms2 = omen_alloc(n, sizeof *c->norms2);
    c->d_k2 = omen_alloc(n, sizeof *c->d_k2);
    c->scale = omen_alloc(n, sizeof *c->scale);
    c->spread = omen_alloc(n, sizeof *c->spread);
    c->n_first = omen_alloc(n, sizeof *c->n_first);
    c->n_lists = omen_alloc(n, sizeof *c->n_lists);
    c->enlarged = omen_alloc(n * (N_MARGINS + 1), sizeof *c->enlarged);
    c->pools = omen_alloc(n * c->pool, sizeof *c->pools);
    c->pool_ranks = omen_alloc(n * c->pool, sizeof *c->pool_ranks);
    c->hits = omen_alloc(n * c->k_most, sizeof *c->hits);
    c->hit_truth = omen_alloc(n * c->k_most, sizeof *c->hit_truth);
    c->n_hits = omen_alloc(n, sizeof *c->n_hits);
    int status = rows && c->queries && c->own && c->truth && c->neighbours && c->refined && c->lost && c->ranks &&
                         c->list_of && c->ahead && c->nearest2 && c->tails && c->norms2 && c->d_k2 && c->scale &&
                         c->spread && c->n_first && c->n_lists && c->enlarged && c->pools && c->pool_ranks && c->hits &&
                         c->hit_truth && c->n_hits
                     ? OMEN_OK
                     : OMEN_ERR_MEMORY;
    if (status == OMEN_OK) {
        if (queries)
            omen_random_rows(seed ^ 0x63616c69, from->n_rows, n, rows);
        else
            omen_calibrate_draw(m->n_rows, m->d, seed, rows);
        for (uint32_t l = 0; l < m->n_lists && !omen_watch_stopped(watch); l++)
            for (uint32_t i = index->first[l]; i < index->first[l + 1]; i++)
                c->list_of[index->ids[i]] = l;
        for (uint32_t i = 0; i < index->n_apart; i++)
            c->list_of[index->ids[index->apart[i]]] = APART;
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
    if (status == OMEN_OK)
        name_neighbours(c);
    if (status == OMEN_OK)
        status = omen_search_ranks(index, c->queries, n, n_threads, c->ranks, c->ahead, c->nearest2, c->tails, watch);
    for (uint64_t i = 0; i < n && status == OMEN_OK; i++)
        c->norms2[i] = omen_norm2(c->queries + i * m->d, m->d);
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
    const uint32_t n_drawn = c.n_queries;
    if (status == OMEN_OK && !queries && index->meta.metric != OMEN_METRIC_IP)
        status = leave_out_trivial(&c);
    /* one scan serves every k: of the lists that the most demanding one looks at */
    uint32_t n_high = 1, n_probes = 1;
    for (size_t i = 0; i < N_KS && ks[i] <= c.k_most && status == OMEN_OK; i++) {
        status = probes_for(&c, ks[i], SHARE_MOST, &n_probes);
        n_high = n_probes > n_high ? n_probes : n_high;
    }
    if (status == OMEN_OK && index->meta.codec != OMEN_CODEC_NONE)
        status = find_candidates(&c, n_high);
    for (size_t i = 0; i < N_KS && ks[i] <= c.k_most && status == OMEN_OK; i++)
        status = calibrate_k(&c, ks[i], n_high, entries, n_entries);
    /* inner products are no distances: what is nearest need not be near */
    if (!queries && c.k_most >= COPY_RANK && index->meta.metric != OMEN_METRIC_IP)
        *near_copies = (double)c.n_with_copies / n_drawn;
    calibration_finish(&c);
    return status;
}
