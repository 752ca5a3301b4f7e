# SPDX-License-Identifier: Apache-2.0
# omendb query: options, output formats, and queries that cannot be answered.
load helper

# Three rows on a line, so that every answer is known.
line()
{
    vectors make base.fvecs --text "0,0;3,0;10,0"
    vectors make q.fvecs --text "1,0;9,0"
    omendb build -q "$@" base.fvecs
}

@test "tsv, the default" {
    line
    expect 0 omendb query -k 2 base.omen q.fvecs
    same "$output" "0 1 0
0 2 1
1 1 2
1 2 1"
    same "$stderr" ""
    expect 0 omendb query -k 2 --distances -F tsv base.omen q.fvecs
    same "$output" "0 1 0 1
0 2 1 4
1 1 2 1
1 2 1 36"
}

@test "jsonl" {
    line
    expect 0 omendb query -k 2 -F jsonl base.omen q.fvecs
    same "$output" '{"query":0,"rows":[0,1]}
{"query":1,"rows":[2,1]}'
    expect 0 omendb query -k 2 --output-format jsonl --distances base.omen q.fvecs
    same "$output" '{"query":0,"rows":[0,1],"distances":[1,4]}
{"query":1,"rows":[2,1],"distances":[1,36]}'
    for text in "${lines[@]}"; do
        member "$text" distances.1 >/dev/null
    done
}

@test "ivecs and npy hold what tsv holds" {
    line
    omendb query -k 2 -F ivecs base.omen q.fvecs >found.ivecs
    same "$(vectors show found.ivecs)" "0 1
2 1"
    omendb query -k 2 -F npy base.omen q.fvecs >found.npy
    same "$(vectors show found.npy)" "0 1
2 1"
    omendb query -k 2 -F npy --distances base.omen q.fvecs >both.npy
    same "$(vectors show both.npy)" "0 1 1 4
2 1 1 36"
    omendb query -k 2 -F ibin base.omen q.fvecs >found.ibin
    cmp <(tail -c +9 found.ibin) <(tail -c +5 found.ivecs | head -c 8; tail -c 8 found.ivecs)
    expect 0 omendb query -k 2 -F csv base.omen q.fvecs
    same "$output" "0,1,0
0,2,1
1,1,2
1,2,1"
    expect 0 omendb query -k 1 -F csv --header --distances base.omen q.fvecs
    same "$output" "query,rank,row,distance
0,1,0,1
1,1,2,1"
    expect 0 omendb query -k 1 --header base.omen q.fvecs
    same "${lines[0]}" "query rank row"
    fails_with 2 "--header is of tsv or csv, and jsonl has no names" omendb query -F jsonl --header base.omen q.fvecs
}

@test "ivecs and ibin have their distances in a file beside them" {
    line
    omendb query -k 2 -F npy --distances base.omen q.fvecs >both.npy
    expect 0 omendb query -k 2 --distances -o found.ivecs base.omen q.fvecs
    expect 0 omendb query -k 2 --distances -o found.ibin base.omen q.fvecs
    expect 0 omendb query -k 2 --distances -F ibin -o other base.omen q.fvecs
    cmp found.fbin other.fbin
    cmp found.ibin other
    vectors make want.fvecs --text "1,4;1,36"
    vectors make want.fbin --text "1,4;1,36"
    cmp want.fvecs found.fvecs
    cmp want.fbin found.fbin
    omendb query -k 2 -F ivecs base.omen q.fvecs | cmp - found.ivecs
    omendb query -k 2 -F ibin base.omen q.fvecs | cmp - found.ibin
    for output in "" "-o -"; do
        fails_with 2 'ivecs has its distances in a file beside it: name the output with --output, or use tsv, ' \
            omendb query -F ivecs --distances $output base.omen q.fvecs
    done
    mkfifo pipe
    fails_with 2 'and "pipe" is no file' omendb query -F ivecs --distances -o pipe base.omen q.fvecs
    cp q.fvecs q.old
    fails_with 2 'would overwrite the input QUERIES "q.fvecs"' omendb query --distances -o q.ivecs base.omen q.fvecs
    cmp q.fvecs q.old
    expect 0 omendb query --self -k 2 --distances -o self.ivecs base.omen
    omendb query --self -k 2 -F ivecs base.omen | cmp - self.ivecs
}

