#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures omendb's queries under filters beside other vector indexes: same rows, filters, truth, threads and machine.

    pip install numpy faiss-cpu hnswlib qdrant-edge-py lancedb      # any of them; numpy is needed
    tests/peers/compare_filtered.py --omendb build/cmd/omendb --out results.json --table results.md \\
        random,base.bvecs,query.bvecs sift,base.bvecs,query.bvecs,sift-700k debian,base.npy,debian-384,debian-384
    tests/peers/compare_filtered.py --render results.json                   # print the tables again

A case is random,BASE,QUERIES, or NAME,BASE,QUERIES,SET of a filtered test set (sift, fashion or debian), as
tests/recall/filtered.py takes them; --rows shortens the base of random. Of random every query has a filter of its own:
a range of a column that is a random order of the rows, so that 0.01, 0.1, 1, 10 or 50% of them pass; and three far
families, in which the rows pass whose nearest of 256 centroids is the farthest from the query, or among the 25 or the
128 farthest. Each family is measured by itself.

What the figures mean

    q/s         queries of one family, each with its own filter, by --threads threads of one process: the median of
                --runs runs after a warm-up. A peer that is not through the family after --seconds stops there; the
                rate and the recall are then of the queries that it answered.
    recall      by distance: found rows that pass and are within 1e-3 of the last true one, of min(k, matches) (see
                compare.py). Queries that nothing passes are counted as short or not, and not in it.
    short       queries that found fewer than min(k, matches) rows.
    wrong       rows found that do not pass.

Who does what within the clock. omendb gets a family as one batch with a file of conditions, which it evaluates within
the clock and has read before it: its rate is that of `omendb bench --where-file`, whose process is as warm as those of
the peers; its answers are those of `omendb query`, a process a run ("process_qps" of the JSON). qdrant-edge and lancedb
evaluate conditions too: of columns with an index on each, given as their own objects or text; qdrant's requests are
made before the clock starts. faiss and hnswlib know no conditions: they get the rows that pass as a bitmap that is
there already. hnswlib's binding takes filters as functions of Python only, which are called for every row that it
meets, one thread at a time; with --hnswlib-source its own C++ is compiled (hnsw_filter.cpp) and no Python is in the
search. The other peers are called from Python, which costs from 10 to some 100 us a query.

    pip download --no-deps --no-binary hnswlib hnswlib && tar xf hnswlib-*.tar.gz       # the source is there

Peers are tuned on the very queries, for each family: the least effort is sought that reaches --recall on some of its
queries, and raised while all of them do not reach it. omendb is asked for --recall, and for more only where that was
not reached. A recall below the target stands in brackets: no effort reached it.

