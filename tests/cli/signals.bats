# SPDX-License-Identifier: Apache-2.0
# Readers that go away, what cannot be mapped, and mapped files that are cut short.
load helper

# cut VICTIM FIFO FEED COMMAND...: starts the command, which maps VICTIM before it opens FIFO to read it; cuts VICTIM to
# nothing when it has, and feeds FEED into the FIFO. Sets code, and said: what came on stderr.
cut()
{
    local victim=$1 fifo=$2 feed=$3
    shift 3
    mkfifo "$fifo"
    "$@" >out 2>said &
    local pid=$!
    exec 9>"$fifo"
    : >"$victim"
    cat "$feed" >&9
    exec 9>&-
    wait $pid && code=0 || code=$?
    rm "$fifo" out
    said=$(cat said)
    rm said
}

# was_cut COMMAND VICTIM: the last cut ended in one line that names the file, and in exit code 4.
was_cut()
{
    same "$said" "omendb $1: cannot read \"$2\": it was cut short while it was in use, or its disk failed"
    same "$code" 4
}

# broken COMMAND...: its reader takes one line and goes; it dies of SIGPIPE, with nothing to say.
broken()
{
    run --separate-stderr env --default-signal=PIPE bash -c '"$@" | head -n 1 >/dev/null
        echo "${PIPESTATUS[0]}"' bash "$OMENDB" "$@"
    same "$output" 141
    same "$stderr" ""
}

@test "a reader of standard output that goes away ends every command by SIGPIPE, quietly" {
    plain_only
    vectors make v.fvecs -n 20000 -d 16 --kind gauss
    omendb build -q v.fvecs
    omendb compress -q v.fvecs
    omendb compress -q --codec f16 -o codes.omz v.fvecs
    mkdir tmp
    export TMPDIR=$PWD/tmp
    for format in tsv jsonl ivecs npy; do
        broken query -F $format -k 100 v.omen v.fvecs
    done
    broken query -o /dev/stdout -k 100 v.omen v.fvecs
    broken compress -q -c v.fvecs
    broken compress -q -c --codec f16 v.fvecs
    broken compress -q -c v.omen
    broken compress -q -d -c v.fvecs.omz
    broken compress -q -d -c -F raw codes.omz
    # what fits a pipe is written after the reader has gone
    gone()
    {
        run --separate-stderr env --default-signal=PIPE bash -c '{ sleep 0.3; "$@"; echo $? >code; } | true
            cat code' bash "$OMENDB" "$@"
        same "$output" 141
        same "$stderr" ""
        rm code
    }
    gone --help
    gone query --help
    gone --version
    gone query -k 1 v.omen v.fvecs
    gone verify v.omen
    gone verify --json v.omen
    gone info v.omen
    gone info --json v.omen
    gone build -q --json -o w.omen v.fvecs
    gone bench --runs 1 --min-time 0 --probes 1 --rerank 10 --base v.fvecs --held-out 10
    gone bench --runs 1 --min-time 0 --probes 1 --rerank 10 --base v.fvecs --held-out 10 --json -q
    gone compress -q -f --json v.fvecs
    [ -z "$(ls -A tmp)" ]
    only codes.omz tmp v.fvecs v.fvecs.omz v.omen w.omen
    expect 0 omendb verify -q w.omen
    # verify does not go on with the other files
    expect 0 env --default-signal=PIPE bash -c \
        '{ sleep 0.3; "$OMENDB" verify v.omen nope; echo $? >code; } 2>said | true'
    same "$(cat code said)" 141
}

@test "a named pipe whose reader goes away ends query by SIGPIPE" {
    vectors make v.fvecs -n 20000 -d 16
    omendb build -q v.fvecs
    mkfifo fifo
    head -n 1 fifo >/dev/null &
    run --separate-stderr env --default-signal=PIPE bash -c '"$OMENDB" query -k 100 -o fifo v.omen v.fvecs; echo $?'
    same "$output" 141
    # bash tells of it
    [[ $stderr != *omendb:* && $stderr != *"omendb query"* ]]
    only fifo v.fvecs v.omen
}

