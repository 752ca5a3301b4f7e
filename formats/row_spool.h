/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a text, kept as float32 in a temporary file that takes the text's place. */
#ifndef OMEN_ROW_SPOOL_H
#define OMEN_ROW_SPOOL_H

#include "formats/lines.h"
#include "formats/vectors_internal.h"

#define OMEN_LINE_BYTES_MOST                                                                                           \
    (16u << 20) /* of a text; as JSON it takes 10 times as much memory, of empty objects 80 times */

/* What is said of a first row that holds something else, as the lines of a table do. */
#define OMEN_ROWS_ONLY "; vectors are numbers only, a table of other things is for options.columns"

#define OMEN_NAME_BYTES 256u /* of a member of a line, and a zero */

/* Rows on their way. */
typedef struct omen_row_spool {
    omen_vectors *vectors; /* whose input is replaced at the end */
    int fd;                /* -1: they stay in memory, and the caller takes each */
    uint32_t d;            /* of the first row; 0: none yet */
    float *rows;           /* those that are not written yet */
    size_t n, size;
    uint32_t n_row;               /* values of the row that is being read */
    uint64_t n_read;              /* bytes of the text */
    unsigned n_named;             /* columns that its first line names; 0: it does not */
    char member[OMEN_NAME_BYTES]; /* of its lines, the list that is the row; "": not known yet, or none */
} omen_row_spool;

/* A format's prepare(): reads all lines by its take_line(). */
int omen_row_spool_prepare(omen_vectors *vectors, uint32_t *d, omen_detail *reason) OMEN_MUST_CHECK;

/* Starts rows that stay in memory. Returns OMEN_OK or OMEN_ERR_INPUT. */
int omen_row_spool_init(omen_row_spool *spool, omen_vectors *vectors, omen_detail *reason) OMEN_MUST_CHECK;

/* Starts; refuses where the input has to be kept. omen_row_spool_finish() is due even after a failure. Returns OMEN_OK,
 * OMEN_ERR_INPUT, OMEN_ERR_ARGUMENT, OMEN_ERR_IO or OMEN_ERR_MEMORY, with a reason that names the file only if the
 * temporary cannot be made. */
int omen_row_spool_start(omen_row_spool *spool, omen_vectors *vectors, omen_detail *reason) OMEN_MUST_CHECK;

/* Refuses a next line that is longer than OMEN_LINE_BYTES_MOST without reading beyond: that of a file of other things
 * may be all of it. Returns OMEN_OK or OMEN_ERR_INPUT. */
int omen_row_spool_check_line(const omen_lines *lines, omen_detail *reason) OMEN_MUST_CHECK;

/* A number of the row that is being read: an integer if is_integer, else real. Returns OMEN_OK,
 * OMEN_ERR_INPUT or OMEN_ERR_MEMORY. */
int omen_row_spool_put(omen_row_spool *spool, bool is_integer, int64_t integer, double real, uint64_t line,
                       omen_detail *reason) OMEN_MUST_CHECK;

/* Ends the row, which has to be as long as the first. Returns OMEN_OK, OMEN_ERR_INPUT, OMEN_ERR_IO or
 * OMEN_ERR_INTERRUPTED. */
int omen_row_spool_end_row(omen_row_spool *spool, uint64_t line, omen_detail *reason) OMEN_MUST_CHECK;

/* Ends the rows: they take the text's place, if status is OMEN_OK; *d gets the dimension. Frees. Returns status, or
 * what else fails. */
int omen_row_spool_finish(omen_row_spool *spool, int status, uint32_t *d, omen_detail *reason) OMEN_MUST_CHECK;

#endif
