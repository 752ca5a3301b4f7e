/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the caller of long-running work wants it to stop. Any thread may ask; the thread that made the watch calls
 * the caller's progress function. */
#ifndef OMEN_WATCH_H
#define OMEN_WATCH_H

#include "lib/omendb.h"

#define OMEN_WATCH_STEP (1u << 24) /* multiply-adds between two checks, roughly: milliseconds */

typedef struct omen_watch {
    omen_progress_fn progress; /* NULL: the work is never stopped */
    void *context;
    const char *stage;
    uint64_t done, total; /* passed to progress */
    const void *owner;    /* the thread that may call progress */
    int stopped;          /* asked to stop; read and written atomically */
    bool counts_parts;    /* done and total are OMEN_PROGRESS_PARTS of each query */
} omen_watch;

/* A watch owned by the calling thread. */
omen_watch omen_watch_make(omen_progress_fn progress, void *context, const char *stage);

/* The same for a search of so many queries. */
omen_watch omen_watch_make_search(omen_progress_fn progress, void *context, uint64_t n_queries);

/* Adds to what is done, if the watch is of a search; any thread may. watch may be NULL. */
void omen_watch_add_parts(omen_watch *watch, uint64_t n_parts);

/* True once the caller has asked to stop; always false if watch is NULL. The owner calls progress; other threads see
 * the answer that it got last. */
bool omen_watch_stopped(omen_watch *watch);

/* OMEN_OK, or OMEN_ERR_INTERRUPTED after a stop. */
int omen_watch_status(omen_watch *watch);

#endif
