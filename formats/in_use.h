/* The files that this process has in use, as far as a signal handler has to know them: which are mapped where, and
 * which temporaries have to go when the process ends in a handler. */
#ifndef OMEN_IN_USE_H
#define OMEN_IN_USE_H

#include <stddef.h>
#include <stdint.h>

/* Room for a file as messages name it. */
#define OMEN_LABEL_BYTES 256

/* The quoted path, a long one cut at the front and without control characters; "standard input" for "-". */
void omen_label_set(char label[OMEN_LABEL_BYTES], const char *path);

/* Maps n_bytes of an open file from offset on, which is a multiple of the page size, to be read only, and remembers
 * that they are those of label. Returns MAP_FAILED with errno set on failure, as mmap does. */
void *omen_mapping_open(int fd, uint64_t offset, size_t n_bytes, const char *label);

/* Unmaps what omen_mapping_open() returned. NULL is fine. */
void omen_mapping_close(const void *mapping, size_t n_bytes);

/* The label of the mapping that an address is in; NULL if it is in none. For signal handlers. */
const char *omen_mapping_label(const void *address);

/* Remembers a temporary, a file or a directory, to be removed if the process ends in a signal handler. The text stays
 * the caller's and must live until it is forgotten. */
void omen_temporary_remember(const char *path);

/* Forgets it; NULL is fine. */
void omen_temporary_forget(const char *path);

/* Removes all that are remembered. For signal handlers that end the process. */
void omen_temporaries_remove(void);

#endif
