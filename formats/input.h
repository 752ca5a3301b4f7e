/* SPDX-License-Identifier: Apache-2.0 */
/* The input of everything that reads a file as a whole: mapped, a stream or a compressed file unpacked first. */
#ifndef OMEN_INPUT_H
#define OMEN_INPUT_H

#include <sys/stat.h>

#include "formats/in_use.h"
#include "formats/omz.h"

/* A whole file, mapped. It is opened by name once: the name may lead to another file at any moment. */
typedef struct omen_input {
    char label[OMEN_LABEL_BYTES]; /* for messages: the quoted path, long ones cut at the front, or "standard input" */
    int fd;                       /* what is mapped: the file, or the copy of a stream */
    struct stat status;           /* of the file or stream that the name led to */
    const unsigned char *bytes;
    uint64_t n_bytes;
    uint64_t stamp; /* modification time of a named file in ns, else 0 */
} omen_input;

/* Maps a file, or a copy of standard input ("-") or another stream; what gzip or zstd has compressed is unpacked.
 * Returns OMEN_OK, OMEN_ERR_INPUT, OMEN_ERR_ARGUMENT, OMEN_ERR_IO, OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED;
 * omen_input_close() is due after OMEN_OK. */
int omen_input_open(omen_input *input, const char *path, omen_detail *why);
/* The two halves of omen_input_open_as_is(): opens by name, and maps what was opened, of a stream a copy that begins
 * with n_begun bytes which were read of it. omen_input_close() is due after omen_input_begin() alone too. */
int omen_input_begin(omen_input *input, const char *path, omen_detail *why);
int omen_input_settle(omen_input *input, const void *begun, size_t n_begun, omen_detail *why);
/* Whether what was begun is a stream, which can be read once. */
bool omen_input_is_stream(const omen_input *input);
/* The same of a file that may be empty: n_bytes is 0 then, and bytes NULL. */
int omen_input_open_or_empty(omen_input *input, const char *path, omen_detail *why);
/* The same without unpacking, and the unpacking, if it is of gzip or zstd: progress is that of
 * omen_compression_expand(). */
int omen_input_open_as_is(omen_input *input, const char *path, omen_detail *why);
int omen_input_expand(omen_input *input, bool may_be_empty, omen_progress_fn progress, void *context, omen_detail *why);
void omen_input_close(omen_input *input);

/* Whether it begins like an index or a compressed file. */
bool omen_input_is_container(const omen_input *input);

/* Replaces *fd, a stream that messages call label, by an unlinked file in TMPDIR of what is left in it behind n_begun
 * bytes that were read, to be read from its beginning, and closes the stream. Returns OMEN_OK, OMEN_ERR_IO,
 * OMEN_ERR_ARGUMENT (a TMPDIR too long), OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED (a signal ended the wait for input);
 * then *fd is as it was. */
int omen_stream_spool(int *fd, const char *label, const void *begun, size_t n_begun, omen_detail *why) OMEN_MUST_CHECK;

/* Maps what input->fd leads to, which is not empty. Returns OMEN_OK, OMEN_ERR_INPUT, OMEN_ERR_IO or OMEN_ERR_MEMORY. */
int omen_input_map(omen_input *input, omen_detail *why);

/* Puts the file fd, which is the input's from now on, in the place of what was mapped. Returns as omen_input_map(). */
int omen_input_replace(omen_input *input, int fd, bool may_be_empty, omen_detail *why);

/* A compressed file of vectors takes the place of its original, unpacked to an unlinked temporary file; an index stays
 * as it is. check is asked once the ends of the file are there. *name gets the original's name, which tells the format,
 * and is the caller's to free. Returns as omen_omz_unpack_input(). */
int omen_input_unpack(omen_input *input, const char *path, omen_head_fn check, void *context, char **name,
                      omen_detail *why);

/* The name without .omz; the caller's to free. NULL without memory. */
char *omen_input_name_inside(const char *path);

#endif
