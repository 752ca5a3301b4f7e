/* SPDX-License-Identifier: Apache-2.0 */
/* The checkpoint file. A record's payload is written and made durable before its header, so a readable header means
 * that its payload is complete; the header itself becomes durable with the next record. A separate thread writes one
 * record at a time while the build goes on; large ones bypass the page cache, which takes that thread a tenth of the
 * processor time.
 *
 * The name is claimed as omen_file_claim() has it; a file of ours that is there already is continued. */
#include "formats/checkpoint.h"
#include "formats/container_format.h"
#include "formats/file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#define FILE_MAGIC   "OMENPRT\n"
#define RECORD_MAGIC "OMENREC\n"
#define ALIGN_BYTES  4096u
#define DIRECT_LEAST (1u << 20) /* payloads from here on are written past the page cache */
#define PIECE_BYTES  (1u << 20)
#define MAX_SPANS    8
#define CHECK_BYTES  (1u << 20)
#define PART_VERSION 5u

/* Offsets in the file's head and in the header of a record, both CONTAINER_RECORD_BYTES long and sealed. */
enum { HEAD_VERSION = 8, HEAD_KIND = 12 };
enum { PAYLOAD_KIND = 8, PAYLOAD_NUMBER = 12, PAYLOAD_BYTES = 16, PAYLOAD_HASH = 24 };

typedef struct part_record {
    uint32_t kind;
    uint64_t offset; /* of the payload */
    uint64_t n_bytes;
    uint64_t hash; /* as its header names it */
} part_record;

struct omen_part {
    char *path;
    int fd;
    dev_t device; /* of a file that is read and not kept open, so that it is the same one */
    ino_t inode;
    int direct;     /* the same file, opened with O_DIRECT; -1: not possible there */
    uint8_t *piece; /* PIECE_BYTES, page-aligned, with direct */
    bool removed, written;
    bool is_elsewhere; /* in a directory of its own, from where no rename leads to the file that is made */
    bool has_locks;    /* without, its name is its own, and it goes with the process */
    bool is_fixed;     /* the file is only read */
    bool is_whole;     /* and has nothing behind its records */
    omen_part_kind kind;
    uint64_t end; /* where the next record begins */
    part_record *records;
    uint32_t n_records, capacity;
    uint32_t n_proven; /* the records before are as their headers say */

    /* the record on its way; the thread touches nothing else */
    bool running;
    pthread_t thread;
    omen_span spans[MAX_SPANS];
    size_t n_spans;
    part_record job;
    uint32_t job_number;
    int code; /* of the first failure: nothing is written after it */
    omen_detail cause;
};

static uint64_t align_up(uint64_t n)
{
    return (n + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
}

static int fail_call(const omen_part *part, const char *what, omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_IO, "cannot %s \"%s\": %s", what, part->path, strerror(errno));
}

static int write_fd(const omen_part *part, int fd, const void *data, uint64_t n_bytes, uint64_t offset,
                    omen_detail *why)
{
    return omen_pwrite_all(fd, data, n_bytes, offset) == 0 ? OMEN_OK : fail_call(part, "write", why);
}

static int write_at(const omen_part *part, const void *data, uint64_t n_bytes, uint64_t offset, omen_detail *why)
{
    return write_fd(part, part->fd, data, n_bytes, offset, why);
}

