/* SPDX-License-Identifier: Apache-2.0 */
/* Makes files: claims a temporary, writes, syncs, renames.
 *
 * Other processes may create anything under the names used here, at any moment. So:
 * - A temporary is created with O_EXCL and never opened otherwise. What a killed process left is recognised by its
 *   type, owner and lock, not by its name alone, and is removed, never written to.
 * - A temporary is ours once it is locked and its name is known to still lead to the locked inode. Nothing is removed
 *   or renamed before that.
 * - Permissions and times are set through the descriptor.
 * - Where the file system has no locks, the temporary has a name of its own, which no other process comes upon.
 */
#include "formats/file.h"
#include "formats/in_use.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define SUFFIX         ".tmp"
#define MAX_TRIES      100 /* to claim a name */
#define MAX_LINKS      40  /* followed in a row, as the system has it */
#define COPY_BYTES     (1u << 20)
#define ACCESS_BITS    0777u
#define MODE_SHARED    0666u /* less the umask */
#define MODE_PRIVATE   0600u
#define STANDARD_LABEL "standard output"

static int sync_file(int fd)
{
    int status;

    do {
        status = fsync(fd);
    } while (status != 0 && errno == EINTR);
    return status;
}

/* ---- claiming a name ---- */

static int fail_call(omen_detail *why, const char *verb, const char *path)
{
    return omen_fail(why, OMEN_ERR_IO, "cannot %s \"%s\": %s", verb, path, strerror(errno));
}

static int fail_busy(omen_detail *why, const char *work, const char *path)
{
    return omen_fail(why, OMEN_ERR_IO, "another process is %s \"%s\"", work, path);
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

int omen_file_leads_to(const char *path, int fd)
{
    struct stat opened, named;

    if (fstat(fd, &opened) != 0)
        return -1;
    /* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): who writes in place does not come here */
    if (lstat(path, &named) != 0)
        return errno == ENOENT ? 0 : -1;
    return is_same(&opened, &named);
}

static int lock_file(int fd)
{
    int status;

    do {
        status = flock(fd, LOCK_EX | LOCK_NB);
    } while (status != 0 && errno == EINTR);
    return status;
}

/* Whether a lock failed since the file system has none. */
static bool lacks_locks(void)
{
    return errno == ENOSYS || errno == ENOLCK || errno == EOPNOTSUPP;
}

/* Why what is there cannot be a leftover of ours; NULL: it can. */
static const char *strangeness(const struct stat *status)
{
    if (S_ISLNK(status->st_mode))
        return "a symbolic link";
    if (S_ISDIR(status->st_mode))
        return "a directory";
    if (!S_ISREG(status->st_mode))
        return "not a regular file";
    if (status->st_uid != geteuid())
        return "a file of another user";
    return status->st_nlink > 1 ? "a file with another name, a hard link" : NULL;
}

static int fail_strange(omen_detail *why, const char *path, const struct stat *status)
{
    return omen_fail(why, OMEN_ERR_IO, "\"%s\" is in the way: it is %s; remove it", path, strangeness(status));
}

/* Looks at what is in the way of a new file: opens and locks it in *fd when it is a leftover of ours. Returns OMEN_OK
 * with *fd < 0 when it was gone or replaced meanwhile, and OMEN_ERR_UNSUPPORTED where there are no locks. */
static int open_leftover(const char *path, const char *work, int *fd, omen_detail *why)
{
    struct stat named, opened;
    int status = OMEN_OK;

    if (lstat(path, &named) != 0)
        return errno == ENOENT ? OMEN_OK : fail_call(why, "examine", path);
    if (strangeness(&named))
        return fail_strange(why, path, &named);
    *fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0)
        return errno == ENOENT || errno == EINTR ? OMEN_OK : fail_call(why, "open", path);
    if (fstat(*fd, &opened) != 0) {
        status = fail_call(why, "examine", path);
    } else if (!is_same(&named, &opened)) {
        close(*fd);
        *fd = -1;
        return OMEN_OK;
    } else if (strangeness(&opened)) {
        status = fail_strange(why, path, &opened);
    } else if (lock_file(*fd) != 0) {
        status = errno == EWOULDBLOCK ? fail_busy(why, work, path)
                 : lacks_locks()      ? OMEN_ERR_UNSUPPORTED
                                      : fail_call(why, "lock", path);
    }
    if (status != OMEN_OK) {
        close(*fd);
        *fd = -1;
    }
    return status;
}

