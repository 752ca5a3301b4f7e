/* SPDX-License-Identifier: Apache-2.0 */
/* What all fuzz targets share: the directory, files, parts and their checksums. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/container_format.h"
#include "lib/omendb.h"

const fuzz_target fuzz_targets[] = {
    {"vectors", "files of vectors of every format, compressed or not -> all rows, in two ways", fuzz_vectors,
     fuzz_vectors_seeds, false},
    {"lists", "lists of inputs, and of rows and keys of an index", fuzz_lists, fuzz_lists_seeds, false},
    {"reports", "ground truth, and results of bench as baseline", fuzz_reports, fuzz_reports_seeds, false},
    {"columns", "tables, arrays and tags -> sections -> the same columns", fuzz_columns, fuzz_columns_seeds, false},
    {"keys", "files of keys -> sections -> each key's row", fuzz_keys, fuzz_keys_seeds, false},
    {"conditions", "texts of --where -> rows, and equal conditions the same", fuzz_conditions, fuzz_conditions_seeds,
     false},
    {"container", "any bytes with right checksums of headers -> open, check, info", fuzz_container,
     fuzz_container_seeds, false},
    {"packed", "sections of .omz -> check, unpack, search, rows", fuzz_packed, fuzz_packed_seeds, true},
    {"codes", "sections of codes -> check, rows by every SIMD level", fuzz_codes, fuzz_codes_seeds, true},
    {"index", "sections of an index, graph, columns and keys too -> check, search by every way and SIMD level",
     fuzz_index, fuzz_index_seeds, true},
    {"resume", "records of a checkpoint -> the build that continues it -> a sound index", fuzz_resume,
     fuzz_resume_seeds, true},
    {"shards", "records of a model and two shards -> merge -> a sound index", fuzz_shards, fuzz_shards_seeds, true},
    {"self", "records of query --self -> the run that continues it -> results in order", fuzz_self, fuzz_self_seeds,
     true},
    {"options", "command lines -> options, --help", fuzz_options, fuzz_options_seeds, false},
    {"commands", "command lines that are run, but for bench", fuzz_commands, fuzz_commands_seeds, false},
    {NULL, NULL, NULL, NULL, false},
};

const fuzz_target *fuzz_find(const char *name)
{
    const fuzz_target *target = fuzz_targets;

    while (target->name && strcmp(target->name, name) != 0)
        target++;
    return target->name ? target : NULL;
}

/* ---- failures ---- */

FILE *fuzz_output;     /* standard output as it was */
static FILE *log_file; /* standard error likewise */

void fuzz_fail(const char *file, int line, const char *condition, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fprintf(log_file, "%s:%d: %s: ", file, line, condition);
    vfprintf(log_file, format, arguments);
    fprintf(log_file, "\n");
    va_end(arguments);
    abort();
}

/* ---- the directory ---- */

static char directory[256];

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)type, (void)where;
    return remove(path);
}

