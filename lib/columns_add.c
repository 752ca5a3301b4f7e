/* SPDX-License-Identifier: Apache-2.0 */
/* Columns in memory: values are narrowed and dictionaries sorted as they are added. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/columns.h"
#include "lib/matrix.h"

const char *omen_column_type_name(omen_column_type type)
{
    switch (type) {
    case OMEN_COLUMN_INT64:
        return "int64";
    case OMEN_COLUMN_FLOAT32:
        return "float32";
    case OMEN_COLUMN_FLOAT64:
        return "float64";
    case OMEN_COLUMN_TEXT:
        return "text";
    case OMEN_COLUMN_TAG_WORDS:
    case OMEN_COLUMN_TAG_NUMBERS:
        return "tags";
    }
    return "?";
}

void omen_column_lengths(const omen_column_entry *e, uint64_t n_rows, uint64_t bytes[OMEN_N_PARTS])
{
    const bool has_words = omen_column_has_words(e), is_tags = omen_column_is_tags(e);
    bytes[OMEN_PART_NULLS] = e->n_nulls ? (n_rows + 63) / 64 * 8 : 0;
    bytes[OMEN_PART_VALUES] = n_rows * e->width;
    bytes[OMEN_PART_OFFSETS] = has_words ? (e->n_words + 1) * 8 : 0;
    bytes[OMEN_PART_WORDS] = has_words ? e->word_bytes : 0;
    bytes[OMEN_PART_NUMBERS] = is_tags && !has_words ? e->n_words * 4 : 0;
    bytes[OMEN_PART_LISTS] = is_tags ? (e->n_words + 1) * 8 : 0;
    bytes[OMEN_PART_POSTINGS] = is_tags ? e->posting_bytes : 0;
}

/* ---- the set ---- */

int omen_columns_create(omen_columns **out, uint64_t n_rows, omen_detail *why)
{
    *out = NULL;
    if (n_rows < 1 || n_rows > OMEN_MAX_ROWS)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "columns of %llu rows: an index has 1 to %u",
                         (unsigned long long)n_rows, OMEN_MAX_ROWS);
    *out = calloc(1, sizeof **out);
    if (!*out)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for columns");
    (*out)->n_rows = n_rows;
    return OMEN_OK;
}

static void finish_column(omen_made_column *c)
{
    free(c->name);
    free(c->nulls);
    free(c->values);
    free(c->offsets);
    free(c->words);
    free(c->numbers);
    free(c->first);
    free(c->tags);
}

void omen_columns_destroy(omen_columns *columns)
{
    if (!columns)
        return;
    for (uint32_t i = 0; i < columns->n; i++)
        finish_column(&columns->columns[i]);
    free(columns->columns);
    free(columns);
}

uint64_t omen_columns_row_count(const omen_columns *columns)
{
    return columns ? columns->n_rows : 0;
}

uint32_t omen_columns_count(const omen_columns *columns)
{
    return columns ? columns->n : 0;
}

const char *omen_columns_name(const omen_columns *columns, uint32_t i)
{
    return columns && i < columns->n ? columns->columns[i].name : NULL;
}

uint64_t omen_columns_bytes(const omen_columns *columns)
{
    return columns ? columns->n_bytes + columns->n_write_bytes : 0;
}

static int no_memory(const char *name, omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for column \"%.100s\"", name);
}

/* Starts a column outside of the set, which has room for it afterwards. */
static int begin_column(omen_columns *columns, const char *name, omen_column_type type, omen_made_column *out,
                        omen_detail *why)
{
    const size_t n_bytes = strlen(name);
    *out = (omen_made_column){.entry = {.type = type, .name_bytes = (uint32_t)n_bytes}};
    if (n_bytes < 1 || n_bytes > OMEN_MAX_COLUMN_NAME)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the name of a column has 1 to %u bytes, not %zu",
                         OMEN_MAX_COLUMN_NAME, n_bytes);
    for (uint32_t i = 0; i < columns->n; i++)
        if (strcmp(columns->columns[i].name, name) == 0)
            return omen_fail(why, OMEN_ERR_ARGUMENT, "two columns are called \"%s\"", name);
    if (columns->n == OMEN_MAX_COLUMNS)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "column \"%s\" is one too many: an index has %u at most", name,
                         OMEN_MAX_COLUMNS);
    omen_made_column *grown = realloc(columns->columns, (columns->n + 1) * sizeof *grown);
    if (!grown)
        return no_memory(name, why);
    columns->columns = grown;
    out->name = strdup(name);
    return out->name ? OMEN_OK : no_memory(name, why);
}

