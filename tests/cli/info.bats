# SPDX-License-Identifier: Apache-2.0
# omendb info: what files of every kind are, and files that are none.
load helper

# told PATH: a value of the one file that the last --json told of
told()
{
    member "$output" "files.0.$1"
}

@test "vectors: shape, norms, values, zeros, duplicates" {
    vectors make v.fvecs --text "3,4;0,0;3,4;-6,8;0,0"
    expect 0 omendb info v.fvecs
    same "$stderr" ""
    same "$output" 'v.fvecs
  vectors  fvecs, 5 x 2, float32, 60 bytes (60 bytes)
  looked   at all rows
  norms    0 to 10, mean 4
  values   -6 to 8, 40% of them 0
  rows     2 all 0, 2 of 5 equal one before'
    expect 0 omendb info --json v.fvecs
    same "${#lines[@]}" 1
    same "$(told file)$(told error)$(told index)$(told checkpoint)$(told compressed)" '"v.fvecs"nullnullnullnull'
    same "$(told vectors)" '{"format": "fvecs", "rows": 5, "d": 2, "type": "float32", "bytes": 60, "looked_at": '\
'{"rows": 5, "all": true}, "norms": {"least": 0.0, "mean": 4.0, "most": 10.0, "unit": false}, "values": '\
'{"least": -6.0, "most": 8.0, "zero_share": 0.4}, "zero_rows": 2, "duplicates": {"rows": 2, "compared": 5}, '\
'"unusable": {"rows": 0, "first": null}}'
    omendb info - -f fvecs <v.fvecs | tail -n +2 >stdin
    omendb info v.fvecs | tail -n +2 | cmp - stdin
}

@test "vectors of other formats and types, of unit length, without a header" {
    vectors make v.npy --element f2 --text "1,0,0;0,0,-1;0,1,0"
    expect 0 omendb info v.npy
    has "$output" "npy, 3 x 3, float16"
    has "$output" "norms    1 to 1, mean 1: unit length"
    vectors make v.u8bin -n 20 -d 9
    has "$(omendb info v.u8bin)" "u8bin, 20 x 9, uint8"
    tail -c +9 v.u8bin >v.raw
    fails_with 2 "--dim" omendb info v.raw
    has "$(omendb info -d 9 v.raw)" "raw, 5 x 9, float32"
}

@test "rows that cannot be read are counted, and the first is named" {
    vectors make v.fvecs --text "1,2;nan,1;3,4;inf,0"
    expect 0 omendb info v.fvecs
    has "$output" "values   1 to 4"
    has "$output" 'unusable 2 rows, the first: "v.fvecs": row 1 has a NaN in column 0'
    expect 0 omendb info --json v.fvecs
    same "$(told vectors.unusable.rows)$(told vectors.looked_at.rows)" 24
    vectors make w.fvecs --text "nan,1;inf,2"
    expect 0 omendb info --json w.fvecs
    same "$(told vectors.unusable.rows)$(told vectors.norms)" 2null
    expect 0 omendb info w.fvecs
}

@test "a large file is told by rows spread over it, with --full by all" {
    plain_only
    # 300,000,000 bytes, all zeros but for the last row: a hole takes no place
    python3 -c '
import struct
with open("v.u8bin", "wb") as out:
    out.write(struct.pack("<II", 300000, 1000))
    out.seek(8 + 299999 * 1000)
    out.write(b"\x02" * 1000)'
    expect 0 omendb info v.u8bin
    has "$output" "looked   at 8,384 rows in 64 places; --full reads all"
    has "$output" "values   0 to 2,"
    has "$output" "8,383 all 0, 8,382 of 8,384 equal one before"
    expect 0 omendb info --full v.u8bin
    has "$output" "299,999 all 0, 299,998 of 300,000 equal one before"
}

