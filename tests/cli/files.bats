# SPDX-License-Identifier: Apache-2.0
# What is made and how: temporaries, links, pipes, modes, and inputs that must not be overwritten.

load helper

# small: makes v.fvecs, q.fvecs, base.omen, keys, big.u8bin of several blocks and big.u8bin.omz.
small()
{
    vectors make v.fvecs -n 300 -d 6
    vectors make q.fvecs -n 20 -d 6 --seed 2
    omendb build -q -o base.omen v.fvecs
    seq 300 >keys
    python3 -c '
import os, struct
n = 40000
open("big.u8bin", "wb").write(struct.pack("<II", n, 128) + os.urandom(n * 128))'
    omendb compress -q big.u8bin
}

# makers: each way to make a file, as "NAME COMMAND...": the file is named NAME and the commands make it.
makers()
{
    cat <<'END'
out.omen build -q -o out.omen v.fvecs
out.omen attach -q --key keys -o out.omen base.omen
out.tsv query -q -o out.tsv base.omen q.fvecs
out.omz compress -q -f -o out.omz v.fvecs
codes.omz compress -q -f --codec sq8 -o codes.omz v.fvecs
back compress -q -f -d -o back big.u8bin.omz
kept.omen bench -q --base v.fvecs --queries q.fvecs --runs 1 --min-time 0 --recall 0.9 --index kept.omen
truth.ivecs bench -q --base v.fvecs --queries q.fvecs --runs 1 --min-time 0 --recall 0.9 --save-truth truth.ivecs
END
    if command -v gnuplot >/dev/null; then
        echo "plot.svg bench -q --compare last.json --plot plot.svg"
    fi
}

# each_maker FUNCTION: calls FUNCTION NAME COMMAND... for every way to make a file.
each_maker()
{
    omendb bench -q --json --base v.fvecs --queries q.fvecs --runs 1 --min-time 0 --recall 0.9 >last.json 2>/dev/null
    while read -r name words; do
        "$1" "$name" $words
    done < <(makers)
}

# traced OPTION...: strace, under which the leak checker does not work
traced()
{
    ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 exec strace -f -qq "$@"
}

# ---- temporaries ----

refuses_planted()
{
    local name=$1 temporary kind
    shift
    for temporary in "$name.tmp" ${PART:+"$name.part"}; do
        for kind in hard symbolic dangling fifo directory stranger; do
            rm -rf "$name" "$temporary" victim nowhere
            echo precious >victim
            case $kind in
            hard) ln victim "$temporary" ;;
            symbolic) ln -s victim "$temporary" ;;
            dangling) ln -s nowhere "$temporary" ;;
            fifo) mkfifo "$temporary" ;;
            directory) mkdir "$temporary" ;;
            stranger)
                [ "$(id -u)" = 0 ] || continue
                touch "$temporary"
                chown 1000:1000 "$temporary"
                chmod 666 "$temporary"
                ;;
            esac
            before=$(stat -c '%i %a %u %h' "$temporary")
            expect 4 omendb "$@"
            has "$stderr" "\"$temporary\" is in the way"
            has "$stderr" "remove it"
            same "$(cat victim)" precious
            same "$(stat -c '%i %a %u %h' "$temporary")" "$before"
            [ ! -e "$name" ] && [ ! -e nowhere ] || fault "$kind: $name was made"
        done
        rm -rf "$temporary"
    done
}

@test "a planted temporary is refused and not written through, whatever it is" {
    small
    each_maker refuses_planted
    PART=1 refuses_planted out.omen build -q -o out.omen v.fvecs
}

replaces_leftover()
{
    local name=$1
    shift
    rm -f "$name"
    seq 100000 >"$name.tmp"
    exec 7<"$name.tmp"
    expect 0 omendb "$@"
    [ -s "$name" ]
    [ ! -e "$name.tmp" ]
    [ "$(stat -Lc %i "/proc/$$/fd/7")" != "$(stat -c %i "$name")" ] || fault "the leftover itself became the output"
    same "$(stat -c %a "$name")" 644
    seq 100000 | cmp - <(cat <&7) # what has it open sees nothing of what was written
    exec 7<&-
}

@test "what a killed run left is replaced by a new file, not taken over" {
    umask 022
    small
    each_maker replaces_leftover
}

