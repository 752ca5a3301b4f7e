/* SPDX-License-Identifier: Apache-2.0 */
/* --where, --where-file and --where-tags of query and bench. Conditions that mean the same are one condition, which is
 * evaluated once; the sets of rows that come of them are kept as long as there is room. */
#include "cmd/query_where.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "formats/lines.h"

#define FEW_BYTES  ((uint64_t)96 << 20)  /* of sets in memory: the memory of one batch is used again by the next */
#define BATCH_SETS 256u                  /* or so many, if these take more, that threads seldom wait for each other */
#define SETS_BYTES ((uint64_t)512 << 20) /* but no more than this */

static int no_memory(omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the conditions");
}

/* An array of size items with room for one more than n; NULL without memory: then it is as it was. */
static void *grow(void *array, uint32_t *size, uint32_t n, size_t item_bytes)
{
    const uint32_t larger = *size > 0 ? 2 * *size : 64;
    void *grown = n < *size ? array : realloc(array, larger * item_bytes);

    if (grown && n >= *size)
        *size = larger;
    return grown;
}

/* ---- reading ---- */

bool query_where_is_asked(const struct query_where_options *options)
{
    return options->text || options->file || options->tags;
}

/* Makes a condition that was not met in this text before; *number is that of the one which means the same. */
static int make_condition(struct query_where *w, const char *text, uint32_t *number, omen_detail *why)
{
    struct query_condition c = {.text = NULL};
    int status = omen_condition_create(w->index, text, &c.condition, why);

    if (status != OMEN_OK)
        return status;
    const char *key = omen_condition_key(c.condition);
    const uint64_t n_before = w->keys.n;
    status = omen_intern_add(&w->keys, key, strlen(key), number);
    if (status != OMEN_OK || w->keys.n == n_before) {
        omen_condition_destroy(c.condition);
        return status == OMEN_OK ? OMEN_OK : no_memory(why);
    }
    struct query_condition *grown = grow(w->conditions, &w->size, w->n, sizeof *grown);
    w->conditions = grown ? grown : w->conditions;
    c.text = grown ? strdup(text) : NULL;
    if (!c.text) {
        omen_condition_destroy(c.condition);
        return no_memory(why);
    }
    w->conditions[w->n++] = c;
    return OMEN_OK;
}

/* The number of the condition that a text is. */
static int find_condition(struct query_where *w, const char *text, uint32_t *number, omen_detail *why)
{
    const uint64_t n_before = w->texts.n;
    uint32_t of_text;
    int status = omen_intern_add(&w->texts, text, strlen(text), &of_text);

    uint32_t *grown = status == OMEN_OK ? grow(w->of_text, &w->of_text_size, of_text, sizeof *grown) : NULL;
    if (!grown)
        return no_memory(why);
    w->of_text = grown;
    if (w->texts.n > n_before)
        status = make_condition(w, text, &w->of_text[of_text], why);
    *number = w->of_text[of_text];
    return status;
}

/* Notes the condition of a query. */
static int set_condition(struct query_where *w, uint64_t query, const char *text, omen_detail *why)
{
    const int status = find_condition(w, text, &w->of_query[query], why);

    if (status == OMEN_OK)
        w->conditions[w->of_query[query]].n_queries++;
    return status;
}

static int check_count(const struct query_where *w, const omen_input *input, uint64_t n, const char *what,
                       omen_detail *why)
{
    if (n == w->n_queries)
        return OMEN_OK;
    return omen_fail(why, OMEN_ERR_INPUT, "%s has %" PRIu64 " %s%s, and there %s %" PRIu64 " %s", input->label, n, what,
                     omen_plural(n), omen_is_or_are(w->n_queries), w->n_queries,
                     w->n_queries == 1 ? "query" : "queries");
}

static int take_line(struct query_where *w, const omen_input *input, uint64_t number, const char *line, size_t n_bytes,
                     omen_detail *why)
{
    omen_detail cause = {.text = ""};
    size_t n_blanks = 0;
    char *text;
    int status;

    while (n_blanks < n_bytes && (line[n_blanks] == ' ' || line[n_blanks] == '\t'))
        n_blanks++;
    w->of_query[number - 1] = QUERY_NO_CONDITION;
    if (n_blanks == n_bytes)
        return OMEN_OK;
    if (memchr(line, '\0', n_bytes)) {
        return omen_fail(why, OMEN_ERR_INPUT, "%s, line %" PRIu64 " holds a zero byte, which is no text", input->label,
                         number);
    }
    text = malloc(n_bytes + 1);
    if (!text)
        return no_memory(why);
    memcpy(text, line, n_bytes);
    text[n_bytes] = '\0';
    status = set_condition(w, number - 1, text, &cause);
    free(text);
    if (status == OMEN_ERR_ARGUMENT)
        return omen_fail(why, status, "%s, line %" PRIu64 ": %.400s", input->label, number, cause.text);
    return status == OMEN_OK ? OMEN_OK : omen_fail(why, status, "%s", cause.text);
}