/* Adds the column that was begun to the set, or frees it. */
static int end_column(omen_columns *columns, omen_made_column *c, int status, omen_detail *why)
{
    if (status != OMEN_OK) {
        if (status == OMEN_ERR_MEMORY)
            no_memory(c->name ? c->name : "", why);
        finish_column(c);
        return status;
    }
    const uint64_t n_tags = c->first ? c->first[columns->n_rows] : 0;
    /* tags are put into order by position: a place for each, and where each list is */
    const uint64_t write_bytes = n_tags * 4 + (c->first ? c->entry.n_words * 24 : 0);
    uint64_t bytes[OMEN_N_PARTS];
    omen_column_lengths(&c->entry, columns->n_rows, bytes);
    for (int part = 0; part < OMEN_N_PARTS; part++)
        columns->n_bytes += bytes[part];
    if (c->first)
        columns->n_bytes += (columns->n_rows + 1) * 8 + n_tags * 4;
    if (write_bytes > columns->n_write_bytes)
        columns->n_write_bytes = write_bytes;
    columns->columns[columns->n++] = *c;
    return OMEN_OK;
}

static bool bit_of(const uint64_t *bits, uint64_t i)
{
    return bits && (bits[i / 64] >> i % 64 & 1);
}

/* ---- numbers ---- */

/* Notes that row i has no value. */
static int set_null(omen_made_column *c, uint64_t n_rows, uint64_t i)
{
    if (!c->nulls)
        c->nulls = omen_alloc_zero((n_rows + 63) / 64, 8);
    if (!c->nulls)
        return OMEN_ERR_MEMORY;
    c->nulls[i / 64] |= (uint64_t)1 << i % 64;
    c->entry.n_nulls++;
    return OMEN_OK;
}

static uint32_t width_of(uint64_t most)
{
    uint32_t width = 1;
    while (width < 8 && most >> 8 * width)
        width++;
    return width;
}

static int make_integers(omen_made_column *c, uint64_t n_rows, const int64_t *values, const uint64_t *nulls)
{
    int64_t least = INT64_MAX, most = INT64_MIN;
    int status = OMEN_OK;
    for (uint64_t i = 0; i < n_rows && status == OMEN_OK; i++) {
        if (bit_of(nulls, i)) {
            status = set_null(c, n_rows, i);
            continue;
        }
        least = values[i] < least ? values[i] : least;
        most = values[i] > most ? values[i] : most;
    }
    if (status != OMEN_OK)
        return status;
    if (least > most)
        least = most = 0;
    c->entry.minimum = least;
    const uint32_t width = c->entry.width = width_of((uint64_t)most - (uint64_t)least);
    c->values = omen_alloc_zero(n_rows, width);
    if (!c->values)
        return OMEN_ERR_MEMORY;
    for (uint64_t i = 0; i < n_rows; i++) {
        const uint64_t value = bit_of(nulls, i) ? 0 : (uint64_t)values[i] - (uint64_t)least;
        memcpy(c->values + i * width, &value, width);
    }
    return OMEN_OK;
}

int omen_columns_add_integers(omen_columns *columns, const char *name, const int64_t *values, const uint64_t *nulls,
                              omen_detail *why)
{
    omen_made_column c;
    int status = begin_column(columns, name, OMEN_COLUMN_INT64, &c, why);
    if (status == OMEN_OK)
        status = make_integers(&c, columns->n_rows, values, nulls);
    return end_column(columns, &c, status, why);
}

