/* SPDX-License-Identifier: Apache-2.0 */
#include <omp.h>
#include <stdlib.h>

#include "lib/matrix.h"
#include "lib/omendb_info.h"
#include "lib/row_hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

void omen_row_hash_add(omen_row_hash *hash, uint64_t first, const float *rows, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++) {
        const XXH128_hash_t one = XXH3_128bits_withSeed(rows + i * d, d * sizeof *rows, first + i);
        hash->low += one.low64;
        hash->high += one.high64;
    }
}

void omen_row_hash_join(omen_row_hash *hash, const omen_row_hash *other)
{
    hash->low += other->low;
    hash->high += other->high;
}

bool omen_row_hash_is(const omen_row_hash *a, const omen_row_hash *b)
{
    return a->low == b->low && a->high == b->high;
}

#define BLOCK_ROWS 1024u /* read at once */

int omen_source_hash(const omen_source *source, uint64_t first, uint64_t n, int n_threads, omen_progress_fn progress,
                     void *context, omen_row_hash *out, omen_detail *why)
{
    const uint64_t d = source->d, most = n < BLOCK_ROWS ? n : BLOCK_ROWS;
    const uint64_t n_blocks = n == 0 ? 0 : (n + most - 1) / most;
    uint64_t done = 0;
    bool stop = false;
    int status = OMEN_OK;
    *out = (omen_row_hash){0, 0};
    if (first > source->n_rows || n > source->n_rows - first)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "%llu rows from %llu on are more than the source has",
                         (unsigned long long)n, (unsigned long long)first);
#pragma omp parallel num_threads(n_threads > 0 ? n_threads : omen_cpu_count())
    {
        omen_row_hash own_hash = {0, 0};
        omen_detail own_why = {""};
        float *rows = omen_alloc(most * d, sizeof *rows);
        int own = rows || n == 0 ? OMEN_OK : omen_fail(&own_why, OMEN_ERR_MEMORY, "out of memory for rows");
#pragma omp for schedule(dynamic)
        for (uint64_t i = 0; i < n_blocks; i++) {
            bool skip;
#pragma omp atomic read
            skip = stop;
            if (skip)
                continue;
            const uint64_t at = i * most, count = n - at < most ? n - at : most;
            if (own == OMEN_OK)
                own = source->read(source->self, first + at, count, rows, &own_why);
            if (own == OMEN_OK)
                omen_row_hash_add(&own_hash, first + at, rows, count, d);
            uint64_t so_far;
#pragma omp atomic capture
            so_far = done += count;
            if (own == OMEN_OK && omp_get_thread_num() == 0 && progress && progress(context, "source", so_far, n) != 0)
                own = omen_fail(&own_why, OMEN_ERR_INTERRUPTED, "interrupted");
            if (own != OMEN_OK) {
#pragma omp atomic write
                stop = true;
            }
        }
        free(rows);
#pragma omp critical(omen_row_hash)
        {
            omen_row_hash_join(out, &own_hash);
            if (own != OMEN_OK) {
                status = own;
                if (why)
                    *why = own_why;
            }
        }
    }
    return status;
}
