/* SPDX-License-Identifier: Apache-2.0 */
/* omendb bench --plot: recall against queries a second, as ann-benchmarks draws it, by gnuplot.
 *
 * One line per result and k through the points that no other dominates; dominated points are hollow and pale. What was
 * measured on what stands in the picture: above it if it is the same for all results, else in the names of the lines.
 *
 * gnuplot runs commands that stand in backquotes, opens pipes for names that begin with | or <, and reads start-up
 * files. So it is started without a shell and without those, reads its script from a file in memory and writes the
 * picture to its standard output, which is the temporary of the output; no name of a file reaches it. Texts of results
 * and names stand in single quotes, where it interprets nothing, and without control characters. */
#include "cmd/bench.h"

#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM    "gnuplot"
#define MAX_SERIES (BENCH_MAX_FILES * BENCH_MAX_KS)

extern char **environ;

/* Colours told apart by colour-blind readers too (Okabe and Ito). */
static const unsigned colours[] = {0x0072b2, 0xd55e00, 0x009e73, 0xcc79a7, 0xe69f00, 0x56b4e9, 0x000000};

#define N_COLOURS (sizeof colours / sizeof colours[0])

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);

    return length > end_length && strcmp(text + length - end_length, end) == 0;
}

/* The program's path, from the absolute directories in PATH; the caller's to free. NULL if it is not there. */
static char *find_program(void)
{
    const char *path = getenv("PATH");
    char *name = NULL;

    while (path && !name) {
        size_t length = strcspn(path, ":");

        if (path[0] == '/' && asprintf(&name, "%.*s/" PROGRAM, (int)length, path) < 0)
            name = NULL;
        if (name && access(name, X_OK) != 0) {
            free(name);
            name = NULL;
        }
        path = path[length] == ':' ? path + length + 1 : NULL;
    }
    return name;
}

int bench_plot_check(const char *path, omen_detail *why)
{
    char *program = find_program();
    const bool is_there = program;

    free(program);
    if (!ends_with(path, ".svg") && !ends_with(path, ".png"))
        return omen_fail(why, OMEN_ERR_ARGUMENT, "--plot wants a name that ends with .svg or .png, not \"%s\"", path);
    if (!is_there) {
        return omen_fail(
            why, OMEN_ERR_ARGUMENT,
            "--plot needs gnuplot, which is not installed; on Debian and Ubuntu: apt-get install gnuplot-nox");
    }
    return OMEN_OK;
}

/* ---- series ---- */

struct series {
    const json_t *result;
    const char *label;
    uint32_t k;
};

static double recall_of(const json_t *point)
{
    double recall = bench_json_number(point, "recall_by_distance");

    return isnan(recall) ? bench_json_number(point, "recall_by_id") : recall;
}

static bool by_id_only(const json_t *result)
{
    return strcmp(bench_json_string(result, "truth.distances"), "none") == 0;
}

/* One entry per result and k. */
static size_t list_series(struct series *out, json_t *const *results, const char *const *labels, size_t n_results)
{
    size_t n = 0;

    for (size_t i = 0; i < n_results; i++) {
        const json_t *ks = json_object_get(json_object_get(results[i], "options"), "k");

        for (size_t j = 0; j < json_array_size(ks) && n < MAX_SERIES; j++)
            out[n++] = (struct series){results[i], labels[i], (uint32_t)json_integer_value(json_array_get(ks, j))};
    }
    return n;
}

static int compare_by_recall(const void *a, const void *b)
{
    double x = ((const double *)a)[0], y = ((const double *)b)[0];

    return (x > y) - (x < y);
}

/* Recall, rate, and the rates' extremes of one series in order of recall; rows of four, n of them in *n. The caller
 * frees. */
static double *series_rows(const struct series *s, bool dominated, size_t *n)
{
    const json_t *points = json_object_get(s->result, "points");
    double *rows = malloc((json_array_size(points) + 1) * 4 * sizeof *rows);

    *n = 0;
    for (size_t i = 0; rows && i < json_array_size(points); i++) {
        const json_t *point = json_array_get(points, i);
        double *row = rows + 4 * *n;

        row[0] = recall_of(point);
        row[1] = bench_json_number(point, "batch.median");
        row[2] = bench_json_number(point, "batch.min");
        row[3] = bench_json_number(point, "batch.max");
        *n += bench_json_number(point, "k") == s->k && json_is_true(json_object_get(point, "dominated")) == dominated &&
              row[0] >= 0 && row[1] > 0;
    }
    if (rows)
        qsort(rows, *n, 4 * sizeof *rows, compare_by_recall);
    return rows;
}

