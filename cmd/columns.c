/* SPDX-License-Identifier: Apache-2.0 */
/* The options that say where columns and keys of rows are. */
#include "cmd/options.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool cmd_take_column(const char *command, const cmd_option *option, const char *value, void *self)
{
    cmd_columns *columns = (cmd_columns *)((char *)self + option->offset);
    const char *equals = strchr(value, '=');

    if (!equals || equals == value || equals[1] == '\0') {
        cmd_say(command, "--column wants NAME=FILE, not \"%s\"", value);
        return false;
    }
    if (columns->n_arrays == CMD_MAX_ARRAYS) {
        cmd_say(command, "--column %s is one too many: there may be %u", value, CMD_MAX_ARRAYS);
        return false;
    }
    columns->arrays[columns->n_arrays++] = value;
    return true;
}

bool cmd_columns_are_given(const cmd_columns *columns)
{
    return columns->paths.table || columns->paths.tags || columns->n_arrays > 0;
}

int cmd_columns_check(const char *command, const cmd_columns *columns)
{
    if (columns->paths.types && !columns->paths.table)
        return cmd_misuse(command, "--column-types is of a table: name it with --columns");
    return CMD_GO_ON;
}

const omen_column_paths *cmd_columns_paths(cmd_columns *columns)
{
    columns->paths.arrays = columns->arrays;
    columns->paths.n_arrays = columns->n_arrays;
    return cmd_columns_are_given(columns) ? &columns->paths : NULL;
}

void cmd_columns_list(const cmd_columns *columns, cmd_file *files, size_t *n)
{
    files[(*n)++] = (cmd_file){.role = "--columns", .path = columns->paths.table};
    files[(*n)++] = (cmd_file){.role = "--tags", .path = columns->paths.tags};
    for (size_t i = 0; i < columns->n_arrays; i++)
        files[(*n)++] = (cmd_file){.role = "--column", .path = strchr(columns->arrays[i], '=') + 1};
}

size_t cmd_columns_streams(const cmd_columns *columns)
{
    cmd_file files[CMD_COLUMNS_FILES];
    size_t n = 0, n_streams = 0;

    cmd_columns_list(columns, files, &n);
    for (size_t i = 0; i < n; i++)
        n_streams += cmd_is_stream(files[i].path);
    return n_streams;
}

/* ---- keys ---- */

int cmd_key_find(const char *command, cmd_key *key, const cmd_columns *columns)
{
    const char *colon = key->value ? strrchr(key->value, ':') : NULL;

    if (!key->value)
        return CMD_GO_ON;
    if (colon && (colon[1] == '\0' || access(key->value, F_OK) == 0))
        colon = NULL; /* a part of the name */
    if (colon == key->value && !columns->paths.table)
        return cmd_misuse(command, "--key %s is a column of a table: name that with --columns, or as FILE:COLUMN",
                          key->value);
    key->column = colon ? colon + 1 : NULL;
    key->path = !colon                ? strdup(key->value)
                : colon == key->value ? strdup(columns->paths.table)
                                      : strndup(key->value, (size_t)(colon - key->value));
    return key->path ? CMD_GO_ON : cmd_fail(command, OMEN_ERR_MEMORY, NULL);
}

void cmd_key_finish(cmd_key *key)
{
    free(key->path);
}
