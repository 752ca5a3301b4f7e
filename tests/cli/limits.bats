# SPDX-License-Identifier: Apache-2.0
# What the system does not grant: addresses, stack, threads; and the time that a signal leaves.
load helper

setup_file()
{
    cd "$BATS_FILE_TMPDIR"
    vectors make v.fvecs -n 2500 -d 40 --kind walk
    vectors make q.fvecs -n 100 -d 40 --kind walk --seed 2
    omendb build -q -o i.omen v.fvecs
    omendb compress -q -o v.omz v.fvecs
    mkdir expected
    seq 2500 >keys
    omendb attach -q --key keys -o expected/k.omen i.omen
    omendb attach -q --graph -o expected/g.omen i.omen
    cp i.omen expected/o.omen
    cp v.omz expected/o.omz
    cp v.fvecs expected/o.fvecs
    omendb query -q -o expected/o.tsv i.omen q.fvecs
    omendb query -q --exact -o expected/e.tsv i.omen q.fvecs
    omendb compress -q --bytes 8 -o expected/c.omz v.fvecs
}

teardown()
{
    [ -z "${place-}" ] || rm -rf "$place"
}

inputs()
{
    [ -z "${OMEN_TEST_QUICK-}" ] || skip "a sanitizer needs more than there is to be"
    for name in v.fvecs q.fvecs i.omen v.omz keys; do
        ln -s "$BATS_FILE_TMPDIR/$name" .
    done
    export TMPDIR=$PWD
}

# Every subcommand, to every kind of output.
commands='build -q -t 4 -o o.omen v.fvecs
build -q -t 4 -o o.omen v.omz
attach -q -t 4 --key keys -o k.omen i.omen
attach -q -t 4 --graph -o g.omen i.omen
query -q -t 4 -o o.tsv i.omen q.fvecs
query -q -t 4 --exact -o e.tsv i.omen q.fvecs
info v.fvecs i.omen v.omz
verify -t 4 i.omen
verify -t 4 --source v.fvecs i.omen
compress -q -t 4 -o o.omz v.fvecs
compress -q -t 4 -d -o o.fvecs v.omz
compress -q -t 4 --bytes 8 -o c.omz v.fvecs
bench -q -t 4 --runs 1 --min-time 0 -k 10 --recall 0.9 --base v.fvecs --queries q.fvecs'

# limited LIMIT VALUE [more]: runs all under ulimit LIMIT VALUE. Each ends in time, with all that it was to do, or, if
# more is given, with exit code 5, a word on stderr, and nothing half-made.
limited()
{
    local code name
    while read -r command; do
        code=0
        timeout -s KILL 120 bash -c "ulimit $1 $2 && exec \"\$OMENDB\" $command" >out 2>err </dev/null || code=$?
        echo "ulimit $1 $2: exit $code: $command: $(cat err)"
        # 127: the system could not even load the program; 1: OpenMP could not begin, for which main() is too late
        case $code in
        0) ;;
        5) [ -n "${3-}" ] && grep -q '^omendb [a-z]*: .' err ;;
        127) [ -n "${3-}" ] && grep -q 'error while loading shared libraries' err ;;
        1) [ -n "${3-}" ] && run ! bash -c "ulimit $1 $2 && exec \"\$OMENDB\" --version" ;;
        *) false ;;
        esac
        rm out err
        for name in o.omen k.omen g.omen o.tsv e.tsv o.omz c.omz o.fvecs; do
            if [ -e $name ]; then
                cmp $name "$BATS_FILE_TMPDIR/expected/$name"
            fi
        done
        rm -f o.* e.* c.* k.* g.*
        only i.omen keys q.fvecs v.fvecs v.omz
    done <<<"$commands"
}

@test "ulimit -v: from too little to enough, done or exit 5" {
    inputs
    for kilobytes in 6000 9000 12000 15000 20000 28000 36000 48000 70000 150000 400000; do
        limited -v $kilobytes more
    done
}

@test "ulimit -s 64: a small stack is enough, for OpenMP's threads too" {
    inputs
    limited -s 64
    OMP_STACKSIZE=64k limited -s 64
}

@test "ulimit -u: fewer threads do the same" {
    inputs
    [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null || skip "needs root, and setpriv"
    rm v.fvecs q.fvecs i.omen v.omz keys
    # a place and a program that another user can reach
    export TMPDIR=/tmp
    place=$(mktemp -d)
    mkdir "$place/work"
    cp -r "$OMENDB" "$BATS_FILE_TMPDIR"/{[vqi].*,keys} "$place/work"
    chmod -R a+rwX "$place"
    cd "$place/work"
    export TMPDIR=$PWD
    for threads in 1 2 3 5 9; do
        while read -r command; do
            echo "$threads: $command"
            setpriv --reuid=65534 --regid=65534 --clear-groups \
                bash -c "ulimit -u $threads && exec ./omendb $command" >/dev/null
        done <<<"$commands"
        for name in "$BATS_FILE_TMPDIR"/expected/*; do
            cmp "$name" "${name##*/}"
        done
        rm -f o.* e.* c.* k.*
    done
}

