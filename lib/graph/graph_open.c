/* SPDX-License-Identifier: Apache-2.0 */
/* The graph of an index: opening, closing and checking it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/graph/graph.h"
#include "lib/matrix.h"

static const uint32_t sections[] = {OMEN_SECTION_GDIM, OMEN_SECTION_GSCL, OMEN_SECTION_GCOD,
                                    OMEN_SECTION_GADJ, OMEN_SECTION_GENT, OMEN_SECTION_GECD};
#define N_SECTIONS (sizeof sections / sizeof *sections)

/* Number of elements of a section that there are a whole number of per unit_bytes, or 0. */
static uint64_t count_of(const omen_section_list *list, uint32_t id, uint64_t unit_bytes)
{
    const uint64_t n_bytes = omen_sections_find(list, id)->n_bytes;
    return n_bytes % unit_bytes ? 0 : n_bytes / unit_bytes;
}

int omen_graph_check_sections(const omen_section_list *list, const omen_meta *m)
{
    size_t n_found = 0;
    for (size_t i = 0; i < N_SECTIONS; i++)
        n_found += omen_sections_find(list, sections[i]) ? 1 : 0;
    const bool has_efforts = omen_sections_find(list, OMEN_SECTION_GTUN);
    if (n_found == 0 && !has_efforts)
        return OMEN_OK;
    if (n_found < N_SECTIONS)
        return omen_fail(list->why, OMEN_ERR_CORRUPT, "a section of the graph is missing");
    if (m->refine == OMEN_REFINE_NONE || m->n_rows > OMEN_GRAPH_MOST_ROWS || !list->has_ids)
        return omen_fail(list->why, OMEN_ERR_CORRUPT, "section GADJ: this index can have no graph");
    const uint64_t degree = count_of(list, OMEN_SECTION_GADJ, 4 * m->n_rows);
    const uint64_t n_entries = count_of(list, OMEN_SECTION_GENT, 4);
    if (degree < 1 || degree > OMEN_MAX_DEGREE)
        return omen_fail(list->why, OMEN_ERR_CORRUPT, "section GADJ: impossible number of neighbours");
    if (n_entries < 1 || n_entries > OMEN_GRAPH_ENTRIES_MOST)
        return omen_fail(list->why, OMEN_ERR_CORRUPT, "section GENT: impossible number of entries");
    int status = omen_sections_check(list, OMEN_SECTION_GDIM, OMEN_ELEMENT_U32, OMEN_GRAPH_NIBBLES, 4);
    if (status == OMEN_OK)
        status = omen_sections_check(list, OMEN_SECTION_GSCL, OMEN_ELEMENT_F32, m->d_kept, 8);
    if (status == OMEN_OK)
        status = omen_sections_check(list, OMEN_SECTION_GCOD, OMEN_ELEMENT_U8, m->n_rows, OMEN_GRAPH_CODE_BYTES);
    if (status == OMEN_OK)
        status = omen_sections_check(list, OMEN_SECTION_GADJ, OMEN_ELEMENT_U32, m->n_rows * degree, 4);
    if (status == OMEN_OK)
        status = omen_sections_check(list, OMEN_SECTION_GENT, OMEN_ELEMENT_U32, n_entries, 4);
    if (status == OMEN_OK)
        status = omen_sections_check(list, OMEN_SECTION_GECD, OMEN_ELEMENT_U8, n_entries, OMEN_GRAPH_CODE_BYTES);
    if (status == OMEN_OK && has_efforts)
        status =
            omen_sections_check(list, OMEN_SECTION_GTUN, OMEN_ELEMENT_BYTES,
                                count_of(list, OMEN_SECTION_GTUN, sizeof(omen_graph_tune)), sizeof(omen_graph_tune));
    return status;
}

/* Sections that are small are compared with their checksums here. */
static int check_small(const omen_section_list *list)
{
    static const uint32_t small[] = {OMEN_SECTION_GDIM, OMEN_SECTION_GSCL, OMEN_SECTION_GENT, OMEN_SECTION_GECD,
                                     OMEN_SECTION_GTUN};
    int status = OMEN_OK;
    for (size_t i = 0; i < sizeof small / sizeof *small && status == OMEN_OK; i++) {
        const omen_section *s = omen_sections_find(list, small[i]);
        if (s)
            status = omen_section_check(s, list->why);
    }
    return status;
}

static int open_efforts(omen_index *index, const omen_section_list *list)
{
    const uint64_t n = index->meta.n_rows;
    const omen_section *s = omen_sections_find(list, OMEN_SECTION_GTUN);
    omen_graph *g = &index->graph;
    if (!s)
        return OMEN_OK;
    g->tune = s->data;
    g->n_tune = s->n_bytes / sizeof *g->tune;
    for (size_t i = 0; i < g->n_tune; i++) {
        const omen_graph_tune *e = &g->tune[i];
        if (e->k < 1 || e->pool < 1 || e->pool > n || e->n_rows < 1 || e->n_rows > n || e->n_estimates < 1 ||
            e->n_estimates > n || !(e->recall >= 0 && e->recall <= 1) ||
            !(e->reach >= 0 && e->reach <= OMEN_REACH_MOST) ||
            (i > 0 && (e->k < e[-1].k || (e->k == e[-1].k && e->recall <= e[-1].recall))))
            return omen_fail(list->why, OMEN_ERR_CORRUPT, "section GTUN: impossible entry %zu", i);
    }
    return OMEN_OK;
}

