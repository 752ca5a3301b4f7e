/* SPDX-License-Identifier: Apache-2.0 */
/* Columns of an open index. COLS is checked when the index is opened, a column's values and dictionary when they are
 * first used, the postings of a tag likewise. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/columns_order.h"
#include "lib/sized.h"

/* ---- COLS ---- */

static int fail_entry(const omen_section_list *list, uint32_t i, const char *what)
{
    return omen_fail(list->why, OMEN_ERR_CORRUPT, "section COLS: column %u has an impossible %s", i, what);
}

/* Whether the entry may be there; its lengths can be added up then. */
static int check_entry(const omen_section_list *list, const omen_column_entry *e, uint32_t i, uint64_t n_rows,
                       uint64_t n_bytes)
{
    const bool has_words = omen_column_has_words(e), is_tags = omen_column_is_tags(e);
    if (e->type > OMEN_COLUMN_TAG_NUMBERS)
        return omen_fail(list->why, OMEN_ERR_UNSUPPORTED, "section COLS: column %u is of a newer version", i);
    if (is_tags                          ? e->width != 0
        : e->type == OMEN_COLUMN_FLOAT64 ? e->width != 4 && e->width != 8
                                         : e->width < 1 || e->width > (e->type == OMEN_COLUMN_INT64 ? 8 : 4) ||
                                               (e->type == OMEN_COLUMN_FLOAT32 && e->width != 4))
        return fail_entry(list, i, "width");
    if (e->type != OMEN_COLUMN_INT64 && e->minimum)
        return fail_entry(list, i, "least value");
    if (e->n_nulls > n_rows || (is_tags && e->n_nulls))
        return fail_entry(list, i, "count of rows without a value");
    if (e->n_words > UINT32_MAX || e->word_bytes > n_bytes || e->posting_bytes > n_bytes ||
        (!has_words && e->word_bytes) || (!has_words && !is_tags && e->n_words) || (!is_tags && e->posting_bytes))
        return fail_entry(list, i, "dictionary");
    if (e->name_bytes < 1 || e->name_bytes > OMEN_MAX_COLUMN_NAME)
        return fail_entry(list, i, "name");
    if (e->zero[0] || e->zero[1] || e->zero[2])
        return fail_entry(list, i, "reserved field");
    return OMEN_OK;
}

static bool is_named(const omen_column *c, const char *name, size_t n_bytes)
{
    return c->entry.name_bytes == n_bytes && memcmp(c->name, name, n_bytes) == 0;
}

/* Takes the next column; *at and *name go on behind it. */
static int open_column(omen_index *index, const omen_section_list *list, const omen_section *cols,
                       const omen_section *cval, uint64_t *at, uint64_t *name)
{
    const uint32_t i = index->n_columns;
    omen_column *c = &index->columns[i];
    memcpy(&c->entry, (const char *)cols->data + 8 + (uint64_t)i * sizeof c->entry, sizeof c->entry);
    const int status = check_entry(list, &c->entry, i, index->meta.n_rows, cval->n_bytes);
    if (status != OMEN_OK)
        return status;
    c->name = (const char *)cols->data + *name;
    if (c->entry.name_bytes > cols->n_bytes - *name || memchr(c->name, '\0', c->entry.name_bytes))
        return fail_entry(list, i, "name");
    *name += c->entry.name_bytes;
    for (uint32_t other = 0; other < i; other++)
        if (is_named(&index->columns[other], c->name, c->entry.name_bytes))
            return fail_entry(list, i, "name");
    uint64_t bytes[OMEN_N_PARTS];
    omen_column_lengths(&c->entry, index->meta.n_rows, bytes);
    for (int part = 0; part < OMEN_N_PARTS; part++) {
        c->at[part] = *at;
        if (omen_column_pad(bytes[part]) > cval->n_bytes - *at)
            return omen_fail(list->why, OMEN_ERR_CORRUPT, "section CVAL is too short for column %u", i);
        c->parts[part] = bytes[part] ? (const uint8_t *)cval->data + *at : NULL;
        *at += omen_column_pad(bytes[part]);
    }
    c->at[OMEN_N_PARTS] = *at;
    index->n_columns++;
    if (omen_column_is_tags(&c->entry)) {
        c->tags_seen = calloc(c->entry.n_words / 64 + 1, sizeof *c->tags_seen);
        if (!c->tags_seen)
            return OMEN_ERR_MEMORY;
    }
    return OMEN_OK;
}

