/* SPDX-License-Identifier: Apache-2.0 */
/* Which lists a query takes under a filter.
 *
 * Lists are taken in order of distance, those without a match left out, in rounds. Before a round the number of matches
 * is estimated that each remaining list holds nearer than the k-th found so far (lists_spread.h), and from it how many
 * lists are needed until those behind them hold less than the recall may lack. A round takes so many, at most as many
 * as all rounds before it, as the k-th comes nearer meanwhile. A filter that agrees with the query's neighbourhood ends
 * so after few lists, one that is far from it after many. What a query decides depends on that query, its filter and
 * what the rounds before found, not on the queries beside it. */
#include <math.h>

#include "lib/filter.h"
#include "lib/lists/lists_search.h"

/* ---- matches ---- */

void omen_filters_begin(omen_lists_chunk *s, const omen_row_set *const *sets, size_t n_queries)
{
    const size_t n_lists = s->index->meta.n_lists;
    for (size_t q = 0; q < n_queries; q++) {
        omen_query_filter *f = &s->filters[q];
        *f = (omen_query_filter){.set = sets[q], .matches = sets[q]->counts, .rest = s->rest_keys + q * n_lists};
        const float *values = s->values + q * s->ldc;
        for (uint32_t l = 0; l < n_lists; l++) {
            f->rest[f->n_rest] = omen_key(values[l], l);
            f->n_rest += f->matches[l] > 0;
        }
    }
}

/* ---- what is expected of a list ---- */

static float base_of(const omen_lists_chunk *s, uint32_t query, uint64_t key)
{
    const float base = s->lists[query].norm2 + 2 * omen_key_distance(key);
    return base > 0 ? base : 0;
}

/* How many of the remaining lists, nearest first, a query needs so that those behind them may be expected to hold no
 * more than effort.missed matches nearer than the k-th so far; 0: none. Lists that hold none are dropped: the k-th can
 * only come nearer. */
static uint32_t count_needed(omen_lists_chunk *s, uint32_t query)
{
    omen_query_filter *f = &s->filters[query];
    const float kth = omen_lists_kth(s, query);
    float *expected = s->work, *bases = s->work + s->ldc;
    omen_list_steps steps;
    uint32_t n = 0, n_needed = 0;
    for (uint32_t i = 0; i < f->n_rest; i++) {
        const uint32_t l = (uint32_t)f->rest[i];
        f->rest[n] = f->rest[i];
        bases[n] = base_of(s, query, f->rest[i]);
        expected[n] = (float)f->matches[l] * omen_list_spread_share(s->spread, l, bases[n], kth);
        n += expected[n] > 0;
    }
    f->n_rest = n;
    omen_list_steps_fill(&steps, bases, expected, n);
    const uint32_t n_steps = omen_list_steps_needed(&steps, (double)s->effort.missed);
    for (uint32_t step = 0; step < n_steps; step++)
        n_needed += steps.counts[step];
    return n_needed;
}

/* ---- rounds ---- */

/* Lists of the first round: they hold what the margin is taken from, or all matches. Brings them to the front. */
static uint32_t count_first(const omen_lists_chunk *s, omen_query_filter *f)
{
    const uint64_t rank = s->effort.missed < 0 ? s->k : omen_spread_rank(s->k);
    const uint64_t wanted = rank < f->set->n_matches ? rank : f->set->n_matches;
    for (uint32_t n = s->effort.least_lists;; n = 2 * n) {
        uint64_t n_matches = 0;
        if (n >= f->n_rest)
            return f->n_rest;
        omen_keys_select(f->rest, f->n_rest, n);
        for (uint32_t i = 0; i < n; i++)
            n_matches += f->matches[(uint32_t)f->rest[i]];
        if (n_matches >= wanted)
            return n;
    }
}

/* How many lists the query takes next; 0: it is done. */
static uint32_t count_next(omen_lists_chunk *s, uint32_t query)
{
    omen_query_filter *f = &s->filters[query];
    const omen_pool *p = &s->pools[query];
    uint32_t n = f->n_taken;
    if (!n)
        return count_first(s, f);
    if (p->n >= s->k) {
        const uint32_t needed = s->effort.missed >= 0               ? count_needed(s, query)
                                : f->n_taken < s->effort.most_lists ? s->effort.most_lists - f->n_taken
                                                                    : 0;
        n = needed < n ? needed : n;
    }
    n = n < f->n_rest ? n : f->n_rest;
    if (n)
        omen_keys_select(f->rest, f->n_rest, n);
    return n;
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

int omen_filters_choose(omen_lists_chunk *s, const float *rows, size_t n_queries, omen_detail *why)
{
    const omen_index *index = s->index;
    s->n_pairs = s->n_active = 0;
    for (uint32_t q = 0; q < n_queries; q++) {
        omen_query_filter *f = &s->filters[q];
        if (f->done)
            continue;
        if (omen_watch_stopped(s->watch))
            return OMEN_ERR_INTERRUPTED;
        const uint32_t n = count_next(s, q);
        f->done = n == 0;
        s->n_active += n > 0;
        if (omen_lists_reserve(s, s->n_pairs + n) != OMEN_OK)
            return OMEN_ERR_MEMORY;
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t l = (uint32_t)f->rest[i];
            const omen_probe pair = {l, q, base_of(s, q, f->rest[i])};
            if (are_few(index, l, f->matches[l])) {
                const int status = omen_lists_scan_matches(s, &pair, f->set, rows + (size_t)q * index->meta.d, why);
                if (status != OMEN_OK)
                    return status;
                s->stats.lists.probed++;
                continue;
            }
            if (!f->has_tables)
                omen_lists_make_tables(s, q);
            f->has_tables = true;
            s->probes[s->n_pairs++] = pair;
        }
        f->rest += n;
        f->n_rest -= n;
        f->n_taken += n;
    }
    omen_lists_sort_probes(s);
    return OMEN_OK;
}
