/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the caller of long-running work wants it to stop. */
#include "lib/watch.h"

/* An address of its own in each thread. */
static const void *this_thread(void)
{
    static _Thread_local char place;
    return &place;
}

omen_watch omen_watch_make(omen_progress_fn progress, void *context, const char *stage)
{
    return (omen_watch){.progress = progress, .context = context, .stage = stage, .total = 1, .owner = this_thread()};
}

omen_watch omen_watch_make_search(omen_progress_fn progress, void *context, uint64_t n_queries)
{
    omen_watch watch = omen_watch_make(progress, context, "search");
    watch.total = n_queries * OMEN_PROGRESS_PARTS;
    watch.counts_parts = true;
    return watch;
}

void omen_watch_add_parts(omen_watch *watch, uint64_t n_parts)
{
    if (watch && watch->progress && watch->counts_parts)
        __atomic_fetch_add(&watch->done, n_parts, __ATOMIC_RELAXED);
}

bool omen_watch_stopped(omen_watch *watch)
{
    if (!watch)
        return false;
    if (__atomic_load_n(&watch->stopped, __ATOMIC_RELAXED))
        return true;
    if (!watch->progress || watch->owner != this_thread() ||
        !watch->progress(watch->context, watch->stage, __atomic_load_n(&watch->done, __ATOMIC_RELAXED), watch->total))
        return false;
    __atomic_store_n(&watch->stopped, 1, __ATOMIC_RELAXED);
    return true;
}

int omen_watch_status(omen_watch *watch)
{
    return omen_watch_stopped(watch) ? OMEN_ERR_INTERRUPTED : OMEN_OK;
}
