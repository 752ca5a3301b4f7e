/* SPDX-License-Identifier: Apache-2.0 */
/* fbin, u8bin and i8bin, the formats of the billion-scale benchmarks: uint32 n, uint32 d, then n rows of d values, all
 * little-endian. */
#include "formats/container_format.h"
#include "formats/rows.h"
#include "formats/vectors_internal.h"

#include <inttypes.h>

#define HEADER_BYTES 8

int omen_bin_head(const unsigned char *bytes, uint64_t n_bytes, const omen_vector_format *format, uint32_t d,
                  omen_layout *out, uint64_t *n_needed, omen_detail *reason)
{
    *n_needed = HEADER_BYTES;
    if (n_bytes < HEADER_BYTES)
        return OMEN_OK;
    *out = (omen_layout){.value = format->value, .n_rows = omen_load_le32(bytes), .offset = HEADER_BYTES};
    return omen_layout_check_shape(omen_load_le32(bytes + 4), out, reason);
}

static int find_layout(const omen_input *input, const omen_vector_format *format, uint32_t d, omen_layout *out,
                       omen_detail *reason)
{
    if (input->n_bytes < HEADER_BYTES) {
        return omen_fail(reason, OMEN_ERR_INPUT, "the header is cut short: %" PRIu64 " of %d bytes", input->n_bytes,
                         HEADER_BYTES);
    }
    *out = (omen_layout){
        .value = format->value,
        .n_rows = omen_load_le32(input->bytes),
        .offset = HEADER_BYTES,
    };
    return omen_layout_check(input, omen_load_le32(input->bytes + 4), out, reason);
}

int omen_bin_open(omen_vectors *vectors, uint32_t d, omen_detail *reason)
{
    return omen_layout_open(vectors, find_layout, d, reason);
}

bool omen_bin_probe(const omen_input *input, const omen_vector_format *format)
{
    omen_layout layout;
    return find_layout(input, format, 0, &layout, NULL) == OMEN_OK;
}

int omen_bin_write(FILE *stream, const omen_source *source, omen_progress_fn progress, void *context, omen_detail *why)
{
    uint8_t header[HEADER_BYTES];
    container_store_u32(header, (uint32_t)source->n_rows);
    container_store_u32(header + 4, source->d);
    return omen_rows_write(stream, header, sizeof(header), false, source, progress, context, why);
}
