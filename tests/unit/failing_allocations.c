/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/failing_allocations.h"

#include <stddef.h>

static uint64_t n_allocations, failing_allocation;

void allocations_begin(uint64_t failing)
{
    n_allocations = 0;
    failing_allocation = failing;
}

uint64_t allocations_end(void)
{
    failing_allocation = 0;
    return n_allocations;
}

static bool may_allocate(void)
{
    return __atomic_add_fetch(&n_allocations, 1, __ATOMIC_RELAXED) !=
           __atomic_load_n(&failing_allocation, __ATOMIC_RELAXED);
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t n);

void *__wrap_malloc(size_t n)
{
    return may_allocate() ? __real_malloc(n) : NULL;
}

void *__wrap_calloc(size_t n, size_t size)
{
    return may_allocate() ? __real_calloc(n, size) : NULL;
}

void *__wrap_realloc(void *p, size_t n)
{
    return may_allocate() ? __real_realloc(p, n) : NULL;
}

void *__wrap_aligned_alloc(size_t alignment, size_t n)
{
    return may_allocate() ? __real_aligned_alloc(alignment, n) : NULL;
}

char *__wrap_strdup(const char *text)
{
    return may_allocate() ? __real_strdup(text) : NULL;
}

char *__wrap_strndup(const char *text, size_t n)
{
    return may_allocate() ? __real_strndup(text, n) : NULL;
}
