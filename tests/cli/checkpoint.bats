# SPDX-License-Identifier: Apache-2.0
# Builds that are killed, interrupted, refused or damaged on the way.

load helper

# Real rows, and a chunk size that makes some thirty checkpoints. The models take about 1 MB, all rows over 1.6 MB.
make_input()
{
    local n=${OMENDB_TEST_ROWS:-8000}
    vectors first "$n" "$images/train-images-idx3-ubyte.gz" base.idx
    chunk=$((n / 32))
}

build()
{
    omendb build -q --chunk-rows "$chunk" "$@" -o out.omen base.idx
}

# stop SIGNAL BYTES [OPTION...]: starts a build, sends the signal once its checkpoint has that many bytes; sets code and
# message.
stop()
{
    "$OMENDB" build --chunk-rows "$chunk" "${@:3}" -o out.omen base.idx 2>message &
    local pid=$!
    while kill -0 $pid 2>/dev/null && [ "$(stat -c %s out.omen.part 2>/dev/null || echo 0)" -lt "$2" ]; do
        sleep 0.002
    done
    kill -s "$1" $pid 2>/dev/null || true
    code=0
    wait $pid || code=$?
    message=$(cat message)
}

@test "chunks of any size make the same index" {
    plain_only
    make_input
    omendb build -q -o whole.omen base.idx
    build
    cmp whole.omen out.omen
    omendb build -q --chunk-rows 333 --memory 200M -o out.omen base.idx
    cmp whole.omen out.omen
    omendb build -q --chunk-rows 333 -l 1 -o out.omen base.idx
    omendb build -q -l 1 -o whole.omen base.idx
    cmp whole.omen out.omen
    [ ! -e out.omen.part ]
}

@test "a killed build continues and ends in the same bytes" {
    make_input
    build
    mv out.omen whole.omen
    for size in 1 900000 1200000 1600000; do
        stop KILL $size
        [ ! -e out.omen ] || fault "an index after a kill"
        [ -e out.omen.part ] || fault "no checkpoint at $size"
    done
    expect 0 omendb build --chunk-rows "$chunk" -o out.omen base.idx
    has "$stderr" "resuming"
    has "$stderr" "continued from a checkpoint"
    cmp whole.omen out.omen
    [ ! -e out.omen.part ]
    [ ! -e out.omen.tmp ]
}

@test "a build that is killed while it makes a graph goes on with it, unless another one is wanted" {
    [ -x "${OMENDB_FAULT-}" ] || skip "no omendb-fault"
    vectors make base.fvecs -n 3000 -d 12 --kind gauss
    omendb build -q --graph -o whole.omen base.fvecs
    omendb build -q --graph --degree 9 -o other.omen base.fvecs
    # one thread, and the one that writes records: calls come in almost the same order
    OMEN_FAULT_COUNT=counts "$OMENDB_FAULT" build -q -t 1 --graph --chunk-rows 500 -o out.omen base.fvecs
    cmp whole.omen out.omen
    local n_calls
    n_calls=$(sed -n 's/^count io //p' counts)
    for share in 81 87; do # among edges in one direction, and in both
        rm -f out.omen
        run -137 env OMEN_FAULT=kill:$((n_calls * share / 100)) "$OMENDB_FAULT" build -q -t 1 --graph --chunk-rows 500 \
            -o out.omen base.fvecs
        cp out.omen.part kept
        expect 0 omendb build -t 3 --graph -o out.omen base.fvecs
        has "$stderr" "resuming with edges of "
        has "$stderr" " rows (graph)"
        cmp whole.omen out.omen
        only base.fvecs counts kept other.omen out.omen whole.omen
    done
    cp kept out.omen.part
    expect 0 omendb build --graph --degree 9 -o out.omen base.fvecs
    has "$stderr" "resuming (order)"
    cmp other.omen out.omen
    cp kept out.omen.part
    omendb build -q -o out.omen base.fvecs
    omendb build -q -o whole.omen base.fvecs
    cmp whole.omen out.omen
}

@test "a killed build keeps the refine tier it chose, and the centre of its rows" {
    plain_only
    make_input
    build -m cosine # rows of unit length are rounded, and centred
    mv out.omen whole.omen
    stop KILL 1600000 -m cosine
    [ ! -e out.omen ] || fault "an index after a kill"
    expect 0 omendb build --chunk-rows "$chunk" -m cosine -o out.omen base.idx
    has "$stderr" "continued from a checkpoint"
    has "$stderr" "refine sq12"
    cmp whole.omen out.omen
}

@test "SIGINT and SIGTERM finish the chunk and say how to go on" {
    make_input
    build
    mv out.omen whole.omen
    stop INT 1200000
    [ "$code" -eq 130 ] || fault "exit code $code: $message"
    has "$message" "the same command continues"
    [ ! -e out.omen.tmp ]
    expect 0 omendb build --chunk-rows "$chunk" -o out.omen base.idx
    has "$stderr" "resuming"
    cmp whole.omen out.omen
    rm out.omen
    stop TERM 1200000
    [ "$code" -eq 143 ] || fault "exit code $code: $message"
    has "$message" "the same command continues"
    build
    cmp whole.omen out.omen
}

@test "other options or another input are refused by name, --fresh starts over" {
    make_input
    stop KILL 1200000
    cp out.omen.part kept
    fails_with 2 "--bytes 32, not 16" build -b 16
    has "$stderr" "--fresh"
    fails_with 2 "--metric l2, not cosine" build -m cosine
    fails_with 2 "--seed 0, not 1" build --seed 1
    touch -d 2001-01-01 base.idx
    fails_with 2 "modification time changed" build
    # but for what follows the last whole record
    cmp -n "$(stat -c %s out.omen.part)" kept out.omen.part
    build -b 16 --fresh
    omendb build -q -b 16 -o whole.omen base.idx
    cmp whole.omen out.omen
    [ ! -e out.omen.part ]
}

