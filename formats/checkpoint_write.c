/* SPDX-License-Identifier: Apache-2.0 */
/* Records on their way into a checkpoint file: whole ones by a thread of their own, those that come piece by piece by
 * the caller's. */
#include "formats/checkpoint_file.h"
#include "formats/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int omen_part_fail_call(const omen_part *part, const char *what, omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_IO, "cannot %s \"%s\": %s", what, part->path, strerror(errno));
}

int omen_part_write_fd(const omen_part *part, int fd, const void *data, uint64_t n_bytes, uint64_t offset,
                       omen_detail *why)
{
    return omen_pwrite_all(fd, data, n_bytes, offset) == 0 ? OMEN_OK : omen_part_fail_call(part, "write", why);
}

int omen_part_write_at(const omen_part *part, const void *data, uint64_t n_bytes, uint64_t offset, omen_detail *why)
{
    return omen_part_write_fd(part, part->fd, data, n_bytes, offset, why);
}

int omen_part_sync(const omen_part *part, omen_detail *why)
{
    int status;

    do {
        status = fdatasync(part->fd);
    } while (status != 0 && errno == EINTR);
    return status == 0 ? OMEN_OK : omen_part_fail_call(part, "sync", why);
}

int omen_part_add_record(omen_part *part, const omen_part_record *record, omen_detail *why)
{
    if (part->n_records == part->capacity) {
        const uint32_t capacity = part->capacity == 0 ? 16 : 2 * part->capacity;
        omen_part_record *grown = realloc(part->records, capacity * sizeof *grown);
        if (!grown)
            return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the records of \"%s\"", part->path);
        part->records = grown;
        part->capacity = capacity;
    }
    part->records[part->n_records++] = *record;
    part->end = omen_part_align_up(record->offset + record->n_bytes);
    return OMEN_OK;
}

/* ---- payloads ---- */

static void start_payload(const omen_part *part, omen_part_payload *p, const omen_part_record *record)
{
    XXH3_64bits_reset(p->hash);
    p->at = record->offset;
    p->held = 0;
    p->direct = part->direct >= 0 && record->n_bytes >= DIRECT_LEAST;
}

/* Writes some of a payload; what goes past the page cache is gathered into pieces. */
static int put(omen_part *part, omen_part_payload *p, const void *data, uint64_t n_bytes)
{
    const uint8_t *from = data;
    int status = OMEN_OK;

    if (!p->direct) {
        XXH3_64bits_update(p->hash, data, n_bytes);
        status = omen_part_write_at(part, data, n_bytes, p->at, &part->cause);
        p->at += n_bytes;
        return status;
    }
    while (n_bytes > 0 && status == OMEN_OK) {
        const size_t n = n_bytes < PIECE_BYTES - p->held ? (size_t)n_bytes : PIECE_BYTES - p->held;
        memcpy(part->piece + p->held, from, n);
        XXH3_64bits_update(p->hash, part->piece + p->held, n);
        from += n;
        n_bytes -= n;
        p->held += n;
        if (p->held == PIECE_BYTES) {
            status = omen_part_write_fd(part, part->direct, part->piece, p->held, p->at, &part->cause);
            p->at += p->held;
            p->held = 0;
        }
    }
    return status;
}

static int write_header(omen_part *part, const omen_part_record *record, uint32_t number)
{
    uint8_t header[CONTAINER_RECORD_BYTES] = {0};

    memcpy(header, RECORD_MAGIC, CONTAINER_MAGIC_BYTES); /* NOLINT(bugprone-not-null-terminated-result): no text */
    container_store_u32(header + PAYLOAD_KIND, record->kind);
    container_store_u32(header + PAYLOAD_NUMBER, number);
    container_store_u64(header + PAYLOAD_BYTES, record->n_bytes);
    container_store_u64(header + PAYLOAD_HASH, record->hash);
    container_seal(header);
    return omen_part_write_at(part, header, sizeof header, record->offset - ALIGN_BYTES, &part->cause);
}

/* Writes what is left, which does not fill a page at its end and goes through the page cache; then the header. */
static int end_payload(omen_part *part, omen_part_payload *p, omen_part_record *record, uint32_t number)
{
    int status = p->direct ? omen_part_write_at(part, part->piece, p->held, p->at, &part->cause) : OMEN_OK;

    record->hash = XXH3_64bits_digest(p->hash);
    if (status == OMEN_OK)
        status = omen_part_sync(part, &part->cause);
    return status == OMEN_OK ? write_header(part, record, number) : status;
}

