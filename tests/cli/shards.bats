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
    printf '%s\n' a.fvecs b.npy >list.txt
    fails_with 2 'a.fvecs", changed' merge --inputs list.txt shards
    vectors make b.npy -n 600 -d 10 --rows 280:599
    fails_with 2 '"m.model" was trained on 600 rows, and the inputs have 599' \
        omendb build -q --model m.model --shard 0/3 -o shards/
    rm b.npy
    fails_with 4 'b.npy' merge --inputs list.txt shards
    # what is merged was encoded before
    rm a.fvecs
    merge shards
    cmp "$BATS_FILE_TMPDIR/whole.omen" out.omen
    rm out.omen list.txt
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
    python3 "$tests_dir/cli/hostile.py" same_rows 0.shard lie.shard m.model
    fails_with 3 "contradicts itself" merge lie.shard
}

@test "a model encodes rows that it was not trained on, into an index of their own" {
    here
    omendb build -q --model m.model -o a.omen "$BATS_FILE_TMPDIR/b.npy"
    expect 0 omendb verify --source "$BATS_FILE_TMPDIR/b.npy" a.omen
    same "$(member "$(omendb info --json a.omen)" files.0.index.rows)" 320
    # of the model's own rows it is the index that was trained on them, but for what ties its sections together
    omendb build -q --model m.model --chunk-rows 100 -o all.omen "$BATS_FILE_TMPDIR"/{a.fvecs,b.npy}
    omendb query -q --distances -o one.tsv $whole "$BATS_FILE_TMPDIR/a.fvecs"
    omendb query -q --distances -o two.tsv all.omen "$BATS_FILE_TMPDIR/a.fvecs"
    cmp one.tsv two.tsv
    same "$(stat -c %s all.omen)" "$(stat -c %s $whole)"
    # what rounding keeps is measured on these rows: of the whole numbers that chose sq8 it is all
    same "$(member "$(omendb info --json a.omen)" files.0.index.refine_ceiling)" 1.0
    vectors make gauss.npy -n 400 -d 10 --kind gauss
    omendb build -q --model m.model -o gauss.omen gauss.npy
    at_least 0.5 "$(member "$(omendb info --json gauss.omen)" files.0.index.refine_ceiling)"
    not_exact=$(omendb info gauss.omen) && [[ "$not_exact" == *"of the 10 nearest, by estimate"* ]]
    vectors make one.fvecs -n 600 -d 10 --rows 0:1
    fails_with 2 "more than the 1 rows" omendb build --model m.model -o x.omen one.fvecs
    vectors make wide.fvecs -n 600 -d 11
    fails_with 2 "the model is of 10 dimensions, and the rows have 11" omendb build --model m.model -o x.omen wide.fvecs
    fails_with 2 "are the model's" omendb build --model m.model -m cosine one.fvecs
    fails_with 2 "no INPUT" omendb build --model m.model -o x.omen
    fails_with 2 "is no model" omendb build --model one.fvecs -o x.omen one.fvecs
    [ ! -e x.omen ] && [ ! -e x.omen.part ]
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
    # of one that is not complete there is no hash yet
    head -c 12288 shards/shard-00001-of-00003.shard >s.part
    expect 0 omendb info --json s.part
    same "$(member "$output" files.0.checkpoint.shard.row_hash)" null
}

