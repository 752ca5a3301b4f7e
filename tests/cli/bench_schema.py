#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bench_schema.py BENCH-JSON.md RESULT.json...: the document and the results name the same members.

Each member of a result must be a row of the document, with its type, and each row must occur in some result."""
import json
import re
import sys

FIGURE = {"median", "min", "max", "runs"}
TYPES = {"text": str, "integer": int, "number": (int, float), "yes/no": bool, "object": dict}


def rows(path):
    """{member: type} of the tables, without that of the figure."""
    found = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            cells = [cell.strip() for cell in line.split("|")]
            if len(cells) == 6 and cells[1].startswith("`"):
                for name in re.findall(r"`([^`]+)`", cells[1]):
                    found[name] = cells[2]
    return found


def fits(value, kind):
    if value is None:
        return kind.endswith(" or null")
    kind = kind.removesuffix(" or null")
    if kind.startswith("list"):
        return isinstance(value, list)
    if isinstance(value, bool) != (kind == "yes/no"):
        return False
    if kind == "figure":
        return isinstance(value, dict) and set(value) == FIGURE
    return isinstance(value, TYPES[kind])


def walk(value, name, types, seen, faults):
    """Compares the members of value, which is called name."""
    if isinstance(value, list):
        for item in value:
            walk(item, name + "[]", types, seen, faults)
    if not isinstance(value, dict) or set(value) == FIGURE:
        return
    for key, inner in value.items():
        member = f"{name}.{key}" if name else key
        kind = types.get(member)
        if kind is not None:
            seen.add(member)
            if not fits(inner, kind):
                faults.add(f"{member} is {json.dumps(inner)}, not {kind}")
        elif not any(other.startswith((member + ".", member + "[].")) for other in types):
            faults.add(f"{member} is not in the document")
        walk(inner, member, types, seen, faults)


def main():
    types, seen, faults = rows(sys.argv[1]), set(), set()
    for path in sys.argv[2:]:
        with open(path, encoding="utf-8") as file:
            walk(json.load(file), "", types, seen, faults)
    faults |= {f"{member} is in no result" for member in set(types) - seen}
    print("\n".join(sorted(faults)))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
