/* SPDX-License-Identifier: Apache-2.0 */
/* omendb: the program. Finds the subcommand, and checks that all results reached standard output. */
#include "cmd/options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int cmd_completion(int argc, char **argv);
static int cmd_help(int argc, char **argv);

/* Sorted by name. */
static const cmd_command commands[] = {
    {"attach", "an index -> the same with keys, columns or a graph", cmd_attach, &cmd_attach_syntax},
    {"bench", "measure recall, speed and memory; gate them in CI", cmd_bench, &cmd_bench_syntax},
    {"build", "vectors, of one file or several -> an index", cmd_build, &cmd_build_syntax},
    {"completion", "a script by which a shell completes omendb's options", cmd_completion, &cmd_completion_syntax},
    {"compress", "vectors or an index -> smaller, and back", cmd_compress, &cmd_compress_syntax},
    {"help", "explain omendb or one of its commands", cmd_help, NULL},
    {"info", "tell what a file is: vectors, an index, a model", cmd_info, &cmd_info_syntax},
    {"merge", "shards -> the index that one build makes", cmd_merge, &cmd_merge_syntax},
    {"query", "queries -> neighbours: searches one index or several", cmd_query, &cmd_query_syntax},
    {"train", "vectors -> a model, with which build makes shards", cmd_train, &cmd_train_syntax},
    {"verify", "check an index: checksums, structure, its source", cmd_verify, &cmd_verify_syntax},
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
        printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    fputs("\n"
          "options:\n"
          "  -h, --help     print this help\n"
          "  -V, --version  print the version\n"
          "\n"
          "exit codes:\n"
          "  0 done   1 bench: worse than the baseline; query --certify: recall not reached\n"
          "  2 wrong usage or unusable input   3 corrupt index   4 I/O error   5 out of memory\n"
          "  6 merge: shards are missing   130 interrupted (128 + the signal's number)\n"
          "  141 the reader of the results went away\n"
          "\n"
          "example:\n"
          "  omendb build base.fvecs                 writes base.omen\n"
          "  omendb query -k 10 base.omen q.fvecs    prints query, rank and row of each neighbour\n"
          "  omendb verify base.omen\n",
          stdout);
}

static const cmd_command *find_command(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int unknown_command(const char *name)
{
    const size_t length = strlen(name);
    cmd_near near = {.name = NULL};

    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (length > 0 && strncmp(commands[i].name, name, length) == 0)
            return cmd_misuse(NULL, "unknown command \"%s\"; did you mean \"%s\"?", name, commands[i].name);
        cmd_near_try(&near, name, length, commands[i].name);
    }
    if (near.name)
        return cmd_misuse(NULL, "unknown command \"%s\"; did you mean \"%s\"?", name, near.name);
    return cmd_misuse(NULL, "unknown command \"%s\"; see \"omendb --help\"", name);
}

static int unknown_option(const char *word)
{
    static const char *const options[] = {"--help", "--version"};
    const size_t length = strlen(word);
    cmd_near near = {.name = NULL};

    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (length > 2 && strncmp(options[i], word, length) == 0)
            return cmd_misuse(NULL, "unknown option \"%s\"; did you mean \"%s\"?", word, options[i]);
        cmd_near_try(&near, word, length, options[i]);
    }
    if (near.name)
        return cmd_misuse(NULL, "unknown option \"%s\"; did you mean \"%s\"?", word, near.name);
    return cmd_misuse(NULL, "unknown option \"%s\"; see \"omendb --help\"", word);
}

static int cmd_help(int argc, char **argv)
{
    const cmd_command *command;

    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help();
        return CMD_EXIT_OK;
    }
    command = find_command(argv[1]);
    if (!command)
        return unknown_command(argv[1]);
    return command->run(2, (char *[]){argv[1], "--help", NULL});
}

static int cmd_completion(int argc, char **argv)
{
    return cmd_completion_print(argc, argv, commands, N_COMMANDS);
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
    const cmd_command *command = NULL;
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
