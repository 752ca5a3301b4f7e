#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Changes a file and makes all its checksums right again, so that only the contents lie.

hostile.py packed PACKED N   fields of the sections of a compressed file, or of codes, in each of N copies: verify and
                             compress -d exit 0, 2 or 3 and stay below 1 GB
hostile.py index INDEX QUERIES N [OPTION...]
                             the same of an index, queried with these options, or of a compressed one: query and verify
                             exit 0 or 3 (2 too with options; 2 or 5 of a compressed one), results are numbers and rows,
                             what query refuses verify calls corrupt
hostile.py keyfiles INDEX N FILE...
                             the same of the beginnings of files of keys, or, OPTION:FILE, of what another option of
                             attach takes, or, key=:COLUMN:FILE, of tables with keys: attach exits 0, 2 or 5
hostile.py keys INDEX QUERIES KEYS N
                             the same of the sections of keys, by which query finds all rows in KEYS or exits 2 or 3
hostile.py checkpoint PART INPUT N OPTION...
                             the same of a checkpoint: the build that continues it, with these options, exits 0 and
                             makes an index that verify calls sound, or 2 or 3
hostile.py results PART INDEX N OPTION...
                             the same of the checkpoint of query --self: it exits 0, and writes rows in order, or 2 or 3
hostile.py shards MODEL N SHARD...
                             the same of a model and its shards: build --shard and merge exit 0, and make an index that
                             verify calls sound, or 2 to 4
hostile.py recode SHARD OUT [AT]
                             a shard with one byte of its last run changed, the last or AT, and checksums to match
hostile.py same_rows SHARD OUT MODEL
                             a shard of all rows, each of its queries' neighbours the query itself, ever farther away
hostile.py empty_run SHARD OUT
                             a shard with a run of no rows behind the others
hostile.py vectors INDEX N FILE...
                             the same of the headers of files of vectors: query by them exits 0 or 2
hostile.py bomb PACKED       an original of 2^50 bytes claimed: refused with exit 3, below 200 MB
hostile.py bombs QUERIES     small files that claim much: codes of META alone, an index of 1 TB, zeros that are said to
                             be an index or vectors
hostile.py sparse PART INPUT OPTION...
                             holes behind the head of a checkpoint, of which a run claims a terabyte, which is refused
                             at once, or as much as the build could have written, whose check a signal ends

