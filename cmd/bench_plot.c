/* SPDX-License-Identifier: Apache-2.0 */
/* omendb bench --plot: what the picture shows, as a script for gnuplot.
 *
 * A colour is a result, a marker is a k, in all panels: recall against queries a second and against the time of one
 * query, one line through the points that no other beats, the others as small hollow marks; and what the builds took.
 * Recall stands by the share that is missed, so that 0.9, 0.99 and 0.999 are equally far apart. Names stand beside the
 * ends of lines. What was measured on what stands above if it is the same for all results, else below.
 *
 * Places are computed here, in pixels from the upper left corner; gnuplot draws. Texts of results and names of files
 * stand in single quotes, where it interprets nothing, and without control characters. */
#include "cmd/bench_axes.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SERIES   (BENCH_MAX_FILES * BENCH_MAX_KS)
#define MAX_MEASURES 2

#define WIDTH        1000
#define LEFT         90
#define HEAD         70  /* above the first panel */
#define PANEL_BEFORE 46  /* above the box of a panel, for its name */
#define PANEL_AFTER  56  /* below it, for its axis */
#define PANEL_LEAST  330 /* the box */
#define LETTER       7.4 /* pixels that a letter of a label takes, with something to spare */
#define MAX_LETTERS  44  /* of a label */
#define BAR          16
#define BARS_END     (WIDTH - 330) /* of the longest, with its text behind */

/* Told apart by colour-blind readers too, with a contrast of 3 or more to a white and to a dark ground. */
static const unsigned colours[] = {0x1f77c9, 0xd55e00, 0x0a8f6b, 0xa35fbf, 0xa17a00, 0xd0508c, 0x1995ad, 0x7a7a7a};

#define N_COLOURS (sizeof colours / sizeof colours[0])

/* gnuplot's filled marks; the one before each is the same hollow. Those of other ks are signs of lines. */
static const int marks[BENCH_MAX_KS] = {7, 5, 9, 13, 11, 15, 2, 1};

/* What is drawn of a point, against its recall. */
struct measure {
    const char *member; /* a figure of a point of the schema; NULL: there is none */
    const char *suffix; /* of the names of its lines */
    bool is_time;       /* less is better */
};

static const struct {
    const char *name, *title;
    struct measure measures[MAX_MEASURES];
} panels[BENCH_N_PANELS] = {
    [BENCH_PANEL_RECALL] = {"recall", "queries/s in batches: median, least to most", {{"batch", "", false}}},
    [BENCH_PANEL_LATENCY] = {"latency",
                             "milliseconds, one query a call, 1 thread: median of queries, and the 99th of 100",
                             {{"p50_ms", ", median", true}, {"p99_ms", ", p99", true}}},
    [BENCH_PANEL_BUILD] = {"build", "build, seconds", {{NULL, NULL, false}}},
};

const char *bench_panel_name(size_t i)
{
    return i < BENCH_N_PANELS ? panels[i].name : NULL;
}

/* One result at one k. */
struct series {
    const json_t *result;
    size_t number, k_number; /* of the result, and of k among all there are */
    uint32_t k;
    char *label; /* owned */
};

struct curve {
    struct bench_row *front, *beaten; /* by recall; one allocation, at front */
    size_t n_front, n_beaten;
    const struct series *series;
    const char *suffix;
    int dash;
};

/* A picture in the making. */
struct plot {
    FILE *out;
    json_t *const *results;
    const char *const *labels;
    size_t n_results, n_series, n_ks;
    struct series series[MAX_SERIES];
    uint32_t ks[MAX_SERIES];
    struct curve curves[BENCH_MAX_CURVES]; /* of the panel that is drawn */
    int right;                             /* where boxes end: labels follow */
    int height;                            /* of the picture */
    char *told[2];                         /* data and machine, if they are the same for all; else "" */
    bool by_id;                            /* all recall is */
    struct bench_picture_text text;
    size_t n_drawn;
    bool no_memory; /* for a text */
};

/* ---- what is drawn ---- */

static double recall_of(const json_t *point)
{
    double recall = bench_json_number(point, "recall_by_distance");

    return isnan(recall) ? bench_json_number(point, "recall_by_id") : recall;
}