/* Creates a file that no other process knows: path with something of its own before the last dot. */
static int create_unique(const char *path, mode_t mode, int *fd, char **unique, omen_detail *why)
{
    const char *suffix = strrchr(path, '.');
    const int length = suffix ? (int)(suffix - path) : (int)strlen(path);

    for (int i = 0; i < MAX_TRIES; i++) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        if (asprintf(unique, "%.*s.%lx-%lx%s", length, path, (long)getpid(), now.tv_nsec + i, suffix ? suffix : "") <
            0) {
            *unique = NULL;
            return omen_fail(why, OMEN_ERR_MEMORY, "out of memory while creating \"%s\"", path);
        }
        *fd = open(*unique, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, mode);
        if (*fd >= 0)
            return OMEN_OK;
        free(*unique);
        *unique = NULL;
        if (errno != EEXIST && errno != EINTR)
            return fail_call(why, "create", path);
    }
    return fail_call(why, "create", path);
}

/* Whether the locked file still has its name: its owner may have renamed or removed it between open and lock. Closes a
 * file that has not. */
static int check_name(const char *path, int *fd, omen_detail *why)
{
    const int named = omen_file_leads_to(path, *fd);
    const int status = named < 0 ? fail_call(why, "examine", path) : OMEN_OK;

    if (named != 1) {
        close(*fd);
        *fd = -1;
    }
    return status;
}

/* Locks a file that was created just now; closes it if that fails, as open_leftover() does. */
static int lock_new(const char *path, const char *work, int *fd, omen_detail *why)
{
    int status;

    if (lock_file(*fd) == 0)
        return OMEN_OK;
    /* another process that took it for a leftover removes it itself */
    const bool is_busy = errno == EWOULDBLOCK;
    status = is_busy ? fail_busy(why, work, path) : lacks_locks() ? OMEN_ERR_UNSUPPORTED : fail_call(why, "lock", path);
    if (!is_busy && omen_file_leads_to(path, *fd) == 1)
        unlink(path);
    close(*fd);
    *fd = -1;
    return status;
}

int omen_file_claim(const char *path, bool keep, mode_t mode, const char *work, int *fd, char **unique,
                    omen_detail *why)
{
    *unique = NULL;
    for (int i = 0; i < MAX_TRIES; i++) {
        int status = OMEN_OK;

        *fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, mode);
        const bool is_new = *fd >= 0;
        if (!is_new && errno == EINTR)
            continue;
        if (is_new)
            status = lock_new(path, work, fd, why);
        else
            status = errno == EEXIST ? open_leftover(path, work, fd, why) : fail_call(why, "create", path);
        if (status == OMEN_ERR_UNSUPPORTED)
            return create_unique(path, mode, fd, unique, why);
        if (status == OMEN_OK && *fd >= 0)
            status = check_name(path, fd, why);
        if (status != OMEN_OK)
            return status;
        if (*fd >= 0 && (is_new || keep))
            return OMEN_OK;
        if (*fd >= 0) {
            status = unlink(path) == 0 || errno == ENOENT ? OMEN_OK : fail_call(why, "remove", path);
            close(*fd);
            *fd = -1;
        }
        if (status != OMEN_OK)
            return status;
    }
    return fail_busy(why, work, path);
}

/* ---- what a name means ---- */

/* The number that a name like "17" is, or -1. */
static int parse_number(const char *text)
{
    int number = 0;

    for (; *text >= '0' && *text <= '9' && number < INT_MAX / 10 - 1; text++)
        number = 10 * number + *text - '0';
    return *text == '\0' ? number : -1;
}

