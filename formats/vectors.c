/* SPDX-License-Identifier: Apache-2.0 */
/* Vector files: the table of formats, the choice of one, rows as a source.
 *
 * The input is always a mapped file; a stream is first copied to an unlinked temporary one. A format's open function
 * checks the shape and keeps what it needs in a state of its own; its read function may be called by several threads.
 */
#include "formats/foreign.h"
#include "formats/row_spool.h"
#include "formats/unpack.h"
#include "formats/vectors_internal.h"

#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

/* Of rows at fixed places in the file (vectors/layout.c). */
#define LAYOUT                                                                                                         \
    .read = omen_layout_read, .read_bytes = omen_layout_read_bytes, .release = omen_layout_release,                    \
    .close = omen_layout_close

/* ivecs, i32bin and u32bin are not probed: their structure is that of fvecs and fbin, which are far more common for
 * vectors. */
static const omen_vector_format formats[] = {
    {
        .name = "fvecs",
        .suffixes = {".fvecs"},
        .value = OMEN_VALUE_F4,
        .is_told_by_rows = true,
        .probe = omen_vecs_probe,
        .head = omen_vecs_head,
        .open = omen_vecs_open,
        LAYOUT,
        .write = omen_vecs_write,
    },
    {
        .name = "bvecs",
        .suffixes = {".bvecs"},
        .value = OMEN_VALUE_U1,
        .is_told_by_rows = true,
        .probe = omen_vecs_probe,
        .head = omen_vecs_head,
        .open = omen_vecs_open,
        LAYOUT,
    },
    {
        .name = "ivecs",
        .suffixes = {".ivecs"},
        .value = OMEN_VALUE_I4,
        .is_told_by_rows = true,
        .head = omen_vecs_head,
        .open = omen_vecs_open,
        LAYOUT,
    },
    {
        .name = "hvecs",
        .suffixes = {".hvecs"},
        .value = OMEN_VALUE_F2,
        .is_told_by_rows = true,
        .probe = omen_vecs_probe,
        .head = omen_vecs_head,
        .open = omen_vecs_open,
        LAYOUT,
    },
    {
        .name = "npy",
        .suffixes = {".npy"},
        .value = OMEN_VALUE_F4,
        .probe = omen_npy_probe,
        .head = omen_npy_head,
        .open = omen_npy_open,
        .read = omen_npy_read,
        .read_bytes = omen_layout_read_bytes,
        .release = omen_layout_release,
        .close = omen_layout_close,
        .write = omen_npy_write,
    },
    {
        .name = "npz",
        .suffixes = {".npz"},
        .value = OMEN_VALUE_F4,
        .has_members = true,
        .probe = omen_npz_probe,
        .prepare = omen_npz_prepare,
        .open = omen_npy_open,
        .read = omen_npy_read,
        .read_bytes = omen_layout_read_bytes,
        .release = omen_layout_release,
        .close = omen_layout_close,
    },
    {
        .name = "fbin",
        .suffixes = {".fbin"},
        .value = OMEN_VALUE_F4,
        .probe = omen_bin_probe,
        .head = omen_bin_head,
        .open = omen_bin_open,
        LAYOUT,
        .write = omen_bin_write,
    },
    {
        .name = "u8bin",
        .suffixes = {".u8bin"},
        .value = OMEN_VALUE_U1,
        .probe = omen_bin_probe,
        .head = omen_bin_head,
        .open = omen_bin_open,
        LAYOUT,
    },
    {
        .name = "i8bin",
        .suffixes = {".i8bin"},
        .value = OMEN_VALUE_I1,
        .probe = omen_bin_probe,
        .head = omen_bin_head,
        .open = omen_bin_open,
        LAYOUT,
    },
    {
        .name = "i32bin",
        .suffixes = {".i32bin", ".ibin"}, /* the latter are row numbers, which must not pass for fbin */
        .value = OMEN_VALUE_I4,
        .head = omen_bin_head,
        .open = omen_bin_open,
        LAYOUT,
    },
    {
        .name = "u32bin",
        .suffixes = {".u32bin"},
        .value = OMEN_VALUE_U4,
        .head = omen_bin_head,
        .open = omen_bin_open,
        LAYOUT,
    },
    {
        .name = "idx",
        .suffixes = {".idx", "idx1-ubyte", "idx2-ubyte", "idx3-ubyte", "idx4-ubyte"},
        .value = OMEN_VALUE_U1,
        .probe = omen_idx_probe,
        .open = omen_idx_open,
        LAYOUT,
    },
    {
        .name = "safetensors",
        .suffixes = {".safetensors"},
        .value = OMEN_VALUE_F4,
        .has_members = true,
        .probe = omen_safetensors_probe,
        .open = omen_safetensors_open,
        LAYOUT,
    },
    {
        .name = "hdf5",
        .suffixes = {".hdf5", ".h5", ".hdf"},
        .value = OMEN_VALUE_F4,
        .has_members = true,
        .probe = omen_hdf5_probe,
        .prepare = omen_hdf5_prepare,
        .open = omen_hdf5_rows_open,
        LAYOUT,
    },
    {
        .name = "csv",
        .suffixes = {".csv"},
        .value = OMEN_VALUE_F4,
        .probe = omen_text_probe,
        .prepare = omen_row_spool_prepare,
        .take_line = omen_text_take_line,
        .open = omen_raw_open,
        LAYOUT,
    },
    {
        .name = "tsv",
        .suffixes = {".tsv", ".tab"},
        .value = OMEN_VALUE_F4,
        .probe = omen_text_probe,
        .prepare = omen_row_spool_prepare,
        .take_line = omen_text_take_line,
        .open = omen_raw_open,
        LAYOUT,
    },
    {
        .name = "jsonl",
        .suffixes = {".jsonl", ".ndjson"},
        .value = OMEN_VALUE_F4,
        .has_members = true,
        .probe = omen_jsonl_probe,
        .prepare = omen_row_spool_prepare,
        .take_line = omen_jsonl_take_line,
        .open = omen_raw_open,
        LAYOUT,
    },
    {
        .name = "raw",
        .suffixes = {".raw", ".f32"},
        .value = OMEN_VALUE_F4,
        .is_bare = true,
        .head = omen_raw_head,
        .open = omen_raw_open,
        LAYOUT,
        .write = omen_raw_write,
    },
};
#define N_FORMATS   (sizeof(formats) / sizeof(formats[0]))
#define NAMES_BYTES (N_FORMATS * 16)

