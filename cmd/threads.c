/* SPDX-License-Identifier: Apache-2.0 */
/* The threads of this process: their stacks, and how many it can have, since OpenMP ends a process if it asks for more
 * than the system grants. */
#include "cmd/cmd.h"

#include <malloc.h>
#include <omp.h>
#include <pthread.h>

#define STACK_BYTES ((size_t)1 << 20) /* the system's default may be 8 MiB, or next to nothing (ulimit -s) */

void cmd_threads_init(void)
{
    pthread_attr_t attributes;

    /* the C library would set 64 MiB of addresses aside for each thread that allocates, which ulimit -v counts */
    mallopt(M_ARENA_MAX, 1);
    if (pthread_attr_init(&attributes) == 0) {
        if (pthread_attr_setstacksize(&attributes, STACK_BYTES) == 0)
            pthread_setattr_default_np(&attributes);
        pthread_attr_destroy(&attributes);
    }
}

/* Waits until the count is taken. */
static void *wait_for_count(void *lock)
{
    pthread_mutex_lock(lock);
    pthread_mutex_unlock(lock);
    return NULL;
}

int cmd_threads(const char *command, int wanted)
{
    static pthread_t threads[CMD_MAX_THREADS];
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    const int asked = wanted > 0 ? wanted : cmd_limit_threads(), most = (int)CMD_MAX_THREADS;
    const int n_wanted = asked < most ? asked : most;
    int n = 0;

    if (command && wanted > 0) {
        const int n_there = cmd_limit_processors();
        if (wanted > n_there)
            cmd_say(command, "warning: %d threads are more than the %d processor%s that this process may use", wanted,
                    n_there, n_there == 1 ? "" : "s");
    }
    pthread_mutex_lock(&lock);
    while (n + 1 < n_wanted && pthread_create(&threads[n], NULL, wait_for_count, &lock) == 0)
        n++;
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    n++; /* this one */
    /* at the limit, half of them: the others may have to wait for threads that end, and a checkpoint has one too */
    n = n < n_wanted && n > 1 ? n / 2 : n;
    omp_set_num_threads(n);
    /* OpenMP keeps the threads that it has: start them now, while the system grants them */
#pragma omp parallel num_threads(n)
    {
    }
    return n;
}