/* ---- the script ---- */

/* A string in single quotes, which gnuplot takes literally. A single quote inside becomes the typographic one, since
 * not every place in it allows two; "&#" and "]]>" it would pass on into svg, where they mean something. */
static void put_literal(FILE *out, const char *text)
{
    const cmd_name printable = cmd_printable(text);

    fputc('\'', out);
    for (const char *c = printable.text; *c != '\0'; c++)
        if (*c == '\'')
            fputs("\xe2\x80\x99", out);
        else if ((c[0] == '&' && c[1] == '#') || (c[0] == ']' && c[1] == ']' && c[2] == '>'))
            fputc(c[0] == '&' ? '+' : ')', out);
        else
            fputc(*c, out);
    fputc('\'', out);
}

/* n, d, metric, and the machine with threads and SIMD level. */
static char *data_text(const json_t *result)
{
    const double n_matches = bench_json_number(result, "filter.rows_mean");
    char *out, filter[96] = "";

    if (!isnan(n_matches)) {
        snprintf(filter, sizeof filter, " that may find %s rows each (filter %.16s)", cmd_group_round(n_matches).text,
                 bench_json_string(result, "filter.hash"));
    }
    return asprintf(&out, "%s x %.0f %s, %s queries%s", cmd_group_round(bench_json_number(result, "data.n")).text,
                    bench_json_number(result, "data.d"), bench_json_string(result, "data.metric"),
                    cmd_group_round(bench_json_number(result, "data.n_queries")).text, filter) >= 0
               ? out
               : NULL;
}

static char *machine_text(const json_t *result)
{
    double threads = bench_json_number(result, "machine.threads");
    char *out;

    return asprintf(&out, "%s, %s, %.0f thread%s", bench_json_string(result, "machine.cpu"),
                    bench_json_string(result, "machine.simd"), threads, threads == 1 ? "" : "s") >= 0
               ? out
               : NULL;
}

/* Whether text() gives the same for all results; the text itself in *out, the caller's, NULL if out of memory. */
static bool is_shared(char *(*text)(const json_t *), json_t *const *results, size_t n_results, char **out)
{
    bool shared = true;

    *out = text(results[0]);
    for (size_t i = 1; i < n_results && *out; i++) {
        char *other = text(results[i]);

        shared = shared && other && strcmp(other, *out) == 0;
        free(other);
    }
    return shared;
}

/* The name of a line, with whatever is not the same for all. */
static char *series_title(const struct series *s, bool shared_data, bool shared_machine)
{
    char *data = shared_data ? strdup("") : data_text(s->result);
    char *machine = shared_machine ? strdup("") : machine_text(s->result);
    char *out = NULL;

    if (data && machine &&
        asprintf(&out, "%s, recall@%u %s%s%s%s%s", s->label, s->k, by_id_only(s->result) ? "by id" : "by distance",
                 data[0] != '\0' ? "; " : "", data, machine[0] != '\0' ? "; " : "", machine) < 0) {
        out = NULL;
    }
    free(data);
    free(machine);
    return out;
}

/* The data blocks $f0, $d0, $f1, ...; returns the least recall, NaN if out of memory. Sets lowest and highest rate. */
static double put_data(FILE *out, const struct series *series, size_t n_series, size_t *counts, double *lowest,
                       double *highest)
{
    double least = 1;

    *lowest = INFINITY;
    *highest = 0;
    for (size_t i = 0; i < 2 * n_series; i++) {
        double *rows = series_rows(&series[i / 2], i % 2 == 1, &counts[i]);

        if (!rows)
            return NAN;
        fprintf(out, "$%c%zu << EOD\n", i % 2 == 1 ? 'd' : 'f', i / 2);
        for (size_t j = 0; j < counts[i]; j++) {
            fprintf(out, "%.6f %.9g %.9g %.9g\n", rows[4 * j], rows[4 * j + 1], rows[4 * j + 2], rows[4 * j + 3]);
            least = rows[4 * j] < least ? rows[4 * j] : least;
            *lowest = rows[4 * j + 2] < *lowest ? rows[4 * j + 2] : *lowest;
            *highest = rows[4 * j + 3] > *highest ? rows[4 * j + 3] : *highest;
        }
        fprintf(out, "EOD\n");
        free(rows);
    }
    return least;
}

