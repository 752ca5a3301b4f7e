# The same bytes and the same results for any number of threads and any SIMD level.
load helper

levels()
{
    for level in scalar avx2 avx512 neon; do
        if omendb build -q --cpu $level -o probe.omen small.npy 2>/dev/null; then
            echo $level
        fi
    done
    rm -f probe.omen
}

small()
{
    vectors make small.npy -n 7 -d 13 --kind gauss
    vectors make small-queries.npy -n 5 -d 13 --kind gauss --seed 2
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
    for level in $(levels); do
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
    for level in $(levels); do
        omendb query --cpu $level "$@" --distances -o found.tsv expected.omen "$file"
        cmp expected.tsv found.tsv || fault "other results at level $level"
    done
}

@test "fashion-mnist: one index for -t 1, 2, 3, 8 and every SIMD level" {
    fashion
    small
    check_index "$base"
    cp expected.omen "$BATS_FILE_TMPDIR"
}

@test "fashion-mnist: one result for -t 1, 2, 3, 8 and every SIMD level" {
    fashion
    small
    cp "$BATS_FILE_TMPDIR/expected.omen" .
    check_results "$queries"
    vectors first 300 "$queries" few.idx
    check_results few.idx --exact
}

@test "fashion-mnist: every codec, metric and refine tier, on 3,000 rows" {
    small
    vectors first 3000 "$images/train-images-idx3-ubyte.gz" base.idx
    vectors first 200 "$images/t10k-images-idx3-ubyte.gz" queries.idx
    for options in "-c rabitq -r f16" "-m cosine -c pq -b 7 -r f32" "-m ip -c rabitq -b 64" "-c none" "-r none -l 1"; do
        check_index base.idx $options
        check_results queries.idx
    done
}

@test "7 rows of 13 dimensions: one index and one result, every codec, metric and refine tier" {
    small
    for metric in l2 ip cosine; do
        for options in "" "-c pq" "-c rabitq" "-c none" "-r f16" "-r f32" "-r none"; do
            check_index small.npy -m $metric $options
            check_results small-queries.npy
        done
    done
}

@test "results do not depend on how queries are batched" {
    fashion
    vectors first 3000 "$images/train-images-idx3-ubyte.gz" base.idx
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

@test "avx512 runs here" {
    small
    run omendb build -q --cpu avx512 small.npy
    [ "$status" -eq 0 ] || skip "$output"
}
