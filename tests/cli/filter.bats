# SPDX-License-Identifier: Apache-2.0
# query --only and --except: rows that a file names.
load helper

setup_file()
{
    cd "$BATS_FILE_TMPDIR" || return
    vectors make base.npy -n 3000 -d 12 --kind gauss
    vectors make q.fvecs -n 60 -d 12 --kind gauss --seed 2
    omendb build -q -r f32 -o base.omen base.npy
    omendb query --exact -k 3000 -o all.tsv base.omen q.fvecs
    seq 0 3 2999 >third.txt
    seq 17 100 2999 >few.txt
}

here()
{
    cp "$BATS_FILE_TMPDIR"/* .
}

# passing K FILE [except]: what exact search finds among the rows in FILE, or among all others, as tsv without
# distances.
passing()
{
    awk -v k="$1" -v except="${3:+1}" -v OFS='\t' 'NR == FNR { listed[$1]; next }
        ($3 in listed) != (except == "1") && n[$1] < k { print $1, ++n[$1], $3 }' "$2" all.tsv
}

@test "--only and --except find what exact search of the others leaves out" {
    here
    for name in third few; do
        passing 10 $name.txt >want.tsv
        omendb query --exact --only $name.txt -o found.tsv base.omen q.fvecs
        cmp found.tsv want.tsv
        omendb query --only $name.txt -o found.tsv base.omen q.fvecs
        [ "$(wc -l <found.tsv)" -eq 600 ]
        [ -z "$(awk 'NR == FNR { listed[$1]; next } !($3 in listed)' $name.txt found.tsv)" ]
        at_least 0.95 "$(recall want.tsv found.tsv)"
        passing 10 $name.txt except >want.tsv
        omendb query --exact --except $name.txt -o found.tsv base.omen q.fvecs
        cmp found.tsv want.tsv
        omendb query --except $name.txt -o found.tsv base.omen q.fvecs
        [ -z "$(awk 'NR == FNR { listed[$1]; next } $3 in listed' $name.txt found.tsv)" ]
        at_least 0.95 "$(recall want.tsv found.tsv)"
    done
    # both: the rows of one that the other has not
    grep -vxFf few.txt third.txt >both.txt
    omendb query --only both.txt -o want.tsv base.omen q.fvecs
    omendb query --only third.txt --except few.txt -o found.tsv base.omen q.fvecs
    cmp found.tsv want.tsv
}

@test "through the graph, too, what exact search of the others leaves out is found" {
    here
    omendb attach -q --graph -o g.omen base.omen
    passing 10 third.txt >want.tsv
    expect 0 omendb query --way graph --explain --only third.txt -o found.tsv g.omen q.fvecs
    has "$stderr" "searched through the graph"
    [ -z "$(awk 'NR == FNR { listed[$1]; next } !($3 in listed)' third.txt found.tsv)" ]
    [ "$(wc -l <found.tsv)" -eq 600 ]
    at_least 0.93 "$(recall want.tsv found.tsv)"
    omendb query --way graph -t 1 --cpu scalar --only third.txt g.omen q.fvecs | cmp - found.tsv
    # what is told with -v is what was done
    expect 0 omendb query -v --way graph --only third.txt -o found.tsv g.omen q.fvecs
    has "$stderr" "0 go through lists, 60 through the graph"
    expect 0 omendb query -v --only few.txt -o found.tsv g.omen q.fvecs
    has "$stderr" "60 queries compare all rows that pass"
    # few rows are compared; where nearly all are wanted, and where it is left open, each filter has its own way
    omendb query --way graph --only few.txt g.omen q.fvecs | cmp - <(omendb query --only few.txt base.omen q.fvecs)
    omendb query --way graph -k 990 --only third.txt g.omen q.fvecs | awk 'END { exit NR != 60 * 990 }'
    omendb query --only third.txt --audit 30 g.omen q.fvecs 2>&1 >found.tsv | grep -q "recall@10"
    at_least 0.93 "$(recall want.tsv found.tsv)"
}

@test "the same answers for any threads, SIMD level and form of the file" {
    here
    omendb query --only third.txt --distances -o want.tsv base.omen q.fvecs
    for options in "-t 1" "-t 3" "--cpu scalar" "--no-check"; do
        # shellcheck disable=SC2086 # a list of words
        omendb query $options --only third.txt --distances -o found.tsv base.omen q.fvecs
        cmp found.tsv want.tsv
    done
    sed 's/^/ /; s/$/\t\r/' third.txt | sort -r >other.txt
    cat other.txt third.txt >>twice.txt
    printf '\n \n' >>twice.txt
    omendb query --only twice.txt --distances -o found.tsv base.omen q.fvecs
    cmp found.tsv want.tsv
    omendb query --only - --distances -o found.tsv base.omen q.fvecs <third.txt
    cmp found.tsv want.tsv
    cat third.txt | omendb query --only - --distances -o found.tsv base.omen q.fvecs
    cmp found.tsv want.tsv
    # all rows, and no filter, by exact search
    omendb query --exact -o want.tsv base.omen q.fvecs
    seq 0 2999 | omendb query --exact --only - -o found.tsv base.omen q.fvecs
    cmp found.tsv want.tsv
    : >empty.txt
    omendb query --exact --except empty.txt -o found.tsv base.omen q.fvecs
    cmp found.tsv want.tsv
}

@test "fewer matches than asked for: short in tsv and jsonl, -1 in npy and ivecs, and told once" {
    here
    printf '5\n9\n' >two.txt
    omendb query --exact -k 3000 base.omen q.fvecs | awk '$1 == 0 && ($3 == 5 || $3 == 9) { print $3 }' >order
    first=$(head -n 1 order)
    second=$(tail -n 1 order)
    expect 0 omendb query -k 4 --only two.txt base.omen q.fvecs
    [ "${#lines[@]}" -eq 120 ]
    same "${lines[0]}" "0 1 $first"
    same "${lines[1]}" "0 2 $second"
    same "$stderr" "omendb query: 60 of 60 queries found fewer than 4 rows: no more match"
    expect 0 omendb query -q -k 4 --only two.txt -F jsonl base.omen q.fvecs
    has "${lines[0]}" "[$first,$second]"
    same "$stderr" ""
    for format in npy ivecs; do
        omendb query -q -k 4 --only two.txt -o found.$format base.omen q.fvecs
        same "$(vectors show found.$format | head -n 1)" "$first $second -1 -1"
    done
    # no row at all, as a query of a database may well select
    expect 0 omendb query --only /dev/null base.omen q.fvecs
    same "$output" ""
    has "$stderr" "60 of 60 queries found fewer than 10 rows"
    expect 0 omendb query --json -k 2 --only two.txt -o found.tsv base.omen q.fvecs
    same "$(member "$stderr" short)" 0
    expect 0 omendb query --json -k 3 --only two.txt -o found.tsv base.omen q.fvecs
    same "$(member "$stderr" short)" 60
    expect 0 omendb query --json -o found.tsv base.omen q.fvecs
    same "$(member "$stderr" short)" null
}

@test "--explain tells the rows that match, and the way they are searched" {
    here
    expect 0 omendb query --explain --only few.txt -o found.tsv base.omen q.fvecs
    has "$stderr" "filter: 30 of 3,000 rows (1%), in "
    has "$stderr" "each is compared"
    has "$stderr" " 0 codes, 30 rows"
    expect 0 omendb query --explain --except few.txt -o found.tsv base.omen q.fvecs
    has "$stderr" "filter: 2,970 of 3,000 rows (99%), in "
    has "$stderr" "searched list by list"
    fails_with 2 "--explain tells how a filter is searched" omendb query --explain base.omen q.fvecs
    fails_with 2 "choose one" omendb query --explain --json --only few.txt base.omen q.fvecs
    # of all rows as queries those that pass
    { echo part; awk 'BEGIN { for (i = 0; i < 3000; i++) print i % 5 }'; } >columns.tsv
    omendb attach -q --columns columns.tsv -o c.omen base.omen
    expect 0 omendb query --explain --self --where "part = 2" -o found.tsv c.omen
    has "$stderr" "; 600 queries: part = 2"
    expect 0 omendb query --explain --where "part = 2" -o found.tsv c.omen q.fvecs
    has "$stderr" "; 60 queries: part = 2"
    # what cannot be told is not left out
    # shellcheck disable=SC2016 # for the shell that is begun
    expect 4 sh -c '"$OMENDB" query --explain --only few.txt -o found.tsv base.omen q.fvecs 2>/dev/full'
}

@test "--audit and --certify measure the recall among the rows that match" {
    here
    passing 10 third.txt >want.tsv
    omendb query --probes 2 --only third.txt -o found.tsv base.omen q.fvecs
    truth=$(recall want.tsv found.tsv)
    expect 0 omendb query --probes 2 --only third.txt --audit 100 -o found.tsv base.omen q.fvecs
    has "$stderr" "$(printf 'recall@10 %.3f (' "$truth")"
    vectors make many.fvecs -n 600 -d 12 --kind gauss --seed 3
    expect 0 omendb query --only third.txt --certify --recall 0.9 --audit 200 -o found.tsv base.omen many.fvecs
    has "$stderr" "recall@10 of at least 0.9 is certified"
    # with fewer matches than k all are found
    expect 0 omendb query -q --only few.txt -k 40 --audit 60 -o found.tsv base.omen q.fvecs
    has "$stderr" "recall@40 1.000"
    # and places that no row can fill count neither as found nor as missed
    { echo part; seq 3000; } >columns.tsv
    omendb attach -q --columns columns.tsv -o c.omen base.omen
    for i in $(seq 60); do [ $((i % 3)) -eq 0 ] && echo "part >= 0" || echo "part = $i"; done >w.txt
    omendb query --exact --where-file w.txt -o exact.tsv c.omen q.fvecs
    expect 0 omendb query -q --probes 1 --rerank 10 --where-file w.txt --audit 60 -o found.tsv c.omen q.fvecs
    same "$(wc -l <exact.tsv)" 240
    truth=$(awk 'NR == FNR { exact[$1, $3]; next } ($1, $3) in exact { n++ } END { print n / 240 }' exact.tsv found.tsv)
    read -r told <<<"$(sed -nE 's/^recall@10 ([0-9.]+) .*/\1/p' <<<"$stderr")"
    awk -v a="$told" -v b="$truth" 'BEGIN { exit !(a - b < 0.001 && b - a < 0.001 && b > 0.2 && b < 0.9) }' ||
        fault "told $told, found $truth"
}

