/* SPDX-License-Identifier: Apache-2.0 */
/* Mapped files and temporaries in two tables, since a signal handler may neither lock nor allocate. Other threads may
 * change a table while a handler reads it: an entry becomes visible when it is complete, and invisible before it is
 * taken apart. The table of mappings grows by blocks, which stay for mappings to come.
 */
#include "formats/in_use.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* One that finds no room is not remembered: a SIGBUS in it ends the process without a word, a temporary stays. */
#define BLOCK_MAPPINGS  64
#define MAX_TEMPORARIES 16

#define LABEL_KEPT 200 /* bytes of a long path */

/* begin of an entry that is being filled; no mapping is there */
#define BEGIN_RESERVED ((uintptr_t)1)

typedef struct mapping_block mapping_block;

struct mapping_block {
    atomic_uintptr_t begins[BLOCK_MAPPINGS]; /* 0: free */
    uintptr_t ends[BLOCK_MAPPINGS];
    char labels[BLOCK_MAPPINGS][OMEN_LABEL_BYTES];
    mapping_block *next; /* an older one; set before the block is visible */
};

static mapping_block first_block;
static _Atomic(mapping_block *) newest_block = &first_block;

static _Atomic(const char *) temporaries[MAX_TEMPORARIES];

void omen_label_set(char label[OMEN_LABEL_BYTES], const char *path)
{
    const size_t length = strlen(path);

    if (strcmp(path, "-") == 0)
        snprintf(label, OMEN_LABEL_BYTES, "standard input");
    else if (length <= LABEL_KEPT)
        snprintf(label, OMEN_LABEL_BYTES, "\"%s\"", path);
    else
        snprintf(label, OMEN_LABEL_BYTES, "\"...%s\"", path + length - LABEL_KEPT);
    for (char *c = label; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
}

/* ---- mappings ---- */

/* Takes a free entry of a block. */
static bool remember(mapping_block *block, uintptr_t begin, size_t n_bytes, const char *label)
{
    for (size_t i = 0; i < BLOCK_MAPPINGS; i++) {
        uintptr_t none = 0;

        if (atomic_load(&block->begins[i]) == 0 &&
            atomic_compare_exchange_strong(&block->begins[i], &none, BEGIN_RESERVED)) {
            block->ends[i] = begin + n_bytes;
            snprintf(block->labels[i], OMEN_LABEL_BYTES, "%s", label);
            atomic_store(&block->begins[i], begin);
            return true;
        }
    }
    return false;
}

/* Takes an entry of some block. */
static void remember_anywhere(void *mapping, size_t n_bytes, const char *label)
{
    mapping_block *block = atomic_load(&newest_block);

    while (block && !remember(block, (uintptr_t)mapping, n_bytes, label))
        block = block->next;
    if (!block && (block = calloc(1, sizeof *block)) != NULL) {
        remember(block, (uintptr_t)mapping, n_bytes, label);
        block->next = atomic_load(&newest_block);
        while (!atomic_compare_exchange_weak(&newest_block, &block->next, block))
            ;
    }
}

void *omen_mapping_open(int fd, uint64_t offset, size_t n_bytes, const char *label)
{
    void *mapping = mmap(NULL, n_bytes, PROT_READ, MAP_SHARED, fd, (off_t)offset);

    if (mapping == MAP_FAILED && errno == ENODEV) /* some file systems do without sharing */
        mapping = mmap(NULL, n_bytes, PROT_READ, MAP_PRIVATE, fd, (off_t)offset);
    if (mapping != MAP_FAILED)
        remember_anywhere(mapping, n_bytes, label);
    return mapping;
}

void *omen_mapping_open_to_write(int fd, size_t n_bytes, const char *label)
{
    void *mapping = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (mapping != MAP_FAILED)
        remember_anywhere(mapping, n_bytes, label);
    return mapping;
}

void omen_mapping_close(const void *mapping, size_t n_bytes)
{
    bool is_found = !mapping;

    for (mapping_block *block = atomic_load(&newest_block); block && !is_found; block = block->next) {
        for (size_t i = 0; i < BLOCK_MAPPINGS && !is_found; i++) {
            is_found = atomic_load(&block->begins[i]) == (uintptr_t)mapping;
            if (is_found)
                atomic_store(&block->begins[i], 0);
        }
    }
    if (mapping)
        munmap((void *)mapping, n_bytes);
}

const char *omen_mapping_label(const void *address)
{
    for (mapping_block *block = atomic_load(&newest_block); block; block = block->next) {
        for (size_t i = 0; i < BLOCK_MAPPINGS; i++) {
            const uintptr_t begin = atomic_load(&block->begins[i]);

            if (begin > BEGIN_RESERVED && (uintptr_t)address >= begin && (uintptr_t)address < block->ends[i])
                return block->labels[i];
        }
    }
    return NULL;
}

/* ---- temporaries ---- */

void omen_temporary_remember(const char *path)
{
    for (size_t i = 0; i < MAX_TEMPORARIES; i++) {
        const char *none = NULL;

        if (atomic_compare_exchange_strong(&temporaries[i], &none, path))
            return;
    }
}

void omen_temporary_forget(const char *path)
{
    for (size_t i = 0; i < MAX_TEMPORARIES; i++) {
        const char *found = path;

        if (path && atomic_compare_exchange_strong(&temporaries[i], &found, NULL))
            return;
    }
}

void omen_temporaries_remove(void)
{
    /* directories after the files in them */
    for (size_t i = 0; i < MAX_TEMPORARIES; i++) {
        const char *path = atomic_load(&temporaries[i]);

        if (path && unlink(path) == 0)
            atomic_store(&temporaries[i], NULL);
    }
    for (size_t i = 0; i < MAX_TEMPORARIES; i++) {
        const char *path = atomic_load(&temporaries[i]);

        if (path)
            rmdir(path);
    }
}
