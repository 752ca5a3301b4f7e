/* SPDX-License-Identifier: Apache-2.0 */
/* omendb bench, the data: base without the rows held out, queries, and the index, built or opened. */
#include "cmd/bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

/* Opens of a cached index that are timed, and of one that is not. */
#define WARM_OPENS 11u
#define COLD_OPENS 5u

/* Of a base, this many values at either end are hashed: to tell data sets apart, not to find damage. */
#define HASHED_VALUES ((uint64_t)1 << 20)

/* ---- the machine ---- */

const char *bench_cpu_model(void)
{
    static char model[128];
    char line[256];
    FILE *file = model[0] == '\0' ? fopen("/proc/cpuinfo", "re") : NULL;

    while (file && model[0] == '\0' && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');

        if (colon && strncmp(line, "model name", 10) == 0) {
            colon += 1 + strspn(colon + 1, " \t");
            colon[strcspn(colon, "\n")] = '\0';
            snprintf(model, sizeof model, "%s", colon);
        }
    }
    if (file)
        fclose(file);
    if (model[0] == '\0')
        snprintf(model, sizeof model, "unknown");
    return model;
}

/* Not getrusage(): its maximum starts at the size of whatever program ran this one. */
uint64_t bench_peak_bytes(void)
{
    FILE *file = fopen("/proc/self/status", "re");
    unsigned long long n_kilobytes = 0;
    char line[256];

    while (file && fgets(line, sizeof line, file) && sscanf(line, "VmHWM: %llu", &n_kilobytes) != 1) {
    }
    if (file)
        fclose(file);
    return 1024 * (uint64_t)n_kilobytes;
}

/* ---- the base ---- */

/* How many rows held out come before the given row of what is left: rows before it and held[i] - i <= row. */
static uint64_t held_before(const struct bench *b, uint64_t row)
{
    uint64_t low = 0, high = b->n_held;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (b->held[middle] - middle <= row)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The read() of a base with rows held out. */
static int read_kept(void *self, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    const struct bench *b = self;
    uint64_t skipped = held_before(b, first);

    while (n > 0) {
        uint64_t row = first + skipped;
        uint64_t run = skipped < b->n_held ? b->held[skipped] - row : b->whole.n_rows - row;
        int status;

        run = run < n ? run : n;
        status = run > 0 ? b->whole.read(b->whole.self, row, run, out, why) : OMEN_OK;
        if (status != OMEN_OK)
            return status;
        out += run * b->whole.d;
        first += run;
        n -= run;
        skipped = held_before(b, first);
    }
    return OMEN_OK;
}

/* One row of each of n equal strata of the base: the same rows in every run. */
static int hold_out(struct bench *b, omen_detail *why)
{
    const uint64_t n = b->options->n_held_out, n_rows = b->whole.n_rows;

    if (n >= n_rows) {
        return omen_fail(why, OMEN_ERR_ARGUMENT, "--held-out must be less than the %llu rows of the base",
                         (unsigned long long)n_rows);
    }
    b->held = malloc(n * sizeof *b->held);
    if (!b->held)
        return OMEN_ERR_MEMORY;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t first = (uint64_t)((unsigned __int128)n_rows * i / n);
        uint64_t end = (uint64_t)((unsigned __int128)n_rows * (i + 1) / n);

        b->held[i] = first + XXH3_64bits_withSeed(&i, sizeof i, b->options->build.seed) % (end - first);
    }
    b->n_held = n;
    b->base = (omen_source){.self = b,
                            .n_rows = n_rows - n,
                            .d = b->whole.d,
                            .element_bytes = b->whole.element_bytes,
                            .n_bytes = b->whole.n_bytes,
                            .read = read_kept};
    return OMEN_OK;
}

static int hash_base(struct bench *b, omen_detail *why)
{
    const omen_source *base = &b->base;
    uint64_t n = HASHED_VALUES / base->d + 1;
    uint64_t parts[4] = {base->n_rows, base->d};
    float *rows;
    int status;

    n = n < base->n_rows ? n : base->n_rows;
    rows = malloc(n * base->d * sizeof *rows);
    if (!rows)
        return OMEN_ERR_MEMORY;
    status = base->read(base->self, 0, n, rows, why);
    if (status == OMEN_OK) {
        parts[2] = XXH3_64bits(rows, n * base->d * sizeof *rows);
        status = base->read(base->self, base->n_rows - n, n, rows, why);
    }
    if (status == OMEN_OK) {
        parts[3] = XXH3_64bits(rows, n * base->d * sizeof *rows);
        b->base_hash = XXH3_64bits(parts, sizeof parts);
    }
    free(rows);
    return status;
}

