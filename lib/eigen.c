/* SPDX-License-Identifier: Apache-2.0 */
/* Eigenvectors of symmetric matrices.
 *
 * All of them: Householder's reduction to a tridiagonal matrix, in float64; Cuppen's divide and conquer with the
 * deflation of Dongarra and Sorensen and the weights of Gu and Eisenstat, so that eigenvectors of the parts are
 * orthogonal however near their values are; reflections undone in blocks (compact WY). The largest of many: subspace
 * iteration, accelerated by Chebyshev polynomials, and Rayleigh-Ritz at the end.
 *
 * Products of matrices are the float32 kernel's, which leaves errors of some 1e-7 in the vectors; a final Gram-Schmidt
 * pass removes them. Everything is cut in fixed blocks, each output is computed by one thread in a fixed order, and
 * nothing but additions, products, quotients and square roots is used, so the bits are the same everywhere. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/eigen.h"
#include "lib/kernels.h"
#include "lib/matrix.h"

#define REFLECTORS   32u        /* of a block */
#define LEAF         24u        /* order of the tridiagonal matrices that are not divided */
#define STRIPE       48u        /* rows of a product that one thread makes at once */
#define GROUP        16u        /* panels of it */
#define GRAM_ROWS    16u        /* rows made orthogonal at once */
#define GRAM_COLUMNS 128u       /* of them, by one thread at once */
#define SERIAL_MOST  (1u << 22) /* multiply-adds that are not worth waking other threads */

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Floats between rows of n values: not a multiple of a large power of two, which would fight for few cache lines. */
static size_t row_stride(size_t n)
{
    return round_up(n, OMEN_PANEL) + OMEN_PANEL;
}

/* panels: the columns [0, n) of rows (n_k x n), for products with them. */
static void pack_columns(const float *rows, size_t n_k, size_t n, size_t ld, float *panels)
{
    for (size_t j = 0; j < n; j += OMEN_PANEL) {
        float *panel = panels + j * n_k;
        const size_t width = least(OMEN_PANEL, n - j);
        if (width < OMEN_PANEL)
            memset(panel, 0, n_k * OMEN_PANEL * sizeof *panel);
        for (size_t k = 0; k < n_k; k++)
            memcpy(panel + k * OMEN_PANEL, rows + k * ld + j, width * sizeof *panel);
    }
}

/* c (m x n) = a (m x n_k) times panels (n_k x n); rows of c have room for n rounded up to 16. */
static void multiply(const float *a, size_t lda, size_t m, const float *panels, size_t n, size_t n_k, float *c,
                     size_t ldc, omen_watch *watch)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t n_panels = round_up(n, OMEN_PANEL) / OMEN_PANEL;
    /* no more work between two looks at the watch than asked for, and few enough rows for all threads */
    const size_t group = OMEN_WATCH_STEP / (STRIPE * OMEN_PANEL) / n_k + 1 < GROUP
                             ? OMEN_WATCH_STEP / (STRIPE * OMEN_PANEL) / n_k + 1
                             : GROUP;
#pragma omp parallel for collapse(2) schedule(dynamic) if (m * n * n_k > SERIAL_MOST)
    for (size_t p = 0; p < n_panels; p += group) {
        for (size_t i = 0; i < m; i += STRIPE) {
            if (omen_watch_stopped(watch))
                continue;
            kernels->matmul(a + i * lda, lda, least(STRIPE, m - i), panels + p * OMEN_PANEL * n_k,
                            least(group, n_panels - p), n_k, c + i * ldc + p * OMEN_PANEL, ldc);
        }
    }
}

/* ---- Gram and Schmidt ---- */

/* row -= its part along other, both of length n; other has length 1. */
static void take_away(float *row, const float *other, size_t n)
{
    const float dot = omen_kernels_get()->ip_f32(row, other, n);
    for (size_t j = 0; j < n; j++)
        row[j] -= dot * other[j];
}

/* Scales row to length 1 and returns the length that it had; 0, and the row 0, where that is nothing. */
static double normalise(float *row, size_t n)
{
    double top = 0;
    for (size_t j = 0; j < n; j++)
        top = (double)fabsf(row[j]) > top ? (double)fabsf(row[j]) : top;
    if (!(top > 1e-30 && top < 1e30)) { /* squares would underflow, or it is no number */
        memset(row, 0, n * sizeof *row);
        return 0;
    }
    const float inverse = (float)(1 / top);
    for (size_t j = 0; j < n; j++)
        row[j] *= inverse;
    const double norm = sqrt((double)omen_kernels_get()->ip_f32(row, row, n));
    const float scale = (float)(1 / norm);
    for (size_t j = 0; j < n; j++)
        row[j] *= scale;
    return norm / (double)inverse;
}

/* Rows [r0, r0 + count) -= their parts along the r0 rows before, which panels holds packed by rows. */
static void project_out(float *rows, size_t r0, size_t count, size_t n, size_t ld, const float *panels, float *columns,
                        float *work, omen_watch *watch)
{
    const omen_kernels *kernels = omen_kernels_get();
    const size_t ldp = round_up(r0, OMEN_PANEL), width = round_up(n, OMEN_PANEL);
    float *block = rows + r0 * ld, *parts = work, *sums = work + GRAM_ROWS * ldp;
    multiply(block, ld, count, panels, r0, n, parts, ldp, watch);
#pragma omp parallel for schedule(static) if (count * r0 * n > SERIAL_MOST)
    for (size_t j = 0; j < width; j += GRAM_COLUMNS) {
        const size_t here = least(GRAM_COLUMNS, n - j);
        pack_columns(rows + j, r0, here, ld, columns + j * r0);
        kernels->matmul(parts, ldp, count, columns + j * r0, round_up(here, OMEN_PANEL) / OMEN_PANEL, r0, sums + j,
                        width);
        for (size_t i = 0; i < count; i++)
            for (size_t k = j; k < j + here; k++)
                block[i * ld + k] -= sums[i * width + k];
    }
}

