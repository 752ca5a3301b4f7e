/* The one way in which files are made: under a temporary name of our own, which becomes the real one when the file is
 * complete and on the disk. What cannot be replaced, such as a pipe or standard output, is written in place and in
 * order. */
#ifndef OMEN_FILE_H
#define OMEN_FILE_H

#include <sys/stat.h>

#include "lib/omendb.h"

/* What a caller needs of a file. */
enum {
    OMEN_FILE_ANY = 0,     /* it is written in order, so that it may be anything that can be written */
    OMEN_FILE_NAMED = 1,   /* it has to be a regular file under its name: what is written in place is refused */
    OMEN_FILE_SPOOLED = 2, /* it is written at any place and read back: what is written in place is collected first */
};

#define OMEN_FILE_LABEL_BYTES 320

/* A file on its way. Starts zeroed with omen_file_open(). */
typedef struct omen_file {
    char *path;       /* the name it will have; owned; NULL: standard output */
    char *temporary;  /* the name it has, path + ".tmp"; owned; NULL: written in place */
    int fd;           /* to write to */
    int target;       /* where what is collected in fd goes at the end; 0: nowhere */
    bool is_owned;    /* temporary leads to fd, which is locked */
    bool has_like;    /* like is to be copied */
    struct stat like; /* whose permission bits and times the file gets */
    int like_error;   /* errno of what could not be copied; 0: nothing */
} omen_file;

/* Starts a file that will be called path; "-" is standard output. A name that leads to nothing or to a regular file,
 * also by way of a symbolic link, which is replaced then and not followed, becomes the file's by omen_file_commit().
 * Devices, FIFOs and sockets keep their name, and names of open descriptors (/dev/stdout, /dev/fd/3) mean those: they
 * are written in place.
 *
 * The temporary is new, locked, and nobody else's: see omen_file_claim(). With like, it can be read by its owner alone
 * until it gets like's permission bits and times. needs is one of OMEN_FILE_*.
 *
 * Returns OMEN_OK, OMEN_ERR_ARGUMENT (an empty path), OMEN_ERR_IO or OMEN_ERR_MEMORY. omen_file_close() is due either
 * way. */
int omen_file_open(omen_file *file, const char *path, int needs, const struct stat *like,
                   omen_detail *why) OMEN_MUST_CHECK;

/* Whether fd is a new file of our own, from its beginning: then it may be written at any place, by several threads.
 * Otherwise it is written in order, with write(). */
bool omen_file_is_own(const omen_file *file);

/* What fd is, for messages: "NAME.tmp", "NAME", standard output, or the temporary copy of one of these. */
void omen_file_label(const omen_file *file, char label[OMEN_FILE_LABEL_BYTES]);

/* Puts the complete file on the disk and gives it its name: attributes, fsync, rename, fsync of the directory; or
 * writes out what was collected. After a failure of anything before the rename the name leads to what it led to.
 * Returns OMEN_OK, OMEN_ERR_IO or OMEN_ERR_MEMORY. Attributes that could not be copied are no failure but in
 * file->like_error. */
int omen_file_commit(omen_file *file, omen_detail *why) OMEN_MUST_CHECK;

/* Removes a temporary that was not committed, closes and frees. */
void omen_file_close(omen_file *file);

/* Removes the temporaries of all files that are open. For signal handlers and atexit(): calls what POSIX allows there
 * only, and nothing may be written afterwards. */
void omen_file_remove_all(void);

/* The number of the open descriptor that a path is a name of, such as /dev/stdout or /proc/self/fd/1 or a symbolic link
 * to either; -1 for any other path. */
int omen_file_descriptor(const char *path);

/* Creates path with that mode, opens and locks it. What is there already is ours only if it is a regular file of this
 * user with this one name that nobody has locked: it is removed and a new one created, or, with keep, opened as it is.
 * Anything else is refused, as is a file that a living process has locked. work is how messages call what such a
 * process does. Returns OMEN_OK or OMEN_ERR_IO; *fd is -1 on failure. */
int omen_file_claim(const char *path, bool keep, mode_t mode, const char *work, int *fd,
                    omen_detail *why) OMEN_MUST_CHECK;

/* 1 if path itself, not what it links to, is the open file fd, 0 if it is not, -1 with errno set on failure. */
int omen_file_leads_to(const char *path, int fd);

/* Opens an unlinked file in TMPDIR, to be read and written; label names what it is a copy of. Returns OMEN_OK,
 * OMEN_ERR_ARGUMENT (a TMPDIR too long) or OMEN_ERR_IO. */
int omen_spool_open(const char *label, int *fd, omen_detail *why) OMEN_MUST_CHECK;

/* Write everything, in order or at an offset. Return 0, or -1 with errno set. */
int omen_write_all(int fd, const void *data, uint64_t n_bytes);
int omen_pwrite_all(int fd, const void *data, uint64_t n_bytes, uint64_t offset);

#endif
