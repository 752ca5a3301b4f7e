/* SPDX-License-Identifier: Apache-2.0 */
/* Sections of an index, with whatever they say: what can be opened is checked, and searched in every way. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"

#define N_QUERIES 4u
#define K         7u
#define ROWS_MOST 4096u /* of a self search and of keys */

static const char *const levels[] = {"scalar", "avx2", "avx512", "avx512vnni", "neon"};

/* What one search gave. */
typedef struct answer {
    int status;
    int64_t ids[N_QUERIES * K];
    float distances[N_QUERIES * K];
} answer;

static void note_fault(void *context, const char *section, const char *text)
{
    FUZZ_REQUIRE(strlen(section) == 4 && text[0] != '\0', "a fault without a place");
    ++*(unsigned *)context;
}

/* Rows that exist, each once, nearest first. */
static void check_order(const int64_t *ids, const float *distances, uint64_t n, uint64_t n_rows)
{
    for (uint64_t i = 0; i < n; i++) {
        FUZZ_REQUIRE(ids[i] >= 0 && (uint64_t)ids[i] < n_rows, "row %lld of %llu", (long long)ids[i],
                     (unsigned long long)n_rows);
        FUZZ_REQUIRE(isfinite(distances[i]), "distance %g", (double)distances[i]);
        if (i > 0)
            FUZZ_REQUIRE(distances[i] > distances[i - 1] || (distances[i] == distances[i - 1] && ids[i] > ids[i - 1]),
                         "row %lld at %.9g behind row %lld at %.9g", (long long)ids[i], (double)distances[i],
                         (long long)ids[i - 1], (double)distances[i - 1]);
    }
}

/* The queries: two that are like the rows, one that is not, zeros or rows of the index. */
static void make_queries(const omen_index *index, const omen_index_info *info, float *queries)
{
    const uint64_t rows[2] = {0, info->n_rows - 1};
    omen_index_rows *own = NULL;

    for (size_t i = 0; i < (size_t)N_QUERIES * info->d; i++)
        queries[i] = (float)((i * 2654435761u >> 16) % 64) / 8 * (i / info->d == 2 ? -1e4f : 1);
    if (omen_index_rows_open(&own, index, rows, 2, NULL) == OMEN_OK) {
        const omen_source source = omen_index_rows_source(own);
        float *row = malloc(info->d * sizeof *row);
        double norm2 = 0;

        FUZZ_REQUIRE(row, "%u values", info->d);
        if (source.read(source.self, 1, 1, row, NULL) == OMEN_OK) {
            for (uint32_t j = 0; j < info->d; j++)
                norm2 += (double)row[j] * (double)row[j];
            if (norm2 > 0 && norm2 < 0.9e37)
                memcpy(queries + (size_t)3 * info->d, row, info->d * sizeof *row);
        }
        free(row);
    }
    omen_index_rows_close(own);
}

/* The same search by every SIMD level and two numbers of threads. An index that is sound is searched. */
static bool search(const omen_index *index, omen_search_options options, const omen_index_info *info,
                   const float *queries, bool is_sound, const char *what, answer *first)
{
    omen_detail why = {""};
    answer *other = malloc(sizeof *other);

    FUZZ_REQUIRE(other, "%s", what);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        answer *a = i == 0 ? first : other;

        if (omen_cpu_select(levels[i], NULL) != OMEN_OK)
            continue;
        options.n_threads = i == 1 ? 2 : 1;
        a->status = omen_index_search(index, &options, queries, N_QUERIES, a->ids, a->distances, NULL, &why);
        FUZZ_REQUIRE(a->status != OMEN_ERR_CORRUPT || !is_sound, "%s: sound, but %s", what, why.text);
        FUZZ_REQUIRE(a->status != OMEN_ERR_MEMORY, "%s: %s", what, why.text);
        if (i == 0)
            continue;
        FUZZ_REQUIRE(a->status == first->status, "%s, %s: %d, not %d", what, levels[i], a->status, first->status);
        if (a->status == OMEN_OK)
            FUZZ_REQUIRE(memcmp(a->ids, first->ids, sizeof a->ids) == 0 &&
                             memcmp(a->distances, first->distances, sizeof a->distances) == 0,
                         "%s: %s differs", what, levels[i]);
    }
    free(other);
    FUZZ_REQUIRE(omen_cpu_select(NULL, NULL) == OMEN_OK, "best level");
    for (uint32_t q = 0; first->status == OMEN_OK && q < N_QUERIES && is_sound; q++) {
        const uint32_t n = omen_found_count(first->ids + q * K, K);

        check_order(first->ids + q * K, first->distances + q * K, n, info->n_rows);
    }
    return first->status == OMEN_OK;
}

