/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of columns share. A table is walked twice: first the types of its columns are found, and its rows
 * counted, then its values are kept. */
#ifndef OMEN_COLUMNS_INTERNAL_H
#define OMEN_COLUMNS_INTERNAL_H

#include "formats/input.h"
#include "formats/omendb_files.h"

/* ---- texts, each once (columns/intern.c) ---- */

/* Texts by number. Starts zeroed. */
typedef struct omen_intern {
    char *bytes;
    uint64_t n_bytes, bytes_size;
    uint64_t *offsets; /* n + 1 */
    uint64_t n, offsets_size;
    uint32_t *slots; /* n_slots, a power of two: number + 1, or 0 */
    uint64_t n_slots;
} omen_intern;

/* The number of a text, which is added if it is new. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int omen_intern_add(omen_intern *intern, const char *text, size_t n_bytes, uint32_t *number) OMEN_MUST_CHECK;
omen_words omen_intern_words(const omen_intern *intern);
uint64_t omen_intern_bytes(const omen_intern *intern); /* of memory */
void omen_intern_finish(omen_intern *intern);

/* ---- tables (columns/table.c) ---- */

typedef enum {
    OMEN_FIELD_NULL,
    OMEN_FIELD_PLAIN, /* text that may stand for a number */
    OMEN_FIELD_INTEGER,
    OMEN_FIELD_REAL,
    OMEN_FIELD_TEXT, /* text that is text */
    OMEN_FIELD_TAG,  /* one of several texts in the same field */
    OMEN_FIELD_LIST, /* a field that holds such texts, of which there is none */
} omen_field_kind;

/* A value as it is read, and where. */
typedef struct omen_field {
    omen_field_kind kind;
    const char *text; /* PLAIN, TEXT, TAG */
    size_t n_bytes;
    int64_t integer;
    double real;       /* INTEGER too */
    uint64_t row;      /* from 0 */
    uint64_t line;     /* from 1 */
    uint32_t position; /* of the field in its line, from 1 */
} omen_field;

typedef struct omen_table omen_table;

/* Starts a table; label names the file, and with columns and keys lives as long. types: as in omen_column_paths;
 * memory_bytes: as omen_columns_read() has it, of which columns takes its part. keys: the column of that name has the
 * keys of the rows, and no other is read; NULL: all are columns. omen_table_close() is due even after a failure.
 * Returns OMEN_OK, OMEN_ERR_ARGUMENT (types) or OMEN_ERR_MEMORY. */
int omen_table_open(omen_table **out, const char *label, const omen_columns *columns, const char *types,
                    const char *keys, uint64_t memory_bytes, omen_detail *why) OMEN_MUST_CHECK;

/* Between the walks: chooses the types and makes room for n_rows values. Returns OMEN_OK, OMEN_ERR_ARGUMENT (a type for
 * a column that there is not), OMEN_ERR_INPUT (keys: no such column, or not of integers or texts) or OMEN_ERR_MEMORY.
 */
int omen_table_keep(omen_table *table, uint64_t n_rows, omen_detail *why) OMEN_MUST_CHECK;

/* After them: adds the columns to others. */
int omen_table_give(omen_table *table, omen_columns *columns, omen_detail *why) OMEN_MUST_CHECK;

/* The column of keys. */
typedef struct omen_table_keys {
    const int64_t *integers; /* a row; NULL: texts */
    const uint32_t *codes;   /* a row: the number of its text */
    omen_words texts;
    const uint64_t *nulls; /* bits of the rows that have none */
    const uint64_t *lines; /* a row: its line in the file */
    uint64_t n_bytes;      /* of memory that the table takes */
} omen_table_keys;

/* After the walks over a table with keys; what it gives lives as long as the table. */
omen_table_keys omen_table_get_keys(const omen_table *table);
void omen_table_close(omen_table *table);

