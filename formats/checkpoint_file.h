/* SPDX-License-Identifier: Apache-2.0 */
/* Private to checkpoint.c and checkpoint_write.c: a file of records that is open. */
#ifndef OMEN_CHECKPOINT_FILE_H
#define OMEN_CHECKPOINT_FILE_H

#include "formats/checkpoint.h"
#include "formats/container_format.h"

#include <pthread.h>
#include <sys/types.h>

#define FILE_MAGIC   "OMENPRT\n"
#define RECORD_MAGIC "OMENREC\n"
#define ALIGN_BYTES  4096u
#define DIRECT_LEAST (1u << 20) /* payloads from here on are written past the page cache */
#define PIECE_BYTES  (1u << 20)
#define MAX_SPANS    8
#define CHECK_BYTES  (1u << 20)
#define PART_VERSION 6u

/* Offsets in the file's head and in the header of a record, both CONTAINER_RECORD_BYTES long and sealed. */
enum { HEAD_VERSION = 8, HEAD_KIND = 12 };
enum { PAYLOAD_KIND = 8, PAYLOAD_NUMBER = 12, PAYLOAD_BYTES = 16, PAYLOAD_HASH = 24 };

typedef struct omen_part_record {
    uint32_t kind;
    uint64_t offset; /* of the payload */
    uint64_t n_bytes;
    uint64_t hash; /* as its header names it */
} omen_part_record;

/* A payload that is written front to back. */
typedef struct {
    XXH3_state_t *hash;
    uint64_t at; /* in the file */
    size_t held; /* in piece */
    bool direct;
} omen_part_payload;

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
    omen_part_record *records;
    uint32_t n_records, capacity;
    uint32_t n_proven; /* the records before are as their headers say */

    /* the record on its way; the thread touches nothing else */
    bool running;
    pthread_t thread;
    omen_span spans[MAX_SPANS];
    size_t n_spans;
    omen_part_record job;
    uint32_t job_number;
    int code; /* of the first failure: nothing is written after it */
    omen_detail cause;

    /* a record that comes piece by piece */
    omen_part_payload stream; /* hash: NULL: there is none */
    omen_part_record coming;
    uint64_t n_come;
    bool gives_back; /* the file system takes back the space of what is dropped */
};

static inline uint64_t omen_part_align_up(uint64_t n)
{
    return (n + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
}

/* What a call that failed does to the file; errno says why. Returns OMEN_ERR_IO. */
int omen_part_fail_call(const omen_part *part, const char *what, omen_detail *why);

/* Return OMEN_OK or OMEN_ERR_IO. */
int omen_part_write_fd(const omen_part *part, int fd, const void *data, uint64_t n_bytes, uint64_t offset,
                       omen_detail *why) OMEN_MUST_CHECK;
int omen_part_write_at(const omen_part *part, const void *data, uint64_t n_bytes, uint64_t offset,
                       omen_detail *why) OMEN_MUST_CHECK;
int omen_part_sync(const omen_part *part, omen_detail *why) OMEN_MUST_CHECK;

/* Counts a record in whose place in the file is the end. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int omen_part_add_record(omen_part *part, const omen_part_record *record, omen_detail *why) OMEN_MUST_CHECK;

/* Waits for what is being written. Returns the first failure of all writes so far. */
int omen_part_settle(omen_part *part, omen_detail *why) OMEN_MUST_CHECK;

/* The functions of omen_checkpoint that write. */
int omen_part_append(void *self, uint32_t kind, const omen_span *spans, size_t n, uint32_t *number, omen_detail *why);
int omen_part_begin(void *self, uint32_t kind, uint64_t n_bytes, uint32_t *number, omen_detail *why);
int omen_part_extend(void *self, const void *data, uint64_t n_bytes, omen_detail *why);
int omen_part_drop(void *self, uint32_t first, uint32_t n, omen_detail *why);
int omen_part_wait(void *self, omen_detail *why);

#endif
