#!/bin/sh
# Prints the first Python 3.10 to 3.12 that can make virtual environments. PYTHON=... is tried alone when given.
set -eu

usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1
}

if [ -n "${PYTHON:-}" ]; then
    # A version alone is meant as the program of that name.
    for candidate in "$PYTHON" "python$PYTHON"; do
        if usable "$candidate"; then
            command -v "$candidate"
            exit 0
        fi
    done
    echo "error: $PYTHON is not a Python 3.10 to 3.12 with the modules venv and ensurepip." >&2
    exit 1
fi

for candidate in python3.11 python3.12 python3.10 python3 python; do
    if usable "$candidate"; then
        command -v "$candidate"
        exit 0
    fi
done
echo "error: no Python 3.10 to 3.12 with the modules venv and ensurepip was found;" \
    "install one (Debian and Ubuntu: python3 python3-venv python3-dev) or name it: make PYTHON=/path/to/python3.12" >&2
exit 1
