# SPDX-License-Identifier: Apache-2.0
# omendb bench under filters.
load helper

quick="--runs 1 --min-time 0 -q"

# Rows with a key, a number, a colour and tags; queries, and a condition for each.
setup_file()
{
    cd "$BATS_FILE_TMPDIR" || return
    vectors make v.fvecs --kind gauss -n 3000 -d 12
    vectors make q.fvecs --kind gauss -n 60 -d 12 --seed 2
    awk 'BEGIN { print "key\tnumber\tcolour"
        for (i = 0; i < 3000; i++) print "k" i "\t" i % 1000 "\t" (i % 3 ? "red" : "blue") }' >t.tsv
    awk 'BEGIN { for (i = 0; i < 3000; i++) print (i % 5 ? "a" : "a b"), i % 7 == 0 ? "c" : "" }' >tags.txt
    for i in $(seq 0 59); do
        case $((i % 5)) in
        0) echo ;;
        1) echo "number < $((16 * i))" ;;
        2) echo "colour = 'blue'" ;;
        3) echo "tags HAS 'b' AND number >= 900" ;;
        4) echo "number = $i AND colour = 'red'" ;;
        esac
    done >w.txt
    seq 0 3 2999 >third.txt
    printf '%s\n' 4 77 1500 >few.txt
    omendb build -q -r f32 --columns t.tsv --tags tags.txt -o v.omen v.fvecs
    omendb build -q -r f32 --columns t.tsv --key :key -o keys.omen v.fvecs
}

