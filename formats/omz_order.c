/* Work on numbered items in parallel, its results taken in order.
 *
 * Threads draw items in order and put results in a ring of slots; whoever finds the oldest one made takes results until
 * one is missing, while the others go on. A thread waits, asleep, only when the ring is full: an ordered loop of OpenMP
 * would have each wait for its turn, and spin while a thread that has no processor holds the turn.
 */
#include "formats/omz_order.h"

#include <pthread.h>
#include <stdlib.h>

#define SLOTS_A_THREAD 3u

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
        const int rc = r->order->take(r->order->context, item, r->made[slot], r->slots + slot * r->order->slot_bytes);
        pthread_mutex_lock(&r->lock);
        r->status = rc;
        r->is_made[slot] = false;
        r->n_taken++;
        pthread_cond_broadcast(&r->moved);
    }
    r->is_taking = false;
}

static void work(ring *r, void *worker)
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

int omz_order_run(const omz_order *order)
{
    const int wanted = order->n_threads > 0 ? order->n_threads : omen_cpu_count();
    const int n_threads = order->n_items < (uint64_t)wanted ? (int)order->n_items : wanted;
    ring r = {.order = order, .n_slots = SLOTS_A_THREAD * (uint64_t)n_threads, .status = OMEN_OK};

    if (r.n_slots > order->n_items)
        r.n_slots = order->n_items;
    r.slots = malloc(r.n_slots * order->slot_bytes + 1);
    r.made = calloc(r.n_slots + 1, sizeof *r.made);
    r.is_made = calloc(r.n_slots + 1, sizeof *r.is_made);
    if (r.slots == NULL || r.made == NULL || r.is_made == NULL) {
        r.status = OMEN_ERR_MEMORY;
    } else {
        pthread_mutex_init(&r.lock, NULL);
        pthread_cond_init(&r.moved, NULL);
#pragma omp parallel num_threads(n_threads) if (n_threads > 1)
        {
            void *worker = order->start(order->context);
            if (worker == NULL) {
                pthread_mutex_lock(&r.lock);
                r.status = OMEN_ERR_MEMORY;
                pthread_cond_broadcast(&r.moved);
                pthread_mutex_unlock(&r.lock);
            } else {
                work(&r, worker);
            }
            order->stop(worker);
        }
        pthread_cond_destroy(&r.moved);
        pthread_mutex_destroy(&r.lock);
    }
    free(r.slots);
    free(r.made);
    free(r.is_made);
    return r.status;
}
