# SPDX-License-Identifier: Apache-2.0
# Files of vectors as people have them: compressed, in archives, as text.
load helper

# same_index FILE [OPTION...]: an index of FILE is that of v.fvecs, 90 x 11.
same_index()
{
    if [ ! -e expected.omen ]; then
        vectors make v.fvecs -n 90 -d 11
        omendb build -q -o expected.omen v.fvecs
    fi
    expect 0 omendb build -q "${@:2}" -o found.omen "$1"
    cmp expected.omen found.omen
    rm found.omen
}

bad()
{
    fails_with 2 "$1" omendb build -o found.omen "${@:2}"
    [ ! -e found.omen ] && [ ! -e found.omen.tmp ]
}

# ---- gzip and zstd ----

@test "gzip and zstd are read wherever vectors are, by content" {
    local format file
    for format in fvecs npy fbin idx; do
        vectors make w.$format -n 90 -d 11
        gzip -c w.$format >w.$format.gz
        zstd -qc w.$format >w.$format.zst
        same_index w.$format.gz
        same_index w.$format.zst
        cp w.$format.gz nameless
        same_index nameless
    done
    vectors make w.raw -n 90 -d 11
    gzip -c w.raw >w.raw.gz
    same_index w.raw.gz -d 11
    cp w.raw.gz misnamed.raw
    same_index misnamed.raw -d 11
    expect 0 bash -c '"$OMENDB" build -q -f raw -d 11 -o found.omen - <w.raw.gz'
    cmp expected.omen found.omen
    for file in w.fvecs.gz w.fvecs.zst; do
        expect 0 omendb verify -q --source $file expected.omen
        expect 0 omendb query -q -o found.tsv expected.omen $file
        omendb query -q -o plain.tsv expected.omen v.fvecs
        cmp plain.tsv found.tsv
    done
    expect 0 omendb build -q --tune-queries w.npy.gz -o found.omen v.fvecs
    expect 0 omendb bench -q -k 1 --recall 0.5 --runs 2 --min-time 0.01 --base w.fvecs.gz --queries w.npy.zst
    gzip -c expected.omen >v.omen.gz
    rm found.omen
    bad 'is an omendb index, not a file of vectors' v.omen.gz
}

@test "the index of a compressed file is named after what is in it" {
    vectors make v.fvecs -n 20 -d 3
    gzip v.fvecs
    expect 0 omendb build -q v.fvecs.gz
    only v.fvecs.gz v.omen
    mv v.fvecs.gz .gz
    expect 0 omendb build -q -f fvecs .gz
    only .gz .gz.omen v.omen
}

@test "several gzip members, several zstd frames, and zeros behind" {
    vectors make a.raw -n 40 -d 11 --seed 5
    vectors make b.raw -n 50 -d 11 --seed 6
    cat a.raw b.raw >v.raw
    omendb build -q -d 11 -o expected.omen v.raw
    { gzip -c a.raw; gzip -1c b.raw; head -c 5000 /dev/zero; } >v.raw.gz
    { zstd -qc a.raw; zstd -q -19 -c b.raw; } >v.raw.zst
    same_index v.raw.gz -d 11
    same_index v.raw.zst -d 11
    { printf 'P*M\030\003\0\0\0abc_*M\030\0\0\0\0'; cat v.raw.zst; } >skipped.raw.zst
    same_index skipped.raw.zst -d 11
    printf 'P*M\030\377\377\377\377abc' >beyond.zst
    bad 'cannot tell the format of "beyond.zst"' beyond.zst
}

@test "damaged and cut short gzip and zstd" {
    vectors make v.fvecs -n 300 -d 11
    gzip -c v.fvecs >v.gz
    zstd -q --check -c v.fvecs >v.zst
    local file n at
    for file in v.gz v.zst; do
        n=$(wc -c <$file)
        for at in 20 $((n / 2)) $((n - 5)) $((n - 1)); do
            head -c $at $file >cut
            fails_with 2 '"cut": it' omendb build -o found.omen cut
            cp $file turned
            printf '\125' | dd of=turned bs=1 seek=$at conv=notrunc status=none
            fails_with 2 '"turned": it' omendb build -o found.omen turned
        done
        { cat $file; printf 'more'; } >behind
        bad '"behind": ' behind
    done
    only behind cut turned v.fvecs v.gz v.zst
}

