/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of rows on their way into an index: copied, sorted, written, or compared with those that it has. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/index_keys.h"
#include "lib/matrix.h"

#define WRITE_BYTES (1u << 16) /* of a section at a time */
#define SERIAL_MOST (1u << 12) /* rows that are not worth waking other threads */
#define TEXT_LEAST  (1u << 16)
#define SHOWN_BYTES 100u /* of a key in a message */

struct omen_row_keys {
    omen_key_kind kind;
    uint64_t n_rows, n_added;
    uint64_t *numbers; /* n_rows keys; of text n_rows + 1 offsets */
    char *text;
    uint64_t n_text_bytes, n_text_room;
    uint32_t longest;
    bool has_twins;
    uint32_t *order; /* rows by rising key, then number; NULL until they are finished */
};

/* What is sorted: the row, and of its key as much as can be compared at once. */
typedef struct {
    uint64_t prefix;
    uint32_t row;
} sort_item;

/* ---- adding ---- */

int omen_row_keys_create(omen_row_keys **out, omen_key_kind kind, uint64_t n_rows, omen_detail *why)
{
    *out = NULL;
    if (kind < OMEN_KEYS_INT64 || kind > OMEN_KEYS_TEXT)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "there is no kind %u of keys", (unsigned)kind);
    if (n_rows < 1 || n_rows > OMEN_MAX_ROWS)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "keys of %llu rows: 1 to %u are possible", (unsigned long long)n_rows,
                         OMEN_MAX_ROWS);
    omen_row_keys *keys = calloc(1, sizeof *keys);
    if (keys) {
        *keys = (omen_row_keys){.kind = kind, .n_rows = n_rows};
        keys->numbers = omen_alloc(n_rows + 1, sizeof *keys->numbers);
    }
    if (!keys || !keys->numbers) {
        free(keys);
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the keys");
    }
    keys->numbers[0] = 0;
    *out = keys;
    return OMEN_OK;
}

void omen_row_keys_destroy(omen_row_keys *keys)
{
    if (!keys)
        return;
    free(keys->numbers);
    free(keys->text);
    free(keys->order);
    free(keys);
}

static int add_text(omen_row_keys *keys, const omen_row_key *key, omen_detail *why)
{
    const int status = omen_row_key_check_text(key->text, key->n_bytes, why);
    if (status != OMEN_OK)
        return status;
    if (keys->n_text_room - keys->n_text_bytes < key->n_bytes) {
        const uint64_t room = keys->n_text_room ? 2 * keys->n_text_room : TEXT_LEAST;
        char *grown = realloc(keys->text, room);
        if (!grown)
            return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the keys");
        keys->text = grown;
        keys->n_text_room = room;
    }
    memcpy(keys->text + keys->n_text_bytes, key->text, key->n_bytes);
    keys->n_text_bytes += key->n_bytes;
    keys->longest = key->n_bytes > keys->longest ? key->n_bytes : keys->longest;
    keys->numbers[++keys->n_added] = keys->n_text_bytes;
    return OMEN_OK;
}

int omen_row_keys_add(omen_row_keys *keys, const omen_row_key *key, omen_detail *why)
{
    if (key->kind != keys->kind || keys->n_added == keys->n_rows || keys->order)
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         key->kind != keys->kind ? "a key is of another kind than those before"
                                                 : "there are more keys than rows");
    if (keys->kind == OMEN_KEYS_TEXT)
        return add_text(keys, key, why);
    keys->numbers[keys->n_added++] = key->number;
    return OMEN_OK;
}

static omen_row_key key_of(const omen_row_keys *keys, uint64_t row)
{
    omen_row_key key = {.kind = keys->kind};
    if (keys->kind == OMEN_KEYS_TEXT) {
        key.text = keys->text + keys->numbers[row];
        key.n_bytes = (uint32_t)(keys->numbers[row + 1] - keys->numbers[row]);
    } else {
        key.number = keys->numbers[row];
    }
    return key;
}

/* ---- sorting ---- */