/* The number that a name of a descriptor tells by itself, also where /proc is missing; -1 for another name. */
static int number_of_name(const char *path)
{
    static const char *const standard[] = {"/dev/stdin", "/dev/stdout", "/dev/stderr"};
    static const char *const directories[] = {"/dev/fd/", "/proc/self/fd/"};

    for (int i = 0; i < 3; i++)
        if (strcmp(path, standard[i]) == 0)
            return i;
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        const size_t n = strlen(directories[i]);
        if (strncmp(path, directories[i], n) == 0 && path[n] != '\0')
            return parse_number(path + n);
    }
    return -1;
}

/* Whether a directory, as realpath() tells it, is this process's table of descriptors. */
static bool is_descriptor_directory(const char *directory)
{
    char own[32];
    const int length = snprintf(own, sizeof own, "/proc/%ld/", (long)getpid());
    const size_t n = strlen(directory);

    return strncmp(directory, own, (size_t)length) == 0 && n >= 3 && strcmp(directory + n - 3, "/fd") == 0;
}

int omen_file_descriptor(const char *path)
{
    char name[PATH_MAX], directory[PATH_MAX], link[PATH_MAX];
    struct stat status;

    if (snprintf(name, sizeof name, "%s", path) >= (int)sizeof name)
        return -1;
    for (int i = 0; i < MAX_LINKS; i++) {
        char *slash = strrchr(name, '/');
        const char *last = slash ? slash + 1 : name;
        int number = number_of_name(name);

        if (number >= 0)
            return number;
        if (slash)
            *slash = '\0';
        const bool found = realpath(slash == NULL ? "." : slash == name ? "/" : name, directory);
        number = last[0] != '\0' ? parse_number(last) : -1;
        if (found && number >= 0 && is_descriptor_directory(directory))
            return number;
        if (slash)
            *slash = '/';
        if (!found || lstat(name, &status) != 0 || !S_ISLNK(status.st_mode))
            return -1;
        const ssize_t n = readlink(name, link, sizeof link - 1);
        if (n <= 0)
            return -1;
        link[n] = '\0';
        if (link[0] == '/' || !slash)
            memcpy(name, link, (size_t)n + 1);
        else if (snprintf(name, sizeof name, "%s/%s", directory, link) >= (int)sizeof name)
            return -1;
    }
    return -1;
}

/* ---- opening ---- */

/* What the file will be, for messages. */
static void put_target(const omen_file *file, char label[OMEN_FILE_LABEL_BYTES])
{
    snprintf(label, OMEN_FILE_LABEL_BYTES, file->path ? "\"%.280s\"" : STANDARD_LABEL, file->path);
}

void omen_file_label(const omen_file *file, char label[OMEN_FILE_LABEL_BYTES])
{
    char target[OMEN_FILE_LABEL_BYTES];

    put_target(file, target);
    if (file->temporary)
        snprintf(label, OMEN_FILE_LABEL_BYTES, "\"%.280s\"", file->temporary);
    else
        snprintf(label, OMEN_FILE_LABEL_BYTES, "%s%.290s", file->target > 0 ? "the temporary copy of " : "", target);
}

static int fail_target(const omen_file *file, const char *verb, omen_detail *why)
{
    char label[OMEN_FILE_LABEL_BYTES];

    put_target(file, label);
    return omen_fail(why, OMEN_ERR_IO, "cannot %s %s: %s", verb, label, strerror(errno));
}

