/* SPDX-License-Identifier: Apache-2.0 */
/* Opens what the subcommands read: rows and indexes. */
#include "cmd/cmd.h"

#include <stdlib.h>
#include <string.h>

#include "formats/hdf5_file.h"
#include "formats/vectors.h"

int cmd_find_inputs(omen_paths *paths, const char *list, const char *const *words, size_t n, const char *format,
                    omen_detail *why)
{
    int status = OMEN_OK;

    if (list)
        return omen_paths_read(paths, list, why);
    for (size_t i = 0; i < n && status == OMEN_OK; i++)
        status = omen_paths_add(paths, words[i], strlen(words[i]), why);
    return status == OMEN_OK ? omen_paths_expand(paths, format, why) : status;
}

size_t cmd_inputs_streams(const omen_paths *paths)
{
    size_t n = 0;

    for (size_t i = 0; i < paths->n; i++)
        n += cmd_is_stream(paths->names[i]);
    return n;
}

int cmd_inputs_check(const char *command, const omen_paths *paths, const char *role, const cmd_file *files, size_t n)
{
    cmd_file *all = malloc((paths->n + n) * sizeof *all);

    if (!all)
        return cmd_fail(command, OMEN_ERR_MEMORY, NULL);
    memcpy(all, files, n * sizeof *all);
    for (size_t i = 0; i < paths->n; i++)
        all[n + i] = (cmd_file){.role = role, .path = paths->names[i]};
    const int status = cmd_files_check(command, all, n + paths->n);
    free(all);
    return status;
}

/* Of vectors, not of an index: the exit code is that of unusable input. */
static int as_input(int status)
{
    return status == OMEN_ERR_UNSUPPORTED || status == OMEN_ERR_CORRUPT ? OMEN_ERR_INPUT : status;
}

int cmd_open_rows(omen_vectors **out, const char *path, const char *format, uint32_t d, uint32_t index_d,
                  omen_detail *why)
{
    const omen_vectors_options options = {.format = format, .d = d, .raw_d = index_d};

    return as_input(omen_vectors_open(out, path, &options, why));
}

int cmd_open_stream(omen_vectors_stream **stream, omen_vectors **out, const char *path, const char *format, uint32_t d,
                    uint32_t index_d, omen_detail *why)
{
    const omen_vectors_options options = {.format = format, .d = d, .raw_d = index_d};

    return as_input(omen_vectors_stream_open(stream, out, path, &options, why));
}

int cmd_open_inputs(omen_vectors **out, const omen_paths *paths, const char *format, uint32_t d, uint32_t index_d,
                    omen_detail *why)
{
    const omen_vectors_options options = {.format = format, .d = d, .raw_d = index_d};

    return as_input(omen_vectors_open_several(out, (const char *const *)paths->names, paths->n, &options, why));
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
    if (status != OMEN_ERR_INPUT)
        return status == OMEN_OK || status == OMEN_ERR_INTERRUPTED;
    const char *kind_end = strstr(ignored.text, ", which is not read");
    if (strstr(ignored.text, ", so name one, as FILE:NAME"))
        omen_fail(why, status,
                  "\"%.200s\" is not an omendb index but a file of several arrays; omendb build makes an index of one, "
                  "as FILE:NAME",
                  path);
    else if (omen_hdf5_is_file(path, omen_vectors_file_bytes(path)))
        omen_fail(why, status,
                  "\"%.200s\" is not an omendb index but HDF5; omendb build makes an index of a dataset, as FILE:NAME",
                  path);
    else if (kind_end)
        omen_fail(why, status, "%.*s, not an omendb index", (int)(kind_end - ignored.text), ignored.text);
    else
        return false;
    return true;
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
