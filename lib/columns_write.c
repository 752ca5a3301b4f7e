/* SPDX-License-Identifier: Apache-2.0 */
/* Writes columns in list order: COLS, then CVAL column by column. */
#include <stdlib.h>
#include <string.h>

#include "lib/columns.h"
#include "lib/matrix.h"
#include "lib/watch.h"

#define CHUNK_BYTES (1u << 16)
#define WATCH_ROWS  (1u << 16) /* between two looks at the watch */
#define AHEAD       16u        /* rows asked for before they are needed */

/* The rows of each tag of a column, as positions, and the bytes that they will take. */
typedef struct {
    uint64_t *first;     /* n_words + 1, in positions */
    uint64_t *lists;     /* n_words + 1, in bytes */
    uint32_t *positions; /* rising in a tag */
} postings;

typedef struct {
    const omen_columns *columns;
    const uint32_t *rows; /* of each position */
    const omen_sink *sink;
    uint8_t *chunk; /* CHUNK_BYTES */
    size_t n_pending;
    postings *postings; /* of each column; of those without tags NULL pointers */
    omen_watch *watch;
    omen_detail *why;
} writing;

/* ---- postings ---- */

/* Rows of the block that positions[0] is in, of n rising positions. */
static size_t block_rows(const uint32_t *positions, size_t n)
{
    const uint32_t block = positions[0] / OMEN_POSTING_ROWS;
    size_t count = 1;
    while (count < n && positions[count] / OMEN_POSTING_ROWS == block)
        count++;
    return count;
}

static uint64_t posting_bytes(const uint32_t *positions, size_t n)
{
    uint64_t n_bytes = 0;
    for (size_t i = 0, count; i < n; i += count) {
        count = block_rows(positions + i, n - i);
        n_bytes += 4 + (count > OMEN_POSTING_SPARSE ? OMEN_POSTING_BITS : 2 * count);
    }
    return n_bytes;
}

static int gather(const writing *w, const omen_made_column *c, postings *p)
{
    const uint64_t n_rows = w->columns->n_rows, n_tags = c->entry.n_words;
    uint64_t *next = omen_alloc(n_tags + 1, sizeof *next);
    p->first = omen_alloc_zero(n_tags + 1, sizeof *p->first);
    p->lists = omen_alloc_zero(n_tags + 1, sizeof *p->lists);
    p->positions = omen_alloc(c->first[n_rows] + 1, sizeof *p->positions);
    if (!next || !p->first || !p->lists || !p->positions) {
        free(next);
        return omen_fail(w->why, OMEN_ERR_MEMORY, "out of memory for column \"%s\"", c->name);
    }
    for (uint64_t i = 0; i < c->first[n_rows]; i++)
        p->first[c->tags[i] + 1]++;
    for (uint64_t t = 0; t < n_tags; t++)
        p->first[t + 1] += p->first[t];
    memcpy(next, p->first, (n_tags + 1) * sizeof *next);
    for (uint64_t position = 0; position < n_rows; position++) {
        const uint32_t row = w->rows[position];
        if (position % WATCH_ROWS == 0 && omen_watch_stopped(w->watch))
            break;
        if (position + 2 * AHEAD < n_rows) { /* rows are all over the place */
            __builtin_prefetch(&c->first[w->rows[position + 2 * AHEAD]]);
            __builtin_prefetch(&c->tags[c->first[w->rows[position + AHEAD]]]);
        }
        for (uint64_t i = c->first[row]; i < c->first[row + 1]; i++)
            p->positions[next[c->tags[i]]++] = (uint32_t)position;
    }
    free(next);
    if (omen_watch_stopped(w->watch)) /* positions are not complete */
        return omen_fail(w->why, OMEN_ERR_INTERRUPTED, "interrupted");
    for (uint64_t t = 0; t < n_tags; t++)
        p->lists[t + 1] = p->lists[t] + posting_bytes(p->positions + p->first[t], p->first[t + 1] - p->first[t]);
    return OMEN_OK;
}

/* ---- bytes ---- */

static int flush(writing *w)
{
    const size_t n = w->n_pending;
    const int status = omen_watch_status(w->watch);
    w->n_pending = 0;
    if (status != OMEN_OK)
        return omen_fail(w->why, status, "interrupted");
    return n ? w->sink->append(w->sink->self, w->chunk, n, w->why) : OMEN_OK;
}

