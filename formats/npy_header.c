/* SPDX-License-Identifier: Apache-2.0 */
/* Parses the header of an npy file. */
#include "formats/npy_header.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC       "\x93NUMPY"
#define MAGIC_BYTES 6

/* A position in the header text. */
typedef struct npy_text {
    const char *at, *end;
} npy_text;

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
    size_t n = (size_t)(text->at++ - start);
    if (n >= size)
        n = size - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = isprint((unsigned char)start[i]) ? start[i] : '?';
    out[n] = '\0';
    return true;
}

/* Reads a tuple of whole numbers; of those past the second only the number is kept. Python 2 wrote 10L for 10. */
static bool read_shape(npy_text *text, omen_npy_header *header)
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
static bool read_item(npy_text *text, omen_npy_header *header, unsigned *seen)
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

static bool header_parse(npy_text text, omen_npy_header *out)
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

bool omen_npy_is(const unsigned char *bytes, uint64_t n_bytes)
{
    return n_bytes >= MAGIC_BYTES && memcmp(bytes, MAGIC, MAGIC_BYTES) == 0;
}

uint64_t omen_npy_header_bytes(const unsigned char *bytes, uint64_t n_bytes)
{
    if (memcmp(bytes, MAGIC, n_bytes < MAGIC_BYTES ? n_bytes : MAGIC_BYTES) != 0)
        return n_bytes; /* enough to tell that it is none */
    const uint64_t start = n_bytes > MAGIC_BYTES && bytes[MAGIC_BYTES] > 1 ? 12 : 10;
    if (n_bytes < start)
        return start;
    uint64_t length = bytes[8] | (unsigned)bytes[9] << 8;
    if (start == 12)
        length |= (uint64_t)bytes[10] << 16 | (uint64_t)bytes[11] << 24;
    return start + length;
}

int omen_npy_header_read(const unsigned char *bytes, uint64_t n_bytes, omen_npy_header *out, omen_detail *reason)
{
    if (!omen_npy_is(bytes, n_bytes))
        return omen_fail(reason, OMEN_ERR_INPUT, "the file does not begin with the npy magic string");
    uint64_t start = n_bytes > MAGIC_BYTES && bytes[MAGIC_BYTES] > 1 ? 12 : 10;
    if (n_bytes < start)
        return omen_fail(reason, OMEN_ERR_INPUT, "the header is cut short: %" PRIu64 " bytes in all", n_bytes);
    if (bytes[MAGIC_BYTES] < 1 || bytes[MAGIC_BYTES] > 3) {
        return omen_fail(reason, OMEN_ERR_INPUT, "the npy version is %u.%u; 1, 2 and 3 are read", bytes[MAGIC_BYTES],
                         bytes[MAGIC_BYTES + 1]);
    }
    const uint64_t length = omen_npy_header_bytes(bytes, n_bytes) - start;
    if (length > n_bytes - start) {
        return omen_fail(reason, OMEN_ERR_INPUT, "the header is cut short: %" PRIu64 " of %" PRIu64 " bytes", n_bytes,
                         start + length);
    }
    npy_text text = {(const char *)bytes + start, (const char *)bytes + start + length};
    if (!header_parse(text, out))
        return omen_fail(reason, OMEN_ERR_INPUT, "the npy header is damaged or of an unknown format");
    out->offset = start + length;
    return OMEN_OK;
}

const char *omen_npy_type(const omen_npy_header *header, bool *big_endian)
{
    const char *name = header->descr;
    *big_endian = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
    if (*name != '\0' && strchr("<>|=", *name)) {
        if (*name == '<' || *name == '>')
            *big_endian = *name == '>';
        name++;
    }
    return name;
}

/* Whether values of a type are so wide: bytes, or of S and U characters. */
static bool has_width(char type, uint64_t width)
{
    switch (type) {
    case 'b':
        return width == 1;
    case 'S':
    case 'U':
        return width >= 1 && width <= INT32_MAX;
    default:
        return width == 2 || width == 4 || width == 8 || (width == 1 && type != 'f');
    }
}

int omen_npy_check_vector(const unsigned char *bytes, uint64_t n_bytes, const char *types, const char *wanted,
                          omen_npy_vector *out, omen_detail *reason)
{
    omen_npy_header header;
    int status = omen_npy_header_read(bytes, n_bytes, &header, reason);
    if (status != OMEN_OK)
        return status;
    const char *type = header.is_structured ? "?" : omen_npy_type(&header, &out->big_endian);
    char *end = NULL;
    const uint64_t width = type[0] != '\0' && type[1] >= '0' && type[1] <= '9' ? strtoull(type + 1, &end, 10) : 0;
    if (width == 0 || *end != '\0' || !strchr(types, type[0]) || !has_width(type[0], width)) {
        return omen_fail(reason, OMEN_ERR_INPUT, "the array's dtype is %s'%.20s'; %s",
                         header.is_structured ? "structured: " : "", header.descr, wanted);
    }
    if (header.n_shape < 1 || header.n_shape > 2 || (header.n_shape == 2 && header.shape[1] != 1)) {
        return omen_fail(reason, OMEN_ERR_INPUT, "the array has %u dimensions, and should have one, shape (n,)",
                         header.n_shape);
    }
    out->type = type[0];
    out->item_bytes = type[0] == 'U' ? 4 * width : width;
    out->items = bytes + header.offset;
    out->n = header.shape[0];
    const uint64_t there = n_bytes - header.offset;
    if (there % out->item_bytes == 0 && there / out->item_bytes == out->n)
        return OMEN_OK;
    return omen_fail(reason, OMEN_ERR_INPUT,
                     "the header claims %" PRIu64 " values of %" PRIu64 " bytes, and %" PRIu64 " bytes follow", out->n,
                     out->item_bytes, there);
}

uint64_t omen_npy_integer(const unsigned char *from, uint64_t n_bytes, bool big_endian, bool is_signed)
{
    uint64_t value = is_signed && from[big_endian ? 0 : n_bytes - 1] >> 7 ? UINT64_MAX : 0;
    for (uint64_t i = 0; i < n_bytes; i++)
        value = value << 8 | from[big_endian ? i : n_bytes - 1 - i];
    return value;
}
