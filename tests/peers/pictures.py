# SPDX-License-Identifier: Apache-2.0
"""What the pictures of compare.py and growth.py share: how an engine looks, axes, labels beside curves, and gnuplot.

An SVG gets a title and a description for those who do not see it, colours for light and for dark pages, and its data as
JSON in <metadata>, from which it can be drawn again.
"""
import json
import math
import re
import shutil
import subprocess
from html import escape, unescape

# A colour and a marker belong to an engine, in every picture; its variants differ in dashes and hollow marks. Colours
# have a contrast of 3 or more to white and to the dark background.
LOOKS = {"omendb": ("#1f77c9", 4), "faiss": ("#d55e00", 6), "rabitqlib qg": ("#a35fbf", 10),
         "rabitqlib IVF": ("#0a8f6b", 8), "hnswlib": ("#a17a00", 12), "usearch": ("#d0508c", 14),
         "glass": ("#1995ad", 1), "scann": ("#808080", 2), "scalable-vs": ("#7a63d9", 3)}
OTHER = ("#808080", 1)

DARK = """<style>
@media (prefers-color-scheme: dark) {
  rect[fill="#ffffff"] { fill: #0d1117 }
  [fill="black"] { fill: #e6edf3 }
  [stroke="black"] { stroke: #e6edf3 }
  [color="black"] { color: #e6edf3 }
  .gridline { stroke: #30363d }
}
</style>
"""


def look(name, variant):
    """What gnuplot draws an engine's curve with: colour, marker, dashes."""
    colour, marker = next((l for prefix, l in LOOKS.items() if name.startswith(prefix)), OTHER)
    return {"colour": colour, "marker": marker + (variant == 0 and marker > 3), "dash": 1 + variant % 4}


def looks(names):
    """A look for each name; those of one engine are its variants, in this order."""
    seen, out = {}, []
    for name in names:
        family = next((prefix for prefix in LOOKS if name.startswith(prefix)), name)
        out.append(look(name, seen.get(family, 0)))
        seen[family] = seen.get(family, 0) + 1
    return out


def literal(text):
    """A string that gnuplot takes as it is; a single quote becomes the typographic one."""
    return "'" + "".join("\u2019" if c == "'" else " " if c < " " else c for c in text) + "'"


# ---- axes ----

RECALLS = [0.9, 0.95, 0.99, 0.999, 0.8, 0.98, 0.995, 0.5, 0.7, 0.9999, 0.6, 0.85]  # first come, first drawn


def recall_place(recall):
    """Where a recall stands: by the share that is missed, in decades. All found would be infinitely far away."""
    return -math.log10(max(1 - recall, 5e-6))


def recall_axis(least, most):
    """The axis from one recall to another, with room; ticks keep a tenth of it apart."""
    low, high = recall_place(least), recall_place(most)
    low, high = low - 0.03 * (high - low) - 0.01, high + 0.03 * (high - low) + 0.01
    ticks = {}
    for recall in RECALLS:
        at = recall_place(recall)
        if low <= at <= high and all(abs(at - other) > (high - low) / 10 for other in ticks.values()):
            ticks[recall] = at
    return ([f"set xrange [{low:.5f}:{high:.5f}]",
             "set xtics (" + ", ".join(f"'{recall:g}' {at:.5f}" for recall, at in ticks.items()) + ")"], (low, high))


def grouped_ticks(low, high):
    """Ticks of a logarithmic axis, with digits grouped."""
    steps = (1, 2, 5) if high > 8 * low else range(1, 10)
    ticks = [step * 10 ** power for power in range(10) for step in steps]
    return ", ".join(f"'{tick:,}' {tick}" for tick in ticks if low <= tick <= high)