@test "what unpacks to more than there is room for ends there" {
    python3 - <<'END'
import gzip, struct
with gzip.open("bomb.fbin.gz", "wb", 1) as out:
    out.write(struct.pack("<II", 400000, 64))
    for _ in range(100):
        out.write(bytes(1 << 20))
END
    expect 4 bash -c 'ulimit -f 4096; exec "$OMENDB" build -o found.omen bomb.fbin.gz'
    has "$stderr" 'cannot write the temporary copy of "bomb.fbin.'
    zstd -q -d -c bomb.fbin.gz 2>/dev/null | zstd -qc >bomb.fbin.zst || skip "zstd reads no gzip"
    expect 4 bash -c 'ulimit -f 4096; exec "$OMENDB" build -o found.omen bomb.fbin.zst'
    has "$stderr" 'cannot write the temporary copy of "bomb.fbin.'
    only bomb.fbin.gz bomb.fbin.zst
}

@test "what says that it unpacks to more than there is room for is refused at once" {
    vectors make z.npz -n 90 -d 11 --deflate
    vectors make v.fvecs -n 90 -d 11
    zstd -q v.fvecs
    python3 - <<'END'
import struct
data = bytearray(open("z.npz", "rb").read())
at = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)  # the entry of emb.npy, as zip64
name, extra, comment = struct.unpack_from("<HHH", data, at + 28)
more = struct.pack("<HHQ", 1, 8, 1 << 60)
data[at + 24:at + 28] = b"\xff" * 4
struct.pack_into("<H", data, at + 30, extra + len(more))
data[at + 46 + name + extra:at + 46 + name + extra] = more
end = data.rindex(b"PK\5\6")
struct.pack_into("<I", data, end + 12, struct.unpack_from("<I", data, end + 12)[0] + len(more))
open("z.npz", "wb").write(data)
frame = bytearray(open("v.fvecs.zst", "rb").read())
assert frame[4] & 0xc0 == 0x40  # a length of 2 bytes, without the window's: make it one of 8
frame[4] |= 0xc0
frame[5:7] = struct.pack("<Q", 1 << 60)
open("v.fvecs.zst", "wb").write(frame)
END
    fails_with 4 'unpacked it has 1099511627777 MiB, and TMPDIR has' omendb build -o found.omen z.npz:emb
    fails_with 4 'unpacked it has 1099511627777 MiB, and TMPDIR has' omendb build -o found.omen v.fvecs.zst
}

@test "compress takes what is in a compressed file, and gives that back" {
    vectors make v.fvecs -n 300 -d 11
    gzip -k v.fvecs
    expect 0 omendb compress -q v.fvecs.gz
    mv v.fvecs kept
    expect 0 omendb compress -q -d v.fvecs.omz
    cmp kept v.fvecs
    fails_with 2 '"v.fvecs.gz", and what -d gives back is what was compressed in it' \
        omendb compress -f --rm -o w.omz v.fvecs.gz
    [ ! -e w.omz ] && [ -e v.fvecs.gz ]
    expect 0 omendb compress -q --codec sq8 -o codes.omz v.fvecs.gz
}

@test "gzip and zstd of keys, columns, tags, conditions and sets of rows" {
    vectors make v.fvecs -n 50 -d 5
    seq 100 149 >keys.txt
    { echo 'price,colour'; seq -f '%g,red' 50; } >t.csv
    seq -f 'a t%g' 50 >tags.txt
    seq 110 120 >only.txt
    seq -f 'price < %g' 10 59 >where.txt
    for file in keys.txt t.csv tags.txt only.txt where.txt; do
        gzip -k $file
        zstd -q $file
    done
    omendb build -q --key keys.txt --columns t.csv --tags tags.txt -o expected.omen v.fvecs
    expect 0 omendb build -q --key keys.txt.gz --columns t.csv.zst --tags tags.txt.gz -o found.omen v.fvecs
    cmp expected.omen found.omen
    expect 0 omendb build -q --key t.csv.gz:price --allow-duplicates -o found.omen v.fvecs
    omendb query --only only.txt expected.omen v.fvecs >expected.tsv
    expect 0 omendb query --only only.txt.gz -o found.tsv expected.omen v.fvecs
    cmp expected.tsv found.tsv
    omendb query --where-file where.txt expected.omen v.fvecs >expected.tsv
    expect 0 omendb query --where-file where.txt.zst -o found.tsv expected.omen v.fvecs
    cmp expected.tsv found.tsv
    : | gzip >empty.gz
    expect 0 omendb query --only empty.gz expected.omen v.fvecs
    [ -z "$output" ]
}

