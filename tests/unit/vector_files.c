/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>

#include "tests/unit/check.h"
#include "tests/unit/scratch.h"
#include "tests/unit/vector_files.h"

omen_detail detail;

const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

void add(blob *b, const void *bytes, size_t n)
{
    memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
}

void add_value(blob *b, uint64_t bits, int n_bytes, bool big_endian)
{
    for (int i = 0; i < n_bytes; i++)
        b->bytes[b->n++] = (unsigned char)(bits >> 8 * (big_endian ? n_bytes - 1 - i : i));
}

void add_u32(blob *b, uint32_t value)
{
    add_value(b, value, 4, false);
}

void add_float(blob *b, float value, bool big_endian)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    add_value(b, bits, 4, big_endian);
}

void add_double(blob *b, double value, bool big_endian)
{
    uint64_t bits;
    memcpy(&bits, &value, 8);
    add_value(b, bits, 8, big_endian);
}

void add_half(blob *b, float value, bool big_endian)
{
    /* only for small whole numbers, which halves hold exactly */
    uint16_t bits = 0;
    if (value != 0) {
        int exponent;
        float fraction = frexpf(fabsf(value), &exponent);
        bits = (uint16_t)((exponent - 1 + 15) << 10 | ((int)(fraction * 2048) & 1023));
        bits |= value < 0 ? 0x8000 : 0;
    }
    add_value(b, bits, 2, big_endian);
}

void save_bytes(const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(path_of(name), "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) {
        perror(path_of(name));
        exit(1);
    }
}

void save(const char *name, const blob *b)
{
    save_bytes(name, b->bytes, b->n);
}

float value_at(uint64_t row, uint64_t column)
{
    return (float)(int)((row * 31 + column * 7) % 128) - 60;
}

void add_one(blob *b, const char *type, bool big_endian, float value)
{
    if (strcmp(type, "f4") == 0)
        add_float(b, value, big_endian);
    else if (strcmp(type, "f8") == 0)
        add_double(b, value, big_endian);
    else if (strcmp(type, "f2") == 0)
        add_half(b, value, big_endian);
    else
        add_value(b, (uint64_t)(int64_t)(type[0] == 'u' ? value + 60 : value), type[1] - '0', big_endian);
}

void add_rows(blob *b, const char *type, bool big_endian, unsigned n, unsigned d)
{
    for (unsigned i = 0; i < n * d; i++)
        add_one(b, type, big_endian, value_at(i / d, i % d));
}

void add_vecs(blob *b, const char *type, unsigned n, unsigned d)
{
    for (unsigned i = 0; i < n; i++) {
        add_u32(b, d);
        for (unsigned j = 0; j < d; j++)
            add_one(b, type, false, value_at(i, j));
    }
}

void add_npy(blob *b, int version, const char *header)
{
    size_t length = strlen(header);
    add(b, "\x93NUMPY", 6);
    add_value(b, (unsigned)version, 1, false);
    add_value(b, 0, 1, false);
    add_value(b, length, version == 1 ? 2 : 4, false);
    add(b, header, length);
}

void add_idx(blob *b, int type, int n_dimensions, uint32_t n, uint32_t d1, uint32_t d2)
{
    unsigned char magic[4] = {0, 0, (unsigned char)type, (unsigned char)n_dimensions};
    uint32_t dimensions[3] = {n, d1, d2};
    add(b, magic, 4);
    for (int i = 0; i < n_dimensions; i++)
        add_value(b, i < 3 ? dimensions[i] : 0xffffffff, 4, true);
}

int try_open(const char *name, const char *format, uint32_t d, omen_vectors **out)
{
    omen_vectors_options options = {.format = format, .d = d};
    detail.text[0] = '\0';
    int status =
        omen_vectors_open(out, name[0] == '/' || strcmp(name, "-") == 0 ? name : path_of(name), &options, &detail);
    if (status != OMEN_OK) {
        CHECK(!*out);
        CHECK(detail.text[0] != '\0');
        CHECK(!strchr(detail.text, '\n'));
        CHECK(detail.text[strlen(detail.text) - 1] != '.');
    }
    return status;
}