/* A row that the r before it span, to within rounding: the axis that they hold least of takes its place. */
static void replace_row(float *rows, size_t r, size_t n, size_t ld)
{
    float *row = rows + r * ld;
    for (size_t j = 0; j < n; j++)
        row[j] = 1;
    for (size_t s = 0; s < r; s++)
        for (size_t j = 0; j < n; j++)
            row[j] -= rows[s * ld + j] * rows[s * ld + j];
    size_t top = 0;
    for (size_t j = 1; j < n; j++)
        top = row[j] > row[top] ? j : top;
    memset(row, 0, n * sizeof *row);
    row[top] = 1;
}

/* Row r against all before it, until nothing is left to take away. */
static void settle_row(float *rows, size_t r, size_t n, size_t ld)
{
    float *row = rows + r * ld;
    for (unsigned pass = 0; pass < 6; pass++) {
        for (size_t s = 0; s < r; s++)
            take_away(row, rows + s * ld, n);
        const double norm = normalise(row, n);
        if (norm > 0.5)
            return;
        if (pass == 2 || norm == 0)
            replace_row(rows, r, n, ld);
    }
}

int omen_eigen_orthonormalise(float *rows, size_t m, size_t n, size_t ld, omen_watch *watch)
{
    const size_t width = round_up(n, OMEN_PANEL), height = round_up(m, GRAM_ROWS);
    float *panels = omen_alloc(height * n, sizeof *panels), *columns = omen_alloc(height * width, sizeof *columns);
    float *work = omen_alloc(GRAM_ROWS * (height + width), sizeof *work);
    int status = panels && columns && work ? OMEN_OK : OMEN_ERR_MEMORY;
    for (size_t r0 = 0; r0 < m && status == OMEN_OK; r0 += GRAM_ROWS) {
        const size_t count = least(GRAM_ROWS, m - r0);
        for (size_t r = r0; r < r0 + count; r++)
            normalise(rows + r * ld, n);
        /* twice is enough, but for rows that shrink in the second pass too */
        for (unsigned pass = 0; pass < 2; pass++) {
            if (r0)
                project_out(rows, r0, count, n, ld, panels, columns, work, watch);
            for (size_t r = r0; r < r0 + count; r++) {
                for (size_t s = r0; s < r; s++)
                    take_away(rows + r * ld, rows + s * ld, n);
                if (normalise(rows + r * ld, n) < 0.5 && pass > 0 && !omen_watch_stopped(watch))
                    settle_row(rows, r, n, ld);
            }
        }
        omen_panels_pack(rows + r0 * ld, count, n, ld, panels + r0 * n);
        status = omen_watch_status(watch);
    }
    free(work);
    free(columns);
    free(panels);
    return status;
}

/* ---- to a tridiagonal matrix ---- */

/* a (n x n, both triangles) becomes tridiagonal: diagonal, and beside[j] between j and j + 1. The reflectors
 * 1 - scales[j] v v' are left in the rows of a: v[j + 1 ..], whose first element is 1. */
static int tridiagonalise(double *a, size_t n, double *diagonal, double *beside, double *scales, omen_watch *watch)
{
    const omen_kernels *kernels = omen_kernels_get();
    /* v and w of each reflector of the block, one after the other: a - v w' - w v' is the matrix so far */
    double *pairs = omen_alloc_zero((size_t)2 * REFLECTORS * n, sizeof *pairs),
           *product = omen_alloc(n, sizeof *product);
    int status = pairs && product ? OMEN_OK : OMEN_ERR_MEMORY;
    for (size_t j0 = 0; j0 + 1 < n && status == OMEN_OK; j0 += REFLECTORS) {
        const size_t end = least(j0 + REFLECTORS, n - 1);
        for (size_t j = j0; j < end && status == OMEN_OK; j++) {
            double parts[2 * REFLECTORS], *row = a + j * n;
            const size_t n_pairs = 2 * (j - j0), below = n - j - 1;
            double *v = pairs + n_pairs * n, *w = v + n;
            for (size_t t = 0; t < n_pairs; t++) /* what belongs to v is an element of w, and the other way round */
                parts[t] = pairs[(t ^ 1) * n + j];
            kernels->reduce_f64(row + j, parts, pairs + j, n, n_pairs, n - j);
            diagonal[j] = row[j];
            double *x = row + j + 1;
            const double alpha = x[0], norm2 = below > 1 ? kernels->dot_f64(x + 1, x + 1, below - 1) : 0;
            memset(v, 0, 2 * n * sizeof *v);
            if (!(norm2 > 0)) {
                beside[j] = alpha;
                scales[j] = 0;
                memset(x, 0, below * sizeof *x);
                continue;
            }
            const double length = sqrt(alpha * alpha + norm2), beta = alpha < 0 ? length : -length;
            const double inverse = 1 / (alpha - beta), scale = (beta - alpha) / beta;
            beside[j] = beta;
            scales[j] = scale;
            x[0] = 1;
            for (size_t i = 1; i < below; i++)
                x[i] *= inverse;
            memcpy(v + j + 1, x, below * sizeof *x);
#pragma omp parallel for schedule(static) if (below * below > SERIAL_MOST / 4)
            for (size_t i = j + 1; i < n; i++)
                product[i] = kernels->dot_f64(a + i * n + j + 1, x, below);
            for (size_t t = 0; t < n_pairs; t++)
                parts[t] = kernels->dot_f64(pairs + (t ^ 1) * n + j + 1, x, below);
            kernels->reduce_f64(product + j + 1, parts, pairs + j + 1, n, n_pairs, below);
            const double half = 0.5 * scale * scale * kernels->dot_f64(product + j + 1, x, below);
            for (size_t i = j + 1; i < n; i++)
                w[i] = scale * product[i] - half * v[i];
            status = omen_watch_status(watch);
        }
        const size_t n_pairs = 2 * (end - j0);
#pragma omp parallel for schedule(static) if ((n - end) * (n - end) * n_pairs > SERIAL_MOST)
        for (size_t i = end; i < n; i++) {
            double parts[2 * REFLECTORS];
            for (size_t t = 0; t < n_pairs; t++)
                parts[t] = pairs[(t ^ 1) * n + i];
            kernels->reduce_f64(a + i * n + end, parts, pairs + end, n, n_pairs, n - end);
        }
    }
    diagonal[n - 1] = a[n * n - 1];
    free(product);
    free(pairs);
    return status;
}