@test "npz of ids and distances" {
    line
    omendb query -k 2 -F npy base.omen q.fvecs >ids.npy
    expect 0 omendb query -k 2 --distances -o found.npz base.omen q.fvecs
    python3 - <<'END'
import zipfile
archive = zipfile.ZipFile("found.npz")
assert archive.testzip() is None and archive.namelist() == ["ids.npy", "distances.npy"]
assert archive.read("ids.npy") == open("ids.npy", "rb").read()
open("distances.npy", "wb").write(archive.read("distances.npy"))
END
    vectors make want.fvecs --text "1,4;1,36"
    omendb build -q -m ip -o want.omen want.fvecs
    expect 0 omendb build -q -m ip -o found.omen distances.npy
    cmp want.omen found.omen
    expect 0 omendb build -q -m ip -o found.omen found.npz:distances
    cmp want.omen found.omen
    omendb query -k 2 --distances -F npz base.omen q.fvecs | cmp - found.npz
    omendb query -k 2 -F npz base.omen q.fvecs >alone.npz
    same "$(python3 -c 'import zipfile; print(zipfile.ZipFile("alone.npz").namelist())')" "['ids.npy']"
    printf 'a\nbb\nccc\n' >keys.txt
    omendb build -q --key keys.txt -o keyed.omen base.fvecs
    omendb query -k 2 -F npy keyed.omen q.fvecs >keys.npy
    expect 0 omendb query -k 2 -o keyed.npz keyed.omen q.fvecs
    python3 -c 'import zipfile
assert zipfile.ZipFile("keyed.npz").read("keys.npy") == open("keys.npy", "rb").read()'
    expect 0 omendb query --self -k 2 --distances -o self.npz base.omen
    expect 0 omendb query --self -k 2 -F npy -o self.npy base.omen
    python3 -c 'import zipfile
assert zipfile.ZipFile("self.npz").read("ids.npy") == open("self.npy", "rb").read()'
}

@test "csv quotes keys that need it" {
    line
    printf 'a,b\nsay "x"\nplain\n' >keys.txt
    omendb build -q --key keys.txt -o keyed.omen base.fvecs
    expect 0 omendb query -k 3 -F csv --header keyed.omen q.fvecs
    same "$(head -n 4 <<<"$output")" 'query,rank,key
0,1,"a,b"
0,2,"say ""x"""
0,3,plain'
    python3 -c 'import csv, sys
print([row[2] for row in csv.reader(sys.stdin)][1:4])' <<<"$output" >read
    same "$(cat read)" "['a,b', 'say \"x\"', 'plain']"
}

@test "-o writes the same bytes as standard output" {
    line
    for format in tsv jsonl ivecs npy csv ibin npz; do
        omendb query -k 2 -F $format base.omen q.fvecs >expected
        echo old >found
        expect 0 omendb query -k 2 -F $format -o found base.omen q.fvecs
        same "$output$stderr" ""
        cmp found expected
        omendb query -k 2 -F $format -o - base.omen q.fvecs >found
        cmp found expected
    done
    expect 0 omendb query -o /dev/null base.omen q.fvecs
    [ -c /dev/null ]
    only base.fvecs base.omen expected found q.fvecs
}

