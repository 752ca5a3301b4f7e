/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a condition: by recursive descent, to a depth of MAX_DEPTH. A negation is carried down to the tests. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/condition_words.h"

#define MAX_DEPTH 64u

static int parse_or(omen_parser *p, bool negate, omen_node **out);

/* ---- columns ---- */

/* Insertions, deletions and replacements between two names, without regard to case. */
static unsigned distance(const char *a, size_t n_a, const char *b, size_t n_b)
{
    unsigned row[OMEN_MAX_COLUMN_NAME + 1];
    for (size_t j = 0; j <= n_b; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= n_a; i++) {
        unsigned corner = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= n_b; j++) {
            const bool differs = omen_lower(a[i - 1]) != omen_lower(b[j - 1]);
            unsigned least = corner + differs;
            corner = row[j];
            least = row[j] + 1 < least ? row[j] + 1 : least;
            row[j] = row[j - 1] + 1 < least ? row[j - 1] + 1 : least;
        }
    }
    return row[n_b];
}

static int fail_column(const omen_parser *p, size_t at, const char *name, size_t n)
{
    const omen_column *nearest = NULL;
    unsigned least = (unsigned)(n < 5 ? 1 : (n + 1) / 3) + 1;
    for (uint32_t i = 0; i < p->index->n_columns && n <= OMEN_MAX_COLUMN_NAME; i++) {
        const omen_column *c = &p->index->columns[i];
        const unsigned d = distance(name, n, c->name, c->entry.name_bytes);
        if (d < least) {
            least = d;
            nearest = c;
        }
    }
    const int shown = (int)(n < 100 ? n : 100);
    if (!p->index->n_columns)
        return omen_words_fail(p, at, "there is no column \"%.*s\": the index was built without columns", shown, name);
    if (nearest)
        return omen_words_fail(p, at, "there is no column \"%.*s\"; did you mean \"%.*s\"?", shown, name,
                               (int)nearest->entry.name_bytes, nearest->name);
    char names[160];
    size_t length = 0;
    for (uint32_t i = 0; i < p->index->n_columns && length < sizeof names; i++)
        length += (size_t)snprintf(names + length, sizeof names - length, "%s%.*s", i ? ", " : "",
                                   (int)p->index->columns[i].entry.name_bytes, p->index->columns[i].name);
    return omen_words_fail(p, at, "there is no column \"%.*s\"; the columns are %s%s", shown, name, names,
                           length >= sizeof names ? "..." : "");
}

/* Takes the name of a column: as it is, or, if there is just one like it, without regard to case. */
static int take_column(omen_parser *p, uint32_t *out)
{
    const omen_word *w = &p->word;
    uint32_t n_alike = 0;
    bool is_found = false;
    if (w->kind != OMEN_WORD_NAME)
        return omen_words_fail_next(p, "a column");
    const char *name = w->is_quoted ? w->text : p->text + w->at;
    const size_t n = w->is_quoted ? w->n_bytes : w->end - w->at;
    for (uint32_t i = 0; i < p->index->n_columns && !is_found; i++) {
        const omen_column *c = &p->index->columns[i];
        if (c->entry.name_bytes != n || !omen_words_are_alike(c->name, name, n))
            continue;
        is_found = memcmp(c->name, name, n) == 0;
        n_alike++;
        *out = i;
    }
    if (!is_found && n_alike != 1)
        return fail_column(p, w->at, name, n);
    const int status = omen_column_touch(p->index, *out, p->why);
    return status == OMEN_OK ? omen_words_next(p) : status;
}

static const char *name_of(const omen_parser *p, uint32_t column, char name[OMEN_MAX_COLUMN_NAME + 1])
{
    const omen_column *c = &p->index->columns[column];
    snprintf(name, OMEN_MAX_COLUMN_NAME + 1, "%.*s", (int)c->entry.name_bytes, c->name);
    return name;
}

/* ---- literals ---- */

