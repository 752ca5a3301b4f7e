/* SPDX-License-Identifier: Apache-2.0 */
/* Outputs written through a stream. */
#include "cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static int fail_call(const cmd_output *out, const char *verb, omen_detail *why)
{
    if (!out->path)
        return omen_fail(why, OMEN_ERR_IO, "cannot %s to standard output: %s", verb, strerror(errno));
    return omen_fail(why, OMEN_ERR_IO, "cannot %s \"%s\": %s", verb, out->path, strerror(errno));
}

int cmd_output_open(cmd_output *out, const char *path, const struct stat *like, omen_detail *why)
{
    out->path = path;
    if (!path) {
        out->stream = stdout;
        return OMEN_OK;
    }
    const int status = omen_file_open(&out->file, path, OMEN_FILE_ANY, like, why);
    if (status != OMEN_OK)
        return status;
    /* a descriptor of its own: the file's is needed after the stream is closed */
    const int fd = fcntl(out->file.fd, F_DUPFD_CLOEXEC, 3);
    out->stream = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (out->stream)
        return OMEN_OK;
    const int code = errno == ENOMEM ? OMEN_ERR_MEMORY : fail_call(out, "write", why);
    if (fd >= 0)
        close(fd);
    return code;
}

int cmd_output_commit(cmd_output *out, omen_detail *why)
{
    FILE *stream = out->stream;

    if (fflush(stream) != 0)
        return fail_call(out, "write", why);
    if (stream == stdout)
        return OMEN_OK; /* main() closes it */
    out->stream = NULL;
    if (fclose(stream) != 0)
        return fail_call(out, "write", why);
    return omen_file_commit(&out->file, why);
}

void cmd_output_close(cmd_output *out)
{
    if (out->stream && out->stream != stdout)
        fclose(out->stream);
    out->stream = NULL;
    omen_file_close(&out->file);
}