int bench_open_base(struct bench *b, omen_detail *why)
{
    const struct bench_options *o = b->options;
    const omen_vectors_options vectors = {.format = o->format, .d = o->d};
    int status;

    status = omen_vectors_open(&b->base_vectors, o->base_path, &vectors, why);
    if (status != OMEN_OK)
        return status == OMEN_ERR_UNSUPPORTED ? OMEN_ERR_INPUT : status;
    b->whole = b->base = omen_vectors_source(b->base_vectors);
    b->has_base = true;
    return o->n_held_out > 0 ? hold_out(b, why) : OMEN_OK;
}

/* ---- the index ---- */

/* Names the index to build: what -o says, or a file in a directory of its own. */
static int name_index(struct bench *b, omen_detail *why)
{
    const char *root = getenv("TMPDIR");
    int written;

    if (b->options->keep_path) {
        b->index_path = strdup(b->options->keep_path);
        return b->index_path ? OMEN_OK : OMEN_ERR_MEMORY;
    }
    if (!root || root[0] == '\0')
        root = "/tmp";
    written = asprintf(&b->temporary, "%s/omendb-bench-XXXXXX", root);
    if (written < 0) {
        b->temporary = NULL;
        return OMEN_ERR_MEMORY;
    }
    if (!mkdtemp(b->temporary)) {
        free(b->temporary);
        b->temporary = NULL;
        return omen_fail(why, OMEN_ERR_IO, "cannot make a directory for the index in \"%s\": %m", root);
    }
    omen_temporary_remember(b->temporary);
    if (asprintf(&b->index_path, "%s/bench.omen", b->temporary) < 0) {
        b->index_path = NULL;
        return OMEN_ERR_MEMORY;
    }
    omen_temporary_remember(b->index_path);
    return OMEN_OK;
}

static int build_index(struct bench *b, omen_detail *why)
{
    omen_build_options options = b->options->build;
    omen_writer *writer = NULL;
    omen_sink sink;
    double started, commit_started;
    int status;

    options.n_threads = b->options->n_threads;
    options.progress = cmd_progress_update;
    options.progress_context = &b->progress;
    b->build.report.struct_bytes = sizeof b->build.report;
    started = cmd_seconds();
    status = bench_open_base(b, why);
    if (status == OMEN_OK)
        status = name_index(b, why);
    if (status == OMEN_OK)
        status = omen_writer_create(&writer, b->index_path, why);
    if (status != OMEN_OK)
        return status;
    sink = omen_writer_sink(writer);
    status = omen_index_build(&b->base, &options, &sink, NULL, &b->build.report, why);
    if (status == OMEN_OK && cmd_signals_noted() != 0)
        status = OMEN_ERR_INTERRUPTED;
    if (status == OMEN_OK) {
        commit_started = cmd_seconds();
        status = omen_writer_commit(writer, NULL, why);
        b->build.commit_seconds = cmd_seconds() - commit_started;
    }
    b->build.seconds = cmd_seconds() - started;
    b->build.peak_bytes = bench_peak_bytes();
    b->was_built = true;
    omen_writer_destroy(writer);
    return status == OMEN_ERR_UNSUPPORTED ? OMEN_ERR_INPUT : status;
}

/* Asks the kernel to forget the cached pages of a file, and looks whether it did: a file that others have mapped, or a
 * file system in memory, stays. */
static bool drop_cache(const char *path)
{
    const uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    unsigned char *present = NULL;
    void *map = MAP_FAILED;
    struct stat status = {.st_size = 0};
    uint64_t n_pages = 0;
    bool dropped = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO is reported by the open that is timed */

    if (fd >= 0 && fstat(fd, &status) == 0 && status.st_size > 0 && fdatasync(fd) == 0 &&
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0) {
        n_pages = ((uint64_t)status.st_size + page_bytes - 1) / page_bytes;
        present = malloc(n_pages);
        map = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
    }
    if (present && map != MAP_FAILED && mincore(map, (size_t)status.st_size, present) == 0) {
        dropped = true;
        for (uint64_t i = 0; i < n_pages; i++)
            dropped = dropped && (present[i] & 1) == 0;
    }
    if (map != MAP_FAILED)
        munmap(map, (size_t)status.st_size);
    free(present);
    if (fd >= 0)
        close(fd);
    return dropped;
}

static void close_index(struct bench *b)
{
    omen_index_close(b->index);
    omen_container_close(b->container);
    b->index = NULL;
    b->container = NULL;
}

/* A first query straight after a cold open; a unit vector, since the queries are not read yet. */
static int time_first_query(const struct bench *b, double *seconds, omen_detail *why)
{
    float *query = calloc(b->info.d, sizeof *query);
    omen_search_options search;
    int64_t id;
    double started;
    int status;

    if (!query)
        return OMEN_ERR_MEMORY;
    query[0] = 1;
    omen_search_options_init(&search);
    search.k = 1;
    search.n_threads = 1;
    started = cmd_seconds();
    status = cmd_name_damage(b->index_path, omen_index_search(b->index, &search, query, 1, &id, NULL, NULL, why), why);
    *seconds = cmd_seconds() - started;
    free(query);
    return status;
}

