# SPDX-License-Identifier: Apache-2.0
# Several inputs as one: files, lists, directories; and the row numbers of parts.

load helper

# rows FILE A:B [OPTION...]: rows A up to B of the same 3,000 in another file.
rows()
{
    vectors make "$1" -n 3000 -d 12 --rows "$2" "${@:3}"
}

# The same for all tests: the rows in one file, and in five files of as many formats.
setup_file()
{
    cd "$BATS_FILE_TMPDIR"
    mkdir split
    vectors make all.fvecs -n 3000 -d 12
    rows split/a.fvecs 0:1000
    rows split/b.npy 1000:1001 --element u1
    rows split/c.bvecs 1001:2000
    rows split/d.npy 2000:2500 --element f8 --fortran
    rows split/e.f32 2500:3000 --format raw
    omendb build -q -o whole.omen all.fvecs
}

# parts: the five files here; sets all and whole, of all rows.
parts()
{
    all=$BATS_FILE_TMPDIR/all.fvecs
    whole=$BATS_FILE_TMPDIR/whole.omen
    cp "$BATS_FILE_TMPDIR"/split/* .
}

@test "files of several formats make the index that one file makes" {
    plain_only
    parts
    expect 0 omendb build -d 12 -v -o out.omen a.fvecs b.npy c.bvecs d.npy e.f32
    cmp "$whole" out.omen
    has "$stderr" "5 files: several formats, 3,000 x 12"
    has "$stderr" "inputs  5 files, as one"
    omendb build -q -d 12 -m ip --graph -c rabitq -r sq16 --chunk-rows 100 -o out.omen a.fvecs b.npy c.bvecs d.npy e.f32
    omendb build -q -m ip --graph -c rabitq -r sq16 -o one.omen "$all"
    cmp one.omen out.omen
    # all of bytes
    rows f.u8bin 0:1001
    rows g.bvecs 0:2000
    omendb build -q -o out.omen f.u8bin c.bvecs
    omendb build -q -o one.omen g.bvecs
    cmp one.omen out.omen
    # compressed
    omendb compress -q -o a.fvecs.omz a.fvecs
    omendb build -q -d 12 -o out.omen a.fvecs.omz b.npy c.bvecs d.npy e.f32
    cmp "$whole" out.omen
    # the report
    expect 0 omendb build --json -d 12 -o out.omen a.fvecs b.npy c.bvecs d.npy e.f32
    [ "$(member "$output" inputs)" = 5 ]
    [ "$(member "$output" input)" = null ]
    expect 0 omendb build --json -o out.omen a.fvecs
    [ "$(member "$output" inputs)" = 1 ]
    [ "$(member "$output" input)" = '"a.fvecs"' ]
}

@test "rows are in the order given, and a file named twice has them twice" {
    plain_only
    parts
    omendb build -q -o out.omen c.bvecs a.fvecs
    omendb query -q --exact -k 1 out.omen a.fvecs | awk '$1 + 999 != $3' >wrong
    [ ! -s wrong ] || fault "$(head -n 3 wrong)"
    omendb build -q -o out.omen a.fvecs a.fvecs
    omendb query -q --exact -k 2 out.omen a.fvecs | awk '$3 % 1000 != $1' >wrong
    [ ! -s wrong ] || fault "$(head -n 3 wrong)"
    cat a.fvecs a.fvecs >two.fvecs
    omendb build -q two.fvecs
    cmp two.omen out.omen
}

@test "a list names the inputs" {
    parts
    printf 'a.fvecs\r\n\r\nb.npy\n   \nc.bvecs\nd.npy\n./e.f32' >list
    omendb build -q -d 12 -o out.omen --inputs list
    cmp "$whole" out.omen
    omendb build -q -d 12 -o out.omen --inputs - <list
    cmp "$whole" out.omen
    # one of them on standard input
    printf '%s\n' a.fvecs b.npy - d.npy e.f32 >list
    omendb build -q -d 12 -o out.omen --inputs list <c.bvecs
    cmp "$whole" out.omen
    omendb build -q -d 12 -o out.omen a.fvecs b.npy <(cat c.bvecs) d.npy e.f32
    cmp "$whole" out.omen
    fails_with 2 "standard input can be one of" omendb build -d 12 -o out.omen --inputs - <list
    fails_with 2 "one too many" omendb build -o out.omen --inputs list a.fvecs
    fails_with 2 "--output is required" omendb build --inputs list
    printf 'a.fvecs\nabsent.npy\n' >list
    fails_with 4 'cannot open "absent.npy"' omendb build -o out.omen --inputs list
    mkdir sub
    printf 'a.fvecs\nsub\n' >list
    fails_with 4 '"sub" is a directory' omendb build -o out.omen --inputs list
    printf '\n \r\n' >list
    fails_with 2 '"list" names no file' omendb build -o out.omen --inputs list
    : >list
    fails_with 2 '"list" is empty' omendb build -o out.omen --inputs list
    fails_with 2 "zero byte" omendb build -o out.omen --inputs a.fvecs
    head -c 100000 /dev/zero | tr '\0' x >list
    fails_with 2 "line 1: 100000 bytes" omendb build -o out.omen --inputs list
    yes a.fvecs | head -n 32769 >list || true
    fails_with 2 "more than 32768 files" omendb build -o out.omen --inputs list
    [ ! -e out.omen.part ]
}

@test "a directory: its files in byte order of names, and nothing is left out in silence" {
    parts
    mkdir dir
    cp a.fvecs dir/A.fvecs
    cp b.npy dir/a1.npy
    gzip -c c.bvecs >dir/a10.bvecs.gz
    cp d.npy dir/a2.npy
    cp e.f32 dir/b.f32
    : >dir/_SUCCESS
    : >dir/.hidden
    : >dir/x.model.part
    fails_with 2 "--output is required" omendb build -d 12 dir
    for path in $(some 1 dir dir/ ./dir); do
        omendb build -q -d 12 -o dir/out.omen $path # what is there of an index is no input
        cmp "$whole" dir/out.omen
    done
    omendb build -q -d 12 -o out.omen dir a.fvecs
    omendb build -q -d 12 -o one.omen "$all" a.fvecs
    cmp one.omen out.omen
    : >dir/README
    fails_with 2 'dir/README" does not say by its name' omendb build -d 12 -o out.omen dir
    rm dir/README
    mkdir dir/sub
    fails_with 2 'dir/sub" is no regular file' omendb build -d 12 -o out.omen dir
    mkdir none raw
    : >none/.npy
    fails_with 2 '"none" is a directory without' omendb build -o out.omen none
    # with a format, names say nothing
    rows raw/part-1 0:1000 --format raw
    rows raw/part-2 1000:3000 --format raw
    omendb build -q -f raw -d 12 -o out.omen raw
    cmp "$whole" out.omen
}

@test "an input that does not fit is named, and nothing is written" {
    parts
    vectors make wide.npy -n 10 -d 13
    fails_with 2 '"wide.npy" has 13 dimensions, and "a.fvecs" has 12' omendb build -o out.omen a.fvecs c.bvecs wide.npy
    head -c 500 c.bvecs >cut.bvecs
    fails_with 2 '"cut.bvecs"' omendb build -o out.omen a.fvecs cut.bvecs
    fails_with 4 'cannot open "absent"' omendb build -o out.omen a.fvecs absent
    vectors make zero.fvecs --text "0,0,0,0,0,0,0,0,0,0,0,0"
    fails_with 2 'row 0 of "zero.fvecs" is a zero vector' omendb build -q -m cosine -o out.omen c.bvecs zero.fvecs
    only a.fvecs b.npy c.bvecs cut.bvecs d.npy e.f32 wide.npy zero.fvecs
    # no output is an input, whatever its name
    ln -s a.fvecs link
    for output in a.fvecs link ./c.bvecs; do
        fails_with 2 "would overwrite the input" omendb build -o $output b.npy a.fvecs c.bvecs
    done
    ln c.bvecs new.omen.part
    fails_with 2 "would overwrite the input" omendb build -o new.omen b.npy a.fvecs c.bvecs
    rm new.omen.part
    printf 'a.fvecs\n' >list
    fails_with 2 "would overwrite the input" omendb build -o list --inputs list
    omendb build -q -o a.omen a.fvecs
    fails_with 2 "is an omendb index" omendb build -o out.omen a.fvecs a.omen
}

@test "keys, columns and tags are of all rows" {
    parts
    seq -f 'key %g' 0 1999 >keys
    { echo number; seq 0 1999; } >table.tsv
    seq -f 'tag%g' 0 1999 >tags.txt
    set -- --key keys --columns table.tsv --tags tags.txt
    omendb build -q "$@" -o out.omen a.fvecs b.npy c.bvecs
    omendb query -q --exact -k 1 out.omen c.bvecs | awk -F '\t' '$3 != "key " $1 + 1001' >wrong
    [ ! -s wrong ] || fault "$(head -n 3 wrong)"
    [ "$(omendb query -q -k 1 --where 'number = 1000' out.omen b.npy)" = $'0\t1\tkey 1000' ]
    omendb verify -q --columns table.tsv --tags tags.txt --source a.fvecs --source b.npy --source c.bvecs out.omen
    fails_with 2 "2000 keys, and there are 1999 rows" omendb build -q "$@" -o out.omen a.fvecs c.bvecs
}

@test "verify compares with several files in their order" {
    parts
    set -- --source a.fvecs --source b.npy --source c.bvecs --source d.npy --source e.f32
    expect 0 omendb verify "$@" "$whole"
    has "$output" "source)"
    mkdir dir
    cp a.fvecs b.npy c.bvecs d.npy e.f32 dir
    omendb verify -q --source dir "$whole"
    printf '%s\n' a.fvecs b.npy c.bvecs d.npy e.f32 >list
    omendb verify -q --inputs list "$whole"
    omendb verify -q --inputs - "$whole" <list
    printf '%s\n' a.fvecs b.npy d.npy c.bvecs e.f32 >list
    expect 3 omendb verify --inputs list "$whole"
    has "$output" "differs from its source"
    expect 3 omendb verify --source a.fvecs --source c.bvecs "$whole"
    has "$output" "differs from its source"
    fails_with 2 "choose one" omendb verify --inputs list --source a.fvecs "$whole"
    fails_with 2 "drop --quick" omendb verify --quick --inputs list "$whole"
    fails_with 2 "standard input can be one of" omendb verify --source - --source - "$whole"
    fails_with 4 "absent" omendb verify --source a.fvecs --source absent "$whole"
    : >dir/note
    fails_with 2 'dir/note"' omendb verify --source dir "$whole"
}

# Images in five parts, and a chunk size that makes many checkpoints.
make_parts()
{
    local n=${OMENDB_TEST_ROWS:-8000}
    vectors first "$n" "$images/train-images-idx3-ubyte.gz" base.idx
    chunk=$((n / 32))
    mkdir parts
    python3 - "$n" <<'PY'
import struct, sys
n = int(sys.argv[1])
rows = open("base.idx", "rb").read()[16:]
for i in range(5):
    part = rows[784 * (n * i // 5):784 * (n * (i + 1) // 5)]
    open(f"parts/{i}.idx", "wb").write(struct.pack(">IIII", 0x803, len(part) // 784, 28, 28) + part)
PY
}

build_parts()
{
    omendb build --chunk-rows "$chunk" "$@" -o out.omen parts
}

# kill_at BYTES: starts a build and kills it once its checkpoint has so many bytes.
kill_at()
{
    "$OMENDB" build -q --chunk-rows "$chunk" -o out.omen parts &
    local pid=$!
    while kill -0 $pid 2>/dev/null && [ "$(stat -c %s out.omen.part 2>/dev/null || echo 0)" -lt "$1" ]; do
        sleep 0.002
    done
    kill -KILL $pid 2>/dev/null || true
    wait $pid || true
    [ -e out.omen.part ] || fault "no checkpoint at $1"
}

@test "a killed build of several inputs continues, and refuses others by name" {
    plain_only
    make_parts
    omendb build -q -o whole.omen base.idx
    for size in $(some 1 1500000 1 900000); do
        kill_at $size
    done
    cp out.omen.part kept
    touch -d 2001-01-01 parts/3.idx
    fails_with 2 'modification time of input 4, "parts/3.idx", changed' build_parts -q
    has "$stderr" "--fresh"
    touch -r parts/2.idx parts/3.idx
    mv parts/1.idx moved
    fails_with 2 "5 files are 4 now" build_parts -q
    fails_with 2 "changed" omendb build -q -o out.omen parts/0.idx moved parts/3.idx parts/2.idx parts/4.idx
    fails_with 2 "5 files are 1 now" omendb build -q -o out.omen base.idx
    mv moved parts/1.idx
    cp -p parts/0.idx head
    cp -p parts/1.idx parts/0.idx # of the same size
    touch -r head parts/0.idx
    fails_with 2 'the contents of input 1, "parts/0.idx", changed' build_parts -q
    mv head parts/0.idx
    cp kept out.omen.part # times have been put back, but for that of number 3
    fails_with 2 '"parts/3.idx", changed' build_parts -q
    expect 0 build_parts --fresh
    cmp whole.omen out.omen
    rm out.omen
    kill_at 1500000
    expect 0 build_parts
    has "$stderr" "resuming"
    cmp whole.omen out.omen
    only base.idx kept out.omen parts whole.omen
}

@test "1,200 inputs need no more descriptors than few" {
    python3 - <<'PY'
import os
os.mkdir("many")
rows = open(os.environ["BATS_FILE_TMPDIR"] + "/all.fvecs", "rb").read()
for i in range(1200):
    open(f"many/{i:04}.fvecs", "wb").write(rows[52 * i:52 * (i + 1)])
open("all.fvecs", "wb").write(rows[:52 * 1200])
PY
    omendb build -q -o one.omen all.fvecs
    (ulimit -n 64 && omendb build -q -o out.omen many)
    cmp one.omen out.omen
    (ulimit -n 64 && omendb verify -q --source many out.omen)
}

@test "an input that is cut short while it is read is named" {
    make_parts
    "$OMENDB" build -q --chunk-rows 100 -o out.omen parts 2>message &
    local pid=$! code=0
    while kill -0 $pid 2>/dev/null && [ ! -e out.omen.part ]; do sleep 0.002; done
    kill -STOP $pid
    truncate -s 100 parts/4.idx
    kill -CONT $pid
    wait $pid || code=$?
    [ $code -eq 4 ] || fault "exit code $code: $(cat message)"
    has "$(cat message)" '"parts/4.idx"'
    [ ! -e out.omen ]
}

@test "--row-offset is added to row numbers in every format" {
    plain_only
    parts
    omendb build -q -o base.omen a.fvecs c.bvecs
    omendb build -q -o tail.omen c.bvecs
    vectors make q.fvecs -n 4 -d 12 --seed 9
    omendb query -q -k 3 --distances tail.omen q.fvecs >plain.tsv
    # the part's rows, and those that the whole finds among them
    omendb query -q -k 3 --distances --row-offset 1000 tail.omen q.fvecs >got.tsv
    awk -v OFS='\t' '{ $3 += 1000; print }' plain.tsv | cmp - got.tsv
    seq 1000 1998 >tail
    omendb query -q --exact -k 3 --distances --only tail base.omen q.fvecs >among.tsv
    omendb query -q --exact -k 3 --distances --row-offset 1000 tail.omen q.fvecs | cmp - among.tsv
    far=9000000000
    awk '{ printf "%.0f\n", $3 + 9000000000 }' plain.tsv >rows
    omendb query -q -k 3 -F jsonl --row-offset $far tail.omen q.fvecs |
        python3 -c 'import json, sys
for line in sys.stdin: print(*json.loads(line)["rows"], sep="\n")' | cmp - rows
    omendb query -q -k 3 -o out.npy --row-offset $far tail.omen q.fvecs
    vectors show out.npy | tr '\t' '\n' | cmp - rows
    omendb query -q -k 3 -o out.npy --distances --row-offset $far tail.omen q.fvecs
    vectors show out.npy | grep -q "$(head -n 1 rows)"
    omendb query -q -k 3 -o out.ivecs --row-offset 1000 tail.omen q.fvecs
    vectors show out.ivecs | tr '\t' '\n' | cmp - <(cut -f 3 got.tsv)
    # the last that int32 holds, and one more
    omendb query -q -k 999 -o out.ivecs --row-offset $((2147483647 - 998)) tail.omen q.fvecs
    vectors show out.ivecs | tr '\t' '\n' | grep -qx 2147483647
    fails_with 2 "--output-format npy" omendb query -o more.ivecs --row-offset $((2147483647 - 997)) tail.omen q.fvecs
    [ ! -e more.ivecs ]
    fails_with 2 "at most" omendb query --row-offset 9223372036854775807 tail.omen q.fvecs
    fails_with 2 "--row-offset" omendb query --row-offset -1 tail.omen q.fvecs
}

@test "--row-offset goes with rows as queries, ranges, filters and keys" {
    parts
    vectors make q.fvecs -n 4 -d 12 --seed 9
    seq -f 'k%g' 1 999 >keys
    omendb build -q -o tail.omen c.bvecs
    omendb build -q --key keys -o keyed.omen c.bvecs
    for options in "-k 3 --self" "--self --within 6000 --pairs" "--self --within 6000 --limit 2"; do
        omendb query -q $options tail.omen | awk -v OFS='\t' '{ $1 += 70; $3 += 70; print }' >want
        [ -s want ]
        omendb query -q $options --row-offset 70 tail.omen | cmp - want
    done
    omendb query -q --within 9000 tail.omen q.fvecs | awk -v OFS='\t' '{ $3 += 70; print }' >want
    [ -s want ]
    omendb query -q --within 9000 --row-offset 70 tail.omen q.fvecs | cmp - want
    # what is read are numbers of the index itself, and a row that is missing stays so
    seq 3 4 >some
    omendb query -q -k 3 --only some --row-offset 70 tail.omen q.fvecs | cut -f 3 | sort -u | cmp - <(seq 73 74)
    omendb query -q -k 3 --only some --row-offset 70 -o out.npy tail.omen q.fvecs
    vectors show out.npy | awk '$3 != -1' >wrong
    [ ! -s wrong ] || fault "$(cat wrong)"
    omendb query -q -k 1 --by-row some --row-offset 70 tail.omen >got
    same "$(cat got)" "0 1 73
1 1 74"
    omendb query -q -k 1 --by-row some --exclude-self --row-offset 70 tail.omen | awk '$3 < 70 || $3 == $1 + 73' >wrong
    [ ! -s wrong ]
    # the recall is that of the same rows
    expect 0 omendb query -k 3 --audit 4 tail.omen q.fvecs
    plain=$stderr
    expect 0 omendb query -k 3 --audit 4 --row-offset 70 tail.omen q.fvecs
    [ "$stderr" = "$plain" ]
    fails_with 2 "add --rows" omendb query --row-offset 70 keyed.omen q.fvecs
    omendb query -q -k 3 --rows --row-offset 70 keyed.omen q.fvecs >got
    omendb query -q -k 3 --row-offset 70 tail.omen q.fvecs | cmp - got
}
