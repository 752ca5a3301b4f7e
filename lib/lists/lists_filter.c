/* SPDX-License-Identifier: Apache-2.0 */
/* Which lists a query takes under a filter.
 *
 * Lists are taken in order of distance, those without a match left out, in rounds. Before a round the number of matches
 * is estimated that each list holds nearer than the k-th found so far (lists_spread.h), and from it how many lists are
 * needed until those behind them hold no more of them than the recall may lack; how far that estimate is to be trusted
 * was measured (lists_stop.c). A round takes so many, at most twice as many as all rounds before it, as the k-th comes
 * nearer meanwhile. A filter that agrees with the query's neighbourhood ends so after few lists, one that is far from
 * it after many. What a query decides depends on that query, its filter and what the rounds before found, not on the
 * queries beside it. */
#include <math.h>
#include <stdlib.h>

#include "lib/filter.h"
#include "lib/lists/lists_search.h"

#define SHARE_LEAST 1e-7f /* less than this share of its rows is not expected of a list */
#define SAMPLE_STEP 8u    /* every 8th list is looked at to guess a limit */

void omen_filters_begin(omen_lists_chunk *s, const omen_row_set *const *sets, size_t n_queries)
{
    for (size_t q = 0; q < n_queries; q++)
        s->filters[q] = (omen_query_filter){.set = sets[q], .matches = sets[q]->counts};
}

/* ---- lists by distance ---- */

/* Keys (value, list) into list_keys of the lists up to limit that have matches and are not taken yet. */
static uint32_t lists_within(omen_lists_chunk *s, uint32_t query, float limit)
{
    const omen_query_filter *f = &s->filters[query];
    const float *values = omen_lists_values(s, query);
    const uint32_t n = (uint32_t)omen_kernels_get()->filter(values, s->index->meta.n_lists, limit, s->short_lists);
    uint32_t n_kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t l = s->short_lists[i];
        const uint64_t key = omen_key(values[l], l);
        s->list_keys[n_kept] = key;
        n_kept += f->matches[l] > 0 && (f->n_taken == 0 || key > f->last);
    }
    return n_kept;
}

/* Of n lists with matches, the nearest to the front; returns how many there are, n at most. */
static uint32_t nearest(omen_lists_chunk *s, uint32_t n_found, uint32_t n)
{
    if (n_found <= n)
        return n_found;
    omen_keys_least(s->list_keys, n_found, n, s->list_keys + s->ldc);
    return n;
}

/* A value that about n of the lists with matches are below, rather more: guessed from a sample. */
static float limit_of(omen_lists_chunk *s, uint32_t query, uint32_t n)
{
    const omen_query_filter *f = &s->filters[query];
    const float *values = omen_lists_values(s, query);
    const uint32_t expected = n / SAMPLE_STEP, rank = expected + 2 * (uint32_t)sqrtf((float)expected) + 3;
    uint32_t n_sample = 0;
    for (uint32_t l = 0; l < s->index->meta.n_lists; l += SAMPLE_STEP) {
        s->work[n_sample] = values[l];
        n_sample += f->matches[l] > 0;
    }
    return rank < n_sample ? omen_values_select(s->work, n_sample, rank, s->work + s->ldc) : INFINITY;
}

/* Lists of the first round, to the front of list_keys: they hold what the margin is taken from, or all matches. */
static uint32_t choose_first(omen_lists_chunk *s, uint32_t query)
{
    const omen_query_filter *f = &s->filters[query];
    const uint64_t rank = s->effort.missed < 0 ? s->k : omen_spread_rank(s->k);
    const uint64_t wanted = rank < f->set->n_matches ? rank : f->set->n_matches;
    for (uint32_t n = s->effort.least_lists;; n = 2 * n) {
        uint64_t n_matches = 0;
        const float limit = limit_of(s, query, n);
        uint32_t n_found = lists_within(s, query, limit);
        if (n_found < n && limit < INFINITY)
            n_found = lists_within(s, query, INFINITY);
        n_found = nearest(s, n_found, n);
        for (uint32_t i = 0; i < n_found; i++)
            n_matches += f->matches[(uint32_t)s->list_keys[i]];
        if (n_matches >= wanted || n_found < n)
            return n_found;
    }
}

/* ---- what is expected of the lists left ---- */

/* The value of the last list that the query needs, so that those behind it may be expected to hold no more matches
 * nearer than kth than the rule allows; -INFINITY: none. Lists of about the same distance are counted
 * together. */
