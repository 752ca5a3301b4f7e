/* SPDX-License-Identifier: Apache-2.0 */
/* omendb: keys of rows, rows of an index as vectors, and all of them as queries. A part of the public interface, as
 * omendb.h describes it, which is installed beside this file. */
#ifndef OMENDB_ROWS_H
#define OMENDB_ROWS_H

#include "omendb.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- keys: what the owner of the rows calls them ------------------------ */

typedef struct omen_row_key {
    omen_key_kind kind;
    uint32_t n_bytes; /* of text, which ends without a zero byte */
    const char *text;
    uint64_t number; /* of integers; a signed one in two's complement */
} omen_row_key;

/* Reads n_bytes of text as a key of this kind, not OMEN_KEYS_NONE: text as it is, which *out then points to, integers
 * in decimal. Returns OMEN_OK or OMEN_ERR_INPUT (why says what is wrong, but not where). */
OMEN_API int omen_row_key_parse(omen_key_kind kind, const char *text, size_t n_bytes, omen_row_key *out,
                                omen_detail *why) OMEN_MUST_CHECK;

/* The keys of all rows of an index that is being made: created for n_rows of them, added in the order of the rows,
 * finished, then written behind the sections of the index. */
typedef struct omen_row_keys omen_row_keys;

/* *out is the caller's to destroy, NULL on failure. Returns OMEN_OK, OMEN_ERR_ARGUMENT (no kind of keys; no rows, or
 * too many) or OMEN_ERR_MEMORY. */
OMEN_API int omen_row_keys_create(omen_row_keys **out, omen_key_kind kind, uint64_t n_rows,
                                  omen_detail *why) OMEN_MUST_CHECK;

/* NULL is fine. */
OMEN_API void omen_row_keys_destroy(omen_row_keys *keys);

/* Copies the key of the next row. Returns OMEN_OK, OMEN_ERR_INPUT (a text that no key may be: why says what is wrong,
 * but not where), OMEN_ERR_ARGUMENT (another kind; more keys than rows) or OMEN_ERR_MEMORY. */
OMEN_API int omen_row_keys_add(omen_row_keys *keys, const omen_row_key *key, omen_detail *why) OMEN_MUST_CHECK;

/* Sorts them, with n_threads threads (0: omen_cpu_count()). Unless duplicates are allowed, no two rows may have the
 * same key: twins, which may be NULL, gets the number of the first row whose key another one before it has, behind the
 * number of that one; UINT64_MAX twice if no two have the same. Returns OMEN_OK, OMEN_ERR_INPUT (a duplicate: they may
 * be finished once more with duplicates allowed), OMEN_ERR_ARGUMENT (fewer keys than rows; finished already) or
 * OMEN_ERR_MEMORY. */
OMEN_API int omen_row_keys_finish(omen_row_keys *keys, bool allow_duplicates, int n_threads, uint64_t twins[2],
                                  omen_detail *why) OMEN_MUST_CHECK;

/* Bytes of private memory that finished keys take, at the peak until then, and the bytes of their sections: estimates
 * from above, for n_rows keys of n_text_bytes in all (integers: 0). Each may be NULL. */
OMEN_API void omen_row_keys_sizes(uint64_t n_rows, uint64_t n_text_bytes, uint64_t *kept, uint64_t *peak,
                                  uint64_t *section_bytes);

/* The kind that they were created with, and the bytes of all texts added so far; of integers 0. */
OMEN_API omen_key_kind omen_row_keys_kind(const omen_row_keys *keys);
OMEN_API uint64_t omen_row_keys_text_bytes(const omen_row_keys *keys);

/* Writes the sections of finished keys, after omen_index_build() has written those of the index. progress may be NULL.
 * Returns OMEN_OK, OMEN_ERR_ARGUMENT (not finished), OMEN_ERR_INTERRUPTED or what the sink returned. */
OMEN_API int omen_row_keys_write(const omen_row_keys *keys, const omen_sink *sink, omen_progress_fn progress,
                                 void *context, omen_detail *why) OMEN_MUST_CHECK;

/* The key of a row, to *out; its text lives as long as the index. Any thread may call it. Returns OMEN_OK,
 * OMEN_ERR_ARGUMENT (no such row, or the index has no keys) or OMEN_ERR_CORRUPT. */
