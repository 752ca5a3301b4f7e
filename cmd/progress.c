/* The progress line on stderr, and the signals that end a run. */
#include "cmd/cmd.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Redraws a second; more only costs terminal bandwidth over ssh. */
#define DRAWS_PER_SECOND 8.0

/* A rate is shown once this much time has passed, since the first estimates jump. */
#define RATE_AFTER_SECONDS 0.5

double cmd_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

/* ---- the line ---- */

void cmd_progress_init(cmd_progress *progress, int verbosity)
{
    bool terminal = isatty(STDERR_FILENO);

    memset(progress, 0, sizeof *progress);
    progress->live = terminal && verbosity >= 0;
    progress->log = !terminal && verbosity > 0;
    progress->started = cmd_seconds();
}

void cmd_progress_clear(cmd_progress *progress)
{
    if (progress->width > 0) {
        fprintf(stderr, "\r%*s\r", progress->width, "");
        fflush(stderr);
        progress->width = 0;
    }
}

/* "12 s", "3:07", "2:03:07" */
static void format_seconds(char *text, size_t size, double seconds)
{
    unsigned long s = seconds < 1e9 ? (unsigned long)(seconds + 0.5) : 1000000000ul;

    if (s < 60) {
        snprintf(text, size, "%lu s", s);
    } else if (s < 3600) {
        snprintf(text, size, "%lu:%02lu", s / 60, s % 60);
    } else {
        snprintf(text, size, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
    }
}

/* Writes the line over the last one; blanks pad it, since not every terminal knows how to erase. */
static void draw(cmd_progress *progress, double now, uint64_t done, uint64_t total)
{
    char line[160], left[32];
    double seconds = now - progress->stage_began;
    int n;

    n = snprintf(line, sizeof line, "%-10s", progress->stage);
    if (total > 0) {
        double share = done < total ? (double)done / total : 1;

        n += snprintf(line + n, sizeof line - n, " %3.0f%%", 100 * share);
        if (done > 0 && seconds >= RATE_AFTER_SECONDS) {
            format_seconds(left, sizeof left, seconds * (1 - share) / share);
            n += snprintf(line + n, sizeof line - n, "  %s/s  %s left", cmd_group_round(done / seconds).text, left);
        }
    }
    fprintf(stderr, "\r%-*s", progress->width, line);
    fflush(stderr);
    progress->width = n;
}

int cmd_progress_update(void *context, const char *stage, uint64_t done, uint64_t total)
{
    cmd_progress *progress = context;
    double now;

    if (progress->live || progress->log) {
        now = cmd_seconds();
        if (progress->stage == NULL || strcmp(progress->stage, stage) != 0) {
            snprintf(progress->stage_name, sizeof progress->stage_name, "%s", stage);
            progress->stage = progress->stage_name;
            progress->stage_began = now;
            progress->last_drawn = 0;
            if (progress->log) {
                fprintf(stderr, "  %8.2f s  %s\n", now - progress->started, progress->stage);
            }
        }
        if (progress->live && now - progress->last_drawn >= 1 / DRAWS_PER_SECOND) {
            draw(progress, now, done, total);
            progress->last_drawn = now;
        }
    }
    return cmd_signals_noted() != 0;
}

/* ---- signals ---- */

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
    if (label == NULL) { /* no file: as without a handler, when what raised it is tried again */
        signal(signal_number, SIG_DFL);
        if (info->si_code <= 0) {
            raise(signal_number);
        }
        return;
    }
    while (atomic_flag_test_and_set(&is_told)) { /* another thread is at it, and ends this one */
        pause();
    }
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
        if (numbers[i] == SIGHUP && sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler == SIG_IGN) {
            continue;
        }
        sigaction(numbers[i], &action, NULL);
    }
}

void cmd_signals_start(const char *command)
{
    struct sigaction action, old;

    snprintf(speaker, sizeof speaker, "%somendb%s%s: ", isatty(STDERR_FILENO) ? "\n" : "", command != NULL ? " " : "",
             command != NULL ? command : "");
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = bus_handler;
    sigaction(SIGBUS, &action, NULL);
    /* If it is ignored, a failed write is reported instead. */
    action.sa_flags = SA_RESTART;
    action.sa_handler = pipe_handler;
    if (sigaction(SIGPIPE, NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
        sigaction(SIGPIPE, &action, NULL);
    }
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
