/* SPDX-License-Identifier: Apache-2.0 */
/* How every output file is made: under a temporary name, which is renamed to the real one when the file is complete and
 * on disk. What cannot be replaced, such as a pipe or standard output, is written in place and in order. */
#ifndef OMEN_FILE_H
#define OMEN_FILE_H

#include <sys/stat.h>

#include "formats/spool.h"
#include "lib/omendb.h"

/* How the caller will write the file. */
enum {
    OMEN_FILE_ANY = 0,     /* in order: it may be anything that can be written to */
    OMEN_FILE_NAMED = 1,   /* it must be a regular file: pipes, devices and the like are refused */
    OMEN_FILE_SPOOLED = 2, /* at any offset, and it is read back: for a pipe or device the bytes are collected first */
};

#define OMEN_FILE_LABEL_BYTES 320

/* A file being written. Zeroed, then filled by omen_file_open(). */
typedef struct omen_file {
    char *path;       /* the name it will have; owned; NULL: standard output */
    char *temporary;  /* the name it has, path + ".tmp"; owned; NULL: written in place */
    int fd;           /* to write to */
    int target;       /* what the bytes collected in fd are written to at the end; 0: nothing */
    bool is_owned;    /* temporary is the name of fd, and locked */
    bool has_like;    /* like is set */
    struct stat like; /* whose permission bits and times the file gets */
    int like_error;   /* errno, if attributes of like could not be copied; else 0 */
} omen_file;

/* Starts a file that will be called path; "-" is standard output. If path does not exist or is a regular file, or a
 * symbolic link to either, omen_file_commit() replaces it; a link is itself replaced, not followed. Devices, FIFOs and
 * sockets, and names of open descriptors (/dev/stdout, /dev/fd/3), are written in place.
 *
 * The temporary is a new, locked file: see omen_file_claim(). With like, only its owner can read it until it gets
 * like's permission bits and times. needs is one of OMEN_FILE_*.
 *
 * Returns OMEN_OK, OMEN_ERR_ARGUMENT (an empty path), OMEN_ERR_IO or OMEN_ERR_MEMORY. Call omen_file_close() even on
 * failure. */
int omen_file_open(omen_file *file, const char *path, int needs, const struct stat *like,
                   omen_detail *why) OMEN_MUST_CHECK;

/* Whether fd is a new, empty file made here: then it may be written at any offset, by several threads. Otherwise it is
 * written in order, with write(). */
bool omen_file_is_own(const omen_file *file);

/* What fd is, for messages: "NAME.tmp", "NAME", standard output, or the temporary copy of one of these. */
void omen_file_label(const omen_file *file, char label[OMEN_FILE_LABEL_BYTES]);

/* Syncs the complete file and gives it its name: attributes, fsync, rename, fsync of the directory; or writes out what
 * was collected. If anything before the rename fails, the name still leads to the old file. Returns OMEN_OK,
 * OMEN_ERR_IO or OMEN_ERR_MEMORY. Failing to copy attributes is not an error; file->like_error tells of it. */
int omen_file_commit(omen_file *file, omen_detail *why) OMEN_MUST_CHECK;

/* Removes a temporary that was not committed, closes and frees. */
void omen_file_close(omen_file *file);

/* The open descriptor that a path names, such as /dev/stdout, /proc/self/fd/1 or a symbolic link to either; -1 for any
 * other path. */
int omen_file_descriptor(const char *path);

/* Creates path with the given mode, opens and locks it. If path exists, it must be a regular file of this user, with no
 * other name, that no process has locked: it is removed and a new one created, or, with keep, opened as it is. Anything
 * else is refused. work names, for messages, what a process that holds the lock is doing.
 *
 * Where the file system has no locks, nobody can say whether what is there is in use: a file is created that has a name
 * of its own, *unique, which is the caller's to free; else *unique is NULL.
 *
 * Returns OMEN_OK, OMEN_ERR_IO or OMEN_ERR_MEMORY; *fd is -1 on failure. */
int omen_file_claim(const char *path, bool keep, mode_t mode, const char *work, int *fd, char **unique,
                    omen_detail *why) OMEN_MUST_CHECK;

/* Syncs fd, a file that is complete and has the name temporary, and gives it the name path, durably. If anything before
 * the rename fails, *is_renamed is false, and path leads to what it did. Returns OMEN_OK or OMEN_ERR_IO. */
int omen_file_publish(int fd, const char *temporary, const char *path, bool *is_renamed,
                      omen_detail *why) OMEN_MUST_CHECK;

/* 1 if path (a symbolic link is not followed) is the open file fd, 0 if not, -1 with errno set on failure. */
int omen_file_leads_to(const char *path, int fd);

/* Writes the first n_bytes of an open file, which is called name, to a new one that is called path, as omen_file_open()
 * and omen_file_commit() do. progress, which may be NULL, is asked ("copy"). Returns as these do, or
 * OMEN_ERR_INTERRUPTED. */
int omen_file_copy(int from, const char *name, uint64_t n_bytes, const char *path, omen_progress_fn progress,
                   void *context, omen_detail *why) OMEN_MUST_CHECK;

#endif
