# A face of `./do` for users of just (`cargo install just`): the same verbs, the same arguments. Nothing needs just.

_help:
    @./do

# type-check everything: the fastest answer
check:
    ./do check

# format the sources
fmt:
    ./do fmt

# formatting, dependency gates, clippy with warnings as errors
lint:
    ./do lint

# which crates must not depend on what
gates:
    ./do gates

# the builds without servers
embedded:
    ./do embedded

# each feature alone, and none
features:
    ./do features

# build with the oldest Rust that Cargo.toml promises
msrv:
    ./do msrv

# the API documentation, warnings as errors
docs:
    ./do docs

# install what the tests need and run every test
test *args:
    ./do test {{args}}

# the laws of logs and of streams, on every store
conformance *args:
    ./do conformance {{args}}

# runs under faults with fixed seeds
sim:
    ./do sim

# runs under faults with seeds that nobody has tried
sim-fresh time="30s":
    ./do sim-fresh {{time}}

# the same for the worker plane
sim-fresh-workers time="30s":
    ./do sim-fresh-workers {{time}}

# each fuzz target for some seconds
fuzz *args:
    ./do fuzz {{args}}

# plant the known bugs and count the seeds until each is found
mutants *names:
    ./do mutants {{names}}

# rates beside their baselines
bench:
    ./do bench

# the first command of the README
first-command:
    ./do first-command

# licences, sources and banned crates
deny:
    ./do deny

# package every crate as it would be published, and build the packages
release-dry-run *args:
    ./do release-dry-run {{args}}

# everything that must pass
ci:
    ./do ci
