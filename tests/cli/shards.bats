# SPDX-License-Identifier: Apache-2.0
# train, build --shard and merge: the bytes of one build, and what does not fit together.

load helper

# one for all tests: rows in two files, what a build makes of them, a model of them and three shards
setup_file()
{
    cd "$BATS_FILE_TMPDIR"
    vectors make a.fvecs -n 600 -d 10 --rows 0:280
    vectors make b.npy -n 600 -d 10 --rows 280:600
    omendb build -q -o whole.omen a.fvecs b.npy
    omendb train -q -o m.model a.fvecs b.npy
    mkdir shards
    for i in 0 1 2; do
        omendb build -q --model m.model --shard $i/3 -o shards/
    done
}

# here: copies of model and shards in this directory
here()
{
    whole=$BATS_FILE_TMPDIR/whole.omen
    cp "$BATS_FILE_TMPDIR/m.model" .
    cp -r "$BATS_FILE_TMPDIR/shards" .
}

shard()
{
    omendb build -q --model m.model --shard "$1" "${@:2}" -o shards/
}

merge()
{
    omendb merge -q --model m.model -o out.omen "$@"
}

# in_parts N "OPTIONS OF TRAIN" "OPTIONS OF MERGE" INPUT...: out.omen, by way of N shards
in_parts()
{
    local n=$1 train=$2 merge=$3 i
    shift 3
    rm -rf parts
    mkdir parts
    omendb train -q $train -o p.model "$@"
    for ((i = n - 1; i >= 0; i--)); do
        omendb build -q --model p.model --shard "$i/$n" --chunk-rows $((20 + 7 * i)) -o parts/
    done
    omendb merge -q --model p.model $merge -o out.omen parts/
}

@test "shards make the bytes of one build, with every codec, metric and tier" {
    vectors make base.fvecs -n 160 -d 9 --kind gauss
    local codec refine metric n=1
    while read -r metric codec refine; do
        options="-m $metric -c $codec -r $refine -b 8"
        omendb build -q $options -o one.omen base.fvecs
        in_parts $n "$options" "" base.fvecs
        cmp one.omen out.omen || fault "$n shards, $options"
        n=$((n % 7 + 2)) # 1, 3, 5, 7, 2, 4, 6, 8
    done <<<"$(some 3 'l2 pq sq8' 'ip rabitq f32' 'cosine none sq16' 'l2 rabitq none' 'cosine auto f16' 'l2 none sq12' \
        'ip pq auto' 'cosine pq auto')"
}

@test "keys, columns and a graph are given to merge, other options to train" {
    plain_only
    vectors make base.fvecs -n 200 -d 8
    vectors make q.fvecs -n 60 -d 8 --seed 3
    seq 1000 1199 >keys.txt
    { echo price && seq 200; } >prices.csv
    vectors make zero.fvecs -n 1 -d 8 --text 0,0,0,0,0,0,0,0
    files="--key keys.txt --columns prices.csv --graph --degree 12"
    options="-l 7 --seed 5 --tune-queries q.fvecs"
    omendb build -q $options $files -o one.omen base.fvecs
    in_parts 3 "$options" "$files" base.fvecs
    cmp one.omen out.omen
    omendb verify -q --source base.fvecs out.omen
    omendb build -q -m cosine --zero-ok -o one.omen base.fvecs zero.fvecs
    in_parts 2 "-m cosine --zero-ok" "-t 1 --memory 200M" base.fvecs zero.fvecs
    cmp one.omen out.omen
    # one row
    vectors make row.fvecs -n 1 -d 8
    omendb build -q -o one.omen row.fvecs
    in_parts 1 "" "" row.fvecs
    cmp one.omen out.omen
    # of another format than the name tells
    vectors make rows.dat -n 300 -d 8 --format raw
    omendb build -q -f raw -d 8 -o one.omen rows.dat
    in_parts 4 "-f raw -d 8" "" rows.dat
    cmp one.omen out.omen
}

