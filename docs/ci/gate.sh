#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Is this revision worse than another one? Builds both, compares recall, bytes a vector and size of an index of the same
# data, and the time of searches in pairs of runs on this machine. Writes before.json and after.json, the results of
# bench, into the working directory. Exit code 1 names each figure that got worse.
# Usage: gate.sh [REVISION]; default, and for what is no commit here: HEAD^. BASE, QUERIES and METRIC are the data, by
# default those of Debian's package dataset-fashion-mnist; MAX_SLOWDOWN is 10%.
set -eu
top=$(CDPATH= cd -- "$(dirname -- "$0")/../.." && pwd)
images=/usr/share/datasets/fashion-mnist
before=$(git -C "$top" rev-parse --verify --quiet "${1:-HEAD^}^{commit}" || git -C "$top" rev-parse --verify HEAD^)

trees=$(mktemp -d)
trap 'git -C "$top" worktree remove --force "$trees/before" || :; rm -rf "$trees"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
git -C "$top" worktree add --quiet --detach "$trees/before" "$before"
for name in before after; do
    [ $name = before ] && source=$trees/before || source=$top
    meson setup "$trees/build-$name" "$source" --buildtype=release -Dtests=false
    ninja -C "$trees/build-$name" cmd/omendb
done >"$trees/log" 2>&1 || { cat "$trees/log" >&2; exit 2; }

# bench NAME OPTION...: of the program before or after, the sweep that both make
bench()
{
    program=$trees/build-$1/cmd/omendb
    shift
    "$program" bench --base "${BASE:-$images/train-images-idx3-ubyte.gz}" \
        --queries "${QUERIES:-$images/t10k-images-idx3-ubyte.gz}" -m "${METRIC:-l2}" -k 10 --recall 0.9,0.95,0.99 \
        --runs 1 --min-time 0 --json "$@"
}
bench before -q >before.json
bench after --baseline before.json --baseline-binary "$trees/build-before/cmd/omendb" \
    --max-slowdown "${MAX_SLOWDOWN:-10%}" >after.json
