/* SPDX-License-Identifier: Apache-2.0 */
/* The paths of several inputs, from lists and directories. A file of which nothing is known is an error, and not left
 * out: it may be a part that was misnamed. */
#include "formats/input_paths.h"
#include "formats/input.h"
#include "formats/lines.h"
#include "formats/omendb_files.h"
#include "formats/vectors.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int omen_paths_add(omen_paths *paths, const char *name, size_t n_bytes, omen_detail *why)
{
    if (paths->n == OMEN_MAX_FILES)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "more than %u files are named: join some of them", OMEN_MAX_FILES);
    if (paths->n == paths->size) {
        const size_t size = paths->size == 0 ? 16 : 2 * paths->size;
        char **grown = realloc(paths->names, size * sizeof *grown);
        if (!grown)
            return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the names of inputs");
        paths->names = grown;
        paths->size = size;
    }
    char *copy = strndup(name, n_bytes);
    if (!copy)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the names of inputs");
    paths->names[paths->n++] = copy;
    return OMEN_OK; /* analyzer: copy is in paths->names */
}

void omen_paths_finish(omen_paths *paths)
{
    for (size_t i = 0; i < paths->n; i++)
        free(paths->names[i]);
    free(paths->names);
    *paths = (omen_paths){.names = NULL};
}

/* ---- a list ------------------------------------------------------------ */

static bool is_blank(const char *line, size_t n_bytes)
{
    size_t i = 0;
    while (i < n_bytes && (line[i] == ' ' || line[i] == '\t'))
        i++;
    return i == n_bytes;
}

int omen_paths_read(omen_paths *paths, const char *list, omen_detail *why)
{
    const size_t n_before = paths->n;
    omen_input input;
    const char *line;
    size_t n_bytes;
    int status = omen_input_open(&input, list, why);
    if (status != OMEN_OK)
        return status;
    omen_lines lines = omen_lines_of(input.bytes, input.n_bytes);
    while (status == OMEN_OK && omen_lines_next(&lines, &line, &n_bytes)) {
        if (is_blank(line, n_bytes))
            continue;
        if (memchr(line, '\0', n_bytes < PATH_MAX ? n_bytes : PATH_MAX))
            status = omen_fail(why, OMEN_ERR_INPUT, "%s, line %llu: a zero byte: this is no list of paths", input.label,
                               (unsigned long long)lines.number);
        else if (n_bytes >= PATH_MAX)
            status = omen_fail(why, OMEN_ERR_INPUT, "%s, line %llu: %zu bytes are longer than a path can be",
                               input.label, (unsigned long long)lines.number, n_bytes);
        else
            status = omen_paths_add(paths, line, n_bytes, why);
    }
    if (status == OMEN_OK && paths->n == n_before)
        status = omen_fail(why, OMEN_ERR_INPUT, "%s names no file", input.label);
    omen_input_close(&input);
    return status;
}

/* ---- a directory ------------------------------------------------------- */

static bool ends_with(const char *name, const char *suffix)
{
    const size_t length = strlen(name), n = strlen(suffix);
    return length >= n && strcmp(name + length - n, suffix) == 0;
}

/* Hidden, what a job leaves beside its parts, such as _SUCCESS, or what build and train write. */
static bool is_skipped(const char *name)
{
    return name[0] == '.' || name[0] == '_' || ends_with(name, ".omen") || ends_with(name, ".omen.part") ||
           ends_with(name, ".omen.tmp") || ends_with(name, ".model") || ends_with(name, ".model.part");
}

/* Why what is in a directory is none of its files of vectors; NULL: it is one. */
static const char *objection(const struct dirent *entry, bool takes_any)
{
    if (entry->d_type != DT_REG && entry->d_type != DT_LNK && entry->d_type != DT_UNKNOWN)
        return "is no regular file: directories of vectors have no others";
    if (takes_any || omen_vectors_named(entry->d_name))
        return NULL;
    /* of what is compressed the name without .omz, or without .gz and the like, does */
    char *inside = omen_input_name_inside(entry->d_name);
    char *unpacked = strndup(entry->d_name, omen_vectors_stem(entry->d_name));
    const bool is_named = (inside && omen_vectors_named(inside)) || (unpacked && omen_vectors_named(unpacked));
    free(inside);
    free(unpacked);
    return is_named ? NULL
                    : "does not say by its name which format it has: tell it by options.format, or give what is not "
                      "to be read a name that begins with . or _";
}