@test "a model holds where files are, and copies of them will do" {
    here
    mkdir elsewhere
    cp "$BATS_FILE_TMPDIR/a.fvecs" elsewhere/x.fvecs
    cp "$BATS_FILE_TMPDIR/b.npy" elsewhere/
    touch -d 2001-01-01 elsewhere/*
    # a model of copies is the same one
    omendb train -q -o other.model elsewhere/x.fvecs elsewhere/b.npy
    omendb merge -q --model other.model -o out.omen shards/
    cmp "$whole" out.omen
    printf '%s\n' elsewhere/x.fvecs elsewhere/b.npy >list.txt
    rm shards/shard-00001*
    expect 0 omendb build --model m.model --shard 1/3 --inputs list.txt -o shards/
    has "$stderr" "shards/shard-00001-of-00003.shard: rows 200 to 399 of 600, shard 1 of 3"
    expect 0 omendb build --model m.model --shard 2/3 -o two.shard elsewhere/x.fvecs elsewhere/b.npy
    cmp two.shard shards/shard-00002-of-00003.shard
    merge --inputs list.txt shards/
    cmp "$whole" out.omen
    only elsewhere list.txt m.model other.model out.omen shards two.shard
}

@test "a shard that is there is left alone, unless it is damaged or of another model" {
    here
    local file=shards/shard-00001-of-00003.shard
    cp $file before
    touch -d 2001-01-01 $file
    expect 0 omendb build --model m.model --shard 1/3 -o shards/
    has "$stderr" "it was there already"
    [ "$(stat -c %Y $file)" -lt 1000000000 ] || fault "it was written again"
    expect 0 omendb build --model m.model --shard 1/3 --fresh -o shards/
    [ "$(stat -c %Y $file)" -gt 1000000000 ] || fault "it was not written again"
    cmp before $file
    truncate -s -1 $file
    expect 0 omendb build --model m.model --shard 1/3 -o shards/
    cmp before $file
    printf '\377' | dd of=$file bs=1 seek=$(($(stat -c %s before) - 1)) conv=notrunc status=none
    run ! cmp -s before $file
    expect 0 omendb build --model m.model --shard 1/3 -o shards/
    cmp before $file
    omendb train -q --seed 9 -o other.model "$BATS_FILE_TMPDIR"/{a.fvecs,b.npy}
    omendb build -q --model other.model --shard 1/3 -o shards/
    run ! cmp -s before $file
    shard 1/3
    cmp before $file
}

@test "shards that are missing, there twice or of another division are named" {
    here
    fails_with 2 'shards/shard-00001-of-00003.shard" are the same shard' merge shards shards/shard-00001-of-00003.shard
    mv shards/shard-00001-of-00003.shard .
    fails_with 6 "1 of 3 shards is missing: 1" merge shards
    mv shards/shard-00002-of-00003.shard .
    fails_with 6 "2 of 3 shards are missing: 1, 2" merge shards
    mkdir none
    fails_with 6 "rows 0 to 599 are in no shard" merge none
    mv shard-00002* shards/
    shard 3/6
    fails_with 6 "rows 200 to 299 are in no shard" merge shards
    # two divisions that fit
    shard 2/6
    merge shards
    cmp "$whole" out.omen
    shard 1/2
    fails_with 2 'have rows in common' merge shards
}

@test "shards and models that are damaged or of others are named, and nothing is written" {
    here
    local file=shards/shard-00001-of-00003.shard size
    fails_with 2 '"shards/x.shard" is no shard' merge "$(cp m.model shards/x.shard && echo shards)"
    rm shards/x.shard
    omendb train -q -b 8 -o other.model "$BATS_FILE_TMPDIR"/{a.fvecs,b.npy}
    cp $file before
    omendb build -q --model other.model --shard 1/3 -o $file
    fails_with 2 "\"$file\" was encoded with another model than \"m.model\"" merge shards
    size=$(stat -c %s before)
    for change in "truncate -s -1" "truncate -s 4096" "truncate -s 10" "truncate -s +5000"; do
        cp before $file
        $change $file
        run merge shards
        [ "$status" -eq 3 ] || [ "$status" -eq 2 ] || fault "exit $status after $change: $output"
        has "$output" "$file"
    done
    for at in 16 4104 8200 8208 12304 $((size - 1)); do
        cp before $file
        printf '\377' | dd of=$file bs=1 seek="$at" conv=notrunc status=none
        fails_with 3 "\"$file\" is damaged" merge shards
    done
    cp before $file
    for at in 4104 8200 $(($(stat -c %s m.model) - 1)); do
        cp "$BATS_FILE_TMPDIR/m.model" m.model
        printf '\377' | dd of=m.model bs=1 seek="$at" conv=notrunc status=none
        fails_with 3 '"m.model" is damaged' merge shards
        fails_with 3 '"m.model" is damaged' omendb build -q --model m.model --shard 0/3 -o new.shard
    done
    fails_with 2 '"before" is no model' omendb merge --model before -o out.omen shards
    fails_with 2 'is no model' omendb build --model "$whole" --shard 0/2 -o new.shard
    only before m.model other.model shards
}

@test "an input that changed since the model was trained is named" {
    cp "$BATS_FILE_TMPDIR"/{a.fvecs,b.npy} .
    omendb train -q -o m.model a.fvecs b.npy
    mkdir shards
    shard 0/2
    shard 1/2
    printf '\1\1' | dd of=a.fvecs bs=1 seek=4 conv=notrunc status=none
    fails_with 2 'a.fvecs", changed' omendb build -q --model m.model --shard 0/3 -o shards/
    has "$stderr" '"m.model" was trained from other input: the contents of input 1'
    fails_with 2 'a.fvecs", changed' merge shards
    vectors make b.npy -n 600 -d 10 --rows 280:599
    fails_with 2 '"m.model" was trained on 600 rows, and the inputs have 599' \
        omendb build -q --model m.model --shard 0/3 -o shards/
    rm b.npy
    fails_with 4 'b.npy' merge shards
    # the last row, of one input
    vectors make a.fvecs -n 500 -d 10
    omendb train -q -o m.model a.fvecs
    printf '\1\1' | dd of=a.fvecs bs=1 seek=$((499 * 44 + 4)) conv=notrunc status=none
    fails_with 2 "its contents changed" omendb build -q --model m.model --shard 0/3 -o shards/
    only a.fvecs m.model shards
}

# kill_after SECONDS COMMAND...: runs it, and kills it then, unless it is done before.
kill_after()
{
    local wait=$1 pid
    shift
    "$OMENDB" "$@" 2>/dev/null &
    pid=$!
    sleep "$wait"
    kill -KILL $pid 2>/dev/null || true
    wait $pid || true
}

@test "train, shards and merge that are killed do the same when they run again" {
    plain_only
    vectors make base.fvecs -n 1500 -d 20 --kind walk
    omendb build -q -o whole.omen base.fvecs
    mkdir shards
    for wait in 0.02 0.1; do
        kill_after $wait train -q -o m.model base.fvecs
    done
    omendb train -q -o m.model base.fvecs
    for i in 0 1; do
        for wait in 0.02 0.05 0.1; do
            kill_after $wait build -q --model m.model --shard $i/2 --chunk-rows 4 -o shards/
        done
        shard $i/2 --chunk-rows 4
    done
    for wait in 0.02 0.2; do
        kill_after $wait merge -q --model m.model -o out.omen shards
    done
    merge shards
    cmp whole.omen out.omen
    only base.fvecs m.model out.omen shards whole.omen
    [ "$(ls shards)" = "$(printf 'shard-0000%d-of-00002.shard\n' 0 1)" ]
}

@test "a shard goes on at the rows that it has" {
    here
    rm shards/*
    "$OMENDB" build -q --model m.model --shard 0/1 --chunk-rows 1 -t 1 -o s.shard &
    local pid=$!
    while kill -0 $pid 2>/dev/null && [ "$(stat -c %s s.shard.part 2>/dev/null || echo 0)" -lt 200000 ]; do :; done
    kill -KILL $pid || fault "it was done before it was stopped"
    wait $pid || true
    expect 0 omendb build --model m.model --shard 0/1 -o s.shard
    has "$stderr" "resuming at row"
    merge s.shard
    cmp "$whole" out.omen
    # what is there of another model is not continued
    cp s.shard t.shard.part
    omendb train -q --seed 3 -o m.model "$BATS_FILE_TMPDIR"/{a.fvecs,b.npy}
    expect 0 omendb build --model m.model --shard 0/1 -o t.shard
    run ! cmp -s s.shard t.shard
    merge t.shard
    omendb build -q --seed 3 -o whole.omen "$BATS_FILE_TMPDIR"/{a.fvecs,b.npy}
    cmp whole.omen out.omen
}

@test "two processes that make the same shard do not disturb each other" {
    here
    rm shards/*
    shard 0/1 -t 1 &
    run omendb build -q --model m.model --shard 0/1 -o shards/
    [ "$status" -eq 0 ] || [ "$status" -eq 4 ]
    wait
    merge shards
    cmp "$whole" out.omen
}

@test "contents that lie are refused, or do no harm" {
    here
    local lies=
    [ -z "${OMEN_TEST_QUICK-}" ] || lies=5
    omendb build -q --model m.model --shard 0/2 --chunk-rows 100 -o 0.shard
    omendb build -q --model m.model --shard 1/2 -o 1.shard
    python3 "$tests_dir/cli/hostile.py" shards m.model ${lies:-8} 0.shard 1.shard
    rm shards/*
    for options in "-m ip -c pq -r f32" "-m cosine -c rabitq -r none -l 5"; do
        omendb train -q $options -o m.model "$BATS_FILE_TMPDIR"/{a.fvecs,b.npy}
        omendb build -q --model m.model --shard 0/1 -o 0.shard
        python3 "$tests_dir/cli/hostile.py" shards m.model ${lies:-8} 0.shard
    done
}

@test "info tells of models and shards" {
    here
    expect 0 omendb info m.model shards/shard-00001-of-00003.shard
    has "$output" "input    600 x 10"
    has "$output" "rows     200 to 399 of 600: shard 1 of 3"
    expect 0 omendb info --json m.model shards/shard-00001-of-00003.shard
    same "$(member "$output" files.0.checkpoint.kind)" '"model"'
    same "$(member "$output" files.0.checkpoint.identity)" "$(member "$output" files.1.checkpoint.shard.model)"
    same "$(member "$output" files.1.checkpoint.shard.first)" 200
}

@test "what cannot be is refused before any work" {
    here
    fails_with 2 "--model is for shards" omendb build --model m.model -o x.shard
    fails_with 2 "name it with --model" omendb build --shard 0/2 -o x.shard
    fails_with 2 "--output is required with --shard" omendb build --model m.model --shard 0/2
    fails_with 2 "are the model's" omendb build --model m.model --shard 0/2 -m cosine -o x.shard
    fails_with 2 "are the model's" omendb build --model m.model --shard 0/2 -m l2 -o x.shard
    fails_with 2 "give them to omendb merge" omendb build --model m.model --shard 0/2 --graph -o x.shard
    for shard in 2/2 -1/2 x 1 1/ /2 1/0 1/2/3 1/99999999999; do
        expect 2 omendb build --model m.model "--shard=$shard" -o x.shard
        has "$stderr" "--shard"
    done
    fails_with 2 "5000 shards are more than the 600 rows" omendb build --model m.model --shard 0/5000 -o x.shard
    fails_with 2 "is named like omen" omendb build --model m.model --shard 0/2 -o x.omen
    fails_with 2 "would overwrite the input" omendb build --model m.model --shard 0/2 -o m.model
    fails_with 2 "named like npy" omendb train -o x.npy "$BATS_FILE_TMPDIR/a.fvecs"
    fails_with 2 "--output is required" omendb train "$BATS_FILE_TMPDIR/a.fvecs"
    fails_with 2 "no INPUT" omendb train -o x.model
    fails_with 2 "name a file" omendb train -o x.model -
    mkfifo pipe.fvecs
    fails_with 2 '"pipe.fvecs" cannot be read again' omendb train -o x.model "$BATS_FILE_TMPDIR/a.fvecs" pipe.fvecs
    fails_with 2 'cannot be read again' omendb train -o x.model /dev/stdin <"$BATS_FILE_TMPDIR/a.fvecs"
    mkdir -p x/shard-00000-of-00002.shard
    fails_with 2 '"x" is not a regular file' omendb train -o x "$BATS_FILE_TMPDIR/a.fvecs"
    fails_with 2 'is not a regular file' omendb train -o y/ "$BATS_FILE_TMPDIR/a.fvecs"
    fails_with 2 'is not a regular file' omendb build --model m.model --shard 0/2 -o x
    fails_with 2 "the model has its own" omendb build --model m.model --shard 0/2 -d 10 -o x.shard
    fails_with 2 "no SHARD" merge
    fails_with 2 "--model is required" omendb merge -o x.omen shards
    fails_with 2 "--output is required" omendb merge --model m.model shards
    fails_with 4 "cannot open" omendb merge --model none.model -o x.omen shards
    fails_with 4 "none" omendb merge --model m.model -o x.omen none
    # inputs that only the model names
    cp "$BATS_FILE_TMPDIR/a.fvecs" rows
    omendb train -q -f fvecs -o r.model rows
    fails_with 2 'would overwrite the input' omendb build --model r.model --shard 0/1 -o rows
    omendb build -q --model r.model --shard 0/1 -o r.shard
    fails_with 2 'would overwrite the input' omendb merge --model r.model -o rows r.shard
    omendb train -q --tune-queries rows -o r.model "$BATS_FILE_TMPDIR/a.fvecs"
    fails_with 2 'would overwrite the input' omendb build --model r.model --shard 0/1 -o rows
    # a checkpoint of another command
    cp m.model x.shard.part
    fails_with 2 "is in the way" omendb build --model m.model --shard 0/2 -o x.shard
    [ -e x.shard.part ]
}
