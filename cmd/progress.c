/* SPDX-License-Identifier: Apache-2.0 */
/* Progress on stderr: one line that is redrawn on a terminal, elsewhere a line from time to time. */
#include "cmd/cmd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Redraws a second; more only costs terminal bandwidth over ssh. */
#define DRAWS_PER_SECOND 8.0

/* Seconds between two lines where stderr is no terminal, unless this variable says otherwise. */
#define LINE_SECONDS  60.0
#define LINE_VARIABLE "OMENDB_PROGRESS"

/* A rate is shown once this much time has passed, since the first estimates jump. */
#define RATE_AFTER_SECONDS 0.5

/* Of fewer things, which are steps of some work, there is no rate. */
#define RATE_LEAST_TOTAL 100

double cmd_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

bool cmd_progress_is_wanted(void)
{
    return getenv(LINE_VARIABLE);
}

void cmd_progress_init(cmd_progress *progress, int verbosity)
{
    const bool terminal = isatty(STDERR_FILENO);
    const char *wanted = getenv(LINE_VARIABLE);
    char *end;

    memset(progress, 0, sizeof *progress);
    progress->live = terminal && verbosity >= 0;
    progress->log = !terminal && verbosity > 0;
    if (!terminal && verbosity >= 0) {
        progress->line_seconds = wanted ? strtod(wanted, &end) : LINE_SECONDS;
        if (wanted && (end == wanted || *end != '\0' || !(progress->line_seconds >= 0)))
            progress->line_seconds = LINE_SECONDS;
    }
    progress->unit = 1;
    progress->started = progress->last_line = cmd_seconds();
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

    if (s < 60)
        snprintf(text, size, "%lu s", s);
    else if (s < 3600)
        snprintf(text, size, "%lu:%02lu", s / 60, s % 60);
    else
        snprintf(text, size, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
}

/* The stage, how much of it is done, the rate and the time left. Returns the length. */
static int put_line(const cmd_progress *progress, double now, uint64_t done, uint64_t total, char line[160])
{
    const double seconds = now - progress->stage_began;
    char left[32];
    int n = snprintf(line, 160, "%-10s", progress->stage);

    if (total > 1) {
        double share = done < total ? (double)done / (double)total : 1;

        n += snprintf(line + n, 160 - (size_t)n, " %3.0f%%", 100 * share);
        if (done > 0 && seconds >= RATE_AFTER_SECONDS && (double)total >= RATE_LEAST_TOTAL * progress->unit) {
            format_seconds(left, sizeof left, seconds * (1 - share) / share);
            n += snprintf(line + n, 160 - (size_t)n, "  %s/s  %s left",
                          cmd_group_round((double)done / seconds / progress->unit).text, left);
        }
    }
    return n;
}

/* Writes the line over the last one; blanks pad it, since not every terminal knows how to erase. */
static void draw(cmd_progress *progress, double now, uint64_t done, uint64_t total)
{
    char line[160];
    const int n = put_line(progress, now, done, total, line);

    fprintf(stderr, "\r%-*s", progress->width, line);
    fflush(stderr);
    progress->width = n;
    progress->last_drawn = now;
}

/* A line of its own, which begins with the time since the start. */
static void add_line(cmd_progress *progress, double now, uint64_t done, uint64_t total)
{
    char line[160];

    put_line(progress, now, done, total, line);
    fprintf(stderr, "  %8.2f s  %s\n", now - progress->started, line);
    progress->last_line = now;
}

/* For a look at the time that is not to take any: some milliseconds behind cmd_seconds(). */
static double coarse_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int cmd_progress_update(void *context, const char *stage, uint64_t done, uint64_t total)
{
    cmd_progress *progress = context;

    if (progress->live || progress->log || progress->line_seconds > 0) {
        const double now = coarse_seconds();

        if (!progress->stage || strcmp(progress->stage, stage) != 0) {
            snprintf(progress->stage_name, sizeof progress->stage_name, "%s", stage);
            progress->stage = progress->stage_name;
            progress->stage_began = now;
            progress->last_drawn = 0;
            if (progress->log)
                fprintf(stderr, "  %8.2f s  %s\n", cmd_seconds() - progress->started, progress->stage);
        }
        if (progress->live && now - progress->last_drawn >= 1 / DRAWS_PER_SECOND)
            draw(progress, now, done, total);
        else if (progress->line_seconds > 0 && now - progress->last_line >= progress->line_seconds)
            add_line(progress, now, done, total);
    }
    return cmd_signals_noted() != 0;
}
