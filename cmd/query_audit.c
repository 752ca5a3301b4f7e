/* SPDX-License-Identifier: Apache-2.0 */
/* omendb query, the recall of a batch: measured on a sample of its queries (--audit), and raised to what was asked for
 * (--certify).
 *
 * A query's answer depends on that query and the effort alone, so the sample is searched once more as the batch is,
 * instead of keeping what the batch found.
 *
 * --certify tries rising factors on one sample, whose exact search is the expensive part. That is no second guess: more
 * effort finds more, so a factor too small is accepted only if the largest one that is too small is, and for this one
 * the lower limit is wrong as often as it says. */
#include "cmd/query_audit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/query_rows.h"

/* Sampled queries searched together, fewer if a block passes BLOCK_BYTES. */
#define BLOCK_ROWS  4096u
#define BLOCK_BYTES ((uint64_t)256 << 20)

/* Factors of --certify: a quarter more each time, up to where exact search costs as much. */
#define FACTOR_STEP 1.25f
#define FACTOR_MOST 16.0f

/* A batch of fewer samples than this is searched exactly: 4 to 15 searches cost what an exact one does. */
#define EXACT_SAMPLES 2u

/* ---- the sample ---- */

/* Takes row `self` out of what query i of a block, which is that row, found; what queries before it found stays where
 * it was put. */
static void exclude_self(struct query_audit *a, uint64_t self, uint64_t i)
{
    query_rows_exclude(&self, 1, a->k_most, a->ids + i * a->k_most, a->distances + i * a->k_most);
    memmove(a->ids + i * a->k, a->ids + i * a->k_most, a->k * sizeof *a->ids);
    memmove(a->distances + i * a->k, a->distances + i * a->k_most, a->k * sizeof *a->distances);
}

/* Searches queries of the sample from number `first` on, *n_searched at most, and sets that to how many it were. */
static int search_block(struct query_audit *a, const omen_search_options *search, uint64_t first, uint64_t *n_searched,
                        omen_detail *why)
{
    omen_search_options options = *search;
    const uint64_t n = a->sets ? query_indexes_fit(a->indexes, a->numbers + first, 0, *n_searched) : *n_searched;
    int status = OMEN_OK;

    *n_searched = n;
    options.k = a->k_most;
    for (uint64_t i = 0; status == OMEN_OK && i < n; i++)
        status = a->source->read(a->source->self, a->numbers[first + i], 1, a->rows + i * a->source->d, why);
    if (status == OMEN_OK && a->sets)
        status = query_indexes_fill(a->indexes, a->numbers + first, 0, n, options.n_threads, a->sets, why);
    options.row_sets = a->sets;
    if (status == OMEN_OK)
        status = omen_joint_search(a->indexes->joint, &options, a->rows, n, a->ids, a->distances, NULL, why);
    if (status == OMEN_ERR_INPUT) { /* one by one, for the number of the query at fault */
        status = OMEN_OK;
        for (uint64_t i = 0; status == OMEN_OK && i < n; i++) {
            options.first_query = a->numbers[first + i];
            options.row_sets = NULL; /* what is found does not matter */
            status = omen_joint_search(a->indexes->joint, &options, a->rows + i * a->source->d, 1, a->ids, a->distances,
                                       NULL, why);
        }
    }
    for (uint64_t i = 0; status == OMEN_OK && i < n && a->self; i++)
        exclude_self(a, omen_index_rows_number(a->self, a->numbers[first + i]), i);
    return status;
}

