# SPDX-License-Identifier: Apache-2.0
# omendb bench: recall, the JSON result, gates, plots, interruption. No test depends on how fast anything is.
load helper

quick="--runs 1 --min-time 0 -q"

# Rows and queries, and an index of them.
small()
{
    vectors make b.fvecs --kind gauss -n 3000 -d 32
    vectors make q.fvecs --kind gauss -n 60 -d 32 --seed 2
    omendb build -q "$@" -o b.omen b.fvecs
}

# bench_small ARGUMENT...
bench_small()
{
    omendb bench $quick --base b.fvecs --queries q.fvecs "$@"
}

# edit RESULT.json STATEMENTS: changes r, a result, and p, its first point.
edit()
{
    python3 -c '
import json, sys
r = json.load(open(sys.argv[1]))
p = r["points"][0]
exec(sys.argv[2])
json.dump(r, open(sys.argv[1], "w"))' "$@"
}

# recall_agrees METRIC K ARGUMENT...: bench and numpy give the same recalls at one effort.
recall_agrees()
{
    local metric=$1 k=$2
    shift 2
    bench_small b.omen --json -k "$k" "$@" >r.json
    omendb query -q -k "$k" "$@" -F ivecs -o found.ivecs b.omen q.fvecs
    /usr/bin/python3 "$tests_dir/cli/bench_recall.py" "$metric" "$k" b.fvecs q.fvecs found.ivecs r.json
}

@test "recall by id and by distance are those of numpy" {
    plain_only
    /usr/bin/python3 -c 'import numpy' 2>/dev/null || skip "no numpy"
    for metric in l2 ip cosine; do
        small -m $metric
        for k in 1 10 100; do
            recall_agrees $metric $k --probes 9 --rerank 120
        done
    done
    # with ties, rows a little further than the true ones, and poor codes
    vectors make b.fvecs --text "$(seq -s ';' -f '%g,1' 0 0.0004 0.2)"
    vectors make q.fvecs --text "0,1;0.1,1;7,1"
    omendb build -q -b 4 -r none -o b.omen b.fvecs
    recall_agrees l2 10 --probes 3 --rerank 10
}

