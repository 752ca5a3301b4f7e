/* SPDX-License-Identifier: Apache-2.0 */
/* Compressed files (.omz): any file of vectors or any index, in independent blocks, restored bit for bit. They
 * are containers with their own sections. Bytes: docs/FORMAT.md, part 3. */
#ifndef OMEN_OMZ_H
#define OMEN_OMZ_H

#include "formats/container.h"

#define OMEN_OMZ_LEVEL_DEFAULT 1
#define OMEN_OMZ_LEVEL_MOST    19

/* A file to compress: mapped, with a description of its parts (what values they hold). */
typedef struct omen_omz_input omen_omz_input;

/* Opens a file of vectors or an index; "-" is standard input, copied to an unlinked temporary file first. format and d
 * are those of omen_vectors_options. *out is NULL on failure. Returns OMEN_OK, OMEN_ERR_INPUT (not a known
 * format, or already compressed), OMEN_ERR_ARGUMENT, OMEN_ERR_CORRUPT (an index), OMEN_ERR_IO or
 * OMEN_ERR_MEMORY. */
int omen_omz_input_open(omen_omz_input **out, const char *path, const char *format, uint32_t d,
                        omen_detail *why) OMEN_MUST_CHECK;
void omen_omz_input_close(omen_omz_input *input);
uint64_t omen_omz_input_bytes(const omen_omz_input *input);

/* Whether the file or stream was compressed by gzip or zstd, and what is compressed is what they had. */
bool omen_omz_input_is_unpacked(const omen_omz_input *input);

/* The file or stream that was opened. */
const struct stat *omen_omz_input_status(const omen_omz_input *input);

/* The format's name, or "index". */
const char *omen_omz_input_format(const omen_omz_input *input);

typedef struct omen_omz_options {
    int level;                 /* of zstd, 1 to OMEN_OMZ_LEVEL_MOST */
    bool is_long;              /* long distance matching, in blocks of 32 MiB */
    int n_threads;             /* 0: omen_cpu_count(); the bytes do not depend on it */
    omen_progress_fn progress; /* may be NULL */
    void *context;             /* of progress */
} omen_omz_options;

/* Compresses the input into sink. Returns OMEN_OK, OMEN_ERR_MEMORY, OMEN_ERR_INTERRUPTED, OMEN_ERR_IO (the input was
 * changed meanwhile) or what sink returned. The bytes written depend on input, level and is_long only. */
int omen_omz_compress(const omen_omz_input *input, const omen_omz_options *options, const omen_sink *sink,
                      omen_detail *why) OMEN_MUST_CHECK;

/* ---- reading ---- */

typedef struct omen_omz omen_omz;

/* Opens a container that was written by omen_omz_compress(); the container must outlive *out. Checks the table of
 * blocks against the real sizes. *out is NULL on failure. Returns OMEN_OK, OMEN_ERR_INPUT (a container of another
 * kind), OMEN_ERR_CORRUPT or OMEN_ERR_MEMORY. */
int omen_omz_open(omen_omz **out, const omen_container *container, omen_detail *why) OMEN_MUST_CHECK;

void omen_omz_close(omen_omz *omz);

/* Whether a container holds compressed blocks. */
bool omen_omz_is(const omen_container *container);

/* Whether the original is an index; else it is a file of vectors. */
bool omen_omz_holds_index(const omen_omz *omz);

/* Bytes of the original file. */
uint64_t omen_omz_original_bytes(const omen_omz *omz);

/* Unpacks into a file descriptor and checks every block's checksum. is_new: it is a new, empty file,
 * written at any offset by several threads; anything else is written in order from its current offset. Returns OMEN_OK,
 * OMEN_ERR_CORRUPT (why names the block), OMEN_ERR_IO, OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED. */
int omen_omz_unpack_to(const omen_omz *omz, int fd, bool is_new, int n_threads, omen_progress_fn progress,
                       void *context, omen_detail *why) OMEN_MUST_CHECK;

/* If *container holds a compressed index, replaces it by that index, unpacked into memory; does nothing to others. The
 * parts that show the index's structure are unpacked first; if the structure is not sound, or the index longer than
 * memory_bytes, nothing else is unpacked. path is for messages. Returns OMEN_OK, OMEN_ERR_MEMORY, or as
 * omen_omz_open(), omen_omz_unpack_to() and omen_container_open(); the caller closes *container even after a
 * failure. */
int omen_omz_unpack_container(omen_container **container, const char *path, uint64_t memory_bytes,
                              omen_detail *why) OMEN_MUST_CHECK;

/* Whether a file of vectors, of which only the beginning and the last row are as they will be, may be one. */
typedef int (*omen_head_fn)(void *context, int fd, omen_detail *why);

/* Unpacks a compressed file of vectors, or reconstructs the rows of codes (then *is_fbin: it is fbin), into
 * an unlinked temporary file. The file's ends come first, for check to look at; what it returns ends the work. *fd is
 * -1 when the input is an index. */
int omen_omz_unpack_input(int from, const char *label, const char *path, omen_head_fn check, void *context, int *fd,
                          bool *is_fbin, omen_detail *why);

/* Unpacks and checks every block, keeping nothing; each damaged one is told to damage. */
int omen_omz_check(const omen_omz *omz, int n_threads, omen_damage_fn damage, void *context) OMEN_MUST_CHECK;

#endif
