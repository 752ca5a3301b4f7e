/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions: which rows they are true of. Blocks of rows as large as those of postings are looked at one after the
 * other, so that what a test finds is still near when the next one needs it; but for tags that few rows have, whose
 * rows are listed. */
#include <stdlib.h>
#include <string.h>

#include "lib/condition_order.h"
#include "lib/filter.h"
#include "lib/matrix.h"
#include "lib/row_set.h"

#define BLOCK_ROWS  OMEN_POSTING_ROWS
#define BLOCK_WORDS (BLOCK_ROWS / 64)
#define GROUP       16u /* conditions evaluated together */

struct omen_condition {
    const omen_index *index;
    omen_node *root;
    char *key;
    unsigned depth; /* of the tree */
};

static unsigned depth_of(const omen_node *node)
{
    unsigned most = 0;
    for (size_t i = 0; i < node->n_children; i++) {
        const unsigned depth = depth_of(node->children[i]);
        most = depth > most ? depth : most;
    }
    return most + 1;
}

int omen_condition_create(const omen_index *index, const char *text, omen_condition **out, omen_detail *why)
{
    *out = NULL;
    omen_condition *condition = calloc(1, sizeof *condition);
    if (!condition)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for a condition");
    condition->index = index;
    int status = omen_condition_parse(index, text, &condition->root, why);
    if (status == OMEN_OK) {
        condition->depth = depth_of(condition->root);
        condition->key = omen_node_key(condition->root);
        if (!condition->key)
            status = omen_fail(why, OMEN_ERR_MEMORY, "out of memory for a condition");
    }
    if (status != OMEN_OK) {
        omen_condition_destroy(condition);
        return status;
    }
    *out = condition;
    return OMEN_OK;
}

void omen_condition_destroy(omen_condition *condition)
{
    if (!condition)
        return;
    omen_node_destroy(condition->root);
    free(condition->key);
    free(condition);
}

const char *omen_condition_key(const omen_condition *condition)
{
    return condition->key;
}

/* ---- tags ---- */

/* Rows of the block of postings that begins at at. */
static size_t block_rows(const uint16_t *at)
{
    return (size_t)at[1] + 1;
}

static bool is_dense(const uint16_t *at)
{
    return block_rows(at) > OMEN_POSTING_SPARSE;
}

static const uint16_t *next_block(const uint16_t *at)
{
    return at + 2 + (is_dense(at) ? OMEN_POSTING_BITS / 2 : block_rows(at));
}

/* Sets the bits of a tag's rows in a block. */
static void set_tag(const uint16_t *at, const uint16_t *end, uint64_t block, uint64_t *words)
{
    memset(words, 0, BLOCK_WORDS * sizeof *words);
    if (at >= end || at[0] != block)
        return;
    if (is_dense(at))
        memcpy(words, at + 2, OMEN_POSTING_BITS);
    for (size_t i = 0; i < block_rows(at) && !is_dense(at); i++)
        words[at[2 + i] / 64] |= (uint64_t)1 << at[2 + i] % 64;
}

/* Postings of the tags that the tests of a tree ask for, in the order of the tree. */
typedef struct {
    const uint16_t *at, *end; /* what the blocks before have left */
} cursor;

typedef struct {
    const omen_index *index;
    uint64_t block;
    size_t n_words; /* of the block */
    uint64_t *scratch;
    cursor *cursors;
    size_t n_cursors; /* tests of tags met so far */
} evaluation;

static size_t count_tags(const omen_node *node)
{
    size_t n = node->kind == OMEN_NODE_TAG;
    for (size_t i = 0; i < node->n_children; i++)
        n += count_tags(node->children[i]);
    return n;
}

static int open_cursors(evaluation *e, const omen_node *node, omen_detail *why)
{
    int status = OMEN_OK;
    if (node->kind == OMEN_NODE_TAG) {
        cursor *c = &e->cursors[e->n_cursors++];
        return omen_column_touch_tag(e->index, node->column, node->tag, &c->at, &c->end, why);
    }
    for (size_t i = 0; i < node->n_children && status == OMEN_OK; i++)
        status = open_cursors(e, node->children[i], why);
    return status;
}

static void evaluate_tag(evaluation *e, const omen_node *node, uint64_t *words)
{
    cursor *c = &e->cursors[e->n_cursors++];
    while (c->at < c->end && c->at[0] < e->block)
        c->at = next_block(c->at);
    set_tag(c->at, c->end, e->block, words);
    for (size_t i = 0; node->is_negated && i < e->n_words; i++)
        words[i] = ~words[i];
}

/* ---- the tree ---- */

static bool any(const uint64_t *words, size_t n)
{
    uint64_t all = 0;
    for (size_t i = 0; i < n; i++)
        all |= words[i];
    return all != 0;
}

