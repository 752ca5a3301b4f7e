#!/usr/bin/env python3
"""Changes a compressed file and makes all checksums of the container right again, so that only the contents lie.

hostile.py PACKED N      one random byte of a section in each of N copies: verify and compress -d exit 0, 2 or 3 and
                         stay below 1 GB
hostile.py bomb PACKED   an original of 2^50 bytes claimed: refused with exit 3, below 200 MB

Needs xxh3 checksums, which it takes from libxxhash by ctypes.
"""
import ctypes
import ctypes.util
import os
import random
import resource
import struct
import subprocess
import sys

BLOCK = 4096
xxhash = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0")
xxhash.XXH3_64bits.restype = ctypes.c_uint64
xxhash.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def xxh3(data):
    return xxhash.XXH3_64bits(bytes(data), len(data))


def up(x, m):
    return (x + m - 1) // m * m


def sections(data):
    """(offset, id, element, flags, payload) of each section."""
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


def pack(data, parts):
    """The file of data's header with these sections."""
    identity = struct.unpack_from("<Q", data, 16)[0]
    out = bytearray(data[:4096])
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


def run(command, limit, allowed):
    def limits():
        if "ASAN_OPTIONS" not in os.environ: # whose shadow memory is terabytes
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    result = subprocess.run([os.environ["OMENDB"], *command], capture_output=True, preexec_fn=limits)
    if result.returncode not in allowed:
        sys.exit(f"{command} exits {result.returncode}:\n{result.stderr[-3000:].decode()}")


def lies(data, n):
    rng = random.Random(1)
    for i in range(n):
        parts = list(sections(data))
        _, _, _, payload = rng.choice(parts)
        for _ in range(rng.choice([1, 1, 2, 4])):
            place = rng.randrange(min(len(payload), rng.choice([16, 128, 1 << 30])))
            payload[place] = rng.choice([0, 1, 255, 128, payload[place] ^ 1 << rng.randrange(8), rng.randrange(256)])
        with open("lie.omz", "wb") as out:
            out.write(pack(data, parts))
        run(["verify", "-q", "lie.omz"], 1 << 30, (0, 3))
        run(["compress", "-t", "2", "-q", "-d", "-F", "raw", "-o", "-", "lie.omz"], 1 << 30, (0, 2, 3))
        run(["compress", "-t", "2", "-q", "-d", "-o", "-", "lie.omz"], 1 << 30, (0, 2, 3))


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
        with open("lie.omz", "wb") as out:
            out.write(pack(data, parts))
        for command in (["verify", "-q", "lie.omz"], ["compress", "-q", "-d", "-o", "big", "lie.omz"],
                        ["build", "-q", "-o", "x.omen", "lie.omz"]):
            run(command, 200 << 20, (3,))
        for name in ("big", "x.omen"):
            if os.path.exists(name):
                sys.exit(f"{name} was made of a file that contradicts itself")


def main():
    with open(sys.argv[-1] if sys.argv[1] == "bomb" else sys.argv[1], "rb") as file:
        data = file.read()
    if pack(data, list(sections(data))) != data:
        sys.exit("the file does not come back unchanged")
    if sys.argv[1] == "bomb":
        bomb(data)
    else:
        lies(data, int(sys.argv[2]))


if __name__ == "__main__":
    main()
