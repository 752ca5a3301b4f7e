/* SPDX-License-Identifier: Apache-2.0 */
/* fvecs, bvecs and ivecs, the formats of the TEXMEX corpora: each row is an int32 d followed by d values,
 * little-endian. Every row repeats d; opening looks at few of them, since each may cost a page from disk, and reading a
 * row checks its own. */
#include "formats/rows.h"
#include "formats/vectors_internal.h"

#include <inttypes.h>

#define HEADER_BYTES 4

/* Fails naming the first row that breaks the pattern: after a row of another length all that follow are out of step,
 * so bisection finds the border between rows that fit (0) and rows that do not (last). */
static int fail_dimension(const omen_input *input, const omen_layout *layout, uint64_t last, omen_detail *reason)
{
    uint64_t good = 0, bad = last;
    while (bad - good > 1) {
        uint64_t middle = good + (bad - good) / 2;
        if (omen_load_le32(input->bytes + middle * layout->stride) == layout->d)
            good = middle;
        else
            bad = middle;
    }
    return omen_fail(reason, OMEN_ERR_INPUT, "row %" PRIu64 " has dimension %d, the first row has %u", bad,
                     (int)omen_load_le32(input->bytes + bad * layout->stride), layout->d);
}

int omen_vecs_head(const unsigned char *bytes, uint64_t n_bytes, const omen_vector_format *format, uint32_t d,
                   omen_layout *out, uint64_t *n_needed, omen_detail *reason)
{
    *n_needed = HEADER_BYTES;
    if (n_bytes < HEADER_BYTES)
        return OMEN_OK;
    const uint32_t dimension = omen_load_le32(bytes);
    if (dimension == 0)
        return omen_fail(reason, OMEN_ERR_INPUT, "row 0 has dimension 0");
    if (dimension > OMEN_MAX_DIM) {
        return omen_fail(reason, OMEN_ERR_INPUT, "row 0 has dimension %d, and a row may have 1 to %u", (int)dimension,
                         OMEN_MAX_DIM);
    }
    *out = (omen_layout){
        .value = format->value,
        .row_headers = true,
        .n_rows = UINT64_MAX,
        .d = dimension,
        .offset = HEADER_BYTES,
        .stride = HEADER_BYTES + (uint64_t)dimension * omen_value_bytes(format->value),
    };
    return OMEN_OK;
}

static int find_layout(const omen_input *input, const omen_vector_format *format, uint32_t d, omen_layout *out,
                       omen_detail *reason)
{
    uint64_t n_needed;
    if (input->n_bytes < HEADER_BYTES)
        return omen_fail(reason, OMEN_ERR_INPUT, "row 0 is cut short: %" PRIu64 " bytes in all", input->n_bytes);
    const int status = omen_vecs_head(input->bytes, input->n_bytes, format, d, out, &n_needed, reason);
    if (status != OMEN_OK)
        return status;
    const uint32_t dimension = out->d;
    const uint64_t row_bytes = out->stride;
    const uint64_t n_rows = input->n_bytes / row_bytes, rest = input->n_bytes % row_bytes;
    out->n_rows = n_rows;
    if (n_rows > 0 && omen_load_le32(input->bytes + (n_rows - 1) * row_bytes) != dimension)
        return fail_dimension(input, out, n_rows - 1, reason);
    if (rest >= HEADER_BYTES && omen_load_le32(input->bytes + n_rows * row_bytes) != dimension)
        return fail_dimension(input, out, n_rows, reason);
    if (rest != 0) {
        return omen_fail(reason, OMEN_ERR_INPUT, "row %" PRIu64 " is cut short: %" PRIu64 " of its %" PRIu64 " bytes",
                         n_rows, rest, row_bytes);
    }
    return OMEN_OK;
}

int omen_vecs_open(omen_vectors *vectors, uint32_t d, omen_detail *reason)
{
    return omen_layout_open(vectors, find_layout, d, reason);
}

/* Sizes that divide by chance do occur: a few rows between first and last must fit too. */
bool omen_vecs_probe(const omen_input *input, const omen_vector_format *format)
{
    enum { N_LOOKS = 16 };
    omen_layout layout;
    if (find_layout(input, format, 0, &layout, NULL) != OMEN_OK)
        return false;
    uint64_t step = layout.n_rows / N_LOOKS + 1;
    for (uint64_t row = 1; row < layout.n_rows; row += step)
        if (omen_load_le32(input->bytes + row * layout.stride) != layout.d)
            return false;
    return true;
}

int omen_vecs_write(FILE *stream, const omen_source *source, omen_progress_fn progress, void *context, omen_detail *why)
{
    return omen_rows_write(stream, NULL, 0, true, source, progress, context, why);
}
