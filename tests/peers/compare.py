#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures omendb beside other vector indexes: same data, same threads, one run, one machine.

    pip install numpy faiss-cpu hnswlib rabitqlib usearch scann scalable-vs  # any of them; numpy is needed
    pip install glassppy || pip install pyglass-portable                     # the same library; the second is AVX2 only
    tests/peers/compare.py --base base.fvecs --queries query.fvecs [--truth gt.ivecs] --metric l2 \\
        --omendb build/cmd/omendb --out results.json --table results.md
    tests/peers/compare.py --render results.json [--plot out.svg]            # print the tables again; draw
    tests/peers/compare.py --render out.svg                                  # draw it again, from the data in it

Inputs are fvecs, bvecs, idx (of bytes) or npy files. --rows N takes the first N rows. Truth is computed exactly where
none is given or where --rows shortens the base; a given truth is checked on some queries. --quick only tries whether
everything works: its figures mean nothing. A peer that is not installed gets a row that says so.

What the figures mean

    build       omendb: wall clock of the whole process, from the input file to the finished index file. Peers: from
                vectors that are float32 in memory (normalised beforehand for cosine) to an index that answers;
                reading and saving are not counted. Builds shorter than 20 s run three times, the median counts.
    B/vec       size of the saved index over rows, with everything that searching needs (raw vectors included
                where the peer re-ranks with them). glass saves its graph only: the codes it searches are added.
    hot B/vec   omendb only: code and factors, what a scan reads (--json of its build).
    peak MB     largest resident size of the process that built the index. For peers that includes the interpreter and
                the input vectors, which they are given in memory; for omendb all of what the process holds.
    recall      share of the true 10 nearest found. "id": by row number. "dist": returned rows whose exact distance
                is within 1e-3 of the true 10th (Euclidean for l2, 1 - cosine for cosine), as ann-benchmarks counts;
                an id returned twice counts once. Distances are computed here from the base, not taken from peers.
    batch q/s   all queries in one call of the peer's own batch function; the query file is repeated (--tile) to make
                a batch worth timing; of a peer that answers the file once at a higher rate, that one counts. omendb:
                the search seconds of its statistics, for a batch repeated the same way (its process wall clock and
                the unrepeated batch are in the JSON).
    single q/s  one query a call, one thread; p50 and p99 of a call in microseconds. Peers are called from Python,
                which costs from 1 to some 10 us a call. omendb: from `omendb bench` at the same setting.

Each peer runs in a process of its own. The search parameters are swept coarsely, then the smallest effort that reaches
each recall is found by bisection and the fastest candidates are timed: a warm-up, then at least 3 runs and 3 s, the
median counts. So peers are tuned on the very queries; omendb takes what its build calibrated, by query --recall.
Every point that was tried is in the JSON; those with "runs" of 1 are rough. Bold is the best of a column. (c) marks an
engine before which the machine was less than 98% idle: its figures understate it.

The last table sets `omendb bench` beside what is measured here of omendb: recall must be equal to the last answer;
rates are of the repeated query file in a process a run here, and of the file once, many runs in one process, there.

--plot draws queries/s against recall of all engines, batch and one query a call, with gnuplot: a line through the
points that no other point of the engine beats. Small points were run once, in the sweep. An SVG holds these points.
"""
import argparse
import json
import math
import os
import platform
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np

import pictures

EPSILON = 1e-3
ENGINES = ["omendb", "faiss", "hnswlib", "rabitqlib", "usearch", "glass", "scann", "scalable-vs"]
SUFFIXES = {".fvecs": np.dtype("<f4"), ".bvecs": np.dtype("u1"), ".ivecs": np.dtype("<i4")}

# Runs a command and writes its wall clock, CPU seconds and peak memory. A small process of its own, because on Linux a
# new program inherits the peak memory of the process that started it.
LAUNCH = """
import json, os, sys, time
start = time.monotonic()
pid = os.fork()
if pid == 0:
    try:
        os.execv(sys.argv[2], sys.argv[2:])
    finally:
        os._exit(127)
_, status, use = os.wait4(pid, 0)
wall = time.monotonic() - start
with open(sys.argv[1], 'w') as out:
    json.dump({'wall': wall, 'cpu': use.ru_utime + use.ru_stime,
               'peak': use.ru_maxrss * (1 if sys.platform == 'darwin' else 1024)}, out)
sys.exit(os.waitstatus_to_exitcode(status) & 255)
"""


def say(*words):
    print(*words, file=sys.stderr, flush=True)


# ---- files of vectors ----

def read_vectors(path, rows=None):
    """The vectors of a file, memory-mapped where possible, in the file's own type."""
    path = Path(path)
    if path.suffix in SUFFIXES:
        dtype = SUFFIXES[path.suffix]
        d = int(np.fromfile(path, "<i4", 1)[0])
        record = 4 + d * dtype.itemsize
        n, rest = divmod(path.stat().st_size, record)
        if d <= 0 or rest:
            raise SystemExit(f"{path}: not a {path.suffix[1:]} file")
        raw = np.memmap(path, "u1", "r", shape=(n, record))
        vectors = raw[:, 4:].view(dtype)
    elif path.suffix == ".npy":
        vectors = np.load(path, mmap_mode="r")
    elif "idx" in path.name:
        head = np.fromfile(path, "u1", 4)
        if head[0] or head[1] or head[2] != 8 or head[3] < 2:
            raise SystemExit(f"{path}: not an IDX file of bytes")
        shape = [int(s) for s in np.fromfile(path, ">i4", int(head[3]), offset=4)]
        vectors = np.memmap(path, "u1", "r", offset=4 + 4 * int(head[3]), shape=(shape[0], math.prod(shape[1:])))
    else:
        raise SystemExit(f"{path}: unknown format (fvecs, bvecs, ivecs, npy and idx are known)")
    if vectors.ndim != 2:
        raise SystemExit(f"{path}: not a matrix")
    return vectors if rows is None else vectors[:rows]


def write_vectors(path, vectors):
    """Writes fvecs for floats, bvecs for bytes, npy otherwise; returns the path."""
    suffix = {"f4": ".fvecs", "u1": ".bvecs"}.get(vectors.dtype.str[1:], ".npy")
    path = Path(str(path) + suffix)
    if suffix == ".npy":
        np.save(path, vectors)
        return path
    n, d = vectors.shape
    head = np.frombuffer(np.array([d], "<i4").tobytes(), "u1")
    with open(path, "wb") as out:
        for at in range(0, n, 65536):
            part = np.ascontiguousarray(vectors[at:at + 65536])
            heads = np.broadcast_to(head, (len(part), 4))
            out.write(np.hstack([heads, part.view("u1").reshape(len(part), -1)]).tobytes())
    return path


def write_truth(path, truth):
    """Writes rows of numbers as ivecs."""
    np.hstack([np.full((len(truth), 1), truth.shape[1]), truth]).astype("<i4").tofile(path)


def as_float(vectors, normalise):
    out = np.array(vectors, dtype=np.float32, order="C")
    if normalise:
        for at in range(0, len(out), 65536):
            part = out[at:at + 65536]
            norm = np.linalg.norm(part.astype(np.float64), axis=1, keepdims=True)
            part /= np.where(norm == 0, 1, norm)
    return out


# ---- truth and recall ----