/* Room for n_bytes, at most CHUNK_BYTES, which the caller fills; NULL after a failure. */
static uint8_t *take_room(writing *w, size_t n_bytes, int *status)
{
    if (w->n_pending + n_bytes > CHUNK_BYTES)
        *status = flush(w);
    if (*status != OMEN_OK)
        return NULL;
    w->n_pending += n_bytes;
    return w->chunk + w->n_pending - n_bytes;
}

/* Data of any length. */
static int put(writing *w, const void *data, uint64_t n_bytes)
{
    int status = OMEN_OK;
    for (uint64_t at = 0; at < n_bytes && status == OMEN_OK;) {
        const size_t n = omen_least(n_bytes - at, CHUNK_BYTES);
        uint8_t *room = take_room(w, n, &status);
        if (room)
            memcpy(room, (const char *)data + at, n);
        at += n;
    }
    return status;
}

/* The zeros behind a part. */
static int pad(writing *w, uint64_t n_bytes)
{
    static const uint64_t zero;
    return put(w, &zero, omen_column_pad(n_bytes) - n_bytes);
}

static int put_nulls(writing *w, const omen_made_column *c)
{
    const uint64_t n_rows = w->columns->n_rows;
    int status = OMEN_OK;
    for (uint64_t i = 0; i < n_rows && status == OMEN_OK; i += 64) {
        uint64_t word = 0;
        for (uint64_t j = i; j < n_rows && j < i + 64; j++) {
            const uint32_t row = w->rows[j];
            word |= (c->nulls[row / 64] >> row % 64 & 1) << (j - i);
        }
        status = put(w, &word, sizeof word);
    }
    return status;
}

static int put_values(writing *w, const omen_made_column *c)
{
    const uint64_t n_rows = w->columns->n_rows;
    const size_t width = c->entry.width, at_once = CHUNK_BYTES / 8;
    int status = OMEN_OK;
    for (uint64_t i = 0, n; i < n_rows && status == OMEN_OK; i += n) {
        n = omen_least(n_rows - i, at_once);
        uint8_t *room = take_room(w, n * width, &status);
        for (uint64_t j = 0; room && j < n; j++)
            memcpy(room + j * width, c->values + (uint64_t)w->rows[i + j] * width, width);
    }
    return status;
}

static int put_postings(writing *w, const postings *p, uint64_t n_tags)
{
    int status = OMEN_OK;
    for (uint64_t t = 0; t < n_tags && status == OMEN_OK; t++) {
        for (uint64_t i = p->first[t], count; i < p->first[t + 1] && status == OMEN_OK; i += count) {
            const uint32_t *positions = p->positions + i;
            count = block_rows(positions, p->first[t + 1] - i);
            const bool is_dense = count > OMEN_POSTING_SPARSE;
            const size_t n_bytes = 4 + (is_dense ? OMEN_POSTING_BITS : 2 * count);
            uint8_t *room = take_room(w, n_bytes, &status);
            if (!room)
                break;
            const uint16_t head[2] = {(uint16_t)(positions[0] / OMEN_POSTING_ROWS), (uint16_t)(count - 1)};
            memcpy(room, head, sizeof head);
            if (is_dense)
                memset(room + 4, 0, OMEN_POSTING_BITS);
            for (uint64_t j = 0; j < count; j++) {
                const uint16_t low = (uint16_t)(positions[j] % OMEN_POSTING_ROWS);
                if (is_dense)
                    room[4 + low / 8] |= (uint8_t)(1u << low % 8);
                else
                    memcpy(room + 4 + 2 * j, &low, sizeof low);
            }
        }
    }
    return status;
}

static int put_part(writing *w, uint32_t i, omen_column_part part, uint64_t n_bytes)
{
    const omen_made_column *c = &w->columns->columns[i];
    switch (part) {
    case OMEN_PART_NULLS:
        return put_nulls(w, c);
    case OMEN_PART_VALUES:
        return put_values(w, c);
    case OMEN_PART_OFFSETS:
        return put(w, c->offsets, n_bytes);
    case OMEN_PART_WORDS:
        return put(w, c->words, n_bytes);
    case OMEN_PART_NUMBERS:
        return put(w, c->numbers, n_bytes);
    case OMEN_PART_LISTS:
        return put(w, w->postings[i].lists, n_bytes);
    default:
        return put_postings(w, &w->postings[i], c->entry.n_words);
    }
}

/* ---- sections ---- */