@test "the output's extension decides its format, -F before it, and an unknown one is an error" {
    line
    for format in tsv jsonl ivecs npy csv ibin npz; do
        omendb query -F $format base.omen q.fvecs >want.$format
        expect 0 omendb query -o found.$format base.omen q.fvecs
        cmp found.$format want.$format
        expect 0 omendb query -F $format -o found.txt base.omen q.fvecs
        cmp found.txt want.$format
        expect 0 omendb query -F tsv -o found.$format base.omen q.fvecs
        cmp found.$format want.tsv
    done
    expect 0 omendb query -o found.NPY base.omen q.fvecs
    cmp found.NPY want.npy
    for name in found.txt found.parquet found.tsv.gz d.npy/found.x; do
        fails_with 2 \
            'does not say how to write the results: name it .tsv, .jsonl, .ivecs, .npy, .csv, .ibin, .npz or .hdf5' \
            omendb query -o $name base.omen q.fvecs
    done
    # names without an extension, and what is no file
    mkdir d.npy
    for name in found ./found d.npy/found .npy found.; do
        rm -f "$name"
        expect 0 omendb query -o $name base.omen q.fvecs
        cmp $name want.tsv
    done
    expect 0 omendb query -o /dev/null base.omen q.fvecs
    [ "$(omendb query -o /dev/stdout base.omen q.fvecs | hash_of /dev/stdin)" = "$(hash_of want.tsv)" ]
    for name in fifo fifo.x fifo.npy; do
        mkfifo $name
        cat $name >got &
        expect 0 omendb query -o $name base.omen q.fvecs
        wait
        case $name in fifo.npy) cmp got want.npy ;; *) cmp got want.tsv ;; esac
    done
}

@test "queries from standard input, named and not" {
    line
    omendb query base.omen q.fvecs >expected
    omendb query -f fvecs base.omen <q.fvecs >found
    cmp found expected
    omendb query -f fvecs base.omen - <q.fvecs >found
    cmp found expected
    cat q.fvecs | omendb query -f fvecs base.omen - >found
    cmp found expected
}

@test "raw queries take the dimension from the index" {
    line
    vectors make q.raw --text "1,0;9,0"
    omendb query base.omen q.fvecs >expected
    omendb query base.omen q.raw >found
    cmp found expected
    omendb query -f raw base.omen <q.raw >found
    cmp found expected
    omendb query -d 2 base.omen q.raw >found
    cmp found expected
    fails_with 2 "4" omendb query -d 4 base.omen q.raw
}

@test "distances are the metric's own" {
    vectors make base.fvecs --text "3,4;-3,4;6,8"
    vectors make q.fvecs --text "3,4"
    for refine in sq8 f16 f32; do
        omendb build -q -r $refine -m l2 base.fvecs
        same "$(omendb query --distances base.omen q.fvecs | cut -f 3-)" "0 0
2 25
1 36"
        omendb build -q -r $refine -m ip base.fvecs
        same "$(omendb query --distances base.omen q.fvecs | cut -f 3-)" "2 -50
0 -25
1 -7"
        omendb build -q -r $refine -m cosine base.fvecs
        omendb query --distances base.omen q.fvecs | cut -f 3- >found
        awk 'function near(x, y) { return x - y < 0.005 && y - x < 0.005 }
            { distance[$1] = $2 }
            END { exit !(near(distance[0], 0) && near(distance[1], 0.72) && near(distance[2], 0)) }' found
    done
}

@test "k beyond n gives n, complete and sorted" {
    plain_only
    vectors make base.fvecs -n 70 -d 5
    vectors make q.fvecs -n 3 -d 5 --seed 2
    for options in "" "-c rabitq -l 7" "-c none" "-r none" "-m ip" "-m cosine"; do
        omendb build -q $options base.fvecs
        for effort in "" "--probes 1" "--rerank 1" "--probes 1 --rerank 1"; do
            for k in 70 71 1000 2147483647; do
                omendb query -k $k $effort --distances base.omen q.fvecs >found
                awk '{ if (seen[$1, $3]++ || $3 < 0 || $3 > 69) exit 1
                    if ($2 > 1 && ($4 < distance || ($4 == distance && $3 < row))) exit 1
                    distance = $4; row = $3 } END { exit NR != 210 }' found
            done
        done
    done
}

@test "full effort is exact" {
    vectors make base.npy -n 600 -d 10 --kind gauss
    vectors make q.npy -n 50 -d 10 --kind gauss --seed 2
    for options in "" "-c rabitq" "-c none" "-m ip" "-m cosine"; do
        omendb build -q $options base.npy
        omendb query --exact --distances base.omen q.npy >expected
        omendb query --probes 600 --rerank 600 --distances base.omen q.npy >found
        cmp found expected
        omendb query --probes 2000000000 --rerank 2000000000 --distances base.omen q.npy >found
        cmp found expected
    done
}

