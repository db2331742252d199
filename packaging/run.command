#!/bin/bash
# Double-click starter for macOS. Written with care, not yet tried there.
exec bash "$(dirname "$0")/run.sh" "$@"
