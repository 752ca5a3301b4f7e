/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors: the length of a header, 8 bytes; the header, a JSON object of tensors with dtype, shape and offsets;
 * then their values, little-endian. A tensor of two dimensions is read where it lies. */
#include "formats/vectors_internal.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#define LENGTH_BYTES      8u
#define HEADER_BYTES_MOST (16u << 20) /* which takes 10 times as much memory, of empty objects 80 times */
#define LIST_BYTES        300u

static uint64_t load_u64(const unsigned char *from)
{
    return (uint64_t)omen_load_le32(from + 4) << 32 | omen_load_le32(from);
}

/* False for a type that is not read. */
static bool parse_type(const char *name, omen_value *out)
{
    static const struct {
        const char *name;
        omen_value value;
    } types[] = {{"F16", OMEN_VALUE_F2},    {"BF16", OMEN_VALUE_BF2}, {"F32", OMEN_VALUE_F4}, {"F64", OMEN_VALUE_F8},
                 {"I8", OMEN_VALUE_I1},     {"I16", OMEN_VALUE_I2},   {"I32", OMEN_VALUE_I4}, {"I64", OMEN_VALUE_I8},
                 {"U8", OMEN_VALUE_U1},     {"U16", OMEN_VALUE_U2},   {"U32", OMEN_VALUE_U4}, {"U64", OMEN_VALUE_U8},
                 {"F8_E5M2", OMEN_VALUE_F1}};
    for (size_t i = 0; name && i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(name, types[i].name) == 0) {
            *out = types[i].value;
            return true;
        }
    }
    return false;
}

/* A number at place i of an array; -1 if there is none. */
static int64_t number_at(const json_t *array, size_t i)
{
    const json_t *value = json_array_get(array, i);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

/* Adds a tensor to a list of them for a message. */
static void list_tensor(char list[LIST_BYTES], const char *name, const json_t *tensor)
{
    const json_t *shape = json_object_get(tensor, "shape");
    const char *type = json_string_value(json_object_get(tensor, "dtype"));
    const size_t used = strlen(list);
    char text[64];
    if (json_array_size(shape) == 2)
        snprintf(text, sizeof text, "%" PRId64 " x %" PRId64, number_at(shape, 0), number_at(shape, 1));
    else
        snprintf(text, sizeof text, "%zu dimension%s", json_array_size(shape), json_array_size(shape) == 1 ? "" : "s");
    snprintf(list + used, LIST_BYTES - used, "%s%.60s (%s, %.10s)", used > 0 ? ", " : "", name, text,
             type ? type : "?");
}

/* The tensor that is named, or the only one of two dimensions. */
static const json_t *choose(const json_t *header, const char *wanted, omen_detail *reason)
{
    char list[LIST_BYTES] = "";
    const json_t *found = NULL;
    unsigned n = 0;
    const char *name;
    json_t *tensor;
    json_object_foreach((json_t *)header, name, tensor)
    {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        list_tensor(list, name, tensor);
        if (wanted ? strcmp(name, wanted) != 0 : json_array_size(json_object_get(tensor, "shape")) != 2)
            continue;
        found = tensor;
        n++;
    }
    if (n == 1)
        return found;
    if (list[0] == '\0')
        omen_fail(reason, OMEN_ERR_INPUT, "it holds no tensors");
    else if (wanted)
        omen_fail(reason, OMEN_ERR_INPUT, "it has no tensor \"%.100s\"; there are %s", wanted, list);
    else
        omen_fail(reason, OMEN_ERR_INPUT, "%s, so name one, as FILE:NAME, of %s",
                  n == 0 ? "no tensor has two dimensions" : "several tensors have two dimensions", list);
    return NULL;
}

/* Finds the values of a tensor, which begin at first and end at the end of the file or before. */
static int find_values(const json_t *tensor, uint64_t first, uint64_t n_file_bytes, omen_layout *out, uint64_t *d,
                       uint64_t *n_bytes, omen_detail *reason)
{
    const char *type = json_string_value(json_object_get(tensor, "dtype"));
    const json_t *shape = json_object_get(tensor, "shape"), *offsets = json_object_get(tensor, "data_offsets");
    const int64_t n_rows = number_at(shape, 0), columns = number_at(shape, 1), begin = number_at(offsets, 0),
                  end = number_at(offsets, 1);
    const uint64_t n_data = n_file_bytes - first;
    if (!parse_type(type, &out->value))
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "the tensor's dtype is %.20s; F16, BF16, F32, F64 and integers are read",
                         type ? type : "missing");
    if (json_array_size(shape) != 2)
        return omen_fail(reason, OMEN_ERR_INPUT, "the tensor has %zu dimension%s; rows of values need 2",
                         json_array_size(shape), json_array_size(shape) == 1 ? "" : "s");
    if (n_rows < 0 || columns < 0 || json_array_size(offsets) != 2 || begin < 0 || end < begin ||
        (uint64_t)end > n_data)
        return omen_fail(reason, OMEN_ERR_INPUT, "the tensor lies beyond the end of the file, which may be cut short");
    out->n_rows = (uint64_t)n_rows;
    out->offset = first + (uint64_t)begin;
    *d = (uint64_t)columns;
    *n_bytes = (uint64_t)(end - begin);
    return OMEN_OK;
}

static int find_layout(const omen_input *input, const char *member, omen_layout *out, omen_detail *reason)
{
    if (!omen_safetensors_probe(input, NULL))
        return omen_fail(reason, OMEN_ERR_INPUT, "it does not begin with a header of safetensors, or is cut short");
    const uint64_t length = load_u64(input->bytes), first = LENGTH_BYTES + length;
    json_error_t error;
    uint64_t d = 0, n_bytes = 0;
    if (length > HEADER_BYTES_MOST)
        return omen_fail(reason, OMEN_ERR_INPUT, "its header is longer than %u MiB", HEADER_BYTES_MOST >> 20);
    json_t *header = json_loadb((const char *)input->bytes + LENGTH_BYTES, length, JSON_REJECT_DUPLICATES, &error);
    int status = OMEN_ERR_INPUT;
    if (!header) {
        status = omen_fail(reason, status, "its header is damaged: %.200s", error.text);
    } else {
        const json_t *tensor = choose(header, member, reason);
        if (tensor)
            status = find_values(tensor, first, input->n_bytes, out, &d, &n_bytes, reason);
    }
    json_decref(header);
    if (status != OMEN_OK)
        return status;
    /* the check is of a file that ends where the tensor does */
    omen_input part = *input;
    part.n_bytes = out->offset + n_bytes;
    return omen_layout_check(&part, d, out, reason);
}

int omen_safetensors_open(omen_vectors *vectors, uint32_t d, omen_detail *reason)
{
    omen_layout layout = {.n_rows = 0};
    const int status = find_layout(&vectors->input, vectors->member, &layout, reason);
    return status == OMEN_OK ? omen_layout_keep(vectors, &layout, reason) : status;
}

/* The length of the header fits, and it looks like an object. */
bool omen_safetensors_probe(const omen_input *input, const omen_vector_format *format)
{
    const unsigned char *bytes = input->bytes;
    if (input->n_bytes < LENGTH_BYTES + 2)
        return false;
    const uint64_t length = load_u64(bytes);
    return length >= 2 && length <= input->n_bytes - LENGTH_BYTES && bytes[8] == '{' &&
           (bytes[9] == '"' || bytes[9] == '}') && (bytes[7 + length] == '}' || bytes[7 + length] == ' ');
}
