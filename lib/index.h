/* SPDX-License-Identifier: Apache-2.0 */
/* An open index as search, verification and calibration see it. */
#ifndef OMEN_INDEX_H
#define OMEN_INDEX_H

#include "lib/codec.h"
#include "lib/index_format.h"
#include "lib/kernels.h"
#include "lib/keys.h"
#include "lib/omendb.h"
#include "lib/transform.h"

/* A section whose blocks are checked when they are first used. */
typedef struct omen_touched {
    omen_section section;
    uint64_t *seen; /* one bit per block of OMEN_CHECK_BYTES, set once it has been checked; NULL: do not check */
} omen_touched;

struct omen_index {
    omen_meta meta;
    omen_transform transform;
    omen_codec_model model;
    float *panels;         /* centroids, packed */
    float *half_norms;     /* of the centroids */
    const uint32_t *first; /* n_lists + 1: list l holds rows first[l] .. first[l + 1] */
    const float *ranges;   /* [n_lists][n_factors]{low, step} */
    float f_step_max, g_max;
    const uint8_t *blocks; /* codes */
    uint32_t block_bytes;
    const uint8_t *refine_rows;
    size_t refine_row_bytes;
    const uint32_t *ids; /* NULL: codes without lists, which are never searched */
    const omen_tune_entry *tune;
    size_t n_tune;
    uint32_t largest_list;
    const uint8_t *centroid_codes;
    const float *centroid_scales;
    uint64_t centroid_bytes, model_bytes;
    omen_touched code, refn, perm;
};

/* Opens codes without lists as omen_index_open() opens an index; PERM may be missing. */
int omen_index_open_codes(omen_index **out, const omen_section *sections, size_t n_sections,
                          omen_detail *why) OMEN_MUST_CHECK;

/* Whether bytes [at, at + n_bytes), n_bytes > 0, have been checked. */
static inline bool omen_touched_before(const omen_touched *touched, uint64_t at, uint64_t n_bytes)
{
    if (!touched->seen)
        return true;
    const uint64_t end = (at + n_bytes - 1) / OMEN_CHECK_BYTES;
    for (uint64_t b = at / OMEN_CHECK_BYTES; b <= end; b++)
        if (!(__atomic_load_n(touched->seen + b / 64, __ATOMIC_RELAXED) >> b % 64 & 1))
            return false;
    return true;
}

/* Call these before reading from CODE, refine rows or ids. Blocks that no thread has used before are compared with
 * their checksums; refine rows must be finite, and ids below n. A block of codes is 32 rows. Return OMEN_OK or
 * OMEN_ERR_CORRUPT. */
int omen_index_touch_codes(const omen_index *index, uint64_t first_block, uint64_t n_blocks,
                           omen_detail *why) OMEN_MUST_CHECK;
int omen_index_touch_rows(const omen_index *index, uint64_t first_row, uint64_t n_rows,
                          omen_detail *why) OMEN_MUST_CHECK;
int omen_index_touch_ids(const omen_index *index, uint64_t first_row, uint64_t n_rows,
                         omen_detail *why) OMEN_MUST_CHECK;

/* Exact search over the refine tier, or over a source of at most OMEN_MAX_ROWS rows. queries are n_queries x d; keys
 * gets the k <= n nearest of each query as (distance, id), ascending. */
int omen_search_exact(const omen_index *index, const float *queries, uint64_t n_queries, uint32_t k, int n_threads,
                      uint64_t *keys, omen_watch *watch, omen_detail *why) OMEN_MUST_CHECK;
int omen_search_source(const omen_source *source, omen_metric metric, const float *queries, uint64_t n_queries,
                       uint32_t k, int n_threads, uint64_t *keys, omen_watch *watch, omen_detail *why) OMEN_MUST_CHECK;

/* Distances of the rows ids (n_queries x k, each below n or OMEN_NO_ROW) by the refine tier, to distances. */
int omen_search_distances(const omen_index *index, const float *queries, uint64_t n_queries, uint32_t k,
                          const int64_t *ids, int n_threads, float *distances, omen_detail *why) OMEN_MUST_CHECK;

/* Whether all refine rows are whole numbers from 0 to 255. */
bool omen_search_rows_are_bytes(const omen_index *index, int n_threads, omen_watch *watch);

/* The way through the lists: scans the n_probes nearest lists of each query and re-ranks the n_rerank best candidates
 * (n_rerank >= k; where the index has no refine tier or no codes, k). keys gets the k best of each query as
 * (distance, id), ascending. refine_cold as in omen_search_options; stats, watch and why may be NULL. Returns OMEN_OK,
 * OMEN_ERR_MEMORY, OMEN_ERR_CORRUPT or OMEN_ERR_INTERRUPTED. */
int omen_search_lists(const omen_index *index, const float *queries, uint64_t n_queries, uint32_t k, uint32_t n_probes,
                      uint32_t n_rerank, bool refine_cold, int n_threads, uint64_t *keys, omen_search_stats *stats,
                      omen_watch *watch, omen_detail *why) OMEN_MUST_CHECK;

/* The n_rerank rows with the smallest estimates in the n_probes nearest lists of each query, before re-ranking: keys
 * gets (estimate, position), ascending, UINT64_MAX where there are fewer. */
int omen_search_candidates(const omen_index *index, const float *queries, uint64_t n_queries, uint32_t n_probes,
                           uint32_t n_rerank, int n_threads, uint64_t *keys, omen_watch *watch) OMEN_MUST_CHECK;

/* Ranks all lists by distance to each query: ranks[q * n_lists + l] is 0 for the nearest list. */
int omen_search_ranks(const omen_index *index, const float *queries, uint64_t n_queries, int n_threads, uint32_t *ranks,
                      omen_watch *watch) OMEN_MUST_CHECK;

/* The effort that reaches recall for k: from TUNE, or by a default rule if the index has no TUNE. */
void omen_index_effort(const omen_index *index, uint32_t k, float recall, uint32_t *probes, uint32_t *rerank);

/* The last entry of the table that omen_index_effort() uses for k; NULL if nothing was measured. */
const omen_tune_entry *omen_index_effort_most(const omen_index *index, uint32_t k);

/* Measures which effort reaches which recall for k = 1, 10 and 100, those of them that do not exceed the number of
 * rows: on the given queries, or if NULL on rows of source, which the index was built from; a row is then not its own
 * neighbour. near_copies gets the share of those rows whose nearest neighbour is less than a quarter as far away as
 * their tenth; NaN for given queries, for inner product and for fewer than 11 rows. */
#define OMEN_N_TUNE       30u
#define OMEN_TUNE_HIGHEST 0.995f /* the highest recall that is calibrated for */
int omen_index_calibrate(const omen_index *index, const omen_source *source, const omen_source *queries, uint64_t seed,
                         int n_threads, omen_tune_entry entries[OMEN_N_TUNE], size_t *n_entries, double *near_copies,
                         omen_watch *watch, omen_detail *why) OMEN_MUST_CHECK;

/* Estimate, in bytes, of the private memory that calibration needs. */
uint64_t omen_calibrate_bytes(uint64_t n, uint32_t d, uint32_t n_lists, int n_threads);

#endif
