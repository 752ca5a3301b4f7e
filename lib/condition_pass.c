/* SPDX-License-Identifier: Apache-2.0 */
/* A pass over the values of a column: which are in a range. Integers by a kernel, reals and many ranges in plain loops
 * over bytes, which compilers turn into vectors; a byte a row becomes a bit at the end. */
#include <string.h>

#include "lib/condition.h"
#include "lib/kernels/kernels.h"
#include "lib/matrix.h"

#define CHUNK_ROWS 512u
#define MAX_PASSES 8u /* ranges beyond which a search among them is faster than a pass for each */

#define REAL_PASS(type)                                                                                                \
    static void pass_##type(const type *values, size_t n, type low, type high, uint8_t *hits)                          \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++)                                                                                 \
            hits[i] |= (values[i] >= low) & (values[i] <= high);                                                       \
    }
REAL_PASS(float)
REAL_PASS(double)

static bool is_real(const omen_column *c)
{
    return c->entry.type == OMEN_COLUMN_FLOAT32 || c->entry.type == OMEN_COLUMN_FLOAT64;
}

/* The float64 that a key stands for. */
static double real_of(uint64_t key)
{
    const uint64_t bits = key >> 63 ? key & ~((uint64_t)1 << 63) : ~key;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Keys of integers, whatever their width. */
static void decode(const uint8_t *values, size_t n, uint32_t width, uint64_t *out)
{
    const uint64_t mask = width < 8 ? ((uint64_t)1 << 8 * width) - 1 : UINT64_MAX;
    /* 8 bytes at once, as long as so many follow */
    const size_t n_bytes = n * width, n_fast = n_bytes < 8 ? 0 : (n_bytes - 8) / width + 1;
    for (size_t i = 0; i < n_fast; i++) {
        memcpy(&out[i], values + i * width, sizeof *out);
        out[i] &= mask;
    }
    for (size_t i = n_fast; i < n; i++) {
        out[i] = 0;
        memcpy(&out[i], values + i * width, width);
    }
}

/* The same of floats. */
static void decode_reals(const omen_column *c, const uint8_t *values, size_t n, uint64_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = omen_column_key(c, values + i * c->entry.width);
}

/* One range, of reals. A float32 is at least low if it is at least the least float32 that is. */
static void pass_reals(const omen_column *c, const uint8_t *values, size_t n, omen_range range, uint8_t *hits)
{
    const double low = real_of(range.low), high = real_of(range.high);
    if (c->entry.width == 8) {
        pass_double((const double *)values, n, low, high, hits);
        return;
    }
    float least = (float)low, most = (float)high;
    if ((double)least < low)
        least = __builtin_nextafterf(least, __builtin_inff());
    if ((double)most > high)
        most = __builtin_nextafterf(most, -__builtin_inff());
    pass_float((const float *)values, n, least, most, hits);
}

/* One range, of integers, of widths that the kernel has not: into bits. */
static void pass_wide(const uint8_t *values, size_t n, uint32_t width, omen_range range, uint64_t *words)
{
    uint64_t keys[CHUNK_ROWS];
    for (size_t at = 0; at < n; at += CHUNK_ROWS) {
        const size_t n_rows = omen_least(n - at, CHUNK_ROWS);
        decode(values + at * width, n_rows, width, keys);
        omen_kernels_get()->range_bits((const uint8_t *)keys, 8, n_rows, range.low, range.high - range.low,
                                       words + at / 64);
    }
}

static void pass_integers(const uint8_t *values, size_t n, uint32_t width, const omen_ranges *ranges, uint64_t *words)
{
    memset(words, 0, (n + 63) / 64 * sizeof *words);
    for (size_t r = 0; r < ranges->n; r++) {
        const omen_range range = ranges->ranges[r];
        if (width <= 4 || width == 8)
            omen_kernels_get()->range_bits(values, width, n, range.low, range.high - range.low, words);
        else
            pass_wide(values, n, width, range, words);
    }
}

/* Keys of 16 bits at most: a bit for each that is in a range. */
#define TABLE_WORDS ((1u << 16) / 64)

static void fill_table(const omen_ranges *ranges, uint64_t table[TABLE_WORDS])
{
    memset(table, 0, TABLE_WORDS * sizeof *table);
    for (size_t r = 0; r < ranges->n; r++) {
        const uint64_t low = ranges->ranges[r].low, high = ranges->ranges[r].high;
        for (uint64_t w = low / 64; w <= high / 64; w++)
            table[w] |= (w == low / 64 ? UINT64_MAX << low % 64 : UINT64_MAX) &
                        (w == high / 64 ? UINT64_MAX >> (63 - high % 64) : UINT64_MAX);
    }
}

static void look_up(const uint8_t *values, size_t n, uint32_t width, const uint64_t *table, uint8_t *hits)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t key = values[i * width];
        if (width == 2)
            key |= (uint32_t)values[2 * i + 1] << 8;
        hits[i] = table[key / 64] >> key % 64 & 1;
    }
}