int omen_columns_open(omen_index *index, const omen_section_list *list)
{
    const omen_section *cols = omen_sections_find(list, OMEN_SECTION_COLS);
    const omen_section *cval = omen_sections_find(list, OMEN_SECTION_CVAL);
    if (!cols && !cval)
        return OMEN_OK;
    if (!cols || !cval || cols->element != OMEN_ELEMENT_BYTES || cval->element != OMEN_ELEMENT_BYTES || !list->has_ids)
        return omen_fail(list->why, OMEN_ERR_CORRUPT, "section %s: COLS and CVAL belong together, in an index",
                         cols ? "COLS" : "CVAL");
    int status = omen_section_check(cols, list->why);
    if (status != OMEN_OK)
        return status;
    uint32_t head[2] = {0, 0};
    if (cols->n_bytes >= sizeof head)
        memcpy(head, cols->data, sizeof head);
    if (head[0] < 1 || head[0] > OMEN_MAX_COLUMNS || head[1] ||
        cols->n_bytes < sizeof head + head[0] * sizeof(omen_column_entry))
        return omen_fail(list->why, OMEN_ERR_CORRUPT, "section COLS has %llu bytes, which is not what its columns take",
                         (unsigned long long)cols->n_bytes);
    index->columns = calloc(head[0], sizeof *index->columns);
    if (!index->columns)
        return OMEN_ERR_MEMORY;
    uint64_t at = 0, name = sizeof head + head[0] * sizeof(omen_column_entry);
    for (uint32_t i = 0; i < head[0] && status == OMEN_OK; i++)
        status = open_column(index, list, cols, cval, &at, &name);
    if (status == OMEN_OK && (at != cval->n_bytes || name != cols->n_bytes))
        status = omen_fail(list->why, OMEN_ERR_CORRUPT, "section %s is longer than its columns",
                           at != cval->n_bytes ? "CVAL" : "COLS");
    if (status != OMEN_OK)
        return status;
    index->cols = *cols;
    index->cval.section = *cval;
    if (cval->check) {
        index->cval.seen = calloc(cval->n_bytes / OMEN_CHECK_BYTES / 64 + 1, sizeof *index->cval.seen);
        if (!index->cval.seen)
            return OMEN_ERR_MEMORY;
    }
    return OMEN_OK;
}

void omen_columns_close(omen_index *index)
{
    for (uint32_t i = 0; i < index->n_columns; i++) {
        free(index->columns[i].tags_seen);
        omen_column_order_close(&index->columns[i]);
    }
    free(index->columns);
    free(index->cval.seen);
}

int omen_index_get_column(const omen_index *index, uint32_t i, omen_column_info *out)
{
    omen_column_info info;
    const int status = omen_sized_take(&info, sizeof info, out, "omen_column_info", NULL);
    if (status != OMEN_OK)
        return status;
    if (i >= index->n_columns)
        return OMEN_ERR_ARGUMENT;
    const omen_column *c = &index->columns[i];
    info = (omen_column_info){
        .struct_bytes = sizeof info,
        .name = c->name,
        .name_bytes = c->entry.name_bytes,
        .type = (omen_column_type)c->entry.type,
        .n_nulls = c->entry.n_nulls,
        .n_distinct = c->entry.n_words,
        .n_bytes = c->at[OMEN_N_PARTS] - c->at[0],
    };
    omen_sized_give(out, &info);
    return OMEN_OK;
}

/* ---- the first use ---- */

/* From 0, never falling, to n_bytes. */
static bool rises(const uint64_t *offsets, uint64_t n, uint64_t n_bytes)
{
    bool is_sound = offsets[0] == 0 && offsets[n] == n_bytes;
    for (uint64_t i = 0; i < n; i++)
        is_sound &= offsets[i] <= offsets[i + 1];
    return is_sound;
}

static int check_offsets(const omen_column *c, uint32_t i, omen_detail *why)
{
    const omen_column_entry *e = &c->entry;
    if (omen_column_has_words(e) && !rises((const uint64_t *)c->parts[OMEN_PART_OFFSETS], e->n_words, e->word_bytes))
        return omen_fail(why, OMEN_ERR_CORRUPT, "section CVAL: the dictionary of column %u contradicts itself", i);
    if (omen_column_is_tags(e) && !rises((const uint64_t *)c->parts[OMEN_PART_LISTS], e->n_words, e->posting_bytes))
        return omen_fail(why, OMEN_ERR_CORRUPT, "section CVAL: the lists of column %u contradict themselves", i);
    return OMEN_OK;
}

int omen_column_touch(const omen_index *index, uint32_t i, omen_detail *why)
{
    omen_column *c = &index->columns[i];
    if (__atomic_load_n(&c->is_checked, __ATOMIC_RELAXED))
        return OMEN_OK;
    int status = omen_index_touch_bytes(&index->cval, c->at[0], c->at[OMEN_PART_POSTINGS] - c->at[0], why);
    if (status == OMEN_OK)
        status = check_offsets(c, i, why);
    if (status == OMEN_OK)
        __atomic_store_n(&c->is_checked, 1, __ATOMIC_RELAXED);
    return status;
}

