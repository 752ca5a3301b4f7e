/* SPDX-License-Identifier: Apache-2.0 */
/* What the formats share whose rows lie in the file at fixed places: the check of the shape, reading, closing. Their
 * state is an omen_layout whose every byte lies inside the map, so that reading needs no more bounds checks and several
 * threads may read at once. */
#include "formats/vectors_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int omen_layout_check_shape(uint64_t d, omen_layout *layout, omen_detail *reason)
{
    const uint64_t n = layout->n_rows;
    uint64_t end;
    if (n == 0)
        return omen_fail(reason, OMEN_ERR_INPUT, "there are no rows: the header says 0 x %" PRIu64, d);
    if (d == 0)
        return omen_fail(reason, OMEN_ERR_INPUT, "the rows have no values: the header says %" PRIu64 " x 0", n);
    if (d > OMEN_MAX_DIM) {
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "the header says %" PRIu64 " x %" PRIu64 ", and a row may have at most %u dimensions", n, d,
                         OMEN_MAX_DIM);
    }
    layout->d = (uint32_t)d;
    layout->stride = d * omen_value_bytes(layout->value);
    if (__builtin_mul_overflow(n, layout->stride, &end) || __builtin_add_overflow(end, layout->offset, &end)) {
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "the header says %" PRIu64 " x %" PRIu64 " values, more than a file can hold", n, d);
    }
    return OMEN_OK;
}

int omen_layout_check(const omen_input *input, uint64_t d, omen_layout *layout, omen_detail *reason)
{
    const int status = omen_layout_check_shape(d, layout, reason);
    if (status != OMEN_OK)
        return status;
    const uint64_t n = layout->n_rows, row_bytes = layout->stride, end = layout->offset + n * row_bytes;
    if (input->n_bytes > end) {
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "the header says %" PRIu64 " x %" PRIu64 " (%" PRIu64 " bytes), but the file has %" PRIu64
                         " bytes",
                         n, d, end, input->n_bytes);
    }
    if (input->n_bytes < end) {
        char where[48] = "";
        if (!layout->by_columns && input->n_bytes >= layout->offset) {
            snprintf(where, sizeof(where), " and is cut short at row %" PRIu64,
                     (input->n_bytes - layout->offset) / row_bytes);
        } else {
            snprintf(where, sizeof(where), " and is cut short");
        }
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "the header says %" PRIu64 " x %" PRIu64 " (%" PRIu64 " bytes), but the file has %" PRIu64
                         " bytes%s",
                         n, d, end, input->n_bytes, where);
    }
    layout->stride = layout->by_columns ? n * omen_value_bytes(layout->value) : row_bytes;
    return OMEN_OK;
}

int omen_layout_keep(omen_vectors *vectors, const omen_layout *found, omen_detail *reason)
{
    omen_layout *layout = malloc(sizeof(*layout));
    if (!layout)
        return omen_fail(reason, OMEN_ERR_MEMORY, "no memory to open the vectors");
    *layout = *found;
    vectors->state = layout;
    vectors->layout = layout;
    vectors->n_rows = layout->n_rows;
    vectors->d = layout->d;
    vectors->value = layout->value;
    vectors->has_bytes = layout->value == OMEN_VALUE_U1 && !layout->by_columns;
    return OMEN_OK;
}

int omen_layout_open(omen_vectors *vectors, omen_layout_fn find, uint32_t d, omen_detail *reason)
{
    omen_layout layout = {.n_rows = 0};
    omen_input part = vectors->input;
    if (vectors->n_part > 0) {
        part.bytes += vectors->part_offset;
        part.n_bytes = vectors->n_part;
    }
    const int status = find(&part, vectors->format, d, &layout, reason);
    if (status != OMEN_OK)
        return status;
    layout.offset += vectors->part_offset;
    return omen_layout_keep(vectors, &layout, reason);
}

void omen_layout_close(omen_vectors *vectors)
{
    free(vectors->state);
}

static inline uint32_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

