/* SPDX-License-Identifier: Apache-2.0 */
/* A build in three steps, each of which may run elsewhere: a model is trained, shards are encoded with it, and merged
 * into the index that one build makes of the same rows. Bytes: docs/FORMAT.md, part 5. */
#ifndef OMEN_SHARDS_H
#define OMEN_SHARDS_H

#include "formats/checkpoint.h"

/* A model file that is open. Starts zeroed. */
typedef struct omen_model {
    omen_part *part;
    omen_checkpoint records;
    omen_checkpoint_info info;
    uint64_t identity; /* a hash of its contents, without the names of files */
    /* what was read: */
    char *text;               /* owned, as inputs is; the names are in it */
    const char *format;       /* of the inputs; NULL: not given */
    uint32_t d;               /* of their rows; 0: not given */
    const char *tune_queries; /* NULL: none */
    const char **inputs;
    size_t n_inputs;
} omen_model;

/* Opens a model, and compares all of it with its checksums. omen_model_close() is due even after a failure. Returns
 * OMEN_OK, OMEN_ERR_INPUT (no model), OMEN_ERR_CORRUPT, OMEN_ERR_UNSUPPORTED (of another version), OMEN_ERR_IO,
 * OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED. */
int omen_model_open(omen_model *model, const char *path, omen_progress_fn progress, void *context,
                    omen_detail *why) OMEN_MUST_CHECK;
void omen_model_close(omen_model *model);

#define OMEN_MERGE_OTHER_FILES 64u /* that a merge may have open besides shards */

/* What a shard says of itself. */
typedef struct omen_shard_info {
    uint64_t identity; /* of its model */
    uint64_t first, n; /* its rows */
    uint64_t number, count;
    uint64_t n_rows; /* of all shards */
} omen_shard_info;

/* The identity of a model whose file is open. */
uint64_t omen_model_identity(omen_part *part);

/* Reads the head of an open shard. Returns OMEN_OK, OMEN_ERR_CORRUPT (no head that a shard can have) or OMEN_ERR_IO. */
int omen_shard_read_head(omen_part *part, omen_shard_info *out, omen_detail *why) OMEN_MUST_CHECK;

/* The same, and reads of each record which rows it has, and their hash; compares nothing with checksums. Returns
 * OMEN_OK, OMEN_ERR_CORRUPT (it is cut short, or none of the program's) or OMEN_ERR_IO. */
int omen_shard_look(omen_part *part, omen_shard_info *out, omen_row_hash *hash, omen_detail *why) OMEN_MUST_CHECK;

/* Compares a model with its inputs, or copies of them, which paths names: their sizes, and some rows, as every step of
 * a build does. A difference goes to fault. Returns OMEN_OK, OMEN_ERR_CORRUPT (there is one) or what opening and
 * reading the inputs returned. */
int omen_model_check_source(const omen_model *model, const omen_build_paths *paths, const omen_build_options *options,
                            omen_fault_fn fault, void *context, omen_detail *why) OMEN_MUST_CHECK;

/* Compares the rows that a shard was made of, all by their hash, with those of inputs. With a model, which has to be
 * the shard's, all are encoded again and compared with it, byte for byte. As omen_model_check_source(). */
int omen_shard_check_source(omen_part *part, const omen_model *model, const omen_build_paths *paths,
                            const omen_build_options *options, omen_fault_fn fault, void *context,
                            omen_detail *why) OMEN_MUST_CHECK;

/* Rows of shard `number` of count, of n_rows: fills first, n, number, count and n_rows. */
void omen_shard_range(uint64_t n_rows, uint64_t number, uint64_t count, omen_shard_info *out);

/* Trains a model on paths->input or inputs, and writes it to paths->output: as omen_index_build_file() does, which a
 * killed one continues like. Keys and columns are the merge's, and a graph is. */
int omen_model_train_file(const omen_build_paths *paths, const omen_build_options *options, uint64_t *identity,
                          omen_build_report *report, omen_build_outcome *outcome, omen_detail *why) OMEN_MUST_CHECK;

/* Builds an index of paths->input or inputs, which a model encodes that may be of other rows; the options of the index
 * are the model's. As omen_index_build_file(). */
int omen_model_build_file(const omen_build_paths *paths, const omen_build_options *options, const char *model,
                          omen_build_report *report, omen_index_info *info, omen_build_outcome *outcome,
                          omen_detail *why) OMEN_MUST_CHECK;

/* Encodes a shard into paths->output. The rows are those of the model's inputs, unless paths has others, which have to
 * be copies of them; the options of the index are the model's. *was_there: it had been made before. As
 * omen_index_build_file(). */
int omen_shard_build_file(const omen_build_paths *paths, const omen_build_options *options, const char *model,
                          uint64_t number, uint64_t count, bool *was_there, omen_shard_info *shard,
                          omen_build_report *report, omen_build_outcome *outcome, omen_detail *why) OMEN_MUST_CHECK;

/* Makes the index of shards, n files. The inputs are not read; if paths has any, they are compared with the model as
 * every step does. *lacks_shards: it failed since some are missing. As omen_index_build_file(); OMEN_ERR_INPUT of
 * shards that do not belong together. */
int omen_shards_merge_file(const omen_build_paths *paths, const omen_build_options *options, const char *model,
                           const char *const *shards, size_t n, bool *lacks_shards, omen_build_report *report,
                           omen_index_info *info, omen_build_outcome *outcome, omen_detail *why) OMEN_MUST_CHECK;

#endif