@test "the document names every member of the JSON, and no other" {
    plain_only
    small
    bench_small b.omen --json --recall 0.8,0.9 >was.json
    cp was.json better.json
    edit better.json 'p["recall_by_id"] = 1; r["index"]["file_bytes"] //= 2'
    expect 1 bench_small b.omen --json --recall 0.8,0.9 --baseline better.json --baseline-binary "$OMENDB"
    printf '%s\n' "$output" >gated.json
    omendb bench $quick --json --recall 0.8 --base b.fvecs --held-out 50 >built.json
    omendb bench $quick --json --probes 2 --rerank 50 b.omen --queries q.fvecs >plain.json
    omendb bench $quick --json --recall 0.8 --graph --base b.fvecs --held-out 50 >graph.json
    seq 100 >rows.txt
    omendb bench $quick --json --recall 0.8 --only rows.txt b.omen --queries q.fvecs >filtered.json
    python3 "$tests_dir/cli/bench_schema.py" "$tests_dir/../docs/BENCH-JSON.md" ./*.json
}

@test "an index with a graph is measured, gated and compared by each way" {
    plain_only
    small --graph
    bench_small b.omen --json -k 1,10 --recall 0.8,0.9 >was.json
    # by k, way and effort
    python3 -c '
import json, sys
r = json.load(open("was.json"))
assert r["options"]["ways"] == ["lists", "graph"]
assert [(p["k"], p["way"], p["target"]) for p in r["points"]] == [
    (k, way, target) for k in (1, 10) for way in ("lists", "graph") for target in (0.8, 0.9)]
for p in r["points"]:
    assert (p["graph_estimates"] > 0) == (p["way"] == "graph"), p
    assert (p["codes_scanned"] > 0) == (p["way"] == "lists"), p'
    expect 0 bench_small b.omen --json -k 1,10 --recall 0.8,0.9 --baseline was.json
    has "$stderr" "no worse than the baseline"
    # each figure of a way against the same one
    cp was.json other.json
    edit other.json 'r["points"][2]["graph_estimates"] *= 2; r["points"][3]["recall_by_id"] = 1; p["codes_scanned"] *= 2
r["points"][3]["recall_by_distance"] = 1'
    expect 1 bench_small b.omen --json -k 1,10 --recall 0.8,0.9 --max-recall-drop 0 --baseline other.json
    has "$stderr" "work    graph codes compared a query, k 1 at --recall 0.8 --way graph: "
    has "$stderr" "work    codes scanned a query, k 1 at --recall 0.8 --way lists: "
    has "$stderr" "worse   recall@1 by id at --recall 0.9 --way graph: "
    run ! grep -q "^worse.*--way lists" <<<"$stderr"
    cp was.json other.json
    edit other.json 'p["way"] = "graph"'
    expect 2 bench_small b.omen -k 1,10 --recall 0.8,0.9 --baseline other.json
    has "$stderr" "other points than its options say"
    fails_with 2 '"ways" differs' bench_small b.omen -k 1,10 --recall 0.8,0.9 --way lists --baseline was.json
    # both programs are told the way
    cat >logged <<END
#!/bin/sh
echo "\$*" >>"$PWD/words"
exec "$OMENDB" "\$@"
END
    chmod +x logged
    bench_small b.omen --json --recall 0.9 --max-slowdown 900% --baseline-binary ./logged >r.json
    same "$(member "$(cat r.json)" ab.contests.0.way) $(member "$(cat r.json)" ab.contests.1.way)" '"lists" "graph"'
    same "$(grep -o -e '--way [a-z]*' words | sort | uniq -c | awk '{ print $3, ($1 >= 21) }')" "graph 1
lists 1"
    # without a graph there is nothing to tell, which older programs would not know
    omendb build -q -o b.omen b.fvecs
    : >words
    bench_small b.omen --json --recall 0.9 --max-slowdown 900% --baseline-binary ./logged >r.json
    same "$(member "$(cat r.json)" ab.contests.0.way)" '"lists"'
    run ! grep -q -e --way words
}

@test "held-out rows are queries of their own, and nothing is left behind" {
    vectors make b.fvecs --kind gauss -n 2000 -d 16
    mkdir tmp
    TMPDIR=$PWD/tmp expect 0 omendb bench $quick --json --recall 0.95 --base b.fvecs --held-out 50
    [ "$(member "$output" data.n)" -eq 1950 ]
    [ "$(member "$output" data.n_queries)" -eq 50 ]
    [ -z "$(ls tmp)" ]
    only b.fvecs tmp
}

@test "truth that was saved, as ivecs or ibin, gives the recall of truth that was searched" {
    small
    bench_small b.omen --json -k 1,10 --probes 9 --save-truth gt.ivecs >searched.json
    bench_small b.omen --json -k 1,10 --probes 9 --truth gt.ivecs --save-truth gt.ibin >ivecs.json
    bench_small b.omen --json -k 1,10 --probes 9 --truth gt.ibin >ibin.json
    for file in ivecs ibin; do
        for i in 0 1; do
            for recall in recall_by_id recall_by_distance; do
                same "$(member "$(cat $file.json)" points.$i.$recall)" \
                    "$(member "$(cat searched.json)" points.$i.$recall)"
            done
        done
    done
}

@test "a truth that found rows contradict is refused, with the query and both distances" {
    small -r f32
    omendb build -q -m cosine -o cosine.omen b.fvecs
    omendb build -q -m ip -o ip.omen b.fvecs
    omendb build -q -o rounded.omen b.fvecs
    bench_small b.omen --json -k 10 --probes 9 --save-truth l2.ivecs >/dev/null
    bench_small cosine.omen --json -k 10 --probes 9 --save-truth cosine.ivecs >/dev/null
    # right ones, by distances of the base and of the refine tier, whole or rounded
    for pair in "b.omen l2" "rounded.omen l2" "cosine.omen cosine"; do
        read -r index truth <<<"$pair"
        expect 0 bench_small $index -k 1,10 --recall 0.9 --truth $truth.ivecs
        expect 0 omendb bench $quick -k 1,10 --recall 0.9 --queries q.fvecs --truth $truth.ivecs $index
    done
    # of another metric
    for pair in "b.omen cosine l2" "rounded.omen cosine l2" "cosine.omen l2 cosine" "ip.omen l2 ip"; do
        read -r index truth metric <<<"$pair"
        fails_with 2 "\"$truth.ivecs\" is not the truth of this index under $metric: query " \
            bench_small $index -k 10 --recall 0.9 --truth $truth.ivecs
        [[ $stderr =~ query\ [0-9]+\ finds\ row\ [0-9]+\ at\ distance\ ([-0-9.]+),.*true\ rows\ is\ at\ ([-0-9.]+)\; ]]
        awk -v found="${BASH_REMATCH[1]}" -v last="${BASH_REMATCH[2]}" 'BEGIN { exit !(found < last) }'
        fails_with 2 "is not the truth of this index under $metric" \
            omendb bench $quick -k 10 --recall 0.9 --queries q.fvecs --truth $truth.ivecs $index
    done
    # of other queries, and of one row too far from one query
    python3 -c '
import struct
data = bytearray(open("l2.ivecs", "rb").read())
rows = [data[i:i + 44] for i in range(0, len(data), 44)]
open("turned.ivecs", "wb").write(b"".join(rows[::-1]))
others = set(struct.unpack("<10i", rows[41][4:]))
struct.pack_into("<i", rows[41], 4, min(set(range(3000)) - others))
open("one.ivecs", "wb").write(b"".join(rows))'
    fails_with 2 'is not the truth of this index under l2: query 0 finds' \
        bench_small b.omen --recall 0.9 --truth turned.ivecs
    fails_with 2 'is not the truth of this index under l2: query 41 finds' \
        bench_small b.omen --recall 0.9 --truth one.ivecs
    fails_with 2 'is not the truth of this index under l2: query 41 finds' \
        omendb bench $quick --recall 0.9 --queries q.fvecs --truth one.ivecs b.omen
}

@test "truth with fewer than k neighbours of a query counts those that there are" {
    small
    bench_small b.omen --json -k 10 --probes 9 --save-truth full.ivecs >full.json
    # of query q, 10 - q % 11 neighbours
    python3 - <<'EOF'
import struct
full = open("full.ivecs", "rb").read()
rows = [struct.unpack_from("<10i", full, 44 * q + 4) for q in range(len(full) // 44)]
rows = [struct.pack("<10i", *row[:10 - q % 11] + (-1,) * (q % 11)) for q, row in enumerate(rows)]
open("gt.ivecs", "wb").write(b"".join(struct.pack("<i", 10) + row for row in rows))
open("gt.ibin", "wb").write(struct.pack("<2I", len(rows), 10) + b"".join(rows))
open("none.ivecs", "wb").write((struct.pack("<i", 10) + b"\xff" * 40) * len(rows))
EOF
    for format in ivecs ibin; do
        bench_small b.omen --json -k 10 --probes 200 --rerank 400 --truth gt.$format --save-truth back.$format >r.json
        same "$(member "$(cat r.json)" points.0.recall_by_id)" 1.0
        same "$(member "$(cat r.json)" points.0.recall_by_distance)" 1.0
    done
    cmp gt.ivecs back.ivecs
    expect 0 omendb bench $quick -k 10 --recall 0.9 --queries q.fvecs --truth gt.ivecs b.omen
    # distances follow in what is written: infinity where there is no neighbour
    cmp -n "$(stat -c %s gt.ibin)" gt.ibin back.ibin
    fails_with 2 '"none.ivecs" has no neighbour of any query' bench_small b.omen -k 10 --truth none.ivecs
}

@test "a truth of another number of queries is refused before memory is taken for it" {
    small
    bench_small b.omen -k 10 --probes 9 --save-truth gt.ivecs >/dev/null
    head -c 440 gt.ivecs >ten.ivecs
    fails_with 2 '"ten.ivecs" is the truth of 10 queries, and there are ' bench_small b.omen -k 10 --truth ten.ivecs
    printf '\0\0\0\200\144\0\0\0' >huge.ibin # 2^31 x 100
    printf '\144\0\0\0' >huge.ivecs
    truncate -s $((8 + 4 * 100 * (1 << 31))) huge.ibin && truncate -s $((404 * (1 << 31))) huge.ivecs ||
        skip "no sparse files of this size"
    for format in ibin ivecs; do
        fails_with 2 "\"huge.$format\" is the truth of 2147483648 queries, and there are " \
            bench_small b.omen -k 10 --truth huge.$format
    done
}

@test "the gate passes an equal index" {
    small
    bench_small b.omen --json -k 1,10 --recall 0.8,0.95 >was.json
    expect 0 bench_small b.omen -k 1,10 --recall 0.8,0.95 --baseline was.json
    has "$stderr" "recall and sizes: no worse than the baseline"
}

@test "the gate names recall that fell, at fixed effort and at a recall asked for" {
    small
    bench_small b.omen --json --probes 8 --rerank 12 >fixed.json
    bench_small b.omen --json --probes 8 >half.json
    bench_small b.omen --json --recall 0.9 >asked.json
    edit fixed.json 'p["recall_by_id"] += 0.02; p["recall_by_distance"] += 0.02'
    expect 1 bench_small b.omen --probes 8 --rerank 12 --baseline fixed.json
    has "$stderr" "worse   recall@10 by distance at --probes 8 --rerank 12"
    has "$stderr" "worse   recall@10 by id at --probes 8 --rerank 12"
    # more candidates make up for it, but not at the effort of before
    edit half.json 'p["rerank"] = 10'
    expect 1 bench_small b.omen --probes 8 --baseline half.json
    has "$stderr" "worse   recall@10 by id at the baseline's effort (--probes 8 --rerank 10)"
    edit asked.json 'p["recall_by_id"] += 0.02; p["codes_scanned"] /= 2'
    expect 1 bench_small b.omen --recall 0.9 --baseline asked.json
    has "$stderr" "worse   recall@10 by id at --recall 0.9"
    has "$stderr" "work    codes scanned a query, k 10 at --recall 0.9"
    # as much as it drops is allowed
    expect 0 bench_small b.omen --probes 8 --rerank 12 --baseline fixed.json --max-recall-drop 1
}

@test "the gate names bytes and file size" {
    small
    bench_small b.omen --json --probes 8 --rerank 100 >was.json
    edit was.json 'i = r["index"]; i["bytes_per_vector"]["code"] -= 4; i["file_bytes"] -= i["file_bytes"] // 9'
    expect 1 bench_small b.omen --probes 8 --rerank 100 --baseline was.json
    has "$stderr" "worse   bytes a vector, code"
    has "$stderr" "worse   file size in bytes"
    [[ "$stderr" != *"worse   recall"* ]]
    expect 0 bench_small b.omen --probes 8 --rerank 100 --baseline was.json --max-growth 900%
}

@test "a baseline whose index was built with other options is unusable" {
    plain_only
    small -c pq
    other="the baseline's index was built with other options"
    bench_small b.omen --json --recall 0.9 >was.json
    bench_small --json --recall 0.9 -c pq >built.json
    for options in "-c rabitq:\"codec\" differs" "-r f16 -c pq:\"refine\" differs" "-b 31 -c pq:\"bytes\" differs" \
        "-l 50 -c pq:\"lists\" differs" "--seed 1 -c pq:\"seed\" differs" \
        "-c none --seed 3:\"codec\", \"seed\" differ"; do
        omendb build -q ${options%%:*} -o other.omen b.fvecs
        fails_with 2 "$other: ${options#*:}" bench_small other.omen --recall 0.9 --baseline was.json
        fails_with 2 "$other: ${options#*:}" bench_small --recall 0.9 ${options%%:*} --baseline built.json
    done
    fails_with 2 'the baseline is of other data: "metric"' bench_small --recall 0.9 -m ip --baseline built.json
    bench_small --json --recall 0.9 -m cosine >cosine.json
    fails_with 2 "$other: \"zero_ok\" differs" bench_small --recall 0.9 -m cosine --zero-ok --baseline cosine.json
    # auto that chooses pq is not pq that was asked for; an index built apart is compared as it is
    fails_with 2 "$other: \"codec\" differs" bench_small --recall 0.9 -c auto --baseline built.json
    expect 0 bench_small --recall 0.9 -c pq --baseline built.json
    expect 0 bench_small --recall 0.9 -c pq --baseline was.json
    expect 0 bench_small b.omen --recall 0.9 --baseline built.json
    # a baseline that does not tell, or has nothing to compare
    for cut in 'del r["index"]["seed"]' 'del r["build"], r["index"]' 'del p["recall_by_id"]' 'del r["options"]' \
        'p["recall_by_distance"] = None' 'del r["index"]["file_bytes"]' 'del r["points"][0]' 'del r["data"]["held_out"]'
    do
        cp was.json cut.json
        edit cut.json "$cut"
        expect 2 bench_small b.omen --recall 0.9 --baseline cut.json
        same "${#stderr_lines[@]}" 1
    done
}

@test "a file that is no result, or a hostile one, exits 2 with one line" {
    small
    bench_small b.omen --json --recall 0.9 >was.json
    cp was.json good.json
    n=0
    # refused STATEMENTS TEXT
    refused()
    {
        n=$((n + 1))
        cp good.json bad$n.json
        edit bad$n.json "$1"
        fails_with 2 "$2" bench_small b.omen --recall 0.9 --baseline bad$n.json
        if command -v gnuplot >/dev/null; then
            fails_with 2 "$2" omendb bench --plot p.svg --compare bad$n.json
        fi
    }
    refused 'p["k"] = -1' 'points[].k cannot be -1'
    refused 'p["k"] = 1e300' 'points[].k cannot be 1e300'
    refused 'p["k"] = "10"' 'points[].k cannot be "10"'
    refused 'p["probes"] = 1 << 40' 'points[].probes cannot be'
    refused 'p["recall_by_id"] = -0.5' 'points[].recall_by_id cannot be -0.5'
    refused 'p["recall_by_distance"] = 1.5' 'points[].recall_by_distance cannot be 1.5'
    refused 'p["recall_by_distance"] = []' 'points[].recall_by_distance cannot be []'
    refused 'p["dominated"] = 1' 'points[].dominated cannot be 1'
    refused 'p["batch"]["median"] = -3' 'points[].batch.median cannot be -3'
    refused 'p["batch"]["min"] = 0' 'points[].batch.min cannot be 0'
    refused 'p["batch"]["max"] = 1e300' 'points[].batch.max cannot be 1e300'
    refused 'r["points"][0] = 7' 'points[] cannot be 7'
    refused 'r["points"] = {}' 'points cannot be {}'
    refused 'r["points"] = [p] * 1100' 'points cannot be what it is'
    refused 'r["options"]["k"] = list(range(1, 100))' 'options.k cannot be what it is'
    refused 'r["options"]["k"] = [0]' 'options.k[] cannot be 0'
    refused 'r["data"]["n"] = -1' 'data.n cannot be -1'
    refused 'r["data"]["d"] = 0' 'data.d cannot be 0'
    refused 'r["data"] = "x"' 'data cannot be "x"'
    refused 'r["machine"]["cpu"] = None' 'machine.cpu cannot be null'
    refused 'r["machine"]["threads"] = "\x1b[2J"' 'machine.threads cannot be "\u001B[2J"'
    refused 'r["index"]["file_bytes"] = -1' 'index.file_bytes cannot be -1'
    refused 'p["batch"]["median"] = float("nan")' 'is no JSON'
    refused 'p["batch"]["median"] = float("inf")' 'is no JSON'
    refused 'r["schema"] = "omendb-bench/2"' 'its schema is not omendb-bench/1'
    # what JSON itself does not promise
    for text in '' '[]' '7' '"x"' '{"schema":"omendb-bench/1"}' '{"points":[],"points":[],"schema":"omendb-bench/1"}' \
        '{"schema":"omendb-bench/1","points":[],"data":{"n":1e999}}' \
        '{"schema":"omendb-bench/1","points":[],"data":{"n":99999999999999999999999}}'; do
        printf '%s' "$text" >bad.json
        fails_with 2 'is no' bench_small b.omen --recall 0.9 --baseline bad.json
    done
    python3 -c 'print("[" * 1000000)' >deep.json
    fails_with 2 'is no JSON' bench_small b.omen --recall 0.9 --baseline deep.json
    python3 -c 'print("[" + "0," * 3000000 + "0]")' >long.json
    fails_with 2 'too long' bench_small b.omen --recall 0.9 --baseline long.json
    fails_with 2 'too long' bench_small b.omen --recall 0.9 --baseline /dev/zero
    fails_with 4 'Is a directory' bench_small b.omen --recall 0.9 --baseline .
    fails_with 2 'is no' bench_small b.omen --recall 0.9 --baseline b.omen
}

@test "a baseline of other data, other options or no baseline at all is unusable" {
    plain_only
    small
    bench_small b.omen --json --recall 0.9 >was.json
    vectors make q2.fvecs --kind gauss -n 60 -d 32 --seed 3
    fails_with 2 'the baseline is of other data: "queries_hash" differs' \
        omendb bench $quick b.omen --base b.fvecs --queries q2.fvecs --recall 0.9 --baseline was.json
    fails_with 2 'the baseline was measured with other options: "recall" differs' \
        bench_small b.omen --recall 0.8 --baseline was.json
    fails_with 2 'the baseline was measured with other options: "k" differs' \
        bench_small b.omen -k 1 --recall 0.9 --baseline was.json
    fails_with 2 'the baseline has its truth from another place' \
        omendb bench $quick b.omen --queries q.fvecs --recall 0.9 --baseline was.json
    vectors make b2.fvecs --kind gauss -n 3000 -d 32 --seed 4
    omendb build -q b2.fvecs
    fails_with 2 'the baseline is of other data: "base_hash" differs' \
        omendb bench $quick b2.omen --base b2.fvecs --queries q.fvecs --recall 0.9 --baseline was.json
    echo '{"schema": "omendb-bench/2"}' >other.json
    fails_with 2 'is no result of omendb bench' bench_small b.omen --recall 0.9 --baseline other.json
    fails_with 4 'cannot open "none.json"' bench_small b.omen --recall 0.9 --baseline none.json
    fails_with 4 'cannot run "./none"' bench_small b.omen --recall 0.9 --baseline-binary ./none
}

@test "a baseline of another machine: times are reported, and that they are" {
    plain_only
    small
    bench_small b.omen --json --recall 0.9 >here.json
    python3 -c '
import json
r = json.load(open("here.json"))
r["machine"]["cpu"] = "Another"
r["points"][0]["batch"]["median"] *= 1e6
json.dump(r, open("there.json", "w"))'
    expect 0 bench_small b.omen --recall 0.9 --baseline there.json
    has "$stderr" "on another machine"
    has "$stderr" "reported, not gated"
    has "$stderr" "time    queries/s in batch, k 10 at --recall 0.9"
}

@test "the same program is no slower than itself" {
    plain_only
    small
    expect 0 bench_small b.omen --json --recall 0.9 --baseline-binary "$OMENDB"
    [ "$(member "$output" ab.contests.0.worse)" = false ]
    at_least 20 "$(member "$output" ab.contests.0.pairs)"
    has "$stderr" "ok      k 10 --recall 0.9"
}

@test "a slower or poorer program is told from its baseline" {
    plain_only
    small
    # a baseline that claims an absurd speed stands for a program that got slower
    cat >fast <<END
#!/bin/sh
"$OMENDB" "\$@" 2>said
code=\$?
sed 's/"search": [0-9.e-]*/"search": 1e-7/' said >&2
exit \$code
END
    chmod +x fast
    expect 1 bench_small b.omen --recall 0.9 --baseline-binary ./fast
    has "$stderr" "worse   search time, k 10 --recall 0.9: 20 of 20 pairs"
    # and one that looks at everything for one whose recall was better
    cat >thorough <<END
#!/bin/sh
for word; do # the words again, --recall and its number as --exact
    shift
    case \$word in
    --recall) set -- "\$@" --exact ;;
    0.5) ;;
    *) set -- "\$@" "\$word" ;;
    esac