static int read_fd(const omen_part *part, int fd, void *data, uint64_t n_bytes, uint64_t offset, omen_detail *why)
{
    uint8_t *to = data;

    while (n_bytes > 0) {
        const ssize_t n = pread(fd, to, n_bytes, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_call(part, "read", why);
        if (n == 0)
            return omen_fail(why, OMEN_ERR_IO, "cannot read \"%s\": it was cut short", part->path);
        to += n;
        n_bytes -= (uint64_t)n;
        offset += (uint64_t)n;
    }
    return OMEN_OK;
}

static int read_at(const omen_part *part, void *data, uint64_t n_bytes, uint64_t offset, omen_detail *why)
{
    struct stat info;
    int status;

    if (part->fd >= 0)
        return read_fd(part, part->fd, data, n_bytes, offset, why);
    const int fd = open(part->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fail_call(part, "open", why);
    if (fstat(fd, &info) != 0)
        status = fail_call(part, "read", why);
    else if (info.st_dev != part->device || info.st_ino != part->inode)
        status = omen_fail(why, OMEN_ERR_IO, "\"%s\" was replaced while it was read", part->path);
    else
        status = read_fd(part, fd, data, n_bytes, offset, why);
    close(fd);
    return status;
}

static int sync_data(const omen_part *part, omen_detail *why)
{
    int status;

    do {
        status = fdatasync(part->fd);
    } while (status != 0 && errno == EINTR);
    return status == 0 ? OMEN_OK : fail_call(part, "sync", why);
}

/* ---- opening ---- */

static int add_record(omen_part *part, const part_record *record, omen_detail *why)
{
    if (part->n_records == part->capacity) {
        const uint32_t capacity = part->capacity == 0 ? 16 : 2 * part->capacity;
        part_record *grown = realloc(part->records, capacity * sizeof *grown);
        if (!grown)
            return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the records of \"%s\"", part->path);
        part->records = grown;
        part->capacity = capacity;
    }
    part->records[part->n_records++] = *record;
    part->end = align_up(record->offset + record->n_bytes);
    return OMEN_OK;
}

/* Forgets the records from number n on. They go from the file too: one that is written in their place must not be
 * followed by what is left of an older one. */
static int drop_records(omen_part *part, uint32_t n, omen_detail *why)
{
    part->n_records = n;
    part->end = ALIGN_BYTES;
    if (n > 0) {
        const part_record *last = &part->records[n - 1];
        part->end = align_up(last->offset + last->n_bytes);
    }
    return part->is_fixed || ftruncate(part->fd, (off_t)part->end) == 0 ? OMEN_OK : fail_call(part, "truncate", why);
}

/* What the threads that read payloads share. */
typedef struct {
    const omen_part *part;
    omen_progress_fn progress;
    void *context;
    uint64_t done, total;
    bool is_stopped;
} proving;

/* Counts bytes read. Returns whether to go on. */
static bool count_read(proving *p, uint64_t n_bytes)
{
    bool go_on;

#pragma omp critical(omen_part_read)
    {
        p->done += n_bytes;
        if (!p->is_stopped && p->progress)
            p->is_stopped = p->progress(p->context, "checkpoint", p->done, p->total) != 0;
        go_on = !p->is_stopped;
    }
    return go_on;
}

/* Whether the payload has the hash its header names; buffer holds CHECK_BYTES. Returns OMEN_OK and sets *good, or a
 * failure. */
static int prove_payload(proving *p, const part_record *record, uint8_t *buffer, bool *good, omen_detail *why)
{
    XXH3_state_t state;
    int status = OMEN_OK;

    XXH3_INITSTATE(&state);
    XXH3_64bits_reset(&state);
    for (uint64_t at = 0; status == OMEN_OK && at < record->n_bytes; at += CHECK_BYTES) {
        const uint64_t left = record->n_bytes - at;
        const size_t n = left < CHECK_BYTES ? (size_t)left : CHECK_BYTES;
        status = read_at(p->part, buffer, n, record->offset + at, why);
        if (status == OMEN_OK)
            XXH3_64bits_update(&state, buffer, n);
        if (status == OMEN_OK && !count_read(p, n))
            status = omen_fail(why, OMEN_ERR_INTERRUPTED, "interrupted");
    }
    *good = status == OMEN_OK && XXH3_64bits_digest(&state) == record->hash;
    return status;
}

/* With all threads: after a long build this reads most of an index. */
static int part_prove(void *self, uint32_t n_wanted, omen_progress_fn progress, void *context, omen_detail *why)
{
    omen_part *part = self;
    const uint32_t n = n_wanted < part->n_records ? n_wanted : part->n_records;
    proving p = {.part = part, .progress = progress, .context = context};
    uint32_t n_good = n;
    int status = OMEN_OK;

    for (uint32_t i = part->n_proven; i < n; i++)
        p.total += part->records[i].n_bytes;
#pragma omp parallel
    {
        uint8_t *buffer = malloc(CHECK_BYTES);
        omen_detail own_why = {""};
        int own =
            buffer ? OMEN_OK : omen_fail(&own_why, OMEN_ERR_MEMORY, "out of memory while reading \"%s\"", part->path);
#pragma omp for schedule(dynamic)
        for (uint32_t i = part->n_proven; i < n; i++) {
            bool good = false;
            if (own == OMEN_OK)
                own = prove_payload(&p, &part->records[i], buffer, &good, &own_why);
            if (own == OMEN_OK && !good) {
#pragma omp critical(omen_part)
                n_good = i < n_good ? i : n_good;
            }
        }
        if (own != OMEN_OK) {
#pragma omp critical(omen_part)
            {
                status = own;
                if (why)
                    *why = own_why;
            }
        }
        free(buffer);
    }
    if (status != OMEN_OK)
        return status;
    part->n_proven = n_good > part->n_proven ? n_good : part->n_proven;
    return n_good < n ? drop_records(part, n_good, why) : OMEN_OK;
}

/* Follows the headers up to the first that is not whole, and takes in the records before it, unproven. */
static int scan(omen_part *part, uint64_t n_file_bytes, omen_detail *why)
{
    uint8_t header[CONTAINER_RECORD_BYTES];
    int status = OMEN_OK;

    part->end = ALIGN_BYTES;
    while (status == OMEN_OK && part->end < n_file_bytes && n_file_bytes - part->end >= ALIGN_BYTES) {
        status = read_at(part, header, sizeof header, part->end, why);
        if (status != OMEN_OK)
            break;
        const part_record record = {.kind = container_load_u32(header + PAYLOAD_KIND),
                                    .offset = part->end + ALIGN_BYTES,
                                    .n_bytes = container_load_u64(header + PAYLOAD_BYTES),
                                    .hash = container_load_u64(header + PAYLOAD_HASH)};
        if (memcmp(header, RECORD_MAGIC, CONTAINER_MAGIC_BYTES) != 0 || !container_is_sealed(header) ||
            container_load_u32(header + PAYLOAD_NUMBER) != part->n_records ||
            record.n_bytes > n_file_bytes - record.offset) {
            break;
        }
        status = add_record(part, &record, why);
    }
    return status;
}

static int begin(omen_part *part, omen_detail *why)
{
    uint8_t head[CONTAINER_RECORD_BYTES] = {0};

    if (ftruncate(part->fd, 0) != 0)
        return fail_call(part, "truncate", why);
    memcpy(head, FILE_MAGIC, CONTAINER_MAGIC_BYTES);
    container_store_u32(head + HEAD_VERSION, PART_VERSION);
    container_store_u32(head + HEAD_KIND, part->kind);
    container_seal(head);
    part->end = ALIGN_BYTES;
    return write_at(part, head, sizeof head, 0, why);
}

/* Reads what is there. A file that is empty, or a beginning of a head, is what a kill at the start leaves. */
static int load(omen_part *part, bool fresh, omen_detail *why)
{
    uint8_t head[CONTAINER_RECORD_BYTES] = {0};
    struct stat info;
    int status = OMEN_OK;

    if (fstat(part->fd, &info) != 0)
        return fail_call(part, "read", why);
    const uint64_t n_bytes = (uint64_t)info.st_size, n_head = n_bytes < sizeof head ? n_bytes : sizeof head;
    const uint64_t n_magic = n_head < CONTAINER_MAGIC_BYTES ? n_head : CONTAINER_MAGIC_BYTES;
    static const uint8_t zeros[CONTAINER_RECORD_BYTES];
    status = read_at(part, head, n_head, 0, why);
    if (status != OMEN_OK)
        return status;
    /* zeros: a head that was not yet durable when the machine went down */
    if (memcmp(head, FILE_MAGIC, n_magic) != 0 && memcmp(head, zeros, sizeof head) != 0) {
        return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is in the way: it is no checkpoint; move it elsewhere",
                         part->path);
    }
    if (fresh || n_bytes < sizeof head || memcmp(head, zeros, sizeof head) == 0 || !container_is_sealed(head)) {
        status = begin(part, why);
        if (status != OMEN_OK)
            omen_part_remove(part);
        return status;
    }
    if (container_load_u32(head + HEAD_VERSION) != PART_VERSION)
        return omen_fail(why, OMEN_ERR_INPUT, "the checkpoint \"%s\" is of another version of omendb", part->path);
    if (container_load_u32(head + HEAD_KIND) != part->kind)
        return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is in the way: another command left it; move it elsewhere",
                         part->path);
    status = scan(part, n_bytes, why);
    if (status == OMEN_OK && part->end < n_bytes && ftruncate(part->fd, (off_t)part->end) != 0)
        status = fail_call(part, "truncate", why);
    return status;
}

