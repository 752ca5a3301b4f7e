/* SPDX-License-Identifier: Apache-2.0 */
/* omendb bench, filters: which rows each query may find, exact neighbours among them, and searches under them.
 *
 * A search evaluates the conditions of its queries anew, since that is a part of what they cost; files of conditions
 * and of rows are read once, before anything is timed. */
#include "cmd/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Queries whose sets are looked at together. */
#define BLOCK_QUERIES 4096u

/* Sets of rows that a truth of a file is compared with: those of a few are as good as all, and soon listed. */
#define CHECKED_SETS 100u

/* ---- what each query may find ---- */

static uint64_t n_rows_of(const struct bench *b, const omen_row_set *set)
{
    return set ? omen_row_set_count(set) : b->info.n_rows;
}

static int compare_counts(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* The sets of n queries from the first on; fewer where they do not fit in memory: *n says how many. */
static int fill_sets(struct bench *b, uint64_t first, uint64_t *n, int n_threads, omen_detail *why)
{
    struct bench_filter *f = &b->filter;

    *n = query_filter_fit(&f->rows, NULL, first, *n);
    return cmd_name_damage(b->index_path, query_filter_fill(&f->rows, NULL, first, *n, n_threads, f->sets, why), why);
}

static int count_matches(struct bench *b, omen_detail *why)
{
    struct bench_filter *f = &b->filter;
    int status = OMEN_OK;

    for (uint64_t first = 0, n; status == OMEN_OK && first < b->n_queries; first += n) {
        n = b->n_queries - first < BLOCK_QUERIES ? b->n_queries - first : BLOCK_QUERIES;
        cmd_progress_update(&b->progress, "filters", first, b->n_queries);
        if (cmd_signals_noted() != 0)
            return OMEN_ERR_INTERRUPTED;
        status = fill_sets(b, first, &n, b->options->n_threads, why);
        for (uint64_t i = 0; status == OMEN_OK && i < n; i++)
            f->n_matches[first + i] = n_rows_of(b, f->sets[i]);
    }
    return status;
}

/* Least, mean, median and most of them. */
static int summarize_matches(struct bench *b)
{
    struct bench_filter *f = &b->filter;
    uint64_t *sorted = malloc(b->n_queries * sizeof *sorted);

    if (!sorted)
        return OMEN_ERR_MEMORY;
    memcpy(sorted, f->n_matches, b->n_queries * sizeof *sorted);
    qsort(sorted, b->n_queries, sizeof *sorted, compare_counts);
    f->least = sorted[0];
    f->median = sorted[b->n_queries / 2];
    f->most = sorted[b->n_queries - 1];
    for (uint64_t q = 0; q < b->n_queries; q++)
        f->n_compared += sorted[q];
    free(sorted);
    return OMEN_OK;
}

/* Two filters with one hash let queries find the same rows of the same data: it is over the rows listed, and over what
 * the condition of each query means and how many rows meet it. */
static int hash_filter(struct bench *b, omen_detail *why)
{
    struct bench_filter *f = &b->filter;
    const struct query_where *w = &f->rows.where;
    XXH3_state_t *state = XXH3_createState();
    uint64_t *listed = NULL, n_listed = 0;
    int status = state ? OMEN_OK : OMEN_ERR_MEMORY;

    if (status == OMEN_OK && f->rows.listed)
        status = bench_filter_rows(b, f->rows.listed, &listed, &n_listed, why);
    if (status == OMEN_OK) {
        XXH3_64bits_reset(state);
        XXH3_64bits_update(state, listed, n_listed * sizeof *listed);
        XXH3_64bits_update(state, f->n_matches, b->n_queries * sizeof *f->n_matches);
        for (uint64_t q = 0; f->rows.has_conditions && q < (w->of_query ? b->n_queries : 1); q++) {
            const uint32_t c = w->of_query ? w->of_query[q] : 0;
            const char *key = c == QUERY_NO_CONDITION ? "" : omen_condition_key(w->conditions[c].condition);

            XXH3_64bits_update(state, key, strlen(key) + 1);
        }
        f->hash = XXH3_64bits_digest(state);
    }
    XXH3_freeState(state);
    free(listed);
    return status;
}

int bench_open_filter(struct bench *b, omen_detail *why)
{
    struct query_filter_options options = b->options->filter;
    struct bench_filter *f = &b->filter;
    int status;

    if (!query_filter_is_asked(&options))
        return OMEN_OK;
    if (b->info.refine == OMEN_REFINE_NONE)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "filters are measured with a refine tier, and the index has none");
    options.by_key = b->info.key_kind != OMEN_KEYS_NONE && !b->options->rows;
    f->n_matches = malloc(b->n_queries * sizeof *f->n_matches);
    f->sets = malloc(b->n_queries * sizeof *f->sets);
    status = f->n_matches && f->sets ? OMEN_OK : OMEN_ERR_MEMORY;
    if (status == OMEN_OK)
        status = query_filter_open(&f->rows, &options, b->index, b->n_queries, why);
    status = cmd_name_damage(b->index_path, status, why);
    if (status == OMEN_OK)
        status = count_matches(b, why);
    if (status == OMEN_OK)
        status = summarize_matches(b);
    if (status == OMEN_OK && f->most == 0)
        status = omen_fail(why, OMEN_ERR_ARGUMENT, "no row passes the filter of any query: there is no recall");
    if (status == OMEN_OK)
        status = hash_filter(b, why);
    f->is_given = status == OMEN_OK;
    return status;
}

