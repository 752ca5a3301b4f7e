/* SPDX-License-Identifier: Apache-2.0 */
/* A column from an npy array of one dimension. */
#include "formats/columns_internal.h"
#include "formats/npy_header.h"
#include "formats/values.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_VALUES 1024u /* of floats, converted at once */

/* The values of an array of floats. What is narrower than float64 goes through float32, which holds it. */
static void load_reals(const omen_npy_vector *a, double *out)
{
    const omen_value value = a->item_bytes == 2 ? OMEN_VALUE_F2 : OMEN_VALUE_F4;
    float block[BLOCK_VALUES];
    if (a->item_bytes == 8) {
        for (uint64_t i = 0; i < a->n; i++) {
            const uint64_t bits = omen_npy_integer(a->items + 8 * i, 8, a->big_endian, false);
            memcpy(&out[i], &bits, sizeof bits);
        }
        return;
    }
    for (uint64_t i = 0, n; i < a->n; i += n) {
        n = a->n - i < BLOCK_VALUES ? a->n - i : BLOCK_VALUES;
        omen_values_convert(value, a->big_endian, a->items + i * a->item_bytes, n, block);
        for (uint64_t j = 0; j < n; j++)
            out[i + j] = (double)block[j];
    }
}

static int add_array(omen_columns *columns, const char *name, const omen_npy_vector *a, const omen_input *input,
                     omen_detail *why)
{
    int status = OMEN_OK;
    if (a->type == 'f') {
        double *values = malloc(a->n * sizeof *values);
        if (!values)
            return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for %s", input->label);
        load_reals(a, values);
        status = omen_columns_add_reals(columns, name, a->item_bytes == 8 ? OMEN_COLUMN_FLOAT64 : OMEN_COLUMN_FLOAT32,
                                        values, NULL, why);
        free(values);
        return status;
    }
    int64_t *values = malloc(a->n * sizeof *values);
    if (!values)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for %s", input->label);
    for (uint64_t i = 0; i < a->n && status == OMEN_OK; i++) {
        const uint64_t value =
            omen_npy_integer(a->items + i * a->item_bytes, a->item_bytes, a->big_endian, a->type == 'i');
        if (a->type == 'u' && value > INT64_MAX)
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
    omen_npy_vector a;
    omen_detail reason = {""};
    if (!equals || equals == assignment || equals[1] == '\0')
        return omen_fail(why, OMEN_ERR_ARGUMENT, "options.column: \"%.200s\" is not NAME=FILE", assignment);
    char *name = strndup(assignment, (size_t)(equals - assignment));
    if (!name)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for a column");
    int status = omen_input_open(&input, equals + 1, why);
    if (status == OMEN_OK) {
        status = omen_npy_check_vector(input.bytes, input.n_bytes, "iubf", "a column is of integers, bools or floats",
                                       &a, &reason);
        if (status != OMEN_OK)
            omen_fail(why, status, "%s: %s", input.label, reason.text);
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
