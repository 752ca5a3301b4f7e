#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real sets made from what Debian packages ship, for tests/recall/table.py.

sets.py DIRECTORY writes, as DIRECTORY/NAME-base.npy and NAME-queries.npy (float32, rows and queries drawn at random
from the same source, never the same item):

  patches   100,000 patches of 12 x 12 grey pixels, less their mean, of the pictures of plasma-workspace-wallpapers (l2)
  texts      60,000 descriptions of Debian packages as 200 dimensions of latent semantic analysis (cosine)
  words      30,000 words of these descriptions as 100 dimensions of their co-occurrence (cosine)

Needs python3-pil, python3-scipy, plasma-workspace-wallpapers, and the package lists that apt-get update fetches.
"""
import glob
import re
import subprocess
import sys

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from PIL import Image

N_QUERIES = 2000


def patches(rng):
    side, wanted, rows = 12, 102_000, []
    files = sorted(glob.glob("/usr/share/wallpapers/*/contents/images/*.jpg"))
    for name in files:
        image = np.asarray(Image.open(name).convert("L").resize((1280, 800)), np.float32)
        for _ in range(4 * wanted // len(files)):
            y, x = rng.integers(0, 800 - side), rng.integers(0, 1280 - side)
            patch = image[y:y + side, x:x + side].ravel()
            if patch.std() > 6:  # not a piece of sky
                rows.append(patch - patch.mean())
    rows = np.stack(rows)[rng.permutation(len(rows))]
    return rows[:wanted]


def descriptions():
    """Name and description of every package that apt knows."""
    text = subprocess.run(["apt-cache", "dumpavail"], check=True, stdout=subprocess.PIPE, text=True).stdout
    for stanza in text.split("\n\n"):
        found = re.search(r"^Description(?:-en)?: (.*(?:\n .*)*)", stanza, re.M)
        name = re.search(r"^Package: (.*)", stanza, re.M)
        if found and name:
            yield name.group(1) + " " + found.group(1)


def counts(texts, n_words):
    """Sparse counts, texts x words, of the most frequent words."""
    split = [re.findall(r"[a-z][a-z0-9+]+", text.lower()) for text in texts]
    frequency = {}
    for words in split:
        for word in set(words):
            frequency[word] = frequency.get(word, 0) + 1
    kept = sorted((word for word in frequency if frequency[word] >= 2), key=lambda w: (-frequency[w], w))[:n_words]
    number = {word: i for i, word in enumerate(kept)}
    at, columns = [0], []
    for words in split:
        columns += [number[word] for word in words if word in number]
        at.append(len(columns))
    matrix = scipy.sparse.csr_matrix((np.ones(len(columns), np.float32), columns, at), (len(split), len(kept)))
    matrix.sum_duplicates()
    return matrix


def principal(matrix, d, rng):
    """The rows of a sparse matrix in its d strongest directions, by a randomised range finder."""
    basis = rng.standard_normal((matrix.shape[1], d + 20)).astype(np.float32)
    for _ in range(4):
        basis = np.linalg.qr(matrix.T @ (matrix @ basis))[0]
    projected = matrix @ basis
    _, _, axes = np.linalg.svd(projected, full_matrices=False)
    return (projected @ axes.T)[:, :d]


def texts(rng, matrix):
    matrix = matrix[np.asarray(matrix.sum(1)).ravel() >= 5]
    weight = np.log(matrix.shape[0] / (1 + np.asarray((matrix > 0).sum(0)).ravel()))
    matrix = matrix.log1p() @ scipy.sparse.diags(weight.astype(np.float32))
    rows = principal(matrix.tocsr(), 200, rng)
    return rows[rng.permutation(len(rows))]


def words(rng, matrix):
    together = (matrix.T @ matrix).tocoo()
    total = np.asarray(matrix.sum(0)).ravel()
    value = np.log(together.data * total.sum() / (total[together.row] * total[together.col] ** 0.75) / 30)
    keep = value > 0
    positive = scipy.sparse.csr_matrix((value[keep].astype(np.float32), (together.row[keep], together.col[keep])),
                                       together.shape)
    rows = principal(positive, 100, rng)
    rows = rows[(rows ** 2).sum(1) > 0]
    return rows[rng.permutation(len(rows))]


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    rng = np.random.default_rng(1)
    made = {"patches": patches(rng)}
    matrix = counts(list(descriptions()), 32_000)
    made["texts"] = texts(rng, matrix)
    made["words"] = words(rng, matrix)
    for name, rows in made.items():
        np.save(f"{sys.argv[1]}/{name}-base.npy", rows[:-N_QUERIES].astype(np.float32))
        np.save(f"{sys.argv[1]}/{name}-queries.npy", rows[-N_QUERIES:].astype(np.float32))
        print(f"{name}: {len(rows) - N_QUERIES} rows, {N_QUERIES} queries, {rows.shape[1]} dimensions")


if __name__ == "__main__":
    main()