# ---- signals ----

# stopped_in_time DELAY COMMAND...: SIGTERM after DELAY seconds ends it within 5 more, exit code 143; or it was done by
# then.
stopped_in_time()
{
    local delay=$1 code=0 waited=0 pid
    shift
    "$@" >/dev/null 2>err &
    pid=$!
    sleep "$delay"
    kill -TERM $pid 2>/dev/null || true
    while kill -0 $pid 2>/dev/null && [ $waited -lt 100 ]; do
        sleep 0.05
        waited=$((waited + 1))
    done
    if kill -0 $pid 2>/dev/null; then
        kill -KILL $pid
        fault "still there 5 s after the signal at $delay s: $*"
    fi
    wait $pid || code=$?
    echo "signal at $delay s: exit $code: $* $(cat err)"
    rm err
    [ $code -eq 143 ] || [ $code -eq 0 ]
}

# random_bytes FILE N D: a u8bin file
random_bytes()
{
    python3 -c 'import struct, sys; sys.stdout.buffer.write(struct.pack("<II", *map(int, sys.argv[1:])))' $2 $3 >"$1"
    head -c $(($2 * $3)) /dev/urandom >>"$1"
}

@test "4,096 dimensions: SIGTERM at any moment ends a build at once" {
    [ -z "${OMEN_TEST_QUICK-}" ] || skip "too slow under a sanitizer"
    random_bytes v.u8bin 6000 4096
    for delay in 0.1 0.6 1.3 3 5; do
        stopped_in_time $delay "$OMENDB" build -q -t 2 -o i.omen v.u8bin
        rm -f i.omen i.omen.part
        only v.u8bin
    done
}

@test "a slow SIMD level, many lists of the same rows, every codec: SIGTERM ends a build at once" {
    [ -z "${OMEN_TEST_QUICK-}" ] || skip "too slow under a sanitizer"
    random_bytes v.u8bin 8000 1024
    for delay in 0.3 2.5; do
        stopped_in_time $delay "$OMENDB" build -q -t 1 --cpu scalar -o i.omen v.u8bin
        stopped_in_time $delay "$OMENDB" build -q -t 1 --fresh --bytes 256 -c rabitq -o i.omen v.u8bin
        stopped_in_time $delay "$OMENDB" build -q -t 1 --fresh --bytes 256 -c pq -o i.omen v.u8bin
        rm -f i.omen i.omen.part
        only v.u8bin
    done
    vectors make same.u8bin -n 40000 -d 4 --kind duplicates
    for delay in 0.3 2.5; do
        stopped_in_time $delay "$OMENDB" build -q -t 1 --lists 39999 -o i.omen same.u8bin
        rm -f i.omen i.omen.part
        only same.u8bin v.u8bin
    done
}

@test "SIGTERM ends queries, bench, verify and compress at once, and nothing half-made stays" {
    [ -z "${OMEN_TEST_QUICK-}" ] || skip "too slow under a sanitizer"
    random_bytes v.u8bin 40000 256
    random_bytes q.u8bin 20000 256
    omendb build -q -o i.omen v.u8bin
    export TMPDIR=$PWD
    for delay in 0.2 2; do
        stopped_in_time $delay "$OMENDB" query -q -t 1 --exact -k 100 -o o.tsv i.omen q.u8bin
        stopped_in_time $delay "$OMENDB" query -q -t 1 --recall 1 -k 1000 --probes 100000 -o o.tsv i.omen q.u8bin
        stopped_in_time $delay "$OMENDB" bench -q -t 1 --base v.u8bin --queries q.u8bin
        stopped_in_time $delay "$OMENDB" bench -q -t 1 --queries q.u8bin i.omen
        stopped_in_time $delay "$OMENDB" verify -t 1 --source v.u8bin i.omen
        stopped_in_time $delay "$OMENDB" compress -q -f -t 1 -19 --rm -o o.omz v.u8bin
        [ -e v.u8bin ] || "$OMENDB" compress -q -d -o v.u8bin o.omz
        stopped_in_time $delay "$OMENDB" compress -q -f -t 1 --bytes 8 -o o.omz v.u8bin
        rm -f o.tsv o.omz
        only i.omen q.u8bin v.u8bin
    done
}
