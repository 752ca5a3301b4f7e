/* SPDX-License-Identifier: Apache-2.0 */
/* The progress line on stderr. */
#include "cmd/cmd.h"

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

    if (s < 60)
        snprintf(text, size, "%lu s", s);
    else if (s < 3600)
        snprintf(text, size, "%lu:%02lu", s / 60, s % 60);
    else
        snprintf(text, size, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
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
        if (!progress->stage || strcmp(progress->stage, stage) != 0) {
            snprintf(progress->stage_name, sizeof progress->stage_name, "%s", stage);
            progress->stage = progress->stage_name;
            progress->stage_began = now;
            progress->last_drawn = 0;
            if (progress->log)
                fprintf(stderr, "  %8.2f s  %s\n", now - progress->started, progress->stage);
        }
        if (progress->live && now - progress->last_drawn >= 1 / DRAWS_PER_SECOND) {
            draw(progress, now, done, total);
            progress->last_drawn = now;
        }
    }
    return cmd_signals_noted() != 0;
}
