/* SPDX-License-Identifier: Apache-2.0 */
/* Decimal numbers, whatever the locale of the program. */
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>

#include "lib/omendb_columns.h"

#define LONGEST 400u /* characters of a number */

static size_t skip_digits(const char *text, size_t n, size_t at)
{
    while (at < n && text[at] >= '0' && text[at] <= '9')
        at++;
    return at;
}

/* Whether text is a number in form; *whole: it has neither a point nor an exponent. */
static bool is_number(const char *text, size_t n, bool *whole)
{
    size_t at = n > 0 && (text[0] == '-' || text[0] == '+'), begin = at;
    at = skip_digits(text, n, at);
    size_t n_digits = at - begin;
    *whole = true;
    if (at < n && text[at] == '.') {
        *whole = false;
        begin = ++at;
        at = skip_digits(text, n, at);
        n_digits += at - begin;
    }
    if (n_digits == 0)
        return false;
    if (at < n && (text[at] == 'e' || text[at] == 'E')) {
        *whole = false;
        at++;
        at += at < n && (text[at] == '-' || text[at] == '+');
        begin = at;
        at = skip_digits(text, n, at);
        if (at == begin)
            return false;
    }
    return at == n;
}

/* False if it is beyond 64 bits. */
static bool parse_integer(const char *text, size_t n, int64_t *out)
{
    const bool is_negative = text[0] == '-';
    int64_t value = 0;
    for (size_t i = text[0] == '-' || text[0] == '+'; i < n; i++) {
        const int digit = text[i] - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, is_negative ? -digit : digit, &value))
            return false;
    }
    *out = value;
    return true;
}

/* A mantissa below 10 * 2^49, which float64 holds, over a power of ten that it holds, too: one rounding. False for
 * another number. */
static bool parse_short(const char *text, size_t n, double *out)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    uint64_t mantissa = 0;
    int exponent = 0;
    bool is_fraction = false;
    for (size_t i = text[0] == '-' || text[0] == '+'; i < n; i++) {
        if (text[i] == '.') {
            is_fraction = true;
            continue;
        }
        if (text[i] < '0' || text[i] > '9' || mantissa >= (uint64_t)1 << 49)
            return false;
        mantissa = mantissa * 10 + (uint64_t)(text[i] - '0');
        exponent -= is_fraction;
    }
    if (exponent < -22)
        return false;
    const double value = (double)mantissa / powers[-exponent];
    *out = text[0] == '-' ? -value : value;
    return true;
}

/* By strtod(), which wants the point of the program's locale. */
static double parse_long(const char *text, size_t n)
{
    char copy[LONGEST + 32];
    const char *radix = nl_langinfo(RADIXCHAR), *point = memchr(text, '.', n);
    const size_t n_before = point ? (size_t)(point - text) : n, n_radix = point ? strnlen(radix, 31) : 0;
    memcpy(copy, text, n_before);
    memcpy(copy + n_before, radix, n_radix);
    if (point)
        memcpy(copy + n_before + n_radix, point + 1, n - n_before - 1);
    copy[n + n_radix - (point ? 1 : 0)] = '\0';
    return strtod(copy, NULL);
}

omen_number_kind omen_number_parse(const char *text, size_t n_bytes, int64_t *integer, double *real)
{
    bool whole;
    if (n_bytes > LONGEST || !is_number(text, n_bytes, &whole))
        return OMEN_NUMBER_NONE;
    if (whole && parse_integer(text, n_bytes, integer)) {
        *real = (double)*integer;
        return OMEN_NUMBER_INTEGER;
    }
    if (!parse_short(text, n_bytes, real))
        *real = parse_long(text, n_bytes);
    return OMEN_NUMBER_REAL;
}
