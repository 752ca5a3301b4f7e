/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of a stream as they come: bytes are read into a buffer, and whole rows or lines are taken from it. Nothing else
 * of the stream is kept. */
#include "formats/vectors_stream.h"
#include "formats/row_spool.h"
#include "formats/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define READ_BYTES      ((size_t)256 << 10) /* at once, at most */
#define PIPE_BYTES      (1 << 20)           /* asked for, so that a fast sender fills a batch */
#define PIPE_FULL_BYTES ((size_t)64 << 10)  /* after a read of so much, more is on its way */
#define HEAD_BYTES_MOST ((uint64_t)1 << 20)
#define SIGN_BYTES      16u /* tell what is compressed */

struct omen_vectors_stream {
    omen_vectors vectors; /* the input is the stream, which is not mapped */
    omen_layout layout;   /* of rows at fixed places */
    omen_row_spool lines; /* of text */
    unsigned char *bytes; /* read and not taken: from at to n */
    size_t at, n, size;
    size_t n_searched; /* of text: so much behind at has no end of a line */
    size_t n_last;     /* bytes of the last read */
    uint64_t n_lines;  /* of text, taken */
    uint64_t n_blank;  /* lines without anything behind them, which may be at the end only */
    uint64_t n_given;  /* rows */
    bool is_over;      /* nothing more will come */
    int fault;         /* which the next call tells */
    omen_detail why;
};

/* ---- bytes --------------------------------------------------------------- */

/* Room behind the bytes that are there. */
static int make_room(omen_vectors_stream *s, omen_detail *why)
{
    if (s->at > 0 && s->size - s->n < READ_BYTES) {
        memmove(s->bytes, s->bytes + s->at, s->n - s->at);
        s->n -= s->at;
        s->at = 0;
    }
    if (s->size - s->n >= READ_BYTES)
        return OMEN_OK;
    const size_t size = 2 * s->size > s->n + READ_BYTES ? 2 * s->size : s->n + READ_BYTES;
    unsigned char *grown = realloc(s->bytes, size);
    if (!grown)
        return omen_fail(why, OMEN_ERR_MEMORY, "no memory to read %s", s->vectors.input.label);
    s->bytes = grown;
    s->size = size;
    return OMEN_OK;
}

/* Whether a read would not wait. */
static bool is_ready(const omen_vectors_stream *s, int timeout_ms)
{
    struct pollfd wanted = {.fd = s->vectors.input.fd, .events = POLLIN};
    return poll(&wanted, 1, timeout_ms) > 0;
}

/* Reads what is there, or waits for some. A signal that interrupts the wait ends it, since the sender may never write
 * again. */
static int fill(omen_vectors_stream *s, omen_detail *why)
{
    const char *label = s->vectors.input.label;
    const int status = make_room(s, why);
    if (status != OMEN_OK)
        return status;
    for (;;) {
        const ssize_t n = read(s->vectors.input.fd, s->bytes + s->n, READ_BYTES);
        if (n >= 0) {
            s->n += (size_t)n;
            s->n_last = (size_t)n;
            s->is_over = n == 0;
            return OMEN_OK;
        }
        if (errno == EAGAIN) /* the sender's end may have made it so */
            is_ready(s, -1);
        else
            return omen_fail(why, errno == EINTR ? OMEN_ERR_INTERRUPTED : OMEN_ERR_IO, "cannot read %s: %s", label,
                             strerror(errno));
    }
}

/* ---- rows at fixed places ------------------------------------------------ */

/* Bytes of a row, with what stands before its values. */
static size_t row_bytes(const omen_vectors_stream *s)
{
    return (size_t)s->layout.stride;
}

/* Fails at the end of the stream if it ends within a row, or before or behind the last that its header counts. */
static int check_end(const omen_vectors_stream *s, omen_detail *reason)
{
    const uint64_t n_left = s->n - s->at, n_rows = s->layout.n_rows;
    if (n_rows != UINT64_MAX && s->n_given == n_rows && n_left > 0)
        return omen_fail(reason, OMEN_ERR_INPUT, "more follows after the %" PRIu64 " rows that the header counts",
                         n_rows);
    if (n_left > 0)
        return omen_fail(reason, OMEN_ERR_INPUT, "row %" PRIu64 " is cut short: %" PRIu64 " of its %zu bytes",
                         s->n_given, n_left, row_bytes(s));
    if (n_rows != UINT64_MAX && s->n_given < n_rows)
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "it ends after %" PRIu64 " of the %" PRIu64 " rows that the header counts", s->n_given,
                         n_rows);
    return OMEN_OK;
}

