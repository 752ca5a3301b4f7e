/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of the test program's own under $TMPDIR. */
#ifndef OMEN_SCRATCH_H
#define OMEN_SCRATCH_H

extern char directory[256];

/* Exits if it cannot be made. */
void directory_make(void);

/* With all that is in it. */
void directory_remove(void);

#endif
