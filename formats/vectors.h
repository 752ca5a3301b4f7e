/* Readers of vector files: every format behind one small table (vectors.c), one file per family. What programs that
 * link the library may call is in omendb_files.h. */
#ifndef OMEN_VECTORS_H
#define OMEN_VECTORS_H

#include <sys/stat.h>

#include "formats/omendb_files.h"

/* What was opened: of a stream that was copied, or a compressed file, the original. */
const struct stat *omen_vectors_status(const omen_vectors *vectors);

/* Replaces *fd, a stream that messages call label, by an unlinked file in TMPDIR of what is left in it, to be read from
 * its beginning, and closes the stream. Returns OMEN_OK, OMEN_ERR_IO, OMEN_ERR_ARGUMENT (a TMPDIR too long),
 * OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED (a signal ended the wait for input); then *fd is as it was. */
int omen_stream_spool(int *fd, const char *label, omen_detail *why) OMEN_MUST_CHECK;

#endif
