/* SPDX-License-Identifier: Apache-2.0 */
/* npy, NumPy's array file, versions 1 to 3: a magic string, the length of a header, a header that is a Python dict
 * literal of descr, fortran_order and shape, then the array. Two-dimensional arrays of real numbers are read, by rows
 * (C order) or by columns (Fortran order). */
#include "formats/rows.h"
#include "formats/vectors_internal.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#define MAGIC       "\x93NUMPY"
#define MAGIC_BYTES 6

/* ---- the header -------------------------------------------------------- */

/* A position in the header text. */
typedef struct npy_text {
    const char *at, *end;
} npy_text;

typedef struct npy_header {
    char descr[64];
    bool is_structured;
    bool by_columns;
    uint64_t shape[2];
    unsigned n_shape;
} npy_header;

static void skip_space(npy_text *text)
{
    while (text->at < text->end && *text->at != '\0' && strchr(" \t\n\r\f", *text->at))
        text->at++;
}

static bool skip_char(npy_text *text, char c)
{
    skip_space(text);
    if (text->at == text->end || *text->at != c)
        return false;
    text->at++;
    return true;
}

static bool skip_word(npy_text *text, const char *word)
{
    size_t n = strlen(word);
    skip_space(text);
    if (text->end - text->at < n || memcmp(text->at, word, n) != 0)
        return false;
    text->at += n;
    return text->at == text->end || !(isalnum((unsigned char)*text->at) || *text->at == '_');
}

/* Reads a Python string without escapes, cutting it to the room there is. Python 2 wrote some with a u in front. */
static bool read_string(npy_text *text, char *out, size_t size)
{
    skip_space(text);
    if (text->end - text->at > 1 && *text->at == 'u')
        text->at++;
    if (text->at == text->end || (*text->at != '\'' && *text->at != '"'))
        return false;
    char quote = *text->at++;
    const char *start = text->at;
    while (text->at < text->end && *text->at != quote) {
        if (*text->at == '\\' || *text->at == '\n')
            return false;
        text->at++;
    }
    if (text->at == text->end)
        return false;
    size_t n = text->at++ - start;
    if (n >= size)
        n = size - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = isprint((unsigned char)start[i]) ? start[i] : '?';
    out[n] = '\0';
    return true;
}

/* Reads a tuple of whole numbers; of those past the second only the number is kept. Python 2 wrote 10L for 10. */
static bool read_shape(npy_text *text, npy_header *header)
{
    header->n_shape = 0;
    if (!skip_char(text, '('))
        return false;
    while (!skip_char(text, ')')) {
        uint64_t value = 0;
        if (header->n_shape > 0 && !skip_char(text, ','))
            return false;
        skip_space(text);
        if (header->n_shape > 0 && skip_char(text, ')'))
            break;
        if (text->at == text->end || !isdigit((unsigned char)*text->at))
            return false;
        while (text->at < text->end && isdigit((unsigned char)*text->at)) {
            if (__builtin_mul_overflow(value, 10, &value) ||
                __builtin_add_overflow(value, (unsigned)(*text->at - '0'), &value))
                return false;
            text->at++;
        }
        if (text->at < text->end && *text->at == 'L')
            text->at++;
        if (header->n_shape < 2)
            header->shape[header->n_shape] = value;
        header->n_shape++;
    }
    return true;
}

/* Reads one key and its value. A structured type is a list or tuple, which is not read any further. */
static bool read_item(npy_text *text, npy_header *header, unsigned *seen)
{
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    char key[16];
    unsigned i = 0;
    if (!read_string(text, key, sizeof(key)) || !skip_char(text, ':'))
        return false;
    while (i < 3 && strcmp(key, keys[i]) != 0)
        i++;
    if (i == 3 || (*seen & 1u << i))
        return false;
    *seen |= 1u << i;
    switch (i) {
    case 0:
        skip_space(text);
        if (text->at < text->end && (*text->at == '[' || *text->at == '(')) {
            header->is_structured = true;
            return true;
        }
        return read_string(text, header->descr, sizeof(header->descr));
    case 1:
        header->by_columns = skip_word(text, "True");
        return header->by_columns || skip_word(text, "False");
    default:
        return read_shape(text, header);
    }
}

static bool header_parse(npy_text text, npy_header *out)
{
    unsigned seen = 0;
    memset(out, 0, sizeof(*out));
    if (!skip_char(&text, '{'))
        return false;
    while (!skip_char(&text, '}')) {
        if (seen != 0 && !skip_char(&text, ','))
            return false;
        if (seen != 0 && skip_char(&text, '}'))
            break;
        if (!read_item(&text, out, &seen))
            return false;
        if (out->is_structured)
            return true;
    }
    skip_space(&text);
    return seen == 7 && text.at == text.end;
}

/* Sets value and byte order from a descr such as "<f4". */
static int type_parse(const char *descr, omen_layout *out, omen_detail *reason)
{
    static const struct {
        const char *name;
        omen_value value;
    } types[] = {{"f2", OMEN_VALUE_F2},
                 {"f4", OMEN_VALUE_F4},
                 {"f8", OMEN_VALUE_F8},
                 {"i1", OMEN_VALUE_I1},
                 {"u1", OMEN_VALUE_U1}};
    const char *name = descr;
    out->big_endian = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
    if (*name != '\0' && strchr("<>|=", *name)) {
        if (*name == '<' || *name == '>')
            out->big_endian = *name == '>';
        name++;
    }
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(name, types[i].name) == 0) {
            out->value = types[i].value;
            return OMEN_OK;
        }
    }
    return omen_fail(reason, OMEN_ERR_INPUT, "the array's dtype is %s'%.20s'; f2, f4, f8, i1 and u1 are read",
                     name[0] == 'O' ? "object " : "", descr);
}

