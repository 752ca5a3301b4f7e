/* SPDX-License-Identifier: Apache-2.0 */
/* The ways through an index, which share its transform, codes, refine rows and ids. */
#ifndef OMEN_WAYS_H
#define OMEN_WAYS_H

#include "lib/index.h"
#include "lib/sections.h"

/* Queries that have been checked, and where their results go. */
typedef struct omen_search_job {
    const omen_search_options *options;
    const float *queries;
    uint64_t n_queries;
    uint32_t k; /* at most n */
    int n_threads;
    uint64_t *keys;           /* n_queries x k (distance, id), ascending */
    omen_search_stats *stats; /* added to; may be NULL */
    omen_watch *watch;
    omen_detail *why;
} omen_search_job;

/* Of what is NULL a way has none. All but close and calibrate_bytes return OMEN_OK or a failure with why set (but for
 * OMEN_ERR_MEMORY, which tells its own). */
typedef struct omen_way {
    /* whether its sections are there and of the lengths that META gives */
    int (*check_sections)(const omen_section_list *list, const omen_meta *meta);
    int (*open)(omen_index *index, const omen_section_list *list);
    /* also after a failure of open, or before it */
    void (*close)(omen_index *index);
    /* what opening leaves, as omen_index_check() */
    int (*check)(const omen_index *index, omen_fault_fn fault, void *context);
    /* plans the effort from the options, and searches */
    int (*search)(const omen_index *index, const omen_search_job *job);
    /* as omen_index_calibrate() and omen_calibrate_bytes() */
    int (*calibrate)(const omen_index *index, const omen_source *source, const omen_source *queries, uint64_t seed,
                     int n_threads, omen_tune_entry entries[OMEN_N_TUNE], size_t *n_entries, double *near_copies,
                     omen_watch *watch, omen_detail *why);
    uint64_t (*calibrate_bytes)(uint64_t n, uint32_t d, uint32_t n_lists, int n_threads);
} omen_way;

enum { OMEN_WAY_LISTS, OMEN_WAY_EXACT, OMEN_WAY_GRAPH, OMEN_N_WAYS };
extern const omen_way omen_ways[OMEN_N_WAYS];

#endif
