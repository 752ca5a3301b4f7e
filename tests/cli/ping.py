# SPDX-License-Identifier: Apache-2.0
"""Sends queries one by one, each once the one before it is answered, and prints the answers.

ping.py FILE FORMAT [--term] PROGRAM ARGUMENT...    a line of output answers a query; --term: SIGTERM after the first
"""

import signal
import struct
import subprocess
import sys

file, form, *command = sys.argv[1:]
stops = command[0] == "--term"
data = open(file, "rb").read()
if form in ("csv", "tsv", "jsonl"):
    parts = data.splitlines(True)
else:
    head = {"npy": 10 + struct.unpack_from("<H", data, 8)[0], "fbin": 8}.get(form, 0)
    size = {"fvecs": 20, "bvecs": 8}.get(form, 16)  # of a row of four values
    parts = [data[at : at + size] for at in range(head, len(data), size)]
    parts[0] = data[:head] + parts[0]
process = subprocess.Popen(command[stops:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
for part in parts:
    for piece in (part[: len(part) // 2], part[len(part) // 2 :]):
        process.stdin.write(piece)
        process.stdin.flush()
    print(process.stdout.readline().decode(), end="", flush=True)
    if stops:
        process.send_signal(signal.SIGTERM)
        break
else:
    process.stdin.close()
print(process.stdout.read().decode(), end="")
sys.exit(process.wait())
