#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How often `query --certify` is wrong, over sets and kinds of queries, against exact search in float64.

certify.py --omendb PATH [options] NAME,METRIC,BASE,QUERIES...

Files are those of table.py. Each set is searched with its queries and with others made of its rows: rows with noise,
means of two rows, and rows with every second dimension zeroed. A draw is a run with another sample. Prints a Markdown
table: of the draws that ended with exit 0 how many found less than was asked for, how many ended with exit 1, what was
found, and the median of the factors (exact: every row was compared). Tests the promise and nothing else: no time is
measured.
"""
import argparse
import json
import subprocess
import tempfile

import numpy as np

from table import RECALLS, Truth, read

K = 10


def kinds(base, queries, n, rng):
    """Name and vectors of each kind of queries."""
    yield "real", queries
    rows = base[rng.integers(0, len(base), n)]
    noise = 0.5 * np.sqrt(base[:5000].var(0).mean()) * rng.standard_normal(rows.shape)
    yield "noise", (rows + noise).astype(np.float32)
    yield "mixture", (rows + base[rng.integers(0, len(base), n)]) / 2
    half = rows.copy()
    half[:, ::2] = 0
    yield "half", half


class Batch:
    """One index and one file of queries."""

    def __init__(self, omendb, folder, truth):
        self.omendb, self.folder, self.truth = omendb, folder, truth
        self.found = {}  # recall by effort

    def query(self, *words):
        return subprocess.run([self.omendb, "query", "-k", str(K), *words, "-o", self.folder + "/r.npy",
                               f"{self.folder}/i.omen", f"{self.folder}/q.npy"], stderr=subprocess.PIPE, text=True)

    def draw(self, recall, seed):
        """Exit code, effort and recall of one run."""
        run = self.query("--certify", "--recall", str(recall), "--seed", str(seed), "--json")
        told = json.loads(run.stderr)
        effort = (recall, "exact" if told["exact"] else told["effort_factor"])
        if effort not in self.found:
            self.found[effort] = self.truth.recalls(np.load(self.folder + "/r.npy"), K).mean()
        return run.returncode, effort[1], self.found[effort]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--omendb", required=True)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--queries", type=int, default=2000, help="made of rows, for each kind (default: 2,000)")
    parser.add_argument("sets", nargs="+", metavar="NAME,METRIC,BASE,QUERIES")
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    print("| set | queries | asked | exit 0 | of these short | exit 1 | found | factor |\n"
          "|---|---|---:|---:|---:|---:|---:|---:|", flush=True)
    for name, metric, base_path, query_path in (one.split(",") for one in options.sets):
        base = read(base_path)
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([options.omendb, "build", "-q", "-m", metric, "-o", folder + "/i.omen", base_path],
                           check=True)
            for kind, queries in kinds(base, read(query_path), options.queries, rng):
                np.save(folder + "/q.npy", queries)
                batch = Batch(options.omendb, folder, Truth(base, queries, metric, K))
                for recall in RECALLS:
                    draws = [batch.draw(recall, seed) for seed in range(options.draws)]
                    passed = [draw for draw in draws if draw[0] == 0]
                    short = sum(found < recall for _, _, found in passed)
                    factors = sorted(np.inf if effort == "exact" else effort for _, effort, _ in draws)
                    median = factors[len(factors) // 2]
                    print(f"| {name} | {kind} | {recall:.2f} | {len(passed)} | {short} | {len(draws) - len(passed)} "
                          f"| {np.mean([found for _, _, found in draws]):.4f} "
                          f"| {'exact' if median == np.inf else median} |", flush=True)


if __name__ == "__main__":
    main()
