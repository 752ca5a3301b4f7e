#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How cost grows with the number of rows: `omendb bench` of several files of the same kind, as a table and a picture.

growth.py --omendb PATH --queries Q --table T.md --plot P.svg [options] FILE...

For every file: build time a vector, time of a query in a batch and alone at the recall asked for, with the recall that
was found. Needs gnuplot for the picture.
"""
import argparse
import json
import subprocess
import tempfile


def measure(options, base):
    command = [options.omendb, "bench", "--base", base, "--queries", options.queries, "--recall", str(options.recall),
               "--runs", str(options.runs), "--min-time", str(options.min_time), "--json", "-q"]
    if options.threads:
        command += ["-t", str(options.threads)]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return result, result["points"][0]


def draw(path, rows, title):
    with tempfile.NamedTemporaryFile("w", suffix=".gp") as script:
        data = "\n".join(" ".join(str(x) for x in row) for row in rows)
        script.write(f"""
set terminal svg size 760,460 font "sans-serif,13" background "white"
set output "{path}"
set title "{title}" font ",12"
set logscale xy
set xlabel "rows"
set ylabel "microseconds"
set grid back lt 1 lw 1 lc rgb "#dddddd"
set border 3
set tics nomirror
set key left top
set format x "10^{{%T}}"
$data << END
{data}
END
plot $data using 1:2 with linespoints lw 2 pt 7 ps 0.8 lc rgb "#1f77b4" title "one query of a batch", \\
     $data using 1:3 with linespoints lw 2 pt 5 ps 0.8 lc rgb "#d62728" title "one query alone (median)", \\
     $data using 1:4 with linespoints lw 2 pt 9 ps 0.9 lc rgb "#2ca02c" title "build, a vector"
""")
        script.flush()
        subprocess.run(["gnuplot", script.name], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--omendb", required=True)
    parser.add_argument("--queries", required=True)
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--min-time", type=float, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--table", required=True)
    parser.add_argument("--plot", required=True)
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()
    lines = ["| rows | lists | build s | vectors/s | us a vector | recall@10 by id | queries/s, batch | us a query | "
             "alone: p50 us | p99 us | codes scanned | peak memory of the build |",
             "|" + "---:|" * 12]
    rows = []
    for base in options.files:
        result, point = measure(options, base)
        n, seconds = result["data"]["n"], result["build"]["seconds"]["total"]
        batch, p50 = point["batch"]["median"], 1000 * point["p50_ms"]["median"]
        rows.append((n, 1e6 / batch, p50, 1e6 * seconds / n))
        lines.append(f"| {n:,} | {result['index']['lists']:,} | {seconds:.2f} | {n / seconds:,.0f} | "
                     f"{1e6 * seconds / n:.2f} | {point['recall_by_id']:.4f} | {batch:,.0f} | {1e6 / batch:.1f} | "
                     f"{p50:.0f} | {1000 * point['p99_ms']['median']:.0f} | {point['codes_scanned']:,.0f} | "
                     f"{result['build']['peak_memory_bytes'] / 1e6:,.0f} MB |")
        print(lines[-1], flush=True)
    with open(options.table, "w") as out:
        out.write("\n".join(lines) + "\n")
    data, machine = result["data"], result["machine"]
    draw(options.plot, rows, f"d {data['d']}, {data['metric']}, k {point['k']}, recall {options.recall} asked for, "
         f"{machine['threads']} threads, {machine['simd']}, {machine['cpu']}")


if __name__ == "__main__":
    main()