done
exec "$OMENDB" "\$@"
END
    chmod +x thorough
    expect 1 bench_small b.omen --recall 0.5 --baseline-binary ./thorough
    has "$stderr" "worse   recall@10 by id, --recall 0.5"
}

@test "an interrupted run prints what was measured" {
    plain_only
    small
    for signal in INT TERM; do
        "$OMENDB" bench b.omen --base b.fvecs --queries q.fvecs --recall 0.8,0.9 --runs 1 --min-time 0 \
            --json -q >all.json
        # each point takes 3 s or more, so the second is surely stopped
        env --default-signal=INT "$OMENDB" bench b.omen --base b.fvecs --queries q.fvecs --recall 0.8,0.9 \
            --min-time 1 --json -v >part.json 2>said &
        pid=$!
        for _ in $(seq 600); do
            grep -q 'point 2/2' said && break
            sleep 0.1
        done
        kill -$signal $pid
        wait $pid && code=0 || code=$?
        [ $code -eq $([ $signal = INT ] && echo 130 || echo 143) ]
        [ "$(member "$(cat part.json)" interrupted)" = true ]
        same "$(member "$(cat part.json)" points.0.recall_by_id)" "$(member "$(cat all.json)" points.0.recall_by_id)"
        run member "$(cat part.json)" points.1
        [ "$status" -ne 0 ]
        tail -n 1 said | grep -q 'interrupted'
    done
}

