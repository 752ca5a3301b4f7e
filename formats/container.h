/* The .omen container: sections with checksums in one immutable file. Bytes: docs/FORMAT.md. It knows nothing of what
 * the sections mean. */
#ifndef OMEN_CONTAINER_H
#define OMEN_CONTAINER_H

#include "lib/omendb.h"

/* ---- writing ---- */

typedef struct omen_writer omen_writer;

/* Starts a file that will be called path: bytes go to a temporary name beside it (path + ".tmp") until commit. Takes
 * over a temporary left by a killed process; refuses (OMEN_ERR_IO) one that a living process holds locked. Refuses a
 * path that is a directory. *out is NULL on failure. */
int omen_writer_create(omen_writer **out, const char *path, omen_detail *why) OMEN_MUST_CHECK;

/* The sink that a build writes to. */
omen_sink omen_writer_sink(omen_writer *writer);

/* Writes table and trailer, then fsync(file), rename to path, fsync(directory). After a failure path is what it was.
 * n_file_bytes, if not NULL, receives the size. */
int omen_writer_commit(omen_writer *writer, uint64_t *n_file_bytes, omen_detail *why) OMEN_MUST_CHECK;

/* Frees; removes the temporary unless it was committed. NULL is fine. */
void omen_writer_destroy(omen_writer *writer);

/* ---- reading ---- */

typedef struct omen_container omen_container;

/* Maps a file and checks header, trailer, section table, section headers, lengths and bounds (what `verify --quick`
 * promises): no truncation passes, no offset is used unchecked. Time does not depend on the file's size. *out is NULL
 * on failure. Returns OMEN_OK, OMEN_ERR_CORRUPT, OMEN_ERR_UNSUPPORTED (newer version), OMEN_ERR_INPUT (not an index at
 * all), OMEN_ERR_ARGUMENT (what cannot be mapped: "-", a pipe, a socket, a device), OMEN_ERR_IO (a directory too) or
 * OMEN_ERR_MEMORY. */
int omen_container_open(omen_container **out, const char *path, omen_detail *why) OMEN_MUST_CHECK;

/* Unmaps and frees; NULL is fine. */
void omen_container_close(omen_container *container);

/* The sections, in file order; they live as long as the container. */
const omen_section *omen_container_sections(const omen_container *container, size_t *n_sections);

/* Where section i's payload is in the file. */
uint64_t omen_container_offset(const omen_container *container, size_t i);

uint64_t omen_container_file_bytes(const omen_container *container);

/* Told of each damaged range: the section's four-letter name ("head", "tabl", "tail" outside sections), the byte range
 * [first, first + n_bytes) of the file, and a sentence. */
typedef void (*omen_damage_fn)(void *context, const char *section, uint64_t first, uint64_t n_bytes, const char *text);

/* Reads every byte: block checksums of all sections, zero padding. n_threads <= 0: all. Returns OMEN_OK,
 * OMEN_ERR_CORRUPT, or OMEN_ERR_IO where bytes cannot be read (why has the first such range; damage in the others has
 * been told). */
int omen_container_check(const omen_container *container, int n_threads, omen_damage_fn damage, void *context,
                         omen_detail *why) OMEN_MUST_CHECK;

#endif
