/* SPDX-License-Identifier: Apache-2.0 */
/* The header of npy, NumPy's array file, versions 1 to 3: a magic string, the length of a header, a header that is a
 * Python dict literal of descr, fortran_order and shape; then the array. */
#ifndef OMEN_NPY_HEADER_H
#define OMEN_NPY_HEADER_H

#include "lib/omendb.h"

typedef struct omen_npy_header {
    char descr[64];     /* the dtype, such as "<f4"; cut to the room there is */
    bool is_structured; /* the dtype is a list of fields: nothing else is read then */
    bool by_columns;    /* Fortran order */
    uint64_t shape[2];  /* of an array of more dimensions, the first two */
    unsigned n_shape;   /* dimensions */
    uint64_t offset;    /* of the array in the file */
} omen_npy_header;

/* Whether the bytes begin with npy's magic string. */
bool omen_npy_is(const unsigned char *bytes, uint64_t n_bytes);

/* How many bytes a file that begins with these n_bytes has at least to have for its header to be read. */
uint64_t omen_npy_header_bytes(const unsigned char *bytes, uint64_t n_bytes);

/* Reads the header of a file of n_bytes. Returns OMEN_OK or OMEN_ERR_INPUT with a reason that does not name the file.
 */
int omen_npy_header_read(const unsigned char *bytes, uint64_t n_bytes, omen_npy_header *out,
                         omen_detail *reason) OMEN_MUST_CHECK;

/* The dtype without its byte order, such as "f4"; *big_endian gets the order. */
const char *omen_npy_type(const omen_npy_header *header, bool *big_endian);

/* An array of one dimension, (n,) or (n, 1). */
typedef struct omen_npy_vector {
    char type;           /* i, u, b, f, S or U, as its dtype begins */
    uint64_t item_bytes; /* four a character of U */
    bool big_endian;
    const unsigned char *items; /* n, in the file */
    uint64_t n;
} omen_npy_vector;

/* Reads the header of a file of n_bytes that holds such an array, of one of these types; wanted says which, as the end
 * of a sentence. Returns as omen_npy_header_read(). */
int omen_npy_check_vector(const unsigned char *bytes, uint64_t n_bytes, const char *types, const char *wanted,
                          omen_npy_vector *out, omen_detail *reason) OMEN_MUST_CHECK;

/* An integer of n_bytes, up to 8, sign-extended if is_signed. */
uint64_t omen_npy_integer(const unsigned char *from, uint64_t n_bytes, bool big_endian, bool is_signed);

#endif
