/* SPDX-License-Identifier: Apache-2.0 */
/* A condition, read: a tree of tests on columns. NOT is gone: it was carried into the tests, which are true of rows
 * that have a value only, so that rows without one need no third truth value on the way up. */
#ifndef OMEN_CONDITION_H
#define OMEN_CONDITION_H

#include <string.h>

#include "lib/columns.h"

/* Values of a column as keys that rise with them: what int64 has above its least value, the number of a text in the
 * dictionary, the bits of a float so that they rise. Both ends are in the range. */
typedef struct omen_range {
    uint64_t low, high;
} omen_range;

typedef struct omen_ranges {
    omen_range *ranges; /* rising, apart from each other by a key at least, once omen_ranges_merge() has been there */
    size_t n, size;
} omen_ranges;

typedef enum {
    OMEN_NODE_NEVER,
    OMEN_NODE_ALWAYS,
    OMEN_NODE_TAG,    /* the row has the tag */
    OMEN_NODE_RANGES, /* the row has a value, which is in one of the ranges */
    OMEN_NODE_NULL,   /* the row has no value */
    OMEN_NODE_AND,
    OMEN_NODE_OR,
} omen_node_kind;

typedef struct omen_node omen_node;
struct omen_node {
    omen_node_kind kind;
    uint32_t column;
    bool is_negated; /* TAG: the row does not have it */
    uint64_t tag;    /* its number in the dictionary */
    omen_ranges ranges;
    omen_node **children; /* AND, OR */
    size_t n_children, children_size;
};

/* The bits of a float64, so that they rise with it. */
static inline uint64_t omen_real_key(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
}

/* The key of a value of a column, as it is stored. */
static inline uint64_t omen_column_key(const omen_column *column, const uint8_t *value)
{
    const uint32_t width = column->entry.width;
    uint64_t key = 0;
    if (column->entry.type != OMEN_COLUMN_FLOAT32 && column->entry.type != OMEN_COLUMN_FLOAT64) {
        for (uint32_t i = 0; i < width; i++)
            key |= (uint64_t)value[i] << 8 * i;
        return key;
    }
    double wide;
    float narrow;
    memcpy(&narrow, value, sizeof narrow);
    if (width == 4)
        return omen_real_key((double)narrow);
    memcpy(&wide, value, sizeof wide);
    return omen_real_key(wide);
}

/* ---- ranges (condition_range.c) ---- */

/* All keys that a column can have. */
omen_range omen_range_all(const omen_column *column);

/* Adds one, low <= high. False without memory. */
bool omen_ranges_add(omen_ranges *ranges, uint64_t low, uint64_t high) OMEN_MUST_CHECK;

/* Puts them into order, and those that touch together. */
void omen_ranges_merge(omen_ranges *ranges);

/* Replaces merged ranges by what is between them, within all. False without memory. */
bool omen_ranges_invert(omen_ranges *ranges, omen_range all) OMEN_MUST_CHECK;

/* A literal. */
typedef struct omen_literal {
    enum { OMEN_LITERAL_NULL, OMEN_LITERAL_NUMBER, OMEN_LITERAL_TEXT } kind;
    bool is_integer; /* NUMBER */
    int64_t integer;
    double real;
    char *text; /* TEXT: n_bytes; owned by the parser */
    size_t n_bytes;
} omen_literal;

/* The keys of a column that are below a literal, and those that are not above it: all those below *low, and all those
 * below *past. The literal has the column's kind, and the column was touched. */
typedef __int128 omen_cut;
void omen_literal_cuts(const omen_column *column, const omen_literal *literal, omen_cut *low, omen_cut *past);

/* ---- nodes (condition_node.c) ---- */

/* NULL without memory. */
omen_node *omen_node_create(omen_node_kind kind, uint32_t column);
void omen_node_destroy(omen_node *node);

/* Appends a child to AND or OR; child becomes node's, or is destroyed where there is no memory. */
bool omen_node_append(omen_node *node, omen_node *child) OMEN_MUST_CHECK;

/* The simplest tree that is the same, of AND or OR whose children are so already, or tests; it takes the node's place.
 * False without memory. */
bool omen_node_simplify(omen_node **node, const omen_index *index) OMEN_MUST_CHECK;

/* omen_condition_key(); the caller's to free. NULL without memory. */
char *omen_node_key(const omen_node *node);

/* ---- reading (condition_parse.c) ---- */

/* The tree of a text. As omen_condition_create(). */
int omen_condition_parse(const omen_index *index, const char *text, omen_node **out, omen_detail *why) OMEN_MUST_CHECK;

/* ---- a pass over a column (condition_pass.c) ---- */

/* Sets bit i of words where row first + i, i < n, has a value that is in one of the ranges, and clears it elsewhere.
 * first is a multiple of 64; the column was touched. */
void omen_column_pass(const omen_column *column, uint64_t first, size_t n, const omen_ranges *ranges, uint64_t *words);

#endif
