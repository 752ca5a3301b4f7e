/* SPDX-License-Identifier: Apache-2.0 */
/* Vector files made byte by byte in the scratch directory, and what is expected of opening and reading them. */
#ifndef OMEN_VECTOR_FILES_H
#define OMEN_VECTOR_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/vectors.h"
#include "lib/omendb.h"

typedef struct blob {
    size_t n;
    unsigned char bytes[16384];
} blob;

extern omen_detail detail; /* of the last call */

const char *path_of(const char *name);

void add(blob *b, const void *bytes, size_t n);

void add_value(blob *b, uint64_t bits, int n_bytes, bool big_endian);

void add_u32(blob *b, uint32_t value);

void add_float(blob *b, float value, bool big_endian);

void add_double(blob *b, double value, bool big_endian);

void add_half(blob *b, float value, bool big_endian);

void save_bytes(const char *name, const void *bytes, size_t n);

void save(const char *name, const blob *b);

/* The test array: whole numbers from -60 to 67, so that every type but u1 holds them. */
float value_at(uint64_t row, uint64_t column);

void add_one(blob *b, const char *type, bool big_endian, float value);

void add_rows(blob *b, const char *type, bool big_endian, unsigned n, unsigned d);

void add_vecs(blob *b, const char *type, unsigned n, unsigned d);

void add_npy(blob *b, int version, const char *header);

void add_idx(blob *b, int type, int n_dimensions, uint32_t n, uint32_t d1, uint32_t d2);

int try_open(const char *name, const char *format, uint32_t d, omen_vectors **out);

/* Expects opening to fail with code and a message that has part in it. */
void refuse(const char *name, const char *format, uint32_t d, int code, const char *part);

void refuse_blob(const char *name, const blob *b, int code, const char *part);

/* Expects the test array, or for u1 the array plus 60, whole and in parts. */
void expect(const char *name, const char *format, uint32_t d_wanted, const char *want_format, uint64_t n, uint32_t d,
            float shift);

void expect_blob(const char *name, const blob *b, uint64_t n, uint32_t d, float shift);

/* Expects reading all rows to fail with a message that has part in it, and all rows before row to be readable. */
void refuse_row(const char *name, uint64_t row, const char *part);

/* Expects no prefix of the file to open. The prefix of length 0 is empty. */
void refuse_prefixes(const char *name, const blob *b);

#endif
