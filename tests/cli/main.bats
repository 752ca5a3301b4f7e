# SPDX-License-Identifier: Apache-2.0
# omendb itself: commands, help, version, standard output that cannot be written.
load helper

@test "help is on standard output and exits 0" {
    for words in --help -h help "help help"; do
        expect 0 omendb $words
        has "$output" "usage: omendb COMMAND"
        same "$stderr" ""
    done
    has "$output" "exit codes:"
}

@test "help of every command by option and by name" {
    for command in attach bench build completion compress info merge query train verify; do
        expect 0 omendb $command --help
        has "$output" "usage: omendb $command "
        long=$output
        expect 0 omendb $command -h
        same "$output" "$long"
        expect 0 omendb help $command
        same "$output" "$long"
        has "$(omendb --help)" "  $command "
    done
}

@test "help fits 100 columns" {
    for command in "" attach bench build completion compress info merge query train verify; do
        widest=$(omendb help $command | wc -L)
        [ "$widest" -le 100 ] || fault "help $command is $widest wide"
    done
}

@test "version" {
    expect 0 omendb --version
    [[ $output =~ ^omendb\ [0-9]+\.[0-9]+\.[0-9]+(-rc[0-9]+)?$ ]]
    same "$output" "$(omendb -V)"
}

@test "no command, unknown commands and options exit 2" {
    fails_with 2 'no command given; see "omendb --help"' omendb
    fails_with 2 'unknown command "biuld"; did you mean "build"?' omendb biuld
    fails_with 2 'did you mean "verify"?' omendb ver
    fails_with 2 'unknown command "frobnicate"; see "omendb --help"' omendb frobnicate
    fails_with 2 'unknown command ""' omendb ""
    fails_with 2 'unknown option "--frob"' omendb --frob
    fails_with 2 'unknown command "frob"' omendb help frob
}

@test "bad options of every command name the option" {
    for command in build query verify; do
        fails_with 2 "omendb $command: unknown option \"--frob\"; see \"omendb $command --help\"" \
            omendb $command --frob x
        fails_with 2 "omendb $command: unknown option \"-Z\"" omendb $command -Z x
        fails_with 2 "omendb $command: option \"--threads\" needs a value" omendb $command x --threads
        fails_with 2 "omendb $command: option \"-t\" needs a value" omendb $command x -t
        fails_with 2 "omendb $command: option \"--json\" takes no value" omendb $command --json=1 x
        fails_with 2 "omendb $command: --threads must be at least 1" omendb $command -t 0 x
        fails_with 2 "omendb $command: --threads must be at most 1,024" omendb $command -t 1025 x
        fails_with 2 "omendb $command: --threads wants a whole number, not \"two\"" omendb $command -t two x
    done
    only ""
}

@test "the beginning of an option's name is no option" {
    vectors make v.fvecs -n 50 -d 3
    for words in "build --out" "query --recal" "verify --quic" "bench --base" "compress --dec"; do
        command=${words%% *} option=${words##* }
        [ "$option" = --base ] && option=--bas
        for word in "$option" "$option=x"; do
            fails_with 2 "omendb $command: unknown option \"$option\"; did you mean \"$option" \
                omendb $command $word v.fvecs v.fvecs
        done
        fails_with 2 "unknown option \"$option\"" omendb $command v.fvecs $option
    done
    fails_with 2 'unknown option "--jso"; did you mean "--json"?' omendb query --jso=1 v.omen
    fails_with 2 'unknown option "--vers"; did you mean "--version"?' omendb --vers
    fails_with 2 'unknown option "--outp"; did you mean "--output"?' omendb compress --outp x v.fvecs
    fails_with 2 'unknown option "-Z"' omendb query -o --recal -Zq
    only v.fvecs
    # whole names with a value after "=" or as the next word, and values that look like options
    omendb build --quiet --lists=5 --bytes 8 v.fvecs
    expect 0 omendb query --recall=0.9 --neighbors=2 --output --recal v.omen v.fvecs
    only --recal v.fvecs v.omen
}

@test "mistyped options, commands and values are told with the nearest" {
    while read -r words want; do
        fails_with 2 "; did you mean \"$want\"?" omendb ${words//_/ }
    done <<'END'
build_--metirc_l2_x --metric
query_--recalll=3_x --recall
bench_--min-tme_3 --min-time
inof info
qurey query
--hlep --help
build_-m_cosin_x cosine
build_-m_L2_x l2
build_-c_rabbitq_x rabitq
query_--way_grpah_x graph
query_-F_jsnol_x jsonl
compress_--codec_sq7_x sq8
attach_--degre_8_x --degree
END
    # what is far from all is not guessed at
    fails_with 2 'unknown option "--recount"; see' omendb query --recount
    fails_with 2 'must be l2, ip or cosine, not "euclid"' omendb build -m euclid x
    case $stderr in *mean*) fault "$stderr" ;; esac
    fails_with 2 'see "omendb query --help"' omendb query "--$(head -c 3000 /dev/zero | tr '\0' a)"
}

@test "options may follow file names, and -- ends them" {
    vectors make v.fvecs -n 5 -d 3
    expect 0 omendb build v.fvecs -q -o v.omen
    cp v.fvecs ./-v.fvecs
    expect 0 omendb build -q -o w.omen -- -v.fvecs
    cmp v.omen w.omen
}

@test "closed standard output exits 4" {
    vectors make v.fvecs -n 5 -d 3
    omendb build -q v.fvecs
    for words in --help --version "help build" "query v.omen v.fvecs" "query -F npy v.omen v.fvecs" "verify v.omen" \
        "verify --json v.omen" "info v.omen" "info --json v.fvecs" "build --json -o w.omen v.fvecs"; do
        expect 4 bash -c '"$OMENDB" "$@" >&-' omendb $words
        has "$stderr" "cannot write"
        same "${#stderr_lines[@]}" 1
    done
}

@test "a full disk under standard output exits 4" {
    vectors make v.fvecs -n 5 -d 3
    omendb build -q v.fvecs
    for words in --help "query v.omen v.fvecs" "query -F ivecs v.omen v.fvecs" "verify v.omen" "verify --json v.omen" \
        "build --json -o w.omen v.fvecs"; do
        expect 4 bash -c '"$OMENDB" "$@" >/dev/full' omendb $words
        has "$stderr" "No space left on device"
        same "${#stderr_lines[@]}" 1
    done
}

@test "closed standard error and input do no harm" {
    vectors make v.fvecs -n 5 -d 3
    expect 0 bash -c '"$OMENDB" build v.fvecs <&- 2>&-'
    expect 0 omendb verify v.omen
    expect 4 bash -c '"$OMENDB" query v.omen - <&-'
}
