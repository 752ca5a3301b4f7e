# omendb bench: recall, the JSON result, the gate. Nothing here depends on time.

load helper

quick="--runs 1 --min-time 0 -q"

setup() {
    cd "$BATS_TEST_TMPDIR"
    vectors make b.fvecs -n 3000 -d 12
    omendb build -q b.fvecs
}

@test "bench of an index with its base prints JSON with recall by both definitions" {
    omendb bench $quick --json --recall 0.9 b.omen --base b.fvecs --queries b.fvecs >r.json
    python3 -c 'import json
r = json.load(open("r.json"))
assert r["schema"] == "omendb-bench/1"
assert r["points"][0]["recall_by_id"] >= 0.8, r["points"][0]'
}

@test "bench builds an index from the base, held-out rows as queries, and leaves nothing behind" {
    before=$(ls)
    omendb bench $quick --json --recall 0.95 --base b.fvecs --held-out 50 >"$BATS_TEST_TMPDIR/../r.json"
    [ "$(ls)" = "$before" ]
}

@test "the gate passes an equal index and names recall for a worse one" {
    omendb bench $quick --json --recall 0.95 b.omen --base b.fvecs --queries b.fvecs >was.json
    omendb bench $quick --recall 0.95 b.omen --base b.fvecs --queries b.fvecs --baseline was.json
    omendb build -q -b 4 -r none -o worse.omen b.fvecs
    run omendb bench $quick --recall 0.95 worse.omen --base b.fvecs --queries b.fvecs --baseline was.json
    [ "$status" -ne 0 ]
}

@test "bench without queries is misuse" {
    run omendb bench b.omen
    [ "$status" -eq 2 ]
}
