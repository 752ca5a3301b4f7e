#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fault injection: builds, queries and verifications of which calls fail, that are killed, or that lose what was not
synced. Prints "ok - name" or "not ok - name: why" and exits 1 if anything is not ok. docs/RELIABILITY.md has the
promises that it checks.

fault.py io       I/O calls from each place, in turn, fail with EIO, with ENOSPC, with ENOSPC from there on, and stop
                  half way
fault.py alloc    allocations from each place, in turn, fail, alone and with all that follow
fault.py kills    builds, whole ones and in steps, are killed and started again until they are done
fault.py replay   after each call of a build, what was not synced is lost in every way that the replay knows

The program is --omendb, $OMENDB_FAULT or build/tests/omendb-fault: omendb with fault.c linked in.
"""
import argparse
import collections
import concurrent.futures
import filecmp
import gzip
import hashlib
import math
import os
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zipfile

import h5py
import numpy

IMAGES = "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz"
OUT = "out.omen"
ELSEWHERE = re.compile(r"-[0-9a-f]{16}\.part$")
SECONDS_MOST = 600

# Calls whose failure the program may survive, since it has another way or only tidies up.
OPTIONAL = {"unlink", "stat", "lstat", "fstat", "lseek", "fchmod", "futimens", "readlink", "realpath", "thread",
            "fallocate"}
# Calls without which the temporary cannot be removed, or is not known to be the program's own: its name may then stay.
TIDYING = {"unlink", "lstat", "fstat", "flock"}
SANITIZER = (b"ERROR: AddressSanitizer", b"ERROR: LeakSanitizer", b"runtime error:")


# ---- data ----

def bvecs(path, rows):
    with open(path, "wb") as out:
        for row in rows:
            out.write(struct.pack("<i", len(row)) + bytes(row))


def fashion_rows(n, d):
    """Bytes of real images: d of the pixels of each, spread over the picture."""
    with gzip.open(IMAGES) as file:
        file.read(16)
        for _ in range(n):
            image = file.read(28 * 28)
            yield image[28 * 7 + 7:28 * 7 + 7 + 24 * d:24]


def npy_by_columns(path, rows):
    n, d = len(rows), len(rows[0])
    header = f"{{'descr': '|u1', 'fortran_order': True, 'shape': ({n}, {d}), }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    with open(path, "wb") as out:
        out.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        out.write(b"".join(bytes(column) for column in zip(*rows)))


def first_rows(source, n, path):
    """The first n rows of a bvecs or fvecs file under the same extension."""
    with open(source, "rb") as file, open(path, "wb") as out:
        (d,) = struct.unpack("<i", file.read(4))
        file.seek(0)
        row_bytes = 4 + d * (1 if source.endswith(".bvecs") else 4)
        for _ in range(n):
            row = file.read(row_bytes)
            if len(row) != row_bytes:
                sys.exit(f"{source} has fewer than {n} rows")
            out.write(row)


# ---- running ----

class Result:
    """What a run left: exit code, output, and what the interposer noted."""

    def __init__(self, code, stdout, stderr, notes):
        self.code, self.stdout, self.stderr = code, stdout, stderr
        self.hits, self.renamed, self.counts, self.calls = [], False, {}, {}
        for line in notes.splitlines():
            word, _, rest = line.partition(" ")
            if word == "hit":
                self.hits.append(rest.split(" ", 1))
            elif word == "renamed":
                self.renamed = True
            else:
                name, number = rest.split()
                (self.counts if word == "count" else self.calls)[name] = int(number)


class Case:
    """One command line. Its directory holds out.omen, or what compress replaces, before the run, and after it what it
    writes."""

    def __init__(self, name, words, stdin=None, pipe=None, before=None, output=None):
        self.name, self.words, self.stdin, self.pipe, self.before, self.output = (
            name, words, stdin, pipe, before, output)
        self.is_build = words[0] == "build"
        has_checkpoint = words[0] in ("build", "train") or "--chunk-rows" in words
        self.checkpoint = f"{output or OUT}.part" if has_checkpoint else ""
        self.is_elsewhere = "--tmp" in words  # the checkpoint, which has another name
        # what is there before is an index to read, or what the output replaces
        self.old_name = output if words[0] == "compress" else OUT


class Bench:
    """The program, the data and a directory for each worker."""

    def __init__(self, options, work):
        self.program = os.path.abspath(options.omendb)
        self.work = work
        self.options = options
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("OMEN_FAULT")}
        self.environment["OMP_WAIT_POLICY"] = "passive"
        self.environment["LC_ALL"] = "C"
        self.environment["TMPDIR"] = self.path("tmp")
        os.mkdir(self.path("tmp"))
        help_text = subprocess.run([self.program, "build", "--help"], capture_output=True, check=True).stdout
        self.can_resume = b"--chunk-rows" in help_text
        self.serial = 0
        self.n_cases = collections.Counter()  # by place of a call: those in which it has failed

    def path(self, name):
        return os.path.join(self.work, name)

    def directory(self):
        self.serial += 1
        made = self.path(f"run{self.serial}")
        os.mkdir(made)
        return made

    def build_words(self, *words, n_rows, n_chunks):
        more = ["--chunk-rows", str(max(1, n_rows // n_chunks))] if self.can_resume else []
        return ["build", *words, *more, "-o", OUT]

    def prepare(self, directory, case):
        for name in os.listdir(directory):
            os.unlink(os.path.join(directory, name))
        if case.before is not None:
            shutil.copyfile(case.before, os.path.join(directory, case.old_name))

    def start(self, directory, case, fault=None, notes=None, trace=None, limit=None, sites=None):
        environment = dict(self.environment)
        for name, value in (("OMEN_FAULT", fault), ("OMEN_FAULT_COUNT", notes), ("OMEN_FAULT_TRACE", trace),
                            ("OMEN_FAULT_SITES", sites)):
            if value is not None:
                environment[name] = value
        stdin = open(case.stdin, "rb") if case.stdin else subprocess.PIPE if case.pipe else subprocess.DEVNULL
        try:
            return subprocess.Popen([self.program, *case.words], cwd=directory, env=environment, stdin=stdin,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                    preexec_fn=None if limit is None else
                                    lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        finally:
            if case.stdin:
                stdin.close()

    def run(self, directory, case, fault=None, trace=None, limit=None, sites=None):
        """Runs it to its end; with a limit, which also holds for the notes, there are none."""
        notes = directory + ".notes" if limit is None else None
        process = self.start(directory, case, fault, notes, trace, limit, sites)
        try:
            stdout, stderr = process.communicate(case.pipe, timeout=SECONDS_MOST)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return Result(-signal.SIGALRM, b"", b"still running", "")
        text = read(notes).decode(errors="replace") if notes else ""
        return Result(process.returncode, stdout, stderr, text)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def contents(directory):
    return {name: read(os.path.join(directory, name)) for name in sorted(os.listdir(directory))}


def digest(files):
    state = hashlib.sha256()
    for name, data in sorted(files.items()):
        state.update(f"{name} {len(data)} ".encode() + data)
    return state.digest()


class Reporter:
    """Counts and prints verdicts."""

    def __init__(self):
        self.failed = False

    def tell(self, name, faults, summary):
        for fault in faults[:20]:
            print("# " + fault.replace("\n", "\n#   "))
        if len(faults) > 20:
            print(f"# and {len(faults) - 20} more")
        if faults:
            self.failed = True
            print(f"not ok - {name}: {len(faults)} faults; {summary}", flush=True)
        else:
            print(f"ok - {name}: {summary}", flush=True)


# ---- failing calls ----

def write_columns(bench, n):
    """A table, an array and tags of n rows."""
    with open(bench.path("t.csv"), "w") as out:
        out.write("number,colour\n")
        out.writelines(f'{i if i % 9 else ""},"{("red", "blue", "gr""een")[i % 3]}"\n' for i in range(n))
    with open(bench.path("t.jsonl"), "w") as out:
        out.writelines(f'{{"number": {i}, "words": ["w{i % 5}"]}}\n' for i in range(n))
    with open(bench.path("tags.txt"), "w") as out:
        out.writelines(f"a {'b' if i % 2 else ''}\n" for i in range(n))
    header = f"{{'descr': '<i2', 'fortran_order': False, 'shape': ({n},), }}".ljust(117) + "\n"
    with open(bench.path("x.npy"), "wb") as out:
        out.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode())
        out.write(struct.pack(f"<{n}h", *(i % 100 for i in range(n))))


COLUMNS = ["--columns", "../t.csv", "--column", "x=../x.npy", "--tags", "../tags.txt"]


def make_cases(bench):
    """Builds in their several ways, then queries and verifications of an index."""
    rows = list(fashion_rows(bench.options.rows, 16))
    few = rows[:400]
    bvecs(bench.path("base.bvecs"), rows)
    bvecs(bench.path("few.bvecs"), few)
    bvecs(bench.path("queries.bvecs"), few[-25:])
    bvecs(bench.path("many.bvecs"), rows[:600])
    npy_by_columns(bench.path("few.npy"), few)
    with open(bench.path("keys.txt"), "w") as out:
        out.writelines(f"key {i}\n" for i in range(len(few)))
    with open(bench.path("names.txt"), "w") as out:
        out.writelines(f"key {i}\n" for i in range(25))
    for name, numbers in (("some.txt", range(50, 350)), ("others.txt", (60, 61))):
        with open(bench.path(name), "w") as out:
            out.writelines(f"{i}\n" for i in numbers)
    os.mkdir(bench.path("parts"))
    bvecs(bench.path("parts/0.bvecs"), few[:150])
    bvecs(bench.path("parts/1.bvecs"), few[150:])
    with open(bench.path("list.txt"), "w") as out:
        out.write("../parts/0.bvecs\n../parts/1.bvecs\n")
    with open(bench.path("few.txt"), "w") as out:
        out.write("../few.bvecs\n")
    with open(bench.path("others-keys.txt"), "w") as out:
        out.writelines(f"other {i}\n" for i in range(len(few)))
    with open(bench.path("indexes.txt"), "w") as out:
        out.write(f"{OUT}\n../other.omen\tother\n")
    write_columns(bench, len(few))
    with zipfile.ZipFile(bench.path("few.npz"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(bench.path("few.npy"), "few.npy")
    header = b'{"v":{"dtype":"U8","shape":[25,16],"data_offsets":[0,400]}}'
    with open(bench.path("queries.safetensors"), "wb") as out:
        out.write(struct.pack("<Q", len(header)) + header + b"".join(bytes(row) for row in few[-25:]))
    with open(bench.path("queries.csv"), "w") as out:
        out.writelines(",".join(map(str, row)) + "\n" for row in few[-25:])
    with open(bench.path("queries.jsonl"), "w") as out:
        out.writelines(f'{{"id": {i}, "v": {list(row)}}}\n' for i, row in enumerate(few[-25:]))
    with h5py.File(bench.path("queries.h5"), "w") as out:
        out.create_dataset("v", data=numpy.array([list(row) for row in few[-25:]], "u1"), chunks=(10, 7),
                           compression="gzip", shuffle=True, fletcher32=True)
    for name in ("few.bvecs", "keys.txt"):
        with gzip.open(bench.path(name + ".gz"), "wb") as out:
            out.write(read(bench.path(name)))
    with open(bench.path("where.txt"), "w") as out:
        out.writelines(f"number < {20 * (i % 7)} OR colour = 'red' AND tags HAS 'b'\n" for i in range(25))

    with open(bench.path("where-many.txt"), "w") as out:  # so many that the column gets an order
        out.writelines(f"number BETWEEN {i // 3} AND {i // 3 + i % 3 * 150}\n" for i in range(600))

    def index(name, *words):
        case = Case(name, ["build", "-q", *words, "-o", OUT])
        directory = bench.directory()
        result = bench.run(directory, case)
        if result.code != 0:
            sys.exit(f"a build without faults fails: {result.stderr.decode()}")
        os.rename(os.path.join(directory, OUT), bench.path(name))
        return bench.path(name)

    def packed(name, *words):
        case = Case(name, ["compress", "-q", *words, "-o", bench.path(name), bench.path("base.bvecs")])
        result = bench.run(bench.directory(), case)
        if result.code != 0:
            sys.exit(f"compress without faults fails: {result.stderr.decode()}")
        return bench.path(name)

    def step(*words):
        """A model or a shard, beside the directories of the runs."""
        result = bench.run(bench.directory(), Case(words[0], list(words)))
        if result.code != 0:
            sys.exit(f"{words[0]} without faults fails: {result.stderr.decode()}")

    step("train", "-q", "-o", "../m.model", "../few.bvecs")
    for i in range(2):
        step("build", "-q", "--model", "../m.model", "--shard", f"{i}/2", "-o", f"../{i}.shard")
    old = index("old.omen", "--seed", "7", "../few.bvecs")
    whole = index("whole.omen", "-m", "cosine", "-c", "pq", "../few.bvecs")
    linked = index("linked.omen", "--graph", "../few.bvecs")
    keyed = index("keyed.omen", "--key", "../keys.txt", *COLUMNS, "../few.bvecs")
    index("other.omen", "-c", "rabitq", "--key", "../others-keys.txt", "../few.bvecs")
    n = len(few)
    threads = bench.options.threads
    return [
        Case("build", bench.build_words("-q", "-t", threads, "../base.bvecs", n_rows=len(rows), n_chunks=4),
             before=old, output=OUT),
        Case("build of a stream",
             bench.build_words("-q", "-t", threads, "-f", "npy", "-c", "pq", "-r", "f16", "--graph", "-",
                               n_rows=n, n_chunks=4),
             pipe=read(bench.path("few.npy")), before=old, output=OUT),
        Case("build without an old index",
             bench.build_words("-q", "-t", threads, "-m", "ip", "-c", "rabitq", "--tune-queries", "../queries.bvecs",
                               "--key", "../keys.txt", *COLUMNS, "../few.npy", n_rows=n, n_chunks=4), output=OUT),
        Case("build of several inputs",
             bench.build_words("-q", "-t", threads, "../parts", n_rows=n, n_chunks=2),
              output=OUT),
        Case("build of compressed files",
             bench.build_words("-q", "-t", threads, "--key", "../keys.txt.gz", "../few.bvecs.gz", n_rows=n, n_chunks=4),
             output=OUT),
        Case("build of an archive", bench.build_words("-q", "-t", threads, "../few.npz:few", n_rows=n, n_chunks=4),
             output=OUT),
        Case("query of a tensor", ["query", "-t", threads, "-o", "found.tsv", OUT, "../queries.safetensors:v"],
             before=whole, output="found.tsv"),
        Case("query of text", ["query", "-t", threads, "-o", "found.tsv", OUT, "../queries.csv"], before=whole,
             output="found.tsv"),
        Case("query of lists in text", ["query", "-t", threads, "-o", "found.tsv", OUT, "../queries.jsonl:v"],
             before=whole, output="found.tsv"),
        Case("train", ["train", "-q", "-t", threads, "-o", "out.model", bench.path("parts")],
             output="out.model"),
        Case("build of a shard", ["build", "-q", "-t", threads, "--chunk-rows", "70", "--model", "../m.model",
                                  "--shard", "1/2", "-o", "out.shard"], output="out.shard"),
        Case("build with a model",
             ["build", "-q", "-t", threads, "--chunk-rows", "70", "--model", "../m.model", "-o", OUT, "../few.npy"],
             before=old, output=OUT),
        Case("build of a shard with its checkpoint elsewhere",
             ["build", "-q", "-t", threads, "--chunk-rows", "70", "--tmp", ".", "--model", "../m.model", "--shard",
              "1/2", "-o", "out.shard"], output="out.shard"),
        Case("verify of a shard", ["verify", "-t", threads, "--model", "../m.model", "--inputs", "../few.txt",
                                   "../m.model", "../0.shard"]),
        Case("merge", ["merge", "-q", "-t", threads, "--model", "../m.model", "-o", OUT, "../0.shard", "../1.shard"],
             before=old, output=OUT),
        Case("attach", ["attach", "-q", "-t", threads, "--key", "../keys.txt", "-o", "new.omen", OUT], before=whole,
             output="new.omen"),
        Case("attach columns", ["attach", "-q", "-t", threads, "--columns", "../t.jsonl", "--drop-columns",
                                "--key", ":number", "-o", "new.omen", OUT],
             before=keyed, output="new.omen"),
        Case("attach a graph", ["attach", "-q", "-t", threads, "--graph", "--degree", "8", "-o", "new.omen", OUT],
             before=whole, output="new.omen"),
        Case("query under conditions", ["query", "-q", "-t", threads, "--where-file", "../where.txt", "-o", "found.tsv",
                                        OUT, "../queries.bvecs"], before=keyed, output="found.tsv"),
        Case("query under many conditions", ["query", "-q", "-t", threads, "--where-file", "../where-many.txt", "-o",
                                             "found.tsv", OUT, "../many.bvecs"], before=keyed, output="found.tsv"),
        Case("query by key", ["query", "-t", threads, "--exclude-self", "--by-key", "../names.txt", "-F", "npy", "-o",
                              "found.npy", OUT], before=keyed, output="found.npy"),
        Case("query", ["query", "-t", threads, OUT, "../queries.bvecs"], before=whole),
        Case("query of two indexes", ["query", "-t", threads, "--index-list", "../indexes.txt", "-o",
                                      "found.tsv", "../queries.bvecs"], before=keyed, output="found.tsv"),
        Case("query of some rows", ["query", "-t", threads, "--only", "../some.txt", "--except", "../others.txt", "-o",
                                    "found.tsv", OUT, "../queries.bvecs"], before=whole, output="found.tsv"),
        Case("query of the graph", ["query", "-t", threads, "--way", "graph", "--except", "../others.txt", "-o",
                                    "found.tsv", OUT, "../queries.bvecs"], before=linked, output="found.tsv"),
        Case("query to a file", ["query", "-t", threads, "-F", "npy", "--distances", "-o", "found.npy", OUT,
                                 "../queries.bvecs"], before=whole, output="found.npy"),
        Case("query to an archive", ["query", "-t", threads, "--distances", "-o", "found.npz", OUT,
                                     "../queries.bvecs"], before=whole, output="found.npz"),
        Case("query of HDF5 to HDF5", ["query", "-t", threads, "--distances", "-o", "found.hdf5", OUT,
                                       "../queries.h5:v"], before=whole, output="found.hdf5"),
        Case("query of its rows", ["query", "-q", "-t", threads, "--self", "-k", "3", "-F", "npy", "--distances", "-o",
                                   "found.npy", OUT], before=keyed, output="found.npy"),
        Case("query of its rows, in groups", ["query", "-q", "-t", threads, "--self", "-k", "3", "--chunk-rows", "1",
                                              "-o", "found.tsv", OUT], before=whole, output="found.tsv"),
        Case("query of pairs", ["query", "-q", "-t", threads, "--self", "--within", "3", "--pairs", "--limit", "90",
                                "-o", "found.tsv", OUT], before=whole, output="found.tsv"),
        Case("query within a distance", ["query", "-q", "-t", threads, "--within", "0.2", OUT, "../queries.bvecs"],
             before=whole),
        Case("exact query of a stream", ["query", "-t", threads, "--exact", "-f", "bvecs", OUT, "-"],
             stdin=bench.path("queries.bvecs"), before=whole),
        Case("query of lines that come", ["query", "-t", threads, "--batch", "3", "-f", "csv", OUT, "-"],
             pipe=read(bench.path("queries.csv")), before=whole),
        Case("certified query", ["query", "-t", threads, "--certify", "--recall", "0.3", "--audit", "2", "-o",
                                 "found.tsv", OUT, "../queries.bvecs"], before=whole, output="found.tsv"),
        Case("compress", ["compress", "-q", "-f", "-t", threads, "-o", "out.omz", "../base.bvecs"], before=old,
             output="out.omz"),
        Case("compress to codes", ["compress", "-q", "-f", "-t", threads, "--codec", "sq8", "-o", "out.omz",
                                   "../few.bvecs"], before=old, output="out.omz"),
        Case("compress to standard output", ["compress", "-q", "-t", threads, "-c", "../few.bvecs"]),
        Case("decompress", ["compress", "-d", "-q", "-f", "-t", threads, "-o", "out.bvecs", packed("base.omz")],
             before=old, output="out.bvecs"),
        Case("decompress to standard output", ["compress", "-d", "-q", "-t", threads, "-c", packed("base2.omz")]),
        Case("decompress codes", ["compress", "-d", "-q", "-f", "-t", threads, "-F", "raw", "-o", "out.raw",
                                  packed("codes.omz", "--codec", "f16")], before=old, output="out.raw"),
        Case("info of an index", ["info", "--json", OUT], before=keyed),
        Case("info of vectors", ["info", "../few.bvecs", "--json"]),
        Case("verify", ["verify", "-t", threads, OUT], before=whole),
        Case("verify with columns", ["verify", "-t", threads, *COLUMNS, OUT], before=keyed),
        Case("verify with keys", ["verify", "-t", threads, "--key", "../keys.txt", OUT], before=keyed),
        Case("verify with a source", ["verify", "-t", threads, "--inputs", "../list.txt", "--json", OUT],
             before=whole),
    ]


class Sweep:
    """All faults of one kind in one case."""

    def __init__(self, bench, case, wanted_exit):
        self.bench, self.case, self.wanted_exit = bench, case, wanted_exit
        directory = bench.directory()
        bench.prepare(directory, case)
        self.start = contents(directory)
        self.clean = bench.run(directory, case, sites=bench.path("sites"))
        self.sites = [line.split() for line in read(bench.path("sites")).decode().splitlines()]
        self.end = contents(directory)
        self.rerun_states = {digest(self.start), digest(self.end)}
        if self.clean.code != 0:
            sys.exit(f"{case.name} without faults: exit {self.clean.code}: {self.clean.stderr.decode()}")
        # a sweep of no calls would find no faults
        needed = ["open", "mmap", "alloc"] + (["pwrite", "fsync", "rename"] if case.is_build else [])
        missed = [call for call in needed if self.clean.calls.get(call, 0) == 0]
        if missed:
            sys.exit(f"{case.name}: the interposer does not see {', '.join(missed)}")

    def numbers(self, kind):
        """Which of the calls of a kind are to fail: of those that come from the same place, the first, the last and
        every so many between them, unless as many cases as are wanted have done so."""
        options = self.bench.options
        by_place = {}
        for number, place in enumerate((place for name, place in self.sites if name == kind), 1):
            by_place.setdefault((kind, place), []).append(number)
        chosen = set()
        for place, same in by_place.items():
            self.bench.n_cases[place] += 1
            if self.bench.n_cases[place] <= options.cases:
                chosen |= {*same[::options.stride], same[-1]}
        return sorted(chosen)

    def text_faults(self, result, many):
        """What is wrong with what a refusal says. Where many calls fail, there may be more to say than one line."""
        text = result.stderr.decode(errors="replace")
        # results that were complete may be told of before their last byte cannot be written
        told = self.clean.stderr.decode(errors="replace").splitlines()
        lines = [line for line in text.splitlines() if line not in told]
        if len(lines) not in ((1, 2) if many else (1,)) or not all(
                line.startswith(f"omendb {self.case.words[0]}: ") for line in lines):
            return ["not one line of the program's"]
        if self.wanted_exit == 5:
            return [] if "memory" in text else ["the message does not speak of memory"]
        calls = [hit for hit in result.hits if f"cannot {VERBS.get(hit[0], hit[0])}" in text]
        if not calls:
            return [f"the message does not speak of {result.hits[0][0]}"]
        return min((self.name_faults(text, path) for _, path in calls), key=len)

    def name_faults(self, text, path):
        """What is wrong with what it says of the file and the reason."""
        path = path.removesuffix(" (deleted)")
        names = {os.path.basename(path), os.path.basename(path).removesuffix(".tmp").removesuffix(".part")}
        if path.startswith(self.bench.path("tmp")):
            names |= {"temporary copy", "standard input"}
            names |= {os.path.basename(word).split(":")[0] for word in self.case.words if word.startswith("../")}
        if path.startswith("pipe:"):
            names |= {"standard input", "standard output"}
        if os.path.isdir(path):
            names.add("directory")
        if self.case.stdin and path == self.case.stdin:
            names.add("standard input")
        faults = []
        if not any(name in text for name in names):
            faults.append(f"the message does not name {os.path.basename(path)}")
        if "Input/output error" not in text and "No space left on device" not in text:
            faults.append("the message does not say why")
        return faults

    def state_faults(self, result, directory):
        """What is wrong with the files that are left."""
        left = contents(directory)
        faults = []
        wanted = dict(self.start)
        if self.case.output is not None and (result.code == 0 or result.renamed):
            wanted = self.end
        # what becomes a shard is made anew by the next run
        may_stay = {self.case.checkpoint, f"{self.case.output}.whole.part"} if result.code != 0 else set()
        if self.case.output is not None and any(hit[0] in TIDYING for hit in result.hits):
            may_stay |= {self.case.output + ".tmp", self.case.output + ".part"}
        for name in sorted(left.keys() | wanted.keys()):
            if name in may_stay or (may_stay and self.case.is_elsewhere and ELSEWHERE.search(name)):
                continue
            if name not in wanted:
                faults.append(f"{name} is left behind")
            elif name not in left:
                faults.append(f"{name} is gone")
            elif left[name] != wanted[name]:
                faults.append(f"{name} is neither the old nor the new file" if left[name] not in (
                    self.start.get(name), self.end.get(name)) else f"{name} is of the wrong run")
        state = digest(left)
        if not faults and state not in self.rerun_states:
            self.rerun_states.add(state)
            again = self.bench.run(directory, self.case)
            if again.code != 0 or contents(directory) != self.end:
                faults.append(f"a run after it exits {again.code}, leaving {', '.join(os.listdir(directory))}: "
                              + again.stderr.decode(errors="replace").strip())
        return faults

    def one(self, directory, fault):
        """One run. Returns what is wrong and whether the program refused."""
        self.bench.prepare(directory, self.case)
        result = self.bench.run(directory, self.case, fault)
        faults = []
        if not result.hits and result.code == 0:
            # which of several threads comes to work, and so allocates, is another matter in each run
            is_fixed = not self.case.is_build and self.bench.options.threads == "1"
            return ["the fault was never reached"] if is_fixed else [], False
        if any(mark in result.stderr for mark in SANITIZER):
            faults.append("a sanitizer complains")
        elif result.code == 0:
            call, path = result.hits[0]
            is_directory = call == "open" and os.path.isdir(os.path.join(directory, path))
            # what the system tells of itself, and the checkpoint's last record, which nobody waits for in the end
            is_needless = path.startswith(("/proc/", "/sys/")) or (call in {"pwrite", "fdatasync"} and
                                                                   path.endswith(".part"))
            if not fault.startswith("short:") and call not in OPTIONAL and not is_directory and not is_needless:
                faults.append("it goes unnoticed")
            if result.stdout != self.clean.stdout:
                faults.append("standard output differs")
        elif result.code != self.wanted_exit:
            faults.append(f"exit {result.code}, not {self.wanted_exit}")
        else:
            faults += self.text_faults(result, "+" in fault)
        if result.code >= 0:
            faults += self.state_faults(result, directory)
        if not faults:
            return [], result.code != 0
        where = " ".join(result.hits[0]) if result.hits else "no hit"
        text = (result.stdout if result.code == 3 else b"") + result.stderr
        return [f"{fault} ({where}): {'; '.join(faults)}\n{text.decode(errors='replace').strip()}"], result.code != 0

    def run(self, plans):
        """All of the plans, by two workers. Returns faults and the number of refusals."""
        faults, n_refused = [], 0
        n_workers = 2
        directories = [self.bench.directory() for _ in range(n_workers)]

        def work(i):
            return [self.one(directories[i], plan) for plan in plans[i::n_workers]]

        with concurrent.futures.ThreadPoolExecutor(n_workers) as pool:
            for outcomes in pool.map(work, range(n_workers)):
                for found, refused in outcomes:
                    faults += found
                    n_refused += refused
        return faults, n_refused


# How messages call what failed.
VERBS = {
    "fsync": "sync", "fdatasync": "sync", "syncfs": "sync", "pread": "read", "pwrite": "write", "ftruncate": "truncate",
    "mmap": "map", "flock": "lock", "mkostemp": "create", "fflush": "write", "fclose": "write",
    "opendir": "open", "readdir": "read", "realpath": "examine",
    # whatever they are needed for
    "open": "", "fcntl": "", "fdopen": "", "stat": "", "fstat": "", "lstat": "", "lseek": "",
}


def run_full_disk(bench, reporter, case):
    """What the C library writes is not seen by the interposer: a limit on the size of files stops it at a byte."""
    directory = bench.directory()
    bench.prepare(directory, case)
    start = contents(directory)
    clean = bench.run(directory, case)
    n_bytes = len(contents(directory)[case.output])
    faults = []
    limits = sorted(limit for limit in {0, 1, 4095, 4096, 4097, n_bytes // 2, n_bytes - 1} if limit < n_bytes)
    names = [case.output.encode(), b"temporary copy of standard input", b"temporary copy of the results",
             b"temporary copy of \"../"]
    for limit in limits:
        bench.prepare(directory, case)
        result = bench.run(directory, case, limit=limit)
        if result.code != 4 or b"File too large" not in result.stderr or not any(
                name in result.stderr for name in names):
            faults.append(f"limit of {limit} bytes: exit {result.code}: {result.stderr.decode(errors='replace')}")
        left = contents(directory)
        left = {name: data for name, data in left.items()
                if name != case.checkpoint and not (case.is_elsewhere and ELSEWHERE.search(name))}
        if left != start:
            faults.append(f"limit of {limit} bytes: there is {', '.join(os.listdir(directory))}")
    if clean.code != 0:
        faults.append(f"without a limit: exit {clean.code}")
    reporter.tell(f"file size limits, {case.name}", faults, f"{len(limits)} of up to {n_bytes} bytes")


def chosen_cases(bench):
    return [case for case in make_cases(bench) if bench.options.case in case.name]


def run_io(bench, reporter):
    for case in chosen_cases(bench):
        if case.output is not None and not bench.options.no_limits:
            run_full_disk(bench, reporter, case)
        sweep = Sweep(bench, case, 4)
        which = sweep.numbers("io")
        plans = [f"io:{i}{end}" for i in which for end in (":EIO", ":ENOSPC", "+:ENOSPC")]
        faults, n_refused = sweep.run(plans)
        reporter.tell(f"I/O errors, {case.name}", faults, f"{len(plans)} faults, {n_refused} of them refused")
        which = sweep.numbers("short")
        if which:
            faults, n_refused = sweep.run([f"short:{i}" for i in which])
            if n_refused:
                faults.append(f"{n_refused} short counts were refused")
            reporter.tell(f"short counts, {case.name}", faults, f"{len(which)} calls")


def run_alloc(bench, reporter):
    for case in chosen_cases(bench):
        sweep = Sweep(bench, case, 5)
        which = sweep.numbers("alloc")
        plans = [f"alloc:{i}{end}" for i in which for end in ("", "+")]
        faults, n_refused = sweep.run(plans)
        reporter.tell(f"failing allocations, {case.name}", faults,
                      f"{len(plans)} faults of {sweep.clean.counts['alloc']} calls, {n_refused} refused")


# ---- kills ----

class Victim:
    """A build that is killed: its case, and what an undisturbed run needs and leaves."""

    def __init__(self, bench, *more):
        options = bench.options
        self.bench = bench
        if options.base is None:
            bvecs(bench.path("base.bvecs"), fashion_rows(options.rows, 16))
            base = "base.bvecs"
        else:
            base = "base" + os.path.splitext(options.base)[1]
            first_rows(options.base, options.rows, bench.path(base))
        bvecs(bench.path("few.bvecs"), fashion_rows(400, 16))
        with open(bench.path("keys.txt"), "w") as out:
            out.writelines(f"key {i}\n" for i in range(options.rows))
        write_columns(bench, options.rows)
        directory = bench.directory()
        first = bench.run(directory, Case("old", ["build", "-q", "-o", OUT, "../few.bvecs"]))
        if first.code != 0:
            sys.exit(f"a build without faults fails: {first.stderr.decode()}")
        self.old = bench.path("old.omen")
        os.rename(os.path.join(directory, OUT), self.old)
        words = ["-t", options.threads, *more, "--key", "../keys.txt", *COLUMNS, "../" + base]
        self.case = Case("build", bench.build_words(*words, n_rows=options.rows, n_chunks=16), before=self.old,
                         output=OUT)
        self.seconds = []
        for _ in range(2):
            bench.prepare(directory, self.case)
            began = time.monotonic()
            result = bench.run(directory, self.case)
            self.seconds.append(time.monotonic() - began)
            if result.code != 0:
                sys.exit(f"a build without faults fails: {result.stderr.decode()}")
        self.n_io = result.counts["io"]
        self.new = bench.path("new.omen")
        os.rename(os.path.join(directory, OUT), self.new)

    def verdict(self, directory):
        """"old", "new", or what else is under the output's name."""
        path = os.path.join(directory, OUT)
        if not os.path.exists(path):
            return "nothing"
        for name, whole in (("old", self.old), ("new", self.new)):
            if filecmp.cmp(path, whole, shallow=False):
                return name
        return f"neither the old nor the new file ({os.path.getsize(path)} bytes)"

    def end_faults(self, directory):
        """After a build that says it is done."""
        faults = [] if self.verdict(directory) == "new" else [f"the index is {self.verdict(directory)}"]
        left = [name for name in os.listdir(directory) if name != OUT]
        return faults + ([f"left behind: {', '.join(left)}"] if left else [])


