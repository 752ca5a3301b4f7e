#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Size and speed of `omendb compress` beside zstd and Blosc2, on the files given.

compress.py --omendb PATH [--runs 3] [--threads 2] FILE...

For each: the ratio to the original, and MB/s of the original in both directions, medians. omendb and zstd are whole
commands from file to file; omendb syncs what it writes, zstd does not. Blosc2 (pip install blosc2; left out when it is
not there) works in memory, with the type size of the file's values, bit or byte shuffle, whichever is smaller.
"""
import argparse
import os
import statistics
import subprocess
import tempfile
import time

VALUE_BYTES = {".fvecs": 4, ".npy": 4, ".fbin": 4}


def timed(runs, command, before=None):
    seconds = []
    for _ in range(runs):
        if before:
            before()
        start = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.monotonic() - start)
    return statistics.median(seconds)


def commands(options, path, scratch):
    packed, back, t = os.path.join(scratch, "packed"), os.path.join(scratch, "back"), str(options.threads)
    for level in ("-1", "-3", "-19"):
        yield (f"omendb compress {level}", [options.omendb, "compress", "-q", "-f", "-t", t, level, "-o", packed, path],
               [options.omendb, "compress", "-q", "-d", "-f", "-t", t, "-o", back, packed], packed, back)
    for level in ("-3", "-19"):
        yield (f"zstd {level}", ["zstd", "-q", "-f", "-T" + t, level, "-o", packed, path],
               ["zstd", "-q", "-d", "-f", "-o", back, packed], packed, back)


def blosc(options, path):
    try:
        import blosc2
    except ImportError:
        return
    with open(path, "rb") as file:
        data = file.read()
    blosc2.set_nthreads(options.threads)
    size = VALUE_BYTES.get(os.path.splitext(path)[1], 1)
    for clevel in (5, 9):
        best = None
        for name, filter_ in (("shuffle", blosc2.Filter.SHUFFLE), ("bitshuffle", blosc2.Filter.BITSHUFFLE)):
            def pack():
                return [blosc2.compress2(data[i:i + (1 << 30)], typesize=size, clevel=clevel, codec=blosc2.Codec.ZSTD,
                                         filters=[filter_], nthreads=options.threads)
                        for i in range(0, len(data), 1 << 30)]
            times, back_times = [], []
            for _ in range(options.runs):
                start = time.monotonic()
                packed = pack()
                times.append(time.monotonic() - start)
                start = time.monotonic()
                for piece in packed:
                    blosc2.decompress2(piece, nthreads=options.threads)
                back_times.append(time.monotonic() - start)
            n = sum(len(piece) for piece in packed)
            found = (n, f"blosc2 zstd {clevel} {name}", statistics.median(times), statistics.median(back_times))
            best = found if best is None or found < best else best
        yield best[1], best[0], best[2], best[3]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--omendb", required=True)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    print("| file | MB | with | ratio | compressing MB/s | back MB/s |\n|---|---:|---|---:|---:|---:|")
    for path in options.files:
        n = os.path.getsize(path)
        start = f"| {os.path.basename(path)} | {n / 1e6:.0f} |"
        with tempfile.TemporaryDirectory() as scratch:
            for name, pack, unpack, packed, back in commands(options, path, scratch):
                runs = 1 if "-19" in name else options.runs
                seconds = timed(runs, pack)
                back_seconds = timed(options.runs, unpack)
                print(f"{start} {name} | {n / os.path.getsize(packed):.3f} | {n / seconds / 1e6:.0f} | "
                      f"{n / back_seconds / 1e6:.0f} |", flush=True)
        for name, size, seconds, back_seconds in blosc(options, path):
            print(f"{start} {name} | {n / size:.3f} | {n / seconds / 1e6:.0f} | {n / back_seconds / 1e6:.0f} |",
                  flush=True)


if __name__ == "__main__":
    main()
