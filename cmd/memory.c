/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory this process may use. */
#include "cmd/cmd.h"

#include <malloc.h>
#include <stdio.h>
#include <unistd.h>

uint64_t cmd_memory_bytes(void)
{
    const uint64_t there = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE),
                   limit = cmd_limit_memory();

    return limit < there ? limit : there;
}

uint64_t cmd_memory_default(void)
{
    return cmd_memory_bytes() / 4 * 3;
}

void cmd_memory_settle(const char *command, uint64_t *n_bytes)
{
    const uint64_t limit = cmd_limit_memory();

    if (*n_bytes == 0) {
        *n_bytes = cmd_memory_default();
    } else if (*n_bytes > limit) {
        if (command)
            cmd_say(command, "warning: --memory is more than the %s that this process's group or job may use",
                    cmd_human_bytes(limit).text);
        *n_bytes = limit;
    }
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
    kib = kib > 0 ? kib : 1; /* 0 bytes would stand for no limit */
    return found && (uint64_t)kib * 1024 < limit ? (uint64_t)kib * 1024 : limit;
}

void cmd_memory_keep(void)
{
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 512 << 20);
}
