# SPDX-License-Identifier: Apache-2.0
# omendb build: options, unusual data, and what is left behind when it fails.
load helper

@test "the default name, summary and an empty standard output" {
    mkdir sub.d
    vectors make sub.d/v.x.fvecs -n 300 -d 5
    expect 0 omendb build sub.d/v.x.fvecs
    same "$output" ""
    has "$stderr" "sub.d/v.x.omen: 300 x 5 l2"
    has "$stderr" "vectors/s"
    has "$stderr" "bytes a vector"
    same "$(ls sub.d)" "v.x.fvecs
v.x.omen"
    cp sub.d/v.x.fvecs sub.d/plain
    expect 0 omendb build -q -f fvecs sub.d/plain
    same "$stderr" ""
    cmp sub.d/plain.omen sub.d/v.x.omen
}

@test "--json is one object with the members that the man page names" {
    vectors make v.fvecs -n 300 -d 50
    expect 0 omendb build --json -m cosine v.fvecs
    same "$stderr" ""
    same "${#lines[@]}" 1
    for path in input output n d metric codec refine refine_ceilings lists threads simd seconds.sample seconds.total \
        vectors_per_second bytes_per_vector.code bytes_per_vector.factors bytes_per_vector.centroids \
        bytes_per_vector.refine bytes_per_vector.ids bytes_per_vector.model bytes_per_vector.total ratio_input \
        file_bytes pq_error rabitq_error near_copies norms.rows norms.unit resumed; do
        member "$output" $path >/dev/null
    done
    same "$(member "$output" n)" 300
    same "$(member "$output" metric)" '"cosine"'
    same "$(member "$output" file_bytes)" "$(wc -c <v.omen)"
}

@test "rows of unit length under l2, and of very different lengths under ip, are told once" {
    python3 -c '
import math, random, struct
g = random.Random(1)
unit, long, near = open("unit.fvecs", "wb"), open("long.fvecs", "wb"), open("near.fvecs", "wb")
for i in range(300):
    row = [g.gauss(0, 1) for _ in range(12)]
    norm = math.sqrt(sum(x * x for x in row))
    put = lambda out, scale: out.write(struct.pack("<i12f", 12, *(scale * x / norm for x in row)))
    put(unit, 1 + 0.0009 * (-1) ** i)
    put(near, 1 if i else 1.002)
    put(long, 1 + i % 10)'
    expect 0 omendb build unit.fvecs
    has "$stderr" "note: rows have unit length (300 looked at), so l2 ranks them as cosine would; only distances differ"
    expect 0 omendb train -o unit.model unit.fvecs
    has "$stderr" "note: rows have unit length"
    expect 0 omendb train --json -o unit.model unit.fvecs
    same "$stderr" ""
    for arguments in "near.fvecs" "-m ip unit.fvecs"; do
        # shellcheck disable=SC2086 # a list of words
        expect 0 omendb build $arguments
        [[ $stderr != *"note:"* ]]
    done
    expect 0 omendb build -m ip long.fvecs
    has "$stderr" "note: the longest tenth of the rows is at least 9 times as long as the shortest tenth (300 looked"
    expect 0 omendb build --json unit.fvecs
    same "$stderr" ""
    same "$(member "$output" norms.unit)" true
    same "$(member "$output" norms.spread)" null
    expect 0 omendb build -q --json -m ip long.fvecs
    same "$stderr" ""
    same "$(member "$output" norms.unit)" false
}

@test "rows with near copies are told: what they find is not what other queries find" {
    vectors make copies.fvecs -n 300 -d 50 --kind duplicates
    vectors make v.fvecs -n 300 -d 50
    expect 0 omendb build copies.fvecs
    has "$stderr" "warning: 100% of the rows have a near copy"
    expect 0 omendb build -q copies.fvecs
    same "$stderr" ""
    expect 0 omendb build --tune-queries v.fvecs copies.fvecs
    [[ $stderr != *"near copy"* ]]
    expect 0 omendb build --json copies.fvecs
    same "$(member "$output" near_copies)" 1.0
    expect 0 omendb build --json v.fvecs
    same "$(member "$output" near_copies)" 0.0
}

