/* SPDX-License-Identifier: Apache-2.0 */
/* What deflate has compressed, as gzip members and the members of zip files are, into a file. */
#ifndef OMEN_DEFLATE_H
#define OMEN_DEFLATE_H

#include "lib/omendb.h"

typedef enum { OMEN_INFLATE_GZIP, OMEN_INFLATE_RAW } omen_inflate_form;

/* One member to unpack. */
typedef struct omen_inflate {
    omen_inflate_form form; /* GZIP: with its header, and its checksum compared; RAW: deflate alone */
    const unsigned char *from;
    uint64_t n_from;
    uint64_t first, total;     /* for progress: where from begins, and how long all of it is */
    int fd;                    /* to write to, in order */
    uint64_t most_bytes;       /* more than that is an error */
    omen_progress_fn progress; /* may be NULL; the stage is "unpack" */
    void *context;
    uint64_t n_read, n_written; /* results */
    uint32_t checksum;          /* CRC-32 of what was written; RAW only */
} omen_inflate;

/* Returns OMEN_OK, OMEN_ERR_INPUT (damaged, cut short, too long), OMEN_ERR_IO (the reason is errno's), OMEN_ERR_MEMORY
 * or OMEN_ERR_INTERRUPTED, with a reason that does not name the file. */
int omen_inflate_run(omen_inflate *work, omen_detail *reason) OMEN_MUST_CHECK;

/* Unpacks the beginning of raw deflate to memory: *n_out has the room and gets the bytes there are. What is damaged
 * behind them is not noticed. Returns OMEN_OK, OMEN_ERR_INPUT or OMEN_ERR_MEMORY. */
int omen_inflate_head(const unsigned char *from, uint64_t n_from, unsigned char *out, unsigned *n_out,
                      omen_detail *reason) OMEN_MUST_CHECK;

/* CRC-32 of so many bytes, as zip and gzip have it. */
uint32_t omen_crc32(const unsigned char *bytes, uint64_t n_bytes);

/* Of the bytes before, whose CRC-32 is checksum, and these. */
uint32_t omen_crc32_more(uint32_t checksum, const unsigned char *bytes, uint64_t n_bytes);

#endif