/* Whether the literal, which stands at a place of the text, can be compared with the column. */
static int check_literal(const omen_parser *p, uint32_t column, const omen_literal *literal, size_t at)
{
    const omen_column_entry *e = &p->index->columns[column].entry;
    char name[OMEN_MAX_COLUMN_NAME + 1];
    const bool wants_text = omen_column_has_words(e);
    if (literal->kind == OMEN_LITERAL_NULL || (literal->kind == OMEN_LITERAL_TEXT) == wants_text)
        return OMEN_OK;
    name_of(p, column, name);
    return wants_text ? omen_words_fail(p, at, "\"%.100s\" holds texts, which stand in single quotes", name)
                      : omen_words_fail(p, at, "\"%.100s\" holds numbers, which stand without quotes", name);
}

/* Takes a literal for a column that is not tags, and finds where it lies among the column's values. */
static int take_cuts(omen_parser *p, uint32_t column, bool *is_null, omen_cut *low, omen_cut *past)
{
    omen_literal literal;
    const size_t at = p->word.at;
    int status = omen_words_literal(p, &literal);
    if (status == OMEN_OK)
        status = check_literal(p, column, &literal, at);
    *is_null = literal.kind == OMEN_LITERAL_NULL;
    *low = *past = 0;
    if (status == OMEN_OK && !*is_null)
        omen_literal_cuts(&p->index->columns[column], &literal, low, past);
    free(literal.text);
    return status;
}

/* ---- tests ---- */

/* Ends a test that was made of ranges; status tells whether it was. */
static int end_ranges(const omen_parser *p, omen_node *node, bool negate, int status, omen_node **out)
{
    const omen_range all = omen_range_all(&p->index->columns[node->column]);
    if (status == OMEN_OK) {
        omen_ranges_merge(&node->ranges);
        if (negate && !omen_ranges_invert(&node->ranges, all))
            status = omen_words_no_memory(p);
    }
    if (status != OMEN_OK) {
        omen_node_destroy(node);
        return status;
    }
    *out = node;
    return OMEN_OK;
}

/* Adds the keys from low up to but without past. */
static int add_range(const omen_parser *p, omen_node *node, omen_cut low, omen_cut past)
{
    const omen_range all = omen_range_all(&p->index->columns[node->column]);
    low = low < all.low ? all.low : low;
    past = past > (omen_cut)all.high + 1 ? (omen_cut)all.high + 1 : past;
    if (low >= past)
        return OMEN_OK;
    return omen_ranges_add(&node->ranges, (uint64_t)low, (uint64_t)(past - 1)) ? OMEN_OK : omen_words_no_memory(p);
}

typedef enum { SIGN_EQUAL, SIGN_DIFFERENT, SIGN_LESS, SIGN_LESS_EQUAL, SIGN_GREATER, SIGN_GREATER_EQUAL } sign;

static const struct {
    const char *mark;
    sign sign, turned; /* turned: with its sides exchanged */
} signs[] = {{"=", SIGN_EQUAL, SIGN_EQUAL},          {"==", SIGN_EQUAL, SIGN_EQUAL},
             {"!=", SIGN_DIFFERENT, SIGN_DIFFERENT}, {"<>", SIGN_DIFFERENT, SIGN_DIFFERENT},
             {"<", SIGN_LESS, SIGN_GREATER},         {"<=", SIGN_LESS_EQUAL, SIGN_GREATER_EQUAL},
             {">", SIGN_GREATER, SIGN_LESS},         {">=", SIGN_GREATER_EQUAL, SIGN_LESS_EQUAL}};

/* Takes a sign of comparison; *out is the number of signs if there is none. */
static int take_sign(omen_parser *p, size_t *out)
{
    const size_t n = sizeof signs / sizeof *signs;
    for (*out = 0; *out < n && !omen_words_has_mark(p, signs[*out].mark); ++*out)
        ;
    return *out < n ? omen_words_next(p) : OMEN_OK;
}

