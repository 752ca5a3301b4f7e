#!/bin/sh
# The rules that a compiler does not know: layout of text, direction of includes, no circles, what the library may call,
# help and man page in step. Prints "ok - rule" or "not ok - rule" after what breaks it; exits 1 if anything does.
# The program is $OMENDB (default build/cmd/omendb).
set -u
cd "$(dirname "$0")/.." || exit 1
omendb=${OMENDB:-build/cmd/omendb}
failed=0
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# result RULE: of what standard input has to say about it; nothing is good.
result()
{
    cat >"$scratch/faults"
    if [ -s "$scratch/faults" ]; then
        sed 's/^/# /' "$scratch/faults"
        echo "not ok - $1"
        failed=1
    else
        echo "ok - $1"
    fi
}

tree()
{
    find . \( -name .git -o -name 'build*' -type d -o -name __pycache__ -o -name '*.omen' \) -prune -o -type f -print |
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
grep -v -e '/meson\.build$' -e '^meson\.build$' "$scratch/all" | sed 's/.*\///' | sort | uniq -d |
    result "file names are unique"

# ---- includes run one way: lib <- formats <- cmd ----

# includes DIRECTORY PATTERN: quoted includes that the pattern does not allow
includes()
{
    find "$1" -name '*.[ch]' -exec grep -Hn '^#include "' {} + | grep -vE ":#include \"($2)\""
}
includes lib 'lib/[a-z0-9_]+\.h' | result "lib includes only lib"
# omendb_files.h is installed: it looks for omendb.h beside it
includes formats 'lib/omendb\.h|formats/([a-z0-9_]+/)?[a-z0-9_]+\.h' | grep -v '^formats/omendb_files\.h:.*"omendb\.h"$' |
    result "formats includes only lib/omendb.h and formats"
includes cmd 'lib/omendb\.h|formats/[a-z0-9_]+\.h|cmd/[a-z0-9_]+\.h' |
    result "cmd includes only lib/omendb.h, formats and cmd"

# ---- no circles: files of a folder use one another one way ----

# circles OBJECTS...: the loops among object files by the symbols that they define and use
circles()
{
    for object; do
        nm -P "$object" | awk -v file="$(basename "$object" .c.o)" '{ print file, $1, $2 }'
    done >"$scratch/symbols"
    awk '$3 ~ /^[BCDRT]$/ { home[$2] = $1 }
        { line[NR] = $0 }
        END {
            for (i = 1; i <= NR; i++) {
                split(line[i], use)
                if (use[3] == "U" && use[2] in home) print use[1], home[use[2]]
            }
        }' "$scratch/symbols" | sort -u | tsort 2>&1 >/dev/null
}
if [ -d "$omendb.p" ]; then
    circles "$omendb.p"/*.c.o | result "no circle between files of cmd"
else
    echo "ok - no circle between files of cmd # SKIP no $omendb.p"
fi
# the letters of an index's sections stand in lib/omendb.h alone
sed -n "s/^#define OMEN_SECTION_[A-Z]* *\(OMEN_FOURCC([^)]*)\).*/\1/p" lib/omendb.h >"$scratch/letters"
{
    [ -s "$scratch/letters" ] || echo "no sections found"
    find lib formats cmd -name '*.[ch]' ! -path lib/omendb.h -exec grep -nF -f "$scratch/letters" {} +
} | result "the letters of sections are written once"

# ---- the library ----

# what a comment says does not count
code()
{
    for file in lib/*.c lib/*.h; do
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
code | grep -E "[^a-z0-9_](FILE|stdin|stdout|stderr)[^a-z0-9_]|[^a-z0-9_.>]($calls) *\(" |
    grep -vE '__attribute__|int \(\*' | result "lib opens no file, prints nothing and never exits"
# a comment covers the declarations up to the next blank line
awk '$0 == "" { commented = 0 }
    /^\/\*/ && !/^\/\* ----/ { commented = 1 }
    /^(OMEN_API|[a-z]).*[ *]omen_[a-z0-9_]+\(/ && !commented { print FILENAME ":" FNR ": " $0 }' lib/omendb.h \
    formats/omendb_files.h | result "every function of a public header has a comment"

# ---- help and man page ----

if [ -x "$omendb" ]; then
    for command in bench build compress query verify; do
        "$omendb" $command --help | sed -n 's/^ \{2,8\}\(-[A-Za-z], \)\{0,1\}\(--[a-z-]*\).*/\1\2/p' |
            tr -d ' ' | tr ',' '\n' | LC_ALL=C sort >"$scratch/help"
        awk -v section="OMENDB $(echo $command | tr a-z A-Z)" '
            /^\.SH / { inside = $0 == ".SH " section }
            inside && tag && /^\.B/ { print }
            { tag = $0 == ".TP" }' docs/omendb.1 | sed 's/\\-/-/g' |
            sed -n 's/^\.BR\{0,1\} \(-.*\)$/\1/p' | grep -oE -- '(^| )--?[A-Za-z][a-z-]*' | tr -d ' ' |
            LC_ALL=C sort >"$scratch/man"
        { [ -s "$scratch/help" ] || echo "no options found"; diff "$scratch/help" "$scratch/man"; } |
            result "help and man page of $command list the same options"
    done
else
    echo "ok - help and man page list the same options # SKIP no $omendb"
fi
exit $failed
