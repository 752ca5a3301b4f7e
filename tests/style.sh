#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The rules that a compiler does not know: layout of text, direction of includes, what the library may call, help and
# man page in step. Prints "ok - rule" or "not ok - rule" after what breaks it; exits 1 if anything does.
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

# ---- license ----

grep -E '\.[ch]$' "$scratch/all" | while read -r file; do
    [ "$(head -n 1 "$file")" = '/* SPDX-License-Identifier: Apache-2.0 */' ] || echo "$file"
done | result "every .c and .h begins with an SPDX line"
grep -E '\.(sh|py|bats|bash)$|(^|/)meson\.build$|^\.ci/' "$scratch/all" | while read -r file; do
    sed '1{/^#!/d}' "$file" | head -n 1 | grep -qx '# SPDX-License-Identifier: Apache-2.0' || echo "$file"
done | result "every script begins with an SPDX line"

# ---- includes run one way: lib <- formats <- cmd ----

# includes DIRECTORY PATTERN: quoted includes that the pattern does not allow
includes()
{
    grep -n '^#include "' "$1"/*.c "$1"/*.h | grep -vE ":#include \"($2)\""
}
includes lib 'lib/[a-z0-9_]+\.h' | result "lib includes only lib"
includes formats 'lib/omendb\.h|formats/[a-z0-9_]+\.h' | result "formats includes only lib/omendb.h and formats"
includes cmd 'lib/omendb\.h|formats/[a-z0-9_]+\.h|cmd/[a-z0-9_]+\.h' |
    result "cmd includes only lib/omendb.h, formats and cmd"

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
    /^[a-z].*[ *]omen_[a-z0-9_]+\(/ && !commented { print FILENAME ":" FNR ": " $0 }' lib/omendb.h |
    result "every function of lib/omendb.h has a comment"

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
