/* SPDX-License-Identifier: Apache-2.0 */
/* Unlinked copies in TMPDIR, and writing all of something. */
#ifndef OMEN_SPOOL_H
#define OMEN_SPOOL_H

#include <limits.h>

#include "lib/omendb.h"

/* Opens an unlinked file in TMPDIR for reading and writing; label, for messages, names what it is a copy of. Returns
 * OMEN_OK, OMEN_ERR_ARGUMENT (TMPDIR is too long) or OMEN_ERR_IO. */
int omen_spool_open(const char *label, int *fd, omen_detail *why) OMEN_MUST_CHECK;

/* The same with a name, for a library that opens files by name; the caller unlinks it. */
int omen_spool_open_named(const char *label, char path[PATH_MAX], int *fd, omen_detail *why) OMEN_MUST_CHECK;

/* omen_mapping_open(); where the file system maps no files, of a copy in TMPDIR. */
void *omen_file_map(int fd, uint64_t offset, size_t n_bytes, const char *label);

/* Refuses to unpack n_bytes into a file on a disk that has not so many free. A file system that does not say is tried.
 * Returns OMEN_OK or OMEN_ERR_IO, with a reason that does not name the file. */
int omen_spool_check_room(int fd, uint64_t n_bytes, omen_detail *reason) OMEN_MUST_CHECK;

/* Write all bytes, at the current position or at an offset. Return 0, or -1 with errno set. */
int omen_write_all(int fd, const void *data, uint64_t n_bytes);
int omen_pwrite_all(int fd, const void *data, uint64_t n_bytes, uint64_t offset);

/* Reads all of n_bytes. Returns 0; 1 where the file ends before, with errno EIO; or -1 with errno set. */
int omen_pread_all(int fd, void *data, uint64_t n_bytes, uint64_t offset);

#endif