/* Takes whole rows, n_most at most. *n gets those before a fault, which is noted. */
static void take_rows(omen_vectors_stream *s, uint64_t n_most, float *out, uint64_t *n)
{
    const omen_layout *layout = &s->layout;
    const unsigned char *from = s->bytes + s->at + (layout->row_headers ? layout->offset : 0);
    uint64_t n_there = (s->n - s->at) / row_bytes(s);
    const bool is_end = s->n_given + n_there > layout->n_rows;

    n_there = is_end ? layout->n_rows - s->n_given : n_there;
    *n = n_there < n_most ? n_there : n_most;
    s->fault = omen_layout_read_at(&s->vectors, from, s->n_given, *n, out, &s->why);
    if (s->fault != OMEN_OK) { /* which of them is it? */
        const uint64_t n_read = *n;
        for (*n = 0; *n < n_read; ++*n) {
            s->fault = omen_layout_read_at(&s->vectors, from + *n * row_bytes(s), s->n_given + *n, 1,
                                           out + *n * layout->d, &s->why);
            if (s->fault != OMEN_OK)
                break;
        }
    }
    s->at += *n * row_bytes(s);
    s->n_given += *n;
    if (s->fault == OMEN_OK && *n < n_most && (s->is_over || is_end)) {
        omen_detail reason = {""};
        s->fault = check_end(s, &reason);
        omen_fail(&s->why, s->fault, "%s: %s", s->vectors.input.label, reason.text);
    }
}

/* ---- lines ---------------------------------------------------------------- */

/* Finds the next line, without its end. False if it is not all there. */
static bool find_line(omen_vectors_stream *s, const char **line, size_t *n_bytes, size_t *n_taken)
{
    const unsigned char *from = s->bytes + s->at;
    const size_t n_there = s->n - s->at;
    const unsigned char *end =
        n_there > s->n_searched ? memchr(from + s->n_searched, '\n', n_there - s->n_searched) : NULL;
    s->n_searched = end ? 0 : n_there;
    if (!end && !(s->is_over && n_there > 0))
        return false;
    omen_lines lines = {.at = (const char *)from, .end = (const char *)(end ? end + 1 : from + n_there)};
    if (s->n_lines == 0)
        lines = omen_lines_of(from, (uint64_t)(lines.end - lines.at));
    *n_taken = (size_t)(lines.end - (const char *)from);
    if (!omen_lines_next(&lines, line, n_bytes)) { /* a byte order mark and nothing else */
        *line = lines.end;
        *n_bytes = 0;
    }
    return true;
}

/* Takes lines until one gives a row, which is in s->lines then, or until there is none. Returns as take_line(). */
static int take_line(omen_vectors_stream *s, omen_detail *reason)
{
    const char *line;
    size_t n_bytes, n_taken;
    int status = OMEN_OK;

    while (status == OMEN_OK && s->lines.n == 0 && find_line(s, &line, &n_bytes, &n_taken)) {
        s->at += n_taken;
        s->n_lines++;
        if (n_bytes == 0) {
            s->n_blank++;
            continue;
        }
        if (s->n_blank > 0) /* as the first of them does where it is no end */
            status = s->vectors.format->take_line(&s->lines, "", 0, s->n_lines - s->n_blank, reason);
        if (status == OMEN_OK)
            status = s->vectors.format->take_line(&s->lines, line, n_bytes, s->n_lines, reason);
        s->n_blank = 0;
    }
    if (status == OMEN_OK && s->lines.n == 0 && s->n - s->at > OMEN_LINE_BYTES_MOST)
        return omen_fail(reason, OMEN_ERR_INPUT, "line %" PRIu64 " is longer than %u MiB", s->n_lines + 1,
                         OMEN_LINE_BYTES_MOST >> 20);
    return status;
}

/* As take_rows(). */
static void take_lines(omen_vectors_stream *s, uint64_t n_most, float *out, uint64_t *n)
{
    omen_detail reason = {""};

    for (*n = 0; *n < n_most; ++*n) {
        s->fault = take_line(s, &reason);
        if (s->fault != OMEN_OK || s->lines.n == 0)
            break;
        memcpy(out + *n * s->lines.d, s->lines.rows, s->lines.d * sizeof *out);
        s->lines.n = 0;
    }
    s->n_given += *n;
    if (s->fault != OMEN_OK)
        omen_fail(&s->why, s->fault, "%s: %s", s->vectors.input.label, reason.text);
}

/* ---- what it begins with -------------------------------------------------- */

