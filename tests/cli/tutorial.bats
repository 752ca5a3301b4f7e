# SPDX-License-Identifier: Apache-2.0
# docs/TUTORIAL.md, docs/PYTHON.md and README.md: their commands run, one block after the other, and print what is told.
load helper

# blocks FILE: each block of commands as NUMBER.sh, what it needs as NUMBER.needs, what it prints as NUMBER.out, or
# NUMBER.varies where only the words stay. A block may say why it is not run.
blocks()
{
    python3 - "$1" <<'END'
import re, sys
text = open(sys.argv[1], encoding="utf-8").read()
fence = re.compile(r"(?:<!-- (needs: [a-z0-9 ]+|not run: [^>]+|varies) -->\n)?^```(\w+)\n(.*?)^```$", re.M | re.S)
found = list(fence.finditer(text))
assert 2 * len(found) == len(re.findall(r"^```", text, re.M)), "a fence that is not closed, or without a word"
n, runs = -1, False
for match in found:
    note, kind, body = match.groups()
    note = note or ""
    if kind == "sh":
        n += 1
        runs = not note.startswith("not run")
        if runs:
            open(f"{n:02}.sh", "w").write(body)
            open(f"{n:02}.needs", "w").write(note.replace("needs: ", "").replace(" ", "\n") + "\n")
    else:
        assert kind == "text" and n >= 0, kind
        if runs:
            open(f"{n:02}." + ("varies" if note == "varies" else "out"), "w").write(body)
# nothing that looks like a command stands outside of the blocks
rest = fence.sub("", text)
assert not re.search(r"^( {4}|\$ )", rest, re.M), "commands outside of a block"
END
}

# can_run NEED...: sets python; false, with the name in missing, if a module or program is not there.
can_run()
{
    local need modules=
    for need; do
        case $need in
        numpy | scipy | pyarrow | h5py) modules="$modules $need" ;;
        libomendb) [ -e "$library/libomendb.so.0" ] || { missing=$need && return 1; } ;;
        *) command -v "$need" >/dev/null || { missing=$need && return 1; } ;;
        esac
    done
    # shellcheck disable=SC2086 # a list of words
    python=$(python_with $modules) || { missing="a Python with$modules" && return 1; }
}

# run_blocks DOCUMENT: in the directory work, which may have files already.
run_blocks()
{
    local library block n_run=0
    library=$(dirname "$(dirname "$(realpath "$OMENDB")")")
    mkdir -p tools blocks work
    (cd blocks && blocks "$1")
    printf '#!/bin/sh\nexec "%s" "$@"\n' "$(realpath "$OMENDB")" >tools/omendb
    chmod +x tools/omendb
    cd work
    for block in ../blocks/*.sh; do
        # shellcheck disable=SC2046 # a word a line
        if ! can_run $(cat "${block%.sh}.needs"); then
            [ $n_run -gt 0 ] || skip "no rows without $missing"
            echo "# not run, without $missing: $(sed '/^python3/d; q' "$block" | head -n 1)" >&3
            continue
        fi
        printf '#!/bin/sh\nexec "%s" "$@"\n' "$python" >../tools/python3
        chmod +x ../tools/python3
        LD_LIBRARY_PATH=$library PATH="$PWD/../tools:$PATH" sh -eu "$block" >printed 2>said ||
            fault "$(cat "$block" said)"
        n_run=$((n_run + 1))
        sed -i 's/\t/  /g' printed
        # what goes to standard error is told where there is nothing else
        [ -s printed ] || [ ! -e "${block%.sh}.out" ] || mv said printed
        if [ -e "${block%.sh}.out" ]; then
            diff "${block%.sh}.out" printed || fault "printed by: $(cat "$block")"
        elif [ -e "${block%.sh}.varies" ]; then
            diff <(only_words "${block%.sh}.varies") <(only_words printed) || fault "printed by: $(cat "$block")"
        else
            [ ! -s printed ] || fault "printed and not told: $(cat "$block" printed)"
        fi
    done
}

# only_words FILE: numbers, hashes and levels of SIMD as N.
only_words()
{
    sed -E 's/\b([0-9a-f]{16}|[0-9][0-9,.]*|scalar|avx[a-z0-9]*|neon)/N/g; s/ +/ /g; s/threads/thread/g' "$1"
}

@test "the tutorial's commands run and print what it says" {
    plain_only
    run_blocks "$tests_dir/../docs/TUTORIAL.md"
}

@test "README's commands run in the playground and print what it says" {
    plain_only
    sh "$tests_dir/playground.sh" "$OMENDB" work
    run_blocks "$tests_dir/../README.md"
    # a playground that is there is kept
    cd ..
    : >work/labels.tsv
    sh "$tests_dir/playground.sh" "$OMENDB" work
    [ ! -s work/labels.tsv ]
}

@test "the page about Python does so" {
    plain_only
    run_blocks "$tests_dir/../docs/PYTHON.md"
}