int query_audit_begin(struct query_audit *a, struct query_indexes *indexes, const omen_source *source,
                      const omen_search_options *search, const omen_index_rows *self, uint64_t seed, uint64_t n_sample,
                      omen_detail *why)
{
    omen_search_options exact = *search;
    const uint64_t k_most = (uint64_t)search->k + (self ? 1 : 0), n_rows = omen_joint_row_count(indexes->joint);
    int status;

    a->indexes = indexes;
    a->source = source;
    a->self = self;
    a->k_most = k_most < n_rows ? (uint32_t)k_most : (uint32_t)n_rows;
    a->k = a->k_most - (self ? 1 : 0);
    if (a->k == 0)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the index has one row: there is no recall to measure");
    a->n_sample = n_sample < source->n_rows ? n_sample : source->n_rows;
    const uint64_t row_bytes =
        (uint64_t)source->d * sizeof(float) + (uint64_t)a->k_most * (sizeof(int64_t) + sizeof(float));
    a->block_rows = BLOCK_BYTES / row_bytes < BLOCK_ROWS ? BLOCK_BYTES / row_bytes : BLOCK_ROWS;
    a->block_rows = a->block_rows < a->n_sample ? a->block_rows : a->n_sample;
    a->block_rows = a->block_rows > 0 ? a->block_rows : 1;
    a->numbers = malloc(a->n_sample * sizeof *a->numbers);
    a->limits = malloc(a->n_sample * sizeof *a->limits);
    a->wanted = malloc(a->n_sample * sizeof *a->wanted);
    a->hits = malloc(a->n_sample * sizeof *a->hits);
    a->rows = malloc(a->block_rows * source->d * sizeof *a->rows);
    a->ids = malloc(a->block_rows * a->k_most * sizeof *a->ids);
    a->distances = malloc(a->block_rows * a->k_most * sizeof *a->distances);
    a->sets = indexes->filters ? malloc(a->block_rows * indexes->n * sizeof *a->sets) : NULL;
    if ((indexes->filters && !a->sets) || !a->numbers || !a->limits || !a->wanted || !a->hits || !a->rows || !a->ids ||
        !a->distances)
        return OMEN_ERR_MEMORY;
    a->ceiling = omen_joint_ceiling(indexes->joint, &a->ceiling_known);
    status = omen_audit_choose(seed, source->n_rows, a->n_sample, a->numbers);
    exact.exact = true;
    for (uint64_t first = 0, n; status == OMEN_OK && first < a->n_sample; first += n) {
        n = a->n_sample - first < a->block_rows ? a->n_sample - first : a->block_rows;
        status = search_block(a, &exact, first, &n, why);
        for (uint64_t i = 0; status == OMEN_OK && i < n; i++) {
            a->limits[first + i] = a->distances[(i + 1) * a->k - 1];
            a->wanted[first + i] = omen_found_count(a->ids + i * a->k, a->k);
            a->n_true += a->wanted[first + i];
        }
    }
    return status;
}

int query_audit_measure(struct query_audit *a, const omen_search_options *search, omen_recall *out, omen_detail *why)
{
    int status = OMEN_OK;

    for (uint64_t first = 0, n; status == OMEN_OK && first < a->n_sample; first += n) {
        n = a->n_sample - first < a->block_rows ? a->n_sample - first : a->block_rows;
        status = search_block(a, search, first, &n, why);
        if (status == OMEN_OK)
            omen_audit_count(a->distances, a->limits + first, n, a->k, a->hits + first);
    }
    if (status == OMEN_OK)
        *out = omen_audit_recall(a->hits, a->wanted, a->n_sample, a->source->n_rows, a->k, a->ceiling);
    return status;
}

void query_audit_finish(struct query_audit *a)
{
    free(a->numbers);
    free(a->limits);
    free(a->wanted);
    free(a->hits);
    free(a->rows);
    free(a->ids);
    free(a->distances);
    free(a->sets);
}

/* ---- certify ---- */

/* All queries exactly. */
static void search_exactly(omen_search_options *search, double ceiling, struct cmd_query_outcome *o)
{
    search->exact = true;
    search->way = o->choice.way = OMEN_SEARCH_EXACT;
    o->choice.reason = "nothing less is certain";
    search->recall = 0;
    o->exact = true;
    o->n_audited = o->n_in_batch;
    o->recall = (omen_recall){ceiling, ceiling, ceiling};
}

int query_certify(struct query_audit *a, struct query_indexes *indexes, const omen_source *source,
                  omen_search_options *search, const omen_index_rows *self, uint64_t seed, uint64_t n_sample,
                  struct cmd_query_outcome *o, omen_detail *why)
{
    int status;