@test "a temporary that a living process holds is refused" {
    small
    refuses_locked()
    {
        local name=$1
        shift
        rm -f "$name"
        : >"$name.tmp"
        expect 4 flock "$name.tmp" "$OMENDB" "$@"
        has "$stderr" "another process is writing \"$name.tmp\""
        [ ! -s "$name.tmp" ]
        [ ! -e "$name" ]
        rm "$name.tmp"
    }
    each_maker refuses_locked
}

@test "a checkpoint of one's own is continued, and a locked one refused" {
    vectors make v.fvecs -n 300 -d 6
    : >v.omen.part
    expect 4 flock v.omen.part "$OMENDB" build -q v.fvecs
    has "$stderr" 'another process is at work on "v.omen.part"'
    expect 0 omendb build -q v.fvecs
    only v.fvecs v.omen
}

# ---- names of outputs ----

replaces_link()
{
    local name=$1 target
    shift
    for target in there nowhere; do
        rm -f "$name" nowhere
        echo precious >there
        ln -s $target "$name"
        expect 0 omendb "$@"
        same "$(cat there)" precious
        [ ! -e nowhere ] || fault "written through the link"
        [ -s "$name" ] && [ ! -L "$name" ] || fault "$name is still a link"
    done
}

@test "a symbolic link at an output's name is replaced, not followed" {
    small
    each_maker replaces_link
    rm -f link
    ln -s there link
    fails_with 2 "exists" omendb compress -q -o link v.fvecs
    rm there
    fails_with 2 "exists" omendb compress -q -o link v.fvecs
}

@test "pipes, devices and names of descriptors are written in place" {
    small
    omendb query -q base.omen q.fvecs >want.tsv
    omendb compress -q -c v.fvecs >want.omz
    mkfifo pipe
    for words in "want.tsv query -q base.omen q.fvecs" "want.omz compress -q v.fvecs" \
        "big.u8bin compress -dq big.u8bin.omz"; do
        set -- $words
        want=$1
        shift
        cat pipe >got &
        expect 0 omendb "$@" -o pipe
        wait $!
        cmp "$want" got
        [ -p pipe ]
        [ ! -e pipe.tmp ]
        expect 0 omendb "$@" -o /dev/null
        [ -c /dev/null ]
        [ ! -e /dev/null.tmp ]
        for name in /dev/stdout /dev/fd/1 /proc/self/fd/1; do
            "$OMENDB" "$@" -o $name | cmp - "$want"
            "$OMENDB" "$@" -o $name >got
            cmp got "$want"
        done
        "$OMENDB" "$@" -o /dev/fd/9 9>got
        cmp got "$want"
        ln -s /dev/stdout link
        "$OMENDB" "$@" -o link | cmp - "$want"
        [ -L link ]
        rm link
    done
    fails_with 2 "not a regular file" omendb build -o pipe v.fvecs
    fails_with 2 "not a regular file" omendb build -o /dev/stdout v.fvecs
    for name in pipe /dev/null /dev/stdout /dev/fd/1; do
        fails_with 2 "\"$name\" is not a regular file" omendb attach --key keys -o $name base.omen
    done
    fails_with 4 "not a regular file" omendb bench -q --base v.fvecs --queries q.fvecs --index pipe
    for name in pipe /dev/null /dev/stdout; do
        fails_with 2 "--rm needs" omendb compress -q --rm -o $name v.fvecs
    done
    [ -e v.fvecs ]
    if command -v gnuplot >/dev/null; then
        omendb bench -q --json --base v.fvecs --queries q.fvecs --runs 1 --min-time 0 >last.json 2>/dev/null
        mkfifo plot.svg
        cat plot.svg >got &
        expect 0 omendb bench -q --compare last.json --plot plot.svg
        wait $!
        has "$(cat got)" "</svg>"
        [ -p plot.svg ]
    fi
}

# ---- in order, at the current offset ----