def exact(base, queries, ids):
    """Exact distances of the rows in ids (-1: none): Euclidean, which for normalised vectors orders as cosine does."""
    out = np.empty(ids.shape, np.float64)
    step = max(1, 2 ** 24 // (ids.shape[1] * base.shape[1] * 8))
    for at in range(0, len(ids), step):
        part = np.asarray(ids[at:at + step], np.int64)
        inside = (part >= 0) & (part < len(base))
        rows = base[np.where(inside, part, 0)].astype(np.float64)
        square = ((rows - queries[at:at + step, None, :].astype(np.float64)) ** 2).sum(-1)
        out[at:at + step] = np.where(inside, square, np.inf)
    return out


def nearest(base, queries, k, passes=None):
    """Exact nearest rows: candidates by float32 products, ordered by float64 distances, ties by lower row.

    passes(q, q_end, at, end): which rows from at to end each query from q to q_end may find; -1 stands for no row."""
    keep = min(len(base), k + 32)
    found = []
    norms = np.concatenate([(base[at:at + 65536].astype(np.float64) ** 2).sum(1) for at in range(0, len(base), 65536)])
    for q in range(0, len(queries), 512):
        part = queries[q:q + 512]
        ids = np.empty((len(part), 0), np.int64)
        values = np.empty((len(part), 0), np.float32)
        for at in range(0, len(base), 32768):
            rows = base[at:at + 32768]
            score = norms[at:at + 32768].astype(np.float32) - 2 * (part @ rows.T)
            if passes:
                score[~passes(q, q + len(part), at, at + len(rows))] = np.inf
            if len(rows) > keep:
                top = np.argpartition(score, keep - 1, axis=1)[:, :keep]
            else:
                top = np.broadcast_to(np.arange(len(rows)), score.shape)
            ids = np.hstack([ids, top + at])
            values = np.hstack([values, np.take_along_axis(score, top, 1)])
            if ids.shape[1] > keep:
                top = np.argpartition(values, keep - 1, axis=1)[:, :keep]
                ids, values = np.take_along_axis(ids, top, 1), np.take_along_axis(values, top, 1)
        ids = np.where(np.isinf(values), -1, ids)
        distance = exact(base, part, ids)
        order = np.lexsort((ids, distance), axis=1)[:, :k]
        found.append(np.take_along_axis(ids, order, 1))
    return np.vstack(found)


def ids_matrix(found, n, k):
    """A peer's answer as n x k row numbers, -1 where it has none."""
    out = np.full((n, k), -1, np.int64)
    found = np.asarray(found)
    if found.dtype == np.uint32:
        found = found.astype(np.int64)
        found[found == 0xFFFFFFFF] = -1
    elif found.dtype == np.uint64:
        found = found.astype(np.int64)
    found = found.reshape(n, -1)[:, :k]
    out[:, :found.shape[1]] = found
    return out


def recall_by_id(ids, truth):
    return float((ids[:, None, :] == truth[:, :, None]).any(-1).mean())


def recall_by_distance(ids, case):
    distance = exact(case.base, case.queries, ids)
    ordered = np.argsort(ids, axis=1, kind="stable")
    same = np.zeros(ids.shape, bool)
    sorted_ids = np.take_along_axis(ids, ordered, 1)
    same[:, 1:] = sorted_ids[:, 1:] == sorted_ids[:, :-1]
    distance = np.where(same, np.inf, np.take_along_axis(distance, ordered, 1))
    # cosine: half the squared distance of normalised vectors is 1 - cosine
    value, limit = ((np.sqrt(distance), np.sqrt(case.limit)) if case.metric == "l2" else (distance / 2, case.limit / 2))
    return float((value <= limit[:, None] + EPSILON).mean())


# ---- the machine ----

def cpu_model():
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.lower().startswith(("model name", "cpu model")):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cpu_flags():
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return []
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.M)
    have = set(found.group(1).split()) if found else set()
    return [f for f in ("avx2", "fma", "avx512f", "avx512vbmi", "avx512_vnni", "asimd", "asimddp", "sve") if f in have]


def idle_share(seconds):
    """Share of the time that the processors were idle, steal counted as busy; None where that is not known."""
    def sample():
        fields = [int(f) for f in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return fields[3] + fields[4], sum(fields)
    try:
        before = sample()
        time.sleep(seconds)
        after = sample()
    except (OSError, ValueError):
        return None
    return (after[0] - before[0]) / max(1, after[1] - before[1])


def peak_memory():
    """Peak resident bytes of this process; VmHWM because ru_maxrss starts at the parent's size on Linux."""
    try:
        return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text()).group(1)) * 1024
    except (OSError, AttributeError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def tree_size(path):
    path = Path(path)
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) if path.is_dir() else path.stat().st_size


def version_of(*packages):
    for package in packages:
        try:
            return f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            pass
    return None


# ---- engines ----
# An engine builds an index, answers in batch and one by one, and has variants (any value) and efforts (rising).

def steps(low, high, ratio=1.05):
    """Rising integers, each about ratio times the one before."""
    values = [max(1, int(low))]
    while values[-1] < high:
        values.append(min(int(high), max(values[-1] + 1, round(values[-1] * ratio))))
    return values


class Engine:
    effort_name = "ef"
    variants = [None]
    in_process = True
    stop_when_flat = True

    def __init__(self, case, config):
        self.case, self.config, self.index = case, config, None
        self.efforts = steps(case.k, 4000)

    def prepare(self):
        """What is done before the build's clock starts."""

    def describe(self, variant, effort):
        shown = f"{effort:g}" if isinstance(effort, float) else effort
        return f"{self.effort_name}={shown}" + (f", {variant}" if variant is not None else "")

    def extra_bytes(self):
        return 0


class Faiss(Engine):
    effort_name = "nprobe"
    variants = [2, 5, 10, 20, 40]

    def __init__(self, case, config):
        super().__init__(case, config)
        import faiss
        self.faiss = faiss
        self.version = f"{version_of('faiss-cpu', 'faiss')}, {faiss.get_compile_options().strip()}"
        self.efforts = steps(1, int(re.search(r"IVF(\d+)", config["factory"]).group(1)))
        faiss.omp_set_num_threads(case.threads)

    def describe(self, variant, effort):
        return f"nprobe={effort}, k_factor={variant}"

    def build(self):
        kind = self.faiss.METRIC_L2 if self.case.metric == "l2" else self.faiss.METRIC_INNER_PRODUCT
        self.index = self.faiss.index_factory(self.case.d, self.config["factory"], kind)
        self.index.train(self.case.base)
        self.index.add(self.case.base)
        self.ivf = self.faiss.extract_index_ivf(self.index)

    def set(self, variant, effort):
        self.ivf.nprobe = effort
        self.index.k_factor = variant

    def batch(self, queries, threads):
        self.faiss.omp_set_num_threads(threads)
        return self.index.search(queries, self.case.k)[1]

    def single(self, query):
        return self.index.search(query, self.case.k, D=self.one_d, I=self.one_i)[1]

    def before_single(self):
        self.faiss.omp_set_num_threads(1)
        self.one_d = np.empty((1, self.case.k), np.float32)
        self.one_i = np.empty((1, self.case.k), np.int64)

    def save(self, where):
        self.faiss.write_index(self.index, str(where / "index"))
        return where / "index"


class FaissGraph(Faiss):
    """Its graphs over whole rows."""
    effort_name = "efSearch"
    variants = [None]

    def __init__(self, case, config):
        Engine.__init__(self, case, config)
        import faiss
        self.faiss = faiss
        self.version = f"{version_of('faiss-cpu', 'faiss')}, {faiss.get_compile_options().strip()}"
        faiss.omp_set_num_threads(case.threads)

    describe = Engine.describe

    def build(self):
        # rows of length one under cosine, where both metrics rank alike
        self.index = self.faiss.index_factory(self.case.d, self.config["factory"])
        if self.config["graph"] == "hnsw":
            self.index.hnsw.efConstruction = 200
        self.index.add(self.case.base)

    def set(self, variant, effort):
        getattr(self.index, self.config["graph"]).__setattr__(
            "efSearch" if self.config["graph"] == "hnsw" else "search_L", effort)