@test "rows with near copies do not flatter the effort of other queries" {
    python3 -c '
import random, struct
g = random.Random(1)
row = lambda: struct.pack("<i12f", 12, *(g.gauss(0, 1) for _ in range(12)))
same = row()
open("half.fvecs", "wb").write(b"".join(row() if i % 2 else same for i in range(4000)))
open("q.fvecs", "wb").write(b"".join(row() for i in range(300)))'
    expect 0 omendb build half.fvecs
    [[ $stderr =~ "  sample  "[45][0-9]"% of the rows have a near copy" ]]
    [[ $stderr != *warning* ]]
    omendb query -q --exact -o exact.tsv half.omen q.fvecs
    omendb query -q -o found.tsv half.omen q.fvecs
    at_least 0.94 "$(recall exact.tsv found.tsv)"
}

@test "rows that come in copies are calibrated by what they find besides" {
    plain_only
    python3 -c '
import random, struct
g = random.Random(2)
centres = [[g.gauss(0, 1) for _ in range(24)] for _ in range(400)]
row = lambda: [x + g.gauss(0, .7) for x in g.choice(centres)]
put = lambda x: struct.pack("<i24f", 24, *x)
rows = [row() for _ in range(2500)]
open("copies.fvecs", "wb").write(b"".join(put([x + g.gauss(0, .02) for x in r]) for i in range(7) for r in rows))
open("q.fvecs", "wb").write(b"".join(put(row()) for i in range(400)))'
    expect 0 omendb build copies.fvecs
    has "$stderr" "100% of the rows have a near copy"
    omendb query -q --exact -o exact.tsv copies.omen q.fvecs
    omendb query -q -o found.tsv copies.omen q.fvecs
    # 0.916 where copies counted
    at_least 0.945 "$(recall exact.tsv found.tsv)"
}

@test "--json holds any file name" {
    vectors make v.fvecs -n 5 -d 2
    for name in 'a"b\c' $'tab\tnew\nline' $'latin-\xe9' ünï; do
        cp v.fvecs "$name.fvecs"
        expect 0 omendb build --json "$name.fvecs"
        member "$output" output >/dev/null
    done
}

@test "-v says more, without a terminal no progress line is drawn" {
    vectors make v.fvecs -n 300 -d 5
    expect 0 omendb build -v v.fvecs
    has "$stderr" "v.fvecs: fvecs, 300 x 5"
    has "$stderr" "effort"
    case $stderr in
    *$'\r'*) fault "it has a carriage return" ;;
    esac
}

@test "every metric, codec and refine tier builds, verifies and answers" {
    vectors make v.npy -n 400 -d 13 --kind gauss
    for metric in l2 ip cosine; do
        for codec in auto pq rabitq none; do
            for refine in $(some 1 sq8 sq12 sq16 f16 f32 none); do
                if [ $codec$refine = nonenone ]; then
                    continue
                fi
                expect 0 omendb build -q -m $metric -c $codec -r $refine -o v.omen v.npy
                expect 0 omendb verify -q --source v.npy v.omen
                expect 0 omendb query -k 3 v.omen v.npy
                same "${#lines[@]}" 1200
            done
        done
    done
    only v.npy v.omen
}

@test "--bytes is never exceeded" {
    vectors make v.npy -n 400 -d 300 --kind gauss
    for codec in pq rabitq; do
        for bytes in $(some 2 4 256 5 7 16 31 32 64 255); do
            expect 0 omendb build --json -c $codec -b $bytes v.npy
            hot=$(($(member "$output" bytes_per_vector.code) + $(member "$output" bytes_per_vector.factors)))
            [ $hot -le $bytes ] || fault "$codec uses $hot of $bytes bytes"
            [ $hot -ge $((bytes / 2)) ] || [ $bytes -gt 38 ] || fault "$codec uses $hot of $bytes bytes"
        done
    done
}

