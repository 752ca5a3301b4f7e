/* SPDX-License-Identifier: Apache-2.0 */
/* How many rows of a list may be expected within a distance, by the list's spread. */
#include <math.h>
#include <string.h>

#include "lib/lists_spread.h"

/* exp(-x) for x from 0 to 80, to 1e-5 of it, by arithmetic that rounds alike everywhere. */
static float exp_minus(float x)
{
    const float y = x * -1.44269504f;
    const int whole = (int)y;
    const float part = (y - (float)whole) * 0.69314718f; /* from -ln 2 to 0 */
    const float value =
        1 + part * (1 + part * (0.5f + part * (0.16666667f + part * (0.041666668f + part * 0.0083333f))));
    const uint32_t bits = (uint32_t)(127 + whole) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return value * power;
}

float omen_list_spread_share(const omen_list_spread *spread, uint32_t list, float base, float kth)
{
    const float mean = spread->means[list], ahead = kth - base - mean;
    const float variance = spread->scale * spread->scale * (2 * mean * mean + 4 * mean * base);
    if (!(ahead * ahead < 36 * variance))
        return ahead > 0 ? 1 : 0;
    /* Abramowitz and Stegun, Handbook of Mathematical Functions, 26.2.17 */
    const float z2 = ahead * ahead / variance, t = 1 / (1 + 0.2316419f * sqrtf(z2));
    const float series =
        t * (0.31938153f + t * (-0.356563782f + t * (1.781477937f + t * (-1.821255978f + t * 1.330274429f))));
    const float tail = 0.39894228f * exp_minus(z2 / 2) * series;
    return ahead > 0 ? 1 - tail : tail;
}
