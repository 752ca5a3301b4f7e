/* SPDX-License-Identifier: Apache-2.0 */
/* The signals that end a run, and what is told and removed then. */
#include "cmd/cmd.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t noted, pipe_broke;
static char last_words[96];
static char speaker[32]; /* "omendb query: ", after a new line if a progress line may be on the screen */

/* Handlers make only calls that POSIX allows in them. */

static void put(const char *text)
{
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));

    (void)ignored;
}

static void exit_handler(int signal_number)
{
    omen_temporaries_remove();
    put(last_words);
    _exit(CMD_EXIT_SIGNAL + signal_number);
}

/* A page of a mapped file that is not there any more, or that the disk does not deliver. */
static void bus_handler(int signal_number, siginfo_t *info, void *context)
{
    static atomic_flag is_told = ATOMIC_FLAG_INIT;
    const char *label = info->si_code > 0 ? omen_mapping_label(info->si_addr) : NULL;
    char line[2 * OMEN_LABEL_BYTES];
    char *end = line;

    (void)context;
    if (!label) { /* no file: as without a handler, when what raised it is tried again */
        signal(signal_number, SIG_DFL);
        if (info->si_code <= 0)
            raise(signal_number);
        return;
    }
    while (atomic_flag_test_and_set(&is_told)) /* another thread is at it, and ends this one */
        pause();
    omen_temporaries_remove();
    end = stpcpy(stpcpy(end, "cannot read "), label);
    stpcpy(end, ": it was cut short while it was in use, or its disk failed");
    cmd_make_printable(line);
    put(speaker);
    put(line);
    put("\n");
    _exit(CMD_EXIT_IO);
}

static void pipe_handler(int signal_number)
{
    (void)signal_number;
    pipe_broke = 1;
}

static void note_handler(int signal_number)
{
    noted = signal_number;
}

static void install(void (*handler)(int))
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action, old;

    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    /* Restarted calls: a read or write in flight is no I/O error. No SA_RESETHAND: timeout(1) sends its signal twice.
     */
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        /* nohup means what it says. */
        if (numbers[i] == SIGHUP && sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler == SIG_IGN)
            continue;
        sigaction(numbers[i], &action, NULL);
    }
}

void cmd_signals_start(const char *command)
{
    struct sigaction action, old;

    snprintf(speaker, sizeof speaker, "%somendb%s%s: ", isatty(STDERR_FILENO) ? "\n" : "", command ? " " : "",
             command ? command : "");
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = bus_handler;
    sigaction(SIGBUS, &action, NULL);
    /* Who ignores it wants a failed write told instead. */
    action.sa_flags = SA_RESTART;
    action.sa_handler = pipe_handler;
    if (sigaction(SIGPIPE, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
        sigaction(SIGPIPE, &action, NULL);
    /* A file at its size limit is an I/O error with a message, not a silent death. */
    signal(SIGXFSZ, SIG_IGN);
}

bool cmd_signals_pipe_broke(void)
{
    return pipe_broke != 0;
}

void cmd_signals_exit(const char *command, const char *text)
{
    /* A new line first if a progress line may be on the screen. */
    snprintf(last_words, sizeof last_words, "%somendb %s: %s\n", isatty(STDERR_FILENO) ? "\n" : "", command, text);
    install(exit_handler);
}

void cmd_signals_note(void)
{
    install(note_handler);
}

int cmd_signals_noted(void)
{
    return noted;
}
