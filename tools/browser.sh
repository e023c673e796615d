#!/bin/sh
# Makes sure that there is a Chromium for the tests of viewer and report; without one they skip, so a failure is only reported.
command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing chromium for the browser tests"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq || true
    apt-get install -y -qq --no-install-recommends chromium </dev/null && exit 0
fi
echo "chromium is missing, so the tests in a browser will be skipped; on Debian: sudo apt-get install chromium" >&2
exit 0
