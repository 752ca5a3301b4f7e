/* Approximate search: a batch of queries, list by list.
 *
 * Queries are taken in chunks, one chunk a thread. Phases of a chunk: transform; distances to all centroids by one
 * matrix product and the nearest n_probes of each query; integer tables; (list, query) pairs in list order, so that a
 * list is scanned for all its queries while it is in cache; re-ranking of each query's pool in order of address.
 *
 * A pool holds the n_rerank smallest (estimate, row) pairs met so far; a candidate is turned away only when n_rerank
 * smaller ones are known, so its final content, and with it the result, does not depend on the order of the lists, on
 * chunks or on threads.
 *
 * Estimates are integers in units of one table step: with T the query's tables, D their step and base the part that is
 * the same for a whole list,
 *   pq:      est = base + U (sum of T  +  f code * f step / U),      U = D
 *   rabitq:  est = base + U ((sum of T - middle) * 2^shift * g / g_max  +  f code * f step / U),  U = D g_max / 2^shift
 */
#include <float.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/index.h"
#include "lib/kernels.h"
#include "lib/matrix.h"
#include "lib/refine.h"

#define CHUNK          512u        /* most queries of a chunk */
#define COARSE_ROWS    32u         /* queries whose centroid distances are held at once */
#define SCAN_BLOCKS    4u          /* blocks scanned between visits to the pool */
#define POOL_SLACK     64u         /* pool entries beyond n_rerank before it is cut back */
#define F_RANGE        16000.0f    /* most units that the f code may span */
#define F_SCALE_MOST   32768.0f    /* times the largest f code, 255 / 256, still below 32768 */
#define SAMPLE_STEP    8u          /* sample every 8th list to guess a limit */
#define FIRST_SHARE    8u          /* scan the nearest 1/8 of the lists first */
#define ASK_AHEAD      16u         /* queries whose refine rows are prefetched before they are used */
#define DEFAULT_RERANK 10u         /* times k, where nothing was measured */
#define CHUNK_BYTES    (64u << 20) /* most that the pools and probes of a chunk of more than one query take */
#define UNIT_LEAST     0x1p-119f   /* a table step: 256 of them have an inverse */
#define G_LEAST        1e-34f      /* a g_max below it is no more than rounding: 32767 / it would overflow */
#define BASE_MOST      1.5e38f     /* of what the estimates of a list share: a sum of two does not overflow */

void omen_search_options_init(omen_search_options *options)
{
    *options = (omen_search_options){.k = 10};
}

/* ---- keys ---- */

/* Brings what is less than the median of three elements to the front of [lo, hi), without branches on the data: an
 * element goes there or stays by arithmetic alone. less becomes the first that is not; where it is the very first, the
 * pivot is the smallest, and its equals go to the front instead. */
#define PARTITION(type, x, lo, hi, less)                                                                               \
    const type a = (x)[lo], b = (x)[(lo) + ((hi) - (lo)) / 2], c = (x)[(hi)-1];                                        \
    const type pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);                              \
    size_t less = lo;                                                                                                  \
    for (size_t i = lo; i < (hi); i++) {                                                                               \
        const type t = (x)[i];                                                                                         \
        (x)[i] = (x)[less];                                                                                            \
        (x)[less] = t;                                                                                                 \
        less += t < pivot;                                                                                             \
    }                                                                                                                  \
    const bool is_smallest = less == (lo);                                                                             \
    for (size_t i = lo; i < (is_smallest ? (hi) : (lo)); i++) {                                                        \
        const type t = (x)[i];                                                                                         \
        (x)[i] = (x)[less];                                                                                            \
        (x)[less] = t;                                                                                                 \
        less += t <= pivot;                                                                                            \
    }

/* Quickselect. */
#define SELECT(type, x, n, m)                                                                                          \
    for (size_t lo = 0, hi = (n); lo < (m) && (m) < hi;) {                                                             \
        PARTITION(type, x, lo, hi, less)                                                                               \
        if ((m) <= less && !is_smallest)                                                                               \
            hi = less;                                                                                                 \
        else                                                                                                           \
            lo = less;                                                                                                 \
    }

void omen_keys_select(uint64_t *keys, size_t n, size_t m)
{
    SELECT(uint64_t, keys, n, m)
}

