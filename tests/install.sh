# SPDX-License-Identifier: Apache-2.0
# Installs Debian packages that are missing, for quickstart.sh and run.sh, which source this file. POSIX sh.

# What meson.build needs, and the data of the demonstration.
build_packages="gcc libc6-dev meson ninja-build pkg-config libxxhash-dev libjansson-dev
    libzstd-dev zlib1g-dev libhdf5-dev dataset-fashion-mnist"

# What the tests need besides.
test_packages="bats file zstd python3 python3-numpy python3-h5py clang libomp-dev gcc-aarch64-linux-gnu
    libc6-dev-arm64-cross qemu-user gnuplot-nox strace g++ binutils clang-format groff-base mandoc"

# What tests/cluster.sh needs, which is skipped without; they take some 20 seconds to install.
cluster_packages="slurmctld slurmd slurm-client munge iproute2 parallel"

# install_missing PACKAGE...: leaves apt alone when nothing is missing. Returns 1 if that is not possible.
install_missing()
{
    missing=
    for package in "$@"; do
        case $(dpkg-query -W -f '${Status}' "$package" 2>&1) in
        *' installed') ;;
        *) missing="$missing $package" ;;
        esac
    done
    if [ -z "$missing" ]; then
        return 0
    fi

    # one line to paste where this script may not do it
    apt="apt-get update && apt-get install -y --no-install-recommends$missing"
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        as_root=sudo
        if ! command -v sudo >/dev/null; then
            echo "packages are missing, and only root may install them. As root:" >&2
            echo "$apt" >&2
            return 1
        fi
    fi
    echo "installing:$missing" >&2
    apt_log=$(mktemp) || return 1
    apt_code=0
    # shellcheck disable=SC2086 # the list is split into words on purpose
    { $as_root apt-get -qq update &&
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing; } \
        >"$apt_log" 2>&1 || apt_code=1
    # what it did is long, and interests only when it went wrong
    if [ $apt_code -ne 0 ]; then
        cat "$apt_log" >&2
        echo "packages could not be installed. As root:" >&2
        echo "$apt" >&2
    fi
    rm -f "$apt_log"
    return $apt_code
}
