/* SPDX-License-Identifier: Apache-2.0 */
/* What a checkpoint keeps of a graph under construction: the edges of some leaves' rows to a record, in the order of
 * the leaves.
 *
 *   u64 degree, u64 first, u64 n; u32 edges[n][degree], of rows number first .. first + n - 1 in that order */
#include <stdlib.h>
#include <string.h>

#include "lib/graph/graph.h"
#include "lib/matrix.h"
#include "lib/records.h"

static bool is_of_graph(uint32_t kind)
{
    return kind == OMEN_RECORD_LINKS || kind == OMEN_RECORD_EDGES;
}

/* Whether a record's beginning can be what a build has written; what degree and rows it is of. */
static int read_head(const omen_checkpoint *c, uint32_t i, const omen_record *record, uint64_t head[OMEN_GRAPH_HEAD],
                     omen_detail *why)
{
    const uint64_t head_bytes = OMEN_GRAPH_HEAD * sizeof *head;
    if (record->n_bytes < head_bytes)
        return omen_records_contradiction(why);
    const int status = c->read(c->self, i, 0, head_bytes, head, why);
    if (status != OMEN_OK)
        return status;
    if (head[0] < OMEN_MIN_DEGREE || head[0] > OMEN_MAX_DEGREE || head[1] > OMEN_GRAPH_MOST_ROWS || head[2] < 1 ||
        head[2] > OMEN_GRAPH_MOST_ROWS || record->n_bytes != head_bytes + head[2] * head[0] * sizeof(uint32_t))
        return omen_records_contradiction(why);
    return OMEN_OK;
}

int omen_graph_records_count(const omen_checkpoint *c, omen_record_kind kind, uint32_t degree, uint64_t *n_rows,
                             omen_detail *why)
{
    omen_record record;
    int status = OMEN_OK;
    *n_rows = 0;
    for (uint32_t i = 0; status == OMEN_OK && c && c->get(c->self, i, &record); i++) {
        uint64_t head[OMEN_GRAPH_HEAD];
        if (record.kind != (uint32_t)kind)
            continue;
        status = read_head(c, i, &record, head, why);
        if (status != OMEN_OK || head[0] != degree)
            continue;
        if (head[1] != *n_rows)
            status = omen_records_contradiction(why);
        *n_rows += head[2];
    }
    return status;
}

int omen_graph_records_drop_others(const omen_graph_build *b)
{
    const omen_checkpoint *c = b->checkpoint;
    omen_record record;
    int status = OMEN_OK;
    for (uint32_t i = 0; status == OMEN_OK && c && c->drop && c->get(c->self, i, &record); i++) {
        uint64_t head[OMEN_GRAPH_HEAD];
        if (!is_of_graph(record.kind))
            continue;
        status = read_head(c, i, &record, head, b->why);
        if (status == OMEN_OK && head[0] != b->degree)
            status = c->drop(c->self, i, 1, b->why);
    }
    return status;
}

/* ---- taking over ---- */

/* Whether edges can be those of a row: to rows that take part, none to itself or twice, none behind the end. */
static bool edges_are_sound(const omen_graph_build *b, uint32_t position, const uint32_t *edges)
{
    const uint64_t n_rows = b->index->meta.n_rows;
    uint32_t n = 0;
    bool sound = true;
    while (n < b->degree && edges[n] != OMEN_GRAPH_NONE)
        n++;
    for (uint32_t e = n; e < b->degree; e++)
        sound &= edges[e] == OMEN_GRAPH_NONE;
    for (uint32_t e = 0; e < n && sound; e++) {
        sound = edges[e] < n_rows && edges[e] != position && b->copy_of[edges[e]] == edges[e];
        for (uint32_t before = 0; before < e; before++)
            sound &= edges[before] != edges[e];
    }
    return sound;
}

/* Takes n rows, which are number first on, from group. */
static int take_rows(omen_graph_build *b, uint64_t first, uint64_t n)
{
    bool sound = true;
#pragma omp parallel for schedule(static) reduction(&& : sound)
    for (uint64_t i = 0; i < n; i++) {
        const uint32_t position = b->order[first + i], *edges = b->group + i * b->degree;
        sound = edges_are_sound(b, position, edges) && sound;
        memcpy(b->edges + (uint64_t)position * b->degree, edges, b->degree * sizeof *edges);
    }
    return sound ? OMEN_OK : omen_records_contradiction(b->why);
}

static int load_record(omen_graph_build *b, uint32_t i, const uint64_t head[OMEN_GRAPH_HEAD])
{
    const omen_checkpoint *c = b->checkpoint;
    int status = OMEN_OK;
    for (uint64_t at = 0, n; at < head[2] && status == OMEN_OK; at += n) {
        n = head[2] - at < b->group_rows ? head[2] - at : b->group_rows;
        if (omen_watch_stopped(b->watch))
            return OMEN_ERR_INTERRUPTED;
        status = c->read(c->self, i, OMEN_GRAPH_HEAD * sizeof *head + at * b->degree * sizeof *b->group,
                         n * b->degree * sizeof *b->group, b->group, b->why);
        if (status == OMEN_OK)
            status = take_rows(b, head[1] + at, n);
    }
    return status;
}

int omen_graph_records_load(omen_graph_build *b, omen_record_kind kind, uint64_t *n_rows)
{
    const omen_checkpoint *c = b->checkpoint;
    omen_record record;
    int status = omen_graph_records_count(c, kind, b->degree, n_rows, b->why);
    if (status == OMEN_OK && *n_rows > b->n_alone)
        return omen_records_contradiction(b->why);
    if (status == OMEN_OK && *n_rows > 0) /* the last one is read back */
        status = c->wait(c->self, b->why);
    for (uint32_t i = 0; status == OMEN_OK && *n_rows > 0 && c->get(c->self, i, &record); i++) {
        uint64_t head[OMEN_GRAPH_HEAD];
        if (record.kind != (uint32_t)kind)
            continue;
        status = read_head(c, i, &record, head, b->why);
        if (status == OMEN_OK && head[0] == b->degree)
            status = load_record(b, i, head);
    }
    return status;
}

/* ---- adding ---- */

int omen_graph_records_save(omen_graph_build *b, omen_record_kind kind, uint64_t first, uint64_t n)
{
    const omen_checkpoint *c = b->checkpoint;
    if (!c)
        return OMEN_OK;
    const int status = c->wait(c->self, b->why); /* it may still be writing what group holds */
    if (status != OMEN_OK)
        return status;
    for (uint64_t i = 0; i < n; i++)
        memcpy(b->group + i * b->degree, b->edges + (uint64_t)b->order[first + i] * b->degree,
               b->degree * sizeof *b->group);
    b->head[0] = b->degree;
    b->head[1] = first;
    b->head[2] = n;
    const omen_span spans[] = {{b->head, sizeof b->head}, {b->group, n * b->degree * sizeof *b->group}};
    return c->append(c->self, (uint32_t)kind, spans, sizeof spans / sizeof *spans, NULL, b->why);
}
