#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How cost grows with the number of rows: `omendb bench` of several files of the same kind, as a table and a picture.

growth.py --omendb PATH --queries Q --table T.md --plot P.svg [options] FILE...
growth.py --render P.svg                                                # draw it again from the data that is in it

For every file: build time a vector, time of a query in a batch and alone at the recall asked for, with the recall that
was found. A point that found less than was asked for is hollow, and says so. Needs gnuplot for the picture.
"""
import argparse
import json
import math
import subprocess

import pictures

COLOUR = pictures.LOOKS["omendb"][0]
CURVES = [("one query alone", "alone_us", 4, COLOUR, 2), ("one query of a batch", "batch_us", 4, COLOUR, 1),
          ("build, a vector", "build_us", 12, "#7a7a7a", 1)]
SHORT = 0.005  # of the recall asked for: less is told


def measure(options, base):
    command = [options.omendb, "bench", "--base", base, "--queries", options.queries, "--recall", str(options.recall),
               "--runs", str(options.runs), "--min-time", str(options.min_time), "--json", "-q"]
    if options.threads:
        command += ["-t", str(options.threads)]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return result, result["points"][0]


def draw(data, path):
    """Microseconds against rows; queries in one colour, the build in another."""
    size, rows, asked = (900, 480), data["rows"], data["recall"]
    times = [row[key] for row in rows for _, key, *_ in CURVES]
    y_range = (0.6 * min(times), 1.6 * max(times))
    x_range = (0.8 * rows[0]["n"], 1.15 * rows[-1]["n"])
    panel = pictures.Panel(size, (70, 690, 80, 415))
    ticks = ", ".join(f"'{row['n']:,}' {row['n']}" for row in rows)
    lines = pictures.begin(path, size) + panel.begin() + [
        "$data << EOD", *(" ".join([str(row["n"]), *(f"{row[key]:.5g}" for _, key, *_ in CURVES),
                                    str(int(row["recall"] < asked - SHORT))]) for row in rows), "EOD",
        "set logscale x", f"set xrange [{x_range[0]}:{x_range[1]}]", f"set xtics ({ticks})",
        f"set yrange [{y_range[0]:.6g}:{y_range[1]:.6g}]", f"set ytics ({pictures.grouped_ticks(*y_range)})",
        "set xlabel 'rows'", f"set label {pictures.literal(data['title'])} at screen 0.5,{1 - 22 / size[1]:.5f} center",
        f"set label 'microseconds' at screen {70 / size[0]:.5f},{1 - 62 / size[1]:.5f} left"]
    lines += panel.labels([c[0] for c in CURVES], [c[3] for c in CURVES],
                          [(math.log(rows[-1]["n"]), rows[-1][key]) for _, key, *_ in CURVES],
                          [math.log(x) for x in x_range], y_range)
    for row in rows:
        if row["recall"] < asked - SHORT:
            lines.append(f"set label 'recall {row['recall']:.3f}, not {asked}' at {row['n']},{row['alone_us']:.5g} "
                         f"right offset -1,0.8 tc rgb '{COLOUR}' font ',13'")
    parts = []
    for i, (_, _, mark, colour, dash) in enumerate(CURVES):
        paint = f"lc rgb '{colour}'"
        short = "0" if i == 2 else "$5 > 0"  # the build finds nothing
        parts += [f"$data using 1:{i + 2} with lines lw 1.7 dt {dash} {paint}",
                  f"$data using 1:({short} ? NaN : ${i + 2}) with points ps 1 pt {mark + 1} {paint}",
                  f"$data using 1:({short} ? ${i + 2} : NaN) with points ps 1.2 pt {mark} {paint}"]
    told = "; ".join(f"{row['n']:,} rows: build {row['build_us']:.3g}, a query of a batch {row['batch_us']:.3g}, alone "
                     f"{row['alone_us']:.3g} microseconds, recall {row['recall']:.3f}" for row in rows)
    pictures.draw(lines + ["plot " + ", ".join(parts)], path, "How the cost of build and query grows with the rows",
                  f"{data['title']}. {told}.", data)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--render", metavar="SVG", help="draw a picture again from the data in it, and exit")
    parser.add_argument("--omendb")
    parser.add_argument("--queries")
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--min-time", type=float, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--table")
    parser.add_argument("--plot")
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()
    if options.render:
        return draw(pictures.data_of(options.render), options.plot or options.render)
    if not (options.omendb and options.queries and options.table and options.plot and options.files):
        parser.error("--omendb, --queries, --table, --plot and files are needed")
    lines = ["| rows | lists | build s | vectors/s | us a vector | recall@10 by id | queries/s, batch | us a query | "
             "alone: p50 us | p99 us | codes scanned | peak memory of the build |",
             "|" + "---:|" * 12]
    rows = []
    for base in options.files:
        result, point = measure(options, base)
        n, seconds = result["data"]["n"], result["build"]["seconds"]["total"]
        batch, p50 = point["batch"]["median"], 1000 * point["p50_ms"]["median"]
        rows.append({"n": n, "batch_us": 1e6 / batch, "alone_us": p50, "build_us": 1e6 * seconds / n,
                     "recall": point["recall_by_id"]})
        lines.append(f"| {n:,} | {result['index']['lists']:,} | {seconds:.2f} | {n / seconds:,.0f} | "
                     f"{1e6 * seconds / n:.2f} | {point['recall_by_id']:.4f} | {batch:,.0f} | {1e6 / batch:.1f} | "
                     f"{p50:.0f} | {1000 * point['p99_ms']['median']:.0f} | {point['codes_scanned']:,.0f} | "
                     f"{result['build']['peak_memory_bytes'] / 1e6:,.0f} MB |")
        print(lines[-1], flush=True)
    with open(options.table, "w") as out:
        out.write("\n".join(lines) + "\n")
    data, machine = result["data"], result["machine"]
    title = (f"d {data['d']}, {data['metric']}, k {point['k']}, recall {options.recall} asked for; "
             f"{machine['threads']} threads, {machine['simd']}, {machine['cpu']}")
    draw({"title": title, "recall": options.recall, "rows": rows}, options.plot)
    return None


if __name__ == "__main__":
    main()
