#!/usr/bin/env bash
# One search on Slurm: a Ray cluster over the job's nodes, and the driver on the first of them.
#
#   sbatch deploy/slurm.sh RUN EXPERIMENT [options of dipsearch launch]
#
# A run that exists is resumed, so the same line continues a search; its --trials, --hours and
# --accept-changes count as for `dipsearch resume`, and other options are left out. Slurm resumes too
# when it starts the job again: by itself after a preemption or a dead node, and on this script's
# request shortly before the time limit. RUNS_DIR (default: runs) must be accessible from all nodes.
# --name, --runs-dir and --address are refused: with them, a later job would not find the run.
# Submit from a shell that finds `dipsearch` and `ray`; see docs/cluster.md.
#SBATCH --job-name=dipsearch
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --exclusive
#SBATCH --time=08:00:00
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=dipsearch-%j.log
set -euo pipefail

if (($# < 2)); then
    echo "usage: sbatch deploy/slurm.sh RUN EXPERIMENT [options of dipsearch launch]" >&2
    exit 2
fi
run=$1 experiment=$2
shift 2
launched_with=()
for option; do
    if [[ $option != --accept-changes ]]; then launched_with+=("$option"); fi
done
runs_dir=${RUNS_DIR:-runs}
nodes=$SLURM_JOB_NUM_NODES

refuse() {
    echo "$1" >&2
    exit 2
}

storage=() accepted=() extended_by=() left_out=()
while (($#)); do
    case $1 in
        --storage) storage=("${@:1:2}") && shift ;;
        --storage=*) storage=("$1") ;;
        --accept-changes) accepted=("$1") ;;
        --trials | --hours) extended_by+=("${@:1:2}") && shift ;;
        --trials=* | --hours=*) extended_by+=("$1") ;;
        --name | --name=*) refuse "leave out --name: the first argument is the name of the run" ;;
        --runs-dir | --runs-dir=*) refuse "leave out --runs-dir: set RUNS_DIR instead" ;;
        --address | --address=*) refuse "leave out --address: this script starts its own cluster" ;;
        *) left_out+=("$1") ;;
    esac
    shift || true
done
# A job that is started again goes on with what the run was asked for last.
if ((${SLURM_RESTART_COUNT:-0})); then extended_by=() left_out=(); fi

on_disk=$runs_dir
until [[ -e $on_disk || $runs_dir == *://* ]]; do on_disk=$(dirname "$on_disk"); done
if [[ -z ${DIPSEARCH_STORAGE:-} && ${#storage[@]} == 0 && $runs_dir != *://* &&
    $(stat --file-system --format=%T "$on_disk") == nfs* ]]; then
    echo "$runs_dir is on NFS, where SQLite loses writes: set DIPSEARCH_STORAGE" >&2
    exit 2
fi

# A token for this job only, kept in the environment of its processes and nowhere else.
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0

# The address at which the other nodes reach the first one; Ray must not listen on all interfaces.
# awk reads its input to the end: if it stopped early, the program that writes would fail, and with
# it this script.
mapfile -t names < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
first=${names[0]}
ip=$(getent ahostsv4 "$first" | awk '$1 !~ /^127\./ && !found++ {print $1}') || true
if [[ -z $ip ]]; then
    echo "$first has no IPv4 address but loopback in the hosts database: Ray cannot listen there" >&2
    exit 1
fi
address=$ip:${RAY_PORT:=6379}

steps=() driver="" requeue=false stopping=false

stop() {
    stopping=true
    if [[ -n $driver ]]; then kill -TERM "$driver" 2> /dev/null || true; fi
}
trap stop TERM INT
trap 'requeue=true; stop' USR1
# `ray start --block` ends what it started when its step gets SIGTERM.
trap 'kill -TERM "${steps[@]}" 2> /dev/null || true; wait' EXIT

cpus=${SLURM_CPUS_PER_TASK:-1}
resources=(--num-cpus="$cpus" --num-gpus="${SLURM_GPUS_ON_NODE:-0}")
common=(--temp-dir="/tmp/ray-$SLURM_JOB_ID" --block)
# Only the driver needs these; Ray's processes, which run code of others, do not inherit them.
hidden=(-u DIPSEARCH_STORAGE -u PGPASSWORD -u AWS_SECRET_ACCESS_KEY -u AWS_SESSION_TOKEN
    -u MLFLOW_TRACKING_PASSWORD -u MLFLOW_TRACKING_TOKEN -u WANDB_API_KEY)
env "${hidden[@]}" srun --overlap --nodes=1 --ntasks=1 --cpus-per-task="$cpus" --nodelist="$first" \
    ray start --head --node-ip-address="$ip" --port="$RAY_PORT" --include-dashboard=false \
    "${resources[@]}" "${common[@]}" &
steps+=($!)
if ((nodes > 1)); then
    env "${hidden[@]}" srun --overlap --nodes=$((nodes - 1)) --ntasks=$((nodes - 1)) --cpus-per-task="$cpus" \
        --exclude="$first" \
        ray start --address="$address" "${resources[@]}" "${common[@]}" &
    steps+=($!)
fi

# `auto` counts the GPUs that exist when the driver starts, so wait for all nodes.
count='import sys, ray
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
sys.exit(sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[2]))'
deadline=$((SECONDS + ${START_SECONDS:-300}))
until timeout 60 python3 -c "$count" "$address" "$nodes" 2> /dev/null; do
    if $stopping; then break; fi
    if ((SECONDS >= deadline)); then
        echo "Ray did not start on $nodes nodes; the lines above may say why" >&2
        exit 1
    fi
    sleep 2
done

status=130
if ! $stopping; then
    if dipsearch status "$run" --runs-dir "$runs_dir" "${storage[@]}" > /dev/null 2>&1; then
        if ((${#left_out[@]})); then echo "$run exists: left out ${left_out[*]}" >&2; fi
        dipsearch resume "$run" --runs-dir "$runs_dir" --address "$address" "${storage[@]}" \
            "${accepted[@]}" "${extended_by[@]}" &
    else
        dipsearch launch "$experiment" --name "$run" --runs-dir "$runs_dir" \
            --address "$address" "${launched_with[@]}" &
    fi
    driver=$!
    # A signal that arrived after the check above and before this line found no driver to stop.
    if $stopping; then stop; fi
    # `wait` returns at a signal as well as at the driver's end.
    while status=0 && { wait "$driver" || status=$?; } && kill -0 "$driver" 2> /dev/null; do :; done
fi

# Requeue only if the time limit interrupted the driver, so that it has work left.
if $requeue && ((status != 0)); then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$status"