/* vectors (m x n): eigenvectors of the tridiagonal matrix become those of the matrix it was. */
static int turn_back(const double *a, size_t n, const double *scales, float *vectors, size_t m, size_t ld,
                     omen_watch *watch)
{
    const size_t most = REFLECTORS, width = round_up(n, OMEN_PANEL), ldv = row_stride(n);
    float *v = omen_alloc(most * ldv, sizeof *v), *v_panels = omen_alloc(most * n, sizeof *v_panels);
    float *columns = omen_alloc(most * width, sizeof *columns), *back = omen_alloc(m * width, sizeof *back);
    float *parts = omen_alloc(2 * m * most, sizeof *parts), *turned = parts + m * most;
    double(*t)[REFLECTORS] = omen_alloc(2 * REFLECTORS, sizeof *t);
    float *t_rows = (float *)(t + REFLECTORS), *t_panels = t_rows + REFLECTORS * REFLECTORS;
    int status = v && v_panels && columns && back && parts && t ? OMEN_OK : OMEN_ERR_MEMORY;
    const size_t n_blocks = n > 1 ? (n - 2) / most + 1 : 0;
    for (size_t block = n_blocks; block-- > 0 && status == OMEN_OK;) {
        const size_t j0 = block * most, count = least(most, n - 1 - j0), first = j0 + 1, tall = n - first;
        memset(t, 0, REFLECTORS * sizeof *t);
        memset(v, 0, most * ldv * sizeof *v);
        for (size_t i = 0; i < count; i++)
            for (size_t k = j0 + i + 1; k < n; k++)
                v[i * ldv + k - first] = (float)a[(j0 + i) * n + k];
        /* H_0 H_1 ... = 1 - V' T V, with the rows v of V and T upper triangular */
        for (size_t i = 0; i < count; i++) {
            double dots[REFLECTORS];
            t[i][i] = scales[j0 + i];
            for (size_t k = 0; k < i; k++)
                dots[k] = omen_kernels_get()->dot_f64(a + (j0 + k) * n + j0 + i + 1, a + (j0 + i) * n + j0 + i + 1,
                                                      n - j0 - i - 1);
            for (size_t k = 0; k < i; k++)
                for (size_t l = k; l < i; l++)
                    t[k][i] -= scales[j0 + i] * t[k][l] * dots[l];
        }
        for (size_t i = 0; i < most; i++)
            for (size_t k = 0; k < most; k++)
                t_rows[i * most + k] = (float)t[i][k];
        omen_panels_pack(t_rows, most, most, most, t_panels);
        omen_panels_pack(v, most, tall, ldv, v_panels);
        pack_columns(v, most, tall, ldv, columns);
        /* a row z' becomes z' - ((z' V') T') V */
        multiply(vectors + first, ld, m, v_panels, most, tall, parts, most, watch);
        multiply(parts, most, m, t_panels, most, most, turned, most, watch);
        multiply(turned, most, m, columns, tall, most, back, width, watch);
#pragma omp parallel for schedule(static) if (m * tall > SERIAL_MOST / 16)
        for (size_t i = 0; i < m; i++)
            for (size_t k = 0; k < tall; k++)
                vectors[i * ld + first + k] -= back[i * width + k];
        status = omen_watch_status(watch);
    }
    free(t);
    free(parts);
    free(back);
    free(columns);
    free(v_panels);
    free(v);
    return status;
}

/* ---- divide and conquer ---- */

typedef struct {
    size_t n, ld;
    double *values, *beside; /* eigenvalues of the parts done; what couples the parts */
    float *vectors;          /* n x ld: row r is the eigenvector of values[r], in the columns of its part */
    float *next, *shares;    /* n x ld each: the products under way; eigenvectors of a coupled diagonal matrix */
    float *panels;           /* n x ld */
    double *z, *poles, *weights, *signs, *offsets; /* n each */
    size_t *rows, *kept, *deflated, *origins;      /* n each */
    omen_watch *watch;
} conquest;