@test "standard output is written in order at its current offset: >>, two commands, 1<>, a pipe" {
    plain_only
    small
    for words in "query -q base.omen q.fvecs" "query -q -F npy base.omen q.fvecs" "compress -q -c v.fvecs" \
        "compress -q -c --codec sq8 v.fvecs" "compress -dqc -t 4 big.u8bin.omz" \
        "bench -q --json --base v.fvecs --queries q.fvecs --runs 1 --min-time 0"; do
        set -- $words
        omendb "$@" >one 2>error
        # a bench differs in its figures
        [ "$1" != bench ] || sed -i 's/.*/bench/' one
        for i in 1 2 3; do
            echo before >app
            omendb "$@" >>app 2>error
            { echo before && omendb "$@" 2>error && omendb "$@" 2>error; } >two
            printf '12345678' >at
            { printf '1234' && omendb "$@" 2>error; } 1<>at
            omendb "$@" 2>error | cat >pipe
            if [ "$1" = bench ]; then
                sed -i 's/{.*/bench/' app two at pipe
            fi
            { echo before && cat one; } | cmp - app
            { echo before && cat one one; } | cmp - two
            { printf '1234' && cat one; } | cmp - at
            cmp one pipe
        done
    done
}

# ---- nothing that is read is written ----

@test "an output that is an input is refused, by any name, in every command" {
    small
    cp v.fvecs t.fvecs
    omendb bench -q --json --base v.fvecs --queries q.fvecs --runs 1 --min-time 0 --save-truth t.ivecs >last.json
    cp "$OMENDB" other
    sha256sum v.fvecs q.fvecs t.fvecs t.ivecs last.json base.omen other big.u8bin.omz >sums
    ln q.fvecs hard.fvecs
    ln -s q.fvecs soft.fvecs
    ln base.omen hard.omen
    ln v.fvecs x.omen.tmp
    ln -s q.fvecs y.omen.part
    ln t.ivecs hard.ivecs
    ln last.json hard.svg
    ln t.ivecs truth.svg
    ln -s other other.svg
    ln v.fvecs w.ivecs.tmp
    clash()
    {
        local first=$1 second=$2
        shift 2
        fails_with 2 "would overwrite the" omendb "$@"
        has "$stderr" "$first"
        has "$stderr" "$second"
        sha256sum --quiet -c sums
    }
    clash '--output "q.fvecs"' '--tune-queries "q.fvecs"' build --tune-queries q.fvecs -o q.fvecs v.fvecs
    clash '--output "hard.fvecs"' '--tune-queries "q.fvecs"' build --tune-queries q.fvecs -o hard.fvecs v.fvecs
    clash '--output "soft.fvecs"' '--tune-queries "q.fvecs"' build --tune-queries q.fvecs -o soft.fvecs v.fvecs
    clash '"x.omen.tmp"' 'INPUT "v.fvecs"' build -o x.omen v.fvecs
    clash '"y.omen.part"' '--tune-queries "q.fvecs"' build -o y.omen --tune-queries q.fvecs v.fvecs
    clash '--output "v.fvecs"' 'standard input' build -f fvecs -o v.fvecs - <v.fvecs
    clash '--output "base.omen"' 'INDEX' query -o base.omen base.omen q.fvecs
    clash '--output "hard.omen"' 'INDEX' query -o hard.omen base.omen q.fvecs
    clash '--output "soft.fvecs"' 'QUERIES' query -o soft.fvecs base.omen q.fvecs
    clash '--output "q.fvecs"' 'standard input' query -f fvecs -o q.fvecs base.omen <q.fvecs
    clash '--output "v.fvecs"' 'INPUT' compress -f -o v.fvecs v.fvecs
    clash '--output "big.u8bin.omz"' 'INPUT' compress -d -f -o big.u8bin.omz big.u8bin.omz
    clash '--output "hard.svg"' 'INPUT' compress -f -o hard.svg last.json
    b="bench --base v.fvecs --queries q.fvecs"
    clash '--index "hard.fvecs"' '--queries' $b --index hard.fvecs
    clash '--index "x.omen"' '--base' $b --index x.omen
    clash '--save-truth "hard.ivecs"' '--truth' $b --truth t.ivecs --save-truth hard.ivecs
    clash '--save-truth "w.ivecs"' '--base' $b --save-truth w.ivecs
    clash '--plot "hard.svg"' '--baseline' $b --baseline last.json --plot hard.svg
    clash '--plot "hard.svg"' '--compare' bench --compare last.json --plot hard.svg
    clash '--plot "truth.svg"' '--truth' $b --truth t.ivecs --plot truth.svg
    clash '--plot "other.svg"' '--baseline-binary' $b --baseline-binary other --plot other.svg
    clash '--index "t.ivecs"' '--save-truth "./t.ivecs"' $b --index t.ivecs --save-truth ./t.ivecs
    clash '--index "new.ivecs"' '--save-truth "./new.ivecs"' $b --index new.ivecs --save-truth ./new.ivecs
    clash '--index "new.ivecs.tmp"' '--save-truth' $b --index new.ivecs.tmp --save-truth new.ivecs
}