here()
{
    cp "$BATS_FILE_TMPDIR"/* .
}

# bench_filter ARGUMENT...
bench_filter()
{
    omendb bench $quick --base v.fvecs --queries q.fvecs "$@"
}

@test "the truth under a filter is what exact search under it finds, and recall is of as many rows as pass" {
    here
    for filter in "--where-file w.txt" "--only third.txt" "--except third.txt" "--only third.txt --where-file w.txt" \
        "--only few.txt"; do
        # shellcheck disable=SC2086 # a list of words
        omendb query -q --exact $filter -F ivecs -o want.ivecs v.omen q.fvecs
        # shellcheck disable=SC2086
        bench_filter v.omen $filter --json --recall 0.7 --save-truth base.ivecs >base.json
        cmp base.ivecs want.ivecs
        # shellcheck disable=SC2086
        omendb bench $quick --queries q.fvecs v.omen $filter --json --recall 0.7 --save-truth rows.ivecs >rows.json
        cmp rows.ivecs want.ivecs
        same "$(member "$(cat rows.json)" truth.origin)" '"refine"'
        # min(k, matches) of a query
        # shellcheck disable=SC2086
        omendb query -q --recall 0.7 $filter -F ivecs -o found.ivecs v.omen q.fvecs
        want=$(python3 -c '
import struct
def rows(path):
    data = open(path, "rb").read()
    return [[i for i in struct.unpack_from("<10i", data, 44 * q + 4) if i >= 0] for q in range(60)]
pairs = list(zip(rows("want.ivecs"), rows("found.ivecs"), strict=True))
assert all(len(a) == len(b) for a, b in pairs)
print(f"{sum(len(set(a) & set(b)) for a, b in pairs) / sum(len(a) for a, _ in pairs):.4f}")')
        for file in base rows; do
            same "$(printf %.4f "$(member "$(cat $file.json)" points.0.recall_by_id)")" "$want"
            at_least "$want" "$(printf %.4f "$(member "$(cat $file.json)" points.0.recall_by_distance)")"
        done
    done
    bench_filter v.omen --where "number < 100 AND tags HAS 'b'" --json -k 1,100 --recall 0.9 >r.json
    for path in rows_min rows_median rows_max; do
        same "$(member "$(cat r.json)" filter.$path)" 60
    done
    same "$(member "$(cat r.json)" filter.conditions)" 1
    # a condition for every query, and 60 times the same
    for _ in $(seq 60); do echo "tags HAS 'b' AND NOT number >= 100"; done >same.txt
    bench_filter v.omen --where-file same.txt --json -k 1,100 --recall 0.9 >s.json
    same "$(member "$(cat s.json)" points.1.recall_by_id)" "$(member "$(cat r.json)" points.1.recall_by_id)"
    same "$(member "$(cat s.json)" filter.conditions)" 1
    expect 0 omendb bench --runs 1 --min-time 0 --queries q.fvecs --recall 0.9 --where-file w.txt v.omen
    has "$output" "filter  a query may find "
    has "$output" " queries that may find "
}

@test "filters on tags of a sparse matrix" {
    here
    python3 -c '
import struct
rows = [[i % 3] if i % 2 else [] for i in range(3000)]
def write(path, rows):
    at, indptr = 0, [0]
    for row in rows:
        at += len(row)
        indptr.append(at)
    entries = [i for row in rows for i in row]
    with open(path, "wb") as out:
        out.write(struct.pack(f"<3q{len(indptr)}q", len(rows), 3, at, *indptr))
        out.write(struct.pack(f"<{at}i{at}f", *entries, *[1.0] * at))
write("t.spmat", rows)
write("q.spmat", [[i % 3] if i % 4 else [] for i in range(60)])'
    omendb build -q -r f32 --tags t.spmat -o tags.omen v.fvecs
    omendb query -q --exact --where-tags q.spmat -F ivecs -o want.ivecs tags.omen q.fvecs
    bench_filter tags.omen --where-tags q.spmat --json --recall 0.9 --save-truth gt.ivecs >r.json
    cmp gt.ivecs want.ivecs
    same "$(member "$(cat r.json)" filter.rows_min) $(member "$(cat r.json)" filter.rows_max)" "500 3000"
}

@test "files name rows by keys, or with --rows by numbers" {
    here
    sed 's/^/k/' third.txt >keys.txt
    bench_filter v.omen --only third.txt --recall 0.9 --save-truth want.ivecs
    bench_filter keys.omen --only keys.txt --recall 0.9 --save-truth gt.ivecs
    cmp gt.ivecs want.ivecs
    bench_filter keys.omen --only third.txt --rows --recall 0.9 --save-truth gt.ivecs
    cmp gt.ivecs want.ivecs
    bench_filter keys.omen --only - --recall 0.9 --save-truth gt.ivecs <keys.txt
    cmp gt.ivecs want.ivecs
    fails_with 2 '"third.txt", line 1: no row has the key "0"' bench_filter keys.omen --only third.txt --recall 0.9
}

@test "a truth that the filter contradicts is refused" {
    here
    bench_filter v.omen --recall 0.9 --save-truth all.ivecs
    bench_filter v.omen --where "colour = 'blue'" --recall 0.9 --save-truth blue.ivecs --json >searched.json
    bench_filter v.omen --where "colour = 'blue'" --recall 0.9 --truth blue.ivecs --json >read.json
    same "$(member "$(cat read.json)" points.0.recall_by_id)" "$(member "$(cat searched.json)" points.0.recall_by_id)"
    fails_with 2 'not the truth under this filter: row ' bench_filter v.omen --where "colour = 'blue'" --recall 0.9 \
        --truth all.ivecs
    [[ $stderr =~ row\ ([0-9]+)\ of\ query ]]
    [ $((BASH_REMATCH[1] % 3)) -ne 0 ]
    fails_with 2 'it has 10 neighbours of query 0, and 3 rows pass' bench_filter v.omen --only few.txt --recall 0.9 \
        --truth all.ivecs
    # rows that pass, but not the nearest of them
    bench_filter v.omen --where "number < 500 AND colour = 'blue'" --recall 0.9 --save-truth part.ivecs
    fails_with 2 'is not the truth of this index' bench_filter v.omen --where "colour = 'blue'" --recall 0.9 \
        --truth part.ivecs
}

@test "a baseline of another filter is unusable, of the same one it is compared" {
    here
    bench_filter v.omen --recall 0.9 --json >plain.json
    bench_filter v.omen --recall 0.9 --json --where "number < 500 AND colour = 'blue'" >was.json
    # the same in other words
    expect 0 bench_filter v.omen --recall 0.9 --where "colour = 'blue' AND NOT number >= 500" --baseline was.json
    has "$stderr" "recall and sizes: no worse than the baseline"
    fails_with 2 "another filter: --where \"number < 500 AND colour = 'blue'\", and now it is --where \"number < 5\"" \
        bench_filter v.omen --recall 0.9 --where "number < 5" --baseline was.json
    fails_with 2 "and now it is none" bench_filter v.omen --recall 0.9 --baseline was.json
    fails_with 2 'another filter: none, and now it is --only "third.txt"' \
        bench_filter v.omen --recall 0.9 --only third.txt --baseline plain.json
    # a file of the same name
    bench_filter v.omen --recall 0.9 --json --where-file w.txt --only third.txt >was.json
    expect 0 bench_filter v.omen --recall 0.9 --where-file w.txt --only third.txt --baseline was.json
    sed -i '2s/.*/number < 17/' w.txt
    fails_with 2 'another filter: --where-file "w.txt", and now it is --where-file "w.txt"' \
        bench_filter v.omen --recall 0.9 --where-file w.txt --only third.txt --baseline was.json
    # a result from before there were filters has none
    python3 -c '
import json
r = json.load(open("plain.json"))
del r["filter"]
json.dump(r, open("old.json", "w"))'
    expect 0 bench_filter v.omen --recall 0.9 --baseline old.json
    fails_with 2 'another filter: none' bench_filter v.omen --recall 0.9 --where "number < 5" --baseline old.json
    # recall that fell, at the effort of before too
    bench_filter v.omen --json --probes 3 --rerank 12 --where-file w.txt >was.json
    python3 -c '
import json
r = json.load(open("was.json"))
r["points"][0]["recall_by_id"] = 1
json.dump(r, open("was.json", "w"))'
    expect 1 bench_filter v.omen --probes 3 --rerank 12 --where-file w.txt --max-recall-drop 0 --baseline was.json
    has "$stderr" "worse   recall@10 by id at --probes 3 --rerank 12"
}