/* Opens what keeps its name; a descriptor of that number when it is not negative. */
static int open_in_place(omen_file *file, int number, const struct stat *status, int needs, omen_detail *why)
{
    char label[OMEN_FILE_LABEL_BYTES];
    struct stat opened;
    int fd;

    put_target(file, label);
    if (needs == OMEN_FILE_NAMED)
        return omen_fail(why, OMEN_ERR_IO, "cannot write %s: not a regular file", label);
    fd = number >= 0 ? fcntl(number, F_DUPFD_CLOEXEC, 3) : open(file->path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return fail_target(file, "open", why);
    file->fd = fd;
    if (number < 0 && fstat(fd, &opened) != 0)
        return fail_target(file, "examine", why);
    if (number < 0 && !is_same(&opened, status)) /* it would be written over at its beginning */
        return omen_fail(why, OMEN_ERR_IO, "\"%s\" was replaced while it was opened", file->path);
    if (needs == OMEN_FILE_SPOOLED) {
        file->target = fd;
        return omen_spool_open(label, &file->fd, why);
    }
    return OMEN_OK;
}

int omen_file_open(omen_file *file, const char *path, int needs, const struct stat *like, omen_detail *why)
{
    struct stat info;
    int status;

    *file = (omen_file){.fd = -1};
    if (strcmp(path, "-") == 0)
        return open_in_place(file, STDOUT_FILENO, NULL, needs, why);
    if (path[0] == '\0')
        return omen_fail(why, OMEN_ERR_ARGUMENT, "the name of the file to write is empty");
    file->path = strdup(path);
    if (!file->path)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory while creating \"%s\"", path);
    const int number = omen_file_descriptor(path);
    const bool exists = stat(path, &info) == 0;
    if (!exists && errno != ENOENT && number < 0)
        return fail_call(why, "write", path);
    if (exists && S_ISDIR(info.st_mode)) { /* the rename would fail after all the work */
        errno = EISDIR;
        return fail_call(why, "write", path);
    }
    if (number >= 0 || (exists && !S_ISREG(info.st_mode)))
        return open_in_place(file, number, &info, needs, why);
    if (asprintf(&file->temporary, "%s" SUFFIX, path) < 0) {
        file->temporary = NULL;
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory while creating \"%s\"", path);
    }
    if (like) {
        file->like = *like;
        file->has_like = true;
    }
    char *unique;
    status =
        omen_file_claim(file->temporary, false, like ? MODE_PRIVATE : MODE_SHARED, "writing", &file->fd, &unique, why);
    if (unique) {
        free(file->temporary);
        file->temporary = unique;
    }
    if (status == OMEN_OK) {
        file->is_owned = true;
        omen_temporary_remember(file->temporary);
    }
    return status;
}

bool omen_file_is_own(const omen_file *file)
{
    return file->is_owned || file->target > 0;
}

/* ---- the end ---- */

/* The directory that holds path, or -1. */
static int open_directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (slash == path)
        return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char *directory = strndup(path, (size_t)(slash - path));
    if (!directory)
        return -1;
    const int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(directory);
    return fd;
}

/* Of the mode the permission bits only: with setuid or setgid the file would run with the rights of its new owner. */
static void copy_attributes(omen_file *file)
{
    const struct timespec times[2] = {file->like.st_atim, file->like.st_mtim};

    if (fchmod(file->fd, file->like.st_mode & ACCESS_BITS) != 0 || futimens(file->fd, times) != 0)
        file->like_error = errno;
}

int omen_file_publish(int fd, const char *temporary, const char *path, bool *is_renamed, omen_detail *why)
{
    *is_renamed = false;
    if (sync_file(fd) != 0)
        return fail_call(why, "sync", temporary);
    /* opened before the rename: afterwards little may fail. A directory that may be written but not read cannot be
     * opened; then the whole file system is synced instead */
    const int directory = open_directory_of(path);
    int status = OMEN_OK;
    /* the last thing before the rename: what is put there in between gets the name. The file stays open, so that the
     * lock is held as long as the temporary's name exists */
    const int ours = omen_file_leads_to(temporary, fd);
    if (ours < 0) {
        status = fail_call(why, "examine", temporary);
    } else if (ours == 0) {
        status = omen_fail(why, OMEN_ERR_IO, "\"%s\" was removed or replaced while it was written", temporary);
    } else if (rename(temporary, path) != 0) {
        status = omen_fail(why, OMEN_ERR_IO, "cannot rename \"%s\" to \"%s\": %s", temporary, path, strerror(errno));
    } else {
        omen_temporary_forget(temporary);
        *is_renamed = true;
        const int synced = directory >= 0 ? sync_file(directory) : syncfs(fd);
        if (synced != 0 && errno != EINVAL) { /* EINVAL: a file system that has no need of it */
            status = omen_fail(why, OMEN_ERR_IO, "cannot sync the directory of \"%s\", which is complete: %s", path,
                               strerror(errno));
        }
    }
    if (directory >= 0)
        close(directory);
    return status;
}

