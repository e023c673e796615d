#!/bin/sh
# Prints the first Python 3.10 or 3.11 that can make virtual environments; mediapipe's last telemetry-free release has
# no wheel for a newer one. PYTHON=... is tried alone when given.
set -eu

usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))' >/dev/null 2>&1
}

for candidate in ${PYTHON:-python3.11 python3.10 python3 python}; do
    if usable "$candidate"; then
        command -v "$candidate"
        exit 0
    fi
done

if [ -n "${PYTHON:-}" ]; then
    echo "error: $PYTHON is not a Python 3.10 or 3.11 with the modules venv and ensurepip." >&2
else
    echo "error: no Python 3.10 or 3.11 with the modules venv and ensurepip was found;" \
        "install one (Debian and Ubuntu: python3.11 python3.11-venv python3.11-dev) or name it: make PYTHON=/path/to/python3.11" >&2
fi
exit 1
