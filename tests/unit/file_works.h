/* SPDX-License-Identifier: Apache-2.0 */
/* Pieces of work on files, each a call or a few of the library, for tests that let them fail. They are done in the
 * directory of scratch.h, which is the current one, and write nowhere else. */
#ifndef OMEN_FILE_WORKS_H
#define OMEN_FILE_WORKS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/omendb.h"

#define N_ROWS 64u
#define DIM    4u

/* One, and what it has to have made for the work after it: output, renamed to kept. NULL: nothing. */
typedef struct {
    const char *name;
    int (*run)(void);
    const char *output, *kept;
} work;

extern const work works[]; /* to the first without a name */

extern omen_detail *reasons; /* what each gives the library for its reasons; NULL: nothing */

/* How often the work has told how far it is, and after how many times it is asked to stop. */
extern unsigned long n_told, told_most;

/* The inputs. */
void work_inputs_make(void);

/* Removes what the work has made, and makes what it needs anew each time. */
void work_clean(const work *w);

/* Does it, and keeps what it has made for the works behind it. */
void work_keep(const work *w);

/* Whether a failure has a reason: what only looks for faults in the contents tells of those. */
bool work_tells(const work *w);

/* All shards of a division, which are there once the model is, and a merge of some. */
#define WORK_SHARDS 30u
extern const char *work_shards[WORK_SHARDS];
int work_merge(const char *const *shards, size_t n);

/* Three scratch files, one of work. */
int work_fill_scratch(void);

#endif
