/* SPDX-License-Identifier: Apache-2.0 */
/* Opens what the subcommands read: rows and indexes. */
#include "cmd/cmd.h"

#include <string.h>

int cmd_open_rows(omen_vectors **out, const char *path, const char *format, uint32_t d, uint32_t index_d,
                  omen_detail *why)
{
    const omen_vectors_options options = {.format = format, .d = d, .raw_d = index_d};
    const int status = omen_vectors_open(out, path, &options, why);

    /* Of vectors, not of an index: the exit code is that of unusable input. */
    return status == OMEN_ERR_UNSUPPORTED || status == OMEN_ERR_CORRUPT ? OMEN_ERR_INPUT : status;
}

/* An omen_progress_fn: what takes long is not begun. */
static int stop(void *context, const char *stage, uint64_t done, uint64_t total)
{
    return 1;
}

bool cmd_name_vectors(const char *path, omen_detail *why)
{
    const omen_vectors_options options = {.progress = stop};
    omen_vectors *vectors = NULL;
    omen_detail ignored = {""};
    const int status = omen_vectors_open(&vectors, path, &options, &ignored);

    if (status == OMEN_OK) {
        const omen_source source = omen_vectors_source(vectors);
        omen_fail(
            why, OMEN_ERR_INPUT,
            "\"%.200s\" is not an omendb index but a file of vectors (%s, %llu x %u); omendb build makes an index "
            "of it",
            path, omen_vectors_format(vectors), (unsigned long long)source.n_rows, source.d);
    } else if (status == OMEN_ERR_INTERRUPTED) {
        omen_fail(why, OMEN_ERR_INPUT,
                  "\"%.200s\" is not an omendb index but like a file of vectors; omendb build makes an index of it",
                  path);
    }
    omen_vectors_close(vectors);
    const char *kind_end = status == OMEN_ERR_INPUT ? strstr(ignored.text, ", which is not read") : NULL;
    if (kind_end)
        omen_fail(why, OMEN_ERR_INPUT, "%.*s, not an omendb index", (int)(kind_end - ignored.text), ignored.text);
    return status == OMEN_OK || status == OMEN_ERR_INTERRUPTED || kind_end;
}

int cmd_name_damage(const char *path, int code, omen_detail *why)
{
    omen_detail cause = *why;

    return code == OMEN_ERR_CORRUPT ? omen_fail(why, code, "\"%s\" is damaged: %.300s", path, cmd_cause(code, &cause))
                                    : code;
}

int cmd_open_index(omen_container **container, omen_index **index, const char *path, bool checks, omen_index_info *info,
                   omen_detail *why)
{
    const int status = omen_container_open(container, path, why);

    if (status == OMEN_ERR_INPUT)
        cmd_name_vectors(path, why);
    return status == OMEN_OK ? cmd_read_index(container, index, path, checks, info, why) : status;
}

int cmd_read_index(omen_container **container, omen_index **index, const char *path, bool checks, omen_index_info *info,
                   omen_detail *why)
{
    int status = omen_container_open_index(container, index, path, cmd_memory_free_bytes(), checks, why);

    if (status == OMEN_OK) {
        info->struct_bytes = sizeof *info;
        status = omen_index_get_info(*index, info);
    }
    return cmd_name_damage(path, status, why);
}