static int publish(omen_file *file, omen_detail *why)
{
    bool is_renamed;

    if (file->has_like)
        copy_attributes(file);
    const int status = omen_file_publish(file->fd, file->temporary, file->path, &is_renamed, why);
    file->is_owned = file->is_owned && !is_renamed;
    return status;
}

/* Writes out what was collected, in order. */
static int write_out(const omen_file *file, omen_detail *why)
{
    char label[OMEN_FILE_LABEL_BYTES], *buffer = malloc(COPY_BYTES);
    int status = OMEN_OK;

    omen_file_label(file, label);
    if (!buffer)
        status = omen_fail(why, OMEN_ERR_MEMORY, "out of memory while writing %s", label);
    for (uint64_t at = 0; status == OMEN_OK;) {
        const ssize_t n = pread(file->fd, buffer, COPY_BYTES, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            status = omen_fail(why, OMEN_ERR_IO, "cannot read %s: %s", label, strerror(errno));
        else if (n == 0)
            break;
        else if (omen_write_all(file->target, buffer, (uint64_t)n) != 0)
            status = fail_target(file, "write", why);
        at += (uint64_t)(n > 0 ? n : 0);
    }
    free(buffer);
    return status;
}

int omen_file_commit(omen_file *file, omen_detail *why)
{
    int status = OMEN_OK;

    if (file->is_owned)
        status = publish(file, why);
    else if (file->target > 0)
        status = write_out(file, why);
    return status;
}

void omen_file_close(omen_file *file)
{
    if (!file->path && file->fd <= 0 && file->target == 0) /* never opened */
        return;
    if (file->is_owned) {
        omen_temporary_forget(file->temporary);
        /* while the lock is held, so that it cannot be another process's */
        if (omen_file_leads_to(file->temporary, file->fd) == 1)
            unlink(file->temporary);
    }
    if (file->fd >= 0)
        close(file->fd);
    if (file->target > 0)
        close(file->target);
    free(file->temporary);
    free(file->path);
    *file = (omen_file){.fd = -1};
}

int omen_file_copy(int from, const char *name, uint64_t n_bytes, const char *path, omen_progress_fn progress,
                   void *context, omen_detail *why)
{
    omen_file file;
    char label[OMEN_FILE_LABEL_BYTES], *buffer = malloc(COPY_BYTES);
    int status = omen_file_open(&file, path, OMEN_FILE_NAMED, NULL, why);

    if (status == OMEN_OK)
        omen_file_label(&file, label);
    if (status == OMEN_OK && !buffer)
        status = omen_fail(why, OMEN_ERR_MEMORY, "out of memory while writing %s", label);
    for (uint64_t at = 0; status == OMEN_OK && at < n_bytes;) {
        const uint64_t left = n_bytes - at;
        const ssize_t n = pread(from, buffer, left < COPY_BYTES ? (size_t)left : COPY_BYTES, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            status = omen_fail(why, OMEN_ERR_IO, "cannot read \"%s\": %s", name,
                               n < 0 ? strerror(errno) : "it was cut short");
        else if (omen_pwrite_all(file.fd, buffer, (uint64_t)n, at) != 0)
            status = omen_fail(why, OMEN_ERR_IO, "cannot write %s: %s", label, strerror(errno));
        at += (uint64_t)(n > 0 ? n : 0);
        if (status == OMEN_OK && progress && progress(context, "copy", at, n_bytes) != 0)
            status = omen_fail(why, OMEN_ERR_INTERRUPTED, "interrupted");
    }
    if (status == OMEN_OK)
        status = omen_file_commit(&file, why);
    omen_file_close(&file);
    free(buffer);
    return status;
}