/* File systems that know no O_DIRECT say so: they do without. */
static int open_direct(omen_part *part, omen_detail *why)
{
    struct stat first, second;

    part->direct = open(part->path, O_WRONLY | O_DIRECT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (part->direct < 0)
        return errno == EINVAL || errno == EOPNOTSUPP ? OMEN_OK : fail_call(part, "open", why);
    if (fstat(part->fd, &first) != 0 || fstat(part->direct, &second) != 0)
        return fail_call(part, "read", why);
    if (first.st_dev != second.st_dev || first.st_ino != second.st_ino) /* the name led elsewhere by then */
        return omen_fail(why, OMEN_ERR_IO, "\"%s\" was replaced while it was opened", part->path);
    part->piece = aligned_alloc(ALIGN_BYTES, PIECE_BYTES);
    return part->piece ? OMEN_OK
                       : omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the checkpoint \"%s\"", part->path);
}

int omen_part_open(omen_part **out, const char *path, bool fresh, omen_detail *why)
{
    return omen_part_open_as(out, path, NULL, OMEN_PART_CHECKPOINT, fresh, why);
}

int omen_part_open_as(omen_part **out, const char *path, const char *directory, omen_part_kind kind, bool fresh,
                      omen_detail *why)
{
    *out = NULL;
    omen_part *part = calloc(1, sizeof *part);
    bool is_loaded = false;
    int status = OMEN_OK;

    if (!part) {
        status = omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the checkpoint of \"%s\"", path);
    } else {
        part->fd = part->direct = -1;
        part->kind = kind;
        part->is_elsewhere = directory;
        status = omen_part_name(path, directory, &part->path, why);
    }
    if (status == OMEN_OK) {
        char *unique;
        status = omen_file_claim(part->path, true, 0666, "at work on", &part->fd, &unique, why);
        part->has_locks = !unique;
        if (unique) {
            free(part->path);
            part->path = unique;
        }
    }
    if (status == OMEN_OK)
        status = load(part, fresh, why);
    is_loaded = status == OMEN_OK;
    if (status == OMEN_OK)
        status = open_direct(part, why);
    if (status != OMEN_OK) {
        if (part && (!part->has_locks || (is_loaded && part->n_records == 0))) /* ours, and of no use */
            omen_part_remove(part);
        if (part)
            part->removed = true; /* whatever else is there stays */
        omen_part_close(part);
        return status;
    }
    *out = part;
    return OMEN_OK;
}

