#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench_recall.py METRIC K BASE.fvecs QUERIES.fvecs FOUND.ivecs RESULT.json: recall of what a query found, by numpy.

Compares both recalls with the first point of that k in a result of omendb bench --json: exact neighbours in float64,
ties by lower row; by distance as ann-benchmarks counts, an id twice in one answer once."""
import json
import sys

import numpy as np


def read(path, dtype):
    rows = np.fromfile(path, "<i4")
    return rows.reshape(-1, rows[0] + 1)[:, 1:].copy().view(dtype)


def distances(metric, base, queries):
    """On the scale that 1e-3 is meant on: Euclidean for l2."""
    if metric == "l2":
        return np.stack([np.sqrt(((base - query) ** 2).sum(1)) for query in queries])
    if metric == "ip":
        return -queries @ base.T
    return 1 - (queries / np.linalg.norm(queries, axis=1)[:, None]) @ (base / np.linalg.norm(base, axis=1)[:, None]).T


def main():
    metric, k, base, queries, found, result = sys.argv[1:]
    k = int(k)
    base, queries = (read(path, "<f4").astype(np.float64) for path in (base, queries))
    found = read(found, "<i4")[:, :k]
    all_distances = distances(metric, base, queries)
    order = np.lexsort((np.broadcast_to(np.arange(len(base)), all_distances.shape), all_distances), axis=1)[:, :k]
    by_id = by_distance = 0
    for row, ids, true_ids in zip(all_distances, found, order):
        ids = set(ids.tolist())
        by_id += len(ids & set(true_ids.tolist()))
        by_distance += sum(row[i] <= row[true_ids[-1]] + 1e-3 for i in ids)
    with open(result, encoding="utf-8") as file:
        point = [p for p in json.load(file)["points"] if p["k"] == k][0]
    for name, value in (("recall_by_id", by_id / found.size), ("recall_by_distance", by_distance / found.size)):
        print(name, point[name], round(value, 6))
        if abs(point[name] - value) > 5e-7:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