class Vamana(Engine):
    """Intel's scalable-vs: Vamana over whole rows, or over locally adaptive codes (LVQ)."""
    effort_name = "window"

    def __init__(self, case, config):
        super().__init__(case, config)
        import svs
        self.svs = svs
        self.version = version_of("scalable-vs")

    def prepare(self):
        self.data = np.ascontiguousarray(self.case.base, np.float32)
        if self.config["lvq"]:
            file = str(Path(self.case.scratch) / "base.fvecs")
            self.svs.write_vecs(self.data, file)
            loader = self.svs.VectorDataLoader(file, self.svs.DataType.float32, dims=self.case.d)
            self.data = self.svs.LVQLoader(loader, primary=self.config["lvq"][0], residual=self.config["lvq"][1])

    def build(self):
        # rows of length one under cosine, where both metrics rank alike
        parameters = self.svs.VamanaBuildParameters(graph_max_degree=64, window_size=128, alpha=1.2)
        self.index = self.svs.Vamana.build(parameters, self.data, self.svs.DistanceType.L2,
                                           num_threads=self.case.threads)

    def set(self, variant, effort):
        self.index.search_window_size = effort

    def batch(self, queries, threads):
        if self.index.num_threads != threads:
            self.index.num_threads = threads
        return self.index.search(queries, self.case.k)[0]

    def before_single(self):
        self.index.num_threads = 1

    def single(self, query):
        return self.index.search(query, self.case.k)[0]

    def save(self, where):
        self.index.save(*(str(where / part) for part in ("config", "graph", "data")))
        return where


class Hnswlib(Engine):
    def __init__(self, case, config):
        super().__init__(case, config)
        import hnswlib
        self.hnswlib = hnswlib
        self.version = version_of("hnswlib")
        self.dim = -(-case.d // 16) * 16

    def pad(self, vectors):
        # its fast paths want a multiple of 16; zeros change no distance
        if self.dim == self.case.d:
            return np.ascontiguousarray(vectors)
        return np.pad(vectors, ((0, 0), (0, self.dim - self.case.d)))

    def prepare(self):
        self.rows = self.pad(self.case.base)

    def queries(self, queries):
        return self.pad(queries)

    def build(self):
        self.index = self.hnswlib.Index("l2" if self.case.metric == "l2" else "ip", self.dim)
        self.index.init_index(self.case.n, M=16, ef_construction=200)
        self.index.add_items(self.rows, num_threads=self.case.threads)

    def set(self, variant, effort):
        self.index.set_ef(effort)

    def batch(self, queries, threads):
        return self.index.knn_query(queries, self.case.k, num_threads=threads)[0]

    def single(self, query):
        return self.index.knn_query(query, self.case.k, num_threads=1)[0]

    def save(self, where):
        self.index.save_index(str(where / "index"))
        return where / "index"


class Symqg(Engine):
    """rabitqlib's quantised graph."""
    variants = ["search", "search_batch"]

    def __init__(self, case, config):
        super().__init__(case, config)
        import rabitqlib
        self.rabitqlib = rabitqlib
        self.version = version_of("rabitqlib")

    def describe(self, variant, effort):
        return f"ef={effort}" + (", search_batch" if variant == "search_batch" else "")

    def build(self):
        self.index = self.rabitqlib.SymqgIndex(self.case.d, 32, "l2", self.config["bits"])
        self.index.build(self.case.base, 200, self.case.threads)

    def set(self, variant, effort):
        self.effort = effort
        self.call = getattr(self.index, variant)

    def batch(self, queries, threads):
        return self.call(queries, self.case.k, self.effort, threads)[0]

    def single(self, query):
        return self.index.search(query, self.case.k, self.effort, 1)[0]

    def save(self, where):
        self.index.save(str(where / "index"))
        return where / "index"


class RabitqIvf(Engine):
    effort_name = "nprobe"

    def __init__(self, case, config):
        super().__init__(case, config)
        import rabitqlib
        self.rabitqlib = rabitqlib
        self.version = version_of("rabitqlib")
        self.efforts = steps(1, config["lists"])

    def build(self):
        lists = self.config["lists"]
        means = self.rabitqlib.QGKMeans(self.case.d, lists, num_threads=self.case.threads)
        means.train(self.case.base)
        self.index = self.rabitqlib.IvfIndex(self.case.d, self.case.n, lists, self.config["bits"], "l2")
        self.index.build(self.case.base, means.centroids, means.assignments, self.case.threads)

    def set(self, variant, effort):
        self.effort = effort

    def batch(self, queries, threads):
        return self.index.search(queries, self.case.k, self.effort, None, threads)[0]

    def single(self, query):
        return self.index.search(query, self.case.k, self.effort, None, 1)[0]

    def save(self, where):
        self.index.save(str(where / "index"))
        return where / "index"


class Usearch(Engine):
    def __init__(self, case, config):
        super().__init__(case, config)
        from usearch.index import Index
        self.Index = Index
        self.version = version_of("usearch")

    def queries(self, queries):
        if self.config["dtype"] != "i8":
            return queries
        if self.case.bytes:
            return (queries - 128).astype(np.int8)
        # one scale for base and queries keeps l2 what it is; longer queries are clipped
        return np.clip(np.rint(queries * self.scale), -127, 127).astype(np.int8)

    def prepare(self):
        self.scale = 127 / max(1e-30, float(max(np.abs(self.case.base[at:at + 65536]).max()
                                                for at in range(0, self.case.n, 65536))))
        self.rows = self.queries(self.case.base)

    def build(self):
        self.index = self.Index(ndim=self.case.d, metric="l2sq", dtype=self.config["dtype"], connectivity=16,
                                expansion_add=200)
        self.index.add(np.arange(self.case.n), self.rows, threads=self.case.threads)

    def set(self, variant, effort):
        self.index.expansion_search = effort

    def batch(self, queries, threads):
        return self.index.search(queries, self.case.k, threads=threads).keys

    def single(self, query):
        return self.index.search(query[0], self.case.k, threads=1).keys

    def save(self, where):
        self.index.save(str(where / "index"))
        return where / "index"


class Glass(Engine):
    def __init__(self, case, config):
        super().__init__(case, config)
        import glass
        self.glass = glass
        self.version = version_of("glassppy") or version_of("pyglass-portable", "glass")
        if self.version and "portable" in self.version:
            self.version += " (glass built without AVX-512)"
        self.kind = "L2" if case.metric == "l2" else "IP"
        glass.set_num_threads(case.threads)

    def build(self):
        start = time.monotonic()
        graph = self.glass.Index("HNSW", self.kind, "FP32", R=32, L=200).build(self.case.base)
        built = time.monotonic()
        # a searcher takes the graph's contents over, so this is the moment to save it; not counted as build
        self.saved = Path(self.case.scratch) / "graph"
        graph.save(str(self.saved))
        saved = time.monotonic()
        self.index = self.glass.Searcher(graph, self.case.base, self.kind, "SQ8U", self.config["refine"])
        return time.monotonic() - saved + built - start

    def after_build(self):
        # its tuning of prefetches is not counted as build
        self.index.set_ef(64)
        self.index.optimize(self.case.threads)

    def extra_bytes(self):
        return self.case.n * self.case.d * (1 + (4 if self.config["refine"] == "FP32" else 0))

    def set(self, variant, effort):
        self.index.set_ef(effort)

    def batch(self, queries, threads):
        return self.index.batch_search(queries, self.case.k, threads)[0]

    def single(self, query):
        return self.index.search(query[0], self.case.k)[0]

    def save(self, where):
        return self.saved


class Scann(Engine):
    effort_name = "leaves"
    variants = [20, 50, 100, 200, 400]

    def __init__(self, case, config):
        super().__init__(case, config)
        import scann
        self.scann = scann
        self.version = version_of("scann")
        self.efforts = steps(1, config["lists"])

    def describe(self, variant, effort):
        return f"leaves={effort}, reorder={variant}"

    def build(self):
        cosine = self.case.metric == "cosine"
        tree = dict(num_leaves=self.config["lists"], num_leaves_to_search=self.config["lists"],
                    training_sample_size=min(self.case.n, 250000))
        if self.config["soar"]:
            tree.update(soar_lambda=1.5, overretrieve_factor=2.0)
        builder = self.scann.scann_ops_pybind.builder(self.case.base, self.case.k,
                                                      "dot_product" if cosine else "squared_l2")
        builder.set_n_training_threads(self.case.threads)
        builder = builder.tree(**tree).score_ah(2, anisotropic_quantization_threshold=0.2 if cosine else math.nan)
        self.index = builder.reorder(max(self.variants)).build()
        self.index.set_num_threads(self.case.threads)

    def set(self, variant, effort):
        self.reorder, self.effort = variant, effort

    def batch(self, queries, threads):
        if threads == 1:
            return self.index.search_batched(queries, self.case.k, self.reorder, self.effort)[0]
        return self.index.search_batched_parallel(queries, self.case.k, self.reorder, self.effort)[0]

    def single(self, query):
        return self.index.search(query[0], self.case.k, self.reorder, self.effort)[0]

    def save(self, where):
        self.index.serialize(str(where))
        return where


class Omendb(Engine):
    effort_name = "--recall"
    in_process = False
    stop_when_flat = False      # its calibration table begins above the lowest recalls

    def __init__(self, case, config):
        super().__init__(case, config)
        self.binary = config["binary"]
        self.version = subprocess.run([self.binary, "--version"], capture_output=True, text=True,
                                      check=True).stdout.strip()
        self.efforts = [round(0.75 + 0.0025 * i, 4) for i in range(99)] + [0.997, 0.998, 0.999]
        self.where = Path(case.scratch)
        self.way = ["--way", config["way"]] if "way" in config else []

    def run(self, *arguments):
        """Runs omendb; its usage and what it said."""
        use = self.where / "use.json"
        # omendb is to find its threads by itself
        env = {k: v for k, v in os.environ.items() if k not in THREAD_VARIABLES}
        done = subprocess.run([sys.executable, "-I", "-S", "-c", LAUNCH, str(use), self.binary, *map(str, arguments)],
                              capture_output=True, text=True, env=env)
        if done.returncode:
            raise RuntimeError(f"omendb {arguments[0]}: exit {done.returncode}: {done.stderr.strip()[-300:]}")
        return json.loads(use.read_text()), done.stdout, done.stderr

    def prepare(self):
        # the input in the page cache, as peers have theirs in memory
        with open(self.case.base_file, "rb") as data:
            while data.read(1 << 24):
                pass

    def build(self):
        self.index = self.where / "base.omen"
        self.index.unlink(missing_ok=True)
        use, out, _ = self.run("build", "-q", "--json", "-m", self.case.metric, "-t", self.case.threads,
                               *self.config["options"], "-o", self.index, self.case.base_file)
        self.summary = json.loads(out)
        self.peak = max(use["peak"], getattr(self, "peak", 0))
        return use["wall"]

    def details(self):
        return {"summary": self.summary}

    def set(self, variant, effort):
        self.effort = effort

    def batch_file(self, file, threads, n, *options):
        answer = self.where / "answer.npy"
        use, _, err = self.run("query", "-q", "--json", "-k", self.case.k, "--recall", self.effort, "-t", threads,
                               *self.way, *options, "-F", "npy", "-o", answer, self.index, file)
        stats = json.loads([line for line in err.splitlines() if line.startswith("{")][-1])
        self.stats = stats
        return stats["seconds"]["search"], use["wall"], np.load(answer)

    def save(self, where):
        return self.index

    def bench(self, efforts):
        """What `omendb bench` measures at these efforts, {effort: point}, and its whole report."""
        case = self.case
        wanted = sorted(set(efforts))
        _, out, _ = self.run("bench", "-q", "--json", "--base", case.base_file, "--queries", case.query_file,
                             "--truth", case.truth_file, "-k", case.k, "-t", case.threads, "--runs", case.runs,
                             "--min-time", case.min_time, *self.way, "--recall",
                             ",".join(f"{effort:g}" for effort in wanted), self.index)
        report = json.loads(out)
        if report["schema"] != "omendb-bench/1":
            raise ValueError(f"omendb bench --json speaks {report['schema']}, not omendb-bench/1")
        points = {}
        for effort, point in zip(wanted, report["points"], strict=True):
            points[effort] = {"recall_id": point["recall_by_id"], "recall_distance": point["recall_by_distance"],
                              "batch": point["batch"]["median"], "batch_1t": point["batch_one_thread"]["median"],
                              "single": {"qps": point["single"]["median"], "p50_us": 1e3 * point["p50_ms"]["median"],
                                         "p99_us": 1e3 * point["p99_ms"]["median"],
                                         "calls": point["single_queries"] * point["single"]["runs"],
                                         "recall_id": point["recall_by_id"]}}
        return points, report


KINDS = {"omendb": Omendb, "faiss": Faiss, "faiss-graph": FaissGraph, "vamana": Vamana, "hnswlib": Hnswlib,
         "qg": Symqg, "rabitq-ivf": RabitqIvf, "usearch": Usearch, "glass": Glass, "scann": Scann}
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
                    "TF_NUM_INTRAOP_THREADS")


