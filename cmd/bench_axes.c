/* SPDX-License-Identifier: Apache-2.0 */
/* The axes of a picture: what stands where. */
#include "cmd/bench_axes.h"

#include <math.h>
#include <stdlib.h>

double bench_box_recall(const struct bench_box *b, double recall)
{
    return recall < 1 ? -log10(1 - recall) : b->found_all;
}

double bench_box_x(const struct bench_box *b, double recall)
{
    const double share = (bench_box_recall(b, recall) - b->recall_low) / (b->recall_high - b->recall_low);

    return b->left + share * (b->right - b->left);
}

double bench_box_y(const struct bench_box *b, double value)
{
    return b->bottom - log(value / b->value_low) / log(b->value_high / b->value_low) * (b->bottom - b->top);
}

void bench_box_begin(struct bench_box *b)
{
    b->recall_low = INFINITY;
    b->recall_high = 1; /* at least 0.9 */
    b->value_low = INFINITY;
    b->value_high = 0;
    b->has_all = false;
}

void bench_box_take(struct bench_box *b, const struct bench_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        b->value_low = fmin(b->value_low, rows[i].least);
        b->value_high = fmax(b->value_high, rows[i].most);
        b->has_all = b->has_all || rows[i].recall >= 1;
        if (rows[i].recall < 1) {
            b->recall_low = fmin(b->recall_low, bench_box_recall(b, rows[i].recall));
            b->recall_high = fmax(b->recall_high, bench_box_recall(b, rows[i].recall));
        }
    }
}

void bench_box_fit(struct bench_box *b)
{
    b->found_all = b->recall_high + 0.3;
    const double high = b->has_all ? b->found_all : b->recall_high, low = fmin(b->recall_low, high - 0.3);

    b->recall_low = low - 0.03 * (high - low);
    b->recall_high = high + 0.03 * (high - low);
    b->value_low *= 0.85;
    b->value_high *= 1.2;
}

/* Ticks of recall, the first of this order that have room. */
static void put_recall_axis(FILE *out, const struct bench_box *b)
{
    static const double recalls[] = {1, 0.9, 0.95, 0.99, 0.999, 0.8, 0.98, 0.995, 0.9999, 0.5, 0.7, 0.6, 0.85, 0.3, 0};
    double taken[sizeof recalls / sizeof recalls[0]];
    size_t n = 0;

    fprintf(out, "set xrange [%.6f:%.6f]\nset xtics nomirror (", b->recall_low, b->recall_high);
    for (size_t i = 0; i < sizeof recalls / sizeof recalls[0]; i++) {
        const double at = bench_box_recall(b, recalls[i]);
        bool fits = at >= b->recall_low && at <= b->recall_high;

        for (size_t j = 0; j < n && fits; j++)
            fits = fabs(taken[j] - at) > 45 * (b->recall_high - b->recall_low) / (b->right - b->left);
        if (fits) {
            fprintf(out, "%s\"%g\" %.6f", n > 0 ? ", " : "", recalls[i], at);
            taken[n++] = at;
        }
    }
    fprintf(out, ")\n");
}

/* Ticks at 1, 2, 5 times powers of ten, at more of them if the values are close together, with digits grouped. */
static void put_value_axis(FILE *out, double lowest, double highest)
{
    static const int steps[] = {1, 2, 5, 3, 4, 6, 8};
    const size_t n_steps = highest / lowest > 8 ? 3 : sizeof steps / sizeof steps[0];
    const char *separator = "";

    fprintf(out, "set logscale y\nset yrange [%.6g:%.6g]\nset ytics nomirror (", lowest, highest);
    for (int power = -6; power < 12; power++) {
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

void bench_box_put(const struct bench_box *b, FILE *out)
{
    put_recall_axis(out, b);
    put_value_axis(out, b->value_low, b->value_high);
}

static int compare_ends(const void *a, const void *b)
{
    const struct bench_end *x = a, *y = b;

    return x->wanted != y->wanted ? (x->wanted > y->wanted) - (x->wanted < y->wanted)
                                  : (x->curve > y->curve) - (x->curve < y->curve);
}

/* Labels that push each other are a block, whose places less their number in it are all the mean of what is wanted. */
void bench_ends_spread(struct bench_end *ends, size_t n, double low, double high)
{
    double sums[BENCH_MAX_CURVES];
    size_t sizes[BENCH_MAX_CURVES], n_blocks = 0;

    qsort(ends, n, sizeof *ends, compare_ends);
    for (size_t i = 0; i < n; i++) {
        sums[n_blocks] = ends[i].wanted - (double)i * BENCH_LINE;
        sizes[n_blocks++] = 1;
        while (n_blocks > 1 &&
               sums[n_blocks - 2] / (double)sizes[n_blocks - 2] > sums[n_blocks - 1] / (double)sizes[n_blocks - 1]) {
            n_blocks--;
            sums[n_blocks - 1] += sums[n_blocks];
            sizes[n_blocks - 1] += sizes[n_blocks];
        }
    }
    const double most = high - (double)(n - 1) * BENCH_LINE;
    for (size_t block = 0, i = 0; block < n_blocks; block++) {
        const double mean = sums[block] / (double)sizes[block];
        for (size_t j = 0; j < sizes[block]; j++, i++)
            ends[i].place = fmax(low, fmin(mean, most)) + (double)i * BENCH_LINE;
    }
}
