/* Whether the caller of a long piece of work wants it to stop: any thread may look, the first one asks the caller. */
#ifndef OMEN_WATCH_H
#define OMEN_WATCH_H

#include "lib/omendb.h"

#define OMEN_WATCH_STEP (1u << 24) /* multiply-adds between two looks, more or less: milliseconds */

typedef struct omen_watch {
    omen_progress_fn progress; /* NULL: nobody will */
    void *context;
    const char *stage;
    uint64_t done, total; /* told to progress */
    const void *owner;    /* the thread that may call progress */
    int stopped;          /* told to stop; read and written atomically */
} omen_watch;

/* A watch of the calling thread. */
omen_watch omen_watch_make(omen_progress_fn progress, void *context, const char *stage);

/* True once the caller has asked to stop; never without a watch. Threads that are not the owner learn of it when the
 * owner has asked. */
bool omen_watch_stopped(omen_watch *watch);

/* OMEN_OK, or OMEN_ERR_INTERRUPTED after a stop. */
int omen_watch_status(omen_watch *watch);

#endif
