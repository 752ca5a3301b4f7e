/* SPDX-License-Identifier: Apache-2.0 */
/* omendb: columns and tags of rows, conditions on them, and how what they select is searched. A part of the public
 * interface, as omendb.h describes it, which is installed beside this file. */
#ifndef OMENDB_COLUMNS_H
#define OMENDB_COLUMNS_H

#include "omendb.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- columns: attributes of rows ----------------------------------------- */

typedef enum {
    OMEN_COLUMN_INT64 = 0,
    OMEN_COLUMN_FLOAT32 = 1,
    OMEN_COLUMN_FLOAT64 = 2,
    OMEN_COLUMN_TEXT = 3,
    OMEN_COLUMN_TAG_WORDS = 4,   /* any number of words a row */
    OMEN_COLUMN_TAG_NUMBERS = 5, /* any number of numbers below 2^32 a row */
} omen_column_type;

#define OMEN_MAX_COLUMNS     1024u
#define OMEN_MAX_COLUMN_NAME 255u /* bytes */

/* "int64", "float32", "float64", "text" or "tags" (of either kind); "?" for an unknown value. */
OMEN_API const char *omen_column_type_name(omen_column_type type);

/* Columns of the rows of one index, in the order of its input, before they are written. */
typedef struct omen_columns omen_columns;

/* Starts a set without columns, of n_rows rows (at least 1). *out is the caller's to destroy, NULL on failure. Returns
 * OMEN_OK, OMEN_ERR_ARGUMENT (no rows, or too many) or OMEN_ERR_MEMORY. */
OMEN_API int omen_columns_create(omen_columns **out, uint64_t n_rows, omen_detail *why) OMEN_MUST_CHECK;

/* NULL is fine. */
OMEN_API void omen_columns_destroy(omen_columns *columns);

/* How many rows there are, and how many columns; 0 of NULL. */
OMEN_API uint64_t omen_columns_row_count(const omen_columns *columns);
OMEN_API uint32_t omen_columns_count(const omen_columns *columns);

/* The name of column i, counted from 0, as long as the columns live; NULL past the last. */
OMEN_API const char *omen_columns_name(const omen_columns *columns, uint32_t i);

/* Bytes of memory that writing the columns will take, those that they take now included. */
OMEN_API uint64_t omen_columns_bytes(const omen_columns *columns);

/* Texts or words: number i is bytes[offsets[i]] up to bytes[offsets[i + 1]]. Any bytes, in any order; equal ones count
 * as one. */
typedef struct omen_words {
    uint64_t n;
    const uint64_t *offsets; /* n + 1, never falling */
    const char *bytes;
} omen_words;

/* The functions that follow add a column of n_rows values, which are copied. name: 1 to OMEN_MAX_COLUMN_NAME bytes.
 * nulls: bit i % 64 of word i / 64 is set where row i has no value, whatever stands in its place; NULL: none.
 * They return OMEN_OK, OMEN_ERR_ARGUMENT (the name, or one column too many), OMEN_ERR_INPUT (a value: why names the
 * row) or OMEN_ERR_MEMORY; after a failure the columns are as before. */

/* Integers: values holds n_rows of them. */
OMEN_API int omen_columns_add_integers(omen_columns *columns, const char *name, const int64_t *values,
                                       const uint64_t *nulls, omen_detail *why) OMEN_MUST_CHECK;

/* Other numbers: values holds n_rows of them. type: OMEN_COLUMN_FLOAT32, to which values are rounded, or
 * OMEN_COLUMN_FLOAT64. A NaN is no value. */
OMEN_API int omen_columns_add_reals(omen_columns *columns, const char *name, omen_column_type type,
                                    const double *values, const uint64_t *nulls, omen_detail *why) OMEN_MUST_CHECK;

/* codes: n_rows of them, the number of each row's text in texts, or OMEN_NO_TEXT. */
#define OMEN_NO_TEXT UINT32_MAX
OMEN_API int omen_columns_add_texts(omen_columns *columns, const char *name, const omen_words *texts,
                                    const uint32_t *codes, omen_detail *why) OMEN_MUST_CHECK;

/* Row i has tags[first[i]] up to but without tags[first[i + 1]], first being n_rows + 1 numbers that never fall:
 * numbers of words, or, with words NULL, the numbers themselves. A tag that comes twice in a row counts once. */
OMEN_API int omen_columns_add_tags(omen_columns *columns, const char *name, const omen_words *words,
                                   const uint64_t *first, const uint32_t *tags, omen_detail *why) OMEN_MUST_CHECK;

/* Writes the sections of the columns to the sink of a build that is complete, whose section PERM perm is. progress may
 * be NULL. Returns OMEN_OK, OMEN_ERR_ARGUMENT (another number of rows), OMEN_ERR_CORRUPT (perm), OMEN_ERR_MEMORY,
 * OMEN_ERR_INTERRUPTED or what the sink returned. */
OMEN_API int omen_columns_write(const omen_columns *columns, const omen_section *perm, const omen_sink *sink,
                                omen_progress_fn progress, void *context, omen_detail *why) OMEN_MUST_CHECK;

/* A column of an index. */
typedef struct omen_column_info {
    size_t struct_bytes; /* set it */
    const char *name;    /* the index's, name_bytes long and not terminated */
    uint32_t name_bytes;
    omen_column_type type;
    uint64_t n_nulls;
    uint64_t n_distinct; /* texts or tags; 0 elsewhere */
    uint64_t n_bytes;    /* in the index */
} omen_column_info;

/* Fills *out for column i, counted from 0; omen_index_get_info() says how many there are. Returns OMEN_OK or
 * OMEN_ERR_ARGUMENT (no such column, or a struct_bytes). */
