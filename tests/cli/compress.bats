# SPDX-License-Identifier: Apache-2.0
# Compressing and back: bit for bit, or as codes.

load helper

# round FILE: compresses, unpacks and compares.
round()
{
    omendb compress -q -f -o c.omz "$@"
    omendb verify -q c.omz
    omendb compress -q -d -f -o back c.omz
    cmp "${!#}" back
}

@test "every format comes back bit for bit" {
    for file in v.fvecs v.bvecs v.ivecs v.fbin v.u8bin v.i8bin v.npy; do
        vectors make $file -n 301 -d 7
        round $file
    done
    for element in f2 f4 f8 i1 u1; do
        vectors make v.npy -n 200 -d 5 --element $element
        round v.npy
        vectors make v.npy -n 200 -d 5 --element $element --big-endian
        round v.npy
        vectors make v.npy -n 200 -d 5 --element $element --fortran
        round v.npy
    done
    vectors make v.fvecs -n 500 -d 16 --kind gauss
    tail -c +1 v.fvecs >v.f32
    round --format raw --dim 17 v.f32
}

@test "values that no filter likes: gauss, not finite, -0, subnormal, decimals with exceptions" {
    for element in f2 f4 f8; do
        vectors make v.npy -n 700 -d 33 --element $element --kind gauss
        round v.npy
    done
    python3 - <<'EOF'
import random, struct
rng = random.Random(1)
odd = [0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1e-45, -1e-39, 65504.0, 65520.0, 6.1e-5, 255.0, 256.0]
def raw(name, values, code="f"):
    open(name, "wb").write(struct.pack(f"<{len(values)}{code}", *values))
raw("odd.raw", [rng.choice(odd) for _ in range(6000)])
raw("zeros.raw", [rng.choice([0.0, 3.0]) for _ in range(6000)])
raw("minus.raw", [rng.choice([0.0, -0.0, 3.0]) for _ in range(6000)])
half = [struct.unpack("<e", struct.pack("<e", rng.gauss(0, 1)))[0] for _ in range(6000)]
raw("half.raw", half)
raw("small-half.raw", [rng.randint(-3000, 3000) * 2.0 ** -24 for _ in range(3000)] +
    [rng.choice([-0.0, 65504.0, 2.0 ** -14, 2.0 ** -24]) for _ in range(3000)])
raw("too-small-half.raw", [rng.randint(-900, 900) * 2.0 ** -25 for _ in range(6000)])
raw("nearly-half.raw", half[:5999] + [0.1])
for digits in 3, 4, 5, 6, 7:
    values = [float(f"%.{digits}g" % rng.gauss(0, 1)) for _ in range(60000)]
    raw(f"decimal-{digits}.raw", values)
    for i in range(0, len(values), 101):
        values[i] = rng.choice(odd + [123.456, 99.9999, 99.99999, 1e-4, 9.9999e-5, 0.1, 1 / 3])
    raw(f"exceptions-{digits}.raw", values)
raw("late.raw", [float("%.4g" % rng.gauss(0, 1)) for _ in range(140000)] + [rng.gauss(0, 1) for _ in range(100000)])
EOF
    for file in *.raw; do
        round --dim 20 $file
        round --dim 1 -12 $file
    done
    vectors make v.fvecs -n 3000 -d 20 --kind gauss
    round --long v.fvecs
    fails_with 2 "for compressing" omendb compress -d --long c.omz
}

@test "edges: one row, one dimension, a file of several blocks" {
    vectors make v.fvecs -n 1 -d 1
    round v.fvecs
    vectors make v.fvecs -n 3000 -d 1 --kind gauss
    round v.fvecs
    vectors make v.npy -n 1 -d 4000 --kind gauss
    round v.npy
    vectors first 4000 "$images/train-images-idx3-ubyte.gz" v.idx
    round v.idx
    vectors make v.fvecs -n 10 -d 3
    printf x >>v.fvecs
    fails_with 2 "v.fvecs" omendb compress v.fvecs
    [ ! -e v.fvecs.omz ]
}

@test "floats that were bytes or halves shrink to them, noise is stored" {
    vectors make bytes.fvecs -n 4000 -d 64
    expect 0 omendb compress --json bytes.fvecs
    at_least 4 "$(member "$output" ratio)"
    vectors make half.npy -n 4000 -d 64 --kind gauss --element f2
    python3 - <<'PY'
import struct
data = open("half.npy", "rb").read()[-2 * 4000 * 64:]
values = struct.unpack("<%de" % (4000 * 64), data)
open("half.fbin", "wb").write(struct.pack("<II", 4000, 64) + struct.pack("<%df" % len(values), *values))
PY
    round half.fbin
    expect 0 omendb compress -f --json half.fbin
    at_least 2 "$(member "$output" ratio)"
    vectors make noise.fvecs -n 4000 -d 64 --kind gauss
    expect 0 omendb compress --json noise.fvecs
    at_least 1.1 "$(member "$output" ratio)"
}