Every engine runs in a process of its own (see compare.py); one that is not installed gets a row that says so.
"""
import argparse
import ctypes
import itertools
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import compare
from compare import EPSILON, LAUNCH, Engine, say, steps, table, version_of, write_text

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "recall"))
import conditions  # noqa: E402 (it is in the folder beside this one)

ENGINES = ["omendb", "faiss", "hnswlib", "qdrant", "lancedb"]
SHARES = (0.0001, 0.001, 0.01, 0.1, 0.5)
FAR = {"far_cell": 1, "far_cells": 25, "far_half": 128}
N_CELLS = 256
SEED = 20231
assert LAUNCH       # omendb is started by it, in compare.Omendb


# ---- conditions, for peers that do not read SQL ----

class Unable(ValueError):
    """What an engine cannot be asked."""


TOKEN = re.compile(r"\s*(?:(-?\d+(?:\.\d+)?)|'((?:[^']|'')*)'|(<=|>=|!=|[=<>(),])|(\w+))")


def tokens_of(text):
    """Pairs of a kind (number, text, sign or word) and a value."""
    at, found = 0, []
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match:
            raise Unable(f"condition, character {at + 1}: {text}")
        number, quoted, sign, word = match.groups()
        if number is not None:
            found.append(("value", float(number) if "." in number else int(number)))
        elif quoted is not None:
            found.append(("value", quoted.replace("''", "'")))
        else:
            found.append(("sign", sign) if sign else ("word", word))
        at = match.end()
    return found


class Parser:
    """A condition as a tree: ("and" or "or", node, ...), ("not", node), ("test", column, operator, values)."""

    def __init__(self, text):
        self.tokens, self.at = tokens_of(text) + [("end", None)], 0

    def next(self):
        self.at += 1
        return self.tokens[self.at - 1][1]

    def takes(self, *words):
        part = [value.upper() if isinstance(value, str) else value
                for _, value in self.tokens[self.at:self.at + len(words)]]
        if part != list(words):
            return False
        self.at += len(words)
        return True

    def any(self, word="OR", part=None):
        part = part or (lambda: self.any("AND", self.one))
        nodes = [part()]
        while self.takes(word):
            nodes.append(part())
        return nodes[0] if len(nodes) == 1 else (word.lower(), *nodes)

    def one(self):
        if self.takes("NOT"):
            return "not", self.one()
        if self.takes("("):
            node = self.any()
            self.next()
            return node
        column = self.next()
        if self.takes("IS", "NULL"):
            return "test", column, "null", []
        if self.takes("IS", "NOT", "NULL"):
            return "not", ("test", column, "null", [])
        operator = self.next().lower()
        values = [self.next()]
        if operator == "between":
            self.next()
            values.append(self.next())
        elif operator == "in":
            values = []
            while not values or self.takes(","):
                values.append(self.next())
            self.next()
        return "test", column, operator, values


def qdrant_test(qe, column, operator, values):
    if operator == "null":
        return qe.IsEmptyCondition(column)
    if operator == "like":
        if not values[0].endswith("%"):
            raise Unable(f"LIKE '{values[0]}'")
        return qe.FieldCondition(column, match=qe.MatchPrefix(values[0][:-1]))
    if operator == "between":
        return qe.FieldCondition(column, range=qe.RangeFloat(gte=values[0], lte=values[1]))
    if operator in ("<", "<=", ">", ">="):
        name = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}[operator]
        return qe.FieldCondition(column, range=qe.RangeFloat(**{name: values[0]}))
    if any(isinstance(value, float) for value in values):
        return qe.Filter(should=[qe.FieldCondition(column, range=qe.RangeFloat(gte=v, lte=v)) for v in values])
    return qe.FieldCondition(column, match=qe.MatchAny(values) if len(values) > 1 else qe.MatchValue(values[0]))


def qdrant_filter(qe, node, negated=False):
    """The tree as a filter of qdrant, with SQL's nulls: NOT of a test is not true of a row without the value."""
    if node[0] == "not":
        return qdrant_filter(qe, node[1], not negated)
    if node[0] in ("and", "or"):
        parts = [qdrant_filter(qe, part, negated) for part in node[1:]]
        return qe.Filter(must=parts) if (node[0] == "and") != negated else qe.Filter(should=parts)
    _, column, operator, values = node
    if operator == "!=":
        negated, operator = not negated, "="
    test = qdrant_test(qe, column, operator, values)
    if not negated:
        return qe.Filter(must=[test])
    return qe.Filter(must_not=[test] if operator in ("has", "null") else [test, qe.IsEmptyCondition(column)])


# ---- engines ----
# build() as in compare.py; start() gets ready for a family, outside of the clock; one() answers a query.

class Peer(Engine):
    """Answers queries one by one from --threads threads."""

    def start(self, numbers):
        """Makes what the queries of a family need."""

    def answer(self, numbers, seconds):
        """Seconds and the answers of the queries that were answered before the time was up, in their order."""
        found, turn, begin = [None] * len(numbers), itertools.count(), time.perf_counter()

        def work():
            while (i := next(turn)) < len(numbers) and time.perf_counter() - begin < seconds:
                found[i] = self.one(numbers[i])

        with ThreadPoolExecutor(self.case.threads) as pool:
            for future in [pool.submit(work) for _ in range(self.case.threads)]:
                future.result()
        took = time.perf_counter() - begin
        return took, list(itertools.takewhile(lambda answer: answer is not None, found))

    def mask(self, number):
        return self.case.masks[number]


class Faiss(Peer):
    effort_name = "nprobe"

    def __init__(self, case, config):
        super().__init__(case, config)
        import faiss
        self.faiss = faiss
        self.version = f"{version_of('faiss-cpu', 'faiss')}, {faiss.get_compile_options().strip()}"
        self.efforts = steps(1, int(re.search(r"IVF(\d+)", config["factory"]).group(1)), 1.1)

    def build(self):
        kind = self.faiss.METRIC_L2 if self.case.metric == "l2" else self.faiss.METRIC_INNER_PRODUCT
        self.faiss.omp_set_num_threads(self.case.threads)
        self.index = self.faiss.index_factory(self.case.d, self.config["factory"], kind)
        self.index.train(self.case.base)
        self.index.add(self.case.base)

    def start(self, numbers):
        self.faiss.omp_set_num_threads(1)       # of each search; the threads are the caller's
        self.bits = {n: np.array(self.mask(n)) for n in numbers}
        self.selectors = {n: self.faiss.IDSelectorBitmap(bits) for n, bits in self.bits.items()}
        self.set(None, self.efforts[0])

    def set(self, variant, effort):
        self.parameters = {n: self.faiss.SearchParametersIVF(sel=s, nprobe=effort) for n, s in self.selectors.items()}

    def one(self, number):
        return self.index.search(self.case.queries[number:number + 1], self.case.k,
                                 params=self.parameters[number])[1][0]

    def save(self, where):
        self.faiss.write_index(self.index, str(where / "index"))
        return where / "index"


