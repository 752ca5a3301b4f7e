/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the lists: for each recall the cheapest effort that reaches it, a reach, which lists a query takes, and
 * a margin, which of their rows are re-ranked (index.h). */
#include <math.h>
#include <string.h>

#include "lib/lists/lists_measure.h"
#include "lib/lists/lists.h"
#include "lib/matrix.h"
#include "lib/watch.h"

#define TOP_MARGIN 0.002f
#define N_LEVELS   OMEN_CALIBRATE_LEVELS
#define N_ENTRIES  (OMEN_CALIBRATE_KS * N_LEVELS)

/* Relative costs: a code scanned is 1. Measured on AVX2 and AVX-512 machines; they steer the choice, nothing more. */
#define COST_LIST      150.0
#define COST_ROW       100.0
#define COST_ROW_VALUE 0.5

/* Where the first lists are nearly all that it takes, the sample hardly tells one reach from another. A smaller one,
 * less safe for other queries, then has to save something. */
#define FEW_LISTS  (2 * OMEN_FIRST_LISTS)
#define COST_WORTH 0.96

/* Where queries are searched again, beside where they are not: the least reach, since less is not safe for queries
 * unlike the rows; and what the rows' own queries cost at most, and what more they find. */
#define AGAIN_REACH 0.8f
#define AGAIN_COST  1.2
#define AGAIN_FINDS 0.01

/* Margins to choose from that a query's limit has to lack for it to be searched again. None lacks the last. */
static const float lacks[] = {0.5f, 1, 2, 4, OMEN_REACH_MOST};
#define N_LACKS (sizeof lacks / sizeof *lacks)
_Static_assert(N_LACKS <= LISTS_N_LACKS, "lacks are looked at together");

/* Margins there are to choose from, besides 0. Without a refine tier there is no re-ranking. */
static uint32_t most_margins(const omen_index *index)
{
    return index->meta.refine != OMEN_REFINE_NONE ? LISTS_N_MARGINS : 0;
}

/* The smallest margin from number on that reaches recall; LISTS_N_MARGINS + 1 if none does. */
static uint32_t margin_for(const omen_lists_measure *m, float recall, uint32_t number)
{
    const uint32_t most = most_margins(m->index);
    while (number <= most && m->recall[number] < (double)recall)
        number++;
    return number <= most ? number : LISTS_N_MARGINS + 1;
}

/* The recalls to find an effort for. Where no effort reaches one, as behind rounded refine rows, the table ends with
 * nearly the most there is. Returns how many. */
static size_t choose_levels(omen_lists_measure *m, uint32_t k, float most_reach, float level[N_LEVELS])
{
    size_t n = 0;
    omen_lists_measure_reach(m, k, most_reach);
    const float top = (float)m->recall[most_margins(m->index)] - TOP_MARGIN;
    while (n < N_LEVELS && omen_calibrate_levels[n] <= top) {
        level[n] = omen_calibrate_levels[n];
        n++;
    }
    if (n < N_LEVELS && top > (n > 0 ? level[n - 1] : 0))
        level[n++] = top;
    return n;
}

static double cost_of(const omen_meta *meta, double n_lists, double n_rows)
{
    const double rows_a_list = (double)meta->n_rows / meta->n_lists, cost_row = COST_ROW + COST_ROW_VALUE * meta->d;
    return n_lists * (COST_LIST + rows_a_list) + n_rows * cost_row;
}

/* TUNE and ATUN, as far as they are made: as many entries of both, or none of the other. */
typedef struct {
    omen_tune_entry *once, *again;
    float *lacks; /* n_again */
    size_t n_once, n_again;
    bool repeats; /* queries can be searched again */
} tables;

/* The cheapest effort so far with a lack. */
typedef struct {
    double cost, recall;
    omen_tune_entry effort;
} cheapest;

/* Takes what a reach, which takes n_lists, gave with each lack, where that is cheaper and suffices. */
static void offer(const omen_meta *meta, const omen_tune_entry *once, float reach, uint32_t n_lists,
                  const omen_lists_again results[N_LACKS], cheapest best[N_LACKS])
{
    for (size_t i = 0; i < N_LACKS; i++) {
        const double rows = fmax(results[i].rows, once->k), cost = cost_of(meta, n_lists + results[i].lists, rows);
        const bool is_cheaper = cost < (n_lists <= FEW_LISTS ? COST_WORTH : 1) * best[i].cost;
        if (reach < once->reach && !(is_cheaper && results[i].recall >= (double)once->recall))
            continue;
        best[i] = (cheapest){cost, results[i].recall, *once};
        best[i].effort.reach = reach;
        best[i].effort.n_lists = n_lists;
        best[i].effort.n_rows = (uint32_t)fmin(ceil(rows), (double)meta->n_rows);
    }
}

/* The smallest lack with which the rows' own queries, few of which are searched again then, cost and find little more.
 */
static size_t choose_lack(const cheapest best[N_LACKS], float margin)
{
    size_t i = margin > 0 ? 0 : N_LACKS - 1; /* of no margin nothing is lacking */
    while (i < N_LACKS - 1 && (best[i].recall > best[N_LACKS - 1].recall + AGAIN_FINDS ||
                               best[i].cost > AGAIN_COST * best[N_LACKS - 1].cost))
        i++;
    return i;
}

/* The efforts where queries are searched again, by the n best where they are not and the numbers of their margins: a
 * lack for each, and the cheapest reach that suffices then, as far as it is safe. */