@test "the same bytes for any number of threads and from a pipe" {
    vectors first 4000 "$images/train-images-idx3-ubyte.gz" v.idx
    omendb compress -q -t 1 -o one.omz v.idx
    omendb compress -q -t 3 -o three.omz v.idx
    omendb compress -q - <v.idx >pipe.omz
    cmp one.omz three.omz
    cmp one.omz pipe.omz
    omendb compress -d - <one.omz | cmp - v.idx
    fails_with 4 "temporary copy of standard input" env "TMPDIR=$PWD/none" "$OMENDB" compress -d - <one.omz
    omendb compress -dc -t 3 one.omz | cmp - v.idx
    omendb compress -q -19 -o small.omz v.idx
    [ "$(stat -c %s small.omz)" -le "$(stat -c %s one.omz)" ]
}

@test "build and query read compressed files like their originals" {
    vectors make base.fvecs -n 2000 -d 12 --kind gauss
    vectors make q.fvecs -n 50 -d 12 --kind gauss --seed 3
    omendb build -q -o plain.omen base.fvecs
    omendb compress -q base.fvecs
    omendb compress -q q.fvecs
    omendb build -q -o packed.omen base.fvecs.omz
    cmp plain.omen packed.omen
    same "$(omendb query -q plain.omen q.fvecs.omz)" "$(omendb query -q plain.omen q.fvecs | tr '\t' ' ')"
    omendb compress -q plain.omen
    same "$(omendb query -q plain.omen.omz q.fvecs)" "$(omendb query -q plain.omen q.fvecs | tr '\t' ' ')"
    expect 0 omendb verify plain.omen.omz base.fvecs.omz
    expect 0 omendb verify --quick plain.omen.omz
    omendb verify -q --source base.fvecs plain.omen.omz
    fails_with 2 "not an index" omendb query base.fvecs.omz q.fvecs
    fails_with 2 "an omendb index" omendb build -o x.omen plain.omen.omz
    omendb compress -q -d -f -o back.omen plain.omen.omz
    cmp plain.omen back.omen
    fails_with 2 "compressed already" omendb compress plain.omen.omz
}

@test "codes: the account adds up, says 96x, and rows come back nearly" {
    plain_only
    vectors first "${OMENDB_TEST_ROWS:-6000}" "$images/train-images-idx3-ubyte.gz" v.idx
    for codec in $(some 2 f16 pq auto rabitq sq8); do
        if [ $codec = sq8 ] || [ $codec = f16 ]; then
            expect 0 omendb compress -f --json --codec $codec -o c.omz v.idx
        else
            expect 0 omendb compress -f --json -b 32 --codec $codec -o c.omz v.idx
            [ "$(member "$output" codes.code_ratio)" = 98.0 ]
        fi
        python3 - "$output" "$(stat -c %s c.omz)" <<'PY'
import json, sys
codes = json.loads(sys.argv[1])["codes"]
parts = codes["bytes"]
assert sum(v for k, v in parts.items() if k != "file") == parts["file"] == int(sys.argv[2]), parts
assert codes["relative_error"] < 0.5 and codes["recall_reranked"] > 0.9, codes
PY
        omendb verify -q c.omz
        omendb compress -q -d -f -o back.fvecs c.omz
        omendb build -q -o b.omen c.omz
        omendb build -q -o f.omen back.fvecs
        cmp b.omen f.omen
    done
    # f16 keeps bytes exactly
    omendb compress -q -f --codec f16 -o c.omz v.idx
    omendb build -q -o f.omen c.omz
    omendb build -q -o exact.omen v.idx
    cmp exact.omen f.omen
    fails_with 2 "codes without lists" omendb query c.omz v.idx
    fails_with 2 "output-format" omendb compress -d -o back.idx c.omz
    omendb compress -q -d -F npy -o rows.npy c.omz
    omendb build -q -o n.omen rows.npy
    cmp n.omen f.omen
}

@test "codes: the same bytes for any number of threads; few rows, equal rows, one dimension" {
    vectors make v.fvecs -n 3000 -d 40 --kind gauss
    for codec in $(some 2 rabitq f16 pq sq8); do
        omendb compress -q -f --codec $codec -t 1 -o one.omz v.fvecs
        omendb compress -q -f --codec $codec -t 3 -o three.omz v.fvecs
        cmp one.omz three.omz
    done
    for options in "-n 1 -d 1" "-n 1 -d 30" "-n 3 -d 1" "-n 40 -d 3 --kind equal" "-n 19 -d 300 --kind gauss"; do
        vectors make v.fvecs $options
        for codec in $(some 2 pq,-b5 f16 pq rabitq auto,-b255 rabitq,-b5 sq8); do
            expect 0 omendb compress -f --codec ${codec/,/ } -o c.omz v.fvecs
            expect 0 omendb compress -q -d -f -o w.fvecs c.omz
            same "$(stat -c %s w.fvecs)" "$(stat -c %s v.fvecs)"
            expect 0 omendb verify c.omz
        done
    done
}

