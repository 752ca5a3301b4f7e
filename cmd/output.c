/* Result files: written beside their name, which they take when complete. */
#include "cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens path.tmp and locks it: two runs with one output must not write into one file. Takes over what a killed run
 * left. Returns a descriptor, or -1 with errno set. */
static int open_temporary(const char *path)
{
    struct stat opened, named;
    int fd;

    for (;;) {
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd < 0) {
            return -1;
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0 || fstat(fd, &opened) != 0) {
            break;
        }
        /* Its owner may have renamed it between open and lock: then it is a finished result, not a temporary. */
        if (stat(path, &named) == 0 && named.st_dev == opened.st_dev && named.st_ino == opened.st_ino) {
            if (ftruncate(fd, 0) == 0) {
                return fd;
            }
            break;
        }
        close(fd);
    }
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

int cmd_output_open(cmd_output *out, const char *path, omen_detail *why)
{
    struct stat status;
    int fd;

    out->path = path;
    if (path == NULL) {
        out->stream = stdout;
        return OMEN_OK;
    }
    /* A device or a pipe keeps its name. */
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode)) {
        fd = open(path, O_WRONLY | O_CLOEXEC);
    } else {
        if (asprintf(&out->temporary, "%s.tmp", path) < 0) {
            out->temporary = NULL;
            return OMEN_ERR_MEMORY;
        }
        fd = open_temporary(out->temporary);
        if (fd < 0 && errno == EWOULDBLOCK) {
            return omen_fail(why, OMEN_ERR_IO, "\"%s\" is being written by another process", path);
        }
        if (fd >= 0) {
            cmd_signals_temporary(out->temporary);
        }
    }
    out->stream = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (out->stream == NULL) {
        int error = errno;

        if (fd >= 0) {
            close(fd);
            if (out->temporary != NULL) {
                unlink(out->temporary);
            }
        }
        return omen_fail(why, OMEN_ERR_IO, "cannot write \"%s\": %s", path, strerror(error));
    }
    return OMEN_OK;
}

int cmd_output_finish(cmd_output *out, omen_detail *why)
{
    FILE *stream = out->stream;
    bool failed;

    if (fflush(stream) != 0) {
        return omen_fail(why, OMEN_ERR_IO, "cannot write to %s: %s", out->path != NULL ? out->path : "standard output",
                         strerror(errno));
    }
    if (stream == stdout) {
        return OMEN_OK; /* main() closes it */
    }
    failed = out->temporary != NULL && fsync(fileno(stream)) != 0;
    /* Renamed while open, so that the lock is held as long as the temporary's name exists. */
    failed = failed || (out->temporary != NULL && rename(out->temporary, out->path) != 0);
    if (failed) {
        return omen_fail(why, OMEN_ERR_IO, "cannot write \"%s\": %s", out->path, strerror(errno));
    }
    cmd_signals_temporary(NULL);
    free(out->temporary);
    out->temporary = NULL;
    out->stream = NULL;
    if (fclose(stream) != 0) {
        return omen_fail(why, OMEN_ERR_IO, "cannot write \"%s\": %s", out->path, strerror(errno));
    }
    return OMEN_OK;
}

void cmd_output_abandon(cmd_output *out)
{
    if (out->stream != NULL && out->stream != stdout) {
        if (out->temporary != NULL) {
            unlink(out->temporary);
        }
        fclose(out->stream);
    }
    cmd_signals_temporary(NULL);
    free(out->temporary);
}