@test "an index: options, sizes, recall, keys, columns" {
    vectors make v.fvecs -n 2000 -d 12 --kind gauss
    seq -5 1994 >numbers
    seq 2000 | sed 's/^/key /' >names
    {
        printf 'count\tprice\tname\tnothing\n'
        for i in $(seq 2000); do
            printf '%s\t%s.5\tname %s\t\n' "$((i % 7 == 0 ? 0 : i))" $((i - 9)) $((i % 3))
        done
    } | sed 's/^0\t/\t/' >t.tsv
    sed 's/.*/a b/' names >tags
    python3 -c '
header = "{\"descr\": \"<i8\", \"fortran_order\": False, \"shape\": (2000,), }".ljust(117) + "\n"
import struct
open("n.npy", "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() +
                          struct.pack("<2000q", *range(-5, 1995)))'
    omendb build -q -m cosine -c pq -b 8 -r sq8 -l 11 --seed 7 --graph --degree 16 --key names --columns t.tsv \
        --tags tags -o v.omen v.fvecs
    expect 0 omendb info v.omen
    has "$output" "index    2,000 x 12, version 1.0, checksum "
    has "$output" "metric cosine, codec pq, bytes 8, refine sq8, lists 11, seed 7, graph, degree 16"
    has "$output" "recall   by lists:"
    has "$output" "recall   by graph:"
    has "$output" "keys     text of at most 8 bytes"
    has "$output" "count        int64, 1 to 2000, 285 without"
    has "$output" "price        float64, -8.5 to 1991.5"
    has "$output" 'name         text, "name 0" to "name 2", 3 different'
    has "$output" 'tags         tags, "a" to "b", 2 different'
    expect 0 omendb info --json v.omen
    same "$(told index.options)" '{"metric": "cosine", "codec": "pq", "bytes": 8, "refine": "sq8", "lists": 11, '\
'"seed": 7, "zero_ok": false, "degree": 16}'
    same "$(told index.rows)$(told index.searchable)$(told index.version)" '2000true"1.0"'
    same "$(told index.columns.0)" '{"name": "count", "type": "int64", "nulls": 285, "distinct": null, "bytes": 4256, '\
'"least": 1, "most": 2000}'
    # the parts are the file, and the table of recalls rises
    python3 -c '
import json, sys
index = json.loads(sys.argv[1])["files"][0]["index"]
assert sum(index["sizes"].values()) == index["bytes"] == int(sys.argv[2])
for way, effort in ("lists", "probes"), ("graph", "estimates"):
    efforts = [(e["k"], e["recall"]) for e in index["efforts"][way]]
    assert efforts == sorted(efforts) and {k for k, _ in efforts} == {1, 10, 100}
    assert all(e["rerank"] >= 1 and e[effort] >= 1 for e in index["efforts"][way])' "$output" "$(stat -c %s v.omen)"
    [ "$(omendb info -v v.omen | wc -l)" -gt "$(omendb info v.omen | wc -l)" ]

    # the checksum is of the contents, integers have a range, and all-null columns none
    omendb attach -q --key n.npy --columns t.tsv --column-types price:skip,name:skip,count:skip,nothing:int64 \
        --drop-columns -o w.omen v.omen
    expect 0 omendb info w.omen
    has "$output" "keys     int64, -5 to 1994"
    has "$output" "nothing      int64, 2,000 without"
    expect 0 omendb info --json w.omen v.omen
    same "$(told index.keys)" '{"kind": "int64", "least": -5, "most": 1994, "longest_bytes": null, "shared": false}'
    same "$(told index.columns.0.least)" null
    [ "$(told index.checksum)" != "$(member "$output" files.1.index.checksum)" ]
    [ "$(told index.identity)" = "$(member "$output" files.1.index.identity)" ]
}

@test "compressed files, and codes" {
    vectors make v.fvecs -n 200 -d 4
    omendb build -q v.fvecs
    omendb compress -q v.fvecs
    omendb compress -q v.omen
    omendb compress -q --codec f16 -o codes.omz v.fvecs
    expect 0 omendb info v.fvecs.omz v.omen.omz codes.omz
    has "$output" "packed   vectors, "
    has "$output" "fvecs, 200 x 4, float32"
    has "$output" "packed   an index, "
    has "$output" "codes    200 x 4, version 1.0"
    expect 0 omendb info --json v.omen.omz
    packed=$(told index)
    same "$(told compressed.holds)$(told compressed.original_bytes)" "\"index\"$(stat -c %s v.omen)"
    expect 0 omendb info --json v.omen
    same "$packed" "$(told index)"
    expect 0 omendb info --json codes.omz
    same "$(told index.searchable)$(told index.options.refine)" 'false"f16"'
}