void bench_finish_filter(struct bench *b)
{
    query_filter_finish(&b->filter.rows);
    free(b->filter.n_matches);
    free(b->filter.sets);
}

int bench_filter_rows(const struct bench *b, const omen_row_set *set, uint64_t **numbers, uint64_t *n, omen_detail *why)
{
    const uint64_t n_words = b->info.n_rows / 64 + 1;
    uint64_t *bits = calloc(n_words, sizeof *bits);
    omen_index_rows *rows = NULL;
    uint64_t at = 0;
    int status = bits ? OMEN_OK : OMEN_ERR_MEMORY;

    *n = omen_row_set_count(set);
    *numbers = malloc((*n + 1) * sizeof **numbers);
    if (!*numbers)
        status = OMEN_ERR_MEMORY;
    if (status == OMEN_OK)
        status = cmd_name_damage(b->index_path, omen_index_rows_open_set(&rows, b->index, set, why), why);
    for (uint64_t i = 0; status == OMEN_OK && i < *n; i++) { /* they come in the order of the lists */
        const uint64_t row = omen_index_rows_number(rows, i);

        bits[row / 64] |= (uint64_t)1 << row % 64;
    }
    for (uint64_t word = 0; status == OMEN_OK && word < n_words; word++)
        for (uint64_t left = bits[word]; left != 0; left &= left - 1)
            (*numbers)[at++] = word * 64 + (uint64_t)__builtin_ctzll(left);
    omen_index_rows_close(rows);
    free(bits);
    if (status != OMEN_OK) {
        free(*numbers);
        *numbers = NULL;
    }
    return status;
}

/* ---- search ---- */

int bench_search(struct bench *b, const omen_search_options *options, uint64_t first, uint64_t n_queries, int64_t *ids,
                 float *distances, omen_search_stats *stats, omen_detail *why)
{
    omen_search_options search = *options;
    int status = OMEN_OK;

    if (b->filter.is_given)
        query_filter_forget(&b->filter.rows);
    for (uint64_t done = 0, n; status == OMEN_OK && done < n_queries; done += n) {
        n = n_queries - done;
        search.first_query = first + done;
        if (b->filter.is_given) {
            status = fill_sets(b, first + done, &n, search.n_threads, why);
            search.row_sets = b->filter.sets;
        }
        if (status == OMEN_OK) {
            status =
                omen_index_search(b->index, &search, b->queries + (first + done) * b->info.d, n, ids + done * search.k,
                                  distances ? distances + done * search.k : NULL, stats, why);
            status = cmd_name_damage(b->index_path, status, why);
        }
    }
    return status;
}

