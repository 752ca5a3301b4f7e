# SPDX-License-Identifier: Apache-2.0
# What is told while it works: on a terminal one line, elsewhere lines from time to time.
load helper

# terminal COMMAND...: what it writes to a terminal at standard error, to the file seen
terminal()
{
    python3 -c '
import os, pty, subprocess, sys
master, slave = pty.openpty()
process = subprocess.Popen(sys.argv[1:], stderr=slave, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
os.close(slave)
with open("seen", "wb") as out:
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:
            break
        out.write(data)
sys.exit(process.wait())' "$@"
}

inputs()
{
    python3 -c '
import os, struct
for name, n in ("base", 16000), ("q", 2000):
    open(name + ".u8bin", "wb").write(struct.pack("<II", n, 32) + os.urandom(32 * n))'
    omendb build -q -l 50 base.u8bin
}

@test "without a terminal: plain lines with share, rate and time left, as often as asked for" {
    plain_only
    inputs
    for words in --exact "--way lists --self"; do
        queries=q.u8bin
        case $words in *self) queries= ;; esac
        export OMENDB_PROGRESS=0.000001
        # shellcheck disable=SC2086
        expect 0 omendb query -t 1 $words -o out.tsv base.omen $queries
        has "$stderr" "search"
        case $stderr in *$'\r'*) fault "a carriage return" ;; esac
        # the share grows within the one batch
        printf '%s\n' "$stderr" | grep search | grep -oE ' [0-9]+%' | tr -d ' %' >shares
        sort -n shares | cmp - shares
        grep -qvxE '0|100' shares || fault "$words: $stderr"
    done
    expect 0 omendb query --exact -q -o out.tsv base.omen q.u8bin
    same "$stderr" ""
    # bench has a table to be quiet about, which is not progress
    bench="omendb bench -q --runs 1 --min-time 0 --recall 0.9 --base base.u8bin --held-out 20"
    expect 0 $bench
    has "$stderr" " s  "
    same "$output" ""
    expect 0 env -u OMENDB_PROGRESS "$OMENDB" ${bench#omendb }
    same "$output$stderr" ""
    expect 0 omendb query --exact --json -o out.tsv base.omen q.u8bin
    same "$(member "$stderr" queries)" 2000
    expect 0 omendb build -t 1 base.u8bin
    has "$stderr" "encode"
    # none, and by default none in so short a time; what is no number is the default
    for OMENDB_PROGRESS in 0 x -1; do
        expect 0 omendb query --exact -o out.tsv base.omen q.u8bin
        same "$stderr" ""
    done
}

@test "a rate and the time left stand where it takes long enough" {
    plain_only
    inputs
    export OMENDB_PROGRESS=0.001
    "$OMENDB" query -t 1 --self --exact -F tsv -o out.tsv base.omen 2>said &
    pid=$!
    until grep -q search said; do sleep 0.002; done
    # as if it had much to do
    kill -STOP $pid
    sleep 0.7
    kill -CONT $pid
    wait $pid
    grep -qE 'search +[0-9]+%  [0-9,]+/s  [0-9:]+( s)? left' said || fault "$(cat said)"
}

@test "on a terminal: one line from the start, which is gone at the end" {
    plain_only
    inputs
    terminal "$OMENDB" query --exact -o out.tsv base.omen q.u8bin
    has "$(head -c 5 seen)" $'\ropen'
    has "$(cat seen)" $'\rsearch       0%'
    tail -c 1 seen | cmp - <(printf '\r')
    terminal "$OMENDB" build base.u8bin
    has "$(head -c 5 seen)" $'\rread'
    terminal "$OMENDB" verify base.omen
    has "$(head -c 10 seen)" $'\rchecksums'
    tail -c 1 seen | cmp - <(printf '\r')
    while read -r words; do
        # shellcheck disable=SC2086 # a list of words
        terminal "$OMENDB" $words
        has "$(head -c 5 seen)" $'\rread'
    done < <(some 1 "train -o m.model base.u8bin" "compress -o base.omz base.u8bin" \
        "bench --base base.u8bin --held-out 20 --runs 1 --min-time 0 --recall 0.9")
    # results there are progress enough, and are not written over
    terminal "$OMENDB" query -q --exact -o out.tsv base.omen q.u8bin
    [ ! -s seen ]
    python3 -c '
import os, pty, subprocess, sys
master, slave = pty.openpty()
process = subprocess.Popen([os.environ["OMENDB"], "query", "base.omen", "q.u8bin", "-k", "1"], stderr=slave,
                           stdout=slave, stdin=subprocess.DEVNULL)
os.close(slave)
seen = b""
while True:
    try:
        seen += os.read(master, 4096)
    except OSError:
        break
assert b"search" not in seen and seen.startswith(b"0\t1\t"), seen[:200]
sys.exit(process.wait())'
}
