# SPDX-License-Identifier: Apache-2.0
# Rows of the index as queries, all of them (--self), and all rows within a distance (--within).
load helper

# Five rows on a line, of which two are equal, so that every answer is known.
line()
{
    vectors make base.fvecs --text "0,0;3,0;10,0;30,0;3,0"
    vectors make q.fvecs --text "1,0;9,0;100,0"
    omendb build -q "$@" base.fvecs
}

# A few thousand pictures: enough lists for some not to be searched.
pictures()
{
    head -c $((16 + 4000 * 784)) "$images/train-images-idx3-ubyte" 2>/dev/null >part ||
        gzip -dc "$images/train-images-idx3-ubyte.gz" | head -c $((16 + 4000 * 784)) >part
    python3 - <<'END'
rows = open("part", "rb").read()[16:]
with open("base.bvecs", "wb") as out:
    for i in range(0, len(rows), 784):
        out.write((784).to_bytes(4, "little") + rows[i:i + 784])
END
    omendb build -q base.bvecs
    seq 0 3999 >all.txt
}

@test "--self: every row's neighbours, without itself, in the order of the rows" {
    line
    expect 0 omendb query --self -k 2 --distances base.omen
    same "$output" "0 1 1 9
0 2 4 9
1 1 4 0
1 2 0 9
2 1 1 49
2 2 4 49
3 1 2 400
3 2 1 729
4 1 1 0
4 2 0 9"
    same "$stderr" ""
    expect 0 omendb query --self -k 100 -F jsonl base.omen
    same "$(head -n 2 <<<"$output")" '{"query":0,"rows":[1,4,2,3]}
{"query":1,"rows":[4,0,2,3]}'
    omendb query --self -k 1 -o found.ivecs base.omen
    same "$(vectors show found.ivecs)" "1
4
1
2
1"
    omendb query --self -k 100 --distances -o found.npy base.omen
    has "$(head -n 1 found.npy | tail -c +11)" "'shape': (5, 4)"
    # one row has no other
    vectors make one.fvecs --text "1,2"
    omendb build -q one.fvecs
    expect 0 omendb query --self -F jsonl one.omen
    same "$output" '{"query":0,"rows":[]}'
}

@test "--self is what rows find as a file of queries" {
    plain_only
    pictures
    for way in "" "--recall 0.8" "--probes 3" "--rerank 30" "--exact" "--effort-factor 2"; do
        # shellcheck disable=SC2086 # several words
        omendb query --by-row all.txt --exclude-self -k 5 $way --distances base.omen >want.tsv
        # shellcheck disable=SC2086
        omendb query --self -k 5 $way --distances -t 3 -o got.tsv base.omen
        cmp want.tsv got.tsv
    done
    # a batch does not depend on threads, nor on the kernels
    omendb query --self --within 1e6 --cpu scalar -t 1 base.omen >one.tsv
    omendb query --self --within 1e6 -t 3 base.omen >three.tsv
    cmp one.tsv three.tsv
    expect 0 omendb query --self --audit 300 -k 5 -o got.tsv base.omen
    has "$stderr" "recall@5 "
    has "$stderr" "300 of 4,000 queries"
    expect 0 omendb query --self --certify --audit 300 --recall 0.9 -o got.tsv base.omen
    has "$stderr" "recall@10 of at least 0.9 is certified"
}

@test "--self of a part: both queries and answers pass" {
    line
    printf '0\n2\n3\n' >some.txt
    expect 0 omendb query --self --only some.txt -k 1 --distances base.omen
    same "$output" "0 1 2 100
2 1 0 100
3 1 2 400"
    printf '1\n4\n' >others.txt
    expect 0 omendb query --self --except others.txt --within 100 -F jsonl --distances base.omen
    same "$output" '{"query":0,"rows":[2],"distances":[100]}
{"query":2,"rows":[0],"distances":[100]}
{"query":3,"rows":[],"distances":[]}'
    omendb query --self --only some.txt -k 1 -o found.npy base.omen
    has "$(head -n 1 found.npy | tail -c +11)" "'shape': (3, 1)"
    expect 0 omendb query --self --only some.txt --audit 3 -k 1 -o found.npy base.omen
    has "$stderr" "recall@1 1.000"
    expect 0 omendb query --self --only some.txt -k 4 -F jsonl base.omen
    has "$stderr" "3 of 3 queries found fewer than 4 rows"
    : >none.txt
    expect 0 omendb query --self --only none.txt base.omen
    same "$output" ""
}