@test "--audit and --certify claim nothing where no row passes" {
    here
    for options in --certify "--certify --audit 5" "--certify --self"; do
        names=q.fvecs
        [ "$options" != "--certify --self" ] || names=
        # shellcheck disable=SC2086 # lists of words
        expect 0 omendb query $options --only /dev/null -o found.tsv base.omen $names
        has "$stderr" "omendb query: no row passes the filter: there is no recall to certify"
        case $stderr in *" is certified"* | *"recall@10"*) fault "it claims: $stderr" ;; esac
        # shellcheck disable=SC2086
        expect 0 omendb query $options --json --only /dev/null -o found.tsv base.omen $names
        same "$(member "$stderr" certified) $(member "$stderr" audit)" "null null"
    done
    expect 0 omendb query --audit 5 --only /dev/null -o found.tsv base.omen q.fvecs
    has "$stderr" "no row passes the filter of a query audited: there is no recall to measure"
    case $stderr in *"recall@10"*) fault "it claims: $stderr" ;; esac
    # a sample without matches does not speak for the queries that have some
    { echo part; seq 3000; } >columns.tsv
    omendb attach -q --columns columns.tsv -o c.omen base.omen
    for i in $(seq 60); do [ "$i" -eq 60 ] && echo "part > 5" || echo "part < 0"; done >w.txt
    expect 0 omendb query --certify --audit 2 --where-file w.txt -o found.tsv c.omen q.fvecs
    has "$stderr" "every row was compared"
    [ "$(wc -l <found.tsv)" -eq 10 ]
}