/* All names and those that can be written, for help and messages. */
static char names_all[NAMES_BYTES], names_written[NAMES_BYTES];
static pthread_once_t names_once = PTHREAD_ONCE_INIT;

static void add_name(char names[NAMES_BYTES], const char *name)
{
    const size_t used = strlen(names);
    snprintf(names + used, NAMES_BYTES - used, "%s%s", used > 0 ? ", " : "", name);
}

static void set_names(void)
{
    for (size_t i = 0; i < N_FORMATS; i++) {
        add_name(names_all, formats[i].name);
        if (formats[i].write)
            add_name(names_written, formats[i].name);
    }
}

const char *omen_vectors_formats(void)
{
    pthread_once(&names_once, set_names);
    return names_all;
}

const char *omen_vectors_write_formats(void)
{
    pthread_once(&names_once, set_names);
    return names_written;
}

/* ---- rows -------------------------------------------------------------- */

static int range_check(const omen_vectors *vectors, uint64_t first, uint64_t n, omen_detail *why)
{
    uint64_t n_rows = vectors->n_rows;
    if (first <= n_rows && n <= n_rows - first)
        return OMEN_OK;
    return omen_fail(why, OMEN_ERR_ARGUMENT, "%s: rows %" PRIu64 " + %" PRIu64 " asked for, the file has %" PRIu64,
                     vectors->input.label, first, n, n_rows);
}

static int source_read(void *self, uint64_t first, uint64_t n, float *out, omen_detail *why)
{
    const omen_vectors *vectors = self;
    int status = range_check(vectors, first, n, why);
    return status == OMEN_OK ? vectors->format->read(vectors, first, n, out, why) : status;
}

