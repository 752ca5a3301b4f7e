/* SPDX-License-Identifier: Apache-2.0 */
/* Files that a general tool has compressed, known by their first bytes. Those of gzip and zstd are unpacked. */
#ifndef OMEN_UNPACK_H
#define OMEN_UNPACK_H

#include "lib/omendb.h"

typedef struct omen_compression omen_compression;

struct omen_compression {
    const char *magic;
    size_t n_magic;
    const char *name, *suffix;
    const char *tool; /* writes the original to standard output */
    /* Unpacks n_bytes into fd, a new file. NULL: it is not read. */
    int (*expand)(const omen_compression *self, const unsigned char *bytes, uint64_t n_bytes, int fd,
                  omen_progress_fn progress, void *context, omen_detail *reason);
};

/* What compressed the bytes; NULL: nothing that is known. Other data may begin like it by chance, so an unpacking that
 * fails says little of a file that could be something else. */
const omen_compression *omen_compression_of(const unsigned char *bytes, uint64_t n_bytes);

/* Whether n_bytes, the first of a stream, begin like something compressed, or may once there are more of them. */
bool omen_compression_may_begin(const unsigned char *bytes, uint64_t n_bytes);

/* Length of a path without the ending of a compression that is read, such as ".gz". */
size_t omen_compression_stem(const char *path);

/* Unpacks all of it to an unlinked file in TMPDIR. label is for messages, and begins them. progress, which may be NULL,
 * gets the bytes read as the stage "unpack". *fd is -1 after a failure. Returns OMEN_OK, OMEN_ERR_INPUT (damaged, cut
 * short), OMEN_ERR_ARGUMENT (TMPDIR), OMEN_ERR_IO, OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED. */
int omen_compression_expand(const omen_compression *compression, const unsigned char *bytes, uint64_t n_bytes,
                            const char *label, omen_progress_fn progress, void *context, int *fd,
                            omen_detail *why) OMEN_MUST_CHECK;

#endif