/* Whether a list of n u16 is what FORMAT.md calls postings, of n_rows rows. */
static bool postings_are_sound(const uint16_t *at, uint64_t n, uint64_t n_rows)
{
    int64_t before = -1;
    while (n > 0) {
        if (n < 2 || at[0] <= before)
            return false;
        const uint64_t base = (uint64_t)at[0] * OMEN_POSTING_ROWS, count = (uint64_t)at[1] + 1;
        const uint64_t size = count > OMEN_POSTING_SPARSE ? OMEN_POSTING_BITS / 2 : count;
        const uint64_t room = base < n_rows ? n_rows - base : 0; /* rows of the block */
        if (size > n - 2 || room == 0)
            return false;
        const uint16_t *rows = at + 2;
        if (count <= OMEN_POSTING_SPARSE) {
            for (uint64_t j = 0; j < count; j++)
                if (rows[j] >= room || (j > 0 && rows[j] <= rows[j - 1]))
                    return false;
        } else {
            uint64_t n_set = 0;
            for (uint64_t j = 0; j < size; j++) {
                const uint64_t end = 16 * (j + 1);
                const uint32_t beyond = end <= room ? 0 : end - room >= 16 ? 0xffff : 0xffffu << (16 - (end - room));
                if (rows[j] & beyond)
                    return false;
                n_set += (uint64_t)__builtin_popcount(rows[j]);
            }
            if (n_set != count)
                return false;
        }
        before = at[0];
        at += 2 + size;
        n -= 2 + size;
    }
    return true;
}

int omen_column_touch_tag(const omen_index *index, uint32_t i, uint64_t tag, const uint16_t **begin,
                          const uint16_t **end, omen_detail *why)
{
    const omen_column *c = &index->columns[i];
    const uint64_t *lists = (const uint64_t *)c->parts[OMEN_PART_LISTS];
    const uint64_t first = lists[tag], n_bytes = lists[tag + 1] - first;
    const uint64_t bit = (uint64_t)1 << tag % 64;
    *begin = *end = NULL;
    if (!n_bytes)
        return OMEN_OK;
    *begin = (const uint16_t *)(c->parts[OMEN_PART_POSTINGS] + first / 2 * 2);
    *end = *begin + n_bytes / 2;
    if (__atomic_load_n(&c->tags_seen[tag / 64], __ATOMIC_RELAXED) & bit)
        return OMEN_OK;
    const int status = omen_index_touch_bytes(&index->cval, c->at[OMEN_PART_POSTINGS] + first, n_bytes, why);
    if (status != OMEN_OK)
        return status;
    if (first % 2 || n_bytes % 2 || !postings_are_sound(*begin, n_bytes / 2, index->meta.n_rows))
        return omen_fail(why, OMEN_ERR_CORRUPT, "section CVAL: the postings of tag %llu of column %u are none",
                         (unsigned long long)tag, i);
    __atomic_fetch_or(&c->tags_seen[tag / 64], bit, __ATOMIC_RELAXED);
    return OMEN_OK;
}

/* ---- the dictionary ---- */

/* By bytes, as memcmp() tells. */
static int compare_word(const omen_column *c, uint64_t i, const char *word, size_t n_bytes)
{
    const uint64_t *offsets = (const uint64_t *)c->parts[OMEN_PART_OFFSETS];
    const uint64_t n_own = offsets[i + 1] - offsets[i], n = n_own < n_bytes ? n_own : n_bytes;
    const int order = n ? memcmp(c->parts[OMEN_PART_WORDS] + offsets[i], word, n) : 0;
    return order ? order : (n_own > n_bytes) - (n_own < n_bytes);
}

static bool begins_with(const omen_column *c, uint64_t i, const char *word, size_t n_bytes)
{
    const uint64_t *offsets = (const uint64_t *)c->parts[OMEN_PART_OFFSETS];
    return offsets[i + 1] - offsets[i] >= n_bytes &&
           (!n_bytes || memcmp(c->parts[OMEN_PART_WORDS] + offsets[i], word, n_bytes) == 0);
}