static bool by_id_only(const json_t *result)
{
    return strcmp(bench_json_string(result, "truth.distances"), "none") == 0;
}

static size_t number_of_k(struct plot *p, uint32_t k)
{
    size_t i = 0;

    while (i < p->n_ks && p->ks[i] != k)
        i++;
    if (i == p->n_ks)
        p->ks[p->n_ks++] = k;
    return i;
}

/* One entry per result and k. */
static void list_series(struct plot *p)
{
    for (size_t i = 0; i < p->n_results; i++) {
        const json_t *ks = json_object_get(json_object_get(p->results[i], "options"), "k");

        for (size_t j = 0; j < json_array_size(ks) && p->n_series < MAX_SERIES; j++) {
            const uint32_t k = (uint32_t)json_integer_value(json_array_get(ks, j));
            p->series[p->n_series++] =
                (struct series){.result = p->results[i], .number = i, .k_number = number_of_k(p, k), .k = k};
        }
    }
}

static int compare_by_recall(const void *a, const void *b)
{
    const double x = ((const struct bench_row *)a)->recall, y = ((const struct bench_row *)b)->recall;

    return (x > y) - (x < y);
}

/* Whether another row has at least this recall and is as good, and better in one. */
static bool is_beaten(const struct bench_row *rows, size_t n, size_t which, bool less)
{
    const struct bench_row *row = &rows[which];

    for (size_t i = 0; i < n; i++) {
        const bool as_good = less ? rows[i].value <= row->value : rows[i].value >= row->value;
        if (rows[i].recall >= row->recall && as_good && (rows[i].recall > row->recall || rows[i].value != row->value))
            return true;
    }
    return false;
}

/* Reads the points of a series: false if out of memory. */
static bool read_curve(struct curve *out, const struct series *s, const struct measure *m)
{
    const json_t *points = json_object_get(s->result, "points");
    const size_t room = json_array_size(points) + 1;
    struct bench_row *rows = malloc(3 * room * sizeof *rows);
    char member[3][32];
    size_t n = 0;

    *out = (struct curve){.front = rows, .series = s, .suffix = m->suffix, .dash = 1};
    if (!rows)
        return false;
    snprintf(member[0], sizeof member[0], "%s.median", m->member);
    snprintf(member[1], sizeof member[1], "%s.min", m->member);
    snprintf(member[2], sizeof member[2], "%s.max", m->member);
    struct bench_row *all = rows + 2 * room;
    for (size_t i = 0; i + 1 < room; i++) {
        const json_t *point = json_array_get(points, i);
        const struct bench_row row = {recall_of(point), bench_json_number(point, member[0]),
                                      bench_json_number(point, member[1]), bench_json_number(point, member[2])};

        if (bench_json_number(point, "k") == s->k && row.recall >= 0 && row.value > 0 && row.least > 0 &&
            row.most > 0) {
            all[n++] = row;
        }
    }
    qsort(all, n, sizeof *all, compare_by_recall);
    out->beaten = rows + room;
    for (size_t i = 0; i < n; i++) {
        if (is_beaten(all, n, i, m->is_time))
            out->beaten[out->n_beaten++] = all[i];
        else
            out->front[out->n_front++] = all[i];
    }
    return true;
}

/* ---- text ---- */

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

/* n, d, metric, and what a filter leaves. */
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

/* The machine with SIMD level and threads. */
static char *machine_text(const json_t *result)
{
    double threads = bench_json_number(result, "machine.threads");
    char *out;

    return asprintf(&out, "%s, %s, %.0f thread%s", bench_json_string(result, "machine.cpu"),
                    bench_json_string(result, "machine.simd"), threads, threads == 1 ? "" : "s") >= 0
               ? out
               : NULL;
}

static char *(*const texts[2])(const json_t *) = {data_text, machine_text};

/* Finds what is the same for all results. False if out of memory. */
static bool find_shared(struct plot *p)
{
    for (size_t t = 0; t < 2; t++) {
        p->told[t] = texts[t](p->results[0]);
        for (size_t i = 1; i < p->n_results && p->told[t]; i++) {
            char *other = texts[t](p->results[i]);

            if (!other)
                return false;
            if (strcmp(other, p->told[t]) != 0)
                p->told[t][0] = '\0';
            free(other);
        }
        if (!p->told[t])
            return false;
    }
    return true;
}