# ---- npz ----

@test "npz: an array where it lies, or unpacked" {
    local options element
    vectors make w.npz -n 90 -d 11
    for options in "" --deflate "--deflate --fortran" "--fortran --element f8" "--element u1 --deflate"; do
        vectors make w.npz -n 90 -d 11 $options
        same_index w.npz
        same_index w.npz:emb
        same_index w.npz:emb.npy
        cp w.npz nameless
        same_index nameless
        same_index nameless:emb
        gzip -c w.npz >w.npz.gz
        same_index w.npz.gz:emb
        expect 0 bash -c '"$OMENDB" build -q -o found.omen - <w.npz'
        cmp expected.omen found.omen
        expect 0 bash -c 'cat w.npz | "$OMENDB" build -q -o found.omen /dev/stdin:emb'
        cmp expected.omen found.omen
        expect 0 omendb verify -q --source w.npz:emb found.omen
        expect 0 omendb query -q -o found.tsv found.omen w.npz:emb
        rm found.omen
    done
    vectors make w.npz -n 90 -d 11 --more
    mkdir rows
    mv w.npz rows
    expect 0 omendb build -q rows/w.npz:emb
    cmp expected.omen rows/w-emb.omen
    expect 0 omendb build -q rows/w.npz:dir/more
    LC_ALL=C ls rows >list
    same "$(cat list)" "w-dir-more.omen
w-emb.omen
w.npz"
    cp expected.omen rows/w.npz:emb # a file of that name comes first
    bad 'is an omendb index' rows/w.npz:emb
}

@test "npz: which array is told by name, and what there is" {
    vectors make w.npz -n 9 -d 3 --more
    bad "several arrays have two dimensions, so name one, as FILE:NAME, of ids (9, <i8), emb (9 x 3, <f4), dir/" w.npz
    bad 'it has no array "emc"; there are ids (9, <i8), emb' w.npz:emc
    bad 'the array has 1 dimension; rows of values need 2' w.npz:ids
    fails_with 4 'cannot open "absent.npz' omendb build -o found.omen absent.npz:emb
    mkdir rows
    fails_with 4 'cannot open "rows:1/absent.npz"' omendb build -o found.omen rows:1/absent.npz
    mkdir rows:1
    cp w.npz rows:1
    bad 'there are ids (9, <i8), emb' rows:1/w.npz:dir/more:0
    vectors make z.npz -n 9 -d 3 --more --deflate
    bad '"z.npz": the array has 1 dimension' z.npz:ids
    vectors make v.fvecs -n 9 -d 3
    bad '"v.fvecs" is fvecs, which has no parts to name as ":emb"' v.fvecs:emb
    fails_with 2 'would overwrite the input INPUT "link:emb"' bash -c \
        'ln -s w.npz link; ln w.npz out.omen; exec "$OMENDB" build -o out.omen link:emb'
}

@test "npz: compressed by omendb, and back" {
    vectors make w.npz -n 30000 -d 11 # more than what is looked at first
    expect 0 omendb build -q w.npz
    expect 0 omendb compress -q w.npz
    expect 0 omendb build -q -o found.omen w.npz.omz
    cmp w.omen found.omen
    expect 0 omendb compress -q -f --codec f16 -o codes.omz w.npz:emb
    fails_with 2 'without loss a file is compressed as a whole' omendb compress w.npz:emb
    fails_with 2 'name the output with --output' omendb compress --codec f16 w.npz:emb
    vectors make z.npz -n 9 -d 3 --deflate
    fails_with 2 'its arrays are compressed already' omendb compress z.npz
}

