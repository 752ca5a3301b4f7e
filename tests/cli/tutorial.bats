# SPDX-License-Identifier: Apache-2.0
# docs/TUTORIAL.md: its commands run, one block after the other, and print what it says.
load helper

# blocks FILE: each block of commands as NUMBER.sh, what it needs as NUMBER.needs, what it prints as NUMBER.out.
blocks()
{
    python3 - "$1" <<'END'
import re, sys
text = open(sys.argv[1], encoding="utf-8").read()
fence = re.compile(r"(?:<!-- needs: ([a-z0-9 ]+) -->\n)?^```(\w+)\n(.*?)^```$", re.M | re.S)
found = list(fence.finditer(text))
assert 2 * len(found) == len(re.findall(r"^```", text, re.M)), "a fence that is not closed, or without a word"
n = -1
for match in found:
    needs, kind, body = match.groups()
    if kind == "sh":
        n += 1
        open(f"{n:02}.sh", "w").write(body)
        open(f"{n:02}.needs", "w").write((needs or "").replace(" ", "\n") + "\n")
    else:
        assert kind == "text" and n >= 0, kind
        open(f"{n:02}.out", "w").write(body)
# nothing that looks like a command stands outside of the blocks
rest = fence.sub("", text)
assert not re.search(r"^( {4}|\$ )", rest, re.M), "commands outside of a block"
END
}

# python_with MODULE...: a Python that has them.
python_with()
{
    for python in python3 /usr/bin/python3; do
        # shellcheck disable=SC2048,SC2086 # a list of words
        if command -v $python >/dev/null && $python -c "$(printf 'import %s\n' sys $*)" 2>/dev/null; then
            command -v $python
            return
        fi
    done
    return 1
}

# can_run NEED...: sets python; false, with the name in missing, if a module or program is not there.
can_run()
{
    local need modules=
    for need; do
        case $need in
        numpy | scipy | pyarrow | h5py) modules="$modules $need" ;;
        *) command -v "$need" >/dev/null || { missing=$need && return 1; } ;;
        esac
    done
    # shellcheck disable=SC2086 # a list of words
    python=$(python_with $modules) || { missing="a Python with$modules" && return 1; }
}

@test "the tutorial's commands run and print what it says" {
    plain_only
    mkdir tools blocks work
    (cd blocks && blocks "$tests_dir/../docs/TUTORIAL.md")
    printf '#!/bin/sh\nexec "%s" "$@"\n' "$(realpath "$OMENDB")" >tools/omendb
    chmod +x tools/omendb
    n_run=0
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
        PATH="$PWD/../tools:$PATH" sh -eu "$block" >printed 2>said || fault "$(cat "$block" said)"
        n_run=$((n_run + 1))
        if [ -e "${block%.sh}.out" ]; then
            sed 's/\t/  /g' printed | diff "${block%.sh}.out" - || fault "printed by: $(cat "$block")"
        else
            [ ! -s printed ] || fault "printed and not told: $(cat "$block" printed)"
        fi
    done
}
