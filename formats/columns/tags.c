/* SPDX-License-Identifier: Apache-2.0 */
/* Tags of rows: a sparse matrix as big-ann-benchmarks writes it, whose columns are the tags, or text with a line of
 * words for each row. */
#include "formats/columns_internal.h"
#include "formats/lines.h"
#include "formats/unpack.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NAME         "tags"
#define HEADER_BYTES 24u

/* ---- spmat ---- */

static int64_t load_i64(const unsigned char *at)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | at[i];
    return (int64_t)value;
}

/* Whether the numbers in the header make the length of the file: int64 rows, columns, entries; int64 [rows + 1] first
 * entries; int32 [entries] columns; float32 [entries] values. */
static bool is_spmat(const omen_input *input, uint64_t *n_rows, uint64_t *n_columns, uint64_t *n)
{
    if (input->n_bytes < HEADER_BYTES + 8)
        return false;
    *n_rows = (uint64_t)load_i64(input->bytes);
    *n_columns = (uint64_t)load_i64(input->bytes + 8);
    *n = (uint64_t)load_i64(input->bytes + 16);
    const uint64_t most = input->n_bytes / 8;
    return *n_rows < most && *n <= most && *n_columns <= (uint64_t)1 << 31 &&
           input->n_bytes == HEADER_BYTES + 8 * (*n_rows + 1) + 8 * *n;
}

static int fail_spmat(const omen_spmat *m, uint64_t row, const char *what, omen_detail *why)
{
    return omen_fail(why, OMEN_ERR_INPUT, "%s, row %" PRIu64 ": %s", m->input.label, row, what);
}

/* Copies the numbers, and checks them. */
static int load_spmat(omen_spmat *m, uint64_t n, omen_detail *why)
{
    const unsigned char *first = m->input.bytes + HEADER_BYTES, *indices = first + 8 * (m->n_rows + 1);
    m->first = malloc((m->n_rows + 1) * sizeof *m->first);
    m->indices = malloc((n + 1) * sizeof *m->indices);
    if (!m->first || !m->indices)
        return omen_fail(why, OMEN_ERR_MEMORY, "out of memory for %s", m->input.label);
    for (uint64_t i = 0; i <= m->n_rows; i++) {
        m->first[i] = (uint64_t)load_i64(first + 8 * i);
        if (m->first[i] > n || (i > 0 && m->first[i] < m->first[i - 1]) || (i == 0 && m->first[i] != 0) ||
            (i == m->n_rows && m->first[i] != n))
            return fail_spmat(m, i, "its entries begin at an impossible place", why);
    }
    for (uint64_t row = 0; row < m->n_rows; row++) {
        /* analyzer: the loop before set first[0] to first[n_rows] */
        for (uint64_t i = m->first[row]; i < m->first[row + 1]; i++) {
            const unsigned char *at = indices + 4 * i;
            m->indices[i] = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
            if (m->indices[i] >= m->n_columns)
                return fail_spmat(m, row, "it has an entry in a column that the matrix has not", why);
        }
    }
    return OMEN_OK;
}

int omen_spmat_open(omen_spmat *out, const char *path, omen_detail *why)
{
    uint64_t n;
    *out = (omen_spmat){.n_rows = 0};
    int status = omen_input_open_as_is(&out->input, path, why);
    if (status == OMEN_OK && !is_spmat(&out->input, &out->n_rows, &out->n_columns, &n))
        status = omen_input_expand(&out->input, false, NULL, NULL, why);
    if (status != OMEN_OK) {
        omen_input_close(&out->input);
        return status;
    }
    status = is_spmat(&out->input, &out->n_rows, &out->n_columns, &n)
                 ? load_spmat(out, n, why)
                 : omen_fail(why, OMEN_ERR_INPUT,
                             "%s is no sparse matrix (spmat), or is cut short: its header does not make its length",
                             out->input.label);
    if (status != OMEN_OK)
        omen_spmat_close(out);
    return status;
}

void omen_spmat_close(omen_spmat *m)
{
    free(m->first);
    free(m->indices);
    omen_input_close(&m->input);
    m->first = NULL;
    m->indices = NULL;
}

