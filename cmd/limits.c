/* SPDX-License-Identifier: Apache-2.0 */
/* What the groups of processes that this one is in, and the job that it is a task of, may use together: control groups
 * (version 1 and 2), and Slurm, which does not always make any. */
#include "cmd/cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_BYTES 4096u /* of memory: whatever a group says, it is not 0, which would stand for no limit */
#define PATH_BYTES  1200  /* of a file of a group: its line of /proc/self/cgroup is shorter */

/* What a group allows; UINT64_MAX: it has no limit. */
typedef uint64_t read_fn(const char *directory);

/* The numbers in a file: how many of the n there are. */
static int read_numbers(const char *directory, const char *file, int n, long long out[2])
{
    char path[PATH_BYTES + 40];
    int n_found = 0;

    snprintf(path, sizeof path, "%s/%s", directory, file);
    FILE *stream = fopen(path, "r");
    if (!stream)
        return 0;
    while (n_found < n && fscanf(stream, "%lld", &out[n_found]) == 1)
        n_found++;
    fclose(stream);
    return n_found;
}

/* "max" is no number, and so no limit. */
static uint64_t memory_2(const char *directory)
{
    long long limit[2];

    return read_numbers(directory, "memory.max", 1, limit) == 1 && limit[0] >= 0 ? (uint64_t)limit[0] : UINT64_MAX;
}

static uint64_t memory_1(const char *directory)
{
    long long limit[2];

    return read_numbers(directory, "memory.limit_in_bytes", 1, limit) == 1 && limit[0] >= 0 ? (uint64_t)limit[0]
                                                                                            : UINT64_MAX;
}

/* Processors: time of all together in each period, rounded up. */
static uint64_t share(long long quota, long long period)
{
    return quota > 0 && period > 0 ? (uint64_t)((quota - 1) / period + 1) : UINT64_MAX;
}

static uint64_t processors_2(const char *directory)
{
    long long words[2];

    return read_numbers(directory, "cpu.max", 2, words) == 2 ? share(words[0], words[1]) : UINT64_MAX;
}

static uint64_t processors_1(const char *directory)
{
    long long quota[2], period[2];

    return read_numbers(directory, "cpu.cfs_quota_us", 1, quota) == 1 &&
                   read_numbers(directory, "cpu.cfs_period_us", 1, period) == 1
               ? share(quota[0], period[0])
               : UINT64_MAX;
}

/* The least that the group base + group and those above it allow. */
static uint64_t least_of(const char *base, char *group, read_fn *read)
{
    uint64_t least = UINT64_MAX;

    for (;;) {
        char directory[PATH_BYTES];
        snprintf(directory, sizeof directory, "%s%s", base, group);
        const uint64_t limit = read(directory);
        least = limit < least ? limit : least;
        char *slash = strrchr(group, '/');
        if (!slash)
            return least;
        *slash = '\0';
    }
}

/* Whether a comma-separated list has a word. */
static bool has_word(const char *list, const char *word)
{
    const size_t n = strlen(word);

    while (*list != '\0') {
        const size_t length = strcspn(list, ",");
        if (length == n && memcmp(list, word, n) == 0)
            return true;
        list += length + (list[length] == ',');
    }
    return false;
}

/* The limit of this process's groups, of which a line each tells: "0::GROUP" (version 2) or "N:CONTROLLERS:GROUP". */
static uint64_t cgroup_limit(const char *controller, read_fn *read_1, read_fn *read_2)
{
    char line[1100], base[64];
    uint64_t least = UINT64_MAX;
    FILE *file = fopen("/proc/self/cgroup", "r");

    snprintf(base, sizeof base, "/sys/fs/cgroup/%s", controller);
    while (file && fgets(line, sizeof line, file)) {
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        uint64_t limit = UINT64_MAX;

        if (!group)
            continue;
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        if (controllers[1] == '\0')
            limit = least_of("/sys/fs/cgroup", group, read_2);
        else if (has_word(controllers + 1, controller))
            limit = least_of(base, group, read_1);
        least = limit < least ? limit : least;
    }
    if (file)
        fclose(file);
    return least;
}

/* A number that the environment has, as the first of a list; 0: none. */
static uint64_t environment_number(const char *name)
{
    const char *text = getenv(name);
    char *end;

    if (!text || *text < '0' || *text > '9')
        return 0;
    const unsigned long long n = strtoull(text, &end, 10);
    return (*end == '\0' || *end == ',') && n < UINT32_MAX ? n : 0;
}

/* In MiB; of a job that has all of a node there is 0. */
static uint64_t slurm_memory(void)
{
    const uint64_t node = environment_number("SLURM_MEM_PER_NODE"), each = environment_number("SLURM_MEM_PER_CPU");
    const uint64_t task = environment_number("SLURM_CPUS_PER_TASK"), here = environment_number("SLURM_CPUS_ON_NODE");
    const uint64_t n = task > 0 ? task : here > 0 ? here : 1;
    uint64_t least = node > 0 ? node << 20 : UINT64_MAX;

    if (each > 0 && each <= (UINT64_MAX >> 20) / n && (each * n) << 20 < least)
        least = (each * n) << 20;
    return least;
}

uint64_t cmd_limit_memory(void)
{
    const uint64_t group = cgroup_limit("memory", memory_1, memory_2), slurm = slurm_memory();
    const uint64_t least = group < slurm ? group : slurm;

    return least > LEAST_BYTES ? least : LEAST_BYTES;
}

int cmd_limit_processors(void)
{
    const uint64_t n = (uint64_t)omen_cpu_count(), quota = cgroup_limit("cpu", processors_1, processors_2);

    return (int)(quota < n ? quota : n);
}

int cmd_limit_threads(void)
{
    static const char *const names[] = {"SLURM_CPUS_PER_TASK", "OMP_NUM_THREADS"};
    uint64_t least = (uint64_t)cmd_limit_processors();

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const uint64_t n = environment_number(names[i]);
        least = n > 0 && n < least ? n : least;
    }
    return (int)least;
}
