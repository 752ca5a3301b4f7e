# SPDX-License-Identifier: Apache-2.0
# Recall at default effort on real data. A floor is of recall@10 against exact search, or against the set's own truth.
load helper

# check_fashion METRIC OPTION...: sets share.
check_fashion()
{
    local metric=$1
    shift
    fashion
    omendb build -q -m $metric "$@" -o base.omen "$base"
    # of the refine tier and metric only, so that the codecs share it
    if [ ! -e "$BATS_FILE_TMPDIR/$metric.tsv" ]; then
        omendb query --exact -o "$BATS_FILE_TMPDIR/$metric.tsv" base.omen "$queries"
    fi
    omendb query -o found.tsv base.omen "$queries"
    share=$(recall "$BATS_FILE_TMPDIR/$metric.tsv" found.tsv)
    echo "recall@10 $share"
}

@test "fashion-mnist: defaults reach 0.95" {
    check_fashion l2
    at_least 0.95 "$share"
}

@test "fashion-mnist: -c pq reaches 0.95" {
    check_fashion l2 -c pq
    at_least 0.95 "$share"
}

@test "fashion-mnist: -c rabitq reaches 0.95" {
    check_fashion l2 -c rabitq
    at_least 0.95 "$share"
}

@test "fashion-mnist: -c none reaches 0.95" {
    plain_only
    check_fashion l2 -c none
    at_least 0.95 "$share"
}

@test "fashion-mnist: the graph reaches 0.95 and 0.99" {
    plain_only
    fashion
    omendb build -q --graph -o base.omen "$base"
    [ -e "$BATS_FILE_TMPDIR/l2.tsv" ] || omendb query --exact -o "$BATS_FILE_TMPDIR/l2.tsv" base.omen "$queries"
    for wanted in 0.95 0.99; do
        omendb query --way graph --recall $wanted -o found.tsv base.omen "$queries"
        share=$(recall "$BATS_FILE_TMPDIR/l2.tsv" found.tsv)
        echo "recall@10 $share"
        at_least $wanted "$share"
    done
}

@test "fashion-mnist: -m cosine reaches 0.95" {
    plain_only
    check_fashion cosine
    at_least 0.95 "$share"
}

@test "heavy tails, outliers, offset columns, ties: defaults reach 0.95 on data as it comes" {
    plain_only
    /usr/bin/python3 -c 'import numpy' 2>/dev/null || skip "no numpy"
    kinds="cauchy lognormal1 lognormal2 sparse l2-huge-several ip-huge-1e9 ip-huge-several ip-lognormal2 half-equal
        half-zero"
    # shellcheck disable=SC2086 # a list of words
    /usr/bin/python3 "$tests_dir/cli/kinds.py" check 0.94 4000 24 1 -r f32 -- $kinds
}

check_shared()
{
    local set=$OMENDB_TEST_DATA/$1 suffix=$2
    shift 2
    for name in base.$suffix query.$suffix gt.ivecs; do
        zstd -dqc "$set/$name.zst" >$name
    done
    omendb build -q "$@" base.$suffix
    omendb query -o found.tsv base.omen query.$suffix
    omendb query --exact -o exact.tsv base.omen query.$suffix
    share=$(vectors recall 10 gt.ivecs found.tsv)
    exact_share=$(vectors recall 10 gt.ivecs exact.tsv)
    echo "recall@10 $share, exact search of the refine tier $exact_share"
}

@test "GloVe-100: defaults reach 0.95, exact search of the refine tier 0.98" {
    [ -n "${OMENDB_TEST_DATA-}" ] || skip "OMENDB_TEST_DATA is not set"
    check_shared glove-100 fvecs -m cosine
    at_least 0.95 "$share"
    at_least 0.98 "$exact_share"
}

@test "SIFT: defaults reach 0.95, exact search of the refine tier 0.99" {
    [ -n "${OMENDB_TEST_DATA-}" ] || skip "OMENDB_TEST_DATA is not set"
    check_shared sift-128 bvecs
    at_least 0.95 "$share"
    at_least 0.99 "$exact_share"
}

@test "queries unlike the rows find about what is asked for" {
    plain_only
    /usr/bin/python3 -c 'import numpy' 2>/dev/null || skip "no numpy"
    /usr/bin/python3 -c '
import numpy as np
rng = np.random.default_rng(5)
centres, noise = rng.standard_normal((60, 32)) * 1.5, rng.standard_normal((12500, 32)) * np.linspace(1.5, .2, 32)
x = centres[rng.integers(60, size=12500)] + noise
np.save("base.npy", x[:12000].astype(np.float32))
np.save("q.npy", x[12000:].astype(np.float32))'
    # the same effort for every query was .06 (noise 2) to .28 (rotated) short
    /usr/bin/python3 "$tests_dir/recall/shifts.py" "$OMENDB" base.npy q.npy --other q.npy -n 200 --least real=-0.02 \
        "noise 1=-0.05" "noise 2=-0.05" "noise 4=-0.05" mixture=-0.05 dropped=-0.05 dense=-0.05 sparse=-0.05 \
        gaussian=-0.15 scaled=-0.15 rotated=-0.15
}

@test "queries that are about as far from all rows are searched again" {
    plain_only
    /usr/bin/python3 -c 'import numpy' 2>/dev/null || skip "no numpy"
    /usr/bin/python3 -c '
import numpy as np
rng = np.random.default_rng(1)
n, d, scales = 20600, 64, (1 + np.arange(64)) ** -.7
centres, weights = rng.standard_normal((60, d)) * scales, rng.lognormal(0, 1, 60)
x = centres[rng.choice(60, n, p=weights / weights.sum())]
x = x + .35 * rng.standard_normal((n, d)) * scales * rng.lognormal(0, .5, (n, 1))
np.save("base.npy", x[:20000].astype(np.float32))
np.save("q.npy", x[20000:].astype(np.float32))'
    # searched once, noise 4 is .095 short, dropped .071, gaussian .085, sparse .048
    /usr/bin/python3 "$tests_dir/recall/shifts.py" "$OMENDB" base.npy q.npy --metric cosine -n 300 --least real=-0.01 \
        "noise 1=-0.03" "noise 2=-0.04" "noise 4=-0.075" mixture=-0.05 dropped=-0.055 sparse=-0.04 gaussian=-0.065
}
