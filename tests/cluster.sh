#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# An index made in steps by the jobs of a real Slurm, and by GNU parallel: the bytes of one build, also after tasks were
# killed, requeued, preempted and run twice, and a merge was killed. Starts munged, slurmctld and three slurmd on this
# host, loopback only, which needs root; the programs are $OMENDB and $OMENDB_FAULT (default: those of build/).
# Takes some 25 seconds, of which a requeued task waits six and a preempted one for the end of its grace time.
# Prints "ok - name" or "not ok - name: why"; what cannot be tested here is skipped. Exits 1 if anything is not ok.
set -u
here=$(cd "$(dirname "$0")" && pwd)
omendb=$(realpath "${OMENDB:-$here/../build/cmd/omendb}") || exit 1
faulty=$(realpath "${OMENDB_FAULT:-$here/../build/tests/omendb-fault}") || exit 1
n_shards=8
failed=0

dir=$(mktemp -d) || exit 1
chmod 755 "$dir" # munged looks at who may write there
cd "$dir" || exit 1

# the pid in a file, unless it is another program's by now
pid_of()
{
    [ -s "$1" ] && read -r pid <"$1" || return 1
    case $(cat "/proc/$pid/comm" 2>/dev/null) in "$2"*) echo "$pid" ;; *) return 1 ;; esac
}

# stop PID...: waits until they are gone
stop()
{
    [ $# -gt 0 ] || return 0
    kill -TERM "$@" 2>/dev/null
    for pid; do
        n=0
        while kill -0 "$pid" 2>/dev/null && [ $n -lt 100 ]; do
            n=$((n + 1))
            [ $n -ne 50 ] || kill -KILL "$pid" 2>/dev/null
            sleep 0.1
        done
    done
}

# jobs first, or what they run outlives the daemons
clean_up()
{
    if [ -f slurm.conf ] && pid_of slurmctld.pid slurmctld >/dev/null; then
        timeout 5 scancel -u "$(id -un)" 2>/dev/null
        timeout 10 sh -c 'while [ -n "$(squeue -h)" ]; do sleep 0.1; done'
    fi
    # shellcheck disable=SC2046 # a word for each
    stop $(for node in n1 n2 n3; do pid_of slurmd.$node.pid slurmd; done) $(pid_of slurmctld.pid slurmctld)
    # shellcheck disable=SC2046
    stop $(pid_of munge/pid munged)
    cd / && rm -rf "$dir"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# verdict NAME WHY: WHY is empty where nothing was wrong
verdict()
{
    if [ -z "$2" ]; then
        echo "ok - $1"
    else
        echo "not ok - $1: $2"
        failed=1
    fi
}

start_slurm()
{
    mkdir -p state log spool/n1 spool/n2 spool/n3 munge || return 1
    # Slurm looks names up with AI_ADDRCONFIG, which finds none where 127.0.0.1 is the only address
    ip link set lo up 2>/dev/null
    [ -n "$(ip -4 -o addr | grep -v ' 127\.0\.0\.1/')" ] || ip addr add 127.0.0.2/8 dev lo || return 1
    host=$(hostname)
    port=$((20000 + $$ % 10000))
    sed -e "s|@DIR@|$dir|g" -e "s|@HOST@|${host%%.*}|g" -e "s|@PORT0@|$port|" -e "s|@PORT1@|$((port + 1))|" \
        -e "s|@PORT2@|$((port + 2))|" -e "s|@PORT3@|$((port + 3))|" "$here/slurm/slurm.conf.in" >slurm.conf || return 1
    (umask 077 && head -c 1024 /dev/urandom >munge/key) || return 1
    munged --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" --pid-file="$dir/munge/pid" \
        --log-file="$dir/munge/log" --seed-file="$dir/munge/seed" --num-threads=2 2>munge/errors || return 1
    slurmctld -c || return 1
    for node in n1 n2 n3; do
        slurmd -N $node || return 1
    done
    n=0
    until [ "$(timeout 2 sinfo -h -N -p work -o %t 2>/dev/null | grep -c '^idle$')" = 3 ]; do
        n=$((n + 1))
        [ $n -lt 100 ] || return 1
        sleep 0.1
    done
}

# until no task of a job is left
wait_for()
{
    n=0
    while [ -n "$(squeue -h -j "$1" 2>/dev/null)" ]; do
        n=$((n + 1))
        [ $n -lt 300 ] || return 1
        sleep 0.1
    done
}

# What each task of the array runs, as docs/CLUSTER.md has it. The first time task 3 is killed, task 5 is requeued half
# done, task 2 runs twice at once; 6 and 7 stop half done, and 7 has an urgent job take all nodes. Both get a TERM then:
# 6 goes on and ends with 143, which is for its script to requeue; 7 stays stopped until Slurm kills and requeues it.
write_task()
{
    cat >encode.sh <<END
#!/bin/sh
set -- build -q -t 1 --model $dir/m.model --shard "\$SLURM_ARRAY_TASK_ID/$n_shards" --chunk-rows 10 -o $dir/parts/
run=$omendb
first=$dir/began.\$SLURM_ARRAY_TASK_ID
if [ ! -e "\$first" ]; then
    touch "\$first"
    case \$SLURM_ARRAY_TASK_ID in
    2) $omendb "\$@" & ;;
    3) OMEN_FAULT=kill:60 exec $faulty "\$@" ;;
    5)
        OMEN_FAULT=kill:60 $faulty "\$@"
        ls $dir/parts/shard-00005*.part >>$dir/half
        scontrol requeue "\$SLURM_JOB_ID"
        exec sleep 60
        ;;
    6 | 7)
        export OMEN_FAULT=stop:60
        run=$faulty
        ;;
    esac
