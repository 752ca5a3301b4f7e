/* SPDX-License-Identifier: Apache-2.0 */
/* Compression without loss: the original in blocks, and back. */
#include "cmd/compress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int write_container(struct compress *c, const omen_omz_input *input, omen_detail *why)
{
    omen_writer *writer = NULL;
    omen_sink sink;
    int status = omen_writer_create_like(&writer, c->output, compress_like(c), why);

    if (status != OMEN_OK)
        return status;
    sink = omen_writer_sink(writer);
    const omen_omz_options options = {.level = c->level,
                                      .is_long = c->is_long,
                                      .n_threads = c->n_threads,
                                      .progress = compress_show_progress,
                                      .context = c};
    status = omen_omz_compress(input, &options, &sink, why);
    if (status == OMEN_OK)
        status = compress_commit(c, writer, why);
    omen_writer_destroy(writer);
    return status;
}

int compress_write_original(struct compress *c, omen_detail *why)
{
    omen_omz_input *input = NULL;
    int status = omen_omz_input_open(&input, c->input, c->format, c->d, why);

    if (status != OMEN_OK)
        return status;
    if (c->remove && omen_omz_input_is_unpacked(input)) {
        omen_omz_input_close(input);
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "--rm would remove \"%s\", and what -d gives back is what was compressed in it", c->input);
    }
    c->status = *omen_omz_input_status(input);
    c->in_bytes = omen_omz_input_bytes(input);
    snprintf(c->content, sizeof c->content, "%s", omen_omz_input_format(input));
    status = write_container(c, input, why);
    omen_omz_input_close(input);
    return status;
}

/* The original comes back as it was: no other format is asked for, and the output's name stands for no other than the
 * original is and the input's name without .omz says. */
static int check_original(const struct compress *c, bool is_index, omen_detail *why)
{
    const char *named = omen_vectors_named(c->output), *original = NULL;
    const char *kind = is_index ? "an index" : "vectors";
    const size_t length = strlen(c->input), n_suffix = strlen(COMPRESS_SUFFIX);
    bool has_suffix;
    char *inner;

    if (c->out_format) {
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "\"%s\" holds %s without loss, which come back in their own format: --output-format is for "
                         "codes",
                         c->input, kind);
    }
    if (c->to_stdout)
        return OMEN_OK;
    if ((is_index && named) || (!is_index && strcmp(cmd_extension(c->output).text, "omen") == 0)) {
        return omen_fail(why, OMEN_ERR_ARGUMENT, "\"%s\" holds %s, and \"%s\" is named like another format", c->input,
                         kind, c->output);
    }
    has_suffix = length > n_suffix && strcmp(c->input + length - n_suffix, COMPRESS_SUFFIX) == 0;
    inner = strndup(c->input, has_suffix ? length - n_suffix : 0);
    if (!inner)
        return OMEN_ERR_MEMORY;
    original = omen_vectors_named(inner);
    free(inner);
    if (named && original && strcmp(named, original) != 0) {
        return omen_fail(why, OMEN_ERR_ARGUMENT,
                         "\"%s\" is named like %s, and what comes back is %s: without loss nothing is converted",
                         c->output, named, original);
    }
    return OMEN_OK;
}

int compress_unpack_original(struct compress *c, const omen_container *container, omen_detail *why)
{
    cmd_output out = {.stream = NULL};
    omen_omz *omz = NULL;
    omen_detail reason = {.text = ""};
    int status = omen_omz_open(&omz, container, &reason);

    if (status != OMEN_OK)
        return compress_name_file(c, status, &reason, why);
    c->in_bytes = omen_container_file_bytes(container);
    c->out_bytes = omen_omz_original_bytes(omz);
    snprintf(c->content, sizeof c->content, "%s", omen_omz_holds_index(omz) ? "index" : "vectors");
    status = check_original(c, omen_omz_holds_index(omz), why);
    if (status == OMEN_OK)
        status = compress_open_output(c, &out, why);
    if (status == OMEN_OK) {
        status = omen_omz_unpack_to(omz, fileno(out.stream), omen_file_is_own(&out.file), c->n_threads,
                                    compress_show_progress, c, &reason);
        if (status != OMEN_OK)
            compress_name_file(c, status, &reason, why);
    }
    status = compress_finish_output(c, &out, status, why);
    omen_omz_close(omz);
    return status;
}
