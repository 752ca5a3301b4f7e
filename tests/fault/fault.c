/* SPDX-License-Identifier: Apache-2.0 */
/* Fault injection for the tests: the linker's --wrap puts this between omendb's own code and libc, so that a chosen
 * call fails, stops half way or ends the process. Calls that libraries make on their own are not seen. fault.py steers
 * it by the environment:
 *
 *   OMEN_FAULT=io:N:EIO      the Nth I/O call fails so (see errors); io:N+:EIO every one from there; NOTHING: moves 0
 *   OMEN_FAULT=short:N       the Nth read, pread, write or pwrite moves half of its bytes
 *   OMEN_FAULT=alloc:N       the Nth allocation fails (mmap with ENOMEM among them); alloc:N+ every one from there
 *   OMEN_FAULT=kill:N        SIGKILL in place of the Nth I/O call; kill:N:half after half of its bytes
 *   OMEN_FAULT=stop:N        SIGSTOP before the Nth I/O call, which goes on with SIGCONT
 *   OMEN_FAULT_COUNT=FILE    gets "hit CALL FILE" of the faults, "renamed NAME" of renames that worked and, at exit,
 *                            "count io|short|alloc N" and "call NAME N"
 *   OMEN_FAULT_SITES=FILE    gets "io|short|alloc PLACE" for each call in turn, PLACE a number of its stack: the same
 *                            for all calls that come by the same way
 *   OMEN_FAULT_TRACE=FILE    gets each call that changed a file, with its data, as it returns: a line of the name, file
 *                            descriptor, offset, length, flags and paths, separated by tabs, then the bytes
 *
 * Calls are counted for all threads together; which of them makes the Nth may vary.
 */
#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tests/fault/fault.h"

/* Declares both sides of a wrapped function: what omendb's calls reach, and what they were meant to reach. */
#define WRAP(type, name, ...)                                                                                          \
    type __real_##name(__VA_ARGS__);                                                                                   \
    type __wrap_##name(__VA_ARGS__);                                                                                   \
    type __wrap_##name(__VA_ARGS__)

/* ---- the plan ---- */

enum { COUNT_IO = FAULT_IO, COUNT_SHORT = FAULT_SHORT, COUNT_ALLOC = FAULT_ALLOC, N_COUNTS };
static const char *const count_names[] = {"io", "short", "alloc"};

typedef enum {
    CALL_OPEN,
    CALL_READ,
    CALL_PREAD,
    CALL_WRITE,
    CALL_PWRITE,
    CALL_FSYNC,
    CALL_FDATASYNC,
    CALL_SYNCFS,
    CALL_FTRUNCATE,
    CALL_RENAME,
    CALL_UNLINK,
    CALL_MMAP,
    CALL_FLOCK,
    CALL_STAT,
    CALL_FSTAT,
    CALL_LSTAT,
    CALL_LSEEK,
    CALL_MKOSTEMP,
    CALL_FDOPEN,
    CALL_FFLUSH,
    CALL_FCLOSE,
    CALL_FCHMOD,
    CALL_FUTIMENS,
    CALL_FCNTL,
    CALL_READLINK,
    CALL_REALPATH,
    CALL_OPENDIR,
    CALL_READDIR,
    CALL_FALLOCATE,
    CALL_THREAD,
    CALL_ALLOC,
    N_CALLS,
} call_kind;
static const char *const call_names[N_CALLS] = {
    "open",      "read",     "pread",   "write",   "pwrite",    "fsync",  "fdatasync", "syncfs",
    "ftruncate", "rename",   "unlink",  "mmap",    "flock",     "stat",   "fstat",     "lstat",
    "lseek",     "mkostemp", "fdopen",  "fflush",  "fclose",    "fchmod", "futimens",  "fcntl",
    "readlink",  "realpath", "opendir", "readdir", "fallocate", "thread", "alloc",
};

typedef enum { GO_ON, FAIL, HALF, NONE, DIE_AFTER_HALF } verdict;

static struct {
    int count; /* COUNT_*, or -1 for none */
    unsigned long n;
    bool from_there_on, kill, stop, half;
    int error;
    void (*action)(void); /* in front of the Nth call, which does not fail */
    call_kind struck;     /* that call */
} plan = {.count = -1};