@test "npz: damage, cuts and lies" {
    local n at size bytes
    vectors make w.npz -n 40 -d 5
    vectors make z.npz -n 40 -d 5 --deflate
    for file in w.npz z.npz; do
        size=$(wc -c <$file)
        for at in $(seq 1 97 $((size - 1))); do
            head -c $at $file >cut.npz
            fails_with 2 'cut.npz"' omendb build -o found.omen cut.npz:emb
        done
    done
    # every byte in turn: refused, or read as it was
    omendb build -q -o expected.omen w.npz
    cat >turn.py <<'END'
import os, subprocess, sys
file, name, step = sys.argv[1], sys.argv[2], int(sys.argv[3])
whole = open(file, "rb").read()
expected = open("expected.omen", "rb").read()
for at in range(0, len(whole), step):
    with open("turned.npz", "wb") as out:
        out.write(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1:])
    done = subprocess.run([os.environ["OMENDB"], "build", "-q", "-o", "turned.omen", "turned.npz:" + name],
                          capture_output=True)
    if done.returncode == 0:
        if open("turned.omen", "rb").read() != expected:
            sys.exit(f"byte {at} of {file}: another index")
        os.unlink("turned.omen")
    elif done.returncode != 2 or done.stderr.count(b"\n") != 1:
        sys.exit(f"byte {at} of {file}: exit {done.returncode}: {done.stderr}")
END
    expect 0 python3 turn.py w.npz emb ${OMEN_TEST_QUICK:+3}11
    expect 0 python3 turn.py z.npz emb ${OMEN_TEST_QUICK:+3}7
    omendb query -q -k 5 -F npz -o l.npz expected.omen w.npz:emb # zip64
    omendb build -q -o expected.omen l.npz:ids
    expect 0 python3 turn.py l.npz ids ${OMEN_TEST_QUICK:+3}19
    printf 'PK\005\006' >e.npz
    head -c 18 /dev/zero >>e.npz
    bad 'the zip archive holds no arrays of NumPy' e.npz
}

# ---- safetensors ----

@test "safetensors: a tensor where it lies" {
    local element
    for element in f4 f2 u1 i8; do
        vectors make w.safetensors -n 90 -d 11 --element $element
        same_index w.safetensors
        same_index w.safetensors:emb
        cp w.safetensors nameless
        same_index nameless
        cat w.safetensors | gzip >w.safetensors.gz
        same_index w.safetensors.gz:emb
    done
    expect 0 omendb verify -q --source w.safetensors expected.omen
    vectors make w.safetensors -n 90 -d 11
    expect 0 omendb compress -q w.safetensors
    same_index w.safetensors.omz
    cp w.safetensors kept
    expect 0 omendb compress -q -d -f w.safetensors.omz
    cmp kept w.safetensors
}

@test "safetensors: faults" {
    vectors make w.safetensors -n 9 -d 3 --more
    bad 'several tensors have two dimensions, so name one, as FILE:NAME, of bias (1 dimension, F32), emb (9 x 3, F32)' \
        w.safetensors
    bad 'it has no tensor "x"; there are bias' w.safetensors:x
    bad 'the tensor has 1 dimension; rows of values need 2' w.safetensors:bias
    printf '\002\0\0\0\0\0\0\0{}1234' >none.safetensors
    bad 'it holds no tensors' none.safetensors
    vectors make w.safetensors -n 9 -d 3
    size=$(wc -c <w.safetensors)
    for at in $(seq 1 13 $((size - 1))) $((size - 1)); do
        head -c $at w.safetensors >cut.safetensors
        fails_with 2 'cut.safetensors"' omendb build -o found.omen cut.safetensors
    done
    for change in 's/\[9, 3\]/[9, 4]/' 's/\[9, 3\]/[-9, 3]/' 's/\[9, 3\]/[9, 3.5]/' 's/\[12, 120\]/[12, 121]/' \
        's/\[12, 120\]/[120, 12]/' 's/"F32", "shape": \[9/"F8_E4M3", "shape": [9/' 's/"shape": \[9, 3\]/"shape": 9/' \
        's/\[12, 120\]/[12, 9999999999999999999]/' 's/"emb"/"bias"/'; do
        LC_ALL=C sed "$change" w.safetensors >lie.safetensors
        python3 - <<'END'
import struct
data = open("lie.safetensors", "rb").read()
header = data[8:data.index(b"}}") + 2]
open("lie.safetensors", "wb").write(struct.pack("<Q", len(header)) + header + bytes(120))
END
        fails_with 2 'lie.safetensors"' omendb build -o found.omen lie.safetensors
    done
}

# ---- text ----