@test "more effort never loses recall" {
    vectors make base.npy -n 2000 -d 10 --kind gauss
    vectors make q.npy -n 100 -d 10 --kind gauss --seed 2
    omendb build -q base.npy
    omendb query --exact base.omen q.npy >expected
    before=0
    for probes in 1 2 4 8 16 64; do
        omendb query --probes $probes --rerank 2000 base.omen q.npy >found
        now=$(recall expected found)
        at_least $before $now
        before=$now
    done
    at_least 0.99 $before
}

@test "-v and --json tell the effort on stderr" {
    plain_only
    line
    expect 0 omendb query -v base.omen q.fvecs
    has "$stderr" "2 queries, k 3, index 3 x 2 l2"
    has "$stderr" "queries/s"
    expect 0 omendb query --json base.omen q.fvecs
    same "${#lines[@]}" 6
    for path in queries k n d metric threads simd seconds.open seconds.read seconds.search seconds.write \
        queries_per_second probes rerank exact lists_probed codes_scanned rows_reranked; do
        member "$stderr" $path >/dev/null
    done
    same "$(member "$stderr" queries)" 2
    same "$(member "$stderr" k)" 3
    same "$(member "$stderr" exact)" false
    expect 0 omendb query --json --exact base.omen q.fvecs
    same "$(member "$stderr" exact)" true
}

@test "bad option values exit 2 and name the option" {
    line
    fails_with 2 '-k must be at least 1' omendb query -k 0 base.omen q.fvecs
    fails_with 2 '-k wants a whole number, not "-1"' omendb query -k -1 base.omen q.fvecs
    fails_with 2 '-k wants a whole number, not "ten"' omendb query --neighbors ten base.omen q.fvecs
    fails_with 2 '-k must be at most 2,147,483,647' omendb query -k 2147483648 base.omen q.fvecs
    fails_with 2 '--probes must be at least 1' omendb query --probes 0 base.omen q.fvecs
    fails_with 2 '--rerank must be at least 1' omendb query --rerank 0 base.omen q.fvecs
    fails_with 2 '--exact compares with every row' omendb query --exact --probes 1 base.omen q.fvecs
    fails_with 2 '--exact compares with every row' omendb query --rerank 5 --exact base.omen q.fvecs
    fails_with 2 '--output-format must be tsv, jsonl, ivecs, npy, csv, ibin, npz or hdf5, not "tab"' \
        omendb query -F tab base.omen q.fvecs
    fails_with 2 '"frob"' omendb query --cpu frob base.omen q.fvecs
    fails_with 2 'no INDEX given' omendb query
    fails_with 2 '"q.fvecs" is not an omendb index' omendb query base.omen q.fvecs x
    fails_with 2 '--output wants a file name' omendb query -o "" base.omen q.fvecs
    only base.fvecs base.omen q.fvecs
}

@test "a wrong dimension exits 2 and names both" {
    line
    vectors make w.fvecs -n 2 -d 3
    vectors make w.raw -n 2 -d 3
    echo old >found
    fails_with 2 'queries have 3 dimensions, the index has 2' omendb query -o found base.omen w.fvecs
    fails_with 2 'queries have 3 dimensions, the index has 2' omendb query -d 3 base.omen w.raw
    head -c 20 w.raw >x.raw
    fails_with 2 'row 2 is cut short' omendb query base.omen x.raw
    same "$(cat found)" old
    only base.fvecs base.omen found q.fvecs w.fvecs w.raw x.raw
}

@test "empty and damaged queries exit 2 and leave nothing" {
    line
    : >empty.fvecs
    fails_with 2 '"empty.fvecs" is empty' omendb query -o found base.omen empty.fvecs
    fails_with 2 'standard input is empty' omendb query -f fvecs base.omen </dev/null
    vectors make nan.npy --text "1,2;3,nan"
    fails_with 2 'row 1 has a NaN in column 1' omendb query -o found base.omen nan.npy
    vectors make inf.npy --text "1,2;3,4;-inf,0"
    fails_with 2 'row 2 has an infinite value in column 0' omendb query -o found base.omen inf.npy
    fails_with 2 'is an omendb index, not a file of vectors' omendb query -o found base.omen - <base.omen
    only base.fvecs base.omen empty.fvecs inf.npy nan.npy q.fvecs
}