/* A comparison with NULL, which is not true, and is not false either. */
static int make_unknown(const omen_parser *p, omen_node **out)
{
    *out = omen_node_create(OMEN_NODE_NEVER, 0);
    return *out ? OMEN_OK : omen_words_no_memory(p);
}

static int make_comparison(const omen_parser *p, uint32_t column, sign s, bool is_null, omen_cut low, omen_cut past,
                           bool negate, omen_node **out)
{
    const omen_range all = omen_range_all(&p->index->columns[column]);
    const omen_cut end = (omen_cut)all.high + 1;
    if (is_null)
        return make_unknown(p, out);
    omen_node *node = omen_node_create(OMEN_NODE_RANGES, column);
    if (!node)
        return omen_words_no_memory(p);
    int status = OMEN_OK;
    switch (s) {
    case SIGN_EQUAL:
        status = add_range(p, node, low, past);
        break;
    case SIGN_DIFFERENT:
        status = add_range(p, node, all.low, low);
        if (status == OMEN_OK)
            status = add_range(p, node, past, end);
        break;
    case SIGN_LESS:
        status = add_range(p, node, all.low, low);
        break;
    case SIGN_LESS_EQUAL:
        status = add_range(p, node, all.low, past);
        break;
    case SIGN_GREATER:
        status = add_range(p, node, past, end);
        break;
    case SIGN_GREATER_EQUAL:
        status = add_range(p, node, low, end);
    }
    return end_ranges(p, node, negate, status, out);
}

static int refuse_tags(const omen_parser *p, uint32_t column, size_t at)
{
    char name[OMEN_MAX_COLUMN_NAME + 1];
    const bool is_text = p->index->columns[column].entry.type == OMEN_COLUMN_TAG_WORDS;
    name_of(p, column, name);
    return omen_words_fail(p, at, "a row has any number of \"%.60s\": ask for one with %.60s HAS %s", name, name,
                           is_text ? "'word'" : "50");
}

/* literal sign column */
static int parse_turned(omen_parser *p, bool negate, omen_node **out)
{
    omen_literal literal;
    omen_cut low = 0, past = 0;
    size_t i = 0;
    uint32_t column = 0;
    const size_t at = p->word.at;
    int status = omen_words_literal(p, &literal);
    if (status == OMEN_OK)
        status = take_sign(p, &i);
    if (status == OMEN_OK && i == sizeof signs / sizeof *signs)
        status = omen_words_fail_next(p, "=, <, > or the like");
    const size_t column_at = p->word.at;
    if (status == OMEN_OK)
        status = take_column(p, &column);
    if (status == OMEN_OK && omen_column_is_tags(&p->index->columns[column].entry))
        status = refuse_tags(p, column, column_at);
    if (status == OMEN_OK)
        status = check_literal(p, column, &literal, at);
    const bool is_null = literal.kind == OMEN_LITERAL_NULL;
    if (status == OMEN_OK && !is_null)
        omen_literal_cuts(&p->index->columns[column], &literal, &low, &past);
    free(literal.text);
    return status == OMEN_OK ? make_comparison(p, column, signs[i].turned, is_null, low, past, negate, out) : status;
}

/* Behind BETWEEN. With NULL for an end, the other end may still make it false. */
static int parse_between(omen_parser *p, uint32_t column, bool negate, omen_node **out)
{
    omen_cut low, low_past, high, high_past;
    bool low_is_null, high_is_null;
    int status = take_cuts(p, column, &low_is_null, &low, &low_past);
    if (status == OMEN_OK)
        status = omen_words_demand(p, "AND");
    if (status == OMEN_OK)
        status = take_cuts(p, column, &high_is_null, &high, &high_past);
    if (status != OMEN_OK)
        return status;
    if ((low_is_null || high_is_null) && !negate)
        return make_unknown(p, out);
    if (low_is_null)
        return high_is_null ? make_unknown(p, out)
                            : make_comparison(p, column, SIGN_GREATER, false, high, high_past, false, out);
    if (high_is_null)
        return make_comparison(p, column, SIGN_LESS, false, low, low_past, false, out);
    omen_node *node = omen_node_create(OMEN_NODE_RANGES, column);
    if (!node)
        return omen_words_no_memory(p);
    return end_ranges(p, node, negate, add_range(p, node, low, high_past), out);
}

