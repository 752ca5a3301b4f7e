/* Writes float32 rows as fvecs, npy, fbin or raw. */
#include "formats/rows.h"
#include "formats/container_format.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CHUNK_VALUES (1u << 18)
#define NPY_ALIGN    64u

static const char *const names[] = {"fvecs", "npy", "fbin", "raw"};
static const char *const suffixes[][2] = {{".fvecs", NULL}, {".npy", NULL}, {".fbin", NULL}, {".raw", ".f32"}};

const char *omen_rows_formats(void)
{
    return "fvecs, npy, fbin, raw";
}

const char *omen_rows_format(const char *path)
{
    const size_t length = strlen(path);

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        for (size_t j = 0; j < 2 && suffixes[i][j] != NULL; j++) {
            const size_t n = strlen(suffixes[i][j]);
            if (length > n && strcasecmp(path + length - n, suffixes[i][j]) == 0) {
                return names[i];
            }
        }
    }
    return NULL;
}

static bool write_header(FILE *stream, const char *format, const omen_source *source)
{
    if (strcmp(format, "fbin") == 0) {
        uint8_t header[8];
        container_store_u32(header, (uint32_t)source->n_rows);
        container_store_u32(header + 4, source->d);
        return fwrite(header, 1, sizeof header, stream) == sizeof header;
    }
    if (strcmp(format, "npy") == 0) {
        char text[2 * NPY_ALIGN + 1] = "";
        const uint8_t magic[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, sizeof text - 1 - 10, 0};
        snprintf(text, sizeof text - 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (%llu, %u), }",
                 (unsigned long long)source->n_rows, source->d);
        memset(text + strlen(text), ' ', sizeof text - 1 - 10 - strlen(text));
        text[sizeof text - 1 - 11] = '\n';
        return fwrite(magic, 1, sizeof magic, stream) == sizeof magic &&
               fwrite(text, 1, sizeof text - 1 - 10, stream) == sizeof text - 1 - 10;
    }
    return true;
}

int omen_rows_write(FILE *stream, const char *format, const omen_source *source, omen_progress_fn progress,
                    void *context, omen_detail *why)
{
    const uint64_t d = source->d, at_once = CHUNK_VALUES / d > 0 ? CHUNK_VALUES / d : 1;
    const bool has_row_headers = strcmp(format, "fvecs") == 0;
    bool known = false;
    int rc = OMEN_OK;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        known = known || strcmp(format, names[i]) == 0;
    }
    if (!known) {
        return omen_fail(why, OMEN_ERR_ARGUMENT, "unknown format \"%.40s\": rows are written as %s", format,
                         omen_rows_formats());
    }
    float *rows = malloc(at_once * d * sizeof *rows);
    if (rows == NULL) {
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for rows to write");
    }
    bool failed = !write_header(stream, format, source);
    for (uint64_t first = 0; first < source->n_rows && !failed && rc == OMEN_OK; first += at_once) {
        const uint64_t n = source->n_rows - first < at_once ? source->n_rows - first : at_once;
        rc = source->read(source->self, first, n, rows, why);
        for (uint64_t i = 0; i < n && rc == OMEN_OK && has_row_headers && !failed; i++) {
            const int32_t header = (int32_t)d;
            failed =
                fwrite(&header, sizeof header, 1, stream) != 1 || fwrite(rows + i * d, sizeof *rows, d, stream) != d;
        }
        if (rc == OMEN_OK && !has_row_headers) {
            failed = fwrite(rows, sizeof *rows, n * d, stream) != n * d;
        }
        if (rc == OMEN_OK && progress != NULL && progress(context, "reconstruct", first + n, source->n_rows) != 0) {
            rc = omen_fail(why, OMEN_ERR_INTERRUPTED, "interrupted");
        }
    }
    free(rows);
    return failed && rc == OMEN_OK ? omen_fail(why, OMEN_ERR_IO, "cannot write rows: %s", strerror(errno)) : rc;
}
