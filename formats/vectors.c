/* Vector files: the table of formats, the choice of one, rows as a source.
 *
 * The input is always a mapped file; a stream is first copied to an unlinked temporary one. A format's open function
 * turns the header into an omen_layout whose every byte lies inside the map, so that reading rows needs no more bounds
 * checks and holds no state: several threads may read at once.
 */
#include "formats/vectors_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

/* ivecs is not probed: its structure is that of fvecs, which is far more common for vectors. */
static const omen_kind kinds[] = {
    {"fvecs", {".fvecs"}, OMEN_VALUE_F4, omen_vecs_open, omen_vecs_probe},
    {"bvecs", {".bvecs"}, OMEN_VALUE_U1, omen_vecs_open, omen_vecs_probe},
    {"ivecs", {".ivecs"}, OMEN_VALUE_I4, omen_vecs_open, NULL},
    {"npy", {".npy"}, OMEN_VALUE_F4, omen_npy_open, omen_npy_probe},
    {"fbin", {".fbin"}, OMEN_VALUE_F4, omen_bin_open, omen_bin_probe},
    {"u8bin", {".u8bin"}, OMEN_VALUE_U1, omen_bin_open, omen_bin_probe},
    {"i8bin", {".i8bin"}, OMEN_VALUE_I1, omen_bin_open, omen_bin_probe},
    {"idx", {".idx", "idx1-ubyte", "idx2-ubyte", "idx3-ubyte", "idx4-ubyte"}, 0, omen_idx_open, omen_idx_probe},
    {"raw", {".raw", ".f32"}, OMEN_VALUE_F4, omen_raw_open, NULL},
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const struct compression {
    const char *magic;
    size_t n_magic;
    const char *suffix, *tool;
} compressions[] = {
    {"\x1f\x8b\x08", 3, ".gz", "zcat"},
    {"\x28\xb5\x2f\xfd", 4, ".zst", "zstdcat"},
    {"\xfd"
     "7zXZ\0",
     6, ".xz", "xzcat"},
};
#define N_COMPRESSIONS (sizeof(compressions) / sizeof(compressions[0]))

const char *omen_vectors_formats(void)
{
    return "fvecs, bvecs, ivecs, npy, fbin, u8bin, i8bin, idx, raw";
}

/* ---- rows -------------------------------------------------------------- */

int omen_layout_check(const omen_input *input, uint64_t d, omen_layout *layout, omen_detail *reason)
{
    uint64_t n = layout->n_rows, row_bytes, end;
    if (n == 0)
        return omen_fail(reason, OMEN_ERR_INPUT, "there are no rows: the header says 0 x %" PRIu64, d);
    if (d == 0)
        return omen_fail(reason, OMEN_ERR_INPUT, "the rows have no values: the header says %" PRIu64 " x 0", n);
    if (d > OMEN_MAX_DIM) {
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "the header says %" PRIu64 " x %" PRIu64 ", and a row may have at most %u dimensions", n, d,
                         OMEN_MAX_DIM);
    }
    layout->d = (uint32_t)d;
    row_bytes = d * omen_value_bytes(layout->value);
    if (__builtin_mul_overflow(n, row_bytes, &end) || __builtin_add_overflow(end, layout->offset, &end)) {
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "the header says %" PRIu64 " x %" PRIu64 " values, more than a file can hold", n, d);
    }
    if (input->n_bytes > end) {
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "the header says %" PRIu64 " x %" PRIu64 " (%" PRIu64 " bytes), but the file has %" PRIu64
                         " bytes",
                         n, d, end, input->n_bytes);
    }
    if (input->n_bytes < end) {
        char where[48] = "";
        if (!layout->by_columns && input->n_bytes >= layout->offset) {
            snprintf(where, sizeof(where), " and is cut short at row %" PRIu64,
                     (input->n_bytes - layout->offset) / row_bytes);
        } else {
            snprintf(where, sizeof(where), " and is cut short");
        }
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "the header says %" PRIu64 " x %" PRIu64 " (%" PRIu64 " bytes), but the file has %" PRIu64
                         " bytes%s",
                         n, d, end, input->n_bytes, where);
    }
    layout->stride = layout->by_columns ? n * omen_value_bytes(layout->value) : row_bytes;
    return OMEN_OK;
}

static inline uint32_t float_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

int omen_values_fault(const omen_vectors *vectors, uint64_t first, const float *rows, omen_detail *why)
{
    uint64_t i = 0;
    while (omen_values_finite(rows + i, 1))
        i++;
    bool nan = (float_bits(rows[i]) & 0x007fffffu) != 0;
    return omen_fail(why, OMEN_ERR_INPUT, "%s: row %" PRIu64 " has %s in column %" PRIu64, vectors->input.label,
                     first + i / vectors->layout.d, nan ? "a NaN" : "an infinite value", i % vectors->layout.d);
}