@test "more recall asked for takes more effort and is found" {
    plain_only
    small
    bench_small b.omen --json --recall 0.5,0.9,0.99 >r.json
    python3 -c '
import json
points = json.load(open("r.json"))["points"]
scanned = [p["codes_scanned"] for p in points]
assert scanned == sorted(scanned) and scanned[0] < scanned[2], scanned
for p in points:
    # 600 neighbours of 60 queries that the calibration has not seen: three standard deviations
    floor = p["target"] - 3 * (p["target"] * (1 - p["target"]) / 600) ** 0.5
    assert p["recall_by_id"] >= floor, (p["target"], p["recall_by_id"])'
    # query takes the same effort for the same recall, and finds as much
    bench_small b.omen --json --recall 0.9,0.99 --save-truth gt.ivecs >r.json
    for point in points.0 points.1; do
        expect 0 omendb query -q --json --recall "$(member "$(cat r.json)" $point.target)" -o found.tsv b.omen q.fvecs
        same "$(member "$stderr" rerank)" "$(member "$(cat r.json)" $point.rerank)"
        same "$(member "$stderr" probes)" "$(member "$(cat r.json)" $point.probes)"
        share=$(vectors recall 10 gt.ivecs found.tsv)
        same "$share" "$(printf %.4f "$(member "$(cat r.json)" $point.recall_by_id)")"
    done
}