static int by_key(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

#define INSERTION 24u /* keys that are sorted one by one */

/* Quicksort; what splits badly too often is left to the library's. */
static void sort_keys(uint64_t *keys, size_t n, int n_splits)
{
    while (n > INSERTION) {
        if (n_splits-- == 0) {
            qsort(keys, n, sizeof *keys, by_key);
            return;
        }
        PARTITION(uint64_t, keys, 0, n, less)
        if (!is_smallest)
            sort_keys(keys, less, n_splits);
        keys += less;
        n -= less;
    }
    for (size_t i = 1; i < n; i++) {
        const uint64_t key = keys[i];
        size_t j = i;
        for (; j > 0 && keys[j - 1] > key; j--)
            keys[j] = keys[j - 1];
        keys[j] = key;
    }
}

void omen_keys_sort(uint64_t *keys, size_t n)
{
    sort_keys(keys, n, 64);
}

/* ---- the state of one thread's chunk ---- */

typedef struct {
    uint64_t *keys;
    uint32_t n, limit; /* keys held; keys that count */
    uint64_t worst;    /* the limit-th smallest key once there are that many, else UINT64_MAX */
} pool;

typedef struct {
    float unit, per_unit; /* U, 1 / U */
    float bias;           /* pq: sum of the tables' minima */
    float f_per_step;     /* 256 / U: f_scale = step * this */
    int16_t middle;
} query_scale;

typedef struct {
    uint32_t list, query;
    float base;    /* |q - c|^2 */
    float value;   /* |c|^2 / 2 - <q, c>: what lists are ranked by */
    uint32_t turn; /* 0: scanned before those of turn 1 */
} probe;

typedef struct {
    const omen_index *index;
    uint32_t k, n_probes, n_rerank;
    bool rank_only; /* the pools themselves are wanted */
    bool refine_cold;
    bool keys_are_ids; /* no refine tier, or no codes: pool keys are final */
    uint32_t shift;    /* rabitq */
    uint64_t pool_size;
    size_t ld; /* floats of a transformed query */
    omen_watch *watch;
    /* a chunk's buffers */
    float *lifted, *transformed, *tails, *dots, *values, *work, *table;
    uint32_t *short_lists;
    uint8_t *luts;
    query_scale *scales;
    pool *pools;
    uint64_t *pool_keys;
    probe *probes, *sorted;
    size_t n_pairs, pairs_size;
    uint32_t *list_first;
    int16_t *est;
    uint32_t *masks;
    omen_search_stats stats;
} chunk_state;

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* Capacity of a pool in keys: one block beyond the size that triggers a cut. */
static size_t pool_room(const chunk_state *s)
{
    return s->pool_size + OMEN_SCAN_BLOCK;
}

static void chunk_finish(chunk_state *s)
{
    free(s->lifted);
    free(s->transformed);
    free(s->tails);
    free(s->dots);
    free(s->values);
    free(s->work);
    free(s->short_lists);
    free(s->table);
    free(s->luts);
    free(s->scales);
    free(s->pools);
    free(s->pool_keys);
    free(s->probes);
    free(s->sorted);
    free(s->list_first);
    free(s->est);
    free(s->masks);
}

static int chunk_init(chunk_state *s, const omen_index *index, uint32_t k, uint32_t n_probes, uint32_t n_rerank,
                      bool rank_only, size_t n_queries)
{
    const omen_meta *m = &index->meta;
    memset(s, 0, sizeof *s);
    s->index = index;
    s->k = k;
    s->n_probes = n_probes;
    s->n_rerank = n_rerank;
    s->rank_only = rank_only;
    s->keys_are_ids = !rank_only && (m->refine == OMEN_REFINE_NONE || m->codec == OMEN_CODEC_NONE);
    s->ld = round_up(m->d_kept, OMEN_PANEL);
    s->pool_size = (uint64_t)2 * n_rerank + POOL_SLACK;
    if (m->codec != OMEN_CODEC_NONE) {
        while (s->shift < 10 &&
               (omen_codec_lut_max(&index->model) * m->n_sub / 2 + m->n_sub / 4 + 1) << (s->shift + 1) < 32768)
            s->shift++;
    }
    s->pairs_size = n_queries * n_probes;
    const size_t ldc = round_up(m->n_lists, OMEN_PANEL);
    s->lifted = omen_alloc(n_queries * m->d_full, sizeof *s->lifted);
    s->transformed = omen_alloc(n_queries * s->ld, sizeof *s->transformed);
    s->tails = omen_alloc(n_queries, sizeof *s->tails);
    s->dots = omen_alloc(COARSE_ROWS * ldc, sizeof *s->dots);
    s->values = omen_alloc(ldc, sizeof *s->values);
    s->work = omen_alloc(3 * ldc, sizeof *s->work);
    s->short_lists = omen_alloc(ldc + 16, sizeof *s->short_lists);
    s->table = omen_alloc((size_t)m->n_sub * 16, sizeof *s->table);
    s->luts = omen_alloc(n_queries * m->n_sub, 16);
    s->scales = omen_alloc(n_queries, sizeof *s->scales);
    s->pools = omen_alloc(n_queries, sizeof *s->pools);
    s->pool_keys = omen_alloc(n_queries * pool_room(s), sizeof *s->pool_keys);
    s->probes = omen_alloc(s->pairs_size, sizeof *s->probes);
    s->sorted = omen_alloc(s->pairs_size, sizeof *s->sorted);
    s->list_first = omen_alloc(2 * (size_t)m->n_lists + 1, sizeof *s->list_first);
    s->est = omen_alloc(OMEN_SCANS * SCAN_BLOCKS * OMEN_SCAN_BLOCK, sizeof *s->est);
    s->masks = omen_alloc(OMEN_SCANS * SCAN_BLOCKS, sizeof *s->masks);
    if (!s->lifted || !s->transformed || !s->tails || !s->dots || !s->values || !s->work || !s->short_lists ||
        !s->table || !s->luts || !s->scales || !s->pools || !s->pool_keys || !s->probes || !s->sorted ||
        !s->list_first || !s->est || !s->masks)
        return OMEN_ERR_MEMORY;
    return OMEN_OK;
}

/* ---- pools ---- */

static void pool_cut(pool *p)
{
    omen_keys_select(p->keys, p->n, p->limit);
    p->n = p->limit;
    uint64_t worst[4] = {0}; /* four, so that no comparison waits for the one before */
    uint32_t i = 0;
    for (; i + 4 <= p->n; i += 4)
        for (uint32_t j = 0; j < 4; j++)
            worst[j] = p->keys[i + j] > worst[j] ? p->keys[i + j] : worst[j];
    for (; i < p->n; i++)
        worst[0] = p->keys[i] > worst[0] ? p->keys[i] : worst[0];
    for (uint32_t j = 1; j < 4; j++)
        worst[0] = worst[j] > worst[0] ? worst[j] : worst[0];
    p->worst = worst[0];
}

static inline void pool_add(pool *p, uint64_t key, uint64_t size)
{
    if (key >= p->worst)
        return;
    p->keys[p->n++] = key;
    if (p->n == size)
        pool_cut(p);
}

/* ---- probes ---- */

static int probes_reserve(chunk_state *s, size_t n)
{
    if (n <= s->pairs_size)
        return OMEN_OK;
    const size_t size = n + n / 2;
    probe *grown = omen_alloc(size, sizeof *grown), *sorted = omen_alloc(size, sizeof *sorted);
    if (!grown || !sorted) {
        free(grown);
        free(sorted);
        return OMEN_ERR_MEMORY;
    }
    memcpy(grown, s->probes, s->n_pairs * sizeof *grown);
    free(s->probes);
    free(s->sorted);
    s->probes = grown;
    s->sorted = sorted;
    s->pairs_size = size;
    return OMEN_OK;
}

/* The m-th smallest of n values, m <= n; the m smallest are left in front of work. */
static float select_limit(const float *values, size_t n, size_t m, float *work)
{
    float limit = -INFINITY;
    memcpy(work, values, n * sizeof *work);
    SELECT(float, work, n, m)
    for (size_t i = 0; i < m; i++)
        limit = work[i] > limit ? work[i] : limit;
    return limit;
}

/* Lists that may be among the n nearest: all up to a limit guessed from a sample, at least n of them. */
static uint32_t shortlist(chunk_state *s, uint32_t n_lists, uint32_t n)
{
    if (n < n_lists / 4 && n_lists >= 256) {
        float *sample = s->work;
        const uint32_t m = n_lists / SAMPLE_STEP;
        for (uint32_t i = 0; i < m; i++)
            sample[i] = s->values[i * SAMPLE_STEP];
        const uint32_t expected = n / SAMPLE_STEP, rank = expected + 2 * (uint32_t)sqrtf((float)expected) + 3;
        if (rank < m) {
            const float limit = select_limit(sample, m, rank, s->work + m);
            const size_t found = omen_kernels_get()->filter(s->values, n_lists, limit, s->short_lists);
            if (found >= n)
                return (uint32_t)found;
        }
    }
    for (uint32_t l = 0; l < n_lists; l++)
        s->short_lists[l] = l;
    return n_lists;
}

/* Adds the lists nearest to one query: n_probes of them, more while they hold fewer than n_rerank rows. dots is one row
 * of the product with the centroids. Within the limits of a model (index_format.h) nothing overflows here. */
static int choose_lists(chunk_state *s, uint32_t query, const float *dots, float norm2)
{
    const omen_index *index = s->index;
    const uint32_t n_lists = index->meta.n_lists;
    const uint64_t wanted = s->n_rerank < index->meta.n_rows ? s->n_rerank : index->meta.n_rows;
    for (size_t l = 0; l < n_lists; l++)
        s->values[l] = index->half_norms[l] - dots[l];
    for (uint32_t n = s->n_probes;; n = n < n_lists / 2 ? 2 * n : n_lists) {
        uint64_t n_rows = 0;
        const size_t before = s->n_pairs;
        if (probes_reserve(s, before + n) != OMEN_OK)
            return OMEN_ERR_MEMORY;
        const uint32_t n_short = shortlist(s, n_lists, n);
        float *short_values = s->work + n_lists;
        for (uint32_t i = 0; i < n_short; i++)
            short_values[i] = s->values[s->short_lists[i]];
        const float limit = select_limit(short_values, n_short, n, s->work);
        uint32_t n_equal = n; /* lists at the limit that still fit */
        for (uint32_t i = 0; i < n; i++)
            n_equal -= s->work[i] < limit;
        /* the nearest lists are scanned first: they fill the pool with what turns most others away */
        const uint32_t n_first = (n + FIRST_SHARE - 1) / FIRST_SHARE;
        const float first_limit = select_limit(s->work, n, n_first, s->work + n_lists);
        for (uint32_t i = 0; i < n_short; i++) {
            const uint32_t l = s->short_lists[i];
            const float value = s->values[l];
            if (value > limit || (value == limit && n_equal == 0))
                continue;
            n_equal -= value == limit;
            const float base = norm2 + 2 * value;
            s->probes[s->n_pairs++] = (probe){l, query, base > 0 ? base : 0, value, value > first_limit};
            n_rows += index->first[l + 1] - index->first[l];
        }
        if (n_rows >= wanted || n == n_lists)
            return OMEN_OK;
        s->n_pairs = before;
    }
}

static int choose_probes(chunk_state *s, size_t n_queries, omen_detail *why)
{
    const omen_kernels *kernels = omen_kernels_get();
    const omen_index *index = s->index;
    const size_t d = index->meta.d_kept, ldc = round_up(index->meta.n_lists, OMEN_PANEL);
    s->n_pairs = 0;
    for (size_t q0 = 0; q0 < n_queries; q0 += COARSE_ROWS) {
        const size_t n = n_queries - q0 < COARSE_ROWS ? n_queries - q0 : COARSE_ROWS;
        kernels->matmul(s->transformed + q0 * s->ld, s->ld, n, index->panels, ldc / OMEN_PANEL, d, s->dots, ldc);
        for (size_t i = 0; i < n; i++) {
            const float *y = s->transformed + (q0 + i) * s->ld;
            const float norm2 = kernels->ip_f32(y, y, d);
            /* only axes that are not at right angles make a query so long */
            if (!(norm2 <= OMEN_PROJECTED2_MOST))
                return omen_fail(why, OMEN_ERR_CORRUPT, "section BASE: its axes are not at right angles");
            if (choose_lists(s, (uint32_t)(q0 + i), s->dots + i * ldc, norm2) != OMEN_OK)
                return OMEN_ERR_MEMORY;
        }
    }
    /* counting sort: by turn, then by list */
    const size_t n_lists = index->meta.n_lists;
    memset(s->list_first, 0, (2 * n_lists + 1) * sizeof *s->list_first);
    for (size_t i = 0; i < s->n_pairs; i++)
        s->list_first[s->probes[i].turn * n_lists + s->probes[i].list + 1]++;
    for (size_t l = 0; l < 2 * n_lists; l++)
        s->list_first[l + 1] += s->list_first[l];
    for (size_t i = 0; i < s->n_pairs; i++)
        s->sorted[s->list_first[s->probes[i].turn * n_lists + s->probes[i].list]++] = s->probes[i];
    return OMEN_OK;
}

/* ---- tables ---- */

static float between(float x, float least, float most)
{
    return x < least ? least : x > most ? most : x;
}

/* All conversions to integers saturate: of a model that no build made, the answer is poor, but the same everywhere. */
static void make_tables(chunk_state *s, size_t query)
{
    const omen_index *index = s->index;
    const omen_meta *m = &index->meta;
    const bool is_pq = m->codec == OMEN_CODEC_PQ;
    /* what a table step is worth in distance; f codes may need a coarser step than the tables do */
    const float gain = is_pq ? 1 : index->g_max / (float)(1u << s->shift);
    const float unit_min = fmaxf(index->f_step_max * 255 / F_RANGE, UNIT_LEAST);
    float bias;
    omen_codec_tables(&index->model, s->transformed + query * s->ld, s->table);
    const float step =
        omen_codec_round_tables(&index->model, s->table, gain > 0 ? between(unit_min / gain, 0, FLT_MAX) : 0,
                                s->luts + query * m->n_sub * 16, &bias);
    query_scale *out = &s->scales[query];
    out->unit = between(step * gain, UNIT_LEAST, FLT_MAX);
    out->bias = is_pq ? between(bias, -BASE_MOST, BASE_MOST) : 0;
    out->per_unit = 1 / out->unit;
    out->f_per_step = 256 / out->unit;
    const float middle = -bias / step + 0.5f; /* rabitq's tables are symmetric */
    out->middle = (int16_t)(is_pq ? 0 : between(middle, 0, 16000));
}

/* ---- scanning ---- */

static int16_t threshold_of(const pool *p, float base, float per_unit)
{
    if (p->worst == UINT64_MAX)
        return INT16_MAX;
    /* one unit of room: the exact comparison is made on the key */
    const float t = floorf((omen_key_distance(p->worst) - base) * per_unit) + 1;
    return (int16_t)(!(t < INT16_MAX) ? INT16_MAX : t < INT16_MIN ? INT16_MIN : t);
}

/* The query's part of the scan of a list. base_out gets what all estimates of the list share. */
static omen_scan scan_of(const chunk_state *s, const probe *pair, float *base_out)
{
    const omen_index *index = s->index;
    const query_scale *scale = &s->scales[pair->query];
    const float *range = index->ranges + (size_t)pair->list * index->meta.n_factors * 2;
    omen_scan scan = {.luts = s->luts + (size_t)pair->query * index->meta.n_sub * 16,
                      .f_scale = (uint16_t)between(range[1] * scale->f_per_step + 0.5f, 0, F_SCALE_MOST)};
    *base_out = between(pair->base + range[0] + scale->bias, -BASE_MOST, BASE_MOST);
    if (index->meta.codec == OMEN_CODEC_RABITQ) {
        const float q15 = index->g_max > G_LEAST ? 32767 / index->g_max : 0;
        scan.g_base = (int16_t)(range[2] * q15);
        scan.g_scale = (uint16_t)(range[3] * q15 * 256);
        scan.middle = scale->middle;
        scan.shift = (uint16_t)s->shift;
    }
    return scan;
}

/* Candidates of the scanned blocks from b0 on into the query's pool; rows outside [row0, row1) are of other lists. */
static void collect(chunk_state *s, const omen_scan *scan, const probe *pair, float base, uint64_t b0, size_t n_blocks,
                    uint64_t row0, uint64_t row1)
{
    const omen_kernels *kernels = omen_kernels_get();
    const float unit = s->scales[pair->query].unit;
    pool *p = &s->pools[pair->query];
    for (size_t b = 0; b < n_blocks; b++) {
        uint32_t mask = scan->masks[b];
        if (!mask)
            continue;
        const uint64_t first = (b0 + b) * OMEN_SCAN_BLOCK;
        if (first < row0)
            mask &= UINT32_MAX << (row0 - first);
        if (first + OMEN_SCAN_BLOCK > row1)
            mask &= UINT32_MAX >> (first + OMEN_SCAN_BLOCK - row1);
        uint64_t *keys = p->keys + p->n;
        const size_t n = kernels->take_keys(scan->est + b * OMEN_SCAN_BLOCK, mask, base, unit, (uint32_t)first, keys);
        for (size_t i = 0; i < n && s->keys_are_ids; i++)
            keys[i] = (keys[i] & ~(uint64_t)UINT32_MAX) | s->index->ids[(uint32_t)keys[i]];
        p->n += (uint32_t)n;
        if (p->n >= s->pool_size)
            pool_cut(p);
    }
}

/* Scans one list for n <= OMEN_SCANS queries. */
static void scan_list(chunk_state *s, const probe *pairs, size_t n, const uint8_t *ahead, size_t n_ahead_bytes)
{
    const omen_kernels *kernels = omen_kernels_get();
    const omen_index *index = s->index;
    const bool is_pq = index->meta.codec == OMEN_CODEC_PQ;
    const uint64_t row0 = index->first[pairs->list], row1 = index->first[pairs->list + 1];
    omen_scan scans[OMEN_SCANS];
    float bases[OMEN_SCANS];
    for (size_t i = 0; i < n; i++) {
        scans[i] = scan_of(s, &pairs[i], &bases[i]);
        scans[i].est = s->est + i * SCAN_BLOCKS * OMEN_SCAN_BLOCK;
        scans[i].masks = s->masks + i * SCAN_BLOCKS;
    }
    s->stats.codes_scanned += n * (row1 - row0);
    const uint64_t b_end = (row1 + OMEN_SCAN_BLOCK - 1) / OMEN_SCAN_BLOCK;
    const size_t n_parts = row1 > row0 ? (b_end - row0 / OMEN_SCAN_BLOCK + SCAN_BLOCKS - 1) / SCAN_BLOCKS : 1;
    const size_t part_bytes = n_ahead_bytes / n_parts + 64;
    const uint8_t *ahead_end = ahead + n_ahead_bytes;
    for (uint64_t b0 = row0 / OMEN_SCAN_BLOCK; b0 * OMEN_SCAN_BLOCK < row1; b0 += SCAN_BLOCKS) {
        const uint64_t left = b_end - b0;
        const size_t n_blocks = left < SCAN_BLOCKS ? left : SCAN_BLOCKS;
        for (const uint8_t *end = ahead + part_bytes < ahead_end ? ahead + part_bytes : ahead_end; ahead < end;
             ahead += 64)
            __builtin_prefetch(ahead, 0, 2);
        for (size_t i = 0; i < n; i++)
            scans[i].threshold = threshold_of(&s->pools[pairs[i].query], bases[i], s->scales[pairs[i].query].per_unit);
        (is_pq ? kernels->scan_pq : kernels->scan_rabitq)(index->blocks + b0 * index->block_bytes, n_blocks,
                                                          index->meta.n_sub / 2, index->block_bytes, scans, n);
        for (size_t i = 0; i < n; i++)
            collect(s, &scans[i], &pairs[i], bases[i], b0, n_blocks, row0, row1);
    }
}

/* What the scan of a list will read: its codes, and its ids where they are keys, or its refine rows and ids. */
static int touch_list(chunk_state *s, uint32_t list, omen_detail *why)
{
    const omen_index *index = s->index;
    const uint64_t row0 = index->first[list], row1 = index->first[list + 1], b0 = row0 / OMEN_SCAN_BLOCK;
    int status = OMEN_OK;
    if (row0 == row1)
        return OMEN_OK;
    if (index->meta.codec == OMEN_CODEC_NONE)
        status = omen_index_touch_rows(index, row0, row1 - row0, why);
    else
        status = omen_index_touch_codes(index, b0, (row1 + OMEN_SCAN_BLOCK - 1) / OMEN_SCAN_BLOCK - b0, why);
    if (status == OMEN_OK && s->keys_are_ids)
        status = omen_index_touch_ids(index, row0, row1 - row0, why);
    return status;
}

/* Without codes the refine rows of a list are compared directly. */
static void scan_rows(chunk_state *s, const probe *pair, const float *query)
{
    const omen_index *index = s->index;
    const omen_distance_fn distance = omen_refine_kernel(index->meta.refine, index->meta.metric);
    pool *p = &s->pools[pair->query];
    const uint64_t row0 = index->first[pair->list], row1 = index->first[pair->list + 1];
    for (uint64_t row = row0; row < row1; row++) {
        const float d = distance(query, index->refine_rows + row * index->refine_row_bytes, index->meta.d);
        pool_add(p, omen_key(omen_metric_distance(index->meta.metric, d), index->ids[row]), s->pool_size);
    }
    s->stats.rows_reranked += row1 - row0;
}

/* Asks the system for the pages of a pool's rows. Only a hint. */
static void ask_ahead(const omen_index *index, const pool *p)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (uint32_t i = 0; i < p->n; i++) {
        const uint8_t *row = index->refine_rows + (uint32_t)p->keys[i] * index->refine_row_bytes;
        const uintptr_t first = (uintptr_t)row / page * page;
        posix_madvise((void *)first, (uintptr_t)row + index->refine_row_bytes - first, POSIX_MADV_WILLNEED);
    }
}

