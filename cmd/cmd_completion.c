/* SPDX-License-Identifier: Apache-2.0 */
/* omendb completion: scripts by which shells complete the command line, from the tables of options. */
#include "cmd/options.h"

#include <stdio.h>
#include <string.h>

#define NAME "completion"

static const char *shell_at(size_t i)
{
    static const char *const names[] = {"bash", "zsh", "fish"};

    return i < sizeof names / sizeof names[0] ? names[i] : NULL;
}

static const cmd_option options[] = {
    {.group = "messages", CMD_OPTION_HELP},
};

const cmd_syntax cmd_completion_syntax = {
    .command = NAME,
    .usage = "usage: omendb completion bash | zsh | fish\n"
             "\n"
             "Prints a script by which the shell completes commands, options, their values and names of\n"
             "files. An installed omendb has it in place already.\n",
    .notes = "examples:\n"
             "  source <(omendb completion bash)\n"
             "  omendb completion zsh > ~/.zfunc/_omendb          with ~/.zfunc in fpath\n"
             "  omendb completion fish > ~/.config/fish/completions/omendb.fish\n",
    .column = 14,
    .options = options,
    .n_options = CMD_COUNT(options),
};

/* ---- what an option takes ---- */

/* Which files the value of an option is; CMD_FILES_NONE: none. */
static int files_of(const cmd_option *option)
{
    if (!option->argument || option->values)
        return CMD_FILES_NONE;
    return option->files ? option->files : strstr(option->argument, "FILE") ? CMD_FILES_ANY : CMD_FILES_NONE;
}

/* The formats of vectors that an option takes, with commas between; "": it takes none. */
static const char *formats_of(const cmd_option *option)
{
    if (option->names == omen_vectors_write_formats)
        return omen_vectors_write_formats();
    return option->name && strcmp(option->name, "format") == 0 ? omen_vectors_formats() : "";
}

/* Prints the names that a value may be with blanks between. Whether there are any. */
static bool print_values(const cmd_option *option)
{
    const char *name, *names = formats_of(option);

    for (size_t i = 0; option->values && (name = option->values(i)) != NULL; i++)
        printf("%s%s", i > 0 ? " " : "", name);
    for (; *names != '\0'; names++)
        if (*names != ',')
            putchar(*names);
    return option->values || names[0] != '\0';
}

/* Prints the extensions of such files, each after before and followed by after; nothing for any file. */
static void print_extensions(int files, const char *before, const char *after)
{
    static const char *const of_index[] = {"omen", "omz"}, *const of_table[] = {"tsv", "csv", "jsonl", "ndjson"};

    if (files & CMD_FILES_ANY)
        return;
    for (size_t i = 0; files & CMD_FILES_INDEX && i < sizeof of_index / sizeof of_index[0]; i++)
        printf("%s%s%s", before, of_index[i], after);
    for (size_t i = 0; files & CMD_FILES_TABLE && i < sizeof of_table / sizeof of_table[0]; i++)
        printf("%s%s%s", before, of_table[i], after);
    if (!(files & CMD_FILES_VECTORS))
        return;
    for (const char *name = omen_vectors_formats(); *name != '\0';) {
        const size_t length = strcspn(name, ", ");

        printf("%s%.*s%s", before, (int)length, name, after);
        name += length + strspn(name + length, ", ");
    }
    if (!(files & CMD_FILES_INDEX))
        printf("%somz%s", before, after);
}

/* Prints the first line of an option's help; characters of special are left out. */
static void print_brief(const cmd_option *option, const char *special)
{
    for (const char *c = option->help ? option->help : ""; *c != '\0' && *c != '\n'; c++) {
        if (*c == '%' && c[1] != '\0' && strchr("lmd", c[1])) {
            c++;
            printf("%llu", (unsigned long long)(*c == 'l' ? option->least : *c == 'm' ? option->most : option->usual));
        } else if (!strchr(special, *c)) {
            putchar(*c);
        }
    }
}

/* ---- bash ---- */

static void print_bash_values(const cmd_option *option)
{
    const int files = files_of(option);

    for (const char *letter = option->letters; letter && *letter != '\0'; letter++)
        printf("%s-%c", letter > option->letters ? " | " : "        ", *letter);
    printf("%s--%s) ", option->letters ? " | " : "        ", option->name);
    if (files != CMD_FILES_NONE) {
        printf("_omendb_files");
        print_extensions(files, " ", "");
    } else {
        printf("_omendb_words '");
        print_values(option);
        printf("'");
    }
    printf("; return ;;\n");
}

