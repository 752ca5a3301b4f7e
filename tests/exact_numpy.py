#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Exact search equals brute force in float64, for every metric, on 5,000 rows and 200 queries of fashion-mnist.

The index is built with --refine f32, whose rows are the input's own. Rows may differ only where distances tie.
Distances may be off by 1e-5 of themselves, under cosine by 2e-7 more: 1 - similarity in float32 has no more digits.
Prints "ok - name" or "not ok - name: why". The program is $OMENDB (default build/cmd/omendb).
"""
import gzip
import os
import subprocess
import sys
import tempfile

import numpy as np

IMAGES = "/usr/share/datasets/fashion-mnist"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OMENDB = os.environ.get("OMENDB", os.path.join(ROOT, "build", "cmd", "omendb"))
K = 10
TOLERANCE = 1e-5
COSINE_ROUNDING = 2e-7


def read_images(name, n):
    with gzip.open(os.path.join(IMAGES, name)) as file:
        return np.frombuffer(file.read(16 + n * 784), np.uint8, offset=16).reshape(n, 784)


def brute_force(metric, base, queries):
    """All distances, n_queries x n."""
    if metric == "l2":
        return np.stack([((base - query) ** 2).sum(1) for query in queries])
    products = queries @ base.T
    if metric == "ip":
        return -products
    return 1 - products / np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(base, axis=1))


def check(metric, base, queries, directory):
    base_path, query_path, index, found = (
        os.path.join(directory, name) for name in ("base.npy", "queries.npy", "base.omen", "found.npy"))
    np.save(base_path, base)
    np.save(query_path, queries)
    subprocess.run([OMENDB, "build", "-q", "-m", metric, "-r", "f32", "-o", index, base_path], check=True)
    subprocess.run([OMENDB, "query", "--exact", "--distances", "-k", str(K), "-F", "npy", "-o", found, index,
                    query_path], check=True)
    result = np.load(found)
    ids, distances = result["id"], result["distance"].astype(np.float64)

    if ids.shape != (len(queries), K) or ids.min() < 0 or ids.max() >= len(base):
        return f"ids of shape {ids.shape}, from {ids.min()} to {ids.max()}"
    want = brute_force(metric, base.astype(np.float64), queries.astype(np.float64))
    best = np.sort(want, axis=1)[:, :K]
    true = np.take_along_axis(want, ids, axis=1)
    slack = TOLERANCE * np.abs(true) + (COSINE_ROUNDING if metric == "cosine" else 0)
    if any(len(set(row)) != K for row in ids):
        return "a row is named twice"
    if np.any(np.abs(true - best) > slack):
        return f"rows that are not the nearest, by {np.abs(true - best).max()}"
    if np.any(np.abs(distances - true) > slack):
        return f"distances off by {np.abs(distances - true).max()}"
    if np.any(np.diff(distances, axis=1) < 0):
        return "distances that fall"
    return None


def main():
    # tenths and an offset of their own for every column: neither whole numbers nor all positive
    offset = np.linspace(-5, 5, 784, dtype=np.float32)
    base = read_images("train-images-idx3-ubyte.gz", 5000).astype(np.float32) / np.float32(10) - offset
    queries = read_images("t10k-images-idx3-ubyte.gz", 200).astype(np.float32) / np.float32(10) - offset
    failed = False
    for metric in ("l2", "ip", "cosine"):
        with tempfile.TemporaryDirectory() as directory:
            fault = check(metric, base, queries, directory)
        name = f"exact search equals float64 brute force, {metric}"
        print(f"not ok - {name}: {fault}" if fault else f"ok - {name}", flush=True)
        failed = failed or fault is not None
    sys.exit(failed)


if __name__ == "__main__":
    main()
