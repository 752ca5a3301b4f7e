/* SPDX-License-Identifier: Apache-2.0 */
/* The recall of a batch, measured on a sample of its queries. */
#include <math.h>
#include <stdlib.h>

#include "lib/index.h"
#include "lib/matrix.h"

#define STREAM_AUDIT 0x6175646974ull /* of random numbers */
#define Z_95         1.959964        /* standard deviations to either side that hold 95% */

/* What rounding costs is an estimate. So much below a recall it says more than what was measured: rows that come from
 * far behind the neighbours push these out unseen. */
#define CEILING_SLACK 0.01

/* ---- the sample ---- */

int omen_audit_choose(uint64_t seed, uint64_t n_queries, uint64_t n_sample, uint64_t *numbers)
{
    if (n_sample > n_queries)
        return OMEN_ERR_ARGUMENT;
    if (n_sample == 0)
        return OMEN_OK;
    const size_t room = 2 * n_sample;
    uint64_t *hashes = omen_alloc(room, sizeof *hashes), largest = 0;
    if (!hashes)
        return OMEN_ERR_MEMORY;
    size_t n = 0;
    for (uint64_t i = 0; i < n_queries; i++) {
        hashes[n++] = omen_random(seed ^ STREAM_AUDIT, i);
        if (n == room) {
            omen_keys_select(hashes, n, n_sample);
            n = n_sample;
        }
    }
    omen_keys_select(hashes, n, n_sample);
    for (size_t i = 0; i < n_sample; i++)
        largest = hashes[i] > largest ? hashes[i] : largest;
    free(hashes);
    /* the mix of a counter gives no value twice, so these are n_sample */
    for (uint64_t i = 0, at = 0; at < n_sample; i++)
        if (omen_random(seed ^ STREAM_AUDIT, i) <= largest)
            numbers[at++] = i;
    return OMEN_OK;
}

/* ---- recall ---- */

void omen_audit_count(const float *found, const float *limits, uint64_t n, uint32_t k, uint32_t *hits)
{
    for (uint64_t q = 0; q < n; q++) {
        hits[q] = 0;
        for (uint32_t i = 0; i < k; i++)
            hits[q] += found[q * k + i] <= limits[q] && found[q * k + i] < INFINITY; /* a place without a row is none */
    }
}

omen_recall omen_audit_recall(const uint32_t *hits, const uint32_t *wanted, uint64_t n_sample, uint64_t n_queries,
                              uint32_t k, double ceiling)
{
    const double m = (double)n_sample;
    double sum = 0, all = 0, squares = 0;
    for (uint64_t q = 0; q < n_sample; q++) {
        sum += hits[q];
        all += wanted ? wanted[q] : k;
    }
    const double mean = all > 0 ? sum / all : 1, of_each = all / m;
    omen_recall out = {mean * ceiling, mean * ceiling, mean * ceiling};
    if (n_sample == n_queries || !(all > 0))
        return out;
    for (uint64_t q = 0; q < n_sample; q++) {
        const double more = (hits[q] - mean * (wanted ? wanted[q] : k)) / of_each;
        squares += more * more;
    }
    /* how much wider the mean of queries scatters than that of as many rows found one by one (Kish's design effect);
     * a sample without any scatter says nothing of it, and its queries count once each */
    double effect = squares > 0 ? squares / (m - 1) * of_each / (mean * (1 - mean)) : k;
    effect = effect < 1 ? 1 : effect > k ? k : effect;
    const double n = all / effect, z2 = Z_95 * Z_95;
    const double centre = (mean + z2 / (2 * n)) / (1 + z2 / n);
    const double half = Z_95 * sqrt(mean * (1 - mean) / n + z2 / (4 * n * n)) / (1 + z2 / n);
    out.low = fmax(0, centre - half) * ceiling;
    out.high = fmin(1, centre + half) * ceiling;
    return out;
}

/* ---- what an index can reach ---- */

bool omen_index_rows_are_exact(const omen_index *index)
{
    return index->meta.refine == OMEN_REFINE_F32 || index->meta.refine_ceiling == 1;
}

bool omen_index_is_rounded_below(const omen_index *index, float recall)
{
    return (double)recall > omen_index_ceiling(index, NULL) + CEILING_SLACK;
}

bool omen_index_can_reach(const omen_index *index, uint32_t k, float recall, double *most)
{
    const omen_tune_entry *last = omen_index_effort_most(index, k);
    bool can = !last || recall <= last->recall;
    /* a table that goes as far as any is followed by every list and a wide pool, which only rounding can fail */
    if (!can && last->recall >= OMEN_TUNE_HIGHEST)
        can = omen_index_rows_are_exact(index) || (double)recall <= omen_index_ceiling(index, NULL);
    const bool is_lost = can && omen_index_is_rounded_below(index, recall);
    if (most)
        *most = is_lost ? omen_index_ceiling(index, NULL) : can ? 1 : (double)last->recall;
    return can && !is_lost;
}

double omen_index_ceiling(const omen_index *index, double *at_least)
{
    const bool is_known = omen_index_rows_are_exact(index) || index->meta.refine_ceiling > 0;
    const double ceiling = omen_index_rows_are_exact(index) || !is_known ? 1 : (double)index->meta.refine_ceiling;
    if (at_least)
        *at_least = is_known || index->meta.refine == OMEN_REFINE_NONE ? ceiling : (double)OMEN_TUNE_HIGHEST;
    return ceiling;
}
