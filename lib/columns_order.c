/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of a column by their values: a radix sort of keys. */
#include <stdlib.h>
#include <string.h>

#include "lib/columns_order.h"
#include "lib/matrix.h"

#define WORTH_PASSES 512u       /* over the values, which take about as long as to make an order */
#define ROWS_MOST    (1u << 24) /* of an index that has orders: they take 5 bytes a row, and 12 more to be made */
#define PART_ROWS    (1u << 20) /* sorted between two looks at the watch */
#define DIGITS       256u

static void read_keys(const omen_column *c, uint64_t n_rows, uint64_t *keys)
{
    for (uint64_t i = 0; i < n_rows; i++)
        keys[i] = omen_column_key(c, c->parts[OMEN_PART_VALUES] + i * c->entry.width);
}

/* By the digit of their keys at shift, equals as before. counts: how many have each digit. */
static int sort_digit(const uint64_t *keys, const uint32_t *from, uint32_t n, uint32_t shift,
                      const uint32_t counts[DIGITS], uint32_t *to, omen_watch *watch)
{
    uint32_t next[DIGITS] = {0};
    for (uint32_t d = 1; d < DIGITS; d++)
        next[d] = next[d - 1] + counts[d - 1];
    for (uint32_t at = 0; at < n; at += PART_ROWS) {
        const uint32_t end = n - at < PART_ROWS ? n : at + PART_ROWS;
        if (omen_watch_stopped(watch))
            return OMEN_ERR_INTERRUPTED;
        for (uint32_t i = at; i < end; i++)
            to[next[keys[from[i]] >> shift & (DIGITS - 1)]++] = from[i];
    }
    return OMEN_OK;
}

/* Sorts n of the rows, *rows, by their keys; *other has as much room, and is changed with it. */
static int sort_rows(const uint64_t *keys, uint32_t n, uint32_t **rows, uint32_t **other, omen_watch *watch)
{
    uint32_t counts[8][DIGITS] = {{0}};
    int status = OMEN_OK;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t b = 0; b < 8; b++)
            counts[b][keys[(*rows)[i]] >> 8 * b & (DIGITS - 1)]++;
    for (uint32_t b = 0; b < 8 && status == OMEN_OK; b++) {
        if (n == 0 || counts[b][keys[(*rows)[0]] >> 8 * b & (DIGITS - 1)] == n)
            continue;
        uint32_t *sorted = *other;
        status = sort_digit(keys, *rows, n, 8 * b, counts[b], sorted, watch);
        *other = *rows;
        *rows = sorted;
    }
    return status;
}

static void free_order(omen_column_order *order)
{
    if (!order)
        return;
    free((void *)order->rows);
    free((void *)order->bucket);
    free(order);
}

/* Puts the ranks into buckets. */
static void fill_buckets(omen_column_order *order, const uint64_t *keys, uint64_t n_rows, uint8_t *bucket)
{
    memset(bucket, OMEN_ORDER_BUCKETS, n_rows);
    order->bucket_rows = (order->n + OMEN_ORDER_BUCKETS - 1) / OMEN_ORDER_BUCKETS;
    for (uint32_t b = 0, rank = 0; rank < order->n; b++) {
        const uint32_t left = order->n - rank, end = rank + (left < order->bucket_rows ? left : order->bucket_rows);
        order->firsts[b] = keys[order->rows[rank]];
        for (; rank < end; rank++)
            bucket[order->rows[rank]] = (uint8_t)b;
    }
    order->bucket = bucket;
}

/* As omen_column_order_get(). */
static int make_order(const omen_index *index, const omen_column *c, omen_column_order **out, omen_watch *watch)
{
    const uint64_t n_rows = index->meta.n_rows, *nulls = (const uint64_t *)c->parts[OMEN_PART_NULLS];
    omen_column_order *order = calloc(1, sizeof *order);
    uint64_t *keys = omen_alloc(n_rows, sizeof *keys);
    uint32_t *rows = omen_alloc(n_rows, sizeof *rows), *other = omen_alloc(n_rows, sizeof *other);
    uint8_t *bucket = omen_alloc(n_rows, 1);
    int status = order && keys && rows && other && bucket ? OMEN_OK : OMEN_ERR_MEMORY;
    if (status == OMEN_OK) {
        read_keys(c, n_rows, keys);
        for (uint64_t i = 0; i < n_rows; i++) {
            rows[order->n] = (uint32_t)i;
            order->n += !nulls || !(nulls[i / 64] >> i % 64 & 1);
        }
        status = sort_rows(keys, order->n, &rows, &other, watch);
    }
    if (status == OMEN_OK) {
        order->rows = rows;
        fill_buckets(order, keys, n_rows, bucket);
        *out = order;
    } else {
        free(order);
        free(rows);
        free(bucket);
    }
    free(keys);
    free(other);
    return status;
}

int omen_column_order_get(const omen_index *index, uint32_t column, uint64_t n_passes, const omen_column_order **out,
                          omen_watch *watch)
{
    omen_column *c = &index->columns[column];
    omen_column_order *made = NULL, *before = NULL;
    *out = __atomic_load_n(&c->order, __ATOMIC_ACQUIRE);
    if (*out || index->meta.n_rows > ROWS_MOST ||
        __atomic_add_fetch(&c->n_passes, n_passes, __ATOMIC_RELAXED) < WORTH_PASSES)
        return OMEN_OK;
    const int status = make_order(index, c, &made, watch);
    if (status != OMEN_OK)
        return status;
    if (!__atomic_compare_exchange_n(&c->order, &before, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        free_order(made); /* another thread was faster */
        made = before;
    }
    *out = made;
    return OMEN_OK;
}

void omen_column_order_close(omen_column *column)
{
    free_order(column->order);
}

/* The first of ranks [low, high) whose key is not below a key, or, with past, is above it; high if there is none. */
static uint32_t bound(const omen_column_order *order, const omen_column *c, uint64_t key, bool past)
{
    const uint8_t *values = c->parts[OMEN_PART_VALUES];
    const uint32_t n_buckets = order->n ? (order->n - 1) / order->bucket_rows + 1 : 0;
    uint32_t b = 0, high = n_buckets;
    while (b < high) { /* the first bucket that begins there or behind; so it is in the one before */
        const uint32_t middle = (b + high) / 2;
        if (past ? order->firsts[middle] <= key : order->firsts[middle] < key)
            b = middle + 1;
        else
            high = middle;
    }
    uint32_t low = b ? (b - 1) * order->bucket_rows : 0;
    high = b < n_buckets ? b * order->bucket_rows : order->n;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const uint64_t there = omen_column_key(c, values + (uint64_t)order->rows[middle] * c->entry.width);
        if (past ? there <= key : there < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void omen_column_order_find(const omen_column_order *order, const omen_column *column, omen_range range,
                            uint32_t *first, uint32_t *n)
{
    *first = bound(order, column, range.low, false);
    *n = bound(order, column, range.high, true) - *first;
}
