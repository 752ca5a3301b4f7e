#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Queries under conditions on columns.
load helper

# rows with a number, a colour and a tag or two, and some queries
shop()
{
    n=${1:-3000}
    vectors make v.fvecs -n "$n" -d 8
    vectors make q.fvecs -n 40 -d 8 --seed 5
    awk -v n="$n" 'BEGIN {
        print "number\tcolour"
        for (i = 0; i < n; i++) print i "\t" (i % 3 ? "red" : "blue") }' >t.tsv
    awk -v n="$n" 'BEGIN { for (i = 0; i < n; i++) print (i % 5 ? "a" : "a b"), i % 7 == 0 ? "c" : "" }' >tags.txt
    omendb build -q --columns t.tsv --tags tags.txt v.fvecs
}

# all_rows EXPRESSION: every row of standard input that it holds for, as r
all_rows()
{
    awk "{ r = \$3; if (!($1)) { print; bad = 1 } } END { exit bad }"
}

@test "rows that meet the condition are found, the nearest of them" {
    shop
    omendb query --exact -k 3000 v.omen q.fvecs >all.tsv
    # condition, and the same of a row number
    while IFS='|' read -r condition same; do
        omendb query -q -k 10 --recall 1 --where "$condition" v.omen q.fvecs >found.tsv
        all_rows "$same" <found.tsv
        awk "{ r = \$3; if (($same) && n[\$1]++ < 10) print \$1, n[\$1], r }" all.tsv | tr ' ' '\t' >want.tsv
        omendb query -q --exact --where "$condition" v.omen q.fvecs >exact.tsv
        cmp exact.tsv want.tsv
        same "$(wc -l <found.tsv)" "$(wc -l <want.tsv)"
        [ -s want.tsv ] || continue
        at_least 0.98 "$(recall want.tsv found.tsv)"
        omendb query -q --where "$condition" v.omen q.fvecs >found.tsv
        at_least 0.93 "$(recall want.tsv found.tsv)"
    done <<'END'
colour = 'blue'|r % 3 == 0
number BETWEEN 100 AND 104|r >= 100 && r <= 104
number < 500 AND NOT tags HAS 'b'|r < 500 && r % 5 != 0
tags HAS 'b' AND tags HAS 'c'|r % 35 == 0
number = 7 OR colour = 'red' AND number > 2900|r == 7 || (r % 3 && r > 2900)
number < 0|0
number >= 0|1
END
}

@test "each query has its own condition" {
    shop
    for i in $(seq 0 39); do
        case $((i % 4)) in
        0) echo ;;
        1) echo "number < $((100 * i))" ;;
        2) echo "colour = 'blue' -- no comment" | sed 's/ --.*//' ;;
        3) echo "tags HAS 'b'" ;;
        esac
    done >w.txt
    omendb query -q --where-file w.txt v.omen q.fvecs >found.tsv
    awk '{ r = $3; k = $1 % 4 }
        k == 1 && r >= 100 * $1 || k == 2 && r % 3 || k == 3 && r % 5 { print; bad = 1 } END { exit bad }' found.tsv
    # as alone, for any number of threads and any order of batches
    for t in 1 3; do
        omendb query -q -t $t --where-file w.txt v.omen q.fvecs | cmp - found.tsv
    done
    omendb query -q v.omen q.fvecs | awk '$1 % 4 == 0' >plain.tsv
    awk '$1 % 4 == 0' found.tsv | cmp - plain.tsv
    omendb query -q --where "tags HAS 'b'" v.omen q.fvecs | awk '$1 % 4 == 3' >one.tsv
    awk '$1 % 4 == 3' found.tsv | cmp - one.tsv
    omendb query -q --where-file - v.omen q.fvecs <w.txt | cmp - found.tsv
    fails_with 2 '"w.txt" has 40 lines, and there are 39 queries' omendb query --where-file w.txt v.omen \
        <(head -c $((39 * 36)) q.fvecs)
    sed -i '8s/.*/prize < 3/' w.txt
    fails_with 2 '"w.txt", line 8: condition, character 1: there is no column "prize"' \
        omendb query --where-file w.txt v.omen q.fvecs
}

