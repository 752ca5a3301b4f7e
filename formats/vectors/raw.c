/* SPDX-License-Identifier: Apache-2.0 */
/* Raw float32 values, little-endian, nothing else: the caller says how many make a row. */
#include "formats/rows.h"
#include "formats/vectors_internal.h"

#include <inttypes.h>

int omen_raw_head(const unsigned char *bytes, uint64_t n_bytes, const omen_vector_format *format, uint32_t d,
                  omen_layout *out, uint64_t *n_needed, omen_detail *reason)
{
    *n_needed = 0;
    if (d == 0)
        return omen_fail(reason, OMEN_ERR_ARGUMENT, "raw values need their dimension named with options.d");
    *out = (omen_layout){
        .value = format->value, .n_rows = UINT64_MAX, .d = d, .stride = (uint64_t)d * omen_value_bytes(format->value)};
    return OMEN_OK;
}

static int find_layout(const omen_input *input, const omen_vector_format *format, uint32_t d, omen_layout *out,
                       omen_detail *reason)
{
    uint64_t n_needed;
    const int status = omen_raw_head(input->bytes, input->n_bytes, format, d, out, &n_needed, reason);
    if (status != OMEN_OK)
        return status;
    const uint64_t row_bytes = out->stride;
    const uint64_t n_rows = input->n_bytes / row_bytes, rest = input->n_bytes % row_bytes;
    if (rest != 0) {
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "row %" PRIu64 " is cut short: %" PRIu64 " bytes are left for its %u dimensions (%" PRIu64
                         " bytes)",
                         n_rows, rest, d, row_bytes);
    }
    out->n_rows = n_rows;
    return OMEN_OK;
}

int omen_raw_open(omen_vectors *vectors, uint32_t d, omen_detail *reason)
{
    return omen_layout_open(vectors, find_layout, d, reason);
}

int omen_raw_write(FILE *stream, const omen_source *source, omen_progress_fn progress, void *context, omen_detail *why)
{
    return omen_rows_write(stream, NULL, 0, false, source, progress, context, why);
}
