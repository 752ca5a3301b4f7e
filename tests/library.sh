#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The library as others get it: what libomendb.so exports, headers that compile alone, and what an installed copy has
# and does. Prints "ok - rule" or "not ok - rule" after what breaks it; exits 1 if anything does.
# The build is the one that $OMENDB is in (default build/cmd/omendb). CC and CXX default to cc and g++.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
omendb=${OMENDB:-$root/build/cmd/omendb}
build=$(CDPATH= cd -- "$(dirname -- "$omendb")/.." && pwd) || exit 1
omendb=$build/cmd/omendb
cc=${CC:-cc}
cxx=${CXX:-g++}
. tests/rules.sh
export LC_ALL=C
export OMP_WAIT_POLICY=passive

# ---- symbols ----

awk '/^    omen_[a-z0-9_]*;$/ { sub(/;/, ""); print $1 }' lib/omendb.map | sort >"$scratch/map"
nm -D --defined-only "$build/libomendb.so" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort >"$scratch/so"
# a declaration may be broken after its type
sed -n '/^OMEN_API/s/^OMEN_API [^(]*\(omen_[a-z0-9_]*\)(.*/\1/p' lib/omendb*.h formats/omendb_files.h |
    sort >"$scratch/declared"
{ [ -s "$scratch/map" ] || echo "no symbols found"; diff "$scratch/map" "$scratch/so"; } |
    result "libomendb.so exports what omendb.map lists"
diff "$scratch/map" "$scratch/declared" | result "omendb.map lists what the headers mark with OMEN_API"
grep -nE '^[a-z].*[ *]omen_[a-z0-9_]+\(' lib/omendb*.h formats/omendb_files.h | grep -v ':typedef' |
    result "every function of a public header is marked with OMEN_API"
readelf -d "$build/libomendb.so" | sed -n 's/.*soname: \[\(.*\)\]/\1/p' | grep -vx 'libomendb\.so\.0' |
    result "libomendb.so is called libomendb.so.0"
readelf -d "$omendb" | grep 'NEEDED.*omendb' | result "the program needs no libomendb.so"
# of the library's own functions, only through pointers or directly
readelf -rW "$build/libomendb.so" | grep -E 'JUMP_SLO.* omen_' | result "files of the library call each other directly"

# ---- hardening, of a build that is optimized and not for a sanitizer ----

