#!/usr/bin/env bash
# Installs what the tests need and runs them all: formatting, lints, unit tests, simulation seeds, end to end.
set -euo pipefail
cd "$(dirname "$0")"

cargo fmt --all --check
cargo clippy --workspace --all-targets --quiet -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
cargo test --workspace --quiet

# The coin's vectors are what the independent script prints, where there is a Python to ask.
if command -v python3 > /dev/null; then
    python3 docs/coin_vectors.py | diff - docs/coin_vectors.txt
fi