int omen_values_fault(const omen_vectors *vectors, uint64_t first, const float *rows, omen_detail *why)
{
    uint64_t i = 0;
    while (omen_values_finite(rows + i, 1))
        i++;
    bool nan = (float_bits(rows[i]) & 0x007fffffu) != 0;
    return omen_fail(why, OMEN_ERR_INPUT, "%s: row %" PRIu64 " has %s in column %" PRIu64, vectors->input.label,
                     first + i / vectors->d, nan ? "a NaN" : "an infinite value", i % vectors->d);
}

int omen_inexact_fault(const omen_vectors *vectors, uint64_t row, uint64_t column, omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_INPUT,
                     "%s: row %" PRIu64 " has an integer in column %" PRIu64 " that float32 would round; if these are "
                     "vectors, save them as float32",
                     vectors->input.label, row, column);
}

/* Values converted before they are checked: few enough to be in the first-level cache still. */
#define RUN_VALUES 4096

static int row_header_check(const omen_vectors *vectors, const unsigned char *row, uint64_t number, omen_detail *why)
{
    if (!vectors->layout->row_headers || omen_load_le32(row - 4) == vectors->layout->d)
        return OMEN_OK;
    return omen_fail(why, OMEN_ERR_INPUT, "%s: row %" PRIu64 " has dimension %d, the first row has %u",
                     vectors->input.label, number, (int)omen_load_le32(row - 4), vectors->layout->d);
}

/* Names the first of the rows at from, of which the first is row number first, with an integer that float32 rounds. */
static int fail_inexact(const omen_vectors *vectors, uint64_t first, const unsigned char *from, omen_detail *why)
{
    const omen_layout *layout = vectors->layout;
    const uint32_t value_bytes = omen_value_bytes(layout->value);
    uint64_t i = 0;
    while (omen_values_exact(layout->value, layout->big_endian, from + i * value_bytes, 1))
        i++;
    return omen_inexact_fault(vectors, first + i / layout->d, i % layout->d, why);
}

int omen_layout_read_at(const omen_vectors *vectors, const unsigned char *from, uint64_t first, uint64_t n, float *out,
                        omen_detail *why)
{
    const omen_layout *layout = vectors->layout;
    const bool floats = omen_value_is_float(layout->value);
    uint64_t d = layout->d;
    uint64_t run = !layout->row_headers && d < RUN_VALUES ? RUN_VALUES / d : 1;

    for (uint64_t done = 0; done < n; done += run) {
        if (run > n - done)
            run = n - done;
        int status = row_header_check(vectors, from, first + done, why);
        if (status != OMEN_OK)
            return status;
        omen_values_convert(layout->value, layout->big_endian, from, run * d, out);
        if (floats && !omen_values_finite(out, run * d))
            return omen_values_fault(vectors, first + done, out, why);
        if (!floats && !omen_values_exact(layout->value, layout->big_endian, from, run * d))
            return fail_inexact(vectors, first + done, from, why);
        from += run * layout->stride;
        out += run * d;
    }
    return OMEN_OK;
}

int omen_layout_read(const omen_vectors *vectors, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    const omen_layout *layout = vectors->layout;
    return omen_layout_read_at(vectors, vectors->input.bytes + layout->offset + first * layout->stride, first, n, out,
                               why);
}

int omen_layout_read_bytes(const omen_vectors *vectors, uint64_t first, uint64_t n, uint8_t *out, omen_detail *why)
{
    const omen_layout *layout = vectors->layout;
    int status = OMEN_OK;
    for (uint64_t i = first; i < first + n && status == OMEN_OK; i++) {
        const unsigned char *row = vectors->input.bytes + layout->offset + i * layout->stride;
        status = row_header_check(vectors, row, i, why);
        memcpy(out + (i - first) * layout->d, row, layout->d);
    }
    return status;
}

/* The pages inside the range leave the process; the kernel still has them cached. */
void omen_layout_release(const omen_vectors *vectors, uint64_t first, uint64_t n)
{
    const omen_layout *layout = vectors->layout;
    if (layout->by_columns)
        return;
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    const uint64_t from = (layout->offset + first * layout->stride + page - 1) / page * page;
    const uint64_t to = (layout->offset + (first + n) * layout->stride) / page * page;
    if (from < to)
        madvise((void *)(vectors->input.bytes + from), to - from, MADV_DONTNEED);
}
