/* SPDX-License-Identifier: Apache-2.0 */
/* omendb query --self, continued after a kill. Groups of results are written in the order in which rows search, which
 * is that of the lists, by a thread of formats/checkpoint.c while the next group is searched for. */
#include "cmd/query_checkpoint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_HEAD   257u /* kinds; those of a build are below */
#define RECORD_GROUP  258u
#define GROUP_ENTRIES (((uint64_t)32 << 20) / sizeof(struct query_entry))
#define GROUP_SECONDS 10.0
#define READ_ENTRIES  4096u

_Static_assert(sizeof(struct query_entry) == 12, "entries are written as they are");

static int fail_contradiction(const struct query_checkpoint *c, omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_CORRUPT, "the checkpoint \"%.200s\" contradicts itself; --fresh starts over",
                     omen_part_path(c->part));
}

/* Compares the first record with head. */
static int check_head(const struct query_checkpoint *c, omen_detail *why)
{
    static const char *const names[QUERY_N_HEAD] = {
        [QUERY_HEAD_VERSION] = "by another version of omendb",
        [QUERY_HEAD_INDEX] = "with another index, or this one was made again",
        [QUERY_HEAD_SET] = "with another selection of rows",
        [QUERY_HEAD_WAY] = "with another --way",
        [QUERY_HEAD_K] = "with another --neighbors",
        [QUERY_HEAD_RECALL] = "with another --recall",
        [QUERY_HEAD_PROBES] = "with another --probes",
        [QUERY_HEAD_RERANK] = "with another --rerank",
        [QUERY_HEAD_EFFORT_FACTOR] = "with another --effort-factor",
        [QUERY_HEAD_HAS_WITHIN] = "with --neighbors or --within, which is not what is asked for now",
        [QUERY_HEAD_WITHIN] = "with another --within",
        [QUERY_HEAD_LIMIT] = "with another --limit",
        [QUERY_HEAD_PAIRS] = "with or without --pairs, which is not what is asked for now",
    };
    /* the first that differs is named: what makes others differ comes before them */
    static const uint8_t order[QUERY_N_HEAD] = {
        QUERY_HEAD_VERSION, QUERY_HEAD_INDEX,  QUERY_HEAD_HAS_WITHIN,   QUERY_HEAD_WITHIN, QUERY_HEAD_LIMIT,
        QUERY_HEAD_PAIRS,   QUERY_HEAD_K,      QUERY_HEAD_SET,          QUERY_HEAD_WAY,    QUERY_HEAD_RECALL,
        QUERY_HEAD_PROBES,  QUERY_HEAD_RERANK, QUERY_HEAD_EFFORT_FACTOR};
    uint64_t was[QUERY_N_HEAD] = {0};
    omen_record record;

    if (!c->records.get(c->records.self, 0, &record) || record.kind != RECORD_HEAD || record.n_bytes != sizeof was)
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "the checkpoint \"%.200s\" is not of --self, or of another version of omendb; "
                         "--fresh starts over",
                         omen_part_path(c->part));
    const int status = c->records.read(c->records.self, 0, 0, sizeof was, was, why);

    for (uint32_t i = 0; status == OMEN_OK && i < QUERY_N_HEAD; i++) {
        if (was[order[i]] != c->head[order[i]])
            return omen_fail(why, OMEN_ERR_ARGUMENT, "the checkpoint \"%.200s\" was begun %s; --fresh starts over",
                             omen_part_path(c->part), names[order[i]]);
    }
    return status;
}

/* Kinds and lengths of the other records, before any of them is read. */
static int check_lengths(const struct query_checkpoint *c, uint64_t n_entries_most, omen_detail *why)
{
    uint64_t n_left = n_entries_most;
    omen_record record;

    for (uint32_t i = 1; c->records.get(c->records.self, i, &record); i++) {
        const uint64_t n = record.n_bytes < sizeof(struct query_counts)
                               ? UINT64_MAX
                               : (record.n_bytes - sizeof(struct query_counts)) / sizeof(struct query_entry);

        if (record.kind != RECORD_GROUP || n > n_left ||
            record.n_bytes != sizeof(struct query_counts) + n * sizeof(struct query_entry))
            return fail_contradiction(c, why);
        n_left -= n;
    }
    return OMEN_OK;
}

