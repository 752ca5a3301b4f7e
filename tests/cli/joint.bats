# SPDX-License-Identifier: Apache-2.0
# Several indexes searched as one.
load helper

# 3,000 made-up rows in one index and in three parts of different size, and queries.
parts()
{
    python3 - <<'END'
import random
random.seed(5)
d = 24
centres = [[random.gauss(0, 40) for _ in range(d)] for _ in range(60)]
def row():
    c = random.choice(centres)
    return [max(0, min(255, int(128 + x + random.gauss(0, 12)))) for x in c]
def put(path, rows):
    with open(path, "wb") as out:
        for r in rows:
            out.write(d.to_bytes(4, "little") + bytes(r))
rows = [row() for _ in range(3000)]
put("all.bvecs", rows)
put("a.bvecs", rows[:1700])
put("b.bvecs", rows[1700:2900])
put("c.bvecs", rows[2900:])
put("q.bvecs", [row() for _ in range(200)])
END
    for part in all a b c; do
        omendb build -q "$@" $part.bvecs
    done
}

# Rows on a line, two in the one and three in the other, so that every answer is known.
lines()
{
    vectors make a.fvecs --text "0,0;10,0"
    vectors make b.fvecs --text "3,0;30,0;3,0"
    vectors make q.fvecs --text "1,0;9,0"
    omendb build -q "$@" a.fvecs
    omendb build -q "$@" b.fvecs
}

# recall FOUND EXACT: the share of the rows of EXACT that FOUND has, both tsv.
recall()
{
    awk 'NR == FNR { is[$1, $3]; n++; next } ($1, $3) in is { found++ } END { printf "%.4f\n", found / n }' "$2" "$1"
}

@test "several indexes: rows are numbered through, nearest first, ties by lower number" {
    lines
    expect 0 omendb query -k 3 --distances a.omen b.omen q.fvecs
    same "$output" "0 1 0 1
0 2 2 4
0 3 4 4
1 1 1 1
1 2 2 36
1 3 4 36"
    same "$stderr" ""
    # all there are
    expect 0 omendb query -k 100 -F jsonl b.omen a.omen q.fvecs
    same "$output" '{"query":0,"rows":[3,0,2,4,1]}
{"query":1,"rows":[4,0,2,3,1]}'
    # what is no index is the queries; without them, standard input
    expect 0 omendb query -k 1 a.omen b.omen <q.fvecs
    same "$output" "0 1 0
1 1 1"
    expect 0 omendb query -k 1 -f raw a.omen b.omen - < <(tail -c 8 q.fvecs)
    same "$output" "0 1 1"
    # a pipe is looked at by who reads it, and by nobody else
    mkfifo pipe
    cat q.fvecs >pipe &
    expect 0 timeout 20 "$OMENDB" query -k 1 -f fvecs a.omen b.omen pipe
    same "$output" "0 1 0
1 1 1"
    # a compressed index is one, too
    omendb compress -q b.omen
    expect 0 omendb query -k 1 a.omen b.omen.omz <q.fvecs
    same "$output" "0 1 0
1 1 1"
}

@test "several indexes: exact search is that of one index over all rows, in every format" {
    parts
    for format in tsv jsonl ivecs npy; do
        omendb query -q --exact --distances -F tsv -o /dev/null all.omen q.bvecs
        omendb query -q --exact -F $format -o one.$format all.omen q.bvecs
        omendb query -q --exact -F $format -o joint.$format a.omen b.omen c.omen q.bvecs
        cmp one.$format joint.$format
    done
    omendb query -q --exact --distances -F npy -o one.npy all.omen q.bvecs
    omendb query -q --exact --distances -F npy -o joint.npy a.omen b.omen c.omen q.bvecs
    cmp one.npy joint.npy
    # so is the search for all rows within a distance, by whatever way; it is exact where all lists are taken
    omendb query -q --exact --within 9000 --distances -o one.tsv all.omen q.bvecs
    omendb query -q --exact --within 9000 --distances -o joint.tsv a.omen b.omen c.omen q.bvecs
    cmp one.tsv joint.tsv
    [ -s one.tsv ]
    omendb query -q --recall 1 --within 9000 --distances -o joint.tsv a.omen b.omen c.omen q.bvecs
    cmp one.tsv joint.tsv
    omendb query -q --exact --within 9000 --limit 3 -F jsonl -o one.jsonl all.omen q.bvecs
    omendb query -q --exact --within 9000 --limit 3 -F jsonl -o joint.jsonl a.omen b.omen c.omen q.bvecs
    cmp one.jsonl joint.jsonl
}

