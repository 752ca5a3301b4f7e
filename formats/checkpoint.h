/* The checkpoint file of a build: records that survive the process. Bytes: docs/FORMAT.md, part 4. */
#ifndef OMEN_CHECKPOINT_H
#define OMEN_CHECKPOINT_H

#include "lib/omendb.h"

typedef struct omen_part omen_part;

/* Opens or creates the checkpoint of the file that will be called path: path + ".part". Of records that an earlier
 * build left the headers are read; what follows the last good one is cut off. Refuses one that a living process holds
 * (OMEN_ERR_IO) and a file that is no checkpoint (OMEN_ERR_INPUT). fresh: starts with none. *out is NULL on failure. */
int omen_part_open(omen_part **out, const char *path, bool fresh, omen_detail *why) OMEN_MUST_CHECK;

omen_checkpoint omen_part_checkpoint(omen_part *part);

/* The file's name. */
const char *omen_part_path(const omen_part *part);

/* Bytes of the records found or written. */
uint64_t omen_part_bytes(const omen_part *part);

/* Whether this process has written a record. */
bool omen_part_is_written(const omen_part *part);

/* Removes the file. The part still has to be closed. */
void omen_part_remove(omen_part *part);

/* Waits for what is being written, closes and frees. The file stays unless it was removed or holds no record. NULL is
 * fine. */
void omen_part_close(omen_part *part);

/* Refuses (OMEN_ERR_IO, naming what is there and what is needed) when the file system that path will be on has less
 * than n_bytes to give. */
int omen_disk_check(const char *path, uint64_t n_bytes, omen_detail *why) OMEN_MUST_CHECK;

#endif