/* A number that is never larger than that of a larger key: of text the first bytes, of integers all. */
static uint64_t prefix_of(const omen_row_keys *keys, uint64_t row)
{
    const omen_row_key key = key_of(keys, row);
    uint64_t prefix = 0;
    if (key.kind != OMEN_KEYS_TEXT)
        return key.number ^ (key.kind == OMEN_KEYS_INT64 ? (uint64_t)1 << 63 : 0);
    for (uint32_t i = 0; i < 8; i++)
        prefix = prefix << 8 | (i < key.n_bytes ? (uint8_t)key.text[i] : 0);
    return prefix;
}

/* By key, then by row. */
static bool comes_before(const omen_row_keys *keys, const sort_item *a, const sort_item *b)
{
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix;
    if (keys->kind == OMEN_KEYS_TEXT) {
        const omen_row_key a_key = key_of(keys, a->row), b_key = key_of(keys, b->row);
        const int order = omen_row_key_compare(&a_key, &b_key);
        if (order)
            return order < 0;
    }
    return a->row < b->row;
}

/* Merges from[first .. middle) and from[middle .. end) into to. */
static void merge(const omen_row_keys *keys, const sort_item *from, uint64_t first, uint64_t middle, uint64_t end,
                  sort_item *to)
{
    uint64_t a = first, b = middle;
    for (uint64_t i = first; i < end; i++)
        to[i] = b == end || (a < middle && comes_before(keys, &from[a], &from[b])) ? from[a++] : from[b++];
}

/* Sorts n items by merging runs of 1, 2, 4 and so on; from some length on threads share what there is to merge. Returns
 * items or other, whichever holds them then. */
static sort_item *sort(const omen_row_keys *keys, sort_item *items, sort_item *other, uint64_t n, int n_threads)
{
    for (uint64_t run = 1; run < n; run *= 2) {
        const uint64_t n_pairs = (n - 1) / (2 * run) + 1;
#pragma omp parallel for schedule(static) num_threads(n_threads) if (n > SERIAL_MOST)
        for (uint64_t pair = 0; pair < n_pairs; pair++) {
            const uint64_t first = 2 * run * pair;
            merge(keys, items, first, omen_least(first + run, n), omen_least(first + 2 * run, n), other);
        }
        sort_item *sorted = other;
        other = items;
        items = sorted;
    }
    return items;
}

/* Finds the first row that has the key of one before it. */
static void find_twins(omen_row_keys *keys, uint64_t twins[2])
{
    twins[0] = twins[1] = UINT64_MAX;
    for (uint64_t i = 1; i < keys->n_rows; i++) {
        const omen_row_key a = key_of(keys, keys->order[i - 1]), b = key_of(keys, keys->order[i]);
        if (omen_row_key_compare(&a, &b) != 0)
            continue;
        keys->has_twins = true;
        if (keys->order[i] < twins[1]) {
            twins[0] = keys->order[i - 1];
            twins[1] = keys->order[i];
        }
    }
}

static int put_in_order(omen_row_keys *keys, int n_threads)
{
    const uint64_t n = keys->n_rows;
    sort_item *items = omen_alloc(n, sizeof *items), *other = omen_alloc(n, sizeof *other);
    keys->order = omen_alloc(n, sizeof *keys->order);
    if (items && other && keys->order) {
#pragma omp parallel for schedule(static) num_threads(n_threads) if (n > SERIAL_MOST)
        for (uint64_t i = 0; i < n; i++)
            items[i] = (sort_item){prefix_of(keys, i), (uint32_t)i};
        const sort_item *sorted = sort(keys, items, other, n, n_threads);
        for (uint64_t i = 0; i < n; i++)
            keys->order[i] = sorted[i].row;
    }
    const int status = items && other && keys->order ? OMEN_OK : OMEN_ERR_MEMORY;
    free(items);
    free(other);
    if (status != OMEN_OK) { /* they are not finished */
        free(keys->order);
        keys->order = NULL;
    }
    return status;
}