@test "several indexes: the recall that was asked for is found, with every metric and codec" {
    plain_only
    for options in "-m l2" "-m cosine --codec rabitq" "-m ip --codec pq" "-m l2 --codec none --refine f32"; do
        # shellcheck disable=SC2086
        parts $options
        omendb query -q --exact -o exact.tsv a.omen b.omen c.omen q.bvecs
        omendb query -q -o found.tsv a.omen b.omen c.omen q.bvecs
        at_least 0.94 "$(recall found.tsv exact.tsv)"
        omendb query -q --recall 0.99 -o found.tsv a.omen b.omen c.omen q.bvecs
        at_least 0.98 "$(recall found.tsv exact.tsv)"
    done
    # of codes that differ, too
    omendb build -q --codec pq --bytes 8 --refine f32 -o b.omen b.bvecs
    omendb build -q --codec rabitq --refine f32 -o a.omen a.bvecs
    omendb build -q --codec none --refine f32 -o c.omen c.bvecs
    omendb query -q --exact -o exact.tsv a.omen b.omen c.omen q.bvecs
    omendb query -q -o found.tsv a.omen b.omen c.omen q.bvecs
    at_least 0.94 "$(recall found.tsv exact.tsv)"
    # an index that has nothing near, and one that nothing was measured for
    vectors make far.fvecs --text "$(seq -s ';' 1 9 | sed "s/[0-9]/9999&$(printf ',0%.0s' $(seq 23))/g")"
    omendb build -q --refine f32 -o far.omen far.fvecs
    omendb query -q -o with.tsv a.omen b.omen c.omen far.omen q.bvecs
    at_least 0.94 "$(recall with.tsv exact.tsv)"
}

@test "several indexes: more rows may be wanted than any of them has" {
    plain_only
    parts
    indexes=()
    for i in $(seq 0 9); do
        tail -c +$((i * 2800 + 1)) all.bvecs | head -c 2800 >part.bvecs
        omendb build -q --bytes 16 -o "$i.omen" part.bvecs
        indexes+=("$i.omen")
    done
    omendb query -q -k 100 --exact -o exact.tsv "${indexes[@]}" q.bvecs
    omendb query -q -k 100 -o found.tsv "${indexes[@]}" q.bvecs
    at_least 0.93 "$(recall found.tsv exact.tsv)"
}

@test "several indexes: answers do not depend on threads, batches or --cpu" {
    plain_only
    parts
    omendb query -q -t 1 --distances -o one.tsv a.omen b.omen c.omen q.bvecs
    omendb query -q -t 3 --distances -o three.tsv a.omen b.omen c.omen q.bvecs
    cmp one.tsv three.tsv
    omendb query -q --cpu scalar --distances -o scalar.tsv a.omen b.omen c.omen q.bvecs
    cmp one.tsv scalar.tsv
    # query by query
    for i in 0 7 199; do
        tail -c +$((i * 28 + 1)) q.bvecs | head -c 28 >q1.bvecs
        omendb query -q --distances a.omen b.omen c.omen q1.bvecs | cut -f 2- >alone.tsv
        awk -F '\t' -v i=$i '$1 == i' one.tsv | cut -f 2- | cmp - alone.tsv
    done
    # in another order only the numbers are others
    omendb query -q --distances -o turned.tsv c.omen a.omen b.omen q.bvecs
    cut -f 1,2,4 one.tsv >one.cut
    cut -f 1,2,4 turned.tsv | cmp one.cut -
}

