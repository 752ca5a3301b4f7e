/* The .omen container: sections with checksums in one immutable file. Bytes: docs/FORMAT.md. The container does
 * not know what the sections mean. */
#ifndef OMEN_CONTAINER_H
#define OMEN_CONTAINER_H

#include <sys/stat.h>

#include "lib/omendb.h"

/* ---- writing ---- */

typedef struct omen_writer omen_writer;
typedef struct omen_container omen_container;

/* Starts a file that will be called path: until commit it has a temporary name beside it (path + ".tmp"), see
 * omen_file_open(). Refuses a path that is a directory, a device or the like. *out is NULL on failure. Returns
 * OMEN_OK, OMEN_ERR_ARGUMENT, OMEN_ERR_IO or OMEN_ERR_MEMORY. */
int omen_writer_create(omen_writer **out, const char *path, omen_detail *why) OMEN_MUST_CHECK;

/* The same for a file that is another form of like: it gets like's permission bits and times (like may be NULL). path
 * may also be a pipe or device, or "-" for standard output: everything is written to it on commit. */
int omen_writer_create_like(omen_writer **out, const char *path, const struct stat *like,
                            omen_detail *why) OMEN_MUST_CHECK;

/* The sink that a build writes to. */
omen_sink omen_writer_sink(omen_writer *writer);

/* Writes table and trailer, then omen_file_commit(): fsync(file), rename to path, fsync(directory). After a failure
 * path is what it was. n_file_bytes, if not NULL, receives the size. */
int omen_writer_commit(omen_writer *writer, uint64_t *n_file_bytes, omen_detail *why) OMEN_MUST_CHECK;

/* After commit: errno of an attribute of like that could not be copied, else 0. */
int omen_writer_like_error(const omen_writer *writer);

/* After commit: opens the file that was written, even if its name leads to another file by now. As
 * omen_container_open(). */
int omen_writer_open(const omen_writer *writer, omen_container **out, omen_detail *why) OMEN_MUST_CHECK;

/* After commit: whether the path still leads to what was written. */
bool omen_writer_has_name(const omen_writer *writer);

/* Frees; removes the temporary unless it was committed. NULL is fine. */
void omen_writer_destroy(omen_writer *writer);

/* ---- reading ---- */

/* Maps a file and checks header, trailer, section table, lengths and bounds (what `verify --quick` promises): every
 * truncation is found, and no offset is used unchecked. Time does not depend on the file's size. *out is NULL
 * on failure. Returns OMEN_OK, OMEN_ERR_CORRUPT, OMEN_ERR_UNSUPPORTED (newer version), OMEN_ERR_INPUT (not a
 * container), OMEN_ERR_ARGUMENT (cannot be mapped: "-", a pipe, a socket, a device), OMEN_ERR_IO (also for a directory)
 * or OMEN_ERR_MEMORY. */
int omen_container_open(omen_container **out, const char *path, omen_detail *why) OMEN_MUST_CHECK;

/* The same for a file that is already open; the caller keeps fd, and path is used in messages only. */
int omen_container_open_fd(omen_container **out, int fd, const char *path, omen_detail *why) OMEN_MUST_CHECK;

/* Unmaps and frees; NULL is fine. */
void omen_container_close(omen_container *container);

/* The sections, in file order; they live as long as the container. Their check() compares with the file's checksums. */
const omen_section *omen_container_sections(const omen_container *container, size_t *n_sections);

/* Removes check() from the sections: readers then use their bytes without comparing checksums. */
void omen_container_trust(omen_container *container);

/* Where section i's payload is in the file. */
uint64_t omen_container_offset(const omen_container *container, size_t i);

uint64_t omen_container_file_bytes(const omen_container *container);

/* Called for each damaged range: the section's four-letter name ("head", "tabl", "tail" outside sections), the byte
 * range [first, first + n_bytes) of the file, and a sentence. */
typedef void (*omen_damage_fn)(void *context, const char *section, uint64_t first, uint64_t n_bytes, const char *text);

/* Reads every byte: block checksums of all sections, zero padding. n_threads <= 0: all. Returns OMEN_OK,
 * OMEN_ERR_CORRUPT, or OMEN_ERR_IO if bytes cannot be read (why names the first such range; damage elsewhere has
 * still been reported). */
int omen_container_check(const omen_container *container, int n_threads, omen_damage_fn damage, void *context,
                         omen_detail *why) OMEN_MUST_CHECK;

#endif
