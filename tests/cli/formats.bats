# SPDX-License-Identifier: Apache-2.0
# Vector files: every format, by file and by standard input, and what is wrong with bad ones.
load helper

# agrees FILE [OPTION...]: an index of FILE has the bytes of one of the same rows in v.fvecs, by standard input too.
agrees()
{
    local file=$1 format=${1##*.}
    shift
    if [ ! -e expected.omen ]; then
        vectors make v.fvecs -n 90 -d 11
        omendb build -q -o expected.omen v.fvecs
    fi
    expect 0 omendb build -q "$@" -o found.omen "$file"
    cmp expected.omen found.omen
    rm found.omen
    expect 0 bash -c 'cat "$1" | "$OMENDB" build -q -f $2 "${@:3}" -o found.omen -' bash "$file" $format "$@"
    cmp expected.omen found.omen
    rm found.omen
    expect 0 bash -c '"$OMENDB" build -q -f $2 "${@:3}" -o found.omen - <"$1"' bash "$file" $format "$@"
    cmp expected.omen found.omen
    cp "$file" nameless
    expect 0 omendb build -q -f $format "$@" -o found.omen nameless
    cmp expected.omen found.omen
    rm found.omen
}

bad()
{
    fails_with 2 "$1" omendb build -o found.omen "${@:2}"
    [ ! -e found.omen ] && [ ! -e found.omen.tmp ]
}

@test "fvecs, bvecs, ivecs, hvecs" {
    for format in fvecs bvecs ivecs hvecs; do
        vectors make v.$format -n 90 -d 11
        agrees v.$format
    done
}

@test "fbin, u8bin, i8bin, i32bin, u32bin" {
    for format in fbin u8bin i8bin i32bin u32bin; do
        vectors make v.$format -n 90 -d 11
        agrees v.$format
    done
}

@test "npy: every type, both byte orders, both storage orders, versions 1 to 3, keys in any order" {
    for element in f2 f4 f8 i1 u1 $(some 1 i2 i4 i8 u2 u4 u8); do
        for order in "" --big-endian; do
            for storage in "" --fortran; do
                vectors make v.npy -n 90 -d 11 --element $element $order $storage
                [ -e expected.omen ] || agrees v.npy
                expect 0 omendb build -q -o found.omen v.npy
                cmp expected.omen found.omen
                if [ $element = f4 ] || [ $element = i1 ]; then
                    expect 0 bash -c 'cat v.npy | "$OMENDB" build -q -o found.omen -'
                    cmp expected.omen found.omen
                fi
                rm found.omen
            done
        done
    done
    for version in 1 2 3; do
        vectors make v.npy -n 90 -d 11 --version $version --reorder
        agrees v.npy
    done
}

@test "idx: bytes, float and double" {
    for element in u1 i1 f4 f8; do
        vectors make v.idx -n 90 -d 11 --element $element
        agrees v.idx
        cp v.idx v-idx2-ubyte
        expect 0 omendb build -q -o found.omen v-idx2-ubyte
        cmp expected.omen found.omen
    done
}

@test "idx: all dimensions after the first make up the row" {
    vectors first 100 "$images/train-images-idx3-ubyte.gz" v.idx
    expect 0 omendb build --json v.idx
    same "$(member "$output" n)" 100
    same "$(member "$output" d)" 784
}

@test "raw with --dim" {
    vectors make v.raw -n 90 -d 11
    agrees v.raw -d 11
    cp v.raw v.f32
    expect 0 omendb build -q -d 11 -o found.omen v.f32
    cmp expected.omen found.omen
    rm found.omen
    bad 'raw values need their dimension named with --dim' v.raw
    bad 'row 141 is cut short' -d 7 v.raw
}

@test "without an extension the content tells" {
    for format in fvecs npy fbin idx; do
        vectors make v.$format -n 90 -d 11
        cp v.$format plain
        expect 0 omendb build -v -o found.omen plain
        has "$stderr" "plain: $format, 90 x 11"
    done
    vectors make plain --format u8bin -n 90 -d 11
    rm found.omen
    bad '"plain" may be u8bin or i8bin: choose with --format' plain
    printf 'no vectors in here' >plain
    bad 'cannot tell the format of "plain": name it with --format' plain
    bad 'standard input needs its format named with --format' - <plain
    cp v.npy plain
    expect 0 bash -c '"$OMENDB" build -q -o found.omen - <plain'
}

@test "a wrong name is told with the likely right format" {
    vectors make v.fvecs -n 90 -d 11
    cp v.fvecs w.npy
    bad 'looks like fvecs (try --format fvecs)' w.npy
    cp v.fvecs w.raw
    bad '"w.raw" is named like raw values but looks like fvecs' -d 2 w.raw
    vectors make v.npy -n 90 -d 11
    bad 'looks like npy (try --format npy)' -f fbin v.npy
    vectors make v.idx -n 90 -d 11
    bad 'looks like idx' -f fvecs v.idx
}

@test "--dim is a check" {
    vectors make v.fvecs -n 90 -d 11
    expect 0 omendb build -q -d 11 v.fvecs
    bad '"v.fvecs" has 11 dimensions, not 12 as asked for' -d 12 v.fvecs
}

@test "empty files and files without rows" {
    for format in fvecs bvecs ivecs npy fbin u8bin i8bin idx raw; do
        : >v.$format
        bad '"v.'$format'" is empty' -d 4 v.$format
        bad 'standard input is empty' -f $format -d 4 - <v.$format
    done
    printf '\000\000\000\000\004\000\000\000' >v.fbin
    bad 'there are no rows: the header says 0 x 4' v.fbin
    printf '\004\000\000\000\000\000\000\000' >v.fbin
    bad 'the rows have no values: the header says 4 x 0' v.fbin
    printf '\000\000\000\000' >v.fvecs
    bad 'row 0 has dimension 0' v.fvecs
}

@test "files cut in the middle of a row name the row, whatever the length" {
    for format in fvecs bvecs ivecs npy fbin u8bin i8bin idx; do
        vectors make v.$format -n 10 -d 5 --element f4
        size=$(wc -c <v.$format)
        for length in 1 3 7 $((size / 2 - 1)) $((size - 3)) $((size - 1)); do
            head -c $length v.$format >cut.$format
            fails_with 2 "" omendb build -o found.omen cut.$format
            has "$stderr" "cut"
            fails_with 2 "standard input" omendb build -f $format -o found.omen - <cut.$format
        done
        has "$stderr" "row 9"
    done
    head -c 50 v.fvecs >cut.fvecs
    bad 'row 2 is cut short: 2 of its 24 bytes' cut.fvecs
    only cut.bvecs cut.fbin cut.fvecs cut.i8bin cut.idx cut.ivecs cut.npy cut.u8bin v.bvecs v.fbin v.fvecs v.i8bin \
        v.idx v.ivecs v.npy v.u8bin
}

@test "bytes too many" {
    for format in npy fbin u8bin i8bin idx; do
        vectors make v.$format -n 10 -d 3
        printf x >>v.$format
        bad 'the header says 10 x 3' v.$format
    done
}

@test "a row of another dimension is named" {
    vectors make v.fvecs --text "1,2,3;1,2,3;1,2;1,2,3"
    bad 'row 2 has dimension 2, the first row has 3' v.fvecs
    vectors make v.bvecs -n 1000 -d 3
    printf '\007' | dd of=v.bvecs bs=1 seek=$((7 * 500)) conv=notrunc status=none
    bad 'row 500 has dimension 7, the first row has 3' v.bvecs
}

@test "NaN and infinity name row and column, in every format that has them" {
    for file in "v.fvecs" "v.fbin" "v.raw -d 2" "v.npy" "v.idx"; do
        set -- $file
        for value in nan inf -inf; do
            vectors make $1 --text "1,2;3,4;5,$value;7,8"
            bad 'row 2 has a' "$@"
            has "$stderr" "in column 1"
        done
    done
    for element in f2 f8; do
        for storage in "" --fortran; do
            vectors make v.npy --text "1,2;3,4;5,6;inf,8" --element $element $storage
            bad 'row 3 has an infinite value in column 0' v.npy
        done
    done
    vectors make v.npy --text "1,2;3,1e300" --element f8
    bad 'row 1 has an infinite value in column 1' v.npy
}

@test "dimensions beyond 65,536, sizes beyond 64 bits" {
    printf '\001\000\001\000' >v.fvecs
    bad 'row 0 has dimension 65537' v.fvecs
    printf '\377\377\377\377' >v.fvecs
    bad 'row 0 has dimension -1' v.fvecs
    printf '\001\000\000\000\001\000\001\000' >v.fbin
    bad 'at most 65536 dimensions' v.fbin
    printf '\377\377\377\377\000\000\001\000' >v.fbin
    bad 'the header says 4294967295 x 65536' v.fbin
    printf '\000\000\010\011\377\377\377\377\377\377\377\377\377\377\377\377' >v.idx
    printf '\377\377\377\377\377\377\377\377\377\377\377\377' >>v.idx
    printf '\377\377\377\377\377\377\377\377\377\377\377\377' >>v.idx
    bad 'dimensions' -f idx v.idx
    vectors make v.raw -n 1 -d 65536
    expect 0 omendb build -q -d 65536 v.raw
    expect 0 omendb verify -q --source v.raw v.omen
}

@test "integers that float32 would round are refused by row and column" {
    local file
    for file in "v.ivecs" "v.i32bin" "v.u32bin" "v.npy --element i8" "v.npy --element u4 --fortran"; do
        set -- $file
        vectors make $1 --text "1,2;16777216,4;5,16777217" "${@:2}"
        bad 'row 2 has an integer in column 1 that float32 would round' $1
    done
}

@test "npy that cannot be read is refused by name" {
    npy()
    {
        printf '\223NUMPY\001\000' >v.npy
        printf "\\$(printf %o $((${#1} % 256)))\\$(printf %o $((${#1} / 256)))%s" "$1" >>v.npy
        head -c 4096 /dev/zero >>v.npy
    }
    npy "{'descr': '|O', 'fortran_order': False, 'shape': (4, 2), }"
    bad "the array's dtype is object '|O'; floats (f2, f4, f8, bfloat16) and integers (i1" v.npy
    npy "{'descr': [('a', '<f4'), ('b', '<f4')], 'fortran_order': False, 'shape': (4,), }"
    bad "structured dtype" v.npy
    npy "{'descr': '<c8', 'fortran_order': False, 'shape': (4, 2), }"
    bad "the array's dtype is '<c8'" v.npy
    npy "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }"
    bad "the array has 1 dimension" v.npy
    npy "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 2, 2), }"
    bad "the array has 3 dimensions" v.npy
    npy "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551615, 65536), }"
    bad "more than a file can hold" v.npy
    npy "{'descr': '<f4', 'shape': (4, 2), }"
    bad "header is damaged" v.npy
    npy "import os"
    bad "header is damaged" v.npy
    printf '\223NUMPY\004\000\000\000\000\000' >v.npy
    bad "the npy version is 4.0; 1, 2 and 3 are read" v.npy
}

@test "idx of labels and of other types is refused by name" {
    gzip -dc "$images/t10k-labels-idx1-ubyte.gz" >labels-idx1-ubyte
    bad "one dimension, as labels do" labels-idx1-ubyte
    printf '\000\000\013\002\000\000\000\001\000\000\000\001\000\000' >v.idx
    bad "type short" v.idx
}

@test "compressed input is told with the command that unpacks it" {
    vectors make v.idx -n 5 -d 3
    python3 -c 'import lzma; open("v.idx.xz", "wb").write(lzma.compress(open("v.idx", "rb").read()))'
    python3 -c 'import bz2; open("v.idx.bz2", "wb").write(bz2.compress(open("v.idx", "rb").read()))'
    bad 'xzcat v.idx.xz | omendb ... --format idx -' v.idx.xz
    bad 'bzcat v.idx.bz2 | omendb ... --format idx -' v.idx.bz2
    cp v.idx.bz2 'v$(id).bz2' # what a shell would expand is not repeated
    bad 'bzcat FILE | omendb ... --format FORMAT -' 'v$(id).bz2'
    rm 'v$(id).bz2'
    bad 'standard input is compressed' -f idx - <v.idx.xz
}

@test "an index is no file of vectors" {
    vectors make v.fvecs -n 5 -d 3
    omendb build -q v.fvecs
    bad '"v.omen" is an omendb index, not a file of vectors' v.omen
}

@test "standard input read in part goes on from there" {
    vectors make v.fvecs -n 90 -d 11
    omendb build -q -o expected.omen v.fvecs
    { printf '12345'; cat v.fvecs; } >prefixed
    { dd bs=5 count=1 of=/dev/null status=none; omendb build -q -f fvecs -o found.omen -; } <prefixed
    cmp expected.omen found.omen
}

@test "a named pipe works" {
    vectors make v.fvecs -n 90 -d 11
    omendb build -q -o expected.omen v.fvecs
    mkfifo pipe.fvecs
    cat v.fvecs >pipe.fvecs &
    expect 0 omendb build -q -o found.omen pipe.fvecs
    cmp expected.omen found.omen
}

@test "headers that lie: refused or read, without memory for what they claim" {
    local format files=()
    vectors make v.fvecs -n 200 -d 6
    omendb build -q v.fvecs
    for format in fvecs bvecs npy fbin u8bin idx; do
        vectors make h.$format -n 200 -d 6
        files+=(h.$format)
    done
    lies=${OMEN_TEST_QUICK:+10}
    python3 "$tests_dir/cli/hostile.py" vectors v.omen ${lies:-20} "${files[@]}"
}
