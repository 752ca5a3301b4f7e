# SPDX-License-Identifier: Apache-2.0
# omendb query: queries of a stream, answered as they come.
load helper

# 60 rows and 9 queries of small integers.
few()
{
    vectors make base.fvecs -n 60 -d 4
    omendb build -q "$@" base.fvecs
    for form in fvecs bvecs npy fbin raw; do
        vectors make q.$form -n 9 -d 4 --seed 5
    done
    od -An -v -t f4 -w16 q.raw | awk '{ $1 = $1; print }' OFS=, >q.csv
    tr , '\t' <q.csv >q.tsv
    sed 's/.*/{"n":[[1]],"e":[&]}/' q.csv >q.jsonl
    omendb query -q --distances base.omen q.fvecs >want
}

@test "each query is answered before the next one is sent" {
    few
    omendb query -q -F jsonl base.omen q.fvecs >want.jsonl
    for form in fvecs bvecs npy fbin raw csv tsv jsonl; do
        expect 0 timeout 20 python3 "$tests_dir/cli/ping.py" q.$form $form "$OMENDB" query -qF jsonl -f $form base.omen
        same "$output" "$(cat want.jsonl)"
    done
    # by a name, which tells the format
    mkfifo pipe.jsonl
    cat q.jsonl >pipe.jsonl &
    expect 0 omendb query -F jsonl base.omen pipe.jsonl:e
    same "$output" "$(cat want.jsonl)"
}

@test "a stream gives what the file gives, in batches of any size" {
    few
    for form in fvecs bvecs npy fbin raw csv tsv jsonl; do
        for n in 1 4 1000; do
            omendb query -q --distances --batch $n base.omen -f $form - < <(cat q.$form) | cmp - want
        done
    done
    omendb query --distances --batch 2 base.omen q.fvecs | cmp - want
    (sleep 0; cat q.fvecs) | omendb query --distances -o found.tsv base.omen
    cmp found.tsv want
    # of another kind than is told at once: read to the end first
    vectors make columns.npy -n 9 -d 4 --seed 5 --fortran
    cat columns.npy | omendb query --distances base.omen | cmp - want
    cat q.jsonl | omendb query --distances base.omen /dev/stdin:e | cmp - want
    gzip -c q.csv | omendb query --distances -f csv base.omen | cmp - want
    for option in "--audit 3" "--audit 9"; do
        cat q.csv | omendb query --distances -f csv $option base.omen | cmp - want
    done
    omendb query -F ibin base.omen q.fvecs >want.ibin
    cat q.fvecs | omendb query -F ibin -f fvecs base.omen | cmp - want.ibin
    cat q.fvecs | omendb query --distances -f fvecs --within 1e9 base.omen | cut -f 1 | uniq -c | awk '$1 != 60' |
        cmp - /dev/null
    expect 0 omendb query -q --json -f csv base.omen < <(cat q.csv)
    same "$(member "$stderr" queries)" 9
}

@test "what is wrong with a stream is told behind the answers before it" {
    few
    head -n 30 want | tr "\t" " " >three
    after() # CODE TEXT FORMAT: queries from standard input, of which the first three are answered
    {
        expect "$1" omendb query -q --distances -f "$3" base.omen
        same "$output" "$(cat three)"
        has "$stderr" "$2"
    }
    after 2 "row 3 is cut short: 5 of its 20 bytes" fvecs < <(head -c 65 q.fvecs)
    after 2 "row 3 is cut short: 5 of its 16 bytes" raw < <(head -c 53 q.raw)
    after 2 "row 3 has dimension 7, the first row has 4" fvecs < <(head -c 60 q.fvecs; printf '\7\0\0\0%16s' "")
    after 2 "row 3 has an infinite value in column 3" raw < <(head -c 60 q.raw; printf '\0\0\200\177')
    after 2 "line 4 has 2 numbers, the first row has 4" csv < <(head -n 3 q.csv; echo 1,2; cat q.csv)
    after 2 'line 4, column 1: "" is no number' csv < <(head -n 3 q.csv; echo; cat q.csv)
    after 2 "line 4, character 1" jsonl < <(head -n 3 q.jsonl; echo "}")
    after 2 "ends after 3 of the 9 rows" fbin < <(head -c 56 q.fbin)
    after 0 "" csv < <(head -n 3 q.csv; echo; echo)
    expect 2 omendb query -q --distances -f npy base.omen < <(cat q.npy; echo)
    same "$output" "$(tr "\t" " " <want)"
    has "$stderr" "more follows after the 9 rows"
    fails_with 2 "it looks like npy" omendb query -f fvecs base.omen < <(cat q.npy)
    fails_with 2 "is cut short" omendb query -f fvecs base.omen < <(printf x)
    fails_with 2 "is cut short" omendb query base.omen < <(head -c 50 q.npy)
    fails_with 2 "is empty" omendb query -f csv base.omen < <(:)
    fails_with 2 "there are no rows" omendb query -f csv base.omen < <(echo a,b)
    fails_with 2 "line 1 is longer" omendb query -f csv base.omen < <(head -c 20M /dev/zero)
    fails_with 2 "queries have 2 dimensions" omendb query -f csv base.omen < <(echo 1,2)
    fails_with 2 "row 3 is cut short" omendb query -o none -f fvecs base.omen < <(head -c 65 q.fvecs)
    [ ! -e none ]
    omendb build -q --metric cosine -o cosine.omen base.fvecs
    omendb query -q --distances cosine.omen q.fvecs | head -n 30 | tr "\t" " " >three
    expect 2 omendb query -q --distances -f csv cosine.omen < <(head -n 3 q.csv; echo 0,0,0,0; cat q.csv)
    same "$output" "$(cat three)"
    has "$stderr" "query 3 is a zero vector"
    for row in 0,0,0,0 1e30,0,0,0; do
        expect 2 omendb query -q --distances -f csv cosine.omen < <(
            echo 1e-30,0,0,0; head -n 1 q.csv; echo $row; cat q.csv)
        same "$(cut -f 1 <<<"$output" | uniq -c | tr -s " ")" " 10 0"$'\n'" 10 1"
        has "$stderr" "query 2 is "
    done
}

@test "a stream may be left waiting" {
    few
    expect 143 timeout 20 python3 "$tests_dir/cli/ping.py" q.csv csv --term \
        "$OMENDB" query -qF jsonl -k 1 -f csv base.omen
    has "$output" '{"query":0,'
    has "$stderr" "interrupted"
    # a reader that goes away
    run bash -c 'while echo 1,2,3,4; do :; done | "$OMENDB" query -f csv base.omen | head -n 1 >/dev/null
        echo "${PIPESTATUS[1]}"'
    has "$output" 141
}
