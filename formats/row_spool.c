/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that are read one by one, on their way to a temporary file. */
#include "formats/row_spool.h"
#include "formats/file.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRITE_VALUES ((size_t)1 << 18) /* written at once, about */

int omen_row_spool_init(omen_row_spool *spool, omen_vectors *vectors, omen_detail *reason)
{
    *spool = (omen_row_spool){.vectors = vectors, .fd = -1};
    if (vectors->member && strlen(vectors->member) >= sizeof spool->member)
        return omen_fail(reason, OMEN_ERR_INPUT, "no member has so long a name");
    if (vectors->member)
        strcpy(spool->member, vectors->member);
    return OMEN_OK;
}

int omen_row_spool_start(omen_row_spool *spool, omen_vectors *vectors, omen_detail *reason)
{
    const int status = omen_row_spool_init(spool, vectors, reason);
    if (status != OMEN_OK)
        return status;
    if (vectors->keeps_input)
        return omen_fail(reason, OMEN_ERR_INPUT, "it is text, which gzip or zstd compress better");
    return omen_spool_open(vectors->input.label, &spool->fd, reason);
}

int omen_row_spool_check_line(const omen_lines *lines, omen_detail *reason)
{
    const size_t n_left = (size_t)(lines->end - lines->at);
    if (n_left <= OMEN_LINE_BYTES_MOST || memchr(lines->at, '\n', OMEN_LINE_BYTES_MOST))
        return OMEN_OK;
    return omen_fail(reason, OMEN_ERR_INPUT, "line %" PRIu64 " is longer than %u MiB", lines->number + 1,
                     OMEN_LINE_BYTES_MOST >> 20);
}

static int make_room(omen_row_spool *spool, omen_detail *reason)
{
    const size_t size = spool->size > 0 ? 2 * spool->size : WRITE_VALUES;
    float *grown = realloc(spool->rows, size * sizeof *grown);
    if (!grown)
        return omen_fail(reason, OMEN_ERR_MEMORY, "out of memory for its rows");
    spool->rows = grown;
    spool->size = size;
    return OMEN_OK;
}

int omen_row_spool_put(omen_row_spool *spool, bool is_integer, int64_t integer, double real, uint64_t line,
                       omen_detail *reason)
{
    const float value = is_integer ? (float)integer : (float)real;
    const uint32_t number = ++spool->n_row;
    if (number > OMEN_MAX_DIM)
        return omen_fail(reason, OMEN_ERR_INPUT, "line %" PRIu64 " has more than %u numbers, the most of a row", line,
                         OMEN_MAX_DIM);
    if (is_integer && !omen_integer_is_exact(integer < 0 ? 0 - (uint64_t)integer : (uint64_t)integer))
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "line %" PRIu64 ", number %u: float32 would round the integer %" PRId64
                         "; if it is part of a vector, write it with a point",
                         line, number, integer);
    if (!isfinite(value))
        return omen_fail(reason, OMEN_ERR_INPUT, "line %" PRIu64 ", number %u: %.9g is beyond float32", line, number,
                         real);
    if (spool->n == spool->size) {
        const int status = make_room(spool, reason);
        if (status != OMEN_OK)
            return status;
    }
    spool->rows[spool->n++] = value;
    return OMEN_OK;
}

static int write_rows(omen_row_spool *spool, omen_detail *reason)
{
    const int failed = omen_write_all(spool->fd, spool->rows, spool->n * sizeof *spool->rows);
    spool->n = 0;
    return failed ? omen_fail(reason, OMEN_ERR_IO, "cannot write the temporary copy of %s: %s",
                              spool->vectors->input.label, strerror(errno))
                  : OMEN_OK;
}

int omen_row_spool_end_row(omen_row_spool *spool, uint64_t line, omen_detail *reason)
{
    const omen_vectors *vectors = spool->vectors;
    const uint32_t n = spool->n_row;
    spool->n_row = 0;
    if (spool->d == 0)
        spool->d = n;
    if (n != spool->d)
        return omen_fail(reason, OMEN_ERR_INPUT, "line %" PRIu64 " has %u number%s, the first row has %u", line, n,
                         omen_plural(n), spool->d);
    if (n == 0)
        return omen_fail(reason, OMEN_ERR_INPUT, "line %" PRIu64 " has no numbers", line);
    if (spool->fd < 0 || spool->n < WRITE_VALUES)
        return OMEN_OK;
    const int status = write_rows(spool, reason);
    if (status == OMEN_OK && vectors->progress &&
        vectors->progress(vectors->context, "convert", spool->n_read, vectors->input.n_bytes) != 0)
        return omen_fail(reason, OMEN_ERR_INTERRUPTED, "interrupted");
    return status;
}

int omen_row_spool_finish(omen_row_spool *spool, int status, uint32_t *d, omen_detail *reason)
{
    if (status == OMEN_OK && spool->d == 0)
        status = omen_fail(reason, OMEN_ERR_INPUT, "there are no rows");
    if (status == OMEN_OK)
        status = write_rows(spool, reason);
    free(spool->rows);
    spool->rows = NULL;
    if (status != OMEN_OK) {
        if (spool->fd >= 0)
            close(spool->fd);
        return status;
    }
    *d = spool->d;
    return omen_input_replace(&spool->vectors->input, spool->fd, false, reason);
}

int omen_row_spool_prepare(omen_vectors *vectors, uint32_t *d, omen_detail *reason)
{
    omen_lines lines = omen_lines_of(vectors->input.bytes, vectors->input.n_bytes);
    const char *line, *first = lines.at;
    size_t n_bytes;
    omen_row_spool spool;
    int status = omen_row_spool_start(&spool, vectors, reason);
    while (status == OMEN_OK && (status = omen_row_spool_check_line(&lines, reason)) == OMEN_OK &&
           omen_lines_next(&lines, &line, &n_bytes)) {
        if (n_bytes == 0 && omen_lines_are_over(lines))
            break;
        spool.n_read = (uint64_t)(lines.at - first);
        status = vectors->format->take_line(&spool, line, n_bytes, lines.number, reason);
    }
    return omen_row_spool_finish(&spool, status, d, reason);
}