static void search_within(const omen_index *index, omen_search_options options, const omen_index_info *info,
                          const float *queries, bool is_sound, float within)
{
    omen_found *first = NULL, *found = NULL;
    omen_detail why = {""};
    int first_status = OMEN_OK;

    options.has_within = true;
    options.within = within;
    options.k = 0;
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
        if (omen_cpu_select(levels[i], NULL) != OMEN_OK)
            continue;
        options.n_threads = i == 1 ? 2 : 1;
        const int status =
            omen_index_search_within(index, &options, queries, N_QUERIES, i == 0 ? &first : &found, NULL, &why);

        FUZZ_REQUIRE(status != OMEN_ERR_CORRUPT || !is_sound, "within: sound, but %s", why.text);
        FUZZ_REQUIRE(i == 0 || status == first_status, "within, %s: %d, not %d", levels[i], status, first_status);
        first_status = status;
        if (i > 0 && status == OMEN_OK) {
            const uint64_t n = first->first[N_QUERIES];

            FUZZ_REQUIRE(n == found->first[N_QUERIES] && memcmp(first->ids, found->ids, n * sizeof *first->ids) == 0 &&
                             memcmp(first->distances, found->distances, n * sizeof *first->distances) == 0,
                         "within: %s differs", levels[i]);
        }
        omen_found_destroy(found);
        found = NULL;
    }
    FUZZ_REQUIRE(omen_cpu_select(NULL, NULL) == OMEN_OK, "best level");
    for (uint64_t q = 0; first && q < N_QUERIES && is_sound; q++) {
        const uint64_t at = first->first[q], n = first->first[q + 1] - at;

        check_order(first->ids + at, first->distances + at, n, info->n_rows);
        for (uint64_t i = 0; i < n; i++)
            FUZZ_REQUIRE(first->distances[at + i] <= within, "%g is beyond %g", (double)first->distances[at + i],
                         (double)within);
    }
    omen_found_destroy(first);
}

/* What rows found, each once. */
typedef struct seen {
    uint8_t *rows;
    uint64_t n_rows;
    bool is_sound;
} seen;

static int take(void *context, const int64_t *rows, const omen_found *found, omen_detail *why)
{
    seen *s = context;

    (void)why;
    for (uint64_t i = 0; i < found->n_queries; i++) {
        FUZZ_REQUIRE(rows[i] >= 0 && (uint64_t)rows[i] < s->n_rows, "row %lld", (long long)rows[i]);
        FUZZ_REQUIRE(!s->rows[rows[i]] || !s->is_sound, "row %lld twice", (long long)rows[i]);
        s->rows[rows[i]] = 1;
        for (uint64_t j = found->first[i]; j < found->first[i + 1] && s->is_sound; j++)
            FUZZ_REQUIRE(found->ids[j] != rows[i], "row %lld finds itself", (long long)rows[i]);
    }
    return OMEN_OK;
}

static void search_self(const omen_index *index, const omen_index_info *info, bool is_sound)
{
    omen_search_options options;
    seen s = {calloc(info->n_rows, 1), info->n_rows, is_sound};
    omen_detail why = {""};

    FUZZ_REQUIRE(s.rows, "%llu rows", (unsigned long long)info->n_rows);
    omen_search_options_init(&options);
    options.k = 3;
    options.n_threads = 1;
    options.zero_ok = true;
    const int status = omen_index_search_self(index, &options, NULL, 0, take, &s, NULL, &why);

    FUZZ_REQUIRE(status != OMEN_ERR_CORRUPT || !is_sound, "self: sound, but %s", why.text);
    for (uint64_t i = 0; status == OMEN_OK && is_sound && i < info->n_rows; i++)
        FUZZ_REQUIRE(s.rows[i], "row %llu did not search", (unsigned long long)i);
    free(s.rows);
}

