/* SPDX-License-Identifier: Apache-2.0 */
/* How many rows of a list may be expected within a distance, by the list's spread; how many lists have to be taken by
 * that; and how many rows may be behind the lists that a search under a filter takes. */
#include <math.h>

#include "lib/lists/lists_spread.h"

float omen_list_spread_share(const omen_list_spread *spread, uint32_t list, float base, float kth)
{
    const float mean = spread->means[list], ahead = kth - base - mean;
    const float variance = spread->scale * spread->scale * (2 * mean * mean + 4 * mean * base);
    if (!(ahead * ahead < OMEN_TAIL_MOST * variance))
        return ahead > 0 ? 1 : 0;
    const float at = ahead * ahead / variance * OMEN_TAIL_STEPS, *tails = spread->tails + (uint32_t)at;
    const float tail = tails[0] + (tails[1] - tails[0]) * (at - (float)(uint32_t)at);
    return ahead > 0 ? 1 - tail : tail;
}

void omen_list_steps_fill(omen_list_steps *steps, const float *distances, const float *expected, size_t n, float least,
                          float most)
{
    const float per_step = most > least ? (float)OMEN_LIST_STEPS / (most - least) : 0;
    *steps = (omen_list_steps){.least = least, .most = most, .per_step = per_step};
    for (size_t i = 0; i < n; i++) {
        if (!(expected[i] > 0))
            continue;
        const float at = (distances[i] - least) * per_step;
        const uint32_t step = at < (float)OMEN_LIST_STEPS ? (uint32_t)at : OMEN_LIST_STEPS - 1;
        steps->expected[step] += (double)expected[i];
    }
    for (uint32_t step = 0; step < OMEN_LIST_STEPS; step++)
        steps->sum += steps->expected[step];
}

uint32_t omen_list_steps_needed(const omen_list_steps *steps, double missed)
{
    double behind = 0;
    for (uint32_t n = OMEN_LIST_STEPS; n > 0; n--) {
        behind += steps->expected[n - 1];
        if (behind > missed)
            return n;
    }
    return 0;
}

/* ---- when a search under a filter may stop ---- */

#define LAST_PART      0.66667 /* of what may be missed, where nothing was measured */
#define LAST_DOUBLINGS 2.0     /* of the rows, until what was found counts instead of what was expected */
#define LAST_SLOPE     0.8     /* steps by which a share falls with each doubling of the rows, behind the last rank */

double omen_stop_share(double step)
{
    const uint32_t whole = (uint32_t)step;
    const double from = (whole % 2 ? 0.70710678 : 1) / (double)(1u << whole / 2);
    return from * (1 - (step - whole) * 0.29289322);
}

/* The step of a share. */
static double step_of(double share)
{
    double step = 0;
    while (step < OMEN_STOP_STEPS - 1 && omen_stop_share(step) > share)
        step++;
    return step;
}

double omen_log2_about(double x)
{
    int exponent;
    const double part = frexp(x, &exponent);
    return exponent + 2 * part - 2;
}

omen_stop_rule omen_stop_rule_make(const omen_list_spread *spread, double missed)
{
    const omen_stop_table *t = &spread->stop;
    omen_stop_rule rule = {.n_ranks = t->n_ranks, .last_step = step_of(LAST_PART * missed)};
    for (uint32_t r = 0; r < t->n_ranks; r++) {
        uint32_t step = 0;
        while (step < OMEN_STOP_STEPS - 1 && t->missed[r][step] > missed)
            step++;
        const double before = step > 0 ? t->missed[r][step - 1] : 0, at = t->missed[r][step];
        rule.rows[r] = t->rows[r];
        rule.steps[r] = before > missed && missed > at ? step - (missed - at) / (before - at) : step;
    }
    return rule;
}

double omen_stop_rule_allowed(const omen_stop_rule *rule, double n_rows, double taken, uint32_t k)
{
    const double x = omen_log2_about(n_rows > 1 ? n_rows : 1), found = taken < k ? taken : k;
    uint32_t r = 0;
    while (r < rule->n_ranks && rule->rows[r] < x)
        r++;
    if (!rule->n_ranks)
        return omen_stop_share(rule->last_step) * found;
    if (r == 0)
        return omen_stop_share(rule->steps[0]) * taken;
    const double from = rule->rows[r - 1], step = rule->steps[r - 1];
    if (r < rule->n_ranks)
        return omen_stop_share(step + (rule->steps[r] - step) * (x - from) / (rule->rows[r] - from)) * taken;
    /* as it is between ranks, about, to where nothing was measured; and soon of what was found in fact, as errors for
     * rows that are far away need not be those for rows that are near */
    const double beyond = x - from, more = step + beyond * LAST_SLOPE;
    const double of = beyond < LAST_DOUBLINGS ? taken + (found - taken) * beyond / LAST_DOUBLINGS : found;
    return omen_stop_share(step > rule->last_step ? step : more < rule->last_step ? more : rule->last_step) * of;
}
