/* SPDX-License-Identifier: Apache-2.0 */
/* Raw float32 values, little-endian, nothing else: the caller says how many make a row. */
#include "formats/rows.h"
#include "formats/vectors_internal.h"

#include <inttypes.h>

static int find_layout(const omen_input *input, const omen_vector_format *format, uint32_t d, omen_layout *out,
                       omen_detail *reason)
{
    if (d == 0)
        return omen_fail(reason, OMEN_ERR_ARGUMENT, "raw values need their dimension named with options.d");
    uint64_t row_bytes = (uint64_t)d * omen_value_bytes(format->value);
    uint64_t n_rows = input->n_bytes / row_bytes, rest = input->n_bytes % row_bytes;
    if (rest != 0) {
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "row %" PRIu64 " is cut short: %" PRIu64 " bytes are left for its %u dimensions (%" PRIu64
                         " bytes)",
                         n_rows, rest, d, row_bytes);
    }
    *out = (omen_layout){.value = format->value, .n_rows = n_rows, .d = d, .stride = row_bytes};
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