/* A key's row is one that has the key. */
static void look_up_keys(const omen_index *index, const omen_index_info *info, bool is_sound)
{
    omen_row_key key, other;
    omen_detail why = {""};
    int64_t row;

    for (uint64_t i = 0; i < info->n_rows && info->key_kind != OMEN_KEYS_NONE; i++) {
        if (omen_index_key_of(index, i, &key, &why) != OMEN_OK) {
            FUZZ_REQUIRE(!is_sound, "sound, but %s", why.text);
            continue;
        }
        const int status = omen_index_row_of_key(index, &key, &row, &why);

        FUZZ_REQUIRE(!is_sound || (status == OMEN_OK && row >= 0 && (uint64_t)row <= i), "row %llu: %d, %s",
                     (unsigned long long)i, status, why.text);
        if (status != OMEN_OK || row == OMEN_NO_ROW)
            continue;
        FUZZ_REQUIRE((uint64_t)row < info->n_rows, "row %lld", (long long)row);
        if (is_sound && omen_index_key_of(index, (uint64_t)row, &other, &why) == OMEN_OK)
            FUZZ_REQUIRE(key.number == other.number && key.n_bytes == other.n_bytes &&
                             (key.n_bytes == 0 || memcmp(key.text, other.text, key.n_bytes) == 0),
                         "row %llu", (unsigned long long)i);
    }
}

/* A set of rows by a condition on the first column, where there is one; else every third row. */
static omen_row_set *select_rows(const omen_index *index, const omen_index_info *info, bool is_sound)
{
    omen_column_info column = {.struct_bytes = sizeof column};
    omen_condition *condition = NULL;
    omen_row_set *set = NULL;
    omen_detail why = {""};
    int64_t ids[64], n = 0;

    for (uint32_t i = 0; i < info->n_columns; i++) {
        omen_column_range range = {.struct_bytes = sizeof range};
        char text[3 * OMEN_MAX_COLUMN_NAME + 64], *to = text;

        if (omen_index_get_column(index, i, &column) != OMEN_OK)
            continue;
        const int status = omen_index_get_column_range(index, i, &range, &why);

        FUZZ_REQUIRE(status == OMEN_OK || !is_sound, "sound, but %s", why.text);
        *to++ = '"';
        for (uint32_t j = 0; j < column.name_bytes; j++) {
            if (column.name[j] == '"')
                *to++ = '"';
            *to++ = column.name[j];
        }
        strcpy(to, column.type == OMEN_COLUMN_TEXT          ? "\" < 'c'"
                   : column.type == OMEN_COLUMN_TAG_WORDS   ? "\" HAS 'red'"
                   : column.type == OMEN_COLUMN_TAG_NUMBERS ? "\" HAS 3"
                                                            : "\" <= 20");
        const int status_of_text = omen_condition_create(index, text, &condition, &why);

        if (status_of_text == OMEN_OK) {
            omen_row_set *other = NULL;
            const int status_of_set =
                omen_conditions_evaluate((const omen_condition *const *)&condition, 1, 1, &other, NULL, NULL, &why);

            FUZZ_REQUIRE(status_of_set == OMEN_OK || !is_sound, "sound, but %s", why.text);
            omen_row_set_destroy(set);
            set = other;
        }
        omen_condition_destroy(condition);
        condition = NULL;
    }
    for (uint64_t i = 0; i < info->n_rows && n < 64; i += 3)
        ids[n++] = (int64_t)i;
    if (!set && omen_row_set_create(index, ids, (uint64_t)n, false, &set, &why) != OMEN_OK)
        FUZZ_REQUIRE(!is_sound, "sound, but %s", why.text);
    return set;
}

static void search_all_ways(const omen_index *index, const omen_index_info *info, bool is_sound)
{
    float *queries = calloc((size_t)N_QUERIES * info->d, sizeof *queries);
    answer *a = malloc(sizeof *a), *b = malloc(sizeof *b);
    omen_search_options options;
    omen_joint *joint = NULL;
    omen_detail why = {""};
    const omen_index *const both[] = {index, index};

    FUZZ_REQUIRE(queries && a && b, "%u dimensions", info->d);
    make_queries(index, info, queries);
    omen_search_options_init(&options);
    options.k = K;
    options.zero_ok = true;
    options.way = OMEN_SEARCH_LISTS;
    search(index, options, info, queries, is_sound, "lists", a);
    options.lists.probes = info->lists.n;
    options.rerank = (uint32_t)(info->n_rows < 1000 ? info->n_rows : 1000);
    search(index, options, info, queries, is_sound, "all lists", a);
    options.lists.probes = options.rerank = 0;
    options.way = OMEN_SEARCH_AUTO;
    if (info->graph.degree > 0) {
        options.way = OMEN_SEARCH_GRAPH;
        search(index, options, info, queries, is_sound, "graph", b);
    }
    options.way = OMEN_SEARCH_EXACT;
    if (info->refine != OMEN_REFINE_NONE && search(index, options, info, queries, is_sound, "exact", b)) {
        options.exact = true;
        search_within(index, options, info, queries, is_sound, b->distances[2]);
        options.exact = false;
        options.way = OMEN_SEARCH_LISTS;
        search_within(index, options, info, queries, is_sound, b->distances[2]);
        if (info->n_rows <= ROWS_MOST)
            search_self(index, info, is_sound);
    }
    options.way = OMEN_SEARCH_AUTO;
    omen_row_set *set = select_rows(index, info, is_sound);

    if (set) {
        const omen_row_set *const sets[N_QUERIES] = {set, NULL, set, set};

        options.row_sets = sets;
        search(index, options, info, queries, is_sound, "filter", a);
        options.row_sets = NULL;
    }
    omen_row_set_destroy(set);
    if (omen_joint_create(&joint, both, NULL, 2, &why) == OMEN_OK) {
        options.n_threads = 1;
        const int status = omen_joint_search(joint, &options, queries, N_QUERIES, a->ids, a->distances, NULL, &why);

        FUZZ_REQUIRE(status != OMEN_ERR_CORRUPT || !is_sound, "joint: sound, but %s", why.text);
    }
    omen_joint_destroy(joint);
    free(queries);
    free(a);
    free(b);
}

