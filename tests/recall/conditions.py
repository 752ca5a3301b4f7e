# SPDX-License-Identifier: Apache-2.0
"""The rows that a condition of the filtered test sets selects, evaluated by numpy and SQLite and not by omendb."""
import re
import sqlite3

import numpy as np


def read_columns(path):
    with open(path, encoding="utf-8", newline="") as file:
        header, *lines = file.read().split("\n")[:-1]
    return header.split("\t"), [line.split("\t") for line in lines]


class Table:
    """Columns of a TSV file, and tags, in SQLite: null where a field is empty."""

    def __init__(self, columns, tags=None):
        names, rows = read_columns(columns)
        if tags:
            names = names + ["all_tags"]
            with open(tags, encoding="utf-8") as file:
                rows = [row + [f" {' '.join(line.split())} "] for row, line in zip(rows, file, strict=True)]
        self.db = sqlite3.connect(":memory:")
        columns = ", ".join(f"{name} {self.affinity(rows, i)}" for i, name in enumerate(names))
        self.db.execute(f"CREATE TABLE t ({columns})")
        places = ",".join("?" * len(names))
        self.db.executemany(f"INSERT INTO t VALUES ({places})", ([field or None for field in row] for row in rows))

    @staticmethod
    def affinity(rows, i):
        number = re.compile(r"-?\d+(\.\d+)?$")
        return "NUMERIC" if all(number.match(row[i]) for row in rows if row[i]) else "TEXT"

    def select(self, condition):
        condition = re.sub(r"tags HAS '([^']*)'", r"instr(all_tags, ' \1 ') > 0", condition)
        selected = self.db.execute(f"SELECT rowid - 1 FROM t WHERE {condition}")
        return np.array([row for (row,) in selected], dtype=np.int64)


class Arrays:
    """Columns in numpy, without nulls, and tags as a sparse matrix (spmat)."""

    def __init__(self, tags, **columns):
        self.columns = columns
        raw = np.fromfile(tags, dtype=np.int64, count=3)
        self.n_rows, n_tags, n_entries = map(int, raw)
        first = np.fromfile(tags, dtype=np.int64, count=self.n_rows + 1, offset=24)
        entries = np.fromfile(tags, dtype=np.int32, count=n_entries, offset=24 + 8 * (self.n_rows + 1))
        row_of = np.repeat(np.arange(self.n_rows), np.diff(first))
        order = np.argsort(entries, kind="stable")
        self.rows = row_of[order]
        self.first = np.searchsorted(entries[order], np.arange(n_tags + 1))

    def has(self, tag):
        mask = np.zeros(self.n_rows, dtype=bool)
        mask[self.rows[self.first[tag]:self.first[tag + 1]]] = True
        return mask

    def select(self, condition):
        for pattern, python in (
            (r"tags HAS (\d+)", r"has(\1)"),
            (r"(\w+) BETWEEN (\d+) AND (\d+)", r"((\1 >= \2) & (\1 <= \3))"),
            (r"(\w+) IN \(([^)]*)\)", r"isin(\1, [\2])"),
            (r"(\w+) (>=|<=|<|>) (\d+)", r"(\1 \2 \3)"),
            (r"(\w+) = (\d+)", r"(\1 == \2)"),
            (r"\bAND\b", "&"), (r"\bOR\b", "|"), (r"\bNOT\b", "~"),
        ):
            condition = re.sub(pattern, python, condition)
        return np.flatnonzero(eval(condition, {"has": self.has, "isin": np.isin, **self.columns}))


def filters_of(path):
    """Of each line of filters.tsv a dict by the names of its header."""
    names, rows = read_columns(path)
    return [dict(zip(names, row)) for row in rows]


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
