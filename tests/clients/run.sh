#!/bin/sh
# Lints the OpenAPI document of a server, generates a client in TypeScript and one in Python from it, compiles both, and
# runs a flow of each surface with each: run.sh URL.
set -eu
url=$1
here=$(cd "$(dirname "$0")" && pwd)
# What is installed is kept for as long as the lists stay as they are.
version=$(cat "$here/package-lock.json" "$here/requirements.txt" | sha256sum | cut -c1-16)
tools=${XDG_CACHE_HOME:-$HOME/.cache}/voxmill/clients/$version
if [ ! -e "$tools/ready" ]; then
    rm -rf "$tools" && mkdir -p "$tools"
    cp "$here/package.json" "$here/package-lock.json" "$tools"
    python3 -m venv "$tools/venv"
    if ! { (cd "$tools" && npm ci --silent --ignore-scripts --no-audit --no-fund) \
        && "$tools/venv/bin/pip" install -q --disable-pip-version-check --require-hashes -r "$here/requirements.txt"; }; then
        echo "the generators of clients could not be installed: the first run fetches them from npm and PyPI" >&2
        exit 1
    fi
    touch "$tools/ready"
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
node -e 'fetch(process.argv[1]).then(async (answer) => process.stdout.write(await answer.text()))' \
    "$url/openapi.json" >openapi.json
"$tools/node_modules/.bin/spectral" lint openapi.json --ruleset "$here/spectral.yaml" --fail-severity hint
ffmpeg -v error -f lavfi -i testsrc=size=64x48:rate=10:duration=1 -f lavfi -i sine=duration=1 talk.mp4

mkdir typescript python
ln -s "$tools/node_modules" node_modules
"$tools/node_modules/.bin/openapi-ts" --silent -i openapi.json -o typescript/client -c @hey-api/client-fetch
cp "$here/flow.ts" typescript
"$tools/node_modules/.bin/tsc" --strict --target es2022 --module commonjs --lib es2022,dom,dom.iterable --types node \
    --outDir compiled typescript/flow.ts
node compiled/flow.js "$url" talk.mp4

"$tools/venv/bin/openapi-python-client" generate --path openapi.json --meta none --output-path python/client \
    --config "$here/python-client.yaml" --fail-on-warning
cp "$here/flow.py" python
"$tools/venv/bin/mypy" --strict --cache-dir "$tools/mypy" python/flow.py
"$tools/venv/bin/python" python/flow.py "$url" talk.mp4
