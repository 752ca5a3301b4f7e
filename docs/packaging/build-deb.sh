#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the Debian packages omendb, libomendb0 and libomendb-dev of the committed state into DIRECTORY, which is made.
# The source is what `git archive` gives and debian/ here. The same commit gives the same packages, byte for byte,
# wherever it is built. DEBFULLNAME and DEBEMAIL, if they are set, are its maintainer, who else is a name without an
# address that could be written to. Usage: build-deb.sh DIRECTORY. Needs the packages that debian/control names as
# Build-Depends.
set -eu
[ $# -eq 1 ] || { echo "usage: build-deb.sh DIRECTORY" >&2; exit 2; }
command -v dpkg-buildpackage >/dev/null || { echo "missing: apt-get install dpkg-dev debhelper" >&2; exit 2; }
mkdir -p "$1"
out=$(CDPATH= cd -- "$1" && pwd)
cd "$(dirname "$0")/../.."

SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
upstream=$(sed -n 's/^omendb (\(.*\)-[^-]*) .*/\1/p;q' docs/packaging/debian/changelog)
rm -rf "$out/omendb-$upstream"
git archive --prefix="omendb-$upstream/" HEAD >"$out/omendb.tar"
tar -C "$out" -xf "$out/omendb.tar"
gzip -n <"$out/omendb.tar" >"$out/omendb_$upstream.orig.tar.gz"
rm "$out/omendb.tar"
cd "$out/omendb-$upstream"
cp -r docs/packaging/debian .
if [ "${DEBEMAIL-}" ]; then
    export DEBEMAIL DEBFULLNAME="${DEBFULLNAME:-$DEBEMAIL}"
    for file in control changelog; do
        awk 'at = index($0, "omendb maintainers <") {
                $0 = substr($0, 1, at - 1) ENVIRON["DEBFULLNAME"] " <" ENVIRON["DEBEMAIL"] \
                    substr($0, at + index(substr($0, at), ">") - 1)
            }
            { print }' debian/$file >debian/$file.new
        mv debian/$file.new debian/$file
    done
fi
dpkg-buildpackage -us -uc
rm -rf "$out/omendb-$upstream"
ls "$out"/*.deb