@test "checkpoints: of a build, and of query --self" {
    python3 -c 'import os, struct; open("v.u8bin", "wb").write(struct.pack("<II", 20000, 16) + os.urandom(320000))'
    "$OMENDB" build -q --chunk-rows 500 -b 16 -o out.omen v.u8bin &
    pid=$!
    while kill -0 $pid 2>/dev/null && [ "$(stat -c %s out.omen.part 2>/dev/null || echo 0)" -lt 100000 ]; do :; done
    kill -KILL $pid || fault "the build was done before it was stopped"
    wait $pid || true
    sum=$(hash_of out.omen.part)
    expect 0 omendb info out.omen.part
    has "$output" "checkpoint of build, "
    has "$output" "input    20,000 x 16"
    has "$output" "metric l2, codec auto, bytes 16, refine auto, lists 282, seed 0"
    expect 0 omendb info --json out.omen.part
    encoded=$(told checkpoint.build.encoded)
    same $((encoded % 500))$(told checkpoint.query_self) 0null
    [ "$encoded" -lt 20000 ]
    # a record that is damaged, and all after it, does not count; and nothing is written
    printf x | dd of=out.omen.part bs=1 seek=$(($(stat -c %s out.omen.part) - 4000)) conv=notrunc status=none
    head -c 30000 out.omen.part >cut.part
    expect 0 omendb info cut.part
    head -c 64 out.omen.part >head.part
    has "$(omendb info head.part)" "checkpoint without records"
    printf x | dd of=head.part bs=1 seek=20 conv=notrunc status=none
    fails_with 3 "the checksum of its head does not match" omendb info head.part

    omendb build -q --fresh -o out.omen v.u8bin
    "$OMENDB" query -q -t 1 --self -k 100 --chunk-rows 1 -o found.tsv out.omen &
    pid=$!
    while kill -0 $pid 2>/dev/null && [ "$(stat -c %s found.tsv.part 2>/dev/null || echo 0)" -lt 20000 ]; do :; done
    kill -KILL $pid || fault "the search was done before it was stopped"
    wait $pid || true
    sum=$(hash_of found.tsv.part)
    expect 0 omendb info found.tsv.part
    has "$output" "checkpoint of query --self"
    has "$output" "asked    k 100"
    has "$output" "rows have searched, and found "
    expect 0 omendb info --json found.tsv.part out.omen
    same "$(told checkpoint.query_self.index_checksum)" "$(member "$output" files.1.index.checksum)"
    same "$(hash_of found.tsv.part)" "$sum"
}

@test "files that are nothing: the others are told, and the exit code is the highest" {
    vectors make v.fvecs --text "1,2;3,4;5,6"
    omendb build -q v.fvecs
    head -c 5000 v.omen >cut.omen
    printf 'what is this\n' >text
    printf 'x' >x.omen
    : >empty
    fails_with 2 'cannot tell the format of "text"' omendb info text
    fails_with 2 '"x.omen" is not an omendb index' omendb info x.omen
    fails_with 2 '"empty" is empty' omendb info empty
    fails_with 3 '"cut.omen" is damaged' omendb info cut.omen
    fails_with 4 'cannot open "nope": No such file or directory' omendb info nope
    fails_with 4 '"." is a directory: name files in it' omendb info .
    expect 4 omendb info text nope v.fvecs cut.omen v.omen
    same "${#stderr_lines[@]}" 3
    has "$output" "  vectors  fvecs, 3 x 2"
    has "$output" "  index    3 x 2"
    expect 3 omendb info --json text v.fvecs cut.omen
    same "$(told vectors)$(member "$output" files.1.error)$(member "$output" files.2.index)" nullnullnull
    has "$(told error)" 'cannot tell the format of \"text\"'
    has "$(member "$output" files.2.error)" "is damaged"
    fails_with 2 "no FILE given" omendb info
    fails_with 2 "standard input can be one FILE only" omendb info - -
    fails_with 2 "would overwrite" bash -c '"$OMENDB" info v.fvecs >>v.fvecs'
}