int query_checkpoint_open(struct query_checkpoint *c, const char *output, bool fresh, uint64_t chunk_rows,
                          const uint64_t head[QUERY_N_HEAD], uint64_t n_entries_most, omen_detail *why)
{
    omen_record record;
    int status = omen_part_open(&c->part, output, fresh, why);

    if (status != OMEN_OK)
        return status;
    memcpy(c->head, head, sizeof c->head);
    c->records = omen_part_checkpoint(c->part);
    c->chunk_rows = chunk_rows;
    c->saved_at = cmd_seconds();
    status = c->records.prove(c->records.self, 1, NULL, NULL, why);
    c->has_records = c->records.get(c->records.self, 0, &record);
    if (!c->has_records) /* an empty file is of no use to anyone */
        omen_temporary_remember(omen_part_path(c->part));
    if (status == OMEN_OK && c->has_records)
        status = check_head(c, why);
    if (status == OMEN_OK)
        status = check_lengths(c, n_entries_most, why);
    return status == OMEN_OK ? c->records.prove(c->records.self, UINT32_MAX, NULL, NULL, why) : status;
}

/* ---- what it holds ---- */

static bool entry_is_sound(const struct query_entry *entry, uint64_t n_rows)
{
    return entry->row < n_rows && (entry->neighbour < n_rows || entry->neighbour == QUERY_SPOOL_NONE) &&
           isfinite(entry->distance);
}

/* The entries of record i, n of them. */
static int load_entries(const struct query_checkpoint *c, uint32_t i, uint64_t n, uint64_t n_rows,
                        struct query_spool *spool, omen_detail *why)
{
    struct query_entry *entries = malloc(READ_ENTRIES * sizeof *entries);
    int status = entries ? OMEN_OK : OMEN_ERR_MEMORY;

    for (uint64_t first = 0; status == OMEN_OK && first < n; first += READ_ENTRIES) {
        const uint64_t n_here = n - first < READ_ENTRIES ? n - first : READ_ENTRIES;

        status = c->records.read(c->records.self, i, sizeof(struct query_counts) + first * sizeof *entries,
                                 n_here * sizeof *entries, entries, why);
        for (uint64_t j = 0; status == OMEN_OK && j < n_here; j++)
            status = entry_is_sound(&entries[j], n_rows) ? query_spool_add(spool, entries[j], why)
                                                         : fail_contradiction(c, why);
    }
    free(entries);
    return status;
}

int query_checkpoint_load(const struct query_checkpoint *c, uint64_t n_rows, uint64_t n_searching,
                          struct query_spool *spool, struct query_counts *counts, omen_detail *why)
{
    omen_record record;
    int status = OMEN_OK;

    *counts = (struct query_counts){.n_done = 0};
    for (uint32_t i = 1; status == OMEN_OK && c->part && c->records.get(c->records.self, i, &record); i++) {
        const uint64_t n_before = counts->n_done;

        status = c->records.read(c->records.self, i, 0, sizeof *counts, counts, why);
        if (status == OMEN_OK &&
            (counts->n_done <= n_before || counts->n_done > n_searching || counts->way > OMEN_SEARCH_EXACT))
            status = fail_contradiction(c, why);
        if (status == OMEN_OK)
            status =
                load_entries(c, i, (record.n_bytes - sizeof *counts) / sizeof(struct query_entry), n_rows, spool, why);
    }
    return status;
}

bool query_checkpoint_is(const omen_checkpoint *records)
{
    omen_record record;

    return records->get(records->self, 0, &record) && record.kind == RECORD_HEAD;
}