@test "what cannot be is refused before any work" {
    here
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

@test "--tmp has the checkpoint, and the same command finds it there" {
    here
    rm shards/*
    mkdir scratch other
    local size=0
    "$OMENDB" build -q --model m.model --shard 0/1 --chunk-rows 1 -t 1 --tmp scratch -o s.shard &
    local pid=$!
    while kill -0 $pid 2>/dev/null && [ "$size" -lt 200000 ]; do
        size=$(stat -c %s scratch/s.shard-*.part 2>/dev/null || echo 0)
    done
    kill -KILL $pid || fault "it was done before it was stopped"
    wait $pid || true
    # another output of that name is another shard
    omendb build -q --model m.model --shard 0/1 --tmp scratch -o other/s.shard
    [ "$(ls scratch | wc -l)" -eq 1 ]
    expect 0 omendb build --model m.model --shard 0/1 --tmp scratch/ -o ./s.shard
    has "$stderr" "resuming at row"
    [ -z "$(ls scratch)" ]
    merge --tmp scratch s.shard
    cmp "$whole" out.omen
    omendb train -q --tmp scratch -o n.model "$BATS_FILE_TMPDIR"/{a.fvecs,b.npy}
    cmp m.model n.model
    omendb build -q --tmp scratch -o whole.omen "$BATS_FILE_TMPDIR"/{a.fvecs,b.npy}
    cmp "$whole" whole.omen
    omendb attach -q --tmp scratch --key <(seq 600) -o named.omen whole.omen
    [ -z "$(ls scratch)" ]
    [ "$(ls other)" = s.shard ]
    fails_with 4 'cannot use "none" of --tmp' omendb build --tmp none -o x.omen whole.omen
    fails_with 2 "--tmp wants a directory" omendb train --tmp m.model -o x.model whole.omen
    fails_with 2 "--tmp wants a directory" omendb merge --tmp m.model --model m.model -o x.omen s.shard
    fails_with 2 "--tmp wants a directory" omendb attach --tmp m.model -o x.omen whole.omen
}

@test "a file system without locks, mmap or O_DIRECT will do" {
    here
    [ -x "${OMENDB_FAULT-}" ] || skip "no omendb-fault"
    rm shards/*
    export OMEN_FAULT_LACKS="locks mmap direct"
    expect 0 "$OMENDB_FAULT" build -o out.omen "$BATS_FILE_TMPDIR"/{a.fvecs,b.npy}
    has "$stderr" "has no locks between processes"
    cmp "$whole" out.omen
    "$OMENDB_FAULT" verify -q --source "$BATS_FILE_TMPDIR"/a.fvecs --source "$BATS_FILE_TMPDIR/b.npy" out.omen
    "$OMENDB_FAULT" train -q -o n.model "$BATS_FILE_TMPDIR"/{a.fvecs,b.npy}
    cmp m.model n.model
    "$OMENDB_FAULT" build -q --model m.model --shard 0/1 -o shards/
    "$OMENDB_FAULT" merge -q --model m.model -o new.omen shards/
    cmp "$whole" new.omen
    # what is told to stop leaves nothing, since nobody could continue it
    "$OMENDB_FAULT" build -q --chunk-rows 1 -t 1 -o x.omen "$BATS_FILE_TMPDIR/a.fvecs" 2>said &
    local pid=$!
    while [ -z "$(ls x.omen.*.part 2>/dev/null)" ]; do kill -0 $pid || break; done
    kill -TERM $pid || true
    wait $pid || true
    rm -f x.omen said
    only m.model n.model new.omen out.omen shards
}

@test "verify reads models and shards, and compares them with their inputs" {
    here
    local file=shards/shard-00001-of-00003.shard sources
    printf '%s\n' "$BATS_FILE_TMPDIR"/{a.fvecs,b.npy} >list.txt
    expect 0 omendb verify --quick m.model shards/*
    has "$output" "m.model: sound (model of 600 x 10, identity "
    has "$output" "$file: sound (shard 1 of 3, rows 200 to 399 of 600, hash "
    expect 0 omendb verify --model m.model --inputs list.txt m.model shards/*
    has "$output" "source)"
    expect 0 omendb verify --json $file
    same "$(member "$output" indexes.0.kind)" '"shard"'
    local hash
    hash=$(member "$output" indexes.0.row_hash)
    expect 0 omendb info --json $file
    same "$(member "$output" files.0.checkpoint.shard.row_hash)" "$hash"
    # the same rows in other chunks
    expect 0 omendb build --json --model m.model --shard 1/3 --chunk-rows 30 -o other.shard
    same "$(member "$output" row_hash)" "$hash"
    cmp other.shard $file
    # in so many that they are merged in levels
    omendb build -q --model m.model --shard 1/3 --chunk-rows 1 -o other.shard
    cmp other.shard $file
    # one row changed, that no step looks at
    cp "$BATS_FILE_TMPDIR/a.fvecs" a.fvecs
    printf '\1\1' | dd of=a.fvecs bs=1 seek=$((1 * 44 + 4)) conv=notrunc status=none
    expect 0 omendb verify --source a.fvecs --source "$BATS_FILE_TMPDIR/b.npy" m.model
    expect 3 omendb verify --source a.fvecs --source "$BATS_FILE_TMPDIR/b.npy" shards/*
    has "$output" "00000-of-00003.shard: differs from its source: rows 0 to 199 are not all those that it was made of"
    has "$output" "$file: sound"
    printf '%s\n' a.fvecs "$BATS_FILE_TMPDIR/b.npy" >changed.txt
    merge --inputs changed.txt shards
    cmp "$whole" out.omen
    expect 3 omendb verify --source a.fvecs m.model $file
    has "$output" "m.model: differs from its source: it was trained from other input"
    has "$output" "$file: differs from its source: it is a shard of 600 rows, and there are 280"
    fails_with 4 "none.npy" omendb verify --source none.npy m.model
    # a shard that is sound, and encoded otherwise
    omendb train -q --seed 9 -o other.model "$BATS_FILE_TMPDIR"/{a.fvecs,b.npy}
    expect 3 omendb verify --model other.model $file
    same "$output" "$file: differs from its model: it was encoded with another model"
    expect 3 omendb verify --model other.model m.model
    same "$output" "m.model: differs from its model: it is another model"
    # what an index cannot be compared with is no fault of it
    fails_with 2 'whole.omen" is neither a model nor a shard, and --model is compared with these only; --source' \
        omendb verify --model m.model "$whole"
    python3 "$tests_dir/cli/hostile.py" recode $file lie.shard
    expect 0 omendb verify lie.shard
    expect 3 omendb verify --model m.model --inputs list.txt lie.shard
    has "$output" "rows 200 to 399 are not encoded as the model encodes them"
    for at in 16 4104 8200 12304; do
        cp $file lie.shard
        printf '\377' | dd of=lie.shard bs=1 seek="$at" conv=notrunc status=none
        expect 3 omendb verify lie.shard
        has "$output" "lie.shard: corrupt: "
    done
    python3 "$tests_dir/cli/hostile.py" empty_run $file lie.shard
    expect 3 omendb verify lie.shard
    has "$output" "it is not all of a shard"
    expect 2 omendb verify "$BATS_FILE_TMPDIR/a.fvecs"
    printf '\377' | dd of=m.model bs=1 seek=16 conv=notrunc status=none
    expect 3 omendb verify --json m.model
    same "$(member "$output" indexes.0.kind)" null
}

@test "verify encodes a shard again, in chunks, and finds any byte that differs" {
    plain_only
    python3 -c '
import random, struct
random.seed(1)
open("base.u8bin", "wb").write(struct.pack("<II", 130000, 64) + random.randbytes(130000 * 64))'
    omendb train -q -r f32 -o m.model base.u8bin
    omendb build -q --model m.model --shard 0/1 -o s.shard
    expect 0 omendb verify --model m.model --inputs <(echo base.u8bin) s.shard
    same "$stderr" ""
    # the run's level, the least factor of the first list, a neighbour, a row number, codes and refine rows
    local n_lists at size
    size=$(stat -c %s s.shard)
    n_lists=$(member "$("$OMENDB" info --json m.model)" files.0.checkpoint.build.lists)
    for at in 32 $((40 + 4 * (n_lists + 1))) $((size / 200)) $((size / 50)) $((size / 9)) $((size / 2)) -1; do
        python3 "$tests_dir/cli/hostile.py" recode s.shard lie.shard "$at"
        expect 0 omendb verify -q lie.shard
        expect 3 omendb verify --model m.model --inputs <(echo base.u8bin) lie.shard
        has "$output" "lie.shard: differs from its source: "
        case $output in
        *"rows 0 to 129999 are not encoded as the model encodes them" | *"what it says contradicts itself") ;;
        *) fault "byte $at: $output" ;;
        esac
    done
}

@test "--json of steps, and of what stops" {
    here
    expect 0 omendb train --json -o n.model "$BATS_FILE_TMPDIR"/{a.fvecs,b.npy}
    same "$(member "$output" done)" true
    same "$(member "$output" n)" 600
    same "$stderr" ""
    expect 0 omendb build --json --model m.model --shard 1/3 -o shards/
    same "$(member "$output" was_there)" true
    expect 0 omendb merge --json --model m.model -o out.omen shards
    same "$(member "$output" n)" 600
    rm shards/shard-00001*
    expect 6 omendb merge --json --model m.model -o x.omen shards
    same "$(member "$output" why)" '"1 of 3 shards is missing: 1"'
    same "$(member "$output" exit)" 6
    same "$(member "$output" done)" false
    same "$stderr" "omendb merge: 1 of 3 shards is missing: 1"
    expect 5 omendb build --json -M 10M -o x.omen "$BATS_FILE_TMPDIR"/{a.fvecs,b.npy}
    same "$(member "$output" rows)" null
    expect 2 omendb train --json -m ip --zero-ok -l 700 -o x.model "$BATS_FILE_TMPDIR"/{a.fvecs,b.npy}
    same "$(member "$output" exit)" 2
    "$OMENDB" build -q --json --model m.model --shard 0/1 --chunk-rows 1 -t 1 -o s.shard >report 2>said &
    local pid=$!
    while kill -0 $pid 2>/dev/null && [ "$(stat -c %s s.shard.part 2>/dev/null || echo 0)" -lt 200000 ]; do :; done
    kill -TERM $pid || fault "it was done before it was stopped"
    wait $pid || [ $? -eq 143 ]
    same "$(member "$(cat report)" rows)" 600
    same "$(member "$(cat report)" exit)" 143
    same "$(member "$(cat report)" continues)" true
    at_least 10 "$(member "$(cat report)" rows_done)"
}

@test "runs that are merged in two levels make the same shard and the same index" {
    plain_only
    vectors make base.fvecs -n 4200 -d 3
    omendb build -q -o whole.omen base.fvecs
    omendb train -q -o m.model base.fvecs
    omendb build -q --model m.model --shard 0/1 -o s.shard
    # 64 runs of 64 rows each, and more: a merge gives back the room of all records that it stands for, one by one
    OMEN_FAULT_COUNT=counts "$OMENDB_FAULT" build -q -t 1 --model m.model --shard 0/1 --chunk-rows 1 -o other.shard
    at_least 8000 "$(sed -n 's/^call fallocate //p' counts)"
    cmp s.shard other.shard
    merge other.shard
    cmp whole.omen out.omen
}

@test "more shards than a process may have open, in 64 MiB" {
    plain_only
    mkdir parts
    vectors make base.fvecs -n 240 -d 6
    omendb build -q -o whole.omen base.fvecs
    omendb train -q -o m.model base.fvecs
    for i in $(seq 0 119); do
        omendb build -q -t 1 --model m.model --shard $i/120 -o parts/
    done
    (
        ulimit -n 30
        python3 - "$OMENDB" <<'END'
import resource, subprocess, sys
subprocess.run([sys.argv[1], *"merge -q -t 2 -M 64M --model m.model -o out.omen parts".split()], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
assert used < 64 << 10, used
END
    )
    cmp whole.omen out.omen
}

@test "memory and threads of a Slurm job" {
    cd "$BATS_TEST_TMPDIR/empty"
    run_plan() { env "$@" "$OMENDB" build -v --json -o out.omen "$BATS_FILE_TMPDIR/a.fvecs"; }
    expect 0 run_plan SLURM_MEM_PER_NODE=400
    has "$stderr" "of 314.6 MB allowed"
    expect 0 run_plan SLURM_MEM_PER_CPU=100 SLURM_CPUS_PER_TASK=1 SLURM_CPUS_ON_NODE=8
    has "$stderr" "of 78.6 MB allowed"
    same "$(member "$output" threads)" 1
    expect 0 run_plan SLURM_MEM_PER_CPU=100 SLURM_CPUS_ON_NODE=4 SLURM_MEM_PER_NODE=0 OMP_NUM_THREADS=1,2
    has "$stderr" "of 314.6 MB allowed"
    same "$(member "$output" threads)" 1
    # what is no number counts for nothing
    expect 0 run_plan SLURM_MEM_PER_NODE=x SLURM_CPUS_PER_TASK=-1 OMP_NUM_THREADS=
    expect 0 env SLURM_MEM_PER_NODE=400 "$OMENDB" build -v -t 40 -M 2G -o out.omen "$BATS_FILE_TMPDIR/a.fvecs"
    has "$stderr" "of 419.4 MB allowed"
    has "$stderr" "warning: --memory is more than the 419.4 MB that this process's group or job may use"
    has "$stderr" "warning: 40 threads are more than the "
    expect 0 omendb build -q -t 40 -o out.omen "$BATS_FILE_TMPDIR/a.fvecs"
    same "$stderr" ""
}
