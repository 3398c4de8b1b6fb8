#!/usr/bin/env bash
# The developers' verbs: `./do VERB`. Continuous integration calls the same ones, so what passes here passes there.
#
# Each verb is a function below; the comment above it is its help. `justfile` offers the same names to users of just.
# Needs bash 3.2 or newer (the one of macOS), cargo, and what a verb names.
set -euo pipefail
cd "$(dirname "$0")"

say() { echo "== $*"; }

# Crates outside the workspace, as a user's are.
outside=(examples/own-binary examples/custom-log)

# Fails when the crates that `cargo tree ARGS` prints match the pattern: refuse_dependencies WHY PATTERN ARGS...
refuse_dependencies() {
    local why=$1 pattern=$2 tree
    shift 2
    # Not in a pipe: a `cargo tree` that fails must fail the gate.
    tree=$(cargo tree --locked -e normal --prefix none "$@")
    if grep -E "^($pattern) v" <<<"$tree" | sort -u; then
        echo "$why" >&2
        exit 1
    fi
}

# The Rust version that Cargo.toml promises to build with.
minimum_rust() { sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml; }

built() {
    cargo build --locked --release
    silvertine=target/release/silvertine
}

#: check              type-check everything: the fastest answer
verb_check() { cargo check --workspace --all-targets --locked; }

#: fmt                format the sources
verb_fmt() {
    local crate
    cargo fmt --all
    for crate in "${outside[@]}"; do cargo fmt --manifest-path "$crate/Cargo.toml"; done
}

#: lint               formatting, dependency gates, clippy with warnings as errors
verb_lint() {
    local crate
    say "format"
    cargo fmt --all --check
    for crate in "${outside[@]}"; do cargo fmt --manifest-path "$crate/Cargo.toml" --check; done
    verb_gates
    say "lints"
    cargo clippy --workspace --all-targets --locked -- -D warnings
    for crate in "${outside[@]}"; do
        cargo clippy --manifest-path "$crate/Cargo.toml" --target-dir target/examples --all-targets --locked -- -D warnings
    done
}

#: gates              which crates must not depend on what
verb_gates() {
    say "dependency gates"
    refuse_dependencies "engine, streams, trading and sim must depend on no runtime, store, clock or random source" \
        'tokio|redis|redb|sled|rayon|rand|getrandom|fastrand|chrono' \
        -p silvertine-engine -p silvertine-streams -p silvertine-trading -p silvertine-sim
    refuse_dependencies "scenarios must not know which log it runs on" \
        'tokio|redis|redb|sled|silvertine-storage' -p silvertine-scenarios
    refuse_dependencies "worker must not know which store it runs on" \
        'redis|redb|sled|silvertine-storage' -p silvertine-worker
    refuse_dependencies "conformance must not know which store it checks" \
        'redis|redb|sled|silvertine-storage' -p silvertine-conformance
    refuse_dependencies "without the feature cli nothing of a command line may be compiled" \
        'clap|indicatif|hdrhistogram|tracing-subscriber|signal-hook' \
        -p silvertine --no-default-features
    refuse_dependencies "without the features redb, sled and redis no store may be compiled but memory" \
        'redis|redb|sled|rustls' -p silvertine --no-default-features --features cli
}

#: embedded           the builds without servers
verb_embedded() {
    cargo check --locked --no-default-features --features cli,sled
    cargo check --locked --no-default-features --features redb
}

#: features           each feature alone, and none
verb_features() {
    local feature
    for feature in "" cli redb sled redis process proptest; do
        say "silvertine with ${feature:-no feature}"
        cargo check --locked -p silvertine --no-default-features --features "$feature"
    done
    for feature in "" redb sled redis; do
        say "storage, runtime and cli with ${feature:-no feature}"
        cargo check --locked -p silvertine-storage --no-default-features --features "$feature"
        cargo check --locked -p silvertine-runtime --no-default-features --features "$feature"
        cargo check --locked -p silvertine-cli --no-default-features --features "$feature"
    done
}

#: msrv               build with the oldest Rust that Cargo.toml promises
verb_msrv() {
    local rust
    rust=$(minimum_rust)
    if ! cargo "+$rust" --version >/dev/null 2>&1; then
        rustup toolchain install "$rust" --profile minimal
    fi
    cargo "+$rust" check --workspace --all-features --locked
}

#: docs               the API documentation, warnings as errors
verb_docs() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked; }

#: test [ARGS]        install what the tests need and run every test (./test.sh)
verb_test() { ./test.sh "$@"; }

#: conformance        the laws of logs and of streams, on every store
verb_conformance() {
    cargo test --locked -p silvertine-conformance "$@"
    cargo test --locked -p silvertine --test conformance --test streams "$@"
}

#: sim                runs of both planes under faults: fixed seeds, each three times and in two processes; all pairs of faults
verb_sim() {
    built
    $silvertine sim --seeds 5000 --jobs 2 --check-determinism --require-all
    $silvertine sim scenarios/ema-cross.toml --seeds 2000 --jobs 2
    $silvertine sim --exhaustive pairs --jobs 2
    $silvertine sim --workers --seeds 4000 --jobs 2 --check-determinism --require-all
}

#: sim-fresh [TIME]   runs under faults with seeds that nobody has tried (30s)
verb_sim_fresh() {
    local time=${1:-30s}
    built
    $silvertine sim --from-seed "$(($(date +%s) * 1000000))" --time "$time" --jobs 2
}

#: sim-fresh-workers [TIME]   the same for the worker plane (30s); at night only, while its faults of servers are young
verb_sim_fresh_workers() {
    local time=${1:-30s}
    built
    $silvertine sim --workers --from-seed "$(($(date +%s) * 1000000))" --time "$time" --jobs 2
}

#: fuzz [SECONDS]     each fuzz target for some seconds (10); needs nightly and cargo-fuzz, else it says so
verb_fuzz() { fuzz/run "$@"; }

#: mutants [NAME]     plant the known bugs, one after the other, and count the seeds until each is found
verb_mutants() { mutants/run "$@"; }

#: bench              rates of the engine, the stores and the workers, beside their baselines
verb_bench() {
    built
    $silvertine bench
    cargo bench --locked -p silvertine-storage
    cargo bench --locked --bench workers
}

#: first-command      the first command of the README
verb_first_command() { cargo run --locked --release -- run scenarios/ema-cross.toml; }

#: deny               licences, sources and banned crates; needs cargo-deny
verb_deny() { cargo deny check licenses bans sources; }

#: release-dry-run    package every crate as it would be published, and build the packages
verb_release_dry_run() { cargo package --workspace --locked "$@"; }

#: ci                 everything that must pass, in the order of continuous integration
verb_ci() {
    verb_lint
    say "the embedded build without servers"
    verb_embedded
    say "documentation"
    verb_docs
    say "tests"
    verb_test
    say "fuzzing, a little"
    verb_fuzz 5
    say "runs under faults"
    verb_sim
    verb_sim_fresh
    say "the README's first command"
    verb_first_command
    if command -v cargo-deny >/dev/null; then
        say "licences and banned crates"
        verb_deny
    fi
}

name=${1:-help}
[ $# -eq 0 ] || shift
# A dash in a verb is an underscore in its function.
function="verb_$(tr - _ <<<"$name")"
if ! declare -F "$function" >/dev/null; then
    [ "$name" = help ] || echo "do: there is no verb $name" >&2
    echo "usage: ./do VERB"
    sed -n 's/^#: /  /p' do
    [ "$name" = help ]
    exit
fi
"$function" "$@"
