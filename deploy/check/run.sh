#!/bin/sh
# Checks the images, the compose file, the chart, the alarms and the dashboard, without Docker or a cluster.
set -eu
cd "$(dirname "$0")/../.."
tools="${XDG_CACHE_HOME:-$HOME/.cache}/voxmill/deploy-tools"
if ! cmp -s deploy/check/requirements.txt "$tools/requirements.txt" || ! cmp -s deploy/check/package.json "$tools/package.json"; then
    rm -rf "$tools"
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --requirement deploy/check/requirements.txt
    cp deploy/check/package.json "$tools/"
    npm install --silent --no-audit --no-fund --prefix "$tools"
    cp deploy/check/requirements.txt "$tools/"
fi
export MODULES="$tools/node_modules"
promtool=$(command -v promtool || true)
if [ -z "$promtool" ]; then
    promtool="$tools/prometheus/usr/bin/promtool"
    # The program alone: the package would start a server.
    [ -x "$promtool" ] || (cd "$tools" && apt-get download --quiet prometheus && dpkg -x prometheus_*.deb prometheus)
fi

echo "== Dockerfile"
"$tools/bin/hadolint" deploy/Dockerfile

echo "== compose.yaml"
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
filled="$made/fleet.env"
sed -E 's/^([A-Z_0-9]+)=$/\1=x/' deploy/fleet.env.example >"$filled"
"$tools/bin/docker-compose" --env-file "$filled" --profile '*' config --quiet
echo "valid"

echo "== alarms"
"$promtool" check config --syntax-only deploy/prometheus/prometheus.yml
"$promtool" test rules deploy/prometheus/alerts.test.yaml

echo "== dashboard"
"$tools/bin/python" deploy/check/check.py queries >"$made/queries.yaml"
"$promtool" check rules "$made/queries.yaml"

echo "== metrics, settings and the chart"
"$tools/bin/python" deploy/check/check.py