@test "--self names rows by their keys" {
    printf 'zero\nthree "3"\nzehn\n30\ndrei\n' >keys.txt
    line --key keys.txt
    expect 0 omendb query --self -k 1 base.omen
    same "$output" 'zero 1 three "3"
three "3" 1 drei
zehn 1 three "3"
30 1 zehn
drei 1 three "3"'
    expect 0 omendb query --self --within 9 --pairs -F jsonl --distances base.omen
    same "$output" '{"query":"zero","keys":["three \"3\"","drei"],"distances":[9,9]}
{"query":"three \"3\"","keys":["drei"],"distances":[0]}'
    expect 0 omendb query --self --rows -k 1 base.omen
    same "$(head -n 1 <<<"$output")" "0 1 1"
    fails_with 2 "ivecs cannot hold text" omendb query --self -F ivecs base.omen
}

@test "--within: all rows at most so far away, in order" {
    line
    expect 0 omendb query --within 64 --distances base.omen q.fvecs
    same "$output" "0 1 0 1
0 2 1 4
0 3 4 4
1 1 2 1
1 2 1 36
1 3 4 36"
    expect 0 omendb query --within 63.99 -F jsonl --exact base.omen q.fvecs
    same "$output" '{"query":0,"rows":[0,1,4]}
{"query":1,"rows":[2,1,4]}
{"query":2,"rows":[]}'
    expect 0 omendb query --within 64 --limit 2 base.omen q.fvecs
    same "$output" "0 1 0
0 2 1
1 1 2
1 2 1"
    same "$stderr" "omendb query: 2 of 3 queries found more than 2 rows, of which the nearest were written (--limit)"
    expect 0 omendb query --within 64 --limit 3 --json -o found.tsv base.omen q.fvecs
    same "$(member "$stderr" found)" 6
    same "$(member "$stderr" cut)" 0
    expect 0 omendb query --within -1 base.omen q.fvecs
    same "$output" ""
    expect 0 omendb query -v --within 0 --self --pairs base.omen
    same "$output" "1 1 4"
    has "$stderr" "pairs    1"
    printf '3\n' >some.txt
    expect 0 omendb query --within 1e5 --only some.txt base.omen q.fvecs
    same "$output" "0 1 3
1 1 3
2 1 3"
}

@test "--within finds what was asked for, and nothing else" {
    pictures
    for d in 5e5 1e6 2e6; do
        omendb query --by-row all.txt --within $d --exact base.omen | cut -f 1,3 | sort >want
        omendb query --by-row all.txt --within $d base.omen | cut -f 1,3 | sort >got
        [ -z "$(comm -13 want got)" ] || fault "rows that are not within $d"
        awk -v want="$(wc -l <want)" -v got="$(wc -l <got)" 'BEGIN { exit !(got >= 0.95 * want) }' ||
            fault "within $d: $(wc -l <got) of $(wc -l <want)"
        # pairs: as often as two rows find each other
        omendb query --self --within $d --exact --pairs base.omen | awk '{ print $1 "\t" $3; print $3 "\t" $1 }' |
            sort >pairs
        awk '$1 != $2' want | cmp - pairs
        omendb query --self --within $d --pairs base.omen | cut -f 1,3 | sort >pairs
        [ "$(awk '$1 >= $2' pairs)" = "" ] || fault "the lower row is not first"
        [ "$(sort pairs | uniq -d)" = "" ] || fault "a pair is there twice"
    done
}

