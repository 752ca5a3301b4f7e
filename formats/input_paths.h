/* SPDX-License-Identifier: Apache-2.0 */
/* The paths of several inputs: what a list names, what is in a directory. */
#ifndef OMEN_INPUT_PATHS_H
#define OMEN_INPUT_PATHS_H

#include "lib/omendb.h"

/* Starts zeroed. omen_paths_finish() is due, also after a failure. */
typedef struct omen_paths {
    char **names;
    size_t n, size;
} omen_paths;

/* Adds a copy of n_bytes of text. Returns OMEN_OK, OMEN_ERR_ARGUMENT (more than OMEN_MAX_FILES) or OMEN_ERR_MEMORY. */
int omen_paths_add(omen_paths *paths, const char *name, size_t n_bytes, omen_detail *why) OMEN_MUST_CHECK;

/* Adds the paths that a text has, one a line ("-": standard input has it). Lines of blanks are skipped; else a line is
 * a path as it is, without "\r\n" or "\n". Returns as omen_paths_add(); also OMEN_ERR_INPUT (no path, a line that is
 * none) or what omen_input_open() returns. */
int omen_paths_read(omen_paths *paths, const char *list, omen_detail *why) OMEN_MUST_CHECK;

/* Puts in the place of each path that leads to a directory those of its files, in byte order of their names. Those that
 * begin with "." or "_" are skipped, and what build and train write: names that end in .omen, .omen.part, .omen.tmp,
 * .model and .model.part. Each other one has to be a file, and have a name that says its format unless takes_any.
 * Returns as omen_paths_add(); also OMEN_ERR_INPUT (another file, or none) or OMEN_ERR_IO. */
int omen_paths_expand(omen_paths *paths, bool takes_any, omen_detail *why) OMEN_MUST_CHECK;

/* Adds a path, or of a directory those of its files whose names end in ".shard", in byte order; there may be none.
 * Returns as omen_paths_add(), or OMEN_ERR_IO. */
int omen_paths_add_shards(omen_paths *paths, const char *path, omen_detail *why) OMEN_MUST_CHECK;

void omen_paths_finish(omen_paths *paths);

#endif
