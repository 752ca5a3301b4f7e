#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes rows of the sizes that docs/BENCHMARKS.md has no real ones of. The same arguments make the same file.

rows.py wide D N OUT.npy             float32: 200 clusters in at most 300 directions of falling strength, and noise
rows.py noisy TIMES IN.bvecs OUT     the rows again and again, each byte with noise of up to 32, cut at 0 and 255
rows.py tagged N IN.bvecs OUT        N rows of 192 bytes as OUT.u8bin, the noisy ones of 128 and the means of each two
                                     neighbouring bytes with noise of their own; their tags as OUT.spmat; 100,000 more
                                     as queries, OUT-queries.u8bin, with one of their own tags each, or two of which
                                     some 50 rows would have both, were they drawn apart, OUT-queries.spmat. As
                                     big-ann's filter track has them: 200,000 tags, some ten a row, Zipf's law; half of
                                     a row's tags are drawn from all, half from an order of the tags that rows near one
                                     of 256 others share
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


N_TAGS, N_CELLS, N_QUERIES, CHUNK = 200000, 256, 100000, 50000


def tagged_chunk(rng, real, cells, orders, law, n):
    """n rows of 192 bytes, and the (row, tag) pairs of them, sorted, each once."""
    which = rng.integers(0, len(real), n)
    values = real[which].astype(np.int16)
    values = np.concatenate([values, (values[:, ::2] + values[:, 1::2]) // 2], axis=1)
    values += rng.integers(-32, 33, values.shape, dtype=np.int16)
    row = np.repeat(np.arange(n), 1 + rng.poisson(10, n))
    tag = np.searchsorted(law, rng.random(len(row))).astype(np.int64)
    local = rng.random(len(row)) < 0.5
    tag[local] = orders[cells[which[row[local]]], tag[local]]
    pairs = np.unique(row * N_TAGS + tag)
    return np.clip(values, 0, 255).astype(np.uint8), pairs // N_TAGS, pairs % N_TAGS


def write_spmat(path, counts, tags):
    with open(path, "wb") as file:
        np.array([len(counts), N_TAGS, len(tags)], "<i8").tofile(file)
        np.concatenate([[0], np.cumsum(counts)]).astype("<i8").tofile(file)
        tags.astype("<i4").tofile(file)
        np.ones(len(tags), "<f4").tofile(file)


def tagged(n, source, path):
    data = np.fromfile(source, dtype=np.uint8)
    real = data.reshape(-1, 4 + int(data[:4].view("<u4")[0]))[:, 4:]
    rng = np.random.default_rng(7)
    centres = real[rng.choice(len(real), N_CELLS, replace=False)].astype(np.float32)
    cells = np.concatenate([((centres ** 2).sum(1) - 2 * real[i:i + CHUNK].astype(np.float32) @ centres.T).argmin(1)
                            for i in range(0, len(real), CHUNK)])
    orders = np.stack([rng.permutation(N_TAGS).astype(np.int32) for _ in range(N_CELLS)])
    law = np.cumsum(1 / (1 + np.arange(N_TAGS)))
    law /= law[-1]
    counts, tags = [], []
    with open(path + ".u8bin", "wb") as file:
        np.array([n, 192], "<u4").tofile(file)
        for first in range(0, n, CHUNK):
            values, row, tag = tagged_chunk(np.random.default_rng(1000 + first // CHUNK), real, cells, orders, law,
                                            min(CHUNK, n - first))
            values.tofile(file)
            counts.append(np.bincount(row, minlength=len(values)))
            tags.append(tag.astype(np.int32))
    write_spmat(path + ".spmat", np.concatenate(counts), np.concatenate(tags))

    have = np.bincount(np.concatenate(tags), minlength=N_TAGS).astype(np.float64)
    values, row, tag = tagged_chunk(np.random.default_rng(8), real, cells, orders, law, N_QUERIES)
    order = np.lexsort((rng.random(len(row)), row))         # a query's tags in random order
    first = np.searchsorted(row, np.arange(N_QUERIES))
    last = np.searchsorted(row, np.arange(N_QUERIES), side="right")
    kept = []
    for f, end in zip(first, last):
        own = tag[order[f:end]]
        two = len(own) > 1 and rng.random() < 0.7 and have[own[0]] * have[own[1]] >= 50 * n
        kept.append(np.sort(own[:1 + two]))
    with open(path + "-queries.u8bin", "wb") as file:
        np.array([N_QUERIES, 192], "<u4").tofile(file)
        values.tofile(file)
    write_spmat(path + "-queries.spmat", np.array([len(k) for k in kept]), np.concatenate(kept))


if len(sys.argv) == 5 and sys.argv[1] == "wide":
    wide(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
elif len(sys.argv) == 5 and sys.argv[1] == "noisy":
    noisy(int(sys.argv[2]), sys.argv[3], sys.argv[4])
elif len(sys.argv) == 5 and sys.argv[1] == "tagged":
    tagged(int(sys.argv[2]), sys.argv[3], sys.argv[4])
else:
    sys.exit(__doc__)
