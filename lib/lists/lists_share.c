/* SPDX-License-Identifier: Apache-2.0 */
/* How many rows of a list may be expected within a distance, by the list's spread; and how many lists have to be taken
 * by that. */
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

void omen_list_steps_fill(omen_list_steps *steps, const float *distances, const float *expected, size_t n)
{
    *steps = (omen_list_steps){.least = INFINITY, .most = -INFINITY};
    for (size_t i = 0; i < n; i++) {
        if (!(expected[i] > 0))
            continue;
        steps->least = distances[i] < steps->least ? distances[i] : steps->least;
        steps->most = distances[i] > steps->most ? distances[i] : steps->most;
    }
    if (steps->most > steps->least)
        steps->per_step = (float)OMEN_LIST_STEPS / (steps->most - steps->least);
    for (size_t i = 0; i < n; i++) {
        if (!(expected[i] > 0))
            continue;
        const float at = (distances[i] - steps->least) * steps->per_step;
        const uint32_t step = at < (float)OMEN_LIST_STEPS ? (uint32_t)at : OMEN_LIST_STEPS - 1;
        steps->expected[step] += (double)expected[i];
        steps->counts[step]++;
        steps->sum += (double)expected[i];
    }
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
