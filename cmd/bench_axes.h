/* SPDX-License-Identifier: Apache-2.0 */
/* Private to bench_plot.c: where values stand in a panel of a picture, in pixels from the upper left corner. */
#ifndef BENCH_AXES_H
#define BENCH_AXES_H

#include "cmd/bench.h"

#define BENCH_LINE       19 /* pixels from line to line */
#define BENCH_MAX_CURVES (2 * BENCH_MAX_FILES * BENCH_MAX_KS)

/* A point: its recall, and a figure. */
struct bench_row {
    double recall, value, least, most;
};

/* A box, and what its sides stand for: places of recall, which are decades of the share that is missed, and values. */
struct bench_box {
    double left, right, top, bottom;
    double recall_low, recall_high, value_low, value_high;
    double found_all; /* where a recall of 1 stands, which is infinitely far away */
    bool has_all;     /* there is one */
};

/* Both axes are fitted to the rows that are taken in between, with some room. */
void bench_box_begin(struct bench_box *b);
void bench_box_take(struct bench_box *b, const struct bench_row *rows, size_t n);
void bench_box_fit(struct bench_box *b);

/* The place of a recall on its axis; where recalls and values are in the picture. */
double bench_box_recall(const struct bench_box *b, double recall);
double bench_box_x(const struct bench_box *b, double recall);
double bench_box_y(const struct bench_box *b, double value);

/* Tells gnuplot both axes. */
void bench_box_put(const struct bench_box *b, FILE *out);

/* The end of a curve, and where its label goes. */
struct bench_end {
    double wanted, place;
    size_t curve;
};

/* Sorts n ends and sets their places: as near as possible to where they are wanted, a line apart, between low and
 * high. */
void bench_ends_spread(struct bench_end *ends, size_t n, double low, double high);

#endif
