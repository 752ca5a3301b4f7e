#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The rules that a compiler does not know: layout of text, direction of includes, no circles, what the library may call,
# help and man page in step. Prints "ok - rule" or "not ok - rule" after what breaks it; exits 1 if anything does.
# The program is $OMENDB (default build/cmd/omendb).
set -u
cd "$(dirname "$0")/.." || exit 1
omendb=${OMENDB:-build/cmd/omendb}
. tests/rules.sh

tree()
{
    find . \( -name .git -o -name 'build*' -type d -o -name __pycache__ -o -name playground -o -name '*.omen' \) \
        -prune -o -type f -print |
        sed 's/^\.\///' | LC_ALL=C sort
}

tree >"$scratch/all"
grep -E '\.(c|h|sh|py|bats|bash|md)$|(^|/)meson\.build$|^\.ci/' "$scratch/all" >"$scratch/texts"

# ---- text ----

tab=$(printf '\t')
xargs grep -n "$tab" <"$scratch/texts" | result "no tabs"
xargs grep -nE ' +$' <"$scratch/texts" | result "no trailing blanks"
while read -r file; do
    [ -z "$(tail -c 1 "$file")" ] || echo "$file"
done <"$scratch/texts" | result "files end with a newline"
# rows of Markdown tables cannot be broken
LC_ALL=C.UTF-8 xargs grep -nE '^.{121}' <"$scratch/texts" | grep -v '\.md:[0-9]*:|' |
    result "lines of 120 columns at most"
grep -E '\.[ch]$' "$scratch/all" >"$scratch/sources"
if command -v clang-format >/dev/null && clang-format --version | grep -q 'version 14\.'; then
    xargs clang-format --dry-run 2>&1 <"$scratch/sources" | grep -E ': (warning|error):' |
        result "clang-format is content"
else
    echo "ok - clang-format is content # SKIP no clang-format 14"
fi
xargs wc -l <"$scratch/sources" | awk '$2 != "total" && $1 > 700 { print $2 ": " $1 " lines" }' |
    result "files of C have 700 lines at most"
# Debian's have names that are given
grep -v -e '/meson\.build$' -e '^meson\.build$' -e '/debian/' "$scratch/all" | sed 's/.*\///' | sort | uniq -d |
    result "file names are unique"

# a command behind it may succeed without failing the test
grep -nE '^ *! ' /dev/null tests/cli/*.bats | result "tests have run ! and not !"

# ---- version ----

# Debian's 1.0.0~rc1-1 is 1.0.0-rc1
{
    sed -n 's/^#define OMEN_VERSION *"\(.*\)"$/\1/p' lib/omendb.h
    sed -n 's/^omendb (\(.*\)-[^-]*) .*/\1/; s/~/-/p; q' docs/packaging/debian/changelog
    sed -n 's/^## \([^,]*\).*/\1/p' docs/CHANGELOG.md | head -n 1
} | sort | uniq -c | awk '$1 != 3' | result "header, Debian's changelog and CHANGELOG have one version"

# ---- license ----

grep -E '\.[ch]$' "$scratch/all" | while read -r file; do
    [ "$(head -n 1 "$file")" = '/* SPDX-License-Identifier: Apache-2.0 */' ] || echo "$file"
done | result "every .c and .h begins with an SPDX line"
grep -E '\.(sh|py|bats|bash)$|(^|/)meson\.build$|^\.ci/' "$scratch/all" | while read -r file; do
    sed '1{/^#!/d}' "$file" | head -n 1 | grep -qx '# SPDX-License-Identifier: Apache-2.0' || echo "$file"
done | result "every script begins with an SPDX line"

# ---- includes run one way: lib <- formats <- cmd ----

# includes DIRECTORY PATTERN: quoted includes, in subdirectories too, that the pattern does not allow
includes()
{
    grep "^$1/" "$scratch/sources" | xargs grep -n '^ *# *include *"' /dev/null | grep -vE ":#include \"($2)\""
}
name='([a-z0-9_]+/)*[a-z0-9_]+\.h'
includes lib "lib/$name" | grep -vE '^lib/omendb_[a-z]*\.h:.*"omendb(_[a-z]+)?\.h"$' | result "lib includes only lib"
# what is installed looks for the others beside it
includes formats "lib/(omendb(_[a-z]+)?|sized)\.h|formats/$name" |
    grep -v '^formats/omendb_files\.h:.*"omendb_[a-z]*\.h"$' |
    result "formats includes only the public headers of lib, lib/sized.h and formats"
