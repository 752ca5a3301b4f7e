/* SPDX-License-Identifier: Apache-2.0 */
/* The words of a condition: where its reader is, and what comes next. */
#ifndef OMEN_CONDITION_WORDS_H
#define OMEN_CONDITION_WORDS_H

#include "lib/condition.h"

typedef enum { OMEN_WORD_END, OMEN_WORD_NAME, OMEN_WORD_NUMBER, OMEN_WORD_TEXT, OMEN_WORD_MARK } omen_word_kind;

/* A word of the text. */
typedef struct {
    omen_word_kind kind;
    size_t at, end;   /* in the text */
    bool is_quoted;   /* NAME: it is no keyword */
    char *text;       /* NAME, TEXT: without quotes; owned by the parser */
    size_t text_size; /* room */
    size_t n_bytes;
} omen_word;

typedef struct {
    const omen_index *index;
    const char *text;
    size_t n_bytes;
    omen_word word; /* the next */
    unsigned depth;
    omen_detail *why;
} omen_parser;

/* Of ASCII, whatever the locale of the program. */
static inline char omen_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Whether n bytes are the same without regard to case. */
bool omen_words_are_alike(const char *a, const char *b, size_t n);

/* A fault at a place of the text: returns OMEN_ERR_ARGUMENT. */
int omen_words_fail(const omen_parser *p, size_t at, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* What stands where something else was wanted: likewise. */
int omen_words_fail_next(const omen_parser *p, const char *wanted);

/* Returns OMEN_ERR_MEMORY. */
int omen_words_no_memory(const omen_parser *p);

/* The functions that follow return OMEN_OK, or OMEN_ERR_ARGUMENT or OMEN_ERR_MEMORY with why set. */

/* Reads the word that begins at or after the end of the last. */
int omen_words_next(omen_parser *p) OMEN_MUST_CHECK;

/* Whether a mark, such as "<=", comes next. */
bool omen_words_has_mark(const omen_parser *p, const char *mark);

/* Goes on behind a keyword or mark if it comes next; or has to. */
int omen_words_accept(omen_parser *p, const char *what, bool *is_there) OMEN_MUST_CHECK;
int omen_words_demand(omen_parser *p, const char *what) OMEN_MUST_CHECK;

/* Whether a literal comes next. */
bool omen_words_has_literal(const omen_parser *p);

/* Takes a literal. Its text is the caller's to free, whatever is returned. */
int omen_words_literal(omen_parser *p, omen_literal *out) OMEN_MUST_CHECK;

#endif