bool omen_part_has_locks(const omen_part *part)
{
    return part->has_locks;
}

/* The head of a file that is only read, then its records. */
static int look(omen_part *part, omen_detail *why)
{
    uint8_t head[CONTAINER_RECORD_BYTES] = {0};
    struct stat info;
    int status;

    if (fstat(part->fd, &info) != 0)
        return fail_call(part, "read", why);
    if (!S_ISREG(info.st_mode) || info.st_size < (off_t)sizeof head)
        return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is no checkpoint", part->path);
    status = read_at(part, head, sizeof head, 0, why);
    if (status != OMEN_OK)
        return status;
    if (memcmp(head, FILE_MAGIC, CONTAINER_MAGIC_BYTES) != 0)
        return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" is no checkpoint", part->path);
    if (!container_is_sealed(head))
        return omen_fail(why, OMEN_ERR_CORRUPT, "\"%s\" is damaged: the checksum of its head does not match",
                         part->path);
    if (container_load_u32(head + HEAD_VERSION) != PART_VERSION)
        return omen_fail(why, OMEN_ERR_UNSUPPORTED, "\"%s\" is of another version of omendb", part->path);
    part->kind = (omen_part_kind)container_load_u32(head + HEAD_KIND);
    status = scan(part, (uint64_t)info.st_size, why);
    part->is_whole = (uint64_t)info.st_size <= part->end;
    return status;
}