@test "a second build of the same output is refused while the first lives" {
    make_input
    "$OMENDB" build -q --chunk-rows 64 -o other.omen base.idx &
    local pid=$!
    while [ ! -e other.omen.part ]; do sleep 0.002; done
    kill -STOP $pid
    if [ -e other.omen.part ]; then
        fails_with 4 "another process" omendb build -q -o other.omen base.idx
    fi
    kill -CONT $pid
    wait $pid
    omendb verify -q other.omen
}

@test "a damaged checkpoint costs what is behind the damage, nothing else" {
    make_input
    build
    mv out.omen whole.omen
    stop KILL 1700000
    cp out.omen.part kept
    for at in $(some 3 0 70 65000 9 63 64 200 1000 900000); do
        cp kept out.omen.part
        printf '\377' | dd of=out.omen.part bs=1 seek=$at conv=notrunc status=none
        if [ $at -lt 8 ]; then
            fails_with 2 "no checkpoint" build
            rm out.omen.part
        fi
        build
        cmp whole.omen out.omen
    done
    for size in $(some 2 65 100000 0 1 63 64 1000 1500000); do
        head -c $size kept >out.omen.part
        build
        cmp whole.omen out.omen
    done
}

@test "checkpoints that lie under good checksums: an index that verify calls sound, or exit 2 or 3" {
    vectors make base.fvecs -n 3000 -d 10 --kind gauss
    lies=${OMEN_TEST_QUICK:+8}
    for options in "-c pq" "-c rabitq -m ip" "-c none -r f32 --graph"; do
        # stopped before the last of its runs, or behind it; that with a graph when it has edges of both kinds
        local size=150000 chunk=100
        [[ $options != *--graph* ]] || size=2400000 chunk=1500
        "$OMENDB" build -q -t 1 -l 5 --chunk-rows $chunk $options -o out.omen base.fvecs &
        local pid=$!
        while kill -0 $pid 2>/dev/null && [ "$(stat -c %s out.omen.part 2>/dev/null || echo 0)" -lt $size ]; do :; done
        kill -KILL $pid || fault "the build was done before it was stopped"
        wait $pid || true
        mv out.omen.part kept
        rm -f out.omen.tmp
        python3 "$tests_dir/cli/hostile.py" checkpoint kept base.fvecs ${lies:-30} -l 5 --chunk-rows $chunk \
            $options
    done
}

@test "a checkpoint full of holes is refused at once, and a signal ends its check" {
    [ "$(($(stat -f -c '%a * %S' .)))" -gt $((12 << 30)) ] || skip "needs 12 GB of free disk, which it does not write"
    printf '\0\204\327\27\1\0\0\0' >base.u8bin # 400,000,000 x 1
    truncate -s 400000008 base.u8bin
    local options="-l 1 -c none -b 4"
    "$OMENDB" build -q $options -o out.omen base.u8bin &
    local pid=$!
    # until the first record, which says what was asked for, has one behind it
    until [ "$(stat -c %s out.omen.part 2>/dev/null || echo 0)" -gt 12288 ]; do
        kill -0 $pid
        sleep 0.05
    done
    kill -KILL $pid || fault "the build was done before it was stopped"
    wait $pid || true
    mv out.omen.part kept
    python3 "$tests_dir/cli/hostile.py" sparse kept base.u8bin $options
}

@test "a file that is no checkpoint is left alone" {
    make_input
    echo "my notes" >out.omen.part
    fails_with 2 "no checkpoint" build
    [ "$(cat out.omen.part)" = "my notes" ]
}

@test "bad input leaves no checkpoint" {
    vectors make good.fvecs -n 5000 -d 16
    { head -c $((4000 * 68)) good.fvecs; printf '\020\0\0\0\0\0\300\177'; tail -c 60 good.fvecs; } >base.fvecs
    fails_with 2 "row 4000" omendb build -q --chunk-rows 500 -o out.omen base.fvecs
    [ ! -e out.omen.part ]
    [ ! -e out.omen.tmp ]
}

@test "a graph that --memory has no room for is made in scratch files: the same bytes, and nothing left" {
    plain_only # many rows; tests/unit/test_graph.c has all of it with few
    vectors make base.fvecs -n 60000 -d 2 --kind gauss
    vectors make tune.fvecs -n 20 -d 2 --kind gauss
    local options="--graph -b 4 --degree 128 --tune-queries tune.fvecs"
    omendb build -q $options -o whole.omen base.fvecs
    expect 5 omendb build -q $options --memory 1M -o out.omen base.fvecs
    local least=${stderr##*needs }
    expect 0 omendb build -v $options --memory "${least%% *}M" -o out.omen base.fvecs
    has "$stderr" ", to make the graph 6"
    cmp whole.omen out.omen
    only base.fvecs out.omen tune.fvecs whole.omen
}

@test "--memory is refused before any work when it cannot do" {
    make_input
    fails_with 5 "this build needs" build --memory 1M
    [ ! -e out.omen.part ]
    fails_with 2 "wants a size" build --memory much
    need=$(sed -n 's/.*needs \([0-9]*\) MiB.*/\1/p' <<<"$(build --memory 1M 2>&1)")
    build --memory "${need}M"
    omendb build -v --memory 4G -o out.omen base.idx 2>&1 | grep -q "^plan: memory"
}