@test "a damaged index is told as damaged, and prints nothing" {
    vectors make v.fvecs -n 300 -d 8
    omendb build -q v.fvecs
    python3 "$tests_dir/cli/damage.py" where v.omen META >place
    printf '\377' | dd of=v.omen bs=1 seek="$(cut -d ' ' -f 1 place)" conv=notrunc status=none
    fails_with 3 '"v.omen" is damaged' omendb info v.omen
}

@test "file(1) knows our files by the magic entry" {
    command -v file >/dev/null || skip "needs file"
    magic=$tests_dir/../docs/omendb.magic
    said()
    {
        file -b -m "$magic" "$1"
    }
    vectors make v.fvecs -n 200 -d 4
    omendb build -q -m ip -l 3 v.fvecs
    same "$(said v.omen)" "omendb index, 200 x 4, ip, version 1.0"
    omendb build -q -l 1 -o one.omen v.fvecs
    same "$(said one.omen)" "omendb index or codes, 200 x 4, l2, version 1.0"
    omendb compress -q --codec pq --bytes 4 -o codes.omz v.fvecs
    same "$(said codes.omz)" "omendb index or codes, 200 x 4, l2, version 1.0"
    omendb compress -q v.fvecs
    same "$(said v.fvecs.omz)" "omendb compressed vectors, of 4000 bytes, version 1.0"
    omendb compress -q v.omen
    same "$(said v.omen.omz)" "omendb compressed index, of $(stat -c %s v.omen) bytes, version 1.0"
    printf 'OMENPRT\n' >head.part
    truncate -s 4104 head.part
    printf '\1\0\0\0\0\0\0\0' >>head.part
    same "$(said head.part)" "omendb checkpoint of a build"
}

@test "files of a terabyte with nothing in them are answered at once, and devices are none" {
    plain_only
    for name in v.raw v.csv v.tsv v.jsonl v.npz v.safetensors v.idx v.bvecs v.part v; do
        truncate -s 1T $name || skip "no sparse files"
        fails_with 2 "" timeout 60 "$OMENDB" info $name
    done
    fails_with 2 '"v.csv": line 1 is longer than 16 MiB' omendb info v.csv
    printf '{"v":[1,2]}\n' >w.jsonl
    truncate -s 1T w.jsonl
    fails_with 2 'line 2 is longer than 16 MiB' omendb info w.jsonl
    # the first record of a checkpoint says that it is as long
    python3 - "$tests_dir/cli" <<'END'
import struct
import sys

sys.path.insert(0, sys.argv[1])
from hostile import PART_VERSION, record_header, seal

with open("huge.part", "wb") as out:
    out.write(seal(b"OMENPRT\n" + struct.pack("<II", PART_VERSION, 0) + bytes(40)).ljust(4096, b"\0"))
    out.write(record_header(1, 0, 1 << 40, 0))
    out.truncate(8192 + (1 << 40))
END
    fails_with 3 "its first record cannot be so long" timeout 60 "$OMENDB" info huge.part
    fails_with 2 '"/dev/zero" is a device: name a file or a pipe' omendb info /dev/zero
    : >empty
    fails_with 2 '"empty" is empty' omendb info empty
}

@test "a model and a shard that are cut short are damaged, unless they are still being made" {
    vectors make v.fvecs -n 600 -d 8
    omendb train -q -o m.model v.fvecs
    omendb build -q --model m.model --shard 0/2 -o s.shard
    head -c 20000 m.model >cut.model
    fails_with 3 '"cut.model" is damaged' omendb info cut.model
    head -c 12288 s.shard >cut.shard
    fails_with 3 '"cut.shard" is damaged: it is not all of a shard' omendb info cut.shard
    cp cut.shard s.shard.part
    has "$(omendb info s.shard.part)" "rows     0 to 299 of 600: shard 0 of 2"
    printf x | dd of=s.shard bs=1 seek=20000 conv=notrunc status=none
    fails_with 3 '"s.shard" is damaged: a checksum does not match' omendb info s.shard
}

@test "results in ibin are integers, and do not pass for fbin" {
    vectors make v.fvecs -n 50 -d 4
    omendb build -q v.fvecs
    omendb query -q -k 3 --distances -o found.ibin v.omen v.fvecs
    has "$(omendb info found.ibin)" "vectors  i32bin, 50 x 3, int32"
    has "$(omendb info found.fbin)" "vectors  fbin, 50 x 3, float32"
}
