/* SPDX-License-Identifier: Apache-2.0 */
/* Trees of tests, made as simple as can be: equal conditions become equal trees, and each column is passed over once.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/condition.h"

omen_node *omen_node_create(omen_node_kind kind, uint32_t column)
{
    omen_node *node = calloc(1, sizeof *node);
    if (node) {
        node->kind = kind;
        node->column = column;
    }
    return node;
}

/* Its depth is what the parser allows. */
void omen_node_destroy(omen_node *node)
{
    if (!node)
        return;
    for (size_t i = 0; i < node->n_children; i++)
        omen_node_destroy(node->children[i]);
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): a tree, in which no node is twice */
    free(node->children);
    free(node->ranges.ranges);
    free(node);
}

bool omen_node_append(omen_node *node, omen_node *child)
{
    if (node->n_children == node->children_size) {
        const size_t size = node->children_size ? 2 * node->children_size : 4;
        omen_node **grown = realloc(node->children, size * sizeof *grown);
        if (!grown) {
            omen_node_destroy(child);
            return false;
        }
        node->children = grown;
        node->children_size = size;
    }
    node->children[node->n_children++] = child;
    return true;
}

/* ---- order ---- */

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_nodes(const omen_node *a, const omen_node *b)
{
    int order = compare_u64(a->kind, b->kind);
    if (!order)
        order = compare_u64(a->column, b->column);
    if (!order)
        order = compare_u64(a->tag, b->tag);
    if (!order)
        order = compare_u64(a->is_negated, b->is_negated);
    if (!order)
        order = compare_u64(a->ranges.n, b->ranges.n);
    for (size_t i = 0; i < a->ranges.n && !order; i++) {
        order = compare_u64(a->ranges.ranges[i].low, b->ranges.ranges[i].low);
        if (!order)
            order = compare_u64(a->ranges.ranges[i].high, b->ranges.ranges[i].high);
    }
    if (!order)
        order = compare_u64(a->n_children, b->n_children);
    for (size_t i = 0; i < a->n_children && !order; i++)
        order = compare_nodes(a->children[i], b->children[i]);
    return order;
}

static int compare_children(const void *a, const void *b)
{
    return compare_nodes(*(omen_node *const *)a, *(omen_node *const *)b);
}

/* ---- simplifying ---- */

/* Makes children of the same kind part of node: a AND (b AND c). */
static bool flatten(omen_node *node)
{
    omen_node flat = {.kind = node->kind};
    bool is_ok = true;
    for (size_t i = 0; i < node->n_children; i++) {
        omen_node *child = node->children[i];
        node->children[i] = NULL;
        if (child->kind != node->kind) {
            is_ok = omen_node_append(&flat, child) && is_ok;
            continue;
        }
        for (size_t j = 0; j < child->n_children; j++)
            is_ok = omen_node_append(&flat, child->children[j]) && is_ok;
        child->n_children = 0;
        omen_node_destroy(child);
    }
    free(node->children);
    *node = flat;
    return is_ok;
}

/* Puts the ranges of children about the same column, which stand together, into the first of them. Of AND, what is in
 * all is what is outside of none. */
static bool join_ranges(omen_node *node, const omen_index *index)
{
    size_t n = 0;
    for (size_t i = 0, end; i < node->n_children; i = end) {
        omen_node *first = node->children[i];
        node->children[n++] = first;
        end = i + 1;
        if (first->kind != OMEN_NODE_RANGES)
            continue;
        while (end < node->n_children && node->children[end]->kind == OMEN_NODE_RANGES &&
               node->children[end]->column == first->column)
            end++;
        if (end == i + 1)
            continue;
        const omen_range all = omen_range_all(&index->columns[first->column]);
        const bool is_and = node->kind == OMEN_NODE_AND;
        bool is_ok = !is_and || omen_ranges_invert(&first->ranges, all);
        for (size_t j = i + 1; j < end; j++) {
            omen_ranges *ranges = &node->children[j]->ranges;
            is_ok = is_ok && (!is_and || omen_ranges_invert(ranges, all));
            for (size_t r = 0; r < ranges->n && is_ok; r++)
                is_ok = omen_ranges_add(&first->ranges, ranges->ranges[r].low, ranges->ranges[r].high);
            omen_node_destroy(node->children[j]);
        }
        omen_ranges_merge(&first->ranges);
        is_ok = is_ok && (!is_and || omen_ranges_invert(&first->ranges, all));
        if (!is_ok) {
            /* what was not looked at yet moves up, so that all of it is destroyed once */
            memmove(node->children + n, node->children + end, (node->n_children - end) * sizeof *node->children);
            node->n_children -= end - n;
            return false;
        }
    }
    node->n_children = n;
    return true;
}