/* Whole pages within the refine rows: no other rows are read with those asked for. */
static void expect_random(const omen_index *index)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)index->refine_rows;
    const uintptr_t first = (begin + page - 1) / page * page,
                    end = (begin + index->meta.n_rows * index->refine_row_bytes) / page * page;
    if (first < end)
        posix_madvise((void *)first, end - first, POSIX_MADV_RANDOM);
}

/* The pool's rows by their own distance, read in order of address. */
static int rerank(chunk_state *s, pool *p, const float *query, omen_detail *why)
{
    const omen_index *index = s->index;
    const omen_distance_fn distance = omen_refine_kernel(index->meta.refine, index->meta.metric);
    const size_t row_bytes = index->refine_row_bytes, ahead = 4;
    const size_t touched = row_bytes < 1024 ? row_bytes : 1024;
    for (uint32_t i = 0; i < p->n; i++)
        p->keys[i] = (uint32_t)p->keys[i];
    omen_keys_sort(p->keys, p->n);
    for (uint32_t i = 0; i < p->n; i++) {
        if (i + ahead < p->n) {
            const uint8_t *next = index->refine_rows + p->keys[i + ahead] * row_bytes;
            for (size_t at = 0; at < touched; at += 64)
                __builtin_prefetch(next + at);
            __builtin_prefetch(index->ids + p->keys[i + ahead]);
        }
        const uint64_t row = p->keys[i];
        if (!omen_touched_before(&index->refn, row * row_bytes, row_bytes) ||
            !omen_touched_before(&index->perm, row * 4, 4)) {
            int status = omen_index_touch_rows(index, row, 1, why);
            if (status == OMEN_OK)
                status = omen_index_touch_ids(index, row, 1, why);
            if (status != OMEN_OK)
                return status;
        }
        const float d = distance(query, index->refine_rows + row * row_bytes, index->meta.d);
        p->keys[i] = omen_key(omen_metric_distance(index->meta.metric, d), index->ids[row]);
    }
    s->stats.rows_reranked += p->n;
    return OMEN_OK;
}

