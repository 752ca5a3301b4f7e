#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Columns and tags of rows: the files that they come from, build, attach, verify. Conditions: where_sqlite.py.
load helper

# six rows, and a table of them
six()
{
    vectors make v.fvecs -n 6 -d 4
    printf 'name\tprice\tstock\tzip\n' >t.tsv
    printf 'a\t1.5\t3\t01234\nb\t\t-7\t99999\nc,d\t0.25\t0\t00000\n"e"\t1e3\t\t1\n\t-2\t5\t2\nf\t7\t6\t\n' >t.tsv.rows
    cat t.tsv.rows >>t.tsv
    printf 'x y\n\nx\n  z\ty x x\nw\nx\n' >tags.txt
}

# array FILE DTYPE FORM VALUE...: an npy file of six values
array()
{
    python3 -c '
import struct, sys
path, dtype, form, *values = sys.argv[1:]
header = "{\"descr\": \"%s\", \"fortran_order\": False, \"shape\": (6,), }" % dtype
values = [float(value) if form[-1] in "de" else int(value) for value in values]
with open(path, "wb") as out:
    out.write(b"\x93NUMPY\1\0" + struct.pack("<H", 118) + header.ljust(117).encode() + b"\n")
    out.write(struct.pack(form, *values))
' "$@"
}

# rows INDEX CONDITION: the rows that it selects
rows()
{
    local program
    program=$(dirname "$OMENDB")/../tests/condition_rows
    [ -x "$program" ] || skip "no condition_rows beside the program"
    "$program" "$1" <<<"$2"
}

# refused TEXT OPTION...: build and attach refuse it with one line, and leave nothing
refused()
{
    local text=$1
    shift
    fails_with 2 "$text" omendb build "$@" -o new.omen v.fvecs
    fails_with 2 "$text" omendb attach "$@" -o new.omen v.omen
    [ ! -e new.omen ] && [ ! -e new.omen.tmp ] && [ ! -e new.omen.part ]
}

@test "a table's types are found, and its nulls kept" {
    six
    omendb build -q --columns t.tsv --tags tags.txt v.fvecs
    same "$(rows v.omen "price IS NULL")" "1"
    same "$(rows v.omen "price > 1")" "0 3 5"
    same "$(rows v.omen "stock <= 0")" "1 2"
    same "$(rows v.omen "NOT stock <= 0")" "0 4 5"
    same "$(rows v.omen "zip LIKE '0%'")" "0 2"
    same "$(rows v.omen "name = '\"e\"' OR name = 'c,d'")" "2 3"
    same "$(rows v.omen "tags HAS 'x'")" "0 2 3 5"
    same "$(rows v.omen "tags HAS 'z' AND tags HAS 'y'")" "3"
    expect 0 omendb verify v.omen
    has "$output" "5 columns"
    expect 0 omendb build --json --columns t.tsv v.fvecs
    same "$(member "$output" columns.count)" 4
}