@test "points that another one beats are marked" {
    small
    bench_small b.omen --json --probes 1,4,40 --rerank 10,200 >r.json
    python3 -c '
import json
points = json.load(open("r.json"))["points"]
assert len(points) == 6
for p in points:
    beaten = any(q["recall_by_distance"] >= p["recall_by_distance"] and q["batch"]["median"] >= p["batch"]["median"]
                 and (q["recall_by_distance"], q["batch"]["median"]) != (p["recall_by_distance"], p["batch"]["median"])
                 for q in points)
    assert p["dominated"] == beaten, p'
}

@test "a plot, of a run and of results" {
    small
    bench_small b.omen --json --recall 0.8,0.9 >a.json
    if ! command -v gnuplot >/dev/null; then
        fails_with 2 "gnuplot, which is not installed" omendb bench --plot p.svg --compare a.json
        skip "no gnuplot"
    fi
    bench_small b.omen --recall 0.8,0.9 --plot p.svg --compare a.json
    grep -q '3,000 x 32 l2' p.svg
    grep -q 'recall@10' p.svg
    omendb bench --plot p.png --compare a.json a.json
    [ "$(head -c 4 p.png | tail -c 3)" = PNG ]
    # what is told to those who do not see it, and on dark pages; no place is left for gnuplot's own words
    grep -q '<title>omendb bench' p.svg
    grep -q '^this run: .* at recall 0\.' p.svg
    grep -q 'prefers-color-scheme: dark' p.svg
    expect 1 grep -i -e 'produced by' -e 'title>gnuplot' p.svg
    # panels; an index that was given was not built
    omendb bench --plot p.svg --compare a.json --plot-panels latency
    grep -q 'a.json, p99' p.svg
    expect 1 grep 'queries/s' p.svg
    fails_with 2 "no builds to plot" omendb bench --plot none.svg --compare a.json --plot-panels build
    expect 0 omendb bench -q --json --runs 1 --min-time 0 --base b.fvecs --queries q.fvecs --recall 0.9 \
        --plot p.svg --plot-panels recall,build
    grep -q 'build, this run: .* vectors/s' p.svg
    fails_with 2 "takes recall, latency or build" omendb bench --plot p.svg --compare a.json --plot-panels speed
    fails_with 2 "name it with --plot" bench_small b.omen --plot-panels build
    fails_with 2 "gnuplot, which is not installed" env PATH=/nowhere "$OMENDB" bench --plot p.svg --compare a.json
    fails_with 2 "ends with .svg or .png" omendb bench --plot p.gif --compare a.json
}