static int make_reals(omen_made_column *c, uint64_t n_rows, const double *values, const uint64_t *nulls,
                      omen_detail *why)
{
    const bool rounds = c->entry.type == OMEN_COLUMN_FLOAT32;
    bool is_narrow = true;
    int status = OMEN_OK;
    for (uint64_t i = 0; i < n_rows && status == OMEN_OK; i++) {
        const double x = values[i];
        if (bit_of(nulls, i) || isnan(x))
            status = set_null(c, n_rows, i);
        else if (rounds && isfinite(x) && !isfinite((float)x))
            return omen_fail(why, OMEN_ERR_INPUT, "row %llu of column \"%s\" is %g, beyond float32",
                             (unsigned long long)i, c->name, x);
        else
            is_narrow = is_narrow && (double)(float)x == x;
    }
    if (status != OMEN_OK)
        return status;
    const uint32_t width = c->entry.width = rounds || is_narrow ? 4 : 8;
    c->values = omen_alloc_zero(n_rows, width);
    if (!c->values)
        return OMEN_ERR_MEMORY;
    for (uint64_t i = 0; i < n_rows; i++) {
        const double wide = bit_of(c->nulls, i) ? 0 : values[i];
        const float narrow = (float)wide;
        memcpy(c->values + i * width, width == 4 ? (const void *)&narrow : &wide, width);
    }
    return OMEN_OK;
}

int omen_columns_add_reals(omen_columns *columns, const char *name, omen_column_type type, const double *values,
                           const uint64_t *nulls, omen_detail *why)
{
    omen_made_column c;
    if (type != OMEN_COLUMN_FLOAT32 && type != OMEN_COLUMN_FLOAT64)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "column \"%.100s\": the type has to be float32 or float64", name);
    int status = begin_column(columns, name, type, &c, why);
    if (status == OMEN_OK)
        status = make_reals(&c, columns->n_rows, values, nulls, why);
    return end_column(columns, &c, status, why);
}

/* ---- dictionaries ---- */

static int compare_words(const void *a, const void *b, void *context)
{
    const omen_words *words = context;
    const uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    const uint64_t n_i = words->offsets[i + 1] - words->offsets[i], n_j = words->offsets[j + 1] - words->offsets[j];
    const uint64_t n = n_i < n_j ? n_i : n_j;
    const int order = n ? memcmp(words->bytes + words->offsets[i], words->bytes + words->offsets[j], n) : 0;
    return order ? order : (n_i > n_j) - (n_i < n_j);
}