includes cmd "lib/omendb(_[a-z]+)?\.h|formats/$name|cmd/$name" |
    result "cmd includes only the public headers of lib, formats and cmd"

# the letters of an index's sections stand in lib/omendb.h alone
sed -n "s/^#define OMEN_SECTION_[A-Z]* *\(OMEN_FOURCC([^)]*)\).*/\1/p" lib/omendb.h >"$scratch/letters"
{
    [ -s "$scratch/letters" ] || echo "no sections found"
    find lib formats cmd -name '*.[ch]' ! -path lib/omendb.h -exec grep -nF -f "$scratch/letters" {} +
} | result "the letters of sections are written once"

# ---- the library ----

# code DIRECTORY...: its lines as FILE:LINE:TEXT; what a comment says does not count
code()
{
    for directory; do
        grep "^$directory/" "$scratch/sources"
    done | while read -r file; do
        awk -v file="$file" '
            { text = $0
              if (inside) { if (!sub(/^.*\*\//, "", text)) next; inside = 0 }
              gsub(/\/\*([^*]|\*+[^*\/])*\*+\//, "", text); sub(/\/\/.*/, "", text)
              if (sub(/\/\*.*/, "", text)) inside = 1
              print file ":" FNR ":" text }' "$file"
    done
}
calls='v?f?printf|f?put[cs]|putchar|perror|f?open(at)?|fclose|fread|fwrite'
calls="$calls|creat|read|write|close|mmap|_?exit|abort|system"
code lib | grep -E "[^a-z0-9_](FILE|stdin|stdout|stderr)[^a-z0-9_]|[^a-z0-9_.>]($calls) *\(" |
    grep -vE '__attribute__|int \(\*' | result "lib opens no file, prints nothing and never exits"
# what sets a field on the command line is for cmd/ to name (cmd/wording.c)
code lib formats | grep -E '"(([^"\\]|\\.)*[ (])?(--[a-zA-Z]|-[a-zA-Z]([^a-zA-Z]))' |
    result "texts of lib and formats name no option of the command line"
# a comment covers the declarations up to the next blank line
awk '$0 == "" { commented = 0 }
    /^\/\*/ && !/^\/\* ----/ { commented = 1 }
    /^(OMEN_API|[a-z]).*[ *]omen_[a-z0-9_]+\(/ && !commented { print FILENAME ":" FNR ": " $0 }' lib/omendb.h \
    lib/omendb_audit.h lib/omendb_codes.h lib/omendb_columns.h lib/omendb_info.h lib/omendb_joint.h lib/omendb_rows.h \
    formats/omendb_files.h |
    result "every function of a public header has a comment"

# ---- codecs ----

# Names of single codecs belong to the codecs and their kernels, and to the public names. Strings do not count.
codec_files='lib/(.*/)?(codec|kernels)[a-z0-9_]*\.[ch]|lib/omendb\.h|lib/detail\.c'
code lib formats cmd | sed 's/"\([^"\\]\|\\.\)*"//g' |
    grep -E ':(.*[^A-Za-z])?(pq|rabitq|PQ|RABITQ)([^A-Za-z]|$)' >"$scratch/codecs"
grep -vE "^($codec_files):" "$scratch/codecs" | result "codecs are named in their own files only"

# ---- one dialect ----

find cmd formats lib tests -name '*.[ch]' | xargs python3 tests/dialect.py 2>&1 |
    result "braces, NULL and status as everywhere else"

# ---- no circles ----

build=$(dirname "$(dirname "$omendb")")
for folder in lib formats cmd; do
    if [ -f "$build/build.ninja" ]; then
        python3 tests/circles.py "$build/$folder" 2>&1 | result "files of $folder use each other one way"
    else
        echo "ok - files of $folder use each other one way # SKIP no $build/build.ninja"
    fi
done

# ---- what the docs name ----

# docs PATTERN: what matches it in the architecture and in the how-to lists, as FILE:LINE:WORD
docs()
{
    grep -oHnE "$1" docs/ARCHITECTURE.md docs/HACKING.md | LC_ALL=C sort -u
}
docs '[a-zA-Z0-9_./-]+\.(c|h|sh|py|bats|bash|sums)\b' | while IFS=: read -r doc line name; do
    case $name in
    *[A-Z]*) ;; # kernels_LEVEL.c
    */*) [ -e "$name" ] || grep -q "/$name\$" "$scratch/all" || echo "$doc:$line: $name" ;;
    *) grep -qE "(^|/)$name\$" "$scratch/all" || echo "$doc:$line: $name" ;;
    esac
done | result "files that the docs name are there"
{
    code lib formats cmd tests
    grep -E '\.(sh|py|bats|bash|build|map)$' "$scratch/all" | xargs cat
} | grep -oE '[A-Za-z_][A-Za-z0-9_]*' | LC_ALL=C sort -u >"$scratch/words"
# omen_noun_verb says how names are made
docs '(omen|cmd)_[a-z0-9_]*[a-z0-9]\b|`[a-z0-9]+(_[a-z0-9]+)+(\(\))?`' | tr -d '`()' |
    while IFS=: read -r doc line name; do
        [ "$name" = omen_noun_verb ] || grep -qx "$name" "$scratch/words" || echo "$doc:$line: $name"
    done | result "functions and types that the docs name are there"

# ---- help and man page ----

if [ -x "$omendb" ]; then
    for command in attach bench build completion compress info merge query train verify; do
        "$omendb" $command --help | sed -n 's/^ \{2,8\}\(-[A-Za-z], \)\{0,1\}\(--[a-z-]*\).*/\1\2/p' |
            tr -d ' ' | tr ',' '\n' | LC_ALL=C sort >"$scratch/help"
        awk '/^\.SH / { inside = $0 == ".SH OPTIONS" }
            inside && tag && /^\.B/ { print }
            { tag = $0 == ".TP" }' docs/omendb-$command.1 | sed 's/\\-/-/g' |
            sed -n 's/^\.BR\{0,1\} \(-.*\)$/\1/p' | grep -oE -- '(^| )--?[A-Za-z][a-z-]*' | tr -d ' ' |
            LC_ALL=C sort >"$scratch/man"
        { [ -s "$scratch/help" ] || echo "no options found"; diff "$scratch/help" "$scratch/man"; } |
            result "help and man page of $command list the same options"
    done
else
    echo "ok - help and man page list the same options # SKIP no $omendb"
fi

# ---- the manual ----

if command -v groff >/dev/null; then
    for page in docs/*.[15]; do
        groff -man -Tutf8 -ww -z "$page" 2>&1
    done | result "groff is content with the manual"
else
    echo "ok - groff is content with the manual # SKIP no groff"
fi
if command -v mandoc >/dev/null; then
    mandoc -Tlint docs/*.[15] | result "mandoc is content with the manual"
else
    echo "ok - mandoc is content with the manual # SKIP no mandoc"
fi
# each command has a page, which the overview names, and each page examples
{
    [ ! -x "$omendb" ] || "$omendb" --help | sed -n '/^commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | grep -vx help |
        while read -r command; do
            [ -f "docs/omendb-$command.1" ] || echo "there is no docs/omendb-$command.1"
            [ "$(grep -cF "omendb\\-$command (1)" docs/omendb.1)" -eq 2 ] || echo "omendb(1) does not list $command"
            grep -qF "'omendb-$command.1'" docs/meson.build ||
                echo "docs/omendb-$command.1 is not installed"
        done
    for page in docs/*.1; do
        for heading in NAME SYNOPSIS DESCRIPTION OPTIONS "EXIT STATUS" EXAMPLES "SEE ALSO"; do
            grep -qx "\.SH $heading" "$page" || echo "$page has no $heading"
        done
    done
} | result "the manual has a page for each command"
all_ok