def watch(process, directory, old_inode, seconds, number, victim):
    """Looks at the output's name until the process ends, and sends it a signal after so many seconds. Returns what was
    wrong."""
    path = os.path.join(directory, OUT)
    deadline = time.monotonic() + seconds
    seen_new = False
    while process.poll() is None:
        if time.monotonic() >= deadline:
            process.send_signal(number)
            deadline = math.inf
        if not seen_new:
            try:
                seen_new = os.stat(path).st_ino != old_inode
            except FileNotFoundError:
                return "the output's name led to nothing"
            if seen_new and victim.verdict(directory) != "new":
                return f"while it ran, the output was {victim.verdict(directory)}"
        time.sleep(0.002)
    return None


def run_kills(bench, reporter):
    victim = Victim(bench, "--graph")
    rng = random.Random(bench.options.seed)
    directory = bench.directory()
    duration = max(victim.seconds)
    n_killed = n_stopped = n_builds = n_resumed = 0
    after_kill = {"old": 0, "new": 0}
    faults = []
    while n_killed < bench.options.count and len(faults) < 20:
        bench.prepare(directory, victim.case)
        n_builds += 1
        n_attempts = 0
        while True:
            n_attempts += 1
            fault = None
            seconds = SECONDS_MOST
            number = signal.SIGKILL
            # at a moment, or at a call; now and then not at all, since without progress few builds end by themselves
            if n_attempts == 1 or rng.random() < 0.85:
                if rng.random() < 0.5:
                    seconds = rng.uniform(0, 1.1 * duration)
                    number = rng.choice([signal.SIGKILL] * 8 + [signal.SIGTERM, signal.SIGINT])
                else:
                    fault = f"kill:{rng.randint(1, victim.n_io)}{rng.choice(('', ':half'))}"
            process = bench.start(directory, victim.case, fault)
            wrong = watch(process, directory, os.stat(os.path.join(directory, OUT)).st_ino, seconds, number,
                          victim)
            stderr = process.communicate()[1].decode(errors="replace")
            n_resumed += "resuming" in stderr
            if wrong is not None:
                faults.append(f"{wrong} (kill {n_killed}, build {n_builds})")
            if process.returncode == 0:
                found = victim.end_faults(directory)
                faults += [f"{text} (build {n_builds} after {n_attempts} attempts)" for text in found]
                break
            state = victim.verdict(directory)
            if state not in after_kill:
                faults.append(f"after kill {n_killed} the output is {state}")
                break
            if process.returncode == 128 + number:
                n_stopped += 1
                if os.path.exists(os.path.join(directory, OUT + ".tmp")):
                    faults.append(f"a build that was told to stop leaves its temporary (build {n_builds})")
                    break
            # a signal may also come before the program has asked for it
            elif process.returncode in (-signal.SIGKILL, -number):
                n_killed += 1
                after_kill[state] += 1
            else:
                faults.append(f"exit {process.returncode} (build {n_builds}): {stderr}")
                break
    if bench.can_resume and n_resumed == 0:
        faults.append("no run resumed from a checkpoint")
    reporter.tell("kills", faults, f"{n_killed} kills and {n_stopped} stops in {n_builds} builds of "
                  f"{bench.options.rows} rows; after kills the output was the old index {after_kill['old']} times, "
                  f"the new one {after_kill['new']} times"
                  + (f"; {n_resumed} runs resumed" if bench.can_resume else ""))