static int compare_numbers(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Sorts words into the column's dictionary; codes[i] gets the place there of word i. */
static int make_dictionary(omen_made_column *c, const omen_words *words, uint32_t *codes)
{
    uint32_t *order = omen_alloc(words->n + 1, sizeof *order);
    c->offsets = omen_alloc(words->n + 1, sizeof *c->offsets);
    c->words = omen_alloc(words->offsets[words->n] - words->offsets[0] + 1, 1);
    if (!order || !c->offsets || !c->words) {
        free(order);
        return OMEN_ERR_MEMORY;
    }
    for (uint64_t i = 0; i < words->n; i++)
        order[i] = (uint32_t)i;
    qsort_r(order, words->n, sizeof *order, compare_words, (void *)words);
    uint64_t n = 0, n_bytes = 0;
    c->offsets[0] = 0;
    for (uint64_t i = 0; i < words->n; i++) {
        if (i == 0 || compare_words(&order[i - 1], &order[i], (void *)words) != 0) {
            const uint64_t begin = words->offsets[order[i]], length = words->offsets[order[i] + 1] - begin;
            if (length)
                memcpy(c->words + n_bytes, words->bytes + begin, length);
            n_bytes += length;
            c->offsets[++n] = n_bytes;
        }
        codes[order[i]] = (uint32_t)(n - 1);
    }
    free(order);
    c->entry.n_words = n;
    c->entry.word_bytes = n_bytes;
    return OMEN_OK;
}

/* Words that can be added up. */
static int check_words(const omen_made_column *c, const omen_words *words, omen_detail *why)
{
    bool is_sound = words->n < OMEN_NO_TEXT;
    for (uint64_t i = 0; is_sound && i < words->n; i++)
        is_sound = words->offsets[i] <= words->offsets[i + 1];
    return is_sound ? OMEN_OK
                    : omen_fail(why, OMEN_ERR_ARGUMENT, "column \"%s\": the offsets of its words fall, or are too many",
                                c->name);
}

static int make_texts(omen_made_column *c, uint64_t n_rows, const omen_words *texts, const uint32_t *codes,
                      omen_detail *why)
{
    int status = check_words(c, texts, why);
    if (status != OMEN_OK)
        return status;
    uint32_t *sorted = omen_alloc(texts->n + 1, sizeof *sorted);
    status = sorted ? make_dictionary(c, texts, sorted) : OMEN_ERR_MEMORY;
    const uint32_t width = c->entry.width = width_of(c->entry.n_words ? c->entry.n_words - 1 : 0);
    c->values = status == OMEN_OK ? omen_alloc_zero(n_rows, width) : NULL;
    if (status == OMEN_OK && !c->values)
        status = OMEN_ERR_MEMORY;
    for (uint64_t i = 0; i < n_rows && status == OMEN_OK; i++) {
        if (codes[i] == OMEN_NO_TEXT)
            status = set_null(c, n_rows, i);
        else if (codes[i] >= texts->n)
            status = omen_fail(why, OMEN_ERR_ARGUMENT, "row %llu of column \"%s\" has text %u of %llu",
                               (unsigned long long)i, c->name, codes[i], (unsigned long long)texts->n);
        else
            memcpy(c->values + i * width, &sorted[codes[i]], width);
    }
    free(sorted);
    return status;
}

int omen_columns_add_texts(omen_columns *columns, const char *name, const omen_words *texts, const uint32_t *codes,
                           omen_detail *why)
{
    omen_made_column c;
    int status = begin_column(columns, name, OMEN_COLUMN_TEXT, &c, why);
    if (status == OMEN_OK)
        status = make_texts(&c, columns->n_rows, texts, codes, why);
    return end_column(columns, &c, status, why);
}

/* ---- tags ---- */

/* Where numbers are in the dictionary: bits of those that occur, and how many are below each word. */
typedef struct {
    uint64_t *bits;   /* NULL: the numbers are so far apart that they are searched for */
    uint32_t *before; /* of each word */
} number_map;

/* The numbers that occur, rising, by bits. */
static int map_numbers(omen_made_column *c, const uint32_t *tags, uint64_t n, uint64_t n_words, number_map *map)
{
    uint64_t n_distinct = 0;
    map->bits = omen_alloc_zero(n_words, sizeof *map->bits);
    map->before = omen_alloc(n_words, sizeof *map->before);
    if (!map->bits || !map->before)
        return OMEN_ERR_MEMORY;
    for (uint64_t i = 0; i < n; i++)
        map->bits[tags[i] / 64] |= (uint64_t)1 << tags[i] % 64;
    for (uint64_t w = 0; w < n_words; w++) {
        map->before[w] = (uint32_t)n_distinct;
        n_distinct += (uint64_t)__builtin_popcountll(map->bits[w]);
    }
    c->numbers = omen_alloc(n_distinct + 1, sizeof *c->numbers);
    if (!c->numbers)
        return OMEN_ERR_MEMORY;
    for (uint64_t w = 0; w < n_words; w++)
        for (uint64_t rest = map->bits[w]; rest; rest &= rest - 1)
            c->numbers[c->entry.n_words++] = (uint32_t)(64 * w) + (uint32_t)__builtin_ctzll(rest);
    return OMEN_OK;
}

/* The numbers that occur, rising; *map tells where they are, if it is not much larger than the tags. */
static int make_numbers(omen_made_column *c, const uint32_t *tags, uint64_t n, number_map *map)
{
    uint32_t most = 0;
    for (uint64_t i = 0; i < n; i++)
        most = tags[i] > most ? tags[i] : most;
    if (most / 64 < n + 4096)
        return map_numbers(c, tags, n, most / 64 + 1, map);
    c->numbers = omen_alloc(n + 1, sizeof *c->numbers);
    if (!c->numbers)
        return OMEN_ERR_MEMORY;
    memcpy(c->numbers, tags, n * sizeof *tags);
    qsort(c->numbers, n, sizeof *c->numbers, compare_numbers);
    uint64_t n_distinct = 0;
    for (uint64_t i = 0; i < n; i++)
        if (i == 0 || c->numbers[i] != c->numbers[n_distinct - 1])
            c->numbers[n_distinct++] = c->numbers[i];
    c->entry.n_words = n_distinct;
    return OMEN_OK;
}

static uint32_t place_of(const omen_made_column *c, const number_map *map, uint32_t number)
{
    if (map->bits) {
        const uint64_t below = map->bits[number / 64] & (((uint64_t)1 << number % 64) - 1);
        return map->before[number / 64] + (uint32_t)__builtin_popcountll(below);
    }
    const uint32_t *at = bsearch(&number, c->numbers, c->entry.n_words, sizeof *c->numbers, compare_numbers);
    return (uint32_t)(at - c->numbers);
}

static bool rises(const uint32_t *row, size_t n)
{
    bool is_rising = true;
    for (size_t i = 1; i < n; i++)
        is_rising &= row[i - 1] < row[i];
    return is_rising;
}

/* The tags of each row as numbers of the dictionary, rising, each once. sorted has those of words, map of numbers. */
static void fill_tags(omen_made_column *c, uint64_t n_rows, const uint64_t *first, const uint32_t *tags,
                      const uint32_t *sorted, const number_map *map)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < n_rows; i++) {
        uint32_t *row = c->tags + n;
        const size_t n_row = first[i + 1] - first[i];
        size_t n_distinct = 0;
        for (size_t j = 0; j < n_row; j++)
            row[j] = sorted ? sorted[tags[first[i] + j]] : place_of(c, map, tags[first[i] + j]);
        if (!rises(row, n_row))
            qsort(row, n_row, sizeof *row, compare_numbers);
        for (size_t j = 0; j < n_row; j++)
            if (j == 0 || row[j] != row[n_distinct - 1])
                row[n_distinct++] = row[j];
        c->first[i] = n;
        n += n_distinct;
    }
    c->first[n_rows] = n;
}

