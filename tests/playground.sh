#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# playground.sh OMENDB DIRECTORY: files to try omendb on, 20 MB, from Debian's package dataset-fashion-mnist. Of its
# pictures of clothes, 28 x 28 bytes each:
#
#   images.idx    10,000 of them, and images.omen, their index
#   labels.tsv    what each is called and what it shows
#   queries.idx   1,000 others, and truth.ivecs, the 10 images nearest to each
#
# A playground that is there is kept, if it was finished and its index is sound.
set -eu

omendb=${1:?usage: playground.sh OMENDB DIRECTORY}
playground=${2:?usage: playground.sh OMENDB DIRECTORY}
data=/usr/share/datasets/fashion-mnist

if [ -s "$playground/truth.ivecs" ] && "$omendb" verify --quiet "$playground/images.omen" 2>/dev/null; then
    exit 0
fi
mkdir -p "$playground"

# pictures FILE N: the first N, whose number stands in the header in 4 bytes.
pictures()
{
    # shellcheck disable=SC2059 # a format of octal numbers
    printf "\\0\\0\\010\\003\\0\\0\\$(printf %03o $(($2 / 256)))\\$(printf %03o $(($2 % 256)))"
    printf '\0\0\0\034\0\0\0\034'
    gzip -dc "$data/$1" | tail -c +17 | head -c $(($2 * 784))
}

pictures train-images-idx3-ubyte.gz 10000 >"$playground/images.idx"
pictures t10k-images-idx3-ubyte.gz 1000 >"$playground/queries.idx"
gzip -dc "$data/train-labels-idx1-ubyte.gz" | tail -c +9 | head -c 10000 | od -An -v -w1 -tu1 | awk '
    BEGIN { split("shirt trousers pullover dress coat sandal blouse sneaker bag boot", names); print "key\tlabel" }
    { printf "%s-%05d\t%s\n", names[$1 + 1], NR - 1, names[$1 + 1] }' >"$playground/labels.tsv"
"$omendb" build -q --columns "$playground/labels.tsv" --key :key -o "$playground/images.omen" "$playground/images.idx"
"$omendb" query -q --exact --rows -o "$playground/truth.ivecs" "$playground/images.omen" "$playground/queries.idx"
