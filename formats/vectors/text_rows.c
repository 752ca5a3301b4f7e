/* SPDX-License-Identifier: Apache-2.0 */
/* Text with a line a row: numbers between commas (csv), which may be in quotes, or between tabs (tsv), behind a line of
 * names or not. */
#include "formats/row_spool.h"

#include <inttypes.h>
#include <strings.h>

#define PROBE_BYTES    ((uint64_t)4 << 20) /* in which two lines end */
#define NUMBERED_LEAST 16u                 /* columns, of which a line of 0, 1, 2 and so on is taken for their names */

/* A line while its fields are read. */
typedef struct {
    const char *at, *end;
    char delimiter;
    bool is_over;
} fields;

static char delimiter_of(const omen_vector_format *format)
{
    return strcmp(format->name, "csv") == 0 ? ',' : '\t';
}

static fields fields_of(const char *line, size_t n_bytes, char delimiter)
{
    return (fields){line, line + n_bytes, delimiter, false};
}

/* Reads the next field, without blanks and quotes around it. False at the end of the line. */
static bool next_field(fields *f, const char **text, size_t *n_bytes)
{
    if (f->is_over)
        return false;
    const char *begin = f->at;
    bool is_quoted = false;
    while (f->at < f->end && (is_quoted || *f->at != f->delimiter)) {
        is_quoted ^= f->delimiter == ',' && *f->at == '"';
        f->at++;
    }
    const char *end = f->at;
    f->is_over = f->at == f->end;
    f->at += !f->is_over;
    while (begin < end && *begin == ' ')
        begin++;
    while (begin < end && end[-1] == ' ')
        end--;
    if (f->delimiter == ',' && end - begin >= 2 && *begin == '"' && end[-1] == '"') {
        begin++;
        end--;
    }
    *text = begin;
    *n_bytes = (size_t)(end - begin);
    return true;
}

