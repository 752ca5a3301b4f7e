/* The checkpoint file of a build: records that survive the process. Bytes: docs/FORMAT.md, part 4. */
#ifndef OMEN_CHECKPOINT_H
#define OMEN_CHECKPOINT_H

#include "lib/omendb.h"

typedef struct omen_part omen_part;

/* Opens or creates the checkpoint of the file that will be called path: path + ".part". Reads the headers of the
 * records that an earlier build left, and cuts off what follows the last good one. Refuses a checkpoint that a running
 * process holds (OMEN_ERR_IO) and a file that is not a checkpoint (OMEN_ERR_INPUT). fresh: drops earlier records. *out
 * is NULL on failure. */
int omen_part_open(omen_part **out, const char *path, bool fresh, omen_detail *why) OMEN_MUST_CHECK;

omen_checkpoint omen_part_checkpoint(omen_part *part);

/* The file's name. */
const char *omen_part_path(const omen_part *part);

/* Total bytes of the records found and written. */
uint64_t omen_part_bytes(const omen_part *part);

/* Whether this process has written a record. */
bool omen_part_is_written(const omen_part *part);

/* Removes the file. omen_part_close() must still be called. */
void omen_part_remove(omen_part *part);

/* Waits for pending writes, closes and frees. The file stays unless it was removed or holds no record. NULL is
 * fine. */
void omen_part_close(omen_part *part);

/* Fails (OMEN_ERR_IO, with the bytes free and needed in why) if the file system of path has less than n_bytes free. */
int omen_disk_check(const char *path, uint64_t n_bytes, omen_detail *why) OMEN_MUST_CHECK;

#endif