static int write_record(omen_part *part)
{
    XXH3_state_t state;
    omen_part_payload p = {.hash = &state};
    int status = OMEN_OK;

    XXH3_INITSTATE(&state);
    start_payload(part, &p, &part->job);
    for (size_t i = 0; i < part->n_spans && status == OMEN_OK; i++)
        status = put(part, &p, part->spans[i].data, part->spans[i].n_bytes);
    return status == OMEN_OK ? end_payload(part, &p, &part->job, part->job_number) : status;
}

static void *write_job(void *self)
{
    omen_part *part = self;

    part->code = write_record(part);
    return NULL;
}

/* Returns the first failure of all writes so far. */
int omen_part_settle(omen_part *part, omen_detail *why)
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

/* ---- records ---- */

/* Forgets a record that has not all come. */
static int abandon(omen_part *part, omen_detail *why)
{
    if (!part->stream.hash)
        return OMEN_OK;
    XXH3_freeState(part->stream.hash);
    part->stream.hash = NULL;
    return ftruncate(part->fd, (off_t)part->end) == 0 ? OMEN_OK : omen_part_fail_call(part, "truncate", why);
}

int omen_part_append(void *self, uint32_t kind, const omen_span *spans, size_t n, uint32_t *number, omen_detail *why)
{
    omen_part *part = self;
    omen_part_record record = {.kind = kind, .offset = part->end + ALIGN_BYTES};
    int status = omen_part_settle(part, why);

    if (status == OMEN_OK)
        status = abandon(part, why);
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
    status = omen_part_add_record(part, &record, why);
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
        return omen_part_settle(part, why);
    }
    return OMEN_OK;
}

int omen_part_begin(void *self, uint32_t kind, uint64_t n_bytes, uint32_t *number, omen_detail *why)
{
    omen_part *part = self;
    int status = omen_part_settle(part, why);

    if (status == OMEN_OK)
        status = abandon(part, why);
    if (status != OMEN_OK)
        return status;
    part->stream.hash = XXH3_createState();
    if (!part->stream.hash)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the checkpoint \"%s\"", part->path);
    part->coming = (omen_part_record){.kind = kind, .offset = part->end + ALIGN_BYTES, .n_bytes = n_bytes};
    part->n_come = 0;
    start_payload(part, &part->stream, &part->coming);
    part->written = true;
    if (number)
        *number = part->n_records;
    return OMEN_OK;
}

int omen_part_extend(void *self, const void *data, uint64_t n_bytes, omen_detail *why)
{
    omen_part *part = self;

    if (!part->stream.hash || n_bytes > part->coming.n_bytes - part->n_come)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "more bytes than the record has");
    part->code = put(part, &part->stream, data, n_bytes);
    part->n_come += n_bytes;
    if (part->code == OMEN_OK && part->n_come == part->coming.n_bytes) {
        part->code = end_payload(part, &part->stream, &part->coming, part->n_records);
        XXH3_freeState(part->stream.hash);
        part->stream.hash = NULL;
        if (part->code == OMEN_OK)
            part->code = omen_part_add_record(part, &part->coming, &part->cause);
        part->n_proven = part->n_records;
    }
    if (part->code != OMEN_OK && why)
        *why = part->cause;
    return part->code;
}

/* What stands for them has to be durable before, and that they are gone before it is so. Their space is a matter of
 * room alone. */
int omen_part_drop(void *self, uint32_t first, uint32_t n, omen_detail *why)
{
    omen_part *part = self;
    int status = omen_part_settle(part, why);

    if (status != OMEN_OK)
        return status;
    status = omen_part_sync(part, &part->cause);
    for (uint32_t i = first; i < first + n && status == OMEN_OK; i++) {
        part->records[i].kind = OMEN_RECORD_DROPPED;
        status = write_header(part, &part->records[i], i);
    }
    if (status == OMEN_OK)
        status = omen_part_sync(part, &part->cause);
    part->code = status;
    if (status != OMEN_OK && why)
        *why = part->cause;
    for (uint32_t i = first; i < first + n && status == OMEN_OK; i++)
        (void)fallocate(part->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)part->records[i].offset,
                        (off_t)omen_part_align_up(part->records[i].n_bytes));
    return status;
}

int omen_part_wait(void *self, omen_detail *why)
{
    return omen_part_settle(self, why);
}