/* The number, from 1, of the column of that name, which is added on the first walk if it is new. Returns OMEN_OK,
 * OMEN_ERR_INPUT or OMEN_ERR_MEMORY. */
int omen_table_column(omen_table *table, const char *name, size_t n_bytes, uint32_t *number, omen_detail *why);

/* Whether a column was asked to be left out. */
bool omen_table_is_skipped(const omen_table *table, uint32_t number);

/* Takes a value of a column. Returns OMEN_OK, OMEN_ERR_INPUT (why names file, line and column) or OMEN_ERR_MEMORY. */
int omen_table_field(omen_table *table, uint32_t number, const omen_field *field, omen_detail *why);

/* Walks over all fields of a file: calls omen_table_column() for what columns it finds, and omen_table_field(), by
 * rising rows. *n_rows gets their number. Returns OMEN_OK, OMEN_ERR_INPUT, OMEN_ERR_MEMORY or what these returned. */
typedef int omen_walk_fn(omen_table *table, const omen_input *input, uint64_t *n_rows, omen_detail *why);
omen_walk_fn omen_walk_tsv, omen_walk_csv; /* columns/delimited.c */
omen_walk_fn omen_walk_jsonl;              /* columns/jsonl.c */

/* Both walks over a file that is open, of as many rows as columns (columns_file.c). path: its name, whose extension
 * tells the format. As omen_table_open(), omen_table_keep() and the walks. */
int omen_table_read(omen_table **out, const omen_input *input, const char *path, const omen_columns *columns,
                    const char *types, const char *keys, uint64_t memory_bytes, omen_detail *why) OMEN_MUST_CHECK;

/* ---- other files ---- */

/* One column, from "NAME=FILE" with an npy array (columns/array.c); tags from spmat or text (columns/tags.c). They add
 * to columns, which have as many rows. As omen_columns_read(). */
int omen_array_read(omen_columns *columns, const char *assignment, uint64_t memory_bytes,
                    omen_detail *why) OMEN_MUST_CHECK;
int omen_tags_read(omen_columns *columns, const char *path, uint64_t memory_bytes, omen_detail *why) OMEN_MUST_CHECK;

/* ---- checks (columns/checks.c) ---- */

/* Refuses an index, a compressed file and HDF5, where the file wanted is another. */
int omen_columns_check_kind(const omen_input *input, const char *wanted, omen_detail *why) OMEN_MUST_CHECK;

/* Refuses a file of another number of rows; label names it. */
int omen_columns_of_rows(const omen_columns *columns, uint64_t n_rows, const char *label,
                         omen_detail *why) OMEN_MUST_CHECK;

/* Refuses what would take more than memory_bytes (0: no limit) beside the columns there are. */
int omen_columns_room(const omen_columns *columns, uint64_t n_bytes, uint64_t memory_bytes, const char *label,
                      omen_detail *why) OMEN_MUST_CHECK;

/* Where text has its first byte that is zero or not UTF-8; n_bytes if it has none. */
size_t omen_columns_text_fault(const char *text, size_t n_bytes);

/* ---- spmat (columns/tags.c) ---- */

/* A sparse matrix as big-ann-benchmarks writes it, in a mapped file: row i has columns indices[first[i]] up to
 * indices[first[i + 1]]. */
typedef struct omen_spmat {
    omen_input input;
    uint64_t n_rows, n_columns;
    uint64_t *first;   /* n_rows + 1; owned */
    uint32_t *indices; /* owned */
} omen_spmat;

/* Returns OMEN_OK, OMEN_ERR_INPUT (why names the file and what is wrong), OMEN_ERR_IO, OMEN_ERR_MEMORY or as
 * omen_input_open(); omen_spmat_close() is due after OMEN_OK. */
int omen_spmat_open(omen_spmat *out, const char *path, omen_detail *why) OMEN_MUST_CHECK;
void omen_spmat_close(omen_spmat *spmat);

#endif