@test "tags of a matrix" {
    vectors make v.fvecs -n 300 -d 8
    vectors make q.fvecs -n 3 -d 8 --seed 5
    # spmat FILE COLUMNS ROW...: a row is numbers, or - for none
    spmat()
    {
        python3 -c '
import struct, sys
path, columns, *rows = sys.argv[1:]
rows = [[] if row == "-" else [int(tag) for tag in row.split(",")] for row in rows]
first = [sum(map(len, rows[:i])) for i in range(len(rows) + 1)]
tags = [tag for row in rows for tag in row]
with open(path, "wb") as out:
    out.write(struct.pack("<3q", len(rows), int(columns), len(tags)) + struct.pack("<%dq" % len(first), *first))
    out.write(struct.pack("<%di" % len(tags), *tags) + struct.pack("<%df" % len(tags), *[1] * len(tags)))
' "$@"
    }
    # shellcheck disable=SC2046 # a word a row
    spmat t.spmat 10 $(for i in $(seq 0 299); do echo "$((i % 2)),$((2 + i % 3))"; done)
    omendb build -q --tags t.spmat v.fvecs
    spmat q.spmat 20 1,3 - 0,15
    expect 0 omendb query --where-tags q.spmat v.omen q.fvecs
    has "$stderr" "1 of 3 queries found fewer than 10 rows"
    all_rows '$1 == 1 || $1 == 0 && r % 6 == 1' <<<"$output"
    same "$(grep -c '^0' <<<"$output")" 10
    same "$(grep -c '^2' <<<"$output" || true)" 0
    expect 0 omendb query --explain --where-tags q.spmat -o found.tsv v.omen q.fvecs
    has "${stderr_lines[0]}" "filter: 50 of 300 rows (16.7%), in"
    has "${stderr_lines[0]}" "1 query: tags HAS 1 AND tags HAS 3"
    has "${stderr_lines[1]}" "filter: 0 of 300 rows"
    spmat bad.spmat 20 1,3 0
    fails_with 2 '"bad.spmat" has 2 rows, and there are 3 queries' omendb query --where-tags bad.spmat v.omen q.fvecs
    head -c 60 q.spmat >bad.spmat
    fails_with 2 "is no sparse matrix" omendb query --where-tags bad.spmat v.omen q.fvecs
}

@test "fewer rows than k: short in text, -1 in arrays, and told" {
    shop 300
    expect 0 omendb query --where "number IN (5, 7)" v.omen q.fvecs
    same "${#lines[@]}" 80
    same "$stderr" "omendb query: 40 of 40 queries found fewer than 10 rows: no more match"
    expect 0 omendb query -q --where "number IN (5, 7)" -F ivecs -k 3 -o found.ivecs v.omen q.fvecs
    same "$stderr" ""
    python3 -c '
import struct
data = open("found.ivecs", "rb").read()
rows = [struct.unpack_from("<4i", data, at) for at in range(0, len(data), 16)]
assert len(rows) == 40 and all(row[0] == 3 and {*row[1:3]} == {5, 7} and row[3] == -1 for row in rows), rows'
    expect 0 omendb query --json -o /dev/null --where "number IN (5, 7)" v.omen q.fvecs
    same "$(member "$stderr" short)" 40
}

@test "conditions and lists of rows restrict together" {
    shop 300
    seq 0 2 299 >even.txt
    omendb query -q --only even.txt --where "number < 100" v.omen q.fvecs >found.tsv
    all_rows 'r % 2 == 0 && r < 100' <found.tsv
    same "$(wc -l <found.tsv)" 400
    { echo "number < 100"; yes '' | head -n 39; } >w.txt
    omendb query -q --except even.txt --where-file w.txt v.omen q.fvecs >found.tsv
    all_rows 'r % 2 && ($1 > 0 || r < 100)' <found.tsv
    same "$(wc -l <found.tsv)" 400
}