int omen_row_keys_finish(omen_row_keys *keys, bool allow_duplicates, int n_threads, uint64_t twins[2], omen_detail *why)
{
    uint64_t found[2];
    if (keys->order)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the keys are finished already");
    if (keys->n_added < keys->n_rows)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "%llu keys are fewer than the %llu rows",
                         (unsigned long long)keys->n_added, (unsigned long long)keys->n_rows);
    if (put_in_order(keys, n_threads > 0 ? n_threads : omen_cpu_count()) != OMEN_OK)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the keys");
    find_twins(keys, found);
    if (twins)
        memcpy(twins, found, sizeof found);
    if (!keys->has_twins || allow_duplicates)
        return OMEN_OK;
    free(keys->order);
    keys->order = NULL;
    return omen_fail(why, OMEN_ERR_INPUT, "rows %llu and %llu have the same key", (unsigned long long)found[0],
                     (unsigned long long)found[1]);
}

void omen_row_keys_sizes(uint64_t n_rows, uint64_t n_text_bytes, uint64_t *kept, uint64_t *peak,
                         uint64_t *section_bytes)
{
    const uint64_t keep = n_rows * (sizeof(uint64_t) + sizeof(uint32_t)) + 2 * n_text_bytes + TEXT_LEAST;
    if (kept)
        *kept = keep;
    if (peak)
        *peak = keep + 2 * n_rows * sizeof(sort_item);
    if (section_bytes)
        *section_bytes = sizeof(omen_keys_head) + n_rows * (sizeof(uint32_t) + sizeof(uint64_t)) + n_text_bytes;
}

omen_key_kind omen_row_keys_kind(const omen_row_keys *keys)
{
    return keys->kind;
}

uint64_t omen_row_keys_text_bytes(const omen_row_keys *keys)
{
    return keys->n_text_bytes;
}

/* ---- writing ---- */

typedef struct {
    const omen_sink *sink;
    omen_progress_fn progress;
    void *context;
    uint64_t done, total;
    omen_detail *why;
} writing;

static int give(writing *w, const void *data, uint64_t n_bytes)
{
    const int status = w->sink->append(w->sink->self, data, n_bytes, w->why);
    w->done += n_bytes;
    if (status == OMEN_OK && w->progress && w->progress(w->context, "keys", w->done, w->total))
        return omen_fail(w->why, OMEN_ERR_INTERRUPTED, "interrupted");
    return status;
}

/* A section of bytes as they are. */
static int write_bytes(writing *w, uint32_t id, omen_element element, const void *data, uint64_t n_bytes)
{
    int status = w->sink->begin(w->sink->self, id, element, true, w->why);
    for (uint64_t done = 0, n; done < n_bytes && status == OMEN_OK; done += n) {
        n = omen_least(n_bytes - done, WRITE_BYTES);
        status = give(w, (const char *)data + done, n);
    }
    return status == OMEN_OK ? w->sink->finish(w->sink->self, w->why) : status;
}

/* A section of n numbers less the least of them, of width bytes each. */
static int write_numbers(writing *w, uint32_t id, const uint64_t *numbers, uint64_t n, uint64_t least, uint32_t width)
{
    uint8_t buffer[1024 * sizeof(uint64_t)];
    int status = w->sink->begin(w->sink->self, id, OMEN_ELEMENT_U8, true, w->why);
    for (uint64_t first = 0; first < n && status == OMEN_OK; first += 1024) {
        const size_t n_here = omen_least(n - first, 1024);
        for (size_t i = 0; i < n_here; i++) {
            const uint64_t number = numbers[first + i] - least;
            memcpy(buffer + i * width, &number, width);
        }
        status = give(w, buffer, n_here * width);
    }
    return status == OMEN_OK ? w->sink->finish(w->sink->self, w->why) : status;
}