/* Bits past the last row may be anything. */
static void evaluate(evaluation *e, const omen_node *node, uint64_t *words, unsigned level)
{
    const uint64_t first = e->block * BLOCK_ROWS;
    uint64_t *other = e->scratch + (size_t)level * BLOCK_WORDS;
    switch (node->kind) {
    case OMEN_NODE_NEVER:
        memset(words, 0, e->n_words * sizeof *words);
        return;
    case OMEN_NODE_ALWAYS:
        memset(words, 0xff, e->n_words * sizeof *words);
        return;
    case OMEN_NODE_TAG:
        evaluate_tag(e, node, words);
        return;
    case OMEN_NODE_NULL:
        memcpy(words, e->index->columns[node->column].parts[OMEN_PART_NULLS] + first / 8, e->n_words * sizeof *words);
        return;
    case OMEN_NODE_RANGES:
        omen_column_pass(&e->index->columns[node->column], first, omen_least(e->index->meta.n_rows - first, BLOCK_ROWS),
                         &node->ranges, words);
        return;
    default:
        evaluate(e, node->children[0], words, level + 1);
        for (size_t c = 1; c < node->n_children; c++) {
            if (node->kind == OMEN_NODE_AND && !any(words, e->n_words)) {
                /* the tests left out have their cursors, too */
                for (; c < node->n_children; c++)
                    e->n_cursors += count_tags(node->children[c]);
                return;
            }
            evaluate(e, node->children[c], other, level + 1);
            for (size_t i = 0; i < e->n_words; i++)
                words[i] = node->kind == OMEN_NODE_AND ? words[i] & other[i] : words[i] | other[i];
        }
    }
}

/* A condition in the course of its evaluation. */
typedef struct {
    evaluation e;
    const omen_condition *condition;
    uint32_t *positions; /* of the rows so far, while they are few: room for n_few + 64 */
    uint64_t n_positions, n_few;
    omen_row_set *set; /* NULL: they are few */
    bool is_done;      /* set has all rows, few or not */
} started;

static int start(started *s, const omen_condition *condition, omen_detail *why)
{
    *s = (started){.e = {.index = condition->index}, .condition = condition};
    s->n_few = omen_filter_few(condition->index);
    s->positions = omen_alloc(s->n_few + 64, sizeof *s->positions);
    s->e.cursors = omen_alloc(count_tags(condition->root) + 1, sizeof *s->e.cursors);
    if (!s->positions || !s->e.cursors)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for a condition");
    return open_cursors(&s->e, condition->root, why);
}

/* Takes the rows of a block into the list of few, or makes a bitmap of all so far. */
static int take_block(started *s, uint64_t first, uint64_t *words)
{
    const uint64_t n_left = s->e.index->meta.n_rows - first, n_rows = omen_least(n_left, BLOCK_ROWS);
    const uint64_t n_words = s->e.n_words, before = s->n_positions;
    if (n_rows < n_words * 64)
        words[n_words - 1] &= ((uint64_t)1 << n_rows % 64) - 1;
    /* if the other blocks have about as many, they are not few; if not, the bitmap becomes a list in the end */
    const uint64_t most = before + (s->n_few - before) * n_rows / n_left;
    s->n_positions = omen_row_set_list(words, n_words, (uint32_t)first, before, most, s->positions);
    if (s->n_positions <= most)
        return OMEN_OK;
    s->set = omen_row_set_create_unset(s->e.index);
    if (!s->set)
        return OMEN_ERR_MEMORY;
    memset(s->set->words, 0, first / 64 * sizeof *s->set->words);
    for (uint64_t i = 0; i < before; i++)
        s->set->words[s->positions[i] / 64] |= (uint64_t)1 << s->positions[i] % 64;
    memcpy(s->set->words + first / 64, words, n_words * sizeof *words);
    return OMEN_OK;
}

/* words: the block, and room for each level of the tree. */
static int evaluate_block(started *s, uint64_t block, uint64_t *words)
{
    const uint64_t first = block * BLOCK_ROWS;
    s->e.block = block;
    s->e.n_words = omen_least(s->e.index->meta.n_rows - first + 63, BLOCK_ROWS) / 64;
    s->e.scratch = words + BLOCK_WORDS;
    s->e.n_cursors = 0;
    evaluate(&s->e, s->condition->root, words, 0);
    if (!s->set)
        return take_block(s, first, words);
    memcpy(s->set->words + first / 64, words, s->e.n_words * sizeof *words);
    return OMEN_OK;
}

/* What came of it: the caller's, also after a failure. */
static int give_set(started *s, omen_row_set **out)
{
    if (s->is_done) {
        *out = s->set;
        s->set = NULL;
        return OMEN_OK;
    }
    *out = s->set ? s->set : omen_row_set_create_list(s->e.index, s->positions, s->n_positions);
    s->set = NULL;
    return !*out ? OMEN_ERR_MEMORY : (*out)->words ? omen_row_set_finish(*out) : OMEN_OK;
}