static int source_read_bytes(void *self, uint64_t first, uint64_t n, uint8_t *out, omen_detail *why)
{
    const omen_vectors *vectors = self;
    int status = range_check(vectors, first, n, why);
    return status == OMEN_OK ? vectors->format->read_bytes(vectors, first, n, out, why) : status;
}

static void source_release(void *self, uint64_t first, uint64_t n)
{
    const omen_vectors *vectors = self;
    vectors->format->release(vectors, first, n);
}

omen_source omen_vectors_source(omen_vectors *vectors)
{
    return (omen_source){
        .self = vectors,
        .n_rows = vectors->n_rows,
        .d = vectors->d,
        .element_bytes = omen_value_bytes(vectors->value),
        .n_bytes = vectors->input.n_bytes,
        .stamp = vectors->input.stamp,
        .read = source_read,
        .read_bytes = vectors->has_bytes ? source_read_bytes : NULL,
        .release = source_release,
        .name = vectors->input.label,
    };
}

const char *omen_vectors_format(const omen_vectors *vectors)
{
    return vectors->format->name;
}

/* ---- the choice of a format -------------------------------------------- */

const omen_vector_format *omen_vectors_format_by_name(const char *name)
{
    for (size_t i = 0; i < N_FORMATS; i++)
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    return NULL;
}

static bool ends_with(const char *text, size_t length, const char *suffix)
{
    size_t n = strlen(suffix);
    return length > n && strncasecmp(text + length - n, suffix, n) == 0;
}

const omen_vector_format *omen_vectors_format_by_suffix(const char *path, size_t length)
{
    for (size_t i = 0; i < N_FORMATS; i++) {
        for (size_t j = 0; j < sizeof(formats[i].suffixes) / sizeof(formats[i].suffixes[0]); j++)
            if (formats[i].suffixes[j] && ends_with(path, length, formats[i].suffixes[j]))
                return &formats[i];
    }
    return NULL;
}

size_t omen_vectors_file_bytes(const char *path)
{
    const size_t length = strlen(path);
    char file[PATH_MAX];
    if (access(path, F_OK) == 0)
        return length;
    /* the file may have colons in its name, and so may the part */
    for (const char *colon = strchr(path, ':'); colon; colon = strchr(colon + 1, ':')) {
        const size_t n = (size_t)(colon - path);
        if (n == 0 || n + sizeof "/." > sizeof file || colon[1] == '\0')
            continue;
        memcpy(file, path, n);
        file[n] = '\0';
        bool is_file = strcmp(file, "-") == 0 || access(file, F_OK) == 0;
        memcpy(file + n, "/.", sizeof "/."); /* which only directories have */
        is_file = is_file && access(file, F_OK) != 0;
        if (is_file)
            return n;
    }
    return length;
}

size_t omen_vectors_stem(const char *path)
{
    return omen_compression_stem(path);
}

const char *omen_vectors_named(const char *path)
{
    const omen_vector_format *format = omen_vectors_format_by_suffix(path, strlen(path));

    return format ? format->name : NULL;
}

int omen_vectors_formats_by_content(const omen_input *input, const omen_vector_format *except,
                                    const omen_vector_format **found, char names[80])
{
    int n_found = 0;
    names[0] = '\0';
    for (size_t i = 0; i < N_FORMATS; i++) {
        if (&formats[i] == except || !formats[i].probe || !formats[i].probe(input, &formats[i]))
            continue;
        size_t used = strlen(names);
        snprintf(names + used, 80 - used, "%s%s", n_found ? " or " : "", formats[i].name);
        *found = &formats[i];
        n_found++;
    }
    return n_found;
}

static int fail_compressed(const omen_input *input, const omen_compression *compression,
                           const omen_vector_format *format, const char *path, omen_detail *why)
{
    size_t length = strlen(path);
    if (ends_with(path, length, compression->suffix))
        length -= strlen(compression->suffix);
    if (!format)
        format = omen_vectors_format_by_suffix(path, length);
    return omen_fail(why, OMEN_ERR_INPUT, "%s is compressed: open what %s makes of it, with options.format %s",
                     input->label, compression->tool, format ? format->name : "FORMAT");
}