static int read_spmat(omen_columns *columns, const char *path, uint64_t memory_bytes, omen_detail *why)
{
    omen_spmat m;
    int status = omen_spmat_open(&m, path, why);
    if (status != OMEN_OK)
        return status;
    status = omen_columns_of_rows(columns, m.n_rows, m.input.label, why);
    if (status == OMEN_OK)
        status =
            omen_columns_room(columns, 16 * (m.n_rows + 1) + 16 * m.first[m.n_rows], memory_bytes, m.input.label, why);
    if (status == OMEN_OK)
        status = omen_columns_add_tags(columns, NAME, NULL, m.first, m.indices, why);
    omen_spmat_close(&m);
    return status;
}

/* ---- text ---- */

/* The words of all lines. */
typedef struct {
    omen_intern words;
    uint64_t *first; /* n_rows + 1 */
    uint32_t *tags;
    uint64_t n_tags, size;
} word_lines;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Adds the words of a line. False without memory. */
static bool take_line(word_lines *w, const char *line, size_t n_bytes)
{
    for (size_t at = 0; at < n_bytes;) {
        size_t begin = at;
        while (begin < n_bytes && is_blank(line[begin]))
            begin++;
        for (at = begin; at < n_bytes && !is_blank(line[at]);)
            at++;
        if (at == begin)
            break;
        if (w->n_tags == w->size) {
            const uint64_t size = w->size ? 2 * w->size : 1024;
            uint32_t *grown = realloc(w->tags, size * sizeof *grown);
            if (!grown)
                return false;
            w->tags = grown;
            w->size = size;
        }
        if (omen_intern_add(&w->words, line + begin, at - begin, &w->tags[w->n_tags]) != OMEN_OK)
            return false;
        w->n_tags++;
    }
    return true;
}

static int read_lines(omen_columns *columns, const omen_input *input, uint64_t memory_bytes, omen_detail *why)
{
    word_lines w = {.first = NULL};
    omen_lines lines = omen_lines_of(input->bytes, input->n_bytes);
    const uint64_t n_rows = omen_lines_count(lines);
    const char *line;
    size_t n_bytes;
    int status = omen_columns_of_rows(columns, n_rows, input->label, why);
    if (status == OMEN_OK)
        w.first = malloc((n_rows + 1) * sizeof *w.first);
    bool has_memory = w.first;
    while (status == OMEN_OK && has_memory && omen_lines_next(&lines, &line, &n_bytes)) {
        const size_t fault = omen_columns_text_fault(line, n_bytes);
        if (fault < n_bytes) {
            status = omen_fail(why, OMEN_ERR_INPUT, "%s, line %" PRIu64 ": byte %zu, 0x%02x, is %s", input->label,
                               lines.number, fault + 1, (unsigned char)line[fault],
                               line[fault] == '\0' ? "no text" : "not UTF-8");
            break;
        }
        w.first[lines.number - 1] = w.n_tags;
        has_memory = take_line(&w, line, n_bytes);
        if (lines.number % 4096 == 0 || lines.number == n_rows)
            status = omen_columns_room(columns, omen_intern_bytes(&w.words) + 8 * w.size + 16 * n_rows, memory_bytes,
                                       input->label, why);
    }
    if (status == OMEN_OK && !has_memory)
        status = omen_fail(why, OMEN_ERR_MEMORY, "out of memory for %s", input->label);
    if (status == OMEN_OK) {
        const omen_words words = omen_intern_words(&w.words);
        w.first[n_rows] = w.n_tags;
        status = omen_columns_add_tags(columns, NAME, &words, w.first, w.tags, why);
    }
    omen_intern_finish(&w.words);
    free(w.first);
    free(w.tags);
    return status;
}

int omen_tags_read(omen_columns *columns, const char *path, uint64_t memory_bytes, omen_detail *why)
{
    static const char suffix[] = ".spmat";
    const size_t n_stem = omen_compression_stem(path), n_suffix = sizeof suffix - 1;
    omen_input input;
    uint64_t n_rows, n_columns, n;
    if (n_stem >= n_suffix && strncasecmp(path + n_stem - n_suffix, suffix, n_suffix) == 0)
        return read_spmat(columns, path, memory_bytes, why);
    int status = omen_input_open(&input, path, why);
    if (status != OMEN_OK)
        return status;
    status = omen_columns_check_kind(&input, "tags", why);
    if (status == OMEN_OK && is_spmat(&input, &n_rows, &n_columns, &n))
        status = omen_fail(why, OMEN_ERR_INPUT, "%s looks like a sparse matrix: call it NAME.spmat", input.label);
    else if (status == OMEN_OK)
        status = read_lines(columns, &input, memory_bytes, why);
    omen_input_close(&input);
    return status;
}
