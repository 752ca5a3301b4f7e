/* SPDX-License-Identifier: Apache-2.0 */
/* Where the keys of rows are, for a build and for attach. */
#ifndef OMEN_KEY_SOURCE_H
#define OMEN_KEY_SOURCE_H

#include "formats/omendb_files.h"

typedef struct omen_key_source {
    const char *path;                 /* of keys, or with column of a table */
    const char *column;               /* the one of the table that has them; or NULL */
    const omen_column_paths *columns; /* those of the rows, whose types count for the same table; or NULL */
    bool allow_duplicates;
} omen_key_source;

/* As omen_row_keys_read() or omen_row_keys_read_column(). */
int omen_row_keys_read_of(omen_row_keys **out, const omen_key_source *source, uint64_t n_rows, uint64_t memory_bytes,
                          int n_threads, omen_detail *why) OMEN_MUST_CHECK;

#endif
