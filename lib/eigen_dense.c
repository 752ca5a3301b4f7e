/* SPDX-License-Identifier: Apache-2.0 */
/* All eigenvectors of a symmetric matrix: Householder's reduction to a tridiagonal matrix, in float64; Cuppen's divide
 * and conquer with the deflation of Dongarra and Sorensen and the weights of Gu and Eisenstat, so that eigenvectors of
 * the parts are orthogonal however near their values are; reflections undone in blocks (compact WY). */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lib/eigen_parts.h"

#define REFLECTORS 32u /* of a block */
#define LEAF       24u /* order of the tridiagonal matrices that are not divided */

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
        const size_t end = omen_least(j0 + REFLECTORS, n - 1);
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
#pragma omp parallel for schedule(static) if (below * below > EIGEN_SERIAL_MOST / 4)
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
#pragma omp parallel for schedule(static) if ((n - end) * (n - end) * n_pairs > EIGEN_SERIAL_MOST)
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
    const size_t most = REFLECTORS, width = omen_round_up(n, OMEN_PANEL), ldv = omen_eigen_stride(n);
    float *v = omen_alloc(most * ldv, sizeof *v), *v_panels = omen_alloc(most * n, sizeof *v_panels);
    float *columns = omen_alloc(most * width, sizeof *columns), *back = omen_alloc(m * width, sizeof *back);
    float *parts = omen_alloc(2 * m * most, sizeof *parts), *turned = parts + m * most;
    double(*t)[REFLECTORS] = omen_alloc(2 * REFLECTORS, sizeof *t);
    float *t_rows = (float *)(t + REFLECTORS), *t_panels = t_rows + REFLECTORS * REFLECTORS;
    int status = v && v_panels && columns && back && parts && t ? OMEN_OK : OMEN_ERR_MEMORY;
    const size_t n_blocks = n > 1 ? (n - 2) / most + 1 : 0;
    for (size_t block = n_blocks; block-- > 0 && status == OMEN_OK;) {
        const size_t j0 = block * most, count = omen_least(most, n - 1 - j0), first = j0 + 1, tall = n - first;
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
        omen_eigen_pack(v, most, tall, ldv, columns);
        /* a row z' becomes z' - ((z' V') T') V */
        omen_eigen_multiply(vectors + first, ld, m, v_panels, most, tall, parts, most, watch);
        omen_eigen_multiply(parts, most, m, t_panels, most, most, turned, most, watch);
        omen_eigen_multiply(turned, most, m, columns, tall, most, back, width, watch);
#pragma omp parallel for schedule(static) if (m * tall > EIGEN_SERIAL_MOST / 16)
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
#pragma omp parallel for schedule(dynamic, 8) if (n * n > EIGEN_SERIAL_MOST / 64)
    for (size_t i = 0; i < n; i++)
        if (!omen_watch_stopped(c->watch))
            find_root(c, n, i, rho, span);
    if (omen_watch_stopped(c->watch))
        return;
        /* the weights for which the roots found are exact (Gu and Eisenstat 1994) */
#pragma omp parallel for schedule(static) if (n * n > EIGEN_SERIAL_MOST / 64)
    for (size_t j = 0; j < n; j++) {
        double product = root_gap(c, j, j);
        for (size_t i = 0; i < n; i++)
            if (i != j)
                product *= root_gap(c, j, i) / (c->poles[j] - c->poles[i]);
        c->z[j] = sqrt(fabs(product)) * c->signs[j];
    }
#pragma omp parallel for schedule(static) if (n * n > EIGEN_SERIAL_MOST / 64)
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
#pragma omp parallel for schedule(static) if (n_kept * n > EIGEN_SERIAL_MOST / 16)
    for (size_t j = 0; j < n; j += OMEN_PANEL) {
        const size_t width = omen_least(OMEN_PANEL, n - j);
        float *panel = c->panels + j * n_kept;
        memset(panel, 0, n_kept * OMEN_PANEL * sizeof *panel);
        for (size_t k = 0; k < n_kept; k++)
            memcpy(panel + k * OMEN_PANEL, c->vectors + c->kept[k] * ld + lo + j, width * sizeof *panel);
    }
    if (n_kept > first)
        omen_eigen_multiply(c->shares + first * ld, ld, n_kept - first, c->panels, n, n_kept, c->next + first * ld, ld,
                            c->watch);
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

uint64_t omen_eigen_dense_bytes(uint64_t n)
{
    return 4 * n * omen_eigen_stride(n) * sizeof(float) + 2 * n * (REFLECTORS + 8) * sizeof(double) +
           4 * n * sizeof(size_t);
}

int omen_eigen_dense(double *a, size_t n, size_t m, float *vectors, size_t ld, double *values, omen_watch *watch)
{
    conquest c = {.n = n, .ld = omen_eigen_stride(n), .watch = watch};
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