@test "a plot runs nothing and interprets no text, whatever results and files are called" {
    plain_only
    command -v gnuplot >/dev/null || skip "no gnuplot"
    small
    bench_small b.omen --json --recall 0.8,0.9 >good.json
    mkdir work home
    printf 'system "touch ran"\n' >home/.gnuplot
    cp home/.gnuplot home/.gnuplot-wxt
    cd work
    n=0
    # drawn PICTURE LABEL: the picture's texts have the label, and nothing else came of it
    drawn()
    {
        [ -s "$1" ] || fault "no picture $1"
        python3 -c '
import sys, xml.etree.ElementTree as tree
texts = [t.text for t in tree.parse(sys.argv[1]).iter() if t.text]
wanted = sys.argv[2].replace("\x27", "\u2019") # a single quote comes as the typographic one
assert any(wanted in t for t in texts), (wanted, texts)' "$1" "$2"
    }
    for text in 'x`touch ran`y' '$(touch ran)' '"; system "touch ran' "'; system 'touch ran" \
        '" . system("touch ran") . "' '@GPVAL_TERMINALS' '%s %n %g' '{/Symbol a}_b^c ~d{.8-}' 'a\nb \101 \"' \
        '<b>&amp; ]>' '# comment' '| touch ran' '< touch ran' 'EOD' "it's" 'Prozessor ü €'; do
        n=$((n + 1))
        cp ../good.json r.json
        edit r.json "r['machine']['cpu'] = $(python3 -c 'import sys; print(repr(sys.argv[1]))' "$text")"
        HOME=$PWD/../home expect 0 omendb bench --plot p.svg --compare r.json
        same "$output$stderr" ""
        drawn p.svg "$text"
        [ $((n % 4)) -ne 1 ] || expect 0 omendb bench --plot p.png --compare r.json ../good.json
        # the same as a file's name, of an input and of the picture
        name=$(printf '%s' "$text" | tr / '|')
        cp ../good.json "./$name.json"
        expect 0 omendb bench --plot "./$name.svg" --compare "./$name.json"
        drawn "./$name.svg" "$name.json"
        rm "./$name.json" "./$name.svg"
        only p.png p.svg r.json
        [ ! -e ../ran ]
        [ ! -e ../home/ran ]
    done
    # what no picture can hold is replaced
    edit r.json "r['machine']['cpu'] = 'a\x1b[2Jb\nc\x9bd\u202ee\uffff&#1; ]]>'"
    expect 0 omendb bench --plot p.svg --compare r.json
    drawn p.svg 'a?[2Jb?c??d'
    drawn p.svg '+#1; )]>'
    name=$'n\n\033]0;x\007\377`touch ran`'
    cp ../good.json "$name.json"
    expect 0 omendb bench --plot "$name.svg" --compare "$name.json"
    drawn "$name.svg" 'n??]0;x??`touch ran`.json'
    rm "$name.json" "$name.svg"
    only p.png p.svg r.json
    # no point that could be drawn
    edit r.json "r['options']['k'] = [99]"
    fails_with 2 "no points to plot" omendb bench --plot q.svg --compare r.json
    only p.png p.svg r.json
}

