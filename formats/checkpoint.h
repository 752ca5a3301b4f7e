/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint that is only looked at. What programs that link the library may call is in omendb_files.h. */
#ifndef OMEN_CHECKPOINT_H
#define OMEN_CHECKPOINT_H

#include "formats/omendb_files.h"

/* Opens the checkpoint file of this name, which neither this nor proving nor closing changes; append() must not be
 * called. A build may be writing it meanwhile. *out is NULL on failure. Returns OMEN_OK, OMEN_ERR_INPUT (no
 * checkpoint), OMEN_ERR_CORRUPT, OMEN_ERR_UNSUPPORTED (of another version), OMEN_ERR_IO or OMEN_ERR_MEMORY. */
int omen_part_open_to_read(omen_part **out, const char *path, omen_detail *why) OMEN_MUST_CHECK;

#endif
