#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Several indexes searched as one: what that costs beside one index of all rows, and beside faiss IndexShards.

compare_joint.py --dir DIR --base B --queries Q --metric M --omendb PATH build [NAME...]  # into DIR
compare_joint.py --dir DIR tune [NAME...]  # faiss: the least effort that will do
compare_joint.py --dir DIR time [NAME...]
compare_joint.py --dir DIR table           # of all that was timed

NAME is such as "omendb 4", "omendb 4 shared" or "faiss 16"; without any, it is all of them.

Rows are shuffled and cut into equal parts. An index of a part has a model of its own, or ("shared") that of `omendb
train`, or a faiss index trained on all rows, to which the part is added. omendb takes the recall asked for as it was
calibrated. faiss is IVF with 2 sqrt(n) lists (shared: those of all rows), PQ of 4 bits a pair of dimensions, re-ranked
with float32 rows: tuned on the very queries, the fastest pair of nprobe and k_factor that finds the recall, the same
for all shards. Recall is by distance. A figure is the median of --runs searches of the queries repeated --tile times.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import compare

FACTORS = [1, 2, 5, 10, 20, 40]
SHARED = " shared"


def names(parts, engines=("omendb", "faiss")):
    out = []
    for engine in engines:
        for n in parts:
            out += [f"{engine} {n}"] + ([f"{engine} {n}{SHARED}"] if n > 1 else [])
    return out


def split(name):
    engine, n = name.replace(SHARED, "").split()
    return engine, int(n), name.endswith(SHARED)


class Case:
    """What the steps share, kept in DIR/case.json and DIR/results.json."""

    def __init__(self, options):
        self.dir = Path(options.dir)
        file = self.dir / "case.json"
        if options.step == "build":
            self.dir.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({key: getattr(options, key) for key in
                                        ("base", "queries", "metric", "omendb", "parts", "k", "recall", "threads")}))
        self.__dict__.update(json.loads(file.read_text()))
        self.parts = [int(n) for n in str(self.parts).split(",")]
        self.runs, self.tile = options.runs, options.tile
        self.file = self.dir / "results.json"
        self.results = json.loads(self.file.read_text()) if self.file.exists() else {}

    def keep(self, name, **facts):
        self.results.setdefault(name, {}).update(facts)
        self.file.write_text(json.dumps(self.results, indent=1))

    def rows(self):
        base = compare.read_vectors(self.base)
        return base[np.random.default_rng(1).permutation(len(base))]

    def float_rows(self):
        return compare.as_float(self.rows(), self.metric == "cosine")

    def read_queries(self):
        return compare.as_float(compare.read_vectors(self.queries), self.metric == "cosine")

    def where(self, name, i):
        engine, n, shared = split(name)
        suffix = "omen" if engine == "omendb" else "faiss"
        return self.dir / f"{engine}-{n}{'-shared' if shared else ''}-{i:02d}.{suffix}"

    def load_truth(self):
        return np.load(self.dir / "truth.npy")

    def recall_of(self, ids):
        base, queries = self.float_rows(), self.read_queries()
        truth = compare.exact(base, queries, self.load_truth())[:, -1:]
        return float((compare.exact(base, queries, ids) <= truth + compare.EPSILON).mean())


# ---- omendb ----