@test "several indexes: keys are written, and must not clash" {
    plain_only
    printf 'x\ny\n' >a.txt
    printf 'p\nq\nr\n' >b.txt
    lines
    omendb build -q --key a.txt -o a.omen a.fvecs
    expect 0 omendb query -k 1 --rows a.omen b.omen q.fvecs
    same "$output" "0 1 0
1 1 1"
    fails_with 2 '"a.omen" has keys, and "b.omen" has none: use --rows' \
        omendb query a.omen b.omen q.fvecs
    omendb build -q --key b.txt -o b.omen b.fvecs
    expect 0 omendb query -k 3 a.omen b.omen q.fvecs
    same "$output" "0 1 x
0 2 p
0 3 r
1 1 y
1 2 p
1 3 r"
    omendb query -k 3 -o found.npy a.omen b.omen q.fvecs
    has "$(head -n 1 found.npy | tail -c +11)" "'|S1'"
    printf 'p\ny\nr\n' >b.txt
    omendb build -q --key b.txt -o b.omen b.fvecs
    fails_with 2 'key "y" stands in two indexes: row 1 of "a.omen" and row 1 of "b.omen"' \
        omendb query a.omen b.omen q.fvecs
    expect 0 omendb query -k 3 --label a.omen b.omen q.fvecs
    same "$(head -n 3 <<<"$output")" "0 1 a:x
0 2 b:p
0 3 b:r"
    python3 - <<'END'
head = "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }".ljust(117) + "\n"
with open("b.npy", "wb") as out:
    out.write(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode())
    for key in (7, -1, 5):
        out.write(key.to_bytes(8, "little", signed=True))
END
    omendb build -q --key b.npy -o b.omen b.fvecs
    fails_with 2 'the keys of "a.omen" are text, and those of "b.omen" int64; use --rows' \
        omendb query a.omen b.omen q.fvecs
    cp b.omen a.omen
    fails_with 2 'key "-1" stands in two indexes: row 1 of "a.omen" and row 1 of "b.omen"' \
        omendb query a.omen b.omen q.fvecs
    # many keys, interleaved, of which the last clashes
    seq 0 2 3398 >a.txt
    seq 1 2 2399 >b.txt
    seq 10000 10099 >c.txt
    parts
    for part in a b c; do omendb attach -q --key $part.txt -o $part.keys.omen $part.omen; done
    omendb query -q -k 1 -o found.tsv a.keys.omen b.keys.omen c.keys.omen q.bvecs
    { seq 1 2 2397 && echo 3398; } >b.txt
    rm b.keys.omen
    omendb attach -q --key b.txt -o b.keys.omen b.omen
    fails_with 2 'stands in two indexes: row 1699 of "a.keys.omen" and row 1199 of "b.keys.omen"' \
        omendb query a.keys.omen b.keys.omen c.keys.omen q.bvecs
}

@test "several indexes: labels tell rows apart" {
    lines
    expect 0 omendb query -k 2 --label a.omen b.omen q.fvecs
    same "$output" "0 1 a:0
0 2 b:0
1 1 a:1
1 2 b:0"
    expect 0 omendb query -k 2 --label --header a.omen b.omen q.fvecs
    same "$(head -n 2 <<<"$output")" "query rank row
0 1 a:0"
    expect 0 omendb query -k 2 --label --distances -F jsonl a.omen b.omen q.fvecs
    same "$(head -n 1 <<<"$output")" '{"query":0,"rows":["a:0","b:0"],"distances":[1,4]}'
    printf 'a.omen\tone "x"\nb.omen\n' >list
    expect 0 omendb query -k 2 --label -F jsonl --index-list list q.fvecs
    same "$(head -n 1 <<<"$output")" '{"query":0,"rows":["one \"x\":0","b:0"]}'
    expect 0 omendb query -k 2 --label -F csv --index-list list q.fvecs
    same "$(head -n 2 <<<"$output")" '0,1,"one ""x"":0"
0,2,b:0'
    fails_with 2 '--row-offset' omendb query --label --row-offset 5 a.omen b.omen q.fvecs
    expect 0 omendb query -k 1 --row-offset 5 a.omen b.omen q.fvecs
    same "$output" "0 1 5
1 1 6"
    mkdir other
    cp a.omen other/
    fails_with 2 'two indexes have the label "a"' omendb query --label a.omen other/a.omen q.fvecs
    while read -r label part; do
        printf "\na.omen\n\nb.omen\t$label\n" >list
        fails_with 2 '"list", line 4: the label behind the tab cannot be written' \
            omendb query --label --index-list list q.fvecs
        has "$stderr" "$part"
        expect 0 omendb query --index-list list q.fvecs
    done <<'END'
\r is empty
one\ttwo byte 4 of a key, 0x09
one\001 byte 4 of a key, 0x01
END
    fails_with 2 'standard input, line 4: the label' omendb query --label --index-list - q.fvecs <list
    cp a.omen $'c\001.omen'
    fails_with 2 'has no label that can be written: give one behind a tab' \
        omendb query --label b.omen $'c\001.omen' q.fvecs
    fails_with 2 'holds no labels' omendb query --label -F ivecs a.omen b.omen q.fvecs
    fails_with 2 'holds no labels' omendb query --label -o x.npy a.omen b.omen q.fvecs
}

