/* SPDX-License-Identifier: Apache-2.0 */
/* The files in use that signal handlers must know of: which file is mapped where, and which temporaries must be removed
 * when the process ends in a handler. */
#ifndef OMEN_IN_USE_H
#define OMEN_IN_USE_H

#include <stddef.h>
#include <stdint.h>

/* Size of a file's label in messages. */
#define OMEN_LABEL_BYTES 256

/* Writes the label of a path: quoted, without control characters, a long one cut at the front; "standard input" for
 * "-". */
void omen_label_set(char label[OMEN_LABEL_BYTES], const char *path);

/* Maps n_bytes of an open file read-only, from offset, a multiple of the page size, and remembers label for that range.
 * Returns MAP_FAILED with errno set on failure, as mmap does. */
void *omen_mapping_open(int fd, uint64_t offset, size_t n_bytes, const char *label);

/* The same to read and write it, from its beginning. */
void *omen_mapping_open_to_write(int fd, size_t n_bytes, const char *label);

/* Unmaps what either returned. NULL is fine. */
void omen_mapping_close(const void *mapping, size_t n_bytes);

/* The label of the mapping that contains address; NULL if none does. For signal handlers. */
const char *omen_mapping_label(const void *address);

/* Remembers a temporary, a file or a directory, to be removed if the process ends in a signal handler. The caller
 * keeps the text, which must live until it is forgotten. */
void omen_temporary_remember(const char *path);

/* Forgets it; NULL is fine. */
void omen_temporary_forget(const char *path);

/* Removes all remembered temporaries. For signal handlers that end the process. */
void omen_temporaries_remove(void);

#endif
