#!/bin/sh
# Makes sure that there is a Chromium for the tests of pages and viewer, and ffmpeg for those of ns-render's camera paths.
# Without them these tests skip, so a failure is only reported.

missing() {
    command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 ||
        command -v google-chrome >/dev/null 2>&1 || echo chromium
    command -v ffmpeg >/dev/null 2>&1 || echo ffmpeg
}

packages=$(missing | tr '\n' ' ')
[ -n "$packages" ] || exit 0
# shellcheck disable=SC2086
tools/apt.sh $packages
packages=$(missing | tr '\n' ' ')
[ -n "$packages" ] || exit 0
echo "missing, so the tests that need them will be skipped: $packages; on Debian: sudo apt-get install $packages" >&2
exit 0