static int read_lines(struct query_where *w, const char *path, omen_detail *why)
{
    omen_input input;
    const char *line;
    size_t n_bytes;
    int status = omen_input_open(&input, path, why);

    if (status != OMEN_OK)
        return status;
    omen_lines lines = omen_lines_of(input.bytes, input.n_bytes);
    status = check_count(w, &input, omen_lines_count(lines), "line", why);
    while (status == OMEN_OK && omen_lines_next(&lines, &line, &n_bytes))
        status = take_line(w, &input, lines.number, line, n_bytes, why);
    omen_input_close(&input);
    return status;
}

/* The condition that asks for all tags of a row of the matrix: the caller's to free; NULL without memory. */
static char *tags_text(const omen_spmat *m, uint64_t row)
{
    enum { TEST_BYTES = 40 };
    const uint64_t n = m->first[row + 1] - m->first[row];
    char *text = malloc(n * TEST_BYTES + 1);
    size_t length = 0;

    for (uint64_t i = 0; text && i < n; i++) {
        length += (size_t)snprintf(text + length, TEST_BYTES, "%stags HAS %" PRIu32, i > 0 ? " AND " : "",
                                   m->indices[m->first[row] + i]);
    }
    return text;
}

static int read_tags(struct query_where *w, const char *path, omen_detail *why)
{
    omen_spmat m;
    int status = omen_spmat_open(&m, path, why);

    if (status != OMEN_OK)
        return status;
    status = check_count(w, &m.input, m.n_rows, "row", why);
    for (uint64_t row = 0; row < m.n_rows && status == OMEN_OK; row++) {
        omen_detail cause = {.text = ""};
        char *text;

        w->of_query[row] = QUERY_NO_CONDITION;
        if (m.first[row] == m.first[row + 1])
            continue;
        text = tags_text(&m, row);
        status = text ? set_condition(w, row, text, &cause) : no_memory(&cause);
        free(text);
        if (status != OMEN_OK)
            omen_fail(why, status, "%s, row %" PRIu64 ": %.400s", m.input.label, row, cause.text);
    }
    omen_spmat_close(&m);
    return status;
}

int query_where_open(struct query_where *w, const struct query_where_options *options, const omen_index *index,
                     const omen_row_set *listed, uint64_t n_queries, omen_detail *why)
{
    omen_index_info info = {.struct_bytes = sizeof info};
    uint32_t number;
    int status = omen_index_get_info(index, &info);

    if (status != OMEN_OK)
        return status;
    w->index = index;
    w->listed = listed;
    w->n_queries = n_queries;
    w->set_bytes = info.n_rows / 8 + 64;
    if (options->text) {
        status = find_condition(w, options->text, &number, why);
        if (status == OMEN_OK)
            w->conditions[0].n_queries = n_queries;
    } else {
        w->of_query = malloc(n_queries * sizeof *w->of_query);
        if (!w->of_query)
            return no_memory(why);
        status = options->file ? read_lines(w, options->file, why) : read_tags(w, options->tags, why);
    }
    if (status != OMEN_OK)
        return status;
    w->needed = malloc((w->n + 1) * sizeof *w->needed);
    w->kept = malloc((w->n + 1) * sizeof *w->kept);
    return w->needed && w->kept ? OMEN_OK : no_memory(why);
}

void query_where_finish(struct query_where *w)
{
    for (uint32_t i = 0; i < w->n; i++) {
        omen_row_set_destroy(w->conditions[i].set);
        omen_condition_destroy(w->conditions[i].condition);
        free(w->conditions[i].text);
    }
    free(w->conditions);
    free(w->of_query);
    free(w->of_text);
    free(w->needed);
    free(w->kept);
    omen_intern_finish(&w->texts);
    omen_intern_finish(&w->keys);
}

/* ---- sets of rows ---- */

static uint32_t condition_of(const struct query_where *w, uint64_t query)
{
    return w->of_query ? w->of_query[query] : 0;
}

