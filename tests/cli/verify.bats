# SPDX-License-Identifier: Apache-2.0
# omendb verify: sound, damaged and foreign files; comparison with the source.
load helper

small()
{
    vectors make v.fvecs --text "1,2;3,4;5,6"
    omendb build -q "$@" v.fvecs
}

@test "a sound index in every mode" {
    small
    for mode in "" --full --quick "--source v.fvecs"; do
        expect 0 omendb verify $mode v.omen
        has "$output" "v.omen: sound (3 x 2, "
        same "$stderr" ""
        expect 0 omendb verify -q $mode v.omen
        same "$output$stderr" ""
        expect 0 omendb verify -t 3 $mode v.omen
    done
}

@test "--json" {
    small
    head -c 5000 v.omen >cut.omen
    expect 3 omendb verify --json v.omen cut.omen
    same "${#lines[@]}" 1
    for path in file sound mode rows d sections bytes faults; do
        member "$output" indexes.0.$path >/dev/null
        member "$output" indexes.1.$path >/dev/null
    done
    same "$(member "$output" indexes.0.sound)" true
    same "$(member "$output" indexes.0.rows)" 3
    same "$(member "$output" indexes.0.faults)" "[]"
    same "$(member "$output" indexes.1.sound)" false
    for path in section first bytes text; do
        member "$output" indexes.1.faults.0.$path >/dev/null
    done
    expect 0 omendb verify --json --source v.fvecs v.omen
    same "$(member "$output" indexes.0.mode)" '"source"'
}

@test "several files: each is told, the exit code is the highest" {
    small
    cp v.omen w.omen
    printf 'x' | dd of=w.omen bs=1 seek=5000 conv=notrunc status=none
    expect 3 omendb verify v.omen w.omen v.omen
    has "${lines[0]}" "v.omen: sound"
    has "${lines[1]}" "w.omen: corrupt: "
    has "${lines[2]}" "v.omen: sound"
    expect 4 omendb verify w.omen nope.omen v.omen
    has "$stderr" 'cannot open "nope.omen": No such file or directory'
    has "$output" "v.omen: sound"
    expect 0 omendb verify v.omen v.omen
}

@test "damage is told with its section and byte range" {
    vectors make v.fvecs -n 5000 -d 100
    omendb build -q v.fvecs
    place=$(python3 "$tests_dir/cli/damage.py" where v.omen REFN | cut -d ' ' -f 1)
    place=$((place + 100000))
    printf '\377\377\377' | dd of=v.omen bs=1 seek=$place conv=notrunc status=none
    expect 3 omendb verify v.omen
    [[ ${lines[0]} =~ ^v.omen:\ corrupt:\ section\ REFN,\ bytes\ ([0-9]+)-([0-9]+): ]]
    [ "${BASH_REMATCH[1]}" -le $place ]
    [ "${BASH_REMATCH[2]}" -gt $place ]
    [ $((BASH_REMATCH[2] - BASH_REMATCH[1])) -le 8192 ]
    expect 3 omendb verify --json v.omen
    same "$(member "$output" indexes.0.faults.0.section)" '"REFN"'
    expect 0 omendb verify --quick v.omen
}

@test "a flip of any one byte is found" {
    plain_only
    small
    mkdir copies
    python3 "$tests_dir/cli/damage.py" flip v.omen copies
}

@test "a flip of any one byte is found, rabitq, cosine and a graph" {
    small -c rabitq -m cosine -r f16 --graph
    mkdir copies
    python3 "$tests_dir/cli/damage.py" flip v.omen copies
}

@test "a cut at any length is found by --quick" {
    small
    mkdir copies
    python3 "$tests_dir/cli/damage.py" cut v.omen copies
}

@test "query of a damaged index gives the right answer or exits 3" {
    n=250
    [ -z "${ASAN_OPTIONS-}" ] || n=60
    vectors make v.fvecs -n 600 -d 24
    vectors make q.fvecs -n 3 -d 24 --seed 5
    mkdir copies
    for options in "" "-c rabitq -r f32 --graph" "-c none" "-c pq -r f16 -m cosine"; do
        omendb build -q $options v.fvecs
        python3 "$tests_dir/cli/damage.py" search v.omen q.fvecs copies $n
    done
}

@test "query names section and bytes of what it could not believe, and believes with --no-check" {
    vectors make v.fvecs -n 5000 -d 100
    vectors make q.fvecs -n 300 -d 100 --seed 5
    omendb build -q v.fvecs
    cp v.omen good.omen
    for section in CENT CODE REFN PERM; do
        cp good.omen v.omen
        read -r place length < <(python3 "$tests_dir/cli/damage.py" where v.omen $section)
        place=$((place + length / 2))
        # in PERM a row that there is: another would be met by a query, or not
        bytes='\001\002\003'
        [ $section != PERM ] || bytes='\001\002'
        # shellcheck disable=SC2059 # escapes
        printf "$bytes" | dd of=v.omen bs=1 seek=$place conv=notrunc status=none
        expect 3 omendb query v.omen q.fvecs
        [[ $stderr =~ ^"omendb query: \"v.omen\" is damaged: section $section, bytes "([0-9]+)-([0-9]+): ]]
        [ "${BASH_REMATCH[1]}" -le $place ]
        [ "${BASH_REMATCH[2]}" -gt $place ]
        expect 3 omendb bench -q --runs 1 --min-time 0 --recall 0.9 v.omen --queries q.fvecs
        expect 0 omendb query --no-check v.omen q.fvecs
    done
}

