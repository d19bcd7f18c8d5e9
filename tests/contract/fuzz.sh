#!/bin/sh
# Tries every operation of the OpenAPI document with what it allows and with what it does not, against a server of its own:
# fuzz.sh [OPTIONS OF schemathesis run]. The report is in the cache beside the tools.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/voxmill/contract
[ -x "$cache/venv/bin/python" ] || python3 -m venv "$cache/venv"
"$cache/venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
voxmill=${CARGO_TARGET_DIR:-$here/../../target}/debug/voxmill
work=$(mktemp -d)
: >"$work/log"
server=""
trap 'kill $server 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
export VOXMILL_RATE_LIMITS=off VOXMILL_LIVEKIT_API_KEY=key VOXMILL_LIVEKIT_API_SECRET=a-secret-of-thirty-two-bytes-long
"$voxmill" serve --bind 127.0.0.1:0 --data-dir "$work/data" 2>"$work/log" &
server=$!
url=""
while [ -z "$url" ]; do
    kill -0 $server 2>/dev/null || { cat "$work/log"; exit 1; }
    url=$(sed -n 's/.*listening on \(http[^"]*\).*/\1/p' "$work/log")
    [ -n "$url" ] || sleep 0.2
done
cp "$here/schemathesis.toml" "$here/hooks.py" "$work"
cd "$work"
"$cache/venv/bin/python" "$here/prepare.py" "$url" "$work"
"$cache/venv/bin/schemathesis" run "$url/openapi.json" --report junit --report-junit-path "$cache/report.xml" "$@"