# ---- kills of a build in steps, and of what comes after it ----

class Steps:
    """train, shards, merge, attach and a search of all rows: their words, what each writes, and what an undisturbed run
    leaves."""

    def __init__(self, bench, n_shards=3):
        n = min(bench.options.rows, 1500)
        bvecs(bench.path("steps.bvecs"), fashion_rows(n, 16))
        self.bench = bench
        model = ["--model", "m.model"]
        threads = ["-q", "-t", bench.options.threads]
        self.steps = [("m.model", ["train", *threads, "-o", "m.model", bench.path("steps.bvecs")])]
        for i in range(n_shards):
            name = f"{i}.shard"
            self.steps.append((name, ["build", *threads, *model, "--shard", f"{i}/{n_shards}", "--chunk-rows",
                                      str(n // n_shards // 7 + 1), "-o", name]))
        names = [name for name, _ in self.steps[1:]]
        self.steps.append((OUT, ["merge", *threads, *model, "-o", OUT, *names]))
        write_columns(bench, n)
        self.steps.append(("more.omen", ["attach", *threads, "--graph",
                                         *(word.replace("../", bench.path("")) for word in COLUMNS), "-o", "more.omen",
                                         OUT]))
        self.steps.append(("own.npy", ["query", *threads, "--self", "-k", "3", "--chunk-rows", str(n // 9), "-o",
                                       "own.npy", "more.omen"]))
        self.outputs = {}
        self.n_io, self.seconds = {}, {}
        directory = bench.directory()
        for name, words in self.steps:
            began = time.monotonic()
            result = bench.run(directory, Case(name, words))
            self.seconds[name] = time.monotonic() - began
            if result.code != 0:
                sys.exit(f"{words[0]} without faults fails: {result.stderr.decode()}")
            self.n_io[name] = result.counts["io"]
            self.outputs[name] = read(os.path.join(directory, name))
        whole = bench.directory()
        result = bench.run(whole, Case("whole", ["build", "-q", "-o", OUT, "../steps.bvecs"]))
        if result.code != 0 or read(os.path.join(whole, OUT)) != self.outputs[OUT]:
            sys.exit(f"the steps do not make the index of one build: {result.stderr.decode()}")

    def verdict(self, directory, name, must_be):
        """What is wrong with a step's output; it may be missing unless it must be there."""
        path = os.path.join(directory, name)
        if not os.path.exists(path):
            return [f"{name} is not there"] if must_be else []
        return [] if read(path) == self.outputs[name] else [f"{name} is another file"]


def kill_step(steps, directory, name, words, rng, counts):
    """Kills a step and starts it again until it is done. Returns what is wrong."""
    bench = steps.bench
    for attempt in range(1000):
        fault, seconds = None, SECONDS_MOST
        if rng.random() < (1 if attempt == 0 else 0.6):
            if rng.random() < 0.3:
                seconds = rng.uniform(0, 1.1 * steps.seconds[name])
            else:
                fault = f"kill:{rng.randint(1, steps.n_io[name])}{rng.choice(('', ':half'))}"
        process = bench.start(directory, Case(name, words), fault)
        try:
            stderr = process.communicate(timeout=seconds)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            stderr = process.communicate()[1]
        if process.returncode == 0:
            return steps.verdict(directory, name, True)
        if process.returncode != -signal.SIGKILL:
            return [f"{words[0]}: exit {process.returncode}: {stderr.decode(errors='replace')}"]
        counts[words[0]] = counts.get(words[0], 0) + 1
        wrong = steps.verdict(directory, name, False)
        if wrong:
            return [f"after a kill {text}" for text in wrong]
    return [f"{words[0]} is never done"]


def run_step_kills(bench, reporter):
    steps = Steps(bench)
    rng = random.Random(bench.options.seed)
    counts, faults, n_builds = {}, [], 0
    while sum(counts.values()) < bench.options.steps and not faults:
        directory, scratch = bench.directory(), bench.directory()
        tmp = ["--tmp", scratch] if n_builds % 2 else []  # every other with its checkpoints elsewhere
        n_builds += 1
        for name, words in steps.steps:
            more = tmp if words[0] != "query" else []  # which keeps its checkpoint beside its results
            faults += kill_step(steps, directory, name, [*words, *more], rng, counts)
            if faults:
                break
        left = sorted(set(os.listdir(directory)) - set(steps.outputs)) + os.listdir(scratch)
        if left and not faults:
            faults.append(f"left behind: {', '.join(left)}")
    told = ", ".join(f"{n} of {name}" for name, n in counts.items())
    reporter.tell("kills of steps", [f"{text} (index {n_builds})" for text in faults],
                  f"{sum(counts.values())} kills ({told}) in {n_builds} indexes")


# ---- lost writes ----

BLOCK_BYTES = 4096


def some(numbers, most=4):
    """So many of them at most: a build that gives space back has hundreds of writes between two syncs."""
    return numbers if len(numbers) <= most else sorted(random.Random(len(numbers)).sample(numbers, most))


class Inode:
    """A file: what is safe on the disk, and the writes since the last sync, in blocks that may be lost one by one."""

    def __init__(self, data=b""):
        self.durable = data
        self.pending = []  # (offset, bytes) or (length, None) for a truncation

    def write(self, offset, data):
        while data:
            n = BLOCK_BYTES - offset % BLOCK_BYTES
            self.pending.append((offset, data[:n]))
            offset, data = offset + n, data[n:]

    def sync(self):
        self.durable = self.content(range(len(self.pending)))
        self.pending = []

    def content(self, kept, length=None):
        """With those of the pending writes; or, given a length, grown to it by zeros."""
        data = bytearray(self.durable)
        for i in kept:
            offset, piece = self.pending[i]
            if piece is None:
                data = data[:offset] + bytes(max(0, offset - len(data)))
                continue
            if len(data) < offset:
                data += bytes(offset - len(data))
            data[offset:offset + len(piece)] = piece
        if length is not None and len(data) < length:
            data += bytes(length - len(data))
        return bytes(data)

    def survivors(self):
        """What a crash may leave of it: all, nothing of what is pending, its length alone, all but one block, the
        first blocks."""
        n = len(self.pending)
        whole = self.content(range(n))
        yield whole
        if n == 0:
            return
        yield self.durable
        yield self.content([], len(whole))
        for lost in some(range(n)):
            yield self.content([i for i in range(n) if i != lost], len(whole))
        for first in some(range(1, n)):
            yield self.content(range(first))


class Disk:
    """The directory of the build. Names change in order: a crash keeps the first of the changes since the last sync."""

    def __init__(self, names):
        self.names = {name: Inode(data) for name, data in names.items()}
        self.durable = dict(self.names)
        self.changes = []  # the maps after each change since the last sync
        self.open = {}

    def changed(self):
        self.changes.append(dict(self.names))

    def apply(self, call, fd, offset, flags, path, to, data):
        """One call of the trace; those on other directories do nothing."""
        if "/" in path or "/" in to:
            self.open.pop(fd, None)
            return False
        if call == "open":
            self.open[fd] = None
            if flags & os.O_DIRECTORY or path == ".":
                self.open[fd] = "directory"
                return False
            is_new = path not in self.names
            if is_new:
                self.names[path] = Inode()
                self.changed()
            self.open[fd] = self.names[path]
            if flags & os.O_TRUNC:
                self.open[fd].pending.append((0, None))
            return is_new or flags & os.O_TRUNC
        if call == "rename":
            self.names[to] = self.names.pop(path)
            self.changed()
            return True
        if call == "unlink":
            del self.names[path]
            self.changed()
            return True
        file = self.open.get(fd)
        if file is None:
            return False
        if call in ("fsync", "fdatasync", "syncfs"):
            if file == "directory" or call == "syncfs":
                self.durable = dict(self.names)
                self.changes = []
            if file != "directory":
                file.sync()
            return True
        if call == "ftruncate":
            file.pending.append((offset, None))
        else:
            file.write(offset, data)
        return True

    def survivors(self):
        """The directories that a crash may leave now."""
        for names in [self.durable, *self.changes]:
            whole = {name: file.content(range(len(file.pending))) for name, file in names.items()}
            for name, file in names.items():
                for content in file.survivors():
                    yield {**whole, name: content}
            # of all files at once nothing but what is safe
            yield {name: file.durable for name, file in names.items()}


def read_trace(path):
    with open(path, "rb") as file:
        while line := file.readline():
            call, fd, offset, n_bytes, flags, name, to = line.decode().rstrip("\n").split("\t")
            data = file.read(int(n_bytes))
            yield call, int(fd), int(offset), int(flags), name, to, data


class Draw:
    """Keeps so many states, each with the same chance, of those it is shown."""

    def __init__(self, options):
        self.kept, self.n_seen, self.most = [], 0, options.states
        self.rng = random.Random(options.seed)

    def add(self, state):
        self.n_seen += 1
        if not self.most or len(self.kept) < self.most:
            self.kept.append(state)
        elif (i := self.rng.randrange(self.n_seen)) < self.most:
            self.kept[i] = state


def fill(directory, files):
    for name in os.listdir(directory):
        os.unlink(os.path.join(directory, name))
    for name, data in files.items():
        with open(os.path.join(directory, name), "wb") as out:
            out.write(data)


def replay_build(victim, reporter, label, start):
    """Records a build in a directory of these files and lays out what crashes would leave. Returns some of the states:
    of those with a checkpoint if there are any, since a temporary alone is only overwritten."""
    bench = victim.bench
    directory = bench.directory()
    trace = bench.path("trace")
    fill(directory, start)
    result = bench.run(directory, victim.case, trace=trace)
    old, new = read(victim.old), read(victim.new)
    if result.code != 0:
        reporter.tell(label, [f"exit {result.code}: {result.stderr.decode(errors='replace')}"], "no trace")
        return []

    disk = Disk(start)
    checkpoints, others = Draw(bench.options), Draw(bench.options)
    seen, faults = set(), []
    n_calls = n_made = 0
    for call in read_trace(trace):
        if not disk.apply(*call):
            continue
        n_calls += 1
        for files in disk.survivors():
            n_made += 1
            key = digest(files)
            if key in seen:
                continue
            seen.add(key)
            (checkpoints if f"{OUT}.part" in files else others).add(files)
            if files.get(OUT) not in (old, new):
                faults.append(f"after call {n_calls} ({call[0]}) the output is "
                              + ("gone" if OUT not in files else f"{len(files[OUT])} bytes of neither index"))
    for files in disk.survivors():
        if files.get(OUT) != new:
            faults.append("after a build that was done, the new index can be lost")
            break
    if len(disk.names[OUT].content([])) != len(new):
        faults.append("the trace does not lead to the new index: the interposer misses calls")
    reporter.tell(label, faults, f"{n_calls} calls, {n_made} states, {len(seen)} different ones: each has the old "
                  "index or the new one")
    return checkpoints.kept or others.kept


def run_replay(bench, reporter):
    victim = Victim(bench)
    old = read(victim.old)
    states = replay_build(victim, reporter, "lost writes, the output", {OUT: old})
    unfinished = [files for files in states if f"{OUT}.part" in files and files.get(OUT) == old]
    if unfinished:
        # the one of them that has the checkpoint of middle length
        unfinished.sort(key=lambda files: len(files[f"{OUT}.part"]))
        states += replay_build(victim, reporter, "lost writes, the output of a build that resumed",
                               unfinished[len(unfinished) // 2])
    faults = []
    n_resumed = 0

    def work(worker):
        found, resumed = [], 0
        place = bench.directory()
        for files in states[worker::2]:
            fill(place, files)
            again = bench.run(place, victim.case)
            resumed += b"resuming" in again.stderr
            wrong = [f"exit {again.code}: {again.stderr.decode(errors='replace').strip()}"] if again.code else []
            wrong = wrong or victim.end_faults(place)
            if wrong:
                sizes = ", ".join(f"{name} of {len(data)} bytes" for name, data in files.items())
                found.append(f"from {sizes}: {'; '.join(wrong)}")
        return found, resumed

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for found, resumed in pool.map(work, range(2)):
            faults += found
            n_resumed += resumed
    if bench.can_resume and n_resumed == 0:
        faults.append("no run resumed from a checkpoint")
    reporter.tell("lost writes, the next build", faults, f"{len(states)} states, {n_resumed} of them resumed from")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["io", "alloc", "kills", "replay"])
    parser.add_argument("--omendb", default=os.environ.get("OMENDB_FAULT", "build/tests/omendb-fault"))
    parser.add_argument("--rows", type=int, default=3000, help="rows of the larger build (default: 3,000)")
    parser.add_argument("--threads", default="1", help="of each run (default: 1)")
    parser.add_argument("--stride", type=int, default=50,
                        help="io, alloc: of calls that come from the same place, the last, the first and every so many "
                        "from there (default: 50; 1: all)")
    parser.add_argument("--cases", type=int, default=2,
                        help="io, alloc: fail calls from the same place in that many cases (default: 2; 0: all)")
    parser.add_argument("--no-limits", action="store_true", help="io: without limits on the size of files")
    parser.add_argument("--count", type=int, default=60, help="kills (default: 60)")
    parser.add_argument("--steps", type=int, default=30,
                        help="kills of train, shards, merge, attach and query --self (default: 30)")
    parser.add_argument("--states", type=int, default=60,
                        help="replay: states that the next build starts from; 0: all (default: 60)")
    parser.add_argument("--base", help="kills, replay: rows of this fvecs or bvecs file")
    parser.add_argument("--case", default="", help="io, alloc: those with this in their names (default: all)")
    parser.add_argument("--seed", type=int, default=1, help="of all that is left to chance (default: 1)")
    options = parser.parse_args()
    options.cases = options.cases or sys.maxsize
    reporter = Reporter()
    with tempfile.TemporaryDirectory(prefix="omendb-fault-") as work:
        commands = {"io": run_io, "alloc": run_alloc, "kills": run_kills, "replay": run_replay}
        bench = Bench(options, work)
        commands[options.command](bench, reporter)
        if options.command == "kills":
            run_step_kills(bench, reporter)
    sys.exit(reporter.failed)


if __name__ == "__main__":
    main()
