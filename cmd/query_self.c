/* SPDX-License-Identifier: Apache-2.0 */
/* omendb query --self: what rows find comes in the order of the lists, and is written in the order of the rows. */
#include "cmd/query_self.h"

#include <stdlib.h>
#include <string.h>

#include "cmd/query_spool.h"

struct self_state {
    const struct query_self *run;
    struct cmd_query_outcome *o;
    struct query_spool spool;
    cmd_progress progress;
    uint64_t n_done, n_short;
};

void query_self_count(const omen_found *found, struct cmd_query_outcome *o)
{
    o->n_found += found->first[found->n_queries];
    for (uint64_t q = 0; q < found->n_queries; q++)
        o->n_cut += found->is_cut[q];
}

/* What one row has found, into the spool. Of a pair the lower row has it, whichever found the other. */
static int spool_row(struct self_state *s, uint32_t row, const int64_t *ids, const float *distances, uint64_t n,
                     omen_detail *why)
{
    int status = OMEN_OK;

    if (n == 0 && !s->run->pairs)
        return query_spool_add(&s->spool, (struct query_entry){row, QUERY_SPOOL_NONE, 0}, why);
    for (uint64_t i = 0; status == OMEN_OK && i < n; i++) {
        const uint32_t other = (uint32_t)ids[i];
        const bool turned = s->run->pairs && other < row;

        status = query_spool_add(&s->spool,
                                 (struct query_entry){turned ? other : row, turned ? row : other, distances[i]}, why);
    }
    return status;
}

static int take(void *context, const int64_t *rows, const omen_found *found, omen_detail *why)
{
    struct self_state *s = context;
    int status = OMEN_OK;

    for (uint64_t q = 0; status == OMEN_OK && q < found->n_queries; q++) {
        const uint64_t at = found->first[q], n = found->first[q + 1] - at;

        status = spool_row(s, (uint32_t)rows[q], found->ids + at, found->distances + at, n, why);
        s->n_short += n < s->run->results->k;
        s->o->n_passing += n;
    }
    query_self_count(found, s->o);
    s->n_done += found->n_queries;
    cmd_progress_update(&s->progress, "search", s->n_done, s->o->n_in_batch);
    return status;
}

/* ---- in the order of the rows ---- */

static int by_pair(const void *a, const void *b)
{
    const struct query_entry *x = a, *y = b;

    if (x->row != y->row)
        return x->row < y->row ? -1 : 1;
    if (x->neighbour != y->neighbour)
        return x->neighbour < y->neighbour ? -1 : 1;
    return x->distance < y->distance ? -1 : x->distance > y->distance;
}

static int by_distance(const void *a, const void *b)
{
    const struct query_entry *x = a, *y = b;

    if (x->row != y->row)
        return x->row < y->row ? -1 : 1;
    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return x->neighbour < y->neighbour ? -1 : x->neighbour > y->neighbour;
}

/* Leaves each pair once, at the lower of its two distances, which rounding may tell apart; returns how many. */
static uint64_t merge_pairs(struct query_entry *entries, uint64_t n)
{
    uint64_t n_kept = 0;

    qsort(entries, n, sizeof *entries, by_pair);
    for (uint64_t i = 0; i < n; i++)
        if (i == 0 || entries[i].row != entries[i - 1].row || entries[i].neighbour != entries[i - 1].neighbour)
            entries[n_kept++] = entries[i];
    qsort(entries, n_kept, sizeof *entries, by_distance);
    return n_kept;
}

/* Entries of a part, as the results of the rows that they are of, which rows gets; out has room for as many. Entries of
 * a row are in order. */
