#!/usr/bin/env python3
"""Fault injection: builds, queries and verifications of which calls fail, that are killed, or that lose what was not
synced. Prints "ok - name" or "not ok - name: why" and exits 1 if anything is not ok. docs/RELIABILITY.md has the
promises that it checks.

fault.py io       each I/O call in turn fails with EIO, with ENOSPC, with ENOSPC from there on, and stops half way
fault.py alloc    each allocation in turn fails, alone and with all that follow
fault.py kills    builds are killed and started again until they are done
fault.py replay   after each call of a build, what was not synced is lost in every way that the replay knows

The program is --omendb, $OMENDB_FAULT or build/tests/omendb-fault: omendb with fault.c linked in.
"""
import argparse
import concurrent.futures
import filecmp
import gzip
import hashlib
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

IMAGES = "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz"
OUT = "out.omen"
SECONDS_MOST = 600

# Calls whose failure the program may survive, since it has another way or only tidies up.
OPTIONAL = {"unlink", "stat", "lstat", "fstat", "lseek"}
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
    """One command line. Its directory holds out.omen before the run, and after it what it writes."""

    def __init__(self, name, words, stdin=None, pipe=None, before=None, output=None):
        self.name, self.words, self.stdin, self.pipe, self.before, self.output = (
            name, words, stdin, pipe, before, output)
        self.is_build = words[0] == "build"


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

    def path(self, name):
        return os.path.join(self.work, name)

    def directory(self):
        self.serial += 1
        made = self.path(f"run{self.serial}")
        os.mkdir(made)
        return made

    def build_words(self, *words, n_chunks=4, n_rows=0):
        more = ["--chunk-rows", str(max(1, n_rows // n_chunks))] if self.can_resume and n_rows else []
        return ["build", "-q", *words, *more, "-o", OUT]

    def prepare(self, directory, case):
        for name in os.listdir(directory):
            os.unlink(os.path.join(directory, name))
        if case.before is not None:
            shutil.copyfile(case.before, os.path.join(directory, OUT))

    def start(self, directory, case, fault=None, notes=None, trace=None):
        environment = dict(self.environment)
        for name, value in (("OMEN_FAULT", fault), ("OMEN_FAULT_COUNT", notes), ("OMEN_FAULT_TRACE", trace)):
            if value is not None:
                environment[name] = value
        stdin = open(case.stdin, "rb") if case.stdin else subprocess.PIPE if case.pipe else subprocess.DEVNULL
        try:
            return subprocess.Popen([self.program, *case.words], cwd=directory, env=environment, stdin=stdin,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        finally:
            if case.stdin:
                stdin.close()

    def run(self, directory, case, fault=None, trace=None):
        notes = directory + ".notes"
        process = self.start(directory, case, fault, notes, trace)
        try:
            stdout, stderr = process.communicate(case.pipe, timeout=SECONDS_MOST)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return Result(-signal.SIGALRM, b"", b"still running", "")
        with open(notes, encoding="utf-8", errors="replace") as file:
            return Result(process.returncode, stdout, stderr, file.read())


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

def make_cases(bench):
    """Builds in their several ways, then queries and verifications of an index."""
    rows = list(fashion_rows(bench.options.rows, 16))
    few = rows[:400]
    bvecs(bench.path("base.bvecs"), rows)
    bvecs(bench.path("few.bvecs"), few)
    bvecs(bench.path("queries.bvecs"), few[-25:])
    npy_by_columns(bench.path("few.npy"), few)

    def index(name, *words):
        case = Case(name, ["build", "-q", *words, "-o", OUT])
        directory = bench.directory()
        result = bench.run(directory, case)
        if result.code != 0:
            sys.exit(f"a build without faults fails: {result.stderr.decode()}")
        os.rename(os.path.join(directory, OUT), bench.path(name))
        return bench.path(name)

    old = index("old.omen", "--seed", "7", "../few.bvecs")
    whole = index("whole.omen", "-m", "cosine", "-c", "pq", "../few.bvecs")
    n = len(few)
    threads = bench.options.threads
    return [
        Case("build", bench.build_words("-t", threads, "../base.bvecs", n_rows=len(rows)), before=old, output=OUT),
        Case("build of a stream", bench.build_words("-t", threads, "-f", "npy", "-c", "pq", "-r", "f16", "-", n_rows=n),
             pipe=read(bench.path("few.npy")), before=old, output=OUT),
        Case("build without an old index",
             bench.build_words("-t", threads, "-m", "ip", "-c", "rabitq", "--tune-queries", "../queries.bvecs",
                               "../few.npy", n_rows=n), output=OUT),
        Case("query", ["query", "-t", threads, OUT, "../queries.bvecs"], before=whole),
        Case("query to a file", ["query", "-t", threads, "-F", "npy", "--distances", "-o", "found.npy", OUT,
                                 "../queries.bvecs"], before=whole, output="found.npy"),
        Case("exact query of a stream", ["query", "-t", threads, "--exact", "-f", "bvecs", OUT, "-"],
             stdin=bench.path("queries.bvecs"), before=whole),
        Case("verify", ["verify", "-t", threads, OUT], before=whole),
        Case("verify with a source", ["verify", "-t", threads, "--source", "../few.bvecs", "--json", OUT],
             before=whole),
    ]


class Sweep:
    """All faults of one kind in one case."""

    def __init__(self, bench, case, wanted_exit):
        self.bench, self.case, self.wanted_exit = bench, case, wanted_exit
        directory = bench.directory()
        bench.prepare(directory, case)
        self.start = contents(directory)
        self.clean = bench.run(directory, case)
        self.end = contents(directory)
        self.rerun_states = {digest(self.start), digest(self.end)}
        if self.clean.code != 0:
            sys.exit(f"{case.name} without faults: exit {self.clean.code}: {self.clean.stderr.decode()}")

    def text_faults(self, result, many):
        """What is wrong with what a refusal says. Where many calls fail, there may be more to say than one line."""
        text = result.stderr.decode(errors="replace")
        lines = text.splitlines()
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
        may_stay = {f"{OUT}.part"} if self.case.is_build and result.code != 0 else set()
        if self.case.output is not None and any(hit[0] in TIDYING for hit in result.hits):
            may_stay.add(self.case.output + ".tmp")
        for name in sorted(left.keys() | wanted.keys()):
            if name in may_stay:
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
            return ["the fault was never reached"] if not self.case.is_build else [], False
        if any(mark in result.stderr for mark in SANITIZER):
            faults.append("a sanitizer complains")
        elif result.code == 0:
            call, path = result.hits[0]
            is_directory = call == "open" and os.path.isdir(os.path.join(directory, path))
            if not fault.startswith("short:") and call not in OPTIONAL and not is_directory:
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
    "fsync": "sync", "fdatasync": "sync", "syncfs": "sync", "pwrite": "write", "write": "write", "ftruncate": "truncate",
    "mmap": "map", "flock": "lock", "mkostemp": "create", "fdopen": "", "fstat": "", "stat": "", "lstat": "",
    "lseek": "", "pread": "read", "open": "", "fflush": "write", "fclose": "write",
}


def numbers(count, options):
    """1 to count: all of the first, then every so many."""
    dense = min(count, options.dense)
    return list(range(1, dense + 1)) + list(range(dense + 1, count + 1, options.stride))


def run_io(bench, reporter):
    for case in make_cases(bench):
        sweep = Sweep(bench, case, 4)
        which = numbers(sweep.clean.counts["io"], bench.options)
        plans = [f"io:{i}{end}" for i in which for end in (":EIO", ":ENOSPC", "+:ENOSPC")]
        faults, n_refused = sweep.run(plans)
        reporter.tell(f"I/O errors, {case.name}", faults, f"{len(plans)} faults, {n_refused} of them refused")
        which = numbers(sweep.clean.counts["short"], bench.options)
        if which:
            faults, n_refused = sweep.run([f"short:{i}" for i in which])
            if n_refused:
                faults.append(f"{n_refused} short counts were refused")
            reporter.tell(f"short counts, {case.name}", faults, f"{len(which)} calls")


def run_alloc(bench, reporter):
    for case in make_cases(bench):
        sweep = Sweep(bench, case, 5)
        which = numbers(sweep.clean.counts["alloc"], bench.options)
        plans = [f"alloc:{i}{end}" for i in which for end in ("", "+")]
        faults, n_refused = sweep.run(plans)
        reporter.tell(f"failing allocations, {case.name}", faults,
                      f"{len(plans)} faults of {sweep.clean.counts['alloc']} calls, {n_refused} refused")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["io", "alloc", "kills", "replay"])
    parser.add_argument("--omendb", default=os.environ.get("OMENDB_FAULT", "build/tests/omendb-fault"))
    parser.add_argument("--rows", type=int, default=3000, help="rows of the larger build (default: 3,000)")
    parser.add_argument("--threads", default="1", help="of each run (default: 1)")
    parser.add_argument("--dense", type=int, default=300, help="every fault up to this number (default: 300)")
    parser.add_argument("--stride", type=int, default=7, help="and every so many beyond (default: 7)")
    options = parser.parse_args()
    reporter = Reporter()
    with tempfile.TemporaryDirectory(prefix="omendb-fault-") as work:
        commands = {"io": run_io, "alloc": run_alloc}
        commands[options.command](Bench(options, work), reporter)
    sys.exit(reporter.failed)


if __name__ == "__main__":
    main()