@test "a zero query under cosine is an error that names it, unless --zero-ok" {
    line -m cosine --zero-ok
    vectors make z.fvecs --text "1,0;0,0"
    fails_with 2 'query 1 of "z.fvecs" is a zero vector' omendb query -o found base.omen z.fvecs
    expect 0 omendb query --zero-ok --distances base.omen z.fvecs
    same "$(printf '%s\n' "${lines[@]}" | awk '$1 == 1 { printf "%s:%s ", $3, $4 }')" "0:1 1:1 2:1 "
    expect 0 omendb query --exact --zero-ok --distances base.omen z.fvecs
    same "$(printf '%s\n' "${lines[@]}" | awk '$1 == 1 { printf "%s:%s ", $3, $4 }')" "0:1 1:1 2:1 "
    line -m l2
    expect 0 omendb query base.omen z.fvecs
}

@test "a message about a query counts from the start of the input" {
    line -m l2
    # a legal zero query first, an overlong one second
    vectors make z.fvecs --text "0,0;3e19,0"
    fails_with 2 'query 1 of "z.fvecs" is too long' omendb query -o found base.omen z.fvecs
    # one that is not in the first batch
    python3 -c '
import struct
row = struct.pack("<iff", 2, 1, 2)
open("many.fvecs", "wb").write(row * 16390 + struct.pack("<iff", 2, 3e19, 0) + row)'
    fails_with 2 'query 16390 of "many.fvecs" is too long' omendb query -o found base.omen many.fvecs
    line -m cosine --zero-ok
    python3 -c '
import struct
row = struct.pack("<iff", 2, 1, 2)
open("many.fvecs", "wb").write(row * 20000 + struct.pack("<iff", 2, 0, 0) + row)'
    fails_with 2 'query 20000 of "many.fvecs" is a zero vector, which has no cosine; --zero-ok accepts it' \
        omendb query -o found base.omen many.fvecs
}

@test "exact search needs a refine tier" {
    line -r none
    fails_with 2 '--exact needs a refine tier' omendb query --exact base.omen q.fvecs
    expect 0 omendb query base.omen q.fvecs
    same "${#lines[@]}" 6
}

@test "what is no index exits 2, a damaged one 3, what cannot be opened 4" {
    line
    : >empty.omen
    fails_with 2 'not an omendb index' omendb query base.fvecs q.fvecs
    fails_with 3 'empty' omendb query empty.omen q.fvecs
    head -c 5000 base.omen >cut.omen
    fails_with 3 'cut.omen' omendb query cut.omen q.fvecs
    fails_with 4 'cannot open "nope.omen": No such file or directory' omendb query nope.omen q.fvecs
    fails_with 4 'cannot open "nope.fvecs": No such file or directory' omendb query base.omen nope.fvecs
    fails_with 4 'nope/found' omendb query -o nope/found base.omen q.fvecs
    fails_with 4 'No space left on device' omendb query -o /dev/full base.omen q.fvecs
}

@test "outputs that would destroy an input are refused" {
    line
    cp q.fvecs found.tmp
    fails_with 2 'would overwrite the input' omendb query -o base.omen base.omen q.fvecs
    fails_with 2 'would overwrite the input' omendb query -o q.fvecs base.omen q.fvecs
    fails_with 2 'would overwrite the input' omendb query -o found base.omen found.tmp
    cmp q.fvecs found.tmp
    expect 0 omendb verify -q base.omen
}

@test "a full disk under -o exits 4, the old results stay" {
    vectors make base.fvecs -n 1000 -d 5
    omendb build -q base.fvecs
    echo old >found
    expect 4 bash -c 'trap "" XFSZ; ulimit -f 8; exec "$OMENDB" query -o found base.omen base.fvecs'
    has "$stderr" "File too large"
    same "$(cat found)" old
    only base.fvecs base.omen found
}

