/* Readers of vector files: every format behind one small table (vectors.c), one file per family. */
#ifndef OMEN_VECTORS_H
#define OMEN_VECTORS_H

#include <stdio.h>
#include <sys/stat.h>

#include "lib/omendb.h"

typedef struct omen_vectors omen_vectors;

typedef struct omen_vectors_options {
    const char *format; /* a name from omen_vectors_formats(); NULL: by extension and content */
    uint32_t d;         /* dimension of raw input; 0 elsewhere, or the dimension the caller insists on */
    uint32_t raw_d;     /* dimension of raw input where d is 0 */
} omen_vectors_options;

/* Opens a vector file, or standard input when path is "-" (spooled to an unlinked temporary file first, so a stream
 * of any size becomes re-readable). The whole shape is validated: dimensions, length, a last row cut short. Values are
 * checked by the source's read(). *out is NULL on failure. Returns OMEN_OK, OMEN_ERR_INPUT (not this format, cut short,
 * no rows: why names the file, the row and what to do), OMEN_ERR_ARGUMENT (unknown format name, missing dimension),
 * OMEN_ERR_IO or OMEN_ERR_MEMORY. */
int omen_vectors_open(omen_vectors **out, const char *path, const omen_vectors_options *options,
                      omen_detail *why) OMEN_MUST_CHECK;

/* Closes and frees; NULL is fine. Sources taken from it die with it. */
void omen_vectors_close(omen_vectors *vectors);

/* The rows as the library wants them. Its read() may be called from several threads. */
omen_source omen_vectors_source(omen_vectors *vectors);

/* The format's name, such as "fvecs". */
const char *omen_vectors_format(const omen_vectors *vectors);

/* What was opened: of a stream that was copied, or a compressed file, the original. */
const struct stat *omen_vectors_status(const omen_vectors *vectors);

/* All format names, separated by ", ", for --help and messages. */
const char *omen_vectors_formats(void);

/* The format that a file name's extension stands for, such as "npy"; NULL for another one. */
const char *omen_vectors_named(const char *path);

/* The names of the formats that can be written, separated by ", ". */
const char *omen_vectors_write_formats(void);

/* As omen_vectors_named(), NULL also for a format that cannot be written. */
const char *omen_vectors_write_named(const char *path);

/* Writes all rows of source as float32 to stream. Returns OMEN_OK, OMEN_ERR_ARGUMENT (a format that cannot be written),
 * OMEN_ERR_MEMORY, OMEN_ERR_IO, OMEN_ERR_INTERRUPTED or what source returned. progress may be NULL. */
int omen_vectors_write(FILE *stream, const char *format, const omen_source *source, omen_progress_fn progress,
                       void *context, omen_detail *why) OMEN_MUST_CHECK;

#endif
