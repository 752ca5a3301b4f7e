/* SPDX-License-Identifier: Apache-2.0 */
/* Cuts a condition into words: names, numbers, texts and marks. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/condition_words.h"

/* ---- faults ---- */

int omen_words_fail(const omen_parser *p, size_t at, const char *format, ...)
{
    char text[400];
    size_t n = 1; /* characters, not bytes */
    va_list args;
    for (size_t i = 0; i < at; i++)
        n += ((unsigned char)p->text[i] & 0xc0) != 0x80;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return omen_fail(p->why, OMEN_ERR_ARGUMENT, "condition, character %zu: %s", n, text);
}

int omen_words_no_memory(const omen_parser *p)
{
    return omen_fail(p->why, OMEN_ERR_MEMORY, "out of memory for a condition");
}

int omen_words_fail_next(const omen_parser *p, const char *wanted)
{
    const omen_word *w = &p->word;
    const int n = (int)(w->end - w->at < 40 ? w->end - w->at : 40);
    return w->kind == OMEN_WORD_END
               ? omen_words_fail(p, w->at, "it ends where %s should follow", wanted)
               : omen_words_fail(p, w->at, "%.*s stands where %s should", n, p->text + w->at, wanted);
}

/* ---- words ---- */

static bool is_letter(char c)
{
    return omen_lower(c) >= 'a' && omen_lower(c) <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_byte(char c)
{
    return is_letter(c) || is_digit(c) || c == '_' || (unsigned char)c >= 0x80;
}

bool omen_words_are_alike(const char *a, const char *b, size_t n)
{
    bool alike = true;
    for (size_t i = 0; i < n && alike; i++)
        alike = omen_lower(a[i]) == omen_lower(b[i]);
    return alike;
}

/* What stands in quotes, from p->word.at on; a quote in it is doubled. */
static int read_quoted(omen_parser *p, char quote)
{
    omen_word *w = &p->word;
    size_t at = w->at + 1;
    if (w->text_size < p->n_bytes) {
        /* for every word of the text */
        free(w->text);
        w->text = malloc(p->n_bytes);
        w->text_size = w->text ? p->n_bytes : 0;
        if (!w->text)
            return omen_words_no_memory(p);
    }
    for (w->n_bytes = 0;; at++) {
        if (at == p->n_bytes)
            return omen_words_fail(p, w->at, "a %c has no second one that ends the text", quote);
        if (p->text[at] == quote && (at + 1 == p->n_bytes || p->text[at + 1] != quote))
            break;
        at += p->text[at] == quote;
        w->text[w->n_bytes++] = p->text[at];
    }
    w->end = at + 1;
    return OMEN_OK;
}

int omen_words_next(omen_parser *p)
{
    static const char *const marks[] = {"<>", "<=", ">=", "!=", "==", "=", "<", ">", "(", ")", ","};
    omen_word *w = &p->word;
    size_t at = w->end;
    while (at < p->n_bytes && strchr(" \t\r\n\f\v", p->text[at]))
        at++;
    w->at = w->end = at;
    w->is_quoted = false;
    if (at == p->n_bytes) {
        w->kind = OMEN_WORD_END;
        return OMEN_OK;
    }
    const char c = p->text[at], after = at + 1 < p->n_bytes ? p->text[at + 1] : '\0';
    if (c == '\'' || c == '"') {
        w->kind = c == '"' ? OMEN_WORD_NAME : OMEN_WORD_TEXT;
        w->is_quoted = true;
        return read_quoted(p, c);
    }
    if (is_digit(c) || c == '.' || ((c == '-' || c == '+') && (is_digit(after) || after == '.'))) {
        w->kind = OMEN_WORD_NUMBER;
        while (++at < p->n_bytes &&
               (is_name_byte(p->text[at]) || p->text[at] == '.' ||
                ((p->text[at] == '-' || p->text[at] == '+') && omen_lower(p->text[at - 1]) == 'e')))
            ;
        w->end = at;
        return OMEN_OK;
    }
    if (is_name_byte(c)) {
        w->kind = OMEN_WORD_NAME;
        while (at < p->n_bytes && is_name_byte(p->text[at]))
            at++;
        w->end = at;
        return OMEN_OK;
    }
    w->kind = OMEN_WORD_MARK;
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        const size_t n = strlen(marks[i]);
        if (n <= p->n_bytes - at && memcmp(p->text + at, marks[i], n) == 0) {
            w->end = at + n;
            return OMEN_OK;
        }
    }
    w->end = at + 1;
    return omen_words_fail_next(p, "part of a condition");
}