def dodge(wanted, gap, low, high):
    """Places as near as possible to those wanted, in their order, gap apart, between low and high."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    blocks = []  # sum, number: neighbours that have pushed each other
    for rank, i in enumerate(order):
        blocks.append([wanted[i] - rank * gap, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, n = blocks.pop()
            blocks[-1] = [blocks[-1][0] + total, blocks[-1][1] + n]
    places = [total / n for total, n in blocks for _ in range(n)]
    most = high - (len(wanted) - 1) * gap
    out = [0] * len(wanted)
    for rank, i in enumerate(order):
        out[i] = max(low, min(places[rank], most)) + rank * gap
    return out


class Panel:
    """Part of a picture, in pixels from its upper left corner, with logarithmic values upwards."""

    def __init__(self, size, box):
        self.size, self.box = size, box

    def begin(self):
        left, right, top, bottom = self.box
        width, height = self.size
        return ["unset label", "unset arrow", f"set lmargin at screen {left / width:.5f}",
                f"set rmargin at screen {right / width:.5f}", f"set tmargin at screen {1 - top / height:.5f}",
                f"set bmargin at screen {1 - bottom / height:.5f}"]

    def labels(self, names, colours, ends, x_range, y_range, gap=19):
        """Names to the right of the panel, each joined with the end of its curve."""
        left, right, top, bottom = self.box
        width, height = self.size

        def pixel(x, y):
            return (left + (x - x_range[0]) / (x_range[1] - x_range[0]) * (right - left),
                    bottom - math.log(y / y_range[0]) / math.log(y_range[1] / y_range[0]) * (bottom - top))
        at = [pixel(*end) for end in ends]
        places = dodge([y for _, y in at], gap, top + 4, bottom - 4)
        lines = []
        for name, colour, (x, y), place in zip(names, colours, at, places):
            beside = 1 - place / height
            lines.append(f"set arrow from screen {(x + 6) / width:.5f},{1 - y / height:.5f} "
                         f"to screen {(right + 14) / width:.5f},{beside:.5f} nohead lw 0.7 lc rgb '{colour}'")
            lines.append(f"set label {literal(name)} at screen {(right + 17) / width:.5f},{beside:.5f} left "
                         f"tc rgb '{colour}' font ',12'")
        return lines


# ---- gnuplot ----

def begin(path, size):
    """The first lines of a script."""
    kind, scale = ("svg", 1) if path.endswith(".svg") else ("pngcairo", 0.77)
    return [f"set terminal {kind} size {size[0]},{size[1]} noenhanced font 'sans-serif,14' fontscale {scale} "
            "background '#ffffff'", "set encoding utf8", "set output", "set logscale y", "set border 3",
            "set tics nomirror", "set grid back lt 1 lw 1 lc rgb '#dddddd'", "unset key", "unset mxtics"]


def draw(script, path, title, text, data):
    """Runs gnuplot and writes the picture, an SVG with its title, a text that says what is in it, and its data."""
    if not path.endswith((".svg", ".png")):
        raise SystemExit(f"--plot wants a name that ends with .svg or .png, not {path}")
    if not shutil.which("gnuplot"):
        raise SystemExit("--plot needs gnuplot; on Debian and Ubuntu: apt-get install gnuplot-nox")
    done = subprocess.run(["gnuplot", "--default-settings"], input="\n".join(script + [""]).encode(),
                          capture_output=True)
    picture = done.stdout
    if done.returncode or not picture:
        raise SystemExit(f"gnuplot did not draw {path}: {done.stderr.decode().strip()[-300:]}")
    if path.endswith(".svg"):
        told = (f"<title>{escape(title)}</title>\n<desc>{escape(text)}</desc>\n"
                f"<metadata>{escape(json.dumps(data, separators=(',', ':')), quote=False)}</metadata>\n{DARK}")
        svg = re.sub(r"<title>gnuplot_plot_\w+</title>", "", picture.decode())
        svg = re.sub(r"<title>.*?</desc>\n", lambda _: told, svg, count=1, flags=re.S)
        picture = re.sub(r"[ \t]+$", "", svg, flags=re.M).encode()
    with open(path, "wb") as out:
        out.write(picture)


def data_of(path):
    """The data that a picture was drawn from."""
    with open(path, encoding="utf-8") as svg:
        found = re.search(r"<metadata>(.*?)</metadata>", svg.read(), re.S)
    if not found:
        raise SystemExit(f"{path} holds no data to draw it from")
    return json.loads(unescape(found.group(1)))
