#!/usr/bin/env bash
# Runs testbeds under random faults, one seed after the other, and reports the runs that do not end as they must: all
# nodes level, nothing lost, value conserved, nobody blamed for what a fault did. For each it prints the command
# that runs the same plan again. docs/faults.md explains it.
set -euo pipefail

usage() {
    cat <<'END'
usage: scripts/random_faults.sh [--seeds FIRST-LAST] [--faults COUNT] [--duration S] [--out DIR] [-- OPTION...]

Each seed runs N = 4 or 7 nodes in K = 1 or 2 shards by turns, with COUNT random faults (default 3) in S seconds of load
(default 18). OPTIONs go to tools local as well. Runs that fail keep their files in DIR (default random-faults).
TESTBED_PROFILE names the cargo profile of the programs (default release), which must have been built, byzantine_node
among them: cargo build --release -p node --features byzantine --bin byzantine_node.

Exit code: 0 if all runs ended well, 1 otherwise, 64 for a wrong command line.
END
}

# Lines of logs in which honest nodes blame honest nodes.
blamed() {
    local log liars
    liars="$(awk -F, '$3 == "byzantine" { print $1 }' "$1/nodes.csv" 2> /dev/null | paste -sd '|')"
    for log in "$1"/consensus-node-*.log; do
        [[ "$log" =~ /consensus-node-(${liars:-none})\.log$ ]] && continue
        grep -E 'node [0-9]+ is at fault' "$log" | grep -vE "node (${liars:-none}) is at fault" || true
    done
}

seeds=1-20 faults=3 duration=18 out=random-faults
while (($#)); do
    case "$1" in
        --seeds) seeds="$2" && shift 2 ;;
        --faults) faults="$2" && shift 2 ;;
        --duration) duration="$2" && shift 2 ;;
        --out) out="$2" && shift 2 ;;
        --) shift && break ;;
        -h | --help) usage && exit ;;
        *) usage >&2 && exit 64 ;;
    esac
done
[[ "$seeds" =~ ^[0-9]+-[0-9]+$ ]] || { usage >&2 && exit 64; }
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
tools="${CARGO_TARGET_DIR:-$root/target}/${TESTBED_PROFILE:-release}/tools"
mkdir -p "$out"
failed=0
for ((seed = ${seeds%-*}; seed <= ${seeds#*-}; seed++)); do
    n=$((seed % 2 ? 4 : 7)) k=$((seed / 2 % 2 + 1))
    place="$out/seed-$seed"
    command=("$tools" local --nodes "$n" --shards "$k" --rate 1000 --duration "$duration" --faults "random:$faults"
        --seed "$seed" --log-dir "$place/log" --data-dir "$place/data" "$@")
    mkdir -p "$place"
    code=0
    "${command[@]}" > "$place/output.txt" 2>&1 || code=$?
    wrong="$(grep -E "^  (behind|not well|unplanned|finding|diagnosis) " "$place/output.txt")" || true
    wrong+=$'\n'"$(blamed "$place/log")"
    printf 'seed %s, N = %s, K = %s: exit %s\n' "$seed" "$n" "$k" "$code"
    sed -n '/^  planned faults/,/^  [a-z]/{/^  planned faults/p;/^   /p}' "$place/output.txt"
    if [[ $code = 0 && -z ${wrong//[[:space:]]/} ]]; then
        rm -r "$place"
    else
        failed=$((failed + 1))
        printf '%s\n' "$wrong"
        printf '  again: %s\n' "${command[*]}"
    fi
done
if ((failed)); then
    echo "$failed runs failed; their files are in $out"
    exit 1
fi