/* An estimate is a squared distance in the lifted space; back to the metric's own. */
static float estimate_distance(const chunk_state *s, float est, float tail, float query_norm2)
{
    const omen_metric metric = s->index->meta.metric;
    const float d2 = between(est + tail, 0, FLT_MAX);
    if (metric == OMEN_METRIC_L2)
        return d2;
    if (metric == OMEN_METRIC_COSINE)
        return d2 / 2;
    /* |q' - x'|^2 = 2 radius^2 - 2 <q', x> with q' = q * radius / |q| */
    const double radius2 = s->index->meta.ip_radius2;
    const double distance = radius2 > 0 ? (d2 / 2 - radius2) * sqrt(query_norm2 / radius2) : 0;
    return (float)(distance < -FLT_MAX ? -FLT_MAX : distance > FLT_MAX ? FLT_MAX : distance);
}

/* Searches one chunk. refine_queries are what the refine tier is compared with. */
static int search_chunk(chunk_state *s, const float *queries, size_t n_queries, uint64_t *keys, omen_detail *why)
{
    const omen_kernels *kernels = omen_kernels_get();
    const omen_index *index = s->index;
    const omen_meta *m = &index->meta;
    const float *lifted = omen_transform_lift(&index->transform, queries, n_queries, true, s->lifted);
    omen_transform_project(&index->transform, lifted, n_queries, s->transformed, s->ld, s->tails);
    int status = choose_probes(s, n_queries, why);
    if (status != OMEN_OK)
        return status;
    for (size_t q = 0; q < n_queries; q++) {
        s->pools[q] = (pool){s->pool_keys + q * pool_room(s), 0, s->n_rerank, UINT64_MAX};
        if (m->codec != OMEN_CODEC_NONE)
            make_tables(s, q);
    }
    /* cosine re-ranks with the unit query; l2 and ip with the query itself */
    const float *rows = m->metric == OMEN_METRIC_COSINE ? lifted : queries;
    const uint8_t *ahead = NULL;
    size_t list_end = 0, ahead_bytes = 0, ahead_step = 0;
    for (size_t i = 0, n = 1; i < s->n_pairs; i += n) {
        const probe *pairs = s->sorted + i;
        if (omen_watch_stopped(s->watch))
            return OMEN_ERR_INTERRUPTED;
        if ((i == 0 || pairs->list != pairs[-1].list) && (status = touch_list(s, pairs->list, why)) != OMEN_OK)
            return status;
        if (m->codec == OMEN_CODEC_NONE) {
            scan_rows(s, pairs, rows + (size_t)pairs->query * m->d);
            continue;
        }
        for (n = 1; n < OMEN_SCANS && i + n < s->n_pairs && pairs[n].list == pairs->list;)
            n++;
        /* the codes of the next list come from memory while this one is scanned: a part with each scan */
        if (i == list_end) {
            while (list_end < s->n_pairs && s->sorted[list_end].list == pairs->list)
                list_end++;
            const uint32_t next = list_end < s->n_pairs ? s->sorted[list_end].list : pairs->list;
            ahead = index->blocks + (size_t)index->first[next] / OMEN_SCAN_BLOCK * index->block_bytes;
            ahead_bytes = list_end < s->n_pairs ? (size_t)(index->first[next + 1] - index->first[next]) /
                                                      OMEN_SCAN_BLOCK * index->block_bytes
                                                : 0;
            ahead_step = ahead_bytes / ((list_end - i + OMEN_SCANS - 1) / OMEN_SCANS) + 64;
        }
        const size_t step = ahead_step < ahead_bytes ? ahead_step : ahead_bytes;
        scan_list(s, pairs, n, ahead, step);
        ahead += step;
        ahead_bytes -= step;
    }
    const bool asks = s->refine_cold && !s->rank_only && !s->keys_are_ids;
    for (size_t q = 0; q < n_queries; q++)
        if (s->pools[q].n > s->pools[q].limit)
            pool_cut(&s->pools[q]);
    for (size_t q = 0; q < n_queries && q < ASK_AHEAD && asks; q++)
        ask_ahead(index, &s->pools[q]);
    for (size_t q = 0; q < n_queries; q++) {
        pool *p = &s->pools[q];
        if (asks && q + ASK_AHEAD < n_queries)
            ask_ahead(index, &s->pools[q + ASK_AHEAD]);
        if (s->rank_only) {
            omen_keys_sort(p->keys, p->n);
            for (size_t i = 0; i < s->k; i++)
                keys[q * s->k + i] = i < p->n ? p->keys[i] : UINT64_MAX;
            continue;
        }
        if (!s->keys_are_ids && (status = rerank(s, p, rows + q * m->d, why)) != OMEN_OK)
            return status;
        if (p->n > s->k)
            omen_keys_select(p->keys, p->n, s->k);
        omen_keys_sort(p->keys, s->k);
        memcpy(keys + q * s->k, p->keys, s->k * sizeof *keys);
        if (m->refine == OMEN_REFINE_NONE) {
            const float norm2 = kernels->ip_f32(queries + q * m->d, queries + q * m->d, m->d);
            for (size_t i = 0; i < s->k; i++)
                keys[q * s->k + i] = omen_key(estimate_distance(s, omen_key_distance(p->keys[i]), s->tails[q], norm2),
                                              (uint32_t)p->keys[i]);
            omen_keys_sort(keys + q * s->k, s->k); /* estimates below 0 have become equal */
        }
    }
    s->stats.n_queries += n_queries;
    s->stats.lists_probed += s->n_pairs;
    return OMEN_OK;
}

