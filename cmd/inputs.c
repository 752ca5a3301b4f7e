/* SPDX-License-Identifier: Apache-2.0 */
/* Opens what the subcommands read: rows and indexes. */
#include "cmd/cmd.h"

int cmd_open_rows(omen_vectors **out, const char *path, const char *format, uint32_t d, uint32_t index_d,
                  omen_detail *why)
{
    const omen_vectors_options options = {.format = format, .d = d, .raw_d = index_d};
    const int status = omen_vectors_open(out, path, &options, why);

    /* Of vectors, not of an index: the exit code is that of unusable input. */
    return status == OMEN_ERR_UNSUPPORTED || status == OMEN_ERR_CORRUPT ? OMEN_ERR_INPUT : status;
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