static const struct {
    const char *name;
    int error;
} errors[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EINTR", EINTR},   {"ENOENT", ENOENT},
              {"EACCES", EACCES}, {"ENOSYS", ENOSYS}, {"ENODEV", ENODEV}, {"EOPNOTSUPP", EOPNOTSUPP},
              {"EMFILE", EMFILE}, {"EISDIR", EISDIR}, {"EINVAL", EINVAL}, {"EFBIG", EFBIG},
              {"EDQUOT", EDQUOT}, {"NOTHING", 0}};

static atomic_ulong counts[N_COUNTS], calls[N_CALLS];
static int count_fd = -1, sites_fd = -1, trace_fd = -1;
static atomic_flag trace_lock = ATOMIC_FLAG_INIT;

extern const char __executable_start[], etext[]; /* the linker's */

int __real_open64(const char *path, int flags, ...);
int __real_fcntl64(int fd, int command, ...);
ssize_t __real_write(int fd, const void *bytes, size_t n_bytes);

static void bad_plan(const char *text)
{
    fprintf(stderr, "cannot understand OMEN_FAULT=%s\n", text);
    _exit(99);
}

static int open_log(const char *variable)
{
    const char *path = getenv(variable);
    if (!path)
        return -1;
    int fd = __real_open64(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0)
        bad_plan(path);
    /* high numbers: the program's own descriptors are those of a run without logs */
    int high = __real_fcntl64(fd, F_DUPFD_CLOEXEC, 500);
    close(fd);
    return high;
}

void fault_plan(const char *text)
{
    char kind[8] = "", error[16] = "", *end;

    plan.count = -1;
    plan.action = NULL;
    for (int i = 0; i < N_COUNTS; i++)
        atomic_store(&counts[i], 0);
    if (!text)
        return;
    const char *colon = strchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof kind)
        bad_plan(text);
    memcpy(kind, text, (size_t)(colon - text));
    plan.n = strtoul(colon + 1, &end, 10);
    plan.from_there_on = *end == '+';
    end += plan.from_there_on;
    snprintf(error, sizeof error, "%s", *end == ':' ? end + 1 : "");
    plan.error = EIO;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (strcmp(error, errors[i].name) == 0)
            plan.error = errors[i].error;
    plan.kill = strcmp(kind, "kill") == 0;
    plan.stop = strcmp(kind, "stop") == 0;
    plan.half = strcmp(error, "half") == 0;
    if (strcmp(kind, "io") == 0 || plan.kill || plan.stop)
        plan.count = COUNT_IO;
    else if (strcmp(kind, "short") == 0)
        plan.count = COUNT_SHORT;
    else if (strcmp(kind, "alloc") == 0)
        plan.count = COUNT_ALLOC;
    if (plan.count < 0 || plan.n == 0)
        bad_plan(text);
}

void fault_act(unsigned long n, void (*action)(void))
{
    fault_plan(NULL);
    plan.n = n;
    plan.from_there_on = plan.kill = false;
    plan.action = action;
    plan.count = COUNT_IO;
}

const char *fault_struck(void)
{
    return call_names[plan.struck];
}

unsigned long fault_count(fault_kind kind)
{
    return atomic_load(&counts[kind]);
}

__attribute__((constructor)) static void read_plan(void)
{
    const char *text = getenv("OMEN_FAULT");

    count_fd = open_log("OMEN_FAULT_COUNT");
    sites_fd = open_log("OMEN_FAULT_SITES");
    trace_fd = open_log("OMEN_FAULT_TRACE");
    if (sites_fd >= 0)
        backtrace((void *[1]){NULL}, 1); /* allocates the first time */
    fault_plan(text);
}

/* One line of the count file; lines are appended whole. */
__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
    char line[5000];
    va_list arguments;

    if (count_fd < 0)
        return;
    int error = errno;
    va_start(arguments, format);
    int n = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (__real_write(count_fd, line, (size_t)n) != n)
        _exit(99);
    errno = error;
}

