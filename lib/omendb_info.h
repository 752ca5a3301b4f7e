/* SPDX-License-Identifier: Apache-2.0 */
/* omendb: what an index and a checkpoint say of their build, besides omen_index_get_info(). A part of the public
 * interface, as omendb.h describes it, which is installed beside this file. */
#ifndef OMENDB_INFO_H
#define OMENDB_INFO_H

#include "omendb.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the build measured of one way: the effort that reached a recall, on average of its queries. */
typedef struct omen_measured_effort {
    size_t struct_bytes; /* set it */
    uint32_t k;
    float recall;       /* of the k nearest rows */
    uint32_t probes;    /* lists scanned; graph: 0 */
    uint32_t rerank;    /* rows re-ranked */
    uint32_t estimates; /* graph: rows measured by their graph codes; lists: 0 */
} omen_measured_effort;

/* Fills *out with entry i, counted from 0, of the table of OMEN_SEARCH_LISTS or OMEN_SEARCH_GRAPH, which rises by k,
 * then by recall. Returns OMEN_OK or OMEN_ERR_ARGUMENT (no such entry, another way, or a struct_bytes). */
OMEN_API int omen_index_get_effort(const omen_index *index, omen_search_way way, size_t i,
                                   omen_measured_effort *out) OMEN_MUST_CHECK;

/* What a checkpoint of a build says of it. */
typedef struct omen_checkpoint_info {
    size_t struct_bytes; /* set it */
    uint64_t n_rows;     /* of the input */
    uint32_t d;
    omen_metric metric;
    omen_codec codec; /* as asked for: OMEN_CODEC_AUTO too, and so below */
    omen_refine refine;
    uint32_t bytes, n_lists;
    uint64_t seed;
    bool zero_ok, has_tune_queries;
    uint64_t n_encoded; /* rows that the records hold, in n_runs of them */
    uint32_t n_runs;
    uint32_t element_bytes; /* of a value of the input */
} omen_checkpoint_info;

/* Fills *out by the records, which the caller has proven (omen_checkpoint.prove). Returns OMEN_OK, OMEN_ERR_ARGUMENT
 * (no records of a build, or a struct_bytes), OMEN_ERR_UNSUPPORTED (of another version), OMEN_ERR_CORRUPT or what
 * read() returned. */
OMEN_API int omen_checkpoint_get_info(const omen_checkpoint *checkpoint, omen_checkpoint_info *out,
                                      omen_detail *why) OMEN_MUST_CHECK;

/* A hash of rows: the sum over them of the XXH3 of 128 bits of their values as float32, with their number in the input
 * as its seed; low and high halves are added up by themselves. So parts of an input add up to that of all. */
typedef struct omen_row_hash {
    uint64_t low, high;
} omen_row_hash;

/* Reads n rows of a source from first on, and sets *out to their hash. progress, which may be NULL, is asked ("source")
 * by the calling thread. n_threads 0: omen_cpu_count(). Returns OMEN_OK, OMEN_ERR_ARGUMENT (the source has fewer rows),
 * OMEN_ERR_MEMORY, OMEN_ERR_INTERRUPTED or what the source returned. */
OMEN_API int omen_source_hash(const omen_source *source, uint64_t first, uint64_t n, int n_threads,
                              omen_progress_fn progress, void *context, omen_row_hash *out,
                              omen_detail *why) OMEN_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
