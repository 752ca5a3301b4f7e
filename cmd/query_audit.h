/* SPDX-License-Identifier: Apache-2.0 */
/* Private to cmd_query.c and query_audit.c: the recall of a batch, measured on a sample of its queries. */
#ifndef QUERY_AUDIT_H
#define QUERY_AUDIT_H

#include "cmd/query_where.h"

/* --certify did not reach the recall that was asked for: the only exit code of query alone. */
#define QUERY_EXIT_UNREACHED 1

#define QUERY_AUDIT_SAMPLE 400u /* queries, for --certify without --audit */

/* Searches n_sample of the queries, or all if there are fewer, chosen by seed, exactly and as search says, and sets
 * o->recall and what belongs to it. where: what the queries may find; NULL: all rows. self: the queries are these rows,
 * in this order, and do not find themselves; else NULL. Returns as omen_index_search().
 */
int query_measure(const omen_index *index, const omen_source *source, const omen_search_options *search, uint64_t seed,
                  uint64_t n_sample, struct query_where *where, const omen_index_rows *self,
                  struct cmd_query_outcome *o, omen_detail *why) OMEN_MUST_CHECK;

/* Finds the effort whose recall is at least the one wanted, by the lower limit of a sample: sets search->effort_factor,
 * or search->exact where no factor will do or exact search costs less. Fills o->recall and o->certified. As
 * query_measure(). */
int query_certify(const omen_index *index, const omen_source *source, omen_search_options *search, uint64_t seed,
                  uint64_t n_sample, struct query_where *where, const omen_index_rows *self,
                  struct cmd_query_outcome *o, omen_detail *why) OMEN_MUST_CHECK;

/* Fills o->note, if a recall was asked for that is not certified or out of the reach of the index. */
void query_audit_warn(struct cmd_query_outcome *o, const omen_index *index);

/* What was measured, as lines for people on stderr. */
void query_audit_print(const struct cmd_query_outcome *o);

#endif