/* Sorts the part's eigenvalues and rows of vectors, few of them. */
static void sort_leaf(conquest *c, size_t lo, size_t hi)
{
    for (size_t i = lo; i < hi; i++) {
        size_t smallest = i;
        for (size_t j = i + 1; j < hi; j++)
            smallest = c->values[j] < c->values[smallest] ? j : smallest;
        const double value = c->values[smallest];
        c->values[smallest] = c->values[i];
        c->values[i] = value;
        for (size_t j = lo; j < hi && smallest != i; j++) {
            const float x = c->vectors[i * c->ld + j];
            c->vectors[i * c->ld + j] = c->vectors[smallest * c->ld + j];
            c->vectors[smallest * c->ld + j] = x;
        }
    }
}

/* Implicit QL for the tridiagonal matrix of the rows and columns [lo, hi), at most LEAF of them. */
static void solve_leaf(conquest *c, size_t lo, size_t hi)
{
    const size_t n = hi - lo;
    double d[LEAF], e[LEAF], q[LEAF][LEAF] = {{0}};
    for (size_t i = 0; i < n; i++) {
        d[i] = c->values[lo + i];
        e[i] = i + 1 < n ? c->beside[lo + i] : 0;
        q[i][i] = 1;
    }
    for (size_t l = 0; l < n; l++) {
        for (unsigned pass = 0; pass < 60; pass++) { /* two or three do */
            size_t m = l;
            while (m + 1 < n && fabs(e[m]) > DBL_EPSILON * (fabs(d[m]) + fabs(d[m + 1])) && fabs(e[m]) > DBL_MIN)
                m++;
            if (m == l)
                break;
            double g = (d[l + 1] - d[l]) / (2 * e[l]), r = sqrt(g * g + 1), p = 0, sine = 1, cosine = 1;
            if (!(r < DBL_MAX))
                r = fabs(g);
            g = d[m] - d[l] + e[l] / (g + (g < 0 ? -r : r));
            size_t i = m;
            bool is_split = false;
            while (i-- > l) {
                double f = sine * e[i];
                const double b = cosine * e[i];
                r = sqrt(f * f + g * g);
                e[i + 1] = r;
                if (!(r > 0)) {
                    d[i + 1] -= p;
                    e[m] = 0;
                    is_split = true;
                    break;
                }
                sine = f / r;
                cosine = g / r;
                g = d[i + 1] - p;
                r = (d[i] - g) * sine + 2 * cosine * b;
                p = sine * r;
                d[i + 1] = g + p;
                g = cosine * r - b;
                for (size_t k = 0; k < n; k++) {
                    f = q[i + 1][k];
                    q[i + 1][k] = sine * q[i][k] + cosine * f;
                    q[i][k] = cosine * q[i][k] - sine * f;
                }
            }
            if (is_split)
                continue;
            d[l] -= p;
            e[l] = g;
            e[m] = 0;
        }
    }
    for (size_t i = 0; i < n; i++) {
        c->values[lo + i] = d[i];
        for (size_t k = 0; k < n; k++)
            c->vectors[(lo + i) * c->ld + lo + k] = (float)q[i][k];
    }
    sort_leaf(c, lo, hi);
}

/* The function whose roots are the eigenvalues, 1 / rho + sum of weights / (poles - x), at x = poles[origin] + offset:
 * its two parts, up to pole i and beyond, and their derivatives. */
typedef struct {
    double left, right, left_slope, right_slope;
} secular;

static secular secular_at(const conquest *c, size_t n, size_t i, size_t origin, double offset)
{
    secular s = {0, 0, 0, 0};
    for (size_t j = 0; j < n; j++) {
        const double inverse = 1 / (c->poles[j] - c->poles[origin] - offset), term = c->weights[j] * inverse;
        if (j <= i) {
            s.left += term;
            s.left_slope += term * inverse;
        } else {
            s.right += term;
            s.right_slope += term * inverse;
        }
    }
    return s;
}

/* Root i of n: between pole i and the next, or less than span beyond the last. The root of the rational function that
 * agrees in value and slope of both parts is the next guess (Bunch, Nielsen and Sorensen 1978), or the middle where
 * that leaves the interval. */
