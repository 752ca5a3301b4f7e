# SPDX-License-Identifier: Apache-2.0
# Keys of rows: build --key, attach, results by key, rows as queries; files of keys that cannot be used.
load helper

# Four rows on a line and their keys, so that every answer is known.
line()
{
    vectors make base.fvecs --text "0,0;3,0;10,0;30,0"
    vectors make q.fvecs --text "1,0;9,0"
    printf 'zero\nthree "3"\nzehn\\10 é\n30\n' >keys.txt
    omendb build -q "$@" base.fvecs
}

# npy NAME DESCR SHAPE HEX...: an npy array of these bytes
npy()
{
    python3 -c '
import struct, sys
name, descr, shape, *words = sys.argv[1:]
text = "{%sdescr%s: %s, %sfortran_order%s: False, %sshape%s: %s, }" % ("'"'"'", "'"'"'", repr(descr), "'"'"'", "'"'"'",
                                                                     "'"'"'", "'"'"'", shape)
text += " " * (-(len(text) + 11) % 64) + "\n"
open(name, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() +
                       bytes.fromhex("".join(words)))' "$@"
}

# header FILE: that of an npy file
header()
{
    head -n 1 "$1" | tail -c +11
}

@test "results are keys, and row numbers with --rows" {
    line --key keys.txt
    expect 0 omendb query -k 2 base.omen q.fvecs
    same "$output" '0 1 zero
0 2 three "3"
1 1 zehn\10 é
1 2 three "3"'
    expect 0 omendb query -k 2 --distances --rows base.omen q.fvecs
    same "$output" "0 1 0 1
0 2 1 4
1 1 2 1
1 2 1 36"
    expect 0 omendb query -k 2 --distances -F jsonl base.omen q.fvecs
    same "$output" '{"query":0,"keys":["zero","three \"3\""],"distances":[1,4]}
{"query":1,"keys":["zehn\\10 é","three \"3\""],"distances":[1,36]}'
    same "$(member "${lines[1]}" keys.0)" '"zehn\\10 \u00e9"'
    expect 0 omendb query -k 2 --rows -F jsonl base.omen q.fvecs
    has "$output" '{"query":0,"rows":[0,1]}'
    fails_with 2 "ivecs cannot hold text, which the keys of the index are: use --output-format tsv, jsonl, npy, csv or \
npz, or --rows" omendb query -F ivecs base.omen q.fvecs
    expect 0 omendb query -k 2 --rows -F ivecs -o found.ivecs base.omen q.fvecs
    same "$(vectors show found.ivecs)" "0 1
2 1"
    # the longest key has 10 bytes
    omendb query -k 2 -o found.npy base.omen q.fvecs
    has "$(header found.npy)" "'descr': '|S10', 'fortran_order': False, 'shape': (2, 2)"
    same "$(tail -c 40 found.npy | tr '\0' .)" 'zero......three "3".zehn\10 éthree "3".'
    omendb query -k 1 --distances -o found.npy base.omen q.fvecs
    has "$(header found.npy)" "'descr': [('key', '|S10'), ('distance', '<f4')]"
    same "$(tail -c 28 found.npy | tr '\0' .)" "$(printf 'zero........\200?zehn\\10 é..\200?')"
}