void refuse(const char *name, const char *format, uint32_t d, int code, const char *part)
{
    omen_vectors *vectors;
    int status = try_open(name, format, d, &vectors);
    CHECK_EQ_INT(status, code);
    if (status != code)
        printf("# %s: %s\n", name, detail.text);
    CHECK_STR_CONTAINS(detail.text, part);
    omen_vectors_close(vectors);
}

void refuse_blob(const char *name, const blob *b, int code, const char *part)
{
    save(name, b);
    refuse(name, NULL, 0, code, part);
}

void expect(const char *name, const char *format, uint32_t d_wanted, const char *want_format, uint64_t n, uint32_t d,
            float shift)
{
    omen_vectors *vectors;
    int status = try_open(name, format, d_wanted, &vectors);
    CHECK_EQ_INT(status, OMEN_OK);
    if (status != OMEN_OK) {
        printf("# %s: %s\n", name, detail.text);
        return;
    }
    omen_source source = omen_vectors_source(vectors);
    CHECK(strcmp(omen_vectors_format(vectors), want_format) == 0);
    CHECK_EQ_INT(source.n_rows, n);
    CHECK_EQ_INT(source.d, d);
    for (uint64_t first = 0; first <= n; first++) {
        for (uint64_t part = 0; part <= n - first; part += part < 3 ? 1 : (n - first - part) / 2 + 1) {
            float *rows = malloc(part * d * sizeof(float) + 1);
            int bad = 0;
            CHECK_EQ_INT(source.read(source.self, first, part, rows, &detail), OMEN_OK);
            for (uint64_t i = 0; i < part * d; i++)
                bad += rows[i] != value_at(first + i / d, i % d) + shift;
            if (source.read_bytes) {
                uint8_t *bytes = (uint8_t *)rows;
                CHECK_EQ_INT(source.read_bytes(source.self, first, part, bytes, &detail), OMEN_OK);
                for (uint64_t i = 0; i < part * d; i++)
                    bad += bytes[i] != value_at(first + i / d, i % d) + shift;
            }
            CHECK_EQ_INT(bad, 0);
            free(rows);
        }
    }
    if (source.read_bytes)
        CHECK_EQ_INT(source.read_bytes(source.self, n, 1, NULL, &detail), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(source.read(source.self, n, 1, NULL, &detail), OMEN_ERR_ARGUMENT);
    CHECK_EQ_INT(source.read(source.self, 1, UINT64_MAX, NULL, &detail), OMEN_ERR_ARGUMENT);
    omen_vectors_close(vectors);
}

void expect_blob(const char *name, const blob *b, uint64_t n, uint32_t d, float shift)
{
    save(name, b);
    expect(name, NULL, 0, strrchr(name, '.') + 1, n, d, shift);
}

void refuse_row(const char *name, uint64_t row, const char *part)
{
    omen_vectors *vectors;
    CHECK_EQ_INT(try_open(name, NULL, 0, &vectors), OMEN_OK);
    if (!vectors)
        return;
    omen_source source = omen_vectors_source(vectors);
    float *rows = malloc(source.n_rows * source.d * sizeof(float));
    CHECK_EQ_INT(source.read(source.self, 0, source.n_rows, rows, &detail), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(detail.text, part);
    if (source.read_bytes) {
        detail.text[0] = '\0';
        CHECK_EQ_INT(source.read_bytes(source.self, 0, source.n_rows, (uint8_t *)rows, &detail), OMEN_ERR_INPUT);
        CHECK_STR_CONTAINS(detail.text, part);
    }
    CHECK_EQ_INT(source.read(source.self, 0, row, rows, &detail), OMEN_OK);
    CHECK_EQ_INT(source.read(source.self, row, 1, rows, &detail), OMEN_ERR_INPUT);
    CHECK_STR_CONTAINS(detail.text, part);
    free(rows);
    omen_vectors_close(vectors);
}

void refuse_prefixes(const char *name, const blob *b)
{
    for (size_t n = 0; n < b->n; n++) {
        omen_vectors *vectors;
        save_bytes(name, b->bytes, n);
        CHECK_EQ_INT(try_open(name, NULL, 0, &vectors), OMEN_ERR_INPUT);
        CHECK_STR_CONTAINS(detail.text, n == 0 ? "is empty" : name);
        omen_vectors_close(vectors);
    }
}
