/* SPDX-License-Identifier: Apache-2.0 */
/* What files of columns are checked for: their kind, as many rows as there are vectors, room in memory, and text that
 * is UTF-8. */
#include "formats/columns_internal.h"
#include "formats/hdf5_file.h"
#include "formats/lines.h"

#include <inttypes.h>

int omen_columns_check_kind(const omen_input *input, const char *wanted, omen_detail *why)
{
    const char *kind = omen_input_is_container(input)               ? "an index or compressed"
                       : omen_hdf5_is(input->bytes, input->n_bytes) ? "HDF5"
                                                                    : NULL;
    return kind ? omen_fail(why, OMEN_ERR_INPUT, "%s is %s, not %s", input->label, kind, wanted) : OMEN_OK;
}

int omen_columns_of_rows(const omen_columns *columns, uint64_t n_rows, const char *label, omen_detail *why)
{
    if (omen_columns_row_count(columns) == n_rows)
        return OMEN_OK;
    const uint64_t n = omen_columns_row_count(columns);
    return omen_fail(why, OMEN_ERR_INPUT, "%s has %" PRIu64 " row%s, and there %s %" PRIu64 " vector%s", label, n_rows,
                     omen_plural(n_rows), omen_is_or_are(n), n, omen_plural(n));
}

int omen_columns_room(const omen_columns *columns, uint64_t n_bytes, uint64_t memory_bytes, const char *label,
                      omen_detail *why)
{
    const uint64_t needed = omen_columns_bytes(columns) + n_bytes;
    if (memory_bytes == 0 || needed <= memory_bytes)
        return OMEN_OK;
    return omen_fail(why, OMEN_ERR_MEMORY,
                     "the columns in %s need more than %" PRIu64 " MiB of memory, and %" PRIu64 " MiB are allowed",
                     label, needed >> 20, memory_bytes >> 20);
}

/* Bytes of the character at text, of which n_bytes are left; 0 for none: a zero, an overlong form, half of a surrogate
 * pair, and what is beyond U+10FFFF. */
static size_t character_bytes(const unsigned char *text, size_t n_bytes)
{
    static const uint32_t least[] = {0, 1, 0x80, 0x800, 0x10000};
    const size_t n = text[0] < 0x80 ? 1 : text[0] >> 5 == 6 ? 2 : text[0] >> 4 == 14 ? 3 : text[0] >> 3 == 30 ? 4 : 0;
    if (n == 0 || n > n_bytes)
        return 0;
    uint32_t code = n == 1 ? text[0] : text[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (text[i] >> 6 != 2)
            return 0;
        code = code << 6 | (text[i] & 0x3f);
    }
    return code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : n;
}

size_t omen_columns_text_fault(const char *text, size_t n_bytes)
{
    size_t at = 0;
    for (size_t n = 1; n > 0 && at < n_bytes; at += n)
        n = character_bytes((const unsigned char *)text + at, n_bytes - at);
    return at;
}