static void choose_again(omen_lists_measure *m, const float reaches[LISTS_N_REACHES], const omen_tune_entry *once,
                         const uint32_t *numbers, size_t n, tables *t)
{
    cheapest best[N_LEVELS][N_LACKS] = {{{0}}};
    for (uint32_t i = 0; i < LISTS_N_REACHES; i++) { /* they fall */
        omen_lists_again results[LISTS_N_EFFORTS];
        uint32_t some_numbers[N_LEVELS];
        size_t some[N_LEVELS], n_some = 0;
        for (size_t l = 0; l < n; l++)
            if (reaches[i] <= once[l].reach && reaches[i] >= AGAIN_REACH * once[l].reach) {
                some_numbers[n_some] = numbers[l];
                some[n_some++] = l;
            }
        if (n_some == 0)
            continue;
        const uint32_t n_lists =
            omen_lists_measure_again(m, once->k, reaches[i], some_numbers, n_some, lacks, N_LACKS, results);
        for (size_t j = 0; j < n_some; j++)
            offer(&m->index->meta, &once[some[j]], reaches[i], n_lists, results + j * N_LACKS, best[some[j]]);
    }
    for (size_t l = 0; l < n; l++) {
        const size_t i = choose_lack(best[l], once[l].margin);
        t->again[t->n_again] = best[l][i].effort;
        t->lacks[t->n_again++] = lacks[i];
    }
}

static int calibrate_k(omen_lists_measure *m, uint32_t k, tables *t)
{
    float level[N_LEVELS], reaches[LISTS_N_REACHES];
    double best_cost[N_LEVELS];
    omen_tune_entry best[N_LEVELS] = {{0}};
    uint32_t best_number[N_LEVELS];
    const int status = omen_lists_measure_begin(m, k, reaches);
    if (status != OMEN_OK)
        return status;
    const size_t n_levels = choose_levels(m, k, reaches[0], level);
    for (size_t l = 0; l < n_levels; l++)
        best_cost[l] = INFINITY;
    for (uint32_t i = 0; i < LISTS_N_REACHES; i++) {
        if (omen_watch_stopped(m->watch))
            return OMEN_ERR_INTERRUPTED;
        const uint32_t n_lists = omen_lists_measure_reach(m, k, reaches[i]);
        uint32_t numbers[N_LEVELS], number = 0;
        double mean_rows[N_LEVELS];
        size_t n_reached = 0;
        while (n_reached < n_levels && (number = margin_for(m, level[n_reached], number)) <= LISTS_N_MARGINS)
            numbers[n_reached++] = number;
        if (n_reached == 0) /* nor is it with less */
            break;
        omen_lists_measure_rows(m, numbers, n_reached, mean_rows);
        for (size_t l = 0; l < n_reached; l++) {
            const double rows = mean_rows[l] > k ? mean_rows[l] : k;
            const double cost = cost_of(&m->index->meta, n_lists, rows);
            if (cost < (n_lists <= FEW_LISTS ? COST_WORTH : 1) * best_cost[l]) {
                best_cost[l] = cost;
                best_number[l] = numbers[l];
                best[l] = (omen_tune_entry){
                    k, level[l], reaches[i], omen_lists_measure_margin(m, numbers[l]), n_lists, (uint32_t)ceil(rows)};
            }
        }
    }
    size_t n = 0;
    while (n < n_levels && best[n].k)
        n++;
    memcpy(t->once + t->n_once, best, n * sizeof *best);
    t->n_once += n;
    if (t->repeats)
        choose_again(m, reaches, best, best_number, n, t);
    return OMEN_OK;
}

int omen_lists_calibrate(const omen_index *index, const omen_calibration *truth, int n_threads,
                         omen_way_table out[OMEN_WAY_TABLES], omen_watch *watch, omen_detail *why)
{
    tables t = {.once = omen_alloc(N_ENTRIES, sizeof *t.once),
                .again = omen_alloc(N_ENTRIES, sizeof *t.again + sizeof *t.lacks),
                .repeats = index->meta.codec != OMEN_CODEC_NONE && index->meta.refine != OMEN_REFINE_NONE};
    size_t n_ks = 0;
    omen_lists_measure m;
    out[0] = (omen_way_table){t.once, 0};
    out[1] = (omen_way_table){t.again, 0};
    if (!t.once || !t.again)
        return OMEN_ERR_MEMORY;
    t.lacks = (float *)(t.again + N_ENTRIES);
    while (n_ks < OMEN_CALIBRATE_KS && omen_calibrate_ks[n_ks] <= truth->k_most)
        n_ks++;
    int status = omen_lists_measure_init(&m, index, truth, omen_calibrate_ks, n_ks, n_threads, watch, why);
    for (size_t i = 0; i < n_ks && status == OMEN_OK; i++)
        status = calibrate_k(&m, omen_calibrate_ks[i], &t);
    omen_lists_measure_finish(&m);
    out[0].n_bytes = t.n_once * sizeof *t.once;
    /* the entries, then what their queries lack */
    memmove(t.again + t.n_again, t.lacks, t.n_again * sizeof *t.lacks);
    out[1].n_bytes = t.n_again * (sizeof *t.again + sizeof *t.lacks);
    return status;
}

uint64_t omen_lists_calibrate_bytes(uint64_t n_rows, uint32_t d, uint32_t n_lists, int n_threads)
{
    return omen_lists_measure_bytes(omen_neighbours_most_queries(n_rows, d), n_lists);
}