@test "what cannot be asked for together" {
    line
    printf '0\n' >some.txt
    fails_with 2 '"q.fvecs" is one file too many' omendb query --self base.omen q.fvecs
    fails_with 2 "choose one" omendb query --self --by-row some.txt base.omen
    fails_with 2 "drop --exclude-self" omendb query --self --exclude-self base.omen
    fails_with 2 "with --self use --where" omendb query --self --where-file some.txt base.omen
    fails_with 2 "describe QUERIES" omendb query --self -f fvecs base.omen
    fails_with 2 "use --limit instead of -k" omendb query --within 1 -k 5 base.omen q.fvecs
    fails_with 2 "--rerank has no meaning" omendb query --within 1 --rerank 5 base.omen q.fvecs
    fails_with 2 "--audit measures the k nearest" omendb query --within 1 --audit 5 base.omen q.fvecs
    fails_with 2 "--limit needs --within" omendb query --limit 1 base.omen q.fvecs
    fails_with 2 "--pairs needs --within" omendb query --self --pairs base.omen
    fails_with 2 "--pairs needs --self" omendb query --within 1 --pairs base.omen q.fvecs
    fails_with 2 "with --within use --output-format tsv, jsonl or csv" omendb query --within 1 -F npy base.omen q.fvecs
    fails_with 2 "--self is not searched through the graph" omendb query --self --way graph base.omen
    fails_with 2 "--within is not searched through the graph" omendb query --within 1 --way graph base.omen q.fvecs
    for d in nan inf 1x ""; do
        fails_with 2 "--within takes a distance" omendb query --within "$d" base.omen q.fvecs
    done
    omendb build -q --refine none -o bare.omen base.fvecs
    fails_with 2 "--self needs a refine tier" omendb query --self bare.omen
}

@test "rounded rows are told" {
    vectors make base.fvecs -n 600 -d 8 --kind gauss
    omendb build -q --refine sq8 base.fvecs
    expect 0 omendb query --self -o found.npy base.omen
    same "$stderr" "omendb query: the queries are rows of refine sq8, which are rounded"
    expect 0 omendb query -q --self -o found.npy base.omen
    same "$stderr" ""
}

@test "a graph beside the lists changes nothing: rows and distances are searched for through the lists" {
    plain_only
    pictures
    omendb build -q -l 1 -b 64 -o lists.omen base.bvecs
    omendb build -q -l 1 -b 64 --graph -o graph.omen base.bvecs
    omendb query --json -k 3 --recall 0.8 graph.omen base.bvecs 2>graph.json >/dev/null
    same "$(member "$(cat graph.json)" way)" '"graph"' # which costs less
    for options in "--self -k 3 --recall 0.8" "--self --within 4e5" "--self -k 3 --way lists"; do
        # shellcheck disable=SC2086
        omendb query -q $options -o lists.tsv lists.omen
        # shellcheck disable=SC2086
        omendb query --json $options -o graph.tsv graph.omen 2>graph.json
        cmp lists.tsv graph.tsv
        same "$(member "$(cat graph.json)" way)" '"lists"'
    done
}

@test "no room for the temporary file" {
    vectors make base.fvecs -n 2000 -d 4
    omendb build -q --refine f32 base.fvecs
    fails_with 4 "temporary copy of the results" env TMPDIR=/nonexistent "$OMENDB" query --self --within 1e9 base.omen
}

@test "examples of the man page: groups of near-duplicates, and a graph for scipy" {
    pictures
    omendb query --self --within 4e5 --pairs base.omen >pairs.tsv
    # shellcheck disable=SC2016
    awk 'function root(x) { while (x in p) x = p[x]; return x }
         { a = root($1); b = root($3); if (a != b) p[b] = a }
         END { for (x in p) print root(x) "\t" x }' pairs.tsv | sort -n >groups.tsv
    [ -s groups.tsv ]
    same "$(cut -f 1 groups.tsv | sort -u | comm -12 - <(cut -f 2 groups.tsv | sort -u))" ""
    if python3 -c 'import numpy' 2>/dev/null; then
        omendb query --self -k 5 --distances -o graph.npy base.omen
        python3 - <<'END'
import numpy as np
g = np.load("graph.npy")
np.savez("graph.npz", indices=g["id"].ravel(), data=g["distance"].ravel(), indptr=np.arange(0, g.size + 1, g.shape[1]),
         shape=(len(g), len(g)), format=b"csr")
END
        [ -s graph.npz ]
    fi
}

@test "--within finds near-duplicates, whose distance is less than the error of a code" {
    python3 -c '
import array, random
draw = random.Random(3).gauss
with open("near.fvecs", "wb") as out:
    for row in range(1500):
        x = [draw(0, 1) for _ in range(32)]
        for noise in (0, 0.02):
            out.write(array.array("i", [32]).tobytes() + array.array("f", [v + draw(0, noise) for v in x]).tobytes())'
    omendb build -q near.fvecs
    omendb query -q --self --exact --within 0.03 -o exact.tsv near.omen
    omendb query -q --self --within 0.03 -o found.tsv near.omen
    [ "$(wc -l <exact.tsv)" -eq 3000 ]
    at_least 0.95 "$(awk -v n="$(wc -l <found.tsv)" 'BEGIN { print n / 3000 }')"
}