@test "SIGINT exits 130, the old results stay" {
    vectors make base.fvecs -n 20000 -d 60
    omendb build -q -c none base.fvecs
    echo old >found
    fails_with 130 "omendb query: interrupted; nothing was written" \
        timeout --preserve-status -s INT 0.2 \
        "$OMENDB" query -t 1 --cpu scalar --exact -k 100 -o found base.omen base.fvecs
    same "$(cat found)" old
    only base.fvecs base.omen found
}

@test "the binary formats are not written to a terminal" {
    command -v script >/dev/null || skip "no script(1)"
    line
    expect 2 script -qec '"$OMENDB" query -F npy base.omen q.fvecs' /dev/null
    has "$output" "npy is binary and standard output is a terminal"
}

@test "--way: the graph where there is one, by cost or as told; what has no meaning is refused" {
    vectors make v.fvecs -n 3000 -d 20
    vectors make q.fvecs -n 30 -d 20 --seed 3
    omendb build -q -o lists.omen v.fvecs
    omendb build -q --graph --degree 16 -o graph.omen v.fvecs
    omendb query --way lists graph.omen q.fvecs >found
    omendb query lists.omen q.fvecs | cmp - found
    omendb query --way exact --distances graph.omen q.fvecs >found
    omendb query --exact --distances lists.omen q.fvecs | cmp - found
    for way in lists graph auto exact; do
        omendb query --way $way --json graph.omen q.fvecs 2>$way.json >/dev/null
    done
    same "$(member "$(cat lists.json)" way)" '"lists"'
    same "$(member "$(cat graph.json)" way)" '"graph"'
    same "$(member "$(cat exact.json)" way)" '"exact"'
    same "$(member "$(cat graph.json)" lists_probed)" 0.0
    [ "$(member "$(cat graph.json)" way_reason)" != "$(member "$(cat auto.json)" way_reason)" ]
    same "$(member "$(omendb query --json lists.omen q.fvecs 2>&1 >/dev/null)" way_reason)" '"the index has no graph"'
    fails_with 2 "the index has no graph" omendb query --way graph lists.omen q.fvecs
    fails_with 2 "no meaning with --way graph" omendb query --way graph --probes 3 graph.omen q.fvecs
    fails_with 2 "exclude each other" omendb query --way graph --exact graph.omen q.fvecs
    fails_with 2 "--way must be" omendb query --way road graph.omen q.fvecs
    omendb query --way graph --audit 30 graph.omen q.fvecs 2>&1 >/dev/null | grep -q "recall@10"
    omendb query --way graph --certify --recall 0.9 --audit 10 graph.omen q.fvecs 2>&1 >/dev/null | grep -q certified
    # a query's answer is its own, in whatever batch
    omendb query --way graph --distances graph.omen q.fvecs >all
    head -c 84 q.fvecs >one.fvecs
    omendb query --way graph --distances graph.omen one.fvecs | cmp - <(head -n 10 all)
    fails_with 2 "--degree is that of a graph" omendb build --degree 16 v.fvecs
    fails_with 2 "refine tier" omendb build --graph -r none v.fvecs
    fails_with 2 "--degree" omendb build --graph --degree 7 v.fvecs
}