int omen_part_open_to_read(omen_part **out, const char *path, omen_detail *why)
{
    omen_part *part = calloc(1, sizeof *part);
    int status = OMEN_OK;

    *out = NULL;
    if (part) {
        part->direct = -1;
        part->is_fixed = part->removed = true; /* closing leaves it where it is */
        part->path = strdup(path);
        part->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    }
    if (!part || !part->path)
        status = omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the checkpoint \"%s\"", path);
    else
        status = part->fd < 0 ? fail_call(part, "open", why) : look(part, why);
    if (status != OMEN_OK)
        omen_part_close(part);
    else
        *out = part;
    return status;
}

int omen_part_rest(omen_part *part, omen_detail *why)
{
    struct stat info;

    if (fstat(part->fd, &info) != 0)
        return fail_call(part, "read", why);
    part->device = info.st_dev;
    part->inode = info.st_ino;
    close(part->fd);
    part->fd = -1;
    return OMEN_OK;
}

omen_part_kind omen_part_get_kind(const omen_part *part)
{
    return part->kind;
}

uint32_t omen_part_count(const omen_part *part)
{
    return part->n_records;
}

bool omen_part_is_whole(const omen_part *part)
{
    return part->is_whole;
}

uint64_t omen_part_record_hash(const omen_part *part, uint32_t i)
{
    return part->records[i].hash;
}

const char *omen_part_path(const omen_part *part)
{
    return part->path;
}

uint64_t omen_part_bytes(const omen_part *part)
{
    return part->end;
}

bool omen_part_is_written(const omen_part *part)
{
    return part->written;
}

void omen_part_remove(omen_part *part)
{
    /* while the lock is held, so that it cannot be another process's */
    if (part->fd >= 0 && !part->removed && omen_file_leads_to(part->path, part->fd) == 1)
        unlink(part->path);
    part->removed = true;
}

/* ---- records ---- */

static bool part_get(void *self, uint32_t i, omen_record *out)
{
    const omen_part *part = self;

    if (i >= part->n_records)
        return false;
    *out = (omen_record){.kind = part->records[i].kind, .n_bytes = part->records[i].n_bytes};
    return true;
}

static int part_read(void *self, uint32_t i, uint64_t at, uint64_t n_bytes, void *out, omen_detail *why)
{
    const omen_part *part = self;
    const part_record *record = &part->records[i];

    return read_at(part, out, n_bytes, record->offset + at, why);
}

/* Writes the payload, gathered into pieces; what does not fill a page at its end goes through the page cache. */
static int write_direct(omen_part *part, XXH3_state_t *state)
{
    uint64_t at = part->job.offset;
    size_t held = 0;
    int status = OMEN_OK;

    for (size_t i = 0; i < part->n_spans; i++) {
        const uint8_t *from = part->spans[i].data;
        for (uint64_t left = part->spans[i].n_bytes; left > 0 && status == OMEN_OK;) {
            const size_t n = left < PIECE_BYTES - held ? (size_t)left : PIECE_BYTES - held;
            memcpy(part->piece + held, from, n);
            XXH3_64bits_update(state, part->piece + held, n);
            from += n;
            left -= n;
            held += n;
            if (held == PIECE_BYTES) {
                status = write_fd(part, part->direct, part->piece, held, at, &part->cause);
                at += held;
                held = 0;
            }
        }
    }
    return status == OMEN_OK ? write_at(part, part->piece, held, at, &part->cause) : status;
}