static void group(const struct query_entry *entries, uint64_t n, uint64_t first, uint64_t *starts, uint64_t n_rows,
                  int64_t *rows, omen_found *out)
{
    memset(starts, 0, (n_rows + 1) * sizeof *starts);
    for (uint64_t i = 0; i < n; i++)
        starts[entries[i].row - first + 1]++;
    out->n_queries = 0;
    for (uint64_t row = 0, to = 0; row < n_rows; row++) {
        const uint64_t n_entries = starts[row + 1];

        starts[row] = to;
        if (n_entries > 0) {
            out->first[out->n_queries] = to;
            rows[out->n_queries++] = (int64_t)(first + row);
        }
        to += n_entries;
        out->first[out->n_queries] = to;
    }
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t to = starts[entries[i].row - first]++;

        out->ids[to] = entries[i].neighbour == QUERY_SPOOL_NONE ? OMEN_NO_ROW : (int64_t)entries[i].neighbour;
        out->distances[to] = entries[i].distance;
    }
    /* a row that found nothing has one entry, which says so */
    for (uint64_t q = 0, from = 0, to = 0; q < out->n_queries; q++) {
        const uint64_t end = out->first[q + 1];

        out->first[q] = to;
        for (; from < end; from++) {
            if (out->ids[from] == OMEN_NO_ROW)
                continue;
            out->ids[to] = out->ids[from];
            out->distances[to++] = out->distances[from];
        }
        if (q + 1 == out->n_queries)
            out->first[q + 1] = to;
    }
}

static int write_part(struct self_state *s, uint32_t part, omen_detail *why)
{
    const struct query_self *run = s->run;
    const uint64_t first = part * s->spool.rows_per_part, n_rows = s->spool.rows_per_part;
    struct query_entry *entries = NULL;
    omen_found found = {.n_queries = 0};
    uint64_t n = 0;
    int status = query_spool_read(&s->spool, part, &entries, &n, why);

    if (status == OMEN_OK && run->pairs)
        s->o->n_pairs += n = merge_pairs(entries, n);
    uint64_t *starts = malloc((n_rows + 1) * sizeof *starts);
    int64_t *rows = malloc(n_rows * sizeof *rows);
    found.first = malloc((n_rows + 1) * sizeof *found.first);
    found.ids = malloc(n * sizeof *found.ids + 1);
    found.distances = malloc(n * sizeof *found.distances + 1);
    if (status == OMEN_OK && (!starts || !rows || !found.first || !found.ids || !found.distances))
        status = OMEN_ERR_MEMORY;
    if (status == OMEN_OK) {
        group(entries, n, first, starts, n_rows, rows, &found);
        free(entries);
        entries = NULL;
        status = omen_results_write_found(run->results, run->keys, 0, rows, &found, why);
        status = cmd_name_damage(run->index_path, status, why);
    }
    free(entries);
    free(starts);
    free(rows);
    free(found.first);
    free(found.ids);
    free(found.distances);
    return status;
}

int query_self_run(const struct query_self *run, struct cmd_query_outcome *o, omen_detail *why)
{
    struct self_state s = {.run = run, .o = o};
    double started = cmd_seconds();
    int status = query_spool_init(&s.spool, o->info.n_rows);

    cmd_progress_init(&s.progress, run->is_quiet ? -1 : 0);
    if (status == OMEN_OK)
        status = cmd_name_damage(run->index_path, omen_results_begin_keys(run->results, run->keys, why), why);
    if (status == OMEN_OK) {
        status = omen_index_search_self(run->index, run->search, run->set, take, &s, &o->stats, why);
        status = cmd_name_damage(run->index_path, status, why);
    }
    o->search_seconds = cmd_seconds() - started;
    o->n_short = s.n_short;
    for (uint32_t part = 0; status == OMEN_OK && part < s.spool.n_parts; part++) {
        cmd_progress_update(&s.progress, "write", part, s.spool.n_parts);
        status = write_part(&s, part, why);
    }
    o->write_seconds = cmd_seconds() - started - o->search_seconds;
    cmd_progress_clear(&s.progress);
    query_spool_finish(&s.spool);
    return status;
}