OMEN_API int omen_index_get_column(const omen_index *index, uint32_t i, omen_column_info *out) OMEN_MUST_CHECK;

/* The least and the greatest value of a column. */
typedef struct omen_column_range {
    size_t struct_bytes; /* set it */
    bool has_values;     /* else no row has one, and nothing else is set */
    struct {
        int64_t least, most;
    } integers; /* of int64, and of tags that are numbers */
    struct {
        double least, most;
    } reals; /* of float32 and float64 */
    struct {
        const char *least, *most; /* the index's, not terminated */
        uint64_t least_bytes, most_bytes;
    } texts; /* of text, and of tags that are words */
} omen_column_range;

/* Fills *out for column i, by a pass over its values or a look at its dictionary, whose checksums are compared first.
 * Returns OMEN_OK, OMEN_ERR_ARGUMENT (no such column, or a struct_bytes) or OMEN_ERR_CORRUPT. */
OMEN_API int omen_index_get_column_range(const omen_index *index, uint32_t i, omen_column_range *out,
                                         omen_detail *why) OMEN_MUST_CHECK;

/* What n_bytes of text are, all of them: OMEN_NUMBER_INTEGER, an integer of 64 bits; OMEN_NUMBER_REAL, another decimal
 * number, rounded to the nearest float64; OMEN_NUMBER_NONE. A sign, and e with an exponent, may be there; no number has
 * more than 400 characters. real is set for integers too. */
typedef enum { OMEN_NUMBER_NONE, OMEN_NUMBER_INTEGER, OMEN_NUMBER_REAL } omen_number_kind;
OMEN_API omen_number_kind omen_number_parse(const char *text, size_t n_bytes, int64_t *integer, double *real);

/* ---- conditions: rows by their columns ------------------------------------ */

/* A condition on the columns of one index, which it must not outlive. It does not change; threads may share it. */
typedef struct omen_condition omen_condition;

#define OMEN_MAX_CONDITION (1u << 20) /* bytes of its text */

/* Reads a condition: what may follow WHERE in SQL, of these parts.
 *   column = literal     also == != <> < <= > >=, in either order
 *   column BETWEEN literal AND literal, column IN (literal, ...), column IS NULL, column LIKE 'prefix%',
 *   tags HAS literal     each also with NOT before BETWEEN, IN, LIKE, HAS or NULL
 *   AND, OR, NOT, ( )
 * Literals are numbers, 'texts', in which '' is a quote, TRUE (1), FALSE (0) and NULL. Names of columns with other
 * characters than letters, digits and _ stand in double quotes. A comparison with a row that has no value, or with
 * NULL, is neither true nor false; HAS is true or false. Texts compare by bytes. A literal that is compared with
 * float32 is rounded to it.
 * *out is the caller's, NULL on failure. Returns OMEN_OK, OMEN_ERR_ARGUMENT (why says what is wrong, and at which
 * character), OMEN_ERR_CORRUPT or OMEN_ERR_MEMORY. */
OMEN_API int omen_condition_create(const omen_index *index, const char *text, omen_condition **out,
                                   omen_detail *why) OMEN_MUST_CHECK;

/* NULL is fine. */
OMEN_API void omen_condition_destroy(omen_condition *condition);

/* A text that two conditions on one index share if they are the same but for order, spelling, repetition and the like:
 * they select the same rows then. It lives as long as the condition. */
OMEN_API const char *omen_condition_key(const omen_condition *condition);

/* Finds the rows for which each of n conditions on one index is true. sets gets n sets, which are the caller's, all
 * NULL after a failure. n_threads 0: omen_cpu_count(). progress, which may be NULL, is asked by the calling thread
 * whether to go on, every 65,536 rows of 16 conditions at most. Returns OMEN_OK, OMEN_ERR_ARGUMENT (two indexes),
 * OMEN_ERR_CORRUPT, OMEN_ERR_MEMORY or OMEN_ERR_INTERRUPTED. */
OMEN_API int omen_conditions_evaluate(const omen_condition *const *conditions, size_t n, int n_threads,
                                      omen_row_set **sets, omen_progress_fn progress, void *context,
                                      omen_detail *why) OMEN_MUST_CHECK;

/* Compares the columns of the index with these, byte by byte; the first difference is told to fault(). Returns OMEN_OK,
 * OMEN_ERR_CORRUPT (they differ), OMEN_ERR_ARGUMENT (another number of rows) or OMEN_ERR_MEMORY. */
OMEN_API int omen_index_check_columns(const omen_index *index, const omen_columns *columns, omen_fault_fn fault,
                                      void *context, omen_detail *why) OMEN_MUST_CHECK;

/* ---- how a set of rows is searched ---------------------------------------- */

/* How queries are searched that find only rows of a set. */
typedef enum {
    OMEN_PLAN_NOTHING, /* there are none */
    OMEN_PLAN_ROWS,    /* each is compared */
    OMEN_PLAN_LISTS,   /* list by list, until few rows nearer than those found are expected in the rest */
    OMEN_PLAN_GRAPH,   /* through the graph, all of whose rows are on the way; list by list where that is not enough */
} omen_plan;

/* A sentence about a plan, without its end; it stays the library's. */
OMEN_API const char *omen_plan_text(omen_plan plan);

typedef struct omen_row_set_info {
    size_t struct_bytes; /* set it */
    uint64_t n_matches;
    uint64_t n_lists; /* that hold matches */
    omen_plan plan;   /* under the options, of which k, recall, exact, way and effort matter */
} omen_row_set_info;

/* Fills *out by the counts of matches; nothing is searched. Returns OMEN_OK or OMEN_ERR_ARGUMENT (a struct_bytes). */
OMEN_API int omen_row_set_get_info(const omen_row_set *set, const omen_search_options *options,
                                   omen_row_set_info *out) OMEN_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