def configurations(args, n, d, lists):
    """What is measured of each engine; lists is how many omendb made."""
    twice = max(1, round(2 * math.sqrt(n)))
    lists = lists or twice
    power = 1 << max(0, math.ceil(math.log2(math.sqrt(n))))
    front, codes = ("", f"PQ{(d + 1) // 2}x4fs") if d % 2 == 0 and d <= 512 else ("PCAR256,", "PQ64x4fs")
    if d % 2 and d <= 512:
        front, codes = f"PCAR{d - 1},", f"PQ{(d - 1) // 2}x4fs"
    factories = list(dict.fromkeys(f"{front}IVF{c},{codes},RFlat" for c in (power, lists))) + args.faiss
    own = (args.omendb_options or "").split()
    out = {
        "omendb": [("omendb", "omendb", dict(binary=args.omendb, options=own)),
                   ("omendb, f16 rows", "omendb", dict(binary=args.omendb, options=[*own, "--refine", "f16"])),
                   ("omendb --graph, by the graph", "omendb",
                    dict(binary=args.omendb, options=[*own, "--graph"], way="graph"))],
        "faiss": [(f"faiss {f}", "faiss", dict(factory=f)) for f in factories] + [
            ("faiss HNSW32 efc200", "faiss-graph", dict(factory="HNSW32,Flat", graph="hnsw")),
            ("faiss NSG32", "faiss-graph", dict(factory="NSG32,Flat", graph="nsg"))],
        "scalable-vs": [("scalable-vs Vamana R64", "vamana", dict(lvq=None)),
                        ("scalable-vs Vamana R64, LVQ 4x8", "vamana", dict(lvq=(4, 8)))],
        "hnswlib": [("hnswlib M16 efc200", "hnswlib", {})],
        "rabitqlib": [("rabitqlib qg R32 efc200, raw", "qg", dict(bits=0)),
                      ("rabitqlib qg R32 efc200, 8 bits", "qg", dict(bits=8)),
                      (f"rabitqlib IVF{2 * twice}, 1 bit + raw", "rabitq-ivf", dict(bits=32, lists=2 * twice)),
                      (f"rabitqlib IVF{2 * twice}, 7 bits", "rabitq-ivf", dict(bits=7, lists=2 * twice))],
        "usearch": [(f"usearch M16 efc200 {t}", "usearch", dict(dtype=t)) for t in ("f16", "i8")],
        "glass": [("glass HNSW R32 L200 SQ8U", "glass", dict(refine="")),
                  ("glass HNSW R32 L200 SQ8U + FP32", "glass", dict(refine="FP32"))],
        "scann": [(f"scann tree{twice} AH2 + reorder", "scann", dict(lists=twice, soar=False))],
    }
    if args.metric == "cosine":
        out["scann"].append((f"scann tree{twice} AH2 SOAR + reorder", "scann", dict(lists=twice, soar=True)))
    return out


# ---- one engine, in a process of its own ----

class Case:
    def __init__(self, spec):
        self.__dict__.update(spec)
        self.base = np.load(spec["base_npy"], mmap_mode="r")
        self.queries = np.load(spec["queries_npy"])
        self.truth = np.load(spec["truth_npy"])
        self.limit = np.load(spec["limit_npy"])
        self.n, self.d = self.base.shape


