/* Writers of float32 rows. */
#ifndef OMEN_ROWS_H
#define OMEN_ROWS_H

#include <stdio.h>

#include "lib/omendb.h"

/* The format for a file name's extension: "fvecs", "npy", "fbin" or "raw"; NULL for any other extension. */
const char *omen_rows_format(const char *path);

/* The names of all formats, separated by ", ". */
const char *omen_rows_formats(void);

/* Writes all rows of source to stream. Returns OMEN_OK, OMEN_ERR_ARGUMENT (unknown format), OMEN_ERR_MEMORY,
 * OMEN_ERR_IO, OMEN_ERR_INTERRUPTED or what source returned. progress may be NULL. */
int omen_rows_write(FILE *stream, const char *format, const omen_source *source, omen_progress_fn progress,
                    void *context, omen_detail *why) OMEN_MUST_CHECK;

#endif