/* Says what a file of another program is. */
static int fail_foreign(const omen_input *input, const char *foreign, omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_INPUT, "%s is %s, which is not read: save its vectors as npy", input->label,
                     foreign);
}

/* Sets *format when neither the caller nor the extension tells: exactly one format fits the content. */
static int choose_by_content(const omen_input *input, const char *path, const omen_vector_format **format,
                             omen_detail *why)
{
    const omen_compression *compression = omen_compression_of(input->bytes, input->n_bytes);
    char names[80];
    int n_found = omen_vectors_formats_by_content(input, NULL, format, names);
    if (n_found == 1)
        return OMEN_OK;
    if (n_found > 1)
        return omen_fail(why, OMEN_ERR_INPUT, "%s may be %s: choose with options.format", input->label, names);
    if (compression)
        return fail_compressed(input, compression, NULL, path, why);
    const char *foreign = omen_foreign_name(input);
    if (foreign)
        return fail_foreign(input, foreign, why);
    if (strcmp(path, "-") == 0) {
        return omen_fail(why, OMEN_ERR_ARGUMENT, "standard input needs its format named with options.format: %s",
                         omen_vectors_formats());
    }
    return omen_fail(why, OMEN_ERR_INPUT, "cannot tell the format of %s: name it with options.format: %s", input->label,
                     omen_vectors_formats());
}

static int content_open(omen_vectors *vectors, const omen_vector_format *format, const char *path,
                        const omen_vectors_options *options, omen_detail *why)
{
    uint32_t d = options->d;
    const omen_input *input = &vectors->input;
    const omen_compression *compression = omen_compression_of(input->bytes, input->n_bytes);
    const omen_vector_format *other = NULL;
    bool insisted = format;
    char names[80];
    omen_detail reason = {""};
    int status;

    if (omen_input_is_container(input))
        return omen_fail(why, OMEN_ERR_INPUT, "%s is an omendb index, not a file of vectors", input->label);
    if (!format && strcmp(path, "-") != 0)
        format = omen_vectors_format_by_suffix(path, omen_compression_stem(path));
    if (!format) {
        status = choose_by_content(input, path, &format, why);
        if (status != OMEN_OK)
            return status;
    }
    vectors->format = format;
    if (format->is_bare && d == 0)
        d = options->raw_d;

    /* Four bytes alone may be the start of honest data: only a second sign makes the input compressed. */
    if (compression && ends_with(path, strlen(path), compression->suffix))
        return fail_compressed(input, compression, format, path, why);
    /* Raw values have no structure to contradict, so its extension must not hide a format that has. */
    if (format->is_bare && !insisted) {
        if (compression)
            return fail_compressed(input, compression, format, path, why);
        if (omen_foreign_name(input))
            return fail_foreign(input, omen_foreign_name(input), why);
        if (omen_vectors_formats_by_content(input, format, &other, names) > 0) {
            return omen_fail(
                why, OMEN_ERR_INPUT,
                "%s is named like raw values but looks like %s (try options.format %s, or options.format raw to "
                "insist)",
                input->label, names, other->name);
        }
    }
    if (vectors->member && !format->has_members) {
        return omen_fail(why, OMEN_ERR_INPUT, "%s is %s, which has no parts to name as \":%.100s\"", input->label,
                         format->name, vectors->member);
    }
    if (vectors->is_partial && format->prepare)
        return OMEN_OK; /* all of it is needed to say more */
    uint32_t row_d = d;
    status = format->prepare ? format->prepare(vectors, &row_d, &reason) : OMEN_OK;
    const bool is_prepared = status == OMEN_OK && format->prepare; /* and so of the format that it is read as */
    if (status == OMEN_OK)
        status = format->open(vectors, row_d, &reason);
    if (status == OMEN_ERR_INPUT && compression)
        return fail_compressed(input, compression, format, path, why);
    if (status == OMEN_ERR_INPUT && !is_prepared && omen_foreign_name(input))
        return fail_foreign(input, omen_foreign_name(input), why);
    if (status == OMEN_ERR_INPUT && !is_prepared && omen_vectors_formats_by_content(input, format, &other, names) > 0) {
        return omen_fail(why, status, "%s is not %s: %s; it looks like %s (try options.format %s)", input->label,
                         format->name, reason.text, names, other->name);
    }
    if (status == OMEN_ERR_IO || status == OMEN_ERR_ARGUMENT) /* of the temporary copy, which is named */
        return omen_fail(why, status, strstr(reason.text, input->label) ? "%.0s%s" : "%s: %s", input->label,
                         reason.text);
    if (status != OMEN_OK)
        return omen_fail(why, status, "%s: %s", input->label, reason.text);
    if (d != 0 && d != vectors->d) {
        return omen_fail(why, OMEN_ERR_ARGUMENT, "%s has %u dimensions, not %u as asked for", input->label, vectors->d,
                         d);
    }
    return OMEN_OK;
}

