# SPDX-License-Identifier: Apache-2.0
# omendb completion: what shells offer.
load helper

# offers WORD...: what bash offers for the last word, sorted and in one line
offers()
{
    bash -c '
        source <("$OMENDB" completion bash)
        COMP_WORDS=(omendb "$@")
        COMP_CWORD=$#
        _omendb
        printf "%s\n" "${COMPREPLY[@]}"' offers "$@" | sort | paste -sd ' '
}

@test "bash: commands, options, values" {
    same "$(offers b)" "bench build"
    same "$(offers '')" "--help --version attach bench build completion compress help info merge query train verify"
    same "$(offers help v)" "verify"
    same "$(offers build --me)" "--memory --metric"
    same "$(offers build -m '')" "cosine ip l2"
    same "$(offers build x.npy --metric c)" "cosine"
    same "$(offers build --codec = '')" "auto none pq rabitq"
    same "$(offers build --codec =)" "auto none pq rabitq"
    same "$(offers compress --codec '')" "auto f16 pq rabitq sq8"
    same "$(offers query --way '')" "auto exact graph lists"
    same "$(offers query -F '')" "csv hdf5 ibin ivecs jsonl npy npz tsv"
    has "$(offers query --format '')" "fvecs"
    same "$(offers compress -F '')" "fbin fvecs npy raw"
    same "$(offers query --cpu av)" "avx2 avx512 avx512vnni"
    same "$(offers query --recall '')" ""
    same "$(offers completion '')" "bash fish zsh"
}

@test "bash: every option of --help is offered" {
    for command in attach bench build completion compress info merge query train verify; do
        omendb $command --help | grep -oE '^ {2,8}(-[A-Za-z], )?--[a-z-]+' | grep -oE -- '--[a-z-]+' | sort >listed
        offers $command -- | tr ' ' '\n' >offered
        [ -s listed ]
        comm -23 listed offered | grep . && fault "$command does not offer these"
    done
    true
}

@test "bash: files by their kind, and any where there are none of it" {
    touch v.fvecs v.npy i.omen z.omz t.tsv 'a b.npy' notes
    mkdir sub
    same "$(offers verify '')" "i.omen sub z.omz"
    same "$(offers build v)" "v.fvecs v.npy"
    same "$(offers build a)" "a b.npy"
    same "$(offers build n)" "notes"
    same "$(offers build --columns '')" "sub t.tsv"
    same "$(offers build --output n)" "notes"
    same "$(offers bench --baseline-binary n)" "notes"
    same "$(offers query '')" "a b.npy i.omen sub t.tsv v.fvecs v.npy z.omz"
    same "$(offers info no)" "notes"
}

@test "zsh and fish: they can read it, and fish completes" {
    omendb completion zsh >c.zsh
    omendb completion fish >c.fish
    if command -v zsh >/dev/null; then
        zsh -n c.zsh
    fi
    command -v fish >/dev/null || skip "no fish"
    fish -n c.fish
    same "$(fish -c 'source c.fish; complete -C"omendb build --metric "' | cut -f 1 | paste -sd ' ')" "cosine ip l2"
    same "$(fish -c 'source c.fish; complete -C"omendb ver"' | cut -f 1)" "verify"
}

@test "other shells, and none" {
    fails_with 2 "one shell is wanted: bash, zsh or fish" omendb completion
    fails_with 2 "one shell is wanted" omendb completion bash zsh
    fails_with 2 'there is no completion for "tcsh", only for bash, zsh or fish' omendb completion tcsh
}