def build_omendb(case, name, rows):
    def run(*words):
        subprocess.run([case.omendb, *map(str, words)], check=True)

    _, n, shared = split(name)
    model = case.dir / "model"
    if not model.exists():
        run("train", "-q", "-m", case.metric, "-o", model, compare.write_vectors(case.dir / "rows", rows))
    for i in range(n):
        part = compare.write_vectors(case.dir / "part", rows[i * len(rows) // n:(i + 1) * len(rows) // n])
        run("build", "-q", *(["--model", model] if shared else ["-m", case.metric]), "-o", case.where(name, i), part)
        part.unlink()
    np.save(case.dir / "tiled.npy", np.tile(np.asarray(compare.read_vectors(case.queries)), (case.tile, 1)))


def search_omendb(case, name):
    n = split(name)[1]
    out = case.dir / "found.npy"
    command = [case.omendb, "query", "-k", str(case.k), "--recall", str(case.recall), "-t", str(case.threads), "--json",
               "-o", out, *(case.where(name, i) for i in range(n)), case.dir / "tiled.npy"]
    told = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True).stderr
    told = json.loads(told[told.index("{"):])
    return np.load(out), told["seconds"]["search"], told


def time_omendb(case, name):
    times = []
    for _ in range(case.runs):
        found, seconds, told = search_omendb(case, name)
        times.append(seconds)
    n = len(found) // case.tile
    case.keep(name, seconds=statistics.median(times) / len(found), recall=case.recall_of(found[:n]),
              effort=f"{told['codes_scanned']:,.0f} codes, {told['rows_reranked']:.0f} rows", simd=told["simd"])


# ---- faiss ----

def build_faiss(case, name, rows):
    import faiss
    faiss.omp_set_num_threads(os.cpu_count())
    kind = faiss.METRIC_L2 if case.metric == "l2" else faiss.METRIC_INNER_PRODUCT
    _, n, shared = split(name)
    d, trained = rows.shape[1], case.dir / "trained.faiss"

    def make(part):
        index = faiss.index_factory(d, f"IVF{int(2 * len(part) ** 0.5)},PQ{d // 2}x4fs,RFlat", kind)
        index.train(part)
        return index

    if not trained.exists():
        faiss.write_index(make(rows), str(trained))
    for i in range(n):
        part = rows[i * len(rows) // n:(i + 1) * len(rows) // n]
        index = faiss.read_index(str(trained)) if n == 1 or shared else make(part)
        index.add(part)
        faiss.write_index(index, str(case.where(name, i)))


class Shards:
    def __init__(self, case, name):
        import faiss
        faiss.omp_set_num_threads(case.threads)
        n = split(name)[1]
        self.parts = [faiss.read_index(str(case.where(name, i))) for i in range(n)]
        self.index = self.parts[0]
        if n > 1:  # a thread a shard, where there are as many threads
            self.index = faiss.IndexShards(self.parts[0].d, case.threads > 1, True)
            for part in self.parts:
                self.index.add_shard(part)
        self.ivfs = [faiss.extract_index_ivf(part) for part in self.parts]

    def set(self, nprobe, factor):
        for part, ivf in zip(self.parts, self.ivfs):
            part.k_factor = factor
            ivf.nprobe = nprobe

    def search(self, queries, k):
        start = time.monotonic()
        found = self.index.search(queries, k)[1]
        return found, time.monotonic() - start


def tune_faiss(case, name):
    """The fastest pair that finds the recall: for each factor the least nprobe, by bisection."""
    shards, queries = Shards(case, name), case.read_queries()
    base, truth_ids = case.float_rows(), case.load_truth()
    truth = compare.exact(base, queries, truth_ids)[:, -1:] + compare.EPSILON
    best = None
    for factor in FACTORS:
        low, high = 0, shards.ivfs[0].nlist
        while high - low > 1:
            middle = min((low + high) // 2, max(2 * low, 8))
            shards.set(middle, factor)
            found, seconds = shards.search(queries, case.k)
            enough = (compare.exact(base, queries, found) <= truth).mean() >= case.recall
            low, high = (low, middle) if enough else (middle, high)
            if low > 512:
                break
        shards.set(high, factor)
        if low > 512:
            continue
        seconds = min(shards.search(queries, case.k)[1] for _ in range(3))
        compare.say(name, "nprobe", high, "k_factor", factor, f"{1e6 * seconds / len(queries):.1f} us")
        if best is None or seconds < best[0]:
            best = (seconds, high, factor)
    case.keep(name, nprobe=best[1], k_factor=best[2])


def time_faiss(case, name):
    shards, queries = Shards(case, name), case.read_queries()
    tuned = case.results[name]
    shards.set(tuned["nprobe"], tuned["k_factor"])
    tiled = np.tile(queries, (case.tile, 1))
    found, _ = shards.search(queries, case.k)
    seconds = statistics.median(shards.search(tiled, case.k)[1] for _ in range(case.runs))
    case.keep(name, seconds=seconds / len(tiled), recall=case.recall_of(found),
              effort=f"nprobe {tuned['nprobe']}, k_factor {tuned['k_factor']}")


def table(case):
    print("| engine | indexes | model | recall | effort a query | queries/s | cost |")
    print("|---|---:|---|---:|---|---:|---:|")
    for name in names(case.parts):
        got = case.results.get(name, {})
        if "seconds" in got:
            engine, n, shared = split(name)
            one = case.results.get(f"{engine} 1", {}).get("seconds", float("nan"))
            print(f"| {engine} | {n} | {'one' if shared or n == 1 else 'each its own'} | {got['recall']:.4f} | "
                  f"{got['effort']} | {1 / got['seconds']:,.0f} | {got['seconds'] / one:.2f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["build", "tune", "time", "table"])
    parser.add_argument("names", nargs="*", help='such as "omendb 4 shared"')
    parser.add_argument("--dir", required=True)
    parser.add_argument("--base")
    parser.add_argument("--queries")
    parser.add_argument("--metric", default="l2", choices=["l2", "cosine"])
    parser.add_argument("--omendb", default="omendb")
    parser.add_argument("--parts", default="1,4,16")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tile", type=int, default=4)
    options = parser.parse_args()
    case = Case(options)
    if options.step == "build":
        rows, truth = case.float_rows(), case.dir / "truth.npy"
        if not truth.exists():
            import faiss
            np.save(truth, faiss.knn(case.read_queries(), rows, case.k)[1])
        for name in options.names or names(case.parts):
            if name.startswith("omendb"):
                build_omendb(case, name, np.ascontiguousarray(case.rows()))
            else:
                build_faiss(case, name, rows)
    elif options.step == "tune":
        for name in options.names or names(case.parts, ["faiss"]):
            tune_faiss(case, name)
    elif options.step == "time":
        for name in options.names or names(case.parts):
            (time_omendb if name.startswith("omendb") else time_faiss)(case, name)
    else:
        table(case)
    return 0


if __name__ == "__main__":
    sys.exit(main())