@test "recall is measured under the conditions" {
    shop
    expect 0 omendb query --audit 40 -o found.tsv --where "colour = 'blue'" v.omen q.fvecs
    [[ $stderr =~ recall@10\ ([0-9.]+) ]]
    at_least 0.93 "${BASH_REMATCH[1]}"
    expect 0 omendb query --certify --recall 0.9 --audit 10 -o found.tsv --where "tags HAS 'b'" v.omen q.fvecs
    has "$stderr" "is certified"
    all_rows 'r % 5 == 0' <found.tsv
}

@test "what cannot be asked is told" {
    shop 100
    fails_with 2 "condition, character 10: \"number\" holds numbers" omendb query --where "number = 'x'" v.omen q.fvecs
    fails_with 2 "ask for one with tags HAS 'word'" omendb query --where "tags = 'a'" v.omen q.fvecs
    fails_with 2 "choose one" omendb query --where "number = 1" --where-file w.txt v.omen q.fvecs
    fails_with 2 "--explain tells how a filter is searched" omendb query --explain v.omen q.fvecs
    fails_with 2 "standard input can be read once" omendb query --where-file - v.omen
    fails_with 2 'overwrite the input --where-file "t.tsv"' omendb query --where-file t.tsv -o t.tsv v.omen q.fvecs
    fails_with 4 'cannot open "nope"' omendb query --where-file nope v.omen q.fvecs
    omendb build -q -o plain.omen v.fvecs
    fails_with 2 "the index was built without columns" omendb query --where "x = 1" plain.omen q.fvecs
}

@test "damaged columns are never believed" {
    shop 300
    omendb query -q --where "number < 50 AND tags HAS 'b'" v.omen q.fvecs >good.tsv
    cp v.omen good.omen
    read -r place length < <(python3 "$tests_dir/cli/damage.py" where v.omen CVAL)
    n=0
    for i in $(seq 0 40); do
        cp good.omen v.omen
        printf '\377' | dd of=v.omen bs=1 seek=$((place + length * i / 41)) conv=notrunc status=none
        run --separate-stderr omendb query -q --where "number < 50 AND tags HAS 'b'" v.omen q.fvecs
        if [ "$status" -eq 3 ]; then
            n=$((n + 1))
            has "$stderr" '"v.omen" is damaged: section CVAL, bytes'
        else
            [ "$status" -eq 0 ]
            cmp - good.tsv <<<"$output"
        fi
    done
    [ $n -gt 5 ]
    omendb query -q v.omen q.fvecs >/dev/null
}

@test "columns that lie do no harm" {
    shop 300
    lies=${OMEN_TEST_QUICK:+12}
    python3 "$tests_dir/cli/hostile.py" index v.omen q.fvecs ${lies:-50} --where \
        "number < 50 AND tags HAS 'b' OR colour = 'red'"
}

@test "names of columns that a condition has to put in quotes" {
    vectors make v.fvecs -n 2 -d 4
    vectors make q.fvecs -n 1 -d 4 --seed 5
    printf 'NOT\tnull\tTrue\tFALSE\t2nd\tin\thas\n0\t0\t0\t0\t0\t0\t0\n1\t1\t1\t1\t1\t1\t1\n' >t.tsv
    omendb build -q --columns t.tsv v.fvecs
    for name in NOT null True FALSE 2nd; do
        fails_with 2 "condition, character " omendb query --where "$name = 1" v.omen q.fvecs
        same "$(omendb query -q --where "\"$name\" = 1" v.omen q.fvecs)" "0 1 1"
    done
    for name in in HAS; do
        same "$(omendb query -q --where "$name = 1" v.omen q.fvecs)" "0 1 1"
    done
}
