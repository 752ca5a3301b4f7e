/* The default search effort, measured: held-out rows as queries, themselves excluded from the answers. */
#include <stdlib.h>

#include "lib/index.h"
#include "lib/matrix.h"
#include "lib/refine.h"

#define QUERIES 400u
#define WORK_MAX 2e11 /* multiply-adds spent on exact neighbours: fewer queries beyond */
#define QUERIES_MIN 64u

/* Rows of the base are easier queries than rows that are not in it: their neighbours, often of the same origin, shaped
 * the lists. The margin over the default recall of 0.95 is what real queries of other origin were seen to need. */
#define TARGET 0.975

static const uint32_t ks[OMEN_N_TUNE] = {1, 10, 100};

typedef struct {
    const omen_index *index;
    const float *queries;
    const uint32_t *own; /* ids of the queries */
    const uint64_t *truth; /* n_queries x (k_max + 1) */
    uint32_t n_queries, k_max;
    int n_threads;
} calibration;

/* Share of the k true neighbours, by distance, that the effort finds; negative code on failure. */
static double measure(const calibration *c, uint32_t k, uint32_t n_probes, uint32_t n_rerank)
{
    const uint32_t n_found = k + 1;
    const omen_search_options options = {
        .k = n_found, .probes = n_probes, .rerank = n_rerank, .n_threads = c->n_threads, .zero_ok = true};
    int64_t *ids = omen_alloc((size_t)c->n_queries * n_found, sizeof *ids);
    float *distances = omen_alloc((size_t)c->n_queries * n_found, sizeof *distances);
    int status = ids && distances ? omen_index_search(c->index, &options, c->queries, c->n_queries, ids, distances,
                                                      NULL, NULL)
                                  : OMEN_ERR_MEMORY;
    uint64_t hits = 0;
    for (uint32_t q = 0; q < c->n_queries && status == OMEN_OK; q++) {
        const uint64_t *truth = c->truth + (size_t)q * (c->k_max + 1);
        /* the k-th true distance, without the query itself */
        uint32_t last = k - 1;
        for (uint32_t i = 0; i <= k - 1; i++)
            if ((uint32_t)truth[i] == c->own[q])
                last = k;
        const float limit = omen_key_distance(truth[last]);
        uint32_t found = 0;
        for (uint32_t i = 0; i < n_found; i++)
            found += ids[(size_t)q * n_found + i] != c->own[q] && distances[(size_t)q * n_found + i] <= limit;
        hits += found < k ? found : k;
    }
    free(distances);
    free(ids);
    return status == OMEN_OK ? (double)hits / ((double)c->n_queries * k) : status;
}

/* The next effort of a ladder whose rungs are about 1.4 apart. */
static uint32_t next_rung(uint32_t n, uint32_t most)
{
    const uint64_t up = (uint64_t)n + (n < 4 ? 1 : n / 5 * 2 > 0 ? n * 2 / 5 : 1);
    return up < most ? (uint32_t)up : most;
}

static int calibrate_k(const calibration *c, uint32_t k, omen_tune_entry *entry)
{
    const omen_meta *m = &c->index->meta;
    const uint32_t n_rows = (uint32_t)m->n_rows;
    uint64_t pool = 20 * (uint64_t)k > 200 ? 20 * (uint64_t)k : 200;
    uint32_t rerank = pool < n_rows ? (uint32_t)pool : n_rows, probes = 1;
    double recall = 0;
    for (;; rerank = rerank < n_rows / 4 ? rerank * 4 : n_rows) {
        for (probes = 1;; probes = next_rung(probes, m->n_lists)) {
            recall = measure(c, k, probes, rerank);
            if (recall < 0)
                return (int)recall;
            if (recall >= TARGET || probes == m->n_lists)
                break;
        }
        if (recall >= TARGET || rerank == n_rows)
            break;
    }
    /* one rung more, so that the pool can be cut without falling below the target again */
    probes = next_rung(probes, m->n_lists);
    const uint32_t most = rerank;
    for (uint32_t fewer = k + 1 < most ? k + 1 : most;; fewer = next_rung(fewer, most)) {
        recall = measure(c, k, probes, fewer);
        if (recall < 0)
            return (int)recall;
        rerank = fewer;
        if (recall >= TARGET || fewer == most)
            break;
    }
    *entry = (omen_tune_entry){k, probes, rerank, (float)recall};
    return OMEN_OK;
}

int omen_index_calibrate(const omen_index *index, uint64_t seed, int n_threads, omen_tune_entry *entries,
                         size_t *n_entries)
{
    const omen_meta *m = &index->meta;
    *n_entries = 0;
    if (m->refine == OMEN_REFINE_NONE || m->n_rows < 2)
        return OMEN_OK; /* no exact distances to measure against */
    const double affordable = WORK_MAX / ((double)m->n_rows * m->d);
    uint64_t n = affordable > QUERIES ? QUERIES : affordable < QUERIES_MIN ? QUERIES_MIN : (uint64_t)affordable;
    if (n > m->n_rows)
        n = m->n_rows;
    const uint32_t k_max = m->n_rows - 1 < ks[OMEN_N_TUNE - 1] ? (uint32_t)(m->n_rows - 1) : ks[OMEN_N_TUNE - 1];
    uint64_t *positions = omen_alloc(n, sizeof *positions);
    uint64_t *truth = omen_alloc(n * ((size_t)k_max + 1), sizeof *truth);
    uint32_t *own = omen_alloc(n, sizeof *own);
    float *queries = omen_alloc(n * m->d, sizeof *queries);
    int status = positions && truth && own && queries ? OMEN_OK : OMEN_ERR_MEMORY;
    if (status == OMEN_OK) {
        omen_random_rows(seed ^ 0x63616c69, m->n_rows, n, positions);
        for (uint64_t i = 0; i < n; i++) {
            own[i] = index->ids[positions[i]];
            omen_refine_decode(m->refine, index->refine_rows + positions[i] * index->refine_row_bytes, m->d,
                               queries + i * m->d);
        }
        status = omen_search_exact(index, queries, n, k_max + 1, n_threads, truth);
    }
    const calibration c = {index, queries, own, truth, (uint32_t)n, k_max, n_threads};
    for (size_t i = 0; i < OMEN_N_TUNE && ks[i] <= k_max && status == OMEN_OK; i++) {
        status = calibrate_k(&c, ks[i], entries + i);
        if (status == OMEN_OK)
            *n_entries = i + 1;
    }
    free(queries);
    free(own);
    free(truth);
    free(positions);
    return status;
}
