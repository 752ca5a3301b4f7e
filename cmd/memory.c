/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory this process may use. */
#include "cmd/cmd.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The limit in a cgroup's file; UINT64_MAX for "max" or no file. */
static uint64_t read_limit(const char *path)
{
    unsigned long long limit = 0;
    FILE *file = fopen(path, "r");
    bool found = file && fscanf(file, "%llu", &limit) == 1;

    if (file)
        fclose(file);
    return found ? limit : UINT64_MAX;
}

/* The least limit named by file in the directory base + group and those above it, up to base. */
static uint64_t least_limit(const char *base, char *group, const char *file)
{
    uint64_t least = UINT64_MAX;

    for (;;) {
        char path[1200];
        uint64_t limit;

        snprintf(path, sizeof path, "%s%s/%s", base, group, file);
        limit = read_limit(path);
        least = limit < least ? limit : least;
        char *slash = strrchr(group, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

/* What this process's cgroup may use: of version 2, or the memory controller of version 1. */
static uint64_t cgroup_bytes(void)
{
    char line[1100];
    uint64_t least = UINT64_MAX;
    FILE *file = fopen("/proc/self/cgroup", "r");

    while (file && fgets(line, sizeof line, file)) {
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        uint64_t limit = UINT64_MAX;

        if (!group)
            continue;
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        if (controllers[1] == '\0')
            limit = least_limit("/sys/fs/cgroup", group, "memory.max");
        else if (strstr(controllers, "memory"))
            limit = least_limit("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
        least = limit < least ? limit : least;
    }
    if (file)
        fclose(file);
    return least;
}

uint64_t cmd_memory_bytes(void)
{
    const uint64_t there = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE), limit = cgroup_bytes();

    return limit < there ? limit : there;
}

uint64_t cmd_memory_default(void)
{
    return cmd_memory_bytes() / 4 * 3;
}

uint64_t cmd_memory_free_bytes(void)
{
    const uint64_t limit = cmd_memory_bytes();
    unsigned long long kib = 0;
    bool found = false;
    char line[200];
    FILE *file = fopen("/proc/meminfo", "r");

    while (file && !found && fgets(line, sizeof line, file))
        found = sscanf(line, "MemAvailable: %llu kB", &kib) == 1;
    if (file)
        fclose(file);
    return found && (uint64_t)kib * 1024 < limit ? (uint64_t)kib * 1024 : limit;
}

void cmd_memory_keep(void)
{
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 512 << 20);
}
