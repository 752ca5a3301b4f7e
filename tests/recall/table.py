#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Recall asked for and found, over sets, neighbours, recalls and seeds of the build, against exact search in float64.

table.py --omendb PATH [options] NAME,METRIC,BASE,QUERIES...

BASE and QUERIES are .npy, .fvecs, .bvecs or .idx files. A found row counts if it is no farther than the true k-th
neighbour (ties count). Prints a Markdown table: for every set, k and recall asked, found - asked as the mean over the
seeds, its least and most, the standard error of one build's figure (over the queries), and what share of the queries
found less than half. Tests the promise and nothing else: no time is measured.
"""
import argparse
import subprocess
import tempfile

import numpy as np

KS = (1, 10, 100)
RECALLS = (0.90, 0.95, 0.99)


def read(path):
    if path.endswith(".npy"):
        return np.load(path).astype(np.float32)
    if path.endswith(".idx"):
        return np.fromfile(path, np.uint8)[16:].reshape(-1, 784).astype(np.float32)
    d = int(np.fromfile(path, np.int32, 1)[0])
    if path.endswith(".bvecs"):
        return np.fromfile(path, np.uint8).reshape(-1, d + 4)[:, 4:].astype(np.float32)
    return np.fromfile(path, np.float32).reshape(-1, d + 1)[:, 1:].copy()


class Truth:
    """Distances in float64, and the distance of the k-th neighbour of every query."""

    def __init__(self, base, queries, metric, k_most):
        self.metric = metric
        if metric == "cosine":
            base, queries = (x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (base, queries))
        self.base, self.queries = base, queries
        norms = (base.astype(np.float64) ** 2).sum(1)
        self.kth = np.empty((len(queries), k_most))
        for i in range(0, len(queries), 100):
            part = queries[i:i + 100].astype(np.float64)
            near = -(part @ base.T.astype(np.float64)) if metric == "ip" else norms - 2 * (part @ base.T)
            rows = np.argpartition(near, k_most, axis=1)[:, :k_most]
            self.kth[i:i + 100] = np.sort(self.distances(np.arange(i, i + len(part)), rows), axis=1)

    def distances(self, queries, rows):
        q, x = self.queries[queries][:, None].astype(np.float64), self.base[rows].astype(np.float64)
        return -(q * x).sum(2) if self.metric == "ip" else ((q - x) ** 2).sum(2)

    def recalls(self, rows, k):
        """Of each query, given its found rows (n x k)."""
        out = np.empty(len(rows))
        for i in range(0, len(rows), 100):
            at = np.arange(i, min(i + 100, len(rows)))
            limit = self.kth[at, k - 1][:, None]
            out[at] = (self.distances(at, rows[at]) <= limit + 1e-6 * np.abs(limit)).mean(1)
        return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--omendb", required=True)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--build", default="", help="more options of build")
    parser.add_argument("--query", default="", help="more options of query")
    parser.add_argument("sets", nargs="+", metavar="NAME,METRIC,BASE,QUERIES")
    options = parser.parse_args()
    print("| set | k | asked | found - asked | least | most | standard error | under 0.5 |\n"
          "|---|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for name, metric, base_path, query_path in (one.split(",") for one in options.sets):
        base, queries = read(base_path), read(query_path)
        truth = Truth(base, queries, metric, max(KS))
        found = {}
        with tempfile.TemporaryDirectory() as folder:
            np.save(folder + "/q.npy", queries)
            for seed in range(options.seeds):
                subprocess.run([options.omendb, "build", "-q", "-m", metric, "--seed", str(seed), "-o",
                                folder + "/i.omen", *options.build.split(), base_path], check=True)
                for k in KS:
                    for recall in RECALLS:
                        subprocess.run([options.omendb, "query", "-q", "-k", str(k), "--recall", str(recall), "-o",
                                        folder + "/r.npy", *options.query.split(), folder + "/i.omen",
                                        folder + "/q.npy"], check=True)
                        found.setdefault((k, recall), []).append(truth.recalls(np.load(folder + "/r.npy"), k))
        for (k, recall), each in found.items():
            means = np.array([one.mean() for one in each]) - recall
            error = np.mean([one.std() for one in each]) / len(queries) ** 0.5
            low = np.mean([(one < 0.5).mean() for one in each])
            print(f"| {name} | {k} | {recall:.2f} | {means.mean():+.4f} | {means.min():+.4f} | {means.max():+.4f} "
                  f"| {error:.4f} | {low:.4f} |", flush=True)


if __name__ == "__main__":
    main()
