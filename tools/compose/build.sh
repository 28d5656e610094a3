#!/usr/bin/env bash
# Builds the pinned docker compose from its Go module into build/bin, for
# machines without one. Built again only when its pin changes.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=../go.sh
. ../go.sh
out=$(cd ../.. && pwd)/build/bin
mkdir -p "$out"

stamp="$(cksum <go.sum) $(cksum <build.sh) $(go env GOVERSION)"
if [ -x "$out/docker-compose" ] && [ "$(cat "$out/.docker-compose.stamp" 2>/dev/null)" = "$stamp" ]; then
	exit 0
fi
release=$(go list -m -f '{{.Version}}' github.com/docker/compose/v2)
echo "compiling docker compose $release"
started=$SECONDS
(while sleep 15; do echo "  still compiling docker compose, $((SECONDS - started)) s"; done) &
heartbeat=$!
trap 'kill $heartbeat 2>/dev/null' EXIT
CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X github.com/docker/compose/v2/internal.Version=$release" \
	-o "$out/docker-compose" github.com/docker/compose/v2/cmd
echo "$stamp" >"$out/.docker-compose.stamp"
echo "compiled docker compose in $((SECONDS - started)) s"