/* A condition that the order of its column answers, if there is one. */
static int take_order(started *s, const omen_column_order *const *orders, omen_position_sorter *sorter)
{
    const omen_node *root = s->condition->root;
    const omen_column_order *order = root->kind == OMEN_NODE_RANGES ? orders[root->column] : NULL;
    const int status = order ? omen_condition_by_order(s->e.index, order, root, sorter, &s->set) : OMEN_OK;
    s->is_done = s->set;
    return status;
}

/* Rows of a tag, or of its first ones, if they are more than most. */
static uint64_t count_rows(const cursor *c, uint64_t most)
{
    uint64_t n = 0;
    for (const uint16_t *at = c->at; at < c->end && n <= most; at = next_block(at))
        n += block_rows(at);
    return n;
}

/* Lists the rows of a tag, and returns how many there are. */
static uint64_t list_rows(const cursor *c, uint32_t *to)
{
    uint64_t n = 0;
    for (const uint16_t *at = c->at; at < c->end; at = next_block(at)) {
        const uint32_t first = at[0] * BLOCK_ROWS;
        for (size_t i = 0; i < block_rows(at) && !is_dense(at); i++)
            to[n++] = first + at[2 + i];
        for (uint32_t i = 0; i < OMEN_POSTING_BITS / 2 && is_dense(at); i++)
            for (uint32_t bits = at[2 + i]; bits; bits &= bits - 1)
                to[n++] = first + 16 * i + (uint32_t)__builtin_ctz(bits);
    }
    return n;
}

/* Whether a tag has a row. The next one asked for comes behind it. */
static bool has_row(cursor *c, uint32_t row)
{
    const uint32_t block = row / BLOCK_ROWS, within = row % BLOCK_ROWS;
    while (c->at < c->end && c->at[0] < block)
        c->at = next_block(c->at);
    if (c->at >= c->end || c->at[0] != block)
        return false;
    if (is_dense(c->at))
        return c->at[2 + within / 16] >> within % 16 & 1;
    const uint16_t *rows = c->at + 2;
    size_t low = 0, high = block_rows(c->at);
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (rows[middle] < within)
            low = middle + 1;
        else
            high = middle;
    }
    return low < block_rows(c->at) && rows[low] == within;
}

/* A condition of tags alone, one of which few rows have: these are listed, and looked for in the others. */
static int take_tags(started *s)
{
    const omen_node *root = s->condition->root;
    const omen_node *const *tests = root->kind == OMEN_NODE_AND ? (const omen_node *const *)root->children : &root;
    const size_t n = root->kind == OMEN_NODE_AND ? root->n_children : 1;
    size_t rarest = n;
    for (size_t i = 0; i < n; i++) {
        const cursor *c = &s->e.cursors[i];
        if (tests[i]->kind != OMEN_NODE_TAG)
            return OMEN_OK;
        if (!tests[i]->is_negated &&
            (rarest == n || c->end - c->at < s->e.cursors[rarest].end - s->e.cursors[rarest].at))
            rarest = i;
    }
    if (rarest == n || count_rows(&s->e.cursors[rarest], s->n_few) > s->n_few)
        return OMEN_OK;
    uint64_t n_rows = list_rows(&s->e.cursors[rarest], s->positions);
    for (size_t i = 0; i < n; i++) {
        uint64_t n_kept = 0;
        for (uint64_t r = 0; r < n_rows && i != rarest; r++) {
            s->positions[n_kept] = s->positions[r];
            n_kept += has_row(&s->e.cursors[i], s->positions[r]) != tests[i]->is_negated;
        }
        n_rows = i == rarest ? n_rows : n_kept;
    }
    s->set = omen_row_set_create_list(s->e.index, s->positions, n_rows);
    s->is_done = s->set;
    return s->set ? OMEN_OK : OMEN_ERR_MEMORY;
}

