#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Recall under filters, of every family of the filtered test sets.

filtered.py --omendb PATH [--recall R] [--floor F] [--exact] NAME,INDEX,BASE,QUERIES,SET...

NAME is sift, fashion or debian, INDEX an index of the rows in BASE with the columns and tags of SET, the folder of the
filters and their truth, and QUERIES its queries (for debian the folder that holds both files). Each line of filters.tsv
is a query of one batch, by --where-file. Rows that pass are also found by numpy and SQLite: a row that should not pass,
or too few rows, end the script. Recall counts rows as near as the last true one, of min(k, matches), by distances of
their own. Prints a Markdown table; fails where a family is under the floor.
"""
import argparse
import json
import subprocess
import sys
import tempfile

import numpy as np

from conditions import load

K = 10


def distances_of(name, base, ids, query):
    """True distances, as the truth has them."""
    rows, query = base[ids].astype(np.float64), query.astype(np.float64)
    if name == "debian":
        return 1 - rows @ query / np.linalg.norm(rows, axis=1) / np.linalg.norm(query)
    return ((rows - query) ** 2).sum(axis=1)


def search(arguments, index, queries, filters):
    """The rows found, -1 in place of those that are missing."""
    with tempfile.TemporaryDirectory() as directory:
        np.save(f"{directory}/q.npy", queries)
        with open(f"{directory}/where.txt", "w", encoding="utf-8") as out:
            out.writelines(f["where"] + "\n" for f in filters)
        effort = ["--exact"] if arguments.exact else ["--recall", str(arguments.recall)]
        done = subprocess.run([arguments.omendb, "query", "--json", *effort, "-k", str(K), "--rows", "--where-file",
                               f"{directory}/where.txt", "-o", f"{directory}/found.npy", index, f"{directory}/q.npy"],
                              check=True, stderr=subprocess.PIPE)
        told = json.loads(done.stderr)
        print(f"# {index}: lists {told['lists_probed']:.0f}, codes {told['codes_scanned']:.0f}, "
              f"rows {told['rows_reranked']:.0f} a query", file=sys.stderr)
        return np.load(f"{directory}/found.npy")


def measure(arguments, name, index, *files):
    base, queries, filters, table = load(name, *files)
    truth = np.load(f"{files[-1]}/truth_distances.npy")
    families = {}
    for i, (f, row) in enumerate(zip(filters, search(arguments, index, queries, filters))):
        passing, found = table.select(f["where"]), row[row >= 0]
        want = min(K, len(passing))
        if len(passing) != int(f["matches"]) or len(found) != want or len(set(found)) != want:
            sys.exit(f"{name}, filter {i}: {len(passing)} rows pass, {len(found)} were found")
        if not np.isin(found, passing).all():
            sys.exit(f"{name}, filter {i}: a row that does not pass is among {found}")
        if want:
            near = distances_of(name, base, found, queries[i]) <= truth[i][want - 1] * (1 + 1e-6)
            families.setdefault(f["family"], []).append(near.mean())
    return families


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--omendb", required=True)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--floor", type=float, default=0.945)
    parser.add_argument("--exact", action="store_true")
    parser.add_argument("sets", nargs="+")
    arguments = parser.parse_args()
    failed = False
    print("| set | family | queries | recall@10 |\n|---|---|---:|---:|")
    for one in arguments.sets:
        name, *rest = one.split(",")
        for family, recalls in sorted(measure(arguments, name, *rest).items()):
            mean = float(np.mean(recalls))
            failed |= mean < arguments.floor
            print(f"| {name} | {family} | {len(recalls)} | {mean:.4f} |")
    sys.exit(failed)


if __name__ == "__main__":
    main()
