/* SPDX-License-Identifier: Apache-2.0 */
/* The options of a command line, by the table of its subcommand: parsing and --help. */
#include "cmd/options.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define HELP_WIDTH 99 /* of a line of --help */

/* What next_option() returns after it has told a mistake. */
#define BAD_OPTION '?'

/* What it returns for the first option of a table that has no letter; those of others follow. */
#define FIRST_WITHOUT_LETTER 256

static const struct option *find_option(const struct option *options, int value)
{
    for (; options->name; options++)
        if (options->val == value)
            return options;
    return NULL;
}

/* The name that a word is most likely meant for; NULL for another word. */
static const struct option *find_near(const struct option *options, const char *word)
{
    const struct option *found = NULL;
    cmd_near near = {.name = NULL};

    for (; options->name; options++) {
        cmd_near_try(&near, word + 2, strcspn(word + 2, "="), options->name);
        if (near.name == options->name)
            found = options;
    }
    return found;
}

/* The option that a word such as "--recall" or "--recall=0.9" is, or the first that it begins, else the nearest: *exact
 * tells which. "--outp" begins --output before it begins --output-format, wherever they stand. */
static const struct option *find_word(const struct option *options, const char *word, bool *exact)
{
    const size_t length = strcspn(word + 2, "=");
    const struct option *begun = NULL, *all = options;

    for (; options->name; options++) {
        if (strncmp(options->name, word + 2, length) == 0) {
            *exact = options->name[length] == '\0';
            if (*exact)
                return options;
            if (!begun || strncmp(begun->name, options->name, strlen(options->name)) == 0)
                begun = options;
        }
    }
    return begun ? begun : find_near(all, word);
}

/* Tells that a word is no option, and which it may have been meant for. */
static void refuse_word(const char *command, const char *word, const struct option *near)
{
    if (near && strcspn(word, "=") > 2)
        cmd_say(command, "unknown option \"%.*s\"; did you mean \"--%s\"?", (int)strcspn(word, "="), word, near->name);
    else
        cmd_say(command, "unknown option \"%s\"; see \"omendb %s --help\"", word, command);
}

/* Tells what getopt_long() returned '?' or ':' for. */
static void refuse_option(const char *command, int returned, const char *word, const struct option *options)
{
    const struct option *known = optopt != 0 ? find_option(options, optopt) : NULL;
    const bool is_long = strncmp(word, "--", 2) == 0;

    if (returned == ':' && is_long && known)
        cmd_say(command, "option \"--%s\" needs a value; see \"omendb %s --help\"", known->name, command);
    else if (returned == ':')
        cmd_say(command, "option \"-%c\" needs a value; see \"omendb %s --help\"", optopt, command);
    else if (known && is_long)
        cmd_say(command, "option \"--%s\" takes no value; see \"omendb %s --help\"", known->name, command);
    else if (optopt != 0 && isprint((unsigned char)optopt))
        cmd_say(command, "unknown option \"-%c\"; see \"omendb %s --help\"", optopt, command);
    else
        cmd_say(command, "unknown option \"%s\"; see \"omendb %s --help\"", word, command);
}

/* The next option as getopt_long() finds it: its value, with optarg set; -1 after the last; BAD_OPTION for one that is
 * unknown or abbreviated, lacks its value or has one too many, which has been told. short_options has to begin with
 * ':'. */
static int next_option(const char *command, int argc, char **argv, const char *short_options,
                       const struct option *options)
{
    const struct option *near;
    const char *word;
    int option, index = -1;
    bool exact = false, is_letter;

    opterr = 0;
    optopt = 0;
    option = getopt_long(argc, argv, short_options, options, &index);
    if (option == -1)
        return -1;
    /* getopt_long() is past the word, and past its value if that was a word of its own; of a cluster of letters it may
     * still be inside */
    word = argv[optind - 1];
    if (index >= 0 && optarg && optarg == word)
        word = argv[optind - 2];
    /* It takes the beginning of a name for the name: a script's --re would change its meaning with the next option that
     * begins so. */
    is_letter = optopt != 0 && !find_option(options, optopt);
    if ((index >= 0 || ((option == '?' || option == ':') && !is_letter)) && strncmp(word, "--", 2) == 0) {
        near = find_word(options, word, &exact);
        if (!exact) {
            refuse_word(command, word, near);
            return BAD_OPTION;
        }
    }
    if (option == '?' || option == ':') {
        refuse_option(command, option, word, options);
        return BAD_OPTION;
    }
    return option;
}

/* ---- the table ---- */

