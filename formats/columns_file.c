/* SPDX-License-Identifier: Apache-2.0 */
/* Columns by path: a table, arrays and tags, which have to be of the same rows. */
#include "formats/columns_internal.h"
#include "formats/unpack.h"

#include <string.h>
#include <strings.h>

/* By extension; of another one, by the first line. */
static omen_walk_fn *walk_of(const char *path, const omen_input *input)
{
    static const struct {
        const char *extension;
        omen_walk_fn *walk;
    } walks[] = {{"tsv", omen_walk_tsv},     {"tab", omen_walk_tsv},      {"csv", omen_walk_csv},
                 {"jsonl", omen_walk_jsonl}, {"ndjson", omen_walk_jsonl}, {"json", omen_walk_jsonl}};
    const size_t n_stem = omen_compression_stem(path);
    const char *dot = memrchr(path, '.', n_stem);
    for (size_t i = 0; dot && i < sizeof walks / sizeof *walks; i++) {
        const size_t n_extension = strlen(walks[i].extension);
        if ((size_t)(path + n_stem - dot) == n_extension + 1 &&
            strncasecmp(dot + 1, walks[i].extension, n_extension) == 0)
            return walks[i].walk;
    }
    const char *end = memchr(input->bytes, '\n', input->n_bytes);
    const size_t n = end ? (size_t)(end - (const char *)input->bytes) : input->n_bytes;
    return input->bytes[0] == '{'          ? omen_walk_jsonl
           : memchr(input->bytes, '\t', n) ? omen_walk_tsv
           : memchr(input->bytes, ',', n)  ? omen_walk_csv
                                           : omen_walk_tsv;
}

int omen_table_read(omen_table **out, const omen_input *input, const char *path, const omen_columns *columns,
                    const char *types, const char *keys, uint64_t memory_bytes, omen_detail *why)
{
    uint64_t n_rows;
    *out = NULL;
    int status = omen_columns_check_kind(input, "a table", why);
    if (status != OMEN_OK)
        return status;
    omen_walk_fn *walk = walk_of(path, input);
    status = omen_table_open(out, input->label, columns, types, keys, memory_bytes, why);
    if (status == OMEN_OK)
        status = walk(*out, input, &n_rows, why);
    if (status == OMEN_OK)
        status = omen_columns_of_rows(columns, n_rows, input->label, why);
    if (status == OMEN_OK)
        status = omen_table_keep(*out, n_rows, why);
    return status == OMEN_OK ? walk(*out, input, &n_rows, why) : status;
}

static int read_table(omen_columns *columns, const omen_column_paths *paths, uint64_t memory_bytes, omen_detail *why)
{
    omen_input input;
    omen_table *table;
    int status = omen_input_open(&input, paths->table, why);
    if (status != OMEN_OK)
        return status;
    status = omen_table_read(&table, &input, paths->table, columns, paths->types, NULL, memory_bytes, why);
    if (status == OMEN_OK)
        status = omen_table_give(table, columns, why);
    omen_table_close(table);
    omen_input_close(&input);
    return status;
}

int omen_columns_read(omen_columns **out, const omen_column_paths *paths, uint64_t n_rows, uint64_t memory_bytes,
                      omen_detail *why)
{
    omen_columns *columns;
    int status = omen_columns_create(&columns, n_rows, why);
    *out = NULL;
    if (status == OMEN_OK && paths->table)
        status = read_table(columns, paths, memory_bytes, why);
    for (size_t i = 0; i < paths->n_arrays && status == OMEN_OK; i++)
        status = omen_array_read(columns, paths->arrays[i], memory_bytes, why);
    if (status == OMEN_OK && paths->tags)
        status = omen_tags_read(columns, paths->tags, memory_bytes, why);
    if (status != OMEN_OK) {
        omen_columns_destroy(columns);
        return status;
    }
    *out = columns;
    return OMEN_OK;
}