static uint32_t most_sets(const struct query_where *w)
{
    const uint64_t n_few = FEW_BYTES / w->set_bytes, n_most = SETS_BYTES / w->set_bytes;
    const uint64_t n = n_few > BATCH_SETS ? n_few : n_most < BATCH_SETS ? n_most : BATCH_SETS;

    return n < 1 ? 1 : n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

static void need_none(struct query_where *w)
{
    while (w->n_needed > 0)
        w->conditions[w->needed[--w->n_needed]].is_needed = false;
}

static void need(struct query_where *w, uint32_t c)
{
    if (c == QUERY_NO_CONDITION || w->conditions[c].is_needed)
        return;
    w->conditions[c].is_needed = true;
    w->needed[w->n_needed++] = c;
}

uint64_t query_where_fit(struct query_where *w, const uint64_t *numbers, uint64_t first, uint64_t n)
{
    const uint32_t most = most_sets(w);
    uint64_t i = 0;

    if (w->n <= most)
        return n;
    need_none(w);
    for (; i < n; i++) {
        const uint32_t c = condition_of(w, numbers ? numbers[i] : first + i);

        if (w->n_needed == most && c != QUERY_NO_CONDITION && !w->conditions[c].is_needed)
            break;
        need(w, c);
    }
    return i;
}

/* Gives up sets that are not needed, the oldest first, until n more have room. */
static void make_room(struct query_where *w, uint32_t n)
{
    const uint32_t most = most_sets(w), n_before = w->n_kept;
    uint32_t n_left = 0;

    for (uint32_t i = 0; i < n_before; i++) {
        struct query_condition *c = &w->conditions[w->kept[i]];

        if (c->is_needed || w->n_kept + n <= most) {
            w->kept[n_left++] = w->kept[i];
            continue;
        }
        omen_row_set_destroy(c->set);
        c->set = NULL;
        w->n_kept--;
    }
}

/* What of a set is listed, too, in its place. */
static int cut_set(const struct query_where *w, omen_row_set **set, omen_detail *why)
{
    omen_row_set *both;
    int status;

    if (!w->listed)
        return OMEN_OK;
    status = omen_row_set_intersect(*set, w->listed, &both, why);
    if (status != OMEN_OK)
        return status;
    omen_row_set_destroy(*set);
    *set = both;
    return OMEN_OK;
}

/* Evaluates what is needed and not there. */
static int evaluate(struct query_where *w, int n_threads, omen_detail *why)
{
    const omen_condition **conditions = calloc(w->n_needed + 1, sizeof *conditions);
    omen_row_set **sets = calloc(w->n_needed + 1, sizeof *sets);
    uint32_t n = 0;
    int status = conditions && sets ? OMEN_OK : no_memory(why);

    for (uint32_t i = 0; i < w->n_needed && status == OMEN_OK; i++)
        if (!w->conditions[w->needed[i]].set)
            conditions[n++] = w->conditions[w->needed[i]].condition;
    if (status == OMEN_OK) {
        make_room(w, n);
        status = omen_conditions_evaluate(conditions, n, n_threads, sets, NULL, NULL, why);
    }
    for (uint32_t i = 0; i < n && status == OMEN_OK; i++)
        status = cut_set(w, &sets[i], why);
    for (uint32_t i = 0, at = 0; i < w->n_needed && status == OMEN_OK; i++) {
        struct query_condition *c = &w->conditions[w->needed[i]];

        if (c->set)
            continue;
        c->set = sets[at++];
        w->kept[w->n_kept++] = w->needed[i];
    }
    for (uint32_t i = 0; i < n && status != OMEN_OK && sets; i++)
        omen_row_set_destroy(sets[i]);
    free(conditions);
    free(sets);
    return status;
}

int query_where_fill(struct query_where *w, const uint64_t *numbers, uint64_t first, uint64_t n, int n_threads,
                     const omen_row_set **sets, omen_detail *why)
{
    int status;

    need_none(w);
    for (uint64_t i = 0; i < n; i++)
        need(w, condition_of(w, numbers ? numbers[i] : first + i));
    status = evaluate(w, n_threads, why);
    for (uint64_t i = 0; i < n && status == OMEN_OK; i++) {
        const uint32_t c = condition_of(w, numbers ? numbers[i] : first + i);

        sets[i] = c != QUERY_NO_CONDITION ? w->conditions[c].set : w->listed;
    }
    return status;
}

void query_where_forget(struct query_where *w)
{
    while (w->n_kept > 0) {
        struct query_condition *c = &w->conditions[w->kept[--w->n_kept]];

        omen_row_set_destroy(c->set);
        c->set = NULL;
    }
}

int query_where_one(struct query_where *w, uint32_t i, int n_threads, const omen_row_set **set, omen_detail *why)
{
    int status;

    need_none(w);
    need(w, i);
    status = evaluate(w, n_threads, why);
    *set = status == OMEN_OK ? w->conditions[i].set : NULL;
    return status;
}