@test "csv, tsv and jsonl of numbers" {
    local format
    for format in csv tsv jsonl; do
        vectors make w.$format -n 90 -d 11
        same_index w.$format
        same_index w.$format -d 11
        cp w.$format nameless
        same_index nameless
        expect 0 bash -c 'cat w.$1 | "$OMENDB" build -q -f $1 -o found.omen -' bash $format
        cmp expected.omen found.omen
        expect 0 omendb verify -q --source w.$format expected.omen
        expect 0 omendb query -q -o found.tsv expected.omen w.$format
        gzip -c w.$format >w.$format.gz
        same_index w.$format.gz
        bad "\"w.$format\" has 11 dimensions, not 12 as asked for" -d 12 w.$format
        fails_with 2 'it is text, which gzip or zstd compress better' omendb compress w.$format
    done
    same_index w.jsonl:emb
    sed 's/.*"emb": //; s/}$//' w.jsonl >lists.jsonl
    same_index lists.jsonl
    { echo 'a,"b, c",d,e,f,g,h,i,j,k,l'; cat w.csv; } >named.csv
    same_index named.csv
    sed 's/\([0-9]*\),/"\1" , /; s/$/\r/' w.csv >quoted.csv
    same_index quoted.csv
    { printf '\357\273\277'; cat w.csv; echo; echo; } >mark.csv
    same_index mark.csv
    head -c -1 w.csv >open.csv # no end of line
    same_index open.csv
    mkdir a
    cp w.jsonl a
    expect 0 omendb build -q a/w.jsonl:emb
    cmp expected.omen a/w-emb.omen
}

@test "numbers in text, in every locale" {
    printf '0.1,-1e-3,.5,5.,1E+2,16777216\n1,+2,3,4,5,0.30000001192092896\n' >a.csv
    vectors make b.fvecs --text "0.1,-1e-3,.5,5,100,16777216;1,2,3,4,5,0.30000001192092896"
    omendb build -q -o b.omen b.fvecs
    for locale in C de_DE.UTF-8; do
        expect 0 env LC_ALL=$locale "$OMENDB" build -q -o a.omen a.csv
        cmp b.omen a.omen
    done
    seq -s , 0 15 >p.csv # the names that pandas gives
    seq -s , 100 115 >>p.csv
    expect 0 omendb build -q --json p.csv
    same "$(member "$output" n)" 1
    printf '0,1\n2,3\n' >t.csv
    expect 0 omendb build -q --json t.csv
    same "$(member "$output" n)" 2
}