class Hnswlib(Peer):
    def __init__(self, case, config):
        super().__init__(case, config)
        import hnswlib
        self.hnswlib = hnswlib
        self.version = version_of("hnswlib")
        self.efforts = steps(case.k, min(case.n, 20000), 1.2)

    def build(self):
        self.index = self.hnswlib.Index("l2" if self.case.metric == "l2" else "ip", self.case.d)
        self.index.init_index(self.case.n, M=16, ef_construction=200)
        self.index.add_items(self.case.base, num_threads=self.case.threads)

    def set(self, variant, effort):
        self.index.set_ef(effort)

    def one(self, number):
        passes = np.unpackbits(self.mask(number), bitorder="little").tobytes().__getitem__
        k = min(self.case.k, int(self.case.matches[number]))
        try:
            return self.index.knn_query(self.case.queries[number], k, num_threads=1, filter=passes)[0][0] if k else []
        except RuntimeError:        # it found fewer than k, and then gives none
            return []

    def save(self, where):
        self.index.save_index(str(where / "index"))
        return where / "index"


class HnswlibNative(Hnswlib):
    """The same graph, searched by hnswlib's C++ with a filter in C++."""

    def __init__(self, case, config):
        super().__init__(case, config)
        library = Path(case.scratch) / "hnsw_filter.so"
        subprocess.run(["c++", "-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-pthread", "-I",
                        config["source"], "-o", library, Path(__file__).with_name("hnsw_filter.cpp")], check=True)
        self.native = ctypes.CDLL(str(library))
        self.native.hnsw_filter_load.restype = ctypes.c_void_p
        self.native.hnsw_filter_search.restype = ctypes.c_size_t
        self.version += ", its headers compiled here"

    def build(self):
        super().build()
        path = Path(self.case.scratch) / "graph"
        self.index.save_index(str(path))
        self.loaded = ctypes.c_void_p(self.native.hnsw_filter_load(
            str(path).encode(), ctypes.c_size_t(self.case.d), int(self.case.metric == "l2")))
        path.unlink()

    def set(self, variant, effort):
        self.effort = effort

    def answer(self, numbers, seconds):
        case, size = self.case, ctypes.c_size_t
        queries, bits = np.ascontiguousarray(case.queries[numbers]), np.ascontiguousarray(case.masks[numbers])
        ids = np.empty((len(numbers), case.k), np.int64)
        queries_at, bits_at, ids_at = (ctypes.c_void_p(array.ctypes.data) for array in (queries, bits, ids))
        begin = time.perf_counter()
        n = self.native.hnsw_filter_search(self.loaded, size(self.effort), queries_at, size(len(numbers)),
                                           size(case.k), bits_at, size(bits.shape[1]), case.threads,
                                           ctypes.c_double(seconds), ids_at)
        return time.perf_counter() - begin, list(ids[:n])


class Qdrant(Peer):
    effort_name = "hnsw_ef"

    def __init__(self, case, config):
        super().__init__(case, config)
        import qdrant_edge
        self.qe = qdrant_edge
        self.version = version_of("qdrant-edge-py")
        self.efforts = steps(case.k, 5000, 1.2)
        self.requests = {}

    def payload(self, attributes, i):
        names, lists, tags = attributes
        found = {name: values[i] for name, values in zip(names, lists) if values[i] is not None}
        if tags:
            found["tags"] = tags[i]
        return found

    def build(self):
        qe, case = self.qe, self.case
        where = Path(case.scratch) / "shard"
        shutil.rmtree(where, ignore_errors=True)
        where.mkdir()
        graph = qe.HnswIndexConfig(m=16, ef_construct=200, full_scan_threshold=10000,
                                   max_indexing_threads=case.threads)
        kind = qe.Distance.Euclid if case.metric == "l2" else qe.Distance.Cosine
        self.index = qe.EdgeShard.create(str(where), qe.EdgeConfig(
            vectors=qe.EdgeVectorParams(size=case.d, distance=kind), hnsw_config=graph,
            max_search_threads=case.threads))
        names, lists, tags = attributes = case.attributes()
        for name, values in zip(names, lists):
            some = next((v for v in values if v is not None), "")
            kind = (qe.PayloadSchemaType.Integer if isinstance(some, int) else qe.PayloadSchemaType.Float
                    if isinstance(some, float) else qe.KeywordIndexParams(prefix=True))
            self.index.update(qe.UpdateOperation.create_field_index(name, kind))
        if tags:
            kind = qe.PayloadSchemaType.Integer if isinstance(next(t for t in tags if t)[0], int) \
                else qe.PayloadSchemaType.Keyword
            self.index.update(qe.UpdateOperation.create_field_index("tags", kind))
        for at in range(0, case.n, 5000):
            rows = case.base[at:at + 5000].tolist()
            self.index.update(qe.UpdateOperation.upsert_points(
                [qe.Point(at + i, row, self.payload(attributes, at + i)) for i, row in enumerate(rows)]))
        self.index.optimize()
        self.index.flush()
        self.where = where

    def start(self, numbers):
        self.filters = {n: qdrant_filter(self.qe, Parser(self.case.filters[n]["where"]).any()) for n in numbers}

    def set(self, variant, effort):
        qe = self.qe
        acorn = qe.AcornSearchParams(enable=True) if self.config["acorn"] else None
        parameters = qe.SearchParams(hnsw_ef=effort, acorn=acorn)
        self.requests = {n: qe.SearchRequest(qe.Query.Nearest(self.case.queries[n].tolist()), self.case.k,
                                             filter=f, params=parameters, with_payload=False, with_vector=False)
                         for n, f in self.filters.items()}

    def one(self, number):
        return [point.id for point in self.index.search(self.requests[number])]

    def save(self, where):
        return self.where