/* The colour of a dominated point: halfway to white. */
static unsigned pale(unsigned colour)
{
    return (colour >> 1 & 0x7f7f7f) + 0x808080;
}

/* Ticks at 1, 2, 5 times powers of ten, at more of them if the rates are close together, with digits grouped. */
static void put_rate_axis(FILE *out, double lowest, double highest)
{
    static const int steps[] = {1, 2, 5, 3, 4, 6, 8};
    const char *separator = "";
    size_t n_steps;

    lowest *= 0.85;
    highest *= 1.2;
    n_steps = highest / lowest > 8 ? 3 : sizeof steps / sizeof steps[0];
    fprintf(out, "set logscale y\nset yrange [%.6g:%.6g]\nset ytics (", lowest, highest);
    for (int power = -2; power < 12; power++) {
        for (size_t i = 0; i < n_steps; i++) {
            double at = steps[i] * pow(10, power);

            if (at >= lowest && at <= highest) {
                if (at >= 1)
                    fprintf(out, "%s\"%s\" %.6g", separator, cmd_group_round(at).text, at);
                else
                    fprintf(out, "%s\"%g\" %.6g", separator, at, at);
                separator = ", ";
            }
        }
    }
    fprintf(out, ")\n");
}

static int put_script(FILE *out, bool svg, const struct series *series, size_t n_series, const char *subtitle,
                      bool shared_data, bool shared_machine, omen_detail *why)
{
    size_t counts[2 * MAX_SERIES], n_drawn = 0;
    double least, lowest, highest;
    const char *separator = "plot ";
    const int height = 560 + 22 * (int)n_series;
    bool any_dominated = false;

    fprintf(out, "set encoding utf8\n");
    /* The terminal that draws smooth lines may be missing from a small gnuplot. */
    if (svg) {
        fprintf(out, "set terminal svg size 960,%d noenhanced font \"sans,13\" background \"white\"\n", height);
    } else {
        fprintf(out,
                "if (strstrt(GPVAL_TERMINALS, 'pngcairo')) {\n"
                "set terminal pngcairo size 960,%d noenhanced font \"sans,11\"\n"
                "} else {\nset terminal png size 960,%d noenhanced\n}\n",
                height, height);
    }
    least = put_data(out, series, n_series, counts, &lowest, &highest);
    if (isnan(least))
        return OMEN_ERR_MEMORY;
    for (size_t i = 0; i < n_series; i++) {
        any_dominated = any_dominated || counts[2 * i + 1] > 0;
        n_drawn += counts[2 * i] + counts[2 * i + 1];
    }
    if (n_drawn == 0)
        return omen_fail(why, OMEN_ERR_INPUT, "there are no points to plot");
    fprintf(out, "set title \"omendb: recall and speed of batch search%s\" . ", subtitle[0] != '\0' ? "\\n" : "");
    put_literal(out, subtitle);
    fprintf(out, "\nset xlabel \"recall@k; up and to the right is better%s\"\n",
            any_dominated ? " (pale: another point has more of both)" : "");
    fprintf(out,
            "set ylabel \"queries/s, batch (median, least to most)\"\n"
            "set grid xtics ytics back lt 1 lw 1 lc rgb \"#dddddd\"\nset border 3\nset tics nomirror\n"
            "set key at screen 0.08, screen 0.015 left bottom vertical maxcols 1 Left reverse samplen 2\n"
            "set rmargin 4\nset bmargin %.1f\n",
            4.5 + 1.4 * (double)n_series);
    fprintf(out, "set xrange [%.4f:%.4f]\nset format x \"%%.3g\"\n", least - 0.05 * (1.0 - least) - 0.002,
            1 + 0.02 * (1.0 - least));
    put_rate_axis(out, lowest, highest);
    for (size_t i = 0; i < n_series; i++) {
        const unsigned colour = colours[i % N_COLOURS];
        char *title = series_title(&series[i], shared_data, shared_machine);
        int mark = 2 * (int)(i % 5) + 5; /* filled ones of 5, 7, 9, 11, 13; the one before it is hollow */

        if (!title)
            return OMEN_ERR_MEMORY;
        if (counts[2 * i] > 0) {
            fprintf(out, "%s$f%zu using 1:2:3:4 with yerrorlines lw 2 ps 0.9 pt %d lc rgb \"#%06x\" title ", separator,
                    i, mark, colour);
            put_literal(out, title);
            separator = ", \\\n  ";
        }
        if (counts[2 * i + 1] > 0) {
            fprintf(out, "%s$d%zu using 1:2 with points ps 0.8 pt %d lc rgb \"#%06x\" notitle", separator, i, mark - 1,
                    pale(colour));
            separator = ", \\\n  ";
        }
        free(title);
    }
    fprintf(out, "\n");
    return OMEN_OK;
}