@test "conditions and lists of rows together: what passes both" {
    here
    { echo part; awk 'BEGIN { for (i = 0; i < 3000; i++) print i % 5 }'; } >columns.tsv
    omendb attach -q --columns columns.tsv -o c.omen base.omen
    awk '$1 % 5 == 2' third.txt >both.txt
    omendb query --only both.txt -o want.tsv base.omen q.fvecs
    omendb query --only third.txt --where "part = 2" -o found.tsv c.omen q.fvecs
    cmp found.tsv want.tsv
    for i in $(seq 60); do
        [ $((i % 2)) -eq 0 ] && echo "part = 2" || echo
    done >w.txt
    omendb query --only third.txt --where-file w.txt -o found.tsv c.omen q.fvecs
    omendb query --only third.txt -o all.tsv base.omen q.fvecs
    awk '$1 % 2 == 1' want.tsv >odd
    awk '$1 % 2 == 0' all.tsv >even
    sort -k 1,1n -k 2,2n odd even | cmp - found.tsv
}

@test "what is no row number is told with its line, and nothing is made" {
    here
    for line in x 1.5 -1 0x3 '1 2' 99999999999999999999 '"3"'; do
        printf '1\n\n%s\n' "$line" >bad.txt
        fails_with 2 "\"bad.txt\", line 3: \"$line\" is no row number" \
            omendb query --only bad.txt -o none.tsv base.omen q.fvecs
    done
    printf '2999\n3000\n' >bad.txt
    fails_with 2 '"bad.txt", line 2: there is no row 3000: the index has rows 0 to 2999' \
        omendb query --except bad.txt -o none.tsv base.omen q.fvecs
    fails_with 4 "missing.txt" omendb query --only missing.txt -o none.tsv base.omen q.fvecs
    fails_with 2 "standard input can be read once" omendb query --only - base.omen
    fails_with 2 "standard input can be read once" omendb query --only - --except - base.omen q.fvecs
    cp third.txt same.tsv
    fails_with 2 "same.tsv" omendb query --only same.tsv -o same.tsv base.omen q.fvecs
    cmp same.tsv third.txt
    [ ! -e none.tsv ]
}