__attribute__((destructor)) static void write_counts(void)
{
    plan.count = sites_fd = -1; /* what a build for coverage writes behind this is no call of the program's */
    for (int i = 0; i < N_COUNTS; i++)
        note("count %s %lu\n", count_names[i], atomic_load(&counts[i]));
    for (int i = 0; i < N_CALLS; i++)
        note("call %s %lu\n", call_names[i], atomic_load(&calls[i]));
}

static const char *path_of(int fd, char path[4096])
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, 4095);
    path[n > 0 ? n : 0] = '\0';
    return path;
}

static void note_site(int count)
{
    void *stack[32];
    char line[64];
    uint64_t place = 0;
    int error = errno, n_frames = backtrace(stack, 32);

    /* the program's own frames alone, and as offsets, so that runs agree */
    for (int i = 0; i < n_frames; i++)
        if ((uintptr_t)stack[i] - (uintptr_t)__executable_start < (uintptr_t)etext - (uintptr_t)__executable_start)
            place = (place ^ ((uintptr_t)stack[i] - (uintptr_t)__executable_start)) * 0x9e3779b97f4a7c15U;
    int n = snprintf(line, sizeof line, "%s %016llx\n", count_names[count], (unsigned long long)place);
    if (__real_write(sites_fd, line, (size_t)n) != n)
        _exit(99);
    errno = error;
}

/* Whether this call of a count is the one of the plan. */
static bool struck(int count)
{
    if (sites_fd >= 0)
        note_site(count);
    unsigned long n = atomic_fetch_add(&counts[count], 1) + 1;
    return plan.count == count && (n == plan.n || (plan.from_there_on && n > plan.n));
}

/* Whether the file systems are to lack something: locks (flock says ENOLCK), mmap (of files with a name: ENODEV) or
 * direct (O_DIRECT: EINVAL). */
static bool is_lacking(const char *what)
{
    const char *words = getenv("OMEN_FAULT_LACKS");
    return words && strstr(words, what);
}

/* What becomes of an I/O call on path, or on fd where path is NULL. A FAIL has set errno. */
static verdict strike(call_kind call, int fd, const char *path)
{
    char storage[4096];
    bool transfers = call >= CALL_READ && call <= CALL_PWRITE;

    atomic_fetch_add(&calls[call], 1);
    bool is_io = struck(COUNT_IO), is_short = transfers && struck(COUNT_SHORT);
    if (!is_io && !is_short)
        return GO_ON;
    note("hit %s %s\n", call_names[call], path ? path : path_of(fd, storage));
    if (plan.action) {
        plan.count = -1; /* its own calls are none of the library's */
        plan.struck = call;
        plan.action();
        return GO_ON;
    }
    if (is_short)
        return HALF;
    if (plan.error == 0 && !plan.kill)
        return transfers ? NONE : GO_ON;
    if (plan.kill) {
        if (plan.half && transfers)
            return DIE_AFTER_HALF;
        raise(SIGKILL);
    }
    if (plan.stop) {
        raise(SIGSTOP);
        return GO_ON;
    }
    errno = plan.error;
    return FAIL;
}

static bool no_memory(void)
{
    atomic_fetch_add(&calls[CALL_ALLOC], 1);
    if (!struck(COUNT_ALLOC))
        return false;
    note("hit alloc -\n");
    errno = ENOMEM;
    return true;
}

/* ---- the trace ---- */

static void trace_all(const void *bytes, size_t n_bytes)
{
    while (n_bytes > 0) {
        ssize_t n = __real_write(trace_fd, bytes, n_bytes);
        if (n <= 0)
            _exit(99);
        bytes = (const char *)bytes + n;
        n_bytes -= (size_t)n;
    }
}

static void trace(call_kind call, int fd, off_t offset, const void *data, size_t n_bytes, int flags, const char *path,
                  const char *to)
{
    char line[9000];
    int error = errno;

    if (trace_fd < 0)
        return;
    int n = snprintf(line, sizeof line, "%s\t%d\t%lld\t%zu\t%d\t%s\t%s\n", call_names[call], fd, (long long)offset,
                     n_bytes, flags, path, to);
    while (atomic_flag_test_and_set(&trace_lock))
        ;
    trace_all(line, (size_t)n);
    trace_all(data, n_bytes);
    atomic_flag_clear(&trace_lock);
    errno = error;
}

/* ---- files ---- */

