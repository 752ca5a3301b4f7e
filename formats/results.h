/* SPDX-License-Identifier: Apache-2.0 */
/* The formats of search results, one row of a table each (results.c). What programs that link the library may call is
 * in omendb_files.h. */
#ifndef OMEN_RESULTS_H
#define OMEN_RESULTS_H

#include "formats/omendb_files.h"

/* Where a format's write() puts its bytes. */
typedef struct omen_results_buffer omen_results_buffer;

/* One format. To add one: a number in omen_results_format, and a row in results.c. */
typedef struct omen_results_kind {
    const char *name; /* also the extension of its files */
    const char *help; /* what one query becomes, in a line */
    bool is_binary;
    bool has_distances;    /* they can be written */
    bool has_fixed_fields; /* distances that were announced have to be there */
    int64_t most_id;       /* the largest row number it holds */
    /* Writes what comes before the first query; NULL: nothing does. */
    int (*begin)(const omen_results *results, omen_detail *why);
    /* Writes a query that has n of k neighbours: ids and distances (or NULL) hold n. Failures are told by the buffer.
     */
    void (*write)(omen_results_buffer *out, uint64_t query, uint32_t n, uint32_t k, const int64_t *ids,
                  const float *distances);
} omen_results_kind;

/* The row of format number i; NULL past the last. */
const omen_results_kind *omen_results_kind_at(size_t i);

#endif
