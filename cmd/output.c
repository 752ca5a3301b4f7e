/* Result files: written beside their name, which they take when complete. */
#include "cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail_call(omen_detail *why, const char *verb, const char *path)
{
    return omen_fail(why, OMEN_ERR_IO, "cannot %s \"%s\": %s", verb, path, strerror(errno));
}

/* Opens the temporary and locks it: two runs with one output must not write into one file. Takes over what a killed run
 * left. */
static int open_temporary(const cmd_output *out, int *fd_out, omen_detail *why)
{
    struct stat opened, named;
    int fd, rc;

    for (;;) {
        fd = open(out->temporary, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd < 0) {
            return fail_call(why, "create", out->temporary);
        }
        if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
            rc = errno == EWOULDBLOCK
                     ? omen_fail(why, OMEN_ERR_IO, "\"%s\" is being written by another process", out->path)
                     : fail_call(why, "lock", out->temporary);
            break;
        }
        bool is_named = lstat(out->temporary, &named) == 0;
        if ((!is_named && errno != ENOENT) || fstat(fd, &opened) != 0) {
            rc = fail_call(why, "examine", out->temporary);
            break;
        }
        /* Its owner may have renamed it between open and lock: then it is a finished result, not a temporary. */
        if (is_named && named.st_dev == opened.st_dev && named.st_ino == opened.st_ino) {
            if (ftruncate(fd, 0) == 0) {
                *fd_out = fd;
                return OMEN_OK;
            }
            rc = fail_call(why, "truncate", out->temporary);
            unlink(out->temporary);
            break;
        }
        close(fd);
    }
    close(fd);
    return rc;
}

int cmd_output_open(cmd_output *out, const char *path, omen_detail *why)
{
    struct stat status;
    int fd = -1, rc = OMEN_OK;

    out->path = path;
    if (path == NULL) {
        out->stream = stdout;
        return OMEN_OK;
    }
    bool exists = stat(path, &status) == 0;
    if (!exists && errno != ENOENT) {
        return fail_call(why, "write", path);
    }
    /* A device or a pipe keeps its name. */
    if (exists && !S_ISREG(status.st_mode)) {
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0) {
            return fail_call(why, "open", path);
        }
    } else {
        if (asprintf(&out->temporary, "%s.tmp", path) < 0) {
            out->temporary = NULL;
            return OMEN_ERR_MEMORY;
        }
        rc = open_temporary(out, &fd, why);
        if (rc != OMEN_OK) {
            return rc;
        }
        omen_temporary_remember(out->temporary);
    }
    out->stream = fdopen(fd, "w");
    if (out->stream == NULL) {
        rc = errno == ENOMEM ? OMEN_ERR_MEMORY : fail_call(why, "write", path);
        if (out->temporary != NULL) {
            unlink(out->temporary);
        }
        close(fd);
    }
    return rc;
}

int cmd_output_finish(cmd_output *out, omen_detail *why)
{
    FILE *stream = out->stream;

    if (fflush(stream) != 0) {
        return omen_fail(why, OMEN_ERR_IO, "cannot write to %s: %s", out->path != NULL ? out->path : "standard output",
                         strerror(errno));
    }
    if (stream == stdout) {
        return OMEN_OK; /* main() closes it */
    }
    if (out->temporary != NULL && fsync(fileno(stream)) != 0) {
        return fail_call(why, "sync", out->temporary);
    }
    /* Renamed while open, so that the lock is held as long as the temporary's name exists. */
    if (out->temporary != NULL && rename(out->temporary, out->path) != 0) {
        return fail_call(why, "rename", out->temporary);
    }
    omen_temporary_forget(out->temporary);
    free(out->temporary);
    out->temporary = NULL;
    out->stream = NULL;
    return fclose(stream) == 0 ? OMEN_OK : fail_call(why, "write", out->path);
}

void cmd_output_abandon(cmd_output *out)
{
    if (out->stream != NULL && out->stream != stdout) {
        if (out->temporary != NULL) {
            unlink(out->temporary);
        }
        fclose(out->stream);
    }
    omen_temporary_forget(out->temporary);
    free(out->temporary);
}
