/* What the subcommands share: messages, exit codes, option values, numbers for people and for JSON. */
#include "cmd/cmd.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- messages ---- */

/* One line, whatever a file name holds: control characters could break the line or drive the terminal. */
static void print_line(const char *command, const char *format, va_list arguments)
{
    char text[4096];

    vsnprintf(text, sizeof text, format, arguments);
    for (char *c = text; *c != '\0'; c++) {
        if (iscntrl((unsigned char)*c)) {
            *c = '?';
        }
    }
    fprintf(stderr, command != NULL ? "omendb %s: %s\n" : "omendb%s: %s\n", command != NULL ? command : "", text);
}

void cmd_say(const char *command, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_line(command, format, arguments);
    va_end(arguments);
}

int cmd_misuse(const char *command, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_line(command, format, arguments);
    va_end(arguments);
    return CMD_EXIT_USAGE;
}

int cmd_exit_code(int code)
{
    switch (code) {
    case OMEN_OK:
        return CMD_EXIT_OK;
    case OMEN_ERR_ARGUMENT:
    case OMEN_ERR_INPUT:
        return CMD_EXIT_USAGE;
    case OMEN_ERR_CORRUPT:
    case OMEN_ERR_UNSUPPORTED:
        return CMD_EXIT_CORRUPT;
    case OMEN_ERR_MEMORY:
        return CMD_EXIT_MEMORY;
    case OMEN_ERR_INTERRUPTED:
        return CMD_EXIT_SIGNAL + (cmd_signals_noted() != 0 ? cmd_signals_noted() : SIGINT);
    default:
        return CMD_EXIT_IO;
    }
}

const char *cmd_cause(int code, const omen_detail *why)
{
    return why != NULL && why->text[0] != '\0' ? why->text : omen_error_text(code);
}

int cmd_fail(const char *command, int code, const omen_detail *why)
{
    cmd_say(command, "%s", cmd_cause(code, why));
    return cmd_exit_code(code);
}

/* ---- options ---- */

static const struct option *find_option(const struct option *options, int value)
{
    for (; options->name != NULL; options++) {
        if (options->val == value) {
            return options;
        }
    }
    return NULL;
}

/* How many options begin with the given word (which may end in "=value"). */
static int count_prefixed(const struct option *options, const char *word)
{
    size_t length = strcspn(word, "=");
    int n = 0;

    for (; options->name != NULL; options++) {
        n += strncmp(options->name, word, length) == 0;
    }
    return n;
}

int cmd_bad_option(const char *command, int returned, char **argv, const struct option *options)
{
    /* For a long option getopt_long() has moved past the word; for a letter inside a cluster it may not have. */
    const char *word = argv[optind - 1];
    bool is_long = strncmp(word, "--", 2) == 0;
    const struct option *known = optopt != 0 ? find_option(options, optopt) : NULL;

    if (returned == ':') {
        if (is_long && known != NULL) {
            return cmd_misuse(command, "option \"--%s\" needs a value; see \"omendb %s --help\"", known->name, command);
        }
        return cmd_misuse(command, "option \"-%c\" needs a value; see \"omendb %s --help\"", optopt, command);
    }
    if (known != NULL && is_long) {
        return cmd_misuse(command, "option \"--%s\" takes no value; see \"omendb %s --help\"", known->name, command);
    }
    if (optopt == 0 && is_long && count_prefixed(options, word + 2) > 1) {
        return cmd_misuse(command, "option \"%s\" is ambiguous; see \"omendb %s --help\"", word, command);
    }
    if (optopt != 0 && isprint((unsigned char)optopt)) {
        return cmd_misuse(command, "unknown option \"-%c\"; see \"omendb %s --help\"", optopt, command);
    }
    return cmd_misuse(command, "unknown option \"%s\"; see \"omendb %s --help\"", word, command);
}

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
        if (errno == 0 && value < low) {
            cmd_say(command, "%s must be at least %s", option, cmd_group(low).text);
        } else {
            cmd_say(command, "%s must be at most %s", option, cmd_group(high).text);
        }
    } else {
        cmd_say(command, "%s wants a whole number, not \"%s\"", option, text);
    }
    return false;
}