@test "files: kept, never overwritten unasked, removed only after a check, mode and time copied" {
    vectors make v.fvecs -n 300 -d 5
    chmod 640 v.fvecs
    touch -d "2001-02-03 04:05:06" v.fvecs
    omendb compress -q v.fvecs
    same "$(stat -c '%a %Y' v.fvecs.omz)" "$(stat -c '%a %Y' v.fvecs)"
    fails_with 2 "exists" omendb compress v.fvecs
    cp v.fvecs kept
    omendb compress -q -f --rm v.fvecs
    [ ! -e v.fvecs ]
    omendb compress -q -d --rm v.fvecs.omz
    [ ! -e v.fvecs.omz ]
    cmp v.fvecs kept
    fails_with 2 "does not end in .omz" omendb compress -d v.fvecs
    fails_with 2 "overwrite the input" omendb compress -f -o v.fvecs v.fvecs
    fails_with 2 "--rm needs" omendb compress --rm -c v.fvecs
    fails_with 2 "level" omendb compress -20 v.fvecs
    fails_with 4 "cannot open" omendb compress -d none.omz
    echo hello >junk.npy
    fails_with 2 "junk.npy" omendb compress junk.npy
    [ ! -e junk.npy.omz ]
}

@test "no output has another format than its name says" {
    vectors make v.fvecs -n 300 -d 8
    omendb build -q -o i.omen v.fvecs
    for name in x.npy x.fvecs x.omen x.tsv; do
        fails_with 2 "would hold a compressed file" omendb compress -o $name v.fvecs
        fails_with 2 "would hold a compressed file" omendb compress -b 8 -o $name v.fvecs
    done
    omendb compress -q v.fvecs
    omendb compress -q i.omen
    omendb compress -q --codec sq8 -o codes.omz v.fvecs
    rm v.fvecs i.omen
    fails_with 2 "without loss nothing is converted" omendb compress -d -o x.npy v.fvecs.omz
    fails_with 2 "named like another format" omendb compress -d -o x.omen v.fvecs.omz
    fails_with 2 "named like another format" omendb compress -d -o x.fvecs i.omen.omz
    fails_with 2 "--output-format is for codes" omendb compress -d -F npy -o x.npy v.fvecs.omz
    fails_with 2 "--output-format is for codes" omendb compress -d -F npy -c v.fvecs.omz
    fails_with 2 "does not say how to write the rows" omendb compress -d -o x.tsv codes.omz
    fails_with 2 "does not say how to write the rows" omendb compress -d codes.omz
    only codes.omz i.omen.omz v.fvecs.omz
    # names that say nothing, or the right thing
    expect 0 omendb compress -d -q -o x.fvecs v.fvecs.omz
    expect 0 omendb compress -d -q -o y v.fvecs.omz
    cmp x.fvecs y
    for name in rows.npy rows.fbin rows.raw; do
        expect 0 omendb compress -d -q -o $name codes.omz
    done
    [ "$(head -c 6 rows.npy | tail -c 5)" = NUMPY ]
    [ "$(wc -c <rows.raw)" -eq 9600 ]
    # -F goes before the name
    expect 0 omendb compress -d -q -F raw -o x.npy codes.omz
    cmp x.npy rows.raw
}

@test "a terminal gets no binary" {
    vectors make v.fvecs -n 9 -d 3
    run script -qec '"$OMENDB" compress -o - v.fvecs' /dev/null </dev/null
    has "$output" "standard output is a terminal"
}

@test "every byte flipped and every cut is found" {
    vectors make v.fvecs -n 40 -d 9 --kind gauss
    omendb compress -q v.fvecs
    mkdir copies
    expect 0 python3 "$tests_dir/cli/damage.py" flip v.fvecs.omz copies
    rm copies/*
    expect 0 python3 "$tests_dir/cli/damage.py" cut v.fvecs.omz copies
    rm copies/*
    omendb compress -q --codec sq8 -o c.omz v.fvecs
    expect 0 python3 "$tests_dir/cli/damage.py" flip c.omz copies
}

@test "blocks and tables that contradict themselves under good checksums: exit 3, nothing allocated" {
    vectors make v.fvecs -n 30000 -d 20
    omendb compress -q v.fvecs
    omendb compress -q -b 4 -o c.omz v.fvecs
    lies=${OMEN_TEST_QUICK:+8}
    python3 "$tests_dir/cli/hostile.py" packed v.fvecs.omz ${lies:-80}
    python3 "$tests_dir/cli/hostile.py" packed c.omz ${lies:-80}
    omendb compress -q --codec sq8 -f -o c.omz v.fvecs
    python3 "$tests_dir/cli/hostile.py" packed c.omz ${lies:-25}
    python3 "$tests_dir/cli/hostile.py" bomb v.fvecs.omz
}

@test "small files that claim much are refused before what they claim is taken" {
    vectors make v.fvecs -n 10 -d 4
    python3 "$tests_dir/cli/hostile.py" bombs v.fvecs
}

@test "interrupted: nothing is left" {
    mkfifo pipe
    "$OMENDB" compress --format fvecs -o v.omz - <pipe 2>error &
    process=$!
    exec 7>pipe
    printf 'x' >&7
    sleep 0.3
    kill -TERM $process
    code=0
    wait $process || code=$?
    exec 7>&-
    same "$code" 143
    has "$(cat error)" "interrupted"
    [ ! -e v.omz ]
}