@test "integers as keys" {
    line
    npy i8.npy '<i8' '(4,)' feffffffffffffff 0700000000000000 0000000000000080 0500000000000000
    omendb attach -q --key i8.npy -o i8.omen base.omen
    expect 0 omendb query -k 2 i8.omen q.fvecs
    same "$output" "0 1 -2
0 2 7
1 1 -9223372036854775808
1 2 7"
    omendb query -k 2 -o found.npy i8.omen q.fvecs
    has "$(header found.npy)" "'descr': '<i8'"
    same "$(tail -c 32 found.npy | od -An -v -tx1 | tr -d ' \n')" \
        feffffffffffffff070000000000000000000000000000800700000000000000
    fails_with 2 "query 1 found the key of row 2, beyond the int32 ids of ivecs: use npy" \
        omendb query -F ivecs -k 2 -o found.ivecs i8.omen q.fvecs
    expect 0 omendb query -F ivecs -k 2 -o found.ivecs i8.omen <(head -c 12 q.fvecs)
    same "$(vectors show found.ivecs)" "-2 7"
    npy u8.npy '>u8' '(4, 1)' ffffffffffffffff 0000000000000007 0000000000000006 0000000000000005
    omendb attach -q --key u8.npy -o u8.omen base.omen
    expect 0 omendb query -k 2 -F jsonl u8.omen q.fvecs
    same "$output" '{"query":0,"keys":[18446744073709551615,7]}
{"query":1,"keys":[6,7]}'
    # what stands for rows that are missing is a key
    fails_with 2 "row 0 has the key that npy writes for rows that are missing: use tsv or jsonl" \
        omendb query -o found.npy u8.omen q.fvecs
    npy i1.npy '|i1' '(4,)' 01 ff 03 80
    omendb attach -q --key i1.npy -o i1.omen base.omen
    for format in npy ivecs; do
        fails_with 2 "row 1 has the key that $format writes" omendb query -o found.$format i1.omen q.fvecs
    done
    expect 0 omendb query -k 4 i1.omen q.fvecs
    same "${lines[3]}" "0 4 -128"
    printf '%s\n' -128 1 >names
    expect 0 omendb query -k 1 --by-key names i1.omen
    same "$output" "0 1 -128
1 1 1"
    # no index of another kind: strings of npy are text
    npy s.npy '|S3' '(4,)' 616263 610000 c3a900 620000
    npy U.npy '<U2' '(4,)' 61000000 e9000000 ac200000 62000000 00f60100 00000000 62000000 00000000
    omendb attach -q --key s.npy -o s.omen base.omen
    expect 0 omendb query -k 4 s.omen q.fvecs
    same "${lines[0]}${lines[1]}${lines[2]}${lines[3]}" "0 1 abc0 2 a0 3 é0 4 b"
    omendb attach -q --key U.npy -o U.omen base.omen
    expect 0 omendb query -k 4 U.omen q.fvecs
    same "${lines[0]}${lines[1]}${lines[2]}${lines[3]}" "0 1 aé0 2 €b0 3 😀0 4 b"
    for name in i8 u8 i1 s U; do
        expect 0 omendb verify $name.omen
    done
}

@test "rows of the index as queries" {
    line --key keys.txt
    printf '30\nzero\n30\n' >names
    expect 0 omendb query -k 2 --by-key names base.omen
    same "$output" '0 1 30
0 2 zehn\10 é
1 1 zero
1 2 three "3"
2 1 30
2 2 zehn\10 é'
    expect 0 omendb query -k 2 --distances --exclude-self --by-key - base.omen <names
    same "$output" '0 1 zehn\10 é 400
0 2 three "3" 729
1 1 three "3" 9
1 2 zehn\10 é 100
2 1 zehn\10 é 400
2 2 three "3" 729'
    printf '3\r\n0' >rows
    expect 0 omendb query -k 9 --rows --exclude-self --by-row rows base.omen
    same "$output" "0 1 2
0 2 1
0 3 0
1 1 1
1 2 2
1 3 3"
    expect 0 omendb query -k 9 --rows --exclude-self -o found.ivecs --by-row rows base.omen
    same "$(vectors show found.ivecs)" "2 1 0
1 2 3"
    printf '30\n\nzero\n' >names
    fails_with 2 '"names", line 2: a key is empty' omendb query --by-key names base.omen
    printf '30\nforty\n' >names
    fails_with 2 '"names", line 2: no row has the key "forty"' omendb query --by-key names base.omen
    fails_with 2 '"names", line 1: there is no row 30: the index has rows 0 to 3' omendb query --by-row names base.omen
    printf '1\n-1\n' >names
    fails_with 2 '"names", line 2: "-1" is no row number' omendb query --by-row names base.omen
    : >names
    fails_with 2 '"names" is empty' omendb query --by-row names base.omen
    fails_with 4 'cannot open "nope"' omendb query --by-key nope base.omen
    fails_with 2 'the queries: "q.fvecs" is one file too many' omendb query --by-key names base.omen q.fvecs
    fails_with 2 "--by-key and --by-row both name the queries" omendb query --by-key names --by-row rows base.omen
    fails_with 2 "--exclude-self is of rows of the index" omendb query --exclude-self base.omen q.fvecs
    fails_with 2 "cannot go with --exclude-self" omendb query --exclude-self --audit 2 --by-row rows base.omen
    fails_with 2 "--format and --dim describe QUERIES" omendb query -f npy --by-row rows base.omen
    omendb build -q -o plain.omen base.fvecs
    fails_with 2 "the index has no keys: name rows by number with --by-row" omendb query --by-key rows plain.omen
    expect 0 omendb query -k 1 --by-row rows plain.omen
    vectors make many.fvecs -n 200 -d 8
    omendb build -q -r none many.fvecs
    fails_with 2 "--by-row needs a refine tier" omendb query --by-row rows many.omen
    # a single row has no other
    vectors make one.fvecs --text "1,2"
    omendb build -q one.fvecs
    echo 0 >rows
    expect 0 omendb query --exclude-self --by-row rows one.omen
    same "$output$stderr" ""
}

