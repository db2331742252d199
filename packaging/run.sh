#!/usr/bin/env bash
# Sets up what is missing and starts DDPM Studio: bash packaging/run.sh [arguments of ddpm-studio]
set -euo pipefail
here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=packaging/setup.sh
. "$here/setup.sh"
exec "$python" -I "$here/bootstrap.py" run "$@"