static int write_record(omen_part *part)
{
    uint8_t header[CONTAINER_RECORD_BYTES] = {0};
    XXH3_state_t state;
    uint64_t at = part->job.offset;
    const bool direct = part->direct >= 0 && part->job.n_bytes >= DIRECT_LEAST;
    int status = OMEN_OK;

    XXH3_INITSTATE(&state);
    XXH3_64bits_reset(&state);
    if (direct)
        status = write_direct(part, &state);
    for (size_t i = 0; i < part->n_spans && status == OMEN_OK && !direct; i++) {
        const omen_span *span = &part->spans[i];
        XXH3_64bits_update(&state, span->data, span->n_bytes);
        status = write_at(part, span->data, span->n_bytes, at, &part->cause);
        at += span->n_bytes;
    }
    const uint64_t hash = part->job.hash = XXH3_64bits_digest(&state);
    if (status == OMEN_OK)
        status = sync_data(part, &part->cause);
    memcpy(header, RECORD_MAGIC, CONTAINER_MAGIC_BYTES);
    container_store_u32(header + PAYLOAD_KIND, part->job.kind);
    container_store_u32(header + PAYLOAD_NUMBER, part->job_number);
    container_store_u64(header + PAYLOAD_BYTES, part->job.n_bytes);
    container_store_u64(header + PAYLOAD_HASH, hash);
    container_seal(header);
    return status == OMEN_OK ? write_at(part, header, sizeof header, part->job.offset - ALIGN_BYTES, &part->cause)
                             : status;
}

static void *write_job(void *self)
{
    omen_part *part = self;

    part->code = write_record(part);
    return NULL;
}

/* Returns the first failure of all writes so far. */
static int settle(omen_part *part, omen_detail *why)
{
    if (part->running) {
        pthread_join(part->thread, NULL);
        part->running = false;
        part->records[part->job_number].hash = part->job.hash;
    }
    if (part->code != OMEN_OK && why)
        *why = part->cause;
    return part->code;
}

int omen_part_publish(omen_part *part, const char *path, omen_progress_fn progress, void *context, omen_detail *why)
{
    bool is_renamed;
    struct stat info;
    int status = settle(part, why);

    if (status != OMEN_OK)
        return status;
    if (part->is_elsewhere) {
        if (fstat(part->fd, &info) != 0)
            return fail_call(part, "examine", why);
        status = omen_file_copy(part->fd, part->path, (uint64_t)info.st_size, path, progress, context, why);
        if (status == OMEN_OK)
            omen_part_remove(part);
        return status;
    }
    status = omen_file_publish(part->fd, part->path, path, &is_renamed, why);
    part->removed = part->removed || is_renamed;
    return status;
}

static int part_append(void *self, uint32_t kind, const omen_span *spans, size_t n, uint32_t *number, omen_detail *why)
{
    omen_part *part = self;
    part_record record = {.kind = kind, .offset = part->end + ALIGN_BYTES};
    int status = settle(part, why);

    if (status != OMEN_OK)
        return status;
    if (n > MAX_SPANS)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "a record of %zu spans", n);
    for (size_t i = 0; i < n; i++) {
        part->spans[i] = spans[i];
        record.n_bytes += spans[i].n_bytes;
    }
    part->n_spans = n;
    part->job = record;
    part->job_number = part->n_records;
    status = add_record(part, &record, why);
    if (status != OMEN_OK)
        return status;
    part->n_proven = part->n_records;
    if (number)
        *number = part->job_number;
    part->written = true;
    part->running = pthread_create(&part->thread, NULL, write_job, part) == 0;
    if (!part->running) { /* no thread could be started: write here */
        write_job(part);
        part->records[part->job_number].hash = part->job.hash;
        return settle(part, why);
    }
    return OMEN_OK;
}

static int part_wait(void *self, omen_detail *why)
{
    return settle(self, why);
}

omen_checkpoint omen_part_checkpoint(omen_part *part)
{
    return (omen_checkpoint){
        .self = part,
        .get = part_get,
        .prove = part_prove,
        .read = part_read,
        .append = part_append,
        .wait = part_wait,
    };
}

void omen_part_close(omen_part *part)
{
    if (!part)
        return;
    if (settle(part, NULL) != OMEN_OK)
        part->n_records--; /* the one that failed */
    if (!part->removed && (part->n_records == 0 || !part->has_locks))
        omen_part_remove(part);
    if (part->fd >= 0)
        close(part->fd);
    if (part->direct >= 0)
        close(part->direct);
    free(part->piece);
    free(part->records);
    free(part->path);
    free(part);
}
