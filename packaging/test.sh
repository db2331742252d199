#!/usr/bin/env bash
# Sets up what is missing and runs every check: bash packaging/test.sh [arguments of pytest]
set -euo pipefail
here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=packaging/setup.sh
. "$here/setup.sh"
"$python" -I "$here/bootstrap.py" setup test

cd -- "$here/.."
export PATH="$PWD/.venv/bin:$PATH"
# The tests that need a real X server start their own and set this themselves.
export QT_QPA_PLATFORM=offscreen

step() {
    local name=$1 begin=$SECONDS
    shift
    echo "==> $name"
    "$@" || { local status=$?; echo "==> $name failed after $((SECONDS - begin)) s" >&2; exit "$status"; }
    echo "==> $name: $((SECONDS - begin)) s"
}

step "ruff check" ruff check
step "ruff format" ruff format --check
step "mypy" mypy
step "import contracts" lint-imports
# Last, so that pytest's closing line is the last word; hence without a line of time after it.
echo "==> pytest"
exec python -m pytest "$@"
