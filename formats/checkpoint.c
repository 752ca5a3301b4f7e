/* SPDX-License-Identifier: Apache-2.0 */
/* The checkpoint file. A record's payload is written and made durable before its header, so a readable header means
 * that its payload is complete; the header itself becomes durable with the next record. A separate thread writes one
 * record at a time while the build goes on; large ones bypass the page cache, which takes that thread a tenth of the
 * processor time.
 *
 * The name is claimed as omen_file_claim() has it; a file of ours that is there already is continued. */
#include "formats/checkpoint_file.h"
#include "formats/file.h"
#include "formats/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_fd(const omen_part *part, int fd, void *data, uint64_t n_bytes, uint64_t offset, omen_detail *why)
{
    const int read = omen_pread_all(fd, data, n_bytes, offset);

    if (read < 0)
        return omen_part_fail_call(part, "read", why);
    if (read > 0)
        return omen_fail(why, OMEN_ERR_IO, "cannot read \"%s\": it was cut short", part->path);
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
        return omen_part_fail_call(part, "open", why);
    if (fstat(fd, &info) != 0)
        status = omen_part_fail_call(part, "read", why);
    else if (info.st_dev != part->device || info.st_ino != part->inode)
        status = omen_fail(why, OMEN_ERR_IO, "\"%s\" was replaced while it was read", part->path);
    else
        status = read_fd(part, fd, data, n_bytes, offset, why);
    close(fd);
    return status;
}

/* ---- opening ---- */

/* Forgets the records from number n on. They go from the file too: one that is written in their place must not be
 * followed by what is left of an older one. */
static int drop_records(omen_part *part, uint32_t n, omen_detail *why)
{
    part->n_records = n;
    part->end = ALIGN_BYTES;
    if (n > 0) {
        const omen_part_record *last = &part->records[n - 1];
        part->end = omen_part_align_up(last->offset + last->n_bytes);
    }
    return part->is_fixed || ftruncate(part->fd, (off_t)part->end) == 0 ? OMEN_OK
                                                                        : omen_part_fail_call(part, "truncate", why);
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
static int prove_payload(proving *p, const omen_part_record *record, uint8_t *buffer, bool *good, omen_detail *why)
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
        p.total += part->records[i].kind == OMEN_RECORD_DROPPED ? 0 : part->records[i].n_bytes;
#pragma omp parallel
    {
        uint8_t *buffer = malloc(CHECK_BYTES);
        omen_detail own_why = {""};
        int own =
            buffer ? OMEN_OK : omen_fail(&own_why, OMEN_ERR_MEMORY, "out of memory while reading \"%s\"", part->path);
#pragma omp for schedule(dynamic)
        for (uint32_t i = part->n_proven; i < n; i++) {
            bool good = part->records[i].kind == OMEN_RECORD_DROPPED; /* nothing of it is read */
            if (own == OMEN_OK && !good)
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
        const omen_part_record record = {.kind = container_load_u32(header + PAYLOAD_KIND),
                                         .offset = part->end + ALIGN_BYTES,
                                         .n_bytes = container_load_u64(header + PAYLOAD_BYTES),
                                         .hash = container_load_u64(header + PAYLOAD_HASH)};
        if (memcmp(header, RECORD_MAGIC, CONTAINER_MAGIC_BYTES) != 0 || !container_is_sealed(header) ||
            container_load_u32(header + PAYLOAD_NUMBER) != part->n_records ||
            record.n_bytes > n_file_bytes - record.offset) {
            break;
        }
        status = omen_part_add_record(part, &record, why);
    }
    return status;
}

static int begin(omen_part *part, omen_detail *why)
{
    uint8_t head[CONTAINER_RECORD_BYTES] = {0};

    if (ftruncate(part->fd, 0) != 0)
        return omen_part_fail_call(part, "truncate", why);
    memcpy(head, FILE_MAGIC, CONTAINER_MAGIC_BYTES); /* NOLINT(bugprone-not-null-terminated-result): no text */
    container_store_u32(head + HEAD_VERSION, PART_VERSION);
    container_store_u32(head + HEAD_KIND, part->kind);
    container_seal(head);
    part->end = ALIGN_BYTES;
    return omen_part_write_at(part, head, sizeof head, 0, why);
}

/* Reads what is there. A file that is empty, or a beginning of a head, is what a kill at the start leaves. */
static int load(omen_part *part, bool fresh, omen_detail *why)
{
    uint8_t head[CONTAINER_RECORD_BYTES] = {0};
    struct stat info;
    int status = OMEN_OK;

    if (fstat(part->fd, &info) != 0)
        return omen_part_fail_call(part, "read", why);
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
        status = omen_part_fail_call(part, "truncate", why);
    return status;
}

/* File systems that know no O_DIRECT say so: they do without. */
static int open_direct(omen_part *part, omen_detail *why)
{
    struct stat first, second;

    part->direct = open(part->path, O_WRONLY | O_DIRECT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (part->direct < 0)
        return errno == EINVAL || errno == EOPNOTSUPP ? OMEN_OK : omen_part_fail_call(part, "open", why);
    if (fstat(part->fd, &first) != 0 || fstat(part->direct, &second) != 0)
        return omen_part_fail_call(part, "read", why);
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
    /* zeros stay zeros */
    if (status == OMEN_OK)
        part->gives_back =
            fallocate(part->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, ALIGN_BYTES / 2, ALIGN_BYTES / 4) == 0;
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
        return omen_part_fail_call(part, "read", why);
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
        status = part->fd < 0 ? omen_part_fail_call(part, "open", why) : look(part, why);
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
        return omen_part_fail_call(part, "read", why);
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
    const omen_part_record *record = &part->records[i];

    return read_at(part, out, n_bytes, record->offset + at, why);
}

int omen_part_publish(omen_part *part, const char *path, omen_progress_fn progress, void *context, omen_detail *why)
{
    bool is_renamed;
    struct stat info;
    int status = omen_part_settle(part, why);

    if (status != OMEN_OK)
        return status;
    if (part->is_elsewhere) {
        if (fstat(part->fd, &info) != 0)
            return omen_part_fail_call(part, "examine", why);
        status = omen_file_copy(part->fd, part->path, (uint64_t)info.st_size, path, progress, context, why);
        if (status == OMEN_OK)
            omen_part_remove(part);
        return status;
    }
    status = omen_file_publish(part->fd, part->path, path, &is_renamed, why);
    part->removed = part->removed || is_renamed;
    return status;
}

omen_checkpoint omen_part_checkpoint(omen_part *part)
{
    return (omen_checkpoint){
        .self = part,
        .get = part_get,
        .prove = part_prove,
        .read = part_read,
        .append = omen_part_append,
        .wait = omen_part_wait,
        .begin = omen_part_begin,
        .extend = omen_part_extend,
        .drop = part->gives_back ? omen_part_drop : NULL,
    };
}

void omen_part_close(omen_part *part)
{
    if (!part)
        return;
    if (omen_part_settle(part, NULL) != OMEN_OK && part->n_records > 0)
        part->n_records--; /* the one that failed */
    XXH3_freeState(part->stream.hash);
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