int omen_row_keys_write(const omen_row_keys *keys, const omen_sink *sink, omen_progress_fn progress, void *context,
                        omen_detail *why)
{
    const bool is_text = keys->kind == OMEN_KEYS_TEXT;
    const uint64_t n = keys->n_rows;
    writing w = {.sink = sink, .progress = progress, .context = context, .why = why};
    if (!keys->order)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the keys are not finished");
    omen_keys_head head = {.kind = keys->kind,
                           .flags = keys->has_twins ? OMEN_KEYS_FLAG_SHARED : 0,
                           .n_rows = n,
                           .least = is_text ? 0 : keys->numbers[keys->order[0]],
                           .most = is_text ? keys->n_text_bytes : keys->numbers[keys->order[n - 1]],
                           .longest = keys->longest};
    head.width = omen_row_key_width(head.most - head.least);
    w.total = sizeof head + n * (head.width + sizeof *keys->order) + (is_text ? head.width + keys->n_text_bytes : 0);
    int status = write_bytes(&w, OMEN_SECTION_KEYS, OMEN_ELEMENT_BYTES, &head, sizeof head);
    if (status == OMEN_OK && is_text)
        status = write_bytes(&w, OMEN_SECTION_KEYV, OMEN_ELEMENT_U8, keys->text, keys->n_text_bytes);
    if (status == OMEN_OK)
        status = is_text ? write_numbers(&w, OMEN_SECTION_KEYO, keys->numbers, n + 1, 0, head.width)
                         : write_numbers(&w, OMEN_SECTION_KEYV, keys->numbers, n, head.least, head.width);
    if (status == OMEN_OK)
        status = write_bytes(&w, OMEN_SECTION_KEYI, OMEN_ELEMENT_U32, keys->order, n * sizeof *keys->order);
    return status;
}

/* ---- comparing with those of an index ---- */

/* As a message shows it: a long one is cut, between two characters. Returns out. */
static const char *show_key(const omen_row_key *key, char out[SHOWN_BYTES])
{
    if (key->kind == OMEN_KEYS_TEXT) {
        size_t n = omen_least(key->n_bytes, SHOWN_BYTES - 3);
        while (n > 0 && n < key->n_bytes && (key->text[n] & 0xc0) == 0x80)
            n--;
        snprintf(out, SHOWN_BYTES, "\"%.*s\"", (int)n, key->text);
    } else if (key->kind == OMEN_KEYS_INT64)
        snprintf(out, SHOWN_BYTES, "%lld", (long long)key->number);
    else
        snprintf(out, SHOWN_BYTES, "%llu", (unsigned long long)key->number);
    return out;
}

int omen_index_check_keys(const omen_index *index, const omen_row_keys *keys, omen_fault_fn fault, void *context,
                          omen_detail *why)
{
    const omen_key_kind kind = index->keys.head.kind;
    char text[400], shown[2][SHOWN_BYTES];

    if (keys->n_rows != index->meta.n_rows || keys->n_added != keys->n_rows)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "there are %llu keys, and the index has %llu rows",
                         (unsigned long long)keys->n_added, (unsigned long long)index->meta.n_rows);
    if (kind != keys->kind) {
        if (kind == OMEN_KEYS_NONE)
            snprintf(text, sizeof text, "it has no keys");
        else
            snprintf(text, sizeof text, "its keys are %s, and %s in what it is compared with", omen_key_kind_name(kind),
                     omen_key_kind_name(keys->kind));
        fault(context, kind == OMEN_KEYS_NONE ? NULL : "KEYS", text);
        return OMEN_ERR_CORRUPT;
    }
    for (uint64_t row = 0; row < keys->n_rows; row++) {
        const omen_row_key here = key_of(keys, row);
        omen_row_key there;
        const int status = omen_index_key_of(index, row, &there, why);
        if (status != OMEN_OK)
            return status;
        if (omen_row_key_compare(&there, &here) == 0)
            continue;
        snprintf(text, sizeof text, "row %llu has the key %s, and %s in what it is compared with",
                 (unsigned long long)row, show_key(&there, shown[0]), show_key(&here, shown[1]));
        fault(context, "KEYV", text);
        return OMEN_ERR_CORRUPT;
    }
    return OMEN_OK;
}
