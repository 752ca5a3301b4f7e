/* fbin, u8bin and i8bin, the formats of the billion-scale benchmarks: uint32 n, uint32 d, then n rows of d values, all
 * little-endian. */
#include "formats/vectors_internal.h"

#include <inttypes.h>

#define HEADER_BYTES 8

int omen_bin_open(const omen_input *input, const omen_kind *kind, uint32_t d, omen_layout *out, omen_detail *reason)
{
    if (input->n_bytes < HEADER_BYTES) {
        return omen_fail(reason, OMEN_ERR_INPUT, "the header is cut short: %" PRIu64 " of %d bytes", input->n_bytes,
                         HEADER_BYTES);
    }
    *out = (omen_layout){
        .value = kind->value,
        .n_rows = omen_load_le32(input->bytes),
        .offset = HEADER_BYTES,
    };
    return omen_layout_check(input, omen_load_le32(input->bytes + 4), out, reason);
}

bool omen_bin_probe(const omen_input *input, const omen_kind *kind)
{
    omen_layout layout;
    return omen_bin_open(input, kind, 0, &layout, NULL) == OMEN_OK;
}
