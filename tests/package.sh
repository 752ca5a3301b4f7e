#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What is handed out, made from the committed state: the static program, also in an empty root; the source archive; a
# build for a debugger; the Debian packages twice, in two places; lintian; and that they have what `meson install` has.
# Prints "ok - what" or "not ok - what" after what breaks it; exits 1 if anything does. Takes some minutes, so run.sh
# does not run it. Needs root for chroot.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/rules.sh
export LC_ALL=C
export OMP_WAIT_POLICY=passive

git clone --quiet . "$scratch/omendb" || exit 1
cd "$scratch/omendb" || exit 1
version=$(sed -n 's/^#define OMEN_VERSION *"\(.*\)"$/\1/p' lib/omendb.h)

# ---- the program as it is, which the others are compared with ----

quiet meson setup "$scratch/build" --buildtype=release --prefix=/usr | result "meson setup"
quiet ninja -C "$scratch/build" -j "${JOBS:-2}" cmd/omendb | result "ninja"
omendb=$scratch/build/cmd/omendb
mkdir "$scratch/work"
cd "$scratch/work" || exit 1
awk 'BEGIN { for (i = 0; i < 3000; i++) { for (j = 0; j < 32; j++) { x = (x * 75 + 74) % 65537
    printf "%s%d", j ? "," : "", x % 251 } print "" } }' >rows.csv
head -n 50 rows.csv >queries.csv
# answers PROGRAM...: an index of both ways, and what it answers, on each level of SIMD
answers()
{
    quiet "$@" build -q --graph --fresh -o work.omen rows.csv
    sha256sum <work.omen
    for level in scalar avx2 avx512; do
        "$@" query -q --cpu $level -k 5 --distances work.omen queries.csv 2>&1
    done
}
answers "$omendb" >normal
rm work.omen
{ [ "$(wc -l <normal)" -eq 751 ] || head -n 5 normal; } | result "the program answers"

# ---- the static program ----

cd "$scratch/omendb" || exit 1
quiet meson setup "$scratch/static" --buildtype=release -Dtests=false -Dstatic=true | result "meson setup -Dstatic=true"
quiet ninja -C "$scratch/static" -j "${JOBS:-2}" cmd/omendb | result "it compiles"
static=$scratch/static/cmd/omendb
quiet strip "$static" | result "strip"
readelf -d "$static" | grep NEEDED | result "the static program needs no shared library"
size=$(wc -c <"$static")
echo "# $size bytes"
{ [ "$size" -lt 5000000 ] || echo "$size bytes"; } | result "it has less than 5 MB"
cd "$scratch/work" || exit 1
answers "$static" >answers
cmp normal answers 2>&1 | result "it makes the same index and answers"
rm work.omen
if [ "$(id -u)" -eq 0 ]; then
    mkdir empty && cp "$static" rows.csv queries.csv empty
    # no /tmp either, where text is kept while it is read
    export TMPDIR=/
    chroot empty /omendb build -q --graph --fresh -o work.omen rows.csv >answers 2>&1 </dev/null
    sha256sum 2>&1 <empty/work.omen >>answers
    for level in scalar avx2 avx512; do
        chroot empty /omendb query -q --cpu $level -k 5 --distances work.omen queries.csv </dev/null
    done >>answers 2>&1
    unset TMPDIR
    cmp normal answers 2>&1 | result "it does so in an empty root"
else
    echo "ok - it does so in an empty root # SKIP not root"
fi

# ---- the source archive ----

cd "$scratch/omendb" || exit 1
quiet meson dist -C "$scratch/build" --no-tests --formats gztar | result "meson dist"
archive=$scratch/build/meson-dist/omendb-$version.tar.gz
git ls-files | grep -v '^\.git' | sort >"$scratch/wanted"
tar -tzf "$archive" | sed -n 's/^[^/]*\/\(.*[^/]\)$/\1/p' | grep -v '^\.git' | sort | diff "$scratch/wanted" - |
    result "the archive has every file of the repository"

# ---- a build for a debugger ----

quiet meson setup "$scratch/debug" --buildtype=debug -Dtests=false | result "meson setup --buildtype=debug"
grep -o -e ' -O[1-3s].*' "$scratch/debug/compile_commands.json" | head -n 3 | result "a debug build optimizes nothing"

# ---- the Debian packages ----

if ! command -v dh >/dev/null || ! command -v lintian >/dev/null; then
    echo "ok - Debian packages # SKIP apt-get install dpkg-dev debhelper lintian"
    all_ok
    exit
fi
mkdir "$scratch/other"
quiet sh docs/packaging/build-deb.sh "$scratch/packages" | result "dpkg-buildpackage"
(TZ=Asia/Tokyo LC_ALL=C.UTF-8 quiet sh docs/packaging/build-deb.sh "$scratch/other/and-longer") |
    result "dpkg-buildpackage in another place, time zone and locale"
(cd "$scratch/packages" && sha256sum -- *.deb *.orig.tar.gz *.dsc) >"$scratch/sums"
(cd "$scratch/other/and-longer" && sha256sum -c --quiet "$scratch/sums" 2>&1) |
    result "both places give the same packages, byte for byte"
sed 's/^/# /' "$scratch/sums"
lintian --fail-on error "$scratch/packages"/*.changes >"$scratch/said" 2>&1
code=$?
grep -v '^running' "$scratch/said" | sed 's/^/# /'
{ [ $code -eq 0 ] || echo "exit code $code"; } | result "lintian finds no error"
mkdir "$scratch/installed"
for package in omendb libomendb0 libomendb-dev; do
    dpkg-deb -x "$scratch/packages/${package}_"*.deb "$scratch/installed"
done
cd "$scratch/omendb" || exit 1
library=libomendb.so.0.$(echo "$version" | cut -d . -f 1,2)
quiet ninja -C "$scratch/build" -j "${JOBS:-2}" "$library" libomendb.a | result "the library"
quiet meson install -C "$scratch/build" --destdir "$scratch/root" | result "meson install"
# what Debian has elsewhere, compresses or adds
(cd "$scratch/root/usr" && find . ! -type d ! -path './share/licenses/*') |
    sed 's/zsh\/site-functions/zsh\/vendor-completions/; s/\(man\/.*\.[15]\)$/\1.gz/' | sort >"$scratch/wanted"
(cd "$scratch/installed/usr" && find . ! -type d) | sed 's/\(FORMAT\.md\)\.gz$/\1/' |
    grep -v -e '/doc/.*/\(copyright\|changelog.*\|README.*\|TUTORIAL.*\|examples/.*\)$' | sort |
    diff "$scratch/wanted" - | result "together they have what meson install has"
"$scratch/installed/usr/bin/omendb" --version | grep -vx "omendb $version" | result "the packaged program is $version"
all_ok
