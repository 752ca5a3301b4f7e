#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Vectors as raw data has them: offset columns, outliers, ties; and whether their recall is what was asked for.

kinds.py make KIND ROWS DIMENSION SEED BASE.npy QUERIES.npy
    writes rows and queries, and prints the metric that the kind is for
kinds.py check FLOOR ROWS DIMENSION SEED BUILD-OPTION... -- KIND...
    builds and queries each kind (all, if none is named) with the program $OMENDB in the current directory; exits 1 if
    recall@10, of float64 brute force, is below FLOOR

As a module, make() gives the arrays, and recall() compares what was found.
"""

import os
import subprocess
import sys

import numpy as np

N_QUERIES = 2000  # enough for a standard error of a third of the gap between asked and floor
SPARSE_DIM = 512


def clustered(g, n, d):
    centres = g.standard_normal((200, d))
    return centres[g.integers(0, 200, n)] + 0.3 * g.standard_normal((n, d))


def add_column(offset, scale=1):
    def kind(g, n, d):
        x = clustered(g, n, d)
        x[:, 5] = x[:, 5] * scale + offset
        return x

    return kind


def utm(g, n, d):
    x = clustered(g, n, d)
    x[:, 0] = 500_000 + 20_000 * g.standard_normal(n)
    x[:, 1] = 5_400_000 + 20_000 * g.standard_normal(n)
    return x


def utm_small(g, n, d):
    x = clustered(g, n, d)
    x[:, 0] += 500_000
    x[:, 1] += 5_400_000
    return x


def unix_time(g, n, d):
    x = clustered(g, n, d)
    x[:, -1] = 1.7e9 + 1e7 * g.random(n)
    return x


def unix_time_near(g, n, d):
    x = clustered(g, n, d)
    x[:, -1] = 1.7e9 + 256 * g.integers(0, 10, n)
    return x


def cauchy(g, n, d):
    return g.standard_cauchy((n, d))


def lognormal_norms(sigma):
    def kind(g, n, d):
        return clustered(g, n, d) * np.exp(sigma * g.standard_normal((n, 1)))

    return kind


def sparse(g, n, d):
    x = np.zeros((n, d))
    mask = g.random((n, d)) < 0.02
    x[mask] = g.standard_exponential(mask.sum())
    return x


def huge_rows(count, value):
    def kind(g, n, d):
        x = clustered(g, n, d)
        for i in range(count):
            x[(777 + 311 * i) % (n - N_QUERIES)] = value * (1 + i) * (1 if count == 1 else g.choice([-1, 1], d))
        return x

    return kind


def halves_equal(g, n, d):
    x = clustered(g, n, d)
    x[:-N_QUERIES][g.random(n - N_QUERIES) < 0.5] = x[0]
    return x


def halves_zero(g, n, d):
    x = clustered(g, n, d)
    x[:-N_QUERIES][g.random(n - N_QUERIES) < 0.5] = 0
    return x


def far_mean(deviations):
    def kind(g, n, d):
        return clustered(g, n, d) + deviations

    return kind


KINDS = {
    # name: (metric, rows)
    "plain": ("l2", clustered),
    "column+1e3": ("l2", add_column(1e3)),
    "column+1e4": ("l2", add_column(1e4)),
    "utm": ("l2", utm),
    "utm-near": ("l2", utm_small),
    "unix-time": ("l2", unix_time),
    "unix-time-near": ("l2", unix_time_near),
    "column*1e4": ("l2", add_column(0, 1e4)),
    "cauchy": ("l2", cauchy),
    "lognormal1": ("l2", lognormal_norms(1)),
    "lognormal2": ("l2", lognormal_norms(2)),
    "sparse": ("l2", sparse),
    "ip-huge-1e9": ("ip", huge_rows(1, 1e9)),
    "ip-huge-1e7": ("ip", huge_rows(1, 1e7)),
    "ip-huge-several": ("ip", huge_rows(7, 1e6)),
    "l2-huge-several": ("l2", huge_rows(7, 1e6)),
    "ip-lognormal1": ("ip", lognormal_norms(1)),
    "ip-lognormal2": ("ip", lognormal_norms(2)),
    "half-equal": ("l2", halves_equal),
    "half-zero": ("l2", halves_zero),
    "cosine-far-mean": ("cosine", far_mean(100)),
    "ip-plain": ("ip", clustered),
    "cosine-plain": ("cosine", clustered),
}


def make(name, n, d, seed, n_queries=N_QUERIES):
    """Metric, rows (n x d) and queries (n_queries x d) of a kind, float32."""
    metric, rows = KINDS[name]
    x = rows(np.random.default_rng(seed), n + n_queries, d).astype("f4")
    return metric, x[:n], x[n:]


def recall(metric, base, queries, found, k=10):
    """Share of the k found rows (n_queries x k) that are as near as the k-th nearest of base, by float64."""
    base, queries = base.astype("f8"), queries.astype("f8")
    if metric == "cosine":
        base = base / np.maximum(np.linalg.norm(base, axis=1, keepdims=True), 1e-300)
        queries = queries / np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-300)
    products = -(queries @ base.T)
    if metric == "l2":
        # nearly right, which tells the rows to look at
        centre = base.mean(0)
        base, queries = base - centre, queries - centre
        nearly = (base**2).sum(1) - 2 * (queries @ base.T)
        candidates = np.argpartition(nearly, 10 * k, axis=1)[:, : 10 * k]
    n_right = 0
    for i, (q, rows) in enumerate(zip(queries, found[:, :k])):
        if metric == "l2":
            kth = np.partition(((base[candidates[i]] - q) ** 2).sum(1), k - 1)[k - 1]
            distances = ((base[rows] - q) ** 2).sum(1)
        else:
            kth = np.partition(products[i], k - 1)[k - 1]
            distances = products[i, rows]
        n_right += (distances <= kth + abs(kth) * 1e-6).sum()
    return n_right / (k * len(queries))


def write(kind, n, d, seed, base_path, queries_path):
    metric, base, queries = make(kind, n, d, seed)
    np.save(base_path, base)
    np.save(queries_path, queries)
    return metric, base, queries


def check(floor, n, d, seed, options, names):
    program = os.environ["OMENDB"]
    missed = False
    for name in names or KINDS:
        metric, base, queries = write(name, n, SPARSE_DIM if name == "sparse" else d, seed, "base.npy", "queries.npy")
        subprocess.run([program, "build", "-q", "-m", metric, *options, "base.npy"], check=True)
        subprocess.run([program, "query", "-F", "npy", "-o", "found.npy", "base.omen", "queries.npy"], check=True)
        share = recall(metric, base, queries, np.load("found.npy"))
        print(f"{name}: recall@10 {share:.4f}{' is short' if share < floor else ''}")
        missed |= bool(share < floor)
    return missed


def main():
    command, *words = sys.argv[1:]
    if command == "make":
        kind, n, d, seed, base_path, queries_path = words
        print(write(kind, int(n), int(d), int(seed), base_path, queries_path)[0])
    elif command == "check":
        floor, n, d, seed, *rest = words
        at = rest.index("--")
        sys.exit(check(float(floor), int(n), int(d), int(seed), rest[:at], rest[at + 1 :]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
