/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a stream, read as they come. */
#ifndef OMEN_VECTORS_STREAM_H
#define OMEN_VECTORS_STREAM_H

#include "formats/vectors.h"

typedef struct omen_vectors_stream omen_vectors_stream;

/* Called before a read that may wait for the sender; anything but OMEN_OK ends the reading with it. */
typedef int (*omen_stream_wait_fn)(void *context, omen_detail *why);

/* Opens rows of a path as omen_vectors_open() does, "FILE:NAME" too, but those of a stream in which each row can be
 * told as soon as it is there: *stream is set then, after the first row or what stands before it has come; else
 * *vectors is. The format of such a stream has to be one of rows that follow each other or of lines, not compressed,
 * and named by the options or the path's extension, or be npy. Returns as omen_vectors_open(); both are NULL on
 * failure. */
int omen_vectors_stream_open(omen_vectors_stream **stream, omen_vectors **vectors, const char *path,
                             const omen_vectors_options *options, omen_detail *why) OMEN_MUST_CHECK;

/* The dimension of the rows. */
uint32_t omen_vectors_stream_dim(const omen_vectors_stream *stream);

/* Reads what is there, n_most rows at most, and waits for one if there is none, after a call of waits (NULL: none); *n
 * is 0 at the end of the stream. A fault is told once the rows before it were given. Returns OMEN_OK, OMEN_ERR_INPUT
 * (why names the row or line), OMEN_ERR_IO, OMEN_ERR_MEMORY, OMEN_ERR_INTERRUPTED or what waits returned. */
int omen_vectors_stream_next(omen_vectors_stream *stream, uint64_t n_most, omen_stream_wait_fn waits, void *context,
                             float *out, uint64_t *n, omen_detail *why) OMEN_MUST_CHECK;

/* Closes and frees; NULL is fine. */
void omen_vectors_stream_close(omen_vectors_stream *stream);

#endif
