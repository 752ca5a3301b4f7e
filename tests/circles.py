#!/usr/bin/env python3
"""Finds circles between the files of a folder.

    circles.py FOLDER...

A source file needs another one of its folder, subfolders included, when it uses a function or object that the other
one defines; a header needs another one when it includes it. Each circle is printed, one a line; exits 1 if there is
one, or if a folder defines nothing, which is a mistake of this script.
"""
import pathlib
import re
import sys

COMMENTS = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
# at the beginning of a line: a type, a name, then a parameter list and a body, or an initial value
FUNCTION = re.compile(r"^(?!static\b|typedef\b|extern\b)[a-z][\w \t*]*?[ *](\w+)\([^;{}]*\)\s*\{", re.M)
OBJECT = re.compile(r"^(?!static\b|typedef\b|extern\b)[a-z][\w \t*]*?[ *](\w+)(?:\[[^\]]*\])*\s*=", re.M)
INCLUDE = re.compile(r'^#include "([^"]+)"', re.M)


def needs(folder):
    """The graph of a folder, {file: {file, ...}}, and whether it defines anything."""
    sources = {p: COMMENTS.sub(" ", p.read_text()) for p in sorted(folder.rglob("*.c"))}
    headers = sorted(folder.rglob("*.h"))
    home = {}
    for path, text in sources.items():
        for name in FUNCTION.findall(text) + OBJECT.findall(text):
            home.setdefault(name, set()).add(path)
    graph = {}
    for path, text in sources.items():
        used = set(re.findall(r"\w+", text))
        # names that several files define are levels of one interface, chosen by the build
        owners = [home[name] for name in used if name in home and len(home[name]) == 1]
        graph[path] = {owner for found in owners for owner in found if owner != path}
    for path in headers:
        included = {pathlib.Path(name) for name in INCLUDE.findall(path.read_text())}
        graph[path] = {other for other in headers if other in included and other != path}
    return graph, bool(home)


def circles(graph):
    """Sets of files that reach one another (Tarjan's strongly connected components of more than one file)."""
    order, low, stack, found = {}, {}, [], []

    def visit(node):
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in order:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], order[other])
        if low[node] == order[node]:
            at = stack.index(node)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in order:
            visit(node)
    return found


def main():
    failed = False
    for name in sys.argv[1:]:
        graph, defines = needs(pathlib.Path(name))
        if not defines:
            print(f"{name}: no definitions found")
            failed = True
        for group in circles(graph):
            print(f"{name}: " + ", ".join(str(path) for path in group) + " need one another")
            failed = True
    return failed


if __name__ == "__main__":
    sys.exit(main())
