/* SPDX-License-Identifier: Apache-2.0 */
/* Private to cmd_compress.c and compress_*.c: the parts of omendb compress.
 *
 *   compress_original.c  without loss, and back
 *   compress_codes.c     codes of --bytes and --codec, their account, and rows from them
 *   compress_file.c      what both do with the file that they write
 */
#ifndef COMPRESS_H
#define COMPRESS_H

#include "cmd/cmd.h"

#define COMPRESS_SUFFIX ".omz"

/* Where the bytes of a file of codes are, and what the codes are worth. */
struct account {
    omen_index_info info;
    omen_codes_quality quality;
    uint64_t codes, factors, refine, codebooks, rotation, rest, container; /* bytes; their sum is the file */
};

struct compress {
    const char *input;
    const char *output;   /* as asked for, else default_output; "-": standard output */
    char *default_output; /* owned */
    const char *format;
    uint32_t d;
    int level, n_threads;
    /* codes: --bytes or --codec was given */
    bool lossy;
    uint32_t bytes;
    uint64_t seed;
    const char *codec;      /* auto, pq, rabitq, sq8, f16 */
    const char *out_format; /* of reconstructed rows */
    int verbosity;          /* -1 quiet, 1 verbose */
    bool decompress, force, remove, json, to_stdout, is_long;
    cmd_progress progress;
    /* what became of it */
    struct stat status; /* of the input */
    int like_error;     /* errno of what of it the output did not get */
    uint64_t in_bytes, out_bytes;
    double started, seconds;
    char content[32];
    struct account account; /* lossy */
};

/* ---- compress_original.c: these return OMEN_ codes ---- */

/* The input, whole, as a compressed file. */
int compress_write_original(struct compress *c, omen_detail *why) OMEN_MUST_CHECK;

/* And back. */
int compress_unpack_original(struct compress *c, const omen_container *container, omen_detail *why) OMEN_MUST_CHECK;

/* ---- compress_codes.c ---- */

/* Codes of the input's rows, as an OMEN_ code; fills in c->account. */
int compress_write_codes(struct compress *c, omen_detail *why) OMEN_MUST_CHECK;

/* The rows that codes stand for. */
int compress_unpack_codes(struct compress *c, const omen_container *container, omen_detail *why) OMEN_MUST_CHECK;

/* The account for people, on stderr. */
void compress_tell_account(const struct compress *c);

/* The account as JSON; NULL without memory. */
json_t *compress_account_object(const struct compress *c);

/* ---- compress_file.c ---- */

/* An omen_progress_fn; context is a struct compress. */
int compress_show_progress(void *context, const char *stage, uint64_t done, uint64_t total);

/* Whose permission bits and times the output gets; NULL: of nothing, for what has no name. */
const struct stat *compress_like(const struct compress *c);

/* Gives the complete container its name; with --rm, reads it back. */
int compress_commit(struct compress *c, omen_writer *writer, omen_detail *why) OMEN_MUST_CHECK;

/* Opens what is unpacked to; refuses a file that its file system has no room for. */
int compress_open_output(const struct compress *c, cmd_output *out, omen_detail *why) OMEN_MUST_CHECK;

/* Closes it; where status is OMEN_OK, gives it its name first. Returns status, or why that failed. */
int compress_finish_output(struct compress *c, cmd_output *out, int status, omen_detail *why) OMEN_MUST_CHECK;

/* Says which file a failure of unpacking was of. Returns status. */
int compress_name_file(const struct compress *c, int status, const omen_detail *reason, omen_detail *why);

#endif
