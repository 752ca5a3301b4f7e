/* SPDX-License-Identifier: Apache-2.0 */
/* The file that omendb compress writes: whose times it gets, its name, whether it can be read back. */
#include "cmd/compress.h"

#include <string.h>
#include <sys/stat.h>

int compress_show_progress(void *context, const char *stage, uint64_t done, uint64_t total)
{
    struct compress *c = context;

    return cmd_progress_update(&c->progress, stage, done, total);
}

/* Whose permission bits and times the output gets; NULL: of nothing, for what has no name. */
const struct stat *compress_like(const struct compress *c)
{
    return !cmd_is_stream(c->input) && S_ISREG(c->status.st_mode) ? &c->status : NULL;
}

/* Reads a written container back whole: every block, against the checksum of its original bytes. */
static int read_back(const struct compress *c, const omen_writer *writer, omen_detail *why)
{
    omen_container *container = NULL;
    omen_omz *omz = NULL;
    int status = omen_writer_open(writer, &container, why);

    if (status == OMEN_OK)
        status = omen_container_check(container, c->n_threads, NULL, NULL, NULL);
    if (status == OMEN_OK && !c->lossy)
        status = omen_omz_open(&omz, container, why);
    if (status == OMEN_OK && !c->lossy) {
        status = omen_omz_original_bytes(omz) == c->in_bytes ? omen_omz_check(omz, c->n_threads, NULL, NULL)
                                                             : OMEN_ERR_CORRUPT;
    }
    omen_omz_close(omz);
    omen_container_close(container);
    return status == OMEN_OK && omen_writer_has_name(writer)
               ? OMEN_OK
               : omen_fail(why, status != OMEN_OK ? status : OMEN_ERR_IO,
                           "\"%s\" is not as it was written; the input is kept", c->output);
}

/* Gives the complete container its name. */
int compress_commit(struct compress *c, omen_writer *writer, omen_detail *why)
{
    int status = omen_writer_commit(writer, &c->out_bytes, why);

    c->like_error = omen_writer_like_error(writer);
    if (status == OMEN_OK && c->remove)
        status = read_back(c, writer, why);
    return status;
}

int compress_open_output(const struct compress *c, cmd_output *out, omen_detail *why)
{
    const int status = cmd_output_open(out, c->to_stdout ? NULL : c->output, compress_like(c), why);

    return status == OMEN_OK && !c->to_stdout && omen_file_is_own(&out->file)
               ? omen_disk_check(c->output, c->out_bytes, why)
               : status;
}

int compress_finish_output(struct compress *c, cmd_output *out, int status, omen_detail *why)
{
    if (status == OMEN_OK)
        status = cmd_output_commit(out, why);
    c->like_error = out->file.like_error;
    cmd_output_close(out);
    return status;
}

/* Says which file a failure of unpacking was of. */
int compress_name_file(const struct compress *c, int status, const omen_detail *reason, omen_detail *why)
{
    const char *name = status == OMEN_ERR_IO ? c->output : c->input;

    if (cmd_is_stream(name))
        return omen_fail(why, status, "standard %s: %s", status == OMEN_ERR_IO ? "output" : "input", reason->text);
    return omen_fail(why, status, "\"%s\": %s", name, reason->text);
}
