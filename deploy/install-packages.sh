#!/bin/sh
# Installs the Debian packages that building, running and testing Voxmill takes, where they are missing.
set -eu
packages="clang cmake espeak-ng faketime ffmpeg g++ libavcodec-dev libavdevice-dev libavfilter-dev libavformat-dev libavutil-dev
libclang-dev libswresample-dev libswscale-dev pkg-config postgresql python3-venv redis-server"
# Where Node.js came from elsewhere, Debian's would stand in its way.
command -v npm >/dev/null || packages="$packages nodejs npm"
missing=""
for package in $packages; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
echo "installing:$missing"
as_root=""
[ "$(id -u)" = 0 ] || as_root=sudo
$as_root apt-get update -qq
# shellcheck disable=SC2086 # a list of packages is many words
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
