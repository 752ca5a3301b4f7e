#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Which lines and branches of formats/, and of what reads an index, the tests take: builds these files with gcc's
# --coverage and without optimization, all else as usual, into build-coverage; runs the unit tests that are about them,
# the fuzz targets on changes of their seeds, CLI tests, and failing calls; prints figures, and writes every line with a
# branch that nothing takes to build-coverage/missing-*.txt. Takes gcovr, and about half an hour.
# usage: tests/coverage.sh [unit] [cli] [faults] [report]   (default: all; counts add up until build-coverage is gone)
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
. tests/rules.sh

if ! command -v gcovr >/dev/null; then
    echo "ok - coverage # skip gcovr is not installed"
    exit 0
fi

# The compiler of the build: what is measured is told by the names of its files.
compiler()
{
    cat <<'END'
#!/bin/sh
is_link=1
for word; do
    case $word in
    -c) is_link= ;;
    *formats/*.c | *lib/index*.c | *lib/columns_[ocr]*.c | *lib/sections.c | *lib/touch.c | *lib/sized.c \
        | *lib/codes.c | *lib/apart.c | *lib/joint_[km]*.c | *lists_open.c | *graph_open.c)
        exec gcc "$@" -O0 -U_FORTIFY_SOURCE --coverage -fprofile-update=atomic ;;
    esac
done
exec gcc "$@" ${is_link:+--coverage}
END
}

build()
{
    mkdir -p build-coverage
    if [ ! -f build-coverage/build.ninja ]; then
        compiler >build-coverage/cc
        chmod +x build-coverage/cc
        CC=$root/build-coverage/cc meson setup build-coverage --buildtype=release || return
    fi
    ninja -C build-coverage
}

OMP_WAIT_POLICY=passive
OMEN_TEST_QUICK=1
OMENDB_TEST_ROWS=2000
OMENDB=$root/build-coverage/cmd/omendb
OMENDB_FAULT=$root/build-coverage/tests/omendb-fault
GCOV_ERROR_FILE=/dev/null # where calls fail, those that write counts may
export GCOV_ERROR_FILE OMP_WAIT_POLICY OMEN_TEST_QUICK OMENDB_TEST_ROWS OMENDB OMENDB_FAULT

unit()
{
    for test in api build_failures columns condition container container_damage file forged graph hdf5 hdf5_library \
        index_open joint npz omz results row_keys several stream vector_input vectors writer; do
        [ ! -x build-coverage/tests/test_$test ] || quiet build-coverage/tests/test_$test
    done | result "unit tests"
    for test in "reader all" hostile "failing_files 100"; do
        # shellcheck disable=SC2086 # with its argument
        quiet env -u OMEN_TEST_QUICK build-coverage/tests/test_$test
    done | result "unit tests of failing calls and hostile bytes"
    quiet build-coverage/tests/replay -n 200 tests/fuzz/kept | result "fuzz targets"
}

# Not those with limits and signals, which end a process before its counts are written.
cli()
{
    for name in build checkpoint columns compress files filter formats formats_more golden hdf5 info inputs joint keys \
        query self shards stream verify where; do
        quiet bats "tests/cli/$name.bats"
    done | result "CLI tests"
}

# Limits of file sizes would cut the counts themselves.
faults()
{
    quiet /usr/bin/python3 tests/fault/fault.py io --no-limits --rows 1000 --cases 1 | result "failing I/O"
    quiet /usr/bin/python3 tests/fault/fault.py alloc --rows 1000 --cases 1 | result "failing allocations"
}

# Figures of both, and branches not taken, by file and line.
report()
{
    branches=--branches # as gcovr up to 7 has it
    ! gcovr --help | grep -q txt-metric || branches="--txt-metric branch"
    for part in formats/ lib/; do
        echo "# $part"
        # shellcheck disable=SC2086 # one word or two
        gcovr --root . --filter "$part.*\\.c" $branches --print-summary --txt "build-coverage/missing-${part%/}.txt" \
            build-coverage 2>"$scratch/gcovr" | grep -E '^(lines|branches):' || cat "$scratch/gcovr"
    done
}

quiet build | result "build for coverage"
[ $# -gt 0 ] || set -- unit cli faults report
for what in "$@"; do
    $what
done
all_ok