/* The entry as it is written. */
static omen_column_entry entry_of(const writing *w, uint32_t i)
{
    omen_column_entry entry = w->columns->columns[i].entry;
    if (omen_column_is_tags(&entry))
        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): postings were made of all that are tags */
        entry.posting_bytes = w->postings[i].lists[entry.n_words];
    return entry;
}

static int write_directory(writing *w)
{
    const uint32_t head[2] = {w->columns->n, 0};
    const omen_sink *s = w->sink;
    int status = s->begin(s->self, OMEN_SECTION_COLS, OMEN_ELEMENT_BYTES, true, w->why);
    if (status == OMEN_OK)
        status = put(w, head, sizeof head);
    for (uint32_t i = 0; i < w->columns->n && status == OMEN_OK; i++) {
        const omen_column_entry entry = entry_of(w, i);
        status = put(w, &entry, sizeof entry);
    }
    for (uint32_t i = 0; i < w->columns->n && status == OMEN_OK; i++)
        status = put(w, w->columns->columns[i].name, w->columns->columns[i].entry.name_bytes);
    if (status == OMEN_OK)
        status = flush(w);
    return status == OMEN_OK ? s->finish(s->self, w->why) : status;
}

static int write_values(writing *w)
{
    const omen_sink *s = w->sink;
    int status = s->begin(s->self, OMEN_SECTION_CVAL, OMEN_ELEMENT_BYTES, true, w->why);
    for (uint32_t i = 0; i < w->columns->n && status == OMEN_OK; i++) {
        const omen_column_entry entry = entry_of(w, i);
        uint64_t bytes[OMEN_N_PARTS];
        omen_column_lengths(&entry, w->columns->n_rows, bytes);
        for (omen_column_part part = 0; part < OMEN_N_PARTS && status == OMEN_OK; part++) {
            if (!bytes[part])
                continue;
            status = put_part(w, i, part, bytes[part]);
            if (status == OMEN_OK)
                status = pad(w, bytes[part]);
        }
    }
    if (status == OMEN_OK)
        status = flush(w);
    return status == OMEN_OK ? s->finish(s->self, w->why) : status;
}

/* Every row has to stand somewhere. */
static int check_rows(const writing *w, const omen_section *perm)
{
    const uint64_t n = w->columns->n_rows;
    if (perm->n_bytes != n * 4)
        return omen_fail(w->why, OMEN_ERR_ARGUMENT, "columns have %llu rows, the index has %llu", (unsigned long long)n,
                         (unsigned long long)perm->n_bytes / 4);
    uint64_t *seen = omen_alloc_zero((n + 63) / 64, 8);
    if (!seen)
        return omen_fail(w->why, OMEN_ERR_MEMORY, "out of memory");
    int status = omen_section_check(perm, w->why);
    for (uint64_t i = 0; i < n && status == OMEN_OK; i++) {
        const uint32_t row = w->rows[i];
        if (row >= n || (seen[row / 64] >> row % 64 & 1))
            status = omen_fail(w->why, OMEN_ERR_CORRUPT, "section PERM: position %llu holds id %u, which %s",
                               (unsigned long long)i, row, row >= n ? "no row has" : "stands elsewhere too");
        else
            seen[row / 64] |= (uint64_t)1 << row % 64;
    }
    free(seen);
    return status;
}

int omen_columns_write(const omen_columns *columns, const omen_section *perm, const omen_sink *sink,
                       omen_progress_fn progress, void *context, omen_detail *why)
{
    omen_watch watch = omen_watch_make(progress, context, "columns");
    writing w = {.columns = columns, .rows = perm->data, .sink = sink, .watch = &watch, .why = why};
    int status = check_rows(&w, perm);
    if (status != OMEN_OK || !columns->n)
        return status;
    w.chunk = malloc(CHUNK_BYTES);
    w.postings = calloc(columns->n, sizeof *w.postings);
    if (!w.chunk || !w.postings)
        status = omen_fail(why, OMEN_ERR_MEMORY, "out of memory");
    for (uint32_t i = 0; i < columns->n && status == OMEN_OK; i++)
        if (columns->columns[i].first)
            status = gather(&w, &columns->columns[i], &w.postings[i]);
    if (status == OMEN_OK)
        status = write_directory(&w);
    if (status == OMEN_OK)
        status = write_values(&w);
    for (uint32_t i = 0; i < columns->n && w.postings; i++) {
        free(w.postings[i].first);
        free(w.postings[i].lists);
        free(w.postings[i].positions);
    }
    free(w.postings);
    free(w.chunk);
    return status;
}
