#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The NEON kernels on any machine: cross-compiled, and run under qemu-user against the scalar reference, and the
# eigenvectors, which are the same bits as here.
# Prints "ok"/"not ok" lines; exit 0 when nothing failed. Where the tools are missing it says so and skips.
set -u
root=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
cc=${AARCH64_CC:-aarch64-linux-gnu-gcc}
run=$(command -v qemu-aarch64 || command -v qemu-aarch64-static)
if [ "$(uname -m)" = aarch64 ]; then
    command -v "$cc" >/dev/null || cc=cc
    run=env
fi
if ! command -v "$cc" >/dev/null; then
    echo "ok - kernels neon # SKIP no $cc"
    exit 0
fi
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM
failed=0

flags="-O3 -ffp-contract=off -std=gnu11 -D_GNU_SOURCE -DOMEN_HAVE_NEON -I$root
    -Wall -Wextra -Werror -Wno-unused-parameter
    -Wno-sign-compare"

# Every file of the library, as far as the headers that it includes are there. Those are the host's, looked up last, so
# that the C library's own are the target's.
headers="-idirafter /usr/include -idirafter /usr/include/$(uname -m)-linux-gnu"
for file in "$root"/lib/*.c "$root"/lib/*/*.c; do
    name=${file#"$root"/}
    case $name in
    */kernels_avx*) continue ;;
    esac
    if ! $cc $flags $headers -fopenmp -E -o /dev/null "$file" 2>"$dir/why"; then
        echo "ok - $name compiles for aarch64 # SKIP $(sed -n 's/.*error: //p' "$dir/why" | head -n 1)"
    elif $cc $flags $headers -fopenmp -fsyntax-only "$file" 2>"$dir/why"; then
        echo "ok - $name compiles for aarch64"
    else
        sed 's/^/# /' "$dir/why"
        echo "not ok - $name compiles for aarch64"
        failed=1
    fi
done

# an emulated fused multiply-add is a hundred times slower than a real one
[ "$run" = env ] || OMEN_TEST_QUICK=1
export OMEN_TEST_QUICK="${OMEN_TEST_QUICK-}"

# unit_test NAME FILE...: of the library, besides those that every test needs
unit_test()
{
    name=$1
    shift
    for file in kernels/kernels kernels/kernels_scalar kernels/kernels_neon detail matrix; do
        set -- "$@" "$root/lib/$file.c"
    done
    if ! $cc $flags -fopenmp -static -o "$dir/test_$name" "$root/tests/unit/test_$name.c" "$@" -lm 2>"$dir/why"; then
        sed 's/^/# /' "$dir/why"
        echo "not ok - $name on aarch64: the test does not compile"
        failed=1
    elif [ -z "$run" ]; then
        echo "ok - $name on aarch64 # SKIP no qemu-aarch64"
    elif ! "$run" "$dir/test_$name"; then
        echo "not ok - $name on aarch64: the test failed"
        failed=1
    fi
}
unit_test kernels "$root/tests/unit/kernel_cases.c"
unit_test kernels_codes "$root/tests/unit/kernel_cases.c"
unit_test eigen "$root/lib/eigen.c" "$root/lib/eigen_dense.c" "$root/lib/eigen_product.c" "$root/lib/transform.c" \
    "$root/lib/watch.c"
exit $failed
