#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Circles between the files of a folder: a.c calls what b.c defines, and b.c, perhaps by others, what a.c defines.

Usage: circles.py FOLDER [KNOWN...], with the folder of a build directory that holds the objects (build/lib). A known
circle is FILE+FILE+...; one within it is not told. Prints each circle and the symbols that make it; exits 1 if there is
one, 2 if there are no objects. Static functions do not count.
"""
import pathlib
import subprocess
import sys


def symbols(path):
    """The names that an object defines and those that it wants."""
    defined, wanted = set(), set()
    listing = subprocess.run(["nm", "-P", "-g", str(path)], capture_output=True, text=True, check=True).stdout
    for line in listing.splitlines():
        name, kind = line.split()[:2]
        (wanted if kind in "Uwv" else defined).add(name)
    return defined, wanted


def uses_of(folder):
    """{file: {other file: symbols}} of all objects below the folder."""
    defined, wanted = {}, {}
    for path in sorted(pathlib.Path(folder).rglob("*.c.o")):
        defines, wants = symbols(path)
        name = path.name[:-len(".o")]
        wanted.setdefault(name, set()).update(wants)
        for symbol in defines:
            defined.setdefault(symbol, name)
    uses = {name: {} for name in wanted}
    for name, wants in wanted.items():
        for symbol in sorted(wants):
            owner = defined.get(symbol, name)
            if owner != name:
                uses[name].setdefault(owner, []).append(symbol)
    return uses


def reached(uses, start):
    """All files that the start's calls lead to, itself only by a circle."""
    seen, left = set(), list(uses[start])
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left.extend(uses[name])
    return seen


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    uses = uses_of(sys.argv[1])
    if not uses:
        print(f"no objects below {sys.argv[1]}")
        return 2
    known = [set(circle.split("+")) for circle in sys.argv[2:]]
    reach = {name: reached(uses, name) for name in uses}
    told, status = set(), 0
    for name in sorted(uses):
        circle = {other for other in reach[name] if name in reach[other]}
        if not circle or name in told:
            continue
        told |= circle
        if any(circle <= files for files in known):
            continue
        status = 1
        print("circle: " + "+".join(sorted(circle)))
        for one in sorted(circle):
            for other in sorted(circle & set(uses[one])):
                print(f"  {one} uses {', '.join(uses[one][other])} of {other}")
    return status


if __name__ == "__main__":
    sys.exit(main())
