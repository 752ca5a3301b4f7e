/* SPDX-License-Identifier: Apache-2.0 */
/* The members of a zip archive in memory, as the directory at its end has them; zip64 too. */
#ifndef OMEN_ZIP_H
#define OMEN_ZIP_H

#include "lib/omendb.h"

/* An archive, and how far its directory has been read. */
typedef struct omen_zip {
    const unsigned char *bytes;
    uint64_t n_bytes;
    uint64_t at, end; /* of the directory, from the entry that is read next */
    uint64_t n_left;  /* entries */
} omen_zip;

enum { OMEN_ZIP_STORED = 0, OMEN_ZIP_DEFLATED = 8 };

/* A member: its bytes lie inside the archive. */
typedef struct omen_zip_member {
    const char *name; /* n_name bytes, without an end */
    uint32_t n_name;
    unsigned method; /* other numbers than the two above too */
    bool is_encrypted;
    uint32_t checksum;         /* CRC-32 of what is packed, as the archive says */
    uint64_t offset, n_packed; /* its bytes */
    uint64_t n_bytes;          /* unpacked, as the archive says */
} omen_zip_member;

/* Whether the bytes begin like an archive. */
bool omen_zip_is(const unsigned char *bytes, uint64_t n_bytes);

/* Finds the directory. Returns OMEN_OK or OMEN_ERR_INPUT with a reason that does not name the file. */
int omen_zip_open(omen_zip *out, const unsigned char *bytes, uint64_t n_bytes, omen_detail *reason) OMEN_MUST_CHECK;

/* Reads the next member; *is_end: there is none. Returns as omen_zip_open(). */
int omen_zip_next(omen_zip *zip, omen_zip_member *out, bool *is_end, omen_detail *reason) OMEN_MUST_CHECK;

#endif