/* For the caller to free; NULL without memory. */
static char *entry_path(const char *directory, const struct dirent *entry)
{
    const size_t length = strlen(directory);
    const char *slash = length > 0 && directory[length - 1] == '/' ? "" : "/";
    char *path;
    return asprintf(&path, "%s%s%s", directory, slash, entry->d_name) < 0 ? NULL : path;
}

static int add_entry(omen_paths *paths, const char *directory, const struct dirent *entry, omen_detail *why)
{
    char *path = entry_path(directory, entry);
    if (!path)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for the names of inputs");
    const int status = omen_paths_add(paths, path, strlen(path), why);
    free(path);
    return status;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Takes an entry of a directory into the paths, or leaves it out. */
typedef int (*take_entry)(omen_paths *paths, const char *directory, const struct dirent *entry, bool takes_any,
                          omen_detail *why);

static int take_vectors(omen_paths *paths, const char *directory, const struct dirent *entry, bool takes_any,
                        omen_detail *why)
{
    const char *reason = is_skipped(entry->d_name) ? NULL : objection(entry, takes_any);
    char label[OMEN_LABEL_BYTES];
    if (is_skipped(entry->d_name))
        return OMEN_OK;
    if (!reason)
        return add_entry(paths, directory, entry, why);
    char *path = entry_path(directory, entry);
    omen_label_set(label, path ? path : entry->d_name);
    free(path);
    return omen_fail(why, OMEN_ERR_INPUT, "%s %s", label, reason);
}

static int take_shard(omen_paths *paths, const char *directory, const struct dirent *entry, bool takes_any,
                      omen_detail *why)
{
    const bool is_shard = entry->d_name[0] != '.' && ends_with(entry->d_name, ".shard");
    return is_shard ? add_entry(paths, directory, entry, why) : OMEN_OK;
}

/* Whether it is the name that leads to nothing: it may be that of a part of a file; or opening it says so. */
static bool is_of_name(int error)
{
    return error == ENOENT || error == ENOTDIR || error == EACCES || error == ELOOP || error == ENAMETOOLONG;
}

/* Adds the files of a directory, or the path itself where it is none. */
static int add_directory(omen_paths *paths, const char *path, take_entry take, bool takes_any, omen_detail *why)
{
    const size_t n_before = paths->n;
    char label[OMEN_LABEL_BYTES];
    struct stat info;
    int status = OMEN_OK;
    omen_label_set(label, path);
    const bool is_stream = strcmp(path, "-") == 0, is_there = !is_stream && stat(path, &info) == 0;
    if (!is_stream && !is_there && !is_of_name(errno))
        return omen_fail(why, OMEN_ERR_IO, "cannot examine %s: %s", label, strerror(errno));
    if (!is_there || !S_ISDIR(info.st_mode))
        return omen_paths_add(paths, path, strlen(path), why);
    DIR *directory = opendir(path);
    if (!directory)
        return omen_fail(why, OMEN_ERR_IO, "cannot open %s: %s", label, strerror(errno));
    while (status == OMEN_OK) {
        errno = 0;
        const struct dirent *entry = readdir(directory);
        if (!entry && errno != 0)
            status = omen_fail(why, OMEN_ERR_IO, "cannot read %s: %s", label, strerror(errno));
        if (!entry)
            break;
        status = take(paths, path, entry, takes_any, why);
    }
    closedir(directory);
    if (status == OMEN_OK && paths->n == n_before && take == take_vectors)
        status = omen_fail(why, OMEN_ERR_INPUT, "%s is a directory without files of vectors", label);
    if (status == OMEN_OK && paths->n > n_before)
        qsort(paths->names + n_before, paths->n - n_before, sizeof *paths->names, by_bytes);
    return status;
}

int omen_paths_add_shards(omen_paths *paths, const char *path, omen_detail *why)
{
    return add_directory(paths, path, take_shard, true, why);
}

int omen_paths_expand(omen_paths *paths, bool takes_any, omen_detail *why)
{
    omen_paths out = {.names = NULL};
    int status = OMEN_OK;
    for (size_t i = 0; i < paths->n && status == OMEN_OK; i++)
        status = add_directory(&out, paths->names[i], take_vectors, takes_any, why);
    omen_paths_finish(paths);
    *paths = out;
    return status;
}
