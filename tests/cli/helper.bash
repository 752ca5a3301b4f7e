# SPDX-License-Identifier: Apache-2.0
# What the CLI tests share. Each test runs in an empty directory of its own.
#
#   OMENDB            the program (default: build/cmd/omendb)
#   OMENDB_TEST_ROWS  rows of fashion-mnist to use (default: all 60,000), for slow builds
#   OMENDB_TEST_DATA  a directory with glove-100/ and sift-128/ (default: tests that need it are skipped)

bats_require_minimum_version 1.5.0

tests_dir=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
OMENDB=${OMENDB:-$tests_dir/../build/cmd/omendb}
export OMENDB
export OMP_WAIT_POLICY=passive # tests run more threads than there are processors
images=/usr/share/datasets/fashion-mnist

setup()
{
    mkdir "$BATS_TEST_TMPDIR/empty" # bats keeps files of its own beside it
    cd "$BATS_TEST_TMPDIR/empty"
}

omendb()
{
    "$OMENDB" "$@"
}

vectors()
{
    python3 "$tests_dir/cli/vectors.py" "$@"
}

# expect CODE COMMAND...: the command exits with CODE; sets output and stderr.
expect()
{
    local code=$1
    shift
    run --separate-stderr "-$code" "$@"
}

# fails_with CODE TEXT COMMAND...: it exits with CODE, prints nothing on stdout and one line on stderr, with TEXT in it.
fails_with()
{
    local code=$1 text=$2
    shift 2
    expect "$code" "$@"
    has "$stderr" "$text"
    [ -z "$output" ] || fault "standard output is not empty: $output"
    [ "${#stderr_lines[@]}" -eq 1 ] || fault "more than one line: $stderr"
}

fault()
{
    printf '%s\n' "$*" >&2
    return 1
}

# plain_only: skips, under a sanitizer, what takes long there and runs no code that other tests do not.
plain_only()
{
    [ -z "${OMEN_TEST_QUICK-}" ] || skip "too slow under a sanitizer"
}

# some N WORD...: the words, but under a sanitizer only the first N.
some()
{
    local n=$1
    shift
    [ -n "${OMEN_TEST_QUICK-}" ] || n=$#
    printf '%s\n' "${@:1:n}"
}

# has TEXT PART
has()
{
    case $1 in
    *"$2"*) ;;
    *) fault "not in it: $2
it is: $1" ;;
    esac
}

# only FILE...: exactly these are in the directory, in the order of ls.
only()
{
    local want got
    want=$(printf '%s\n' "$@")
    got=$(LC_ALL=C ls -A)
    [ "$want" = "$got" ] || fault "there is: $got"
}

# same GOT WANT: equal, where a tab counts as a space.
same()
{
    [ "${1//$'\t'/ }" = "$2" ] || fault "$1
is not
$2"
}

hash_of()
{
    sha256sum <"$1"
}

# member JSON PATH: a value of a JSON text, such as seconds.total or indexes.0.sound.
member()
{
    python3 -c '
import json, sys
value = json.loads(sys.argv[1])
for key in sys.argv[2].split("."):
    value = value[int(key) if isinstance(value, list) else key]
print(json.dumps(value))' "$1" "$2"
}

# at_least FLOOR VALUE
at_least()
{
    awk -v floor="$1" -v value="$2" 'BEGIN { exit !(value != "" && value >= floor) }' || fault "$2 is below $1"
}

# fashion: makes $base and $queries of fashion-mnist, once for all tests.
fashion()
{
    local directory=$BATS_RUN_TMPDIR/fashion n_queries=10000
    base=$directory/base.idx
    queries=$directory/queries.idx
    if [ "${OMENDB_TEST_ROWS:-60000}" -lt 60000 ]; then
        n_queries=500
    fi
    if [ ! -d "$directory" ]; then
        mkdir "$directory"
        vectors first "${OMENDB_TEST_ROWS:-60000}" "$images/train-images-idx3-ubyte.gz" "$base"
        vectors first $n_queries "$images/t10k-images-idx3-ubyte.gz" "$queries"
    fi
}

# python_with MODULE...: a Python that has them.
python_with()
{
    for python in python3 /usr/bin/python3; do
        # shellcheck disable=SC2048,SC2086 # a list of words
        if command -v $python >/dev/null && $python -c "$(printf 'import %s\n' sys $*)" 2>/dev/null; then
            command -v $python
            return
        fi
    done
    return 1
}

# recall EXACT.tsv FOUND.tsv: the share of exact neighbours that were found.
recall()
{
    awk 'NR == FNR { exact[$1, $3]; next } ($1, $3) in exact { n++ } END { printf "%.4f", n / FNR }' "$1" "$2"
}
