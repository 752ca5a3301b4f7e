/* SPDX-License-Identifier: Apache-2.0 */
/* A run compared with chunks of its rows that are encoded again, in the memory of a chunk. Both are sorted by list, and
 * within a list by row, so that a chunk's rows of a list are a stretch of the run's, behind that of the chunk before.
 */
#include <stdlib.h>
#include <string.h>

#include "lib/matrix.h"
#include "lib/lists/runs.h"

#define COMPARE_BYTES (1u << 20) /* of the run, read at a time */

static size_t room_bytes(size_t item_bytes)
{
    return item_bytes > COMPARE_BYTES ? item_bytes : COMPARE_BYTES;
}

uint64_t omen_run_compare_bytes(uint32_t n_lists, size_t refine_bytes)
{
    return n_lists * sizeof(uint32_t) + room_bytes(refine_bytes);
}

int omen_run_compare_begin(omen_run_comparison *c, const omen_runs *made, size_t run)
{
    omen_run_compare_finish(c);
    size_t most = 0;
    for (size_t p = 0; p < OMEN_N_RUN_PARTS; p++)
        most = made->item_bytes[p] > most ? made->item_bytes[p] : most;
    c->made = made;
    c->run = run;
    c->at = omen_alloc(made->n_lists, sizeof *c->at);
    c->room = omen_alloc(room_bytes(most), 1);
    if (!c->at || !c->room)
        return OMEN_ERR_MEMORY;
    memcpy(c->at, made->runs[run].first, made->n_lists * sizeof *c->at);
    return OMEN_OK;
}

/* n items of one part: of the run from item i on, and those in memory. */
static int compare_items(const omen_run_comparison *c, omen_run_part part, uint64_t i, const uint8_t *items, uint64_t n,
                         bool *same, omen_detail *why)
{
    const size_t item_bytes = c->made->item_bytes[part];
    const uint64_t most = item_bytes > 0 ? room_bytes(item_bytes) / item_bytes : n;
    int status = OMEN_OK;
    for (uint64_t done = 0; item_bytes > 0 && done < n && status == OMEN_OK && *same; done += most) {
        const uint64_t n_here = n - done < most ? n - done : most;
        status = omen_runs_read(c->made, c->run, part, i + done, n_here, c->room, why);
        *same = status == OMEN_OK && memcmp(c->room, items + done * item_bytes, n_here * item_bytes) == 0;
    }
    return status;
}

/* The only run gives its memory to the one that comes next. */
static void drop_run(omen_runs *runs)
{
    for (size_t p = 0; p < OMEN_N_RUN_PARTS; p++) {
        free(runs->spare[p]);
        runs->spare[p] = runs->runs[0].parts[p];
    }
    free(runs->runs[0].first);
    runs->n_runs = 0;
}

int omen_run_compare_next(omen_run_comparison *c, omen_runs *again, bool *same, omen_detail *why)
{
    const omen_run *run = &again->runs[0];
    const uint32_t *end = c->made->runs[c->run].first + 1;
    int status = OMEN_OK;
    *same = true;
    for (size_t from = 0, to; from < again->n_lists && status == OMEN_OK && *same; from = to) {
        /* lists that are complete with this chunk are followed by the next one in both */
        const uint64_t i = c->at[from];
        uint64_t n = 0;
        to = from;
        do {
            const uint32_t n_rows = run->first[to + 1] - run->first[to];
            *same = n_rows <= end[to] - c->at[to];
            c->at[to++] += n_rows;
            n += n_rows;
        } while (*same && to < again->n_lists && c->at[to] == i + n);
        for (size_t p = 0; p < OMEN_N_RUN_PARTS && status == OMEN_OK && *same; p++)
            status = compare_items(c, (omen_run_part)p, i, run->parts[p] + run->first[from] * again->item_bytes[p], n,
                                   same, why);
    }
    omen_row_hash_join(&c->hash, &run->hash);
    drop_run(again);
    return status;
}

bool omen_run_compare_is_done(const omen_run_comparison *c)
{
    const omen_run *run = &c->made->runs[c->run];
    return run->level == 0 && memcmp(c->at, run->first + 1, c->made->n_lists * sizeof *c->at) == 0 &&
           c->hash.low == run->hash.low && c->hash.high == run->hash.high;
}

void omen_run_compare_finish(omen_run_comparison *c)
{
    free(c->at);
    free(c->room);
    *c = (omen_run_comparison){.at = NULL};
}

bool omen_runs_have_same_extremes(const omen_runs *a, const omen_runs *b)
{
    bool same = true;
    for (size_t i = 0; i < (size_t)a->n_lists * a->n_factors * 2; i++)
        same = same && a->extremes[i] == b->extremes[i];
    return same;
}