@test "--lists and --seed" {
    vectors make v.npy -n 400 -d 6 --kind gauss
    for lists in 1 2 7 400; do
        expect 0 omendb build --json -l $lists -o v.omen v.npy
        same "$(member "$output" lists)" $lists
        expect 0 omendb verify -q v.omen
    done
    omendb build -q -o default.omen v.npy
    omendb build -q --seed 0 -o zero.omen v.npy
    omendb build -q --seed 18446744073709551615 -o other.omen v.npy
    cmp default.omen zero.omen
    run ! cmp -s default.omen other.omen
    fails_with 2 "lists" omendb build -l 401 -o x.omen v.npy
    [ ! -e x.omen ] && [ ! -e x.omen.tmp ]
}

@test "bad option values exit 2 and name the option" {
    vectors make v.fvecs -n 5 -d 3
    fails_with 2 '--metric must be l2, ip or cosine, not "L2"' omendb build -m L2 v.fvecs
    fails_with 2 '--codec must be auto, pq, rabitq or none, not ""' omendb build -c "" v.fvecs
    fails_with 2 '--refine must be auto, sq8, sq12, sq16, f16, f32 or none, not "f64"' omendb build -r f64 v.fvecs
    fails_with 2 '--bytes must be at least 4' omendb build -b 3 v.fvecs
    fails_with 2 '--bytes must be at most 256' omendb build -b 257 v.fvecs
    fails_with 2 '--bytes must be at most 256' omendb build -b 99999999999999999999999 v.fvecs
    fails_with 2 '--bytes wants a whole number, not "-1"' omendb build -b -1 v.fvecs
    fails_with 2 '--lists must be at least 1' omendb build -l 0 v.fvecs
    fails_with 2 '--seed must be at most' omendb build --seed 18446744073709551616 v.fvecs
    fails_with 2 '--seed wants a whole number, not "1.5"' omendb build --seed 1.5 v.fvecs
    fails_with 2 '--dim must be at least 1' omendb build -d 0 v.fvecs
    fails_with 2 '--dim must be at most 65,536' omendb build -d 65537 v.fvecs
    fails_with 2 '"frob"' omendb build --cpu frob v.fvecs
    fails_with 2 'unknown format "frob"' omendb build -f frob v.fvecs
    fails_with 2 'codec none and refine none leave nothing to search' omendb build -c none -r none v.fvecs
    fails_with 2 'no INPUT given' omendb build
    fails_with 2 '--output is required' omendb build v.fvecs v.fvecs
    only v.fvecs
}

@test "a SIMD level of another processor is refused" {
    vectors make v.fvecs -n 5 -d 3
    level=neon
    if [ "$(uname -m)" = aarch64 ]; then
        level=avx2
    fi
    fails_with 2 "$level" omendb build --cpu $level v.fvecs
    only v.fvecs
}

@test "outputs that would destroy something are refused" {
    vectors make v.omen --format fvecs -n 5 -d 3
    cp v.omen v.tmp
    cp v.omen other.tmp
    fails_with 2 'would overwrite the input' omendb build -f fvecs v.omen
    fails_with 2 'would overwrite the input' omendb build -f fvecs -o ./v.omen v.omen
    fails_with 2 'would overwrite the input' omendb build -f fvecs -o other other.tmp
    ln v.omen hard
    fails_with 2 'would overwrite the input' omendb build -f fvecs -o hard v.omen
    ln -s v.omen soft
    fails_with 2 'would overwrite the input' omendb build -f fvecs -o soft v.omen
    fails_with 2 'an index cannot go to standard output' omendb build -f fvecs -o - v.tmp
    fails_with 2 '"/dev/null" is not a regular file' omendb build -f fvecs -o /dev/null v.tmp
    fails_with 2 '--output wants a file name' omendb build -f fvecs -o "" v.tmp
    fails_with 2 '--output is required' omendb build -f fvecs - <v.tmp
    [ -c /dev/null ]
    cmp v.omen v.tmp
    only hard other.tmp soft v.omen v.tmp
}

