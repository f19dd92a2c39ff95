#!/usr/bin/env bash
# Builds the testbed and runs N nodes on this machine under load: ./run_local.sh N [options].
# ./run_local.sh --resume [options] goes on with the run in the data directory.
# Options and exit codes are those of `tools local`; ./run_local.sh --help lists them.
# TESTBED_PROFILE=quick takes the cargo profile that is built again in seconds, for trying out a change.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

refuse() {
    echo "$1" >&2
    exit 2
}

usage="usage: ./run_local.sh N [options]   (N nodes; --help lists the options), or ./run_local.sh --resume [options]"
[[ $# -ge 1 ]] || refuse "$usage"
case "$1" in
    -h | --help) arguments=(--help) ;;
    --resume) arguments=("$@") ;;
    -*) refuse "$usage" ;;
    *[!0-9]* | "" | 0) refuse "run_local.sh: found '$1', expected how many nodes; $usage" ;;
    *) arguments=(--nodes "$1" "${@:2}") ;;
esac

# What can be seen to be wrong before minutes of building; `tools` judges the rest. Crates are directories here.
filter="${RUST_LOG:-}"
IFS=, read -ra directives <<<"${filter%%/*}"
for directive in "${directives[@]// /}"; do
    level="${directive##*=}"
    [[ "$directive" = "$level" && (-f "$root/${level%%::*}/Cargo.toml" || "${level%%::*}" = mio) ]] && continue
    case "${level,,}" in
        "" | off | error | warn | info | debug | trace) ;;
        *) refuse "run_local.sh: RUST_LOG: found '$level', expected a crate, or off, error, warn, info, debug, trace" ;;
    esac
done

# From the root, since cargo reads its settings from the current directory. The run itself stays in the caller's.
profile="${TESTBED_PROFILE:-release}"
(cd "$root" && cargo build --profile "$profile" --workspace) || exit 4
# An ordinary build has no Byzantine nodes; random faults may have some.
if [[ " ${arguments[*]} " =~ (byzantine|random): ]]; then
    (cd "$root" && cargo build --profile "$profile" -p node --features byzantine --bin byzantine_node) || exit 4
fi
# A node has a connection to and from each other node, and benchmarks open a thousand more.
ulimit -n "$(ulimit -Hn)"
target="${CARGO_TARGET_DIR:-target}"
[[ "$target" = /* ]] || target="$root/$target"
exec "$target/$profile/tools" local "${arguments[@]}"