else
    echo "\$SLURM_ARRAY_TASK_ID \$SLURM_RESTART_COUNT" >>$dir/restarts
fi
\$run "\$@" &
pid=\$!
trap 'kill -TERM \$pid' TERM
[ "\$run" = $omendb ] || $dir/interrupt.sh \$pid &
wait \$pid
code=\$?
[ \$code -ne 143 ] || { wait \$pid; code=\$?; }
if [ \$code -eq 143 ]; then
    echo "\$SLURM_ARRAY_TASK_ID" >>$dir/stopped
    scontrol requeue "\${SLURM_ARRAY_JOB_ID}_\$SLURM_ARRAY_TASK_ID"
fi
wait
exit \$code
END
    cat >interrupt.sh <<END
#!/bin/sh
until grep -q '^State:.T' /proc/\$1/status; do sleep 0.1; done
if [ \$SLURM_ARRAY_TASK_ID = 6 ]; then
    touch $dir/ready
    until grep -q '^ShdPnd:.*[4-7c-f]...\$' /proc/\$1/status; do sleep 0.1; done # a TERM that waits
    kill -CONT \$1
else
    until [ -e $dir/ready ] && [ -e $dir/half ] &&
        ! squeue -r -h -j "\$SLURM_ARRAY_JOB_ID" -o %K | grep -qv '[567]'; do sleep 0.1; done
    sbatch -p urgent -N 3 --exclusive -o $dir/urgent.log --wrap "ls $dir/parts/"
fi
END
    chmod 755 encode.sh interrupt.sh
}

