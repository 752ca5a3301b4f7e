/* SPDX-License-Identifier: Apache-2.0 */
/* Processes numbered items in parallel and takes the results in order. Private to formats/omz*.c. */
#ifndef OMEN_OMZ_ORDER_H
#define OMEN_OMZ_ORDER_H

#include "lib/omendb.h"

typedef struct omz_order {
    void *context;
    uint64_t n_items;
    size_t slot_bytes; /* of one result */
    int n_threads;     /* <= 0: all */
    /* Creates and destroys what a thread keeps between items; NULL if out of memory. */
    void *(*start)(void *context);
    void (*stop)(void *worker);
    /* Computes the result of an item into slot. Its return value is passed to take() as made. */
    int (*make)(void *context, void *worker, uint64_t item, uint8_t *slot);
    /* Called for each item in order, by one thread at a time. Any value but OMEN_OK ends the work. */
    int (*take)(void *context, uint64_t item, int made, const uint8_t *slot);
} omz_order;

/* Returns OMEN_OK, OMEN_ERR_MEMORY, or what take() returned. */
int omz_order_run(const omz_order *order) OMEN_MUST_CHECK;

#endif
