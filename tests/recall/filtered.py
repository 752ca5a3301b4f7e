#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Recall under filters, of every family of the filtered test sets.

filtered.py --library PATH [--recall R] [--floor F] [--batch N] [--exact] NAME,INDEX,BASE,QUERIES,SET...

NAME is sift, fashion or debian, INDEX an index of its rows in BASE, SET the folder of its filters.tsv, columns and
truth, and QUERIES its queries (for debian the folder that holds both files). Conditions are evaluated by numpy and
SQLite, so only the search is omendb's. Recall counts rows as near as the last true one, of min(k, matches). Prints a
Markdown table; fails where a family is under the floor, a row does not pass its filter, or a query finds too few.
"""
import argparse
import sys
import time
from ctypes import (CDLL, Structure, byref, c_bool, c_float, c_int, c_int64, c_size_t,
                    c_uint32, c_uint64, c_void_p, cast, create_string_buffer, sizeof)

import numpy as np

from conditions import Arrays, Table, filters_of

K = 10


class SearchOptions(Structure):
    _fields_ = [("struct_bytes", c_size_t), ("k", c_uint32), ("recall", c_float), ("probes", c_uint32),
                ("rerank", c_uint32), ("exact", c_bool), ("zero_ok", c_bool), ("first_query", c_uint64),
                ("refine_cold", c_bool), ("n_threads", c_int), ("progress", c_void_p), ("progress_context", c_void_p),
                ("effort_factor", c_float), ("row_sets", c_void_p)]


class SearchStats(Structure):
    _fields_ = [("struct_bytes", c_size_t), ("n_queries", c_uint64), ("lists_probed", c_uint64),
                ("codes_scanned", c_uint64), ("rows_reranked", c_uint64), ("probes", c_uint32), ("rerank", c_uint32)]


class Index:
    def __init__(self, library, path):
        self.omen, self.why = CDLL(library), create_string_buffer(512)
        self.container, self.index = c_void_p(), c_void_p()
        self.check(self.omen.omen_container_open(byref(self.container), path.encode(), self.why))
        self.check(self.omen.omen_container_open_index(byref(self.container), byref(self.index), path.encode(),
                                                       c_uint64(2**40), True, self.why))

    def check(self, code):
        if code:
            sys.exit(f"error {code}: {self.why.value.decode()}")

    def row_set(self, rows):
        rows, out = np.ascontiguousarray(rows, np.int64), c_void_p()
        self.check(self.omen.omen_row_set_create(self.index, rows.ctypes.data_as(c_void_p), c_uint64(len(rows)), False,
                                                 byref(out), self.why))
        return out.value

    def search(self, queries, sets, recall, exact):
        queries = np.ascontiguousarray(queries, np.float32)
        pointers = (c_void_p * len(sets))(*sets)
        options, stats = SearchOptions(sizeof(SearchOptions)), SearchStats(sizeof(SearchStats))
        options.k, options.exact, options.n_threads = K, exact, 2
        options.recall = 0 if exact else recall
        options.row_sets = cast(pointers, c_void_p)
        ids = np.empty((len(queries), K), np.int64)
        began = time.process_time()
        self.check(self.omen.omen_index_search(self.index, byref(options), queries.ctypes.data_as(c_void_p),
                                               c_uint64(len(queries)), ids.ctypes.data_as(c_void_p),
                                               None, byref(stats), self.why))
        return ids, stats, time.process_time() - began


def load(name, base, queries, folder):
    """Rows, queries of the filters, filters, and what selects rows."""
    filters = filters_of(f"{folder}/filters.tsv")
    numbers = np.array([int(f["query"]) for f in filters])
    if name == "sift":
        columns = {c: np.load(f"{folder}/{c}.npy") for c in ("ts", "price", "cell")}
        table = Arrays(f"{folder}/tags.spmat", **columns)
        base, queries = (np.fromfile(path, np.uint8).reshape(-1, 132)[:, 4:] for path in (base, queries))
    elif name == "fashion":
        table = Table(f"{folder}/columns.tsv")
        base, queries = (np.fromfile(path, np.uint8)[16:].reshape(-1, 784) for path in (base, queries))
    else:
        table = Table(f"{folder}/columns.tsv", f"{folder}/tags.txt")
        numbers += np.array([1500 * (f["file"] == "queries_ood.npy") for f in filters])
        queries = np.concatenate([np.load(f"{queries}/queries_{kind}.npy") for kind in ("id", "ood")])
        base = np.load(base)
    return base, queries[numbers].astype(np.float32), filters, table


def distances_of(name, base, ids, query):
    """True distances, as the truth has them."""
    rows, query = base[ids].astype(np.float64), query.astype(np.float64)
    if name == "debian":
        return 1 - rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)
    return ((rows - query) ** 2).sum(axis=1)


def measure(arguments, name, index_path, *files):
    index = Index(arguments.library, index_path)
    base, queries, filters, table = load(name, *files)
    truth = np.load(f"{files[-1]}/truth_distances.npy")
    families = {}
    for first in range(0, len(filters), arguments.batch):
        batch = filters[first:first + arguments.batch]
        rows = [table.select(f["where"]) for f in batch]
        sets = [index.row_set(r) for r in rows]
        ids, stats, seconds = index.search(queries[first:first + len(batch)], sets, arguments.recall,
                                                      arguments.exact)
        for i, f in enumerate(batch):
            want = min(K, len(rows[i]))
            assert len(rows[i]) == int(f["matches"]), f
            found = ids[i][ids[i] >= 0]
            assert len(found) == want == len(set(found)) and np.isin(found, rows[i]).all(), (f, ids[i])
            if want:
                true = distances_of(name, base, found, queries[first + i])
                families.setdefault(f["family"], []).append((true <= truth[first + i][want - 1] * (1 + 1e-6)).mean())
        for s in sets:
            index.omen.omen_row_set_destroy(c_void_p(s))
        print(f"# {name} {first}: {seconds:.3f} s of processors, lists {stats.lists_probed / len(batch):.0f}, "
              f"codes {stats.codes_scanned / len(batch):.0f}, rows {stats.rows_reranked / len(batch):.0f}",
              file=sys.stderr)
    return families


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", required=True)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--floor", type=float, default=0.945)
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("sets", nargs="+")
    arguments = parser.parse_args()
    failed = False
    print("| set | family | queries | recall@10 |\n|---|---|---:|---:|")
    for one in arguments.sets:
        name, *rest = one.split(",")
        for family, recalls in sorted(measure(arguments, name, *rest).items()):
            mean = float(np.mean(recalls))
            failed |= mean < arguments.floor
            print(f"| {name} | {family} | {len(recalls)} | {mean:.4f} |{' **' if mean < arguments.floor else ''}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