/* Opens the index anew and returns how long it took. */
static int time_open(struct bench *b, double *seconds, omen_detail *why)
{
    double started = cmd_seconds();
    int status = cmd_open_index(&b->container, &b->index, b->index_path, true, &b->info, why);

    *seconds = cmd_seconds() - started;
    return status;
}

/* Opens with nothing of the file in the page cache, then with what an open needs. Leaves the index open. */
static int time_opens(struct bench *b, omen_detail *why)
{
    double cold[COLD_OPENS], first_query[COLD_OPENS], warm[WARM_OPENS], ignored;
    uint32_t n_cold = 0;
    int status = OMEN_OK;

    while (status == OMEN_OK && n_cold < COLD_OPENS && drop_cache(b->index_path)) {
        status = time_open(b, &cold[n_cold], why);
        if (status == OMEN_OK)
            status = time_first_query(b, &first_query[n_cold], why);
        close_index(b);
        n_cold++;
    }
    if (status == OMEN_OK)
        status = time_open(b, &ignored, why);
    for (uint32_t i = 0; status == OMEN_OK && i < WARM_OPENS; i++) {
        close_index(b);
        status = time_open(b, &warm[i], why);
    }
    if (status != OMEN_OK)
        return status;
    if (n_cold > 0) {
        b->cold_open = bench_summarize(cold, n_cold);
        b->cold_query = bench_summarize(first_query, n_cold);
    }
    b->warm_open = bench_summarize(warm, WARM_OPENS);
    return OMEN_OK;
}

int bench_open_index(struct bench *b, omen_detail *why)
{
    int status = OMEN_OK;

    if (!b->options->index_path) {
        status = build_index(b, why);
    } else {
        b->index_path = strdup(b->options->index_path);
        status = b->index_path ? OMEN_OK : OMEN_ERR_MEMORY;
    }
    if (status == OMEN_OK)
        status = time_opens(b, why);
    if (status != OMEN_OK)
        return status;
    b->file_bytes = omen_container_file_bytes(b->container);
    if (b->options->base_path && !b->has_base)
        status = bench_open_base(b, why);
    if (status == OMEN_OK && b->has_base && (b->base.d != b->info.d || b->base.n_rows != b->info.n_rows)) {
        status =
            omen_fail(why, OMEN_ERR_INPUT, "the base has %llu rows of %u dimensions, the index %llu of %u",
                      (unsigned long long)b->base.n_rows, b->base.d, (unsigned long long)b->info.n_rows, b->info.d);
    }
    return status == OMEN_OK && b->has_base ? hash_base(b, why) : status;
}

/* ---- queries ---- */

static int read_held_queries(struct bench *b, omen_detail *why)
{
    int status = OMEN_OK;

    b->n_queries = b->n_held;
    b->queries = malloc(b->n_queries * b->info.d * sizeof *b->queries);
    if (!b->queries)
        return OMEN_ERR_MEMORY;
    for (uint64_t i = 0; status == OMEN_OK && i < b->n_held; i++)
        status = b->whole.read(b->whole.self, b->held[i], 1, b->queries + i * b->info.d, why);
    return status;
}

static int read_query_file(struct bench *b, omen_detail *why)
{
    omen_vectors *vectors = NULL;
    omen_source source;
    int status;

    status = cmd_open_rows(&vectors, b->options->queries_path, b->options->format, b->options->d, b->info.d, why);
    if (status != OMEN_OK)
        return status;
    source = omen_vectors_source(vectors);
    if (source.d != b->info.d) {
        status = omen_fail(why, OMEN_ERR_INPUT, "queries have %u dimensions, the index has %u", source.d, b->info.d);
        goto out;
    }
    b->n_queries = source.n_rows;
    b->queries = malloc(b->n_queries * source.d * sizeof *b->queries);
    status = b->queries ? source.read(source.self, 0, b->n_queries, b->queries, why) : OMEN_ERR_MEMORY;

out:
    omen_vectors_close(vectors);
    return status;
}

int bench_read_queries(struct bench *b, omen_detail *why)
{
    int status = b->n_held > 0 ? read_held_queries(b, why) : read_query_file(b, why);

    if (status == OMEN_OK)
        b->queries_hash = XXH3_64bits(b->queries, b->n_queries * b->info.d * sizeof *b->queries);
    return status;
}

void bench_finish(struct bench *b)
{
    bench_finish_filter(b);
    close_index(b);
    if (b->temporary) {
        if (b->index_path)
            unlink(b->index_path);
        rmdir(b->temporary);
        omen_temporary_forget(b->index_path);
        omen_temporary_forget(b->temporary);
    }
    omen_vectors_close(b->base_vectors);
    free(b->index_path);
    free(b->temporary);
    free(b->held);
    free(b->queries);
    free(b->truth.ids);
    free(b->truth.distances);
    free(b->points);
}
