#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes and reads the small vector files of the CLI tests, without numpy.

vectors.py make FILE [options]          a file of vectors
vectors.py first N IDX FILE             the first N rows of an idx file (.gz or not)
vectors.py show FILE                    rows of an .ivecs or .npy file, tab-separated
vectors.py recall K TRUTH.ivecs TSV     share of the K true neighbours that TSV names
"""
import argparse
import ast
import gzip
import io
import itertools
import json
import random
import struct
import sys
import zipfile

PLAIN = {"f4": "f", "f8": "d", "f2": "e", "i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q",
         "u8": "Q"}
VECS = {"fvecs": "f4", "bvecs": "u1", "ivecs": "i4", "hvecs": "f2"}
BINS = {"fbin": "f4", "u8bin": "u1", "i8bin": "i1", "i32bin": "i4", "u32bin": "u4"}
IDX = {"u1": 0x08, "i1": 0x09, "f4": 0x0D, "f8": 0x0E}


def make_rows(options):
    """Whole numbers from 0 to 100, which every format holds exactly, unless --kind or --rows-text says otherwise."""
    n, d = options.n, options.d
    if options.text is not None:
        return [[float(x) for x in row.split(",")] for row in options.text.split(";")]
    rng = random.Random(options.seed)
    if options.kind == "integers":
        return [[rng.randint(0, 100) for _ in range(d)] for _ in range(n)]
    if options.kind == "gauss":
        return [[rng.gauss(0, 1) for _ in range(d)] for _ in range(n)]
    if options.kind == "long-row":  # of row 7, among those of "gauss"
        return [[rng.gauss(0, 1000 if i == 7 else 1) for _ in range(d)] for i in range(n)]
    if options.kind == "walk":  # whole numbers too; neighbouring columns go together
        return [list(itertools.accumulate(rng.randint(-3, 3) for _ in range(d))) for _ in range(n)]
    if options.kind == "equal":
        row = [rng.randint(0, 100) for _ in range(d)]
        return [row for _ in range(n)]
    if options.kind == "duplicates":
        few = [[rng.randint(0, 100) for _ in range(d)] for _ in range(3)]
        return [few[i % 3] for i in range(n)]
    if options.kind == "constant-columns":
        return [[7 if j % 2 else rng.randint(0, 100) for j in range(d)] for _ in range(n)]
    raise ValueError(options.kind)


def whole(rows, code):
    return [[int(x) for x in row] for row in rows] if code in "bBhHiIqQ" else rows


def pack(rows, element, order="<"):
    code = PLAIN[element]
    return b"".join(struct.pack(f"{order}{len(row)}{code}", *row) for row in whole(rows, code))


def npy(rows, options):
    n, d = len(rows), len(rows[0])
    order = ">" if options.big_endian else "<"
    fortran = bool(options.fortran)
    mark = "|" if options.element in ("i1", "u1") else order
    items = [f"'descr': '{mark}{options.element}'", f"'fortran_order': {fortran}", f"'shape': ({n}, {d})"]
    if options.reorder:
        items.reverse()
    header = "{" + ", ".join(items) + ", }"
    prefix = 10 if options.version == 1 else 12
    header += " " * (-(prefix + len(header) + 1) % 64) + "\n"
    length = struct.pack("<H" if options.version == 1 else "<I", len(header))
    if fortran:
        rows = list(zip(*rows))
    return b"\x93NUMPY" + bytes([options.version, 0]) + length + header.encode() + pack(rows, options.element, order)


SAFE = {"f2": "F16", "f4": "F32", "f8": "F64", "i1": "I8", "u1": "U8", "i2": "I16", "u2": "U16", "i4": "I32",
        "u4": "U32", "i8": "I64", "u8": "U64"}


def safetensors(rows, options):
    """The rows as "emb" behind a tensor of one dimension, and, with --more, another of two."""
    data = pack(rows, options.element)
    header = {"__metadata__": {"format": "pt"}, "bias": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]},
              "emb": {"dtype": SAFE[options.element], "shape": [len(rows), len(rows[0])],
                      "data_offsets": [12, 12 + len(data)]}}
    if options.more:
        header["more"] = {"dtype": "F32", "shape": [1, 3], "data_offsets": [0, 12]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes(12) + data


def npz(rows, options):
    """The rows as "emb", beside an array of one dimension, and, with --more, another of two."""
    out = io.BytesIO()
    ids = f"{{'descr': '<i8', 'fortran_order': False, 'shape': ({len(rows)},), }}".ljust(117) + "\n"
    ids = b"\x93NUMPY\1\0v\0" + ids.encode() + struct.pack(f"<{len(rows)}q", *range(len(rows)))
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if options.deflate else zipfile.ZIP_STORED) as archive:
        archive.writestr("ids.npy", ids)
        with archive.open("emb.npy", "w", force_zip64=True) as member:  # as numpy does
            member.write(npy(rows, options))
        if options.more:
            archive.writestr("dir/more.npy", npy(rows[:2], options))
    return out.getvalue()


def encode(rows, options):
    kind = options.format
    n, d = len(rows), len(rows[0])
    if kind in VECS:
        return b"".join(struct.pack("<i", len(row)) + pack([row], VECS[kind]) for row in rows)
    if kind in BINS:
        return struct.pack("<II", n, d) + pack(rows, BINS[kind])
    if kind == "npy":
        return npy(rows, options)
    if kind in ("csv", "tsv"):
        return "".join(("," if kind == "csv" else "\t").join(map(repr, row)) + "\n" for row in rows).encode()
    if kind == "jsonl":
        return "".join(json.dumps({"id": i, "tags": ["a"], "emb": row}) + "\n" for i, row in enumerate(rows)).encode()
    if kind == "safetensors":
        return safetensors(rows, options)
    if kind == "npz":
        return npz(rows, options)
    if kind == "idx":
        return struct.pack(">BBBBII", 0, 0, IDX[options.element], 2, n, d) + pack(rows, options.element, ">")
    return pack(rows, "f4")


def make(words):
    parser = argparse.ArgumentParser(prog="vectors.py make")
    parser.add_argument("file")
    parser.add_argument("--format", help="default: the extension")
    parser.add_argument("-n", type=int, default=100)
    parser.add_argument("-d", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", default="integers")
    parser.add_argument("--text", help="rows of their own: 1,2;3,4")
    parser.add_argument("--element", default="f4", choices=sorted(PLAIN), help="of npy and idx")
    parser.add_argument("--big-endian", action="store_true")
    parser.add_argument("--fortran", action="store_true")
    parser.add_argument("--reorder", action="store_true", help="the header's keys the other way round")
    parser.add_argument("--version", type=int, default=1)
    parser.add_argument("--rows", help="A:B, only rows A up to B of these, without B")
    parser.add_argument("--deflate", action="store_true", help="of npz")
    parser.add_argument("--more", action="store_true", help="of npz: another array")
    options = parser.parse_args(words)
    if options.format is None:
        options.format = options.file.rsplit(".", 1)[1]
    with open(options.file, "wb") as out:
        rows = make_rows(options)
        out.write(encode(rows[slice(*map(int, options.rows.split(":")))] if options.rows else rows, options))


def first(n, source, target):
    opened = gzip.open(source) if source.endswith(".gz") else open(source, "rb")
    with opened as file:
        header = file.read(16)
        magic, n_rows, height, width = struct.unpack(">IIII", header)
        if magic != 0x00000803:
            sys.exit(f"{source}: not an idx file of images")
        n = min(n, n_rows)
        data = file.read(n * height * width)
    with open(target, "wb") as out:
        out.write(struct.pack(">IIII", magic, n, height, width) + data)


def read_ivecs(data):
    at = 0
    while at < len(data):
        (k,) = struct.unpack_from("<i", data, at)
        yield struct.unpack_from(f"<{k}i", data, at + 4)
        at += 4 + 4 * k


def read_npy(data):
    (length,) = struct.unpack_from("<H", data, 8)
    header = ast.literal_eval(data[10:10 + length].decode())
    n, k = header["shape"]
    if header["fortran_order"] or (10 + length) % 64:
        sys.exit("not an npy array in C order, aligned to 64 bytes")
    item = {"<i8": "<q", str([("id", "<i8"), ("distance", "<f4")]): "<qf"}[str(header["descr"])]
    values = list(struct.iter_unpack(item, data[10 + length:]))
    if len(values) != n * k:
        sys.exit(f"{len(values)} values for {n} x {k}")
    for i in range(n):
        row = values[i * k:(i + 1) * k]
        yield [v for v, *_ in row] + [f"{v[0]:g}" for _, *v in row if v]


def show(path):
    with open(path, "rb") as file:
        data = file.read()
    for row in read_npy(data) if path.endswith(".npy") else read_ivecs(data):
        print(*row, sep="\t")


def recall(k, truth_path, found_path):
    with open(truth_path, "rb") as file:
        truth = [set(row[:k]) for row in read_ivecs(file.read())]
    hits = 0
    with open(found_path, encoding="ascii") as file:
        for line in file:
            query, rank, row = line.split("\t")[:3]
            hits += int(rank) <= k and int(row) in truth[int(query)]
    print(f"{hits / (k * len(truth)):.4f}")


def main():
    command, *words = sys.argv[1:]
    if command == "make":
        make(words)
    elif command == "first":
        first(int(words[0]), words[1], words[2])
    elif command == "show":
        show(words[0])
    elif command == "recall":
        recall(int(words[0]), words[1], words[2])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