static void find_root(const conquest *c, size_t n, size_t i, double rho, double span)
{
    const bool is_last = i + 1 == n;
    const double gap = is_last ? span : c->poles[i + 1] - c->poles[i], constant = 1 / rho;
    size_t origin = i;
    double lo = 0, hi = gap, x = 0.5 * gap;
    if (!is_last) {
        const secular s = secular_at(c, n, i, i, x);
        if (constant + s.left + s.right < 0) { /* nearer to the pole above */
            origin = i + 1;
            lo = -0.5 * gap;
            hi = 0;
            x = lo;
        } else {
            hi = x;
        }
    }
    for (unsigned pass = 0; pass < 100; pass++) {
        const secular s = secular_at(c, n, i, origin, x);
        const double value = constant + s.left + s.right;
        if (fabs(value) <= 4 * DBL_EPSILON * (constant + fabs(s.left) + fabs(s.right)))
            break;
        if (value < 0)
            lo = x;
        else
            hi = x;
        const double to_left = c->poles[i] - c->poles[origin] - x;
        double step;
        if (is_last) {
            step = to_left * value / (value - s.left_slope * to_left);
        } else {
            const double to_right = c->poles[i + 1] - c->poles[origin] - x, both = to_left * to_right;
            const double a = (to_left + to_right) * value - both * (s.left_slope + s.right_slope), b = both * value;
            const double flat = value - s.left_slope * to_left - s.right_slope * to_right;
            const double root2 = a * a - 4 * b * flat, root = sqrt(root2 > 0 ? root2 : 0);
            step = a <= 0 ? (a - root) / (2 * flat) : 2 * b / (a + root);
        }
        double next = x + step;
        if (!(next > lo && next < hi)) /* near a pole the scale matters more than the middle */
            next = lo > 0 && hi > 16 * lo   ? sqrt(lo) * sqrt(hi)
                   : hi < 0 && lo < 16 * hi ? -(sqrt(-lo) * sqrt(-hi))
                                            : lo + 0.5 * (hi - lo);
        if (next == x || hi - lo <= 2 * DBL_EPSILON * (fabs(lo) > fabs(hi) ? fabs(hi) : fabs(lo)))
            break;
        x = next;
    }
    /* never on the pole itself */
    if (x == 0)
        x = (origin == i ? 1 : -1) * DBL_EPSILON * DBL_EPSILON * gap;
    c->origins[i] = origin;
    c->offsets[i] = x;
}

/* Pole j less root i. */
static double root_gap(const conquest *c, size_t j, size_t i)
{
    return c->poles[j] - c->poles[c->origins[i]] - c->offsets[i];
}

/* Rows of the part by rising value: each half is sorted. */
static void merge_rows(const conquest *c, size_t lo, size_t mid, size_t hi)
{
    for (size_t at = 0, i = lo, j = mid; i < mid || j < hi; at++)
        c->rows[at] = j == hi || (i < mid && c->values[i] <= c->values[j]) ? i++ : j++;
}

/* Sets aside what the coupling does not reach: rows of no weight, and all but one of rows with equal values, after a
 * rotation that gives that one their weight. Returns how many are kept. */
static size_t deflate(conquest *c, size_t lo, size_t n, double rho, size_t *n_deflated)
{
    size_t n_kept = 0, last = SIZE_MAX;
    double top = 0;
    *n_deflated = 0;
    for (size_t i = lo; i < lo + n; i++) {
        top = fabs(c->values[i]) > top ? fabs(c->values[i]) : top;
        top = rho * fabs(c->z[i]) > top ? rho * fabs(c->z[i]) : top;
    }
    const double tolerance = 8 * DBL_EPSILON * top;
    for (size_t at = 0; at < n; at++) {
        const size_t i = c->rows[at];
        if (rho * fabs(c->z[i]) <= tolerance) {
            c->deflated[(*n_deflated)++] = i;
            continue;
        }
        if (last != SIZE_MAX) {
            const double x = c->z[i], y = c->z[last], length = sqrt(x * x + y * y),
                         gap = c->values[i] - c->values[last];
            const double cosine = x / length, sine = -y / length;
            if (fabs(gap * cosine * sine) <= tolerance) {
                float *p = c->vectors + last * c->ld + lo, *q = c->vectors + i * c->ld + lo;
                for (size_t k = 0; k < n; k++) {
                    const double a = (double)p[k], b = (double)q[k];
                    p[k] = (float)(cosine * a + sine * b);
                    q[k] = (float)(cosine * b - sine * a);
                }
                const double lower = c->values[last] * cosine * cosine + c->values[i] * sine * sine;
                c->values[i] = c->values[last] * sine * sine + c->values[i] * cosine * cosine;
                c->values[last] = lower;
                c->z[i] = length;
                c->deflated[(*n_deflated)++] = last;
            } else {
                c->kept[n_kept++] = last;
            }
        }
        last = i;
    }
    if (last != SIZE_MAX)
        c->kept[n_kept++] = last;
    for (size_t i = 1; i < *n_deflated; i++) { /* nearly sorted */
        const size_t row = c->deflated[i];
        size_t j = i;
        for (; j > 0 && c->values[c->deflated[j - 1]] > c->values[row]; j--)
            c->deflated[j] = c->deflated[j - 1];
        c->deflated[j] = row;
    }
    return n_kept;
}

/* Roots, and the eigenvectors of the coupled diagonal matrix from root first on, in shares. */
static void solve_coupled(conquest *c, size_t n, double rho, size_t first)
{
    double span = 0;
    for (size_t i = 0; i < n; i++)
        span += c->weights[i];
    span *= rho;
#pragma omp parallel for schedule(dynamic, 8) if (n * n > SERIAL_MOST / 64)
    for (size_t i = 0; i < n; i++)
        if (!omen_watch_stopped(c->watch))
            find_root(c, n, i, rho, span);
    if (omen_watch_stopped(c->watch))
        return;
        /* the weights for which the roots found are exact (Gu and Eisenstat 1994) */
#pragma omp parallel for schedule(static) if (n * n > SERIAL_MOST / 64)
    for (size_t j = 0; j < n; j++) {
        double product = root_gap(c, j, j);
        for (size_t i = 0; i < n; i++)
            if (i != j)
                product *= root_gap(c, j, i) / (c->poles[j] - c->poles[i]);
        c->z[j] = sqrt(fabs(product)) * c->signs[j];
    }
#pragma omp parallel for schedule(static) if (n * n > SERIAL_MOST / 64)
    for (size_t i = first; i < n; i++) {
        float *row = c->shares + i * c->ld;
        double norm2 = 0;
        for (size_t j = 0; j < n; j++) {
            const double x = c->z[j] / root_gap(c, j, i);
            norm2 += x * x;
        }
        const double scale = 1 / sqrt(norm2);
        for (size_t j = 0; j < n; j++)
            row[j] = (float)(c->z[j] / root_gap(c, j, i) * scale);
    }
}