run_slurm()
{
    mkdir parts
    write_task
    train=$(sbatch --parsable -o train.log --wrap "$omendb train -q -o $dir/m.model $dir/base.u8bin") || return 1
    # afterany and not afterok, of jobs that may fail
    array=$(sbatch --parsable --dependency=afterok:"$train" --array=0-$((n_shards - 1)) --requeue --open-mode=append \
        --signal=B:TERM@120 -o encode.log "$dir/encode.sh") || return 1
    merge="merge -q --model $dir/m.model -o $dir/all.omen $dir/parts/"
    early=$(sbatch --parsable --dependency=afterany:"$array" -o early.log --wrap "$omendb $merge; echo exit \$?") ||
        return 1
    wait_for "$early" || return 1
    grep -q 'exit 6' early.log && grep -q '1 of 8 shards is missing: 3' early.log ||
        echo "the merge without shard 3: $(cat early.log encode.log)"
    [ -s half ] || echo "task 5 was not half done when it was requeued"
    for task in 6 7; do
        grep -q "shard-0000$task.*\.part" urgent.log || echo "task $task was not half done when it was preempted"
    done
    grep -qx 6 stopped || echo "task 6 did not end with 143 in its grace time"
    grep -q 'preempted JobId=[0-9]*_7(.* requeued' log/slurmctld.log || echo "task 7 was not preempted"
    for task in 5 6 7; do
        grep -q "^$task [1-9]" restarts || echo "task $task was not started again"
    done
    again=$(sbatch --parsable --array=3 -o again.log "$dir/encode.sh") || return 1
    killed=$(sbatch --parsable --dependency=afterok:"$again" -o killed.log \
        --wrap "OMEN_FAULT=kill:150 $faulty $merge") || return 1
    last=$(sbatch --parsable --dependency=afterany:"$killed" -o last.log --wrap "$omendb $merge") || return 1
    wait_for "$last" || return 1
    cmp whole.omen all.omen 2>&1 || cat ./*.log
    [ ! -e all.omen.tmp ] || echo "a temporary is left"
}

# The third task is killed; the same line makes it, and no other.
run_parallel()
{
    mkdir local
    "$omendb" train -q -o local.model base.u8bin
    cat >one.sh <<END
#!/bin/sh
shard=\$1/$n_shards
set -- build -q -t 1 --model $dir/local.model --shard "\$shard" --chunk-rows 10 -o $dir/local/
if [ "\$shard" = 2/$n_shards ] && [ ! -e $dir/began ]; then
    touch $dir/began
    OMEN_FAULT=kill:60 exec $faulty "\$@"
fi
echo "\$shard" >>$dir/ran
exec $omendb "\$@"
END
    chmod 755 one.sh
    seq 0 $((n_shards - 1)) | parallel --will-cite --joblog jobs.log --resume-failed -j 2 ./one.sh >/dev/null 2>&1
    seq 0 $((n_shards - 1)) | parallel --will-cite --joblog jobs.log --resume-failed -j 2 ./one.sh
    [ "$(wc -l <ran)" -eq $n_shards ] || echo "ran: $(cat ran)"
    "$omendb" merge -q --model local.model -o local.omen local/
    cmp whole.omen local.omen 2>&1
}

python3 -c '
import random, struct
random.seed(1)
open("base.u8bin", "wb").write(struct.pack("<II", 3000, 16) + random.randbytes(48000))'
"$omendb" build -q -o whole.omen base.u8bin || exit 1

# beside Slurm, most of which is waiting for its scheduler
has_parallel=
if command -v parallel >/dev/null; then
    has_parallel=1
    run_parallel >parallel.said 2>&1 &
    parallel_job=$!
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "ok - Slurm # SKIP not root"
elif ! command -v slurmctld slurmd munged sbatch ip >/dev/null; then
    echo "ok - Slurm # SKIP no slurmctld, slurmd, munged, sbatch or ip"
else
    SLURM_CONF=$dir/slurm.conf
    export SLURM_CONF
    if ! start_slurm >start.log 2>&1; then
        echo "ok - Slurm # SKIP it does not start here: $(tail -n 1 start.log log/*.log 2>/dev/null | tail -n 1)"
    else
        verdict "Slurm: an array of $n_shards, tasks killed, requeued, preempted and run twice, a merge killed" \
            "$(run_slurm || echo "it did not end")"
    fi
fi
if [ -z "$has_parallel" ]; then
    echo "ok - GNU parallel # SKIP no parallel"
else
    wait $parallel_job
    verdict "GNU parallel: a task killed, and --resume-failed" "$(cat parallel.said)"
fi
exit $failed