void fuzz_index(const uint8_t *data, size_t n_bytes)
{
    fuzz_part parts[FUZZ_MAX_PARTS];
    const size_t n = fuzz_parts(data, n_bytes, parts);
    omen_container *container = NULL;
    omen_index *index = NULL;
    omen_detail why = {""};
    unsigned n_faults = 0;

    fuzz_write_container("x.omen", parts, n);
    /* what this file itself takes is small; a thread of a search has its own tables */
    fuzz_limit_memory(n_bytes + 4096 * (2 * n + 2));
    if (omen_container_open(&container, "x.omen", &why) == OMEN_OK) {
        const int status = omen_container_open_index(&container, &index, "x.omen", UINT64_MAX, true, &why);

        FUZZ_REQUIRE((status == OMEN_OK) == !!index && (index || why.text[0] != '\0'), "%d", status);
    }
    if (index) {
        omen_index_info info = {.struct_bytes = sizeof info};
        const int status = omen_index_check(index, note_fault, &n_faults);

        FUZZ_REQUIRE((status == OMEN_OK) == (n_faults == 0), "%d: %u faults", status, n_faults);
        FUZZ_REQUIRE(omen_index_get_info(index, &info) == OMEN_OK, "info");
        search_all_ways(index, &info, status == OMEN_OK);
        if (info.n_rows <= ROWS_MOST)
            look_up_keys(index, &info, status == OMEN_OK);
    }
    omen_index_close(index);
    omen_container_close(container);
    fuzz_lift_limit();
}

void fuzz_index_seeds(void)
{
    static const fuzz_recipe recipes[] = {
        {OMEN_METRIC_L2, OMEN_CODEC_PQ, OMEN_REFINE_SQ8, 40, 5, false, false, false, false},
        {OMEN_METRIC_IP, OMEN_CODEC_RABITQ, OMEN_REFINE_F16, 40, 5, false, false, false, false},
        {OMEN_METRIC_COSINE, OMEN_CODEC_PQ, OMEN_REFINE_SQ12, 40, 6, false, false, false, false},
        {OMEN_METRIC_L2, OMEN_CODEC_NONE, OMEN_REFINE_F32, 30, 3, false, false, false, false},
        {OMEN_METRIC_L2, OMEN_CODEC_RABITQ, OMEN_REFINE_NONE, 40, 6, false, false, false, false},
        {OMEN_METRIC_IP, OMEN_CODEC_PQ, OMEN_REFINE_SQ16, 33, 4, true, false, false, false},
        {OMEN_METRIC_L2, OMEN_CODEC_PQ, OMEN_REFINE_SQ8, 40, 4, true, false, false, false},
        {OMEN_METRIC_COSINE, OMEN_CODEC_RABITQ, OMEN_REFINE_F32, 20, 4, false, true, false, false},
        {OMEN_METRIC_L2, OMEN_CODEC_NONE, OMEN_REFINE_SQ8, 40, 2, false, false, true, false},
        {OMEN_METRIC_L2, OMEN_CODEC_PQ, OMEN_REFINE_SQ16, 24, 3, true, true, true, false},
    };

    for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++) {
        fuzz_make_index("seed.omen", &recipes[i]);
        fuzz_seed_container("seed.omen");
        fuzz_clean();
    }
}
