#!/bin/sh
# Installs packages where it can: as root, with apt-get. Whether they are there then, the caller looks.
# Usage: tools/apt.sh PACKAGE ...
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || exit 0
echo "installing system packages: $*"
export DEBIAN_FRONTEND=noninteractive
# A failing update may still leave usable lists, so the install decides.
apt-get update -qq || true
apt-get install -y -qq --no-install-recommends "$@" </dev/null || true