/* Couples the parts [lo, mid) and [mid, hi) again; of the result the eigenvectors of the m largest values are wanted.
 */
static void couple(conquest *c, size_t lo, size_t mid, size_t hi, size_t m)
{
    const size_t n = hi - lo, ld = c->ld;
    const double beta = c->beside[mid - 1], rho = 2 * fabs(beta), root_half = sqrt(0.5);
    size_t n_deflated;
    for (size_t i = lo; i < hi; i++)
        c->z[i] = (double)(i < mid    ? c->vectors[i * ld + mid - 1]
                           : beta < 0 ? -c->vectors[i * ld + mid]
                                      : c->vectors[i * ld + mid]) *
                  root_half;
    merge_rows(c, lo, mid, hi);
    const size_t n_kept = deflate(c, lo, n, rho, &n_deflated);
    for (size_t i = 0; i < n_kept; i++) {
        const double z = c->z[c->kept[i]];
        c->poles[i] = c->values[c->kept[i]];
        c->weights[i] = z * z;
        c->signs[i] = z < 0 ? -1 : 1;
    }
    /* eigenvectors are made for the m largest of all, among which are at most the m largest roots */
    const size_t first = n_kept > m ? n_kept - m : 0;
    solve_coupled(c, n_kept, rho, first);
    if (omen_watch_stopped(c->watch))
        return;
#pragma omp parallel for schedule(static) if (n_kept * n > SERIAL_MOST / 16)
    for (size_t j = 0; j < n; j += OMEN_PANEL) {
        const size_t width = least(OMEN_PANEL, n - j);
        float *panel = c->panels + j * n_kept;
        memset(panel, 0, n_kept * OMEN_PANEL * sizeof *panel);
        for (size_t k = 0; k < n_kept; k++)
            memcpy(panel + k * OMEN_PANEL, c->vectors + c->kept[k] * ld + lo + j, width * sizeof *panel);
    }
    if (n_kept > first)
        multiply(c->shares + first * ld, ld, n_kept - first, c->panels, n, n_kept, c->next + first * ld, ld, c->watch);
    for (size_t i = 0; i < n_deflated; i++)
        memcpy(c->next + (n_kept + i) * ld, c->vectors + c->deflated[i] * ld + lo, n * sizeof *c->next);
    for (size_t i = 0; i < n_deflated; i++)
        c->z[i] = c->values[c->deflated[i]];
    for (size_t at = 0, i = 0, j = 0; at < n; at++) {
        const double root = i < n_kept ? c->poles[c->origins[i]] + c->offsets[i] : 0;
        const bool is_root = j == n_deflated || (i < n_kept && root <= c->z[j]);
        c->values[lo + at] = is_root ? root : c->z[j];
        memcpy(c->vectors + (lo + at) * ld + lo, c->next + (is_root ? i : n_kept + j) * ld, n * sizeof *c->next);
        i += is_root;
        j += !is_root;
    }
}

static void conquer(conquest *c, size_t lo, size_t hi, size_t m)
{
    if (omen_watch_stopped(c->watch))
        return;
    if (hi - lo <= LEAF) {
        solve_leaf(c, lo, hi);
        return;
    }
    const size_t mid = lo + (hi - lo) / 2;
    const double coupling = fabs(c->beside[mid - 1]);
    c->values[mid - 1] -= coupling;
    c->values[mid] -= coupling;
    conquer(c, lo, mid, mid - lo);
    conquer(c, mid, hi, hi - mid);
    couple(c, lo, mid, hi, m);
}

/* Memory of the dense solver, but for its matrix: four matrices of floats, and rows. */
static uint64_t dense_bytes(uint64_t n)
{
    return 4 * n * row_stride(n) * sizeof(float) + 2 * n * (REFLECTORS + 8) * sizeof(double) + 4 * n * sizeof(size_t);
}

/* The eigenvectors of the m largest eigenvalues of a (n x n, both triangles; overwritten), by falling value; not yet
 * orthonormal to more than some 1e-6. */
