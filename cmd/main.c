/* SPDX-License-Identifier: Apache-2.0 */
/* omendb: the program. Finds the subcommand, and checks that all results reached standard output. */
#include "cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
};

static int cmd_help(int argc, char **argv);

/* Sorted by name. */
static const struct command commands[] = {
    {"attach", "an index -> the same with keys, columns or a graph", cmd_attach},
    {"bench", "measure recall, speed and memory; gate them in CI", cmd_bench},
    {"build", "vectors -> index: writes vectors.omen", cmd_build},
    {"compress", "vectors or an index -> smaller, and back", cmd_compress},
    {"help", "explain omendb or one of its commands", cmd_help},
    {"info", "tell what a file is: vectors, an index, a checkpoint", cmd_info},
    {"query", "queries -> neighbours: searches an index", cmd_query},
    {"verify", "check an index: checksums, structure, its source", cmd_verify},
};

#define N_COMMANDS (sizeof commands / sizeof commands[0])

static void print_help(void)
{
    fputs("usage: omendb COMMAND [options] ...\n"
          "       omendb COMMAND --help\n"
          "       omendb --help | --version\n"
          "\n"
          "Indexes files of vectors for nearest-neighbour search, in batches.\n"
          "\n"
          "commands:\n",
          stdout);
    for (size_t i = 0; i < N_COMMANDS; i++)
        printf("  %-8s %s\n", commands[i].name, commands[i].summary);
    fputs("\n"
          "options:\n"
          "  -h, --help     print this help\n"
          "  -V, --version  print the version\n"
          "\n"
          "exit codes:\n"
          "  0 done   2 wrong usage or unusable input   3 corrupt index   4 I/O error   5 out of memory\n"
          "  130 interrupted (128 + the signal's number)   141 the reader of the results went away\n"
          "\n"
          "example:\n"
          "  omendb build base.fvecs                 writes base.omen\n"
          "  omendb query -k 10 base.omen q.fvecs    prints query, rank and row of each neighbour\n"
          "  omendb verify base.omen\n",
          stdout);
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* Edits (insert, delete, replace) between two words, of which a has at most 31 letters. */
static int edit_distance(const char *a, const char *b)
{
    size_t n = strlen(a);
    int row[32];

    for (size_t i = 0; i <= n; i++)
        row[i] = (int)i;
    for (; *b != '\0'; b++) {
        int diagonal = row[0]++;

        for (size_t i = 1; i <= n; i++) {
            int best = diagonal + (a[i - 1] != *b);

            diagonal = row[i];
            best = best < row[i] + 1 ? best : row[i] + 1;
            row[i] = best < row[i - 1] + 1 ? best : row[i - 1] + 1;
        }
    }
    return row[n];
}

static int unknown_command(const char *name)
{
    const struct command *near = NULL;
    int best = 3; /* a word further off than two edits is another word */

    for (size_t i = 0; i < N_COMMANDS; i++) {
        int edits = edit_distance(commands[i].name, name);

        if (name[0] != '\0' && strncmp(commands[i].name, name, strlen(name)) == 0)
            edits = 0;
        if (edits < best) {
            best = edits;
            near = &commands[i];
        }
    }
    if (near)
        return cmd_misuse(NULL, "unknown command \"%s\"; did you mean \"%s\"?", name, near->name);
    return cmd_misuse(NULL, "unknown command \"%s\"; see \"omendb --help\"", name);
}

static int unknown_option(const char *word)
{
    static const char *const options[] = {"--help", "--version"};

    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        if (strlen(word) > 2 && strncmp(options[i], word, strlen(word)) == 0)
            return cmd_misuse(NULL, "unknown option \"%s\"; did you mean \"%s\"?", word, options[i]);
    return cmd_misuse(NULL, "unknown option \"%s\"; see \"omendb --help\"", word);
}

static int cmd_help(int argc, char **argv)
{
    const struct command *command;

    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help();
        return CMD_EXIT_OK;
    }
    command = find_command(argv[1]);
    if (!command)
        return unknown_command(argv[1]);
    return command->run(2, (char *[]){argv[1], "--help", NULL});
}

/* A closed standard descriptor would be handed to the next file opened, and messages would end up inside that file.
 * The wrong direction is on purpose: using it still fails. */
static void occupy_standard_files(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            _exit(CMD_EXIT_IO);
}

/* A full disk or a closed pipe often shows only here. */
static int close_stdout(const char *command, int exit_code)
{
    bool pending = __fpending(stdout) > 0;
    bool failed = ferror(stdout);

    errno = 0;
    if (fclose(stdout) != 0 && (pending || errno != EBADF))
        failed = true;
    if (!failed || exit_code >= CMD_EXIT_IO)
        return exit_code;
    if (cmd_signals_pipe_broke())
        return CMD_EXIT_PIPE;
    if (errno != 0)
        cmd_say(command, "cannot write to standard output: %s", strerror(errno));
    else
        cmd_say(command, "cannot write to standard output");
    return CMD_EXIT_IO;
}

static const char *running; /* the subcommand at work */

/* A library that finds no memory or no thread may end the process by itself: what is half-made goes, and the exit code
 * is this program's. */
static void on_exit_of_library(void)
{
    if (running) {
        omen_temporaries_remove();
        cmd_say(running, "out of memory or threads, which a library does not survive; try fewer --threads");
        _exit(CMD_EXIT_MEMORY);
    }
}

int main(int argc, char **argv)
{
    const struct command *command = NULL;
    int status;

    occupy_standard_files();
    atexit(on_exit_of_library);
    cmd_threads_init();
    command = argc > 1 ? find_command(argv[1]) : NULL;
    cmd_signals_start(command ? command->name : NULL);

    if (argc < 2) {
        status = cmd_misuse(NULL, "no command given; see \"omendb --help\"");
    } else if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help();
        status = CMD_EXIT_OK;
    } else if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        puts("omendb " OMEN_VERSION);
        status = CMD_EXIT_OK;
    } else if (argv[1][0] == '-') {
        status = unknown_option(argv[1]);
    } else if (!command) {
        status = unknown_command(argv[1]);
    } else {
        running = command->name;
        status = command->run(argc - 1, argv + 1);
        running = NULL;
    }
    status = close_stdout(command ? command->name : NULL, status);
    if (status == CMD_EXIT_PIPE) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    return status;
}
