/* SPDX-License-Identifier: Apache-2.0 */
/* Writer of float32 rows, for the formats that can be written. */
#ifndef OMEN_ROWS_H
#define OMEN_ROWS_H

#include <stdio.h>

#include "lib/omendb.h"

/* Writes header and all rows of source to stream, with has_row_headers an int32 d in front of each. progress may be
 * NULL. Returns OMEN_OK, OMEN_ERR_MEMORY, OMEN_ERR_IO, OMEN_ERR_INTERRUPTED or what source returned. */
int omen_rows_write(FILE *stream, const void *header, size_t n_header_bytes, bool has_row_headers,
                    const omen_source *source, omen_progress_fn progress, void *context,
                    omen_detail *why) OMEN_MUST_CHECK;

#endif