@test "bench starts gnuplot itself, without a shell, and tells when it fails" {
    small
    bench_small b.omen --json --recall 0.8 >a.json
    mkdir bin relative
    # stub COMMANDS: a gnuplot that does this
    stub()
    {
        printf '#!/bin/sh\n%s\n' "$1" >bin/gnuplot
        chmod +x bin/gnuplot
    }
    stub 'printf "%s\n" "$@" >words; cat >script; echo picture'
    PATH=$PWD/bin:$PATH expect 0 omendb bench --plot p.svg --compare a.json
    same "$(cat words)" "--default-settings"
    same "$(cat p.svg)" picture
    # no name of a file reaches it
    grep -q -e '^set output' -e p.svg script && fault "$(cat script)"
    rm p.svg
    for commands in 'exit 3:gnuplot failed with exit code 3' 'exec <&-; kill -9 $$:gnuplot was ended by signal 9' \
        ':did not draw "p.svg"' 'kill -PIPE $$:gnuplot was ended by signal 13'; do
        stub "${commands%%:*}"
        PATH=$PWD/bin:$PATH fails_with 4 "${commands#*:}" omendb bench --plot p.svg --compare a.json
    done
    # PATH's relative directories are not searched
    mv bin/gnuplot relative
    rmdir bin
    fails_with 2 "gnuplot, which is not installed" env PATH=relative:: "$OMENDB" bench --plot p.svg --compare a.json
    only a.json b.fvecs b.omen q.fvecs relative script words
}

