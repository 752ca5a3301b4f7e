/* SPDX-License-Identifier: Apache-2.0 */
/* A column from an npy array of one dimension. */
#include "formats/columns_internal.h"
#include "formats/npy_header.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    char kind; /* i, u, b or f */
    uint64_t item_bytes;
    bool big_endian;
    const unsigned char *items;
    uint64_t n;
} number_array;

static int find_array(const omen_input *input, number_array *out, omen_detail *why)
{
    static const char *const types[] = {"i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", "f2", "f4", "f8"};
    omen_npy_header header;
    omen_detail reason = {""};
    const int status = omen_npy_header_read(input->bytes, input->n_bytes, &header, &reason);
    if (status != OMEN_OK)
        return omen_fail(why, status, "%s: %s", input->label, reason.text);
    const char *type = header.is_structured ? "?" : omen_npy_type(&header, &out->big_endian);
    size_t i = 0;
    while (i < sizeof types / sizeof *types && strcmp(type, types[i]) != 0)
        i++;
    if (i == sizeof types / sizeof *types)
        return omen_fail(why, OMEN_ERR_INPUT,
                         "%s: the array's dtype is %s'%.20s'; a column is of integers, bools or floats", input->label,
                         header.is_structured ? "structured: " : "", header.descr);
    if (header.n_shape < 1 || header.n_shape > 2 || (header.n_shape == 2 && header.shape[1] != 1))
        return omen_fail(why, OMEN_ERR_INPUT, "%s: the array has %u dimensions; a column has one, shape (n,)",
                         input->label, header.n_shape);
    out->kind = type[0];
    out->item_bytes = (uint64_t)(type[1] - '0');
    out->items = input->bytes + header.offset;
    out->n = header.shape[0];
    const uint64_t there = input->n_bytes - header.offset;
    if (there % out->item_bytes != 0 || there / out->item_bytes != out->n)
        return omen_fail(why, OMEN_ERR_INPUT,
                         "%s: the header claims %" PRIu64 " values of %" PRIu64 " bytes, and %" PRIu64 " bytes follow",
                         input->label, out->n, out->item_bytes, there);
    return OMEN_OK;
}

/* Item i, sign-extended if it is signed. */
static uint64_t load(const number_array *a, uint64_t i)
{
    const unsigned char *item = a->items + i * a->item_bytes;
    const unsigned char top = item[a->big_endian ? 0 : a->item_bytes - 1];
    uint64_t value = a->kind == 'i' && top >> 7 ? UINT64_MAX : 0;
    for (uint64_t b = 0; b < a->item_bytes; b++)
        value = value << 8 | item[a->big_endian ? b : a->item_bytes - 1 - b];
    return value;
}

static double load_real(const number_array *a, uint64_t i)
{
    const uint64_t bits = load(a, i);
    double wide;
    float narrow;
    if (a->item_bytes == 8) {
        memcpy(&wide, &bits, sizeof wide);
        return wide;
    }
    if (a->item_bytes == 4) {
        memcpy(&narrow, &bits, sizeof narrow);
        return (double)narrow;
    }
    const unsigned exponent = bits >> 10 & 31, fraction = bits & 1023;
    wide = exponent == 31  ? (fraction ? NAN : INFINITY)
           : exponent == 0 ? ldexp(fraction, -24)
                           : ldexp(1024 + fraction, (int)exponent - 25);
    return bits >> 15 & 1 ? -wide : wide;
}

static int add_array(omen_columns *columns, const char *name, const number_array *a, const omen_input *input,
                     omen_detail *why)
{
    int status = OMEN_OK;
    if (a->kind == 'f') {
        double *values = malloc(a->n * sizeof *values);
        for (uint64_t i = 0; values && i < a->n; i++)
            values[i] = load_real(a, i);
        if (values)
            status = omen_columns_add_reals(
                columns, name, a->item_bytes == 8 ? OMEN_COLUMN_FLOAT64 : OMEN_COLUMN_FLOAT32, values, NULL, why);
        free(values);
        return values ? status : omen_fail(why, OMEN_ERR_MEMORY, "out of memory for %s", input->label);
    }
    int64_t *values = malloc(a->n * sizeof *values);
    if (!values)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for %s", input->label);
    for (uint64_t i = 0; i < a->n && status == OMEN_OK; i++) {
        const uint64_t value = load(a, i);
        if (a->kind == 'u' && value > INT64_MAX)
            status = omen_fail(why, OMEN_ERR_INPUT, "%s, row %" PRIu64 ": %" PRIu64 " is beyond int64", input->label, i,
                               value);
        values[i] = (int64_t)value;
    }
    if (status == OMEN_OK)
        status = omen_columns_add_integers(columns, name, values, NULL, why);
    free(values);
    return status;
}

int omen_array_read(omen_columns *columns, const char *assignment, uint64_t memory_bytes, omen_detail *why)
{
    const char *equals = strchr(assignment, '=');
    omen_input input;
    number_array a = {.kind = 'i'};
    if (!equals || equals == assignment || equals[1] == '\0')
        return omen_fail(why, OMEN_ERR_ARGUMENT, "options.column: \"%.200s\" is not NAME=FILE", assignment);
    char *name = strndup(assignment, (size_t)(equals - assignment));
    if (!name)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for a column");
    int status = omen_input_open(&input, equals + 1, why);
    if (status == OMEN_OK) {
        status = find_array(&input, &a, why);
        if (status == OMEN_OK)
            status = omen_columns_of_rows(columns, a.n, input.label, why);
        if (status == OMEN_OK)
            status = omen_columns_room(columns, a.n * 16, memory_bytes, input.label, why);
        if (status == OMEN_OK)
            status = add_array(columns, name, &a, &input, why);
        omen_input_close(&input);
    }
    free(name);
    return status;
}