@test "where SIGPIPE is ignored, a reader that goes away is an error with a message" {
    vectors make v.fvecs -n 2000 -d 3
    omendb build -q v.fvecs
    expect 0 bash -c 'trap "" PIPE; "$OMENDB" query -k 100 v.omen v.fvecs | head -n 1; echo ${PIPESTATUS[0]}'
    same "${lines[1]}" 4
    has "$stderr" "Broken pipe"
}

@test "a broken standard error does not end a build" {
    vectors make v.fvecs -n 2000 -d 3
    expect 0 env --default-signal=PIPE bash -c '{ sleep 0.2; "$OMENDB" build -v v.fvecs; echo $? >code; } 2>&1 | true
        cat code'
    same "$output" 0
    expect 0 omendb verify -q v.omen
}

@test "what is no file is told as what it is, by every command that opens an index" {
    vectors make v.fvecs -n 50 -d 3
    omendb build -q v.fvecs
    seq 50 >keys
    mkfifo fifo
    mkdir directory
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
    for command in "verify" "verify --quick" "verify --json" "query" "bench --queries v.fvecs" \
        "attach --key keys -o new.omen"; do
        # told CODE TEXT FILE
        told()
        {
            run --separate-stderr "-$1" bash -c 'file=$1; shift; cat v.omen | timeout 20 "$OMENDB" "$@" "$file"' \
                bash "$3" $command
            has "$stderr" "$2"
            same "${#stderr_lines[@]}" 1
            case $command in *--json) ;; *) same "$output" "" ;; esac
        }
        told 2 '"fifo" is a pipe; an index is read by mapping it: save it to a file first' fifo
        told 2 '"/dev/stdin" is a pipe' /dev/stdin
        told 2 '"socket" is a socket' socket
        told 2 '"/dev/null" is a character device' /dev/null
        told 4 '"directory" is a directory' directory
        case $command in
        compress*) told 2 "not a compressed file" - ;;
        *) told 2 'an index cannot be standard input' - ;;
        esac
    done
    # a file on standard input is one
    expect 0 bash -c '"$OMENDB" verify /dev/stdin <v.omen'
    expect 2 omendb verify v.omen fifo v.omen
    same "${#lines[@]}" 2
    : >empty
    expect 3 omendb verify empty fifo
}

@test "an index that is cut short while it is in use: one line, exit 4, no temporary" {
    vectors make v.fvecs -n 3000 -d 16 --kind gauss
    vectors make q.fvecs -n 100 -d 16 --kind gauss
    for options in "" "--exact" "-q -t 4 --recall 1"; do
        omendb build -q v.fvecs
        cut v.omen fifo q.fvecs "$OMENDB" query $options -f fvecs -o found v.omen fifo
        was_cut query v.omen
        omendb build -q v.fvecs
        cut v.omen fifo q.fvecs "$OMENDB" query $options -f fvecs v.omen fifo
        was_cut query v.omen
    done
    omendb build -q v.fvecs
    cut v.omen fifo v.fvecs "$OMENDB" verify --source fifo -f fvecs v.omen
    was_cut verify v.omen
    omendb build -q v.fvecs
    cut v.omen fifo q.fvecs "$OMENDB" bench --runs 1 --min-time 0 -f fvecs --queries fifo v.omen
    was_cut bench v.omen
    only q.fvecs v.fvecs v.omen
    # names that are long or drive a terminal
    name=$'a\033[2J'$(printf 'x%.0s' $(seq 210)).omen
    omendb build -q -o "$name" v.fvecs
    cut "$name" fifo q.fvecs "$OMENDB" query -f fvecs "$name" fifo
    [[ $said == 'omendb query: cannot read "...'*'xxx.omen": it was cut short'* ]]
    name=$'a\033[2J\302\233.omen'
    omendb build -q -o "$name" v.fvecs
    cut "$name" fifo q.fvecs "$OMENDB" query -f fvecs "$name" fifo
    was_cut query 'a?[2J??.omen'
}

