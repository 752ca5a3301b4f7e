/* SPDX-License-Identifier: Apache-2.0 */
/* Room for large arrays in files without a name, mapped, which the system writes to the disk where memory is short. */
#ifndef OMEN_SCRATCH_FILES_H
#define OMEN_SCRATCH_FILES_H

#include "lib/omendb.h"

#define OMEN_SCRATCH_MOST 16u /* arrays at once */

/* Zeroed, but for its names; what was taken and not given back lasts until omen_scratch_files_close(). */
typedef struct omen_scratch_files {
    const char *path;      /* of the output, beside which they are */
    const char *directory; /* where they are instead; NULL: there */
    struct {
        void *memory;
        size_t n_bytes;
    } taken[OMEN_SCRATCH_MOST];
} omen_scratch_files;

/* What the library takes it by. It stays where files is. Fails with OMEN_ERR_IO or OMEN_ERR_MEMORY. */
omen_scratch omen_scratch_files_of(omen_scratch_files *files);

void omen_scratch_files_close(omen_scratch_files *files);

#endif