@test "standard output that is an input is refused" {
    small
    sha256sum v.fvecs q.fvecs base.omen big.u8bin.omz >sums
    # appends FILE COMMAND...: the command with its output appended to FILE exits 2
    appends()
    {
        local file=$1 code=0
        shift
        omendb "$@" >>"$file" 2>error || code=$?
        same $code 2
        has "$(cat error)" "writing standard output would overwrite the input"
        sha256sum --quiet -c sums
    }
    appends q.fvecs query base.omen q.fvecs
    appends base.omen query base.omen q.fvecs
    appends v.fvecs compress -c v.fvecs
    appends big.u8bin.omz compress -dc big.u8bin.omz
    appends v.fvecs build --json -o x.omen v.fvecs
    appends v.fvecs bench --base v.fvecs --queries q.fvecs
    appends base.omen verify base.omen
    appends v.fvecs verify --source v.fvecs base.omen
    code=0
    omendb build --json -o same.omen v.fvecs >same.omen 2>error || code=$?
    same $code 2
    has "$(cat error)" "would overwrite the output standard output"
    omendb query base.omen q.fvecs </dev/null >/dev/null
}

@test "two inputs that are one pipe are refused" {
    small
    # piped TEXT COMMAND...: of keys through a pipe, the command exits 2 with TEXT and makes nothing
    piped()
    {
        local text=$1 code=0
        shift
        head -5 keys | "$OMENDB" "$@" >got 2>error || code=$?
        same $code 2
        has "$(cat error)" "$text, which can be read once only"
        [ ! -s got ] && [ ! -e x.omen ]
    }
    piped '--only "/dev/fd/0" and --except "/dev/stdin" are the same pipe' \
        query -q -k 3 --rows --except /dev/stdin --only /dev/fd/0 base.omen q.fvecs
    piped 'standard input and --only "/dev/stdin" are the same pipe' \
        query -q -k 3 -f csv --rows --only /dev/stdin base.omen -
    piped '--key "/dev/stdin" and --tags "/dev/fd/0" are the same pipe' \
        build -o x.omen --key /dev/stdin --tags /dev/fd/0 v.fvecs
    piped '--key "/dev/stdin" and INPUT "/dev/fd/0" are the same pipe' \
        build -o x.omen --key /dev/stdin -f csv /dev/fd/0
    piped '--key "/dev/stdin" and --tags "/dev/fd/0" are the same pipe' \
        attach -o x.omen --key /dev/stdin --tags /dev/fd/0 base.omen
    piped '--key "/dev/stdin" and --source "/dev/fd/0" are the same pipe' \
        verify --key /dev/stdin --source /dev/fd/0 base.omen
    piped '--queries "/dev/fd/0" and --only "/dev/stdin" are the same pipe' \
        bench --queries /dev/fd/0 --rows --only /dev/stdin base.omen
    piped 'FILE "/dev/stdin" and FILE "/dev/fd/0" are the same pipe' info /dev/stdin /dev/fd/0
    mkfifo pipe
    fails_with 2 'are the same pipe' omendb query --rows --except pipe --only ./pipe base.omen q.fvecs
    # what can be read again, and different pipes
    seq 0 299 >rows
    expect 0 omendb query -q --rows --only rows --except ./rows base.omen q.fvecs
    expect 0 omendb query -q --rows --only /dev/null --except /dev/null base.omen q.fvecs
    head -5 keys >five
    omendb query -q -k 3 --rows --except five --only rows base.omen q.fvecs >want
    head -5 keys | "$OMENDB" query -q -k 3 --rows --except /dev/stdin --only <(cat rows) base.omen q.fvecs >got
    cmp want got
}

# ---- modes ----