static int solve_dense(double *a, size_t n, size_t m, float *vectors, size_t ld, double *values, omen_watch *watch)
{
    conquest c = {.n = n, .ld = row_stride(n), .watch = watch};
    double *numbers = omen_alloc(8 * n, sizeof *numbers), *scales = numbers + 7 * n;
    size_t *indexes = omen_alloc(4 * n, sizeof *indexes);
    c.vectors = omen_alloc(n * c.ld, sizeof *c.vectors);
    c.next = omen_alloc(n * c.ld, sizeof *c.next);
    c.shares = omen_alloc(n * c.ld, sizeof *c.shares);
    c.panels = omen_alloc(n * c.ld, sizeof *c.panels);
    int status = numbers && indexes && c.vectors && c.next && c.shares && c.panels ? OMEN_OK : OMEN_ERR_MEMORY;
    if (status == OMEN_OK) {
        c.values = numbers;
        c.beside = numbers + n;
        c.z = numbers + 2 * n;
        c.poles = numbers + 3 * n;
        c.weights = numbers + 4 * n;
        c.signs = numbers + 5 * n;
        c.offsets = numbers + 6 * n;
        c.rows = indexes;
        c.kept = indexes + n;
        c.deflated = indexes + 2 * n;
        c.origins = indexes + 3 * n;
        memset(c.vectors, 0, n * c.ld * sizeof *c.vectors);
        status = tridiagonalise(a, n, c.values, c.beside, scales, watch);
    }
    if (status == OMEN_OK) {
        conquer(&c, 0, n, m);
        status = omen_watch_status(watch);
    }
    if (status == OMEN_OK) {
        for (size_t r = 0; r < m; r++) {
            values[r] = c.values[n - 1 - r];
            memcpy(vectors + r * ld, c.vectors + (n - 1 - r) * c.ld, n * sizeof *vectors);
        }
    }
    free(c.panels);
    free(c.shares);
    free(c.next);
    free(c.vectors);
    if (status == OMEN_OK)
        status = turn_back(a, n, scales, vectors, m, ld, watch);
    free(indexes);
    free(numbers);
    return status;
}

/* ---- the largest of many ---- */

#define ROUNDS      12u
#define DEGREE_MOST 12u
#define GROWTH_MOST 1e6  /* of a direction against those cut, in a round: what float32 still tells apart */
#define LOSS_MOST   1e-5 /* of what the vectors wanted hold, as foreseen */
#define START_LOSS  16   /* squared tangent between directions wanted and a random start */

/* Vectors iterated for m wanted ones of n: some more, so that the last ones wanted settle as well. */
static size_t block_rows(size_t n, size_t m)
{
    return least(round_up(m + m / 8 + 8, GRAM_ROWS), n);
}

static bool is_dense(size_t n, size_t m)
{
    return 2 * block_rows(n, m) > n;
}

uint64_t omen_eigen_bytes(uint64_t n, uint64_t m)
{
    const uint64_t block = block_rows(n, m), ld = row_stride(n);
    const uint64_t gram = 2 * block * ld * sizeof(float) + GRAM_ROWS * (block + ld) * sizeof(float);
    if (is_dense(n, m))
        return dense_bytes(n) + gram;
    return n * ld * sizeof(float) + 3 * block * ld * sizeof(float) + 8 * block +
           (dense_bytes(block) + block * block * 12 > gram ? dense_bytes(block) + block * block * 12 : gram);
}

/* The upper triangle's other half. */
static void mirror(double *a, size_t n)
{
#pragma omp parallel for schedule(dynamic, 16) if (n > 256)
    for (size_t i = 1; i < n; i++)
        for (size_t j = 0; j < i; j++)
            a[i * n + j] = a[j * n + i];
}

/* Chebyshev's polynomial on [0, cut] at x, where it is at least 1. */
static double chebyshev(unsigned degree, double x, double cut)
{
    const double y = x > cut ? 2 * x / cut - 1 : 1;
    double before = 1, now = y;
    for (unsigned k = 1; k < degree; k++) {
        const double next = 2 * y * now - before;
        before = now;
        now = next;
    }
    return now;
}

typedef struct {
    size_t n, ld, n_rows, n_wanted;
    float *panels;       /* the matrix, n x n, packed */
    float *q, *w, *old;  /* n_rows x ld each */
    double *held, *gain; /* n_rows: what the rows of q hold, falling; how much those directions grew against the cut */
    omen_watch *watch;
} iteration;

static void swap_rows(float **a, float **b)
{
    float *const c = *a;
    *a = *b;
    *b = c;
}

/* q becomes the Chebyshev polynomial of the matrix, times q; w is the matrix times q. */
static void filter(iteration *s, unsigned degree, double cut)
{
    const size_t n_values = s->n_rows * s->ld;
    float scale = (float)(2 / cut), once = 1;
    for (unsigned k = 1; k <= degree; k++, scale = (float)(4 / cut), once = 2) {
        if (k > 1)
            multiply(s->q, s->ld, s->n_rows, s->panels, s->n, s->n, s->w, s->ld, s->watch);
#pragma omp parallel for schedule(static) if (n_values > SERIAL_MOST / 16)
        for (size_t r = 0; r < s->n_rows; r++) {
            float *w = s->w + r * s->ld;
            const float *q = s->q + r * s->ld, *old = s->old + r * s->ld;
            for (size_t j = 0; j < s->n; j++) {
                const float next = scale * w[j] - once * q[j];
                w[j] = k > 1 ? next - old[j] : next;
            }
        }
        swap_rows(&s->old, &s->q);
        swap_rows(&s->q, &s->w);
    }
}

/* Fills held, and returns what the vectors wanted are foreseen to lack after one more polynomial of the degree, of what
 * they hold. */
static void measure(iteration *s)
{
    const omen_kernels *kernels = omen_kernels_get();
    for (size_t r = 0; r < s->n_rows; r++) {
        const double held = (double)kernels->ip_f32(s->q + r * s->ld, s->w + r * s->ld, s->n);
        size_t at = r;
        for (; at > 0 && s->held[at - 1] < held; at--)
            s->held[at] = s->held[at - 1];
        s->held[at] = held;
    }
}

