#!/usr/bin/env bash
# Builds the testbed and runs N nodes on this machine under load: ./run_local.sh N [options].
# Options and exit codes are those of `tools local`; ./run_local.sh --help lists them.
# TESTBED_PROFILE=quick takes the cargo profile that is built again in seconds, for trying out a change.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

usage() {
    echo "usage: ./run_local.sh N [options]   (N nodes; --help lists the options)" >&2
    exit 2
}

[[ $# -ge 1 ]] || usage
case "$1" in
    -h | --help) arguments=(--help) ;;
    -*) usage ;;
    *) arguments=(--nodes "$1" "${@:2}") ;;
esac

# From the root, since cargo reads its settings from the current directory. The run itself stays in the caller's.
profile="${TESTBED_PROFILE:-release}"
(cd "$root" && cargo build --profile "$profile" --workspace) || exit 4
# A node has a connection to and from each other node, and benchmarks open a thousand more.
ulimit -n "$(ulimit -Hn)"
target="${CARGO_TARGET_DIR:-target}"
[[ "$target" = /* ]] || target="$root/$target"
exec "$target/$profile/tools" local "${arguments[@]}"
