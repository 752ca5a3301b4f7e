/* SPDX-License-Identifier: Apache-2.0 */
/* Private to cmd_query.c and query_self.c: what a run of --self that was killed continues from, docs/FORMAT.md part 4.
 * A record for what was asked for, then one for the results of every group of rows. */
#ifndef QUERY_CHECKPOINT_H
#define QUERY_CHECKPOINT_H

#include "cmd/query_spool.h"

/* What the results depend on: a checkpoint with other values cannot be continued. */
enum {
    QUERY_HEAD_VERSION,
    QUERY_HEAD_INDEX, /* its checksum */
    QUERY_HEAD_SET,   /* likewise of the rows that search and are found; 0: all are */
    QUERY_HEAD_WAY,
    QUERY_HEAD_K, /* 0 with a distance */
    QUERY_HEAD_RECALL,
    QUERY_HEAD_PROBES,
    QUERY_HEAD_RERANK,
    QUERY_HEAD_EFFORT_FACTOR,
    QUERY_HEAD_HAS_WITHIN,
    QUERY_HEAD_WITHIN,
    QUERY_HEAD_LIMIT,
    QUERY_HEAD_PAIRS,
    QUERY_N_HEAD,
};

/* Sums over all rows up to the end of a group. */
struct query_counts {
    uint64_t n_done; /* rows that have searched */
    uint64_t n_short, n_passing, n_found, n_cut;
    uint64_t n_queries, n_probed, codes_scanned, rows_reranked;
    uint64_t way, n_probes, n_rerank; /* as omen_search_stats has them */
    uint64_t search_microseconds;
};

/* Starts zeroed. */
struct query_checkpoint {
    omen_part *part; /* NULL: none is kept */
    omen_checkpoint records;
    uint64_t head[QUERY_N_HEAD]; /* these and one of the groups may be on their way to the file */
    struct query_group {
        struct query_counts counts;
        struct query_entry *entries;
        uint64_t n, size;
    } groups[2];
    uint32_t current; /* group that entries are added to */
    uint64_t chunk_rows, n_saved;
    double saved_at;
    bool has_records;
};

/* Opens or creates the checkpoint of output for results that depend on head; chunk_rows: how many rows make a group, 0:
 * by their results and by time; n_entries_most: of all groups together. Refuses, or with fresh forgets, one that was
 * begun otherwise. Returns OMEN_OK, OMEN_ERR_ARGUMENT (other options), OMEN_ERR_CORRUPT (what no run can have written)
 * or as omen_part_open() does. */
int query_checkpoint_open(struct query_checkpoint *c, const char *output, bool fresh, uint64_t chunk_rows,
                          const uint64_t head[QUERY_N_HEAD], uint64_t n_entries_most, omen_detail *why) OMEN_MUST_CHECK;

/* Adds the results that it holds, of an index of n_rows, of which n_searching search, to the spool. counts gets the
 * sums, all 0 where there are none. Returns OMEN_OK, OMEN_ERR_CORRUPT, OMEN_ERR_IO or OMEN_ERR_MEMORY. */
int query_checkpoint_load(const struct query_checkpoint *c, uint64_t n_rows, uint64_t n_searching,
                          struct query_spool *spool, struct query_counts *counts, omen_detail *why) OMEN_MUST_CHECK;

/* Adds an entry to the group. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int query_checkpoint_add(struct query_checkpoint *c, struct query_entry entry) OMEN_MUST_CHECK;

/* Ends the group, and starts to write it, if it is large or old enough; counts are the sums up to here. Returns
 * OMEN_OK, or what an earlier write returned. */
int query_checkpoint_save(struct query_checkpoint *c, const struct query_counts *counts,
                          omen_detail *why) OMEN_MUST_CHECK;

/* Returns when what was saved is durable: OMEN_OK, or the failure. */
int query_checkpoint_settle(const struct query_checkpoint *c, omen_detail *why) OMEN_MUST_CHECK;

/* The results are complete: removes the file. */
void query_checkpoint_remove(struct query_checkpoint *c);

/* Whether records are those of query --self, and what they say: of the first, and of the last group, which the caller
 * has proven. Returns OMEN_OK, OMEN_ERR_CORRUPT or what read() returned. */
bool query_checkpoint_is(const omen_checkpoint *records);
int query_checkpoint_look(const omen_checkpoint *records, uint64_t head[QUERY_N_HEAD], struct query_counts *last,
                          omen_detail *why) OMEN_MUST_CHECK;

/* Closes it, and frees. With why not NULL a failure, of which it tells how to go on. */
void query_checkpoint_finish(struct query_checkpoint *c, int status, omen_detail *why);

#endif