/* Whether the bytes that are there begin with sign, or may when there are more. */
static bool may_begin(const omen_vectors_stream *s, const char *sign, size_t n_sign)
{
    return memcmp(s->bytes, sign, s->n < n_sign ? s->n : n_sign) == 0;
}

/* Whether it begins like something that has to be unpacked first; reads on until that is known. */
static int check_packed(omen_vectors_stream *s, bool *is_packed, omen_detail *why)
{
    int status = OMEN_OK;
    bool may_be = true;

    while (status == OMEN_OK && may_be && s->n < SIGN_BYTES && !s->is_over) {
        status = fill(s, why);
        if (status == OMEN_OK)
            may_be = omen_compression_may_begin(s->bytes, s->n) || may_begin(s, "OMENDB\r\n", 8);
    }
    *is_packed = status == OMEN_OK && may_be;
    return status;
}

/* Chooses the format; NULL: only all of it can tell. */
static int choose_format(omen_vectors_stream *s, const char *path, const omen_vectors_options *options,
                         omen_detail *why)
{
    static const char npy[] = "\x93NUMPY";
    const omen_vector_format **format = &s->vectors.format;
    int status = OMEN_OK;

    *format = options->format          ? omen_vectors_format_by_name(options->format)
              : strcmp(path, "-") != 0 ? omen_vectors_format_by_suffix(path, strlen(path))
                                       : NULL;
    if (!*format && !options->format && may_begin(s, npy, sizeof npy - 1)) {
        while (status == OMEN_OK && s->n < sizeof npy - 1 && !s->is_over && may_begin(s, npy, sizeof npy - 1))
            status = fill(s, why);
        if (may_begin(s, npy, sizeof npy - 1))
            *format = omen_vectors_format_by_name("npy");
    }
    if (*format && !(*format)->head && !(*format)->take_line)
        *format = NULL;
    if (*format && (*format)->is_bare && !options->format) /* its name may be wrong */
        *format = NULL;
    if (*format && s->vectors.member && !(*format)->has_members)
        *format = NULL;
    return status;
}

/* Reads on until the layout of the rows is known. */
static int find_layout(omen_vectors_stream *s, uint32_t d, omen_detail *reason)
{
    const omen_vector_format *format = s->vectors.format;
    uint64_t n_needed = 0;
    int status = OMEN_OK;

    do {
        if (s->n < n_needed)
            status = fill(s, reason);
        if (status == OMEN_OK && s->n < n_needed && s->is_over)
            return omen_fail(reason, OMEN_ERR_INPUT, "it is cut short: it ends after %zu bytes", s->n);
        if (status == OMEN_OK)
            status = format->head(s->bytes, s->n, format, d, &s->layout, &n_needed, reason);
        if (status == OMEN_OK && n_needed > HEAD_BYTES_MOST)
            return omen_fail(reason, OMEN_ERR_INPUT, "the header claims %" PRIu64 " bytes", n_needed);
    } while (status == OMEN_OK && s->n < n_needed);
    if (status == OMEN_OK) {
        s->at = s->layout.row_headers ? 0 : (size_t)s->layout.offset;
        s->vectors.d = s->layout.d;
        s->vectors.value = s->layout.value;
        s->vectors.layout = &s->layout;
    }
    return status;
}

/* Reads on until there is a row. */
static int find_first_line(omen_vectors_stream *s, omen_detail *reason)
{
    int status = take_line(s, reason);

    while (status == OMEN_OK && s->lines.n == 0 && !s->is_over) {
        status = fill(s, reason);
        if (status == OMEN_OK)
            status = take_line(s, reason);
    }
    if (status == OMEN_OK && s->lines.n == 0)
        return omen_fail(reason, OMEN_ERR_INPUT, "there are no rows");
    s->vectors.d = s->lines.d;
    return status;
}

/* Finds what the rows are, of a format that is known. */
static int find_rows(omen_vectors_stream *s, const omen_vectors_options *options, omen_detail *why)
{
    const omen_vector_format *format = s->vectors.format, *other;
    const char *label = s->vectors.input.label;
    const uint32_t d = format->is_bare && options->d == 0 ? options->raw_d : options->d;
    omen_detail reason = {""};
    char names[80];
    int status = OMEN_OK;

    if (format->take_line)
        status = omen_row_spool_init(&s->lines, &s->vectors, &reason);
    if (status == OMEN_OK)
        status = format->take_line ? find_first_line(s, &reason) : find_layout(s, d, &reason);
    const omen_input there = {.bytes = s->bytes, .n_bytes = s->n};
    if (status == OMEN_ERR_INPUT && omen_vectors_formats_by_content(&there, format, &other, names) > 0)
        return omen_fail(why, status, "%s is not %s: %s; it looks like %s (try options.format %s)", label, format->name,
                         reason.text, names, other->name);
    if (status == OMEN_ERR_IO || status == OMEN_ERR_INTERRUPTED)
        return omen_fail(why, status, "%s", reason.text);
    if (status != OMEN_OK)
        return omen_fail(why, status, "%s: %s", label, reason.text);
    if (options->d != 0 && options->d != s->vectors.d)
        return omen_fail(why, OMEN_ERR_ARGUMENT, "%s has %u dimensions, not %u as asked for", label, s->vectors.d,
                         options->d);
    return OMEN_OK;
}