/* What getopt_long() wants to know. letters begins with ':'. */
static void put_getopt(const cmd_syntax *syntax, char letters[4 * CMD_MAX_OPTIONS], struct option *options)
{
    char *to = letters;

    *to++ = ':';
    for (size_t i = 0; i < syntax->n_options; i++) {
        const cmd_option *option = &syntax->options[i];

        for (const char *letter = option->letters; letter && *letter != '\0'; letter++) {
            *to++ = *letter;
            if (option->argument)
                *to++ = ':';
        }
        if (option->name) {
            *options++ = (struct option){
                .name = option->name,
                .has_arg = option->argument ? required_argument : no_argument,
                .val = option->letters ? option->letters[0] : FIRST_WITHOUT_LETTER + (int)i,
            };
        }
    }
    *to = '\0';
    *options = (struct option){.name = NULL};
}

/* The option of the table that next_option() returned found for. */
static const cmd_option *look_up(const cmd_syntax *syntax, int found)
{
    const cmd_option *option = syntax->options;

    if (found >= FIRST_WITHOUT_LETTER)
        return &option[found - FIRST_WITHOUT_LETTER];
    while (!option->letters || !strchr(option->letters, found))
        option++;
    return option;
}

/* Names with commas between them, in lines of HELP_WIDTH. */
static void print_names(const char *names, int column)
{
    for (int at = column, n; *names != '\0'; at += n) {
        n = (int)strcspn(names, " ");
        if (at > column && at + 1 + n > HELP_WIDTH) {
            printf("\n%*s", column, "");
            at = column;
        } else if (at > column) {
            putchar(' ');
            at++;
        }
        printf("%.*s", n, names);
        names += names[n] == ' ' ? n + 1 : n;
    }
}

/* A text of --help with the numbers of its option; lines after the first are indented. */
static void print_text(const cmd_option *option, int column)
{
    for (const char *c = option->help; *c != '\0'; c++) {
        if (*c == '%' && c[1] != '\0' && strchr("lmd", c[1])) {
            c++;
            printf("%llu", (unsigned long long)(*c == 'l' ? option->least : *c == 'm' ? option->most : option->usual));
        } else if (*c == '\n') {
            printf("\n%*s", column, "");
        } else {
            putchar(*c);
        }
    }
    if (option->names)
        print_names(option->names(), column);
    putchar('\n');
}

static void print_option(const cmd_option *option, int column)
{
    char left[80];
    int width;

    if (option->shown) {
        width = snprintf(left, sizeof left, "  %s", option->shown);
    } else {
        width = snprintf(left, sizeof left, "  %s%s%s--%s%s%s", option->letters ? "-" : "",
                         option->letters ? option->letters : "    ", option->letters ? ", " : "", option->name,
                         option->argument ? " " : "", option->argument ? option->argument : "");
    }
    if (width + 2 > column)
        printf("%s\n%*s", left, column, "");
    else
        printf("%-*s", column, left);
    print_text(option, column);
}

static void print_help(const cmd_syntax *syntax)
{
    fputs(syntax->usage, stdout);
    for (size_t i = 0; i < syntax->n_options; i++) {
        if (syntax->options[i].group)
            printf("\n%s:\n", syntax->options[i].group);
        if (syntax->options[i].help)
            print_option(&syntax->options[i], syntax->column);
    }
    if (syntax->print_lists) {
        printf("\n");
        syntax->print_lists();
    }
    printf("\n%s", syntax->notes);
}

int cmd_options_parse(const cmd_syntax *syntax, int argc, char **argv, void *self)
{
    struct option options[CMD_MAX_OPTIONS + 1];
    char letters[4 * CMD_MAX_OPTIONS];
    int found;

    put_getopt(syntax, letters, options);
    while ((found = next_option(syntax->command, argc, argv, letters, options)) != -1) {
        const char letter[2] = {found < FIRST_WITHOUT_LETTER ? (char)found : '\0', '\0'};
        const cmd_option *option;

        if (found == BAD_OPTION)
            return CMD_EXIT_USAGE;
        option = look_up(syntax, found);
        if (!option->take) {
            print_help(syntax);
            return CMD_EXIT_OK;
        }
        if (!option->take(syntax->command, option, option->argument ? optarg : letter, self))
            return CMD_EXIT_USAGE;
        while (option->takes_words && optind < argc && argv[optind][0] != '-')
            if (!option->take(syntax->command, option, argv[optind++], self))
                return CMD_EXIT_USAGE;
    }
    return CMD_GO_ON;
}