void omen_vectors_finish(omen_vectors *vectors)
{
    if (vectors->state)
        vectors->format->close(vectors);
    vectors->state = NULL;
    vectors->layout = NULL;
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
    omen_vectors vectors = {.format = NULL};
    char *name = omen_input_name_inside(e->path);
    if (!name)
        return omen_fail(why, OMEN_ERR_MEMORY, "no memory to open the vectors");
    snprintf(vectors.input.label, sizeof(vectors.input.label), "%s", e->label);
    vectors.is_partial = true;
    vectors.input.fd = fd;
    int status = omen_input_map(&vectors.input, why);
    bool may_be = false;
    if (status == OMEN_OK && !e->options->format && !omen_vectors_format_by_suffix(name, strlen(name))) {
        for (size_t i = 0; i < N_FORMATS && status == OMEN_OK && !may_be; i++) {
            if (!formats[i].is_told_by_rows)
                continue;
            vectors.format = &formats[i];
            int opened = formats[i].open(&vectors, 0, why);
            omen_vectors_finish(&vectors);
            may_be = opened == OMEN_OK;
            status = opened == OMEN_ERR_MEMORY ? opened : OMEN_OK;
        }
    }
    if (status == OMEN_OK && !may_be)
        status = omen_vectors_recognize(&vectors, name, e->options, why);
    omen_vectors_finish(&vectors);
    vectors.input.fd = -1; /* the caller's */
    omen_input_close(&vectors.input);
    free(name);
    return status;
}

int omen_vectors_recognize(omen_vectors *vectors, const char *path, const omen_vectors_options *options,
                           omen_detail *why)
{
    const omen_vector_format *format = NULL;

    if (options->format) {
        format = omen_vectors_format_by_name(options->format);
        if (!format) {
            return omen_fail(why, OMEN_ERR_ARGUMENT, "unknown format \"%.40s\": the formats are %s", options->format,
                             omen_vectors_formats());
        }
    }
    if (options->d > OMEN_MAX_DIM) {
        return omen_fail(why, OMEN_ERR_ARGUMENT, "%u dimensions asked for, at most %u are possible", options->d,
                         OMEN_MAX_DIM);
    }
    return content_open(vectors, format, path, options, why);
}

/* Whether a file that begins like a compressed one is of the format that it is named as: its length fits its header. */
static bool is_plain(const omen_input *input, const char *path, const omen_vectors_options *options)
{
    omen_vectors vectors = {.input = *input};
    vectors.format = options->format          ? omen_vectors_format_by_name(options->format)
                     : strcmp(path, "-") != 0 ? omen_vectors_format_by_suffix(path, strlen(path))
                                              : NULL;
    if (!vectors.format || vectors.format->is_bare || vectors.format->prepare)
        return false;
    const bool is_it = vectors.format->open(&vectors, 0, NULL) == OMEN_OK;
    omen_vectors_finish(&vectors);
    return is_it;
}

/* Unpacks what was settled. */
static int expand(omen_input *input, const char *path, const omen_vectors_options *options, bool *is_unpacked,
                  omen_detail *why)
{
    const omen_compression *compression = omen_compression_of(input->bytes, input->n_bytes);
    *is_unpacked = false;
    if (!compression || !compression->expand || is_plain(input, path, options))
        return OMEN_OK;
    *is_unpacked = true;
    const int status = omen_input_expand(input, false, options->progress, options->context, why);
    if (status != OMEN_OK)
        omen_input_close(input);
    return status;
}