@test "contents that lie under good checksums: query and verify agree, results are numbers" {
    vectors make v.fvecs -n 400 -d 12 --kind gauss
    vectors make q.fvecs -n 5 -d 12 --kind gauss
    lies=${OMEN_TEST_QUICK:+8}
    for options in "-c pq" "-c rabitq -r none -m ip" "-c pq -r none -m cosine" "--graph"; do
        omendb build -q -l 5 $options v.fvecs
        python3 "$tests_dir/cli/hostile.py" index v.omen q.fvecs ${lies:-40}
    done
    omendb compress -q -o v.omz v.omen
    python3 "$tests_dir/cli/hostile.py" index v.omz q.fvecs ${lies:-20}
    # one row is set apart
    vectors make v.fvecs -n 400 -d 12 --kind long-row
    omendb build -q -l 5 -m ip -c pq v.fvecs
    [[ $(omendb verify --source v.fvecs v.omen) =~ "16 sections" ]]
    python3 "$tests_dir/cli/hostile.py" index v.omen q.fvecs ${lies:-20}
}

@test "bytes after the end are found" {
    small
    echo >>v.omen
    expect 3 omendb verify --quick v.omen
}

@test "other files are no index: exit 3" {
    small
    : >empty.omen
    printf 'OMENDB\r\n' >magic.omen
    head -c 100000 /dev/zero >zero.omen
    for mode in --quick --full; do
        fails_with 2 '"v.fvecs" is not an omendb index but a file of vectors (fvecs, ' omendb verify $mode v.fvecs
    done
    for file in empty.omen magic.omen zero.omen; do
        for mode in --quick --full; do
            expect 3 omendb verify $mode $file
            has "$output" "$file: corrupt: "
            same "${#lines[@]}" 1
        done
    done
}

@test "--source: the rows agree, for every refine tier and format" {
    vectors make v.npy -n 300 -d 9 --kind gauss
    vectors make v.raw -n 300 -d 9 --kind gauss
    for options in "" "-r f16" "-r f32" "-c none" "-m cosine" "-m ip"; do
        omendb build -q $options v.npy
        expect 0 omendb verify --source v.npy v.omen
        has "$output" "source)"
        expect 0 omendb verify --source v.raw v.omen
        expect 0 omendb verify --source - -f npy v.omen <v.npy
    done
}

@test "--source: one other value, rows missing, rows in another order" {
    vectors make v.fvecs -n 50 -d 4
    vectors make w.fvecs -n 49 -d 4
    vectors make x.fvecs -n 50 -d 5
    cp v.fvecs one.fvecs
    printf '\000\000\240\100' | dd of=one.fvecs bs=1 seek=$((20 * 17 + 8)) conv=notrunc status=none # row 17: 5
    cmp -s v.fvecs one.fvecs && fault "the value was 5 already"
    { tail -c +21 v.fvecs; head -c 20 v.fvecs; } >turned.fvecs
    for options in "" "-r f16" "-r f32"; do
        omendb build -q $options v.fvecs
        for source in one w x turned; do
            expect 3 omendb verify --source $source.fvecs v.omen
            has "$output" "v.omen: differs from its source: "
        done
        expect 3 omendb verify --source one.fvecs v.omen
        has "$output" "17"
    done
}

@test "--source without a refine tier counts rows and dimensions, and says so" {
    vectors make v.fvecs -n 50 -d 4
    vectors make w.fvecs -n 49 -d 4
    omendb build -q -r none v.fvecs
    expect 0 omendb verify --source v.fvecs v.omen
    has "$stderr" "v.omen has no refine tier: only rows and dimensions were counted"
    expect 3 omendb verify --source w.fvecs v.omen
    has "$output" "differs from its source"
}

@test "a source that cannot be used is the source's fault" {
    small
    head -c 20 v.fvecs >cut.fvecs
    expect 2 omendb verify --source cut.fvecs v.omen
    has "$stderr" "cut short"
    expect 4 omendb verify --source nope.fvecs v.omen
    has "$stderr" 'cannot open "nope.fvecs"'
}

@test "bad options exit 2" {
    small
    fails_with 2 'no INDEX given' omendb verify
    fails_with 2 '--format and --dim describe the source' omendb verify -f fvecs v.omen
    fails_with 2 '--format and --dim describe the source' omendb verify -d 2 v.omen
    fails_with 2 'drop --quick' omendb verify --quick --source v.fvecs v.omen
    fails_with 2 'standard input can be the source of one INDEX only' omendb verify --source - v.omen v.omen
}

@test "verify changes nothing" {
    small
    before=$(hash_of v.omen)
    chmod 444 v.omen
    expect 0 omendb verify --source v.fvecs v.omen
    same "$(hash_of v.omen)" "$before"
    only v.fvecs v.omen
}
