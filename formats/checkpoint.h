/* SPDX-License-Identifier: Apache-2.0 */
/* Files of records: checkpoints, models and shards. What programs that link the library may call is in omendb_files.h.
 */
#ifndef OMEN_CHECKPOINT_H
#define OMEN_CHECKPOINT_H

#include "formats/omendb_files.h"

/* What the records of a file are for. */
typedef enum {
    OMEN_PART_CHECKPOINT, /* of a build or of query --self, which go on with it */
    OMEN_PART_MODEL,      /* a model that build --shard encodes with */
    OMEN_PART_SHARD,      /* rows that it has encoded */
    OMEN_N_PART_KINDS,
} omen_part_kind;

/* The name of the checkpoint of the file that will be called path: path + ".part", or in a directory, which many files
 * may share, one that is made of path. It is the caller's to free. Returns OMEN_OK, OMEN_ERR_IO or OMEN_ERR_MEMORY. */
int omen_part_name(const char *path, const char *directory, char **out, omen_detail *why) OMEN_MUST_CHECK;

/* omen_part_open() for a file of another kind, one of any other kind being in the way, and in a directory, unless it is
 * NULL. */
int omen_part_open_as(omen_part **out, const char *path, const char *directory, omen_part_kind kind, bool fresh,
                      omen_detail *why) OMEN_MUST_CHECK;

/* Sets *is_same to whether two files are, or will be, on the same file system; false where that is not known. Returns
 * OMEN_OK or OMEN_ERR_MEMORY. */
int omen_disk_is_same(const char *one, const char *other, bool *is_same, omen_detail *why) OMEN_MUST_CHECK;

/* Whether the file system has locks. Without, the file has a name that no other process knows, and is removed when it
 * is closed. */
bool omen_part_has_locks(const omen_part *part);

/* Waits for what is being written, and gives the file, complete now, the name path, durably; from another directory it
 * is copied there, which progress, if not NULL, is told of. Returns OMEN_OK, OMEN_ERR_IO, OMEN_ERR_MEMORY or
 * OMEN_ERR_INTERRUPTED. */
int omen_part_publish(omen_part *part, const char *path, omen_progress_fn progress, void *context,
                      omen_detail *why) OMEN_MUST_CHECK;

/* Closes the descriptor of a file that was opened to be read; each read opens it again. For more files than a process
 * may have open. Returns OMEN_OK or OMEN_ERR_IO. */
int omen_part_rest(omen_part *part, omen_detail *why) OMEN_MUST_CHECK;

/* What a file that was opened to be read says of its kind, which may be none of these; how many records were found, and
 * not dropped by proving; whether nothing stands behind them. */
omen_part_kind omen_part_get_kind(const omen_part *part);
uint32_t omen_part_count(const omen_part *part);
bool omen_part_is_whole(const omen_part *part);

/* The hash that the header of a record names. */
uint64_t omen_part_record_hash(const omen_part *part, uint32_t i);

/* Opens the checkpoint file of this name, which neither this nor proving nor closing changes; append() must not be
 * called. A build may be writing it meanwhile. *out is NULL on failure. Returns OMEN_OK, OMEN_ERR_INPUT (no
 * checkpoint), OMEN_ERR_CORRUPT, OMEN_ERR_UNSUPPORTED (of another version), OMEN_ERR_IO or OMEN_ERR_MEMORY. */
int omen_part_open_to_read(omen_part **out, const char *path, omen_detail *why) OMEN_MUST_CHECK;

#endif
