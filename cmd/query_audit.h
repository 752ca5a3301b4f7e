/* SPDX-License-Identifier: Apache-2.0 */
/* Private to cmd_query.c and query_audit.c: the recall of a batch, measured on a sample of its queries. */
#ifndef QUERY_AUDIT_H
#define QUERY_AUDIT_H

#include "cmd/query_indexes.h"

/* --certify did not reach the recall that was asked for: the only exit code of query alone. */
#define QUERY_EXIT_UNREACHED 1

#define QUERY_AUDIT_SAMPLE 400u /* queries, for --certify without --audit */

/* A sample of the queries, with what exact search says of them. Starts zeroed. */
struct query_audit {
    struct query_indexes *indexes; /* with their filters, if there are any */
    const omen_source *source;
    const omen_index_rows *self; /* the queries are these rows, which do not find themselves; or NULL */
    uint64_t n_sample, block_rows;
    uint32_t k;      /* found a query */
    uint32_t k_most; /* searched for: one more with self */
    double ceiling, ceiling_known;
    uint64_t *numbers; /* n_sample, rising */
    float *limits;     /* n_sample: distance of the k-th nearest row */
    uint32_t *wanted;  /* n_sample: rows that exact search found, fewer than k where a filter has fewer */
    uint64_t n_true;   /* all of them */
    uint32_t *hits;    /* n_sample */
    float *rows;       /* block_rows queries */
    int64_t *ids;      /* block_rows x k_most */
    float *distances;
    const omen_row_set **sets; /* block_rows of each index; NULL without a filter */
};

/* Chooses n_sample queries, or all if there are fewer, by seed, and searches them exactly. search is the batch's. self:
 * the queries are these rows, in this order, and do not find themselves; else NULL. The
 * caller calls query_audit_finish() even after a failure. Returns as omen_index_search(). */
int query_audit_begin(struct query_audit *a, struct query_indexes *indexes, const omen_source *source,
                      const omen_search_options *search, const omen_index_rows *self, uint64_t seed, uint64_t n_sample,
                      omen_detail *why) OMEN_MUST_CHECK;

/* Searches the sample as search says, and sets *out. */
int query_audit_measure(struct query_audit *a, const omen_search_options *search, omen_recall *out,
                        omen_detail *why) OMEN_MUST_CHECK;

void query_audit_finish(struct query_audit *a);

/* Finds the effort whose recall is at least the one wanted, by the lower limit of a sample: sets search->effort_factor,
 * or search->exact where no factor will do or exact search costs less. Fills o->recall and o->certified. As
 * query_audit_begin(). */
int query_certify(struct query_audit *a, struct query_indexes *indexes, const omen_source *source,
                  omen_search_options *search, const omen_index_rows *self, uint64_t seed, uint64_t n_sample,
                  struct cmd_query_outcome *o, omen_detail *why) OMEN_MUST_CHECK;

/* Takes back, once the batch is searched, what was measured and certified of queries whose filters no row passes, and
 * fills o->note. audits: --audit was given. */
void query_audit_mind_nothing(struct cmd_query_outcome *o, bool audits);

/* Fills o->note by o->choice, if a recall was asked for that is not certified or out of the reach of the index. */
void query_audit_warn(struct cmd_query_outcome *o);

/* What was measured, as lines for people on stderr. */
void query_audit_print(const struct cmd_query_outcome *o);

#endif