@test "text that is no numbers is told with line and column" {
    printf '1,2\n3,x\n' >v.csv
    bad '"v.csv": line 2, column 2: "x" is no number' v.csv
    printf '1,2\n3,\n' >v.csv
    bad 'line 2, column 2: "" is no number' v.csv
    printf '1,2\n\n3,4\n' >v.csv
    bad 'line 2, column 1: "" is no number' v.csv
    printf '1,2\n3,4,5\n' >v.csv
    bad 'line 2 has 3 numbers, the first row has 2' v.csv
    printf '1,2\n3,nan\n' >v.csv
    bad 'column 2: "nan" is no number' v.csv
    printf '1,2\n3,1e39\n' >v.csv
    bad 'line 2, number 2: 1e+39 is beyond float32' v.csv
    printf '1,2\n3,16777217\n' >v.csv
    bad 'line 2, number 2: float32 would round the integer 16777217' v.csv
    printf ',a\n0,4\n' >v.csv
    bad 'column 1 has no name, as the row numbers that pandas writes: write it with index=False' v.csv
    printf 'a,b\n' >v.csv
    bad 'there are no rows' v.csv
    # a first row with a fault in it is no line of names, which would leave it out
    printf 'nan,1,2\n3,4,5\n' >v.csv
    bad 'line 1, column 1: "nan" is no number' v.csv
    printf '0.5,NA,x\n3,4,5\n' >v.csv
    bad 'line 1, column 2: "NA" is no number' v.csv
    printf '7\t9\tx\n3\t4\t5\n' >v.tsv
    bad 'line 1, column 3: "x" is no number' v.tsv
    printf '"a","b"\n"1",3.5,4.5\n' >v.csv # R names its rows
    bad 'line 1 names 2 columns, and line 2 has 3 numbers: each needs a name' v.csv
    printf 'Na,label,1,2\n3,4,5,6\n' >v.csv
    expect 0 omendb build -q v.csv
    rm v.omen
    printf '1\t2\n3,4\n' >v.tsv
    bad 'line 2, column 1: "3,4" is no number' v.tsv
    python3 -c 'print(",".join("1" for _ in range(65537)))' >v.csv
    bad 'more than 65536 numbers' v.csv
    printf '{"a": [1, 2], "b": [3, 4]}\n' >v.jsonl
    bad 'several members are lists of numbers: name one, as FILE:NAME, of "a", "b"' v.jsonl
    printf '{"a": [1, 2]}\n{"a": [3, "x"]}\n' >v.jsonl
    bad 'line 2, number 2: it is no number' v.jsonl
    bad 'line 1 has no list of numbers "c"' v.jsonl:c
    printf '{"a": [1, 2]}\n{"b": [3, 4]}\n' >v.jsonl
    bad 'line 2 has no list of numbers "a"' v.jsonl
    printf '{"a": [1, 2]}\n{"a": [3]}\n' >v.jsonl
    bad 'line 2 has 1 number, the first row has 2' v.jsonl
    printf '{"a": [1, 2]}\n{"a": [3, 4\n' >v.jsonl
    bad "line 2, character " v.jsonl
    printf '[1, 2]\n\n\n' >v.jsonl
    expect 0 omendb build -q v.jsonl
    rm v.omen
    printf '[1, 2]\n\n[3, 4]\n' >v.jsonl
    bad 'line 2, character ' v.jsonl
    printf '{"a": []}\n' >v.jsonl
    bad 'line 1 has no member that is a list of numbers; vectors are numbers only, a table of other things is' v.jsonl
    has "$stderr" ' for --columns'
    printf 'sku\tprice\nred\t2\n' >v.tsv
    bad 'line 2, column 1: "red" is no number; vectors are numbers only, a table of' v.tsv
    printf '{"a": [1]}\n[2]\n' >v.jsonl
    bad 'line 2 has no list of numbers "a"' v.jsonl
}

@test "a damaged first row is no line of names, and names stay names" {
    local line
    while read -r line; do
        printf "$line\n3,4\n5,6\n" >v.csv
        bad '"v.csv": line 1, column ' v.csv
        printf "$line\n3,4\n5,6\n" | tr , '\t' >v.tsv
        bad '"v.tsv": line 1, column ' v.tsv
        printf "3,4\n$line\n" >v.csv
        bad '"v.csv": line 2, column ' v.csv
    done <<'END'
1,2\0
1,2\0abc
1,2x
1,x
0,x
x,1
1,"2"x
1,2\001
1,2\177
1\0,2\0
1,.x
END
    for line in 1,2,x x,1,3 x,0,1,3 x,0,1,2x x,0,1,-2x 'x,0,1,"2"x' x,0,y,1 x,2,3 x,0.5,1 0,1,9223372036854775807,x \
        'x\0,0,1' '0,1,2,\0'; do
        printf "$line\n$(sed 's/[^,][^,]*/7/g' <<<"$line")\n" >v.csv
        bad 'line 1, ' v.csv
    done
    for line in a,b '"a","b, c"' 'a b,2nd' nan,b id,0,1,2 id,1,2,3 id,label,0,1 id,0,1,label $(seq -s , 0 15),label; do
        printf '%s\n' "$line" >v.csv
        sed 's/"[^"]*"/7/g; s/[^,][^,]*/7/g' <<<"$line" >>v.csv
        expect 0 omendb build -q --json v.csv
        same "$(member "$output" n)" 1
    done
}

@test "messages name options whatever the text that they quote holds" {
    local name line
    for name in c 'a"b' '"' 'options.columns' 'a"options.columns"' "options.d"; do
        for line in '1,"2' '1,2"x' '1,""2' '1,"' '1,"2"" x'; do
            printf '%s\n"\n3,4\n' "$line" >"$name.csv"
            bad 'is no number; vectors are numbers only, a table of other things is for --columns' "$name.csv"
        done
        rm "$name.csv"
    done
    printf 'a,b\n' >options.columns
    bad '"options.columns": there are no rows' -f csv options.columns
    vectors make v.fvecs -n 3 -d 2
    printf 'a\n1\n2\n3\n' >t.csv
    bad '--column-types: "a"b" is not NAME:TYPE' --columns t.csv --column-types 'a"b' v.fvecs
    bad '--column-types: "t.csv" has no column "options.d"' --columns t.csv --column-types 'options.d:text' v.fvecs
}