@test "an index under the name of another format is refused" {
    vectors make v.fvecs -n 5 -d 3
    for name in x.npy x.fvecs x.U8BIN x.omz x.tsv x.json x.svg; do
        fails_with 2 "would hold an index: choose another name, such as one that ends with .omen" \
            omendb build -o $name v.fvecs
        fails_with 2 "would hold an index" omendb bench --base v.fvecs --held-out 2 -k 1 -o $name
    done
    only v.fvecs
    for name in x.omen x x.idx2 x.v1; do
        expect 0 omendb build -q -o $name v.fvecs
    done
}

@test "files that cannot be opened or written exit 4" {
    vectors make v.fvecs -n 5 -d 3
    mkdir d
    fails_with 4 'cannot open "nope.fvecs": No such file or directory' omendb build nope.fvecs
    fails_with 4 '"d" is a directory' omendb build --tune-queries d v.fvecs
    fails_with 4 'd' omendb build -o d v.fvecs
    fails_with 4 'nope/v.omen' omendb build -o nope/v.omen v.fvecs
    only d v.fvecs
}

@test "messages stay one line whatever the file name holds" {
    fails_with 4 'a?b?[31m' omendb build $'a\nb\e[31m.fvecs'
    fails_with 4 'cannot open' omendb build "$(printf '%0240d' 0).fvecs"
}

# ---- unusual data ----

@test "3 rows, one row, one dimension, one value" {
    for shape in "3 4" "1 4" "1 1" "3 1" "2 1000" "33 1" "65 3"; do
        set -- $shape
        vectors make v.fvecs -n $1 -d $2 --kind gauss
        for codec in auto pq rabitq none; do
            for metric in $(some 1 l2 ip cosine); do
                expect 0 omendb build -q -m $metric -c $codec v.fvecs
                expect 0 omendb verify -q --source v.fvecs v.omen
                expect 0 omendb query -k 1 -F tsv v.omen v.fvecs
                same "${#lines[@]}" $1
            done
        done
    done
}

@test "a row finds itself first, at distance 0" {
    vectors make v.fvecs -n 500 -d 7
    omendb build -q v.fvecs
    omendb query -k 1 --distances v.omen v.fvecs >found
    awk '{ if ($1 != $3 || $4 != 0) exit 1 } END { exit NR != 500 }' found
}

@test "duplicates: ties by lower row, no row twice" {
    vectors make v.fvecs -n 90 -d 5 --kind duplicates
    for options in "" "-c rabitq" "-c none" "-l 9"; do
        omendb build -q $options v.fvecs
        omendb query -k 90 --distances v.omen v.fvecs >found
        awk '{ if (seen[$1, $3]++) exit 1
            if ($2 > 1 && ($4 < distance || ($4 == distance && $3 < row))) exit 1
            distance = $4; row = $3 } END { exit NR != 8100 }' found
        omendb query --exact -k 90 --distances v.omen v.fvecs >exact
        cmp found exact
    done
}

@test "all rows equal" {
    vectors make v.fvecs -n 200 -d 9 --kind equal
    for options in "" "-c rabitq" "-c none" "-m ip" "-m cosine" "-l 7"; do
        expect 0 omendb build -q $options v.fvecs
        expect 0 omendb verify -q --source v.fvecs v.omen
        expect 0 omendb query -k 3 v.omen v.fvecs
        same "${lines[*]:0:3}" "0 1 0 0 2 1 0 3 2"
    done
}

@test "constant columns" {
    vectors make v.fvecs -n 300 -d 12 --kind constant-columns
    for options in "" "-c rabitq" "-m ip" "-m cosine -c rabitq" "-b 256"; do
        expect 0 omendb build -q $options v.fvecs
        expect 0 omendb verify -q --source v.fvecs v.omen
        expect 0 omendb query v.omen v.fvecs
        same "${#lines[@]}" 3000
    done
}

