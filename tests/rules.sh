# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# What style.sh, library.sh and package.sh share: a directory for scratch, and verdicts. To be read with `.`
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
        : >"$scratch/failed" # the end of a pipe has variables of its own
    else
        echo "ok - $1"
    fi
}

# quiet COMMAND...: what it says only if it fails
quiet()
{
    "$@" >"$scratch/said" 2>&1
    code=$?
    [ $code -eq 0 ] || { tail -n 20 "$scratch/said"; echo "exit code $code of $*"; }
}

# Whether all was as it should be.
all_ok()
{
    [ ! -e "$scratch/failed" ]
}