static int open_file(const char *path, int flags, mode_t mode)
{
    if (strike(CALL_OPEN, -1, path) == FAIL)
        return -1;
    if ((flags & O_DIRECT) && is_lacking("direct")) {
        errno = EINVAL;
        return -1;
    }
    int fd = __real_open64(path, flags, mode);
    if (fd >= 0)
        trace(CALL_OPEN, fd, 0, NULL, 0, flags, path, "");
    return fd;
}

int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    return open_file(path, flags, mode);
}

/* The names that _FORTIFY_SOURCE gives some of the calls below. */
int __wrap___open64_2(const char *path, int flags);
int __wrap___open64_2(const char *path, int flags)
{
    return open_file(path, flags, 0);
}

WRAP(ssize_t, read, int fd, void *bytes, size_t n_bytes)
{
    verdict v = strike(CALL_READ, fd, NULL);
    return v == FAIL ? -1 : v == NONE ? 0 : __real_read(fd, bytes, v == HALF ? (n_bytes + 1) / 2 : n_bytes);
}

ssize_t __wrap___read_chk(int fd, void *bytes, size_t n_bytes, size_t room);
ssize_t __wrap___read_chk(int fd, void *bytes, size_t n_bytes, size_t room)
{
    return __wrap_read(fd, bytes, n_bytes < room ? n_bytes : room);
}

WRAP(ssize_t, pread64, int fd, void *bytes, size_t n_bytes, off_t offset)
{
    verdict v = strike(CALL_PREAD, fd, NULL);
    return v == FAIL ? -1 : v == NONE ? 0 : __real_pread64(fd, bytes, v == HALF ? (n_bytes + 1) / 2 : n_bytes, offset);
}

ssize_t __wrap___pread64_chk(int fd, void *bytes, size_t n_bytes, off_t offset, size_t room);
ssize_t __wrap___pread64_chk(int fd, void *bytes, size_t n_bytes, off_t offset, size_t room)
{
    return __wrap_pread64(fd, bytes, n_bytes < room ? n_bytes : room, offset);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t n_bytes);
ssize_t __wrap_write(int fd, const void *bytes, size_t n_bytes)
{
    verdict v = strike(CALL_WRITE, fd, NULL);
    if (v == FAIL || v == NONE)
        return v == FAIL ? -1 : 0;
    ssize_t n = __real_write(fd, bytes, v == GO_ON ? n_bytes : (n_bytes + 1) / 2);
    if (v == DIE_AFTER_HALF)
        raise(SIGKILL);
    if (n > 0 && trace_fd >= 0)
        trace(CALL_WRITE, fd, lseek(fd, 0, SEEK_CUR) - n, bytes, (size_t)n, 0, "", "");
    return n;
}

WRAP(ssize_t, pwrite64, int fd, const void *bytes, size_t n_bytes, off_t offset)
{
    verdict v = strike(CALL_PWRITE, fd, NULL);
    if (v == FAIL || v == NONE)
        return v == FAIL ? -1 : 0;
    ssize_t n = __real_pwrite64(fd, bytes, v == GO_ON ? n_bytes : (n_bytes + 1) / 2, offset);
    if (v == DIE_AFTER_HALF)
        raise(SIGKILL);
    if (n > 0)
        trace(CALL_PWRITE, fd, offset, bytes, (size_t)n, 0, "", "");
    return n;
}

WRAP(int, ftruncate64, int fd, off_t n_bytes)
{
    if (strike(CALL_FTRUNCATE, fd, NULL) == FAIL)
        return -1;
    int result = __real_ftruncate64(fd, n_bytes);
    if (result == 0)
        trace(CALL_FTRUNCATE, fd, n_bytes, NULL, 0, 0, "", "");
    return result;
}

/* Space that is given back reads as zeros, which is told as a write of them. */
WRAP(int, fallocate64, int fd, int mode, off_t offset, off_t n_bytes)
{
    static uint8_t zeros[1 << 22];

    if (strike(CALL_FALLOCATE, fd, NULL) == FAIL)
        return -1;
    const int result = __real_fallocate64(fd, mode, offset, n_bytes);
    for (off_t at = 0; result == 0 && at < n_bytes; at += (off_t)sizeof zeros) {
        const off_t left = n_bytes - at, size = (off_t)sizeof zeros;
        trace(CALL_PWRITE, fd, offset + at, zeros, (size_t)(left < size ? left : size), 0, "", "");
    }
    return result;
}