bool cmd_parse_size(const char *command, const char *option, const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    char *end = NULL;
    uint64_t scale = 1;
    unsigned long long value = 0;

    errno = 0;
    if (text[0] >= '0' && text[0] <= '9') {
        value = strtoull(text, &end, 10);
    }
    if (end != NULL && *end != '\0') {
        const char *unit = strchr(units, *end >= 'a' ? *end - 'a' + 'A' : *end);

        if (unit != NULL && (end[1] == '\0' || strcmp(end + 1, "iB") == 0 || strcmp(end + 1, "B") == 0)) {
            scale <<= 10 * (unit - units + 1);
            end += strlen(end);
        }
    }
    if (end == NULL || *end != '\0' || errno != 0 || value == 0 || __builtin_mul_overflow(value, scale, out)) {
        cmd_say(command, "%s wants a size such as 512M or 4G, not \"%s\"", option, text);
        return false;
    }
    return true;
}

bool cmd_parse_threads(const char *command, const char *text, int *out)
{
    uint64_t value;

    if (!cmd_parse_integer(command, "--threads", text, 1, CMD_MAX_THREADS, &value)) {
        return false;
    }
    *out = (int)value;
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

bool cmd_parse_dim(const char *command, const char *text, uint32_t *out)
{
    uint64_t value;

    if (!cmd_parse_integer(command, "--dim", text, 1, OMEN_MAX_DIM, &value)) {
        return false;
    }
    *out = (uint32_t)value;
    return true;
}

/* ---- opening ---- */

int cmd_open_rows(omen_vectors **out, const char *path, const char *format, uint32_t d, uint32_t index_d,
                  omen_detail *why)
{
    const omen_vectors_options options = {.format = format, .d = d, .raw_d = index_d};
    const int rc = omen_vectors_open(out, path, &options, why);

    /* Of vectors, not of an index: the exit code is that of unusable input. */
    return rc == OMEN_ERR_UNSUPPORTED || rc == OMEN_ERR_CORRUPT ? OMEN_ERR_INPUT : rc;
}

int cmd_open_index(omen_container **container, omen_index **index, const char *path, omen_index_info *info,
                   omen_detail *why)
{
    const int rc = omen_container_open(container, path, why);

    return rc == OMEN_OK ? cmd_read_index(container, index, path, info, why) : rc;
}

int cmd_read_index(omen_container **container, omen_index **index, const char *path, omen_index_info *info,
                   omen_detail *why)
{
    const omen_section *sections;
    size_t n_sections;
    int rc = omen_omz_unpack_container(container, path, why);

    if (rc != OMEN_OK) {
        return rc;
    }
    sections = omen_container_sections(*container, &n_sections);
    if (omen_codes_are(sections, n_sections)) {
        return omen_fail(why, OMEN_ERR_INPUT, "\"%s\" holds codes without lists, not an index; omendb build reads it",
                         path);
    }
    rc = omen_index_open(index, sections, n_sections, why);
    if (rc == OMEN_OK) {
        omen_index_get_info(*index, info);
    }
    return rc;
}

/* ---- printing ---- */

cmd_text cmd_group(uint64_t value)
{
    cmd_text out;
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    char *to = out.text;

    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) {
            *to++ = ',';
        }
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
    double value = n_bytes;
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

json_t *cmd_json_text(const char *text)
{
    json_t *out = json_string(text);
    size_t length = strlen(text);
    char *copy, *to;

    if (out != NULL) {
        return out;
    }
    copy = malloc(3 * length + 1);
    if (copy == NULL) {
        return NULL;
    }
    to = copy;
    for (size_t i = 0; i < length; i++) {
        if ((unsigned char)text[i] < 0x80) {
            *to++ = text[i];
        } else {
            to = stpcpy(to, "\xef\xbf\xbd");
        }
    }
    *to = '\0';
    out = json_string(copy);
    free(copy);
    return out;
}

json_t *cmd_json_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

int cmd_json_print(const char *command, json_t *object, FILE *stream)
{
    int rc = CMD_EXIT_OK;

    if (object == NULL) {
        return cmd_fail(command, OMEN_ERR_MEMORY, NULL);
    }
    if (json_dumpf(object, stream, JSON_REAL_PRECISION(7)) != 0 || fputc('\n', stream) == EOF || fflush(stream) != 0) {
        /* Nowhere to complain about stderr. */
        if (stream != stderr) {
            cmd_say(command, "cannot write to standard output: %s", strerror(errno));
        }
        rc = CMD_EXIT_IO;
    }
    json_decref(object);
    return rc;
}