int omen_vectors_open_input(omen_input *input, const char *path, const omen_vectors_options *options, bool *is_unpacked,
                            omen_detail *why)
{
    const int status = omen_input_open_as_is(input, path, why);
    return status == OMEN_OK ? expand(input, path, options, is_unpacked, why) : status;
}

/* Opens vectors->input, which is settled, as the file that it is called and the part of it that the path names. */
static int open_settled(omen_vectors *vectors, const char *file, const char *member,
                        const omen_vectors_options *options, omen_detail *why)
{
    expectation e = {.options = options, .path = file, .label = vectors->input.label};
    char *name = NULL;
    bool is_unpacked;
    int status = expand(&vectors->input, file, options, &is_unpacked, why);
    vectors->member = member;
    vectors->progress = options->progress;
    vectors->context = options->context;
    if (status == OMEN_OK && omen_input_is_container(&vectors->input))
        status = omen_input_unpack(&vectors->input, file, check_head, &e, &name, why);
    if (status == OMEN_OK)
        status = omen_vectors_recognize(vectors, name ? name : file, options, why);
    vectors->member = NULL;
    free(name);
    return status;
}

int omen_vectors_open_begun(omen_vectors **out, const omen_input *input, const void *begun, size_t n_begun,
                            const char *path, const omen_vectors_options *options, omen_detail *why)
{
    const size_t n_file = omen_vectors_file_bytes(path);
    char *file = strndup(path, n_file);
    omen_vectors *vectors = calloc(1, sizeof(*vectors));
    int status = OMEN_OK;

    *out = NULL;
    if (!vectors || !file) {
        omen_input unused = *input;
        omen_input_close(&unused);
        free(vectors);
        free(file);
        return omen_fail(why, OMEN_ERR_MEMORY, "no memory to open the vectors");
    }
    vectors->input = *input;
    status = omen_input_settle(&vectors->input, begun, n_begun, why);
    if (status == OMEN_OK)
        status = open_settled(vectors, file, path[n_file] == ':' ? path + n_file + 1 : NULL, options, why);
    free(file);
    if (status != OMEN_OK)
        omen_vectors_close(vectors);
    else
        *out = vectors;
    return status;
}

int omen_vectors_open(omen_vectors **out, const char *path, const omen_vectors_options *options, omen_detail *why)
{
    static const omen_vectors_options none;
    omen_input input;
    const size_t n_file = omen_vectors_file_bytes(path);
    char *file = strndup(path, n_file);

    *out = NULL;
    const int status =
        file ? omen_input_begin(&input, file, why) : omen_fail(why, OMEN_ERR_MEMORY, "no memory to open the vectors");
    free(file);
    return status == OMEN_OK ? omen_vectors_open_begun(out, &input, NULL, 0, path, options ? options : &none, why)
                             : status;
}

const struct stat *omen_vectors_status(const omen_vectors *vectors)
{
    return &vectors->input.status;
}

const char *omen_vectors_type(const omen_vectors *vectors)
{
    return omen_value_name(vectors->value);
}

void omen_vectors_close(omen_vectors *vectors)
{
    if (!vectors)
        return;
    omen_vectors_finish(vectors);
    omen_input_close(&vectors->input);
    free(vectors);
}

/* ---- writing ----------------------------------------------------------- */

const char *omen_vectors_write_named(const char *path)
{
    const omen_vector_format *format = omen_vectors_format_by_suffix(path, strlen(path));
    return format && format->write ? format->name : NULL;
}

int omen_vectors_write(FILE *stream, const char *name, const omen_source *source, omen_progress_fn progress,
                       void *context, omen_detail *why)
{
    const omen_vector_format *format = omen_vectors_format_by_name(name);
    if (!format || !format->write) {
        return omen_fail(why, OMEN_ERR_ARGUMENT, "unknown format \"%.40s\": rows are written as %s", name,
                         omen_vectors_write_formats());
    }
    return format->write(stream, source, progress, context, why);
}