/* Between a and b, rounded up. */
static uint64_t share_of(uint32_t a, uint32_t b, float share)
{
    return (uint64_t)ceilf((float)a + share * ((float)b - (float)a));
}

void omen_index_effort(const omen_index *index, uint32_t k, float recall, uint32_t *probes, uint32_t *rerank_rows)
{
    const omen_meta *m = &index->meta;
    const omen_tune_entry *e = NULL, *before = NULL;
    /* entries rise by k, then by recall: the first that covers both, or the last of the largest k */
    uint32_t k_covered = index->n_tune ? index->tune[index->n_tune - 1].k : 0;
    for (size_t i = index->n_tune; i-- > 0;)
        if (index->tune[i].k >= k)
            k_covered = index->tune[i].k;
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

static int search_lists(const omen_index *index, const float *queries, uint64_t n_queries, uint32_t k,
                        uint32_t n_probes, uint32_t n_rerank, bool rank_only, bool refine_cold, int n_threads,
                        uint64_t *keys, omen_search_stats *stats, omen_watch *watch, omen_detail *why)
{
    const uint32_t d = index->meta.d;
    uint64_t size = (n_queries + 2 * (uint64_t)n_threads - 1) / (2 * (uint64_t)n_threads);
    size = size < 1 ? 1 : size < CHUNK ? size : CHUNK;
    /* an effort as large as the index must not ask for memory as large as 512 indexes */
    const uint64_t query_bytes = 16 * (uint64_t)n_rerank + 2 * sizeof(probe) * (uint64_t)n_probes;
    size = size * query_bytes <= CHUNK_BYTES ? size : query_bytes < CHUNK_BYTES ? CHUNK_BYTES / query_bytes : 1;
    const uint64_t n_chunks = (n_queries + size - 1) / size;
    int status = OMEN_OK;
    if ((uint64_t)n_threads > n_chunks)
        n_threads = n_chunks ? (int)n_chunks : 1;
#pragma omp parallel num_threads(n_threads)
    {
        chunk_state s;
        omen_detail own_why = {""};
        int own = chunk_init(&s, index, k, n_probes, n_rerank, rank_only, size);
        s.refine_cold = refine_cold;
        s.watch = watch;
#pragma omp for schedule(dynamic)
        for (uint64_t q0 = 0; q0 < n_queries; q0 += size)
            if (own == OMEN_OK)
                own = search_chunk(&s, queries + q0 * d, n_queries - q0 < size ? n_queries - q0 : size, keys + q0 * k,
                                   &own_why);
#pragma omp critical
        {
            if (own != OMEN_OK) {
                status = own;
                if (why)
                    *why = own_why;
            }
            if (stats) {
                stats->n_queries += s.stats.n_queries;
                stats->lists_probed += s.stats.lists_probed;
                stats->codes_scanned += s.stats.codes_scanned;
                stats->rows_reranked += s.stats.rows_reranked;
            }
        }
        chunk_finish(&s);
    }
    return status;
}

int omen_search_candidates(const omen_index *index, const float *queries, uint64_t n_queries, uint32_t n_probes,
                           uint32_t n_rerank, int n_threads, uint64_t *keys, omen_watch *watch)
{
    return search_lists(index, queries, n_queries, n_rerank, n_probes, n_rerank, true, false, n_threads, keys, NULL,
                        watch, NULL);
}

int omen_search_ranks(const omen_index *index, const float *queries, uint64_t n_queries, int n_threads, uint32_t *ranks,
                      omen_watch *watch)
{
    const uint32_t n_lists = index->meta.n_lists, d = index->meta.d;
    int status = OMEN_OK;
#pragma omp parallel num_threads(n_threads)
    {
        chunk_state s;
        uint64_t *order = omen_alloc(n_lists, sizeof *order);
        int own = chunk_init(&s, index, 1, n_lists, 1, true, 1);
        if (!order)
            own = OMEN_ERR_MEMORY;
#pragma omp for schedule(dynamic, 16)
        for (uint64_t q = 0; q < n_queries; q++) {
            if (own == OMEN_OK)
                own = omen_watch_status(watch);
            if (own != OMEN_OK)
                continue;
            const float *lifted = omen_transform_lift(&index->transform, queries + q * d, 1, true, s.lifted);
            omen_transform_project(&index->transform, lifted, 1, s.transformed, s.ld, s.tails);
            own = choose_probes(&s, 1, NULL);
            for (uint32_t i = 0; i < n_lists && own == OMEN_OK; i++)
                order[i] = omen_key(s.probes[i].value, s.probes[i].list);
            omen_keys_sort(order, n_lists);
            for (uint32_t i = 0; i < n_lists; i++)
                ranks[q * n_lists + (uint32_t)order[i]] = i;
        }
        if (own != OMEN_OK) {
#pragma omp atomic write
            status = own;
        }
        chunk_finish(&s);
        free(order);
    }
    return status;
}

/* Whether the keys of one query are rows that exist, each once, at distances that are numbers. seen is a hash table of
 * n_seen (a power of two, at least twice k) pairs {query + 1, row}, zero at first. */
static int check_result(const omen_index *index, const uint64_t *keys, uint32_t k, uint64_t query, uint64_t (*seen)[2],
                        uint64_t n_seen, omen_detail *why)
{
    for (uint32_t i = 0; i < k; i++) {
        const uint64_t row = (uint32_t)keys[i];
        uint64_t slot = row * 0x9e3779b97f4a7c15u >> 32 & (n_seen - 1);
        while (seen[slot][0] == query + 1 && seen[slot][1] != row)
            slot = (slot + 1) & (n_seen - 1);
        if (row >= index->meta.n_rows || seen[slot][0] == query + 1)
            return omen_fail(why, OMEN_ERR_CORRUPT, "section PERM: row %llu %s", (unsigned long long)row,
                             row >= index->meta.n_rows ? "does not exist" : "has two positions");
        if (!isfinite(omen_key_distance(keys[i])))
            return omen_fail(why, OMEN_ERR_CORRUPT, "row %llu has no finite distance", (unsigned long long)row);
        seen[slot][0] = query + 1;
        seen[slot][1] = row;
    }
    return OMEN_OK;
}

/* The same for all queries, whatever the file says. */
static int check_results(const omen_index *index, const uint64_t *keys, uint64_t n_queries, uint32_t k, int n_threads,
                         omen_detail *why)
{
    uint64_t n_seen = 8;
    int status = OMEN_OK;
    while (n_seen < 2 * (uint64_t)k)
        n_seen *= 2;
#pragma omp parallel num_threads(n_threads) if (n_queries * k >= 4096)
    {
        uint64_t(*seen)[2] = omen_alloc_zero(n_seen, sizeof *seen);
        omen_detail own_why = {""};
        int own = seen ? OMEN_OK : OMEN_ERR_MEMORY;
#pragma omp for schedule(static)
        for (uint64_t q = 0; q < n_queries; q++)
            if (own == OMEN_OK)
                own = check_result(index, keys + q * k, k, q, seen, n_seen, &own_why);
        if (own != OMEN_OK) {
#pragma omp critical(omen_check_results)
            {
                status = own;
                if (why)
                    *why = own_why;
            }
        }
        free(seen);
    }
    return status;
}

int omen_index_search(const omen_index *index, const omen_search_options *options, const float *queries,
                      uint64_t n_queries, int64_t *ids, float *distances, omen_search_stats *stats, omen_detail *why)
{
    const omen_meta *m = &index->meta;
    const omen_kernels *kernels = omen_kernels_get();
    if (options->k < 1)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "k must be at least 1");
    if (options->exact && m->refine == OMEN_REFINE_NONE)
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "exact search needs a refine tier, which this index was built without");
    const uint32_t k = options->k < m->n_rows ? options->k : (uint32_t)m->n_rows;
    const int n_threads = options->n_threads > 0 ? options->n_threads : omen_cpu_count();
    uint32_t n_probes, n_rerank;
    omen_index_effort(index, k, options->recall > 0 ? options->recall : OMEN_DEFAULT_RECALL, &n_probes, &n_rerank);
    if (options->probes)
        n_probes = options->probes < m->n_lists ? options->probes : m->n_lists;
    if (options->rerank)
        n_rerank = options->rerank < m->n_rows ? options->rerank : (uint32_t)m->n_rows;
    if (n_rerank < k || m->refine == OMEN_REFINE_NONE || m->codec == OMEN_CODEC_NONE)
        n_rerank = k;

    for (uint64_t q = 0; q < n_queries; q++) {
        const float norm2 = kernels->ip_f32(queries + q * m->d, queries + q * m->d, m->d);
        if (!(norm2 <= OMEN_NORM2_MOST))
            return omen_fail(why, OMEN_ERR_INPUT, "query %llu is too long: its squared norm is over %g",
                             (unsigned long long)q, (double)OMEN_NORM2_MOST);
        if (m->metric == OMEN_METRIC_COSINE && !options->zero_ok && norm2 == 0)
            return omen_fail(why, OMEN_ERR_INPUT, "query %llu is a zero vector, which has no cosine",
                             (unsigned long long)q);
    }
    if (options->refine_cold && !options->exact && m->refine != OMEN_REFINE_NONE && m->codec != OMEN_CODEC_NONE)
        expect_random(index);
    uint64_t *keys = omen_alloc(n_queries * k, sizeof *keys);
    if (!keys)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the results of %llu queries",
                         (unsigned long long)n_queries);
    omen_watch watch = omen_watch_make(options->progress, options->progress_context, "search");
    int status = options->exact ? omen_search_exact(index, queries, n_queries, k, n_threads, keys, &watch, why)
                                : search_lists(index, queries, n_queries, k, n_probes, n_rerank, false,
                                               options->refine_cold, n_threads, keys, stats, &watch, why);
    if (status == OMEN_OK)
        status = check_results(index, keys, n_queries, k, n_threads, why);
    for (uint64_t q = 0; q < n_queries && status == OMEN_OK; q++) {
        const float *query = queries + q * m->d;
        /* a zero query is as far from every row as from any other: the lowest ids */
        const bool zero = m->metric == OMEN_METRIC_COSINE && !(kernels->ip_f32(query, query, m->d) > 0);
        for (uint64_t i = q * k; i < (q + 1) * k; i++) {
            ids[i] = zero ? (int64_t)(i - q * k) : (int64_t)(uint32_t)keys[i];
            if (distances)
                distances[i] = zero ? 1 : omen_key_distance(keys[i]);
        }
    }
    free(keys);
    if (stats) {
        stats->probes = options->exact ? 0 : n_probes;
        stats->rerank = options->exact ? 0 : n_rerank;
        if (options->exact) {
            stats->n_queries += n_queries;
            stats->rows_reranked += n_queries * m->n_rows;
        }
    }
    if (status == OMEN_ERR_INTERRUPTED)
        return omen_fail(why, status, "interrupted");
    return status == OMEN_ERR_MEMORY ? omen_fail(why, status, "out of memory") : status;
}

int omen_source_search(const omen_source *source, omen_metric metric, uint32_t k, const float *queries,
                       uint64_t n_queries, int n_threads, int64_t *ids, float *distances, omen_progress_fn progress,
                       void *context, omen_detail *why)
{
    if (k < 1 || k > source->n_rows || source->n_rows > OMEN_MAX_ROWS)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "k must be 1 to n, and n at most %u", OMEN_MAX_ROWS);
    uint64_t *keys = omen_alloc(n_queries * k, sizeof *keys);
    omen_watch watch = omen_watch_make(progress, context, "search");
    int status = keys ? omen_search_source(source, metric, queries, n_queries, k,
                                           n_threads > 0 ? n_threads : omen_cpu_count(), keys, &watch, why)
                      : omen_fail(why, OMEN_ERR_MEMORY, "out of memory");
    for (uint64_t i = 0; i < n_queries * k && status == OMEN_OK; i++) {
        ids[i] = (int64_t)(uint32_t)keys[i];
        if (distances)
            distances[i] = omen_key_distance(keys[i]);
    }
    free(keys);
    return status;
}
