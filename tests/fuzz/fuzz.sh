#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fuzzes each target for a while, with AddressSanitizer and UBSan: tests/fuzz/fuzz.sh [SECONDS [TARGET...]], 60 seconds
# and all targets if nothing else is said. Takes clang; builds into build-fuzz. Inputs that reach more code are kept in
# build-fuzz/corpus/TARGET, where the next run begins; one that fails is build-fuzz/TARGET-crash-..., -leak-... or
# -timeout-..., which "build-fuzz/tests/replay --run TARGET FILE" runs again (OMENDB_FUZZ_SHOW=1: with the program's
# messages). Prints a line for each target; exits 1 if one failed.
set -u
cd "$(dirname "$0")/../.." || exit 1
seconds=${1-60}
[ $# -eq 0 ] || shift

if [ ! -f build-fuzz/build.ninja ]; then
    CC=clang meson setup build-fuzz --buildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false \
        -Dfuzz=true >/dev/null || exit 1
fi
ninja -C build-fuzz tests/omendb-fuzz tests/replay >/dev/null || exit 1
mkdir -p build-fuzz/corpus
build-fuzz/tests/replay --seeds build-fuzz/corpus || exit 1
[ $# -gt 0 ] || set -- $(build-fuzz/tests/replay --list)

OMP_WAIT_POLICY=passive
ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export OMP_WAIT_POLICY ASAN_OPTIONS UBSAN_OPTIONS OMENDB_FUZZ_TARGET

# What the programs of this shell took of the processor so far; times says it of the shell that runs it only.
cpu_seconds()
{
    times >build-fuzz/times
    cpu=$(awk 'NR == 2 { split($0, part, /[ms ]+/); print part[1] * 60 + part[2] + part[3] * 60 + part[4] }' \
        build-fuzz/times)
}

n_failed=0
for OMENDB_FUZZ_TARGET in "$@"; do
    cpu_seconds
    began=$cpu
    log=build-fuzz/$OMENDB_FUZZ_TARGET.log
    # memory is limited by the target itself (fuzz_limit_memory), to 4 times the input and 64 MiB
    if build-fuzz/tests/omendb-fuzz -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=65536 \
        -print_final_stats=1 -artifact_prefix="$PWD/build-fuzz/$OMENDB_FUZZ_TARGET-" \
        "$PWD/build-fuzz/corpus/$OMENDB_FUZZ_TARGET" >"$log" 2>&1; then
        result=ok
    else
        result="FAILED: $(grep -m 1 -E '^(SUMMARY|\.\./|artifact_prefix)|: runtime error|ERROR: ' "$log")"
        n_failed=$((n_failed + 1))
    fi
    n_runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    edges=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    cpu_seconds
    cpu=$(awk -v began="$began" -v now="$cpu" 'BEGIN { printf "%.0f", now - began }')
    echo "$OMENDB_FUZZ_TARGET: ${n_runs:-?} executions, $cpu CPU seconds, ${edges:-?} edges, $result"
done
[ $n_failed -eq 0 ]
