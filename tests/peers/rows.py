#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes rows of the sizes that docs/BENCHMARKS.md has no real ones of. The same arguments make the same file.

rows.py wide D N OUT.npy             float32: 200 clusters in at most 300 directions of falling strength, and noise
rows.py noisy TIMES IN.bvecs OUT     the rows again and again, each byte with noise of up to 32, cut at 0 and 255
"""
import sys

import numpy as np


def wide(d, n, path):
    rng = np.random.default_rng(1000 + d)
    n_directions = min(300, d // 2)
    scale = (1 + np.arange(n_directions)) ** -0.5
    directions = rng.standard_normal((n_directions, d), dtype=np.float32)
    centres = rng.standard_normal((200, n_directions), dtype=np.float32) * scale
    which = rng.integers(0, 200, n)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, d))
    for i in range(0, n, 2000):
        end = min(n, i + 2000)
        within = centres[which[i:end]] + 0.7 * rng.standard_normal((end - i, n_directions)) * scale
        noise = 0.3 * rng.standard_normal((end - i, d), dtype=np.float32)
        out[i:end] = within.astype(np.float32) @ directions + noise


def noisy(times, source, path):
    data = np.fromfile(source, dtype=np.uint8)
    d = int(data[:4].view("<u4")[0])
    rows = data.reshape(-1, 4 + d)
    with open(path, "wb") as file:
        for i in range(times):
            rng = np.random.default_rng(100 + i)
            for first in range(0, len(rows), 50000):
                part = rows[first:first + 50000].copy()
                values = part[:, 4:].astype(np.int16)
                values += rng.integers(-32, 33, values.shape, dtype=np.int16)
                part[:, 4:] = np.clip(values, 0, 255)
                file.write(part.tobytes())


if len(sys.argv) == 5 and sys.argv[1] == "wide":
    wide(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
elif len(sys.argv) == 5 and sys.argv[1] == "noisy":
    noisy(int(sys.argv[2]), sys.argv[3], sys.argv[4])
else:
    sys.exit(__doc__)