/* ---- exact neighbours in the base ---- */

/* Some rows of the base as a source. */
struct subset {
    const omen_source *base;
    const uint64_t *numbers; /* rising */
};

static int read_subset(void *self, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    const struct subset *s = self;

    for (uint64_t run; n > 0; first += run, n -= run) {
        int status;

        for (run = 1; run < n && s->numbers[first + run] == s->numbers[first] + run;)
            run++;
        status = s->base->read(s->base->self, s->numbers[first], run, out, why);
        if (status != OMEN_OK)
            return status;
        out += run * s->base->d;
    }
    return OMEN_OK;
}

/* Queries that may find the same rows, and room for what they find. */
struct group {
    uint64_t *members; /* of n_queries */
    uint64_t n;
    float *queries, *distances;
    int64_t *ids;
};

static int group_init(struct group *g, uint64_t size, uint32_t d, uint32_t k)
{
    g->members = malloc(size * sizeof *g->members);
    g->queries = malloc(size * d * sizeof *g->queries);
    g->distances = malloc(size * k * sizeof *g->distances);
    g->ids = malloc(size * k * sizeof *g->ids);
    return g->members && g->queries && g->distances && g->ids ? OMEN_OK : OMEN_ERR_MEMORY;
}

static void group_finish(struct group *g)
{
    free(g->members);
    free(g->queries);
    free(g->distances);
    free(g->ids);
}

/* Takes the queries of block `first` to `first` + n with the set of query `first` + i, which have none before it. */
static void take_group(struct group *g, const struct bench *b, uint64_t first, uint64_t i, uint64_t n)
{
    const omen_row_set *const *sets = b->filter.sets;
    const uint64_t d = b->info.d;

    g->n = 0;
    for (uint64_t j = i; j < n; j++) {
        if (sets[j] != sets[i])
            continue;
        memcpy(g->queries + g->n * d, b->queries + (first + j) * d, d * sizeof *g->queries);
        g->members[g->n++] = first + j;
    }
}

static bool is_first_of_set(const omen_row_set *const *sets, uint64_t i)
{
    for (uint64_t j = 0; j < i; j++)
        if (sets[j] == sets[i])
            return false;
    return true;
}

/* Searches the base for the queries of a group, among the rows of their set. */
static int search_group(struct bench *b, struct group *g, const omen_row_set *set, uint32_t k, float *distances,
                        omen_progress_fn progress, void *context, omen_detail *why)
{
    struct subset subset = {.base = &b->base};
    omen_source source = b->base;
    uint64_t *numbers = NULL, n_numbers = 0;
    int status = set ? bench_filter_rows(b, set, &numbers, &n_numbers, why) : OMEN_OK;

    subset.numbers = numbers;
    if (set)
        source = (omen_source){
            .self = &subset, .n_rows = n_numbers, .d = b->base.d, .element_bytes = 4, .read = read_subset};
    if (status == OMEN_OK && source.n_rows > 0)
        status = omen_source_search(&source, b->info.metric, k, g->queries, g->n, b->options->n_threads, g->ids,
                                    g->distances, progress, context, why);
    for (uint64_t i = 0; status == OMEN_OK && i < g->n * k; i++) {
        const uint64_t to = g->members[i / k] * k + i % k;
        const bool is_found = source.n_rows > 0 && g->ids[i] != OMEN_NO_ROW;

        /* analyzer: bench_filter_rows() filled as many numbers as it says */
        b->truth.ids[to] = !is_found ? OMEN_NO_ROW : set ? (int64_t)numbers[g->ids[i]] : g->ids[i];
        distances[to] = is_found ? g->distances[i] : INFINITY;
    }
    free(numbers);
    return status;
}

