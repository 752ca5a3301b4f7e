#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What can be said of the sources without tests, and of races: warnings of gcc and clang, gcc -fanalyzer, clang-tidy
# (.clang-tidy), cppcheck, and ThreadSanitizer with clang's OpenMP. Prints "ok - tool" or "not ok - tool" after what it
# says; exits 1 if any said something. Skips, and tells, what is not installed. Takes a quarter of an hour; run.sh runs
# "static.sh warnings".
# usage: tests/static.sh [warnings] [analyzer] [tidy] [cppcheck] [threads]   (default: all)
#
# A false alarm is told where it stands: for gcc by a comment with "analyzer:" in its line or the one before, for the
# others by their own NOLINT and cppcheck-suppress, each with the reason.
set -u
cd "$(dirname "$0")/.." || exit 1
root=$PWD
. tests/rules.sh
export LC_ALL=C

have()
{
    command -v "$1" >/dev/null && return
    echo "ok - $1 # skip it is not installed"
    return 1
}

sources=$(git ls-files 'lib/*.c' 'formats/*.c' 'cmd/*.c' | grep -v neon)
tests=$(git ls-files 'tests/unit/*.c' 'tests/fault/*.c' 'tests/fuzz/*.c')
# as meson.build has it; formats/ without HDF5 where its headers are not
common="-std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DOMEN_HAVE_AVX2 -DOMEN_HAVE_AVX512 -I. -Ilib
    $(pkg-config --cflags hdf5 2>/dev/null) -DOMEN_HDF5_LIBRARY=\"libhdf5.so\""
warnings='-Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wno-unused-parameter
    -Wno-sign-compare'

# simd FILE: options that a file of kernels takes
simd()
{
    case $1 in
    *kernels_avx2.c) echo "-mavx2 -mfma -mf16c" ;;
    *kernels_avx512.c) echo "-mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma -mf16c" ;;
    esac
}

warnings()
{
    for compiler in gcc clang; do
        have $compiler || continue
        for file in $sources $tests; do
            # shellcheck disable=SC2046,SC2086 # lists of options
            $compiler $common $warnings -fopenmp $(simd "$file") -O1 -fsyntax-only "$file"
        done >"$scratch/$compiler" 2>&1
        cat "$scratch/$compiler" | result "warnings of $($compiler --version | head -n 1)"
    done
}

# Without OpenMP: what is in a parallel region is followed as the rest then, and not as a function of its own. What
# detail.c defines is what analysis.h has a macro of.
analyzer()
{
    have gcc || return
    for file in $(echo "$sources" | grep -v 'kernels_\|lib/detail.c'); do
        # shellcheck disable=SC2086
        gcc $common -O0 -Wno-all -Wno-unused-value -Wno-unknown-pragmas -fanalyzer -fdiagnostics-plain-output \
            -include tests/static/analysis.h -S -o /dev/null "$file" 2>&1
    done | grep 'warning:' | while IFS=: read -r file line rest; do
        sed -n "$((line > 1 ? line - 1 : 1)),${line}p" "$file" | grep -q 'analyzer: ' || echo "$file:$line:$rest"
    done | result "-fanalyzer of $(gcc --version | head -n 1)"
}

tidy()
{
    have clang-tidy || return
    for file in $sources; do
        # shellcheck disable=SC2046,SC2086
        clang-tidy --quiet "$file" -- $common -include "$root/tests/static/analysis.h" $(simd "$file") 2>/dev/null
    done | result "clang-tidy, $(clang-tidy --version | sed -n 's/.*version //p' | head -n 1)"
}

# One configuration, that of this processor; false alarms are in tests/static/cppcheck.txt.
check()
{
    have cppcheck || return
    # shellcheck disable=SC2086
    cppcheck --quiet --enable=warning,performance,portability --inline-suppr --std=c11 --max-configs=1 \
        --suppressions-list=tests/static/cppcheck.txt --suppress=missingIncludeSystem -D_GNU_SOURCE \
        -DOMEN_HDF5_LIBRARY='"libhdf5.so"' -D__x86_64__ -I. -Ilib \
        $(echo "$sources" | grep -v 'kernels_') 2>&1 | result "cppcheck, $(cppcheck --version)"
}

# Archer tells ThreadSanitizer what libomp waits for; libomp itself, and libraries, are not looked into.
threads()
{
    have clang || return
    archer=$(find /usr/lib/llvm-*/lib -name libarcher.so 2>/dev/null | sort -V | tail -n 1)
    if [ -z "$archer" ]; then
        echo "ok - threads # skip libomp-dev is not installed"
        return
    fi
    quiet env CC=clang meson setup build-tsan --reconfigure --buildtype=debugoptimized -Db_sanitize=thread \
        -Db_lundef=false | result "meson setup for ThreadSanitizer"
    quiet ninja -C build-tsan | result "ninja for ThreadSanitizer"
    OMP_TOOL_LIBRARIES=$archer
    TSAN_OPTIONS="ignore_noninstrumented_modules=1 exitcode=66"
    OMEN_TEST_QUICK=1
    OMP_WAIT_POLICY=passive
    export OMP_TOOL_LIBRARIES TSAN_OPTIONS OMEN_TEST_QUICK OMP_WAIT_POLICY
    for test in build-tsan/tests/test_*; do
        [ -f "$test" ] && quiet "$test"
    done | result "unit tests under ThreadSanitizer"
    quiet python3 tests/loop.py --omendb build-tsan/cmd/omendb --rounds 10 --replacements 5 --no-limits |
        result "random builds and queries under ThreadSanitizer"
    OMENDB=$root/build-tsan/cmd/omendb
    export OMENDB
    quiet bats tests/cli/shards.bats tests/cli/self.bats tests/cli/compress.bats |
        result "CLI tests under ThreadSanitizer"
}

[ $# -gt 0 ] || set -- warnings analyzer tidy cppcheck threads
for what in "$@"; do
    case $what in
    cppcheck) check ;;
    *) $what ;;
    esac
done
all_ok