/* Behind IN. With NULL in the list nothing is outside of it. */
static int parse_in(omen_parser *p, uint32_t column, bool negate, omen_node **out)
{
    omen_node *node = omen_node_create(OMEN_NODE_RANGES, column);
    bool has_null = false, goes_on = true;
    int status = node ? omen_words_demand(p, "(") : omen_words_no_memory(p);
    if (!node)
        return status;
    while (status == OMEN_OK && goes_on) {
        omen_cut low, past;
        bool is_null;
        status = take_cuts(p, column, &is_null, &low, &past);
        has_null = has_null || is_null;
        if (status == OMEN_OK && !is_null)
            status = add_range(p, node, low, past);
        if (status == OMEN_OK)
            status = omen_words_accept(p, ",", &goes_on);
    }
    if (status == OMEN_OK)
        status = omen_words_has_mark(p, ")") ? omen_words_next(p) : omen_words_fail_next(p, ", or )");
    if (status == OMEN_OK && has_null && negate) {
        omen_node_destroy(node);
        return make_unknown(p, out);
    }
    return end_ranges(p, node, negate, status, out);
}

/* Behind LIKE. */
static int parse_like(omen_parser *p, uint32_t column, bool negate, omen_node **out)
{
    const omen_column *c = &p->index->columns[column];
    const size_t at = p->word.at;
    char name[OMEN_MAX_COLUMN_NAME + 1];
    omen_literal literal;
    omen_cut low = 0, past = 0;
    if (c->entry.type != OMEN_COLUMN_TEXT)
        return omen_words_fail(p, at, "LIKE is for texts, and \"%.100s\" holds numbers", name_of(p, column, name));
    int status = omen_words_literal(p, &literal);
    if (status == OMEN_OK)
        status = check_literal(p, column, &literal, at);
    if (status == OMEN_OK && literal.kind == OMEN_LITERAL_TEXT) {
        const bool is_prefix = literal.n_bytes && literal.text[literal.n_bytes - 1] == '%';
        const size_t n = literal.n_bytes - is_prefix;
        if (memchr(literal.text, '%', n) || memchr(literal.text, '_', n))
            status =
                omen_words_fail(p, at, "LIKE takes a beginning and %% at its end, as in 'lib%%', and no other %% or _");
        omen_literal_cuts(c, &(omen_literal){.kind = OMEN_LITERAL_TEXT, .text = literal.text, .n_bytes = n}, &low,
                          &past);
        if (is_prefix)
            past = (omen_cut)omen_column_bound(c, literal.text, n, true);
    }
    free(literal.text);
    return status == OMEN_OK
               ? make_comparison(p, column, SIGN_EQUAL, literal.kind == OMEN_LITERAL_NULL, low, past, negate, out)
               : status;
}

/* The number of a tag in the dictionary; false if no row has it. */
static bool find_tag(const omen_column *c, const omen_literal *literal, uint64_t *out)
{
    if (c->entry.type == OMEN_COLUMN_TAG_WORDS) {
        *out = omen_column_bound(c, literal->text, literal->n_bytes, false);
        return omen_column_has_word(c, *out, literal->text, literal->n_bytes);
    }
    const uint32_t *numbers = (const uint32_t *)c->parts[OMEN_PART_NUMBERS];
    uint64_t low = 0, high = c->entry.n_words;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (numbers[middle] < literal->integer)
            low = middle + 1;
        else
            high = middle;
    }
    *out = low;
    return low < c->entry.n_words && numbers[low] == literal->integer;
}