@test "csv, jsonl and npy say the same as tsv" {
    six
    omendb build -q --columns t.tsv --tags tags.txt -o tsv.omen v.fvecs
    {
        printf '\357\273\277name,"price",stock,zip\r\n'
        printf 'a,1.5,3,01234\r\nb,,-7,99999\r\n"c,d",0.25,0,00000\r\n"""e""",1e3,,1\r\n,-2,5,2\r\nf,7,6,\r\n'
    } >t.csv
    cat >t.jsonl <<'END'
{"name": "a", "price": 1.5, "stock": 3, "zip": "01234", "v": [1, 2]}
{"stock": -7, "price": null, "zip": "99999", "name": "b", "v": [1, 2]}
{"name": "c,d", "price": 0.25, "stock": 0, "zip": "00000", "v": {"w": 3}}
{"name": "\"e\"", "price": 1e3, "zip": "1"}
{"price": -2, "stock": 5, "zip": "2"}
{"name": "f", "price": 7, "stock": 6}
END
    omendb build -q --columns t.csv --tags tags.txt -o csv.omen v.fvecs
    cmp tsv.omen csv.omen
    omendb build -q --columns t.jsonl --column-types v:skip --tags tags.txt -o jsonl.omen v.fvecs
    omendb build -q --columns t.jsonl --column-types v:skip,price:float64 --tags tags.txt -o jsonl2.omen v.fvecs
    cmp jsonl.omen jsonl2.omen
    cmp tsv.omen jsonl.omen
    # of another name, by the first line; from a pipe
    cp t.jsonl table
    omendb build -q --columns table --column-types v:skip --tags tags.txt -o again.omen v.fvecs
    cmp tsv.omen again.omen
    omendb build -q --columns - --tags tags.txt -o again.omen v.fvecs <t.tsv
    cmp tsv.omen again.omen
    array i.npy '<i2' '<6h' 3 -7 0 4 5 6
    array f.npy '>f8' '>6d' 1.5 nan 0.25 1e3 -2 7
    array b.npy '|b1' '6?' 1 0 1 0 0 0
    omendb build -q --column i=i.npy --column price=f.npy --column b=b.npy -o npy.omen v.fvecs
    same "$(rows npy.omen "i = -7 OR b = TRUE")" "0 1 2"
    same "$(rows npy.omen "price IS NULL OR price >= 7")" "1 3 5"
}

@test "an index does not depend on threads, and attach writes what build writes" {
    six
    seq 6 >keys.txt
    omendb build -q -t 1 v.fvecs
    omendb build -q -t 1 --columns t.tsv --tags tags.txt --key keys.txt -o one.omen v.fvecs
    omendb build -q -t 3 --columns t.tsv --tags tags.txt --key keys.txt -o three.omen v.fvecs
    cmp one.omen three.omen
    omendb attach -q --columns t.tsv --tags tags.txt -o c.omen v.omen
    omendb attach -q --key keys.txt -o ck.omen c.omen
    cmp ck.omen one.omen
    omendb attach -q --key keys.txt --column-types zip:int64 --columns t.tsv --tags tags.txt -o other.omen v.omen
    run ! cmp -s other.omen one.omen
    same "$(rows other.omen "zip = 1234")" "0"
    # what is attached replaces the columns that there are
    fails_with 2 'has the column "name" (text), which would be lost' omendb attach --tags tags.txt -o t.omen one.omen
    lost='"one.omen" has the column "tags" (tags), which would be lost'
    fails_with 2 "$lost: attach it again beside the others, or see --drop-columns" \
        omendb attach --columns t.tsv -o t.omen one.omen
    [ ! -e t.omen ]
    sed 's/stock/rest/' t.tsv >other.tsv
    fails_with 2 'has the column "stock" (int64)' omendb attach --columns other.tsv --tags tags.txt -o t.omen one.omen
    omendb attach -q --columns t.tsv --tags tags.txt -o t.omen one.omen
    cmp t.omen one.omen
    omendb attach -q --drop-columns --tags tags.txt -o t.omen one.omen
    expect 0 omendb verify t.omen
    has "$output" "1 column,"
    has "$output" "keys"
    fails_with 2 "nothing to attach" omendb attach -o x.omen v.omen
    fails_with 2 "nothing to attach" omendb attach --drop-columns -o x.omen v.omen
    fails_with 2 "--allow-duplicates is of the keys" omendb attach --allow-duplicates --tags tags.txt -o x.omen v.omen
}