int bench_filter_truth(struct bench *b, uint32_t k, float *distances, omen_progress_fn progress, void *context,
                       uint64_t *first, omen_detail *why)
{
    const uint64_t size = b->n_queries < BLOCK_QUERIES ? b->n_queries : BLOCK_QUERIES;
    struct group g = {.n = 0};
    int status = group_init(&g, size, b->info.d, k);

    for (uint64_t n; status == OMEN_OK && *first < b->n_queries; *first += n) {
        n = b->n_queries - *first < size ? b->n_queries - *first : size;
        status = fill_sets(b, *first, &n, b->options->n_threads, why);
        for (uint64_t i = 0; status == OMEN_OK && i < n; i++) {
            if (!is_first_of_set(b->filter.sets, i))
                continue;
            take_group(&g, b, *first, i, n);
            status = search_group(b, &g, b->filter.sets[i], k, distances, progress, context, why);
        }
    }
    group_finish(&g);
    return status;
}

/* ---- a truth from elsewhere ---- */

static bool is_listed(const uint64_t *numbers, uint64_t n, uint64_t row)
{
    uint64_t low = 0, high = n;

    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;

        if (numbers[middle] < row)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && numbers[low] == row;
}

/* That the true rows of queries from `first` on that have the set of the first of them are in it. */
static int check_set(const struct bench *b, uint64_t first, const omen_row_set *set, uint64_t i, uint64_t n,
                     omen_detail *why)
{
    const uint32_t k = b->truth.k;
    uint64_t *numbers, n_numbers;
    int status = bench_filter_rows(b, set, &numbers, &n_numbers, why);

    for (uint64_t j = i; status == OMEN_OK && j < n; j++) {
        const int64_t *ids = b->truth.ids + (first + j) * k;

        if (b->filter.sets[j] != set)
            continue;
        for (uint32_t at = 0; at < omen_found_count(ids, k); at++) {
            if (is_listed(numbers, n_numbers, (uint64_t)ids[at]))
                continue;
            status = omen_fail(why, OMEN_ERR_INPUT,
                               "\"%s\" is not the truth under this filter: row %lld of query %llu does not pass it",
                               b->options->truth_path, (long long)ids[at], (unsigned long long)(first + j));
            break;
        }
    }
    free(numbers);
    return status;
}

int bench_filter_check_truth(struct bench *b, omen_detail *why)
{
    const uint32_t k = b->truth.k;
    uint32_t n_checked = 0;
    int status = OMEN_OK;

    for (uint64_t q = 0; q < b->n_queries; q++) {
        const uint64_t n_true = omen_found_count(b->truth.ids + q * k, k), n = b->filter.n_matches[q];

        if (n_true != (n < k ? n : k)) {
            return omen_fail(why, OMEN_ERR_INPUT,
                             "\"%s\" is not the truth under this filter: it has %llu neighbours of query %llu, and "
                             "%llu rows pass",
                             b->options->truth_path, (unsigned long long)n_true, (unsigned long long)q,
                             (unsigned long long)n);
        }
    }
    for (uint64_t first = 0, n; status == OMEN_OK && n_checked < CHECKED_SETS && first < b->n_queries; first += n) {
        n = b->n_queries - first < BLOCK_QUERIES ? b->n_queries - first : BLOCK_QUERIES;
        status = fill_sets(b, first, &n, b->options->n_threads, why);
        for (uint64_t i = 0; status == OMEN_OK && i < n && n_checked < CHECKED_SETS; i++) {
            if (!b->filter.sets[i] || !is_first_of_set(b->filter.sets, i))
                continue;
            status = check_set(b, first, b->filter.sets[i], i, n, why);
            n_checked++;
        }
    }
    return status;
}