@test "a row of the index finds what its vector finds, for every metric" {
    vectors make base.fvecs -n 300 -d 12
    seq 0 299 >rows
    seq 1000 1299 >keys.txt
    for options in "-m l2 -r f32" "-m ip -r f32" "-m cosine -r f32" "-m l2 -r sq8" "-m ip -r sq12"; do
        omendb build -q $options --key keys.txt base.fvecs
        omendb query --exact -q -k 5 --rows base.omen base.fvecs >by-vector
        omendb query --exact -q -k 5 --rows --by-row rows base.omen >by-row
        omendb query --exact -q -k 5 --rows --by-key keys.txt base.omen >by-key
        cmp by-row by-key
        # rounded rows may change places
        same_lines=$(paste by-vector by-row | awk '$3 == $6' | wc -l)
        at_least 1470 "$same_lines"
        [[ $options == *f32* && $options != *cosine* ]] || continue
        cmp by-vector by-row
    done
    omendb query -q -k 4 --rows --exclude-self --by-row rows base.omen | awk '$1 == $3' >selves
    [ ! -s selves ] || fault "$(head -n 3 selves)"
    expect 0 omendb query -q -k 4 --audit 50 --by-row rows base.omen
    has "$stderr" "50 of 300 queries"
}

@test "zero rows of a cosine index are queries like others" {
    vectors make base.fvecs --text "0,0;3,0;10,1"
    omendb build -q -m cosine --zero-ok base.fvecs
    echo 0 >rows
    expect 0 omendb query -k 3 --distances --by-row rows base.omen
    same "$output" "0 1 0 1
0 2 1 1
0 3 2 1"
}

