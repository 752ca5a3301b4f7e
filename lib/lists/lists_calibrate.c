/* SPDX-License-Identifier: Apache-2.0 */
/* The table of the lists: for each recall the cheapest effort that reaches it, a reach, which lists a query takes, and
 * a margin, which of their rows are re-ranked (index.h). */
#include <math.h>

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

/* The smallest margin that reaches recall where queries are searched again; at most a number. */
static uint32_t margin_again(const omen_lists_measure *m, float recall, uint32_t most)
{
    uint32_t number = 0;
    while (number < most && m->recall_again[number] < (double)recall)
        number++;
    return number;
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

static int calibrate_k(omen_lists_measure *m, uint32_t k, omen_tune_entry *entries, float *margins_again,
                       size_t *n_entries)
{
    const omen_meta *meta = &m->index->meta;
    const double rows_a_list = (double)meta->n_rows / meta->n_lists, cost_row = COST_ROW + COST_ROW_VALUE * meta->d;
    float level[N_LEVELS], reaches[LISTS_N_REACHES];
    double best_cost[N_LEVELS];
    omen_tune_entry best[N_LEVELS] = {{0}};
    float best_again[N_LEVELS];
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
        omen_lists_measure_rows(m, k, numbers, n_reached, mean_rows);
        for (size_t l = 0; l < n_reached; l++) {
            const double rows = mean_rows[l] > k ? mean_rows[l] : k;
            const double cost = n_lists * (COST_LIST + rows_a_list) + rows * cost_row;
            if (cost < (n_lists <= FEW_LISTS ? COST_WORTH : 1) * best_cost[l]) {
                best_cost[l] = cost;
                best[l] = (omen_tune_entry){
                    k, level[l], reaches[i], omen_lists_measure_margin(m, numbers[l]), n_lists, (uint32_t)ceil(rows)};
                best_again[l] = omen_lists_measure_margin(m, margin_again(m, level[l], numbers[l]));
            }
        }
    }
    for (size_t l = 0; l < n_levels && best[l].k; l++) {
        margins_again[*n_entries] = best_again[l];
        entries[(*n_entries)++] = best[l];
    }
    return OMEN_OK;
}

int omen_lists_calibrate(const omen_index *index, const omen_calibration *truth, int n_threads,
                         omen_way_table tables[OMEN_WAY_TABLES], omen_watch *watch, omen_detail *why)
{
    omen_tune_entry *entries = omen_alloc(N_ENTRIES, sizeof *entries);
    float *margins_again = omen_alloc(N_ENTRIES, sizeof *margins_again);
    size_t n_ks = 0, n_entries = 0;
    omen_lists_measure m;
    tables[0] = (omen_way_table){entries, 0};
    tables[1] = (omen_way_table){margins_again, 0};
    if (!entries || !margins_again)
        return OMEN_ERR_MEMORY;
    while (n_ks < OMEN_CALIBRATE_KS && omen_calibrate_ks[n_ks] <= truth->k_most)
        n_ks++;
    int status = omen_lists_measure_init(&m, index, truth, omen_calibrate_ks, n_ks, n_threads, watch, why);
    for (size_t i = 0; i < n_ks && status == OMEN_OK; i++)
        status = calibrate_k(&m, omen_calibrate_ks[i], entries, margins_again, &n_entries);
    omen_lists_measure_finish(&m);
    tables[0].n_bytes = n_entries * sizeof *entries;
    if (index->meta.codec != OMEN_CODEC_NONE && index->meta.refine != OMEN_REFINE_NONE)
        tables[1].n_bytes = n_entries * sizeof *margins_again;
    return status;
}

uint64_t omen_lists_calibrate_bytes(uint64_t n_rows, uint32_t d, uint32_t n_lists, int n_threads)
{
    return omen_lists_measure_bytes(omen_neighbours_most_queries(n_rows, d), n_lists);
}