@test "verify compares with the files that columns were built from" {
    six
    array i.npy '<i8' '<6q' 1 2 3 4 5 6
    omendb build -q --columns t.tsv --column i=i.npy --tags tags.txt v.fvecs
    from="--columns t.tsv --column i=i.npy --tags tags.txt"
    expect 0 omendb verify $from --source v.fvecs v.omen
    has "$output" "sound"
    sed 's/\t5\t2$/\t4\t2/' t.tsv >other.tsv
    expect 3 omendb verify --columns other.tsv --column i=i.npy --tags tags.txt v.omen
    same "$output" 'v.omen: differs from its columns: section CVAL: column "stock": row 4 has another value'
    sed 's/w/x/' tags.txt >other.txt
    expect 3 omendb verify --columns t.tsv --column i=i.npy --tags other.txt v.omen
    has "$output" 'column "tags" has other values'
    sed 's/1.5/1500.5/; s/-7/-8/' t.tsv >other.tsv
    expect 3 omendb verify --columns other.tsv --column i=i.npy --tags tags.txt v.omen
    has "$output" 'column "stock" has other values'
    # all larger by one: the values as they are stored, above the least one, are the same
    array j.npy '<i8' '<6q' 2 3 4 5 6 7
    expect 3 omendb verify --columns t.tsv --column i=j.npy --tags tags.txt v.omen
    same "$output" 'v.omen: differs from its columns: section COLS: column "i" has other values'
    expect 3 omendb verify --columns t.tsv v.omen
    has "$output" 'column 5 is "i" (int64) in the index, and "none" (-)'
    expect 3 omendb verify --columns t.tsv --column-types price:float32 --column i=i.npy --tags tags.txt v.omen
    has "$output" 'column 2 is "price" (float64) in the index, and "price" (float32)'
    head -n 6 t.tsv >other.tsv
    fails_with 2 '"other.tsv" has 5 rows, and there are 6 vectors' omendb verify --columns other.tsv v.omen
    omendb build -q -o plain.omen v.fvecs
    expect 3 omendb verify --tags tags.txt plain.omen
    has "$output" 'column 1 is "none" (-) in the index'
    fails_with 2 "drop --quick" omendb verify --quick --tags tags.txt v.omen
}

