#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One dialect of C: what clang-format 14 cannot tell. Prints the lines that stray, and exits 1 if there are any.

  - no braces around a single simple statement, but where another branch of the same if needs them
  - a pointer is tested as `p` or `!p`, without NULL
  - what a function returned is `status`, not `rc`
"""
import re
import sys

CONTROL = re.compile(r"( *)(?:if|for|while) \(.*\{$")
COMPARISON = re.compile(r"[=!]= NULL\b")
# a comparison is wanted where its value is one of two that are compared or chosen from, or an argument
VALUE = re.compile(r"NULL\) [=!]=|[=!]= NULL( \?|,)|\)\) [=!]= NULL|\?.*[=!]= NULL")


def strays(lines):
    for i, line in enumerate(lines):
        found = CONTROL.match(line)
        if found and i + 3 < len(lines) and lines[i + 1].endswith(";") and lines[i + 2] == found.group(1) + "}" \
                and not re.match(r" *(if|for|while|do|switch)\b", lines[i + 1]) and len(line) <= 120:
            yield i, line
        if COMPARISON.search(line) and not VALUE.search(line):
            yield i, line
        if re.search(r"\bint rc\b", line):
            yield i, line


def main():
    stray = False
    for path in sys.argv[1:]:
        with open(path) as file:
            lines = file.read().split("\n")
        for i, line in strays(lines):
            print(f"# {path}:{i + 1}: {line.strip()}")
            stray = True
    sys.exit(stray)


if __name__ == "__main__":
    main()
