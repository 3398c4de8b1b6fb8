#!/usr/bin/env bash
# Installs what the tests need (redis-server; redis-py in a folder of its own) and runs every test.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v redis-server >/dev/null; then
    if command -v apt-get >/dev/null; then
        echo "test.sh: installing redis-server"
        as_root=""
        [ "$(id -u)" -eq 0 ] || as_root="sudo"
        $as_root apt-get update -qq
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq redis-server
    else
        echo "test.sh: the tests start real redis-server processes (7.0 or newer); install it with your" >&2
        echo "         system's package manager (brew install redis, dnf install redis, ...) and run this again" >&2
        exit 1
    fi
fi
redis-server --version

python=target/python
if ! "$python/bin/python" -c "import redis" 2>/dev/null; then
    echo "test.sh: installing redis-py into $python"
    mkdir -p target
    if ! python3 -m venv "$python" 2>/dev/null; then
        # Debian keeps the module in a package of its own.
        as_root=""
        [ "$(id -u)" -eq 0 ] || as_root="sudo"
        $as_root apt-get update -qq
        $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv
        python3 -m venv "$python"
    fi
    "$python/bin/python" -m pip install --quiet "redis>=5,<9"
fi

# The tests that need Python find it here.
export SILVERTINE_PYTHON="$PWD/$python/bin/python"
cargo test --workspace --locked "$@"
echo "test.sh: the example of a log of one's own, a crate outside the workspace"
cargo test --locked --manifest-path examples/custom-log/Cargo.toml --target-dir target/examples
