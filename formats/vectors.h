/* Readers of vector files: every format behind one small table (vectors.c), one file per family. */
#ifndef OMEN_VECTORS_H
#define OMEN_VECTORS_H

#include <sys/stat.h>

#include "lib/omendb.h"

typedef struct omen_vectors omen_vectors;

typedef struct omen_vectors_options {
    const char *format; /* a name from omen_vectors_formats(); NULL: by extension and content */
    uint32_t d;         /* dimension of raw input; for other formats the dimension to require, or 0 */
    uint32_t raw_d;     /* dimension of raw input if d is 0 */
} omen_vectors_options;

/* Opens a vector file, or standard input when path is "-" (spooled to an unlinked temporary file first, so a stream
 * of any size becomes re-readable). The whole shape is validated: dimensions, length, a last row cut short. Values are
 * checked by the source's read(). *out is NULL on failure. Returns OMEN_OK, OMEN_ERR_INPUT (not this format, cut short,
 * no rows: why names the file, the row and what to do), OMEN_ERR_ARGUMENT (unknown format name, missing dimension),
 * OMEN_ERR_IO or OMEN_ERR_MEMORY. */
int omen_vectors_open(omen_vectors **out, const char *path, const omen_vectors_options *options,
                      omen_detail *why) OMEN_MUST_CHECK;

/* Closes and frees; NULL is fine. Its sources must not be used after. */
void omen_vectors_close(omen_vectors *vectors);

/* The rows as a source for the library. Its read() may be called from several threads. */
omen_source omen_vectors_source(omen_vectors *vectors);

/* The format's name, such as "fvecs". */
const char *omen_vectors_format(const omen_vectors *vectors);

/* The status of what was opened: for a stream that was copied, or a compressed file, of the original. */
const struct stat *omen_vectors_status(const omen_vectors *vectors);

/* Copies the rest of the stream *fd to an unlinked file in TMPDIR, closes the stream and sets *fd to the file, at its
 * beginning. label names the stream in messages. Returns OMEN_OK, OMEN_ERR_IO, OMEN_ERR_ARGUMENT (TMPDIR is too long),
 * OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED (a signal ended the wait for input); on failure *fd is unchanged. */
int omen_stream_spool(int *fd, const char *label, omen_detail *why) OMEN_MUST_CHECK;

/* All format names, separated by ", ", for --help and messages. */
const char *omen_vectors_formats(void);

/* The format for a file name's extension, such as "npy"; NULL for an unknown extension. */
const char *omen_vectors_named(const char *path);

#endif
