/* SPDX-License-Identifier: Apache-2.0 */
/* The formats of search results, one row of a table each (results.c). What programs that link the library may call is
 * in omendb_files.h. */
#ifndef OMEN_RESULTS_H
#define OMEN_RESULTS_H

#include "formats/omendb_files.h"

/* Where a format's write() puts its bytes. */
typedef struct omen_results_buffer {
    FILE *stream;
    size_t n;
    int failed;  /* errno of the first write that failed */
    char *bytes; /* too many for the stack */
} omen_results_buffer;

/* What one query has found: n of k neighbours. */
typedef struct omen_results_found {
    uint64_t query;
    const omen_row_key *query_key; /* written instead, of a query that is a row; NULL: the number is */
    uint32_t n, k;
    const int64_t *ids;
    const omen_row_key *keys;  /* n keys, which are written instead of the ids; NULL: the ids are */
    const char *const *labels; /* n labels, which are written before the names of neighbours; NULL: none are */
    bool names_are_rows;       /* keys hold row numbers */
    omen_key_kind key_kind;
    uint32_t key_most_bytes; /* the longest text in the index */
    const float *distances;  /* NULL: they are not written */
} omen_results_found;

/* One format. To add one: a number in omen_results_format, and a row in results.c. */
typedef struct omen_results_writer {
    const char *name; /* also the extension of its files */
    const char *help; /* what one query becomes, in a line */
    bool is_binary;
    bool has_counts;    /* begins with the number of queries */
    bool is_archive;    /* made by omen_results_pack() of two streams */
    bool has_distances; /* they can be written */
    bool has_header;    /* names of fields can be written */
    /* of the file beside it that holds distances, if they cannot be in the same; NULL: there is none */
    const char *beside;
    bool has_fixed_fields; /* distances that were announced have to be there, and -1 is in the place of a missing row */
    bool has_text;         /* keys of text can be written */
    int64_t most_id;       /* the largest row number or key it holds */
    /* Writes what comes before the first query; info is of the index whose keys are written, or NULL. NULL: nothing
     * does. */
    int (*begin)(const omen_results *results, const omen_index_info *info, omen_detail *why);
    /* Writes a query. Failures are told by the buffer. */
    void (*write)(omen_results_buffer *out, const omen_results_found *found);
} omen_results_writer;

/* Begins a buffer of a stream, or, if that is NULL, one that nothing is put into. Returns OMEN_OK or OMEN_ERR_MEMORY.
 */
int omen_results_buffer_init(omen_results_buffer *out, FILE *stream);

/* Writes what is left and frees the buffer. Returns OMEN_OK, or OMEN_ERR_IO if any write failed. */
int omen_results_buffer_finish(omen_results_buffer *out, omen_detail *why);

/* The distances of a query, for the file beside one of rows; has_k: their number stands before them. */
void omen_results_put_beside(omen_results_buffer *out, const omen_results_found *found, bool has_k);

/* The row of format number i; NULL past the last. */
const omen_results_writer *omen_results_writer_at(size_t i);

/* As omen_results_pack(), of HDF5. */
int omen_results_pack_hdf5(const omen_results *results, bool has_keys, FILE *out, omen_detail *why);

#endif