/* Values converted before they are checked: few enough to be in the first-level cache still. */
#define RUN_VALUES 4096

static int row_header_check(const omen_vectors *vectors, const unsigned char *row, uint64_t number, omen_detail *why)
{
    if (!vectors->layout.row_headers || omen_load_le32(row - 4) == vectors->layout.d)
        return OMEN_OK;
    return omen_fail(why, OMEN_ERR_INPUT, "%s: row %" PRIu64 " has dimension %d, the first row has %u",
                     vectors->input.label, number, (int)omen_load_le32(row - 4), vectors->layout.d);
}

static int rows_read(const omen_vectors *vectors, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    const omen_layout *layout = &vectors->layout;
    const unsigned char *from = vectors->input.bytes + layout->offset + first * layout->stride;
    bool floats = layout->value >= OMEN_VALUE_F2;
    uint64_t d = layout->d;
    uint64_t run = !layout->row_headers && d < RUN_VALUES ? RUN_VALUES / d : 1;

    for (uint64_t done = 0; done < n; done += run) {
        if (run > n - done)
            run = n - done;
        int rc = row_header_check(vectors, from, first + done, why);
        if (rc != OMEN_OK)
            return rc;
        omen_values_convert(layout->value, layout->big_endian, from, run * d, out);
        if (floats && !omen_values_finite(out, run * d))
            return omen_values_fault(vectors, first + done, out, why);
        from += run * layout->stride;
        out += run * d;
    }
    return OMEN_OK;
}

static int range_check(const omen_vectors *vectors, uint64_t first, uint64_t n, omen_detail *why)
{
    uint64_t n_rows = vectors->layout.n_rows;
    if (first <= n_rows && n <= n_rows - first)
        return OMEN_OK;
    return omen_fail(why, OMEN_ERR_ARGUMENT, "%s: rows %" PRIu64 " + %" PRIu64 " asked for, the file has %" PRIu64,
                     vectors->input.label, first, n, n_rows);
}

static int source_read(void *self, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    const omen_vectors *vectors = self;
    int rc = range_check(vectors, first, n, why);
    if (rc != OMEN_OK)
        return rc;
    return vectors->layout.by_columns ? omen_columns_read(vectors, first, n, out, why)
                                      : rows_read(vectors, first, n, out, why);
}

static int source_read_bytes(void *self, uint64_t first, uint64_t n, uint8_t *out, omen_detail *why)
{
    const omen_vectors *vectors = self;
    const omen_layout *layout = &vectors->layout;
    int rc = range_check(vectors, first, n, why);
    for (uint64_t i = first; i < first + n && rc == OMEN_OK; i++) {
        const unsigned char *row = vectors->input.bytes + layout->offset + i * layout->stride;
        rc = row_header_check(vectors, row, i, why);
        memcpy(out + (i - first) * layout->d, row, layout->d);
    }
    return rc;
}

/* The pages inside the range leave the process; the kernel still has them cached. */
static void source_release(void *self, uint64_t first, uint64_t n)
{
    const omen_vectors *vectors = self;
    const omen_layout *layout = &vectors->layout;
    if (layout->by_columns)
        return;
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    const uint64_t from = (layout->offset + first * layout->stride + page - 1) / page * page;
    const uint64_t to = (layout->offset + (first + n) * layout->stride) / page * page;
    if (from < to)
        madvise((void *)(vectors->input.bytes + from), to - from, MADV_DONTNEED);
}

omen_source omen_vectors_source(omen_vectors *vectors)
{
    const omen_layout *layout = &vectors->layout;
    return (omen_source){
        .self = vectors,
        .n_rows = vectors->layout.n_rows,
        .d = vectors->layout.d,
        .element_bytes = omen_value_bytes(vectors->layout.value),
        .n_bytes = vectors->input.n_bytes,
        .stamp = vectors->input.stamp,
        .read = source_read,
        .read_bytes = layout->value == OMEN_VALUE_U1 && !layout->by_columns ? source_read_bytes : NULL,
        .release = source_release,
    };
}

const char *omen_vectors_format(const omen_vectors *vectors)
{
    return vectors->kind->name;
}

/* ---- the choice of a format -------------------------------------------- */

static const omen_kind *kind_by_name(const char *name)
{
    for (size_t i = 0; i < N_KINDS; i++) {
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    }
    return NULL;
}

static bool ends_with(const char *text, size_t length, const char *suffix)
{
    size_t n = strlen(suffix);
    return length > n && strncasecmp(text + length - n, suffix, n) == 0;
}

