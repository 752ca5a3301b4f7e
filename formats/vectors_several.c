/* SPDX-License-Identifier: Apache-2.0 */
/* Several files of vectors as one: rows numbered through, each file read by its own format. All are mapped, and none is
 * kept open: a process may have fewer descriptors than there are files. */
#include "formats/vectors_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The state of such omen_vectors. */
typedef struct {
    omen_vector_format format; /* its name is that of all files, if they have one */
    size_t n_files;
    omen_vectors **files;
    uint64_t *firsts; /* first row of each, and the number of all rows */
    omen_source_part *parts;
} several;

/* The file that a row is in. */
static size_t find_file(const several *s, uint64_t row)
{
    size_t low = 0, high = s->n_files;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (s->firsts[middle] <= row)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Rows [first, first + n) that are in a file: *from is the first of them in it. Returns how many; the next call goes on
 * behind them. */
static uint64_t rows_in_file(const several *s, size_t file, uint64_t first, uint64_t n, uint64_t *from)
{
    const uint64_t left = s->firsts[file + 1] - first;
    *from = first - s->firsts[file];
    return n < left ? n : left;
}

static int several_read(const omen_vectors *vectors, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    const several *s = vectors->state;
    int status = OMEN_OK;
    for (size_t i = find_file(s, first); n > 0 && status == OMEN_OK; i++) {
        uint64_t from, here = rows_in_file(s, i, first, n, &from);
        status = s->files[i]->format->read(s->files[i], from, here, out, why);
        first += here;
        n -= here;
        out += here * vectors->d;
    }
    return status;
}

static int several_read_bytes(const omen_vectors *vectors, uint64_t first, uint64_t n, uint8_t *out, omen_detail *why)
{
    const several *s = vectors->state;
    int status = OMEN_OK;
    for (size_t i = find_file(s, first); n > 0 && status == OMEN_OK; i++) {
        uint64_t from, here = rows_in_file(s, i, first, n, &from);
        status = s->files[i]->format->read_bytes(s->files[i], from, here, out, why);
        first += here;
        n -= here;
        out += here * vectors->d;
    }
    return status;
}

static void several_release(const omen_vectors *vectors, uint64_t first, uint64_t n)
{
    const several *s = vectors->state;
    for (size_t i = find_file(s, first); n > 0; i++) {
        uint64_t from, here = rows_in_file(s, i, first, n, &from);
        s->files[i]->format->release(s->files[i], from, here);
        first += here;
        n -= here;
    }
}

static void several_close(omen_vectors *vectors)
{
    several *s = vectors->state;
    for (size_t i = s->n_files; i-- > 0;)
        omen_vectors_close(s->files[i]);
    free(s->files);
    free(s->firsts);
    free(s->parts);
    free(s);
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * 0x9e3779b97f4a7c15u ^ hash >> 29;
}

/* Takes in file number i, which was opened, and closes its descriptor: the mapping stays. */
static int add_file(omen_vectors *vectors, several *s, size_t i, omen_detail *why)
{
    omen_vectors *file = s->files[i];
    const omen_vectors *first = s->files[0];
    if (file->d != first->d) {
        return omen_fail(why, OMEN_ERR_INPUT, "%s has %u dimensions, and %s has %u: those of one index are the same",
                         file->input.label, file->d, first->input.label, first->d);
    }
    close(file->input.fd);
    file->input.fd = -1;
    s->firsts[i + 1] = s->firsts[i] + file->n_rows;
    s->parts[i] = (omen_source_part){
        .name = file->input.label, .n_rows = file->n_rows, .n_bytes = file->input.n_bytes, .stamp = file->input.stamp};
    vectors->n_rows += file->n_rows;
    vectors->input.n_bytes += file->input.n_bytes;
    vectors->input.stamp = mix(vectors->input.stamp, file->input.stamp);
    vectors->has_bytes = vectors->has_bytes && file->has_bytes;
    if (omen_value_bytes(file->value) > omen_value_bytes(vectors->value))
        vectors->value = file->value;
    if (strcmp(file->format->name, s->format.name) != 0)
        s->format.name = "several formats";
    return OMEN_OK;
}

static several *make_state(size_t n_files)
{
    several *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->format = (omen_vector_format){
        .read = several_read, .read_bytes = several_read_bytes, .release = several_release, .close = several_close};
    s->files = calloc(n_files, sizeof *s->files);
    s->firsts = calloc(n_files + 1, sizeof *s->firsts);
    s->parts = calloc(n_files, sizeof *s->parts);
    return s;
}

int omen_vectors_open_several(omen_vectors **out, const char *const *paths, size_t n_paths,
                              const omen_vectors_options *options, omen_detail *why)
{
    *out = NULL;
    if (n_paths == 1)
        return omen_vectors_open(out, paths[0], options, why);
    if (n_paths == 0)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "no file of vectors is named");
    if (n_paths > OMEN_MAX_FILES) {
        return omen_fail(why, OMEN_ERR_ARGUMENT, "%zu files of vectors are more than %u: join some of them", n_paths,
                         OMEN_MAX_FILES);
    }
    omen_vectors *vectors = calloc(1, sizeof *vectors);
    several *s = vectors ? make_state(n_paths) : NULL;
    int status = s && s->files && s->firsts && s->parts ? OMEN_OK : OMEN_ERR_MEMORY;
    if (s) {
        vectors->state = s;
        vectors->format = &s->format;
        vectors->input.fd = -1;
    }
    for (size_t i = 0; i < n_paths && status == OMEN_OK; i++) {
        status = omen_vectors_open(&s->files[i], paths[i], options, why);
        if (status == OMEN_OK && i == 0) {
            s->format.name = s->files[0]->format->name;
            vectors->d = s->files[0]->d;
            vectors->value = s->files[0]->value;
            vectors->has_bytes = true;
        }
        if (status == OMEN_OK) {
            s->n_files = i + 1;
            status = add_file(vectors, s, i, why);
        }
    }
    if (status == OMEN_OK) {
        snprintf(vectors->input.label, sizeof vectors->input.label, "%zu files", n_paths);
        *out = vectors;
        return OMEN_OK;
    }
    const bool has_room = s && s->files && s->firsts && s->parts;
    if (s)
        omen_vectors_close(vectors);
    else
        free(vectors);
    return has_room ? status : omen_fail(why, OMEN_ERR_MEMORY, "no memory to open %zu files of vectors", n_paths);
}

const omen_source_part *omen_vectors_parts(const omen_vectors *vectors, size_t *n_parts)
{
    const bool are_several = vectors->format->close == several_close;
    const several *s = are_several ? vectors->state : NULL;
    *n_parts = s ? s->n_files : 0;
    return s ? s->parts : NULL;
}