OMEN_API int omen_index_key_of(const omen_index *index, uint64_t row, omen_row_key *out,
                               omen_detail *why) OMEN_MUST_CHECK;

/* The number of the row of a key, the first one if several have it, to *row; OMEN_NO_ROW if none has, and on failure.
 * Any thread may call it. Returns OMEN_OK, OMEN_ERR_ARGUMENT (the
 * index has no keys, or keys of another kind) or OMEN_ERR_CORRUPT. */
OMEN_API int omen_index_row_of_key(const omen_index *index, const omen_row_key *key, int64_t *row,
                                   omen_detail *why) OMEN_MUST_CHECK;

/* The same, the first one from row number first on: all rows of a key, by its last row + 1. */
OMEN_API int omen_index_row_of_key_from(const omen_index *index, const omen_row_key *key, uint64_t first, int64_t *row,
                                        omen_detail *why) OMEN_MUST_CHECK;

/* Compares the keys of the index with these, row by row; the first difference is told to fault(). Returns OMEN_OK,
 * OMEN_ERR_CORRUPT (they differ, or the index has none), or OMEN_ERR_ARGUMENT (another number of rows; fewer keys than
 * rows). */
OMEN_API int omen_index_check_keys(const omen_index *index, const omen_row_keys *keys, omen_fault_fn fault,
                                   void *context, omen_detail *why) OMEN_MUST_CHECK;

/* ---- rows of an index ---------------------------------------------------- */

/* Rows of an index, in any order and any number of times, from its refine tier: as they were read, up to its rounding;
 * under cosine of unit length. */
typedef struct omen_index_rows omen_index_rows;

/* rows holds n row numbers, and is copied; the index must outlive *out, which is NULL on failure. Returns OMEN_OK,
 * OMEN_ERR_ARGUMENT (no refine tier; a row that does not exist), OMEN_ERR_CORRUPT or OMEN_ERR_MEMORY. */
OMEN_API int omen_index_rows_open(omen_index_rows **out, const omen_index *index, const uint64_t *rows, uint64_t n,
                                  omen_detail *why) OMEN_MUST_CHECK;

/* The number in the index of row i of the source, i below its n_rows. */
OMEN_API uint64_t omen_index_rows_number(const omen_index_rows *rows, uint64_t i);

/* NULL is fine. */
OMEN_API void omen_index_rows_close(omen_index_rows *rows);

/* Row i of the source is row rows[i] of the index, d float32 of it. It dies with the rows. Its read() may return
 * OMEN_ERR_CORRUPT. */
OMEN_API omen_source omen_index_rows_source(omen_index_rows *rows);

/* The rows of a set, or all where set is NULL, in the order of the lists, as omen_index_rows_open() opens them. The set
 * need not outlive *out. Returns as it does, and OMEN_ERR_ARGUMENT for a set of another index. */
OMEN_API int omen_index_rows_open_set(omen_index_rows **out, const omen_index *index, const omen_row_set *set,
                                      omen_detail *why) OMEN_MUST_CHECK;

/* ---- rows that search for rows ------------------------------------------- */

/* Takes what some rows found: row rows[i] is query i of found, which lives until it returns. What it returns, if not
 * OMEN_OK, ends the search. */
typedef int (*omen_self_fn)(void *context, const int64_t *rows, const omen_found *found, omen_detail *why);

/* Every row of the index as a query, by its refine tier: its k nearest rows or, with options->has_within, all that are
 * near enough, the row itself excluded. Rows are searched in the order of the lists, so that neighbours share their
 * work, and handed to take() some thousands at a time, in that order, each once, by the thread that calls.
 *   options  row_sets has to be NULL; way cannot be OMEN_SEARCH_GRAPH, and OMEN_SEARCH_AUTO is lists
 *   rows     only these search and are found; NULL: all
 *   first    so many rows at the beginning of that order are left out, as an earlier call has handed them out
 *   stats    added to; may be NULL
 * Returns as omen_index_search() or omen_index_search_within() does, OMEN_ERR_ARGUMENT also without a refine tier, or
 * what take() returned. */
OMEN_API int omen_index_search_self(const omen_index *index, const omen_search_options *options,
                                    const omen_row_set *rows, uint64_t first, omen_self_fn take, void *context,
                                    omen_search_stats *stats, omen_detail *why) OMEN_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