# ---- what is not read ----

# foreign: files of other programs, as they begin and end.
foreign()
{
    python3 - <<'END'
import pickle, zipfile
rows = bytes(400)
open("a.parquet", "wb").write(b"PAR1" + rows + b"PAR1")
open("a.arrow", "wb").write(b"ARROW1\0\0" + rows + b"ARROW1")
for protocol in (2, 5):
    pickle.dump([[1.0, 2.0], [3.0, 4.0]], open(f"a{protocol}.pkl", "wb"), protocol)
open("a.json", "w").write('[\n {"emb": [1, 2]},\n {"emb": [3, 4]}\n]\n')
with zipfile.ZipFile("a.pt", "w") as archive:
    archive.writestr("a/data.pkl", b"\x80\2.")
END
}

@test "files of other programs are named, with a command that helps" {
    local file kind
    foreign
    while read -r file kind; do
        bad "\"$file\" is $kind, which is not read; " $file
        has "$stderr" "makes $file"
        fails_with 2 "\"$file\" is $kind, not an omendb index" omendb verify $file
        cp $file named.raw
        bad "\"named.raw\" is $kind, which is not read; " -d 4 named.raw
        cp $file named.npy
        bad "\"named.npy\" is $kind, which is not read; " named.npy
        fails_with 2 "standard input is $kind, which is not read; " omendb build -o found.omen - <$file
    done <<'END'
a.parquet Parquet
a.arrow Arrow
a2.pkl pickle
a5.pkl pickle
a.pt a file of PyTorch
a.json one JSON text
END
    cp a.parquet 'odd $(name).npy'
    bad "COPY (SELECT emb FROM 'FILE') TO 'FILE.jsonl'" 'odd $(name).npy'
    expect 0 omendb build -q -f raw -d 2 -o forced.omen a.parquet
    mkdir directory
    bad '"directory" is a directory without files of vectors' directory
}

@test "the commands for files of other programs do what is said" {
    python3 -c 'import numpy, pyarrow.feather' 2>/dev/null ||
        skip "needs numpy, pyarrow"
    python3 - <<'END'
import numpy, pickle, pyarrow, pyarrow.feather
rows = numpy.random.RandomState(1).randn(50, 8).astype("float32")
numpy.save("rows.npy", rows)
pyarrow.feather.write_feather(pyarrow.table({"emb": list(rows)}), "a.arrow")
pickle.dump(rows, open("a.pkl", "wb"))
END
    for file in a.arrow a.pkl; do
        expect 2 omendb build -o found.omen $file
        command=${stderr#*; }
        eval "${command%% makes *}"
        cmp rows.npy $file.npy
    done
}

@test "a file of vectors is no index, and is called what it is" {
    vectors make v.npy -n 90 -d 11
    cp v.npy v.omen
    fails_with 2 '"v.npy" is not an omendb index but a file of vectors (npy, 90 x 11); omendb build makes' \
        omendb verify v.npy
    fails_with 2 '"v.omen" is not an omendb index but a file of vectors' omendb query v.omen v.npy
    gzip -c v.npy >v.npy.gz
    fails_with 2 '"v.npy.gz" is not an omendb index but like a file of vectors' omendb verify v.npy.gz
    printf 'x' >x.omen
    expect 3 omendb verify x.omen
}

@test "archives, compressed files and text that lie: refused or read" {
    local format lies=${OMEN_TEST_QUICK:+4}
    vectors make v.fvecs -n 200 -d 6
    omendb build -q v.fvecs
    for format in npz safetensors csv jsonl hvecs; do
        vectors make h.$format -n 200 -d 6
    done
    vectors make z.npz -n 200 -d 6 --deflate
    gzip -c v.fvecs >g.gz
    zstd -qc v.fvecs >g.zst
    python3 "$tests_dir/cli/hostile.py" vectors v.omen ${lies:-8} h.npz z.npz g.gz g.zst h.safetensors h.csv \
        h.jsonl h.hvecs
}
