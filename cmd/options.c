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

/* The length of the UTF-8 sequence at the text's beginning that may be printed; 0 if there is none. Of more than one
 * byte, neither the second set of control characters nor surrogates, U+FFFE, U+FFFF and what is beyond U+10FFFF. */
static size_t printable_length(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    const size_t length = c[0] < 0x80 ? 1 : c[0] >= 0xc2 && c[0] < 0xe0 ? 2 : c[0] >= 0xe0 && c[0] < 0xf0 ? 3 : 4;
    uint32_t code = length == 1 ? c[0] : c[0] & (0x7fu >> length);

    for (size_t i = 1; i < length; i++) {
        if ((c[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (c[i] & 0x3f);
    }
    if (length == 1) {
        return code >= 0x20 && code != 0x7f;
    }
    return c[0] >= 0xc2 && c[0] < 0xf5 && code >= 0xa0 && code <= 0x10ffff && !(length == 3 && code < 0x800) &&
                   !(length == 4 && code < 0x10000) && !(code >= 0xd800 && code < 0xe000) && (code & 0xfffe) != 0xfffe
               ? length
               : 0;
}

/* Replaces what would break a line, drive a terminal or is no text. */
void cmd_make_printable(char *text)
{
    while (*text != '\0') {
        const size_t length = printable_length(text);

        if (length == 0) {
            *text = '?';
        }
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

/* One line, whatever a file name holds. */
static void print_line(const char *command, const char *format, va_list arguments)
{
    char text[4096];

    vsnprintf(text, sizeof text, format, arguments);
    cmd_make_printable(text);
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
    if (code == OMEN_ERR_IO && cmd_signals_pipe_broke()) {
        return CMD_EXIT_PIPE;
    }
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

/* The option that a word such as "--recall" or "--recall=0.9" is, or the first that it begins: *exact tells which. */
static const struct option *find_word(const struct option *options, const char *word, bool *exact)
{
    const size_t length = strcspn(word + 2, "=");
    const struct option *begun = NULL;

    for (; options->name != NULL; options++) {
        if (strncmp(options->name, word + 2, length) == 0) {
            *exact = options->name[length] == '\0';
            if (*exact) {
                return options;
            }
            begun = begun == NULL ? options : begun;
        }
    }
    return begun;
}

/* Tells that a word is no option, and which it may have been meant for. */
static void refuse_word(const char *command, const char *word, const struct option *near)
{
    if (near != NULL && strcspn(word, "=") > 2) {
        cmd_say(command, "unknown option \"%.*s\"; did you mean \"--%s\"?", (int)strcspn(word, "="), word, near->name);
    } else {
        cmd_say(command, "unknown option \"%s\"; see \"omendb %s --help\"", word, command);
    }
}

/* Tells what getopt_long() returned '?' or ':' for. */
static void refuse_option(const char *command, int returned, const char *word, const struct option *options)
{
    const struct option *known = optopt != 0 ? find_option(options, optopt) : NULL;
    const bool is_long = strncmp(word, "--", 2) == 0;

    if (returned == ':' && is_long && known != NULL) {
        cmd_say(command, "option \"--%s\" needs a value; see \"omendb %s --help\"", known->name, command);
    } else if (returned == ':') {
        cmd_say(command, "option \"-%c\" needs a value; see \"omendb %s --help\"", optopt, command);
    } else if (known != NULL && is_long) {
        cmd_say(command, "option \"--%s\" takes no value; see \"omendb %s --help\"", known->name, command);
    } else if (optopt != 0 && isprint((unsigned char)optopt)) {
        cmd_say(command, "unknown option \"-%c\"; see \"omendb %s --help\"", optopt, command);
    } else {
        cmd_say(command, "unknown option \"%s\"; see \"omendb %s --help\"", word, command);
    }
}

int cmd_next_option(const char *command, int argc, char **argv, const char *short_options, const struct option *options)
{
    const struct option *near;
    const char *word;
    int option, index = -1;
    bool exact = false, is_letter;

    opterr = 0;
    optopt = 0;
    option = getopt_long(argc, argv, short_options, options, &index);
    if (option == -1) {
        return -1;
    }
    /* getopt_long() is past the word, and past its value if that was a word of its own; of a cluster of letters it may
     * still be inside */
    word = argv[optind - 1];
    if (index >= 0 && optarg != NULL && optarg == word) {
        word = argv[optind - 2];
    }
    /* It takes the beginning of a name for the name: a script's --re would change its meaning with the next option that
     * begins so. */
    is_letter = optopt != 0 && find_option(options, optopt) == NULL;
    if ((index >= 0 || ((option == '?' || option == ':') && !is_letter)) && strncmp(word, "--", 2) == 0) {
        near = find_word(options, word, &exact);
        if (!exact) {
            refuse_word(command, word, near);
            return CMD_BAD_OPTION;
        }
    }
    if (option == '?' || option == ':') {
        refuse_option(command, option, word, options);
        return CMD_BAD_OPTION;
    }
    return option;
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

cmd_text cmd_extension(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path, *dot = strrchr(name, '.');
    cmd_text out = {""};

    if (dot != NULL && dot != name) {
        snprintf(out.text, sizeof out.text, "%s", dot + 1);
    }
    for (char *c = out.text; *c != '\0'; c++) {
        *c = (char)tolower((unsigned char)*c);
    }
    return out;
}

/* The format that a file's name stands for, of all that omendb reads or writes; NULL for none of them. */
static const char *named_format(const char *path)
{
    static const char *const others[] = {"omen", "omz", "ibin", "tsv", "jsonl", "json", "svg", "png"};
    const cmd_text extension = cmd_extension(path);

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strcmp(extension.text, others[i]) == 0) {
            return others[i];
        }
    }
    return omen_vectors_named(path);
}

int cmd_check_extension(const char *command, const char *output, const char *format, const char *what)
{
    const char *named = named_format(output);

    if (named == NULL || strcmp(named, format) == 0) {
        return CMD_GO_ON;
    }
    return cmd_misuse(command,
                      "\"%s\" is named like %s, and would hold %s: choose another name, such as one that ends with .%s",
                      output, named, what, format);
}

int cmd_open_rows(omen_vectors **out, const char *path, const char *format, uint32_t d, uint32_t index_d,
                  omen_detail *why)
{
    const omen_vectors_options options = {.format = format, .d = d, .raw_d = index_d};
    const int rc = omen_vectors_open(out, path, &options, why);

    /* Of vectors, not of an index: the exit code is that of unusable input. */
    return rc == OMEN_ERR_UNSUPPORTED || rc == OMEN_ERR_CORRUPT ? OMEN_ERR_INPUT : rc;
}

int cmd_name_damage(const char *path, int code, omen_detail *why)
{
    const omen_detail cause = *why;

    return code == OMEN_ERR_CORRUPT ? omen_fail(why, code, "\"%s\" is damaged: %.300s", path, cmd_cause(code, &cause))
                                    : code;
}

int cmd_open_index(omen_container **container, omen_index **index, const char *path, bool checks, omen_index_info *info,
                   omen_detail *why)
{
    const int rc = omen_container_open(container, path, why);

    return rc == OMEN_OK ? cmd_read_index(container, index, path, checks, info, why) : rc;
}

int cmd_read_index(omen_container **container, omen_index **index, const char *path, bool checks, omen_index_info *info,
                   omen_detail *why)
{
    int rc = omen_container_open_index(container, index, path, cmd_memory_free_bytes(), checks, why);

    if (rc == OMEN_OK) {
        info->struct_bytes = sizeof *info;
        rc = omen_index_get_info(*index, info);
    }
    return cmd_name_damage(path, rc, why);
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
        rc = cmd_signals_pipe_broke() ? CMD_EXIT_PIPE : CMD_EXIT_IO;
        /* Nowhere to complain about stderr. */
        if (stream != stderr && rc == CMD_EXIT_IO) {
            cmd_say(command, "cannot write to standard output: %s", strerror(errno));
        }
    }
    json_decref(object);
    return rc;
}
