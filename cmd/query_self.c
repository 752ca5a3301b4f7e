/* SPDX-License-Identifier: Apache-2.0 */
/* omendb query --self: what rows find comes in the order of the lists, and is written in the order of the rows. */
#include "cmd/query_self.h"

#include <stdlib.h>
#include <string.h>

#include "cmd/query_rows.h"
#include "cmd/query_spool.h"

struct self_state {
    const struct query_self *run;
    struct cmd_query_outcome *o;
    struct query_spool spool;
    cmd_progress progress;
    double started; /* the search, less the time that it had taken before it was killed */
    uint64_t n_done, n_short, n_written;
};

/* ---- what a killed run continues from ---- */

static uint64_t float_bits(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* What the results depend on. */
static void describe(const struct query_self *run, const struct cmd_query_outcome *o, uint64_t head[QUERY_N_HEAD])
{
    static const char version[] = OMEN_VERSION;
    const omen_search_options *search = run->search;

    memset(head, 0, QUERY_N_HEAD * sizeof *head);
    memcpy(&head[QUERY_HEAD_VERSION], version, sizeof version < sizeof *head ? sizeof version : sizeof *head);
    head[QUERY_HEAD_INDEX] = run->index_checksum;
    head[QUERY_HEAD_SET] = run->set ? omen_row_set_checksum(run->set) : 0;
    head[QUERY_HEAD_WAY] = search->exact ? OMEN_SEARCH_EXACT : search->way;
    head[QUERY_HEAD_K] = search->has_within ? 0 : search->k;
    head[QUERY_HEAD_RECALL] = search->exact ? 0 : float_bits((float)o->asked);
    head[QUERY_HEAD_PROBES] = search->lists.probes;
    head[QUERY_HEAD_RERANK] = search->rerank;
    head[QUERY_HEAD_EFFORT_FACTOR] = search->effort_factor > 0 ? float_bits(search->effort_factor) : float_bits(1);
    head[QUERY_HEAD_HAS_WITHIN] = search->has_within;
    head[QUERY_HEAD_WITHIN] = search->has_within ? float_bits(search->within) : 0;
    head[QUERY_HEAD_LIMIT] = search->limit;
    head[QUERY_HEAD_PAIRS] = run->pairs;
}

static struct query_counts counts_of(const struct self_state *s)
{
    const struct cmd_query_outcome *o = s->o;

    return (struct query_counts){.n_done = s->n_done,
                                 .n_short = s->n_short,
                                 .n_passing = o->n_passing,
                                 .n_found = o->n_found,
                                 .n_cut = o->n_cut,
                                 .n_queries = o->stats.n_queries,
                                 .n_probed = o->stats.lists.probed,
                                 .codes_scanned = o->stats.codes_scanned,
                                 .rows_reranked = o->stats.rows_reranked,
                                 .way = o->stats.way,
                                 .n_probes = o->stats.lists.probes,
                                 .n_rerank = o->stats.rerank,
                                 .search_microseconds = (uint64_t)((cmd_seconds() - s->started) * 1e6)};
}

static void restore(struct self_state *s, const struct query_counts *counts)
{
    struct cmd_query_outcome *o = s->o;

    s->n_done = counts->n_done;
    s->n_short = counts->n_short;
    s->started -= (double)counts->search_microseconds / 1e6;
    o->n_passing = counts->n_passing;
    o->n_found = counts->n_found;
    o->n_cut = counts->n_cut;
    o->stats.n_queries = counts->n_queries;
    o->stats.lists.probed = counts->n_probed;
    o->stats.codes_scanned = counts->codes_scanned;
    o->stats.rows_reranked = counts->rows_reranked;
    o->stats.way = (omen_search_way)counts->way;
    o->stats.lists.probes = (uint32_t)counts->n_probes;
    o->stats.rerank = (uint32_t)counts->n_rerank;
}

/* Takes up what an earlier run has left. */
static int resume(struct self_state *s, omen_detail *why)
{
    const struct query_self *run = s->run;
    struct query_counts counts;
    uint64_t head[QUERY_N_HEAD];

    if (!run->output)
        return OMEN_OK;
    const omen_search_options *search = run->search;
    const uint64_t a_row = !search->has_within ? search->k : search->limit > 0 ? search->limit : s->o->info.n_rows;
    const uint64_t n_most = a_row < s->o->info.n_rows ? a_row : s->o->info.n_rows;
    describe(run, s->o, head);
    int status = query_checkpoint_open(run->checkpoint, run->output, run->fresh, run->chunk_rows, head,
                                       s->o->n_in_batch * n_most, why);
    if (status == OMEN_OK)
        status = query_checkpoint_load(run->checkpoint, s->o->info.n_rows, s->o->n_in_batch, &s->spool, &counts, why);
    if (status != OMEN_OK || counts.n_done == 0)
        return status;
    restore(s, &counts);
    run->checkpoint->n_saved = counts.n_done;
    if (!run->is_quiet) {
        cmd_progress_clear(&s->progress);
        cmd_say("query", "resuming after %s of %s rows", cmd_group(s->n_done).text, cmd_group(s->o->n_in_batch).text);
    }
    return OMEN_OK;
}

/* ---- searching ---- */

void query_self_count(const omen_found *found, struct cmd_query_outcome *o)
{
    o->n_found += found->first[found->n_queries];
    for (uint64_t q = 0; q < found->n_queries; q++)
        o->n_cut += found->is_cut[q];
}

static int put(struct self_state *s, struct query_entry entry, omen_detail *why)
{
    const int status = query_spool_add(&s->spool, entry, why);

    return status == OMEN_OK ? query_checkpoint_add(s->run->checkpoint, entry) : status;
}

/* What one row has found, into the spool. Of a pair the lower row has it, whichever found the other. */
static int spool_row(struct self_state *s, uint32_t row, const int64_t *ids, const float *distances, uint64_t n,
                     omen_detail *why)
{
    int status = OMEN_OK;

    if (n == 0 && !s->run->pairs)
        return put(s, (struct query_entry){row, QUERY_SPOOL_NONE, 0}, why);
    for (uint64_t i = 0; status == OMEN_OK && i < n; i++) {
        const uint32_t other = (uint32_t)ids[i];
        const bool turned = s->run->pairs && other < row;

        status = put(s, (struct query_entry){turned ? other : row, turned ? row : other, distances[i]}, why);
    }
    return status;
}

/* How far the search is: rows that have searched, and those that do. */
static int show_progress(void *context, const char *stage, uint64_t done, uint64_t total)
{
    struct self_state *s = context;

    return cmd_progress_update(&s->progress, stage, s->n_done * OMEN_PROGRESS_PARTS + done,
                               s->o->n_in_batch * OMEN_PROGRESS_PARTS);
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
    show_progress(s, "search", 0, 0);
    const struct query_counts counts = counts_of(s);
    return status == OMEN_OK ? query_checkpoint_save(s->run->checkpoint, &counts, why) : status;
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

/* Whether what rows found is what a search finds: not more than k, in order, none twice. A checkpoint may say
 * otherwise.
 */
static bool are_sound(const omen_found *found, uint64_t most)
{
    for (uint64_t q = 0; q < found->n_queries; q++) {
        const uint64_t first = found->first[q], end = found->first[q + 1];

        for (uint64_t i = first + 1; i < end; i++) {
            const float before = found->distances[i - 1], distance = found->distances[i];

            if (distance < before || (float_bits(distance) == float_bits(before) && found->ids[i] <= found->ids[i - 1]))
                return false;
        }
        if (end - first > most)
            return false;
    }
    return true;
}

static int fail_contradiction(const struct query_self *run, omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_CORRUPT, "the checkpoint \"%.200s.part\" contradicts itself; --fresh starts over",
                     run->output ? run->output : "");
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
        s->n_written += found.n_queries;
        if (!run->pairs && !are_sound(&found, run->search->has_within ? UINT64_MAX : run->results->k))
            status = fail_contradiction(run, why);
    }
    if (status == OMEN_OK) {
        query_rows_shift(rows, found.n_queries, run->row_offset);
        query_rows_shift(found.ids, found.first[found.n_queries], run->row_offset);
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
    struct self_state s = {.run = run, .o = o, .started = cmd_seconds()};
    int status = query_spool_init(&s.spool, o->info.n_rows);

    cmd_progress_init(&s.progress, run->shows_progress ? 0 : -1);
    if (status == OMEN_OK)
        status = cmd_name_damage(run->index_path, omen_results_begin_keys(run->results, run->keys, why), why);
    if (status == OMEN_OK)
        status = resume(&s, why);
    if (status == OMEN_OK) {
        omen_search_options search = *run->search;

        search.progress = show_progress;
        search.progress_context = &s;
        s.progress.unit = OMEN_PROGRESS_PARTS;
        status = omen_index_search_self(run->index, &search, run->set, s.n_done, take, &s, &o->stats, why);
        s.progress.unit = 1;
        status = cmd_name_damage(run->index_path, status, why);
    }
    if (status == OMEN_OK)
        status = query_checkpoint_settle(run->checkpoint, why);
    const double searched = cmd_seconds();
    o->search_seconds = searched - s.started;
    o->n_short = s.n_short;
    for (uint32_t part = 0; status == OMEN_OK && part < s.spool.n_parts; part++) {
        cmd_progress_update(&s.progress, "write", part, s.spool.n_parts);
        status = write_part(&s, part, why);
    }
    if (status == OMEN_OK && !run->pairs && s.n_written != o->n_in_batch) /* only a checkpoint can say so */
        status = fail_contradiction(run, why);
    o->write_seconds = cmd_seconds() - searched;
    cmd_progress_clear(&s.progress);
    query_spool_finish(&s.spool);
    return status;
}