class Lancedb(Peer):
    effort_name = "nprobes"
    variants = [5, 20]

    def __init__(self, case, config):
        super().__init__(case, config)
        import lancedb
        self.lancedb = lancedb
        self.version = version_of("lancedb")
        self.lists = max(1, round(2 * case.n ** 0.5))
        self.efforts = steps(1, self.lists, 1.2)

    def describe(self, variant, effort):
        return f"nprobes={effort}, refine_factor={variant}"

    def build(self):
        import pyarrow as pa
        case = self.case
        where = Path(case.scratch) / "lance"
        shutil.rmtree(where, ignore_errors=True)
        names, lists, tags = case.attributes()
        columns = {"id": pa.array(range(case.n), pa.int64()),
                   "vector": pa.FixedSizeListArray.from_arrays(pa.array(case.base.reshape(-1)), case.d)}
        columns |= {name: pa.array(values) for name, values in zip(names, lists)}
        if tags:
            columns["tags"] = pa.array(tags)
        self.index = self.lancedb.connect(str(where)).create_table("t", pa.table(columns))
        parts = next(m for m in (case.d // 2, case.d // 4, 16, 8, 4, 2, 1) if case.d % m == 0)
        self.index.create_index(metric=case.metric, vector_column_name="vector", index_type="IVF_PQ",
                                num_partitions=self.lists, num_sub_vectors=parts)
        for name in names:
            self.index.create_scalar_index(name, index_type="BTREE")
        if tags:
            self.index.create_scalar_index("tags", index_type="LABEL_LIST")
        self.where = where

    def start(self, numbers):
        self.conditions = {n: re.sub(r"tags HAS ('[^']*'|\d+)", r"array_has(tags, \1)", self.case.filters[n]["where"])
                           for n in numbers}

    def set(self, variant, effort):
        self.refine, self.effort = variant, effort

    def one(self, number):
        search = self.index.search(self.case.queries[number]).where(self.conditions[number], prefilter=True)
        search = search.distance_type(self.case.metric).nprobes(self.effort).refine_factor(self.refine)
        return search.limit(self.case.k).select(["id"]).to_arrow()["id"].to_numpy()

    def save(self, where):
        return self.where


class Omendb(compare.Omendb):
    def __init__(self, case, config):
        super().__init__(case, config)
        self.efforts = [case.target] + [e for e in (0.96, 0.97, 0.98, 0.99, 0.995) if e > case.target]

    def start(self, numbers):
        """Nothing: the files of a family are those of the queries that are asked."""

    def answer(self, numbers, seconds):
        case, where = self.case, self.where
        queries, text, truth = where / "family.npy", where / "family.txt", where / "family.ivecs"
        np.save(queries, case.queries[numbers])
        text.write_text("".join(case.filters[n]["where"] + "\n" for n in numbers))
        compare.write_truth(truth, case.truth[numbers])
        took, _, found = self.batch_file(queries, case.threads, len(numbers), "--where-file", text)
        self.process_qps = len(numbers) / took
        if not case.matches[numbers].any():     # bench has no recall to measure
            return took, list(found)
        _, out, _ = self.run("bench", "-q", "--json", "--queries", queries, "--where-file", text, "--truth", truth,
                             "-k", case.k, "-t", case.threads, "--recall", self.effort, "--runs", 1, "--min-time", 0,
                             self.index)
        return len(numbers) / json.loads(out)["points"][0]["batch"]["median"], list(found)


KINDS = {"omendb": Omendb, "faiss": Faiss, "hnswlib": Hnswlib, "hnswlib-native": HnswlibNative,
         "qdrant": Qdrant, "lancedb": Lancedb}


def configurations(args, n):
    lists = max(1, round(2 * n ** 0.5))
    factories = [f"IVF{lists},Flat", *args.faiss]
    return {"omendb": [("omendb", "omendb", {"binary": args.omendb})],
            "faiss": [(f"faiss {f}, IDSelectorBitmap", "faiss", {"factory": f}) for f in factories],
            "hnswlib": [("hnswlib M16 efc200, filter in C++", "hnswlib-native", {"source": args.hnswlib_source})
                        if args.hnswlib_source else ("hnswlib M16 efc200, filter in Python", "hnswlib", {})],
            "qdrant": [("qdrant-edge m16 efc200", "qdrant", {"acorn": False}),
                       ("qdrant-edge m16 efc200, ACORN", "qdrant", {"acorn": True})],
            "lancedb": [(f"lancedb IVF{lists}_PQ, prefilter", "lancedb", {})]}


# ---- cases ----

def typed(values):
    """The fields of a column as numbers if all that are there are such, None where there is nothing."""
    for kind, form in ((int, r"-?\d+"), (float, r"-?\d+(\.\d+)?")):
        if all(re.fullmatch(form, v) for v in values if v):
            return [kind(v) if v else None for v in values]
    return [v or None for v in values]


def attributes_of(folder, name):
    """Names of the columns of a test set, their values, and the tags of the rows or None."""
    if name == "sift":
        head = np.fromfile(f"{folder}/tags.spmat", np.int64, 3)
        first = np.fromfile(f"{folder}/tags.spmat", np.int64, head[0] + 1, offset=24)
        entries = np.fromfile(f"{folder}/tags.spmat", np.int32, head[2], offset=24 + 8 * (head[0] + 1)).tolist()
        names = ["ts", "price", "cell"]
        return names, [np.load(f"{folder}/{n}.npy").tolist() for n in names], \
            [entries[a:b] for a, b in zip(first[:-1], first[1:])]
    names, rows = conditions.read_columns(f"{folder}/columns.tsv")
    tags = None
    if name == "debian":
        tags = [line.split() for line in Path(f"{folder}/tags.txt").read_text().splitlines()]
    return names, [typed(column) for column in zip(*rows)], tags


def cells_of(base):
    """Of each row the nearest of 256 centroids, by three rounds of k-means on some rows."""
    random = np.random.default_rng(SEED)
    some = np.array(base[np.sort(random.choice(len(base), min(len(base), 20000), replace=False))], np.float32)
    centres = some[random.choice(len(some), N_CELLS, replace=len(some) < N_CELLS)]

    def nearest(rows):
        return ((centres ** 2).sum(1) - 2 * rows @ centres.T).argmin(1)

    for _ in range(3):
        own = nearest(some)
        centres = np.stack([some[own == c].mean(0) if (own == c).any() else centres[c] for c in range(N_CELLS)])
    cells = np.concatenate([nearest(np.asarray(base[at:at + 65536], np.float32)) for at in range(0, len(base), 65536)])
    return cells.astype(np.int64), centres


def random_case(args, where, base, queries):
    """The rows of a base with a random order and their cell as columns; filters of every family."""
    base = compare.read_vectors(base, args.rows)
    queries = np.array(compare.read_vectors(queries), np.float32)
    random = np.random.default_rng(SEED)
    n, filters = len(base), []
    order, (cells, centres) = random.permutation(n), cells_of(base)
    chosen = np.resize(np.arange(len(queries)), args.queries)
    for share in SHARES:
        width = max(1, round(share * n))
        for low in random.integers(0, n - width + 1, args.queries):
            filters.append({"family": f"random {100 * share:g}%", "where": f"r >= {low} AND r < {low + width}"})
    far = ((queries[chosen, None] - centres[None]) ** 2).sum(2).argsort(1) if args.queries else []
    for family, count in FAR.items():
        for row in far:
            listed = ", ".join(map(str, sorted(row[-count:])))
            filters.append({"family": family, "where": f"cell IN ({listed})"})
    np.save(where / "r.npy", order)
    np.save(where / "cell.npy", cells)
    options = ["--column", f"r={where}/r.npy", "--column", f"cell={where}/cell.npy"]
    columns = {"r": order, "cell": cells}

    def select(text):
        numbers = list(map(int, re.findall(r"\d+", text)))
        if text.startswith("r "):
            return np.flatnonzero((order >= numbers[0]) & (order < numbers[1]))
        return np.flatnonzero(np.isin(cells, numbers))

    return base, np.concatenate([queries[chosen]] * (len(SHARES) + len(FAR))), filters, select, options, \
        (list(columns), [c.tolist() for c in columns.values()], None)


def set_case(args, name, base, queries, folder):
    base, queries, filters, select = conditions.load(name, base, queries, folder)
    options = {"sift": [o for c in ("ts", "price", "cell") for o in ("--column", f"{c}={folder}/{c}.npy")]
               + ["--tags", f"{folder}/tags.spmat"],
               "fashion": ["--columns", f"{folder}/columns.tsv"],
               "debian": ["--columns", f"{folder}/columns.tsv", "--tags", f"{folder}/tags.txt"]}[name]
    kept, taken = [], {}
    for i, f in enumerate(filters):     # the first of each family
        taken[f["family"]] = taken.get(f["family"], 0) + 1
        if taken[f["family"]] <= args.queries:
            kept.append(i)
    return base, queries[kept], [filters[i] for i in kept], select.select, options, attributes_of(folder, name)


def prepare(args, scratch, name, *files):
    """Writes what all engines work on; returns the common part of their specifications."""
    make = random_case(args, scratch, *files) if name == "random" else set_case(args, name, *files)
    base, queries, filters, select, options, attributes = make
    metric = "cosine" if name == "debian" else "l2"
    base_file = compare.write_vectors(scratch / "rows", np.asarray(base))
    base, queries = (compare.as_float(v, metric == "cosine") for v in (base, queries))
    n = len(base)
    say(f"{name}: the rows that pass {len(filters):,} filters, and the true neighbours")
    masks = np.lib.format.open_memmap(scratch / "masks.npy", "w+", np.uint8, (len(filters), -(-n // 8)))
    matches, known = np.zeros(len(filters), np.int64), {}
    for i, f in enumerate(filters):
        if f["where"] not in known:
            mask = np.zeros(n, bool)
            mask[select(f["where"])] = True
            known = {f["where"]: (np.packbits(mask, bitorder="little"), mask.sum())}
        masks[i], matches[i] = known[f["where"]]
        if int(f.get("matches", matches[i])) != matches[i]:
            raise SystemExit(f"{name}, filter {i}: {matches[i]} rows pass, not {f['matches']} as the set has it")
    masks.flush()

    def passes(q, q_end, at, end):      # blocks of rows begin at multiples of 8
        bits = np.unpackbits(masks[q:q_end, at // 8:-(-end // 8)], axis=1, bitorder="little")
        return bits[:, :end - at].astype(bool)

    truth = compare.nearest(base, queries, args.k, passes)
    np.save(scratch / "base.npy", base)
    np.save(scratch / "queries.npy", queries)
    np.save(scratch / "matches.npy", matches)
    np.save(scratch / "truth.npy", truth)
    distances = compare.exact(base, queries, truth)
    np.save(scratch / "limit.npy", np.where(np.isinf(distances), -np.inf, distances).max(1))
    (scratch / "filters.json").write_text(json.dumps(filters))
    (scratch / "attributes.json").write_text(json.dumps(attributes))
    return {"data": str(scratch), "base_file": str(base_file), "options": options, "metric": metric, "k": args.k,
            "threads": args.threads, "runs": args.runs, "seconds": args.seconds, "target": args.recall,
            "tune": args.tune, "build_runs": 1}, n, base.shape[1], len(filters)


class Case:
    def __init__(self, spec):
        self.__dict__.update(spec)
        where = Path(spec["data"])
        self.base = np.load(where / "base.npy")
        self.queries = np.load(where / "queries.npy")
        self.masks = np.load(where / "masks.npy", mmap_mode="r")
        self.matches, self.limit = np.load(where / "matches.npy"), np.load(where / "limit.npy")
        self.truth = np.load(where / "truth.npy")
        self.filters = json.loads((where / "filters.json").read_text())
        self.n, self.d = self.base.shape

    def attributes(self):
        return json.loads((Path(self.data) / "attributes.json").read_text())

    def families(self):
        found = {}
        for i, f in enumerate(self.filters):
            found.setdefault(f["family"], []).append(i)
        return found

    def judge(self, numbers, found):
        """Recall by distance, and how many answers are short and rows wrong, of the queries that were answered."""
        near = wanted = short = wrong = 0
        ids = np.full((len(found), self.k), -1, np.int64)
        for i, row in enumerate(found):
            row = list(dict.fromkeys(int(r) for r in row if 0 <= int(r) < self.n))[:self.k]
            mask = self.masks[numbers[i]]
            passing = [r for r in row if mask[r // 8] >> r % 8 & 1]
            wrong += len(row) - len(passing)
            ids[i, :len(passing)] = passing
            short += len(row) < min(self.k, self.matches[numbers[i]])
        if len(found) == 0:
            return {"recall": None, "short": 0, "wrong": 0}
        numbers = np.asarray(numbers[:len(found)])
        distance, limit = compare.exact(self.base, self.queries[numbers], ids), self.limit[numbers]
        some = limit >= 0
        if some.any():
            value, limit = (np.sqrt(distance[some]), np.sqrt(limit[some])) if self.metric == "l2" \
                else (distance[some] / 2, limit[some] / 2)
            near = (value <= limit[:, None] + EPSILON).sum(1)
            wanted = np.minimum(self.k, self.matches[numbers][some])
            near = float((np.minimum(near, wanted) / wanted).mean())
        return {"recall": near if some.any() else None, "short": int(short), "wrong": int(wrong)}


# ---- one engine, in a process of its own ----

class Measurement:
    def __init__(self, spec):
        self.out = Path(spec["report"])
        self.report = {"name": spec["name"], "engine": spec["engine"], "status": "started", "families": {}}
        if spec["kind"] == "omendb":
            spec["config"]["options"] = spec["options"]
        self.case = Case(spec)
        self.engine = KINDS[spec["kind"]](self.case, spec["config"])
        self.report["version"] = self.engine.version

    def write(self, status):
        self.report["status"] = status
        write_text(self.out, json.dumps(self.report))

    def probe(self, variant, effort, numbers):
        self.engine.set(variant, effort)
        took, found = self.engine.answer(numbers, self.case.seconds)
        process = {"process_qps": self.engine.process_qps} if hasattr(self.engine, "process_qps") else {}
        return {"variant": variant, "effort": effort, "setting": self.engine.describe(variant, effort),
                "qps": len(found) / took, "answered": len(found), **process, **self.case.judge(numbers, found)}

    def reaches(self, point):
        return point["recall"] is None or point["recall"] >= self.case.target

    def least_effort(self, variant, numbers):
        """The place of the least effort that reaches the recall on these queries, and what was measured of it."""
        efforts, tried = self.engine.efforts, {}

        def at(i):
            if i not in tried:
                tried[i] = self.probe(variant, efforts[i], numbers)
            return tried[i]

        low, high, stride = -1, 0, 1
        while not self.reaches(at(high)) and high < len(efforts) - 1:
            low, high, stride = high, min(len(efforts) - 1, high + stride), 2 * stride
        while high - low > 1 and self.reaches(at(high)):
            middle = (low + high) // 2
            low, high = (low, middle) if self.reaches(at(middle)) else (middle, high)
        return high, at(high)

    def timed(self, point, numbers):
        runs = [self.probe(point["variant"], point["effort"], numbers) for _ in range(self.case.runs)]
        rates = [run["qps"] for run in runs]
        return dict(runs[0], qps=statistics.median(rates), qps_min=min(rates), qps_max=max(rates), runs=len(runs))

    def measure(self, numbers):
        engine, best = self.engine, None
        engine.start(numbers)
        for variant in engine.variants:
            place, point = self.least_effort(variant, numbers[:self.case.tune])
            if best is None or (self.reaches(point), point["qps"]) > (self.reaches(best[1]), best[1]["qps"]):
                best = place, point
        place, point = best
        point = self.timed(point, numbers)
        for _ in range(8):
            if self.reaches(point) or place == len(engine.efforts) - 1:
                break
            place += 1
            point = self.timed(dict(point, effort=engine.efforts[place]), numbers)
        return point

    def run(self):
        start = time.monotonic()
        took = self.engine.build()
        self.report["build_seconds"] = took or time.monotonic() - start
        where = Path(self.case.scratch) / "saved"
        where.mkdir()
        self.report["index_bytes"] = compare.tree_size(self.engine.save(where))
        for family, numbers in self.case.families().items():
            self.write(f"measuring {family}")
            try:
                point = self.measure(numbers)
            except Unable as error:
                point = {"unable": str(error)[:200]}
            point.update(queries=len(numbers), matches=float(np.median(self.case.matches[numbers])))
            self.report["families"][family] = point
        self.write("ok")


def child(spec_file):
    spec = json.loads(Path(spec_file).read_text())
    try:
        measurement = Measurement(spec)
    except ImportError as error:
        write_text(Path(spec["report"]), json.dumps({"name": spec["name"], "engine": spec["engine"], "families": {},
                                                     "status": "not installed", "reason": str(error)}))
        return
    try:
        measurement.run()
    except Exception as error:
        measurement.report["reason"] = f"{type(error).__name__}: {error}"[:400]
        measurement.write("failed after: " + measurement.report["status"])
        raise


# ---- tables ----

def rows_of(result, case):
    for family in dict.fromkeys(f for e in case["engines"] for f in e["families"]):
        points = [(e["name"], e["families"][family]) for e in case["engines"] if family in e["families"]]
        rates = [p["qps"] for _, p in points if "qps" in p and (p["recall"] or 1) >= result["header"]["recall"]]
        for name, p in points:
            row = {"family": family, "pass": p["matches"] / case["n"] * 100, "name": name}
            if "unable" in p:
                yield dict(row, setting=f"cannot: {p['unable']}")
                continue
            reached = p["recall"] is None or p["recall"] >= result["header"]["recall"]
            recall = "-" if p["recall"] is None else f"{p['recall']:.4f}" if reached else f"({p['recall']:.4f})"
            rate = f"{p['qps']:,.0f}"
            yield dict(row, setting=p["setting"], recall=recall, short=p["short"], wrong=p["wrong"],
                       rate=f"**{rate}**" if reached and rates and p["qps"] == max(rates) else rate,
                       answered=f"{p['answered']:,} of {p['queries']:,}")


def render(result):
    info, lines = result["header"], []
    for case in result["cases"]:
        lines += ["", f"### {case['name']}: {case['n']:,} x {case['d']}, {case['metric']}, k {info['k']}", "",
                  f"{case['queries']:,} queries with a filter each; {info['threads']} threads; recall asked for "
                  f"{info['recall']:g}; {info['cpu']}.", ""]
        if info["quick"]:
            lines += ["A trial: these figures mean nothing.", ""]
        columns = [("rows that pass", "family", "{}", None), ("%", "pass", "{:.3g}", None)]
        columns += [(title, key, "{}", None) for title, key in (
            ("index", "name"), ("setting", "setting"), ("recall", "recall"), ("q/s", "rate"), ("short", "short"),
            ("wrong", "wrong"), ("answered", "answered"))]
        lines += [table(columns, list(rows_of(result, case))), ""]
        for e in case["engines"]:
            busy = e.get("idle_before") is not None and e["idle_before"] < 0.98
            lines.append(f"- {e['name']}: {e.get('version') or e['engine']}; {e['status']}"
                         + (f" ({e['reason']})" if e.get("reason") else "")
                         + (f"; built in {e['build_seconds']:.0f} s, {e['index_bytes'] / case['n']:.0f} bytes a vector"
                            if "index_bytes" in e else "")
                         + ("; the machine was not idle before it: its figures understate it" if busy else ""))
    return "\n".join(lines).lstrip("\n") + "\n"


# ---- the whole ----

def options():
    parser = argparse.ArgumentParser(description="Measures omendb's filtered queries beside other vector indexes.",
                                     epilog="What the figures mean stands at the top of this file.")
    add = parser.add_argument
    add("cases", nargs="*", help="random,BASE,QUERIES, or sift, fashion or debian,BASE,QUERIES,SET")
    add("--omendb", default="build/cmd/omendb", help="the program (default: %(default)s)")
    add("--peers", default=",".join(ENGINES), help="engines to measure, comma-separated (default: %(default)s)")
    add("--faiss", action="append", default=[], metavar="FACTORY", help="one more faiss index to measure")
    add("--hnswlib-source", metavar="DIR", help="folder that has hnswlib/hnswlib.h: search by C++ instead of Python")
    add("--recall", type=float, default=0.95, help="recall to reach (default: %(default)s)")
    add("--queries", type=int, default=1000, help="queries of each family, at most (default: %(default)s)")
    add("--tune", type=int, default=200, help="of these the queries that efforts are sought with (default: 200)")
    add("--rows", type=int, help="of random: use the first N rows of the base")
    add("-k", type=int, default=10)
    add("--threads", type=int, default=2, help="(default: 2)")
    add("--runs", type=int, default=3, help="runs of each figure (default: 3)")
    add("--seconds", type=float, default=10, help="most seconds of a run (default: 10)")
    add("--quick", action="store_true", help="a trial: one short run of everything")
    add("--timeout", type=float, default=7200, help="seconds an engine may take for a case (default: 7200)")
    add("--tmp", help="directory for temporary files (some 5 times the float32 rows, and n / 8 bytes a query)")
    add("--out", help="write all results there as JSON")
    add("--table", help="write the markdown there too")
    add("--render", metavar="JSON", help="print the tables of earlier results and exit")
    add("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure_case(args, case, scratch, result):
    common, n, d, n_queries = prepare(args, scratch, *case.split(","))
    found = {"name": case.split(",")[0], "n": n, "d": d, "metric": common["metric"], "queries": n_queries,
             "engines": []}
    result["cases"].append(found)
    for engine in args.peers.split(","):
        if engine == "omendb" and not os.access(args.omendb, os.X_OK):
            found["engines"].append({"name": engine, "engine": engine, "status": "not installed", "families": {},
                                     "reason": f"no program {args.omendb}"})
            continue
        for name, kind, config in configurations(args, n)[engine]:
            report = compare.measure(args, dict(common, name=name, engine=engine, kind=kind, config=config), scratch,
                                     __file__)
            report.setdefault("families", {})
            found["engines"].append(report)
            if args.out:
                write_text(args.out, json.dumps(result, indent=1) + "\n")
            if report["status"] == "not installed":
                break


def main():
    args = options()
    if args.child:
        return child(args.child)
    if args.render:
        print(render(json.loads(Path(args.render).read_text())), end="")
        return None
    unknown = [e for e in args.peers.split(",") if e not in ENGINES]
    if not args.cases or unknown:
        raise SystemExit(f"compare_filtered.py: unknown engine {unknown[0]}; known: {', '.join(ENGINES)}" if unknown
                         else "compare_filtered.py: no case; see --help")
    if args.quick:
        args.runs, args.seconds, args.queries, args.tune = 1, 1, min(args.queries, 50), 50
    if shutil.which(args.omendb):
        args.omendb = str(Path(shutil.which(args.omendb)).resolve())
    result = {"version": 1, "header": {
        "k": args.k, "threads": args.threads, "recall": args.recall, "runs": args.runs, "seconds": args.seconds,
        "quick": args.quick, "cpu": compare.cpu_model(), "flags": compare.cpu_flags(), "processors": os.cpu_count(),
        "python": platform.python_version(), "numpy": np.__version__}, "cases": []}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for case in args.cases:
        scratch = Path(tempfile.mkdtemp(prefix="filtered.", dir=args.tmp))
        try:
            measure_case(args, case, scratch, result)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    text = render(result)
    if args.table:
        write_text(args.table, text)
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
