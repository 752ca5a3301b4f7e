#!/usr/bin/env python3
"""Damages an index in every place and checks that omendb notices each time.

damage.py flip INDEX SCRATCH    flips one bit in each byte: verify exits 3 and names every file
damage.py cut INDEX SCRATCH     cuts it at every length: verify --quick exits 3 and names every file
damage.py search INDEX QUERIES SCRATCH N
                                flips one bit in each of N bytes: query answers or exits 3, never dies

Many damaged copies go to one call of verify, since starting a process takes longer than the check.
The program is $OMENDB. The exit status is 1 at the first copy that passes.
"""
import os
import subprocess
import sys

BATCH = 400


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


def flip(data, scratch):
    paths = copies(data, scratch)
    files = [open(path, "r+b", buffering=0) for path in paths]
    for start in range(0, len(data), len(paths)):
        places = range(start, min(start + len(paths), len(data)))
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


def search(data, queries, scratch, n):
    path = os.path.join(scratch, "copy.omen")
    places = [i for i, byte in enumerate(data) if byte]
    for place in places[::max(1, len(places) // n)]:
        with open(path, "wb") as out:
            out.write(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1:])
        command = [os.environ["OMENDB"], "query", "-k", "3", path, queries]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode not in (0, 3):
            sys.exit(f"a bit flipped at byte {place}: query exits {result.returncode}:\n{result.stderr[-3000:]}")


def main():
    command, index, *words = sys.argv[1:]
    with open(index, "rb") as file:
        data = file.read()
    if command == "flip":
        flip(data, words[0])
    elif command == "cut":
        cut(data, words[0])
    elif command == "search":
        search(data, words[0], words[1], int(words[2]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
