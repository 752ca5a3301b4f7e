#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A new user's first minutes, in a fresh Debian: makes the root of a suite with debootstrap, clones this repository into
# it, and runs there what README says: as a user who may not install packages, as root, and as that user again. Prints
# what they print, the versions, and the time from clone to the first result. --tests compiles there with gcc and clang
# (warnings are errors) too, and runs the unit tests, the tutorial, library.sh and style.sh. docs/FRESH.md keeps what it
# said.
# --packages PLACE does something else: it installs the Debian packages that build-deb.sh made there, with what they
# depend on and nothing more, and runs their test, and an example that is compiled with them.
# Usage, as root: fresh-root.sh [--tests | --packages PLACE] SUITE [DIRECTORY]. SUITE is bookworm, trixie or another one
# of debootstrap's; DIRECTORY keeps the root for the next time. Without it the root is removed.
set -eu

with_tests=
if [ "${1-}" = --tests ]; then
    with_tests=yes
    shift
fi
packages=
if [ "${1-}" = --packages ] && [ $# -gt 2 ]; then
    packages=$(realpath "$2")
    shift 2
fi
suite=${1:?"usage: fresh-root.sh [--tests | --packages PLACE] SUITE [DIRECTORY]"}
kept=${2:+$(realpath -m "$2")}
cd "$(dirname "$0")/.."
[ "$(id -u)" -eq 0 ] || { echo "debootstrap and chroot take root" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "missing: apt-get install debootstrap" >&2; exit 2; }
# packages come from where this machine has them from
mirror=${MIRROR:-$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' | head -n 1)}

scratch=$(mktemp -d)
root=${kept:-$scratch/root}
clean()
{
    umount "$root/proc" "$root/dev/pts" "$root/dev" 2>/dev/null || :
    # a /dev that is still there may be that of this machine
    if grep -qF " $scratch/" /proc/self/mounts; then
        echo "something is still mounted in $scratch, which is left there" >&2
    else
        rm -rf --one-file-system "$scratch"
    fi
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

say() { printf '\n== %s\n' "$*"; }
inside() { chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"; }
# as_user COMMAND: of a shell, in the clone of a user who may not install anything
as_user()
{
    chroot --userspec=user:user "$root" /usr/bin/env -i HOME=/home/user PATH=/usr/bin:/bin LC_ALL=C.UTF-8 \
        sh -c "cd /home/user/omendb && $1"
}
# fresh_clone PLACE: the committed state of this repository, as `git clone` gives it
fresh_clone()
{
    rm -rf "${root:?}/$1"
    git clone --quiet --no-hardlinks . "$root/$1"
}
# timed COMMAND...: and how long it took
timed()
{
    began=$(date +%s.%N)
    code=0
    "$@" || code=$?
    echo "exit code $code, $(echo "$(date +%s.%N) $began" | awk '{ printf "%.1f", $1 - $2 }') s"
    return $code
}

if [ ! -e "$root/etc/debian_version" ]; then
    say "debootstrap --variant=minbase $suite"
    debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$scratch/log" 2>&1 ||
        { tail "$scratch/log" >&2; exit 1; }
fi
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount --bind /dev/pts "$root/dev/pts"

if [ "$packages" ]; then
    say "apt-get install the packages"
    mkdir -p "$root/packages"
    cp "$packages"/omendb_*.deb "$packages"/libomendb0_*.deb "$packages"/libomendb-dev_*.deb "$root/packages"
    cp docs/packaging/debian/tests/build-and-query "$root/packages"
    inside sh -euc 'apt-get -qq update && cd /packages
        export DEBIAN_FRONTEND=noninteractive AUTOPKGTEST_TMP=/tmp OMP_WAIT_POLICY=passive
        apt-get -qq install -y --no-install-recommends ./omendb_*.deb >said 2>&1 || { tail said; exit 1; }
        omendb --version
        sh build-and-query
        echo "the test of the package passes, with:"
        ldd /usr/bin/omendb | sed "s/ .*//"
        apt-get -qq install -y --no-install-recommends ./lib*.deb gcc libc6-dev pkg-config >said 2>&1 ||
            { tail said; exit 1; }
        cc /usr/share/doc/libomendb-dev/examples/nearest.c $(pkg-config --cflags --libs omendb) -o nearest
        ./nearest a.omen | head -n 1
        omendb verify a.omen
        apt-get -qq purge -y omendb libomendb0 libomendb-dev >said 2>&1
        find / -xdev -name "*omendb*" ! -path "/packages/*" ! -path "/var/lib/apt/*"'
    exit
fi
[ -d "$root/home/user" ] || inside useradd --create-home user
rm -rf "$root/home/user/omendb"
if ! inside dpkg-query -W gcc >/dev/null 2>&1; then
    fresh_clone home/user/omendb
    inside chown -R user:user /home/user/omendb
    say "a user without sudo, before any package is there: sh tests/quickstart.sh"
    timed as_user "sh tests/quickstart.sh 2>&1" || :
fi

say "root: git clone; sh tests/quickstart.sh"
fresh_clone root/omendb
# without what apt and dpkg say of each package
timed inside sh -c "cd /root/omendb && sh tests/quickstart.sh >/tmp/said 2>&1; code=\$?
    grep -vE '^(\(Read|Sel|Prep|Unpack|Setting up|Processing|Adding|E: Can not write log)' /tmp/said; exit \$code"

say "the user, with the packages: git clone; sh tests/quickstart.sh"
first_result()
{
    fresh_clone home/user/omendb
    inside chown -R user:user /home/user/omendb
    as_user "sh tests/quickstart.sh"
}
timed first_result

say "versions"
# shellcheck disable=SC2016 # the other shell's
inside sh -c 'echo "Debian $(cat /etc/debian_version)"; gcc --version | head -n 1; echo "meson $(meson --version)"
    echo "ninja $(ninja --version)"; dpkg-query -W -f "\${Package} \${Version}\n" libc6 libzstd-dev libxxhash-dev \
    libjansson-dev zlib1g-dev'

if [ "$with_tests" ]; then
    say "compiled with -Werror by gcc and clang; unit tests, tutorial, library, style"
    inside sh -c 'cd /root/omendb && . tests/install.sh && install_missing $build_packages $test_packages \
        sqlite3 python3-scipy >/tmp/said 2>&1' ||
        { inside tail /tmp/said; exit 1; }
    for compiler in gcc clang; do
        inside sh -euc "cd /root/omendb
            CC=$compiler meson setup build-$compiler --buildtype=release -Dwerror=true >/tmp/said
            $compiler --version | head -n 1
            ninja -j${JOBS:-2} -C build-$compiler >/tmp/said || { grep -A 12 error: /tmp/said; exit 1; }
            OMP_WAIT_POLICY=passive meson test -C build-$compiler --no-rebuild --timeout-multiplier 5 |
                grep -E '^(Ok|Fail|Skipped|Timeout): '"
    done
    inside sh -c 'cd /root/omendb && export OMENDB=$PWD/build-gcc/cmd/omendb && bats --version &&
        bats --formatter tap tests/cli/tutorial.bats
        sh tests/library.sh | grep -v "^ok"; sh tests/style.sh | grep -v "^ok"; :'
fi