static size_t count_letters(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* The name of a line: its end if it is long. NULL if out of memory. */
static char *make_label(const struct plot *p, const struct series *s)
{
    const cmd_name name = cmd_printable(p->labels[s->number]);
    const char *shown = name.text;
    char k[32] = "", *out;
    size_t n = count_letters(shown);

    if (n > MAX_LETTERS) {
        for (; n >= MAX_LETTERS; n--)
            do
                shown++;
            while (((unsigned char)*shown & 0xc0) == 0x80);
    }
    if (p->n_ks > 1)
        snprintf(k, sizeof k, ", k = %u", s->k);
    return asprintf(&out, "%s%s%s%s", shown == name.text ? "" : "\xe2\x80\xa6", shown, k,
                    by_id_only(s->result) && !p->by_id ? ", by id" : "") >= 0
               ? out
               : NULL;
}

/* A line of the description, made as by printf. */
__attribute__((format(printf, 2, 3))) static void describe(struct plot *p, const char *format, ...)
{
    char **lines = realloc(p->text.lines, (p->text.n_lines + 1) * sizeof *lines);
    va_list arguments;

    if (!lines) {
        p->no_memory = true;
        return;
    }
    p->text.lines = lines;
    va_start(arguments, format);
    if (vasprintf(&lines[p->text.n_lines], format, arguments) >= 0)
        p->text.n_lines++;
    else
        p->no_memory = true;
    va_end(arguments);
}

/* ---- the script ---- */

/* A text at a place of the picture; paint is what follows in gnuplot's terms. */
static void put_text(struct plot *p, double x, double y, const char *text, const char *paint)
{
    fprintf(p->out, "set label ");
    put_literal(p->out, text);
    fprintf(p->out, " at screen %.6f,%.6f %s\n", x / WIDTH, 1 - y / p->height, paint);
}

/* Labels are drawn with a plot: one without a curve, which forgets them. */
static void put_nothing(const struct plot *p)
{
    fprintf(p->out, "unset border\nunset tics\nunset xlabel\nset xrange [0:1]\nset yrange [1:2]\nplot 3 with lines\n"
                    "unset label\nunset object\nset border 3\nset tics nomirror\n");
}

static unsigned colour_of(const struct series *s)
{
    return colours[s->number % N_COLOURS];
}

/* Names beside the ends of lines, each joined with its end. */
static void put_labels(struct plot *p, const struct bench_box *b, const struct curve *curves, size_t n_curves)
{
    struct bench_end ends[BENCH_MAX_CURVES];
    char text[512], paint[64];
    size_t n = 0;

    for (size_t i = 0; i < n_curves; i++)
        if (curves[i].n_front > 0)
            ends[n++] =
                (struct bench_end){.wanted = bench_box_y(b, curves[i].front[curves[i].n_front - 1].value), .curve = i};
    if (n == 0)
        return;
    bench_ends_spread(ends, n, b->top + 4, b->bottom - 4);
    for (size_t i = 0; i < n; i++) {
        const struct curve *c = &curves[ends[i].curve];
        const unsigned colour = colour_of(c->series);

        fprintf(p->out, "set arrow from screen %.6f,%.6f to screen %.6f,%.6f nohead lw 0.7 lc rgb \"#%06x\"\n",
                (bench_box_x(b, c->front[c->n_front - 1].recall) + 6) / WIDTH, 1 - ends[i].wanted / p->height,
                (b->right + 14) / WIDTH, 1 - ends[i].place / p->height, colour);
        snprintf(text, sizeof text, "%s%s", c->series->label, c->suffix);
        snprintf(paint, sizeof paint, "left tc rgb \"#%06x\" font \",12\"", colour);
        put_text(p, b->right + 18, ends[i].place, text, paint);
    }
}

static void put_rows(struct plot *p, const struct bench_box *b, char name, size_t number, const struct bench_row *rows,
                     size_t n)
{
    fprintf(p->out, "$%c%zu << EOD\n", name, number);
    for (size_t i = 0; i < n; i++)
        fprintf(p->out, "%.6f %.9g %.9g %.9g\n", bench_box_recall(b, rows[i].recall), rows[i].value, rows[i].least,
                rows[i].most);
    fprintf(p->out, "EOD\n");
}

static void put_curves(struct plot *p, const struct bench_box *b, const struct curve *curves, size_t n_curves)
{
    const char *separator = "plot ";

    for (size_t i = 0; i < n_curves; i++) {
        put_rows(p, b, 'f', i, curves[i].front, curves[i].n_front);
        put_rows(p, b, 'd', i, curves[i].beaten, curves[i].n_beaten);
    }
    for (size_t i = 0; i < n_curves; i++) {
        const unsigned colour = colour_of(curves[i].series);
        const int mark = marks[curves[i].series->k_number % BENCH_MAX_KS];

        if (curves[i].n_beaten > 0) {
            fprintf(p->out, "%s$d%zu using 1:2 with points ps 0.5 lw 0.7 pt %d lc rgb \"#%06x\"", separator, i,
                    mark > 4 ? mark - 1 : mark, colour);
            separator = ", \\\n  ";
        }
        if (curves[i].n_front > 0) {
            fprintf(p->out, "%s$f%zu using 1:2:3:4 with yerrorlines lw 1.7 dt %d ps 0.9 pt %d lc rgb \"#%06x\"",
                    separator, i, curves[i].dash, mark, colour);
            separator = ", \\\n  ";
        }
    }
    fprintf(p->out, "\n");
}

/* Tells the curves' ends. */
static void describe_curves(struct plot *p, bench_panel panel, const struct curve *curves, size_t n_curves)
{
    describe(p, "%s", panels[panel].title);
    for (size_t i = 0; i < n_curves; i++) {
        const struct curve *c = &curves[i];
        if (c->n_front > 0) {
            describe(p, "%s%s: %.4g at recall %.4f to %.4g at recall %.4f", c->series->label, c->suffix,
                     c->front[0].value, c->front[0].recall, c->front[c->n_front - 1].value,
                     c->front[c->n_front - 1].recall);
        }
    }
}

/* Values against recall, in a box that begins at top. */
static int put_curve_panel(struct plot *p, bench_panel panel, double top, double height)
{
    struct curve *curves = p->curves;
    struct bench_box b = {.left = LEFT, .right = p->right, .top = top, .bottom = top + height};
    size_t n = 0, n_points = 0;
    bool any_beaten = false;
    char k[16];
    int status = OMEN_OK;

    for (size_t m = 0; m < MAX_MEASURES && panels[panel].measures[m].member; m++) {
        for (size_t i = 0; i < p->n_series && status == OMEN_OK; i++) {
            if (!read_curve(&curves[n], &p->series[i], &panels[panel].measures[m]))
                status = OMEN_ERR_MEMORY;
            curves[n].dash = m > 0 ? 2 : 1;
            n_points += curves[n].n_front;
            n++;
        }
    }
    if (status == OMEN_OK && n_points > 0) {
        p->n_drawn += n_points;
        bench_box_begin(&b);
        for (size_t i = 0; i < n; i++) {
            bench_box_take(&b, curves[i].front, curves[i].n_front);
            bench_box_take(&b, curves[i].beaten, curves[i].n_beaten);
            any_beaten = any_beaten || curves[i].n_beaten > 0;
        }
        bench_box_fit(&b);
        bench_box_put(&b, p->out);
        snprintf(k, sizeof k, "%u", p->ks[0]);
        fprintf(p->out, "set xlabel \"recall@%s %s; %s and to the right is better%s\"\n", p->n_ks == 1 ? k : "k",
                p->by_id ? "by id" : "by distance", panels[panel].measures[0].is_time ? "down" : "up",
                any_beaten ? " (small marks: another point is better)" : "");
        put_labels(p, &b, curves, n);
        put_curves(p, &b, curves, n);
        describe_curves(p, panel, curves, n);
    }
    for (size_t i = 0; i < n; i++)
        free(curves[i].front);
    return status;
}

/* The lines of what a build took, a bar each. */
static void put_build_panel(struct plot *p, double top)
{
    double most = 0, y = top;
    char text[160], paint[64];

    for (size_t i = 0; i < p->n_results; i++)
        most = fmax(most, bench_json_number(p->results[i], "build.seconds.total"));
    for (size_t i = 0; i < p->n_results; i++) {
        const json_t *r = p->results[i];
        const double seconds = bench_json_number(r, "build.seconds.total");
        const unsigned colour = colours[i % N_COLOURS];

        if (!(seconds > 0))
            continue;
        const double end = LEFT + seconds / most * (BARS_END - LEFT);
        snprintf(paint, sizeof paint, "left tc rgb \"#%06x\" font \",12\"", colour);
        put_text(p, LEFT, y + BENCH_LINE / 2, p->labels[i], paint);
        y += BENCH_LINE;
        fprintf(p->out,
                "set object rectangle from screen %.6f,%.6f to screen %.6f,%.6f fc rgb \"#%06x\" fs solid noborder\n",
                (double)LEFT / WIDTH, 1 - (y + BAR) / p->height, end / WIDTH, 1 - y / p->height, colour);
        snprintf(text, sizeof text, "%.3g s, %s vectors/s, memory %s", seconds,
                 cmd_group_round(bench_json_number(r, "build.vectors_per_second")).text,
                 cmd_human_bytes((uint64_t)fmax(0, bench_json_number(r, "build.peak_memory_bytes"))).text);
        put_text(p, end + 8, y + BAR / 2, text, "left font \",12\"");
        describe(p, "build, %s: %s", p->labels[i], text);
        y += BAR + 8;
        p->n_drawn++;
    }
    put_nothing(p);
}

/* Rows that a panel needs for labels, in pixels. */
static double panel_height(const struct plot *p, bench_panel panel)
{
    size_t n = 0;

    if (panel == BENCH_PANEL_BUILD) {
        for (size_t i = 0; i < p->n_results; i++)
            n += bench_json_number(p->results[i], "build.seconds.total") > 0;
        return (double)n * (BENCH_LINE + BAR + 8);
    }
    for (size_t m = 0; m < MAX_MEASURES && panels[panel].measures[m].member; m++)
        n += p->n_series;
    return fmax(PANEL_LEAST, (double)n * BENCH_LINE + 8);
}

/* What the results were measured on, where they differ; a line each, from y on. */
static void put_differences(struct plot *p, double y)
{
    for (size_t i = 0; i < p->n_results; i++) {
        for (size_t t = 0; t < 2; t++) {
            char *own = p->told[t][0] == '\0' ? texts[t](p->results[i]) : NULL, *line = NULL;

            if (own && asprintf(&line, "%s: %s", p->labels[i], own) >= 0) {
                put_text(p, LEFT, y, line, "left font \",12\"");
                describe(p, "%s", line);
                free(line);
                y += BENCH_LINE;
            } else if (p->told[t][0] == '\0') {
                p->no_memory = true;
            }
            free(own);
        }
    }
}

/* The size of the picture, and what all panels share. */
static void put_head(struct plot *p, bool svg, unsigned wanted)
{
    const int n_lines = (int)p->n_results * ((p->told[0][0] == '\0') + (p->told[1][0] == '\0'));
    char *line = NULL;

    p->height = HEAD + BENCH_LINE * n_lines;
    for (bench_panel i = 0; i < BENCH_N_PANELS; i++)
        if (wanted & 1u << i)
            p->height += PANEL_BEFORE + (int)panel_height(p, i) + PANEL_AFTER;
    fprintf(p->out, "set encoding utf8\n");
    /* The terminal that draws smooth lines may be missing from a small gnuplot. */
    if (svg) {
        fprintf(p->out, "set terminal svg size %d,%d noenhanced font \"sans-serif,13\" background \"#ffffff\"\n", WIDTH,
                p->height);
    } else {
        fprintf(p->out,
                "if (strstrt(GPVAL_TERMINALS, 'pngcairo')) {\n"
                "set terminal pngcairo size %d,%d noenhanced font \"sans,13\" fontscale 0.77\n"
                "} else {\nset terminal png size %d,%d noenhanced\n}\n",
                WIDTH, p->height, WIDTH, p->height);
    }
    fprintf(p->out, "set multiplot\nunset key\nset border 3\nset tics nomirror\n"
                    "set grid back lt 1 lw 1 lc rgb \"#dddddd\"\n");
    put_text(p, LEFT, 24, "omendb bench", "left font \",15\"");
    if (asprintf(&line, "%s%s%s", p->told[0], p->told[0][0] != '\0' && p->told[1][0] != '\0' ? "; " : "", p->told[1]) >=
        0) {
        put_text(p, LEFT, 48, line, "left");
        describe(p, "%s", line);
        free(line);
    } else {
        p->no_memory = true;
    }
    put_differences(p, p->height - BENCH_LINE * n_lines);
    put_nothing(p);
}

static int put_script(struct plot *p, bool svg, unsigned wanted, omen_detail *why)
{
    double y = HEAD;
    int status = OMEN_OK;

    put_head(p, svg, wanted);
    for (bench_panel i = 0; i < BENCH_N_PANELS && status == OMEN_OK; i++) {
        const double height = panel_height(p, i);

        if (!(wanted & 1u << i))
            continue;
        put_text(p, LEFT, y + 28, panels[i].title, "left");
        y += PANEL_BEFORE;
        fprintf(p->out,
                "set lmargin at screen %.6f\nset rmargin at screen %.6f\nset tmargin at screen %.6f\n"
                "set bmargin at screen %.6f\n",
                (double)LEFT / WIDTH, (double)p->right / WIDTH, 1 - y / p->height, 1 - (y + height) / p->height);
        if (i == BENCH_PANEL_BUILD)
            put_build_panel(p, y);
        else
            status = put_curve_panel(p, i, y, height);
        y += height + PANEL_AFTER;
        fprintf(p->out, "unset label\nunset arrow\n");
    }
    if (status == OMEN_OK && p->no_memory)
        status = OMEN_ERR_MEMORY;
    if (status == OMEN_OK && p->n_drawn == 0) {
        return omen_fail(why, OMEN_ERR_INPUT,
                         wanted == 1u << BENCH_PANEL_BUILD ? "there are no builds to plot: each index was given"
                                                           : "there are no points to plot");
    }
    return status;
}

/* Names of lines, and where boxes end to leave room for them. False if out of memory. */
static bool make_labels(struct plot *p)
{
    size_t longest = 8;

    p->by_id = true;
    for (size_t i = 0; i < p->n_results; i++)
        p->by_id = p->by_id && by_id_only(p->results[i]);
    for (size_t i = 0; i < p->n_series; i++) {
        p->series[i].label = make_label(p, &p->series[i]);
        if (!p->series[i].label)
            return false;
        const size_t n = count_letters(p->series[i].label);
        longest = n > longest ? n : longest;
    }
    p->right = WIDTH - 28 - (int)(LETTER * (double)(longest + strlen(panels[BENCH_PANEL_LATENCY].measures[0].suffix)));
    return true;
}

int bench_plot(const char *path, unsigned wanted, json_t *const *results, const char *const *labels, size_t n_results,
               omen_detail *why)
{
    struct plot *p = calloc(1, sizeof *p);
    int status = OMEN_ERR_MEMORY;

    if (!p)
        return status;
    p->results = results;
    p->labels = labels;
    p->n_results = n_results;
    p->text.title = "omendb bench: recall, speed and build";
    list_series(p);
    if (find_shared(p) && make_labels(p)) {
        status = bench_memory_file(&p->out, "script", why);
        if (status == OMEN_OK)
            status = put_script(p, bench_picture_is_svg(path), wanted, why);
    }
    if (status == OMEN_OK)
        status = bench_picture_draw(p->out, path, &p->text, why);
    if (p->out)
        fclose(p->out);
    for (size_t i = 0; i < p->n_series; i++)
        free(p->series[i].label);
    for (size_t i = 0; i < p->text.n_lines; i++)
        free(p->text.lines[i]);
    free(p->text.lines);
    free(p->told[0]);
    free(p->told[1]);
    free(p);
    return status;
}
