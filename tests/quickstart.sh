#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The demonstration: installs what is missing, builds omendb, indexes fashion-mnist (60,000 images of 784 pixels) at 32
# bytes a vector, searches it with 10,000 queries and compares the result with exact search. Exits 1 below recall 0.95.
# Leaves the program in build/ and files to try it on in playground/; running it again is quick, and keeps both.
set -eu
cd "$(dirname "$0")/.."
. tests/install.sh

floor=0.95
images=/usr/share/datasets/fashion-mnist

# shellcheck disable=SC2086 # the list is split into words on purpose
install_missing $build_packages

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---- the program ----

[ -x build/cmd/omendb ] || echo "compiling omendb into build/: half a minute or so" >&2
{ [ -f build/build.ninja ] || meson setup --buildtype=release build; } >"$scratch/log" 2>&1 || {
    cat "$scratch/log" >&2
    exit 1
}
ninja -C build cmd/omendb >"$scratch/log" 2>&1 || {
    cat "$scratch/log" >&2
    exit 1
}
omendb=build/cmd/omendb

# ---- the work ----

echo "indexing 60,000 images, searching 10,000 others, exactly too" >&2
gzip -dc "$images/train-images-idx3-ubyte.gz" >"$scratch/train.idx"
gzip -dc "$images/t10k-images-idx3-ubyte.gz" >"$scratch/test.idx"

$omendb build --bytes 32 --json "$scratch/train.idx" >"$scratch/build.json"
$omendb query --json -o "$scratch/found.tsv" "$scratch/train.omen" "$scratch/test.idx" 2>"$scratch/query.json"
$omendb query --json --exact -o "$scratch/exact.tsv" "$scratch/train.omen" "$scratch/test.idx" 2>"$scratch/exact.json"
$omendb verify --quiet --source "$scratch/train.idx" "$scratch/train.omen"

# Columns are query, rank and row: the share of exact neighbours that were found.
recall=$(awk 'NR == FNR { exact[$1, $3]; next }
    ($1, $3) in exact { found++ }
    END { printf "%.4f", found / FNR }' "$scratch/exact.tsv" "$scratch/found.tsv")

# ---- the table ----

# member FILE NAME: a member of the outermost object.
member()
{
    sed -n 's/{[^{}]*}/0/g; s/^\(.*[{ ]\)\{0,1\}"'"$2"'": "\{0,1\}\([^",}]*\).*$/\2/p' "$scratch/$1.json"
}

# seconds FILE NAME: a member of the object "seconds".
seconds()
{
    sed -n 's/.*"seconds": {[^}]*"'"$2"'": \([^,}]*\).*/\1/p' "$scratch/$1.json"
}

# hot: code and factors, the bytes that a search reads of every vector it scans
bytes=$(($(sed -n 's/.*"bytes_per_vector": {"code": \([0-9]*\), "factors": \([0-9]*\).*/\1 + \2/p' \
    "$scratch/build.json")))
processor=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)

awk -v recall="$recall" -v bytes="$bytes" -v processor="${processor:-$(uname -m)}" \
    -v n="$(member build n)" -v d="$(member build d)" -v metric="$(member build metric)" \
    -v codec="$(member build codec)" -v threads="$(member build threads)" -v simd="$(member build simd)" \
    -v build_seconds="$(seconds build total)" -v vectors_per_second="$(member build vectors_per_second)" \
    -v ratio="$(member build ratio_input)" -v file_bytes="$(member build file_bytes)" \
    -v queries="$(member query queries)" -v queries_per_second="$(member query queries_per_second)" \
    -v exact_seconds="$(seconds exact search)" -v exact_per_second="$(member exact queries_per_second)" '
    function group(value,    text, out) {
        text = sprintf("%.0f", value)
        while (length(text) > 3) {
            out = "," substr(text, length(text) - 2) out
            text = substr(text, 1, length(text) - 3)
        }
        return text out
    }
    function line(name, value, unit) { printf "%-16s%12s %s\n", name, value, unit }
    BEGIN {
        printf "fashion-mnist, %s x %d, %s, codec %s, k = 10\n", group(n), d, metric, codec
        printf "%s, %d threads, %s\n\n", processor, threads, simd
        line("build", sprintf("%.2f", build_seconds), "s")
        line("", group(vectors_per_second), "vectors/s")
        line("hot", bytes, sprintf("bytes a vector, 1/%.0f of float32", ratio))
        line("file", sprintf("%.1f", file_bytes / 1e6), "MB, with rows for re-ranking")
        line("recall@10", recall, sprintf("of %s queries, default effort", group(queries)))
        line("search", group(queries_per_second), "queries/s")
        line("exact search", sprintf("%.2f", exact_seconds), sprintf("s, %s queries/s", group(exact_per_second)))
    }'

if ! awk -v recall="$recall" -v floor="$floor" 'BEGIN { exit !(recall >= floor) }'; then
    echo "recall@10 is below $floor" >&2
    exit 1
fi

# ---- the playground ----

sh tests/playground.sh $omendb playground
cat <<END

playground/ has 10,000 of the images, their index, labels and 1,000 queries. To try:

    $omendb query -k 3 --distances playground/images.omen playground/queries.idx | head
    $omendb query -k 3 --where "label = 'sandal'" playground/images.omen playground/queries.idx | head
    $omendb info playground/images.omen
END