@test "several indexes of one model: searched as one index would be, whatever their order" {
    parts
    omendb train -q -o m.model all.bvecs
    for part in a b c; do omendb build -q --model m.model -o m$part.omen $part.bvecs; done
    omendb query -q --exact -o exact.tsv all.omen q.bvecs
    omendb query -q -o found.tsv ma.omen mb.omen mc.omen q.bvecs
    at_least 0.94 "$(recall found.tsv exact.tsv)"
    omendb query -q --recall 1 -o found.tsv ma.omen mb.omen mc.omen q.bvecs
    cmp found.tsv exact.tsv
    omendb query -q -t 2 --batch 7 --label --distances -o found.tsv ma.omen mb.omen mc.omen q.bvecs
    omendb query -q --cpu scalar --label --distances -o other.tsv mb.omen mc.omen ma.omen q.bvecs
    cmp <(cut -f 1,2,4 found.tsv) <(cut -f 1,2,4 other.tsv) # rows at equal distances change places
    # besides an index of its own model
    omendb query -q -o found.tsv ma.omen b.omen mc.omen q.bvecs
    at_least 0.94 "$(recall found.tsv exact.tsv)"
}

@test "--index-list: a path a line, from a file or standard input" {
    lines
    printf 'a.omen\r\n\nb.omen' >list
    expect 0 omendb query -k 1 --index-list list q.fvecs
    same "$output" "0 1 0
1 1 1"
    expect 0 omendb query -k 1 --index-list - q.fvecs <list
    same "$output" "0 1 0
1 1 1"
    expect 0 omendb query -k 1 --index-list list <q.fvecs
    same "$output" "0 1 0
1 1 1"
    fails_with 2 'standard input can be read once' omendb query --index-list - <list
    fails_with 2 '"b.omen" is one too many' omendb query --index-list list a.omen b.omen
    fails_with 4 'cannot open "none"' omendb query --index-list none q.fvecs
    fails_with 2 'names no index' omendb query --index-list /dev/null q.fvecs
    printf '\tlabel\n' >list
    fails_with 2 'line 1: a label without a path' omendb query --index-list list q.fvecs
    printf 'a\0.omen\n' >list
    fails_with 2 'line 1' omendb query --index-list list q.fvecs
    printf 'a.omen\nnone.omen\n' >list
    fails_with 4 'cannot open "none.omen"' omendb query --index-list list q.fvecs
    printf 'a.omen\nb.omen\n' >list
    fails_with 2 'would overwrite' omendb query --index-list list -o b.omen -F tsv q.fvecs
    fails_with 2 'would overwrite' omendb query --index-list list -o list -F tsv q.fvecs
}

@test "several indexes: what does not go together is named" {
    lines
    omendb build -q -m cosine --zero-ok -o cos.omen a.fvecs
    fails_with 2 '"a.omen" is an index of metric l2, and "cos.omen" of cosine' omendb query a.omen cos.omen q.fvecs
    vectors make three.fvecs --text "1,2,3"
    omendb build -q three.fvecs
    fails_with 2 '"a.omen" has 2 dimensions, and "three.omen" has 3' omendb query a.omen three.omen q.fvecs
    fails_with 2 'queries have 3 dimensions, the index has 2' omendb query a.omen b.omen three.fvecs
    printf 'a.omen\nb.omen\n' >list
    echo 0 >rows
    for option in --self "--by-row rows" "--by-key rows"; do
        # shellcheck disable=SC2086
        fails_with 2 "${option%% *} is of one index, and there are 2" omendb query $option --index-list list
    done
    for option in "--only rows" "--except rows" "--explain --where true"; do
        # shellcheck disable=SC2086
        fails_with 2 "${option%% *} is of one index, and there are 2" omendb query $option a.omen b.omen q.fvecs
    done
    fails_with 2 'standard input can be read once' omendb query --where-file - a.omen b.omen q.fvecs
    fails_with 2 '--way graph' omendb query --way graph a.omen b.omen q.fvecs
    # a damaged index is found to be one, and named
    cp b.omen bad.omen
    printf 'x' | dd of=bad.omen bs=1 seek=9 conv=notrunc status=none
    fails_with 3 '"bad.omen" is damaged' omendb query a.omen bad.omen
    parts
    size=$(stat -c %s b.omen)
    omendb query -q --probes 100000 --rerank 3000 -o sound.tsv a.omen b.omen q.bvecs
    damaged=0
    for part in 1 2 3 4 5 6 7 8 9; do
        cp b.omen bad.omen
        printf '\377\377\377\377' | dd of=bad.omen bs=1 seek=$((size * part / 10)) conv=notrunc status=none
        if ! cmp -s b.omen bad.omen; then
            # what lies between two sections is read by verify alone
            if omendb verify -q bad.omen 2>&1 | grep -q 'padding is not zero'; then
                omendb query -q --probes 100000 --rerank 3000 -o x.tsv a.omen bad.omen q.bvecs
                cmp sound.tsv x.tsv
            else
                damaged=$((damaged + 1))
                fails_with 3 '"bad.omen" is damaged' \
                    omendb query -q --probes 100000 --rerank 3000 -o x.tsv a.omen bad.omen q.bvecs
            fi
        fi
    done
    [ $damaged -ge 5 ]
    truncate -s $((size - 1)) bad.omen
    fails_with 3 '"bad.omen"' omendb query a.omen bad.omen q.bvecs
}