class Measurement:
    """Drives one engine and writes what is known after each stage, so that a crash keeps the rest."""

    def __init__(self, spec):
        self.spec, self.out = spec, Path(spec["report"])
        self.report = {"name": spec["name"], "engine": spec["engine"], "status": "started"}
        self.case = case = Case(spec)
        self.engine = KINDS[spec["kind"]](case, spec["config"])
        self.report["version"] = self.engine.version
        self.points = {}
        engine = self.engine
        prepare = getattr(engine, "queries", lambda q: q)
        if engine.in_process:
            case.base = np.asarray(case.base)
            for at in range(0, case.n, 65536):     # pages in, before any clock
                case.base[at:at + 65536].sum()
        engine.prepare()
        if engine.in_process:
            self.small = np.ascontiguousarray(prepare(case.queries))
            self.large = np.ascontiguousarray(np.tile(self.small, (case.tile, 1)))

    def write(self, status=None):
        if status:
            self.report["status"] = status
        self.report["points"] = [p for _, p in sorted(self.points.items(), key=lambda item: str(item[0]))]
        part = Path(str(self.out) + ".part")
        part.write_text(json.dumps(self.report))
        part.replace(self.out)

    def build(self):
        engine, seconds = self.engine, []
        while not seconds or (len(seconds) < self.case.build_runs and max(seconds) < 20):
            engine.index = None
            start = time.monotonic()
            took = engine.build()
            seconds.append(took or time.monotonic() - start)
            if len(seconds) == 1:
                peak = getattr(engine, "peak", None) or peak_memory()
        middle = statistics.median(seconds)
        self.report["build"] = {"seconds": middle, "runs": seconds, "vectors_per_second": self.case.n / middle,
                                "peak_bytes": peak}
        if hasattr(engine, "details"):
            self.report["build"].update(engine.details())
        self.write("built")
        if hasattr(engine, "after_build"):
            engine.after_build()
        where = Path(self.case.scratch) / "saved"
        where.mkdir(exist_ok=True)
        start = time.monotonic()
        size = tree_size(engine.save(where))
        self.report["save_seconds"] = time.monotonic() - start
        self.report["index_bytes"] = size + engine.extra_bytes()
        self.report["bytes_per_vector"] = self.report["index_bytes"] / self.case.n
        shutil.rmtree(where, ignore_errors=True)
        self.write()

    # -- timing --

    def answer(self, threads, large):
        """One batch: search seconds, row numbers."""
        engine, case = self.engine, self.case
        if not engine.in_process:
            took, wall, ids = engine.batch_file(case.tile_file if large else case.query_file, threads, case.n)
            self.wall = wall
            return took, ids
        queries = self.large if large else self.small
        start = time.perf_counter()
        ids = engine.batch(queries, threads)
        return time.perf_counter() - start, ids

    def explore(self, variant, effort):
        """A point's recall and a rough rate from one warm run, remembered."""
        key = (variant, effort)
        if key in self.points:
            return self.points[key]
        case, engine = self.case, self.engine
        engine.set(variant, effort)
        if not self.points:
            self.answer(case.threads, False)
        took, found = self.answer(case.threads, False)
        if took < 0.3 and engine.in_process:
            took = min(took, self.answer(case.threads, False)[0])
        ids = ids_matrix(found, len(case.queries), case.k)
        point = {"variant": variant, "effort": effort, "setting": engine.describe(variant, effort),
                 "recall_id": recall_by_id(ids, case.truth), "recall_distance": recall_by_distance(ids, case),
                 "batch": {"qps": len(case.queries) / took, "runs": 1, "tile": 1, "threads": case.threads}}
        if not engine.in_process:
            point["stats"] = {k: v for k, v in engine.stats.items() if k in ("probes", "rerank", "codes_scanned")}
        self.points[key] = point
        return point

    def recall(self, variant, effort):
        return self.explore(variant, effort)["recall_" + self.case.target_by]

    def timed(self, point, threads, large=True):
        """Median rate of a batch after a warm-up."""
        case, engine = self.case, self.engine
        engine.set(point["variant"], point["effort"])
        self.answer(threads, large)
        seconds, walls = [], []
        cpu, start = time.process_time(), time.perf_counter()
        while len(seconds) < case.runs or (sum(seconds) < case.min_time and len(seconds) < 25):
            seconds.append(self.answer(threads, large)[0])
            walls.append(getattr(self, "wall", None))
        elapsed = time.perf_counter() - start
        n = len(case.queries) * (case.tile if large else 1)
        out = {"qps": n / statistics.median(seconds), "qps_min": n / max(seconds), "qps_max": n / min(seconds),
               "runs": len(seconds), "tile": case.tile if large else 1, "threads": threads}
        if engine.in_process:
            out["cpu_per_wall"] = (time.process_time() - cpu) / elapsed
        else:
            out["process_qps"] = n / statistics.median(walls)
        return out

    def single(self, point):
        """Latencies of one query a call on one thread."""
        case, engine = self.case, self.engine
        engine.set(point["variant"], point["effort"])
        if hasattr(engine, "before_single"):
            engine.before_single()
        queries = [self.small[i:i + 1] for i in range(len(self.small))]
        for query in queries[:100]:
            engine.single(query)
        taken, found, spent, clock = [], [], 0, time.perf_counter_ns
        limit = case.min_time * 1e9
        while spent < limit or len(taken) < min(len(queries), 1000):
            for i, query in enumerate(queries):
                start = clock()
                ids = engine.single(query)
                took = clock() - start
                taken.append(took)
                spent += took
                if len(found) < len(queries):
                    found.append(np.array(ids).reshape(-1)[:case.k])
                if spent > 4 * limit and len(taken) >= 1000:
                    break
        ids = np.vstack([ids_matrix(f, 1, case.k) for f in found])
        return {"qps": len(taken) / (spent / 1e9), "p50_us": float(np.percentile(taken, 50)) / 1e3,
                "p99_us": float(np.percentile(taken, 99)) / 1e3, "calls": len(taken),
                "recall_id": recall_by_id(ids, case.truth[:len(ids)])}

    # -- the sweep --

    def sweep(self):
        """Coarse points of every variant, then by bisection the least effort that reaches each recall."""
        case, engine = self.case, self.engine
        efforts, targets = engine.efforts, case.targets
        stride = max(1, len(efforts) // 18)
        coarse = list(range(0, len(efforts), stride))
        if coarse[-1] != len(efforts) - 1:
            coarse.append(len(efforts) - 1)
        for variant in engine.variants:
            flat, last = 0, -1
            for i in coarse:
                got = self.recall(variant, efforts[i])
                flat = flat + 1 if got < last + 0.0005 and got > 0.5 else 0
                last = max(last, got)
                if got >= max(targets) or (flat >= 3 and engine.stop_when_flat):
                    break
            self.write("swept in part")
        candidates = {}
        for target in targets:
            rough = []
            for variant in engine.variants:
                known = [i for i in coarse if (variant, efforts[i]) in self.points]
                above = [i for i in known if self.recall(variant, efforts[i]) >= target]
                if above:
                    rough.append((self.explore(variant, efforts[above[0]])["batch"]["qps"], variant, above[0], known))
            best = max((r[0] for r in rough), default=0)
            reached = []
            for rate, variant, high, known in rough:
                if rate < 0.7 * best:
                    continue
                low = max((i for i in known if i < high), default=-1)
                while high - low > 1:
                    middle = (low + high) // 2
                    if self.recall(variant, efforts[middle]) >= target:
                        high = middle
                    else:
                        low = middle
                reached.append(self.explore(variant, efforts[high]))
            reached.sort(key=lambda p: -p["batch"]["qps"])
            candidates[target] = [p for p in reached if p["batch"]["qps"] >= 0.8 * reached[0]["batch"]["qps"]][:4]
            self.write()
        return candidates

    def run(self):
        case, engine = self.case, self.engine
        self.build()
        candidates = self.sweep()
        self.report["targets"] = {}
        for target in case.targets:
            timed = []
            for point in candidates[target]:
                if point["batch"]["runs"] == 1:
                    point["batch_rough"], point["batch"] = point["batch"], self.timed(point, case.threads)
                timed.append(point)
            if not timed:
                continue
            best = max(timed, key=lambda p: p["batch"]["qps"])
            if "batch_1t" not in best:
                best["batch_1t"] = self.timed(best, 1)
                best["batch_untiled"] = self.timed(best, case.threads, large=False)
                if engine.in_process:
                    best["single"] = self.single(best)
                    if best["batch_untiled"]["qps"] > best["batch"]["qps"]:  # as faiss does
                        best["batch_tiled"], best["batch"] = best["batch"], best["batch_untiled"]
            self.report["targets"][str(target)] = best
            self.write("measured in part")
        if case.full:
            front, best = [], 0
            for point in sorted(self.points.values(), key=lambda p: -p["recall_" + case.target_by]):
                if point["batch"]["qps"] > best:
                    front.append(point)
                    best = point["batch"]["qps"]
            for point in front:
                if point["batch"]["runs"] == 1:
                    point["batch_rough"], point["batch"] = point["batch"], self.timed(point, case.threads)
                if "batch_1t" not in point:
                    point["batch_1t"] = self.timed(point, 1)
                if "single" not in point and engine.in_process:
                    point["single"] = self.single(point)
        if not engine.in_process:
            self.run_bench()
        if self.points:
            self.report["max_recall"] = max(p["recall_" + case.target_by] for p in self.points.values())
        self.report["peak_bytes_all"] = peak_memory() if engine.in_process else engine.peak
        self.write("ok")

    def run_bench(self):
        """Single queries, and a second opinion of batches, from omendb bench at the points timed with care."""
        timed = [p for p in self.points.values() if "batch_1t" in p]
        try:
            found, self.report["bench"] = self.engine.bench([p["effort"] for p in timed]) if timed else ({}, None)
        except (RuntimeError, ValueError, KeyError) as error:
            self.report["bench_error"] = str(error)
            return
        for point in timed:
            point["bench"] = found[point["effort"]]
            point["single"] = point["bench"].pop("single")


def child(spec_file):
    spec = json.loads(Path(spec_file).read_text())
    try:
        measurement = Measurement(spec)
    except ImportError as error:
        Path(spec["report"]).write_text(json.dumps({"name": spec["name"], "engine": spec["engine"],
                                                    "status": "not installed", "reason": str(error)}))
        return
    try:
        measurement.run()
    except Exception as error:
        measurement.report["reason"] = f"{type(error).__name__}: {error}"[:400]
        measurement.write("failed after: " + measurement.report["status"])
        raise


# ---- tables ----

def cell(value, form, best=False):
    if value is None:
        return ""
    text = form.format(value)
    return f"**{text}**" if best else text


def table(columns, rows):
    """columns: (title, key, form, which is best: max, min or None)."""
    best = {}
    for _, key, _, pick in columns:
        values = [r[key] for r in rows if r.get(key) is not None]
        if pick and len(values) > 1:
            best[key] = pick(values)
    lines = ["| " + " | ".join(c[0] for c in columns) + " |",
             "|" + "|".join("---" if c[2] == "{}" else "---:" for c in columns) + "|"]
    for row in rows:
        lines.append("| " + " | ".join(cell(row.get(key), form, key in best and row.get(key) == best[key])
                                       for _, key, form, _ in columns) + " |")
    return "\n".join(lines)


def bench_rows(result):
    """What omendb bench found beside what was found here, at each point that both measured."""
    rows = {}
    for name, point in [(e["name"], p) for e in result["engines"] for p in (e.get("targets") or {}).values()
                        if p.get("bench")]:
        bench = point["bench"]
        # its JSON has 7 significant digits
        equal = all(abs(point[key] - bench[key]) < 1e-6 for key in ("recall_id", "recall_distance"))
        rows[name, point["setting"]] = {
            "setting": f"{name}: {point['setting']}", "id": point["recall_id"], "bench_id": bench["recall_id"],
            "distance": point["recall_distance"], "bench_distance": bench["recall_distance"],
            "equal": "equal" if equal else "**not equal**", "batch": point["batch"]["qps"],
            "bench_batch": bench["batch"], "apart": bench["batch"] / point["batch"]["qps"] - 1}
    return list(rows.values())


# ---- pictures ----

MOST_DRAWN = 0.9992  # recall: what is beyond would take half of the axis


def frontier(points, recall, rate):
    """Points as (recall, rate, whether timed with care) that no other point beats, by recall."""
    front, best = [], 0
    for point in sorted(points, key=lambda p: (-p[recall], -(p.get(rate) or {}).get("qps", 0))):
        part = point.get(rate) or {}
        if part.get("qps", 0) > best:
            best = part["qps"]
            front.append((point[recall], best, part.get("runs", 2) > 1))
    return front[::-1]


def drawn_data(result):
    """What a picture shows, in the form of a result: the frontiers."""
    info = result["header"]
    recall = "recall_" + info["target_by"]
    kept = ("set", "n", "d", "k", "metric", "queries", "threads", "target_by", "cpu")
    return {"version": 1, "header": {key: info[key] for key in kept}, "engines": [
        {"name": e["name"], "points": [
            {recall: round(r, 5), rate: {"qps": float(f"{q:.4g}"), "runs": 1 + c}}
            for rate in ("batch", "single") for r, q, c in frontier(e["points"], recall, rate)]}
        for e in result["engines"] if e.get("points")]}


def described(result, fronts):
    """The picture in words."""
    info = result["header"]
    text = [f"Queries a second, in batches by {info['threads']} threads and one query a call, against "
            f"recall@{info['k']} of {info['n']:,} x {info['d']} {info['metric']}. At recall 0.95, in batches:"]
    for engine, front in zip(result["engines"], fronts["batch"]):
        fast = max((q for r, q, _ in front if r >= 0.95), default=None)
        text.append(f"{engine['name']} " + (f"{fast:,.0f};" if fast else "not reached;"))
    return " ".join(text)[:-1] + "."


def draw(result, path):
    """Two panels, batch and one query a call, the same colour and marker for an engine in every picture."""
    result = drawn_data(result)
    info, engines = result["header"], result["engines"]
    recall = "recall_" + info["target_by"]
    fronts = {rate: [frontier(e["points"], recall, rate) for e in engines] for rate in ("batch", "single")}
    size = (1200, 510)
    lines = pictures.begin(path, size)
    for rate, data in fronts.items():
        for i, front in enumerate(data):
            lines += [f"${rate}{i} << EOD",
                      *(f"{pictures.recall_place(r):.6f} {q:.1f} {int(c)}" for r, q, c in front), "EOD"]
    title = (f"{info['set']}: {info['n']:,} x {info['d']} {info['metric']}, k = {info['k']}, "
             f"{info['queries']:,} queries; {info['cpu']}")
    lines += ["set multiplot", f"set xlabel 'recall@{info['k']} by {info['target_by']}; up and to the right is better'"]
    shown = pictures.looks([e["name"] for e in engines])
    for rate, left, name in (("batch", 70, f"queries/s in batches, {info['threads']} threads"),
                             ("single", 660, "queries/s, one query a call, 1 thread")):
        least = min((r for front in fronts[rate] for r, _, _ in front if r >= 0.8), default=0.8)
        seen = [[p for p in front if least <= p[0] <= MOST_DRAWN] for front in fronts[rate]]
        if not any(seen):
            continue
        rates = [q for front in seen for _, q, _ in front]
        low, high = 0.85 * min(rates), 1.15 * max(rates)
        panel = pictures.Panel(size, (left, left + 290, 80, 440))
        axis, x_range = pictures.recall_axis(least, max(r for front in seen for r, _, _ in front))
        lines += panel.begin() + axis + [
            f"set yrange [{low:.6g}:{high:.6g}]", f"set ytics ({pictures.grouped_ticks(low, high)})",
            f"set label 1 {pictures.literal(name)} at screen {left / size[0]:.5f},{1 - 62 / size[1]:.5f} left"]
        if rate == "batch":
            lines.append(f"set label 2 {pictures.literal(title)} at screen 0.5,{1 - 22 / size[1]:.5f} center "
                         "font ',15'")
        there = [i for i, front in enumerate(seen) if front]
        lines += panel.labels([engines[i]["name"] for i in there], [shown[i]["colour"] for i in there],
                              [(pictures.recall_place(seen[i][-1][0]), seen[i][-1][1]) for i in there], x_range,
                              (low, high))
        parts = []
        for i in there:
            style, data = shown[i], f"${rate}{i}"
            points = f"pt {style['marker']} lc rgb '{style['colour']}'"
            parts += [f"{data} using 1:2 with lines lw 1.7 dt {style['dash']} lc rgb '{style['colour']}'",
                      f"{data} using 1:($3 > 0 ? $2 : NaN) with points ps 1.1 {points}",
                      f"{data} using 1:($3 > 0 ? NaN : $2) with points ps 0.5 {points}"]
        lines.append("plot " + ", ".join(parts))
    families = ", ".join(dict.fromkeys(re.split("[ ,]", e["name"])[0] for e in engines))
    pictures.draw(lines + ["unset multiplot"], path, f"Recall and speed on {info['set']}: {families}",
                  described(result, fronts), result)


def render(result):
    info = result["header"]
    threads = info["threads"]
    by = {"id": "id", "distance": "distance"}[info["target_by"]]
    text = [f"### {info['set']}: {info['n']:,} x {info['d']}, {info['metric']}, k = {info['k']}",
            f"{info['cpu']} ({', '.join(info['flags'])}), {threads} threads, {info['queries']:,} queries "
            f"(batches: the query file x {info['tile']}). recall@{info['k']}; points are the fastest in batch that "
            f"reach the recall by {by}. Bold: best of the column."]
    if info.get("quick"):
        text.append("**--quick: a trial, the figures mean nothing.**")

    def name(e):
        busy = "build" in e and e.get("idle_before") is not None and e["idle_before"] < 0.98
        return e["name"] + (" (c)" if busy else "")

    rows = []
    for e in result["engines"]:
        built = e.get("build") or {}
        hot = (built.get("summary") or {}).get("bytes_per_vector") or {}
        note = "" if e["status"] == "ok" else e["status"] + (f": {e['reason']}" if e.get("reason") else "")
        if e["status"] == "ok" and e.get("max_recall", 1) < max(info["targets"]):
            note = f"recall stops at {e['max_recall']:.3f}"
        used = [p["batch_1t"].get("cpu_per_wall", 0) for p in (e.get("targets") or {}).values() if "batch_1t" in p]
        if max(used, default=0) > 1.2:
            note += ("; " if note else "") + f"its 1t batches used {max(used):.1f} processors"
        if e.get("bench_error"):
            note += ("; " if note else "") + e["bench_error"]
        rows.append({"name": name(e), "seconds": built.get("seconds"), "rate": built.get("vectors_per_second"),
                     "size": e.get("bytes_per_vector"), "hot": hot["code"] + hot["factors"] if "code" in hot else None,
                     "peak": built["peak_bytes"] / 1e6 if "peak_bytes" in built else None,
                     "note": note.replace("|", "/").replace("\n", " ")})
    text.append(table([("engine", "name", "{}", None), ("build s", "seconds", "{:,.2f}", min),
                       ("vec/s", "rate", "{:,.0f}", max), ("B/vec", "size", "{:,.0f}", min),
                       ("hot B/vec", "hot", "{:,.0f}", None), ("peak MB", "peak", "{:,.0f}", min),
                       ("note", "note", "{}", None)], rows))
    for target in info["targets"]:
        rows = []
        for e in result["engines"]:
            point = (e.get("targets") or {}).get(str(target))
            if not point:
                continue
            single = point.get("single") or {}
            rows.append({"name": name(e), "setting": point["setting"], "id": point["recall_id"],
                         "distance": point["recall_distance"], "batch": point["batch"]["qps"],
                         "one": (point.get("batch_1t") or {}).get("qps"), "single": single.get("qps"),
                         "p50": single.get("p50_us"), "p99": single.get("p99_us")})
        rows.sort(key=lambda r: -r["batch"])
        text.append(f"Recall {target:.2f}")
        text.append(table([("engine", "name", "{}", None), ("setting", "setting", "{}", None),
                           ("recall id", "id", "{:.4f}", None), ("recall dist", "distance", "{:.4f}", None),
                           (f"batch q/s {threads}t", "batch", "{:,.0f}", max), ("batch q/s 1t", "one", "{:,.0f}", max),
                           ("single q/s", "single", "{:,.0f}", max), ("p50 us", "p50", "{:,.0f}", min),
                           ("p99 us", "p99", "{:,.0f}", min)], rows) if rows else "Nothing reached it.")
    beside = bench_rows(result)
    if beside:
        text.append("omendb bench beside the above")
        text.append(table([("setting", "setting", "{}", None), ("recall id", "id", "{:.6f}", None),
                           ("bench", "bench_id", "{:.6f}", None), ("recall dist", "distance", "{:.6f}", None),
                           ("bench", "bench_distance", "{:.6f}", None), ("recall is", "equal", "{}", None),
                           (f"batch q/s {threads}t", "batch", "{:,.0f}", None),
                           ("bench", "bench_batch", "{:,.0f}", None),
                           ("apart", "apart", "{:+.1%}", None)], beside))
    versions = dict.fromkeys(e["version"] for e in result["engines"] if e.get("version"))
    text.append("Versions: " + "; ".join([*versions, f"Python {info['python']}", f"numpy {info['numpy']}"]) + ".")
    return "\n\n".join(text) + "\n"


# ---- the whole run ----

def options():
    parser = argparse.ArgumentParser(description="Measures omendb beside other vector indexes.",
                                     epilog="What the figures mean stands at the top of this file.")
    add = parser.add_argument
    add("--base", help="vectors to index: fvecs, bvecs, idx or npy")
    add("--queries", help="query vectors, same formats")
    add("--truth", help="ivecs of true neighbours (default: computed)")
    add("--metric", choices=["l2", "cosine"], default="l2")
    add("--rows", type=int, help="use the first N rows of the base")
    add("--max-queries", type=int, help="use the first N queries")
    add("-k", type=int, default=10)
    add("--threads", type=int, default=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
        else os.cpu_count())
    add("--peers", default=",".join(ENGINES), help="engines to measure, comma-separated (default: %(default)s)")
    add("--only", help="of those, only the rows whose name matches this regular expression")
    add("--omendb", default="build/cmd/omendb", help="the program (default: %(default)s)")
    add("--omendb-options", help="more options of omendb build, in one string")
    add("--faiss", action="append", default=[], metavar="FACTORY",
        help="one more faiss index to measure (IVF with RFlat), e.g. OPQ64_256,IVF256,PQ64x4fs,RFlat")
    add("--targets", default="0.90,0.95,0.99", help="recalls to report (default: %(default)s)")
    add("--target-by", choices=["id", "distance"], default="id", help="which recall must reach them (default: id)")
    add("--tile", type=int, help="repeat the query file N times for batches (default: to 20,000 queries or more)")
    add("--runs", type=int, default=3, help="least runs a point (default: 3)")
    add("--min-time", type=float, default=3.0, help="least seconds a point (default: 3)")
    add("--build-runs", type=int, default=3, help="runs of builds shorter than 20 s (default: 3)")
    add("--full", action="store_true", help="time the whole frontier carefully, not only the reported points")
    add("--quick", action="store_true", help="a trial: one short run of everything")
    add("--timeout", type=float, default=7200, help="seconds an engine may take (default: 7200)")
    add("--name", help="name of the set (default: the base's file name)")
    add("--tmp", help="directory for temporary files (needs some 5 times the float32 size of the base)")
    add("--out", "--json", dest="out", help="write all results there as JSON")
    add("--table", help="write the markdown there too")
    add("--plot", help="draw queries/s against recall there (.svg or .png; needs gnuplot)")
    add("--render", nargs="+", metavar="JSON", help="print the tables of earlier results and exit")
    add("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def write_text(path, text):
    part = Path(str(path) + ".part")
    part.write_text(text)
    part.replace(path)


def main():
    args = options()
    if args.child:
        return child(args.child)
    if args.render:
        if args.plot and len(args.render) > 1:
            raise SystemExit("compare.py: --plot draws one result at a time")
        if args.render[0].endswith(".svg"):
            return draw(pictures.data_of(args.render[0]), args.plot or args.render[0])
        results = [json.loads(Path(f).read_text()) for f in args.render]
        print("\n".join(map(render, results)), end="")
        if args.plot:
            draw(results[0], args.plot)
        return None
    if not args.base or not args.queries:
        raise SystemExit("compare.py: --base and --queries are needed; see --help")
    engines = [e.strip() for e in args.peers.split(",") if e.strip()]
    unknown = [e for e in engines if e not in ENGINES]
    if unknown:
        raise SystemExit(f"compare.py: unknown engine {unknown[0]}; known: {', '.join(ENGINES)}")
    if args.quick:
        args.runs, args.min_time, args.build_runs, args.tile = 1, 0.2, 1, 1
    # omendb first: it says how many lists it made
    engines.sort(key=lambda e: e != "omendb")
    if shutil.which(args.omendb):
        args.omendb = str(Path(shutil.which(args.omendb)).resolve())
    scratch = Path(tempfile.mkdtemp(prefix="compare.", dir=args.tmp))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return measure_all(args, engines, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def prepare_data(args, scratch):
    """The files that all engines work on, as the common part of their specifications."""
    raw_base, raw_queries = read_vectors(args.base, args.rows), read_vectors(args.queries, args.max_queries)
    if raw_base.shape[1] != raw_queries.shape[1]:
        raise SystemExit(f"compare.py: base has {raw_base.shape[1]} dimensions, queries {raw_queries.shape[1]}")
    whole = args.rows is None or args.rows >= len(read_vectors(args.base))
    base, queries = as_float(raw_base, args.metric == "cosine"), as_float(raw_queries, args.metric == "cosine")
    k = args.k
    truth = None
    if args.truth and whole:
        truth = np.asarray(read_vectors(args.truth, len(queries)), np.int64)[:, :k]
        if truth.shape != (len(queries), k):
            raise SystemExit(f"{args.truth}: {truth.shape[0]} x {truth.shape[1]}, needed {len(queries)} x {k}")
        some = np.linspace(0, len(queries) - 1, min(20, len(queries))).astype(int)
        mine = exact(base, queries[some], nearest(base, queries[some], k))[:, -1]
        theirs = exact(base, queries[some], truth[some]).max(1)
        if not np.allclose(mine, theirs, rtol=1e-4, atol=1e-7):
            raise SystemExit(f"{args.truth}: not the true neighbours of these files by {args.metric}")
    if truth is None:
        say(f"computing the true neighbours of {len(queries):,} queries")
        truth = nearest(base, queries, k)
    tile = args.tile or max(1, -(-20000 // len(queries)))
    files = {key: str(scratch / f"{key}.npy") for key in ("base", "queries", "truth", "limit")}
    np.save(files["base"], base)
    np.save(files["queries"], queries)
    np.save(files["truth"], truth)
    np.save(files["limit"], exact(base, queries, truth).max(1))
    all_queries = args.max_queries is None or args.max_queries >= len(read_vectors(args.queries))
    write_truth(scratch / "truth.ivecs", truth)
    return dict(base_npy=files["base"], queries_npy=files["queries"], truth_npy=files["truth"],
                limit_npy=files["limit"], truth_file=str(scratch / "truth.ivecs"),
                base_file=str(Path(args.base).resolve() if whole else write_vectors(scratch / "part", raw_base)),
                query_file=str(Path(args.queries).resolve() if all_queries
                               else write_vectors(scratch / "query", raw_queries)),
                tile_file=str(write_vectors(scratch / "tiled", np.tile(raw_queries, (tile, 1)))),
                tile=tile, k=k, metric=args.metric, threads=args.threads, runs=args.runs, min_time=args.min_time,
                build_runs=args.build_runs, full=args.full, target_by=args.target_by,
                targets=[float(t) for t in args.targets.split(",")], bytes=raw_base.dtype == np.uint8
                and raw_queries.dtype == np.uint8), len(base), base.shape[1], len(queries)


def measure_all(args, engines, scratch):
    common, n, d, queries = prepare_data(args, scratch)
    result = {"version": 1, "header": {
        "set": args.name or Path(args.base).name, "n": n, "d": d, "k": args.k, "metric": args.metric,
        "queries": queries, "threads": args.threads, "tile": common["tile"], "targets": common["targets"],
        "target_by": args.target_by, "runs": args.runs, "min_time": args.min_time, "quick": args.quick,
        "cpu": cpu_model(), "flags": cpu_flags(), "processors": os.cpu_count(), "system": platform.system(),
        "python": platform.python_version(), "numpy": np.__version__}, "engines": []}
    try:
        measure_engines(args, engines, scratch, common, (n, d), result)
    except KeyboardInterrupt:
        say("interrupted: what was measured so far")
        result["header"]["interrupted"] = True
    text = render(result)
    if args.out:
        write_text(args.out, json.dumps(result, indent=1) + "\n")
    if args.table:
        write_text(args.table, text)
    print(text, end="")
    if args.plot:
        draw(result, args.plot)
    return 130 if "interrupted" in result["header"] else 0


def measure_engines(args, engines, scratch, common, shape, result):
    n, d = shape
    lists = None
    for engine in engines:
        if engine == "omendb" and not os.access(args.omendb, os.X_OK):
            result["engines"].append({"name": "omendb", "engine": engine, "status": "not installed",
                                      "reason": f"no program {args.omendb}"})
            continue
        for name, kind, config in configurations(args, n, d, lists)[engine]:
            if args.only and not re.search(args.only, name):
                continue
            report = measure(args, dict(common, name=name, engine=engine, kind=kind, config=config), scratch)
            result["engines"].append(report)
            if engine == "omendb" and "build" in report:
                lists = report["build"].get("summary", {}).get("lists")
            if args.out:
                write_text(args.out, json.dumps(result, indent=1) + "\n")
            if report["status"] == "not installed":
                report["name"] = engine
                break


def measure(args, spec, scratch, program=__file__):
    """Runs one engine in its own process and returns its report, whatever happens to it."""
    own = scratch / "own"
    own.mkdir()
    spec.update(scratch=str(own), report=str(own / "report.json"))
    (own / "spec.json").write_text(json.dumps(spec))
    env = dict(os.environ, **{v: str(args.threads) for v in THREAD_VARIABLES}, PYTHONUNBUFFERED="1")
    idle = idle_share(0.5 if args.quick else 2)
    say(f"{spec['name']}" + (f" (machine {idle:.0%} idle)" if idle is not None else ""))
    start = time.monotonic()
    reason = None
    with open(own / "log", "w+b") as log:
        process = subprocess.Popen([sys.executable, str(Path(program).resolve()), "--child", str(own / "spec.json")],
                                   stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env, start_new_session=True)
        try:
            code = process.wait(args.timeout)
            if code:
                reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
        except subprocess.TimeoutExpired:
            reason = f"stopped after {args.timeout:g} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        log.seek(0)
        tail = log.read()[-4000:].decode(errors="replace")
    try:
        report = json.loads((own / "report.json").read_text())
    except (OSError, ValueError):
        report = {"name": spec["name"], "engine": spec["engine"], "status": "failed"}
    if reason:
        lines = [line.strip() for line in re.split(r"[\r\n]", tail) if line.strip()]
        if report["status"] in ("started", "built", "swept in part", "measured in part"):
            report["status"] = "failed after: " + report["status"]
        report.setdefault("reason", reason + (f": {lines[-1][:300]}" if lines else ""))
        report["log"] = tail
    report.update(idle_before=idle, seconds=time.monotonic() - start, config=spec["config"])
    say(f"  {report['status']}, {report['seconds']:.0f} s" + (f": {report['reason']}" if report.get("reason") else ""))
    shutil.rmtree(own, ignore_errors=True)
    return report


if __name__ == "__main__":
    sys.exit(main())
