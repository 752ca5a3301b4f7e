/* SPDX-License-Identifier: Apache-2.0 */
/* Processes numbered items in parallel and takes the results in order.
 *
 * Threads take items in order and put results in a ring of slots. The thread that finds the oldest result ready takes
 * results until one is missing, while the others go on. A thread sleeps only when the ring is full: in an ordered loop
 * of OpenMP each would wait for its turn, and spin while the thread whose turn it is has no processor.
 *
 * They are POSIX threads, since OpenMP's library ends the process if the system grants no more threads. Here fewer
 * threads then do the work, with the same result. */
#include "formats/omz_order.h"

#include <pthread.h>
#include <stdlib.h>

#define SLOTS_A_THREAD 3u
#define STACK_BYTES    (1u << 20) /* of a thread; the system's default may be 8 MiB, or next to nothing */

typedef struct ring {
    const omz_order *order;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    uint64_t n_slots, n_drawn, n_taken;
    bool is_taking;
    int status;
    uint8_t *slots;
    int *made;
    bool *is_made;
} ring;

/* Takes results as long as the next one is there. The lock is held on entry and on return. */
static void take_results(ring *r)
{
    r->is_taking = true;
    while (r->status == OMEN_OK && r->n_taken < r->n_drawn && r->is_made[r->n_taken % r->n_slots]) {
        const uint64_t item = r->n_taken, slot = item % r->n_slots;
        pthread_mutex_unlock(&r->lock);
        const int status =
            r->order->take(r->order->context, item, r->made[slot], r->slots + slot * r->order->slot_bytes);
        pthread_mutex_lock(&r->lock);
        r->status = status;
        r->is_made[slot] = false;
        r->n_taken++;
        pthread_cond_broadcast(&r->moved);
    }
    r->is_taking = false;
}

static void take_part(ring *r, void *worker)
{
    const omz_order *order = r->order;

    pthread_mutex_lock(&r->lock);
    for (;;) {
        while (r->status == OMEN_OK && r->n_drawn < order->n_items && r->n_drawn - r->n_taken == r->n_slots)
            pthread_cond_wait(&r->moved, &r->lock);
        if (r->status != OMEN_OK || r->n_drawn == order->n_items)
            break;
        const uint64_t item = r->n_drawn++, slot = item % r->n_slots;
        pthread_mutex_unlock(&r->lock);
        const int made = order->make(order->context, worker, item, r->slots + slot * order->slot_bytes);
        pthread_mutex_lock(&r->lock);
        r->made[slot] = made;
        r->is_made[slot] = true;
        if (!r->is_taking)
            take_results(r);
    }
    pthread_mutex_unlock(&r->lock);
}

/* One thread. */
static void *work(void *self)
{
    ring *r = self;
    void *worker = r->order->start(r->order->context);

    if (worker) {
        take_part(r, worker);
    } else {
        pthread_mutex_lock(&r->lock);
        r->status = OMEN_ERR_MEMORY;
        pthread_cond_broadcast(&r->moved);
        pthread_mutex_unlock(&r->lock);
    }
    r->order->stop(worker);
    return NULL;
}

/* Works with that many threads at most, this one among them. */
static void work_together(ring *r, pthread_t *threads, int n_threads)
{
    pthread_attr_t attributes;
    int n = 0;

    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->moved, NULL);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    while (n + 1 < n_threads && pthread_create(&threads[n], &attributes, work, r) == 0)
        n++;
    work(r);
    while (n > 0)
        pthread_join(threads[--n], NULL);
    pthread_attr_destroy(&attributes);
    pthread_cond_destroy(&r->moved);
    pthread_mutex_destroy(&r->lock);
}

int omz_order_run(const omz_order *order)
{
    const int wanted = order->n_threads > 0 ? order->n_threads : omen_cpu_count();
    const int n_threads = order->n_items < (uint64_t)wanted ? (int)order->n_items : wanted;
    ring r = {.order = order, .n_slots = SLOTS_A_THREAD * (uint64_t)n_threads, .status = OMEN_OK};
    pthread_t *threads;

    if (r.n_slots > order->n_items)
        r.n_slots = order->n_items;
    threads = malloc((size_t)n_threads * sizeof *threads + 1);
    r.slots = malloc(r.n_slots * order->slot_bytes + 1);
    r.made = calloc(r.n_slots + 1, sizeof *r.made);
    r.is_made = calloc(r.n_slots + 1, sizeof *r.is_made);
    if (!threads || !r.slots || !r.made || !r.is_made)
        r.status = OMEN_ERR_MEMORY;
    else
        work_together(&r, threads, n_threads);
    free(threads);
    free(r.slots);
    free(r.made);
    free(r.is_made);
    return r.status;
}