@test "messages quote no control characters, from names or from results" {
    small
    bench_small b.omen --json --recall 0.9 >a.json
    name=$'n\033[2J\n\302\2331m\377.json'
    cp a.json "$name"
    edit "$name" "r['version'] = 'v\x1b[31m\nx'"
    expect 0 omendb bench --runs 1 --min-time 0 b.omen --base b.fvecs --queries q.fvecs --recall 0.9 --baseline "$name"
    has "$output" "against n?[2J???1m?.json (omendb v?[31m?x)"
    edit "$name" "r['truth']['origin'] = 'o\x1b[31m'"
    fails_with 2 "from another place (o?[31m, here" bench_small b.omen --recall 0.9 --baseline "$name"
    cp b.omen "$name"
    expect 0 omendb verify "$name"
    has "$output" "n?[2J???1m?.json: sound"
    same "${#lines[@]}" 1
    printf x | dd of="$name" bs=1 seek=5000 conv=notrunc status=none
    expect 3 omendb verify "$name"
    has "$output" "n?[2J???1m?.json: corrupt"
    # what turns the direction of the text that follows
    name=$'v\342\200\256\342\201\246\330\234e\314\201.omen'
    cp b.omen "$name"
    expect 0 omendb verify "$name"
    has "$output" $'v????????e\314\201.omen: sound'
    name=$'v\033[2J\n'
    cp b.fvecs "$name"
    expect 0 omendb build -v "$name"
    has "$stderr" "v?[2J?: fvecs"
    has "$stderr" "v?[2J?.omen: 3,000 x 32"
    expect 0 omendb compress "$name"
    has "$stderr" "v?[2J?: fvecs"
}

@test "misuse" {
    small
    fails_with 2 "give either --queries or --held-out" omendb bench b.omen
    fails_with 2 "no INDEX and no --base" omendb bench
    fails_with 2 "have no meaning with it" bench_small b.omen --recall 0.9 --probes 3
    fails_with 2 "more than the 3000 rows" bench_small b.omen -k 3001
    fails_with 2 "would overwrite the input" bench_small b.omen --save-truth b.fvecs
}

@test "docs/ci/gate.sh, as the workflow runs it, compares a commit with the one before" {
    plain_only
    # two commits, and a compiler that makes this program of each
    mkdir -p tools tree/docs/ci
    cp "$tests_dir/../docs/ci/gate.sh" tree/docs/ci
    git init -q tree
    git -C tree add .
    for i in 1 2; do
        git -C tree -c user.name=a -c user.email=a@b.c commit -q --allow-empty -m $i
    done
    printf '#!/bin/sh\necho "$@" >>"%s/said"\n' "$PWD" >tools/meson
    printf '#!/bin/sh\nmkdir -p "$2/cmd" && ln -s "%s" "$2/cmd/omendb"\n' "$(realpath "$OMENDB")" >tools/ninja
    chmod +x tools/*
    vectors make base.fvecs --kind gauss -n 1000 -d 16
    vectors make queries.fvecs --kind gauss -n 20 -d 16 --seed 2
    sed -n 's/^ *- run: \(sh docs.*\)/\1/p' "$tests_dir/../docs/ci/workflow.yml" >step
    [ "$(wc -l <step)" -eq 1 ]
    cd tree
    run -0 --separate-stderr env PATH="$PWD/../tools:$PATH" BEFORE="$(git rev-parse HEAD^)" \
        BASE="$PWD/../base.fvecs" QUERIES="$PWD/../queries.fvecs" METRIC=cosine MAX_SLOWDOWN=900% sh -e ../step
    [ "$(member "$(cat before.json)" data.metric)" = '"cosine"' ]
    [ "$(member "$(cat after.json)" gate.worse)" = false ]
    [ "$(member "$(cat after.json)" ab)" != null ]
    [ "$(git worktree list | wc -l)" -eq 1 ]
}
