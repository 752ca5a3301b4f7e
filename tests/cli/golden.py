#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Indexes that earlier versions wrote, in tests/data/golden, with the answers that they gave: later versions read them
and answer the same.

golden.py make            writes them anew, with the program of now
golden.py check [EVERY]   of each EVERYth (default 1): verify calls it sound, and every query has the answers kept
golden.py versions INDEX  a copy that another version wrote: a major version that is not known, sections that are not

OMENDB names the program; it works in the current directory.
"""
import lzma
import os
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import hostile  # noqa: E402

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "golden")
ANSWERS = "answers.tsv"
N, D = 40, 6
METRICS = ("l2", "ip", "cosine")
CODECS = ("none", "pq", "rabitq")
TIERS = ("none", "sq8", "sq12", "sq16", "f16", "f32")
# name: options of build
MORE = {"l2-pq-sq8-graph": "-m l2 -c pq -r sq8 --graph --degree 8",
        "ip-rabitq-f16-graph": "-m ip -c rabitq -r f16 --graph --degree 8",
        "l2-pq-sq16-keys": "-m l2 -c pq -r sq16 --key keys.txt",
        "l2-pq-sq8-numbers": "-m l2 -c pq -r sq8 --key numbers.txt",
        "l2-none-sq8-columns": "-m l2 -c none -r sq8 --columns columns.tsv --tags tags.txt"}


def kinds():
    out = {f"{metric}-{codec}-{tier}": f"-m {metric} -c {codec} -r {tier}"
           for metric in METRICS for codec in CODECS for tier in TIERS if codec != "none" or tier != "none"}
    return {**out, **MORE}


def rows(n, seed):
    """Eighths, which every machine makes alike."""
    out, state = [], seed
    for _ in range(n):
        row = []
        for j in range(D):
            state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
            row.append((state >> 56) / 8 + (state >> 40) % 4 * 9 * (j % 2))
        out.append(row)
    return out


def write_fvecs(path, values):
    with open(path, "wb") as file:
        for row in values:
            file.write(struct.pack(f"<I{D}f", D, *row))


def make_inputs():
    write_fvecs("base.fvecs", rows(N, 1))
    write_fvecs("queries.fvecs", rows(3, 2))
    with open("keys.txt", "w", encoding="utf-8") as file:
        file.writelines(f"{'ü' if i % 2 else 'k'}{i * 7 % 41}\n" for i in range(N))
    with open("numbers.txt", "w", encoding="utf-8") as file:
        file.writelines(f"{i * 1000003 - 20000000}\n" for i in range(N))
    with open("columns.tsv", "w", encoding="utf-8") as file:
        file.write("price\tweight\tlabel\n")
        file.writelines(f"{i * 3}\t{i / 8}\t{'bag' if i % 3 else ''}\n" for i in range(N))
    with open("tags.txt", "w", encoding="utf-8") as file:
        file.writelines(f"{'red ' if i % 2 else ''}{'blue' if i % 3 else ''}\n" for i in range(N))


def omendb(*words, allowed=(0,)):
    result = subprocess.run([os.environ["OMENDB"], *words], capture_output=True, check=False)
    if result.returncode not in allowed:
        sys.exit(f"{' '.join(words)} exits {result.returncode}: {result.stderr.decode()}")
    return result


def answers(name):
    """Lines of all ways to search this index, each behind the name of index and way."""
    ways = {"lists": "--way lists"}
    if name.endswith("-none"):
        ways["all"] = "--way lists --probes 5"
    else:
        ways["exact"] = "--exact"
        ways["within"] = "--exact --within " + {"l2": "700", "ip": "-3000", "cosine": "0.06"}[name.partition("-")[0]]
    if "graph" in name:
        ways["graph"] = "--way graph"
    if "columns" in name:
        ways["where"] = "--exact --where price>30/AND/(label='bag'/OR/weight<4.5)/AND/NOT/tags/HAS/'red'"
    for way, options in ways.items():
        words = [word.replace("/", " ") for word in options.split(" ")]
        if "--within" not in words:
            words += ["-k", "4"]
        out = omendb("query", "-q", "-t", "1", "--distances", *words, "golden.omen", "queries.fvecs").stdout.decode()
        for line in out.splitlines():
            yield f"{name}\t{way}\t{line}\n"


def make():
    os.makedirs(DATA, exist_ok=True)
    make_inputs()
    with open(os.path.join(DATA, ANSWERS), "w", encoding="utf-8") as kept:
        for name, options in kinds().items():
            omendb("build", "-q", "-t", "1", "-b", "6", "-l", "5", *options.split(), "-o", "golden.omen", "base.fvecs")
            with open("golden.omen", "rb") as file:
                packed = lzma.compress(file.read(), preset=9 | lzma.PRESET_EXTREME)
            with open(os.path.join(DATA, f"{name}.omen.xz"), "wb") as file:
                file.write(packed)
            kept.writelines(answers(name))


def check(every):
    make_inputs()
    with open(os.path.join(DATA, ANSWERS), encoding="utf-8") as file:
        kept = file.readlines()
    names = list(dict.fromkeys(line.split("\t")[0] for line in kept))
    if sorted(f"{name}.omen.xz" for name in names) != sorted(n for n in os.listdir(DATA) if n.endswith(".xz")):
        sys.exit("answers.tsv and the files beside it are of other indexes")
    for name in names[::every]:
        with lzma.open(os.path.join(DATA, f"{name}.omen.xz")) as file:
            hostile.write("golden.omen", file.read())
        omendb("verify", "-q", "-t", "1", "golden.omen")
        wanted = [line for line in kept if line.startswith(name + "\t")]
        found = list(answers(name))
        if found != wanted:
            odd = next((pair for pair in zip(wanted, found) if pair[0] != pair[1]), (len(wanted), len(found)))
            sys.exit(f"{name} answers {odd[1]!r}, and once {odd[0]!r}")


def refused(data, parts, name, code, text):
    hostile.write("other.omen", data if data else hostile.pack(7, parts))
    for command in (["query", "-q", "other.omen", "queries.fvecs"], ["verify", "other.omen"], ["info", "other.omen"],
                    ["attach", "-q", "--key", "numbers.txt", "-o", "new.omen", "other.omen"]):
        result = omendb(*command, allowed=(code,))
        if text not in (result.stdout + result.stderr).decode():
            sys.exit(f"{name}: {command[0]} says {(result.stdout + result.stderr).decode()!r}, not {text!r}")
    if os.path.exists("new.omen"):
        sys.exit(f"{name}: attach made an index")


def versions(path):
    """What docs/FORMAT.md says of newer files, in "Versions" and in the table of refusals."""
    make_inputs()
    with open(path, "rb") as file:
        data = file.read()
    parts = list(hostile.sections(data))
    plain = omendb("query", "-q", path, "queries.fvecs").stdout

    # a newer major version may have anything behind its header; a newer minor one is read
    for major, minor, rest in ((2, 0, data[64:]), (9, 3, b"anything" * 999), (0, 1, data[64:])):
        head = hostile.seal(data[:8] + struct.pack("<HH", major, minor) + data[12:56])
        refused(head + rest, None, f"major version {major}", 3, f"by format version {major}; this program reads")
    hostile.write("minor.omen", hostile.seal(data[:8] + struct.pack("<HH", 1, 7) + data[12:56]) + data[64:])
    # flags that must not be ignored, and those that may
    head = hostile.seal(data[:12] + struct.pack("<I", 1 << 3) + data[16:56])
    refused(head + data[64:], None, "a file flag", 3, "does not know")
    name, element, _, payload = parts[0]
    refused(None, [(name, element, 1 << 5, payload), *parts[1:]], "a section flag", 3, "does not know")
    hostile.write("advisory.omen", hostile.seal(data[:12] + struct.pack("<I", 1 << 20) + data[16:56]) + data[64:])
    # sections that are not known
    refused(None, [*parts, (b"NEWS", 0, 0, b"x" * 5000)], "a mandatory section", 3, "NEWS")
    hostile.write("optional.omen", hostile.pack(7, [*parts, (b"NEWS", 9, 1 | 1 << 17, b"x" * 5000)]))
    for other in ("minor.omen", "advisory.omen", "optional.omen"):
        omendb("verify", "-q", other)
        if omendb("query", "-q", other, "queries.fvecs").stdout != plain:
            sys.exit(f"{other} has other answers")


def main():
    words = sys.argv[1:]
    if words == ["make"]:
        make()
    elif words[:1] == ["check"]:
        check(int(words[1]) if len(words) > 1 else 1)
    elif words[:1] == ["versions"] and len(words) == 2:
        versions(words[1])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