@test "attach --graph makes the index that a build with it makes, from exact rows, and another graph of another" {
    vectors make base.bvecs -n 3000 -d 20
    vectors make base.npy -n 600 -d 20 --kind walk
    mapfile -t all < <(some 1 "-m ip -c rabitq -r f32" "" "-l 1 -c none" "--seed 9 -b 16")
    for options in "${all[@]}"; do
        omendb build -q -o plain.omen $options base.bvecs
        omendb build -q --graph -o built.omen $options base.bvecs
        omendb attach -q --graph -o got.omen plain.omen
        cmp built.omen got.omen
        omendb attach -q --graph -t 1 -o got.omen plain.omen
        cmp built.omen got.omen
    done
    # its own graph gives way, beside keys and columns, which stay where a build has them
    seq 3000 >keys
    { echo n; cat keys; } >t.tsv
    omendb build -q --graph --degree 9 --key keys --columns t.tsv -o built.omen base.bvecs
    omendb build -q --graph --key keys --columns t.tsv -o other.omen base.bvecs
    expect 0 omendb attach --graph --degree 9 -o got.omen other.omen
    has "$stderr" "graph of 9 neighbours each"
    cmp built.omen got.omen
    omendb build -q -o plain.omen base.bvecs
    omendb attach -q --graph --degree 9 --key keys --columns t.tsv -o got.omen plain.omen
    cmp built.omen got.omen
    # tuned on queries
    vectors make tune.bvecs -n 300 -d 20 --seed 3
    omendb build -q --tune-queries tune.bvecs -o plain.omen base.bvecs
    omendb build -q --graph --tune-queries tune.bvecs -o built.omen base.bvecs
    omendb attach -q --graph --tune-queries tune.bvecs -o got.omen plain.omen
    cmp built.omen got.omen
    omendb attach -q --graph -o other.omen plain.omen
    run ! cmp -s built.omen other.omen
    vectors make tune.fvecs -n 30 -d 19
    fails_with 2 "the queries to tune for have 19 dimensions, the index 20" \
        omendb attach --graph --tune-queries tune.fvecs -o x.omen plain.omen
    fails_with 2 "is for a graph" omendb attach --tune-queries tune.bvecs --key keys -o x.omen plain.omen
    # all but the efforts are a build's where the refine tier rounds the rows
    omendb build -q -m cosine -r sq8 -o plain.omen base.npy
    omendb build -q -m cosine -r sq8 --graph -o built.omen base.npy
    omendb attach -q --graph -o got.omen plain.omen
    same "$(wc -c <got.omen)" "$(wc -c <built.omen)"
    expect 0 omendb verify --full got.omen
    omendb query --way graph --distances got.omen base.npy >/dev/null
    fails_with 2 "--degree is that of a graph" omendb attach --degree 9 -o x.omen plain.omen
    fails_with 2 "nothing to attach" omendb attach -o x.omen plain.omen
    omendb build -q -r none -o bare.omen base.bvecs
    fails_with 2 "needs a refine tier" omendb attach --graph -o x.omen bare.omen
    # two rows, and one, which nothing can be measured on
    for n in 1 2 3; do
        vectors make few.fvecs -n $n -d 4
        omendb build -q -o few.omen few.fvecs
        omendb build -q --graph -o built.omen few.fvecs
        omendb attach -q --graph -o got.omen few.omen
        cmp built.omen got.omen
    done
    # damage is found before the graph is made
    read -r place length < <(python3 "$tests_dir/cli/damage.py" where plain.omen REFN)
    printf '\377\377\377' | dd of=plain.omen bs=1 seek=$((place + length / 2)) conv=notrunc status=none
    fails_with 3 '"plain.omen" is damaged: section REFN, bytes ' omendb attach --graph -o x.omen plain.omen
    [ ! -e x.omen ]
}

@test "--rerank alone takes as many lists as the recall does" {
    vectors make base.npy -n 2000 -d 16 --kind gauss
    omendb build -q -l 64 base.npy
    expect 0 omendb query --json -o /dev/null base.omen base.npy
    plain=$(member "$stderr" lists_probed)
    expect 0 omendb query --json --rerank 200 -o /dev/null base.omen base.npy
    at_least "$(member "$stderr" lists_probed)" "$plain"
}

@test "a graph of clusters far apart finds as many rows as are asked for" {
    python3 -c '
import array, random
draw = random.Random(1).gauss
with open("base.fvecs", "wb") as out:
    for cluster in range(20):
        centre = [draw(0, 1000) for _ in range(16)]
        for _ in range(100):
            out.write(array.array("i", [16]).tobytes() + array.array("f", [c + draw(0, 1) for c in centre]).tobytes())'
    omendb build -q --graph -l 64 base.fvecs
    for row in 0 500 1000 1500; do
        echo $row
    done >rows
    omendb query -q --way graph -k 1990 --by-row rows -o found.tsv base.omen
    [ "$(wc -l <found.tsv)" -eq $((4 * 1990)) ]
}