    o->certified = CMD_CERTIFIED_NO;
    if (o->info.refine == OMEN_REFINE_NONE)
        return OMEN_OK; /* nothing to measure by */
    if (source->n_rows / EXACT_SAMPLES <= n_sample) {
        o->ceiling = omen_joint_ceiling(indexes->joint, &o->ceiling_known);
        search_exactly(search, o->ceiling, o);
        o->certified = o->ceiling_known >= o->asked ? CMD_CERTIFIED_YES : CMD_CERTIFIED_NO;
        return OMEN_OK;
    }
    status = query_audit_begin(a, indexes, source, search, self, seed, n_sample, why);
    o->ceiling = a->ceiling;
    o->ceiling_known = a->ceiling_known;
    if (status == OMEN_OK && a->n_true == 0) { /* a sample of nothing says nothing of the others */
        search_exactly(search, a->ceiling, o);
        o->certified = o->ceiling_known >= o->asked ? CMD_CERTIFIED_YES : CMD_CERTIFIED_NO;
        return OMEN_OK;
    }
    for (float factor = 1; status == OMEN_OK && factor <= FACTOR_MOST; factor = ceilf(4 * FACTOR_STEP * factor) / 4) {
        search->effort_factor = factor;
        status = query_audit_measure(a, search, &o->recall, why);
        o->n_audited = a->n_sample;
        if (status == OMEN_OK && a->ceiling_known < o->asked)
            return OMEN_OK; /* more effort is of no use */
        if (status == OMEN_OK && o->recall.low >= o->asked) {
            o->certified = CMD_CERTIFIED_YES;
            return OMEN_OK;
        }
    }
    if (status == OMEN_OK) {
        search_exactly(search, a->ceiling, o);
        search->effort_factor = 0;
        o->certified = CMD_CERTIFIED_YES;
    }
    return status;
}

/* ---- telling ---- */

/* A limit of the recall, rounded away from it, so that it is never told better than it is. */
static double limit(double share, double mean)
{
    return share < mean ? floor(1000 * share) / 1000 : share > mean ? ceil(1000 * share) / 1000 : mean;
}

void query_audit_print(const struct cmd_query_outcome *o)
{
    if (o->n_audited > 0) {
        fprintf(stderr, "recall@%u %.3f (%.3f to %.3f at 95%%, %s of %s queries)", o->k, o->recall.mean,
                limit(o->recall.low, o->recall.mean), limit(o->recall.high, o->recall.mean),
                cmd_group(o->n_audited).text, cmd_group(o->n_in_batch).text);
        if (o->ceiling < 1) {
            fprintf(stderr, ", with %.3f for the rounded rows of refine %s", o->ceiling,
                    omen_refine_name(o->info.refine));
        }
        fprintf(stderr, "\n");
    }
    if (o->certified == CMD_CERTIFIED_YES && o->exact) {
        fprintf(stderr, "recall@%u of at least %g is certified: every row was compared; --exact repeats it\n", o->k,
                o->asked);
    } else if (o->certified == CMD_CERTIFIED_YES) {
        fprintf(stderr, "recall@%u of at least %g is certified; --recall %g --effort-factor %g repeats it\n", o->k,
                o->asked, o->asked, (double)o->effort_factor);
    }
}

void query_audit_mind_nothing(struct cmd_query_outcome *o, bool audits)
{
    if (audits && o->certified == CMD_CERTIFIED_UNASKED && o->n_audited == 0)
        omen_fail(&o->note, OMEN_OK, "no row passes the filter of a query audited: there is no recall to measure");
    if (!o->has_filter || o->n_passing > 0 || !o->exact || o->certified == CMD_CERTIFIED_UNASKED)
        return;
    o->certified = CMD_CERTIFIED_NOTHING;
    o->n_audited = 0;
    omen_fail(&o->note, OMEN_OK, "no row passes the filter: there is no recall to certify");
}

void query_audit_warn(struct cmd_query_outcome *o)
{
    omen_detail reach = {.text = ""};
    const bool out_of_reach = !o->choice.can_reach;
    char bound[64] = "without a refine tier nothing measures it";

    if (out_of_reach)
        cmd_reach_tell(&o->info, o->choice.recall_most, &reach);
    if (o->certified == CMD_CERTIFIED_NO) {
        if (o->n_audited > 0) {
            snprintf(bound, sizeof bound, "its bound is %.4f",
                     o->ceiling_known < o->recall.low ? o->ceiling_known : o->recall.low);
        }
        omen_fail(&o->note, OMEN_OK, "recall@%u of at least %g is not certified: %s%s%.300s", o->k, o->asked, bound,
                  out_of_reach ? "; " : "", reach.text);
    } else if (out_of_reach && !o->exact && o->certified != CMD_CERTIFIED_YES && o->effort_factor <= 1) {
        /* more effort than the most that the build measured may find more */
        omen_fail(&o->note, OMEN_OK, "recall@%u of %g is out of reach: %.300s", o->k, o->asked, reach.text);
    }
}
