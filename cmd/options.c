/* Options of the command line: which one it is, and its value. */
#include "cmd/cmd.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
