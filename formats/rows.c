/* SPDX-License-Identifier: Apache-2.0 */
/* Writes float32 rows behind a header: what all formats that can be written share. */
#include "formats/rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_VALUES (1u << 18) /* of four rows at least: d is OMEN_MAX_DIM at most */

int omen_rows_write(FILE *stream, const void *header, size_t n_header_bytes, bool has_row_headers,
                    const omen_source *source, omen_progress_fn progress, void *context, omen_detail *why)
{
    const uint64_t d = source->d, at_once = CHUNK_VALUES / d;
    int status = OMEN_OK;

    float *rows = malloc(at_once * d * sizeof *rows);
    if (!rows)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for rows to write");
    bool failed = n_header_bytes > 0 && fwrite(header, 1, n_header_bytes, stream) != n_header_bytes;
    for (uint64_t first = 0; first < source->n_rows && !failed && status == OMEN_OK; first += at_once) {
        const uint64_t n = source->n_rows - first < at_once ? source->n_rows - first : at_once;
        status = source->read(source->self, first, n, rows, why);
        for (uint64_t i = 0; i < n && status == OMEN_OK && has_row_headers && !failed; i++) {
            const int32_t row_header = (int32_t)d;
            failed = fwrite(&row_header, sizeof row_header, 1, stream) != 1 ||
                     fwrite(rows + i * d, sizeof *rows, d, stream) != d;
        }
        if (status == OMEN_OK && !has_row_headers)
            failed = fwrite(rows, sizeof *rows, n * d, stream) != n * d;
        if (status == OMEN_OK && progress && progress(context, "reconstruct", first + n, source->n_rows) != 0)
            status = omen_fail(why, OMEN_ERR_INTERRUPTED, "interrupted");
    }
    free(rows);
    return failed && status == OMEN_OK ? omen_fail(why, OMEN_ERR_IO, "cannot write rows: %s", strerror(errno)) : status;
}