@test "several indexes: filters, audits and efforts" {
    plain_only
    parts
    { echo n; seq 0 1699; } >a.tsv
    { echo n; seq 1700 2899; } >b.tsv
    { echo n; seq 2900 2999; } >c.tsv
    { echo n; seq 0 2999; } >all.tsv
    for part in all a b c; do
        omendb attach -q --columns $part.tsv -o with.omen $part.omen
        mv with.omen $part.omen
    done
    omendb query -q --exact --where 'n > 2500' -o one.tsv all.omen q.bvecs
    omendb query -q --exact --where 'n > 2500' -o joint.tsv a.omen b.omen c.omen q.bvecs
    cmp one.tsv joint.tsv
    omendb query -q --where 'n > 2500' -o joint.tsv a.omen b.omen c.omen q.bvecs
    at_least 0.94 "$(recall joint.tsv one.tsv)"
    # one of them has no match, and fewer match than are wanted
    omendb query -q --exact --where 'n > 1690 AND n < 1705' -F jsonl -k 20 -o one.jsonl all.omen q.bvecs
    omendb query -q --where 'n > 1690 AND n < 1705' -F jsonl -k 20 -o joint.jsonl a.omen b.omen c.omen q.bvecs
    cmp one.jsonl joint.jsonl
    # a condition for each query
    for i in $(seq 0 199); do echo "n > $((i * 10))"; done >conditions
    omendb query -q --exact --where-file conditions -o one.tsv all.omen q.bvecs
    omendb query -q --exact --where-file conditions -o joint.tsv a.omen b.omen c.omen q.bvecs
    cmp one.tsv joint.tsv
    # which way a filter went is told of one index
    sed 'n; s/.*//' conditions >half
    expect 0 omendb query -v --where-file half -o joint.tsv all.omen q.bvecs
    has "$stderr" 'queries compare all rows'
    expect 0 omendb query -v --where-file half -o joint.tsv a.omen b.omen q.bvecs
    [[ $stderr != *'queries compare all rows'* ]]
    omendb build -q c.bvecs
    fails_with 2 '"c.omen": ' omendb query --where 'n > 2500' a.omen b.omen c.omen q.bvecs
    expect 0 omendb query --audit 50 -o x.tsv a.omen b.omen c.omen q.bvecs
    has "$stderr" 'recall@10'
    expect 0 omendb query --certify --audit 50 -o x.tsv a.omen b.omen c.omen q.bvecs
    has "$stderr" 'is certified'
    # the least of their refine tiers is told
    omendb build -q --refine f32 -o f32.omen b.bvecs
    vectors make halves.fvecs --text "0.1$(printf ',0.3%.0s' $(seq 23));0.7$(printf ',0.2%.0s' $(seq 23))"
    omendb build -q --refine sq8 -o sq8.omen halves.fvecs
    expect 0 omendb query --exact -o x.tsv f32.omen sq8.omen q.bvecs
    has "$stderr" 'the rows of refine sq8, which are rounded'
    omendb query -q --exact -o exact.tsv a.omen b.omen c.omen q.bvecs
    omendb query -q --probes 100000 --rerank 3000 -o x.tsv a.omen b.omen c.omen q.bvecs
    cmp exact.tsv x.tsv
    expect 0 omendb query -v -o x.tsv a.omen b.omen c.omen q.bvecs
    has "$stderr" 'index 3,000 x 24 l2'
    has "$stderr" 'several indexes go through them'
}

@test "several indexes: more than there may be files open is told" {
    lines
    for i in $(seq 300); do echo a.omen; done >list
    expect 0 omendb query -k 1 --index-list list q.fvecs
    same "$output" "0 1 0
1 1 1"
    fails_with 4 'Too many open files' bash -c 'ulimit -n 64; exec "$OMENDB" query -k 1 --index-list list q.fvecs'
}