# Rows that search in several batches, each of which is recorded.
many()
{
    vectors make base.fvecs -n 70000 -d 4 --kind gauss
    omendb build -q "$@" base.fvecs
}

# stop SIGNAL N [OPTION...]: starts --self, sends the signal once its checkpoint has N records, the first of which is
# the head; sets code and message.
stop()
{
    "$OMENDB" query --self --chunk-rows 1 "${@:3}" base.omen 2>message &
    local pid=$!
    while kill -0 $pid 2>/dev/null && [ "$(grep -aoh OMENREC out.*.part 2>/dev/null | wc -l)" -lt "$2" ]; do
        sleep 0.002
    done
    kill -s "$1" $pid 2>/dev/null || true
    code=0
    wait $pid || code=$?
    message=$(cat message)
}

@test "a killed --self continues and ends in the same bytes" {
    plain_only
    many
    seq 1 69999 | awk "\$1 % 7" >some.txt
    mapfile -t all < <(some 1 "-k 3 --only some.txt -F jsonl -o out.jsonl" "-k 7 --distances -o out.npy" \
        "--within 0.01 --pairs -o out.tsv" "--within 0.005 --limit 9 -o out.tsv" "-k 2 --probes 3 -o out.ivecs")
    cpu="--cpu scalar"
    for options in "${all[@]}"; do
        rm -f out.* whole
        # shellcheck disable=SC2086 # several words
        omendb query -q --self ${options/-o */-o whole} -F "${options##*.}" base.omen
        out=${options##* }
        [ ! -e "whole.part" ] || fault "a checkpoint is left"
        for n in 0 2; do
            # shellcheck disable=SC2086
            stop KILL $n $options
            [ ! -e "$out" ] || fault "results after a kill: $options"
        done
        [ -e "$out.part" ] || fault "no checkpoint"
        # shellcheck disable=SC2086
        expect 0 omendb query --self -t 1 $cpu $options base.omen
        cpu=
        has "$stderr" "resuming after"
        cmp whole "$out"
        [ ! -e "$out.part" ] || fault "the checkpoint is left"
        [ ! -e "$out.tmp" ] || fault "the temporary is left"
    done
}

@test "--self tells what all of its runs did together" {
    plain_only
    many
    omendb query --self -k 4 --json -o whole.npy base.omen 2>whole.json
    stop KILL 3 -k 4 -o out.npy
    omendb query --self -k 4 --json -q -o out.npy base.omen 2>out.json
    cmp whole.npy out.npy
    sums='import json, sys; x = json.load(open(sys.argv[1])); print({k: v for k, v in x.items() if "second" not in k})'
    same "$(python3 -c "$sums" out.json)" "$(python3 -c "$sums" whole.json)"
}

@test "a checkpoint of other results is refused by name, --fresh starts over" {
    plain_only
    many
    stop KILL 3 -k 5 -o out.npy
    cp out.npy.part kept
    refuses()
    {
        local text=$1
        shift
        fails_with 2 "$text" omendb query -q --self -o out.npy "$@" base.omen
        has "$stderr" "--fresh starts over"
    }
    refuses "with another --neighbors" -k 6
    refuses "with another --recall" -k 5 --recall 0.9
    refuses "with another --probes" -k 5 --probes 9
    refuses "with another --rerank" -k 5 --rerank 99
    refuses "with another --effort-factor" -k 5 --effort-factor 1.5
    refuses "with another --way" -k 5 --exact
    refuses "with --neighbors or --within" --within 1 -F tsv
    seq 0 69999 >all.txt
    refuses "with another selection of rows" -k 5 --only all.txt
    mv base.omen first.omen
    omendb build -q --seed 7 base.fvecs
    refuses "with another index" -k 5
    mv first.omen base.omen
    cmp -n "$(stat -c %s out.npy.part)" kept out.npy.part
    omendb query -q --self -k 6 --fresh -o out.npy base.omen
    omendb query -q --self -k 6 -o whole.npy base.omen
    cmp whole.npy out.npy
    [ ! -e out.npy.part ]
    # other formats of the same results go on
    cp kept out.tsv.part
    expect 0 omendb query --self -k 5 --distances -o out.tsv base.omen
    has "$stderr" "resuming after"
    # neither a build nor a search continues the other's
    cp kept new.omen.part
    fails_with 2 "another version" omendb build -q -o new.omen base.fvecs
    rm new.omen.part
    "$OMENDB" build -q --chunk-rows 300 -o new.omen base.fvecs &
    local pid=$!
    while kill -0 $pid 2>/dev/null && [ "$(stat -c %s new.omen.part 2>/dev/null || echo 0)" -lt 20000 ]; do :; done
    kill -KILL $pid
    wait $pid || true
    mv new.omen.part out.npy.part
    refuses "is not of --self" -k 5
    echo "my notes" >out.npy.part
    fails_with 2 "no checkpoint" omendb query -q --self -o out.npy base.omen
    same "$(cat out.npy.part)" "my notes"
}

@test "a damaged checkpoint of --self costs what is behind the damage, nothing else" {
    many
    omendb query -q --self -k 5 --distances -o whole.npy base.omen
    stop KILL 4 -k 5 --distances -o out.npy
    cp out.npy.part kept
    for at in $(some 3 9 4100 8200 12300 12500 1000000 2000000); do
        cp kept out.npy.part
        printf '\377' | dd of=out.npy.part bs=1 seek="$at" conv=notrunc status=none
        omendb query -q --self -k 5 --distances -o out.npy base.omen
        cmp whole.npy out.npy
        rm out.npy
    done
    for size in $(some 2 0 1 63 64 5000 1000000); do
        head -c "$size" kept >out.npy.part
        omendb query -q --self -k 5 --distances -o out.npy base.omen
        cmp whole.npy out.npy
        rm out.npy
    done
}

@test "checkpoints of --self that lie under good checksums: rows in order, or exit 2 or 3" {
    many
    lies=${OMEN_TEST_QUICK:+8}
    for options in "-k 3" "--within 0.001"; do
        # shellcheck disable=SC2086
        stop KILL 3 $options -o out.tsv
        mv out.tsv.part kept
        rm -f out.tsv.tmp
        # shellcheck disable=SC2086
        python3 "$tests_dir/cli/hostile.py" results kept base.omen ${lies:-20} $options
    done
}

@test "--self that is interrupted, and where there is no checkpoint" {
    many
    omendb query -q --self -k 5 -o whole.npy base.omen
    stop INT 3 -k 5 -o out.npy
    same "$code" 130
    has "$message" "the same command continues"
    [ ! -e out.npy.tmp ]
    expect 0 omendb query --self -k 5 -o out.npy base.omen
    has "$stderr" "resuming after"
    cmp whole.npy out.npy
    # interrupted before anything was recorded: nothing is left
    "$OMENDB" query -q --self -k 5 -o out.npy --chunk-rows 4000000000 base.omen 2>message &
    local pid=$!
    while kill -0 $pid && [ ! -e out.npy.part ]; do sleep 0.002; done
    sleep 0.03 # a signal between making the file and noting that it is ours would leave it
    kill -TERM $pid
    code=0
    wait $pid || code=$?
    same "$code" 143
    [ ! -e out.npy.part ] || fault "a checkpoint without records is left"
    fails_with 2 "--fresh is of the checkpoint" omendb query --self --fresh base.omen
    fails_with 2 "--chunk-rows is of the checkpoint" omendb query --chunk-rows 5 -o out.npy base.omen base.fvecs
    # the name of the checkpoint is not an input's
    cp base.omen out.npy.part
    fails_with 2 "out.npy.part" omendb query --self -o out.npy out.npy.part
    rm out.npy.part
    # one at a time
    "$OMENDB" query -q --self -k 5 --chunk-rows 1 -o two.npy base.omen &
    pid=$!
    while kill -0 $pid && [ ! -e two.npy.part ]; do sleep 0.002; done
    kill -STOP $pid
    [ -e two.npy.part ] || fault "the first search was over too soon"
    fails_with 4 "another process" omendb query -q --self -k 5 -o two.npy base.omen
    kill -CONT $pid
    wait $pid
    # a pipe has none
    expect 0 omendb query -q --self -k 1 -o /dev/stdout base.omen
    [ ! -e /dev/stdout.part ]
}