/* Behind HAS. */
static int parse_has(omen_parser *p, uint32_t column, bool negate, omen_node **out)
{
    const omen_column *c = &p->index->columns[column];
    const size_t at = p->word.at;
    char name[OMEN_MAX_COLUMN_NAME + 1];
    omen_literal literal;
    uint64_t tag = 0;
    bool is_there = false;
    if (!omen_column_is_tags(&c->entry))
        return omen_words_fail(p, at, "HAS is for tags, and \"%.100s\" holds one %s a row: compare it with =",
                               name_of(p, column, name), c->entry.type == OMEN_COLUMN_TEXT ? "text" : "number");
    int status = omen_words_literal(p, &literal);
    if (status == OMEN_OK)
        status = check_literal(p, column, &literal, at);
    if (status == OMEN_OK &&
        (literal.kind == OMEN_LITERAL_NULL || (literal.kind == OMEN_LITERAL_NUMBER && !literal.is_integer)))
        status = omen_words_fail(p, at, "HAS takes a tag, which is %s",
                                 c->entry.type == OMEN_COLUMN_TAG_WORDS ? "a 'word'" : "a whole number");
    if (status == OMEN_OK)
        is_there = find_tag(c, &literal, &tag);
    free(literal.text);
    if (status != OMEN_OK)
        return status;
    omen_node *node = omen_node_create(is_there ? OMEN_NODE_TAG
                                       : negate ? OMEN_NODE_ALWAYS
                                                : OMEN_NODE_NEVER,
                                       is_there ? column : 0);
    if (!node)
        return omen_words_no_memory(p);
    node->tag = tag * is_there;
    node->is_negated = negate && is_there;
    *out = node;
    return OMEN_OK;
}

/* Behind IS. */
static int parse_is(omen_parser *p, uint32_t column, bool negate, omen_node **out)
{
    bool is_not;
    int status = omen_words_accept(p, "NOT", &is_not);
    if (status == OMEN_OK)
        status = omen_words_demand(p, "NULL");
    if (status != OMEN_OK)
        return status;
    omen_node *node = omen_node_create(is_not == negate ? OMEN_NODE_NULL : OMEN_NODE_RANGES, column);
    if (!node)
        return omen_words_no_memory(p);
    if (node->kind == OMEN_NODE_NULL) {
        *out = node;
        return OMEN_OK;
    }
    const omen_range all = omen_range_all(&p->index->columns[column]);
    return end_ranges(p, node, false, add_range(p, node, all.low, (omen_cut)all.high + 1), out);
}

/* column ... */
static int parse_test(omen_parser *p, bool negate, omen_node **out)
{
    static const struct {
        const char *keyword;
        int (*parse)(omen_parser *p, uint32_t column, bool negate, omen_node **out);
        bool is_of_tags;
    } tests[] = {{"BETWEEN", parse_between, false},
                 {"IN", parse_in, false},
                 {"LIKE", parse_like, false},
                 {"HAS", parse_has, true}};
    uint32_t column = 0;
    size_t i;
    bool is_there = false;
    int status = take_column(p, &column);
    const size_t at = p->word.at;
    const bool is_tags = status == OMEN_OK && omen_column_is_tags(&p->index->columns[column].entry);
    if (status == OMEN_OK)
        status = omen_words_accept(p, "NOT", &is_there);
    const bool is_not = is_there;
    for (size_t t = 0; t < sizeof tests / sizeof *tests && status == OMEN_OK; t++) {
        status = omen_words_accept(p, tests[t].keyword, &is_there);
        if (status != OMEN_OK || !is_there)
            continue;
        return is_tags && !tests[t].is_of_tags ? refuse_tags(p, column, at)
                                               : tests[t].parse(p, column, negate != is_not, out);
    }
    if (status == OMEN_OK && is_not)
        status = omen_words_fail_next(p, "BETWEEN, IN, LIKE or HAS");
    if (status == OMEN_OK && is_tags)
        status = refuse_tags(p, column, at);
    if (status == OMEN_OK)
        status = omen_words_accept(p, "IS", &is_there);
    if (status == OMEN_OK && is_there)
        return parse_is(p, column, negate, out);
    if (status == OMEN_OK)
        status = take_sign(p, &i);
    if (status != OMEN_OK)
        return status;
    if (i == sizeof signs / sizeof *signs)
        return omen_words_fail_next(p, "=, <, >, BETWEEN, IN, LIKE, HAS or IS NULL");
    omen_cut low, past;
    bool is_null;
    status = take_cuts(p, column, &is_null, &low, &past);
    return status == OMEN_OK ? make_comparison(p, column, signs[i].sign, is_null, low, past, negate, out) : status;
}