for file in "$omendb" "$build/libomendb.so"; do
    name=${file##*/}
    readelf -hldW --dyn-syms "$file" >"$scratch/elf"
    {
        grep -q 'Type: *DYN' "$scratch/elf" || echo "its addresses are fixed"
        { grep -q 'GNU_RELRO' "$scratch/elf" && grep -q '(FLAGS.*NOW' "$scratch/elf"; } ||
            echo "the linker's tables stay writable"
        grep 'GNU_STACK.*RWE' "$scratch/elf"
        grep -q '__stack_chk_fail' "$scratch/elf" || echo "no canaries"
        grep -q '__asan_init\|__tsan_init\|__[a-z]*_chk@' "$scratch/elf" || echo "no _FORTIFY_SOURCE"
    } | result "$name is hardened"
done

# ---- an installed copy ----

quiet meson install -C "$build" --no-rebuild --destdir "$scratch/root" | result "meson install into a DESTDIR"
find "$scratch/root" -type f -o -type l | sed 's/.*\///' | sort >"$scratch/installed"
printf '%s\n' FORMAT.md LICENSE _omendb libomendb.a libomendb.so libomendb.so.0 libomendb.so.0.1.0 omendb omendb \
    omendb-attach.1 omendb-bench.1 omendb-build.1 omendb-completion.1 omendb-compress.1 omendb-format.5 omendb-info.1 \
    omendb-merge.1 omendb-query.1 omendb-train.1 omendb-verify.1 omendb.1 omendb.fish omendb.h omendb.magic \
    omendb.pc omendb_codes.h omendb_columns.h omendb_files.h omendb_info.h omendb_joint.h omendb_rows.h |
    sort | diff - "$scratch/installed" |
    result "what is installed"
library=$(dirname "$(find "$scratch/root" -name libomendb.so)")
include=$(dirname "$(find "$scratch/root" -name omendb.h)")
PKG_CONFIG_PATH=$library/pkgconfig
PKG_CONFIG_SYSROOT_DIR=$scratch/root
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
{ "$omendb" --version; echo "omendb $(pkg-config --modversion omendb)"; } | uniq | sed 1d |
    result "program and library have one version"

# A program that sets up the structs, in what C and C++ have in common.
for header in omendb omendb_codes omendb_columns omendb_info omendb_rows omendb_files; do
    cat >"$scratch/$header.c" <<EOF
#include <$header.h>
#include <$header.h>
int main(void)
{
    omen_search_options search;
    omen_build_options build;
    omen_search_options_init(&search);
    omen_build_options_init(&build);
    return search.struct_bytes == sizeof search && build.struct_bytes == sizeof build && search.k == 10 ? 0 : 1;
}
EOF
    quiet "$cc" -std=c11 -pedantic -Wall -Wextra -Werror "-I$include" -c -o "$scratch/$header.o" "$scratch/$header.c" |
        result "$header.h compiles alone as C11"
    if command -v "$cxx" >/dev/null; then
        cp "$scratch/$header.c" "$scratch/$header.cpp"
        {
            quiet "$cxx" -std=c++17 -pedantic -Wall -Wextra -Werror "-I$include" -o "$scratch/$header" \
                "$scratch/$header.cpp" "-L$library" -lomendb
            LD_LIBRARY_PATH=$library quiet "$scratch/$header"
        } | result "$header.h compiles alone as C++17, and links"
    else
        echo "ok - $header.h compiles alone as C++17 # SKIP no $cxx"
    fi
done

# shellcheck disable=SC2046 # flags are split into words on purpose
quiet "$cc" -std=c11 -Wall -Werror -o "$scratch/nearest" tests/examples/nearest.c \
    $(pkg-config --cflags --libs omendb) | result "the example compiles with pkg-config's flags"
# shellcheck disable=SC2046
quiet "$cc" -std=c11 -Wall -Werror -o "$scratch/where" tests/examples/where.c $(pkg-config --cflags --libs omendb) |
    result "the example of conditions compiles likewise"
cd "$scratch" || exit 1
# nearest_rows TEXT COMMAND...: it prints 5 rows at least, the first of which is TEXT
nearest_rows()
{
    wanted=$1
    shift
    LD_LIBRARY_PATH=$library "$@" >rows 2>why || { echo "exit code $?"; cat why; }
    [ "$(head -n 1 rows)" = "$wanted" ] && [ "$(wc -l <rows)" -ge 5 ] || { echo "it printed"; cat rows; }
}
nearest_rows "42 0" ./nearest a.omen | result "the example finds the row that it looks for"
quiet "$omendb" verify a.omen | result "the program verifies what the example wrote"
{
    nearest_rows 43 ./where w.omen "kind = 'odd' OR price IS NULL"
    nearest_rows 44 ./where w.omen "price = 22 AND kind = 'even' OR price BETWEEN 480 AND 482"
    quiet "$omendb" verify w.omen
    LD_LIBRARY_PATH=$library ./where w.omen "prize = 1" 2>why && echo "it succeeded"
    grep -q 'did you mean "price"' why || cat why
} | result "the example of conditions finds the nearest of the rows that meet one"
{
    LD_LIBRARY_PATH=$library ./nearest /nowhere/a.omen 2>why && echo "it succeeded"
    grep -q '/nowhere' why || cat why
} | result "the example tells what failed"
# shellcheck disable=SC2046
{
    quiet "$cc" -std=c11 -o static "$root/tests/examples/nearest.c" $(pkg-config --cflags omendb) \
        "$library/libomendb.a" $(pkg-config --libs --static omendb | sed 's/-lomendb//')
    nearest_rows "42 0" ./static b.omen
    cmp a.omen b.omen 2>&1
} | result "the static library does the same"
python3 -c 'import struct, sys
sys.stdout.buffer.write(b"".join(struct.pack("<i4f", 4, i, i % 7, 1, 2) for i in range(500)))' >rows.fvecs
nearest_rows "123 0.0" python3 "$root/tests/examples/nearest.py" rows.fvecs c.omen 123 4 1 2 |
    result "Python does it by ctypes"
cd "$root" || exit 1

# ---- the source archive ----

if [ -e .git ] && command -v git >/dev/null; then
    quiet meson dist -C "$build" --no-tests --formats gztar --allow-dirty | result "meson dist"
else
    echo "ok - meson dist # SKIP no git, or no repository"
fi
all_ok