uint64_t omen_column_bound(const omen_column *c, const char *word, size_t n_bytes, bool past)
{
    uint64_t low = 0, high = c->entry.n_words;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (compare_word(c, middle, word, n_bytes) < 0 || (past && begins_with(c, middle, word, n_bytes)))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool omen_column_has_word(const omen_column *c, uint64_t i, const char *word, size_t n_bytes)
{
    return i < c->entry.n_words && compare_word(c, i, word, n_bytes) == 0;
}

/* ---- all of the contents ---- */

static bool padding_is_zero(const omen_index *index, const omen_column *c)
{
    uint64_t bytes[OMEN_N_PARTS];
    omen_column_lengths(&c->entry, index->meta.n_rows, bytes);
    uint8_t rest = 0;
    for (int part = 0; part < OMEN_N_PARTS; part++)
        for (uint64_t i = c->at[part] + bytes[part]; i < c->at[part + 1]; i++)
            rest |= ((const uint8_t *)index->cval.section.data)[i];
    return rest == 0;
}

/* What is wrong with the value at a position; NULL: nothing. */
static const char *value_fault(const omen_column *c, uint64_t i)
{
    const omen_column_entry *e = &c->entry;
    const uint64_t *nulls = (const uint64_t *)c->parts[OMEN_PART_NULLS];
    uint64_t value = 0;
    memcpy(&value, c->parts[OMEN_PART_VALUES] + i * e->width, e->width);
    if (nulls && (nulls[i / 64] >> i % 64 & 1))
        return value ? "has none, and is not zero" : NULL;
    if (e->type == OMEN_COLUMN_TEXT)
        return value < e->n_words ? NULL : "is a text that the dictionary has not";
    if (e->type == OMEN_COLUMN_INT64)
        return NULL;
    double wide;
    float narrow;
    memcpy(&wide, &value, sizeof wide);
    memcpy(&narrow, &value, sizeof narrow);
    return isnan(e->width == 4 ? (double)narrow : wide) ? "is no number" : NULL;
}

static const char *nulls_fault(const omen_column *c, uint64_t n_rows)
{
    const uint64_t *nulls = (const uint64_t *)c->parts[OMEN_PART_NULLS];
    uint64_t n = 0;
    if (!nulls)
        return NULL;
    for (uint64_t i = 0; i < (n_rows + 63) / 64; i++)
        n += (uint64_t)__builtin_popcountll(nulls[i]);
    return n != c->entry.n_nulls || (n_rows % 64 && nulls[n_rows / 64] >> n_rows % 64)
               ? "the rows without a value are not as many as COLS says"
               : NULL;
}

static const char *dictionary_fault(const omen_column *c)
{
    const omen_column_entry *e = &c->entry;
    const uint64_t *offsets = (const uint64_t *)c->parts[OMEN_PART_OFFSETS];
    const uint32_t *numbers = (const uint32_t *)c->parts[OMEN_PART_NUMBERS];
    for (uint64_t i = 1; i < e->n_words; i++)
        if (offsets ? compare_word(c, i - 1, (const char *)c->parts[OMEN_PART_WORDS] + offsets[i],
                                   offsets[i + 1] - offsets[i]) >= 0
                    : numbers && numbers[i - 1] >= numbers[i])
            return "the dictionary is not in order";
    return NULL;
}

static int check_column(const omen_index *index, uint32_t i, omen_fault_fn fault, void *context)
{
    const omen_column *c = &index->columns[i];
    omen_detail why = {""};
    char text[200];
    int status = check_offsets(c, i, &why);
    for (uint64_t t = 0; omen_column_is_tags(&c->entry) && t < c->entry.n_words && status == OMEN_OK; t++) {
        const uint16_t *begin, *end;
        status = omen_column_touch_tag(index, i, t, &begin, &end, &why);
        if (status == OMEN_OK && begin == end)
            status = omen_fail(&why, OMEN_ERR_CORRUPT, "column %u: no row has tag %llu", i, (unsigned long long)t);
    }
    if (status != OMEN_OK) {
        fault(context, "CVAL", why.text);
        return status;
    }
    const char *found = padding_is_zero(index, c) ? nulls_fault(c, index->meta.n_rows) : "its padding is not zero";
    if (!found)
        found = dictionary_fault(c);
    if (found)
        snprintf(text, sizeof text, "column %u: %s", i, found);
    for (uint64_t row = 0; c->parts[OMEN_PART_VALUES] && row < index->meta.n_rows && !found; row++) {
        found = value_fault(c, row);
        if (found)
            snprintf(text, sizeof text, "column %u: the value at position %llu %s", i, (unsigned long long)row, found);
    }
    if (found)
        fault(context, "CVAL", text);
    return found ? OMEN_ERR_CORRUPT : OMEN_OK;
}

int omen_columns_check(const omen_index *index, omen_fault_fn fault, void *context)
{
    int status = OMEN_OK;
    for (uint32_t i = 0; i < index->n_columns; i++) {
        const int found = check_column(index, i, fault, context);
        status = status == OMEN_OK ? found : status;
    }
    return status;
}
