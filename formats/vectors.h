/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of vector files: every format behind one small table (vectors.c), one file per family. What programs that
 * link the library may call is in omendb_files.h. */
#ifndef OMEN_VECTORS_H
#define OMEN_VECTORS_H

#include <stdio.h>
#include <sys/stat.h>

#include "formats/omendb_files.h"

/* The status of what was opened: for a stream that was copied, or a compressed file, of the original. */
const struct stat *omen_vectors_status(const omen_vectors *vectors);

/* Length of the part of a path that names a file: all of it, unless no file has that name and it is FILE:NAME, of which
 * FILE is the shortest that leads to a file and no directory, or "-". */
size_t omen_vectors_file_bytes(const char *path);

/* Length of a path without an ending of what is unpacked when it is read, such as ".gz". */
size_t omen_vectors_stem(const char *path);

/* The names of the formats that can be written, separated by ", ". */
const char *omen_vectors_write_formats(void);

/* As omen_vectors_named(), NULL also for a format that cannot be written. */
const char *omen_vectors_write_named(const char *path);

/* The type of the stored values, such as "float32". */
const char *omen_vectors_type(const omen_vectors *vectors);

/* Writes all rows of source as float32 to stream. Returns OMEN_OK, OMEN_ERR_ARGUMENT (a format that cannot be written),
 * OMEN_ERR_MEMORY, OMEN_ERR_IO, OMEN_ERR_INTERRUPTED or what source returned. progress may be NULL. */
int omen_vectors_write(FILE *stream, const char *format, const omen_source *source, omen_progress_fn progress,
                       void *context, omen_detail *why) OMEN_MUST_CHECK;

#endif