@test "values near the limits of float32" {
    vectors make v.npy --text "1e18,0;0,1e18;-1e18,1;1e-45,-1e-45"
    for options in "" "-r f32" "-c rabitq" "-c none"; do
        expect 0 omendb build -q $options v.npy
        expect 0 omendb verify -q v.omen
        expect 0 omendb query v.omen v.npy
    done
    vectors make w.npy --text "1,2;3e38,3e38;3,4"
    fails_with 2 'row 1 of "w.npy" is too long: its squared norm is over 1e+37' omendb build w.npy
    only v.npy v.omen w.npy
}

@test "rows so near each other that float32 cannot tell their distances are refused under l2" {
    # scaled BY TO: v.npy times a factor
    scaled()
    {
        python3 -c '
import struct, sys
data = open("v.fvecs", "rb").read()
rows = [struct.unpack_from("<8f", data, 36 * i + 4) for i in range(len(data) // 36)]
open(sys.argv[2], "wb").write(b"".join(struct.pack("<i8f", 8, *(x * float(sys.argv[1]) for x in row)) for row in rows))
' "$@"
    }
    vectors make v.fvecs -n 300 -d 8
    scaled 1e-22 tiny.fvecs
    for options in "" "-c none" "-r f32" "-c rabitq -l 4" "--graph"; do
        fails_with 2 '"tiny.fvecs": values are too small: squared distances of about ' \
            omendb build $options -o out.omen tiny.fvecs
        has "$stderr" 'vanish in float32; multiply rows and queries by 1e+2'
        [ ! -e out.omen ]
    done
    fails_with 2 '"tiny.fvecs" and others: values are too small' omendb build -o out.omen tiny.fvecs tiny.fvecs
    fails_with 2 '"tiny.fvecs": values are too small' omendb train -o out.model tiny.fvecs
    expect 0 omendb train -q -o v.model v.fvecs
    fails_with 2 '"tiny.fvecs": values are too small' omendb build --model v.model -o out.omen tiny.fvecs
    rm -f out.omen out.model out.omen.part out.model.part
    for metric in ip cosine; do # which lose nothing
        expect 0 omendb build -q -m $metric -o out.omen tiny.fvecs
    done
    expect 0 omendb build -q -o out.omen tiny.fvecs v.fvecs
    # rows that float32 holds well enough, that are all equal, or zeros
    scaled 1e-19 small.fvecs
    vectors make equal.npy --text "1e-30,2e-30;1e-30,2e-30;1e-30,2e-30"
    vectors make zero.npy --text "0,0;0,0"
    vectors make one.npy --text "1e-40,0"
    for file in small.fvecs equal.npy zero.npy one.npy; do
        expect 0 omendb build -q -o out.omen $file
        expect 0 omendb verify -q --source $file out.omen
    done
}

@test "a zero row under cosine is an error that names it, unless --zero-ok" {
    vectors make v.fvecs --text "1,2;3,4;0,0;5,-6;0,0"
    fails_with 2 'row 2 of "v.fvecs" is a zero vector, which has no cosine; --zero-ok accepts it' \
        omendb build -m cosine v.fvecs
    only v.fvecs
    for options in "" "-c rabitq" "-c none" "-r f32"; do
        expect 0 omendb build -q -m cosine --zero-ok $options v.fvecs
        expect 0 omendb verify -q --source v.fvecs v.omen
        vectors make q.fvecs --text "1,2"
        expect 0 omendb query -k 5 --distances v.omen q.fvecs
        same "$(printf '%s\n' "${lines[@]}" | awk '$3 == 2 || $3 == 4 { printf "%s:%s ", $3, $4 }')" "2:1 4:1 "
    done
    for metric in l2 ip; do
        expect 0 omendb build -q -m $metric v.fvecs
    done
}

# ---- what is left behind ----

@test "an old index stays when a build fails" {
    vectors make v.fvecs -n 50 -d 3
    omendb build -q -o v.omen v.fvecs
    before=$(hash_of v.omen)
    head -c 100 v.fvecs >cut.fvecs
    fails_with 2 "cut short" omendb build -o v.omen cut.fvecs
    vectors make nan.npy --text "1,2;nan,3"
    fails_with 2 "row 1 has a NaN" omendb build -o v.omen nan.npy
    fails_with 2 "lists" omendb build -l 51 -o v.omen v.fvecs
    same "$(hash_of v.omen)" "$before"
    only cut.fvecs nan.npy v.fvecs v.omen
}

@test "a new index replaces an old one" {
    vectors make v.fvecs -n 50 -d 3
    vectors make w.fvecs -n 50 -d 3 --seed 2
    omendb build -q -o v.omen v.fvecs
    omendb build -q -o w.omen w.fvecs
    omendb build -q -o v.omen w.fvecs
    cmp v.omen w.omen
    only v.fvecs v.omen w.fvecs w.omen
}

@test "SIGINT exits 130, SIGTERM 143; the old index stays, and at most a checkpoint beside it" {
    vectors first 60000 "$images/train-images-idx3-ubyte.gz" base.idx
    echo old >base.omen
    fails_with 130 "omendb build: interrupted" \
        timeout --preserve-status -s INT 0.4 "$OMENDB" build -t 1 --fresh base.idx
    same "$(cat base.omen)" old
    rm -f base.omen.part
    only base.idx base.omen
    fails_with 143 "omendb build: interrupted" \
        timeout --preserve-status -s TERM 0.4 "$OMENDB" build -t 1 --fresh base.idx
    same "$(cat base.omen)" old
    rm -f base.omen.part
    only base.idx base.omen
}

@test "SIGINT while standard input is awaited exits 130" {
    mkfifo pipe
    sleep 20 >pipe &
    fails_with 130 "interrupted; nothing was written" \
        timeout --preserve-status -s INT 0.4 "$OMENDB" build -f fvecs -o v.omen - <pipe
    kill %1
    only pipe
}

@test "a build takes over what a killed one left" {
    vectors first 60000 "$images/train-images-idx3-ubyte.gz" base.idx
    expect 137 timeout --foreground --preserve-status -s KILL 0.4 "$OMENDB" build -t 1 base.idx
    [ ! -e base.omen ]
    vectors make base.fvecs -n 50 -d 3
    echo "much longer than nothing" >>base.omen.tmp
    [ ! -e base.omen.part ] || fails_with 2 "other input" omendb build -q base.fvecs
    expect 0 omendb build -q --fresh base.fvecs
    expect 0 omendb verify -q --source base.fvecs base.omen
    only base.fvecs base.idx base.omen
}

@test "a full disk exits 4 and leaves the old index and the checkpoint" {
    vectors make v.fvecs -n 5000 -d 30
    echo old >v.omen
    for blocks in 1 8 64 256; do
        expect 4 bash -c 'trap "" XFSZ; ulimit -f '$blocks'; exec "$OMENDB" build v.fvecs' 3>&-
        has "$stderr" "File too large"
        same "$(cat v.omen)" old
        [ ! -e v.omen.tmp ]
    done
    expect 0 omendb build -q v.fvecs
    only v.fvecs v.omen
}

@test "two builds of one index: one is refused or both succeed, the index is sound" {
    vectors make v.fvecs -n 3000 -d 40
    omendb build -q v.fvecs &
    first=$!
    second_code=0
    omendb build -q v.fvecs 2>second.log || second_code=$?
    first_code=0
    wait $first || first_code=$?
    [ $first_code -eq 0 ] || [ $second_code -eq 0 ]
    [ $first_code -eq 0 ] || [ $first_code -eq 4 ]
    [ $second_code -eq 0 ] || has "$(cat second.log)" "another process is writing"
    expect 0 omendb verify -q --source v.fvecs v.omen
    only second.log v.fvecs v.omen
}