@test "an output of compress gets permission bits only, set before it has its name" {
    umask 022
    small
    cp v.fvecs a.fvecs
    for mode in 6755 4711 2750 1644 640 600 444; do
        chmod $mode a.fvecs
        omendb compress -q -f a.fvecs
        same "$(stat -c %a a.fvecs.omz)" "$(printf %o $((0$mode & 0777)))"
        chmod $mode a.fvecs.omz
        omendb compress -dqf -o back a.fvecs.omz
        same "$(stat -c %a back)" "$(printf %o $((0$mode & 0777)))"
        omendb compress -q -f --codec sq8 -o codes.omz a.fvecs
        same "$(stat -c %a codes.omz)" "$(printf %o $((0$mode & 0777)))"
        chmod $mode codes.omz
        omendb compress -dqf -o back.fbin codes.omz
        same "$(stat -c %a back.fbin)" "$(printf %o $((0$mode & 0777)))"
    done
    omendb compress -q --format fvecs -o piped.omz - <v.fvecs
    same "$(stat -c %a piped.omz)" 644
}

@test "a private input never has a temporary that others can read" {
    umask 022
    small
    chmod 600 big.u8bin big.u8bin.omz
    # every file is created with no more than 0600, whatever becomes of it
    if command -v strace >/dev/null; then
        for words in "-f -o out.omz big.u8bin" "-f --codec sq8 -o out.omz big.u8bin" "-df -o out.omz big.u8bin.omz"; do
            (traced -o trace -e trace=openat,open,creat,fchmod,chmod "$OMENDB" compress -q $words)
            has "$(grep O_CREAT trace | grep out.omz.tmp)" "0600"
            same "$(grep -c 'out.omz' trace | head -1)" 1
            [ -z "$(grep chmod trace | grep -v '0600')" ]
        done
    fi
    omendb compress -q -19 -t 1 -o slow.omz big.u8bin &
    process=$!
    for i in $(seq 200); do
        [ ! -e slow.omz.tmp ] || break
        sleep 0.02
    done
    same "$(stat -c %a slow.omz.tmp)" 600
    kill -KILL $process
    wait $process || true
    same "$(stat -c %a slow.omz.tmp)" 600
}

# ---- one open a file ----

# opens FILE COMMAND...: how often the program opens FILE by name
opens()
{
    local file=$1
    shift
    (traced -o trace -e trace=open,openat "$OMENDB" "$@" >/dev/null)
    grep -c "\"\(\./\)\?$file\"" trace || true
}

@test "an input is opened by name once" {
    command -v strace >/dev/null || skip "needs strace"
    small
    omendb compress -q v.fvecs
    omendb compress -q q.fvecs
    omendb compress -q base.omen
    omendb compress -q --codec sq8 -o codes.omz v.fvecs
    tail -c +5 q.fvecs | head -c 24 >q.raw
    same "$(opens v.fvecs compress -q -f v.fvecs)" 1
    same "$(opens base.omen compress -q -f base.omen)" 1
    same "$(opens v.fvecs compress -q -f --codec sq8 -o c.omz v.fvecs)" 1
    same "$(opens v.fvecs.omz compress -dqc v.fvecs.omz)" 1
    same "$(opens codes.omz compress -dqc -F raw codes.omz)" 1
    same "$(opens v.fvecs.omz build -q -o x.omen v.fvecs.omz)" 1
    same "$(opens v.fvecs build -q -o x.omen v.fvecs.omz v.fvecs)" 1
    same "$(opens codes.omz build -q -o x.omen codes.omz)" 1
    same "$(opens q.fvecs.omz query -q base.omen q.fvecs.omz)" 1
    same "$(opens q.raw query -q base.omen q.raw)" 1
    same "$(opens base.omen query -q base.omen q.fvecs)" 1
    same "$(opens base.omen.omz query -q base.omen.omz q.fvecs)" 1
    same "$(opens base.omen.omz verify -q base.omen.omz)" 1
    same "$(opens base.omen info base.omen)" 1
    same "$(opens v.fvecs verify -q --source v.fvecs base.omen)" 1
    # what was written is read back without a second look at the name
    same "$(opens out.omen build -q -o out.omen v.fvecs)" 0
    same "$(opens out.omz compress -q --rm -o out.omz q.raw --format raw --dim 6)" 0
}

