/* SPDX-License-Identifier: Apache-2.0 */
/* npy, NumPy's array file: two-dimensional arrays of real numbers are read, by rows (C order) or by columns (Fortran
 * order). */
#include "formats/npy_header.h"
#include "formats/rows.h"
#include "formats/vectors_internal.h"

#include <inttypes.h>
#include <stdio.h>

#define TYPES_READ "floats (f2, f4, f8, bfloat16) and integers (i1 to i8, u1 to u8) are read"

/* ---- the header -------------------------------------------------------- */

/* Sets value and byte order from a descr such as "<f4". */
static int type_parse(const omen_npy_header *header, omen_layout *out, omen_detail *reason)
{
    static const struct {
        const char *name;
        omen_value value;
    } types[] = {{"f1", OMEN_VALUE_F1}, {"f2", OMEN_VALUE_F2}, {"f4", OMEN_VALUE_F4}, {"f8", OMEN_VALUE_F8},
                 {"i1", OMEN_VALUE_I1}, {"i2", OMEN_VALUE_I2}, {"i4", OMEN_VALUE_I4}, {"i8", OMEN_VALUE_I8},
                 {"u1", OMEN_VALUE_U1}, {"u2", OMEN_VALUE_U2}, {"u4", OMEN_VALUE_U4}, {"u8", OMEN_VALUE_U8}};
    const char *name = omen_npy_type(header, &out->big_endian);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcmp(name, types[i].name) == 0) {
            out->value = types[i].value;
            return OMEN_OK;
        }
    }
    /* What ml_dtypes writes for bfloat16; bytes without a type have no order and are "|V2". */
    if (strcmp(header->descr, "<V2") == 0 || strcmp(header->descr, ">V2") == 0) {
        out->value = OMEN_VALUE_BF2;
        return OMEN_OK;
    }
    if (strcmp(name, "V1") == 0) {
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "the array's dtype is '%.20s', a type of 8 bits or less that npy does not tell, such as "
                         "float8_e4m3fn: save it as float32, by a.astype('f4')",
                         header->descr);
    }
    return omen_fail(reason, OMEN_ERR_INPUT, "the array's dtype is %s'%.20s'; " TYPES_READ,
                     name[0] == 'O' ? "object " : "", header->descr);
}

/* *columns gets the number of values in a row. */
static int read_layout(const unsigned char *bytes, uint64_t n_bytes, omen_layout *out, uint64_t *columns,
                       omen_detail *reason)
{
    omen_npy_header header;

    int status = omen_npy_header_read(bytes, n_bytes, &header, reason);
    if (status != OMEN_OK)
        return status;
    if (header.is_structured)
        return omen_fail(reason, OMEN_ERR_INPUT, "the array has a structured dtype; plain " TYPES_READ);
    memset(out, 0, sizeof(*out));
    status = type_parse(&header, out, reason);
    if (status != OMEN_OK)
        return status;
    if (header.n_shape != 2) {
        return omen_fail(reason, OMEN_ERR_INPUT, "the array has %u dimension%s; rows of values need 2, shape (n, d)",
                         header.n_shape, header.n_shape == 1 ? "" : "s");
    }
    out->n_rows = header.shape[0];
    out->offset = header.offset;
    out->by_columns = header.by_columns;
    *columns = header.shape[1];
    return OMEN_OK;
}

int omen_npy_find_layout(const omen_input *input, const omen_vector_format *format, uint32_t d, omen_layout *out,
                         omen_detail *reason)
{
    uint64_t columns;
    const int status = read_layout(input->bytes, input->n_bytes, out, &columns, reason);
    return status == OMEN_OK ? omen_layout_check(input, columns, out, reason) : status;
}

int omen_npy_head(const unsigned char *bytes, uint64_t n_bytes, const omen_vector_format *format, uint32_t d,
                  omen_layout *out, uint64_t *n_needed, omen_detail *reason)
{
    uint64_t columns;
    *n_needed = omen_npy_header_bytes(bytes, n_bytes);
    if (n_bytes < *n_needed)
        return OMEN_OK;
    const int status = read_layout(bytes, n_bytes, out, &columns, reason);
    return status == OMEN_OK ? omen_layout_check_shape(columns, out, reason) : status;
}

int omen_npy_open(omen_vectors *vectors, uint32_t d, omen_detail *reason)
{
    return omen_layout_open(vectors, omen_npy_find_layout, d, reason);
}

bool omen_npy_probe(const omen_input *input, const omen_vector_format *format)
{
    return omen_npy_is(input->bytes, input->n_bytes);
}

/* ---- arrays by columns ------------------------------------------------- */

#define TILE_ROWS    64 /* a tile is on the stack */
#define TILE_COLUMNS 16

/* Names the first of n values of a column that is an integer which float32 rounds. */
static int fail_column(const omen_vectors *vectors, uint64_t row, uint64_t column, size_t n, omen_detail *why)
{
    const omen_layout *layout = vectors->layout;
    const uint64_t value_bytes = omen_value_bytes(layout->value);
    const unsigned char *from = vectors->input.bytes + layout->offset + column * layout->stride + row * value_bytes;
    size_t i = 0;
    while (i + 1 < n && omen_values_exact(layout->value, layout->big_endian, from + i * value_bytes, 1))
        i++;
    return omen_inexact_fault(vectors, row + i, column, why);
}

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
                if (!omen_values_exact(layout->value, layout->big_endian, from + i * layout->stride + row * value_bytes,
                                       n_rows))
                    return fail_column(vectors, first + row, column + i, n_rows, why);
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
    char header[PREFIX_BYTES + TEXT_BYTES + 1] = {"\x93NUMPY\x01"};
    header[8] = TEXT_BYTES;
    int n =
        snprintf(header + PREFIX_BYTES, TEXT_BYTES,
                 "{'descr': '<f4', 'fortran_order': False, 'shape': (%" PRIu64 ", %u), }", source->n_rows, source->d);
    memset(header + PREFIX_BYTES + n, ' ', TEXT_BYTES - (size_t)n);
    header[PREFIX_BYTES + TEXT_BYTES - 1] = '\n';
    return omen_rows_write(stream, header, PREFIX_BYTES + TEXT_BYTES, false, source, progress, context, why);
}