static int find_layout(const omen_input *input, const omen_vector_format *format, uint32_t d, omen_layout *out,
                       omen_detail *reason)
{
    const unsigned char *bytes = input->bytes;
    npy_header header;

    if (!omen_npy_probe(input, format))
        return omen_fail(reason, OMEN_ERR_INPUT, "the file does not begin with the npy magic string");
    uint64_t start = input->n_bytes > MAGIC_BYTES && bytes[MAGIC_BYTES] > 1 ? 12 : 10;
    if (input->n_bytes < start)
        return omen_fail(reason, OMEN_ERR_INPUT, "the header is cut short: %" PRIu64 " bytes in all", input->n_bytes);
    if (bytes[MAGIC_BYTES] < 1 || bytes[MAGIC_BYTES] > 3) {
        return omen_fail(reason, OMEN_ERR_INPUT, "the npy version is %u.%u; 1, 2 and 3 are read", bytes[MAGIC_BYTES],
                         bytes[MAGIC_BYTES + 1]);
    }
    uint64_t length = start == 12 ? omen_load_le32(bytes + 8) : bytes[8] | (unsigned)bytes[9] << 8;
    if (length > input->n_bytes - start) {
        return omen_fail(reason, OMEN_ERR_INPUT, "the header is cut short: %" PRIu64 " of %" PRIu64 " bytes",
                         input->n_bytes, start + length);
    }
    npy_text text = {(const char *)bytes + start, (const char *)bytes + start + length};
    if (!header_parse(text, &header))
        return omen_fail(reason, OMEN_ERR_INPUT, "the npy header is damaged or of an unknown format");
    if (header.is_structured) {
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "the array has a structured dtype; plain f2, f4, f8, i1 and u1 are read");
    }
    memset(out, 0, sizeof(*out));
    int status = type_parse(header.descr, out, reason);
    if (status != OMEN_OK)
        return status;
    if (header.n_shape != 2) {
        return omen_fail(reason, OMEN_ERR_INPUT, "the array has %u dimension%s; rows of values need 2, shape (n, d)",
                         header.n_shape, header.n_shape == 1 ? "" : "s");
    }
    out->n_rows = header.shape[0];
    out->offset = start + length;
    out->by_columns = header.by_columns;
    return omen_layout_check(input, header.shape[1], out, reason);
}

int omen_npy_open(omen_vectors *vectors, uint32_t d, omen_detail *reason)
{
    return omen_layout_open(vectors, find_layout, d, reason);
}

bool omen_npy_probe(const omen_input *input, const omen_vector_format *format)
{
    return input->n_bytes >= MAGIC_BYTES && memcmp(input->bytes, MAGIC, MAGIC_BYTES) == 0;
}

/* ---- arrays by columns ------------------------------------------------- */

#define TILE_ROWS    64 /* a tile is on the stack */
#define TILE_COLUMNS 16

/* Transposes in tiles: each column's piece is read in one run, and each row of a tile fills a cache line of out. */
static int columns_read(const omen_vectors *vectors, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    const omen_layout *layout = vectors->layout;
    const uint64_t value_bytes = omen_value_bytes(layout->value), d = layout->d;
    bool finite = true;
    float tile[TILE_COLUMNS][TILE_ROWS];

    for (uint64_t column = 0; column < d; column += TILE_COLUMNS) {
        size_t n_columns = d - column < TILE_COLUMNS ? d - column : TILE_COLUMNS;
        const unsigned char *from =
            vectors->input.bytes + layout->offset + column * layout->stride + first * value_bytes;
        for (uint64_t row = 0; row < n; row += TILE_ROWS) {
            size_t n_rows = n - row < TILE_ROWS ? n - row : TILE_ROWS;
            for (size_t i = 0; i < n_columns; i++) {
                omen_values_convert(layout->value, layout->big_endian, from + i * layout->stride + row * value_bytes,
                                    n_rows, tile[i]);
                finite &= omen_values_finite(tile[i], n_rows);
            }
            for (size_t j = 0; j < n_rows; j++) {
                float *to = out + (row + j) * d + column;
                for (size_t i = 0; i < n_columns; i++)
                    to[i] = tile[i][j];
            }
        }
    }
    return finite ? OMEN_OK : omen_values_fault(vectors, first, out, why);
}

int omen_npy_read(const omen_vectors *vectors, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    return vectors->layout->by_columns ? columns_read(vectors, first, n, out, why)
                                       : omen_layout_read(vectors, first, n, out, why);
}

/* ---- writing ----------------------------------------------------------- */

int omen_npy_write(FILE *stream, const omen_source *source, omen_progress_fn progress, void *context, omen_detail *why)
{
    enum { ALIGN = 64, PREFIX_BYTES = 10, TEXT_BYTES = 2 * ALIGN - PREFIX_BYTES };
    char header[PREFIX_BYTES + TEXT_BYTES + 1] = {MAGIC "\x01"};
    header[8] = TEXT_BYTES;
    int n =
        snprintf(header + PREFIX_BYTES, TEXT_BYTES,
                 "{'descr': '<f4', 'fortran_order': False, 'shape': (%" PRIu64 ", %u), }", source->n_rows, source->d);
    memset(header + PREFIX_BYTES + n, ' ', TEXT_BYTES - n);
    header[PREFIX_BYTES + TEXT_BYTES - 1] = '\n';
    return omen_rows_write(stream, header, PREFIX_BYTES + TEXT_BYTES, false, source, progress, context, why);
}