int query_checkpoint_look(const omen_checkpoint *records, uint64_t head[QUERY_N_HEAD], struct query_counts *last,
                          omen_detail *why)
{
    uint32_t n = 0;

    for (omen_record next; records->get(records->self, n, &next); n++) {
        const bool is_head = n == 0 && next.kind == RECORD_HEAD && next.n_bytes == QUERY_N_HEAD * sizeof *head;

        if (!is_head && (n == 0 || next.kind != RECORD_GROUP || next.n_bytes < sizeof *last))
            return omen_fail(why, OMEN_ERR_CORRUPT, "the checkpoint contradicts itself");
    }
    const int status = records->read(records->self, 0, 0, QUERY_N_HEAD * sizeof *head, head, why);
    return status == OMEN_OK && n > 1 ? records->read(records->self, n - 1, 0, sizeof *last, last, why) : status;
}

/* ---- what is added ---- */

int query_checkpoint_add(struct query_checkpoint *c, struct query_entry entry)
{
    struct query_group *group = &c->groups[c->current];

    if (!c->part)
        return OMEN_OK;
    if (group->n == group->size) {
        const uint64_t size = group->size > 0 ? 2 * group->size : READ_ENTRIES;
        struct query_entry *grown = realloc(group->entries, size * sizeof *grown);

        if (!grown)
            return OMEN_ERR_MEMORY;
        group->entries = grown;
        group->size = size;
    }
    group->entries[group->n++] = entry;
    return OMEN_OK;
}

int query_checkpoint_save(struct query_checkpoint *c, const struct query_counts *counts, omen_detail *why)
{
    struct query_group *group = &c->groups[c->current];
    const omen_span spans[] = {{&group->counts, sizeof group->counts},
                               {group->entries, group->n * sizeof *group->entries}};
    const omen_span head = {c->head, sizeof c->head};
    const double now = cmd_seconds();
    int status = OMEN_OK;

    if (!c->part || (c->chunk_rows > 0 ? counts->n_done - c->n_saved < c->chunk_rows
                                       : group->n < GROUP_ENTRIES && now - c->saved_at < GROUP_SECONDS))
        return OMEN_OK;
    if (!c->has_records) {
        status = c->records.append(c->records.self, RECORD_HEAD, &head, 1, NULL, why);
        omen_temporary_forget(omen_part_path(c->part));
        c->has_records = true;
    }
    group->counts = *counts;
    if (status == OMEN_OK)
        status = c->records.append(c->records.self, RECORD_GROUP, spans, 2, NULL, why);
    /* the group before is durable: append() waits for it */
    c->current = 1 - c->current;
    c->groups[c->current].n = 0;
    c->n_saved = counts->n_done;
    c->saved_at = now;
    return status;
}

int query_checkpoint_settle(const struct query_checkpoint *c, omen_detail *why)
{
    return c->part ? c->records.wait(c->records.self, why) : OMEN_OK;
}

void query_checkpoint_remove(struct query_checkpoint *c)
{
    if (!c->part)
        return;
    omen_part_remove(c->part);
    omen_temporary_forget(omen_part_path(c->part));
    omen_part_close(c->part);
    c->part = NULL; /* nothing is left that a later failure could be continued from */
}

void query_checkpoint_finish(struct query_checkpoint *c, int status, omen_detail *why)
{
    if (c->part) {
        const size_t n = strlen(why->text);
        /* what failed while it was written is no record */
        const uint32_t second = c->records.wait(c->records.self, NULL) == OMEN_OK ? 1 : 2;
        omen_record record;

        if (omen_part_is_written(c->part) && !c->records.get(c->records.self, second, &record))
            omen_part_remove(c->part); /* it holds no results */
        else if (status == OMEN_ERR_IO && omen_part_is_written(c->part))
            snprintf(why->text + n, sizeof why->text - n, "; the same command continues");
        omen_temporary_forget(omen_part_path(c->part));
        omen_part_close(c->part);
        c->part = NULL;
    }
    for (uint32_t i = 0; i < 2; i++)
        free(c->groups[i].entries);
}
