#!/bin/sh
# Measures Voxmill beside the programs that do the same work, and prints tables: run.sh [--rounds N] [--only NAME,NAME].
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/voxmill/bench
[ -x "$cache/venv/bin/python" ] || python3 -m venv "$cache/venv"
"$cache/venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
# The whole workspace, so that the features of the crates below are those of every other build.
cargo build -q --locked --workspace --examples
"$CARGO_TARGET_DIR/debug/voxmill" models pull silero-vad whisper-tiny.en whisper-base piper-en_US-joe-medium >/dev/null
exec "$cache/venv/bin/python" "$here/bench.py" --cache "$cache" --programs "$CARGO_TARGET_DIR/debug" "$@"
