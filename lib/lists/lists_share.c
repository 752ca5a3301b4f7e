/* SPDX-License-Identifier: Apache-2.0 */
/* How many rows of a list may be expected within a distance, by the list's spread. */
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
