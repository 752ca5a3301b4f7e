/* SPDX-License-Identifier: Apache-2.0 */
/* The .omen container: sections with checksums in one immutable file. Bytes: docs/FORMAT.md. It knows nothing of what
 * the sections mean. What programs that link the library may call is in omendb_files.h. */
#ifndef OMEN_CONTAINER_H
#define OMEN_CONTAINER_H

#include <sys/stat.h>

#include "formats/omendb_files.h"

/* ---- writing ---- */

/* omen_writer_create() for a copy of a file in another form: it gets like's permission bits and times, unless that is
 * NULL. path may also be something that is written in place, or "-" for standard output: it gets everything on commit.
 */
int omen_writer_create_like(omen_writer **out, const char *path, const struct stat *like,
                            omen_detail *why) OMEN_MUST_CHECK;

/* After commit: errno of an attribute of like that could not be copied, else 0. */
int omen_writer_like_error(const omen_writer *writer);

/* After commit: opens the file that was written, even if its name leads to another file by now. As
 * omen_container_open(). */
int omen_writer_open(const omen_writer *writer, omen_container **out, omen_detail *why) OMEN_MUST_CHECK;

/* After commit: whether the path still leads to what was written. */
bool omen_writer_has_name(const omen_writer *writer);

/* ---- reading ---- */

/* omen_container_open() for a file that is open already; fd stays the caller's, path is for messages. */
int omen_container_open_fd(omen_container **out, int fd, const char *path, omen_detail *why) OMEN_MUST_CHECK;

/* Whether a path leads to a regular file that holds an index, compressed or not, or that is damaged and may have been
 * one: for whoever wants to know what a file is that may also hold vectors. A file whose name is that of vectors is not
 * looked at. Nothing is to be relied on. */
bool omen_container_is_index(const char *path);

/* Takes check() away from the sections: whoever reads them from now on believes every byte. */
void omen_container_trust(omen_container *container);

/* Where section i's payload is in the file. */
uint64_t omen_container_offset(const omen_container *container, size_t i);

uint64_t omen_container_file_bytes(const omen_container *container);

/* What omen_sink.start() was given. */
uint64_t omen_container_identity(const omen_container *container);

/* The version of the format that the file was written by. */
void omen_container_version(const omen_container *container, uint32_t *major, uint32_t *minor);

/* The XXH3 of the section table: by way of the levels of checksums, of all that the file holds. */
uint64_t omen_container_checksum(const omen_container *container);

/* Called for each damaged range: the section's four-letter name ("head", "tabl", "tail" outside sections), the byte
 * range [first, first + n_bytes) of the file, and a sentence. */
typedef void (*omen_damage_fn)(void *context, const char *section, uint64_t first, uint64_t n_bytes, const char *text);

/* Reads every byte: block checksums of all sections, zero padding. n_threads <= 0: all. Returns OMEN_OK,
 * OMEN_ERR_CORRUPT, or OMEN_ERR_IO if bytes cannot be read (why names the first such range; damage elsewhere has
 * still been reported). */
int omen_container_check(const omen_container *container, int n_threads, omen_damage_fn damage, void *context,
                         omen_detail *why) OMEN_MUST_CHECK;

#endif