/* A test that no row, or every row, passes. */
static void simplify_test(omen_node *node, const omen_index *index)
{
    const omen_column_entry *e = &index->columns[node->column].entry;
    if (node->kind == OMEN_NODE_NULL && (e->n_nulls == 0 || e->n_nulls == index->meta.n_rows)) {
        node->kind = e->n_nulls ? OMEN_NODE_ALWAYS : OMEN_NODE_NEVER;
        node->column = 0;
    }
    if (node->kind != OMEN_NODE_RANGES)
        return;
    const omen_range all = omen_range_all(&index->columns[node->column]);
    const bool is_all =
        node->ranges.n == 1 && node->ranges.ranges[0].low == all.low && node->ranges.ranges[0].high == all.high;
    if (node->ranges.n == 0 || e->n_nulls == index->meta.n_rows)
        node->kind = OMEN_NODE_NEVER;
    else if (is_all && e->n_nulls == 0)
        node->kind = OMEN_NODE_ALWAYS;
    else
        return;
    free(node->ranges.ranges);
    node->ranges = (omen_ranges){NULL, 0, 0};
    node->column = 0;
}

/* Sorts the children, drops those that say nothing or the same as another. True if one decides for all. */
static bool reduce(omen_node *node)
{
    const omen_node_kind neutral = node->kind == OMEN_NODE_AND ? OMEN_NODE_ALWAYS : OMEN_NODE_NEVER;
    const omen_node_kind decisive = node->kind == OMEN_NODE_AND ? OMEN_NODE_NEVER : OMEN_NODE_ALWAYS;
    bool is_decided = false;
    size_t n = 0;
    if (node->n_children > 1)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): a tree, in which no node is twice */
        qsort(node->children, node->n_children, sizeof *node->children, compare_children);
    for (size_t i = 0; i < node->n_children; i++) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): a tree, in which no node is twice */
        omen_node *child = node->children[i];
        is_decided = is_decided || child->kind == decisive;
        if (child->kind == neutral || (n > 0 && compare_nodes(child, node->children[n - 1]) == 0))
            omen_node_destroy(child);
        else
            node->children[n++] = child;
    }
    node->n_children = n;
    return is_decided;
}

bool omen_node_simplify(omen_node **at, const omen_index *index)
{
    omen_node *node = *at;
    const bool is_and = node->kind == OMEN_NODE_AND;
    if (!flatten(node))
        return false;
    bool is_decided = reduce(node);
    if (!is_decided) {
        if (!join_ranges(node, index))
            return false;
        for (size_t i = 0; i < node->n_children; i++)
            simplify_test(node->children[i], index);
        is_decided = reduce(node);
    }
    if (!is_decided && node->n_children > 1)
        return true;
    if (!is_decided && node->n_children == 1) {
        *at = node->children[0];
        node->n_children = 0;
    } else {
        *at = omen_node_create(is_decided == is_and ? OMEN_NODE_NEVER : OMEN_NODE_ALWAYS, 0);
    }
    omen_node_destroy(node);
    return *at;
}

/* ---- the key ---- */

/* A text that grows; NULL once there is no memory. */
typedef struct {
    char *text;
    size_t n, size;
    bool failed;
} growing;

static void put(growing *g, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(growing *g, const char *format, ...)
{
    va_list args;
    if (g->size - g->n < 64) {
        char *grown = g->failed ? NULL : realloc(g->text, 2 * g->size + 128);
        g->failed = !grown;
        if (g->failed)
            return;
        g->text = grown;
        g->size = 2 * g->size + 128;
    }
    va_start(args, format);
    g->n += (size_t)vsnprintf(g->text + g->n, 64, format, args);
    va_end(args);
}

static void put_node(growing *g, const omen_node *node)
{
    static const char *const marks[] = {"never", "always", "t", "r", "n", "&", "|"};
    put(g, "%s%s%u", node->is_negated ? "!" : "", marks[node->kind], node->column);
    if (node->kind == OMEN_NODE_TAG)
        put(g, ":%" PRIu64, node->tag);
    for (size_t i = 0; i < node->ranges.n; i++)
        put(g, ":%" PRIx64 "-%" PRIx64, node->ranges.ranges[i].low, node->ranges.ranges[i].high);
    for (size_t i = 0; i < node->n_children; i++) {
        put(g, "%s", i ? " " : "(");
        put_node(g, node->children[i]);
    }
    if (node->n_children)
        put(g, ")");
}

char *omen_node_key(const omen_node *node)
{
    growing g = {NULL, 0, 0, false};
    put_node(&g, node);
    if (!g.failed)
        return g.text;
    free(g.text);
    return NULL;
}