@test "vectors that are cut short while they are in use: one line, exit 4, a checkpoint stays" {
    vectors make v.fvecs -n 3000 -d 16 --kind gauss
    cp v.fvecs q.fvecs
    cut v.fvecs fifo q.fvecs "$OMENDB" build -q -o v.omen --tune-queries fifo v.fvecs
    # the FIFO's format is told by its content
    was_cut build v.fvecs
    [ ! -e v.omen ]
    ls -A | grep tmp && fault "a temporary stays"
    rm -f v.omen.part
    cp q.fvecs v.fvecs
    omendb build -q -o v.omen v.fvecs
    cut v.fvecs fifo q.fvecs "$OMENDB" bench --runs 1 --min-time 0 -f fvecs --base v.fvecs --queries fifo v.omen
    was_cut bench v.fvecs
    only q.fvecs v.fvecs v.omen
}

@test "the index of bench and of build that is cut short while it is made" {
    vectors make v.fvecs -n 60000 -d 32 --kind gauss
    mkdir tmp
    TMPDIR=$PWD/tmp
    export TMPDIR
    mkfifo fifo
    "$OMENDB" bench --runs 1 --min-time 0 -q -f fvecs --base v.fvecs --queries fifo 2>said &
    pid=$!
    exec 9>fifo
    : >tmp/omendb-bench-*/bench.omen
    cat v.fvecs >&9
    exec 9>&-
    wait $pid && code=0 || code=$?
    same "$code" 4
    has "$(cat said)" "bench.omen\": it was cut short while it was in use"
    [ -z "$(ls -A tmp)" ] || fault "$(ls -A tmp)"
    rm fifo
    # the one under construction: cut when its calibration begins, which then reads it
    "$OMENDB" build -v -t 1 --cpu scalar -c none v.fvecs 2>said &
    pid=$!
    for _ in $(seq 600); do
        grep -q calibrate said && break
        sleep 0.02
    done
    : >"$(ls -d v.omen.tmp*)"
    wait $pid && code=0 || code=$?
    same "$code" 4
    has "$(tail -n 1 said)" "it was cut short while it was in use"
    has "$(tail -n 1 said)" "omen.tmp"
    rm said
    only tmp v.fvecs v.omen.part
    # and the checkpoint goes on
    expect 0 omendb build -c none v.fvecs
    has "$stderr" "resuming"
    expect 0 omendb verify -q v.omen
}

@test "a compressed file, and one that is compressed, cut short while it is in use" {
    vectors make v.fvecs -n 200000 -d 16 --kind gauss
    omendb compress -q v.fvecs
    # the program waits for the pipe to be read
    expect 0 bash -c '"$OMENDB" compress -q -t 1 -d -c v.fvecs.omz 2>said |
            { read -r -N 1; : >v.fvecs.omz; cat; } >/dev/null 2>&1
        echo "${PIPESTATUS[0]}"'
    same "$output" 4
    has "$(cat said)" 'omendb compress: cannot read "v.fvecs.omz": it was cut short while it was in use'
    same "$(wc -l <said)" 1
    rm said v.fvecs.omz
    "$OMENDB" compress -q -t 1 -19 -o out.omz v.fvecs 2>said &
    pid=$!
    for _ in $(seq 600); do
        ls -A | grep -q 'out.omz.tmp' && break
        sleep 0.02
    done
    : >v.fvecs
    wait $pid && code=0 || code=$?
    same "$code" 4
    has "$(cat said)" '"v.fvecs": it was cut short while it was in use'
    same "$(wc -l <said)" 1
    rm said
    only v.fvecs
}

@test "SIGBUS that no file has raised ends the process as ever" {
    vectors make v.fvecs -n 50 -d 3
    omendb build -q v.fvecs
    mkfifo fifo
    "$OMENDB" query -f fvecs v.omen fifo 2>said &
    pid=$!
    exec 9>fifo
    kill -BUS $pid
    wait $pid && code=0 || code=$?
    exec 9>&-
    same "$code" $((128 + 7))
    same "$(cat said)" ""
}