static double foreseen_loss(const iteration *s, unsigned degree, double cut)
{
    double loss = 0, sum = 0;
    for (size_t r = 0; r < s->n_wanted; r++) {
        const double gain = s->gain[r] * (degree ? chebyshev(degree, s->held[r], cut) : 1);
        const double share = START_LOSS / (gain * gain);
        loss += (s->held[r] - cut) * (share < 1 ? share : 1);
        sum += s->held[r];
    }
    return sum > 0 ? loss / sum : 0;
}

/* The space; leaves its orthonormal basis in q, and the matrix times that in w. */
static int iterate(iteration *s)
{
    int status = OMEN_OK;
    for (size_t r = 0; r < s->n_rows; r++)
        for (size_t j = 0; j < s->n; j++)
            s->w[r * s->ld + j] = (float)(omen_random_unit(0x65696765, r * s->n + j) - 0.5);
    multiply(s->w, s->ld, s->n_rows, s->panels, s->n, s->n, s->q, s->ld, s->watch);
    for (unsigned round = 0; status == OMEN_OK; round++) {
        status = omen_eigen_orthonormalise(s->q, s->n_rows, s->n, s->ld, s->watch);
        if (status != OMEN_OK)
            break;
        multiply(s->q, s->ld, s->n_rows, s->panels, s->n, s->n, s->w, s->ld, s->watch);
        status = omen_watch_status(s->watch);
        measure(s);
        /* less than that is rounding */
        const double top = s->held[0], least_cut = 1e-6 * top, lowest = s->held[s->n_rows - 1];
        const double cut = lowest > least_cut ? lowest : least_cut;
        for (size_t r = 0; r < s->n_rows && round == 0; r++)
            s->gain[r] = s->held[r] > cut ? s->held[r] / cut : 1;
        if (status != OMEN_OK || round == ROUNDS || !(top > 0) || foreseen_loss(s, 0, cut) <= 3 * LOSS_MOST)
            break;
        unsigned degree = 1;
        while (degree < DEGREE_MOST && chebyshev(degree + 1, top, cut) <= GROWTH_MOST &&
               foreseen_loss(s, degree, cut) > LOSS_MOST)
            degree++;
        filter(s, degree, cut);
        for (size_t r = 0; r < s->n_rows; r++)
            s->gain[r] *= chebyshev(degree, s->held[r], cut);
    }
    return status;
}

static int solve_largest(double *matrix, size_t n, size_t m, float *vectors, size_t ld, double *values,
                         omen_watch *watch)
{
    iteration s = {.n = n, .ld = row_stride(n), .n_rows = block_rows(n, m), .n_wanted = m, .watch = watch};
    const size_t l = s.n_rows, width = round_up(l, OMEN_PANEL);
    s.panels = omen_alloc(omen_panels_count(n, n), sizeof *s.panels);
    s.q = omen_alloc(l * s.ld, sizeof *s.q);
    s.w = omen_alloc(l * s.ld, sizeof *s.w);
    s.old = omen_alloc(l * s.ld, sizeof *s.old);
    s.held = omen_alloc(2 * l, sizeof *s.held);
    s.gain = s.held + l;
    int status = s.panels && s.q && s.w && s.old && s.held ? OMEN_OK : OMEN_ERR_MEMORY;
    if (status == OMEN_OK) {
#pragma omp parallel for schedule(static)
        for (size_t j = 0; j < n; j += OMEN_PANEL)
            for (size_t k = 0; k < n; k++)
                for (size_t i = 0; i < OMEN_PANEL; i++)
                    s.panels[j * n + k * OMEN_PANEL + i] =
                        j + i >= n ? 0 : (float)(k < j + i ? matrix[k * n + j + i] : matrix[(j + i) * n + k]);
        status = iterate(&s);
    }
    /* Rayleigh and Ritz: the eigenvectors within the space */
    free(s.panels);
    free(s.old);
    free(s.held);
    float *panels = omen_alloc(omen_panels_count(n, l), sizeof *panels);
    float *small = omen_alloc(l * width, sizeof *small), *turn = omen_alloc(m * width, sizeof *turn);
    double *ritz = omen_alloc(l * l, sizeof *ritz);
    if (!panels || !small || !turn || !ritz)
        status = status == OMEN_OK ? OMEN_ERR_MEMORY : status;
    if (status == OMEN_OK) {
        omen_panels_pack(s.q, l, n, s.ld, panels);
        multiply(s.w, s.ld, l, panels, l, n, small, width, watch);
        for (size_t i = 0; i < l; i++)
            for (size_t j = 0; j < l; j++)
                ritz[i * l + j] = 0.5 * ((double)small[i * width + j] + (double)small[j * width + i]);
        pack_columns(s.q, l, n, s.ld, panels);
        status = solve_dense(ritz, l, m, turn, width, values, watch);
    }
    if (status == OMEN_OK)
        multiply(turn, width, m, panels, n, l, vectors, ld, watch);
    free(ritz);
    free(turn);
    free(small);
    free(panels);
    free(s.w);
    free(s.q);
    return status;
}

int omen_eigen_top(double *matrix, size_t n, size_t m, float *vectors, size_t ld, double *values, omen_watch *watch)
{
    int status;
    if (is_dense(n, m)) {
        mirror(matrix, n);
        status = solve_dense(matrix, n, m, vectors, ld, values, watch);
    } else {
        status = solve_largest(matrix, n, m, vectors, ld, values, watch);
    }
    return status == OMEN_OK ? omen_eigen_orthonormalise(vectors, m, n, ld, watch) : status;
}