/* By the extension of the first length characters of path. */
static const omen_kind *kind_by_suffix(const char *path, size_t length)
{
    for (size_t i = 0; i < N_KINDS; i++) {
        for (size_t j = 0; j < sizeof(kinds[i].suffixes) / sizeof(kinds[i].suffixes[0]); j++) {
            if (kinds[i].suffixes[j] != NULL && ends_with(path, length, kinds[i].suffixes[j]))
                return &kinds[i];
        }
    }
    return NULL;
}

const char *omen_vectors_named(const char *path)
{
    const omen_kind *kind = kind_by_suffix(path, strlen(path));

    return kind != NULL ? kind->name : NULL;
}

/* Finds the formats other than except that the content fits. Returns their number, the last in *found, and all names
 * separated by " or " in names. */
static int kinds_by_content(const omen_input *input, const omen_kind *except, const omen_kind **found, char names[80])
{
    int n_found = 0;
    names[0] = '\0';
    for (size_t i = 0; i < N_KINDS; i++) {
        if (&kinds[i] == except || kinds[i].probe == NULL || !kinds[i].probe(input, &kinds[i]))
            continue;
        size_t used = strlen(names);
        snprintf(names + used, 80 - used, "%s%s", n_found ? " or " : "", kinds[i].name);
        *found = &kinds[i];
        n_found++;
    }
    return n_found;
}

static const struct compression *compression_of(const omen_input *input)
{
    for (size_t i = 0; i < N_COMPRESSIONS; i++) {
        if (input->n_bytes >= compressions[i].n_magic &&
            memcmp(input->bytes, compressions[i].magic, compressions[i].n_magic) == 0)
            return &compressions[i];
    }
    return NULL;
}

