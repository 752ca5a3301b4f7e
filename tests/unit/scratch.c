/* SPDX-License-Identifier: Apache-2.0 */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/scratch.h"

char directory[256];

void directory_make(void)
{
    const char *parent = getenv("TMPDIR");
    snprintf(directory, sizeof directory, "%.200s/omendb-XXXXXX", parent && *parent ? parent : "/tmp");
    if (!mkdtemp(directory)) {
        perror(directory);
        exit(1);
    }
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)type, (void)where;
    return remove(path);
}

void directory_remove(void)
{
    nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