/* A few conditions, block by block, so that the values of a block come from memory once for all of them. */
static int evaluate_group(const omen_condition *const *conditions, size_t n, const omen_column_order *const *orders,
                          omen_position_sorter *sorter, omen_row_set **sets, omen_watch *watch, omen_detail *why)
{
    started all[GROUP];
    unsigned depth = 0;
    size_t n_started = 0, n_done = 0;
    int status = OMEN_OK;
    for (; n_started < n && status == OMEN_OK; n_started++) {
        const omen_condition *c = conditions[n_started];
        status = start(&all[n_started], c, why);
        if (status == OMEN_OK)
            status = take_order(&all[n_started], orders, sorter);
        if (status == OMEN_OK && !all[n_started].is_done)
            status = take_tags(&all[n_started]);
        n_done += all[n_started].is_done;
        depth = c->depth > depth ? c->depth : depth;
        if (status == OMEN_OK && omen_watch_stopped(watch))
            status = omen_fail(why, OMEN_ERR_INTERRUPTED, "interrupted");
    }
    uint64_t *words = omen_alloc((size_t)(depth + 1) * BLOCK_WORDS, sizeof *words);
    if (status == OMEN_OK && !words)
        status = omen_fail(why, OMEN_ERR_MEMORY, "out of memory for a condition");
    const uint64_t n_rows = conditions[0]->index->meta.n_rows;
    for (uint64_t block = 0; block * BLOCK_ROWS < n_rows && n_done < n && status == OMEN_OK; block++) {
        for (size_t i = 0; i < n && status == OMEN_OK; i++)
            if (!all[i].is_done)
                status = evaluate_block(&all[i], block, words);
        if (status == OMEN_OK && omen_watch_stopped(watch))
            status = omen_fail(why, OMEN_ERR_INTERRUPTED, "interrupted");
    }
    free(words);
    for (size_t i = 0; i < n_started; i++) {
        if (status == OMEN_OK)
            status = give_set(&all[i], &sets[i]);
        omen_row_set_destroy(all[i].set);
        free(all[i].positions);
        free(all[i].e.cursors);
    }
    return status == OMEN_ERR_MEMORY ? omen_fail(why, status, "out of memory for a condition") : status;
}

/* The orders of the columns that conditions ask for alone, by column, into *out, the caller's also after a failure;
 * NULL where there is none. */
static int get_orders(const omen_condition *const *conditions, size_t n, const omen_column_order ***out,
                      omen_watch *watch)
{
    const omen_index *index = conditions[0]->index;
    const omen_column_order **orders = *out = omen_alloc_zero(index->n_columns, sizeof *orders);
    uint64_t *n_passes = omen_alloc_zero(index->n_columns, sizeof *n_passes);
    int status = orders && n_passes ? OMEN_OK : OMEN_ERR_MEMORY;
    for (size_t i = 0; i < n && status == OMEN_OK; i++)
        if (conditions[i]->root->kind == OMEN_NODE_RANGES)
            n_passes[conditions[i]->root->column]++;
    for (uint32_t c = 0; c < index->n_columns && status == OMEN_OK; c++)
        if (n_passes[c])
            status = omen_column_order_get(index, c, n_passes[c], &orders[c], watch);
    free(n_passes);
    return status;
}

int omen_conditions_evaluate(const omen_condition *const *conditions, size_t n, int n_threads, omen_row_set **sets,
                             omen_progress_fn progress, void *context, omen_detail *why)
{
    omen_watch watch = omen_watch_make(progress, context, "conditions");
    int status = OMEN_OK;
    watch.total = n;
    for (size_t i = 0; i < n; i++)
        sets[i] = NULL;
    for (size_t i = 1; i < n; i++)
        if (conditions[i]->index != conditions[0]->index)
            return omen_fail(why, OMEN_ERR_ARGUMENT, "the conditions are on two indexes");
    const size_t wanted = n_threads > 0 ? (size_t)n_threads : (size_t)omen_cpu_count();
    const size_t share = (n + wanted - 1) / wanted, size = share < 1 ? 1 : share < GROUP ? share : GROUP;
    const size_t n_groups = (n + size - 1) / size, used = n_groups < wanted ? n_groups : wanted;
    const omen_column_order **orders = NULL;
    if (n > 0 && (status = get_orders(conditions, n, &orders, &watch)) != OMEN_OK) {
        free(orders);
        return omen_fail(why, status,
                         status == OMEN_ERR_MEMORY ? "out of memory for the order of a column" : "interrupted");
    }
#pragma omp parallel num_threads(used > 0 ? (int)used : 1)
    {
        omen_position_sorter sorter = {NULL};
#pragma omp for schedule(dynamic)
        for (size_t g = 0; g < n_groups; g++) {
            omen_detail own = {""};
            const size_t first = g * size, n_here = n - first < size ? n - first : size;
            const int found = evaluate_group(conditions + first, n_here, orders, &sorter, sets + first, &watch, &own);
            __atomic_fetch_add(&watch.done, n_here, __ATOMIC_RELAXED);
            if (found == OMEN_OK)
                continue;
#pragma omp critical
            if (status == OMEN_OK) {
                status = found;
                omen_fail(why, status, "%s", own.text);
            }
        }
        omen_position_sorter_finish(&sorter);
    }
    free(orders);
    if (status == OMEN_OK && omen_watch_stopped(&watch)) /* other threads may have left this one nothing to do */
        status = omen_fail(why, OMEN_ERR_INTERRUPTED, "interrupted");
    for (size_t i = 0; i < n && status != OMEN_OK; i++) {
        omen_row_set_destroy(sets[i]);
        sets[i] = NULL;
    }
    return status;
}