static int fail_compressed(const omen_input *input, const struct compression *compression, const omen_kind *kind,
                           const char *path, omen_detail *why)
{
    size_t length = strlen(path);
    bool standard = strcmp(path, "-") == 0;
    if (ends_with(path, length, compression->suffix))
        length -= strlen(compression->suffix);
    if (kind == NULL)
        kind = kind_by_suffix(path, length);
    const char *format = kind ? kind->name : "FORMAT";
    if (standard) {
        return omen_fail(why, OMEN_ERR_INPUT, "standard input is compressed: use ... | %s | omendb ... --format %s -",
                         compression->tool, format);
    }
    /* The label is the path in quotes, which the shell needs only around some characters. */
    const char *shown = input->label;
    size_t n_shown = strlen(shown);
    if (strspn(path, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./+-") == strlen(path)) {
        shown++;
        n_shown -= 2;
    }
    return omen_fail(why, OMEN_ERR_INPUT, "%s is compressed: use %s %.*s | omendb ... --format %s -", input->label,
                     compression->tool, (int)n_shown, shown, format);
}

/* Sets *kind when neither the caller nor the extension tells: exactly one format fits the content. */
static int choose_by_content(const omen_input *input, const char *path, const omen_kind **kind, omen_detail *why)
{
    const struct compression *compression = compression_of(input);
    char names[80];
    int n_found = kinds_by_content(input, NULL, kind, names);
    if (n_found == 1)
        return OMEN_OK;
    if (n_found > 1)
        return omen_fail(why, OMEN_ERR_INPUT, "%s may be %s: choose with --format", input->label, names);
    if (compression != NULL)
        return fail_compressed(input, compression, NULL, path, why);
    if (strcmp(path, "-") == 0) {
        return omen_fail(why, OMEN_ERR_ARGUMENT, "standard input needs its format named with --format: %s",
                         omen_vectors_formats());
    }
    return omen_fail(why, OMEN_ERR_INPUT, "cannot tell the format of %s: name it with --format: %s", input->label,
                     omen_vectors_formats());
}

static int content_open(omen_vectors *vectors, const omen_kind *kind, const char *path,
                        const omen_vectors_options *options, omen_detail *why)
{
    uint32_t d = options->d;
    const omen_input *input = &vectors->input;
    const struct compression *compression = compression_of(input);
    const omen_kind *other = NULL;
    bool insisted = kind != NULL;
    char names[80];
    omen_detail reason = {""};
    int rc;

    if (omen_input_is_container(input))
        return omen_fail(why, OMEN_ERR_INPUT, "%s is an omendb index, not a file of vectors", input->label);
    if (kind == NULL && strcmp(path, "-") != 0)
        kind = kind_by_suffix(path, strlen(path));
    if (kind == NULL) {
        rc = choose_by_content(input, path, &kind, why);
        if (rc != OMEN_OK)
            return rc;
    }
    vectors->kind = kind;
    if (kind->open == omen_raw_open && d == 0)
        d = options->raw_d;

    /* Four bytes alone may be the start of honest data: only a second sign makes the input compressed. */
    if (compression != NULL && ends_with(path, strlen(path), compression->suffix))
        return fail_compressed(input, compression, kind, path, why);
    /* Raw values have no structure to contradict, so its extension must not hide a format that has. */
    if (kind->open == omen_raw_open && !insisted) {
        if (compression != NULL)
            return fail_compressed(input, compression, kind, path, why);
        if (kinds_by_content(input, kind, &other, names) > 0) {
            return omen_fail(why, OMEN_ERR_INPUT,
                             "%s is named like raw values but looks like %s (try --format %s, or --format raw to "
                             "insist)",
                             input->label, names, other->name);
        }
    }
    rc = kind->open(input, kind, d, &vectors->layout, &reason);
    if (rc == OMEN_ERR_INPUT && compression != NULL)
        return fail_compressed(input, compression, kind, path, why);
    if (rc == OMEN_ERR_INPUT && kinds_by_content(input, kind, &other, names) > 0) {
        return omen_fail(why, rc, "%s is not %s: %s; it looks like %s (try --format %s)", input->label, kind->name,
                         reason.text, names, other->name);
    }
    if (rc != OMEN_OK)
        return omen_fail(why, rc, "%s: %s", input->label, reason.text);
    if (d != 0 && d != vectors->layout.d) {
        return omen_fail(why, OMEN_ERR_ARGUMENT, "%s has %u dimensions, not %u as asked for", input->label,
                         vectors->layout.d, d);
    }
    return OMEN_OK;
}

/* What is asked of a compressed file, whose name without .omz tells the format. */
typedef struct {
    const omen_vectors_options *options;
    const char *path, *label;
} expectation;

/* An omen_head_fn: opens the file as it will be opened when it is whole. Rows of fvecs and the like, which are told by
 * looks at some of them, may be in what is missing. */
static int check_head(void *context, int fd, omen_detail *why)
{
    const expectation *e = context;
    omen_vectors vectors = {.kind = NULL};
    char *name = omen_input_name_inside(e->path);
    if (name == NULL)
        return omen_fail(why, OMEN_ERR_MEMORY, "no memory to open the vectors");
    snprintf(vectors.input.label, sizeof(vectors.input.label), "%s", e->label);
    vectors.input.fd = fd;
    int rc = omen_input_map(&vectors.input, why);
    bool may_be = false;
    if (rc == OMEN_OK && e->options->format == NULL && kind_by_suffix(name, strlen(name)) == NULL) {
        for (size_t i = 0; i < N_KINDS; i++)
            may_be |= kinds[i].open == omen_vecs_open &&
                      omen_vecs_open(&vectors.input, &kinds[i], 0, &vectors.layout, NULL) == OMEN_OK;
    }
    if (rc == OMEN_OK && !may_be)
        rc = omen_vectors_recognize(&vectors, name, e->options, why);
    vectors.input.fd = -1; /* the caller's */
    omen_input_close(&vectors.input);
    free(name);
    return rc;
}

int omen_vectors_recognize(omen_vectors *vectors, const char *path, const omen_vectors_options *options,
                           omen_detail *why)
{
    const omen_kind *kind = NULL;

    if (options->format != NULL) {
        kind = kind_by_name(options->format);
        if (kind == NULL) {
            return omen_fail(why, OMEN_ERR_ARGUMENT, "unknown format \"%.40s\": the formats are %s", options->format,
                             omen_vectors_formats());
        }
    }
    if (options->d > OMEN_MAX_DIM) {
        return omen_fail(why, OMEN_ERR_ARGUMENT, "%u dimensions asked for, at most %u are possible", options->d,
                         OMEN_MAX_DIM);
    }
    return content_open(vectors, kind, path, options, why);
}

int omen_vectors_open(omen_vectors **out, const char *path, const omen_vectors_options *options, omen_detail *why)
{
    static const omen_vectors_options none;
    char *name = NULL;

    *out = NULL;
    options = options != NULL ? options : &none;
    omen_vectors *vectors = calloc(1, sizeof(*vectors));
    if (vectors == NULL)
        return omen_fail(why, OMEN_ERR_MEMORY, "no memory to open the vectors");
    expectation e = {.options = options, .path = path, .label = vectors->input.label};
    int rc = omen_input_open(&vectors->input, path, why);
    if (rc == OMEN_OK && omen_input_is_container(&vectors->input))
        rc = omen_input_unpack(&vectors->input, path, check_head, &e, &name, why);
    if (rc == OMEN_OK)
        rc = omen_vectors_recognize(vectors, name != NULL ? name : path, options, why);
    free(name);
    if (rc != OMEN_OK) {
        omen_vectors_close(vectors);
        return rc;
    }
    *out = vectors;
    return OMEN_OK;
}

const struct stat *omen_vectors_status(const omen_vectors *vectors)
{
    return &vectors->input.status;
}

void omen_vectors_close(omen_vectors *vectors)
{
    if (vectors == NULL)
        return;
    omen_input_close(&vectors->input);
    free(vectors);
}
