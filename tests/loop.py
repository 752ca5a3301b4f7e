#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds and queries with random options, threads and limits, again and again; and queries of an index that is replaced
meanwhile. Prints "ok - name" or "not ok - name: why" and exits 1 if anything is not ok.

Of each index: the same bytes whatever the number of threads and the level of SIMD; under a limit of memory, addresses
or file size the same bytes again, or exit 4 or 5 and no file; the same results likewise; verify finds it sound; no file
is left that was not asked for, and nothing in TMPDIR.

The program is --omendb, $OMENDB or build/cmd/omendb. With --sanitized, a build with -Db_sanitize=address, every fifth
round runs that program too, and compares: LeakSanitizer then sees builds and queries, those that fail among them.
"""
import argparse
import collections
import os
import random
import resource
import shlex
import subprocess
import sys
import tempfile
import threading
import time

import numpy

SECONDS_MOST = 600
SANITIZER = (b"ERROR: AddressSanitizer", b"ERROR: LeakSanitizer", b"runtime error:")


class Fault(Exception):
    pass


class Loop:
    def __init__(self, options, work):
        self.program = os.path.abspath(options.omendb)
        self.sanitized = os.path.abspath(options.sanitized) if options.sanitized else None
        self.work = work
        self.temporary = os.path.join(work, "tmp")
        self.threads = options.threads
        self.has_limits = not options.no_limits
        self.levels = []
        self.counts = collections.Counter()
        os.mkdir(self.temporary)

    def find_levels(self):
        numpy.save(self.path("base.npy"), numpy.eye(9, dtype=numpy.float32))
        for level in ("scalar", "avx2", "avx512", "avx512vnni", "neon"):
            if self.run(["build", "-q", "--cpu", level, "-o", "out.omen", "base.npy"])[0] == 0:
                self.levels.append(level)
                os.remove(self.path("out.omen"))

    def work_options(self, rng):
        return ["-t", str(rng.randint(1, self.threads)), "--cpu", rng.choice(self.levels)]

    def run(self, words, program=None, limits=()):
        """Runs the program; returns its exit code, standard output and standard error."""
        def restrict():
            for what, most in limits:
                resource.setrlimit(what, (most, most))
        environment = dict(os.environ, TMPDIR=self.temporary, OMP_WAIT_POLICY="passive")
        done = subprocess.run([program or self.program, *words], cwd=self.work, env=environment, timeout=SECONDS_MOST,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              preexec_fn=restrict if limits else None)
        told = " ".join(shlex.quote(w) for w in words)
        if limits and done.returncode == 127: # the system could not load it
            return 5, b"", done.stderr
        if done.returncode < 0 or done.returncode > 5 or any(s in done.stderr for s in SANITIZER):
            raise Fault(f"{told}: exit code {done.returncode}: {done.stderr[-2000:].decode(errors='replace')}")
        if done.returncode != 0 and not done.stderr.strip():
            raise Fault(f"{told}: exit code {done.returncode} without a word")
        self.counts["runs"] += 1
        return done.returncode, done.stdout, done.stderr

    def path(self, name):
        return os.path.join(self.work, name)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def has_only(self, names, told):
        found = sorted(os.listdir(self.work)) + os.listdir(self.temporary)
        if found != sorted([*names, "tmp"]):
            raise Fault(f"{told}: there is {found}")


# ---- random inputs and options ----

def rows(rng, n, d):
    kind = rng.randrange(5)
    draw = numpy.random.default_rng(rng.getrandbits(32))
    if kind == 0:
        return draw.integers(0, 256, (n, d)).astype(numpy.float32)
    x = draw.standard_normal((n, d)).astype(numpy.float32)
    if kind == 1:
        x = x[draw.integers(0, max(1, n // 8), n)]
    elif kind == 2:
        x += 4 * draw.standard_normal((9, d)).astype(numpy.float32)[draw.integers(0, 9, n)]
    elif kind == 3:
        x = x * numpy.float32(10) ** draw.integers(-6, 6)
    return x


def build_options(rng, n):
    words = ["-m", rng.choice(["l2", "ip", "cosine"]), "-b", str(rng.choice([4, 8, 16, 24, 32, 33, 64])),
             "-c", rng.choice(["auto", "pq", "rabitq", "none"]),
             "-r", rng.choice(["auto", "auto", "sq8", "sq12", "sq16", "f16", "f32", "none"]),
             "--seed", str(rng.randrange(9))]
    if rng.random() < 0.4:
        words += ["-l", str(rng.randint(1, n))]
    if rng.random() < 0.4:
        words += ["--graph", "--degree", str(rng.choice([8, 16, 32]))]
    if rng.random() < 0.3:
        words += ["--key", "keys"]
    if rng.random() < 0.3:
        words += ["--columns", "columns.csv"]
    if rng.random() < 0.3:
        words += ["--tune-queries", "queries.npy"]
    if rng.random() < 0.3:
        words += ["--chunk-rows", str(rng.randint(1, n))]
    return words


def query_options(rng, n, built):
    words = ["--recall", rng.choice(["0.5", "0.9", "0.95", "1"])]
    if rng.random() < 0.2:
        words = ["--exact"]
    elif rng.random() < 0.3:
        words = ["--probes", str(rng.randint(1, 40)), "--rerank", str(rng.randint(1, 400))]
    elif "--graph" in built and rng.random() < 0.5:
        words += ["--way", rng.choice(["graph", "lists"])]
    words += ["-k", str(rng.choice([1, 10, 100, n + 1]))]
    if "--columns" in built and rng.random() < 0.5:
        words += ["--where", rng.choice(["a < 30", "b = 'x'", "a BETWEEN 5 AND 60 OR b IN ('y', 'z')", "b IS NULL"])]
    if rng.random() < 0.3:
        words += ["--batch", str(rng.randint(1, 50))]
    if rng.random() < 0.2:
        words += ["--audit", "9"]
    words += ["-F", rng.choice(["tsv", "jsonl", "csv"])]
    if rng.random() < 0.5:
        words.append("--distances")
    return words


# ---- a round ----

def limits_of(rng, words):
    """A limit for a build: words of its own, and limits of the system."""
    kind = rng.randrange(3)
    if kind == 0:
        return [*words, "--memory", rng.choice(["1M", "4M", "16M", "64M", "1G"])], ()
    if kind == 1:
        return words, ((resource.RLIMIT_AS, rng.randint(8, 64) << 20),)
    return words, ((resource.RLIMIT_FSIZE, rng.choice([100, 5000, 50000, 200000])),)


def write_inputs(loop, rng, n, d):
    numpy.save(loop.path("base.npy"), rows(rng, n, d))
    numpy.save(loop.path("queries.npy"), rows(rng, rng.randint(1, 60), d))
    with open(loop.path("keys"), "w", encoding="utf-8") as out:
        out.writelines(f"key {i}\n" for i in range(n))
    with open(loop.path("columns.csv"), "w", encoding="utf-8") as out:
        out.write("a,b\n")
        out.writelines(f"{rng.randrange(99)},{rng.choice(['x', 'y', 'z', ''])}\n" for _ in range(n))


def one_round(loop, rng, number):
    n, d = rng.choice([1, 2, 50, 300, 1000, 3000]), rng.choice([1, 2, 3, 16, 33, 100, 256])
    inputs = ["base.npy", "queries.npy", "keys", "columns.csv"]
    write_inputs(loop, rng, n, d)
    options = build_options(rng, n)
    build = ["build", "-q", *options, "-o", "out.omen"]
    told = " ".join([*build, f"({n} x {d})"])
    code, _, why = loop.run([*build, *loop.work_options(rng), "base.npy"])
    loop.counts["indexes" if code == 0 else "refused"] += 1
    if code not in (0, 2):
        raise Fault(f"{told}: exit code {code}: {why}")
    loop.has_only(inputs + ["out.omen"] * (code == 0), told)
    index = loop.read("out.omen") if code == 0 else None
    programs = [loop.program] + [loop.sanitized] * (loop.sanitized is not None and number % 5 == 0)

    for program in programs: # the same again
        if index:
            os.remove(loop.path("out.omen"))
        again, _, _ = loop.run([*build, *loop.work_options(rng), "base.npy"], program)
        if again != code or (index and loop.read("out.omen") != index):
            raise Fault(f"{told}: not the same again: exit codes {code}, {again}")
    loop.has_only(inputs + ["out.omen"] * (code == 0), told)
    if not index:
        return

    os.remove(loop.path("out.omen")) # with a limit; what is left of it is a checkpoint, which the next build continues
    limited, limits = limits_of(rng, build) if loop.has_limits else (build, ())
    code, _, why = loop.run([*limited, *loop.work_options(rng), "base.npy"], limits=limits)
    loop.counts["stopped by a limit"] += code != 0
    part = [name for name in ["out.omen.part"] if os.path.exists(loop.path(name))]
    if code not in (0, 4, 5) or (code == 0 and part):
        raise Fault(f"{told} with a limit: exit code {code}: {why}")
    loop.has_only(inputs + part + ["out.omen"] * (code == 0), f"{told} with a limit")
    if code != 0:
        loop.counts["continued"] += bool(part)
        code, _, why = loop.run([*build, *loop.work_options(rng), "base.npy"])
    if code != 0 or loop.read("out.omen") != index:
        raise Fault(f"{told} after a limit: exit code {code}: {why}")
    if loop.run(["verify", "-q", "out.omen"])[0] != 0:
        raise Fault(f"{told}: verify refuses it")

    for _ in range(3):
        words = ["query", "-q", *query_options(rng, n, options)]
        told_query = f"{told}; {' '.join(words)}"
        first = None
        for program in [loop.program, *programs]:
            code, found, _ = loop.run([*words, *loop.work_options(rng), "out.omen", "queries.npy"], program)
            if code not in (0, 2) or (first and (code, found) != first):
                raise Fault(f"{told_query}: exit code {code}, or not the same results")
            first = (code, found)
        loop.counts["queries" if code == 0 else "queries refused"] += 1
        if not loop.has_limits:
            continue
        code, found, why = loop.run([*words, *loop.work_options(rng), "out.omen", "queries.npy"],
                                    limits=((resource.RLIMIT_AS, rng.randint(8, 40) << 20),))
        if code not in (5, first[0]) or (code == first[0] and found != first[1]):
            raise Fault(f"{told_query}: with a limit: exit code {code}: {why}, or not the same results")
        loop.counts["queries short of memory"] += code == 5
        loop.has_only(inputs + ["out.omen"], told_query)


# ---- an index that is replaced ----

def replacements(loop, rng, count, n_readers=8):
    """Readers query while the index is replaced: each answer is that of one of the two, whole."""
    numpy.save(loop.path("queries.npy"), rows(rng, 20, 48))
    query = ["query", "-q", "-t", "2", "--distances", "live.omen", "queries.npy"]
    answers, turn = [], threading.Condition()
    n_done, faults, seen, stops = [0], [], collections.Counter(), threading.Event()
    for name in ("one", "two"):
        numpy.save(loop.path(name + ".npy"), rows(rng, 3000, 48))
        if loop.run(["build", "-q", "-r", "sq8", "-o", name + ".omen", name + ".npy"])[0] != 0:
            raise Fault("no index to replace")
        os.replace(loop.path(name + ".omen"), loop.path("live.omen"))
        answers.append(loop.run(query)[1])
        os.link(loop.path("live.omen"), loop.path(name + ".omen"))

    def read():
        while not stops.is_set():
            try:
                code, found, why = loop.run(query)
                if code != 0 or found not in answers:
                    faults.append(f"exit code {code}: {why}" if code else "an answer that neither index has")
                else:
                    seen[answers.index(found)] += 1
            except Fault as fault:
                faults.append(str(fault))
            with turn:
                n_done[0] += 1
                turn.notify()

    readers = [threading.Thread(target=read) for _ in range(n_readers)]
    for reader in readers:
        reader.start()
    try:
        for i in range(count):
            name = ("one", "two")[i % 2]
            with open(loop.path("next"), "wb") as out: # a new file each time
                out.write(loop.read(name + ".omen"))
            os.rename(loop.path("next"), loop.path("live.omen"))
            with turn: # some query ends between any two
                before = n_done[0]
                turn.wait_for(lambda before=before: n_done[0] > before, timeout=SECONDS_MOST)
    finally:
        stops.set()
        for reader in readers:
            reader.join()
    if not faults and len(seen) < 2:
        faults.append(f"only one of the indexes was read, {sum(seen.values())} times")
    if faults:
        raise Fault(f"{len(faults)} of {n_done[0]} queries: {faults[0]}")
    return (f"{n_done[0]} queries by {n_readers} processes, {count} replacements: {seen[0]} answers of one, "
            f"{seen[1]} of the other")


def main():
    parser = argparse.ArgumentParser(description="Random builds and queries in a loop.")
    parser.add_argument("--seconds", type=float, default=3600, help="of the loop (default: 3,600)")
    parser.add_argument("--rounds", type=int, default=sys.maxsize, help="at most so many rounds (default: by time)")
    parser.add_argument("--replacements", type=int, default=100, help="of an index that is queried (default: 100)")
    parser.add_argument("--threads", type=int, default=4, help="of a run, at most (default: 4)")
    parser.add_argument("--no-limits", action="store_true", help="of memory and the like, which sanitizers cannot take")
    parser.add_argument("--omendb", default=os.environ.get("OMENDB", "build/cmd/omendb"))
    parser.add_argument("--sanitized", help="a build of the same program with AddressSanitizer")
    parser.add_argument("--seed", type=int, default=1, help="of all that is left to chance (default: 1)")
    options = parser.parse_args()
    failed = False

    with tempfile.TemporaryDirectory(prefix="omendb-loop-") as work:
        loop, number = Loop(options, work), 0
        began = told = time.monotonic()
        try:
            loop.find_levels()
            while number < options.rounds and time.monotonic() - began < options.seconds:
                one_round(loop, random.Random(f"{options.seed} {number}"), number)
                for name in os.listdir(work):
                    if name != "tmp":
                        os.remove(loop.path(name))
                number += 1
                if time.monotonic() - told > 15:
                    told = time.monotonic()
                    print(f"# {number} rounds, {told - began:.0f} s", flush=True)
            print(f"ok - random options: {number} rounds in {time.monotonic() - began:.0f} s, "
                  + ", ".join(f"{v} {k}" for k, v in loop.counts.items()))
        except Fault as fault:
            failed = True
            print(f"not ok - random options: round {number} of seed {options.seed}: {fault}")
    with tempfile.TemporaryDirectory(prefix="omendb-loop-") as work:
        try:
            print("ok - replaced indexes: " + replacements(Loop(options, work), random.Random(options.seed),
                                                             options.replacements))
        except Fault as fault:
            failed = True
            print(f"not ok - replaced indexes: {fault}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