static void print_bash_command(const cmd_syntax *syntax)
{
    printf("    %s)\n        case $prev in\n", syntax->command);
    for (size_t i = 0; i < syntax->n_options; i++)
        if (syntax->options[i].name && syntax->options[i].argument)
            print_bash_values(&syntax->options[i]);
    printf("        esac\n        case $cur in\n        -*) _omendb_words '");
    for (size_t i = 0; i < syntax->n_options; i++)
        if (syntax->options[i].name)
            printf("%s--%s", i > 0 ? " " : "", syntax->options[i].name);
    printf("' ;;\n");
    if (syntax->operands) {
        printf("        *) _omendb_files");
        print_extensions(syntax->operands, " ", "");
        printf(" ;;\n");
    } else {
        printf("        *) _omendb_words 'bash zsh fish' ;;\n");
    }
    printf("        esac\n        ;;\n");
}

static void print_bash(const cmd_command *commands, size_t n)
{
    printf("# bash completion for omendb, made by \"omendb completion bash\"\n"
           "\n"
           "_omendb_words()\n"
           "{\n"
           "    COMPREPLY=($(compgen -W \"$1\" -- \"$cur\"))\n"
           "}\n"
           "\n"
           "# names of files with these extensions, and directories; of all files where there are none\n"
           "_omendb_files()\n"
           "{\n"
           "    local IFS=$'\\n' extension\n"
           "    compopt -o filenames 2>/dev/null\n"
           "    for extension; do\n"
           "        COMPREPLY+=($(compgen -f -X \"!*.$extension\" -- \"$cur\"))\n"
           "    done\n"
           "    if [ ${#COMPREPLY[@]} -eq 0 ]; then\n"
           "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
           "    else\n"
           "        COMPREPLY+=($(compgen -d -- \"$cur\"))\n"
           "    fi\n"
           "}\n"
           "\n"
           "_omendb()\n"
           "{\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
           "    COMPREPLY=()\n"
           "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
           "        _omendb_words '");
    for (size_t i = 0; i < n; i++)
        printf("%s ", commands[i].name);
    printf("--help --version'\n"
           "        return\n"
           "    fi\n"
           "    # --name=value is three words\n"
           "    if [ \"$cur\" = = ]; then\n"
           "        cur=\n"
           "    elif [ \"$prev\" = = ]; then\n"
           "        prev=${COMP_WORDS[COMP_CWORD - 2]}\n"
           "    fi\n"
           "    case ${COMP_WORDS[1]} in\n"
           "    help)\n"
           "        _omendb_words '");
    for (size_t i = 0; i < n; i++)
        printf("%s%s", i > 0 ? " " : "", commands[i].name);
    printf("' ;;\n");
    for (size_t i = 0; i < n; i++)
        if (commands[i].syntax)
            print_bash_command(commands[i].syntax);
    printf("    esac\n"
           "}\n"
           "\n"
           "complete -F _omendb omendb\n");
}

/* ---- zsh ---- */

/* In single quotes, and in brackets. */
#define ZSH_SPECIAL "'[]\\"

static void print_zsh_files(int files)
{
    printf("_files");
    if (!(files & CMD_FILES_ANY)) {
        printf(" -g \"*.(");
        print_extensions(files, "", "|");
        printf(")\"");
    }
}

static void print_zsh_option(const cmd_option *option)
{
    const char letter = option->letters ? option->letters[0] : '\0';

    const char *equals = option->argument ? "=" : "";

    if (letter)
        printf("            '(-%c --%s)'{-%c,--%s%s}'[", letter, option->name, letter, option->name, equals);
    else
        printf("            '--%s%s[", option->name, equals);
    print_brief(option, ZSH_SPECIAL);
    printf("]");
    if (option->argument) {
        const int files = files_of(option);

        printf(":value:");
        if (files != CMD_FILES_NONE) {
            print_zsh_files(files);
        } else if (option->values || formats_of(option)[0] != '\0') {
            printf("(");
            print_values(option);
            printf(")");
        } else {
            printf(" ");
        }
    }
    printf("' \\\n");
}