@test "an input that is replaced while it is compressed: one of both, whole" {
    command -v strace >/dev/null || skip "needs strace"
    python3 -c '
import os, struct
for name, n in ("small", 16), ("large", 40000), ("mid", 31):
    open(name + ".u8bin", "wb").write(struct.pack("<II", n, 128) + os.urandom(n * 128))'
    for other in large mid; do
        for call in openat fstat mmap newfstatat; do
            cp small.u8bin x.u8bin
            cp $other.u8bin y.u8bin
            traced -o /dev/null -P "$PWD/x.u8bin" -e trace=$call -e inject=$call:delay_exit=300000:when=1 \
                "$OMENDB" compress -q -f -o z.omz "$PWD/x.u8bin" &
            process=$!
            sleep 0.15
            mv y.u8bin x.u8bin
            wait $process
            omendb compress -dqc z.omz >back
            cmp back small.u8bin || cmp back $other.u8bin
        done
    done
}

@test "an input that is written to while it is compressed is an error" {
    command -v strace >/dev/null || skip "needs strace"
    small
    traced -o /dev/null -e trace=pwrite64 -e inject=pwrite64:delay_enter=600000:when=1 \
        "$OMENDB" compress -q -o z.omz big.u8bin 2>error &
    process=$!
    sleep 0.3
    printf x | dd of=big.u8bin bs=1 seek=5000000 conv=notrunc status=none
    code=0
    wait $process || code=$?
    same $code 4
    has "$(cat error)" "it was changed meanwhile"
    [ ! -e z.omz ]
    [ ! -e z.omz.tmp ]
}

@test "inputs that can be read once only: pipes by name, raw rows, compressed streams" {
    small
    tail -c +5 q.fvecs | head -c 24 >q.raw
    omendb query -q base.omen q.raw >want
    mkfifo pipe.raw
    cat q.raw >pipe.raw &
    timeout 10 "$OMENDB" query -q base.omen pipe.raw >got
    cmp want got
    omendb query -q base.omen -f raw <q.raw | cmp - want
    omendb query -q -f raw base.omen <(cat q.raw) | cmp - want
    omendb query -q base.omen q.fvecs >want
    omendb compress -qc q.fvecs | omendb query -q base.omen | cmp - want
    omendb query -q base.omen <(omendb compress -qc q.fvecs) | cmp - want
    omendb compress -qc v.fvecs | omendb build -q -o x.omen -
    cmp x.omen base.omen
    omendb compress -dqc <(cat big.u8bin.omz) | cmp - big.u8bin
    cat big.u8bin.omz | omendb compress -dqo back /dev/stdin
    cmp back big.u8bin
    omendb compress -qc <(cat v.fvecs) | omendb compress -dq - | cmp - v.fvecs
}

@test "--rm removes what was read, not what has its name by then" {
    command -v strace >/dev/null || skip "needs strace"
    small
    cp big.u8bin other
    traced -o /dev/null -e trace=pwrite64 -e inject=pwrite64:delay_enter=600000:when=1 \
        "$OMENDB" compress -q --rm -o z.omz big.u8bin 2>error &
    process=$!
    sleep 0.3
    mv other big.u8bin
    code=0
    wait $process || code=$?
    same $code 4
    has "$(cat error)" "was changed or replaced meanwhile; it is kept"
    [ -e big.u8bin ]
    omendb verify -q z.omz
}

# ---- failures ----

@test "without memory or threads: exit 5, or the right file, and no temporary" {
    small
    for limit in 40000 60000 80000 100000 120000 140000 170000 200000; do
        # too little even to start the program
        (ulimit -v $limit && "$OMENDB" --version) >/dev/null 2>&1 || continue
        for threads in 1 4 16; do
            for words in "-d -o back big.u8bin.omz" "-o back.omz big.u8bin"; do
                rm -f back back.omz
                code=0
                (ulimit -v $limit && exec "$OMENDB" compress -q -t $threads $words) 2>error || code=$?
                [ ! -e back.tmp ] && [ ! -e back.omz.tmp ] || fault "limit $limit: exit $code, a temporary stays"
                if [ $code = 0 ]; then
                    [ ! -e back.omz ] || omendb compress -dqf -o back back.omz
                    cmp back big.u8bin
                else
                    same $code 5
                    [ ! -e back ]
                    [ ! -e back.omz ]
                fi
            done
        done
    done
}