@test "both programs of a comparison search under the filter" {
    plain_only
    here
    cat >logged <<END
#!/bin/sh
echo "\$*" >>"$PWD/words"
exec "$OMENDB" "\$@"
END
    chmod +x logged
    sed 's/^/k/' third.txt >keys.txt
    where="number < 500 AND colour = 'blue'"
    bench_filter keys.omen --recall 0.9 --json --only - --where "$where" --max-slowdown 900% \
        --baseline-binary ./logged <keys.txt >r.json
    for recall in recall_by_id baseline_recall_by_id; do
        same "$(member "$(cat r.json)" ab.contests.0.$recall)" "$(member "$(cat r.json)" points.0.recall_by_id)"
    done
    grep -q -e "--rows --only /proc/[0-9]*/fd/[0-9]* --where $where -- " words
    # of some queries fewer than k rows pass
    : >words
    bench_filter v.omen --recall 0.9 --json --where-file w.txt --max-slowdown 900% --baseline-binary ./logged >r.json
    same "$(member "$(cat r.json)" ab.contests.0.baseline_recall_by_id)" \
        "$(member "$(cat r.json)" points.0.recall_by_id)"
    grep -q -e "--where-file w.txt -- " words
    run ! grep -q -e --rows -e --only words
    # one that looks at other rows is told by its recall
    cat >blind <<END
#!/bin/sh
for word; do
    shift
    [ "\$word" = --where-file ] && word=--except
    [ "\$word" = w.txt ] && word=few.txt
    set -- "\$@" "\$word"
done
exec "$OMENDB" "\$@"
END
    chmod +x blind
    bench_filter v.omen --recall 0.9 --json --where-file w.txt --max-slowdown 900% --baseline-binary ./blind >r.json
    run ! at_least 0.9 "$(member "$(cat r.json)" ab.contests.0.baseline_recall_by_id)"
}

@test "an index with keys is compared by row numbers" {
    plain_only
    here
    bench_filter keys.omen --recall 0.9 --json --max-slowdown 900% --baseline-binary "$OMENDB" >r.json
    same "$(member "$(cat r.json)" ab.contests.0.recall_by_id)" "$(member "$(cat r.json)" points.0.recall_by_id)"
}

@test "of an index with a graph both ways are measured, with the same filter" {
    here
    omendb build -q --graph --columns t.tsv -o g.omen v.fvecs
    bench_filter g.omen --recall 0.9 --json --where "number < 500" >r.json
    same "$(member "$(cat r.json)" options.ways)" '["lists", "graph"]'
    at_least 0.85 "$(member "$(cat r.json)" points.1.recall_by_id)"
    [ "$(member "$(cat r.json)" points.1.graph_estimates)" != 0.0 ]
}

@test "misuse of filters" {
    here
    fails_with 2 "choose one" bench_filter v.omen --where "number < 5" --where-file w.txt
    fails_with 2 "of the rows of an INDEX" bench_filter --where "number < 5"
    fails_with 2 "--rows says how" bench_filter v.omen --rows
    fails_with 2 "standard input can be read once" bench_filter v.omen --only - --except -
    fails_with 2 "standard input can be read once" bench_filter v.omen --where-file - --baseline-binary "$OMENDB"
    cp few.txt few.ivecs
    fails_with 2 "would overwrite the input" bench_filter v.omen --only few.ivecs --save-truth few.ivecs
    fails_with 2 'no column "numbr"' bench_filter v.omen --where "numbr < 5"
    fails_with 2 '"few.txt" has 3 lines, and there are 60 queries' bench_filter v.omen --where-file few.txt
    fails_with 2 "no row passes the filter of any query" bench_filter v.omen --where "number < 0"
    omendb build -q -r none --columns t.tsv -o none.omen v.fvecs
    fails_with 2 "the index has none" bench_filter none.omen --where "number < 5"
}