static void print_zsh(const cmd_command *commands, size_t n)
{
    printf("#compdef omendb\n"
           "# zsh completion for omendb, made by \"omendb completion zsh\"\n"
           "\n"
           "_omendb()\n"
           "{\n"
           "    local -a commands\n"
           "    commands=(\n");
    for (size_t i = 0; i < n; i++) {
        const cmd_option summary = {.help = commands[i].summary};

        printf("        '%s:", commands[i].name);
        print_brief(&summary, ZSH_SPECIAL);
        printf("'\n");
    }
    printf("    )\n"
           "    if ((CURRENT == 2)); then\n"
           "        _describe command commands\n"
           "        return\n"
           "    fi\n"
           "    local command=$words[2]\n"
           "    shift words\n"
           "    ((CURRENT--))\n"
           "    case $command in\n"
           "    help)\n"
           "        _describe command commands\n"
           "        ;;\n");
    for (size_t i = 0; i < n; i++) {
        const cmd_syntax *syntax = commands[i].syntax;

        if (!syntax)
            continue;
        printf("    %s)\n        _arguments -s \\\n", commands[i].name);
        for (size_t j = 0; j < syntax->n_options; j++)
            if (syntax->options[j].name)
                print_zsh_option(&syntax->options[j]);
        printf("            '*:file:");
        if (syntax->operands)
            print_zsh_files(syntax->operands);
        else
            printf("(bash zsh fish)");
        printf("'\n        ;;\n");
    }
    printf("    esac\n"
           "}\n"
           "\n"
           "_omendb \"$@\"\n");
}

/* ---- fish ---- */

/* In single quotes. */
#define FISH_SPECIAL "'\\"

static void print_fish_option(const char *command, const cmd_option *option)
{
    printf("complete -c omendb -n '__fish_seen_subcommand_from %s'", command);
    for (const char *letter = option->letters; letter && *letter != '\0'; letter++)
        printf(" -s %c", *letter);
    printf(" -l %s", option->name);
    if (files_of(option) != CMD_FILES_NONE) {
        printf(" -r -F");
    } else if (option->argument) {
        printf(" -x -a '");
        print_values(option);
        printf("'");
    }
    printf(" -d '");
    print_brief(option, FISH_SPECIAL);
    printf("'\n");
}

static void print_fish(const cmd_command *commands, size_t n)
{
    printf("# fish completion for omendb, made by \"omendb completion fish\"\n"
           "\n"
           "complete -c omendb -n __fish_use_subcommand -f\n"
           "complete -c omendb -n __fish_use_subcommand -s h -l help -d 'print help'\n"
           "complete -c omendb -n __fish_use_subcommand -s V -l version -d 'print the version'\n");
    for (size_t i = 0; i < n; i++) {
        const cmd_option summary = {.help = commands[i].summary};

        printf("complete -c omendb -n __fish_use_subcommand -a %s -d '", commands[i].name);
        print_brief(&summary, FISH_SPECIAL);
        printf("'\n");
    }
    printf("complete -c omendb -n '__fish_seen_subcommand_from help' -f -a '");
    for (size_t i = 0; i < n; i++)
        printf("%s%s", i > 0 ? " " : "", commands[i].name);
    printf("'\n");
    for (size_t i = 0; i < n; i++) {
        const cmd_syntax *syntax = commands[i].syntax;

        if (!syntax)
            continue;
        for (size_t j = 0; j < syntax->n_options; j++)
            if (syntax->options[j].name)
                print_fish_option(commands[i].name, &syntax->options[j]);
        if (!syntax->operands)
            printf("complete -c omendb -n '__fish_seen_subcommand_from %s' -f -a 'bash zsh fish'\n", commands[i].name);
    }
}

int cmd_completion_print(int argc, char **argv, const cmd_command *commands, size_t n_commands)
{
    static void (*const prints[])(const cmd_command *, size_t) = {print_bash, print_zsh, print_fish};
    const int status = cmd_options_parse(&cmd_completion_syntax, argc, argv, NULL);
    const char *name;

    if (status != CMD_GO_ON)
        return status;
    if (argc - optind != 1)
        return cmd_misuse(NAME, "one shell is wanted: %s", cmd_choice("", shell_at).text);
    for (size_t i = 0; (name = shell_at(i)) != NULL; i++) {
        if (strcmp(name, argv[optind]) == 0) {
            prints[i](commands, n_commands);
            return CMD_EXIT_OK;
        }
    }
    return cmd_misuse(NAME, "there is no completion for \"%s\", only for %s", argv[optind],
                      cmd_choice("", shell_at).text);
}
