/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of a text in memory, and how many of them there are in words. */
#ifndef OMEN_LINES_H
#define OMEN_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A text, and how far it has been read. */
typedef struct omen_lines {
    const char *at, *end;
    uint64_t number; /* of the line read last, from 1 */
} omen_lines;

/* The lines of n_bytes of text. A byte order mark in front of UTF-8 is no part of the first. */
static inline omen_lines omen_lines_of(const void *text, uint64_t n_bytes)
{
    const char *first = text;
    const bool has_mark = n_bytes >= 3 && memcmp(first, "\xef\xbb\xbf", 3) == 0;
    return (omen_lines){first + (has_mark ? 3 : 0), first + n_bytes, 0};
}

/* Reads the next line: *line and *n_bytes get it without its end, "\n" or "\r\n", which the last line may lack. False
 * at the end of the text. */
static inline bool omen_lines_next(omen_lines *lines, const char **line, size_t *n_bytes)
{
    if (lines->at == lines->end)
        return false;
    const char *end = memchr(lines->at, '\n', (size_t)(lines->end - lines->at));
    const char *next = end ? end + 1 : lines->end;
    end = end ? end : lines->end;
    *line = lines->at;
    *n_bytes = (size_t)(end - lines->at);
    if (end<next && * n_bytes> 0 && end[-1] == '\r')
        --*n_bytes;
    lines->at = next;
    lines->number++;
    return true;
}

/* Whether nothing but ends of lines is left. */
static inline bool omen_lines_are_over(omen_lines lines)
{
    const char *line;
    size_t n_bytes;
    while (omen_lines_next(&lines, &line, &n_bytes))
        if (n_bytes > 0)
            return false;
    return true;
}

/* How many lines there are. */
static inline uint64_t omen_lines_count(omen_lines lines)
{
    const char *line;
    size_t n_bytes;
    while (omen_lines_next(&lines, &line, &n_bytes))
        ;
    return lines.number;
}

/* The ends of words that say how many there are: "1 row", "2 rows"; "there is 1", "there are 2". */
static inline const char *omen_plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

static inline const char *omen_is_or_are(uint64_t n)
{
    return n == 1 ? "is" : "are";
}

#endif