static int make_tags(omen_made_column *c, uint64_t n_rows, const omen_words *words, const uint64_t *first,
                     const uint32_t *tags, omen_detail *why)
{
    uint32_t *sorted = NULL;
    number_map map = {NULL, NULL};
    int status = words ? check_words(c, words, why) : OMEN_OK;
    for (uint64_t i = 0; i < n_rows && status == OMEN_OK; i++) {
        if (first[i] > first[i + 1])
            status = omen_fail(why, OMEN_ERR_ARGUMENT, "column \"%s\": the tags of row %llu end before they begin",
                               c->name, (unsigned long long)i);
        for (uint64_t j = first[i]; words && j < first[i + 1] && status == OMEN_OK; j++)
            if (tags[j] >= words->n)
                status = omen_fail(why, OMEN_ERR_ARGUMENT, "row %llu of column \"%s\" has word %u of %llu",
                                   (unsigned long long)i, c->name, tags[j], (unsigned long long)words->n);
    }
    if (status != OMEN_OK)
        return status;
    const uint64_t n_tags = first[n_rows] - first[0];
    c->first = omen_alloc(n_rows + 1, sizeof *c->first);
    c->tags = omen_alloc(n_tags + 1, sizeof *c->tags);
    if (!c->first || !c->tags)
        return OMEN_ERR_MEMORY;
    if (words) {
        sorted = omen_alloc(words->n + 1, sizeof *sorted);
        status = sorted ? make_dictionary(c, words, sorted) : OMEN_ERR_MEMORY;
    } else {
        status = make_numbers(c, tags + first[0], n_tags, &map);
    }
    if (status == OMEN_OK)
        fill_tags(c, n_rows, first, tags, sorted, &map);
    free(map.bits);
    free(map.before);
    free(sorted);
    return status;
}

int omen_columns_add_tags(omen_columns *columns, const char *name, const omen_words *words, const uint64_t *first,
                          const uint32_t *tags, omen_detail *why)
{
    omen_made_column c;
    int status = begin_column(columns, name, words ? OMEN_COLUMN_TAG_WORDS : OMEN_COLUMN_TAG_NUMBERS, &c, why);
    if (status == OMEN_OK)
        status = make_tags(&c, columns->n_rows, words, first, tags, why);
    return end_column(columns, &c, status, why);
}