int omen_graph_open(omen_index *index, const omen_section_list *list)
{
    const omen_meta *m = &index->meta;
    omen_graph *g = &index->graph;
    if (!omen_sections_find(list, OMEN_SECTION_GADJ))
        return OMEN_OK;
    int status = check_small(list);
    if (status != OMEN_OK)
        return status;
    g->degree = (uint32_t)count_of(list, OMEN_SECTION_GADJ, 4 * m->n_rows);
    g->n_entries = (uint32_t)count_of(list, OMEN_SECTION_GENT, 4);
    g->dims = omen_sections_data(list, OMEN_SECTION_GDIM);
    g->ranges = omen_sections_data(list, OMEN_SECTION_GSCL);
    g->codes = omen_sections_data(list, OMEN_SECTION_GCOD);
    g->neighbours = omen_sections_data(list, OMEN_SECTION_GADJ);
    g->entries = omen_sections_data(list, OMEN_SECTION_GENT);
    g->entry_codes = omen_sections_data(list, OMEN_SECTION_GECD);
    if (!omen_graph_scales_are_sound(g->dims, g->ranges, m->d_kept))
        return omen_fail(list->why, OMEN_ERR_CORRUPT, "section GDIM or GSCL holds a value that is out of range");
    for (uint32_t i = 0; i < g->n_entries; i++) {
        if (g->entries[i] >= m->n_rows)
            return omen_fail(list->why, OMEN_ERR_CORRUPT, "section GENT: entry %u is no row", i);
        if (!omen_graph_code_is_sound(g->entry_codes + i * OMEN_GRAPH_CODE_BYTES))
            return omen_fail(list->why, OMEN_ERR_CORRUPT, "section GECD: entry %u has no finite length", i);
    }
    return open_efforts(index, list);
}

void omen_graph_close(omen_index *index)
{
    omen_graph_walk_destroy(index->graph.spare);
    free(index->graph.adjacency.seen);
    free(index->graph.code.seen);
}

/* The neighbours of one position: below n, none twice, not itself, none behind the end. */
static const char *neighbours_fault(const omen_index *index, uint64_t position)
{
    const omen_graph *g = &index->graph;
    const uint32_t *to = g->neighbours + position * g->degree;
    uint32_t n = 0;
    while (n < g->degree && to[n] != OMEN_GRAPH_NONE)
        n++;
    for (uint32_t i = n; i < g->degree; i++)
        if (to[i] != OMEN_GRAPH_NONE)
            return "has neighbours behind the last one";
    for (uint32_t i = 0; i < n; i++) {
        if (to[i] >= index->meta.n_rows)
            return "has a neighbour that no row is";
        if (to[i] == position)
            return "is its own neighbour";
        for (uint32_t j = 0; j < i; j++)
            if (to[j] == to[i])
                return "has a neighbour twice";
    }
    return NULL;
}

/* Counts the positions that a search can reach; queue and seen have room for all. */
static uint64_t count_reached(const omen_index *index, uint32_t *queue, uint8_t *seen)
{
    const omen_graph *g = &index->graph;
    uint64_t n = 0;
    for (uint32_t i = 0; i < g->n_entries; i++) {
        const uint32_t p = g->entries[i];
        if (!(seen[p / 8] >> p % 8 & 1))
            queue[n++] = p;
        seen[p / 8] |= (uint8_t)(1u << p % 8);
    }
    for (uint64_t at = 0; at < n; at++) {
        const uint32_t *to = g->neighbours + (uint64_t)queue[at] * g->degree;
        for (uint32_t i = 0; i < g->degree && to[i] != OMEN_GRAPH_NONE; i++) {
            if (!(seen[to[i] / 8] >> to[i] % 8 & 1))
                queue[n++] = to[i];
            seen[to[i] / 8] |= (uint8_t)(1u << to[i] % 8);
        }
    }
    return n;
}

static int fault_at(omen_fault_fn fault, void *context, const char *section, uint64_t position, const char *what)
{
    char text[160];
    snprintf(text, sizeof text, "position %llu %s", (unsigned long long)position, what);
    fault(context, section, text);
    return OMEN_ERR_CORRUPT;
}

int omen_graph_check(const omen_index *index, omen_fault_fn fault, void *context)
{
    const omen_graph *g = &index->graph;
    const uint64_t n = index->meta.n_rows;
    if (!g->degree)
        return OMEN_OK;
    for (uint64_t i = 0; i < n; i++) {
        const char *what = neighbours_fault(index, i);
        if (what)
            return fault_at(fault, context, "GADJ", i, what);
        if (!omen_graph_code_is_sound(g->codes + i * OMEN_GRAPH_CODE_BYTES))
            return fault_at(fault, context, "GCOD", i, "has no finite length");
    }
    for (uint32_t i = 0; i < g->n_entries; i++)
        if (memcmp(g->entry_codes + (size_t)i * OMEN_GRAPH_CODE_BYTES,
                   g->codes + (uint64_t)g->entries[i] * OMEN_GRAPH_CODE_BYTES, OMEN_GRAPH_CODE_BYTES) != 0)
            return fault_at(fault, context, "GECD", g->entries[i], "has another code in GCOD");
    uint32_t *queue = omen_alloc(n, sizeof *queue);
    uint8_t *seen = calloc(n / 8 + 1, 1);
    int status = queue && seen ? OMEN_OK : OMEN_ERR_MEMORY;
    if (status == OMEN_OK && count_reached(index, queue, seen) != n) {
        uint64_t lost = 0;
        while (seen[lost / 8] >> lost % 8 & 1)
            lost++;
        status = fault_at(fault, context, "GADJ", lost, "is reached from no entry");
    }
    free(queue);
    free(seen);
    return status;
}