/* fsync, fdatasync and syncfs */
#define WRAP_SYNC(name, call)                                                                                          \
    WRAP(int, name, int fd)                                                                                            \
    {                                                                                                                  \
        if (strike(call, fd, NULL) == FAIL)                                                                            \
            return -1;                                                                                                 \
        int result = __real_##name(fd);                                                                                \
        if (result == 0)                                                                                               \
            trace(call, fd, 0, NULL, 0, 0, "", "");                                                                    \
        return result;                                                                                                 \
    }
WRAP_SYNC(fsync, CALL_FSYNC)
WRAP_SYNC(fdatasync, CALL_FDATASYNC)
WRAP_SYNC(syncfs, CALL_SYNCFS)

WRAP(int, rename, const char *from, const char *to)
{
    if (strike(CALL_RENAME, -1, from) == FAIL)
        return -1;
    int result = __real_rename(from, to);
    if (result == 0) {
        note("renamed %s\n", to);
        trace(CALL_RENAME, -1, 0, NULL, 0, 0, from, to);
    }
    return result;
}

WRAP(int, unlink, const char *path)
{
    if (strike(CALL_UNLINK, -1, path) == FAIL)
        return -1;
    int result = __real_unlink(path);
    if (result == 0)
        trace(CALL_UNLINK, -1, 0, NULL, 0, 0, path, "");
    return result;
}

/* Both a file's failure and memory's. */
WRAP(void *, mmap64, void *at, size_t n_bytes, int protection, int flags, int fd, off_t offset)
{
    if (strike(CALL_MMAP, fd, NULL) == FAIL || no_memory())
        return MAP_FAILED;
    char path[4096];
    if (fd >= 0 && is_lacking("mmap") && !strstr(path_of(fd, path), " (deleted)")) {
        errno = ENODEV;
        return MAP_FAILED;
    }
    return __real_mmap64(at, n_bytes, protection, flags, fd, offset);
}

WRAP(int, flock, int fd, int operation)
{
    if (strike(CALL_FLOCK, fd, NULL) == FAIL)
        return -1;
    if (!is_lacking("locks"))
        return __real_flock(fd, operation);
    errno = ENOLCK;
    return -1;
}

WRAP(int, stat64, const char *path, struct stat *out)
{
    return strike(CALL_STAT, -1, path) == FAIL ? -1 : __real_stat64(path, out);
}

WRAP(int, fstatvfs64, int fd, struct statvfs *out)
{
    return strike(CALL_FSTAT, fd, NULL) == FAIL ? -1 : __real_fstatvfs64(fd, out);
}

WRAP(int, fstat64, int fd, struct stat *out)
{
    return strike(CALL_FSTAT, fd, NULL) == FAIL ? -1 : __real_fstat64(fd, out);
}

WRAP(int, lstat64, const char *path, struct stat *out)
{
    return strike(CALL_LSTAT, -1, path) == FAIL ? -1 : __real_lstat64(path, out);
}

WRAP(off_t, lseek64, int fd, off_t offset, int from)
{
    return strike(CALL_LSEEK, fd, NULL) == FAIL ? -1 : __real_lseek64(fd, offset, from);
}

WRAP(int, mkostemp64, char *path, int flags)
{
    return strike(CALL_MKOSTEMP, -1, path) == FAIL ? -1 : __real_mkostemp64(path, flags);
}

WRAP(FILE *, fdopen, int fd, const char *mode)
{
    if (strike(CALL_FDOPEN, fd, NULL) == FAIL || no_memory())
        return NULL;
    return __real_fdopen(fd, mode);
}

WRAP(int, fflush, FILE *stream)
{
    return strike(CALL_FFLUSH, fileno(stream), NULL) == FAIL ? EOF : __real_fflush(stream);
}

WRAP(int, fclose, FILE *stream)
{
    if (strike(CALL_FCLOSE, fileno(stream), NULL) != FAIL)
        return __real_fclose(stream);
    __real_fclose(stream); /* it is gone whatever fclose() says */
    errno = plan.error;
    return EOF;
}

