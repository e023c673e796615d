#!/bin/sh
# Makes sure that what pip cannot bring is there: a C++ compiler and Python's headers (two dependencies of nerfstudio
# are compiled on install), and libGL and glib (for open3d, which nerfstudio brings).
# Installs what is missing where it can (root and apt-get), names it otherwise.
# Usage: tools/system_packages.sh PYTHON
set -eu

python=$1

missing() {
    "$python" -c 'import ctypes; ctypes.CDLL("libGL.so.1")' >/dev/null 2>&1 || echo libgl1
    "$python" -c 'import ctypes; ctypes.CDLL("libgthread-2.0.so.0")' >/dev/null 2>&1 || echo libglib2.0-0
    command -v c++ >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || echo g++
    "$python" -c '
import pathlib, sys, sysconfig
if not (pathlib.Path(sysconfig.get_path("include")) / "Python.h").exists():
    print(f"python{sys.version_info[0]}.{sys.version_info[1]}-dev")'
}

# Only Linux names its libraries so; elsewhere the programs are checked and the user's package manager is left alone.
if [ "$(uname -s)" != Linux ]; then
    command -v c++ >/dev/null 2>&1 || { echo "error: a C++ compiler is missing; install one and run this again." >&2; exit 1; }
    exit 0
fi

packages=$(missing | tr '\n' ' ')
[ -n "$packages" ] || exit 0

# shellcheck disable=SC2086
tools/apt.sh $packages
packages=$(missing | tr '\n' ' ')
[ -n "$packages" ] || exit 0

echo "error: these system packages are missing: $packages" >&2
echo "install them and run this again, on Debian and Ubuntu with:" >&2
echo "    sudo apt-get update && sudo apt-get install $packages" >&2
echo "(elsewhere: libGL.so.1, libgthread-2.0.so.0, a C++ compiler, the headers of your Python)" >&2
exit 1