@test "attach makes the index that a build with the keys makes" {
    vectors make base.fvecs -n 500 -d 20
    seq 1 500 | sed 's/^/key-/' >a.txt
    seq 500 -1 1 >b.txt
    omendb build -q base.fvecs
    cp base.omen before.omen
    omendb build -q --key a.txt -o a.omen base.fvecs
    omendb build -q --key b.txt -t 1 -o b.omen base.fvecs
    expect 0 omendb attach --key a.txt -o got.omen base.omen
    has "$stderr" "got.omen: 500 x 20, keys text of "
    cmp got.omen a.omen
    # over keys that there are, of a compressed index, from standard input
    omendb attach -q --key b.txt -o got.omen a.omen
    cmp got.omen b.omen
    omendb compress -q b.omen
    omendb attach -q --key - -t 3 -o got.omen b.omen.omz <a.txt
    cmp got.omen a.omen
    omendb compress -q -d -o back.omen b.omen.omz
    cmp back.omen b.omen
    echo 7 >row
    omendb query -q --by-row row b.omen >found
    omendb query -q --by-row row b.omen.omz >found.omz
    cmp found found.omz
    cmp base.omen before.omen
    expect 0 omendb verify a.omen b.omen b.omen.omz
    has "${lines[0]}" "a.omen: sound (500 x 20, text keys, "
    expect 0 omendb verify --source base.fvecs a.omen
    for text in 'no INDEX given=--key a.txt -o x.omen' 'no output given=--key a.txt base.omen' \
        'nothing to attach=-o x.omen base.omen' 'cannot go to standard output=--key a.txt -o - base.omen' \
        'overwrite the input INDEX "base.omen"=--key a.txt -o base.omen base.omen' \
        'overwrite the input --key "a.txt"=--key a.txt -o a.txt base.omen' \
        'named like npy=--key a.txt -o x.npy base.omen' 'one INDEX at a time=--key a.txt -o x.omen base.omen b.omen'; do
        fails_with 2 "${text%=*}" omendb attach ${text#*=}
    done
    fails_with 2 'is not an omendb index' omendb attach --key a.txt -o x.omen base.fvecs
    fails_with 4 'cannot open "nope"' omendb attach --key a.txt -o x.omen nope
    # damage that opening does not meet
    read -r place length < <(python3 "$tests_dir/cli/damage.py" where base.omen REFN)
    printf '\377\377\377' | dd of=base.omen bs=1 seek=$((place + length / 2)) conv=notrunc status=none
    fails_with 3 '"base.omen" is damaged: section REFN, bytes ' omendb attach --key a.txt -o x.omen base.omen
    [ ! -e x.omen ] && [ ! -e x.omen.tmp ]
}

@test "verify compares with the keys that an index was built from" {
    line --key keys.txt
    expect 0 omendb verify --key keys.txt --source base.fvecs base.omen
    has "$output" "base.omen: sound (4 x 2, text keys, "
    expect 0 omendb verify --key - base.omen <keys.txt
    sed 's/zehn/zehm/; s/^30/31/' keys.txt >other.txt
    expect 3 omendb verify --key other.txt base.omen
    has "$output" 'base.omen: differs from its keys: section KEYV: row 2 has the key "zehn\10 é", and "zehm\10 é" in'
    { tail -n 1 keys.txt; head -n 3 keys.txt; } >other.txt
    expect 3 omendb verify --json --key other.txt base.omen
    same "$(member "$output" indexes.0.faults.0.section)" '"KEYV"'
    has "$output" "row 0 has the key"
    head -n 3 keys.txt >other.txt
    fails_with 2 '"other.txt" has 3 keys, and there are 4 rows' omendb verify --key other.txt base.omen
    fails_with 4 'cannot open "nope"' omendb verify --key nope base.omen
    fails_with 2 'drop --quick' omendb verify --quick --key keys.txt base.omen
    fails_with 2 'can be one of --source, --columns, --column, --tags and --key only' \
        omendb verify --source - --key - base.omen
    fails_with 2 '--key :sku is a column of a table: name that with --columns' omendb verify --key :sku base.omen
    # integers, signed and not; rows that share a key; a column of a table, with the columns or not
    npy i8.npy '<i8' '(4,)' feffffffffffffff 0700000000000000 0000000000000080 0700000000000000
    omendb attach -q --allow-duplicates --key i8.npy -o i8.omen base.omen
    expect 0 omendb verify --key i8.npy i8.omen
    npy other.npy '<i8' '(4,)' ffffffffffffffff 0700000000000000 0000000000000080 0700000000000000
    expect 3 omendb verify --key other.npy i8.omen
    has "$output" "row 0 has the key -2, and -1 in"
    npy u8.npy '<u8' '(4,)' ffffffffffffffff 0700000000000000 0000000000000080 0800000000000000
    expect 3 omendb verify --key u8.npy i8.omen
    has "$output" "section KEYS: its keys are int64, and uint64 in what it is compared with"
    printf 'n\tsku\n-2\ta\n7\tb\n-9223372036854775808\tc\n7\td\n' >t.tsv
    expect 0 omendb verify --key t.tsv:n i8.omen
    omendb build -q --columns t.tsv --key :sku base.fvecs
    expect 0 omendb verify --columns t.tsv --key :sku base.omen
    sed 's/d$/e/' t.tsv >other.tsv
    expect 3 omendb verify --key other.tsv:sku base.omen
    has "$output" 'row 3 has the key "d", and "e" in'
    # what has no keys
    omendb build -q -o plain.omen base.fvecs
    omendb compress -q base.fvecs
    omendb compress -q -b 4 -o codes.omz base.fvecs
    for file in plain.omen base.fvecs.omz codes.omz; do
        expect 3 omendb verify --key keys.txt $file
        same "$output" "$file: differs from its keys: it has no keys"
    done
    expect 3 omendb verify --columns t.tsv base.fvecs.omz
    same "$output" "base.fvecs.omz: differs from its columns: it has no columns"
}

@test "keys that cannot be used are refused before the build begins" {
    line
    rm base.omen
    refused()
    {
        fails_with "$1" "$2" omendb build --key keys "${@:3}" base.fvecs
        only base.fvecs keys keys.txt q.fvecs
    }
    printf 'a\nb\nc\n' >keys
    refused 2 '"keys" has 3 keys, and there are 4 rows'
    printf 'a\nb\nc\nd\ne\n' >keys
    refused 2 '"keys" has 5 keys, and there are 4 rows'
    printf 'a\nb\n\nd\n' >keys
    refused 2 '"keys", line 3: a key is empty'
    printf 'a\nb\nc\td\ne\n' >keys
    refused 2 '"keys", line 3: byte 2 of a key, 0x09, is a control character'
    printf 'a\nb\0\nc\ne' >keys
    refused 2 '"keys", line 2: byte 2 of a key, 0x00, is a control character'
    printf 'a\nb\nc\n\303\n' >keys
    refused 2 '"keys", line 4: byte 1 of a key, 0xc3, is not UTF-8'
    { printf 'a\nb\nc\n' && head -c 4097 /dev/zero | tr '\0' x; } >keys
    refused 2 '"keys", line 4: a key has 4097 bytes, more than 4096'
    printf 'a\nb\nc\nb\n' >keys
    refused 2 '"keys": lines 2 and 4 have the same key; --allow-duplicates accepts that'
    : >keys
    refused 2 '"keys" is empty'
    npy keys '<i4' '(4,)' 01000000 02000000 03000000 01000000
    refused 2 '"keys": rows 0 and 3 have the same key; --allow-duplicates accepts that'
    npy keys '<i8' '(3,)' 0100000000000000 0200000000000000 0300000000000000
    refused 2 '"keys" has 3 keys, and there are 4 rows'
    npy keys '<i8' '(4,)' 0100000000000000 0200000000000000 0300000000000000
    refused 2 'the header claims 4 values of 8 bytes, and 24 bytes follow'
    npy keys '<f8' '(1,)' 0100000000000000
    refused 2 "the array's dtype is '<f8'; keys are integers"
    npy keys '<i4' '(2, 2)' 01000000 02000000 03000000 01000000
    refused 2 'the array has 2 dimensions, and should have one'
    npy keys '|S2' '(4,)' 6162 6263 0000 6364
    refused 2 '"keys", row 2: a key is empty'
    npy keys '<U1' '(4,)' 61000000 62000000 00d80000 63000000
    refused 2 '"keys", row 2: byte 1 of a key, 0xff, is not UTF-8'
    npy keys '<U1000000000' '(0,)'
    refused 2 '"keys" has 0 keys, and there are 4 rows'
    rm keys
    fails_with 4 'cannot open "keys"' omendb build --key keys base.fvecs
    fails_with 2 '--allow-duplicates is of the keys' omendb build --allow-duplicates base.fvecs
    fails_with 2 'standard input can be one of INPUT, --key,' omendb build --key - -o x.omen -
    omendb build -q -o k.omen base.fvecs
    fails_with 2 'overwrite the input --key "k.omen"' omendb build --key k.omen -o k.omen base.fvecs
    fails_with 2 '"k.omen" is an index or compressed, not a file of keys' omendb build --key k.omen -o x.omen base.fvecs
}

@test "memory for the keys counts" {
    vectors make base.fvecs -n 1000 -d 4
    python3 -c '
for i in range(1000):
    print("x" * 4000 + str(i))' >keys
    fails_with 5 'the keys in "keys" need 8 MiB of memory, and 4 MiB are allowed' \
        omendb build -M 4M --key keys base.fvecs
    fails_with 5 ', and the keys take 8 MiB more' omendb build -M 20M --key keys base.fvecs
    # of a table, which is in memory too while they are made of it
    { echo name; cat keys; } >t.tsv
    fails_with 5 'the columns in "t.tsv" need more than 4 MiB' omendb build -M 4M --key t.tsv:name base.fvecs
    fails_with 5 'the keys in "t.tsv" need 8 MiB of memory, and 3 MiB' omendb build -M 8M --key t.tsv:name base.fvecs
    expect 0 omendb build --key t.tsv:name base.fvecs
    expect 0 omendb build --key keys base.fvecs
    expect 0 omendb verify base.omen
}

@test "duplicates that are allowed: a key stands for the first row" {
    line
    printf 'a\nb\na\nb\n' >keys
    omendb build -q --key keys --allow-duplicates base.fvecs
    expect 0 omendb verify base.omen
    printf 'b\n' >names
    expect 0 omendb query -k 2 --distances --by-key names base.omen
    same "$output" "0 1 b 0
0 2 a 9"
    # where there are none, the option changes nothing
    omendb build -q --key keys.txt -o one.omen base.fvecs
    omendb build -q --key keys.txt --allow-duplicates -o two.omen base.fvecs
    cmp one.omen two.omen
}

@test "line ends and a byte order mark are no part of keys" {
    line
    printf '\357\273\277a\r\nb\r\nc\r\nd' >keys
    omendb build -q --key keys -o one.omen base.fvecs
    printf 'a\nb\nc\nd\n' >keys
    omendb build -q --key keys -o two.omen base.fvecs
    cmp one.omen two.omen
}

@test "a build that was killed reads the keys again and ends in the same bytes" {
    vectors make base.fvecs -n 3000 -d 16
    seq 1 3000 >a.txt
    seq 3001 6000 >b.txt
    omendb build -q --chunk-rows 500 --key b.txt -o want.omen base.fvecs
    # the file size that a process may write ends it when the index outgrows what the checkpoint has
    for limit in 100 170; do
        # shellcheck disable=SC2016 # for the shell that is begun
        run ! bash -c 'ulimit -f "$1" && exec "$OMENDB" build -q --chunk-rows 500 --key a.txt base.fvecs' - $limit
        [ -e base.omen.part ] || fault "no checkpoint with $limit"
        printf 'bad\n' >bad.txt
        fails_with 2 '"bad.txt" has 1 key, and there are 3000 rows' \
            omendb build --chunk-rows 500 --key bad.txt base.fvecs
        [ -e base.omen.part ]
        expect 0 omendb build --chunk-rows 500 --key b.txt base.fvecs
        has "$stderr" "resuming"
        cmp base.omen want.omen
        rm base.omen
    done
}

@test "the summaries tell of keys" {
    line --key keys.txt
    expect 0 omendb build --json --key keys.txt base.fvecs
    same "$(member "$output" keys.kind)" '"text"'
    at_least 9 "$(member "$output" keys.bytes_per_vector)"
    expect 0 omendb build --key keys.txt base.fvecs
    has "$stderr" "  keys    text, "
    expect 0 omendb build --json base.fvecs
    same "$(member "$output" keys)" null
}

@test "a flip of any one byte of keys is found" {
    vectors make v.fvecs --text "1,2;3,4;5,6"
    printf 'b\na\nc\n' >keys
    omendb build -q --key keys v.fvecs
    mkdir copies
    read -r place length < <(python3 "$tests_dir/cli/damage.py" where v.omen KEYS)
    python3 "$tests_dir/cli/damage.py" flip v.omen copies "$place"
}

@test "a query by damaged keys gives the right answer or exits 3" {
    n=100
    [ -z "${ASAN_OPTIONS-}" ] || n=30
    vectors make v.fvecs -n 600 -d 2
    vectors make q.fvecs -n 3 -d 2 --seed 5
    mkdir copies
    seq 1 600 | sed 's/^/the key of row /' >keys
    omendb build -q --key keys v.fvecs
    python3 "$tests_dir/cli/damage.py" search v.omen q.fvecs copies $n
    for section in KEYS KEYV KEYO KEYI; do
        cp v.omen w.omen
        read -r place length < <(python3 "$tests_dir/cli/damage.py" where w.omen $section)
        printf '\007\007' | dd of=w.omen bs=1 seek=$((place + length / 2)) conv=notrunc status=none
        expect 3 omendb query --by-key keys -q -k 3 -o found.tsv w.omen
        [[ $stderr =~ ^"omendb query: \"w.omen\" is damaged: section $section, bytes "([0-9]+)-([0-9]+): ]]
        [ ! -e found.tsv ]
    done
}

@test "lies in keys with right checksums" {
    lies=50
    [ -z "${OMEN_TEST_QUICK-}" ] || lies=15
    vectors make v.fvecs -n 40 -d 2
    vectors make q.fvecs -n 3 -d 2 --seed 5
    seq 1 40 >keys
    omendb build -q --key keys v.fvecs
    python3 "$tests_dir/cli/hostile.py" keys v.omen q.fvecs keys $lies
    npy i8.npy '<i8' '(40,)' "$(seq 40 | xargs printf '%02x00000000000000')"
    npy U.npy '<U2' '(40,)' "$(seq 10 49 | xargs printf '%02x000000ac200000')"
    seq 40 | sed 's/^/ä€😀/' >long
    python3 "$tests_dir/cli/hostile.py" keyfiles v.omen $((lies / 3)) i8.npy U.npy long
}

@test "keys from a column of a table" {
    vectors make base.fvecs --text "0,0;1,0;10,0;20,0"
    printf 'sku\tn\tprice\nred\t7\t1.5\n"x"\t-3\t2\nzehn\t4\t3\n007\t5\t\n' >t.tsv
    printf 'red\n"x"\nzehn\n007\n' >keys.txt
    printf '7\n-3\n4\n5\n' >n.txt
    omendb build -q --key keys.txt -o want.omen base.fvecs
    omendb build -q --key t.tsv:sku -o got.omen base.fvecs
    cmp want.omen got.omen
    printf 'sku,n,more\nred,7,"a\nb"\n"""x""",-3,c\nzehn,4,d\n007,5,e\n' >t.csv
    omendb build -q --key t.csv:sku -o got.omen base.fvecs
    cmp want.omen got.omen
    printf '{"n": 7, "sku": "red", "v": [1]}\n{"sku": "\\"x\\""}\n{"sku": "zehn"}\n{"sku": "007"}\n' >t.jsonl
    omendb build -q --key t.jsonl:sku -o got.omen base.fvecs
    cmp want.omen got.omen
    omendb build -q --key -:sku -o got.omen base.fvecs <t.tsv
    cmp want.omen got.omen
    # of the table of columns, in which it stays, or does not
    omendb build -q --key keys.txt --columns t.tsv -o want.omen base.fvecs
    omendb build -q --key :sku --columns t.tsv -o got.omen base.fvecs
    cmp want.omen got.omen
    omendb build -q -o plain.omen base.fvecs
    omendb attach -q --key :sku --columns t.tsv -o got.omen plain.omen
    cmp want.omen got.omen
    omendb attach -q --key t.tsv:sku -o got.omen plain.omen
    omendb attach -q --columns t.tsv -o attached.omen got.omen
    cmp want.omen attached.omen
    omendb build -q --key keys.txt --columns t.tsv --column-types sku:skip -o want.omen base.fvecs
    omendb build -q --key :sku --columns t.tsv --column-types sku:skip -o got.omen base.fvecs
    cmp want.omen got.omen
    # integers, and texts of digits
    omendb build -q --key t.tsv:n -o n.omen base.fvecs
    expect 0 omendb verify n.omen
    has "$output" "int64 keys"
    expect 0 omendb query -k 2 n.omen base.fvecs
    same "${lines[0]}" "0 1 7"
    same "${lines[1]}" "0 2 -3"
    omendb build -q --key n.txt --columns t.tsv --column-types n:text -o want.omen base.fvecs
    omendb build -q --key :n --columns t.tsv --column-types n:text -o got.omen base.fvecs
    cmp want.omen got.omen
    # a file of that name is one of keys
    cp keys.txt t.tsv:n
    omendb build -q --key t.tsv:n -o got.omen base.fvecs
    expect 0 omendb verify got.omen
    has "$output" "text keys"
}

@test "columns that cannot be keys are told with their lines" {
    vectors make base.fvecs --text "0,0;1,0;10,0;20,0"
    omendb build -q -o plain.omen base.fvecs
    no_keys()
    {
        local text=$1
        shift
        fails_with 2 "$text" omendb build "$@" -o x.omen base.fvecs
        fails_with 2 "$text" omendb attach "$@" -o x.omen plain.omen
        [ ! -e x.omen ]
    }
    printf 'a,b,c\nx,1,1.5\n"y",2,2\nw,,3\nx,2,4\n' >t.csv
    no_keys '"t.csv": lines 2 and 5 have the same key; --allow-duplicates accepts that' --key t.csv:a
    no_keys '"t.csv", line 4: the row has no key' --key t.csv:b
    no_keys '"t.csv": column "c" is of float64; keys are integers of 64 bits or texts' --key t.csv:c
    no_keys '"t.csv" has no column "d"; there are "a", "b", "c"' --key t.csv:d
    no_keys 'name that with --columns, or as FILE:COLUMN' --key :a
    no_keys 'standard input can be one of' --key -:a --columns -
    printf 'a,b\n"x\ny",1\nz,2\nz\tz,3\nw,3\n' >t.csv
    no_keys '"t.csv", line 2: byte 2 of a key, 0x0a, is a control character' --key t.csv:a
    no_keys '"t.csv": lines 5 and 6 have the same key' --key t.csv:b
    printf '{"a": 1}\n{"b": 2}\n{"a": 3}\n{"a": 4}\n' >t.jsonl
    no_keys '"t.jsonl", line 2: the row has no key' --key t.jsonl:a
    printf 'a\n1\n2\n3\n' >t.tsv
    no_keys '"t.tsv" has 3 rows, and there are 4 vectors' --key t.tsv:a
    no_keys '"t.csv" has 6 keys, and there are 4 rows; of a table name the column of keys, as FILE:COLUMN' --key t.csv
    no_keys '"plain.omen" is an index or compressed, not a table' --key plain.omen:a
    fails_with 4 'cannot open "nope.tsv"' omendb build --key nope.tsv:a -o x.omen base.fvecs
    fails_with 2 'overwrite the input --key "t.tsv"' omendb build --key t.tsv:a -o t.tsv base.fvecs
    printf 'a\n1\n1\n2\n3\n' >t.tsv
    omendb build -q --allow-duplicates --key t.tsv:a -o x.omen base.fvecs
}

@test "--only and --except take keys where there are some, and row numbers with --rows" {
    line --key keys.txt
    printf 'zehn\\10 é\n\n30\nzehn\\10 é\n' >some.txt
    expect 0 omendb query -k 1 --only some.txt base.omen q.fvecs
    same "$output" '0 1 zehn\10 é
1 1 zehn\10 é'
    expect 0 omendb query -q -k 4 --except - base.omen q.fvecs <some.txt
    same "$(cut -f 3 <<<"$output" | sort -u)" 'three "3"
zero'
    # what query printed is taken back
    omendb query -k 2 base.omen q.fvecs | cut -f 3 >found.txt
    expect 0 omendb query -q -k 1 --except found.txt base.omen q.fvecs
    same "$(cut -f 3 <<<"$output" | sort -u)" "30"
    printf '2\n3 \n' >numbers.txt
    expect 0 omendb query -k 1 --rows --only numbers.txt base.omen q.fvecs
    same "$output" "0 1 2
1 1 2"
    expect 0 omendb query --self -k 1 --only some.txt base.omen
    same "$output" 'zehn\10 é 1 30
30 1 zehn\10 é'
    : >none.txt
    expect 0 omendb query -q --only none.txt base.omen q.fvecs
    same "$output" ""
    fails_with 2 '"numbers.txt", line 1: no row has the key "2"' omendb query --only numbers.txt base.omen q.fvecs
    fails_with 2 '"some.txt", line 1: "zehn\10 é" is no row number' \
        omendb query --rows --only some.txt base.omen q.fvecs
    printf 'zero \n' >some.txt
    fails_with 2 '"some.txt", line 1: no row has the key "zero "' omendb query --except some.txt base.omen q.fvecs
    # integers, with blanks around them; all rows of a key that several have
    printf '7\n-3\n7\n9\n' >keys.txt
    npy keys.npy '<i8' '(4,)' 0700000000000000 fdffffffffffffff 0700000000000000 0900000000000000
    omendb build -q --allow-duplicates --key keys.npy base.fvecs
    printf ' 7\t\r\n' >some.txt
    expect 0 omendb query -q --only some.txt -k 4 base.omen q.fvecs
    same "$(head -n 2 <<<"$output")" "0 1 7
0 2 7"
    expect 0 omendb query -q --only some.txt --explain -o found.tsv base.omen q.fvecs
    has "$stderr" "filter: 2 of 4 rows"
    expect 0 omendb query -q --except some.txt -k 4 base.omen q.fvecs
    same "$(head -n 2 <<<"$output")" "0 1 -3
0 2 9"
    fails_with 2 'line 1: "seven" is no int64' omendb query --only - base.omen q.fvecs <<<seven
}
