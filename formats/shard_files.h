/* SPDX-License-Identifier: Apache-2.0 */
/* Private to shards.c: model and shard files as records of one build. */
#ifndef OMEN_SHARD_FILES_H
#define OMEN_SHARD_FILES_H

#include "formats/shards.h"

/* Kinds of records besides those of lib/omendb.h. */
enum { SHARD_RECORD_INPUTS = 513, SHARD_RECORD_HEAD = 514 };

#define SHARD_RUN_HEAD      5u /* u64 that a run begins with: first row, rows, two halves of their hash, level */
#define SHARD_MODEL_RECORDS 5u /* of a model, that a build has too */

/* Records [skip, ...) of a file. */
typedef struct omen_piece {
    omen_checkpoint records;
    uint32_t skip;
    uint32_t first, n; /* number of the first in the whole, and how many */
} omen_piece;

/* Several files as one checkpoint. Only the last may be written. Starts zeroed. */
typedef struct omen_splice {
    omen_piece *pieces;
    size_t n, size;
    bool is_written;
} omen_splice;

/* Adds a file, of which n records from skip on count; of the last that is written there may be more. The file stays the
 * caller's. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int omen_splice_add(omen_splice *splice, omen_part *part, uint32_t skip, uint32_t n, omen_detail *why) OMEN_MUST_CHECK;
omen_checkpoint omen_splice_checkpoint(omen_splice *splice);
void omen_splice_finish(omen_splice *splice);

/* Appends the names of what the model is of, and waits for it. Paths that are relative begin with the working directory
 * then. Returns OMEN_OK, OMEN_ERR_MEMORY, OMEN_ERR_IO or what append() returned. */
int omen_model_write_inputs(const omen_checkpoint *records, const omen_build_paths *paths,
                            omen_detail *why) OMEN_MUST_CHECK;

/* What the bytes of a build depend on is the model's; the rest is given. */
omen_build_options omen_model_options(const omen_model *model, const omen_build_options *given);

/* A shard that is open. */
typedef struct omen_shard {
    const char *path; /* the caller's */
    omen_part *part;
    omen_shard_info info;
} omen_shard;

/* Opens the files of all shards, compares them with their checksums, and sorts them: out has room for n, zeroed.
 * omen_shard_close_all() is due even after a failure. Returns as omen_shards_merge_file(). */
int omen_shard_open_all(omen_shard *out, const char *const *paths, size_t n, const omen_model *model,
                        const char *model_path, bool *lacks_shards, omen_progress_fn progress, void *context,
                        omen_detail *why) OMEN_MUST_CHECK;
void omen_shard_close_all(omen_shard *shards, size_t n);

#endif
