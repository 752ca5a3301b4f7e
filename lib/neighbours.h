/* SPDX-License-Identifier: Apache-2.0 */
/* The true neighbours of the queries that effort is calibrated on, collected while rows go by: each row is compared
 * with all queries where it is read for something else. What is found is exact, so that neither chunks nor threads nor
 * shards change it. */
#ifndef OMEN_NEIGHBOURS_H
#define OMEN_NEIGHBOURS_H

#include "lib/index.h"

#define OMEN_NEIGHBOURS_QUERIES 800u /* at most */
#define OMEN_NEIGHBOURS_WANTED  100u /* neighbours that are measured, */
#define OMEN_NEIGHBOURS_BEYOND  32u  /* others behind the last one that might take its place after rounding, */
#define OMEN_NEIGHBOURS_MOST    (100u + 32u + 1u) /* and the query itself */
#define OMEN_NEIGHBOURS_NO_ROW  UINT32_MAX

typedef struct omen_neighbours {
    omen_metric metric;
    uint32_t n_queries; /* 0: there is nothing to measure on */
    uint32_t d;
    uint32_t k;      /* nearest rows of each that are wanted */
    bool are_rows;   /* the queries are rows of the input */
    float *queries;  /* n_queries x d, as given */
    uint32_t *own;   /* numbers of the queries' rows; OMEN_NEIGHBOURS_NO_ROW: no row */
    uint64_t *keys;  /* n_queries x k (distance, row), ascending: the nearest of all rows so far, then UINT64_MAX */
    uint64_t *part;  /* n_queries x least(k, rows): those of them that the last chunk brought, in the same way */
    uint64_t *found; /* n_queries x 2 k: of the chunk so far, n_found of each, in no order */
    uint32_t *n_found;
    /* what rows are compared with: */
    float *units;        /* cosine: the queries, of unit length */
    double *norms2;      /* squared lengths of the queries, less the centre */
    const float *centre; /* d: subtracted from rows and queries, so that products do not cancel; NULL: none */
    float *panels;
    bool as_bytes; /* rows and queries are bytes, and products of bytes will do */
    int8_t *byte_panels;
    int32_t *byte_terms;
} omen_neighbours;

/* Rows that would be drawn as queries out of n_rows, at most OMEN_NEIGHBOURS_QUERIES: rows gets their numbers,
 * ascending. Returns how many. */
uint32_t omen_neighbours_draw(uint64_t n_rows, uint32_t d, uint64_t seed, uint64_t rows[OMEN_NEIGHBOURS_QUERIES]);

/* How many queries are drawn, or taken of given ones, for so many rows. */
uint32_t omen_neighbours_most_queries(uint64_t n_rows, uint32_t d);

/* Sets what is known without reading a row, and makes room: n_given queries are given, or with 0 rows are drawn. Of
 * fewer than two rows there are no queries. Call omen_neighbours_finish() also after a failure. Returns OMEN_OK or
 * OMEN_ERR_MEMORY. */
int omen_neighbours_init(omen_neighbours *truth, omen_metric metric, uint64_t n_rows, uint32_t d, uint64_t seed,
                         uint64_t n_given) OMEN_MUST_CHECK;

/* Reads the queries: of given, or if that is NULL of the source's rows. Returns OMEN_OK, OMEN_ERR_INPUT (a query is
 * too long), OMEN_ERR_INTERRUPTED or what a source returned. */
int omen_neighbours_read(omen_neighbours *truth, const omen_source *source, const omen_source *given, uint64_t seed,
                         omen_watch *watch, omen_detail *why) OMEN_MUST_CHECK;

/* Whether queries that come from a record can be some. */
bool omen_neighbours_queries_are_sound(const omen_neighbours *truth);

/* Prepares for rows to go by. centre (d_full of the transform) stays the caller's. rows_are_bytes: all values of all
 * rows are whole numbers from 0 to 255. Returns OMEN_OK or OMEN_ERR_MEMORY. */
int omen_neighbours_prepare(omen_neighbours *truth, const float *centre, bool rows_are_bytes) OMEN_MUST_CHECK;

void omen_neighbours_finish(omen_neighbours *truth);

/* What one thread needs to compare rows. */
typedef struct omen_neighbours_scan {
    float *centred, *dots;
    uint8_t *bytes;
    float *floors;    /* of each query: what a product has to reach to matter */
    uint64_t *limits; /* of each query: a row with a larger key is not among the nearest */
    uint64_t *keys;   /* n_queries x 2 k */
    uint32_t *counts;
} omen_neighbours_scan;

/* Begins with what is known to be among the nearest. Returns OMEN_OK or OMEN_ERR_MEMORY; finish also after a failure.
 */
int omen_neighbours_scan_init(omen_neighbours_scan *scan, const omen_neighbours *truth) OMEN_MUST_CHECK;
void omen_neighbours_scan_finish(omen_neighbours_scan *scan);

/* Compares n rows, of which the first has number first: as they are, under cosine of unit length. */
void omen_neighbours_scan_rows(omen_neighbours_scan *scan, const omen_neighbours *truth, uint64_t first,
                               const float *rows, size_t n);

/* Adds what a thread found to what the chunk has; one thread at a time. */
void omen_neighbours_take(omen_neighbours *truth, omen_neighbours_scan *scan);

/* Ends a chunk of n rows: fills part, and brings keys up to date. */
void omen_neighbours_end_chunk(omen_neighbours *truth, uint64_t n);

/* Keys of each query in the part of so many rows. */
static inline uint64_t omen_neighbours_part_keys(const omen_neighbours *truth, uint64_t n_rows)
{
    return n_rows < truth->k ? n_rows : truth->k;
}

static inline uint64_t omen_neighbours_part_bytes(const omen_neighbours *truth, uint64_t n_rows)
{
    return truth->n_queries * omen_neighbours_part_keys(truth, n_rows) * sizeof(uint64_t);
}

/* Adds part, which was read for rows row0 .. row0 + n - 1, to keys. False where it cannot be that of these rows: then
 * nothing is added. */
bool omen_neighbours_join(omen_neighbours *truth, uint64_t row0, uint64_t n);

/* When all rows have gone by. False where there are fewer keys than there have to be, or a row is there twice. */
bool omen_neighbours_complete(omen_neighbours *truth);

/* Estimates, in bytes, of the private memory that this needs: what it keeps, and what comparing takes besides. */
uint64_t omen_neighbours_bytes(uint64_t n_rows, uint32_t d);
uint64_t omen_neighbours_scan_bytes(uint64_t n_rows, uint32_t d, int n_threads);

#endif
