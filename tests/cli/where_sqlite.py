#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""where_sqlite.py CONDITION_ROWS N [SEED]: N random conditions on random columns select the rows that SQLite selects.

Tables of some hundred rows are written as tsv, csv, jsonl and npy, and built into an index by $OMENDB; the program
CONDITION_ROWS (build/tests/condition_rows) evaluates the conditions. HAS is a join for SQLite. SQLite compares texts by
bytes, as omendb does, and is told to have LIKE do so. Its literals are rounded to float32 where a column is.
"""
import json
import os
import random
import sqlite3
import struct
import subprocess
import sys

WORDS = ["", "a", "ab", "abc", "b", "it's", "say \"x\"", "comma, tab", "ß", "ü1", "zz", "B", "0", "null"]


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


class Table:
    """Random columns of n rows: whole (int64), big (int64), half and real (float64), single (float32), word and many
    (text), and tags."""

    def __init__(self, rng, n, form):
        self.rng, self.n, self.form = rng, n, form
        base = rng.choice([0, -5, 1 << 40, -(1 << 63), (1 << 63) - 40])
        span = rng.choice([0, 3, 30, 300, 70000, 1 << 20, 1 << 33])
        self.whole = [base + rng.randrange(min(span, (1 << 63) - 1 - base) + 1) for _ in range(n)]
        self.big = [rng.choice([-(1 << 63), (1 << 63) - 1, 0, -1, rng.getrandbits(62)]) for _ in range(n)]
        self.half = [rng.randrange(-8, 8) / 2 for _ in range(n)]
        self.real = [rng.choice([rng.randrange(-50, 50) / 10, rng.uniform(-1, 1), 1e300, -0.0]) for _ in range(n)]
        self.single = [f32(rng.choice([rng.randrange(-50, 50) / 10, 0.1, -0.0, 3e38])) for _ in range(n)]
        words = [w for w in WORDS if w] if form == "tsv" else WORDS
        words = [w for w in words if form != "tsv" or "\t" not in w]
        self.word = [rng.choice(words) for _ in range(n)]
        self.many = [f"k{rng.randrange(n * 2):05d}" for _ in range(n)]
        self.null = {}
        for name in ("whole", "half", "real", "word", "many"):
            share = rng.choice([0, 0, 0.1, 0.9])
            values = getattr(self, name)
            setattr(self, name, [None if rng.random() < share else v for v in values])
        self.tags = [sorted({rng.choice(["x", "y", "z", "rare", "w-1"]) for _ in range(rng.randrange(4))})
                     for _ in range(n)]
        if form == "csv":
            self.numbers = [sorted({rng.randrange(12) for _ in range(rng.randrange(4))}) for _ in range(n)]

    COLUMNS = ("whole", "big", "half", "real", "word", "many")

    def write(self):
        types = "whole:int64,big:int64,half:float64,real:float64,word:text,many:text"
        arguments = ["--columns", f"table.{self.form}", "--column-types", types, "--column", "single=single.npy"]
        rows = list(zip(*(getattr(self, c) for c in self.COLUMNS)))
        with open(f"table.{self.form}", "w", newline="") as out:
            if self.form == "jsonl":
                for i, row in enumerate(rows): # a column that is null everywhere is there once
                    members = [(name, value) for name, value in zip(self.COLUMNS, row)
                               if value is not None or i == 0 or self.rng.random() < 0.5]
                    out.write(json.dumps(dict(members), ensure_ascii=self.rng.random() < 0.5) + "\n")
            else:
                separator = "," if self.form == "csv" else "\t"
                end = self.rng.choice(["\n", "\r\n"])
                out.write(separator.join(self.COLUMNS) + end)
                for row in rows:
                    out.write(separator.join(map(self.field, row)) + end)
        with open("single.npy", "wb") as out:
            header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({self.n},), }}"
            header = header.ljust(117) + "\n"
            out.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
            out.write(struct.pack(f"<{self.n}f", *self.single))
        if self.form == "csv":
            first = [0]
            for row in self.numbers:
                first.append(first[-1] + len(row))
            with open("tags.spmat", "wb") as out:
                out.write(struct.pack("<3q", self.n, 12, first[-1]) + struct.pack(f"<{self.n + 1}q", *first))
                out.write(b"".join(struct.pack("<i", t) for row in self.numbers for t in row))
                out.write(struct.pack("<f", 1) * first[-1])
            return [*arguments, "--tags", "tags.spmat"]
        with open("tags.txt", "w") as out:
            for row in self.tags:
                out.write(" ".join(row) + "\n")
        return [*arguments, "--tags", "tags.txt"]

    def field(self, value):
        if value is None:
            return ""
        if isinstance(value, str) and self.form == "csv":
            return '"' + value.replace('"', '""') + '"' if self.rng.random() < 0.5 or not value.isalnum() else value
        return repr(value) if isinstance(value, float) else str(value)

    def database(self):
        db = sqlite3.connect(":memory:")
        db.execute("PRAGMA case_sensitive_like=ON")
        db.execute("CREATE TABLE rows (id INTEGER, whole INTEGER, big INTEGER, half REAL, real REAL, single REAL, "
                   "word TEXT, many TEXT)")
        db.execute("CREATE TABLE tags (id INTEGER, tag)")
        columns = [getattr(self, c) for c in ("whole", "big", "half", "real", "single", "word", "many")]
        db.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?)", list(zip(range(self.n), *columns)))
        tags = self.numbers if self.form == "csv" else self.tags
        db.executemany("INSERT INTO tags VALUES (?, ?)", [(i, t) for i, row in enumerate(tags) for t in row])
        return db

    # ---- conditions: (for omendb, for SQLite) ----

    def literal(self, column):
        rng = self.rng
        if rng.random() < 0.03:
            return "NULL", "NULL"
        if column in ("word", "many"):
            value = rng.choice([v for v in getattr(self, column) if v is not None] + WORDS + ["k", "zzz"])
            text = "'" + value.replace("'", "''") + "'"
            return text, text
        value = rng.choice([v for v in getattr(self, column) if v is not None] or [0])
        kind = rng.randrange(6)
        if kind == 0:
            value = rng.randrange(-10, 10)
        elif kind == 1:
            value = rng.randrange(-100, 100) / 10
        elif kind == 2 and isinstance(value, int) and abs(value) < 1 << 62:
            value += rng.choice([-1, 1])
        text = repr(value)
        if column == "single":
            return text, repr(f32(float(value))) if abs(value) < 1e38 or abs(value) <= 3.4e38 else text
        return text, text

    def test(self):
        rng = self.rng
        kind = rng.randrange(9)
        if kind == 0:
            tag = str(rng.randrange(14)) if self.form == "csv" else f"'{rng.choice(['x', 'y', 'z', 'rare', 'q'])}'"
            word = rng.choice(["HAS", "has", "NOT HAS"])
            sql = f"EXISTS (SELECT 1 FROM tags WHERE tags.id = rows.id AND tag = {tag})"
            return f"tags {word} {tag}", f"NOT {sql}" if word == "NOT HAS" else sql
        column = rng.choice([*self.COLUMNS, "single"])
        name = rng.choice([column, column, f'"{column}"', column.upper()])
        no = rng.choice(["", "", "NOT "])
        if kind == 1:
            return f"{name} IS {no}NULL", f"{column} IS {no}NULL"
        if kind == 2:
            (a, a2), (b, b2) = self.literal(column), self.literal(column)
            return f"{name} {no}BETWEEN {a} AND {b}", f"{column} {no}BETWEEN {a2} AND {b2}"
        if kind == 3:
            values = [self.literal(column) for _ in range(rng.choice([1, 2, 3, 20]))]
            return (f"{name} {no}IN ({', '.join(v[0] for v in values)})",
                    f"{column} {no}IN ({', '.join(v[1] for v in values)})")
        if kind == 4:
            column = name = rng.choice(["word", "many"])
            text = rng.choice(["", "a", "ab", "k0", "k00", "it''s", "ü", "k00001"]) + rng.choice(["%", "%", ""])
            return f"{name} {no}LIKE '{text}'", f"{column} {no}LIKE '{text}'"
        sign = rng.choice(["=", "==", "!=", "<>", "<", "<=", ">", ">="])
        value = self.literal(column)
        if rng.random() < 0.2:
            return f"{value[0]}{sign}{name}", f"{value[1]} {sign} {column}"
        blank = rng.choice(["", " ", "\t"])
        return f"{name}{blank}{sign}{blank}{value[0]}", f"{column} {sign} {value[1]}"

    def condition(self, depth):
        rng = self.rng
        if depth == 0 or rng.random() < 0.3:
            return self.test()
        parts = [self.condition(depth - 1) for _ in range(rng.choice([1, 2, 2, 3]))]
        word = rng.choice(["AND", "OR"])
        joined = ["(" + f" {word} ".join(p) + ")" for p in zip(*parts)]
        if rng.random() < 0.3:
            joined = ["NOT " + j for j in joined]
        return tuple(joined)


def main():
    program, n_wanted = os.path.abspath(sys.argv[1]), int(sys.argv[2])
    rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    n_done, turn = 0, 0
    n_some = 0
    while n_done < n_wanted:
        n = rng.choice([1, 63, 64, 65, 200, 500])
        table = Table(rng, n, ("tsv", "csv", "jsonl")[turn % 3])
        turn += 1
        with open("rows.fbin", "wb") as out:
            out.write(struct.pack("<II", n, 2) + struct.pack(f"<{2 * n}f", *(rng.random() for _ in range(2 * n))))
        subprocess.run([os.environ["OMENDB"], "build", "-q", "-t", "1", "-l", str(min(n, 4)), *table.write(), "-o",
                        "rows.omen", "rows.fbin"], check=True)
        db = table.database()
        conditions = [table.condition(rng.randrange(4)) for _ in range(min(n_wanted - n_done, max(n_wanted // 12, 50)))]
        given = "".join(c[0].replace("\n", " ") + "\n" for c in conditions)
        result = subprocess.run([program, "rows.omen"], input=given, capture_output=True, text=True)
        got = result.stdout.split("\n")[:-1]
        if result.returncode or len(got) != len(conditions):
            sys.exit(f"{len(got)} answers to {len(conditions)} conditions: {result.stderr}")
        for (text, sql), rows in zip(conditions, got):
            want = " ".join(str(r[0]) for r in db.execute(f"SELECT id FROM rows WHERE {sql} ORDER BY id"))
            if rows != want:
                sys.exit(f"table {turn} of {n} rows ({table.form}): {text}\nas SQL: {sql}\nselects {rows}\nand SQLite "
                         f"{want}")
            n_some += 0 < len(rows.split()) < n
        n_done += len(conditions)
    if n_some < n_wanted // 4:
        sys.exit(f"only {n_some} of {n_wanted} conditions select some rows: the test tests nothing")
    print(f"{n_done} conditions, {n_some} of which select some rows and not all")


if __name__ == "__main__":
    main()