@test "a table that is wrong is told with line and column" {
    six
    omendb build -q v.fvecs
    { cat t.tsv; echo; } >bad.tsv
    refused '"bad.tsv", line 8 has 1 field, and the header 4' --columns bad.tsv
    { cat t.tsv; printf 'a\t1\t2\t3\n'; } >bad.tsv
    refused '"bad.tsv" has 7 rows, and there are 6 vectors' --columns bad.tsv
    refused '"t.tsv", line 2, column 1 (name): "a" is no integer' --columns t.tsv --column-types name:int64
    refused '"t.tsv", line 2, column 2 (price): "1.5" is no integer' --columns t.tsv --column-types price:int64
    refused 'has no column "prize"; there are "name", "price", ' --columns t.tsv --column-types prize:int64
    refused '"price:int" is not NAME:TYPE' --columns t.tsv --column-types price:int
    refused '--column-types: "price" is named twice' --columns t.tsv \
        --column-types price:float32,zip:text,price:float64
    refused "name it with --columns" --tags tags.txt --column-types price:int64
    sed 's/^name/price/' t.tsv >bad.tsv
    refused 'columns 1 and 2 have the same name, "price"' --columns bad.tsv
    printf 'a,b\n"x,1\n' >bad.csv
    refused '"bad.csv", line 2, column 1: a quote begins there' --columns bad.csv
    printf 'a,b\n"x"y,1\n' >bad.csv
    refused '"bad.csv", line 2, column 1: something follows the quote' --columns bad.csv
    { printf '{"a": 1}\n%.0s' 1 2 3; printf '{"a": "x"}\n'; } >bad.jsonl
    refused '"bad.jsonl", line 4, column 1 (a): "x" is a text, and line 1 has a number in this column' \
        --columns bad.jsonl
    printf '{}\n{"a": "x"}\n{"a": ["y"]}\n' >bad.jsonl
    refused 'line 3, column 1 (a): "y" is of a list, and line 2 has a text in this column' --columns bad.jsonl
    printf '{}\n{"a": 1}\n{"a": []}\n' >bad.jsonl
    refused 'line 3, column 1 (a): [] is a list, and line 2 has a number in this column' --columns bad.jsonl
    { printf '{"a": 1}\n%.0s' 1 2 3 4 5; printf '{"a": []}\n'; } >bad.jsonl
    refused 'line 6, column 1 (a): [] is a list, and the column is not of tags' --columns bad.jsonl \
        --column-types a:int64
    printf '{"a": 1}\n{"a": 1,}\n' >bad.jsonl
    refused '"bad.jsonl", line 2, character' --columns bad.jsonl
    printf '{"a": [1]}\n' >bad.jsonl
    refused 'column 1 (a): a list may hold strings only' --columns bad.jsonl
    printf '{"a": {}}\n' >bad.jsonl
    refused 'the type skip' --columns bad.jsonl
    printf '[1]\n' >bad.jsonl
    refused 'line 1 is no object' --columns bad.jsonl
    printf 'x\n' >bad.txt
    refused '"bad.txt" has 1 row, and there are 6 vectors' --tags bad.txt
    printf 'x\n\ny \377z\nx\n\n\n' >bad.txt
    refused '"bad.txt", line 3: byte 3, 0xff, is not UTF-8' --tags bad.txt
    printf 'x\n\na \303\251\nx\000y\n\n\n' >bad.txt
    refused '"bad.txt", line 4: byte 2, 0x00, is no text' --tags bad.txt
    sed 's/name/tags/' t.tsv >bad.tsv
    refused 'two columns are called "tags"' --tags tags.txt --columns bad.tsv
    refused '--column wants NAME=FILE' --column price
    cp tags.txt t.spmat
    refused '"t.spmat" is no sparse matrix' --tags t.spmat
    printf '\223NUMPY\1\0' >bad.npy
    refused '"bad.npy": the header is cut short' --column price=bad.npy
    refused 'is an index' --columns v.omen
    fails_with 4 'cannot open "nope.tsv"' omendb build --columns nope.tsv -o new.omen v.fvecs
    fails_with 2 'overwrite the input --columns "t.tsv"' omendb build --columns t.tsv -o t.tsv v.fvecs
    fails_with 2 'standard input can be one of' omendb build --columns - --tags - -o new.omen v.fvecs
    only bad.csv bad.jsonl bad.npy bad.tsv bad.txt t.spmat t.tsv t.tsv.rows tags.txt v.fvecs v.omen
}

@test "a column of empty lists is of tags" {
    vectors make v.fvecs -n 3 -d 4
    printf '{"a": []}\n%.0s' 1 2 3 >t.jsonl
    omendb build -q --columns t.jsonl v.fvecs
    same "$(rows v.omen "a HAS 'x'")" ""
    same "$(rows v.omen "NOT a HAS 'x'")" "0 1 2"
    printf '{"a": []}\n{"a": ["x"]}\n{"b": 1, "a": []}\n' >t.jsonl
    omendb build -q --columns t.jsonl v.fvecs
    same "$(rows v.omen "a HAS 'x'")" "1"
}

@test "no digit of a whole number is lost unasked" {
    six
    omendb build -q v.fvecs
    values() { { echo a; printf '%s\n' "$@"; } >big.tsv; }
    values 1 9223372036854775807 -9223372036854775808 0 2 3
    omendb build -q --columns big.tsv v.fvecs
    same "$(rows v.omen "a = 9223372036854775807")" "1"
    same "$(rows v.omen "a = 9223372036854775806")" ""
    # beyond int64, or beside a number with a fraction: told where float64 does not hold it
    values 1 2 9223372036854775809 4 5 6
    refused '"big.tsv", line 4, column 1 (a): "9223372036854775809" is a whole number that float64 does not hold' \
        --columns big.tsv
    values 1 9007199254740993 3 4 5 0.5
    refused '"big.tsv", line 3, column 1 (a): "9007199254740993" is a whole number' --columns big.tsv
    for i in 1 9007199254740993 3 4 5 0.5; do echo "{\"a\": $i}"; done >big.jsonl
    refused '"big.jsonl", line 2, column 1 (a): 9007199254740993 is a whole number' --columns big.jsonl
    values 1 -0 18446744073709551616 100000000000000000000 -9223372036854775808 1e300
    omendb build -q --columns big.tsv v.fvecs
    same "$(rows v.omen "a = 18446744073709551616")" "2"
    # asked for
    values 1 9007199254740993 9223372036854775809 4 5 0.5
    omendb build -q --columns big.tsv --column-types a:float64 v.fvecs
    same "$(rows v.omen "a = 9223372036854775809")" "2"
    omendb build -q --columns big.tsv --column-types a:text v.fvecs
    same "$(rows v.omen "a = '9223372036854775809'")" "2"
}