/* Whether a word stands for a number that is missing or infinite. */
static bool is_missing(const char *text, size_t n_bytes)
{
    static const char *const words[] = {"nan", "inf", "infinity", "na", "n/a", "null", "none"};
    if (n_bytes > 0 && (*text == '-' || *text == '+')) {
        text++;
        n_bytes--;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (n_bytes == strlen(words[i]) && strncasecmp(text, words[i], n_bytes) == 0)
            return true;
    return false;
}

/* What a number with a fault in it begins with: a digit, a sign or a point, perhaps behind a quote. */
static bool is_like_number(const char *text, size_t n_bytes)
{
    if (n_bytes > 1 && *text == '"')
        text++;
    return n_bytes > 0 && (*text == '-' || *text == '+' || *text == '.' || (*text >= '0' && *text <= '9'));
}

/* Whether the line is one of names, and how many: words, and of numbers only those that columns without a name have,
 * which count up from 0 or 1 side by side. Behind a word two of these will do, where the line begins with them they
 * have to be many. What is a row with a fault in it must not be taken for names, which would leave it out. */
static bool is_header(const char *line, size_t n_line_bytes, char delimiter, unsigned *n_names)
{
    fields f = fields_of(line, n_line_bytes, delimiter);
    const char *text;
    size_t n_bytes;
    int64_t integer, n_numbers = 0, first = 0, first_column = 0;
    double real;
    bool has_word = false, has_like_number = false, is_numbered = true;
    for (*n_names = 0; next_field(&f, &text, &n_bytes); ++*n_names) {
        const omen_number_kind kind = omen_number_parse(text, n_bytes, &integer, &real);
        if (kind == OMEN_NUMBER_NONE) {
            has_word |= n_bytes > 0 && !is_missing(text, n_bytes);
            has_like_number |= is_like_number(text, n_bytes);
            continue;
        }
        if (n_numbers == 0 && kind == OMEN_NUMBER_INTEGER) {
            first = integer;
            first_column = *n_names;
        }
        is_numbered &=
            kind == OMEN_NUMBER_INTEGER && (first == 0 || first == 1) && integer == first + (*n_names - first_column);
        n_numbers++;
    }
    if (n_numbers == 0)
        return has_word;
    if (!has_word)
        return is_numbered && first == 0 && *n_names == n_numbers && n_numbers >= NUMBERED_LEAST;
    return is_numbered && !has_like_number && n_numbers >= (first_column == 0 ? NUMBERED_LEAST : 2);
}

/* Names that say that the first column is no part of the vectors, and bytes that no name has: of damaged numbers. */
static int check_header(const char *line, size_t n_line_bytes, char delimiter, omen_detail *reason)
{
    fields f = fields_of(line, n_line_bytes, delimiter);
    const char *text;
    size_t n_bytes;
    for (unsigned column = 1; next_field(&f, &text, &n_bytes); column++) {
        if (column == 1 && n_bytes == 0)
            return omen_fail(reason, OMEN_ERR_INPUT,
                             "column 1 has no name, as the row numbers that pandas writes: write it with index=False");
        for (size_t i = 0; i < n_bytes; i++)
            if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
                return omen_fail(reason, OMEN_ERR_INPUT, "line 1, column %u: a name has the control character %d",
                                 column, text[i]);
    }
    return OMEN_OK;
}

static int read_line(omen_row_spool *spool, fields f, uint64_t number, omen_detail *reason)
{
    const char *text;
    size_t n_bytes;
    int status = OMEN_OK;
    for (unsigned column = 1; status == OMEN_OK && next_field(&f, &text, &n_bytes); column++) {
        int64_t integer = 0;
        double real = 0;
        const omen_number_kind kind = omen_number_parse(text, n_bytes, &integer, &real);
        if (kind == OMEN_NUMBER_NONE)
            return omen_fail(reason, OMEN_ERR_INPUT, "line %" PRIu64 ", column %u: \"%.*s\"%s is no number%s", number,
                             column, (int)(n_bytes < 40 ? n_bytes : 40), text, n_bytes > 40 ? "..." : "",
                             spool->d == 0 ? OMEN_ROWS_ONLY : "");
        status = omen_row_spool_put(spool, kind == OMEN_NUMBER_INTEGER, integer, real, number, reason);
    }
    return status;
}

int omen_text_take_line(omen_row_spool *spool, const char *line, size_t n_bytes, uint64_t number, omen_detail *reason)
{
    const char delimiter = delimiter_of(spool->vectors->format);
    unsigned n_names;
    if (number == 1 && is_header(line, n_bytes, delimiter, &n_names)) {
        spool->n_named = n_names;
        return check_header(line, n_bytes, delimiter, reason);
    }
    int status = read_line(spool, fields_of(line, n_bytes, delimiter), number, reason);
    if (status == OMEN_OK)
        status = omen_row_spool_end_row(spool, number, reason);
    if (status == OMEN_OK && spool->n_named > 0 && spool->n_named != spool->d)
        return omen_fail(reason, OMEN_ERR_INPUT,
                         "line 1 names %u column%s, and line 2 has %u number%s: each needs a name", spool->n_named,
                         omen_plural(spool->n_named), spool->d, omen_plural(spool->d));
    return status;
}

/* Two numbers at least in the first line, or in the second and as many names in the first. */
bool omen_text_probe(const omen_input *input, const omen_vector_format *format)
{
    const char delimiter = delimiter_of(format);
    omen_lines lines = omen_lines_of(input->bytes, input->n_bytes < PROBE_BYTES ? input->n_bytes : PROBE_BYTES);
    const char *line, *text;
    size_t n_line_bytes, n_bytes;
    unsigned n[2] = {0, 0};
    int64_t integer;
    double real;
    /* a file of other things may have no line at all, and more than memory */
    for (int i = 0; i < 2 && lines.at < lines.end && *lines.at != '\0' && omen_lines_next(&lines, &line, &n_line_bytes);
         i++) {
        fields f = fields_of(line, n_line_bytes, delimiter);
        bool is_numbers = true;
        while (next_field(&f, &text, &n_bytes)) {
            is_numbers &= omen_number_parse(text, n_bytes, &integer, &real) != OMEN_NUMBER_NONE;
            n[i]++;
        }
        if (is_numbers)
            return n[i] > 1 && (i == 0 || n[0] == n[1]);
    }
    return false;
}
