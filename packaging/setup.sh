# shellcheck shell=bash
# Sourced by run.sh and test.sh: `$python` becomes a Python that can make environments. All else is bootstrap.py's.

find_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11 python3.14 python; do
        # The answer is its own path, past wrappers such as pyenv's, which may exist for versions that do not.
        "$name" 2>/dev/null -I -S -c '
import sys
from importlib.machinery import PathFinder
if sys.version_info < (3, 11) or not PathFinder.find_spec("ensurepip"):
    sys.exit(1)
print(sys.executable)' && return
    done
    if [ "$(uname -s)" = Darwin ]; then
        echo "DDPM Studio needs Python 3.11 or newer; install it from https://www.python.org/downloads/" >&2
    else
        echo "DDPM Studio needs Python 3.11 or newer with venv; on Debian and Ubuntu this installs it:" >&2
        echo "    sudo apt-get install python3 python3-venv" >&2
    fi
    return 1
}

# shellcheck disable=SC2034  # used by those who source this
python=$(find_python) || exit 1
