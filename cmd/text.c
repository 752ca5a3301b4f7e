/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people: names that are safe to print, numbers that can be read. */
#include "cmd/cmd.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Whether a character turns the direction of the text that follows, or ends a line: it would show a name as another. */
static bool is_control(uint32_t code)
{
    return code == 0x61c || code == 0x200e || code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069);
}

/* The length of the UTF-8 sequence at the text's beginning that may be printed; 0 if there is none. Of more than one
 * byte, neither the second set of control characters, those of is_control(), nor surrogates, U+FFFE, U+FFFF and what
 * is beyond U+10FFFF. */
static size_t printable_length(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    const size_t length = c[0] < 0x80 ? 1 : c[0] >= 0xc2 && c[0] < 0xe0 ? 2 : c[0] >= 0xe0 && c[0] < 0xf0 ? 3 : 4;
    uint32_t code = length == 1 ? c[0] : c[0] & (0x7fu >> length);

    for (size_t i = 1; i < length; i++) {
        if ((c[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (c[i] & 0x3f);
    }
    if (length == 1)
        return code >= 0x20 && code != 0x7f;
    if (c[0] < 0xc2 || c[0] >= 0xf5 || (length == 3 && code < 0x800) || (length == 4 && code < 0x10000))
        return 0;
    const bool is_text = code >= 0xa0 && code <= 0x10ffff && !(code >= 0xd800 && code < 0xe000) &&
                         (code & 0xfffe) != 0xfffe && !is_control(code);
    return is_text ? length : 0;
}

/* Replaces what would break a line, drive a terminal or is no text. */
void cmd_make_printable(char *text)
{
    while (*text != '\0') {
        const size_t length = printable_length(text);

        if (length == 0)
            *text = '?';
        text += length > 0 ? length : 1;
    }
}

cmd_name cmd_printable(const char *text)
{
    const size_t length = strlen(text), room = sizeof(cmd_name) - 1;
    cmd_name out;

    snprintf(out.text, sizeof out.text, "%s%s", length > room ? "..." : "",
             length > room ? text + length - room + 3 : text);
    cmd_make_printable(out.text);
    return out;
}

cmd_text cmd_group(uint64_t value)
{
    cmd_text out;
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    char *to = out.text;

    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return out;
}

cmd_text cmd_group_round(double value)
{
    return cmd_group(value > 0 && value < 1e18 ? (uint64_t)llround(value) : 0);
}

cmd_text cmd_human_bytes(uint64_t n_bytes)
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)n_bytes;
    size_t unit = 0;
    cmd_text out;

    /* 999.95 and up would print as 1000.0 */
    while (value >= 999.95 && unit + 1 < sizeof units / sizeof units[0]) {
        value /= 1000;
        unit++;
    }
    snprintf(out.text, sizeof out.text, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return out;
}

cmd_name cmd_choice(const char *prefix, const char *(*name)(size_t i))
{
    cmd_name out = {""};
    size_t n = 0;

    for (size_t i = 0; n < sizeof out.text && name(i); i++) {
        n += (size_t)snprintf(out.text + n, sizeof out.text - n, "%s%s%s",
                              i == 0        ? ""
                              : name(i + 1) ? ", "
                                            : " or ",
                              prefix, name(i));
    }
    return out;
}

#define NEAR_LETTERS 31u /* no name has more */

static size_t least_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Letters put in, left out, replaced, or two exchanged, between two words of at most NEAR_LETTERS. */
static size_t count_edits(const char *a, size_t n_a, const char *b, size_t n_b)
{
    size_t rows[3][NEAR_LETTERS + 1], *before = rows[0], *above = rows[1], *row = rows[2];

    for (size_t j = 0; j <= n_b; j++)
        row[j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        size_t *oldest = before;

        before = above;
        above = row;
        row = oldest;
        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            row[j] = least_of(above[j - 1] + (a[i - 1] != b[j - 1]), least_of(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least_of(row[j], before[j - 2] + 1);
        }
    }
    return row[n_b];
}

void cmd_near_try(cmd_near *near, const char *word, size_t length, const char *name)
{
    const size_t n_name = strlen(name), most = length < 5 ? 1 : (length + 1) / 3;

    if (length == 0 || length > NEAR_LETTERS || n_name > NEAR_LETTERS)
        return;
    const size_t edits = count_edits(word, length, name, n_name);
    if (edits <= most && (!near->name || edits < near->edits)) {
        near->name = name;
        near->edits = edits;
    }
}

cmd_name cmd_row_hash(const omen_row_hash *hash)
{
    cmd_name out;

    snprintf(out.text, sizeof out.text, "%016llx%016llx", (unsigned long long)hash->high,
             (unsigned long long)hash->low);
    return out;
}