Needs xxh3 checksums, which it takes from libxxhash by ctypes.
"""
import ctypes
import ctypes.util
import math
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import time

BLOCK = 4096
MIB = 1 << 20
PART_VERSION = 6  # of checkpoints, models and shards: docs/FORMAT.md
PART = "out.omen.part"
xxhash = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0")
xxhash.XXH3_64bits.restype = ctypes.c_uint64
xxhash.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


xxhash.XXH3_64bits_withSeed.restype = ctypes.c_uint64
xxhash.XXH3_64bits_withSeed.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]


def xxh3(data):
    return xxhash.XXH3_64bits(bytes(data), len(data))


def up(x, m):
    return (x + m - 1) // m * m


# ---- containers ----


def sections(data):
    """(id, element, flags, payload) of each section."""
    table, length = struct.unpack_from("<QQ", data, len(data) - 56)
    for at in range(table, table + length, 64):
        name, element, flags, _, offset, n = struct.unpack_from("<4sIIIQQ", data, at)
        yield name, element, flags, bytearray(data[offset:offset + n])


def seal(record):
    return record[:56] + struct.pack("<Q", xxh3(record[:56]))


def checksums(data):
    """Of each block; then of each block of those, and so on: all levels, and the hash of the last."""
    levels = b""
    while True:
        data = b"".join(struct.pack("<Q", xxh3(data[i:i + BLOCK])) for i in range(0, len(data), BLOCK))
        levels += data
        if len(data) <= BLOCK:
            return levels, xxh3(data)


def file_header(identity):
    return seal(struct.pack("<8sHHIQ", b"OMENDB\r\n", 1, 0, 0, identity) + bytes(32)).ljust(4096, b"\0")


def pack(identity, parts):
    """The container of these sections."""
    out = bytearray(file_header(identity))
    table = b""
    for name, element, flags, payload in parts:
        offset = len(out)
        sums, top = checksums(payload)
        out += payload
        out += bytes(up(len(out), 8) - len(out)) + sums
        out += bytes(up(len(out), 4096) - len(out))
        table += struct.pack("<4sIIIQQQQQQ", name, element, flags, 0, offset, len(payload), len(payload),
                             len(sums) // 8, top, 0)
    place = len(out)
    out += table
    out += seal(b"OMENEND\n" + struct.pack("<QQQQQQ", place, len(table), xxh3(table), len(out) + 64, identity, 0))
    return bytes(out)


def identity_of(data):
    return struct.unpack_from("<Q", data, 16)[0]


# ---- checkpoints ----


def records(data):
    """[kind, payload] of each record."""
    at, out = 4096, []
    while data[at:at + 8] == b"OMENREC\n":
        kind, _, n = struct.unpack_from("<IIQ", data, at + 8)
        out.append([kind, bytearray(data[at + 4096:at + 4096 + n])])
        at = up(at + 4096 + n, 4096)
    return out


def record_header(kind, number, n, checksum):
    return seal(b"OMENREC\n" + struct.pack("<IIQQ", kind, number, n, checksum) + bytes(24)).ljust(4096, b"\0")


def pack_records(parts, what=0):
    out = bytearray(seal(b"OMENPRT\n" + struct.pack("<II", PART_VERSION, what) + bytes(40)).ljust(4096, b"\0"))
    for number, (kind, payload) in enumerate(parts):
        out += record_header(kind, number, len(payload), xxh3(payload)) + payload
        out += bytes(up(len(out), 4096) - len(out))
    return bytes(out)


def model_identity(parts):
    """What shards keep of a model."""
    out = 5
    for kind, payload in parts[:5]:
        facts = struct.pack("<QQQ", kind, len(payload), xxh3(payload))
        out = xxhash.XXH3_64bits_withSeed(facts, len(facts), out)
    return out


# ---- lies ----

FIELDS = [struct.pack("<I", x) for x in (0, 1, 2, 0x7fffffff, 0x80000000, 0xffffffff)]
FIELDS += [struct.pack("<f", x) for x in (1e38, -1e38, 3.4e38, math.nan, math.inf, -1.0, 1e-45, 1e19)]
FIELDS += [struct.pack("<Q", x) for x in (0, 1 << 32, 1 << 62, (1 << 64) - 1)]


def lie(rng, payload):
    """Overwrites a field or a byte, more often one near the beginning."""
    for _ in range(rng.choice([1, 1, 2, 4])):
        place = rng.randrange(min(len(payload), rng.choice([16, 64, 128, 1 << 30])))
        if rng.randrange(3):
            field = rng.choice(FIELDS)
            place = place // 4 * 4
        else:
            field = bytes([rng.choice([0, 1, 255, 128, payload[place] ^ 1 << rng.randrange(8), rng.randrange(256)])])
        if place + len(field) <= len(payload):
            payload[place:place + len(field)] = field


def run(command, limit, allowed, environment=None):
    def limits():
        if "ASAN_OPTIONS" not in os.environ: # whose shadow memory is terabytes
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
    result = subprocess.run([os.environ["OMENDB"], *command], capture_output=True, preexec_fn=limits,
                            env={**os.environ, **(environment or {})})
    if result.returncode not in allowed:
        sys.exit(f"{command} exits {result.returncode}:\n{result.stderr[-3000:].decode()}")
    return result


def write(path, data):
    with open(path, "wb") as out:
        out.write(data)


def lie_packed(data, n):
    rng = random.Random(1)
    for i in range(n):
        parts = list(sections(data))
        lie(rng, rng.choice(parts)[3])
        write("lie.omz", pack(identity_of(data), parts))
        run(["verify", "-q", "lie.omz"], 1 << 30, (0, 3))
        run(["info", "lie.omz"], 1 << 30, (0, 2, 3))
        run(["compress", "-t", "2", "-q", "-d", "-F", "raw", "-o", "-", "lie.omz"], 1 << 30, (0, 2, 3))
        run(["compress", "-t", "2", "-q", "-d", "-o", "-", "lie.omz"], 1 << 30, (0, 2, 3))


def lie_index(data, queries, n, options):
    """What is read only where a search comes by, rows and their numbers, is not changed here."""
    rng = random.Random(2)
    n_refused = 0
    is_packed = any(name == b"ZHED" for name, *_ in sections(data))
    # a column that has another name now cannot be asked for
    allowed = (0, 2, 3, 5) if is_packed else (0, 2, 3) if options else (0, 3)
    for i in range(n):
        parts = list(sections(data))
        lie(rng, rng.choice([payload for name, _, _, payload in parts]))
        write("lie.omen", pack(identity_of(data), parts))
        way = ["--way", "graph"] if any(name == b"GADJ" for name, *_ in parts) and i % 2 else []
        query = run(["query", "-q", "-t", "1", "-k", "5", "--distances", *way, *options, "lie.omen", queries], 1 << 30,
                    allowed)
        quick = run(["verify", "-q", "-t", "1", "--quick", "lie.omen"], 1 << 30, (0, 3))
        full = run(["verify", "-q", "-t", "1", "lie.omen"], 1 << 30, (0, 3, 5))
        n_refused += query.returncode != 0
        if quick.returncode == 3 and full.returncode == 0:
            sys.exit(f"copy {i}: verify calls sound what verify --quick calls corrupt")
        if query.returncode == 3 and full.returncode == 0:
            sys.exit(f"copy {i}: verify calls sound what query refuses: {query.stderr.decode()}")
        if i % 3 == 0 and run(["info", "lie.omen"], 1 << 30, allowed).returncode == 3 and full.returncode == 0:
            sys.exit(f"copy {i}: verify calls sound what info refuses")
        for line in query.stdout.decode().splitlines() if query.returncode == 0 else ():
            _, _, row, distance = line.split()
            if not math.isfinite(float(distance)) or not 0 <= int(row) < 1 << 32:
                sys.exit(f"copy {i}: query prints {line}")
    # of a compressed file hardly a byte is not looked at, so that few copies may have none that is believed
    if not 0 < n_refused < n + (is_packed and n < 30):
        sys.exit(f"{n_refused} of {n} copies are refused")


def lie_keys(data, queries, names, n):
    rng = random.Random(5)
    n_refused = 0
    for i in range(n):
        parts = list(sections(data))
        lie(rng, rng.choice([payload for name, _, _, payload in parts if name.startswith(b"KEY")]))
        write("lie.omen", pack(identity_of(data), parts))
        one = ["-q", "-t", "1", "-k", "5", "--distances"]
        runs = [run(["query", *one, "lie.omen", queries], 1 << 30, (0, 3)),
                run(["query", *one, "--by-key", names, "lie.omen"], 1 << 30, (0, 2, 3)),
                run(["attach", "-q", "-t", "1", "--key", names, "-o", "sound.omen", "lie.omen"], 1 << 30, (0, 3))]
        full = run(["verify", "-q", "-t", "1", "lie.omen"], 1 << 30, (0, 3))
        n_refused += full.returncode == 3
        if 3 in [result.returncode for result in runs] and full.returncode == 0:
            sys.exit(f"copy {i}: verify calls sound what query refuses")
        for line in b"".join(result.stdout for result in runs if result.returncode == 0).decode().splitlines():
            query, rank, key, distance = line.split("\t")
            if not (query.isdigit() and rank.isdigit() and key and math.isfinite(float(distance))):
                sys.exit(f"copy {i}: query prints {line}")
    if not n_refused:
        sys.exit(f"of {n} copies none was found at fault")


def lie_checkpoint(data, source, n, options):
    rng = random.Random(3)
    codes = {0: 0, 2: 0, 3: 0}
    for i in range(n):
        parts = records(data)
        # runs are many; edges of a graph are none, or many
        edges = [j for j, (kind, _) in enumerate(parts) if kind in (7, 8)]
        lie(rng, parts[rng.choice([*range(min(len(parts), 6)), *edges[:1], *edges[-1:]])][1])
        write(PART, pack_records(parts))
        run(["info", PART], 1 << 30, (0, 3))
        # one thread: each has its own heap, of which more than the limit can be reserved
        code = run(["build", "-q", "-t", "1", *options, "-o", "out.omen", source], 1 << 31, codes,
                   {"OPENBLAS_NUM_THREADS": "1"}).returncode
        codes[code] += 1
        if code == 0:
            run(["verify", "-q", "out.omen"], 1 << 30, (0,))
        for name in (PART, "out.omen"):
            if os.path.exists(name):
                os.unlink(name)
    if not codes[3]:
        sys.exit(f"of {n} checkpoints none was found at fault")


def lie_results(data, index, n, options):
    """Of the rows of an index: what is written must still be of those rows, each once, and in order."""
    rng = random.Random(5)
    codes = {0: 0, 2: 0, 3: 0}
    out = PART.removesuffix(".part")
    for i in range(n):
        parts = records(data)
        lie(rng, parts[rng.randrange(min(len(parts), 4))][1])
        write(PART, pack_records(parts))
        run(["info", PART], 1 << 30, (0, 3))
        code = run(["query", "-q", "-t", "1", "--self", "-F", "tsv", "--distances", *options, "-o", out, index],
                   1 << 31, codes).returncode
        codes[code] += 1
        if code == 0:
            last = (-1, 0, -math.inf)
            for line in open(out):
                row, rank, _, distance = line.split("\t")
                found = (int(row), int(rank), float(distance))
                if not (found[0] == last[0] and found[1] == last[1] + 1 and found[2] >= last[2] or
                        found[0] > last[0] and found[1] == 1):
                    sys.exit(f"copy {i}: {line} after {last}")
                last = found
        for name in (PART, out):
            if os.path.exists(name):
                os.unlink(name)
    if not (codes[2] and codes[3]):
        sys.exit(f"of {n} checkpoints {codes} were found at fault")


def lie_shards(model, n, names):
    """Of the model, with shards that keep to it, or of a shard."""
    rng = random.Random(8)
    codes = {0: 0, 2: 0, 3: 0, 4: 0}
    shards = [open(name, "rb").read() for name in names]
    if any(struct.unpack_from("<Q", records(shard)[0][1])[0] != model_identity(records(model)) for shard in shards):
        sys.exit("the identity of a model is not what the shards say")
    for i in range(n):
        parts, all_parts = records(model), [records(shard) for shard in shards]
        lied = rng.choice([*parts, *parts, *(part for shard in all_parts for part in shard)])
        lie(rng, lied[1])
        for shard in all_parts:
            if lied is not shard[0]:
                struct.pack_into("<Q", shard[0][1], 0, model_identity(parts))
        lying = [f"lie{i}.shard" for i in range(len(shards))]
        write("lie.model", pack_records(parts, 1))
        for name, shard in zip(lying, all_parts):
            write(name, pack_records(shard, 2))
        run(["info", "lie.model", *lying], 1 << 30, (0, 3))
        run(["verify", "-q", "-t", "1", "--model", "lie.model", "lie.model", *lying], 1 << 30, (0, 3))
        # a shard that is there is looked at first
        run(["build", "-q", "-t", "1", "--model", "lie.model", "--shard", f"0/{len(shards)}", "-o", lying[0]], 1 << 31,
            codes)
        code = run(["merge", "-q", "-t", "1", "--model", "lie.model", "-o", "out.omen", *lying], 1 << 31,
                   codes).returncode
        codes[code] += 1
        if code == 0:
            run(["verify", "-q", "out.omen"], 1 << 30, (0,))
        for name in ("out.omen", *lying, *(name + ".part" for name in lying)):
            if os.path.exists(name):
                os.unlink(name)
    if not codes[3]:
        sys.exit(f"of {n} models and shards none was found at fault")


def recode(shard, out, at=-1):
    parts = records(shard)
    parts[-1][1][at] ^= 1
    write(out, pack_records(parts, 2))


def same_rows(shard, out, model):
    parts, of_model = records(shard), records(model)
    run = parts[1][1]
    (n_lists,), (n_factors,) = (struct.unpack_from("<I", of_model[i][1], at) for i, at in ((2, 0), (3, 12)))
    n_queries, _, k, _ = struct.unpack_from("<4I", of_model[4][1])
    keys = struct.Struct(f"<{k}Q")
    for query in range(n_queries):
        at = 40 + 4 * (n_lists + 1) + 8 * n_lists * n_factors + query * keys.size
        nearest = keys.unpack_from(run, at)[0]
        keys.pack_into(run, at, *(nearest + (i << 32) for i in range(k)))
    write(out, pack_records(parts, 2))


def empty_run(shard, out):
    parts = records(shard)
    kind, last = parts[-1]
    first, n = struct.unpack_from("<QQ", last)
    parts.append([kind, bytearray(struct.pack("<QQQQQ", first + n, 0, 0, 0, 0))])
    write(out, pack_records(parts, 2))


def lie_vectors(index, n, names):
    rng = random.Random(4)
    for name in names:
        with open(name, "rb") as file:
            data = file.read()
        for i in range(n):
            payload = bytearray(data[:128])
            lie(rng, payload)
            lying = f"lie{os.path.splitext(name)[1]}"
            write(lying, payload + data[128:])
            run(["query", "-q", "-t", "1", index, lying], 1 << 30, (0, 2))
            if name.endswith(("npz", "gz", "zst")):  # what is at the end counts too
                payload = bytearray(data[-200:])
                lie(rng, payload)
                write(lying, data[:-200] + payload)
                run(["query", "-q", "-t", "1", index, lying], 1 << 30, (0, 2))


def lie_keyfiles(index, n, names):
    rng = random.Random(6)
    for word in names:
        option, name = word.rsplit(":", 1) if ":" in word else ("key", word)
        option, _, column = option.partition("=")
        with open(name, "rb") as file:
            data = file.read()
        lying = f"lie{os.path.splitext(name)[1]}"
        for _ in range(n):
            payload = bytearray(data[:256])
            lie(rng, payload)
            write(lying, payload + data[256:])
            run(["attach", "-q", "-t", "1", f"--{option}", f"x={lying}" if option == "column" else lying + column, "-o",
                 "sound.omen", index], 1 << 30, (0, 2, 5))


# ---- bombs ----


def bomb(data):
    """An original of 2^50 bytes; a first block of 32 MiB, which its frames contradict; a longer one."""
    for length, block in ((1 << 50, 0), (0, 32 << 20), (0, 33 << 20)):
        parts = list(sections(data))
        head = next(payload for name, _, _, payload in parts if name == b"ZHED")
        table = next(payload for name, _, _, payload in parts if name == b"ZTAB")
        if block:
            record, raw = struct.unpack_from("<I", table, 16)[0], struct.unpack_from("<I", table, 12)[0]
            claimed = block // record * record
            length = struct.unpack_from("<Q", head, 0)[0] + claimed - raw
            struct.pack_into("<I", table, 12, claimed)
            struct.pack_into("<I", head, 20, block)
        struct.pack_into("<Q", head, 0, length)
        write("lie.omz", pack(identity_of(data), parts))
        for command in (["verify", "-q", "lie.omz"], ["compress", "-q", "-d", "-o", "big", "lie.omz"],
                        ["build", "-q", "-o", "x.omen", "lie.omz"]):
            run(command, 200 << 20, (3,))
        for name in ("big", "x.omen"):
            if os.path.exists(name):
                sys.exit(f"{name} was made of a file that contradicts itself")


BLOCK_MOST = 32 << 20


def zero_block(n):
    """n zero bytes, a multiple of 8, as a stored block of float64 narrowed to bytes: (block, record, value)."""
    left = n // 8
    frame = bytearray(b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", left))
    while left:
        k = min(left, 128 << 10)
        left -= k
        frame += struct.pack("<I", (0 if left else 1) | 1 << 1 | k << 3)[:3] + b"\0"
    return bytes([3, 0, 0, 0]) + struct.pack("<II", n // 8, len(frame)) + frame, 8, 5


def plain_block(data):
    return bytes(4) + struct.pack("<II", len(data), len(data) | 1 << 31) + data, 1, 0


def pack_pieces(pieces, length, kind):
    """A compressed file of an original of zeros but for pieces, {offset: bytes}."""
    zeros = {}
    stored, table, at = bytearray(), bytearray(), 0

    def add(block, record, value, n, checksum):
        table.extend(struct.pack("<QIIIIBB6xQ", len(stored), len(block), n, record, 0, value, 0, checksum))
        stored.extend(block)

    for offset, data in sorted(pieces.items()) + [(length, b"")]:
        while at < offset:
            n = min(offset - at, BLOCK_MOST)
            n = n // 8 * 8 or n
            if n not in zeros:
                zeros[n] = (*(zero_block(n) if n % 8 == 0 else plain_block(bytes(n))), n, xxh3(bytes(n)))
            add(*zeros[n])
            at += n
        if data:
            add(*plain_block(data), len(data), xxh3(data))
            at += len(data)
    head = struct.pack("<QQII8x", length, len(table) // 40, kind, BLOCK_MOST)
    return pack(77, [(b"ZHED", 0, 0, head), (b"ZDAT", 0, 0, bytes(stored)), (b"ZTAB", 0, 0, bytes(table))])


def huge_index(n, d):
    """A sound structure of n rows as sq8, without codes, which are zeros with their checksums: (pieces, length)."""
    meta = struct.pack("<Q13I", n, d, d, 1, 0, 0, 1, 1, 0, 0, 0, 0, 32, 0).ljust(128, b"\0")
    contents = [(b"META", 0, meta), (b"MEAN", 6, bytes(4 * d)), (b"BASE", 6, struct.pack("<f", 1).ljust(4 * d, b"\0")),
                (b"CSCL", 6, bytes(8)), (b"CENT", 1, b"\0"), (b"LIST", 3, struct.pack("<II", 0, n)),
                (b"REFN", 1, n * (8 + d)), (b"PERM", 3, n * 4)]
    pieces, offset, table = {0: file_header(7)}, 4096, b""
    for name, element, content in contents:
        n_bytes = content if isinstance(content, int) else len(content)
        if isinstance(content, int): # whose checksums nobody will come to
            n_sums, level = 0, n_bytes
            while n_sums == 0 or level > BLOCK:
                level = (level + BLOCK - 1) // BLOCK * 8
                n_sums += level // 8
            top = 0
        else:
            sums, top = checksums(content)
            n_sums = len(sums) // 8
            pieces[offset] = content
            pieces[up(offset + n_bytes, 8)] = sums
        table += struct.pack("<4sIIIQQQQQQ", name, element, 0, 0, offset, n_bytes, n_bytes, n_sums, top, 0)
        offset = up(up(offset + n_bytes, 8) + 8 * n_sums, 4096)
    length = offset + len(table) + 64
    pieces[offset] = table + seal(b"OMENEND\n" + struct.pack("<QQQQQQ", offset, len(table), xxh3(table), length, 7, 0))
    return pieces, length


def peak(command, allowed):
    """Runs it; returns (peak memory, bytes written to disk)."""
    code = ("import os, resource, subprocess, sys; r = subprocess.run(sys.argv[1:], capture_output=True);"
            "u = resource.getrusage(resource.RUSAGE_CHILDREN);"
            "print(r.returncode, u.ru_maxrss * 1024, u.ru_oublock * 512, r.stderr.decode())")
    out = subprocess.run([sys.executable, "-c", code, os.environ["OMENDB"], *command], capture_output=True, check=True)
    exit_code, memory, written, text = out.stdout.decode().split(" ", 3)
    if int(exit_code) not in allowed:
        sys.exit(f"{command} exits {exit_code}: {text}")
    return int(memory), int(written)


def bombs(queries):
    most = (400 if "ASAN_OPTIONS" in os.environ else 150) * MIB
    shared = os.path.join(os.getcwd(), "tmp")
    os.makedirs(shared, exist_ok=True)
    os.environ["TMPDIR"] = shared

    def expect(command, allowed):
        memory, written = peak(command, allowed)
        if memory > most or written > most:
            sys.exit(f"{command} takes {memory // MIB} MiB of memory and writes {written // MIB} MiB")

    # codes of 400 million rows, and nothing but META
    meta = struct.pack("<Q13I", 400000000, 8, 8, 8, 0, 0, 1, 1, 0, 0, 0, 0, 32, 0).ljust(128, b"\0")
    write("meta.omz", pack(77, [(b"META", 0, 0, meta)]))
    expect(["compress", "-d", "-q", "-c", "-F", "raw", "meta.omz"], (3,))
    expect(["verify", "-q", "meta.omz"], (3,))
    expect(["build", "-q", "-o", "x.omen", "meta.omz"], (3,))
    expect(["query", "-q", "meta.omz", queries], (2, 3))

    # zeros that are said to be an index, or vectors
    write("zeros.omz", pack_pieces({}, 24 * BLOCK_MOST, 1))
    expect(["query", "-q", "zeros.omz", queries], (3,))
    write("zeros.fvecs.omz", pack_pieces({}, 24 * BLOCK_MOST, 0))
    write("zeros.omz", pack_pieces({}, 24 * BLOCK_MOST, 0))
    write("zeros.npy.omz", pack_pieces({0: b"\x93NUMPY"}, 24 * BLOCK_MOST, 0))
    for name in ("zeros.fvecs.omz", "zeros.omz", "zeros.npy.omz"):
        expect(["build", "-q", "-o", "x.omen", name], (2,))

    # a sound structure, and more rows than memory holds; vectors that no disk holds
    pieces, length = huge_index(10**9, 1000)
    write("huge.omz", pack_pieces(pieces, length, 1))
    expect(["query", "-q", "huge.omz", queries], (5,))
    expect(["verify", "-q", "--quick", "huge.omz"], (0,))
    n = 1 << 40
    header = struct.pack("<II", n // 1024, 256)
    write("huge.fbin.omz", pack_pieces({0: header}, 8 + (n // 1024) * 1024, 0))
    if os.statvfs(".").f_bavail * os.statvfs(".").f_frsize < n:
        expect(["build", "-q", "-o", "x.omen", "huge.fbin.omz"], (4,))
        expect(["compress", "-d", "-q", "-o", "x.fbin", "huge.fbin.omz"], (4,))
    for name in ("x.omen", "x.omen.part", "x.fbin"):
        if os.path.exists(name):
            sys.exit(f"{name} was made of a bomb")


def sparse(data, source, options):
    head = records(data)[0]
    with open(source, "rb") as file:
        n_rows = struct.unpack("<I", file.read(4))[0]
    command = [os.environ["OMENDB"], "build", "-q", *options, "-o", "out.omen", source]
    for claimed, code in ((1 << 40, 3), (20 * n_rows, -1)):
        with open(PART, "wb") as out:
            out.write(pack_records([head]))
            at = up(out.tell(), 4096)
            for number, (kind, n) in enumerate(((2, 16), (3, 16), (4, 16), (5, 16), (6, claimed)), 1):
                out.seek(at)
                out.write(record_header(kind, number, n, 1))
                at = up(at + 4096 + n, 4096)
            out.truncate(at)
        began = time.monotonic()
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        if code == -1:
            time.sleep(0.4)
            if process.poll() is not None:
                sys.exit(f"the check of {claimed} bytes is over: {process.stderr.read()}")
            process.send_signal(signal.SIGTERM)
            began, code = time.monotonic(), 143
        error = process.communicate()[1]
        if process.returncode != code or time.monotonic() - began > 5:
            sys.exit(f"a record of {claimed} bytes: exit {process.returncode} after "
                     f"{time.monotonic() - began:.1f} s: {error}")
        os.unlink(PART)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    command, path, *words = sys.argv[1:]
    with open(path, "rb") as file:
        data = file.read()
    if command in ("packed", "index", "keys", "bomb") and pack(identity_of(data), list(sections(data))) != data:
        sys.exit("the file does not come back unchanged")
    if command == "packed":
        lie_packed(data, int(words[0]))
    elif command == "index":
        lie_index(data, words[0], int(words[1]), words[2:])
    elif command == "keyfiles":
        lie_keyfiles(path, int(words[0]), words[1:])
    elif command == "keys":
        lie_keys(data, words[0], words[1], int(words[2]))
    elif command == "checkpoint":
        lie_checkpoint(data, words[0], int(words[1]), words[2:])
    elif command == "results":
        lie_results(data, words[0], int(words[1]), words[2:])
    elif command == "shards":
        lie_shards(data, int(words[0]), words[1:])
    elif command == "recode":
        recode(data, words[0], *map(int, words[1:]))
    elif command == "same_rows":
        with open(words[1], "rb") as file:
            same_rows(data, words[0], file.read())
    elif command == "empty_run":
        empty_run(data, words[0])
    elif command == "vectors":
        lie_vectors(path, int(words[0]), words[1:])
    elif command == "bomb":
        bomb(data)
    elif command == "bombs":
        bombs(path)
    elif command == "sparse":
        sparse(data, words[0], words[1:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