/* Of many ranges, finds the one that each value would be in. */
static void search_ranges(const omen_column *c, const uint8_t *values, size_t n, const omen_ranges *ranges,
                          uint8_t *hits)
{
    uint64_t keys[CHUNK_ROWS];
    if (is_real(c))
        decode_reals(c, values, n, keys);
    else
        decode(values, n, c->entry.width, keys);
    for (size_t i = 0; i < n; i++) {
        size_t low = 0, high = ranges->n; /* the first range that ends at the key or above */
        while (low < high) {
            const size_t middle = (low + high) / 2;
            if (ranges->ranges[middle].high < keys[i])
                low = middle + 1;
            else
                high = middle;
        }
        hits[i] = low < ranges->n && ranges->ranges[low].low <= keys[i];
    }
}

/* Bytes of 0 and 1 as bits; n is a multiple of 64, or there are zeros behind. */
static void pack(const uint8_t *hits, size_t n, uint64_t *words)
{
    for (size_t i = 0; i < n; i += 64) {
        uint64_t word = 0;
        for (size_t j = 0; j < 8; j++) {
            uint64_t eight;
            memcpy(&eight, hits + i + 8 * j, sizeof eight);
            word |= (eight * 0x0102040810204080u >> 56) << 8 * j;
        }
        words[i / 64] = word;
    }
}

/* Of reals, or of many ranges. */
static void pass_chunks(const omen_column *c, const uint8_t *values, size_t n, const omen_ranges *ranges,
                        uint64_t *words)
{
    const bool has_many = ranges->n > MAX_PASSES, has_table = has_many && c->entry.width <= 2;
    uint8_t hits[CHUNK_ROWS];
    uint64_t table[TABLE_WORDS];
    if (has_table)
        fill_table(ranges, table);
    for (size_t at = 0; at < n; at += CHUNK_ROWS) {
        const size_t n_rows = omen_least(n - at, CHUNK_ROWS);
        const uint8_t *chunk = values + at * c->entry.width;
        memset(hits, 0, sizeof hits);
        if (has_table)
            look_up(chunk, n_rows, c->entry.width, table, hits);
        else if (has_many)
            search_ranges(c, chunk, n_rows, ranges, hits);
        for (size_t r = 0; r < ranges->n && !has_many; r++)
            pass_reals(c, chunk, n_rows, ranges->ranges[r], hits);
        pack(hits, n_rows, words + at / 64);
    }
}

void omen_column_pass(const omen_column *c, uint64_t first, size_t n, const omen_ranges *ranges, uint64_t *words)
{
    const uint64_t *nulls = (const uint64_t *)c->parts[OMEN_PART_NULLS];
    const uint8_t *values = c->parts[OMEN_PART_VALUES] + first * c->entry.width;
    if (is_real(c) || ranges->n > MAX_PASSES)
        pass_chunks(c, values, n, ranges, words);
    else
        pass_integers(values, n, c->entry.width, ranges, words);
    for (size_t i = 0; nulls && i < (n + 63) / 64; i++)
        words[i] &= ~nulls[first / 64 + i];
}