static float limit_needed(omen_lists_chunk *s, uint32_t query, float kth)
{
    const omen_query_filter *f = &s->filters[query];
    const uint32_t n_lists = s->index->meta.n_lists;
    const float *values = omen_lists_values(s, query);
    float *expected = s->work, *distances = s->work + s->ldc;
    omen_list_expectation found;
    omen_list_steps steps;
    omen_kernels_get()->list_shares(values, s->spread->means, n_lists, s->lists[query].norm2, kth,
                                    s->spread->scale * s->spread->scale, s->spread->tails,
                                    OMEN_TAIL_MOST * OMEN_TAIL_STEPS, s->work);
    omen_kernels_get()->list_expected(values, s->work, s->index->first, f->matches, n_lists, SHARE_LEAST,
                                      omen_key_distance(f->last), (uint32_t)f->last, expected, distances, &found);
    omen_list_steps_fill(&steps, distances, expected, found.n, found.least, found.most);
    const uint32_t n_steps = omen_list_steps_needed(
        &steps, omen_stop_rule_allowed(&s->stop, (double)found.n_rows, (double)found.taken, s->k));
    if (n_steps == 0)
        return -INFINITY;
    return n_steps == OMEN_LIST_STEPS || !(steps.per_step > 0) ? steps.most
                                                               : steps.least + (float)n_steps / steps.per_step;
}

/* ---- rounds ---- */

/* How many lists the query takes next, at the front of list_keys; 0: it is done. */
static uint32_t choose_next(omen_lists_chunk *s, uint32_t query)
{
    const omen_query_filter *f = &s->filters[query];
    uint32_t n = 2 * f->n_taken;
    float limit = INFINITY;
    if (!n)
        return choose_first(s, query);
    if (s->pools[query].n >= s->k && s->effort.missed >= 0)
        limit = limit_needed(s, query, omen_lists_kth(s, query));
    else if (s->pools[query].n >= s->k) {
        const uint32_t left = s->effort.most_lists > f->n_taken ? s->effort.most_lists - f->n_taken : 0;
        n = left < n ? left : n;
    }
    return n > 0 && limit > -INFINITY ? nearest(s, lists_within(s, query, limit), n) : 0;
}

/* Whether the matches of a list are better compared one by one than found by its codes. */
static bool are_few(const omen_index *index, uint32_t list, uint32_t n_matches)
{
    const omen_meta *m = &index->meta;
    const float n_blocks = (float)(index->first[list + 1] - index->first[list]) / OMEN_SCAN_BLOCK + 1;
    if (m->refine == OMEN_REFINE_NONE || m->codec == OMEN_CODEC_NONE)
        return m->codec == OMEN_CODEC_NONE;
    return (float)n_matches * omen_row_cost(index) <= n_blocks * omen_block_cost(index);
}

/* Takes the n lists at the front of list_keys: notes those to be scanned, and compares the matches of the others. */
static int take_lists(omen_lists_chunk *s, uint32_t query, uint32_t n, const float *row, omen_detail *why)
{
    const omen_index *index = s->index;
    omen_query_filter *f = &s->filters[query];
    int status = omen_lists_reserve(s, s->n_pairs + n);
    s->n_positions = 0;
    for (uint32_t i = 0; i < n; i++)
        omen_lists_fetch_matches(s, query, (uint32_t)s->list_keys[i]);
    for (uint32_t i = 0; i < n && status == OMEN_OK; i++) {
        const uint64_t key = s->list_keys[i];
        const uint32_t l = (uint32_t)key;
        f->last = f->n_taken == 0 || key > f->last ? key : f->last;
        f->n_taken++;
        if (f->compares_all || are_few(index, l, f->matches[l])) {
            status = omen_lists_add_matches(s, query, l, row, why);
            s->stats.lists.probed++;
            continue;
        }
        const float base = s->lists[query].norm2 + 2 * omen_key_distance(key);
        s->probes[s->n_pairs++] = (omen_probe){l, query, base > 0 ? base : 0, 0};
        if (!f->has_tables)
            omen_lists_make_tables(s, query);
        f->has_tables = true;
    }
    return status == OMEN_OK ? omen_lists_compare_matches(s, query, row, why) : status;
}

int omen_filters_choose(omen_lists_chunk *s, const float *rows, size_t n_queries, omen_detail *why)
{
    s->n_pairs = s->n_active = 0;
    for (uint32_t q = 0; q < n_queries; q++) {
        omen_query_filter *f = &s->filters[q];
        if (f->done)
            continue;
        if (omen_watch_stopped(s->watch))
            return OMEN_ERR_INTERRUPTED;
        const uint32_t n = choose_next(s, q);
        const int status = take_lists(s, q, n, rows + (size_t)q * s->index->meta.d, why);
        if (status != OMEN_OK)
            return status;
        f->done = n == 0;
        s->n_active += n > 0;
    }
    omen_lists_sort_probes(s);
    return OMEN_OK;
}

int omen_filters_choose_again(omen_lists_chunk *s, uint32_t query, float kth, const float *row, omen_detail *why)
{
    omen_query_filter *f = &s->filters[query];
    if (omen_watch_stopped(s->watch))
        return OMEN_ERR_INTERRUPTED;
    const float last = omen_key_distance(f->last), limit = s->effort.missed >= 0 ? limit_needed(s, query, kth) : last;
    f->n_taken = 0;
    return take_lists(s, query, lists_within(s, query, limit > last ? limit : last), row, why);
}