static bool is_keyword(const omen_parser *p, const char *keyword)
{
    const omen_word *w = &p->word;
    return w->kind == OMEN_WORD_NAME && !w->is_quoted && w->end - w->at == strlen(keyword) &&
           omen_words_are_alike(p->text + w->at, keyword, w->end - w->at);
}

bool omen_words_has_mark(const omen_parser *p, const char *mark)
{
    const omen_word *w = &p->word;
    return w->kind == OMEN_WORD_MARK && w->end - w->at == strlen(mark) &&
           memcmp(p->text + w->at, mark, strlen(mark)) == 0;
}

int omen_words_accept(omen_parser *p, const char *what, bool *is_there)
{
    *is_there = is_letter(what[0]) ? is_keyword(p, what) : omen_words_has_mark(p, what);
    return *is_there ? omen_words_next(p) : OMEN_OK;
}

int omen_words_demand(omen_parser *p, const char *what)
{
    bool is_there;
    const int status = omen_words_accept(p, what, &is_there);
    return status == OMEN_OK && !is_there ? omen_words_fail_next(p, what) : status;
}

/* ---- literals ---- */

bool omen_words_has_literal(const omen_parser *p)
{
    return p->word.kind == OMEN_WORD_NUMBER || p->word.kind == OMEN_WORD_TEXT || is_keyword(p, "NULL") ||
           is_keyword(p, "TRUE") || is_keyword(p, "FALSE");
}

int omen_words_literal(omen_parser *p, omen_literal *out)
{
    const omen_word *w = &p->word;
    *out = (omen_literal){.kind = OMEN_LITERAL_NULL};
    if (w->kind == OMEN_WORD_NAME && w->is_quoted)
        return omen_words_fail(p, w->at,
                               "in double quotes stand names of columns; a text stands in single quotes: '%.*s'",
                               (int)(w->n_bytes < 40 ? w->n_bytes : 40), w->text);
    if (!omen_words_has_literal(p))
        return omen_words_fail_next(p, "a number, a 'text' or NULL");
    if (w->kind == OMEN_WORD_NUMBER) {
        out->kind = OMEN_LITERAL_NUMBER;
        const omen_number_kind kind = omen_number_parse(p->text + w->at, w->end - w->at, &out->integer, &out->real);
        if (kind == OMEN_NUMBER_NONE)
            return omen_words_fail(p, w->at, "%.*s is no number", (int)(w->end - w->at < 40 ? w->end - w->at : 40),
                                   p->text + w->at);
        out->is_integer = kind == OMEN_NUMBER_INTEGER;
    } else if (w->kind == OMEN_WORD_TEXT) {
        out->kind = OMEN_LITERAL_TEXT;
        out->n_bytes = w->n_bytes;
        out->text = malloc(w->n_bytes + 1);
        if (!out->text)
            return omen_words_no_memory(p);
        memcpy(out->text, w->text, w->n_bytes);
        out->text[w->n_bytes] = '\0';
    } else if (!is_keyword(p, "NULL")) {
        out->kind = OMEN_LITERAL_NUMBER;
        out->is_integer = true;
        out->integer = is_keyword(p, "TRUE");
        out->real = (double)out->integer;
    }
    return omen_words_next(p);
}
