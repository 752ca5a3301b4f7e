/* SPDX-License-Identifier: Apache-2.0 */
/* Values of options: from text to where they belong. */
#include "cmd/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FACTOR_MOST 1e6f

bool cmd_parse_integer(const char *command, const char *option, const char *text, uint64_t low, uint64_t high,
                       uint64_t *out)
{
    bool is_number = text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
    unsigned long long value = 0;

    if (is_number) {
        errno = 0;
        value = strtoull(text, NULL, 10);
        if (errno == 0 && value >= low && value <= high) {
            *out = value;
            return true;
        }
        if (errno == 0 && value < low)
            cmd_say(command, "%s must be at least %s", option, cmd_group(low).text);
        else
            cmd_say(command, "%s must be at most %s", option, cmd_group(high).text);
    } else {
        cmd_say(command, "%s wants a whole number, not \"%s\"", option, text);
    }
    return false;
}

/* Reads a number of bytes, with K, M, G or T for powers of 1024. */
static bool parse_size(const char *command, const char *option, const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    char *end = NULL;
    uint64_t scale = 1;
    unsigned long long value = 0;

    errno = 0;
    if (text[0] >= '0' && text[0] <= '9')
        value = strtoull(text, &end, 10);
    if (end && *end != '\0') {
        const char *unit = strchr(units, *end >= 'a' ? *end - 'a' + 'A' : *end);

        if (unit && (end[1] == '\0' || strcmp(end + 1, "iB") == 0 || strcmp(end + 1, "B") == 0)) {
            scale <<= 10 * (unit - units + 1);
            end += strlen(end);
        }
    }
    if (!end || *end != '\0' || errno != 0 || value == 0 || __builtin_mul_overflow(value, scale, out)) {
        cmd_say(command, "%s wants a size such as 512M or 4G, not \"%s\"", option, text);
        return false;
    }
    return true;
}

bool cmd_parse_share(const char *command, const char *option, const char *text, float *out)
{
    char *end;

    *out = strtof(text, &end);
    if (end == text || *end != '\0' || !(*out > 0 && *out <= 1)) {
        cmd_misuse(command, "%s takes a number over 0 and up to 1, not \"%s\"", option, text);
        return false;
    }
    return true;
}

/* ---- values that are one of some names ---- */

#define NAMES(function, ...)                                                                                           \
    const char *function(size_t i)                                                                                     \
    {                                                                                                                  \
        static const char *const names[] = {__VA_ARGS__};                                                              \
        return i < sizeof names / sizeof names[0] ? names[i] : NULL;                                                   \
    }

NAMES(cmd_metric_at, "l2", "ip", "cosine")
NAMES(cmd_codec_at, "auto", "pq", "rabitq", "none")
NAMES(cmd_refine_at, "auto", "sq8", "sq12", "sq16", "f16", "f32", "none")
NAMES(cmd_way_at, "auto", "lists", "graph", "exact")
NAMES(cmd_cpu_at, "scalar", "avx2", "avx512", "avx512vnni", "neon")

bool cmd_refuse_value(const char *command, const cmd_option *option, const char *value)
{
    const cmd_name choice = cmd_choice("", option->values);
    cmd_near near = {.name = NULL};
    const char *name;

    for (size_t i = 0; (name = option->values(i)) != NULL; i++)
        cmd_near_try(&near, value, strlen(value), name);
    if (near.name)
        cmd_say(command, "--%s must be %s, not \"%s\"; did you mean \"%s\"?", option->name, choice.text, value,
                near.name);
    else
        cmd_say(command, "--%s must be %s, not \"%s\"", option->name, choice.text, value);
    return false;
}

/* ---- cmd_take_fn: from an option of the table to the field it names ---- */

static void *field(const cmd_option *option, void *self)
{
    return (char *)self + option->offset;
}

/* An option as messages call it. */
static cmd_text label(const cmd_option *option)
{
    cmd_text out;

    snprintf(out.text, sizeof out.text, "--%s", option->name);
    return out;
}

static bool take_integer(const char *command, const cmd_option *option, const char *value, uint64_t *out)
{
    return cmd_parse_integer(command, label(option).text, value, option->least, option->most, out);
}

bool cmd_take_text(const char *command, const cmd_option *option, const char *value, void *self)
{
    *(const char **)field(option, self) = value;
    return true;
}

bool cmd_take_flag(const char *command, const cmd_option *option, const char *value, void *self)
{
    *(bool *)field(option, self) = true;
    return true;
}

bool cmd_take_quiet(const char *command, const cmd_option *option, const char *value, void *self)
{
    *(int *)field(option, self) = -1;
    return true;
}

bool cmd_take_verbose(const char *command, const cmd_option *option, const char *value, void *self)
{
    *(int *)field(option, self) = 1;
    return true;
}

bool cmd_take_size(const char *command, const cmd_option *option, const char *value, void *self)
{
    return parse_size(command, label(option).text, value, field(option, self));
}

bool cmd_take_share(const char *command, const cmd_option *option, const char *value, void *self)
{
    return cmd_parse_share(command, label(option).text, value, field(option, self));
}

bool cmd_take_factor(const char *command, const cmd_option *option, const char *value, void *self)
{
    float *out = field(option, self);
    char *end;

    *out = strtof(value, &end);
    if (end == value || *end != '\0' || !(*out > 0 && *out <= FACTOR_MOST)) {
        cmd_say(command, "--%s takes a number over 0 and up to %g, not \"%s\"", option->name, (double)FACTOR_MOST,
                value);
        return false;
    }
    return true;
}

bool cmd_take_int(const char *command, const cmd_option *option, const char *value, void *self)
{
    uint64_t number;

    if (!take_integer(command, option, value, &number))
        return false;
    *(int *)field(option, self) = (int)number;
    return true;
}

bool cmd_take_u32(const char *command, const cmd_option *option, const char *value, void *self)
{
    uint64_t number;

    if (!take_integer(command, option, value, &number))
        return false;
    *(uint32_t *)field(option, self) = (uint32_t)number;
    return true;
}

bool cmd_take_u64(const char *command, const cmd_option *option, const char *value, void *self)
{
    return take_integer(command, option, value, field(option, self));
}

bool cmd_take_metric(const char *command, const cmd_option *option, const char *value, void *self)
{
    return omen_metric_parse(value, field(option, self)) == OMEN_OK || cmd_refuse_value(command, option, value);
}

bool cmd_take_way(const char *command, const cmd_option *option, const char *value, void *self)
{
    return omen_search_way_parse(value, field(option, self)) == OMEN_OK || cmd_refuse_value(command, option, value);
}

bool cmd_take_codec(const char *command, const cmd_option *option, const char *value, void *self)
{
    return omen_codec_parse(value, field(option, self)) == OMEN_OK || cmd_refuse_value(command, option, value);
}

bool cmd_take_refine(const char *command, const cmd_option *option, const char *value, void *self)
{
    return omen_refine_parse(value, field(option, self)) == OMEN_OK || cmd_refuse_value(command, option, value);
}
