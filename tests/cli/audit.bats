# SPDX-License-Identifier: Apache-2.0
# The recall that query tells: --audit, --certify, and what an index cannot reach.
load helper

setup_file()
{
    cd "$BATS_FILE_TMPDIR" || return
    vectors make base.npy -n 3000 -d 12 --kind gauss
    vectors make q.fvecs -n 600 -d 12 --kind gauss --seed 2
    omendb build -q -r f32 -o base.omen base.npy
    omendb query --exact -o exact.tsv base.omen q.fvecs
}

here()
{
    cp "$BATS_FILE_TMPDIR"/* .
}

# told TEXT: "recall low high sample queries" of the line that --audit prints.
told()
{
    local n='([0-9.,]+)'

    sed -nE "s/^recall@10 $n \\($n to $n at 95%, $n of $n queries\\)\$/\\1 \\2 \\3 \\4 \\5/p" <<<"$1"
}

@test "--audit tells the recall and leaves the results as they are" {
    here
    omendb query --probes 3 --rerank 12 -o want.tsv base.omen q.fvecs
    truth=$(recall exact.tsv want.tsv)
    expect 0 omendb query --probes 3 --rerank 12 --audit 1000000 -o found.tsv base.omen q.fvecs
    cmp found.tsv want.tsv
    same "$output" ""
    read -r mean low high sample of <<<"$(told "$stderr")"
    same "$sample of $of" "600 of 600"
    same "$low $high" "$mean $mean"
    awk -v a="$mean" -v b="$truth" 'BEGIN { exit !(a - b <= 0.00051 && b - a <= 0.00051 && b > 0.3 && b < 0.97) }'
    # of a part: the interval holds the truth for most seeds, and is told on standard error alone
    inside=0
    for seed in 1 2 3 4 5 6 7 8 9 10 11 12; do
        expect 0 omendb query --probes 3 --rerank 12 --audit 100 --seed $seed base.omen q.fvecs
        same "${#stderr_lines[@]}" 1
        read -r mean low high sample of <<<"$(told "$stderr")"
        same "$sample of $of" "100 of 600"
        inside=$((inside + $(awk -v low="$low" -v high="$high" -v b="$truth" 'BEGIN { print low <= b && b <= high }')))
    done
    [ $inside -ge 10 ] || fault "$inside of 12 intervals hold $truth"
}

@test "--audit says the same for any threads, SIMD level and way of input" {
    here
    expect 0 omendb query --audit 50 -t 1 -o found.tsv base.omen q.fvecs
    line=$stderr
    [ -n "$(told "$line")" ]
    expect 0 omendb query --audit 50 -q -t 3 -F npy --distances -o found.npy base.omen q.fvecs
    same "$stderr" "$line"
    expect 0 omendb query --audit 50 --cpu scalar -q -f fvecs -o found.tsv base.omen - <q.fvecs
    same "$stderr" "$line"
    expect 0 omendb query --audit 50 --seed 0 -o found.tsv base.omen q.fvecs # the index's
    same "$stderr" "$line"
    expect 0 omendb query --audit 50 --json -o found.tsv base.omen q.fvecs
    same "$(member "$stderr" audit.sample) $(member "$stderr" audit.queries)" "50 600"
    read -r mean low high _ <<<"$(told "$line")"
    for name in recall low high; do
        value=$(member "$stderr" audit.$name)
        shown=$(case $name in recall) echo "$mean" ;; low) echo "$low" ;; high) echo "$high" ;; esac)
        awk -v a="$value" -v b="$shown" 'BEGIN { exit !(a - b < 0.001 && b - a < 0.001) }'
    done
    same "$(member "$stderr" certified) $(member "$stderr" effort_factor)" "null 1.0"
    expect 0 omendb query --json -o found.tsv base.omen q.fvecs
    same "$(member "$stderr" audit)" null
}

@test "--audit takes queries of every batch" {
    python3 -c '
import random, struct
g = random.Random(1)
for name, n in ("base.fvecs", 500), ("q.fvecs", 17000):
    open(name, "wb").write(b"".join(struct.pack("<i2f", 2, g.gauss(0, 1), g.gauss(0, 1)) for i in range(n)))'
    omendb build -q -r f32 base.fvecs
    omendb query --exact -o exact.tsv base.omen q.fvecs
    expect 0 omendb query --probes 1 --audit 20000 -o found.tsv base.omen q.fvecs
    read -r mean _ _ sample _ <<<"$(told "$stderr")"
    same "$sample" 17,000
    awk -v a="$mean" -v b="$(recall exact.tsv found.tsv)" 'BEGIN { exit !(a - b <= 0.00051 && b - a <= 0.00051) }'
}

@test "--certify finds the effort, and its factor repeats it on any part" {
    here
    # queries half as long as those that the rows are: the build's effort does not do
    python3 -c '
import struct
data = open("q.fvecs", "rb").read()
for name, part in ("short.fvecs", range(600)), ("first.fvecs", range(200)), ("rest.fvecs", range(200, 600)):
    with open(name, "wb") as out:
        for i in part:
            row = struct.unpack_from("<i12f", data, 52 * i)
            out.write(struct.pack("<i12f", 12, *(x / 4 for x in row[1:])))'
    omendb query --exact -o exact.tsv base.omen short.fvecs
    for asked in 0.9 0.97; do
        expect 0 omendb query --certify --audit 200 --recall $asked -o found.tsv base.omen short.fvecs
        at_least $asked "$(recall exact.tsv found.tsv)"
        read -r _ low _ <<<"$(told "$stderr")"
        at_least $asked "$low"
        has "$stderr" "recall@10 of at least $asked is certified; --recall $asked --effort-factor"
        factor=$(sed -n 's/.*--effort-factor \([0-9.]*\) repeats it/\1/p' <<<"$stderr")
        omendb query --recall $asked --effort-factor $factor base.omen first.fvecs >parts.tsv
        omendb query --recall $asked --effort-factor $factor base.omen rest.fvecs |
            awk '{ $1 += 200; print }' OFS='\t' >>parts.tsv
        cmp parts.tsv found.tsv
    done
    expect 0 omendb query --certify --audit 200 --recall 0.97 --json -t 1 -o again.tsv base.omen short.fvecs
    cmp again.tsv found.tsv
    same "$(member "$stderr" certified)" true
    awk -v a="$factor" -v b="$(member "$stderr" effort_factor)" 'BEGIN { exit a != b }'
}

@test "--certify searches few queries, and what no factor does, exactly" {
    here
    expect 0 omendb query --certify --audit 300 -o found.tsv base.omen q.fvecs
    cmp found.tsv exact.tsv
    has "$stderr" "recall@10 of at least 0.95 is certified: every row was compared; --exact repeats it"
    # 50 queries prove no such recall
    expect 0 omendb query --certify --audit 50 --recall 0.9999 --json -o found.tsv base.omen q.fvecs
    cmp found.tsv exact.tsv
    same "$(member "$stderr" exact) $(member "$stderr" certified) $(member "$stderr" audit.low)" "true true 1.0"
}

@test "--certify exits 1 with results and bound where the recall cannot be reached or measured" {
    here
    omendb build -q -o rounded.omen base.npy
    for sample in 100 600; do
        expect 1 omendb query --certify --audit $sample --recall 1 -o found.tsv rounded.omen q.fvecs
        has "$stderr" "recall@10 of at least 1 is not certified: its bound is 0.9"
        same "$(wc -l <found.tsv)" 6000
    done
    expect 1 omendb query --certify --recall 1 --json -o found.tsv rounded.omen q.fvecs
    same "$(member "$stderr" certified)" false
    omendb build -q -r none -b 4 -o none.omen base.npy
    omendb query -o want.tsv none.omen q.fvecs
    expect 1 omendb query --certify -q -o found.tsv none.omen q.fvecs
    has "$stderr" "recall@10 of at least 0.95 is not certified: without a refine tier nothing measures it"
    cmp found.tsv want.tsv
}

@test "a recall out of reach is told by build and query" {
    here
    expect 0 omendb build -r none -b 4 -o none.omen base.npy
    has "$stderr" "omendb build: warning: recall@10 of 0.95 is out of reach: the build measured 0."
    has "$stderr" "an index with a refine tier finds more"
    expect 0 omendb build --json -r none -b 4 -o none.omen base.npy
    most=$(member "$output" recall_most)
    expect 0 omendb query -o found.tsv none.omen q.fvecs
    has "$stderr" "omendb query: warning: recall@10 of 0.95 is out of reach: the build measured 0."
    # and what was measured is so
    at_least "$(awk -v most="$most" 'BEGIN { print most - 0.05 }')" "$(recall exact.tsv found.tsv)"
    for options in "-q" "--recall 0.01" "--probes 1" "--rerank 20"; do
        expect 0 omendb query $options -o found.tsv none.omen q.fvecs
        same "$stderr" ""
    done
    expect 0 omendb query --json -o found.tsv none.omen q.fvecs
    has "$(member "$stderr" note)" "out of reach"
    # a complete table says nothing of more than it holds where rows are rounded, and all where they are not
    omendb build -q -o rounded.omen base.npy
    expect 0 omendb query --recall 1 -o found.tsv rounded.omen q.fvecs
    has "$stderr" "omendb query: warning: recall@10 of 1 is out of reach: the build measured 0.9"
    expect 0 omendb query --recall 1 -o found.tsv base.omen q.fvecs
    same "$stderr" ""
    expect 0 omendb build --json -r f32 -o full.omen base.npy
    same "$(member "$output" recall_most)" null
}

@test "--exact says what it is exact over, unless rows are whole" {
    here
    omendb build -q -o rounded.omen base.npy
    expect 0 omendb query --exact -o found.tsv rounded.omen q.fvecs
    has "$stderr" "omendb query: --exact is exact over the rows of refine sq12, which are rounded"
    expect 0 omendb query --exact -q -o found.tsv rounded.omen q.fvecs
    same "$stderr" ""
    expect 0 omendb query --exact -o found.tsv base.omen q.fvecs
    same "$stderr" ""
    vectors make whole.npy -n 300 -d 12
    omendb build -q whole.npy
    expect 0 omendb query --exact -o found.tsv whole.omen q.fvecs
    same "$stderr" ""
}

@test "options that contradict each other, and queries at fault, are named" {
    here
    fails_with 2 '--effort-factor has no meaning with it' omendb query --exact --effort-factor 2 base.omen q.fvecs
    fails_with 2 '--certify has no meaning with it' omendb query --exact --certify base.omen q.fvecs
    fails_with 2 '--audit has no meaning with it' omendb query --exact --audit 5 base.omen q.fvecs
    fails_with 2 '--certify finds the effort' omendb query --certify --probes 5 base.omen q.fvecs
    fails_with 2 '--certify finds the effort' omendb query --certify --effort-factor 2 base.omen q.fvecs
    fails_with 2 '--effort-factor takes a number over 0' omendb query --effort-factor 0 base.omen q.fvecs
    fails_with 2 '--effort-factor takes a number over 0' omendb query --effort-factor nan base.omen q.fvecs
    fails_with 2 '--audit must be at least 1' omendb query --audit 0 base.omen q.fvecs
    omendb build -q -r none -o none.omen base.npy
    fails_with 2 '--audit needs a refine tier' omendb query --audit 5 none.omen q.fvecs
    python3 -c '
import struct
row = struct.pack("<i12f", 12, *range(1, 13))
open("zero.fvecs", "wb").write(row * 700 + struct.pack("<i12f", 12, *[0] * 12) + row * 99)'
    omendb build -q -m cosine -o cosine.omen base.npy
    for options in --certify "--certify --audit 300" "--audit 800"; do
        fails_with 2 'query 700 of "zero.fvecs" is a zero vector' \
            omendb query $options -o found.tsv cosine.omen zero.fvecs
    done
    expect 0 omendb query --zero-ok --audit 800 -q -o found.tsv cosine.omen zero.fvecs
    [ ! -e found.npy ]
}
