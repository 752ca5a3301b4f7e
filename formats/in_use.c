/* SPDX-License-Identifier: Apache-2.0 */
/* Mapped files and temporaries in two tables of fixed size, since a signal handler may neither lock nor allocate. Other
 * threads may change a table while a handler reads it: an entry becomes visible when it is complete, and invisible
 * before it is taken apart.
 */
#include "formats/in_use.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Far more than the program has at once. One that finds no room is not remembered: a SIGBUS in it ends the process
 * without a word, a temporary stays. */
#define MAX_MAPPINGS    1024
#define MAX_TEMPORARIES 16

#define LABEL_KEPT 200 /* bytes of a long path */

/* begin of an entry that is being filled; no mapping is there */
#define BEGIN_RESERVED ((uintptr_t)1)

static struct {
    atomic_uintptr_t begin; /* 0: free */
    uintptr_t end;
    char label[OMEN_LABEL_BYTES];
} mappings[MAX_MAPPINGS];

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

void *omen_mapping_open(int fd, uint64_t offset, size_t n_bytes, const char *label)
{
    void *mapping = mmap(NULL, n_bytes, PROT_READ, MAP_SHARED, fd, (off_t)offset);

    for (size_t i = 0; mapping != MAP_FAILED && i < MAX_MAPPINGS; i++) {
        uintptr_t none = 0;

        if (atomic_compare_exchange_strong(&mappings[i].begin, &none, BEGIN_RESERVED)) {
            mappings[i].end = (uintptr_t)mapping + n_bytes;
            snprintf(mappings[i].label, sizeof mappings[i].label, "%s", label);
            atomic_store(&mappings[i].begin, (uintptr_t)mapping);
            break;
        }
    }
    return mapping;
}

void omen_mapping_close(const void *mapping, size_t n_bytes)
{
    if (!mapping)
        return;
    for (size_t i = 0; i < MAX_MAPPINGS; i++) {
        if (atomic_load(&mappings[i].begin) == (uintptr_t)mapping) {
            atomic_store(&mappings[i].begin, 0);
            break;
        }
    }
    munmap((void *)mapping, n_bytes);
}

const char *omen_mapping_label(const void *address)
{
    for (size_t i = 0; i < MAX_MAPPINGS; i++) {
        const uintptr_t begin = atomic_load(&mappings[i].begin);

        if (begin > BEGIN_RESERVED && (uintptr_t)address >= begin && (uintptr_t)address < mappings[i].end)
            return mappings[i].label;
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
