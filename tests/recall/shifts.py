#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Recall of queries unlike the rows: makes shifted queries from a set, searches them, and prints found - asked.

    shifts.py PROGRAM BASE QUERIES [--metric NAME] [--other FILE] [--recall R] [-k K] [-n QUERIES] [--seeds N]
              [--rows N] [--least SHIFT=GAP ...]

Kinds of queries (d_k is the distance of a row's k-th neighbour):
    real       as given                            noise 1, 2, 4   rows + Gaussian noise of 1, 2, 4 d_k
    mixture    the mean of two rows                dropped         half of a query's dimensions set to 0
    dense      the tenth of the queries whose k-th neighbour is nearest, sparse the tenth where it is farthest
    gaussian   of the rows' mean and covariance    scaled          l2: queries times one half
    rotated    rows of the other file, rotated at random, with the mean and the variance of these rows

A column has the mean gap, the share of queries below half of what was asked, and the codes scanned and rows re-ranked
a query. Truth is exact, by numpy, in float32. With --least, exits 1 where a gap is lower. BASE and QUERIES are fvecs,
bvecs, npy or idx."""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np


def read_vectors(path):
    if path.endswith(".npy"):
        return np.load(path).astype(np.float32)
    if path.endswith(".idx"):
        shape = np.fromfile(path, ">u4", 4, offset=4)
        return np.fromfile(path, np.uint8, offset=16).reshape(shape[0], -1).astype(np.float32)
    d = int(np.fromfile(path, "<i4", 1)[0])
    if path.endswith(".bvecs"):
        return np.fromfile(path, np.uint8).reshape(-1, d + 4)[:, 4:].astype(np.float32)
    return np.fromfile(path, "<f4").reshape(-1, d + 1)[:, 1:].copy()


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)


def nearest(base, queries, k, metric):
    """Ids of the k nearest rows of each query, and the l2 distance of the k-th (of unit vectors under cosine)."""
    if metric == "cosine":
        base, queries = unit(base), unit(queries)
    half = 0 if metric == "ip" else (base * base).sum(1) / 2
    ids = np.empty((len(queries), k), np.int64)
    for i in range(0, len(queries), 100):
        values = half - queries[i:i + 100] @ base.T
        found = np.argpartition(values, k, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(values, found, 1), axis=1, kind="stable")
        ids[i:i + 100] = np.take_along_axis(found, order, 1)
    return ids, np.linalg.norm(base[ids[:, k - 1]] - queries, axis=1)


def shifts(base, queries, other, metric, k, n, rng):
    """Yields (name, queries)."""
    d = base.shape[1]
    yield "real", queries[rng.permutation(len(queries))[:n]]
    x = unit(base) if metric == "cosine" else base
    rows = x[rng.choice(len(x), n, replace=False)]
    d_k = nearest(base, rows, min(k + 1, len(base) - 1), metric)[1][:, None]
    noise = rng.standard_normal((n, d)).astype(np.float32) / np.float32(d ** .5)
    for factor in (1, 2, 4):
        yield f"noise {factor}", rows + factor * d_k * noise
    yield "mixture", (x[rng.choice(len(x), n)] + x[rng.choice(len(x), n)]) / 2
    dropped = queries[rng.permutation(len(queries))[:n]].copy()
    for row in dropped:
        row[rng.permutation(d)[:d // 2]] = 0
    yield "dropped", dropped[np.linalg.norm(dropped, axis=1) > 0]
    many = queries[rng.permutation(len(queries))[:max(5 * n, 100)]]
    order = np.argsort(nearest(base, many, k, metric)[1], kind="stable")
    tenth = max(len(many) // 10, 1)
    yield "dense", many[order[:tenth]]
    yield "sparse", many[order[-tenth:]]
    sample = x[rng.choice(len(x), min(len(x), 20000), replace=False)].astype(np.float64)
    mean, covariance = sample.mean(0), np.cov(sample.T)
    axes, scales = np.linalg.eigh(covariance)[1], np.sqrt(np.maximum(np.linalg.eigh(covariance)[0], 0))
    yield "gaussian", (mean + (rng.standard_normal((n, d)) * scales) @ axes.T).astype(np.float32)
    if metric == "l2":
        yield "scaled", queries[rng.permutation(len(queries))[:n]] * np.float32(.5)
    if other is not None:
        y = other[rng.choice(len(other), n, replace=len(other) < n)].astype(np.float64)
        y = (unit(y) if metric == "cosine" else y) - y.mean(0) * (metric != "cosine")
        rotation = np.linalg.qr(rng.standard_normal((max(d, y.shape[1]),) * 2))[0]
        y = (np.pad(y, ((0, 0), (0, len(rotation) - y.shape[1]))) @ rotation)[:, :d]
        y = (y - y.mean(0)) * (sample.var(0).sum() / y.var(0).sum()) ** .5 + mean
        yield "rotated", y.astype(np.float32)


def search(program, index, queries, k, recall, directory):
    np.save(os.path.join(directory, "q.npy"), queries.astype(np.float32))
    out = os.path.join(directory, "found.npy")
    ran = subprocess.run([program, "query", "--json", "--zero-ok", "-k", str(k), "--recall", str(recall), "-o", out,
                          index, os.path.join(directory, "q.npy")], check=True, stderr=subprocess.PIPE, text=True)
    return np.load(out), json.loads(ran.stderr.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    for name in ("program", "base", "queries"):
        parser.add_argument(name)
    parser.add_argument("--metric", default="l2")
    parser.add_argument("--other")
    parser.add_argument("--recall", type=float, default=.95)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("-n", type=int, default=500)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--least", nargs="*", default=[])
    o = parser.parse_args()
    least = {name: float(gap) for name, gap in (one.split("=") for one in o.least)}
    base, queries = read_vectors(o.base)[:o.rows], read_vectors(o.queries)
    other = read_vectors(o.other) if o.other else None
    failed, gaps = False, {}
    with tempfile.TemporaryDirectory() as directory:
        index = os.path.join(directory, "i.omen")
        rows = os.path.join(directory, "rows.npy")
        if o.rows:
            np.save(rows, base)
        for seed in range(o.seeds):
            subprocess.run([o.program, "build", "-q", "-m", o.metric, "--seed", str(seed), "-o", index + str(seed),
                            rows if o.rows else o.base], check=True)
            kinds = shifts(base, queries, other, o.metric, o.k, o.n, np.random.default_rng(seed))
            for name, q in kinds:
                truth = nearest(base, q, o.k, o.metric)[0]
                found, effort = search(o.program, index + str(seed), q, o.k, o.recall, directory)
                share = np.array([len(np.intersect1d(a, b)) for a, b in zip(truth, found)]) / o.k
                gaps.setdefault(name, []).append((share.mean() - o.recall, (share < o.recall / 2).mean(),
                                                  effort["codes_scanned"], effort["rows_reranked"]))
    print(f"{os.path.basename(o.base)}: {o.metric}, k {o.k}, recall {o.recall} asked, {o.seeds} seeds of {o.n} queries")
    print(f"  {'queries':10} {'gap':>7} {'lowest':>7} {'<half':>6} {'codes':>8} {'rows':>7}")
    for name, cells in gaps.items():
        gap, half, codes, reranked = np.mean(cells, axis=0)
        failed |= name in least and gap < least[name]
        print(f"  {name:10} {gap:+7.3f} {min(c[0] for c in cells):+7.3f} {half:6.1%} {codes:8.0f} {reranked:7.0f}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
