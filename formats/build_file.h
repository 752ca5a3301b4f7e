/* SPDX-License-Identifier: Apache-2.0 */
/* Private to build_file.c and shards.c: what is open while a build, or a part of one, runs by path. */
#ifndef OMEN_BUILD_FILE_H
#define OMEN_BUILD_FILE_H

#include "formats/checkpoint.h"
#include "formats/scratch_files.h"

typedef struct omen_file_build {
    const omen_build_paths *paths;
    omen_build_options options;
    omen_vectors *vectors, *tune_vectors;
    omen_source source, tune_source; /* source.n_rows is 0 until it is known */
    omen_source_part *parts;         /* without times; owned */
    omen_row_keys *keys;
    omen_columns *read_columns;
    const omen_columns *columns; /* these, the caller's, or NULL */
    omen_writer *writer;
    omen_part *part;
    omen_scratch_files scratch_files;
    omen_scratch scratch;
} omen_file_build;

/* Opens the inputs. is_apart: other processes take part, which may read copies, so times of modification count for
 * nothing. omen_file_build_close() is due even after a failure. */
int omen_file_build_open(omen_file_build *b, bool is_apart, omen_detail *why) OMEN_MUST_CHECK;
void omen_file_build_close(omen_file_build *b);

/* Makes the plan, and refuses it when there is no room on the disk. */
int omen_file_build_plan(const omen_file_build *b, omen_detail *why) OMEN_MUST_CHECK;

/* Opens its checkpoint, or what will be a model or a shard, where paths want it. Returns as omen_part_open(). */
int omen_file_build_part(omen_file_build *b, omen_part_kind kind, bool fresh, omen_detail *why) OMEN_MUST_CHECK;

/* Decides what becomes of the checkpoint of a build that ended with status. */
void omen_file_build_leave(omen_part *part, int status, omen_build_outcome *outcome);

/* omen_index_build_file() of a checkpoint that has all rows, whose paths and options are of the size of this version.
 * source: what is known of the rows, which are not read then; NULL: the inputs are opened, and compared with the head.
 */
int omen_index_merge_records(const omen_build_paths *paths, const omen_build_options *options,
                             const omen_checkpoint *records, const omen_source *source, omen_build_report *report,
                             omen_index_info *info, omen_build_outcome *outcome, omen_detail *why) OMEN_MUST_CHECK;

#endif
