/* SPDX-License-Identifier: Apache-2.0 */
/* idx, the format of MNIST and its relatives: two zero bytes, a type, the number of dimensions, each dimension as a
 * big-endian uint32, then the values, big-endian. All dimensions after the first make up the row. */
#include "formats/vectors_internal.h"

#include <inttypes.h>

#define MAGIC_BYTES 4

static const struct idx_type {
    unsigned char code, n_bytes;
    bool is_read;
    omen_value value;
    const char *name;
} types[] = {
    {0x08, 1, true, OMEN_VALUE_U1, "unsigned byte"}, {0x09, 1, true, OMEN_VALUE_I1, "signed byte"},
    {0x0B, 2, false, OMEN_VALUE_U1, "short"},        {0x0C, 4, false, OMEN_VALUE_U1, "int"},
    {0x0D, 4, true, OMEN_VALUE_F4, "float"},         {0x0E, 8, true, OMEN_VALUE_F8, "double"},
};

/* What the header says; a product beyond 64 bits is an error. */
typedef struct idx_header {
    const struct idx_type *type;
    unsigned n_dimensions;
    uint64_t n_rows, d, offset;
} idx_header;

static int header_read(const omen_input *input, idx_header *out, omen_detail *reason)
{
    const unsigned char *bytes = input->bytes;
    *out = (idx_header){0};
    if (input->n_bytes < MAGIC_BYTES)
        return omen_fail(reason, OMEN_ERR_INPUT, "the header is cut short: %" PRIu64 " bytes in all", input->n_bytes);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (types[i].code == bytes[2])
            out->type = &types[i];
    if (bytes[0] != 0 || bytes[1] != 0 || !out->type || bytes[3] == 0) {
        return omen_fail(reason, OMEN_ERR_INPUT, "the file begins with %02x %02x %02x %02x, which is no idx header",
                         bytes[0], bytes[1], bytes[2], bytes[3]);
    }
    out->n_dimensions = bytes[3];
    out->offset = MAGIC_BYTES + 4 * (uint64_t)out->n_dimensions;
    if (input->n_bytes < out->offset) {
        return omen_fail(reason, OMEN_ERR_INPUT, "the header is cut short: %" PRIu64 " of %" PRIu64 " bytes",
                         input->n_bytes, out->offset);
    }
    out->n_rows = omen_load_be32(bytes + MAGIC_BYTES);
    out->d = 1;
    for (unsigned i = 1; i < out->n_dimensions; i++)
        if (__builtin_mul_overflow(out->d, omen_load_be32(bytes + MAGIC_BYTES + 4 * i), &out->d))
            return omen_fail(reason, OMEN_ERR_INPUT, "the dimensions of a row are more than a file can hold");
    return OMEN_OK;
}

static int find_layout(const omen_input *input, const omen_vector_format *format, uint32_t d, omen_layout *out,
                       omen_detail *reason)
{
    idx_header header;
    int status = header_read(input, &header, reason);
    if (status != OMEN_OK)
        return status;
    if (!header.type->is_read) {
        return omen_fail(reason, OMEN_ERR_INPUT, "the values are of type %s (0x%02X); bytes, float and double are read",
                         header.type->name, header.type->code);
    }
    if (header.n_dimensions == 1) {
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "the array has one dimension, as labels do; rows of values need two or more");
    }
    *out = (omen_layout){
        .value = header.type->value,
        .big_endian = true,
        .n_rows = header.n_rows,
        .offset = header.offset,
    };
    return omen_layout_check(input, header.d, out, reason);
}

int omen_idx_open(omen_vectors *vectors, uint32_t d, omen_detail *reason)
{
    return omen_layout_open(vectors, find_layout, d, reason);
}

/* Types that are not read count as well: naming them helps more than not knowing the file. */
bool omen_idx_probe(const omen_input *input, const omen_vector_format *format)
{
    idx_header header;
    uint64_t n_bytes;
    return header_read(input, &header, NULL) == OMEN_OK && !__builtin_mul_overflow(header.n_rows, header.d, &n_bytes) &&
           !__builtin_mul_overflow(n_bytes, header.type->n_bytes, &n_bytes) &&
           n_bytes == input->n_bytes - header.offset;
}
