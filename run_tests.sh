#!/usr/bin/env bash
# Installs what the tests need and runs them all: formatting, lints, unit tests, simulation seeds, end to end.
set -euo pipefail
cd "$(dirname "$0")"

# `tools deploy`, and nodes between which packets are lost, are tested over machines made of namespaces, each with its
# own sshd. Without the right to make them those tests are skipped and print why; all others run.
missing=()
[[ -x /usr/sbin/sshd ]] || missing+=(openssh-server)
command -v ssh > /dev/null || missing+=(openssh-client)
command -v ip > /dev/null || missing+=(iproute2)
command -v nft > /dev/null || missing+=(nftables)
# A client in Python runs in a test.
python3 -c 'import cryptography' 2> /dev/null || missing+=(python3-cryptography)
if ((${#missing[@]})); then
    if ((EUID == 0)) && command -v apt-get > /dev/null; then
        apt-get update -qq &&
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null ||
            echo "cannot install ${missing[*]}: the tests that need them will be skipped" >&2
    else
        echo "without ${missing[*]} the tests that need them are skipped; as root on Debian they are installed" >&2
    fi
fi

cargo fmt --all --check
cargo clippy --workspace --all-targets --quiet -- -D warnings
cargo clippy -p node --features byzantine --bin byzantine_node --quiet -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

cargo test --workspace --quiet --no-run

# With each rule of safety switched off in turn, the attack aimed at it must succeed and be caught. The target directory
# is a separate one, so that no binary in use is built with the feature. Of whole cores only those attacks run again.
LONG_SEARCH=search::no_execution_of_four_views_breaks_a_rule
beside() {
    nice -n 19 cargo test -p bft --test agreement --quiet -- "$LONG_SEARCH"
    export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/mutants"
    nice -n 19 cargo clippy -p bft --all-targets --features mutants --quiet -- -D warnings
    nice -n 19 cargo test -p bft --features mutants --quiet --lib
    nice -n 19 cargo test -p bft --features mutants --quiet --test agreement --test simulation \
        -- mutants:: without_any_single_rule
}
# They and the longest search take what tests over real processes leave of the processors, and end with this script.
said=$(mktemp)
set -m
(beside) > "$said" 2>&1 &
mutants=$!
set +m
trap 'kill -- -"$mutants" 2> /dev/null || true; rm -f "$said"' EXIT

cargo test --workspace --quiet -- --skip "$LONG_SEARCH"
wait "$mutants" || { cat "$said"; exit 1; }
cat "$said"

# No crate may switch the feature on by itself.
if cargo tree --workspace --edges features,normal | grep --quiet 'feature "mutants"'; then
    echo "a crate of the workspace switches on the feature 'mutants', which release binaries must not have" >&2
    exit 1
fi

# The vectors are the output of the independent scripts, which need Python.
if command -v python3 > /dev/null; then
    for vectors in coin_vectors session_vectors client_vectors; do
        python3 "docs/$vectors.py" | diff - "docs/$vectors.txt"
    done
fi