/* ---- AND, OR, NOT ---- */

static int parse_factor(omen_parser *p, bool negate, omen_node **out)
{
    bool is_there;
    size_t n_nots = 0;
    const size_t at = p->word.at;
    int status = omen_words_accept(p, "NOT", &is_there);
    while (status == OMEN_OK && is_there) {
        n_nots++;
        status = omen_words_accept(p, "NOT", &is_there);
    }
    negate = negate != (n_nots % 2 == 1);
    if (status == OMEN_OK)
        status = omen_words_accept(p, "(", &is_there);
    if (status != OMEN_OK)
        return status;
    if (!is_there)
        return omen_words_has_literal(p) ? parse_turned(p, negate, out) : parse_test(p, negate, out);
    if (++p->depth > MAX_DEPTH)
        return omen_words_fail(p, at, "parentheses are nested more than %u deep", MAX_DEPTH);
    omen_node *node = NULL;
    status = parse_or(p, negate, &node);
    p->depth--;
    if (status == OMEN_OK)
        status = omen_words_demand(p, ")");
    if (status != OMEN_OK) {
        omen_node_destroy(node);
        return status;
    }
    *out = node;
    return OMEN_OK;
}

/* What parts joined by a keyword make; negated, AND is OR of negated parts. */
static int parse_joined(omen_parser *p, bool is_and, bool negate, omen_node **out)
{
    omen_node *node = omen_node_create(is_and != negate ? OMEN_NODE_AND : OMEN_NODE_OR, 0);
    bool goes_on = true;
    int status = node ? OMEN_OK : omen_words_no_memory(p);
    while (status == OMEN_OK && goes_on) {
        omen_node *part = NULL;
        status = is_and ? parse_factor(p, negate, &part) : parse_joined(p, true, negate, &part);
        if (status == OMEN_OK && !omen_node_append(node, part))
            status = omen_words_no_memory(p);
        if (status == OMEN_OK)
            status = omen_words_accept(p, is_and ? "AND" : "OR", &goes_on);
    }
    if (status == OMEN_OK && !omen_node_simplify(&node, p->index))
        status = omen_words_no_memory(p);
    if (status != OMEN_OK) {
        omen_node_destroy(node);
        return status;
    }
    *out = node;
    return OMEN_OK;
}

static int parse_or(omen_parser *p, bool negate, omen_node **out)
{
    return parse_joined(p, false, negate, out);
}

int omen_condition_parse(const omen_index *index, const char *text, omen_node **out, omen_detail *why)
{
    omen_parser p = {.index = index, .text = text, .n_bytes = strlen(text), .why = why};
    omen_node *node = NULL;
    if (p.n_bytes > OMEN_MAX_CONDITION)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "a condition has %zu bytes; %u are read", p.n_bytes,
                         OMEN_MAX_CONDITION);
    int status = omen_words_next(&p);
    if (status == OMEN_OK)
        status = parse_or(&p, false, &node);
    if (status == OMEN_OK && p.word.kind != OMEN_WORD_END)
        status = omen_words_fail_next(&p, "AND, OR or the end");
    free(p.word.text);
    if (status != OMEN_OK) {
        omen_node_destroy(node);
        return status;
    }
    *out = node;
    return OMEN_OK;
}