@test "columns count against --memory" {
    vectors make v.fvecs -n 20000 -d 4
    { echo x; seq 20000; } >t.tsv
    fails_with 5 "the columns in \"t.tsv\" need more than" omendb build --columns t.tsv -M 100K v.fvecs
    only t.tsv v.fvecs
    # texts that are all different take their bytes, twice while they are sorted
    { echo x; seq -f 'text number %.0f, as long as some are' 20000; } >t.tsv
    fails_with 5 "the columns in \"t.tsv\" need more than" omendb build --columns t.tsv -M 2M v.fvecs
    only t.tsv v.fvecs
}

@test "a killed build with columns ends in the same bytes" {
    vectors make v.fvecs -n 4000 -d 8
    { echo x; seq 4000; } >t.tsv
    omendb build -q --columns t.tsv -o whole.omen v.fvecs
    timeout --foreground -s KILL 0.05 "$OMENDB" build -q --columns t.tsv --chunk-rows 500 -o v.omen v.fvecs || true
    omendb build -q --columns t.tsv --chunk-rows 500 -o v.omen v.fvecs
    cmp v.omen whole.omen
    [ ! -e v.omen.part ]
}

@test "a flip of any one byte of columns is found, and what they claim does no harm" {
    six
    omendb build -q --columns t.tsv --tags tags.txt -l 1 -c none v.fvecs
    mkdir copies
    python3 "$tests_dir/cli/damage.py" flip v.omen copies
    lies=${OMEN_TEST_QUICK:+12}
    vectors make q.fvecs -n 3 -d 4 --seed 5
    python3 "$tests_dir/cli/hostile.py" index v.omen q.fvecs ${lies:-60}
}

@test "files of columns that lie do no harm" {
    six
    cp t.tsv t
    head -c 80 t.tsv | tr '\t' , >t.csv
    printf '{"a": 1, "b": [ "x", "y" ]}\n{"a": 2.5e3}\n%.0s' 1 2 3 >t.jsonl
    array i.npy '<i8' '<6q' 1 2 3 4 5 6
    array f.npy '>f2' '>6e' 1 2 3 4 5 6
    python3 -c '
import struct
with open("t.spmat", "wb") as out:
    out.write(struct.pack("<3q7q6i6f", 6, 4, 6, *range(7), 0, 1, 2, 3, 0, 1, *[1] * 6))'
    omendb build -q v.fvecs
    lies=${OMEN_TEST_QUICK:+8}
    python3 "$tests_dir/cli/hostile.py" keyfiles v.omen ${lies:-25} columns:t columns:t.tsv columns:t.csv \
        columns:t.jsonl column:i.npy column:f.npy tags:t.spmat tags:tags.txt \
        key=:stock:t.tsv key=:name:t.csv key=:a:t.jsonl
}

@test "conditions select the rows that SQLite selects" {
    program=$(dirname "$OMENDB")/../tests/condition_rows
    [ -x "$program" ] || skip "no condition_rows beside the program"
    n=3000
    [ -z "${OMEN_TEST_QUICK-}" ] || n=600
    python3 "$tests_dir/cli/where_sqlite.py" "$program" $n
}
