#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# All tests: a build with gcc (warnings are errors), unit tests, CLI tests, fault injection, random options, exact
# search against numpy, style, the installed library, a build in steps on Slurm, NEON under qemu-user, a build with
# clang, unit and CLI tests and failing allocations under AddressSanitizer and UBSan. Installs what is missing.
# Says every 15 s what is under way. Ends with "N passed, N failed" and exits 1 if any failed. Builds into build-test,
# build-clang and build-sanitize.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
. tests/install.sh

data=$root/../shared/data
if [ -d "$data/glove-100" ] && [ -d "$data/sift-128" ]; then
    OMENDB_TEST_DATA=$data
    export OMENDB_TEST_DATA
else
    unset OMENDB_TEST_DATA
fi
# Tests run more threads than there are processors.
OMP_WAIT_POLICY=passive
export OMP_WAIT_POLICY

scratch=$(mktemp -d) || exit 1
ticker=
trap 'kill $ticker 2>/dev/null; rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# tick: every 15 s, what is under way and how far it is. LOG.stage has the name of the stage that writes LOG.
tick()
{
    trap 'kill $!; exit' TERM
    began=$(date +%s)
    while [ -d "$scratch" ]; do
        sleep 15 &
        wait $!
        said=
        for stage in "$scratch"/*.stage; do
            name=$(cat "$stage")
            [ -n "$name" ] || continue
            log=${stage%.stage}
            # unit tests are told by meson, compilers by ninja
            n=$(cat "$log" "$log.meson" 2>/dev/null | grep -cE '^ok |^ *[0-9]+/[0-9]+ .* OK ')
            [ "$n" -gt 0 ] || n=$(sed -n 's/^\(\[[0-9/]*\]\).*/\1/p' "$log" 2>/dev/null | tail -n 1)
            said="$said${said:+; }$name${n:+ $n}"
        done
        [ -z "$said" ] || echo "   $(($(date +%s) - began)) s: $said"
    done
}

# tally NAME CODE: counts the "ok" and "not ok" lines in the log. A failure without such a line counts as one.
tally()
{
    n_skipped=$(grep -ciE '^ok .*# skip' "$log")
    n_passed=$(($(grep -c '^ok ' "$log") - n_skipped))
    n_failed=$(sed -n 's/^not ok [0-9]* *-* *\([^:]*\).*/\1/p' "$log" | sort -u | wc -l)
    if [ "$2" -ne 0 ] && [ "$n_failed" -eq 0 ]; then
        n_failed=1
        tail -n 60 "$log"
        echo "not ok - $1: exit code $2"
    elif [ "$n_failed" -gt 0 ]; then
        # what a test has to say stands in lines that begin with #; those of unit tests are notes
        case $1 in
        unit*) grep '^not ok' "$log" ;;
        *) grep -E '^(not ok|#)' "$log" ;;
        esac | head -n 100
    fi
    grep -iE '^ok .*# skip' "$log"
    seconds=$(($(date +%s) - began))
    echo "== $1: $n_passed passed, $n_failed failed, $n_skipped skipped ($seconds s)"
    echo "$n_passed $n_failed $n_skipped" >>"$scratch/counts"
}

# stage NAME COMMAND...
stage()
{
    name=$1
    shift
    began=$(date +%s)
    rm -f "$log.meson"
    echo "$name" >"$log.stage"
    "$@" >"$log" 2>&1
    tally "$name" $?
    : >"$log.stage"
}

# compile DIRECTORY COMPILER OPTION...
compile()
{
    directory=$1
    compiler=$2
    shift 2
    if [ -f "$directory/build.ninja" ]; then
        meson configure "$directory" "$@" || return 1
    else
        CC=$compiler meson setup "$directory" "$@" || return 1
    fi
    ninja -k 0 -C "$directory" && echo "ok - $directory compiles"
}

# The programs print "ok - name"; meson keeps that in its log.
unit_tests()
{
    meson test -C "$1" --no-rebuild --timeout-multiplier 3 >"$log.meson" 2>&1
    code=$?
    cat "$1/meson-logs/testlog.txt"
    [ $code -eq 0 ] || tail -n 20 "$log.meson"
    return $code
}

cli_tests()
{
    bats --timing --formatter tap "$@"
}

# The program as it is.
plain()
{
    log=$scratch/plain.log
    OMENDB=$root/build-test/cmd/omendb
    OMENDB_FAULT=$root/build-test/tests/omendb-fault
    export OMENDB OMENDB_FAULT
    stage "unit tests" unit_tests build-test
    stage "CLI tests" cli_tests tests/cli
    stage "failing I/O" /usr/bin/python3 tests/fault/fault.py io
    stage "failing allocations" /usr/bin/python3 tests/fault/fault.py alloc
    stage "kills" /usr/bin/python3 tests/fault/fault.py kills
    stage "lost writes" /usr/bin/python3 tests/fault/fault.py replay
    stage "random options" /usr/bin/python3 tests/loop.py --rounds 4
    # the interpreter that Debian's python3-numpy belongs to
    stage "exact search and numpy" /usr/bin/python3 tests/exact_numpy.py
    stage "style" sh tests/style.sh
    stage "library" sh tests/library.sh
    stage "cluster" sh tests/cluster.sh
}

# Under AddressSanitizer and UBSan. Fewer rows and shorter loops, since everything is several times slower, and no
# ../shared/data.
sanitized()
{
    log=$scratch/sanitized.log
    OMENDB=$root/build-sanitize/cmd/omendb
    OMENDB_FAULT=$root/build-sanitize/tests/omendb-fault
    OMENDB_TEST_ROWS=2000
    OMEN_TEST_QUICK=1
    ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    export OMENDB OMENDB_FAULT OMENDB_TEST_ROWS OMEN_TEST_QUICK ASAN_OPTIONS UBSAN_OPTIONS
    unset OMENDB_TEST_DATA
    stage "sanitizers" compile build-sanitize gcc --buildtype=debugoptimized -Db_sanitize=address,undefined \
        -Db_lundef=false
    stage "unit tests under sanitizers" unit_tests build-sanitize
    stage "CLI tests under sanitizers" cli_tests tests/cli
    stage "failing allocations under sanitizers" /usr/bin/python3 tests/fault/fault.py alloc --rows 600 --threads 2 \
        --cases 1
    stage "neon" sh tests/neon.sh
    stage "clang" compile build-clang clang --buildtype=release -Dwerror=true
}

log=$scratch/log
tick &
ticker=$!
echo "packages" >"$log.stage"
# shellcheck disable=SC2086 # the lists are split into words on purpose
install_missing $build_packages $test_packages || exit 1
# shellcheck disable=SC2086
install_missing $cluster_packages || echo "without these the stage \"cluster\" is skipped" >&2

stage "gcc" compile build-test gcc --buildtype=release -Dwerror=true
if ! grep -q ' 0 0$' "$scratch/counts"; then
    echo "0 passed, 1 failed"
    exit 1
fi
# Both at a time, as many tests keep one processor busy; what the sanitized half says comes after the other. A pipe and
# not &, which would make its programs ignore SIGINT.
sanitized </dev/null | {
    plain </dev/null
    cat
}

kill $ticker
ticker=
awk '{ passed += $1; failed += $2; skipped += $3 }
    END {
        printf "%d passed, %d failed", passed, failed
        if (skipped)
            printf ", %d skipped", skipped
        print ""
        exit failed > 0
    }' "$scratch/counts"