/* ---- running it ---- */

/* Runs gnuplot from one descriptor to another. */
static int run_program(int script_fd, int picture_fd, omen_detail *why)
{
    char *const words[] = {PROGRAM, "--default-settings", NULL};
    char *program = find_program();
    posix_spawn_file_actions_t actions;
    int error = program ? posix_spawn_file_actions_init(&actions) : ENOENT, status;
    pid_t pid;

    if (error == 0) {
        posix_spawn_file_actions_adddup2(&actions, script_fd, STDIN_FILENO);
        posix_spawn_file_actions_adddup2(&actions, picture_fd, STDOUT_FILENO);
        error = posix_spawn(&pid, program, &actions, NULL, words, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    free(program);
    if (error != 0)
        return omen_fail(why, OMEN_ERR_IO, "cannot run gnuplot: %s", strerror(error));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFSIGNALED(status))
        return omen_fail(why, OMEN_ERR_IO, "gnuplot was ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status) == 0
               ? OMEN_OK
               : omen_fail(why, OMEN_ERR_IO, "gnuplot failed with exit code %d", WEXITSTATUS(status));
}

/* Draws a script, which is rewound, into path. */
static int draw(FILE *script, const char *path, omen_detail *why)
{
    cmd_output out = {.stream = NULL};
    int status = fflush(script) == 0 && lseek(fileno(script), 0, SEEK_SET) == 0
                     ? cmd_output_open(&out, path, NULL, why)
                     : omen_fail(why, OMEN_ERR_IO, "cannot hold the script of gnuplot in memory: %m");

    if (status == OMEN_OK)
        status = run_program(fileno(script), fileno(out.stream), why);
    if (status == OMEN_OK && lseek(fileno(out.stream), 0, SEEK_CUR) == 0)
        status = omen_fail(why, OMEN_ERR_IO, "gnuplot did not draw \"%s\"", path);
    if (status == OMEN_OK)
        status = cmd_output_commit(&out, why);
    cmd_output_close(&out);
    return status;
}

int bench_plot(const char *path, json_t *const *results, const char *const *labels, size_t n_results, omen_detail *why)
{
    struct series series[MAX_SERIES];
    const size_t n_series = list_series(series, results, labels, n_results);
    char *data = NULL, *machine = NULL, *subtitle = NULL;
    bool shared_data, shared_machine;
    FILE *script = NULL;
    int fd, status = OMEN_ERR_MEMORY;

    shared_data = is_shared(data_text, results, n_results, &data);
    shared_machine = is_shared(machine_text, results, n_results, &machine);
    if (!data || !machine ||
        asprintf(&subtitle, "%s%s%s", shared_data ? data : "", shared_data && shared_machine ? "; " : "",
                 shared_machine ? machine : "") < 0) {
        subtitle = NULL;
        goto out;
    }
    fd = memfd_create("script", MFD_CLOEXEC);
    script = fd >= 0 ? fdopen(fd, "w+") : NULL;
    if (!script) {
        status = omen_fail(why, OMEN_ERR_IO, "cannot hold the script of gnuplot in memory: %m");
        if (fd >= 0)
            close(fd);
        goto out;
    }
    status = put_script(script, ends_with(path, ".svg"), series, n_series, subtitle, shared_data, shared_machine, why);
    if (status == OMEN_OK)
        status = draw(script, path, why);

out:
    if (script)
        fclose(script);
    free(data);
    free(machine);
    free(subtitle);
    return status;
}
