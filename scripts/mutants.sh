#!/usr/bin/env bash
# Runs a mutation campaign: changes the code in one place at a time and reports the changes that no test notices.
# A mutant takes seconds to minutes, so run_tests.sh does not include this. docs/testing.md explains the results.
set -euo pipefail

usage() {
    cat <<'END'
usage: scripts/mutants.sh [--base REVISION] [--count COUNT] [--seed SEED] [--list] [FILE...]

Without FILE: mutants of the lines changed since REVISION, uncommitted changes included. REVISION defaults to the
merge base with the main branch, or to HEAD~1 on that branch itself.
With FILE: mutants of these files, which may be globs ('bft/src/mvba/*.rs'), whether changed or not.

  --count COUNT   only COUNT of them, chosen by --seed (default 1); the same seed chooses the same mutants
  --list          name the mutants and run nothing

Exit code: 0 if the tests notice all mutants, 2 if some survive. A mutant that runs into the time limit is noticed, too.
END
}

base="" count="" seed=1 list="" files=()
while (($#)); do
    case "$1" in
        --base) base="$2" && shift 2 ;;
        --count) count="$2" && shift 2 ;;
        --seed) seed="$2" && shift 2 ;;
        --list) list=yes && shift ;;
        -h | --help) usage && exit ;;
        -*) usage >&2 && exit 64 ;;
        *) files+=("$1") && shift ;;
    esac
done
cd "$(dirname "$0")/.."

if ! cargo mutants --version > /dev/null 2>&1; then
    echo "cargo-mutants is missing; installing it with: cargo install cargo-mutants --locked" >&2
    cargo install cargo-mutants --locked --quiet
fi

out="$(realpath -m "${CARGO_TARGET_DIR:-target}/mutation")"
mkdir -p "$out"
# Only crates whose tests need no binary of another crate. The simulator and its checkers are test code, and functions
# that only read ahead into the processor's cache change no result.
packages=(wire net_client net_server bft)
select=(--exclude 'bft/src/sim/**' --exclude-re '\bwarm')
if ((${#files[@]} == 0)); then
    if [[ -z "$base" ]]; then
        for main in origin/main main; do
            base=$(git merge-base HEAD "$main" 2> /dev/null) && break
        done
        [[ -n "$base" && "$base" != "$(git rev-parse HEAD)" ]] || base=HEAD~1
    fi
    git diff --no-color --no-ext-diff "$base" -- '*.rs' > "$out/changes.diff"
    echo "mutants of what changed since $(git rev-parse --short "$base")" >&2
    select+=(--in-diff "$out/changes.diff")
fi

# A pattern that matches one mutant by name.
exactly() {
    echo "^$(sed 's/[][\.*^$+?(){}|]/\\&/g' <<< "$1")\$"
}

mutants() {
    nice -n 15 cargo mutants --no-config --colors never "${select[@]}" "${files[@]/#/--file=}" "$@"
}

mapfile -t chosen < <(mutants --list "${packages[@]/#/--package=}")
if [[ -n "$count" ]]; then
    # Sorted by a hash of seed and name: the choice depends on nothing else, and a mutant keeps its rank when others go.
    # cargo-mutants 27 cannot select deletions of fields by name, so all of them in the chosen files run as well.
    mapfile -t chosen < <(printf '%s\n' "${chosen[@]}" | grep -v ': delete field ' |
        while read -r name; do echo "$(sha256sum <<< "$seed $name" | cut -c1-16) $name"; done |
        sort | head -n "$count" | cut -d' ' -f2-)
    for name in "${chosen[@]}"; do select+=(--re "$(exactly "$name")"); done
    mapfile -t files < <(printf '%s\n' "${chosen[@]%%:*}" | sort -u)
fi
((${#chosen[@]})) || { echo "no mutants" >&2 && exit; }
if [[ -n "$list" ]]; then
    printf '%s\n' "${chosen[@]}"
    exit
fi

# Two cores: one mutant at a time, built and tested with two threads, without debug information, which takes longer to
# write than the code. A mutant that makes a test wait is given up after three times the tests' usual time, but not
# before a minute, because tests of a few seconds take longer on a busy machine.
export CARGO_TARGET_DIR="$out/build" CARGO_PROFILE_DEV_DEBUG=0 RUST_TEST_THREADS=2

# Cheapest tests first: a mutant that they notice is not run against the rest.
stages_of() {
    case "$1" in
        bft) echo "--lib" "--test=agreement" "--test=simulation" ;;
        wire) echo "--lib" ;;
        *) echo "--bins" "--tests" ;;
    esac
}

status=0
for package in "${packages[@]}"; do
    grep --quiet "^$package/" < <(printf '%s\n' "${chosen[@]}") || continue
    rm -rf "${out:?}/$package"
    mkdir -p "$out/$package"
    results="$out/$package/mutants.out" skip=()
    for tests in $(stages_of "$package"); do
        result=0
        mutants --package "$package" --output "$out/$package" --jobs 1 --jobserver-tasks 2 --timeout-multiplier 3 \
            --minimum-test-timeout 60 "${skip[@]}" -- "$tests" > "$out/$package/run$tests.log" 2>&1 || result=$?
        echo "$package $tests: $(tail -n 1 "$out/$package/run$tests.log")"
        ((result == 2 || result == 3)) || break
        skip=(--iterate "${skip[@]:1}")
        while read -r name; do
            echo "  timeout: $name"
            skip+=(--exclude-re "$(exactly "$name")")
        done < "$results/timeout.txt"
        ((result == 2)) || break
    done
    case "$result" in
        0 | 3) ;;
        2) sed 's/^/  missed: /' "$results/missed.txt" ;;
        *) echo "$package: cargo-mutants failed; see $out/$package" ;;
    esac
    ((result == 3 || result <= status)) || status=$result
done
exit "$status"
