/* SPDX-License-Identifier: Apache-2.0 */
/* The ways through an index, which share its transform, codes, refine rows and ids. */
#ifndef OMEN_WAYS_H
#define OMEN_WAYS_H

#include "lib/calibrate.h"
#include "lib/index.h"
#include "lib/sections.h"

/* Queries that have been checked, and where their results go. */
typedef struct omen_search_job {
    const omen_search_options *options;
    const float *queries;
    uint64_t n_queries;
    uint32_t k; /* at most n */
    int n_threads;
    uint64_t *keys;            /* n_queries x k (distance, id), ascending; NULL with ranges */
    struct omen_range *ranges; /* n_queries, of all rows within options->within; NULL: the k nearest are wanted */
    omen_search_stats *stats;  /* added to; may be NULL */
    omen_watch *watch;
    omen_detail *why;
    /* of each query, none NULL: it finds only rows of the set, and keys end in UINT64_MAX where there are fewer than k.
     * NULL: the queries have no filters */
    const omen_row_set *const *row_sets;
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
    /* Makes the tables of efforts by recall that its sections hold, in tables, which are empty before; the caller frees
     * them, also after a failure. Shares truth with the other ways. */
    int (*calibrate)(const omen_index *index, const omen_calibration *truth, int n_threads,
                     omen_way_table tables[OMEN_WAY_TABLES], omen_watch *watch, omen_detail *why);
    /* estimate of its private memory besides omen_calibration_bytes() */
    uint64_t (*calibrate_bytes)(uint64_t n_rows, uint32_t d, uint32_t n_lists, int n_threads);
    struct {
        uint32_t id;      /* OMEN_SECTION_ */
        bool is_optional; /* the section may be unknown to a reader */
    } tables[OMEN_WAY_TABLES];
} omen_way;

enum { OMEN_WAY_LISTS, OMEN_WAY_EXACT, OMEN_WAY_GRAPH, OMEN_N_WAYS };
extern const omen_way omen_ways[OMEN_N_WAYS];

#endif