/* ---- the interface --------------------------------------------------------- */

uint32_t omen_vectors_stream_dim(const omen_vectors_stream *s)
{
    return s->vectors.d;
}

void omen_vectors_stream_close(omen_vectors_stream *s)
{
    if (!s)
        return;
    omen_input_close(&s->vectors.input);
    free(s->lines.rows);
    free(s->bytes);
    free(s);
}

/* Reads the beginning. *has_rows: they can be told as they come. */
static int begin(omen_vectors_stream *s, const char *path, const omen_vectors_options *options, bool *has_rows,
                 omen_detail *why)
{
    bool is_packed;

    *has_rows = false;
    fcntl(s->vectors.input.fd, F_SETPIPE_SZ, PIPE_BYTES); /* or not */
    int status = check_packed(s, &is_packed, why);
    if (status == OMEN_OK && s->n == 0)
        return omen_fail(why, OMEN_ERR_INPUT, "%s is empty", s->vectors.input.label);
    if (status == OMEN_OK && !is_packed)
        status = choose_format(s, path, options, why);
    if (status != OMEN_OK || is_packed || !s->vectors.format)
        return status;
    *has_rows = true;
    status = find_rows(s, options, why);
    if (status == OMEN_OK && s->layout.by_columns)
        *has_rows = false;
    return status;
}

int omen_vectors_stream_open(omen_vectors_stream **stream, omen_vectors **vectors, const char *path,
                             const omen_vectors_options *options, omen_detail *why)
{
    const size_t n_file = omen_vectors_file_bytes(path);
    char *file = strndup(path, n_file);
    omen_vectors_stream *s = calloc(1, sizeof *s);
    bool has_rows = false;
    int status = OMEN_ERR_MEMORY;

    *stream = NULL;
    *vectors = NULL;
    if (!file || !s) {
        omen_fail(why, status, "no memory to open the vectors");
        goto out;
    }
    s->vectors.member = path[n_file] == ':' ? path + n_file + 1 : NULL;
    status = omen_input_begin(&s->vectors.input, file, why);
    if (status != OMEN_OK)
        goto out;
    if (omen_input_is_stream(&s->vectors.input))
        status = begin(s, file, options, &has_rows, why);
    s->vectors.member = NULL;
    if (status == OMEN_OK && !has_rows)
        status = omen_vectors_open_begun(vectors, &s->vectors.input, s->bytes, s->n, path, options, why);
    else if (status == OMEN_OK)
        *stream = s;
    else
        omen_input_close(&s->vectors.input);
    if (!*stream)
        s->vectors.input.fd = -1; /* is closed, or is that of vectors */
out:
    if (s && !*stream) {
        free(s->lines.rows);
        free(s->bytes);
        free(s);
    }
    free(file);
    return status;
}

int omen_vectors_stream_next(omen_vectors_stream *s, uint64_t n_most, omen_stream_wait_fn waits, void *context,
                             float *out, uint64_t *n, omen_detail *why)
{
    uint64_t n_taken;

    *n = 0;
    while (s->fault == OMEN_OK) {
        (s->vectors.format->take_line ? take_lines : take_rows)(s, n_most - *n, out + *n * s->vectors.d, &n_taken);
        *n += n_taken;
        if (*n == n_most || s->is_over || s->fault != OMEN_OK)
            break;
        const bool is_ready_now = is_ready(s, s->n_last >= PIPE_FULL_BYTES ? 1 : 0);
        if (*n > 0 && !is_ready_now)
            break;
        if (!is_ready_now && waits)
            s->fault = waits(context, &s->why);
        if (s->fault == OMEN_OK)
            s->fault = fill(s, &s->why);
    }
    if (*n > 0 || s->fault == OMEN_OK)
        return OMEN_OK;
    if (why)
        *why = s->why;
    return s->fault;
}