WRAP(int, fchmod, int fd, mode_t mode)
{
    return strike(CALL_FCHMOD, fd, NULL) == FAIL ? -1 : __real_fchmod(fd, mode);
}

WRAP(int, futimens, int fd, const struct timespec times[2])
{
    return strike(CALL_FUTIMENS, fd, NULL) == FAIL ? -1 : __real_futimens(fd, times);
}

WRAP(ssize_t, readlink, const char *path, char *out, size_t room)
{
    return strike(CALL_READLINK, -1, path) == FAIL ? -1 : __real_readlink(path, out, room);
}

ssize_t __wrap___readlink_chk(const char *path, char *out, size_t n_bytes, size_t room);
ssize_t __wrap___readlink_chk(const char *path, char *out, size_t n_bytes, size_t room)
{
    return __wrap_readlink(path, out, n_bytes < room ? n_bytes : room);
}

WRAP(char *, realpath, const char *path, char *out)
{
    return strike(CALL_REALPATH, -1, path) == FAIL ? NULL : __real_realpath(path, out);
}

char *__wrap___realpath_chk(const char *path, char *out, size_t room);
char *__wrap___realpath_chk(const char *path, char *out, size_t room)
{
    return __wrap_realpath(path, out);
}

WRAP(DIR *, opendir, const char *path)
{
    return strike(CALL_OPENDIR, -1, path) == FAIL ? NULL : __real_opendir(path);
}

WRAP(struct dirent *, readdir64, DIR *directory)
{
    return strike(CALL_READDIR, dirfd(directory), NULL) == FAIL ? NULL : __real_readdir64(directory);
}

int __wrap_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...)
{
    va_list arguments;

    va_start(arguments, command);
    const long argument = va_arg(arguments, long); /* of the commands used here, or garbage that is not looked at */
    va_end(arguments);
    if (command == F_DUPFD_CLOEXEC && strike(CALL_FCNTL, fd, NULL) == FAIL)
        return -1;
    return __real_fcntl64(fd, command, argument);
}

/* ---- memory and threads ---- */

WRAP(int, pthread_create, pthread_t *thread, const pthread_attr_t *attributes, void *(*work)(void *), void *context)
{
    atomic_fetch_add(&calls[CALL_THREAD], 1);
    if (struck(COUNT_ALLOC)) {
        note("hit thread -\n");
        return EAGAIN;
    }
    return __real_pthread_create(thread, attributes, work, context);
}

WRAP(void *, malloc, size_t n_bytes)
{
    return no_memory() ? NULL : __real_malloc(n_bytes);
}

WRAP(void *, calloc, size_t n, size_t n_bytes)
{
    return no_memory() ? NULL : __real_calloc(n, n_bytes);
}

WRAP(void *, realloc, void *old, size_t n_bytes)
{
    return no_memory() ? NULL : __real_realloc(old, n_bytes);
}

WRAP(void *, aligned_alloc, size_t alignment, size_t n_bytes)
{
    return no_memory() ? NULL : __real_aligned_alloc(alignment, n_bytes);
}

WRAP(int, posix_memalign, void **out, size_t alignment, size_t n_bytes)
{
    return no_memory() ? ENOMEM : __real_posix_memalign(out, alignment, n_bytes);
}

WRAP(char *, strdup, const char *text)
{
    return no_memory() ? NULL : __real_strdup(text);
}

WRAP(char *, strndup, const char *text, size_t n_most)
{
    return no_memory() ? NULL : __real_strndup(text, n_most);
}

int __wrap_asprintf(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_asprintf(char **out, const char *format, ...)
{
    va_list arguments;

    if (no_memory())
        return -1;
    va_start(arguments, format);
    int n = vasprintf(out, format, arguments);
    va_end(arguments);
    return n;
}

int __wrap___asprintf_chk(char **out, int flag, const char *format, ...) __attribute__((format(printf, 3, 4)));
int __wrap___asprintf_chk(char **out, int flag, const char *format, ...)
{
    va_list arguments;

    if (no_memory())
        return -1;
    va_start(arguments, format);
    int n = vasprintf(out, format, arguments);
    va_end(arguments);
    return n;
}