static void remove_directory(void)
{
    if (chdir("/") == 0)
        nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void fuzz_start(void)
{
    /* in memory, where a sync takes no time */
    snprintf(directory, sizeof directory, "%s/omendb-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    log_file = stderr;
    fuzz_output = fdopen(dup(STDOUT_FILENO), "w");
    FUZZ_REQUIRE(mkdtemp(directory) && chdir(directory) == 0, "%s: %s", directory, strerror(errno));
    FUZZ_REQUIRE(setenv("TMPDIR", directory, 1) == 0, "%s", strerror(errno));
    atexit(remove_directory);
    stdout = fopen("/dev/null", "w");
    stderr = getenv("OMENDB_FUZZ_SHOW") ? fdopen(dup(STDERR_FILENO), "w") : fopen("/dev/null", "w");
    FUZZ_REQUIRE(fuzz_output && stdout && stderr && freopen("/dev/null", "r", stdin), "%s", strerror(errno));
    setvbuf(stderr, NULL, _IONBF, 0);
    FUZZ_REQUIRE(dup2(fileno(stdout), STDOUT_FILENO) >= 0, "%s", strerror(errno)); /* what is written to it directly */
}

void fuzz_write(const char *name, const void *data, size_t n_bytes)
{
    FILE *file = fopen(name, "w");

    FUZZ_REQUIRE(file && fwrite(data, 1, n_bytes, file) == n_bytes && fclose(file) == 0, "%s: %s", name,
                 strerror(errno));
}

uint8_t *fuzz_read(const char *name, size_t *n_bytes)
{
    FILE *file = fopen(name, "r");
    struct stat status;
    uint8_t *data;

    if (!file)
        return NULL;
    FUZZ_REQUIRE(fstat(fileno(file), &status) == 0, "%s: %s", name, strerror(errno));
    *n_bytes = (size_t)status.st_size;
    data = malloc(*n_bytes + 1);
    FUZZ_REQUIRE(data && fread(data, 1, *n_bytes, file) == *n_bytes, "%s: %s", name, strerror(errno));
    fclose(file);
    return data;
}

#define KEPT_MOST 16u

static struct kept {
    char name[32];
    uint8_t *data;
    size_t n_bytes;
    struct stat status;
} kept[KEPT_MOST];
static size_t n_kept;

void fuzz_keep(const char *name)
{
    struct kept *file = &kept[n_kept++];

    FUZZ_REQUIRE(n_kept <= KEPT_MOST, "%zu files", n_kept);
    snprintf(file->name, sizeof file->name, "%s", name);
    file->data = fuzz_read(name, &file->n_bytes);
    FUZZ_REQUIRE(file->data && stat(name, &file->status) == 0, "%s: %s", name, strerror(errno));
}

static bool is_kept(const char *name)
{
    for (size_t i = 0; i < n_kept; i++)
        if (strcmp(kept[i].name, name) == 0)
            return true;
    return false;
}

void fuzz_clean(void)
{
    DIR *all = opendir(".");
    struct dirent *entry;
    struct stat now;

    while (all && (entry = readdir(all)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && !is_kept(entry->d_name))
            nftw(entry->d_name, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    if (all)
        closedir(all);
    for (size_t i = 0; i < n_kept; i++) {
        const struct stat *was = &kept[i].status;

        if (lstat(kept[i].name, &now) == 0 && now.st_ino == was->st_ino && now.st_size == was->st_size &&
            now.st_mode == was->st_mode && now.st_mtim.tv_sec == was->st_mtim.tv_sec &&
            now.st_mtim.tv_nsec == was->st_mtim.tv_nsec)
            continue;
        nftw(kept[i].name, remove_one, 8, FTW_DEPTH | FTW_PHYS);
        fuzz_write(kept[i].name, kept[i].data, kept[i].n_bytes);
        FUZZ_REQUIRE(stat(kept[i].name, &kept[i].status) == 0, "%s", strerror(errno));
    }
}

char *fuzz_text(const uint8_t *data, size_t n_bytes)
{
    char *text = malloc(n_bytes + 1);

    FUZZ_REQUIRE(text, "%zu bytes", n_bytes);
    memcpy(text, data, n_bytes);
    text[n_bytes] = '\0';
    return text;
}

void (*fuzz_take_seed)(const uint8_t *data, size_t n_bytes);

void fuzz_seed(const void *data, size_t n_bytes)
{
    fuzz_take_seed(data, n_bytes);
}

/* ---- memory ---- */

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define HAS_HOOKS
#endif
#elif defined __SANITIZE_ADDRESS__
#define HAS_HOOKS
#endif

static atomic_size_t limit_bytes; /* 0: none */

#ifdef HAS_HOOKS
int __sanitizer_install_malloc_and_free_hooks(void (*allocated)(const volatile void *, size_t),
                                              void (*freed)(const volatile void *));
size_t __sanitizer_get_allocated_size(const volatile void *block);

static _Atomic long long live_bytes;

static void note_allocated(const volatile void *block, size_t n_bytes)
{
    const size_t limit = limit_bytes;
    const long long live = atomic_fetch_add(&live_bytes, (long long)n_bytes) + (long long)n_bytes;

    if (limit > 0 && live > (long long)limit) {
        limit_bytes = 0;
        FUZZ_REQUIRE(live <= (long long)limit, "%lld bytes are allocated, %zu of them at once; %zu may be", live,
                     n_bytes, limit);
    }
}

static void note_freed(const volatile void *block)
{
    if (block)
        atomic_fetch_sub(&live_bytes, (long long)__sanitizer_get_allocated_size(block));
}
#endif

void fuzz_limit_memory(size_t n_bytes)
{
#ifdef HAS_HOOKS
    static bool is_installed;

    if (!is_installed)
        __sanitizer_install_malloc_and_free_hooks(note_allocated, note_freed);
    is_installed = true;
    live_bytes = 0;
    limit_bytes = 4 * n_bytes + ((size_t)64 << 20);
#endif
}

void fuzz_limit_memory_of_file(const uint8_t *file, size_t n_bytes)
{
    static const char magic[] = "\x28\xb5\x2f\xfd";
    const size_t window = n_bytes >= 4 && memcmp(file, magic, 4) == 0 ? (size_t)132 << 20 : 0;

    fuzz_limit_memory(n_bytes + window / 4);
}

void fuzz_lift_limit(void)
{
    limit_bytes = 0;
}

/* ---- parts ---- */

static uint32_t load_u32(const uint8_t *from)
{
    uint32_t value;

    memcpy(&value, from, sizeof value);
    return value;
}

static uint64_t load_u64(const uint8_t *from)
{
    uint64_t value;

    memcpy(&value, from, sizeof value);
    return value;
}

static void store(uint8_t *to, uint64_t value, size_t n_bytes)
{
    memcpy(to, &value, n_bytes);
}

size_t fuzz_parts(const uint8_t *data, size_t n_bytes, fuzz_part parts[FUZZ_MAX_PARTS])
{
    size_t n = 0;

    while (n < FUZZ_MAX_PARTS && n_bytes >= FUZZ_PART_HEADER) {
        const size_t wanted = load_u32(data + 12), left = n_bytes - FUZZ_PART_HEADER;
        fuzz_part *part = &parts[n++];

        *part = (fuzz_part){load_u32(data), load_u32(data + 4), load_u32(data + 8), data + FUZZ_PART_HEADER,
                            wanted < left ? wanted : left};
        data += FUZZ_PART_HEADER + part->n_bytes;
        n_bytes = left - part->n_bytes;
    }
    return n;
}

uint8_t *fuzz_parts_join(const fuzz_part *parts, size_t n, size_t *n_bytes)
{
    size_t size = 0;
    uint8_t *out, *to;

    for (size_t i = 0; i < n; i++)
        size += FUZZ_PART_HEADER + parts[i].n_bytes;
    to = out = malloc(size + 1);
    FUZZ_REQUIRE(out, "%zu bytes", size);
    for (size_t i = 0; i < n; i++) {
        store(to, parts[i].id, 4);
        store(to + 4, parts[i].element, 4);
        store(to + 8, parts[i].flags, 4);
        store(to + 12, parts[i].n_bytes, 4);
        if (parts[i].n_bytes > 0)
            memcpy(to + FUZZ_PART_HEADER, parts[i].data, parts[i].n_bytes);
        to += FUZZ_PART_HEADER + parts[i].n_bytes;
    }
    *n_bytes = size;
    return out;
}

#define BLOCK ((size_t)4096)

static size_t up(size_t x, size_t to)
{
    return (x + to - 1) / to * to;
}

/* A file that grows; what is skipped is zeros. */
typedef struct file {
    uint8_t *data;
    size_t n_bytes, size;
} file;

static uint8_t *grow(file *f, size_t at, size_t n_bytes)
{
    if (at + n_bytes > f->size) {
        const size_t size = up(2 * (at + n_bytes), BLOCK);

        f->data = realloc(f->data, size);
        FUZZ_REQUIRE(f->data, "%zu bytes", size);
        memset(f->data + f->size, 0, size - f->size);
        f->size = size;
    }
    if (at + n_bytes > f->n_bytes)
        f->n_bytes = at + n_bytes;
    return f->data + at;
}

static void put(file *f, size_t at, const void *data, size_t n_bytes)
{
    uint8_t *to = grow(f, at, n_bytes);

    if (n_bytes > 0)
        memcpy(to, data, n_bytes);
}

static void seal(uint8_t record[64])
{
    store(record + 56, omen_checksum(record, 56), 8);
}

/* The checksums of the blocks of n_bytes at from, and of these, and so on, at `at`; returns how many, and the hash of
 * the last level. */
static size_t put_checksums(file *f, size_t from, size_t n_bytes, size_t at, uint64_t *top)
{
    size_t n_all = 0, begin = at;

    do {
        const size_t n_blocks = (n_bytes + BLOCK - 1) / BLOCK;

        begin = at;
        for (size_t i = 0; i < n_blocks; i++, at += 8) {
            const size_t left = n_bytes - i * BLOCK;
            const uint64_t sum = omen_checksum(f->data + from + i * BLOCK, left < BLOCK ? left : BLOCK);

            put(f, at, &sum, 8);
        }
        n_all += n_blocks;
        from = begin;
        n_bytes = 8 * n_blocks;
    } while (n_bytes > BLOCK);
    *top = omen_checksum(f->data + begin, n_bytes);
    return n_all;
}

void fuzz_write_container(const char *name, const fuzz_part *parts, size_t n)
{
    file f = {NULL, 0, 0};
    uint8_t *table = calloc(n + 1, 64);
    uint8_t head[64] = "OMENDB\r\n\1", tail[64] = "OMENEND\n";
    size_t at = BLOCK;

    FUZZ_REQUIRE(table, "%zu parts", n);
    store(head + 16, 77, 8);
    seal(head);
    put(&f, 0, head, sizeof head);
    grow(&f, 0, BLOCK);
    for (size_t i = 0; i < n; i++) {
        const size_t sums_at = up(at + parts[i].n_bytes, 8);
        uint8_t *entry = table + 64 * i;
        uint64_t top;

        put(&f, at, parts[i].data, parts[i].n_bytes);
        grow(&f, sums_at, 0);
        const size_t n_sums = put_checksums(&f, at, parts[i].n_bytes, sums_at, &top);
        store(entry, parts[i].id, 4);
        store(entry + 4, parts[i].element, 4);
        store(entry + 8, parts[i].flags, 4);
        store(entry + 16, at, 8);
        store(entry + 24, parts[i].n_bytes, 8);
        store(entry + 32, parts[i].n_bytes, 8);
        store(entry + 40, n_sums, 8);
        store(entry + 48, top, 8);
        at = up(sums_at + 8 * n_sums, BLOCK);
        grow(&f, at, 0);
    }
    put(&f, at, table, 64 * n);
    store(tail + 8, at, 8);
    store(tail + 16, 64 * n, 8);
    store(tail + 24, omen_checksum(table, 64 * n), 8);
    store(tail + 32, at + 64 * n + 64, 8);
    store(tail + 40, 77, 8);
    seal(tail);
    put(&f, at + 64 * n, tail, sizeof tail);
    fuzz_write(name, f.data, f.n_bytes);
    free(f.data);
    free(table);
}

size_t fuzz_container_parts(const uint8_t *bytes, size_t n_bytes, fuzz_part parts[FUZZ_MAX_PARTS])
{
    FUZZ_REQUIRE(n_bytes >= BLOCK + 64, "%zu bytes", n_bytes);
    const uint64_t table = load_u64(bytes + n_bytes - 56), n = load_u64(bytes + n_bytes - 48) / 64;

    FUZZ_REQUIRE(n <= FUZZ_MAX_PARTS, "%llu sections", (unsigned long long)n);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *entry = bytes + table + 64 * i;

        parts[i] = (fuzz_part){load_u32(entry), load_u32(entry + 4), load_u32(entry + 8), bytes + load_u64(entry + 16),
                               load_u64(entry + 24)};
    }
    return n;
}

void fuzz_seed_container(const char *name)
{
    fuzz_part parts[FUZZ_MAX_PARTS];
    size_t n_bytes;
    uint8_t *bytes = fuzz_read(name, &n_bytes), *joined;

    FUZZ_REQUIRE(bytes, "%s is not there", name);
    const size_t n = fuzz_container_parts(bytes, n_bytes, parts);
    joined = fuzz_parts_join(parts, n, &n_bytes);
    fuzz_seed(joined, n_bytes);
    free(joined);
    free(bytes);
}

void fuzz_seal(uint8_t *bytes, size_t n_bytes)
{
    uint8_t *tail = bytes + n_bytes - 64;

    if (n_bytes < BLOCK + 64)
        return;
    seal(bytes);
    const uint64_t table = load_u64(tail + 8), n_table = load_u64(tail + 16);

    if (table < n_bytes && n_table <= n_bytes - table) {
        for (uint64_t at = table; at + 64 <= table + n_table; at += 64) {
            const uint64_t from = load_u64(bytes + at + 16), n = load_u64(bytes + at + 24);

            /* of a short section, its checksum and the hash of that */
            if (n > 0 && n <= BLOCK && from < n_bytes && up(n, 8) + 8 <= n_bytes - from) {
                store(bytes + from + up(n, 8), omen_checksum(bytes + from, n), 8);
                store(bytes + at + 48, omen_checksum(bytes + from + up(n, 8), 8), 8);
            }
        }
        store(tail + 24, omen_checksum(bytes + table, n_table), 8);
    }
    seal(tail);
}

/* The head of a file of records, which has a version of its own, as the program writes it. */
static void load_head(uint8_t head[64])
{
    static uint8_t kept_head[64];
    omen_part *part = NULL;
    omen_detail why = {""};
    uint8_t *bytes;
    size_t n_bytes;

    if (kept_head[0] == 0) {
        FUZZ_REQUIRE(omen_part_open(&part, "head", true, &why) == OMEN_OK, "%s", why.text);
        bytes = fuzz_read(omen_part_path(part), &n_bytes);
        FUZZ_REQUIRE(bytes && n_bytes >= 64, "%s", omen_part_path(part));
        memcpy(kept_head, bytes, sizeof kept_head);
        free(bytes);
        omen_part_remove(part);
        omen_part_close(part);
    }
    memcpy(head, kept_head, sizeof kept_head);
}

void fuzz_write_records(const char *name, uint32_t kind, const fuzz_part *parts, size_t n, uint32_t element)
{
    file f = {NULL, 0, 0};
    uint8_t head[64];
    size_t at = BLOCK;
    uint32_t number = 0;

    load_head(head);
    store(head + 12, kind, 4);
    seal(head);
    put(&f, 0, head, sizeof head);
    grow(&f, 0, BLOCK);
    for (size_t i = 0; i < n; i++) {
        uint8_t record[64] = "OMENREC\n";

        if (parts[i].element != element)
            continue;
        store(record + 8, parts[i].id, 4);
        store(record + 12, number++, 4);
        store(record + 16, parts[i].n_bytes, 8);
        store(record + 24, omen_checksum(parts[i].data, parts[i].n_bytes), 8);
        seal(record);
        put(&f, at, record, sizeof record);
        put(&f, at + BLOCK, parts[i].data, parts[i].n_bytes);
        at = up(at + BLOCK + parts[i].n_bytes, BLOCK);
        grow(&f, at, 0);
    }
    fuzz_write(name, f.data, f.n_bytes);
    free(f.data);
}

size_t fuzz_record_parts(const uint8_t *bytes, size_t n_bytes, uint32_t element, fuzz_part parts[FUZZ_MAX_PARTS])
{
    size_t n = 0;

    for (size_t at = BLOCK; at + BLOCK <= n_bytes && memcmp(bytes + at, "OMENREC\n", 8) == 0; n++) {
        FUZZ_REQUIRE(n < FUZZ_MAX_PARTS, "%zu records", n);
        parts[n] = (fuzz_part){load_u32(bytes + at + 8), element, 0, bytes + at + BLOCK, load_u64(bytes + at + 16)};
        at = up(at + BLOCK + parts[n].n_bytes, BLOCK);
    }
    return n;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

size_t fuzz_mutate_parts(uint8_t *data, size_t n_bytes, size_t most, uint64_t seed, fuzz_mutate_fn *mutate)
{
    fuzz_part parts[FUZZ_MAX_PARTS];
    const size_t n = fuzz_parts(data, n_bytes, parts);
    uint64_t random = seed * 2654435761u + 88172645463325252u;
    size_t out_bytes;

    next_random(&random);
    if (n == 0 || next_random(&random) % 32 == 0)
        return mutate(data, n_bytes, most);
    fuzz_part *part = &parts[next_random(&random) % n];
    fuzz_part *other = &parts[next_random(&random) % n];
    const size_t room = most > n_bytes ? most - n_bytes : 0;
    const size_t shares[] = {SIZE_MAX, SIZE_MAX, 16, 64, 128}; /* the beginning, where counts are, more often */
    const size_t share = shares[next_random(&random) % 5], n_here = share < part->n_bytes ? share : part->n_bytes;
    uint8_t *payload = malloc(part->n_bytes + room + 1);

    FUZZ_REQUIRE(payload, "%zu bytes", most);
    memcpy(payload, part->data, part->n_bytes);
    switch (next_random(&random) % 16) {
    case 0: /* what is said of it */
        mutate((uint8_t *)part, 12, 12);
        break;
    case 1: { /* its place */
        const fuzz_part was = *part;

        *part = *other;
        *other = was;
        break;
    }
    case 2: /* its length */
        if (part->n_bytes > 0)
            part->n_bytes = mutate(payload, part->n_bytes, part->n_bytes + room);
        part->data = payload;
        break;
    default: /* its contents */
        if (n_here > 0)
            mutate(payload, n_here, n_here);
        part->data = payload;
        break;
    }
    uint8_t *joined = fuzz_parts_join(parts, n, &out_bytes);

    free(payload);
    if (out_bytes <= most)
        memcpy(data, joined, out_bytes);
    free(joined);
    return out_bytes <= most ? out_bytes : n_bytes;
}
