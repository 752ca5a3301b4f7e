# SPDX-License-Identifier: Apache-2.0
# The same bytes and the same results for any number of threads and any SIMD level.
load helper

setup_file()
{
    cd "$BATS_FILE_TMPDIR"
    vectors make small.npy -n 7 -d 13 --kind gauss
    vectors make small-queries.npy -n 5 -d 13 --kind gauss --seed 2
    # all levels that run here but the best, which is what expected.omen is built with
    levels=
    best=$(member "$(omendb build --json small.npy)" simd)
    for level in scalar avx2 avx512 avx512vnni neon; do
        if [ "\"$level\"" != "$best" ] && omendb build -q --cpu $level -o probe.omen small.npy 2>/dev/null; then
            levels="$levels $level"
        fi
    done
    export levels
}

# check_index BASE OPTION...: one index for every number of threads and SIMD level.
check_index()
{
    local file=$1
    shift
    omendb build -q -t 2 "$@" -o expected.omen "$file"
    for threads in 1 3 8; do
        omendb build -q -t $threads "$@" -o found.omen "$file"
        cmp expected.omen found.omen || fault "another index with $threads threads"
    done
    check_levels "$levels" "$file" "$@"
}

# check_levels LEVELS BASE OPTION...: they build expected.omen.
check_levels()
{
    local of=$1 file=$2
    shift 2
    for level in $of; do
        omendb build -q --cpu $level "$@" -o found.omen "$file"
        cmp expected.omen found.omen || fault "another index at level $level"
    done
}

# check_results QUERIES OPTION...: of expected.omen.
check_results()
{
    local file=$1
    shift
    omendb query -t 2 "$@" --distances -o expected.tsv expected.omen "$file"
    for threads in 1 3 8; do
        omendb query -t $threads "$@" --distances -o found.tsv expected.omen "$file"
        cmp expected.tsv found.tsv || fault "other results with $threads threads"
    done
    for level in $levels; do
        omendb query --cpu $level "$@" --distances -o found.tsv expected.omen "$file"
        cmp expected.tsv found.tsv || fault "other results at level $level"
    done
}

@test "fashion-mnist: one index for -t 1, 2, 3, 8 and every SIMD level" {
    plain_only
    fashion
    vectors first $((${OMENDB_TEST_ROWS:-60000} / 2)) "$base" half.idx
    levels=${levels/scalar/} check_index half.idx
    cp expected.omen "$BATS_FILE_TMPDIR"
    # many times slower than the others
    vectors first $((${OMENDB_TEST_ROWS:-60000} / 10)) "$base" part.idx
    omendb build -q -o expected.omen part.idx
    check_levels scalar part.idx
}

@test "fashion-mnist: one result for -t 1, 2, 3, 8 and every SIMD level" {
    plain_only
    fashion
    cp "$BATS_FILE_TMPDIR/expected.omen" .
    check_results "$queries"
    vectors first 100 "$queries" few.idx
    check_results few.idx --exact
}

@test "fashion-mnist: other codecs, metrics and refine tiers, on 1,000 rows" {
    plain_only
    vectors first 1000 "$images/train-images-idx3-ubyte.gz" base.idx
    vectors first 200 "$images/t10k-images-idx3-ubyte.gz" queries.idx
    vectors first 300 "$images/train-images-idx3-ubyte.gz" part.idx
    while read -r options; do
        omendb build -q $options -o expected.omen part.idx
        check_levels scalar part.idx $options
        levels=${levels/scalar/} check_index base.idx $options
        check_results queries.idx
        [[ $options != *--graph* ]] || check_results queries.idx --way graph
    done < <(some 1 "-c rabitq -r f16 --graph" "-m cosine -c pq -b 7 -r f32" "-m ip -c rabitq -r none -l 3")
}

@test "7 rows of 13 dimensions: one index and one result for every metric, codec and refine tier" {
    plain_only
    for metric in l2 ip cosine; do
        for options in "--graph" "-c rabitq" "-c none -r f16" "-c rabitq -r f32" "-r none"; do
            check_index "$BATS_FILE_TMPDIR/small.npy" -m $metric $options
            check_results "$BATS_FILE_TMPDIR/small-queries.npy"
        done
    done
}

@test "results do not depend on how queries are batched" {
    vectors first 1000 "$images/train-images-idx3-ubyte.gz" base.idx
    vectors first 40 "$images/t10k-images-idx3-ubyte.gz" queries.idx
    omendb build -q base.idx
    omendb query --distances -o expected.tsv base.omen queries.idx
    for i in 0 1 17 39; do
        tail -c +$((17 + 784 * i)) queries.idx | head -c 784 >one
        { printf '\001\000\000\000\020\003\000\000'; cat one; } >one.u8bin
        omendb query --distances base.omen one.u8bin >found.tsv
        awk -v i=$i -v OFS='\t' '$1 == i { $1 = 0; print }' expected.tsv | cmp - found.tsv
    done
}

@test "avx512 runs here, so the tests above cover it" {
    run omendb build -q --cpu avx512 -o avx512.omen "$BATS_FILE_TMPDIR/small.npy"
    [ "$status" -eq 0 ] || skip "$output"
}

# The sums of golden.sums for this program: of rows that every machine makes alike, built with each line's options.
golden_sums()
{
    vectors make long.fvecs -n 3000 -d 40 --kind walk
    vectors make wide.fvecs -n 700 -d 600 --kind walk
    vectors make few.fvecs -n 90 -d 200 --kind walk
    while read -r _ file options; do
        omendb build -q -t 2 $options -o golden.omen "$file"
        echo "$(sha256sum <golden.omen | cut -d ' ' -f 1) $file${options:+ $options}"
    done <"$tests_dir/cli/golden.sums"
}

# OMENDB_RENEW_SUMS=1 writes golden.sums anew, where the bytes of an index have changed on purpose.
@test "indexes are those of other machines and compilers (golden.sums)" {
    plain_only
    golden_sums >found.sums
    if [ -n "${OMENDB_RENEW_SUMS-}" ]; then
        cp found.sums "$tests_dir/cli/golden.sums"
    fi
    diff "$tests_dir/cli/golden.sums" found.sums
}
