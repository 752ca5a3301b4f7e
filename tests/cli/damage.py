#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Damages an index in every place and checks that omendb notices each time.

damage.py flip INDEX SCRATCH [FROM]
                                flips one bit in each byte from this one on (each 7th where OMEN_TEST_QUICK is set):
                                verify exits 3 and names every file
damage.py cut INDEX SCRATCH     cuts it at every length: verify --quick exits 3 and names every file
damage.py search INDEX QUERIES SCRATCH N
                                damages N copies: query gives the right answer or exits 3
damage.py where INDEX SECTION   prints the section's first byte in the file and its length

Many damaged copies go to one call of verify, since starting a process takes longer than the check.
The program is $OMENDB. The exit status is 1 at the first copy that passes.
"""
import os
import random
import struct
import subprocess
import sys

BATCH = 400
STEP = 7 if os.environ.get("OMEN_TEST_QUICK") else 1  # every so many bytes


def verify(paths, *options):
    """Returns the paths that were not called faulty."""
    result = subprocess.run([os.environ["OMENDB"], "verify", "-q", *options, *paths], capture_output=True, text=True)
    if result.returncode != 3:
        sys.exit(f"verify of {len(paths)} damaged copies exits {result.returncode}:\n{result.stderr[-3000:]}")
    named = {line.split(": ", 1)[0] for line in result.stdout.splitlines()}
    return [path for path in paths if path not in named]


def copies(data, scratch):
    paths = [os.path.join(scratch, f"copy-{i}.omen") for i in range(min(BATCH, len(data)))]
    for path in paths:
        with open(path, "wb") as out:
            out.write(data)
    return paths


def flip(data, scratch, first=0):
    paths = copies(data, scratch)
    files = [open(path, "r+b", buffering=0) for path in paths]
    for start in range(first, len(data), STEP * len(paths)):
        places = range(start, min(start + STEP * len(paths), len(data)), STEP)
        for file, place in zip(files, places):
            os.pwrite(file.fileno(), bytes([data[place] ^ 1 << place % 8]), place)
        missed = verify(paths[:len(places)])
        if missed:
            sys.exit(f"a bit flipped at byte {places[paths.index(missed[0])]} passes verify ({len(missed)} in a row "
                     f"from byte {start})")
        for file, place in zip(files, places):
            os.pwrite(file.fileno(), data[place:place + 1], place)


def cut(data, scratch):
    paths = copies(data, scratch)
    for start in range(0, len(data), len(paths)):
        lengths = range(len(data) - 1 - start, max(len(data) - 1 - start - len(paths), -1), -1)
        for path, length in zip(paths, lengths):
            os.truncate(path, length)
        missed = verify(paths[:len(lengths)], "--quick")
        if missed:
            sys.exit(f"a file cut at byte {lengths[paths.index(missed[0])]} passes verify --quick")


def damaged(data, rng):
    """A copy in which one bit, hundreds of bytes, or a stretch of bytes is not what it was."""
    copy = bytearray(data)
    kind = rng.randrange(4)
    if kind == 0:
        place = rng.choice([i for i in (rng.randrange(len(copy)) for _ in range(50)) if copy[i]] or [0])
        copy[place] ^= 1 << rng.randrange(8)
    elif kind == 1:
        for _ in range(300):
            copy[rng.randrange(4096, len(copy))] = rng.randrange(256)
    else:
        n = rng.choice([1, 8, 100, 4096, len(copy) // 3])
        place = rng.randrange(64, len(copy) - n)
        copy[place:place + n] = bytes([rng.choice([0, 255])]) * n if kind == 2 else rng.randbytes(n)
    return bytes(copy)


def search(data, queries, scratch, n):
    rng = random.Random(len(data))
    path = os.path.join(scratch, "copy.omen")
    ways = [["-k", "3"], ["-k", "10", "--probes", "1"], ["-k", "3", "--exact"]]
    if b"GADJ" in data[struct.unpack_from("<Q", data, len(data) - 56)[0]:]:
        ways += [["-k", "3", "--way", "graph"], ["-k", "10", "--way", "graph", "--recall", "0.99"]]

    def query(way, options=()):
        command = [os.environ["OMENDB"], "query", "--distances", *way, *options, path, queries]
        return subprocess.run(command, capture_output=True, text=True)

    with open(path, "wb") as out:
        out.write(data)
    right = [query(way) for way in ways]
    if any(answer.returncode for answer in right):
        sys.exit("the undamaged index cannot be searched")
    n_refused = 0
    for i in range(n):
        with open(path, "wb") as out:
            out.write(damaged(data, rng))
        result, expected = query(ways[i % len(ways)]), right[i % len(ways)].stdout
        n_refused += result.returncode == 3
        if result.returncode == 3 and not result.stdout:
            if not result.stderr.startswith(f'omendb query: "{path}"'):
                sys.exit(f"copy {i}: the file is not named:\n{result.stderr[-3000:]}")
        elif result.returncode != 0 or result.stdout != expected:
            sys.exit(f"copy {i}: query exits {result.returncode} and its answer is another:\n{result.stderr[-3000:]}")
    if n_refused == 0 or n_refused == n:
        sys.exit(f"{n_refused} of {n} damaged copies are refused: the test tests nothing")


def where(data, name):
    table, length = struct.unpack_from("<QQ", data, len(data) - 56)
    for at in range(table, table + length, 64):
        if data[at:at + 4] == name.encode():
            print(*struct.unpack_from("<QQ", data, at + 16))


def main():
    command, index, *words = sys.argv[1:]
    with open(index, "rb") as file:
        data = file.read()
    if command == "flip":
        flip(data, words[0], int(words[1]) if len(words) > 1 else 0)
    elif command == "cut":
        cut(data, words[0])
    elif command == "search":
        search(data, words[0], words[1], int(words[2]))
    elif command == "where":
        where(data, words[0])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
