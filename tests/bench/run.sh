#!/bin/sh
# Measures Voxmill beside the programs that do the same work, and prints tables: run.sh [--rounds N] [--only NAME,NAME].
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/voxmill/bench
[ -x "$cache/venv/bin/python" ] || python3 -m venv "$cache/venv"
"$cache/venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
# As it is deployed; the whole workspace, so that the features of its crates are those of every other build.
cargo build -q --locked --release --workspace --bins --examples
"$CARGO_TARGET_DIR/release/voxmill" models pull silero-vad whisper-tiny.en whisper-base piper-en_US-joe-medium >/dev/null
exec "$cache/venv/bin/python" "$here/bench.py" --cache "$cache" --programs "$CARGO_TARGET_DIR/release" "$@"
